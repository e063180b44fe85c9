"""The parameters that a notebook declares in its cell tagged ``parameters``."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from dataclasses import dataclass
from pathlib import Path

from helpers.schema import DataError

__all__ = ["TYPES", "Parameter", "parameters"]

Value = str | int | float | bool

#: The types that a parameter can have, by the name that its annotation uses.
TYPES: dict[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: ``name: type = default  # comment``."""

    name: str
    type: type[Value]
    default: Value
    comment: str


def parameters(path: str | Path) -> dict[str, Parameter]:
    """Return the parameters of a notebook, by name, in the order of the cell.

    Each statement of the cell must read ``name: type = default  # comment``, with a type of
    ``str``, ``int``, ``float`` or ``bool`` and a plain value. The comment may be missing here
    (its text is then empty); ``lint`` asks for it.

    Args:
        path: the notebook, with one cell tagged ``parameters``.

    Returns:
        The parameters; a whole number declared as ``float`` comes as a float.

    Raises:
        DataError: the file cannot be read, not exactly one cell has the tag, or a line
            of it has another form.

    Example:
        >>> import tempfile
        >>> line = "epochs: int = 3  # passes over the training rows"
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
                "`epochs: int = 3  # passes over the training rows`."
            )
        if parameter.name in found:
            raise DataError(f'{path.name}: the parameter "{parameter.name}" is declared twice.')
        found[parameter.name] = parameter
    return found


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
    return Parameter(statement.target.id, wanted, default, comment)
