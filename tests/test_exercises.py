"""Every exercise: the untouched stub is told so, the solution passes, wrong answers get a hint."""

from __future__ import annotations

import re

import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers import checks
from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_gradients, naive_norms
from helpers.notebooks.execution import NOTEBOOKS

PAGES = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def outputs(cell) -> str:
    return "".join(o.get("text", "") for o in cell.outputs)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_stored_solutions_pass_and_stubs_are_told_what_to_do(page):
    cells = [c for c in nbformat.read(page, as_version=4).cells if c.cell_type == "code"]
    places = [i for i, c in enumerate(cells) if "solution" in c.metadata.get("tags", [])]
    assert places, "a notebook needs an exercise"
    for place in places:
        assert outputs(cells[place]).startswith("Correct"), cells[place].source
        assert outputs(cells[place - 1]).startswith("Still empty"), cells[place - 1].source


def masked_mean(vectors, ids):
    known = (ids != 0)[:, :, None]
    return (vectors * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda v, i: v.mean(axis=1), "plain mean"),
        (lambda v, i: (v * (i != 0)[:, :, None]).sum(axis=1), "this is the sum"),
        (lambda v, i: (v * (i != 0)[:, :, None]).mean(axis=1), "padding counts too"),
        (lambda v, i: v.mean(axis=2), "wrong axis"),
        (
            lambda v, i: (v * (i != 0)[:, :, None]).sum(1) / (i != 0).sum(1, keepdims=True),
            "0 / 0",
        ),
        (lambda v, i: 1 / 0, "ZeroDivisionError"),
        (lambda v, i: None, "Still empty"),
        (masked_mean, "Correct"),
    ],
)
def test_masked_mean_answers_get_the_hint_that_fits(answer, hint):
    assert hint in checks.check_03_2(answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda x, y, p: np.abs(p - y) * np.linalg.norm(x, axis=1), "bias is forgotten"),
        (lambda x, y, p: (p - y) ** 2 * ((x**2).sum(1) + 1), "squared norm"),
        (lambda x, y, p: np.abs(p - y), "error alone"),
        (lambda x, y, p: (p - y) * np.sqrt((x**2).sum(1) + 1), "never negative"),
        (lambda x, y, p: np.abs(p - y) * np.sqrt((x**2).sum(1) + 1) / len(y), "divided by N"),
        (lambda x, y, p: np.abs(p - y) * np.sqrt((x**2).sum(1) + 1), "Correct"),
    ],
)
def test_gradient_norm_answers_get_the_hint_that_fits(answer, hint):
    assert hint in checks.check_04_2(answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda chance: 1 / chance, "1/N is forgotten"),
        (lambda chance: len(chance) * chance, "N p"),
        (lambda chance: np.ones(len(chance)), "plain resampling"),
        (lambda chance: chance, "p itself"),
        (lambda chance: 1 / (len(chance) * chance), "Correct"),
    ],
)
def test_importance_sampling_answers_get_the_hint_that_fits(answer, hint):
    assert hint in checks.check_05_2(answer)


def dcg(labels):
    return (labels / np.log2(np.arange(2, len(labels) + 2))).sum()


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda y, s: dcg(y[np.argsort(-s)]), "divide by the DCG"),
        (lambda y, s: dcg(y[np.argsort(s)]) / dcg(np.sort(y)[::-1]), "turned round"),
        (lambda y, s: dcg(y) / dcg(np.sort(y)[::-1]), "not sorted"),
        (lambda y, s: dcg(y[np.argsort(-s)]) / dcg(np.sort(y)[::-1]), "Correct"),
    ],
)
def test_ndcg_answers_get_the_hint_that_fits(answer, hint):
    assert hint in checks.check_06_2(answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (None, "Still empty"),
        ([0.7, 0.6, 0.75, 2 / 3], "swapped"),
        ([0.7, 0.75, 0.6, 0.675], "harmonic"),
        ([0.8, 0.75, 0.6, 2 / 3], "accuracy"),
        (["a", 1, 2, 3], "numbers are wanted"),
        ([0.7, 0.75, 0.6], "4 numbers"),
        ([7 / 10, 3 / 4, 3 / 5, 2 / 3], "Correct"),
    ],
)
def test_threshold_metric_answers_get_the_hint_that_fits(answer, hint):
    assert hint in checks.check_06_1(answer)


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.check_03_1, "stays", "rises"),
        (checks.check_04_1, "unusual", "same"),
        (checks.check_05_1, "hurts", "helps"),
    ],
)
def test_predictions_are_judged_and_anything_else_is_answered_kindly(check, right, wrong):
    assert check(right).startswith("Correct")
    assert check(wrong).startswith("Not yet")
    assert check(None).startswith("Still empty")
    assert "answer with one of" in check(42)


def test_an_interval_is_better_worse_or_cannot_tell():
    assert checks.check_06_3("better", 0.1, 0.2).startswith("Correct")
    assert checks.check_06_3("worse", -0.2, -0.1).startswith("Correct")
    assert checks.check_06_3("cannot tell", -0.1, 0.1).startswith("Correct")
    assert "Where does 0 lie" in checks.check_06_3("better", -0.1, 0.1)


def test_a_mixed_rule_must_beat_the_better_rule_and_may_not_use_the_labels():
    labels = np.array([0, 0, 1, 1, 0.0])
    good, coin = np.array([0.1, 0.2, 0.9, 0.8, 0.3]), np.zeros(5)
    assert checks.check_03_3(good, labels, 0.7).startswith("Correct")
    assert "does not beat" in checks.check_03_3(coin, labels, 0.7)
    assert "turned round" in checks.check_03_3(-good, labels, 0.7)
    assert "labels themselves" in checks.check_03_3(labels, labels, 0.7)
    assert "flatten" in checks.check_03_3(good[:, None], labels, 0.7)


def test_the_ten_highest_losses_are_told_from_lookalikes():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"sample_id": np.arange(50), "loss": rng.random(50), "gradient_norm": rng.random(50)}
    )
    assert checks.check_04_3(table.nlargest(10, "loss").sample_id, table).startswith("Correct")
    assert "turned round" in checks.check_04_3(table.nsmallest(10, "loss").sample_id, table)
    norm = table.nlargest(10, "gradient_norm").sample_id
    assert "gradient norms" in checks.check_04_3(norm, table)
    assert "ten different" in checks.check_04_3([1, 2, 3], table)


def own_model(*extra):
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Dense(4, "tanh"), *extra, keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((3,)), *parts])


def half_square(y, p):
    return 0.5 * (p[:, 0] - y) ** 2


OWN_X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
OWN_Y = np.float32([0, 1, 1, 0, 1, 0])


def own_gradients(model):
    return [naive_gradients(model, half_square, OWN_X, OWN_Y, row) for row in range(6)]


def verdict(norms, *, model=None, loss=half_square, y=OWN_Y):
    return checks.check_04_4(model or own_model(), loss, OWN_X, y, norms)


def test_norms_of_the_engine_and_of_the_loop_are_correct():
    model = own_model(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    for norms in (
        PerSampleGradients(model, half_square).norms(OWN_X, OWN_Y),
        naive_norms(model, half_square, OWN_X, OWN_Y),
    ):
        assert verdict(norms, model=model).startswith("Correct")
        assert verdict(norms.tolist(), model=model).startswith("Correct")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda g: [sum(np.sum(v**2) for v in row) for row in g], "take the root"),
        (lambda g: [sum(map(np.linalg.norm, row)) for row in g], "lengths added up"),
        (lambda g: np.linalg.norm(np.mean([np.r_[*map(np.ravel, r)] for r in g], 0)), "one number"),
        (
            lambda g: [np.linalg.norm(np.mean([np.r_[*map(np.ravel, r)] for r in g], 0))] * 6,
            "mean gradient",
        ),
        (lambda g: naive_norms(own_model(), half_square, OWN_X, OWN_Y) / 6, "divided by N"),
        (lambda g: [np.hypot(*map(np.linalg.norm, row[::2])) for row in g], "biases are left out"),
        (lambda g: naive_norms(own_model(), half_square, OWN_X, OWN_Y)[::-1], "another order"),
        (lambda g: np.ones(6), "the loop finds other numbers"),
        (lambda g: np.ones(5), "6 numbers"),
        (lambda g: np.ones((6, 1)), "flatten"),
        (lambda g: None, "Still empty"),
    ],
)
def test_each_wrong_norm_gets_the_hint_that_fits(wrong, hint):
    assert hint in verdict(wrong(own_gradients(own_model())))


@pytest.mark.parametrize(
    ("loss", "hint"),
    [
        (lambda y, p: tf.reduce_mean(half_square(y, p)), 'reduction="none"'),
        (keras.losses.MeanSquaredError(), 'reduction="none"'),
        (lambda y, p: (y - p) ** 2, "stretch to a table"),
        (lambda y, p: tf.reduce_mean((y - p) ** 2, axis=1), "stretch to a table"),
        (lambda y, p: tf.concat([p, p], axis=1), "one value a row"),
        (lambda y, p: -tf.nn.log_softmax(p[:, 0]), "average over the batch"),
        (lambda y, p: 1 / 0, "ZeroDivisionError"),
        ("mse", "not their names"),
    ],
)
def test_a_loss_that_no_row_has_alone_is_told_why(loss, hint):
    assert re.search(hint, verdict(np.ones(6), loss=loss))


def test_a_layer_that_averages_over_the_batch_is_named():
    model = own_model(keras.layers.Lambda(lambda h: h - tf.reduce_mean(h, axis=0)))
    flat = keras.Sequential([model, keras.layers.Reshape(())])
    square = lambda y, p: (y - p) ** 2  # noqa: E731
    assert "BatchNormalization" in verdict(np.ones(6), model=flat, loss=square)


def test_norms_taken_in_training_mode_are_suspected():
    model = own_model(keras.layers.BatchNormalization())
    assert "training=False" in verdict(np.ones(6), model=model)


def test_only_the_first_rows_go_through_the_loop():
    x, y = np.tile(OWN_X, (20, 1)), np.tile(OWN_Y, 20)
    norms = np.tile(naive_norms(own_model(), half_square, OWN_X, OWN_Y), 20)
    assert checks.check_04_4(own_model(), half_square, x, y, norms).startswith("Correct")
    assert "120 numbers" in checks.check_04_4(own_model(), half_square, x, y, norms[:60])


def test_the_best_action_under_noise_is_asked_by_name():
    study = pd.DataFrame(
        {"data": "20% flipped", "model": "mlp", "action": ["uniform", "drop"], "auc": [0.6, 0.7]}
    )
    assert checks.check_05_3("drop", study).startswith("Correct")
    assert "another action has 0.7000" in checks.check_05_3("uniform", study)
    assert "as it stands in the table" in checks.check_05_3("nonsense", study)
