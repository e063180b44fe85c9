"""Whole gradients, one row of a matrix for each sample: dear, and sometimes worth it.

The engine of :mod:`helpers.gradients` never writes a gradient out, which is why it is fast. Scores
that compare every training row with every goal row need the products of all pairs; then the matrix
is cheaper than one pass for each goal row, as long as the parameters are few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, as_arrays, count_rows
from helpers.importance.goals import batches, loss_of

__all__ = ["RowGradients"]

_MOST_BYTES = 4 * 2**30


class RowGradients:
    """The gradients of one value per row by all trainable variables, written out.

    Cost: a block of ``b`` rows is ``b`` backward passes over ``b`` rows, all at once; the result
    holds ``n`` times the parameters, in the type of the model.

    Args:
        model: a Keras model; it is called with ``training=False``. Its present weights count.
        value: ``value(y, prediction) -> (n,)``: a loss, or an output.
        project: project onto so many random directions, which keep dot products on average.
        seed: chooses the random directions.
        batch_size: rows of one block.

    Raises:
        ValueError: ``project`` or ``batch_size`` is below 1.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> rows = RowGradients(model, lambda y, z: z[:, 0])
        >>> rows(np.float32([[3.0, 4.0], [0.0, 5.0]]), np.zeros(2, "float32"))
        array([[3., 4., 1.],
               [0., 5., 1.]], dtype=float32)

    Reference: for the projection Johnson and Lindenstrauss (1984); Park et al. (2023),
    arXiv:2303.14186, section 3.
    """

    def __init__(
        self,
        model: keras.Model,
        value: Callable[[Any, Any], Any],
        *,
        project: int | None = None,
        seed: int = 0,
        batch_size: int = 64,
    ) -> None:
        if project is not None and project < 1:
            raise ValueError(f"project must be at least 1; got {project}.")
        self.model, self.batch_size = model, batch_size
        self.parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        self.columns = project or self.parameters
        self._directions = None
        if project is not None:
            signs = np.random.default_rng(seed).choice([-1.0, 1.0], (self.parameters, project))
            self._directions = (signs / np.sqrt(project)).astype(np.float32)

        def jacobian(x: Any, y: Any) -> tf.Tensor:
            variables = [v.value for v in model.trainable_variables]
            with tf.GradientTape() as tape:
                values = loss_of(value, y, model(x, training=False))
            rows = tf.shape(values)[0]
            zero = tf.UnconnectedGradients.ZERO
            parts = tape.jacobian(values, variables, unconnected_gradients=zero)
            return tf.concat([tf.reshape(part, [rows, -1]) for part in parts], axis=1)

        self._jacobian = tf.function(jacobian, autograph=False, reduce_retracing=True)

    def __call__(self, x: Inputs, y: Inputs) -> np.ndarray:
        """Return the gradients, shape ``(n, parameters)`` or ``(n, project)``, in input order.

        Raises:
            ValueError: row counts differ, or the matrix would be larger than 4 GiB.
        """
        rows = count_rows(as_arrays(x, y)[1])
        if rows * self.columns * 4 > _MOST_BYTES:
            raise ValueError(
                f"{rows} rows of {self.columns} numbers are more than 4 GiB: take fewer rows, "
                "project onto fewer directions, or use scores that write no gradient out."
            )
        found = []
        for part, labels in batches(x, y, self.batch_size):
            block = self._jacobian(part, labels).numpy()
            found.append(block if self._directions is None else block @ self._directions)
        return np.concatenate(found)
