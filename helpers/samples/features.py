"""Raw features of an exposure: the user's profile, the product, the context.

Everything that comes from events goes through :class:`helpers.samples.history.History`,
so it lies before the exposure's cutoff. What a user did is read from that user's
events; what is known of a product, a store or a query from the daily totals of all
users. The rest is static (product and user attributes) or known at the moment of
exposure (context).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from helpers.data.cleaning import local_days
from helpers.samples.history import Floats, History, Ints, coded, join_codes, sorted_places
from helpers.schema import RESERVED, canonical_tables

__all__ = ["RECENT_LENGTH", "Inputs", "local_days", "raw_features"]

_MONTH = 28  # days: four whole weeks, so that each weekday counts equally
#: How many of a user's last items are remembered.
RECENT_LENGTH = 30


@dataclass(frozen=True)
class Inputs:
    """What the features are made of, coded once.

    Attributes:
        exposures: one row per sample, with ``cutoff_day``.
        events: the events of these users that features may count, with ``day``.
        totals: the daily totals of all users, as
            :func:`helpers.samples.history.daily_totals` makes them.
        products: product attributes by ``item_id``.
        users: user attributes by ``user_id``.
    """

    exposures: pd.DataFrame
    events: pd.DataFrame
    totals: pd.DataFrame
    products: pd.DataFrame
    users: pd.DataFrame


def raw_features(inputs: Inputs) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the raw features, and each user's last items.

    Args:
        inputs: exposures, countable events, totals, products and users.

    Returns:
        ``(features, recent, items)``. Features: one row an exposure, in order;
        numbers as float32 (NaN where unknown), names as text. Recent: the last
        ``RECENT_LENGTH`` items of the user, newest first, as places in
        ``items``, int32, -1 where there are fewer. Items: the item ids.
    """
    codes = _Codes(inputs)
    columns: dict[str, Floats | pd.Series] = {}
    columns |= _user_profile(codes)
    columns |= _affinities(codes)
    columns |= _product(codes, inputs)
    columns |= _store(codes)
    columns |= _query(codes, inputs)
    columns |= _context_numbers(inputs)
    columns = {k: _float32(v) for k, v in columns.items()}
    columns |= _names(codes, inputs, taken=set(columns))
    frame = pd.DataFrame(columns)
    return frame, _recent_items(codes), np.asarray(codes.items)


def _float32(values: Floats | pd.Series) -> np.ndarray:
    """Return the values as float32; what is too large for it becomes its largest number."""
    largest = np.finfo(np.float32).max
    return np.clip(values, -largest, largest).astype(np.float32)


class _Codes:
    """Integer codes of users, items and their attributes, shared by all sides.

    A name alone is the side of the exposures; ``event_`` and ``total_`` before it
    are the sides of the events and of the daily totals.
    """

    def __init__(self, inputs: Inputs) -> None:
        exposures, events, totals = inputs.exposures, inputs.events, inputs.totals
        self.cutoff = exposures.cutoff_day.to_numpy()
        self.day, self.total_day = events.day.to_numpy(), totals.day.to_numpy()
        self.time = events.event_time.dt.tz_localize(None).to_numpy()
        (self.user, self.event_user), _ = coded(exposures.user_id, events.user_id)
        (self.item, self.event_item, self.total_item), self.items = coded(
            *(side.item_id for side in (exposures, events, totals)), sort=True
        )
        self.products = inputs.products.set_index("item_id").reindex(self.items)
        self.price, quantity = _column(events, "price"), _column(events, "quantity")
        self.spend = self.price * np.where(np.isnan(quantity), 1.0, quantity)
        self.total_events = totals.events.to_numpy()
        self.total_prices = {"price": _column(totals, "price"), "priced": totals.priced.to_numpy()}
        self.stores, self.queries = _optional("store_id", inputs), _optional("query", inputs)

    def past_of(self, total_keys: Ints) -> History:
        """Return what all users did, by keys of the daily totals."""
        return History(total_keys, self.total_day, counts=self.total_events)

    @cached_property
    def user_past(self) -> History:
        """The users' own history, which several features ask."""
        values = {"spend": self.spend, "price": self.price, "priced": ~np.isnan(self.price)}
        return History(self.event_user, self.day, values)

    @cached_property
    def user_events(self) -> Floats:
        """How many events each exposure's user had before the cutoff."""
        return self.user_past.count(self.user, self.cutoff)

    def attribute(self, name: str) -> Ints:
        """Return the code of a product attribute for each item, -1 where it has none."""
        if name not in self.products:
            return np.full(len(self.items), -1)
        return pd.factorize(self.products[name])[0]


def _optional(name: str, inputs: Inputs) -> list[Ints] | None:
    """Return the codes of a column in exposures, events and totals, or None where it is missing."""
    if name not in inputs.exposures or inputs.exposures[name].isna().all():
        return None
    empty = pd.Series([None], dtype=object)
    sides = [
        side[name] if name in side else empty.repeat(len(side))
        for side in (inputs.exposures, inputs.events, inputs.totals)
    ]
    return coded(*sides)[0]


def _paired(left: tuple[Ints, Ints], right: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Return the codes of a combination for two sides."""
    both = join_codes(np.concatenate(left), np.concatenate(right))
    return both[: len(left[0])], both[len(left[0]) :]


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, and 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _user_profile(c: _Codes) -> dict[str, Floats]:
    """Recency, frequency and spend."""
    past = c.user_past
    priced = past.total("priced", c.user, c.cutoff)
    price = past.total("price", c.user, c.cutoff)
    return {
        "user_recency_days": past.days_since_last(c.user, c.cutoff),
        "user_events_28d": past.count(c.user, c.cutoff, days=_MONTH),
        "user_events": c.user_events,
        "user_spend_28d": past.total("spend", c.user, c.cutoff, days=_MONTH),
        "user_mean_price": np.where(priced > 0, price / np.maximum(priced, 1), np.nan),
    }


def _affinities(c: _Codes) -> dict[str, Floats]:
    """How much of what the user did before was about this product and its relatives."""
    columns = {}
    users = c.user, c.event_user
    key, event_key = _paired(users, (c.item, c.event_item))
    past = History(event_key, c.day)
    columns["user_item_events"] = past.count(key, c.cutoff)
    columns["user_item_recency_days"] = past.days_since_last(key, c.cutoff)
    for name in ("category", "subcategory", "brand"):
        of_item = c.attribute(name)
        key, event_key = _paired(users, (of_item[c.item], of_item[c.event_item]))
        past = History(event_key, c.day)
        columns[f"user_{name}_share"] = _share(past.count(key, c.cutoff), c.user_events)
        if name == "subcategory":
            columns["user_subcategory_events"] = past.count(key, c.cutoff)
            columns["user_subcategory_recency_days"] = past.days_since_last(key, c.cutoff)
    return columns


def _product(c: _Codes, inputs: Inputs) -> dict[str, Floats]:
    """Popularity and price."""
    past = History(c.total_item, c.total_day, c.total_prices, counts=c.total_events)
    sub = c.attribute("subcategory")
    relatives = c.past_of(sub[c.total_item])
    priced = past.total("priced", c.item, c.cutoff)
    paid = past.total("price", c.item, c.cutoff) / np.where(priced > 0, priced, np.nan)
    price = _first_known(
        _column(inputs.exposures, "price"), paid, _column(c.products, "price")[c.item]
    )
    return {
        "item_events_7d": past.count(c.item, c.cutoff, days=7),
        "item_events_28d": past.count(c.item, c.cutoff, days=_MONTH),
        "item_events": past.count(c.item, c.cutoff),
        "subcategory_events_28d": relatives.count(sub[c.item], c.cutoff, days=_MONTH),
        "item_price": price,
    }


def _first_known(*columns: Floats) -> Floats:
    """Return the first value that is not NaN, row by row."""
    known = columns[0].copy()
    for column in columns[1:]:
        known = np.where(np.isnan(known), column, known)
    return known


def _column(frame: pd.DataFrame, name: str) -> Floats:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _store(c: _Codes) -> dict[str, Floats]:
    """The store: how busy, how it sells this product, how well the user knows it."""
    if c.stores is None:
        return {}
    store, event_store, total_store = c.stores
    key, total_key = _paired((store, total_store), (c.item, c.total_item))
    user_key, event_key = _paired((c.user, c.event_user), (store, event_store))
    visits = History(event_key, c.day).count(user_key, c.cutoff)
    return {
        "store_events_28d": c.past_of(total_store).count(store, c.cutoff, days=_MONTH),
        "store_item_events_28d": c.past_of(total_key).count(key, c.cutoff, days=_MONTH),
        "user_store_share": _share(visits, c.user_events),
    }


def _query(c: _Codes, inputs: Inputs) -> dict[str, Floats]:
    """The query: its words in the product's text, and what it led to before."""
    if c.queries is None:
        return {}
    query, _, total_query = c.queries
    queries, category = (query, total_query), c.attribute("category")
    key, total_key = _paired(queries, (c.item, c.total_item))
    category_key, total_category = _paired(queries, (category[c.item], category[c.total_item]))
    led_to = c.past_of(total_category).count(category_key, c.cutoff)
    return {
        "has_query": (query >= 0).astype(np.float64),
        "query_word_share": _word_share(inputs.exposures["query"], c),
        "query_item_events": c.past_of(total_key).count(key, c.cutoff),
        "query_category_share": _share(led_to, c.past_of(total_query).count(query, c.cutoff)),
    }


def _word_share(query: pd.Series, c: _Codes) -> Floats:
    """Return the share of the query's words that stand in the product's text."""
    asked, queries = pd.factorize(query.fillna(""))
    words = [text.lower().split() for text in queries]
    shown, products = pd.factorize(c.item)
    named = [n for n in ("title", "category", "subcategory", "brand") if n in c.products]
    texts = c.products[named].iloc[products].fillna("").agg(" ".join, axis=1).str.lower()
    found = [frozenset(text.split()) for text in texts]
    pair, row = np.unique(asked * len(products) + shown, return_inverse=True)
    share = [
        sum(word in found[p] for word in words[q]) / max(len(words[q]), 1)
        for q, p in zip(*(each.tolist() for each in np.divmod(pair, len(products))), strict=True)
    ]
    return np.array(share, dtype=np.float64)[row]


def _context_columns(inputs: Inputs) -> list[str]:
    """Return the exposures' columns that the canonical table does not name."""
    own = {*canonical_tables()["user_behavior"].columns, *RESERVED}
    return [c for c in inputs.exposures if c not in own and inputs.exposures[c].notna().any()]


def _context_numbers(inputs: Inputs) -> dict[str, Floats]:
    exposures = inputs.exposures
    columns = {}
    if "position" in exposures and exposures.position.notna().any():
        columns["position"] = _column(exposures, "position")
    for name in _context_columns(inputs):
        if pd.api.types.is_numeric_dtype(exposures[name]):
            columns[f"context_{name}"] = _column(exposures, name)
    return columns


def _names(c: _Codes, inputs: Inputs, *, taken: set[str]) -> dict[str, pd.Series]:
    """Return the features that are names: product, context and user attributes."""
    exposures = inputs.exposures
    day = pd.Series(c.cutoff.astype("datetime64[D]"))
    columns = {
        "week_of_month": ((day.dt.day - 1) // 7 + 1).astype("str"),
        "day_of_week": day.dt.day_name(),
    }
    for name in ("category", "subcategory", "brand"):
        if name in c.products:
            columns[f"item_{name}"] = c.products[name].iloc[c.item].reset_index(drop=True)
    for name in _context_columns(inputs):
        if not pd.api.types.is_numeric_dtype(exposures[name]):
            columns[f"context_{name}"] = exposures[name].reset_index(drop=True)
    attributes = inputs.users.set_index("user_id").reindex(exposures.user_id)
    for name in attributes:
        # An attribute called "events" must not replace the feature user_events.
        feature = f"user_{name}" if f"user_{name}" not in taken else f"user_{name}_attribute"
        columns[feature] = attributes[name].reset_index(drop=True)
    return {name: _text(values) for name, values in columns.items()}


def _text(values: pd.Series) -> pd.Series:
    """Return the values as text, "unknown" where there is none."""
    if values.dtype != pd.StringDtype(na_value=np.nan):
        values = values.astype("str").where(values.notna())
    return values.fillna("unknown")


def _recent_items(c: _Codes) -> np.ndarray:
    """Return the codes' items that each user touched last before the cutoff."""
    order = _by_user_and_time(c)
    first = int(min(c.day.min(initial=0), c.cutoff.min(initial=0)))
    span = int(max(c.day.max(initial=0), c.cutoff.max(initial=0))) - first + 1
    place = c.event_user[order] * span + c.day[order] - first
    start = np.searchsorted(place, c.user * span)
    stop = np.searchsorted(place, c.user * span + c.cutoff - first)
    back = stop[:, None] - 1 - np.arange(RECENT_LENGTH)
    items = c.event_item[order][np.maximum(back, 0)] if len(order) else np.zeros_like(back)
    return np.where(back >= start[:, None], items, -1).astype(np.int32)


def _by_user_and_time(c: _Codes) -> Ints:
    """Return the places of the events by user, then time, then item."""
    time = c.time.astype("datetime64[us]").astype(np.int64)
    time -= time.min(initial=0)
    span = int(time.max(initial=0)) + 1
    if span * (int(c.event_user.max(initial=0)) + 1) >= 2**63:
        return np.lexsort((c.event_item, time, c.event_user))
    keys = c.event_user * span + time
    order = sorted_places(keys)
    # Few events share their moment; only these need to be sorted by item as well.
    same = np.diff(keys[order]) == 0
    tied = np.append(same, False) | np.append(False, same)
    rows = order[tied]
    order[tied] = rows[np.lexsort((c.event_item[rows], keys[rows]))]
    return order
