"""A piece of a stored table on its way in, whatever it was stored in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

__all__ = ["Chunk"]


def _row(place: int) -> str:
    return f"row {place + 1:,}"


@dataclass(frozen=True)
class Chunk:
    """Some rows of a stored table, in their order, under the names they are stored by.

    Attributes:
        frame: the rows with an index from 0. Values are text as it was written (CSV,
            MySQL) or of the types of a Parquet file; missing values are missing.
        where: the file or table, named in messages.
        first: place of the frame's first row in its file or table, counted from 0.
        locate: turns a place in the file or table into words, such as ``line 17``. It may
            be slow: it is called for the few rows that a message shows.
        faults: rows that could not even be read as rows, by reason: places, to be passed to
            ``locate`` as they are.
    """

    frame: pd.DataFrame
    where: str
    first: int = 0
    locate: Callable[[int], str] = _row
    faults: dict[str, list[int]] = field(default_factory=dict)
