"""The three rungs: the article's one-unit linear model, logistic regression, a small network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from helpers.backend import keras, tf
from helpers.losses import cross_entropy_loss, squared_error_loss

__all__ = ["LADDER", "Kind", "MaskedMean"]

_EMBEDDING = 8
_HIDDEN = (64, 32)


@dataclass(frozen=True)
class Kind:
    """One rung of the ladder.

    Attributes:
        name: ``linear``, ``logistic`` or ``mlp``.
        build: ``build(n_dense, sizes, seed)`` makes the Keras model.
        loss: ``loss(y, output) -> (B,)``, one value per sample.
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
