"""Raw features on a log small enough to count by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tables import made, of_users, opened, raw_view, tables_of

from helpers.data.sources import Tables
from helpers.samples.features import RECENT_LENGTH, _by_user_and_time, local_days
from helpers.samples.history import daily_totals
from helpers.schema import Task

#: The user u: two purchases of a (one of two pieces), one of b, one of c on the cutoff's own day.
EVENTS = [
    ("u", "a", "2025-03-01T09:00Z", "purchase", 4.0, 2.0, "s1", None),
    ("u", "b", "2025-04-20T09:00Z", "purchase", 10.0, None, "s2", None),
    ("u", "a", "2025-05-01T09:00Z", "purchase", 5.0, 1.0, "s1", None),
    ("u", "a", "2025-05-04T23:59Z", "click", None, None, "s1", "red shoe"),
    ("u", "c", "2025-05-05T00:00Z", "purchase", 99.0, 1.0, "s1", None),
    ("v", "a", "2025-05-01T09:00Z", "purchase", 6.0, 1.0, "s1", None),
    ("v", "b", "2025-05-01T09:00Z", "click", None, None, "s1", "red shoe"),
    ("u", "a", "2025-05-05T12:00Z", "impression", None, None, "s1", "Red shoe"),
    ("u", "b", "2025-05-05T12:00Z", "impression", 8.0, None, "s9", None),
    ("w", "d", "2025-05-05T12:00Z", "impression", None, None, None, "red shoe"),
]
NAMES = ("user_id", "item_id", "event_time", "event_type", "price", "quantity", "store_id", "query")
PRODUCTS = pd.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["Red Wool Sock", "Pen", "Pan", None],
        "category": ["clothing", "office", "kitchen", None],
        "subcategory": ["sock", "pen", "pan", None],
        "price": [1.0, 2.0, 3.0, 7.0],
    }
)
USERS = pd.DataFrame({"user_id": ["u", "v"], "age": [30, 40], "events": ["many", "few"]})


def small(**columns: list) -> Tables:
    log = pd.DataFrame(EVENTS, columns=[*NAMES]).assign(**columns)
    # A success, so that labels can be made: w clicks on d after seeing it.
    log.loc[len(log)] = ["w", "d", "2025-05-05T12:00Z", "click", *[None] * (len(log.columns) - 4)]
    return tables_of(log, products=PRODUCTS, users=USERS, task=Task())


@pytest.fixture(scope="module")
def view() -> pd.DataFrame:
    """Return the raw features of the three exposures, by user and item."""
    table, raw = raw_view(small())
    return raw.set_index(table.user_id + " " + table.item_id)


@pytest.mark.parametrize(
    ("feature", "ua", "ub", "wd"),
    [
        ("user_recency_days", 1, 1, np.nan),
        ("user_events", 4, 4, 0),
        ("user_events_28d", 3, 3, 0),
        ("user_spend_28d", 10 + 5, 10 + 5, 0),
        ("user_mean_price", 19 / 3, 19 / 3, np.nan),
        ("user_item_events", 3, 1, 0),
        ("user_item_recency_days", 1, 15, np.nan),
        ("user_category_share", 3 / 4, 1 / 4, 0),
        ("user_subcategory_events", 3, 1, 0),
        ("user_subcategory_recency_days", 1, 15, np.nan),
        ("item_events_7d", 3, 1, 0),
        ("item_events_28d", 3, 2, 0),
        ("item_events", 4, 2, 0),
        ("subcategory_events_28d", 3, 2, 0),
        ("item_price", (4 + 5 + 6) / 3, 8, 7),  # what was paid; shown; the list price
        ("store_events_28d", 4, 0, 0),
        ("store_item_events_28d", 3, 0, 0),
        ("user_store_share", 3 / 4, 0, 0),
        ("has_query", 1, 0, 1),
        ("query_word_share", 1 / 2, 0, 0),
    ],
)
def test_a_number_is_what_one_counts_by_hand(view, feature, ua, ub, wd):
    want = np.array([ua, ub, wd], dtype=np.float32)
    np.testing.assert_array_equal(view.loc[["u a", "u b", "w d"], feature], want)


def test_a_querys_past_is_told_by_its_exact_words(view):
    """For "red shoe" one click went to a and one to b; "Red shoe" was never seen before."""
    assert view.loc["u a", "query_item_events"] == 0
    table, raw = raw_view(small(query=[None] * 3 + ["x"] + [None] * 2 + ["x"] + ["x"] * 3))
    by = raw.set_index(table.user_id + " " + table.item_id)
    assert by.loc[["u a", "u b", "w d"], "query_item_events"].tolist() == [1, 1, 0]
    assert by.loc[["u a", "u b", "w d"], "query_category_share"].tolist() == [0.5, 0.5, 0]


def test_names_are_text_and_unknown_where_nobody_knows(view):
    assert view.loc[["u a", "w d"], "item_category"].tolist() == ["clothing", "unknown"]
    assert view.loc[["u a", "w d"], "user_age"].tolist() == ["30", "unknown"]
    assert view.day_of_week.tolist() == ["Monday"] * 3
    assert view.week_of_month.tolist() == ["1"] * 3


@pytest.mark.parametrize(
    ("day", "week"),
    [("01", "1"), ("07", "1"), ("08", "2"), ("14", "2"), ("15", "3"), ("28", "4"), ("29", "5")],
)
def test_weeks_of_a_month_begin_on_its_1st_8th_15th_22nd_and_29th(day, week):
    log = pd.DataFrame(EVENTS, columns=[*NAMES])
    log["event_time"] = log.event_time.str.replace("2025-05-05", f"2025-05-{day}")
    log.loc[len(log)] = ["w", "d", f"2025-05-{day}T12:00Z", "click", *[None] * 4]
    _, raw = raw_view(tables_of(log, products=PRODUCTS, users=USERS, task=Task()))
    assert set(raw.week_of_month) == {week}


def test_thirty_last_items_of_a_user_are_remembered():
    log = pd.DataFrame(EVENTS, columns=[*NAMES])
    more = [("u", f"i{n:02}", f"2025-04-01T09:{n:02}Z", "click", *[None] * 4) for n in range(50)]
    both = pd.concat([log, pd.DataFrame(more, columns=[*NAMES])], ignore_index=True)
    both.loc[len(both)] = ["w", "d", "2025-05-05T12:00Z", "click", *[None] * 4]
    table, raw = raw_view(tables_of(both, products=PRODUCTS))
    row = raw[(table.user_id == "u") & (table.item_id == "a")].iloc[0]
    items = [row[c] for c in raw if c.startswith("recent_")]
    assert items == ["a", "a", "b", *[f"i{n:02}" for n in range(49, 22, -1)]]
    assert len(items) == 30


def test_context_that_only_some_rows_have_is_still_context():
    n = len(EVENTS)
    _, raw = raw_view(small(scene=[*["front"] * (n - 1), None], rank=[*range(n - 1), None]))
    assert sorted(raw.context_scene) == ["front", "front", "unknown"]
    assert raw.context_rank.isna().sum() == 1


def test_positions_that_only_some_rows_have_are_still_a_feature():
    n = len(EVENTS)
    _, raw = raw_view(small(position=[*range(1, n), None]))
    assert sorted(raw.position.dropna()) == [n - 2, n - 1]
    assert raw.position.isna().sum() == 1


@pytest.mark.parametrize("users", [5, 2**20, 2**40])
def test_events_are_sorted_by_user_time_and_item_however_many_users_and_years(users):
    rng = np.random.default_rng(0)
    day = np.timedelta64(1, "D")
    log = SimpleNamespace(
        event_user=rng.integers(0, users, 500),
        event_item=rng.integers(0, 9, 500),
        time=np.datetime64("1900-01-01", "us") + rng.integers(0, 40, 500) * 1000 * day,
    )
    log.event_user[:100] = users - 1
    log.time[:3] = np.datetime64("2025-01-01", "us")
    found = _by_user_and_time(log)
    rows = list(zip(log.event_user[found], log.time[found], log.event_item[found], strict=True))
    assert rows == sorted(rows)
    assert sorted(found) == list(range(500))


def test_a_single_event_is_a_whole_share_and_a_price():
    log = pd.DataFrame(EVENTS, columns=[*NAMES])
    log.loc[len(log)] = ("x", "b", "2025-05-01T09:00Z", "purchase", 3.0, 1.0, "s1", None)
    log.loc[len(log)] = ("x", "b", "2025-05-05T12:00Z", "impression", None, None, "s1", None)
    log.loc[len(log)] = ("x", "c", "2025-05-06T12:00Z", "impression", None, None, "s1", None)
    log.loc[len(log)] = ["w", "d", "2025-05-05T12:00Z", "click", *[None] * 4]
    table, raw = raw_view(tables_of(log, products=PRODUCTS, users=USERS, task=Task()))
    by = raw.set_index(table.user_id + " " + table.item_id)
    assert by.loc["x b", "user_category_share"] == 1
    assert by.loc["x b", "user_mean_price"] == 3
    assert by.loc["x c", "item_price"] == 99  # paid once, the day before


def test_an_attribute_does_not_replace_a_feature_of_the_same_name(view):
    assert view.loc["u a", "user_events"] == 4
    assert view.loc[["u a", "w d"], "user_events_attribute"].tolist() == ["many", "unknown"]


def test_the_last_items_stand_newest_first_without_the_cutoffs_own_day(view):
    recent = [f"recent_{i}" for i in range(RECENT_LENGTH)]
    assert view.loc["u a", recent].dropna().tolist() == ["a", "a", "b", "a"]
    assert view.loc["w d", recent].isna().all()


def test_events_before_1970_are_remembered_too():
    log = pd.DataFrame(EVENTS, columns=[*NAMES])
    log["event_time"] = log.event_time.str.replace("2025-0", "1931-0")
    table, raw = raw_view(tables_of(log.assign(event_type=_last_is_click(log)), products=PRODUCTS))
    row = raw[(table.user_id == "u") & (table.item_id == "a")].iloc[0]
    assert row.user_events == 4
    assert [row[f"recent_{i}"] for i in range(5)] == ["a", "a", "b", "a", None]


def _last_is_click(log: pd.DataFrame) -> list[str]:
    return [*log.event_type[:-1], "click"]


def test_extra_columns_are_context_by_their_kind():
    n = len(EVENTS)
    scenes = ["front"] * n
    table, raw = raw_view(small(scene=scenes, rank=np.arange(n), empty=[None] * n))
    assert raw.context_scene.tolist() == ["front"] * 3
    assert sorted(raw.context_rank) == [7, 8, 9]
    assert "context_empty" not in raw
    assert len(table) == 3


def test_a_number_too_large_for_float32_becomes_its_largest():
    _, raw = raw_view(small(rank=np.full(len(EVENTS), 1e300)))
    assert (raw.context_rank == np.finfo(np.float32).max).all()


def test_without_prices_stores_queries_or_positions_there_are_no_such_features():
    log = pd.DataFrame(EVENTS, columns=[*NAMES])[["user_id", "item_id", "event_time", "event_type"]]
    log.loc[len(log)] = ["w", "d", "2025-05-05T12:00Z", "click"]
    _, raw = raw_view(tables_of(log))
    assert not [c for c in raw if c.startswith(("store", "query", "position", "item_category"))]
    assert raw.item_price.isna().all()


def test_local_days_follow_the_calendar_when_clocks_change():
    times = pd.to_datetime(["2017-11-05T04:30Z", "2017-11-06T04:59Z", "2017-11-06T05:00Z"])
    days = local_days(pd.Series(times), "America/New_York")
    assert (days - days[0]).tolist() == [0, 0, 1]


@pytest.mark.parametrize("source", ["sample", "journey"])
def test_features_of_random_samples_agree_with_loops_over_the_log(source):
    samples, tables = made(source), opened(source)
    log = tables.user_behavior[tables.user_behavior.event_type.isin(tables.task.history)]
    for i in np.random.default_rng(0).choice(len(samples), 12, replace=False):
        row, raw = samples.table.iloc[i], samples.features.iloc[i]
        cutoff = row.cutoff.tz_localize(tables.task.time_zone)
        before = log[log.event_time < cutoff]
        month = before[before.event_time >= cutoff - pd.DateOffset(days=28)]
        mine, its = before[before.user_id == row.user_id], before[before.item_id == row.item_id]
        assert raw.user_events == len(mine)
        assert raw.user_item_events == (mine.item_id == row.item_id).sum()
        assert raw.item_events == len(its)
        assert raw.item_events_28d == (month.item_id == row.item_id).sum()
        spent = month[month.user_id == row.user_id]
        want = (spent.price * spent.quantity.fillna(1)).sum()
        assert raw.user_spend_28d == pytest.approx(want, rel=1e-5, abs=1e-4)


def with_totals(tables: Tables) -> Tables:
    """Return the tables with the daily totals of all their users."""
    log = tables.user_behavior[tables.user_behavior.event_type.isin(tables.task.history)]
    day = local_days(log.event_time, tables.task.time_zone)
    return replace(tables, totals=daily_totals(log.assign(day=day)))


def test_a_products_numbers_are_of_all_users_and_a_users_are_its_own():
    tables = with_totals(small())
    drawn = replace(tables, user_behavior=of_users(tables, ["u"]))
    drawn.user_behavior.loc[0, "event_type"] = "click"  # so that there is a success
    table, raw = raw_view(drawn)
    row = raw[table.item_id == "a"].iloc[0]
    # The users u and v; of u alone there are 4, 3, 3 events with a, and two prices.
    assert row[["item_events", "item_events_28d", "store_events_28d"]].tolist() == [4, 3, 4]
    assert row.item_price == (4 + 5 + 6) / 3
    assert row[["user_events", "user_item_events"]].tolist() == [4, 3]


@pytest.mark.parametrize("source", ["sample", "journey", "successes"])
def test_drawing_users_changes_no_raw_feature_of_those_who_are_drawn(source):
    """Where the daily totals of all users are known."""
    tables = opened("sample" if source == "successes" else source)
    if source == "journey":  # two hundred households are the whole log here
        users = np.sort(tables.user_behavior.user_id.unique())[:200]
        tables = replace(tables, user_behavior=of_users(tables, users))
    if source == "successes":
        behavior = tables.user_behavior
        behavior = behavior[behavior.event_type != "impression"].reset_index(drop=True)
        task = replace(tables.task, negatives=3, match_on=("user_id", "item_id"))
        tables = replace(tables, user_behavior=behavior, task=task)
    users = np.sort(tables.user_behavior.user_id.unique())[::9]
    drawn = replace(with_totals(tables), user_behavior=of_users(tables, users))
    table, raw = raw_view(replace(tables, truth=None))
    some, some_raw = raw_view(replace(drawn, truth=None))
    rows = table.user_id.isin(users).to_numpy()
    same = table[rows].drop(columns="sample_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(some.drop(columns="sample_id")[same.columns], same)
    pd.testing.assert_frame_equal(some_raw, raw[rows].reset_index(drop=True)[some_raw.columns])
    assert set(some_raw) == set(raw)
    alone, alone_raw = raw_view(replace(tables, user_behavior=drawn.user_behavior, truth=None))
    changed = [c for c in alone_raw if not c.startswith("recent") and source != "successes"]
    changed = [c for c in changed if not alone_raw[c].equals(some_raw[c])]
    assert source == "successes" or "item_events" in changed
    assert not [c for c in changed if c.startswith("user_")]


def test_users_of_one_moment_have_their_last_items_by_name():
    """Events of one moment have an order of their own, whatever the order of the rows."""
    log = pd.DataFrame(EVENTS, columns=[*NAMES])
    same = [("u", item, "2025-05-04T23:59Z", "click", *[None] * 4) for item in "zyx"]
    for rows in (same, same[::-1]):
        both = pd.concat([log, pd.DataFrame(rows, columns=[*NAMES])], ignore_index=True)
        both.loc[len(both)] = ["w", "d", "2025-05-05T12:00Z", "click", *[None] * 4]
        table, raw = raw_view(tables_of(both, products=PRODUCTS))
        row = raw[(table.user_id == "u") & (table.item_id == "a")].iloc[0]
        assert [row[f"recent_{i}"] for i in range(5)] == ["z", "y", "x", "a", "a"]


def test_the_words_of_a_query_are_counted_one_by_one():
    n = len(EVENTS)
    _, raw = raw_view(
        small(query=["red RED wool pan", "", None, "x"] + ["red red wool pan"] * (n - 4))
    )
    assert raw.query_word_share.tolist() == [0.75, 0.0, 0.0]  # of a; of b; of d without a title
