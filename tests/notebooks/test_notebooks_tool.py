"""Reading, executing and tidying notebook files."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from tiny_notebooks import ENDLESS

import helpers.notebooks.execution as execution
from helpers.base.errors import DataError
from helpers.notebooks import Parameter, execute, find, parameters, read, refresh, tidy
from helpers.notebooks.__main__ import main
from helpers.notebooks.execution import written


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that stands in for ``notebooks/``."""
    monkeypatch.setattr(execution, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr("helpers.notebooks.__main__.NOTEBOOKS", tmp_path)
    return tmp_path


def save(path: Path, *sources: str, tags: tuple[str, ...] = ()) -> Path:
    """Write a notebook of code cells; the first one gets the tags."""
    cells = [new_code_cell(source) for source in sources]
    if tags:
        cells[0].metadata["tags"] = list(tags)
    path.write_text(written(new_notebook(cells=cells)), encoding="utf-8")
    return path


def declare(folder: Path, source: str) -> dict[str, Parameter]:
    """Return the parameters of a notebook with this parameters cell."""
    return parameters(save(folder / "01_a_b.ipynb", source, tags=("parameters",)))


def test_parameters_come_with_type_default_and_comment_in_the_cells_order(tmp_path: Path):
    found = declare(
        tmp_path,
        "# chosen for a small machine\n"
        'source: str = "jour#ney"  # where the tables come from\n'
        "epochs: int = -3\n"
        "rate: float = 1  # step size\n"
        "shuffle: bool = True  # a # in a comment\n",
    )
    assert list(found.values()) == [
        Parameter("source", str, "jour#ney", "where the tables come from"),
        Parameter("epochs", int, -3, ""),
        Parameter("rate", float, 1.0, "step size"),
        Parameter("shuffle", bool, True, "a # in a comment"),
    ]
    assert type(found["rate"].default) is float


def test_parameters_are_read_whether_the_source_is_a_text_or_a_list_of_lines(tmp_path: Path):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}}
    for source in ("a: int = 1\nb: int = 2", ["a: int = 1\n", "b: int = 2"]):
        path = tmp_path / "a.ipynb"
        path.write_text(json.dumps({"cells": [cell | {"source": source}]}), encoding="utf-8")
        assert list(parameters(path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("a = 1", "every statement must be `name: type = default`.* got `a = 1`"),
        ("a: int", "every statement must be"),
        ("import os", "every statement must be"),
        ("x.a: int = 1", "every statement must be"),
        ("a: list = []", "a type must be one of str, int, float, bool"),
        ("a: int | None = 1", "a type must be one of"),
        ("a: int = 2 * 3", "a default must be a plain value"),
        ("a: int = seed", "a default must be a plain value"),
        ("a: int = 1.5", "a default must have the declared type int"),
        ("a: int = True", "a default must have the declared type int"),
        ("a: float = False", "a default must have the declared type float"),
        ("a: str = None", "a default must have the declared type str"),
        ("a: int = 1\na: int = 2", '"a" is declared twice'),
        ("a: int = 1\nb: int 2", "line 2 of the parameters cell is not Python"),
    ],
)
def test_a_parameter_of_another_form_is_refused(source: str, sentence: str, tmp_path: Path):
    with pytest.raises(DataError, match=f"^01_a_b.ipynb: .*{sentence}"):
        declare(tmp_path, source)


def test_a_notebook_without_exactly_one_parameters_cell_is_refused(tmp_path: Path):
    path = save(tmp_path / "a.ipynb", "a: int = 1")
    with pytest.raises(DataError, match=r"exactly one cell .* 0 have it"):
        parameters(path)


@pytest.mark.parametrize("content", ["", "no json", "[]", "{}", '{"cells": 3}'])
def test_what_is_not_a_notebook_is_refused(content: str, tmp_path: Path):
    path = tmp_path / "a.ipynb"
    path.write_text(content, encoding="utf-8")
    for reader in (parameters, read):
        with pytest.raises(DataError, match=r"a\.ipynb is not a notebook"):
            reader(path)


def test_a_missing_file_is_refused(tmp_path: Path):
    for reader in (parameters, read):
        with pytest.raises(DataError, match=r"none\.ipynb cannot be read: No such file"):
            reader(tmp_path / "none.ipynb")


def test_find_names_the_near_match(folder: Path):
    save(folder / "03_train_recommender.ipynb", "1")
    assert find("03_train_recommender").name == find("03_train_recommender.ipynb").name
    with pytest.raises(DataError, match='Did you mean "03_train_recommender"'):
        find("03_train_recomender")


def test_tidy_keeps_what_the_workbook_uses_and_nothing_else():
    metadata = {
        "tags": ["solution"],
        "alt": "A line.",
        "jupyter": {"source_hidden": True, "outputs_hidden": False},
        "execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"},
        "collapsed": True,
    }
    code = new_code_cell("x", metadata=metadata)
    notebook = new_notebook(
        cells=[new_markdown_cell("# T"), code],
        metadata={
            "jupytext": {"a": 1},
            "widgets": {"b": 2},
            "language_info": {"name": "python", "version": "3.99"},
        },
    )
    tidied = tidy(notebook)
    assert [cell.id for cell in tidied.cells] == ["cell-001", "cell-002"]
    assert tidied.cells[1].metadata == {
        "tags": ["solution"],
        "alt": "A line.",
        "jupyter": {"source_hidden": True, "outputs_hidden": True},
    }
    assert set(tidied.metadata) == {"kernelspec", "language_info"}
    assert "3.99" not in written(tidied)
    assert code.metadata == metadata  # the one given stays as it was


def test_tidy_drops_progress_bars_and_keeps_warnings():
    outputs = [
        new_output("stream", name="stdout", text="a\n"),
        new_output("stream", name="stderr", text="\rfit:  40%|####      | 2/5 [00:01<00:02]"),
        new_output("stream", name="stderr", text="7it [00:01, 5.2it/s]"),
        new_output("stream", name="stdout", text="b\n"),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}}),
        new_output("stream", name="stderr", text="UserWarning: 40% of the rows are empty"),
    ]
    [cell] = tidy(new_notebook(cells=[new_code_cell("x", outputs=outputs)])).cells
    assert [(output.name, output.text) for output in cell.outputs] == [
        ("stdout", "a\nb\n"),
        ("stderr", "UserWarning: 40% of the rows are empty"),
    ]


def test_tidy_changes_nothing_the_second_time():
    png = base64.b64encode(b"picture").decode()
    sizes = {"needs_background": "light", "image/png": {"width": 300}}
    output = new_output("display_data", {"image/png": png}, metadata=sizes)
    once = tidy(new_notebook(cells=[new_code_cell("x", outputs=[output])]))
    assert once.cells[0].outputs[0].metadata == {"image/png": {"width": 300}}
    assert written(tidy(once)) == written(once)


def test_two_refreshes_give_the_same_bytes_and_leave_the_source(folder: Path):
    sources = [
        "import os, sys\nfrom tqdm.auto import tqdm",
        "for _ in tqdm(range(3)):\n    print(1, flush=True)",
        "print(os.path.basename(os.getcwd()))\n\n# the end  ",
    ]
    path = save(folder / "01_load_data.ipynb", *sources)
    assert refresh() == [path]
    first = path.read_bytes()
    notebook = read(path)
    assert [cell.source for cell in notebook.cells] == sources
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert [output.text for cell in notebook.cells for output in cell.outputs] == [
        "1\n1\n1\n",
        f"{folder.name}\n",
    ]
    refresh(["01_load_data"])
    assert path.read_bytes() == first
    assert first.endswith(b"}\n")


def test_a_notebook_runs_with_this_python_and_shows_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "Another", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    show = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])"
    notebook = execute(save(tmp_path / "01_a_b.ipynb", "import sys\nprint(sys.executable)", show))
    assert notebook.cells[0].outputs[0].text.strip() == sys.executable
    assert "image/png" in notebook.cells[1].outputs[0].data


def test_a_file_converted_by_jupytext_can_be_refreshed(folder: Path):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# T"},
        {"cell_type": "code", "metadata": {}, "source": "1 + 1", "outputs": []},
    ]
    cells[1]["execution_count"] = None
    converted = {
        "cells": cells,  # of version 4.4, without ids and without a kernel
        "metadata": {"jupytext": {"cell_metadata_filter": "tags,alt,-all"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    path = folder / "01_a_b.ipynb"
    path.write_text(json.dumps(converted), encoding="utf-8")
    refresh(["01_a_b"])
    assert read(path).cells[1].outputs[0].data["text/plain"] == "2"
    assert written(tidy(read(path))) == path.read_text(encoding="utf-8")


def test_a_failing_cell_is_named_and_its_file_stays(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    good = save(folder / "01_a_b.ipynb", "print(1)")
    bad = save(folder / "02_c_d.ipynb", "x = 1", "x / 0", "x")
    before = bad.read_bytes()
    assert main(["refresh"]) == 1
    said = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)
    assert "02_c_d.ipynb, cell 2: ZeroDivisionError: division by zero" in said
    assert bad.read_bytes() == before
    assert read(good).cells[0].execution_count == 1
    assert sorted(file.name for file in folder.iterdir()) == [good.name, bad.name]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [(ENDLESS, "timed out"), ("import os; os._exit(1)", "died")],
    ids=["hangs", "ends its kernel"],
)
def test_a_cell_that_hangs_or_ends_its_kernel_is_named(
    source: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The time is up for the cell that hangs alone: how long the others take is no matter.
    def limit(client: NotebookClient, cell: nbformat.NotebookNode | None) -> int | None:
        return client.timeout if cell and cell.source == ENDLESS else None

    monkeypatch.setattr(NotebookClient, "_get_timeout", limit)
    path = save(tmp_path / "01_a_b.ipynb", "1", source)
    with pytest.raises(RuntimeError, match=rf"01_a_b\.ipynb, cell 2: (.|\n)*{sentence}"):
        execute(path, timeout_s=3)


def test_the_command_line_refuses_an_unknown_notebook(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["refresh", "09_x"]) == 2
    assert 'There is no notebook "09_x"' in capsys.readouterr().err


def test_lint_from_the_command_line_prints_the_faults_and_fails(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["lint"]) == 0
    save(folder / "01_a_b.ipynb", "1")
    assert main(["lint", "01_a_b"]) == 1
    printed = capsys.readouterr().out
    assert "01_a_b.ipynb: the last code cell, and no other, must call record(...)" in printed
    assert re.search(r"1 notebook, \d+ faults?", printed)
