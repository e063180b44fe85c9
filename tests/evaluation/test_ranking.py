import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from helpers.evaluation.ranking import (
    hit_rate_at_k,
    list_metrics,
    ndcg_at_k,
    recall_at_k,
    user_auc,
    user_metrics,
)

AT_K = [ndcg_at_k, recall_at_k, hit_rate_at_k]


def _log(n=3000, groups=400, seed=0, decimals=1):
    """Random rows with many ties, one-class groups and groups of a single row."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.2).astype(int)
    scores = np.round(rng.normal(size=n) + labels, decimals)
    return labels, scores, rng.integers(0, groups, n)


def _over_all_orders(labels, scores, k):
    """Mean of recall and hit over every order that the scores allow: the definition itself."""
    found = []
    for order in itertools.permutations(range(len(labels))):
        ranked = np.asarray(scores)[list(order)]
        if (np.diff(ranked) <= 0).all():
            hits = np.asarray(labels)[list(order)][:k].sum()
            found.append((hits / np.sum(labels), hits > 0))
    return np.mean(found, axis=0)


def test_user_auc_equals_scikit_learn_user_by_user():
    labels, scores, users = _log()
    table = user_metrics(labels, scores, users).set_index("user")
    for user, row in table.iterrows():
        mine = users == user
        assert row["rows"] == mine.sum()
        if 0 < labels[mine].sum() < mine.sum():
            want = roc_auc_score(labels[mine], scores[mine])
            assert row["auc"] == pytest.approx(want, rel=1e-12)
        else:
            assert np.isnan(row["auc"])


def test_user_auc_is_the_mean_over_users_or_over_their_rows():
    labels, scores = [0, 1, 1, 0, 0, 1, 0], [1, 2, 1, 1, 2, 2, 5]
    users = ["a", "a", "b", "b", "b", "b", "c"]  # AUC 1; wins (1/2, 0, 1, 1/2) of 4; none
    a, b = 1.0, (1 / 2 + 0 + 1 + 1 / 2) / 4
    got = user_auc(labels, scores, users)
    assert (got.value, got.groups, got.left_out) == ((a + b) / 2, 2, 1)
    by_rows = user_auc(labels, scores, users, weight_by_rows=True)
    assert by_rows.value == pytest.approx((2 * a + 4 * b) / 6, rel=1e-15)


def test_ndcg_equals_scikit_learn_list_by_list_with_ties():
    labels, scores, lists = _log()
    table = list_metrics(labels, scores, lists, k=4).set_index("list")
    for name, row in table.iterrows():
        mine = lists == name
        if labels[mine].sum() == 0:
            assert np.isnan(row["ndcg"])
        elif mine.sum() > 1:  # scikit-learn refuses lists of one
            want = ndcg_score(labels[mine][None], scores[mine][None], k=4)
            assert row["ndcg"] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 9])
@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 0, 1, 0, 0, 1], [3, 3, 2, 2, 2, 1]),
        ([1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]),
        ([1, 1, 1, 0, 0, 0], [1, 2, 2, 2, 3, 3]),
        ([0, 0, 0, 1, 1, 1], [6, 5, 4, 3, 2, 1]),
    ],
)
def test_recall_and_hit_rate_are_the_mean_over_all_orders_of_tied_rows(labels, scores, k):
    row = list_metrics(labels, scores, ["only"] * 6, k=k).iloc[0]
    want = _over_all_orders(labels, scores, k)
    np.testing.assert_allclose([row["recall"], row["hit_rate"]], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", AT_K)
def test_swapping_rows_with_equal_scores_changes_nothing(metric):
    scores, lists = [0.5, 0.5, 0.1], ["a"] * 3
    first, second = metric([1, 0, 0], scores, lists, k=1), metric([0, 1, 0], scores, lists, k=1)
    assert first == second
    assert first.value == pytest.approx(1 / 2, rel=1e-12)


@pytest.mark.parametrize("metric", [*AT_K, user_auc])
def test_shuffling_the_rows_changes_nothing(metric):
    labels, scores, groups = _log()
    order = np.random.default_rng(5).permutation(len(labels))
    before = metric(labels, scores, groups)
    after = metric(labels[order], scores[order], groups[order])
    assert after.value == pytest.approx(before.value, rel=1e-12)
    assert (after.groups, after.left_out) == (before.groups, before.left_out)


@pytest.mark.parametrize("metric", [*AT_K, user_auc])
def test_a_rising_transform_of_the_scores_changes_nothing(metric):
    labels, scores, groups = _log()
    want = metric(labels, scores, groups).value
    assert metric(labels, np.exp(scores) - 7, groups).value == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("metric", [*AT_K, user_auc])
def test_a_group_without_a_positive_is_left_out_and_counted(metric):
    labels, scores, groups = _log()
    before = metric(labels, scores, groups)
    after = metric(np.r_[labels, 0, 0], np.r_[scores, 9.0, -9.0], np.r_[groups, -1, -1])
    assert after.value == pytest.approx(before.value, rel=1e-12)
    assert (after.groups, after.left_out) == (before.groups, before.left_out + 1)


@pytest.mark.parametrize("metric", [*AT_K, user_auc])
def test_no_group_with_a_positive_gives_nan(metric):
    got = metric([0, 0, 0], [0.1, 0.2, 0.3], ["a", "a", "b"])
    assert np.isnan(got.value)
    assert (got.groups, got.left_out) == (0, 2)


@pytest.mark.parametrize("metric", [*AT_K, user_auc])
def test_groups_nobody_is_in_do_not_count(metric):
    labels, scores = [0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4]
    named = pd.Categorical(["a", "a", "b", "b"], categories=["z", "b", "a", "nobody"])
    assert metric(labels, scores, named) == metric(labels, scores, ["a", "a", "b", "b"])


def test_the_perfect_order_has_ndcg_one_and_the_worst_less():
    labels, _, lists = _log()
    assert ndcg_at_k(labels, labels, lists, k=3).value == pytest.approx(1, rel=1e-12)
    assert ndcg_at_k(labels, -labels, lists, k=3).value < 0.7


def test_ndcg_of_a_hand_worked_list():
    got = ndcg_at_k([0, 1, 1, 0], [4.0, 3.0, 2.0, 1.0], ["a"] * 4, k=2).value
    want = (1 / np.log2(3)) / (1 / np.log2(2) + 1 / np.log2(3))
    assert got == pytest.approx(want, rel=1e-12)


def test_recall_stays_below_one_when_a_list_has_more_than_k_positives():
    assert recall_at_k([1, 1, 1], [3, 2, 1], ["a"] * 3, k=2).value == pytest.approx(2 / 3)
    assert hit_rate_at_k([1, 1, 1], [3, 2, 1], ["a"] * 3, k=2).value == 1


def test_a_k_beyond_the_list_counts_the_whole_list():
    assert recall_at_k([1, 0], [1, 2], ["a"] * 2, k=50).value == 1
    assert ndcg_at_k([1, 0], [1, 2], ["a"] * 2, k=50).value == pytest.approx(1 / np.log2(3))


def test_hit_rate_of_thousands_of_tied_rows_does_not_overflow():
    labels = np.zeros(20_000)
    labels[:3] = 1
    got = hit_rate_at_k(labels, np.zeros(20_000), np.zeros(20_000), k=5).value
    n = 20_000
    miss = np.prod([(n - 3 - i) / (n - i) for i in range(5)])
    assert got == pytest.approx(1 - miss, abs=1e-9)


@pytest.mark.parametrize("metric", AT_K)
@pytest.mark.parametrize("k", [0, -1])
def test_a_k_below_one_is_refused(metric, k):
    with pytest.raises(ValueError, match=f"k must be at least 1; got {k}"):
        metric([0, 1], [0.1, 0.2], ["a", "a"], k=k)


@pytest.mark.parametrize(("metric", "name"), [(user_auc, "users"), (ndcg_at_k, "lists")])
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a"], r"must have shape \(2,\), one per row; got \(1,\)"),
        (["a", None], "is missing in 1 of 2 rows"),
        ([1.0, np.nan], "is missing in 1 of 2 rows"),
    ],
)
def test_groups_that_do_not_fit_the_rows_are_refused(metric, name, groups, message):
    with pytest.raises(ValueError, match=f"{name} {message}"):
        metric([0, 1], [0.1, 0.2], groups)


@pytest.mark.parametrize("metric", [*AT_K, user_auc])
def test_scores_that_are_not_numbers_are_refused(metric):
    with pytest.raises(ValueError, match="scores must be finite"):
        metric([0, 1], [0.1, np.nan], ["a", "a"])
