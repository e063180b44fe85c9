"""The bundled log: it is what the seed gives, and its truth is true."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.data.datasets.sample_log import (
    LogSettings,
    SyntheticLog,
    generate,
    main,
    read_truth,
    write,
)

SAMPLE = DATA / "sample"
SMALL = LogSettings(users=80, items=60, sessions=150)
TASK = yaml.safe_load((SAMPLE / "schema.yaml").read_text(encoding="utf-8"))["task"]
ZONE = TASK["time_zone"]
BORDERS = ["train_from", "attribution_from", "valid_from", "test_from", "end"]
PAGE = ["user_id", "item_id", "list_id"]


@pytest.fixture(scope="module")
def log() -> SyntheticLog:
    return generate()


@pytest.fixture(scope="module")
def shown(log: SyntheticLog) -> pd.DataFrame:
    """Impressions with their truth, their local time and their role."""
    rows = _events(log, "impression").merge(log.truth, on="event_id", validate="1:1")
    rows["local"] = rows["event_time"].dt.tz_convert(ZONE)
    borders = [pd.Timestamp("2000-01-01", tz=ZONE), *(_midnight(b) for b in BORDERS)]
    names = ["history", "train", "attribution", "valid", "test"]
    rows["role"] = pd.cut(rows["local"], borders, right=False, labels=names).astype(str)
    return rows


def _events(log: SyntheticLog, kind: str) -> pd.DataFrame:
    events = log.user_behavior
    return events[events["event_type"] == kind].reset_index(drop=True)


def _midnight(border: str) -> pd.Timestamp:
    return pd.Timestamp(str(TASK["split"][border]), tz=ZONE)


# --- the files -----------------------------------------------------------------------------


def test_the_bundled_files_are_what_the_generator_gives(log, tmp_path):
    for fresh in write(log, tmp_path):
        bundled = gzip.decompress((SAMPLE / fresh.name).read_bytes())
        assert bundled == gzip.decompress(fresh.read_bytes()), f"{fresh.name} differs"


def test_check_says_which_bundled_file_differs(tmp_path, capsys):
    assert main(["--write"], folder=tmp_path) == 0
    assert main(["--check"], folder=tmp_path) == 0
    text = gzip.decompress((tmp_path / "users.csv.gz").read_bytes())
    (tmp_path / "users.csv.gz").write_bytes(gzip.compress(text.replace(b"phone", b"fax", 1)))
    capsys.readouterr()
    assert main(["--check"], folder=tmp_path) == 1
    assert capsys.readouterr().out == "Differs from the generator: users.\n"


def test_the_sample_stays_below_two_megabytes():
    assert sum(p.stat().st_size for p in SAMPLE.iterdir()) <= 2_000_000


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    def files(seed: int, folder: str) -> list[bytes]:
        paths = write(generate(SMALL, seed=seed), tmp_path / folder)
        return [path.read_bytes() for path in paths]

    first, again, other = files(3, "a"), files(3, "b"), files(4, "c")
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_a_file_reads_back_as_the_table_that_was_written(log, tmp_path):
    write(log, tmp_path)
    pd.testing.assert_frame_equal(read_truth(tmp_path), log.truth, check_dtype=False)
    events = pd.read_csv(tmp_path / "user_behavior.csv.gz")
    assert events["event_time"].str.fullmatch(r"2025-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    times = pd.to_datetime(events["event_time"])
    assert (times.to_numpy() == log.user_behavior["event_time"].to_numpy()).all()


def test_reading_a_truth_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="only the bundled sample has a planted truth"):
        read_truth(tmp_path)


def test_the_readme_counts_what_the_files_hold(log):
    text = (DATA / "README.md").read_text(encoding="utf-8")
    kinds, noise = (
        log.user_behavior["event_type"].value_counts(),
        log.truth["noise"].value_counts(),
    )
    observed = log.truth[log.truth["observed_click"] == 1]
    wrong = (log.truth["observed_click"] != log.truth["clean_click"]).sum()
    absent = ~log.users["user_id"].isin(log.user_behavior["user_id"])
    facts = [f"{n:,} {kind}s" for kind, n in kinds.items()]
    facts += [f"{noise[k]} | {(observed['noise'] == k).sum()} |" for k in noise.index[1:]]
    facts += [f"{(observed['noise'] != 'none').mean():.1%} are noise", f"{wrong:,} rows"]
    facts += [f"| {len(log.user_behavior):,} |", f"{absent.sum()} never came"]
    assert [fact for fact in facts if fact not in text] == []


# --- the tables ----------------------------------------------------------------------------


def test_ids_are_unique_and_known(log):
    assert log.user_behavior["event_id"].is_unique
    assert log.users["user_id"].is_unique
    assert log.product_features["item_id"].is_unique
    assert log.user_behavior["user_id"].isin(log.users["user_id"]).all()
    assert log.user_behavior["item_id"].isin(log.product_features["item_id"]).all()


def test_events_are_in_time_order_within_twelve_weeks(log):
    times = log.user_behavior["event_time"]
    assert times.is_monotonic_increasing
    assert times.min() >= pd.Timestamp(LogSettings.start, tz=ZONE)
    assert times.max() < _midnight("end") + pd.Timedelta("2h")


def test_some_attributes_are_missing_but_never_an_id(log):
    for table, columns in (
        (log.users, ["age_band", "region"]),
        (log.product_features, ["brand", "price"]),
    ):
        assert table[columns].isna().mean().between(0.01, 0.12).all()
    assert log.user_behavior[["user_id", "item_id", "event_time", "price"]].notna().all(axis=None)


def test_a_list_shows_up_to_ten_different_products_in_one_scene(shown):
    lists = shown[shown["noise"] != "duplicate"].groupby("list_id")
    assert (lists["position"].max() == lists.size()).all()
    assert lists.size().between(5, 10).all()
    assert (lists["item_id"].nunique() == lists.size()).all()
    assert (lists[["scene", "user_id", "session_id"]].nunique() == 1).all(axis=None)
    assert (shown["query"].notna() == shown["scene"].eq("search")).all()


def test_every_click_follows_an_impression_in_its_list_within_the_hour(log):
    clicks = _events(log, "click")
    shows = _events(log, "impression").groupby(PAGE)["event_time"].max().rename("shown")
    wait = clicks["event_time"] - clicks.join(shows, on=PAGE, validate="m:1")["shown"]
    assert wait.notna().all()
    assert wait.between(pd.Timedelta("1s"), pd.Timedelta(TASK["label"]["within"])).all()


def test_carts_follow_clicks_and_purchases_follow_carts(log):
    steps = ["click", "cart", "purchase"]
    keys = ["user_id", "item_id", "session_id"]
    for before, after in zip(steps, steps[1:], strict=False):
        first = _events(log, before).groupby(keys)["event_time"].min().rename("first")
        later = _events(log, after).join(first, on=keys)
        assert (later["event_time"] > later["first"]).all()  # false where there was no step before
    assert _events(log, "purchase")["quantity"].ge(1).all()


# --- the truth -----------------------------------------------------------------------------


def test_observed_clicks_are_the_clicks_of_the_log(log, shown):
    assert (log.truth["event_id"] == _events(log, "impression")["event_id"]).all()
    pages = pd.MultiIndex.from_frame(_events(log, "click")[PAGE])
    in_log = pd.MultiIndex.from_frame(shown[PAGE]).isin(pages)
    np.testing.assert_array_equal(in_log, shown["observed_click"] == 1)


def test_noise_agrees_with_the_clicks(log):
    truth = log.truth
    clean, observed = truth["clean_click"] == 1, truth["observed_click"] == 1
    kind = truth["noise"]
    assert (clean == observed)[kind == "none"].all()
    assert (~clean & observed)[kind == "misclick"].all()
    assert (clean & ~observed)[kind == "lost_click"].all()
    assert truth["duplicate_of"].notna().equals(kind == "duplicate")
    assert set(kind) == {"none", "bot", "misclick", "lost_click", "duplicate"}


def test_a_lost_click_has_no_event(log, shown):
    lost = pd.MultiIndex.from_frame(shown.loc[shown["noise"] == "lost_click", PAGE])
    acts = log.user_behavior[log.user_behavior["event_type"].isin(["click", "cart"])]
    assert len(lost) > 0
    assert not pd.MultiIndex.from_frame(acts[PAGE]).isin(lost).any()


def test_the_test_rows_are_free_of_noise(shown):
    test = shown[shown["role"] == "test"]
    assert len(test) > 8_000
    assert (test["noise"] == "none").all()
    assert (test["p_observed"] == test["p_clean"]).all()
    assert (test["observed_click"] == test["clean_click"]).all()
    bots = shown.loc[shown["noise"] == "bot", "user_id"]
    assert not test["user_id"].isin(bots).any()
    assert set(shown.loc[shown["noise"] != "none", "role"]) == {
        "history", "train", "attribution", "valid"
    }  # fmt: skip


def test_probabilities_are_the_product_of_their_factors(log):
    truth = log.truth
    columns = ["p_observed", "p_clean", "attractiveness", "examination"]
    assert ((truth[columns] >= 0) & (truth[columns] <= 1)).all(axis=None)
    product = truth["examination"] * truth["attractiveness"]
    np.testing.assert_allclose(truth["p_clean"], product, rtol=0, atol=0.5e-4 + 1e-12)


def test_the_observed_probability_is_the_clean_one_with_the_stated_noise(log, shown):
    rates = LogSettings()
    genuine = shown[shown["noise"].isin(["none", "misclick", "lost_click"])]
    genuine = genuine[genuine["role"] != "test"]
    kept, added = 1 - rates.lost_click_rate, rates.misclick_rate
    want = genuine["p_clean"] * kept + (1 - genuine["p_clean"]) * added
    np.testing.assert_allclose(genuine["p_observed"], want, rtol=0, atol=0.5e-4 + 1e-12)
    assert (shown.loc[shown["noise"] == "bot", "p_observed"] == rates.bot_click_rate).all()


@pytest.mark.parametrize(
    ("probability", "click"), [("p_observed", "observed_click"), ("p_clean", "clean_click")]
)
def test_clicks_come_as_often_as_the_truth_says(shown, probability, click):
    rows = shown[shown["noise"] != "duplicate"]  # a copy shares the outcome of its original
    for _, part in rows.groupby(pd.qcut(rows[probability], 10)):
        spread = np.sqrt((part[probability] * (1 - part[probability])).sum())
        assert abs(part[click].sum() - part[probability].sum()) < 4 * spread


def test_noise_comes_at_its_rates(shown):
    rates, rows = LogSettings(), shown[shown["role"] != "test"]
    people = rows[rows["noise"].isin(["none", "misclick", "lost_click"])]
    clean = people["clean_click"] == 1
    cases = [
        (people["noise"] == "misclick", ~clean, rates.misclick_rate),
        (people["noise"] == "lost_click", clean, rates.lost_click_rate),
        (rows["noise"] == "duplicate", rows["noise"] != "duplicate", rates.duplicate_rate),
    ]
    for happened, possible, rate in cases:
        n = possible.sum()
        assert abs(happened.sum() - rate * n) < 4 * np.sqrt(rate * (1 - rate) * n)
    positives = shown[shown["observed_click"] == 1]
    assert 0.11 < (positives["noise"] != "none").mean() < 0.13


def test_a_duplicate_repeats_its_original_a_moment_later(shown):
    copies = shown[shown["noise"] == "duplicate"].set_index("duplicate_of")
    originals = shown.set_index("event_id").loc[copies.index]
    same = [*PAGE, "session_id", "scene", "position", "price", "p_observed", "observed_click"]
    for column in same:
        assert (copies[column] == originals[column]).all(), column
    later = (copies["event_time"] - originals["event_time"]).dt.total_seconds()
    assert later.between(1, 3).all()
    assert (originals["noise"] != "duplicate").all()


def test_examination_falls_with_position_and_with_nothing_else_in_a_scene(shown):
    by_place = shown.groupby(["scene", "position"])["examination"]
    assert (by_place.nunique() == 1).all()
    for _, curve in by_place.first().groupby("scene"):
        assert curve.iloc[0] == 1
        assert (curve.diff().dropna() < 0).all()


def test_position_and_attractiveness_can_be_told_apart(shown):
    assert abs(shown["position"].astype(int).corr(shown["attractiveness"], "spearman")) < 0.4


def test_noise_changes_no_genuine_click():
    quiet = replace(
        SMALL, bot_share=0.0, misclick_rate=0.0, lost_click_rate=0.0, duplicate_rate=0.0
    )
    logs = [generate(settings, seed=5) for settings in (replace(SMALL, bot_share=0.1), quiet)]
    assert (logs[1].truth["noise"] == "none").all()
    assert (logs[1].truth["observed_click"] == logs[1].truth["clean_click"]).all()
    noisy, clean = (
        _events(one, "impression")
        .merge(one.truth, on="event_id")
        .query("noise != 'duplicate'")
        .set_index(PAGE)["clean_click"]
        for one in logs
    )
    assert (noisy == clean.loc[noisy.index]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": 3}, "users must be at least 10; got 3"),
        ({"misclick_rate": 1.5}, r"misclick_rate must be in \[0, 1\]; got 1.5"),
        ({"bot_share": -0.1}, r"bot_share must be in \[0, 1\]; got -0.1"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LogSettings(**change)


# --- the task ------------------------------------------------------------------------------


def test_the_task_agrees_with_the_settings():
    assert list(yaml.safe_load((SAMPLE / "schema.yaml").read_text())) == ["task"]
    assert LogSettings.time_zone == ZONE
    assert str(TASK["split"]["test_from"]) == LogSettings.noise_until
    last = pd.Timestamp(LogSettings.start) + pd.Timedelta(days=LogSettings.days)
    assert pd.Timestamp(str(TASK["split"]["end"])) == last


def test_roles_have_their_shares_and_both_labels(shown):
    rows = shown[shown["role"] != "history"]
    shares = rows["role"].value_counts(normalize=True)
    want = {"train": 0.62, "attribution": 0.09, "valid": 0.12, "test": 0.17}
    assert all(abs(shares[role] - share) < 0.02 for role, share in want.items())
    assert rows.groupby("role")["observed_click"].mean().between(0.1, 0.2).all()


@pytest.mark.parametrize("border", BORDERS)
def test_some_rows_wait_for_their_label_across_a_border(shown, border):
    wait = _midnight(border) - shown["local"]
    waiting = (wait > pd.Timedelta(0)) & (wait <= pd.Timedelta(TASK["label"]["within"]))
    assert waiting.sum() >= 10


# --- what can be learnt --------------------------------------------------------------------


def _earlier(rows: pd.DataFrame, keys: list[str], value: pd.Series) -> np.ndarray:
    """Return the sum of ``value`` over rows of the same keys on earlier days."""
    daily = value.groupby([rows[key] for key in [*keys, "day"]]).sum()
    past = daily.groupby(level=list(range(len(keys)))).cumsum() - daily
    return past.reindex(pd.MultiIndex.from_frame(rows[[*keys, "day"]])).to_numpy()


def _features(log: SyntheticLog, shown: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what a page knows, and the click rates of earlier days."""
    rows = shown.merge(log.product_features.drop(columns=["price", "title"]), on="item_id")
    rows = rows.fillna({"subcategory": "?", "brand": "?"}).assign(day=rows["local"].dt.floor("D"))
    page = pd.DataFrame(
        {
            "place": np.log(rows["position"].astype(float)),
            "scene": rows["scene"] == "search",
            "price": np.log(rows["price"]),
        }
    )
    past = {}
    one = pd.Series(1.0, index=rows.index)
    for keys in (["item_id"], ["brand"], ["user_id"], ["user_id", "category"]):
        clicks = _earlier(rows, keys, rows["observed_click"].astype(float))
        past["_".join(keys)] = np.log((clicks + 1.5) / (_earlier(rows, keys, one) + 10))
    return page, pd.DataFrame(past)


def test_a_plain_model_learns_and_the_truth_is_a_ceiling_in_sight(log, shown):
    page, past = _features(log, shown)
    label = shown["observed_click"].to_numpy()
    train, test = (shown["role"] == "train").to_numpy(), (shown["role"] == "test").to_numpy()

    def auc(features: pd.DataFrame) -> float:
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit(features[train], label[train])
        return roc_auc_score(label[test], model.decision_function(features[test]))

    without, learnt = auc(page), auc(pd.concat([page, past], axis=1))
    ceiling = roc_auc_score(label[test], shown["p_observed"][test])
    assert 0.65 < learnt < 0.80
    assert learnt > without + 0.03  # earlier days carry signal
    assert 0.75 < ceiling < 0.85
    assert 0.03 < ceiling - learnt < 0.12


def test_the_observed_truth_predicts_noisy_rows_better_than_the_clean_one(shown):
    train = shown[shown["role"] == "train"]
    observed, clean = (
        roc_auc_score(train["observed_click"], train[column])
        for column in ("p_observed", "p_clean")
    )
    assert observed > clean + 0.01


def test_users_come_back_to_the_categories_they_clicked(log, shown):
    rows = shown.merge(log.product_features[["item_id", "category"]], on="item_id")
    rows = rows.assign(day=rows["local"].dt.floor("D"))
    clicks = rows["clean_click"].astype(float)
    known = _earlier(rows, ["user_id", "category"], clicks) > 0
    active = _earlier(rows, ["user_id"], clicks) > 0
    again, other = rows["clean_click"][known].mean(), rows["clean_click"][active & ~known].mean()
    assert again > 1.2 * other
