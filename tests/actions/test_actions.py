"""Actions turn scores into the weights, rows and draws that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import actions
from helpers.actions.denoising import Denoising
from helpers.losses import linear_gradient, sample_gradients

SCORES = st.lists(st.floats(0.01, 100.0), min_size=4, max_size=30).map(np.array)


def gradients(n: int = 7):
    """Return each row's gradient of a linear model, (n, 4), with its inputs, labels, weights."""
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(n, 3)), rng.normal(size=n), rng.normal(size=3)
    return sample_gradients(x, x @ w - y), x, y, w


# ---------------------------------------------------------------- plans by hand


def test_uniform_treats_all_rows_alike():
    plan = actions.uniform(3)
    assert plan.weight.tolist() == [1, 1, 1]
    assert plan.kept.all()
    assert plan.chance is None


def test_weights_are_scores_with_mean_one():
    plan = actions.up_weight([1.0, 0.0, 2.0, 5.0])
    np.testing.assert_allclose(plan.weight, np.array([1, 0, 2, 5]) / 2, rtol=1e-15)
    assert plan.kept.all()


def test_constant_scores_are_exactly_uniform():
    for made in (actions.up_weight(np.full(5, 0.3)), actions.soft_down_weight(np.full(5, 0.3))):
        np.testing.assert_allclose(made.weight, np.ones(5), rtol=1e-15)
    np.testing.assert_array_equal(actions.up_weight(np.full(4, 8.0)).weight, np.ones(4))


def test_soft_down_weighting_takes_one_minus_the_error():
    plan = actions.soft_down_weight([0.0, 1.0, 0.5])
    np.testing.assert_allclose(plan.weight, [2.0, 0.0, 1.0], rtol=1e-15)


def test_dropping_leaves_out_the_highest_and_of_equal_ones_the_later():
    plan = actions.drop_highest([1.0, 3.0, 3.0, 0.0, 3.0], 0.4)
    assert plan.kept.tolist() == [True, True, False, True, False]
    np.testing.assert_array_equal(plan.weight, np.ones(5))


@pytest.mark.parametrize(("n", "share", "left_out"), [(10, 0.0, 0), (10, 0.34, 3), (7, 0.5, 4)])
def test_as_many_rows_are_dropped_as_the_share_says(n, share, left_out):
    scores = np.arange(n, dtype=float)
    for plan in (actions.drop_highest(scores, share), actions.drop_random(n, share, seed=1)):
        assert (~plan.kept).sum() == left_out


def test_dropping_at_random_depends_on_the_seed_only():
    first, again, other = (actions.drop_random(50, 0.3, seed=s).kept for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_stratified_dropping_keeps_the_proportion_of_the_classes():
    rng = np.random.default_rng(0)
    labels = np.repeat([1.0, 0.0], [40, 160])
    scores = rng.random(200) + 5 * labels  # the rare class has all the highest scores
    kept = actions.drop_stratified(scores, labels, 0.25).kept
    assert labels[kept].mean() == labels.mean()
    assert labels[actions.drop_highest(scores, 0.2).kept].sum() == 0
    for label in (0.0, 1.0):
        mine = labels == label
        assert scores[mine & ~kept].min() > scores[mine & kept].max()


def test_trust_is_the_chance_that_the_label_is_right():
    plan = actions.trust_weight([0.0, 1.0, 0.5, 0.5])
    np.testing.assert_allclose(plan.weight, [2.0, 0.0, 1.0, 1.0], rtol=1e-15)
    assert plan.name == "trust_weight"
    assert plan.kept.all()
    assert plan.labels is None


def test_labels_more_likely_wrong_than_right_are_turned():
    labels, wrong = np.array([1, 0, 1, 0, 1]), np.array([0.51, 0.9, 0.5, 0.1, 0.0])
    plan = actions.relabel(labels, wrong)
    assert plan.labels.tolist() == [0, 1, 1, 0, 1]
    np.testing.assert_array_equal(plan.weight, np.ones(5))
    assert plan.kept.all()


def test_softly_a_label_becomes_the_chance_of_a_genuine_one():
    labels, wrong = np.array([1, 0, 1, 0]), np.array([0.3, 0.3, 1.0, 0.0])
    np.testing.assert_allclose(
        actions.relabel(labels, wrong, soft=True).labels, [0.7, 0.3, 0.0, 0.0], rtol=1e-15
    )


def test_denoising_keeps_all_rows_alike_and_names_its_loss():
    denoising = Denoising(truncate=0.1, ramp=5)
    plan = actions.denoise(4, denoising)
    assert plan.denoising is denoising
    assert plan.kept.all()
    np.testing.assert_array_equal(plan.weight, np.ones(4))


def test_exactly_the_marked_rows_are_dropped():
    marked = np.array([True, False, False, True, False])
    plan = actions.drop_marked(marked)
    np.testing.assert_array_equal(plan.kept, ~marked)
    order = actions.draw_order(plan, updates=2, batch_size=3, rng=np.random.default_rng(0))
    assert set(order.ravel()) == {1, 2, 4}


# ---------------------------------------------------------------- what a plan expects to descend


@given(SCORES, st.floats(0.0, 1.0))
def test_importance_sampling_leaves_the_mean_gradient_as_it_is(scores, mix):
    plan = actions.importance_sampling(scores, mix=mix)
    g = gradients(len(scores))[0]
    expected = (plan.chance * plan.weight) @ g  # over all that can be drawn
    np.testing.assert_allclose(expected, g.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(plan.chance.sum(), 1, rtol=1e-12)


def test_the_even_share_bounds_the_weights_of_importance_sampling():
    scores = np.r_[np.zeros(9), 1.0]
    plan = actions.importance_sampling(scores, mix=0.25)
    assert plan.weight.max() <= 1 / 0.25 + 1e-12
    assert plan.kept.all()
    never = actions.importance_sampling(scores, mix=0.0)
    assert never.kept.tolist() == [False] * 9 + [True]
    assert never.weight[:9].tolist() == [0.0] * 9


def test_drawing_by_gradient_norm_has_the_least_variance():
    g = gradients(30)[0]
    norms = np.linalg.norm(g, axis=1)

    def second_moment(plan):
        return plan.chance @ (plan.weight * norms) ** 2

    best = second_moment(actions.importance_sampling(norms, mix=0.0))
    even = second_moment(actions.importance_sampling(np.ones(30), mix=0.0))
    other = second_moment(actions.importance_sampling(norms**2, mix=0.1))
    np.testing.assert_allclose(best, norms.mean() ** 2, rtol=1e-12)
    assert best < min(even, other)


@given(SCORES)
def test_resampling_expects_the_gradient_of_up_weighting(scores):
    g = gradients(len(scores))[0]
    drawn = actions.resample(scores)
    weighted = actions.up_weight(scores)
    np.testing.assert_allclose(
        (drawn.chance * drawn.weight) @ g,
        (weighted.weight[:, None] * g).mean(axis=0),
        rtol=1e-9,
        atol=1e-12,
    )


def test_a_rate_for_each_sample_is_a_weighted_loss_under_plain_descent():
    g, x, y, w = gradients()
    scores, rate = np.array([1.0, 0.5, 2.0, 0.0, 3.0, 1.0, 1.0]), 0.1
    rates = actions.per_sample_rate(scores, rate)
    np.testing.assert_allclose(rates.mean(), rate, rtol=1e-12)
    weight = actions.up_weight(scores).weight
    # Weighting a squared error is scaling its row, its label and its constant by the root.
    root = np.sqrt(weight)
    scaled = np.column_stack([x, np.ones(7)]) * root[:, None]
    weighted = linear_gradient(scaled, y * root, np.r_[w, 0.0])[:-1]
    np.testing.assert_allclose(rates @ g / 7, rate * weighted, rtol=1e-12)


# ---------------------------------------------------------------- symmetry


@given(SCORES, st.randoms(use_true_random=False))
def test_permuted_scores_give_permuted_plans(scores, random):
    scores = scores + np.arange(len(scores)) * 1e-7  # no ties: those follow the places
    places = list(range(len(scores)))
    random.shuffle(places)
    labels = np.arange(len(scores)) % 2
    makers = [
        lambda s, _: actions.up_weight(s),
        lambda s, _: actions.resample(s),
        lambda s, _: actions.importance_sampling(s),
        lambda s, _: actions.soft_down_weight(s / 200),
        lambda s, _: actions.drop_highest(s, 0.25),
        lambda s, y: actions.drop_stratified(s, y, 0.25),
    ]
    for make in makers:
        plan, moved = make(scores, labels), make(scores[places], labels[places])
        np.testing.assert_allclose(moved.weight, plan.weight[places], rtol=1e-12)
        np.testing.assert_array_equal(moved.kept, plan.kept[places])
        if plan.chance is not None:
            np.testing.assert_allclose(moved.chance, plan.chance[places], rtol=1e-12)


# ---------------------------------------------------------------- orders


def test_an_order_without_chances_is_shuffled_passes_over_the_kept_rows():
    plan = actions.drop_highest([0.0, 9.0, 1.0, 2.0], 0.25)
    order = actions.draw_order(plan, updates=5, batch_size=3, rng=np.random.default_rng(0))
    assert order.shape == (5, 3)
    assert order.dtype == np.int32
    for part in order.reshape(5, 3):  # three rows are kept, so each update is one pass
        assert sorted(part) == [0, 2, 3]


def test_plans_that_keep_all_rows_see_them_in_one_order():
    scores = np.arange(1.0, 9.0)
    plans = (actions.uniform(8), actions.up_weight(scores), actions.soft_down_weight(scores / 9))
    orders = [
        actions.draw_order(plan, updates=3, batch_size=4, rng=np.random.default_rng(5))
        for plan in plans
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


def test_draws_follow_the_chances():
    plan = actions.resample([1.0, 3.0, 0.0, 4.0])
    order = actions.draw_order(plan, updates=200, batch_size=100, rng=np.random.default_rng(0))
    share = np.bincount(order.ravel(), minlength=4) / order.size
    spread = np.sqrt(plan.chance * (1 - plan.chance) / order.size)
    assert (np.abs(share - plan.chance) <= 4 * spread).all()
    assert share[2] == 0


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: actions.up_weight([1.0, -1.0]), "not be negative"),
        (lambda: actions.up_weight([0.0, 0.0]), "not all 0"),
        (lambda: actions.up_weight([1.0, np.nan]), "finite; row 1 is nan"),
        (lambda: actions.up_weight([[1.0]]), r"shape \(n,\) with n > 0; got \(1, 1\)"),
        (lambda: actions.up_weight([]), r"got \(0,\)"),
        (lambda: actions.resample([np.inf, 1.0]), "finite; row 0 is inf"),
        (lambda: actions.importance_sampling([1.0], mix=1.5), r"mix must lie in \[0, 1\]"),
        (lambda: actions.soft_down_weight([0.5, 1.5]), r"errors must lie in \[0, 1\]"),
        (lambda: actions.importance_sampling([1.0], mix=-0.1), r"mix must lie in \[0, 1\]"),
        (lambda: actions.soft_down_weight([-0.1, 0.5]), r"errors must lie in \[0, 1\]"),
        (lambda: actions.soft_down_weight([1.0, 1.0]), "would all be 0"),
        (lambda: actions.drop_highest([1.0, 2.0], 1.0), r"share must lie in \[0, 1\); got 1"),
        (lambda: actions.drop_highest([1.0, 2.0], -0.1), "share must lie in"),
        (lambda: actions.drop_highest([1.0, 2.0], 0.9), "0.9 of 2 rows leaves none"),
        (lambda: actions.drop_random(3, 0.99, seed=0), "leaves none"),
        (lambda: actions.drop_stratified([1.0, 2.0], [1], 0.1), r"got \(2,\) and \(1,\)"),
        (lambda: actions.per_sample_rate([1.0], 0.0), "positive and finite; got 0"),
        (lambda: actions.per_sample_rate([1.0], -1.0), "positive and finite; got -1"),
        (lambda: actions.per_sample_rate([1.0], np.inf), "positive and finite; got inf"),
        (lambda: actions.per_sample_rate([1.0], np.nan), "positive and finite; got nan"),
        (lambda: actions.trust_weight([0.5, 1.5]), r"must lie in \[0, 1\]"),
        (lambda: actions.relabel([1, 0], [0.5]), r"must agree; got \(2,\) and \(1,\)"),
        (lambda: actions.relabel([1], [1.5]), r"wrong must lie in \[0, 1\]"),
        (lambda: actions.relabel([1], [-0.5]), r"wrong must lie in \[0, 1\]"),
        (lambda: actions.drop_marked([True, True]), "every row is marked"),
    ],
)
def test_scores_that_make_no_plan_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_lies_at_the_end_of_its_range_is_no_fault():
    certain = [0.0, 1.0]
    assert actions.soft_down_weight(certain).weight.tolist() == [2.0, 0.0]
    assert actions.relabel([1, 1], certain).labels.tolist() == [1.0, 0.0]
    assert actions.drop_highest([3.0, 1.0], 0.0).kept.all()
    assert actions.drop_random(2, 0.0, seed=0).kept.all()
    assert actions.up_weight([0.0, 2.0]).weight.tolist() == [0.0, 2.0]
    assert actions.per_sample_rate([1.0], 1.0).tolist() == [1.0]
    for mix in (0.0, 1.0):
        assert actions.importance_sampling([1.0, 1.0], mix=mix).chance.tolist() == [0.5, 0.5]


def test_of_many_equal_scores_exactly_the_last_are_dropped():
    scores = np.tile([1.0, 2.0, 2.0], 100)
    dropped = np.flatnonzero(~actions.drop_highest(scores, 0.1).kept)
    np.testing.assert_array_equal(dropped, np.flatnonzero(scores == 2)[-30:])


def test_scores_that_only_order_rows_may_be_negative():
    scores = np.array([-3.0, -1.0, -2.0, -4.0])
    assert actions.drop_highest(scores, 0.25).kept.tolist() == [True, False, True, True]
    by_class = actions.drop_stratified(scores, [0, 0, 1, 1], 0.5).kept
    assert by_class.tolist() == [True, False, False, True]
    assert actions.keep(scores, 0.25, which="highest").kept.tolist() == [False, True, False, False]


def test_marks_may_be_whole_numbers():
    assert actions.drop_marked([1, 0, 0]).kept.tolist() == [False, True, True]


def test_each_of_three_classes_loses_its_own_highest():
    labels, scores = np.repeat([0, 1, 2], 10), np.arange(30.0)
    dropped = np.flatnonzero(~actions.drop_stratified(scores, labels, 0.2).kept)
    assert dropped.tolist() == [8, 9, 18, 19, 28, 29]


def test_one_draw_in_ten_is_even_unless_another_share_is_asked_for():
    chance = actions.importance_sampling([0.0, 1.0]).chance
    np.testing.assert_allclose(chance, [0.1 / 2, 0.9 + 0.1 / 2], rtol=1e-12)


def test_labels_are_turned_by_certain_steps_unless_chances_are_asked_for():
    assert actions.relabel([1, 0], [0.9, 0.2]).labels.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda: actions.uniform(2), "uniform"),
        (lambda: actions.up_weight([1.0, 2.0]), "up_weight"),
        (lambda: actions.resample([1.0, 2.0]), "resample"),
        (lambda: actions.importance_sampling([1.0, 2.0]), "importance_sampling"),
        (lambda: actions.soft_down_weight([0.1, 0.2]), "soft_down_weight"),
        (lambda: actions.relabel([1, 0], [0.1, 0.2]), "relabel"),
        (lambda: actions.denoise(2, Denoising()), "denoise"),
        (lambda: actions.drop_highest([1.0, 2.0], 0.5), "drop_highest"),
        (lambda: actions.keep([1.0, 2.0], 0.5, which="middle"), "keep_middle"),
    ],
)
def test_a_plan_knows_its_name_and_what_it_leaves_alone(made, name):
    plan = made()
    assert plan.name == name
    assert len(plan.weight) == len(plan.kept) == 2
    assert (plan.weight.dtype, plan.kept.dtype) == (np.float64, np.bool_)
    assert (plan.chance is not None) == (name in ("resample", "importance_sampling"))
    assert (plan.labels is not None) == (name == "relabel")
    assert (plan.denoising is not None) == (name == "denoise")


@pytest.mark.parametrize(("updates", "batch_size"), [(1, 3), (4, 3), (3, 1), (2, 7)])
def test_passes_follow_each_other_until_the_order_is_full(updates, batch_size):
    plan = actions.drop_highest([0.0, 9.0, 1.0, 2.0], 0.25)
    rng = np.random.default_rng(0)
    order = actions.draw_order(plan, updates=updates, batch_size=batch_size, rng=rng)
    assert order.shape == (updates, batch_size)
    times = np.bincount(order.ravel(), minlength=4)
    assert times[1] == 0
    assert times[[0, 2, 3]].max() - times[[0, 2, 3]].min() <= 1


def test_a_plan_that_keeps_nothing_cannot_be_ordered():
    plan = actions.Plan("none", np.ones(2), np.zeros(2, dtype=bool))
    with pytest.raises(ValueError, match="none keeps no row"):
        actions.draw_order(plan, updates=1, batch_size=1, rng=np.random.default_rng(0))
