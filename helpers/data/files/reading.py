"""The rows of a stored table's files, in pieces and in the files' order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from helpers.base.errors import DataError
from helpers.data.chunks import Chunk
from helpers.data.files.columnar import columnar_names, refuse_nested, stream_columnar
from helpers.data.files.delimited import DelimitedFile
from helpers.data.files.stored import file_names
from helpers.data.schema_file import StoredTable

__all__ = ["stream_files"]


def stream_files(part: StoredTable, folder: Path, *, progress: bool = False) -> Iterator[Chunk]:
    """Yield the rows of a stored table's files, at most 100,000 at a time, in the files' order.

    Args:
        part: the stored table, which names its files and says how their text is written.
        folder: the folder that the files are in.
        progress: show a bar of the bytes read, where reading takes more than two seconds.

    Yields:
        Chunks whose frames hold the columns of the first file, in its order and without the
        columns that have no name. Values of a text file are text as it was written (dtype
        ``str``), and missing where empty; those of a Parquet file keep their types. A file
        without rows yields one empty frame. A row of text with too many or too few values is
        not delivered but counted in ``faults``.

    Raises:
        DataError: a file is missing, damaged, empty, in another encoding or with another
            delimiter; it changes while it is read; a quote never closes; a value is longer
            than 1 MB; files of one table have different columns; a column of a Parquet file holds
            several values per row.

    Example:
        >>> from helpers.base.paths import DATA
        >>> chunk = next(stream_files(StoredTable("users"), DATA / "sample"))
        >>> chunk.where, chunk.locate(0)
        ('users.csv.gz', 'line 2')
    """
    files = file_names(part, folder)
    opened = [_open(file, part, progress) for file in files]
    for other in opened[1:]:
        _check_same_columns(opened[0], other)
    for file in opened:
        for chunk in file[2]():
            names = [c for c in opened[0][1] if c]
            yield chunk if list(chunk.frame) == names else _reordered(chunk, names)


_Opened = tuple[str, list[str], Callable[[], Iterator[Chunk]]]


def _open(file: Path, part: StoredTable, progress: bool) -> _Opened:
    """Return a file's name, its columns, and what streams it."""
    if file.name.lower().endswith((".parquet", ".pq")):
        refuse_nested(file, _wanted(part))
        return file.name, columnar_names(file), lambda: stream_columnar(file, progress=progress)
    text = DelimitedFile(file, part.delimiter, part.encoding)
    return file.name, [n for n in text.names if n], lambda: text.chunks(progress=progress)


def _wanted(part: StoredTable) -> set[str] | None:
    """Return the stored columns that a table uses, or None where it uses all."""
    if not part.columns or part.extra is None:
        return None
    mapped = {stored for several in part.columns.values() for stored in several}
    return mapped | {*part.extra} | {rule.column for rule in part.leave_out}


def _check_same_columns(first: _Opened, other: _Opened) -> None:
    for one, two in ((first, other), (other, first)):
        there = {*two[1]}
        lost = [c for c in one[1] if c not in there]
        if lost:
            raise DataError(
                f'{two[0]}: column "{lost[0]:.80}" is missing, but {one[0]} has it; files of one '
                "table must have the same columns."
            )


def _reordered(chunk: Chunk, names: list[str]) -> Chunk:
    return Chunk(chunk.frame[names], chunk.where, chunk.first, chunk.locate, chunk.faults)
