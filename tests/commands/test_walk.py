"""The walk on the bundled log, as a person starts it, and what must be true of its results."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers.base.paths import REPO
from helpers.losses import cross_entropy_from_probability
from helpers.samples import load_samples

#: A small profile: every step of the walk, none of its size.
SMALL = {
    "epochs": "2",
    "early_updates": "20",
    "early_seeds": "2",
    "folds": "2",
    "noise_rows": "3000",
    "rows": "3000",
    "updates": "30",
    "seeds": "2",
    "score_rows": "1500",
    "score_updates": "30",
    "worlds": "1",
    "act_rows": "3000",
    "act_updates": "30",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("walk")
    options = [part for name, value in SMALL.items() for part in ("-p", name, value)]
    command = [sys.executable, "-m", "helpers", "run", "--source", "sample", "--out", str(out)]
    done = subprocess.run([*command, *options], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = [f for f in out.iterdir() if f.is_dir()]
    return folder


@pytest.fixture(scope="module")
def results(run_folder):
    return json.loads((run_folder / "results.json").read_text())


def test_every_training_sample_is_scored_once_and_no_other(run_folder):
    samples, table = load_samples("sample"), pd.read_parquet(run_folder / "importance.parquet")
    assert table.sample_id.tolist() == samples.rows("train").tolist()
    later = samples.table.iloc[samples.rows("attribution")].event_time.min()
    assert table.event_time.max() < later


def test_the_scores_of_the_run_agree_with_each_other(run_folder):
    table = pd.read_parquet(run_folder / "importance.parquet")
    loss = cross_entropy_from_probability(table.label.to_numpy(), table.prediction.to_numpy())
    np.testing.assert_allclose(table.loss, loss, rtol=1e-5, atol=1e-7)
    surprise = (table.prediction - table.label).abs()
    np.testing.assert_allclose(table.gradient_norm, surprise * table.leverage, rtol=1e-3)


def test_the_results_name_the_sizes_that_were_used(results):
    samples = load_samples("sample")
    data = results["notebooks"]["01_load_data"]["values"]
    assert data["rows"] == {r: len(samples.rows(r)) for r in data["rows"]}
    assert data["fingerprint"] == samples.fingerprint
    assert results["notebooks"]["04_score_samples"]["values"]["importance_rows"] == len(
        samples.rows("train")
    )


def test_before_and_after_are_judged_on_test_with_intervals(results):
    table = pd.DataFrame(results["notebooks"]["06_evaluate_models"]["values"]["before_after"])
    assert set(table.metric) >= {"auc", "log_loss", "log_loss_recalibrated", "base_rate"}
    known = table[table.low.notna()]
    assert ((known.low <= known.difference) & (known.difference <= known.high)).all()
    np.testing.assert_allclose(known.difference, known.after - known.before, atol=1e-9)


def test_a_run_that_is_not_the_reference_never_stops_at_a_claim(results):
    for name, notebook in results["notebooks"].items():
        assert not notebook["reference"], name
        assert notebook["claims"], name


def test_the_report_shows_the_verdict_and_hides_the_users(run_folder, results):
    page = (run_folder / "report.html").read_text()
    verdict = results["notebooks"]["06_evaluate_models"]["values"]["verdict"]
    assert verdict
    assert all(line.split(",")[0] in page for line in verdict)
    users = load_samples("sample").table.user_id.unique()
    assert not [u for u in users if f">{u}<" in page]
