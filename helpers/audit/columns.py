"""What the columns hold: missing values, keys, prices, and rows without a partner."""

from __future__ import annotations

from typing import Any

import duckdb

from helpers.assembly import name_sql
from helpers.audit.finding import Finding, percent
from helpers.audit.log import MANY
from helpers.schema import canonical_tables
from helpers.staging import Staged

__all__ = ["column_facts", "joins", "keys", "prices", "queries"]

Facts = dict[str, Any]
_AT_ONCE = 20  # columns that one query looks at
_FACTOR = 1000  # a price so many times the median is an outlier
#: Users need no attributes, products do: their categories and prices are features.
_LOST = {"product_features": 0.05, "users": 0.5}
_ZERO = 0.05
_AGAIN = 0.2


def column_facts(staged: Staged, connection: duckdb.DuckDBPyConnection, table: str) -> list[Facts]:
    """Return for each column of a table how much is missing, and how many values it has.

    Returns:
        ``column``, ``missing`` (share of the rows), ``distinct`` (about, in a large table) and
        ``remark``: ``empty``, ``constant``, ``one value a row``, or nothing.
    """
    names = [n for n in staged.columns(table) if (table, n) != ("user_behavior", "day")]
    rows = _one(connection, f"SELECT count(*) FROM {table}")[0]
    distinct = "approx_count_distinct({})" if rows > MANY else "count(DISTINCT {})"
    facts = []
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        asked = [f"count({name_sql(n)}), {distinct.format(name_sql(n))}" for n in some]
        found = _one(connection, f"SELECT {', '.join(asked)} FROM {table}")
        for name, known, values in zip(some, found[::2], found[1::2], strict=True):
            stated = canonical_tables()[table].columns.get(name)
            if stated and stated.unique:
                values = known  # staging has dropped the repeats
            elif rows > MANY and values > 0.9 * rows:
                exact = f"SELECT count(DISTINCT {name_sql(name)}) FROM {table}"
                (values,) = _one(connection, exact)
            facts.append(
                {
                    "column": name,
                    "missing": 1 - known / rows if rows else float("nan"),
                    "distinct": values,
                    "remark": _remark(rows, known, values),
                }
            )
    return facts


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


def joins(
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
    return sum(
        entry["rows"]
        for entry in staged.facts["dropped"]
        if entry["table"] == table and entry["reason"].startswith("price is below")
    )


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
