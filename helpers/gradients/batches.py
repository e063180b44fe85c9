"""Rows of a model's inputs and labels: arrays in any nesting, with one first axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Inputs", "as_arrays", "count_rows", "flat", "leaves", "map_leaves", "take_rows"]

#: One array, or a dict, list or tuple of such, as a Keras model takes them. A type checker wants
#: plain dicts and lists of arrays by themselves: what may be changed must hold nothing else.
Inputs: TypeAlias = (
    np.ndarray
    | dict[str, np.ndarray]
    | dict[str, "Inputs"]
    | list[np.ndarray]
    | list["Inputs"]
    | tuple["Inputs", ...]
)


def map_leaves(function: Callable[[Any], Any], nest: Any) -> Any:
    """Return the nest with ``function`` applied to each array in it.

    Example:
        >>> map_leaves(len, {"item": [np.arange(4)]})
        {'item': [4]}
    """
    if isinstance(nest, dict):
        return {key: map_leaves(function, value) for key, value in nest.items()}
    if isinstance(nest, tuple | list) and not _is_numbers(nest):
        return type(nest)([map_leaves(function, value) for value in nest])
    return function(nest)


def flat(nest: Any) -> list[Any]:
    """Return the arrays of a nest in their order.

    Example:
        >>> flat({"item": 4, "both": (7, 9)})
        [4, 7, 9]
    """
    if isinstance(nest, dict):
        return [leaf for value in nest.values() for leaf in flat(value)]
    if isinstance(nest, tuple | list):
        return [leaf for value in nest for leaf in flat(value)]
    return [nest]


def leaves(nest: Any, name: str) -> dict[str, Any]:
    """Return the arrays of a nest by what a message may call them.

    Example:
        >>> sorted(leaves({"item": np.arange(2), "both": (np.arange(2), np.arange(2))}, "input"))
        ['input "both" 0', 'input "both" 1', 'input "item"']
    """
    if isinstance(nest, dict):
        parts = {f'"{key}"': value for key, value in nest.items()}
    elif isinstance(nest, tuple | list):
        parts = {str(place): value for place, value in enumerate(nest)}
    else:
        return {name: nest}
    return {
        k: v for part, value in parts.items() for k, v in leaves(value, f"{name} {part}").items()
    }


def as_arrays(x: Inputs, y: Inputs) -> tuple[Inputs, Inputs]:
    """Return inputs and labels as NumPy arrays, after checking that their rows match.

    Args:
        x: model inputs, an array or a nest of arrays, rows on the first axis.
        y: labels, in the same way.

    Raises:
        ValueError: there are no rows, a scalar came, or the row counts differ.

    Example:
        >>> as_arrays({"item": [4, 7]}, [0.0, 1.0])[0]["item"]
        array([4, 7])
    """
    x, y = map_leaves(_as_array, x), map_leaves(_as_array, y)
    counts = {tuple(array.shape)[:1] for nest in (x, y) for array in flat(nest)}
    if len(counts) != 1 or counts == {()} or not flat(x) or not flat(y):
        several = isinstance(x, dict | list | tuple)
        named = {**leaves(x, "input" if several else "x"), **leaves(y, "y")}
        found = ", ".join(f"{name} has shape {tuple(v.shape)}" for name, v in named.items())
        raise ValueError(f"Inputs and labels must have the same number of rows; {found}.")
    if counts == {(0,)}:
        raise ValueError("There are no rows: x and y are empty.")
    return x, y


def _as_array(value: Any) -> Any:
    """Return a NumPy array; a tensor stays one."""
    if type(value).__name__ in ("RaggedTensor", "SparseTensor"):
        raise TypeError(f"Rows must be dense arrays; got a {type(value).__name__}. Call to_tensor.")
    return value if hasattr(value, "numpy") else np.asarray(value)


def count_rows(nest: Inputs) -> int:
    """Return the number of rows.

    Example:
        >>> count_rows({"item": np.arange(5)})
        5
    """
    return int(flat(nest)[0].shape[0])


def take_rows(nest: Inputs, rows: slice | np.ndarray) -> Inputs:
    """Return the given rows of every array.

    Example:
        >>> take_rows({"item": np.array([4, 7, 9])}, slice(1, 2))
        {'item': array([7])}
    """

    def some(array: Any) -> Any:
        return np.asarray(array)[rows] if isinstance(rows, np.ndarray) else array[rows]

    taken: Inputs = map_leaves(some, nest)
    return taken


def _is_numbers(nest: Any) -> bool:
    """Return whether a list or tuple is one array written out, such as ``[0.0, 1.0]``."""
    return bool(nest) and not isinstance(nest[0], dict | list | tuple) and np.ndim(nest[0]) == 0
