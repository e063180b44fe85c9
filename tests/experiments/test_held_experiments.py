"""Sizes, names and ends of the studies that hold without being looked at often."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest
from easy_samples import easy_samples
from small_samples import small_samples

from helpers import importance
from helpers.base.paths import REPO
from helpers.experiments import detection as judging
from helpers.experiments import retraining as attribution
from helpers.experiments import study
from helpers.experiments.detection import Budget, make_trainer, make_world, suspicions
from helpers.experiments.retraining import AttributionSettings, Case, pair_scores, retrain_halves
from helpers.experiments.retraining.pairs import SCORE_SEED
from helpers.experiments.study import ORACLE, QUICK, Comparison, Settings, judge, make_plans
from helpers.experiments.study.arms import arm_of
from helpers.experiments.study.recommend import _recovered
from helpers.importance import last_activations, tracin_scores
from helpers.models import Trainer
from helpers.samples.noise import Noise, chance_misclicked, plant

FLIPS = Noise("flip", 0.2)
TINY = Settings(rows=300, updates=4, batch_size=32, seeds=1, repeats=5)
CASE = AttributionSettings(
    kind="logistic", rows=60, goals=40, subsets=3, seeds=2, score_seeds=2, updates=12,
    batch_size=8, checkpoints=2, stride=3, neighbours=3, dampings=(0.1,), single_rows=60,
)  # fmt: skip


@pytest.fixture(scope="module")
def case():
    return Case.make(small_samples(), CASE)


# ---------------------------------------------------------------- what is published


@pytest.mark.parametrize("room", [study, judging, attribution], ids=lambda room: room.__name__)
def test_no_study_shows_a_bar_unless_it_is_asked_for(room):
    shown = {
        name: inspect.signature(each).parameters["progress"].default
        for name, each in vars(room).items()
        if callable(each) and "progress" in inspect.signature(each).parameters
    }
    assert shown
    assert not any(shown.values()), shown


def test_the_table_of_scores_in_the_repository_is_of_the_standard_sizes():
    about = json.loads((REPO / "bench/results/attribution.json").read_text("utf-8"))
    standard = dataclasses.asdict(AttributionSettings())
    assert {**about["settings"], "dampings": tuple(about["settings"]["dampings"])} == standard
    with pytest.raises(ValueError, match="with a logit; got 'linear'"):
        Case.make(small_samples(), AttributionSettings(kind="linear"))


@pytest.mark.parametrize("source", ["journey", "sample"])
def test_the_studies_in_the_repository_differ_from_the_standard_in_how_large_they_are(
    source, bench
):
    with pytest.raises(ValueError, match="action must be one of uniform"):
        bench.fit("nothing", 0)
    parts = json.loads((REPO / f"bench/results/{source}/study.json").read_text("utf-8"))
    larger = {"rows", "updates", "batch_size", "repeats"}
    standard = dataclasses.asdict(Settings())
    for about in parts.values():
        found = about["settings"]
        assert set(found) == set(standard)
        assert {name for name in standard if found[name] != standard[name]} <= larger


def test_the_detections_in_the_repository_were_made_with_the_standard_budget():
    """Their rung, updates and rows an update are said with them; this is the rest."""
    rest = {"seeds": 3, "folds": 5, "repeats": 3, "looks": 10, "early": 30, "goal_rows": 1000}
    found = Budget()
    assert {name: getattr(found, name) for name in rest} == rest
    assert (found.kind, found.updates, found.batch_size) == ("mlp", 300, 256)
    assert (found.in_run, found.seed) == (0, 100)
    world = make_world(small_samples(), FLIPS, rows=20)
    assert judging.recommended(world) == "out-of-fold loss"
    options = inspect.signature(judging.detect_all).parameters
    assert (options["worlds"].default, options["repeats"].default) == (2, 200)
    assert inspect.signature(judging.detect).parameters["worlds"].default == 5


# ---------------------------------------------------------------- pairs of rows


def test_tracin_is_of_the_checkpoints_that_are_spread_evenly_and_of_all_trainings(case):
    found = pair_scores(case)
    kind, want = case.trainer.kind, 0.0
    for seed in range(SCORE_SEED, SCORE_SEED + 2):
        way = case.trainer.checkpoints(case.labels, seed=seed, order=case.order(seed), at=[6, 12])
        rates = [kind.learning_rate] * 2
        want = want + tracin_scores(
            way[0].model, kind.loss, case.inputs, case.labels, case.goal,
            [fitted.weights for fitted in way], rates, each=True,
        ) / 2  # fmt: skip
    np.testing.assert_allclose(found["TracIn", None], want, rtol=1e-3, atol=1e-5)


def test_rows_of_one_label_have_1_and_others_0(case):
    found = pair_scores(case)["same label", None]
    want = case.labels.reshape(-1, 1) == case.goal[1].reshape(1, -1)
    assert 0 < want.mean() < 1
    np.testing.assert_array_equal(found, want)


def test_as_many_neighbours_vote_as_the_settings_say(case):
    fitted = [
        case.trainer.fit(case.labels, seed=seed, order=case.order(seed))
        for seed in range(SCORE_SEED, SCORE_SEED + 2)
    ]
    want = 0.0
    for each in fitted:
        points, goals = (last_activations(each, x) for x in (case.inputs, case.goal[0]))
        scale = points.std(axis=0)
        kept = scale > 0
        want = want + importance.knn_shapley(
            points[:, kept] / scale[kept], case.labels, goals[:, kept] / scale[kept],
            case.goal[1], k=3, each=True,
        ) / 2  # fmt: skip
    np.testing.assert_allclose(pair_scores(case)["KNN-Shapley", None], want, atol=1e-6)


def test_the_trainings_of_a_half_see_its_rows_in_orders_of_their_own(case, monkeypatch):
    seen, fit = [], Trainer.fit

    def spy(self, labels, **options):
        seen.append(options["order"])
        return fit(self, labels, **options)

    monkeypatch.setattr(Trainer, "fit", spy)
    members, _ = retrain_halves(case)
    want = [
        case.order(1000 * (number + 1) + seed, np.flatnonzero(half))
        for number, half in enumerate(members)
        for seed in range(2)
    ]
    np.testing.assert_array_equal(seen, want)


# ---------------------------------------------------------------- suspicions


@pytest.fixture(scope="module")
def flipped():
    world = make_world(easy_samples(), FLIPS, rows=200)
    budget = Budget(
        "logistic", updates=8, batch_size=32, seeds=1, folds=2, repeats=1, looks=2, early=2,
        goal_rows=20, in_run=20,
    )  # fmt: skip
    return world, budget, make_trainer(world, budget)


def test_leverage_is_the_norm_over_the_size_of_the_error_and_0_where_there_is_none(
    flipped, monkeypatch
):
    world, budget, trainer = flipped
    errors = np.linspace(-0.5, 0.5, 200)
    errors[::7] = 0.0
    monkeypatch.setattr(importance, "output_errors", lambda *_: errors)
    found = suspicions(world, budget, goals=(), trainer=trainer)
    want = np.where(errors == 0, 0, found["gradient norm"] / np.where(errors == 0, 1, abs(errors)))
    np.testing.assert_allclose(found["leverage"], want, rtol=1e-12)


def test_the_tracin_of_a_goal_is_of_four_checkpoints_the_last_at_the_end(flipped, monkeypatch):
    world, budget, trainer = flipped
    asked, way = [], Trainer.checkpoints

    def spy(self, labels, **options):
        asked.append(list(options["at"]))
        return way(self, labels, **options)

    monkeypatch.setattr(Trainer, "checkpoints", spy)
    suspicions(world, budget, trainer=trainer)
    assert [2, 4, 6, 8] in asked
    assert list(range(8)) in asked  # in-run Shapley follows no more updates than there are


def test_rows_of_a_world_are_rising_and_drawn_at_random():
    world = make_world(small_samples(), None, rows=50)
    assert (np.diff(world.rows) > 0).all()
    train = small_samples().rows("train")
    assert set(world.rows) <= set(train)
    assert set(world.rows) != set(train[:50])


# ---------------------------------------------------------------- noise


def test_a_positive_less_likely_than_any_misclick_is_one_for_sure():
    found = chance_misclicked([1, 1, 0], [0.05, 0.3, 0.05], 0.3)
    np.testing.assert_allclose(found, [1, 1, 0], rtol=1e-12)


def test_chances_are_float64_whatever_the_probabilities_are():
    p = np.float32([0.3, 0.6])
    exact = chance_misclicked([1, 1], p.astype(np.float64), 0.1)
    found = chance_misclicked([1, 1], p, 0.1)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_rate_of_misclicks_that_makes_no_sense_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate must lie in \[0, 1\); got"):
        chance_misclicked([1], [0.5], rate)


def test_a_chance_of_nothing_turns_nothing_and_of_1_turns_all_of_the_popular():
    """The chance of a popular misclick is limited to 1, and is 0 for what was positive."""
    items = np.r_[np.zeros(99, int), np.arange(1, 100)]
    labels = np.zeros(198, np.float32)
    labels[::3] = 1
    seen = plant(
        Noise("popular misclick", 0.49), labels, items, items, rng=np.random.default_rng(0)
    )
    assert not seen.chance[labels == 1].any()
    assert seen.chance.max() <= 1
    assert seen.chance[0] == 0


# ---------------------------------------------------------------- arms and plans


@pytest.fixture(scope="module")
def bench():
    return Comparison.make(small_samples(), "linear", TINY)


def test_the_quick_metrics_need_none_of_the_long_ones(bench, monkeypatch):
    monkeypatch.setattr("helpers.experiments.study.arms.evaluate", None)
    assert list(judge(bench, "uniform", "valid").metrics) == list(QUICK)


def test_arms_are_kept_in_files_without_blanks_and_signs_in_their_names(bench, tmp_path):
    noisy = dataclasses.replace(bench, data="20% flips")
    arm_of(noisy, "drop highest loss", "valid", tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("20_flips-linear-drop_highest_loss-valid-")


def test_a_benchs_trainer_takes_the_rows_an_update_of_its_settings(bench):
    assert bench.trainer.batch_size == TINY.batch_size


@pytest.mark.parametrize("genuine", [None, False, True])
def test_a_bench_takes_the_logs_own_labels_unless_it_is_asked_otherwise(genuine):
    options = {} if genuine is None else {"genuine": genuine}
    samples = easy_samples()
    truth = samples.truth.assign(clean_click=1 - samples.truth["clean_click"])
    odd = dataclasses.replace(samples, truth=truth)
    made = Comparison.make(odd, "linear", TINY, **options)
    own = odd.labels(made.rows)
    np.testing.assert_array_equal(made.labels, 1 - own if genuine else own)


def test_the_truncated_loss_reaches_its_share_after_a_third_of_the_updates(bench):
    options = {"drop_share": 0.1, "seed": 0, "folds": 2, "repeats": 1}
    for updates, ramp in ((2, 1), (12, 4)):
        plans = make_plans(bench.world, bench.trainer, updates=updates, **options)
        assert plans["truncated loss"].denoising.ramp == ramp


def test_all_trainings_of_the_plans_take_the_updates_that_are_asked_for(bench, monkeypatch):
    taken, fit = [], Trainer.fit

    def spy(self, labels, **options):
        taken.append(options["updates"])
        return fit(self, labels, **options)

    monkeypatch.setattr(Trainer, "fit", spy)
    make_plans(bench.world, bench.trainer, updates=3, drop_share=0.1, seed=0, folds=2, repeats=1)
    assert taken == [3] * 3


@pytest.mark.parametrize("oracle", [0.5, 0.6, np.nan])
def test_nothing_is_recovered_where_the_oracle_does_not_gain(oracle):
    auc = dict(zip(ORACLE, np.array([oracle, 0.6]), strict=True))
    assert np.isnan(_recovered({**auc, "uniform": np.float64(0.7)}, "uniform"))
    assert _recovered({**dict(zip(ORACLE, (0.8, 0.6), strict=True)), "a": 0.7}, "a") == (
        pytest.approx(0.5)
    )
