"""Self-checks of the exercises of notebook 02.

``check_NN_K`` judges exercise K of notebook NN. It returns one sentence or two, which
begin with ``Correct``, ``Not yet`` or ``Still empty``, and it never raises: an answer
that fails says why. Each check runs the answer on numbers that the notebook does not
show, and compares what comes back with the right result and with the usual wrong ones.

Example:
    >>> check_02_2(lambda y, logit: logit - y)
    'Not yet: this is z - y. Turn the logit into a probability first: p = sigma(z).'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.checks.verdicts import matching_hint, not_yet, result_of, same
from helpers.losses import (
    cross_entropy,
    cross_entropy_by_logit,
    cross_entropy_by_probability,
    half_squared_error_by_logit,
    linear_gradient,
    sigmoid,
)

__all__ = ["check_02_1", "check_02_2"]


def check_02_1(answer: Callable[..., Any]) -> str:
    """Judge ``gradient(area, price, weight, bias) -> (by_weight, by_bias)``.

    The right answer is the gradient of the mean half squared error of the line
    ``weight * area + bias``.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_02_1(lambda area, price, weight, bias: None)[:11]
        'Still empty'
    """
    area, price, line = np.array([0.6, 1.1, 1.3, 1.9, 2.4]), np.array([2, 2, 4, 5, 4.5]), (0.7, 0.2)
    right = linear_gradient(area[:, None], price, line[:1], line[1])
    got = result_of(answer, area, price, *line)
    if isinstance(got, str):
        return got
    if got.shape != (2,):
        return not_yet(
            f"two numbers should come back, (by_weight, by_bias); the shape is {got.shape}. "
            "Average over the samples before you return."
        )
    if same(got, right):
        return "Correct: error times input for the weight, the mean error for the bias."
    if not same(got / right, np.full(2, got[0] / right[0])):
        return _one_wrong_part(got, right)
    return not_yet(_wrong_factor(got[0] / right[0], len(area)))


def check_02_2(answer: Callable[..., Any]) -> str:
    """Judge ``slope(y, logit)``, the cross-entropy's derivative by each sample's logit.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_02_2(cross_entropy_by_logit)[:7]
        'Correct'
    """
    y, logit = np.array([0, 1, 1, 0.0]), np.array([1.5, -2, 0.5, -0.3])
    got = result_of(answer, y, logit)
    if isinstance(got, str):
        return got
    right = cross_entropy_by_logit(y, logit)
    if hint := matching_hint(got, _wrong_slopes(y, logit)):
        return not_yet(hint)
    if got.shape != right.shape:
        return not_yet(
            f"one number a sample should come back, shape {right.shape}; the shape is "
            f"{got.shape}. Is something averaged, or broadcast to a table?"
        )
    if not same(got, right):
        return not_yet("try y = 1, z = 0: a slope of -1/2 should come back.")
    extreme = result_of(answer, np.array([0, 1.0]), np.array([1000, -1000.0]))
    if isinstance(extreme, str) or not same(extreme, np.array([1, -1.0])):
        return not_yet(
            "right for small logits, but not for z = 1000. "
            "Never compute exp of a large positive number: helpers.losses.sigmoid does not."
        )
    return "Correct: sigma(z) - y, the probability minus the label, for every sample."


def _wrong_slopes(y: NDArray, logit: NDArray) -> Mapping[str, NDArray]:
    """Return what the usual mistakes of exercise 2 compute, by their hint."""
    p, right = sigmoid(logit), cross_entropy_by_logit(y, logit)
    return {
        "this is z - y. Turn the logit into a probability first: p = sigma(z).": logit - y,
        "the sign is turned. Where y = 1 the loss falls as z grows: the slope is negative.": -right,
        "this is the probability alone. Where does the label come in?": p,
        "this is the loss itself. Its derivative is asked for.": cross_entropy(y, logit),
        "this is the derivative by the probability. Multiply by dp/dz = p (1 - p).": (
            cross_entropy_by_probability(y, p)
        ),
        "this is the slope of the squared error: for cross-entropy p (1 - p) cancels.": (
            half_squared_error_by_logit(y, logit)
        ),
        "this is divided by N. One sample's slope knows nothing of the other samples.": (
            right / len(y)
        ),
        "this is the mean over the samples. Return one number a sample.": right.mean(),
        "this is the sum over the samples. Return one number a sample.": right.sum(),
    }


def _one_wrong_part(got: NDArray, right: NDArray) -> str:
    """Return the verdict when the two parts of a gradient are not wrong by one factor."""
    if same(got, right[::-1]):
        return not_yet("the two numbers are swapped: return (by_weight, by_bias).")
    if same(got, right[[1, 1]]):
        return not_yet("the input is forgotten. The prediction is w x + b, so dp/dw = x.")
    if same(got[0], right[0]):
        return not_yet("the weight is right, the bias is not. What is dp/db of w x + b?")
    if same(got[1], right[1]):
        return not_yet("the bias is right, the weight is not. What is dp/dw of w x + b?")
    return not_yet("multiply each error p - y by its own input x, then take the mean.")


def _wrong_factor(factor: float, samples: int) -> str:
    """Return a hint for a gradient that is the right one times ``factor``."""
    reasons = []
    if factor < 0:
        reasons.append("the sign is turned: with p - y the gradient points to a larger loss")
    size = abs(factor)
    if np.isclose(size, samples) or np.isclose(size, 2 * samples):
        reasons.append("this is the sum over the samples: divide by N")
        size /= samples
    if np.isclose(size, 2):
        reasons.append("there is a 2 too many: the 1/2 of the loss cancels it")
    elif not np.isclose(size, 1):
        reasons.append(f"both numbers are {size:.3g} times what they should be")
    return "; ".join(reasons) + "."
