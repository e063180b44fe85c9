"""What is fitted or chosen never sees the rows that it is judged on.

Every test spoils the labels of the judged rows, everywhere where they can be read, and asks that
what was fitted or chosen stays as it was, to the last bit; and then that it does move with the
rows that it is said to be fitted on, or the test would say nothing.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_samples import small_samples, small_samples_with_truth

from helpers.evaluation import evaluate
from helpers.evaluation.calibration import fit_recalibration
from helpers.experiments.detection import make_world
from helpers.experiments.retraining import table as attribution
from helpers.experiments.study import (
    ORACLE,
    QUICK,
    SUSPECTS,
    Comparison,
    Settings,
    confirm,
    judge,
    keep_curve,
)
from helpers.experiments.study.arms import CONFIRMED, CORRECTED
from helpers.losses import cross_entropy
from helpers.samples import Samples
from helpers.samples.noise import Noise

SMALL = Settings(rows=600, updates=8, batch_size=64, seeds=2, repeats=10)
FLIPS = Noise("flip", 0.2)
METRICS = {"quick": QUICK, "confirmed": CONFIRMED, "corrected": (*QUICK, CORRECTED)}
FITTED_ON = {"valid": "attribution", "test": "valid"}


def spoiled(samples: Samples, role: str) -> Samples:
    """Return samples in which two labels of three of a role are turned, in log and truth."""
    rows = samples.rows(role)
    rows = rows[np.arange(len(rows)) % 3 > 0]
    table = samples.table.copy()
    table.loc[rows, "label"] = 1 - table.loc[rows, "label"]
    truth = samples.truth
    if truth is not None:
        truth = truth.copy()
        truth.loc[rows, "clean_click"] = 1 - truth.loc[rows, "clean_click"]
    return dataclasses.replace(samples, table=table, truth=truth)


def with_other_labels(comparison: Comparison, role: str) -> Comparison:
    """Return the comparison with a role's labels spoiled, wherever a comparison can read them."""
    samples = spoiled(comparison.samples, role)
    world = dataclasses.replace(comparison.world, samples=samples)
    return dataclasses.replace(comparison, samples=samples, world=world)


@pytest.fixture(scope="module")
def noisy() -> Comparison:
    return Comparison.make(small_samples_with_truth(), "linear", SMALL, noise=FLIPS)


# ---------------------------------------------------------------- recalibration


@pytest.mark.parametrize("metrics", METRICS)
@pytest.mark.parametrize("role", FITTED_ON)
@pytest.mark.parametrize("action", ["uniform", SUSPECTS, next(iter(ORACLE))])
def test_a_recalibration_does_not_see_the_labels_that_it_is_judged_on(
    noisy: Comparison, role: str, action: str, metrics: str
):
    before = judge(noisy, action, role, metrics=METRICS[metrics])
    after = judge(with_other_labels(noisy, role), action, role, metrics=METRICS[metrics])
    np.testing.assert_array_equal(after.logits, before.logits)
    np.testing.assert_array_equal(after.recalibrated, before.recalibrated)
    np.testing.assert_array_equal(after.corrected, before.corrected)
    judged = list({"auc", "log_loss", "log_loss_recalibrated", CORRECTED} & set(before.metrics))
    assert (after.metrics[judged] != before.metrics[judged]).all(axis=None)  # they were turned


@pytest.mark.parametrize("role", FITTED_ON)
def test_a_recalibration_is_the_line_through_the_rows_of_the_role_before(
    noisy: Comparison, role: str
):
    arm = judge(noisy, "uniform", role, metrics=CONFIRMED)
    rows, labels = noisy.world.role(FITTED_ON[role])
    own_rows, own_labels = noisy.world.role(role)
    who = {
        "users": noisy.samples.column("user_id", own_rows),
        "lists": noisy.samples.lists(own_rows),
    }
    for seed in range(SMALL.seeds):
        fitted = noisy.fit("uniform", seed)
        line = fit_recalibration(labels, fitted.logits(noisy.samples.inputs(rows)))
        np.testing.assert_allclose(arm.recalibrated[seed], line.logits(arm.logits[seed]))
        want = evaluate(own_labels, arm.logits[seed], **who, recalibration=line)
        for metric in CONFIRMED:
            assert arm.metrics[metric][seed] == pytest.approx(want[metric], rel=1e-9)


@pytest.mark.parametrize("role", FITTED_ON)
def test_the_roles_that_may_be_seen_are_seen_and_no_other(noisy: Comparison, role: str):
    before = judge(noisy, SUSPECTS, role, metrics=METRICS["corrected"])
    for other in {"attribution", "valid", "test"} - {role}:
        after = judge(with_other_labels(noisy, other), SUSPECTS, role, metrics=METRICS["corrected"])
        moved = other == FITTED_ON[role]
        assert (after.recalibrated != before.recalibrated).any() == moved
        assert (after.corrected != before.corrected).any() == moved
        np.testing.assert_array_equal(after.logits, before.logits)


def test_the_confirmed_log_loss_is_that_of_a_line_fitted_on_valid():
    """The number that a study ends with, from its definition."""
    samples = small_samples()
    found = confirm(samples, SMALL, "linear", "drop random", metrics=["log_loss_recalibrated"])
    comparison, rows = Comparison.make(samples, "linear", SMALL), samples.rows("test")
    valid = samples.rows("valid")
    for column, action in (("before", "uniform"), ("after", "drop random")):
        losses = []
        for seed in range(SMALL.seeds):
            fitted = comparison.fit(action, seed)
            line = fit_recalibration(samples.labels(valid), fitted.logits(samples.inputs(valid)))
            z = line.slope * fitted.logits(samples.inputs(rows)) + line.intercept
            losses.append(cross_entropy(samples.labels(rows).astype(float), z).mean())
        assert found[column].iloc[0] == pytest.approx(np.mean(losses), rel=1e-6)


# ---------------------------------------------------------------- when to stop, which damping


def test_when_a_rival_stops_is_chosen_on_valid_also_where_test_is_judged(
    noisy: Comparison, tmp_path
):
    def kept(comparison: Comparison, name: str) -> np.ndarray:
        folder = tmp_path / name
        folder.mkdir()
        keep_curve(comparison, role="test", ways=(), fractions=(0.05,), folder=folder)
        (path,) = folder.glob("*stopped*0.05*.npy")
        return np.load(path)

    patient = dataclasses.replace(noisy, settings=dataclasses.replace(SMALL, updates=80))
    before = kept(patient, "before")
    np.testing.assert_array_equal(kept(with_other_labels(patient, "test"), "test"), before)
    # All labels of valid turned: what was best there is now worst.
    turned = patient.samples.table.copy()
    rows = patient.samples.rows("valid")
    turned.loc[rows, "label"] = 1 - turned.loc[rows, "label"]
    samples = dataclasses.replace(patient.samples, table=turned, truth=None)
    world = dataclasses.replace(patient.world, samples=samples)
    other = dataclasses.replace(patient, samples=samples, world=world)
    assert (kept(other, "valid") != before).any()


def test_a_damping_is_chosen_on_the_goals_that_are_not_judged(monkeypatch):
    rng = np.random.default_rng(0)
    members = rng.random((40, 20)) < 0.5
    judged = np.arange(10) >= 4
    truth = rng.normal(size=(20, 10))
    scores = {(name, None): truth for name in attribution.PAIR_SCORES}
    del scores["influence", None]
    wrong = rng.normal(size=truth.shape)
    # One damping is right for the goals to choose on, the other for those that are judged.
    scores["influence", 0.1] = np.where(judged, wrong, truth)
    scores["influence", 1.0] = np.where(judged, truth, wrong)
    monkeypatch.setattr(attribution, "pair_scores", lambda *_, **__: scores)

    def table(foretold: np.ndarray) -> pd.DataFrame:
        margins = (members @ foretold)[:, None, :]
        monkeypatch.setattr(attribution, "retrain_halves", lambda *_, **__: (members, margins))
        about = attribution.AttributionSettings(repeats=20)
        case = attribution.Case(about, None, None, None, np.arange(10), judged)
        return attribution.halves_table(case).set_index("score")

    found = table(truth)
    assert found.loc["influence", "damping"] == 0.1
    assert abs(found.loc["influence", "estimate"]) < 0.5
    assert found.loc["gradient dot", "estimate"] == pytest.approx(1)
    spoiled = table(np.where(judged, -truth, truth))
    assert spoiled.loc["influence", "damping"] == 0.1
    assert table(np.where(judged, truth, wrong)).loc["influence", "damping"] == 1.0


# ---------------------------------------------------------------- noise and truth


@pytest.mark.parametrize("role", ["attribution", "valid", "test"])
def test_a_worlds_train_rows_are_blind_to_every_other_role(role: str):
    samples = small_samples_with_truth()
    before = make_world(samples, FLIPS, rows=500)
    after = make_world(spoiled(samples, role), FLIPS, rows=500)
    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_array_equal(after.labels, before.labels)
    others = {"attribution", "valid", "test"} - {role}
    for other in others:
        np.testing.assert_array_equal(after.role(other)[1], before.role(other)[1])
    assert (after.role(role)[1] != before.role(role)[1]).any()
