"""Every notebook of the workbook follows its rules, and each rule can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.base.paths import REPO
from helpers.notebooks import lint, read, tidy
from helpers.notebooks.execution import NOTEBOOKS, written
from helpers.notebooks.rules import LONGEST_CELL, MEDIAN_CELL, RULES, Page

NAME = "03_judge_things"
Change = Callable[[NotebookNode], object]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_of_the_workbook_follows_every_rule(path: Path):
    assert lint(path) == []


def test_the_readme_lists_exactly_the_notebooks_that_exist():
    listed = set(re.findall(r"notebooks/(\w+\.ipynb)", (REPO / "README.md").read_text("utf-8")))
    if listed:
        assert listed == {path.name for path in NOTEBOOKS.glob("*.ipynb")}


def test_notebooks_are_numbered_without_a_gap():
    numbers = [int(path.name[:2]) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    if 0 in numbers:
        assert numbers == list(range(len(numbers)))


TIME = (
    "*Time*: about 5 minutes to read and 15 for the exercises; "
    "the cells run in about half a minute."
)
QUESTIONS = """\
## Check your understanding

1. Is it straight?
2. Why?
3. Since when?

<details><summary>Answers</summary>

1. Yes.
2. It is a line.
3. Since it was drawn.

</details>"""


def exercise(heading: str) -> list[NotebookNode]:
    """Return the two cells of an exercise: the task and its solution."""
    folded = {"tags": ["solution", "hide-input"], "jupyter": {"source_hidden": True}}
    task = new_markdown_cell(f"## Exercise {heading}\n\nDo it.")
    return [task, new_code_cell("# Solution\nanswer = 1", metadata=folded)]


def good_notebook() -> NotebookNode:
    """Return a notebook that follows every rule; a test spoils one thing."""
    figure = new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})
    cells = [
        new_markdown_cell("# Judge things\n\n**Is this thing good?**"),
        new_markdown_cell(f"*You will learn* a lot.\n\n*You need* little.\n\n{TIME}"),
        new_code_cell(
            "seed: int = 0  # any whole number: start", metadata={"tags": ["parameters"]}
        ),
        new_code_cell(
            "import numpy as np\n"
            "from helpers.notebooks.record import claim, record, start\n\n"
            f'start("{NAME}", globals())'
        ),
        new_markdown_cell("## A picture\n\nSee [the next](04_next_thing.ipynb#what-is-it)."),
        new_code_cell("draw(np.ones(3))", outputs=[figure], metadata={"alt": "A straight line."}),
        new_code_cell("print(time_s)", metadata={"tags": ["nbval-ignore-output"]}),
        new_code_cell('claim("The line is straight.", True)'),
        new_markdown_cell(QUESTIONS),
        *exercise("1 · Predict"),
        *exercise("2 · Code: a line"),
        *exercise("3 · On data"),
        new_markdown_cell("## Take-away\n\nIt is straight."),
        new_markdown_cell("## Next\n\n[Next](04_next_thing.ipynb)"),
        new_code_cell("record(answer=answer)"),
    ]
    notebook = new_notebook(cells=cells)
    for count, cell in enumerate((c for c in cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
    return notebook


def write(folder: Path, notebook: NotebookNode, *, name: str = NAME, tidied: bool = True) -> Path:
    """Write a notebook beside a successor."""
    (folder / "04_next_thing.ipynb").touch()
    (folder / "times.json").write_text(f'{{"{NAME}": 40.0}}', encoding="utf-8")
    path = folder / f"{name}.ipynb"
    path.write_text(written(tidy(notebook) if tidied else notebook), encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    """Return what ``lint`` says, without the file's name."""
    found = lint(path)
    assert all(sentence.startswith(f"{path.name}: ") for sentence in found)
    return [sentence.removeprefix(f"{path.name}: ") for sentence in found]


def with_source(number: int, source: str) -> Change:
    """Give cell ``number`` (counted from 1) another source."""
    return lambda notebook: notebook.cells[number - 1].update(source=source)


def with_output(number: int, output_type: str, **content: object) -> Change:
    """Give cell ``number`` one more output."""
    return lambda notebook: notebook.cells[number - 1].outputs.append(
        new_output(output_type, **content)
    )


def with_metadata(number: int, **metadata: object) -> Change:
    """Give cell ``number`` other metadata."""
    return lambda notebook: notebook.cells[number - 1].update(metadata=metadata)


def swapped(first: int, second: int) -> Change:
    """Exchange two cells."""

    def change(notebook: NotebookNode) -> None:
        cells = notebook.cells
        cells[first - 1], cells[second - 1] = cells[second - 1], cells[first - 1]

    return change


def lines(number: int) -> str:
    """Return so many lines of code."""
    return "\n".join(f"x = {line}" for line in range(number))


SOLUTION = "needs all of the tags `solution` and `hide-input`"
PLANTED = [
    ("opens_with_a_question", with_source(1, "## Judge\n\nIs it?"), "title"),
    ("opens_with_a_question", with_source(1, "# Judge\n\nIt is."), "asks no question"),
    ("says_what_it_takes", with_source(2, "**You will learn**, **You need**"), '"Time"'),
    ("says_what_it_takes", swapped(2, 5), '"You need"'),
    ("closes_with_what_is_learned", with_source(9, "Why?"), '"Check your understanding" is miss'),
    ("closes_with_what_is_learned", with_source(16, "It is."), '"Take-away" is missing'),
    ("closes_with_what_is_learned", with_source(17, "## More"), '"Next" is missing'),
    ("closes_with_what_is_learned", swapped(16, 17), '"Next" stands too early'),
    ("declares_parameters", with_metadata(3, tags=[]), "exactly one cell .* 0 have it"),
    ("declares_parameters", with_metadata(8, tags=["parameters"]), "exactly one .* 2 have it"),
    ("declares_parameters", with_source(3, "seed: int = 0"), 'parameter "seed" has no comment'),
    ("declares_parameters", with_source(3, "seed: int = 0  # in [0, 9]:"), "has no comment"),
    (
        "declares_parameters",
        with_source(3, "seed: int = 0  # in [1, 9]: x"),
        "default of seed must",
    ),
    ("declares_parameters", with_source(3, "seed: int = 0  # in [0, 1"), "followed by a colon"),
    ("states_ranges", with_source(3, "seed: int = 0  # start"), '"seed" does not say which values'),
    (
        "states_ranges",
        with_source(3, "path: str = ''  # where: in x"),
        "comment with .* `any text:`",
    ),
    ("declares_parameters", with_source(3, "seed = 0  # x"), "name: type = default"),
    ("declares_parameters", swapped(3, 4), "first code cell must be the one tagged"),
    ("imports_once", with_source(8, "import os\nclaim('a', os)"), "cells with imports: 4, 8"),
    ("imports_once", with_source(11, "def f():\n    import os"), "cells with imports: 4, 11"),
    ("imports_once", with_source(4, f'start("{NAME}", globals())'), "cells with imports: none"),
    ("imports_once", with_source(4, 'import os\nstart("03_x", globals())'), "must call start"),
    ("imports_once", with_source(4, "import os"), "must call start"),
    ("ends_with_its_record", with_source(18, "print(1)"), r"must call record"),
    ("ends_with_its_record", with_source(8, "claim(record(), 1)"), r"must call record"),
    ("code_cells_are_short", with_source(6, lines(LONGEST_CELL + 1)), "cell 6 has 26 lines"),
    ("code_cells_are_short", with_source(11, lines(LONGEST_CELL + 1)), "cell 11 has 26 lines"),
    ("code_is_plain_python", with_source(6, "%matplotlib inline"), "cell 6 is not plain Python"),
    ("code_is_plain_python", with_source(6, "  \n"), "cell 6 is empty"),
    ("code_is_plain_python", with_source(6, "draw();  # it"), "ends a line with a semicolon"),
    ("every_cell_was_executed", lambda n: n.cells[5].update(execution_count=None), "None"),
    ("every_cell_was_executed", lambda n: n.cells[5].update(execution_count=9), "9"),
    ("every_cell_was_executed", swapped(6, 7), "the counts are"),
    ("stores_no_fault", with_output(7, "error", ename="KeyError", evalue="a"), "cell 7 .*KeyErr"),
    ("stores_no_fault", with_output(7, "stream", name="stderr", text="Warning"), "standard error"),
    ("pictures_are_described", with_metadata(6), "cell 6 shows a figure"),
    ("pictures_are_described", with_metadata(6, alt=" "), "cell 6 shows a figure"),
    ("links_lead_somewhere", with_source(5, "[a](09_no.ipynb)"), "cell 5 links to 09_no.ipynb"),
    ("links_lead_somewhere", with_source(5, '<img src="no.png">'), "cell 5 links to no.png"),
    ("links_lead_somewhere", with_source(5, "[a](/notebooks/04_next_thing.ipynb)"), "links to /no"),
    (
        "shows_nothing_of_the_machine",
        with_output(7, "stream", name="stdout", text="<object at 0x7f0a12345678>"),
        "memory address",
    ),
    (
        "shows_nothing_of_the_machine",
        with_output(7, "stream", name="stdout", text=f"read {REPO}/data/sample"),
        "machine's path",
    ),
    (
        "shows_nothing_of_the_machine",
        with_output(7, "display_data", data={"text/html": '<table id="T_0ab3f">'}),
        "random name",
    ),
    ("shows_nothing_of_the_machine", with_source(6, 'draw("/home/me/a")'), "machine's path"),
    ("ignored_outputs_are_claimed", with_source(8, "print(1)"), "cell 7 is tagged"),
    ("ignored_outputs_are_claimed", swapped(7, 8), "cell 8 is tagged"),
    ("ignored_outputs_are_claimed", with_metadata(8, tags=["nbval-ignore-output"]), "cell 7 is"),
    (
        "solutions_are_folded",
        lambda n: [with_metadata(number)(n) for number in (11, 13, 15)],
        "no cell tagged `solution`",
    ),
    ("solutions_are_folded", with_metadata(11, tags=["solution", "hide-input"]), SOLUTION),
    ("solutions_are_folded", with_source(11, "answer = 1"), "make it `# Solution`"),
    ("readers_are_asked", with_source(10, "Do it."), "numbered 2, 3"),
    ("readers_are_asked", with_source(12, "## Exercise 2"), 'kind "Code"'),
    ("readers_are_asked", with_source(14, "Do it."), 'kind "On data"'),
    ("readers_are_asked", swapped(10, 12), "numbered 2, 1, 3"),
    ("readers_are_asked", with_metadata(11), "no solution follows exercise 1"),
    ("readers_are_asked", with_metadata(15), "no solution follows exercise 3"),
    ("readers_are_asked", lambda n: n.cells.__delitem__(slice(9, 15)), "no exercise has a heading"),
    ("readers_are_asked", with_source(9, QUESTIONS.replace("2. Why?", "")), "2 numbered questions"),
    (
        "readers_are_asked",
        with_source(9, QUESTIONS.replace("3. Since it", "Since it")),
        "have 2 answers",
    ),
    ("readers_are_asked", with_source(9, QUESTIONS.partition("<")[0]), "have 0 answers"),
    ("readers_are_asked", with_source(9, f"{QUESTIONS}\n" + "8. A?\n" * 5), "8 numbered"),
    ("time_is_the_measured_one", with_source(2, "*Time*: a lot."), "not the measured one"),
    ("solutions_are_folded", with_source(8, "# Solution\nclaim('a', 1)"), SOLUTION),
]


def test_a_good_notebook_has_no_faults(tmp_path: Path):
    assert faults(write(tmp_path, good_notebook())) == []


@pytest.mark.parametrize(("rule", "change", "sentence"), PLANTED)
def test_a_planted_fault_is_found(rule: str, change: Change, sentence: str, tmp_path: Path):
    notebook = good_notebook()
    change(notebook)
    path = write(tmp_path, notebook)
    by_name = {each.__name__.lstrip("_"): each for each in RULES}
    found = list(by_name[rule](Page(path, read(path))))
    assert any(re.search(sentence, fault) for fault in found), found


def test_long_lesson_cells_are_found_by_their_median(tmp_path: Path):
    notebook = good_notebook()
    for number in (6, 7):
        with_source(number, lines(MEDIAN_CELL + 1))(notebook)
    with_source(8, f"{lines(MEDIAN_CELL)}\nclaim('a', x)")(notebook)
    assert faults(write(tmp_path, notebook)) == ["the median code cell has 7 lines; 6 is the most"]


def test_a_bad_file_name_is_found(tmp_path: Path):
    notebook = good_notebook()
    with_source(4, 'import os\nstart("3-judge", globals())')(notebook)
    found = faults(write(tmp_path, notebook, name="3-judge"))
    assert "the file's name is not NN_verb_object.ipynb" in found


def test_a_file_that_was_not_tidied_is_found(tmp_path: Path):
    notebook = good_notebook()
    notebook.cells[5].metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    found = faults(write(tmp_path, notebook, tidied=False))
    assert found == ["the file is not as `make refresh` writes it"]


def test_the_last_notebook_needs_no_next(tmp_path: Path):
    notebook = good_notebook()
    with_source(5, "## A picture")(notebook)
    with_source(17, "## The end")(notebook)
    path = tmp_path / f"{NAME}.ipynb"
    path.write_text(written(tidy(notebook)), encoding="utf-8")
    assert lint(path) == []


@pytest.mark.parametrize(
    "other", ["seed: int = 0  # in [0, 9]: x", "seed: float = 0  # in [0, 9]: x"]
)
def test_a_parameter_that_another_notebook_declares_otherwise_is_found(other: str, tmp_path: Path):
    notebook = good_notebook()
    with_source(3, "seed: int = 0  # in [0, 5]: start")(notebook)
    path = write(tmp_path, notebook)
    beside = new_notebook(cells=[new_code_cell(other, metadata={"tags": ["parameters"]})])
    (tmp_path / "04_next_thing.ipynb").write_text(written(beside), encoding="utf-8")
    sentence = 'the parameter "seed" is declared otherwise in 04_next_thing.ipynb'
    assert sentence in faults(path)
    with_source(1, other.replace("0, 9", "0, 5").replace("float", "int"))(beside)
    (tmp_path / "04_next_thing.ipynb").write_text(written(beside), encoding="utf-8")
    assert sentence not in faults(path)


def test_every_rule_has_a_planted_fault():
    elsewhere = {"name_is_number_verb_object", "file_is_tidy", "records_what_is_declared"}
    assert {rule for rule, _, _ in PLANTED} | elsewhere == {
        rule.__name__.lstrip("_") for rule in RULES
    }


@pytest.mark.parametrize(
    ("number", "source"),
    [
        (5, "Inline `a[i](x)`, math $f[i](x)$ and [the web](https://example.org/a)."),
        (5, "```python\nf[0](nothing)\n```\n[a section](#a-picture)"),
        (5, "[with a title](04_next_thing.ipynb 'Next')"),
        (6, 'query = """select 1;\n"""  # in a text; or a comment;'),
    ],
)
def test_what_only_looks_like_a_fault_is_left_alone(number: int, source: str, tmp_path: Path):
    notebook = good_notebook()
    with_source(number, source)(notebook)
    assert faults(write(tmp_path, notebook)) == []
