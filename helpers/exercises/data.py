"""Self-checks of the exercises on data: notebooks 00 and 01.

They follow :mod:`helpers.exercises`: a verdict in words that begins with ``Correct``,
``Not yet`` or ``Still empty``, and never an error.

Example:
    >>> check_01_1({"mailer place"})
    'Not yet: "mailer place" is printed before the week begins, so it is known in time.'
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
from helpers.losses import sigmoid

__all__ = ["LEAK_CANDIDATES", "check_00_1", "check_01_1", "check_01_2", "check_01_3"]

#: Exercise 1 of notebook 01: each column, whether it leaks, and why.
LEAK_CANDIDATES: dict[str, tuple[bool, str]] = {
    "mailer place": (False, "is printed before the week begins, so it is known in time."),
    "basket size": (
        True,
        "counts what the household buys in this very week. At the cutoff nobody knows it.",
    ),
    "days since last visit": (
        False,
        "looks back from the cutoff, so it is known in time.",
    ),
    "price paid": (
        True,
        "exists only where the product was bought: whether it is there is the label.",
    ),
    "mean label of the product": (
        True,
        "is taken over the whole table, so it holds the sample's own label and later weeks.",
    ),
    "week of the month": (False, "comes from the calendar, which is known years ahead."),
}


_NO_COLUMN_YET = "Still empty: write the names of the columns that leak, and run the cell again."


@never_raises
def check_00_1(answer: Callable[..., Any]) -> str:
    """Judge ``norm(x, y, z)``, the gradient norm of one sample of a logistic model with a bias.

    The right answer is ``|sigma(z) - y| * sqrt(sum(x ** 2) + 1)``.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_00_1(lambda x, y, z: None)[:11]
        'Still empty'
    """
    x, y, z = np.array([0.6, -1.2, 0.4]), 1.0, -0.7
    got = result_of(answer, x, y, z)
    if isinstance(got, str):
        return got
    surprise, leverage = abs(sigmoid(z) - y), np.sqrt(x @ x + 1)
    right = np.asarray(surprise * leverage)
    mistakes = {
        "this is the gradient, a list of numbers. Its length is asked for: one number.": (
            (sigmoid(z) - y) * np.append(x, 1)
        ),
        "the bias is forgotten. It is a parameter too, and dz/db = 1: add 1 under the root.": (
            surprise * np.linalg.norm(x)
        ),
        "a norm is never negative. Take the absolute value of p - y.": (
            (sigmoid(z) - y) * leverage
        ),
        "the sign in the exponent is turned: sigma(z) = 1 / (1 + exp(-z)).": (
            abs(sigmoid(-z) - y) * leverage
        ),
        "this uses the logit as if it were the probability: p = sigma(z).": abs(z - y) * leverage,
        "this is the surprise alone. Multiply by the leverage.": surprise,
        "this is the leverage alone. Multiply by the surprise.": leverage,
        "this is the square of the norm. Take the root.": (surprise * leverage) ** 2,
        "the root is missing: leverage is the square root of the sum of squares.": (
            surprise * leverage**2
        ),
        "this adds up the sizes of the parts. A norm is the root of the sum of squares.": (
            surprise * (np.abs(x).sum() + 1)
        ),
    }
    if hint := matching_hint(got, mistakes, right):
        return not_yet(hint)
    if fault := shape_fault(got, ()):
        return not_yet(f"one number should come back; {fault}")
    if not same(got, right):
        rule = "try x = (3, 4), y = 1, z = 2: 0.6078 should come back."
        return probe(answer, _norm, x, y, z, rule=rule)
    fault = fault_elsewhere(answer, _norm, np.array([3.0, 4.0]), 0.0, 1.0)
    return fault or "Correct: surprise |p - y| times leverage, the root of sum(x ** 2) + 1."


def _norm(x: NDArray, y: float, z: float) -> float:
    return float(abs(sigmoid(z) - y) * np.sqrt(x @ x + 1))


@never_raises
def check_01_1(answer: Iterable[str]) -> str:
    """Judge the set of columns that leak, out of ``LEAK_CANDIDATES``.

    Returns:
        The verdict; the hint explains the first column that was judged wrongly.

    Example:
        >>> check_01_1(["basket size", "price paid", "mean label of the product"])[:7]
        'Correct'
    """
    if untouched(answer):
        return _NO_COLUMN_YET
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        return not_yet(f"give a set of names in curly brackets; got {answer!r:.60}.")
    named = _names_in(answer)
    if not named:
        return _NO_COLUMN_YET
    if unknown := sorted(named - set(LEAK_CANDIDATES)):
        return not_yet(
            f'there is no column "{unknown[0]:.40}"; choose from {", ".join(LEAK_CANDIDATES)}.'
        )
    # A column that was named wrongly is explained at once. One that is missing is not named:
    # the reader gets the question to ask instead, so that the answer stays to be found.
    for name, (leaks, reason) in LEAK_CANDIDATES.items():
        if name in named and not leaks:
            return not_yet(f'"{name}" {reason}')
    missed = [name for name, (leaks, _) in LEAK_CANDIDATES.items() if leaks and name not in named]
    if missed:
        others = "one column more leaks" if len(missed) == 1 else f"{len(missed)} columns more leak"
        return not_yet(
            f"what you named leaks, but {others}. Ask of each column: can I fill it in on the "
            "Sunday before the week, for products that are bought and for those that are not?"
        )
    return "Correct: all three need something that happens after the cutoff."


def _names_in(answer: Iterable[str]) -> set[str]:
    """Return the columns that an answer names, spelled as ``LEAK_CANDIDATES`` spells them.

    Args:
        answer: names in any order; or a mapping or a Series of true and false by name, which
            stands for the names that are true.

    Example:
        >>> _names_in({"Price_paid": True, "basket size": False})
        {'price paid'}
    """
    if isinstance(answer, pd.Series) and answer.dtype == bool:
        answer = answer.to_dict()
    if isinstance(answer, Mapping) and all(v in (0, 1) for v in answer.values()):
        answer = [name for name, leaks in answer.items() if leaks]
    some = itertools.islice(answer, 100)  # an iterable may have no end
    return {str(name).strip(" `'\"").lower().replace("_", " ") for name in some}


@never_raises
def check_01_2(answer: Callable[..., Any]) -> str:
    """Judge ``count(events, user_id, item_id, cutoff, days)``.

    The right answer is the number of events of this user with this item in the last
    ``days`` days before ``cutoff``: from ``cutoff - days`` on, the cutoff itself excluded.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> print(check_01_2(lambda events, user_id, item_id, cutoff, days: 0).partition(". ")[2])
        It returns 0 where 6 events count.
    """
    events, cutoff = _diary(), cast("pd.Timestamp", pd.Timestamp("2024-03-04"))
    got = result_of(answer, events, 1, "tea", cutoff, 28)
    if isinstance(got, str):
        return got
    if fault := shape_fault(got, ()):
        return not_yet(f"one number should come back; {fault}")
    if hint := matching_hint(got, _wrong_counts(events, cutoff)):
        return not_yet(hint)
    if got != (right := _count(events, 1, "tea", cutoff, 28)):
        rule = f"it returns {got:g} where {right} events count."
        return probe(answer, _count, events, 1, "tea", cutoff, 28, rule=rule)
    other = result_of(answer, events, 2, "jam", pd.Timestamp("2024-03-01 12:00"), 7)
    if not isinstance(other, str) and other.shape == () and other in (2, 5):
        return not_yet("compare moments, not days, and count every event, also an equal one.")
    if isinstance(other, str) or other.shape != () or other != 3:
        rule = "right once, but not for another user, item, cutoff or number of days."
        return not_yet(f"{rule} Is one of them written into the function?")
    return "Correct: from cutoff - days on, and strictly before the cutoff."


def _count(
    events: pd.DataFrame, user_id: int, item_id: str, cutoff: pd.Timestamp, days: int
) -> int:
    own = events.time[(events.user_id == user_id) & (events.item_id == item_id)]
    return int(((own >= cutoff - pd.Timedelta(days=days)) & (own < cutoff)).sum())


@never_raises
def check_01_3(answer: Callable[..., Any]) -> str:
    """Judge ``share(table, features)``.

    The right answer is the share of positives among the *training* samples whose user had
    at least one event with the item before (``user_item_events`` above 0).

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_01_3(lambda table, features: table.label.mean())[:7]
        'Not yet'
    """
    table, features = _small_samples()
    right = np.asarray(_share(table, features, "train"))
    got = result_of(answer, table, features)
    if isinstance(got, str):
        return got
    if fault := shape_fault(got, ()):
        return not_yet(f"one number should come back; {fault}")
    if hint := matching_hint(got, _wrong_shares(table, features), right):
        return not_yet(hint)
    if not same(got, right):
        return not_yet(
            "keep the rows where role is train and user_item_events is above 0, and take the mean "
            "of their labels."
        )
    few = table.iloc[::3], features.iloc[::3]
    fault = fault_elsewhere(answer, functools.partial(_share, role="train"), *few)
    return fault or "Correct: the mean label of the training samples with a history."


def _diary() -> pd.DataFrame:
    """Return events of two users around the cutoff 2024-03-04, with the borders among them."""
    rows = [
        *[(1, "tea", f"2024-01-{day:02d} 12:00:00") for day in (10, 20)],
        (1, "tea", "2024-02-04 23:59:59"),  # a second too old
        *[(1, "tea", "2024-02-05 00:00:00")] * 2,  # the first moment of the 28 days
        *[(1, "tea", "2024-02-20 10:00:00")] * 3,
        (1, "tea", "2024-03-03 23:59:59"),  # the last second before the cutoff
        (1, "tea", "2024-03-04 00:00:00"),  # the cutoff itself
        *[(1, "tea", f"2024-03-{day:02d} 12:00:00") for day in range(5, 12)],
        *[(1, "jam", f"2024-02-{day:02d} 12:00:00") for day in range(6, 13)],
        *[(2, "tea", f"2024-02-{day:02d} 12:00:00") for day in range(6, 20)],
        *[
            (2, "jam", f"{day} 09:00:00")
            for day in ("2024-02-10", "2024-02-28", "2024-02-28", "2024-03-01", "2024-03-03")
        ],
        *[(2, "jam", f"2024-03-01 {hour}:00:00") for hour in (15, 16)],
    ]
    events = pd.DataFrame(rows, columns=["user_id", "item_id", "time"])
    events["time"] = pd.to_datetime(events["time"])
    return events


def _wrong_counts(events: pd.DataFrame, cutoff: pd.Timestamp) -> Mapping[str, NDArray]:
    """Return what the usual mistakes of exercise 2 compute, by their hint."""
    user, item = events.user_id == 1, events.item_id == "tea"
    young, past = events.time >= cutoff - pd.Timedelta(days=28), events.time < cutoff
    at_cutoff = events.time <= cutoff
    same_day = events.time < cutoff + pd.Timedelta(days=1)
    future = (events.time >= cutoff) & (events.time < cutoff + pd.Timedelta(days=28))
    late = events.time > cutoff - pd.Timedelta(days=28)
    counts = {
        "it also counts the event on the cutoff itself. That moment is hidden: use <, not <=.": (
            user & item & young & at_cutoff & same_day
        ),
        "it also counts what lies after the cutoff. This is the leak.": user & item & young,
        "it counts the days after the cutoff. Look back, not ahead.": user & item & future,
        "it forgets how far to look back: nothing before cutoff - days counts.": (
            user & item & past
        ),
        "it counts every event of this user and item, whenever it was.": user & item,
        "it forgets the item: events of other products are in it.": user & young & past,
        "it forgets the user: events of other users are in it.": item & young & past,
        "it forgets the user and the item.": young & past,
        "the borders are exchanged: cutoff - days counts, the cutoff does not.": (
            user & item & late & at_cutoff
        ),
        "it leaves out the first moment of the period: from cutoff - days on means >=.": (
            user & item & late & past
        ),
    }
    once = events[user & item & young & past].drop_duplicates()
    numbers = {hint: rows.sum() for hint, rows in counts.items()} | {
        "it counts equal events once. Each of them happened, so each counts.": len(once)
    }
    return {hint: np.asarray(float(number)) for hint, number in numbers.items()}


def _small_samples() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return samples in which every usual mistake gives another number."""
    groups = [  # role, earlier events, negatives, positives
        ("train", 0, 11, 2),
        ("train", 1, 3, 4),
        ("train", 3, 1, 3),
        ("valid", 0, 4, 1),
        ("valid", 2, 2, 3),
        ("test", 0, 5, 3),
        ("test", 1, 1, 9),
    ]
    rows = [
        (role, events, label)
        for role, events, *counts in groups
        for label, count in enumerate(counts)
        for _ in range(count)
    ]
    frame = pd.DataFrame(rows, columns=["role", "user_item_events", "label"])
    return frame[["role", "label"]], frame[["user_item_events"]].astype("float32")


def _share(table: pd.DataFrame, features: pd.DataFrame, role: str | None = None) -> float:
    rows = features.user_item_events > 0
    return float(table.label[rows if role is None else rows & (table.role == role)].mean())


def _wrong_shares(table: pd.DataFrame, features: pd.DataFrame) -> Mapping[str, NDArray]:
    """Return what the usual mistakes of exercise 3 compute, by their hint."""
    known, train = features.user_item_events > 0, table.role == "train"
    both, positive = known & train, table.label == 1
    found = (both & positive).sum()
    shares = {
        "this looks at the role test. Nothing is learned or chosen there: take train.": _share(
            table, features, "test"
        ),
        "this is taken on valid. Take train.": _share(table, features, "valid"),
        "this mixes all roles, test too. Keep the rows where role is train.": _share(
            table, features
        ),
        "this is the share over all training samples. Keep those with a history.": (
            table.label[train].mean()
        ),
        "this divides by all training samples. The total is the samples with a history.": (
            found / train.sum()
        ),
        "this divides by all samples. The total is the training samples with a history.": (
            found / len(table)
        ),
        "this is the share of the positives that have a history. Turn it around: the share of "
        "those with a history that are positive.": found / (train & positive).sum(),
        "this is the share of the samples that have a history. How many of them are positive?": (
            both.sum() / train.sum()
        ),
        "these are the samples without a history. Take user_item_events above 0.": (
            table.label[train & ~known].mean()
        ),
        "this is a count. Divide it by the number of training samples with a history.": found,
        "this is the share of negatives.": 1 - found / both.sum(),
        "this is in per cent. Return a share between 0 and 1.": 100 * found / both.sum(),
        "this leaves out samples with exactly one event: above 0 means 1 is in.": (
            table.label[train & (features.user_item_events > 1)].mean()
        ),
    }
    return {hint: np.asarray(float(value)) for hint, value in shares.items()}
