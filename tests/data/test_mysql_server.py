"""A private server: locked, on this machine alone, and gone whatever the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import mysql_fixture
import psutil
import pymysql
import pytest
from mysql_fixture import execute, gone, need_server, processes
from waiting import PATIENCE_S, as_typed, awaited

from helpers.base.errors import DataError
from helpers.data import mysql_server
from helpers.data.database.address import read_address
from helpers.data.mysql_server import missing_server, private_server

server = mysql_fixture.server


def test_it_listens_on_this_machine_alone_and_runs_as_nobody_important(server):
    [running] = [p for p in processes(server.folder) if "python" not in p.name()]
    listening = [c.laddr for c in running.net_connections("tcp") if c.status == "LISTEN"]
    assert [(place.ip, place.port) for place in listening] == [("127.0.0.1", server.port)]
    assert running.uids().effective != 0
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert server.running


def test_its_only_user_has_a_password_that_shows_nowhere(server):
    password = read_address(server.url).password
    assert len(password) >= 20
    assert password not in repr(server)
    assert not any(password in " ".join(p.cmdline()) for p in processes(server.folder))
    assert not any(
        password.encode() in path.read_bytes() for path in server.folder.glob("*") if path.is_file()
    )
    for user, secret in (("root", ""), ("", ""), ("mysql", ""), ("workbook", "")):
        with pytest.raises(pymysql.OperationalError, match="1045|1698|4151"):
            pymysql.connect(user=user or "x", password=secret, host="127.0.0.1", port=server.port)
    users = {user for (user,) in execute(server, "SELECT User FROM mysql.user")}
    assert users <= {"workbook", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema"}


def test_two_servers_have_nothing_in_common(server):
    with private_server() as other:
        assert other.port != server.port
        assert other.folder != server.folder
        assert read_address(other.url).password != read_address(server.url).password
        folder = other.folder
    assert gone(folder)
    assert server.running
    execute(server, "SELECT 1")


def fail_inside(folder: str) -> None:
    with private_server(folder=folder) as running:
        assert running.folder.parent == Path(folder)
        raise ZeroDivisionError


def test_it_is_gone_after_an_exception_and_its_place_is_chosen():
    need_server()
    # Not tmp_path: the server's user may not enter that of root.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with pytest.raises(ZeroDivisionError):
            fail_inside(folder)
        assert not list(Path(folder).iterdir())
        assert not processes(folder)


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["private", "for all"])
def test_any_place_for_temporary_files_will_do(monkeypatch, mode):
    """One of root's own, which the server's user may not enter; one too long for a socket."""
    need_server()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "a-folder-whose-name-is-long" / ("x" * 100)
        place.mkdir(parents=True)
        os.chmod(folder, mode)
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        with private_server() as running:
            execute(running, "SELECT 1")
            was = running.folder, running.socket.parent
            assert len(os.fsencode(running.socket)) <= 104
        assert all(map(gone, was))
        monkeypatch.undo()


CHILD = """
import sys
from helpers.data.mysql_server import private_server
with private_server() as server:
    print(server.folder, flush=True)
    sys.stdin.read()  # until it is ended, or the test is
"""


def started(**pipes: object) -> subprocess.Popen:
    """Start a process that has a server and waits for its end."""
    words = as_typed(sys.executable, "-c", CHILD)
    return subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, **pipes)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_is_gone_when_its_process_is_ended(end):
    need_server()
    with started(stdout=subprocess.PIPE, text=True) as child:
        folder = child.stdout.readline().strip()
        assert len(processes(folder)) == 2
        child.send_signal(end)
        child.wait(PATIENCE_S)
    assert gone(folder)


def test_it_is_gone_when_its_process_is_killed_while_it_is_made():
    need_server()
    with started(stdout=subprocess.DEVNULL) as child:

        def orders() -> list[str]:
            """The keeper's own command line says what it is to do, as JSON."""
            keepers = psutil.Process(child.pid).children()
            with contextlib.suppress(psutil.NoSuchProcess):
                return [part for each in keepers for part in each.cmdline() if part[0:1] == "{"]
            return []

        found = awaited(orders, every_s=0)
        child.kill()
    folder = Path(json.loads(found[0])["log"]).parent
    assert gone(folder)


def test_a_server_that_does_not_start_says_why(monkeypatch):
    need_server()
    serving = mysql_server._serving
    folders = []

    def wrong(running, *paths):
        folders.append(running.folder)
        return [*serving(running, *paths), "--no-such-option"]

    monkeypatch.setattr(mysql_server, "_serving", wrong)
    with (
        pytest.raises(DataError, match="ended at once; it said last: .*no-such-option") as caught,
        private_server(),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert gone(folders[0])


def test_a_port_that_is_taken_or_wrong_is_refused():
    need_server()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DataError, match=f"cannot use port {port}: Address already in use"):
            private_server(port=port).__enter__()
    with pytest.raises(DataError, match="cannot use port 70000: a port is a number from 1"):
        private_server(port=70_000).__enter__()


def test_a_spare_port_that_is_taken_before_the_server_has_it_is_replaced(monkeypatch):
    need_server()
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        spare = [taken.getsockname()[1], free.getsockname()[1]]
        free.close()
        ports = iter(spare)
        monkeypatch.setattr(mysql_server, "_port", lambda wanted: next(ports))
        with private_server() as server:
            assert server.port == spare[1]
            execute(server, "SELECT 1")


def test_a_machine_without_a_server_says_what_to_install(monkeypatch):
    monkeypatch.setattr(mysql_server, "_program", lambda *names: "")
    assert "`apt install mariadb-server`" in missing_server()
    with pytest.raises(DataError, match="There is no MySQL server on this machine; install one"):
        private_server().__enter__()


def test_tests_without_a_server_skip_here_and_fail_in_ci(monkeypatch):
    monkeypatch.setattr(mysql_fixture, "missing_server", lambda: "install one")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install one"):
        need_server()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install one"):
        need_server()


def test_the_room_does_not_import_pandas_itself():
    assert "pandas" not in Path(mysql_server.__file__).read_text(encoding="utf-8")
