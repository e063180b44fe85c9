"""Leaving rows out: exact Shapley values and their axioms, a fit that converges, neighbours."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import minimize

from helpers.importance import (
    converged_logistic,
    exact_shapley,
    knn_shapley,
    leave_one_out,
    logistic_leave_one_out,
)


def random_game(rows: int, seed: int):
    """Return a value for every subset, as a function."""
    values = np.random.default_rng(seed).normal(size=2**rows)
    return lambda chosen: float(values[int((2 ** np.asarray(chosen, int)).sum())])


# ---------------------------------------------------------------- Shapley values and the axioms


def test_exact_shapley_is_the_mean_over_all_orders_of_what_a_row_adds():
    value, want = random_game(5, 0), np.zeros(5)
    for order in permutations(range(5)):
        for place, row in enumerate(order):
            before = np.sort(np.array(order[:place], int))
            want[row] += value(np.append(before, row)) - value(before)
    np.testing.assert_allclose(exact_shapley(value, 5), want / 120, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_efficiency_the_values_add_up_to_the_whole(seed):
    value = random_game(12, seed)
    want = value(np.arange(12)) - value(np.arange(0))
    np.testing.assert_allclose(exact_shapley(value, 12).sum(), want, rtol=1e-9)


def test_symmetry_rows_that_add_the_same_get_the_same():
    game = random_game(6, 1)

    def value(rows):  # rows 0 and 1 are one and the same
        twins = int(0 in rows) + int(1 in rows)
        return game(np.array([r for r in rows if r > 1], int)) + twins**2 * (1 + len(rows))

    found = exact_shapley(value, 6)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_null_player_a_row_that_adds_nothing_gets_nothing():
    game = random_game(6, 2)
    found = exact_shapley(lambda rows: game(rows[rows != 3]), 6)
    assert abs(found[3]) < 1e-14
    assert np.abs(np.delete(found, 3)).min() > 1e-3


def test_additivity_values_of_a_sum_are_sums_of_values():
    one, other = random_game(7, 3), random_game(7, 4)
    both = exact_shapley(lambda rows: 2 * one(rows) + other(rows), 7)
    np.testing.assert_allclose(both, 2 * exact_shapley(one, 7) + exact_shapley(other, 7))


def test_leave_one_out_is_the_last_step_of_every_order():
    value = random_game(5, 5)
    want = [
        value(np.arange(5)) - value(np.array([r for r in range(5) if r != i])) for i in range(5)
    ]
    np.testing.assert_allclose(leave_one_out(value, 5), want, rtol=1e-15)


@pytest.mark.parametrize("rows", [0, 21])
def test_too_many_or_no_players_are_refused(rows):
    with pytest.raises(ValueError, match=rf"rows must be in \[1, 20\].*got {rows}"):
        exact_shapley(lambda chosen: 0.0, rows)


def test_values_that_are_no_numbers_are_refused():
    for score in (exact_shapley, leave_one_out):
        with pytest.raises(ValueError, match="must be finite; got nan"):
            score(lambda rows: np.nan, 2)
    with pytest.raises(ValueError, match="at least one row"):
        leave_one_out(lambda rows: 0.0, 0)


# ---------------------------------------------------------------- nearest neighbours


def votes(points, labels, goal, goal_labels, k):
    """Return the value function of the vote, written out."""

    def value(rows):
        total = 0.0
        for point, label in zip(goal, goal_labels, strict=True):
            near = np.argsort(((points[rows] - point) ** 2).sum(axis=1), kind="stable")[:k]
            total += (labels[rows][near] == label).sum() / k
        return total / len(goal)

    return value


@pytest.mark.parametrize("k", [1, 3, 8, 20])
@pytest.mark.parametrize("block", [1, 64])
def test_neighbour_values_are_the_exact_shapley_values_of_the_vote(k, block):
    rng = np.random.default_rng(k)
    points, goal = rng.normal(size=(8, 3)), rng.normal(size=(5, 3))
    labels, goal_labels = rng.integers(0, 3, 8), rng.integers(0, 3, 5)
    value = votes(points, labels, goal, goal_labels, k)
    found = knn_shapley(points, labels, goal, goal_labels, k=k, block=block)
    np.testing.assert_allclose(found, exact_shapley(value, 8), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.sum(), value(np.arange(8)), rtol=1e-12)


def test_neighbour_values_follow_their_rows_and_equal_rows_score_alike():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    points, labels = np.concatenate([points, points[:1]]), np.append(labels, labels[0])
    goal, goal_labels = rng.normal(size=(9, 2)), rng.integers(0, 2, 9)
    whole = knn_shapley(points, labels, goal, goal_labels, k=4)
    np.testing.assert_allclose(whole[0], whole[-1], rtol=1e-12)
    places = rng.permutation(41)
    moved = knn_shapley(points[places], labels[places], goal, goal_labels, k=4)
    np.testing.assert_allclose(moved, whole[places], rtol=1e-12)


def test_wrong_labels_among_two_clouds_have_the_lowest_neighbour_values():
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(-3, 1, (50, 2)), rng.normal(3, 1, (50, 2))])
    truth = np.repeat([0, 1], 50)
    labels = truth.copy()
    labels[[3, 60, 77]] = 1 - labels[[3, 60, 77]]
    goal = np.concatenate([rng.normal(-3, 1, (20, 2)), rng.normal(3, 1, (20, 2))])
    found = knn_shapley(points, labels, goal, np.repeat([0, 1], 20), k=5)
    assert set(np.argsort(found)[:3]) == {3, 60, 77}
    assert (found[[3, 60, 77]] < 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.ones(4)}, r"points must have shape \(n, d\)"),
        ({"goal_labels": np.ones(3)}, "goal_points must have shape"),
        ({"goal_points": np.ones((2, 3))}, "the same columns; got 2 and 3"),
        ({"points": np.full((4, 2), np.nan)}, "points must be finite"),
        ({"k": 0}, "k and block must be at least 1; got 0"),
    ],
)
def test_neighbours_that_make_no_sense_are_refused(change, message):
    given = {
        "points": np.ones((4, 2)), "labels": np.ones(4),
        "goal_points": np.ones((2, 2)), "goal_labels": np.ones(2),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        knn_shapley(**{**given, **change})


# ---------------------------------------------------------------- the converged logistic regression


def labelled(rows: int = 60, features: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    return x, (x[:, 0] + rng.normal(size=rows) > 0).astype(float)


def test_newton_finds_the_minimum_that_a_general_optimizer_finds():
    x, y = labelled()
    weight = np.random.default_rng(1).uniform(0, 2, len(x))

    def objective(theta):
        z = x @ theta[:-1] + theta[-1]
        losses = np.logaddexp(0, (1 - 2 * y) * z)
        return (weight * losses).sum() / len(x) + 0.02 / 2 * theta @ theta

    want = minimize(objective, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    found = converged_logistic(x, y, 0.02, sample_weight=weight)
    np.testing.assert_allclose(found.weights, want.x, rtol=1e-4, atol=1e-6)
    assert found.gradient_norm <= 1e-10
    assert objective(found.weights) <= want.fun + 1e-14


def test_separable_labels_and_far_starts_converge_too():
    x = np.array([[-1.0], [1.0]])
    y = np.array([0.0, 1.0])
    near = converged_logistic(x, y, 1e-4)
    far = converged_logistic(x, y, 1e-4, start=np.array([-80.0, 50.0]))
    np.testing.assert_allclose(far.weights, near.weights, rtol=1e-6, atol=1e-8)


def test_a_row_of_weight_zero_is_no_row_but_for_the_share():
    x, y = labelled()
    weight = np.ones(60)
    weight[5] = 0
    left_out = converged_logistic(x, y, 0.02, sample_weight=weight)
    # The objective times 60/59: the penalty must grow alike.
    gone = converged_logistic(np.delete(x, 5, 0), np.delete(y, 5), 0.02 * 60 / 59)
    np.testing.assert_allclose(left_out.weights, gone.weights, rtol=1e-8)


def test_leaving_out_is_warm_started_and_equals_fits_from_nothing():
    x, y = labelled()
    goal = labelled(20, seed=1)
    found = logistic_leave_one_out(x, y, goal, l2=0.02, each=True, rows=np.array([4, 9]))
    whole = converged_logistic(x, y, 0.02).losses(*goal)
    for place, row in enumerate((4, 9)):
        weight = np.ones(60)
        weight[row] = 0
        again = converged_logistic(x, y, 0.02, sample_weight=weight).losses(*goal)
        np.testing.assert_allclose(found[place], again - whole, rtol=1e-6, atol=1e-12)
    mean = logistic_leave_one_out(x, y, goal, l2=0.02)
    assert mean.shape == (60,)
    np.testing.assert_allclose(mean[[4, 9]], found.mean(axis=1), rtol=1e-9)

    def value(rows):
        weight = np.zeros(60)
        weight[rows] = 1
        return -converged_logistic(x, y, 0.02, sample_weight=weight).losses(*goal).mean()

    np.testing.assert_allclose(leave_one_out(value, 60), mean, rtol=1e-5, atol=1e-11)


def test_the_shapley_values_of_ten_rows_find_the_wrong_label():
    x, y = labelled(10, seed=3)
    y = (x[:, 0] > 0).astype(float)
    wrong = int(np.argmax(np.abs(x[:, 0])))
    y[wrong] = 1 - y[wrong]
    goal = labelled(60, seed=4)

    def value(rows):
        weight = np.zeros(10)
        weight[rows] = 1
        return -converged_logistic(x, y, 0.1, sample_weight=weight).losses(*goal).mean()

    found = exact_shapley(value, 10)
    assert int(np.argmin(found)) == wrong
    assert found[wrong] < 0
    np.testing.assert_allclose(found.sum(), value(np.arange(10)) - -np.log(2), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": 0.0}, "l2 must be above 0"),
        ({"y": np.ones(3)}, r"x must have shape \(n, d\) and y \(n,\)"),
        ({"sample_weight": -np.ones(60)}, "none of them negative"),
        ({"max_steps": 1}, "did not converge: the gradient norm is"),
    ],
)
def test_a_fit_that_makes_no_sense_is_refused(options, message):
    x, y = labelled()
    with pytest.raises(ValueError, match=message):
        converged_logistic(**{"x": x, "y": y, "l2": 0.1, **options})
