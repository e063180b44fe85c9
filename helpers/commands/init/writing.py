"""The draft as text: YAML that is valid as it stands, and comments that say what to check."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import yaml

from helpers.base.words import listed, percent
from helpers.commands.init.plan import Draft, LogPart, TaskDraft
from helpers.commands.init.roles import LONGEST_NAME, Facts, Guess
from helpers.schema import canonical_tables

__all__ = ["write_plan"]

_SHOWN = 60  # columns and files that are told one by one
_KEPT = 200  # attributes that a draft lists
_FEW = 60  # different values of an attribute that is worth keeping
_HEAD = """\
# A first draft, written after a look at {what}.
# Lines with "please check" are guesses, and say why.
{todo}# When they are right, run
#   python -m helpers check --source {source}
# Shares are of the rows looked at. No value of a person stands in this file.
"""


def write_plan(plan: Draft, *, server: bool) -> str:
    """Return the text of a ``schema.yaml``.

    Args:
        plan: what the tables seem to be.
        server: they are tables of a server, not files.
    """
    body = "\n".join(
        [*_log_section(plan), *_products_section(plan), *_users_section(plan), *_task(plan.task)]
    )
    names = [f"#   {_comment(name)}: {_comment(why)}" for name, why in plan.unused.items()]
    unused = "\n".join(["#\n# Not used:", *_cut(names, "files or tables"), ""]) if names else ""
    todo = '# Lines with "FILL IN" need you first.\n' if "# FILL IN" in body else ""
    what, source = ("your server", "mysql") if server else ("your files", "csv --path FOLDER")
    head = _HEAD.format(what=what, todo=todo, source=source)
    return f"{head}{unused}\n{body}\n"


# --- small pieces --------------------------------------------------------------------------


def _scalar(value: object) -> str:
    """Return a value as YAML, plain where that says the same."""
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[^\W\d_][\w .º/-]*(?<! )", value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _list(values: Iterable[object]) -> str:
    return f"[{', '.join(map(_scalar, values))}]"


def _one_or_list(values: tuple[str, ...]) -> str:
    return _scalar(values[0]) if len(values) == 1 else _list(values)


def _comment(text: str) -> str:
    """Return text that stays within its line."""
    shown = " ".join(str(text).split())
    return shown if len(shown) <= 120 else f"{shown[:117]}..."


def _cut(lines: list[str], what: str) -> list[str]:
    """Return the first lines of comments, and how many more there are."""
    more = [f"#   ... and {len(lines) - _SHOWN:,} more {what}"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]


def _check(doubt: str) -> str:
    return f"  # please check: {_comment(doubt)}" if doubt else ""


def _described(facts: Facts) -> str:
    return f"{_comment(facts.name)}: {facts.kind}, {percent(facts.missing, digits=0)} missing"


def _place(guess: Guess) -> Iterator[str]:
    """Yield where a table is stored, and how it is written."""
    look = guess.look
    if not look.files:
        yield f"table: {_scalar(look.name)}  # about {look.rows:,} rows"
    else:
        yield f"file: {_one_or_list(look.files)}  # about {look.rows:,} rows"
    if look.encoding != "utf-8":
        yield f"encoding: {look.encoding}"
    if look.delimiter != ",":
        yield f"delimiter: {json.dumps(look.delimiter)}"
    if look.decimal != ".":
        yield f'decimal: "{look.decimal}"'
    for note in look.notes:
        yield f"# please check: {_comment(note)}"


def _indent(lines: Iterable[str], by: str) -> list[str]:
    return [by + line if line else line for line in lines]


# --- the log -------------------------------------------------------------------------------


def _log_section(plan: Draft) -> list[str]:
    if len(plan.logs) == 1:
        return ["user_behavior:", *_indent(_log_part(plan.logs[0], plan), "  "), ""]
    lines = ["user_behavior:"]
    for part in plan.logs:
        first, *rest = _log_part(part, plan)
        lines += [f"  - {first}", *_indent(rest, "    ")]
    return [*lines, ""]


def _log_part(part: LogPart, plan: Draft) -> Iterator[str]:
    guess = part.guess
    yield from _place(guess)
    yield from _time_lines(guess)
    if part.event:
        yield f"event_type: {part.event}  # {part.reason}"
    if _is_canonical(part):
        yield "# The columns carry the canonical names; the others are kept as context."
        yield from _cut([f"#   {_described(facts)}" for facts in guess.free], "columns")
    else:
        yield "columns:" if part.columns else "columns: {}"
        yield from _indent(_columns(part.columns, guess.doubts), "  ")
        yield from _missing_roles(guess)
        yield from _free_columns(part, plan)
    if part.values:
        doubt = guess.doubts.get("event_type", "")
        yield "values:"
        pairs = ", ".join(f"{_scalar(old)}: {new}" for old, new in part.values.items())
        yield f"  event_type: {{{pairs}}}{_check(doubt)}"
    if part.rules:
        yield "leave_out:  # rows that are no events; they are counted, and are no faults"
    for rule in part.rules:
        value = _list(rule.value) if isinstance(rule.value, tuple) else _scalar(rule.value)
        check = "" if rule.sure else "please check: "
        yield (
            f"  - {{column: {_scalar(rule.column)}, {rule.test}: {value}}}"
            f"  # {check}{rule.why} ({percent(rule.share, digits=0)})"
        )


def _time_lines(guess: Guess) -> Iterator[str]:
    clock = guess.clock
    if clock is None or "event_time" not in guess.columns:
        return
    if clock.text != "ISO 8601":
        yield f"time_format: {_scalar(clock.text)}{_check(clock.doubt)}"
    if clock.utc:
        yield "time_zone: UTC  # the times say so"


def _is_canonical(part: LogPart) -> bool:
    """Whether every column that has a role already carries the role's name."""
    own = all(names == (column,) for column, names in part.columns.items())
    known = canonical_tables()["user_behavior"].columns
    stray = any(f.name in known and f.name not in part.columns for f in part.guess.facts.values())
    return own and not stray and part.guess.is_log and len(part.columns) > 3


def _columns(columns: dict[str, tuple[str, ...]], doubts: dict[str, str]) -> Iterator[str]:
    order = [c for table in canonical_tables().values() for c in table.columns]
    for column in sorted(columns, key=lambda c: order.index(c) if c in order else len(order)):
        yield f"{column}: {_one_or_list(columns[column])}{_check(doubts.get(column, ''))}"


def _missing_roles(guess: Guess) -> Iterator[str]:
    what = {
        "user_id": "who did it",
        "item_id": "which product it was about",
        "event_time": "when it happened",
    }
    free = listed([facts.name for facts in guess.free], most=_SHOWN) or "none"
    free = " ".join(free.split())
    for column, meaning in what.items():
        if column not in guess.columns:
            yield f"  # FILL IN {column}: name the column that says {meaning}; free columns: {free}"


def _free_columns(part: LogPart, plan: Draft) -> Iterator[str]:
    """Yield comments on the columns that have no role."""
    used = {name for names in part.columns.values() for name in names}
    free = [facts for name, facts in part.guess.facts.items() if name not in used]
    if not free:
        return
    yield "# Columns without a role:"
    derived = {*plan.attributes[:_KEPT], *plan.titles.values()}
    lines = [f"#   {_described(f)}{'; used below' * (f.name in derived)}" for f in free]
    yield from _cut(lines, "columns")
    names = [facts.name for facts in free if facts.distinct > 1]
    if names:
        yield "# To keep some of them, where they were known when the event happened:"
        more = f"  # and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        yield f"# extra: {_list(_comment(name) for name in names[:_SHOWN])}{more}"


# --- products, users, the task -------------------------------------------------------------


def _products_section(plan: Draft) -> list[str]:
    lines = ["product_features:"]
    if plan.products:
        return [*lines, *_indent(_table("product_features", "item_id", plan.products), "  "), ""]
    items = plan.logs[0].guess.columns.get("item_id")
    if items is None:
        return [*lines, "  from: user_behavior  # FILL IN: map item_id above, and name it here", ""]
    columns = {"item_id": items, **{c: (name,) for c, name in plan.titles.items()}}
    return [
        *lines,
        "  from: user_behavior  # no table of products was found",
        "  columns:",
        *_indent(_columns(columns, {}), "    "),
        "",
    ]


def _users_section(plan: Draft) -> list[str]:
    if plan.users:
        return ["users:", *_indent(_table("users", "user_id", plan.users), "  "), ""]
    if not plan.attributes:
        return []
    user = plan.logs[0].guess.columns["user_id"]
    return [
        "users:",
        "  from: user_behavior  # no table of users was found",
        "  columns:",
        f"    user_id: {_one_or_list(user)}",
        f"  extra: {_list(plan.attributes[:_KEPT])}  # nearly always the same for one user",
        *_left(plan.attributes, "  "),
        "",
    ]


def _table(name: str, key: str, guess: Guess) -> Iterator[str]:
    """Yield the lines of a table of products or users."""
    yield from _place(guess)
    known = canonical_tables()[name].columns
    columns = {c: n for c, n in guess.columns.items() if c in known or c == key}
    free = [f for f in guess.facts.values() if (f.name,) not in columns.values()]
    yield "columns:"
    yield from _indent(_columns(columns, guess.doubts), "  ")
    few = [f for f in free if 1 < f.distinct <= _FEW and f.unique < 0.5]
    kept = [f.name for f in few if f.clock is None and len(f.name) <= LONGEST_NAME]
    if kept:
        yield f"extra: {_list(kept[:_KEPT])}"
        yield from _left(kept, "")
    named = {*kept[:_KEPT]}
    left = [f"#   {_described(facts)}" for facts in free if facts.name not in named]
    if left:
        yield "# Columns without a role:"
        yield from _cut(left, "columns")


def _left(names: list[str], indent: str) -> list[str]:
    """Return a comment on columns that would make a line too long to be read."""
    more = len(names) - _KEPT
    return [f"{indent}# please check: {more:,} more columns could be kept"] if more > 0 else []


def _task(task: TaskDraft) -> list[str]:
    zone = "in which zone do days begin?"
    if not task.zoned:
        zone = "which zone are these times in, and where do days begin?"
    lines = [
        "task:",
        *_indent(_label_lines(task), "  "),
        f"  cutoff: {task.cutoff}  # {task.why_cutoff}",
        f"  time_zone: UTC  # please check: {zone} UTC is a guess",
        f"  history: {_list(task.history)}",
    ]
    if task.period:
        lines.append(f"  # The rows looked at are from {task.period[0]} to {task.period[1]}.")
    return [
        *lines,
        "  # Shares of time make the roles, unless you choose the first day of each yourself:",
        "  # split: {train_from: ..., attribution_from: ..., valid_from: ..., test_from: ...}",
    ]


def _label_lines(task: TaskDraft) -> Iterator[str]:
    positive = _list(task.positive)
    if task.labelled:
        yield f"label: {{positive: {positive}}}  # the log says 0 or 1 for each row"
    elif task.negatives:
        yield f"label: {{positive: {positive}}}"
        yield "# The log holds what was done, not what was shown: other products are drawn."
        yield "negatives: {per_positive: 4, from: catalogue}"
    else:
        yield "# What was shown is a success where this follows, for the same user and product."
        match = _list(task.match_on)
        yield (
            f"label: {{positive: {positive}, match_on: {match}, within: 1D}}"
            "  # please check: how long may it take?"
        )
