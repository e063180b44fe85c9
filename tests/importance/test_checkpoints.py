"""Scores along a training run: TracIn and in-run Shapley, against sums and subsets by hand."""

from __future__ import annotations

import numpy as np
import pytest
from small_samples import small_samples, train_rows

from helpers.backend import keras
from helpers.gradients import naive_gradients
from helpers.importance import (
    exact_shapley,
    goal_gradient,
    in_run_shapley,
    tracin_scores,
)
from helpers.importance.goals import flat_vector
from helpers.losses import cross_entropy_loss, squared_error_loss
from helpers.models import LADDER, Trainer, epoch_order, model_inputs

RATE = 0.1


def tiny(kind: str = "line"):
    """Return a float64 model and rows for it."""
    rng = np.random.default_rng(0)
    x, goal_x = rng.normal(size=(8, 2)), rng.normal(size=(5, 2))
    layers = [keras.layers.Dense(1, dtype="float64")]
    if kind == "network":
        layers = [keras.layers.Dense(3, "tanh", dtype="float64"), *layers]
    model = keras.Sequential([keras.Input((2,), dtype="float64"), *layers])
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    y, goal_y = (rng.integers(0, 2, size).astype(float) for size in (8, 5))
    return model, x, y, (goal_x, goal_y)


def step(model, loss, x, y, rows, size, rate):
    """Return the weights after one step of plain descent on these rows of a batch."""
    weights = [w.copy() for w in model.get_weights()]
    for row in rows:
        for w, g in zip(weights, naive_gradients(model, loss, x, y, int(row)), strict=True):
            w -= rate / size * g
    return weights


def trajectory(model, loss, x, y, order, rate):
    """Return the weights before each update, and those at the end."""
    kept = [[w.copy() for w in model.get_weights()]]
    for rows in order:
        model.set_weights(kept[-1])
        kept.append(step(model, loss, x, y, rows, len(rows), rate))
    model.set_weights(kept[0])
    return kept


def fall(model, loss, goal, start, end):
    """Return how far the goal's mean loss falls from one set of weights to another."""
    values = []
    for weights in (start, end):
        model.set_weights(weights)
        losses = loss(goal[1], model(goal[0], training=False))
        values.append(np.asarray(losses, np.float64).mean())
    model.set_weights(start)
    return values[0] - values[1]


def brute_force(model, loss, x, y, goal, order, kept, rate):
    """Return the sum over updates of the exact Shapley values of each batch."""
    total = np.zeros(len(x))
    for rows, weights in zip(order, kept, strict=False):
        model.set_weights(weights)

        def value(chosen, rows=rows, weights=weights):
            moved = step(model, loss, x, y, rows[chosen], len(rows), rate)
            return fall(model, loss, goal, weights, moved)

        np.add.at(total, rows, exact_shapley(value, len(rows)))
    model.set_weights(kept[0])
    return total


ORDER = np.array([[0, 1, 2, 3], [4, 5, 6, 0]])  # row 7 takes part in no update


def test_second_order_in_run_values_are_the_shapley_values_where_the_loss_is_quadratic():
    model, x, y, goal = tiny()
    kept = trajectory(model, squared_error_loss, x, y, ORDER, RATE)
    want = brute_force(model, squared_error_loss, x, y, goal, ORDER, kept, RATE)
    found = in_run_shapley(
        model, squared_error_loss, x, y, goal, ORDER, kept[:-1], RATE, second_order=True
    )
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)
    assert found[7] == 0
    whole = fall(model, squared_error_loss, goal, kept[0], kept[-1])
    np.testing.assert_allclose(found.sum(), whole, rtol=1e-9)


@pytest.mark.parametrize(("second_order", "power"), [(False, 1), (True, 2)])
def test_in_run_values_approach_the_shapley_values_of_a_network_as_steps_shrink(
    second_order, power
):
    model, x, y, goal = tiny("network")
    errors = []
    for rate in (0.02, 0.01):
        kept = trajectory(model, cross_entropy_loss, x, y, ORDER, rate)
        want = brute_force(model, cross_entropy_loss, x, y, goal, ORDER, kept, rate)
        found = in_run_shapley(
            model, cross_entropy_loss, x, y, goal, ORDER, kept[:-1], rate, second_order=second_order
        )
        errors.append(np.abs(found - want).max() / rate)
    np.testing.assert_allclose(errors[0] / errors[1], 2**power, rtol=0.05)


def test_a_row_that_is_in_a_batch_twice_counts_twice():
    model, x, y, goal = tiny()
    at = [model.get_weights()]
    once = in_run_shapley(model, squared_error_loss, x, y, goal, np.array([[0, 1]]), at, RATE)
    twice = in_run_shapley(model, squared_error_loss, x, y, goal, np.array([[0, 0]]), at, RATE)
    np.testing.assert_allclose(twice[0], 2 * once[0], rtol=1e-12)


def test_in_run_values_sum_the_real_updates_of_a_trainer():
    inputs, labels, _ = train_rows(60)
    samples = small_samples()
    rows = samples.rows("attribution")[:50]
    trainer = Trainer(LADDER["linear"], inputs, samples.sizes, batch_size=6)
    order = epoch_order(np.arange(60), updates=15, batch_size=6, rng=np.random.default_rng(0))
    kept = trainer.checkpoints(labels, seed=0, order=order, at=range(16))
    model = kept[0].model
    goal = model_inputs(model, samples.inputs(rows)), samples.labels(rows)
    x, loss = model_inputs(model, inputs), trainer.kind.loss
    before = [fitted.weights for fitted in kept[:-1]]
    rate = trainer.kind.learning_rate
    found = in_run_shapley(model, loss, x, labels, goal, order, before, rate, second_order=True)
    whole = fall(model, loss, goal, kept[0].weights, kept[-1].weights)
    np.testing.assert_allclose(found.sum(), whole, rtol=1e-3)


def test_tracin_is_the_sum_of_products_of_single_gradients():
    model, x, y, goal = tiny("network")
    start = model.get_weights()
    kept, rates = trajectory(model, cross_entropy_loss, x, y, ORDER, 0.5), [0.5, 0.1, 0.2]
    want = np.zeros((len(x), len(goal[1])))
    for weights, rate in zip(kept, rates, strict=True):
        model.set_weights(weights)
        rows, goals = (
            np.stack([flat_vector(naive_gradients(model, cross_entropy_loss, *part, row))
                      for row in range(len(part[1]))])
            for part in ((x, y), goal)
        )  # fmt: skip
        want += rate * rows @ goals.T
    model.set_weights(start)
    for each, expected in ((True, want), (False, want.mean(axis=1))):
        found = tracin_scores(model, cross_entropy_loss, x, y, goal, kept, rates, each=each)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    for after, before in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(after, before)


def test_tracin_at_every_step_of_full_batches_is_the_first_order_in_run_value():
    model, x, y, goal = tiny("network")
    order = np.tile(np.arange(8), (3, 1))
    kept = trajectory(model, cross_entropy_loss, x, y, order, RATE)[:-1]
    run = in_run_shapley(model, cross_entropy_loss, x, y, goal, order, kept, RATE)
    traced = tracin_scores(model, cross_entropy_loss, x, y, goal, kept, [RATE] * 3)
    np.testing.assert_allclose(run, traced / 8, rtol=1e-12)


def test_a_positive_score_is_a_row_whose_step_lowers_the_goals_loss():
    model, x, y, goal = tiny("network")
    start = model.get_weights()
    scores = tracin_scores(model, cross_entropy_loss, x, y, goal, [start], [1.0])
    for row in range(len(x)):
        moved = step(model, cross_entropy_loss, x, y, [row], 1, 1e-5)
        assert np.sign(fall(model, cross_entropy_loss, goal, start, moved)) == np.sign(scores[row])


def test_scores_follow_their_rows_and_equal_rows_score_alike():
    model, x, y, goal = tiny("network")
    x, y = np.concatenate([x, x[:1]]), np.append(y, y[0])
    at, places = [model.get_weights()], np.random.default_rng(0).permutation(9)
    whole = tracin_scores(model, cross_entropy_loss, x, y, goal, at, [1.0])
    moved = tracin_scores(model, cross_entropy_loss, x[places], y[places], goal, at, [1.0])
    np.testing.assert_allclose(moved, whole[places], rtol=1e-12)
    np.testing.assert_allclose(whole[0], whole[-1], rtol=1e-12)


# ---------------------------------------------------------------- the trainer's checkpoints


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_checkpoints_lie_on_the_way_of_the_plain_fit(kind):
    inputs, labels, _ = train_rows(64)
    sizes = small_samples().sizes
    trainer = Trainer(LADDER[kind], inputs, sizes, batch_size=16)
    order = epoch_order(np.arange(64), updates=9, batch_size=16, rng=np.random.default_rng(0))
    weight = np.linspace(0, 2, 64)
    kept = trainer.checkpoints(labels, seed=3, order=order, at=[0, 4, 9], sample_weight=weight)
    for fitted, updates in ((kept[1], 4), (kept[2], 9)):
        whole = trainer.fit(labels, seed=3, order=order[:updates], sample_weight=weight)
        for one, other in zip(fitted.weights, whole.weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    fresh = trainer.kind.build(inputs["dense"].shape[1], sizes, 3)
    for one, other in zip(kept[0].weights, fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [len(fitted.history) for fitted in kept] == [0, 1, 1]


@pytest.mark.parametrize("at", [[], [2, 1], [1, 1], [-1], [3]])
def test_checkpoints_outside_the_order_are_refused(at):
    trainer = Trainer(LADDER["linear"], {"dense": np.ones((4, 1))}, {}, batch_size=2)
    with pytest.raises(ValueError, match="rising numbers of updates from 0 to 2"):
        trainer.checkpoints(np.ones(4), seed=0, order=np.zeros((2, 2)), at=at)


def test_scores_without_fitting_checkpoints_are_refused():
    model, x, y, goal = tiny()
    at = [model.get_weights()]
    with pytest.raises(ValueError, match="one learning rate for each; got 1 and 2"):
        tracin_scores(model, squared_error_loss, x, y, goal, at, [1.0, 1.0])
    with pytest.raises(ValueError, match="at least one checkpoint"):
        tracin_scores(model, squared_error_loss, x, y, goal, [], [])
    with pytest.raises(ValueError, match="weights before each update"):
        in_run_shapley(model, squared_error_loss, x, y, goal, ORDER, at, RATE)


def test_the_weights_come_back_after_a_fault():
    model, x, y, goal = tiny()
    start = model.get_weights()
    with pytest.raises(ValueError, match="same number of rows"):
        tracin_scores(model, squared_error_loss, x, y[:-1], goal, [[w + 1 for w in start]], [1.0])
    for after, before in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(after, before)
    assert len(goal_gradient(model, squared_error_loss, x, y)) == 2
