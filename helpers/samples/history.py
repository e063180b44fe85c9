"""What had happened before a moment: the only door from events to features.

Every history feature asks a :class:`History`, and every question names a
cutoff. An event on the cutoff's day or later cannot be counted, whatever the
feature does with the answer.

What is known of products is asked of *daily totals*: one row for a product and a
day holds how many events there were. They are few where events are many, and they
speak of all users, also where the events at hand are those of some.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["History", "coded", "daily_totals", "join_codes", "sorted_places"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Amounts are added as whole parts of this size. Floating sums differ in their last digits with
#: what else is in the log; whole numbers do not, so not even a digit of the future shows.
_PARTS = 2.0**24
#: An amount beyond it counts as this. It lets a window hold half a million such amounts.
_LARGEST = 2.0**50
#: Parts are added in two whole numbers, high and low, of which none can overflow.
_LOW_BITS = 31
_MAX_CODE = 2**38  # leaves room for days beside a code in 63 bits


def coded(*sides: pd.Series, sort: bool = False) -> tuple[list[Ints], pd.Index]:
    """Return the codes of each side, which are equal where the values are, and the values.

    Args:
        sides: columns of values; a missing one gets -1.
        sort: number the values in their order, else as they come.

    Example:
        >>> coded(pd.Series(["b", "a"]), pd.Series(["a", None]), sort=True)[0]
        [array([1, 0]), array([ 0, -1])]
    """
    codes, values = pd.factorize(pd.concat(sides, ignore_index=True), sort=sort)
    return np.split(codes, np.cumsum([len(side) for side in sides])[:-1]), pd.Index(values)


def join_codes(*codes: Ints) -> Ints:
    """Return one code for each combination of codes; -1 where any code is -1.

    Equal combinations get equal codes. Codes are not dense: each column's
    largest code sets its base, so all sides of a join must be passed together.

    Args:
        codes: integer arrays of one shape, missing as -1.

    Returns:
        Codes below 2**38, int64, same shape.

    Example:
        >>> join_codes(np.array([0, 1, 1]), np.array([2, 2, -1]))
        array([ 2,  5, -1])
    """
    joined = codes[0].astype(np.int64)
    missing = joined < 0
    for column in codes[1:]:
        base = int(column.max(initial=0)) + 1
        if (int(joined.max(initial=0)) + 1) * base > _MAX_CODE:
            joined = np.unique(joined, return_inverse=True)[1]
        joined = joined * base + column
        missing |= column < 0
    if joined.max(initial=0) > _MAX_CODE:
        joined = np.unique(joined, return_inverse=True)[1]
    return np.where(missing, -1, joined)


def sorted_places(keys: Ints) -> Ints:
    """Return the places of the keys in ascending order; of equal keys the first comes first.

    Args:
        keys: whole numbers of 0 or more, shape ``(m,)``.

    Example:
        >>> sorted_places(np.array([5, 2, 5, 0]))
        array([3, 1, 0, 2])
    """
    bits = max(len(keys) - 1, 0).bit_length()
    if int(keys.max(initial=0)) >> (63 - bits):
        return np.argsort(keys, kind="stable")
    # Numbers sort three times as fast as places do, so each key takes its place along.
    packed = (keys << bits) | np.arange(len(keys))
    packed.sort()
    return packed & ((1 << bits) - 1)


class History:
    """Past events by key and day, counted only before a cutoff day.

    Args:
        keys: who or what each row belongs to, shape ``(m,)``; -1 is left out.
        days: day number of each row, shape ``(m,)``.
        values: optional amounts by name, each shape ``(m,)``; NaN counts as 0. They
            are rounded to 2**-24 and limited to 2**50, and then added without error.
            Whole numbers and truth values are taken as they are.
        counts: how many events each row stands for, 1 or more; None means one each.

    Example:
        >>> past = History(np.array([7, 7, 8]), np.array([1, 3, 3]))
        >>> past.count(np.array([7, 7, 8]), np.array([3, 4, 3]))
        array([1., 2., 0.])
        >>> daily = History(np.array([7, 8]), np.array([1, 3]), counts=np.array([2, 5]))
        >>> daily.count(np.array([7, 8]), np.array([4, 4]))
        array([2., 5.])
    """

    def __init__(
        self,
        keys: Ints,
        days: Ints,
        values: dict[str, Floats] | None = None,
        *,
        counts: Ints | None = None,
    ) -> None:
        known = np.flatnonzero(keys >= 0)
        self._first_day = int(days.min(initial=0))
        self._span = int(days.max(initial=0)) - self._first_day + 2
        place = keys[known] * self._span + (days[known] - self._first_day)
        order = sorted_places(place)
        self._place = place[order]
        rows = known[order]
        self._days = days[rows]
        self._counts = None if counts is None else _running(counts[rows])
        self._sums = {name: _sums(amount[rows]) for name, amount in (values or {}).items()}

    def count(self, keys: Ints, cutoff: Ints, *, days: int | None = None) -> Floats:
        """Return how many events each key had before its cutoff.

        Args:
            keys: shape ``(n,)``; -1 gives 0.
            cutoff: day number, shape ``(n,)``; that day and later are not seen.
            days: only the last so many days before the cutoff; None for all.

        Returns:
            Counts, float64, shape ``(n,)``.
        """
        start, stop = self._slice(keys, cutoff, days)
        if self._counts is not None:
            start, stop = self._counts[start], self._counts[stop]
        return (stop - start).astype(np.float64)

    def total(self, name: str, keys: Ints, cutoff: Ints, *, days: int | None = None) -> Floats:
        """Return the sum of the named values before each cutoff; arguments as in ``count``."""
        start, stop = self._slice(keys, cutoff, days)
        parts = [part[stop] - part[start] for part in self._sums[name]]
        return _amount(*parts) if len(parts) == 2 else parts[0].astype(np.float64)

    def days_since_last(self, keys: Ints, cutoff: Ints) -> Floats:
        """Return the days from the last event to the cutoff (at least 1), NaN without one."""
        start, stop = self._slice(keys, cutoff, None)
        if not len(self._days):
            return np.full(len(keys), np.nan)
        last = self._days[np.maximum(stop - 1, 0)]
        return np.where(stop > start, cutoff - last, np.nan)

    def _slice(self, keys: Ints, cutoff: Ints, days: int | None) -> tuple[Ints, Ints]:
        """Return where each key's events before the cutoff begin and end."""
        until = np.clip(cutoff - self._first_day, 0, self._span - 1)
        oldest = self._first_day if days is None else cutoff - days
        since = np.clip(oldest - self._first_day, 0, until)
        order = np.argsort(keys * self._span + until)  # neighbours are found faster one by one
        start, stop = np.zeros((2, len(keys)), dtype=np.int64)
        for found, day in ((start, since), (stop, until)):
            found[order] = np.searchsorted(self._place, (keys * self._span + day)[order])
        return np.where(keys < 0, 0, start), np.where(keys < 0, 0, stop)


def daily_totals(events: pd.DataFrame) -> pd.DataFrame:
    """Return what happened with each product on each day.

    Args:
        events: one row per event, with ``item_id`` and ``day`` (whole number), and
            optionally ``store_id``, ``query`` and ``price``.

    Returns:
        One row for each ``item_id``, ``store_id`` and ``query`` (where the events
        have them; missing is a value of its own) and ``day``: ``events`` (how many),
        ``price`` (sum of the known prices, each rounded to 2**-24) and ``priced``
        (how many prices were known).

    Example:
        >>> events = pd.DataFrame({"item_id": ["a", "a", "b"], "day": [3, 3, 3]})
        >>> daily_totals(events.assign(price=[1.5, None, 2.0])).to_dict("list")
        {'item_id': ['a', 'b'], 'day': [3, 3], 'events': [2, 1],
         'price': [1.5, 2.0], 'priced': [1, 1]}
    """
    names = ["item_id", *(c for c in ("store_id", "query") if c in events), "day"]
    if events.empty:
        facts = {"events": np.int64, "price": np.float64, "priced": np.int64}
        return events[names].assign(**{k: np.zeros(0, dtype=v) for k, v in facts.items()})
    day = events.day.to_numpy()
    codes = [pd.factorize(events[c], use_na_sentinel=False)[0] for c in names[:-1]]
    keys = join_codes(*codes, day - day.min())
    order = sorted_places(keys)
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    price = events.price.to_numpy(np.float64, na_value=np.nan) if "price" in events else None
    price = np.full(len(events), np.nan) if price is None else price[order]
    sums = [np.add.reduceat(part, first) for part in _parts(price)]
    totals = events[names].iloc[order[first]].reset_index(drop=True)
    return totals.assign(
        events=np.diff(first, append=len(order)),
        price=_amount(*sums),
        priced=np.add.reduceat((~np.isnan(price)).astype(np.int64), first),
    )


def _sums(amounts: npt.NDArray[Any]) -> tuple[Ints, ...]:
    """Return the running sums of amounts, of whole numbers as one, else as high and low parts."""
    whole = not np.issubdtype(amounts.dtype, np.floating)
    return (_running(amounts),) if whole else tuple(map(_running, _parts(amounts)))


def _parts(amounts: Floats) -> tuple[Ints, Ints]:
    """Return amounts as whole parts of 2**-24: ``high * 2**31 + low``, low not negative."""
    limited = np.clip(np.nan_to_num(amounts.astype(np.float64)), -_LARGEST, _LARGEST)
    parts = np.rint(limited * _PARTS)
    high = np.floor(parts / 2.0**_LOW_BITS)
    return high.astype(np.int64), (parts - high * 2.0**_LOW_BITS).astype(np.int64)


def _amount(high: Ints, low: Ints) -> Floats:
    """Return the amount that whole parts stand for, rounded once, to the nearest float64."""
    high = high + (low >> _LOW_BITS)
    low = low & (2**_LOW_BITS - 1)
    return (high.astype(np.float64) * 2.0**_LOW_BITS + low) / _PARTS


def _running(values: Ints) -> Ints:
    """Return the sums of all values up to each place."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(values, dtype=np.int64)])
