"""Norms of gradients that nearly cancel: no further from the truth than the naive loop's."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients.forms import Block, Outer, Outers, Rows, scales, squared_norms, write_out

layers, ops = keras.layers, keras.ops
ROWS, ITEMS, WIDTH, LENGTH = 12, 40, 8, 6
DISTANCES = (1.0, 0.1, 0.01, 1e-3, 1e-4, 0.0)


@contextlib.contextmanager
def precision(dtype):
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_floatx(floatx)


def ranking(y, difference):
    """Bayesian personalised ranking: ``-log sigmoid(f(pos) - f(neg))``."""
    return tf.math.softplus(-tf.reshape(difference, [-1]))


def scored_twice(tower, shape):
    """Return a model that subtracts what one tower says of two inputs."""
    pos, neg = keras.Input(shape, name="pos"), keras.Input(shape, name="neg")
    return keras.Model({"pos": pos, "neg": neg}, tower(pos) - tower(neg))


def chain(*parts):
    return keras.Sequential(list(parts))


def dense_tower():
    return scored_twice(
        chain(layers.Dense(24, "tanh"), layers.Dense(16, "tanh"), layers.Dense(1)), (WIDTH,)
    )


def norm_tower():
    return scored_twice(
        chain(layers.Dense(24, "gelu"), layers.LayerNormalization(), layers.Dense(1)), (WIDTH,)
    )


def convolution_tower():
    return scored_twice(
        chain(
            layers.Conv1D(40, 3, padding="valid", activation="tanh"),
            layers.Flatten(),
            layers.Dense(1),
        ),
        (LENGTH, WIDTH),
    )


def sequence_tower():
    return scored_twice(
        chain(
            layers.Dense(30, "tanh"),
            layers.Dense(30, "tanh"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1),
        ),
        (2, WIDTH),
    )


class Tied(keras.Model):
    """A table that is looked up and that is also the matrix of the scores."""

    def build(self, shape):
        normal = keras.initializers.RandomNormal(0.0, 0.5, seed=1)
        self.table = self.add_weight(shape=(ITEMS, 16), initializer=normal, name="table")

    def call(self, x):
        def score(shift):
            user = tf.tanh(tf.gather(self.table.value, x["ids"]) + shift)
            return tf.linalg.matmul(user, self.table.value, transpose_b=True)

        def wanted(scores):
            return tf.reduce_sum(tf.nn.log_softmax(scores)[:, :3], axis=1)

        return wanted(score(x["pos"])) - wanted(score(x["neg"]))


class Looked(keras.Model):
    """A table under a tower: two look-ups of one id, told apart by features beside them."""

    def build(self, shape):
        normal = keras.initializers.RandomNormal(0.0, 0.5, seed=1)
        self.table = self.add_weight(shape=(ITEMS, 16), initializer=normal, name="table")
        self.tower = chain(keras.Input((16,)), layers.Dense(24, "tanh"), layers.Dense(1))

    def call(self, x):
        row = tf.gather(self.table.value, x["ids"])
        return self.tower(row + x["pos"]) - self.tower(row + x["neg"])


def near(shape, distance, seed=3):
    rng = np.random.default_rng(seed)
    pos = rng.normal(size=(ROWS, *shape)).astype("float32")
    step = rng.normal(size=pos.shape)
    step /= np.sqrt(np.sum(step**2, axis=tuple(range(1, step.ndim)), keepdims=True))
    return {"pos": pos, "neg": (pos + distance * step).astype("float32")}


def with_ids(distance):
    ids = np.random.default_rng(5).integers(0, ITEMS, ROWS).astype("int32")
    return {**near((16,), distance), "ids": ids}


MODELS = {
    "dense tower": (dense_tower, lambda distance: near((WIDTH,), distance)),
    "layer norm tower": (norm_tower, lambda distance: near((WIDTH,), distance)),
    "convolution": (convolution_tower, lambda distance: near((LENGTH, WIDTH), distance)),
    "sequence": (sequence_tower, lambda distance: near((2, WIDTH), distance)),
    "embedding tower": (Looked, with_ids),
    "tied": (Tied, with_ids),
}


def made(build, x, dtype, weights=None):
    with precision(dtype):
        keras.utils.set_random_seed(0)
        model = build()
        x = {k: v if v.dtype.kind == "i" else v.astype(dtype) for k, v in x.items()}
        model(x)
        if weights is not None:
            model.set_weights([w.astype(dtype) for w in weights])
    return model, x


def errors(name, distance):
    """Return how far engine and naive loop are off in float32, as shares of the true norms."""
    build, rows = MODELS[name]
    x, y = rows(distance), np.zeros(ROWS, "float32")
    model, x = made(build, x, "float32")
    exact, x64 = made(build, x, "float64", model.get_weights())
    truth = naive_norms(exact, ranking, x64, y.astype("float64"))
    naive = naive_norms(model, ranking, x, y)
    return (
        np.abs(PerSampleGradients(model, ranking).norms(x, y) - truth),
        np.abs(naive - truth),
        truth,
    )


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", MODELS)
def test_uses_that_nearly_cancel_leave_what_the_naive_loop_leaves(name, distance):
    engine, naive, truth = errors(name, distance)
    if not distance:
        np.testing.assert_array_equal(truth, 0)
        np.testing.assert_allclose(engine, 0, atol=1e-12)
        return
    assert np.sqrt(np.mean(engine**2)) <= 3 * np.sqrt(np.mean(naive**2))
    assert truth.min() > distance / 100  # there was something to be lost


def test_cancelling_uses_keep_their_digits_in_double_precision_too():
    build, _ = MODELS["dense tower"]
    rng = np.random.default_rng(0)
    pos = rng.normal(size=(ROWS, WIDTH))
    x, y = {"pos": pos, "neg": pos + 1e-5 * rng.normal(size=pos.shape)}, np.zeros(ROWS)
    model, x = made(build, x, "float64")
    got, want = PerSampleGradients(model, ranking).norms(x, y), naive_norms(model, ranking, x, y)
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_coupled_rows_are_still_refused_where_gradients_cancel():
    def coupled(y, z):
        return ranking(y, z) * (1 + 0.01 * tf.reduce_mean(z))

    for distance in (0.1, 1e-2):
        build, rows = MODELS["dense tower"]
        model, x = made(build, rows(distance), "float32")
        model.layers[-1].set_weights([100 * w for w in model.layers[-1].get_weights()])
        with pytest.raises(ValueError, match="beside it|coupled"):
            PerSampleGradients(model, coupled).norms(x, np.zeros(ROWS, "float32"))


# --- the forms by themselves ----------------------------------------------------------------


def opposite(distance, dtype, n=5, m=24, k=16):
    """Return two uses of a matrix, the second nearly the first with another sign."""
    rng = np.random.default_rng(1)
    a, d = rng.normal(size=(n, m)), rng.normal(size=(n, k))
    moved = a + distance * rng.normal(size=a.shape), -d + distance * rng.normal(size=d.shape)
    return [(a.astype(dtype), d.astype(dtype)), tuple(t.astype(dtype) for t in moved)]


def written(pairs):
    return sum(np.einsum("bm,bn->bmn", *(np.asarray(t, np.longdouble) for t in p)) for p in pairs)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 3e-6), ("float64", 1e-10)])
def test_two_opposite_outer_products_have_the_norm_of_their_sum(distance, dtype, rtol):
    pairs = opposite(distance, dtype)
    want = np.sqrt(np.sum(written(pairs) ** 2, axis=(1, 2))).astype("float64")
    got = np.sqrt(squared_norms([Outer(*map(tf.constant, p)) for p in pairs], 24 * 16))
    np.testing.assert_allclose(got, want, rtol=rtol, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", ["rows", "block"])
def test_two_kinds_of_form_that_cancel_have_the_norm_of_their_sum(other, dtype):
    rng = np.random.default_rng(2)
    n, m, k, distance = 4, 30, 20, 1e-4
    d = rng.normal(size=(n, 2, k)).astype(dtype)
    ids = np.stack([rng.permutation(m)[:2] for _ in range(n)])
    hot = np.eye(m, dtype=dtype)[ids]  # the same rows, as a matrix that meets unit vectors
    near = (-d + distance * rng.normal(size=d.shape)).astype(dtype)
    outers, rows = Outers(*map(tf.constant, (hot, d))), Rows(*map(tf.constant, (ids, near)))
    second = rows if other == "rows" else Block(write_out(rows, m * k))
    want = np.sqrt(np.sum((d.astype("float64") + near) ** 2, axis=(1, 2)))
    got = np.sqrt(squared_norms([outers, second], m * k))
    np.testing.assert_allclose(got, want, rtol=1e-5 if dtype == "float32" else 1e-11)


def test_positions_of_one_use_that_cancel_keep_their_digits():
    rng = np.random.default_rng(3)
    a = 100 + rng.normal(size=(6, 4, 32))  # activations with a large mean
    d = rng.normal(size=(6, 4, 32))
    d -= d.mean(axis=1, keepdims=True)  # deltas that add up to nothing, as behind a softmax
    a, d = a.astype("float32"), d.astype("float32")
    want = np.linalg.norm(np.einsum("btm,btn->bmn", a.astype("float64"), d), axis=(1, 2))
    got = np.sqrt(squared_norms([Outers(tf.constant(a), tf.constant(d))], 32 * 32))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_row_that_is_no_number_or_too_large_leaves_the_others_alone():
    pairs = opposite(1e-3, "float32")
    want = squared_norms([Outer(*map(tf.constant, p)) for p in pairs], 24 * 16).numpy()
    pairs[0][1][1, 2], pairs[0][1][3, 0] = np.nan, 1e30
    got = squared_norms([Outer(*map(tf.constant, p)) for p in pairs], 24 * 16).numpy()
    assert np.isnan(got[1])
    assert np.isposinf(got[3])
    np.testing.assert_array_equal(got[[0, 2, 4]], want[[0, 2, 4]])


def test_a_scale_is_no_less_than_the_norm_however_much_cancels():
    pairs = opposite(1e-3, "float64")
    forms = [Outer(*map(tf.constant, p)) for p in pairs]
    want = sum(np.linalg.norm(a, axis=1) * np.linalg.norm(d, axis=1) for a, d in pairs)
    np.testing.assert_allclose(scales(forms), want, rtol=1e-12)
    assert np.all(np.sqrt(squared_norms(forms, 24 * 16)) < 1e-2 * want)
    rows = Rows(tf.constant([[1, 1]]), tf.constant([[[3.0, 4.0], [-3.0, -4.0]]]))
    np.testing.assert_allclose(scales([rows, Block(tf.constant([[0.0, 2.0]]))]), [12.0])


def test_scales_of_a_model_bound_its_norms_and_stay_where_norms_vanish():
    for distance in (1e-3, 0.0):
        build, rows = MODELS["dense tower"]
        model, x = made(build, rows(distance), "float32")
        y = np.zeros(ROWS, "float32")
        engine = PerSampleGradients(model, ranking)
        norms, bounds = engine.norms(x, y), engine._noise(x, y)
        assert np.all(norms < 0.01 * bounds)
        assert np.all(bounds > 0.1)


# --- what else a form must bear ---------------------------------------------------------------


@pytest.mark.parametrize("positions", [0, 1, 3])
def test_forms_without_positions_have_no_gradient(positions):
    rng = np.random.default_rng(0)
    a, d = rng.normal(size=(4, positions, 5)), rng.normal(size=(4, positions, 6))
    ids = rng.integers(0, 5, (4, positions))
    want = np.sum(np.einsum("btm,btn->bmn", a, d) ** 2, axis=(1, 2))
    outers, rows = Outers(tf.constant(a), tf.constant(d)), Rows(tf.constant(ids), tf.constant(d))
    np.testing.assert_allclose(squared_norms([outers], 30), want, rtol=1e-12)
    table = np.zeros((4, 5, 6))
    for i, s in np.ndindex(4, positions):
        table[i, ids[i, s]] += d[i, s]
    want_rows = np.sum(table**2, axis=(1, 2))
    np.testing.assert_allclose(squared_norms([rows], 30), want_rows, rtol=1e-12)
    np.testing.assert_allclose(rows._grouped_squared_norms(), want_rows, rtol=1e-12)
    both = np.sum((table + np.einsum("btm,btn->bmn", a, d)) ** 2, axis=(1, 2))
    np.testing.assert_allclose(squared_norms([outers, rows], 30), both, rtol=1e-12)


@pytest.mark.parametrize("ids", [[[-1, 2, -1], [-2, -1, 0]], [[2**40, 1, 1], [2**40 + 1, 1, 2]]])
def test_grouped_look_ups_keep_samples_apart_whatever_the_ids(ids):
    deltas = np.random.default_rng(0).normal(size=(2, 3, 4))
    want = [
        sum(np.sum(d[np.array(i) == r].sum(0) ** 2) for r in set(i))
        for i, d in zip(ids, deltas, strict=True)
    ]
    rows = Rows(tf.constant(ids, tf.int64), tf.constant(deltas))
    np.testing.assert_allclose(rows.squared_norms(), want, rtol=1e-12)
    np.testing.assert_allclose(rows._grouped_squared_norms(), want, rtol=1e-12)


@pytest.mark.parametrize("far", [7, -1, 2**32 + 1])
def test_an_id_outside_of_the_table_is_never_written_to_another_row(far):
    rows = Rows(tf.constant([[0, far]], tf.int64), tf.ones([1, 2, 3]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="indices"):
        write_out(rows, 7 * 3)


@pytest.mark.parametrize("look_ups", [5, 100])
def test_look_ups_that_are_no_numbers_stay_in_their_sample(look_ups):
    rng = np.random.default_rng(0)
    ids, deltas = rng.integers(0, 4, (5, look_ups)), rng.normal(size=(5, look_ups, 3))
    want = Rows(tf.constant(ids), tf.constant(deltas)).squared_norms().numpy()
    deltas[1, 0], deltas[3, 1] = np.nan, np.inf
    got = Rows(tf.constant(ids), tf.constant(deltas)).squared_norms().numpy()
    assert not np.isfinite(got[[1, 3]]).any()
    np.testing.assert_array_equal(got[[0, 2, 4]], want[[0, 2, 4]])
