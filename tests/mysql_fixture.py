"""A real server for tests: a module says ``server, database = m.server, m.database``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pymysql
import pytest
from waiting import awaited

from helpers.data.database import Database, open_database
from helpers.data.database.address import read_address
from helpers.data.mysql_server import Server, missing_server, private_server


def need_server() -> None:
    """Skip where no server is installed; fail where one must be."""
    if missing := missing_server():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a private server that all tests of a module share."""
    need_server()
    with private_server() as running:
        yield running


def execute(server: Server, *statements: str, database: str = "shop") -> list[tuple]:
    """Run statements over a connection of their own; return the last one's rows."""
    address = read_address(server.url)
    connection = pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=database,
        init_command="SET time_zone = '+00:00'",
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """Return the database ``shop``, empty."""
    execute(server, "DROP DATABASE shop", "CREATE DATABASE shop", database="mysql")
    with open_database(server.url) as opened:
        yield opened


def processes(folder: str | Path) -> list[psutil.Process]:
    """Return the processes that run for a folder: the keeper and the server."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in part for part in process.info["cmdline"] or []):
            found.append(process)
    return found


def gone(folder: str | Path) -> bool:
    """Wait until the folder and its processes are gone; return whether they are."""
    return awaited(lambda: not processes(folder) and not Path(folder).exists())
