"""The tables of one database, read out of one moment, as chunks of text."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.cursors import SSCursor
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from tqdm.auto import tqdm

from helpers.base.bars import bar_delay_s
from helpers.base.errors import DataError
from helpers.base.words import near_match
from helpers.data.chunks import Chunk
from helpers.data.database.address import Address, read_address
from helpers.data.database.faults import explain, number_of
from helpers.data.database.texts import named, packed_row, unpack

__all__ = ["Database", "open_database"]

_FIRST_BLOCK = 64  # rows fetched at once at first; then as many as make about _BLOCK_BYTES
_BLOCK_BYTES = 4_000_000
_MOST_ROWS = 20_000
_CHUNK_BYTES = 64_000_000  # a chunk of long rows ends here


@contextlib.contextmanager
def open_database(url: str | None = None) -> Iterator[Database]:
    """Open a database, and see that it answers.

    Args:
        url: ``mysql://user:password@host:3306/database``; the environment variable
            ``WORKBOOK_DB_URL`` when not given. Options, after a ``?`` and joined by ``&``:
            ``option_file`` and ``option_group`` (the credentials, as MySQL's own programs keep
            them), ``unix_socket``, ``connect_timeout`` and ``read_timeout`` in seconds,
            ``ssl_mode`` (disabled, preferred, required, verify_ca, verify_identity), ``ssl_ca``,
            ``ssl_cert``, ``ssl_key``. With ``ssl_ca`` alone the server's name is verified too.

    Raises:
        DataError: the URL cannot be read, or the server cannot be reached, refuses the user,
            or has no such database.

    Example:
        >>> with open_database("mysql://reader:secret@localhost:99999/shop") as database:
        ...     print(database.table_names())
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: The database URL: port must be a whole number from 1 to ...
    """
    address = read_address(url)
    database = Database(address)
    if not address.database:
        raise DataError(f"{address.shown}: name a database at the end of the URL, such as /shop.")
    database.table_names()
    yield database


class Database:
    """One database of a MySQL or MariaDB server.

    Every value is delivered as the text that the server writes. Missing ones are missing, an
    empty text stays empty. A ``TIMESTAMP`` is in UTC and says so (``+00:00``); a ``DATETIME``
    names no zone. A ``BIT`` is a number, a binary value is hexadecimal, a shape is its text
    (``POINT(1 2)``), a ``FLOAT`` the shortest text of the stored number.

    Example:
        >>> Database(read_address("mysql://reader:secret@db.example/shop"))
        Database('db.example:3306/shop')
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._engine = create_engine(
            "mysql+pymysql://", creator=address.connect, poolclass=NullPool, hide_parameters=True
        )
        self._held: Connection | None = None  # of the open snapshot
        self._streaming = False

    def __repr__(self) -> str:
        return f"Database({self.shown!r})"

    @property
    def shown(self) -> str:
        """Host, port and database, without credentials."""
        return self._address.shown

    def table_names(self) -> list[str]:
        """Return the names of the tables and views that the user may see, sorted."""
        rows = self._ask(
            "listing the tables",
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()",
        )
        return sorted(name for (name,) in rows)

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table in their order: name to type, as the server states it.

        Raises:
            DataError: there is no such table.
        """
        rows = self._ask(
            f'listing the columns of table "{table}"',
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            self._known(table),
        )
        if not rows:
            raise DataError(f'{self.shown}: the user may see no column of table "{table}".')
        return dict(rows)

    def count(self, table: str) -> int:
        """Return the number of rows of a table.

        Raises:
            DataError: there is no such table, or it cannot be read.
        """
        sql = f"SELECT COUNT(*) FROM {named(self._known(table))}"
        return int(self._ask(f'counting table "{table}"', sql)[0][0])

    def checksum(self, table: str, columns: Iterable[str] | None = None) -> str:
        """Return a digest of a table's rows that does not depend on their order.

        The server computes it (about 2 s for a million rows of ten columns), and only the digest
        travels: the number of rows, and the sum of CRC-32 over the rows' text, a missing value
        told from an empty one. It finds changes, but does not protect from somebody who plans a
        collision.

        Args:
            table: its name.
            columns: the columns that count; all when not given.

        Raises:
            DataError: there is no such table or column, or it cannot be read.
        """
        row = packed_row(self._types(table, columns))
        sql = f"SELECT COUNT(*), COALESCE(SUM(CRC32({row})), 0) FROM {named(table)}"
        rows, total = self._ask(f'computing the checksum of table "{table}"', sql)[0]
        return f"{int(rows):x}-{int(total):x}"

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Database]:
        """Show one moment to everything inside the ``with`` block, whatever others write.

        Tables of InnoDB only; others (MyISAM, Aria, MEMORY) show what is there when asked.
        A snapshot inside a snapshot is the same moment.

        Raises:
            DataError: the connection fails.
        """
        if self._held is not None:
            yield self
            return
        with self.connected() as connection:
            with self.told("beginning a snapshot"):
                for sql in (
                    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
                ):
                    _run(connection, sql)
            self._held = connection
            try:
                yield self
            finally:
                self._held = None

    def stream(
        self,
        table: str,
        columns: Iterable[str] | None = None,
        *,
        rows: int = 100_000,
        progress: bool = False,
    ) -> Generator[Chunk, None, None]:
        """Yield the rows of a table in chunks, in bounded memory.

        The rows come from one snapshot, and their number is compared with the table's count: an
        iteration that ends without an error has delivered all of them. An iteration that is left
        early closes its connection, and with it the snapshot around it.

        Args:
            table: its name.
            columns: stored names, in the order wanted; all when not given.
            rows: the most rows of a chunk; it gets fewer where rows are long.
            progress: show a bar.

        Yields:
            Chunks with columns of text; none for an empty table.

        Raises:
            DataError: there is no such table or column; the connection was cut, or rows are
                missing. Then throw away what came before.
        """
        return self._stream(table, self._types(table, columns), rows, progress)

    def _stream(
        self, table: str, types: dict[str, str], rows: int, progress: bool
    ) -> Generator[Chunk, None, None]:
        with self.snapshot():
            total, done, finished = self.count(table), 0, False
            where = f"table {table}"
            bar = tqdm(
                total=total,
                desc=where,
                unit=" rows",
                delay=bar_delay_s(),
                leave=False,
                disable=not progress,
            )
            with bar, self._cursor(table, types) as cursor:
                blocks = _Blocks(cursor, types)
                while not finished:
                    with self.told(f"reading {where} after {done:,} of {total:,} rows"):
                        read = blocks.take(rows)
                        finished = read is None
                    if read is not None:
                        # `done` counts before the yield: a reader may stop there
                        first, done = done, done + len(read)
                        yield Chunk(read.combine_chunks().to_pandas(), where, first=first)
                        bar.update(len(read))
        if done != total:
            raise DataError(
                f"{self.shown}: {where} has {total:,} rows, but {done:,} came; it was written to "
                "while it was read (only InnoDB shows one moment). Throw away what came, and "
                "start again."
            )

    @contextlib.contextmanager
    def _cursor(self, table: str, types: dict[str, str]) -> Iterator[SSCursor]:
        """Yield a cursor that delivers packed rows; one not read to its end is cut off."""
        connection = self._held
        if connection is None:
            raise RuntimeError("Tables are streamed inside `with database.snapshot():` only.")
        sql = f"SELECT {packed_row(types)} FROM {named(table)}"
        driver: Any = connection.connection.driver_connection
        driver.use_unicode = False  # bytes: pyarrow decodes them
        cursor: Any = SSCursor(driver)
        self._streaming = True
        try:
            with self.told(f'reading table "{table}"'):
                cursor.execute(sql)
            yield cursor
            cursor.close()
            driver.use_unicode = True
        except BaseException:
            # Closing the cursor would read the rest of the table first, perhaps for hours.
            for result in {cursor._result, driver._result} - {None}:
                result.unbuffered_active = False
            connection.invalidate()
            raise
        finally:
            self._streaming = False

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """Yield a connection of SQLAlchemy: a new one, or that of the open snapshot.

        What was not committed is undone at the end.

        Raises:
            DataError: the server cannot be reached or refuses.
        """
        if self._held is not None:
            if self._streaming or self._held.invalidated:
                raise RuntimeError(
                    "Read a stream to its end before you ask for more from its snapshot; one that "
                    "was left early has ended the snapshot."
                )
            yield self._held
            return
        with self.told("connecting"):
            connection = self._engine.connect()
        try:
            yield connection
        finally:
            connection.invalidate()  # closes without a word: the server may be gone
            connection.close()

    @contextlib.contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """Turn the errors of a server or a connection into a ``DataError``."""
        try:
            yield
        except (
            SQLAlchemyError,
            pymysql.MySQLError,
            OSError,
            RuntimeError,
            AssertionError,
        ) as error:
            hint = self._near_database() if number_of(error) == 1049 else ""
            raise DataError(explain(error, self._address, doing) + hint) from None
        except pa.ArrowInvalid:
            raise DataError(
                f"{self.shown}: a text is not UTF-8, or is cut, while {doing}; correct it in the "
                "table, or leave its column out."
            ) from None

    def _near_database(self) -> str:
        """Return a hint at the name of a database that was meant."""
        try:
            with Database(replace(self._address, database="")).connected() as connection:
                names = [name for (name,) in _run(connection, "SHOW DATABASES")]
        except DataError:
            return ""
        return near_match(self._address.database, names)

    def _ask(self, doing: str, sql: str, *values: str) -> list[tuple]:
        with self.connected() as connection, self.told(doing):
            return _run(connection, sql, *values)

    def _known(self, table: str) -> str:
        known = self.table_names()
        if table not in known:
            raise DataError(
                f'{self.shown}: there is no table "{table}" (or no right to see it); there is '
                f"{_listed(known) or 'none'}.{near_match(table, known)}"
            )
        return table

    def _types(self, table: str, columns: Iterable[str] | None) -> dict[str, str]:
        """Return the types of the wanted columns, in the wanted order."""
        stored = self.columns(table)
        wanted = list(stored if columns is None else columns)
        if not wanted:
            raise DataError(f'{self.shown}: name at least one column of table "{table}".')
        for name in wanted:
            if name not in stored:
                raise DataError(
                    f'{self.shown}: table "{table}" has no column "{name}"; it has '
                    f"{_listed(stored)}.{near_match(name, stored)}"
                )
            if wanted.count(name) > 1:
                raise DataError(f'{self.shown}: column "{name}" is asked for twice.')
        return {name: stored[name] for name in wanted}


class _Blocks:
    """The rows of a cursor, in blocks of bounded size."""

    def __init__(self, cursor: SSCursor, types: dict[str, str]) -> None:
        self._cursor, self._types = cursor, types
        self._rows = _FIRST_BLOCK

    def take(self, rows: int) -> pa.Table | None:
        """Return the next rows, or None after the last."""
        tables, taken, size = [], 0, 0
        while taken < rows and size < _CHUNK_BYTES:
            fetched = self._cursor.fetchmany(min(self._rows, rows - taken))
            if not fetched:
                break
            lines = [line for (line,) in fetched]
            if None in lines:
                raise pymysql.OperationalError(1153, "a row was too long to pack")
            length = sum(map(len, lines))
            tables.append(unpack(lines, self._types))
            taken, size = taken + len(lines), size + length
            per_row = max(1, length // len(lines))
            self._rows = max(1, min(_MOST_ROWS, _BLOCK_BYTES // per_row))
        return pa.concat_tables(tables) if tables else None


def _run(connection: Connection, sql: str, *values: str) -> list[tuple]:
    """Execute one statement, and return its rows."""
    options = {"no_parameters": not values}  # else a % in a name would be a place for a value
    result = connection.exec_driver_sql(sql, values or None, execution_options=options)
    return [tuple(row) for row in result] if result.returns_rows else []


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
