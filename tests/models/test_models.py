"""A training does what it says: the same seed, the right step, the rows and weights it is given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from small_samples import cut, small_samples, train_rows

from helpers.backend import tf
from helpers.losses import linear_gradient, sigmoid
from helpers.models import (
    LADDER,
    Fitted,
    MaskedMean,
    Trainer,
    epoch_order,
    model_inputs,
    trained_model,
)

KINDS = tuple(LADDER)
BATCH = 32


@pytest.fixture(scope="module")
def rows():
    inputs, labels, _ = train_rows(256)
    return inputs, labels


@pytest.fixture(scope="module")
def trainers(rows):
    sizes = small_samples().sizes
    return {kind: Trainer(LADDER[kind], rows[0], sizes, batch_size=BATCH) for kind in KINDS}


def plain(rows: int = 8, features: int = 3):
    """Return a linear trainer on a few random rows, one batch, and its inputs and labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    y = rng.normal(size=rows).astype(np.float32)
    return Trainer(LADDER["linear"], {"dense": x}, {}, batch_size=rows), x, y


def same(first: Fitted, second: Fitted) -> bool:
    pairs = zip(first.weights, second.weights, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# ---------------------------------------------------------------- seeds and fresh starts


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_weights_whatever_was_fitted_between(kind, trainers, rows):
    trainer, labels = trainers[kind], rows[1]
    first = trainer.fit(labels, seed=3, updates=12)
    other = trainer.fit(1 - labels, seed=4, updates=9)
    again = trainer.fit(labels, seed=3, updates=12)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_new_trainer_gives_the_weights_of_an_old_one(kind, trainers, rows):
    inputs, labels = rows
    fresh = Trainer(LADDER[kind], inputs, small_samples().sizes, batch_size=BATCH)
    assert same(fresh.fit(labels, seed=1, updates=5), trainers[kind].fit(labels, seed=1, updates=5))


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_other_first_weights_and_another_order(kind, trainers, rows):
    trainer, labels = trainers[kind], rows[1]
    order = epoch_order(np.arange(256), updates=4, batch_size=BATCH, rng=np.random.default_rng(0))
    assert not same(
        trainer.fit(labels, seed=0, order=order), trainer.fit(labels, seed=1, order=order)
    )
    shuffled = order[::-1].copy()
    assert not same(
        trainer.fit(labels, seed=0, order=order), trainer.fit(labels, seed=0, order=shuffled)
    )


def test_a_fused_trainer_descends_like_a_plain_one(rows):
    inputs, labels = rows
    made = [
        Trainer(LADDER["logistic"], inputs, {}, batch_size=BATCH, fuse=fuse).fit(
            labels, seed=0, updates=20
        )
        for fuse in (False, True)
    ]
    for plain_weight, fused_weight in zip(made[0].weights, made[1].weights, strict=True):
        np.testing.assert_allclose(fused_weight, plain_weight, rtol=1e-4, atol=1e-6)


def test_fused_trainings_of_other_lengths_share_what_was_compiled_once():
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    trainer = Trainer(LADDER["logistic"], {"dense": x}, {}, batch_size=4, fuse=True)
    orders = []
    updates, trainer._updates = (
        trainer._updates,
        lambda order, *rest: orders.append(order.shape) or updates(order, *rest),
    )
    short, long = (
        trainer.fit(x[:, 0] > 0, seed=0, updates=n).history.updates.max() for n in (3, 9)
    )
    assert (short, long) == (3, 9)
    assert len(set(orders)) == 1


def test_a_fitted_model_does_not_change_with_later_fits(trainers, rows):
    inputs, labels = rows
    trainer = trainers["mlp"]
    fitted = trainer.fit(labels, seed=0, updates=8)
    before, weights = fitted.outputs(inputs), [w.copy() for w in fitted.weights]
    other = trainer.fit(1 - labels, seed=1, updates=8)
    for each in (other, fitted):  # both predict through one compiled pass
        keras_says = np.asarray(each.model(model_inputs(each.model, inputs)))[:, 0]
        np.testing.assert_allclose(each.outputs(inputs), keras_says, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(fitted.outputs(inputs), before)
    assert all(np.array_equal(a, b) for a, b in zip(fitted.weights, weights, strict=True))


# ---------------------------------------------------------------- the step itself


def test_one_linear_step_is_the_hand_computed_step_with_the_half():
    trainer, x, y = plain()
    order = np.arange(8)[None]
    start = trainer.kind.build(3, {}, 5).get_weights()
    fitted = trainer.fit(y, seed=5, order=order)
    gradient = linear_gradient(x.astype(float), y.astype(float), start[0][:, 0].astype(float))
    rate = trainer.kind.learning_rate
    np.testing.assert_allclose(
        fitted.weights[0][:, 0], start[0][:, 0] - rate * gradient[:-1], rtol=1e-5
    )
    np.testing.assert_allclose(fitted.weights[1], -rate * gradient[-1:], rtol=1e-5)


def test_weights_multiply_the_losses_of_their_own_rows():
    trainer, x, y = plain()
    weight = np.random.default_rng(1).uniform(0, 3, 8)
    start = trainer.kind.build(3, {}, 0).get_weights()[0][:, 0]
    fitted = trainer.fit(y, seed=0, order=np.arange(8)[None], sample_weight=weight)
    error = weight * (x @ start - y)
    step = trainer.kind.learning_rate * (error @ x) / 8
    np.testing.assert_allclose(fitted.weights[0][:, 0], start - step, rtol=1e-5)


def test_weight_two_everywhere_is_twice_the_learning_rate_under_plain_descent():
    trainer, x, y = plain()
    order = np.arange(8)[None].repeat(10, 0)
    double = dataclasses.replace(trainer.kind, learning_rate=2 * trainer.kind.learning_rate)
    fast = Trainer(double, {"dense": x}, {}, batch_size=8).fit(y, seed=0, order=order)
    heavy = trainer.fit(y, seed=0, order=order, sample_weight=np.full(8, 2.0))
    np.testing.assert_allclose(heavy.weights[0], fast.weights[0], rtol=1e-5)
    np.testing.assert_allclose(heavy.weights[1], fast.weights[1], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_weight_zero_has_no_influence(kind, trainers, rows):
    trainer, labels = trainers[kind], rows[1]
    weight = np.ones(256)
    weight[::3] = 0
    changed = np.where(weight == 0, 1 - labels, labels)
    first = trainer.fit(labels, seed=0, updates=16, sample_weight=weight)
    assert same(first, trainer.fit(changed, seed=0, updates=16, sample_weight=weight))
    assert not same(first, trainer.fit(changed, seed=0, updates=16))


def test_a_row_of_weight_zero_is_a_row_left_out_of_the_order():
    trainer, x, y = plain()
    weight = np.array([2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    half = Trainer(LADDER["linear"], {"dense": x}, {}, batch_size=4)
    left_out = half.fit(y, seed=0, order=np.arange(4)[None].repeat(5, 0))
    weighted = trainer.fit(y, seed=0, order=np.arange(8)[None].repeat(5, 0), sample_weight=weight)
    np.testing.assert_allclose(weighted.weights[0], left_out.weights[0], rtol=1e-5)


def test_only_the_given_rows_are_trained_on(trainers, rows):
    trainer, labels = trainers["mlp"], rows[1]
    kept = np.arange(0, 256, 2)
    changed = labels.copy()
    changed[1::2] = 1 - changed[1::2]
    first = trainer.fit(labels, seed=0, updates=16, rows=kept)
    assert same(first, trainer.fit(changed, seed=0, updates=16, rows=kept))


def test_logistic_regression_approaches_the_solution_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)).astype(np.float32)
    y = (rng.random(400) < sigmoid(x @ np.array([1.0, -0.5]) + 0.3)).astype(np.float32)
    trainer = Trainer(LADDER["logistic"], {"dense": x}, {}, batch_size=400)
    fitted = trainer.fit(y, seed=0, order=np.arange(400)[None].repeat(2500, 0))
    exact = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(fitted.weights[0][:, 0], exact.coef_[0], rtol=1e-3)
    np.testing.assert_allclose(fitted.weights[1], exact.intercept_, rtol=1e-3)


# ---------------------------------------------------------------- the bag of last items


def test_the_masked_mean_is_the_mean_over_known_ids():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 4)).astype(np.float32)
    ids = np.array([[3, 5, 0, 0], [2, 2, 4, 0], [0, 0, 0, 0], [1, 2, 3, 4]])
    found = MaskedMean()(tf.constant(table[ids]), tf.constant(ids)).numpy()
    for row, bag in zip(found, ids, strict=True):
        known = [table[i] for i in bag if i != 0]
        want = np.mean(known, axis=0) if known else np.zeros(4)
        np.testing.assert_allclose(row, want, rtol=1e-6)


def test_more_padding_changes_no_prediction(trainers, rows):
    inputs, labels = rows
    fitted = trainers["mlp"].fit(labels, seed=0, updates=4)
    longer = dict(inputs, recent=np.pad(inputs["recent"], ((0, 0), (0, 3))))
    np.testing.assert_allclose(fitted.outputs(longer), fitted.outputs(inputs), rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- how long it trains


def test_a_fixed_number_of_updates_is_that_many_steps():
    # With a constant gradient each step moves the bias by the same amount.
    x, y = np.zeros((4, 1), np.float32), np.ones(4, np.float32)
    trainer = Trainer(LADDER["linear"], {"dense": x}, {}, batch_size=4)
    for updates in (1, 7, 30):
        fitted = trainer.fit(y, seed=0, updates=updates)
        np.testing.assert_allclose(fitted.weights[1], [1 - 0.95**updates], rtol=1e-5)
        assert fitted.history["updates"].iloc[-1] == updates


def test_the_optimizer_counts_from_the_start_in_every_fit(trainers, rows):
    # Adam's first step is learning_rate * sign(gradient), whatever it did before.
    trainer, labels = trainers["logistic"], rows[1]
    trainer.fit(labels, seed=0, updates=40)
    start = trainer.kind.build(trainer.inputs["dense"].shape[1], {}, 0).get_weights()
    moved = trainer.fit(labels, seed=0, updates=1).weights[1] - start[1]
    np.testing.assert_allclose(np.abs(moved), trainer.kind.learning_rate, rtol=1e-3)


def test_early_stopping_keeps_the_best_weights_and_waits_as_long_as_it_says(trainers, rows):
    inputs, labels = rows
    # The valid labels contradict the train labels, so valid soon gets worse.
    valid = (inputs, 1 - labels)
    trainer = trainers["mlp"]
    fitted = trainer.fit(labels, seed=0, epochs=60, valid=valid, patience=2)
    history = fitted.history["valid_loss"]
    best = int(history.idxmin())
    assert len(history) == best + 1 + 2 < 60
    z = fitted.outputs(inputs)
    loss = np.mean(np.logaddexp(0, (1 - 2 * (1 - labels)) * z))
    np.testing.assert_allclose(loss, history[best], rtol=1e-5)
    same_length = trainer.fit(labels, seed=0, epochs=60, valid=valid, patience=1)
    assert same(fitted, same_length)


def test_without_valid_the_last_weights_are_kept(trainers, rows):
    fitted = trainers["linear"].fit(rows[1], seed=0, epochs=3)
    assert list(fitted.history.columns) == ["updates", "train_loss"]
    assert fitted.history["updates"].tolist() == [8, 16, 24]
    assert same(fitted, trainers["linear"].fit(rows[1], seed=0, updates=24))


@pytest.mark.parametrize(("rows_count", "updates", "size"), [(10, 6, 5), (7, 9, 3), (3, 2, 8)])
def test_each_pass_of_an_order_is_a_permutation(rows_count, updates, size):
    rows = np.arange(rows_count) * 2 + 1
    rng = np.random.default_rng(0)
    order = epoch_order(rows, updates=updates, batch_size=size, rng=rng)
    assert order.shape == (updates, size)
    assert order.dtype == np.int32
    flat = order.ravel()
    whole = len(flat) // rows_count
    for part in range(whole):
        assert sorted(flat[part * rows_count : (part + 1) * rows_count]) == rows.tolist()
    rest = flat[whole * rows_count :]
    assert len(set(rest)) == len(rest)


# ---------------------------------------------------------------- predictions


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_lie_between_zero_and_one_and_agree_with_the_logits(kind, trainers, rows):
    inputs, labels = rows
    fitted = trainers[kind].fit(labels, seed=0, updates=30)
    p = fitted.probabilities(inputs)
    assert p.shape == labels.shape
    assert 0 < p.min() <= p.max() < 1
    np.testing.assert_allclose(sigmoid(fitted.logits(inputs)), p, rtol=1e-9)


def test_predictions_do_not_depend_on_the_batch(trainers, rows):
    inputs, labels = rows
    fitted = trainers["mlp"].fit(labels, seed=0, updates=5)
    np.testing.assert_allclose(
        fitted.outputs(inputs, batch_size=7), fitted.outputs(inputs), rtol=1e-4, atol=1e-6
    )


def test_a_linear_output_is_cut_to_be_read_as_a_probability():
    x = np.float32([[-100.0], [0.0], [100.0]])
    trainer = Trainer(LADDER["linear"], {"dense": x}, {}, batch_size=3)
    fitted = dataclasses.replace(
        trainer.fit(np.float32([0, 0, 1]), seed=0, updates=1),
        weights=[np.float32([[1.0]]), np.float32([0.25])],
    )
    np.testing.assert_allclose(fitted.outputs({"dense": x}), [-99.75, 0.25, 100.25])
    np.testing.assert_allclose(fitted.probabilities({"dense": x}), [0.001, 0.25, 0.999])


def test_changing_the_keras_model_changes_no_prediction(trainers, rows):
    inputs, labels = rows
    fitted = trainers["linear"].fit(labels, seed=0, updates=2)
    before = fitted.outputs(inputs)
    fitted.model.set_weights([np.zeros_like(w) for w in fitted.weights])
    np.testing.assert_array_equal(fitted.outputs(inputs), before)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of updates, epochs and order"),
        ({"updates": 3, "epochs": 2}, "exactly one of updates, epochs and order"),
        ({"updates": 0}, "at least one update; got 0"),
        ({"epochs": -1}, "at least one update; got -"),
        ({"updates": 1, "rows": np.array([], int)}, "at least one row"),
        ({"updates": 1, "sample_weight": np.full(8, np.nan)}, "finite and not negative"),
        ({"updates": 1, "sample_weight": np.full(8, -1.0)}, "finite and not negative"),
        ({"updates": 1, "sample_weight": np.ones(7)}, r"shape \(8,\); got \(8,\) and \(7,\)"),
        ({"updates": 1, "sample_weight": np.ones((8, 1))}, r"got \(8,\) and \(8, 1\)"),
        ({"order": np.zeros((2, 3), int)}, r"shape \(updates, 8\); got \(2, 3\)"),
        ({"order": np.full((2, 8), 8)}, "rows from 0 to 7; it holds 8 to 8"),
        ({"order": np.full((2, 8), -1)}, "rows from 0 to 7; it holds -1 to -1"),
    ],
)
def test_a_fit_that_makes_no_sense_is_refused(options, message):
    trainer, _, y = plain()
    with pytest.raises(ValueError, match=message):
        trainer.fit(y, seed=0, **options)


@pytest.mark.parametrize("labels", [np.zeros(7), np.zeros((8, 1))])
def test_labels_of_another_shape_are_refused(labels):
    with pytest.raises(ValueError, match="labels and sample_weight must have shape"):
        plain()[0].fit(labels, seed=0, updates=1)


def test_a_diverging_training_says_so_and_what_to_do():
    trainer, x, y = plain()
    wild = Trainer(LADDER["linear"], {"dense": x * 1e6}, {}, batch_size=8)
    with pytest.raises(ValueError, match="diverged: the training loss .* smaller learning rate"):
        wild.fit(y, seed=0, updates=40)
    with pytest.raises(ValueError, match="diverged: the valid loss became nan"):
        trainer.fit(y, seed=0, epochs=2, valid=({"dense": x * np.float32("nan")}, y))


def test_inputs_that_lack_a_part_or_rows_are_refused(rows):
    inputs, _ = rows
    lacking = {name: v for name, v in inputs.items() if name != "recent"}
    with pytest.raises(ValueError, match="the inputs lack recent"):
        Trainer(LADDER["mlp"], lacking, small_samples().sizes)
    with pytest.raises(ValueError, match="same number of rows"):
        Trainer(LADDER["mlp"], dict(inputs, item=inputs["item"][:9]), small_samples().sizes)


# ---------------------------------------------------------------- the models of the notebooks


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    return tmp_path


def test_a_cached_model_equals_the_fresh_one(cache, monkeypatch):
    samples = small_samples()
    fresh = trained_model(samples, "mlp", epochs=1)
    monkeypatch.setattr(Trainer, "fit", None)  # a second training would fail
    cached = trained_model(samples, "mlp", epochs=1)
    assert same(fresh, cached)
    pd.testing.assert_frame_equal(fresh.history, cached.history)
    inputs = samples.inputs(samples.rows("valid"))
    np.testing.assert_array_equal(fresh.outputs(inputs), cached.outputs(inputs))


def test_test_rows_enter_no_training(cache, monkeypatch):
    samples = small_samples()
    seen = []
    rows_of = type(samples).rows

    def spy(self, role):
        seen.append(role)
        return rows_of(self, role)

    monkeypatch.setattr(type(samples), "rows", spy)
    first = trained_model(samples, "logistic", epochs=2)
    assert set(seen) == {"train", "valid"}
    second = trained_model(_with_other_rows(samples, "test"), "logistic", epochs=2)
    assert same(first, second)
    third = trained_model(_with_other_rows(samples, "train"), "logistic", epochs=2)
    assert not same(first, third)


def _with_other_rows(samples, role):
    """Return samples whose rows of a role have other labels and features."""
    rows = samples.rows(role)
    table, dense = samples.table.copy(), samples.dense.copy()
    table.loc[rows, "label"] = 1 - table.loc[rows, "label"]
    dense[rows] = -dense[rows]
    return dataclasses.replace(samples, table=table, dense=dense, fingerprint=f"other {role}")


def test_an_unknown_rung_is_refused():
    with pytest.raises(ValueError, match="one of linear, logistic, mlp; got 'forest'"):
        trained_model(small_samples(), "forest")


def test_another_seed_of_a_notebook_model_is_another_model(cache):
    part = cut(small_samples(), np.arange(0, len(small_samples()), 4))
    first, second = (trained_model(part, "linear", seed=seed, epochs=1) for seed in (0, 1))
    assert not same(first, second)


def test_the_network_reads_one_table_for_items_and_last_items():
    model = LADDER["mlp"].build(3, {"item": 9, "subcategory": 4}, 0)
    shapes = sorted(w.shape for w in model.get_weights() if w.ndim == 2)
    assert shapes.count((9, 8)) == 1
