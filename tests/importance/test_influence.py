"""Influence scores equal closed forms and refits, and refuse where they would mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from small_samples import small_samples, train_rows

from helpers.backend import keras
from helpers.gradients import naive_gradients
from helpers.importance import (
    Curvature,
    as_float64,
    conjugate_gradients,
    converged_logistic,
    goal_gradient,
    influence_scores,
    logistic_influence,
    logistic_leave_one_out,
)
from helpers.importance.goals import flat_vector, shaped
from helpers.losses import cross_entropy_loss, squared_error_loss
from helpers.models import LADDER, model_inputs

L2 = 0.05


def one_unit(weights: np.ndarray) -> keras.Model:
    """Return a one-unit model in float64 with these weights, bias last."""
    model = keras.Sequential(
        [keras.Input((len(weights) - 1,), dtype="float64"), keras.layers.Dense(1, dtype="float64")]
    )
    model.set_weights([weights[:-1, None], weights[-1:]])
    return model


def problem(rows: int = 30, features: int = 4, goals: int = 6, seed: int = 0):
    """Return training rows and goal rows of a noisy line."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows + goals, features))
    y = x @ rng.normal(size=features) + 0.3 + rng.normal(size=rows + goals)
    return x[:rows], y[:rows], (x[rows:], y[rows:])


def ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Return the minimum of 1/n sum w (y - p)^2 / 2 + l2/2 ||theta||^2, bias last."""
    a = np.column_stack([x, np.ones(len(x))])
    share = (np.ones(len(x)) if weight is None else weight) / len(x)
    return np.linalg.solve(a.T @ (share[:, None] * a) + L2 * np.eye(a.shape[1]), a.T @ (share * y))


@pytest.fixture(scope="module")
def linear():
    x, y, goal = problem()
    return one_unit(ridge(x, y)), x, y, goal


def small_network(seed: int = 0) -> keras.Model:
    layers = [
        keras.layers.Dense(5, "tanh", dtype="float64"),
        keras.layers.Dense(1, dtype="float64"),
    ]
    model = keras.Sequential([keras.Input((3,), dtype="float64"), *layers])
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def single_gradients(model, loss, x, y) -> np.ndarray:
    """Return each row's gradient as one vector, by one tape a row."""
    rows = range(len(y))
    return np.stack([flat_vector(naive_gradients(model, loss, x, y, row)) for row in rows])


# ---------------------------------------------------------------- closed forms


def test_influence_of_ridge_regression_is_its_closed_form(linear):
    model, x, y, goal = linear
    a, b = (np.column_stack([part, np.ones(len(part))]) for part in (x, goal[0]))
    theta = ridge(x, y)
    pull = a * (a @ theta - y)[:, None]
    hessian = a.T @ a / len(a) + L2 * np.eye(a.shape[1])
    want = pull @ np.linalg.solve(hessian, (b * (b @ theta - goal[1])[:, None]).T) / len(a)
    found = influence_scores(model, squared_error_loss, x, y, goal, l2=L2, each=True)
    np.testing.assert_allclose(found, want, rtol=1e-7, atol=1e-12)
    whole = influence_scores(model, squared_error_loss, x, y, goal, l2=L2)
    np.testing.assert_allclose(whole, want.mean(axis=1), rtol=1e-7, atol=1e-12)


def test_leaving_a_row_out_of_ridge_regression_is_influence_over_one_minus_leverage(linear):
    model, x, y, goal = linear
    a, b = (np.column_stack([part, np.ones(len(part))]) for part in (x, goal[0]))
    hessian = a.T @ a / len(a) + L2 * np.eye(a.shape[1])
    leverage = np.einsum("ij,ji->i", a, np.linalg.solve(hessian, a.T)) / len(a)
    change = np.empty((len(x), len(b)))  # of the goal's predictions, which are linear in theta
    for row in range(len(x)):
        weight = np.ones(len(x))
        weight[row] = 0
        change[row] = b @ (ridge(x, y, weight) - ridge(x, y))
    errors = b @ ridge(x, y) - goal[1]
    found = influence_scores(model, squared_error_loss, x, y, goal, l2=L2, each=True)
    np.testing.assert_allclose(found / (1 - leverage)[:, None], change * errors, rtol=1e-7)


def test_influence_is_the_slope_of_the_goal_along_a_rows_weight():
    x, y, goal = problem(seed=3)
    y, goal = (y > 0).astype(float), (goal[0], (goal[1] > 0).astype(float))
    fitted, step = converged_logistic(x, y, L2), 1e-4
    found = influence_scores(
        one_unit(fitted.weights), cross_entropy_loss, x, y, goal, l2=L2, each=True
    )
    for row in (0, 7, 29):
        sides = []
        for sign in (1, -1):
            weight = np.ones(len(x))
            weight[row] += sign * step
            moved = converged_logistic(x, y, L2, sample_weight=weight, start=fitted.weights)
            sides.append(moved.losses(*goal))
        # More weight is the opposite of removal.
        np.testing.assert_allclose(found[row], -(sides[0] - sides[1]) / (2 * step), rtol=1e-5)


def test_influence_ranks_rows_of_the_log_like_refitting_without_each():
    inputs, labels, _ = train_rows(500)
    samples = small_samples()
    rows = samples.rows("attribution")[::4]
    goal = samples.inputs(rows)["dense"].astype(float), samples.labels(rows).astype(float)
    x, y = inputs["dense"].astype(float), labels.astype(float)
    fitted = converged_logistic(x, y, 0.01)
    scores = influence_scores(one_unit(fitted.weights), cross_entropy_loss, x, y, goal, l2=0.01)
    truth = logistic_leave_one_out(x, y, goal, l2=0.01)
    assert spearmanr(scores, truth).statistic > 0.99
    # Much of what is missing is the row's own leverage: its share of the curvature leaves too.
    a = np.column_stack([x, np.ones(len(x))])
    bend = fitted_bend(fitted, x)
    hessian = a.T @ (bend[:, None] * a) / len(a) + 0.01 * np.eye(a.shape[1])
    leverage = bend * np.einsum("ij,ji->i", a, np.linalg.solve(hessian, a.T)) / len(a)
    nearer = np.abs(scores / (1 - leverage) - truth).mean() / np.abs(scores - truth).mean()
    assert nearer < 0.75


def fitted_bend(fitted, x):
    """Return p (1 - p), how much each row's loss curves in its logit."""
    p = 1 / (1 + np.exp(-fitted.logits(x)))
    return p * (1 - p)


# ---------------------------------------------------------------- products with the curvature


def test_hessian_products_are_differences_of_gradients():
    model, rng = small_network(), np.random.default_rng(1)
    x, y = rng.normal(size=(7, 3)), rng.integers(0, 2, 7).astype(float)
    curvature = Curvature(model, cross_entropy_loss, x, y, l2=0.3, damping=0.1, batch_size=3)
    theta = flat_vector(model.get_weights())
    v, step = rng.normal(size=len(theta)), 1e-5
    sides = []
    for sign in (1, -1):
        model.set_weights(shaped(theta + sign * step * v, model))
        sides.append(flat_vector(goal_gradient(model, cross_entropy_loss, x, y)))
    model.set_weights(shaped(theta, model))
    want = (sides[0] - sides[1]) / (2 * step) + 0.4 * v
    np.testing.assert_allclose(curvature(v), want, rtol=1e-6, atol=1e-8)


def test_gauss_newton_products_are_those_of_the_written_out_matrix():
    model, rng = small_network(), np.random.default_rng(2)
    x, y = rng.normal(size=(7, 3)), rng.integers(0, 2, 7).astype(float)
    output = lambda y, z: z[:, 0] + 0 * y  # noqa: E731
    jacobian = np.stack(
        [flat_vector(naive_gradients(model, output, x, y, row)) for row in range(7)]
    )
    p = 1 / (1 + np.exp(-model(x).numpy()[:, 0]))
    want = jacobian.T @ ((p * (1 - p))[:, None] * jacobian) / 7
    curvature = Curvature(model, cross_entropy_loss, x, y, kind="gauss_newton", batch_size=4)
    found = np.stack([curvature(unit) for unit in np.eye(len(want))])
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["hessian", "gauss_newton"])
def test_products_of_the_network_with_embeddings_are_symmetric_and_those_of_a_copy_in_float64(kind):
    inputs, labels, _ = train_rows(40)
    model = LADDER["mlp"].build(inputs["dense"].shape[1], small_samples().sizes, 0)
    x, rng = model_inputs(model, inputs), np.random.default_rng(0)
    single = Curvature(model, cross_entropy_loss, x, labels, kind=kind)
    double = Curvature(as_float64(model), cross_entropy_loss, x, labels, kind=kind, batch_size=7)
    u, v = rng.normal(size=(2, model.count_params()))
    np.testing.assert_allclose(u @ double(v), v @ double(u), rtol=1e-10)
    np.testing.assert_allclose(single(v), double(v), rtol=1e-3, atol=1e-5 * np.abs(double(v)).max())
    if kind == "gauss_newton":
        assert v @ double(v) > 0


def test_both_curvatures_agree_where_the_output_is_linear_in_the_weights(linear):
    model, x, y, _ = linear
    v = np.random.default_rng(0).normal(size=5)
    one, other = (Curvature(model, squared_error_loss, x, y, kind=kind)(v)
                  for kind in ("hessian", "gauss_newton"))  # fmt: skip
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_gauss_newton_of_a_network_scores_like_the_written_out_solution():
    model, rng = small_network(), np.random.default_rng(5)
    x, y = rng.normal(size=(12, 3)), rng.integers(0, 2, 12).astype(float)
    goal = rng.normal(size=(3, 3)), np.array([1.0, 0.0, 1.0])
    curvature = Curvature(model, cross_entropy_loss, x, y, kind="gauss_newton", damping=0.2)
    matrix = np.stack([curvature(unit) for unit in np.eye(model.count_params())])
    pull = single_gradients(model, cross_entropy_loss, x, y)
    slope = flat_vector(goal_gradient(model, cross_entropy_loss, *goal))
    found = influence_scores(
        model, cross_entropy_loss, x, y, goal, curvature="gauss_newton", damping=0.2
    )
    np.testing.assert_allclose(found, pull @ np.linalg.solve(matrix, slope) / 12, rtol=1e-6)


# ---------------------------------------------------------------- properties


def test_scores_follow_their_rows_and_equal_rows_score_alike(linear):
    _, x, y, goal = linear
    x, y = np.concatenate([x, x[:1]]), np.append(y, y[0])
    model = one_unit(ridge(x, y))
    scores = influence_scores(model, squared_error_loss, x, y, goal, l2=L2)
    np.testing.assert_allclose(scores[0], scores[-1], rtol=1e-12)
    places = np.random.default_rng(0).permutation(len(x))
    moved = influence_scores(model, squared_error_loss, x[places], y[places], goal, l2=L2)
    np.testing.assert_allclose(moved, scores[places], rtol=1e-6, atol=1e-12)


def test_removing_the_rows_with_negative_scores_lowers_the_goals_loss():
    x, y, goal = problem(rows=200, goals=100, seed=1)
    y, goal = (y > 0).astype(float), (goal[0], (goal[1] > 0).astype(float))
    y[:20] = 1 - y[:20]
    fitted = converged_logistic(x, y, L2)
    scores = influence_scores(one_unit(fitted.weights), cross_entropy_loss, x, y, goal, l2=L2)
    before = fitted.losses(*goal).mean()
    for rows, sign in ((np.argsort(scores)[:20], -1), (np.argsort(scores)[-20:], 1)):
        weight = np.ones(len(x))
        weight[rows] = 0
        after = converged_logistic(x, y, L2, sample_weight=weight).losses(*goal).mean()
        assert np.sign(after - before) == sign
    assert scores[:20].mean() < 0 < scores[20:].mean()


def test_a_goals_gradient_does_not_depend_on_the_batch():
    inputs, labels, _ = train_rows(30)
    model = LADDER["mlp"].build(inputs["dense"].shape[1], small_samples().sizes, 0)
    x = model_inputs(model, inputs)
    whole, parts = (goal_gradient(model, cross_entropy_loss, x, labels, batch_size=size)
                    for size in (30, 7))  # fmt: skip
    np.testing.assert_allclose(flat_vector(parts), flat_vector(whole), rtol=1e-3, atol=1e-7)
    single = [
        flat_vector(naive_gradients(model, cross_entropy_loss, x, labels, r)) for r in range(30)
    ]
    np.testing.assert_allclose(flat_vector(whole), np.mean(single, axis=0), rtol=1e-3, atol=1e-7)


# ---------------------------------------------------------------- refusals


def test_negative_curvature_is_refused_in_plain_words():
    model, rng = small_network(), np.random.default_rng(1)
    x, y = rng.normal(size=(7, 3)), rng.integers(0, 2, 7).astype(float)
    with pytest.raises(ValueError, match="not positive: the model is at no minimum"):
        influence_scores(model, cross_entropy_loss, x, y, (x, 1 - y))


def test_a_solver_that_is_stopped_early_is_refused():
    x, y, goal = problem()
    with pytest.raises(ValueError, match="did not converge: after at most 2 steps"):
        influence_scores(one_unit(ridge(x, y)), squared_error_loss, x, y, goal, l2=L2, max_steps=2)


def test_conjugate_gradients_solve_a_system_in_as_many_steps_as_it_has_eigenvalues():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    matrix = basis @ np.diag([1.0, 2.0, 4.0] * 3) @ basis.T
    calls, target = [], rng.normal(size=9)
    found = conjugate_gradients(lambda v: calls.append(v) or matrix @ v, target)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-8)
    assert len(calls) == 4  # three, and the check of the result
    assert not conjugate_gradients(lambda v: v, np.zeros(3)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "fisher"}, "kind must be one of hessian, gauss_newton; got 'fisher'"),
        ({"l2": -1.0}, "l2 must be finite and not negative"),
        ({"damping": np.nan}, "damping must be finite"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_a_curvature_that_makes_no_sense_is_refused(linear, options, message):
    model, x, y, _ = linear
    with pytest.raises(ValueError, match=message):
        Curvature(model, squared_error_loss, x, y, **options)
    with pytest.raises(ValueError, match=r"must have shape \(5,\)"):
        Curvature(model, squared_error_loss, x, y)(np.ones(4))


def test_the_written_out_influence_of_a_logistic_regression_is_the_solved_one():
    x, y, (goal_x, goal_y) = problem(rows=60)
    y, goal = (y > 0).astype(float), (goal_x, (goal_y > 0).astype(float))
    found = logistic_influence(x, y, goal, l2=L2)
    model = one_unit(converged_logistic(x, y, L2).weights)
    want = influence_scores(model, cross_entropy_loss, x, y, goal, l2=L2)
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-12)
    assert spearmanr(found, logistic_leave_one_out(x, y, goal, l2=L2)).statistic > 0.99
