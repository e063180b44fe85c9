"""How long a notebook takes: the rule, the record, the sentence, and the tracks made of them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import helpers.notebooks.execution as execution
from helpers.notebooks import read, refresh, retidy
from helpers.notebooks.__main__ import main
from helpers.notebooks.execution import NOTEBOOKS, written
from helpers.notebooks.times import (
    FILE,
    exercise_minutes,
    reading_minutes,
    record_seconds,
    recorded_seconds,
    time_faults,
    time_sentence,
    with_time,
)

PAGES = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
MEASURED = [path for path in PAGES if recorded_seconds(path) is not None]


def page(*cells: NotebookNode, time: str = "*Time*: some.") -> NotebookNode:
    """Return a notebook with a Time sentence."""
    return new_notebook(cells=[new_markdown_cell(f"# T\n\n{time}"), *cells])


# --- the workbook's own --------------------------------------------------------------------------


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_sentence_of_a_notebook_is_the_recorded_figure(path: Path):
    notebook = read(path)
    sentence = time_sentence(notebook, recorded_seconds(path))
    assert sentence in " ".join(cell.source for cell in notebook.cells)


def test_the_record_names_only_notebooks_that_exist():
    record = json.loads((NOTEBOOKS / FILE).read_text(encoding="utf-8"))
    assert set(record) <= {path.stem for path in PAGES}
    assert all(seconds > 0 for seconds in record.values())
    assert MEASURED


def tracks() -> list[tuple[str, str, float]]:
    """Return the tracks that notebook 00 proposes: name, the order, the hours it states."""
    text = "\n".join(cell.source for cell in read(PAGES[0]).cells)
    rows = re.findall(r"^\| \*\*(.*?)\*\*.*? \| (.*?) \| about (\d+) hours \|", text, re.MULTILINE)
    return [(name, order, float(hours)) for name, order, hours in rows]


def test_there_are_three_tracks():
    assert [name for name, _, _ in tracks()] == ["Two hours", "One day", "Practitioner"]


@pytest.mark.parametrize(("name", "order", "hours"), tracks(), ids=lambda value: str(value)[:12])
def test_a_track_takes_as_long_as_it_says(name: str, order: str, hours: float):
    required = order.partition(";")[0]
    notebooks = [read(NOTEBOOKS / file) for file in re.findall(r"\]\((\w+\.ipynb)\)", required)]
    minutes = sum(reading_minutes(notebook) for notebook in notebooks)
    if "with exercises" in order:
        minutes += sum(exercise_minutes(notebook) for notebook in notebooks)
    assert len(notebooks) >= 3
    assert abs(minutes / 60 - hours) <= 0.5


def test_the_day_covers_every_notebook_of_the_walk():
    (day,) = [order for name, order, _ in tracks() if name == "One day"]
    assert all(f"({path.name})" in day for path in PAGES[:7])


# --- the rule ------------------------------------------------------------------------------------


def test_words_code_and_equations_count_and_solutions_do_not():
    words = new_markdown_cell("word " * 2000)  # 10 minutes
    code = new_code_cell("\n\n".join(["x = 1"] * 120))  # 10 minutes; blank lines are free
    equations = new_markdown_cell("$$\na + b\n$$\n" * 5)  # 5 minutes
    solution = new_code_cell("x = 1\n" * 600, metadata={"tags": ["solution"]})
    diagram = new_markdown_cell("```mermaid\n" + "word " * 2000 + "\n```")
    for cells, minutes in (
        ([words], 10),
        ([code], 10),
        ([equations], 5),
        ([solution], 5),  # five at least
        ([diagram], 5),
        ([words, code, equations, solution, diagram], 25),
    ):
        assert reading_minutes(page(*cells)) == minutes


def test_the_sentence_itself_does_not_change_the_reading_time():
    text = new_markdown_cell("word " * 2490)
    assert reading_minutes(page(text, time="*Time*: " + "long " * 500)) == reading_minutes(
        page(text)
    )


def test_an_exercise_takes_five_minutes():
    two = page(new_markdown_cell("## Exercise 1 · Code"), new_markdown_cell("## Exercise 2"))
    assert exercise_minutes(two) == 10
    assert exercise_minutes(page(new_markdown_cell("### Exercise"))) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "a few seconds"),
        (9.9, "a few seconds"),
        (10.1, "about half a minute"),
        (44, "about half a minute"),
        (46, "about a minute"),
        (89, "about a minute"),
        (100, "about 2 minutes"),
        (600, "about 10 minutes"),
    ],
)
def test_seconds_are_said_in_coarse_words(seconds: float, words: str):
    assert time_sentence(page(), seconds).endswith(f"; the cells run in {words}.")


# --- the record ----------------------------------------------------------------------------------


def test_a_record_stays_while_a_new_measurement_is_near(tmp_path: Path):
    path = tmp_path / "01_a_b.ipynb"
    kept = []
    for seconds in (10.0, 19.9, 6.7, 20.1, 13.5, 13.3):
        record_seconds(page(), path, seconds)
        kept.append(recorded_seconds(path))
    assert kept == [10.0, 10.0, 10.0, 20.1, 20.1, 13.3]


def test_the_record_is_sorted_and_keeps_the_others(tmp_path: Path):
    for name in ("02_a_b", "01_a_b"):
        record_seconds(page(), tmp_path / f"{name}.ipynb", 1.23)
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    assert text == '{\n  "01_a_b": 1.2,\n  "02_a_b": 1.2\n}\n'


def test_of_a_notebook_without_the_sentence_nothing_is_kept(tmp_path: Path):
    path = tmp_path / "01_a_b.ipynb"
    record_seconds(new_notebook(), path, 5)
    assert list(tmp_path.iterdir()) == []
    assert recorded_seconds(path) is None
    unmeasured = page()
    assert with_time(unmeasured, path) is unmeasured
    assert time_faults(unmeasured, path) == []


def test_only_the_sentence_changes(tmp_path: Path):
    path = tmp_path / "01_a_b.ipynb"
    notebook = page(new_markdown_cell("Later: *Time*: flies."), time="*Time*: old\nlines.\n\nMore.")
    record_seconds(notebook, path, 3)
    renewed = with_time(notebook, path)
    assert renewed.cells[0].source == (
        "# T\n\n*Time*: about 5 minutes to read; the cells run in a few seconds.\n\nMore."
    )
    assert renewed.cells[1] == notebook.cells[1]
    assert time_faults(notebook, path)
    assert time_faults(renewed, path) == []
    assert with_time(renewed, path) == renewed


# --- the commands --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that stands in for ``notebooks/``."""
    monkeypatch.setattr(execution, "NOTEBOOKS", tmp_path)
    return tmp_path


def test_refresh_measures_and_writes_the_sentence(folder: Path):
    path = folder / "01_a_b.ipynb"
    path.write_text(written(page(new_code_cell("print(1)"))), encoding="utf-8")
    refresh(["01_a_b"])
    assert recorded_seconds(path) > 0
    assert time_sentence(read(path), recorded_seconds(path)) in read(path).cells[0].source
    first = path.read_bytes()
    assert retidy() == []  # nothing is left to do
    assert path.read_bytes() == first


def test_only_a_refresh_of_all_measures_again_from_an_empty_cache(folder: Path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(folder / "mine"))
    path = folder / "01_a_b.ipynb"
    look = new_code_cell("import os\nprint(os.environ['WORKBOOK_CACHE'])")
    path.write_text(written(page(look)), encoding="utf-8")
    record_seconds(page(), path, 600)
    refresh(["01_a_b"])
    assert recorded_seconds(path) == 600  # what is in a cache already is no measurement
    assert read(path).cells[1].outputs[0].text == f"{folder / 'mine'}\n"
    refresh()
    assert recorded_seconds(path) != 600
    used = Path(read(path).cells[1].outputs[0].text.strip())
    assert used != folder / "mine"
    assert not used.exists()
    assert os.environ["WORKBOOK_CACHE"] == str(folder / "mine")


def test_tidy_renews_the_sentence_without_executing(folder: Path, capsys):
    path = folder / "01_a_b.ipynb"
    record_seconds(page(), path, 100)
    longer = page(new_code_cell("1 / 0", execution_count=7), new_markdown_cell("word " * 3000))
    path.write_text(written(longer), encoding="utf-8")
    assert main(["tidy"]) == 0
    assert capsys.readouterr().out == "01_a_b: tidied, written\n"
    notebook = read(path)
    assert "about 15 minutes to read; the cells run in about 2 minutes" in notebook.cells[0].source
    assert notebook.cells[1].execution_count == 7
    assert main(["tidy", "01_a_b"]) == 0
    assert capsys.readouterr().out == ""


def test_tidy_refuses_an_unknown_notebook_before_it_writes(folder: Path, capsys):
    path = folder / "01_a_b.ipynb"
    path.write_text("{}", encoding="utf-8")
    assert main(["tidy", "01_a_b", "02_c_d"]) == 2
    assert 'no notebook "02_c_d"' in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "{}"
