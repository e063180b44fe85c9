"""When the engine looks again, and at which rows.

The first batch is certified. Later ones may show what the first could not: rows that are coupled
only where one of them is large, or a Python value that has changed since the model was traced. To
check every batch would double the price, so some rows of some batches are computed again, alone:

- wherever a batch holds a fraction (no id) that is larger or smaller than all before it;
- at random, often in the beginning, later once in many thousand rows. Nobody can foresee when.

What such looks cannot show: a coupling that neither a new extreme nor a random row reveals, or
one weaker than rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.gradients.batches import Inputs, count_rows, flat

__all__ = ["Looks"]

_FEW = 8  # rows of a look
_EARLY = 2  # looks among the first batches, about; then as many among each doubling of them
_ROWS = 2**16  # of which, on average, one look is had in the long run
_PYTHON_EARLY = 0.2
_PYTHON_ROWS = 2**19  # the same for running the model's Python again, which costs much more


class Looks:
    """What has been seen of rows of one kind, and whether to look again.

    Args:
        rng: decides at random; by default another one in each process.

    Example:
        >>> looks = Looks()
        >>> looks.note(np.array([[1.0], [3.0]]), np.array([0.0, 1.0]))
        >>> looks.is_new(np.array([[2.0], [9.0]]), np.array([1.0, 1.0]))
        True
    """

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        self._rng = np.random.default_rng() if rng is None else rng
        self._batches, self._is_new = 0, True
        self._ranges: list[tuple[float, float]] | None = None

    def note(self, x: Inputs, y: Inputs) -> None:
        """Take the fractions in these rows as seen."""
        found = _ranges(x, y)
        pairs = zip(self._ranges or found, found, strict=True)
        self._ranges = [(min(a, c), max(b, d)) for (a, b), (c, d) in pairs]

    def is_new(self, x: Inputs, y: Inputs) -> bool:
        """Return whether a fraction is smaller or larger than all that were seen."""
        if self._ranges is None:
            return True
        pairs = zip(self._ranges, _ranges(x, y), strict=True)
        return any(c < a or d > b for (a, b), (c, d) in pairs)

    def due(self, x: Inputs, y: Inputs) -> tuple[bool, bool]:
        """Return whether to look at this batch, and whether to run the model's Python again.

        The batch's numbers are seen from now on.
        """
        self._batches += 1
        self._is_new = self.is_new(x, y)
        if self._is_new:
            self.note(x, y)
        n = count_rows(y)
        python = self._draw(n, _PYTHON_EARLY, _PYTHON_ROWS)
        return self._is_new or python or self._draw(n, _EARLY, _ROWS), python

    def _draw(self, n: int, early: float, rows: int) -> bool:
        chance = max(n / rows, early / max(1, self._batches))
        return bool(self._rng.random() < chance)

    def rows(self, x: Inputs, y: Inputs) -> np.ndarray:
        """Return some random rows, without those that hold the largest fractions.

        A large number that changes the rows beside it is seen only in its absence.
        """
        n = count_rows(y)
        some = np.unique(self._rng.integers(0, n, _FEW))
        if not self._is_new:  # nothing is larger than before: the usual case, and a quick one
            return some
        sizes = [np.abs(np.nan_to_num(a.reshape(n, -1))) for a in _fractions(x, y) if a.size]
        largest = {int(np.argmax(size.max(axis=1))) for size in sizes}
        others = np.setdiff1d(some, list(largest))
        if len(others):
            return others
        rest = np.setdiff1d(np.arange(n), list(largest))
        return rest[:_FEW] if len(rest) else some


def _fractions(x: Inputs, y: Inputs) -> list[np.ndarray]:
    """Return the arrays of fractions among inputs and labels."""
    leaves = [a for nest in (x, y) for a in flat(nest)]
    return [np.asarray(a) for a in leaves if _is_fraction(a.dtype)]


def _is_fraction(dtype: Any) -> bool:
    """Return whether a dtype, of TensorFlow or NumPy, is of numbers with fractions."""
    return bool(dtype.is_floating if hasattr(dtype, "is_floating") else dtype.kind == "f")


def _ranges(x: Inputs, y: Inputs) -> list[tuple[float, float]]:
    """Return the least and the largest fraction of each array; NaN counts as nothing."""
    return [_range(array) for array in _fractions(x, y)]


def _range(array: np.ndarray) -> tuple[float, float]:
    nothing = (np.inf, -np.inf)
    if not array.size:
        return nothing
    low, high = float(array.min()), float(array.max())
    if low == low:
        return low, high
    known = array[~np.isnan(array)]  # NaN hides the others
    return (float(known.min()), float(known.max())) if known.size else nothing
