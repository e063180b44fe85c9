"""Executing notebooks, and tidying them so that two executions give the same file.

A run on data is executed by papermill instead (:mod:`helpers.commands.run.executor`), as a person
can do with any notebook: it injects parameters and keeps what was done when a cell fails. Here
nothing is injected, a failure leaves the file as it was, and each cell's time is measured, which
is what nbclient does by itself. Both start the kernel of :func:`this_python`.
"""

from __future__ import annotations

import copy
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.base.words import near_match
from helpers.base.writing import write_atomically
from helpers.notebooks.times import record_seconds, recorded_seconds, with_time

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode

__all__ = [
    "KERNEL_PATIENCE_S",
    "NOTEBOOKS",
    "execute",
    "find",
    "read",
    "refresh",
    "retidy",
    "this_python",
    "tidy",
    "written",
]

NOTEBOOKS = REPO / "notebooks"

_METADATA: dict[str, dict[str, str]] = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
#: How long a kernel may take to start, and the last outputs of a cell to arrive. Both come in
#: seconds, and on a busy machine they come all the same; a kernel that died is noticed at once.
KERNEL_PATIENCE_S = 600
#: tqdm draws a bar after this many seconds; TQDM_DISABLE does not reach its notebook bars.
_NO_BARS = {"TQDM_DELAY": "1e9"}
_WIDGET = "application/vnd.jupyter.widget-view+json"
#: A line of tqdm: ``training:  40%|####      | 2/5`` or ``7it [00:01, 5.2it/s]``.
_PROGRESS = re.compile(r"\d+%\|.*\||\d+it \[\d\d:\d\d")


def find(name: str) -> Path:
    """Return the path of a notebook of the workbook.

    Args:
        name: ``03_train_recommender``, with or without ``.ipynb``.

    Returns:
        Its path in ``notebooks/``.

    Raises:
        DataError: there is no such notebook; names the near match.
    """
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    stem = name.removesuffix(".ipynb")
    if stem not in known:
        raise DataError(
            f'There is no notebook "{name}" in notebooks/.{near_match(stem, known)} '
            f"The notebooks are: {', '.join(known) or 'none yet'}."
        )
    return known[stem]


def read(path: str | Path) -> NotebookNode:
    """Return a notebook file as nbformat reads it, of any version 4.

    Raises:
        DataError: the file cannot be read, or is not a notebook.
    """
    import nbformat  # here, not above: it takes a second, and every kernel imports this module

    try:
        return nbformat.reads(Path(path).read_text(encoding="utf-8"), as_version=4)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except Exception as error:  # nbformat raises bare exceptions of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not a notebook: {reason}") from None


def written(notebook: NotebookNode) -> str:
    """Return the text of a notebook's file: sorted keys, one newline at the end."""
    import nbformat

    return nbformat.writes(notebook).rstrip("\n") + "\n"


def execute(
    path: str | Path, *, timeout_s: float = 600.0, env: Mapping[str, str] | None = None
) -> NotebookNode:
    """Execute a notebook from its first cell, in a fresh kernel and in its own folder.

    Progress bars are switched off in the kernel, as a stored notebook must hold none.

    Args:
        path: the notebook; the file stays as it is.
        timeout_s: seconds that one cell may take.
        env: what its environment has beside this process's own.

    Returns:
        The notebook with its new outputs.

    Raises:
        RuntimeError: a cell failed, took too long or ended the kernel; names the cell.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellControlSignal, CellExecutionError, DeadKernelError

    path = Path(path)
    notebook = read(path)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # timings, which tell below which cell was running
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        startup_timeout=KERNEL_PATIENCE_S,
        iopub_timeout=KERNEL_PATIENCE_S,
        kernel_name="python3",
        kernel_manager_class=this_python(),
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute(env={**os.environ, **_NO_BARS, **(env or {})})
    except CellExecutionError as error:
        raise RuntimeError(
            f"{error.traceback}\n{path.name}, {_last_started(notebook)}: {error.ename}: "
            f"{error.evalue}"
        ) from None
    except (CellControlSignal, DeadKernelError, TimeoutError) as error:
        raise RuntimeError(f"{path.name}, {_last_started(notebook)}: {error}") from None
    return notebook


def this_python() -> type[AsyncKernelManager]:
    """Return a kernel manager that starts this interpreter, whatever kernels are installed.

    A kernel of a person's own that is called ``python3`` would hide the environment's.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(
                argv=[*start, "--log-level=CRITICAL"],  # else a warning on every start
                display_name="Python 3",
                language="python",
                env={
                    # A backend chosen by a shell would keep figures out of the notebook.
                    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else another warning
                },
            )

    return ThisPython


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook without what differs from one execution to the next.

    Cells are named by their place (``cell-001``) and keep of their metadata what the workbook
    uses: tags, ``alt`` and whether it is folded. Timings, the state of widgets and
    progress bars go. Sources stay as they are, and so do other outputs: a warning is not tidied
    away but found by ``lint``.

    Args:
        notebook: any notebook of version 4, just executed or converted.

    Returns:
        The tidied copy, of version 4.5.
    """
    from nbformat import from_dict

    tidied = copy.deepcopy(notebook)
    tidied.nbformat, tidied.nbformat_minor = 4, 5
    tidied.metadata = from_dict(_METADATA)
    for number, cell in enumerate(tidied.cells, start=1):
        cell.id = f"cell-{number:03d}"
        cell.metadata = from_dict(_kept_metadata(cell.metadata))
        if cell.cell_type == "code":
            cell.outputs = _tidy_outputs(cell.outputs)
    return tidied


def refresh(names: Iterable[str] = (), *, timeout_s: float = 900.0) -> list[Path]:
    """Execute notebooks in order, tidy them and write them back, each as soon as it is done.

    All of them start from an empty cache of their own, as a learner's do who takes them in order;
    how long each took is recorded, and its *Time* sentence is written from the record. Named ones
    use the cache as it is, which makes them fast: they are measured only if they never were.

    Args:
        names: notebooks; none means all of them.
        timeout_s: seconds that one cell may take.

    Returns:
        The files written.

    Raises:
        DataError: there is no notebook of that name; nothing has been executed then.
        RuntimeError: a cell failed; that file is unchanged, those before it are written.
    """
    named = sorted({find(name) for name in names})
    paths = named or sorted(NOTEBOOKS.glob("*.ipynb"))
    bar = tqdm(paths, unit="notebook", disable=None)
    with tempfile.TemporaryDirectory(prefix="workbook-cache-") as empty:
        env = {} if named else {"WORKBOOK_CACHE": empty}
        for path in bar:
            bar.set_description(path.stem)
            before = [cell.source for cell in read(path).cells]
            began = time.perf_counter()
            notebook = tidy(execute(path, timeout_s=timeout_s, env=env))
            seconds = time.perf_counter() - began
            if [cell.source for cell in notebook.cells] != before:
                raise RuntimeError(
                    f"{path.name}: its source changed while it was executed; not saved."
                )
            if not named or recorded_seconds(path) is None:
                record_seconds(notebook, path, seconds)
            write_atomically(path, written(with_time(notebook, path)))
    return paths


def retidy(names: Iterable[str] = ()) -> list[Path]:
    """Tidy notebooks that were executed elsewhere, and renew their *Time* sentence.

    Nothing is executed: outputs and counts stay as they are in the file.

    Args:
        names: notebooks; none means all of them.

    Returns:
        The files that were changed.

    Raises:
        DataError: there is no notebook of that name; nothing has been written then.
    """
    changed = []
    for path in sorted({find(name) for name in names} or NOTEBOOKS.glob("*.ipynb")):
        text = written(with_time(tidy(read(path)), path))
        if text != path.read_text(encoding="utf-8"):
            write_atomically(path, text)
            changed.append(path)
    return changed


def _last_started(notebook: NotebookNode) -> str:
    """Name the cell that was running: the last one with an execution, counted from 1."""
    started = [
        number
        for number, cell in enumerate(notebook.cells, start=1)
        if "execution" in cell.metadata
    ]
    return f"cell {started[-1]}" if started else "before its first cell"


def _kept_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    kept = {key: metadata[key] for key in ("alt", "tags") if metadata.get(key)}
    if metadata.get("jupyter", {}).get("source_hidden"):
        # What a solution prints would give it away: it is folded like its source.
        kept["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
    return kept


def _tidy_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in outputs:
        if _is_progress(output):
            continue
        if "metadata" in output:  # sizes of figures are kept by media type; the rest is noise
            for key in [key for key in output.metadata if "/" not in key]:
                del output.metadata[key]
        if kept and _same_stream(kept[-1], output):
            kept[-1].text += output.text  # where a stream is cut depends on time
        else:
            kept.append(output)
    return kept


def _same_stream(first: NotebookNode, second: NotebookNode) -> bool:
    return first.output_type == second.output_type == "stream" and first.name == second.name


def _is_progress(output: NotebookNode) -> bool:
    if output.output_type == "stream":
        return output.name == "stderr" and _PROGRESS.search(output.text) is not None
    return _WIDGET in output.get("data", {})
