"""Written out gradients, the kernel made of them, and the judgement by random halves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from small_samples import small_samples, train_rows

from helpers.backend import keras
from helpers.gradients import naive_gradients
from helpers.importance import (
    GradientKernel,
    RowGradients,
    draw_subsets,
    in_run_shapley,
    influence_scores,
    knn_shapley,
    linear_datamodelling_score,
    subset_correlations,
    tracin_scores,
)
from helpers.importance.goals import flat_vector
from helpers.losses import cross_entropy_loss, squared_error_loss
from helpers.models import LADDER, model_inputs


def network(outputs: int = 1) -> keras.Model:
    hidden = keras.layers.Dense(6, "tanh", dtype="float64")
    output = keras.layers.Dense(outputs, dtype="float64")
    model = keras.Sequential([keras.Input((3,), dtype="float64"), hidden, output])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def rows(count: int = 14, goals: int = 4):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(count + goals, 3)), rng.integers(0, 2, count + goals).astype(float)
    return x[:count], y[:count], (x[count:], y[count:])


# ---------------------------------------------------------------- written out gradients


@pytest.mark.parametrize("size", [5, 64])
def test_written_out_gradients_are_those_of_one_tape_a_row(size):
    inputs, labels, _ = train_rows(10)
    model = LADDER["mlp"].build(inputs["dense"].shape[1], small_samples().sizes, 0)
    x = model_inputs(model, inputs)
    found = RowGradients(model, cross_entropy_loss, batch_size=size)(x, labels)
    want = [
        flat_vector(naive_gradients(model, cross_entropy_loss, x, labels, r)) for r in range(10)
    ]
    np.testing.assert_allclose(found, np.stack(want), rtol=1e-4, atol=1e-7)


def test_a_projection_keeps_dot_products_up_to_chance():
    model, (x, y, _) = network(), rows()
    whole = RowGradients(model, cross_entropy_loss)(x, y)
    found = [RowGradients(model, cross_entropy_loss, project=400, seed=s)(x, y) for s in (0, 0, 1)]
    assert found[0].shape == (14, 400)
    np.testing.assert_array_equal(found[0], found[1])
    size = np.sqrt(np.outer((whole**2).sum(1), (whole**2).sum(1)))
    for each in found[1:]:
        assert np.abs(each @ each.T - whole @ whole.T).max() < 5 / np.sqrt(400) * size.max()


def test_a_matrix_that_would_not_fit_is_refused_before_it_is_made():
    model = network()
    gradients = RowGradients(model, cross_entropy_loss)
    many = np.broadcast_to(np.zeros((1, 3)), (40_000_000, 3))
    with pytest.raises(ValueError, match="more than 4 GiB: take fewer rows"):
        gradients(many, np.broadcast_to(np.zeros(1), (40_000_000,)))
    with pytest.raises(ValueError, match="project must be at least 1; got 0"):
        RowGradients(model, cross_entropy_loss, project=0)


# ---------------------------------------------------------------- the kernel


def test_the_kernel_gives_the_influence_that_conjugate_gradients_give():
    model, (x, y, goal) = network(), rows()
    pairs = GradientKernel(model, cross_entropy_loss, x, y, goal, batch_size=5).at(
        model.get_weights()
    )
    for damping in (1e-3, 0.1):
        want = influence_scores(
            model, cross_entropy_loss, x, y, goal, each=True, curvature="gauss_newton",
            damping=damping,
        )  # fmt: skip
        np.testing.assert_allclose(pairs.influence(damping), want, rtol=1e-5, atol=1e-9)


def test_the_kernels_dots_are_one_term_of_tracin():
    model, (x, y, goal) = network(), rows()
    weights = model.get_weights()
    want = tracin_scores(model, cross_entropy_loss, x, y, goal, [weights], [1.0], each=True)
    found = GradientKernel(model, cross_entropy_loss, x, y, goal).at(weights).dots()
    np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-14)


def test_without_the_curve_of_the_loss_the_kernel_is_that_of_a_squared_error():
    model, (x, y, goal) = network(), rows()
    weights = model.get_weights()
    squared = GradientKernel(model, squared_error_loss, x, y, goal).at(weights)
    np.testing.assert_allclose(squared.bends, 1, rtol=1e-12)
    np.testing.assert_allclose(
        squared.influence(0.1), squared.influence(0.1, curved=False), rtol=1e-12
    )
    entropy = GradientKernel(model, cross_entropy_loss, x, y, goal).at(weights)
    p = 1 / (1 + np.exp(-model(x).numpy()[:, 0]))
    np.testing.assert_allclose(entropy.slopes, p - y, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(entropy.bends, p * (1 - p), rtol=1e-10)
    assert not np.allclose(entropy.influence(0.1), entropy.influence(0.1, curved=False))


def test_a_kernel_that_makes_no_sense_is_refused():
    x, y, goal = rows()
    two = network(outputs=2)
    with pytest.raises(ValueError, match="one output per row"):
        GradientKernel(two, lambda y, z: z[:, 0], x, y, goal).at(two.get_weights())
    one = network()
    concave = GradientKernel(one, lambda y, z: -(z**2), x, y, goal).at(one.get_weights())
    with pytest.raises(ValueError, match="convex in the output: d2 loss / dz2 goes down to -2"):
        concave.influence(0.1)
    with pytest.raises(ValueError, match="damping must be finite and above 0; got 0"):
        concave.influence(0)


def test_scores_of_each_goal_row_average_to_the_score_of_their_mean():
    model, (x, y, goal) = network(), rows()
    order, weights = np.array([[0, 1, 1], [2, 3, 4]]), model.get_weights()
    run = [
        in_run_shapley(model, cross_entropy_loss, x, y, goal, order, [weights] * 2, 0.1, each=each)
        for each in (True, False)
    ]
    np.testing.assert_allclose(run[0].mean(axis=1), run[1], rtol=1e-9, atol=1e-14)
    near = [knn_shapley(x, y, *goal, k=3, each=each, block=3) for each in (True, False)]
    np.testing.assert_allclose(near[0].mean(axis=1), near[1], rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="mean loss only"):
        in_run_shapley(
            model, cross_entropy_loss, x, y, goal, order, [weights] * 2, 0.1, each=True,
            second_order=True,
        )  # fmt: skip


# ---------------------------------------------------------------- the judgement


def game(subsets: int = 60, noise: float = 0.0, goals: int = 8, seed: int = 0):
    """Return halves of 40 rows, true scores and outcomes with noise."""
    rng = np.random.default_rng(seed)
    members, scores = draw_subsets(40, subsets, seed=seed), rng.normal(size=(40, goals))
    sums = members @ scores
    return members, scores, sums + noise * sums.std() * rng.normal(size=sums.shape)


def test_correlations_are_those_of_scipy_ties_included():
    members, scores, outcomes = game(noise=1.0)
    scores, outcomes = scores.round(), outcomes.round()
    want = [spearmanr((members @ scores)[:, r], outcomes[:, r]).statistic for r in range(8)]
    np.testing.assert_allclose(subset_correlations(members, scores, outcomes), want, rtol=1e-12)


def test_true_scores_agree_wholly_opposite_ones_not_and_chance_ones_not_at_all():
    members, scores, outcomes = game()
    assert linear_datamodelling_score(members, scores, outcomes).estimate == pytest.approx(1)
    assert linear_datamodelling_score(members, -scores, outcomes).high == pytest.approx(-1)
    chance = np.random.default_rng(5).normal(size=scores.shape)
    found = linear_datamodelling_score(members, chance, outcomes)
    assert found.low < 0 < found.high


def test_neither_the_scale_of_scores_nor_a_rising_curve_of_outcomes_matters():
    members, scores, outcomes = game(noise=1.0)
    one = linear_datamodelling_score(members, scores, outcomes)
    other = linear_datamodelling_score(members, 7 * scores, np.exp(outcomes / outcomes.std()))
    assert one == other


def test_intervals_hold_the_value_of_many_subsets_and_rows_about_as_often_as_they_say():
    truth = linear_datamodelling_score(*game(4000, 1.0, 100, 99), repeats=1).estimate
    held = [
        found.low <= truth <= found.high
        for found in (
            linear_datamodelling_score(*game(60, 1.0, 20, seed), repeats=100) for seed in range(60)
        )
    ]
    assert 0.85 <= np.mean(held) <= 1


def test_rows_of_one_group_are_drawn_together():
    members, scores, outcomes = game(noise=1.0)
    scores, outcomes = (np.repeat(a[:, :2], 4, axis=1) for a in (scores, outcomes))
    apart = linear_datamodelling_score(members, scores, outcomes)
    whole = linear_datamodelling_score(members, scores, outcomes, groups=np.repeat([5, 3], 4))
    assert apart.estimate == whole.estimate
    assert whole.high - whole.low >= apart.high - apart.low


def test_halves_are_halves_and_each_row_is_in_about_half_of_them():
    members = draw_subsets(50, 400, seed=3)
    np.testing.assert_array_equal(members.sum(axis=1), 25)
    assert np.abs(members.mean(axis=0) - 0.5).max() < 0.12
    np.testing.assert_array_equal(members, draw_subsets(50, 400, seed=3))
    assert (members != draw_subsets(50, 400, seed=4)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": np.ones((60, 40))}, "True or False; got the type float64"),
        ({"members": np.ones((60, 39), bool)}, r"got \(60, 39\), \(40, 8\) and \(60, 8\)"),
        ({"scores": np.ones(40)}, "members must have shape"),
        ({"scores": np.full((40, 8), np.nan)}, "must be finite"),
        ({"scores": np.ones((40, 8))}, "8 of 8 goal rows have sums or outcomes that are all alike"),
        ({"repeats": 0}, "at least 3 subsets, 1 repeat"),
        ({"groups": np.ones(3)}, r"groups must have shape \(8,\)"),
    ],
)
def test_a_judgement_that_makes_no_sense_is_refused(change, message):
    members, scores, outcomes = game()
    given = {"members": members, "scores": scores, "outcomes": outcomes, **change}
    with pytest.raises(ValueError, match=message):
        linear_datamodelling_score(**given)


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (10, 0.0), (10, 1.0)])
def test_subsets_that_leave_nothing_in_or_out_are_refused(count, share):
    with pytest.raises(ValueError, match="some rows in and some out"):
        draw_subsets(count, 3, share=share)
