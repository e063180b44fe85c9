"""Loops and branches of which it is known how they run, and gradients that are computed again."""

from __future__ import annotations

from collections.abc import Callable

from gradient_zoo import WORDS, D, L, T, chain, ops, raw, sequences, summed, vectors, words
from gradient_zoo_rows import entry

from helpers.backend import keras, tf

LOOPS: dict[str, tuple[Callable, Callable, Callable]] = {}
CELL = {"w": (D, D), "b": (D,)}


def step(w, h):
    return tf.tanh(tf.matmul(h, w["w"]) + w["b"])


def cell(w):
    return lambda h, x: tf.tanh(tf.matmul(h, w["w"]) + x)


def times(x):
    return tf.transpose(x, [1, 0, 2])


def loop(name, shapes, rows, call):
    LOOPS[name] = (raw(shapes, call), rows, summed)


loop("while", CELL, vectors, lambda w, x: tf.while_loop(
    lambda k, h: k < 3, lambda k, h: (k + 1, step(w, h)), (0, x))[1])  # fmt: skip
loop("while, at most", CELL, vectors, lambda w, x: tf.while_loop(
    lambda h: True, lambda h: (step(w, h),), (x,), maximum_iterations=3)[0])  # fmt: skip
loop("while, by a tensor", CELL, vectors, lambda w, x: tf.while_loop(
    lambda k, h: tf.logical_and(tf.less(k, 5), tf.not_equal(k, 3)),
    lambda k, h: (tf.add(k, 1), step(w, h)), (tf.constant(0), x))[1])  # fmt: skip
loop("while in a while", CELL, vectors, lambda w, x: tf.while_loop(
    lambda k, h: k < 2, lambda k, h: (k + 1, tf.while_loop(
        lambda j, g: j < k + 1, lambda j, g: (j + 1, step(w, g)), (0, h))[1]),
    (0, x))[1])  # fmt: skip
loop("scan", CELL, sequences, lambda w, x: tf.scan(
    cell(w), times(x), initializer=tf.zeros_like(x[:, 0]))[-1])  # fmt: skip
loop("scan backwards, all states", CELL, sequences, lambda w, x: times(tf.scan(
    cell(w), times(x), initializer=tf.zeros_like(x[:, 0]), reverse=True)))  # fmt: skip
loop("scan over weights", {"w": (3, D)}, vectors, lambda w, x: tf.scan(
    lambda h, row: h * row, w["w"], initializer=x)[-1])  # fmt: skip
loop("map over time", CELL, sequences, lambda w, x: times(
    tf.map_fn(lambda v: step(w, v), times(x))))  # fmt: skip
loop("map over places in time", CELL, sequences, lambda w, x: times(tf.map_fn(
    lambda k: step(w, x[:, k]), tf.range(T), fn_output_signature=x.dtype)))  # fmt: skip
loop("map over experts", {"w": (3, D, 2)}, vectors, lambda w, x: tf.reduce_sum(tf.map_fn(
    lambda m: tf.nn.relu(tf.matmul(x, m)), w["w"]), 0))  # fmt: skip
loop("vectorised over experts", {"w": (3, D, 2)}, vectors, lambda w, x: times(tf.vectorized_map(
    lambda m: tf.tanh(tf.matmul(x, m)), w["w"])))  # fmt: skip
loop("vectorised over rows", CELL, vectors, lambda w, x: tf.vectorized_map(
    lambda row: step(w, row[None])[0], x))  # fmt: skip
loop("fold from the left", CELL, sequences, lambda w, x: tf.foldl(
    cell(w), times(x), initializer=tf.zeros_like(x[:, 0])))  # fmt: skip
loop("fold from the right", CELL, sequences, lambda w, x: tf.foldr(cell(w), times(x)))
loop("a branch that is known", CELL, vectors, lambda w, x: tf.cond(
    tf.constant(True), lambda: step(w, x), lambda: x))  # fmt: skip
loop("a branch by a shape", CELL, vectors, lambda w, x: tf.cond(
    tf.shape(x)[1] > 9, lambda: x, lambda: step(w, x)))  # fmt: skip
loop("one of two branches", CELL, vectors, lambda w, x: tf.switch_case(
    tf.constant(1), [lambda: x, lambda: step(w, x)]))  # fmt: skip
loop("a case", CELL, vectors, lambda w, x: tf.case(
    [(tf.constant(False), lambda: x)], default=lambda: step(w, x)))  # fmt: skip
loop("scan of Keras", CELL, sequences, lambda w, x: ops.scan(
    lambda h, v: ((z := cell(w)(h, v)), 2 * z), tf.zeros_like(x[:, 0]), times(x))[0])  # fmt: skip
loop("scan of Keras, all states", CELL, sequences, lambda w, x: times(ops.scan(
    lambda h, v: ((z := cell(w)(h, v)), 2 * z), tf.zeros_like(x[:, 0]), times(x),
    reverse=True)[1]))  # fmt: skip
loop("while of Keras", CELL, vectors, lambda w, x: ops.while_loop(
    lambda k, h: k < 3, lambda k, h: (k + 1, step(w, h)), (0, x))[1])  # fmt: skip
loop("for of Keras", CELL, vectors, lambda w, x: ops.fori_loop(
    0, 3, lambda k, h: step(w, h), x))  # fmt: skip
loop("cond of Keras", CELL, vectors, lambda w, x: ops.cond(
    tf.constant(True), lambda: step(w, x), lambda: x))  # fmt: skip
loop("map of Keras", CELL, sequences, lambda w, x: times(
    ops.map(lambda v: step(w, v), times(x))))  # fmt: skip
loop("vectorised map of Keras", CELL, sequences, lambda w, x: times(
    ops.vectorized_map(lambda v: step(w, v), times(x))))  # fmt: skip
loop("switch of Keras", CELL, vectors, lambda w, x: ops.switch(
    1, [lambda h: h, lambda h: step(w, h)], x))  # fmt: skip
loop("associative scan of Keras", {"w": (D,)}, sequences, lambda w, x: ops.associative_scan(
    lambda a, b: a * w["w"] + b, x, axis=1))  # fmt: skip


@entry("routing in a loop", {"t": (WORDS, 3), "s": (3, 3)}, words, zoo=LOOPS)
def routing(w, x):
    """Two interests from a bag, as in MIND; the weights are read in each round."""
    e = tf.gather(w["t"], x)
    first = tf.sin(tf.cast(tf.reshape(tf.range(2 * T), [1, T, 2]), e.dtype))

    def round_(k, b, v):
        u = tf.tensordot(e, w["s"], 1)
        z = tf.einsum("btk,btd->bkd", tf.nn.softmax(b, 2), u)
        n = tf.reduce_sum(z**2, -1, keepdims=True)
        v = n / (1 + n) * z / tf.sqrt(n + 1e-9)
        return k + 1, b + tf.einsum("bkd,btd->btk", v, u), v

    start = tf.zeros_like(e[:, :, :2]) + first
    return tf.while_loop(lambda k, b, v: k < 3, round_, (0, start, tf.zeros_like(e[:, :2])))[2]


class Again(keras.Model):
    """A layer whose inside is computed again for its gradient."""

    def __init__(self, wrap):
        super().__init__()
        self.inner, self.last = L.Dense(3, "tanh"), L.Dense(2)
        self._wrap = wrap

    def call(self, x):
        return self.last(self._wrap(self.inner)(x))


def rematerialised():
    with keras.RematScope(mode="full"):
        return keras.Sequential([L.Dense(4, "tanh"), L.Dense(2)])


LOOPS |= {
    "recompute_grad": (
        lambda: Again(lambda layer: tf.recompute_grad(lambda x: layer(x))), vectors, summed),
    "remat of Keras": (lambda: Again(keras.remat), vectors, summed),
    "rematerialised layers": (rematerialised, vectors, summed),
    "recurrent on repeated rows": (
        chain(lambda: L.Dense(3), lambda: L.RepeatVector(4),
              lambda: L.LSTM(2, return_sequences=True), lambda: L.TimeDistributed(L.Dense(2))),
        vectors, summed),
}  # fmt: skip
