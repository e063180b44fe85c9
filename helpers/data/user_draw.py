"""Which users a study looks at, where a log is too large to look at all of them.

Users are drawn, never rows: whoever is drawn comes with all that they were shown and did.
What the whole log tells of a product (how often it was taken, and at what price) is added up
over *all* users, so drawing changes no feature of a user who is drawn.
"""

from __future__ import annotations

import duckdb
import pandas as pd

from helpers.data.staging import Staged
from helpers.data.whole_table import name_sql, one_row, read_frame, text_sql
from helpers.schema import Task

__all__ = ["SAMPLES", "draw_users", "frames_of", "totals_of_all_users"]

#: About how many samples are made where the person states no number of users.
SAMPLES = 300_000
#: Prices are added up in whole parts of this size, as :mod:`helpers.samples.history` does.
_PARTS = 2**24
_LARGEST = 2.0**50  # a price beyond it counts as this
_KEYS = {"user_behavior": "user_id", "product_features": "item_id", "users": "user_id"}


def draw_users(connection: duckdb.DuckDBPyConnection, task: Task, *, max_users: int | None) -> str:
    """Choose the users, into a table ``drawn (user_id)``.

    The order of users is that of a digest of their names, so it follows nothing that a user
    did, and a larger number keeps those of a smaller one.

    Args:
        connection: with a view ``user_behavior``.
        task: says what becomes a sample.
        max_users: how many; 0: all; None: as many as make about :data:`SAMPLES` samples.

    Returns:
        A sentence on who was drawn; an empty text where all were.
    """
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE counted AS
        SELECT user_id, samples, row_number() OVER (ORDER BY md5(user_id), user_id) AS place,
               sum(samples) OVER (ORDER BY md5(user_id), user_id) AS so_far
        FROM ({_samples_by_user(task)})
        """
    )
    query = "SELECT count(*), coalesce(sum(samples), 0) FROM counted"
    users, samples = one_row(connection, query)
    wanted = users if max_users in (0, None) else min(max_users, users)
    if max_users is None and samples > SAMPLES:
        query = f"SELECT count(*) FROM counted WHERE so_far <= {SAMPLES}"
        wanted = max(one_row(connection, query)[0], min(users, 2))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE drawn AS SELECT user_id FROM counted WHERE place <= {wanted}"
    )
    if wanted == users:
        return ""
    asked = "as max_users says" if max_users else f"for about {SAMPLES:,} samples; see max_users"
    return (
        f"Drawn: {wanted:,} of {users:,} users, with all of their events ({asked}). What is known "
        "of a product is counted over all users."
    )


def _samples_by_user(task: Task) -> str:
    """Return SQL for about how many samples each user will have."""
    days = [f"day >= {_day(task.train_from)}"] if task.train_from else []
    days += [f"day < {_day(task.end)}"] if task.end else []
    if not task.negatives:
        where = " AND ".join(["event_type = 'impression'", *days])
        return f"SELECT user_id, count(*) AS samples FROM user_behavior WHERE {where} GROUP BY ALL"
    positive = ", ".join(text_sql(p) for p in task.positive)
    where = " AND ".join([f"event_type IN ({positive})", *days])
    # 1970-01-01 was a Thursday, so Monday is day 4 of a week counted from it.
    period = "day" if task.cutoff == "day" else "day - ((day - 4) % 7 + 7) % 7"
    each = f"SELECT DISTINCT user_id, item_id, {period} AS period FROM user_behavior WHERE {where}"
    return f"SELECT user_id, count(*) * {1 + task.negatives} AS samples FROM ({each}) GROUP BY ALL"


def _day(date: str) -> str:
    return f"(DATE {text_sql(date)} - DATE '1970-01-01')"


def totals_of_all_users(
    connection: duckdb.DuckDBPyConnection, task: Task, *, columns: list[str]
) -> pd.DataFrame:
    """Return what all users did with each product on each day.

    Args:
        connection: with a view ``user_behavior``.
        task: its ``history`` says which events count.
        columns: of ``user_behavior``.

    Returns:
        One row for each ``item_id``, ``store_id`` and ``query`` (the last two where the log
        has them) and ``day``, sorted: ``events``, ``price`` (sum of the known prices) and
        ``priced`` (how many were known).
    """
    types = ", ".join(text_sql(t) for t in task.history)
    keys = ["item_id", *(c for c in ("store_id", "query") if c in columns), "day"]
    price = "price" if "price" in columns else "CAST(NULL AS DOUBLE)"
    limited = f"least(greatest({price}, {-_LARGEST}), {_LARGEST})"  # of a missing price: -_LARGEST
    whole = f"CAST(round_even({limited} * {_PARTS}, 0) AS HUGEINT)"
    parts = f"sum({whole}) FILTER ({price} IS NOT NULL)"
    named = ", ".join(name_sql(k) for k in keys)
    return read_frame(
        connection,
        f"""
        SELECT {named}, count(*) AS events,
               CAST(coalesce({parts}, 0) AS DOUBLE) / {_PARTS} AS price, count({price}) AS priced
        FROM user_behavior WHERE event_type IN ({types})
        GROUP BY {named} ORDER BY {named}
        """,
    )


def frames_of(
    staged: Staged, connection: duckdb.DuckDBPyConnection, *, everyone: bool
) -> dict[str, pd.DataFrame]:
    """Return the tables as frames.

    Args:
        staged: the tables.
        connection: as ``staged.database()`` yields it, after :func:`draw_users`.
        everyone: of all users, else of those drawn. Products are always all there.
    """
    frames = {}
    for table, key in _KEYS.items():
        if not staged.has(table):
            frames[table] = pd.DataFrame({key: pd.Series([], dtype="str")})
            continue
        chosen = "* EXCLUDE (day)" if table == "user_behavior" else "*"
        only = "" if everyone or key == "item_id" else " SEMI JOIN drawn USING (user_id)"
        frames[table] = read_frame(connection, f"SELECT {chosen} FROM {table}{only}")
    return frames
