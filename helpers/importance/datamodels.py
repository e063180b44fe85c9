"""Do scores foretell what other training rows would have led to? The linear datamodelling score.

A score per row is a claim about subsets: train on the rows ``S``, and the outcome for a goal row
is,
up to a constant, the sum of the scores over ``S``. So train on many random halves and see whether
the sums put the outcomes into the right order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

__all__ = ["Agreement", "draw_subsets", "linear_datamodelling_score", "subset_correlations"]

Array = np.ndarray
_MAX_UNDEFINED = 0.05  # share of draws without a value


@dataclass(frozen=True)
class Agreement:
    """How well sums of scores order the outcomes of subsets.

    Attributes:
        estimate: mean over the goal rows of Spearman's correlation over the subsets.
        low: lower end of the interval.
        high: upper end.
        level: how often such intervals hold the truth, nominally.
        subsets: how many subsets were trained on.
        rows: how many goal rows the mean is over.
    """

    estimate: float
    low: float
    high: float
    level: float
    subsets: int
    rows: int


def draw_subsets(rows: int, subsets: int, *, share: float = 0.5, seed: int = 0) -> Array:
    """Return random subsets of one size, as a mask of shape ``(subsets, rows)``.

    Raises:
        ValueError: a share leaves no row in or no row out, or there is no subset.

    Example:
        >>> draw_subsets(4, 3).sum(axis=1)
        array([2, 2, 2])
    """
    size = round(share * rows)
    if not 0 < size < rows or subsets < 1:
        raise ValueError(
            f"there must be a subset, with some rows in and some out; got {subsets} subsets of "
            f"{size} of {rows} rows."
        )
    rng = np.random.default_rng(seed)
    members = np.zeros((subsets, rows), bool)
    for subset in members:
        subset[rng.permutation(rows)[:size]] = True
    return members


def subset_correlations(members: Array, scores: Array, outcomes: Array) -> Array:
    """Return each goal row's Spearman correlation of summed scores and outcomes, ``(t,)``.

    NaN where the sums or the outcomes of a goal row are all alike.

    Args:
        members: which rows each subset holds, bool, shape ``(m, n)``.
        scores: shape ``(n, t)``, positive is helpful.
        outcomes: what each subset led to, shape ``(m, t)``, higher is better.

    Raises:
        ValueError: shapes do not fit, or a value is not finite.

    Example:
        >>> members = np.array([[True, False], [False, True], [True, True]])
        >>> subset_correlations(members, np.array([[1.0], [2.0]]), np.array([[0.1], [0.3], [0.4]]))
        array([1.])
    """
    members, scores, outcomes = _checked(members, scores, outcomes)
    return _spearman(members @ scores, outcomes)


def linear_datamodelling_score(
    members: Array,
    scores: Array,
    outcomes: Array,
    *,
    groups: Array | None = None,
    repeats: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """Return the mean correlation of :func:`subset_correlations`, with an interval.

    Each draw of the interval takes subsets and goal rows (or groups of them) with replacement, both
    at once; the draws are moved to have the estimate as their mean. It covers other subsets of
    these training rows and other goal rows of these weeks; not other training rows, and not what
    was chosen on the same goal rows.

    Outcomes are best averaged over several trainings a subset: what seeds do is noise here, and it
    limits what any score can reach.

    Args:
        members: which rows each subset holds, bool, shape ``(m, n)``.
        scores: shape ``(n, t)``, positive is helpful.
        outcomes: shape ``(m, t)``, higher is better, such as the margin ``(2y - 1) z``.
        groups: who each goal row belongs to, shape ``(t,)``, such as users; rows of one are drawn
            together. Each row is its own group by default.
        repeats: number of draws.
        seed: starts the random draws.
        level: share of draws between the two ends.

    Raises:
        ValueError: for the reasons that :func:`subset_correlations` has; there are fewer than 3
            subsets; a goal row has no correlation, or more than 5 % of the draws have none.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> members, scores = draw_subsets(20, 30), rng.normal(size=(20, 5))
        >>> found = linear_datamodelling_score(members, scores, members @ scores, repeats=20)
        >>> round(found.estimate, 6), round(found.low, 6)
        (1.0, 1.0)

    Reference: Park et al. (2023), arXiv:2303.14186, section 2 (LDS); Ilyas et al. (2022),
    arXiv:2202.00622, for outcomes as sums over the training rows.
    """
    members, scores, outcomes = _checked(members, scores, outcomes)
    subsets, rows = outcomes.shape
    if subsets < 3 or repeats < 1 or not 0 < level < 1:
        raise ValueError(
            "there must be at least 3 subsets, 1 repeat and a level between 0 and 1; "
            f"got {subsets}, {repeats} and {level}."
        )
    codes = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    if codes.shape != (rows,):
        raise ValueError(f"groups must have shape ({rows},); got {codes.shape}.")
    sums = members @ scores
    whole = _spearman(sums, outcomes)
    if np.isnan(whole).any():
        raise ValueError(
            f"{np.isnan(whole).sum()} of {rows} goal rows have sums or outcomes that are all "
            "alike: there is nothing to order. Leave these rows or this score out."
        )
    rng, draws, number = np.random.default_rng(seed), np.empty(repeats), codes.max() + 1
    for place in range(repeats):
        drawn = rng.integers(subsets, size=subsets)
        weight = np.bincount(rng.integers(number, size=number), minlength=number)[codes]
        found = _spearman(sums[drawn], outcomes[drawn])
        valued = ~np.isnan(found) & (weight > 0)
        draws[place] = np.average(found[valued], weights=weight[valued]) if valued.any() else np.nan
    if np.isnan(draws).mean() > _MAX_UNDEFINED:
        raise ValueError(
            f"no goal row has a correlation in {np.isnan(draws).sum()} of {repeats} draws: there "
            "are too few subsets for an interval."
        )
    estimate, draws = whole.mean(), draws[~np.isnan(draws)]
    # A subset that is drawn twice is no second subset: draws lie a little lower than the estimate.
    draws = np.clip(draws + estimate - draws.mean(), -1, 1)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Agreement(float(estimate), float(low), float(high), level, subsets, rows)


def _spearman(one: Array, other: Array) -> Array:
    """Return the rank correlation of each column; ties get their mean rank."""
    a, b = rankdata(one, axis=0), rankdata(other, axis=0)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), size, out=np.full(len(size), np.nan), where=size > 0)


def _checked(members: Array, scores: Array, outcomes: Array) -> tuple[Array, Array, Array]:
    members = np.asarray(members)
    scores, outcomes = np.asarray(scores, np.float64), np.asarray(outcomes, np.float64)
    shapes = members.shape, scores.shape, outcomes.shape
    if [len(shape) for shape in shapes] != [2, 2, 2] or shapes != (
        (shapes[2][0], shapes[1][0]),
        (shapes[0][1], shapes[2][1]),
        (shapes[0][0], shapes[1][1]),
    ):
        raise ValueError(
            "members must have shape (subsets, rows), scores (rows, goal rows) and outcomes "
            f"(subsets, goal rows); got {shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    if members.dtype != bool:
        raise ValueError(f"members must be True or False; got the type {members.dtype}.")
    if not (np.isfinite(scores).all() and np.isfinite(outcomes).all()):
        raise ValueError("scores and outcomes must be finite.")
    return members, scores, outcomes
