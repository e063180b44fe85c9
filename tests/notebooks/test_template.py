"""A notebook made from the template runs, follows every rule, and is refused under a bad name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import helpers.notebooks.execution as execution
from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.notebooks import execute, lint, read, refresh
from helpers.notebooks.__main__ import main
from helpers.notebooks.execution import written
from helpers.notebooks.template import new_notebook_file

NAME = "09_do_thing"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a new notebook in a folder of its own, with the notebook that it links to."""
    (tmp_path / "00_start_here.ipynb").touch()
    path = new_notebook_file(NAME, folder=tmp_path)
    notebook = read(path)
    for cell in notebook.cells:  # the kernel looks for the notebook where the workbook is
        cell.source = cell.source.replace(
            "start(",
            f"import helpers.notebooks.record\nfrom pathlib import Path\n"
            f"helpers.notebooks.record.NOTEBOOKS = Path({str(tmp_path)!r})\nstart(",
        )
    path.write_text(written(notebook), encoding="utf-8")
    return path


def test_a_new_notebook_runs_and_then_follows_every_rule(
    made: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(execution, "NOTEBOOKS", made.parent)
    refresh([NAME])
    faults = [f for f in lint(made) if "machine's path" not in f]  # the one that this test wrote
    assert faults == []
    assert "`refresh` writes" not in read(made).cells[0].source
    assert "5 minutes to read and 15 for the exercises" in read(made).cells[0].source


def test_its_stubs_are_empty_and_its_solutions_pass(made: Path):
    cells = [c for c in execute(made).cells if c.cell_type == "code"]
    places = [i for i, c in enumerate(cells) if "solution" in c.metadata.get("tags", [])]
    assert len(places) == 3
    for place in places:
        assert cells[place].outputs[0].text.startswith("Correct")
        assert cells[place - 1].outputs[0].text.startswith("Still empty")


@pytest.mark.parametrize("name", ["9_do_thing", "09_thing", "09_Do_Thing", "../09_do_thing", ""])
def test_a_name_of_another_form_is_refused(name: str, tmp_path: Path):
    with pytest.raises(DataError, match="NN_verb_object"):
        new_notebook_file(name, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_taken_is_refused(tmp_path: Path):
    new_notebook_file(NAME, folder=tmp_path)
    with pytest.raises(DataError, match="number 09 is taken by 09_do_thing.ipynb"):
        new_notebook_file("09_do_more", folder=tmp_path)


def test_the_command_line_asks_for_a_name(capsys: pytest.CaptureFixture[str]):
    assert main(["new"]) == 2
    assert "make new-notebook NAME=09_do_thing" in capsys.readouterr().err


def test_make_hands_the_name_on():
    said = subprocess.run(
        ["make", "--just-print", "new-notebook", f"NAME={NAME}"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"-m helpers.notebooks new {NAME}" in said.stdout
