"""What a notebook found out, kept for the report: ``start``, ``claim`` and ``record``.

A notebook calls ``start`` once at the top, ``claim`` for every finding that its text
states, and ``record`` in its last cell. With a run folder the results land in
``<run_dir>/results/<notebook>.json``; without one they are only shown.

Example:
    >>> start("my_notes", {}, declared={})
    >>> claim("two and two make four", 2 + 2 == 4)
    holds: two and two make four
    >>> record(answer=4)
    recorded 1 result and 1 claim
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.cache import write_atomically
from helpers.notebooks import parameters
from helpers.notebooks.execution import NOTEBOOKS

__all__ = ["NOTEBOOKS", "claim", "plain", "record", "start", "versions"]

_PACKAGES = ("tensorflow", "keras", "numpy", "pandas")
_HELPERS = "sample-importance-workbook"


@dataclass
class _Notebook:
    """What this process knows about the notebook it runs."""

    name: str
    values: dict[str, Any]
    reference: bool
    run_dir: str
    began: float = field(default_factory=time.perf_counter)
    claims: list[dict[str, Any]] = field(default_factory=list)


_current: _Notebook | None = None


def start(
    notebook: str, namespace: Mapping[str, Any], *, declared: Mapping[str, Any] | None = None
) -> None:
    """Remember which notebook this is and with which parameters it runs.

    A run is the *reference run* when every parameter but ``run_dir`` has the value that
    the notebook declares, and the data is not a person's own. There a claim must hold.

    Args:
        notebook: the notebook's name, such as ``"04_score_samples"``.
        namespace: the notebook's ``globals()``.
        declared: the parameters' declared values; read from the notebook when not given.

    Raises:
        FileNotFoundError: there is no such notebook.
        NameError: a declared parameter is not set.
    """
    global _current
    name = notebook.removesuffix(".ipynb")
    if declared is None:
        declared = {p.name: p.default for p in parameters(_notebook_file(name)).values()}
    missing = [parameter for parameter in declared if parameter not in namespace]
    if missing:
        raise NameError(
            f'{name} declares the parameter "{missing[0]}", but it is not set: '
            "run the cell of parameters before start(...)."
        )
    values = {parameter: namespace[parameter] for parameter in declared}
    run_dir = str(values.pop("run_dir", "") or "")
    as_declared = all(value == declared[parameter] for parameter, value in values.items())
    # Someone who saves `path = "my_logs"` into the notebook changes what is declared.
    own_data = bool(values.get("path")) or values.get("source") == "csv"
    _current = _Notebook(name, values, as_declared and not own_data, run_dir)


def claim(sentence: str, condition: bool | np.bool_) -> None:
    """State a finding and check it on the numbers at hand.

    Args:
        sentence: the finding, in plain words.
        condition: whether it holds.

    Raises:
        AssertionError: it does not hold in the reference run.
        TypeError: the condition is not one truth value.
        RuntimeError: ``start`` was not called.
    """
    here = _started("claim")
    if not isinstance(condition, bool | np.bool_):
        kind = type(condition).__name__
        raise TypeError(f'claim("{sentence}", ...) needs True or False as condition; got {kind}.')
    here.claims.append({"sentence": sentence, "holds": bool(condition)})
    if condition:
        print(f"holds: {sentence}")
    elif here.reference:
        raise AssertionError(f"does not hold in the reference run: {sentence}")
    else:
        print(f"does not hold here: {sentence}")


def record(**values: Any) -> None:
    """Keep the notebook's results for the report, and say how many there are.

    Without a run folder nothing is written. A table becomes a list of rows; NaN, NaT and
    infinities become null.

    Args:
        values: results by name: numbers, texts, times, lists, dicts, arrays, tables.

    Raises:
        RuntimeError: ``start`` was not called.
        TypeError: a value cannot be kept as JSON.
        OSError: the run folder cannot be written.
    """
    here = _started("record")
    kept = {name: plain(value, where=name) for name, value in values.items()}
    if here.run_dir:
        content = {
            "notebook": here.name,
            "reference": here.reference,
            "parameters": plain(here.values),
            "seconds": round(time.perf_counter() - here.began, 2),
            "versions": versions(),
            "claims": here.claims,
            "values": kept,
        }
        folder = Path(here.run_dir) / "results"
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / f"{here.name}.json", text)
    print(f"recorded {_count(len(kept), 'result')} and {_count(len(here.claims), 'claim')}")


def plain(value: Any, *, where: str = "value") -> Any:
    """Return a value as plain JSON types.

    A named index of a table becomes a column, an unnamed one is dropped. A series becomes
    a dict by its index. What JSON cannot say (NaN, NaT, infinity) becomes None.

    Args:
        value: numbers, texts, times, paths, lists, dicts, arrays, series and tables.
        where: what the value is called in an error.

    Returns:
        None, bool, int, float, str, or lists and dicts of them.

    Raises:
        TypeError: the value is of another type.

    Example:
        >>> plain(pd.DataFrame({"auc": [0.5, float("nan")]}))
        [{'auc': 0.5}, {'auc': None}]
    """
    if isinstance(value, pd.DataFrame):
        return _rows(value, where)
    if isinstance(value, pd.Series):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {_key(k): plain(v, where=f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple | pd.Index) or (isinstance(value, np.ndarray) and value.ndim):
        return [plain(v, where=f"{where}[{i}]") for i, v in enumerate(value)]
    return _scalar(value, where)


def versions() -> dict[str, str]:
    """Return the versions of Python and of what the results depend on.

    Nothing is imported for it. A package that is not installed is left out.

    Example:
        >>> sorted(versions())
        ['helpers', 'keras', 'numpy', 'pandas', 'python', 'tensorflow']
    """
    found = {"python": platform.python_version()}
    for name, package in {**{p: p for p in _PACKAGES}, "helpers": _HELPERS}.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _notebook_file(name: str) -> Path:
    file = NOTEBOOKS / f"{name}.ipynb"
    if not file.is_file():
        raise FileNotFoundError(
            f'start("{name}", ...): there is no notebooks/{name}.ipynb. '
            "Give the notebook's own file name, without .ipynb."
        )
    return file


def _started(caller: str) -> _Notebook:
    if _current is None:
        raise RuntimeError(
            f"{caller}(...) was called before start(...). Run the notebook from its top: "
            "the cell with the imports calls start."
        )
    return _current


def _rows(table: pd.DataFrame, where: str) -> list[dict[str, Any]]:
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    if not table.columns.is_unique:
        raise TypeError(f"record: the table {where} has two columns of the same name.")
    columns = [[plain(v, where=f"{where}.{c}") for v in table[c]] for c in table.columns]
    names = [_key(c) for c in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _key(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _scalar(value: Any, where: str) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.item() if not isinstance(value, np.datetime64) else pd.Timestamp(value)
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, dt.timedelta | Path):
        return str(value)
    raise TypeError(
        f"record: {where} is a {type(value).__name__}, which cannot be kept as JSON. "
        "Give numbers, texts, times, lists, dicts, arrays or tables."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
