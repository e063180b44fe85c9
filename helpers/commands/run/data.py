"""The data of a run: tried before it begins, copied from a server, the same when it goes on."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.paths import HOME
from helpers.commands import run_request
from helpers.commands.run.state import FULL, Run, kept, shown_path

__all__ = ["copy_tables", "data_changed", "try_data"]


def try_data(run: Run) -> str:
    """Read a person's own data, so that bad ones stop the run before it begins.

    Returns:
        The fingerprint; empty for a server, whose tables are copied first, and for other data.
    """
    if run.source not in run_request.OWN:
        return ""
    if run.copies:
        from helpers.data.database import open_database
        from helpers.data.schema_file import read_schema_file

        if run.schema:
            read_schema_file(HOME / run.schema)
        with open_database() as database:
            database.table_names()
        return ""
    from helpers.data.sources import stage_source

    stage_source(run.source, progress=sys.stderr.isatty(), **_data_of(run))
    return _fingerprint(run)


def data_changed(run: Run) -> bool:
    """Return whether a person's own tables, or their schema, are no longer what the run read."""
    if run.copies:  # the copy is looked at when the run goes on: it can be made again
        return bool(run.copied) and run.copied["schema"] != _schema_digest(run)
    return run.source in run_request.OWN and run.fingerprint != _fingerprint(run)


def copy_tables(run: Run) -> None:
    """Copy the server's tables into the run's folder, unless the whole copy is there.

    Only the owner may look into the copy: it holds rows as they are.

    Raises:
        DataError: the server cannot be read, or finished notebooks have read another copy.
        OSError: the disk is full.
    """
    if run.copied and run.copied["files"].items() <= _digests(run.tables).items():
        return
    if run.finished:
        raise DataError(
            f"The copy of the tables in {shown_path(run.tables)} is not what the finished "
            "notebooks of this run have read. Start a new run."
        )
    from helpers.data.sources import take_snapshot

    shutil.rmtree(run.tables, ignore_errors=True)
    run.tables.mkdir(mode=0o700)
    print(f"Copying the server's tables into {shown_path(run.tables)}", flush=True)
    digest = _schema_digest(run)
    stated = {"schema": str(HOME / run.schema)} if run.schema else {}
    try:
        run.fingerprint = take_snapshot(run.tables, progress=sys.stderr.isatty(), **stated)
    except DataError as error:
        cause = error.__context__
        if isinstance(cause, OSError) and cause.errno in FULL:
            raise cause from None  # no fault of the server or the person's schema
        raise DataError(
            f"{error} {kept(run)}; to go on, add --resume {shown_path(run.folder)}."
        ) from None
    run.tables.chmod(0o700)
    run.copied = {"files": _digests(run.tables), "schema": digest}
    run.save()


def _fingerprint(run: Run) -> str:
    from helpers.data.sources import data_fingerprint

    return data_fingerprint(run.source, **_data_of(run))


def _data_of(run: Run) -> dict[str, Any]:
    """Return where the data of a run are, from any folder."""
    stated = {"schema": str(HOME / run.schema)} if run.schema else {}
    return {"path": str(HOME / run.path), **stated}


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, by its path inside the folder."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[file.relative_to(folder).as_posix()] = digest
    return found


def _schema_digest(run: Run) -> str:
    """Return a digest of the schema.yaml; an empty text where there is none (any more)."""
    try:
        return hashlib.sha256((HOME / run.schema).read_bytes()).hexdigest() if run.schema else ""
    except OSError:
        return ""
