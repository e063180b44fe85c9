"""What a row may help or harm: a goal, the mean loss of rows that are not trained on.

Everything here works on any Keras model and any loss with one value per row. Gradients by all
trainable variables are lists of arrays in the order of ``model.trainable_variables``, or one flat
vector of them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients
from helpers.gradients.batches import Inputs, as_arrays, count_rows, map_leaves, take_rows
from helpers.gradients.row_loss import Loss

__all__ = [
    "batches",
    "dense",
    "dots_over",
    "flat_vector",
    "goal_gradient",
    "loss_of",
    "shaped",
]

Array = np.ndarray


def goal_gradient(
    model: keras.Model, loss: Loss, x: Inputs, y: Inputs, *, batch_size: int = 4096
) -> list[Array]:
    """Return the gradient of the mean loss over all rows, by each trainable variable.

    Args:
        model: a Keras model; it is called with ``training=False``.
        loss: ``loss(y, prediction) -> (n,)``.
        x: inputs of the goal's rows, an array or a nest of arrays.
        y: their labels.
        batch_size: rows of one pass.

    Returns:
        One float64 array a variable, of its shape. Zeros where the loss does not see it.

    Raises:
        ValueError: row counts differ or there are no rows.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.set_weights([np.ones((1, 1)), np.zeros(1)])
        >>> x, y = np.float32([[1.0], [3.0]]), np.float32([0.0, 0.0])
        >>> goal_gradient(model, lambda y, p: (p[:, 0] - y) ** 2 / 2, x, y)
        [array([[5.]]), array([2.])]
    """
    variables = [v.value for v in model.trainable_variables]
    total = [np.zeros(v.shape) for v in variables]
    for part, labels in batches(x, y, batch_size):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(loss_of(loss, labels, model(part, training=False)))
        for into, gradient in zip(total, tape.gradient(value, variables), strict=True):
            if gradient is not None:
                into += dense(gradient)
    rows = count_rows(as_arrays(x, y)[1])
    return [value / rows for value in total]


def dots_over(
    engine: PerSampleGradients,
    x: Inputs,
    y: Inputs,
    direction: Sequence[Array],
    *,
    batch_size: int = 4096,
) -> Array:
    """Return ``<g_i, v>`` for any number of rows, batch by batch, float64, shape ``(n,)``."""
    x, y = as_arrays(x, y)
    rows = count_rows(y)
    parts = [slice(start, start + batch_size) for start in range(0, rows, batch_size)]
    direction = [tf.constant(v, w.dtype) for v, w in zip(
        direction, engine.model.trainable_variables, strict=True)]  # fmt: skip
    return np.concatenate([engine.dots(take_rows(x, p), take_rows(y, p), direction) for p in parts])


def loss_of(loss: Loss, y: Any, prediction: Any) -> Any:
    """Return the losses of tensors, after giving floating labels the prediction's type."""
    return loss(
        map_leaves(lambda a: tf.cast(a, prediction.dtype) if a.dtype.is_floating else a, y),
        prediction,
    )


def batches(x: Inputs, y: Inputs, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """Yield the rows as tensors, at most ``batch_size`` at once.

    Raises:
        ValueError: ``batch_size`` is below 1, row counts differ, or there are no rows.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}.")
    x, y = as_arrays(x, y)
    for start in range(0, count_rows(y), batch_size):
        part = slice(start, start + batch_size)
        yield map_leaves(tf.convert_to_tensor, (take_rows(x, part), take_rows(y, part)))


def dense(gradient: Any) -> Array:
    """Return a gradient as a float64 array; rows of one embedding id are added up."""
    if isinstance(gradient, tf.IndexedSlices):
        gradient = tf.math.unsorted_segment_sum(
            gradient.values, gradient.indices, gradient.dense_shape[0]
        )
    return gradient.numpy().astype(np.float64)


def flat_vector(arrays: Sequence[Array]) -> Array:
    """Return arrays one after another as one float64 vector.

    Example:
        >>> flat_vector([np.ones((2, 1)), np.zeros(1)])
        array([1., 1., 0.])
    """
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])


def shaped(vector: Array, model: keras.Model) -> list[Array]:
    """Return the pieces of a flat vector in the shapes of the trainable variables.

    Raises:
        ValueError: the vector has another length.
    """
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if vector.shape != (sum(sizes),):
        raise ValueError(f"the vector must have shape ({sum(sizes)},); got {vector.shape}.")
    pieces = np.split(vector, np.cumsum(sizes)[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
