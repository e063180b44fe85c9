"""Raw features of an exposure: the user's profile, the product, the context.

Everything that comes from events goes through :class:`helpers.history.History`,
so it lies before the exposure's cutoff. The rest is static (product and user
attributes) or known at the moment of exposure (context).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from helpers.history import Floats, History, Ints, join_codes
from helpers.schema import RESERVED, canonical_tables

__all__ = ["RECENT_LENGTH", "Inputs", "local_days", "raw_features"]

_MONTH = 28  # days: four whole weeks, so that each weekday counts equally
#: How many of a user's last items are remembered.
RECENT_LENGTH = 30


@dataclass(frozen=True)
class Inputs:
    """What the features are made of, coded once.

    Attributes:
        exposures: one row a sample, with ``cutoff_day``.
        events: the events that features may count, with ``day``.
        products: product attributes by ``item_id``.
        users: user attributes by ``user_id``.
    """

    exposures: pd.DataFrame
    events: pd.DataFrame
    products: pd.DataFrame
    users: pd.DataFrame


def local_days(times: pd.Series, time_zone: str) -> Ints:
    """Return day numbers since 1970-01-01 by the calendar of a time zone.

    Example:
        >>> times = pd.Series(pd.to_datetime(["1970-01-02T23:30Z"]))
        >>> local_days(times, "UTC"), local_days(times, "Asia/Shanghai")
        (array([1]), array([2]))
    """
    local = times.dt.tz_convert(time_zone).dt.tz_localize(None)
    return local.to_numpy().astype("datetime64[D]").astype(np.int64)


def raw_features(inputs: Inputs) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the raw features, and each user's last items.

    Args:
        inputs: exposures, countable events, products and users.

    Returns:
        ``(features, recent, items)``. Features: one row an exposure, in order;
        numbers as float32 (NaN where unknown), names as text. Recent: the last
        ``RECENT_LENGTH`` items of the user, newest first, as places in
        ``items``, int32, -1 where there are fewer. Items: the item ids.
    """
    codes = _Codes(inputs)
    columns: dict[str, np.ndarray | pd.Series] = {}
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


def _float32(values: Floats) -> np.ndarray:
    """Return the values as float32; what is too large for it becomes its largest number."""
    largest = np.finfo(np.float32).max
    return np.clip(values, -largest, largest).astype(np.float32)


class _Codes:
    """Integer codes of users, items and their attributes, shared by both sides."""

    def __init__(self, inputs: Inputs) -> None:
        exposures, events = inputs.exposures, inputs.events
        self.n = len(exposures)
        self.cutoff = exposures.cutoff_day.to_numpy()
        self.day = events.day.to_numpy()
        self.time = events.event_time.dt.tz_localize(None).to_numpy()
        self.user, self.event_user = self._both(exposures.user_id, events.user_id)
        item, self.items = pd.factorize(
            pd.concat([exposures.item_id, events.item_id], ignore_index=True), sort=True
        )
        self.item, self.event_item = item[: self.n], item[self.n :]
        self.products = inputs.products.set_index("item_id").reindex(self.items)
        price = events.price if "price" in events else pd.Series(np.nan, index=events.index)
        quantity = (
            events.quantity if "quantity" in events else pd.Series(np.nan, index=events.index)
        )
        self.price = price.to_numpy(dtype=np.float64)
        self.spend = self.price * quantity.fillna(1.0).to_numpy(dtype=np.float64)
        self.store = self._optional("store_id", exposures, events)
        self.query = self._optional("query", exposures, events)

    def _both(self, left: pd.Series, right: pd.Series) -> tuple[Ints, Ints]:
        both, _ = pd.factorize(pd.concat([left, right], ignore_index=True))
        return both[: self.n], both[self.n :]

    def _optional(
        self, name: str, exposures: pd.DataFrame, events: pd.DataFrame
    ) -> tuple[Ints, Ints] | None:
        if name not in exposures or exposures[name].isna().all():
            return None
        right = events[name] if name in events else pd.Series([None] * len(events))
        return self._both(exposures[name], right)

    @cached_property
    def user_past(self) -> History:
        """The users' own history, which several features ask."""
        values = {"spend": self.spend, "price": self.price, "priced": ~np.isnan(self.price)}
        return History(self.event_user, self.day, values)

    @cached_property
    def user_events(self) -> Floats:
        """How many events each exposure's user had before the cutoff."""
        return self.user_past.count(self.user, self.cutoff)

    def attribute(self, name: str) -> tuple[Ints, Ints]:
        """Return a product attribute's code for exposures and for events."""
        if name not in self.products:
            return np.full(self.n, -1), np.full(len(self.day), -1)
        by_item, _ = pd.factorize(self.products[name])
        return by_item[self.item], by_item[self.event_item]

    def pair(self, left: tuple[Ints, Ints], right: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
        """Return the codes of a combination for exposures and for events."""
        both = join_codes(np.concatenate(left), np.concatenate(right))
        return both[: self.n], both[self.n :]

    @property
    def users(self) -> tuple[Ints, Ints]:
        return self.user, self.event_user

    @property
    def its(self) -> tuple[Ints, Ints]:
        return self.item, self.event_item


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
    key, event_key = c.pair(c.users, c.its)
    past = History(event_key, c.day)
    columns["user_item_events"] = past.count(key, c.cutoff)
    columns["user_item_recency_days"] = past.days_since_last(key, c.cutoff)
    for name in ("category", "subcategory", "brand"):
        key, event_key = c.pair(c.users, c.attribute(name))
        past = History(event_key, c.day)
        columns[f"user_{name}_share"] = _share(past.count(key, c.cutoff), c.user_events)
        if name == "subcategory":
            columns["user_subcategory_events"] = past.count(key, c.cutoff)
            columns["user_subcategory_recency_days"] = past.days_since_last(key, c.cutoff)
    return columns


def _product(c: _Codes, inputs: Inputs) -> dict[str, Floats]:
    """Popularity and price."""
    past = History(c.event_item, c.day, {"price": c.price, "priced": ~np.isnan(c.price)})
    sub, event_sub = c.attribute("subcategory")
    priced = past.total("priced", c.item, c.cutoff)
    paid = past.total("price", c.item, c.cutoff) / np.where(priced > 0, priced, np.nan)
    price = _first_known(
        _column(inputs.exposures, "price"), paid, _column(c.products, "price")[c.item]
    )
    return {
        "item_events_7d": past.count(c.item, c.cutoff, days=7),
        "item_events_28d": past.count(c.item, c.cutoff, days=_MONTH),
        "item_events": past.count(c.item, c.cutoff),
        "subcategory_events_28d": History(event_sub, c.day).count(sub, c.cutoff, days=_MONTH),
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
    if c.store is None:
        return {}
    key, event_key = c.pair(c.store, c.its)
    user_key, user_event_key = c.pair(c.users, c.store)
    visits = History(user_event_key, c.day).count(user_key, c.cutoff)
    return {
        "store_events_28d": History(c.store[1], c.day).count(c.store[0], c.cutoff, days=_MONTH),
        "store_item_events_28d": History(event_key, c.day).count(key, c.cutoff, days=_MONTH),
        "user_store_share": _share(visits, c.user_events),
    }


def _query(c: _Codes, inputs: Inputs) -> dict[str, Floats]:
    """The query: its words in the product's text, and what it led to before."""
    if c.query is None:
        return {}
    key, event_key = c.pair(c.query, c.its)
    category_key, event_category_key = c.pair(c.query, c.attribute("category"))
    led_to = History(event_category_key, c.day).count(category_key, c.cutoff)
    return {
        "has_query": (c.query[0] >= 0).astype(np.float64),
        "query_word_share": _word_share(inputs.exposures["query"], c),
        "query_item_events": History(event_key, c.day).count(key, c.cutoff),
        "query_category_share": _share(
            led_to, History(c.query[1], c.day).count(c.query[0], c.cutoff)
        ),
    }


def _word_share(query: pd.Series, c: _Codes) -> Floats:
    """Return the share of the query's words that stand in the product's text."""
    named = [n for n in ("title", "category", "subcategory", "brand") if n in c.products]
    texts = c.products[named].fillna("").agg(" ".join, axis=1).str.lower().to_numpy()
    pairs = pd.DataFrame({"query": query.fillna("").to_numpy(), "item": c.item})
    unique = pairs.drop_duplicates()
    share = [
        float(np.mean([word in texts[item].split() for word in text.lower().split()] or [0.0]))
        for text, item in unique.itertuples(index=False)
    ]
    return pairs.merge(unique.assign(share=share), how="left")["share"].to_numpy()


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
    return {k: v.astype("str").where(v.notna()).fillna("unknown") for k, v in columns.items()}


def _recent_items(c: _Codes) -> np.ndarray:
    """Return the codes' items that each user touched last before the cutoff."""
    order = np.lexsort((c.event_item, c.time, c.event_user))
    first = int(min(c.day.min(initial=0), c.cutoff.min(initial=0)))
    span = int(max(c.day.max(initial=0), c.cutoff.max(initial=0))) - first + 1
    place = c.event_user[order] * span + c.day[order] - first
    start = np.searchsorted(place, c.user * span)
    stop = np.searchsorted(place, c.user * span + c.cutoff - first)
    back = stop[:, None] - 1 - np.arange(RECENT_LENGTH)
    items = c.event_item[order][np.maximum(back, 0)] if len(order) else np.zeros_like(back)
    return np.where(back >= start[:, None], items, -1).astype(np.int32)
