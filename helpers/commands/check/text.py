"""An audit as text for a terminal: plain tables, at most 100 characters wide."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from helpers.base.words import percent, plural
from helpers.commands.check.finding import Finding
from helpers.data.dropped import DropKind, rows_of

__all__ = ["WIDTH", "Share", "page", "table_text", "wrapped"]

WIDTH = 100
_LINES = 60  # of one table; the rest is counted
_CELL = 44
_POINTS = 20  # to look at, of one section

Facts = dict[str, Any]
Lines = list[str]


def page(facts: Facts, findings: Sequence[Finding]) -> str:
    """Return the sections of an audit, each with what to look at behind an exclamation mark.

    Args:
        facts: as :func:`helpers.commands.check.audit` gathers them.
        findings: each is shown in its section.
    """
    sections = {
        "rows": ("Rows", _rows),
        "period": ("Period", _period),
        "events": ("Events", _events),
        "times": ("Times", _times),
        "keys": ("Columns and keys", _keys),
        "joins": ("Joins", _joins),
        "prices": ("Prices", _prices),
        "task": ("Task", _task),
        "split": ("What the time split gives", _split),
        "leakage": ("Signs of leakage", _leakage),
    }
    lines: Lines = []
    for name, (title, write) in sections.items():
        body = write(facts)
        marked = [f.text for f in findings if f.section == name]
        if not body and not marked:
            continue
        lines += [title, "-" * len(title), *body]
        for text in marked[:_POINTS]:
            lines += wrapped(text, marker="! ")
        if len(marked) > _POINTS:
            lines.append(f"! ... and {len(marked) - _POINTS:,} more points like these.")
        lines.append("")
    return "\n".join(lines)


def wrapped(text: str, *, marker: str = "") -> Lines:
    """Return a sentence in lines that fit."""
    return textwrap.wrap(text, WIDTH, initial_indent=marker, subsequent_indent=" " * len(marker))


def table_text(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Lines:
    r"""Return a table as lines: text to the left, numbers to the right.

    Example:
        >>> print("\n".join(table_text(["type", "events"], [("click", 1200), ("cart", 7)])))
        type   events
        click   1,200
        cart        7
    """
    rows = list(rows)
    shown = [[_cell(v) for v in row] for row in rows[:_LINES]]
    right = [all(not isinstance(row[i], str) for row in rows) for i in range(len(headers))]
    widths = [max(len(r[i]) for r in [list(headers), *shown]) for i in range(len(headers))]
    widths[0] = max(min(widths[0], WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)), 8)
    lines = []
    for row in [list(headers), *shown]:
        cells = [
            _cut(cell, width).rjust(width) if number else _cut(cell, width).ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    if len(rows) > _LINES:
        lines.append(f"... and {len(rows) - _LINES:,} more")
    return lines


class Share(float):
    """A share, written in percent."""


def _cell(value: Any) -> str:
    if isinstance(value, Share):
        return percent(value)
    if isinstance(value, float):
        return "-" if value != value else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return _cut(re.sub(r"[\r\n\t]+", " ", str(value)), _CELL)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _rows(facts: Facts) -> Lines:
    tables = facts["tables"]
    lines = table_text(
        ["table", "rows read", "rows kept", "columns"],
        [(n, t["read"], t["kept"], len(t["columns"])) for n, t in tables.items()],
    )
    if facts["labelled"]:
        lines += wrapped(
            "Each row came with its label: it counts as an impression, and with the label 1 as a "
            "success beside it."
        )
    if facts["dropped"]:
        reasons = sorted(facts["dropped"], key=lambda d: (d["table"], -d["rows"]))
        lines += ["", "Not kept, by reason:"]
        lines += table_text(
            ["reason", "table", "rows", "share"],
            [
                (d["reason"], d["table"], d["rows"], Share(d["rows"] / tables[d["table"]]["read"]))
                for d in reasons
            ],
        )
    return lines


def _period(facts: Facts) -> Lines:
    p = facts["period"]
    days = plural(p["days"], "day")
    first = f"{p['first']} to {p['last']}: {days} by the calendar of {p['time_zone']}."
    if not p["empty_days"]:
        first += " Each has events."
    else:
        first += f" {p['empty_days']:,} of them without any event"
        first += f" (mostly a {p['weekday']})" if p["weekday"] else ""
        first += f"; the longest gap has {plural(p['longest_gap'], 'day')}, from {p['gap_from']}."
    lines = wrapped(first)
    for name, words in (
        ("before_split", "events lie before train_from: they are history only."),
        ("after_split", "events lie on or after the stated end: they are not used."),
    ):
        if p[name]:
            lines += wrapped(f"{p[name]:,} {words}")
    return lines


def _events(facts: Facts) -> Lines:
    lines = table_text(
        ["event type", "events", "share", "users", "items", "first day", "last day"],
        [
            (
                *(e["event_type"], e["events"], Share(e["share"]), e["users"], e["items"]),
                *(e["first"], e["last"]),
            )
            for e in facts["events"]
        ],
    )
    names = ("count", "median", "p90", "p99", "largest")
    lines += ["", "Events of each user and of each item:"]
    lines += table_text(
        ["", "how many", "median", "90%", "99%", "most", "with one event"],
        [(who, *(s[n] for n in names), Share(s["once"])) for who, s in facts["sizes"].items()],
    )
    queries = facts["queries"]
    if queries:
        lines += wrapped(
            f"{percent(queries['share'])} of the events have a query: {queries['distinct']:,} "
            f"different ones, {percent(queries['once'])} of them seen a single time."
        )
    return lines


def _times(facts: Facts) -> Lines:
    t = facts["times"]
    lines = wrapped(
        f"{percent(t['midnight'])} of the events are at exactly midnight (a date without a time)."
    )
    if t["busiest"] is not None:
        lines += wrapped(
            f"Busiest hour {t['busiest']:02d}:00, quietest {t['quietest']:02d}:00 by the clock of "
            f"{facts['period']['time_zone']}; {percent(t['night_share'])} of the events between "
            "00:00 and 05:59."
        )
        highest = max(t["hours"])
        bars = "".join(" .:-=+*#"[round(7 * n / highest)] for n in t["hours"])
        lines.append(f"Events by hour, 00 to 23: [{bars}]")
    if t["future"] or facts["future_dropped"]:
        lines += wrapped(
            f"In the future: {facts['future_dropped']:,} rows were dropped, {t['future']:,} "
            "events of the coming day were kept."
        )
    return lines


def _keys(facts: Facts) -> Lines:
    rows = [
        (c["column"], name, Share(c["missing"]), c["distinct"], c["remark"])
        for name, table in facts["tables"].items()
        for c in table["columns"]
    ]
    lines = table_text(["column", "table", "missing", "values", "remark"], rows)
    lines.append("")
    for name, column in (("product_features", "item_id"), ("users", "user_id")):
        if name in facts["tables"]:
            again = rows_of(facts["dropped"], kind=DropKind.REPEAT, table=name, column=column)
            text = f"{column} names each row of {name}"
            lines += wrapped(f"{text}; {again:,} repeats were dropped." if again else f"{text}.")
    k = facts["keys"]
    lines += wrapped(
        f"{percent(k['again'])} of the events have the user, item, time and type of another, but "
        f"are no copies of it. {percent(k['match_missing'])} lack a column that the task matches "
        "on."
    )
    return lines


def _joins(facts: Facts) -> Lines:
    names = {"product_features": "items", "users": "users"}
    return (
        table_text(
            ["table", "rows", "never in the log", "events without a row", "names without a row"],
            [
                (
                    f"{j['table']} ({names[j['table']]})",
                    j["rows"],
                    Share(j["never_seen"] / j["rows"]),
                    Share(j["events_lost"]),
                    Share(j["names_lost"]),
                )
                for j in facts["joins"]
            ],
        )
        if facts["joins"]
        else []
    )


def _prices(facts: Facts) -> Lines:
    if not facts["prices"]:
        return []
    names = ("lowest", "q25", "median", "q75", "q99", "highest")
    lines = table_text(
        ["table", "known", "zero", "lowest", "25%", "median", "75%", "99%", "highest"],
        [
            (p["table"], Share(p["known"]), Share(p["zero"]), *(float(p[n]) for n in names))
            for p in facts["prices"]
        ],
    )
    for p in facts["prices"]:
        if p["negative"]:
            lines += wrapped(f"{p['negative']:,} rows of {p['table']} had a price below 0.")
    return lines


def _task(facts: Facts) -> Lines:
    t, task = facts["task"], facts["asked"]
    success = " or ".join(task["positive"])
    if "negatives" in t:
        return wrapped(
            f"A success is a {success}. The log has {t['successes']:,} of them and nothing of what "
            f"was shown: for each, {t['negatives']} other products are drawn ({t['from']})."
        )
    lines = wrapped(
        f"A success is a {success}, matched on {', '.join(task['match_on'])}, {_window(task)}."
    )
    if "impressions" in t:
        of = max(t["successes"], 1)
        rows = [
            ("exposures (impressions)", t["impressions"], Share(float("nan"))),
            (
                "  with a success in the window",
                t["matched_impressions"],
                Share(t["matched_impressions"] / max(t["impressions"], 1)),
            ),
            ("successes", t["successes"], Share(float("nan"))),
            ("  that belong to an exposure", t["matched"], Share(t["matched"] / of)),
            ("  too long after it", t["too_late"], Share(t["too_late"] / of)),
            ("  before anything was shown", t["shown_after"], Share(t["shown_after"] / of)),
            ("  of what was never shown", t["never_shown"], Share(t["never_shown"] / of)),
        ]
        lines += table_text(["", "events", "share"], rows)
    return lines


def _window(task: Facts) -> str:
    if task["within"] == "period":
        return f"up to the end of the exposure's own {task['cutoff']}"
    return f"within {task['within']} after the exposure"


def _split(facts: Facts) -> Lines:
    split = facts.get("split")
    if not split:
        return []
    lines = table_text(
        ["role", "samples", "users", "items", "positive", "share", "first day", "last day"],
        [
            (
                *(r["role"], r["samples"], r["users"], r["items"], r["positives"]),
                *(Share(r["positive_share"]), r["first_day"], r["last_day"]),
            )
            for r in split["roles"]
        ],
    )
    for d in split["lost"]:
        lines += wrapped(f"{d['rows']:,} rows became no samples. {d['reason']}.")
    for note in split["notes"]:  # whoever draws rows says there what to add to a logit
        lines += wrapped(note)
    return lines


def _leakage(facts: Facts) -> Lines:
    found = facts.get("leaks")
    if not found:
        return []
    best = ", ".join(f"{a['feature']:.60} {a['auc']:.3f}" for a in found["aucs"][:5])
    lines = wrapped(
        f"AUC on valid of single features, the best of {len(found['aucs'])}: {best}. 0.5 is "
        "guessing; above 0.95 is too good for one column."
    )
    if not found["judged"]:
        lines += wrapped("The role valid is too small to tell a leak from luck by these.")
    lines += wrapped(
        f"{percent(found['repeated_pairs'])} of the test samples have a user and item that train "
        "has together too; that is no fault."
    )
    return lines
