"""Let rows count for more or less, or with another label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from helpers.actions.denoising import Denoising
from helpers.actions.plan import Plan, checked_scores, mean_one, uniform

__all__ = ["denoise", "per_sample_rate", "relabel", "soft_down_weight", "trust_weight", "up_weight"]

Floats = npt.NDArray[np.float64]


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
    scores = checked_scores(scores)
    return Plan("up_weight", mean_one(scores), np.ones(len(scores), dtype=bool))


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
    errors = checked_scores(errors, positive=False)
    if (errors < 0).any() or (errors > 1).any():
        raise ValueError("errors must lie in [0, 1]; they are distances of a probability.")
    return Plan("soft_down_weight", mean_one(1.0 - errors), np.ones(len(errors), dtype=bool))


def trust_weight(wrong: npt.ArrayLike) -> Plan:
    """Weight each row by the chance that its label is right.

    Args:
        wrong: chance that the label is wrong, in [0, 1], shape ``(n,)``.

    Raises:
        ValueError: a chance lies outside [0, 1], or all are 1.

    Example:
        >>> trust_weight([0.0, 0.5]).weight.round(3)
        array([1.333, 0.667])

    Reference: Liu and Tao (2016), arXiv:1411.7718, section 3 (weights by Bayes' rule).
    """
    return replace(soft_down_weight(wrong), name="trust_weight")


def relabel(labels: npt.ArrayLike, wrong: npt.ArrayLike, *, soft: bool = False) -> Plan:
    """Turn labels that are more likely wrong than right; or, softly, all by their chance.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        wrong: chance that each label is wrong, in [0, 1], shape ``(n,)``.
        soft: train on the chance of a genuine 1 in place of 0 or 1.

    Raises:
        ValueError: the shapes differ, or a chance lies outside [0, 1].

    Example:
        >>> relabel([1, 0], [0.9, 0.2]).labels, relabel([1, 0], [0.9, 0.2], soft=True).labels
        (array([0., 0.]), array([0.1, 0.2]))
    """
    wrong, labels = checked_scores(wrong, positive=False), np.asarray(labels, dtype=np.float64)
    if labels.shape != wrong.shape:
        raise ValueError(f"labels and wrong must agree; got {labels.shape} and {wrong.shape}.")
    if (wrong < 0).any() or (wrong > 1).any():
        raise ValueError("wrong must lie in [0, 1]; it is a chance.")
    turned = wrong if soft else (wrong > 0.5).astype(np.float64)
    n = len(labels)
    return Plan("relabel", np.ones(n), np.ones(n, bool), labels=np.abs(labels - turned))


def denoise(n: int, denoising: Denoising) -> Plan:
    """Train on all rows with a loss that weights each batch by its own losses.

    Reference: :class:`helpers.actions.denoising.Denoising` (T-CE and R-CE).
    """
    return replace(uniform(n), name="denoise", denoising=denoising)


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
    return learning_rate * mean_one(checked_scores(scores))
