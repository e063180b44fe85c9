"""What a training does with its rows, and in which order it sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from helpers.actions.denoising import Denoising

__all__ = ["Plan", "checked_scores", "draw_order", "keeping", "mean_one", "uniform"]

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
        labels: to train on in place of the given ones, in [0, 1], shape ``(n,)``; None for those.
        denoising: weights that follow each batch's own losses; None for none.
    """

    name: str
    weight: Floats
    kept: npt.NDArray[np.bool_]
    chance: Floats | None = None
    labels: Floats | None = None
    denoising: Denoising | None = None


def uniform(n: int) -> Plan:
    """Return the plan that treats all rows alike: the reference line."""
    return Plan("uniform", np.ones(n), np.ones(n, dtype=bool))


def draw_order(
    plan: Plan, *, updates: int, batch_size: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Return which rows each update sees: shuffled passes, or draws by chance.

    Returns:
        int32, shape ``(updates, batch_size)``; always ``updates * batch_size`` rows.

    Raises:
        ValueError: the plan keeps no row.

    Example:
        >>> from helpers.actions import drop_highest
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


def keeping(name: str, kept: npt.NDArray[np.bool_]) -> Plan:
    """Return the plan that trains on the kept rows alike."""
    return Plan(name, np.ones(len(kept)), kept)


def mean_one(values: Floats) -> Floats:
    """Return the values divided by their mean; refuse weights that are all 0."""
    mean = values.mean()
    if mean <= 0:
        raise ValueError("the weights would all be 0; at least one row must count.")
    return values / mean


def checked_scores(scores: npt.ArrayLike | Sequence[float], *, positive: bool = True) -> Floats:
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
