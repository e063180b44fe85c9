"""One function of rows, traced once, and what its graph tells about its numbers."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs
from helpers.gradients.certificate import tolerance_of
from helpers.gradients.forms import Tensor
from helpers.gradients.looks import Looks
from helpers.gradients.tracing import as_tensors, trace

__all__ = ["Traced", "kinds_in", "reason_of"]


class Traced:
    """A function that gives one number per row and each row's loss, for rows of one kind.

    Args:
        function: ``function(x, y, weights, *more)`` of tensors, to be traced.
        model: the model that the function calls.
        x: inputs of some rows of that kind.
        y: labels of the same rows.
        weights: one weight per row.
        more: the other tensors that the function takes.
        places: where the operations with a name stand in the model, for messages.

    Attributes:
        certified: whether the rows have been found independent on a batch that could show it.
        looks: when to look again.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        model: keras.Model,
        x: Inputs,
        y: Inputs,
        weights: Any,
        *more: Any,
        places: Mapping[str, str],
    ) -> None:
        self._traced = trace(function, model, x, y, weights, *more)
        self._more, self._places = more, places
        self.certified, self.looks = False, Looks()

    def __call__(self, x: Inputs, y: Inputs, weights: Any) -> tuple[np.ndarray, Tensor]:
        """Return the numbers of rows, as float64, and their losses, shape ``(n,)``.

        Raises:
            ValueError: the rows cannot be computed, or the loss gives another number of values.
        """
        try:
            numbers, losses = self._traced(*as_tensors([x, y, weights]), *self._more)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(self._told(error)) from None
        numbers = numbers.numpy().astype(np.float64)
        if len(numbers) != len(weights):
            rows = f"{len(weights)} rows gave {len(numbers)}"
            raise ValueError(f"The loss must return one value per row; {rows}.")
        return numbers, losses

    @property
    def graph(self) -> Any:
        """Return the graph of TensorFlow."""
        return self._traced.graph

    def renewed(self, *more: Any) -> Traced:
        """Return this function for other tensors in place of ``more``."""
        self._more = more
        return self

    def _told(self, error: tf.errors.OpError) -> str:
        """Return in one sentence what TensorFlow says, and of which part of the model."""
        said, node = reason_of(error)
        use = re.search(r"\buse_\d+\b", node)
        if use and use[0] in self._places:
            return (
                f"The gradients of single rows cannot be computed for {self._places[use[0]]}: "
                f"{said:.300}. Does the layer mix the rows, or bring them into another order?"
            )
        return f"The rows cannot be computed{f' at {node}' if node else ''}: {said:.300}."

    @functools.cached_property
    def tolerance(self) -> float:
        """Return how far rounding alone may move a number, as a share of the largest one."""
        return tolerance_of(*kinds_in(self.graph))

    @functools.cached_property
    def single(self) -> bool:
        """Return whether something is computed in single precision, and nothing in half."""
        kinds = kinds_in(self.graph)
        return "float32" in kinds and not kinds & {"float16", "bfloat16"}


def reason_of(error: tf.errors.OpError) -> tuple[str, str]:
    """Return what TensorFlow says of an operation that failed, and the operation's name or ""."""
    # It says where, then shows Python's stack, and ends with the reason.
    said = error.message.split("[[{{node")[0].strip().splitlines()[-1].strip().rstrip(".")
    node = re.search(r"Detected at node (\S+)", error.message)
    node = node or re.search(r"{{node (\S+?)}}", error.message)
    return said, node[1] if node else ""


def kinds_in(graph: Any) -> frozenset[str]:
    """Return the types of the numbers with fractions in a graph, by name.

    Not the model's own word for it: a layer may compute in another precision than the rest.
    """
    # Constants do not tell: an empty list of axes is one of single precision.
    made = [op for op in graph.get_operations() if op.type != "Const"]
    outputs = [t for op in made for t in op.outputs]
    return frozenset(t.dtype.base_dtype.name for t in outputs if t.dtype.is_floating)
