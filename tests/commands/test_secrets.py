"""A password is found in nothing that a command writes or prints, whatever goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_fixture import need_server
from tiny_notebooks import ENDLESS, command, start_cell, write_notebook
from waiting import PATIENCE_S, awaited

import helpers.data.database
from helpers.base.paths import DATA, REPO
from helpers.commands.run import executor
from helpers.data.mysql_server import private_server
from helpers.data.sources import open_source

CANARY = "kanarie-pw-7Q"
FIRST = "01_load_data"


@pytest.fixture
def notebooks(tmp_path) -> Path:
    """A notebook that shows its whole environment and reads the tables it was given."""
    folder = tmp_path / "notebooks"
    cells = [
        start_cell(folder, FIRST),
        "import os\nprint(dict(os.environ))",
        "from helpers.data.sources import open_source\n"
        "tables = None if source == 'sample' else open_source(source, path=path)\n"
        "record(events=0 if tables is None else len(tables.user_behavior), env=sorted(os.environ))",
    ]
    write_notebook(folder, FIRST, *cells)
    return folder


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else can have it, and does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def _option_file(folder: Path) -> Path:
    file = folder / "my.cnf"
    file.write_text(f"[client]\nuser=reader\npassword={CANARY}\n")
    file.chmod(0o600)
    return file


def _address(kind: str, folder: Path, *, port: int, user: str = "reader") -> str:
    if kind == "option file":
        return f"mysql://127.0.0.1:{port}/shop?option_file={_option_file(folder)}"
    return f"mysql://{user}:{CANARY}@127.0.0.1:{port}/shop"


def _environment(folder: Path, url: str, **more: str) -> dict[str, str]:
    return os.environ | {"WORKBOOK_DB_URL": url, "WORKBOOK_CACHE": str(folder / "cache")} | more


def _check_clean(folder: Path, *said: str) -> None:
    """The password is in no output and in no file below the folder but a person's own."""
    assert not any(CANARY in text for text in said)
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "my.cnf":
            assert CANARY.encode() not in file.read_bytes(), file


COMMANDS = {
    "run": ["run", "--source", "mysql", "01"],
    "check": ["check", "--source", "mysql"],
    "init": ["init", "--source", "mysql", "--out", "OUT/draft.yaml"],
    "run on files": ["run", "--source", "sample", "01"],
    "check with a missing schema": ["check", "--source", "mysql", "--schema", "OUT/no.yaml"],
    "resume": ["run", "--resume", "OUT/nothing"],
    "report": ["report", "OUT"],
    "a parameter nobody has": ["run", "--source", "mysql", "-p", "url", "x"],
}


def _do(notebooks: Path, name: str, environment: dict[str, str]) -> tuple[int, str, str]:
    words = [word.replace("OUT", str(notebooks.parent)) for word in COMMANDS[name]]
    process = command(notebooks, *words, env=environment)
    said = process.communicate(timeout=PATIENCE_S)
    return process.returncode, *said


@pytest.mark.parametrize("kind", ["address", "option file"])
@pytest.mark.parametrize("name", list(COMMANDS))
def test_no_command_tells_the_password_of_a_server_that_is_down(
    notebooks, tmp_path, closed_port, name, kind
):
    url = _address(kind, tmp_path, port=closed_port)
    code, out, error = _do(notebooks, name, _environment(tmp_path, url, WORKBOOK_DEBUG="1"))
    _check_clean(tmp_path, out, error)
    assert code == (0 if name == "run on files" else 2), error
    assert "Traceback" not in error
    assert error.count("\n") == (0 if code == 0 else 1)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://reader:{CANARY}@@127.0.0.1/shop",
        f"mysql://reader:a/{CANARY}@127.0.0.1/shop",
        f"mysql://127.0.0.1/shop?password={CANARY}",
        f"mysql://127.0.0.1/shop?{CANARY}",
        f"postgres://reader:{CANARY}@127.0.0.1/shop",
        f"{CANARY}",
        f"mysql://reader:{CANARY}@no.such.host.invalid/shop",
        f"mysql://reader:{CANARY}@127.0.0.1:99999/shop",
    ],
)
def test_a_wrong_address_is_refused_without_the_password(notebooks, tmp_path, url):
    code, out, error = _do(notebooks, "check", _environment(tmp_path, url))
    _check_clean(tmp_path, out, error)
    assert code == 2
    assert error.count("\n") == 1


def test_a_fault_of_the_workbook_does_not_tell_the_password(tmp_path):
    code = (
        "from helpers import __main__ as m\n"
        "import os\n"
        "def broken(options): raise RuntimeError(os.environ['WORKBOOK_DB_URL'])\n"
        "m._report = broken\n"
        "raise SystemExit(m.main(['report', 'x']))"
    )
    environment = _environment(tmp_path, _address("address", tmp_path, port=1))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    _check_clean(tmp_path, done.stdout, done.stderr)


def test_kernels_do_not_know_the_way_to_the_server(notebooks, tmp_path, closed_port):
    assert helpers.data.database.VARIABLE in executor._SECRETS
    url = _address("address", tmp_path, port=closed_port)
    code, _, error = _do(notebooks, "run on files", _environment(tmp_path, url, MARK="here"))
    assert (code, error) == (0, "")
    (file,) = (tmp_path / "runs").glob("*/results.json")
    known = json.loads(file.read_text())["notebooks"][FIRST]["values"]["env"]
    assert "MARK" in known
    assert "WORKBOOK_DB_URL" not in known


# A real server ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop():
    """A private server with the small log and a user whose password is the canary."""
    need_server()
    from helpers.commands.mysql import load_source
    from helpers.data.database import open_database

    with private_server() as server:
        with open_database(server.url) as database:
            load_source(database, open_source("sample"))
            with database.connected() as connection:
                for sql in (
                    f"CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{CANARY}'",
                    "GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
                ):
                    connection.exec_driver_sql(sql)
        yield server


@pytest.mark.parametrize("kind", ["address", "option file"])
def test_a_run_on_a_server_leaves_no_password(notebooks, shop, tmp_path, closed_port, kind):
    environment = _environment(tmp_path, _address(kind, tmp_path, port=shop.port))
    for name in ("init", "run"):
        code, out, error = _do(notebooks, name, environment)
        assert (code, error) == (0, ""), error
        _check_clean(tmp_path, out, error)
    (results,) = (tmp_path / "runs").glob("*/results.json")
    rows = json.loads(results.read_text())["notebooks"][FIRST]["values"]["events"]
    assert rows == len(open_source("sample").user_behavior)
    folder = results.parent
    assert (folder / "tables").stat().st_mode & 0o077 == 0
    down = _environment(tmp_path, _address("address", tmp_path, port=closed_port))
    again = command(notebooks, "run", "--resume", folder, env=down)
    out, error = again.communicate(timeout=PATIENCE_S)
    assert (again.returncode, error) == (0, "")
    assert "finished before" in out


@pytest.mark.slow
def test_a_check_of_a_server_leaves_no_password(notebooks, shop, tmp_path):
    environment = _environment(tmp_path, _address("address", tmp_path, port=shop.port))
    code, out, error = _do(notebooks, "check", environment)
    assert (code, error) == (0, "")
    _check_clean(tmp_path, out, error)


@pytest.mark.parametrize("name", ["run", "check", "init"])
def test_a_wrong_password_is_refused_without_telling_it(notebooks, shop, tmp_path, name):
    url = _address("address", tmp_path, port=shop.port, user="workbook")
    code, out, error = _do(notebooks, name, _environment(tmp_path, url))
    assert code == 2
    assert error.count("\n") == 1
    _check_clean(tmp_path, out, error)


def test_a_run_that_is_killed_while_it_works_leaves_no_password(notebooks, shop, tmp_path):
    write_notebook(notebooks, FIRST, "import os\nprint(dict(os.environ))", ENDLESS)
    environment = _environment(tmp_path, _address("address", tmp_path, port=shop.port))
    process = command(notebooks, *COMMANDS["run"], env=environment)
    executed = (tmp_path / "runs").glob
    assert awaited(lambda: [*executed("*/*.ipynb")] or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    _check_clean(tmp_path, *process.communicate())


def test_the_bundled_files_hold_no_way_to_a_server():
    for file in [*DATA.rglob("*.yaml"), *(REPO / "notebooks").glob("*.ipynb")]:
        text = file.read_text(encoding="utf-8")
        passwords = re.findall(r"mysql(?:\+pymysql)?://[^:\s/]*:([^@\s]*)@", text)
        assert set(passwords) <= {"PASSWORD"}, file  # the word that stands for one
