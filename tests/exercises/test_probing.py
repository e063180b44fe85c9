"""What is said of any wrong answer: it is true of the answer, and no right one is touched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers.exercises.probing import fault_elsewhere, probe

LABEL = np.array([0.0, 1, 1, 0, 1])
P = np.array([0.2, 0.5, 0.9, 0.4, 0.3])
RULE = "the rule."


def right(label, p, rate):
    """Give something in which every input matters."""
    return (p - label) * (1 + rate) * (1 + p)


def verdict(answer, *, rule=RULE):
    return probe(answer, right, LABEL, P, 0.3, rule=rule)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda y, p, r: -right(y, p, r), "every sign is turned. The rule."),
        (lambda y, p, r: np.abs(right(y, p, r)), "some signs are not"),
        (lambda y, p, r: right(y, p, r) ** 2, "squared"),
        (lambda y, p, r: np.sqrt(np.abs(right(y, p, r))), "roots"),
        (lambda y, p, r: 1 - right(y, p, r), "taken from 1"),
        (lambda y, p, r: 1 / right(y, p, r), "inverses"),
        (lambda y, p, r: 100 * right(y, p, r), "per cent"),
        (lambda y, p, r: 2 * right(y, p, r), "twice"),
        (lambda y, p, r: right(y, p, r) / 2, "half"),
        (lambda y, p, r: right(y, p, r) / len(y), "divided by the number of rows, 5"),
        (lambda y, p, r: right(y, p, r) * len(y), "by the number of rows, 5, missing"),
        (lambda y, p, r: right(y, p, r) * 1.7, "1.7 times what it should be. The rule."),
        (lambda y, p, r: right(y, p, r) - 0.25, "-0.25 off"),
        (lambda y, p, r: right(y, p, r)[::-1], "another order"),
        (lambda y, p, r: np.full(5, right(y, p, r).mean()), "Do not average"),
        (lambda y, p, r: right(p, y, r), "y and p are exchanged"),
        (lambda label, p, rate: right(label, p, 0.2) + 1e-3 * label, "whatever `rate` is."),
        (lambda *inputs: right(*inputs[:2], 0.2) + 1e-3 * inputs[0], "whatever input 3 is."),
        (lambda y, p, r: right(np.ones(5), p, 0.7), "whatever y and r are."),
        (lambda y, p, r: np.arange(5.0), "always the same"),
        (lambda y, p, r: np.where(y == 1, right(y, p, r), r * p), "where y is 1, not where y is 0"),
        (lambda y, p, r: np.where(p < 0.45, right(y, p, r), y * p * r), "rows 0, 3, 4 are right"),
        (lambda y, p, r: np.where(p > 0.6, right(y, p, r), y * p * r), "row 2 is right"),
    ],
)
def test_what_is_wrong_is_named(answer, hint):
    assert hint in verdict(answer)


def test_a_rounded_answer_is_told_nothing_else():
    rounded = verdict(lambda y, p, r: np.round(right(y, p, r), 2))
    assert rounded == "Not yet: nearly: do not round."


@pytest.mark.parametrize(
    "answer",
    [
        lambda y, p, r: right(y, p, r) * (1 + p),  # wrong in no way that a rule of thumb knows
        lambda y, p, r: right(y, p, r)[:3],  # the check itself speaks of shapes
        lambda y, p, r: np.full(5, np.nan),
        lambda y, p, r: 1 / 0,
        lambda y, p, r: None,
    ],
)
def test_where_nothing_fits_the_rule_stands_alone(answer):
    assert verdict(answer) == "Not yet: the rule."


def test_no_relation_is_seen_where_any_number_would_be_in_one():
    """One number is always some times another."""
    assert probe(lambda p: 0.123 * p, lambda p: p, 0.7, rule=RULE) == "Not yet: the rule."


def test_a_rule_that_refuses_exchanged_or_changed_inputs_is_no_obstacle():
    def strict(label, p):
        assert set(label) <= {0, 1}
        assert (p < 1).all()
        return p - label

    said = probe(lambda y, p: p**2 - y + 0.1 * y, strict, LABEL, P, rule=RULE)
    assert said == "Not yet: the rule."


def test_inputs_that_are_no_numbers_are_left_alone():
    table = pd.DataFrame({"x": [1.0, 2.0]})

    def total(frame, name, days, moment):
        return float(frame[name].sum() * days + moment.day)

    inputs = table, "x", 3, pd.Timestamp("2024-03-04")
    said = probe(lambda frame, name, days, moment: frame.x.sum() * 9, total, *inputs, rule=RULE)
    assert "always the same" in said
    said = probe(lambda f, n, days, moment: f.x.sum() * days + 0.5, total, *inputs, rule=RULE)
    assert "whatever `moment` is" in said


def test_the_inputs_of_an_answer_are_not_changed_by_probing():
    label, p = LABEL.copy(), P.copy()

    def greedy(y, p, r):
        y[:], p[:] = 7, 7
        return p

    probe(greedy, right, label, p, 0.3, rule=RULE)
    assert (label == LABEL).all()
    assert (p == P).all()


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda y, p, r: right(y, p, 0.3), "right once, but the result stays the same whatever r"),
        (lambda y, p, r: right(y, p, r) * len(y) / 5, "Is a number written into it?"),
        (lambda y, p, r: right(y, p, r)[:, None], "flatten it to (3,)"),
        (lambda y, p, r: None, "nothing came back"),
        (lambda y, p, r: 1 / 0, "for other rows it stops with ZeroDivisionError"),
    ],
)
def test_a_second_look_says_what_fails_there(answer, hint):
    assert hint in fault_elsewhere(answer, right, LABEL[:3], P[:3], 0.5)


def test_a_second_look_sees_a_sign_that_the_first_numbers_hid():
    said = fault_elsewhere(lambda x: x, np.abs, np.array([1.0, -2.0]))
    assert "the sign is not always" in said


def test_a_right_answer_passes_the_second_look():
    assert fault_elsewhere(right, right, LABEL[:3], P[:3], 0.5) == ""
