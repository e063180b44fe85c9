"""Losses, models and rows that the tests of the gradient engine share."""

from __future__ import annotations

import numpy as np

from helpers.backend import keras, tf

layers, ops = keras.layers, keras.ops
ITEMS, CATEGORIES = 12, 5


def cross_entropy(y, logits):
    z = tf.reshape(logits, [-1])
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(y, z.dtype), logits=z)


def half_square(y, prediction):
    p = tf.reshape(prediction, [-1])
    return 0.5 * (p - tf.cast(y, p.dtype)) ** 2


def keras_cross_entropy(y, logits):
    return keras.losses.binary_crossentropy(y, logits, from_logits=True)


class MaskedMean(layers.Layer):
    def call(self, rows, ids):
        mask = ops.cast(ops.not_equal(ids, 0), rows.dtype)[..., None]
        return ops.sum(rows * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)


class UnmaskedMean(layers.Layer):
    def call(self, rows, ids):
        return ops.mean(rows, axis=1)


def click_inputs(recent=4):
    return {
        "dense": keras.Input((3,), name="dense"),
        "item": keras.Input((), dtype="int32", name="item"),
        "subcategory": keras.Input((), dtype="int32", name="subcategory"),
        "recent": keras.Input((recent,), dtype="int32", name="recent"),
    }


def table(size, width, name):
    # Larger than Keras' 0.05, so that a cross term is no rounding error.
    return layers.Embedding(size, width, embeddings_initializer="glorot_normal", name=name)


def click_mlp(recent=4, pool=MaskedMean, flat=False):
    x = click_inputs(recent)
    items = table(ITEMS, 6, "items")
    parts = [
        x["dense"],
        items(x["item"]),
        table(CATEGORIES, 3, "categories")(x["subcategory"]),
        pool(name="pool")(items(x["recent"]), x["recent"]),
    ]
    hidden = layers.Concatenate(name="all")(parts)
    for k in (1, 2):
        hidden = layers.Dense(8, activation="relu", name=f"hidden_{k}")(hidden)
    logit = layers.Dense(1, name="logit")(hidden)
    return keras.Model(x, layers.Reshape((), name="flat")(logit) if flat else logit, name="mlp")


def linear():
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


def deep_sequential():
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(5, activation="tanh"), layers.Dense(1, use_bias=False)]
    )


def sequence_dense():
    """Dense layers at three positions, (B, T, d): one squared by pairs, one written out."""
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Reshape((3, 1)),
            layers.Dense(9, activation="tanh"),
            layers.Dense(8, activation="gelu"),
            layers.Dense(2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )


class DenseTwice(keras.Model):
    """A subclassed model that calls one layer twice, which gives its weights a cross term."""

    def __init__(self):
        super().__init__()
        self.shared = layers.Dense(3, activation="tanh", name="shared")
        self.last = layers.Dense(1, name="last")

    def call(self, x):
        return self.last(self.shared(self.shared(x)))


class Affine(layers.Layer):
    """Weights that multiply and that are added, one of them a single number."""

    def build(self, shape):
        normal = keras.initializers.RandomNormal(1.0, 0.3, seed=1)
        self.scale = self.add_weight(shape=(shape[-1],), initializer=normal, name="scale")
        self.row = self.add_weight(shape=(1, shape[-1]), initializer=normal, name="row")
        self.number = self.add_weight(shape=(), initializer=normal, name="number")

    def call(self, x):
        return (self.row + x * self.scale) * self.number + self.number


def affine():
    return keras.Sequential([keras.Input((3,)), Affine(), layers.Dense(1)])


class TiedMatrix(keras.Model):
    """One matrix used as it is and turned round, as in an autoencoder."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(3, 4), name="matrix", initializer="glorot_normal")

    def call(self, x):
        code = tf.tanh(tf.matmul(x, self.matrix.value))
        return tf.reduce_sum(tf.matmul(code, self.matrix.value, transpose_b=True), axis=1)


class PlainLookUp(keras.Model):
    """A table read without an embedding layer, by the variable itself."""

    def build(self, shape):
        self.rows = self.add_weight(shape=(ITEMS, 3), name="rows", initializer="glorot_normal")

    def call(self, x):
        read = tf.gather(self.rows.value, x["recent"]) + tf.gather(
            self.rows.value, x["item"][:, None]
        )
        return tf.reduce_sum(tf.reduce_prod(read, axis=1), axis=1)


def click_rows(n, recent=4, seed=3):
    """Rows with padding, with an id repeated in the bag, and with the item itself in the bag."""
    rng = np.random.default_rng(seed)
    x = {
        "dense": rng.normal(size=(n, 3)),
        "item": rng.integers(1, ITEMS, n, dtype="int32"),
        "subcategory": rng.integers(0, CATEGORIES, n, dtype="int32"),
        "recent": rng.integers(0, ITEMS, (n, recent), dtype="int32"),
    }
    x["recent"][::2, 0] = x["recent"][::2, -1] = x["item"][::2]
    x["recent"][-1] = 0
    return x, rng.integers(0, 2, n).astype("float64")


def dense_rows(n, seed=3):
    x, y = click_rows(n, seed=seed)
    return x["dense"], y


CASES = {
    "linear": (linear, dense_rows, half_square),
    "logistic": (linear, dense_rows, cross_entropy),
    "keras loss": (linear, lambda n: (dense_rows(n)[0], dense_rows(n)[1][:, None]),
                   keras_cross_entropy),
    "sequential": (deep_sequential, dense_rows, cross_entropy),
    "sequence": (sequence_dense, dense_rows, half_square),
    "subclassed, layer twice": (DenseTwice, dense_rows, half_square),
    "scale and shift": (affine, dense_rows, half_square),
    "tied matrix": (TiedMatrix, dense_rows, half_square),
    "plain look-up": (PlainLookUp, click_rows, cross_entropy),
    "click model": (click_mlp, click_rows, cross_entropy),
    "click model, flat": (lambda: click_mlp(flat=True), click_rows, cross_entropy),
    "click model, long bag": (
        lambda: click_mlp(recent=80), lambda n: click_rows(n, 80), cross_entropy),
}  # fmt: skip


def in_batch_softmax(y, logits):
    """The other rows are in the denominator, so no row has a gradient of its own."""
    return -tf.nn.log_softmax(tf.reshape(logits, [-1]))
