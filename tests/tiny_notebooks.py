"""Small notebooks for the tests of runs: no TensorFlow, a second each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from waiting import as_typed

#: A cell that waits until its process is ended from outside.
ENDLESS = "import time\nwhile True:\n    time.sleep(3600)"

PARAMETERS = """\
source: str = "journey"  # where the tables come from
path: str = ""  # folder of the tables
seed: int = 0  # start of every random draw
run_dir: str = ""  # folder that keeps the results"""


def write_notebook(folder: Path, name: str, *cells: str, declared: str = PARAMETERS) -> Path:
    """Write a notebook: a title, the parameters, a start(...), then ``cells``."""
    nodes = [new_markdown_cell(f"# {name}")]
    if declared:
        nodes.append(new_code_cell(declared, metadata={"tags": ["parameters"]}))
    nodes += [new_code_cell(cell) for cell in cells]
    notebook = new_notebook(cells=nodes)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def start_cell(folder: Path, name: str) -> str:
    """Return the cell that starts recording, told where the made-up notebooks are."""
    return (
        "from pathlib import Path\n"
        "from helpers.notebooks import record as recording\n"
        "from helpers.notebooks.record import claim, record, start\n"
        f"recording.NOTEBOOKS = Path({str(folder)!r})\n"
        f"start({name!r}, globals())"
    )


_DRIVER = """\
import sys
from pathlib import Path
from helpers.commands import run as runs
from helpers.commands import run_request
from helpers.__main__ import main
run_request.NOTEBOOKS, runs.state.RUNS = Path(sys.argv[1]), Path(sys.argv[2])
sys.exit(main(sys.argv[3:]))
"""


def command(
    notebooks: Path, *arguments: object, first: str = "", **options: object
) -> subprocess.Popen:
    """Start the command line in a process of its own, on made-up notebooks.

    Its runs go to the folder ``runs`` beside the notebooks' one.

    Args:
        notebooks: the folder of the made-up notebooks.
        arguments: of the command line.
        first: code that its process runs before all else.
        options: for ``Popen``, beside the pipes.
    """
    words = [sys.executable, "-c", first + _DRIVER, notebooks, notebooks.parent / "runs"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(as_typed(*words, *arguments), **pipes, **options)
