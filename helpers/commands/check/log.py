"""What the log holds: its days, its hours, its events, and how they spread over users."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from helpers.base.words import percent
from helpers.commands.check.finding import Finding
from helpers.data.whole_table import one_row
from helpers.schema import Task

__all__ = ["MANY", "event_counts", "period", "sizes", "times"]

#: Above so many rows, distinct values are counted approximately, and quantiles too.
MANY = 5_000_000

Facts = dict[str, Any]
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_QUARTER_US = 15 * 60 * 1_000_000  # all zones of our time lie whole quarters of an hour apart
_LONG_GAP = 7
_ONE_USER = 0.05  # more of the events than one user has
_FEW_TIMES = 200  # too few for a profile of the day
_UNUSED = 0.5


def _date(day: int) -> str:
    return str(np.datetime64(int(day), "D"))


def _day(date: str) -> int:
    return int(np.datetime64(date, "D").astype(np.int64))


def period(connection: duckdb.DuckDBPyConnection, task: Task) -> tuple[Facts, list[Finding]]:
    """Return the log's days in the task's zone, and the days between them without any event.

    Returns:
        ``first``, ``last`` (ISO dates), ``days`` (all from first to last), ``empty_days``,
        ``longest_gap`` (days in a row), ``gap_from`` and ``gap_to`` (its first and last day),
        ``weekday`` (the one that most empty days are, or empty), ``before_split`` and
        ``after_split`` (events that lie outside the stated dates); and what to look at.
    """
    rows = connection.execute(
        "SELECT day, count(*) FROM user_behavior GROUP BY day ORDER BY day"
    ).fetchnumpy()
    days, counts = (np.asarray(v, dtype=np.int64) for v in rows.values())
    steps = np.diff(days)
    longest = int(steps.argmax()) if len(steps) else 0
    gap = int(steps[longest]) - 1 if len(steps) else 0
    empty = np.setdiff1d(np.arange(days[0], days[-1] + 1), days)
    before = counts[days < _day(task.train_from)].sum() if task.train_from else 0
    after = counts[days >= _day(task.end)].sum() if task.end else 0
    facts = {
        "time_zone": task.time_zone,
        "first": _date(days[0]),
        "last": _date(days[-1]),
        "days": int(days[-1] - days[0] + 1),
        "empty_days": len(empty),
        "longest_gap": gap,
        "gap_from": _date(days[longest] + 1) if gap else "",
        "gap_to": _date(days[longest + 1] - 1) if gap else "",
        "weekday": _weekday(empty),
        "before_split": int(before),
        "after_split": int(after),
    }
    return facts, _period_findings(facts, (before + after) / counts.sum())


def _weekday(empty: np.ndarray) -> str:
    """Return the day of the week that most of the empty days are; empty where none stands out."""
    if len(empty) < 4:
        return ""
    counts = np.bincount((empty - 4) % 7, minlength=7)  # 1970-01-01 was a Thursday
    return _DAYS[counts.argmax()] if counts.max() > 0.6 * len(empty) else ""


def _period_findings(facts: Facts, outside: float) -> list[Finding]:
    found = []
    if facts["longest_gap"] >= _LONG_GAP:
        text = (
            f"There is no event for {facts['longest_gap']} days, from {facts['gap_from']} to "
            f"{facts['gap_to']}. Was the shop closed, or is a part of the log missing?"
        )
        found.append(Finding("period", f"a gap of {facts['longest_gap']} days", text))
    if outside > _UNUSED:
        text = (
            f"{percent(outside)} of the events lie before task.split.train_from or from "
            "task.split.end on, so they become no samples. Look at these dates in schema.yaml."
        )
        found.append(Finding("period", "most events outside the stated split", text))
    return found


def event_counts(connection: duckdb.DuckDBPyConnection) -> list[Facts]:
    """Return for each event type its events, users, items, first and last day; most first."""
    rows = one_row(connection, "SELECT count(*) FROM user_behavior")[0]
    distinct = "approx_count_distinct({})" if rows > MANY else "count(DISTINCT {})"
    query = (
        f"SELECT event_type, count(*) AS events, {distinct.format('user_id')} AS users, "
        f"{distinct.format('item_id')} AS items, min(day), max(day) FROM user_behavior "
        "GROUP BY event_type ORDER BY events DESC, event_type"
    )
    return [
        {
            "event_type": kind,
            "events": events,
            "share": events / rows,
            "users": users,
            "items": items,
            "first": _date(first),
            "last": _date(last),
        }
        for kind, events, users, items, first, last in connection.execute(query).fetchall()
    ]


def sizes(connection: duckdb.DuckDBPyConnection) -> tuple[Facts, list[Finding]]:
    """Return how many users and items there are, and quantiles of the events that each has.

    Returns:
        ``users`` and ``items``: each ``count``, ``median``, ``p90``, ``p99``, ``largest`` (of
        its events), ``once`` (share with a single event) and ``largest_share`` (of all
        events); and what to look at.
    """
    facts = {}
    for name, column in (("users", "user_id"), ("items", "item_id")):
        count, median, p90, p99, largest, once, total = one_row(
            connection,
            "SELECT count(*), quantile_disc(n, 0.5), quantile_disc(n, 0.9), "
            "quantile_disc(n, 0.99), max(n), count(*) FILTER (n = 1), sum(n) "
            f"FROM (SELECT count(*) AS n FROM user_behavior GROUP BY {column})",
        )
        facts[name] = {
            "count": count,
            "median": median,
            "p90": p90,
            "p99": p99,
            "largest": largest,
            "once": once / count,
            "largest_share": float(largest / total),
        }
    users, found = facts["users"], []
    if users["count"] > 1 / _ONE_USER and users["largest_share"] > _ONE_USER:
        text = (
            f"One user has {percent(users['largest_share'])} of all events. A robot, or a name "
            "that stands for all unknown users? Then leave it out by user_behavior.leave_out."
        )
        found.append(Finding("events", "one user with very many events", text))
    return facts, found


def times(connection: duckdb.DuckDBPyConnection, task: Task) -> tuple[Facts, list[Finding]]:
    """Return how the events lie in the day, by the clock of the task's zone.

    Returns:
        ``midnight`` (share of the events at exactly 00:00:00), ``hours`` (24 counts of the
        others), ``busiest`` and ``quietest`` (hour, or None where there are too few),
        ``night_share`` (00:00 to 05:59) and ``future`` (events after now); and what to look
        at.
    """
    now = int(datetime.now(UTC).timestamp() * 1e6)
    frame = connection.execute(
        f"SELECT event_type, epoch_us(event_time) // {_QUARTER_US} AS quarter, count(*) AS events, "
        f"count(*) FILTER (epoch_us(event_time) % {_QUARTER_US} = 0) AS exact, "
        f"count(*) FILTER (epoch_us(event_time) > {now}) AS future "
        "FROM user_behavior GROUP BY ALL"
    ).df()
    begins = pd.to_datetime(frame["quarter"] * _QUARTER_US, unit="us", utc=True)
    local = begins.dt.tz_convert(task.time_zone)
    starts_day = (local.dt.hour == 0) & (local.dt.minute == 0)
    frame["midnight"] = frame["exact"].where(starts_day, 0)
    frame["timed"] = frame["events"] - frame["midnight"]
    hours = frame["timed"].groupby(local.dt.hour).sum().reindex(range(24), fill_value=0).to_numpy()
    facts = {
        "midnight": float(frame["midnight"].sum() / frame["events"].sum()),
        "hours": [int(h) for h in hours],
        "future": int(frame["future"].sum()),
        **_profile(hours),
    }
    by_type = frame.groupby("event_type")[["midnight", "events"]].sum()
    at_midnight = by_type["midnight"] / by_type["events"]
    return facts, [*_date_findings(at_midnight, task), *_night_findings(facts, task)]


def _profile(hours: np.ndarray) -> Facts:
    """Return the fullest hour, and the middle of the five that are emptiest together."""
    if hours.sum() < _FEW_TIMES:
        return {"busiest": None, "quietest": None, "night_share": float("nan")}
    quiet = np.sum([np.roll(hours, shift) for shift in range(-2, 3)], axis=0)
    ties = np.flatnonzero(quiet == quiet.min())
    return {
        "busiest": int(hours.argmax()),
        # Where nothing happens for long, the middle of the night will do as well as any.
        "quietest": int(ties[np.abs(ties - 4).argmin()]),
        "night_share": float(hours[:6].sum() / hours.sum()),
    }


def _date_findings(at_midnight: pd.Series, task: Task) -> list[Finding]:
    dated = [t for t in at_midnight.index if at_midnight[t] > 0.9]
    asked = {*task.positive} if task.negatives else {"impression", *task.positive}
    if task.negatives or task.within in ("period", "0s") or not asked & {*dated}:
        return []
    text = (
        f"The events of type {' and '.join(t for t in dated if t in asked)} are dates without a "
        f"time of day (00:00:00), so the window task.label.within: {task.within} cannot be "
        "measured. State `within: period`, or map the column that holds the time."
    )
    return [Finding("times", "dates without a time of day", text)]


def _night_findings(facts: Facts, task: Task) -> list[Finding]:
    busiest, quietest = facts["busiest"], facts["quietest"]
    if busiest is None:
        return []
    hours = np.array(facts["hours"]) / sum(facts["hours"])
    at_night = busiest < 6 and facts["night_share"] > 0.35  # 0.25 where all hours are alike
    still = hours[(quietest + np.arange(-2, 3)) % 24].sum()
    awake = hours[2:7].sum()  # the same five hours around 04:00
    by_day = 9 <= quietest <= 18 and still < 0.07 and awake > 2 * still
    if not at_night and not by_day:
        return []
    text = (
        f"The busiest hour is {busiest:02d}:00 and the quietest {quietest:02d}:00 in "
        f"{task.time_zone}. People sleep at night, so the time zone is probably wrong: look at "
        "time_zone of user_behavior (of the times as written) and of task (where days begin)."
    )
    return [Finding("times", "the time zone looks wrong", text)]
