"""Ends, sizes and types of the scores that hold without being looked at often."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
from small_samples import cut, small_samples

from helpers import importance
from helpers.backend import keras, tf
from helpers.importance import (
    GradientKernel,
    Logistic,
    RowGradients,
    conjugate_gradients,
    converged_logistic,
    exact_shapley,
    follow,
    goal_gradient,
    influence,
    influence_scores,
    input_saliency,
    last_activations,
    linear_datamodelling_score,
    logistic_leave_one_out,
    out_of_fold_losses,
    subset_correlations,
)
from helpers.importance.goals import batches, dense
from helpers.losses import squared_error_loss
from helpers.models import LADDER, Trainer


class Reached(Exception):
    """Raised by a stand-in, to show that what stands before it let the call through."""


def unit(dtype: str = "float32") -> keras.Model:
    """Return a one-unit model of three features with fixed weights."""
    model = keras.Sequential([keras.Input((3,), dtype=dtype), keras.layers.Dense(1, dtype=dtype)])
    model.set_weights([np.array([[0.5], [-1.0], [2.0]]), np.array([0.25])])
    return model


def some_rows(count: int = 12, goals: int = 3):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(count + goals, 3)), rng.normal(size=count + goals)
    return x[:count], y[:count], (x[count:], y[count:])


# ---------------------------------------------------------------- what every score shares


def test_no_score_shows_a_bar_unless_it_is_asked_for():
    shown = {
        name: inspect.signature(each).parameters["progress"].default
        for name, each in vars(importance).items()
        if callable(each) and "progress" in inspect.signature(each).parameters
    }
    assert len(shown) > 5
    assert not any(shown.values()), shown


def test_nothing_is_shown_while_scores_are_computed(capsys, monkeypatch):
    x, y, goal = some_rows(6)
    model, loss = unit("float64"), squared_error_loss
    at = [model.get_weights()]
    rows = {"dense": x.astype(np.float32)}
    labels = (y > 0).astype(np.float32)
    trainer = Trainer(LADDER["logistic"], rows, {}, batch_size=4)
    order = np.array([[0, 1], [2, 3]])
    importance.in_run_shapley(model, loss, x, y, goal, order, at * 2, 0.1)
    importance.tracin_scores(model, loss, x, y, goal, at, [0.1])
    influence_scores(model, loss, x, y, goal, l2=0.1)
    importance.early_gradient_norms(trainer, labels, seeds=(0,), updates=1)
    importance.gradient_norms(trainer.fit(labels, seed=0, updates=1), rows, labels)
    importance.out_of_fold_probabilities(trainer, labels, np.arange(6), folds=2, updates=1)
    follow(trainer, labels, seeds=[0], updates=1, looks=1)
    exact_shapley(lambda some: float(len(some)), 2)
    importance.leave_one_out(lambda some: float(len(some)), 2)
    logistic_leave_one_out(x, labels, (goal[0], (goal[1] > 0).astype(float)), l2=0.1)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""
    hidden: list[bool] = []
    monkeypatch.setattr(
        influence, "tqdm", lambda parts, *, disable, **_: hidden.append(disable) or parts
    )
    for progress in (False, True):
        influence_scores(model, loss, x, y, goal, l2=0.1, progress=progress)
    assert hidden == [True, False]


def test_a_model_is_asked_as_it_predicts_even_if_it_trains_by_default():
    class Loud(keras.layers.Layer):
        def call(self, x, training=True):
            return x * 100.0 if training else x

    loud, plain = unit(), unit()
    loud.add(Loud())
    x, y, _ = some_rows()
    for found, want in zip(
        *(goal_gradient(model, squared_error_loss, x, y) for model in (loud, plain)), strict=True
    ):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("sparse", [True, False])
def test_gradients_become_float64_and_rows_of_one_id_are_added_up(sparse):
    if sparse:
        gradient = tf.IndexedSlices(
            tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([2, 2]), tf.constant([4, 2])
        )
        want = np.array([[0, 0], [0, 0], [4, 6], [0, 0]], float)
    else:
        gradient = tf.constant([[1.0, 2.0]])
        want = np.array([[1.0, 2.0]])
    found = dense(gradient)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, want)


def test_rows_may_come_one_at_a_time():
    x, y, _ = some_rows(3)
    parts = list(batches(x, y, 1))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), x)
    assert [len(labels) for _, labels in parts] == [1, 1, 1]


def test_more_rows_than_a_pass_takes_are_each_looked_at_once():
    rng = np.random.default_rng(0)
    x = {"dense": rng.normal(size=(8192 + 5, 2)).astype(np.float32)}
    labels = (x["dense"][:, 0] > 0).astype(np.float32)
    fitted = Trainer(LADDER["logistic"], x, {}, batch_size=64).fit(labels, seed=0, updates=3)
    np.testing.assert_array_equal(last_activations(fitted, x), x["dense"].astype(np.float64))
    slope = np.linalg.norm(fitted.weights[0])
    want = np.abs(fitted.probabilities(x) - labels) * slope
    found = input_saliency(fitted, x, labels)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-7)


# ---------------------------------------------------------------- solving


def test_a_float32_models_influence_is_near_that_of_float64():
    x, y, goal = some_rows(40)
    exact, rough = (
        influence_scores(unit(kind), squared_error_loss, x, y, goal, l2=0.1)
        for kind in ("float64", "float32")
    )
    np.testing.assert_allclose(rough, exact, rtol=1e-2, atol=1e-3 * np.abs(exact).max())
    coarse = influence_scores(
        unit("float32"), squared_error_loss, x, y, goal, l2=0.1, tolerance=0.5
    )
    assert np.abs(coarse - exact).max() > 0.05 * np.abs(exact).max()


@pytest.mark.parametrize(("parameters", "most"), [(3, 30), (300, 2000)])
def test_a_solver_takes_ten_steps_a_parameter_but_no_more_than_2000(parameters, most):
    calls = []

    def turning(v):  # not symmetric: the directions never end
        calls.append(1)
        return v + 5 * np.roll(v, 1) - 5 * np.roll(v, -1)

    target = np.random.default_rng(0).normal(size=parameters)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=f"at most {most} steps"):
        conjugate_gradients(turning, target, tolerance=0.0)
    assert len(calls) <= most + 1


def test_a_solution_is_held_against_its_own_residual():
    def drifting(v, calls=[]):  # noqa: B006 - counts over the calls
        calls.append(1)
        return v * (1.0 if len(calls) < 2 else 1.1)

    with pytest.raises(ValueError, match="did not converge"):
        conjugate_gradients(drifting, np.ones(3))


# ---------------------------------------------------------------- written out gradients


def test_one_direction_is_enough_and_the_first_seed_is_0():
    x, y, _ = some_rows()
    model = unit()
    found = RowGradients(model, squared_error_loss, project=1)(x, y)
    assert found.shape == (12, 1)
    named = RowGradients(model, squared_error_loss, project=1, seed=0)(x, y)
    np.testing.assert_array_equal(found, named)


def test_exactly_4_gib_of_gradients_are_not_too_many():
    gradients = RowGradients(unit(), squared_error_loss, project=2**10)

    def stand_in(*_):
        raise Reached

    gradients._jacobian = stand_in
    rows = 2**20
    x, y = np.broadcast_to(np.zeros((1, 3)), (rows, 3)), np.broadcast_to(np.zeros(1), (rows,))
    with pytest.raises(Reached):
        gradients(x, y)
    more = np.broadcast_to(np.zeros((1, 3)), (rows + 1, 3))
    with pytest.raises(ValueError, match="more than 4 GiB"):
        gradients(more, np.broadcast_to(np.zeros(1), (rows + 1,)))


def test_the_kernel_is_in_float64_and_takes_outputs_without_a_column():
    x, y, goal = some_rows()
    flat = keras.Sequential([*unit().layers, keras.layers.Reshape(())])
    column = unit()
    found, want = (
        GradientKernel(model, squared_error_loss, x, y, goal).at(column.get_weights())
        for model in (flat, column)
    )
    for name in ("gram", "cross", "slopes", "bends", "goal_slopes"):
        assert getattr(want, name).dtype == np.float64
        np.testing.assert_allclose(getattr(found, name), getattr(want, name), rtol=1e-6)


# ---------------------------------------------------------------- judged by subsets


def test_a_correlation_is_the_same_whichever_side_is_the_claim():
    rng = np.random.default_rng(0)
    members, scores = rng.random((9, 6)) < 0.5, rng.normal(size=(6, 2))
    outcomes = rng.normal(size=(9, 2))
    found = subset_correlations(members, scores, outcomes)
    turned = subset_correlations(np.eye(9, dtype=bool), outcomes, members @ scores)
    np.testing.assert_allclose(found, turned, rtol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_two_subsets_agree_or_not(sign):
    outcomes = sign * np.array([[1.0], [2.0]])
    found = subset_correlations(np.eye(2, dtype=bool), np.array([[0.5], [3.0]]), outcomes)
    np.testing.assert_allclose(found, [sign], rtol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_interval_of_correlations_ends_at_one(sign):
    """With four subsets many draws order all of them rightly, some not: moved, they pass 1."""
    members = np.eye(4, dtype=bool)
    scores = np.array([[1.0], [2.0], [3.0], [4.0]])
    outcomes = sign * np.array([[1.0], [3.0], [2.0], [4.0]])
    found = linear_datamodelling_score(members, scores, outcomes, repeats=200)
    assert abs(found.estimate) == pytest.approx(0.8)
    assert found.high == 1 if sign == 1 else found.low == -1


@pytest.mark.parametrize("change", [{"repeats": 0}, {"level": 0.0}, {"level": 1.0}, {"few": 2}])
def test_an_interval_that_makes_no_sense_is_refused(change):
    rng = np.random.default_rng(0)
    few = change.pop("few", 12)
    members = np.stack([rng.permutation(6) < 3 for _ in range(few)])
    with pytest.raises(ValueError, match="at least 3 subsets, 1 repeat and a level between"):
        linear_datamodelling_score(
            members, rng.normal(size=(6, 2)), rng.normal(size=(few, 2)), **change
        )


# ---------------------------------------------------------------- trainings and games


def test_a_training_is_followed_three_times_over_300_updates_with_ten_looks(monkeypatch):
    rng = np.random.default_rng(0)
    x = {"dense": rng.normal(size=(8, 2)).astype(np.float32)}
    labels = (x["dense"][:, 0] > 0).astype(np.float32)
    seeds, way = [], Trainer.checkpoints

    def spy(self, labels, **options):
        seeds.append(options["seed"])
        return way(self, labels, **options)

    monkeypatch.setattr(Trainer, "checkpoints", spy)
    seen = follow(Trainer(LADDER["logistic"], x, {}, batch_size=8), labels)
    assert seeds == [0, 1, 2]
    assert seen.updates.tolist() == list(range(30, 301, 30))


def test_users_are_dealt_once_into_three_folds_of_300_updates(monkeypatch):
    x = {"dense": np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)}
    labels, users = (x["dense"][:, 0] > 0).astype(np.float32), np.arange(12) // 2
    taken, fit = [], Trainer.fit

    def spy(self, labels, **options):
        taken.append((options["seed"], options["updates"]))
        return fit(self, labels, **options)

    monkeypatch.setattr(Trainer, "fit", spy)
    trainer = Trainer(LADDER["logistic"], x, {}, batch_size=4)
    importance.out_of_fold_probabilities(trainer, labels, users)
    assert taken == [(0, 300)] * 3


@pytest.mark.parametrize(("updates", "looks", "at"), [(7, 3, [2, 5, 7]), (9, 2, [4, 9])])
def test_looks_are_taken_at_rounded_parts_of_the_updates(updates, looks, at):
    x = {"dense": np.float32([[0.0], [1.0]])}
    trainer = Trainer(LADDER["logistic"], x, {}, batch_size=2)
    seen = follow(trainer, np.float32([0, 1]), seeds=[0], updates=updates, looks=looks)
    assert seen.updates.tolist() == at


def test_certain_probabilities_have_a_finite_loss():
    found = out_of_fold_losses([1, 0, 1, 0], [0.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(found, [-np.log(1e-12)] * 2 + [0, 0], rtol=1e-4, atol=1e-11)


def test_twenty_players_are_valued_and_21_are_not():
    def stand_in(rows):
        raise Reached

    with pytest.raises(Reached):
        exact_shapley(stand_in, 20)
    with pytest.raises(ValueError, match=r"rows must be in \[1, 20\].*; got 21"):
        exact_shapley(stand_in, 21)
    assert exact_shapley(lambda rows: float(len(rows)), 1).tolist() == [1.0]


def test_the_table_is_numbered_through_wherever_its_rows_stand(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    samples = small_samples()
    samples = cut(samples, np.r_[samples.rows("test")[:4], samples.rows("train")[::300]])
    rows = samples.rows("train")
    assert rows[0] == 4
    trainer = Trainer(LADDER["linear"], samples.inputs(rows), samples.sizes, batch_size=8)
    fitted = trainer.fit(samples.labels(rows), seed=0, updates=2)
    sizes = {"early_updates": 1, "early_seeds": 1, "folds": 2, "fold_updates": 2}
    found = importance.importance_table(samples, fitted, **sizes)
    assert found.index.tolist() == list(range(len(rows)))
    assert found["sample_id"].tolist() == rows.tolist()


# ---------------------------------------------------------------- the converged fit


def test_a_fit_starts_at_zero_which_is_the_minimum_of_a_drawn_vote():
    fitted = converged_logistic(np.ones((2, 3)), np.array([0.0, 1.0]), 0.1)
    assert isinstance(fitted, Logistic)
    assert fitted.steps == 0
    assert not fitted.weights.any()


def test_the_slope_of_the_objective_is_its_difference():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 2)), rng.integers(0, 2, 9).astype(float)
    problem = importance.logistic._problem(x, y, l2=0.3)
    theta, step = rng.normal(size=3), 1e-6

    def objective(at):
        return problem.objective(at, problem.design @ at)

    want = [
        (objective(theta + step * e) - objective(theta - step * e)) / (2 * step) for e in np.eye(3)
    ]
    found = problem.gradient(theta, problem.design @ theta)
    np.testing.assert_allclose(found, want, rtol=1e-7)
    slopes = [
        problem.gradient(at, problem.design @ at)
        for at in itertools.chain(theta + step * np.eye(3), theta - step * np.eye(3))
    ]
    curved = (np.array(slopes[:3]) - slopes[3:]) / (2 * step)
    np.testing.assert_allclose(problem.hessian(problem.design @ theta), curved, rtol=1e-6)


def test_a_hessian_is_made_anew_where_a_step_leaves_more_than_three_tenths(monkeypatch):
    """Steps that leave more, and steps that leave less, are looked at over several penalties."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2)) * 3
    y = (x[:, 0] + rng.normal(size=40) > 0).astype(float)
    kind, events = importance.logistic._Problem, []
    gradient, hessian = kind.gradient, kind.hessian

    def see_gradient(self, theta, logits):
        found = gradient(self, theta, logits)
        events.append(float(np.linalg.norm(found)))
        return found

    def see_hessian(self, logits):
        events.append("anew")
        return hessian(self, logits)

    monkeypatch.setattr(kind, "gradient", see_gradient)
    monkeypatch.setattr(kind, "hessian", see_hessian)
    left = []
    for l2 in np.geomspace(1e-4, 1, 25):
        events.clear()
        converged_logistic(x, y, l2)
        norms = [place for place, event in enumerate(events) if event != "anew"]
        for before, here in itertools.pairwise(norms):
            share, anew = events[here] / events[before], "anew" in events[here : here + 2]
            left.append(share)
            assert anew == (share > 0.3 and events[here] > 1e-10)
    assert any(0.3 < share < 0.6 for share in left)
    assert any(0.15 < share < 0.3 for share in left)


def test_a_row_left_out_is_judged_by_the_mean_over_the_goal_rows():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 2)), rng.integers(0, 2, 9).astype(float)
    goal = (rng.normal(size=(4, 2)), np.array([0.0, 1.0, 1.0, 0.0]))
    whole, each = (
        logistic_leave_one_out(x, y, goal, l2=0.1, rows=np.array([2]), each=each)
        for each in (False, True)
    )
    np.testing.assert_allclose(whole, each.mean(axis=1), rtol=1e-12)
