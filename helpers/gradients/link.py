"""Does the loss take what the model gives: a probability, or a logit?

``Dense(1, "sigmoid")`` before a loss that takes logits squashes twice; ``Dense(1)`` before a loss
that takes probabilities has no gradient wherever the number is not between 0 and 1. Either trains
a little, no error is raised, and every gradient has the wrong length. The traced graph shows what
the loss does to a prediction first, and between which bounds the prediction lies by its making.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from helpers.backend import tf
from helpers.gradients.batches import flat
from helpers.gradients.forms import Tensor
from helpers.gradients.uses import names_of_ancestors

__all__ = ["Link", "bounds_of", "links_of"]

#: The least and the largest value that a tensor can have.
Bounds: TypeAlias = tuple[float, float]

_ANY: Bounds = (-math.inf, math.inf)
# What leaves every number as it is.
_SAME = frozenset({"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "Cast", "Transpose",
                   "EnsureShape", "StridedSlice", "Unpack", "Snapshot"})  # fmt: skip
# The same for several tensors, which it joins.
_JOINS = frozenset({"Pack", "ConcatV2"})
# What these read in a loss is a logit.
_OF_LOGITS = frozenset({"Sigmoid", "Softmax", "LogSoftmax", "Softplus",
                        "SoftmaxCrossEntropyWithLogits",
                        "SparseSoftmaxCrossEntropyWithLogits"})  # fmt: skip
# Written out, the cross-entropy of a logit is max(z, 0) - y z + log1p(exp(-|z|)).
_TO_EXPONENT = frozenset({"Neg", "Abs", "Select", "SelectV2"})
# A probability is clipped, and divided by the sum over the classes, before its logarithm.
_TO_LOGARITHM = frozenset({"Maximum", "RealDiv", "AddV2", "Sub", "Mul"})
_SLACK = 1e-5  # by which rounding may lead out of [0, 1]

_TWICE = (
    "The prediction is a probability ({how}), and the loss takes logits: it would squash it a "
    "second time. Take the activation off the last layer, or give a loss of probabilities, such "
    'as "binary_crossentropy" or "sparse_categorical_crossentropy".'
)
_NEVER = (
    "The loss takes probabilities, and the prediction is none ({how}): clipped to [0, 1], it has "
    "no gradient. Give the last layer an activation (sigmoid or softmax), or take a loss of "
    "logits, such as keras.losses.BinaryCrossentropy(from_logits=True)."
)


class Link:
    """What is between one output of a traced model and the loss.

    Attributes:
        wants: "logits", "probabilities", or None where the loss does not show it.
        bounds: between which the output lies by its making.

    Raises:
        ValueError: the output is a probability by its making, and the loss takes logits.
    """

    def __init__(self, prediction: Tensor, losses: Tensor) -> None:
        self.wants = _wanted(prediction, names_of_ancestors(losses))
        self.bounds = bounds_of(prediction)
        if self.wants == "logits" and self.bounds[0] >= 0.0 and self.bounds[1] <= 1.0:
            op = _origin(prediction)
            raise ValueError(_TWICE.format(how=f'it comes out of {op.type}, "{op.name}"'))

    def see(self, values: np.ndarray) -> None:
        """Look at the predictions of some rows, which may show what the graph does not.

        Args:
            values: shape ``(n, ...)``.

        Raises:
            ValueError: they are no probabilities, and the loss takes such; or each row adds up to
                one, as after a softmax, and the loss takes logits.
        """
        values = np.asarray(values, np.float64)
        known = values[np.isfinite(values)]
        low, high = known.min(initial=math.inf), known.max(initial=-math.inf)
        how = f"values from {low:.3g} to {high:.3g}"
        if self.wants == "probabilities" and known.size and (low < -_SLACK or high > 1 + _SLACK):
            raise ValueError(_NEVER.format(how=how))
        if self.wants == "logits" and values.ndim > 1 and values.shape[-1] > 1 and low >= 0:
            sums = values.sum(axis=-1)
            if sums.size > 1 and np.all(np.abs(sums - 1) < _SLACK):
                raise ValueError(_TWICE.format(how="the classes of each row add up to 1"))


def links_of(prediction: Any, losses: Tensor) -> list[Link]:
    """Return what is between each output of a traced model and the traced losses.

    Args:
        prediction: the model's outputs, in any nesting.
        losses: computed from them in the same graph.

    Raises:
        ValueError: an output is a probability by its making, and the loss takes logits.
    """
    outputs = [t for t in flat(prediction) if tf.is_tensor(t) and t.dtype.is_floating]
    return [Link(output, losses) for output in outputs]


# ---------------------------------------------------------------- what the loss wants


def _wanted(prediction: Tensor, needed: set[str]) -> str | None:
    """Return what the loss takes, by the first operations that it applies to a prediction."""
    if any(op.type in _OF_LOGITS for op in _readers(prediction, _SAME | _JOINS | {"Neg"}, needed)):
        return "logits"
    for op in _readers(prediction, _SAME | _JOINS | _TO_EXPONENT, needed):
        if op.type == "Exp" and _meets(op.outputs[0], _SAME, "Log1p", needed):
            return "logits"
    for op in _readers(prediction, _SAME | _JOINS | _TO_LOGARITHM, needed):
        clips = op.type in ("Minimum", "ClipByValue") and _is_at_most_one(op)
        if clips and _meets(op.outputs[0], _SAME | _TO_LOGARITHM, "Log", needed):
            return "probabilities"
    return None


def _is_at_most_one(clip: Any) -> bool:
    """Return whether the upper bound of a clip is a constant near 1."""
    bound = tf.get_static_value(clip.inputs[-1])
    return bound is not None and bool(np.all((bound > 0.9) & (bound <= 1.0)))


def _readers(tensor: Tensor, through: frozenset[str], needed: set[str]) -> Iterator[Any]:
    """Yield the operations of the loss that read a tensor, also behind operations of some types."""
    waiting, seen = [tensor], set()
    while waiting:
        for op in waiting.pop().consumers():
            if op.name in needed and op.name not in seen:
                seen.add(op.name)
                yield op
                if op.type in through:
                    waiting.extend(op.outputs)


def _meets(tensor: Tensor, through: frozenset[str], kind: str, needed: set[str]) -> bool:
    """Return whether an operation of a type reads a tensor, also behind others."""
    return any(op.type == kind for op in _readers(tensor, through, needed))


def _origin(tensor: Tensor) -> Any:
    """Return the operation that made the numbers of a tensor."""
    op = tensor.op
    while op.type in _SAME and op.inputs:
        op = op.inputs[0].op
    return op


# ---------------------------------------------------------------- between which bounds it lies


def bounds_of(tensor: Tensor, depth: int = 30) -> Bounds:
    """Return between which bounds a traced tensor lies, whatever the rows and the weights are.

    Args:
        tensor: a tensor of a traced graph.
        depth: how many operations are looked at on the way back from it.

    Example:
        >>> @tf.function(autograph=False)
        ... def show(z):
        ...     print(bounds_of(1 / (1 + tf.exp(-z))), bounds_of(tf.nn.relu(z)))
        >>> _ = show.get_concrete_function(tf.TensorSpec([None]))
        (0.0, 1.0) (0.0, inf)
    """
    op = tensor.op
    if op.type == "Const":
        value = tf.get_static_value(tensor)
        if value is not None and value.size and np.issubdtype(value.dtype, np.number):
            return float(value.min()), float(value.max())
        return _ANY
    if op.type in _FIXED:
        return _FIXED[op.type]
    if depth == 0 or not (op.type in _SAME or op.type in _MOVED):
        return _ANY
    if op.type == "IdentityN":
        return bounds_of(op.inputs[tensor.value_index], depth - 1)
    if op.type in _SAME or op.type in ("Mean", "Max", "Min"):
        return bounds_of(op.inputs[0], depth - 1)
    inputs = [bounds_of(t, depth - 1) for t in op.inputs if t.dtype.is_floating]
    return _MOVED[op.type](inputs)


_FIXED: dict[str, Bounds] = {
    "Sigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Relu6": (0.0, 6.0),
    "LogSoftmax": (-math.inf, 0.0), "Softplus": (0.0, math.inf), "Sin": (-1.0, 1.0),
    "Cos": (-1.0, 1.0), "Erf": (-1.0, 1.0), "Softsign": (-1.0, 1.0),
}  # fmt: skip


def _times(a: float, b: float) -> float:
    """Return a product; a bound of nothing stays nothing, however large the other one is."""
    return 0.0 if a == 0.0 or b == 0.0 else a * b


def _product(inputs: Sequence[Bounds]) -> Bounds:
    (a, b), (c, d) = inputs
    ends = [_times(p, q) for p in (a, b) for q in (c, d)]
    return min(ends), max(ends)


def _inverse(bounds: Bounds) -> Bounds:
    low, high = bounds
    if low <= 0.0 <= high and not low == 0.0 < high:
        return _ANY
    return 1.0 / high if high else -math.inf, 1.0 / low if low else math.inf


def _exponential(inputs: Sequence[Bounds]) -> Bounds:
    low, high = (math.exp(end) if end < 700.0 else math.inf for end in inputs[0])
    return low, high


def _absolute(inputs: Sequence[Bounds]) -> Bounds:
    low, high = inputs[0]
    least = 0.0 if low <= 0.0 <= high else min(abs(low), abs(high))
    return least, max(abs(low), abs(high))


def _square(inputs: Sequence[Bounds]) -> Bounds:
    low, high = _absolute(inputs)
    return low * low, high * high


_MOVED: dict[str, Callable[[Sequence[Bounds]], Bounds]] = {
    "Mean": lambda i: i[0],
    "Max": lambda i: i[0],
    "Min": lambda i: i[0],
    "Neg": lambda i: (-i[0][1], -i[0][0]),
    "AddV2": lambda i: (i[0][0] + i[1][0], i[0][1] + i[1][1]),
    "Sub": lambda i: (i[0][0] - i[1][1], i[0][1] - i[1][0]),
    "Mul": _product,
    "RealDiv": lambda i: _product([i[0], _inverse(i[1])]),
    "Reciprocal": lambda i: _inverse(i[0]),
    "Minimum": lambda i: (min(i[0][0], i[1][0]), min(i[0][1], i[1][1])),
    "Maximum": lambda i: (max(i[0][0], i[1][0]), max(i[0][1], i[1][1])),
    "ClipByValue": lambda i: tuple(min(max(t, low), high) for t, low, high in zip(*i, strict=True)),
    "Relu": lambda i: (max(i[0][0], 0.0), max(i[0][1], 0.0)),
    "Exp": _exponential,
    "Abs": _absolute,
    "Square": _square,
    "ConcatV2": lambda i: (min(b[0] for b in i), max(b[1] for b in i)),
    "Pack": lambda i: (min(b[0] for b in i), max(b[1] for b in i)),
}
