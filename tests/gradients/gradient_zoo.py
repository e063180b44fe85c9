"""One small model for each layer and each way of using weights that the engine must cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gradient_models import cross_entropy, half_square

from helpers.backend import keras, tf

layers, ops = keras.layers, keras.ops
WORDS = 7
T, D = 5, 4  # positions of a sequence, entries of each


def summed(y, prediction):
    """A loss that every entry of the prediction moves, in ways of its own."""
    flat = tf.reshape(prediction, [tf.shape(prediction)[0], -1])
    waves = tf.cast(tf.range(1, tf.shape(flat)[1] + 1), flat.dtype)
    target = tf.reshape(tf.cast(y, flat.dtype), [-1, 1])
    return tf.reduce_mean((flat - target) ** 2 * (1 + tf.sin(waves)), axis=1)


def vectors(n, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, D)), rng.integers(0, 2, n).astype("float64")


def sequences(n, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, T, D)), rng.integers(0, 2, n).astype("float64")


def images(n, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 7, 6, D)), rng.integers(0, 2, n).astype("float64")


def volumes(n, seed=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4, 4, 4, 2)), rng.integers(0, 2, n).astype("float64")


def words(n, seed=3):
    """Padding at the end, an id that comes twice, and a row of padding only."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, WORDS, (n, T)).astype("int32")
    ids[:, 1] = ids[:, 0]
    ids[::2, 3:] = 0
    return ids, rng.integers(0, 2, n).astype("float64")


def chain(*parts):
    return lambda: keras.Sequential([make() for make in parts])


def lively(model, x):
    """Build a model and move its weights off 0 and 1, where gammas and betas begin."""
    model(x)
    rng = np.random.default_rng(7)
    for v in model.weights:
        if v.dtype.startswith("float"):
            v.assign(v.numpy() + rng.uniform(0.1, 0.4, v.shape) * rng.choice([-1, 1], v.shape))
    for v in model.non_trainable_variables:
        if "variance" in v.path:
            v.assign(rng.uniform(0.5, 1.5, v.shape))
    return model


class Wrapped(keras.Model):
    """A subclassed model around a function of layers."""

    def __init__(self, make, call):
        super().__init__()
        self.parts = make()
        self._call = call

    def call(self, x):
        return self._call(self.parts, x)


def wrapped(make, call):
    return lambda: Wrapped(make, call)


class Raw(keras.Model):
    """A model of raw weights: their shapes, and a function of them and the rows."""

    def __init__(self, shapes, call):
        super().__init__()
        self._shapes, self._call = shapes, call

    def build(self, shape):
        normal = keras.initializers.RandomNormal(0.0, 0.6, seed=4)
        self.w = {
            name: self.add_weight(shape=size, initializer=normal, name=name)
            for name, size in self._shapes.items()
        }

    def call(self, x):
        return self._call({k: v.value for k, v in self.w.items()}, x)


def raw(shapes, call):
    return lambda: Raw(shapes, call)


def unit_columns(w):
    return w / tf.norm(w, axis=0, keepdims=True)


def divided_by_largest_singular_value(w):
    u = tf.ones([1, w.shape[1]], w.dtype)
    for _ in range(3):
        v = tf.math.l2_normalize(tf.matmul(u, w, transpose_b=True))
        u = tf.math.l2_normalize(tf.matmul(v, w))
    return w / tf.reduce_sum(tf.matmul(v, w) * u)


def factorisation_machine(w, x):
    rows = tf.gather(w["table"], x)
    both = tf.square(tf.reduce_sum(rows, axis=1)) - tf.reduce_sum(tf.square(rows), axis=1)
    return 0.5 * tf.reduce_sum(both, axis=1) + tf.reduce_sum(tf.gather(w["own"], x), axis=[1, 2])


def cross_layers(w, x):
    """DCN-v2: x0 * (W x + b) + x, the second with a product of two thin matrices."""
    first = x * (tf.matmul(x, w["full"]) + w["bias"]) + x
    return x * tf.matmul(tf.matmul(first, w["thin"]), w["back"]) + first


def with_class_token(w, x):
    token = tf.broadcast_to(w["token"], [tf.shape(x)[0], 1, D])
    return tf.matmul(tf.concat([token, x], axis=1), w["matrix"])


@tf.function(jit_compile=True)
def compiled_product(x, w):
    return tf.matmul(x, w)


def tied_softmax():
    """A bag of words that predicts a word with the same table, as a language model does."""
    ids = keras.Input((T,), dtype="int32")
    table = layers.ReversibleEmbedding(WORDS, 3, name="table")
    hidden = layers.Dense(3, activation="tanh")(table(ids))
    return keras.Model(ids, table(hidden, reverse=True))


def masked_words(y, logits):
    """Each position predicts the word of its place; padding does not count."""
    target = tf.cast(y[:, :T], tf.int32)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits)
    mask = tf.cast(target > 0, each.dtype)
    return tf.reduce_sum(each * mask, axis=1) / tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)


def next_words(n):
    ids, _ = words(n)
    return ids, np.roll(ids, -1, axis=1).astype("float64")


def two_towers():
    user, item = keras.Input((D,), name="user"), keras.Input((), dtype="int32", name="item")
    left = layers.Dense(3, activation="relu")(layers.Dense(6, activation="relu")(user))
    right = layers.Dense(3)(layers.Embedding(WORDS, 4)(item))
    return keras.Model([user, item], layers.Dot(1)([left, right]))


def pairs(n):
    x, y = vectors(n)
    return [x, np.arange(n, dtype="int32") % WORDS], y


def two_outputs():
    x = keras.Input((D,))
    hidden = layers.Dense(5, activation="tanh")(x)
    return keras.Model(x, {"click": layers.Dense(1)(hidden), "rating": layers.Dense(2)(hidden)})


def both_outputs(y, p):
    return cross_entropy(y["click"], p["click"]) + 0.3 * half_square(y["rating"], p["rating"][:, 1])


def rows_of_two_outputs(n):
    x, y = vectors(n)
    return x, {"click": y, "rating": x[:, 0] + 1.0}


def classes(n):
    x, _ = vectors(n)
    return x, np.arange(n) % 3


def sparse_classes(y, logits):
    return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)


def transformer():
    """Two blocks as in SASRec, with positions, causal attention and a bag of ids."""
    ids = keras.Input((T,), dtype="int32")
    x = layers.Embedding(WORDS, 8)(ids) + layers.Embedding(T, 8)(ops.arange(T))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(8)(layers.Dense(12, activation="relu")(y))
    return keras.Model(ids, layers.Dense(1)(x[:, -1]))


def nested():
    inner = keras.Sequential([keras.Input((D,)), layers.Dense(4, "tanh"), layers.Dense(4)])
    x = keras.Input((D,))
    return keras.Model(x, layers.Dense(1)(inner(inner(x)) + inner(x)))


def frozen_middle():
    model = keras.Sequential([keras.Input((D,)), layers.Dense(4, "tanh"), layers.Dense(4, "tanh"),
                              layers.Dense(1)])  # fmt: skip
    model.layers[1].trainable = False
    return model


def recurrent(layer, **options):
    return chain(lambda: layer(3, **options))


def embedded(layer, **options):
    return chain(lambda: layers.Embedding(WORDS, 4, mask_zero=True), lambda: layer(3, **options))


def convolution(layer, *args, **options):
    return chain(lambda: layer(*args, **options))


L = layers
ZOO: dict[str, tuple[Callable, Callable, Callable]] = {
    "dense on sequences": (chain(lambda: L.Dense(3)), sequences, summed),
    "bag of words": (chain(lambda: L.Embedding(WORDS, 3), L.GlobalAveragePooling1D), words, summed),
    "masked bag": (chain(lambda: L.Embedding(WORDS, 3, mask_zero=True), L.GlobalAveragePooling1D),
                   words, summed),
    "batch norm": (chain(lambda: L.BatchNormalization(), lambda: L.Dense(2)), vectors,
                   summed),
    "batch norm of images": (chain(lambda: L.BatchNormalization()), images, summed),
    "layer norm": (chain(lambda: L.LayerNormalization(), lambda: L.Dense(2)), sequences,
                   summed),
    "layer norm over two axes": (chain(lambda: L.LayerNormalization(axis=[1, 2])),
                                 sequences, summed),
    "group norm": (chain(lambda: L.GroupNormalization(2)), images, summed),
    "rms norm": (chain(lambda: L.RMSNormalization()), sequences, summed),
    "unit norm": (chain(lambda: L.Dense(3), L.UnitNormalization), sequences, summed),
    "prelu": (chain(lambda: L.PReLU()), sequences, summed),
    "prelu shared over axes": (chain(lambda: L.PReLU(shared_axes=[1])), sequences, summed),
    "conv1d": (convolution(L.Conv1D, 3, 2), sequences, summed),
    "conv1d strided": (convolution(L.Conv1D, 3, 3, strides=2), sequences, summed),
    "conv1d same": (convolution(L.Conv1D, 3, 3, padding="same"), sequences, summed),
    "conv1d causal dilated": (convolution(L.Conv1D, 3, 2, padding="causal", dilation_rate=2),
                              sequences, summed),
    "conv1d dilated": (convolution(L.Conv1D, 3, 2, dilation_rate=3), sequences, summed),
    "conv1d dilated twice": (chain(lambda: L.Conv1D(3, 2, padding="causal", dilation_rate=2),
                                   lambda: L.Conv1D(3, 2, padding="causal", dilation_rate=3)),
                             sequences, summed),
    "conv1d groups": (convolution(L.Conv1D, 6, 2, groups=2), sequences, summed),
    "conv2d": (convolution(L.Conv2D, 3, (3, 2)), images, summed),
    "conv2d strided same": (convolution(L.Conv2D, 3, 3, strides=2, padding="same"), images, summed),
    "conv2d dilated": (convolution(L.Conv2D, 3, 2, dilation_rate=(2, 3)), images, summed),
    "conv2d dilated same": (convolution(L.Conv2D, 3, 3, dilation_rate=2, padding="same"), images,
                            summed),
    "conv2d groups": (convolution(L.Conv2D, 6, 3, groups=2), images, summed),
    "conv2d transposed": (convolution(L.Conv2DTranspose, 3, 3, strides=2), images, summed),
    "conv1d transposed": (convolution(L.Conv1DTranspose, 3, 3, strides=2), sequences, summed),
    "depthwise 1d": (convolution(L.DepthwiseConv1D, 3, depth_multiplier=2), sequences, summed),
    "depthwise 2d": (convolution(L.DepthwiseConv2D, 3, depth_multiplier=2, strides=2), images,
                     summed),
    "depthwise 2d dilated": (convolution(L.DepthwiseConv2D, 2, dilation_rate=2), images, summed),
    "separable 1d": (convolution(L.SeparableConv1D, 3, 3, padding="same"), sequences, summed),
    "separable 2d": (convolution(L.SeparableConv2D, 3, 3), images, summed),
    "einsum dense": (chain(lambda: L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")),
                     sequences, summed),
    "einsum dense over time": (chain(lambda: L.EinsumDense("abc,bd->adc", (3, D), bias_axes="dc")),
                               sequences, summed),
    "einsum dense for each time": (chain(lambda: L.EinsumDense("abc,bcd->abd", (T, 3),
                                                               bias_axes="bd")),
                                   sequences, summed),
    "einsum dense with dots": (chain(lambda: L.EinsumDense("...x,xy->...y", 3, bias_axes="y")),
                               sequences, summed),
    "einsum dense that turns": (chain(lambda: L.EinsumDense("abc,dc->abd", (None, 3))), sequences,
                                summed),
    "attention": (wrapped(lambda: [L.MultiHeadAttention(2, 3)], lambda p, x: p[0](x, x)), sequences,
                  summed),
    "attention, causal": (wrapped(lambda: [L.MultiHeadAttention(2, 3, value_dim=2)],
                                  lambda p, x: p[0](x, x, use_causal_mask=True)),
                          sequences, summed),
    "grouped query attention": (wrapped(lambda: [L.GroupQueryAttention(4, 4, 2)],
                                        lambda p, x: p[0](x, x)), sequences, summed),
    "additive attention": (wrapped(lambda: [L.AdditiveAttention()], lambda p, x: p[0]([x, x])),
                           sequences, summed),
    "time distributed": (chain(lambda: L.TimeDistributed(L.Dense(3, "tanh"))), sequences, summed),
    "simple rnn": (recurrent(L.SimpleRNN), sequences, summed),
    "gru": (recurrent(L.GRU), sequences, summed),
    "gru, all states": (recurrent(L.GRU, return_sequences=True, reset_after=False), sequences,
                        summed),
    "lstm": (recurrent(L.LSTM), sequences, summed),
    "lstm, unrolled": (recurrent(L.LSTM, unroll=True), sequences, summed),
    "lstm with mask": (embedded(L.LSTM), words, summed),
    "gru with mask": (embedded(L.GRU), words, summed),
    "bidirectional": (chain(lambda: L.Bidirectional(L.GRU(3, return_sequences=True))), sequences,
                      summed),
    "stacked rnn": (chain(lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)])), sequences, summed),
    "bidirectional with mask": (embedded(lambda units, **options: L.Bidirectional(L.LSTM(
        units, return_sequences=True, **options))), words, summed),
    "tokens in the batch axis": (raw({"w": (D, 2, 3), "v": (D, 3)}, lambda w, x: tf.reshape(
        tf.concat([tf.reshape(tf.einsum(e, tf.reshape(x, [-1, D]), w[k]), [-1, size]) for e, k, size
                   in [("nd,dhk->nhk", "w", 6), ("nd,dk->ndk", "v", 12)]], 1), [-1, T * 18])),
                   sequences, summed),
    "one number": (raw({"w": ()}, lambda w, x: x * w["w"] + tf.where(x > 0, w["w"], x)), sequences,
                   summed),
    "rows of a flat sequence": (raw({"w": (D, 2)}, lambda w, x: tf.reshape(tf.matmul(tf.gather(
        tf.reshape(x, [-1, D]), tf.reshape(T * tf.range(tf.shape(x)[0])[:, None] + [[0, 2, 2]],
                                           [-1])), w["w"]), [-1, 6])), sequences, summed),
    "conv lstm": (chain(lambda: L.Reshape((2, 3, 3, 1)), lambda: L.ConvLSTM2D(2, 2)),
                  lambda n: (np.random.default_rng(0).normal(size=(n, 18)), np.ones(n)), summed),
    "tied softmax": (tied_softmax, next_words, masked_words),
    "nested, shared": (nested, vectors, half_square),
    "frozen layer": (frozen_middle, vectors, half_square),
    "two towers": (two_towers, pairs, cross_entropy),
    "two outputs": (two_outputs, rows_of_two_outputs, both_outputs),
    "classes": (chain(lambda: L.Dense(4, "relu"), lambda: L.Dense(3)), classes, sparse_classes),
    "transformer": (transformer, words, cross_entropy),
    "maxout": (chain(lambda: L.Dense(6), lambda: L.Reshape((3, 2)), lambda: L.Lambda(
        lambda x: ops.max(x, axis=2))), vectors, summed),
    "spectral norm layer": (chain(lambda: L.SpectralNormalization(L.Dense(3))), vectors, summed),
    "spectral norm": (raw({"w": (D, 3)}, lambda w, x: tf.matmul(
        x, divided_by_largest_singular_value(w["w"]))), vectors, summed),
    "weight norm": (raw({"w": (D, 3), "size": (3,)}, lambda w, x: tf.matmul(
        x, unit_columns(w["w"]) * w["size"])), vectors, summed),
    "low rank": (raw({"u": (D, 2), "v": (2, 3)}, lambda w, x: tf.matmul(
        x, tf.matmul(w["u"], w["v"]))), sequences, summed),
    "factorisation machine": (raw({"table": (WORDS, 3), "own": (WORDS, 1)}, factorisation_machine),
                              words, cross_entropy),
    "cross layers": (raw({"full": (D, D), "bias": (D,), "thin": (D, 2), "back": (2, D)},
                         cross_layers), vectors, summed),
    "token mixing": (raw({"w": (3, T)}, lambda w, x: tf.matmul(w["w"], x)), sequences, summed),
    "heads of their own": (raw({"w": (T, D, 2)}, lambda w, x: tf.matmul(x[:, :, None], w["w"])),
                           sequences, summed),
    "class token": (raw({"token": (1, 1, D), "matrix": (D, 2)}, with_class_token), sequences,
                    summed),
    "entry by entry": (raw({"w": (D,), "v": (D,)}, lambda w, x: tf.maximum(x / (2 + w["w"] ** 2),
                       w["v"]) + tf.where(x > 0, w["w"], x - w["v"])), vectors, summed),
    "subtracted": (raw({"w": (D,)}, lambda w, x: w["w"] - x * w["w"]), sequences, summed),
    "tied and turned": (raw({"w": (D, 3)}, lambda w, x: tf.matmul(
        tf.tanh(tf.matmul(x, w["w"])), tf.transpose(w["w"]))), sequences, summed),
    "table turned into a matrix": (raw({"w": (WORDS, 3)}, lambda w, x: tf.matmul(
        tf.gather(w["w"], x), w["w"], transpose_b=True)), words, summed),
    "table and bias in one": (raw({"w": (WORDS, 3)}, lambda w, x: tf.gather(w["w"], x)
                                  + tf.gather(w["w"], [2, 2, 0, 1, 3])), words, summed),
    "one variable cut in two ways": (raw({"w": (D, 6)}, lambda w, x: tf.concat(
        [tf.matmul(x, w["w"]), tf.matmul(tf.concat([x, x], 2), tf.reshape(w["w"], [2 * D, 3]))],
        axis=2)), sequences, summed),
    "slices": (raw({"w": (D, 6)}, lambda w, x: tf.matmul(x, w["w"][:, :2]) + tf.matmul(
        x, w["w"][:, 4:])), sequences, summed),
    "repeated token": (raw({"token": (1, 1, D), "m": (D, 2)}, lambda w, x: tf.matmul(tf.concat(
        [tf.repeat(w["token"], tf.shape(x)[0], axis=0), x], axis=1), w["m"])), sequences, summed),
    "ones times bias": (raw({"b": (1, D)}, lambda w, x: x + tf.matmul(
        tf.ones([tf.shape(x)[0], 1], x.dtype), w["b"])), vectors, summed),
    "three in one einsum": (raw({"a": (D, 3), "b": (3, 2)}, lambda w, x: tf.einsum(
        "btd,de,ef->btf", x, w["a"], w["b"])), sequences, summed),
    "bilinear": (raw({"w": (D, D)}, lambda w, x: tf.einsum("bi,ij,bj->b", x, w["w"], x)[:, None]),
                 vectors, summed),
    "bilinear of several": (raw({"w": (D, 3, D)}, lambda w, x: tf.einsum(
        "bi,ikj,bj->bk", x, w["w"], x)), vectors, summed),
    "samples in columns": (raw({"w": (3, D), "v": (3, 2)}, lambda w, x: tf.transpose(tf.matmul(
        w["v"], tf.tanh(tf.matmul(w["w"], x, transpose_b=True)), transpose_a=True))), vectors,
        summed),
    "inner axis is the batch": (raw({"w": (D, 3)}, lambda w, x: tf.transpose(tf.einsum(
        "tbd,de->tbe", tf.transpose(x, [1, 0, 2]), w["w"]), [1, 0, 2])), sequences, summed),
    "conv3d": (convolution(L.Conv3D, 3, 2), volumes, summed),
    "conv3d strided same": (convolution(L.Conv3D, 2, 3, strides=2, padding="same"), volumes,
                            summed),
    "table in two widths": (raw({"w": (8, 3)}, lambda w, x: tf.reduce_mean(tf.gather(w["w"], x), 1)
                            + tf.reduce_mean(tf.gather(tf.reshape(w["w"], [12, 2]), x), [1, 2])[
                                :, None]), words, summed),
    "turned and sliced": (raw({"w": (D, D)}, lambda w, x: tf.matmul(
        tf.tanh(tf.matmul(x, tf.transpose(w["w"]))), w["w"][:, 1:])), vectors, summed),
    "chosen and normed": (raw({"w": (WORDS, 3)}, lambda w, x: tf.gather(
        tf.math.l2_normalize(w["w"], axis=1), x) * tf.gather(w["w"], [0, 2, 2, 1, 5])), words,
        summed),
    "stopped in a function": (raw({"w": (D, 3), "size": (3,)}, lambda w, x: tf.matmul(
        x, w["w"] * tf.stop_gradient(w["size"])) + w["w"][0]), vectors, summed),
    "function of a stopped one": (raw({"w": (D, 3), "v": (D, 3)}, lambda w, x: tf.matmul(
        x, w["w"] * tf.sign(w["v"]))), vectors, summed),
    "compiled function inside": (raw({"w": (D, 3)}, lambda w, x: compiled_product(x, w["w"])),
                                 vectors, summed),
    "rows in the first axis": (raw({"w": (D, 3), "b": (3,)}, lambda w, x: tf.reshape(tf.nn.relu(
        tf.matmul(tf.reshape(x, [-1, D]), w["w"]) * w["b"]), [-1, T, 3])), sequences, summed),
    "time first": (raw({"w": (D, 3)}, lambda w, x: tf.add_n([tf.tanh(tf.matmul(s, w["w"])) for s in
                   tf.unstack(tf.transpose(x, [1, 0, 2]))])), sequences, summed),
    "weights in the loss": (raw({"w": (D, 1)}, lambda w, x: tf.matmul(x, w["w"]) + tf.reduce_sum(
        w["w"] ** 2)), vectors, summed),
}  # fmt: skip
