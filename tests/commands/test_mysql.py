"""A source's tables in a private server: the same frames again, and a person who finds the way."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import mysql_fixture
import pandas as pd
import pytest
from mysql_fixture import gone, need_server
from waiting import PATIENCE_S, as_typed

from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.commands.mysql import load_source, serve
from helpers.data.cleaning import clean_rows
from helpers.data.database import open_database
from helpers.data.database.address import read_address
from helpers.data.sources import open_source
from helpers.schema import canonical_tables

server, database = mysql_fixture.server, mysql_fixture.database


def read_back(database, name: str) -> pd.DataFrame:
    """Return a table in canonical types, sorted by its ids."""
    chunks = [chunk.frame for chunk in database.stream(name)]
    rows, dropped = clean_rows(
        canonical_tables()[name],
        pd.concat(chunks, ignore_index=True),
        where=name,
        time_zone="Asia/Shanghai",  # a time that names its zone does not mind the task's
    )
    assert dropped.empty
    return rows


def test_a_source_read_back_from_the_server_gives_its_frames_again(database):
    tables = open_source("sample")
    counts = load_source(database, tables)
    for name in canonical_tables():
        want = getattr(tables, name)
        got = read_back(database, name)
        assert counts[name] == len(want)
        assert set(got.columns) == set(want.columns)
        key = next(c for c in ("event_id", "item_id", "user_id") if c in want)
        want = want.sort_values(key).reset_index(drop=True)
        got = got.sort_values(key).reset_index(drop=True)[want.columns]
        numbers = [
            c for c in want if pd.api.types.is_numeric_dtype(want[c]) and got[c].dtype == "str"
        ]
        got[numbers] = got[numbers].astype("float64")  # further columns stay text until staging
        pd.testing.assert_frame_equal(got, want, check_dtype=False)


def test_the_command_serves_until_it_is_told_to_end():
    need_server()
    code = "from helpers.commands.mysql import serve; serve('sample')"
    with subprocess.Popen(
        as_typed(sys.executable, "-c", code),
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        said = ""
        while "Ctrl-C" not in said:
            line = child.stdout.readline()
            assert line, child.stderr.read()
            said += line
        assert "python -m helpers check --source mysql" in said
        url = re.search(r"export WORKBOOK_DB_URL='(.*)'", said)[1]
        folder = re.search(r"--socket=(\S+)/mysql.sock --user=workbook", said)[1]
        with open_database(url) as opened:
            assert opened.count("user_behavior") == len(open_source("sample").user_behavior)
        child.send_signal(signal.SIGTERM)
        rest, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    assert "The server is gone" in rest
    assert "Traceback" not in errors
    assert read_address(url).password not in errors
    assert gone(folder)


def test_a_source_that_is_not_there_is_refused_before_a_server_starts():
    need_server()
    with pytest.raises(DataError, match="There is no source 'jurney'"):
        serve("jurney")
