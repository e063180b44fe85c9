"""What all self-checks share: running an answer safely, comparing it, and wording the verdict."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

__all__ = [
    "EMPTY_BODY",
    "STILL_EMPTY",
    "choice",
    "matching_hint",
    "never_raises",
    "not_yet",
    "result_of",
    "same",
    "shape_fault",
    "untouched",
    "vector",
]

#: The verdict on an exercise that nobody has touched.
STILL_EMPTY = "Still empty: fill in your answer and run the cell again."
#: The verdict on a function that gives nothing back.
EMPTY_BODY = (
    "Still empty: nothing came back. Write the function's body, end it with `return`, and run the "
    "cell again."
)
#: Whatever a learner's code raises; an interrupt from the keyboard goes through.
_ANY_FAULT = (Exception, SystemExit)
_NO_NUMBERS = {"U": "text", "S": "text", "c": "complex numbers", "M": "dates", "m": "durations"}

P = ParamSpec("P")


def never_raises(check: Callable[P, str]) -> Callable[P, str]:
    """Return the check, made so that an answer which cannot even be looked at gets a verdict."""

    @functools.wraps(check)
    def safe(*answers: P.args, **options: P.kwargs) -> str:
        try:
            return check(*answers, **options)
        except _ANY_FAULT as error:
            return not_yet(f"the answer cannot be read: {_words(error)}")

    return safe


def untouched(answer: Any) -> bool:
    """Return whether an answer is still the stub's ``None`` or ``...``."""
    return answer is None or answer is Ellipsis


def choice(answer: Any, right: str, hints: dict[str, str], praise: str) -> str:
    """Judge an answer that is one of a few words."""
    if untouched(answer):
        return STILL_EMPTY
    if isinstance(answer, list | tuple | set) and len(answer) == 1:
        answer = next(iter(answer))
    if isinstance(answer, str) and not answer.strip():
        return STILL_EMPTY
    said = answer.lower().replace("_", " ") if isinstance(answer, str) else ""
    said = re.sub(r"can't|can not", "cannot", said)
    word = " ".join(re.sub(r"[^a-z ]", "", said).split())
    if word == right:
        return f"Correct: {praise}"
    if word in hints:
        return not_yet(hints[word])
    return not_yet(f"answer with one of {', '.join(sorted({right, *hints}))}; got {answer!r:.40}.")


def vector(answer: Any, size: int) -> NDArray | str:
    """Return the answer as ``size`` finite numbers, or the verdict if it is none."""
    if untouched(answer):
        return STILL_EMPTY
    got = _numbers(answer)
    if isinstance(got, str):
        return not_yet(got)
    if fault := shape_fault(got, (size,)):
        return not_yet(f"{size} numbers are wanted, one per row; {fault}")
    if not np.isfinite(got).all():
        return not_yet("some numbers are NaN or infinite. Is something divided by 0?")
    return got


def result_of(answer: Callable[..., Any], *inputs: Any) -> NDArray | str:
    """Return what the answer computes as a float array, or the verdict if that fails.

    It gets copies of arrays and tables: an answer that changes its inputs spoils nothing.
    """
    if not callable(answer):
        return not_yet(f"give the function itself, without brackets; got {answer!r:.60}.")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            got = answer(*(i.copy() if hasattr(i, "copy") else i for i in inputs))
            if untouched(got):
                return EMPTY_BODY
            numbers = _numbers(got)
    except _ANY_FAULT as error:
        return not_yet(f"it stops with {_words(error)}")
    return not_yet(numbers) if isinstance(numbers, str) else numbers


def shape_fault(got: NDArray, shape: tuple[int, ...]) -> str:
    """Return what is wrong with a shape and how to mend it, or "" if nothing is.

    Example:
        >>> shape_fault(np.ones((4, 1)), (4,))
        'the shape is (4, 1); flatten it to (4,) with .ravel().'
    """
    if got.shape == shape:
        return ""
    if shape and got.size == np.prod(shape) and len(shape) == 1:
        return f"the shape is {got.shape}; flatten it to {shape} with .ravel()."
    if len(shape) > 1 and got.shape == shape[::-1]:
        return f"the shape is {got.shape}: the axes are exchanged, {shape} is wanted."
    if shape == () and got.size == 1:
        return f"the shape is {got.shape}; take the number out of its brackets with .item()."
    return f"the shape is {got.shape}."


def matching_hint(
    got: NDArray, mistakes: Mapping[str, NDArray], right: NDArray | None = None
) -> str:
    """Return the hint of the first mistake that gives these numbers, else "".

    Args:
        got: the numbers that the answer gave.
        mistakes: the numbers that each mistake gives, under the hint to it.
        right: the numbers that are wanted. If they are given, rounding them or returning them in
            another order is a mistake, too.
    """
    for hint, wrong in mistakes.items():
        if same(got, np.asarray(wrong)):
            return hint
    if right is not None and np.shape(got) == np.shape(right) and not same(got, right):
        if any(same(got, np.round(right, places)) for places in (1, 2, 3, 4)):
            return "nearly: do not round."
        if got.shape == () and np.isnan(got):
            return "this is NaN. Is no row left, or 0 divided by 0?"
    if right is None or got.ndim != 1 or got.shape != right.shape or same(got, right):
        return ""
    turned = same(np.sort(got), np.sort(right))
    return "these are the right numbers, but in another order than the rows." if turned else ""


def same(got: NDArray, want: NDArray) -> bool:
    """Return whether shapes and numbers agree, up to rounding."""
    return np.shape(got) == np.shape(want) and bool(np.allclose(got, want, rtol=1e-6, atol=1e-9))


def not_yet(hint: str) -> str:
    """Return the verdict of a wrong answer."""
    return f"Not yet: {hint}"


def _numbers(value: Any) -> NDArray | str:
    """Return a value as floats, or what it is instead of numbers."""
    if callable(value):
        return "brackets are missing: a function came back, not what it gives. Call it."
    if isinstance(value, Iterator):  # it may have no end
        return f"a {type(value).__name__} gives its numbers only once; make a list of it."
    if isinstance(value, pd.DataFrame) and not all(map(is_numeric_dtype, value.dtypes)):
        return "a whole table came back. If its rows are meant, count them with len(...)."
    if isinstance(value, str | bytes | Mapping | set | frozenset):
        return f"numbers are wanted; got {type(value).__name__}."
    try:
        raw = np.asarray(value)
        mixed = raw.dtype.kind == "O" and any(isinstance(v, str | bytes) for v in raw.flat)
        if mixed or raw.dtype.kind in _NO_NUMBERS:
            return f"numbers are wanted; got {_NO_NUMBERS.get(raw.dtype.kind, 'text')}."
        return raw.astype(float)
    except _ANY_FAULT:
        return f"numbers are wanted, in rows of one length; got {type(value).__name__}."


def _words(error: BaseException) -> str:
    """Return a fault in words, also if its own words fail."""
    try:
        return f"{type(error).__name__}: {error}"
    except _ANY_FAULT:
        return type(error).__name__
