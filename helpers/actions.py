"""What one can do with scores: weight, drop, draw, or change the learning rate.

An action turns scores into a :class:`Plan` and knows nothing about how the
scores came about. Every plan spends the same number of updates, so that plans
differ only in *which* rows they spend them on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Plan",
    "draw_order",
    "drop_highest",
    "drop_random",
    "drop_stratified",
    "importance_sampling",
    "per_sample_rate",
    "resample",
    "soft_down_weight",
    "up_weight",
    "uniform",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """How a training run treats its rows.

    Attributes:
        name: of the action.
        weight: multiplies each row's loss, shape ``(n,)``, mean 1 over the rows
            that are trained on (for :func:`importance_sampling`, under the draw).
        kept: whether a row is trained on at all, shape ``(n,)``.
        chance: probability of each row at each draw, shape ``(n,)``, sum 1; None
            for shuffled passes over the kept rows.
    """

    name: str
    weight: Floats
    kept: npt.NDArray[np.bool_]
    chance: Floats | None = None


def uniform(n: int) -> Plan:
    """Return the plan that treats all rows alike: the reference line."""
    return Plan("uniform", np.ones(n), np.ones(n, dtype=bool))


def up_weight(scores: npt.ArrayLike) -> Plan:
    """Weight each row by its score: the article's "optimise by importance".

    Args:
        scores: not negative, not all 0, shape ``(n,)``.

    Raises:
        ValueError: a score is negative or not finite, or all are 0.

    Example:
        >>> up_weight([1.0, 3.0]).weight
        array([0.5, 1.5])
    """
    scores = _checked(scores)
    return Plan("up_weight", _mean_one(scores), np.ones(len(scores), dtype=bool))


def soft_down_weight(errors: npt.ArrayLike) -> Plan:
    """Weight each row by ``1 - |p - y|``, the error taken out of fold.

    A row that a model of other users finds impossible counts for little.

    Args:
        errors: in [0, 1], shape ``(n,)``.

    Raises:
        ValueError: an error lies outside [0, 1], or all are 1.

    Example:
        >>> soft_down_weight([0.0, 0.5]).weight.round(3)
        array([1.333, 0.667])
    """
    errors = _checked(errors, positive=False)
    if (errors < 0).any() or (errors > 1).any():
        raise ValueError("errors must lie in [0, 1]; they are distances of a probability.")
    return Plan("soft_down_weight", _mean_one(1.0 - errors), np.ones(len(errors), dtype=bool))


def drop_highest(scores: npt.ArrayLike, share: float) -> Plan:
    """Leave out the given share of rows with the highest scores.

    Ties are broken by the rows' places: of equal scores the later are left out.

    Raises:
        ValueError: share is not in [0, 1), no row would stay, or a score is not finite.

    Example:
        >>> drop_highest([5.0, 1.0, 2.0, 3.0], 0.25).kept
        array([False,  True,  True,  True])
    """
    scores = _checked(scores, positive=False)
    kept = np.ones(len(scores), dtype=bool)
    kept[np.argsort(scores, kind="stable")[len(scores) - _count(len(scores), share) :]] = False
    return _keeping("drop_highest", kept)


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
    return _keeping("drop_random", kept)


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
    scores, labels = _checked(scores, positive=False), np.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"scores and labels must agree; got {scores.shape} and {labels.shape}.")
    kept = np.ones(len(scores), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept[rows] = drop_highest(scores[rows], share).kept
    return _keeping("drop_stratified", kept)


def resample(scores: npt.ArrayLike) -> Plan:
    """Draw rows in proportion to their scores, without correcting for it.

    On average this descends the same loss as :func:`up_weight`.

    Raises:
        ValueError: a score is negative or not finite, or all are 0.

    Example:
        >>> resample([1.0, 3.0]).chance
        array([0.25, 0.75])
    """
    scores = _checked(scores)
    n = len(scores)
    return Plan("resample", np.ones(n), np.ones(n, dtype=bool), scores / scores.sum())


def importance_sampling(scores: npt.ArrayLike, *, mix: float = 0.1) -> Plan:
    """Draw rows by score *and* weight them by ``1 / (N p)``: same loss, other noise.

    Importance sampling leaves the objective as it is and can only change the
    variance of its gradient; it is not reweighting.

    Args:
        scores: not negative, shape ``(n,)``.
        mix: share of even draws, which bounds the weights by ``1 / mix``. With 0 a row
            of score 0 is never drawn, which is right only where its gradient is 0.

    Raises:
        ValueError: mix is not in [0, 1], a score is negative or not finite, or all are 0.

    Example:
        >>> plan = importance_sampling([1.0, 3.0], mix=0.0)
        >>> plan.chance * plan.weight
        array([0.5, 0.5])

    Reference: Katharopoulos and Fleuret (2018), arXiv:1803.00942, section 3.1.
    """
    scores = _checked(scores)
    if not 0 <= mix <= 1:
        raise ValueError(f"mix must lie in [0, 1]; got {mix}.")
    n = len(scores)
    chance = (1 - mix) * scores / scores.sum() + mix / n
    weight = np.divide(1.0, n * chance, out=np.zeros(n), where=chance > 0)
    return Plan("importance_sampling", weight, chance > 0, chance)


def per_sample_rate(scores: npt.ArrayLike, learning_rate: float) -> Floats:
    """Return each row's own learning rate, in proportion to its score, mean ``learning_rate``.

    Under plain gradient descent ``sum_i rate_i * g_i / N`` is the step of a weighted
    loss with weights ``rate_i / rate``: the same thing as :func:`up_weight`.

    Raises:
        ValueError: the learning rate is not positive, a score is negative or not
            finite, or all are 0.

    Example:
        >>> per_sample_rate([1.0, 3.0], 0.1)
        array([0.05, 0.15])
    """
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate must be positive and finite; got {learning_rate}.")
    return learning_rate * _mean_one(_checked(scores))


def draw_order(
    plan: Plan, *, updates: int, batch_size: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Return which rows each update sees: shuffled passes, or draws by chance.

    Returns:
        int32, shape ``(updates, batch_size)``; always ``updates * batch_size`` rows.

    Raises:
        ValueError: the plan keeps no row.

    Example:
        >>> plan = drop_highest([0.0, 9.0], 0.5)
        >>> draw_order(plan, updates=1, batch_size=3, rng=np.random.default_rng(0))
        array([[0, 0, 0]], dtype=int32)
    """
    size = updates * batch_size
    if plan.chance is not None:
        drawn = rng.choice(len(plan.chance), size=size, p=plan.chance)
    else:
        rows = np.flatnonzero(plan.kept)
        if not len(rows):
            raise ValueError(f"the plan {plan.name} keeps no row to train on.")
        passes = -(-size // len(rows))
        drawn = np.concatenate([rng.permutation(rows) for _ in range(passes)])[:size]
    return drawn.reshape(updates, batch_size).astype(np.int32)


def _keeping(name: str, kept: npt.NDArray[np.bool_]) -> Plan:
    return Plan(name, np.ones(len(kept)), kept)


def _mean_one(values: Floats) -> Floats:
    mean = values.mean()
    if mean <= 0:
        raise ValueError("the weights would all be 0; at least one row must count.")
    return values / mean


def _count(n: int, share: float) -> int:
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1); got {share}.")
    count = int(round(n * share))
    if count == n:
        raise ValueError(f"share {share} of {n} rows leaves none; use a smaller share.")
    return count


def _checked(scores: npt.ArrayLike | Sequence[float], *, positive: bool = True) -> Floats:
    """Return the scores as float64, or say why they cannot be used."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"scores must have shape (n,) with n > 0; got {values.shape}.")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"scores must be finite; row {row} is {values[row]}.")
    if positive and ((values < 0).any() or not values.any()):
        raise ValueError("scores must not be negative, and not all 0; shift or clip them first.")
    return values
