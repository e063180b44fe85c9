"""Which files fill a table, and the promise that they hold still while they are read."""

from __future__ import annotations

import errno
import glob
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm.auto import tqdm

from helpers.base.bars import bar_delay_s
from helpers.base.errors import DataError
from helpers.base.words import listed, near_match
from helpers.data.schema_file import StoredTable
from helpers.schema import canonical_tables

__all__ = ["column_meter", "file_names", "meter", "steady"]

_ENDINGS = (".csv", ".csv.gz", ".parquet")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".json", ".jsonl", ".xml", ".html")
_PACKED = (".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tar.gz", ".tgz")


def file_names(part: StoredTable, folder: Path) -> list[Path]:
    """Return the files of a part, those of one pattern sorted by name.

    Args:
        part: states names or patterns; where it states none, the file is called as the table.
        folder: where the files are.

    Returns:
        At least one file; none where an optional table has no file and states none.

    Raises:
        DataError: there is no such file, there are two for one table, or it is of a kind that
            cannot be read, such as a folder or a pipe.

    Example:
        >>> from helpers.base.paths import DATA
        >>> [file.name for file in file_names(StoredTable("users"), DATA / "sample")]
        ['users.csv.gz']
    """
    files = _stated(part, folder) if part.files else _found(part, folder)
    for file in files:
        _check_kind(file)
        _facts(file)  # a pipe would keep waiting whoever opens it
    return files


def _stated(part: StoredTable, folder: Path) -> list[Path]:
    """Return the files that a part names; a pattern may stand for several."""
    files: dict[Path, None] = {}
    for name in part.files:
        if os.path.lexists(folder / name):
            files[folder / name] = None
            continue
        found = sorted(glob.glob(str(name), root_dir=folder))
        matches = [folder / n for n in found if not (folder / n).is_dir()]
        if not matches:
            present = _present(folder)
            guess = "" if glob.has_magic(str(name)) else near_match(name, present)
            raise DataError(
                f"{folder.name}: there is no file {name!r:.120} for {part.table}; the folder has "
                f"{_listed(present)}.{guess} Name the file with `file:` under "
                f"{part.table} in schema.yaml."
            )
        files |= dict.fromkeys(matches)
    return list(files)


def _found(part: StoredTable, folder: Path) -> list[Path]:
    """Return the one file that is called as the table; none where it may be missing."""
    names = [part.table + ending for ending in _ENDINGS]
    found = [folder / name for name in names if os.path.lexists(folder / name)]
    if len(found) > 1:
        both = " and ".join(f.name for f in found)
        raise DataError(f"{folder.name} holds {both}; keep one of them.")
    table = canonical_tables().get(part.table)
    if found or (table and not table.needed):
        return found
    present = _present(folder)
    others = [p for p in present if p.partition(".")[0] not in canonical_tables()]
    guess = near_match(f"{part.table}.csv", others)
    remedy = f" Name it with `file:` under {part.table} in schema.yaml." if present else ""
    raise DataError(
        f"{folder.name}: there is no {part.table}.csv (or .csv.gz, .parquet); the folder has "
        f"{_listed(present)}.{guess and guess + ' Rename it.'}{remedy}"
    )


def _present(folder: Path) -> list[str]:
    """Return the files of a folder that may hold tables."""
    endings = (*_ENDINGS, *_SHEETS, *_PACKED, ".tsv", ".txt", ".gz", ".pq")
    try:
        return sorted(p.name for p in folder.iterdir() if p.name.lower().endswith(endings))
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read: {error.strerror}.") from None


def _listed(names: list[str]) -> str:
    return listed(names, most=12) or "no table at all"


def _check_kind(file: Path) -> None:
    if file.name.lower().endswith(_SHEETS):
        raise DataError(f"{file.name}: this kind of file is not read; save it as CSV.")
    if file.name.lower().endswith(_PACKED):
        raise DataError(f"{file.name}: an archive is not read; unpack it, or pack it as .csv.gz.")


@contextmanager
def steady(file: Path) -> Iterator[int]:
    """Yield a file's size; say what is wrong where it cannot be read, or changes meanwhile.

    Raises:
        DataError: there is no such file, it is none, it may not be read, it is damaged, or its
            size, time or identity is another at the end.
    """
    before = _facts(file)
    try:
        yield before[0]
    except (DataError, OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
        _check_unchanged(file, before)
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file.name}: the file cannot be read: {_reason(error)}") from None
    _check_unchanged(file, before)


def _reason(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "this account has no right to; allow reading it (chmod u+r)."
    text = getattr(error, "strerror", None) or str(error)
    return f"{' '.join(str(text).split()):.200}. Copy it again from where it came."


def _facts(file: Path) -> tuple[int, int, int]:
    """Return size, time and identity of a regular file, and refuse whatever else it is."""
    try:
        facts = file.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(
                f"{file.name}: the link leads back to itself; put the file itself there."
            ) from None
        if isinstance(error, FileNotFoundError):
            what = "the link leads to no file" if file.is_symlink() else "there is no such file"
            raise DataError(f"{file.name}: {what}; name one that is there.") from None
        raise DataError(f"{file.name}: the file cannot be read: {_reason(error)}") from None
    if stat.S_ISDIR(facts.st_mode):
        raise DataError(f"{file.name}: this is a folder; name the files in it, as in {_HINT}.")
    if not stat.S_ISREG(facts.st_mode):
        raise DataError(f"{file.name}: this is a pipe or a device; save the table in a file.")
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


_HINT = 'file: "folder/*.csv"'


def _check_unchanged(file: Path, before: tuple[int, int, int]) -> None:
    try:
        now = _facts(file)
    except DataError:
        now = None
    if now != before:
        raise DataError(f"{file.name}: the file changed while it was read; copy it first.")


def meter(file: Path, size: int, progress: bool) -> Any:
    """Return a bar of bytes; quick reads draw none."""
    return tqdm(
        total=size,
        desc=file.name,
        unit="B",
        unit_scale=True,
        delay=bar_delay_s(),
        leave=False,
        disable=not progress,
    )


def column_meter(total: int, what: str, progress: bool) -> Any:
    """Return a bar of columns that are looked at; quick looks draw none."""
    return tqdm(
        total=total,
        desc=what,
        unit=" columns",
        delay=bar_delay_s(),
        leave=False,
        disable=not progress,
    )
