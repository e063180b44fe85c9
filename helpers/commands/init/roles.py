"""Which column of a table is what, told by its name and by what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from helpers.commands.init.looking import Look
from helpers.commands.init.names import event_of, name_score, words
from helpers.commands.init.times import TimeFormat, find_format

__all__ = ["LONGEST_NAME", "SURE", "Facts", "Guess", "guess_roles", "numbers"]

_IDS = ("user_id", "item_id", "list_id", "session_id", "store_id", "event_id")
_OTHERS = ("query", "position", "price", "quantity")
_PRODUCT = ("title", "subcategory", "category", "brand", "price")
_HOURS = {"hour", "hora", "heure", "uhrzeit", "zeit", "time", "clock", "时间", "时刻"}
_NOT_NOW = {  # a time that is a fact about a person or product, not of an event
    *("birth", "birthday", "birthdate", "signup", "registered", "registration", "join", "joined"),
    *("nacimiento", "alta", "geburt", "naissance", "updated", "modified", "expires", "delivery"),
}
_MANY = 30  # more different values than this are no event types
#: Longer names are not proposed: a draft has to stay a file that a person reads.
LONGEST_NAME = 200
#: A name whose score is lower says too little.
SURE = 0.6


@dataclass(frozen=True)
class Facts:
    """What a column holds; all shares are taken among the rows looked at.

    Attributes:
        name: the name of the column.
        missing: the share of rows without a value.
        distinct: how many different values it has.
        unique: the number of different values divided by the number of values.
        number: the share of the values that are numbers.
        whole: the share of the numbers that are whole.
        negative: the share of the numbers that are below zero.
        clock: how it writes times, or None where it holds no times.
        values: the different values, where there are few.
    """

    name: str
    missing: float
    distinct: int
    unique: float
    number: float
    whole: float
    negative: float
    clock: TimeFormat | None
    values: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Describe the values without showing one."""
        if self.distinct == 0:
            return "empty"
        if self.clock:
            return {"hour": "times of day", "day": "dates"}.get(self.clock.kind, "times")
        if set(self.values) == {"0", "1"}:
            return "0 or 1"
        if self.number >= 0.95:
            return "whole numbers" if self.whole == 1 else "numbers"
        if self.distinct == 1:
            return "text, always the same"
        if self.distinct <= _MANY:
            return f"text, {self.distinct} different values"
        return "text, all different" if self.unique > 0.99 else "text"


@dataclass(eq=False)
class Guess:
    """What each column of a table seems to be.

    Attributes:
        look: a look at the table.
        facts: what each column holds, by the column's name.
        columns: the stored columns that fill each canonical one.
        doubts: why a person should check the choice for a canonical column.
        clock: how the time is written, or None.
        by_content: canonical columns whose stored one was taken for what it holds, not its name.
        numbered_events: the events are numbers, and which is which is a guess.
    """

    look: Look
    facts: dict[str, Facts]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    clock: TimeFormat | None = None
    by_content: set[str] = field(default_factory=set)
    numbered_events: bool = False

    def values(self, column: str) -> pd.Series:
        """Return the values of a canonical column that is filled by one stored column."""
        return self.look.frame[self.columns[column][0]]

    def fact(self, column: str) -> Facts | None:
        """Return the facts of a canonical column, or None where nothing fills it."""
        return self.facts[self.columns[column][0]] if column in self.columns else None

    @property
    def used(self) -> set[str]:
        """The stored columns that have a role."""
        return {name for names in self.columns.values() for name in names}

    @property
    def free(self) -> list[Facts]:
        """The stored columns that have none."""
        return [facts for name, facts in self.facts.items() if name not in self.used]

    @property
    def is_named(self) -> bool:
        """Whether names, not contents alone, say who and what."""
        return not self.by_content & {"user_id", "item_id"}

    @cached_property
    def is_log(self) -> bool:
        """Whether it has all that an event needs: who, what and when."""
        return {"user_id", "item_id", "event_time"} <= set(self.columns)

    def take(self, column: str, *names: str, doubt: str = "") -> None:
        """Fill a canonical column."""
        self.columns[column] = names
        self.by_content.discard(column)  # what is known better now
        if doubt:
            self.doubts[column] = doubt


def numbers(values: pd.Series, decimal: str) -> pd.Series:
    """Return the values as numbers, missing where they are none."""
    text = values.str.replace(",", ".", regex=False) if decimal == "," else values
    return pd.to_numeric(text, errors="coerce")


def _facts(look: Look, name: str) -> Facts:
    values = look.frame[name]
    given = values.dropna()
    number = numbers(given, look.decimal)
    read = number.dropna()
    different = given.unique()
    return Facts(
        name=name,
        missing=1 - len(given) / len(values),
        distinct=len(different),
        unique=len(different) / max(len(given), 1),
        number=len(read) / max(len(given), 1),
        whole=float((read % 1 == 0).mean()) if len(read) else 0.0,
        negative=float((read < 0).mean()) if len(read) else 0.0,
        clock=find_format(given),
        values=tuple(map(str, different)) if len(different) <= _MANY else (),
    )


def guess_roles(look: Look, *, seen: Callable[[], object] = lambda: None) -> Guess:
    """Return what each column of a table seems to be.

    Args:
        look: a look at the table.
        seen: is called after a look at each column.

    Example:
        >>> frame = pd.DataFrame(
        ...     {
        ...         "visitorid": ["7", "8", "7"],
        ...         "itemid": ["1", "1", "2"],
        ...         "timestamp": ["1433221332117", "1433224214164", "1433223999827"],
        ...     }
        ... )
        >>> guess = guess_roles(Look("events.csv", frame, rows=3))
        >>> guess.clock.text, guess.columns["user_id"], guess.is_log
        ('unix ms', ('visitorid',), True)
    """
    guess = Guess(look, {})
    for name in look.frame:
        guess.facts[name] = _facts(look, name)
        seen()
    _take_time(guess)
    _take_label(guess)
    _take_by_name(guess, _IDS)
    _take_event_type(guess)
    _take_by_name(guess, _OTHERS)
    if "event_time" in guess.columns:
        _take_ids_by_content(guess)
    _take_by_name(guess, [column for column in _PRODUCT if column not in guess.columns])
    return guess


def _take_time(guess: Guess) -> None:
    """Find the time of the event: one column, or a day and a time of day.

    Of a table with the columns ``order_date`` (2024-03-01), ``order_time`` (18:05) and
    ``birthday`` (1980-01-01), the first two together become the time of the event.
    """
    clocks = [(f, f.clock) for f in guess.facts.values() if f.clock]
    found = [(facts, clock) for facts, clock in clocks if _may_be_time(facts, clock)]
    if not found:
        return
    # The best name wins. Of equal names, the column with more different values tells more.
    best, clock = max(found, key=lambda pair: (_time_score(*pair), pair[0].distinct))
    is_named, names = _time_score(best, clock) >= SURE, [best.name]
    hours = [(f.name, clock) for f, clock in clocks if clock.kind == "hour"]
    if clock.kind == "day" and hours:
        hour, of_day = max(hours, key=lambda pair: bool(set(words(pair[0])) & _HOURS))
        # 9:05 beside 18:05 has fewer characters, which ISO 8601 does not allow.
        padded = guess.look.frame[hour].dropna().str.len().nunique() == 1
        names, clock = [best.name, hour], _joined(clock, of_day, padded=padded)
    guess.clock = clock
    doubt = _doubt_of_time(clock, is_named=is_named, alone=len(found) == 1)
    guess.take("event_time", *names, doubt=doubt)


def _time_score(facts: Facts, clock: TimeFormat) -> float:
    """Return how much a column's name, and a little its format, speak for the event's time."""
    if set(words(facts.name)) & _NOT_NOW:
        return 0.1  # below any other time, and still better than none
    return 0.2 + name_score(facts.name, "event_time") + 0.1 * (clock.kind == "moment")


def _may_be_time(facts: Facts, clock: TimeFormat) -> bool:
    """Return whether a column can be the event's time on its own, or as its day."""
    if clock.kind == "hour":
        return False
    # Any whole number could be seconds since 1970, or an id: only its name makes it a time.
    return not clock.number or _time_score(facts, clock) >= SURE


def _doubt_of_time(clock: TimeFormat, *, is_named: bool, alone: bool) -> str:
    """Return the strongest reason to check the choice of the time, or nothing.

    Args:
        clock: how the chosen time is written.
        is_named: whether the column's name speaks for the choice.
        alone: whether no other column could have been chosen.
    """
    if clock.doubt:
        return clock.doubt
    if not is_named:
        return "taken because it holds times, not for its name"
    if not alone:
        return "other columns hold times too"
    return "it names days without a time of day" if clock.kind == "day" else ""


def _joined(day: TimeFormat, hour: TimeFormat, *, padded: bool) -> TimeFormat:
    """Return the format of a date and a time of day with a blank between them."""
    if day.text == "ISO 8601":
        return TimeFormat("ISO 8601" if padded else f"%Y-%m-%d {hour.text}", "moment")
    return TimeFormat(f"{day.text} {hour.text}", "moment", doubt=day.doubt)


def _take_label(guess: Guess) -> None:
    for facts in guess.facts.values():
        if set(facts.values) == {"0", "1"} and name_score(facts.name, "label") >= SURE:
            guess.take("label", facts.name)
            return


def _take_by_name(guess: Guess, columns: tuple[str, ...] | list[str]) -> None:
    """Give each canonical column the stored one whose name fits best."""
    pairs = [
        (name_score(facts.name, column), -place, column, facts)
        for column in columns
        for place, facts in enumerate(guess.free)
        if name_score(facts.name, column) >= SURE and _can_be(column, facts)
    ]
    for score, _, column, facts in sorted(pairs, key=lambda pair: pair[:2], reverse=True):
        if column not in guess.columns and facts.name not in guess.used:
            close = f"only its name is like {column.partition('_')[0]}" if score == SURE else ""
            guess.take(column, facts.name, doubt=close)


def _can_be(column: str, facts: Facts) -> bool:
    """Whether what a column holds allows a role."""
    if facts.distinct == 0:
        return False
    if column in ("price", "quantity"):
        return facts.number >= 0.85 and not (facts.clock and not facts.clock.number)
    if column == "position":
        return facts.number >= 0.95 and facts.whole == 1 and facts.negative == 0
    if column == "event_id":
        return facts.unique > 0.999
    is_time = facts.clock is not None and not facts.clock.number
    fraction = facts.number >= 0.95 and facts.whole < 0.95
    return not is_time and not fraction


def _take_event_type(guess: Guess) -> None:
    """Find the column that says what happened, by its name and the words in it."""
    best, reached = None, 0.0
    for facts in guess.free:
        if facts.distinct == 0 or facts.distinct > _MANY or facts.clock:
            continue
        given = guess.look.frame[facts.name].dropna()
        known = float(given.map({v: bool(event_of(v)) for v in facts.values}).mean())
        score = 0.5 * name_score(facts.name, "event_type") + known
        if score > reached and (known >= 0.3 or _is_code(facts)):
            best, reached = facts, score
    if best is not None and reached >= 0.3:
        guess.take("event_type", best.name)
        if _is_code(best):
            guess.numbered_events = True
            guess.doubts["event_type"] = "its values are numbers; which is which is a guess"
        elif reached < 0.5:
            guess.doubts["event_type"] = "taken for the words it holds, not for its name"


def _is_code(facts: Facts) -> bool:
    """Whether a column of few whole numbers is called like an event type."""
    named = name_score(facts.name, "event_type") >= 0.9
    return named and 2 <= facts.distinct <= 6 and facts.number == 1 and facts.whole == 1


def _take_ids_by_content(guess: Guess) -> None:
    """Take columns of repeated values as ids where the names said nothing."""
    missing = [column for column in ("user_id", "item_id") if column not in guess.columns]
    repeated = [
        facts
        for facts in guess.free
        if facts.distinct > 20
        and facts.unique < 0.9
        and facts.whole in (0, 1)
        and facts.negative == 0
        and not (facts.clock and not facts.clock.number)
        and not any(name_score(facts.name, column) >= SURE for column in (*_OTHERS, *_PRODUCT))
    ]
    repeated.sort(key=lambda facts: facts.distinct, reverse=True)
    if len(repeated) < len(missing):
        return
    for column, facts in zip(missing, repeated, strict=False):
        guess.take(
            column, facts.name, doubt="taken because its values come again, not for its name"
        )
        guess.by_content.add(column)
