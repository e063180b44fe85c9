"""Digests for the keys of kept results: of what values hold, not of what they are called."""

from __future__ import annotations

import dataclasses
import hashlib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.util import hash_array

__all__ = ["digest_of"]


def digest_of(*values: Any) -> str:
    """Return a digest of arrays, tables, settings and plain values, of every byte in them.

    Args:
        values: numbers, texts, arrays, tables, columns, paths, functions (by their code), and
            lists, mappings and data classes of such.

    Returns:
        Thirty-two hexadecimal digits.

    Raises:
        TypeError: something else came.

    Example:
        >>> digest_of(np.zeros(2), "a") == digest_of(np.zeros(2), "a")
        True
        >>> digest_of(np.zeros(2)) == digest_of(np.array([0.0, -0.0]))
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(values):
        digest.update(part if isinstance(part, memoryview) else f"{len(part)} {part}".encode())
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[str | memoryview]:
    """Yield all that a value holds, each part with its type."""
    yield type(value).__name__
    if value is None or isinstance(value, bool | int | float | str | bytes | Path):
        yield repr(value)
    elif isinstance(value, np.generic | np.ndarray):
        yield from _of_array(np.asarray(value))
    elif isinstance(value, pd.DataFrame):
        yield from _parts([*value.columns])
        for place in range(value.shape[1]):
            yield from _of_column(value.iloc[:, place])
        yield from _of_column(value.index)
    elif isinstance(value, pd.Series | pd.Index):
        yield from _of_column(value)
    elif isinstance(value, Mapping):
        yield from _parts([*value.items()])
    elif isinstance(value, list | tuple):
        yield str(len(value))
        for each in value:
            yield from _parts(each)
    elif isinstance(value, types.FunctionType):
        inner = [cell.cell_contents for cell in value.__closure__ or ()]
        yield from _parts([value.__module__, value.__qualname__, value.__defaults__, inner])
        yield from _of_code(value.__code__)
    elif dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value)]
        yield from _parts([(name, getattr(value, name)) for name in fields])
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, pd.Timestamp | pd.Timedelta | type(pd.NaT) | pd.Period):
        yield repr(value)
    else:
        raise TypeError(f"no digest can be made of a {type(value).__name__}: {value!r:.80}")


def _of_array(array: np.ndarray) -> Iterator[str | memoryview]:
    yield f"{array.shape} {array.dtype.str}"
    if array.dtype.hasobject:
        yield from _parts(array.tolist())
    else:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _of_column(column: pd.Series | pd.Index) -> Iterator[str | memoryview]:
    """Yield a column's name, type and values; what is no number by the hashes of pandas."""
    yield f"{column.name!r} {column.dtype}"
    values = column.to_numpy()
    if not values.dtype.hasobject:
        yield from _of_array(values)
        return
    try:
        # pandas hands this function out when it is asked for, so its type is not known.
        hashes = hash_array(values, categorize=True)  # type: ignore[operator]
    except TypeError:  # lists and the like
        yield from _parts([*map(_plain, values)])
    else:
        yield from _of_array(hashes)


def _plain(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else repr(value)


def _of_code(code: types.CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_flags))
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _of_code(each)
        else:
            yield repr(each)
