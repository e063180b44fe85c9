"""How the task's successes fit what was shown: which exposures lead to one, and which do not."""

from __future__ import annotations

import datetime as dt
from typing import Any, cast

import duckdb
import pandas as pd

from helpers.base.words import percent
from helpers.commands.check.finding import Finding
from helpers.data.staging import Staged
from helpers.data.whole_table import name_sql, text_sql
from helpers.schema import Task

__all__ = ["outcome"]

Facts = dict[str, Any]
_ASTRAY = 0.5


def outcome(
    staged: Staged, connection: duckdb.DuckDBPyConnection, task: Task
) -> tuple[Facts, list[Finding]]:
    """Return how successes and exposures meet, over the whole log and before any split.

    Returns:
        ``successes``; where negatives are drawn ``negatives`` (a success) and ``from``; else
        ``impressions``, ``matched_impressions`` (with a success in the window), and of the
        successes ``never_shown`` (nothing with their key was), ``shown_after`` (only after
        them), ``too_late`` (after the window) and ``matched``; and what to look at. Nothing
        but ``successes`` where a column to match on is not there.
    """
    positive = ", ".join(text_sql(p) for p in task.positive)
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW success AS FROM user_behavior "
        f"WHERE event_type IN ({positive})"
    )
    facts: Facts = {"successes": _count(connection, "success")}
    if task.negatives:
        facts |= {"negatives": task.negatives, "from": task.negatives_from}
        return facts, []
    if not {*task.match_on} <= {*staged.columns("user_behavior")}:
        return facts, []
    facts |= _matches(connection, task)
    return facts, _findings(facts, task)


def _count(connection: duckdb.DuckDBPyConnection, table: str, where: str = "true") -> int:
    row = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
    return row[0] if row else 0


def _matches(connection: duckdb.DuckDBPyConnection, task: Task) -> Facts:
    """Match each way: an exposure to the first success after it, a success to the last before."""
    keys = [name_sql(c) for c in task.match_on]
    listed = ", ".join(keys)
    own = f"{listed}, epoch_us(event_time) AS us, day"
    shown = "user_behavior WHERE event_type = 'impression'"
    # Few exposures lead to anything: only those whose key has a success can match. A missing
    # value equals nothing in a join.
    connection.execute(f"CREATE OR REPLACE TEMP TABLE taken AS SELECT {own} FROM success")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE near AS SELECT * FROM (SELECT {own} FROM {shown}) "
        f"SEMI JOIN (SELECT DISTINCT {listed} FROM taken) USING ({listed})"
    )
    inside = _window(task, shown="near", taken="taken")
    same = " AND ".join(f"near.{k} = taken.{k}" for k in keys)
    matched = _count(connection, f"near ASOF JOIN taken ON {same} AND near.us <= taken.us", inside)
    before = f"taken ASOF JOIN near ON {same} AND taken.us >= near.us"
    with_key = _count(connection, f"taken SEMI JOIN near USING ({listed})")
    after_one, in_window = _count(connection, before), _count(connection, before, inside)
    successes = _count(connection, "success")
    return {
        "impressions": _count(connection, "user_behavior", "event_type = 'impression'"),
        "matched_impressions": matched,
        "matched": in_window,
        "too_late": after_one - in_window,
        "shown_after": with_key - after_one,
        "never_shown": successes - with_key,
    }


def _window(task: Task, *, shown: str, taken: str) -> str:
    """Return SQL for: the success lies in the exposure's window."""
    if task.within == "period":
        day = f"{shown}.day"
        end = f"{day} + 1" if task.cutoff == "day" else f"{day} - ({day} - 4) % 7 + 7"
        return f"{taken}.day < {end}"
    window = cast("pd.Timedelta", pd.Timedelta(task.within))  # of a text that was checked
    return f"{taken}.us - {shown}.us <= {window // dt.timedelta(microseconds=1)}"


def _findings(facts: Facts, task: Task) -> list[Finding]:
    if not facts["successes"] or not facts["impressions"]:
        return []
    astray = 1 - facts["matched"] / facts["successes"]
    if astray <= _ASTRAY:
        return []
    reasons = {
        "never_shown": f"look at match_on ({', '.join(task.match_on)}), and whether all that was "
        "shown is in the log",
        "shown_after": "look at the time zones of both, and at the order of the events",
        "too_late": f"look at within ({task.within})",
    }
    most = max(reasons, key=lambda reason: facts[reason])
    text = (
        f"{percent(astray)} of the successes belong to no exposure, mostly because the product "
        f"was {most.replace('_', ' ').replace('too late', 'shown too long before')}: "
        f"{reasons[most]}."
    )
    return [Finding("task", "successes that belong to no exposure", text)]
