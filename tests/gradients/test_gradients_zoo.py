"""Each layer and way of using weights, by itself, against the naive loop."""

from __future__ import annotations

import numpy as np
import pytest
from gradient_zoo import WORDS, ZOO, T, lively, next_words, summed, tied_softmax, words
from gradient_zoo_loops import LOOPS
from gradient_zoo_recommenders import RECOMMENDERS
from gradient_zoo_rows import ROWS as MOVED_ROWS

from helpers.backend import keras, tf
from helpers.gradients import (
    PerSampleGradients,
    flow,
    forms,
    naive_gradients,
    pullback,
    rules,
    tables,
)
from helpers.gradients.batches import take_rows
from helpers.gradients.registry import RULES

ROWS = 4
ALL = ZOO | MOVED_ROWS | LOOPS | RECOMMENDERS


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)


def plain_gradients(model, loss, x, y):
    return [naive_gradients(model, loss, x, y, row) for row in range(ROWS)]


def check(name, dtype):
    build, rows, loss = ALL[name]
    x, y = rows(ROWS)
    model = lively(build(), x)
    gradients = plain_gradients(model, loss, x, y)
    want = np.array([np.sqrt(sum(np.sum(g**2) for g in sample)) for sample in gradients])
    assert np.median(want) > 0
    engine = PerSampleGradients(model, loss)
    order = np.array([2, 0, 3, 1, 1])  # another order, another number of rows, a row twice
    got = engine.norms(take_rows(x, order), take_rows(y, order))
    rng = np.random.default_rng(1)
    direction = [rng.normal(size=v.shape) for v in model.trainable_variables]
    dots = np.array([sum(map(np.vdot, sample, direction)) for sample in gradients])
    if dtype == "float64":
        np.testing.assert_allclose(got, want[order], rtol=1e-12)
        close = {"rtol": 1e-10, "atol": 1e-12 * np.abs(dots).max()}
    else:
        np.testing.assert_allclose(got, want[order], rtol=0, atol=1e-5 * want.max())
        close = {"rtol": 0, "atol": 1e-4 * np.abs(dots).max()}
    np.testing.assert_allclose(engine.dots(x, y, direction), dots, **close)


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
@pytest.mark.parametrize("name", ALL)
def test_norms_and_dots_equal_the_naive_loop(name, dtype):
    check(name, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32"], indirect=True)
@pytest.mark.parametrize("name", ALL)
def test_norms_and_dots_equal_the_naive_loop_in_single_precision(name, dtype):
    check(name, dtype)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_followed_within_its_precision(policy):
    def build():
        return keras.Sequential(
            [keras.layers.Embedding(WORDS, 6), keras.layers.Conv1D(4, 2, activation="tanh"),
             keras.layers.LayerNormalization(), keras.layers.Flatten(),
             keras.layers.Dense(3, dtype="float32")]
        )  # fmt: skip

    x, y = words(ROWS)
    exact = lively(build(), x)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = build()
        mixed(x)
        mixed.set_weights(exact.get_weights())
    finally:
        keras.config.set_dtype_policy(before)
    got = PerSampleGradients(mixed, summed).norms(x, y)
    own = plain_gradients(mixed, summed, x, y)
    own = np.array([np.sqrt(sum(np.sum(g**2) for g in sample)) for sample in own])
    np.testing.assert_allclose(got, own, rtol=5e-2 if "bfloat16" in policy else 5e-3)
    want = PerSampleGradients(exact, summed).norms(x, y)
    np.testing.assert_allclose(got, want, rtol=0.1)


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
@pytest.mark.parametrize(
    "name",
    [
        "spectral norm",
        "slices",
        "one variable cut in two ways",
        "table in two widths",
        "turned and sliced",
    ],
)
def test_large_gradients_are_written_out_for_some_samples_at_a_time(name, dtype, monkeypatch):
    build, rows, loss = ZOO[name]
    x, y = rows(ROWS)
    model = lively(build(), x)
    want = PerSampleGradients(model, loss).norms(x, y)
    monkeypatch.setattr(pullback, "_SMALL", 0)
    monkeypatch.setattr(pullback, "MOST_ENTRIES", 100)  # one to four samples
    got = PerSampleGradients(model, loss)
    np.testing.assert_allclose(got.norms(x, y), want, rtol=1e-13)
    graph = got._traces._functions[
        next(key for key in got._traces._functions if key[0] == "norms")
    ].graph
    assert any("While" in op.type for op in graph.get_operations())


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
def test_recurrent_layers_are_left_as_they_were(dtype):
    build, rows, loss = ZOO["lstm"]
    x, y = rows(ROWS)
    model = lively(build(), x)
    PerSampleGradients(model, loss).norms(x, y)
    assert not model.layers[0].unroll
    assert not tf.config.functions_run_eagerly()


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
def test_the_mask_of_a_sequence_counts(dtype):
    """Padding is no word: what stands there changes nothing."""
    build, rows, loss = ZOO["lstm with mask"]
    x, y = rows(ROWS)
    model = lively(build(), x)
    engine = PerSampleGradients(model, loss)
    norms = engine.norms(x, y)
    longer = np.concatenate([x, np.zeros((ROWS, 3), "int32")], axis=1)
    np.testing.assert_allclose(engine.norms(longer, y), norms, rtol=1e-12)
    filled = np.where(x == 0, 1, x)
    assert np.abs(engine.norms(filled, y) / norms - 1)[::2].min() > 1e-6


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
def test_a_tied_table_has_a_cross_term_that_matters(dtype):
    x, y = next_words(ROWS)
    model = lively(tied_softmax(), x)
    loss = ZOO["tied softmax"][2]
    sample = naive_gradients(model, loss, x, y, 1)
    whole = PerSampleGradients(model, loss).norms(x, y)[1]
    np.testing.assert_allclose(whole**2, sum(np.sum(g**2) for g in sample), rtol=1e-12)
    assert len(model.trainable_variables) == 3  # the table is there once
    assert x.shape == (ROWS, T)


# --- the comparison itself must be able to fail ------------------------------------------


def no_cross_term(one, other):
    return tf.zeros(tf.shape(one.deltas)[:1], one.deltas.dtype)


def each_position_by_itself(self):
    squares = tf.reduce_sum(self.inputs**2, axis=2) * tf.reduce_sum(self.deltas**2, axis=2)
    return tf.reduce_sum(squares, axis=1)


def mean_over_positions(use, tensor):
    return tf.reduce_mean(tensor, axis=list(range(1, tensor.shape.rank - 1)))


def mean_of_losses(losses, uses, deltas=flow._deltas):
    return deltas(losses / tf.cast(tf.size(losses), losses.dtype), uses)


def ids_of_the_first_place(use, delta, look_up=tables._look_up):
    form = look_up(use, delta)
    return forms.Rows(form.ids[:, :1] + 0 * form.ids, form.deltas)


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
@pytest.mark.parametrize(
    ("name", "target", "attribute", "bug"),
    [
        ("tied softmax", forms, "_inner", no_cross_term),
        ("table turned into a matrix", forms, "_inner", no_cross_term),
        ("dense on sequences", forms.Outers, "squared_norms", each_position_by_itself),
        ("lstm", forms.Outers, "squared_norms", each_position_by_itself),
        ("conv2d", forms.Outers, "squared_norms", each_position_by_itself),
        ("subtracted", rules, "_summed", mean_over_positions),
        ("dense on sequences", flow, "_deltas", mean_of_losses),
        ("masked bag", RULES, "GatherV2", ids_of_the_first_place),
    ],
)
def test_a_planted_bug_is_seen(name, target, attribute, bug, dtype, monkeypatch):
    if isinstance(target, dict):
        monkeypatch.setitem(target, attribute, bug)
    else:
        monkeypatch.setattr(target, attribute, bug)
    with pytest.raises((AssertionError, ValueError), match="Not equal to tolerance|coupled|beside"):
        check(name, dtype)


# --- rows that move ----------------------------------------------------------------------


def gentle(x):
    """Rows that show no way of moving them: in order, without padding, each id once."""
    if isinstance(x, list):
        return [gentle(part) for part in x]
    if np.issubdtype(x.dtype, np.integer):
        return np.stack([np.roll(np.arange(1, T + 1), row) for row in range(len(x))]).astype(
            x.dtype
        )
    x = np.abs(x)
    return x[np.argsort(x.reshape(len(x), -1)[:, 0])]


@pytest.mark.parametrize("dtype", ["float64"], indirect=True)
@pytest.mark.parametrize("name", MOVED_ROWS)
def test_rows_are_found_in_a_later_batch_that_moves_them_otherwise(name, dtype):
    build, rows, loss = MOVED_ROWS[name]
    x, y = rows(ROWS)
    model = lively(build(), x)
    engine = PerSampleGradients(model, loss)
    engine.norms(gentle(x), y)  # certified here, and not again
    want = [np.sqrt(sum(np.sum(g**2) for g in s)) for s in plain_gradients(model, loss, x, y)]
    np.testing.assert_allclose(engine.norms(x, y), want, rtol=1e-12)
