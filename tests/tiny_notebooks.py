"""Small notebooks for the tests of runs: no TensorFlow, a second each."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

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
        "from helpers import record as recording\n"
        "from helpers.record import claim, record, start\n"
        f"recording.NOTEBOOKS = Path({str(folder)!r})\n"
        f"start({name!r}, globals())"
    )
