"""What had happened before a moment: the only door from events to features.

Every history feature asks a :class:`History`, and every question names a
cutoff. An event on the cutoff's day or later cannot be counted, whatever the
feature does with the answer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["History", "join_codes"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Amounts are added as whole parts of this size. Floating sums differ in their last digits with
#: what else is in the log; whole numbers do not, so not even a digit of the future shows.
_PART = 2.0**-24
_MAX_CODE = 2**38  # leaves room for days beside a code in 63 bits


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


class History:
    """Past events by key and day, counted only before a cutoff day.

    Args:
        keys: who or what each event belongs to, shape ``(m,)``; -1 is left out.
        days: day number of each event, shape ``(m,)``.
        values: optional amounts by name, each shape ``(m,)``; NaN counts as 0.
            They are rounded to 2**-24, or more coarsely where all amounts
            together exceed 2**38.

    Example:
        >>> past = History(np.array([7, 7, 8]), np.array([1, 3, 3]))
        >>> past.count(np.array([7, 7, 8]), np.array([3, 4, 3]))
        array([1., 2., 0.])
    """

    def __init__(self, keys: Ints, days: Ints, values: dict[str, Floats] | None = None) -> None:
        known = np.flatnonzero(keys >= 0)
        self._first_day = int(days.min(initial=0))
        self._span = int(days.max(initial=0)) - self._first_day + 2
        place = keys[known] * self._span + (days[known] - self._first_day)
        order = np.argsort(place)
        self._place = place[order]
        self._days = days[known[order]]
        self._sums = {
            name: _running_sums(amount[known[order]]) for name, amount in (values or {}).items()
        }

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
        return (stop - start).astype(np.float64)

    def total(self, name: str, keys: Ints, cutoff: Ints, *, days: int | None = None) -> Floats:
        """Return the sum of the named values before each cutoff; arguments as in ``count``."""
        start, stop = self._slice(keys, cutoff, days)
        sums, part = self._sums[name]
        return (sums[stop] - sums[start]) * part

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
        start = np.searchsorted(self._place, keys * self._span + since)
        stop = np.searchsorted(self._place, keys * self._span + until)
        return np.where(keys < 0, 0, start), np.where(keys < 0, 0, stop)


def _running_sums(amounts: Floats) -> tuple[Ints, float]:
    """Return the sums of all amounts up to each place, in whole parts, and the part's size."""
    limited = np.clip(np.nan_to_num(amounts.astype(np.float64)), -1e200, 1e200)
    part = max(_PART, 2.0 ** (np.ceil(np.log2(np.abs(limited).sum() + 1)) - 62))
    parts = np.rint(limited / part).astype(np.int64)
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(parts)]), part
