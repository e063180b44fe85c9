"""What all self-checks share: running an answer safely, comparing it, and wording the verdict."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STILL_EMPTY", "choice", "matching_hint", "not_yet", "result_of", "same", "vector"]

#: The verdict on an exercise that nobody has touched.
STILL_EMPTY = "Still empty: fill in your answer and run the cell again."


def choice(answer: Any, right: str, hints: dict[str, str], praise: str) -> str:
    """Judge an answer that is one of a few words."""
    if answer is None or answer is Ellipsis:
        return STILL_EMPTY
    word = str(answer).strip().lower()
    if word == right:
        return f"Correct: {praise}"
    if word in hints:
        return not_yet(hints[word])
    return not_yet(f"answer with one of {', '.join(sorted({right, *hints}))}; got {answer!r:.40}.")


def vector(answer: Any, size: int) -> NDArray | str:
    """Return the answer as ``size`` finite numbers, or the verdict if it is none."""
    if answer is None or answer is Ellipsis:
        return STILL_EMPTY
    try:
        got = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        return not_yet(f"numbers are wanted; got {type(answer).__name__}.")
    if got.shape == (size, 1):
        return not_yet(f"the shape is ({size}, 1); flatten it to ({size},).")
    if got.shape != (size,):
        return not_yet(f"{size} numbers are wanted, one a row; the shape is {got.shape}.")
    if not np.isfinite(got).all():
        return not_yet("some numbers are NaN or infinite; what should they be?")
    return got


def result_of(answer: Callable[..., Any], *inputs: Any) -> NDArray | str:
    """Return what the answer computes as a float array, or the verdict if that fails."""
    if not callable(answer):
        return not_yet(f"give the function itself, without brackets; got {answer!r:.60}.")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            got = answer(*(np.copy(i) if isinstance(i, np.ndarray) else i for i in inputs))
            if got is None or got is Ellipsis:
                return "Still empty: write the function's body and run the cell again."
            return np.asarray(got, dtype=float)
    except Exception as error:  # whatever a learner's code raises, the check must not
        return not_yet(f"it stops with {type(error).__name__}: {error}")


def matching_hint(got: NDArray, mistakes: Mapping[str, NDArray]) -> str:
    """Return the hint of the first mistake that gives these numbers, else ""."""
    return next((hint for hint, wrong in mistakes.items() if same(got, np.asarray(wrong))), "")


def same(got: NDArray, want: NDArray) -> bool:
    """Return whether shapes and numbers agree, up to rounding."""
    return np.shape(got) == np.shape(want) and bool(np.allclose(got, want, rtol=1e-6, atol=1e-9))


def not_yet(hint: str) -> str:
    """Return the verdict of a wrong answer."""
    return f"Not yet: {hint}"
