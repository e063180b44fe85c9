"""Stored tables become canonical ones: read in pieces, cleaned, and put down as Parquet.

Memory stays flat however long the tables are: pieces are cleaned one by one, and what
needs a whole table is left to :mod:`helpers.data.whole_table`, which works on files.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.base.errors import DataError
from helpers.base.writing import write_atomically
from helpers.data.chunks import Chunk
from helpers.data.cleaning import Cleaner
from helpers.data.cleaning.wording import COPY, reasons
from helpers.data.copies import read_copy
from helpers.data.dropped import DropKind, Dropped, dropped_rows, dropped_table
from helpers.data.schema_file import SchemaFile, StoredTable
from helpers.data.whole_table import Assembly, as_arrow, connect, joins, pieces, text_sql
from helpers.schema import canonical_tables

__all__ = ["Staged", "Stream", "open_staged", "stage"]

_FACTS = "staged.json"
_HASHED = 500  # columns that one query looks at
_RAW = ".raw"  # folder of the cleaned parts
#: What DuckDB raises where the pages of a file are damaged.
_UNREADABLE = (duckdb.Error, duckdb.IOException, duckdb.InvalidInputException)
_NO_PRICE = (
    "The price of product_features is not taken from the log: the first price of a product may lie "
    "after the moment that is judged. Prices paid before are used anyway."
)

Stream = Callable[[StoredTable], Iterable[Chunk]]
Counts = list[dict[str, Any]]


@dataclass(frozen=True)
class Staged:
    """Canonical tables as files.

    Attributes:
        folder: holds ``<table>.parquet`` for each table that is there. ``user_behavior``
            has one column more, ``day``: the local day, counted from 1970-01-01.
        facts: ``tables`` (by name: rows ``read`` and ``kept``), ``dropped`` (``table,
            kind, column, reason, rows``), ``notes``, ``labelled`` (each exposure came with its
            label) and ``fingerprint``.
    """

    folder: Path
    facts: dict[str, Any]

    def has(self, table: str) -> bool:
        """Return whether the table is there."""
        return (self.folder / f"{table}.parquet").exists()

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns; none where it is not there."""
        return pq.read_schema(self.folder / f"{table}.parquet").names if self.has(table) else []

    @property
    def dropped(self) -> pd.DataFrame:
        """What did not come through: ``table, kind, column, reason, rows``."""
        return dropped_table(self.facts["dropped"])

    @contextmanager
    def database(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection in which each table is a view of its name."""
        # Beside the tables and of its own: another process may work on the same tables.
        with connect(self.folder.parent / f".spill-{uuid.uuid4().hex}") as connection:
            for table in filter(self.has, canonical_tables()):
                file = text_sql(self.folder / f"{table}.parquet")
                connection.execute(f"CREATE VIEW {table} AS FROM read_parquet({file})")
            try:
                yield connection
            except (duckdb.Error, pa.ArrowInvalid, OSError) as error:
                # A full disk is told elsewhere; any other kind is a mistake in a query.
                damaged = type(error) in _UNREADABLE or isinstance(error, pa.ArrowInvalid)
                damaged |= isinstance(error, OSError) and error.errno is None  # as Arrow says it
                if not damaged or "No space left on device" in str(error):
                    raise
                raise DataError(
                    f"{self.folder}: the tables that are kept there cannot be read; they are "
                    "damaged. Copy the server's tables again, or remove this folder."
                ) from None


def open_staged(folder: Path) -> Staged:
    """Return the tables that were put into a folder.

    Raises:
        DataError: the folder holds none, or one that was changed.
    """
    return Staged(folder, read_copy(folder, _FACTS))


def stage(
    schema_file: SchemaFile, stream: Stream, folder: Path, *, where: str, fingerprint: str
) -> Staged:
    """Read, clean and put down all tables of a schema_file.

    Args:
        schema_file: what is stored where.
        stream: yields the rows of a stored table piece by piece; nothing where an optional
            table is not there.
        folder: is made, and gets the files.
        where: names the source in messages.
        fingerprint: of what is stored; kept with the tables.

    Returns:
        The tables. Rows keep their order.

    Raises:
        DataError: a table cannot be used, nothing joins, or the disk is full.
    """
    facts: dict[str, Any] = {
        "fingerprint": fingerprint,
        "labelled": False,
        "tables": {},
        "dropped": [],
        "notes": [],
    }
    try:
        (folder / _RAW).mkdir(parents=True)
        with connect(folder / ".spill") as connection:
            for name in canonical_tables():  # the log first: others may be made from it
                _stage_table(name, schema_file, stream, folder, connection, facts)
            files = {n: folder / f"{n}.parquet" for n in facts["tables"]}
            facts["notes"] += joins(connection, files, where)
        write_atomically(folder / _FACTS, json.dumps(facts, indent=1, ensure_ascii=False))
    except OSError as error:
        raise DataError(
            f"{where}: the tables cannot be kept on this disk: {error.strerror or error}. Free "
            "some room, or set WORKBOOK_CACHE to a folder on another disk."
        ) from None
    finally:
        shutil.rmtree(folder / _RAW, ignore_errors=True)
    return Staged(folder, facts)


def _stage_table(
    name: str,
    schema_file: SchemaFile,
    stream: Stream,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    facts: dict[str, Any],
) -> None:
    parts = schema_file.parts[name]
    raw = folder / _RAW
    if parts[0].derived:
        files, read = [_derived_file(raw, parts[0])], []
        facts["notes"] += [_NO_PRICE] * ("price" in parts[0].columns)
    else:
        read = _read_parts(name, schema_file, stream, raw)
        files = [r.file for r in read if r.rows]
    if not files or not files[0].exists():
        return
    assembly = Assembly(connection, canonical_tables()[name], files)
    facts["labelled"] |= "label" in assembly.columns()
    if facts["labelled"] and schema_file.task.negatives:
        raise DataError(
            f"{read[0].name}: each row says by its label what became of a product that was shown, "
            "so nothing is to be drawn; remove negatives from the task of schema.yaml, or map no "
            "column to label and leave out the rows without a success."
        )
    counts = [c for r in read for c in r.dropped.to_dict("records")]
    counts += _drop_repeats(assembly, name, schema_file, read)
    kept = assembly.write(
        folder / f"{name}.parquet",
        decimal_comma=any(p.decimal == "," for p in parts),
        success=schema_file.task.positive[0],
    )
    facts["tables"][name] = {"read": sum(r.rows + r.unread for r in read) or kept, "kept": kept}
    facts["dropped"] += counts


def _drop_repeats(
    assembly: Assembly, name: str, schema_file: SchemaFile, read: list[_Read]
) -> Counts:
    """Drop copies of rows, and rows whose name was seen before; return the counts."""
    unique = [c.name for c in canonical_tables()[name].columns.values() if c.unique]
    if not read:
        assembly.first_known(unique[0])
        return []
    counts = []
    for column in ("_digest", *unique):
        if column not in assembly.columns():
            continue
        rows, first = assembly.drop_repeats(column)
        if not rows or first is None:
            continue
        if column == "_digest":
            counts += dropped_rows([Dropped(name, DropKind.COPY, "", COPY, rows)])
            continue
        reason = reasons(canonical_tables()[name].columns[column])[DropKind.REPEAT]
        counts += dropped_rows([Dropped(name, DropKind.REPEAT, column, reason, rows)])
        everything = sum(r.rows + r.unread for r in read)
        stop = schema_file.on_bad_rows == "stop"
        if stop or rows > schema_file.max_bad_share * everything:
            limit = f"more than the {schema_file.max_bad_share * 100:g}% allowed"
            raise DataError(
                f"{read[0].name}: {rows:,} of {everything:,} rows cannot be used, "
                f"{'and on_bad_rows: stop allows none' if stop else limit}. {reason} ({rows:,} "
                f"rows, the first in {_words(read, first)}). Give each row a name of its own, or "
                "leave the column out."
            )
    return counts


@dataclass(frozen=True)
class _Read:
    """What came of one stored table."""

    file: Path
    name: str
    rows: int  # that have a place
    unread: int  # that were no rows
    dropped: pd.DataFrame
    chunks: list[tuple[int, Chunk]]  # where each began among all rows; without its rows


def _words(read: list[_Read], place: int) -> str:
    """Say where a row stands."""
    chunks = [c for r in read for c in r.chunks]
    begun = [start for start, _ in chunks]
    start, chunk = chunks[int(np.searchsorted(begun, place, side="right")) - 1]
    several = len({other.where for _, other in chunks}) > 1
    return chunk.locate(chunk.first + place - start) + (f" of {chunk.where}" if several else "")


def _read_parts(name: str, schema_file: SchemaFile, stream: Stream, raw: Path) -> list[_Read]:
    """Clean the stored tables of a canonical one, each into a file of its own."""
    from_log = [
        _Writer(part, schema_file, _derived_file(raw, part))
        for parts in schema_file.parts.values()
        for part in parts
        if part.derived and name == "user_behavior"
    ]
    read: list[_Read] = []
    begin = 0
    try:
        for number, part in enumerate(schema_file.parts[name]):
            writer = _Writer(part, schema_file, raw / f"{name}-{number}.parquet", number)
            read.append(_read_part(writer, stream, schema_file, begin, from_log))
            begin += read[-1].rows
    finally:
        for writer in from_log:
            writer.close()
    return read


def _derived_file(raw: Path, part: StoredTable) -> Path:
    return raw / f"{part.table}-derived.parquet"


def _read_part(
    writer: _Writer, stream: Stream, schema_file: SchemaFile, begin: int, from_log: list[_Writer]
) -> _Read:
    part = writer.part
    cleaner = _cleaner(part, schema_file)
    names: dict[str, None] = {}  # in their order
    chunks: list[tuple[int, Chunk]] = []
    rows = unread = 0
    try:
        for chunk in stream(part):
            if chunk.where not in names:
                names[chunk.where] = None
                cleaner.header(list(chunk.frame.columns), chunk.where)
            clean = cleaner.clean(chunk)
            writer.write(clean, chunk, begin + rows)
            for other in from_log:
                other.derive(clean, chunk, begin + rows)
            # A slice of the frame, even an empty one, would keep all of its memory.
            chunks.append((begin + rows, replace(chunk, frame=pd.DataFrame(), faults={})))
            rows += len(chunk.frame)
            unread += sum(map(len, chunk.faults.values()))
    finally:
        writer.close()
    dropped = cleaner.finish() if names else dropped_table()
    return _Read(writer.file, next(iter(names), part.table), rows, unread, dropped, chunks)


def _cleaner(part: StoredTable, schema_file: SchemaFile) -> Cleaner:
    return Cleaner(
        part,
        task_zone=schema_file.task.time_zone,
        on_bad_rows=schema_file.on_bad_rows,
        max_bad_share=schema_file.max_bad_share,
    )


class _Writer:
    """Puts clean rows into a Parquet file; the first piece sets the types."""

    def __init__(
        self, part: StoredTable, schema_file: SchemaFile, file: Path, number: int = 0
    ) -> None:
        self.part = part
        self.file = file
        self._number = number
        self._writer: pq.ParquetWriter | None = None
        self._connection = duckdb.connect()
        # A row of the log that names no product or user is not a fault of this table.
        self._cleaner = _cleaner(part, replace(schema_file, on_bad_rows="drop", max_bad_share=1.0))
        self._headers: set[str] = set()
        self._where = part.table

    def write(self, clean: pd.DataFrame, chunk: Chunk, first: int) -> None:
        """Add rows, each with its place and a digest of all that was stored in it."""
        self._where = chunk.where
        rows = clean.index.to_numpy(dtype=np.int64)
        own = {"_place": first + rows}
        if self.part.duplicates == "drop":
            own["_digest"] = self._digests(chunk.frame)[rows]
        self._add(clean.reset_index(drop=True).assign(**own))

    def derive(self, log: pd.DataFrame, chunk: Chunk, first: int) -> None:
        """Add what the kept rows of the log say of a product or user, with their time."""
        self._where = chunk.where
        if chunk.where not in self._headers:
            self._headers.add(chunk.where)
            self._cleaner.header(list(chunk.frame.columns), chunk.where)
        kept = replace(chunk, frame=chunk.frame.loc[log.index].reset_index(drop=True), faults={})
        clean = self._cleaner.clean(kept).drop(columns="price", errors="ignore")
        rows = clean.index.to_numpy(dtype=np.int64)
        times = log["event_time"].iloc[rows].reset_index(drop=True)
        places = first + log.index.to_numpy(dtype=np.int64)[rows]
        self._add(clean.reset_index(drop=True).assign(_time=times, _place=places))

    def _add(self, frame: pd.DataFrame) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.file, _types(frame), compression="lz4")
        schema = self._writer.schema
        fitted = _fitted(frame, schema, self._where)
        self._writer.write_table(as_arrow(fitted).cast(schema))

    def close(self) -> None:
        """Finish the file."""
        self._connection.close()
        if self._writer is not None:
            self._writer.close()

    def _digests(self, frame: pd.DataFrame) -> np.ndarray:
        """Return one number a row, equal where all stored values are; columns in any order.

        A row of another part is never a copy: it tells something else in the same words.
        """
        rows = as_arrow(frame[sorted(frame.columns)])
        rows = rows.rename_columns([f"c{i}" for i in range(rows.num_columns)])
        while rows.num_columns > _HASHED:  # a query takes the square of its columns
            some = pieces(rows.column_names, _HASHED)
            digests = [self._digest(rows.select(list(names))) for names in some]
            rows = pa.table({f"c{i}": pa.array(one) for i, one in enumerate(digests)})
        return self._digest(rows)

    def _digest(self, rows: pa.Table) -> np.ndarray:
        self._connection.register("chunk", rows)
        query = f"SELECT hash(chunk, {self._number}) AS d FROM chunk"
        return np.asarray(self._connection.execute(query).fetchnumpy()["d"])


def _types(frame: pd.DataFrame) -> pa.Schema:
    """Return the type of each column: text, number, time, or a whole number of our own."""
    own = {"day": pa.int64(), "_place": pa.int64(), "_digest": pa.uint64()}

    def kind(name: str, dtype: Any) -> pa.DataType:
        if name in own:
            return own[name]
        if isinstance(dtype, pd.DatetimeTZDtype):
            return pa.timestamp("us", tz="UTC")
        return pa.float64() if pd.api.types.is_numeric_dtype(dtype) else pa.string()

    return pa.schema([(name, kind(name, dtype)) for name, dtype in frame.dtypes.items()])


def _fitted(frame: pd.DataFrame, schema: pa.Schema, where: str) -> dict[str, pd.Series]:
    """Return the schema's columns; a column that was text in the first piece stays text.

    Raises:
        DataError: a column that held numbers holds text that is none.
    """
    columns = {str(n): values for n, values in frame.reindex(columns=schema.names).items()}
    for field in schema:
        values = columns[field.name]
        if field.type == pa.string() and not isinstance(values.dtype, pd.StringDtype):
            columns[field.name] = values.astype("str").where(values.notna())
        elif field.type == pa.float64() and not pd.api.types.is_float_dtype(values):
            number = pd.to_numeric(values, errors="coerce").astype("float64")
            if (number.isna() & values.notna()).any():
                raise DataError(
                    f'{where}: column "{field.name}" holds text, but the rows before it hold '
                    "numbers; write it in one way in all files."
                )
            columns[field.name] = number
    return columns
