"""What the canonical tables must look like, and sentences for when they do not.

``data/schema.yaml`` states the canonical tables. This module reads it, checks
headers against it, and says what a task is. It knows nothing about where rows come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import yaml

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.base.words import listed, near_match, repeated

__all__ = [
    "MOST_KEPT",
    "MOST_STORED",
    "RESERVED",
    "Column",
    "MissingColumn",
    "Table",
    "Task",
    "canonical_tables",
    "check_columns",
    "check_width",
]

#: Names that samples give to columns of their own; a table's extra columns need other names.
RESERVED = (
    *("sample_id", "cutoff", "cutoff_day", "day", "role"),
    *("_place", "_digest", "_time"),
)

#: Columns of one table that are kept beside the canonical ones: each becomes a feature, and is
#: looked at in some milliseconds.
MOST_KEPT = 10_000
#: Columns that a stored table may have, kept or not.
MOST_STORED = 20_000


@dataclass(frozen=True)
class Column:
    """One column of a canonical table, as ``data/schema.yaml`` states it."""

    name: str
    type: str
    description: str
    needed: bool = False
    nullable: bool = False
    unique: bool = False
    values: tuple[str | int, ...] = ()
    minimum: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """One canonical table."""

    name: str
    description: str
    needed: bool
    columns: dict[str, Column]


@dataclass(frozen=True)
class Task:
    """What is predicted, from what, and how time is cut.

    Attributes:
        positive: event types that make an exposure a success.
        match_on: columns in which exposure and success must agree.
        within: pandas Timedelta text, or ``"period"``: up to the end of the
            exposure's own cutoff period.
        cutoff: ``"day"`` or ``"week"`` (from Monday); features see only rows
            before the start of the exposure's day or week.
        time_zone: IANA name; days and weeks begin at its midnight.
        history: event types that features may count.
        train_from, attribution_from, valid_from, test_from, end: ISO dates.
            Where the inner three are missing, exposures are split by shares of time.
        negatives: the log holds successes only, and so many other products are drawn for
            each; 0: the log holds what was shown, as impressions.
        negatives_from: ``"catalogue"``: evenly from all products on sale; ``"popular"``: as
            often as they are taken.
    """

    positive: tuple[str, ...] = ("click",)
    match_on: tuple[str, ...] = ("user_id", "item_id")
    within: str = "1D"
    cutoff: str = "day"
    time_zone: str = "UTC"
    history: tuple[str, ...] = ("click", "cart", "purchase")
    train_from: str | None = None
    attribution_from: str | None = None
    valid_from: str | None = None
    test_from: str | None = None
    end: str | None = None
    negatives: int = 0
    negatives_from: str = "catalogue"

    def borders(self) -> tuple[str, str, str] | None:
        """Return the first days of attribution, valid and test, or None."""
        attribution, valid, test = self.attribution_from, self.valid_from, self.test_from
        return (attribution, valid, test) if attribution and valid and test else None


@cache
def canonical_tables() -> dict[str, Table]:
    """Return the canonical tables by name.

    Example:
        >>> list(canonical_tables())
        ['user_behavior', 'product_features', 'users']
    """
    stated = yaml.safe_load((DATA / "schema.yaml").read_text(encoding="utf-8"))["tables"]
    return {
        name: Table(
            name,
            table["description"],
            table["needed"],
            {
                column: Column(column, **{**facts, "values": tuple(facts.get("values", ()))})
                for column, facts in table["columns"].items()
            },
        )
        for name, table in stated.items()
    }


def check_width(columns: int, where: str) -> None:
    """Refuse a stored table of more columns than :data:`MOST_STORED`.

    Raises:
        DataError: it has more.
    """
    if columns > MOST_STORED:
        raise DataError(
            f"{where}: the table has {columns:,} columns, and at most {MOST_STORED:,} are read; "
            "leave columns out of it that no model should see."
        )


class MissingColumn(DataError):
    """A table lacks a column that it needs; whoever maps columns can add how to map one."""


def check_columns(table: Table, columns: list[str], *, where: str) -> None:
    """Check a header against a canonical table.

    Args:
        table: what is wanted.
        columns: the header, in the file's order.
        where: the file or table, named in the message.

    A log whose rows carry a ``label`` holds exposures only, and needs no ``event_type``.

    Raises:
        MissingColumn: a needed one is missing.
        DataError: a column appears twice, or an extra one has a name that samples use themselves.

    Example:
        >>> check_columns(canonical_tables()["users"], ["user"], where="users.csv")
        Traceback (most recent call last):
            ...
        helpers.schema.MissingColumn: users.csv: column "user_id" is missing; it has user. Did ...
    """
    twice = repeated(columns)
    if twice:
        raise DataError(f'{where}: column "{twice[0]:.80}" appears twice; rename or remove one.')
    there = {*columns}
    for name in RESERVED:
        if name in there:
            raise DataError(
                f'{where}: the samples have a column "{name}" of their own; rename or remove it.'
            )
    for column in table.columns.values():
        told = column.name == "event_type" and "label" in there
        if column.needed and column.name not in there and not told:
            raise MissingColumn(
                f'{where}: column "{column.name}" is missing; it has {listed(columns)}.'
                f"{_rename_hint(column.name, columns)}"
            )


def _rename_hint(name: str, columns: list[str]) -> str:
    if len(columns) == 1:
        for delimiter in (";", "\t", "|"):
            if delimiter in columns[0]:
                return f" The header is separated by {delimiter!r}; write the file with commas."
    known = {c for table in canonical_tables().values() for c in table.columns}
    unused = [c for c in columns if c not in known]
    hint = near_match(name, unused)
    return f"{hint} Rename it to {name}." if hint else f' Add a column "{name}".'
