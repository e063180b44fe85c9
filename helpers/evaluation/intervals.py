"""How sure is a number? Bootstrap intervals over users, and over users and paired seeds.

Rows of one user are not independent, so whole users are drawn, never single rows. Two models that
share the rows and the seed are compared inside each draw, so what they share cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import norm, t

from helpers.evaluation.calibration import check_rows
from helpers.evaluation.ranking import group_codes, list_metrics, user_metrics

__all__ = [
    "METRICS",
    "OF_LISTS",
    "Interval",
    "NoInterval",
    "bootstrap_by_user",
    "paired_difference",
    "paired_worlds",
]


class NoInterval(ValueError):
    """The data are fine, but too few users are such that the metric has a value."""


Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: From how often each user was drawn, shape (draws, users), to the metric of each draw, (draws,).
Statistic = Callable[[Integers], Floats]

#: Rows times draws worked on at once: small enough for a processor's cache.
_CHUNK = 30_000
#: A larger share of draws without a value says that the data cannot carry an interval.
_MAX_UNDEFINED = 0.05


@dataclass(frozen=True)
class Interval:
    """A number and the range that chance leaves it.

    Attributes:
        estimate: the number on the users (and the mean over the seeds) as they are.
        low: lower end.
        high: upper end.
        level: how often such intervals hold the truth, nominally.
        repeats: how many draws the interval rests on.
        users: how many users were drawn from.
        seeds: how many seeds were drawn from; with 1 the interval knows nothing about seeds.
    """

    estimate: float
    low: float
    high: float
    level: float
    repeats: int
    users: int
    seeds: int


def bootstrap_by_user(
    metric: str,
    labels: ArrayLike,
    scores: ArrayLike,
    users: ArrayLike,
    *,
    repeats: int = 1000,
    seed: int,
    level: float = 0.95,
    lists: ArrayLike | None = None,
    k: int = 10,
) -> Interval:
    """Return one model's metric with an interval over users.

    Each draw takes as many users as there are, with replacement, each with all of their rows. The
    interval covers which users happened to be in these weeks. It does not cover other weeks,
    another training run, or a choice that was made on the same rows; with fewer than about 50
    users it is too narrow.

    Args:
        metric: a key of :data:`METRICS`.
        labels: 0 or 1, shape ``(n,)``.
        scores: shape ``(n,)``; logits for ``log_loss`` and ``base_rate``, those after a line for
            ``log_loss_recalibrated`` and ``log_loss_corrected``.
        users: who each row belongs to, shape ``(n,)``.
        repeats: number of draws.
        seed: start of the random draws.
        level: share of draws between the two ends, in (0, 1).
        lists: which list each row is in, shape ``(n,)``; for the metrics "at k".
        k: how many rows from the top of each list count.

    Returns:
        The percentile interval; ``seeds`` is 1.

    Raises:
        ValueError: an unknown metric, a metric at k without lists, a list with rows of two users,
            fewer than two users, more than 5 % of the draws without a value (too few users have a
            positive), or the rows are refused.

    Example:
        >>> interval = bootstrap_by_user("auc", [0, 1] * 3, [0.1, 0.9] * 3, list("aabbcc"), seed=0)
        >>> interval.estimate, interval.low, interval.high
        (1.0, 1.0, 1.0)
    """
    codes = _user_codes(labels, np.shape(labels)[:1], users)
    statistic = _statistic(metric, labels, scores, codes, lists=lists, k=k)
    return _interval([statistic], codes, repeats=repeats, seed=seed, level=level)


def paired_difference(
    labels: ArrayLike,
    before: ArrayLike,
    after: ArrayLike,
    users: ArrayLike,
    *,
    metric: str = "auc",
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    lists: ArrayLike | None = None,
    k: int = 10,
) -> Interval:
    """Return how much a metric changed, with an interval over users and seeds.

    Row s of ``before`` and of ``after`` are two models trained from the same seed. Each draw takes
    users with replacement (whole users, the same for all models) and pairs of seeds with
    replacement (never split), and computes the mean of ``after - before``. A few seeds show too
    little of how much seeds vary, so the seeds' part of each draw is stretched by
    ``sqrt(S / (S - 1)) * t / z``, t and z being the Student and normal quantiles of the level.
    (The tests simulate worlds with a known difference and count how often it is held.)

    The interval covers other users of the same weeks and other seeds of the same training. It does
    not cover other weeks or other data sets; other training rows only as far as seeds draw them;
    and not the luck of the best of many: an action that was *chosen* on these rows looks better
    than it is. With fewer than about 50 users or 5 seeds read it as a rough guide.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        before: scores of S seeds, shape ``(S, n)``; see :func:`bootstrap_by_user` for which.
        after: scores of the same seeds in the same order, shape ``(S, n)``.
        users: who each row belongs to, shape ``(n,)``.
        metric: a key of :data:`METRICS`.
        repeats: number of draws.
        seed: start of the random draws.
        level: share of draws between the two ends, in (0, 1).
        lists: which list each row is in, shape ``(n,)``; for the metrics "at k".
        k: how many rows from the top of each list count.

    Returns:
        ``estimate`` is the mean over seeds of ``metric(after) - metric(before)``; with S = 1 the
        ends hold the users' variance only.

    Raises:
        ValueError: ``before`` and ``after`` differ in shape or do not fit the labels, or
            :func:`bootstrap_by_user` would refuse.

    Example:
        >>> flat, right = np.zeros((2, 6)), np.tile([0.1, 0.9], (2, 3))
        >>> paired_difference([0, 1] * 3, flat, right, list("aabbcc")).estimate
        0.5

    Reference: Hesterberg (2015), The American Statistician 69(4), "What teachers should know about
    the bootstrap", on intervals from few observations.
    """
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if old.ndim != 2 or old.shape != new.shape or not len(old):
        raise ValueError(
            "before and after must both have shape (seeds, rows), one row of scores per seed; "
            f"got {old.shape} and {new.shape}."
        )
    codes = _user_codes(labels, old.shape[1:], users)
    pairs = [
        _difference(
            _statistic(metric, labels, x, codes, lists=lists, k=k),
            _statistic(metric, labels, y, codes, lists=lists, k=k),
        )
        for x, y in zip(old, new, strict=True)
    ]
    return _interval(pairs, codes, repeats=repeats, seed=seed, level=level)


def paired_worlds(
    worlds: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]],
    *,
    metric: str = "auc",
    repeats: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return how much a metric changed, where each seed has labels and rows of its own.

    As :func:`paired_difference`, for seeds that differ in *what is to be found*: each world planted
    its noise elsewhere. Each draw takes users with replacement, the same in all worlds, and
    worlds with replacement.

    Args:
        worlds: ``labels, before, after, users`` of each, all of shape ``(n,)``; ``n`` may differ.
        metric: a key of :data:`METRICS` without lists.
        repeats: number of draws.
        seed: start of the random draws.
        level: share of draws between the two ends, in (0, 1).

    Raises:
        ValueError: there is no world, or :func:`bootstrap_by_user` would refuse one.

    Example:
        >>> world = ([0, 1] * 3, [0.0] * 6, [0.1, 0.9] * 3, list("aabbcc"))
        >>> paired_worlds([world, world], repeats=20).estimate
        0.5
    """
    if not worlds:
        raise ValueError("there must be at least one world to compare in.")
    sizes = [len(np.asarray(world[0])) for world in worlds]
    users = np.concatenate([np.asarray(world[3]) for world in worlds])
    codes, found = group_codes(users, sum(sizes), name="users")
    if len(found) < 2:
        raise ValueError(f"an interval over users needs at least 2 users; got {len(found)}.")
    parts = np.split(codes, np.cumsum(sizes)[:-1])
    pairs = [
        _difference(*(_statistic(metric, y, z, part, lists=None, k=1) for z in (old, new)))
        for (y, old, new, _), part in zip(worlds, parts, strict=True)
    ]
    return _interval(pairs, codes, repeats=repeats, seed=seed, level=level)


def _user_codes(labels: ArrayLike, rows: tuple[int, ...], users: ArrayLike) -> Integers:
    if np.shape(labels)[:1] != rows:
        raise ValueError(f"labels must have one value per row; got {np.shape(labels)} for {rows}.")
    codes, found = group_codes(users, len(np.asarray(labels)), name="users")
    if len(found) < 2:
        raise ValueError(f"an interval over users needs at least 2 users; got {len(found)}.")
    return codes


# Drawing ---------------------------------------------------------------------------------------


def _interval(
    statistics: list[Statistic], codes: Integers, *, repeats: int, seed: int, level: float
) -> Interval:
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; got {repeats}.")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1; got {level}.")
    rng = np.random.default_rng(seed)
    seeds, users = len(statistics), int(codes.max()) + 1
    # Users and seeds are drawn independently. A draw of seeds is the share that each one has in
    # it: with three seeds, (2/3, 0, 1/3) is a draw that took the first one twice.
    seed_shares = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=repeats) / seeds
    by_seed = np.column_stack(_draw_users(statistics, codes, repeats, rng))
    centre = by_seed.mean(axis=1)
    from_seeds = (seed_shares * by_seed).sum(axis=1) - centre
    # Few seeds scatter less than the many that they stand for, so that part is stretched.
    draws = centre + _stretch(seeds, level) * from_seeds
    draws = draws[np.isfinite(draws)]
    if len(draws) < (1 - _MAX_UNDEFINED) * repeats:
        raise NoInterval(
            f"the metric has no value in {repeats - len(draws)} of {repeats} draws of users: "
            "too few users have both a positive and a negative row for an interval."
        )
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    as_it_is = np.ones((1, users), dtype=np.int64)
    estimate = float(np.mean([statistic(as_it_is)[0] for statistic in statistics]))
    return Interval(estimate, float(low), float(high), level, len(draws), users, seeds)


def _stretch(seeds: int, level: float) -> float:
    """Return by how much the scatter of drawn seeds must grow to cover the true mean.

    A bootstrap of n values has the variance of a sample divided by n, not by n - 1, and its
    quantiles are those of a normal distribution, where n values call for Student's.
    """
    if seeds == 1:
        return 1.0
    quantile = (1 + level) / 2
    student = float(t.ppf(quantile, seeds - 1) / norm.ppf(quantile))
    return float(np.sqrt(seeds / (seeds - 1))) * student


def _draw_users(
    statistics: list[Statistic], codes: Integers, repeats: int, rng: np.random.Generator
) -> list[Floats]:
    """Return each statistic's value in each draw: one array of shape ``(repeats,)`` each."""
    users, step = int(codes.max()) + 1, max(1, _CHUNK // len(codes))
    values: list[list[Floats]] = [[] for _ in statistics]
    for start in range(0, repeats, step):
        counts = _draw_counts(users, min(step, repeats - start), rng)
        for kept, statistic in zip(values, statistics, strict=True):
            kept.append(statistic(counts))
    return [np.concatenate(kept) for kept in values]


def _draw_counts(users: int, draws: int, rng: np.random.Generator) -> Integers:
    """Return how often each user came up when ``users`` were drawn, shape ``(draws, users)``."""
    drawn = rng.integers(users, size=(draws, users)) + users * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * users).reshape(draws, users)


# Metrics in which each user counts as often as drawn -------------------------------------------


def _statistic(
    metric: str,
    labels: ArrayLike,
    scores: ArrayLike,
    codes: Integers,
    *,
    lists: ArrayLike | None,
    k: int,
) -> Statistic:
    """Return the metric as a function of the users' counts; what can be prepared is."""
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {metric!r}.")
    truth, values = check_rows(labels, scores, both_classes=metric in _NEEDS_BOTH_CLASSES)
    if metric in _BY_LIST:
        return _list_mean(_BY_LIST[metric], truth, values, codes, lists, k)
    return _BY_ROW[metric](truth, values, codes)


def _difference(before: Statistic, after: Statistic) -> Statistic:
    return lambda counts: after(counts) - before(counts)


def _ratio(totals: NDArray[Any], weights: NDArray[Any]) -> Statistic:
    """Return sum(total) / sum(weight) over the drawn users; NaN where no drawn user has weight."""
    totals, weights = totals.astype(np.float64), weights.astype(np.float64)
    return lambda counts: _divide(counts @ totals, counts @ weights)


def _divide(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    out = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _auc(truth: Floats, values: Floats, codes: Integers) -> Statistic:
    """Return the AUC by draw: sort once, then each draw is one cumulative sum of user counts."""
    negative = np.flatnonzero(truth == 0)
    negative = negative[np.argsort(values[negative])]
    positive = np.flatnonzero(truth == 1)
    below = np.searchsorted(values[negative], values[positive], side="left")
    not_above = np.searchsorted(values[negative], values[positive], side="right")
    negative_user, positive_user = codes[negative], codes[positive]

    def by_draw(counts: Integers) -> Floats:
        passed = _running_sum(counts[:, negative_user])  # weight of the lowest 0, 1, ... rows
        weight = counts[:, positive_user]
        wins = (weight * (passed[:, below] + passed[:, not_above])).sum(axis=1) / 2  # tie: half
        return _divide(wins, weight.sum(axis=1) * passed[:, -1])

    return by_draw


def _running_sum(counts: Integers) -> Integers:
    sums = np.zeros((len(counts), counts.shape[1] + 1), dtype=np.int64)
    np.cumsum(counts, axis=1, out=sums[:, 1:])
    return sums


def _average_precision(truth: Floats, values: Floats, codes: Integers) -> Statistic:
    """Return average precision by draw; rows with one score enter together."""
    order = np.argsort(-values)
    user, is_positive = codes[order], truth[order] == 1
    last_of_score = np.flatnonzero(np.r_[np.diff(values[order]) != 0, True])

    def by_draw(counts: Integers) -> Floats:
        weight = counts[:, user]
        hits = np.cumsum(weight * is_positive, axis=1)[:, last_of_score]
        shown = np.cumsum(weight, axis=1)[:, last_of_score]
        precision = hits / np.maximum(shown, 1)
        return _divide((np.diff(hits, axis=1, prepend=0) * precision).sum(axis=1), hits[:, -1])

    return by_draw


def _log_loss(truth: Floats, values: Floats, codes: Integers) -> Statistic:
    loss = np.logaddexp(0.0, (1 - 2 * truth) * values)
    return _ratio(np.bincount(codes, loss), np.bincount(codes))


def _base_rate(truth: Floats, values: Floats, codes: Integers) -> Statistic:
    return _ratio(np.bincount(codes, expit(values)), np.bincount(codes))


def _user_auc(truth: Floats, values: Floats, codes: Integers) -> Statistic:
    auc = user_metrics(truth, values, codes).sort_values("user")["auc"].to_numpy()
    return _ratio(np.nan_to_num(auc), ~np.isnan(auc))


def _list_mean(
    column: str,
    truth: Floats,
    values: Floats,
    codes: Integers,
    lists: ArrayLike | None,
    k: int,
) -> Statistic:
    """Return the mean over the drawn users' lists; a user drawn twice brings each list twice."""
    if lists is None:
        raise ValueError(f"{column} at k needs lists: which list each row is in.")
    list_codes, names = group_codes(lists, len(truth), name="lists")
    owner = codes[np.unique(list_codes, return_index=True)[1]]
    strange = list_codes[owner[list_codes] != codes]
    if len(strange):
        raise ValueError(
            f"a list must belong to one user; list {names[strange[0]]!r} has rows of several."
        )
    value = list_metrics(truth, values, list_codes, k=k)[column].to_numpy()
    used = ~np.isnan(value)
    users = codes.max() + 1
    return _ratio(
        np.bincount(owner[used], value[used], minlength=users),
        np.bincount(owner[used], minlength=users),
    )


_BY_ROW: dict[str, Callable[[Floats, Floats, Integers], Statistic]] = {
    "auc": _auc,
    "pr_auc": _average_precision,
    "user_auc": _user_auc,
    "log_loss": _log_loss,
    "log_loss_recalibrated": _log_loss,
    "log_loss_corrected": _log_loss,
    "base_rate": _base_rate,
}
_BY_LIST = {"ndcg_at_k": "ndcg", "recall_at_k": "recall", "hit_rate_at_k": "hit_rate"}
_NEEDS_BOTH_CLASSES = ("auc", "pr_auc", "user_auc")

#: The metrics an interval can be had for.
METRICS: tuple[str, ...] = (*_BY_ROW, *_BY_LIST)
#: Those of them that need to know which list each row is in.
OF_LISTS: tuple[str, ...] = tuple(_BY_LIST)
