"""A study is paired, repeatable, blind to test, and its importances reach the training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_samples import small_samples

from helpers.evaluation import evaluate, roc_auc
from helpers.experiments.study import (
    ACTIONS,
    ORACLE,
    QUICK,
    REFERENCES,
    Arm,
    Comparison,
    Settings,
    compare,
    confirm,
    judge,
    read_arm,
    run_study,
    write_arm,
)
from helpers.models import Trainer
from helpers.samples.noise import Noise

SMALL = Settings(rows=2000, updates=20, batch_size=64, seeds=2, repeats=30)
FLIPS = Noise("flip", 0.2)
UP = "up-weight by gradient norm"


@pytest.fixture(scope="module")
def comparisons():
    """The linear rung on the data as it is and with planted noise."""
    plain = Comparison.make(small_samples(), "linear", SMALL)
    noisy = Comparison.make(small_samples(), "linear", SMALL, noise=FLIPS, trainer=plain.trainer)
    return {"as is": plain, "noisy": noisy}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        return run_study(small_samples(), SMALL, kinds=("linear",))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))


def with_other_test(samples):
    """Return samples whose test rows have other labels and features."""
    rows = samples.rows("test")
    table, dense = samples.table.copy(), samples.dense.copy()
    table.loc[rows, "label"] = 1 - table.loc[rows, "label"]
    dense[rows] = -dense[rows]
    return dataclasses.replace(samples, table=table, dense=dense)


# ---------------------------------------------------------------- the comparison


def test_the_rows_are_train_rows_drawn_once(comparisons):
    samples = small_samples()
    for comparison in comparisons.values():
        assert len(np.unique(comparison.rows)) == SMALL.rows
        assert np.isin(comparison.rows, samples.rows("train")).all()
    np.testing.assert_array_equal(comparisons["as is"].rows, comparisons["noisy"].rows)
    other = dataclasses.replace(SMALL, seed=1)
    moved = Comparison.make(samples, "linear", other, trainer=comparisons["as is"].trainer)
    assert (moved.rows != comparisons["as is"].rows).any()


def test_planted_flips_have_the_stated_share_in_both_classes(comparisons):
    comparison = comparisons["noisy"]
    true = comparison.samples.labels(comparison.rows)
    np.testing.assert_array_equal(comparison.labels != true, comparison.world.planted.wrong)
    for label in (0.0, 1.0):
        mine = comparison.world.planted.wrong[true == label]
        spread = np.sqrt(0.2 * 0.8 / len(mine))
        assert abs(mine.mean() - 0.2) < 4 * spread
    assert not comparisons["as is"].world.planted.wrong.any()
    np.testing.assert_array_equal(comparisons["as is"].labels, true)


def test_flips_are_never_on_test_and_always_the_same_elsewhere(comparisons):
    comparison, samples = comparisons["noisy"], small_samples()
    for role in ("train", "attribution", "valid", "test"):
        true = samples.labels(samples.rows(role))
        flipped = comparison.judged_labels(role) != true
        np.testing.assert_array_equal(comparisons["as is"].judged_labels(role), true)
        np.testing.assert_array_equal(comparison.judged_labels(role) != true, flipped)
        assert flipped.any() == (role != "test")
    attribution, valid = (
        comparison.judged_labels(r) != samples.labels(samples.rows(r))
        for r in ("attribution", "valid")
    )
    few = min(len(attribution), len(valid))
    assert (attribution[:few] != valid[:few]).any()


def test_all_plans_are_made_from_the_benchs_own_labels(comparisons):
    plain, noisy = (comparison.plans for comparison in comparisons.values())
    assert list(plain) == list(ACTIONS)
    assert list(noisy) == [*ACTIONS, *ORACLE]
    assert len(ACTIONS) == 15
    shared = {"drop suspects", *ORACLE}  # how many they drop depends on the labels
    for plans in (plain, noisy):
        assert all(len(plan.weight) == SMALL.rows for plan in plans.values())
        for action, plan in plans.items():
            if action not in shared:
                assert (~plan.kept).sum() == (200 if action.startswith("drop") else 0), action
    np.testing.assert_array_equal(plain["drop random"].kept, noisy["drop random"].kept)
    assert (plain[UP].weight != noisy[UP].weight).any()


def test_arms_of_one_seed_start_alike_and_see_rows_in_one_order(comparisons, monkeypatch):
    comparison, seen = comparisons["as is"], []
    fit = Trainer.fit

    def spy(self, labels, **options):
        seen.append((labels, options))
        return fit(self, labels, **options)

    comparison.plans  # noqa: B018 - made before the spy listens
    monkeypatch.setattr(Trainer, "fit", spy)
    weights = [comparison.fit(action, 1).weights[0] for action in ("uniform", UP)]
    (labels, first), (same_labels, second) = seen
    np.testing.assert_array_equal(labels, same_labels)
    np.testing.assert_array_equal(first["order"], second["order"])
    assert first["seed"] == second["seed"] == 1
    np.testing.assert_array_equal(second["sample_weight"], comparison.plans[UP].weight)
    assert not np.allclose(weights[0], weights[1], atol=1e-4)  # importances are not ignored


def test_other_labels_and_losses_reach_the_training(comparisons, monkeypatch):
    comparison, seen = comparisons["noisy"], []
    fit = Trainer.fit

    def spy(self, labels, **options):
        seen.append((labels, options))
        return fit(self, labels, **options)

    uniform = comparison.fit("uniform", 0).weights[0]
    monkeypatch.setattr(Trainer, "fit", spy)
    for action in ("relabel softly", "truncated loss", "reweighted loss"):
        weights = comparison.fit(action, 0).weights[0]
        assert (weights != uniform).any(), action
    (soft, _), (given, truncated), (_, reweighted) = seen
    np.testing.assert_allclose(soft, comparison.plans["relabel softly"].labels, rtol=1e-6)
    assert ((soft > 0) & (soft < 1)).any()
    np.testing.assert_array_equal(given, comparison.labels)
    assert truncated["denoising"] == comparison.plans["truncated loss"].denoising
    assert reweighted["denoising"] == comparison.plans["reweighted loss"].denoising


def test_flipped_labels_are_what_the_noisy_bench_trains_on(comparisons):
    weights = [comparison.fit("uniform", 0).weights[0] for comparison in comparisons.values()]
    assert not np.allclose(weights[0], weights[1], atol=1e-4)


# ---------------------------------------------------------------- judging and comparing


def test_an_arm_is_judged_on_its_own_logits(comparisons):
    comparison, samples = comparisons["noisy"], small_samples()
    arm = judge(comparison, "drop random", "valid")
    rows, labels = samples.rows("valid"), comparison.judged_labels("valid")
    for seed in range(2):
        z = comparison.fit("drop random", seed).logits(samples.inputs(rows))
        np.testing.assert_array_equal(arm.logits[seed], z)
        assert arm.metrics["auc"][seed] == roc_auc(labels, z)


def test_the_quick_metrics_are_those_of_evaluate(comparisons):
    quick = judge(comparisons["as is"], "uniform", "valid").metrics
    full = judge(comparisons["as is"], "uniform", "valid", metrics=[*QUICK, "pr_auc"]).metrics
    assert list(quick.columns) == list(QUICK)
    np.testing.assert_allclose(full[list(QUICK)], quick, rtol=1e-9)
    assert full["pr_auc"].between(0, 1).all()


def test_recalibration_keeps_the_order_of_the_rows(comparisons):
    arm = judge(comparisons["as is"], UP, "valid")
    for raw, line in zip(arm.logits, arm.recalibrated, strict=True):
        slope, intercept = np.polyfit(raw, line, 1)
        np.testing.assert_allclose(slope * raw + intercept, line, rtol=1e-6, atol=1e-8)


def test_an_arm_compared_with_itself_differs_by_exactly_nothing(comparisons):
    comparison = comparisons["as is"]
    arm = judge(comparison, UP, "valid")
    table = compare(comparison, arm, arm, "valid", metrics=QUICK)
    assert table["metric"].tolist() == list(QUICK)
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    np.testing.assert_array_equal(table["before"], arm.metrics.mean())


def test_where_nobody_comes_twice_there_is_no_difference_within_users(comparisons):
    comparison = comparisons["as is"]
    table = comparison.samples.table
    alone = table.assign(user_id=[f"u{i}" for i in range(len(table))])
    comparison = dataclasses.replace(
        comparison, samples=dataclasses.replace(comparison.samples, table=alone)
    )
    metrics = ("auc", "user_auc")
    before = judge(comparison, "uniform", "valid", metrics=metrics)
    found = compare(comparison, before, before, "valid", metrics=metrics).set_index("metric")
    assert found.loc["user_auc", ["difference", "low", "high"]].isna().all()
    assert found.loc["auc", ["difference", "low", "high"]].eq(0).all()


def test_a_difference_is_after_minus_before_paired_by_seed(comparisons):
    comparison = comparisons["as is"]
    before, after = judge(comparison, "uniform", "valid"), judge(comparison, UP, "valid")
    row = compare(comparison, before, after, "valid").iloc[0]
    assert (row["data"], row["model"], row["action"]) == ("as is", "linear", UP)
    want = (after.metrics["auc"] - before.metrics["auc"]).mean()
    np.testing.assert_allclose(row["difference"], want, rtol=1e-9)
    np.testing.assert_allclose(row["after"] - row["before"], want, rtol=1e-9)
    assert row["low"] < row["difference"] < row["high"]


def test_arms_that_cannot_be_compared_are_refused(comparisons):
    plain, noisy = comparisons.values()
    arm = judge(plain, "uniform", "valid")
    with pytest.raises(ValueError, match="both arms must be of '20% flips'"):
        compare(noisy, arm, arm, "valid")
    with pytest.raises(ValueError, match="'linear', 'test'"):
        compare(plain, arm, arm, "test")
    with pytest.raises(ValueError, match="'uniform' holds no ndcg_at_k"):
        compare(plain, arm, arm, "valid", metrics=["ndcg_at_k"])
    with pytest.raises(ValueError, match="role must be valid or test; got 'train'"):
        judge(plain, "uniform", "train")
    with pytest.raises(ValueError, match="action must be one of uniform, .* got 'magic'"):
        plain.fit("magic", 0)


def test_an_arm_is_kept_bit_for_bit(comparisons, tmp_path):
    arm = judge(comparisons["as is"], UP, "valid")
    write_arm(arm, tmp_path / "arm.parquet")
    back = read_arm(tmp_path / "arm.parquet")
    for name in ("data", "kind", "action", "role"):
        assert getattr(back, name) == getattr(arm, name)
    np.testing.assert_array_equal(back.logits, arm.logits)
    np.testing.assert_array_equal(back.recalibrated, arm.recalibrated)
    np.testing.assert_array_equal(back.corrected, arm.corrected)
    pd.testing.assert_frame_equal(back.metrics, arm.metrics)
    assert [path.name for path in tmp_path.iterdir()] == ["arm.parquet"]


# ---------------------------------------------------------------- the whole study


def test_a_study_has_a_row_for_each_data_version_and_action(study):
    table, chosen = study
    assert table["action"].tolist() == [*ACTIONS, *ACTIONS, *ORACLE]
    assert table["data"].tolist() == ["as is"] * 15 + ["20% flips"] * 17
    assert set(table["model"]) == {"linear"}
    uniform = table[table["action"] == "uniform"]
    assert (uniform[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table["low"] <= table["difference"]).all()
    assert (table["difference"] <= table["high"]).all()
    for row in chosen.itertuples():
        mine = table[(table["data"] == row.data) & ~table["action"].isin(REFERENCES)]
        assert mine.loc[mine["auc"].idxmax(), "action"] == row.action


def test_what_looks_at_the_truth_or_at_nothing_is_never_chosen(monkeypatch):
    def best(comparison, action, *_, **__):  # the references win by far
        rng = np.random.default_rng(len(action))
        size = len(comparison.samples.rows("valid"))
        logits = comparison.judged_labels("valid") * (9.0 if action in REFERENCES else 1.0)
        logits = logits + rng.normal(size=(2, size))
        auc = [roc_auc(comparison.judged_labels("valid"), z) for z in logits]
        table = pd.DataFrame({name: auc for name in QUICK})
        return Arm(comparison.data, comparison.kind, action, "valid", logits, logits, logits, table)

    monkeypatch.setattr("helpers.experiments.study.whole.arm_of", best)
    few = dataclasses.replace(SMALL, rows=300, updates=2, repeats=5)
    with pytest.MonkeyPatch.context() as patch:
        target = "helpers.experiments.study.whole.cached_tables"
        patch.setattr(target, lambda _, __, build, **___: build())
        table, chosen = run_study(small_samples(), few, kinds=("linear",))
    top = table.loc[table.groupby("data")["auc"].idxmax(), "action"]
    assert set(top) <= set(REFERENCES)
    assert len(chosen) == 2
    assert not set(chosen["action"]) & set(REFERENCES)


@pytest.mark.usefixtures("empty_cache")
def test_two_studies_are_equal_and_test_rows_change_nothing(study):
    again = run_study(with_other_test(small_samples()), SMALL, kinds=("linear",))
    pd.testing.assert_frame_equal(again[0], study[0])
    pd.testing.assert_frame_equal(again[1], study[1])


def test_a_stopped_study_goes_on_from_its_kept_arms(study, tmp_path, monkeypatch):
    fits = []
    fit = Comparison.fit

    def stop_later(self, action, seed):
        fits.append(action)
        if len(fits) > 9:
            raise KeyboardInterrupt
        return fit(self, action, seed)

    monkeypatch.setattr(Comparison, "fit", stop_later)
    with pytest.raises(KeyboardInterrupt):
        run_study(small_samples(), SMALL, kinds=("linear",), folder=tmp_path)
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 4  # nine fits are four whole arms of two seeds
    assert all("valid" in name for name in kept)  # an arm of one role is none of another
    monkeypatch.setattr(Comparison, "fit", lambda *a: fits.append(a[1]) or fit(*a))
    fits.clear()
    table, chosen = run_study(small_samples(), SMALL, kinds=("linear",), folder=tmp_path)
    assert len(fits) == (15 + 17 - 4) * 2
    pd.testing.assert_frame_equal(table, study[0])
    pd.testing.assert_frame_equal(chosen, study[1])


@pytest.mark.usefixtures("empty_cache")
def test_a_study_comes_from_the_cache_the_second_time(monkeypatch):
    few = dataclasses.replace(SMALL, rows=300, updates=2, repeats=5)
    first = run_study(small_samples(), few, kinds=("linear",))
    monkeypatch.setattr(Trainer, "fit", None)  # training again would fail
    second = run_study(small_samples(), few, kinds=("linear",))
    pd.testing.assert_frame_equal(first[0], second[0])
    pd.testing.assert_frame_equal(first[1], second[1])
    with pytest.raises(TypeError, match="not callable"):
        run_study(small_samples(), dataclasses.replace(few, updates=3), kinds=("linear",))


@pytest.mark.usefixtures("empty_cache")
def test_the_order_of_the_rungs_is_kept_within_a_data_version():
    few = dataclasses.replace(SMALL, rows=300, updates=2, repeats=5)
    table, _ = run_study(small_samples(), few, kinds=("logistic", "linear"))
    found = list(dict.fromkeys(zip(table["data"], table["model"], strict=True)))
    noisy = "20% flips"
    assert found == [
        ("as is", "logistic"),
        ("as is", "linear"),
        (noisy, "logistic"),
        (noisy, "linear"),
    ]


def test_confirming_judges_on_clean_test_labels():
    samples = small_samples()
    metrics = ("auc", "ndcg_at_k", "base_rate")
    found = confirm(samples, SMALL, "linear", "drop random", noise=FLIPS, metrics=metrics)
    assert found["metric"].tolist() == list(metrics)
    comparison = Comparison.make(samples, "linear", SMALL, noise=FLIPS)
    rows = samples.rows("test")
    true = samples.table["label"].to_numpy()[rows]  # as they are, not as the comparison says
    who = {"users": samples.column("user_id", rows), "lists": samples.lists(rows)}
    for column, action in (("before", "uniform"), ("after", "drop random")):
        want = [
            evaluate(true, comparison.fit(action, seed).logits(samples.inputs(rows)), **who)
            for seed in range(2)
        ]
        for row in found.itertuples():
            np.testing.assert_allclose(
                getattr(row, column), np.mean([w[row.metric] for w in want]), rtol=1e-9
            )
