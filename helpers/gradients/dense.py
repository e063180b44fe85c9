"""The gradient norm of one dense layer, as a formula.

The example to understand the whole package by: no gradient is ever written out.
"""

from __future__ import annotations

import numpy as np

__all__ = ["dense_gradient_norms"]


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
                f"{name} must be 2-D, one row per sample; got shape {array.shape}. "
                "Make a column of n numbers with array[:, None]."
            )
    if len(inputs) != len(errors):
        raise ValueError(
            f"inputs and errors must have the same rows; got {len(inputs)} and {len(errors)}."
        )
    norms: np.ndarray = np.sqrt((_row_squares(inputs) + 1.0) * _row_squares(errors))
    return norms


def _row_squares(rows: np.ndarray) -> np.ndarray:
    """Return the sum of squares of each row, in the precision of the rows."""
    rows = rows.astype(np.result_type(rows, np.float32), copy=False)
    squares: np.ndarray = np.einsum("ij,ij->i", rows, rows)
    return squares.astype(np.float64)
