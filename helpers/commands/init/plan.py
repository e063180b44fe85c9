"""Which table is the log, which describes products or users, and what could be predicted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from helpers.commands.init.looking import ROWS, Look
from helpers.commands.init.names import EVENTS, event_in_name, event_of
from helpers.commands.init.roles import LONGEST_NAME, Guess, guess_roles
from helpers.commands.init.rules import LeaveOutProposal, rules_of
from helpers.commands.init.times import parse_times
from helpers.data.files.stored import column_meter
from helpers.schema import canonical_tables

__all__ = ["Draft", "LogPart", "TaskDraft", "make_draft"]

_NEEDED = ("user_id", "item_id", "event_time")
_MIXED = 0.3  # a list named in fewer rows than the rest is no list of every event
_JOINS = 0.3  # share of the log's ids that a table must know to belong to it


@dataclass
class LogPart:
    """One stored table of events.

    Attributes:
        guess: what its columns seem to be.
        event: the type of event that every row is; empty where a column says it.
        reason: why every row is taken for an event of this type.
        values: the canonical event for each stored one, where the two differ.
        events: the canonical events in it.
        rules: rows to leave out.
    """

    guess: Guess
    event: str = ""
    reason: str = ""
    values: dict[str, str] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    rules: list[LeaveOutProposal] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The canonical columns of the log that it fills."""
        known = canonical_tables()["user_behavior"].columns
        kept = {c: n for c, n in self.guess.columns.items() if c in known or c == "label"}
        return {c: n for c, n in kept.items() if c != "event_type" or not self.event}


@dataclass(frozen=True)
class TaskDraft:
    """What could be predicted."""

    labelled: bool
    positive: tuple[str, ...]
    history: tuple[str, ...]
    negatives: bool
    match_on: tuple[str, ...]
    cutoff: str
    why_cutoff: str
    period: tuple[str, str] | None
    zoned: bool


@dataclass
class Draft:
    """Everything that a draft says.

    Attributes:
        logs: tables of events; the first is the largest.
        products, users: tables of their own, or None.
        titles: columns of a product, taken from the log where there is no table.
        attributes: stored columns of the log that are facts about its users.
        task: what could be predicted.
        unused: tables that are not used, and why.
    """

    logs: list[LogPart]
    products: Guess | None
    users: Guess | None
    titles: dict[str, str]
    attributes: list[str]
    task: TaskDraft
    unused: dict[str, str]


def make_draft(looks: list[Look], skipped: dict[str, str], *, progress: bool = False) -> Draft:
    """Return what the tables seem to be.

    Args:
        looks: a look at each table.
        skipped: why other files are no tables, by their names.
        progress: show a bar where there are many columns.
    """
    with column_meter(sum(look.frame.shape[1] for look in looks), "columns", progress) as bar:
        guesses = [guess_roles(look, seen=bar.update) for look in looks]
    chosen, unused = _choose_logs(guesses)
    logs = [_log_part(guess) for guess in chosen]
    taken = {id(g) for g in chosen}
    others = [g for g in guesses if id(g) not in taken and g.look.name not in unused]
    products, left = _choose_table(others, logs, "item_id", "product_features")
    users, left = _choose_table(left, logs, "user_id", "users")
    for guess in left:
        unused[guess.look.name] = "it looks neither like events nor like products or users"
    return Draft(
        logs=logs,
        products=products,
        users=users,
        titles={} if products else _titles(logs[0].guess),
        attributes=[] if users else _attributes(logs[0].guess),
        task=_plan_task(logs),
        unused=skipped | unused,
    )


# --- the log -------------------------------------------------------------------------------


def _choose_logs(guesses: list[Guess]) -> tuple[list[Guess], dict[str, str]]:
    """Return the tables of events, largest first, and why others that look alike are not used."""
    logs = sorted((g for g in guesses if g.is_log), key=lambda g: g.look.rows, reverse=True)
    logs = [g for g in logs if g.is_named] or logs
    logs.sort(key=lambda g: not _is_called(g, "user_behavior"))
    if not logs:  # the nearest to one, so that the draft can say what is missing
        return [max(guesses, key=_nearness)], {}
    telling = [g for g in logs if _tells_events(g) or event_in_name(g.look.name)]
    alone = _is_called(logs[0], "user_behavior") or not telling
    kept = logs[:1] if alone else telling
    why = "it could hold events too, but its name does not say of which type"
    there = {id(g) for g in kept}
    return kept, {g.look.name: why for g in logs if id(g) not in there}


def _is_called(guess: Guess, table: str) -> bool:
    return guess.look.name.partition(".")[0] == table


def _tells_events(guess: Guess) -> bool:
    return bool({"event_type", "label"} & set(guess.columns))


def _nearness(guess: Guess) -> tuple[bool, int, int]:
    found = sum(column in guess.columns for column in _NEEDED)
    return _is_called(guess, "user_behavior"), found, guess.look.rows


def _log_part(guess: Guess) -> LogPart:
    """Return a table of events with what happened in each row."""
    part = LogPart(guess)
    if (lists := guess.fact("list_id")) and lists.missing > _MIXED:
        del guess.columns["list_id"]
    if "label" in guess.columns:
        part.events = ("impression", _success(guess.columns["label"][0]))
    elif "event_type" in guess.columns:
        _read_events(part)
    elif event := event_in_name(guess.look.name):
        part.event, part.reason = event, "every row; the name says so"
    elif {"quantity", "list_id", "price"} & set(guess.columns):
        part.event, part.reason = "purchase", "every row; it looks like a list of sales"
    else:
        part.event = "purchase"
        part.reason = "please check: nothing says what happened; impression, click, cart?"
    flags = [facts.name for facts in guess.free if set(facts.values) == {"0", "1"}]
    if part.event and flags:
        what = f"if {flags[0]} says 0 or 1 of what was shown, it is the label"
        part.reason += f"; please check: {what}"
    part.events = part.events or (part.event,)
    part.rules += rules_of(guess)
    return part


def _success(label: str) -> str:
    """Return the event that a label of 0 and 1 speaks of."""
    joined = label.casefold()
    sold = ("purch", "buy", "bought", "conver", "order", "gekauft", "compr", "achet", "购买")
    return "purchase" if any(word in joined for word in sold) else "click"


def _read_events(part: LogPart) -> None:
    """Find the canonical event of each stored one; leave the others out."""
    facts, values = part.guess.fact("event_type"), part.guess.values("event_type")
    ranked = list(values.value_counts().index)  # most frequent first
    if part.guess.numbered_events:
        short = {2: ("impression", "purchase"), 3: ("impression", "cart", "purchase")}
        found = dict(zip(ranked, short.get(len(ranked), tuple(EVENTS)), strict=False))
    else:
        found = {value: event for value in ranked if (event := event_of(value))}
    part.values = {value: event for value, event in found.items() if value != event}
    part.events = tuple(event for event in EVENTS if event in found.values())
    unknown = tuple(value for value in ranked if value not in found)
    if unknown and facts is not None:
        share = float(values.isin(unknown).mean())
        why = "none of impression, click, cart, purchase"
        part.rules.append(LeaveOutProposal(facts.name, "one_of", unknown, share, why, sure=False))


# --- products and users --------------------------------------------------------------------


def _choose_table(
    guesses: list[Guess], logs: list[LogPart], column: str, table: str
) -> tuple[Guess | None, list[Guess]]:
    """Return the table that has one row for each id of the log, and the other tables."""
    known = set()
    for part in logs:
        if column in part.guess.columns:
            known |= set(part.guess.values(column).dropna())
    best, reached = None, (False, 0.0)
    for guess in guesses:
        share, name = _joining(guess, known)
        if share < _JOINS and _is_called(guess, table) and column in guess.columns:
            share, name = _JOINS, guess.columns[column][0]
        if share >= _JOINS and (_is_called(guess, table), share) > reached:
            best, reached = (guess, name), (_is_called(guess, table), share)
    if best is None:
        return None, guesses
    guess, name = best
    guess.columns = {c: n for c, n in guess.columns.items() if name not in n}
    guess.take(column, name)
    if reached[1] < 0.8:
        guess.doubts[column] = "many of the log's ids are not among the rows looked at"
    return guess, [g for g in guesses if g is not guess]


def _joining(guess: Guess, known: set[str]) -> tuple[float, str]:
    """Return the column of unique values that the log's ids are in most often, and how often."""
    best = (0.0, "")
    for facts in guess.facts.values():
        if facts.unique < 0.95 or not known:
            continue
        held = set(guess.look.frame[facts.name].dropna())
        common = len(known & held)
        # Of a long table only some rows were looked at: then its ids should be in the log.
        whole = guess.look.rows <= len(guess.look.frame)
        share = common / len(known) if whole else common / min(len(known), len(held))
        best = max(best, (share, facts.name), key=lambda pair: pair[0])
    return best


def _titles(log: Guess) -> dict[str, str]:
    """Return the columns of the log that say what a product is."""
    if "item_id" not in log.columns:
        return {}
    table = canonical_tables()["product_features"].columns
    names = {
        c: n[0] for c, n in log.columns.items() if c in table and c not in ("item_id", "price")
    }
    items = pd.factorize(log.values("item_id"))[0]
    return {c: n for c, n in names.items() if _steady(items, log.look.frame[n]) >= 0.8}


def _attributes(log: Guess) -> list[str]:
    """Return the columns of the log that are always the same for a user, and tell some apart."""
    if "user_id" not in log.columns:
        return []
    free = (f for f in log.free if len(f.name) <= LONGEST_NAME and f.clock is None)
    few = [f.name for f in free if 1 < f.distinct <= 60]
    users = pd.factorize(log.values("user_id"))[0]
    return [name for name in few if _steady(users, log.look.frame[name]) >= 0.95]


def _steady(ids: np.ndarray, values: pd.Series) -> float:
    """Return the share of rows whose value is the most frequent one of their id.

    Args:
        ids: a whole number for each id, -1 where there is none.
        values: text, row by row.
    """
    codes = pd.factorize(values)[0]
    both, many = (ids >= 0) & (codes >= 0), int(codes.max(initial=0)) + 1
    pairs, counts = np.unique(ids[both].astype(np.int64) * many + codes[both], return_counts=True)
    _, first = np.unique(pairs // many, return_index=True)
    if not len(first):
        return 0.0
    rows, most = np.add.reduceat(counts, first), np.maximum.reduceat(counts, first)
    several = rows > 1  # an id that came once says nothing
    return float(most[several].sum() / rows[several].sum()) if several.any() else 0.0


# --- the task ------------------------------------------------------------------------------


def _plan_task(logs: list[LogPart]) -> TaskDraft:
    events = {event for part in logs for event in part.events}
    labelled = any("label" in part.guess.columns for part in logs)
    done = tuple(event for event in ("click", "cart", "purchase") if event in events)
    shown = labelled or ("impression" in events and bool(done))
    first = done[:1] or ("click",)
    # Few carts and fewer sales: both say that the product was wanted.
    positive = ("cart", "purchase") if shown and done == ("cart", "purchase") else first
    if not shown and "purchase" in done:
        positive = ("purchase",)
    times = pd.concat([_times(part.guess) for part in logs])
    cutoff, why = (
        ("day", "what is shown on a day is judged by what was done before it")
        if shown
        else ("", "")
    )
    if not cutoff:
        cutoff, why = _cutoff(logs[0], times)
    return TaskDraft(
        labelled=labelled,
        positive=positive,
        history=done or ("click",),
        negatives=not shown,
        match_on=_match_on(logs, positive),
        cutoff=cutoff,
        why_cutoff=why,
        period=_period(times),
        zoned=all(part.guess.clock is not None and part.guess.clock.zoned for part in logs),
    )


def _match_on(logs: list[LogPart], positive: tuple[str, ...]) -> tuple[str, ...]:
    lists = [
        part.guess.fact("list_id") for part in logs if {*positive, "impression"} & {*part.events}
    ]
    everywhere = lists and all(fact is not None and fact.missing < 0.05 for fact in lists)
    return ("user_id", "item_id", "list_id") if everywhere else ("user_id", "item_id")


def _times(guess: Guess) -> pd.Series:
    if guess.clock is None or "event_time" not in guess.columns:
        return pd.Series(dtype="datetime64[us]")
    names = list(guess.columns["event_time"])
    text = guess.look.frame[names[0]]
    for name in names[1:]:
        text = text + " " + guess.look.frame[name]
    return parse_times(text, guess.clock.text).dropna().astype("datetime64[us]")


def _period(times: pd.Series) -> tuple[str, str] | None:
    """Return the first and last day of the rows looked at, without the outermost ones."""
    if times.empty:
        return None
    low, high = times.quantile([0.001, 0.999])
    return f"{low:%Y-%m-%d}", f"{high:%Y-%m-%d}"


def _cutoff(part: LogPart, times: pd.Series) -> tuple[str, str]:
    """Choose days or weeks by how often a user comes, in the head of the log."""
    if times.empty or "user_id" not in part.guess.columns:
        return "week", "please check: how often a user comes is not known"
    early, late = times.quantile([0.001, 0.999])
    weeks = (late - early).days / 7
    if weeks < 8:
        return "day", "please check: the rows looked at span less than eight weeks"
    head = part.guess.values("user_id").head(ROWS)  # rows that follow each other
    rows = pd.DataFrame({"user": head, "day": _times(part.guess).dt.floor("D")}).dropna()
    rows["week"] = rows["day"] - pd.to_timedelta(rows["day"].dt.day_of_week, unit="D")
    days = rows.drop_duplicates().groupby(["user", "week"]).size().mean()
    why = f"in a week in which a user comes, it is on {days:.1f} days"
    return ("day" if days > 2 else "week"), why
