"""Which exposures were successes, and in which day or week they lie.

A *period* is the day or week of a sample's cutoff; it is named by its first day.
"""

from __future__ import annotations

import datetime as dt
from typing import cast

import numpy as np
import pandas as pd

from helpers.base.errors import DataError
from helpers.base.words import near_match
from helpers.samples.features import local_days
from helpers.samples.history import Ints, join_codes
from helpers.schema import Task

__all__ = ["MIN_PERIODS", "PERIOD_DAYS", "crosses", "day_number", "period_start", "succeeded"]

#: How many days a period has.
PERIOD_DAYS = {"day": 1, "week": 7}
#: Fewer periods cannot be shared out among four roles.
MIN_PERIODS = 8


def day_number(date: str | None, default: int) -> int:
    """Return the days from 1970-01-01 to a date, or the default where there is none.

    Example:
        >>> day_number("1970-02-01", 0), day_number(None, 7)
        (31, 7)
    """
    return default if date is None else int(np.datetime64(date, "D").astype(np.int64))


def period_start(day: Ints, task: Task) -> Ints:
    """Return the first day of each day's period.

    Example:
        >>> period_start(np.array([4, 10, 11]), Task(cutoff="week"))
        array([ 4,  4, 11])
    """
    # 1970-01-01 was a Thursday, so Monday is day 4 of a week counted from it.
    return day if task.cutoff == "day" else day - (day - 4) % 7


def crosses(exposures: pd.DataFrame, cutoff: Ints, ends: np.ndarray, task: Task) -> np.ndarray:
    """Mark exposures whose label window reaches into the next role.

    Args:
        exposures: exposures with their ``event_time``.
        cutoff: the first day of each exposure's period.
        ends: the day after the last of each role, in order.
        task: states the window.
    """
    own_end = ends[np.searchsorted(ends, cutoff, side="right").clip(max=len(ends) - 1)]
    if task.within == "period":
        return cutoff + PERIOD_DAYS[task.cutoff] > own_end
    last = exposures.event_time + pd.Timedelta(task.within)
    return local_days(last, task.time_zone) >= own_end


def succeeded(exposures: pd.DataFrame, events: pd.DataFrame, task: Task) -> np.ndarray:
    """Return 1 where a success that matches lies within the window, else 0.

    Args:
        exposures: exposures with ``event_time``, ``cutoff_day`` and the columns to match on.
        events: events with their ``event_type``, of which the successes are taken.
        task: states the successes, the columns to match on and the window.

    Returns:
        int8, one for each exposure.

    Raises:
        DataError: the exposures lack a column to match on, or there is no success.
    """
    for name in task.match_on:
        if name not in exposures:
            raise DataError(
                f'user_behavior: the task matches on "{name}", which the impressions do not have.'
                f"{near_match(name, exposures.columns)}"
            )
    success = events[events.event_type.isin(task.positive)]
    if success.empty:
        raise DataError(
            f"user_behavior: there is no event of type {' or '.join(task.positive)}, so every "
            "label would be 0; add them, or state task.label.positive in schema.yaml."
        )
    codes = [
        pd.factorize(pd.concat([exposures[c], success[c]], ignore_index=True))[0]
        for c in task.match_on
    ]
    keys, n = join_codes(*codes), len(exposures)
    shown, time = (_microseconds(f.event_time) for f in (exposures, success))
    found, exists = _next_success(keys[:n], shown, keys[n:], time)
    return (exists & _within(exposures, found, shown, task)).astype(np.int8)


def _next_success(
    keys: Ints, shown: Ints, success_keys: Ints, success_times: Ints
) -> tuple[Ints, np.ndarray]:
    """Return the time of each key's first success at or after it was shown, and if there is one."""
    order = np.lexsort((success_times, success_keys))
    key, time = success_keys[order], success_times[order]
    both_keys, both_times = np.append(key, keys), np.append(time, shown)
    is_exposure = np.arange(len(both_keys)) >= len(key)
    rank = np.empty(len(both_keys), dtype=np.int64)
    sorted_rows = np.lexsort((~is_exposure, both_times, both_keys))
    rank[sorted_rows] = np.cumsum(~is_exposure[sorted_rows])
    found = rank[len(key) :]
    exists = (found < len(key)) & (keys >= 0)
    found = np.minimum(found, len(key) - 1)
    return time[found], exists & (key[found] == keys)


def _microseconds(times: pd.Series) -> Ints:
    return times.dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)


def _within(exposures: pd.DataFrame, success: Ints, shown: Ints, task: Task) -> np.ndarray:
    """Mark successes (microseconds) that fall into their exposure's window."""
    if task.within != "period":
        window = cast("pd.Timedelta", pd.Timedelta(task.within))  # of a text that was checked
        return success - shown <= window // dt.timedelta(microseconds=1)
    times = pd.Series(success.astype("datetime64[us]")).dt.tz_localize("UTC")
    end = exposures.cutoff_day.to_numpy() + PERIOD_DAYS[task.cutoff]
    return local_days(times, task.time_zone) < end
