"""The proof on one batch that each row's loss depends on that row alone.

Only then is a per-sample gradient defined, and only then is what comes back row by row from one
backward pass that gradient. Batch normalisation in training, a softmax over the batch and labels
that broadcast against predictions break it, and none of them raises by itself.

What it promises: on the first rows (256 at most) each number is the same among other rows, in
another order and under other weights, up to rounding. What it does not: that the same holds where
the rows look different. So ``looks`` looks again; a coupling that no such look meets, or one
weaker than the tolerance (1e-4 of the largest number in single precision), stays unseen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from helpers.gradients.batches import Inputs, leaves

__all__ = ["COUPLED", "labels_differ", "random_weights", "same_alone", "see_independent",
           "share_of_mismatch", "smaller_batches", "tolerance_of"]  # fmt: skip

COUPLED = (
    "The loss of a row changes with the rows beside it. Do the labels have shape (n,) "
    "and the predictions (n, 1), or does a layer or the loss average over the batch?"
)
_POWERS = 2.0 ** np.array([-2, -1, 0, 1, 2, 3])
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
    """Return one weight per row, powers of two in a random order, the same ones every time.

    To multiply by a power of two rounds nothing off. So all that a row alone contributes to is
    multiplied exactly, also where large numbers cancel, and any difference comes from another row.

    Example:
        >>> sorted(random_weights(3).tolist())
        [0.25, 0.5, 1.0]
    """
    return np.random.default_rng(0).permutation(_POWERS[np.arange(n) % len(_POWERS)])


def smaller_batches(n: int) -> list[np.ndarray]:
    """Return about half of the rows, from the last one backwards, and the first row alone.

    In another number and order than before, so that rows that are coupled in pairs, with their
    neighbours or with their place in the batch are found out, too. And half of the labels may
    have the mean of all of them, where 0 and 1 come equally often; one label has not.

    Example:
        >>> smaller_batches(5)
        [array([4, 3]), array([0])]
    """
    return [np.arange(n - 1, (n - 1) // 2, -1), np.arange(1)]


def labels_differ(y: Inputs) -> bool:
    """Return whether rows have different labels, in each array of labels.

    Where all are alike, one row's label may stand in for another's and nothing shows it.

    Example:
        >>> labels_differ(np.array([0, 0, 1])), labels_differ(np.zeros(3))
        (True, False)
    """
    return all(np.any(a[1:] != a[:1]) for a in map(np.asarray, leaves(y, "y").values()))


def see_independent(
    values: Callable[[np.ndarray, np.ndarray], np.ndarray],
    n: int,
    tolerance: float,
    noise: np.ndarray | None = None,
) -> bool:
    """Return whether values that are linear in a row's weight behave as if rows were independent.

    Args:
        values: ``values(rows, weights)`` returns the values of some rows when each loss is
            multiplied by its weight.
        n: the number of rows, at least 2.
        tolerance: how far rounding alone may move a value, as a share of the largest one.
        noise: how large the numbers are that cancel in each row's value, shape ``(n,)``; rounding
            may move it by that share of them, too.
    """
    weights = random_weights(n)
    plain, weighted = values(np.arange(n), np.ones(n)), values(np.arange(n), weights)
    if not _near(weighted, weights * plain, tolerance, noise):
        return False
    for rows in smaller_batches(n):
        own = None if noise is None else noise[rows]
        largest = np.max(np.abs(plain), where=np.isfinite(plain), initial=0.0)
        if not _near(values(rows, np.ones(len(rows))), plain[rows], tolerance, own, largest):
            return False
    return True


def same_alone(
    alone: np.ndarray,
    among: np.ndarray,
    rows: np.ndarray,
    tolerance: float,
    noise: np.ndarray | None = None,
) -> bool:
    """Return whether some rows have the values alone that they have among others.

    A row may be too small for its own rounding, and one row may be too large to judge the others
    by. So the yardstick of a row is its own value or, if it is larger, what nine of ten rows reach
    at most.

    Args:
        alone: their values, shape ``(k,)``.
        among: values of all rows, shape ``(n,)``.
        rows: places of the ``k`` rows among the ``n``.
        tolerance: how far rounding alone may move a value, as a share of the yardstick.
        noise: how large the numbers are that cancel in the value of each of the ``k`` rows, as
            :func:`see_independent` takes it.

    Example:
        >>> same_alone(np.array([2.0]), np.array([1.0, 2.0]), np.array([1]), 1e-4)
        True
        >>> same_alone(np.array([2.1]), np.array([1.0, 2.0]), np.array([1]), 1e-4)
        False
    """
    known = np.abs(among[np.isfinite(among)])
    usual = float(np.quantile(known, 0.9)) if len(known) else 0.0
    return _near(alone, among[rows], tolerance, noise, np.maximum(np.abs(among[rows]), usual))


def _near(
    found: np.ndarray,
    expected: np.ndarray,
    tolerance: float,
    noise: np.ndarray | None,
    yardstick: np.ndarray | float | None = None,
) -> bool:
    """Return whether values differ by rounding only."""
    # A row may be NaN or infinite by itself, but then on both sides.
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(found), finite):
        return False
    if yardstick is None:
        yardstick = np.max(np.abs(expected), where=finite, initial=0.0)
    allowed = tolerance * (yardstick + (0.0 if noise is None else noise))
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        return bool(np.all((np.abs(found - expected) <= allowed) | ~finite))


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
