"""Small logs that tests fill by hand, and the real tables, read once for all tests."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from unittest.mock import patch

import numpy as np
import pandas as pd

from helpers.data import sources
from helpers.data.cleaning import clean_rows
from helpers.data.sources import Tables
from helpers.samples import Samples, features, samples
from helpers.schema import Task, canonical_tables

#: Dates that give every role some of the background's twenty days from 2025-01-01.
DATES = {
    "attribution_from": "2025-01-09",
    "valid_from": "2025-01-12",
    "test_from": "2025-01-15",
    "end": "2025-01-20",
}
COLUMNS = ("user_id", "item_id", "event_time", "event_type", "list_id", "store_id")


def events(rows: Iterable[tuple]) -> pd.DataFrame:
    """Return events from tuples in the order of ``COLUMNS``; the last two may be left out."""
    full = [(*row, *[None] * (len(COLUMNS) - len(row))) for row in rows]
    return pd.DataFrame(full, columns=[*COLUMNS])


def background(*, first: str = "2025-01-01", days: int = 20, zone: str = "UTC") -> pd.DataFrame:
    """Return a log in which each role has both labels: two users see a and b, and click on a."""
    rows = []
    for day in pd.date_range(first, periods=days, tz=zone):
        for user in ("background 1", "background 2"):
            where = (f"{user} {day:%Y-%m-%d}", "s")
            seen, clicked = day + pd.Timedelta("10h"), day + pd.Timedelta("10h5min")
            rows += [(user, item, seen.isoformat(), "impression", *where) for item in "ab"]
            rows.append((user, "a", clicked.isoformat(), "click", *where))
    return events(rows)


def tables_of(
    behavior: pd.DataFrame,
    *,
    products: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    task: Task | None = None,
) -> Tables:
    """Return checked tables; by default products without attributes, and no users."""
    if products is None:
        products = pd.DataFrame({"item_id": behavior.item_id.unique()})
    task = task or Task(**DATES)
    given = {"user_behavior": behavior, "product_features": products, "users": users}
    clean = {}
    for name, frame in given.items():
        if frame is None:
            clean[name] = pd.DataFrame({"user_id": pd.Series([], dtype="str")})
            continue
        table = canonical_tables()[name]
        clean[name], _ = clean_rows(table, frame, where=name, time_zone=task.time_zone)
    return Tables(name="test", **clean, task=task, fingerprint="test")


@cache
def opened(source: str) -> Tables:
    """Return the tables of a source, read once for all tests; do not change them."""
    return sources.open_source(source)


@cache
def made(source: str) -> samples.Samples:
    """Return the samples of a source, made once for all tests, past any cache."""
    return samples.make_samples(opened(source))


def of_users(tables: Tables, users: Iterable) -> pd.DataFrame:
    """Return all events of these users."""
    behavior = tables.user_behavior
    return behavior[behavior.user_id.isin(list(users))].reset_index(drop=True)


def raw_view(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return every exposure, and its raw features with the ids of its user's last items.

    All exposures are taken, whatever their role: a role does not change a raw feature.
    """
    seen = {}

    def spy(inputs: features.Inputs) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        raw, recent, items = features.raw_features(inputs)
        ids = np.append(items.astype(object), None)[recent]  # -1, no item, is the last place
        names = [f"recent_{i}" for i in range(recent.shape[1])]
        seen["raw"] = pd.concat([raw, pd.DataFrame(ids, columns=names)], axis=1)
        return raw, recent, items

    def all_train(exposures: pd.DataFrame, *_: object) -> tuple[np.ndarray, pd.DataFrame]:
        return np.full(len(exposures), "train", dtype=object), pd.DataFrame()

    with (
        patch.object(samples, "raw_features", spy),
        patch.object(samples, "_roles", all_train),
        patch.object(samples, "_refuse_unusable", lambda exposures: None),
    ):
        table = samples.make_samples(tables).table
    return table, seen["raw"]


def assert_equal_samples(left: Samples, right: Samples) -> None:
    """Assert that all a model or a reader gets is equal."""
    pd.testing.assert_frame_equal(left.table, right.table)
    pd.testing.assert_frame_equal(left.features, right.features)
    np.testing.assert_array_equal(left.dense, right.dense)
    assert left.feature_names == right.feature_names
    assert left.sizes == right.sizes
    for name, numbers in left.numbers.items():
        np.testing.assert_array_equal(numbers, right.numbers[name])
