"""What a check says of data: numbers worked by hand, planted faults, and no name of a person."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from helpers.base.errors import DataError
from helpers.commands import check as audits
from helpers.commands.check import audit, columns, log
from helpers.commands.check.finding import Finding
from helpers.commands.check.leakage import _means, auc, leaks, single_feature_aucs
from helpers.commands.check.matches import outcome
from helpers.commands.check.sections import _row_findings
from helpers.commands.check.text import WIDTH, table_text
from helpers.data.dropped import dropped_table
from helpers.data.staging import Staged
from helpers.samples import Samples
from helpers.samples.features import local_days
from helpers.schema import Task

USER, QUERY = "Canary-7f3a-Person", "canary query of a person"


def put(
    folder: Path,
    events: pd.DataFrame,
    *,
    products: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    dropped: tuple = (),
    labelled: bool = False,
    zone: str = "UTC",
) -> Staged:
    """Put tables down as staging does."""
    events = events.assign(event_time=pd.to_datetime(events.event_time, utc=True, format="ISO8601"))
    events["event_time"] = events.event_time.dt.as_unit("us")
    events["day"] = local_days(events.event_time, zone)
    tables = {"user_behavior": events, "product_features": products, "users": users}
    there = {n: t for n, t in tables.items() if t is not None}
    for name, table in there.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    facts = {
        "tables": {n: {"read": len(t), "kept": len(t)} for n, t in there.items()},
        "dropped": [*dropped],
        "notes": [],
        "labelled": labelled,
        "fingerprint": "test",
    }
    return Staged(folder, facts)


def events(rows: list[tuple], *more: str) -> pd.DataFrame:
    """Return a log of (user, item, time, type, ...)."""
    return pd.DataFrame(rows, columns=["user_id", "item_id", "event_time", "event_type", *more])


def on_days(*days: str, hour: str = "12:00:00") -> pd.DataFrame:
    """Return one impression a day."""
    return events([("u", "i", f"{day}T{hour}Z", "impression") for day in days])


# ---------------------------------------------------------------- the period


def test_days_without_events_are_counted_and_the_longest_gap_is_named(tmp_path):
    log_of = on_days("2025-01-01", "2025-01-02", "2025-01-05", "2025-01-07")
    with put(tmp_path, log_of).database() as connection:
        facts, found = log.period(connection, Task())
    assert (facts["first"], facts["last"], facts["days"]) == ("2025-01-01", "2025-01-07", 7)
    assert facts["empty_days"] == 3  # the 3rd, 4th and 6th
    assert (facts["longest_gap"], facts["gap_from"], facts["gap_to"]) == (
        *(2, "2025-01-03"),
        "2025-01-04",
    )
    assert found == []


def test_a_week_without_events_is_something_to_look_at(tmp_path):
    with put(tmp_path, on_days("2025-01-01", "2025-01-09")).database() as connection:
        _, [found] = log.period(connection, Task())
    assert "no event for 7 days, from 2025-01-02 to 2025-01-08" in found.text


def test_a_shop_that_closes_on_sundays_is_recognised(tmp_path):
    days = pd.date_range("2025-01-06", periods=35)
    open_days = [f"{d:%Y-%m-%d}" for d in days if d.day_name() != "Sunday"]
    with put(tmp_path, on_days(*open_days)).database() as connection:
        facts, found = log.period(connection, Task())
    assert (facts["weekday"], facts["empty_days"], facts["longest_gap"]) == ("Sunday", 4, 1)
    assert found == []


def test_days_are_those_of_the_tasks_zone(tmp_path):
    late = events([("u", "i", f"2025-01-0{d}T23:30:00Z", "click") for d in (1, 2)])
    task = Task(time_zone="Asia/Shanghai")
    with put(tmp_path, late, zone=task.time_zone).database() as connection:
        assert log.period(connection, task)[0]["first"] == "2025-01-02"


def test_events_outside_the_stated_split_are_counted_on_each_side(tmp_path):
    task = Task(train_from="2025-01-02", end="2025-01-04")
    staged = put(tmp_path, on_days(*(f"2025-01-0{d}" for d in range(1, 8))))
    with staged.database() as connection:
        facts, [found] = log.period(connection, task)
    assert (facts["before_split"], facts["after_split"]) == (1, 4)
    assert f"{5 / 7:.1%} of the events lie before" in found.text


# ---------------------------------------------------------------- events and users


def test_events_users_and_items_are_counted_by_type(tmp_path):
    rows = [("u", i, "2025-01-01T10:00Z", "impression") for i in "abc"]
    rows += [
        ("v", "a", "2025-01-02T10:00Z", "impression"),
        ("v", "a", "2025-01-03T10:00Z", "click"),
    ]
    with put(tmp_path, events(rows)).database() as connection:
        shown, clicked = log.event_counts(connection)
        sizes, found = log.sizes(connection)
    assert shown == {
        **{"event_type": "impression", "events": 4, "share": 4 / 5, "users": 2, "items": 3},
        **{"first": "2025-01-01", "last": "2025-01-02"},
    }
    assert (clicked["event_type"], clicked["events"], clicked["users"]) == ("click", 1, 1)
    assert sizes["users"]["count"] == 2
    assert (sizes["users"]["median"], sizes["users"]["largest"]) == (2, 3)
    assert (sizes["items"]["largest"], sizes["items"]["once"]) == (3, 2 / 3)  # a; b and c
    assert found == []


def test_one_user_with_very_many_events_is_something_to_look_at(tmp_path):
    rows = [(f"u{i}", "a", "2025-01-01T10:00Z", "click") for i in range(94)]
    rows += [(USER, "a", f"2025-01-02T10:00:0{i}Z", "click") for i in range(6)]
    with put(tmp_path, events(rows)).database() as connection:
        _, [found] = log.sizes(connection)
    assert found.text.startswith("One user has 6.0% of all events.")
    assert USER not in found.text


# ---------------------------------------------------------------- times


def hourly(weights: dict[int, int], zone: str = "UTC") -> pd.DataFrame:
    """Return a log with so many events in each hour of a zone's day, never on the hour."""
    rows = []
    for hour, count in weights.items():
        for i in range(count):
            at = pd.Timestamp(f"2025-01-01 {hour:02d}:{i % 59:02d}:07", tz=zone)
            at += pd.Timedelta(days=i % 20)
            rows.append((f"u{i}", "i", at.isoformat(), "impression"))
    return events(rows)


WAKING = {h: 30 for h in range(9, 22)} | {20: 90, 23: 5, 0: 2, 6: 3}


def test_a_day_that_peaks_in_the_evening_is_left_alone(tmp_path):
    task = Task(time_zone="Europe/Madrid")
    staged = put(tmp_path, hourly(WAKING, task.time_zone), zone=task.time_zone)
    with staged.database() as connection:
        facts, found = log.times(connection, task)
    assert facts["hours"][20] == 90
    assert (facts["hours"][0], facts["busiest"]) == (2, 20)
    assert facts["night_share"] == pytest.approx(2 / sum(WAKING.values()))
    assert facts["quietest"] in (3, 4)
    assert found == []


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Shanghai", "America/Los_Angeles"])
def test_a_day_that_peaks_at_night_hints_at_the_wrong_zone(tmp_path, zone):
    # The day of Madrid, read by the clock of a place where it is night then.
    task = Task(time_zone=zone)
    staged = put(tmp_path, hourly(WAKING, "Europe/Madrid"), zone=zone)
    with staged.database() as connection:
        facts, [found] = log.times(connection, task)
    moved = pd.Timestamp("2025-01-05 20:30", tz="Europe/Madrid").tz_convert(zone).hour
    assert abs(facts["busiest"] - moved) <= 1
    assert f"{facts['busiest']:02d}:00" in found.text
    assert f"in {zone}" in found.text


def test_hours_are_those_of_zones_that_are_half_an_hour_apart(tmp_path):
    task = Task(time_zone="Asia/Kolkata")
    rows = [("u", "i", f"2025-01-01T{t}Z", "click") for t in ("20:15", "20:29", "20:30", "18:30")]
    with put(tmp_path, events(rows), zone=task.time_zone).database() as connection:
        facts, _ = log.times(connection, task)
    assert (facts["hours"][1], facts["hours"][2], sum(facts["hours"])) == (2, 1, 3)
    assert facts["midnight"] == 1 / 4


def test_a_day_without_a_profile_gives_no_hint(tmp_path):
    with put(tmp_path, hourly({h: 20 for h in range(24)})).database() as connection:
        facts, found = log.times(connection, Task())
    assert facts["night_share"] == 0.25
    assert found == []


def test_too_few_events_have_no_profile(tmp_path):
    with put(tmp_path, hourly({2: 150})).database() as connection:
        facts, found = log.times(connection, Task())
    assert facts["busiest"] is None
    assert found == []


@pytest.mark.parametrize(
    ("task", "flagged"),
    [
        (Task(within="1h"), True),
        (Task(within="period"), False),
        (Task(within="0s"), False),
        (Task(within="1h", negatives=4), False),
    ],
)
def test_dates_without_a_time_make_a_window_in_hours_meaningless(tmp_path, task, flagged):
    zone = "Europe/Madrid"  # midnight there is 23:00 of the day before in UTC
    rows = [("u", "i", f"2025-01-0{d}T00:00:00+01:00", "click") for d in range(1, 9)]
    rows += [("u", "i", f"2025-01-0{d}T00:00:00Z", "impression") for d in range(1, 3)]
    with put(tmp_path, events(rows), zone=zone).database() as connection:
        facts, found = log.times(connection, replace(task, time_zone=zone))
    assert facts["midnight"] == 8 / 10  # 00:00 in UTC is one o'clock
    assert [f.short for f in found] == ["dates without a time of day"] * flagged
    if flagged:
        assert "type click are dates" in found[0].text


def test_events_of_the_coming_hours_are_counted(tmp_path):
    soon = (pd.Timestamp.now("UTC") + pd.Timedelta("3h")).isoformat()
    rows = [("u", "i", soon, "click"), ("u", "i", "2025-01-01T01:00Z", "click")]
    with put(tmp_path, events(rows)).database() as connection:
        assert log.times(connection, Task())[0]["future"] == 1


# ---------------------------------------------------------------- columns, keys and joins


def test_missing_constant_and_unique_columns_are_named(tmp_path):
    rows = [("u", "a", f"2025-01-01T0{i}:00Z", "click", *x) for i, x in enumerate(EXTRA)]
    staged = put(tmp_path, events(rows, "event_id", "shop", "nothing", "some"))
    with staged.database() as connection:
        facts = {c["column"]: c for c in columns.column_facts(staged, connection, "user_behavior")}
    assert "day" not in facts
    assert (facts["event_id"]["remark"], facts["shop"]["remark"]) == ("one value a row", "constant")
    assert (facts["nothing"]["remark"], facts["nothing"]["missing"]) == ("empty", 1.0)
    assert (facts["some"]["missing"], facts["some"]["distinct"]) == (1 / 4, 1)
    assert facts["some"]["remark"] == ""


EXTRA = [
    *(("e1", "s", None, 1.0), ("e2", "s", None, 1.0)),
    *(("e3", "s", None, 1.0), ("e4", "s", None, None)),
]


def test_large_tables_are_counted_approximately_but_unique_columns_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "MANY", 10)
    monkeypatch.setattr(log, "MANY", 10)
    rows = [("u", "a", f"2025-01-01T00:{i // 60:02d}:{i % 60:02d}Z", "click", f"e{i}", i * 1.0)
            for i in range(1200)]  # fmt: skip
    staged = put(tmp_path, events(rows, "event_id", "price"))
    with staged.database() as connection:
        facts = {c["column"]: c for c in columns.column_facts(staged, connection, "user_behavior")}
        [price], _ = columns.prices(staged, connection)
        [clicks] = log.event_counts(connection)
    assert facts["event_id"]["remark"] == "one value a row"
    assert price["median"] == pytest.approx(600, rel=0.05)
    assert clicks["users"] == 1


def test_events_that_differ_in_other_columns_only_are_counted(tmp_path):
    rows = [("u", "a", "2025-01-01T10:00Z", "click", p) for p in (1.0, 2.0, 3.0)]
    rows += [("u", "b", "2025-01-01T10:00Z", "click", None)]
    staged = put(tmp_path, events(rows, "price"))
    with staged.database() as connection:
        facts, [found] = columns.keys(staged, connection, ("user_id", "price"))
    assert facts == {"again": 2 / 4, "match_missing": 1 / 4}
    assert found.text.startswith("50.0% of the events")


def test_joins_count_events_and_names_on_both_sides(tmp_path):
    rows = [("u", i, f"2025-01-01T1{n}:00Z", "click") for n, i in enumerate("aaaabc")]
    products = pd.DataFrame({"item_id": ["a", "x", "y"]})
    users = pd.DataFrame({"user_id": ["u", "w"], "age": ["1", "2"]})
    staged = put(tmp_path, events(rows), products=products, users=users)
    with staged.database() as connection:
        (of_items, of_users), [found] = columns.check_joins(staged, connection)
    assert of_items == {
        **{"table": "product_features", "events_lost": 2 / 6, "names_lost": 2 / 3},
        **{"rows": 3, "never_seen": 2},
    }
    assert (of_users["events_lost"], of_users["never_seen"]) == (0, 1)
    assert "33.3% of the events have no row in product_features" in found.text


def test_queries_are_counted_and_never_shown(tmp_path):
    rows = [("u", "a", f"2025-01-01T1{n}:00Z", "click", q) for n, q in enumerate("aab")]
    rows += [("u", "a", "2025-01-01T20:00Z", "click", None)]
    staged = put(tmp_path, events(rows, "query"))
    with staged.database() as connection:
        facts = columns.queries(staged, connection)
    assert facts == {"share": 3 / 4, "distinct": 2, "once": 1 / 2}


def test_prices_of_zero_below_zero_and_far_too_high_are_counted(tmp_path):
    values = [0.0, *np.arange(1.0, 10.0), 5001.0, None]
    rows = [("u", "a", f"2025-01-01T00:{n:02d}Z", "click", p) for n, p in enumerate(values)]
    negative = {"kind": "minimum", "column": "price", "reason": "price is below 0"}
    dropped = [
        {"table": "user_behavior", **negative, "rows": 3},
        {"table": "product_features", **negative, "rows": 5},
    ]
    staged = put(tmp_path, events(rows, "price"), dropped=dropped)
    with staged.database() as connection:
        [facts], found = columns.prices(staged, connection)
    assert (facts["known"], facts["zero"]) == (11 / 12, 1 / 11)
    assert (facts["lowest"], facts["median"], facts["highest"]) == (0, 5, 5001)
    assert (facts["outliers"], facts["negative"]) == (1, 3)  # the median above zero is 5
    assert [f.short for f in found] == [
        "extreme prices in user_behavior",
        "many prices of 0 in user_behavior",
    ]


def test_zeros_do_not_make_other_prices_look_extreme(tmp_path):
    values = [0.0, 0.0, 0.0, 2.0, 2000.0]  # the median of those above 0 is 2
    rows = [("u", "a", f"2025-01-01T00:0{n}Z", "click", p) for n, p in enumerate(values)]
    with (staged := put(tmp_path, events(rows, "price"))).database() as connection:
        [facts], _ = columns.prices(staged, connection)
    assert (facts["median"], facts["outliers"]) == (0, 0)


def test_a_table_without_prices_says_nothing_of_them(tmp_path):
    staged = put(tmp_path, events([("u", "a", "2025-01-01T00:00Z", "click", None)], "price"))
    with staged.database() as connection:
        assert columns.prices(staged, connection) == ([], [])


# ---------------------------------------------------------------- the task


def at(item: str, time: str, kind: str, user: str | None = "u") -> tuple:
    return (user, item, f"2025-01-01T{time}Z", kind)


STORY = [
    *(at("a", "10:00", "impression"), at("a", "10:30", "impression"), at("a", "10:40", "click")),
    *(at("b", "10:00", "impression"), at("b", "11:01", "click")),  # a minute too late
    *(at("c", "09:00", "click"), at("c", "10:00", "impression")),  # the wrong way round
    at("d", "10:00", "click"),  # never shown
    *(at("e", "10:00", "impression"), at("e", "10:00", "click")),  # at the same moment
    *(at("a", "10:00", "impression", "v"), at("f", "10:00", "impression")),
]


def test_successes_are_sorted_by_why_they_belong_to_no_exposure(tmp_path):
    staged = put(tmp_path, events(STORY))
    with staged.database() as connection:
        facts, [found] = outcome(staged, connection, Task(within="1h"))
    assert facts == {
        **{"successes": 5, "impressions": 7, "matched_impressions": 3, "matched": 2},
        **{"too_late": 1, "shown_after": 1, "never_shown": 1},
    }
    assert found.text.startswith("60.0% of the successes belong to no exposure")


def test_a_window_up_to_the_end_of_the_period_follows_days_and_weeks(tmp_path):
    rows = [("u", "a", "2025-01-04T10:00Z", "impression"), ("u", "a", "2025-01-05T10:00Z", "click")]
    rows += [
        ("u", "b", "2025-01-05T10:00Z", "impression"),
        ("u", "b", "2025-01-06T10:00Z", "click"),
    ]
    staged = put(tmp_path, events(rows))  # a Saturday, a Sunday and a Monday
    with staged.database() as connection:
        by_day, _ = outcome(staged, connection, Task(within="period"))
        by_week, _ = outcome(staged, connection, Task(within="period", cutoff="week"))
    assert (by_day["matched_impressions"], by_day["too_late"]) == (0, 2)
    assert (by_week["matched_impressions"], by_week["matched"], by_week["too_late"]) == (1, 1, 1)


@pytest.mark.parametrize("within", ["0s", "10min", "3h", "period"])
@pytest.mark.parametrize("cutoff", ["day", "week"])
def test_matches_are_those_of_a_search_through_all_pairs(tmp_path, within, cutoff):
    rng = np.random.default_rng(3)
    times = pd.Timestamp("2025-01-03", tz="UTC") + pd.to_timedelta(rng.integers(0, 900, 300), "min")
    times += pd.to_timedelta(rng.integers(0, 6, 300) * 24, "h")  # over a Monday
    kinds = rng.choice(["impression", "click", "cart"], 300, p=[0.6, 0.3, 0.1])
    rows = zip(
        rng.choice(list("uvw"), 300), rng.choice(list("abcd"), 300), times, kinds, strict=True
    )
    task = Task(within=within, cutoff=cutoff, time_zone="America/New_York")
    frame = events([*rows])
    frame["event_time"] = frame.event_time.map(lambda t: t.isoformat())
    with (staged := put(tmp_path, frame, zone=task.time_zone)).database() as connection:
        facts, _ = outcome(staged, connection, task)
    local = times.tz_convert(task.time_zone).tz_localize(None)
    start = local.to_period("W-SUN" if cutoff == "week" else "D")
    inside = np.zeros((300, 300), dtype=bool)  # exposures down, successes across
    shown, clicked = (np.flatnonzero(kinds == kind) for kind in ("impression", "click"))
    users, items = frame.user_id.tolist(), frame.item_id.tolist()
    moments, periods = [*times], [*start]
    for i, j in product(shown, clicked):
        if (users[i], items[i]) == (users[j], items[j]) and moments[j] >= moments[i]:
            if within == "period":
                inside[i, j] = periods[i] == periods[j]
            else:
                inside[i, j] = moments[j] - moments[i] <= pd.Timedelta(within)
    assert (facts["matched_impressions"], facts["matched"]) == (
        *(inside.any(axis=1).sum(), inside.any(axis=0).sum()),
    )


def test_a_missing_value_matches_nothing(tmp_path):
    rows = [(*at("a", "10:00", "impression"), None), (*at("a", "10:01", "click"), None)]
    staged = put(tmp_path, events(rows, "list_id"))
    task = Task(match_on=("user_id", "item_id", "list_id"))
    with staged.database() as connection:
        facts, _ = outcome(staged, connection, task)
    assert (facts["matched_impressions"], facts["never_shown"]) == (0, 1)


def test_drawn_negatives_are_told_instead_of_exposures(tmp_path):
    staged = put(tmp_path, events([at("a", "10:00", "click")]))
    with staged.database() as connection:
        facts, found = outcome(staged, connection, Task(negatives=4, negatives_from="popular"))
    assert facts == {"successes": 1, "negatives": 4, "from": "popular"}
    assert found == []


# ---------------------------------------------------------------- signs of leakage


def samples_of(**more: np.ndarray) -> Samples:
    """Return 4,000 samples with an honest number and name, and further raw features.

    The label follows the logistic law of ``user_events``; ``more`` are functions of
    (label, generator).
    """
    rng = np.random.default_rng(0)
    n = 4000
    signal = rng.normal(size=n)
    label = (rng.random(n) < 1 / (1 + np.exp(1.5 - 1.2 * signal))).astype(np.int8)
    features = pd.DataFrame({"user_events": signal, "item_brand": rng.choice(list("abcd"), n)})
    table = pd.DataFrame(
        {
            "sample_id": np.arange(n),
            "user_id": [f"u{i}" for i in rng.integers(0, 200, n)],
            "item_id": [f"i{i}" for i in rng.integers(0, 300, n)],
            "role": np.repeat(["train", "attribution", "valid", "test"], [2400, 400, 600, 600]),
            "label": label,
        }
    )
    for name, make in more.items():
        values = make(label, rng)
        features[f"context_{name}"] = values
        table[name] = values
        if features[f"context_{name}"].dtype == "str":
            features[f"context_{name}"] = features[f"context_{name}"].fillna("unknown")
    return Samples(
        table=table,
        features=features,
        dense=np.zeros((n, 1), dtype=np.float32),
        numbers={},
        sizes={},
        feature_names=[],
        source="test",
        notes=[],
        logit_offset=0.0,
        dropped=dropped_table(),
        fingerprint="test",
    )


@pytest.fixture
def nothing(tmp_path: Path) -> Iterator[tuple]:
    """Yield staged tables, with a connection, that say nothing of leaks."""
    staged = put(tmp_path, on_days("2025-01-01"))
    with staged.database() as connection:
        yield staged, connection


def signs(samples: Samples, nothing: tuple, task: Task | None = None) -> list[str]:
    return [f.text for f in leaks(samples, *nothing, task or Task())[1]]


def test_the_auc_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    labels, values = rng.integers(0, 2, 300), rng.integers(0, 9, 300).astype(float)
    np.testing.assert_allclose(auc(labels, values), roc_auc_score(labels, values), rtol=1e-12)
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))


def test_honest_features_are_not_flagged(nothing):
    facts, found = leaks(samples_of(), *nothing, Task())
    assert found == []
    assert facts["judged"]
    best = facts["aucs"].iloc[0]
    assert best.feature == "user_events"
    assert 0.7 < best.auc < 0.85
    assert facts["aucs"].auc.iloc[1] == pytest.approx(0.5, abs=0.06)  # the brand knows nothing


LEAKS = {
    "the label": lambda y, rng: y.astype(float),
    "its opposite, blurred": lambda y, rng: -y + 0.2 * rng.normal(size=len(y)),
    "a code in no order": lambda y, rng: np.where(y == 1, 3.0, rng.choice([1.0, 5.0], len(y))),
    "known for positives": lambda y, rng: np.where(y == 1, rng.random(len(y)), np.nan),
    "a name": lambda y, rng: pd.Series(np.where(y == 1, "paid", "open"), dtype="str"),
}


@pytest.mark.parametrize("make", LEAKS.values(), ids=LEAKS.keys())
def test_a_column_that_tells_the_label_alone_is_found(nothing, make):
    found = signs(samples_of(state=make), nothing)
    assert found[0].startswith("context_state alone tells the label (AUC ")
    assert 'the column "state" of the log' in found[0]


@pytest.mark.parametrize(
    ("feature", "look"),
    [
        ("user_store_share", "Look at the users table"),  # of a person's own, by that name
        ("user_tier", "Look at the users table"),
        ("user_events_attribute", "Look at the users table"),
        ("user_recency_days", "It is counted from events before the cutoff"),
    ],
)
def test_where_a_leak_comes_from_is_not_read_off_its_name(tmp_path, feature, look):
    users = pd.DataFrame({"user_id": ["u"], "store_share": ["a"], "tier": ["b"], "events": ["c"]})
    samples = samples_of()
    told = samples.features.assign(user_events_attribute=0.0)
    told[feature] = samples.table.label.to_numpy() + np.linspace(0, 0.1, len(samples))
    staged = put(tmp_path, on_days("2025-01-01"), users=users)
    with staged.database() as connection:
        found = signs(replace(samples, features=told), (staged, connection))
    [said] = [text for text in found if text.startswith(f"{feature} alone tells the label")]
    assert look in said


def test_a_number_is_judged_by_its_value_with_missing_ones_lowest():
    rng = np.random.default_rng(2)
    samples = samples_of()
    valid = samples.rows("valid")
    label = samples.table.label.to_numpy()
    falling = -label + rng.normal(size=len(label))  # no part of twenty has one label only
    known = np.where((label == 1) | (rng.random(len(label)) < 0.3), -falling, np.nan)
    features = pd.DataFrame({"falling": falling, "known": known})
    found = single_feature_aucs(replace(samples, features=features)).set_index("feature").auc
    lowest = np.nan_to_num(known[valid], nan=-100.0)
    assert found.falling == pytest.approx(roc_auc_score(label[valid], -falling[valid]), rel=1e-12)
    assert found.known == pytest.approx(roc_auc_score(label[valid], lowest), rel=1e-12)


def test_the_mean_label_of_a_rare_name_is_drawn_to_that_of_all():
    fitted, judged = pd.Series(["a", "a", "b"]), pd.Series(["a", "b", "never seen"])
    means = _means(fitted, np.array([1.0, 1.0, 0.0]), judged)
    rate = 2 / 3
    want = [(2 + 10 * rate) / 12, (0 + 10 * rate) / 11, rate]
    np.testing.assert_allclose(means, want, rtol=1e-12)


def test_two_columns_that_leak_the_same_do_not_hide_each_other(nothing):
    def nearly(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.where(rng.random(len(y)) < 0.08, 1 - y, y) + 0.001 * rng.random(len(y))

    samples = samples_of(one=nearly, two=nearly)
    values = single_feature_aucs(samples).auc[:2]
    assert values.between(0.9, 0.95).all()
    assert len(signs(samples, nothing)) == 2


def test_names_that_are_all_different_do_not_look_like_a_leak(nothing):
    found = signs(
        samples_of(code=lambda y, rng: pd.Series([f"c{i}" for i in range(len(y))], dtype="str")),
        nothing,
    )
    assert found == []


def test_a_column_that_is_empty_for_all_negatives_is_found(nothing):
    def amount(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.where((y == 1) & (rng.random(len(y)) < 0.2), 9.5, np.nan)

    samples = samples_of(amount=amount)
    assert single_feature_aucs(samples).auc.iloc[0] < 0.9  # too rarely known for the first sign
    [found] = signs(samples, nothing)
    assert found.startswith('The column "amount" is empty for every negative sample')
    sometimes = samples.table.assign(amount=samples.table.amount.where(samples.table.index > 0, 1))
    sometimes.loc[0, "label"] = 0
    assert signs(replace(samples, table=sometimes), nothing) == []


def test_items_that_are_always_positive_are_counted_but_not_named(nothing):
    samples = samples_of()
    table = samples.table.copy()
    table.loc[table.index[table.label == 1][:60], "item_id"] = [USER] * 30 + ["Canary 2"] * 30
    found = signs(replace(samples, table=table), nothing)
    assert len(found) == 1
    assert found[0].startswith("2 items with at least 20 samples have positive ones only")
    # Negatives drawn from a large catalogue leave popular products without one.
    assert signs(replace(samples, table=table), nothing, Task(negatives=4)) == []


def test_chance_explains_items_that_are_mostly_positive(nothing):
    samples = samples_of()
    table = samples.table.assign(label=np.int8(1))
    table.loc[::200, "label"] = np.int8(0)  # so that most users have positive samples only
    found = [t for t in signs(replace(samples, table=table), nothing) if "at least 20" in t]
    assert found == []


def test_a_role_too_small_for_the_signs_is_not_judged(nothing):
    samples = samples_of(state=LEAKS["the label"])
    keep = np.r_[0:2800, np.flatnonzero(samples.table.role == "valid")[:8], 3400:4000]
    small = replace(
        samples,
        table=samples.table.iloc[keep].reset_index(drop=True),
        features=samples.features.iloc[keep].reset_index(drop=True),
    )
    facts, found = leaks(small, *nothing, Task())
    assert not facts["judged"]
    assert found == []


def test_a_popular_product_under_drawn_negatives_is_no_leak_but_a_hint(nothing):
    samples = samples_of()
    features = samples.features.assign(item_events=samples.table.label * 9.0)
    [found] = signs(replace(samples, features=features), nothing, Task(negatives=4))
    assert "negatives.from: popular" in found


def test_copies_with_both_labels_are_counted(tmp_path):
    rows = [("u", "a", "2025-01-01T10:00Z", "impression")] * 2
    rows += [("u", "a", "2025-01-01T10:00Z", "click")]  # one of the two was labelled 1
    rows += [
        ("u", "b", "2025-01-01T10:00Z", "impression"),
        ("u", "b", "2025-01-01T10:00Z", "click"),
    ]
    staged = put(tmp_path, events(rows), labelled=True)
    with staged.database() as connection:
        facts, [found] = leaks(samples_of(), staged, connection, Task(within="0s"))
    assert facts["copies_disagree"] == 2
    assert found.text.startswith("2 exposures are copies")


def test_pairs_that_train_has_too_are_a_share_and_no_fault(nothing):
    samples = samples_of()
    train = set(map(tuple, samples.table.loc[:2399, ["user_id", "item_id"]].to_numpy()))
    test = [tuple(p) in train for p in samples.table.loc[3400:, ["user_id", "item_id"]].to_numpy()]
    assert leaks(samples, *nothing, Task())[0]["repeated_pairs"] == np.mean(test)


# ---------------------------------------------------------------- the page


def test_a_table_is_cut_to_the_width_of_a_terminal():
    lines = table_text(["name", "n"], [("x" * 300, 1), ("y", 2)] + [("z", 3)] * 100)
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1] == "... and 42 more"
    wide = table_text(["first", "second", "third"], [("x" * 44, "y" * 44, "z" * 40)])
    assert max(map(len, wide)) <= WIDTH
    assert wide[1] == f"{'x' * 9}...  {'y' * 44}  {'z' * 40}"


def test_a_finding_stands_in_its_section_behind_a_mark(tmp_path):
    rows = shop(tmp_path / "shop")
    days = rows.event_time.str[:10]
    rows = rows[(days < "2025-01-09") | (days > "2025-01-15")]
    rows.to_csv(tmp_path / "shop" / "user_behavior.csv", index=False)
    period = look(tmp_path / "shop").text().split("Period\n------\n")[1].split("\n\n")[0]
    assert " ".join(period.split()) == (
        "2025-01-01 to 2025-01-24: 24 days by the calendar of UTC. 7 of them without any event; "
        "the longest gap has 7 days, from 2025-01-09. ! There is no event for 7 days, from "
        "2025-01-09 to 2025-01-15. Was the shop closed, or is a part of the log missing?"
    )


# ---------------------------------------------------------------- the whole way, from files


def shop(folder: Path, *, days: int = 24, users: int = 40, leak: bool = False, zone: str = "UTC"):
    """Write a shop's log as CSV files: three products a day, of which one is clicked or none."""
    rng = np.random.default_rng(7)
    rows = []
    for day in pd.date_range("2025-01-01", periods=days):
        for number in range(users):
            user = USER if number == 0 else f"u{number}"
            hour = int(rng.integers(9, 21))
            seen = day + pd.Timedelta(hours=hour, minutes=int(rng.integers(0, 59)), seconds=7)
            items = rng.choice(30, 3, replace=False)
            clicked = rng.random(3) < 0.05 + 0.5 * (items < 6)
            for item, click in zip(items, clicked, strict=True):
                extra = f"{rng.random():.3f}" if not leak or not click else "9"
                shared = (user, f"i{item}", QUERY if number % 2 else "other")
                rows.append((*shared, seen.isoformat(), "impression", extra))
                if click:
                    later = seen + pd.Timedelta("5min")
                    rows.append((*shared, later.isoformat(), "click", ""))
    names = ["user_id", "item_id", "query", "event_time", "event_type", "extra"]
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=names).to_csv(folder / "user_behavior.csv", index=False)
    products = pd.DataFrame({"item_id": [f"i{i}" for i in range(30)]})
    products["brand"] = [f"brand {i % 4}" for i in range(30)]
    products["price"] = np.arange(1, 31) * 1.5
    products.to_csv(folder / "product_features.csv", index=False)
    (folder / "schema.yaml").write_text(
        f"task: {{label: {{within: 1h}}, time_zone: {zone}}}\n", encoding="utf-8"
    )
    return pd.DataFrame(rows, columns=names)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBOOK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def look(folder: Path) -> audits.Audit:
    return audit("csv", path=folder, progress=False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> tuple:
    """Return the rows of a sound log, and its audit."""
    folder = tmp_path_factory.mktemp("data") / "my shop"
    return shop(folder), look(folder)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> audits.Audit:
    """Return the audit of a log in which a further column tells the label."""
    folder = tmp_path_factory.mktemp("data") / "leaky"
    shop(folder, leak=True)
    return look(folder)


def test_a_sound_log_is_usable_and_every_section_is_there(sound):
    rows, found = sound
    text = found.text()
    assert found.ok
    assert found.verdict.startswith("usable")
    for title in (
        *("Rows", "Period", "Events", "Times", "Columns and keys", "Joins", "Prices", "Task"),
        *("What the time split gives", "Signs of leakage"),
    ):
        assert f"\n{title}\n{'-' * len(title)}\n" in f"\n{text}"
    facts = found.to_dict()
    assert facts["tables"]["user_behavior"]["read"] == len(rows)
    clicks = int((rows.event_type == "click").sum())
    assert facts["task"]["successes"] == clicks == facts["task"]["matched"]
    assert facts["task"]["matched_impressions"] == clicks
    assert sum(r["samples"] for r in facts["split"]["roles"]) <= facts["task"]["impressions"]
    assert [f["section"] for f in facts["findings"]] == ["split"]  # few positives, and no more
    assert all(len(line) <= WIDTH for line in text.splitlines() if not line.startswith("Next: "))
    json.dumps(facts)


def test_no_name_of_a_user_and_no_query_is_shown(sound, leaky):
    texts = [f for found in (sound[1], leaky) for f in (found.text(), str(found.to_dict()))]
    for shown in texts:
        assert "canary" not in shown.lower()
        assert "u17" not in shown


def test_a_planted_leak_is_found_on_the_way_from_files(leaky):
    found = leaky
    assert found.ok
    assert "context_extra tells the label alone" in found.verdict
    assert "! context_extra alone tells the label (AUC 1.000 on valid)" in found.text()


def test_a_log_of_successes_only_is_told_with_its_drawn_negatives(tmp_path):
    rows = shop(tmp_path / "shop", days=40)
    clicks = rows[rows.event_type == "click"].drop(columns="extra")
    clicks.to_csv(tmp_path / "shop" / "user_behavior.csv", index=False)
    task = "task: {label: {positive: [click]}, negatives: {per_positive: 4, from: catalogue}}\n"
    (tmp_path / "shop" / "schema.yaml").write_text(task, encoding="utf-8")
    found = look(tmp_path / "shop")
    assert found.facts["task"] == {"successes": len(clicks), "negatives": 4, "from": "catalogue"}
    assert all(r["positive_share"] == pytest.approx(1 / 5) for r in found.facts["split"]["roles"])
    text = " ".join(found.text().split())
    assert "nothing of what was shown: for each, 4 other products are drawn (catalogue)." in text
    assert [f.section for f in found.findings] == ["split"]  # few positives, and no leak


def test_labelled_exposures_are_told_as_exposures_and_successes(tmp_path):
    rows = shop(tmp_path / "shop")
    shown = rows[rows.event_type == "impression"].drop(columns=["event_type", "extra"])
    shown["label"] = np.arange(len(shown)) % 5 // 4
    copies = shown.iloc[:10].assign(label=1 - shown.label.iloc[:10])
    table = pd.concat([shown, copies])
    table.to_csv(tmp_path / "shop" / "user_behavior.csv", index=False)
    found = look(tmp_path / "shop")
    assert found.facts["task"]["impressions"] == len(table)
    assert found.facts["task"]["successes"] == table.label.sum()
    assert found.facts["leaks"]["copies_disagree"] == 20
    assert "copies whose labels differ" in found.verdict
    assert "Each row came with its label" in found.text()


def test_the_next_command_can_be_typed_as_it_stands(sound):
    words = shlex.split(sound[1].command)
    assert words[:6] == ["python", "-m", "helpers", "run", "--source", "csv"]
    assert words[6] == "--path"
    assert words[7].endswith("/my shop")
    assert sound[1].text().splitlines()[-1] == f"Next: {sound[1].command}"


def test_small_roles_are_said_to_be_too_small(sound):
    found = sound[1]
    small = [r["role"] for r in found.facts["split"]["roles"] if r["positives"] < 200]
    assert small
    assert f"Fewer than 200 positive samples in {', '.join(small)}" in found.text().replace(
        "\n  ", " "
    )


def test_a_log_too_short_for_four_roles_is_described_and_then_refused(tmp_path):
    shop(tmp_path / "shop", days=5)
    found = look(tmp_path / "shop")
    assert not found.ok
    assert "need at least 8" in found.problem
    assert found.verdict == f"cannot be used: {found.problem}"
    assert found.command.startswith("python -m helpers check --source csv --path ")
    assert "Period\n------\n2025-01-01 to 2025-01-05: 5 days" in found.text()
    assert "What the time split gives" not in found.text()


def test_bad_rows_and_copies_are_counted_by_reason(tmp_path):
    rows = shop(tmp_path / "shop")
    bad = rows.iloc[:30].assign(event_type="stare")
    everything = pd.concat([rows, bad, rows.iloc[-20:]])
    everything.to_csv(tmp_path / "shop" / "user_behavior.csv", index=False)
    found = look(tmp_path / "shop")
    counts = {d["reason"]: d["rows"] for d in found.facts["dropped"]}
    assert sorted(counts.values()) == [20, 30]
    assert "exact copy of an earlier row" in counts
    if 30 / len(everything) > 0.01:
        assert "bad rows in user_behavior" in found.verdict


def test_tables_that_cannot_be_read_are_an_error_and_no_audit(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        look(tmp_path / "nowhere")


def test_left_out_rows_are_no_bad_rows():
    facts = {
        "tables": {"user_behavior": {"read": 100, "kept": 30}},
        "dropped": [
            {"table": "user_behavior", "kind": "rule", "rows": 60},
            {"table": "user_behavior", "kind": "copy", "rows": 10},
        ],
    }
    [found] = _row_findings(facts)
    assert found == Finding(
        *("rows", "most of user_behavior left out"),
        "leave_out takes 60.0% of the rows of user_behavior. Is that meant?",
    )
