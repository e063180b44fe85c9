"""What a training returns: weights, and the predictions they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from helpers import losses
from helpers.backend import keras, tf
from helpers.models.ladder import Kind

__all__ = ["Arrays", "Fitted", "Forward", "model_inputs"]

Arrays = Mapping[str, np.ndarray]
_PREDICT_ROWS = 8192  # rows of one forward pass
_CERTAIN = 1e-3  # a linear model's output is cut to [0.001, 0.999] to read it as a probability


def model_inputs(model: keras.Model, inputs: Arrays) -> dict[str, np.ndarray]:
    """Return those of the inputs that the model reads, by name.

    Raises:
        ValueError: one of them is missing.

    Example:
        >>> from helpers.models import LADDER
        >>> one_unit = LADDER["linear"].build(1, {}, 0)
        >>> sorted(model_inputs(one_unit, {"dense": np.ones((2, 1)), "item": np.ones(2)}))
        ['dense']
    """
    missing = sorted(set(model.input) - set(inputs))
    if missing:
        raise ValueError(
            f"the model reads {', '.join(model.input)}; the inputs lack {', '.join(missing)}."
        )
    return {name: inputs[name] for name in model.input}


class Forward:
    """One compiled pass through a rung, shared by all that was fitted on it.

    Building a Keras model takes longer than a short training; exchanging its
    weights does not.
    """

    def __init__(self, kind: Kind, n_dense: int, sizes: Mapping[str, int]) -> None:
        self.build = lambda: kind.build(n_dense, sizes, 0)  # its weights are replaced
        self._model = self.build()
        self._loaded: list[np.ndarray] | None = None
        self._run = tf.function(
            lambda batch: tf.reshape(self._model(batch, training=False), [-1]),
            input_signature=[
                {k: tf.TensorSpec(v.shape, v.dtype) for k, v in self._model.input.items()}
            ],
        )

    def __call__(
        self, weights: list[np.ndarray], inputs: Arrays, batch_size: int = _PREDICT_ROWS
    ) -> np.ndarray:
        """Return the outputs under these weights, float64, shape ``(n,)``, in input order."""
        if weights is not self._loaded:
            self._model.set_weights(weights)
            self._loaded = weights
        x = model_inputs(self._model, inputs)
        starts = range(0, len(x["dense"]), batch_size)
        parts = [self._run({k: v[s : s + batch_size] for k, v in x.items()}) for s in starts]
        return np.concatenate([p.numpy() for p in parts] or [np.empty(0)]).astype(np.float64)


@dataclass(frozen=True)
class Fitted:
    """A trained model. Nothing that is fitted later changes it.

    Attributes:
        kind: its rung.
        weights: the weights of the Keras model, in the model's order.
        history: one row per evaluation: ``updates, train_loss`` and, with early
            stopping, ``valid_loss``.
    """

    kind: Kind
    weights: list[np.ndarray]
    history: pd.DataFrame
    _forward: Forward = field(repr=False)

    @cached_property
    def model(self) -> keras.Model:
        """A Keras model of its own with these weights, built when first asked for.

        What is done to it changes no prediction of this object.
        """
        model = self._forward.build()
        model.set_weights(self.weights)
        return model

    def outputs(self, inputs: Arrays, *, batch_size: int = _PREDICT_ROWS) -> np.ndarray:
        """Return the raw outputs, float64, shape ``(n,)``, in input order.

        Raises:
            ValueError: an input that the model reads is missing.
        """
        return self._forward(self.weights, inputs, batch_size)

    def probabilities(self, inputs: Arrays) -> np.ndarray:
        """Return predictions in (0, 1), shape ``(n,)``.

        A linear model's output is no probability: it is cut to [0.001, 0.999]. A
        logit beyond about 37 rounds to probability 1; use :meth:`logits` for losses.
        """
        output = self.outputs(inputs)
        if self.kind.name == "linear":
            return np.clip(output, _CERTAIN, 1 - _CERTAIN)
        return losses.sigmoid(output)

    def logits(self, inputs: Arrays) -> np.ndarray:
        """Return logits, float64, shape ``(n,)``; of a linear model, of its cut output."""
        if self.kind.name != "linear":
            return self.outputs(inputs)
        p = self.probabilities(inputs)
        return np.log(p) - np.log1p(-p)
