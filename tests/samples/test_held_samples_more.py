"""More that holds without being looked at often: types, far codes, borders a day apart."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_held_samples import shop
from test_negatives import drawn_from, successes_only

from helpers.data.dropped import COLUMNS
from helpers.samples.features import _by_user_and_time, _recent_items
from helpers.samples.history import daily_totals, join_codes
from helpers.samples.negatives.drawing import draw_samples
from helpers.samples.negatives.draws import Shelf
from helpers.samples.noise import KINDS, RECOMMENDED, estimated_flip_share
from helpers.samples.samples import _borders, _counted, _exposures
from helpers.schema import Task

# ---------------------------------------------------------------- noise


def test_every_kind_of_noise_has_a_score_that_its_cause_suggests():
    assert list(RECOMMENDED) == list(KINDS)


@pytest.mark.parametrize(("first", "want"), [(0, 0.0), (1, 0.49)])
def test_of_few_rows_the_surest_one_is_looked_at(first, want):
    labels = [first, 1 - first, 0, 1]
    assert estimated_flip_share(labels, [0.1, 0.2, 0.3, 0.4]) == want


# ---------------------------------------------------------------- codes and orders


def test_codes_whose_product_passes_64_bits_stay_apart():
    far = 2**32 - 1
    found = join_codes(np.array([0, 1, 0]), np.array([5, 5, far]), np.array([7, 7, far]))
    assert len(np.unique(found)) == 3
    assert (found >= 0).all()


def events(**columns: np.ndarray) -> SimpleNamespace:
    """Return the codes of a user's two events of products 1 and 0, and of one exposure."""
    two, one = np.zeros(2, np.int64), np.zeros(1, np.int64)
    codes = {"event_user": two, "user": one, "event_item": np.array([1, 0])}
    codes |= {"day": two + 3, "cutoff": one + 4}
    codes["time"] = np.array([100, 200]).astype("datetime64[ns]")
    return SimpleNamespace(**{**codes, **columns})


def test_within_a_microsecond_events_follow_their_products():
    assert _by_user_and_time(events()).tolist() == [1, 0]
    apart = np.array([100, 200]).astype("datetime64[us]")
    assert _by_user_and_time(events(time=apart)).tolist() == [0, 1]


def test_recent_items_take_32_bits():
    found = _recent_items(events())
    assert found.dtype == np.int32
    assert found[0, :3].tolist() == [1, 0, -1]


def test_the_totals_of_no_events_have_the_types_of_others():
    log = shop().assign(price=1.0)
    none, some = daily_totals(log.iloc[:0]), daily_totals(log)
    facts = ["events", "price", "priced"]
    pd.testing.assert_series_equal(none[facts].dtypes, some[facts].dtypes)


# ---------------------------------------------------------------- draws


def test_a_shelf_of_the_second_store_holds_its_own_products():
    # Of three products the first store sells 0, the second 1 and 2.
    shelf = Shelf(np.array([0, 4, 5]), np.ones(3, np.int64), 3, np.array([0, 1]))
    lists, items = np.divmod(np.arange(6), 3)
    assert shelf.holds(lists, items).tolist() == [True, False, False, False, True, True]


def test_numbers_of_lists_are_signed():
    found = drawn_from(shop(), successes_only(cutoff="day"), seed=5).exposures
    assert found.list_id.dtype == np.int64


def test_where_no_success_is_used_nothing_is_drawn():
    log = shop()
    drawn = draw_samples(log, daily_totals(log), successes_only(cutoff="day"), end=-99_999)
    assert drawn.exposures.empty
    assert drawn.logit_offset == 0


# ---------------------------------------------------------------- samples


def test_borders_may_lie_a_day_apart():
    task = Task(attribution_from="1970-01-02", valid_from="1970-01-03", test_from="1970-01-04")
    assert _borders(np.arange(8), task).tolist() == [1, 2, 3]


def test_counts_of_lost_rows_have_the_columns_in_order():
    one = pd.DataFrame({"rows": [3], "reason": ["double"], "table": ["users"]})
    assert _counted(one).columns.tolist() == list(COLUMNS)


def test_a_column_that_no_exposure_fills_is_left_out():
    log = shop().assign(event_type="impression", list_id=None)
    assert "list_id" not in _exposures(log, Task())
