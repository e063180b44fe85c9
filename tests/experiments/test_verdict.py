"""The decision table says what was measured, and no more; the README shows the study's."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from helpers.base.paths import REPO
from helpers.experiments import verdict
from helpers.samples.noise import KINDS, NO_NOISE, RECOMMENDED, Noise

RESULTS = REPO / "bench" / "results"
SOURCES = ("journey", "sample")

DETECTION = pd.DataFrame(
    {
        "noise": ["20% flips", "20% flips", "3% bots"],
        "score": ["loss", "out-of-fold loss", "user's out-of-fold loss"],
        "recommended": [False, True, True],
        "auroc": [0.99, 0.9, 0.97],
        "of_ceiling": [1.0, 0.95, np.nan],
        "model": "mlp",
    }
)


def acted(low: float, high: float, *, data: str = "20% flips") -> dict[str, object]:
    gain = (low + high) / 2
    kind = {"20% flips": "flip", "3% bots": "bot", "as is": "none"}[data]
    about = {"data": data, "noise_kind": kind, "model": "mlp"}
    about |= {"action": "drop suspects", "dropped": 0.21}
    loss = {"corrected_difference": 0.0, "corrected_low": -0.01, "corrected_high": 0.01}
    return about | {"difference": gain, "low": low, "high": high, "recovered": 0.9} | loss


def table(*rows: dict[str, object], keep: pd.DataFrame | None = None) -> pd.DataFrame:
    return verdict.decision_table(DETECTION, pd.DataFrame(rows), keep)


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0.001, 0.01, verdict.HELPS),
        (-0.001, 0.01, verdict.UNDECIDED),
        (-0.01, -0.001, verdict.HURTS),
        (0.0, 0.01, verdict.UNDECIDED),
    ],
)
def test_helps_is_said_only_of_an_interval_above_zero(low: float, high: float, want: str):
    row = table(acted(low, high)).iloc[0]
    assert row.verdict == want
    assert (row.gain, row.low, row.high) == ((low + high) / 2, low, high)


def test_the_score_shown_is_the_recommended_one_of_that_noise_not_the_best():
    rows = table(acted(0, 1), acted(0, 1, data="3% bots"), acted(0, 1, data="as is"))
    assert rows.score.tolist()[:2] == ["out-of-fold loss", "user's out-of-fold loss"]
    assert rows.auroc.tolist()[:2] == [0.9, 0.97]
    assert np.isnan(rows.auroc[2])
    assert rows.purpose.tolist()[1:] == ["clean the labels", "leave good data alone"]


@pytest.mark.parametrize("name", ["20% flips", "10% duplicates", "as is", "% bots", "none"])
@pytest.mark.parametrize("kind", [*KINDS, NO_NOISE])
def test_what_is_said_of_a_noise_follows_its_kind_whatever_its_name(name: str, kind: str):
    row = table(acted(0, 1) | {"data": name, "noise_kind": kind}).iloc[0]
    assert row.noise == name
    assert row.score == RECOMMENDED.get(kind, RECOMMENDED["flip"])
    assert (row.purpose == "clean the labels") == (kind != NO_NOISE)
    assert (row.cost == "none: a comparison of keys") == (kind == "duplicate")


def test_actions_that_do_not_tell_the_kind_of_noise_are_refused():
    rows = pd.DataFrame([acted(0, 1)]).drop(columns="noise_kind")
    with pytest.raises(ValueError, match="needs a column noise_kind; make it again"):
        verdict.decision_table(DETECTION, rows)


@pytest.mark.parametrize("source", SOURCES)
def test_the_kept_tables_tell_the_kind_of_each_noise(source: str):
    kept = verdict.study_results(f"{source}/recommended")
    spec = importlib.util.spec_from_file_location("study_script", REPO / "bench" / "study.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    known = {Noise(k, rate).name: k for k, rates in script.ACTED.items() for rate in rates}
    want = [known.get(name, NO_NOISE) for name in kept.data]
    assert kept.noise_kind.tolist() == want
    assert set(kept.data) == {*known, "as is" if source == "journey" else "clean"}


def test_the_oracle_and_random_drops_are_no_rows_of_it():
    oracle = acted(0.1, 0.2) | {"action": "drop what is wrong"}
    assert len(table(acted(0, 1), oracle)) == 1


def test_small_parts_are_held_against_the_rival_that_stops_early_on_test():
    keep = pd.DataFrame(
        {
            "model": "mlp",
            "way": ["balanced, taught"] * 3 + ["random"],
            "kept_fraction": [1.0, 0.1, 0.1, 0.1],
            "over_random": [0.0, 0.3, 0.4, 0.0],
            "low": [0.0, 0.2, 0.3, 0.0],
            "high": [0.0, 0.4, 0.5, 0.0],
            "over_stopped": [0.0, 0.03, 0.04, 0.0],
            "stopped_low": [0.0, 0.02, 0.03, 0.0],
            "stopped_high": [0.0, 0.04, 0.05, 0.0],
            "role": ["valid", "valid", "test", "test"],
        }
    )
    (row,) = table(acted(0, 1), keep=keep).iloc[1:].itertuples()
    assert row.purpose == "train on 10% of the rows"
    assert (row.gain, row.low, row.high) == (0.04, 0.03, 0.05)


@pytest.mark.parametrize(
    ("own", "begins"),
    [
        ((0.001, 0.003), "Drop the suspects of this log: mlp gains"),
        ((-0.001, 0.003), "Nothing here beats leaving the data alone"),
        ((-0.003, -0.001), "Nothing here beats leaving the data alone"),
    ],
)
def test_the_recommendation_follows_the_data_without_planted_noise(own, begins: str):
    rows = table(acted(*own, data="as is"), acted(0.01, 0.02), acted(-0.1, 0.1, data="3% bots"))
    said = verdict.recommendation(rows)
    assert said.startswith(begins)
    assert "as in 20% flips, dropping" in said


def test_worse_probabilities_are_said_beside_a_better_order():
    worse = {"corrected_difference": 0.02, "corrected_low": 0.01, "corrected_high": 0.03}
    own, planted = acted(0.001, 0.003, data="as is"), acted(0.01, 0.02)
    said = verdict.recommendation(table(own | worse, planted))
    assert "on weeks unseen, but with worse probabilities." in said
    assert "probabilities" not in verdict.recommendation(table(own, planted))
    first, second = verdict.in_words(table(own | worse, planted))
    assert first.endswith("; worse probabilities.")
    assert "probabilities" not in second


def test_a_table_without_a_control_recommends_nothing():
    with pytest.raises(ValueError, match="no row of the data without planted noise"):
        verdict.recommendation(table(acted(0, 1)))


# ---------------------------------------------------------------- the committed study


@pytest.mark.parametrize("source", SOURCES)
def test_the_study_says_what_made_it(source: str):
    about = json.loads((RESULTS / source / "study.json").read_text(encoding="utf-8"))
    assert set(about) == {"detect", "act", "recommend", "keep"}
    for part, made in about.items():
        assert made["command"].startswith(f'make study ARGS="--source {source} --parts {part}')
        assert len(made["training_seeds"]) >= 5
        assert {"tensorflow", "keras", "numpy", "python"} <= set(made["versions"])
    assert about["recommend"]["judged_on"] == "test"
    assert about["act"]["judged_on"] == "valid"


@pytest.mark.parametrize("source", SOURCES)
def test_every_sentence_of_the_study_agrees_with_its_interval(source: str):
    rows = verdict.study_table(source)
    assert len(rows) >= 14
    for row, sentence in zip(rows.itertuples(), verdict.in_words(rows), strict=True):
        assert row.low <= row.gain <= row.high
        assert (f" {verdict.HELPS}, " in sentence) == (row.low > 0)
        assert (f" {verdict.HURTS}, " in sentence) == (row.high < 0)
        assert ("; worse probabilities" in sentence) == (row.log_loss_low > 0)
        assert ("; better probabilities" in sentence) == (row.log_loss_high < 0)


def test_the_readme_shows_the_table_of_the_study():
    spec = importlib.util.spec_from_file_location("verdict_table", REPO / "bench" / "verdict.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert script.MARKS[0] in readme
    assert script.with_table(readme) == readme
