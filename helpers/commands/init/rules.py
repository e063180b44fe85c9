"""Rows that are probably no events: cancellations, missing ids, charges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from helpers.commands.init.roles import Guess, numbers

__all__ = ["LeaveOutProposal", "rules_of"]

#: Words that programs write where nothing is known.
_NOTHING = ("NULL", "null", "None", "none", "NaN", "nan", "NA", "N/A", "n/a", "\\N", "-", "?")
_RARE = 0.05


@dataclass(frozen=True)
class LeaveOutProposal:
    """A proposal for ``leave_out``.

    Attributes:
        column: the stored column.
        test: the test, under the name that ``schema.yaml`` gives it.
        value: what the column is compared with.
        share: the share of the rows looked at that the rule leaves out.
        why: what these rows seem to be.
        sure: whether a person need not check it.
    """

    column: str
    test: str
    value: Any
    share: float
    why: str
    sure: bool = True


def rules_of(guess: Guess) -> list[LeaveOutProposal]:
    """Return what a table of events should leave out."""
    return [*_cancelled(guess), *_charges(guess), *_missing(guess), *_negative(guess)]


def _cancelled(guess: Guess) -> list[LeaveOutProposal]:
    """Return a first letter that ids have where the quantity is negative, and hardly else."""
    if "quantity" not in guess.columns:
        return []
    back = numbers(guess.values("quantity"), guess.look.decimal) < 0
    found = []
    for column in ("list_id", "session_id", "event_id"):
        if column not in guess.columns or not back.any():
            continue
        first = guess.values(column).str[:1]
        letters = first.where(first.str.isalpha().fillna(False).astype(bool))
        letter = letters[back].mode()
        if letter.empty:
            continue
        marked = letters == letter.iloc[0]
        if marked[back].mean() >= 0.5 and marked[~back].mean() <= 0.01:
            name = guess.columns[column][0]
            why = "cancelled: their quantity is negative"
            found.append(
                LeaveOutProposal(name, "starts_with", letter.iloc[0], float(marked.mean()), why)
            )
    return found


def _charges(guess: Guess) -> list[LeaveOutProposal]:
    """Return ids of products without a digit, where nearly all others have one."""
    if "item_id" not in guess.columns:
        return []
    given = guess.values("item_id").dropna()
    given = given[~given.isin(_NOTHING)]
    wordy = ~given.str.contains(r"\d", regex=True)
    if not 0 < wordy.mean() <= _RARE:
        return []
    why = "no digit: charges, not products?"
    share = float(wordy.sum() / len(guess.look.frame))
    return [
        LeaveOutProposal(
            guess.columns["item_id"][0], "matches", r"^[^0-9]+$", share, why, sure=False
        )
    ]


def _missing(guess: Guess) -> list[LeaveOutProposal]:
    """Return rules for rows without a user or product, and for words that mean so."""
    found = []
    for column, what in (("user_id", "nobody knows who"), ("item_id", "nobody knows what")):
        if column not in guess.columns:
            continue
        name, values = guess.columns[column][0], guess.values(column)
        if empty := float(values.isna().mean()):
            found.append(LeaveOutProposal(name, "is_empty", True, empty, what))
        used = tuple(word for word in _NOTHING if values.eq(word).any())
        if used:
            share = float(values.isin(used).mean())
            found.append(
                LeaveOutProposal(name, "one_of", used, share, f"{what}: written out", sure=False)
            )
    return found


def _negative(guess: Guess) -> list[LeaveOutProposal]:
    """Return rules for quantities that give something back, and for prices below zero."""
    found = []
    for column, what in (("quantity", "given back"), ("price", "corrections")):
        facts = guess.fact(column)
        if facts is None or facts.negative == 0:
            continue
        number = numbers(guess.values(column), guess.look.decimal)
        least = 1 if column == "quantity" and facts.whole == 1 else 0
        found.append(
            LeaveOutProposal(facts.name, "below", least, float((number < least).mean()), what)
        )
    return found
