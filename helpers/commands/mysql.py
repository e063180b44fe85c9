"""The tables of a source in a private MySQL server, for as long as a person wants them."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from helpers.base.errors import DataError
from helpers.data.database import (
    VARIABLE,
    Database,
    add_keys,
    create_tables,
    load_table,
    open_database,
)
from helpers.data.database.texts import named
from helpers.data.mysql_server import USER, Server, missing_server, private_server
from helpers.data.sources import Tables, open_source
from helpers.schema import canonical_tables

__all__ = ["load_source", "serve"]

_LOADED = 100_000  # rows handed over at once


def serve(
    source: str,
    *,
    path: str | Path = "",
    schema: str | Path = "",
    seed: int = 0,
    port: int | None = None,
) -> None:
    """Start a private server, load a source's tables, and wait until Ctrl-C or a signal to end.

    It prints how to connect, with the password of this server, which goes away with it and is
    written nowhere else.

    Args:
        source: as in :func:`helpers.data.sources.open_source`.
        path: the folder of a ``csv`` source.
        schema: a ``schema.yaml``; empty: the one in ``path``.
        seed: of the rows that ``journey`` draws.
        port: of the server, on this machine alone; a spare one when not given.

    Raises:
        DataError: no server is installed, it does not start or ends, or the tables cannot be
            read.

    Example:
        >>> serve("jurney")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: There is no ...
    """
    if missing := missing_server():
        raise DataError(missing)
    tables = open_source(source, path=path, schema=schema, seed=seed)
    with _until_told(), private_server(port=port) as server:
        with open_database(server.url) as database:
            counts = load_source(database, tables, progress=True)
        print(_how_to_connect(server, source, counts), flush=True)
        while server.running:
            time.sleep(0.2)
        raise DataError("The private MySQL server ended by itself; start it again.")


def load_source(database: Database, tables: Tables, *, progress: bool = False) -> dict[str, int]:
    """Make the canonical tables in an empty database and load a source into them.

    Afterwards the tables have the source's columns: a canonical column that the source does not
    have is not there. Read with the canonical names, they give the source's frames again.

    Returns:
        The number of rows of each table.

    Raises:
        DataError: the database holds one of the tables, or a value does not fit its column.
    """
    create_tables(database)
    frames = {name: getattr(tables, name) for name in canonical_tables()}
    counts = {
        name: load_table(database, name, _pieces(frame), progress=progress)
        for name, frame in frames.items()
    }
    add_keys(database)
    for name, frame in frames.items():
        _drop_unused(database, name, frame)
    return counts


def _pieces(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for start in range(0, max(len(frame), 1), _LOADED):
        yield frame.iloc[start : start + _LOADED]


def _drop_unused(database: Database, table: str, frame: pd.DataFrame) -> None:
    unused = [named(column) for column in database.columns(table) if column not in frame.columns]
    if unused:
        drops = ", ".join(f"DROP COLUMN {column}" for column in unused)
        with database.connected() as connection, database.told(f'altering table "{table}"'):
            connection.exec_driver_sql(f"ALTER TABLE {named(table)} {drops}")


def _how_to_connect(server: Server, source: str, counts: dict[str, int]) -> str:
    rows = ", ".join(f"{name} ({count:,} rows)" for name, count in counts.items())
    return "\n".join(
        [
            f"A private MySQL server holds the tables of {source}: {rows}.",
            f"  host 127.0.0.1, port {server.port}, user {USER}; it answers this machine alone",
            "",
            "Look at the tables (the password stands in the address below):",
            f"  mariadb --socket={server.socket} --user={USER} --password shop",
            "",
            "Use them, in another terminal:",
            f"  export {VARIABLE}='{server.url}'",
            "  python -m helpers check --source mysql",
            "",
            "Ctrl-C ends the server and removes its files.",
        ]
    )


@contextlib.contextmanager
def _until_told() -> Iterator[None]:
    """End the ``with`` block in peace at Ctrl-C or the signal to end."""
    # Signals are the main thread's; in another one, its end is the server's.
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main else None
    try:
        yield
    except KeyboardInterrupt:
        print("\nThe server is gone, and its tables with it.", flush=True)
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
