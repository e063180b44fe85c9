"""Models that move their rows: towers below each other, bags of any length, sparse rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gradient_models import cross_entropy
from gradient_zoo import WORDS, D, L, T, chain, ops, raw, sequences, summed, vectors, words

from helpers.backend import keras, tf

ROWS: dict[str, tuple[Callable, Callable, Callable]] = {}
TOWER = {"w": (D, 3), "b": (3,)}
BAG = {"t": (WORDS, 3), "w": (3, 2)}


def entry(name, shapes, rows, loss=summed, zoo=ROWS):
    """Put a model of raw weights into the zoo."""

    def register(call):
        zoo[name] = (raw(shapes, call), rows, loss)
        return call

    return register


def three(n, seed=3):
    """A user, an item that was taken and one that was not."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3, D)), rng.integers(0, 2, n).astype("float64")


def apart(n):
    x, y = three(n)
    return [x[:, 0], x[:, 1], x[:, 2]], y


def with_empty(n):
    """Bags of which two are empty."""
    x, y = words(n)
    x[[0, -1]] = 0
    return x, y


def count(x):
    return tf.shape(x)[0]


def tower(w, x):
    return tf.tanh(tf.matmul(x, w["w"]) + w["b"])


# --- blocks of rows: outside, inside, and both -------------------------------------------


@entry("towers below each other", TOWER, three)
def below(w, x):
    a, b = tf.split(tower(w, tf.concat([x[:, 0], x[:, 1]], 0)), 2)
    return a * b


@entry("towers cut apart by slices", TOWER, three)
def sliced(w, x):
    z, n = tower(w, tf.concat([x[:, 0], x[:, 1]], 0)), count(x)
    return z[:n] - z[n:] * z[:n]


@entry("three towers reshaped apart", TOWER, three)
def three_towers(w, x):
    z = tf.reshape(tower(w, tf.concat(tf.unstack(x, axis=1), 0)), [3, -1, 3])
    return z[0] * z[1] - z[2]


@entry("users tiled", TOWER, three)
def tiled(w, x):
    u = tf.tile(tower(w, x[:, 0]), [2, 1])
    i = tower(w, tf.concat([x[:, 1], x[:, 2]], 0))
    return tf.transpose(tf.reshape(tf.reduce_sum(u * i, 1), [2, -1]))


@entry("users tiled before the tower", TOWER, three)
def tiled_first(w, x):
    u = tower(w, tf.tile(x[:, 0], [2, 1])) * tf.concat([x[:, 1], x[:, 2]], 0)[:, :3]
    return tf.transpose(tf.reshape(tf.reduce_sum(u, 1), [2, -1]))


@entry("users repeated", TOWER | {"v": (6, 2)}, three)
def repeated(w, x):
    u = tf.repeat(tower(w, x[:, 0]), 2, 0)
    i = tower(w, tf.reshape(x[:, 1:], [-1, D]))
    return tf.reshape(tf.nn.relu(tf.matmul(tf.concat([u, i], 1), w["v"])), [-1, 4])


@entry("towers stacked outside", TOWER, three)
def outside(w, x):
    z = tower(w, tf.reshape(tf.stack([x[:, 0], x[:, 1]], axis=0), [-1, D]))
    return tf.reduce_sum(tf.reshape(z, [2, -1, 3]) * [[[1.0]], [[3.0]]], 0)


@entry("towers stacked inside", TOWER, three)
def inside(w, x):
    z = tower(w, tf.reshape(tf.stack([x[:, 0], x[:, 1]], axis=1), [-1, D]))
    return tf.reshape(z, [-1, 6])


@entry("blocks outside and inside", TOWER, three)
def both(w, x):
    z = tf.reshape(x, [-1, D])
    o = tf.reshape(tower(w, tf.concat([z, 2 * z], 0)), [2, -1, 3, 3])
    return tf.reshape(o[0] * o[1] + o[0], [-1, 9])


@entry("every third entry", TOWER, three)
def every_third(w, x):
    z = tower(w, tf.reshape(x, [-1, D]))
    return z[0::3] * z[1::3] + z[2::3]


@entry("blocks of different sizes", TOWER, three)
def different(w, x):
    n = count(x)
    z = tower(w, tf.concat([x[:, 0], tf.reshape(x[:, 1:], [-1, D])], 0))
    return z[:n] * tf.reduce_sum(tf.reshape(z[n:], [n, 2, 3]), 1)


@entry("ids below each other", {"t": (WORDS, D), "w": (D, 3)}, words)
def ids_below(w, x):
    ids = tf.concat([x[:, 0], x[:, 1], x[:, 0]], 0)
    a, b, c = tf.split(tf.tanh(tf.matmul(tf.gather(w["t"], ids), w["w"])), 3)
    return a * b + c


@entry("scale and shift below each other", {"s": (D,), "c": (1, D)}, three)
def affine_below(w, x):
    a, b = tf.split(tf.concat([x[:, 0], x[:, 1]], 0) * w["s"] + w["c"], 2)
    return a * b


@entry("time-major and flat", TOWER, sequences)
def time_major(w, x):
    z = tf.reshape(tower(w, tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, D])), [T, -1, 3])
    return tf.reduce_sum(z * tf.reshape(tf.range(1.0, T + 1, dtype=z.dtype), [T, 1, 1]), 0)


@entry("samples in columns, below each other", {"w": (3, D)}, vectors)
def columns(w, x):
    z = tf.concat([tf.transpose(x), 2 * tf.transpose(x)], 1)
    z = tf.transpose(tf.tanh(tf.matmul(w["w"], z) + w["w"][:, :1]))
    return tf.reduce_sum(tf.stack(tf.split(z, 2)), 0)


@entry("diagonal of all pairs", TOWER, three)
def diagonal(w, x):
    pairs = tf.matmul(tower(w, x[:, 0]), tower(w, x[:, 1]), transpose_b=True)
    return tf.linalg.diag_part(pairs)[:, None]


def pairwise_loss():
    u, p, n = (keras.Input((D,), name=k) for k in "upn")
    shared = keras.Sequential([L.Dense(5, "relu"), L.BatchNormalization(), L.Dense(3)])
    z = ops.reshape(shared(L.Concatenate(axis=0)([p, n])), (2, -1, 3))
    q = L.Dense(3)(u)
    return keras.Model([u, p, n], ops.sum(q * z[0], 1) - ops.sum(q * z[1], 1))


def layers_below():
    x = keras.Input((T, D))
    z = ops.concatenate([x, ops.flip(x, 1)], 0)
    z = L.Conv1D(3, 2, dilation_rate=2, padding="causal")(z)
    a, b = ops.split(L.GRU(3)(L.MultiHeadAttention(2, 2)(z, z)), 2)
    return keras.Model(x, a * b)


ROWS["pairwise loss, items below each other"] = (pairwise_loss, apart, cross_entropy)
ROWS["convolution, attention and gru below each other"] = (layers_below, sequences, summed)
ROWS["lstm for each part of time"] = (
    chain(lambda: L.Reshape((1, T, D)), lambda: L.TimeDistributed(L.LSTM(2)), lambda: L.Dense(2)),
    sequences,
    summed,
)


# --- rows in another order, or some of them ----------------------------------------------


@entry("rows backwards", TOWER, three)
def backwards(w, x):
    return tf.reverse(tower(w, tf.reverse(x[:, 0], [0])), [0])


@entry("rows sorted", TOWER, three)
def in_order(w, x):
    order = tf.argsort(x[:, 0, 0])
    return tf.gather(tower(w, tf.gather(x[:, 0], order)), tf.argsort(order))


@entry("some rows", TOWER, three)
def some_rows(w, x):
    m = x[:, 0, 0] > 0
    z = tower(w, tf.boolean_mask(x[:, 0], m))
    z = tf.scatter_nd(tf.where(m), z, [tf.shape(x, "int64")[0], 3])
    return z + x[:, 1, :3] * w["b"]


@entry("experts by partition", {"a": (D, 3), "b": (3, D, 3)}, vectors)
def partition(w, x):
    to = tf.argmax(tf.matmul(x, w["a"]), 1, tf.int32)
    parts = [tf.tanh(tf.matmul(z, w["b"][k]))
             for k, z in enumerate(tf.dynamic_partition(x, to, 3))]  # fmt: skip
    return tf.dynamic_stitch(tf.dynamic_partition(tf.range(count(x)), to, 3), parts)


@entry("pairs above the diagonal", {"t": (WORDS, 3), "w": (10, 2)}, words)
def above(w, x):
    e = tf.gather(w["t"], x)
    z = tf.matmul(e, e, transpose_b=True)
    upper = tf.linalg.band_part(tf.ones_like(z), 0, -1) - tf.linalg.band_part(tf.ones_like(z), 0, 0)
    return tf.matmul(tf.reshape(tf.boolean_mask(z, upper > 0), [-1, 10]), w["w"])


@entry("a word predicted where there is one", {"t": (WORDS, 3), "k": (3, 3)}, words)
def where_a_word_is(w, x):
    m = x > 0
    hidden = tf.boolean_mask(tf.gather(w["t"], x), m) @ w["k"]
    logs = tf.nn.log_softmax(tf.matmul(tf.tanh(hidden), w["t"], transpose_b=True))
    each = tf.gather(logs, tf.boolean_mask(tf.roll(x, 1, 1), m), batch_dims=1)
    return tf.math.unsorted_segment_sum(each, tf.where(m)[:, 0], count(x))[:, None]


@entry("last word by length", BAG, words)
def last_word(w, x):
    at = tf.maximum(tf.reduce_sum(tf.cast(x > 0, tf.int32), 1) - 1, 0)
    return tf.matmul(tf.gather(tf.gather(w["t"], x), at, batch_dims=1), w["w"])


@entry("one position by row ids", {"w": (D, 3)}, sequences)
def by_row_ids(w, x):
    n = count(x)
    return tf.matmul(tf.gather_nd(x, tf.stack([tf.range(n), tf.fill([n], 2)], 1)), w["w"])


# --- bags --------------------------------------------------------------------------------


def sparse(x):
    found = tf.sparse.from_dense(x)
    return tf.SparseTensor(found.indices, tf.cast(found.values, tf.int64), found.dense_shape)


def weights_of(ids):
    return tf.SparseTensor(ids.indices, tf.cast(ids.values, tf.float64) * 0.3 + 1, ids.dense_shape)


def ragged(x):
    return tf.RaggedTensor.from_tensor(x, lengths=tf.reduce_sum(tf.cast(x > 0, tf.int64), 1))


for how in ("sum", "mean", "sqrtn"):

    @entry(f"bag, {how}", BAG, words)
    def bag(w, x, how=how):
        x = tf.maximum(x, [1, 0, 0, 0, 0])  # none is empty
        return tf.matmul(tf.nn.embedding_lookup_sparse(w["t"], sparse(x), None, how), w["w"])

    @entry(f"safe bag, {how}", BAG, with_empty)
    def safe(w, x, how=how):
        found = tf.nn.safe_embedding_lookup_sparse(w["t"], sparse(x), combiner=how)
        return tf.matmul(found, w["w"]) + w["w"][0]


@entry("bag with weights", BAG, words)
def weighted_bag(w, x):
    ids = sparse(tf.maximum(x, [1, 0, 0, 0, 0]))
    found = tf.nn.embedding_lookup_sparse(w["t"], ids, tf.cast(weights_of(ids), w["t"].dtype))
    return tf.matmul(found, w["w"])


@entry("safe bag with weights and a default", BAG, with_empty)
def safe_weighted(w, x):
    ids = sparse(x)
    weights = tf.cast(weights_of(ids), w["t"].dtype)
    found = tf.nn.safe_embedding_lookup_sparse(w["t"], ids, weights, "sqrtn", default_id=2)
    return tf.matmul(found, w["w"])


@entry("ragged mean", BAG, words)
def ragged_mean(w, x):
    x = tf.maximum(x, [1, 0, 0, 0, 0])
    return tf.matmul(tf.reduce_mean(tf.gather(w["t"], ragged(x)), 1), w["w"])


@entry("ragged sum, some empty", BAG, with_empty)
def ragged_sum(w, x):
    return tf.matmul(tf.reduce_sum(tf.gather(w["t"], ragged(x)), 1), w["w"]) + w["w"][0]


@entry("dense layer on ragged words", BAG | {"v": (3, 3)}, with_empty)
def ragged_dense(w, x):
    def hidden(values):
        return tf.tanh(tf.matmul(values, w["v"]) * w["v"][1] + w["v"][0])

    rows = tf.ragged.map_flat_values(hidden, tf.gather(w["t"], ragged(x)))
    return tf.matmul(tf.reduce_sum(rows, 1), w["w"])


@entry("ragged words filled up", BAG, words)
def ragged_filled(w, x):
    rows = tf.gather(w["t"], ragged(x)).to_tensor()  # as long as the longest
    return tf.reduce_sum(tf.tanh(tf.matmul(rows, w["w"])), 1)


@entry("attention on ragged words", {"t": (WORDS, 3)}, with_empty)
def ragged_attention(w, x):
    bags, n = ragged(x), count(x)
    rows, of = tf.gather(w["t"], bags.values), bags.value_rowids()
    each = tf.exp(tf.reduce_sum(rows * tf.gather(tf.gather(w["t"], x[:, 0]), of), 1))
    total = tf.math.unsorted_segment_sum(each, of, n)[:, None] + 1e-9
    return tf.math.unsorted_segment_sum(rows * each[:, None], of, n) / total


@entry("segment mean", BAG, words)
def segment_mean(w, x):
    rows = tf.gather(w["t"], tf.reshape(x, [-1]))
    return tf.matmul(tf.math.segment_mean(rows, tf.repeat(tf.range(count(x)), T)), w["w"])


@entry("sum of masked words", BAG, with_empty)
def masked_sum(w, x):
    rows = tf.gather(w["t"], tf.boolean_mask(x, x > 0))
    sums = tf.math.unsorted_segment_sum(rows, tf.where(x > 0)[:, 0], count(x))
    return tf.matmul(sums, w["w"])


# --- sparse rows -------------------------------------------------------------------------


@entry("sparse rows", TOWER, vectors)
def sparse_rows(w, x):
    rows = tf.sparse.from_dense(tf.nn.relu(x - 0.5))  # some have no entry
    return tf.tanh(tf.sparse.sparse_dense_matmul(rows, w["w"]) + w["b"])


@entry("sparse rows, matrix turned", {"w": (3, D)}, vectors)
def sparse_turned(w, x):
    rows = tf.sparse.from_dense(tf.nn.relu(x))
    return tf.tanh(tf.sparse.sparse_dense_matmul(rows, w["w"], adjoint_b=True))


@entry("sparse columns", {"w": (D, 3)}, vectors)
def sparse_columns(w, x):
    rows = tf.sparse.from_dense(tf.nn.relu(tf.transpose(x)))
    return tf.tanh(tf.sparse.sparse_dense_matmul(rows, w["w"], adjoint_a=True))


@entry("several words at once, sparse", BAG, words)
def multi_hot(w, x):
    ids = sparse(x)
    places = tf.stack([ids.indices[:, 0], ids.values], 1)
    ones = tf.ones(tf.shape(ids.values), w["t"].dtype)
    rows = tf.SparseTensor(places, ones, [tf.shape(x, tf.int64)[0], WORDS])
    return tf.matmul(tf.sparse.sparse_dense_matmul(rows, w["t"]), w["w"])


@entry("sparse rows and look-ups of one table", {"t": (WORDS, 3)}, words)
def sparse_and_dense(w, x):
    rows = tf.sparse.from_dense(tf.reduce_sum(tf.one_hot(x, WORDS, dtype=w["t"].dtype), 1))
    return tf.sparse.sparse_dense_matmul(rows, w["t"]) * tf.gather(w["t"], x[:, 0])
