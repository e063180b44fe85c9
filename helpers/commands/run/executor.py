"""One notebook, executed by papermill with this very Python."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.base.paths import HOME
from helpers.base.writing import write_atomically
from helpers.cache import cache_folder
from helpers.notebooks.execution import KERNEL_PATIENCE_S, this_python

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

__all__ = ["NotebookFailed", "execute_notebook"]

# Notebooks read files, or a copy of the server's tables: no kernel needs the way to a server.
_SECRETS = ("WORKBOOK_DB_URL",)

# A kernel watches its parent only once it is up, a second after its start, and a parent that is
# killed before that goes unseen under systemd. This one watches from the start. It also keeps
# tornado quiet: a kernel that ends while it still answers prints a traceback, and nothing is lost.
_WATCHED = """
import logging, os, runpy, threading, time
logging.getLogger("tornado").setLevel(logging.CRITICAL)
parent = int(os.environ["JPY_PARENT_PID"])
def watch():
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""


_DIED = "the notebook's Python died"

# The messages of these errors speak of files, memory and packages, not of values in tables.
_SAFE: tuple[str, ...] = (
    "DataError",
    "OSError",
    "FileNotFoundError",
    "PermissionError",
    "MemoryError",
)
_SAFE += ("ImportError", "ModuleNotFoundError", "KeyboardInterrupt", _DIED)


class NotebookFailed(Exception):
    """A notebook stopped with an error of this kind, in this cell.

    Attributes:
        kind: the error's type.
        message: what it says, on one line.
        where: the cell, as the end of a sentence.
        is_safe: whether the message of such an error holds no value of a table.
    """

    def __init__(self, kind: str, message: str, cell: int | None = None):
        self.is_safe = kind in _SAFE
        self.kind = kind
        self.message = " ".join(message.split())[:1000].rstrip(".")
        self.where = f", cell {cell}" if cell else ""
        super().__init__(f"{kind}: {self.message}" if self.message else kind)


def execute_notebook(
    source: Path, target: Path, values: Mapping[str, Any], *, bar: bool | dict[str, Any] = False
) -> None:
    """Execute a notebook with this Python's kernel, in :data:`helpers.base.paths.HOME`.

    Args:
        source: the notebook; it stays as it is.
        target: the executed copy, written after every cell and kept when a cell fails.
        values: parameters that the notebook declares.
        bar: whether to show a progress bar, or options of tqdm for one.

    Raises:
        NotebookFailed: a cell raised an error, or the kernel died.
        OSError: the copy cannot be written; the kernel is stopped.
        KeyboardInterrupt: the person stopped it; the kernel is stopped too.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # A file of its own: papermill would write through a link, and wait for who reads a pipe.
    target.unlink(missing_ok=True)
    log = logging.getLogger("papermill")
    level = log.level
    log.setLevel(logging.CRITICAL)  # errors come back as exceptions, and parameters are checked
    try:
        papermill.execute_notebook(
            _taken_literally(source),
            _taken_literally(target),
            dict(values),
            kernel_name="python3",
            language="python",
            kernel_manager_class=_kernel(),
            progress_bar=bar,
            start_timeout=KERNEL_PATIENCE_S,
            iopub_timeout=KERNEL_PATIENCE_S,
            cwd=HOME,
        )
    except PapermillExecutionError as error:
        # papermill puts a cell with the values into its copy; count as the notebook does.
        cell = (error.exec_count or 0) - bool(values)
        raise NotebookFailed(error.ename, error.evalue, max(cell, 1)) from None
    except RuntimeError as error:  # nbclient's DeadKernelError, or no start at all
        message = f"{error} This is mostly a lack of memory"
        raise NotebookFailed(_DIED, message) from None
    finally:
        log.setLevel(level)
        _forget_machine(target, source)


def _taken_literally(path: Path) -> str:
    """Return a path in which papermill finds no {parameter} to fill in."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _kernel() -> type[AsyncKernelManager]:
    """Return a manager of kernels that know no secrets and end soon after this process."""
    manager: Any = this_python()

    class Guarded(manager):
        @property
        def kernel_spec(self) -> KernelSpec:
            spec = super().kernel_spec
            if hasattr(os, "getppid") and sys.platform != "win32":
                spec.argv[1:3] = ["-c", _WATCHED]  # in place of -m ipykernel_launcher
            return spec

        async def _async_pre_start_kernel(self, **options: Any) -> tuple[list[str], dict[str, Any]]:
            given = options.pop("env", os.environ)
            env = {name: value for name, value in given.items() if name not in _SECRETS}
            # Whatever folder a notebook starts a command in, its results are kept with the run's.
            env["WORKBOOK_CACHE"] = str(cache_folder().resolve())
            return await super()._async_pre_start_kernel(**options, env=env)

    return Guarded


def _forget_machine(target: Path, source: Path) -> None:
    """Take the full paths that papermill notes down out of an executed notebook."""
    try:
        content = json.loads(target.read_text(encoding="utf-8"))
        noted = content["metadata"]["papermill"]
    except (OSError, ValueError, KeyError):  # not written, or cut short: it runs again anyway
        return
    noted["input_path"], noted["output_path"] = f"notebooks/{source.name}", target.name
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
    write_atomically(target, text + "\n")
