"""Users are drawn, never rows, and what is known of a product comes from all users."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.data import user_draw
from helpers.data.staging import Staged, open_staged
from helpers.data.user_draw import draw_users, frames_of, totals_of_all_users
from helpers.schema import Task

TASK = Task(positive=("purchase",), history=("click", "purchase"))


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    """Return a log of thirty users: user k has 2 k + 1 impressions, and k purchases."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(30):
        kinds = ["impression"] * (2 * user + 1) + ["purchase"] * user
        rows += [(f"u{user}", f"i{rng.integers(5)}", kind, rng.integers(20)) for kind in kinds]
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "event_type", "day"])
    log["price"] = np.where(rng.random(len(log)) < 0.2, np.nan, rng.random(len(log)) * 100)
    log["store_id"] = rng.choice(["s", "t"], len(log))
    log["event_time"] = pd.to_datetime(log.day, unit="D", utc=True).dt.as_unit("us")
    log.to_parquet(tmp_path / "user_behavior.parquet")
    users = pd.DataFrame({"user_id": [f"u{k}" for k in range(30)], "age": "x"})
    users.to_parquet(tmp_path / "users.parquet")
    pd.DataFrame({"item_id": list("ab")}).to_parquet(tmp_path / "product_features.parquet")
    facts = {"fingerprint": "", "labelled": False, "tables": {}, "dropped": [], "notes": []}
    (tmp_path / "staged.json").write_text(json.dumps(facts))
    return open_staged(tmp_path)


def drawn(staged: Staged, task: Task = TASK, **options: object) -> tuple[str, set[str]]:
    with staged.database() as connection:
        note = draw_users(connection, task, **options)
        users = {row[0] for row in connection.execute("FROM drawn").fetchall()}
    return note, users


def test_all_users_are_taken_where_the_log_is_small(staged):
    for wanted in (None, 0, 30, 1000):
        note, users = drawn(staged, max_users=wanted)
        assert (note, len(users)) == ("", 30)


def test_a_larger_number_keeps_the_users_of_a_smaller_one(staged):
    draws = [drawn(staged, max_users=n)[1] for n in (2, 7, 20)]
    assert [len(users) for users in draws] == [2, 7, 20]
    assert draws[0] < draws[1] < draws[2]


def test_the_draw_follows_nothing_that_users_did(staged, tmp_path):
    """Other events, other rows, another order: the same users."""
    note, users = drawn(staged, max_users=9)
    log = pd.read_parquet(staged.folder / "user_behavior.parquet")
    log = log.sample(frac=1, random_state=1).drop_duplicates(["user_id", "event_type"])
    log.to_parquet(staged.folder / "user_behavior.parquet")
    assert drawn(staged, max_users=9) == (note, users)


def test_without_a_number_users_are_taken_until_the_samples_are_enough(staged, monkeypatch):
    monkeypatch.setattr(user_draw, "SAMPLES", 300)
    note, users = drawn(staged, max_users=None)
    samples = sum(2 * int(user[1:]) + 1 for user in users)
    assert 300 - 59 < samples <= 300  # the next user would have been one too many
    assert note.startswith(f"Drawn: {len(users)} of 30 users, with all of their events")


def test_only_the_stated_period_and_kind_of_event_count_as_samples(staged, monkeypatch):
    monkeypatch.setattr(user_draw, "SAMPLES", 300)
    late = Task(positive=("purchase",), train_from="1970-01-19", end="1970-01-20")
    assert drawn(staged, late, max_users=None)[0] == ""
    sampled = Task(positive=("purchase",), negatives=4)
    log = pd.read_parquet(staged.folder / "user_behavior.parquet")
    bought = log[log.event_type == "purchase"].drop_duplicates(["user_id", "item_id", "day"])
    expected = 5 * bought.groupby("user_id").size()
    _, users = drawn(staged, sampled, max_users=None)
    assert expected[list(users)].sum() <= 300 < expected.sum()


def test_a_week_begins_on_monday_when_samples_are_counted(staged, monkeypatch):
    """Day 4 of 1970 is a Monday: days 3 and 4 are two periods, 4 and 10 are one."""
    rows = {"user_id": list("aabb"), "item_id": "i", "event_type": "purchase"}
    log = pd.DataFrame({**rows, "day": [3, 4, 4, 10]})
    log.to_parquet(staged.folder / "user_behavior.parquet")
    with staged.database() as connection:
        draw_users(
            connection, Task(positive=("purchase",), negatives=1, cutoff="week"), max_users=0
        )
        counts = dict(connection.execute("SELECT user_id, samples FROM counted").fetchall())
    assert counts == {"a": 4, "b": 2}


def test_drawn_users_come_with_all_of_their_rows_and_others_with_none(staged):
    log = pd.read_parquet(staged.folder / "user_behavior.parquet")
    with staged.database() as connection:
        note = draw_users(connection, TASK, max_users=5)
        frames = frames_of(staged, connection, everyone=not note)
        chosen = {row[0] for row in connection.execute("FROM drawn").fetchall()}
    got = frames["user_behavior"]
    assert set(got.user_id) == chosen == set(frames["users"].user_id)
    assert len(got) == log.user_id.isin(chosen).sum()
    assert "day" not in got
    assert len(frames["product_features"]) == 2


def test_a_table_that_is_not_there_is_empty(staged):
    (staged.folder / "users.parquet").unlink()
    with staged.database() as connection:
        draw_users(connection, TASK, max_users=0)
        users = frames_of(staged, connection, everyone=True)["users"]
    assert users.columns.tolist() == ["user_id"]
    assert users.empty


def test_totals_are_those_of_all_users_whoever_is_drawn(staged):
    log = pd.read_parquet(staged.folder / "user_behavior.parquet")
    with staged.database() as connection:
        draw_users(connection, TASK, max_users=3)
        totals = totals_of_all_users(connection, TASK, columns=staged.columns("user_behavior"))
    log = log[log.event_type.isin(["click", "purchase"])]
    log["price"] = np.rint(log.price * 2**24) / 2**24
    want = log.groupby(["item_id", "store_id", "day"]).agg(
        events=("user_id", "size"), price=("price", "sum"), priced=("price", "count")
    )
    pd.testing.assert_frame_equal(
        totals.set_index(["item_id", "store_id", "day"]), want, check_exact=True
    )


def test_a_log_without_prices_and_stores_has_totals_too(staged):
    log = pd.read_parquet(staged.folder / "user_behavior.parquet")
    log.drop(columns=["price", "store_id"]).to_parquet(staged.folder / "user_behavior.parquet")
    with staged.database() as connection:
        totals = totals_of_all_users(connection, TASK, columns=staged.columns("user_behavior"))
    assert totals.columns.tolist() == ["item_id", "day", "events", "price", "priced"]
    assert totals.events.sum() == (log.event_type == "purchase").sum()
    assert (totals[["price", "priced"]] == 0).all(axis=None)
