"""A small part of the rows is the part it says, and its weights keep the objective."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import actions


@pytest.mark.parametrize(
    ("which", "kept"), [("highest", [0, 3]), ("lowest", [1, 4]), ("middle", [2, 4])]
)
def test_a_part_of_the_scores_is_kept(which, kept):
    plan = actions.keep([9.0, -1.0, 2.0, 3.0, 0.0], 0.4, which=which)
    assert np.flatnonzero(plan.kept).tolist() == kept
    np.testing.assert_array_equal(plan.weight, np.ones(5))


def test_the_middle_has_as_many_below_as_above():
    scores = np.random.default_rng(0).permutation(20).astype(float)
    kept = actions.keep(scores, 0.4, which="middle").kept
    assert sorted(scores[kept]) == list(range(6, 14))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.33, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_exactly_the_stated_share_is_drawn(share, seed):
    scores = np.random.default_rng(seed).gamma(0.3, size=200) + 1e-9
    plan = actions.keep_drawn(scores, share, seed=seed)
    assert plan.kept.sum() == max(1, round(share * 200))
    np.testing.assert_allclose(plan.weight[plan.kept].mean(), 1, rtol=1e-12)


def test_the_whole_share_keeps_all_rows_alike():
    plan = actions.keep_drawn([1.0, 5.0, 0.1], 1.0, seed=0)
    assert plan.kept.all()
    np.testing.assert_allclose(plan.weight, np.ones(3), rtol=1e-12)


def inclusion(scores, size):
    """Return the chances of being kept: in proportion to the scores, cut at 1 one by one."""
    order, chance = np.argsort(-scores), np.empty(len(scores))
    left, total = size, scores.sum()
    for place in order:
        chance[place] = min(1.0, left * scores[place] / total) if total > 0 else 0.0
        if chance[place] < 1:
            break
        left, total = left - 1, total - scores[place]
    at_one = chance[order].cumprod() == 1
    rest = order[~at_one] if not at_one.all() else order[:0]
    chance[rest] = left * scores[rest] / total if len(rest) else chance[rest]
    return chance


DRAWN = np.array([0.2, 1.0, 1.0, 3.0, 0.5, 40.0, 2.0, 0.7, 6.0, 1.6])


def test_each_row_is_kept_with_its_chance():
    draws = 3000
    chance = inclusion(DRAWN, 4)
    np.testing.assert_allclose(chance.sum(), 4, rtol=1e-12)
    kept = np.array([actions.keep_drawn(DRAWN, 0.4, seed=s).kept for s in range(draws)])
    spread = np.sqrt(chance * (1 - chance) / draws)
    assert (np.abs(kept.mean(axis=0) - chance) <= 4 * spread + 1e-12).all()
    assert kept[:, 5].all()  # a score beyond the cut is always in


def test_the_weights_of_drawn_rows_leave_the_objective_as_it_is():
    value = np.random.default_rng(1).normal(3, 1, size=10)
    chance, draws = inclusion(DRAWN, 4), 4000
    totals = []
    for seed in range(draws):
        plan = actions.keep_drawn(DRAWN, 0.4, seed=seed)
        raw = plan.weight[plan.kept]
        want = 1 / chance[plan.kept]
        np.testing.assert_allclose(raw, want / want.mean(), rtol=1e-9)
        totals.append((raw * want.mean()) @ value[plan.kept])  # before the mean was taken out
    spread = np.std(totals) / np.sqrt(draws)
    assert abs(np.mean(totals) - value.sum()) < 4 * spread
    plain = [
        10 / 4 * value[actions.keep_drawn(DRAWN, 0.4, seed=s, weighted=False).kept].sum()
        for s in range(500)
    ]
    assert abs(np.mean(plain) - value.sum()) > 4 * spread  # without weights it is another one


def test_rows_drawn_without_weights_count_alike():
    plan = actions.keep_drawn(DRAWN, 0.4, seed=3, weighted=False)
    np.testing.assert_array_equal(plan.kept, actions.keep_drawn(DRAWN, 0.4, seed=3).kept)
    np.testing.assert_array_equal(plan.weight, np.ones(10))


def test_a_row_without_a_score_is_never_drawn():
    scores = np.r_[np.zeros(5), np.ones(5)]
    for seed in range(50):
        assert not actions.keep_drawn(scores, 0.3, seed=seed).kept[:5].any()


def test_balanced_chances_draw_both_classes_equally_often():
    labels = np.repeat([1, 0], [100, 900])
    chance = actions.balanced_chances(labels)
    np.testing.assert_allclose(chance[:100].sum(), chance[100:].sum(), rtol=1e-12)
    np.testing.assert_allclose(chance.mean(), 1, rtol=1e-12)
    positives, shares = [], []
    for seed in range(100):
        plan = actions.keep_drawn(chance, 0.1, seed=seed)
        positive = labels[plan.kept] == 1
        weight = plan.weight[plan.kept]
        assert weight[positive].max() < weight[~positive].min()
        positives.append(positive.sum())
        shares.append((weight * positive).mean())
    assert abs(np.mean(positives) - 50) < 4 * 5 / 10  # at most as wide as drawing one by one
    np.testing.assert_allclose(np.mean(shares), 0.1, atol=0.005)  # the classes' shares are back


def test_a_taught_plan_mixes_the_labels_with_the_teacher():
    first = actions.keep_drawn(DRAWN, 0.4, seed=3)
    labels, teacher = np.arange(10) % 2, np.linspace(0, 1, 10)
    plan = actions.teach(first, labels, teacher, 0.25)
    np.testing.assert_allclose(plan.labels, 0.75 * labels + 0.25 * teacher, rtol=1e-12)
    np.testing.assert_array_equal(plan.kept, first.kept)
    np.testing.assert_array_equal(plan.weight, first.weight)
    np.testing.assert_array_equal(actions.teach(first, labels, teacher, 0.0).labels, labels)
    np.testing.assert_array_equal(actions.teach(first, labels, teacher, 1.0).labels, teacher)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: actions.keep([1.0, 2.0], 0.5, which="best"), "which must be one of highest, .*"),
        (lambda: actions.keep([1.0, 2.0], 0.0, which="lowest"), r"share must lie in \(0, 1\]"),
        (lambda: actions.keep([1.0, np.nan], 0.5, which="lowest"), "finite; row 1"),
        (lambda: actions.keep_drawn([1.0, 2.0], 1.5, seed=0), r"share must lie in \(0, 1\]"),
        (lambda: actions.keep_drawn([1.0, 0.0], 1.0, seed=0), "2 rows are to be kept, but fewer"),
        (lambda: actions.keep_drawn([1.0, -1.0], 0.5, seed=0), "not be negative"),
        (lambda: actions.keep([1.0, 2.0], -0.5, which="lowest"), r"share must lie in \(0, 1\]"),
        (lambda: actions.balanced_chances([1, 1]), "both labels must occur"),
        (lambda: actions.balanced_chances([0, 0]), "both labels must occur"),
        (lambda: actions.teach(actions.uniform(1), [1], [0.5], -0.1), "trust must lie in"),
        (lambda: actions.teach(actions.uniform(1), [1], [0.5], 1.5), r"trust must lie in \[0, 1\]"),
    ],
)
def test_parts_that_cannot_be_kept_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_of_a_tiny_share_one_row_is_left():
    assert actions.keep([1.0, 5.0, 3.0], 0.01, which="highest").kept.tolist() == [
        False,
        True,
        False,
    ]
    assert actions.keep_drawn([1.0, 5.0, 3.0], 0.01, seed=0).kept.sum() == 1


@pytest.mark.parametrize("which", ["highest", "lowest", "middle"])
def test_the_whole_share_keeps_all_rows_whichever_is_asked_for(which):
    assert actions.keep([1.0, 5.0, 3.0], 1.0, which=which).kept.all()


def test_of_equal_scores_the_lowest_are_the_first_and_the_highest_the_last():
    few = np.tile([1.0, 2.0, 2.0], 100)
    ones, twos = np.flatnonzero(few == 1), np.flatnonzero(few == 2)
    lowest = actions.keep(few, 0.1, which="lowest").kept
    assert np.flatnonzero(lowest).tolist() == ones[:30].tolist()
    highest = actions.keep(few, 0.1, which="highest").kept
    assert np.flatnonzero(highest).tolist() == twos[-30:].tolist()


def test_another_seed_draws_other_rows_and_the_same_seed_the_same():
    first, again, other = (actions.keep_drawn(np.ones(50), 0.3, seed=s).kept for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_rows_that_are_all_sure_to_be_kept_need_no_draw():
    scores = np.r_[np.full(3, 1e9), np.full(5, 1e-9)]
    for seed in range(5):
        plan = actions.keep_drawn(scores, 0.5, seed=seed)
        assert plan.kept[:3].all()
        assert plan.kept.sum() == 4
