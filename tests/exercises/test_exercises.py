"""Every stored exercise: the stub is told so, the solution passes; and exercise 4 of notebook 04.

The answers to all other exercises stand in ``wrong_answers.py``.
"""

from __future__ import annotations

import re

import nbformat
import numpy as np
import pytest

from helpers import exercises as checks
from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_gradients, naive_norms
from helpers.notebooks.execution import NOTEBOOKS
from helpers.notebooks.teaching import exercises

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


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_exercise_is_judged_by_the_check_of_its_number(page):
    number, notebook = page.name[:2], nbformat.read(page, as_version=4)
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    called = set(re.findall(rf"print\((check_{number}_\d+)\(", code))
    assert called == {n for n in checks.__all__ if n.startswith(f"check_{number}_")}
    if number != "00":
        assert called == {f"check_{number}_{k}" for k in exercises(notebook)}


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
        (lambda y, p: tf.concat([p, p], axis=1), "one value per row"),
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
