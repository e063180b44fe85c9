"""Small models of which each reads its weights in one way, against one tape a sample."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_gradients, naive_norms
from helpers.gradients.forms import (
    Block,
    Outer,
    Outers,
    Rows,
    _expanded,
    squared_norms,
    write_out,
)

layers = keras.layers
ROWS = 7


class Own(layers.Layer):
    """A layer that computes a function of its weight and the rows."""

    def __init__(self, shape: tuple[int, ...], function: Callable) -> None:
        super().__init__()
        self.sizes, self.function = shape, function

    def build(self, shape):
        self.table = self.add_weight(shape=self.sizes, initializer="random_normal", name="table")

    def call(self, x):
        return self.function(x, self.table.value)


def own(shape, function, inputs=(3,), dtype="int32"):
    x = keras.Input(inputs, dtype=dtype)
    return keras.Model(x, Own(shape, function)(x))


def whole_parts():
    """Return a model that reads a table through a function without a gradient."""
    x = keras.Input((3,), dtype="int32")
    read = Own((6, 4), lambda i, t: tf.reduce_sum(tf.gather(tf.floor(90.0 * t), i), 1))(x)
    return keras.Model(x, layers.Dense(1)(read))


def bags(mean):
    def function(ids, table):
        rows = tf.repeat(tf.range(tf.shape(ids)[0]), ids.shape[1])
        return mean(table, tf.reshape(ids, [-1]), rows)

    return own((6, 4), function)


def flat_in_time():
    x = keras.Input((None, 4))
    flat = layers.Lambda(lambda t: tf.reshape(t, [-1, 4]))(x)
    dense = layers.Dense(2)(flat)
    return keras.Model(x, layers.Lambda(lambda t: tf.reshape(t[0], [tf.shape(t[1])[0], -1]))(
        [dense, x]))  # fmt: skip


def with_sparse_state(x, k):
    start = (tf.constant(0), tf.sparse.eye(3), x)
    return tf.while_loop(lambda i, s, h: i < 2, lambda i, s, h: (i + 1, s, h @ k), start)[2]


def sampled(remove):
    def function(ids, table):
        true = tf.cast(ids[:, :1], tf.int64)
        hidden = tf.cast(ids, tf.float32)
        values = (
            tf.constant([1, 3, 5], tf.int64),
            tf.fill([tf.shape(ids)[0], 1], 0.5),
            tf.fill([3], 0.5),
        )
        return tf.nn.sampled_softmax_loss(
            table, tf.zeros([6]), true, hidden, 3, 6, sampled_values=values,
            remove_accidental_hits=remove,
        )[:, None]  # fmt: skip

    return own((6, 3), function)


MODELS: dict[str, Callable[[], keras.Model]] = {
    "one row twice": lambda: own((3, 4), lambda i, t: tf.reduce_sum(tf.gather(t, i[:, :2]), 1)),
    "a cell of a table": lambda: own((3, 6, 2), lambda i, t: tf.gather_nd(
        t, tf.stack([i[:, 0] % 3, i[:, 1]], 1))),
    "cells of a deep table": lambda: own((3, 2, 3, 2), lambda i, t: tf.reduce_sum(tf.gather_nd(
        t, tf.stack([i % 3, i % 2], 2)), [1, 2])),
    "sums of bags": lambda: bags(tf.sparse.segment_sum),
    "means of bags": lambda: bags(tf.sparse.segment_mean),
    "roots of bags": lambda: bags(tf.sparse.segment_sqrt_n),
    "any length": flat_in_time,
    "a loop with a sparse tensor": lambda: own((3, 3), with_sparse_state, dtype="float32"),
    "a branch of one": lambda: own((3, 2), lambda x, k: tf.cond(
        tf.constant(True), lambda: [x @ k], lambda: [x @ -k]), dtype="float32"),
    "volumes": lambda: keras.Sequential(
        [keras.Input((3, 3, 3, 2)), layers.Conv3D(2, 2), layers.Flatten()]),
    "volumes, turned": lambda: keras.Sequential(
        [keras.Input((2, 2, 2, 2)), layers.Conv3DTranspose(2, 2), layers.Flatten()]),
    "channels": lambda: keras.Sequential(
        [keras.Input((4, 4, 2)), layers.DepthwiseConv2D(2, depth_multiplier=2), layers.Flatten()]),
    "channels in time": lambda: keras.Sequential(
        [keras.Input((5, 2)), layers.DepthwiseConv1D(2, depth_multiplier=2), layers.Flatten()]),
    "whole parts of a table": whole_parts,
    "sampled": lambda: sampled(False),
    "sampled, without hits": lambda: sampled(True),
}  # fmt: skip


def loss(y, p):
    return tf.reduce_sum((p - y[:, None]) ** 2, axis=1)


def rows_for(model):
    rng = np.random.default_rng(0)
    given = model.inputs[0]
    shape = [ROWS, *(5 if n is None else n for n in given.shape[1:])]
    y = rng.normal(size=ROWS).astype("float32")
    if given.dtype == "int32":
        x = rng.integers(0, 6, shape)
        x[0] = x[0, 0]  # one id again and again
        small = getattr(model.layers[-1], "sizes", (6,))[0] == 3
        return (x % 3 if small else x), y
    return rng.normal(size=shape).astype("float32"), y


@pytest.mark.parametrize("name", MODELS)
def test_each_way_to_read_a_weight_is_right(name):
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    x, y = rows_for(model)
    found = PerSampleGradients(model, loss).norms(x, y)
    np.testing.assert_allclose(found, naive_norms(model, loss, x, y), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["a cell of a table", "cells of a deep table", "means of bags",
                                  "volumes", "channels", "sampled"])  # fmt: skip
def test_dot_products_are_those_of_whole_gradients(name):
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    x, y = rows_for(model)
    rng = np.random.default_rng(1)
    along = [rng.normal(size=v.shape) for v in model.trainable_variables]
    found = PerSampleGradients(model, loss).dots(x, y, along)
    want = [
        sum(np.sum(g * v) for g, v in zip(naive_gradients(model, loss, x, y, row), along,
                                          strict=True)) for row in range(ROWS)
    ]  # fmt: skip
    np.testing.assert_allclose(found, want, rtol=2e-3, atol=1e-4)


def test_squares_of_sums_of_all_kinds_are_those_of_what_is_written_out():
    rng = np.random.default_rng(0)
    kinds = [
        Rows(tf.constant(rng.integers(0, 6, (3, 2))), tf.constant(rng.normal(size=(3, 2, 5)))),
        Outers(tf.constant(rng.normal(size=(3, 2, 6))), tf.constant(rng.normal(size=(3, 2, 5)))),
        Outer(tf.constant(rng.normal(size=(3, 6))), tf.constant(rng.normal(size=(3, 5)))),
        Block(tf.constant(rng.normal(size=(3, 30)))),
    ]
    for count in (1, 2, 3, 4):
        for forms in itertools.combinations(kinds, count):
            whole = sum(write_out(form, 30).numpy() for form in forms)
            want = (whole**2).sum(axis=1)
            np.testing.assert_allclose(squared_norms(forms, 30), want, rtol=1e-9)


def test_the_sizes_of_what_is_added_up_are_added_up_without_their_signs():
    ids, deltas = tf.constant([[0, 1]]), tf.constant([[[1.0, 2.0], [3.0, 4.0]]])
    block = Block(tf.constant([[-1.0, -1.0, -2.0, 1.0]]))
    cross = 2 * (-1 - 2 - 6 + 4)
    total, sizes = _expanded([block, Rows(ids, deltas)])
    np.testing.assert_allclose(total, [7 + 30 + cross])
    np.testing.assert_allclose(sizes, [7 + 30 - cross])


def test_batches_of_a_dataset_may_grow():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)).astype("float32"), rng.normal(size=12).astype("float32")
    rows = tf.data.Dataset.from_tensor_slices((x, y))
    growing = rows.take(2).batch(2).concatenate(rows.skip(2).batch(7))
    found = PerSampleGradients(model, loss).norms_over(growing, progress=False)
    np.testing.assert_allclose(found, naive_norms(model, loss, x, y), rtol=1e-4)
