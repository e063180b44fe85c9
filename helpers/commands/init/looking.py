"""A first look at stored tables: how a file is written, and some of its rows as text.

Only the head of a file is read and a few places further on, so that a look at many
gigabytes takes seconds.
"""

from __future__ import annotations

import csv
import fnmatch
import gzip
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from helpers.base.bars import bar_delay_s
from helpers.base.errors import DataError
from helpers.base.given import folder_of_tables
from helpers.base.words import percent, repeated
from helpers.data.files.encodings import plausible_encodings
from helpers.schema import MOST_KEPT

__all__ = ["ROWS", "Look", "guess_encoding", "look_at_folder", "look_at_server"]

ROWS = 20_000  # from the head of a table
_FURTHER = 5_000  # more rows of a head that holds more, evenly
_PATTERNS = 100
_HEAD = 8 << 20  # bytes
_SLICE = 256 << 10
_PLACES = (0.25, 0.5, 0.75, 1.0)  # where further rows are taken from
_UNPACKED = 64 << 20  # so much of a packed file is looked at
_DELIMITERS = (",", ";", "\t", "|", "^", "~")
_EASTERN = ("gb18030", "big5", "shift_jis", "euc-jp", "euc-kr")
_TEXT = (".csv", ".tsv", ".tab", ".txt", ".dat", ".log")
_ENDINGS = (*_TEXT, *(f"{e}.gz" for e in _TEXT), ".parquet")
_NO_TABLES = {
    (".xlsx", ".xls", ".ods"): "save its sheets as CSV",
    (".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".zst"): "unpack it",
    (".json", ".jsonl", ".ndjson", ".avro", ".orc", ".feather"): "convert it to CSV or Parquet",
}


@dataclass(frozen=True)
class Look:
    """What a first look at a stored table shows.

    Attributes:
        name: the name of the file, or of the server's table.
        frame: some rows as text without blanks around it; a blank value is missing.
        rows: about how many rows the table has.
        files: what ``file:`` must say; empty for a table of a server.
        encoding, delimiter, decimal: how a text file is written.
        notes: what a person should check about how the file is read.
    """

    name: str
    frame: pd.DataFrame
    rows: int
    files: tuple[str, ...] = ()
    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."
    notes: tuple[str, ...] = field(default=())


def look_at_folder(folder: Path, *, progress: bool = False) -> tuple[list[Look], dict[str, str]]:
    """Look at every table in a folder.

    Args:
        folder: the folder that the tables are in.
        progress: show a bar where there are many files.

    Returns:
        The tables; and the names of the other files, with why each is no table.

    Raises:
        DataError: there is no such folder, or nothing in it is a table.
    """
    folder = folder_of_tables(folder)
    looks, skipped = [], {}
    paths = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] not in "._")
    bar = tqdm(
        paths, "files", unit=" files", delay=bar_delay_s(), leave=False, disable=not progress
    )
    for path in bar:
        if not path.name.lower().endswith(_ENDINGS):
            for endings, remedy in _NO_TABLES.items():
                if path.name.lower().endswith(endings):
                    skipped[path.name] = f"it cannot be read as it is; {remedy}"
            continue
        try:
            is_parquet = path.suffix.lower() == ".parquet"
            looks.append(_look_at_parquet(path) if is_parquet else _look_at_text(path))
        except _WidthError as error:
            raise DataError(f"{path.name}: {error}.") from None
        except DataError as error:
            skipped[path.name] = str(error)
    if not looks:
        reasons = " ".join(f"{name}: {reason}." for name, reason in list(skipped.items())[:3])
        raise DataError(
            f"{folder.name or folder}: there is no table that can be read; put CSV or Parquet "
            f"files with a line of column names there. {reasons}".strip()
        )
    return _groups(looks, sorted(p.name for p in folder.iterdir())), skipped


def _groups(looks: list[Look], present: list[str]) -> list[Look]:
    """Join files that are parts of one table: equal columns, names that differ in digits."""
    groups: dict[tuple, list[Look]] = defaultdict(list)
    for look in looks:
        kind = (look.encoding, look.delimiter, look.decimal)
        groups[re.sub(r"\d+", "*", look.name), tuple(look.frame.columns), kind].append(look)
    joined, tried = [], 0
    for (pattern, *_), members in groups.items():
        if len(members) == 1:
            joined.append(members[0])
            continue
        names = tuple(look.name for look in members)
        simple = re.sub(r"\*[*\W_]*\*", "*", pattern)
        # Each pattern is held against every file: the rest of very many is written out.
        tried += 1
        same = tried <= _PATTERNS and sorted(fnmatch.filter(present, simple)) == sorted(names)
        rows = max(50, min(2_000, 2 * ROWS // len(members)))
        frame = pd.concat([members[0].frame, *(m.frame.head(rows) for m in members[1:])])
        joined.append(
            replace(
                members[0],
                name=simple if same else ", ".join(names),
                files=(simple,) if same else names,
                frame=frame.reset_index(drop=True),
                rows=sum(look.rows for look in members),
                notes=tuple(dict.fromkeys(note for look in members for note in look.notes)),
            )
        )
    return joined


# --- text files ----------------------------------------------------------------------------


def _look_at_text(path: Path) -> Look:
    """Return a look at a text file: its head, and slices from further on.

    Raises:
        DataError: it is no table that can be read. The message gives the reason, not the file.
    """
    head, slices, size = _bytes(path)
    if not head.strip():
        raise DataError("the file is empty")
    encoding, doubt = guess_encoding(b"\n".join([head, *slices]))
    text = _decode(head, encoding)
    if len(head) < size:
        text = text[: text.rfind("\n") + 1] or text  # the last line is cut through
    delimiter = _guess_delimiter(text)
    names, rows, lines = _read_rows(text, delimiter)
    _check_width(len(names))
    again = names in rows  # files were joined with their headers
    _check_names(names, rows, again)
    # A slice begins within a line, which is dropped. In UTF-16 it might begin within a letter,
    # and then nothing behind it could be read.
    for piece in slices if encoding != "utf-16" else ():
        inner = _decode(piece, encoding).split("\n", 1)[-1]
        rows += _read_rows("\n".join([delimiter.join(names), inner]), delimiter)[1][:2_000]
    whole = [row for row in rows if len(row) == len(names)]
    notes = [doubt] if doubt else []
    if again:
        notes.append("the line of names stands in the file more than once")
    if len(whole) < len(rows):
        share = 1 - len(whole) / len(rows)
        notes.append(
            f"{percent(share, digits=0)} of the lines have more or fewer values than the header"
        )
    frame = _frame(pd.DataFrame(whole, columns=names, dtype="str"))
    estimate = round(size / max(len(text.encode(encoding, "replace")), 1) * lines)
    return Look(
        name=path.name,
        frame=frame,
        rows=estimate if len(head) < size else lines,
        files=(path.name,),
        encoding=encoding,
        delimiter=delimiter,
        decimal=_guess_decimal(frame),
        notes=tuple(notes),
    )


def _bytes(path: Path) -> tuple[bytes, list[bytes], int]:
    """Return the head of a file, some slices further on, and how long it is unpacked."""
    try:
        size = path.stat().st_size
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as stream:
                content = stream.read(_UNPACKED)
                longer = bool(stream.read(1))
            # A guess where the end was not reached: as much packed as in the part that was read.
            whole = max(len(content) + 1, 4 * size) if longer else len(content)
            return content[:_HEAD], list(_slices(io.BytesIO(content), len(content))), whole
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
            return head, list(_slices(stream, size)), size
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or "it is cut short"


def _slices(stream: io.BufferedIOBase | io.BytesIO, size: int) -> Iterator[bytes]:
    for place in _PLACES if size > _HEAD else ():
        stream.seek(max(_HEAD, round(size * place) - _SLICE))
        yield stream.read(_SLICE).rpartition(b"\n")[0]


def guess_encoding(content: bytes) -> tuple[str, str]:
    """Return the encoding that fits some bytes best, and why it should be checked.

    Args:
        content: the head of a file, and perhaps slices from further on, whose first and last
            characters may be cut through.

    Returns:
        The name of the encoding, and a phrase that a person should read before it is trusted;
        the phrase is empty where nothing else is likely.

    Raises:
        DataError: the content is no text, or its encoding is none of those that are known.

    Example:
        >>> guess_encoding("España".encode("latin-1"))[0], guess_encoding("España".encode())[0]
        ('latin-1', 'utf-8')
        >>> guess_encoding("用户编号,时间".encode("gbk"))[0]
        'gb18030'
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16", ""
    if b"\0" in content[:4096]:
        raise DataError("this is no text: it holds zero bytes")
    # ASCII reads the same in every encoding, so only the other lines tell something.
    foreign = [line for line in content.split(b"\n") if not line.isascii()]
    # What cannot be read as UTF-8 becomes U+FFFD; one that the file holds itself is no fault. A
    # slice may cut a character through at either end, so two faults per slice do not speak
    # against UTF-8, as long as there are many lines beside them that can be read.
    broken = content.decode("utf-8", "replace").count("\ufffd") - content.count(b"\xef\xbf\xbd")
    if not foreign or broken <= 2 * len(_PLACES) and broken < 0.2 * len(foreign):
        return "utf-8", ""
    likely = plausible_encodings(b"\n".join(foreign[:2_000]))
    # In a script of East Asia each character has two bytes, so nearly every run of bytes above
    # ASCII is of even length. Accented letters of Europe stand alone, in runs of one.
    runs = [len(run) % 2 == 0 for run in re.findall(rb"[\x80-\xff]+", content)]
    if sum(runs) >= 0.9 * len(runs):
        likely = [name for name in likely if name in _EASTERN] or ["gb18030"]
    if not likely:
        raise DataError("its text is in no known encoding; save it as UTF-8")
    # cp1252 and latin-1 differ in the bytes 80 to 9F only; without these, either is right.
    if likely[0] == "cp1252" and not re.search(rb"[\x80-\x9f]", content):
        return "latin-1", ""
    others = [name for name in likely[1:] if {name, likely[0]} != {"cp1252", "latin-1"}]
    return likely[0], f"the text could be {' or '.join(others)} too" if others else ""


def _decode(content: bytes, encoding: str) -> str:
    text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding, "replace")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _guess_delimiter(text: str) -> str:
    """Return the character that cuts the first lines into equally many values."""
    head = text[: 1 << 16]
    if len(head) < len(text):
        head = head[: head.rfind("\n")]
    scores = {}
    for delimiter in _DELIMITERS:
        rows = _records(head, delimiter)[:100]
        if rows and len(rows[0]) > 1:
            fitting = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
            scores[delimiter] = (round(fitting, 1), len(rows[0]))
    if not scores:
        raise DataError(
            "it has a single column, or values are separated by something else than one of , ; | "
            "and tab"
        )
    return max(scores, key=scores.__getitem__)


def _records(text: str, delimiter: str) -> list[list[str]]:
    """Return the records of a text as far as they can be read; blank lines are none."""
    found: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    with suppress(csv.Error):  # a huge cell, or a zero byte: what came before is enough
        for row in reader:
            if any(value.strip() for value in row):
                found.append([value.strip() for value in row])
    return found


def _read_rows(text: str, delimiter: str) -> tuple[list[str], list[list[str]], int]:
    """Return the names, the first rows, and how many rows the text holds."""
    records = _records(text, delimiter)
    if len(records) < 2:
        raise DataError("there is a header but no row")
    head, rest = records[1 : ROWS + 1], records[ROWS + 1 :]
    return records[0], head + rest[:: 1 + len(rest) // _FURTHER], len(records) - 1


class _WidthError(DataError):
    """A table that no draft can be made without, perhaps, and that is too wide for one."""


def _check_width(columns: int) -> None:
    """Refuse more columns than a look takes in, at about a millisecond each."""
    if columns > MOST_KEPT:
        raise _WidthError(
            f"it has {columns:,} columns, and a draft is made of at most {MOST_KEPT:,}; leave "
            "columns out of the file, or write a schema.yaml by hand that names those to use"
        )


def _check_names(names: list[str], rows: list[list[str]], again: bool) -> None:
    """Refuse a first line that holds values instead of names, or a name twice."""
    values = [
        set(column) for column in zip(*(r for r in rows if len(r) == len(names)), strict=True)
    ]
    if not values:
        raise DataError("no line has as many values as the header")
    number = [bool(re.fullmatch(r"[-+]?[\d.,:/ -]+", name)) for name in names]
    seen = [bool(name) and name in held for name, held in zip(names, values, strict=True)]
    if any(number) or (any(seen) and not again):
        raise DataError(
            "its first line looks like values, not names; write a line of column names above it"
        )
    given = [name for name in names if name]
    if twice := repeated(given):
        raise DataError(f'column "{twice[0]:.80}" appears twice; rename or remove one')


def _guess_decimal(frame: pd.DataFrame) -> str:
    """Return a comma where more numbers are written with it than with a point."""
    commas = points = 0
    for _, values in frame.items():
        text = pa.array(values.array, from_pandas=True)
        # 1,234 may be a thousand, so three digits behind the comma say nothing.
        commas += _fitting(text, r"^-?\d+,(?:\d{1,2}|\d{4,})$")
        points += _fitting(text, r"^-?\d+\.\d+$")
    return "," if commas > points else "."


def _fitting(text: pa.Array, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(text, pattern)).as_py() or 0


def _frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that have a name, with missing values where nothing is written."""
    named = frame.loc[:, [bool(str(name)) for name in frame.columns]]
    return named.mask(named.eq(""))


# --- Parquet files and tables of a server --------------------------------------------------


def _look_at_parquet(path: Path) -> Look:
    try:
        with pq.ParquetFile(path) as file:
            _check_width(len(file.schema_arrow.names))
            first = next(file.iter_batches(batch_size=ROWS), None)
            batches = [first] if first is not None else []
            groups = file.num_row_groups
            for group in sorted({groups // 2, groups - 1} - {0}) if groups > 1 else ():
                batches += [next(file.iter_batches(batch_size=2_000, row_groups=[group]))]
            rows = file.metadata.num_rows
    except (OSError, pa.ArrowException, StopIteration) as error:
        raise DataError(f"the file cannot be read: {_reason(error)}") from None
    if not rows:
        raise DataError("there is a header but no row")
    table = pa.Table.from_batches(batches)
    columns = {
        name: _as_text(table.column(name)) for name in table.column_names if name[:8] != "__index_"
    }
    nested = [name for name, column in columns.items() if column is None]
    kept = {name.strip(): c for name, c in columns.items() if c is not None}
    notes = tuple(f'column "{name}" holds lists or structures and is not used' for name in nested)
    frame = _frame(pd.DataFrame(kept).astype("str"))
    return Look(path.name, frame, rows, files=(path.name,), notes=notes)


def _as_text(column: pa.ChunkedArray) -> pd.Series | None:
    """Return a Parquet column as text, or None where its values are no plain values."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_nested(column.type):
        return None
    try:
        return pc.utf8_trim_whitespace(column.cast(pa.string())).to_pandas().astype("str")
    except (pa.ArrowException, UnicodeDecodeError):
        return None


def look_at_server(url: str | None = None) -> tuple[list[Look], dict[str, str]]:
    """Look at every table of a MySQL server's database.

    Args:
        url: the database's address; None takes it from the environment.

    Returns:
        The tables; and the names of those that cannot be used, with why.

    Raises:
        DataError: the server cannot be reached, or its database has no table with rows.
    """
    from helpers.data.database import open_database  # a draft from files needs no driver

    looks, skipped = [], {}
    with open_database(url) as database:
        for name in database.table_names():
            columns = list(database.columns(name))
            chunks = database.stream(name, columns, rows=ROWS)
            first = next(chunks, None)
            chunks.close()
            if first is None or first.frame.empty:
                skipped[name] = "the table has no row"
                continue
            frame = first.frame.astype("str").apply(lambda values: values.str.strip())
            rows = len(frame) if len(frame) < ROWS else database.count(name)
            looks.append(Look(name, _frame(frame), rows))
        shown = database.shown
    if not looks:
        raise DataError(f"{shown}: no table there has a row; load the tables and start again.")
    return looks, skipped
