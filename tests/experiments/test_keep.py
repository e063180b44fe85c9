"""Each way of keeping few rows keeps those it says, and the curve compares them as it says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_samples import small_samples

from helpers.evaluation import roc_auc
from helpers.evaluation.intervals import paired_difference
from helpers.experiments.study import WAYS, Comparison, OutOfFold, Settings, keep, keep_curve
from helpers.experiments.ways import RIVALS, Pick, Treatment, Way
from helpers.importance import out_of_fold_losses, out_of_fold_probabilities
from helpers.models import Trainer
from helpers.samples.noise import Noise

SMALL = Settings(rows=600, updates=10, batch_size=64, seeds=2, repeats=10)
FIXED = ("hardest", "easiest", "middle", "hardest by class")
FRACTIONS = (1.0, 0.1)


@pytest.fixture(scope="module")
def keeper():
    rng = np.random.default_rng(0)
    labels = (rng.random(400) < 0.2).astype(np.float32)
    return OutOfFold(labels, rng.uniform(0.05, 0.95, size=400))


@pytest.fixture(scope="module")
def comparison():
    return Comparison.make(small_samples(), "linear", SMALL, noise=Noise("flip", 0.2))


@pytest.fixture(scope="module")
def curve(comparison, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        return keep_curve(comparison, fractions=FRACTIONS)


# ---------------------------------------------------------------- which rows


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_every_way_keeps_its_share_of_the_rows(keeper, way, share):
    plan = keeper.plan(way, share, seed=0)
    assert abs(plan.kept.sum() - round(share * 400)) <= (way == "hardest by class")
    assert plan.weight[plan.kept].min() > 0


def test_the_hardest_have_the_highest_losses_and_the_easiest_the_lowest(keeper):
    loss = out_of_fold_losses(keeper.labels, keeper.probability)
    kept = {way: keeper.plan(way, 0.25, seed=0).kept for way in FIXED}
    assert loss[kept["hardest"]].min() > loss[~kept["hardest"]].max()
    assert loss[kept["easiest"]].max() < loss[~kept["easiest"]].min()
    below, above = (np.sum(loss < loss[kept["middle"]].min()), loss > loss[kept["middle"]].max())
    assert below == above.sum() == 150


def test_by_class_the_hardest_of_each_class_are_kept_in_proportion(keeper):
    loss = out_of_fold_losses(keeper.labels, keeper.probability)
    kept = keeper.plan("hardest by class", 0.25, seed=0).kept
    for label in (0, 1):
        mine = keeper.labels == label
        assert kept[mine].sum() == round(0.25 * mine.sum())
        assert loss[mine & kept].min() > loss[mine & ~kept].max()


def test_surprise_is_drawn_more_often_and_weighted_back(keeper):
    error = np.abs(keeper.probability - keeper.labels)
    chance = 0.8 * error / error.mean() + 0.2
    plan = keeper.plan("by surprise", 0.1, seed=0)
    want = 1 / chance[plan.kept]
    np.testing.assert_allclose(plan.weight[plan.kept], want / want.mean(), rtol=1e-9)
    mean = [error[keeper.plan("by surprise", 0.1, seed=s).kept].mean() for s in range(30)]
    assert np.mean(mean) > error.mean() + 0.03


def test_balanced_parts_have_as_many_positives_as_negatives(keeper):
    rates = [keeper.labels[keeper.plan("balanced", 0.1, seed=s).kept].mean() for s in range(50)]
    assert np.mean(rates) == pytest.approx(0.5, abs=0.05)
    weighted = keeper.plan("balanced", 0.1, seed=0)
    positive = keeper.labels == 1
    odds = weighted.weight[weighted.kept & ~positive][0] / weighted.weight[weighted.kept & positive]
    rate = positive.mean()
    np.testing.assert_allclose(odds, (1 - rate) / rate, rtol=1e-6)


@pytest.mark.parametrize("way", ["random", "balanced"])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_a_taught_part_is_the_same_rows_with_a_teacher_trusted_the_more_the_fewer_they_are(
    keeper, way, share
):
    plain, taught = (keeper.plan(name, share, seed=4) for name in (way, f"{way}, taught"))
    np.testing.assert_array_equal(taught.kept, plain.kept)
    np.testing.assert_array_equal(taught.weight, np.ones(400))
    trust = 1 - share / 2
    want = (1 - trust) * keeper.labels + trust * keeper.probability
    np.testing.assert_allclose(taught.labels, want, rtol=1e-6)
    assert plain.labels is None


@pytest.mark.parametrize("way", WAYS)
def test_only_what_is_drawn_depends_on_the_seed(keeper, way):
    first, again, other = (keeper.plan(way, 0.1, seed=seed).kept for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first == other).all() == (way in FIXED)


@pytest.mark.parametrize("name", ["random, taught", "hardest, stopped early", "", "balanced"])
@pytest.mark.parametrize("way", ["random", "balanced, taught", "hardest", "random, stopped early"])
def test_a_way_does_what_its_fields_say_whatever_its_name(keeper, monkeypatch, name, way):
    want = keeper.plan(way, 0.1, seed=3)
    monkeypatch.setattr(keep, "WAYS", {name: WAYS[way]})
    found = keeper.plan(name, 0.1, seed=3)
    np.testing.assert_array_equal(found.kept, want.kept)
    np.testing.assert_array_equal(found.weight, want.weight)
    assert (found.labels is None) == (WAYS[way].treatment != Treatment.TAUGHT)


def test_a_way_is_trained_as_its_fields_say_whatever_its_name(comparison, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    plain = {"random, stopped early": Way(Pick.RANDOM, ""), "taught": WAYS["random"]}
    monkeypatch.setattr(keep, "WAYS", WAYS | plain)
    found = keep_curve(comparison, ways=["taught"], fractions=(0.1,)).set_index("way").auc
    assert found["random, stopped early"] == found["taught"] == found["random"]


def test_unknown_ways_and_shares_are_refused(keeper):
    with pytest.raises(ValueError, match="way must be one of random, .*hardest, .* got 'best'"):
        keeper.plan("best", 0.1, seed=0)
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\]; got 0"):
        keeper.plan("random", 0, seed=0)


def test_a_keeper_knows_what_other_users_models_think(comparison):
    found = OutOfFold.of(comparison, folds=3, repeats=1)
    want = out_of_fold_probabilities(
        *(comparison.trainer, comparison.labels, comparison.world.users),
        **{"folds": 3, "repeats": 1, "updates": SMALL.updates, "seed": SMALL.seed + 2000},
    )
    np.testing.assert_array_equal(found.probability, want)
    np.testing.assert_array_equal(found.labels, comparison.labels)


# ---------------------------------------------------------------- the curve


def test_the_curve_has_a_row_for_each_share_and_way_with_random_first(curve):
    assert (curve["model"] == "linear").all()
    whole, part = (curve[curve["kept_fraction"] == share] for share in FRACTIONS)
    assert part["way"].tolist() == list(WAYS)
    assert whole["way"].tolist() == [way for way in WAYS if way not in FIXED]
    assert set(part["rows"]) == {60}
    assert set(whole["rows"]) == {600}
    assert (part["low"] <= part["over_random"]).all()
    assert (part["over_random"] <= part["high"]).all()


def test_random_parts_are_what_the_others_are_compared_with(curve):
    random = curve[curve["way"] == "random"].set_index("kept_fraction")
    assert (random[["over_random", "low", "high"]] == 0).all(axis=None)
    assert (random.loc[1.0, ["over_all", "all_low", "all_high"]] == 0).all()
    for row in curve.itertuples():
        gain = row.auc - random.loc[row.kept_fraction, "auc"]
        assert row.over_random == pytest.approx(gain, abs=1e-12)
        assert row.over_all == pytest.approx(row.auc - random.loc[1.0, "auc"], abs=1e-12)


def test_the_other_rival_stops_its_training_where_that_was_best(comparison, curve):
    samples, keeper = comparison.samples, OutOfFold.of(comparison)
    labels, inputs = comparison.judged_labels("valid"), samples.inputs(samples.rows("valid"))
    for share, part in curve.groupby("kept_fraction"):
        auc = part.set_index("way")["auc"]
        reached = []
        for updates in (1, 2, 5, 10):  # an eighth, a quarter, half and all of ten
            short = dataclasses.replace(
                comparison, settings=dataclasses.replace(SMALL, updates=updates)
            )
            plans = [keeper.plan("random", share, seed=seed) for seed in range(2)]
            fits = [short.fit_plan(plan, seed) for seed, plan in enumerate(plans)]
            reached.append(np.mean([roc_auc(labels, fitted.logits(inputs)) for fitted in fits]))
        assert reached[-1] == pytest.approx(auc["random"], abs=1e-6)
        assert auc["random, stopped early"] >= auc["random"]
        # Which rows a pass sees depends on its length only where there are several passes.
        if share == 1.0:
            assert auc["random, stopped early"] == pytest.approx(max(reached), abs=1e-6)
        gain = part["auc"] - auc["random, stopped early"]
        np.testing.assert_allclose(part["over_stopped"], gain, atol=1e-12)


@pytest.mark.parametrize("way", ["hardest", "balanced", "random, taught"])
def test_a_point_of_the_curve_is_its_plan_trained_from_every_seed(comparison, curve, way):
    samples, keeper = comparison.samples, OutOfFold.of(comparison)
    rows, labels = samples.rows("valid"), comparison.judged_labels("valid")

    def logits(way):
        plans = [keeper.plan(way, 0.1, seed=seed) for seed in range(2)]
        fits = [comparison.fit_plan(plan, seed) for seed, plan in enumerate(plans)]
        return np.array([fitted.logits(samples.inputs(rows)) for fitted in fits])

    mine, random = logits(way), logits("random")
    row = curve[(curve["way"] == way) & (curve["kept_fraction"] == 0.1)].iloc[0]
    assert row["auc"] == pytest.approx(np.mean([roc_auc(labels, z) for z in mine]), abs=1e-9)
    want = paired_difference(labels, random, mine, samples.column("user_id", rows), repeats=10)
    assert row["low"] == pytest.approx(want.low, abs=1e-9)
    assert row["high"] == pytest.approx(want.high, abs=1e-9)


def test_a_stopped_curve_goes_on_from_what_is_kept(comparison, curve, tmp_path, monkeypatch):
    fits, fit = [], Comparison.fit_plan

    def stop_later(self, plan, seed):
        fits.append(plan.name)
        if len(fits) > 9:
            raise KeyboardInterrupt
        return fit(self, plan, seed)

    monkeypatch.setattr(Comparison, "fit_plan", stop_later)
    with pytest.raises(KeyboardInterrupt):
        keep_curve(comparison, fractions=FRACTIONS, folder=tmp_path)
    # Nine fits are four whole points of two seeds; the fifth stopped early and was not counted.
    assert len(list(tmp_path.iterdir())) == 5
    monkeypatch.setattr(Comparison, "fit_plan", lambda *a: fits.append("more") or fit(*a))
    fits.clear()
    found = keep_curve(comparison, fractions=FRACTIONS, folder=tmp_path)
    early = (curve["way"] == "random, stopped early").sum()
    assert len(fits) == (len(curve) - early - 4) * 2
    pd.testing.assert_frame_equal(found, curve)
    fits.clear()
    pd.testing.assert_frame_equal(
        keep_curve(comparison, fractions=FRACTIONS, folder=tmp_path), curve
    )
    assert not fits


def test_a_curve_comes_from_the_cache_the_second_time(comparison, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    options = {"fractions": (0.5,), "ways": ("hardest",)}
    first = keep_curve(comparison, **options)
    assert first["way"].tolist() == [*RIVALS, "hardest"]
    monkeypatch.setattr(Trainer, "fit", None)  # training again would fail
    pd.testing.assert_frame_equal(keep_curve(comparison, **options), first)
    with pytest.raises(TypeError, match="not callable"):
        keep_curve(comparison, role="test", **options)


def test_a_curve_on_valid_is_blind_to_test(comparison, curve, tmp_path):
    samples = small_samples()
    rows, table, dense = samples.rows("test"), samples.table.copy(), samples.dense.copy()
    table.loc[rows, "label"] = 1 - table.loc[rows, "label"]
    dense[rows] = -dense[rows]
    other = dataclasses.replace(samples, table=table, dense=dense)
    moved = Comparison.make(
        other, "linear", SMALL, noise=Noise("flip", 0.2), trainer=comparison.trainer
    )
    found = keep_curve(moved, fractions=(0.1,), ways=("hardest",), folder=tmp_path)
    want = curve[(curve["kept_fraction"] == 0.1) & curve["way"].isin([*RIVALS, "hardest"])]
    pd.testing.assert_frame_equal(found, want.reset_index(drop=True))
