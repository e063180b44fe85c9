"""Every score of a world is oriented, repeatable and blind to test, and judged as by hand."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from easy_samples import easy_samples
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score
from small_samples import small_samples

from helpers.evaluation.intervals import paired_worlds
from helpers.experiments.detection import (
    CEILING,
    CLEANLAB,
    Budget,
    World,
    detect,
    detect_all,
    judge_board,
    make_trainer,
    make_world,
    precision_at,
    rank_agreement,
    rank_stability,
    suspicions,
)
from helpers.models import Trainer
from helpers.samples.noise import KINDS, RECOMMENDED, Noise, Planted

ROWS = 800
FLIPS = Noise("flip", 0.2)
BUDGET = Budget(
    kind="logistic",
    updates=300,
    batch_size=64,
    seeds=2,
    folds=3,
    repeats=2,
    looks=2,
    early=300,
    goal_rows=150,
    in_run=3,
)


@pytest.fixture(scope="module")
def trainer():
    """A trainer of the rows of every world without added rows."""
    return make_trainer(make_world(easy_samples(), None, rows=ROWS), BUDGET)


@pytest.fixture(scope="module")
def flipped():
    return make_world(easy_samples(), FLIPS, rows=ROWS)


@pytest.fixture(scope="module")
def table(flipped, trainer):
    return suspicions(flipped, BUDGET, goals=("clean", "noisy"), trainer=trainer)


def auroc(world, scores):
    return roc_auc_score(world.planted.marked, scores)


def spoiled(samples, roles):
    """Return samples whose rows of these roles have other labels, features and truth."""
    rows = np.concatenate([samples.rows(role) for role in roles])
    table, dense, truth = samples.table.copy(), samples.dense.copy(), samples.truth.copy()
    table.loc[rows, "label"] = 1 - table.loc[rows, "label"]
    dense[rows] = -dense[rows] + 1
    truth.loc[rows, "clean_click"] = 1 - truth.loc[rows, "clean_click"]
    truth.loc[rows, "p_clean"] = 0.5
    return dataclasses.replace(samples, table=table, dense=dense, truth=truth)


# ---------------------------------------------------------------- the scores of a world

USELESS = ("random", "label alone", "leverage", "rows like this one")


def test_every_score_is_there_for_every_row(table):
    assert len(table) == ROWS
    assert np.isfinite(table.to_numpy()).all()
    for name in {"random", "label alone", "loss", CLEANLAB, *RECOMMENDED.values()}:
        assert name in table
    goals = [name.removesuffix(", clean goal") for name in table if name.endswith("clean goal")]
    assert set(goals) == {"TracIn", "KNN-Shapley", "influence", "in-run Shapley"}
    assert [f"{name}, noisy goal" for name in goals] == [
        name for name in table if name.endswith("noisy goal")
    ]


def test_every_score_that_sees_labels_is_higher_for_flipped_ones(flipped, table):
    found = {name: auroc(flipped, table[name]) for name in table}
    for name, value in found.items():
        if name in USELESS:
            assert abs(value - 0.5) < 0.15, name
        else:
            assert value > 0.55, name
    assert found[RECOMMENDED["flip"]] > 0.8
    best = auroc(flipped, flipped.ceiling())
    assert max(found.values()) < best + 0.02


def test_a_score_of_a_class_is_silent_about_the_other(flipped, table):
    loss = table["out-of-fold loss"].to_numpy()
    positive = flipped.labels == 1
    np.testing.assert_array_equal(table["out-of-fold loss of positives"], positive * loss)
    np.testing.assert_array_equal(table["out-of-fold loss of negatives"], ~positive * loss)
    mean = pd.Series(loss).groupby(flipped.users).transform("mean")
    np.testing.assert_allclose(table["user's out-of-fold loss"], mean, rtol=1e-12)


def test_scores_are_the_same_again_and_blind_to_test_and_valid(flipped, table, trainer):
    samples = spoiled(easy_samples(), ["valid", "test"])
    world = make_world(samples, FLIPS, rows=ROWS)
    again = suspicions(world, BUDGET, goals=("clean", "noisy"), trainer=trainer)
    pd.testing.assert_frame_equal(again, table)


def test_only_the_scores_of_a_goal_see_the_attribution_rows(flipped, table, trainer):
    world = make_world(spoiled(easy_samples(), ["attribution"]), FLIPS, rows=ROWS)
    other = suspicions(world, BUDGET, goals=("clean",), trainer=trainer)
    for name in other:
        if name.endswith("goal"):
            assert not np.allclose(other[name], table[name]), name
        else:
            np.testing.assert_array_equal(other[name], table[name])
    assert not [name for name in other if name.endswith("noisy goal")]


@pytest.mark.parametrize(
    ("kind", "rate", "least"),
    [("misclick", 0.2, 0.8), ("lost positive", 0.2, 0.8), ("bot", 0.1, 0.8)],
)
def test_the_recommended_score_finds_its_kind_of_noise(trainer, kind, rate, least):
    world = make_world(easy_samples(), Noise(kind, rate), rows=ROWS)
    found = suspicions(world, BUDGET, goals=(), trainer=trainer)
    assert not [name for name in found if name.endswith("goal")]
    value = auroc(world, found[RECOMMENDED[kind]])
    assert value > least
    if kind == "bot":
        assert value > auroc(world, found["out-of-fold loss"])


def test_rows_that_are_there_twice_are_found_without_a_model():
    world = make_world(easy_samples(), Noise("duplicate", 0.1), rows=300)
    few = dataclasses.replace(BUDGET, updates=6, early=6, seeds=1, repeats=1)
    found = suspicions(world, few, goals=())
    assert auroc(world, found[RECOMMENDED["duplicate"]]) == 1
    np.testing.assert_array_equal(found[RECOMMENDED["duplicate"]], 1 + world.planted.marked)


# ---------------------------------------------------------------- judging them


@pytest.mark.parametrize("k", range(1, 7))
def test_precision_at_k_is_the_mean_over_all_orders_of_tied_rows(k):
    marked = np.array([1, 0, 1, 0, 0, 1], dtype=bool)
    scores = np.array([2.0, 2.0, 1.0, 3.0, 1.0, 1.0])
    orders = [o for o in permutations(range(6)) if (np.diff(scores[list(o)]) <= 0).all()]
    want = np.mean([marked[list(order[:k])].mean() for order in orders])
    assert precision_at(marked, scores, k) == pytest.approx(want, rel=1e-12)


def test_precision_at_k_of_random_scores_without_ties_is_that_of_sorting():
    rng = np.random.default_rng(0)
    marked, scores = rng.random(50) < 0.3, rng.normal(size=50)
    for k in (1, 7, 50):
        assert precision_at(marked, scores, k) == marked[np.argsort(-scores)[:k]].mean()


@pytest.mark.parametrize("k", [0, 4])
def test_more_rows_than_there_are_cannot_be_looked_at(k):
    with pytest.raises(ValueError, match=rf"k must be in \[1, 3\] \(number of rows\); got {k}"):
        precision_at([True, False, False], [1.0, 2.0, 3.0], k)


@pytest.fixture(scope="module")
def board():
    """Three worlds with made-up scores: no model was trained."""
    made = []
    for number in range(3):
        world = make_world(easy_samples(), FLIPS, rows=400, number=number)
        rng = np.random.default_rng(number)
        wrong, label = world.planted.wrong, world.labels
        scores = {
            CLEANLAB: wrong + rng.normal(size=400),
            "out-of-fold loss": np.round(2 * wrong + rng.normal(size=400), 1),
            "label alone": label.astype(float),
            "backwards": rng.normal(size=400) - wrong,
        }
        made.append((world, pd.DataFrame(scores)))
    return made


def test_a_board_is_the_mean_over_its_worlds(board):
    found = judge_board(board, repeats=30).set_index("score")
    assert list(found.index) == [*board[0][1], CEILING]
    assert set(found["noise"]) == {"20% flips"}
    for name in board[0][1]:
        parts = []
        for world, scores in board:
            marked, values, label = world.planted.marked, scores[name].to_numpy(), world.labels
            one = {
                "auroc": roc_auc_score(marked, values),
                "average_precision": average_precision_score(marked, values),
                "precision_at_k": precision_at(marked, values, marked.sum()),
                "share_marked": marked.mean(),
            }
            for part, at in (("among_positives", label == 1), ("among_negatives", label == 0)):
                one[part] = roc_auc_score(marked[at], values[at])
            parts.append(one)
        want = pd.DataFrame(parts).mean()
        np.testing.assert_allclose(found.loc[name, want.index].astype(float), want, rtol=1e-12)
    best = np.mean([roc_auc_score(w.planted.marked, w.ceiling()) for w, _ in board])
    np.testing.assert_allclose(found.loc[CEILING, "auroc"], best, rtol=1e-12)
    np.testing.assert_allclose(found["of_ceiling"], found["auroc"] / best, rtol=1e-12)


def test_every_score_is_compared_with_that_of_cleanlab(board):
    found = judge_board(board, repeats=30, seed=4).set_index("score")
    assert (found.loc[CLEANLAB, ["over_cleanlab", "low", "high"]] == 0).all()
    gain = found["auroc"] - found.loc[CLEANLAB, "auroc"]
    np.testing.assert_allclose(found["over_cleanlab"], gain, atol=1e-12)
    worlds = [
        (world.planted.marked, table[CLEANLAB], table["backwards"], world.users)
        for world, table in board
    ]
    want = paired_worlds(worlds, repeats=30, seed=4)
    assert tuple(found.loc["backwards", ["low", "high"]]) == (want.low, want.high)
    assert want.high < 0 < found.loc["out-of-fold loss", "low"]


def test_one_score_is_recommended_for_the_noise(board):
    found = judge_board(board, repeats=5)
    assert found.loc[found["recommended"], "score"].tolist() == [RECOMMENDED["flip"]]
    assert set(RECOMMENDED) == set(KINDS)


def test_without_the_truth_there_is_no_ceiling(board):
    unknown = dataclasses.replace(easy_samples(), truth=None)
    bare = [(dataclasses.replace(world, samples=unknown), table) for world, table in board]
    found = judge_board(bare, repeats=5)
    assert CEILING not in set(found["score"])
    assert found["of_ceiling"].isna().all()
    with_it = judge_board(board, repeats=5)
    pd.testing.assert_series_equal(found["auroc"], with_it["auroc"].iloc[:-1])


def test_what_cannot_be_found_among_a_class_is_undefined_there():
    rows = np.arange(40)
    labels = np.tile([0.0, 1.0], 20).astype(np.float32)
    marked = (labels == 1) & (rows < 20)
    planted = Planted(rows, labels, marked, marked, np.zeros(40))
    world = World(small_samples(), Noise("misclick", 0.2), rows, planted, 0, 0)
    scores = pd.DataFrame({CLEANLAB: rows.astype(float), "other": -rows.astype(float)})
    found = judge_board([(world, scores)], repeats=5)
    assert found["among_negatives"].isna().all()
    assert found["among_positives"].tolist() == [0.0, 1.0]


def test_an_empty_board_is_refused():
    with pytest.raises(ValueError, match="at least one world to judge in"):
        judge_board([])


def test_detection_judges_the_scores_of_every_world(trainer):
    few = dataclasses.replace(BUDGET, looks=2, seeds=1, repeats=1)
    options = {"rows": ROWS, "trainer": trainer}
    found = detect(easy_samples(), FLIPS, few, worlds=2, repeats=10, **options)
    worlds = [make_world(easy_samples(), FLIPS, rows=ROWS, number=number) for number in (0, 1)]
    board = [(world, suspicions(world, few, goals=(), trainer=trainer)) for world in worlds]
    pd.testing.assert_frame_equal(found, judge_board(board, repeats=10))
    by_score = found.set_index("score")["auroc"]
    assert by_score[RECOMMENDED["flip"]] > by_score["random"] + 0.2
    with pytest.raises(ValueError, match="at least one world"):
        detect(easy_samples(), FLIPS, few, rows=ROWS, worlds=0)


# ---------------------------------------------------------------- would another seed agree?


def test_agreement_is_spearmans_correlation_over_all_and_within_a_label():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 40])
    first = np.round(rng.normal(size=100) + 3 * labels, 1)
    second = np.round(rng.normal(size=100) + 3 * labels, 1)
    found = rank_agreement(first, second, labels)
    parts = {"all_rows": labels >= 0, "among_positives": labels == 1}
    parts["among_negatives"] = labels == 0
    for name, at in parts.items():
        want = spearmanr(first[at], second[at]).statistic
        assert found[name] == pytest.approx(want, rel=1e-9)
    assert found["all_rows"] > 0.5 > found["among_positives"]


def test_agreement_with_a_constant_score_is_undefined():
    labels = np.array([0, 0, 0, 1, 1, 1])
    scores = np.array([2.0, 2.0, 2.0, 1.0, 2.0, 3.0])
    found = rank_agreement(scores, np.arange(6.0), labels)
    assert np.isnan(found["among_negatives"])
    assert found["among_positives"] == 1


def test_stability_compares_every_score_over_seeds_and_over_moments(flipped, trainer):
    found = rank_stability(flipped, BUDGET, trainer)
    by_seed = found[found["across"] == "seeds"]
    assert set(by_seed["score"]) == {
        *("early error", "loss", "mean loss", "out-of-fold loss", "gradient norm"),
    }
    assert found.loc[found["across"] == "epochs", "score"].tolist() == ["loss"]
    values = found[["all_rows", "among_positives", "among_negatives"]]
    assert values.to_numpy().max() <= 1 + 1e-12
    labels = flipped.labels
    ends = [trainer.fit(labels, seed=seed, updates=300) for seed in (100, 101)]
    errors = [np.abs(fitted.probabilities(trainer.inputs) - labels) for fitted in ends]
    want = spearmanr(*errors).statistic
    loss = by_seed.set_index("score").loc["loss", "all_rows"]
    np.testing.assert_allclose(loss, want, atol=1e-4)


@pytest.mark.parametrize("change", [{"seeds": 1}, {"looks": 1}], ids=["seeds", "looks"])
def test_one_training_or_one_look_tells_nothing_of_stability(flipped, trainer, change):
    with pytest.raises(ValueError, match="two seeds and two looks are needed"):
        rank_stability(flipped, dataclasses.replace(BUDGET, **change), trainer)


# ---------------------------------------------------------------- many kinds at once


def test_all_kinds_are_judged_one_below_the_other_and_kept(trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "helpers.experiments.detection.lab.make_trainer", lambda *_: trainer
    )  # compiled already
    few = dataclasses.replace(BUDGET, seeds=1, repeats=1)
    kinds, options = [FLIPS, Noise("lost positive", 0.2)], {"rows": ROWS, "worlds": 1, "repeats": 5}
    found = detect_all(easy_samples(), kinds, few, **options)
    parts = [detect(easy_samples(), kind, few, trainer=trainer, **options) for kind in kinds]
    want = pd.concat(parts, ignore_index=True).assign(model="logistic")
    pd.testing.assert_frame_equal(found, want)
    monkeypatch.setattr(Trainer, "fit", None)  # scoring again would fail
    pd.testing.assert_frame_equal(detect_all(easy_samples(), kinds, few, **options), want)
    with pytest.raises(TypeError, match="not callable"):
        detect_all(easy_samples(), kinds, few, **(options | {"seed": 1}))
