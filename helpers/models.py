"""The ladder of models, and one way to fit them.

Three rungs: the article's one-unit linear model, logistic regression, and a
small network with embeddings. A :class:`Trainer` compiles one training loop for
a rung and starts it again from a seed as often as one likes, so that a hundred
fits cost little more than their gradient steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers import backend, losses
from helpers.backend import keras, tf
from helpers.cache import cached, code_of
from helpers.losses import cross_entropy_loss, squared_error_loss
from helpers.samples import Samples

__all__ = [
    "LADDER",
    "Fitted",
    "Kind",
    "Trainer",
    "epoch_order",
    "model_inputs",
    "trained_model",
]

Arrays = Mapping[str, np.ndarray]
_EMBEDDING = 8
_HIDDEN = (64, 32)
_CERTAIN = 1e-3  # a linear model's output is cut to [0.001, 0.999] to read it as a probability


@dataclass(frozen=True)
class Kind:
    """One rung of the ladder.

    Attributes:
        name: ``linear``, ``logistic`` or ``mlp``.
        build: ``build(n_dense, sizes, seed)`` makes the Keras model.
        loss: ``loss(y, output) -> (B,)``, one value a sample.
        optimizer: ``sgd`` or ``adam``.
        learning_rate: step size; per update, of the batch's mean loss.
    """

    name: str
    build: Callable[[int, Mapping[str, int], int], keras.Model]
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    optimizer: str
    learning_rate: float


def _build_one_unit(n_dense: int, sizes: Mapping[str, int], seed: int) -> keras.Model:
    """Return the article's model: one Dense unit on the dense features."""
    del sizes  # it sees no ids
    dense = keras.Input((n_dense,), name="dense")
    unit = keras.layers.Dense(1, kernel_initializer=_glorot(seed), name="unit")
    return keras.Model({"dense": dense}, unit(dense))


def _build_mlp(n_dense: int, sizes: Mapping[str, int], seed: int) -> keras.Model:
    """Return a network with embeddings; the item's table also serves the last items."""
    dense = keras.Input((n_dense,), name="dense")
    item = keras.Input((), dtype="int32", name="item")
    subcategory = keras.Input((), dtype="int32", name="subcategory")
    recent = keras.Input((None,), dtype="int32", name="recent")
    items = keras.layers.Embedding(
        sizes["item"], _EMBEDDING, embeddings_initializer=_small(seed), name="items"
    )
    subcategories = keras.layers.Embedding(
        sizes["subcategory"],
        _EMBEDDING,
        embeddings_initializer=_small(seed + 1),
        name="subcategories",
    )
    taste = MaskedMean(name="taste")(items(recent), recent)
    wanted = items(item)
    match = keras.layers.Dot(axes=1, name="match")([wanted, taste])
    hidden = keras.layers.Concatenate()([dense, wanted, subcategories(subcategory), taste, match])
    for place, units in enumerate(_HIDDEN):
        layer = keras.layers.Dense(
            units, "relu", kernel_initializer=_glorot(seed + 2 + place), name=f"hidden_{place + 1}"
        )
        hidden = layer(hidden)
    logit = keras.layers.Dense(1, kernel_initializer=_glorot(seed + 9), name="logit")(hidden)
    inputs = {"dense": dense, "item": item, "subcategory": subcategory, "recent": recent}
    return keras.Model(inputs, logit)


@keras.saving.register_keras_serializable(package="workbook")
class MaskedMean(keras.layers.Layer):
    """The mean of a bag's vectors over its ids, leaving out padding (id 0)."""

    def call(self, vectors: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Return shape ``(B, d)`` from vectors ``(B, k, d)`` and ids ``(B, k)``."""
        known = tf.cast(tf.not_equal(ids, 0), vectors.dtype)[:, :, None]
        count = tf.maximum(tf.reduce_sum(known, axis=1), 1.0)
        return tf.reduce_sum(vectors * known, axis=1) / count


def _glorot(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def _small(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomUniform(-0.05, 0.05, seed=seed)


#: The three rungs by name.
LADDER = {
    "linear": Kind("linear", _build_one_unit, squared_error_loss, "sgd", 0.05),
    "logistic": Kind("logistic", _build_one_unit, cross_entropy_loss, "adam", 0.003),
    "mlp": Kind("mlp", _build_mlp, cross_entropy_loss, "adam", 0.0005),
}


def model_inputs(model: keras.Model, inputs: Arrays) -> dict[str, np.ndarray]:
    """Return those of the inputs that the model reads, by name."""
    return {name: inputs[name] for name in model.input}


@dataclass(frozen=True)
class Fitted:
    """A trained model.

    Attributes:
        kind: its rung.
        model: the Keras model.
        history: one row an evaluation: ``updates, train_loss, valid_loss``.
    """

    kind: Kind
    model: keras.Model
    history: pd.DataFrame

    def outputs(self, inputs: Arrays, *, batch_size: int = 8192) -> np.ndarray:
        """Return the model's raw outputs, float64, shape ``(n,)``, in input order."""
        return _outputs(self.model, model_inputs(self.model, inputs), batch_size)

    def probabilities(self, inputs: Arrays) -> np.ndarray:
        """Return predictions in (0, 1); a linear model's are cut to [0.001, 0.999]."""
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


def _outputs(model: keras.Model, inputs: Arrays, batch_size: int) -> np.ndarray:
    size = len(next(iter(inputs.values())))
    parts = [
        model({k: v[start : start + batch_size] for k, v in inputs.items()}, training=False)
        for start in range(0, size, batch_size)
    ]
    return np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1) for p in parts])


def epoch_order(
    rows: np.ndarray, *, updates: int, batch_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Return which rows each update sees: whole passes over ``rows``, each shuffled.

    Args:
        rows: places in the training arrays, shape ``(m,)``.
        updates: how many.
        batch_size: rows an update.
        rng: of the shuffles.

    Returns:
        int32, shape ``(updates, batch_size)``.

    Example:
        >>> order = epoch_order(np.arange(4), updates=2, batch_size=2, rng=np.random.default_rng(0))
        >>> sorted(order.ravel().tolist())
        [0, 1, 2, 3]
    """
    if not len(rows):
        raise ValueError("there must be at least one row to train on; got none.")
    passes = -(-updates * batch_size // len(rows))
    order = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return order[: updates * batch_size].reshape(updates, batch_size).astype(np.int32)


class Trainer:
    """Fits one rung again and again on the same rows, from any seed.

    The arrays are handed over once. What changes from fit to fit (labels,
    weights, which rows an update sees, the seed) does not compile anything anew.

    Args:
        kind: the rung.
        inputs: training inputs by name.
        sizes: vocabulary sizes by name.
        batch_size: rows an update.

    Example:
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> trainer = Trainer(LADDER["logistic"], {"dense": x}, {}, batch_size=16)
        >>> fitted = trainer.fit((x[:, 0] > 0).astype(np.float32), seed=0, updates=200)
        >>> bool(fitted.logits({"dense": np.float32([[1.0]])})[0] > 0)
        True
    """

    def __init__(
        self, kind: Kind, inputs: Arrays, sizes: Mapping[str, int], *, batch_size: int = 512
    ) -> None:
        self.kind = kind
        self.batch_size = batch_size
        self._sizes = dict(sizes)
        self._n_dense = inputs["dense"].shape[1]
        self._model = kind.build(self._n_dense, self._sizes, 0)
        self.inputs = model_inputs(self._model, inputs)
        self._data = {k: tf.constant(v) for k, v in self.inputs.items()}
        self._size = len(inputs["dense"])
        self._initial: dict[int, list[np.ndarray]] = {}
        makers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
        self._optimizer = makers[kind.optimizer](kind.learning_rate)
        self._optimizer.build(self._model.trainable_variables)
        self._fresh = [v.numpy() for v in self._optimizer.variables]
        per_row = tf.TensorSpec([self._size], tf.float32)
        signature = [tf.TensorSpec([None, batch_size], tf.int32), per_row, per_row]
        self._updates = tf.function(self._run_updates, input_signature=signature)

    def fit(
        self,
        labels: np.ndarray,
        *,
        seed: int,
        updates: int | None = None,
        epochs: int | None = None,
        sample_weight: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        order: np.ndarray | None = None,
        valid: tuple[Arrays, np.ndarray] | None = None,
        patience: int = 3,
        progress: bool = False,
    ) -> Fitted:
        """Fit from fresh weights; the same seed gives the same weights.

        Give ``updates`` for a fixed number of updates, or ``epochs`` (passes over
        the rows). With ``valid`` the loss there is taken after each pass; training
        stops when it has not improved for ``patience`` passes, and the best
        weights are kept.

        Args:
            labels: shape ``(n,)``.
            seed: of the first weights and of the order of rows.
            updates: a fixed number of updates.
            epochs: passes over the rows, at most, when ``valid`` is given.
            sample_weight: shape ``(n,)``; an update descends ``mean(w * loss)``.
            rows: only these rows are trained on; all by default.
            order: which rows each update sees, ``(updates, batch_size)``, in
                place of shuffled passes.
            valid: inputs and labels for early stopping.
            patience: passes without improvement before it stops.
            progress: show a bar.

        Returns:
            The fitted model; its weights are its own, later fits leave them alone.

        Raises:
            ValueError: not exactly one of updates, epochs, order; wrong lengths;
                a weight that is negative or not finite; the loss became NaN.
        """
        if sum(given is not None for given in (updates, epochs, order)) != 1:
            raise ValueError("give exactly one of updates, epochs and order.")
        weight = self._checked(labels, sample_weight)
        rows = np.arange(self._size) if rows is None else np.asarray(rows)
        if order is None:
            per_pass = max(1, len(rows) // self.batch_size)
            order = epoch_order(
                rows,
                updates=updates if updates is not None else epochs * per_pass,
                batch_size=self.batch_size,
                rng=np.random.default_rng([seed, 1]),
            )
        else:
            per_pass = max(1, len(order) // 10)
        self._restart(seed)
        history = self._descend(order, per_pass, labels, weight, valid, patience, progress)
        model = self.kind.build(self._n_dense, self._sizes, seed)
        model.set_weights(self._model.get_weights())
        return Fitted(self.kind, model, history)

    def _checked(self, labels: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        weight = np.ones(self._size) if weight is None else np.asarray(weight)
        if np.shape(labels) != (self._size,) or weight.shape != (self._size,):
            raise ValueError(
                f"labels and sample_weight must have shape ({self._size},); got "
                f"{np.shape(labels)} and {weight.shape}."
            )
        if not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError("sample_weight must be finite and not negative.")
        return weight.astype(np.float32)

    def _restart(self, seed: int) -> None:
        if seed not in self._initial:
            fresh = self.kind.build(self._n_dense, self._sizes, seed)
            self._initial[seed] = fresh.get_weights()
        self._model.set_weights(self._initial[seed])
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)

    def _descend(
        self,
        order: np.ndarray,
        per_pass: int,
        labels: np.ndarray,
        weight: np.ndarray,
        valid: tuple[Arrays, np.ndarray] | None,
        patience: int,
        progress: bool,
    ) -> pd.DataFrame:
        """Run the updates pass by pass and return the history."""
        y, w = tf.constant(labels, tf.float32), tf.constant(weight)
        best, best_weights, waited, rows, done = np.inf, None, 0, [], 0
        starts = range(0, len(order), per_pass)
        for start in tqdm(starts, desc=f"fit {self.kind.name}", leave=False, disable=not progress):
            part = order[start : start + per_pass]
            loss = float(self._updates(tf.constant(part), y, w))
            if not np.isfinite(loss):
                raise ValueError(
                    f"the training loss became {loss} after {done + len(part)} updates; "
                    "use a smaller learning rate or look for extreme inputs."
                )
            done += len(part)
            row = {"updates": done, "train_loss": loss}
            if valid is not None:
                row["valid_loss"] = self._mean_loss(*valid)
                waited = waited + 1 if row["valid_loss"] >= best else 0
                if not waited:
                    best, best_weights = row["valid_loss"], self._model.get_weights()
            rows.append(row)
            if waited >= patience:
                break
        if best_weights is not None:
            self._model.set_weights(best_weights)
        return pd.DataFrame(rows)

    def _run_updates(self, order: tf.Tensor, y: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """Take one step a row of ``order``; return the mean training loss on the way."""
        total = tf.constant(0.0)
        for rows in order:
            batch = {k: tf.gather(v, rows) for k, v in self._data.items()}
            with tf.GradientTape() as tape:
                output = self._model(batch, training=True)
                loss = tf.reduce_mean(
                    tf.gather(w, rows) * self.kind.loss(tf.gather(y, rows), output)
                )
            gradients = tape.gradient(loss, self._model.trainable_variables)
            self._optimizer.apply(gradients, self._model.trainable_variables)
            total += loss
        return total / tf.cast(tf.shape(order)[0], tf.float32)

    def _mean_loss(self, inputs: Arrays, labels: np.ndarray) -> float:
        output = _outputs(self._model, model_inputs(self._model, inputs), 8192)
        return float(np.mean(self.kind.loss(tf.constant(labels, tf.float64), tf.constant(output))))


def trained_model(
    samples: Samples,
    kind: str,
    *,
    seed: int = 0,
    epochs: int = 8,
    batch_size: int = 512,
    progress: bool = False,
) -> Fitted:
    """Return a rung fitted on the train rows, stopped early on valid; cached.

    Args:
        samples: of any source.
        kind: a name in :data:`LADDER`.
        seed: of the weights and the order.
        epochs: passes at most.
        batch_size: rows an update.
        progress: show a bar.
    """
    key = {
        "samples": samples.fingerprint,
        "code": code_of(backend, losses, "helpers.samples", "helpers.features", __name__),
        "kind": kind,
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
    }
    rung = LADDER[kind]

    def build() -> Fitted:
        train, valid = samples.rows("train"), samples.rows("valid")
        trainer = Trainer(rung, samples.inputs(train), samples.sizes, batch_size=batch_size)
        return trainer.fit(
            samples.labels(train),
            seed=seed,
            epochs=epochs,
            valid=(samples.inputs(valid), samples.labels(valid)),
            progress=progress,
        )

    def save(fitted: Fitted, folder: Path) -> None:
        np.savez(folder / "weights.npz", *fitted.model.get_weights())
        fitted.history.to_parquet(folder / "history.parquet")

    def load(folder: Path) -> Fitted:
        model = rung.build(samples.dense.shape[1], samples.sizes, seed)
        with np.load(folder / "weights.npz") as weights:
            model.set_weights([weights[name] for name in weights.files])
        return Fitted(rung, model, pd.read_parquet(folder / "history.parquet"))

    return cached("models", key, build, save=save, load=load)
