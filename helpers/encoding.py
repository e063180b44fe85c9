"""From raw features to numbers a model can read, fitted on the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder, StandardScaler

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
    """Scales numbers, one-hot encodes names, and numbers items and subcategories.

    Counts, amounts and days are taken as ``log(1 + x)``, then every number is
    standardised, with 0 for a missing value and a flag column beside it, and
    limited to six standard deviations. Everything is fitted on training rows.

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
    categories: list[str]
    scaler: StandardScaler
    one_hot: OneHotEncoder | None

    @classmethod
    def fit(cls, raw: pd.DataFrame, *, min_rows: int = _MIN_ROWS) -> Encoder:
        """Return an encoder fitted on the raw features of the training rows."""
        is_number = [pd.api.types.is_numeric_dtype(t) for t in raw.dtypes]
        numbers = [c for c, n in zip(raw, is_number, strict=True) if n and raw[c].nunique() > 1]
        names = [c for c, n in zip(raw, is_number, strict=True) if not n and raw[c].nunique() > 1]
        one_hot = None
        if names:
            one_hot = OneHotEncoder(
                min_frequency=min_rows,
                max_categories=_MAX_LEVELS,
                handle_unknown="infrequent_if_exist",
                sparse_output=False,
                dtype=np.float32,
            ).fit(raw[names])
        flagged = [c for c in numbers if raw[c].isna().any()]
        return cls(numbers, flagged, names, StandardScaler().fit(_unskewed(raw[numbers])), one_hot)

    @property
    def names(self) -> list[str]:
        """Names of the dense columns, in order."""
        labels = self.numbers + [f"{c}_missing" for c in self.flagged]
        if self.one_hot is not None:
            out = self.one_hot.get_feature_names_out(self.categories)
            labels += [_equals(o, self.categories) for o in out]
        return labels

    def dense(self, raw: pd.DataFrame) -> np.ndarray:
        """Return the dense matrix, float32, shape ``(n, len(names))``."""
        scaled = self.scaler.transform(_unskewed(raw[self.numbers])).astype(np.float32)
        scaled = np.clip(np.nan_to_num(scaled, nan=0.0), -_LIMIT, _LIMIT)
        missing = raw[self.flagged].isna().to_numpy(dtype=np.float32)
        parts = [scaled, missing]
        if self.one_hot is not None:
            parts.append(self.one_hot.transform(raw[self.categories]))
        return np.hstack(parts)


def _equals(column: str, categories: list[str]) -> str:
    """Return ``name=level`` for scikit-learn's ``name_level``."""
    name = max((c for c in categories if column.startswith(f"{c}_")), key=len)
    level = column[len(name) + 1 :]
    return f"{name}={'other' if level == 'infrequent_sklearn' else level}"


def _unskewed(numbers: pd.DataFrame) -> np.ndarray:
    """Return the numbers with counts, amounts and days on a logarithmic scale."""
    values = numbers.to_numpy(dtype=np.float64, copy=True)
    skewed = np.array([c.endswith(_SKEWED) for c in numbers], dtype=bool)
    values[:, skewed] = np.log1p(np.maximum(values[:, skewed], 0.0))
    return values


def vocabulary(values: pd.Series, *, min_rows: int = _MIN_ROWS) -> list:
    """Return the values that at least ``min_rows`` training rows have, sorted.

    A model numbers them from 2; 0 is padding and 1 is any other value.
    """
    counts = values.value_counts()
    return sorted(counts.index[counts >= min_rows])


def numbered(values: pd.Series | np.ndarray, known: list) -> np.ndarray:
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
        length: how many to keep.

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
