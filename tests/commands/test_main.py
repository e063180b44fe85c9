"""The command line: what it prints, what it refuses, and its exit codes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from tiny_notebooks import write_notebook
from waiting import as_typed

from helpers import __main__ as command_line
from helpers.__main__ import main
from helpers.base.paths import DATA, REPO
from helpers.commands import run as runs
from helpers.commands import run_request


@pytest.fixture(autouse=True)
def notebooks(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    walk = ("01_load_data", "03_train", "04_score_samples", "05_act", "06_evaluate", "08_judge")
    for name in walk:
        write_notebook(folder, name, "print(seed)")
    monkeypatch.setattr(run_request, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs.state, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def executed(monkeypatch) -> list:
    """Notebooks that would have been executed; no kernel is started."""
    names = []
    monkeypatch.setattr(
        runs.walk, "execute_notebook", lambda source, target, values, bar: names.append(source.stem)
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


@pytest.mark.parametrize(
    "command", [[], ["run"], ["report"], ["init"], ["check"], ["mysql"]], ids=" ".join
)
def test_help_says_all_and_is_no_error(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    help_text = capsys.readouterr().out
    options = {
        "run": ("--resume", "-p NAME VALUE", "-f FILE", "--show-ids", "--all", "--schema FILE"),
        "init": ("--path DIR", "--out FILE", "csv,mysql", "WORKBOOK_DB_URL"),
        "check": ("--path DIR", "--schema FILE", "exit codes"),
        "mysql": ("--port N", "Ctrl-C"),
    }
    for option in options.get("".join(command), ()):
        assert option in help_text
    assert f"python -m helpers {' '.join(command)}" in help_text


def test_help_loads_no_slow_module():
    code = (
        "import sys\nfrom helpers.__main__ import main\n"
        "for command in [], ['run'], ['init'], ['check'], ['mysql'], ['report']:\n"
        "    try:\n        main([*command, '--help'])\n    except SystemExit:\n        pass\n"
        "slow = {'pandas', 'numpy', 'papermill', 'tensorflow', 'jinja2', 'sqlalchemy', 'duckdb'}\n"
        "slow &= set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_run_executes_the_walk_and_says_where_things_are(executed, capsys, tmp_path):
    assert main(["run", "--source", "sample"]) == 0
    assert [name[:2] for name in executed] == ["01", "03", "04", "05", "06", "08"]
    said = capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"Run folder: runs/{folder.name}" in said
    assert said.endswith(f"Report: runs/{folder.name}/report.html\n")


def test_run_takes_parameters_from_both_places_and_the_command_wins(
    monkeypatch, tmp_path, executed
):
    got = {}
    monkeypatch.setattr(
        runs.walk, "execute_notebook", lambda source, target, values, bar: got.update(values)
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
        (["run", "--path", "notebooks"], ""),
        (["run", "--path", "notebuks"], 'no such folder. Did you mean "notebooks"?'),
        (["run", "--source", "sample", "--path", "notebooks"], "--path is for --source csv or"),
        (["run", "--source", "journey", "--schema", "s.yaml"], "--schema is for --source csv or"),
        (["run", "--schema", "schema.yaml"], "add --path DIR for files, or --source mysql"),
        (["run", "--path", "notebooks", "--schema", "schem.yaml"], 'mean "schema.yaml"?'),
        (["run", "--path", "notebooks", "--schema", "notebooks"], "this is a folder; give the fi"),
        (["check", "--path", "nowhere"], "there is no such folder"),
        (["check", "--source", "csv"], "needs --path DIR"),
        (["check", "--path", "notebooks", "--schema", "schem.yaml"], 'mean "schema.yaml"?'),
        (["check", "--schema", "schema.yaml"], "add --path DIR for files, or --source mysql"),
        (["mysql", "--source", "csv"], "needs --path DIR"),
        (["mysql", "--path", "nowhere"], "there is no such folder"),
        (["init"], "needs --path DIR"),
        (["init", "--path", "nowhere"], "there is no such folder"),
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
    (tmp_path / "schema.yaml").write_text("")
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
    cell = "from helpers.base.errors import DataError\nraise DataError('users.csv:\\n  no rows')"
    write_notebook(notebooks, "01_load_data", cell)
    assert "users.csv: no rows" in _refused(capsys, "run", "--source", "sample", "01")


# Your own data: init, check, mysql -----------------------------------------------------


def _tables(tmp_path):
    """The small tables of a shop with names of its own."""
    (tmp_path / "shop").mkdir()
    for file in (DATA / "foreign").iterdir():
        (tmp_path / "shop" / file.name).write_bytes(file.read_bytes())
    return tmp_path / "shop"


def test_init_drafts_a_schema_and_says_what_comes_next(tmp_path, capsys):
    shop = _tables(tmp_path)
    (shop / "schema.yaml").unlink()
    assert main(["init", "--path", "shop"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Draft: shop/schema.yaml\n")
    assert "\n  python -m helpers check --path shop\n  python -m helpers run --path shop\n" in said
    assert "user_behavior:" in (shop / "schema.yaml").read_text(encoding="utf-8")


def test_init_names_another_file_in_what_comes_next(tmp_path, capsys):
    _tables(tmp_path)
    assert main(["init", "--path", "shop", "--out", "my log.yaml"]) == 0
    assert "helpers check --path shop --schema 'my log.yaml'\n" in capsys.readouterr().out


def test_init_never_replaces_a_file(tmp_path, capsys):
    before = (_tables(tmp_path) / "schema.yaml").read_bytes()
    assert "is not overwritten" in _refused(capsys, "init", "--path", "shop")
    assert (tmp_path / "shop" / "schema.yaml").read_bytes() == before


def test_init_of_a_server_writes_into_the_folder_that_is_named(tmp_path, monkeypatch, capsys):
    from helpers.commands import init as drafting

    asked = []
    monkeypatch.setattr(
        drafting, "write_draft", lambda path, **options: asked.append(options) or options["out"]
    )
    (tmp_path / "shop").mkdir()
    assert main(["init", "--source", "mysql", "--path", "shop"]) == 0
    assert str(asked[0]["out"]) == "shop/schema.yaml"
    assert "check --source mysql --schema shop/schema.yaml\n" in capsys.readouterr().out


@pytest.mark.parametrize(("usable", "code"), [(True, 0), (False, 2)])
def test_check_prints_the_audit_and_says_by_its_code_whether_the_data_are_usable(
    tmp_path, monkeypatch, capsys, usable, code
):
    import helpers.commands.check as rooms

    _tables(tmp_path)
    asked = []
    found = SimpleNamespace(ok=usable, text=lambda: "Verdict: so and so")
    monkeypatch.setattr(rooms, "audit", lambda *a, **options: asked.append((a, options)) or found)
    assert main(["check", "--path", "shop", "--schema", "shop/schema.yaml"]) == code
    assert asked[0][0] == ("csv",)
    assert asked[0][1]["schema"] == "shop/schema.yaml"
    said = capsys.readouterr()
    assert said.out == "Reading the files in shop (--source csv).\nVerdict: so and so\n"
    assert said.err == ""


def test_mysql_serves_what_is_asked_for(tmp_path, monkeypatch):
    import helpers.commands.mysql as rooms

    _tables(tmp_path)
    asked = []
    monkeypatch.setattr(rooms, "serve", lambda *a, **options: asked.append((a, options)))
    assert main(["mysql", "--source", "sample", "--port", "3310"]) == 0
    assert main(["mysql", "--path", "shop"]) == 0
    assert asked == [
        (("sample",), {"path": "", "schema": "", "port": 3310}),
        (("csv",), {"path": "shop", "schema": "", "port": None}),
    ]


# What nobody foresaw ---------------------------------------------------------------------

SECRET_ROW = "ann@example.org,hunter2"


@pytest.fixture
def faulty(monkeypatch):
    """A command whose code is broken in a way that shows a row."""

    def break_it(error):
        def broken(options):
            raise error

        monkeypatch.setattr(command_line, "_report", broken)

    return break_it


def test_an_unforeseen_error_is_one_paragraph_without_its_message(faulty, capsys, monkeypatch):
    monkeypatch.delenv("WORKBOOK_DEBUG", raising=False)
    faulty(KeyError(SECRET_ROW))
    assert main(["report", "x"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("This is a fault of the workbook or of its installation: KeyError in ")
    assert "WORKBOOK_DEBUG=1" in error
    assert error.count("\n") == 1
    assert SECRET_ROW not in error


def test_the_place_of_an_unforeseen_error_is_the_workbooks_own_line(tmp_path, capsys, monkeypatch):
    import helpers.commands.report.page as page

    monkeypatch.setattr(page, "_page", lambda results, names: {}["secret"])
    monkeypatch.setattr(page, "read_results", lambda folder: {"run": {}})
    assert main(["report", str(tmp_path)]) == 1
    assert "KeyError in page.py, line " in capsys.readouterr().err


def test_the_details_of_an_unforeseen_error_can_be_asked_for(faulty, capsys, monkeypatch):
    monkeypatch.setenv("WORKBOOK_DEBUG", "1")
    faulty(KeyError(SECRET_ROW))
    assert main(["report", "x"]) == 1
    assert "Traceback" in (error := capsys.readouterr().err)
    assert SECRET_ROW in error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "No space is left on the disk"),
        (MemoryError(), "Set a smaller max_users"),
    ],
)
def test_a_full_disk_and_too_little_memory_have_sentences(faulty, capsys, error, sentence):
    faulty(error)
    assert main(["report", "x"]) == 1
    assert sentence in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "from helpers import __main__ as m\n"
        "m._report = lambda options: [print('line', n) for n in range(100_000)] and None\n"
        "raise SystemExit(m.main(['report', 'x']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_request_to_end_is_an_interruption(name):
    code = (
        "import os, signal\n"
        "from helpers import __main__ as m\n"
        f"m._report = lambda options: os.kill(os.getpid(), signal.{name})\n"
        "code = m.main(['report', 'x'])\n"
        f"assert signal.getsignal(signal.{name}) is signal.SIG_DFL\n"
        "raise SystemExit(code)"
    )
    done = subprocess.run(as_typed(sys.executable, "-c", code), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


@pytest.mark.slow
def test_a_check_of_real_tables_ends_without_an_error(tmp_path):
    _tables(tmp_path)
    command = [sys.executable, "-m", "helpers", "check", "--path", str(tmp_path / "shop")]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Verdict: usable" in done.stdout
