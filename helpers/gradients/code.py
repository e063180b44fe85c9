"""Code and plain values as text, and the names that code uses."""

from __future__ import annotations

import dis
import functools
import types
from typing import Any

import numpy as np

from helpers.backend import tf

__all__ = ["names_in", "plain_text", "reads_of"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented))


def plain_text(value: Any) -> str | None:
    """Return a value as text that tells it from every other, or None where it has parts.

    Example:
        >>> plain_text(1), plain_text(1.0), plain_text((1, "a")), plain_text([1])
        ('int 1', 'float 1.0', "tuple (int 1, str 'a')", None)
    """
    if type(value) in _PLAIN:
        return f"{type(value).__name__} {value!r}"
    if type(value) is tuple or type(value) is frozenset:
        inner = [text for each in value if (text := plain_text(each)) is not None]
        if len(inner) < len(value):
            return None
        inner = inner if isinstance(value, tuple) else sorted(inner)
        return f"{type(value).__name__} ({', '.join(inner)})"
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return f"{value.dtype.str} {value.tobytes().hex()}"
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, np.dtype | tf.DType | tf.TensorShape):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, slice):
        return plain_text(("slice", value.start, value.stop, value.step))
    return None


_FLAGS = 0xFFFF  # above are those of ``from __future__``, which an ``exec`` inherits


def _code(code: types.CodeType) -> str:
    """Return code without its file, its lines and its name."""
    flags = code.co_flags & _FLAGS
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    table = getattr(code, "co_exceptiontable", b"")
    constants = [plain_text(each) for each in code.co_consts]
    return f"code {code.co_code.hex()} {counts} {names} {table.hex()} {constants}"


@functools.lru_cache(maxsize=4096)
def _loaded(code: types.CodeType) -> frozenset[str]:
    """Return the globals that code reads, functions within it included."""
    names = {
        i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = [_loaded(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return frozenset(names.union(*inner))


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> frozenset[str]:
    """Return all names and words in code: what it may ask a module or an object for.

    Example:
        >>> sorted(names_in((lambda a: getattr(a.b, "c")).__code__))
        ['b', 'c', 'getattr']
    """
    words = {each for each in code.co_consts if isinstance(each, str)}
    inner = [names_in(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return frozenset({*code.co_names, *words}.union(*inner))


def reads_of(function: types.FunctionType) -> list[str]:
    """Return the names of the globals that a function reads, there or not.

    Example:
        >>> reads_of(lambda values: sum(values) / len(values))
        ['len', 'sum']
    """
    names = _loaded(function.__code__)
    if "globals" in names:
        names = names | (names_in(function.__code__) & function.__globals__.keys())
    return sorted(names)
