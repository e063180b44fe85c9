"""Architectures drawn at random from all layers, against the naive loop and against themselves."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from gradient_zoo import Raw, cross_layers, divided_by_largest_singular_value, lively, summed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_gradients
from helpers.gradients.batches import count_rows, take_rows

L, ops = keras.layers, keras.ops
IDS, LENGTH, WIDTH = 6, 4, 4


class Twice(L.Layer):
    """Calls one dense layer twice, so that its weights have a cross term."""

    def build(self, shape):
        self.dense = L.Dense(shape[-1], activation="tanh")
        self.dense.build(shape)

    def call(self, x):
        return x + self.dense(self.dense(x))


class Positions(L.Layer):
    """Adds a vector for each position, read from a table that is longer than the sequence."""

    def build(self, shape):
        self.table = L.Embedding(shape[1] + 2, shape[-1])
        self.table.build((None,))

    def call(self, x):
        return x + self.table(ops.arange(1, x.shape[1] + 1))


class SelfAttention(L.Layer):
    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = inner

    def build(self, shape):
        self.inner.build(shape, shape)

    def call(self, x):
        return self.inner(x, x)


def crossed(x):
    d = x.shape[-1]
    return Raw({"full": (d, d), "bias": (d,), "thin": (d, 2), "back": (2, d)}, cross_layers)(x)


def normed(x):
    d = x.shape[-1]
    return Raw({"w": (d, 3)}, lambda w, x: tf.matmul(x, divided_by_largest_singular_value(w["w"])))(
        x
    )


VECTOR: dict[str, Callable] = {
    "dense": lambda x: L.Dense(4, activation="tanh")(x),
    "narrow dense": lambda x: L.Dense(2, use_bias=False)(x),
    "twice": lambda x: Twice()(x),
    "layer norm": lambda x: L.LayerNormalization()(x),
    "batch norm": lambda x: L.BatchNormalization()(x),
    "prelu": lambda x: L.PReLU()(x),
    "cross": crossed,
    "spectral": normed,
    "frozen": lambda x: L.Dense(3, activation="tanh", trainable=False)(x),
    "residual": lambda x: L.Add()([x, L.Dense(x.shape[-1])(x)]),
    "to sequence": lambda x: L.Reshape((2, 2))(L.Dense(4)(x)),
}
SEQUENCE: dict[str, Callable] = {
    "dense": lambda x: L.Dense(3, activation="tanh")(x),
    "twice": lambda x: Twice()(x),
    "positions": lambda x: Positions()(x),
    "causal conv": lambda x: L.Conv1D(3, 2, padding="causal", dilation_rate=2)(x),
    "dilated conv": lambda x: L.Conv1D(3, 2, padding="same", dilation_rate=2)(x),
    "strided conv": lambda x: L.Conv1D(4, 2, padding="same", strides=2, activation="tanh")(x),
    "depthwise": lambda x: L.DepthwiseConv1D(2, padding="same", depth_multiplier=2)(x),
    "separable": lambda x: L.SeparableConv1D(3, 2, padding="same")(x),
    "layer norm": lambda x: L.LayerNormalization()(x),
    "rms norm": lambda x: L.RMSNormalization()(x),
    "group norm": lambda x: L.GroupNormalization(1)(x),
    "batch norm": lambda x: L.BatchNormalization()(x),
    "prelu": lambda x: L.PReLU(shared_axes=[1])(x),
    "einsum": lambda x: L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")(x),
    "mix": lambda x: L.EinsumDense("abc,bd->adc", (3, x.shape[2]), bias_axes="dc")(x),
    "attention": lambda x: SelfAttention(L.MultiHeadAttention(2, 2))(x),
    "grouped attention": lambda x: SelfAttention(L.GroupQueryAttention(2, 2, 1))(x),
    "distributed": lambda x: L.TimeDistributed(L.Dense(2, activation="tanh"))(x),
    "rnn": lambda x: L.SimpleRNN(3, return_sequences=True)(x),
    "gru": lambda x: L.GRU(2, return_sequences=True)(x),
    "lstm": lambda x: L.LSTM(3)(x),
    "both ways": lambda x: L.Bidirectional(L.SimpleRNN(2))(x),
    "last": lambda x: x[:, -1],
    "mean": lambda x: L.GlobalAveragePooling1D()(x),
    "flat": lambda x: L.Flatten()(x),
}
IMAGE: dict[str, Callable] = {
    "conv": lambda x: L.Conv2D(3, 2, padding="same", activation="tanh")(x),
    "dilated conv": lambda x: L.Conv2D(2, 2, padding="same", dilation_rate=2)(x),
    "strided conv": lambda x: L.Conv2D(4, 3, strides=2, padding="same")(x),
    "depthwise": lambda x: L.DepthwiseConv2D(2, padding="same")(x),
    "separable": lambda x: L.SeparableConv2D(3, 2, padding="same")(x),
    "batch norm": lambda x: L.BatchNormalization()(x),
    "group norm": lambda x: L.GroupNormalization(-1)(x),
    "prelu": lambda x: L.PReLU(shared_axes=[1, 2])(x),
    "mean": lambda x: L.GlobalAveragePooling2D()(x),
    "flat": lambda x: L.Flatten()(x),
}
BLOCKS = {2: VECTOR, 3: SEQUENCE, 4: IMAGE}
STARTS = ("vector", "sequence", "image", "words", "masked words", "vector and words")
#: Each row twice, in two ways: two blocks of all rows, or the two of a row side by side.
TWICE: dict[str, Callable] = {
    "once": lambda x: x,
    "blocks": lambda x: ops.concatenate([x, ops.flip(x, 1)], 0),
    "neighbours": lambda x: ops.repeat(x, 2, axis=0),
}


def halves(x):
    return ops.split(x, 2)


ONCE: dict[str, Callable] = {
    "once": lambda x: x,
    "blocks": lambda x: halves(2 * x)[0] - halves(x)[1],
    "neighbours": lambda x: L.Lambda(lambda x: 2 * x[::2] - x[1::2] ** 2)(x),
}


def start(name, twice):
    """Return the inputs and the first tensor of an architecture."""
    ids = keras.Input((LENGTH,), dtype="int32", name="ids")
    dense = keras.Input((WIDTH,), name="features")
    if name == "vector":
        return dense, TWICE[twice](dense)
    if name in ("sequence", "image"):
        rows = keras.Input((LENGTH, 3) if name == "sequence" else (5, 4, 2))
        return rows, TWICE[twice](rows)
    table = L.Embedding(IDS, WIDTH, mask_zero=name == "masked words")
    if name == "vector and words":  # one table read in two places
        both, read = TWICE[twice](dense), TWICE[twice](ids)
        own = L.Flatten()(table(read[:, :1]))
        return {"ids": ids, "features": dense}, L.Add()(
            [both, L.GlobalMaxPooling1D()(table(read)), own]
        )
    return ids, table(TWICE[twice](ids))


def rows_for(name, n, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, IDS, (n, LENGTH)).astype("int32")
    ids[:, 1] = ids[:, 0]  # repeated
    ids[::2, 2:] = 0  # padding
    ids[:, 0] = np.maximum(ids[:, 0], 1)
    dense = rng.normal(size=(n, WIDTH))
    shapes = {"sequence": (n, LENGTH, 3), "image": (n, 5, 4, 2)}
    made = {"vector": dense, "vector and words": {"ids": ids, "features": dense}}
    x = rng.normal(size=shapes[name]) if name in shapes else made.get(name, ids)
    return x, rng.integers(0, 2, n).astype("float64")


@st.composite
def architectures(draw):
    """Draw where an architecture starts, the names of its blocks, and if rows come twice."""
    name = draw(st.sampled_from(STARTS))
    rank = {"vector": 2, "vector and words": 2, "image": 4}.get(name, 3)
    blocks = []
    for _ in range(draw(st.integers(1, 4))):
        block = draw(st.sampled_from(sorted(BLOCKS[rank])))
        blocks.append((rank, block))
        flat = {"last", "mean", "flat", "lstm", "both ways"}
        rank = 2 if block in flat else 3 if block == "to sequence" else rank
    return name, tuple(blocks), draw(st.sampled_from(sorted(TWICE)))


def build(architecture):
    name, blocks, twice = architecture
    inputs, x = start(name, twice)
    for rank, block in blocks:
        x = BLOCKS[rank][block](x)
    return keras.Model(inputs, ONCE[twice](L.Dense(2)(x)))


def check(architecture, dtype, n, seed):
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        with warnings.catch_warnings():  # a layer that drops a mask says so
            warnings.filterwarnings("ignore", message=".*mask.*")
            _check(build(architecture), *rows_for(architecture[0], n, seed), dtype, seed)
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_floatx(floatx)


def _check(model, x, y, dtype, seed):
    lively(model, take_rows(x, slice(0, 1)))
    engine, n = PerSampleGradients(model, summed), count_rows(y)
    norms = engine.norms(x, y)
    rng = np.random.default_rng(seed)
    some = rng.permutation(n)[:4]
    gradients = [naive_gradients(model, summed, x, y, row) for row in some]
    want = np.array([np.sqrt(sum(np.sum(g**2) for g in sample)) for sample in gradients])
    exact = dtype == "float64"
    near = {"rtol": 1e-12, "atol": 0} if exact else {"rtol": 0, "atol": 1e-5 * norms.max()}
    np.testing.assert_allclose(norms[some], want, **near)
    if not exact:
        return
    # Permuted rows, a row twice, and batches put together change nothing.
    order = np.concatenate([rng.permutation(n), some])
    again = engine.norms(take_rows(x, order), take_rows(y, order))
    np.testing.assert_allclose(again, norms[order], rtol=1e-11)
    halves = np.array_split(np.arange(n), 2) if n > 1 else [np.arange(1)]
    apart = [engine.norms(take_rows(x, rows), take_rows(y, rows)) for rows in halves]
    np.testing.assert_allclose(np.concatenate(apart), norms, rtol=1e-11)
    # A weighted loss has a weighted gradient; and the gradients add up to the batch's.
    weights = rng.uniform(-2, 2, n)
    np.testing.assert_allclose(
        engine.norms(x, y, sample_weight=weights), np.abs(weights) * norms, rtol=1e-11
    )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(summed(y, model(x, training=False)))
    variables = [v.value for v in model.trainable_variables]
    batch = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, variables)]
    dots = engine.dots(x, y, batch)
    want = sum(np.sum(g**2) for g in batch)
    np.testing.assert_allclose(dots.sum(), want, rtol=1e-8, atol=1e-10 * np.abs(dots).sum())
    own = [sum(map(np.vdot, sample, batch)) for sample in gradients]
    np.testing.assert_allclose(dots[some], own, rtol=1e-9, atol=1e-11 * np.abs(dots).max())


DRAWN = {
    "architecture": architectures(),
    "dtype": st.sampled_from(["float64", "float64", "float32"]),
    "n": st.integers(1, 64),
    "seed": st.integers(0, 2**16),
}
LIMITS = {"deadline": None, "suppress_health_check": [*HealthCheck]}


@settings(max_examples=40, **LIMITS)
@given(**DRAWN)
def test_any_architecture_has_the_norms_of_the_naive_loop(architecture, dtype, n, seed):
    check(architecture, dtype, n, seed)


@pytest.mark.slow
@settings(max_examples=300, **LIMITS)
@given(**DRAWN)
def test_many_architectures_have_the_norms_of_the_naive_loop(architecture, dtype, n, seed):
    check(architecture, dtype, n, seed)


@pytest.mark.parametrize(("rank", "block"), [(r, b) for r, some in BLOCKS.items() for b in some])
def test_every_block_can_be_drawn(rank, block):
    name = {2: "vector", 3: "sequence", 4: "image"}[rank]
    assert build((name, ((rank, block),), "once")).trainable_variables
