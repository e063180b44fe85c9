"""The plain way to per-sample gradients: one GradientTape per sample.

It is slow, some hundred to a thousand times slower than a batch, and easy to trust.
Everything else in this package is tested against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, as_arrays, count_rows, take_rows
from helpers.gradients.row_loss import Loss, labelled, row_loss

__all__ = ["naive_gradients", "naive_norms"]


def naive_norms(model: keras.Model, loss: Loss | str | None, x: Inputs, y: Inputs) -> np.ndarray:
    """Return each sample's gradient norm, computed one sample at a time.

    ``||g_i|| = sqrt(sum over variables, then entries, of g_i ** 2)``

    Args:
        model: a Keras model; it is called with ``training=False``.
        loss: ``loss(y, prediction)``, where ``y`` and ``prediction`` hold one row; or a loss of
            Keras, its name, or None, as :class:`~helpers.gradients.PerSampleGradients` takes them.
        x: inputs, shape ``(n, ...)``, or a dict, list or tuple of such arrays.
        y: labels, in the same way.

    Returns:
        Norms over all trainable variables, float64, shape ``(n,)``, in input order.

    Raises:
        ValueError: row counts differ, the loss of one row is not one number, or the loss
            does not depend on any trainable variable.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.set_weights([np.zeros((2, 1)), np.zeros(1)])
        >>> def half_square(y, p):
        ...     return 0.5 * (p[:, 0] - y) ** 2
        >>> x, y = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([-2.0, 1.0])
        >>> naive_norms(model, half_square, x, y).round(4)
        array([10.198,  1.   ])
    """
    _, y = as_arrays(x, y)
    gradients = (naive_gradients(model, loss, x, y, row) for row in range(count_rows(y)))
    return np.array([np.sqrt(sum(np.sum(g**2) for g in sample)) for sample in gradients])


def naive_gradients(
    model: keras.Model, loss: Loss | str | None, x: Inputs, y: Inputs, row: int
) -> list[np.ndarray]:
    """Return the gradient of one sample's loss by each trainable variable.

    Args:
        model: a Keras model; it is called with ``training=False``.
        loss: ``loss(y, prediction)``, where ``y`` and ``prediction`` hold one row; or a loss of
            Keras, its name, or None, as :class:`~helpers.gradients.PerSampleGradients` takes them.
        x: inputs, shape ``(n, ...)``, or a dict, list or tuple of such arrays.
        y: labels, in the same way.
        row: which sample, from 0 to ``n - 1``.

    Returns:
        One float64 array a trainable variable, in the order of
        ``model.trainable_variables`` and of the same shapes. A variable that the loss
        does not depend on gets zeros.

    Raises:
        ValueError: for the reasons that :func:`naive_norms` has, or there is no such row.

    Example:
        The model predicts 0 where 3 is right, so dl/db = 0 - 3 and dl/dw = (0 - 3) * 2.

        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.set_weights([np.zeros((1, 1)), np.zeros(1)])
        >>> def half_square(y, p):
        ...     return 0.5 * (p[:, 0] - y) ** 2
        >>> naive_gradients(model, half_square, np.array([[2.0]]), np.array([3.0]), 0)
        [array([[-6.]]), array([-3.])]
    """
    x, y = as_arrays(x, y)
    if not 0 <= row < count_rows(y):
        raise ValueError(f"row must be in [0, {count_rows(y) - 1}]; got {row}.")
    one = slice(row, row + 1)  # x[row] would lose the batch axis
    loss = row_loss(model, loss)
    with tf.GradientTape() as tape:
        # model.predict would return NumPy numbers, which the tape cannot follow.
        value = labelled(loss, take_rows(y, one), model(take_rows(x, one), training=False))
    if tf.size(value) != 1:
        raise ValueError(
            f"The loss of one row must be one number; it has shape {tuple(value.shape)}. "
            "Return one value per row, not one per output."
        )
    variables = [v.value for v in model.trainable_variables]
    gradients = tape.gradient(value, variables)
    if all(g is None for g in gradients):
        raise ValueError(
            "The loss does not depend on any trainable variable: every gradient is None. "
            "Compute it with TensorFlow from the prediction, and check `trainable`."
        )
    return [_full(g, v) for g, v in zip(gradients, variables, strict=True)]


def _full(gradient: Any, variable: Any) -> np.ndarray:
    """Return one variable's gradient as a float64 array of the variable's shape."""
    if gradient is None:
        return np.zeros(variable.shape)
    if isinstance(gradient, tf.IndexedSlices):
        # An embedding's gradient lists (id, row) pairs, and an id can be there twice.
        # Its rows must be added up before anything is squared: (a + b)^2 is not a^2 + b^2.
        gradient = tf.math.unsorted_segment_sum(
            gradient.values, gradient.indices, variable.shape[0]
        )
    found: np.ndarray = gradient.numpy()
    return found.astype(np.float64)
