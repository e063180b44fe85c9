"""No raw feature of a sample sees the sample's cutoff or anything after it.

The property, as the design words it: changing, deleting or adding any row on or
after the cutoff changes no raw feature of the sample. It is tried on the
bundled log and on forty households of journey, with rows in the cutoff's own day
and week and at its very midnight; and each planted leak must be found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from tables import made, of_users, opened, raw_view

from helpers.data.sources import Tables
from helpers.samples import features, negatives, samples
from helpers.samples.history import History, daily_totals

#: ``taken`` is the bundled log as one of successes only, ``drawn`` holds some of its users.
LOGS = ("sample", "journey")
ALL_LOGS = (*LOGS, "taken", "drawn")
KEY = ["user_id", "item_id", "event_time", "list_id"]


@cache
def log(source: str) -> Tables:
    """Return a log small enough to make its samples often: all rows of some users."""
    tables = opened("journey" if source == "journey" else "sample")
    rng = np.random.default_rng(3)
    everyone = tables.user_behavior.user_id.drop_duplicates().sort_values()
    users = rng.choice(everyone, 40 if source == "journey" else 120, replace=False)
    behavior = of_users(tables, users)
    if "event_id" not in behavior:
        behavior["event_id"] = np.arange(len(behavior)).astype(str)
    task = tables.task
    if source == "taken":
        behavior = behavior[behavior.event_type != "impression"].reset_index(drop=True)
        task = replace(task, negatives=3, match_on=("user_id", "item_id"))
    return replace(tables, name=source, user_behavior=behavior, truth=None, totals=None, task=task)


def seen(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the samples that a log gives, and their raw features.

    Of the log ``drawn`` every third user is drawn, beside the totals of all. What the log
    ``taken`` draws beside its successes is that of the unchanged log: only the features of
    the same samples can be compared.
    """
    if tables.name == "drawn":
        log = tables.user_behavior
        log = log[log.event_type.isin(tables.task.history)]
        day = features.local_days(log.event_time, tables.task.time_zone)
        users = drawn_users()
        tables = replace(
            tables,
            user_behavior=of_users(tables, users),
            totals=daily_totals(log.assign(day=day)),
        )
    if tables.name != "taken":
        return raw_view(tables)
    with patch.object(samples, "draw_samples", lambda *_, **__: as_drawn()):
        return raw_view(tables)


@cache
def drawn_users() -> list[str]:
    return sorted(log("drawn").user_behavior.user_id.unique())[::3]


@cache
def as_drawn() -> negatives.Drawn:
    """Return the samples of the unchanged log of successes."""
    tables = log("taken")
    behavior, task = tables.user_behavior, tables.task
    day = features.local_days(behavior.event_time, task.time_zone)
    behavior = behavior.assign(day=day)[behavior.event_type.isin(task.history)]
    return negatives.draw_samples(behavior, daily_totals(behavior), task, end=10**6)


def midnight(tables: Tables, cutoff: pd.Timestamp) -> pd.Timestamp:
    """Return the moment at which a cutoff's day begins."""
    return cutoff.tz_localize(tables.task.time_zone).tz_convert("UTC")


def picked(tables: Tables, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.Timestamp]:
    """Return the exposures of one cutoff, and the moment from which nothing may be seen."""
    table, _ = view_of(tables)
    cutoffs = np.sort(table.cutoff.unique())
    cutoff = pd.Timestamp(rng.choice(cutoffs[len(cutoffs) // 4 :]))
    return table[table.cutoff == cutoff], midnight(tables, cutoff)


_views: dict[int, tuple[pd.DataFrame, pd.DataFrame]] = {}


def view_of(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the view of an unchanged log, made once."""
    if id(tables) not in _views:
        _views[id(tables)] = seen(tables)
    return _views[id(tables)]


def later_times(rng: np.random.Generator, start: pd.Timestamp, n: int) -> pd.Series:
    """Return moments from the cutoff on: its midnight, its own week, and weeks after it."""
    seconds = rng.choice([0, 1, 60], n) + rng.choice([0, 86_400, 7 * 86_400, 60 * 86_400], n) * (
        rng.random(n)
    ).round(3)
    seconds[rng.random(n) < 0.2] = 0
    return (start + pd.to_timedelta(pd.Series(seconds), unit="s")).dt.as_unit("us")


def perturbed(tables: Tables, start: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    """Return the events with rows from ``start`` on deleted, changed and added.

    The exposures of the period that begins at ``start`` stay, as they are compared.
    """
    old = tables.user_behavior
    days = 7 if tables.task.cutoff == "week" else 1
    own = (old.event_type == "impression") & (old.event_time < start + pd.Timedelta(days=days))
    free = np.flatnonzero((old.event_time >= start) & ~own)
    kept = old.drop(index=rng.choice(free, int(len(free) * rng.choice([0.2, 1.0])), replace=False))
    kept = kept.copy()
    rows = kept.index.intersection(free)[::2]
    for name in ("user_id", "item_id", "event_type", "price", "quantity", "store_id", "query"):
        if name in kept and len(rows):
            kept.loc[rows, name] = rng.permutation(kept.loc[rows, name].to_numpy())
    kept.loc[rows, "price"] = kept.loc[rows, "price"] * rng.integers(2, 1000, len(rows))
    kept.loc[rows, "event_time"] = later_times(rng, start, len(rows)).to_numpy()
    return pd.concat([kept, _added(tables, start, rng)], ignore_index=True)


def _added(tables: Tables, start: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    """Return new rows from ``start`` on: copies of events by other users, and unheard-of items."""
    actions = tables.user_behavior[tables.user_behavior.event_type.isin(tables.task.history)]
    added = actions.sample(300, random_state=rng, ignore_index=True)
    added["event_id"] = [f"new {i}" for i in range(len(added))]
    added["event_time"] = later_times(rng, start, len(added))
    added["user_id"] = rng.permutation(added.user_id.to_numpy())
    added["price"] = rng.integers(1, 10_000, len(added)) / 7
    if pd.api.types.is_integer_dtype(added.item_id):
        added.loc[::9, "item_id"] = 1
    else:
        added.loc[::9, "item_id"] = "a new item"
    return added


def leaks(tables: Tables, wanted: pd.DataFrame, behavior: pd.DataFrame) -> list[str]:
    """Return the raw features of the wanted exposures that change with the log."""
    before, after = view_of(tables), seen(replace(tables, user_behavior=behavior))
    left, right = (
        raw.set_index(pd.MultiIndex.from_frame(table[KEY])) for table, raw in (before, after)
    )
    names = [c for c in left if c in right]
    left, right = left[names], right[names]
    key = pd.MultiIndex.from_frame(wanted[KEY]).unique()
    left, right = left.loc[key], right.loc[key]
    assert len(left) == len(right) >= len(wanted) > 0
    return [c for c in names if not _equal(left[c].to_numpy(), right[c].to_numpy())]


def _equal(left: np.ndarray, right: np.ndarray) -> bool:
    return bool(((left == right) | (pd.isna(left) & pd.isna(right))).all())


def found_leaks(source: str, *, tries: int, seed: int) -> list[str]:
    """Return the raw features that some change on or after a cutoff changed."""
    tables, rng = log(source), np.random.default_rng(seed)
    found: set[str] = set()
    for _ in range(tries):
        wanted, start = picked(tables, rng)
        found |= set(leaks(tables, wanted, perturbed(tables, start, rng)))
    return sorted(found)


@pytest.mark.parametrize("source", ALL_LOGS)
def test_no_row_on_or_after_the_cutoff_changes_a_raw_feature(source):
    assert found_leaks(source, tries=6, seed=0) == []


@pytest.mark.slow
@pytest.mark.parametrize("source", ALL_LOGS)
def test_no_row_on_or_after_the_cutoff_changes_a_raw_feature_in_many_tries(source):
    assert found_leaks(source, tries=60, seed=1) == []


@pytest.mark.parametrize("source", ALL_LOGS)
def test_rows_just_before_the_cutoff_do_change_features(source):
    """The property would hold of features that see nothing at all."""
    tables, rng = log(source), np.random.default_rng(2)
    wanted, start = picked(tables, rng)
    rows = tables.user_behavior[tables.user_behavior.event_type.isin(tables.task.history)]
    row = rows.sample(len(wanted), random_state=rng, ignore_index=True).assign(
        user_id=wanted.user_id.to_numpy(),
        item_id=wanted.item_id.to_numpy(),
        event_time=start - pd.Timedelta("1us"),
        event_id=[f"new {i}" for i in range(len(wanted))],
        price=123.0,
    )
    if "store_id" in wanted:
        row["store_id"] = wanted.store_id.to_numpy()
    changed = leaks(tables, wanted, pd.concat([tables.user_behavior, row], ignore_index=True))
    assert {
        "user_recency_days",
        "user_events",
        "user_item_events",
        "user_spend_28d",
        "user_subcategory_share",
        "item_events_7d",
        "recent_0",
    } <= set(changed)


def _shifted(days: int) -> Callable:
    """Return a slicing that sees so many days from the cutoff on."""
    honest = History._slice
    return lambda self, keys, cutoff, window: honest(self, keys, cutoff + days, window)


def _sees_its_own_period(builder: str) -> Callable:
    """Return a builder of features that asks for the moment a week after the cutoff."""
    honest = getattr(features, builder)

    def dishonest(codes: features._Codes, *rest: object) -> object:
        codes.__dict__.pop("user_events", None)
        codes.cutoff, cutoff = codes.cutoff + 7, codes.cutoff
        try:
            return honest(codes, *rest)
        finally:
            codes.cutoff = cutoff
            codes.__dict__.pop("user_events", None)

    return dishonest


@pytest.mark.parametrize("source", ALL_LOGS)
@pytest.mark.parametrize("days", [1, 7])
def test_a_history_that_sees_one_day_or_week_too_many_is_found(source, days, monkeypatch):
    tables = log(source)
    view_of(tables)  # of the honest code
    monkeypatch.setattr(History, "_slice", _shifted(days))
    # Both sides must be made by the dishonest code.
    monkeypatch.setitem(_views, id(tables), seen(tables))
    assert "user_events" in found_leaks(source, tries=2, seed=0)


@pytest.mark.parametrize("source", LOGS)
@pytest.mark.parametrize(
    ("builder", "column"),
    [
        ("_user_profile", "user_recency_days"),
        ("_affinities", "user_subcategory_events"),
        ("_product", "item_events_28d"),
        ("_recent_items", "recent_0"),
    ],
)
def test_one_feature_that_sees_the_cutoffs_own_week_is_found(source, builder, column, monkeypatch):
    tables = log(source)
    view_of(tables)
    monkeypatch.setattr(features, builder, _sees_its_own_period(builder))
    monkeypatch.setitem(_views, id(tables), seen(tables))
    assert column in found_leaks(source, tries=2, seed=0)


@pytest.mark.parametrize("builder", ["_store", "_query"])
def test_a_store_or_query_feature_that_sees_the_cutoffs_own_week_is_found(builder, monkeypatch):
    source = "journey" if builder == "_store" else "sample"
    tables = log(source)
    view_of(tables)
    monkeypatch.setattr(features, builder, _sees_its_own_period(builder))
    monkeypatch.setitem(_views, id(tables), seen(tables))
    assert any(c.startswith(builder.strip("_")) for c in found_leaks(source, tries=3, seed=0))


def test_valid_and_test_rows_change_neither_the_train_matrix_nor_the_vocabularies():
    tables = opened("sample")
    honest = made("sample")
    start = pd.Timestamp(tables.task.valid_from, tz=tables.task.time_zone)
    behavior = tables.user_behavior.copy()
    late = np.flatnonzero(behavior.event_time >= start)
    rng = np.random.default_rng(0)
    rows = rng.choice(late, len(late) // 2, replace=False)
    behavior.loc[rows, "item_id"] = rng.choice(["a new item", "p0001"], len(rows))
    behavior.loc[rows, "scene"] = "a new scene"
    behavior.loc[rows, "price"] = 1e6
    changed = samples.make_samples(replace(tables, user_behavior=behavior))
    assert changed.feature_names == honest.feature_names
    assert changed.sizes == honest.sizes
    train = honest.rows("train")
    np.testing.assert_array_equal(changed.rows("train"), train)
    for name, values in honest.inputs(train).items():
        np.testing.assert_array_equal(changed.inputs(train)[name], values, err_msg=name)
    test = honest.rows("test")
    assert (changed.dense[test] != honest.dense[test]).any()


def test_an_encoder_fitted_on_all_rows_would_be_found():
    """The check above is able to fail."""
    raw = made("sample").features
    train = made("sample").rows("train")
    everywhere = samples.Encoder.fit(raw)
    on_train = samples.Encoder.fit(raw.iloc[train])
    assert (everywhere.scaler.mean_ != on_train.scaler.mean_).any()
