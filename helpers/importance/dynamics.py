"""What happened to a row while the model learned? Scores of a whole training, not of its end.

:func:`follow` trains from a few seeds and looks at all rows several times on the way. The scores
are read off what it saw, at no further cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from helpers.losses import cross_entropy, sigmoid
from helpers.models import Trainer, epoch_order

__all__ = [
    "Dynamics",
    "area_under_margin",
    "early_errors",
    "follow",
    "forgetting_events",
    "mean_losses",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dynamics:
    """What a training thought of each row on the way.

    Attributes:
        labels: 0 or 1, shape ``(n,)``.
        logits: shape ``(seeds, looks, n)``.
        updates: after how many updates each look was taken, rising, shape ``(looks,)``.
    """

    labels: npt.NDArray[np.float32]
    logits: Floats
    updates: npt.NDArray[np.int64]


def follow(
    trainer: Trainer,
    labels: np.ndarray,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    updates: int = 300,
    looks: int = 10,
    progress: bool = False,
) -> Dynamics:
    """Train from each seed and look at all training rows at evenly spaced moments.

    Cost: one training per seed, and one forward pass over all rows per look.

    Args:
        trainer: holds the training rows.
        labels: shape ``(n,)``.
        seeds: the seeds to train from, one training each.
        updates: how many updates each training has.
        looks: how many looks are taken at each training; the last is at its end.
        progress: show a bar.

    Raises:
        ValueError: there is no seed, or there are not between 1 and ``updates`` looks.

    Example:
        >>> from helpers.models import LADDER
        >>> x = {"dense": np.float32([[0.0], [1.0]])}
        >>> trainer = Trainer(LADDER["logistic"], x, {}, batch_size=2)
        >>> follow(trainer, np.float32([0, 1]), seeds=[0], updates=4, looks=2).logits.shape
        (1, 2, 2)
    """
    if not len(seeds) or not 1 <= looks <= updates:
        raise ValueError(
            f"there must be a seed and 1 to {updates} looks (one per update at most); "
            f"got {len(seeds)} seeds and {looks} looks."
        )
    at = np.linspace(0, updates, looks + 1).round().astype(int)[1:]
    rows, found = np.arange(len(labels)), []
    for seed in tqdm(seeds, desc="follow", leave=False, disable=not progress):
        rng = np.random.default_rng([seed, 1])
        order = epoch_order(rows, updates=updates, batch_size=trainer.batch_size, rng=rng)
        kept = trainer.checkpoints(labels, seed=seed, order=order, at=at)
        found.append([fitted.logits(trainer.inputs) for fitted in kept])
    return Dynamics(np.asarray(labels, np.float32), np.array(found), at)


def mean_losses(dynamics: Dynamics) -> Floats:
    """Return each row's loss, averaged over the looks and seeds, shape ``(n,)``.

    A clean hard row is learned late, a wrong one never: the average tells them apart better than
    the end does.

    Reference: Arazo et al. (2019), arXiv:1904.11238, section 3.1 (small loss, early).
    """
    labels = dynamics.labels.astype(np.float64)
    looks = dynamics.logits.reshape(-1, len(labels))
    return np.mean([cross_entropy(labels, logits) for logits in looks], axis=0)


def area_under_margin(dynamics: Dynamics) -> Floats:
    """Return the logit in favour of the given label, averaged over looks and seeds, ``(n,)``.

    Low, and below 0, is suspect: the other class won most of the time.

    Reference: Pleiss, Zhang, Elenberg and Weinberger (2020), arXiv:2001.10528, equation 2.
    """
    return (np.where(dynamics.labels == 1, 1, -1) * dynamics.logits).mean(axis=(0, 1))


def early_errors(dynamics: Dynamics, *, look: int = 0) -> Floats:
    """Return ``|p - y|`` at one look, averaged over the seeds: EL2N of a binary label, ``(n,)``.

    The norm of the error vector ``(p - y, (1 - p) - (1 - y))`` is this times the square root of
    two, so both order the rows alike.

    Reference: Paul, Ganguli and Dziugaite (2021), arXiv:2107.07075, definition 2.3.
    """
    return np.abs(sigmoid(dynamics.logits[:, look]) - dynamics.labels).mean(axis=0)


def forgetting_events(dynamics: Dynamics) -> Floats:
    """Return how often a row went from right to wrong, averaged over the seeds, ``(n,)``.

    Right means that the given label is the likelier one. A row that was never right counts as
    forgotten at every look: more often than any row that was learned once.

    Reference: Toneva et al. (2019), arXiv:1812.05159, section 3.
    """
    right = (dynamics.logits > 0) == (dynamics.labels == 1)  # (seeds, looks, n)
    forgotten = (right[:, :-1] & ~right[:, 1:]).sum(axis=1)
    never = ~right.any(axis=1)
    return np.where(never, right.shape[1], forgotten).mean(axis=0)
