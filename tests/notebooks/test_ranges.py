"""Every parameter of every notebook states its range, and the range is held everywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError
from tiny_notebooks import PARAMETERS, start_cell, write_notebook

from helpers.__main__ import main
from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.commands import run as runs
from helpers.commands.run_request import RESERVED, convert
from helpers.data.sources import SOURCES
from helpers.notebooks import Parameter, check_values, parameters
from helpers.notebooks.execution import NOTEBOOKS
from helpers.notebooks.ranges import ANYTHING, Anything, Choices, NumberRange, read_range
from helpers.notebooks.record import start

DECLARED = {path.stem: parameters(path) for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}
EVERY = [(name, each) for name, of_one in DECLARED.items() for each in of_one.values()]
IDS = [f"{name[:2]}-{each.name}" for name, each in EVERY]
#: What -p sets; the others have an option of their own.
GIVEN = [(name, each) for name, each in EVERY if each.name not in RESERVED]


def ends(parameter: Parameter) -> list[int | float | str]:
    """Return the outermost values that a parameter may have."""
    allowed = parameter.allowed
    if isinstance(allowed, NumberRange):
        low = allowed.low if allowed.with_low else math.nextafter(allowed.low, math.inf)
        high = allowed.high if allowed.with_high else math.nextafter(allowed.high, -math.inf)
        return [low, high]
    if isinstance(allowed, Choices):
        return list(allowed.values)
    return {str: ["", "x", "20240101"], bool: [True, False]}[parameter.type]


def outside(parameter: Parameter) -> Iterator[int | float | str]:
    """Yield values of the right type just outside of each end, and far from it."""
    allowed = parameter.allowed
    if isinstance(allowed, Choices):
        yield from [-1, 2, 10**30] if parameter.type is int else ["", "jurney", "SAMPLE", "csv "]
    if isinstance(allowed, NumberRange) and parameter.type is int:
        yield from [allowed.low - 1, allowed.high + 1, -(10**30), 10**30, 10**400]
    if isinstance(allowed, NumberRange) and parameter.type is float:
        yield math.nextafter(allowed.low, -math.inf) if allowed.with_low else allowed.low
        yield math.nextafter(allowed.high, math.inf) if allowed.with_high else allowed.high
        yield from [-1e300, 1e300, math.nan, math.inf, -math.inf]


def strange(parameter: Parameter) -> list[object]:
    """Return values of another type, as papermill or a person may set them."""
    if parameter.type is str:
        return [20240101, 1.5, True, None, ["a"], Path("a"), b"a"]
    common = ["3", "", None, True, False, [1], 1j, math.nan, math.inf, np.float64("nan")]
    return [*common, 3.0, 1e3] if parameter.type is int else [*common, 10**400]


#: What no number's text looks like, on a command line.
NO_NUMBER = ["", "x", "nan", "-inf", "1e999", "0x10", "1,5", "true", "None", "9" * 5000, "½"]
NO_WHOLE_NUMBER = ["3.0", "1e3", "3.5", "1e-3"]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Count the kernels that would have been started; none is."""
    started: list[str] = []
    monkeypatch.setattr(
        runs.walk, "execute_notebook", lambda source, *given, **options: started.append(source.stem)
    )
    monkeypatch.setattr(runs.state, "RUNS", tmp_path / "runs")
    return started


@pytest.mark.parametrize(("notebook", "parameter"), EVERY, ids=IDS)
def test_every_parameter_says_which_values_it_may_have(notebook: str, parameter: Parameter):
    assert parameter.allowed is not None
    assert parameter.comment
    if parameter.type in (int, float):
        assert not isinstance(parameter.allowed, Anything)
    assert parameter.accepts(parameter.default)


@pytest.mark.parametrize(
    ("notebook", "parameter"), GIVEN, ids=[f"{name[:2]}-{each.name}" for name, each in GIVEN]
)
def test_run_refuses_what_lies_outside_before_any_kernel_starts(
    notebook: str,
    parameter: Parameter,
    kernels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    texts = [repr(value) for value in outside(parameter)] + NO_NUMBER
    texts += NO_WHOLE_NUMBER if parameter.type is int else []
    for number, text in enumerate(texts):
        given = ["-p", parameter.name, text]
        if number % 2:  # the same by a file
            (tmp_path / "p.yaml").write_text(f"{parameter.name}: {json.dumps(text)}\n")
            given = ["-f", str(tmp_path / "p.yaml")]
        assert main(["run", "--source", "sample", *given, notebook]) == 2, text
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert len(error) < 500
        for part in (f'"{parameter.name}" of {notebook}', f"must be {parameter.must_be}; got "):
            assert part in error
    assert kernels == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("notebook", "parameter"), EVERY, ids=IDS)
def test_the_ends_of_each_range_are_accepted(notebook: str, parameter: Parameter):
    for value in ends(parameter):
        for written in (value, repr(value) if parameter.type is float else str(value)):
            assert convert(written, parameter, notebook) == value
        start_with(notebook, parameter, value)


@pytest.mark.parametrize(("notebook", "parameter"), EVERY, ids=IDS)
def test_a_running_notebook_refuses_other_values_in_its_first_cell(
    notebook: str, parameter: Parameter
):
    for value in [*outside(parameter), *strange(parameter)]:
        with pytest.raises(DataError, match=f'"{parameter.name}" of {notebook} must be ') as caught:
            start_with(notebook, parameter, value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def start_with(notebook: str, parameter: Parameter, value: object) -> None:
    """Do what the first cell of a notebook does, with one parameter changed."""
    defaults = {each.name: each.default for each in DECLARED[notebook].values()}
    start(notebook, defaults | {parameter.name: value})


def test_a_number_where_papermill_was_given_a_text_names_the_option_that_keeps_it():
    declared = {"path": Parameter("path", str, "", "", Anything())}
    with pytest.raises(
        DataError, match=r'"path" of 01_a must be a text; got 20240101\..* Write -r'
    ):
        check_values(declared, {"path": 20240101}, "01_a")


def test_a_whole_number_will_do_where_a_number_is_declared():
    check_values({"x": Parameter("x", float, 0.5, "", NumberRange(0.0, 1.0))}, {"x": 1}, "n")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, True])
def test_what_is_no_finite_number_is_none_even_where_any_number_will_do(value: float):
    assert not Parameter("x", float, 0.5, "", Anything()).accepts(value)


def test_a_choice_that_is_nearly_right_is_named():
    parameter = Parameter("source", str, "csv", "", Choices(SOURCES))
    sentence = 'must be a text out of journey, sample, csv, mysql; got .jurney.*mean "journey"?'
    with pytest.raises(DataError, match=sentence):
        convert("jurney", parameter, "01_load_data")


def test_plain_papermill_stops_in_the_first_cell_that_runs(tmp_path: Path):
    declared = PARAMETERS + "\nepochs: int = 3  # in [1, 100]: passes over the rows"
    cells = [start_cell(tmp_path, "01_a"), f"open({str(tmp_path / 'went_on')!r}, 'w')"]
    notebook = write_notebook(tmp_path, "01_a", *cells, declared=declared)
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            str(notebook), str(tmp_path / "out.ipynb"), {"epochs": -1}, cwd=REPO,
            progress_bar=False, kernel_name="python3", language="python",
        )  # fmt: skip
    assert caught.value.ename == "DataError"
    assert caught.value.evalue == (
        'The parameter "epochs" of 01_a must be a whole number in [1, 100]; got -1. '
        "Its default is 3."
    )
    assert not (tmp_path / "went_on").exists()


# How a range is written ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "kind", "allowed"),
    [
        ("in [1, 100]: x", int, NumberRange(1, 100)),
        ("in [-5, 1_000]: x", int, NumberRange(-5, 1000)),
        ("in (0, 1): x", float, NumberRange(0.0, 1.0, with_low=False, with_high=False)),
        ("in [1e-3, 1): x", float, NumberRange(0.001, 1.0, with_high=False)),
        ("in {a, b c}: x", str, Choices(("a", "b c"))),
        ("in {0, 1}: x", int, Choices((0, 1))),
        ("any text: x", str, Anything()),
        ("true or false: x", bool, Anything()),
        ("in all: x", str, None),
        ("a share, in [0, 1]: x", float, None),
    ],
)
def test_a_range_opens_the_comment(comment: str, kind: type, allowed: object):
    assert read_range(comment, kind) == (allowed, "x" if allowed else comment)


@pytest.mark.parametrize(
    ("comment", "kind", "sentence"),
    [
        ("in [1, 100] x", int, "followed by a colon"),
        ("in [1,100]: x", int, "a range must read"),
        ("in [1, 100: x", int, "a range must read"),
        ("in [1, 2, 3]: x", int, "a range must read"),
        ("in [100, 1]: x", int, "must rise"),
        ("in [1, 1]: x", int, "must rise"),
        ("in (0, 9]: x", int, "square brackets"),
        ("in [0.5, 9]: x", int, "declared type int"),
        ("in [False, True]: x", int, "declared type int"),
        ("in [0, 1e999]: x", float, "declared type float"),
        ("in [0, many]: x", int, "declared type int"),
        ("in [a, b]: x", str, "an interval is for numbers"),
        ("in {a, a}: x", str, "must differ"),
        ("in {a, }: x", str, "none may be empty"),
        ("in {a, b}: x", int, "declared type int"),
        ("in {true, false}: x", bool, "true or false"),
        ("any text: x", int, "any whole number"),
    ],
)
def test_what_opens_like_a_range_and_is_none_is_refused(comment: str, kind: type, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        read_range(comment, kind)


def test_each_type_has_words_for_any_value():
    assert [read_range(f"{words}: x", kind) for kind, words in ANYTHING.items()] == [
        (Anything(), "x")
    ] * 4
