"""What was dropped and why, with a few places of each kind, and the message if it is too much."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from helpers.base.errors import DataError
from helpers.data.chunks import Chunk
from helpers.data.cleaning.hints import event_hint, future_hint, number_hint, time_hint
from helpers.data.dropped import DropKind, Dropped, dropped_table
from helpers.data.schema_file import StoredTable
from helpers.schema import Column, canonical_tables

__all__ = ["EXAMPLES", "SAMPLES", "Fault", "Tally", "shorten"]

#: Places that a message shows of one reason, and values that a guess is made from.
EXAMPLES = 5
SAMPLES = 200
_KINDS = 1000  # different values of one column that are counted
_LONGEST = 40
#: Types whose values may be shown; ids and free text can name a person.
_PUBLIC = ("time", "number", "integer", "category")
_VALUELESS = (DropKind.EMPTY, DropKind.REPEAT)  # no value of theirs helps to mend them


class Fault(NamedTuple):
    """One reason why rows are dropped; faults sort in the order in which they are told.

    Attributes:
        rank: its place: the canonical column, and the rule of the column.
        reason: in words.
        kind: what a program must know of it; nothing is read off the words.
        column: that is at fault, under its canonical name; of a rule the stored column; empty
            where it is the whole row.
    """

    rank: tuple[int, int]
    reason: str
    kind: DropKind
    column: str = ""


@dataclass
class _Example:
    where: str
    place: int  # in the file or table
    locate: Callable[[int], str]
    value: str


@dataclass
class _Count:
    rows: int = 0
    examples: list[_Example] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    frequent: Counter[str] = field(default_factory=Counter)


class Tally:
    """Counts of a part's rows by what became of them.

    Args:
        part: what is counted.
        on_bad_rows: ``drop`` or ``stop``.
        max_bad_share: more bad rows than this share are too many.
    """

    def __init__(self, part: StoredTable, *, on_bad_rows: str, max_bad_share: float) -> None:
        self.part = part
        self.on_bad_rows = on_bad_rows
        self.max_bad_share = max_bad_share
        self.rows = 0
        self.files: dict[str, None] = {}  # in their order
        self._left_out: Counter[Fault] = Counter()
        self._bad: dict[Fault, _Count] = {}

    @property
    def bad(self) -> int:
        """Return how many rows could not be used."""
        return sum(count.rows for count in self._bad.values())

    @property
    def events(self) -> int:
        """Return how many rows were not left out."""
        return self.rows - self._left_out.total()

    def leave_out(self, fault: Fault, rows: int) -> None:
        """Count rows that are no events."""
        self._left_out[fault] += rows

    def wanted(self, fault: Fault, column: Column | None) -> int:
        """Return how many values of a fault are still of use to a message."""
        if column is None or column.type not in _PUBLIC or fault.kind in _VALUELESS:
            return 0
        if fault.kind == DropKind.VALUE:
            return 2**62  # all are counted
        most = SAMPLES if fault.kind == DropKind.TYPE else EXAMPLES
        return most - len(self._bad[fault].values) if fault in self._bad else most

    def drop(
        self, fault: Fault, rows: int, chunk: Chunk, places: Iterable[int], values: list[str]
    ) -> None:
        """Count bad rows.

        Args:
            fault: why they are bad.
            rows: how many there are.
            chunk: where they come from.
            places: in the file or table, of the first of them.
            values: what stood in them, as many as are wanted; in the order of the places.
        """
        count = self._bad.setdefault(fault, _Count())
        count.rows += rows
        room = EXAMPLES - len(count.examples)
        for number, place in enumerate(list(places)[: max(room, 0)]):
            value = values[number] if number < len(values) else ""
            count.examples.append(_Example(chunk.where, int(place), chunk.locate, value))
        if fault.kind == DropKind.VALUE:
            known = len(count.frequent) < _KINDS
            count.frequent.update(v for v in values if known or v in count.frequent)
        else:
            count.values += values

    def table(self) -> pd.DataFrame:
        """Return the counts: ``table, kind, column, reason, rows``."""
        bad = {fault: count.rows for fault, count in self._bad.items()}
        every = sorted((self._left_out | Counter(bad)).items())
        return dropped_table(
            Dropped(self.part.table, fault.kind, fault.column, fault.reason, n)
            for fault, n in every
            if n
        )

    def check(self) -> None:
        """Refuse what came in if too little of it can be used.

        Raises:
            DataError: there are no rows, all are left out, or too many are bad.
        """
        if not self.rows:
            raise DataError(
                f"{self._where()}: there is a header but no row; fill the table, or remove it, and "
                "start again."
            )
        if not self.events:
            fault, rows = min(self._left_out.items(), key=lambda item: (-item[1], item[0]))
            raise DataError(
                f"{self._where()}: no row remains, as rules under leave_out fit all {self.rows:,} "
                f"rows. Most often {fault.reason} ({rows:,} rows). Correct them in schema.yaml."
            )
        if self.is_too_much() or self.bad == self.events:
            raise self.refusal()

    def is_too_much(self) -> bool:
        """Return whether more rows are bad than may be."""
        if self.on_bad_rows == "stop" and self.bad:
            return True
        return self.bad > self.max_bad_share * self.events

    def refusal(self, *, so_far: bool = False) -> DataError:
        """Return the error that says how many rows are bad, why, where, and what to do."""
        fault, worst = min(self._bad.items(), key=lambda item: (-item[1].rows, item[0]))
        first = "first " if so_far else ""
        return DataError(
            f"{self._where()}: {self.bad:,} of {'the ' if so_far else ''}{first}{self.events:,} "
            f"rows cannot be used, {self._policy()}. Most often {fault.reason} ({worst.rows:,} "
            f"rows, the first in {self._place(worst.examples[0])}). {self._remedy(fault)}"
            f"{self._frequent(worst)}{self._hint(fault, worst)}{self._examples(fault, worst)}"
        )

    def _where(self) -> str:
        if not self.files:
            return self.part.table
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return next(iter(self.files)) + more

    def _policy(self) -> str:
        if self.on_bad_rows == "stop":
            return "and on_bad_rows: stop allows none"
        if self.is_too_much():
            return f"more than the {self.max_bad_share * 100:g}% allowed"
        return "so that none is left"

    def _remedy(self, fault: Fault) -> str:
        if fault.kind == DropKind.UNREADABLE:
            return "Name every column in the header, and quote values that hold the delimiter."
        line = f"line {self.part.line}" if self.part.line else f"under {self.part.table}"
        if self.on_bad_rows == "stop":
            last = "state on_bad_rows: drop"
        else:
            last = "allow more with max_bad_share"
        return (
            "Correct the table, leave such rows out with a rule under leave_out in schema.yaml "
            f"({line}), or {last}."
        )

    def _place(self, example: _Example) -> str:
        of = f" of {example.where}" if len(self.files) > 1 else ""
        return example.locate(example.place) + of

    def _examples(self, fault: Fault, count: _Count) -> str:
        as_told = shorten if fault.kind == DropKind.VALUE else _without_words
        shown = [
            f"{self._place(e)}" + (f" '{as_told(e.value)}'" if e.value else "")
            for e in count.examples
        ]
        # The first place was told already; what stands there is worth telling.
        return (
            f" Examples: {'; '.join(shown)}." if len(shown) > 1 or count.examples[0].value else ""
        )

    def _frequent(self, count: _Count) -> str:
        if not count.frequent:
            return ""
        most = [(shorten(value), rows) for value, rows in _most(count.frequent)]
        return " Most frequent are " + ", ".join(f'"{v}" ({n:,} rows)' for v, n in most) + "."

    def _hint(self, fault: Fault, count: _Count) -> str:
        hint = ""
        if fault.kind == DropKind.TYPE and self._is_time(fault.column):
            hint = time_hint(count.values, self.part.time_format)
        elif fault.kind == DropKind.TYPE:
            hint = number_hint(count.values, self.part.decimal)
        elif fault.kind == DropKind.FUTURE:
            hint = future_hint(self.part.time_format)
        elif fault.kind == DropKind.VALUE and fault.column == "event_type":
            hint = event_hint([shorten(value) for value, _ in _most(count.frequent)])
        return f" {hint}" if hint else ""

    def _is_time(self, name: str) -> bool:
        column = canonical_tables()[self.part.table].columns.get(name)
        return column is not None and column.type == "time"


def _most(frequent: Counter[str]) -> list[tuple[str, int]]:
    return sorted(frequent.items(), key=lambda item: (-item[1], item[0]))[:EXAMPLES]


def _without_words(value: str) -> str:
    """Return what should be a time or a number: words in it may come from a neighbour's column.

    Example:
        >>> _without_words("31 March 2025 anna.smith")
        '31 March 2025 aaaa.aaaaa'
    """
    return re.sub(
        r"[^\W\d_]{4,}",
        lambda word: word[0] if word[0] in calendar.month_name else "a" * len(word[0]),
        shorten(value),
    )


def shorten(value: str) -> str:
    r"""Return a value as a message may show it: one line, short, nothing unprintable.

    Example:
        >>> shorten("a\nb" + 60 * "c")[:12], len(shorten(60 * "c"))
        ('a bccccccccc', 40)
    """
    line = " ".join(value[: 4 * _LONGEST].split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
