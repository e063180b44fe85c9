"""Which parameters a run may still change when it goes on, and the command of a new one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.paths import HOME
from helpers.commands import run_request
from helpers.commands.run.state import Run, shown_path
from helpers.notebooks import Parameter, parameters

__all__ = ["change_parameters", "changeable", "new_command", "offer"]


def change_parameters(run: Run, given: Mapping[str, Any]) -> None:
    """Give a run that goes on other values of what no finished notebook declares.

    A finished notebook's results depend on its parameters: with other values for the rest, the
    run would be of two kinds. A value that is only written in another way is no other value.

    Args:
        run: its ``given`` follows; the values are not checked here.
        given: values of notebook parameters, as a person wrote them.

    Raises:
        DataError: a finished notebook had another value; with the command of a new run.
    """
    changed = {n: v for n, v in given.items() if str(v) != str(run.given.get(n))}
    for notebook, declared in _finished(run).items():
        for name in changed.keys() & declared.keys() & _used(run):
            began = run.given.get(name, declared[name].default)
            if not _is_same(began, changed[name], declared[name], notebook):
                raise DataError(
                    f"{shown_path(run.folder)} cannot go on with another {name}: {notebook} is "
                    f"finished with {began}, and the results would be of two kinds. Start a new "
                    f"run: {new_command(run, given)}"
                )
    run.given |= {name: value for name, value in changed.items() if name not in _used(run)}


def changeable(run: Run, notebook: str) -> list[str]:
    """Return the parameters of a notebook that no finished one declares, in its order."""
    own = parameters(run_request.NOTEBOOKS / f"{notebook}.ipynb")
    return [name for name in own if name not in _used(run) | run_request.RESERVED.keys()]


def offer(run: Run, notebook: str) -> str:
    """Return, as a sentence, which values a resume may change after a notebook failed."""
    names = changeable(run, notebook)
    return f" With it, -p NAME VALUE may change {', '.join(names)}." if names else ""


def new_command(run: Run, given: Mapping[str, Any]) -> str:
    """Return the command that starts such a run anew, with other values of parameters."""
    words = ["python", "-m", "helpers", "run", "--source", run.source]
    for option, value in (("--path", run.path), ("--schema", run.schema)):
        words += [option, shown_path(HOME / value)] if value else []
    words += ["--out", shown_path(run.folder.parent)]
    for name, value in (run.given | dict(given)).items():
        words += ["-p", name, str(value)]
    if [Path(name).name[:2] for name in run.notebooks] != list(run_request.WALK):
        words += run.notebooks
    return shlex.join(words)


def _finished(run: Run) -> dict[str, dict[str, Parameter]]:
    """Return what the finished notebooks declare; one that is no longer there counts no more."""
    files = {name: run_request.NOTEBOOKS / f"{name}.ipynb" for name in run.finished}
    return {name: parameters(file) for name, file in files.items() if file.is_file()}


def _used(run: Run) -> set[str]:
    """Return what finished notebooks declare, without what options of the command set."""
    declared = {name for of_one in _finished(run).values() for name in of_one}
    return declared - run_request.RESERVED.keys()


def _is_same(began: Any, wanted: Any, parameter: Parameter, notebook: str) -> bool:
    wanted = run_request.convert(wanted, parameter, notebook)
    try:
        return run_request.convert(began, parameter, notebook) == wanted
    except DataError:  # an older notebook allowed it
        return False
