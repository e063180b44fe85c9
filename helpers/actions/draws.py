"""Draw rows by score, with and without the weights that keep the objective."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from helpers.actions.plan import Plan, checked_scores

__all__ = ["importance_sampling", "resample"]

Floats = npt.NDArray[np.float64]


def resample(scores: npt.ArrayLike) -> Plan:
    """Draw rows in proportion to their scores, without correcting for it.

    On average this descends the same loss as :func:`up_weight`.

    Raises:
        ValueError: a score is negative or not finite, or all are 0.

    Example:
        >>> resample([1.0, 3.0]).chance
        array([0.25, 0.75])
    """
    scores = checked_scores(scores)
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
    scores = checked_scores(scores)
    if not 0 <= mix <= 1:
        raise ValueError(f"mix must lie in [0, 1]; got {mix}.")
    n = len(scores)
    chance = (1 - mix) * scores / scores.sum() + mix / n
    weight = np.divide(1.0, n * chance, out=np.zeros(n), where=chance > 0)
    return Plan("importance_sampling", weight, chance > 0, chance)
