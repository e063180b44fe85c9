"""What needs a whole table: repeats, the type of a further column, a table made from the log.

DuckDB works on Parquet files with a part of the memory and spills the rest, so tables may
be larger than the memory.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.base.errors import DataError
from helpers.base.words import percent
from helpers.schema import Table

__all__ = [
    "OWN",
    "Assembly",
    "as_arrow",
    "ask",
    "connect",
    "joins",
    "name_sql",
    "narrowed",
    "one_row",
    "pieces",
    "read_frame",
    "text_sql",
]

#: Columns of our own beside those of a table: the row's place, a digest of all that was
#: stored in it, and for a row taken from the log the time of its event.
OWN = ("_place", "_digest", "_time")
_MEMORY_SHARE = 0.25
#: Columns in one question; a long one takes the square of its length.
_ASKED = 50
_BATCH = 50_000  # rows


@contextmanager
def connect(spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that keeps to a part of the memory and spills the rest into a folder.

    Raises:
        DataError: the disk is full, or the memory does not suffice.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = '{int(memory * _MEMORY_SHARE / 2**20)}MiB'")
            connection.execute(f"SET temp_directory = {text_sql(spill)}")
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            yield connection
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"The tables could not be put together: {reason}. Mostly the disk of the cache folder "
            "is full: free some room, or set WORKBOOK_CACHE to a folder on another disk."
        ) from None
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def name_sql(name: str) -> str:
    """Return a column's name as SQL.

    Example:
        >>> name_sql('a "b" c')
        '"a ""b"" c"'
    """
    return '"' + name.replace('"', '""') + '"'


def text_sql(value: object) -> str:
    """Return a text as SQL.

    Example:
        >>> text_sql("it's")
        "'it''s'"
    """
    return "'" + str(value).replace("'", "''") + "'"


def one_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the one row of a query that always has one, such as a count.

    Raises:
        ValueError: it gave none.

    Example:
        >>> with duckdb.connect() as connection:
        ...     one_row(connection, "SELECT 1, 'a'")
        (1, 'a')
    """
    row = connection.execute(query).fetchone()
    if row is None:
        raise ValueError(f"A query must give one row and gave none: {query}")
    return row


class Assembly:
    """One canonical table on its way from the files of its parts to one file.

    Args:
        connection: as :func:`connect` yields it.
        table: the canonical table.
        files: Parquet files with the table's columns, further ones, and ``_place``.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: Table, files: list[Path]
    ) -> None:
        self._connection = connection
        self._table = table
        self._files: list[Path] = files
        self._columns: dict[str, str] | None = None
        names = ", ".join(text_sql(file) for file in files)
        self._rows = f"read_parquet([{names}], union_by_name = true)"
        connection.execute("CREATE OR REPLACE TEMP TABLE gone (_place BIGINT)")

    def columns(self) -> dict[str, str]:
        """Return the type of each column by its name."""
        if self._columns is None:
            described = self._connection.execute(f"DESCRIBE FROM {self._rows}").fetchall()
            self._columns = {name: kind for name, kind, *_ in described}
        return self._columns

    def first_known(self, key: str) -> None:
        """Keep one row a key: of each column the first value by time that is known.

        Of several values at one moment the smallest is taken, so that the rows' order does
        not matter.
        """
        names = [n for n in self.columns() if n not in (*OWN, key)]
        firsts = [
            f"min_by({name_sql(n)}, row(_time, {name_sql(n)})) "
            f"FILTER ({name_sql(n)} IS NOT NULL) AS {name_sql(n)}"
            for n in names
        ]
        chosen = ", ".join([name_sql(key), *firsts, "min(_place) AS _place"])
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE known AS SELECT {chosen} FROM {self._rows} "
            f"WHERE {name_sql(key)} IS NOT NULL GROUP BY ALL ORDER BY {name_sql(key)}"
        )
        self._rows, self._files, self._columns = "known", [], None

    def drop_repeats(self, column: str) -> tuple[int, int | None]:
        """Drop all but the first row of each value of a column; missing values never repeat.

        Returns:
            How many were dropped, and the place of the first of them.
        """
        name = name_sql(column)
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE repeats AS
            WITH here AS (SELECT _place, {name} FROM {self._rows} ANTI JOIN gone USING (_place)
                          WHERE {name} IS NOT NULL),
                 again AS (SELECT {name}, min(_place) AS first FROM here
                           GROUP BY {name} HAVING count(*) > 1)
            SELECT _place FROM here JOIN again USING ({name}) WHERE _place <> first
            """
        )
        self._connection.execute("INSERT INTO gone FROM repeats")
        count, first = one_row(self._connection, "SELECT count(*), min(_place) FROM repeats")
        return count, first

    def write(self, target: Path, *, decimal_comma: bool = False, success: str = "") -> int:
        """Write the table, and return how many rows were kept.

        Args:
            target: the Parquet file.
            decimal_comma: numbers in further columns are written with one.
            success: what a row with the label 1 tells beside the impression.
        """
        kinds = {n: k for n, k in self.columns().items() if n not in OWN}
        typed = self._typed(kinds, decimal_comma)
        chosen = ", ".join(f"{sql} AS {name_sql(n)}" for n, sql in typed.items())
        query = f"SELECT {chosen} FROM {self._rows}"
        if one_row(self._connection, "SELECT count(*) FROM gone")[0]:
            query += " ANTI JOIN gone USING (_place) ORDER BY _place"  # a join loses the order
        if "label" in kinds:
            query = _unfolded(query, kinds, success)
        self._connection.execute(
            f"COPY ({query}) TO {text_sql(target)} (FORMAT parquet, COMPRESSION lz4_raw)"
        )
        kept = f"SELECT (SELECT count(*) FROM {self._rows}) - (SELECT count(*) FROM gone)"
        rows: int = one_row(self._connection, kept)[0]
        return rows

    def _typed(self, kinds: dict[str, str], decimal_comma: bool) -> dict[str, str]:
        """Return each column in its type, as SQL."""
        other = {n: self._other(n, k, decimal_comma) for n, k in kinds.items()}
        found = {n: pair for n, pair in other.items() if pair}
        questions = {n: pair[0] for n, pair in found.items()}
        if len(questions) <= _ASKED or not self._files:
            answers = ask(self._connection, questions, self._rows)
        else:
            answers = self._asked_by_file(questions)
        return {n: found[n][1] if answers.get(n) else name_sql(n) for n in kinds}

    def _asked_by_file(self, questions: dict[str, str]) -> dict[str, bool]:
        """Return whether each question is answered with yes in a file, and in none with no.

        DuckDB looks at all columns of a file for each of many queries; here each file's are
        looked at once.
        """
        answers: dict[str, bool] = {}
        for file in self._files:
            with pq.ParquetFile(file) as stored:
                here = [field for field in stored.schema_arrow if field.name in questions]
                for some in pieces(here, _ASKED):
                    with narrowed(self._connection, stored, some) as connection:
                        asked = {field.name: questions[field.name] for field in some}
                        found = ask(connection, asked, "narrowed")
                    for n, yes in found.items():
                        if yes is not None:
                            answers[n] = answers.get(n, True) and yes
        return answers

    def _other(self, name: str, kind: str, decimal_comma: bool) -> tuple[str, str] | None:
        """Return a question, and what a column of text becomes if the answer is yes."""
        sql, column = name_sql(name), self._table.columns.get(name)
        if kind != "VARCHAR" or (column is None and self._table.name == "users"):
            return None
        if column is None:
            number = sql
            if decimal_comma:  # 1.234 may be more than a thousand: then it stays text
                number = f"CASE WHEN NOT contains({sql}, '.') THEN replace({sql}, ',', '.') END"
            # DuckDB reads 1_2 as 12.
            plain = f"CASE WHEN NOT contains({number}, '_') THEN {number} END"
            number = f"TRY_CAST({plain} AS DOUBLE)"
            known = f"{number} IS NOT NULL AND isfinite({number})"
            # No value has a _ then, and thousands of such expressions would take minutes.
            short = number if decimal_comma else f"TRY_CAST({sql} AS DOUBLE)"
            return f"bool_and({known}) FILTER ({sql} IS NOT NULL)", short
        if column.type in ("id", "category"):  # a program wrote whole numbers with a decimal point
            return f"bool_and(regexp_full_match({sql}, '-?[0-9]+[.]0'))", f"left({sql}, -2)"
        return None


def pieces(names: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield names or columns, so many at a time.

    Example:
        >>> list(pieces(["a", "b", "c"], 2))
        [['a', 'b'], ['c']]
    """
    for start in range(0, len(names), size):
        yield names[start : start + size]


def ask(
    connection: duckdb.DuckDBPyConnection, questions: dict[str, str], rows: str
) -> dict[str, Any]:
    """Return the answers to questions on all rows, so many in a query as it bears.

    Args:
        connection: knows the rows.
        questions: SQL by name.
        rows: what to select from.
    """
    answers: dict[str, Any] = {}
    for some in pieces([*questions], _ASKED):
        asked = ", ".join(questions[n] for n in some)
        (found,) = connection.execute(f"SELECT {asked} FROM {rows}").fetchall()
        answers |= dict(zip(some, found, strict=True))
    return answers


@contextmanager
def narrowed(
    connection: duckdb.DuckDBPyConnection, stored: pq.ParquetFile, fields: Sequence[pa.Field]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with a view ``narrowed`` of some columns, to be read a single time.

    A query on it costs nothing for the file's other columns, however many they are.

    Args:
        connection: to the database that is used; it may hold a result that is not read yet.
        stored: the open file.
        fields: the columns, as the file's schema has them; each at most once.
    """
    names = [field.name for field in fields]
    batches = (batch.select(names) for batch in stored.iter_batches(_BATCH, columns=names))
    with connection.cursor() as cursor:
        reader = pa.RecordBatchReader.from_batches(pa.schema(fields), batches)
        cursor.register("narrowed", reader)
        yield cursor


def _unfolded(query: str, kinds: dict[str, str], success: str) -> str:
    """Return labelled exposures as impressions, and successes at the same moment."""
    rest = [n for n in kinds if n not in ("label", "event_type", "event_id")]
    shared = ", ".join(name_sql(n) for n in rest)
    own = "event_id" in kinds
    told = "event_type" if "event_type" in kinds else "'impression' AS event_type"
    return (
        f"SELECT {shared}, {'event_id, ' if own else ''}{told} FROM ({query}) "
        f"UNION ALL SELECT {shared}, {'NULL AS event_id, ' if own else ''}"
        f"{text_sql(success)} AS event_type FROM ({query}) WHERE label = 1"
    )


def joins(connection: duckdb.DuckDBPyConnection, files: dict[str, Path], where: str) -> list[str]:
    """Return notes on events without a partner; refuse tables of which nothing joins.

    Args:
        connection: as :func:`connect` yields it.
        files: the Parquet files of the tables that are there, by name.
        where: names the source in messages.

    Raises:
        DataError: no event has a partner in a table.
    """
    notes = []
    log = f"read_parquet({text_sql(files['user_behavior'])})"
    for table, column in (("product_features", "item_id"), ("users", "user_id")):
        if table not in files:
            continue
        other = f"read_parquet({text_sql(files[table])})"
        lost, all_rows = one_row(
            connection,
            f"SELECT sum(n) FILTER (partner IS NULL), sum(n) FROM "
            f"(SELECT {column} AS key, count(*) AS n FROM {log} GROUP BY key) LEFT JOIN "
            f"(SELECT {column} AS partner FROM {other}) ON key = partner",
        )
        share = float(lost or 0) / float(all_rows)
        if share == 1:
            raise DataError(
                f"{where}: no {column} of user_behavior is in {table}: the one is written like "
                f"{_shape(connection, log, column)}, the other like "
                f"{_shape(connection, other, column)} (9 stands for a digit, a and A for letters). "
                "Write both in the same way."
            )
        if share:
            notes.append(
                f"The {column} of {percent(share, digits=2)} of the events is not in {table}; what "
                "it would say of them is unknown."
            )
    return notes


def _shape(connection: duckdb.DuckDBPyConnection, rows: str, column: str) -> str:
    """Return how an id is written, without the id: it may name a person."""
    value = one_row(connection, f"SELECT {column} FROM {rows} LIMIT 1")[0]
    shape = re.sub(r"[^\W\d_]", lambda m: "A" if m[0].isupper() else "a", value)
    shape = re.sub(r"\d", "9", shape)
    return f'"{shape[:40]}"'


def as_arrow(frame: pd.DataFrame | Mapping[str, pd.Series]) -> pa.Table:
    """Return the columns as Arrow's, without the index."""
    columns = {}
    for name, values in frame.items():
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            times = pa.array(values.dt.tz_convert(None).to_numpy(), from_pandas=True)
            columns[name] = times.cast(pa.timestamp(times.type.unit, tz="UTC"))
        else:
            is_own = isinstance(values.dtype, pd.api.extensions.ExtensionDtype)
            columns[name] = pa.array(
                values.array if is_own else values.to_numpy(), from_pandas=True
            )
    return pa.table(columns)


def read_frame(connection: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    """Return the rows of a query; text as text, times in UTC."""
    return connection.sql(query).to_arrow_table().to_pandas()
