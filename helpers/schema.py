"""What the tables must look like, and sentences for when they do not.

``data/schema.yaml`` states the canonical tables. This module reads it, checks a
frame against it and casts its columns, so that every source delivers the same
types. It knows nothing about where rows come from.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

__all__ = [
    "DATA",
    "REPO",
    "Column",
    "DataError",
    "Table",
    "Task",
    "canonical_tables",
    "check_columns",
    "clean_rows",
    "near_match",
    "read_task",
]

#: The repository's root, and its folder of bundled data.
REPO = Path(__file__).resolve().parent.parent
DATA = REPO / "data"


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
        DataError: a column appears twice, or a needed one is missing.
    """
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise DataError(f'{where}: column "{twice[0]}" appears twice; rename or remove one.')
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


def clean_rows(
    table: Table, frame: pd.DataFrame, *, where: str, time_zone: str, max_bad_share: float = 0.2
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cast a frame to the table's types and drop the rows that do not fit.

    Args:
        table: the canonical table.
        frame: rows as read; columns the table does not name are kept as they are.
        where: the file or table, named in messages.
        time_zone: zone of the times that name none.
        max_bad_share: more bad rows than this share stop the run.

    Returns:
        The clean rows in their order, with a new index, and a frame
        ``table, reason, rows`` that counts what was dropped (possibly empty).

    Raises:
        DataError: no rows at all, none left, or too many bad ones.
    """
    if frame.empty:
        raise DataError(f"{where}: there is a header but no row; fill the table and start again.")
    frame = frame.copy(deep=False)
    bad: dict[str, np.ndarray] = {}
    for name, column in table.columns.items():
        if name not in frame:
            continue
        given = frame[name].notna().to_numpy()
        frame[name] = _cast(frame[name], column, time_zone)
        present = frame[name].notna().to_numpy()
        if not column.nullable:
            bad[f"{name} is empty"] = ~given
        bad[f"{name} is not {_kind(column)}"] = given & ~present
        bad |= _rule_breaks(frame[name], column)
    return _drop_bad(frame, bad, table.name, where, max_bad_share)


def _rule_breaks(values: pd.Series, column: Column) -> dict[str, np.ndarray]:
    """Return, by reason, which present values break the column's rules."""
    present = values.notna().to_numpy()
    broken = {}
    if column.values:
        allowed = ", ".join(column.values)
        broken[f"{column.name} is not one of {allowed}"] = (
            present & ~values.isin(column.values).to_numpy()
        )
    if column.minimum is not None:
        number = pd.to_numeric(values, errors="coerce").fillna(column.minimum).to_numpy()
        broken[f"{column.name} is below {column.minimum}"] = number < column.minimum
    if column.unique:
        broken[f"{column.name} was seen before"] = present & values.duplicated().to_numpy()
    return broken


def _cast(values: pd.Series, column: Column, time_zone: str) -> pd.Series:
    """Return the values in the column's type; what cannot be read becomes missing."""
    if column.type == "time":
        return _cast_time(values, time_zone)
    if column.type in ("number", "integer"):
        number = pd.to_numeric(values, errors="coerce").astype("float64")
        number = number.where(np.isfinite(number))
        return number.where(number == number.round()) if column.type == "integer" else number
    if pd.api.types.is_integer_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype):
        return values
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        return values.astype("Int64")  # whole numbers that pandas widened because one is missing
    text = values.astype("str").where(values.notna())
    return text.str.strip() if column.type in ("category", "id") else text


def _cast_time(values: pd.Series, time_zone: str) -> pd.Series:
    """Return UTC times; a time that names no zone is taken to be in ``time_zone``."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC")
    if not pd.api.types.is_datetime64_dtype(values):
        text = values.astype("str").str.strip()
        zoned = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True, na=False)
        if zoned.all():
            return pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
        if zoned.any():  # mixed: each kind by its own rule
            parts = [_cast_time(text[zoned], time_zone), _cast_time(text[~zoned], time_zone)]
            return pd.concat(parts).reindex(values.index)
        values = pd.to_datetime(text, format="ISO8601", errors="coerce")
    local = values.dt.tz_localize(time_zone, ambiguous=False, nonexistent="shift_forward")
    return local.dt.tz_convert("UTC")


def _kind(column: Column) -> str:
    return {"time": "a time (ISO 8601)", "number": "a number", "integer": "a whole number"}.get(
        column.type, "text"
    )


def _drop_bad(
    frame: pd.DataFrame, bad: dict[str, np.ndarray], table: str, where: str, max_bad_share: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop the marked rows; each is counted under its first reason only."""
    dropped = np.zeros(len(frame), dtype=bool)
    counts = []
    for reason, rows in bad.items():
        first = rows & ~dropped
        dropped |= rows
        if first.any():
            counts.append({"table": table, "reason": reason, "rows": int(first.sum())})
    report = pd.DataFrame(counts, columns=["table", "reason", "rows"])
    if dropped.mean() > max_bad_share:
        worst = report.sort_values("rows").iloc[-1]
        line = int(np.flatnonzero(bad[worst.reason])[0]) + 2  # line 1 is the header
        raise DataError(
            f"{where}: {int(dropped.sum())} of {len(frame)} rows cannot be used, more than the "
            f"{max_bad_share:.0%} allowed. Most often {worst.reason} ({worst.rows} rows, the first "
            f"in line {line}). Correct the table and start again."
        )
    return frame[~dropped].reset_index(drop=True), report


_CUTOFFS = ("day", "week")
_ACTIONS = ("click", "cart", "purchase")  # what a user does, as against what is shown


def read_task(path: Path, default: Task) -> Task:
    """Return ``default`` changed by the ``task:`` section of a ``schema.yaml``.

    Args:
        path: the file; a missing file leaves the default as it is.
        default: the task to start from.

    Raises:
        DataError: the file is not YAML, or a line of it is unknown or wrong.
    """
    if not path.exists():
        return default
    try:
        stated = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("task") or {}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path.name}: this is not a readable YAML file: {reason}") from None
    if not isinstance(stated, dict):
        raise DataError(f"{path.name}: task must be lines of `name: value`; got {stated!r}.")
    known = {f.name for f in fields(Task)}
    for name in stated:
        if name not in known:
            hint = near_match(name, known)
            raise DataError(f'{path.name}: task has an unknown line "{name}".{hint}')
    return replace(default, **{k: _task_value(path.name, k, v) for k, v in stated.items()})


def _task_value(where: str, name: str, value: Any) -> Any:
    """Return one line of the task in its type, or say what is wrong with it."""
    if name in ("positive", "match_on", "history"):
        values = tuple(value) if isinstance(value, list) else (str(value),)
        allowed = (
            list(canonical_tables()["user_behavior"].columns) if name == "match_on" else _ACTIONS
        )
        for one in values:
            if one not in allowed:
                raise DataError(
                    f"{where}: task.{name} has {one!r}; it may hold {', '.join(allowed)}."
                    f"{near_match(one, allowed)}"
                )
        return values
    if name == "cutoff" and value not in _CUTOFFS:
        raise DataError(f"{where}: task.cutoff must be day or week; got {value!r}.")
    if name == "within" and value != "period" and not _reads(pd.Timedelta, value):
        raise DataError(
            f'{where}: task.within must be a time such as 1h, or "period"; got {value}.'
        )
    if name == "time_zone" and not _reads(lambda z: pd.Timestamp("2020-01-01", tz=z), value):
        raise DataError(f"{where}: task.time_zone {value!r} is unknown; use a name such as UTC.")
    if (name == "end" or name.endswith("_from")) and not _reads(pd.Timestamp, value):
        raise DataError(f"{where}: task.{name} must be a date such as 2024-05-31; got {value!r}.")
    return str(value)


def _reads(parse: Any, value: Any) -> bool:
    try:
        parse(value)
    except (ValueError, TypeError, KeyError):
        return False
    return True
