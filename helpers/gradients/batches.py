"""Rows of model inputs: one array, or a dictionary of arrays with the same first axis."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

__all__ = ["Inputs", "as_arrays", "padded_rows", "take_rows"]

Inputs: TypeAlias = np.ndarray | dict[str, np.ndarray]


def as_arrays(x: Inputs, y: np.ndarray) -> tuple[Inputs, np.ndarray]:
    """Return inputs and labels as NumPy arrays, after checking that their rows match.

    Args:
        x: model inputs, an array or a dict of arrays, rows on the first axis.
        y: labels, rows on the first axis.

    Raises:
        ValueError: there are no rows, a scalar came, or the row counts differ.

    Example:
        >>> as_arrays({"item": [4, 7]}, [0.0, 1.0])[0]["item"]
        array([4, 7])
    """
    x = {k: np.asarray(v) for k, v in x.items()} if isinstance(x, dict) else np.asarray(x)
    y = np.asarray(y)
    named = {f'input "{k}"': v for k, v in x.items()} if isinstance(x, dict) else {"x": x}
    shapes = {name: v.shape for name, v in {**named, "y": y}.items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or not y.ndim:
        found = ", ".join(f"{name} has shape {shape}" for name, shape in shapes.items())
        raise ValueError(f"Inputs and labels must have the same number of rows; {found}.")
    if len(y) == 0:
        raise ValueError("There are no rows: x and y are empty.")
    return x, y


def take_rows(x: Inputs, rows: slice | np.ndarray) -> Inputs:
    """Return the given rows of an array, or of every array of a dict.

    Example:
        >>> take_rows({"item": np.array([4, 7, 9])}, slice(1, 2))
        {'item': array([7])}
    """
    return {k: v[rows] for k, v in x.items()} if isinstance(x, dict) else x[rows]


def padded_rows(start: int, size: int, n: int) -> slice | np.ndarray:
    """Return ``size`` rows from ``start`` on, repeating the last row past the end.

    Every batch then has one shape, and TensorFlow traces the model only once.

    Example:
        >>> padded_rows(4, 3, 5)
        array([4, 4, 4])
    """
    if start + size <= n:
        return slice(start, start + size)  # a view: nothing is copied
    return np.minimum(np.arange(start, start + size), n - 1)
