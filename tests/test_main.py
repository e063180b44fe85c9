"""The command line: what it prints, what it refuses, and its exit codes."""

import subprocess
import sys

import pytest
from tiny_notebooks import write_notebook

from helpers import runs, settings
from helpers.__main__ import main


@pytest.fixture(autouse=True)
def notebooks(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    for name in ("01_load_data", "03_train", "04_score_samples", "05_act", "06_evaluate"):
        write_notebook(folder, name, "print(seed)")
    monkeypatch.setattr(settings, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def executed(monkeypatch) -> list:
    """Notebooks that would have been executed; no kernel is started."""
    names = []
    monkeypatch.setattr(
        runs, "execute_notebook", lambda source, target, values, bar: names.append(source.stem)
    )
    return names


def _refused(capsys, *arguments: str) -> str:
    """Run a command that a person got wrong; return its one paragraph."""
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def test_nothing_prints_the_help_and_is_bad_input(capsys):
    assert main([]) == 2
    assert "python -m helpers run --source sample" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["run"], ["report"]])
def test_help_says_all_and_is_no_error(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    help_text = capsys.readouterr().out
    for option in {"run": ("--resume", "-p NAME VALUE", "-f FILE", "--show-ids", "--all")}.get(
        "".join(command), ()
    ):
        assert option in help_text


def test_help_loads_no_slow_module():
    code = (
        "import sys\nfrom helpers.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "slow = {'pandas', 'numpy', 'papermill', 'tensorflow', 'jinja2'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_run_executes_the_walk_and_says_where_things_are(executed, capsys, tmp_path):
    assert main(["run", "--source", "sample"]) == 0
    assert [name[:2] for name in executed] == ["01", "03", "04", "05", "06"]
    said = capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"Run folder: runs/{folder.name}" in said
    assert said.endswith(f"Report: runs/{folder.name}/report.html\n")


def test_run_takes_parameters_from_both_places_and_the_command_wins(
    monkeypatch, tmp_path, executed
):
    got = {}
    monkeypatch.setattr(
        runs, "execute_notebook", lambda source, target, values, bar: got.update(values)
    )
    (tmp_path / "p.yaml").write_text("seed: 3\n")
    assert main(["run", "--source", "sample", "-f", "p.yaml", "01"]) == 0
    assert got["seed"] == 3
    assert main(["run", "--source", "sample", "-f", "p.yaml", "-p", "seed", "-4", "01"]) == 0
    assert got["seed"] == -4


def test_no_report_writes_none(executed, tmp_path, capsys):
    assert main(["run", "--source", "sample", "--no-report", "01"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert not (folder / "report.html").exists()
    assert capsys.readouterr().out.endswith(f"Results: runs/{folder.name}\n")


def test_report_writes_the_page_again(executed, tmp_path, capsys):
    main(["run", "--source", "sample", "--no-report", "01"])
    (folder,) = (tmp_path / "runs").iterdir()
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.endswith(f"Report: runs/{folder.name}/report.html\n")
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--source", "csv"], "needs --path DIR"),
        (["run", "--source", "csv", "--path", "nowhere"], "there is no such folder"),
        (["run", "--source", "csv", "--path", "file"], "this is a file"),
        (["run", "--source", "csv", "--path", "notebooks"], ""),  # a folder without tables
        (["run", "--path", "notebooks"], "--path is for --source csv"),
        (["run", "-p", "sed", "1"], 'Did you mean "seed"?'),
        (["run", "-p", "seed", "1.5"], "must be a whole number"),
        (["run", "-f", "nowhere.yaml"], "no such file"),
        (["run", "04_score_sampels"], 'Did you mean "04_score_samples"?'),
        (["run", "--out", "file"], "cannot be written"),
        (["run", "--resume", "nowhere"], "is not the folder of a run"),
        (["run", "--resume", "nowhere", "--all"], "leave out --out and --all"),
        (["report", "nowhere"], "holds no results.json"),
    ],
)
def test_bad_input_is_one_paragraph_and_starts_nothing(
    arguments, sentence, capsys, tmp_path, executed
):
    (tmp_path / "file").write_text("")
    assert sentence in _refused(capsys, *arguments)
    assert executed == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["run", "--source", "jurney"], ["walk"], ["run", "-x"]])
def test_what_the_command_line_does_not_know_is_bad_input(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_failing_notebook_is_exit_1_and_bad_data_found_in_it_exit_2(notebooks, capsys):
    write_notebook(notebooks, "01_load_data", "1 / 0")
    assert main(["run", "--source", "sample", "01"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("01_load_data.ipynb, cell 2: ZeroDivisionError: division by zero.")
    assert error.count("\n") == 1
    cell = "from helpers.schema import DataError\nraise DataError('users.csv:\\n  no rows')"
    write_notebook(notebooks, "01_load_data", cell)
    assert "users.csv: no rows" in _refused(capsys, "run", "--source", "sample", "01")
