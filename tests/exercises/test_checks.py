"""The exercise checks: right answers pass, stubs do not, and each mistake gets its own hint."""

import re

import numpy as np
import pytest
from scipy.special import expit

from helpers.exercises import check_02_2, check_02_3


def gradient(factor=1.0):
    def answer(area, price, weight, bias):
        error = weight * area + bias - price
        return factor * (error * area).mean(), factor * error.mean()

    return answer


def error(area, price, weight, bias):
    return weight * area + bias - price


def test_right_answers_are_correct_in_whatever_form_they_come():
    assert check_02_2(gradient()).startswith("Correct")
    assert check_02_2(lambda *a: np.array(gradient()(*a))).startswith("Correct")
    assert check_02_3(lambda y, z: expit(z) - y).startswith("Correct")
    assert check_02_3(lambda y, z: list(1 / (1 + np.exp(-z)) - y)).startswith("Correct")


@pytest.mark.parametrize("check", [check_02_2, check_02_3])
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_stubs_are_still_empty(check, stub):
    assert check(stub).startswith("Still empty")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (gradient(2), "the 1/2 of the loss"),
        (gradient(5), "divide by N"),
        (gradient(10), "divide by N; there is a 2 too many"),
        (gradient(-1), "sign is turned"),
        (gradient(-2), "sign is turned.*; there is a 2 too many"),
        (gradient(3), "3 times what they should be"),
        (lambda *a: (error(*a).mean(), error(*a).mean()), "input is forgotten"),
        (lambda *a: gradient()(*a)[::-1], "swapped"),
        (lambda *a: (gradient()(*a)[0], error(*a).sum()), "weight is right, the bias"),
        (lambda *a: (error(*a).sum(), error(*a).mean()), "bias is right, the weight"),
        (lambda *a: (1.0, 1.0), "each error"),
        (lambda *a: (0.0, 0.0), "0 times what they should be"),
        (lambda *a: error(*a), r"shape is \(5,\)"),
        (lambda *a: (error(*a) * a[0], error(*a)), r"shape is \(2, 5\)"),
    ],
)
def test_each_wrong_gradient_gets_the_hint_that_fits(answer, hint):
    verdict = check_02_2(answer)
    assert verdict.startswith("Not yet")
    assert re.search(hint, verdict)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda y, z: z - y, "probability first"),
        (lambda y, z: y - expit(z), "sign is turned"),
        (lambda y, z: expit(z), "label"),
        (lambda y, z: np.logaddexp(0, z) - z * y, "loss itself"),
        (lambda y, z: (expit(z) - y) / expit(z) / expit(-z), "by the probability"),
        (lambda y, z: (expit(z) - y) * expit(z) * expit(-z), "squared error"),
        (lambda y, z: (expit(z) - y) / len(y), "divided by N"),
        (lambda y, z: np.mean(expit(z) - y), "the mean over"),
        (lambda y, z: np.sum(expit(z) - y), "the sum over"),
        (lambda y, z: expit(z)[:, None] - y, "broadcast to a table"),
        (lambda y, z: np.exp(z) / (1 + np.exp(z)) - y, "z = 1000"),
        (lambda y, z: 2 * (expit(z) - y), "slope of about -0.1192"),
    ],
)
def test_each_wrong_slope_gets_the_hint_that_fits(answer, hint):
    verdict = check_02_3(answer)
    assert verdict.startswith("Not yet")
    assert hint in verdict


@pytest.mark.parametrize("check", [check_02_2, check_02_3])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        3.0,
        "text",
        lambda: 1,
        lambda *_: "text",
        lambda *_: 1 / 0,
        lambda *_: [[1], [2, 3]],
        lambda *_: np.nan,
        lambda *_: [np.nan, np.inf],
        lambda *_: 1 + 2j,
    ],
)
def test_checks_never_raise(check, answer):
    assert check(answer).startswith("Not yet")


def test_an_answer_that_changes_its_inputs_changes_no_verdict():
    def careless(y, z):
        result = expit(z) - y
        z[:] = 0
        return result

    assert check_02_3(careless).startswith("Correct")
    assert check_02_3(careless).startswith("Correct")
