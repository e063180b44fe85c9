"""A run's state, read back from a folder that anybody may have made.

Nothing in the folder is believed: it is checked as a command is, so that going on executes the
workbook's own notebooks, with parameters that they declare, and writes into the folder only.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.small_files import check_path, read_json, refuse_links
from helpers.base.words import near_match
from helpers.commands import run_request
from helpers.commands.run.state import STATE, Run, shown_path

__all__ = ["read_state"]

_KINDS = {
    **{"source": str, "path": str, "schema": str, "fingerprint": str},
    **{"given": dict, "notebooks": list, "finished": dict, "copied": dict},
}
_LONGEST_S = 1e9  # more seconds than any notebook takes


def read_state(folder: Path) -> Run:
    """Return the run that a folder holds.

    Args:
        folder: resolved, so that it is no link itself.

    Raises:
        DataError: it holds none, one whose state is damaged or asks for what no command
            may ask for, or anything that is a link, a pipe or a device.
    """
    try:
        state = read_json(folder / STATE, name=_place(folder), links=False)
    except FileNotFoundError:
        raise DataError(
            f"{shown_path(folder)} is not the folder of a run.{_near(folder)}"
        ) from None
    except DataError as error:
        if not folder.is_dir():
            raise DataError(f"{shown_path(folder)} is not the folder of a run.") from None
        raise DataError(f"{error} {_damaged(folder)}") from None
    try:
        refuse_links(folder, what="a run's folder")
    except OSError as error:
        raise DataError(f"{shown_path(folder)} cannot be read: {error.strerror}.") from None
    if not (_has_its_kinds(state) and _looks_whole(state)):
        raise DataError(_damaged(folder))
    run = Run(folder=folder, **state)
    _check_source(run)
    _check_names(run)
    return run


def _place(folder: Path) -> str:
    return str(Path(shown_path(folder), STATE))  # not of the file itself, which may be a link


def _near(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return near_match(folder.name, [f.parent.name for f in folder.parent.glob(f"*/{STATE}")])
    return ""


def _damaged(folder: Path) -> str:
    return f"{_place(folder)} is damaged, so this run cannot be resumed. Start a new one."


def _has_its_kinds(state: Any) -> bool:
    """Return whether the state has the fields of a run, each of its type."""
    fields = {f.name: f for f in dataclasses.fields(Run) if f.name in _KINDS}
    needed = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    return (
        isinstance(state, dict)
        and needed <= set(state) <= set(fields)
        and all(isinstance(state[name], _KINDS[name]) for name in state)
    )


def _looks_whole(state: dict[str, Any]) -> bool:
    """Return whether what stands in the fields is what a run writes there."""
    done, copied = state.get("finished", {}), state.get("copied", {})
    return (
        all(isinstance(name, str) for name in state["notebooks"])
        and all(isinstance(v, str | int | float) for v in state["given"].values())
        and set(done) <= set(state["notebooks"])
        and all(_is_finish(each) for each in done.values())
        and (not copied or _is_copy(copied))
    )


def _is_finish(done: Any) -> bool:
    return (
        isinstance(done, dict)
        and isinstance(done.get("sha256"), str)
        and isinstance(done.get("seconds"), int | float)
        and 0 <= done["seconds"] < _LONGEST_S
        and isinstance(done.get("recorded", False), bool)
    )


def _is_copy(copied: dict[str, Any]) -> bool:
    files = copied.get("files")
    return (
        isinstance(files, dict)
        and all(isinstance(digest, str) for digest in files.values())
        and isinstance(copied.get("schema"), str)
    )


def _check_source(run: Run) -> None:
    """Refuse a source, or places of its tables, that no command could have stated."""
    from helpers.data.sources import SOURCES  # here, not above: it loads what reads tables

    own = run.source in run_request.OWN
    if run.source not in SOURCES or (not own and (run.path or run.schema)):
        raise DataError(_damaged(run.folder))
    if run.source == "csv" and not run.path:
        raise DataError(_damaged(run.folder))
    for name in ("path", "schema"):
        check_path(getattr(run, name), option=f"{_place(run.folder)}, {name}:")


def _check_names(run: Run) -> None:
    """Refuse notebooks that are not the workbook's own, by their full names and in order."""
    place = _place(run.folder)
    try:
        known = run_request.select_notebooks(run.notebooks)
    except DataError as error:
        raise DataError(f"{place}: {error} Start a new run.") from None
    if not run.notebooks or known != run.notebooks:
        raise DataError(
            f"{place} must name notebooks of the workbook in their order, such as "
            f"{', '.join(known[:2])}. Start a new run."
        )
