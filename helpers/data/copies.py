"""Whether a folder holds tables as :mod:`helpers.data.staging` writes them.

A copy of a server's tables may come from somebody else, or have been changed. Queries rely on
its columns and types, so these are looked at before the first one; the rows are not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from helpers.base.errors import DataError
from helpers.base.small_files import read_json, refuse_links
from helpers.data.dropped import COLUMNS, DropKind
from helpers.schema import Column, canonical_tables

__all__ = ["read_copy"]


def read_copy(folder: Path, file: str) -> dict[str, Any]:
    """Return the facts of the tables in a folder, which are all there in their columns.

    Args:
        folder: of the copy.
        file: in it, with the facts.

    Raises:
        DataError: it holds no copy, a link, or a table that is missing or of other columns.
    """
    try:
        facts = read_json(folder / file, links=False)
    except (OSError, DataError):
        facts = None
    if not _are_facts(facts):
        raise DataError(
            f"{folder} holds no copy of tables; name the folder that a run copied them into, or "
            "leave the path out to read the server."
        )
    refuse_links(folder, what="a copy of tables")
    for name, table in canonical_tables().items():
        if (folder / f"{name}.parquet").exists() or table.needed:
            _check_table(folder, name)
    return facts


def _are_facts(facts: Any) -> bool:
    """Return whether a copy's facts are of the kinds that are written."""
    kinds = {"fingerprint": str, "labelled": bool, "tables": dict, "dropped": list, "notes": list}
    return (
        isinstance(facts, dict)
        and all(isinstance(facts.get(name), kind) for name, kind in kinds.items())
        and all(isinstance(note, str) for note in facts["notes"])
        and all(map(_is_dropped, facts["dropped"]))
        and all(
            isinstance(rows, dict) and all(_is_whole(rows.get(key)) for key in ("read", "kept"))
            for rows in facts["tables"].values()
        )
    )


def _is_dropped(row: Any) -> bool:
    """Return whether this counts dropped rows; an earlier version kept no kind and no column."""
    return (
        isinstance(row, dict)
        and _is_whole(row.get("rows"))
        and all(isinstance(row.get(name, ""), str) for name in COLUMNS if name != "rows")
        and row.get("kind", DropKind.RULE) in {*DropKind}
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 2**62


def _check_table(folder: Path, name: str) -> None:
    """Refuse a table that is not there, is empty, or lacks a column in its type."""
    try:
        with pq.ParquetFile(folder / f"{name}.parquet") as stored:
            types = dict(zip(stored.schema_arrow.names, stored.schema_arrow.types, strict=True))
            rows = stored.metadata.num_rows
    except (OSError, pa.ArrowException):
        types, rows = {}, 0
    columns = canonical_tables()[name].columns.values()
    wrong = [c.name for c in columns if not _fits(types.get(c.name), c)]
    if name == "user_behavior" and not pa.types.is_integer(types.get("day", pa.null())):
        wrong.append("day")
    if wrong or (name == "user_behavior" and not rows):
        what = f"its column {wrong[0]} is not what was copied" if rows else "it has no rows"
        raise DataError(
            f"{folder}: the table {name} is damaged ({what}); copy the server's tables again."
        )


def _fits(found: pa.DataType | None, column: Column) -> bool:
    """Return whether a column has the type that its values are kept in."""
    if found is None:
        return not column.needed
    return any(is_kind(found) for is_kind in _KINDS[column.type])


_TEXT = (pa.types.is_string, pa.types.is_large_string)
_NUMBER = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean)
_KINDS: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    **dict.fromkeys(("id", "text", "category"), _TEXT),
    **dict.fromkeys(("integer", "number"), _NUMBER),
    "time": (pa.types.is_timestamp,),
}
