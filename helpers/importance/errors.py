"""How wrong is a fitted model about each row? The loss, and the error that drives it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from helpers import losses
from helpers.models import Fitted

__all__ = ["output_errors", "sample_losses"]

Arrays = Mapping[str, np.ndarray]


def sample_losses(fitted: Fitted, inputs: Arrays, labels: np.ndarray) -> np.ndarray:
    """Return each sample's loss under a fitted model, float64, shape ``(n,)``.

    At one checkpoint of a cross-entropy model the loss, ``|p - y|`` and the margin
    are one ranking: each is a rising function of the others.

    Example:
        >>> x = {"dense": np.float32([[0.0]])}
        >>> from helpers.models import LADDER, Trainer
        >>> trainer = Trainer(LADDER["logistic"], x, {}, batch_size=1)
        >>> fitted = trainer.fit(np.float32([1.0]), seed=0, updates=1)
        >>> bool(abs(sample_losses(fitted, x, np.array([1.0]))[0] - np.log(2)) < 0.01)
        True
    """
    outputs, labels = fitted.outputs(inputs), np.asarray(labels, dtype=np.float64)
    if fitted.kind.name == "linear":
        return losses.half_squared_error(labels, outputs)
    return losses.cross_entropy(labels, outputs)


def output_errors(fitted: Fitted, inputs: Arrays, labels: np.ndarray) -> np.ndarray:
    """Return the loss's derivative by the output: prediction minus label."""
    outputs, labels = fitted.outputs(inputs), np.asarray(labels, dtype=np.float64)
    if fitted.kind.name == "linear":
        return outputs - labels
    return losses.cross_entropy_by_logit(labels, outputs)  # keeps the digits of sigmoid(z) - y
