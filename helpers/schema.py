"""What the tables must look like, and sentences for when they do not.

``data/schema.yaml`` states the canonical tables. This module reads it, checks
headers against it, and reads the task that a folder of tables states. It knows
nothing about where rows come from.
"""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

__all__ = [
    "DATA",
    "REPO",
    "RESERVED",
    "Column",
    "DataError",
    "Table",
    "Task",
    "canonical_tables",
    "check_columns",
    "near_match",
    "read_task",
]

#: The repository's root, and its folder of bundled data.
REPO = Path(__file__).resolve().parent.parent
DATA = REPO / "data"


#: Names that samples give to columns of their own; a table's extra columns need other names.
RESERVED = ("sample_id", "cutoff", "cutoff_day", "day", "role", "label")


class DataError(ValueError):
    """Bad input of a person: its message says what, where and what to do."""


@dataclass(frozen=True)
class Column:
    """One column of a canonical table, as ``data/schema.yaml`` states it."""

    name: str
    type: str
    description: str
    needed: bool = False
    nullable: bool = False
    unique: bool = False
    values: tuple[str, ...] = ()
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

    def borders(self) -> tuple[str, str, str] | None:
        """Return the first days of attribution, valid and test, or None."""
        days = (self.attribution_from, self.valid_from, self.test_from)
        return days if all(days) else None  # type: ignore[return-value]


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


def near_match(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean "x"?`` for the closest known name, or an empty text.

    Example:
        >>> near_match("user", ["user_id", "item_id"])
        ' Did you mean "user_id"?'
    """
    known = [str(k) for k in known]
    found = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f' Did you mean "{found[0]}"?' if found else ""


def check_columns(table: Table, columns: list[str], *, where: str) -> None:
    """Check a header against a canonical table.

    Args:
        table: what is wanted.
        columns: the header, in the file's order.
        where: the file or table, named in the message.

    Raises:
        DataError: a column appears twice, a needed one is missing, or an extra
            one has a name that samples use themselves.

    Example:
        >>> check_columns(canonical_tables()["users"], ["user"], where="users.csv")
        Traceback (most recent call last):
            ...
        helpers.schema.DataError: users.csv: column "user_id" is missing; it has user. Did you ...
    """
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise DataError(f'{where}: column "{twice[0]}" appears twice; rename or remove one.')
    for name in RESERVED:
        if name in columns:
            raise DataError(
                f'{where}: the samples have a column "{name}" of their own; rename or remove it.'
            )
    for column in table.columns.values():
        if column.needed and column.name not in columns:
            raise DataError(
                f'{where}: column "{column.name}" is missing; it has {", ".join(columns)}.'
                f"{_rename_hint(column.name, columns)}"
            )


def _rename_hint(name: str, columns: list[str]) -> str:
    if len(columns) == 1:
        for delimiter in (";", "\t", "|"):
            if delimiter in columns[0]:
                return f" The header is separated by {delimiter!r}; write the file with commas."
    unused = [c for c in columns if all(c not in t.columns for t in canonical_tables().values())]
    hint = near_match(name, unused)
    return f"{hint} Rename it to {name}." if hint else f' Add a column "{name}".'


_ACTIONS = ("click", "cart", "purchase")  # what a user does, as against what is shown
_MATCHES = ("user_id", "item_id", "list_id", "session_id", "query", "store_id")
_DATES = ("train_from", "attribution_from", "valid_from", "test_from", "end")


def read_task(path: Path, default: Task) -> Task:
    """Return ``default`` changed by the ``task:`` section of a ``schema.yaml``.

    Args:
        path: the file; a missing file leaves the default as it is.
        default: the task to start from.

    Raises:
        DataError: the file is not YAML, a line of it is unknown or wrong, or
            only some of the roles' dates are stated.

    Example:
        >>> read_task(DATA / "sample" / "schema.yaml", Task()).within
        '1h'
    """
    if not path.exists():
        return default
    stated = _section(path)
    _check_lines(path.name, "task", stated, [f.name for f in fields(Task)])
    values = {k: _task_value(path.name, k, v) for k, v in stated.items() if v is not None}
    task = replace(default, **values)
    days = (task.attribution_from, task.valid_from, task.test_from)
    if any(days) and not all(days):
        raise DataError(
            f"{path.name}: task states some of attribution_from, valid_from and test_from; state "
            "all three, or none to split by shares of time."
        )
    return task


def _section(path: Path) -> Any:
    """Return the lines under ``task:``."""
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path.name}: this is not a readable YAML file: {reason}") from None
    _check_lines(path.name, "the file", stated, ["task"])
    return stated.get("task") or {}


def _check_lines(where: str, what: str, stated: Any, known: list[str]) -> None:
    if not isinstance(stated, dict):
        raise DataError(f"{where}: {what} must be lines of `name: value`; got {stated!r:.80}.")
    for name in stated:
        if name not in known:
            raise DataError(
                f'{where}: {what} has an unknown line "{name}"; it may have {", ".join(known)}.'
                f"{near_match(name, known)}"
            )


def _task_value(where: str, name: str, value: Any) -> Any:
    """Return one line of the task in its type, or say what is wrong with it."""
    if name in ("positive", "match_on", "history"):
        allowed = _MATCHES if name == "match_on" else _ACTIONS
        return _names(f"{where}: task.{name}", value, allowed)
    if name == "cutoff" and value not in ("day", "week"):
        raise DataError(f"{where}: task.cutoff must be day or week; got {value!r}.")
    if name == "within" and value != "period" and not _is_span(value):
        raise DataError(
            f'{where}: task.within must be a time with its unit, such as 1h or 7D, or "period"; '
            f"got {value!r}."
        )
    if name == "time_zone" and str(value) not in zoneinfo.available_timezones():
        hint = near_match(value, zoneinfo.available_timezones())
        raise DataError(
            f"{where}: task.time_zone {value!r} is unknown; use a name such as Asia/Shanghai.{hint}"
        )
    if name in _DATES and not _is_date(value):
        raise DataError(f"{where}: task.{name} must be a date such as 2024-05-31; got {value!r}.")
    return str(value)


def _names(where: str, value: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    values = tuple(value) if isinstance(value, list) else (value,)
    for one in values or [value]:
        if one not in allowed:
            raise DataError(
                f"{where} has {one!r}; it may hold {', '.join(allowed)}.{near_match(one, allowed)}"
            )
    return values


def _is_span(value: Any) -> bool:
    """Whether a value is text of a time of 0 or more, with a unit."""
    if not isinstance(value, str) or value.strip().isdigit():
        return False  # pandas would take a bare number as nanoseconds
    try:
        return bool(pd.Timedelta(value) >= pd.Timedelta(0))
    except ValueError:
        return False


def _is_date(value: Any) -> bool:
    try:
        return str(date.fromisoformat(str(value))) == str(value)
    except ValueError:
        return False
