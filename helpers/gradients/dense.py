"""The gradient norm of one dense layer, as a formula.

The example to understand the whole package by: no gradient is ever written out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.backend import keras
from helpers.gradients.batches import leaves
from helpers.losses import cross_entropy_by_logit, cross_entropy_loss, squared_error_loss

__all__ = ["closed_form", "dense_gradient_norms"]


def dense_gradient_norms(inputs: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return each sample's loss-gradient norm for one dense layer with a bias.

    With ``logits = inputs @ W + b`` sample i's gradient is
    ``outer([inputs_i, 1], errors_i)``, and the norm of an outer product is the product of
    the norms: ``sqrt(||inputs_i||^2 + 1) * ||errors_i||``. This is *leverage x surprise*.

    A linear model under ``(p - y)^2 / 2`` has ``errors = p - y``. A logistic model under
    cross-entropy has ``errors = sigmoid(z) - y``.

    Args:
        inputs: layer inputs, shape ``(n, d)``.
        errors: d loss_i / d logits_i, not averaged, shape ``(n, k)``.

    Returns:
        Norms over W and b together, float64, shape ``(n,)``, in input order.

    Raises:
        ValueError: an array is not 2-D, or the row counts differ.

    Example:
        >>> dense_gradient_norms(np.array([[3.0, 4.0]]), np.array([[2.0]])).round(4)
        array([10.198])

    Reference:
        Goodfellow (2015), Efficient Per-Example Gradient Computations,
        arXiv:1510.01799, section 3.
    """
    inputs, errors = np.asarray(inputs), np.asarray(errors)
    for name, array in {"inputs": inputs, "errors": errors}.items():
        if array.ndim != 2:
            raise ValueError(
                f"{name} must be 2-D, one row a sample; got shape {array.shape}. "
                "Make a column of n numbers with array[:, None]."
            )
    if len(inputs) != len(errors):
        raise ValueError(
            f"inputs and errors must have the same rows; got {len(inputs)} and {len(errors)}."
        )
    return np.sqrt((_row_squares(inputs) + 1.0) * _row_squares(errors))


def _row_squares(rows: np.ndarray) -> np.ndarray:
    """Return the sum of squares of each row, in the precision of the rows."""
    rows = rows.astype(np.result_type(rows, np.float32), copy=False)
    return np.einsum("ij,ij->i", rows, rows).astype(np.float64)


_ERRORS = {
    squared_error_loss: lambda y, p: p - y,
    cross_entropy_loss: cross_entropy_by_logit,
}


def closed_form(
    model: keras.Model, loss: Callable[..., Any]
) -> Callable[[Any, Any], np.ndarray | None] | None:
    """Return the formula for a linear or logistic model; None where there is none.

    It holds for a model that is one dense layer of one unit with a bias, under
    ``helpers.losses.squared_error_loss`` (a linear model) or ``cross_entropy_loss`` of the logit
    (a logistic one). Then no graph is needed.

    Args:
        model: any Keras model.
        loss: any loss.

    Returns:
        ``norms(x, y)`` in float64, shape ``(n,)``; it gives None for rows of another shape.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.set_weights([np.zeros((2, 1)), np.zeros(1)])
        >>> norms = closed_form(model, squared_error_loss)
        >>> norms(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([-2.0, 1.0])).round(4)
        array([10.198,  1.   ])
    """
    layers = [x for x in getattr(model, "layers", []) if not isinstance(x, keras.layers.InputLayer)]
    plain = isinstance(model, keras.Sequential) or type(model).__name__ == "Functional"
    if not plain or len(layers) != 1 or type(layers[0]) is not keras.layers.Dense:
        return None
    (layer,) = layers
    whole = layer.units == 1 and layer.use_bias and layer.activation is keras.activations.linear
    if not whole or loss not in _ERRORS or layer.compute_dtype not in ("float32", "float64"):
        return None

    def norms(x: Any, y: Any) -> np.ndarray | None:
        inputs = [np.asarray(values) for values in leaves(x, "x").values()]
        y = np.asarray(y)
        fits = len(inputs) == 1 and inputs[0].ndim == 2 and y.shape in ((len(y),), (len(y), 1))
        if not fits or len(layer.trainable_variables) != 2:
            return None
        kernel, bias = (v.numpy() for v in layer.trainable_variables)
        if inputs[0].shape[1] != len(kernel):
            return None
        rows = inputs[0].astype(kernel.dtype, copy=False)
        output = (rows @ kernel + bias)[:, 0].astype(np.float64)
        errors = _ERRORS[loss](y.reshape(-1).astype(np.float64), output)
        return dense_gradient_norms(rows, errors[:, None])

    return norms
