"""What happens when rows are really left out? Training again, the reference of all estimates.

A *value function* takes the rows that are trained on (rising places, perhaps none) and returns one
number, higher is better: for example minus the goal's loss.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
from tqdm.auto import tqdm

__all__ = ["exact_shapley", "leave_one_out"]

Value = Callable[[np.ndarray], float]
_MOST_PLAYERS = 20  # a million trainings


def exact_shapley(value: Value, rows: int, *, progress: bool = False) -> np.ndarray:
    """Return the Shapley value of each row, from the values of all ``2^n`` subsets.

    ``s_i = 1/n sum over S without i of (v(S + i) - v(S)) / C(n - 1, |S|)``: what the row adds, on
    average over all sizes and all subsets of a size. It is the only score with four properties:
    *efficiency* (the scores add up to ``v(all) - v(none)``), *symmetry* (rows that add the same
    everywhere get the same), *null player* (a row that adds nothing gets 0) and *additivity* (the
    scores of ``v + w`` are those of ``v`` plus those of ``w``).

    Cost: ``2^n`` calls of ``value``, 4,096 for a dozen rows.

    Args:
        value: ``value(rows) -> float``; it is also called with no rows.
        rows: how many there are, ``n``, at most 20.
        progress: show a bar.

    Returns:
        float64, shape ``(n,)``; positive is helpful.

    Raises:
        ValueError: ``rows`` is outside [1, 20], or a value is not finite.

    Example:
        Two gloves make a pair; the third row is a second left glove.

        >>> pairs = lambda rows: float(1 in rows and (0 in rows or 2 in rows))
        >>> exact_shapley(pairs, 3).round(4)
        array([0.1667, 0.6667, 0.1667])

    Reference: Shapley (1953); Ghorbani and Zou (2019), arXiv:1904.02868, section 2, for training
    rows as players.
    """
    if not 1 <= rows <= _MOST_PLAYERS:
        raise ValueError(
            f"rows must be in [1, {_MOST_PLAYERS}], as all 2^n subsets are valued; got {rows}."
        )
    masks, places = np.arange(2**rows), np.arange(rows)
    bar = tqdm(masks, desc="subsets", leave=False, disable=not progress)
    values = np.array([_finite(value(places[(mask >> places) & 1 == 1])) for mask in bar])
    sizes = np.array([int(mask).bit_count() for mask in masks])
    share = np.array([1 / (rows * comb(rows - 1, size)) for size in range(rows)])
    found = np.empty(rows)
    for row in places:
        without = masks[(masks >> row) & 1 == 0]
        found[row] = share[sizes[without]] @ (values[without | (1 << row)] - values[without])
    return found


def leave_one_out(value: Value, rows: int, *, progress: bool = False) -> np.ndarray:
    """Return ``v(all rows) - v(all but row i)``, shape ``(n,)``; positive is helpful.

    Cost: ``n + 1`` trainings. Where ``value`` trains a network, a row moves it less than another
    seed does, so that a single training each shows mostly noise.

    Args:
        value: ``value(rows) -> float``.
        rows: how many there are, ``n``.
        progress: show a bar.

    Raises:
        ValueError: there is no row, or a value is not finite.

    Example:
        >>> leave_one_out(lambda rows: float(rows.sum()), 3)
        array([0., 1., 2.])
    """
    if rows < 1:
        raise ValueError(f"there must be at least one row; got {rows}.")
    places = np.arange(rows)
    whole = _finite(value(places))
    bar = tqdm(places, desc="leave one out", leave=False, disable=not progress)
    return np.array([whole - _finite(value(np.delete(places, row))) for row in bar])


def _finite(value: float) -> float:
    if not np.isfinite(value):
        raise ValueError(f"the value of a subset must be finite; got {value}.")
    return float(value)
