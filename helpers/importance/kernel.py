"""Influence by Gauss-Newton for every pair of a training row and a goal row, at once.

Solving with a matrix of all parameters can be traded for solving with a matrix of all *rows*: the
products of their output gradients, the kernel of the model. For a network with more parameters than
rows that is cheaper, and one solution serves any number of goal rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, as_arrays
from helpers.gradients.row_loss import Loss
from helpers.importance.goals import batches, loss_of
from helpers.importance.rows import RowGradients

__all__ = ["GradientKernel", "PairScores"]

Array = np.ndarray


@dataclass(frozen=True)
class PairScores:
    """Products of gradients at one set of weights, and the scores made of them.

    With ``J_i = dz_i / dtheta`` for the one output ``z_i`` of a row, ``e_i = dl_i / dz_i`` and
    ``w_i = d2 l_i / dz_i2``, a row's gradient is ``g_i = e_i J_i``.

    Attributes:
        gram: ``<J_i, J_j>`` of the training rows, shape ``(n, n)``.
        cross: ``<J_i, J_r>`` with the goal rows, shape ``(n, t)``.
        slopes: ``e_i``, shape ``(n,)``.
        bends: ``w_i``, shape ``(n,)``.
        goal_slopes: ``e_r``, shape ``(t,)``.
    """

    gram: Array
    cross: Array
    slopes: Array
    bends: Array
    goal_slopes: Array

    def dots(self) -> Array:
        """Return ``<g_i, g_r>``, shape ``(n, t)``: one checkpoint's term of TracIn."""
        return self.slopes[:, None] * self.cross * self.goal_slopes

    def influence(self, damping: float, *, curved: bool = True) -> Array:
        """Return ``<g_i, (C + damping I)^-1 g_r> / n``, shape ``(n, t)``; positive is helpful.

        ``C = 1/n J^T W J``. With the push-through identity only a matrix of the rows is solved::

            (C + d I)^-1 J_r = (J_r - J^T W^1/2 (W^1/2 K W^1/2 / n + d I)^-1 W^1/2 k_r / n) / d

        Args:
            damping: ``d``, above 0. It decides how many directions of the weights count as known
                from the rows: choose it on goal rows that are not judged.
            curved: False leaves ``W`` out, as TRAK does.

        Raises:
            ValueError: damping is not above 0, or the loss curves downwards in the output.
        """
        if not (np.isfinite(damping) and damping > 0):
            raise ValueError(f"damping must be finite and above 0; got {damping}.")
        if (self.bends < 0).any():
            raise ValueError(
                "the loss must be convex in the output: "
                f"d2 loss / dz2 goes down to {self.bends.min():.3g}."
            )
        rows = len(self.gram)
        root = np.sqrt(self.bends) if curved else np.ones(rows)
        matrix = root[:, None] * self.gram * root / rows
        matrix[np.diag_indices(rows)] += damping
        inner = cho_solve(cho_factor(matrix, overwrite_a=True), root[:, None] * self.cross)
        solved = (self.cross - self.gram @ (root[:, None] * inner) / rows) / damping
        return self.slopes[:, None] * solved * self.goal_slopes / rows


class GradientKernel:
    """The pair scores of a model at any weights; it is traced once.

    Cost at one set of weights: the written out output gradients of all rows, ``n^2 p`` for their
    products and ``n^3 / 3`` for each damping; ``n p`` numbers of memory.

    Args:
        model: a Keras model with one output per row.
        loss: ``loss(y, prediction) -> (n,)``.
        x: inputs of the training rows.
        y: their labels.
        goal: inputs and labels of the goal's rows.
        project: onto how many random directions the gradients are projected, as
            :class:`helpers.importance.RowGradients` explains; by default they are not.
        seed: chooses these directions.
        batch_size: rows of one block.

    Example:
        >>> from helpers.losses import squared_error_loss
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> x, y = np.ones((2, 1), "float32"), np.array([0.0, 2.0], "float32")
        >>> kernel = GradientKernel(model, squared_error_loss, x, y, (x[:1], y[1:]))
        >>> kernel.at([np.array([[1.0]])]).influence(1e-9).round(6)
        array([[-0.5],
               [ 0.5]])

    Reference: Koh and Liang (2017), arXiv:1703.04730, section 2; Park et al. (2023),
    arXiv:2303.14186 (TRAK), section 3, for scores from the kernel of output gradients; Schraudolph
    (2002), Neural Computation 14(7), section 3, for Gauss-Newton.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        x: Inputs,
        y: Inputs,
        goal: tuple[Inputs, Inputs],
        *,
        project: int | None = None,
        seed: int = 0,
        batch_size: int = 64,
    ) -> None:
        self.model = model
        self._rows, self._goal = as_arrays(x, y), as_arrays(*goal)
        self._gradients = RowGradients(
            model, lambda y, z: _one_output(z), project=project, seed=seed, batch_size=batch_size
        )
        self._curves = tf.function(_derivatives(loss), autograph=False, reduce_retracing=True)

    def at(self, weights: list[Array]) -> PairScores:
        """Return the products at these weights, as ``get_weights`` gives them.

        They stay in the model.

        Raises:
            ValueError: the model has several outputs per row, or the matrix would be too large.
        """
        self.model.set_weights(weights)
        own, other = self._gradients(*self._rows), self._gradients(*self._goal)
        slopes, bends = self._derivatives(*self._rows)
        return PairScores(
            (own @ own.T).astype(np.float64),
            (own @ other.T).astype(np.float64),
            slopes,
            bends,
            self._derivatives(*self._goal)[0],
        )

    def _derivatives(self, x: Inputs, y: Inputs) -> tuple[Array, Array]:
        parts = [
            self._curves(labels, _one_output(self.model(part, training=False)))
            for part, labels in batches(x, y, 4096)
        ]
        slopes, bends = (
            np.concatenate([p.numpy() for p in each]) for each in zip(*parts, strict=True)
        )
        return slopes.astype(np.float64), bends.astype(np.float64)


def _one_output(z: Any) -> Any:
    if len(z.shape) == 1:
        return z
    if len(z.shape) != 2 or z.shape[1] != 1:
        raise ValueError(f"the model must have one output per row; it has shape {tuple(z.shape)}.")
    return z[:, 0]


def _derivatives(loss: Loss) -> Any:
    """Return ``dl/dz`` and ``d2l/dz2`` of each row, as a function of labels and outputs."""

    def derivatives(y: Any, z: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as outer:
            outer.watch(z)
            with tf.GradientTape() as inner:
                inner.watch(z)
                value = tf.reduce_sum(loss_of(loss, y, z))
            slope = inner.gradient(value, z)
            total = tf.reduce_sum(slope)  # a row's slope depends on that row's output alone
        return slope, outer.gradient(total, z, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return derivatives
