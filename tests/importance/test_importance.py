"""Each score is what its name says, found again in another way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from small_samples import cut, small_samples, train_rows

from helpers import actions
from helpers.actions import draw_order
from helpers.gradients import naive_norms
from helpers.importance import (
    SCORES,
    activation_norms,
    adjusted_margins,
    early_gradient_norms,
    gradient_norms,
    importance_table,
    input_saliency,
    out_of_fold_probabilities,
    sample_losses,
    weight_importance,
)
from helpers.models import LADDER, Fitted, Trainer, model_inputs
from helpers.samples.noise import chance_wrong, estimated_flip_share

KINDS = tuple(LADDER)
ROWS = 48


@pytest.fixture(scope="module")
def rows():
    return train_rows(ROWS)


@pytest.fixture(scope="module")
def trainers(rows):
    sizes = small_samples().sizes
    return {kind: Trainer(LADDER[kind], rows[0], sizes, batch_size=16) for kind in KINDS}


@pytest.fixture(scope="module")
def fitted(rows, trainers):
    return {kind: trainers[kind].fit(rows[1], seed=0, updates=40) for kind in KINDS}


def take(inputs, places):
    return {name: values[places] for name, values in inputs.items()}


# ---------------------------------------------------------------- loss, norm, leverage


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_the_loss_is_the_log_loss_of_scikit_learn(kind, rows, fitted):
    inputs, labels, _ = rows
    found = sample_losses(fitted[kind], inputs, labels)
    p = fitted[kind].probabilities(inputs)
    want = [metrics.log_loss([y], [q], labels=[0, 1]) for y, q in zip(labels, p, strict=True)]
    np.testing.assert_allclose(found, want, rtol=1e-9)


def test_the_loss_of_the_linear_model_has_the_half(rows, fitted):
    inputs, labels, _ = rows
    error = fitted["linear"].outputs(inputs) - labels
    np.testing.assert_allclose(
        sample_losses(fitted["linear"], inputs, labels), error**2 / 2, rtol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_norms_are_those_of_one_tape_a_sample(kind, rows, fitted):
    inputs, labels, _ = rows
    model = fitted[kind].model
    want = naive_norms(model, LADDER[kind].loss, model_inputs(model, inputs), labels)
    np.testing.assert_allclose(gradient_norms(fitted[kind], inputs, labels), want, rtol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_follow_their_rows(kind, rows, fitted):
    inputs, labels, _ = rows
    places = np.random.default_rng(0).permutation(ROWS)
    for score in (sample_losses, gradient_norms, input_saliency):
        whole = score(fitted[kind], inputs, labels)
        moved = score(fitted[kind], take(inputs, places), labels[places])
        np.testing.assert_allclose(moved, whole[places], rtol=1e-4, atol=1e-7)


# ---------------------------------------------------------------- inside the model, and saliency


def test_the_saliency_of_a_one_unit_model_is_the_error_times_one_constant(rows, fitted):
    inputs, labels, _ = rows
    for kind in ("linear", "logistic"):
        prediction = fitted[kind].outputs(inputs)
        if kind == "logistic":
            prediction = fitted[kind].probabilities(inputs)
        want = np.abs(prediction - labels) * np.linalg.norm(fitted[kind].weights[0])
        np.testing.assert_allclose(input_saliency(fitted[kind], inputs, labels), want, rtol=1e-4)


def test_the_saliency_of_the_network_is_that_of_finite_differences(rows, fitted):
    inputs, labels, _ = rows
    few = take(inputs, slice(0, 4))
    model = _in_float64(fitted["mlp"])
    x, step = few["dense"].astype(float), 1e-6
    slopes = np.empty_like(x)
    for column in range(x.shape[1]):
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[:, column] += sign * step
            sides.append(_float64_losses(model, dict(few, dense=moved), labels[:4]))
        slopes[:, column] = (sides[0] - sides[1]) / (2 * step)
    found = input_saliency(fitted["mlp"], few, labels[:4])
    np.testing.assert_allclose(found, np.linalg.norm(slopes, axis=1), rtol=1e-3)


def _in_float64(fitted: Fitted) -> list[np.ndarray]:
    return [w.astype(float) for w in fitted.weights]


def _float64_losses(weights, inputs, labels):
    """Return the losses of the network, written out in NumPy."""
    return np.logaddexp(
        0, (1 - 2 * labels) * (_hidden(weights, inputs) @ weights[-2] + weights[-1])[:, 0]
    )


def _hidden(weights, inputs):
    """Return what enters the network's last layer, written out in NumPy."""
    items, subcategories = (w for w in weights if w.shape[1:] == (8,) and w.shape[0] != 64)
    if len(items) != small_samples().sizes["item"]:
        items, subcategories = subcategories, items
    known = (inputs["recent"] != 0)[:, :, None]
    taste = (items[inputs["recent"]] * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    wanted = items[inputs["item"]]
    match = (wanted * taste).sum(axis=1, keepdims=True)
    parts = [inputs["dense"], wanted, subcategories[inputs["subcategory"]], taste, match]
    hidden = np.concatenate(parts, axis=1)
    for kernel, bias in ((weights[-6], weights[-5]), (weights[-4], weights[-3])):
        hidden = np.maximum(hidden @ kernel + bias, 0)
    return hidden


def test_activation_norms_are_those_of_the_last_hidden_layer(rows, fitted):
    inputs, _, _ = rows
    want = np.linalg.norm(_hidden(_in_float64(fitted["mlp"]), inputs), axis=1)
    np.testing.assert_allclose(activation_norms(fitted["mlp"], inputs), want, rtol=1e-4)
    np.testing.assert_allclose(
        activation_norms(fitted["logistic"], inputs),
        np.linalg.norm(inputs["dense"].astype(float), axis=1),
        rtol=1e-5,
    )


def test_weights_rank_the_features_of_a_one_unit_model(rows, fitted):
    names = small_samples().feature_names
    found = weight_importance(fitted["linear"], names)
    assert found.is_monotonic_decreasing
    weights = dict(zip(names, np.abs(fitted["linear"].weights[0][:, 0]), strict=True))
    assert found.to_dict() == weights
    with pytest.raises(ValueError, match="only in a one-unit model"):
        weight_importance(fitted["mlp"], names)


# ---------------------------------------------------------------- early, and out of fold


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_early_norms_are_the_mean_over_seeds_of_single_ones(kind, rows, trainers):
    inputs, labels, _ = rows
    trainer = trainers[kind]
    single = [
        gradient_norms(trainer.fit(labels, seed=s, updates=5), inputs, labels) for s in (4, 5)
    ]
    found = early_gradient_norms(trainer, labels, seeds=(4, 5), updates=5)
    np.testing.assert_allclose(found, np.mean(single, axis=0), rtol=1e-5)
    assert not np.allclose(single[0], single[1], rtol=1e-3)
    with pytest.raises(ValueError, match="at least one seed"):
        early_gradient_norms(trainer, labels, seeds=())


def test_no_user_is_scored_by_a_model_that_saw_them(rows, trainers, monkeypatch):
    _, labels, users = rows
    trainer, fits, scored = trainers["linear"], [], []
    fit, probabilities = Trainer.fit, Fitted.probabilities

    def spy_fit(self, labels, **options):
        fits.append(options["rows"])
        return fit(self, labels, **options)

    def spy_probabilities(self, inputs):
        scored.append(inputs["dense"])
        return probabilities(self, inputs)

    monkeypatch.setattr(Trainer, "fit", spy_fit)
    monkeypatch.setattr(Fitted, "probabilities", spy_probabilities)
    found = out_of_fold_probabilities(trainer, labels, users, folds=4, updates=3)
    assert len(fits) == len(scored) == 4
    counted = np.zeros(ROWS, dtype=int)
    for seen, held_inputs in zip(fits, scored, strict=True):
        held = np.setdiff1d(np.arange(ROWS), seen)
        assert not set(users[seen]) & set(users[held])
        np.testing.assert_array_equal(held_inputs, trainer.inputs["dense"][held])
        counted[held] += 1
    assert (counted == 1).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_the_out_of_fold_probability_of_a_row_is_that_of_its_folds_model(rows, trainers):
    inputs, labels, users = rows
    trainer = trainers["logistic"]
    changed = labels.copy()
    changed[0] = 1 - changed[0]
    first, second = (
        out_of_fold_probabilities(trainer, y, users, updates=10) for y in (labels, changed)
    )
    assert first[0] == second[0]  # its own label moved no model
    mine = users == users[0]
    np.testing.assert_array_equal(first[mine][1:], second[mine][1:])
    assert (first[~mine] != second[~mine]).any()


@pytest.mark.parametrize("folds", [1, 500])
def test_more_folds_than_users_are_refused(rows, trainers, folds):
    _, labels, users = rows
    with pytest.raises(ValueError, match=rf"number of users\); got {folds}"):
        out_of_fold_probabilities(trainers["linear"], labels, users, folds=folds)
    with pytest.raises(ValueError, match="users and labels must agree"):
        out_of_fold_probabilities(trainers["linear"], labels, users[1:])


# ---------------------------------------------------------------- the table


@pytest.fixture(scope="module")
def part():
    """Samples with a few train rows, and a network fitted on them."""
    samples = small_samples()
    train = samples.rows("train")
    samples = cut(samples, np.r_[train[::20], samples.rows("test")[:50]])
    rows = samples.rows("train")
    trainer = Trainer(LADDER["mlp"], samples.inputs(rows), samples.sizes, batch_size=64)
    return samples, trainer.fit(samples.labels(rows), seed=0, updates=10)


@pytest.fixture
def table(part, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    return importance_table(*part, early_updates=3, early_seeds=2, fold_updates=4)


def test_the_table_has_one_row_a_train_sample_and_every_score(part, table):
    samples, fitted = part
    rows = samples.rows("train")
    about = ["sample_id", "user_id", "item_id", "event_time", "label"]
    assert list(table.columns) == [*about, "prediction", *SCORES]
    pd.testing.assert_frame_equal(
        table[about], samples.table.iloc[rows][about].reset_index(drop=True)
    )
    inputs, labels = samples.inputs(rows), samples.labels(rows)
    np.testing.assert_array_equal(table["prediction"], fitted.probabilities(inputs))
    np.testing.assert_array_equal(table["loss"], sample_losses(fitted, inputs, labels))
    np.testing.assert_allclose(table["gradient_norm"], gradient_norms(fitted, inputs, labels))
    assert np.isfinite(table[list(SCORES)].to_numpy()).all()
    assert table["event_time"].is_monotonic_increasing


def test_the_tables_scores_of_unseen_users_come_from_one_set_of_predictions(part, table):
    samples, fitted = part
    rows = samples.rows("train")
    labels = samples.labels(rows)
    trainer = Trainer(fitted.kind, samples.inputs(rows), samples.sizes)
    unseen = out_of_fold_probabilities(
        trainer, labels, samples.column("user_id", rows), folds=3, updates=4, seed=0
    )
    np.testing.assert_allclose(table["out_of_fold_error"], np.abs(unseen - labels), rtol=1e-5)
    np.testing.assert_allclose(
        table["adjusted_margin"], adjusted_margins(labels, unseen), rtol=1e-4, atol=1e-6
    )
    share = estimated_flip_share(labels, unseen)
    np.testing.assert_allclose(
        table["chance_wrong"], chance_wrong(labels, unseen, share), rtol=1e-3, atol=1e-6
    )


def test_surprise_times_leverage_is_the_gradient_norm(part, table):
    samples, fitted = part
    surprise = (table["prediction"] - table["label"]).abs()
    np.testing.assert_allclose(surprise * table["leverage"], table["gradient_norm"], rtol=1e-6)
    # Leverage is ||dz/dtheta||: the gradient of the output itself, whatever the label.
    rows = samples.rows("train")[:5]
    x = model_inputs(fitted.model, samples.inputs(rows))
    by_loop = naive_norms(fitted.model, lambda y, z: z[:, 0] + 0 * y, x, np.zeros(5, np.float32))
    np.testing.assert_allclose(table["leverage"][:5], by_loop, rtol=1e-3)


def test_the_table_comes_from_the_cache_the_second_time(part, table, monkeypatch):
    monkeypatch.setattr(Trainer, "fit", None)  # scoring again would fail
    again = importance_table(*part, early_updates=3, early_seeds=2, fold_updates=4)
    pd.testing.assert_frame_equal(again, table)


# ---------------------------------------------------------------- importances are used


def test_importances_reach_the_training(rows, trainers, fitted):
    inputs, labels, _ = rows
    norms = gradient_norms(fitted["logistic"], inputs, labels)
    trainer = trainers["logistic"]

    def train(plan):
        rng = np.random.default_rng(0)
        order = draw_order(plan, updates=10, batch_size=16, rng=rng)
        return trainer.fit(labels, seed=0, order=order, sample_weight=plan.weight)

    base = train(actions.uniform(ROWS))
    constant = train(actions.up_weight(np.full(ROWS, 4.0)))
    weighted = train(actions.up_weight(norms))
    assert all(np.array_equal(a, b) for a, b in zip(base.weights, constant.weights, strict=True))
    assert not any(
        np.allclose(a, b, atol=1e-4) for a, b in zip(base.weights, weighted.weights, strict=True)
    )


def test_the_reference_network_is_the_model(rows, fitted):
    inputs, _, _ = rows
    weights = _in_float64(fitted["mlp"])
    z = (_hidden(weights, inputs) @ weights[-2] + weights[-1])[:, 0]
    np.testing.assert_allclose(fitted["mlp"].outputs(inputs), z, rtol=1e-3, atol=1e-5)
