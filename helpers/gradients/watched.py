"""A watch over the Python values that a model and a loss can read while they are traced.

A traced graph holds them as they were: ``model.tau``, a list in a layer, a closure, a default, a
weight in a module, an array. Variables do not count, a graph reads these anew. What can be reached
is found once; then each look compares addresses, and contents only of what can change in place.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from helpers.backend import keras, numeric_settings, tf
from helpers.gradients.attributes import fields_of
from helpers.gradients.code import plain_text, reads_of
from helpers.gradients.contents import Contents, slots_of
from helpers.gradients.fingerprint import Asked, fingerprint, found_in

__all__ = ["Watched", "watched"]

_MISSING = object()
_MOST_BYTES = 2**24  # of an array that is compared whole


def watched(model: Any, loss: Any) -> Watched:
    """Return a watch over all that a model's ``call`` and a loss could read.

    Args:
        model: a Keras model or layer, built: what a first call writes into it would count.
        loss: any callable.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> weights = [1.0, 2.0]
        >>> watch = watched(model, lambda y, p: weights[0] * (p[:, 0] - y) ** 2)
        >>> watch.changed()
        False
        >>> weights[0] = 3.0
        >>> watch.changed()
        True
    """
    return Watched(model=model, loss=loss)


class Watched:
    """Values as they were when this was made.

    It sees what :mod:`helpers.gradients.fingerprint` sees, but for changes of a graph's wiring.
    An array costs its comparison, about a millisecond for 10 MB (of one above 16 MB some entries
    are compared, at equal steps); a table, a set or an object of C its fingerprint.

    Args:
        things: whatever decides.

    Attributes:
        unseen: sentences about what could not be looked into, and so is not watched.
    """

    def __init__(self, **things: Any) -> None:
        self._settings = numeric_settings()
        #: How to ask for a value, by which name, and what it was.
        self._gets: list[tuple[Callable[[Any, Any], Any], Any, Any]] = []
        self._fields: list[tuple[Any, int, frozenset[str]]] = []
        self._functions: list[tuple[types.FunctionType, tuple[Any, ...]]] = []
        self._lists: list[tuple[Any, list[Any]]] = []
        self._arrays: list[tuple[np.ndarray, np.ndarray]] = []
        self._others: list[tuple[Any, str]] = []
        self.unseen: list[str] = []
        for found in found_in(**things):
            if found.contents.unseen:
                self.unseen.append(f"{found.path}: {found.contents.unseen}.")
            if not found.contents.of_library:
                self._watch(found.value, found.contents)

    def changed(self) -> bool:
        """Return whether any of the values is another one by now.

        One that was set to an equal number or text is not. A list or object that was put in place
        of an equal one is.
        """
        return (
            any(_other(get(name, _MISSING), was) for get, name, was in self._gets)
            or any(_others(_state(function), was) for function, was in self._functions)
            or any(len(now) != len(was) or _others(now, was) for now, was in self._lists)
            or any(len(vars(o)) != n and _names(o) != names for o, n, names in self._fields)
            or any(_differ(now, was) for now, was in self._arrays)
            or self._settings != numeric_settings()
            or any(fingerprint(value=value).digest != was for value, was in self._others)
        )

    def _watch(self, value: Any, contents: Contents) -> None:
        """Note how one object is, but for its parts: these are objects of their own.

        Each kind gets the cheapest look that shows a change, because all of them are looked at in
        every call. The digest of a whole value is left to what allows no other look.
        """
        if isinstance(value, Asked):
            self._gets.append((vars(value.module).get, value.name, contents.parts[0][1]))
        elif isinstance(value, types.FunctionType):
            self._watch_function(value)
        elif isinstance(value, types.CellType):
            self._gets += [(_content, value, part) for _, part in contents.parts]
        elif isinstance(value, np.ndarray):
            self._watch_array(value)
        elif isinstance(value, dict | types.MappingProxyType):
            self._lists += [(value.keys(), [*value]), (value.values(), [*value.values()])]
        elif isinstance(value, list):
            self._lists.append((value, [*value]))
        elif contents.data is not None or contents.in_one or isinstance(value, set):
            if not isinstance(value, _LIVE):
                self._others.append((value, fingerprint(value=value).digest))
        elif isinstance(value, type):
            self._watch_fields(value)
        elif not isinstance(value, _FIXED):
            self._gets.append((partial(getattr, value), "__class__", type(value)))
            self._gets += [(partial(getattr, value), n, v) for n, v in slots_of(value).items()]
        if isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, _FIXED):
            self._watch_fields(value)

    def _watch_fields(self, owner: Any) -> None:
        fields, everything = fields_of(owner), vars(owner)
        self._gets += [(everything.get, name, value) for name, value in fields.items()]
        self._fields.append((owner, len(everything), frozenset(fields)))

    def _watch_function(self, function: types.FunctionType) -> None:
        scope = function.__globals__
        self._functions.append((function, _state(function)))
        self._gets += [(scope.get, n, scope.get(n, _MISSING)) for n in reads_of(function)]

    def _watch_array(self, array: np.ndarray) -> None:
        if array.dtype.hasobject:
            self._lists.append((array.reshape(-1), [*array.reshape(-1)]))
        else:
            self._arrays.append((array, _seen(array)))


_LIVE = (keras.Variable, tf.Variable, tf.Tensor)
_FIXED = (*_LIVE, keras.KerasTensor, types.ModuleType, Asked, type)


def _names(owner: Any) -> frozenset[str]:
    return frozenset(fields_of(owner))


def _state(function: types.FunctionType) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _content(cell: types.CellType, default: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return default


def _other(now: Any, was: Any) -> bool:
    """Return whether a value is another one, and not just the same number or text."""
    if now is was:
        return False
    text = plain_text(now)
    return type(now) is not type(was) or text is None or text != plain_text(was)


def _others(now: Any, was: Any) -> bool:
    """Return whether any of as many values is another one."""
    return not all(map(operator.is_, now, was)) and any(map(_other, now, was))


def _seen(array: np.ndarray) -> np.ndarray:
    """Return what is looked at of an array: all of it, or entries at equal steps of a large one.

    A loss may be a method of what holds somebody's whole data.
    """
    step = -(-array.nbytes // _MOST_BYTES)
    return array.copy() if step <= 1 else array.flat[::step]


def _differ(array: np.ndarray, was: np.ndarray) -> bool:
    """Return whether the bytes of an array are others than they were."""
    now = array if array.nbytes <= _MOST_BYTES else _seen(array)
    if now.shape != was.shape or now.dtype != was.dtype:
        return True
    return not np.array_equal(now, was) and now.tobytes() != was.tobytes()  # NaN equals NaN
