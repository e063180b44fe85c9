"""The parameters that a notebook declares in its cell tagged ``parameters``."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.words import near_match
from helpers.notebooks.ranges import ANYTHING, TYPES, Allowed, Choices, Value, read_range

__all__ = ["KINDS", "TYPES", "Parameter", "check_values", "parameters", "range_faults"]

#: What the types are called in an error.
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: ``name: type = default  # range: comment``.

    Attributes:
        name: as the notebook calls it.
        type: of its values.
        default: the value that the notebook declares.
        comment: what it is, in words.
        allowed: which values it may have; None where the notebook does not say.

    Example:
        >>> from helpers.notebooks.ranges import NumberRange
        >>> epochs = Parameter("epochs", int, 3, "passes over the rows", NumberRange(1, 100))
        >>> epochs.must_be, epochs.accepts(100), epochs.accepts(101)
        ('a whole number in [1, 100]', True, False)
    """

    name: str
    type: type[Value]
    default: Value
    comment: str
    allowed: Allowed | None = None

    @property
    def must_be(self) -> str:
        """What a value must be, in words."""
        return f"{KINDS[self.type.__name__]}{self.allowed or ''}"

    def accepts(self, value: Any) -> bool:
        """Return whether a value has the declared type and lies in the declared range.

        A whole number will do where a number is declared; NaN and the infinities never do, and
        neither does true for 1.
        """
        kinds = (int, float) if self.type is float else (self.type,)
        if type(value) not in kinds:
            return False
        if self.type is float and not _is_finite(value):
            return False
        return self.allowed is None or value in self.allowed

    def refusal(self, value: object, notebook: str) -> str:
        """Return, as one paragraph, why a value is refused and what to give."""
        choices = self.allowed.values if isinstance(self.allowed, Choices) else ()
        hint = near_match(str(value)[:80], [str(choice) for choice in choices]) if choices else ""
        return (
            f'The parameter "{self.name}" of {notebook} must be {self.must_be}; '
            f"got {_shown(value)}.{hint} Its default is {self.default!r}."
        )


def parameters(path: str | Path) -> dict[str, Parameter]:
    """Return the parameters of a notebook, by name, in the order of the cell.

    Each statement of the cell must read ``name: type = default  # range: comment``, with a type
    of ``str``, ``int``, ``float`` or ``bool``, a plain value, and a range as
    :mod:`helpers.notebooks.ranges` reads it. Range and comment may be missing here (the text is
    then empty); ``lint`` asks for them.

    Args:
        path: the notebook, with one cell tagged ``parameters``.

    Returns:
        The parameters; a whole number declared as ``float`` comes as a float.

    Raises:
        DataError: the file cannot be read, not exactly one cell has the tag, a line of it has
            another form, or a default lies outside its own range.

    Example:
        >>> import tempfile
        >>> line = "epochs: int = 3  # in [1, 100]: passes over the training rows"
        >>> cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [line]}
        >>> with tempfile.NamedTemporaryFile("w", suffix=".ipynb") as file:
        ...     print(json.dumps({"cells": [cell]}), file=file, flush=True)
        ...     parameters(file.name)["epochs"].comment
        'passes over the training rows'
    """
    path = Path(path)
    source = _tagged_source(path)
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise DataError(
            f"{path.name}: line {error.lineno} of the parameters cell is not Python: {error.msg}."
        ) from None
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    for statement in statements:
        parameter = _parameter(statement, comments.get(statement.end_lineno or 0, ""))
        if isinstance(parameter, str):
            line = ast.get_source_segment(source, statement)
            raise DataError(
                f"{path.name}: {parameter} in the parameters cell; got `{line}`. Write "
                "`epochs: int = 3  # in [1, 100]: passes over the training rows`."
            )
        if parameter.name in found:
            raise DataError(f'{path.name}: the parameter "{parameter.name}" is declared twice.')
        found[parameter.name] = parameter
    return found


def check_values(
    declared: Mapping[str, Parameter], values: Mapping[str, object], notebook: str
) -> None:
    """Refuse values that a running notebook got and its declaration does not allow.

    Args:
        declared: the notebook's parameters.
        values: by name, as they are set in the notebook; others are passed over.
        notebook: its name, for the error.

    Raises:
        DataError: a value has another type or lies outside the range.

    Example:
        >>> check_values({"seed": Parameter("seed", int, 0, "")}, {"seed": 5}, "03_train")
    """
    for parameter in declared.values():
        value = values.get(parameter.name, parameter.default)
        if parameter.accepts(value):
            continue
        sentence = parameter.refusal(value, notebook)
        if parameter.type is str and not isinstance(value, str):
            sentence += (
                f" Write -r {parameter.name} TEXT for papermill, whose -p makes numbers of texts."
            )
        raise DataError(sentence)


def range_faults(path: Path) -> Iterator[str]:
    """Yield what is wrong with the ranges of a notebook, as ``lint`` says it.

    Every parameter says which values it may have, and says the same as the notebooks beside it.
    """
    others = list(_readable(sorted(set(path.parent.glob("*.ipynb")) - {path})))
    for _, declared in _readable([path]):
        for parameter in declared.values():
            if parameter.allowed is None:
                yield (
                    f'the parameter "{parameter.name}" does not say which values it may have: open '
                    f"its comment with `in [1, 100]:`, `in {{a, b}}:` or "
                    f"`{ANYTHING[parameter.type]}:`"
                )
            for name, beside in others:
                other = beside.get(parameter.name, parameter)
                if (other.type, other.allowed) != (parameter.type, parameter.allowed):
                    yield f'the parameter "{parameter.name}" is declared otherwise in {name}'


def _readable(paths: Iterable[Path]) -> Iterator[tuple[str, dict[str, Parameter]]]:
    """Yield what notebooks declare; what is wrong with another one its own lint says."""
    for path in paths:
        with contextlib.suppress(DataError):
            yield path.name, parameters(path)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _shown(value: object) -> str:
    """Return a value as it was written, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than some thousand digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _tagged_source(path: Path) -> str:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [
            "".join(cell["source"])
            for cell in cells
            if "parameters" in cell.get("metadata", {}).get("tags", [])
        ]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise DataError(f"{path} is not a notebook: it is no JSON with a list of cells.") from None
    if len(tagged) != 1:
        raise DataError(
            f"{path.name}: exactly one cell must have the tag `parameters`; {len(tagged)} have it."
        )
    return tagged[0]


def _comments(source: str) -> dict[int, str]:
    """Return the text of each comment by its line, counted from 1."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.strip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _parameter(statement: ast.stmt, comment: str) -> Parameter | str:
    """Return the parameter, or in words what must hold for the statement."""
    if not (
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.value is not None
    ):
        return "every statement must be `name: type = default`"
    if not (isinstance(statement.annotation, ast.Name) and statement.annotation.id in TYPES):
        return f"a type must be one of {', '.join(TYPES)}"
    wanted = TYPES[statement.annotation.id]
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        return "a default must be a plain value"
    if wanted is float and type(default) is int:
        default = float(default)
    if type(default) is not wanted:
        return f"a default must have the declared type {wanted.__name__}"
    try:
        allowed, words = read_range(comment, wanted)
    except ValueError as error:
        return str(error)
    parameter = Parameter(statement.target.id, wanted, default, words, allowed)
    if not parameter.accepts(default):
        return f"the default of {parameter.name} must be {parameter.must_be}"
    return parameter
