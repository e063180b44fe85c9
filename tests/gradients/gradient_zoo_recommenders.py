"""Blocks of recommenders, and ways of reading weights that they brought with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gradient_zoo import (
    WORDS,
    D,
    L,
    T,
    chain,
    convolution,
    images,
    ops,
    sequences,
    summed,
    vectors,
    volumes,
    words,
)
from gradient_zoo_rows import count, entry, three

from helpers.backend import keras, tf

RECOMMENDERS: dict[str, tuple[Callable, Callable, Callable]] = {}


def block(name, shapes, rows, loss=summed):
    return entry(name, shapes, rows, loss, RECOMMENDERS)


def simple(name, shapes, rows, call):
    block(name, shapes, rows)(call)


def own_loss(y, losses):
    """The model returns the loss of each row."""
    return losses


# --- negatives that are the same for all rows --------------------------------------------

OUTPUT = {"t": (WORDS, 3), "w": (WORDS, 3), "c": (WORDS,)}


def negatives(x, true=1):
    """Three sampled words with their expected counts."""
    floats = keras.config.floatx()
    counts = tf.constant([0.2, 0.1, 0.4], floats)
    return tf.constant([1, 3, 5], tf.int64), tf.fill([count(x), true], counts[0]), counts


def sampled(name, loss, true=1, **options):
    @block(name, OUTPUT, words, own_loss)
    def call(w, x):
        hidden = tf.reduce_mean(tf.gather(w["t"], x), 1)
        labels, drawn = tf.cast(x[:, :true], tf.int64), negatives(x, true)
        return loss(w["w"], w["c"], labels, hidden, 3, WORDS, true, sampled_values=drawn, **options)


sampled("sampled softmax", tf.nn.sampled_softmax_loss)
sampled("sampled softmax with hits", tf.nn.sampled_softmax_loss, remove_accidental_hits=False)
sampled("noise contrast", tf.nn.nce_loss)
sampled("noise contrast, two true ones", tf.nn.nce_loss, true=2)


@block("sampled softmax of a tied table", OUTPUT, words, own_loss)
def tied(w, x):
    hidden, labels = tf.reduce_mean(tf.gather(w["t"], x), 1), tf.cast(x[:, :1], tf.int64)
    return tf.nn.sampled_softmax_loss(
        w["t"], w["c"], labels, hidden, 3, WORDS, sampled_values=negatives(x)
    )


@block("a sampled softmax of one's own", OUTPUT, words)
def own_sampled(w, x):
    hidden = tf.reduce_mean(tf.gather(w["t"], x), 1)
    true = tf.reduce_sum(hidden * tf.gather(w["w"], x[:, 0]), 1, keepdims=True)
    others = tf.matmul(hidden, tf.gather(w["w"], [1, 3, 5]), transpose_b=True)
    return tf.concat([true, others + tf.gather(w["c"], [1, 3, 5])], 1)


class OutputInLoss(keras.Model):
    """A model whose output weights only its loss reads."""

    made: OutputInLoss

    def __init__(self):
        super().__init__()
        self.words = L.Embedding(WORDS, 3)
        OutputInLoss.made = self

    def build(self, shape):
        self.words.build(shape)
        self.out = self.add_weight(shape=(WORDS, 3), name="out", initializer="glorot_normal")
        self.bias = self.add_weight(shape=(WORDS,), name="bias")

    def call(self, x):
        return ops.mean(self.words(x), axis=1)


def read_in_loss(y, hidden):
    model = OutputInLoss.made
    labels = tf.cast(y, tf.int64)[:, None]
    return tf.nn.sampled_softmax_loss(
        model.out, model.bias, labels, hidden, 3, WORDS, sampled_values=negatives(hidden)
    )


RECOMMENDERS["sampled softmax read in the loss"] = (OutputInLoss, words, read_in_loss)

# --- experts -----------------------------------------------------------------------------


@block("experts first, einsum", {"w": (3, D, 2), "b": (3, 2), "g": (D, 3)}, vectors)
def experts_einsum(w, x):
    hidden = tf.nn.relu(tf.einsum("bd,edh->ebh", x, w["w"]) + w["b"][:, None])
    return tf.einsum("ebh,be->bh", hidden, tf.nn.softmax(x @ w["g"]))


@block("experts first, tiled", {"w": (3, D, 2), "b": (3, 1, 2), "g": (D, 3)}, vectors)
def experts_tiled(w, x):
    hidden = tf.nn.relu(tf.matmul(tf.tile(x[None], [3, 1, 1]), w["w"]) + w["b"])
    return tf.einsum("ebh,be->bh", hidden, tf.nn.softmax(x @ w["g"]))


@block("two layers of experts", {"w": (3, D, 2), "v": (3, 2, 2), "s": (3, 1, 1)}, vectors)
def experts_twice(w, x):
    hidden = tf.nn.relu(tf.matmul(x[None], w["w"])) * w["s"]
    return tf.reduce_sum(tf.nn.relu(tf.matmul(hidden, w["v"])), 0)


@block("wide experts", {"w": (2, 12, 12)}, lambda n: (np.tile(vectors(n)[0], 3), vectors(n)[1]))
def wide_experts(w, x):
    return tf.concat(tf.unstack(tf.einsum("bd,edh->ebh", tf.tanh(x), w["w"])), 1)


@block("wide experts, turned", {"w": (2, 12, 9)}, lambda n: (np.tile(vectors(n)[0], 3)[:, :9],
                                                             vectors(n)[1]))  # fmt: skip
def wide_experts_turned(w, x):
    return tf.concat(tf.unstack(tf.einsum("bd,ehd->ebh", tf.tanh(x), w["w"])), 1)


@block("progressive layered extraction", {"s": (D, 2, 2), "t": (D, 2, 1), "g": (D, 3)}, vectors)
def extraction(w, x):
    shared, own = (tf.einsum("bd,dhe->beh", x, w[k]) for k in "st")
    return tf.einsum("be,beh->bh", tf.nn.softmax(x @ w["g"]), tf.concat([shared, own], 1))


@block("expert of each row", {"a": (D, 3), "b": (3, D, 3)}, vectors)
def own_expert(w, x):
    gates = tf.matmul(x, w["a"])
    mine = tf.einsum("bd,bdh->bh", x, tf.gather(w["b"], tf.argmax(gates, 1)))
    return mine * tf.reduce_max(tf.nn.softmax(gates), 1, keepdims=True)


simple("heads first", {"q": (2, 1, D, 3)}, sequences,
       lambda w, x: tf.transpose(tf.matmul(x[None], w["q"]), [1, 0, 2, 3]))  # fmt: skip
simple("heads first, einsum", {"q": (2, D, 3)}, sequences,
       lambda w, x: tf.transpose(tf.einsum("btd,hdk->hbtk", x, w["q"]), [1, 0, 2, 3]))  # fmt: skip
simple("heads with dots", {"t": (2, 1, D, 3)}, sequences, lambda w, x: tf.transpose(
    tf.einsum("...td,...dk->...tk", x[None], w["t"]), [1, 0, 2, 3]))  # fmt: skip
simple("a letter of the rows only", {"w": (D, 2)}, sequences,
       lambda w, x: tf.einsum("btd,dk->bk", x, w["w"]))  # fmt: skip
simple("all letters shared", {"w": (T, D)}, sequences,
       lambda w, x: tf.einsum("td,btd->btd", w["w"], x))  # fmt: skip
simple("batch in the last axis", {"w": (3, D)}, vectors, lambda w, x: tf.transpose(
    tf.tanh(tf.matmul(w["w"], tf.transpose(x)) + w["w"][:, :1])))  # fmt: skip
simple("queries tiled", {"t": (2, D), "k": (D, 3)}, sequences, lambda w, x: tf.matmul(tf.concat(
    [tf.reshape(tf.tile(w["t"], [count(x), 1]), [-1, 2, D]), x], 1), w["k"]))  # fmt: skip
simple("queries tiled twice", {"t": (1, 2, D)}, sequences, lambda w, x: tf.concat(
    [x, tf.tile(w["t"], [count(x), 2, 1])], 1))  # fmt: skip
simple("queries broadcast", {"t": (2, D)}, sequences, lambda w, x: tf.matmul(
    tf.broadcast_to(w["t"], [count(x), 2, D]), x, transpose_b=True))  # fmt: skip

# --- tensordot, look-ups, convolutions ---------------------------------------------------

simple("tensordot over time", {"w": (T, 3)}, sequences,
       lambda w, x: tf.tensordot(x, w["w"], [[1], [0]]))  # fmt: skip
simple("tensordot over both", {"w": (T, D, 2)}, sequences,
       lambda w, x: tf.tensordot(x, w["w"], [[1, 2], [0, 1]]))  # fmt: skip
simple("tensordot with weights first", {"w": (3, T)}, sequences, lambda w, x: tf.transpose(
    tf.tensordot(w["w"], x, [[1], [1]]), [1, 0, 2]))  # fmt: skip
simple("tensordot of Keras", {"w": (T, 3)}, sequences,
       lambda w, x: ops.tensordot(x, w["w"], axes=[[1], [0]]))  # fmt: skip
simple("gather_nd in a table", {"t": (WORDS, 3)}, words,
       lambda w, x: tf.gather_nd(w["t"], x[..., None]))  # fmt: skip
simple("gather_nd of entries", {"t": (WORDS, WORDS)}, words, lambda w, x: tf.gather_nd(
    w["t"], tf.stack([x[:, :2], x[:, 2:4]], -1)) + tf.gather(w["t"], x[:, 0])[:, :2])  # fmt: skip
simple("a table for each place", {"t": (T, WORDS, 3)}, words, lambda w, x: tf.transpose(
    tf.gather(w["t"], tf.transpose(x), batch_dims=1), [1, 0, 2]))  # fmt: skip
simple("columns of a table", {"t": (3, WORDS)}, words, lambda w, x: tf.transpose(tf.gather(
    w["t"], x[:, 0], axis=1)) + tf.gather(tf.transpose(w["t"]), x[:, 1]) + tf.gather(
        tf.reshape(w["t"], [-1]), x[:, 2:5]))  # fmt: skip
simple("a middle axis of a table", {"t": (2, WORDS, 3)}, words, lambda w, x: tf.transpose(
    tf.gather(w["t"], x, axis=1), [1, 2, 0, 3]))  # fmt: skip
simple("mirrored pad of weights", {"w": (3, D)}, vectors, lambda w, x: tf.matmul(
    x, tf.transpose(tf.pad(w["w"], [[1, 1], [0, 0]], "REFLECT"))))  # fmt: skip
simple("inverse of weights", {"w": (D, D)}, vectors, lambda w, x: tf.matmul(
    x, tf.linalg.inv(w["w"] + 3 * tf.eye(D, dtype=x.dtype))))  # fmt: skip


class Handle(keras.Model):
    """A table read by its handle."""

    def build(self, shape):
        self.t = self.add_weight(shape=(WORDS, 3), name="t", initializer="glorot_normal")

    def call(self, x):
        return self.t.value.gather_nd(x[..., None])


def short(n):
    return np.random.default_rng(0).normal(size=(n, 64)), np.arange(n) % 2 * 1.0


def below(*layers):
    """Layers on two batches below each other."""
    first = L.Lambda(lambda x: ops.concatenate([x, 2 * x], 0))
    return keras.Sequential([first, *layers, L.Lambda(lambda x: ops.multiply(*ops.split(x, 2)))])


RECOMMENDERS |= {
    "gather_nd by the handle": (Handle, words, summed),
    "conv3d transposed": (convolution(L.Conv3DTranspose, 3, 2, strides=2), volumes, summed),
    "conv3d transposed same": (convolution(L.Conv3DTranspose, 2, 3, padding="same"), volumes,
                               summed),
    "conv3d groups": (convolution(L.Conv3D, 4, 2, groups=2), volumes, summed),
    "conv3d groups strided": (convolution(L.Conv3D, 4, 2, groups=2, strides=2, padding="same"),
                              volumes, summed),
    "conv3d dilated": (convolution(L.Conv3D, 3, 2, dilation_rate=2), volumes, summed),
    "images below each other": (lambda: below(L.Conv2DTranspose(2, 2), L.DepthwiseConv2D(2),
                                              L.BatchNormalization()), images, summed),
    "volumes below each other": (lambda: below(L.Conv3D(2, 2), L.Conv3DTranspose(2, 2)), volumes,
                                 summed),
    "convolution of each part": (chain(lambda: L.Reshape((2, 2, 4, 4)), lambda: L.TimeDistributed(
        L.Conv2D(2, 2)), L.Flatten, lambda: L.Dense(2)), short, summed),
}  # fmt: skip

# --- whole recommenders ------------------------------------------------------------------


@block("deep interest network", {"t": (WORDS, 3), "a": (12, 4), "ab": (4,), "o": (4, 1),
                                 "h": (6, 2)}, words)  # fmt: skip
def interest(w, x):
    e = tf.gather(w["t"], x)
    q, k = tf.tile(e[:, :1], [1, T - 1, 1]), e[:, 1:]
    z = tf.concat([q, k, q - k, q * k], -1)
    a = tf.matmul(tf.nn.sigmoid(tf.matmul(z, w["a"]) + w["ab"]), w["o"])
    a = tf.where((x[:, 1:] > 0)[..., None], a, -1e9 * tf.ones_like(a))
    pooled = tf.reduce_sum(tf.nn.softmax(a, 1) * k, 1)
    return tf.matmul(tf.concat([pooled, q[:, 0]], 1), w["h"])


@block("mixture of cross layers", {"v": (2, 2, D, 2), "c": (2, 2, 2, 2), "u": (2, 2, D, 2),
                                   "b": (2, D), "g": (D, 2)}, vectors)  # fmt: skip
def mixture(w, x):
    now = x
    for k in range(2):
        experts = []
        for e in range(2):
            v = tf.tanh(tf.matmul(tf.tanh(tf.matmul(now, w["v"][k, e])), w["c"][k, e]))
            experts.append(x * (tf.matmul(v, w["u"][k, e], transpose_b=True) + w["b"][k]))
        gates = tf.nn.softmax(tf.matmul(now, w["g"]))
        now += tf.squeeze(tf.matmul(tf.stack(experts, 2), gates[:, :, None]), 2)
    return now


@block("field-aware factorisation machine", {"t": (WORDS, 9)}, words)
def fields(w, x):
    e = tf.reshape(tf.gather(w["t"], x[:, :3]), [-1, 3, 3, 3])
    return tf.reduce_sum(e * tf.transpose(e, [0, 2, 1, 3]), [1, 3])


@block("compressed interactions", {"a": (3, 3, 2), "b": (2, 3, 2)}, three)
def interactions(w, x):
    h, out = x, []
    for k in "ab":
        h = tf.einsum("bhmd,hmk->bkd", tf.einsum("bhd,bmd->bhmd", h, x), w[k])
        out.append(tf.reduce_sum(h, 2))
    return tf.concat(out, 1)


@block("compressed interactions by convolution", {"f": (1, 9, 2)}, three)
def interactions_by_convolution(w, x):
    parts = tf.split(x, D, 2)
    pairs = tf.reshape(tf.matmul(parts, parts, transpose_b=True), [D, -1, 9])
    out = tf.nn.conv1d(tf.transpose(pairs, [1, 0, 2]), w["f"], 1, "VALID")
    return tf.transpose(out, [0, 2, 1])


@block("attention between fields", {n: (D, 4) for n in "qkvr"}, three)
def between_fields(w, x):
    q, k, v = (tf.stack(tf.split(tf.tensordot(x, w[n], 1), 2, 2)) for n in "qkv")
    a = tf.nn.softmax(tf.matmul(q, k, transpose_b=True))
    heads = tf.concat(tf.unstack(tf.matmul(a, v)), -1)
    return tf.nn.relu(heads + tf.tensordot(x, w["r"], 1))


@block("neighbours in a fixed graph", {"t": (WORDS, 3)}, words)
def neighbours(w, x):
    graph = tf.constant(np.eye(WORDS)[::-1] * 0.5 + 0.1, w["t"].dtype)
    once = tf.sparse.sparse_dense_matmul(tf.sparse.from_dense(graph), w["t"])
    e = (w["t"] + once + graph @ once) / 3
    return tf.reduce_sum(tf.gather(e, x[:, 0]) * tf.gather(e, x[:, 1]), 1)[:, None]


@block("quotient and remainder", {"q": (3, 3), "r": (3, 3)}, words)
def quotient(w, x):
    return tf.gather(w["q"], x // 3) * tf.gather(w["r"], x % 3)


@block("tables of mixed widths", {"a": (3, 4), "b": (WORDS, 2), "p": (2, 4)}, words)
def mixed_widths(w, x):
    rare = tf.matmul(tf.gather(w["b"], tf.maximum(x - 3, 0)), w["p"])
    return tf.where((x < 3)[..., None], tf.gather(w["a"], tf.minimum(x, 2)), rare)


@block("self-attention, flat targets", {"t": (WORDS, 3), "p": (T, 3)} | {k: (3, 3) for k in "qkv"},
       words)  # fmt: skip
def self_attention(w, x):
    e = tf.gather(w["t"], x) + w["p"]
    causal = tf.linalg.band_part(tf.ones([T, T], e.dtype), -1, 0)
    scores = tf.matmul(e @ w["q"], e @ w["k"], transpose_b=True) + (causal - 1) * 1e9
    o = tf.reshape(tf.nn.softmax(scores) @ (e @ w["v"]) + e, [-1, 3])
    taken = tf.gather(w["t"], tf.reshape(tf.roll(x, -1, 1), [-1]))
    left = tf.gather(w["t"], tf.reshape((x + 2) % WORDS, [-1]))
    both = tf.stack([tf.reduce_sum(o * taken, 1), tf.reduce_sum(o * left, 1)], 1)
    return tf.reshape(both, [-1, 2 * T])


@block("translation by relations", {"t": (WORDS, 3), "m": (2, 3, 3)}, words)
def translation(w, x):
    h, r, t = (tf.gather(w["t"], x[:, k]) for k in range(3))
    return tf.squeeze(tf.matmul(h[:, None], tf.gather(w["m"], x[:, 3] % 2)), 1) + r - t


@block("two towers with negatives in the row", {"t": (WORDS, 3), "u": (3, 2), "i": (3, 2)}, words)
def two_towers_in_row(w, x):
    u = tf.math.l2_normalize(tf.matmul(tf.gather(w["t"], x[:, 0]), w["u"]), 1)
    i = tf.math.l2_normalize(tf.matmul(tf.gather(w["t"], x[:, 1:]), w["i"]), 2)
    return tf.nn.log_softmax(tf.einsum("bd,bkd->bk", u, i) / 0.1)


def listed(n):
    rng = np.random.default_rng(3)
    x = {"u": rng.integers(0, WORDS, n), "i": rng.integers(0, WORDS, (n, 3))}
    return x, np.arange(n) % 2 * 1.0


def score_of_each_listed_item():
    u, i = keras.Input((), dtype="int32", name="u"), keras.Input((3,), dtype="int32", name="i")
    table, tower = L.Embedding(WORDS, 4), keras.Sequential([L.Dense(5, "relu"), L.Dense(3)])
    users = ops.repeat(tower(table(u)), 3, axis=0)
    items = tower(table(ops.reshape(i, (-1,))))
    scores = L.Dense(1)(ops.concatenate([users, items, users * items], 1))
    return keras.Model({"u": u, "i": i}, ops.reshape(scores, (-1, 3)))


def score_of_each_tiled_item():
    u, i = keras.Input((), dtype="int32", name="u"), keras.Input((3,), dtype="int32", name="i")
    table, tower = L.Embedding(WORDS, 4), L.Dense(3, "tanh")
    users = ops.tile(tower(table(u)), (3, 1))
    items = tower(table(ops.reshape(ops.transpose(i), (-1,))))
    return keras.Model({"u": u, "i": i},
                       ops.transpose(ops.reshape(ops.sum(users * items, 1), (3, -1))))  # fmt: skip


RECOMMENDERS["scores of listed items"] = (score_of_each_listed_item, listed, summed)
RECOMMENDERS["scores of tiled items"] = (score_of_each_tiled_item, listed, summed)
