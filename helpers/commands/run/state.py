"""What a run was asked for and how far it is: its folder, its state on disk, its lock."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.paths import HOME
from helpers.base.writing import write_atomically
from helpers.commands import run_request

__all__ = [
    "FULL",
    "RUNS",
    "STATE",
    "Run",
    "RunError",
    "alone",
    "kept",
    "make_folder",
    "shown_path",
    "told",
]

#: Where runs are kept unless a person says otherwise.
RUNS = HOME / "runs"

#: The file that holds a run's state.
STATE = "run.json"

#: What the system says when nothing more can be written.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RunError(RuntimeError):
    """A run that stopped: its message is for a person; ``exit_code`` is the command's."""

    def __init__(self, message: str, *, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class Run:
    """What a run was asked for, and how far it is.

    Attributes:
        folder: the run's own.
        source: where the tables come from.
        path: folder of the tables, as the notebooks see it.
        given: values of notebook parameters, as a person wrote them.
        notebooks: their names, in order.
        schema: a ``schema.yaml``, as the notebooks see it.
        fingerprint: of a person's own tables.
        finished: by notebook, what ran and how long.
        copied: the files of a whole copy of a server's tables, and the schema it was made by.
    """

    folder: Path
    source: str
    path: str
    given: dict[str, Any]
    notebooks: list[str]
    schema: str = ""
    fingerprint: str = ""
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    copied: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write the state into the run's folder, whole or not at all."""
        state = dataclasses.asdict(self)
        del state["folder"]  # a run may be moved
        write_atomically(self.folder / STATE, json.dumps(state, indent=1, ensure_ascii=False))

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Return the parameters that each notebook gets; bad ones raise ``DataError``."""
        fixed = {
            "source": self.source,
            "path": run_request.plain_path(self.tables) if self.copies else self.path,
            "schema": self.schema,
            "run_dir": run_request.plain_path(self.folder),
        }
        return run_request.fill_parameters(self.notebooks, self.given, fixed)

    @property
    def copies(self) -> bool:
        """Whether the run reads its own copy of a server's tables."""
        return self.source == "mysql" and not self.path

    @property
    def tables(self) -> Path:
        """The folder of that copy."""
        return self.folder / "tables"


def shown_path(path: Path) -> str:
    """Return a path as a person at this prompt would type it."""
    full = path.resolve()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(full)


def make_folder(run: Run, out: Path | None = None) -> None:
    """Give a new run its folder, with its state in it: a killed process leaves all or nothing.

    No two runs get the same folder, not even in one second.

    Args:
        run: without a folder yet.
        out: where to make it; :data:`RUNS` when not given.

    Raises:
        DataError: the folder cannot be made.
        RunError: the disk is full.
    """
    out = out or RUNS
    try:
        out.mkdir(parents=True, exist_ok=True)
        run.folder = Path(tempfile.mkdtemp(prefix=".new-", dir=out.resolve()))
        run.folder.chmod(0o755)
        (run.folder / "results").mkdir()
        run.save()
        run.folder = _moved(run.folder, f"{dt.datetime.now():%Y%m%d-%H%M%S}-{run.source}")
    except OSError as error:
        if run.folder.name.startswith(".new-"):
            shutil.rmtree(run.folder, ignore_errors=True)
        sentence = (
            f"The folder for results, {shown_path(out)}, cannot be written: {error.strerror}. "
            "Give another one with --out DIR."
        )
        raise (RunError if error.errno in FULL else DataError)(sentence) from None


def _moved(folder: Path, name: str) -> Path:
    """Rename a folder to a name that is free, or with a number; return its new path."""
    for number in itertools.count(1):
        target = folder.with_name(name if number == 1 else f"{name}-{number}")
        try:
            return folder.rename(target)  # onto another run's folder it fails: that is not empty
        except OSError:
            if not target.exists() or number == 1000:
                raise
    raise AssertionError("not reached")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second process out of the run; a killed one lets go by itself.

    Raises:
        DataError: another process is in the run.
        OSError: the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # not on this system: two at once are the person's own risk
        yield
        return
    # Not through a link, which would make or touch a file elsewhere, nor waiting for a pipe.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(folder / ".lock", flags, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"Another process is working in {shown_path(folder)}. Wait for it, or stop it."
            ) from None
        except OSError:  # a disk that knows no locks
            pass
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def told(run: Run) -> Iterator[None]:
    """Turn what the disk or a Ctrl-C does to a run into a sentence that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        sentence = f"Interrupted. {kept(run)}; go on with --resume {shown_path(run.folder)}."
        raise RunError(sentence, exit_code=130) from None
    except BrokenPipeError:  # of what reads the output, not of the disk
        raise
    except OSError as error:
        raise RunError(_disk_sentence(run, error)) from None
    except Exception as error:
        if "No space left on device" not in str(error):  # as DuckDB says it
            raise
        raise RunError(_disk_sentence(run, OSError(errno.ENOSPC, ""))) from None


def _disk_sentence(run: Run, error: OSError) -> str:
    if not (run.folder / STATE).is_file():
        return (
            f"{shown_path(run.folder)}, the folder of this run, is gone or was emptied while the "
            "run was going on, and its results with it. Start a new run."
        )
    what = shown_path(Path(os.fsdecode(error.filename))) if error.filename else "A file of the run"
    resume = f"and add --resume {shown_path(run.folder)}."
    if error.errno in FULL:
        return f"{what} cannot be written: no space is left. {kept(run)}; make space, {resume}"
    reason = error.strerror or type(error).__name__
    return f"{what} cannot be read or written: {reason}. {kept(run)}; mend this, {resume}"


def kept(run: Run) -> str:
    """Return where a stopped run is, as the beginning of a sentence."""
    return f"The run is kept in {shown_path(run.folder)}"
