"""Whole frames: the rules of :class:`helpers.data.cleaning.Cleaner`, and what needs all rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from helpers.data.chunks import Chunk
from helpers.data.cleaning.cleaner import Cleaner
from helpers.data.cleaning.tally import EXAMPLES, Fault
from helpers.data.cleaning.wording import reasons
from helpers.data.dropped import DropKind
from helpers.data.schema_file import StoredTable
from helpers.schema import Table

__all__ = ["clean_rows"]


def clean_rows(
    table: Table,
    frame: pd.DataFrame,
    *,
    where: str,
    time_zone: str,
    max_bad_share: float = 0.2,
    locate: Callable[[int], str] = lambda place: f"row {place + 1}",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cast a frame to the table's types and drop the rows that do not fit.

    Ids and names become text, so that 7 in one table joins "7" in another.
    Columns that the table does not name stay numbers where they are, else become text.

    Args:
        table: the canonical table.
        frame: rows under canonical names; columns may be missing.
        where: the file or table, named in messages.
        time_zone: zone of the times that name none.
        max_bad_share: more bad rows than this share stop the run.
        locate: says where a row stands, given its place counted from 0.

    Returns:
        The clean rows in their order, with a new index, and a frame
        ``table, kind, column, reason, rows`` that counts what was dropped (possibly empty).

    Raises:
        DataError: no rows at all, none left, too many bad ones, or ids that lost digits.

    Example:
        >>> from helpers.schema import canonical_tables
        >>> users = canonical_tables()["users"]
        >>> frame = pd.DataFrame({"user_id": [7, 8, 7], "age": ["30-39", "", "30-39"]})
        >>> facts = {"where": "users", "time_zone": "UTC", "max_bad_share": 0.5}
        >>> clean, dropped = clean_rows(users, frame, **facts)
        >>> clean.user_id.tolist(), dropped.reason.tolist()
        (['7', '8'], ['user_id was seen before'])
    """
    cleaner = Cleaner(StoredTable(table.name), task_zone=time_zone, max_bad_share=max_bad_share)
    cleaner.header(list(frame), where, check=False)
    chunk = Chunk(frame.reset_index(drop=True), where, locate=locate)
    clean = cleaner.clean(chunk).reindex(columns=frame.columns)
    for name in clean:
        column = table.columns.get(name)
        if column.type in ("id", "category") if column else table.name == "users":
            clean[name] = _without_points(clean[name])
    for rank, name in enumerate(n for n, c in table.columns.items() if c.unique and n in clean):
        repeats = clean[name].duplicated() & clean[name].notna()
        if repeats.any():
            places = clean.index[repeats].to_numpy()
            words = reasons(table.columns[name])[DropKind.REPEAT]
            fault = Fault((len(table.columns), rank), words, DropKind.REPEAT, name)
            cleaner.tally.drop(fault, len(places), chunk, places[:EXAMPLES].astype(np.int64), [])
            clean = clean[~repeats]
    return clean.reset_index(drop=True), cleaner.finish()


def _without_points(text: pd.Series) -> pd.Series:
    """Return 7.0 as 7 if all values are such: a program wrote whole numbers with a point."""
    known = text.dropna()
    if len(known) and known.str.fullmatch(r"-?[0-9]+\.0").all():
        return text.str.removesuffix(".0")
    return text
