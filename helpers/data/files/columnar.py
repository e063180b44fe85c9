"""Parquet files as frames in their own types, a few rows at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.base.errors import DataError
from helpers.base.words import repeated
from helpers.data.chunks import Chunk
from helpers.data.files.stored import meter, steady
from helpers.schema import check_width

__all__ = ["columnar_names", "refuse_nested", "stream_columnar"]

_ROWS = 100_000  # of a chunk, or fewer where they are wide
_BYTES = 32_000_000

#: Whole numbers stay exact beside missing ones.
_WHOLE = {
    getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
    for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
}


def columnar_names(file: Path) -> list[str]:
    """Return the names of a Parquet file's columns, without blanks around them.

    A column without a name, and the row numbers that pandas writes, are left out.

    Raises:
        DataError: the file cannot be read, or two columns have one name.
    """
    with steady(file), pq.ParquetFile(file) as stored:
        names = [n for n in map(str.strip, stored.schema_arrow.names) if _is_named(n)]
    check_width(len(names), file.name)
    twice = repeated(names)
    if twice:
        raise DataError(
            f'{file.name}: column "{twice[0]:.80}" appears twice; rename or remove one.'
        )
    if not names:
        raise DataError(f"{file.name}: the file has no column; it needs columns and rows.")
    return names


def _is_named(name: str) -> bool:
    return bool(name) and not name.startswith("__index_level_")


def refuse_nested(file: Path, wanted: Collection[str] | None) -> None:
    """Refuse lists and records where a single value is wanted.

    Args:
        file: the Parquet file.
        wanted: the names of the columns that are used; None means all of them.

    Raises:
        DataError: such a column holds several values per row.
    """
    with steady(file), pq.ParquetFile(file) as stored:
        for field in stored.schema_arrow:
            used = wanted is None or field.name.strip() in wanted
            if used and _is_named(field.name.strip()) and pa.types.is_nested(field.type):
                raise DataError(
                    f'{file.name}: column "{field.name.strip():.80}" holds several values per row '
                    f"({str(field.type):.60}); write them in columns of their own, or leave the "
                    "column out."
                )


def stream_columnar(file: Path, *, progress: bool = False) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file, as :func:`helpers.data.files.stream_files` says."""
    first = 0
    with (
        steady(file) as size,
        # Unless told so, PyArrow loads a whole group of rows before it gives the first.
        pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as stored,
        meter(file, size, progress) as bar,
    ):
        columns = [n for n in stored.schema_arrow.names if _is_named(n.strip())]
        total = stored.metadata.num_rows
        for batch in stored.iter_batches(_batch_rows(stored), columns=columns):
            frame = _frame(file, batch, first)
            yield Chunk(frame, file.name, first)
            first += len(frame)
            bar.update(size * first // max(total, 1) - bar.n)
        # A file that was cut and mended may hold fewer rows than its end says.
        if first != total:
            raise DataError(
                f"{file.name}: the file holds {first} rows and says {total}; write it again."
            )
        if not first:
            empty = stored.schema_arrow.empty_table().select(columns)
            yield Chunk(_frame(file, empty, 0), file.name)


def _batch_rows(stored: pq.ParquetFile) -> int:
    facts = stored.metadata
    size = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
    return max(1, min(_ROWS, _BYTES * facts.num_rows // max(size, 1)))


def _frame(file: Path, rows: pa.RecordBatch | pa.Table, first: int) -> pd.DataFrame:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    arrays = [_plain(column) for column in table.columns]
    names = [n.strip() for n in table.column_names]
    table = pa.Table.from_arrays(arrays, names=names)
    table.validate(full=True)  # else text that is not UTF-8 would pass
    return table.to_pandas(types_mapper=_WHOLE.get, ignore_metadata=True)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return bytes as text, decimals as numbers, and categories as what they stand for."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    bytes_ = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_binary_view,
    )
    if any(is_kind(column.type) for is_kind in bytes_):
        return column.cast(pa.large_string())
    if pa.types.is_decimal(column.type):  # an id may have more digits than a float keeps
        return column.cast(pa.float64() if column.type.scale > 0 else pa.large_string())
    return column
