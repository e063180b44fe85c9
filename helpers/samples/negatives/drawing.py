"""Exposures made of a log of successes, with products drawn beside each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.base.errors import DataError
from helpers.base.words import percent
from helpers.data.dropped import DropKind, Dropped, dropped_table
from helpers.samples.history import Ints, coded, join_codes, sorted_places
from helpers.samples.labels import MIN_PERIODS, PERIOD_DAYS, day_number, period_start
from helpers.samples.negatives.draws import NONE, Draw, Shelf, digests, mixed, ranges
from helpers.schema import Task

__all__ = ["Drawn", "draw_samples"]

_ON_SALE_DAYS = 28
_HISTORY_SHARE = 0.25  # of the successes, where no first day of training is stated


@dataclass(frozen=True)
class Drawn:
    """Exposures made from successes.

    Attributes:
        exposures: ``user_id``, ``item_id``, ``event_time`` (of the success, also for the
            products drawn beside it), ``list_id`` (one per user and period, and per
            store where stores are matched on), ``store_id`` where it is matched on,
            ``cutoff_day`` and ``label``; sorted.
        notes: sentences on what was drawn.
        logit_offset: add it to a logit to speak of all products on sale; 0 where there is
            no such number.
        dropped: successes that could not be used: ``table, kind, column, reason, rows``.
    """

    exposures: pd.DataFrame
    notes: list[str]
    logit_offset: float
    dropped: pd.DataFrame


def draw_samples(
    events: pd.DataFrame, totals: pd.DataFrame, task: Task, *, end: int, seed: int = 0
) -> Drawn:
    """Draw ``task.negatives`` other products for each success.

    A success is the first event of a type in ``task.positive`` of a user with a product
    in a period (and store, where ``task.match_on`` names it). Others are drawn from

    - ``catalogue``: evenly from all products on sale, which are those with an event by
      anybody in the period or in the 28 days before it. A success whose product would
      not be among them but for the user's own events in the period is left out: a
      product without a past would else be a sign of success.
    - ``popular``: in proportion to everybody's events in the period. Events before it
      must not count: being drawn would be a sign of a busy past.

    A product that the user took in the period is never drawn.

    Args:
        events: the countable events of the users that samples are made of, with ``day``.
        totals: daily totals of all users' countable events.
        task: the task, whose ``negatives`` is above 0.
        end: the first day that is no longer used.
        seed: starts the random draws; equal seeds draw equal products.

    Returns:
        The successes and the products beside them, what was left out, and notes on both.

    Raises:
        DataError: the log holds no success, the task does not fit a log of successes, or
            there is no store to match on.

    Example:
        Training starts on day 7, so what the users buy on day 3 is history only. On day 9 user
        u buys ``c``, which nobody else has bought, so this success is left out. User v buys
        ``a``, and beside it stands one other product, ``b`` or ``c``.

        >>> from helpers.samples.history import daily_totals
        >>> log = pd.DataFrame({"user_id": [*"uvuv"], "item_id": [*"abca"], "day": [3, 3, 9, 9]})
        >>> log["event_time"] = pd.to_datetime(log.day, unit="D", utc=True)
        >>> log["event_type"] = "purchase"
        >>> task = Task(positive=("purchase",), negatives=1, train_from="1970-01-08")
        >>> drawn = draw_samples(log, daily_totals(log), task, end=99_999)
        >>> drawn.exposures[["user_id", "label"]].values.tolist(), drawn.dropped["rows"].tolist()
        ([['v', 1], ['v', 0]], [1])
    """
    _check(task)
    taken, lost = _taken(events, task)
    start = _first_period(taken.period.to_numpy(), task)
    used = taken.period.between(start, end - 1)
    pool = _Pool(taken[used].reset_index(drop=True), totals, task, seed)
    parts = [pool.draw_period(period) for period in np.unique(pool.period)]
    parts = parts or [(NONE, NONE, NONE)]  # without any period there is nothing to join
    kept, beside, item = (np.concatenate(part) for part in zip(*parts, strict=True))
    alone = "success: no other event with its product in 28 days tells that it was on sale"
    dropped = [
        Dropped("user_behavior", DropKind.NO_STORE, "store_id", "success: store_id is empty", lost),
        Dropped("user_behavior", DropKind.ALONE, "", alone, len(pool.period) - len(kept)),
    ]
    counts = {
        "positives": len(kept),
        "negatives": len(item),
        "open": pool.open,
        "short": pool.short,
        "lists": pool.n_lists,
        "before": int((taken.period < start).sum()),
        "start": start,
    }
    offset = 0.0
    # Drawing evenly keeps the share len(item) / pool.open of all products that could have been
    # drawn, and every success. So the odds of a success in the sample are those on sale divided
    # by that share, and the share's logarithm added to a logit takes this back.
    if task.negatives_from == "catalogue" and len(item):
        offset = float(np.log(len(item) / pool.open))
    return Drawn(
        pool.exposures(kept, beside, item),
        _notes(counts, offset, task),
        offset,
        dropped_table(each for each in dropped if each.rows),
    )


def _check(task: Task) -> None:
    """Refuse a task that a log of successes cannot have."""
    missing = [name for name in task.positive if name not in task.history]
    if missing:
        raise DataError(
            f"task.history must hold {' and '.join(missing)}, as task.positive does: in a log of "
            "successes they tell which products were on sale. Add it to task.history."
        )
    fitting = {"user_id", "item_id"} <= {*task.match_on} <= {"user_id", "item_id", "store_id"}
    if not fitting:
        raise DataError(
            "With task.negatives, task.match_on must be user_id and item_id, and may hold "
            f"store_id; got {', '.join(task.match_on)}."
        )


def _taken(events: pd.DataFrame, task: Task) -> tuple[pd.DataFrame, int]:
    """Return the first success of each user, product, period and store, and how many lack one.

    The column ``own`` says how many events, of any type, the user had with the product in that
    period and store.
    """
    keys = ["user_id", "item_id", *(["store_id"] if "store_id" in task.match_on else [])]
    if keys[-1] not in events:
        raise DataError(
            'user_behavior: the task matches on "store_id", which the log does not have; map it, '
            "or leave it out of task.match_on."
        )
    success = events.event_type.isin(task.positive).to_numpy()
    if not success.any():
        raise DataError(
            f"user_behavior: there is no event of type {' or '.join(task.positive)}, so there is "
            "nothing to learn from; add them, or state task.label.positive in schema.yaml."
        )
    period = period_start(events.day.to_numpy(), task)
    codes = [pd.factorize(events[key])[0] for key in keys]
    places = join_codes(*codes, period - period.min())
    known, own = np.unique(places, return_counts=True)
    # A key that is missing, such as an empty store, has no place: places below 0 are left out.
    rows = np.flatnonzero(success & (places >= 0))
    taken = (
        events[[*keys, "event_time"]]
        .iloc[rows]
        .assign(period=period[rows], own=own[np.searchsorted(known, places[rows])])
    )
    taken = taken.sort_values(["event_time", *keys], kind="stable")
    taken = taken.drop_duplicates([*keys, "period"], ignore_index=True)
    return taken, int(success.sum()) - len(rows)


def _first_period(period: Ints, task: Task) -> int:
    """Return the first period that gives samples; those before it give history only."""
    if task.train_from is not None:
        return day_number(task.train_from, 0)
    rows = np.sort(period[period < day_number(task.attribution_from, 2**62)])
    periods = np.unique(rows)
    if len(periods) <= MIN_PERIODS:
        return int(periods[0]) if len(periods) else 0
    place = np.searchsorted(periods, rows[int(len(rows) * _HISTORY_SHARE)])
    return int(periods[np.clip(place, 1, len(periods) - MIN_PERIODS)])


class _Pool:
    """Successes and daily totals as numbers, from which each period is drawn."""

    def __init__(self, taken: pd.DataFrame, totals: pd.DataFrame, task: Task, seed: int) -> None:
        self.taken, self.task = taken, task
        self.period, self.own = taken.period.to_numpy(), taken.own.to_numpy()
        (self.item, total_item), self.items = coded(taken.item_id, totals.item_id, sort=True)
        self.store, total_store = np.zeros(len(taken), np.int64), np.zeros(len(totals), np.int64)
        self.user, users = pd.factorize(taken.user_id)
        of_list = mixed(digests(pd.Index(users))[self.user], self.period.astype(np.uint64))
        if "store_id" in taken:
            (self.store, total_store), _ = coded(taken.store_id, totals.store_id, sort=True)
            of_list = mixed(of_list, digests(taken.store_id))
        self._fill_shelves(total_store, total_item, totals)
        self._item_digest = digests(self.items)
        self.list_id = (of_list >> np.uint64(1)).astype(np.int64)
        self._base = mixed(of_list, np.uint64(seed & (2**64 - 1)))
        self.lists = join_codes(self.user, self.store, self.period - self.period.min(initial=0))
        self.open = self.short = self.n_lists = 0
        order = np.argsort(self.period, kind="stable")
        self._rows = order, self.period[order]

    def _fill_shelves(self, store: Ints, item: Ints, totals: pd.DataFrame) -> None:
        """Remember which products had events in which store on which day."""
        day = totals.day.to_numpy()
        order = sorted_places(day - day.min(initial=0))
        order = order[(store >= 0)[order]]
        self._day = day[order]
        self._events = totals.events.to_numpy()[order]
        self._place, self._places = pd.factorize(
            store[order] * len(self.items) + item[order], sort=True
        )

    def on_sale(self, period: int) -> tuple[Ints, Ints]:
        """Return what may be drawn, as ``store * items + item``, sorted, and its events."""
        before = _ON_SALE_DAYS if self.task.negatives_from == "catalogue" else 0
        stop = period + PERIOD_DAYS[self.task.cutoff]
        window = slice(*np.searchsorted(self._day, [period - before, stop]))
        events = np.bincount(self._place[window], self._events[window], minlength=len(self._places))
        found = np.flatnonzero(events)
        return self._places[found], events[found].astype(np.int64)

    def draw_period(self, period: int) -> tuple[Ints, Ints, Ints]:
        """Return the successes that are kept; and for each product drawn its success and itself."""
        rows = self._rows[0][slice(*np.searchsorted(self._rows[1], [period, period + 1]))]
        taken, (places, events) = rows, self.on_sale(period)
        if self.task.negatives_from == "catalogue":
            found = np.searchsorted(places, self.store[rows] * len(self.items) + self.item[rows])
            # On sale by its user's own events alone: left out, as draw_samples explains.
            rows = rows[events[found] > self.own[rows]]
        own, lists = np.unique(self.lists[rows], return_inverse=True)
        order = np.lexsort((rows, lists))  # rows are in time order
        rows, lists = rows[order], lists[order]
        first = np.searchsorted(lists, np.arange(len(own)))
        shelf = Shelf(places, events, len(self.items), self.store[rows[first]])
        forbidden = self._taken_by(self.user[rows[first]], taken)
        # Of what stands on a list's shelf, all that its user took cannot be drawn.
        gone = np.bincount(forbidden[0], shelf.holds(*forbidden), minlength=len(own))
        open_ = shelf.sizes - gone.astype(np.int64)
        wanted = np.bincount(lists, minlength=len(own)) * self.task.negatives
        self._count(open_, wanted)
        # A success's place in its list. Where products run short, the first successes of a list
        # get all they want and the later ones what is left: of 5 open products and 2 wanted per
        # success, three successes get 2, 2 and 1.
        place = np.arange(len(rows)) - first[lists]
        draw = Draw(
            shelf,
            lists,
            np.clip(open_[lists] - place * self.task.negatives, 0, self.task.negatives),
            mixed(self._base[rows], self._item_digest[self.item[rows]]),
            forbidden[0] * len(self.items) + forbidden[1],
            popular=self.task.negatives_from == "popular",
        )
        # Where at most half of the open products are wanted, drawing again after a miss is
        # quick. The other lists are ranked by chance as a whole.
        draw.one_by_one(wanted * 2 <= open_)
        draw.from_full_lists(self._base[rows[first]], self._item_digest)
        return rows, rows[draw.row], draw.item

    def _count(self, open_: Ints, wanted: Ints) -> None:
        self.open += int(open_.sum())
        self.short += int((open_ < wanted).sum())
        self.n_lists += len(open_)

    def _taken_by(self, list_user: Ints, rows: Ints) -> tuple[Ints, Ints]:
        """Return the pairs of a list and a product that its user took, in whatever store."""
        by_user = np.argsort(self.user[rows], kind="stable")
        users, items = self.user[rows][by_user], self.item[rows][by_user]
        start, stop = (np.searchsorted(users, list_user, side=s) for s in ("left", "right"))
        lists = np.repeat(np.arange(len(list_user)), stop - start)
        pairs = np.unique(lists * len(self.items) + items[ranges(start, stop)])
        return np.divmod(pairs, len(self.items))

    def exposures(self, kept: Ints, beside: Ints, item: Ints) -> pd.DataFrame:
        """Return successes and drawn products as exposures, in a fixed order."""
        rows = np.append(kept, beside)
        both = self.taken.iloc[rows].reset_index(drop=True).drop(columns="own")
        both["item_id"] = self.items[np.append(self.item[kept], item)]
        both.insert(3, "list_id", self.list_id[rows])
        both["label"] = np.repeat(np.array([1, 0], np.int8), [len(kept), len(item)])
        order = ["event_time", "user_id", "list_id", "item_id"]
        both = both.rename(columns={"period": "cutoff_day"})
        return both.sort_values(order, kind="stable", ignore_index=True)


def _notes(counts: dict[str, int], offset: float, task: Task) -> list[str]:
    positives, negatives = counts["positives"], counts["negatives"]
    what, period = " or ".join(task.positive), task.cutoff
    where = " in a store" if "store_id" in task.match_on else ""
    how = f"evenly from those{where and ' of that store'} with an event by anybody in that "
    how += f"{period} or the {_ON_SALE_DAYS} days before"
    if task.negatives_from == "popular":
        how = f"in proportion to everybody's events{where} in that {period}"
    notes = [
        f"The log holds successes only. Positive: {positives:,} times a user's first {what} of a "
        f"product in a {period}{where}. For each, {task.negatives} other products were drawn, "
        f"{negatives:,} in all, {how}; never one that the user took in that {period}.",
    ]
    if task.negatives_from == "popular":
        notes.append(
            "As popular products are drawn more often, probabilities have no correction: they "
            "speak of the sample, not of all products on sale."
        )
    elif negatives:
        notes.append(
            f"In these {counts['lists']:,} lists "
            f"{percent(positives / (positives + counts['open']), digits=2)} of all products on "
            f"sale were taken, in the sample {percent(positives / (positives + negatives))}: add "
            f"{offset:.2f} to a logit to speak of all products on sale."
        )
    if counts["short"]:
        notes.append(
            f"{counts['short']:,} of {counts['lists']:,} lists had fewer other products on sale "
            "than wanted; all of these were taken."
        )
    if counts["before"]:
        notes.append(
            f"{counts['before']:,} successes before {np.datetime64(counts['start'], 'D')} give "
            "history only."
        )
    return [*notes, "Nobody recorded what the user was shown; a product not taken may be unseen."]
