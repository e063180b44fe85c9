"""The shop behind the bundled log: its settings, its products and its users.

A :class:`Market` holds what a real log never shows: how good each product is, what
each user likes, how much each one minds a high price. :mod:`helpers.data.datasets.sample_log`
lets these users look at pages and click.

Example:
    >>> world = make_market(LogSettings(users=50, items=40), np.random.default_rng(0))
    >>> world.taste.shape
    (50, 8)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["CATEGORIES", "LogSettings", "Market", "make_market"]

CATEGORIES = {  # category: its subcategories, which are also what people search for
    "kitchen": ("kettle", "frying pan", "knife set", "storage jar"),
    "garden": ("plant pot", "hose", "trowel", "bird feeder"),
    "sport": ("running shoe", "yoga mat", "water bottle", "bike light"),
    "toys": ("puzzle", "toy train", "board game", "kite"),
    "beauty": ("hand cream", "shampoo", "sun lotion", "hair dryer"),
    "audio": ("headphone", "speaker", "turntable", "microphone"),
    "clothing": ("rain jacket", "wool sock", "straw hat", "linen shirt"),
    "office": ("desk lamp", "notebook", "fountain pen", "paper tray"),
}
_BRANDS = (  # all invented
    *("Alder", "Bexley", "Corvane", "Dunmere", "Elvora", "Fennick", "Garlow", "Hestia"),
    *("Ivarro", "Juniper", "Kestrin", "Lomond", "Marlowe", "Norvel", "Orrin", "Pellam"),
    *("Quillon", "Rowanby", "Selkirk", "Tamsin", "Ulvar", "Vireo", "Wexford", "Yarrow"),
)
_STYLES = (
    *("Light", "Classic", "Mini", "Grand", "Quiet", "Bright"),
    *("Soft", "Solid", "Easy", "Fine", "Swift", "True"),
)
_AGES = ("18-24", "25-34", "35-44", "45-54", "55+")
_REGIONS = ("north", "south", "east", "west", "centre")
_DEVICES = ("phone", "tablet", "desktop")
_DEVICE_SHARES = (0.62, 0.13, 0.25)


@dataclass(frozen=True)
class LogSettings:
    """Sizes, dates and noise rates of the synthetic log.

    Dates are midnights in ``time_zone``. A rate is a probability in ``[0, 1]``; noise is
    planted before ``noise_until`` only, so the test weeks stay clean.
    """

    users: int = 1500
    items: int = 1200
    sessions: int = 4000  # visits; one visit shows one to three lists of up to ten products
    start: str = "2025-03-03"  # a Monday
    days: int = 84
    time_zone: str = "Asia/Shanghai"  # has no summer time, so every day has 24 hours
    noise_until: str = "2025-05-13"  # the first test day of data/sample/schema.yaml
    bot_share: float = 0.012  # of the users
    bot_click_rate: float = 0.9  # a bot clicks a row it is shown, whatever it shows
    misclick_rate: float = 0.011  # a row nobody wanted is clicked all the same
    lost_click_rate: float = 0.1  # a genuine click is not logged
    duplicate_rate: float = 0.015  # a row, with its click, is sent and logged twice

    def __post_init__(self) -> None:
        for name in ("users", "items", "sessions", "days"):
            if getattr(self, name) < 10:
                raise ValueError(f"{name} must be at least 10; got {getattr(self, name)}.")
        for name in (n for n in self.__dataclass_fields__ if n.endswith(("_rate", "_share"))):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1]; got {getattr(self, name)}.")

    @property
    def clean_from_day(self) -> int:
        """The day number, counted from ``start``, on which noise stops."""
        return int((pd.Timestamp(self.noise_until) - pd.Timestamp(self.start)).days)


@dataclass(frozen=True)
class Market:
    """Products and users as the log shows them, and what drives their clicks.

    ``U`` users, ``I`` items, ``C`` categories. Preferences are in units of the logit.
    """

    product_features: pd.DataFrame  # I rows, with a few values missing
    users: pd.DataFrame  # U rows, with some values missing
    item_category: np.ndarray  # (I,) number of the category
    item_subcategory: np.ndarray  # (I,) number of the subcategory
    item_price: np.ndarray  # (I,) list price, none missing
    item_dearness: np.ndarray  # (I,) log price against the subcategory, standardised
    item_quality: np.ndarray  # (I,) appeal to everybody: product and brand
    item_popularity: np.ndarray  # (I,) what the shop's ranking thinks of the item
    item_launch_day: np.ndarray  # (I,) not shown before this day
    taste: np.ndarray  # (U, C) liking of a category
    price_sensitivity: np.ndarray  # (U,)
    activity: np.ndarray  # (U,) share of the visits, adds up to 1
    is_bot: np.ndarray  # (U,) bool
    category_drift: np.ndarray  # (C,) change of appeal from the first day to the last


def make_market(settings: LogSettings, rng: np.random.Generator) -> Market:
    """Draw the products and the users of one shop.

    Args:
        settings: sizes and dates.
        rng: the only source of randomness; it is advanced.

    Returns:
        The world; rows of both tables are in id order.

    Example:
        >>> world = make_market(LogSettings(users=50, items=40), np.random.default_rng(0))
        >>> world.users["user_id"].iloc[0], world.product_features["item_id"].iloc[-1]
        ('u0001', 'p0040')
    """
    return Market(**_make_items(settings, rng), **_make_users(settings, rng))


def _make_items(settings: LogSettings, rng: np.random.Generator) -> dict:
    n = settings.items
    names = [(c, s) for c, subcategories in CATEGORIES.items() for s in subcategories]
    subcategory = rng.integers(len(names), size=n)
    category = subcategory // (len(names) // len(CATEGORIES))
    brand = rng.integers(len(_BRANDS), size=n)
    brand_appeal = rng.normal(0, 0.5, size=len(_BRANDS))
    own_appeal = rng.normal(0, 0.75, size=n)
    dearness = rng.normal(0, 1, size=n)
    level = rng.normal(3.0, 0.6, size=len(names))
    price = np.round(np.exp(level[subcategory] + 0.4 * dearness), 2)
    style = rng.integers(len(_STYLES), size=n)
    titles = [
        f"{_BRANDS[b]} {_STYLES[s]} {names[c][1].title()}"
        for b, s, c in zip(brand, style, subcategory, strict=True)
    ]
    table = pd.DataFrame(
        {
            "item_id": _ids("p", n),
            "title": titles,
            "category": np.array([c for c, _ in names], dtype=object)[subcategory],
            "subcategory": np.array([s for _, s in names], dtype=object)[subcategory],
            "brand": np.array(_BRANDS, dtype=object)[brand],
            "price": price,
        }
    )
    shares = {"brand": 0.03, "price": 0.02, "subcategory": 0.01}
    late = rng.random(n) < 0.1
    launch = np.where(late, rng.integers(1, settings.days, size=n), 0)
    quality = brand_appeal[brand] + own_appeal
    return {
        "product_features": _with_missing(table, shares, rng),
        "item_category": category,
        "item_subcategory": subcategory,
        "item_price": price,
        "item_dearness": dearness,
        "item_quality": quality,
        "item_popularity": 0.7 * quality + rng.normal(0, 0.6, size=n),
        "item_launch_day": launch,
        "category_drift": rng.normal(0, 0.35, size=len(CATEGORIES)),
    }


def _make_users(settings: LogSettings, rng: np.random.Generator) -> dict:
    n, c = settings.users, len(CATEGORIES)
    age = rng.integers(len(_AGES), size=n)
    region = rng.integers(len(_REGIONS), size=n)
    device = rng.choice(len(_DEVICES), size=n, p=_DEVICE_SHARES)
    taste_of_age = rng.normal(0, 0.6, size=(len(_AGES), c))
    taste_of_region = rng.normal(0, 0.25, size=(len(_REGIONS), c))
    taste = taste_of_age[age] + taste_of_region[region] + rng.normal(0, 0.9, size=(n, c))
    table = pd.DataFrame(
        {
            "user_id": _ids("u", n),
            "age_band": np.array(_AGES, dtype=object)[age],
            "region": np.array(_REGIONS, dtype=object)[region],
            "device": np.array(_DEVICES, dtype=object)[device],
        }
    )
    activity = rng.gamma(0.8, size=n) + 0.15  # a few users make most of the visits
    # Young users mind the price more; everybody has a sensitivity of their own.
    sensitivity = np.maximum(0.7 - 0.1 * age + rng.normal(0.1, 0.35, size=n), -0.2)
    return {
        "users": _with_missing(table, {"age_band": 0.08, "region": 0.04}, rng),
        "taste": taste,
        "price_sensitivity": sensitivity,
        "activity": activity / activity.sum(),
        "is_bot": rng.permutation(n) < round(settings.bot_share * n),
    }


def _ids(letter: str, count: int) -> list[str]:
    width = max(4, len(str(count)))
    return [f"{letter}{number:0{width}d}" for number in range(1, count + 1)]


def _with_missing(
    table: pd.DataFrame, shares: dict[str, float], rng: np.random.Generator
) -> pd.DataFrame:
    """Return the table with a random share of each named column missing."""
    holes = {name: rng.random(len(table)) < share for name, share in shares.items()}
    return table.assign(**{name: table[name].mask(hole) for name, hole in holes.items()})
