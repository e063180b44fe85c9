"""The examination of scores: who is drawn, what is trained on, and that it tells scores apart."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from small_samples import small_samples

from helpers.base.paths import REPO
from helpers.experiments.retraining import (
    PAIR_SCORES,
    AttributionSettings,
    Case,
    attribution_table,
    halves_table,
    leaving_out_table,
    pair_scores,
    retrain_halves,
)
from helpers.experiments.retraining.pairs import SCORE_SEED
from helpers.importance import GradientKernel, influence_scores
from helpers.models import Trainer

SMALL = AttributionSettings(
    kind="logistic", rows=120, goals=60, subsets=24, seeds=2, score_seeds=1, updates=60,
    batch_size=16, checkpoints=3, stride=4, dampings=(0.03, 0.3), single_rows=150, repeats=30,
)  # fmt: skip


@pytest.fixture(scope="module")
def case():
    return Case.make(small_samples(), SMALL)


@pytest.fixture(scope="module")
def halves(case):
    return retrain_halves(case)


@pytest.fixture(scope="module")
def scores(case):
    return pair_scores(case)


# ---------------------------------------------------------------- the rows


def test_goals_are_attribution_rows_and_no_test_row_is_touched(monkeypatch):
    asked, rows = [], type(small_samples()).rows
    monkeypatch.setattr(
        type(small_samples()), "rows", lambda self, role: asked.append(role) or rows(self, role)
    )
    Case.make(small_samples(), SMALL)
    assert set(asked) == {"train", "attribution"}


def test_the_damping_is_chosen_on_users_that_are_not_judged(case):
    assert not set(case.users[case.judged]) & set(case.users[~case.judged])
    assert 0.1 < (~case.judged).mean() < 0.6
    assert len(case.users) == len(case.goal[1]) == 60


def test_margins_are_logits_of_the_right_answer(case):
    found = case.margins(np.ones(60))
    np.testing.assert_array_equal(found, np.where(case.goal[1] == 1, 1, -1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "linear"}, "kind must be logistic or mlp, with a logit; got 'linear'"),
        ({"chosen_share": 0.0}, "must be split into some to choose the damping on"),
        ({"chosen_share": 1.0}, "draw more goals"),
    ],
)
def test_a_case_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Case.make(small_samples(), dataclasses.replace(SMALL, **change))


# ---------------------------------------------------------------- the halves


def test_each_half_is_trained_on_its_own_rows_only(case, halves, monkeypatch):
    members, margins = halves
    fit, orders = Trainer.fit, []

    def spy(self, labels, **options):
        orders.append((options["seed"], np.unique(options["order"])))
        return fit(self, labels, **options)

    monkeypatch.setattr(Trainer, "fit", spy)
    again_members, again = retrain_halves(case)
    np.testing.assert_array_equal(again, margins)
    np.testing.assert_array_equal(again_members, members)
    assert [seed for seed, _ in orders] == [0, 1] * 24
    for number, (_, rows) in enumerate(orders):
        assert set(rows) == set(np.flatnonzero(members[number // 2]))


def test_a_stopped_examination_goes_on_where_it_was(case, halves, tmp_path, monkeypatch):
    fit, calls = Trainer.fit, []

    def stops(self, labels, **options):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return fit(self, labels, **options)

    monkeypatch.setattr(Trainer, "fit", stops)
    with pytest.raises(KeyboardInterrupt):
        retrain_halves(case, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3  # whole halves, and nothing else
    members, margins = retrain_halves(case, folder=tmp_path)
    assert len(calls) == 8 + 2 * (24 - 3)
    np.testing.assert_array_equal(margins, halves[1])
    np.testing.assert_array_equal(retrain_halves(case, folder=tmp_path)[1], margins)
    assert len(calls) == 8 + 2 * (24 - 3)


# ---------------------------------------------------------------- the scores


def test_there_is_every_score_at_every_damping(scores):
    named = {name for name, _ in scores}
    assert named == set(PAIR_SCORES)
    assert {d for name, d in scores if name == "influence"} == {0.03, 0.3}
    assert all(values.shape == (120, 60) for values in scores.values())


def test_the_influence_of_the_table_is_that_of_conjugate_gradients(case, scores):
    fitted = case.trainer.fit(case.labels, seed=SCORE_SEED, order=case.order(SCORE_SEED))
    want = influence_scores(
        fitted.model, case.trainer.kind.loss, case.inputs, case.labels, case.goal, each=True,
        curvature="gauss_newton", damping=0.3, tolerance=1e-5,
    )  # fmt: skip
    found = scores["influence", 0.3]
    np.testing.assert_allclose(found, want, rtol=1e-2, atol=1e-3 * np.abs(want).max())
    np.testing.assert_array_equal(found, scores["influence, one training", 0.3])


def test_the_trainings_of_the_scores_are_none_of_the_halves(case, monkeypatch):
    seeds, way = [], Trainer.checkpoints

    def spy(self, labels, **options):
        seeds.append(options["seed"])
        return way(self, labels, **options)

    monkeypatch.setattr(Trainer, "checkpoints", spy)
    pair_scores(case)
    assert not set(seeds) & set(range(SMALL.seeds))


def test_in_run_values_of_all_updates_rank_rows_like_tracin_when_rows_take_part_alike(scores):
    run, traced = scores["in-run Shapley", None], scores["TracIn", None]
    assert spearmanr(run.ravel(), traced.ravel()).statistic > 0.8


# ---------------------------------------------------------------- the tables


def test_influence_foretells_halves_and_chance_does_not(case):
    table = halves_table(case).set_index("score")
    assert list(table.index) == [*PAIR_SCORES, "retraining itself"]
    assert table.loc["influence", "low"] > 0.3
    assert table.loc["chance", "low"] < 0 < table.loc["chance", "high"]
    assert table.loc["influence", "estimate"] > table.loc["same label", "estimate"]
    assert table.loc["retraining itself", "estimate"] > table.loc["influence", "estimate"] - 0.05
    assert table["damping"].notna().sum() == 3
    assert ((table.low <= table.estimate) & (table.estimate <= table.high)).all()


def test_influence_ranks_single_rows_like_refits_and_better_than_a_gradient_dot():
    settings = dataclasses.replace(SMALL, single_rows=500, goals=150)
    table = leaving_out_table(small_samples(), settings).set_index("score")
    assert table.loc["influence", "estimate"] > 0.95
    assert table.loc["influence", "low"] > table.loc["gradient dot", "high"]


def test_the_table_comes_from_the_cache_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    settings = dataclasses.replace(SMALL, subsets=12, updates=10, single_rows=60, repeats=10)
    table = attribution_table(small_samples(), settings)
    assert list(table.columns) == ["test", "score", "damping", "estimate", "low", "high"]
    assert set(table.test) == {"halves", "one row out"}
    monkeypatch.setattr(Trainer, "fit", None)
    monkeypatch.setattr(GradientKernel, "at", None)
    again = attribution_table(small_samples(), settings)
    assert again.equals(table)


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def command():
    """The script of ``make attribution``, as a module."""
    spec = importlib.util.spec_from_file_location(
        "attribution_bench", REPO / "bench/attribution.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SIZES = (
    "--kind logistic --rows 60 --goals 60 --subsets 12 --seeds 2 --score-seeds 1 --updates 10 "
    "--batch-size 16 --stride 5 --single-rows 60 --repeats 10"
)


def test_the_command_writes_the_table_and_goes_on_from_kept_halves(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(command, "load_samples", lambda source, path: small_samples())
    places = ["--kept", str(tmp_path / "kept"), "--out", str(tmp_path / "out")]
    assert command.main([*SIZES.split(), *places]) == 0
    written = pd.read_csv(tmp_path / "out" / "attribution.csv")
    about = json.loads((tmp_path / "out" / "attribution.json").read_text(encoding="utf-8"))
    assert about["settings"]["rows"] == 60
    assert "influence" in capsys.readouterr().out
    monkeypatch.setattr(Trainer, "fit", None)  # the halves are there
    assert command.main([*SIZES.split(), *places]) == 0
    again = pd.read_csv(tmp_path / "out" / "attribution.csv")
    pd.testing.assert_frame_equal(again, written)


def test_the_command_refuses_sizes_that_make_no_sense(command, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--subsets", "0"])
    assert stop.value.code == 2
    assert "--subsets must be at least 1" in capsys.readouterr().err
