"""Samples from a log of successes only: slow loops, invariants, and what must not matter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from tables import opened, raw_view, tables_of

from helpers.base.errors import DataError
from helpers.samples import make_samples
from helpers.samples.features import local_days
from helpers.samples.history import daily_totals
from helpers.samples.labels import period_start, succeeded
from helpers.samples.negatives import Drawn, draw_samples
from helpers.samples.negatives.draws import Shelf, mixed
from helpers.schema import Task

FAR = 10**6  # a day after all others
FIRST = pd.Timestamp("2025-01-06T00:00Z")  # a Monday


def log_of(rows: list[tuple], *, zone: str = "UTC") -> pd.DataFrame:
    """Return events from tuples user, item, hours after FIRST, type, and perhaps a store."""
    names = ["user_id", "item_id", "event_time", "event_type", "store_id"]
    log = pd.DataFrame([(*row, "s")[:5] for row in rows], columns=names)
    log["event_time"] = FIRST + pd.to_timedelta(log.event_time.astype("float64"), unit="h")
    log["event_time"] = log.event_time.dt.as_unit("us")
    return log.assign(day=local_days(log.event_time, zone))


def totals_of(log: pd.DataFrame, task: Task) -> pd.DataFrame:
    return daily_totals(log[log.event_type.isin(task.history)].reset_index(drop=True))


def drawn_from(log: pd.DataFrame, task: Task, **options: int) -> Drawn:
    totals = totals_of(log, task)
    log = log[log.event_type.isin(task.history)].reset_index(drop=True)
    return draw_samples(log, totals, task, **{"end": FAR, **options})


def successes_only(**changes: object) -> Task:
    """Return a task in which every period gives samples."""
    stated = {"positive": ("purchase",), "negatives": 2, "train_from": "2020-01-01"}
    return Task(**{**stated, **changes})


def by_day(log: pd.DataFrame, task: Task) -> dict[tuple, list]:
    """Return users and products of the countable events of a day, in a store and in all (None)."""
    found: dict[tuple, list] = {}
    for e in log[log.event_type.isin(task.history)].itertuples():
        for store in (e.store_id, None):
            found.setdefault((e.day, store), []).append((e.user_id, e.item_id))
    return found


def on_sale(days: dict, period: int, task: Task, store: str | None, but: str = "") -> set:
    """Return what had an event in the window, other than this user's in the period."""
    last = period + (7 if task.cutoff == "week" else 1)
    first = period - (28 if task.negatives_from == "catalogue" else 0)
    return {
        item
        for day in range(first, last)
        for user, item in days.get((day, store), [])
        if day < period or user != but
    }


def lists_of(drawn: Drawn) -> dict[tuple, pd.DataFrame]:
    """Return each list's rows by user, period and perhaps store, which must name one list."""
    rows = drawn.exposures
    keys = ["user_id", "cutoff_day", *(["store_id"] if "store_id" in rows else [])]
    lists = {key: part for key, part in rows.groupby(keys)}
    assert rows.list_id.nunique() == len(lists)
    assert all(part.list_id.nunique() == 1 for part in lists.values())
    return lists


def check_against_loops(log: pd.DataFrame, drawn: Drawn, task: Task) -> None:
    """Assert what must hold of any draw, with sets made by loops."""
    by_store, days = "store_id" in task.match_on, by_day(log, task)
    wanted: dict[tuple, dict] = {}
    gone: dict[tuple, set] = {}
    alone = set()
    for e in log[log.event_type.isin(task.positive)].itertuples():
        period = int(period_start(np.array([e.day]), task)[0])
        gone.setdefault((e.user_id, period), set()).add(e.item_id)
        store = e.store_id if by_store else None
        key = (e.user_id, period, store) if by_store else (e.user_id, period)
        others = on_sale(days, period, task, store, but=e.user_id)
        if task.negatives_from == "catalogue" and e.item_id not in others:
            alone.add((*key, e.item_id))
            continue
        first = wanted.setdefault(key, {})
        first[e.item_id] = min(first.get(e.item_id, e.event_time), e.event_time)
    assert drawn.dropped["rows"].sum() == len(alone)
    lists = lists_of(drawn)
    assert lists.keys() == wanted.keys()
    n_open = n_drawn = 0
    for key, part in lists.items():
        taken, others = part[part.label == 1], part[part.label == 0]
        assert dict(zip(taken.item_id, taken.event_time, strict=True)) == wanted[key]
        open_ = on_sale(days, key[1], task, key[2] if by_store else None) - gone[key[:2]]
        assert set(others.item_id) <= open_
        assert part.item_id.is_unique
        assert len(others) == min(len(open_), len(taken) * task.negatives)
        beside = Counter(others.event_time)
        at = Counter(taken.event_time)
        assert all(beside[t] <= at[t] * task.negatives for t in beside)
        n_open, n_drawn = n_open + len(open_), n_drawn + len(others)
    if task.negatives_from == "catalogue" and n_drawn:
        assert drawn.logit_offset == pytest.approx(np.log(n_drawn / n_open))
    else:
        assert drawn.logit_offset == 0.0


ONE = st.tuples(
    st.sampled_from("uvwx"),
    st.sampled_from("abcdefghi"),
    st.integers(0, 24 * 80),
    st.sampled_from(["purchase", "purchase", "click"]),
    st.sampled_from(["s", "t"]),
)


@settings(max_examples=100)
@given(
    rows=st.lists(ONE, min_size=1, max_size=40),
    negatives=st.integers(1, 6),
    source=st.sampled_from(["catalogue", "popular"]),
    cutoff=st.sampled_from(["day", "week"]),
    stores=st.booleans(),
)
def test_any_draw_agrees_with_slow_loops(rows, negatives, source, cutoff, stores):
    task = successes_only(negatives=negatives, negatives_from=source, cutoff=cutoff)
    if stores:
        task = replace(task, match_on=("user_id", "item_id", "store_id"))
    log = log_of([*rows, ("u", "a", 0, "purchase", "s")])
    check_against_loops(log, drawn_from(log, task), task)


def big_log(seed: int = 0, *, n: int = 6000, users: int = 60, items: int = 80) -> pd.DataFrame:
    """Return a log in which nothing tells what a user takes: labels are random."""
    rng = np.random.default_rng(seed)
    log = log_of(
        list(
            zip(
                rng.integers(0, users, n).astype(str),
                (1000 + rng.integers(0, items, n)).astype(str),
                rng.integers(0, 24 * 70, n),
                rng.choice(["purchase", "click"], n),
                rng.choice(["s", "t", "z"], n),
                strict=True,
            )
        )
    )
    return log.assign(price=rng.integers(1, 500, n) / 4, quantity=1.0 + rng.integers(0, 3, n))


BIG = pytest.mark.parametrize("source", ["catalogue", "popular"])


@BIG
@pytest.mark.parametrize("cutoff", ["day", "week"])
@pytest.mark.parametrize("n", [800, 4000])
def test_a_larger_log_agrees_with_loops_too(source, cutoff, n):
    task = successes_only(negatives=4, negatives_from=source, cutoff=cutoff)
    log = big_log(n=n)
    check_against_loops(log, drawn_from(log, task), task)


@BIG
@pytest.mark.parametrize("stores", [False, True])
def test_a_users_draws_do_not_depend_on_which_other_users_are_drawn(source, stores):
    keys = ("user_id", "item_id", *(["store_id"] if stores else []))
    task = successes_only(negatives=7, negatives_from=source, match_on=keys, cutoff="week")
    log = big_log()
    totals = totals_of(log, task)
    everyone = draw_samples(log, totals, task, end=FAR).exposures
    some = log[log.user_id.isin(["3", "17", "40"])].reset_index(drop=True)
    alone = draw_samples(some, totals, task, end=FAR).exposures
    same = everyone[everyone.user_id.isin(some.user_id)].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, same)


@BIG
def test_the_order_of_rows_changes_no_draw(source):
    task = successes_only(negatives=7, negatives_from=source)
    log = big_log()
    shuffled = log.sample(frac=1, random_state=1, ignore_index=True)
    totals = totals_of(log, task).sample(frac=1, random_state=2, ignore_index=True)
    again = draw_samples(shuffled, totals, task, end=FAR).exposures
    pd.testing.assert_frame_equal(again, drawn_from(log, task).exposures)


@BIG
@pytest.mark.parametrize("cutoff", ["day", "week"])
def test_rows_outside_the_window_change_no_draw(source, cutoff):
    """A period's draws see its own rows and those of the 28 days before, and no others."""
    task = successes_only(negatives=5, negatives_from=source, cutoff=cutoff)
    log = big_log()
    period = int(period_start(np.array([log.day.min() + 35]), task)[0])
    length = 7 if cutoff == "week" else 1
    outside = (log.day < period - 28) | (log.day >= period + length)
    rng = np.random.default_rng(3)
    other = log.copy()
    for name in ("user_id", "item_id", "event_type"):
        other.loc[outside, name] = rng.permutation(other.loc[outside, name].to_numpy())
    later = log[log.day >= period + length].assign(item_id="a later product")
    other = pd.concat([other[~outside | (rng.random(len(other)) < 0.7)], later], ignore_index=True)
    before, after = (drawn_from(each, task).exposures for each in (log, other))
    before, after = (each[each.cutoff_day == period] for each in (before, after))
    assert len(before) > 50
    pd.testing.assert_frame_equal(before.reset_index(drop=True), after.reset_index(drop=True))


@BIG
def test_rows_within_the_window_do_change_draws(source):
    task = successes_only(negatives=5, negatives_from=source)
    log = big_log()
    day = int(log.day.min()) + 35
    early = log[log.day.between(day - 28, day)].assign(item_id="another product")
    other = pd.concat([log, early], ignore_index=True)
    before, after = (drawn_from(each, task).exposures for each in (log, other))
    before, after = (each[each.cutoff_day == day] for each in (before, after))
    assert before.item_id.tolist() != after.item_id.tolist()


def test_another_seed_draws_others_and_the_same_seed_the_same():
    task, log = successes_only(), big_log()
    first, again, other = (drawn_from(log, task, seed=seed).exposures for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    taken = [each[each.label == 1].reset_index(drop=True) for each in (first, other)]
    pd.testing.assert_frame_equal(*taken)
    pairs = [set(zip(e.list_id, e.item_id, strict=True)) for e in (first, other)]
    assert len(pairs[0] & pairs[1]) < 0.6 * len(pairs[0])


def test_digests_are_mixed_by_the_published_finaliser():
    """SplitMix64 in whole numbers of Python, which never overflow."""

    def splitmix(left: int, right: int) -> int:
        z = (left * 0x9E3779B97F4A7C15 + right) % 2**64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    left, right = np.random.default_rng(0).integers(0, 2**64, (2, 50), dtype=np.uint64)
    want = [splitmix(int(a), int(b)) for a, b in zip(left, right, strict=True)]
    assert mixed(left, right).tolist() == want


def test_draws_start_from_seed_nought_unless_another_is_asked_for():
    tables = tables_of(big_log().drop(columns="day"), task=successes_only())
    found, stated = make_samples(tables), make_samples(tables, seed=0)
    pd.testing.assert_frame_equal(found.table, stated.table)


def test_numbers_and_text_as_ids_give_the_same_draws():
    log = big_log()
    numbers = log.assign(user_id=log.user_id.astype("int64"), item_id=log.item_id.astype("int64"))
    drawn = [drawn_from(each, successes_only()).exposures for each in (log, numbers)]
    pairs = [set(zip(e.list_id, e.item_id.astype(str), strict=True)) for e in drawn]
    assert pairs[0] == pairs[1]


def crowd(weights: dict[str, int], *, users: int = 6000) -> pd.DataFrame:
    """Return a day on which each user takes a product of his own that no one else may draw.

    The others on sale have as many clicks as ``weights`` says.
    """
    rows = [("clicker", item, 49, "click") for item, n in weights.items() for _ in range(n)]
    return log_of(rows + [(f"u{i}", "own", 48, "purchase") for i in range(users)])


@pytest.mark.parametrize(
    ("source", "negatives"), [("catalogue", 1), ("popular", 1), ("catalogue", 3), ("popular", 3)]
)
def test_products_are_drawn_as_often_as_promised(source, negatives):
    """One of five comes from draws one by one, three of five from a full list."""
    weights = {"a": 1, "b": 2, "c": 3, "d": 5, "e": 9}
    task = successes_only(negatives=negatives, negatives_from=source)
    drawn = drawn_from(crowd(weights), task).exposures
    found = drawn[drawn.label == 0].item_id.value_counts(normalize=True) * negatives
    rate = dict.fromkeys(weights, 1) if source == "catalogue" else weights
    want = Counter()
    for order in permutations(weights, negatives):  # one after the other, without returning
        left, chance = sum(rate.values()), 1.0
        for item in order:
            chance, left = chance * rate[item] / left, left - rate[item]
        want.update(dict.fromkeys(order, chance))
    assert found.to_dict() == pytest.approx(want, abs=4 * np.sqrt(0.25 / 6000))


def test_draws_for_two_products_of_one_list_are_not_tied_to_each_other():
    rows = [("clicker", f"i{k}", 1, "click") for k in range(40)]
    for user in range(2000):
        rows += [(f"u{user}", "p", 48, "purchase"), (f"u{user}", "q", 49, "purchase")]
    drawn = drawn_from(log_of(rows), successes_only(negatives=1)).exposures
    others = drawn[drawn.label == 0].pivot(index="user_id", columns="event_time", values="item_id")
    place = others.apply(lambda c: c.str[1:].astype(int))
    assert abs(np.corrcoef(place.T)[0, 1]) < 0.1


@pytest.mark.parametrize("cutoff", ["day", "week"])
def test_labels_known_by_construction_are_those_of_the_general_rule(cutoff):
    task, log = successes_only(cutoff=cutoff), big_log()
    drawn = drawn_from(log, task).exposures
    general = succeeded(drawn, log, replace(task, within="period"))
    np.testing.assert_array_equal(drawn.label, general)
    assert set(drawn.label) == {0, 1}


def with_bystander(rows: list[tuple]) -> pd.DataFrame:
    """Return a log in which somebody else clicks on each product that is taken, at that hour."""
    return log_of([*rows, *(("bystander", r[1], r[2], "click", *r[4:]) for r in rows)])


def test_a_later_purchase_does_not_keep_a_product_from_being_drawn():
    """To look at it would be to look into the future."""
    rows = [("u", "a", 30, "purchase"), ("u", "b", 31 * 24, "purchase"), ("u", "b", 1, "click")]
    drawn = drawn_from(with_bystander(rows), successes_only(negatives=1)).exposures
    assert sorted(drawn[drawn.cutoff_day == drawn.cutoff_day.min()].item_id) == ["a", "b"]


@pytest.mark.parametrize(("hour", "drawn"), [(-1, []), (0, ["b"]), (28 * 24 + 23, ["b"])])
def test_a_product_is_on_sale_from_28_days_before_the_day_to_its_end(hour, drawn):
    log = with_bystander([("u", "a", 28 * 24, "purchase"), ("u", "b", hour, "click")])
    found = drawn_from(log, successes_only()).exposures
    assert found[found.label == 0].item_id.tolist() == drawn


@pytest.mark.parametrize(("hour", "drawn"), [(-1, []), (0, ["b"]), (23, ["b"]), (24, [])])
def test_popular_are_those_of_the_same_day(hour, drawn):
    log = with_bystander([("u", "a", 12, "purchase"), ("u", "b", hour, "click")])
    found = drawn_from(log, successes_only(negatives_from="popular")).exposures
    assert found[found.label == 0].item_id.tolist() == drawn


def test_a_product_first_seen_on_the_next_day_is_not_drawn():
    log = with_bystander([("u", "a", 28 * 24, "purchase"), ("u", "b", 29 * 24, "click")])
    assert len(drawn_from(log, successes_only()).exposures) == 1


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (("v", "a", 48, "click"), True),
        (("v", "a", 48 - 28 * 24, "click"), True),
        (("v", "a", 47 - 28 * 24, "click"), False),
        (("v", "a", 72, "click"), False),
        (("u", "a", 47, "click"), True),  # the user's own, on the day before
        (("u", "a", 49, "click"), False),  # the user's own, on the day itself
        (("u", "a", 49, "purchase"), False),
    ],
)
def test_a_success_that_alone_tells_of_its_product_is_left_out_and_counted(other, kept):
    log = log_of([("u", "a", 48, "purchase"), other])
    drawn = drawn_from(log, successes_only(train_from="2025-01-08", end="2025-01-09"), end=20097)
    assert len(drawn.exposures) == kept
    reasons = drawn.dropped.to_dict("records")
    assert kept == (not reasons)
    assert all(r["kind"] == "alone" and r["rows"] == 1 for r in reasons)
    assert all("no other event with its product" in r["reason"] for r in reasons)
    popular = successes_only(negatives_from="popular", train_from="2025-01-08")
    assert len(drawn_from(log, popular, end=20097).exposures) == 1


def test_days_begin_in_the_tasks_zone():
    """18:00 in UTC is 2 o'clock of the next day in Shanghai."""
    rows = [("u", "a", 18, "purchase"), ("u", "b", 20, "purchase"), ("u", "c", 12, "purchase")]
    rows += [("v", *row[1:3], "click") for row in rows]
    log = log_of(rows, zone="Asia/Shanghai")
    drawn = drawn_from(log, successes_only(time_zone="Asia/Shanghai", negatives=5)).exposures
    lists = drawn.groupby("cutoff_day").apply(lambda p: dict(zip(p.item_id, p.label, strict=True)))
    assert lists.tolist() == [{"c": 1}, {"a": 1, "b": 1, "c": 0}]


def test_with_stores_a_list_is_of_one_store_and_holds_its_products_only():
    task = successes_only(match_on=("user_id", "item_id", "store_id"), negatives=9)
    rows = [
        ("u", "a", 1, "purchase", "s"),
        ("u", "b", 2, "purchase", "t"),
        ("u", "c", 3, "purchase", None),  # nobody knows where
        ("v", "d", 0, "click", "s"),
        ("v", "e", 0, "click", "t"),
        ("v", "b", 0, "click", "s"),  # taken by u on this day, though in the other store
    ]
    rows += [("w", "a", 0, "click", "s"), ("w", "b", 0, "click", "t")]
    drawn = drawn_from(log_of(rows), task)
    assert {
        key[2]: dict(zip(p.item_id, p.label, strict=True)) for key, p in lists_of(drawn).items()
    } == {
        "s": {"a": 1, "d": 0},
        "t": {"b": 1, "e": 0},
    }
    assert drawn.dropped.to_dict("records") == [
        {"table": "user_behavior", "kind": "no store", "column": "store_id"}
        | {"reason": "success: store_id is empty", "rows": 1}
    ]


def test_exposures_carry_nothing_of_their_success_but_its_time():
    log = big_log().assign(query="socks", position=1, scene="front")
    names = ["user_id", "item_id", "event_time", "list_id", "cutoff_day", "label"]
    assert sorted(drawn_from(log, successes_only()).exposures) == sorted(names)
    task = successes_only(match_on=("user_id", "item_id", "store_id"))
    assert sorted(drawn_from(log, task).exposures) == sorted([*names, "store_id"])


@cache
def random_tables(stores: bool = False):
    """Return tables of which nothing tells the label; prices and contexts stand at successes."""
    rng = np.random.default_rng(1)
    log = big_log(n=30_000, users=300, items=60).drop(columns="day")
    log["scene"] = np.where(log.event_type == "purchase", "till", "shelf")
    log["query"] = np.where(log.event_type == "purchase", "buy", None)
    items = np.sort(log.item_id.unique())
    products = pd.DataFrame({"item_id": items, "category": rng.choice(["x", "y"], len(items))})
    task = Task(positive=("purchase",), history=("click", "purchase"), negatives=3)
    if stores:
        task = replace(task, match_on=("user_id", "item_id", "store_id"))
    return tables_of(log, products=products, task=task)


@pytest.mark.parametrize("stores", [False, True])
def test_no_raw_feature_tells_positives_from_negatives_where_labels_are_random(stores):
    table, raw = raw_view(random_tables(stores))
    rows = table.label.to_numpy()
    assert rows.sum() > 4000
    raw = raw[[c for c in raw if not c.startswith("recent")]]
    assert "item_price" in raw
    assert not [c for c in raw if c.startswith(("context", "query", "position"))]
    found = {}
    for name in raw:
        values = raw[name]
        if not pd.api.types.is_numeric_dtype(values):
            values = pd.Series(rows).groupby(values.to_numpy()).transform("mean")
            spread = values.max() - values.min()
            assert spread < 0.06, name
            continue
        found[name] = roc_auc_score(rows, values.fillna(-1.0))
        found[f"{name} missing"] = roc_auc_score(rows, values.isna())
    told = {name: auc for name, auc in found.items() if abs(auc - 0.5) > 0.025}
    assert told == {}


def test_the_price_of_a_sample_is_what_was_paid_before_its_day():
    tables = random_tables()
    made_samples = make_samples(tables)
    log = tables.user_behavior
    for i in np.random.default_rng(0).choice(len(made_samples), 20, replace=False):
        row = made_samples.table.iloc[i]
        before = log[
            (log.event_time < row.cutoff.tz_localize("UTC")) & (log.item_id == row.item_id)
        ]
        want = before.price.mean()
        assert made_samples.features.item_price[i] == pytest.approx(want, rel=1e-6)


def taken_in_sample(**changes: object):
    """Return the bundled log as one of successes only."""
    tables = opened("sample")
    behavior = tables.user_behavior[tables.user_behavior.event_type != "impression"]
    task = replace(tables.task, match_on=("user_id", "item_id"), negatives=4, **changes)
    return replace(tables, user_behavior=behavior.reset_index(drop=True), task=task)


@BIG
def test_samples_of_the_bundled_log_have_all_roles_and_say_how_they_were_drawn(source):
    samples = make_samples(taken_in_sample(negatives_from=source))
    assert samples.summary().positive_share.between(0.19, 0.21).all()
    assert samples.truth is None
    text = " ".join(samples.notes)
    assert "The log holds successes only" in text
    assert "Nobody recorded what the user was shown" in text
    if source == "catalogue":
        assert f"add {samples.logit_offset:.2f} to a logit" in text
        assert samples.logit_offset < -1
    else:
        assert "no correction" in text
        assert samples.logit_offset == 0.0


def test_of_the_samples_that_cross_a_border_only_the_rows_of_the_log_are_counted_as_lost():
    """The end is a Wednesday, so the window of that week's samples goes beyond it."""
    mondays = {"attribution_from": "2025-04-28", "valid_from": "2025-05-05"}
    stated = {**mondays, "test_from": "2025-05-12", "end": "2025-05-21"}
    samples = make_samples(taken_in_sample(cutoff="week", **stated))
    stated["end"] = "2025-05-26"
    longer = make_samples(taken_in_sample(cutoff="week", **stated)).table
    last = longer[longer.cutoff == pd.Timestamp("2025-05-19")]
    lost = samples.dropped.set_index("reason").rows
    assert lost["success: label window crosses a role"] == last.label.sum() < len(last)


def test_the_correction_gives_back_the_share_of_all_products_on_sale():
    """A constant model of the sample, corrected, is right about all that was on sale."""
    task, log = successes_only(negatives=3), big_log()
    drawn = drawn_from(log, task)
    share = drawn.exposures.label.mean()
    logit = np.log(share / (1 - share)) + drawn.logit_offset
    positives = everything = 0
    days = by_day(log, task)
    bought = log[log.event_type == "purchase"].groupby(["user_id", "day"]).item_id.agg(set)
    for key, part in lists_of(drawn).items():
        positives += part.label.sum()
        everything += part.label.sum() + len(on_sale(days, key[1], task, None) - bought[key])
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(positives / everything)


def test_nor_do_counts_tell_them_apart_in_a_log_of_rare_products():
    """Where most products have no event in a month, what makes one a candidate could show."""
    rng = np.random.default_rng(0)
    n, items = 30_000, 10_000
    log = big_log(n=n, users=300, items=items)
    log = log.assign(event_type="purchase", event_time=log.event_time + pd.to_timedelta(1, "s"))
    log["item_id"] = rng.integers(0, items, n).astype(str)
    for source in ("catalogue", "popular"):
        wanted = Task(("purchase",), history=("purchase",), negatives=4, negatives_from=source)
        table, raw = raw_view(tables_of(log.drop(columns="day"), task=wanted))
        for name in ("item_events", "item_events_28d", "item_events_7d", "item_price"):
            auc = roc_auc_score(table.label, raw[name].fillna(-1.0))
            assert abs(auc - 0.5) < 0.02, (source, name, auc)


def quarter(days: int, **changes: object) -> tuple[int, pd.DataFrame]:
    """Return which day gives the first samples of a log with one success a day, and the draw."""
    log = with_bystander([(f"u{d % 5}", f"i{d % 3}", 24 * d, "purchase") for d in range(days)])
    drawn = drawn_from(log, successes_only(**{"train_from": None, **changes}))
    return int(drawn.exposures.cutoff_day.min() - log.day.min()), drawn


def test_without_dates_the_first_quarter_gives_history_only():
    first, drawn = quarter(40)
    assert first == 10
    assert any("10 successes before 2025-01-16 give history only" in n for n in drawn.notes)


@pytest.mark.parametrize(("days", "first"), [(8, 0), (9, 1), (11, 2), (12, 3)])
def test_a_short_log_keeps_the_periods_that_four_roles_need(days, first):
    assert quarter(days)[0] == first


def test_with_dates_of_the_other_roles_a_quarter_of_the_days_before_them_is_history():
    dates = {
        "attribution_from": "2025-01-26",
        "valid_from": "2025-02-01",
        "test_from": "2025-02-08",
    }
    assert quarter(40, **dates)[0] == 5


def test_what_is_before_train_from_or_from_the_end_on_gives_no_samples():
    log = with_bystander([("u", "a", 24 * d, "purchase") for d in range(40)])
    task = successes_only(train_from="2025-01-20")
    days = drawn_from(log, task, end=int(log.day.min()) + 30).exposures.cutoff_day - log.day.min()
    assert (days.min(), days.max()) == (14, 29)


def test_lists_without_enough_others_are_noted():
    rows = [("u", "a", 0, "purchase"), ("v", "b", 0, "purchase"), ("v", "c", 0, "purchase")]
    drawn = drawn_from(with_bystander(rows), successes_only(negatives=2))
    # u can get b and c; v's two products want four others and there is a alone.
    assert any(note.startswith("1 of 2 lists had fewer other products") for note in drawn.notes)
    assert len(drawn.exposures) == 3 + 2 + 1


def test_only_lists_that_are_short_are_counted_as_short():
    rows = [("u", "a", 0, "purchase"), ("w", "d", 0, "purchase")]
    rows += [("v", item, 0, "purchase") for item in "bc"]
    drawn = drawn_from(with_bystander(rows), successes_only(negatives=2))
    # u and w want two of the three products of others and get them; v wants four of two.
    assert any(note.startswith("1 of 3 lists had fewer other products") for note in drawn.notes)


@pytest.mark.parametrize(
    ("source", "how", "not_so"),
    [
        ("catalogue", "drawn, 4 in all, evenly", "in proportion"),
        ("popular", "in proportion", "evenly"),
    ],
)
def test_the_notes_tell_how_products_were_drawn(source, how, not_so):
    rows = [("u", "a", 0, "purchase"), ("w", "d", 0, "purchase"), ("v", "e", 0, "purchase")]
    drawn = drawn_from(with_bystander(rows), successes_only(negatives=2, negatives_from=source))
    first = drawn.notes[0]
    assert how.replace("drawn, 4", f"drawn, {(drawn.exposures.label == 0).sum()}") in first
    assert not_so not in first


def test_a_popular_product_is_picked_by_as_many_chances_as_it_has_events():
    events = np.array([3, 1, 2, 5, 1])
    # Store 0 has the products 0, 1 and 3; store 1 has 0 and 2.
    shelf = Shelf(np.array([0, 1, 3, 4, 6]), events, 4, np.array([0, 1]))
    for store, products, counts in ((0, [0, 1, 3], [3, 1, 2]), (1, [0, 2], [5, 1])):
        chance = np.arange(6) / 6  # each event's own, from its very beginning
        lists = np.full(6, store)
        found = shelf.pick(lists, chance, popular=True)
        assert found.tolist() == np.repeat(products, counts).tolist()
        evenly = shelf.pick(lists, chance, popular=False)
        assert evenly.tolist() == np.repeat(products, 6 // len(products)).tolist()


def test_a_log_in_which_nobody_could_take_anything_else_has_positives_only():
    drawn = drawn_from(with_bystander([("u", "a", 0, "purchase")]), successes_only())
    assert drawn.exposures.label.tolist() == [1]
    assert drawn.logit_offset == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": ("click",)}, r"task.history must hold purchase.*Add it to task.history"),
        (
            {"match_on": ("user_id", "list_id")},
            r"must be user_id and item_id.*got user_id, list_id",
        ),
        ({"match_on": ("user_id", "item_id", "query")}, r"may hold store_id; got"),
        ({"positive": ("cart",)}, r"there is no event of type cart.*state task.label.positive"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        drawn_from(big_log(), successes_only(**changes))


def test_a_store_to_match_on_that_the_log_lacks_is_refused():
    log = big_log().drop(columns="store_id")
    with pytest.raises(DataError, match=r'"store_id", which the log does not have; map it'):
        drawn_from(log, successes_only(match_on=("user_id", "item_id", "store_id")))


def test_stated_windows_do_not_matter_where_the_label_is_a_periods():
    tables = taken_in_sample()
    long, short = (
        make_samples(replace(tables, task=replace(tables.task, within=w))) for w in ("30D", "0s")
    )
    pd.testing.assert_frame_equal(long.table, short.table)
