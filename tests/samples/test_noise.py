"""Noise is planted where and as often as it says, and the ceiling is Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from helpers.evaluation import roc_auc
from helpers.samples.noise import (
    BOT_SAYS_YES,
    KINDS,
    Noise,
    ceiling,
    chance_misclicked,
    chance_wrong,
    estimated_flip_share,
    plant,
    plant_labels,
)

ROWS, PEOPLE, PRODUCTS = 20_000, 400, 40
TURNING = ("flip", "misclick", "popular misclick", "lost positive")


@pytest.fixture(scope="module")
def log():
    """Labels, users and products of a log in which some products are shown far more often."""
    rng = np.random.default_rng(0)
    popularity = np.arange(1, PRODUCTS + 1) ** 1.5
    items = rng.choice(PRODUCTS, size=ROWS, p=popularity / popularity.sum())
    labels = (rng.random(ROWS) < 0.3).astype(np.float32)
    return labels, rng.integers(PEOPLE, size=ROWS), items


def planted(log, kind, rate, seed=1):
    return plant(Noise(kind, rate), *log, rng=np.random.default_rng(seed))


def within(share, rate, count):
    """Whether a share of ``count`` draws is within four standard errors of its chance."""
    return abs(share - rate) < 4 * np.sqrt(rate * (1 - rate) / count)


# ---------------------------------------------------------------- where and how often


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("kind", TURNING)
def test_only_the_stated_class_is_turned_and_at_the_stated_rate(log, kind, rate):
    labels, found = log[0], planted(log, kind, rate)
    np.testing.assert_array_equal(found.wrong, found.labels != labels)
    np.testing.assert_array_equal(found.marked, found.wrong)
    np.testing.assert_array_equal(found.rows, np.arange(ROWS))
    assert found.labels.dtype == np.float32
    touched = {"flip": (0, 1), "lost positive": (1,)}.get(kind, (0,))
    for label in (0, 1):
        turned = found.wrong[labels == label]
        if label in touched:
            assert within(turned.mean(), rate, len(turned))
        else:
            assert not turned.any()
            assert not found.chance[labels == label].any()


@pytest.mark.parametrize("kind", TURNING)
def test_the_kept_chance_is_how_often_a_row_is_turned(log, kind):
    found = planted(log, kind, 0.2)
    for low, high in ((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.5)):
        at = (found.chance > low) & (found.chance <= high)
        if at.sum() > 100:
            assert within(found.wrong[at].mean(), found.chance[at].mean(), at.sum())
    assert not found.wrong[found.chance == 0].any()


def test_popular_products_are_clicked_by_mistake_more_often(log):
    labels, _, items = log
    found = planted(log, "popular misclick", 0.2)
    negative = labels == 0
    shown = np.bincount(items)
    chance = np.array([found.chance[negative & (items == i)][0] for i in range(PRODUCTS)])
    assert spearmanr(shown, chance).statistic == pytest.approx(1, abs=1e-9)
    turned = [found.wrong[negative & (items == i)].mean() for i in range(PRODUCTS)]
    assert spearmanr(shown, turned).statistic > 0.8
    np.testing.assert_allclose(found.chance[negative].mean(), 0.2, rtol=0.02)
    assert found.chance.max() <= 2 * 0.2 + 1e-12


@pytest.mark.parametrize("rate", [0.05, 0.25])
def test_a_bot_is_marked_with_all_of_its_rows_and_says_yes_nine_times_in_ten(log, rate):
    labels, users, _ = log
    found = planted(log, "bot", rate)
    bots = np.unique(users[found.marked])
    assert len(bots) == round(rate * PEOPLE)
    np.testing.assert_array_equal(found.marked, np.isin(users, bots))
    np.testing.assert_array_equal(found.labels[~found.marked], labels[~found.marked])
    np.testing.assert_array_equal(found.wrong, found.labels != labels)
    assert within(found.labels[found.marked].mean(), BOT_SAYS_YES, found.marked.sum())


def test_there_is_always_at_least_one_bot(log):
    assert len(np.unique(log[1][planted(log, "bot", 1e-6).marked])) == 1


def test_a_duplicate_is_there_twice_and_both_copies_are_marked(log):
    found = planted(log, "duplicate", 0.1)
    count = np.bincount(found.rows, minlength=ROWS)
    assert set(count) == {1, 2}
    assert within((count == 2).mean(), 0.1, ROWS)
    assert (np.diff(found.rows) >= 0).all()
    np.testing.assert_array_equal(found.marked, count[found.rows] == 2)
    np.testing.assert_array_equal(found.labels, log[0][found.rows])
    assert not found.wrong.any()


def test_no_noise_changes_nothing(log):
    found = plant(None, *log, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(found.labels, log[0])
    assert not found.marked.any()
    assert not found.wrong.any()
    assert not found.chance.any()


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_plants_one_noise_and_another_seed_another(log, kind):
    first, again, other = (planted(log, kind, 0.2, seed=seed) for seed in (1, 1, 2))
    for name in ("rows", "labels", "marked", "wrong", "chance"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.marked, other.marked)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_other_roles_are_planted_row_for_row(log, kind):
    noise = Noise(kind, 0.2)
    labels = plant_labels(noise, *log, rng=np.random.default_rng(1))
    want = log[0] if noise.adds_rows else planted(log, kind, 0.2).labels
    np.testing.assert_array_equal(labels, want)


def test_the_labels_that_came_in_are_left_alone(log):
    before = log[0].copy()
    for kind in KINDS:
        planted(log, kind, 0.4)
    np.testing.assert_array_equal(log[0], before)


def test_a_noise_is_named_by_its_share():
    assert Noise("flip", 0.2).name == "20% flips"
    assert Noise("popular misclick", 0.125).name == "12.5% popular misclicks"


@pytest.mark.parametrize(
    ("kind", "rate", "message"),
    [
        ("magic", 0.2, "kind must be one of flip, .* got 'magic'"),
        ("flip", 0.0, r"rate of flip must lie in \(0, 1\); got 0.0"),
        ("bot", 1.0, r"rate of bot must lie in \(0, 1\); got 1.0"),
        ("popular misclick", 0.5, r"must lie in \(0, 0.5\); got 0.5"),
        ("flip", float("nan"), "got nan"),
    ],
)
def test_noise_that_cannot_be_planted_is_refused(kind, rate, message):
    with pytest.raises(ValueError, match=message):
        Noise(kind, rate)


# ---------------------------------------------------------------- the ceiling


def simulated(kind, rate, times=60, seed=3):
    """Draw genuine labels from known probabilities many times, and plant noise into each draw.

    Returns:
        The probabilities of the rows of one log, and for each draw what was planted and the
        ceiling.
    """
    rng = np.random.default_rng(seed)
    p = np.tile([0.05, 0.2, 0.5, 0.9], 500)
    users, items = np.repeat(np.arange(100), 20), rng.integers(30, size=len(p)) ** 2 // 30
    noise, draws = Noise(kind, rate), []
    for _ in range(times):
        seen = plant(noise, rng.random(len(p)) < p, users, items, rng=rng)
        rows = seen.rows
        draws.append((seen, ceiling(noise, seen, p[rows], users[rows], items[rows])))
    return p, draws


@pytest.mark.parametrize("kind", TURNING)
def test_among_rows_with_one_ceiling_that_share_is_wrong(kind):
    _, draws = simulated(kind, 0.2)
    wrong = np.concatenate([seen.wrong for seen, _ in draws])
    chance = np.concatenate([values for _, values in draws])
    assert chance.max() > 0.5
    checked = 0
    for value in np.unique(chance.round(9)):
        at = chance.round(9) == value
        if at.sum() >= 400:
            spread = np.sqrt(max(value * (1 - value), 1e-9) / at.sum())
            assert abs(wrong[at].mean() - value) < 4.5 * spread + 1e-12
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("kind", [*TURNING, "bot"])
def test_nobody_finds_the_noise_better_than_the_ceiling(kind):
    p, draws = simulated(kind, 0.2, times=20)
    users = np.repeat(np.arange(100), 20)
    rivals = {
        "the label": lambda y: y,
        "surprise": lambda y: np.abs(y - p),
        "the other label's surprise": lambda y: -np.abs(y - p),
        "doubt": lambda y: -np.abs(p - 0.5),
        "the probability": lambda y: p,
        "the user's positives": lambda y: np.bincount(users, y)[users],
        "the user's surprise": lambda y: np.bincount(users, np.abs(y - p))[users],
    }
    best = np.mean([roc_auc(seen.marked, values) for seen, values in draws])
    assert best > 0.6
    for rival in rivals.values():
        mean = np.mean([roc_auc(seen.marked, rival(seen.labels)) for seen, _ in draws])
        assert best >= mean - 1e-3


def test_the_ceiling_of_a_bot_is_the_odds_of_all_of_its_rows():
    p, users = np.array([0.2, 0.5, 0.9]), np.array([0, 0, 1])
    noise = Noise("bot", 0.5)
    seen = plant(noise, [1, 0, 1], users, users, rng=np.random.default_rng(0))
    yes, no = seen.labels == 1, seen.labels == 0
    odds = np.empty(3)
    odds[yes], odds[no] = 0.9 / p[yes], 0.1 / (1 - p[no])
    found = ceiling(noise, seen, p, users, users)
    np.testing.assert_allclose(found, np.log([odds[0] * odds[1]] * 2 + [odds[2]]), rtol=1e-12)


def test_whoever_compares_rows_finds_every_duplicate():
    p, draws = simulated("duplicate", 0.2, times=1)
    (seen, values), *_ = draws
    np.testing.assert_array_equal(values == 1, seen.marked)
    assert roc_auc(seen.marked, values) == 1


def test_certain_probabilities_keep_the_ceiling_finite():
    p, who = np.array([0.0, 1.0, 0.0, 1.0]), np.arange(4)
    for kind in KINDS:
        seen = plant(Noise(kind, 0.2), [0, 1, 1, 0], who, who, rng=np.random.default_rng(0))
        found = ceiling(Noise(kind, 0.2), seen, p[seen.rows], who[seen.rows], who[seen.rows])
        assert np.isfinite(found).all()


# ---------------------------------------------------------------- from what is seen


def flipped(rate, seed=5, rows=40_000):
    """Return seen labels and the very probabilities of what is seen; some rows are sure."""
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(rows) < 0.2, 0.0, rng.beta(1, 2, size=rows))
    genuine = rng.random(rows) < p
    wrong = rng.random(rows) < rate
    return (genuine ^ wrong).astype(float), p * (1 - rate) + (1 - p) * rate, wrong


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_among_labels_with_one_chance_that_share_is_wrong(rate):
    labels, q, wrong = flipped(rate)
    chance = chance_wrong(labels, q, rate)
    edges = np.linspace(0, 1, 11)
    checked = 0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        at = (chance > low) & (chance <= high)
        if at.sum() > 200:
            assert within(wrong[at].mean(), chance[at].mean(), at.sum())
            checked += 1
    assert checked >= 5
    np.testing.assert_allclose(chance.mean(), rate, atol=0.01)


def test_the_chance_is_the_ceiling_once_the_noise_is_taken_out():
    p, who = np.linspace(0.01, 0.99, 99), np.arange(99)
    noise = Noise("flip", 0.3)
    seen = plant(noise, p > 0.5, who, who, rng=np.random.default_rng(0))
    want = ceiling(noise, seen, p, who, who)
    found = chance_wrong(seen.labels, 0.7 * p + 0.3 * (1 - p), 0.3)
    np.testing.assert_allclose(found, want, rtol=1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_among_positives_with_one_chance_that_share_is_a_misclick(rate):
    p, who = np.tile(np.linspace(0.0, 0.95, 20), 2000), np.arange(40_000)
    rng = np.random.default_rng(6)
    noise = Noise("misclick", rate)
    seen = plant(noise, rng.random(40_000) < p, who, who, rng=rng)
    chance = chance_misclicked(seen.labels, p + rate * (1 - p), rate)
    np.testing.assert_allclose(chance, ceiling(noise, seen, p, who, who), rtol=1e-6, atol=1e-9)
    for value in np.unique(chance.round(9)):
        at = chance.round(9) == value
        spread = np.sqrt(max(value * (1 - value), 1e-9) / at.sum())
        assert abs(seen.wrong[at].mean() - value) < 4 * spread + 1e-9
    assert not chance[seen.labels == 0].any()


def test_where_nothing_is_turned_no_label_is_suspect():
    np.testing.assert_array_equal(chance_wrong([0, 1, 1], [0.9, 0.0, 1.0], 0.0), np.zeros(3))


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.4])
def test_the_share_of_flips_is_read_off_the_surest_negatives(rate):
    labels, q, _ = flipped(rate)
    found = estimated_flip_share(labels, q, surest=0.1)
    assert abs(found - rate) <= 4 * np.sqrt(rate * (1 - rate) / 4000)


def test_no_more_than_half_of_the_labels_can_be_turned():
    assert estimated_flip_share(np.ones(10), np.linspace(0, 1, 10)) == 0.49


def test_without_sure_negatives_the_share_is_a_ceiling():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.2, 0.8, size=20_000)
    labels = (rng.random(20_000) < p) ^ (rng.random(20_000) < 0.1)
    assert estimated_flip_share(labels, 0.9 * p + 0.1 * (1 - p)) > 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chance_wrong([1], [0.5], 0.5), r"flip_share must lie in \[0, 0.5\); got 0.5"),
        (lambda: chance_wrong([1], [0.5], -0.1), "got -0.1"),
        (lambda: chance_misclicked([1], [0.5], 1.0), r"rate must lie in \[0, 1\); got 1.0"),
        (lambda: estimated_flip_share([1, 0], [0.5]), r"must agree; got \(2,\) and \(1,\)"),
        (lambda: estimated_flip_share([[1]], [[0.5]]), r"got \(1, 1\)"),
        (lambda: estimated_flip_share([1], [0.5], surest=0), r"surest must lie in \(0, 1\]; got 0"),
    ],
)
def test_shares_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
