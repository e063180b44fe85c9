"""A private throwaway MySQL server, from the MariaDB or MySQL that the machine has installed.

It listens on this machine alone, keeps its files in a folder of its own, knows one user with
a random password, and is gone at the end, whatever the end is. A small process, the keeper,
starts the server and reads from a pipe that nobody writes to. When the Python process ends,
even by ``kill -9``, the pipe closes; then the keeper ends the server and removes the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pymysql

from helpers.base.errors import DataError
from helpers.data.database.address import VARIABLE

__all__ = ["DATABASE", "USER", "Server", "missing_server", "private_server"]

#: The user and the database that a private server has.
USER = "workbook"
DATABASE = "shop"

# Last resorts: a server that ends is noticed at once, and one on a slow disk takes a while.
_START_S = 600.0
_STOP_S = 180.0
_TRIES, _TAKEN = 5, "Address already in use"
_LONGEST_SOCKET = 100  # bytes in the path of a socket; systems allow 104 or 108
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/bin", "/opt/homebrew/bin")

# The keeper runs this, with the standard library alone, so that it starts at once and stays small.
# The data are thrown away, so nothing is lost when the server and its helpers are killed.
_KEEPER = """
import json, os, select, shutil, signal, subprocess, sys, time
order = json.loads(sys.argv[1])
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)

def parent_is_there(seconds):
    return not select.select([0], [], [], seconds)[0]

def run(command):
    with open(order["log"], "ab") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True, **order["identity"])
    while parent_is_there(0.1):
        if child.poll() is not None:
            return child.returncode == 0
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return False

try:
    if all(run(command) for command in order["commands"]) or parent_is_there(0):
        open(order["ended"], "w").close()  # a command ended by itself
    while parent_is_there(None):
        pass
finally:
    for _ in range(200):  # what was killed may still write for a moment; no clock, as it may jump
        for folder in order["folders"]:
            shutil.rmtree(folder, ignore_errors=True)
        if not any(map(os.path.exists, order["folders"])):
            break
        time.sleep(0.05)
"""


@dataclass(frozen=True)
class Server:
    """A running private server.

    Attributes:
        url: how to open it, with its random password; a value for ``WORKBOOK_DB_URL``.
        port: on 127.0.0.1.
        socket: the path of its socket, the faster way in.
        folder: where its files are; it goes away with the server.
        log: what the server says.
    """

    url: str = field(repr=False)
    port: int
    socket: Path
    folder: Path
    log: Path

    @property
    def running(self) -> bool:
        """Whether the server still runs."""
        return self.folder.exists() and not (self.folder / "ended").exists()

    @contextlib.contextmanager
    def as_workbook_db(self) -> Iterator[None]:
        """Let this be the server that ``WORKBOOK_DB_URL`` names, inside the ``with`` block."""
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = self.url
        try:
            yield
        finally:
            os.environ.pop(VARIABLE, None)
            if before is not None:
                os.environ[VARIABLE] = before


def missing_server() -> str:
    """Return an empty text, or a sentence on what to install for a private server.

    Example:
        >>> missing_server() == "" or "apt" in missing_server()
        True
    """
    if sys.platform == "win32":
        return "A private MySQL server needs Linux or macOS; on Windows, use one under WSL."
    found = _program("mariadbd") and _program("mariadb-install-db", "mysql_install_db")
    if found or _program("mysqld"):
        return ""
    return (
        "There is no MySQL server on this machine; install one: on Debian or Ubuntu "
        "`apt install mariadb-server`, on macOS `brew install mariadb`."
    )


@contextlib.contextmanager
def private_server(
    *, port: int | None = None, folder: str | Path | None = None
) -> Iterator[Server]:
    """Start a server of one's own, and end it with the ``with`` block or the process.

    Started by root, the server runs as ``mysql`` or ``nobody``. It has one database, ``shop``,
    and one user, ``workbook``, who may do everything in this server.

    Args:
        port: on 127.0.0.1; a spare one when not given.
        folder: where to make the server's own folder; the system's place for temporary files
            when not given.

    Yields:
        The server, ready to answer.

    Raises:
        DataError: none is installed, or it does not start.

    Example:
        >>> with private_server(folder="no/such/folder") as server:
        ...     print(server.port)
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: There is no folder no/such/folder for the server's files; ...
    """
    if folder is not None and not Path(folder).is_dir():
        raise DataError(
            f"There is no folder {folder} for the server's files; make it, or name another."
        )
    if missing := missing_server():
        raise DataError(missing)
    for tries_left in reversed(range(_TRIES if port is None else 1)):
        with contextlib.ExitStack() as ends:
            try:
                server = ends.enter_context(_one_server(_port(port), folder))
            except DataError as error:
                # Another program may take a spare port before the server does.
                if not tries_left or _TAKEN not in str(error):
                    raise
                continue
            yield server
            return


@contextlib.contextmanager
def _one_server(port: int, folder: str | Path | None) -> Iterator[Server]:
    """Start a server on this very port, and end it with the ``with`` block or the process."""
    home = Path(tempfile.mkdtemp(prefix="workbook-mysql-", dir=folder or _place())).resolve()
    sockets = home
    if len(os.fsencode(home / "mysql.sock")) > _LONGEST_SOCKET:
        sockets = Path(tempfile.mkdtemp(prefix="workbook-", dir="/tmp"))
    password = secrets.token_urlsafe(18)
    server = Server(
        url=f"mysql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}",
        port=port,
        socket=sockets / "mysql.sock",
        folder=home,
        log=home / "server.log",
    )
    keeper = None
    try:
        keeper = _start(server, password)
        _await(server, password)
        yield server
    finally:
        _stop(keeper, {home, sockets})


def _place() -> str:
    """Return the system's place for temporary files, or another if the server may not enter it."""
    place = tempfile.gettempdir()
    ways = [Path(place).resolve(), *Path(place).resolve().parents]
    if os.geteuid() != 0 or all(way.stat().st_mode & stat.S_IXOTH for way in ways):
        return place  # or the server is we ourselves
    return "/tmp"  # noqa: S108 - mkdtemp makes a folder there that nobody else can enter


def _program(*names: str) -> str:
    """Return the path of the first program found, or an empty text."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS])
    return next((found for name in names if (found := shutil.which(name, path=path))), "")


def _port(wanted: int | None) -> int:
    """Return the wanted port, if it is free, or a spare one."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", wanted or 0))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", "") or "a port is a number from 1 to 65535"
            raise DataError(
                f"The server cannot use port {wanted}: {reason}; name another, or none."
            ) from None
        return trial.getsockname()[1]


def _start(server: Server, password: str) -> subprocess.Popen:
    """Start the keeper, which fills the folder and then runs the server."""
    identity = _identity()
    data, temporary, users = (server.folder / name for name in ("data", "tmp", "users.sql"))
    for made in (data, temporary):
        made.mkdir(mode=0o700)
    users.touch(mode=0o600)
    users.write_text(_users(password), encoding="utf-8")
    for path in (server.folder, server.socket.parent, data, temporary, users):
        if identity:
            os.chown(path, identity["user"], identity["group"])
    order = {
        "commands": [_filling(data), _serving(server, data, temporary, users)],
        "identity": identity,
        "log": str(server.log),
        "ended": str(server.folder / "ended"),
        "folders": sorted({str(server.folder), str(server.socket.parent)}),
    }
    return subprocess.Popen(  # noqa: S603 - words of our own, and no shell
        [sys.executable, "-I", "-S", "-c", _KEEPER, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # Ctrl-C on the terminal is for the Python process alone
    )


def _identity() -> dict:
    """Return whom the server runs as, for ``subprocess``: nobody important when we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("mysql", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise DataError("A server must not run as root; make a user mysql, or start as another user.")


def _users(password: str) -> str:
    """Return the SQL that the server runs before it answers anybody."""
    lines = [f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;"]
    for host in ("localhost", "127.0.0.1"):
        lines += [
            f"CREATE USER '{USER}'@'{host}' IDENTIFIED BY '{password}';",
            f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'{host}' WITH GRANT OPTION;",
        ]
    lines += ["DROP USER IF EXISTS 'root'@'localhost';"]
    return "\n".join(lines) + "\n"


def _filling(data: Path) -> list[str]:
    """Return the command that fills the folder of an empty server."""
    if _program("mariadbd"):
        install = _program("mariadb-install-db", "mysql_install_db")
        return [
            *(install, "--no-defaults", f"--datadir={data}", "--skip-test-db"),
            *("--auth-root-authentication-method=socket", "--skip-name-resolve"),
            "--innodb-buffer-pool-size=32M",
        ]
    return [_program("mysqld"), "--no-defaults", "--initialize-insecure", f"--datadir={data}"]


def _serving(server: Server, data: Path, temporary: Path, users: Path) -> list[str]:
    """Return the command that runs the server: loopback only, little memory, no safety net."""
    return [
        *(_program("mariadbd") or _program("mysqld"), "--no-defaults"),
        *(f"--datadir={data}", f"--tmpdir={temporary}", f"--init-file={users}"),
        *(f"--socket={server.socket}", f"--pid-file={server.folder / 'server.pid'}"),
        *("--bind-address=127.0.0.1", f"--port={server.port}", "--skip-name-resolve"),
        *("--character-set-server=utf8mb4", "--skip-log-bin", "--performance-schema=OFF"),
        *("--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=0"),
        *("--skip-innodb-doublewrite", "--max-connections=30"),
        "--max-allowed-packet=64M",
    ]


def _await(server: Server, password: str) -> None:
    """Return when the server answers its user."""
    patience = time.monotonic() + _START_S
    while time.monotonic() < patience and server.running:
        with contextlib.suppress(OSError, pymysql.MySQLError):
            with socket.socket(socket.AF_UNIX) as trial:
                trial.connect(str(server.socket))
            pymysql.connect(
                user=USER, password=password.encode(), unix_socket=str(server.socket)
            ).close()
            (server.folder / "users.sql").unlink()
            return
        time.sleep(0.05)
    what = "does not answer" if server.running else "ended at once"
    raise DataError(f"The private MySQL server {what}; it said last: {_last_words(server.log)}")


def _last_words(log: Path) -> str:
    """Return the last lines of a log in one paragraph."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "nothing"
    return " / ".join(line.strip() for line in lines[-8:] if line.strip()) or "nothing"


def _stop(keeper: subprocess.Popen | None, folders: set[Path]) -> None:
    """Close the pipe and wait until the keeper has ended the server and removed the folder."""
    if keeper is not None and keeper.stdin is not None:
        keeper.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(_STOP_S)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
