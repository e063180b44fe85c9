"""Loops and branches written out while a model is traced.

A loop of TensorFlow hides its steps in a function of its own: no use of a variable inside is to
be seen. Where the number of steps is known before there are rows (steps of time, experts, rounds
of routing), the loop is written out step by step, as Python would run it; so ``tf.scan``,
``tf.map_fn``, ``tf.foldl`` and what Keras makes of them are followed, for all of them call
``while_loop``. A branch whose condition is known is the branch that it takes. What depends on the
rows stays as it is, and is refused by name where it reads a variable.

Lists of tensors, in which loops keep what they read and make, are followed item by item. The
numbers are the same: the same operations on the same tensors, in the same order.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from helpers.backend import tf
from helpers.gradients.patches import Patches
from helpers.gradients.sizes import all_of, values_of

__all__ = ["loops_written_out"]

# A function of TensorFlow that is replaced for a while.
_Original: TypeAlias = Callable[..., Any]
_OPS = "tensorflow.python.ops."
_MOST_STEPS = 1000  # beyond that the graph would be too large; the loop stays a loop

_FOLDED: dict[str, Callable[..., Any]] = {
    "Add": np.add, "AddV2": np.add, "Sub": np.subtract, "Mul": np.multiply, "Neg": np.negative,
    "FloorDiv": np.floor_divide, "FloorMod": np.mod, "Minimum": np.minimum,
    "Maximum": np.maximum, "Less": np.less, "LessEqual": np.less_equal, "Greater": np.greater,
    "GreaterEqual": np.greater_equal, "Equal": np.equal, "NotEqual": np.not_equal,
    "LogicalAnd": np.logical_and, "LogicalOr": np.logical_or, "LogicalNot": np.logical_not,
    "Identity": np.asarray,
}  # fmt: skip


@contextlib.contextmanager
def loops_written_out() -> Iterator[None]:
    """Write out loops, branches and lists of tensors that this thread traces meanwhile."""
    lists = _Lists()
    with Patches() as patches:
        patches.put(_OPS + "while_loop", "while_loop", _loop)
        patches.put(_OPS + "cond", "cond", _branch)
        patches.put(_OPS + "control_flow_switch_case", "_indexed_case_helper", _case)
        patches.put(_OPS + "list_ops", "tensor_list_from_tensor", lists.from_tensor)
        patches.put(_OPS + "list_ops", "tensor_list_reserve", lists.reserve)
        patches.put(_OPS + "list_ops", "tensor_list_set_item", lists.set_item)
        patches.put(_OPS + "list_ops", "tensor_list_get_item", lists.get_item)
        patches.put(_OPS + "list_ops", "tensor_list_stack", lists.stack)
        yield


def _known(value: Any) -> np.ndarray | None:
    """Return the value of a tensor, or None where it may depend on rows or variables.

    Sums and comparisons of known numbers are known, as a loop's counter is.
    """
    if not tf.is_tensor(value):
        return np.asarray(value)
    if (fixed := tf.get_static_value(value)) is not None:
        return np.asarray(fixed)
    if value.dtype.is_integer:
        sizes = all_of(values_of(value, {}))
        if sizes is not None and not any(n.rows for n in sizes):
            return np.reshape([n.count for n in sizes], value.shape)
    if value.op.type not in _FOLDED:
        return None
    inputs = [_known(t) for t in value.op.inputs]
    if any(n is None for n in inputs):
        return None
    return np.asarray(_FOLDED[value.op.type](*inputs), value.dtype.as_numpy_dtype)


def _as_known(value: Any) -> Any:
    """Return a tensor, a constant where it is a number that is known."""
    if isinstance(value, tf.TensorArray):
        return value
    tensor = tf.convert_to_tensor(value)
    small = tensor.shape.rank == 0 and (tensor.dtype.is_integer or tensor.dtype.is_bool)
    if small and tf.get_static_value(tensor) is None and (known := _known(tensor)) is not None:
        return tf.constant(known, tensor.dtype)
    return tensor


def _loop(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run a loop's steps one after the other, if their number is known.

    The steps then stand in the graph as plain operations, whose uses of variables can be seen;
    a loop of TensorFlow hides them. Where the number of steps turns out not to be known, what
    has been written out so far is left unused, and the loop is made as it would have been.
    """
    given = inspect.signature(original).bind(*args, **options)
    given.apply_defaults()
    values = given.arguments
    most = values["maximum_iterations"]
    most = np.asarray(_MOST_STEPS + 1) if most is None else _known(most)
    state = tf.nest.map_structure(_as_known, list(values["loop_vars"]), expand_composites=True)
    steps = 0
    while most is not None and steps < most:
        go = _known(values["cond"](*state))
        if go is not None and not go:
            break
        if go is None or steps == _MOST_STEPS:
            return original(*args, **options)
        made = values["body"](*state)
        # The body may return a list, a tuple or one tensor, or its list within another one.
        made = list(made) if isinstance(made, list | tuple) else [made]
        if len(made) == 1 < len(state) and isinstance(made[0], list | tuple):
            made = list(made[0])
        tf.nest.assert_same_structure(state, made, check_types=False, expand_composites=True)
        made = tf.nest.map_structure(_as_known, made, expand_composites=True)
        state = tf.nest.pack_sequence_as(
            state, tf.nest.flatten(made, expand_composites=True), expand_composites=True
        )
        steps += 1
    if most is None:
        return original(*args, **options)
    if len(state) == 1 and not values["return_same_structure"]:
        return state[0]
    flat = tf.nest.flatten(state, expand_composites=True)
    return tf.nest.pack_sequence_as(values["loop_vars"], flat, expand_composites=True)


def _branch(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Take a branch whose condition is known."""
    values = inspect.signature(original).bind(*args, **options).arguments
    taken = _known(values["pred"]) if values.get("true_fn") and values.get("false_fn") else None
    if taken is None:
        return original(*args, **options)
    made = _as_tensors(values["true_fn"]() if taken else values["false_fn"]())
    single = isinstance(made, list | tuple) and len(made) == 1
    return made[0] if single and not values.get("strict") else made


def _case(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Take one of several branches, if it is known which."""
    values = inspect.signature(original).bind(*args, **options).arguments
    place, branches = _known(values["branch_index"]), values["branch_fns"]
    if place is None or not isinstance(branches, Sequence) or not all(map(callable, branches)):
        return original(*args, **options)
    inside = 0 <= place < len(branches)
    default = values.get("default") or branches[-1]
    return _as_tensors(branches[int(place)]() if inside else default())


def _as_tensors(made: Any) -> Any:
    """Return what a branch made, numbers as tensors."""

    def convert(value: Any) -> Any:
        kept = value is None or isinstance(value, tf.TensorArray | tf.Operation)
        return value if kept else tf.convert_to_tensor(value)

    return tf.nest.map_structure(convert, made, expand_composites=True)


class _Lists:
    """The items of lists of tensors, as far as they are known, by the lists' tensors.

    The operations on lists are made as ever, so that whoever needs the list itself has it; where
    nobody does, nothing runs.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[int, str], dict[int, Any]] = {}
        self._counts: dict[tuple[int, str], int] = {}

    @staticmethod
    def _key(handle: Any) -> tuple[int, str]:
        return id(handle.graph), handle.name

    def _remember(self, handle: Any, items: dict[int, Any], count: Any) -> Any:
        if count is not None:
            self._items[self._key(handle)] = items
            self._counts[self._key(handle)] = int(count)
        return handle

    def from_tensor(self, original: _Original, tensor: Any, *args: Any, **options: Any) -> Any:
        tensor = tf.convert_to_tensor(tensor)
        handle, count = original(tensor, *args, **options), tensor.shape[0]
        fixed = tf.get_static_value(tensor) if tensor.dtype.is_integer else None
        items = tensor if fixed is None else tf.nest.map_structure(tf.constant, [*fixed])
        known = {k: items[k] for k in range(min(count or 0, _MOST_STEPS))}
        return self._remember(handle, known, count if count == len(known) else None)

    def reserve(
        self, original: _Original, element_shape: Any, num_elements: Any, *args: Any, **options: Any
    ) -> Any:
        handle = original(element_shape, num_elements, *args, **options)
        return self._remember(handle, {}, _known(num_elements))

    def set_item(
        self, original: _Original, input_handle: Any, index: Any, item: Any, *args: Any,
        **options: Any,
    ) -> Any:  # fmt: skip
        handle = original(input_handle, index, item, *args, **options)
        key, place = self._key(input_handle), _known(index)
        if key not in self._items or place is None:
            return handle
        items = self._items[key] | {int(place): tf.convert_to_tensor(item)}
        return self._remember(handle, items, max(self._counts[key], int(place) + 1))

    def get_item(
        self, original: _Original, input_handle: Any, index: Any, *args: Any, **options: Any
    ) -> Any:
        items, place = self._items.get(self._key(input_handle), {}), _known(index)
        if place is not None and int(place) in items:
            return tf.identity(items[int(place)])
        return original(input_handle, index, *args, **options)

    def stack(self, original: _Original, input_handle: Any, *args: Any, **options: Any) -> Any:
        key = self._key(input_handle)
        items, count = self._items.get(key, {}), self._counts.get(key, 0)
        if not count or set(items) != set(range(count)):
            return original(input_handle, *args, **options)
        stacked = tf.stack([items[k] for k in range(count)])
        shape = options.get("element_shape")
        if shape is not None and not tf.is_tensor(shape):
            stacked.set_shape(tf.TensorShape([count]).concatenate(shape))
        return stacked
