"""Rows that do not come through, counted by kind: the one place where the kinds stand.

A reason is a sentence for people: it holds names of columns, values and rules of a person's own,
so nothing is ever read off it. What a program must know stands beside it: the kind, and the
column that is at fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import pandas as pd

__all__ = [
    "COLUMNS",
    "DropGroup",
    "DropKind",
    "Dropped",
    "dropped_rows",
    "dropped_table",
    "group_of",
    "rows_of",
]


class DropGroup(StrEnum):
    """What follows from a dropped row."""

    RULE = "rule"
    COPY = "copy"
    FAULT = "fault"
    NO_SAMPLE = "no sample"


class DropKind(StrEnum):
    """Why a row was dropped.

    A row of a table is dropped for a fault, as a copy, or by a rule; a row of a good table can
    still give no sample.
    """

    RULE = "rule"
    COPY = "copy"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    TYPE = "type"
    VALUE = "value"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    ZERO = "zero"
    FUTURE = "future"
    REPEAT = "repeat"
    OUTSIDE = "outside"
    CROSSING = "crossing"
    NO_STORE = "no store"
    ALONE = "alone"

    @property
    def group(self) -> DropGroup:
        """What follows from it."""
        return _GROUPS.get(self, DropGroup.FAULT)

    @property
    def meaning(self) -> str:
        """The kind in words, for a legend."""
        return _MEANINGS[self]


_GROUPS = {
    DropKind.RULE: DropGroup.RULE,
    DropKind.COPY: DropGroup.COPY,
    DropKind.OUTSIDE: DropGroup.NO_SAMPLE,
    DropKind.CROSSING: DropGroup.NO_SAMPLE,
    DropKind.NO_STORE: DropGroup.NO_SAMPLE,
    DropKind.ALONE: DropGroup.NO_SAMPLE,
}
_MEANINGS = {
    DropKind.RULE: "a rule under leave_out fits it",
    DropKind.COPY: "all of its values are those of an earlier row",
    DropKind.UNREADABLE: "the file's line is no row of the table",
    DropKind.EMPTY: "a value that must be there is not",
    DropKind.TYPE: "a value is not of its column's type",
    DropKind.VALUE: "a value is none of those that are allowed",
    DropKind.MAXIMUM: "a number is too large to be exact",
    DropKind.MINIMUM: "a number is below the least that is allowed",
    DropKind.ZERO: "a time is the zero of computers, which stands for none",
    DropKind.FUTURE: "a time is in the future",
    DropKind.REPEAT: "an earlier row has the same name, which only one may have",
    DropKind.OUTSIDE: "it lies outside the period that is used",
    DropKind.CROSSING: "its label window crosses a role",
    DropKind.NO_STORE: "it names no store, and stores are matched on",
    DropKind.ALONE: "nothing else tells that its product was on sale",
}


class Dropped(NamedTuple):
    """Rows of a table that were dropped for one reason.

    Attributes:
        table: the canonical table.
        kind: why, for programs.
        column: that is at fault, under its canonical name; of a rule the stored column; empty
            where it is the whole row.
        reason: why, in words, for people.
        rows: how many.
    """

    table: str
    kind: DropKind
    column: str
    reason: str
    rows: int


#: The columns of a table of dropped rows.
COLUMNS = Dropped._fields


def dropped_table(dropped: Iterable[Dropped | Mapping[str, Any]] = ()) -> pd.DataFrame:
    """Return a table of dropped rows: ``table, kind, column, reason, rows``.

    Args:
        dropped: counts; or the same by name, as they are kept in a file.

    Example:
        >>> one = Dropped("users", DropKind.EMPTY, "user_id", "user_id is empty", 2)
        >>> dropped_table([one]).to_dict("records")[0]["kind"], len(dropped_table())
        ('empty', 0)
    """
    return pd.DataFrame(dropped_rows(dropped), columns=list(COLUMNS)).astype({"rows": "int64"})


def dropped_rows(dropped: Iterable[Dropped | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of :func:`dropped_table` as plain values, fit for a file.

    Example:
        >>> dropped_rows([Dropped("users", DropKind.COPY, "", "a copy", 2)])[0]["kind"]
        'copy'
    """
    rows = [one if isinstance(one, Mapping) else one._asdict() for one in dropped]
    return [{**row, "kind": DropKind(row["kind"]).value} for row in rows]


def group_of(row: Mapping[str, Any]) -> DropGroup:
    """Return the group of one row of a table of dropped rows.

    Raises:
        ValueError: its kind is none of :class:`DropKind`.

    Example:
        >>> str(group_of({"kind": "copy"})), str(group_of({"kind": "future"}))
        ('copy', 'fault')
    """
    return DropKind(row["kind"]).group


def rows_of(
    dropped: Iterable[Mapping[str, Any]],
    *,
    kind: DropKind,
    table: str | None = None,
    column: str | None = None,
) -> int:
    """Return how many rows were dropped for one kind of reason.

    Args:
        dropped: rows of a table of dropped rows.
        kind: of the reason.
        table: only of this one; None: of all.
        column: only where this one is at fault; None: whichever is.

    Example:
        >>> rows = dropped_rows([Dropped("users", DropKind.REPEAT, "user_id", "again", 3)])
        >>> rows_of(rows, kind=DropKind.REPEAT), rows_of(rows, kind=DropKind.FUTURE)
        (3, 0)
    """
    return sum(
        row["rows"]
        for row in dropped
        if row["kind"] == kind
        and (table is None or row["table"] == table)
        and (column is None or row["column"] == column)
    )
