"""Which stored column fills which canonical one, settled once for each header."""

from __future__ import annotations

import re
from dataclasses import dataclass

from helpers.base.errors import DataError
from helpers.base.words import listed, near_match, repeated
from helpers.data.schema_file import StoredTable
from helpers.schema import (
    MOST_KEPT,
    RESERVED,
    Column,
    MissingColumn,
    Table,
    canonical_tables,
    check_columns,
)

__all__ = ["ColumnSource", "ColumnSources", "plan_columns", "resolve"]

#: Names of columns that tables have on their way in; staging adds them.
_OWN = {"_place", "_digest", "_time"}
#: Digits with marks between them: a number, a date, a time.
_VALUE = re.compile(r"[-+]?[0-9][-+0-9.,:/TZ ]*")


@dataclass(frozen=True)
class ColumnSource:
    """What fills a canonical column.

    Attributes:
        column: the canonical column.
        stored: the stored columns, joined by a blank.
        constant: the value of every row, where no column is stored.
        allowed: the values that may stand in it; empty: any.
    """

    column: Column
    stored: tuple[str, ...] = ()
    constant: str = ""
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnSources:
    """What fills the canonical columns, and which further columns are kept."""

    sources: tuple[ColumnSource, ...]
    extra: tuple[str, ...]


def resolve(part: StoredTable, names: list[str], where: str) -> ColumnSources:
    """Return what fills each column, after a look at a header.

    Args:
        part: what is stored where.
        names: the header.
        where: the file or table, named in messages.

    Raises:
        DataError: a column is missing, appears twice, or has a name that samples use.

    Example:
        >>> part = StoredTable("users", columns={"user_id": ("CustomerID",)})
        >>> resolve(part, ["CustomerID", "Country"], "customers.csv").sources[0].stored
        ('CustomerID',)
    """
    table = canonical_tables()[part.table]
    _check_first_line(table, part, names, where)
    _check_stated(part, names, where)
    if part.columns:
        _check_mapped(table, part, names, where)
    else:
        _check_canonical(table, part, names, where)
    plan = plan_columns(part, names)
    _check_kept(plan, where)
    _check_case(table, plan, where)
    return plan


def plan_columns(part: StoredTable, names: list[str]) -> ColumnSources:
    """Return what fills each column that is there, without a check."""
    table = canonical_tables()[part.table]
    there = {*names}
    columns = part.columns or {name: (name,) for name in table.columns if name in there}
    labelled = "label" in columns
    event_type = part.event_type or ("impression" if labelled else "")
    sources = []
    for name, column in table.columns.items():
        allowed = tuple(str(value) for value in column.values)
        if name == "event_type" and labelled:
            allowed = ("impression",)
        if name == "event_type" and event_type and name not in columns:
            sources.append(ColumnSource(column, constant=event_type, allowed=allowed))
        elif name in columns:
            sources.append(ColumnSource(column, columns[name], allowed=allowed))
    return ColumnSources(tuple(sources), _extra(part, names, table))


def _extra(part: StoredTable, names: list[str], table: Table) -> tuple[str, ...]:
    if part.extra is not None:
        return part.extra
    mapped = {stored for several in part.columns.values() for stored in several}
    return tuple(n for n in names if n not in mapped and n not in table.columns)


def _check_first_line(table: Table, part: StoredTable, names: list[str], where: str) -> None:
    """Refuse a file without a header, and show none of it: its values may name a person."""
    if names and names[0][:1] in ("{", "["):
        raise DataError(
            f"{where}: the first line holds JSON and no names of columns; convert the table to CSV "
            "or Parquet."
        )
    wanted = [stored for several in part.columns.values() for stored in several] or [*table.columns]
    if not {*wanted}.isdisjoint(names) or not any(map(_VALUE.fullmatch, names)):
        return
    raise DataError(
        f'{where}: column "{wanted[0] if part.columns else _first_needed(table)}" is missing; the '
        "first line seems to hold values and no names. Write the names of the columns above it."
    )


def _first_needed(table: Table) -> str:
    return next(column.name for column in table.columns.values() if column.needed)


def _check_kept(plan: ColumnSources, where: str) -> None:
    """Refuse more further columns than can be looked at."""
    if len(plan.extra) > MOST_KEPT:
        raise DataError(
            f"{where}: {len(plan.extra):,} columns would be kept beside the canonical ones, and at "
            f"most {MOST_KEPT:,} can be, as each becomes a feature; list under extra in "
            "schema.yaml which to keep, or leave columns out of the table."
        )


def _check_case(table: Table, plan: ColumnSources, where: str) -> None:
    """Refuse further columns that only a difference in case tells from another one."""
    own = _OWN | ({"day"} if table.name == "user_behavior" else set())
    seen = {name.lower(): name for name in table.columns}
    for name in plan.extra:
        known = seen.get(name.lower())
        if name.lower() in own:
            raise DataError(
                f'{where}: the workbook makes a column "{name.lower()}" itself, so "{name:.80}" '
                "cannot be kept; rename or remove it, or list under extra in schema.yaml which to "
                "keep."
            )
        if known:
            same = f" ({known}, if it means the same)" if known in table.columns else ""
            raise DataError(
                f'{where}: column "{name:.80}" differs from "{known:.80}" in case only; rename '
                f"it{same}, or list under extra in schema.yaml which columns to keep."
            )
        seen[name.lower()] = name


def _check_stated(part: StoredTable, names: list[str], where: str) -> None:
    """Refuse a header that lacks a column which schema.yaml names."""
    stated = [(s, f"maps it to {name}") for name, several in part.columns.items() for s in several]
    stated += [(name, "keeps it as extra") for name in part.extra or ()]
    stated += [(rule.column, "looks at it in leave_out") for rule in part.leave_out]
    line = f"schema.yaml, line {part.line}," if part.line else "schema.yaml"
    there = {*names}
    for name, what in stated:
        if name not in there:
            raise DataError(
                f'{where}: column "{name:.80}" is missing, and {line} {what} ({part.table}); '
                f"it has {listed(names)}.{near_match(name, names)} Correct the name in schema.yaml."
            )


def _check_mapped(table: Table, part: StoredTable, names: list[str], where: str) -> None:
    plan = plan_columns(part, names)
    used = [s for source in plan.sources for s in source.stored] + [*plan.extra]
    several = {*repeated(names)}
    twice = [n for n in used if n in several]
    if twice:
        raise DataError(f'{where}: column "{twice[0]:.80}" appears twice; rename or remove one.')
    for name in plan.extra:
        if name in RESERVED:
            raise DataError(
                f'{where}: the samples have a column "{name}" of their own; rename it, or list '
                "under extra in schema.yaml which columns to keep."
            )
    for column in table.columns.values():
        if column.needed and column.name not in {s.column.name for s in plan.sources}:
            raise DataError(
                f"{where}: no column is mapped to {column.name} ({column.description}); name one "
                f"in schema.yaml under {table.name}.columns."
            )


def _check_canonical(table: Table, part: StoredTable, names: list[str], where: str) -> None:
    ignored = () if part.extra is None else {*RESERVED} - {*part.extra}
    header = [n for n in names if n not in ignored]
    if part.event_type and "event_type" in names:
        raise DataError(
            f'{where}: there is a column "event_type", but schema.yaml states event_type: '
            f"{part.event_type} for every row; remove that line, or rename the column."
        )
    stated = ["event_type"] if part.event_type else []
    try:
        check_columns(table, [*header, *stated], where=where)
    except MissingColumn as error:
        raise DataError(
            f"{error} Or map your columns in schema.yaml under {table.name}.columns."
        ) from None
