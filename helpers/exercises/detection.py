"""Self-checks of the exercises of notebook 08, in the manner of :mod:`helpers.exercises`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.base.words import percent
from helpers.exercises.probing import fault_elsewhere, probe
from helpers.exercises.verdicts import (
    STILL_EMPTY,
    choice,
    matching_hint,
    never_raises,
    not_yet,
    result_of,
    same,
    shape_fault,
    untouched,
)

__all__ = ["check_08_1", "check_08_2", "check_08_3"]


@never_raises
def check_08_1(answer: str | None) -> str:
    """Judge which score finds the rows of a bot.

    Example:
        >>> check_08_1("user")[:7]
        'Correct'
    """
    hints = {
        "row": "a bot's single click on a likely product looks like anybody's. What do its many "
        "rows have in common?",
        "pull": "a gradient norm looks at one row at a time, too.",
        "label": "every click is suspected alike, a person's as much as a bot's.",
    }
    return choice(answer, "user", hints, "one click says little, all clicks of a user say it all.")


@never_raises
def check_08_2(answer: Callable[..., Any]) -> str:
    """Judge ``chance_of_misclick(label, p, rate)``: Bayes' rule on true probabilities."""
    label = np.array([1.0, 1.0, 0.0, 1.0])
    p, rate = np.array([0.1, 0.5, 0.2, 0.9]), 0.05
    got = result_of(answer, label, p, rate)
    if isinstance(got, str):
        return got
    slip, want = rate * (1 - p), _chance_of_misclick(label, p, rate)
    mistakes = {
        "a row without a click cannot be a misclick: there the chance is 0.": slip / (slip + p),
        "this is the chance of a misclick before anybody looked at the label. Divide by the chance "
        "of seeing a click at all.": np.where(label == 1, slip, 0.0),
        "the chance that nobody wanted the row, 1 - p, is forgotten.": np.where(
            label == 1, rate / (rate + p), 0.0
        ),
        "this is the rule for flips. A genuine click is never turned here.": np.where(
            label == 1, slip / (slip + (1 - rate) * p), 0.0
        ),
        "p and 1 - p are swapped: a likely product is the less suspicious.": np.where(
            label == 1, rate * p / (rate * p + 1 - p), 0.0
        ),
        "this is 1 - p: the order is right, the chance is not.": np.where(label == 1, 1 - p, 0.0),
        "this is the chance that the click is genuine.": np.where(label == 1, p / (slip + p), 0.0),
        "this is the chance that a click is genuine, for all rows.": p / (slip + p),
        "the labels are turned: 1 is a click.": np.where(label == 0, slip / (slip + p), 0.0),
    }
    if hint := matching_hint(got, mistakes, want):
        return not_yet(hint)
    if fault := shape_fault(got, (4,)):
        return not_yet(f"one chance a row should come back; {fault}")
    if not same(got, want) and same(got[label == 1], want[label == 1]):
        return not_yet("a row without a click cannot be a misclick: there the chance is 0.")
    if same(got, want):
        fault = fault_elsewhere(answer, _chance_of_misclick, label[:2], p[:2], 0.2)
        return fault or "Correct: the misclicks among all clicks, row by row."
    rule = "P(misclick | click) = P(misclick) / (P(misclick) + P(genuine click))."
    return probe(answer, _chance_of_misclick, label, p, rate, rule=rule)


def _chance_of_misclick(label: NDArray, p: NDArray, rate: float) -> NDArray:
    slip = rate * (1 - p)
    return np.where(label == 1, slip / (slip + p), 0.0)


@never_raises
def check_08_3(answer: Any, scores: ArrayLike, marked: ArrayLike) -> str:
    """Judge which share of the 100 most suspicious rows is wrong.

    Args:
        answer: a share.
        scores: the scores of all rows; a higher one is more suspicious, shape ``(n,)``.
        marked: which rows are wrong, shape ``(n,)``.
    """
    if untouched(answer):
        return STILL_EMPTY
    got = result_of(lambda: answer)
    if isinstance(got, str):
        return got
    if fault := shape_fault(got, ()):
        return not_yet(f"one number is wanted; {fault}")
    scores, marked = np.asarray(scores, float), np.asarray(marked, bool)
    order = np.argsort(-scores, kind="stable")
    first = marked[order[:100]]
    right = first.mean()
    last = scores[order[min(100, len(order)) - 1]]  # rows of equal score may stand for each other
    sure, tied = marked[scores > last], marked[scores == last]
    room = min(100, len(order)) - len(sure)
    fewest, most = sure.sum() + max(0, room - (~tied).sum()), sure.sum() + min(room, tied.sum())
    if fewest / len(first) - 1e-9 <= got <= most / len(first) + 1e-9:
        found, usual = (percent(share, digits=0) for share in (right, marked.mean()))
        return f"Correct: {found} of them are wrong; {usual} of all rows are."
    mistakes = {
        "these are the 100 least suspicious rows: sort the other way.": marked[order[-100:]].mean(),
        "this is the share among all rows. Look at the first 100 only.": marked.mean(),
        "this is a count: divide by 100.": first.sum(),
        "this is the share of all wrong rows that are found (recall).": (
            first.sum() / max(1, marked.sum())
        ),
        "these are the first 100 rows of the table: sort by the score first.": marked[:100].mean(),
        "this is the share that is right, not wrong.": 1 - right,
    }
    hint = matching_hint(got, mistakes)
    if abs(got - right) < 0.01:
        hint = "nearly: do not round."
    return not_yet(hint or "take the 100 rows with the highest score, then the mean of `wrong`.")
