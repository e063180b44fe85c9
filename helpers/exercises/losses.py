"""Self-checks of the exercises of notebook 02.

``check_NN_K`` judges exercise K of notebook NN. It returns one sentence or two, which
begin with ``Correct``, ``Not yet`` or ``Still empty``, and it never raises: an answer
that fails says why. Each check runs the answer on numbers that the notebook does not
show, and compares what comes back with the right result and with the usual wrong ones.

Example:
    >>> check_02_3(lambda y, logit: logit - y)
    'Not yet: this is z - y. Turn the logit into a probability first: p = sigma(z).'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.exercises.probing import fault_elsewhere, probe
from helpers.exercises.verdicts import (
    STILL_EMPTY,
    matching_hint,
    never_raises,
    not_yet,
    result_of,
    same,
    shape_fault,
    untouched,
)
from helpers.losses import (
    cross_entropy,
    cross_entropy_by_logit,
    cross_entropy_by_probability,
    half_squared_error_by_logit,
    linear_gradient,
    sigmoid,
)

__all__ = ["PULLS", "check_02_1", "check_02_2", "check_02_3", "check_02_4"]

#: Exercise 1: label and logit of each sample.
PULLS: dict[str, tuple[float, float]] = {
    "A": (1.0, -3.0),
    "B": (0.0, -3.0),
    "C": (1.0, 0.0),
    "D": (0.0, 2.0),
}


@never_raises
def check_02_1(answer: Sequence[str]) -> str:
    """Judge the order of the samples of ``PULLS``, the one that pulls hardest at its logit first.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_02_1("BCDA")
        'Not yet: the order is turned round: the hardest pull stands first.'
    """
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if untouched(answer) or (isinstance(answer, str | list | tuple) and not len(answer)):
        return STILL_EMPTY
    if not isinstance(answer, str | list | tuple):
        return not_yet(f'give the four letters in order, such as "ABCD"; got {answer!r:.40}.')
    said = "".join(str(each) for each in answer).upper()
    said = "".join(letter for letter in said if letter.isalnum())
    if not said:
        return STILL_EMPTY
    if sorted(said) != sorted(PULLS):
        return not_yet(f'give each of A, B, C and D once, such as "ABCD"; got {said!r:.40}.')
    y, z = np.array(list(PULLS.values())).T
    if said == _falling(np.abs(sigmoid(z) - y)):
        return "Correct: the pull is |p - y|, how far the probability is from what happened."
    reasons = {
        _falling(np.abs(sigmoid(z) - y))[::-1]: (
            "the order is turned round: the hardest pull stands first."
        ),
        _falling(np.abs(z)): "a large logit alone pulls at nothing: B is certain, and right.",
        _falling(
            sigmoid(z)
        ): "this is the order of the probabilities. Where does the label come in?",
        _falling(z - y): "this is the order of z - y. The pull is |p - y|, with p = sigma(z).",
        _falling(sigmoid(z) - y): "this is the order with its sign. How hard: the absolute value.",
    }
    return not_yet(reasons.get(said, "the pull is |p - y|. How wrong is the model about each?"))


def _falling(values: NDArray) -> str:
    """Return the letters of ``PULLS`` by falling value, ties by the letter."""
    order = np.argsort(-values, kind="stable")
    return "".join(np.array(list(PULLS))[order])


@never_raises
def check_02_2(answer: Callable[..., Any]) -> str:
    """Judge ``gradient(area, price, weight, bias) -> (by_weight, by_bias)``.

    The right answer is the gradient of the mean half squared error of the line
    ``weight * area + bias``.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_02_2(lambda area, price, weight, bias: None)[:11]
        'Still empty'
    """
    area, price = np.array([0.6, 1.1, 1.3, 1.9, 2.4]), np.array([0.4, 2, 0.9, 5, 1.5])
    line = (0.7, 0.2)
    right = np.array(_gradient(area, price, *line))
    got = result_of(answer, area, price, *line)
    if isinstance(got, str):
        return got
    if fault := shape_fault(got, (2,)):
        averaged = "" if got.size <= 2 else " Average over the samples before you return."
        return not_yet(f"two numbers should come back, (by_weight, by_bias); {fault}{averaged}")
    if not np.isfinite(got).all():
        return not_yet("a number is NaN or infinite. Is something divided by 0?")
    if same(got, right):
        few = fault_elsewhere(answer, _gradient, area[:2], price[:2], 1.0, 0.0)
        return few or "Correct: error times input for the weight, the mean error for the bias."
    if hint := matching_hint(got, _wrong_predictions(area, price, *line)):
        return not_yet(hint)
    if not same(got / right, np.full(2, got[0] / right[0])):
        return probe(answer, _gradient, area, price, *line, rule=_one_wrong_part(got, right))
    return not_yet(_wrong_factor(got[0] / right[0], len(area)))


def _gradient(area: NDArray, price: NDArray, weight: float, bias: float) -> NDArray:
    return linear_gradient(area[:, None], price, np.array([weight]), bias)


@never_raises
def check_02_3(answer: Callable[..., Any]) -> str:
    """Judge ``slope(y, logit)``, the cross-entropy's derivative by each sample's logit.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_02_3(cross_entropy_by_logit)[:7]
        'Correct'
    """
    y, logit = np.array([0, 1, 1, 0.0]), np.array([1.5, -2, 0.5, -0.3])
    got = result_of(answer, y, logit)
    if isinstance(got, str):
        return got
    right = cross_entropy_by_logit(y, logit)
    if hint := matching_hint(got, _wrong_slopes(y, logit), right):
        return not_yet(hint)
    if fault := shape_fault(got, right.shape):
        mixed = "" if got.size == 4 else " Is something averaged, or broadcast to a table?"
        return not_yet(f"one number per sample should come back, shape (4,); {fault}{mixed}")
    if not same(got, right):
        rule = "try y = 1, z = 2: a slope of about -0.1192 should come back."
        return probe(answer, lambda y, z: sigmoid(z) - y, y, logit, rule=rule)
    extreme = result_of(answer, np.array([0, 1.0]), np.array([1000, -1000.0]))
    if isinstance(extreme, str) or not same(extreme, np.array([1, -1.0])):
        return not_yet(
            "right for small logits, but not for z = 1000 or z = -1000. Never compute exp of a "
            "large positive number: exp(-|z|) is at most 1, and gives both."
        )
    return "Correct: sigma(z) - y, the probability minus the label, for every sample."


@never_raises
def check_02_4(answer: Callable[..., Any]) -> str:
    """Judge ``suspect(area, price)``: which sample does a line fitted to the *others* miss most?

    The right answer is its place, counted from 0. A typo far out bends the line of all samples
    towards itself, so that this line misses another sample more.

    Returns:
        The verdict, with a hint if the answer is not right.

    Example:
        >>> check_02_4(lambda area, price: price.argmax())[:7]
        'Not yet'
    """
    for area, price in _houses_with_a_typo():
        got = result_of(answer, area, price)
        if isinstance(got, str):
            return got
        if fault := shape_fault(got, ()):
            return not_yet(f"one place should come back, a whole number; {fault}")
        if hint := matching_hint(got, _wrong_suspects(area, price)):
            return not_yet(hint)
        if not same(got, np.asarray(float(np.abs(_left_out_errors(area, price)).argmax()))):
            return not_yet(
                "leave one house out, fit the line to the others, and keep the absolute error on "
                "the house left out. Do so for each house; where is the largest?"
            )
    return "Correct: a model that has not seen the typo is still surprised by it."


def _houses_with_a_typo() -> list[tuple[NDArray, NDArray]]:
    """Return tables of houses: the typo is at the large end, the small end, and between."""
    tables = [
        ([0.5, 0.8, 1.0, 1.3, 1.6, 3.1], [1.3, 2.9, 1.4, 2.9, 3.4, 3.2]),
        ([2.1, 0.2, 2.5, 1.7, 2.8, 2.3], [4.1, 2.9, 5.6, 3.3, 5.4, 4.2]),
        ([0.5, 2.0, 1.0, 1.2, 1.5], [1.5, 4.1, 2.2, 0.3, 3.3]),
        ([1.3, 3.1, 0.9, 1.8, 0.4, 0.8], [2.8, 5.5, 3.2, 3.8, 1.4, 2.2]),
        ([0.9, 0.3, 1.1, 1.6, 1.9, 1.3], [1.4, 0.9, 1.6, 3.1, 1.8, 2.1]),
    ]
    return [(np.array(area), np.array(price)) for area, price in tables]


def _left_out_errors(area: NDArray, price: NDArray) -> NDArray:
    """Return each sample's error under the line that is fitted to the others."""
    errors = []
    for place in range(len(area)):
        rest = np.arange(len(area)) != place
        weight, bias = np.polyfit(area[rest], price[rest], 1)
        errors.append(weight * area[place] + bias - price[place])
    return np.array(errors)


def _errors_of_the_others(area: NDArray, price: NDArray) -> NDArray:
    """Return, for each sample left out, the summed absolute error of the line on the others."""
    sums = []
    for place in range(len(area)):
        rest = np.arange(len(area)) != place
        line = np.polyfit(area[rest], price[rest], 1)
        sums.append(np.abs(np.polyval(line, area[rest]) - price[rest]).sum())
    return np.array(sums)


def _wrong_suspects(area: NDArray, price: NDArray) -> dict[str, NDArray]:
    """Return what the usual mistakes of exercise 4 give, by their hint."""
    weight, bias = np.polyfit(area, price, 1)
    left_out, seen = _left_out_errors(area, price), weight * area + bias - price
    places = {
        "this line has seen the typo and bends towards it. Leave the house out before you fit.": (
            np.abs(seen).argmax()
        ),
        "this fits areas by prices. np.polyfit(x, y, 1): the area is x, the price y.": (
            np.abs(_left_out_errors(price, area)).argmax()
        ),
        "this divides each error by the price. The absolute error is asked for.": (
            np.abs(left_out / price).argmax()
        ),
        "this is its area. Its place is asked for: argmax.": area[np.abs(left_out).argmax()],
        "this is its price. Its place is asked for: argmax.": price[np.abs(left_out).argmax()],
        "this is the smallest error; the largest is asked for.": np.abs(left_out).argmin(),
        "this is counted from 1; places count from 0.": np.abs(left_out).argmax() + 1,
        "this is the error. Its place is asked for: argmax.": np.abs(left_out).max(),
        "this is the error with its sign. Its place is asked for.": left_out[
            np.abs(left_out).argmax()
        ],
        "errors go both ways: take the absolute value before you look for the largest.": (
            left_out.argmin()
        ),
        "errors go both ways. Take the absolute value before you look for the largest.": (
            left_out.argmax()
        ),
        "this is the house of the most unusual area. Its price may be right.": (
            np.abs(area - area.mean()).argmax()
        ),
        "this is the most expensive house. Which one does the line miss?": price.argmax(),
        "this is the cheapest house. Which one does the line miss?": price.argmin(),
    }
    others = _errors_of_the_others(area, price)
    places |= {
        "this adds up the errors of the others. Look at the house that was left out.": (
            others.argmax()
        ),
        "this looks for the fit that leaves the others the least error. Look at the house that was "
        "left out.": others.argmin(),
    }
    right = float(np.abs(left_out).argmax())
    return {hint: np.asarray(float(v)) for hint, v in places.items() if float(v) != right}


def _wrong_slopes(y: NDArray, logit: NDArray) -> Mapping[str, NDArray]:
    """Return what the usual mistakes of exercise 3 compute, by their hint."""
    p, right = sigmoid(logit), cross_entropy_by_logit(y, logit)
    return {
        "this is z - y. Turn the logit into a probability first: p = sigma(z).": logit - y,
        "the sign in the exponent is turned: sigma(z) = 1 / (1 + exp(-z)).": sigmoid(-logit) - y,
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
        "this is the mean over the samples. Return one number per sample.": right.mean(),
        "this is the sum over the samples. Return one number per sample.": right.sum(),
    }


def _wrong_predictions(
    area: NDArray, price: NDArray, weight: float, bias: float
) -> dict[str, NDArray]:
    """Return the gradients of predictions that are not the line, by their hint."""

    def gradient(prediction: NDArray) -> NDArray:
        error = prediction - price
        return np.array([(error * area).mean(), error.mean()])

    predictions = {
        "the bias is missing in the prediction, which is w x + b.": weight * area,
        "the weight is missing in the prediction, which is w x + b.": area + bias,
        "this takes the area for the prediction, which is w x + b.": area,
        "this takes the price for the error. The error is prediction minus price.": 2 * price,
    }
    size = np.abs(weight * area + bias - price)
    signless = np.array([(size * area).mean(), size.mean()])
    mean = (weight * area + bias - price).mean()
    return {
        **{hint: gradient(prediction) for hint, prediction in predictions.items()},
        "errors keep their sign here: no absolute value.": signless,
        "multiply row by row before you take the mean.": np.array([mean * area.mean(), mean]),
    }


def _one_wrong_part(got: NDArray, right: NDArray) -> str:
    """Return the hint when the two parts of a gradient are not wrong by one factor."""
    if same(got, right[::-1]):
        return "the two numbers are swapped: return (by_weight, by_bias)."
    if same(got, right[[1, 1]]):
        return "the input is forgotten. The prediction is w x + b, so dp/dw = x."
    if same(got[0], right[0]):
        return "the weight is right, the bias is not. What is dp/db of w x + b?"
    if same(got[1], right[1]):
        return "the bias is right, the weight is not. What is dp/dw of w x + b?"
    return (
        "check the prediction, w x + b; then multiply each error p - y by its own x, and average."
    )


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
