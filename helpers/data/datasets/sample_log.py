"""The generator of the bundled log, with the truth a real log hides.

Users visit a shop that shows lists by search and by recommendation. A row is looked at
with a probability that falls with its position (*examination*); a row looked at is clicked
with a probability that depends on the product and the user (*attractiveness*)::

    p_clean = examination * attractiveness

Then noise is planted: bots, misclicks, lost clicks and duplicates. :func:`generate` is a
pure function of its settings and seed; each stage has a random stream of its own, so a
noise rate changes no genuine click. The bundled files are ``generate()``, written by
``python -m helpers.data.datasets.sample_log --write`` and compared by ``--check``.

Reference: Craswell, Zoeter, Taylor and Ramsey (2008), *An experimental comparison of click
position-bias models*, WSDM, section 3 (the examination hypothesis).
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Hashable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.data.datasets.sample_world import CATEGORIES, LogSettings, Market, make_market

__all__ = [
    "DEFAULT_SETTINGS",
    "LIST_LENGTH",
    "SCENES",
    "LogSettings",
    "SyntheticLog",
    "generate",
    "main",
    "read_truth",
    "write",
]

LIST_LENGTH = 10
SCENES = ("search", "recommendation")
_EXAMINATION_DECAY = {"search": 0.55, "recommendation": 0.4}  # examination = position ** -decay
_MODIFIERS = ("", "cheap", "best", "new")  # first word of a query; "cheap" means it
_DAY_SECONDS = 86_400
_HOUR_WEIGHTS = (2, 1, 1, 1, 1, 1, 2, 4, 5, 5, 5, 6, 7, 6, 5, 5, 5, 6, 7, 9, 11, 11, 10, 11)
_WEEKDAY_WEIGHTS = (1.0, 0.95, 0.95, 1.0, 1.05, 1.3, 1.25)
_INTEREST_KEPT = 0.85  # share of the interest in a category that is left a day later
_ROWS = ["event_id", "user_id", "item_id", "event_time", "event_type", "list_id", "session_id"]
_CONTEXT = ["scene", "query", "query_category", "position", "price", "quantity"]
_TRUTH = ["event_id", "p_observed", "p_clean", "attractiveness", "examination"]
_OUTCOME = ["clean_click", "observed_click", "noise", "duplicate_of"]


@dataclass(frozen=True)
class SyntheticLog:
    """A log and its truth.

    Attributes:
        user_behavior: one row an event, in time order; ``event_time`` is UTC, whole seconds.
        product_features: one row a product.
        users: one row a user.
        truth: one row an impression, in the order of ``user_behavior``. Probabilities have
            four decimals, as the draws used them. ``p_observed`` is the chance that this log
            shows a click for the row, ``p_clean`` the chance that a genuine user clicks it.
            ``noise`` says what happened to the row: none, bot, misclick, lost_click or
            duplicate. A label is wrong where ``observed_click`` differs from ``clean_click``.
            ``duplicate_of`` is the ``event_id`` of the original, missing elsewhere.
    """

    user_behavior: pd.DataFrame
    product_features: pd.DataFrame
    users: pd.DataFrame
    truth: pd.DataFrame


DEFAULT_SETTINGS = LogSettings()


def generate(settings: LogSettings = DEFAULT_SETTINGS, *, seed: int = 0) -> SyntheticLog:
    """Return the log that a seed stands for.

    Args:
        settings: sizes, dates and noise rates.
        seed: start of every random draw.

    Returns:
        The three canonical tables and the truth, the same on every call.

    Example:
        >>> log = generate(LogSettings(users=50, items=40, sessions=60), seed=1)
        >>> list(log.truth.columns[:3]), bool(log.truth["p_clean"].between(0, 1).all())
        (['event_id', 'p_observed', 'p_clean'], True)
    """
    streams = np.random.SeedSequence(seed).spawn(5)
    world_rng, plan_rng, click_rng, noise_rng, detail_rng = map(np.random.default_rng, streams)
    world = make_market(settings, world_rng)
    lists = _plan_lists(settings, world, plan_rng)
    rows = _simulate_clicks(settings, world, lists, click_rng)
    rows = _plant_noise(settings, world, rows, noise_rng)
    events = _follow_clicks(rows, detail_rng)
    behavior, truth = _finish(settings, world, events)
    return SyntheticLog(behavior, world.product_features, world.users, truth)


def _plan_lists(settings: LogSettings, world: Market, rng: np.random.Generator) -> pd.DataFrame:
    """Return one row a list: who sees which kind of page, when, and after which query."""
    n, topics = settings.sessions, len(CATEGORIES)
    weekday = (np.arange(settings.days) + pd.Timestamp(settings.start).weekday()) % 7
    day_weight = np.array(_WEEKDAY_WEIGHTS)[weekday]
    hour_weight = np.array(_HOUR_WEIGHTS) / sum(_HOUR_WEIGHTS)
    day = np.sort(rng.choice(settings.days, size=n, p=day_weight / day_weight.sum()))
    start = rng.choice(24, size=n, p=hour_weight) * 3600 + rng.integers(3600, size=n)
    user = rng.choice(settings.users, size=n, p=world.activity)
    topic = (1.2 * world.taste[user] + rng.gumbel(size=(n, topics))).argmax(axis=1)
    visits = pd.DataFrame({"day": day, "user": user, "start": start, "topic": topic})
    visits = visits.sort_values(["day", "start"], kind="stable", ignore_index=True)
    lists = visits.loc[np.repeat(visits.index, rng.choice((1, 2, 3), size=n, p=(0.55, 0.3, 0.15)))]
    lists = lists.rename_axis("session").reset_index()
    m = len(lists)
    page = lists.groupby("session").cumcount().to_numpy()
    pause = np.where(page > 0, rng.integers(40, 400, size=m), 0)
    waited = pd.Series(pause).groupby(lists["session"]).cumsum()
    per_topic = len(next(iter(CATEGORIES.values())))
    return lists.assign(
        second=lists["day"] * _DAY_SECONDS + lists["start"] + waited,
        is_search=rng.random(m) < 0.5,
        subcategory=lists["topic"] * per_topic + rng.integers(per_topic, size=m),
        modifier=rng.choice(len(_MODIFIERS), size=m, p=(0.55, 0.2, 0.15, 0.1)),
        length=np.where(rng.random(m) < 0.75, LIST_LENGTH, rng.integers(5, LIST_LENGTH, size=m)),
    )


def _simulate_clicks(
    settings: LogSettings, world: Market, lists: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return one row an impression with its true probabilities and its genuine click.

    Days run one after the other, because today's clicks change tomorrow's lists and
    interests; within a day everything is one array operation.
    """
    interest = np.zeros_like(world.taste)  # (U, C) what a user clicked lately
    clicked = np.zeros((settings.users, settings.items), dtype=bool)
    week = np.arange(settings.days // 7 + 1)
    on_offer = rng.random((len(week), settings.items)) < 0.1
    days = []
    for day in range(settings.days):
        today = lists[lists["day"] == day]
        price_cut = np.where(on_offer[day // 7], 0.2, 0.0)
        shown = _rank(world, today, interest, clicked, day, rng)
        rows = _impressions(today, shown)
        rows["price"] = np.round(world.item_price * (1 - price_cut), 2)[rows["item"]]
        dearness = world.item_dearness - 2.0 * price_cut
        logit = _appeal(world, rows, interest, clicked, dearness, day / settings.days)
        rows["attractiveness"] = np.round(1 / (1 + np.exp(-logit)), 4)
        rows["p_clean"] = np.round(rows["examination"] * rows["attractiveness"], 4)
        rows["clean_click"] = (rng.random(len(rows)) < rows["p_clean"]).astype(np.int8)
        hits = rows[rows["clean_click"] == 1]
        interest *= _INTEREST_KEPT
        np.add.at(interest, (hits["user"], world.item_category[hits["item"]]), 0.4)
        clicked[hits["user"], hits["item"]] = True
        days.append(rows)
    return pd.concat(days, ignore_index=True)


def _rank(
    world: Market,
    lists: pd.DataFrame,
    interest: np.ndarray,
    clicked: np.ndarray,
    day: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the items of each list, best first, shape ``(lists, LIST_LENGTH)``.

    The shop knows popularity, the query and recent clicks, and it explores: its order is
    partly random, so that position and attractiveness can be told apart.
    """
    user = lists["user"].to_numpy()
    same_topic = world.item_category[None, :] == lists["topic"].to_numpy()[:, None]
    same_query = world.item_subcategory[None, :] == lists["subcategory"].to_numpy()[:, None]
    known = np.minimum(interest[user], 1.5)[:, world.item_category]
    recommended = 1.0 * known + 2.0 * clicked[user]
    searched = 2.5 * same_topic + 4.0 * same_query
    score = np.where(lists["is_search"].to_numpy()[:, None], searched, recommended)
    score = score + 0.7 * world.item_popularity + 1.2 * rng.gumbel(size=score.shape)
    score[:, world.item_launch_day > day] = -np.inf
    return np.argsort(-score, axis=1, kind="stable")[:, :LIST_LENGTH]


def _impressions(lists: pd.DataFrame, shown: np.ndarray) -> pd.DataFrame:
    """Return one row a product shown, list by list, with its examination."""
    length = lists["length"].to_numpy()
    rows = lists.loc[lists.index.repeat(length)].rename_axis("list").reset_index()
    rows["position"] = rows.groupby("list").cumcount() + 1
    rows["item"] = shown[np.arange(LIST_LENGTH) < length[:, None]]
    search, recommendation = (_EXAMINATION_DECAY[scene] for scene in SCENES)
    decay = np.where(rows["is_search"], search, recommendation)
    rows["examination"] = np.round(rows["position"] ** -decay, 4)
    return rows


def _appeal(
    world: Market,
    rows: pd.DataFrame,
    interest: np.ndarray,
    clicked: np.ndarray,
    dearness: np.ndarray,
    elapsed: float,
) -> np.ndarray:
    """Return the logit of attractiveness, one number a row."""
    user, item = rows["user"].to_numpy(), rows["item"].to_numpy()
    category = world.item_category[item]
    is_search = rows["is_search"].to_numpy()
    on_query = world.item_subcategory[item] == rows["subcategory"].to_numpy()
    wants_cheap = is_search & (rows["modifier"].to_numpy() == _MODIFIERS.index("cheap"))
    sensitivity = world.price_sensitivity[user] + 0.5 * wants_cheap
    return (
        -1.9
        + 1.0 * world.item_quality[item]
        + 1.0 * world.taste[user, category]
        + 0.6 * np.minimum(interest[user, category], 1.5)
        + 0.9 * clicked[user, item]
        + np.where(is_search, np.where(on_query, 0.4, -1.0), 0.0)
        - sensitivity * dearness[item]
        + world.category_drift[category] * (elapsed - 0.5)
    )


def _plant_noise(
    settings: LogSettings, world: Market, rows: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the rows as logged, in simulation order, then the duplicated ones.

    Adds ``p_observed``, ``observed_click``, ``noise``, ``delay`` (seconds to the click),
    ``row`` (number of an original row, else -1) and ``original`` (of a duplicate, else -1).
    """
    noisy = (rows["second"] < settings.clean_from_day * _DAY_SECONDS).to_numpy()
    bot = world.is_bot[rows["user"]]
    lost = np.where(noisy, settings.lost_click_rate, 0.0)
    mis = np.where(noisy, settings.misclick_rate, 0.0)
    clean, p = rows["clean_click"].to_numpy(), rows["p_clean"].to_numpy()
    # Every row draws every number, so that a rate moves no draw of another kind.
    draw, bot_draw, copy_draw = rng.random((3, len(rows)))
    delay = 4 + np.minimum(rng.lognormal(2.8, 1.2, size=len(rows)), 3300).astype(int)
    is_mis = ~bot & (clean == 0) & (draw < mis)
    is_lost = ~bot & (clean == 1) & (draw < lost)
    genuine = np.where(is_mis | is_lost, 1 - clean, clean)
    rows = rows.assign(
        p_observed=np.round(
            np.where(bot, settings.bot_click_rate, p * (1 - lost) + (1 - p) * mis), 4
        ),
        observed_click=np.where(bot, bot_draw < settings.bot_click_rate, genuine).astype(np.int8),
        noise=np.select([bot, is_mis, is_lost], ["bot", "misclick", "lost_click"], "none"),
        delay=delay,
        row=np.arange(len(rows)),
        original=-1,
    )
    kept = rows[noisy | ~bot]  # by the test weeks the shop has shut the bots out
    copies = _duplicates(rows[noisy & (copy_draw < settings.duplicate_rate)], rng)
    copies = copies[copies["second"] < settings.clean_from_day * _DAY_SECONDS]
    return pd.concat([kept, copies], ignore_index=True)


def _duplicates(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the rows once more, a moment later, with the same outcome."""
    later = rng.integers(1, 4, size=len(rows))  # before any click, which takes 4 s or more
    return rows.assign(
        second=rows["second"] + later, noise="duplicate", original=rows["row"], row=-1
    )


def _follow_clicks(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return impressions and what follows: clicks, carts and purchases, in time order."""
    clicks = rows[rows["observed_click"] == 1]
    clicks = clicks.assign(second=clicks["second"] + clicks["delay"])
    wanted = clicks[(clicks["clean_click"] == 1) & clicks["noise"].eq("none")]
    carts = wanted[rng.random(len(wanted)) < 0.3]
    carts = carts.assign(second=carts["second"] + rng.integers(20, 240, size=len(carts)))
    sales = carts[rng.random(len(carts)) < 0.5]
    sales = sales.assign(
        second=sales["second"] + rng.integers(60, 1800, size=len(sales)),
        quantity=1 + rng.binomial(2, 0.1, size=len(sales)),
    )
    parts = {"impression": rows, "click": clicks, "cart": carts, "purchase": sales}
    events = [part.assign(event_type=kind, rank=i) for i, (kind, part) in enumerate(parts.items())]
    order = ["second", "list", "rank", "position", "original"]
    return pd.concat(events).sort_values(order, kind="stable", ignore_index=True)


def _finish(
    settings: LogSettings, world: Market, events: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the events with the log's names and ids, and the truth of the impressions."""
    subcategories = [s for names in CATEGORIES.values() for s in names]
    query = pd.Series(_MODIFIERS)[events["modifier"]].to_numpy() + " "
    query = pd.Series(query + np.array(subcategories, dtype=object)[events["subcategory"]])
    topic = pd.Series(np.array(list(CATEGORIES), dtype=object)[events["topic"]])
    midnight = pd.Timestamp(settings.start, tz=settings.time_zone).tz_convert("UTC")
    is_page = events["event_type"].isin(["impression", "click"])
    is_sale = events["event_type"] == "purchase"
    events = events.assign(
        event_id=[f"e{number:06d}" for number in range(1, len(events) + 1)],
        user_id=world.users["user_id"].to_numpy()[events["user"]],
        item_id=world.product_features["item_id"].to_numpy()[events["item"]],
        event_time=midnight + pd.to_timedelta(events["second"], unit="s"),
        list_id=("l" + (events["list"] + 1).astype(str).str.zfill(5)).mask(is_sale),
        session_id="s" + (events["session"] + 1).astype(str).str.zfill(5),
        scene=np.where(events["is_search"], *SCENES),
        query=query.str.strip().where(events["is_search"]),
        query_category=topic.where(events["is_search"]),
        position=events["position"].astype("Int64").where(is_page),
        quantity=events["quantity"].astype("Int64"),
    )
    shown = events[events["event_type"] == "impression"]
    name_of = shown[shown["row"] >= 0].set_index("row")["event_id"]
    truth = shown.assign(duplicate_of=shown["original"].map(name_of))
    return events[_ROWS + _CONTEXT], truth[_TRUTH + _OUTCOME].reset_index(drop=True)


def write(log: SyntheticLog, folder: str | Path) -> list[Path]:
    """Write the tables and the truth as gzipped CSV, the same bytes every time.

    Args:
        log: what :func:`generate` returned.
        folder: made if it is missing; files of the same names are replaced.

    Returns:
        The files written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in _as_csv(log).items():
        path = folder / f"{name}.csv.gz"
        path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
        written.append(path)
    return written


def _as_csv(log: SyntheticLog) -> dict[str, str]:
    """Return the text of each file: commas, a header, UTF-8, empty where a value is missing."""
    texts = {}
    for table in (field.name for field in fields(log)):
        frame = getattr(log, table)
        if "event_time" in frame:
            seconds = frame["event_time"].dt.tz_localize(None).to_numpy("datetime64[s]")
            times = np.datetime_as_string(seconds, timezone="UTC")
            frame = frame.assign(event_time=times)
        texts[table] = frame.to_csv(index=False, lineterminator="\n")
    return texts


def read_truth(folder: str | Path = DATA / "sample") -> pd.DataFrame:
    """Return the planted truth that :func:`write` wrote, one row an impression.

    Args:
        folder: where ``truth.csv.gz`` is.

    Returns:
        The columns of :attr:`SyntheticLog.truth`.

    Raises:
        DataError: the folder has no ``truth.csv.gz``.

    Example:
        >>> sorted(read_truth()["noise"].unique())
        ['bot', 'duplicate', 'lost_click', 'misclick', 'none']
    """
    path = Path(folder) / "truth.csv.gz"
    if not path.exists():
        raise DataError(f"{path} is missing; only the bundled sample has a planted truth.")
    kinds: dict[Hashable, str] = {"clean_click": "int8", "observed_click": "int8"}
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=[""])


def main(arguments: list[str] | None = None, *, folder: Path = DATA / "sample") -> int:
    """Write the bundled files, or compare them with the generator; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.data.datasets.sample_log", description=main.__doc__
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true", help="compare data/sample with the seed")
    choice.add_argument("--write", action="store_true", help="make data/sample anew")
    options = parser.parse_args(arguments)
    log = generate()
    if options.write:
        size = sum(path.stat().st_size for path in write(log, folder))
        print(f"{len(log.truth)} impressions written, {size / 1e6:.2f} MB.")
        return 0
    differing = [name for name, text in _as_csv(log).items() if _unpacked(folder, name) != text]
    print(f"Differs from the generator: {', '.join(differing)}." if differing else "All equal.")
    return int(bool(differing))


def _unpacked(folder: Path, name: str) -> str | None:
    path = folder / f"{name}.csv.gz"
    return gzip.decompress(path.read_bytes()).decode() if path.exists() else None


if __name__ == "__main__":
    raise SystemExit(main())
