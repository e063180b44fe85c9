"""Every check on every answer: right ones pass, each mistake gets its hint, nothing else passes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from wrong_answers import (
    EXERCISES,
    FATES,
    LEAKS,
    SCHEMA,
    Exercise,
    Later,
    own_model,
    squares_of_own_model,
)

from helpers import exercises as checks

FEWEST = 3  # wrong answers that each exercise must have a hint for
CHECKS = sorted(name for name in checks.__all__ if name.startswith("check_"))
OF_FUNCTIONS = [
    name
    for name in CHECKS
    if callable(EXERCISES[name].right[0]) and not isinstance(EXERCISES[name].right[0], Later)
]


def cases(kind: str) -> list[Any]:
    """Return each exercise with each of its answers of a kind, named by check and place."""
    return [
        pytest.param(exercise, answer, id=f"{name}-{place}")
        for name, exercise in EXERCISES.items()
        for place, answer in enumerate(getattr(exercise, kind))
    ]


def test_every_check_has_right_answers_stubs_and_at_least_three_wrong_answers():
    assert sorted(EXERCISES) == CHECKS
    few = {name: len(e.wrong) for name, e in EXERCISES.items() if len(e.wrong) < FEWEST}
    assert few == {}
    assert all(e.right and e.stubs for e in EXERCISES.values())


@pytest.mark.parametrize(("exercise", "answer"), cases("right"))
def test_a_right_answer_is_correct(exercise: Exercise, answer: Any):
    assert exercise.judge(answer).startswith("Correct")
    assert exercise.judge(answer).startswith("Correct")  # and again: nothing was used up


@pytest.mark.parametrize(("exercise", "stub"), cases("stubs"))
def test_a_stub_is_told_what_to_do(exercise: Exercise, stub: Any):
    assert exercise.judge(stub).startswith("Still empty")


@pytest.mark.parametrize(("exercise", "wrong"), cases("wrong"))
def test_a_wrong_answer_gets_the_hint_that_fits(exercise: Exercise, wrong: tuple[Any, str]):
    answer, hint = wrong
    verdict = exercise.judge(answer)
    assert verdict.startswith("Not yet: ")
    assert hint in verdict or re.search(hint, verdict), verdict


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_wrong_answers_of_one_exercise_are_told_different_things(name: str):
    verdicts = {EXERCISES[name].judge(answer) for answer, _ in EXERCISES[name].wrong}
    assert len(verdicts) >= 2


class Spiteful:
    """An object of which nothing can be asked."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("no")

    __repr__ = __str__ = __len__ = __iter__ = __array__ = __eq__ = __hash__ = _refuse
    __getitem__ = __float__ = __bool__ = __format__ = _refuse


class WordlessError(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def fails_without_words(*_: Any) -> Any:
    raise WordlessError


def leaves(*_: Any) -> Any:
    raise SystemExit(3)


def endless(*_: Any) -> Iterator[int]:
    while True:
        yield 1


ODD: dict[str, Callable[[], Any]] = {
    "text": lambda: "Correct",
    "number in a text": lambda: "3",
    "bytes": lambda: b"Correct",
    "no text": lambda: "\x00",
    "empty dict": lambda: {"": None},
    "dict": lambda: {"a": 1, 2: [3]},
    "set of tuples": lambda: {(1, 2), (3,)},
    "NaN": lambda: np.nan,
    "infinite": lambda: [np.inf, -np.inf],
    "NaNs": lambda: np.full(6, np.nan),
    "huge": lambda: 10**400,
    "huge ids": lambda: [10**400] * 10,
    "true": lambda: True,
    "booleans": lambda: [True, False] * 3,
    "complex": lambda: [1 + 2j],
    "ragged": lambda: [[1], [2, 3]],
    "nested nothing": lambda: [None, [None]],
    "generator": lambda: (n for n in range(6)),
    "failing generator": lambda: (1 / n for n in (1, 0)),
    "endless": endless,
    "table": lambda: pd.DataFrame({"a": [1.0, 2], "b": ["x", "y"]}, index=["q", "q"]),
    "series of texts": lambda: pd.Series(["a", "b"], index=[7, 7]),
    "dates": lambda: pd.date_range("2024-01-01", periods=4),
    "missing": lambda: pd.NA,
    "object array": lambda: np.array([object()], dtype=object),
    "no dimensions": lambda: np.array(None),
    "empty array": lambda: np.empty((0, 3)),
    "five dimensions": lambda: np.zeros((1, 1, 1, 1, 1)),
    "class": lambda: dict,
    "module": lambda: np,
    "built-in": lambda: len,
    "spiteful": lambda: Spiteful(),
    "list of spite": lambda: [Spiteful()],
    "no words": lambda: fails_without_words,
    "leaves": lambda: leaves,
    "not enough arguments": lambda: lambda: 1,
    "a surrogate": lambda: "user_behavior:\ud800",
}


@pytest.mark.parametrize("name", CHECKS)
def test_an_answer_that_nobody_listed_is_never_correct_and_never_an_error(name: str):
    judge = EXERCISES[name].judge
    told = {odd: judge(make()) for odd, make in ODD.items()}
    if name in OF_FUNCTIONS:
        told |= {f"returns {odd}": judge(lambda *_, m=make: m()) for odd, make in ODD.items()}
    assert {k: v for k, v in told.items() if not re.match("Not yet: .|Still empty: .", v)} == {}


@pytest.mark.parametrize("place", range(4))
def test_an_odd_model_loss_or_row_is_never_correct_and_never_an_error(place: int):
    norms = np.sqrt(squares_of_own_model().sum(axis=1))
    for make in ODD.values():
        parts = [*own_model()[:4], norms]
        parts[place] = make()
        assert checks.check_04_4(*parts).startswith(("Not yet: ", "Still empty: "))


FORMS: dict[str, Callable[[Any], Any]] = {
    "array": np.asarray,
    "list": lambda value: np.asarray(value).tolist(),
    "tuple": lambda value: tuple(value) if np.ndim(value) else value,
    "float32": lambda value: np.asarray(value, np.float32),
    "object array": lambda value: np.asarray(value, object),
    "series with another index": lambda value: (
        pd.Series(value, index=range(len(value), 0, -1)) if np.ndim(value) == 1 else value
    ),
    "tensor": lambda value: tensor(value),
}


def tensor(value: Any) -> Any:
    from helpers.backend import tf

    return tf.constant(value)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_a_right_answer_may_come_in_any_form(name: str, form: str):
    exercise = EXERCISES[name]
    answer = exercise.right[0]
    assert exercise.judge(lambda *a: FORMS[form](answer(*a))).startswith("Correct")


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_an_answer_that_changes_what_it_is_given_changes_no_verdict(name: str):
    exercise = EXERCISES[name]

    def careless(*inputs: Any) -> Any:
        result = exercise.right[0](*inputs)
        for each in inputs:
            if isinstance(each, np.ndarray):
                each[...] = 0
            elif isinstance(each, pd.DataFrame):
                each.drop(columns=list(each.columns), inplace=True)
        return result

    assert exercise.judge(careless).startswith("Correct")
    assert exercise.judge(careless).startswith("Correct")
    assert exercise.judge(exercise.right[0]).startswith("Correct")


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_one_number_off_is_not_correct(name: str):
    exercise = EXERCISES[name]

    def off(*inputs: Any) -> Any:
        result = np.array(exercise.right[0](*inputs), dtype=float)
        result[(0,) * result.ndim] += 1e-3
        return result

    assert exercise.judge(off).startswith("Not yet")


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_a_function_that_stops_is_told_why(name: str):
    assert "ZeroDivisionError" in EXERCISES[name].judge(lambda *_: 1 / 0)
    assert "WordlessError" in EXERCISES[name].judge(fails_without_words)
    assert "SystemExit" in EXERCISES[name].judge(leaves)


def test_an_interrupt_from_the_keyboard_goes_through():
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checks.check_02_3(interrupted)


def test_rows_of_equal_loss_may_stand_for_each_other():
    table = pd.DataFrame({"sample_id": range(20), "loss": 1.0, "gradient_norm": range(20)})
    assert checks.check_04_3(range(5, 15), table).startswith("Correct")


def test_scores_made_of_the_labels_are_found_in_a_long_list():
    rng = np.random.default_rng(0)
    labels = (rng.random(100) < 0.3).astype(float)
    assert "made of them" in checks.check_03_3(labels + 0.1 * rng.random(100), labels, 0.7)


def test_norms_are_looked_at_beyond_the_first_fifty_rows():
    model, loss, x, y, _ = own_model()
    right = np.tile(np.sqrt(squares_of_own_model().sum(axis=1)), 20)
    many = model, loss, np.tile(x, (20, 1)), np.tile(y, 20)
    assert checks.check_04_4(*many, right).startswith("Correct")
    assert checks.check_04_4(*many, np.append(right[:60], right[:60] + 1)).startswith("Not yet")


# --- all answers, where there are few -------------------------------------------------------------


def test_of_all_orders_one_is_correct():
    orders = ["".join(order) for order in itertools.permutations("ABCD")]
    assert [o for o in orders if checks.check_02_1(o).startswith("Correct")] == ["ADCB"]


def test_of_all_sets_of_columns_one_is_correct():
    names = list(checks.LEAK_CANDIDATES)
    sets = [set(s) for k in range(1, 7) for s in itertools.combinations(names, k)]
    assert [s for s in sets if checks.check_01_1(s).startswith("Correct")] == [set(LEAKS)]
    assert all(checks.check_01_1(s).startswith(("Correct", "Not yet")) for s in sets)


def test_of_all_fates_of_a_line_one_is_correct():
    words = ("kept", "left out", "faulty", "copy")
    tried = [FATES | {letter: word} for letter in FATES for word in words]
    assert all(checks.check_07_1(f).startswith("Correct") == (f == FATES) for f in tried)


def test_every_line_of_the_schema_but_the_file_is_needed():
    lines = SCHEMA.strip().splitlines()
    for line in lines:
        rest = "\n".join(each for each in lines if each != line)
        assert checks.check_07_2(rest).startswith("Correct") == ("file:" in line), line


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_random_numbers_of_the_right_shape_are_never_correct(name: str):
    exercise, rng = EXERCISES[name], np.random.default_rng(0)

    def guess(*inputs: Any) -> Any:
        right = np.asarray(exercise.right[0](*inputs), dtype=float)
        return rng.normal(right.mean(), rng.choice([0.01, 1, 100]), size=right.shape)

    assert all(exercise.judge(guess).startswith("Not yet") for _ in range(50))
