import numpy as np
import pytest
from scipy.stats import norm, t

from helpers.evaluation import calibration, pr_auc, ranking, roc_auc
from helpers.evaluation.intervals import (
    METRICS,
    NoInterval,
    _statistic,
    bootstrap_by_user,
    paired_difference,
    paired_worlds,
)

PLAIN = {
    "auc": lambda y, z, users, lists: roc_auc(y, z),
    "pr_auc": lambda y, z, users, lists: pr_auc(y, z),
    "user_auc": lambda y, z, users, lists: ranking.user_auc(y, z, users).value,
    "log_loss": lambda y, z, users, lists: calibration.log_loss_from_logits(y, z),
    "log_loss_recalibrated": lambda y, z, users, lists: calibration.log_loss_from_logits(y, z),
    "log_loss_corrected": lambda y, z, users, lists: calibration.log_loss_from_logits(y, z),
    "base_rate": lambda y, z, users, lists: np.mean(1 / (1 + np.exp(-z))),
    "ndcg_at_k": lambda y, z, users, lists: ranking.ndcg_at_k(y, z, lists, k=3).value,
    "recall_at_k": lambda y, z, users, lists: ranking.recall_at_k(y, z, lists, k=3).value,
    "hit_rate_at_k": lambda y, z, users, lists: ranking.hit_rate_at_k(y, z, lists, k=3).value,
}


def _log(seed=0, users=30, lists_each=4, length=5):
    """Users of several lists each; scores with ties."""
    rng = np.random.default_rng(seed)
    lists = np.repeat(np.arange(users * lists_each), length)
    labels = (rng.random(len(lists)) < 0.25).astype(int)
    scores = np.round(rng.normal(size=len(lists)) + labels, 1)
    return labels, scores, lists // lists_each, lists


def _with_copies(counts, users, lists):
    """Return rows, user names and list names of a log in which users really are repeated."""
    rows, copy = [], []
    for user, count in enumerate(counts):
        for again in range(count):
            rows.append(np.flatnonzero(users == user))
            copy.append(np.full(len(rows[-1]), again))
    rows, copy = np.concatenate(rows), np.concatenate(copy)
    return rows, users[rows] * 100 + copy, lists[rows] * 100 + copy


@pytest.mark.parametrize("metric", METRICS)
def test_counting_users_equals_repeating_their_rows(metric):
    labels, scores, users, lists = _log()
    statistic = _statistic(metric, labels, scores, users, lists=lists, k=3)
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), size=8)
    for got, count in zip(statistic(counts), counts, strict=True):
        rows, new_users, new_lists = _with_copies(count, users, lists)
        want = PLAIN[metric](labels[rows], scores[rows], new_users, new_lists)
        assert got == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_the_estimate_is_the_plain_metric_and_lies_in_the_interval(metric):
    labels, scores, users, lists = _log()
    got = bootstrap_by_user(metric, labels, scores, users, lists=lists, k=3, seed=0, repeats=200)
    assert got.estimate == pytest.approx(PLAIN[metric](labels, scores, users, lists), rel=1e-10)
    assert got.low < got.estimate < got.high
    assert (got.users, got.seeds, got.repeats, got.level) == (30, 1, 200, 0.95)


def test_whole_users_are_drawn_and_not_rows():
    # All rows of a user say the same, so 40 users of 50 rows know as much as 40 rows.
    logits = np.repeat(np.random.default_rng(0).normal(size=40), 50)
    users = np.repeat(np.arange(40), 50)
    labels = np.arange(2000) % 2
    got = bootstrap_by_user("base_rate", labels, logits, users, seed=0, repeats=4000)
    spread = np.std(1 / (1 + np.exp(-logits))) / np.sqrt(40)
    # The ends are quantiles of 4000 draws: their own error is about 3 %.
    assert got.high - got.low == pytest.approx(2 * norm.ppf(0.975) * spread, rel=0.08)


def test_pairs_of_seeds_are_drawn_and_a_few_seeds_are_stretched():
    # Users all alike: what varies is the seeds, and the interval must be Student's.
    labels, users = np.tile([0, 1], 20), np.arange(40) // 2
    change = np.random.default_rng(2).normal(0, 0.01, size=8)
    before = np.tile(np.random.default_rng(3).normal(size=(8, 1)), 40)
    after = before + change[:, None]
    got = paired_difference(labels, before, after, users, metric="base_rate", repeats=4000)
    rates = 1 / (1 + np.exp(-after[:, 0])) - 1 / (1 + np.exp(-before[:, 0]))
    half = t.ppf(0.975, 7) * rates.std(ddof=1) / np.sqrt(8)
    assert got.estimate == pytest.approx(rates.mean(), rel=1e-9)
    assert got.high - got.low == pytest.approx(2 * half, rel=0.08)


def test_pairing_shrinks_the_interval_when_seeds_are_correlated():
    labels, scores, users, _ = _log(users=60)
    rng = np.random.default_rng(4)
    shared = scores + rng.normal(0, 0.2, size=(6, 1)) * labels + rng.normal(size=(6, len(labels)))
    after = shared + 0.1 * labels + rng.normal(0, 0.05, size=shared.shape)
    paired = paired_difference(labels, shared, after, users, repeats=400)
    broken = paired_difference(labels, shared, np.roll(after, 1, axis=0), users, repeats=400)
    assert broken.estimate == pytest.approx(paired.estimate, abs=1e-12)
    assert paired.high - paired.low < (broken.high - broken.low) / 3
    assert paired.low > 0


def test_a_model_compared_with_itself_differs_by_exactly_nothing():
    labels, scores, users, lists = _log()
    twice = np.stack([scores, -scores])
    for metric in METRICS:
        got = paired_difference(labels, twice, twice, users, metric=metric, lists=lists, repeats=50)
        assert (got.estimate, got.low, got.high) == (0, 0, 0)


def test_swapping_before_and_after_turns_the_interval_around():
    labels, scores, users, _ = _log()
    rng = np.random.default_rng(6)
    before, after = scores + rng.normal(size=(2, 5, len(labels)))
    one = paired_difference(labels, before, after, users, repeats=100, seed=3)
    other = paired_difference(labels, after, before, users, repeats=100, seed=3)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), rel=1e-9)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    labels, scores, users, _ = _log()
    first, again, other = (
        bootstrap_by_user("auc", labels, scores, users, repeats=100, seed=s) for s in (1, 1, 2)
    )
    assert first == again
    assert first.low != other.low


def test_one_seed_leaves_the_users_variance_only():
    labels, scores, users, _ = _log()
    got = paired_difference(
        labels, np.zeros((1, len(labels))), scores[None], users, repeats=300, seed=5
    )
    assert got.seeds == 1
    assert got.low < got.estimate < got.high


def _world(rng, user_spread, seed_spread, users=60, rows=12, seeds=5):
    """Return paired scores of one world whose true AUC difference is known by a formula.

    A positive row's score has its model's strength added, which varies by seed and, after the
    change, by user. The difference of a positive's and a negative's score is then normal, so the
    AUC over all users and seeds is ``Phi(strength / standard deviation)``.
    """
    owner = np.repeat(np.arange(users), rows)
    labels = (rng.random(users * rows) < 0.4).astype(int)
    noise = rng.normal(size=(seeds, users * rows))
    by_user = rng.normal(0, user_spread, size=users)[owner]
    by_seed = rng.normal(0, seed_spread, size=(seeds, 1))
    before = labels * 0.6 + noise
    after = labels * (0.9 + by_user + by_seed) + noise
    sd = np.sqrt(2 + user_spread**2 + seed_spread**2)
    truth = norm.cdf(0.9 / sd) - norm.cdf(0.6 / np.sqrt(2))
    return labels, before, after, owner, truth


@pytest.mark.parametrize(
    ("user_spread", "seed_spread"),
    [(1.2, 0.0), (0.0, 0.4), (0.8, 0.2)],
    ids=["users vary", "seeds vary", "both vary"],
)
def test_95_percent_intervals_hold_the_truth_in_about_95_percent_of_worlds(
    user_spread, seed_spread
):
    rng = np.random.default_rng(11)
    held = 0
    for world in range(200):
        labels, before, after, owner, truth = _world(rng, user_spread, seed_spread)
        got = paired_difference(labels, before, after, owner, repeats=120, seed=world)
        held += got.low <= truth <= got.high
    assert 0.88 * 200 <= held <= 0.99 * 200


def test_a_list_with_rows_of_two_users_is_refused():
    with pytest.raises(ValueError, match="list 'x' has rows of several"):
        bootstrap_by_user(
            "ndcg_at_k", [0, 1, 1], [1, 2, 3], ["a", "a", "b"], lists=["w", "x", "x"], seed=0
        )


def test_a_metric_at_k_without_lists_is_refused():
    with pytest.raises(ValueError, match="needs lists"):
        bootstrap_by_user("ndcg_at_k", [0, 1], [1, 2], ["a", "b"], seed=0)


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="one of auc, .*got 'f1'"):
        bootstrap_by_user("f1", [0, 1], [1, 2], ["a", "b"], seed=0)


def test_too_few_users_with_both_classes_are_refused():
    labels = [1, *[0] * 9]
    with pytest.raises(ValueError, match="has no value in .* of 200 draws"):
        bootstrap_by_user("auc", labels, np.arange(10.0), range(10), repeats=200, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": ["a"] * 4}, "at least 2 users; got 1"),
        ({"users": ["a", "b"]}, r"users must have shape \(4,\)"),
        ({"labels": [0, 1]}, "labels must have one value per row"),
        ({"labels": [1] * 4}, "both classes"),
        ({"labels": [0, 1, 2, 1]}, "labels must be 0 or 1"),
        ({"after": np.full((2, 4), np.nan)}, "scores must be finite"),
        ({"after": np.zeros((3, 4))}, r"got \(2, 4\) and \(3, 4\)"),
        ({"before": np.zeros(4), "after": np.zeros(4)}, r"must both have shape \(seeds, rows\)"),
        ({"before": np.zeros((0, 4)), "after": np.zeros((0, 4))}, r"must both have shape"),
        ({"repeats": 0}, "repeats must be at least 1; got 0"),
        ({"level": 95}, "level must be between 0 and 1; got 95"),
        ({"level": 0}, "level must be between 0 and 1; got 0"),
        ({"level": 1}, "level must be between 0 and 1; got 1"),
        ({"metric": "ndcg_at_k", "lists": [1, 1, 2, 2], "k": 0}, "k must be at least 1"),
    ],
)
def test_comparisons_that_cannot_be_made_are_refused(change, message):
    given = {
        "labels": [0, 1, 0, 1],
        "before": np.zeros((2, 4)),
        "after": np.ones((2, 4)),
        "users": ["a", "a", "b", "b"],
    }
    with pytest.raises(ValueError, match=message):
        paired_difference(**(given | change))


def test_the_metrics_are_those_that_a_study_compares_by():
    assert set(METRICS) == set(PLAIN)


@pytest.mark.parametrize("metric", ["ndcg_at_k", "recall_at_k", "hit_rate_at_k"])
def test_ten_rows_of_a_list_count_unless_another_number_is_asked_for(metric):
    _, scores, users, lists = _log(length=15, lists_each=2)
    labels = (np.arange(len(scores)) % 15 == 7).astype(int)  # one positive in each list
    options = {"metric": metric, "lists": lists, "repeats": 5, "seed": 0}
    found = bootstrap_by_user(labels=labels, scores=scores, users=users, **options)
    want = getattr(ranking, metric)(labels, scores, lists, k=10).value
    assert found.estimate == pytest.approx(want, rel=1e-12)
    nine = getattr(ranking, metric)(labels, scores, lists, k=9).value
    assert found.estimate != pytest.approx(nine, rel=1e-6)
    before = np.roll(scores, 1)[None]
    gain = paired_difference(labels, before, scores[None], users, **options).estimate
    flat = getattr(ranking, metric)(labels, before[0], lists, k=10).value
    assert gain == pytest.approx(want - flat, rel=1e-12)


@pytest.mark.parametrize("metric", ["ndcg_at_k", "user_auc", "log_loss"])
@pytest.mark.parametrize("who", [0, 29], ids=["first", "last"])
def test_a_user_without_a_positive_is_drawn_like_any_other(metric, who):
    labels, scores, users, lists = _log()
    labels = np.where(users == who, 0, labels)
    found = bootstrap_by_user(metric, labels, scores, users, lists=lists, k=3, seed=0, repeats=20)
    assert found.users == 30
    assert found.estimate == pytest.approx(PLAIN[metric](labels, scores, users, lists), rel=1e-10)


def test_unless_asked_a_thousand_draws_from_seed_nought_hold_95_percent():
    labels, scores, users, _ = _log(users=5)
    flat = np.zeros((1, len(labels)))
    by_user = bootstrap_by_user("log_loss", labels, scores, users, seed=1)
    assert (by_user.repeats, by_user.level) == (1000, 0.95)
    stated = {"repeats": 1000, "seed": 0, "level": 0.95}
    found = paired_difference(labels, flat, scores[None], users)
    assert found == paired_difference(labels, flat, scores[None], users, metric="auc", **stated)
    world = (labels, flat[0], scores, users)
    assert paired_worlds([world]) == paired_worlds([world], metric="auc", **stated)


def test_one_draw_is_an_interval_without_width():
    labels, scores, users, _ = _log()
    found = bootstrap_by_user("log_loss", labels, scores, users, seed=0, repeats=1)
    assert found.repeats == 1
    assert found.low == found.high


def test_labels_may_be_a_column():
    labels, before, after, users = _same_labels()
    found = paired_difference(labels[:, None], before, after, users, repeats=20)
    assert found == paired_difference(labels, before, after, users, repeats=20)


def test_how_many_draws_are_made_at_once_changes_no_law(monkeypatch):
    labels, scores, users, _ = _log()
    options = {"seed": 3, "repeats": 300}
    whole = bootstrap_by_user("log_loss", labels, scores, users, **options)
    monkeypatch.setattr("helpers.evaluation.intervals._CHUNK", 1)  # one draw at a time
    single = bootstrap_by_user("log_loss", labels, scores, users, **options)
    assert single.repeats == whole.repeats == 300
    assert single.estimate == whole.estimate
    assert (single.low, single.high) == pytest.approx((whole.low, whole.high), rel=0.02)


# Worlds: each with labels and rows of its own --------------------------------------------------

BY_ROW = [metric for metric in METRICS if not metric.endswith("_at_k")]


def _same_labels(seed=0, seeds=4):
    labels, scores, users, _ = _log(seed)
    rng = np.random.default_rng([seed, 9])
    before, after = scores + rng.normal(size=(2, seeds, len(labels)))
    return labels, before, after, users


@pytest.mark.parametrize("metric", BY_ROW)
def test_worlds_with_the_same_labels_are_seeds(metric):
    labels, before, after, users = _same_labels()
    options = {"metric": metric, "repeats": 40, "seed": 2}
    want = paired_difference(labels, before, after, users, **options)
    worlds = [(labels, x, y, users) for x, y in zip(before, after, strict=True)]
    got = paired_worlds(worlds, **options)
    assert (got.users, got.seeds) == (want.users, want.seeds)
    assert got.estimate == pytest.approx(want.estimate, abs=1e-12)
    # Users are drawn in pieces, whose size follows the number of rows: draws differ, not their law.
    assert (got.low, got.high) == pytest.approx((want.low, want.high), rel=1e-9, abs=1e-12)


def test_a_users_rows_are_drawn_together_in_all_worlds():
    # In both worlds the gain is one user's; drawn apart, the two would even out.
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(40), 10)
    labels = np.tile([0, 1], 200)
    gain = rng.normal(0, 1, size=40)[users]
    worlds = [(labels, np.zeros(400), gain, users)] * 2
    alone = paired_worlds(worlds[:1], metric="base_rate", repeats=2000)
    both = paired_worlds(worlds, metric="base_rate", repeats=2000)
    assert both.high - both.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_the_rows_of_worlds_may_differ_in_number_and_order():
    worlds = []
    for seed in range(3):
        labels, scores, users, _ = _log(seed, lists_each=3 + seed)
        places = np.random.default_rng(seed).permutation(len(labels))
        worlds.append((labels[places], -scores[places], scores[places], users[places]))
    got = paired_worlds(worlds, repeats=50)
    want = np.mean([roc_auc(y, new) - roc_auc(y, old) for y, old, new, _ in worlds])
    assert got.estimate == pytest.approx(want, abs=1e-12)
    assert got.low < got.estimate < got.high
    assert got.users == 30


def test_a_score_compared_with_itself_differs_by_nothing_in_any_world():
    labels, before, _, users = _same_labels()
    got = paired_worlds([(labels, x, x, users) for x in before], repeats=20)
    assert (got.estimate, got.low, got.high) == (0, 0, 0)


def test_intervals_over_worlds_hold_the_truth_in_about_95_percent_of_cases():
    rng = np.random.default_rng(12)
    held = 0
    for case in range(150):
        worlds = []
        by_user = rng.normal(0, 0.6, size=50)
        for _ in range(5):
            owner = np.repeat(np.arange(50), 8)
            labels = (rng.random(400) < 0.4).astype(int)
            noise = rng.normal(size=400)
            after = labels * (0.9 + by_user[owner] + rng.normal(0, 0.2)) + noise
            worlds.append((labels, labels * 0.6 + noise, after, owner))
        truth = norm.cdf(0.9 / np.sqrt(2 + 0.6**2 + 0.2**2)) - norm.cdf(0.6 / np.sqrt(2))
        got = paired_worlds(worlds, repeats=120, seed=case)
        held += got.low <= truth <= got.high
    assert 0.87 * 150 <= held <= 0.995 * 150


@pytest.mark.parametrize(
    ("worlds", "options", "error", "message"),
    [
        ([], {}, ValueError, "at least one world"),
        ([([0, 1], [1, 2], [2, 1], ["a", "a"])], {}, ValueError, "at least 2 users; got 1"),
        ([([0, 1], [1, 2], [2, 1], ["a", "b"])], {"metric": "f1"}, ValueError, "got 'f1'"),
        ([([1, 1], [1, 2], [2, 1], ["a", "b"])], {}, ValueError, "both classes"),
        (
            [([0, 1], [1, 2], [2, 1], ["a", "b"])],
            {"metric": "ndcg_at_k"},
            ValueError,
            "needs lists",
        ),
        ([([0, 1], [1, 2], [2, 1], ["a", "b"])], {}, NoInterval, "too few users"),
        ([([0, 1], [1, 2], [2], ["a", "b"])], {}, ValueError, "scores must|shape|one"),
    ],
    ids=["none", "one user", "metric", "one class", "lists", "few users", "lengths"],
)
def test_worlds_that_cannot_be_compared_are_refused(worlds, options, error, message):
    with pytest.raises(error, match=message):
        paired_worlds(worlds, **options)
