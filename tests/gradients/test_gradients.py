"""Per-sample gradients: against the naive loop, against algebra, and over many rows."""

from __future__ import annotations

import numpy as np
import pytest
from gradient_models import (
    CASES,
    CATEGORIES,
    ITEMS,
    UnmaskedMean,
    click_mlp,
    click_rows,
    cross_entropy,
    deep_sequential,
    dense_rows,
    half_square,
    in_batch_softmax,
    linear,
)

from helpers import gradients
from helpers.backend import keras, tf
from helpers.gradients import (
    PerSampleGradients,
    dense_gradient_norms,
    engine,
    naive_gradients,
    naive_norms,
)
from helpers.gradients.batches import take_rows
from helpers.gradients.forms import Outers, Rows
from helpers.models import LADDER, model_inputs

layers = keras.layers


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


# --- against the naive loop --------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_norms_equal_the_naive_loop_in_float64(float64, name):
    build, rows, loss = CASES[name]
    model, (x, y) = build(), rows(16)
    want = naive_norms(model, loss, x, y)
    engine = PerSampleGradients(model, loss)
    for n in (1, 2, 7, 64):
        some = np.arange(n) % 16  # the 64 rows are the 16 four times: the naive loop is slow
        got = engine.norms(take_rows(x, some), y[some])
        np.testing.assert_allclose(got, want[some], rtol=1e-12)
    assert engine.certify(x, y) < 1e-12


@pytest.mark.parametrize("rung", LADDER)
def test_norms_of_every_rung_of_the_ladder_equal_the_naive_loop(float64, rung):
    x, y = click_rows(8)
    kind = LADDER[rung]
    model = kind.build(3, {"item": ITEMS, "subcategory": CATEGORIES}, 0)
    x = model_inputs(model, x)
    engine = PerSampleGradients(model, kind.loss)
    want = naive_norms(model, kind.loss, x, y)
    got = engine.norms_over(x, y, batch_size=5, progress=False)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_norms_equal_the_naive_loop_in_float32(name):
    build, rows, loss = CASES[name]
    model, (x, y) = build(), rows(6)
    want = naive_norms(model, loss, x, y)
    got = PerSampleGradients(model, loss).norms(x, y)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * want.max())


def test_both_ways_of_squaring_embedding_rows_agree():
    rng = np.random.default_rng(0)
    ids, deltas = rng.integers(0, 4, (6, 9)), rng.normal(size=(6, 9, 2))
    want = [
        sum(np.sum(d[i == r].sum(0) ** 2) for r in range(4))
        for i, d in zip(ids, deltas, strict=True)
    ]
    rows = Rows(tf.constant(ids), tf.constant(deltas))
    np.testing.assert_allclose(rows.squared_norms(), want, rtol=1e-13)
    np.testing.assert_allclose(rows._grouped_squared_norms(), want, rtol=1e-13)


@pytest.mark.parametrize("shape", [(2, 5, 7), (6, 2, 3)], ids=["by pairs", "written out"])
def test_both_ways_of_squaring_outer_products_agree(shape):
    positions, m, n = shape
    rng = np.random.default_rng(0)
    a, d = rng.normal(size=(4, positions, m)), rng.normal(size=(4, positions, n))
    want = np.sum(np.einsum("btm,btn->bmn", a, d) ** 2, axis=(1, 2))
    np.testing.assert_allclose(
        Outers(tf.constant(a), tf.constant(d)).squared_norms(), want, rtol=1e-13
    )


# --- against algebra ---------------------------------------------------------------------


def test_one_row_worked_by_hand(float64):
    # z = 1*3 + 0*4 + 0 = 3, y = 1, so delta = z - y = 2 and g = [2*3, 2*4, 2].
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.set_weights([np.array([[1.0], [0.0]]), np.zeros(1)])
    x, y = np.array([[3.0, 4.0]]), np.array([1.0])
    kernel, bias = naive_gradients(model, half_square, x, y, 0)
    np.testing.assert_allclose(kernel, np.outer([3.0, 4.0], [2.0]), rtol=1e-15)
    np.testing.assert_allclose(bias, [2.0], rtol=1e-15)
    want = 2 * np.sqrt(3**2 + 4**2 + 1)
    np.testing.assert_allclose(naive_norms(model, half_square, x, y), [want], rtol=1e-15)
    engine = PerSampleGradients(model, half_square)
    np.testing.assert_allclose(engine.norms(x, y), [want], rtol=1e-15)


def test_an_id_looked_up_twice_is_added_up_before_it_is_squared(float64):
    # l = z, the sum of the four numbers read, so the gradient has 3 at id 1 and 1 at id 2.
    model = keras.Sequential(
        [keras.Input((4,), dtype="int32"), layers.Embedding(5, 1), layers.Flatten()]
    )
    x, y = np.array([[1, 2, 1, 1], [0, 1, 2, 3]]), np.zeros(2)
    for norms in (
        naive_norms(model, lambda y, p: tf.reduce_sum(p, 1), x, y),
        PerSampleGradients(model, lambda y, p: tf.reduce_sum(p, 1)).norms(x, y),
    ):
        np.testing.assert_allclose(norms, [np.sqrt(3**2 + 1), np.sqrt(4)], rtol=1e-14)


def test_dense_gradient_norms_match_explicit_outer_products():
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    want = [np.linalg.norm(np.outer([*a, 1.0], b)) for a, b in zip(x, e, strict=True)]
    np.testing.assert_allclose(dense_gradient_norms(x, e), want, rtol=1e-12)


def test_the_closed_form_is_the_norm_of_linear_and_logistic_models(float64):
    x, y = dense_rows(9)
    model = linear()
    z = model(x).numpy()
    norms = PerSampleGradients(model, half_square).norms(x, y)
    np.testing.assert_allclose(dense_gradient_norms(x, z - y[:, None]), norms, rtol=1e-12)
    norms = PerSampleGradients(model, cross_entropy).norms(x, y)
    errors = 1 / (1 + np.exp(-z)) - y[:, None]
    np.testing.assert_allclose(dense_gradient_norms(x, errors), norms, rtol=1e-12)


def test_permuted_rows_permute_the_norms_and_a_copy_has_the_same_norm(float64):
    x, y = click_rows(8)
    engine = PerSampleGradients(click_mlp(), cross_entropy)
    norms = engine.norms(x, y)
    rows = np.array([5, 0, 3, 3, 7, 1, 2, 6])
    got = engine.norms(take_rows(x, rows), y[rows])
    np.testing.assert_allclose(got, norms[rows], rtol=1e-12)


def test_scaling_the_loss_scales_the_norms(float64):
    x, y = click_rows(8)
    model = click_mlp()
    norms = PerSampleGradients(model, cross_entropy).norms(x, y)
    scaled = PerSampleGradients(model, lambda y, z: -3.0 * cross_entropy(y, z)).norms(x, y)
    np.testing.assert_allclose(scaled, 3 * norms, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_dots_add_up_to_the_gradient_of_the_batch(float64, name):
    build, rows, loss = CASES[name]
    model, (x, y) = build(), rows(7)
    model(x)
    rng = np.random.default_rng(5)
    direction = [rng.normal(size=v.shape) for v in model.trainable_variables]
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss(y, model(x, training=False)))
    batch = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(total, variables)]
    engine = PerSampleGradients(model, loss)
    want = sum(np.vdot(g, v) for g, v in zip(batch, direction, strict=True))
    np.testing.assert_allclose(engine.dots(x, y, direction).sum(), want, rtol=1e-10)
    want = sum(np.sum(g**2) for g in batch)
    np.testing.assert_allclose(engine.dots(x, y, batch).sum(), want, rtol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_dots_equal_forward_differentiation(float64, name):
    build, rows, loss = CASES[name]
    model, (x, y) = build(), rows(7)
    model(x)
    rng = np.random.default_rng(5)
    direction = [rng.normal(size=v.shape) for v in model.trainable_variables]
    variables = [v.value for v in model.trainable_variables]
    tangents = [tf.constant(v) for v in direction]
    with tf.autodiff.ForwardAccumulator(variables, tangents) as forward:
        losses = loss(y, model(x, training=False))
    want = forward.jvp(losses).numpy()
    got = PerSampleGradients(model, loss).dots(x, y, direction)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12 * np.abs(want).max())


def test_a_dot_with_a_samples_own_gradient_is_its_squared_norm(float64):
    x, y = click_rows(5)
    model = click_mlp()
    engine = PerSampleGradients(model, cross_entropy)
    own = naive_gradients(model, cross_entropy, x, y, 2)
    dots, norms = engine.dots(x, y, own), engine.norms(x, y)
    np.testing.assert_allclose(dots[2], norms[2] ** 2, rtol=1e-12)
    assert np.all(np.abs(dots) <= norms * norms[2] * (1 + 1e-12))  # Cauchy and Schwarz


# --- what is frozen, stopped or not there ------------------------------------------------


def test_a_frozen_layer_counts_for_nothing(float64):
    x, y = click_rows(6)
    model = click_mlp()
    whole = PerSampleGradients(model, cross_entropy).norms(x, y)
    model.get_layer("items").trainable = False
    part = PerSampleGradients(model, cross_entropy).norms(x, y)
    np.testing.assert_allclose(part, naive_norms(model, cross_entropy, x, y), rtol=1e-12)
    assert np.all(part < whole)


def test_a_stopped_gradient_counts_for_nothing(float64):
    x, y = dense_rows(6)
    entry = keras.Input((3,))
    first = layers.Dense(4, name="first")(entry)
    model = keras.Model(entry, layers.Dense(1)(layers.Lambda(tf.stop_gradient)(first)))
    got = PerSampleGradients(model, half_square).norms(x, y)
    np.testing.assert_allclose(got, naive_norms(model, half_square, x, y), rtol=1e-12)
    np.testing.assert_array_equal(naive_gradients(model, half_square, x, y, 0)[0], np.zeros((3, 4)))


def test_norms_follow_the_weights_without_a_new_trace(float64):
    x, y = dense_rows(6)
    model = deep_sequential()
    engine = PerSampleGradients(model, cross_entropy)
    engine.norms(x, y)
    model.set_weights([w + 0.1 for w in model.get_weights()])
    np.testing.assert_allclose(
        engine.norms(x, y), naive_norms(model, cross_entropy, x, y), rtol=1e-12
    )


def test_dropout_is_off(float64):
    x, y = dense_rows(6)
    model = keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.Dense(1)])
    engine = PerSampleGradients(model, half_square)
    np.testing.assert_array_equal(engine.norms(x, y), engine.norms(x, y))


# --- many rows ---------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size"), [(1, 4), (2, 1), (3, 8), (8, 4), (11, 4)])
def test_norms_over_keeps_the_order_of_rows_and_drops_the_filling(float64, n, size):
    x, y = click_rows(n)
    engine = PerSampleGradients(click_mlp(), cross_entropy)
    got = engine.norms_over(x, y, batch_size=size, progress=False)
    np.testing.assert_allclose(got, naive_norms(engine.model, cross_entropy, x, y), rtol=1e-12)
    assert (
        len([k for k, *_ in engine._traces._functions if k == "norms"]) == 1
    )  # traced once for all


@pytest.mark.parametrize("progress", [True, False])
def test_norms_over_shows_its_progress_where_it_should(progress, monkeypatch):
    asked: list[dict[str, object]] = []
    moved: list[int] = []

    class Bar(engine.tqdm):
        def __init__(self, **options):
            asked.append(options)
            super().__init__(**options)

        def update(self, n=1):
            moved.append(n)
            return super().update(n)

    monkeypatch.setattr(engine, "tqdm", Bar)
    x, y = dense_rows(4)
    PerSampleGradients(linear(), half_square).norms_over(x, y, batch_size=2, progress=progress)
    assert [(a["desc"], a["disable"]) for a in asked] == [("gradient norms", not progress)]
    assert moved == [2, 2]


def test_norms_certify_the_first_batch_by_themselves():
    x, y = dense_rows(6)
    engine = PerSampleGradients(linear(), in_batch_softmax)
    for norms in (engine.norms, lambda x, y: engine.norms_over(x, y, progress=False)):
        with pytest.raises(ValueError, match="The loss of a row changes with the rows beside it"):
            norms(x, y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_without_a_norm_are_named_and_leave_the_others_alone(float64, value):
    x, y = dense_rows(9)
    x[[2, 7]] = value
    engine = PerSampleGradients(linear(), half_square)
    with pytest.warns(RuntimeWarning, match=r"2 of 9 gradient norms .* in rows 2, 7\."):
        norms = engine.norms_over(x, y, batch_size=4, progress=False)
    good = ~np.isin(np.arange(9), [2, 7])
    np.testing.assert_allclose(
        norms[good], naive_norms(engine.model, half_square, x[good], y[good]), rtol=1e-12
    )
    assert not np.isfinite(norms[~good]).any()


# --- the comparison itself must be able to fail ------------------------------------------


def test_the_mask_changes_the_norms_so_that_forgetting_it_is_seen(float64):
    x, y = click_rows(8)
    masked, unmasked = click_mlp(), click_mlp(pool=UnmaskedMean)
    unmasked.set_weights(masked.get_weights())
    with_mask = PerSampleGradients(masked, cross_entropy).norms(x, y)
    without = PerSampleGradients(unmasked, cross_entropy).norms(x, y)
    rows = (x["recent"] == 0).any(axis=1)
    assert np.all(np.abs(with_mask / without - 1)[rows] > 1e-6)
    np.testing.assert_allclose(with_mask[~rows], without[~rows], rtol=1e-12)


def square_before_adding(rows):
    return tf.reduce_sum(tf.square(rows.deltas), axis=[1, 2])


def drop_the_cross_term(forms, size):
    return tf.add_n([form.squared_norms() for form in forms])


@pytest.mark.parametrize(
    ("target", "name", "bug"),
    [
        (Rows, "squared_norms", square_before_adding),
        (gradients.pullback, "squared_norms", drop_the_cross_term),
        (gradients.forms.Block, "squared_norms", lambda self: 0.0 * self.values[:, 0]),
    ],
    ids=["squares before adding", "no cross term", "no bias"],
)
def test_a_planted_bug_moves_the_norms_far_beyond_the_tolerance(
    float64, monkeypatch, target, name, bug
):
    x, y = click_rows(16)
    model = click_mlp()
    want = naive_norms(model, cross_entropy, x, y)
    monkeypatch.setattr(target, name, bug)
    got = PerSampleGradients(model, cross_entropy).norms(x, y)
    assert np.max(np.abs(got / want - 1)) > 1e-3
