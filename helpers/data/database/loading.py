"""Frames into the tables of a database, fast, and with every missing value kept missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection
from tqdm.auto import tqdm

from helpers.base.bars import bar_delay_s
from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.data.database.tables import Database
from helpers.data.database.texts import named

__all__ = ["add_keys", "create_tables", "load_table"]

_ROWS = 10_000  # turned into text at once
_STATEMENT = 1_000_000  # characters of one INSERT; 16 times as many rows gain nothing
_LONG = pa.large_string()


def create_tables(database: Database) -> None:
    """Make the canonical tables of ``data/schema.sql``, without their keys.

    Load them, then call :func:`add_keys`: that takes half the time.

    Raises:
        DataError: one of them is already there, or the user has no right to make tables.
    """
    _execute(database, "making the tables", [s for s in _statements() if not _is_key(s)])


def add_keys(database: Database) -> None:
    """Add the keys of ``data/schema.sql`` to the canonical tables.

    Raises:
        DataError: what must be unique is not, or the keys are already there.
    """
    _execute(database, "adding the keys", [s for s in _statements() if _is_key(s)])


def load_table(
    database: Database,
    name: str,
    frames: Iterable[pd.DataFrame] | pd.DataFrame,
    *,
    progress: bool = False,
) -> int:
    """Append frames to a table in one transaction: all of their rows, or none.

    Statements of many rows each, with values written by pyarrow, take about 90,000 rows/s;
    ``executemany`` takes 36,000, and ``LOAD DATA LOCAL`` 120,000, but many servers forbid it.

    Args:
        database: the open database that holds the table.
        name: the name of the table, which must exist.
        frames: the rows, in frames that all have the columns of the first one. A column that
            the table does not have is added to it: ``DOUBLE`` for numbers, else ``LONGTEXT``.
            Times with a zone are written in UTC.
        progress: show a bar.

    Returns:
        How many rows were appended.

    Raises:
        DataError: there is no such table, a frame has other columns, or a value does not fit.
    """
    frames = iter([frames] if isinstance(frames, pd.DataFrame) else frames)
    first = next(frames, None)
    if first is None:
        return 0
    columns, done = list(first.columns), 0
    _add_columns(database, name, first)
    bar = tqdm(
        desc=f"table {name}", unit=" rows", delay=bar_delay_s(), leave=False, disable=not progress
    )
    doing = f'writing table "{name}"'
    with bar, database.connected() as connection:
        with database.told(doing):
            connection.exec_driver_sql("SET SESSION unique_checks = 0, foreign_key_checks = 0")
        for frame in _same_columns(first, frames, name):
            for start in range(0, len(frame), _ROWS):
                with database.told(doing):
                    _insert(connection, name, columns, frame.iloc[start : start + _ROWS])
                bar.update(min(_ROWS, len(frame) - start))
            done += len(frame)
        with database.told(doing):
            connection.commit()
    return done


def _statements() -> list[str]:
    """Return the statements of ``data/schema.sql``."""
    text = (DATA / "schema.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [s.strip() for s in "\n".join(lines).split(";\n") if s.strip()]


def _is_key(statement: str) -> bool:
    return statement.startswith("ALTER TABLE")


def _execute(database: Database, doing: str, statements: list[str]) -> None:
    with database.connected() as connection, database.told(doing):
        for statement in statements:
            _run(connection, statement.removesuffix(";"))


def _run(connection: Connection, sql: str) -> None:
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def _add_columns(database: Database, name: str, frame: pd.DataFrame) -> None:
    stored = {column.lower() for column in database.columns(name)}
    added = [
        f"ADD COLUMN {named(column)} "
        + ("DOUBLE" if pd.api.types.is_numeric_dtype(frame[column]) else "LONGTEXT")
        for column in frame
        if column.lower() not in stored
    ]
    if added:
        statement = f"ALTER TABLE {named(name)} {', '.join(added)}"
        _execute(database, f'adding columns to table "{name}"', [statement])


def _same_columns(
    first: pd.DataFrame, others: Iterator[pd.DataFrame], name: str
) -> Iterator[pd.DataFrame]:
    yield first
    for frame in others:
        if list(frame.columns) != list(first.columns):
            raise DataError(
                f'Table "{name}": every frame must have the columns of the first, '
                f"{', '.join(first.columns)}; one has {', '.join(frame.columns)}."
            )
        yield frame


def _insert(connection: Connection, name: str, columns: list[str], frame: pd.DataFrame) -> None:
    head = f"INSERT INTO {named(name)} ({', '.join(map(named, columns))}) VALUES "
    batch: list[str] = []
    size = 0
    for row in _rows(frame):
        if batch and size + len(row) > _STATEMENT:
            _run(connection, head + ",".join(batch))
            batch, size = [], 0
        batch.append(row)
        size += len(row)
    if batch:
        _run(connection, head + ",".join(batch))


def _rows(frame: pd.DataFrame) -> list[str]:
    """Return each row as SQL: ``('a',NULL,'1.5')``."""
    fields = [_literals(frame[column]) for column in frame]
    comma, opening, closing = (pa.scalar(sign, _LONG) for sign in (",", "(", ")"))
    rows = pc.binary_join_element_wise(
        *fields, comma, null_handling="replace", null_replacement="NULL"
    )
    return pc.binary_join_element_wise(opening, rows, closing, pa.scalar("", _LONG)).to_pylist()


def _literals(values: pd.Series) -> pa.Array:
    """Return values as SQL literals, missing ones as missing."""
    if isinstance(values.dtype, pd.CategoricalDtype) or values.dtype == object:
        values = values.astype("str").where(values.notna())
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert(None)  # in UTC, as the session
    array = pa.Array.from_pandas(values)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us"), safe=False)
        array = pc.strftime(array, format="%Y-%m-%d %H:%M:%S")
    text = array.cast(_LONG)
    for sign, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\0", "\\0")):
        text = pc.replace_substring(text, sign, escaped)
    quote = pa.scalar("'", _LONG)
    return pc.binary_join_element_wise(quote, text, quote, pa.scalar("", _LONG))
