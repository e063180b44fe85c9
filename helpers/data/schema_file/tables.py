"""The sections of a ``schema.yaml`` on tables: what is stored where, and under which names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from helpers.base.words import near_match
from helpers.data.schema_file.nodes import Entry, shown_text
from helpers.data.schema_file.stated import StoredTable
from helpers.data.schema_file.values import (
    read_delimiter,
    read_encoding,
    read_files,
    read_format,
    read_rule,
    read_zone,
)
from helpers.schema import RESERVED, Table, canonical_tables

__all__ = ["DERIVED_KEYS", "PART_KEYS", "read_parts"]

_LOG = "user_behavior"


def _name(entry: Entry) -> str:
    return entry.text("a name")


#: Keys that stand for themselves: the field of a part, and what reads it.
_PLAIN: dict[str, tuple[str, Callable[[Entry], Any]]] = {
    "file": ("files", read_files),
    "table": ("stored_table", _name),
    "from": ("derived", lambda entry: entry.one_of([_LOG]) == _LOG),
    "encoding": ("encoding", read_encoding),
    "delimiter": ("delimiter", read_delimiter),
    "decimal": ("decimal", lambda entry: entry.one_of([".", ","])),
    "time_zone": ("time_zone", read_zone),
    "time_format": ("time_format", read_format),
    "event_type": ("event_type", lambda entry: entry.one_of(_event_types())),
    "duplicates": ("duplicates", lambda entry: entry.one_of(["drop", "keep"])),
}
#: What the section of a table may hold, and what it may hold with ``from``.
PART_KEYS = (*_PLAIN, "columns", "values", "extra", "leave_out")
DERIVED_KEYS = ("from", "columns", "values", "extra")


def _event_types() -> tuple[str, ...]:
    return tuple(str(value) for value in canonical_tables()[_LOG].columns["event_type"].values)


def read_parts(table: str, entry: Entry, log: tuple[StoredTable, ...]) -> tuple[StoredTable, ...]:
    """Return the parts of a canonical table.

    Args:
        table: the canonical name.
        entry: a section, or a list of sections.
        log: the parts of ``user_behavior``, once they are read.

    Raises:
        DataError: something in it is wrong.
    """
    parts = tuple(_part(canonical_tables()[table], one, log) for one in entry.entries())
    if len(parts) > 1 and any(part.derived for part in parts):
        raise entry.fault(f"is a list, but a table from {_LOG} has one section only")
    return parts


def _part(table: Table, entry: Entry, log: tuple[StoredTable, ...]) -> StoredTable:
    hints = {name: f"A column stands under {table.name}.columns." for name in table.columns} | {
        name: "It stands under task." for name in ("label", "split", "negatives", "history")
    }
    known = [k for k in PART_KEYS if k != ("from" if table.name == _LOG else "event_type")]
    lines = entry.section(known, elsewhere={k: v for k, v in hints.items() if k not in known})
    _refuse_together(entry, lines)
    plain = {field: read(lines[key]) for key, (field, read) in _PLAIN.items() if key in lines}
    columns = _columns(table, lines["columns"]) if "columns" in lines else {}
    facts = {
        **plain,
        "columns": columns,
        "extra": _extra(table, lines, columns),
        "values": _values(table, lines, columns),
        "leave_out": tuple(read_rule(one) for one in lines["leave_out"].entries())
        if "leave_out" in lines
        else (),
    }
    part = StoredTable(table.name, **facts, line=entry.line)
    if part.derived:
        return _derived(part, entry, lines, log)
    _check_decimal(part, entry, lines)
    _check_needed(table, part, entry, lines)
    return _labelled(part, lines)


def _refuse_together(entry: Entry, lines: dict[str, Entry]) -> None:
    """Refuse keys that contradict each other."""
    stored = [key for key in ("file", "table", "from") if key in lines]
    if len(stored) > 1:
        raise lines[stored[1]].fault(f"cannot stand beside {stored[0]}; state one of the two")
    if "from" in lines:
        others = [key for key in lines if key not in DERIVED_KEYS]
        if others:
            raise lines[others[0]].fault(
                f"cannot stand beside from, which may have {', '.join(DERIVED_KEYS[1:])}; how the "
                f"rows are stored is stated under {_LOG}"
            )
    for key in ("encoding", "delimiter"):
        if "table" in lines and key in lines:
            raise lines[key].fault("is about text files; leave it out for a table of a server")


def _columns(table: Table, entry: Entry) -> dict[str, tuple[str, ...]]:
    """Return the stored columns behind each canonical one."""
    _refuse_unknown_columns(table, entry)
    columns: dict[str, tuple[str, ...]] = {}
    seen: dict[str, tuple[str, int]] = {}
    for name, line in entry.section(table.columns).items():
        columns[name] = line.texts("the name of your column")
        if len(columns[name]) > 1 and table.columns[name].type in ("number", "integer"):
            raise line.wrong("one column, as it holds a number")
        for stored in columns[name]:
            if stored in seen:
                other, where = seen[stored]
                raise line.fault(
                    f'takes your column "{shown_text(stored)}", which is mapped twice: '
                    f"line {where} maps it to {other}; keep one of the two"
                )
            seen[stored] = (name, line.line)
    return columns


def _refuse_unknown_columns(table: Table, entry: Entry) -> None:
    for name, line in entry.section().items():
        if name in table.columns:
            continue
        value = getattr(line.node, "value", None)
        if isinstance(value, str) and value in table.columns:
            hint = f" Your column stands to the right: {value}: {shown_text(name)}."
        else:
            hint = near_match(name, table.columns) or " Columns of your own stand under extra."
        raise line.fault(
            f"is no column of {table.name}, which may have {', '.join(table.columns)}", hint
        )


def _extra(
    table: Table, lines: dict[str, Entry], columns: dict[str, tuple[str, ...]]
) -> tuple[str, ...] | None:
    """Return further stored columns; None for all."""
    if "extra" not in lines:
        return () if "columns" in lines else None
    entry = lines["extra"]
    names = entry.texts("the name of your column")
    if not entry.is_list and names == ("all",):
        return None
    mapped = {stored: name for name, several in columns.items() for stored in several}
    for one, name in zip(entry.entries(), names, strict=True):
        if name in mapped:
            raise one.fault(
                f'names your column "{shown_text(name)}", which is mapped twice: columns maps '
                f"it to {mapped[name]}; keep one of the two"
            )
        if name in RESERVED:
            raise one.fault(f'names "{name}", and the samples have such a column; rename yours')
        if name in table.columns:
            raise one.fault(
                f'names "{name}", a column of {table.name} itself; map it under columns, or rename '
                "yours"
            )
    return names


def _values(
    table: Table, lines: dict[str, Entry], columns: dict[str, tuple[str, ...]]
) -> dict[str, dict[str, str]]:
    """Return by canonical column what each stored value means."""
    if "values" not in lines:
        return {}
    values: dict[str, dict[str, str]] = {}
    for name, entry in lines["values"].section(table.columns).items():
        if "columns" in lines and name not in columns:
            raise entry.fault("translates a column that is not mapped; map it under columns")
        if "event_type" in lines and name == "event_type":
            raise entry.fault("translates nothing, as event_type is stated for every row")
        allowed = [str(value) for value in table.columns[name].values]
        values[name] = {
            stored: line.one_of(allowed) if allowed else line.text("a value")
            for stored, line in entry.section().items()
        }
        if "" in values[name]:
            raise entry.fault("translates an empty value, which stays missing; remove the line")
    return values


def _derived(
    part: StoredTable, entry: Entry, lines: dict[str, Entry], log: tuple[StoredTable, ...]
) -> StoredTable:
    """Return a part that is made from the log, in which numbers are written as there."""
    key = "item_id" if part.table == "product_features" else "user_id"
    if key not in part.columns:
        raise lines.get("columns", entry).fault(
            f"must map {key} to the column of the log that names it, as in columns: {{{key}: "
            f"{(log[0].columns.get(key) or (key,))[0]}}}"
        )
    if part.extra is None:
        raise lines["extra"].fault(
            "must list columns by name: all columns of the log would also take what happened later"
        )
    if len({one.decimal for one in log}) > 1:
        raise entry.fault(
            f"cannot be made from {_LOG}, whose files write numbers differently (see decimal); "
            "give it a file of its own"
        )
    facts = ("encoding", "delimiter", "decimal", "time_zone", "time_format")
    return replace(part, **{name: getattr(log[0], name) for name in facts})


def _check_decimal(part: StoredTable, entry: Entry, lines: dict[str, Entry]) -> None:
    no_text = part.stored_table or (part.files and all(f.endswith(".parquet") for f in part.files))
    if part.decimal == part.delimiter and not no_text:
        where = lines.get("decimal") or lines["delimiter"]
        raise where.fault(
            f'must differ from the delimiter, which is "{part.delimiter}" '
            f"{'as stated' if 'delimiter' in lines else 'where none is stated'}; state both"
        )


def _check_needed(table: Table, part: StoredTable, entry: Entry, lines: dict[str, Entry]) -> None:
    """Refuse columns that lack one that is needed, and two answers to what happened."""
    if part.event_type and "event_type" in part.columns:
        raise lines["event_type"].fault(
            "is one event for every row, but columns maps event_type too; keep one of the two"
        )
    if "label" in part.columns and "event_type" in part.columns:
        raise lines["columns"].fault(
            "maps label and event_type; a row with a label is an exposure, so keep one of the two"
        )
    if "columns" not in lines:
        return
    for column in table.columns.values():
        if not column.needed or column.name in part.columns:
            continue
        if column.name == "event_type" and (part.event_type or "label" in part.columns):
            continue
        remedy = " Or state event_type: purchase, say, where every row is one."
        raise lines["columns"].fault(
            f"must map {column.name} ({column.description}); it maps "
            f"{', '.join(part.columns) or 'nothing'}",
            remedy if column.name == "event_type" else "",
        )


def _labelled(part: StoredTable, lines: dict[str, Entry]) -> StoredTable:
    """Return the part with the event that a label implies."""
    if "label" not in part.columns:
        return part
    if part.event_type not in ("", "impression"):
        raise lines["event_type"].fault(
            f"is {part.event_type}, but a row with a label is an exposure; leave it out"
        )
    return replace(part, event_type="impression")
