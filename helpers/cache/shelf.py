"""Tables, arrays and plain facts of one result as files: Parquet, NumPy's and JSON.

None of them can hold code. Python's own format, pickle, can, and whoever may write into a cache
could then run commands as its reader; so it is neither written nor read, not inside an array
either. The checksums of a cache entry lie beside the files, so they tell damage, not malice: who
can write there can give wrong numbers, but run nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.base.small_files import own_file, read_json
from helpers.base.writing import write_atomically
from helpers.cache.store import cached

__all__ = [
    "cached_table",
    "cached_tables",
    "read_arrays",
    "read_facts",
    "read_tables",
    "write_arrays",
    "write_facts",
    "write_tables",
]

_FACTS = "facts.json"
#: What pandas calls a column of objects that Parquet gives back as it was.
_TEXTS = ("string", "empty")


def cached_table(
    name: str, key: Mapping[str, Any], build: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Return a table that ``build`` makes, from the cache where it was made before.

    Args:
        name: the kind of table, one word.
        key: all that the table depends on, as :func:`helpers.cache.cached` takes it.
        build: makes the table; of columns of objects only texts can be kept.

    Returns:
        The table as it was read back; index, dtypes and categories are kept.

    Raises:
        TypeError: the key is no plain JSON, or a column would not come back as it is.

    Example:
        >>> import os, tempfile
        >>> os.environ["WORKBOOK_CACHE"] = tempfile.mkdtemp()
        >>> cached_table("squares", {"to": 2}, lambda: pd.DataFrame({"n": [1, 2], "n2": [1, 4]}))
           n  n2
        0  1   1
        1  2   4
        >>> len(cached_table("squares", {"to": 2}, lambda: 1 / 0))
        2
        >>> del os.environ["WORKBOOK_CACHE"]
    """
    return cached_tables(name, key, lambda: {"table": build()}, names=["table"])["table"]


def cached_tables(
    name: str,
    key: Mapping[str, Any],
    build: Callable[[], Mapping[str, pd.DataFrame]],
    *,
    names: Iterable[str],
) -> Mapping[str, pd.DataFrame]:
    """Return several tables that belong to each other, by name; else as :func:`cached_table`.

    Args:
        name: the kind of result, one word.
        key: all that it depends on.
        build: makes the tables, by name.
        names: of the tables.
    """
    names = tuple(names)
    return cached(
        name,
        key,
        build,
        save=lambda tables, folder: write_tables(folder, tables),
        load=lambda folder: read_tables(folder, names),
    )


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables as ``<name>.parquet``; their index, dtypes and categories are kept.

    Of a table without rows the categories are lost, and a missing text among objects is None
    afterwards, however it was written.

    Raises:
        TypeError: a column would not come back as it is: it holds objects other than texts.
        OSError: the folder cannot be written.
    """
    for name, table in tables.items():
        for column in table.columns:
            if not pd.api.types.is_object_dtype(table[column]):
                continue
            kind = pd.api.types.infer_dtype(table[column], skipna=True)
            if kind not in _TEXTS:
                raise TypeError(
                    f'the column "{column}" of {name} holds {kind} objects, which no table on disk '
                    "gives back as they are; make them texts, or give the column another dtype."
                )
        table.to_parquet(folder / f"{name}.parquet", engine="pyarrow")


def read_tables(folder: Path, names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return tables that :func:`write_tables` wrote, by name.

    Raises:
        FileNotFoundError: one is not there, or is no plain file.
        pyarrow.ArrowException: one is damaged.
    """
    files = {name: _plain(folder / f"{name}.parquet") for name in names}
    return {name: _frame(pq.read_table(file, partitioning=None)) for name, file in files.items()}


def _frame(stored: pa.Table) -> pd.DataFrame:
    """Return a table as it was written: texts that were objects are not made pandas' own texts."""
    table = stored.to_pandas()
    written = {c["name"]: c["numpy_type"] for c in stored.schema.pandas_metadata["columns"]}
    for column in table.columns:
        if written.get(column) == "object" and not pd.api.types.is_object_dtype(table[column]):
            texts = table[column].astype(object)
            table[column] = texts.where(texts.notna(), None)
    return table


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``<name>.npy``.

    Raises:
        ValueError: one holds Python objects.
        OSError: the folder cannot be written.
    """
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def read_arrays(folder: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return arrays that :func:`write_arrays` wrote, by name.

    Raises:
        FileNotFoundError: one is not there, or is no plain file.
        ValueError: one is damaged, or holds Python objects.
    """
    return {name: np.load(_plain(folder / f"{name}.npy"), allow_pickle=False) for name in names}


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write numbers, texts, and lists and dicts of them as JSON.

    Raises:
        TypeError: something is of another type.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_facts(Path(folder), {"share": 0.1, "names": ["ä"]})
        ...     read_facts(Path(folder))
        {'share': 0.1, 'names': ['ä']}
    """
    write_atomically(folder / _FACTS, json.dumps(dict(facts), ensure_ascii=False))


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what :func:`write_facts` wrote.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is damaged, or no plain file (as a ``DataError``).
    """
    facts = read_json(folder / _FACTS, links=False)
    if not isinstance(facts, dict):
        raise ValueError(f"{_FACTS} must hold facts by name; it holds a {type(facts).__name__}.")
    return facts


def _plain(file: Path) -> Path:
    if not own_file(file):
        raise FileNotFoundError(f"{file.name} is missing, or no plain file.")
    return file
