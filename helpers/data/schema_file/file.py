"""A whole ``schema.yaml``, from its path to what it states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.base.small_files import read_text
from helpers.data.schema_file.nodes import Entry, parse
from helpers.data.schema_file.stated import SchemaFile, StoredTable
from helpers.data.schema_file.tables import PART_KEYS, read_parts
from helpers.data.schema_file.tasks import (
    LABEL_KEYS,
    NEGATIVE_KEYS,
    SPLIT_KEYS,
    TASK_KEYS,
    read_task,
)
from helpers.data.schema_file.values import TESTS
from helpers.schema import canonical_tables

__all__ = ["KEYS", "read_schema_file"]

_LIMITS = ("max_users", "on_bad_rows", "max_bad_share")
_MOST_USERS = 10**12

#: The keys that each section may hold; ``data/schema.yaml`` explains them under the same names.
KEYS: dict[str, tuple[str, ...]] = {
    "file": (*canonical_tables(), "task", *_LIMITS),
    "table": PART_KEYS,
    "leave_out": ("column", *TESTS),
    "task": TASK_KEYS,
    "task.label": LABEL_KEYS,
    "task.negatives": NEGATIVE_KEYS,
    "task.split": SPLIT_KEYS,
}


def read_schema_file(file: Path | None) -> SchemaFile:
    """Return what a person's ``schema.yaml`` states.

    Args:
        file: the file. None or a missing file stands for the canonical names, the default
            task and the default limits.

    Returns:
        Parts for every canonical table: a table that the file does not mention has one part
        under its canonical names.

    Raises:
        DataError: the file is not readable YAML, or a line of it is unknown or wrong. The
            message names the line.

    Example:
        >>> read_schema_file(None).parts["users"]
        (StoredTable(table='users', ...),)
        >>> from helpers.base.paths import DATA
        >>> read_schema_file(DATA / "sample" / "schema.yaml").task.within
        '1h'
    """
    if file is None or not file.exists():
        return _mapping({}, name="schema.yaml" if file is None else file.name, text="")
    text = read_text(file, name=file.name)
    top = parse(text, file.name)
    lines = {} if top is None else top.section(KEYS["file"], elsewhere=_elsewhere())
    return _mapping(lines, name=file.name, text=text)


def _elsewhere() -> dict[str, str]:
    """Return where keys stand that are not for the file's own level."""
    found = {key: "It stands under task." for key in TASK_KEYS}
    found |= {key: "It stands under task.label." for key in LABEL_KEYS}
    found |= {key: "It stands under task.split." for key in SPLIT_KEYS}
    tables = {key: "It stands under a table, such as user_behavior." for key in PART_KEYS}
    return tables | found


def _mapping(lines: dict[str, Entry], *, name: str, text: str) -> SchemaFile:
    parts: dict[str, tuple[StoredTable, ...]] = {}
    for table in canonical_tables():  # the log first: others may be made from it
        log = parts.get("user_behavior", ())
        parts[table] = (
            read_parts(table, lines[table], log) if table in lines else (StoredTable(table),)
        )
    labelled = any("label" in part.columns for part in parts["user_behavior"])
    task, stated = read_task(
        lines.get("task"), labelled=lines["user_behavior"] if labelled else None
    )
    return SchemaFile(parts=parts, task=task, stated=stated, name=name, text=text, **_limits(lines))


def _limits(lines: dict[str, Entry]) -> dict[str, Any]:
    """Return how much is read, and how many bad rows are borne."""
    limits: dict[str, Any] = {}
    if "max_users" in lines:
        entry = lines["max_users"]
        everyone = getattr(entry.node, "value", None) == "all"
        limits["max_users"] = 0 if everyone else entry.whole(2, _MOST_USERS, beside=", or all")
    if "on_bad_rows" in lines:
        limits["on_bad_rows"] = lines["on_bad_rows"].one_of(["drop", "stop"])
    if "max_bad_share" in lines:
        share = lines["max_bad_share"].number("a share from 0 to 1, such as 0.2")
        if not 0 <= share <= 1:
            raise lines["max_bad_share"].wrong("a share from 0 to 1, such as 0.2")
        limits["max_bad_share"] = share
    return limits
