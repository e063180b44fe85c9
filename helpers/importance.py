"""How important is each training sample? One function a score, one table out.

Every score has a question it answers and one it does not; the docstrings say
both. Higher always means "more of it": a larger loss, a longer gradient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from tqdm.auto import tqdm

from helpers import losses, models
from helpers.backend import keras, tf
from helpers.cache import cached, code_of
from helpers.gradients import PerSampleGradients
from helpers.models import Fitted, Trainer, model_inputs
from helpers.samples import Samples

__all__ = [
    "SCORES",
    "activation_norms",
    "early_gradient_norms",
    "gradient_norms",
    "importance_table",
    "input_saliency",
    "out_of_fold_errors",
    "sample_losses",
    "weight_importance",
]

Arrays = Mapping[str, np.ndarray]

#: The scores of the table, each with the question that it answers.
SCORES = {
    "loss": "How wrong is the final model about this row?",
    "gradient_norm": "How hard does this row pull at the final parameters?",
    "early_gradient_norm": "How hard did it pull early in training, on average over seeds?",
    "out_of_fold_error": "How wrong is a model that never saw this user's rows?",
    "leverage": "How much can the parameters move this row's logit?",
    "activation_norm": "How strongly does this row excite the last hidden layer?",
    "input_saliency": "How much would the loss change if this row's features did?",
}


def sample_losses(fitted: Fitted, inputs: Arrays, labels: np.ndarray) -> np.ndarray:
    """Return each sample's loss under a fitted model, float64, shape ``(n,)``.

    At one checkpoint of a cross-entropy model the loss, ``|p - y|`` and the margin
    are one ranking: each is a rising function of the others.

    Example:
        >>> x = {"dense": np.float32([[0.0]])}
        >>> trainer = Trainer(models.LADDER["logistic"], x, {}, batch_size=1)
        >>> fitted = trainer.fit(np.float32([1.0]), seed=0, updates=1)
        >>> bool(abs(sample_losses(fitted, x, np.array([1.0]))[0] - np.log(2)) < 0.01)
        True
    """
    outputs, labels = fitted.outputs(inputs), np.asarray(labels, dtype=np.float64)
    if fitted.kind.name == "linear":
        return losses.half_squared_error(labels, outputs)
    return losses.cross_entropy(labels, outputs)


def gradient_norms(
    fitted: Fitted, inputs: Arrays, labels: np.ndarray, *, progress: bool = False
) -> np.ndarray:
    """Return ``||g_i||``, the norm of each sample's loss gradient over all parameters.

    Exact, by :class:`helpers.gradients.PerSampleGradients`; for the one-unit models it takes the
    closed form ``|p_i - y_i| * sqrt(||x_i||^2 + 1)``.

    A large norm means hard, rare *or* wrong; it cannot tell which.

    Args:
        fitted: of any rung.
        inputs: by name, ``n`` rows each.
        labels: shape ``(n,)``.
        progress: show a bar.

    Returns:
        float64, shape ``(n,)``, in input order.

    Example:
        >>> x = {"dense": np.float32([[3.0, 4.0], [0.0, 0.0]])}
        >>> trainer = Trainer(models.LADDER["linear"], x, {}, batch_size=1)
        >>> fitted = trainer.fit(np.float32([0.0, 1.0]), seed=0, updates=1)
        >>> error = np.abs(fitted.outputs(x) - [0.0, 1.0])
        >>> (gradient_norms(fitted, x, np.array([0.0, 1.0])) / error).round(3)
        array([5.099, 1.   ])
    """
    engine = PerSampleGradients(fitted.model, fitted.kind.loss)
    return _engine_norms(engine, inputs, labels, progress=progress)


def _engine_norms(
    engine: PerSampleGradients, inputs: Arrays, labels: np.ndarray, *, progress: bool
) -> np.ndarray:
    x = model_inputs(engine.model, inputs)
    return engine.norms_over(x, np.asarray(labels, np.float32), progress=progress)


def _errors(fitted: Fitted, inputs: Arrays, labels: np.ndarray) -> np.ndarray:
    """Return the loss's derivative by the output: prediction minus label."""
    outputs, labels = fitted.outputs(inputs), np.asarray(labels, dtype=np.float64)
    if fitted.kind.name == "linear":
        return outputs - labels
    return losses.cross_entropy_by_logit(labels, outputs)  # keeps the digits of sigmoid(z) - y


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
        ValueError: no seeds.

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


def out_of_fold_errors(
    trainer: Trainer,
    labels: np.ndarray,
    users: np.ndarray,
    *,
    folds: int = 3,
    updates: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Return ``|p_i - y_i|`` under a model that saw no row of the same user.

    A model that has memorised a wrong label no longer finds it surprising; one
    that never saw the user still does.

    Args:
        trainer: holds the training rows.
        labels: shape ``(n,)``.
        users: who each row belongs to, shape ``(n,)``; a user's rows share a fold.
        folds: how many parts; a model is trained for each.
        updates: of each model.
        seed: of each model.
        progress: show a bar.

    Returns:
        float64 in [0, 1], shape ``(n,)``.

    Raises:
        ValueError: ``users`` has another length than the labels, or there are fewer
            users than folds.

    Reference: Northcutt, Jiang and Chuang (2021), arXiv:1911.00068, section 3
    (predictions are taken out of sample).
    """
    codes, names = pd.factorize(users)
    if len(codes) != len(labels):
        raise ValueError(f"users and labels must agree; got {len(codes)} and {len(labels)} rows.")
    if not 2 <= folds <= len(names):
        raise ValueError(
            f"folds must be in [2, {len(names)}] (number of users); got {folds}. "
            "A user's rows stay together."
        )
    error = np.full(len(labels), np.nan)
    parts = list(GroupKFold(n_splits=folds).split(codes, groups=codes))
    for seen, held in tqdm(parts, desc="out of fold", leave=False, disable=not progress):
        fitted = trainer.fit(labels, seed=seed, updates=updates, rows=seen)
        inputs = {name: values[held] for name, values in trainer.inputs.items()}
        error[held] = np.abs(fitted.probabilities(inputs) - labels[held])
    return error


def weight_importance(fitted: Fitted, names: list[str]) -> pd.Series:
    """Return how much each dense feature moves a one-unit model, largest first.

    ``|w_j|`` for features on one scale. It speaks of *features*: every sample gets
    the same answer, so it cannot say which samples matter.

    Raises:
        ValueError: the model has more than one layer, so a weight has no one meaning.

    Example:
        >>> x = {"dense": np.float32([[1.0, 0.0], [0.0, 0.0]])}
        >>> trainer = Trainer(models.LADDER["linear"], x, {}, batch_size=2)
        >>> fitted = trainer.fit(np.float32([1.0, 0.0]), seed=0, updates=1)
        >>> sorted(weight_importance(fitted, ["price", "age"]).index)
        ['age', 'price']
    """
    if fitted.kind.name == "mlp":
        raise ValueError("weights speak of features only in a one-unit model; got an mlp.")
    weights = np.abs(fitted.weights[0][:, 0])
    return pd.Series(weights, index=names).sort_values(ascending=False)


def activation_norms(fitted: Fitted, inputs: Arrays) -> np.ndarray:
    """Return the norm of what enters the last layer, shape ``(n,)``.

    It is the last layer's part of the leverage. It never looks at the label, so it
    can find unusual rows but no wrong ones.
    """
    last = fitted.model.layers[-1]
    body = keras.Model(fitted.model.input, last.input)
    x = model_inputs(fitted.model, inputs)
    starts = range(0, len(x["dense"]), 8192)
    parts = [body({k: v[s : s + 8192] for k, v in x.items()}, training=False) for s in starts]
    return np.linalg.norm(np.concatenate(parts).astype(np.float64), axis=1)


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


def importance_table(
    samples: Samples,
    fitted: Fitted,
    *,
    early_updates: int = 100,
    early_seeds: int = 3,
    folds: int = 3,
    fold_updates: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Return one row a training sample: who, what, when, and every score; cached.

    Args:
        samples: of any source.
        fitted: a rung of the ladder, trained on the train rows.
        early_updates: when the early gradient norm is taken.
        early_seeds: how many seeds it is averaged over.
        folds: parts for the out-of-fold error.
        fold_updates: updates of each fold's model.
        seed: first seed of the early norms; seed of the folds.
        progress: show bars.

    Returns:
        ``sample_id, user_id, item_id, event_time, label, prediction`` and the
        columns of :data:`SCORES`, in time order. ``leverage`` is
        ``gradient_norm / |p - y|``, NaN where the error is exactly 0.
    """
    options = {
        "early_updates": early_updates,
        "early_seeds": early_seeds,
        "folds": folds,
        "fold_updates": fold_updates,
        "seed": seed,
    }
    weights = b"".join(np.ascontiguousarray(w).tobytes() for w in fitted.weights)
    key = {
        "samples": samples.fingerprint,
        "model": fitted.kind.name,
        "weights": hashlib.sha256(weights).hexdigest(),
        "code": code_of(*models.MADE_BY, "helpers.gradients", __name__),
        **options,
    }
    return cached(
        "importance",
        key,
        lambda: _score(samples, fitted, options, progress),
        save=lambda table, folder: table.to_parquet(folder / "importance.parquet"),
        load=lambda folder: pd.read_parquet(Path(folder) / "importance.parquet"),
    )


def _score(
    samples: Samples, fitted: Fitted, options: Mapping[str, int], progress: bool
) -> pd.DataFrame:
    rows = samples.rows("train")
    inputs, labels = samples.inputs(rows), samples.labels(rows)
    trainer = Trainer(fitted.kind, inputs, samples.sizes)
    first = options["seed"]
    table = samples.table.iloc[rows][
        ["sample_id", "user_id", "item_id", "event_time", "label"]
    ].reset_index(drop=True)
    table["prediction"] = fitted.probabilities(inputs)
    table["loss"] = sample_losses(fitted, inputs, labels)
    table["gradient_norm"] = gradient_norms(fitted, inputs, labels, progress=progress)
    table["early_gradient_norm"] = early_gradient_norms(
        trainer,
        labels,
        seeds=tuple(range(first, first + options["early_seeds"])),
        updates=options["early_updates"],
        progress=progress,
    )
    table["out_of_fold_error"] = out_of_fold_errors(
        trainer,
        labels,
        samples.column("user_id", rows),
        folds=options["folds"],
        updates=options["fold_updates"],
        seed=first,
        progress=progress,
    )
    error = np.abs(_errors(fitted, inputs, labels))
    norm = table["gradient_norm"].to_numpy()
    table["leverage"] = np.divide(norm, error, out=np.full(len(norm), np.nan), where=error > 0)
    table["activation_norm"] = activation_norms(fitted, inputs)
    table["input_saliency"] = input_saliency(fitted, inputs, labels)
    return table
