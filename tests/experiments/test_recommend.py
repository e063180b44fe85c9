"""The recommended action is judged beside the oracle and chance, for each kind of noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_samples import small_samples, small_samples_with_truth

from helpers.evaluation import roc_auc
from helpers.evaluation.calibration import fit_recalibration, fit_through_noise
from helpers.experiments.study import ORACLE, SUSPECTS, Comparison, Settings, act_as_recommended
from helpers.experiments.study.correction import corrected_line
from helpers.experiments.study.plans import far_out_users
from helpers.losses import cross_entropy
from helpers.models import Trainer
from helpers.samples.noise import Noise

SMALL = Settings(rows=600, updates=12, batch_size=64, seeds=2, repeats=10)
NOISES = [None, Noise("flip", 0.2), Noise("duplicate", 0.2)]
WITH_ORACLE = ["uniform", SUSPECTS, *ORACLE]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        return act_as_recommended(small_samples_with_truth(), SMALL, NOISES, kinds=["linear"])


@pytest.fixture(scope="module")
def flips():
    return Comparison.make(small_samples_with_truth(), "linear", SMALL, noise=NOISES[1])


def part(table, data):
    return table[table["data"] == data].set_index("action")


def test_every_noise_is_judged_beside_the_oracle_and_the_control_beside_chance(table):
    assert list(dict.fromkeys(table["data"])) == ["clean", "20% flips", "20% duplicates"]
    assert list(part(table, "clean").index) == ["uniform", SUSPECTS, "drop random"]
    for noise in NOISES[1:]:
        assert list(part(table, noise.name).index) == WITH_ORACLE
    assert set(table["model"]) == {"linear"}


def test_without_the_truth_the_control_is_the_log_as_it_is(tmp_path):
    found = act_as_recommended(
        small_samples(), SMALL, [None], kinds=["linear"], role="valid", folder=tmp_path
    )
    assert set(found["data"]) == {"as is"}


def test_the_uniform_plan_drops_nothing_and_differs_from_itself_by_nothing(table):
    uniform = table[table["action"] == "uniform"]
    differences = [name for name in table if "difference" in name or "low" in name]
    assert (uniform[["dropped", *differences]] == 0).all(axis=None)


def test_the_table_tells_which_share_is_dropped(table, flips):
    found = part(table, "20% flips")["dropped"]
    for action in WITH_ORACLE:
        assert found[action] == (~flips.plans[action].kept).mean()
    assert found["drop what is wrong"] == flips.world.planted.wrong.mean()
    assert found["drop random, as many"] == found["drop what is wrong"]
    copies = part(table, "20% duplicates")["dropped"]
    assert copies["drop what is wrong"] == pytest.approx(0.2 / 1.2, abs=0.03)


def test_actions_are_judged_on_clean_test_labels(table, flips):
    samples, found = flips.samples, part(table, "20% flips")
    rows = samples.rows("test")
    labels = samples.table["label"].to_numpy()[rows]  # as they are, not as the comparison says
    for action in (SUSPECTS, "drop what is wrong"):
        fits = [flips.fit(action, seed).logits(samples.inputs(rows)) for seed in range(2)]
        want = np.mean([roc_auc(labels, z) for z in fits])
        assert found.loc[action, "auc"] == pytest.approx(want, abs=1e-9)


def test_the_line_is_corrected_for_what_an_action_knows_to_be_wrong(table, flips):
    samples, test = flips.samples, flips.samples.rows("test")
    rows, seen = flips.world.role("valid")
    right = seen == flips.world.role("valid", noisy=False)[1]
    found = part(table, "20% flips")
    lines = {
        "uniform": lambda z: fit_recalibration(seen, z),
        SUSPECTS: lambda z: fit_through_noise(seen, z)[0],
        "drop what is wrong": lambda z: fit_recalibration(seen[right], z[right]),
    }
    losses = {}
    for action, line in lines.items():
        losses[action] = []
        for seed in range(2):
            fitted = flips.fit(action, seed)
            better = line(fitted.logits(samples.inputs(rows)))
            z = better.logits(fitted.logits(samples.inputs(test)))
            losses[action].append(cross_entropy(samples.labels(test), z).mean())
        want = np.mean(losses[action]) - np.mean(losses["uniform"])
        assert found.loc[action, "corrected_difference"] == pytest.approx(want, abs=1e-6)
    chance = found.loc["drop random, as many"]  # knows of nothing
    assert chance["corrected_difference"] == chance["log_loss_difference"]


@pytest.mark.parametrize("kind", ["misclick", "lost positive", "duplicate", "bot"])
def test_what_is_corrected_follows_from_the_kind_of_noise(kind: str):
    samples = small_samples_with_truth()
    world = Comparison.make(samples, "linear", SMALL, noise=Noise(kind, 0.2)).world
    rows, labels = world.role("valid")
    z = np.random.default_rng(1).normal(size=len(rows)) + 2 * labels - 3
    users = samples.column("user_id", rows)
    found = corrected_line(world, "valid", SUSPECTS, z)
    plain = fit_recalibration(labels, z)
    if kind == "misclick":
        assert found == fit_through_noise(labels, z, down=False)[0]
        assert found != plain
    elif kind == "bot":
        bots = far_out_users(users, cross_entropy(labels, z))
        assert found == fit_recalibration(labels[~bots], z[~bots])
        assert not set(users[bots]) & set(users[~bots])
        assert labels[bots].mean() > 2 * labels[~bots].mean()
    else:
        assert found == plain
    assert corrected_line(world, "valid", "drop random", z) == plain


def test_where_one_class_would_have_no_row_left_the_line_takes_all(monkeypatch):
    samples = small_samples_with_truth()
    world = Comparison.make(samples, "linear", SMALL, noise=Noise("bot", 0.2)).world
    labels = world.role("valid")[1]
    z = np.random.default_rng(1).normal(size=len(labels))
    monkeypatch.setattr(
        "helpers.experiments.study.correction.far_out_users", lambda *_: labels == 1
    )
    assert corrected_line(world, "valid", SUSPECTS, z) == fit_recalibration(labels, z)


def test_differences_are_to_the_uniform_plan(table):
    for noise in ("clean", "20% flips", "20% duplicates"):
        found = part(table, noise)
        gain = found["auc"] - found.loc["uniform", "auc"]
        np.testing.assert_allclose(found["difference"], gain, atol=1e-9)
        assert (found["low"] <= found["difference"]).all()
        assert (found["log_loss_low"] <= found["log_loss_high"]).all()


def test_recovered_is_the_part_of_the_way_from_chance_to_the_oracle(table):
    assert part(table, "clean")["recovered"].isna().all()
    gained = 0
    for noise in NOISES[1:]:
        found = part(table, noise.name)
        oracle, chance = (found.loc[action, "auc"] for action in ORACLE)
        if oracle <= chance:
            assert found["recovered"].isna().all()
            continue
        gained += 1
        want = (found["auc"] - chance) / (oracle - chance)
        np.testing.assert_allclose(found["recovered"], want, rtol=1e-9, atol=1e-12)
        assert found.loc[list(ORACLE), "recovered"].tolist() == [1.0, 0.0]
    assert gained


def test_a_stopped_run_goes_on_from_its_kept_arms(table, tmp_path, monkeypatch):
    fits, fit = [], Comparison.fit

    def stop_later(self, action, seed):
        fits.append(action)
        if len(fits) > 7:
            raise KeyboardInterrupt
        return fit(self, action, seed)

    about = (small_samples_with_truth(), SMALL, NOISES[:2])
    options = {"kinds": ["linear"], "folder": tmp_path}
    monkeypatch.setattr(Comparison, "fit", stop_later)
    with pytest.raises(KeyboardInterrupt):
        act_as_recommended(*about, **options)
    assert len(list(tmp_path.iterdir())) == 3  # seven fits are three whole arms of two seeds
    fits.clear()
    monkeypatch.setattr(Comparison, "fit", lambda *a: fits.append(a[1]) or fit(*a))
    found = act_as_recommended(*about, **options)
    assert len(fits) == (3 + 4 - 3) * 2
    want = table[table["data"] != "20% duplicates"]
    pd.testing.assert_frame_equal(found, want)


def test_what_was_judged_comes_from_the_cache_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    few = dataclasses.replace(SMALL, rows=300, updates=2, repeats=5)
    about = (small_samples(), few, [None])
    first = act_as_recommended(*about, kinds=["linear"])
    monkeypatch.setattr(Trainer, "fit", None)  # training again would fail
    pd.testing.assert_frame_equal(act_as_recommended(*about, kinds=["linear"]), first)
    with pytest.raises(TypeError, match="not callable"):
        act_as_recommended(*about, kinds=["linear"], role="valid")


def test_a_role_that_nothing_is_judged_on_is_refused(tmp_path):
    with pytest.raises(ValueError, match="role must be valid or test; got 'train'"):
        act_as_recommended(
            small_samples(), SMALL, [None], kinds=["linear"], role="train", folder=tmp_path
        )
