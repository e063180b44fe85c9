"""A notebook as slides: the rule, and the page that nbconvert makes of it."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from helpers.base.errors import DataError
from helpers.notebooks import read
from helpers.notebooks.execution import NOTEBOOKS
from helpers.notebooks.slides import slide_type, with_slides, write_slides

PAGES = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (new_markdown_cell("# Title"), "slide"),
        (new_markdown_cell("## 1. Idea\n\nText"), "slide"),
        (new_markdown_cell("### Detail"), "subslide"),
        (new_markdown_cell("Text."), "subslide"),
        (new_markdown_cell("Solution (open it when you have tried):"), "skip"),
        (new_code_cell("print(1)"), "-"),
        (new_code_cell("a: int = 1", metadata={"tags": ["parameters"]}), "skip"),
        (new_code_cell("x", metadata={"tags": ["solution", "hide-input"]}), "skip"),
        (new_code_cell('import numpy\n\nstart("02", globals())'), "skip"),
        (new_code_cell("record(a=1)"), "skip"),
        (new_code_cell("x = restart(1)"), "-"),
    ],
)
def test_a_cell_has_its_place_in_a_talk(cell, kind: str):
    assert slide_type(cell) == kind


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_section_is_a_slide_and_no_solution_is_shown(path: Path):
    notebook = read(path)
    talk = with_slides(notebook)
    kinds = [cell.metadata.slideshow.slide_type for cell in talk.cells]
    assert kinds[0] == "slide"
    assert kinds[-1] == "skip"
    sections = [c for c in notebook.cells if re.match("##? ", c.source) and c.cell_type != "code"]
    assert kinds.count("slide") == len(sections)
    for cell, kind in zip(talk.cells, kinds, strict=True):
        assert ("solution" in cell.metadata.get("tags", [])) <= (kind == "skip")
    assert all("slideshow" not in cell.metadata for cell in notebook.cells)


def test_nbconvert_makes_a_page_of_these_slides(tmp_path: Path, caplog):
    path = write_slides("02_measure_loss", tmp_path / "talks")
    assert path.name == "02_measure_loss.slides.html"
    page = path.read_text(encoding="utf-8")
    talk = with_slides(read(NOTEBOOKS / "02_measure_loss.ipynb"))
    kinds = [cell.metadata.slideshow.slide_type for cell in talk.cells]
    stacks = kinds.count("slide")
    assert page.count("<section>") == 2 * stacks + kinds.count("subslide")
    assert "reveal" in page
    assert "solution_gradient" not in page
    assert "my_gradient" in page
    described = [cell.metadata["alt"] for cell in talk.cells if "alt" in cell.metadata]
    alts = [html.unescape(alt) for alt in re.findall(r'<img alt="(.*?)"', page)]
    assert alts == described
    assert not caplog.records


def test_slides_of_an_unknown_notebook_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match='no notebook "02_measure_los"'):
        write_slides("02_measure_los", tmp_path)
