"""Ends and draws of the samples that hold without being looked at often."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_samples import small_samples
from test_negatives import drawn_from, log_of, successes_only

from helpers.samples.features import _text
from helpers.samples.history import History
from helpers.samples.samples import _counted, _load, _save


def shop() -> pd.DataFrame:
    """Return a log of one day in which two users take 4 and 6 of the 24 products on sale."""
    rows = [("other", f"p{item:02d}", 0, "purchase") for item in range(24)]
    rows += [("few", f"p{item:02d}", 5, "purchase") for item in range(4)]
    rows += [("many", f"p{item:02d}", 5, "purchase") for item in range(7, 13)]
    return log_of(rows)


# ---------------------------------------------------------------- draws that stay what they are


@pytest.mark.parametrize(
    ("way", "user", "want"),
    [
        # 8 of 20 open products: one by one; 12 of 18: from the full list.
        ("catalogue", "few", "06 11 13 16 17 18 20 22"),
        ("catalogue", "many", "00 03 04 05 06 13 14 16 17 18 20 23"),
        ("popular", "few", "05 08 09 11 13 15 18 22"),
        ("popular", "many", "00 01 02 03 04 05 06 13 14 17 18 23"),
    ],
)
def test_a_seed_draws_the_same_products_in_every_version(way, user, want):
    """Published tables and stored notebooks were made with such draws."""
    task = successes_only(negatives_from=way, negatives=2, cutoff="day")
    found = drawn_from(shop(), task, seed=5).exposures
    mine = found[(found.user_id == user) & (found.label == 0)]
    assert " ".join(item[1:] for item in sorted(mine.item_id)) == want


def test_a_list_keeps_its_number_in_every_version():
    found = drawn_from(shop(), successes_only(cutoff="day"), seed=5).exposures
    assert found[found.user_id == "few"].list_id.unique().tolist() == [7254593883755631141]


def test_draws_that_never_end_are_given_up_after_16_rounds(monkeypatch):
    calls = []

    def always_the_first(digests):
        calls.append(len(digests))
        return np.zeros(len(digests))

    monkeypatch.setattr("helpers.samples.negatives.draws._chances", always_the_first)
    found = drawn_from(shop(), successes_only(cutoff="day"), seed=5).exposures
    assert calls[:16] == [8] * 16  # what the user took is drawn each time
    assert len(calls) == 17  # and once for the full lists
    mine = found[found.user_id == "few"]
    assert mine.item_id.is_unique
    assert (mine.label == 0).sum() == 8


# ---------------------------------------------------------------- days at the ends


def test_no_event_of_the_next_key_is_counted_long_after_the_last_day():
    past = History(np.array([0, 1, 1]), np.array([-3, -3, 2]))  # the very first day is -3
    far = np.array([3, 4, 5, 1000])
    np.testing.assert_array_equal(past.count(np.zeros(4, np.int64), far), np.ones(4))
    np.testing.assert_array_equal(past.count(np.ones(4, np.int64), far), np.full(4, 2))
    early = np.array([-9, -4, -3])
    np.testing.assert_array_equal(past.count(np.ones(3, np.int64), early), np.zeros(3))


def test_a_log_from_before_1970_is_drawn_from_as_any_other():
    log = shop()
    old = log.assign(event_time=log.event_time - pd.Timedelta(days=25_000), day=log.day - 25_000)
    task = successes_only(cutoff="day", train_from="1900-01-01")
    now, then = (drawn_from(each, task).exposures for each in (log, old))
    assert (then.cutoff_day < 0).all()
    counts = [each.groupby(["user_id", "label"]).size() for each in (now, then)]
    pd.testing.assert_series_equal(*counts)


def test_where_all_successes_are_attributed_all_give_samples():
    task = successes_only(cutoff="day", train_from=None, attribution_from="2020-01-01")
    stated = drawn_from(shop(), successes_only(cutoff="day")).exposures
    pd.testing.assert_frame_equal(drawn_from(shop(), task).exposures, stated)


# ---------------------------------------------------------------- tables


def test_counts_of_lost_rows_are_numbered_through():
    one = pd.DataFrame({"table": ["users"], "reason": ["double"], "rows": [3]})
    found = _counted(one, one, one.iloc[:0])
    assert found.index.tolist() == [0, 1]
    assert found["rows"].dtype == np.int64


@pytest.mark.parametrize("name", ["dense", "recent", "item"])
def test_an_array_with_other_rows_than_the_table_is_no_samples(tmp_path, name):
    samples = small_samples()
    _save(samples, tmp_path)
    assert len(_load(tmp_path)) == len(samples)
    arrays = dict(samples.numbers, dense=samples.dense)
    arrays[name] = arrays[name][:-1]
    dense = arrays.pop("dense")
    _save(dataclasses.replace(samples, dense=dense, numbers=arrays), tmp_path)
    with pytest.raises(ValueError, match="equally many rows"):
        _load(tmp_path)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (pd.Series(["a", None]), ["a", "unknown"]),
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series([1.5, None]), ["1.5", "unknown"]),
        (pd.Series([3, None], dtype=object), ["3", "unknown"]),
        (pd.Series(["a", None], dtype="category"), ["a", "unknown"]),
    ],
    ids=["text", "truth", "numbers", "objects", "categories"],
)
def test_names_are_text_whatever_they_were(values, want):
    found = _text(values)
    assert found.tolist() == want
    assert found.dtype == pd.StringDtype(na_value=np.nan)
