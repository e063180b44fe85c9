"""How hard does each row pull at the parameters? Gradient norms, late and early."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tqdm.auto import tqdm

from helpers.gradients import PerSampleGradients
from helpers.models import Fitted, Trainer, model_inputs

__all__ = ["early_gradient_norms", "gradient_norms"]

Arrays = Mapping[str, np.ndarray]


def gradient_norms(
    fitted: Fitted, inputs: Arrays, labels: np.ndarray, *, progress: bool = False
) -> np.ndarray:
    """Return ``||g_i||``, the norm of each sample's loss gradient over all parameters.

    Exact, by :class:`helpers.gradients.PerSampleGradients`; for the one-unit models it takes the
    closed form ``|p_i - y_i| * sqrt(||x_i||^2 + 1)``.

    A large norm means hard, rare *or* wrong; it cannot tell which.

    Args:
        fitted: a trained model of any rung.
        inputs: the arrays of inputs by their names, ``n`` rows each.
        labels: shape ``(n,)``.
        progress: show a bar.

    Returns:
        float64, shape ``(n,)``, in input order.

    Example:
        >>> x = {"dense": np.float32([[3.0, 4.0], [0.0, 0.0]])}
        >>> from helpers.models import LADDER
        >>> trainer = Trainer(LADDER["linear"], x, {}, batch_size=1)
        >>> fitted = trainer.fit(np.float32([0.0, 1.0]), seed=0, updates=1)
        >>> error = np.abs(fitted.outputs(x) - [0.0, 1.0])
        >>> (gradient_norms(fitted, x, np.array([0.0, 1.0])) / error).round(3)
        array([5.099, 1.   ])
    """
    engine = PerSampleGradients(fitted.model, fitted.kind.loss)
    return _engine_norms(engine, inputs, labels, progress=progress)


def early_gradient_norms(
    trainer: Trainer,
    labels: np.ndarray,
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    updates: int = 100,
    progress: bool = False,
) -> np.ndarray:
    """Return gradient norms early in training, averaged over seeds.

    Args:
        trainer: holds the training rows.
        labels: shape ``(n,)``.
        seeds: one short training each.
        updates: how early; the norm is taken after so many updates.
        progress: show a bar.

    Returns:
        float64, shape ``(n,)``.

    Raises:
        ValueError: there are no seeds.

    Reference: Paul, Ganguli and Dziugaite (2021), arXiv:2107.07075, equation 2
    (GraNd). At initialisation itself it does no better than chance: Kirsch
    (2023), arXiv:2303.14753.
    """
    if not seeds:
        raise ValueError("there must be at least one seed to average over; got none.")
    total, engine = np.zeros(len(labels)), None
    for seed in tqdm(seeds, desc="early gradients", leave=False, disable=not progress):
        fitted = trainer.fit(labels, seed=seed, updates=updates)
        if fitted.kind.name != "mlp":
            total += gradient_norms(fitted, trainer.inputs, labels)
            continue
        # One engine for all seeds: tracing a model takes longer than its norms.
        engine = engine or PerSampleGradients(fitted.model, fitted.kind.loss)
        engine.model.set_weights(fitted.weights)
        total += _engine_norms(engine, trainer.inputs, labels, progress=False)
    return total / len(seeds)


def _engine_norms(
    engine: PerSampleGradients, inputs: Arrays, labels: np.ndarray, *, progress: bool
) -> np.ndarray:
    x = model_inputs(engine.model, inputs)
    return engine.norms_over(x, np.asarray(labels, np.float32), progress=progress)
