"""Leave rows out: suspicious ones, random ones, or those an oracle names."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from helpers.actions.plan import Plan, checked_scores, keeping

__all__ = ["drop_highest", "drop_marked", "drop_random", "drop_stratified"]

Floats = npt.NDArray[np.float64]


def drop_highest(scores: npt.ArrayLike, share: float) -> Plan:
    """Leave out the given share of rows with the highest scores.

    Ties are broken by the rows' places: of equal scores the later are left out.

    Raises:
        ValueError: share is not in [0, 1), no row would stay, or a score is not finite.

    Example:
        >>> drop_highest([5.0, 1.0, 2.0, 3.0], 0.25).kept
        array([False,  True,  True,  True])
    """
    scores = checked_scores(scores, positive=False)
    kept = np.ones(len(scores), dtype=bool)
    kept[np.argsort(scores, kind="stable")[len(scores) - _count(len(scores), share) :]] = False
    return keeping("drop_highest", kept)


def drop_random(n: int, share: float, *, seed: int) -> Plan:
    """Leave out a share of rows drawn evenly: what dropping costs by itself.

    Raises:
        ValueError: share is not in [0, 1), or no row would stay.

    Example:
        >>> int(drop_random(10, 0.3, seed=0).kept.sum())
        7
    """
    kept = np.ones(n, dtype=bool)
    kept[np.random.default_rng(seed).permutation(n)[: _count(n, share)]] = False
    return keeping("drop_random", kept)


def drop_stratified(scores: npt.ArrayLike, labels: npt.ArrayLike, share: float) -> Plan:
    """Leave out the given share of each class, its highest scores first.

    High scores crowd in the rarer class; dropping them shifts the base rate. This
    keeps the classes' proportions, as far as whole rows can.

    Raises:
        ValueError: as :func:`drop_highest`, for each class; or the lengths differ.

    Example:
        >>> drop_stratified([9.0, 8.0, 1.0, 2.0], [1, 1, 0, 0], 0.5).kept
        array([False,  True,  True, False])
    """
    scores, labels = checked_scores(scores, positive=False), np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"scores and labels must agree; got {scores.shape} and {labels.shape}.")
    kept = np.ones(len(scores), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept[rows] = drop_highest(scores[rows], share).kept
    return keeping("drop_stratified", kept)


def drop_marked(marked: npt.ArrayLike) -> Plan:
    """Leave out exactly these rows: what an oracle would do with wrong labels.

    Raises:
        ValueError: no row would stay.
    """
    kept = ~np.asarray(marked, dtype=bool)
    if not kept.any():
        raise ValueError("every row is marked, so none would stay.")
    return keeping("drop_marked", kept)


def _count(n: int, share: float) -> int:
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1); got {share}.")
    count = int(round(n * share))
    if count == n:
        raise ValueError(f"share {share} of {n} rows leaves none; use a smaller share.")
    return count
