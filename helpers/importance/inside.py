"""What the model itself shows: weights, activations, sensitivity to the features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.backend import keras, tf
from helpers.models import Fitted, model_inputs

__all__ = ["activation_norms", "input_saliency", "last_activations", "weight_importance"]

Arrays = Mapping[str, np.ndarray]


def weight_importance(fitted: Fitted, names: list[str]) -> pd.Series:
    """Return how much each dense feature moves a one-unit model, largest first.

    ``|w_j|`` for features on one scale. It speaks of *features*: every sample gets
    the same answer, so it cannot say which samples matter.

    Raises:
        ValueError: the model has more than one layer, so a weight has no one meaning.

    Example:
        >>> x = {"dense": np.float32([[1.0, 0.0], [0.0, 0.0]])}
        >>> from helpers.models import LADDER, Trainer
        >>> trainer = Trainer(LADDER["linear"], x, {}, batch_size=2)
        >>> fitted = trainer.fit(np.float32([1.0, 0.0]), seed=0, updates=1)
        >>> sorted(weight_importance(fitted, ["price", "age"]).index)
        ['age', 'price']
    """
    if fitted.kind.name == "mlp":
        raise ValueError("weights speak of features only in a one-unit model; got an mlp.")
    weights = np.abs(fitted.weights[0][:, 0])
    return pd.Series(weights, index=names).sort_values(ascending=False)


def last_activations(fitted: Fitted, inputs: Arrays) -> np.ndarray:
    """Return what enters the last layer, float64, shape ``(n, d)``.

    For a one-unit model these are the dense features themselves.
    """
    last = fitted.model.layers[-1]
    body = keras.Model(fitted.model.input, last.input)
    x = model_inputs(fitted.model, inputs)
    starts = range(0, len(x["dense"]), 8192)
    parts = [body({k: v[s : s + 8192] for k, v in x.items()}, training=False) for s in starts]
    return np.concatenate(parts).astype(np.float64)


def activation_norms(fitted: Fitted, inputs: Arrays) -> np.ndarray:
    """Return the norm of what enters the last layer, shape ``(n,)``.

    It is the last layer's part of the leverage. It never looks at the label, so it
    can find unusual rows but no wrong ones.
    """
    return np.linalg.norm(last_activations(fitted, inputs), axis=1)


def input_saliency(fitted: Fitted, inputs: Arrays, labels: np.ndarray) -> np.ndarray:
    """Return ``||d loss_i / d dense_i||``, shape ``(n,)``.

    This is what the article's "derivative of the loss by the sample" computes when
    it is read literally: sensitivity to the *features* of a row. For a one-unit
    model it is ``|p - y|`` times the same constant for every row.

    Reference: Simonyan, Vedaldi and Zisserman (2014), arXiv:1312.6034, section 3.
    """
    x = model_inputs(fitted.model, inputs)
    parts = []
    for start in range(0, len(labels), 8192):
        batch = {k: tf.constant(v[start : start + 8192]) for k, v in x.items()}
        y = tf.constant(labels[start : start + 8192], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(batch["dense"])
            loss = fitted.kind.loss(y, fitted.model(batch, training=False))
        parts.append(tf.norm(tape.gradient(loss, batch["dense"]), axis=1).numpy())
    return np.concatenate(parts).astype(np.float64)
