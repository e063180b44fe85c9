"""What a notebook found out, kept for the report: ``start``, ``claim`` and ``record``.

A notebook calls ``start`` once at the top, ``claim`` for every finding that its text
states, and ``record`` in its last cell. With a run folder the results land in
``<run_dir>/results/<notebook>.json``; without one they are only shown. ``keep_table``
keeps a large table; ``pseudonyms`` makes one fit to be shown when it is a person's own.

Example:
    >>> start("my_notes", {}, declared={})
    >>> claim("two and two make four", 2 + 2 == 4)
    holds: two and two make four
    >>> record(answer=4)
    recorded 1 result and 1 claim
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import hmac
import importlib.metadata
import json
import math
import os
import platform
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.base.small_files import read_bytes
from helpers.base.words import plural
from helpers.base.writing import whole_file, write_atomically
from helpers.notebooks import check_values, parameters
from helpers.notebooks.contract import faults
from helpers.notebooks.execution import NOTEBOOKS

__all__ = [
    "NOTEBOOKS",
    "PSEUDONYMS",
    "claim",
    "keep_table",
    "plain_json",
    "pseudonym",
    "pseudonyms",
    "record",
    "run_secret",
    "start",
    "versions",
]

#: Columns whose values name a person or what they typed, and the word that stands in.
PSEUDONYMS = {
    "user_id": "user",
    "household_id": "user",
    "session_id": "session",
    "list_id": "list",
    "event_id": "event",
    "query": "query",
}

_PACKAGES = ("tensorflow", "keras", "numpy", "pandas")
_HELPERS = "sample-importance-workbook"
_SECRET_BYTES = 16


@dataclass
class _Notebook:
    """What this process knows about the notebook it runs."""

    name: str
    values: dict[str, Any]
    reference: bool
    run_dir: str
    own_data: bool = False
    began: float = field(default_factory=time.perf_counter)
    claims: list[dict[str, Any]] = field(default_factory=list)


_current: _Notebook | None = None
_secret = secrets.token_bytes(_SECRET_BYTES)  # of this process, where no run folder has one


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
        DataError: a parameter has another type than declared, or lies outside its range.
    """
    global _current
    name = notebook.removesuffix(".ipynb")
    stated = parameters(_notebook_file(name)) if declared is None else {}
    declared = declared or {p.name: p.default for p in stated.values()}
    missing = [parameter for parameter in declared if parameter not in namespace]
    if missing:
        raise NameError(
            f'{name} declares the parameter "{missing[0]}", but it is not set: '
            "run the cell of parameters before start(...)."
        )
    values = {parameter: namespace[parameter] for parameter in declared}
    check_values(stated, values, name)  # papermill and people set them without asking
    run_dir = str(values.pop("run_dir", "") or "")
    as_declared = all(value == declared[parameter] for parameter, value in values.items())
    # Someone who saves `path = "my_logs"` into the notebook changes what is declared.
    own_data = bool(values.get("path")) or values.get("source") in ("csv", "mysql")
    _current = _Notebook(name, values, as_declared and not own_data, run_dir, own_data)


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
        ValueError: a notebook of the workbook records something else than
            :mod:`helpers.notebooks.contract` declares. A notebook of your own is free.
        OSError: the run folder cannot be written.
    """
    here = _started("record")
    kept = {name: plain_json(value, where=name) for name, value in values.items()}
    _hold_to_contract(here.name, kept)
    if here.run_dir:
        content = {
            "notebook": here.name,
            "reference": here.reference,
            "parameters": plain_json(here.values),
            "seconds": round(time.perf_counter() - here.began, 2),
            "versions": versions(),
            "claims": here.claims,
            "values": kept,
        }
        folder = Path(here.run_dir) / "results"
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / f"{here.name}.json", text)
    print(f"recorded {plural(len(kept), 'result')} and {plural(len(here.claims), 'claim')}")


def keep_table(table: pd.DataFrame, name: str) -> None:
    """Keep a table as a Parquet file in the run's folder, whole or not at all.

    Without a run folder nothing is written.

    Args:
        table: any; its index is kept as pandas keeps it.
        name: the file's name, such as ``"importance.parquet"``.

    Raises:
        RuntimeError: ``start`` was not called.
        OSError: the run folder cannot be written.
    """
    here = _started("keep_table")
    if not here.run_dir:
        return
    folder = Path(here.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / name) as temporary:
        table.to_parquet(temporary)


def pseudonyms(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that may be shown: a person's own users and queries get stand-in names.

    The columns and index levels of :data:`PSEUDONYMS` change, when the notebook runs on a
    person's own data (``csv``, ``mysql``, or any ``path``). Within a run a value has one name,
    in every notebook and in the report; without a run folder, within this process. A name has
    six hexadecimal digits: enough to follow a user by eye, too few to count users by.

    Args:
        table: any; other columns and the order of the rows stay.

    Returns:
        A new table with texts in those columns; the same table for other data. What is missing
        stays missing.

    Raises:
        RuntimeError: ``start`` was not called.

    Example:
        >>> start("my_notes", {"source": "csv"}, declared={"source": "journey"})
        >>> shown = pseudonyms(pd.DataFrame({"user_id": ["ann", "bob", "ann"], "price": [1, 2, 3]}))
        >>> bool(shown.user_id[0] == shown.user_id[2] != shown.user_id[1])
        True
        >>> shown.user_id[0].startswith("user "), "ann" in str(shown)
        (True, False)
    """
    here = _started("pseudonyms")
    if not here.own_data:
        return table
    secret = run_secret(here.run_dir) if here.run_dir else _secret
    levels = [name for name in table.index.names if name in PSEUDONYMS]
    shown = table.copy()
    for column in [c for c in table.columns if isinstance(c, str) and c in PSEUDONYMS]:
        shown[column] = _renamed(table[column], column, secret)
    if levels:
        index = table.index.to_frame()
        for level in levels:
            index[level] = _renamed(index[level], level, secret)
        shown.index = (
            pd.MultiIndex.from_frame(index)
            if index.shape[1] > 1
            else pd.Index(index.iloc[:, 0], name=levels[0])
        )
    return shown


def pseudonym(column: str, value: Any, secret: bytes) -> str:
    """Return the name that stands in for a value of a column.

    Args:
        column: one of :data:`PSEUDONYMS`.
        value: an id or a query.
        secret: of the run; without it a name cannot be turned back, nor be found by trying.

    Example:
        >>> pseudonym("user_id", "ann", b"a") == pseudonym("household_id", "ann", b"a")
        True
        >>> pseudonym("user_id", "ann", b"a") == pseudonym("user_id", "ann", b"b")
        False
    """
    kind = PSEUDONYMS[column]
    digest = hmac.new(secret, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()
    return f"{kind} {digest[:6]}"


def run_secret(run_dir: str | Path) -> bytes:
    """Return the secret of a run's stand-in names, made on the first call.

    It lies in the run's folder, for its owner's eyes only. Where none can be written, this
    process uses one of its own.
    """
    file = Path(run_dir) / ".salt"
    with contextlib.suppress(OSError, DataError):  # or what lies there is no secret
        if not os.path.lexists(file):
            with whole_file(file, replace=False, mode=0o600) as temporary:
                temporary.write_bytes(secrets.token_bytes(_SECRET_BYTES))
        found = read_bytes(file, largest=1000, links=False)
        if len(found) >= _SECRET_BYTES:
            return found
    return _secret


def plain_json(value: Any, *, where: str = "value") -> Any:
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
        >>> plain_json(pd.DataFrame({"auc": [0.5, float("nan")]}))
        [{'auc': 0.5}, {'auc': None}]
    """
    if isinstance(value, pd.DataFrame):
        return _rows(value, where)
    if isinstance(value, pd.Series):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {_key(k): plain_json(v, where=f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple | pd.Index) or (isinstance(value, np.ndarray) and value.ndim):
        return [plain_json(v, where=f"{where}[{i}]") for i, v in enumerate(value)]
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


def _renamed(values: pd.Series, column: str, secret: bytes) -> pd.Series:
    names = {v: pseudonym(column, v, secret) for v in values.dropna().unique()}
    return values.astype("object").map(names, na_action="ignore").astype("str")


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


def _hold_to_contract(name: str, kept: Mapping[str, Any]) -> None:
    """Refuse results that a notebook of the workbook does not declare, or not so."""
    if NOTEBOOKS != REPO / "notebooks":  # a person's own folder of notebooks
        return
    if wrong := faults(name, kept):
        raise ValueError(
            f"record(...) in {name}: {wrong[0].rstrip('.')}. helpers/notebooks/contract.py "
            "declares what each notebook records, and who reads it; correct the one or the other."
        )


def _rows(table: pd.DataFrame, where: str) -> list[dict[str, Any]]:
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    if not table.columns.is_unique:
        raise TypeError(f"record: the table {where} has two columns of the same name.")
    columns = [[plain_json(v, where=f"{where}.{c}") for v in table[c]] for c in table.columns]
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
