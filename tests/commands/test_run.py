"""Runs: the right notebooks with the right parameters, and nothing lost when one stops."""

import json
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from broken import lay_out
from tiny_notebooks import PARAMETERS, command, start_cell, write_notebook
from waiting import PATIENCE_S, awaited, gone

from helpers.base.errors import DataError
from helpers.base.paths import DATA, REPO
from helpers.commands import run as runs
from helpers.commands import run_request
from helpers.commands.run import RunError, execute_run, open_run, start_run, summary
from helpers.commands.run.executor import NotebookFailed
from helpers.commands.run_request import (
    convert,
    fill_parameters,
    read_parameter_file,
    select_notebooks,
)
from helpers.notebooks import Parameter

FIRST, SECOND, THIRD = "01_load_data", "03_train_recommender", "04_score_samples"
WALK = [FIRST, SECOND, THIRD, "05_act", "06_evaluate", "08_judge"]


@pytest.fixture
def notebooks(tmp_path, monkeypatch) -> Path:
    """Six empty notebooks of the walk and two more, in a folder of the test's own."""
    folder = tmp_path / "notebooks"
    for name in (*WALK, "00_start_here", "02_measure_loss"):
        write_notebook(folder, name)
    (folder / "notes.ipynb").write_text("{}")
    monkeypatch.setattr(run_request, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs.state, "RUNS", tmp_path / "runs")
    return folder


def _results(run) -> dict:
    return json.loads((run.folder / "results.json").read_text(encoding="utf-8"))


# Which notebooks, and with which parameters ------------------------------------------------


def test_the_walk_is_six_notebooks_and_all_is_every_numbered_one(notebooks):
    assert select_notebooks() == WALK
    everything = select_notebooks(everything=True)
    assert everything[0] == "00_start_here"
    assert len(everything) == 8


@pytest.mark.parametrize("name", ["04", THIRD, f"{THIRD}.ipynb", f"notebooks/{THIRD}.ipynb"])
def test_a_notebook_has_several_names(notebooks, name):
    assert select_notebooks([name]) == [THIRD]


def test_notebooks_run_in_the_order_of_their_numbers_each_once(notebooks):
    assert select_notebooks(["04", "01", THIRD]) == [FIRST, THIRD]


@pytest.mark.parametrize("name", ["04_score_sampels", "4", "0", "", "99", "notes"])
def test_an_unknown_notebook_is_refused_with_the_list(notebooks, name):
    with pytest.raises(DataError, match=f'There is no notebook "{name}".* There are 00_start'):
        select_notebooks([name])


def test_an_unknown_notebook_is_refused_with_the_near_match(notebooks):
    with pytest.raises(DataError, match=f'Did you mean "{THIRD}"'):
        select_notebooks(["04_score_sampels"])


def test_two_notebooks_of_one_number_must_be_told_apart(notebooks):
    write_notebook(notebooks, "04_other")
    with pytest.raises(DataError, match=f'"04" fits several notebooks: 04_other, {THIRD}'):
        select_notebooks(["04"])


def test_missing_notebooks_are_said(tmp_path, notebooks, monkeypatch):
    (notebooks / "05_act.ipynb").unlink()
    with pytest.raises(DataError, match='There is no notebook "05"'):
        select_notebooks()
    monkeypatch.setattr(run_request, "NOTEBOOKS", tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no numbered notebook"):
        select_notebooks()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1e-3", float, 0.001),
        ("3", float, 3.0),
        (2, float, 2.0),
        ("-7", int, -7),
        (5.0, int, 5),
        ("true", bool, True),
        ("No", bool, False),
        ("0", bool, False),
        (True, bool, True),
        ("no", str, "no"),
        (5, str, "5"),
    ],
)
def test_values_are_read_by_the_declared_type(text, kind, value):
    got = convert(text, Parameter("x", kind, kind(), ""), "n")
    assert got == value
    assert type(got) is kind


@pytest.mark.parametrize(
    ("text", "kind", "known"),
    [
        ("1e3", int, "a whole number"),
        ("1.5", int, "a whole number"),
        (1.5, int, "a whole number"),
        (True, int, "a whole number"),
        ("", int, "a whole number"),
        ("fast", float, "a number"),
        ("nan", float, "a number"),
        ([1], float, "a number"),
        ("maybe", bool, "true or false"),
        (2, bool, "true or false"),
        (None, str, "a text"),
        (False, str, "a text"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(text, kind, known):
    parameter = Parameter("rate", kind, kind(), "")
    with pytest.raises(DataError, match=f'"rate" of 03_train must be {known}; got '):
        convert(text, parameter, "03_train")


def test_each_notebook_gets_only_what_it_declares(notebooks):
    write_notebook(notebooks, SECOND, declared="epochs: int = 3  # passes\nseed: int = 0  # start")
    got = fill_parameters([FIRST, SECOND], {"epochs": "5"}, {"source": "sample", "path": ""})
    assert got == {FIRST: {"source": "sample", "path": ""}, SECOND: {"epochs": 5}}
    got = fill_parameters([FIRST, SECOND], {"seed": "1"}, {})
    assert got == {FIRST: {"seed": 1}, SECOND: {"seed": 1}}


def test_a_parameter_that_no_notebook_declares_names_the_near_match(notebooks):
    with pytest.raises(DataError, match='a parameter "sed". Did you mean "seed"\\? They have seed'):
        fill_parameters([FIRST, SECOND], {"sed": "1"}, {})


@pytest.mark.parametrize(
    ("name", "option"),
    [("source", "--source"), ("path", "--path"), ("schema", "--schema"), ("run_dir", "--out")],
)
def test_parameters_with_an_option_of_their_own_are_refused(notebooks, name, option):
    with pytest.raises(DataError, match=f'"{name}" is set by {option}, not by -p'):
        fill_parameters([FIRST], {name: "x"}, {})


def test_a_parameter_file_gives_values_by_name(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("rate: 1e-3\nseed: 4\n")
    assert read_parameter_file(file) == {"rate": "1e-3", "seed": "4"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file of parameters"),
        ("- 1\n- 2", "must name parameters"),
        ("", "must name parameters"),
        ("1: 2", "must name parameters"),
        ("a: [1", "line [12]: this is not readable YAML"),
        (b"\xff\xfe\x00", "line 1: this is not UTF-8"),
        ("a: &x 1\nb: *x", "anchors"),
        ("seed: 1\nseed: 2", "line 2: seed is mapped twice, first in line 1"),
        ("seed: [1]", "seed must be one value; got a list"),
        ("seed:", "seed must be one value; got nothing"),
        ("seed: !!python/object/apply:os.system [ls]", "tags"),
        ("a: " + "[" * 3000, "sections stand in sections too deeply"),
        ("a: " + "1" * 100_000, "larger than 100 kB"),
    ],
)
def test_a_bad_parameter_file_is_refused(tmp_path, content, reason):
    file = tmp_path / "p.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=reason):
        read_parameter_file(file)


# The run folder ------------------------------------------------------------------------


def test_run_folders_never_collide(notebooks):
    folders = [start_run("sample").folder for _ in range(3)]
    assert len(set(folders)) == 3
    assert all(f.parent == runs.state.RUNS.resolve() and "-sample" in f.name for f in folders)


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_an_output_folder_that_cannot_be_written_is_refused(notebooks, tmp_path, out):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written.*--out DIR"):
        start_run("sample", out=tmp_path / out)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write")
def test_a_folder_that_nobody_can_write_is_refused(notebooks):
    with pytest.raises(DataError, match="cannot be written"):
        start_run("sample", out=Path("/proc/runs"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "needs --path DIR"),
        ("nowhere", "there is no such folder"),
        ("file", "this is a file"),
    ],
)
def test_a_bad_path_is_refused_before_anything_is_made(
    notebooks, tmp_path, monkeypatch, path, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=reason):
        start_run("csv", path=path)
    assert not runs.state.RUNS.exists()


def test_a_path_without_the_source_csv_is_refused(notebooks, tmp_path):
    with pytest.raises(DataError, match="--path is for --source csv or mysql"):
        start_run("sample", path=str(tmp_path))


def test_bad_tables_stop_the_run_before_anything_is_made(notebooks, tmp_path):
    with pytest.raises(DataError):
        start_run("csv", path=str(tmp_path))  # a folder without tables
    assert not runs.state.RUNS.exists()


# Executing -------------------------------------------------------------------------------


@pytest.fixture
def recording_pair(notebooks) -> Path:
    """Two notebooks that record; the second draws at random and makes two claims."""
    table = "import pandas as pd\ntable = pd.DataFrame({'auc': [0.5, float('nan')]})"
    cells = [start_cell(notebooks, FIRST), table, "record(models=table, fingerprint='abc')"]
    write_notebook(notebooks, FIRST, *cells)
    write_notebook(
        notebooks,
        SECOND,
        start_cell(notebooks, SECOND),
        "import numpy as np, sys, os\ndraw = np.random.default_rng(seed).random()",
        "claim('a draw is below one', draw < 1)\nclaim('a draw is above one', draw > 1)",
        "record(draw=draw, python=sys.executable, rate=rate, folder=os.getcwd())",
        declared=PARAMETERS + "\nrate: float = 0.1  # of learning",
    )
    return notebooks


def _check_pair(run, *, seed: int) -> None:
    """The results of the two, however often the run was stopped on the way."""
    results = _results(run)["notebooks"]
    assert list(results) == [FIRST, SECOND]
    assert results[FIRST]["values"] == {
        "models": [{"auc": 0.5}, {"auc": None}],
        "fingerprint": "abc",
    }
    values = results[SECOND]["values"]
    assert values["draw"] == np.random.default_rng(seed).random()
    assert values["folder"] == str(REPO)
    assert [c["holds"] for c in results[SECOND]["claims"]] == [True, False]
    assert results[SECOND]["parameters"]["seed"] == seed


def test_a_run_executes_in_order_and_merges_what_was_recorded(recording_pair, capsys):
    run = start_run("sample", given={"rate": "1e-3", "seed": "7"}, names=["03", "01"])
    execute_run(run)
    results = _results(run)
    _check_pair(run, seed=7)
    second = results["notebooks"][SECOND]
    assert second["values"]["rate"] == 0.001
    assert second["parameters"] == {"source": "sample", "path": "", "seed": 7, "rate": 0.001}
    assert second["values"]["python"] == sys.executable
    facts = results["run"]
    assert (facts["source"], facts["seed"], facts["fingerprint"]) == ("sample", 7, "abc")
    assert facts["reference"] is False
    assert facts["notebooks"] == list(facts["seconds_by_notebook"]) == [FIRST, SECOND]
    assert facts["seconds"] == pytest.approx(sum(facts["seconds_by_notebook"].values()))
    assert facts["versions"]["pandas"] == pd.__version__
    said = capsys.readouterr()
    assert said.out.index(f"[1/2] {FIRST}") < said.out.index(f"[2/2] {SECOND}")
    assert said.err == ""
    assert "a draw is above one" in (run.folder / "report.html").read_text(encoding="utf-8")
    kept = json.loads((run.folder / f"{SECOND}.ipynb").read_text(encoding="utf-8"))
    noted = kept["metadata"]["papermill"]
    assert (noted["input_path"], noted["output_path"]) == (
        f"notebooks/{SECOND}.ipynb",
        f"{SECOND}.ipynb",
    )


def test_a_finished_run_resumes_to_nothing_and_says_where_the_report_is(
    notebooks, capsys, monkeypatch
):
    monkeypatch.setattr(runs.walk, "execute_notebook", None)  # no kernel starts
    run = start_run("sample", names=["01"])
    run.finished = {FIRST: {"sha256": runs.walk._sha256(FIRST), "seconds": 2.0}}
    run.save()
    execute_run(open_run(run.folder))
    assert "finished before" in capsys.readouterr().out
    told = summary(run)
    assert f"{FIRST}: 2 s" in told
    assert told.endswith(f"Report: {runs.shown_path(run.folder / 'report.html')}")


def test_a_failed_notebook_is_kept_named_and_resumed_to_the_same_results(recording_pair):
    good = (recording_pair / f"{SECOND}.ipynb").read_text()
    bad = good.replace("draw = np", "draw = 1 / 0 + np")
    (recording_pair / f"{SECOND}.ipynb").write_text(bad)
    run = start_run("sample", names=["01", "03"])
    with pytest.raises(RunError) as caught:
        execute_run(run)
    folder = runs.shown_path(run.folder)
    # Code cell 3 of the notebook: parameters, start, draw. papermill's own cell is not counted.
    assert str(caught.value) == (
        f"{SECOND}.ipynb, cell 3: ZeroDivisionError: division by zero. "
        f"The run is kept in {folder}; fix it and add --resume {folder}. "
        "With it, -p NAME VALUE may change rate."  # the finished notebook declares the others
    )
    assert caught.value.exit_code == 1
    kept = (run.folder / f"{SECOND}.ipynb").read_text()
    assert "ZeroDivisionError" in kept
    assert list(_results(run)["notebooks"]) == [FIRST]
    assert not (run.folder / "report.html").exists()

    (recording_pair / f"{SECOND}.ipynb").write_text(good)
    before = (run.folder / f"{FIRST}.ipynb").stat().st_mtime_ns
    execute_run(open_run(run.folder))
    assert (run.folder / f"{FIRST}.ipynb").stat().st_mtime_ns == before
    _check_pair(run, seed=0)
    assert (run.folder / "report.html").is_file()


def test_a_finished_notebook_runs_again_when_the_package_has_changed(
    notebooks, tmp_path, monkeypatch, capsys
):
    (tmp_path / "helpers" / "room").mkdir(parents=True)
    module = tmp_path / "helpers" / "room" / "module.py"
    module.write_text("RATE = 1")
    monkeypatch.setattr(runs.walk, "PACKAGE", tmp_path / "helpers")
    run = start_run("sample", names=["01"])
    run.finished = {FIRST: {"sha256": runs.walk._sha256(FIRST), "seconds": 2.0}}
    run.save()
    monkeypatch.setattr(runs.walk, "execute_notebook", None)
    execute_run(open_run(run.folder))
    assert "finished before" in capsys.readouterr().out
    module.write_text("RATE = 2")
    ran = []
    monkeypatch.setattr(runs.walk, "execute_notebook", lambda *a, **k: ran.append(a[0].stem))
    execute_run(open_run(run.folder))
    assert ran == [FIRST]
    assert f"{FIRST}: runs again, for it or the package has changed" in capsys.readouterr().out


def test_a_finished_notebook_that_was_changed_runs_again(notebooks):
    run = start_run("sample", names=["01"])
    run.finished = {FIRST: {"sha256": runs.walk._sha256(FIRST), "seconds": 2.0}}
    run.save()
    write_notebook(notebooks, FIRST, "raise RuntimeError('ran again')")
    with pytest.raises(RunError, match="cell 2: RuntimeError: ran again"):
        execute_run(open_run(run.folder))


def test_bad_data_found_in_a_notebook_is_the_persons_to_mend(notebooks):
    cells = (
        "from helpers.base.errors import DataError\nraise DataError('users.csv: empty.\\nFill it.')"
    )
    write_notebook(notebooks, FIRST, cells)
    with pytest.raises(DataError, match=rf"^users.csv: empty. Fill it \(Found by {FIRST}.ipynb, c"):
        execute_run(start_run("sample", names=["01"]))


def test_bad_data_of_a_persons_own_need_a_new_run_once_they_are_mended(notebooks, tmp_path):
    """As --resume refuses tables that have changed."""
    cells = "from helpers.base.errors import DataError\nraise DataError('users.csv: empty.')"
    write_notebook(notebooks, FIRST, cells)
    folder = lay_out(tmp_path / "mine")
    run = start_run("csv", path=str(folder), names=["01"])
    with pytest.raises(DataError, match="Mend the data and start a new run"):
        execute_run(run)
    with (folder / "users.csv").open("a") as stream:
        stream.write("canary-new,20-29\n")
    with pytest.raises(DataError, match=r"have changed since .*Start a new run"):
        open_run(run.folder)


def test_a_kernel_that_dies_is_an_error_not_a_hang(notebooks):
    write_notebook(notebooks, FIRST, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RunError, match=f"{FIRST}.ipynb.* died.*memory.*--resume"):
        execute_run(start_run("sample", names=["01"]))


def test_what_a_kernel_says_of_its_own_sockets_reaches_nobody(notebooks):
    """ipykernel may close its output before its last answer, and says so with a traceback."""
    said = "import logging\nlogging.getLogger('tornado.general').error('Uncaught exception')"
    write_notebook(notebooks, FIRST, said)
    process = command(notebooks, "run", "--source", "sample", "01")
    _, error = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, error) == (0, "")


# Stopped from outside ------------------------------------------------------------------


@pytest.fixture
def slow_second(recording_pair, tmp_path) -> Path:
    """The second notebook waits in mid-run, once, until the test has found its process."""
    file = recording_pair / f"{SECOND}.ipynb"
    wait = (
        f"first = Path({str(tmp_path / 'kernel')!r})\\n"
        "if not first.exists():\\n"
        "    import os, time\\n"
        "    _ = Path(f'{first}.new').write_text(str(os.getpid()))\\n"
        "    _ = os.rename(f'{first}.new', first)\\n"
        "    time.sleep(3600)\\n"
    )
    file.write_text(
        file.read_text().replace(
            "import numpy as np, sys, os", wait + "import numpy as np, sys, os"
        )
    )
    return recording_pair


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_run_stopped_in_mid_notebook_resumes_to_the_same_results(slow_second, tmp_path, kill):
    process = command(slow_second, "run", "--source", "sample", "-p", "seed", "5", "01", "03")
    assert awaited((tmp_path / "kernel").exists), "the second notebook never came to its wait"
    kernel = int((tmp_path / "kernel").read_text())
    process.send_signal(kill)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert gone(kernel), "the notebook's process lives on"
    (folder,) = (tmp_path / "runs").iterdir()
    if kill is signal.SIGINT:
        assert process.returncode == 130
        assert error == (
            f"Interrupted in {SECOND}.ipynb. The run is kept in {folder}; "
            f"go on with --resume {folder}.\n"
        )
    else:
        assert process.returncode == -9

    again = command(slow_second, "run", "--resume", str(folder))
    out, error = again.communicate(timeout=PATIENCE_S)
    assert (again.returncode, error) == (0, "")
    assert f"{FIRST}: finished before" in out
    _check_pair(open_run(folder), seed=5)


def test_two_runs_at_once_do_not_mix(recording_pair, tmp_path):
    commands = [
        command(recording_pair, "run", "--source", "sample", "-p", "seed", str(seed), "03")
        for seed in (1, 2)
    ]
    # Both are waited for before anything is asked; a kernel's sockets may complain as they close.
    said = [started.communicate(timeout=PATIENCE_S)[1] for started in commands]
    assert [started.returncode for started in commands] == [0, 0], said
    done = [json.loads(f.read_text()) for f in (tmp_path / "runs").glob("*/results.json")]
    assert sorted(d["notebooks"][SECOND]["parameters"]["seed"] for d in done) == [1, 2]
    assert len({d["notebooks"][SECOND]["values"]["draw"] for d in done}) == 2


def test_a_second_process_is_kept_out_of_a_run(notebooks):
    run = start_run("sample", names=["01"])
    with (
        runs.state.alone(run.folder),
        pytest.raises(DataError, match="Another process is working"),
    ):
        execute_run(open_run(run.folder))


# Resuming something else ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "option"),
    [
        ({"source": "journey"}, "--source: sample, now journey"),
        ({"schema": "/log.yaml"}, "--schema: , now /log.yaml"),
        ({"names": ["03"]}, "the notebooks"),
    ],
)
def test_resuming_with_other_settings_is_refused(notebooks, other, option):
    run = start_run("sample", given={"seed": "1"}, names=["01"])
    with pytest.raises(DataError, match=option):
        open_run(run.folder, **other)


def test_resuming_with_the_same_settings_is_fine(notebooks):
    run = start_run("sample", given={"seed": "1"}, names=["01"])
    again = open_run(run.folder, source="sample", given={"seed": 1}, names=[FIRST])
    assert again == run


def test_what_is_not_a_run_is_refused_with_the_near_match(notebooks):
    run = start_run("sample", names=["01"])
    with pytest.raises(
        DataError, match=f'is not the folder of a run. Did you mean "{run.folder.name}"'
    ):
        open_run(run.folder.with_name(run.folder.name[:-1]))
    (run.folder / "run.json").write_text('{"source": ')
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        open_run(run.folder)


@pytest.mark.parametrize("schema", ["", "log.yaml"], ids=["schema beside", "schema elsewhere"])
def test_changed_tables_are_not_mixed_into_a_run(notebooks, tmp_path, schema):
    folder = tmp_path / "tables"
    shutil.copytree(DATA / "sample", folder)
    stated = ""
    if schema:
        stated = str(shutil.move(folder / "schema.yaml", tmp_path / schema))
    run = start_run("csv", path=str(folder), schema=stated, names=["01"])
    assert run.fingerprint
    assert open_run(run.folder) == run
    file = Path(stated) if schema else folder / "schema.yaml"
    file.write_text(file.read_text() + "\n# a note\n")
    with pytest.raises(DataError, match="have changed since"):
        open_run(run.folder)


def test_a_run_from_before_there_were_schemas_can_be_resumed(notebooks):
    run = start_run("sample", names=["01"])
    state = json.loads((run.folder / "run.json").read_text())
    del state["schema"], state["copied"]
    (run.folder / "run.json").write_text(json.dumps(state))
    assert open_run(run.folder) == run


# What an error tells ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kind", "told"),
    [
        ("sample", "KeyError", True),
        ("csv", "KeyError", False),
        ("csv", "ValueError", False),
        ("csv", "OSError", True),
        ("csv", "ModuleNotFoundError", True),
    ],
)
def test_the_message_of_an_error_that_may_hold_a_row_stays_in_the_notebook(
    notebooks, monkeypatch, source, kind, told
):
    def fails(*given, **options):
        raise NotebookFailed(kind, "'ann@example.org'", 7)

    monkeypatch.setattr(runs.walk, "execute_notebook", fails)
    run = start_run(source, path=str(DATA / "sample") if source == "csv" else "", names=["01"])
    with pytest.raises(RunError, match=f"{FIRST}.ipynb, cell 7: {kind}.*kept in") as caught:
        execute_run(run)
    assert ("ann@example.org" in str(caught.value)) is told


def test_a_folder_with_braces_in_its_name_is_a_folder_like_any(notebooks, tmp_path):
    execute_run(run := start_run("sample", names=["01"], out=tmp_path / "{seed} {x}"))
    assert (run.folder / f"{FIRST}.ipynb").is_file()
