"""From raw features to numbers a model can read, fitted on the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

__all__ = ["BAG_LENGTH", "PADDING", "UNKNOWN", "Encoder", "bags", "numbered", "vocabulary"]

#: How many of a user's last known items a model sees.
BAG_LENGTH = 10
#: Rarer names, items and subcategories share one place.
_MIN_ROWS = 20
_MAX_LEVELS = 30
_LIMIT = 6.0  # standard deviations; keeps one odd row from owning the gradient
_SKEWED = ("_events", "_events_7d", "_events_28d", "_spend_28d", "_price", "_days")
#: Numbers that no item has: no item at all, and any item the vocabulary does not know.
PADDING, UNKNOWN = 0, 1


@dataclass
class Encoder:
    """Scales numbers and one-hot encodes names.

    Counts, amounts and days are taken as ``log(1 + x)``, then every number is
    standardised, with 0 for a missing value and a flag column beside it, and
    limited to six standard deviations. A name gets a column; the names of fewer
    than ``min_rows`` rows, and all after the 29 most frequent of a feature, share
    the column ``other``, where names that training never saw go too. Where no
    name is rare there is no such column, and an unseen name is 0 everywhere.
    Features that do not vary are left out. Everything is fitted on training rows.

    Example:
        >>> raw = pd.DataFrame({"user_events": [0.0, 1.0, 3.0], "brand": ["a", "b", "a"]})
        >>> encoder = Encoder.fit(raw, min_rows=1)
        >>> encoder.names
        ['user_events', 'brand=a', 'brand=b']
        >>> encoder.dense(raw).shape
        (3, 3)
    """

    numbers: list[str]
    flagged: list[str]
    levels: dict[str, list[str]]
    with_other: list[str]
    scaler: StandardScaler | None

    @classmethod
    def fit(cls, raw: pd.DataFrame, *, min_rows: int = _MIN_ROWS) -> Encoder:
        """Return an encoder fitted on the raw features of the training rows."""
        different = {str(name): values.nunique() for name, values in raw.items()}
        varied = {name: raw[name] for name, count in different.items() if count > 1}
        numbers = [c for c, values in varied.items() if pd.api.types.is_numeric_dtype(values)]
        named = varied.keys() - set(numbers)
        levels = {c: _levels(values, min_rows) for c, values in varied.items() if c in named}
        levels = {c: kept for c, kept in levels.items() if kept}
        with_other = [c for c, kept in levels.items() if different[c] > len(kept)]
        flagged = [c for c in numbers if raw[c].isna().any()]
        scaler = StandardScaler().fit(_unskewed(raw[numbers])) if numbers else None
        return cls(numbers, flagged, levels, with_other, scaler)

    @property
    def names(self) -> list[str]:
        """Names of the dense columns, in order."""
        with_other = {*self.with_other}
        labels = self.numbers + [f"{c}_missing" for c in self.flagged]
        for name, levels in self.levels.items():
            labels += [f"{name}={level}" for level in levels]
            if name in with_other:
                labels.append(f"{name}={'any other' if 'other' in levels else 'other'}")
        return labels

    def dense(self, raw: pd.DataFrame) -> np.ndarray:
        """Return the dense matrix, float32, shape ``(n, len(names))``."""
        out = np.zeros((len(raw), len(self.names)), dtype=np.float32)
        if self.scaler is not None:
            scaled = np.nan_to_num(self.scaler.transform(_unskewed(raw[self.numbers])), nan=0.0)
            out[:, : len(self.numbers)] = np.clip(scaled, -_LIMIT, _LIMIT)
        start, with_other = len(self.numbers) + len(self.flagged), {*self.with_other}
        out[:, len(self.numbers) : start] = raw[self.flagged].isna()
        for name, levels in self.levels.items():
            place = pd.Index(levels).get_indexer(pd.Index(raw[name]))
            if name in with_other:
                place[place < 0] = len(levels)
            rows = np.flatnonzero(place >= 0)
            out[rows, start + place[rows]] = 1.0
            start += len(levels) + (name in with_other)
        return out


def _levels(values: pd.Series, min_rows: int) -> list[str]:
    """Return the names that get a column of their own, sorted."""
    counts = values.value_counts()
    frequent = counts[counts >= min_rows].sort_index().sort_values(kind="stable")
    return sorted(frequent.index[-(_MAX_LEVELS - 1) :])  # of equal ones, the last by name


def _unskewed(numbers: pd.DataFrame) -> np.ndarray:
    """Return the numbers with counts, amounts and days on a logarithmic scale."""
    values = numbers.to_numpy(dtype=np.float64, copy=True)
    skewed = np.array([c.endswith(_SKEWED) for c in numbers], dtype=bool)
    values[:, skewed] = np.log1p(np.maximum(values[:, skewed], 0.0))
    return values


def vocabulary(values: pd.Series, *, min_rows: int = _MIN_ROWS) -> list[Any]:
    """Return the values that at least ``min_rows`` training rows have, sorted.

    A model numbers them from 2; 0 is padding and 1 is any other value.
    """
    counts = values.value_counts()
    return sorted(counts.index[counts >= min_rows])


def numbered(values: pd.Series | np.ndarray, known: list[Any]) -> np.ndarray:
    """Return each value's number in a vocabulary: int32, 1 where it is unknown.

    Example:
        >>> numbered(pd.Series(["b", "x"]), ["a", "b"])
        array([3, 1], dtype=int32)
    """
    places = pd.Index(known).get_indexer(pd.Index(values))
    return np.where(places >= 0, places + 2, UNKNOWN).astype(np.int32)


def bags(recent: np.ndarray, item_numbers: np.ndarray, *, length: int = BAG_LENGTH) -> np.ndarray:
    """Return each row's last known items by number, padded with 0 at the end.

    Args:
        recent: places in the list of items, newest first, -1 for none, shape ``(n, m)``.
        item_numbers: the vocabulary's number of each item in that list.
        length: how many of the last items to keep.

    Returns:
        int32, shape ``(n, length)``; an item bought twice stands there twice.

    Example:
        >>> bags(np.array([[2, 0, 2, -1]]), np.array([1, 1, 5]), length=3)
        array([[5, 5, 0]], dtype=int32)
    """
    numbers = np.where(recent >= 0, item_numbers[np.maximum(recent, 0)], PADDING)
    numbers[numbers == UNKNOWN] = PADDING
    order = np.argsort(numbers == PADDING, axis=1, kind="stable")[:, :length]
    return np.take_along_axis(numbers, order, axis=1).astype(np.int32)
