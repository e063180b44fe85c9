"""A run that goes on may change what no finished notebook declares, and every remedy works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from tiny_notebooks import PARAMETERS, start_cell, write_notebook

from helpers.__main__ import main
from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.commands import run as runs
from helpers.commands import run_request
from helpers.commands.run import open_run, start_run

FIRST, SECOND = "01_load_data", "04_score_samples"
FOLDS = PARAMETERS + "\nfolds: int = 3  # in [2, 100]: parts of the users"


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two notebooks: the second deals six users into folds, and fails with more folds."""
    folder = tmp_path / "notebooks"
    write_notebook(folder, FIRST, start_cell(folder, FIRST), "record(seed=seed)")
    deal = "if folds > 6:\n    raise ValueError(f'folds must be in [2, 6]; got {folds}.')"
    cells = [start_cell(folder, SECOND), deal, "record(folds=folds)"]
    write_notebook(folder, SECOND, *cells, declared=FOLDS)
    monkeypatch.setattr(run_request, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs.state, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def half_done(notebooks: Path) -> runs.Run:
    """A run whose first notebook is finished."""
    run = start_run("sample", given={"seed": "5", "folds": "50"}, names=["01", "04"])
    run.finished = {FIRST: {"sha256": runs.walk._sha256(FIRST), "seconds": 2.0}}
    run.save()
    return run


def _said(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> str:
    """Run a command; return what it says on its error stream: one paragraph, or nothing."""
    assert main(list(words)) == code
    error = capsys.readouterr().err
    assert error.count("\n") == (code != 0)
    return error


def test_the_remedy_of_a_failed_notebook_is_accepted_and_ends_well(notebooks, capsys):
    command = ["run", "--source", "sample", "--no-report", "01", "04"]
    error = _said(capsys, *command, "-p", "folds", "50", code=1)
    assert "folds must be in [2, 6]; got 50" in error
    remedy = re.search(r"add (--resume \S+)\. With it, -p NAME VALUE may change (\w+)\.", error)
    assert remedy[2] == "folds"
    resumed = ["run", "--no-report", *shlex.split(remedy[1])]
    assert "in [2, 100]; got '1'" in _said(capsys, *resumed, "-p", "folds", "1", code=2)
    assert "got 50" in _said(capsys, *resumed, code=1)  # as it began
    _said(capsys, *resumed, "-p", "folds", "6", code=0)
    results = json.loads(next(notebooks.parent.glob("runs/*/results.json")).read_text())
    assert results["notebooks"][SECOND]["values"] == {"folds": 6}
    assert results["run"]["parameters"] == {"folds": "6"}


def test_changed_values_are_kept_before_the_notebook_ends(half_done, monkeypatch):
    def dies(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.walk, "execute_notebook", dies)
    with pytest.raises(runs.RunError, match="Interrupted"):
        runs.execute_run(open_run(half_done.folder, given={"folds": "6"}))
    assert open_run(half_done.folder).given == {"seed": "5", "folds": "6"}


def test_what_a_finished_notebook_declares_stays_and_the_printed_command_starts_anew(
    half_done, capsys, monkeypatch
):
    error = _said(capsys, "run", "--resume", str(half_done.folder), "-p", "seed", "7", code=2)
    assert f"{FIRST} is finished with 5, and the results would be of two kinds" in error
    _, _, command = error.strip().partition("Start a new run: python -m helpers ")
    started = []
    monkeypatch.setattr(runs, "execute_run", lambda run, **options: started.append(run))
    monkeypatch.setattr(runs, "summary", lambda run: "")
    assert main(shlex.split(command)) == 0
    (run,) = started
    assert run.given == {"seed": "7", "folds": "50"}
    assert (run.source, run.notebooks) == (half_done.source, half_done.notebooks)
    assert run.folder.parent == half_done.folder.parent
    assert run.folder != half_done.folder


def test_the_command_of_a_new_run_names_its_folder_and_its_tables(half_done, tmp_path):
    half_done.folder = tmp_path / "my runs" / "1"
    half_done.source, half_done.path, half_done.schema = "csv", "data/sample", "/x/schema.yaml"
    words = shlex.split(runs.changes.new_command(half_done, {}))
    options = dict(zip(words[4:-2:2], words[5:-2:2], strict=False))
    assert options["--out"] == "my runs"
    assert Path(options["--path"]).resolve() == REPO / "data/sample"
    assert options["--schema"] == "/x/schema.yaml"


@pytest.mark.parametrize(
    "given", [{"seed": 5}, {"seed": "5"}, {"seed": "05"}, {"seed": " 5"}, {"folds": 50}, {}]
)
def test_the_same_value_in_another_form_is_no_change(half_done, given):
    run = open_run(half_done.folder, given=given)
    assert run.parameters() == half_done.parameters()


def test_the_declared_default_is_the_value_that_a_finished_notebook_had(half_done):
    half_done.given = {}
    half_done.save()
    open_run(half_done.folder, given={"seed": "0"})
    with pytest.raises(DataError, match=f"{FIRST} is finished with 0"):
        open_run(half_done.folder, given={"seed": "1"})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"fold": "3"}, 'Did you mean "folds"'),
        ({"source": "csv"}, '"source" is set by --source'),
        ({"run_dir": "/x"}, '"run_dir" is set by --out'),
        ({"folds": "1"}, r"in \[2, 100\]"),
        ({"folds": ""}, r"in \[2, 100\]"),
        ({"seed": "x"}, "must be a whole number"),
    ],
)
def test_a_resume_checks_parameters_as_a_new_run_does(half_done, given, sentence):
    with pytest.raises(DataError, match=sentence):
        open_run(half_done.folder, given=given)


def test_a_run_from_before_there_were_ranges_goes_on_with_a_value_inside(half_done):
    half_done.given["folds"] = "1"
    half_done.save()
    with pytest.raises(DataError, match=r'"folds" of 04.* in \[2, 100\]; got .1'):
        open_run(half_done.folder)
    assert open_run(half_done.folder, given={"folds": "2"}).given["folds"] == "2"


def test_before_anything_is_finished_everything_may_change(half_done):
    half_done.finished = {}
    half_done.save()
    run = open_run(half_done.folder, given={"seed": "6", "folds": "4"})
    assert run.given == {"seed": "6", "folds": "4"}
    assert runs.changes.changeable(run, SECOND) == ["seed", "folds"]
