"""One notebook, executed by papermill with this very Python."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.cache import write_atomically
from helpers.notebooks.execution import this_python
from helpers.schema import REPO

__all__ = ["NotebookFailed", "execute_notebook"]


class NotebookFailed(Exception):
    """A notebook stopped with an error of this kind, in this cell."""

    def __init__(self, kind: str, message: str, cell: int | None = None):
        self.kind = kind
        self.message = " ".join(message.split())[:1000].rstrip(".")
        self.where = f", cell {cell}" if cell else ""
        super().__init__(f"{kind}: {self.message}" if self.message else kind)


def execute_notebook(
    source: Path, target: Path, values: Mapping[str, Any], *, bar: bool | dict[str, Any] = False
) -> None:
    """Execute a notebook with this Python's kernel, in the repository's root.

    Args:
        source: the notebook; it stays as it is.
        target: the executed copy, written after every cell and kept when a cell fails.
        values: parameters that the notebook declares.
        bar: whether to show a progress bar, or options of tqdm for one.

    Raises:
        NotebookFailed: a cell raised an error, or the kernel died.
        KeyboardInterrupt: the person stopped it; the kernel is stopped too.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    log = logging.getLogger("papermill")
    level = log.level
    log.setLevel(logging.CRITICAL)  # errors come back as exceptions, and parameters are checked
    try:
        papermill.execute_notebook(
            source,
            target,
            dict(values),
            kernel_name="python3",
            language="python",
            kernel_manager_class=this_python(),
            progress_bar=bar,
            cwd=REPO,
        )
    except PapermillExecutionError as error:
        # papermill puts a cell with the values into its copy; count as the notebook does.
        cell = (error.exec_count or 0) - bool(values)
        raise NotebookFailed(error.ename, error.evalue, max(cell, 1)) from None
    except RuntimeError as error:  # nbclient's DeadKernelError, or no start at all
        message = f"{error} This is mostly a lack of memory"
        raise NotebookFailed("the notebook's Python died", message) from None
    finally:
        log.setLevel(level)
        _forget_machine(target, source)


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
