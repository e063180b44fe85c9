"""Keep a small part of the rows: which ones, with which weights, taught by whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from helpers.actions.plan import Plan, checked_scores, keeping

__all__ = ["balanced_chances", "keep", "keep_drawn", "teach"]

Floats = npt.NDArray[np.float64]


def keep(scores: npt.ArrayLike, share: float, *, which: str) -> Plan:
    """Keep only a share of the rows: those with the highest, lowest or middle scores.

    Args:
        scores: finite, shape ``(n,)``.
        share: kept, in (0, 1].
        which: ``highest``, ``lowest`` or ``middle``.

    Raises:
        ValueError: ``which`` is another word, share is not in (0, 1], or a score is not finite.

    Example:
        >>> keep([5.0, 1.0, 2.0, 3.0], 0.5, which="middle").kept
        array([False, False,  True,  True])
    """
    scores = checked_scores(scores, positive=False)
    n, size = len(scores), _kept_count(len(scores), share)
    starts = {"highest": n - size, "lowest": 0, "middle": (n - size) // 2}
    if which not in starts:
        raise ValueError(f"which must be one of {', '.join(starts)}; got {which!r}.")
    kept = np.zeros(n, dtype=bool)
    kept[np.argsort(scores, kind="stable")[starts[which] :][:size]] = True
    return keeping(f"keep_{which}", kept)


def keep_drawn(scores: npt.ArrayLike, share: float, *, seed: int, weighted: bool = True) -> Plan:
    """Keep a share of the rows, drawn once in proportion to their scores.

    Exactly ``share * n`` rows, none twice. Row ``i`` is kept with the chance ``pi_i``, in
    proportion to its score, cut at 1. Weights ``1 / pi_i`` keep the objective of all rows.

    Args:
        scores: not negative, at least ``share * n`` of them above 0, shape ``(n,)``.
        share: kept, in (0, 1].
        seed: of the draw.
        weighted: weight by ``1 / pi_i``; else all kept rows alike.

    Raises:
        ValueError: share is not in (0, 1], or too few scores are positive.

    Example:
        >>> plan = keep_drawn([1.0, 1.0, 2.0, 4.0], 0.5, seed=0)
        >>> int(plan.kept.sum())
        2

    Reference: Madow (1949), "On the theory of systematic sampling, II" (the draw); Horvitz and
    Thompson (1952) (the weights).
    """
    scores = checked_scores(scores)
    size = _kept_count(len(scores), share)
    chance = _inclusion(scores, size)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scores))
    ends = np.cumsum(chance[order]) + rng.random()
    ends = np.floor(np.round(np.concatenate([ends[:1] - chance[order[:1]], ends]), 9))
    kept = np.zeros(len(scores), dtype=bool)
    kept[order] = np.diff(ends) > 0
    weight = np.ones(len(scores))
    if weighted:
        weight[kept] = 1 / chance[kept]
        weight /= weight[kept].mean()
    return Plan("keep_drawn", weight, kept)


def balanced_chances(labels: npt.ArrayLike) -> Floats:
    """Return scores for :func:`keep_drawn` that give both classes the same number of rows.

    Raises:
        ValueError: one class only.

    Example:
        >>> balanced_chances([1, 0, 0, 0]).round(3)
        array([2.   , 0.667, 0.667, 0.667])

    Reference: Fithian and Hastie (2014), arXiv:1306.3706, section 1 (case-control sampling).
    """
    positive = np.asarray(labels) == 1
    rate = positive.mean()
    if not 0 < rate < 1:
        raise ValueError("both labels must occur to be balanced.")
    return np.where(positive, 0.5 / rate, 0.5 / (1 - rate))


def teach(plan: Plan, labels: npt.ArrayLike, teacher: npt.ArrayLike, trust: float) -> Plan:
    """Train a plan's rows on a mixture of their labels and a teacher's probabilities.

    A few rows with a good teacher's probability say more than the same rows with a coin's
    outcome: the teacher has seen the rows that are left out.

    Args:
        plan: which rows.
        labels: 0 or 1, shape ``(n,)``.
        teacher: probabilities of models that did not see the row, shape ``(n,)``.
        trust: the teacher's part, in [0, 1].

    Raises:
        ValueError: trust is not in [0, 1].

    Example:
        >>> from helpers.actions import uniform
        >>> teach(uniform(2), [1, 0], [0.5, 0.5], 0.5).labels
        array([0.75, 0.25])

    Reference: Hinton, Vinyals and Dean (2015), arXiv:1503.02531, section 2 (distillation).
    """
    if not 0 <= trust <= 1:
        raise ValueError(f"trust must lie in [0, 1]; got {trust}.")
    mixed = (1 - trust) * np.asarray(labels, dtype=np.float64) + trust * np.asarray(teacher)
    return replace(plan, name="teach", labels=mixed)


def _kept_count(n: int, share: float) -> int:
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1]; got {share}.")
    return max(1, round(n * share))


def _inclusion(scores: Floats, size: int) -> Floats:
    """Return chances in proportion to the scores, none above 1, with the sum ``size``."""
    if (scores > 0).sum() < size:
        raise ValueError(f"{size} rows are to be kept, but fewer have a positive score.")
    sure = np.zeros(len(scores), dtype=bool)
    while sure.sum() < size:
        chance = np.where(sure, 1.0, scores * (size - sure.sum()) / scores[~sure].sum())
        over = (chance > 1) & ~sure
        if not over.any():
            return chance
        sure |= over
    return sure.astype(np.float64)
