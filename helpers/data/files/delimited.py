"""CSV files as frames of text: fast where they are well written, exact where they are not.

PyArrow parses blocks of whole rows, cut by :mod:`helpers.data.files.records`. Its own streaming
reader would fail where a row is longer than its blocks, and cannot say which line is bad. How
this reader and DuckDB's fared on nine nasty files stands in :mod:`helpers.data.files`.
"""

from __future__ import annotations

import bisect
import codecs
import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from helpers.base.errors import DataError
from helpers.base.words import plural, repeated
from helpers.data.chunks import Chunk
from helpers.data.files.encodings import refuse_encoding, text_pieces
from helpers.data.files.records import LONGEST_VALUE, RecordBlock, Records, blocks, line_ends
from helpers.data.files.stored import meter, steady
from helpers.schema import check_width

__all__ = ["ROWS", "DelimitedFile"]

ROWS = 100_000  # of a chunk
_FAULT = 2**40  # places from here on are lines of rows that were not delivered
_DELIMITERS = (",", ";", "\t", "|")


class DelimitedFile:
    """One CSV file.

    Args:
        file: the path of the file.
        delimiter: one ASCII character.
        encoding: the encoding that it is written in.

    Attributes:
        names: the header's names without blanks around them; may hold one that is empty.

    Raises:
        DataError: the file cannot be read, or its header cannot be used.
    """

    def __init__(self, file: Path, delimiter: str, encoding: str) -> None:
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
            raise DataError(
                f'{file.name}: the delimiter must be one character such as ";", "|" or tab; got '
                f"{delimiter!r:.40}. Correct it in schema.yaml."
            )
        self.file, self.delimiter, self.encoding = file, delimiter, encoding
        self._begun: list[tuple[int, int, bool]] = []  # of each block: row, line, one row per line
        self._lines: tuple[int, np.ndarray] = (-1, np.empty(0))
        with steady(file):
            self.names = self._header(next(self._blocks(), None))

    def chunks(self, *, progress: bool = False) -> Iterator[Chunk]:
        """Yield the rows, as :func:`helpers.data.files.stream_files` says."""
        rows, delivered = 0, False
        self._begun.clear()
        with steady(self.file) as size, meter(self.file, size, progress) as bar:
            for block in self._body(lambda read: bar.update(read - bar.n)):
                table, faults = self._parse(block)
                ends = line_ends(block.data) + (block.data[-1] not in b"\r\n")
                self._begun.append((rows, block.line, table.num_rows == ends))
                for start, frame in _frames(table):
                    yield self._chunk(frame, rows + start, faults)
                    faults, delivered = {}, True
                if faults:
                    yield self._chunk(self._empty(), rows, faults)
                    delivered = True
                rows += table.num_rows
        if not delivered:
            yield self._chunk(self._empty(), 0, {})

    def _chunk(self, frame: pd.DataFrame, first: int, faults: dict[str, list[int]]) -> Chunk:
        return Chunk(frame, self.file.name, first, self.locate, faults)

    def _empty(self) -> pd.DataFrame:
        return pd.DataFrame(columns=[n for n in self.names if n], dtype="str")

    def locate(self, place: int) -> str:
        """Say in which line a row begins: a delivered one, or one that is counted in faults."""
        if place >= _FAULT:
            return f"line {place - _FAULT}"
        number = bisect.bisect_right(self._begun, (place, _FAULT, True)) - 1
        first, line, one_a_line = self._begun[number]
        if one_a_line:
            return f"line {line + place - first}"
        return f"line {self._good_lines(number)[place - first]}"

    def _good_lines(self, number: int) -> np.ndarray:
        """Return the lines of a block's rows. The file is read again: they were not kept."""
        if self._lines[0] != number:
            for i, block in enumerate(self._body()):
                if i == number:
                    records = Records(block, self.delimiter)
                    self._lines = (number, records.line[records.good(len(self.names))])
                    break
        return self._lines[1]

    def _blocks(self, seen: Callable[[int], object] = lambda read: None) -> Iterator[RecordBlock]:
        """Yield the blocks of the file that hold more than blank lines."""
        pieces = text_pieces(self.file, self.encoding, seen=seen)
        for block in blocks(pieces, self.delimiter, self.file.name):
            if block.data.strip():
                yield block

    def _body(self, seen: Callable[[int], object] = lambda read: None) -> Iterator[RecordBlock]:
        """Yield the blocks after the header."""
        first = True
        for block in self._blocks(seen):
            if first:
                # The quotes are counted from the block's beginning, which moves behind the names.
                _, begin, line = self._first_row(block)
                quotes = block.quotes[np.searchsorted(block.quotes, begin) :] - begin
                block = RecordBlock(block.data[begin:], line, quotes)
                first = False
            if block.data:
                yield block

    def _first_row(self, block: RecordBlock) -> tuple[list[str], int, int]:
        """Return the names in a block's first row that has any, and where it ends: place, line."""
        self._check_text(block)
        records = Records(block, self.delimiter)
        for i in range(len(records.stop)):
            written = records.text(i)
            text = io.StringIO(written.decode("utf-8"), newline="")
            try:
                row = next(csv.reader(text, delimiter=self.delimiter, skipinitialspace=True))
            except csv.Error as error:
                raise DataError(
                    f"{self.file.name}: the header cannot be read: {error}; correct line "
                    f"{records.line[i]}."
                ) from None
            names = [name.strip() for name in row]
            if any(names):
                return names, int(records.stop[i]), int(records.line[i]) + line_ends(written)
        raise DataError(f"{self.file.name}: the first 8 MB hold no header; it needs one.")

    def _header(self, block: RecordBlock | None) -> list[str]:
        """Return the names of the header, or say why they cannot be used."""
        where = self.file.name
        if block is None:
            raise DataError(f"{where}: the file is empty; it needs a header and rows.")
        names, _, _ = self._first_row(block)
        for other in _DELIMITERS:
            if len(names) == 1 and other in names[0]:
                shown = "tab" if other == "\t" else f'"{other}"'
                raise DataError(
                    f"{where}: The header is separated by {other!r}; say `delimiter: {shown}` in "
                    "schema.yaml."
                )
        check_width(len(names), where)
        twice = repeated(filter(None, names))
        if twice:
            raise DataError(
                f'{where}: column "{twice[0]:.80}" appears twice; rename or remove one.'
            )
        if names.count("") > 1:
            raise DataError(f"{where}: {names.count('')} columns have no name; name them.")
        return names

    def _parse(self, block: RecordBlock) -> tuple[pa.Table, dict[str, list[int]]]:
        """Return the rows of a block, and the places of those that have another width."""
        self._check_text(block)
        skipped: list[int] = []

        def skip(row: object) -> str:
            skipped.append(1)
            return "skip"

        # Columns are numbered for PyArrow: a name may be empty, and then its column is left out.
        keys = [str(i) for i in range(len(self.names))]
        named = {key: name for key, name in zip(keys, self.names, strict=True) if name}
        try:
            table = pyarrow.csv.read_csv(
                pa.py_buffer(block.data),
                read_options=pyarrow.csv.ReadOptions(
                    column_names=keys, block_size=len(block.data) + 1
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=[*named],
                    column_types=dict.fromkeys(keys, pa.large_string()),
                    check_utf8=False,  # it is
                    null_values=[""],  # a product may be called "NA" or "None"
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowException:
            raise self._unreadable(block) from None
        table = table.rename_columns([*named.values()])
        self._check_lengths(table, block)
        return table, self._faults(block, table) if skipped else {}

    def _unreadable(self, block: RecordBlock) -> DataError:
        last = block.line + line_ends(block.data)
        return DataError(
            f"{self.file.name}: lines {block.line} to {last} cannot be read as rows; save the file "
            "again as CSV."
        )

    def _check_text(self, block: RecordBlock) -> None:
        """Refuse what is not UTF-8, and name its line."""
        place = _not_utf8(block.data)
        if place >= 0:
            line = block.line + line_ends(block.data[:place])
            raise refuse_encoding(self.file, self.encoding, line)

    def _check_lengths(self, table: pa.Table, block: RecordBlock) -> None:
        """Refuse a value that is too long for anything but a mistake."""
        if len(block.data) <= LONGEST_VALUE:
            return
        for name, column in zip(table.column_names, table.columns, strict=True):
            row = 0
            for piece in filter(len, column.chunks):
                ends = np.frombuffer(piece.buffers()[1], dtype=np.int64)
                lengths = np.diff(ends[piece.offset : piece.offset + len(piece) + 1])
                if lengths.max() > LONGEST_VALUE:
                    records = Records(block, self.delimiter)
                    lines = records.line[records.good(len(self.names))]
                    raise DataError(
                        f'{self.file.name}: line {lines[row + lengths.argmax()]}, column "{name}": '
                        f"the value has {lengths.max():,} bytes, and 1 MB is allowed; shorten it, "
                        "leave the column out of the file, or close the quote before it."
                    )
                row += len(piece)

    def _faults(self, block: RecordBlock, table: pa.Table) -> dict[str, list[int]]:
        """Return the rows that have too many or too few values, by what is to be said."""
        records, width = Records(block, self.delimiter), len(self.names)
        good = records.good(width)
        # PyArrow says how many rows it skipped, but not where they stand. The records do, if
        # they agree with it on all the others.
        if good.sum() != table.num_rows:
            raise self._unreadable(block)
        found: dict[str, list[int]] = {}
        for i in np.flatnonzero(~good & ~records.blank):
            reason = f"has {plural(records.values[i], 'value')} where the header has "
            place = _FAULT + int(records.line[i])
            found.setdefault(reason + plural(width, "name"), []).append(place)
        return found


def _not_utf8(data: bytes) -> int:
    """Return the place of the first byte that is not UTF-8, or -1."""
    if data.isascii():
        return -1
    view, place = memoryview(data), 0
    while place < len(data):
        end = min(place + 1_000_000, len(data))  # a text of the whole would take much memory
        try:
            _, read = codecs.utf_8_decode(view[place:end], "strict", end == len(data))
        except UnicodeDecodeError as error:
            return place + error.start
        place += read
    return -1


def _frames(table: pa.Table) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield a table in pieces of like size, each with the place of its first row."""
    count = max(1, -(-table.num_rows // ROWS))
    borders = np.linspace(0, table.num_rows, count + 1).astype(int)
    for start, stop in zip(borders[:-1], borders[1:], strict=True):
        if stop > start:
            yield int(start), table.slice(start, stop - start).to_pandas()
