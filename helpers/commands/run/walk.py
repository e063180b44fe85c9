"""Starting a run, opening one that was cut off, and executing its notebooks in order."""

from __future__ import annotations

import errno
import hashlib
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.paths import PACKAGE
from helpers.commands import run_request
from helpers.commands.report import write_report
from helpers.commands.run.changes import change_parameters, offer
from helpers.commands.run.data import copy_tables, data_changed, try_data
from helpers.commands.run.executor import NotebookFailed, execute_notebook
from helpers.commands.run.reopened import read_state
from helpers.commands.run.results import collect_results, read_record, record_of
from helpers.commands.run.state import (
    STATE,
    Run,
    RunError,
    alone,
    kept,
    make_folder,
    shown_path,
    told,
)

__all__ = ["execute_run", "open_run", "start_run"]


def start_run(
    source: str = "journey",
    *,
    path: str = "",
    schema: str = "",
    out: Path | None = None,
    given: Mapping[str, Any] | None = None,
    names: Iterable[str] = (),
    everything: bool = False,
) -> Run:
    """Check what is asked for and make the folder of a new run.

    Args:
        source: where the tables come from.
        path: folder of the tables, for the source ``csv``; for ``mysql`` a copy of a server's
            tables, or empty: :func:`execute_run` then copies them into the run's folder.
        schema: a ``schema.yaml`` for ``csv`` and ``mysql``; empty: the one in ``path``.
        out: folder in which the run's own folder is made; ``runs`` when not given.
        given: values of notebook parameters, as a person wrote them.
        names: notebooks to run; none means the walk.
        everything: run all numbered notebooks.

    Raises:
        DataError: something asked for does not exist, does not fit or cannot be written.
    """
    notebooks = run_request.select_notebooks(names, everything=everything)
    path, schema = run_request.check_data(source, path, schema)
    run = Run(Path(), source, path, dict(given or {}), notebooks, schema)
    run.parameters()  # refuses unknown parameters and wrong types
    run.fingerprint = try_data(run)
    make_folder(run, out)
    return run


def open_run(
    folder: Path,
    *,
    source: str | None = None,
    path: str = "",
    schema: str = "",
    given: Mapping[str, Any] | None = None,
    names: Iterable[str] = (),
) -> Run:
    """Open a run that was cut off, with what it was asked for when it began.

    Args:
        folder: the run's folder.
        source: if given, must be the run's own; and so must all that follows.
        path: folder of the tables.
        schema: the ``schema.yaml``.
        given: values of notebook parameters; of those that no finished notebook declares, other
            ones than the run began with will do.
        names: notebooks.

    Raises:
        DataError: the folder holds no run, something asked for differs from what the run
            began with, a value is outside its range, or the tables or their schema have changed
            since.
    """
    run = read_state(folder.resolve())
    asked: dict[str, tuple[Any, Any]] = {
        "--source": (source, run.source),
        "--path": (path and run_request.plain_path(path), run.path),
        "--schema": (schema and run_request.plain_path(schema), run.schema),
    }
    if names := list(names):
        asked["the notebooks"] = (run_request.select_notebooks(names), run.notebooks)
    for option, (wanted, began) in asked.items():
        if wanted and wanted != began:
            raise DataError(
                f"{shown_path(folder)} began with other settings ({option}: {began}, now "
                f"{wanted}). Resume it without options, or start a new run."
            )
    change_parameters(run, given or {})
    run.parameters()
    if data_changed(run):
        raise DataError(
            f"The tables{f' in {run.path}' if run.path else ''} or their schema.yaml have changed "
            f"since {shown_path(folder)} began, so its results would be of two kinds. "
            "Start a new run."
        )
    return run


def execute_run(run: Run, *, show_ids: bool = False, report: bool = True) -> None:
    """Execute the run's unfinished notebooks, then write its results and its report.

    A run on a server first copies the server's tables, unless the whole copy is there.

    Args:
        run: a new or reopened run; its state on disk follows every notebook.
        show_ids: leave user ids and queries in the report as they are.
        report: write ``report.html``.

    Raises:
        RunError: a notebook failed, the run was interrupted, or its folder cannot be written.
        DataError: a notebook found the data bad, the server cannot be read, or another
            process is in this run.
    """
    with told(run), alone(run.folder):
        run.save()  # parameters may have changed since it was cut off
        if run.copies:
            copy_tables(run)
        for number, name in enumerate(run.notebooks, start=1):
            if _is_finished(run, name):
                print(f"[{number}/{len(run.notebooks)}] {name}: finished before", flush=True)
                continue
            run.finished.pop(name, None)
            record_of(run, name).unlink(missing_ok=True)  # of an attempt that failed later
            seconds = _execute_one(run, name, f"[{number}/{len(run.notebooks)}] {name}")
            if not (run.folder / STATE).is_file():
                raise FileNotFoundError(errno.ENOENT, "gone", str(run.folder))
            recorded = record_of(run, name).is_file()
            done = {"sha256": _sha256(name), "seconds": round(seconds, 1), "recorded": recorded}
            run.finished[name] = done
            run.save()
            collect_results(run)
        collect_results(run)
        if report:
            _write_report(run, show_ids=show_ids)


def _is_finished(run: Run, name: str) -> bool:
    """Return whether the notebook ran to its end, and it and the package are what ran then."""
    done = run.finished.get(name)
    if done is None:
        return False
    if done["sha256"] != _sha256(name):
        print(f"{name}: runs again, for it or the package has changed since", flush=True)
        return False
    return not done.get("recorded") or read_record(run, name) is not None


def _write_report(run: Run, *, show_ids: bool) -> None:
    try:
        write_report(run.folder, show_ids=show_ids)
    except DataError as error:  # not of the data, here: the folder cannot be written
        raise RunError(f"{error} {kept(run)}; add --resume {shown_path(run.folder)}.") from None


def _execute_one(run: Run, name: str, title: str) -> float:
    """Execute one notebook into the run's folder; return the seconds it took."""
    values = run.parameters()[name]
    source, target = run_request.NOTEBOOKS / f"{name}.ipynb", run.folder / f"{name}.ipynb"
    bar = {"desc": title} if sys.stderr.isatty() else False
    if not bar:
        print(title, flush=True)
    began = time.perf_counter()
    resume = kept(run)
    try:
        execute_notebook(source, target, values, bar=bar)
    except KeyboardInterrupt:
        raise RunError(
            f"Interrupted in {name}.ipynb. {resume}; go on with --resume {shown_path(run.folder)}.",
            exit_code=130,
        ) from None
    except NotebookFailed as failure:
        may = offer(run, name)
        fix = f"{resume}; fix it and add --resume {shown_path(run.folder)}.{may}"
        where = f"{name}.ipynb{failure.where}"
        if failure.kind == "DataError":
            if run.source in run_request.OWN:  # a run is of one kind of data only
                fix = (
                    "Mend the data and start a new run; while the tables and schema.yaml stay as "
                    f"they are, --resume {shown_path(run.folder)} goes on with this one.{may}"
                )
            raise DataError(f"{failure.message} (Found by {where}. {fix})") from None
        what = str(failure)
        if run.source in run_request.OWN and not failure.is_safe:
            what = f"{failure.kind}, with a message that may hold values of your rows and stands "
            what += "only in the notebook that is kept"
        raise RunError(f"{where}: {what}. {fix}") from None
    seconds = time.perf_counter() - began
    if not bar:
        print(f"      done in {seconds:.1f} s", flush=True)
    return seconds


def _sha256(name: str) -> str:
    """Return a digest of the notebook and of the package: what ran under either is of one kind."""
    digest = hashlib.sha256((run_request.NOTEBOOKS / f"{name}.ipynb").read_bytes())
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(
            file.relative_to(PACKAGE.parent).as_posix().encode() + b"\0" + file.read_bytes()
        )
    return digest.hexdigest()
