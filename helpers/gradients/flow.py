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
from dataclasses import dataclass, field
from typing import Any

from helpers.backend import keras, tf
from helpers.gradients.forms import Form, Tensor
from helpers.gradients.link import Link
from helpers.gradients.pullback import Part, dots_along, scales_of, squared_norms_of
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
        loss: ``loss(y, prediction)``, one value per row.
        places: variable, layer and operation of each use, by the name of its operations.
        links: what is between the outputs and the loss, as the last trace has shown it.
    """

    model: keras.Model
    loss: Callable[[Any, Any], Any]
    places: dict[str, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def norms(self, x: Any, y: Any, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``||w_i g_i||``, the root of the sum over variables, and ``l_i``; ``(n,)``."""
        losses, parts, handles = self._parts(x, y, weights)
        return tf.sqrt(_sum(self._each(squared_norms_of, parts, handles))), losses

    def dots(
        self, x: Any, y: Any, weights: Tensor, direction: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return ``<w_i g_i, v>``, the sum over uses, and ``l_i``; shape ``(n,)``."""
        losses, parts, handles = self._parts(x, y, weights)
        return _sum([dots_along(part, handles, direction) for part in parts]), losses

    def scales(self, x: Any, y: Any, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return how large the numbers are that a gradient is the sum of, and ``l_i``; ``(n,)``.

        Where they cancel, rounding is a share of them, not of the norm.
        """
        losses, parts, handles = self._parts(x, y, weights)
        return tf.sqrt(_sum([tf.square(s) for s in self._each(scales_of, parts, handles)])), losses

    def _each(
        self, function: Callable[..., Tensor], parts: Sequence[Part], handles: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return a function of the uses of each variable that has any."""
        found = []
        for number, variable in enumerate(self.model.trainable_variables):
            own = [part for part in parts if number in part.source.numbers]
            if own:
                found.append(function(number, handles[number], math.prod(variable.shape), own))
        return found

    def weighted_deltas(
        self, x: Any, y: Any, weights: Tensor
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]]]:
        """Return the losses and, for each use, its delta, its delta under the weights, and reach.

        The reach is by how much a loss would change if a number that the operation makes went to
        zero on a straight line; 0 where it cannot be told.
        """
        losses, uses = self._losses_and_uses(x, y)
        plain, weighted = _deltas(losses, uses), _deltas(_weighted(losses, weights), uses)
        pairs = {}
        for use, one, other in zip(uses, plain, weighted, strict=True):
            if one is not None:
                self._factor(use, one)  # refuses what has no rule
                both = (use.by_sample(d, use.output) for d in (one, other))
                pairs[use.where] = (*both, _reach(one, use))
        if not pairs:
            raise ValueError(_NO_GRADIENT)
        return losses, pairs

    def _parts(self, x: Any, y: Any, weights: Tensor) -> tuple[Tensor, list[Part], list[Tensor]]:
        """Return the losses, the factored gradients of each use, and the variables here."""
        losses, uses = self._losses_and_uses(x, y)
        deltas = _deltas(_weighted(losses, weights), uses)
        # None: the model stops the gradient behind this use.
        pairs = [(use, delta) for use, delta in zip(uses, deltas, strict=True) if delta is not None]
        if not pairs:
            raise ValueError(_NO_GRADIENT)
        parts = [Part(use, self._factor(use, delta)) for use, delta in pairs]
        variables = self.model.trainable_variables
        return losses, parts, [losses.graph.capture(v.value.handle) for v in variables]

    def _factor(self, use: Use, delta: Tensor) -> Form:
        """Return what a use adds; its operations bear a name that an error can be traced by."""
        name = f"use_{len(self.places)}"
        self.places[name] = use.where
        with tf.name_scope(name):
            return factor(use, delta)

    def _losses_and_uses(self, x: Any, y: Any) -> tuple[Tensor, list[Use]]:
        losses, self.links[:] = traced_losses(self.model, self.loss, x, y)
        return losses, find_uses(losses, self.model.trainable_variables, (x, y))


def _weighted(losses: Tensor, weights: Tensor) -> Tensor:
    return tf.cast(weights, losses.dtype) * losses


def _sum(values: Sequence[Tensor]) -> Tensor:
    """Return a sum in the highest precision among the values."""
    kind = "float64" if any(v.dtype == tf.float64 for v in values) else "float32"
    return tf.add_n([tf.cast(v, kind) for v in values])


def _reach(delta: Tensor, use: Use) -> Tensor:
    """Return the largest change of a loss if one number of the use's output went to zero."""
    same = use.output.dtype == delta.dtype and delta.dtype.is_floating
    return tf.reduce_max(tf.abs(delta * use.output)) if same else tf.zeros([])


def _deltas(losses: Tensor, uses: Sequence[Use]) -> list[Tensor | None]:
    """Return the derivative of the summed losses by what each use makes, or None."""
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
