"""Do the better items come first, for each user and on each list?

Rows with equal scores have no order, so every metric here returns what it would be on average if
such rows were shuffled: swapping two rows never changes a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from helpers.evaluation.calibration import check_rows

__all__ = [
    "GroupMean",
    "group_codes",
    "hit_rate_at_k",
    "list_metrics",
    "ndcg_at_k",
    "recall_at_k",
    "user_auc",
    "user_metrics",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class GroupMean:
    """A mean over groups, and how many groups could not take part.

    Attributes:
        value: the mean; NaN when no group qualifies.
        groups: over how many groups the mean is taken.
        left_out: how many groups have no value, because a class is missing in them.
    """

    value: float
    groups: int
    left_out: int


@dataclass(frozen=True)
class _Runs:
    """Rows of one group that share a score, best score first: the unit in which ties are exact."""

    group: Integers  # (runs,) which group
    size: Integers  # (runs,) how many rows
    positives: Floats  # (runs,) how many of them are positive
    start: Integers  # (runs,) rows of the same group with a higher score
    first: Integers  # (groups,) each group's first run


def group_codes(groups: ArrayLike, rows: int, *, name: str) -> tuple[Integers, NDArray[Any]]:
    """Return a number from 0 for each row's group, and the groups in that order.

    Args:
        groups: shape ``(rows,)``, any type that can be compared; none missing.
        rows: how many entries ``groups`` must have.
        name: what an error message calls the groups.

    Returns:
        Codes of shape ``(rows,)`` and the groups in order of first appearance.

    Raises:
        ValueError: another length, or a missing value.
    """
    if np.shape(groups) != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), one per row; got {np.shape(groups)}.")
    codes, found = pd.factorize(pd.Series(groups))
    missing = int((codes < 0).sum())
    if missing:
        raise ValueError(
            f"{name} is missing in {missing} of {rows} rows; leave those rows out or name them."
        )
    return codes, np.asarray(found)


def _runs(truth: Floats, values: Floats, codes: Integers) -> _Runs:
    order = np.lexsort((-values, codes))
    group, score = codes[order], values[order]
    new_group = np.r_[True, group[1:] != group[:-1]]
    starts = np.flatnonzero(new_group | np.r_[True, score[1:] != score[:-1]])
    return _Runs(
        group=group[starts],
        size=np.diff(np.r_[starts, len(score)]),
        positives=np.add.reduceat(truth[order], starts),
        start=starts - np.flatnonzero(new_group)[group[starts]],
        first=np.searchsorted(group[starts], np.arange(group[-1] + 1)),
    )


def user_metrics(labels: ArrayLike, scores: ArrayLike, users: ArrayLike) -> pd.DataFrame:
    """Return each user's AUC.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        scores: shape ``(n,)``.
        users: who each row belongs to, shape ``(n,)``.

    Returns:
        One row per user, in order of first appearance: ``user``, ``rows``, ``positives``, ``auc``
        (NaN where the user has one class only).

    Raises:
        ValueError: the rows or the users are refused.

    Example:
        >>> user_metrics([0, 1, 1], [0.1, 0.7, 0.7], ["ann", "ann", "bob"])
          user  rows  positives  auc
        0  ann     2          1  1.0
        1  bob     1          1  NaN
    """
    truth, values = check_rows(labels, scores)
    codes, names = group_codes(users, len(truth), name="users")
    runs = _runs(truth, values, codes)
    rows, positives = np.bincount(codes), np.bincount(codes, truth)
    negatives = runs.size - runs.positives
    above = np.cumsum(negatives) - negatives  # negatives in earlier runs, all groups together
    above -= above[runs.first][runs.group]
    wins = runs.positives * ((rows - positives)[runs.group] - above - negatives / 2)
    pairs = positives * (rows - positives)
    auc = np.divide(
        np.bincount(runs.group, wins), pairs, out=np.full(len(rows), np.nan), where=pairs > 0
    )
    return pd.DataFrame(
        {"user": names, "rows": rows, "positives": positives.astype(np.int64), "auc": auc}
    )


def user_auc(
    labels: ArrayLike, scores: ArrayLike, users: ArrayLike, *, weight_by_rows: bool = False
) -> GroupMean:
    """Return the mean AUC of the users who have both classes.

    It asks whether each user's own items are in the right order; that some users buy more than
    others earns nothing here, though it does in :func:`roc_auc`.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        scores: shape ``(n,)``.
        users: who each row belongs to, shape ``(n,)``.
        weight_by_rows: False counts each user once; True counts a user once for each of their
            rows (the "GAUC" of advertising).

    Returns:
        The mean (NaN when no user qualifies), the users in it, the users left out.

    Raises:
        ValueError: the rows or the users are refused.

    Example:
        >>> user_auc([0, 1, 1], [0.1, 0.7, 0.7], ["ann", "ann", "bob"])
        GroupMean(value=1.0, groups=1, left_out=1)
    """
    table = user_metrics(labels, scores, users)
    return _group_mean(table["auc"], table["rows"] if weight_by_rows else None)


def list_metrics(
    labels: ArrayLike, scores: ArrayLike, lists: ArrayLike, *, k: int = 10
) -> pd.DataFrame:
    """Return NDCG, recall and hit rate of each list's first ``k`` rows.

    Rows with equal scores count with their average over all orders; for a hit, with its chance.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        scores: shape ``(n,)``; each list is ordered by it, highest first.
        lists: which list each row is in, shape ``(n,)``.
        k: how many rows from the top of each list count; a shorter list counts whole.

    Returns:
        One row per list, in order of first appearance: ``list``, ``rows``, ``positives`` and, NaN
        where the list has no positive, ``ndcg`` (gain discounted by ``1 / log2(1 + place)``, over
        the best possible), ``recall`` (share of the list's positives among the first k; below 1
        for certain when there are more than k), ``hit_rate`` (chance of at least one).

    Raises:
        ValueError: ``k`` below 1, or the rows or the lists are refused.

    Example:
        >>> list_metrics([0, 1, 1], [0.5, 0.5, 0.1], ["a", "a", "b"], k=1)
          list  rows  positives  ndcg  recall  hit_rate
        0    a     2          1   0.5     0.5       0.5
        1    b     1          1   1.0     1.0       1.0

    Reference: McSherry and Najork (2008), ECIR, "Computing information retrieval performance
    measures efficiently in the presence of tied scores".
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}.")
    truth, values = check_rows(labels, scores)
    codes, names = group_codes(lists, len(truth), name="lists")
    runs = _runs(truth, values, codes)
    rows, positives = np.bincount(codes), np.bincount(codes, truth)
    sums: dict[str, tuple[NDArray[Any], NDArray[Any] | float]] = {
        "ndcg": (_gain(runs, k), _discounts_until(np.minimum(positives, k))),
        "recall": (np.bincount(runs.group, runs.positives * _share_shown(runs, k)), positives),
        "hit_rate": (1 - np.multiply.reduceat(_miss_chance(runs, k), runs.first), 1.0),
    }
    table = {"list": names, "rows": rows, "positives": positives.astype(np.int64)}
    for name, (got, possible) in sums.items():
        table[name] = np.where(positives > 0, got / np.where(positives > 0, possible, 1.0), np.nan)
    return pd.DataFrame(table)


def ndcg_at_k(labels: ArrayLike, scores: ArrayLike, lists: ArrayLike, *, k: int = 10) -> GroupMean:
    """Return the mean NDCG of the lists that have a positive; see :func:`list_metrics`.

    Example:
        >>> ndcg_at_k([0, 1], [0.2, 0.9], ["a", "a"])
        GroupMean(value=1.0, groups=1, left_out=0)
    """
    return _group_mean(list_metrics(labels, scores, lists, k=k)["ndcg"])


def recall_at_k(
    labels: ArrayLike, scores: ArrayLike, lists: ArrayLike, *, k: int = 10
) -> GroupMean:
    """Return the mean recall of the lists that have a positive; see :func:`list_metrics`."""
    return _group_mean(list_metrics(labels, scores, lists, k=k)["recall"])


def hit_rate_at_k(
    labels: ArrayLike, scores: ArrayLike, lists: ArrayLike, *, k: int = 10
) -> GroupMean:
    """Return the mean hit rate of the lists that have a positive; see :func:`list_metrics`."""
    return _group_mean(list_metrics(labels, scores, lists, k=k)["hit_rate"])


def _group_mean(values: pd.Series, weights: pd.Series | None = None) -> GroupMean:
    used = values.notna()
    count = int(used.sum())
    if not count:
        return GroupMean(float("nan"), 0, len(values))
    mean = np.average(values[used], weights=None if weights is None else weights[used])
    return GroupMean(float(mean), count, len(values) - count)


def _discounts_until(places: NDArray[Any]) -> Floats:
    """Return the sum of ``1 / log2(1 + place)`` over the first ``places`` places."""
    places = places.astype(np.int64)
    discounts = 1 / np.log2(np.arange(2, places.max(initial=0) + 2))
    sums: Floats = np.concatenate([[0.0], np.cumsum(discounts)])[places]
    return sums


def _gain(runs: _Runs, k: int) -> Floats:
    end = np.minimum(runs.start + runs.size, k)
    discounts = _discounts_until(end) - _discounts_until(np.minimum(runs.start, k))
    gains = np.bincount(runs.group, runs.positives * discounts / runs.size)
    return gains  # type: ignore[return-value] # NumPy's types forget that weights make floats


def _places_shown(runs: _Runs, k: int) -> Integers:
    return np.clip(k - runs.start, 0, runs.size)


def _share_shown(runs: _Runs, k: int) -> Floats:
    return _places_shown(runs, k) / runs.size


def _miss_chance(runs: _Runs, k: int) -> Floats:
    """Return each run's chance that none of its positives is shown (hypergeometric)."""
    shown, negatives = _places_shown(runs, k), runs.size - runs.positives
    spare = negatives - shown  # choose(negatives, shown) / choose(size, shown), by logarithms
    log_chance = (
        gammaln(negatives + 1)
        - gammaln(np.maximum(spare, 0) + 1)
        - gammaln(runs.size + 1)
        + gammaln(runs.size - shown + 1)
    )
    chance = np.where(spare >= 0, np.exp(log_chance), 0.0)
    return np.where((runs.positives == 0) | (shown == 0), 1.0, chance)
