"""Self-checks of the exercises on a person's own data: notebook 07.

They follow :mod:`helpers.exercises`: a verdict in words that begins with ``Correct``,
``Not yet`` or ``Still empty``, and never an error.

Example:
    >>> check_07_1({})
    'Still empty: give each of the letters A to F a word, and run the cell again.'
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers.base.errors import DataError
from helpers.data.dropped import DropKind, Dropped, dropped_table
from helpers.data.schema_file import StoredTable, read_schema_file
from helpers.exercises.probing import fault_elsewhere, probe
from helpers.exercises.verdicts import (
    matching_hint,
    never_raises,
    not_yet,
    result_of,
    same,
    shape_fault,
    untouched,
)

__all__ = ["FATES", "check_07_1", "check_07_2", "check_07_3"]

#: Exercise 1: what happens to each line, and why.
FATES: dict[str, tuple[str, str]] = {
    "A": ("kept", "is a plain purchase: every value can be read, and no rule names it."),
    "B": ("left out", "is a cancelled ticket, which a rule names. A rule is asked before faults."),
    "C": ("faulty", "has a day that does not exist, the 31st of February."),
    "D": ("left out", "has no customer, and a rule names such lines: no fault of the data."),
    "E": ("copy", "repeats line A in every column. The first stays."),
    "F": (
        "left out",
        "is carriage, which a rule names. Nobody asks any more whether its price can be read.",
    ),
}
_WORDS = ("kept", "left out", "faulty", "copy")


@never_raises
def check_07_1(answer: Mapping[str, str]) -> str:
    """Judge what is said to happen to the six lines of exercise 1.

    Returns:
        The verdict; the hint explains the first line that was judged wrongly.

    Example:
        >>> check_07_1({letter: fate for letter, (fate, _) in FATES.items()})[:7]
        'Correct'
    """
    empty = "Still empty: give each of the letters A to F a word, and run the cell again."
    if untouched(answer):
        return empty
    if isinstance(answer, pd.Series):
        answer = answer.to_dict()
    if not isinstance(answer, Mapping):
        return not_yet(f'give a dict such as {{"A": "kept"}}; got {type(answer).__name__}.')
    said = {str(k).strip().upper(): str(v).strip().lower() for k, v in answer.items()}
    if not said:
        return empty
    if unknown := sorted(set(said) - set(FATES)):
        return not_yet(f'there is no line "{unknown[0]:.20}"; the letters are A to F.')
    for letter, word in said.items():
        if word not in _WORDS:
            return not_yet(f'line {letter}: choose from {", ".join(_WORDS)}; got "{word:.30}".')
    for letter, (fate, reason) in FATES.items():
        if said.get(letter, fate) != fate:
            return not_yet(f"line {letter} {reason}")
    if missing := sorted(set(FATES) - set(said)):
        return not_yet(f"right so far; still missing: {', '.join(missing)}.")
    return "Correct: rules first, then faults, and of copies the first stays."


_COLUMNS = {
    "user_id": "shopper",
    "item_id": "sku",
    "event_time": "when",
    "event_type": "what",
    "price": "cost",
}
_VALUES = {"see": "impression", "buy": "purchase"}


@never_raises
def check_07_2(answer: object) -> str:
    """Judge the section ``user_behavior`` of a ``schema.yaml`` for the log of exercise 2.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_07_2("user_behavior: {file: log.csv}")[:7]
        'Not yet'
    """
    if untouched(answer) or (isinstance(answer, str) and not answer.strip()):
        return "Still empty: write the lines between the quotes, and run the cell again."
    if not isinstance(answer, str):
        return not_yet(f"give the lines as one text; got {type(answer).__name__}.")
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "schema.yaml"
            file.write_text(answer, encoding="utf-8", errors="replace")
            mapping = read_schema_file(file)
            parts = mapping.parts.get("user_behavior", ())
    except DataError as error:
        return not_yet(f"{_swapped(answer)}{error}")
    except Exception as error:  # a check must never raise, whatever it is given
        return not_yet(f"it stops with {type(error).__name__}: {error}")
    if not parts or not parts[0].line:
        return not_yet(
            "begin with the line user_behavior: at the left margin, and indent the others."
        )
    if len(parts) != 1:
        return not_yet("there is one file, so there is one section.")
    hint = _part_hint(parts[0])
    return not_yet(hint) if hint else "Correct: the log is mapped, and nothing is left to a guess."


def _swapped(answer: str) -> str:
    """Return a hint where the stored name stands left of the colon."""
    if any(f"{stored}: {name}" in answer for name, stored in _COLUMNS.items()):
        return "the canonical name stands left, yours right, as in user_id: shopper. "
    if re.search(r"^  event_type:", answer, re.MULTILINE):
        return "a column's name goes under columns:, its words under values:. "
    if re.search(r"^\s+sep:", answer, re.MULTILINE):
        return "what separates the columns is called delimiter here. "
    return ""


def _part_hint(part: StoredTable) -> str:
    """Return the hint of the first thing that is not right, or an empty text."""
    columns = {name: " ".join(stored) for name, stored in part.columns.items()}
    wrong = [name for name in _COLUMNS if columns.get(name) != _COLUMNS[name]]
    values = part.values.get("event_type", {})
    hints = {
        'the file is separated by semicolons: delimiter: ";".': part.delimiter != ";",
        'the cost 2,50 has a decimal comma: decimal: ",".': part.decimal != ",",
        "a time such as 03/31/2025 18:05 is not ISO 8601: state a time_format.": (
            part.time_format == "ISO 8601"
        ),
        "there is no month 31. The month comes first: %m/%d/%Y %H:%M.": (
            part.time_format.startswith("%d")
        ),
        "the format of 03/31/2025 18:05 is %m/%d/%Y %H:%M.": part.time_format != "%m/%d/%Y %H:%M",
        "the times name no zone. The shop is in New York: time_zone: America/New_York.": (
            not part.time_zone
        ),
        "the clock of New York is America/New_York.": part.time_zone
        not in ("America/New_York", "US/Eastern"),
        f"which column is {', '.join(wrong)}? Look at the first line of the file.": bool(wrong),
        "see and buy are no words of the workbook: values: {event_type: {see: ..., buy: ...}}.": (
            not values
        ),
        "see is an impression and buy a purchase.": {k: values.get(k) for k in _VALUES} != _VALUES,
        "the file is log.csv.": part.files not in ((), ("log.csv",)),
        "nothing says that rows are to be left out.": bool(part.leave_out),
    }
    return next((hint for hint, applies in hints.items() if applies), "")


@never_raises
def check_07_3(answer: Callable[..., Any]) -> str:
    """Judge ``fault_share(gone, read)``: faulty rows among those that no rule left out.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_07_3(lambda gone, read: None)[:11]
        'Still empty'
    """
    gone, read = _gone(), 1000
    right = np.asarray(_FAULTS / (read - _RULED))
    got = result_of(answer, gone, read)
    if isinstance(got, str):
        return got
    if fault := shape_fault(got, ()):
        return not_yet(f"one number should come back; {fault}")
    if hint := matching_hint(got, _wrong_shares(gone, read), right):
        return not_yet(hint)
    if not same(got, right):
        rule = "divide the faulty rows by the rows that no rule left out."
        return probe(answer, _fault_share, gone, read, rule=rule)
    fault = fault_elsewhere(answer, _fault_share, gone.iloc[:2], 500)
    return fault or "Correct: faults among the rows that were meant to be used."


def _fault_share(gone: pd.DataFrame, read: int) -> float:
    ruled = gone["kind"] == DropKind.RULE
    faults = gone["rows"][~ruled & (gone["kind"] != DropKind.COPY)].sum()
    return float(faults / (read - gone["rows"][ruled].sum()))


#: Rows of :func:`_gone` by kind.
_RULED, _COPIES, _FAULTS = 210, 37, 30


def _gone() -> pd.DataFrame:
    rows = [
        (DropKind.RULE, "customer", "left out: customer is empty", 150),
        (DropKind.TYPE, "price", "price is not a number", 20),
        (DropKind.RULE, "ticket", "left out: ticket starts with A", 50),
        (DropKind.TYPE, "event_time", "event_time is not a time", 4),
        (DropKind.COPY, "", "exact copy of an earlier row", _COPIES),
        (DropKind.RULE, "note", "left out: note holds copy", 10),
        (DropKind.MINIMUM, "quantity", "quantity is left blank or out of range", 6),
    ]
    return dropped_table(Dropped("user_behavior", *row) for row in rows)


def _wrong_shares(gone: pd.DataFrame, read: int) -> dict[str, NDArray]:
    """Return what the usual mistakes compute, by their hint."""
    everything, ruled, copies, faults = gone["rows"].sum(), _RULED, _COPIES, _FAULTS
    shares = {
        "this divides by all rows that were read. Take off those that a rule left out.": (
            faults / read
        ),
        "this counts the copies as faults.": (faults + copies) / (read - ruled),
        "this counts everything that is gone, rules and copies too.": everything / read,
        "rules are no faults: leave out what is of the kind 'rule'.": (
            (everything - copies) / read
        ),
        "this is the share that rules left out. The faults are wanted.": ruled / read,
        "this is a count. Divide it.": faults,
        "this counts the reasons, not the rows.": 3 / 7,
        "this is in per cent. Return a share between 0 and 1.": 100 * faults / (read - ruled),
        "this also takes the copies off the rows below. They were meant to be used.": (
            faults / (read - ruled - copies)
        ),
        "this divides by what was kept. The faulty rows themselves belong below, too.": (
            faults / (read - everything)
        ),
    }
    return {hint: np.asarray(float(value)) for hint, value in shares.items()}
