"""The sentences that say why a row is dropped: words for people, from which nothing is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from helpers.data.dropped import DropKind
from helpers.data.schema_file import SchemaFile, StoredTable
from helpers.schema import Column, canonical_tables

__all__ = ["COPY", "ZERO", "reasons", "with_kinds"]

#: What a program writes that knows no time.
ZERO = pd.Timestamp("1970-01-01", tz="UTC")
#: Why a copy is dropped.
COPY = "exact copy of an earlier row"


def reasons(
    column: Column, *, allowed: Iterable[str] = (), time_format: str = ""
) -> dict[DropKind, str]:
    """Return what to say of each fault that a value of a column can have.

    Args:
        column: the canonical one.
        allowed: the values that may stand in it.
        time_format: how times are written.

    Example:
        >>> from helpers.schema import canonical_tables
        >>> column = canonical_tables()["user_behavior"].columns["price"]
        >>> reasons(column)[DropKind.MINIMUM]
        'price is below 0'
    """
    name = column.name
    types = {"number": "a number", "integer": "a whole number", "time": f"a time ({time_format})"}
    values = "0 or 1" if name == "label" else f"one of {', '.join(allowed)}"
    return {
        DropKind.EMPTY: f"{name} is empty",
        DropKind.TYPE: f"{name} is not {types.get(column.type, 'text')}",
        DropKind.VALUE: f"{name} is not {values}",
        DropKind.MAXIMUM: f"{name} is too large to be exact",
        DropKind.MINIMUM: f"{name} is below {column.minimum}",
        DropKind.ZERO: f"{name} is {ZERO:%Y-%m-%d}, no time",
        DropKind.FUTURE: f"{name} is in the future",
        DropKind.REPEAT: f"{name} was seen before",
    }


def with_kinds(
    dropped: Iterable[Mapping[str, Any]], schema_file: SchemaFile
) -> list[dict[str, Any]]:
    """Return counts of dropped rows with their kinds, also those that were kept without.

    An earlier version kept the sentences only. A sentence is looked up whole among all that can
    be said of the tables as they are mapped; one that is not among them was said of a line of a
    file. This is the only place where a kind comes from a sentence.

    Args:
        dropped: rows of ``table, reason, rows``, perhaps with ``kind`` and ``column``.
        schema_file: what the tables were read by.

    Example:
        >>> from helpers.schema import Task
        >>> mapped = SchemaFile({"users": (StoredTable("users"),)}, Task())
        >>> old = {"table": "users", "reason": "user_id was seen before", "rows": 2}
        >>> [(row["kind"], row["column"]) for row in with_kinds([old], mapped)]
        [('repeat', 'user_id')]
    """
    known = {
        (part.table, sentence): found
        for parts in schema_file.parts.values()
        for part in parts
        for sentence, found in _sentences(part).items()
    }
    unknown = (DropKind.UNREADABLE, "")
    kept = []
    for row in dropped:
        kind, column = known.get((str(row.get("table")), str(row.get("reason"))), unknown)
        kept.append({"kind": str(kind), "column": column, **row})
    return kept


def _sentences(part: StoredTable) -> dict[str, tuple[DropKind, str]]:
    """Return the kind and the column of all that can be said of the rows of a stored table."""
    found = {COPY: (DropKind.COPY, "")}
    for name, column in canonical_tables()[part.table].columns.items():
        words = reasons(column, allowed=map(str, column.values), time_format=part.time_format)
        found |= {sentence: (kind, name) for kind, sentence in words.items()}
    rules = {rule.reason: (DropKind.RULE, rule.column) for rule in part.leave_out}
    return rules | found
