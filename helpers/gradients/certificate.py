"""The proof on one batch that each row's loss depends on that row alone.

Only then is a per-sample gradient defined, and only then is what comes back row by row from one
backward pass that gradient. Batch normalisation in training, a softmax over the batch and labels
that broadcast against predictions break it, and none of them raises by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["COUPLED", "other_rows", "random_weights", "see_independent", "share_of_mismatch",
           "tolerance_of"]  # fmt: skip

COUPLED = (
    "The loss of a row changes with the rows beside it. Do the labels have shape (n,) "
    "and the predictions (n, 1), or does a layer or the loss average over the batch?"
)
# How far rounding alone may move a value, as a share of the largest one.
_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def tolerance_of(*dtypes: str) -> float:
    """Return how far rounding alone may move a value, as a share of the largest one.

    Example:
        >>> tolerance_of("float32", "float64")
        0.0001
    """
    return max(_TOLERANCE.get(dtype, 5e-2) for dtype in dtypes)


def random_weights(n: int) -> np.ndarray:
    """Return one positive weight a row, the same ones every time."""
    return np.random.default_rng(0).uniform(0.5, 1.5, n)


def other_rows(n: int) -> np.ndarray:
    """Return about half of the rows, from the last one backwards.

    In another number and order than before, so that rows that are coupled in pairs, with their
    neighbours or with their place in the batch are found out, too.

    Example:
        >>> other_rows(5)
        array([4, 3])
    """
    return np.arange(n - 1, (n - 1) // 2, -1)


def see_independent(
    values: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int, tolerance: float
) -> bool:
    """Return whether values that are linear in a row's weight behave as if rows were independent.

    Args:
        values: of some rows, each loss multiplied by a weight: ``values(rows, weights)``.
        n: number of rows; at least 2.
        tolerance: how far rounding alone may move a value.
    """
    weights, some = random_weights(n), other_rows(n)
    plain = values(np.arange(n), np.ones(n))
    try:
        for rows, w in ((np.arange(n), weights), (some, np.ones(len(some)))):
            share_of_mismatch(values(rows, w), w * plain[rows], tolerance, COUPLED)
    except ValueError:
        return False
    return True


def share_of_mismatch(
    found: np.ndarray, expected: np.ndarray, tolerance: float, message: str
) -> float:
    """Return the largest difference as a share of the largest value.

    Raises:
        ValueError: it is larger than the tolerance; begins with ``message``.
    """
    # A row may be NaN or infinite by itself, but then on both sides.
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(found), finite):
        raise ValueError(f"{message} A value is finite in one place, NaN or infinite in the other.")
    largest = np.max(np.abs(expected), where=finite, initial=0.0)
    with np.errstate(invalid="ignore"):  # infinity minus infinity, which `where` skips
        share = float(np.max(np.abs(found - expected), where=finite, initial=0.0))
    share /= float(largest) or 1.0
    if share > tolerance:
        raise ValueError(f"{message} Mismatch: {share:.2g} of the largest value.")
    return share
