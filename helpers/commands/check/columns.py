"""What the columns hold: missing values, keys, prices, and rows without a partner."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from helpers.base.words import percent
from helpers.commands.check.finding import Finding
from helpers.commands.check.log import MANY
from helpers.data.dropped import DropKind, rows_of
from helpers.data.files.stored import column_meter
from helpers.data.staging import Staged
from helpers.data.whole_table import name_sql, narrowed, pieces
from helpers.schema import canonical_tables

__all__ = ["check_joins", "column_facts", "keys", "prices", "queries"]

Facts = dict[str, Any]
_AT_ONCE = 20  # columns that one query looks at
#: A table of so few rows and bytes is counted in memory, where a column takes no time.
_SMALL, _SMALL_BYTES = 100_000, 256_000_000
_WIDE = 200  # columns from which on a query may not see all of them
_FACTOR = 1000  # a price so many times the median is an outlier
#: Users need no attributes, products do: their categories and prices are features.
_LOST = {"product_features": 0.05, "users": 0.5}
_ZERO = 0.05
_AGAIN = 0.2


def column_facts(
    staged: Staged, connection: duckdb.DuckDBPyConnection, table: str, *, progress: bool = False
) -> list[Facts]:
    """Return for each column of a table how much is missing, and how many values it has.

    Returns:
        ``column``, ``missing`` (share of the rows), ``distinct`` (about, in a large table) and
        ``remark``: ``empty``, ``constant``, ``one value a row``, or nothing.
    """
    unique = {c.name for c in canonical_tables()[table].columns.values() if c.unique}
    facts = []
    with pq.ParquetFile(staged.folder / f"{table}.parquet") as stored:
        fields = [f for f in stored.schema_arrow if (table, f.name) != ("user_behavior", "day")]
        rows = stored.metadata.num_rows
        small = rows <= _SMALL and _bytes(stored) <= _SMALL_BYTES
        with column_meter(len(fields), f"columns of {table}", progress) as bar:
            for some in pieces(fields, _AT_ONCE):
                found = _counted(stored, some) if small else _asked(connection, stored, some, table)
                for name, (known, values) in found.items():
                    values = known if name in unique else values  # staging dropped the repeats
                    facts.append(
                        {
                            "column": name,
                            "missing": 1 - known / rows if rows else float("nan"),
                            "distinct": values,
                            "remark": _remark(rows, known, values),
                        }
                    )
                bar.update(len(some))
    return facts


def _bytes(stored: pq.ParquetFile) -> int:
    facts = stored.metadata
    return sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))


_Counts = dict[str, tuple[int, int]]


def _counted(stored: pq.ParquetFile, fields: Sequence[pa.Field]) -> _Counts:
    """Return how many values each column of a small table has, and how many different ones."""
    read = stored.read(columns=[field.name for field in fields])
    found = {}
    for name, values in zip(read.column_names, read.columns, strict=True):
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_floating(values.type):
            values = pc.add(values, 0.0)  # -0.0 and 0.0 are one value
        known = len(values) - values.null_count
        found[name] = (known, pc.count_distinct(values).as_py() if known else 0)
    return found


def _asked(
    connection: duckdb.DuckDBPyConnection,
    stored: pq.ParquetFile,
    fields: Sequence[pa.Field],
    table: str,
) -> _Counts:
    """Return the same of a table that may be larger than the memory."""
    wide = stored.metadata.num_columns > _WIDE
    names = [field.name for field in fields]

    def ask(asked: list[str], some: Sequence[pa.Field]) -> tuple:
        rows = narrowed(connection, stored, some) if wide else nullcontext(connection)
        with rows as told:
            query = f"SELECT {', '.join(asked)} FROM {'narrowed' if wide else table}"
            return _one(told, query)

    many = stored.metadata.num_rows > MANY
    distinct = "approx_count_distinct({})" if many else "count(DISTINCT {})"
    found = ask([f"count({name_sql(n)}), {distinct.format(name_sql(n))}" for n in names], fields)
    counts = dict(zip(names, zip(found[::2], found[1::2], strict=True), strict=True))
    for name, field in zip(names, fields, strict=True):
        known, values = counts[name]
        if many and values > 0.9 * stored.metadata.num_rows:
            counts[name] = (known, *ask([f"count(DISTINCT {name_sql(name)})"], [field]))
    return counts


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    return connection.execute(query).fetchone() or ()


def _remark(rows: int, known: int, values: int) -> str:
    if not known:
        return "empty"
    if values == 1 and known == rows:
        return "constant"
    return "one value a row" if values == rows > 1 else ""


def keys(
    staged: Staged, connection: duckdb.DuckDBPyConnection, task_match: tuple[str, ...]
) -> tuple[Facts, list[Finding]]:
    """Return which rows repeat.

    Args:
        staged: the tables.
        connection: to them.
        task_match: the columns in which exposure and success must agree.

    Returns:
        ``again``: share of events with the user, item, time and type of another one, though
        not copies of it in every column; ``match_missing``: share of the events that lack a
        column to match on; and what to look at.
    """
    rows, again = _one(
        connection,
        "SELECT sum(n), coalesce(sum(n - 1) FILTER (n > 1), 0) FROM (SELECT count(*) AS n "
        "FROM user_behavior GROUP BY hash(user_id, item_id, event_time, event_type))",
    )
    there = [c for c in task_match if c in staged.columns("user_behavior")]
    lacks = " OR ".join(f"{name_sql(c)} IS NULL" for c in there) or "false"
    missing = _one(connection, f"SELECT count(*) FROM user_behavior WHERE {lacks}")[0]
    facts = {"again": float(again / rows), "match_missing": float(missing / rows)}
    found = []
    if facts["again"] > _AGAIN:
        text = (
            f"{percent(facts['again'])} of the events have the user, item, time and type of an "
            "earlier one and differ in other columns only. Was the log written twice?"
        )
        found.append(Finding("keys", "many events that repeat", text))
    return facts, found


def check_joins(
    staged: Staged, connection: duckdb.DuckDBPyConnection
) -> tuple[list[Facts], list[Finding]]:
    """Return for products and users which rows of the log have no partner, and the reverse.

    Returns:
        One entry a table that is there: ``table``, ``events_lost`` and ``names_lost`` (shares
        of the log's events, and of its different items or users, without a row in the table),
        ``rows`` of the table, ``never_seen`` (of these, how many the log never names); and
        what to look at.
    """
    facts, found = [], []
    for table, column in (("product_features", "item_id"), ("users", "user_id")):
        if not staged.has(table):
            continue
        lost, events, names_lost, names, met = _one(
            connection,
            "SELECT coalesce(sum(n) FILTER (partner IS NULL), 0), sum(n), "
            "count(*) FILTER (partner IS NULL), count(*), count(partner) FROM "
            f"(SELECT {column} AS key, count(*) AS n FROM user_behavior GROUP BY key) LEFT JOIN "
            f"(SELECT {column} AS partner FROM {table}) ON key = partner",
        )
        rows = _one(connection, f"SELECT count(*) FROM {table}")[0]
        fact = {
            "table": table,
            "events_lost": float(lost / events),
            "names_lost": names_lost / names,
            "rows": rows,
            "never_seen": rows - met,
        }
        facts.append(fact)
        if fact["events_lost"] > _LOST[table]:
            found.append(_lost(fact, column))
    return facts, found


def _lost(fact: Facts, column: str) -> Finding:
    text = (
        f"{percent(fact['events_lost'])} of the events have no row in {fact['table']}. Are rows "
        f"missing there, or is {column} written in another way (leading zeros, blanks, letters)?"
    )
    return Finding("joins", f"events without a row in {fact['table']}", text)


def queries(staged: Staged, connection: duckdb.DuckDBPyConnection) -> Facts:
    """Return how much is searched: counts only, never a query.

    Returns:
        ``share`` of the events with a query, ``distinct`` queries and ``once`` (share of them
        that occur a single time); nothing where the log has no queries.
    """
    if "query" not in staged.columns("user_behavior"):
        return {}
    events, distinct, once = _one(
        connection,
        "SELECT coalesce(sum(n), 0), count(*), count(*) FILTER (n = 1) FROM (SELECT query, "
        "count(*) AS n FROM user_behavior WHERE query IS NOT NULL GROUP BY query)",
    )
    rows = _one(connection, "SELECT count(*) FROM user_behavior")[0]
    if not distinct:
        return {}
    return {"share": float(events / rows), "distinct": distinct, "once": once / distinct}


def prices(
    staged: Staged, connection: duckdb.DuckDBPyConnection
) -> tuple[list[Facts], list[Finding]]:
    """Return how the prices lie.

    Returns:
        One entry a table with known prices: ``table``, ``known``, ``zero`` (shares of the
        rows, and of the known), ``lowest``, ``q25``, ``median``, ``q75``, ``q99``,
        ``highest`` (about, in a large table), ``outliers`` (prices above 1,000 times the
        median of those above zero) and ``negative`` (rows that were dropped for it); and what
        to look at.
    """
    facts, found = [], []
    for table in ("user_behavior", "product_features"):
        if "price" not in staged.columns(table):
            continue
        fact = _price_facts(connection, table)
        if fact["known"]:
            facts.append({"table": table, **fact, "negative": _negative(staged, table)})
            found += _price_findings(facts[-1])
    return facts, found


def _price_facts(connection: duckdb.DuckDBPyConnection, table: str) -> Facts:
    rows = _one(connection, f"SELECT count(*) FROM {table}")[0]
    call = "approx_quantile(price, {})" if rows > MANY else "quantile_disc(price, {})"
    quantiles = ", ".join(call.format(q) for q in (0.25, 0.5, 0.75, 0.99))
    known, zero, usual, lowest, highest, *values = _one(
        connection,
        "SELECT count(price), count(*) FILTER (price = 0), "
        f"{call.format(0.5)} FILTER (price > 0), min(price), max(price), {quantiles} FROM {table}",
    )
    above = f"SELECT count(*) FROM {table} WHERE price > {_FACTOR * float(usual or 0)!r}"
    return {
        "known": known / rows if rows else 0.0,
        "zero": zero / max(known, 1),
        "lowest": lowest,
        **dict(zip(("q25", "median", "q75", "q99"), values, strict=True)),
        "highest": highest,
        "outliers": _one(connection, above)[0],
    }


def _negative(staged: Staged, table: str) -> int:
    dropped = staged.facts["dropped"]
    return rows_of(dropped, kind=DropKind.MINIMUM, table=table, column="price")


def _price_findings(fact: Facts) -> list[Finding]:
    found = []
    if fact["outliers"]:
        text = (
            f"{fact['outliers']:,} prices of {fact['table']} are more than {_FACTOR:,} times the "
            "median. Another currency, a lost decimal point, or rows that are no products?"
        )
        found.append(Finding("prices", f"extreme prices in {fact['table']}", text))
    if fact["zero"] > _ZERO:
        text = (
            f"{percent(fact['zero'])} of the known prices of {fact['table']} are 0. If 0 stands "
            "for an unknown price, leave it empty: a mean price would be wrong."
        )
        found.append(Finding("prices", f"many prices of 0 in {fact['table']}", text))
    return found
