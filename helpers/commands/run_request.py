"""What a run is asked to do: which data, which notebooks, which values for their parameters.

Nothing is started here. Every mistake a person can make in a command is found before
the first kernel starts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from helpers.base.errors import DataError
from helpers.base.given import folder_of_tables, named_schema
from helpers.base.paths import HOME, IS_CHECKOUT
from helpers.base.small_files import read_text
from helpers.base.words import near_match
from helpers.data.schema_file.nodes import Entry, parse, shown_text
from helpers.notebooks import Parameter, parameters
from helpers.notebooks.execution import NOTEBOOKS

__all__ = [
    "NOTEBOOKS",
    "OWN",
    "RESERVED",
    "WALK",
    "check_data",
    "convert",
    "fill_parameters",
    "plain_path",
    "read_parameter_file",
    "select_notebooks",
]

#: The sources that are a person's own data.
OWN = ("csv", "mysql")

#: The numbers of the notebooks that a run on data executes.
WALK = ("01", "03", "04", "05", "06", "08")

#: Parameters that the command line sets by an option of its own.
RESERVED = {"source": "--source", "path": "--path", "schema": "--schema", "run_dir": "--out"}
_LARGEST = 100_000  # bytes of a file of parameters
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BOOLS |= {"on": True, "off": False}  # as YAML has them


def check_data(source: str, path: str = "", schema: str = "") -> tuple[str, str]:
    """Return a run's folder of tables and its schema.yaml, as the notebooks see them.

    Args:
        source: where the tables come from.
        path: a folder; ``csv`` needs one, ``mysql`` reads a copied server there if given.
        schema: a ``schema.yaml`` for ``csv`` or ``mysql``; empty: the one in ``path``.

    Returns:
        Both as :func:`plain_path` writes them; empty where none was given.

    Raises:
        DataError: something is missing, does not exist or does not belong to the source.

    Example:
        >>> check_data("csv", str(HOME / "data" / "sample"))
        ('data/sample', '')
    """
    if source not in OWN:
        for option, value in (("--path", path), ("--schema", schema)):
            if value:
                raise DataError(
                    f"{option} is for --source csv or mysql; the source {source} needs none."
                )
        return "", ""
    if source == "csv" and not path:
        raise DataError("--source csv needs --path DIR, the folder that holds your tables.")
    return (
        path and plain_path(folder_of_tables(path, option="--path")),
        schema and plain_path(named_schema(schema, option="--schema")),
    )


def plain_path(path: str | Path) -> str:
    """Return a path as the notebooks see it, which run in the repository's root.

    An installed package has none: there the path is a full one, so that a run can go on from
    another folder.

    Example:
        >>> plain_path(HOME / "data"), plain_path("/")
        ('data', '/')
    """
    full = Path(path).expanduser().resolve()
    return str(full.relative_to(HOME)) if IS_CHECKOUT and full.is_relative_to(HOME) else str(full)


def select_notebooks(names: Iterable[str] = (), *, everything: bool = False) -> list[str]:
    """Return the notebooks to run, by number.

    Args:
        names: ``"04"``, ``"04_score_samples"`` or ``"notebooks/04_score_samples.ipynb"``;
            none means the walk.
        everything: all numbered notebooks.

    Returns:
        Their names without ``.ipynb``, sorted, each once.

    Raises:
        DataError: there is no such notebook, or a name fits several.
    """
    here = sorted(file.stem for file in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if not here:
        raise DataError(
            "The folder notebooks/ holds no numbered notebook, so there is nothing to run. "
            "Run this in a full copy of the repository."
        )
    if everything:
        return here
    return sorted({_match(name, here) for name in names or WALK})


def fill_parameters(
    notebooks: Iterable[str], given: Mapping[str, Any], fixed: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the parameters that each notebook gets.

    Args:
        notebooks: names, as ``select_notebooks`` returns them.
        given: values by parameter, as a person wrote them; each notebook that declares
            the parameter gets the value, and at least one must.
        fixed: values set by the runner; a notebook that does not declare one goes without.

    Returns:
        By notebook, values by parameter, of the types that the notebook declares.

    Raises:
        DataError: no notebook declares a given parameter, or a value has the wrong type or
            lies outside its declared range.
    """
    declared = {name: parameters(NOTEBOOKS / f"{name}.ipynb") for name in notebooks}
    known = {parameter for of_one in declared.values() for parameter in of_one}
    for parameter in given:
        _check_known(parameter, known - set(RESERVED))
    return {
        name: {p: v for p, v in fixed.items() if p in of_one}
        | {p: convert(v, of_one[p], name) for p, v in given.items() if p in of_one}
        for name, of_one in declared.items()
    }


def convert(value: Any, parameter: Parameter, notebook: str) -> Any:
    """Return a value in the type and the range that a notebook declares for a parameter.

    Texts are parsed here and not by YAML, for which ``1e-3`` is a text and ``no`` is false.

    Args:
        value: a text from the command line, or a value from a YAML file.
        parameter: what the notebook declares.
        notebook: its name, for the error.

    Raises:
        DataError: the value is not of that type, or outside the range that is declared.

    Example:
        >>> convert("1e-3", Parameter("rate", float, 0.01, ""), "03_train_recommender")
        0.001
    """
    try:
        parsed = _PARSERS[parameter.type.__name__](value)
        if not parameter.accepts(parsed):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise DataError(parameter.refusal(value, notebook)) from None
    return parsed


def read_parameter_file(file: Path) -> dict[str, str]:
    """Return the parameters that a YAML file names, as they are written there.

    Args:
        file: lines such as ``epochs: 5``.

    Raises:
        DataError: there is no such file, it is not a small file of text, or it does not hold
            names and values, each once.
    """
    try:
        text = read_text(file, largest=_LARGEST)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file of parameters (-f).") from None
    top = parse(text, str(file))
    if top is None or not top.is_section:
        raise DataError(f'{file}: this must name parameters; write lines like "epochs: 5".')
    return {name: _stated(name, entry) for name, entry in top.section().items()}


def _stated(name: str, entry: Entry) -> str:
    """Return the value of a line ``name: value`` as it is written, for :func:`convert`."""
    if not name.isidentifier():
        raise entry.fault('must name parameters; write lines like "epochs: 5"')
    if not isinstance(entry.node, yaml.ScalarNode) or entry.is_unstated:
        raise entry.wrong("one value")
    text: str = entry.node.value
    return text


def _match(name: str, here: list[str]) -> str:
    stem = Path(name).name.removesuffix(".ipynb")
    if stem in here:
        return stem
    fitting = [notebook for notebook in here if re.fullmatch(rf"{re.escape(stem)}_.*", notebook)]
    if len(fitting) == 1 and stem.isdigit():
        return fitting[0]
    if len(fitting) > 1 and stem.isdigit():
        raise DataError(f'"{name}" fits several notebooks: {", ".join(fitting)}. Name one.')
    raise DataError(
        f'There is no notebook "{shown_text(name)}".{near_match(stem, here)} '
        f"There are {', '.join(here)}."
    )


def _check_known(parameter: str, known: set[str]) -> None:
    if parameter in RESERVED:
        raise DataError(f'The parameter "{parameter}" is set by {RESERVED[parameter]}, not by -p.')
    if parameter not in known:
        raise DataError(
            f'None of the notebooks of this run has a parameter "{parameter}".'
            f"{near_match(parameter, sorted(known))} They have {', '.join(sorted(known))}."
        )


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _BOOLS[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return str(value)


_PARSERS = {"int": _whole_number, "float": _number, "bool": _truth, "str": _text}
