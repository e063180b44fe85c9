"""Tables that are changed as a whole before they are read: only the rows read are followed."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_gradients, pullback

pytestmark = pytest.mark.usefixtures("float64")

ROWS, ITEMS, WIDTH = 7, 9, 4
MASK = np.random.default_rng(0).integers(0, 2, (ITEMS, 1)).astype("float64")
ORDER = np.random.default_rng(1).permutation(ITEMS)


def squares(y, prediction):
    return tf.reduce_sum((prediction - tf.cast(y, prediction.dtype)[:, None]) ** 2, axis=1)


class Read(keras.Model):
    """Reads rows of a function of a table, and puts them through a layer."""

    def __init__(self, function, shapes=()):
        super().__init__()
        self.function, self.shapes = function, [(ITEMS, WIDTH), *shapes]
        self.last = keras.layers.Dense(3)

    def build(self, shape):
        normal = keras.initializers.RandomNormal(0.3, 0.7, seed=1)
        self.tables = [
            self.add_weight(shape=s, initializer=normal, name=f"w{k}")
            for k, s in enumerate(self.shapes)
        ]

    def call(self, ids):
        table = self.function(*(t.value for t in self.tables))
        read = tf.gather(table, ids)
        read = tf.reshape(read, [tf.shape(ids)[0], ids.shape[1], int(np.prod(read.shape[2:]))])
        return self.last(
            tf.tanh(tf.reduce_sum(read * tf.constant([[[1.0], [2.0], [-0.5]]], read.dtype), axis=1))
        )


def normed(t):
    return tf.math.l2_normalize(t, axis=1)


def shorter(t):
    """Rows no longer than 1, as a constraint of the largest norm would have them."""
    length = tf.sqrt(tf.reduce_sum(t**2, axis=1, keepdims=True))
    return t * (tf.clip_by_value(length, 0.0, 1.0) / length)


def with_padding(t):
    return tf.concat([tf.zeros([1, WIDTH], t.dtype), t[1:]], axis=0)


BY_ROWS = {
    "unit length": (normed, ()),
    "by keras": (lambda t: keras.ops.normalize(t, axis=-1), ()),
    "tanh": (tf.tanh, ()),
    "scaled": (lambda t: t * WIDTH**0.5, ()),
    "masked": (lambda t: t * tf.constant(MASK), ()),
    "scaled by row": (lambda t: t * tf.range(1.0, ITEMS + 1.0, dtype=t.dtype)[:, None], ()),
    "centred": (lambda t: t - tf.reduce_mean(t, axis=1, keepdims=True), ()),
    "largest norm": (shorter, ()),
    "clipped": (lambda t: tf.clip_by_norm(t, 1.0, axes=[1]), ()),
    "softmax of a row": (lambda t: tf.nn.softmax(t), ()),
    "dropped where small": (lambda t: tf.where(tf.abs(t) > 0.3, t, tf.zeros_like(t)), ()),
    "stopped scale": (lambda t: t / tf.stop_gradient(tf.norm(t)), ()),
    "padding row": (with_padding, ()),
    "padded": (lambda t: tf.pad(t, [[1, 2], [0, 0]]), ()),
    "reordered": (lambda t: tf.gather(tf.tanh(t), ORDER), ()),
    "first rows twice": (lambda t: tf.concat([tf.tanh(t), t[:2]], axis=0), ()),
    "side by side": (lambda t: tf.concat([t, tf.square(t)], axis=1), ()),
    "turned rows": (lambda t: tf.transpose(tf.reshape(t, [ITEMS, 2, 2]), [0, 2, 1]) * 2.0, ()),
    "projected": (tf.matmul, [(WIDTH, 5)]),
    "projected, turned": (lambda t, p: tf.matmul(t, p, transpose_b=True), [(5, WIDTH)]),
    "projected and normed": (lambda t, p: normed(tf.matmul(tf.tanh(t), p)), [(WIDTH, 5)]),
    "low rank": (lambda t, p, b: tf.tanh(t @ p + b), [(WIDTH, 5), (5,)]),
    "times a vector": (lambda t, v: t * v, [(WIDTH,)]),
    "times a row and a number": (lambda t, v, c: normed(t * v) * c, [(1, WIDTH), ()]),
    "two tables": (lambda t, u: tf.tanh(t) + normed(u), [(ITEMS, WIDTH)]),
    "scale of each row": (lambda t, v: normed(t) * v, [(ITEMS, 1)]),
    "a matrix and its shape": (
        lambda t, p: tf.tanh(t @ p) @ tf.transpose(tf.ones_like(p)), [(WIDTH, WIDTH)]),
}  # fmt: skip
ROWS_MEET = {
    "unit columns": (lambda t: tf.math.l2_normalize(t, axis=0), ()),
    "all of unit length": (tf.math.l2_normalize, ()),
    "softmax of a column": (lambda t: tf.transpose(tf.nn.softmax(tf.transpose(t))), ()),
    "centred columns": (lambda t: t - tf.reduce_mean(t, axis=0), ()),
    "divided by its length": (lambda t: t / tf.norm(t), ()),
    "running sum": (lambda t: tf.cumsum(t, axis=0), ()),
    "reversed and added": (lambda t: t + tf.reverse(tf.tanh(t), [0]), ()),
    "smoothed by a graph": (lambda t: tf.constant(np.eye(ITEMS)[ORDER]) @ t, ()),
    "cut up otherwise": (lambda t: tf.reshape(t * 2.0, [WIDTH, ITEMS])[:3], ()),
    "turned projection": (lambda t, p: t @ tf.transpose(tf.tanh(p)), [(5, WIDTH)]),
}


def read_rows(function):
    high = 3 if function in (ROWS_MEET["cut up otherwise"][0],) else ITEMS
    ids = np.random.default_rng(2).integers(0, high, (ROWS, 3)).astype("int32")
    ids[:3, 1] = ids[:3, 0]  # repeated
    ids[3] = ids[3, 0]
    return ids


def check(name, function, shapes):
    ids, y = read_rows(function), np.linspace(-1, 1, ROWS)
    model = Read(function, shapes)
    model(ids)
    gradients = [naive_gradients(model, squares, ids, y, row) for row in range(ROWS)]
    want = np.sqrt([sum(np.sum(g**2) for g in one) for one in gradients])
    engine = PerSampleGradients(model, squares)
    np.testing.assert_allclose(engine.norms(ids, y), want, rtol=1e-12)
    order = [3, 0, 0, 5, 6, 1, 2, 4]
    np.testing.assert_allclose(engine.norms(ids[order], y[order]), want[order], rtol=1e-12)


@pytest.mark.parametrize("name", BY_ROWS)
def test_functions_of_each_row_are_followed_through_the_rows_read(name, monkeypatch):
    def never(*_):
        raise AssertionError("the table was written out")

    monkeypatch.setattr(pullback, "_through_functions", lambda now, *_: never() if any(
        part.source.kind == pullback.MADE for part in now) else [])  # fmt: skip
    check(name, *BY_ROWS[name])


@pytest.mark.parametrize("name", ROWS_MEET)
def test_functions_in_which_rows_meet_are_followed_in_general(name):
    check(name, *ROWS_MEET[name])


def test_a_row_that_is_no_number_leaves_the_other_rows_alone():
    for name, (function, shapes) in {
        "rows apart": BY_ROWS["projected and normed"],
        "rows meet": ROWS_MEET["unit columns"],
    }.items():
        model, ids, y = Read(function, shapes), read_rows(function), np.linspace(-1, 1, ROWS)
        model(ids)
        engine = PerSampleGradients(model, squares)
        want = engine.norms(ids, y)
        y[2] = np.nan
        with pytest.warns(RuntimeWarning, match=r"in rows 2\."):
            got = engine.norms(ids, y)
        assert np.isnan(got[2]), name
        np.testing.assert_allclose(np.delete(got, 2), np.delete(want, 2), rtol=1e-12)


def test_a_table_that_is_read_in_rows_and_as_a_whole_has_the_cross_terms():
    class Tied(Read):
        def call(self, ids):
            table = normed(self.tables[0].value)
            user = tf.tanh(tf.reduce_sum(tf.gather(table, ids), axis=1))
            return tf.matmul(user, table, transpose_b=True)

    model, ids, y = Tied(None), read_rows(None), np.linspace(-1, 1, ROWS)
    model(ids)
    gradients = [naive_gradients(model, squares, ids, y, row) for row in range(ROWS)]
    want = np.sqrt([sum(np.sum(g**2) for g in one) for one in gradients])
    np.testing.assert_allclose(PerSampleGradients(model, squares).norms(ids, y), want, rtol=1e-12)


def test_a_gradient_that_somebody_wrote_is_followed_as_it_is_written():
    @tf.custom_gradient
    def reversed_gradient(t):
        return tf.identity(t), lambda delta: -2.0 * tf.reverse(delta, [0])

    check("reversed", lambda t: reversed_gradient(tf.tanh(t)) * 1.0, ())
