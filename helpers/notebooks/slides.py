"""A notebook as slides: which cell opens a slide is decided by rule, not by hand.

A heading of the first or second level opens a slide, any other text a slide below it, and code
stays with the text that it follows. Left out are parameters, imports, the record and solutions.
"""

from __future__ import annotations

import copy
import html
import logging
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base.paths import REPO
from helpers.base.writing import write_atomically
from helpers.notebooks.execution import find, read

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["slide_type", "with_slides", "write_slides"]

#: What nbconvert writes for a figure without a description of its own.
_NO_ALT = r'alt="No description has been provided for this image"'
_VENDOR = REPO / "site" / "_vendor"  # scripts of others, as the reading edition has them
_TEMPLATE = Path(__file__).parent / "talk"  # what nbconvert's page is given in place of the web
_BACKSTAGE = ("start(", "record(")  # calls of the cells that only keep the books


def slide_type(cell: NotebookNode) -> str:
    """Return what a cell does in a talk: ``slide``, ``subslide``, ``skip``, or ``-`` (goes on).

    Example:
        >>> from nbformat.v4 import new_code_cell, new_markdown_cell
        >>> [slide_type(c) for c in (new_markdown_cell("## 1. Idea"), new_code_cell("x = 1"))]
        ['slide', '-']
    """
    if cell.cell_type == "markdown":
        if cell.source.startswith("Solution"):
            return "skip"
        return "slide" if cell.source.startswith(("# ", "## ")) else "subslide"
    hidden = {"parameters", "solution"} & set(cell.metadata.get("tags", []))
    books = any(line.startswith(_BACKSTAGE) for line in cell.source.splitlines())
    return "skip" if hidden or books else "-"


def with_slides(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a notebook whose cells say what they do in a talk."""
    from nbformat import from_dict

    talk = copy.deepcopy(notebook)
    for cell in talk.cells:
        cell.metadata["slideshow"] = from_dict({"slide_type": slide_type(cell)})
    return talk


def write_slides(name: str, folder: Path) -> Path:
    """Write a notebook as slides: an HTML page with its figures in it, and its scripts beside it.

    The folder can be carried to any machine; a talk needs a browser and no network.

    Args:
        name: ``02_measure_loss``.
        folder: where the page goes; made if it is not there.

    Returns:
        The page, ``02_measure_loss.slides.html``.

    Raises:
        DataError: there is no such notebook.
    """
    from nbconvert import SlidesExporter

    path = find(name)
    talk = with_slides(read(path))
    quiet = logging.getLogger(__name__)
    quiet.setLevel(logging.ERROR)  # it warns of the descriptions that come in below
    diagrams = any("```mermaid" in cell.source for cell in talk.cells)
    resources = {"metadata": {"name": path.stem, "path": path.parent}, "diagrams": diagrams}
    exporter = SlidesExporter(
        log=quiet,
        template_name=_TEMPLATE.name,
        extra_template_basedirs=[str(_TEMPLATE.parent)],
        reveal_url_prefix="reveal",
        reveal_theme=_TEMPLATE.name,
    )
    page, _ = exporter.from_notebook_node(talk, resources=resources)
    for scripts in ("reveal", "mathjax", *(["mermaid"] if diagrams else [])):
        shutil.copytree(_VENDOR / scripts, folder / scripts, dirs_exist_ok=True)
    (folder / "reveal" / "dist" / "theme").mkdir(exist_ok=True)
    shutil.copy(_TEMPLATE / "talk.css", folder / "reveal" / "dist" / "theme")
    target = folder / f"{path.stem}.slides.html"
    write_atomically(target, _described(page, talk))
    return target


def _described(page: str, talk: NotebookNode) -> str:
    """Return the page with the description of each figure, which nbconvert's pages leave out."""
    descriptions = iter(
        cell.metadata.get("alt", "")
        for cell in talk.cells
        if slide_type(cell) != "skip"
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    )
    return re.sub(_NO_ALT, lambda _: f'alt="{html.escape(next(descriptions, ""))}"', page)
