"""The method in one screen: from a batch of rows to their gradient norms or dot products.

1. *trace* the model and the unreduced loss into one TensorFlow graph (``tracing``);
2. find the *uses*: the operations where trainable variables meet the rows (``uses``);
3. let TensorFlow give the *deltas*, the derivatives of the summed loss by what those
   operations make. Weight gradients are never asked for, so they are never computed;
4. turn each use into a *factored gradient* by its rule (``rules``);
5. bring it back to the variable where the operation read a function of it (``pullback``), add up
   the uses of a variable and take the *norm* (``forms``). Or take the *dot product* of each use.

It is exact when the loss of a row depends on that row alone (``certificate``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.backend import keras, tf
from helpers.gradients.forms import Tensor
from helpers.gradients.pullback import Part, dots_along, squared_norms_of
from helpers.gradients.rules import factor
from helpers.gradients.tracing import traced_losses
from helpers.gradients.uses import Use, find_uses

__all__ = ["Flow"]

_NO_GRADIENT = (
    "The loss does not depend on any trainable variable. Compute it with TensorFlow from the "
    "prediction (a metric such as accuracy has no gradient), and check `trainable`."
)


@dataclass(frozen=True)
class Flow:
    """What is computed from rows, to be traced by TensorFlow.

    Attributes:
        model: a Keras model.
        loss: ``loss(y, prediction)``, one value a row.
    """

    model: keras.Model
    loss: Callable[[Any, Any], Any]

    def norms(self, x: Any, y: Any, weights: Tensor) -> Tensor:
        """Return ``||w_i g_i||``, shape ``(n,)``: the root of the sum over variables."""
        parts, handles = self._parts(x, y, weights)
        squares = []
        for number, variable in enumerate(self.model.trainable_variables):
            own = [part for part in parts if number in part.source.numbers]
            if own:
                size = math.prod(variable.shape)
                squares.append(squared_norms_of(number, handles[number], size, own))
        return tf.sqrt(_sum(squares))

    def dots(self, x: Any, y: Any, weights: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """Return ``<w_i g_i, v>``, shape ``(n,)``: the sum over uses."""
        parts, handles = self._parts(x, y, weights)
        return _sum([dots_along(part, handles, direction) for part in parts])

    def weighted_deltas(self, x: Any, y: Any, weights: Tensor) -> tuple[Tensor, dict]:
        """Return the losses and, for each use, its delta and its delta under the weights."""
        losses, uses = self._losses_and_uses(x, y)
        plain, weighted = _deltas(losses, uses), _deltas(_weighted(losses, weights), uses)
        pairs = {}
        for use, one, other in zip(uses, plain, weighted, strict=True):
            if one is not None:
                factor(use, one)  # refuses what has no rule
                pairs[use.where] = tuple(use.by_sample(d, use.output) for d in (one, other))
        if not pairs:
            raise ValueError(_NO_GRADIENT)
        return losses, pairs

    def _parts(self, x: Any, y: Any, weights: Tensor) -> tuple[list[Part], list[Tensor]]:
        """Return the factored gradients of each use, and the variables in this graph."""
        losses, uses = self._losses_and_uses(x, y)
        deltas = _deltas(_weighted(losses, weights), uses)
        # None: the model stops the gradient behind this use.
        pairs = [(use, delta) for use, delta in zip(uses, deltas, strict=True) if delta is not None]
        if not pairs:
            raise ValueError(_NO_GRADIENT)
        parts = [Part(use, factor(use, delta)) for use, delta in pairs]
        return parts, [losses.graph.capture(v.value.handle) for v in self.model.trainable_variables]

    def _losses_and_uses(self, x: Any, y: Any) -> tuple[Tensor, list[Use]]:
        losses = traced_losses(self.model, self.loss, x, y)
        return losses, find_uses(losses, self.model.trainable_variables, (x, y))


def _weighted(losses: Tensor, weights: Tensor) -> Tensor:
    return tf.cast(weights, losses.dtype) * losses


def _sum(values: Sequence[Tensor]) -> Tensor:
    """Return a sum in the highest precision among the values."""
    kind = "float64" if any(v.dtype == tf.float64 for v in values) else "float32"
    return tf.add_n([tf.cast(v, kind) for v in values])


def _deltas(losses: Tensor, uses: Sequence[Use]) -> list[Tensor | None]:
    """Return the derivative of the summed losses by what each use makes; None: there is none."""
    known = [[t for t in use.op.outputs if t.dtype.is_floating or t.dtype.is_complex]
             for use in uses]  # fmt: skip
    flat = tf.gradients(tf.reduce_sum(losses), [t for outputs in known for t in outputs])
    found = []
    for use, outputs in zip(uses, known, strict=True):
        mine, flat = flat[: len(outputs)], flat[len(outputs) :]
        delta = next((d for d in mine if d is not None), None)
        if delta is None and {tf.variant, tf.resource} & {t.dtype for t in use.op.outputs}:
            delta = tf.zeros([])  # such as a list of tensors: only a rule could tell
        if delta is not None:
            delta = tf.convert_to_tensor(delta)
            if len(use.op.outputs) == len(outputs) == 1:
                delta.set_shape(use.output.shape)
        found.append(delta)
    return found
