"""Tables out of a real server: every type as it is stored, one moment, all rows or an error."""

from __future__ import annotations

import gc
import sys
from decimal import Decimal

import mysql_fixture
import numpy as np
import pandas as pd
import pymysql
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import peak_mb
from mysql_fixture import execute
from waiting import awaited

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.data.database import Database, add_keys, create_tables, load_table, open_database
from helpers.data.database.address import read_address
from helpers.data.database.texts import unpack
from helpers.data.mysql_server import Server
from helpers.schema import canonical_tables

server, database = mysql_fixture.server, mysql_fixture.database

#: Type; values as SQL; the texts that must arrive (None: missing). Written by hand from the
#: server's manual, not by the code under test.
TYPES = [
    ("TINYINT(1)", ["TRUE", "FALSE", "NULL", "-128"], ["1", "0", None, "-128"]),
    ("INT", ["-2147483648", "NULL", "0"], ["-2147483648", None, "0"]),
    ("INT(5) UNSIGNED ZEROFILL", ["7", "NULL"], ["00007", None]),
    (
        "BIGINT UNSIGNED",
        ["18446744073709551615", "NULL", "9007199254740993"],
        ["18446744073709551615", None, "9007199254740993"],
    ),
    (
        "DECIMAL(30,10)",
        ["12345678901234567890.0123456789", "NULL", "-0.5"],
        ["12345678901234567890.0123456789", None, "-0.5000000000"],
    ),
    ("FLOAT", ["12345.67", "0.1", "16777216", "NULL", "-3"], None),
    ("DOUBLE", ["0.1", "1e300", "NULL", "-2.5"], ["0.1", "1e300", None, "-2.5"]),
    ("BIT(9)", ["b'100000001'", "b'0'", "NULL"], ["257", "0", None]),
    ("DATE", ["'2024-02-29'", "'0000-00-00'", "NULL"], ["2024-02-29", "0000-00-00", None]),
    (
        "DATETIME(6)",
        ["'2024-02-29 23:59:59.000001'", "'0000-00-00 00:00:00'", "NULL"],
        ["2024-02-29 23:59:59.000001", "0000-00-00 00:00:00.000000", None],
    ),
    ("DATETIME", ["'2024-02-29 23:59:59'", "NULL"], ["2024-02-29 23:59:59", None]),
    (
        "TIMESTAMP(3) NULL",
        ["'2024-07-01 12:00:00.5'", "NULL"],
        ["2024-07-01 12:00:00.500+00:00", None],
    ),
    ("TIME", ["'-26:30:00'", "NULL"], ["-26:30:00", None]),
    ("YEAR", ["2024", "0", "NULL"], ["2024", "0000", None]),
    ("CHAR(5)", ["'ab'", "''", "NULL"], ["ab", "", None]),
    ("VARCHAR(99)", ["'NULL'", "''", "NULL", "'\\\\N'"], ["NULL", "", None, "\\N"]),
    ("VARCHAR(99)", ["'中文 🛒'", "'a\\tb\\nc\\rd,\"e\"'"], ["中文 🛒", 'a\tb\nc\rd,"e"']),
    ("VARCHAR(9) CHARACTER SET latin1", ["'café'", "x'E9'", "NULL"], ["café", "é", None]),
    ("VARCHAR(9) CHARACTER SET gbk", ["'中'", "NULL"], ["中", None]),
    ("TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", ["'A'", "'a'"], ["A", "a"]),
    ("ENUM('x','y z')", ["'y z'", "NULL"], ["y z", None]),
    ("SET('a','b')", ["'a,b'", "''", "NULL"], ["a,b", "", None]),
    ("JSON", ["'{\"a\": [1, null]}'", "NULL"], ['{"a": [1, null]}', None]),
    ("BINARY(3)", ["x'00FF0A'", "NULL"], ["00FF0A", None]),
    ("VARBINARY(9)", ["x''", "x'E4B8AD'", "NULL"], ["", "E4B8AD", None]),
    ("BLOB", ["x'FFFE'", "NULL"], ["FFFE", None]),
    ("POINT", ["POINT(1, 2)", "NULL"], ["POINT(1 2)", None]),
]


def read(database: Database, table: str, columns: list[str] | None = None, **options) -> list[list]:
    """Return all rows of a stream, missing values as None."""
    frames = [chunk.frame for chunk in database.stream(table, columns, **options)]
    assert all((frame.dtypes == "str").all() for frame in frames)
    whole = pd.concat(frames, ignore_index=True).astype(object)
    return whole.where(whole.notna(), None).to_numpy().tolist()


@pytest.mark.parametrize(
    ("kind", "values", "want"), TYPES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_type_arrives_as_it_is_stored(server, database, kind, values, want):
    execute(
        server,
        "SET sql_mode = ''",
        f"CREATE TABLE t (place INT, v {kind}) CHARACTER SET utf8mb4",
        *(f"INSERT INTO t VALUES ({place}, {value})" for place, value in enumerate(values)),
    )
    rows = read(database, "t")
    assert [place for place, _ in rows] == [str(place) for place in range(len(values))]
    if kind == "FLOAT":  # the shortest text of the stored 32-bit number, as NumPy knows it
        exact = [None if v == "NULL" else np.float32(v) for v in values]
        got = [None if v is None else np.float32(v) for _, v in rows]
        assert got == exact
        assert rows[1][1] == "0.1"
    else:
        assert [v for _, v in rows] == want


def test_types_of_mariadb_alone_arrive_too(server, database):
    if "MariaDB" not in execute(server, "SELECT version()")[0][0]:
        pytest.skip("MySQL has neither UUID nor INET6")
    execute(
        server,
        "CREATE TABLE t (u UUID, i INET6)",
        "INSERT INTO t VALUES ('123e4567-e89b-12d3-a456-426655440000', '::1'), (NULL, NULL)",
    )
    assert read(database, "t") == [["123e4567-e89b-12d3-a456-426655440000", "::1"], [None, None]]


def test_plain_types_are_the_very_text_that_a_bare_cursor_gets(server, database):
    execute(
        server,
        "CREATE TABLE t (a INT, b DECIMAL(9,3), c DOUBLE, d DOUBLE(9,2), e DATETIME(2), f TIME(1))",
        "INSERT INTO t SELECT seq, seq / 7, seq / 7e9, seq * 1e3 / 7, "
        "'2024-01-01' + INTERVAL seq SECOND, SEC_TO_TIME(seq / 3) FROM seq_1_to_500",
    )
    address = read_address(server.url)
    with address.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM t")
        want = [list(row) for row in cursor.fetchall()]
    assert read(database, "t", rows=77) == want


def test_a_missing_value_and_an_empty_text_stay_two_things_in_a_table_of_one_column(
    server, database
):
    execute(server, "CREATE TABLE t (v TEXT)", "INSERT INTO t VALUES (NULL), (''), (NULL), ('x')")
    assert read(database, "t") == [[None], [""], [None], ["x"]]


def test_a_chunk_without_a_value_keeps_the_type(server, database):
    execute(
        server,
        "CREATE TABLE t (n INT, v BIGINT UNSIGNED)",
        "INSERT INTO t SELECT seq, IF(seq > 20, 18446744073709551615, NULL) FROM seq_1_to_30",
    )
    chunks = list(database.stream("t", ["v", "n"], rows=10))
    assert [chunk.first for chunk in chunks] == [0, 10, 20]
    assert [str(chunk.frame.v.dtype) for chunk in chunks] == ["str"] * 3
    assert [chunk.frame.v.notna().sum() for chunk in chunks] == [0, 0, 10]
    assert list(chunks[0].frame.index) == list(range(10))
    assert [chunk.locate(3) for chunk in chunks[:1]] == ["row 4"]


def test_names_of_any_signs_work_and_are_no_sql(server, database):
    execute(
        server,
        "CREATE TABLE `订单 100%``表` (`客户 ``编号` INT, `rate %s` INT, `select` INT)",
        "INSERT INTO `订单 100%``表` VALUES (1, 2, 3)",
    )
    table = "订单 100%`表"
    assert database.table_names() == [table]
    assert list(database.columns(table)) == ["客户 `编号", "rate %s", "select"]
    assert read(database, table, ["select", "客户 `编号", "rate %s"]) == [["3", "1", "2"]]
    assert database.count(table) == 1


def test_sql_in_a_name_is_an_unknown_table_or_column(server, database):
    execute(server, "CREATE TABLE users (user_id INT)", "INSERT INTO users VALUES (1)")
    for name in ("users; DROP TABLE users", "users` WHERE 1=1 -- ", "(SELECT 1)"):
        for ask in (database.count, database.columns, database.stream, database.checksum):
            with pytest.raises(DataError, match=r"there is no table"):
                ask(name)
    with pytest.raises(DataError, match=r'no column "user_id`, version\(\)".*it has user_id'):
        database.stream("users", ["user_id`, version()"])
    with pytest.raises(DataError, match=r'no table "usres".*Did you mean "users"'):
        database.count("usres")
    with pytest.raises(DataError, match=r"asked for twice"):
        database.stream("users", ["user_id", "user_id"])
    assert database.count("users") == 1


def test_a_view_is_read_as_a_table(server, database):
    execute(
        server,
        "CREATE TABLE t (a INT)",
        "INSERT INTO t VALUES (1), (2)",
        "CREATE VIEW v AS SELECT a * 10 AS b FROM t",
    )
    assert sorted(read(database, "v")) == [["10"], ["20"]]


def test_an_empty_table_yields_nothing(server, database):
    execute(server, "CREATE TABLE t (a INT)")
    assert list(database.stream("t")) == []
    assert database.count("t") == 0


def test_a_cell_of_ten_megabytes_arrives_whole(server, database):
    execute(
        server,
        "CREATE TABLE t (a INT, b LONGTEXT)",
        "INSERT INTO t VALUES (1, REPEAT('长', 3500000)), (2, 'short')",
    )
    rows = read(database, "t")
    assert [len(text) for _, text in rows] == [3_500_000, 5]


@settings(max_examples=300)
@given(
    st.lists(
        st.lists(
            st.none()
            | st.text(st.characters(exclude_categories=["Cs"]))
            | st.sampled_from(
                ['"', '""', "\r\n", "\n", "\r", ",", "\0", "\ufeff", "NULL", "\\N", " ", "'"]
            ),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_packed_is_unpacked(rows):
    # The packing is SQL; this is its rule: a value in quotes, a quote doubled, nothing for NULL.
    fields = [['"' + v.replace('"', '""') + '"' if v is not None else "" for v in r] for r in rows]
    lines = [",".join(field).encode() for field in fields]
    table = unpack(lines, dict.fromkeys("abc", "text"))
    assert [list(row.values()) for row in table.to_pylist()] == rows


def test_any_text_survives_the_way_in_and_out(database, server):
    rng = np.random.default_rng(0)
    signs = list("ab,\"'\\\n\r\t\0%; 中é🛒\ufeff\u2028") + ["NULL", "\\N", "''"]
    texts = ["".join(rng.choice(signs, size=rng.integers(0, 9))) for _ in range(3000)]
    frame = pd.DataFrame({"place": range(3000), "v": pd.array(texts, dtype="str")})
    frame.loc[::7, "v"] = None
    execute(server, "CREATE TABLE t (place INT, v TEXT) CHARACTER SET utf8mb4")
    assert load_table(database, "t", frame) == 3000
    want = [[str(p), None if p % 7 == 0 else text] for p, text in enumerate(texts)]
    assert read(database, "t", rows=700) == want


def test_a_frame_of_every_dtype_is_written_as_it_is(database, server):
    frame = pd.DataFrame(
        {
            "big": pd.array([2**64 - 1, None, 2**53 + 1], dtype="UInt64"),
            "whole": [1.0, np.nan, 3.0],
            "number": [0.1, np.nan, 1e-300],
            "flag": [True, False, True],
            "kind": pd.Categorical(["x", None, "y"]),
            "exact": [Decimal("1.50"), None, Decimal("2")],
            "zoned": pd.to_datetime(
                ["2024-01-01 08:00:00.000001+08:00", None, "2024-06-01 00:00:00.0+02:00"], utc=True
            ),
            "plain": pd.to_datetime(["2024-01-01 08:00", None, "1969-01-01 00:00"]),
        }
    )
    execute(
        server,
        "CREATE TABLE t (big BIGINT UNSIGNED, whole BIGINT, number DOUBLE, flag TINYINT, "
        "kind TEXT, exact DECIMAL(9,2), zoned TIMESTAMP(6) NULL, plain DATETIME)",
    )
    load_table(database, "t", frame)
    assert read(database, "t") == [
        [
            str(2**64 - 1),
            "1",
            "0.1",
            "1",
            "x",
            "1.50",
            "2024-01-01 00:00:00.000001+00:00",
            "2024-01-01 08:00:00",
        ],
        [None, None, None, "0", None, None, None, None],
        [
            str(2**53 + 1),
            "3",
            "1e-300",
            "1",
            "y",
            "2.00",
            "2024-05-31 22:00:00.000000+00:00",
            "1969-01-01 00:00:00",
        ],
    ]


def test_loading_is_all_or_nothing(database, server):
    execute(server, "CREATE TABLE t (v VARCHAR(3))")
    good, bad = pd.DataFrame({"v": ["abc"]}), pd.DataFrame({"v": ["abc", "secret"]})
    with pytest.raises(DataError, match=r'does not fit its column.*table "t"') as caught:
        load_table(database, "t", [good, bad])
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="columns of the first, v; one has w"):
        load_table(database, "t", [good, good.rename(columns={"v": "w"})])
    assert database.count("t") == 0
    assert load_table(database, "t", []) == 0
    with pytest.raises(DataError, match='no table "u"'):
        load_table(database, "u", good)


def test_further_columns_of_a_frame_are_added_to_the_table(database):
    create_tables(database)
    frame = pd.DataFrame({"user_id": ["a", "b"], "地区 `x`": ["北", None], "age": [30.5, np.nan]})
    load_table(database, "users", [frame.iloc[:1], frame.iloc[1:]])
    add_keys(database)
    assert list(database.columns("users").values())[1:] == ["longtext", "double"]
    assert sorted(read(database, "users")) == [["a", "北", "30.5"], ["b", None, None]]


def test_the_sql_makes_the_tables_that_the_yaml_states(database, server):
    create_tables(database)
    add_keys(database)
    stated = yaml.safe_load((DATA / "schema.yaml").read_text(encoding="utf-8"))["tables"]
    found = execute(
        server,
        "SELECT TABLE_NAME, COLUMN_NAME, IS_NULLABLE, COLUMN_COMMENT, COLUMN_TYPE, COLUMN_KEY "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' ORDER BY ORDINAL_POSITION",
    )
    got = {(t, c): (null == "YES", note) for t, c, null, note, _, _ in found}
    assert got == {
        (name, column): (facts.get("nullable", False), facts["description"])
        for name, table in stated.items()
        for column, facts in table["columns"].items()
        if facts.get("needed") or facts.get("nullable")  # not another form of log: see the SQL
    }
    columns = {
        (t, c): column for t, x in canonical_tables().items() for c, column in x.columns.items()
    }
    kinds = {
        "id": "varchar",
        "time": "timestamp(6)",
        "text": "text",
        "number": "double",
        "integer": "bigint",
    }
    for table, name, _, _, kind, key in found:
        column = columns[table, name]
        want = "enum" if column.values else kinds.get(column.type, "varchar")
        assert kind.startswith(want), (table, name, kind)
        assert (key in ("PRI", "UNI")) == column.unique
    tables = execute(server, "SHOW TABLE STATUS")
    assert {
        row[0]: row[-3] if row[-1] in ("N", "Y") else row[-1] for row in tables
    }.keys() == stated.keys()
    assert all(any(stated[row[0]]["description"] in str(v) for v in row) for row in tables)
    with pytest.raises(DataError, match="already holds one of the tables"):
        create_tables(database)


def test_a_snapshot_shows_one_moment_of_several_tables(server, database):
    execute(
        server,
        "CREATE TABLE a (v INT) ENGINE=InnoDB",
        "CREATE TABLE b (v INT) ENGINE=InnoDB",
        "INSERT INTO a VALUES (1), (2)",
        "INSERT INTO b VALUES (1)",
    )
    before = database.checksum("b")
    with database.snapshot():
        # Before the first look: the moment is that of the snapshot, not of the look.
        execute(
            server, "INSERT INTO a VALUES (3)", "UPDATE b SET v = 9", "INSERT INTO b VALUES (7)"
        )
        assert database.count("a") == 2
        assert read(database, "a") == [["1"], ["2"]]
        with database.snapshot():
            assert read(database, "b") == [["1"]]
        assert database.checksum("b") == before
    assert database.count("a") == 3
    assert database.checksum("b") != before


def test_a_table_that_is_written_while_it_streams_gives_the_rows_of_its_beginning(server, database):
    execute(
        server,
        "CREATE TABLE t (v INT, filler CHAR(200)) ENGINE=InnoDB",
        "INSERT INTO t SELECT seq, 'x' FROM seq_1_to_50000",
    )
    values = []
    for chunk in database.stream("t", rows=10_000):
        if not values:
            execute(server, "DELETE FROM t WHERE v % 2", "INSERT INTO t VALUES (0, 'new')")
        values += chunk.frame.v.tolist()
    assert sorted(map(int, values)) == list(range(1, 50001))


def test_rows_that_vanish_without_a_snapshot_are_noticed(server, database, monkeypatch):
    # MyISAM shows no moment: what is deleted between the count and the reading is gone.
    execute(server, "CREATE TABLE t (v INT) ENGINE=MyISAM", "INSERT INTO t VALUES (1), (2), (3)")
    count = Database.count

    def count_and_delete(self, table):
        counted = count(self, table)
        execute(server, "DELETE FROM t WHERE v = 2")
        return counted

    monkeypatch.setattr(Database, "count", count_and_delete)
    stream = database.stream("t")
    assert len(next(stream).frame) == 2
    with pytest.raises(DataError, match="table t has 3 rows, but 2 came"):
        next(stream)


def test_the_checksum_tells_every_change_and_no_order(server, database):
    execute(server, "CREATE TABLE t (a VARCHAR(9), b VARCHAR(9), c FLOAT)")

    def of(*rows: str) -> str:
        execute(server, "DELETE FROM t", f"INSERT INTO t VALUES {','.join(rows)}")
        return database.checksum("t")

    first = of("('x', NULL, 1)", "('y', 'z', 2)")
    assert of("('y', 'z', 2)", "('x', NULL, 1)") == first
    others = [
        of("('x', '', 1)", "('y', 'z', 2)"),
        of("(NULL, 'x', 1)", "('y', 'z', 2)"),
        of("('x', NULL, 1.0000001)", "('y', 'z', 2)"),
        of("('x', NULL, 1)", "('y', 'z', 2)", "('y', 'z', 2)"),
        of("('x', 'z', 1)", "('y', NULL, 2)"),
    ]
    assert len({first, *others}) == 6
    assert database.checksum("t", ["a"]) != database.checksum("t", ["b"])


def test_a_stream_left_early_is_cut_off_not_drained(server, database, monkeypatch):
    execute(
        server,
        "CREATE TABLE t (v TEXT)",
        "INSERT INTO t SELECT REPEAT('x', 999) FROM seq_1_to_60000",
    )
    stream = database.stream("t", rows=100)
    next(stream)
    reading = "SELECT id FROM information_schema.PROCESSLIST WHERE info LIKE 'SELECT CONCAT(%'"
    assert awaited(lambda: len(execute(server, reading)) == 1)  # streams of earlier tests end
    [(number,)] = execute(server, reading)
    packets = []
    read_packet = pymysql.connections.Connection._read_packet

    def counted(self, *args):
        packets.append(self)
        return read_packet(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(pymysql.connections.Connection, "_read_packet", counted)
        stream.close()
        gc.collect()
    assert packets == []
    alive = f"SELECT id FROM information_schema.PROCESSLIST WHERE id = {number}"
    assert awaited(lambda: not execute(server, alive))
    assert database.count("t") == 60_000


def test_a_snapshot_ends_with_a_stream_that_was_left_early(server, database):
    execute(server, "CREATE TABLE t (v INT)", "INSERT INTO t SELECT seq FROM seq_1_to_5000")
    with database.snapshot():
        stream = database.stream("t", rows=10)
        next(stream)
        with pytest.raises(RuntimeError, match="Read a stream to its end"):
            database.count("t")
        stream.close()
        with pytest.raises(RuntimeError, match="has ended the snapshot"):
            database.count("t")
    assert database.count("t") == 5000


def test_progress_counts_the_rows(server, database, monkeypatch, capsys):
    execute(server, "CREATE TABLE t (v INT)", "INSERT INTO t SELECT seq FROM seq_1_to_500")
    bars = []
    original = sys.modules["helpers.data.database.tables"].tqdm

    class Bar(original):
        def __init__(self, *args, **options):
            assert (options["delay"], options["leave"]) == (2, False)  # without TQDM_DELAY
            super().__init__(*args, **options)
            bars.append(self)

    monkeypatch.setattr("helpers.data.database.tables.tqdm", Bar)
    monkeypatch.delenv("TQDM_DELAY", raising=False)
    list(database.stream("t", rows=100, progress=True))
    assert [(bar.total, bar.n) for bar in bars] == [(500, 500)]
    list(database.stream("t"))
    assert bars[1].disable


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(server, database):
    sizes = {"small": 100_000, "large": 1_000_000}
    for table, rows in sizes.items():
        execute(
            server,
            f"CREATE TABLE {table} (a INT, b VARCHAR(99), c DOUBLE, d VARCHAR(99))",
            f"INSERT INTO {table} SELECT seq, CONCAT('user', seq), seq / 7, NULL "
            f"FROM seq_1_to_{rows}",
        )
    code = (
        "import sys\n"
        "from helpers.data.database import open_database\n"
        "with open_database(sys.stdin.read()) as database:\n"
        "    print(sum(len(chunk.frame) for chunk in database.stream(sys.argv[1])))\n"
    )
    counts, peaks = zip(
        *(peak_mb(code, table, said=server.url) for table in ("small", "large")), strict=True
    )
    assert list(map(int, counts)) == list(sizes.values())
    held = (1_000_000 - 100_000) * 200 / 2**20  # four texts a row, by a low estimate
    assert peaks[1] - peaks[0] < held / 2


def test_the_bare_driver_is_as_it_was_after_a_stream(server, database):
    # Names come as text again after the bytes of a stream, on the same connection.
    execute(server, "CREATE TABLE t (v INT)", "INSERT INTO t VALUES (1)")
    with database.snapshot():
        read(database, "t")
        assert database.columns("t") == {"v": execute(server, "SHOW COLUMNS FROM t")[0][1]}


def test_a_private_server_and_its_database_are_shown_without_credentials(server: Server, database):
    assert database.shown == f"127.0.0.1:{server.port}/shop"
    assert repr(database) == f"Database('{database.shown}')"
    with open_database(f"{server.url}?unix_socket={server.socket}") as by_socket:
        assert by_socket.shown == f"{server.socket}/shop"
        assert by_socket.table_names() == []
    assert pymysql.err.MySQLError  # the driver's own errors stay its own
