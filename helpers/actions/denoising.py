"""Losses that listen to themselves: a row's weight follows from its loss in the same update.

Two well-known ones for clicks, where a positive may be a mistake. Both suspect what fits badly
*now*, so they need no scores from elsewhere, and both forget that hard rows fit badly as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helpers.backend import tf

__all__ = ["Denoising", "batch_weights"]


@dataclass(frozen=True)
class Denoising:
    """How a batch's rows are weighted by their own losses.

    Attributes:
        truncate: share of a batch's positives with the highest loss that count for nothing, in
            [0, 1): T-CE.
        ramp: updates until that share is reached; it grows evenly from 0.
        power: a row's weight is the probability of its given label to this power: R-CE.

    Raises:
        ValueError: a value is out of its range.

    Reference: Wang, Feng, He, Nie and Chua (2021), arXiv:2006.04153, section 3.2 (truncated loss,
    equation 4; reweighted loss, equation 5).
    """

    truncate: float = 0.0
    ramp: int = 1
    power: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.truncate < 1:
            raise ValueError(f"truncate must lie in [0, 1); got {self.truncate}.")
        if self.ramp < 1:
            raise ValueError(f"ramp must be at least 1 update; got {self.ramp}.")
        if self.power < 0:
            raise ValueError(f"power must not be negative; got {self.power}.")

    @property
    def numbers(self) -> tuple[float, float, float]:
        """Return ``truncate, ramp, power``, as :func:`batch_weights` takes them."""
        return self.truncate, float(self.ramp), self.power


def batch_weights(
    losses: tf.Tensor, labels: tf.Tensor, trust: tf.Tensor, update: tf.Tensor, numbers: tf.Tensor
) -> tf.Tensor:
    """Return each row's weight in this update, shape ``(B,)``; no gradient flows through it.

    Args:
        losses: of the batch, shape ``(B,)``.
        labels: 0 or 1, shape ``(B,)``.
        trust: probability of the given label, shape ``(B,)``.
        update: how many updates were taken before.
        numbers: of :attr:`Denoising.numbers`, shape ``(3,)``.

    Example:
        >>> weights = batch_weights(
        ...     [0.1, 2.0, 3.0, 9.0], [1.0, 1.0, 1.0, 0.0], [0.9, 0.14, 0.05, 0.0], 5, [0.4, 5, 0])
        >>> weights.numpy()
        array([1., 1., 0., 1.], dtype=float32)
    """
    from helpers.backend import tf

    losses, labels = tf.convert_to_tensor(losses), tf.convert_to_tensor(labels)
    truncate, ramp, power = tf.unstack(tf.convert_to_tensor(numbers, tf.float32))
    share = truncate * tf.minimum(tf.cast(update, tf.float32) / ramp, 1.0)
    positive = tf.cast(labels > 0.5, tf.float32)
    # A comparison of all pairs: cheaper inside a compiled loop than sorting.
    worse = tf.cast(losses[None, :] > losses[:, None], tf.float32) * positive[None, :]
    place = tf.reduce_sum(worse, axis=1)  # positives with a higher loss
    cut = tf.floor(share * tf.reduce_sum(positive))
    kept = 1.0 - positive * tf.cast(place < cut, tf.float32)
    faith = tf.pow(tf.clip_by_value(tf.cast(trust, tf.float32), 1e-6, 1.0), power)
    return tf.stop_gradient(kept * faith)
