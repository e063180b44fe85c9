"""What can be said about a wrong answer in any exercise: how it differs from the right one.

A check first looks for the mistakes that its exercise invites. What is left it hands on to
:func:`probe`, which compares the numbers, exchanges and changes the inputs, and says what it finds.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers.exercises.verdicts import EMPTY_BODY, not_yet, result_of, same, shape_fault

__all__ = ["fault_elsewhere", "probe"]

Right = Callable[..., Any]
_ROUNDED = "nearly: do not round."


def probe(answer: Callable[..., Any], right: Right, *inputs: Any, rule: str) -> str:
    """Return the verdict on a wrong answer: how it differs from the right one, and the rule.

    Args:
        answer: the learner's function.
        right: what it should compute, with the same arguments.
        inputs: the arguments: numbers, arrays or tables.
        rule: a sentence about what the right answer does; it stands alone if nothing is found.

    Example:
        >>> y, p = np.array([0.0, 1, 1]), np.array([0.2, 0.5, 0.9])
        >>> probe(lambda y, p: y - p, lambda y, p: p - y, y, p, rule="the error is p - y.")
        'Not yet: every sign is turned. The error is p - y.'
        >>> probe(lambda y, p: y * (1 - p), lambda y, p: np.abs(p - y), y, p, rule="take |p - y|.")
        'Not yet: right where y is 1, not where y is 0. Take |p - y|.'
    """
    got, want = result_of(answer, *inputs), _computed(right, inputs)
    if isinstance(got, str) or want is None or got.shape != want.shape or same(got, want):
        return not_yet(rule)
    hint = (
        _relation(got, want)
        or _exchanged(answer, right, inputs, got)
        or _unused(answer, right, inputs)
        or _half_right(answer, inputs, got, want)
    )
    if not hint or hint == _ROUNDED:
        return not_yet(hint or rule)
    return not_yet(f"{hint} {rule[0].upper()}{rule[1:]}")


def fault_elsewhere(answer: Callable[..., Any], right: Right, *inputs: Any) -> str:
    """Return the verdict if an answer that was right once fails on other inputs, else "".

    Example:
        >>> def share(x, total): return x / total
        >>> fault_elsewhere(lambda x, total: x / 3, share, np.array([4.0, 6.0]), 2.0)
        'Not yet: right once, but the result stays the same whatever `total` is.'
        >>> fault_elsewhere(lambda x, total: x / total, share, np.array([4.0, 6.0]), 2.0)
        ''
    """
    got, want = result_of(answer, *inputs), np.asarray(right(*inputs), float)
    if isinstance(got, str) and got == EMPTY_BODY:
        return not_yet("right once, but for other rows nothing came back.")
    if isinstance(got, str):
        return got.replace("Not yet: ", "Not yet: right once, but for other rows ", 1)
    if same(got, want):
        return ""
    if fault := shape_fault(got, want.shape):
        return not_yet(f"right once, but for other rows {fault}")
    if same(np.abs(got), want):
        return not_yet("the sizes are right, the sign is not always: take the absolute value.")
    if hint := _unused(answer, right, inputs):
        return not_yet(f"right once, but {hint}")
    return not_yet("right once, but not for other rows. Is a number written into it?")


def _unused(answer: Any, right: Right, inputs: Sequence[Any]) -> str:
    """Return which input an answer does not use although it should, or ""."""
    got, want = result_of(answer, *inputs), _computed(right, inputs)
    if isinstance(got, str) or want is None:
        return ""
    names, tried, unused = _names(answer, len(inputs)), 0, []
    for place, value in enumerate(inputs):
        other = list(inputs)
        other[place] = _another(value)
        moved = None if other[place] is None else _computed(right, other)
        if moved is None or same(moved, want):
            continue
        tried += 1
        still = result_of(answer, *other)
        if not isinstance(still, str) and same(still, got):
            unused.append(names[place])
    if not unused:
        return ""
    if len(unused) == tried > 1:
        return "the result is always the same, whatever comes in."
    verb = "is" if len(unused) == 1 else "are"
    return f"the result stays the same whatever {' and '.join(unused)} {verb}."


def _relation(got: NDArray, want: NDArray) -> str:
    """Return what was done to the right numbers, or ""."""
    relations = {
        "every sign is turned.": -want,
        "these are the right numbers squared.": want**2,
        "these are the roots of the right numbers.": np.sqrt(np.abs(want)),
        "these are the right numbers taken from 1.": 1 - want,
        "these are the inverses of the right numbers.": _inverse(want),
        "these are the logarithms of the right numbers.": np.log(np.where(want > 0, want, np.nan)),
        "this is 100 times what it should be: is it in per cent?": 100 * want,
        "this is twice what it should be.": 2 * want,
        "this is half of what it should be.": want / 2,
    }
    for hint, wrong in relations.items():
        if same(got, wrong):
            return hint
    if any(same(got, np.round(want, places)) for places in (1, 2, 3, 4)):
        return _ROUNDED
    if same(np.abs(got), np.abs(want)):
        return "the sizes are right, some signs are not."
    if got.size < 3:  # any two numbers are in some proportion
        return ""
    if got.ndim == 1 and same(np.sort(got), np.sort(want)):
        return "these are the right numbers, but in another order than the rows."
    if same(got, np.full_like(got, want.mean())):
        return "this is the mean of the right numbers, once for each. Do not average."
    largest = np.abs(want).argmax()
    factor = got.ravel()[largest] / want.ravel()[largest] if want.any() else 0.0
    if factor and same(got / factor, want):
        return f"every number is {factor:.3g} times what it should be.{_as_a_count(factor, want)}"
    if same(got - got.ravel()[0], want - want.ravel()[0]):
        return f"every number is {(got - want).ravel()[0]:+.3g} off."
    return ""


def _inverse(values: NDArray) -> NDArray:
    with np.errstate(divide="ignore"):
        return 1 / values


def _as_a_count(factor: float, want: NDArray) -> str:
    """Return what a factor has to do with the number of rows, if it has."""
    rows = len(want)
    if np.isclose(factor, 1 / rows):
        return f" Is it divided by the number of rows, {rows}?"
    if np.isclose(factor, rows):
        return f" Is a division by the number of rows, {rows}, missing?"
    return ""


def _exchanged(answer: Any, right: Right, inputs: Sequence[Any], got: NDArray) -> str:
    """Return which two inputs stand in each other's place, or ""; a count may agree by chance."""
    if not (got % 1).any():
        return ""
    names = _names(answer, len(inputs))
    for one, other in itertools.combinations(range(len(inputs)), 2):
        turned = list(inputs)
        turned[one], turned[other] = inputs[other], inputs[one]
        wrong = _computed(right, turned)
        if wrong is not None and same(got, wrong):
            return f"{names[one]} and {names[other]} are exchanged."
    return ""


def _half_right(answer: Any, inputs: Sequence[Any], got: NDArray, want: NDArray) -> str:
    """Return of which rows the answer is right, if some are."""
    if got.ndim == 0 or len(got) < 3:
        return ""
    off = ~np.isclose(got, want, rtol=1e-6, atol=1e-9).reshape(len(got), -1).all(axis=1)
    if off.all():
        return ""
    names = _names(answer, len(inputs))
    for name, value in zip(names, inputs, strict=True):
        rows = np.asarray(value)
        if rows.shape != off.shape or set(np.unique(rows)) != {0, 1}:
            continue
        for wrong in (0, 1):
            if off[rows == wrong].all() and not off[rows != wrong].any():
                return f"right where {name} is {1 - wrong}, not where {name} is {wrong}."
    right = [str(row) for row in np.flatnonzero(~off)]
    places = f"row {right[0]} is" if len(right) == 1 else f"rows {', '.join(right)} are"
    return f"{places} right (counted from 0), the other {off.sum()} not."


def _computed(right: Right, inputs: Sequence[Any]) -> NDArray | None:
    """Return finite numbers, or None where the rule has none for such inputs."""
    result = result_of(right, *inputs)
    return None if isinstance(result, str) or not np.isfinite(result).all() else result


def _another(value: Any) -> Any:
    """Return another value of the same kind and shape, or None for kinds that are not numbers."""
    if isinstance(value, pd.DataFrame | pd.Series | str) or value is None:
        return None
    if isinstance(value, pd.Timestamp):
        return value + pd.Timedelta(days=1)
    if isinstance(value, bool | int):
        return value + 1
    array = np.asarray(value)
    if array.dtype.kind not in "if":
        return None
    if set(np.unique(array)) <= {0, 1} and array.ndim:
        return 1 - array
    if array.dtype.kind == "i":
        return array[::-1].copy()
    other = 0.8 * array[::-1] if array.ndim else 0.8 * array
    return other if array.ndim else float(other)


def _names(answer: Any, count: int) -> list[str]:
    """Return the learner's own names of the inputs, where they have one each."""
    try:
        parameters = list(inspect.signature(answer).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(plain) < count:
        return [f"input {place}" for place in range(1, count + 1)]
    return [f"`{name}`" if len(name) > 1 else name for name in plain[:count]]
