"""A run: notebooks executed in order into one folder, resumable, with their results.

A run folder holds the executed notebooks, ``results/<notebook>.json`` as the notebooks
recorded them, ``results.json`` with all of them, and ``run.json``: what was asked for
and which notebooks are finished, so that a run that was cut off can go on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers import settings
from helpers.cache import write_atomically
from helpers.executor import NotebookFailed, execute_notebook
from helpers.report import write_report
from helpers.schema import REPO, DataError, near_match

__all__ = [
    "RUNS",
    "Run",
    "RunError",
    "collect_results",
    "execute",
    "open_run",
    "shown",
    "start_run",
    "summary",
]

#: Where runs are kept unless a person says otherwise.
RUNS = REPO / "runs"

_STATE = "run.json"


class RunError(RuntimeError):
    """A run that stopped: its message is for a person; ``exit_code`` is the command's."""

    def __init__(self, message: str, *, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class Run:
    """What a run was asked for, and how far it is."""

    folder: Path
    source: str
    path: str
    given: dict[str, Any]
    notebooks: list[str]
    fingerprint: str = ""
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save(self) -> None:
        """Write the state into the run's folder, whole or not at all."""
        state = dataclasses.asdict(self)
        del state["folder"]  # a run may be moved
        write_atomically(self.folder / _STATE, json.dumps(state, indent=1, ensure_ascii=False))

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Return the parameters that each notebook gets; bad ones raise ``DataError``."""
        folder = self.folder.relative_to(REPO) if self.folder.is_relative_to(REPO) else self.folder
        fixed = {"source": self.source, "path": self.path, "run_dir": str(folder)}
        return settings.fill_parameters(self.notebooks, self.given, fixed)


def start_run(
    source: str = "journey",
    *,
    path: str = "",
    out: Path | None = None,
    given: Mapping[str, Any] | None = None,
    names: Iterable[str] = (),
    everything: bool = False,
) -> Run:
    """Check what is asked for and make the folder of a new run.

    Args:
        source: where the tables come from.
        path: folder of the tables, for the source ``csv``.
        out: folder in which the run's own folder is made; ``runs`` when not given.
        given: values of notebook parameters, as a person wrote them.
        names: notebooks to run; none means the walk.
        everything: run all numbered notebooks.

    Raises:
        DataError: something asked for does not exist, does not fit or cannot be written.
    """
    notebooks = settings.select_notebooks(names, everything=everything)
    path = _checked_path(source, path)
    run = Run(Path(), source, path, dict(given or {}), notebooks)
    run.parameters()  # refuses unknown parameters and wrong types
    run.fingerprint = _fingerprint(source, path)
    run.folder = _new_folder(out or RUNS, source)
    run.save()
    return run


def open_run(
    folder: Path,
    *,
    source: str | None = None,
    path: str = "",
    given: Mapping[str, Any] | None = None,
    names: Iterable[str] = (),
) -> Run:
    """Open a run that was cut off, with what it was asked for when it began.

    Args:
        folder: the run's folder.
        source: if given, must be the run's own; and so must all that follows.
        path: folder of the tables.
        given: values of notebook parameters.
        names: notebooks.

    Raises:
        DataError: the folder holds no run, something asked for differs from what the run
            began with, or the tables have changed since.
    """
    run = _read_state(folder.resolve())
    asked = {"--source": (source, run.source), "--path": (path and _plain_path(path), run.path)}
    if names := list(names):
        asked["the notebooks"] = (settings.select_notebooks(names), run.notebooks)
    asked |= {f"-p {n}": (str(v), str(run.given.get(n))) for n, v in (given or {}).items()}
    for option, (wanted, began) in asked.items():
        if wanted and wanted != began:
            raise DataError(
                f"{shown(folder)} began with other settings ({option}: {began}, now {wanted}). "
                "Resume it without options, or start a new run."
            )
    run.parameters()
    if run.fingerprint != _fingerprint(run.source, run.path):
        raise DataError(
            f"The tables in {run.path} have changed since {shown(folder)} began, so its results "
            "would be of two kinds. Start a new run."
        )
    return run


def execute(run: Run, *, show_ids: bool = False, report: bool = True) -> None:
    """Execute the run's unfinished notebooks, then write its results and its report.

    Args:
        run: a new or reopened run; its state on disk follows every notebook.
        show_ids: leave user ids and queries in the report as they are.
        report: write ``report.html``.

    Raises:
        RunError: a notebook failed, or the run was interrupted.
        DataError: a notebook found the data bad, or another process is in this run.
    """
    with _alone(run.folder):
        for number, name in enumerate(run.notebooks, start=1):
            if _is_finished(run, name):
                print(f"[{number}/{len(run.notebooks)}] {name}: finished before", flush=True)
                continue
            run.finished.pop(name, None)
            seconds = _execute_one(run, name, f"[{number}/{len(run.notebooks)}] {name}")
            run.finished[name] = {"sha256": _sha256(name), "seconds": round(seconds, 1)}
            run.save()
            collect_results(run)
        collect_results(run)
        if report:
            write_report(run.folder, show_ids=show_ids)


def collect_results(run: Run) -> dict[str, Any]:
    """Merge what the finished notebooks recorded into ``results.json``, and return it.

    Returns:
        ``run`` (source, parameters, fingerprint, seed, versions, seconds) and
        ``notebooks`` (by name, what each recorded).
    """
    recorded = {}
    for name in run.notebooks:
        file = run.folder / "results" / f"{name}.json"
        if name in run.finished and file.is_file():
            recorded[name] = json.loads(file.read_text(encoding="utf-8"))
    seconds = {name: done["seconds"] for name, done in run.finished.items()}
    facts = {
        "source": run.source,
        "parameters": run.given,
        "notebooks": run.notebooks,
        "fingerprint": run.fingerprint or _first(recorded, "values", "fingerprint"),
        "seed": _first(recorded, "parameters", "seed"),
        "reference": bool(recorded) and all(r["reference"] for r in recorded.values()),
        "versions": next((r["versions"] for r in recorded.values()), {}),
        "seconds": round(sum(seconds.values()), 1),
        "seconds_by_notebook": seconds,
    }
    results = {"run": facts, "notebooks": recorded}
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write_atomically(run.folder / "results.json", text)
    return results


def summary(run: Run) -> str:
    """Return a few lines about a finished run: times, verdict, where the report is."""
    results = json.loads((run.folder / "results.json").read_text(encoding="utf-8"))
    lines = [f"  {name}: {s:.0f} s" for name, s in results["run"]["seconds_by_notebook"].items()]
    verdict = _first(results["notebooks"], "values", "verdict") or []
    lines = ["", f"Finished in {results['run']['seconds']:.0f} s.", *lines]
    lines += ["", *([verdict] if isinstance(verdict, str) else verdict)] if verdict else []
    page = run.folder / "report.html"
    found = f"Report: {shown(page)}" if page.is_file() else f"Results: {shown(run.folder)}"
    return "\n".join([*lines, "", found])


def shown(path: Path) -> str:
    """Return a path as a person at this prompt would type it."""
    full = path.resolve()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(full)


def _checked_path(source: str, path: str) -> str:
    if source != "csv":
        if path:
            raise DataError(f"--path is for --source csv; the source {source} needs none.")
        return ""
    if not path:
        raise DataError("--source csv needs --path DIR, the folder that holds your tables.")
    if not Path(path).exists():
        raise DataError(f"--path {path}: there is no such folder.")
    if not Path(path).is_dir():
        raise DataError(f"--path {path}: this is a file; give the folder that holds your tables.")
    return _plain_path(path)


def _plain_path(path: str) -> str:
    """Return the folder as the notebooks see it, which run in the repository's root."""
    full = Path(path).expanduser().resolve()
    return str(full.relative_to(REPO)) if full.is_relative_to(REPO) else str(full)


def _fingerprint(source: str, path: str) -> str:
    """Open a person's own tables, so that bad ones stop the run before it begins."""
    if source != "csv":
        return ""
    from helpers.sources import open_source

    return open_source(source, path=str(REPO / path)).fingerprint


def _new_folder(out: Path, source: str) -> Path:
    stem = f"{dt.datetime.now():%Y%m%d-%H%M%S}-{source}"
    for attempt in range(1, 1000):
        folder = out.resolve() / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            folder.mkdir(parents=True)
            (folder / "results").mkdir()
            return folder
        except FileExistsError:
            if not folder.is_dir():  # something on the way is a file
                break
        except OSError as error:
            raise _not_writable(out, error.strerror) from None
    raise _not_writable(out, "a file is in its place")


def _not_writable(out: Path, reason: str) -> DataError:
    return DataError(
        f"The folder for results, {shown(out)}, cannot be written: {reason}. "
        "Give another one with --out DIR."
    )


def _read_state(folder: Path) -> Run:
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return Run(folder=folder, **state)
    except OSError:
        others = [file.parent.name for file in folder.parent.glob(f"*/{_STATE}")]
        hint = near_match(folder.name, others)
        raise DataError(f"{shown(folder)} is not the folder of a run.{hint}") from None
    except (ValueError, TypeError):
        raise DataError(
            f"{shown(folder / _STATE)} is damaged, so this run cannot be resumed. Start a new one."
        ) from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second process out of the run; a killed one lets go by itself."""
    try:
        import fcntl
    except ImportError:  # not on this system: two at once are the person's own risk
        yield
        return
    try:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _not_writable(folder, error.strerror) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataError(
            f"Another process is working in {shown(folder)}. Wait for it, or stop it."
        ) from None
    finally:
        os.close(handle)


def _is_finished(run: Run, name: str) -> bool:
    """Return whether the notebook ran to its end, and is still what ran then."""
    done = run.finished.get(name)
    return done is not None and done["sha256"] == _sha256(name)


def _sha256(name: str) -> str:
    return hashlib.sha256((settings.NOTEBOOKS / f"{name}.ipynb").read_bytes()).hexdigest()


def _first(recorded: Mapping[str, Any], part: str, name: str) -> Any:
    """Return the first notebook's value of that name, or None."""
    return next((r[part][name] for r in recorded.values() if name in r[part]), None)


def _execute_one(run: Run, name: str, title: str) -> float:
    """Execute one notebook into the run's folder; return the seconds it took."""
    values = run.parameters()[name]
    source, target = settings.NOTEBOOKS / f"{name}.ipynb", run.folder / f"{name}.ipynb"
    bar = {"desc": title} if sys.stderr.isatty() else False
    if not bar:
        print(title, flush=True)
    began = time.perf_counter()
    resume = f"The run is kept in {shown(run.folder)}"
    try:
        execute_notebook(source, target, values, bar=bar)
    except KeyboardInterrupt:
        raise RunError(
            f"Interrupted in {name}.ipynb. {resume}; go on with --resume {shown(run.folder)}.",
            exit_code=130,
        ) from None
    except NotebookFailed as failure:
        fix = f"{resume}; fix it and add --resume {shown(run.folder)}."
        where = f"{name}.ipynb{failure.where}"
        if failure.kind == "DataError":
            raise DataError(f"{failure.message} (Found by {where}. {fix})") from None
        raise RunError(f"{where}: {failure}. {fix}") from None
    seconds = time.perf_counter() - began
    if not bar:
        print(f"      done in {seconds:.1f} s", flush=True)
    return seconds
