"""Where the rows of a CSV text begin and end, and in which line each stands.

A value in quotes may hold line breaks and delimiters, so a text can only be cut in pieces
where no quote is open. A quote counts only at the beginning of a value, as in Python's
``csv``: the one in ``5" pipe`` is a letter like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from helpers.base.errors import DataError

__all__ = ["LONGEST_VALUE", "RecordBlock", "Records", "blocks", "line_ends"]

#: Bytes that one value may have, and one row.
LONGEST_VALUE = 1_000_000
_LONGEST_ROW = 8_000_000
_LF, _CR, _QUOTE, _BLANK = b'\n\r" '


@dataclass(frozen=True)
class RecordBlock:
    """Some whole rows of a text.

    Attributes:
        data: the rows, in UTF-8.
        line: the line in which they begin, counted from 1.
        quotes: places of the quotes that open and close values, in turns.
    """

    data: bytes
    line: int
    quotes: np.ndarray


def line_ends(data: bytes) -> int:
    r"""Return how many lines end: with ``\n``, ``\r\n`` or a lone ``\r``.

    Example:
        >>> line_ends(b"a\nb\r\nc\rd")
        3
    """
    ends = data.count(b"\n")
    return ends + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else ends


def blocks(pieces: Iterable[bytes], delimiter: str, where: str) -> Iterator[RecordBlock]:
    """Yield a text in blocks of whole rows.

    Args:
        pieces: the text, cut anywhere.
        delimiter: one ASCII character.
        where: the file, named in messages.

    Raises:
        DataError: a quote never closes, a row does not end, or the text holds NUL characters.
    """
    rest, line = b"", 1
    for piece in pieces:
        _check_no_nul(piece, rest, line, where)
        data, quotes = _structure(rest + piece, delimiter, where, line)
        end = _last_row_end(data, quotes)
        if end:
            yield RecordBlock(data[:end], line, quotes[: np.searchsorted(quotes, end)])
            line += line_ends(data[:end])
        rest = data[end:]
        if len(rest) > _LONGEST_ROW:
            raise _endless(rest, quotes[np.searchsorted(quotes, end) :] - end, line, where)
    data, quotes = _structure(rest, delimiter, where, line)
    if len(quotes) % 2:
        raise _open_quote(where, line + line_ends(data[: quotes[-1]]))
    if data:
        yield RecordBlock(data, line, quotes)


def _check_no_nul(piece: bytes, rest: bytes, line: int, where: str) -> None:
    place = piece.find(b"\0")
    if place < 0:
        return
    number = line + line_ends(rest + piece[:place])
    raise DataError(
        f"{where}: line {number} holds a NUL character, which no text has; the file is damaged, no "
        "CSV file, or written as UTF-16. For the last say `encoding: utf-16` in schema.yaml, else "
        "save it again as CSV."
    )


def _open_quote(where: str, line: int) -> DataError:
    return DataError(
        f"{where}: line {line} opens a quote that never closes; close it, or write a quote that "
        'belongs to the value twice, as in "5"" pipe".'
    )


def _endless(data: bytes, quotes: np.ndarray, line: int, where: str) -> DataError:
    """Say why a row goes on and on."""
    begin = int(quotes[-1]) if len(quotes) % 2 else 0
    line += line_ends(data[:begin])
    if len(quotes) % 2 and line_ends(data[begin:]):
        return _open_quote(where, line)
    return DataError(
        f"{where}: the row that begins in line {line} holds more than 1 MB in one value, or does "
        "not end; shorten the value, leave its column out of the file, or write one row per line."
    )


def _last_row_end(data: bytes, quotes: np.ndarray) -> int:
    """Return the place after the last line end that stands outside of quotes, or 0."""
    stop = len(data)
    while stop > 0:
        # A \r at the very end may be the first half of \r\n.
        end = max(data.rfind(b"\n", 0, stop), data.rfind(b"\r", 0, min(stop, len(data) - 1)))
        before = np.searchsorted(quotes, end)
        if before % 2 == 0:
            return end + 1
        stop = int(quotes[before - 1])
    return 0


def _structure(data: bytes, delimiter: str, where: str, line: int) -> tuple[bytes, np.ndarray]:
    """Return the text without blanks before quotes, and the quotes that open and close."""
    if b'"' not in data:
        return data, np.empty(0, dtype=np.int64)
    text = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(text == _QUOTE)
    borders = np.zeros(256, dtype=bool)
    borders[[ord(delimiter), _LF, _CR]] = True
    before, opens = _beside(text, quotes, borders, delimiter, step=-1)
    _, closes = _beside(text, quotes, borders, delimiter, step=1)
    double = np.diff(quotes, append=-2) == 1  # a quote beside the next one
    opens[1:] |= double[:-1]
    closes |= double
    if not (opens[0::2].all() and closes[1::2].all()):
        quotes, before = _walk(data, quotes.tolist(), borders, delimiter, where, line)
    else:
        before = before[0::2]
    return _without_blanks(text, data, quotes, before)


def _beside(
    text: np.ndarray, quotes: np.ndarray, borders: np.ndarray, delimiter: str, *, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Go from each quote over blanks; return how many, and whether a border comes then."""
    last = len(text) - 1
    blanks = np.zeros(len(quotes), dtype=np.int64)
    for _ in range(4):  # more blanks are left to the slower walk
        place = quotes + step * (blanks + 1)
        outside = (place < 0) | (place > last)
        letter = text[np.clip(place, 0, last)]
        blank = ~outside & (letter == _BLANK) & (delimiter != " ")
        if not blank.any():
            break
        blanks += blank
    place = quotes + step * (blanks + 1)
    outside = (place < 0) | (place > last)
    return blanks, outside | borders[text[np.clip(place, 0, last)]]


def _walk(
    data: bytes, quotes: list[int], borders: np.ndarray, delimiter: str, where: str, line: int
) -> tuple[np.ndarray, np.ndarray]:
    """Go from quote to quote where some are mere letters; return as :func:`_structure` does."""
    border = frozenset(np.flatnonzero(borders).tolist())
    skipped = b"" if delimiter == " " else b" "
    found, before = [], []
    i, n = 0, len(quotes)
    while i < n:
        place = begin = quotes[i]
        while begin and data[begin - 1] in skipped:
            begin -= 1
        i += 1
        if begin and data[begin - 1] not in border:
            continue  # in the middle of a value
        found.append(place)
        before.append(place - begin)
        while i + 1 < n and quotes[i + 1] == quotes[i] + 1:
            i += 2  # two quotes stand for one
        if i < n:
            _check_close(data, place, quotes[i], border, where, line)
            found.append(quotes[i])
            i += 1
    return np.array(found, dtype=np.int64), np.array(before, dtype=np.int64)


def _check_close(
    data: bytes, opened: int, closed: int, border: frozenset[int], where: str, line: int
) -> None:
    """Refuse a value over several lines that goes on after its quote.

    Its own quote was never closed: what seems to close it opens another value.
    """
    after = data[closed + 1 : closed + 2]
    if after and after[0] not in border and after != b" " and line_ends(data[opened:closed]):
        raise _open_quote(where, line + line_ends(data[:opened]))


def _without_blanks(
    text: np.ndarray, data: bytes, quotes: np.ndarray, before: np.ndarray
) -> tuple[bytes, np.ndarray]:
    """Remove the blanks before opening quotes: a parser would take such a quote as a letter."""
    spaced = np.flatnonzero(before)
    if not len(spaced):
        return data, quotes
    opened = quotes[0::2]
    gone = np.concatenate(
        [np.arange(opened[i] - before[i], opened[i], dtype=np.int64) for i in spaced]
    )
    return np.delete(text, gone).tobytes(), quotes - np.searchsorted(gone, quotes)


class Records:
    """The rows of a block: where each stands, and how many values it has."""

    def __init__(self, block: RecordBlock, delimiter: str) -> None:
        text = np.frombuffer(block.data, dtype=np.uint8)
        ends = np.flatnonzero((text == _LF) | (text == _CR))
        half = (text[ends] == _CR) & (text[np.minimum(ends + 1, len(text) - 1)] == _LF)
        ends = ends[~half]
        self._block = block
        self.stop = ends[self._outside(ends)] + 1
        if not len(self.stop) or self.stop[-1] < len(text):
            self.stop = np.append(self.stop, len(text))
        self.start = np.concatenate([[0], self.stop[:-1]])
        #: Line of each row's beginning, counted from 1.
        self.line = block.line + np.searchsorted(ends, self.start)
        delimiters = np.flatnonzero(text == ord(delimiter))
        delimiters = delimiters[self._outside(delimiters)]
        row = np.searchsorted(self.stop, delimiters, side="right")
        #: Number of values of each row.
        self.values = 1 + np.bincount(row, minlength=len(self.stop))
        self.blank = self._blank()

    def _outside(self, places: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._block.quotes, places) % 2 == 0

    def _blank(self) -> np.ndarray:
        """Mark the rows that hold blanks at most, quoted or not."""
        blank = np.zeros(len(self.stop), dtype=bool)
        for i in np.flatnonzero(self.values == 1):
            text = self.text(i).strip()
            quoted = len(text) > 1 and text[:1] == text[-1:] == b'"'
            blank[i] = not (text[1:-1].strip() if quoted else text)
        return blank

    def text(self, i: int | np.integer[Any]) -> bytes:
        """Return what is written of a row."""
        return self._block.data[self.start[i] : self.stop[i]]

    def good(self, width: int) -> np.ndarray:
        """Mark the rows of ``width`` values; a row of blanks is one where one is wanted."""
        if width > 1:
            return ~self.blank & (self.values == width)
        empty = np.array([not self.text(i).strip(b"\r\n") for i in range(len(self.stop))])
        return ~empty & (self.values == 1)
