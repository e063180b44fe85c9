"""Gradients that nearly cancel: two items that are almost alike, in single precision."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients.forms import Block, Outers, Rows, squared_norms

layers, ops = keras.layers, keras.ops
N, D, WORDS = 10, 6, 11
DISTANCES = [1.0, 0.1, 0.01, 1e-3, 1e-4]


def dense():
    return keras.Sequential([layers.Dense(16, "relu"), layers.Dense(8)])


def one_layer():
    return layers.Dense(8)


def convolution():
    return keras.Sequential(
        [layers.Reshape((D, 1)), layers.Conv1D(8, 3, activation="tanh"), layers.Flatten()]
    )


def sequence():
    return keras.Sequential(
        [layers.Reshape((3, 2)), layers.Dense(16, "tanh"), layers.LayerNormalization(),
         layers.GlobalAveragePooling1D()]
    )  # fmt: skip


class Tied(layers.Layer):
    """A matrix that is used as it is, and turned round."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(D, 16), initializer="glorot_normal", name="matrix")

    def call(self, x):
        return ops.matmul(ops.tanh(ops.matmul(x, self.matrix)), ops.transpose(self.matrix))


class Blend(layers.Layer):
    """A table that is looked up at ids, and multiplied as a matrix."""

    def build(self, shape):
        self.table = self.add_weight(shape=(WORDS, 8), initializer="glorot_normal", name="table")

    def call(self, x):
        shares = ops.softmax(ops.tile(x, (1, 2))[:, :WORDS])
        ids = tf.cast(tf.abs(x[:, 0]) * 0, "int32")
        return ops.matmul(shares, self.table) - 0.5 * ops.take(self.table, ids, axis=0)


TOWERS = {f.__name__: f for f in (dense, one_layer, convolution, sequence, Tied, Blend)}


def ranker(tower, dtype):
    """A user's liking of one item less that of another; both items go through one tower."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        keras.utils.set_random_seed(0)
        user, one, other = (keras.Input((D,)) for _ in range(3))
        items = TOWERS[tower]()
        first, second = items(one), items(other)
        users = keras.Sequential([layers.Dense(16, "relu"), layers.Dense(first.shape[-1])])(user)
        score = ops.sum(users * first, -1, keepdims=True) - ops.sum(
            users * second, -1, keepdims=True
        )
        return keras.Model([user, one, other], score)
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def pairs(distance):
    rng = np.random.default_rng(0)
    user, one, step = (rng.normal(size=(N, D)).astype("float32") for _ in range(3))
    return [user, one, (one + np.float32(distance) * step).astype("float32")]


def ranking_loss(y, z):
    return tf.math.softplus(-z[:, 0])


def exact_norms(model, tower, x):
    double = ranker(tower, "float64")
    double.set_weights(model.get_weights())
    return naive_norms(double, ranking_loss, [v.astype("float64") for v in x], np.zeros(N))


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_norms_of_near_equal_items_are_as_exact_as_the_naive_loop(distance, tower):
    model, x = ranker(tower, "float32"), pairs(distance)
    want = exact_norms(model, tower, x)
    naive = np.abs(naive_norms(model, ranking_loss, x, np.zeros(N)) - want).max()
    got = PerSampleGradients(model, ranking_loss).norms(x, np.zeros(N))
    assert np.abs(got - want).max() <= 3 * naive + 2e-6 * want.max()


@pytest.mark.parametrize("tower", TOWERS)
def test_norms_of_equal_items_are_nothing(tower):
    model, x = ranker(tower, "float32"), pairs(0.0)
    size = PerSampleGradients(model, ranking_loss).norms(pairs(1.0), np.zeros(N)).max()
    got = PerSampleGradients(model, ranking_loss).norms(x, np.zeros(N))
    assert np.all(got <= 1e-6 * size)


def test_a_few_rows_that_cancel_among_others_are_exact():
    model, x = ranker("dense", "float32"), pairs(1.0)
    near = pairs(1e-3)[2]
    x[2][::5] = near[::5]
    want = exact_norms(model, "dense", x)
    got = PerSampleGradients(model, ranking_loss).norms(x, np.zeros(N))
    np.testing.assert_allclose(got, want, rtol=1e-3)


def test_coupled_rows_are_still_refused_where_gradients_cancel():
    def coupled(y, z):
        return tf.math.softplus(-z[:, 0]) * (1 + 0.01 * tf.reduce_mean(z))

    for distance in (0.1, 1e-2):
        engine = PerSampleGradients(ranker("dense", "float32"), coupled)
        with pytest.raises(ValueError, match="beside it|coupled"):
            engine.norms([100 * v for v in pairs(distance)], np.zeros(N))


@pytest.mark.parametrize("kinds", ["outers", "table and matrix", "block and matrix"])
def test_sums_of_forms_that_cancel_are_those_of_double_precision(kinds):
    rng = np.random.default_rng(1)
    single = {k: rng.normal(size=s).astype("float32") for k, s in
              {"a": (5, 2, 9), "d": (5, 2, 8), "e": (5, 1, 8)}.items()}  # fmt: skip
    for distance in DISTANCES:
        a, d = single["a"].copy(), single["d"].copy()
        a[:, 1] = a[:, 0] + np.float32(distance) * single["a"][:, 1]
        d[:, 1] = -d[:, 0]
        if kinds == "outers":
            forms = [Outers(tf.constant(a), tf.constant(d))]
        else:  # what the matrix adds, something else takes away again
            a, d = np.zeros((5, 1, 9), "float32"), single["e"]
            a[:, 0, 3] = 1.0
            taken = -d + np.float32(distance) * single["d"][:, :1]
            if kinds == "table and matrix":
                other = Rows(tf.constant([[3]] * 5), tf.constant(taken))
            else:
                whole = np.zeros((5, 9, 8), "float32")
                whole[:, 3] = taken[:, 0]
                other = Block(tf.constant(whole.reshape(5, 72)))
            forms = [other, Outers(tf.constant(a), tf.constant(d))]
        double = [type(f)(*(v if v.dtype.is_integer else tf.cast(v, tf.float64)
                            for v in vars(f).values())) for f in forms]  # fmt: skip
        got, want = (np.sqrt(squared_norms(f, 72).numpy()) for f in (forms, double))
        np.testing.assert_allclose(got, want, rtol=2e-5 if distance > 1e-4 else 1e-3)


def test_the_tolerance_of_this_test_would_see_single_precision(monkeypatch):
    from helpers.gradients import forms

    monkeypatch.setattr(forms, "_CANCELLED", 0.0)
    model, x = ranker("dense", "float32"), pairs(1e-3)
    want = exact_norms(model, "dense", x)
    got = PerSampleGradients(model, ranking_loss).norms(x, np.zeros(N))
    assert np.abs(got - want).max() > 0.01 * want.max()
