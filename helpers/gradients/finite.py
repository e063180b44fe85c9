"""Norms too small or too large for single precision: computed again, or named in a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from helpers.gradients.batches import Inputs, take_rows
from helpers.gradients.forms import Tensor
from helpers.gradients.traced import Traced

__all__ = ["Compute", "NotFinite", "in_range"]

_SMALLEST = 1e-15  # norms below may have squares that vanish in single precision

#: From inputs, labels and weights of rows to one number per row, and their losses.
Compute: TypeAlias = Callable[[Inputs, Inputs, Any], tuple[np.ndarray, Tensor]]


def in_range(traced: Traced) -> Compute:
    """Return a traced function of norms that mends those whose squares do not fit."""

    def compute(x: Inputs, y: Inputs, weights: Any) -> tuple[np.ndarray, Tensor]:
        found, losses = traced(x, y, weights)
        if not traced.single or ((found >= _SMALLEST) & (found < np.inf)).all():
            return found, losses

        def again(rows: np.ndarray, w: np.ndarray) -> np.ndarray:
            return traced(take_rows(x, rows), take_rows(y, rows), w)[0]

        return _rescaled(found, np.asarray(weights), again), losses

    return compute


def _rescaled(
    norms: np.ndarray, weights: np.ndarray, again: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return norms, those computed again whose squares do not fit into single precision.

    A loss that is ``2**60`` times larger has a gradient that is ``2**60`` times larger.

    Args:
        norms: the norms as they were computed; they are changed in place.
        weights: one weight per row.
        again: returns the norms of the rows at some places under other weights.
    """
    small, large = (norms < _SMALLEST) & (weights != 0), ~np.isfinite(norms)
    for rows, factor in ((np.flatnonzero(small), 2.0**60), (np.flatnonzero(large), 2.0**-60)):
        if len(rows):
            found = again(rows, factor * weights[rows]) / factor
            norms[rows] = np.where(np.isfinite(found), found, norms[rows])
    return norms


class NotFinite:
    """Rows whose norm is NaN or infinite."""

    def __init__(self) -> None:
        self.seen, self.count = 0, 0
        self.first: list[int] = []

    def see(self, norms: np.ndarray) -> None:
        """Look at the next norms."""
        rows = np.flatnonzero(~np.isfinite(norms))
        self.first += [self.seen + int(row) for row in rows[: 10 - len(self.first)]]
        self.count += len(rows)
        self.seen += len(norms)

    def warn(self, start: int, *, stacklevel: int) -> None:
        """Say which rows they were; it stands at the line of whoever asked for the norms."""
        if not self.count:
            return
        shown = ", ".join(str(start + row) for row in self.first)
        more = ", ..." if self.count > len(self.first) else ""
        warnings.warn(
            f"{self.count} of {self.seen} gradient norms are NaN or infinite, in rows "
            f"{shown}{more}. Look at the features, the label and the loss of these rows.",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
