"""The door from events to features: numbers worked by hand, and loops."""

from __future__ import annotations

from itertools import product

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data import user_draw
from helpers.samples.history import History, daily_totals, join_codes, sorted_places
from helpers.schema import Task

#: Key 5 has events on days 1, 4, 4 and 9, worth 2, 3, nothing known and 10; key 6 one on day 4.
KEYS = np.array([5, 6, 5, 5, 5, -1])
DAYS = np.array([9, 4, 1, 4, 4, 4])
PRICE = np.array([10.0, 7.0, 2.0, 3.0, np.nan, 99.0])


def past() -> History:
    return History(KEYS, DAYS, {"price": PRICE})


def ask(key: int, cutoff: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array([key]), np.array([cutoff])


@pytest.mark.parametrize(
    ("cutoff", "count", "total"),
    [(1, 0, 0), (2, 1, 2), (4, 1, 2), (5, 3, 5), (9, 3, 5), (10, 4, 15), (500, 4, 15)],
)
def test_the_cutoffs_own_day_is_not_counted(cutoff, count, total):
    assert past().count(*ask(5, cutoff)) == count
    assert past().total("price", *ask(5, cutoff)) == total


@pytest.mark.parametrize(
    ("days", "count", "total"), [(1, 1, 10), (5, 1, 10), (6, 3, 13), (8, 3, 13), (9, 4, 15)]
)
def test_a_window_holds_so_many_days_before_the_cutoff(days, count, total):
    assert past().count(*ask(5, 10), days=days) == count
    assert past().total("price", *ask(5, 10), days=days) == total


@pytest.mark.parametrize(("cutoff", "days"), [(1, np.nan), (2, 1), (4, 3), (5, 1), (9, 5)])
def test_the_days_since_the_last_event_are_at_least_one(cutoff, days):
    np.testing.assert_equal(past().days_since_last(*ask(5, cutoff)), [days])


@pytest.mark.parametrize("key", [-1, 0, 4, 7, 10**6])
def test_a_key_without_events_has_none(key):
    assert past().count(*ask(key, 100)) == 0
    assert past().total("price", *ask(key, 100)) == 0
    assert np.isnan(past().days_since_last(*ask(key, 100)))


def test_an_empty_history_answers_too():
    nothing = np.array([], dtype=np.int64)
    empty = History(nothing, nothing, {"price": nothing.astype(float)})
    assert empty.count(*ask(0, 5)) == 0
    assert empty.total("price", *ask(0, 5)) == 0
    assert np.isnan(empty.days_since_last(*ask(0, 5)))


EVENT = st.tuples(
    st.integers(-1, 3), st.integers(-400, 400), st.floats(-1e6, 1e6, width=32) | st.none()
)
QUESTION = st.tuples(st.integers(-1, 4), st.integers(-410, 410))


@given(
    events=st.lists(EVENT, max_size=30),
    questions=st.lists(QUESTION, min_size=1, max_size=10),
    window=st.integers(1, 500) | st.none(),
)
def test_counts_sums_and_recency_agree_with_loops(events, questions, window):
    keys, days = (np.array([e[i] for e in events], dtype=np.int64) for i in (0, 1))
    worth = np.array([np.nan if e[2] is None else e[2] for e in events], dtype=float)
    history = History(keys, days, {"worth": worth})
    key, cutoff = np.array(questions).T
    count = history.count(key, cutoff, days=window)
    total = history.total("worth", key, cutoff, days=window)
    since = history.days_since_last(key, cutoff)
    for i, (k, c) in enumerate(questions):
        before = [e for e in events if e[0] == k >= 0 and e[1] < c]
        inside = [e for e in before if window is None or e[1] >= c - window]
        assert count[i] == len(inside)
        assert total[i] == pytest.approx(sum(e[2] or 0.0 for e in inside), abs=1e-5)
        np.testing.assert_equal(since[i], c - max((e[1] for e in before), default=np.nan))


def test_a_sum_does_not_change_in_its_last_digit_with_what_other_keys_spend():
    """Running sums of floats would."""
    rng = np.random.default_rng(0)
    keys, days, worth = rng.integers(0, 50, 5000), rng.integers(0, 100, 5000), rng.random(5000) * 7
    ours = keys == 49
    alone = History(keys[ours], days[ours], {"worth": worth[ours]})
    among = History(keys, days, {"worth": worth * np.where(ours, 1, 1e4)})
    everyone = np.full(100, 49), np.arange(100)
    np.testing.assert_array_equal(alone.total("worth", *everyone), among.total("worth", *everyone))


@pytest.mark.parametrize("worth", [1e-3, 1.0, 1e9, 1e15])
def test_a_sum_is_right_whatever_the_currency(worth):
    history = History(np.zeros(1000, int), np.arange(1000), {"worth": np.full(1000, worth)})
    total = history.total("worth", *ask(0, 600))
    np.testing.assert_allclose(total, 600 * worth, rtol=1e-4 if worth < 1 else 1e-7)


def test_infinite_amounts_do_not_spoil_the_sums_of_others():
    worth = np.array([np.inf, 2.0])
    history = History(np.array([0, 1]), np.array([1, 1]), {"worth": worth})
    assert np.isfinite(history.total("worth", *ask(0, 5)))


@given(
    st.lists(
        st.tuples(st.integers(-1, 3), st.integers(-1, 3), st.integers(-1, 3)),
        min_size=1,
        max_size=30,
    )
)
def test_joined_codes_are_equal_where_all_codes_are(rows):
    joined = join_codes(*np.array(rows).T)
    for (i, left), (j, right) in product(enumerate(rows), repeat=2):
        if -1 in left:
            assert joined[i] == -1
        elif -1 not in right:
            assert (joined[i] == joined[j]) == (left == right)


def test_joined_codes_of_four_large_columns_do_not_overflow():
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 2**31, (4, 1000))
    columns = np.concatenate([columns, columns[:, :10]], axis=1)  # the first ten once more
    joined = join_codes(*columns)
    assert len(np.unique(joined)) == 1000
    np.testing.assert_array_equal(joined[:10], joined[1000:])
    assert joined.min() >= 0
    assert joined.max() <= 2**38


@pytest.mark.parametrize("worth", [1e16, 1e200, np.inf])
def test_an_amount_beyond_the_limit_counts_as_the_limit(worth):
    history = History(np.zeros(3, int), np.arange(3), {"worth": np.array([worth, -worth, worth])})
    assert history.total("worth", *ask(0, 1)) == 2.0**50
    assert history.total("worth", *ask(0, 3)) == 2.0**50


@pytest.mark.parametrize("others", [1.0, 1e9, 1e15])
def test_a_sum_keeps_its_last_digit_beside_sums_of_any_size(others):
    """So neither the rest of the log nor its future shows, in a currency of any size."""
    ours = np.array([2.0**-24, 3 * 2.0**-24, 1e6 + 2.0**-24])
    among = np.concatenate([ours, np.full(5000, others)])
    keys = np.repeat([0, 1], [3, 5000])
    history = History(keys, np.zeros(5003, int), {"worth": among})
    assert history.total("worth", *ask(0, 1)) == 1e6 + 5 * 2.0**-24


def test_half_a_million_largest_amounts_do_not_overflow():
    n = 2**19
    history = History(np.zeros(n, int), np.zeros(n, int), {"worth": np.full(n, 2.0**50)})
    assert history.total("worth", *ask(0, 1)) == 2.0**69


WEIGHTED = st.tuples(
    st.integers(-1, 3), st.integers(-40, 40), st.integers(1, 5), st.floats(-1e4, 1e4, width=32)
)


@given(rows=st.lists(WEIGHTED, max_size=20), questions=st.lists(QUESTION, min_size=1, max_size=10))
def test_rows_with_counts_answer_as_that_many_rows_do(rows, questions):
    full = [(key, day, worth) for key, day, count, worth in rows for _ in range(count)]
    keys, days, counts = (np.array([r[i] for r in rows], dtype=np.int64) for i in range(3))
    worth = np.array([np.rint(r[3] * 2**24) / 2**24 * r[2] for r in rows], dtype=float)
    weighted = History(keys, days, {"worth": worth, "many": counts}, counts=counts)
    keys, days = (np.array([r[i] for r in full], dtype=np.int64) for i in range(2))
    plain = History(keys, days, {"worth": np.array([r[2] for r in full], dtype=float)})
    key, cutoff = np.array(questions).T
    for window in (None, 7):
        asked = (key, cutoff)
        count = plain.count(*asked, days=window)
        np.testing.assert_array_equal(weighted.count(*asked, days=window), count)
        np.testing.assert_array_equal(weighted.total("many", *asked, days=window), count)
        sums = (h.total("worth", *asked, days=window) for h in (weighted, plain))
        np.testing.assert_array_equal(*sums)
    np.testing.assert_array_equal(weighted.days_since_last(*asked), plain.days_since_last(*asked))


AMOUNT = st.one_of(
    st.none(),
    st.floats(0, 1e3),
    st.floats(-1e14, 1e14),
    st.sampled_from([1e16, 1e300, 2.0**-25, 3 * 2.0**-25, 0.1, 1e5 + 0.1]),
)
SOLD = st.tuples(
    st.sampled_from(["a", "b", "ü"]),
    st.sampled_from(["s", "t", None]),
    st.sampled_from(["red shoe", None]),
    st.integers(-3, 3),
    AMOUNT,
)
SOLD_NAMES = ["item_id", "store_id", "query", "day", "price"]


def sold(rows: list[tuple], leave_out: tuple[str, ...] = ()) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=SOLD_NAMES).drop(columns=[*leave_out])
    types = {"price": "float64", "store_id": "str", "query": "str", "item_id": "str"}
    return frame.astype({k: v for k, v in types.items() if k in frame})


@given(rows=st.lists(SOLD, min_size=1, max_size=25))
def test_daily_totals_agree_with_whole_numbers_of_any_size(rows):
    found: dict[tuple, list] = {}
    for *key, price in rows:
        of_day = found.setdefault(tuple(key), [0, 0, 0])
        of_day[0] += 1
        if price is not None:
            limited = min(max(price, -(2.0**50)), 2.0**50)
            of_day[1] += int(np.rint(limited * 2**24))  # Python's whole numbers never overflow
            of_day[2] += 1
    totals = daily_totals(sold(rows)).astype(object).where(lambda f: f.notna(), None)
    assert len(totals) == len(found)
    for row in totals.itertuples(index=False):
        want = found[(row.item_id, row.store_id, row.query, row.day)]
        assert [row.events, row.price, row.priced] == [want[0], want[1] / 2**24, want[2]]


@given(
    rows=st.lists(SOLD, min_size=1, max_size=25),
    leave_out=st.sampled_from([(), ("store_id",), ("query", "store_id"), ("price",)]),
)
def test_daily_totals_are_those_of_sql_bit_for_bit(rows, leave_out):
    ordinary = [r for r in rows if r[4] is None or abs(r[4]) <= 1e9]  # both sides keep these whole
    frame = sold(ordinary or [("a", None, None, 0, 1.0)], leave_out).assign(event_type="click")
    with duckdb.connect() as connection:
        connection.register("user_behavior", frame)
        columns = list(frame)
        of_sql = user_draw.totals_of_all_users(connection, Task(), columns=columns)
    ours = daily_totals(frame.drop(columns="event_type"))
    names = [c for c in SOLD_NAMES[:4] if c in ours]
    ours, of_sql = (
        f[[*names, "events", "price", "priced"]]
        .astype({"day": "int64", "events": "int64", "priced": "int64"})
        .sort_values(names, ignore_index=True)
        for f in (ours, of_sql)
    )
    for name in names:
        assert ours[name].fillna("?").tolist() == of_sql[name].fillna("?").tolist()
    for name in ("events", "price", "priced"):
        np.testing.assert_array_equal(ours[name].to_numpy(), of_sql[name].to_numpy())


def test_daily_totals_of_no_event_have_the_same_columns():
    none = sold([("a", None, None, 0, 1.0)]).iloc[:0]
    assert list(daily_totals(none)) == list(daily_totals(sold([("a", None, None, 0, 1.0)])))


@pytest.mark.parametrize("largest", [3, 2**40, 2**62])
def test_places_are_sorted_as_a_stable_sort_does(largest):
    keys = np.random.default_rng(0).integers(0, largest, 1000)
    keys[::3] = keys[0]
    np.testing.assert_array_equal(sorted_places(keys), np.argsort(keys, kind="stable"))
    assert len(sorted_places(keys[:0])) == 0
    assert sorted_places(keys[:1]).tolist() == [0]
