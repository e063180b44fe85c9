"""What a Python object consists of: the parts that decide what a call of it computes.

A function consists of its code, defaults, closure and the globals that it names; an object of its
class and its attributes; a Keras layer of these without Keras' book-keeping. Libraries (what is
installed, and Python itself) count by name and version. What cannot be looked into, such as a
generator or an object of C without a readable state, is called *unseen*, with the reason.
"""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import functools
import types
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from helpers.backend import keras, tf
from helpers.gradients.attributes import UNUSED, fields_of, wiring_of
from helpers.gradients.code import names_in, plain_text, reads_of
from helpers.gradients.libraries import in_library, is_library, is_offered, library_name, version_of

__all__ = ["Contents", "contents_of", "slots_of"]


_C_FUNCTIONS = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
_WORKING = (
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.FrameType,
    memoryview,
    tf.data.Dataset,
    tf.data.Iterator,
    tf.lookup.StaticHashTable,
)
_LOCKS = ("lock", "RLock")
#: Builtins through which a function reads what its code does not name.
_UNFOLLOWED = {"compile", "eval", "exec", "globals", "input", "locals", "open", "__import__"}
#: TensorFlow's calls of Python while a graph runs.
_PYTHON_CALLS = {"numpy_function", "py_func", "py_function", "eager_py_func"}
_WRAPPERS = {"TrackedList", "TrackedDict", "TrackedSet", "ListWrapper", "_DictWrapper"}
_WRAPPERS |= {"_TupleWrapper"}


@dataclass
class Contents:
    """One object, taken apart.

    Attributes:
        kind: what it is, and all of it that is plain text.
        parts: its other parts, each with its place in the object, such as ``.tau``.
        data: returns the bytes of an array.
        unseen: why it cannot be looked into; empty where it can.
        of_library: it is known by the name and version of a library.
        in_one: its state was written out, as for pickle, and can only be compared so.
    """

    kind: str
    parts: list[tuple[str, Any]] = field(default_factory=list)
    data: Callable[[], bytes | memoryview] | None = None
    unseen: str = ""
    of_library: bool = False
    in_one: bool = False


# --- functions ---------------------------------------------------------------------------


def _function(value: types.FunctionType) -> Contents:
    """Return a function taken apart into its code and whatever that code can read.

    The code alone does not tell a function from another: values in its closure, default values
    and globals are parts, too. A plain function of a library is known by its name and version.
    """
    code, library = value.__code__, in_library(value.__code__.co_filename)
    if library and (is_offered(value) or not (value.__closure__ or value.__dict__)):
        return Contents(f"function {library_name(value)} {code.co_firstlineno}", of_library=True)
    parts: list[tuple[str, Any]] = [
        ("", code),
        (" default values", value.__defaults__),
        (" default values", value.__kwdefaults__),
        *zip((f" closure {n}" for n in code.co_freevars), value.__closure__ or (), strict=True),
        *((f".{n}", v) for n, v in sorted(value.__dict__.items()) if n not in ("__wrapped__",)),
    ]
    if "__wrapped__" in value.__dict__ and not library:
        parts.append((".__wrapped__", value.__dict__["__wrapped__"]))
    names = [] if library else reads_of(value)
    scope = value.__globals__
    parts += [(f" global {n}", scope[n]) for n in names if n in scope]
    rest = [n for n in names if n not in scope]
    unseen = sorted((_UNFOLLOWED & {*rest}) | (_PYTHON_CALLS & names_in(code)))
    why = f"it calls {unseen[0]}, behind which anything can lie" if unseen and not library else ""
    return Contents(f"function {[n for n in rest if hasattr(builtins, n)]}", parts, unseen=why)


def _tensorflow_function(value: Any) -> Contents:
    kind = f"tf.function {value.input_signature!r} {getattr(value, '_jit_compile', None)}"
    return Contents(kind, [("", value.python_function)])


# --- classes, modules and other objects ------------------------------------------------------


def _class(value: type) -> Contents:
    if is_library(value.__module__) and "<locals>" not in value.__qualname__:
        return Contents(f"class {library_name(value)}", of_library=True)
    parts = [(f" base {base.__name__}", base) for base in value.__bases__]
    parts += [(f".{n}", v) for n, v in sorted(fields_of(value).items())]
    return Contents("class", parts)


def _module(value: types.ModuleType) -> Contents:
    """Return a module by name; what is read from one of the user's own is found by its name."""
    library = is_library(value.__name__)
    version = version_of(value.__name__) if library else ""
    return Contents(f"module {value.__name__} {version}", of_library=library)


def slots_of(value: Any) -> dict[str, Any]:
    """Return what an object keeps in ``__slots__``."""
    found = {}
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType) and name != "__weakref__":
                with contextlib.suppress(AttributeError):  # nothing was put into it yet
                    found[name] = member.__get__(value)
    return found


def _reduced(value: Any) -> Any:
    return value.__reduce_ex__(4)


def _object(value: Any) -> Contents:
    """Return any other object: by its attributes, else by what pickle would write of it."""
    parts = [("", type(value))]
    attributes = {**fields_of(value), **slots_of(value)}
    parts += [(f".{n}", v) for n, v in sorted(attributes.items(), key=lambda a: str(a[0]))]
    kind = f"object {type(value).__name__}"
    if isinstance(value, keras.Operation):
        return Contents(kind, parts + wiring_of(value))
    if not _hides(type(value)):  # type: ignore[arg-type] # a class is hashable; typeshed's is not
        return Contents(kind, parts)
    write: Callable[[Any], Any] = copyreg.dispatch_table.get(type(value), _reduced)
    try:
        written = write(value)
    except Exception as error:  # whatever its class raises
        return Contents(kind, unseen=f"a {type(value).__name__} shows no state ({error})")
    if isinstance(written, str):
        return Contents(f"{kind} {written}", parts)
    lists = [list(each) if n > 2 and each is not None else each for n, each in enumerate(written)]
    return Contents(kind, [*parts, *((" state", each) for each in lists)], in_one=True)


@functools.cache
def _hides(kind: type) -> bool:
    """Return whether the objects of a class hold more than their attributes: something of C.

    Python asks the same before it pickles an object by its attributes.
    """
    managed_weak, managed = kind.__flags__ & (1 << 3), kind.__flags__ & (1 << 4)
    words = int(kind.__dictoffset__ and not managed)
    words += int(kind.__weakrefoffset__ > 0 and not managed_weak)
    words += sum(isinstance(member, types.MemberDescriptorType) and name != "__weakref__"
                 for base in kind.__mro__ if "__slots__" in vars(base)
                 for name, member in vars(base).items())  # fmt: skip
    size = object.__basicsize__ + words * tuple.__itemsize__
    return bool(kind.__itemsize__) or kind.__basicsize__ > size


# --- arrays and containers ---------------------------------------------------------------


def _variable(value: Any) -> Contents:
    kind = f"variable {tuple(value.shape)} {value.dtype} {value.trainable}"
    return Contents(kind, data=lambda: _bytes(value.numpy()))


def _bytes(array: Any) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _array(value: np.ndarray) -> Contents:
    kind = f"array {value.shape} {value.dtype.str} {value.dtype.descr if value.dtype.names else ''}"
    if value.dtype.hasobject:
        return Contents(kind, [(f"[{n}]", v) for n, v in enumerate(value.ravel().tolist())])
    return Contents(kind, data=lambda: _bytes(value))


def _tensor(value: Any) -> Contents:
    if not hasattr(value, "numpy"):
        return Contents("tensor", unseen="a tensor of a graph has no value")
    if value.dtype in (tf.variant, tf.resource):
        return Contents("tensor", unseen=f"a tensor of type {value.dtype.name} shows no value")
    array = value.numpy()
    return Contents("tensor", [("", np.asarray(array))])


def _mapping(value: Mapping[Any, Any]) -> Contents:
    parts: list[tuple[str, Any]] = []
    for key, each in value.items():
        parts += [(" key", key), (f"[{key!r:.40}]", each)]
    return Contents("dict", parts)


def _sequence(value: list[Any] | tuple[Any, ...]) -> Contents:
    kind = "list" if isinstance(value, list) else "tuple"
    return Contents(kind, [(f"[{n}]", each) for n, each in enumerate(value)])


def _set(value: set[Any] | frozenset[Any]) -> Contents:
    def order(each: Any) -> str:
        return plain_text(each) or f"{type(each).__name__} {getattr(each, '__qualname__', '')}"

    return Contents("set", [("{}", each) for each in sorted(value, key=order)])


def _with_class(found: Contents, value: Any, *usual: type) -> Contents:
    """Add the class and the attributes of an object whose class is made from a container's."""
    if type(value) not in usual and type(value).__name__ not in _WRAPPERS:
        found.parts += [("", type(value))]
        found.parts += [(f".{n}", v) for n, v in sorted(getattr(value, "__dict__", {}).items())]
        if getattr(value, "default_factory", None) is not None:
            found.parts.append((".default_factory", value.default_factory))
    return found


def contents_of(value: Any) -> Contents:
    """Return an object taken apart. Plain values, see :func:`plain_text`, have no parts.

    Example:
        >>> contents_of({"a": [1]}).parts
        [(' key', 'a'), ("['a']", [1])]
        >>> contents_of(each for each in "ab").unseen
        'a generator cannot be looked into'
    """
    for kinds, take_apart in _TAKE_APART:
        if isinstance(value, kinds):
            return take_apart(value)
    if type(value).__name__ in _LOCKS:
        return Contents("lock")
    if hasattr(value, "python_function") and hasattr(value, "input_signature"):
        return _tensorflow_function(value)
    return _object(value)


def _frame(value: Any) -> Contents:
    """Return a table, an index or a column of pandas by its values."""
    if value.ndim == 1:
        index = [(" index", value.index.to_numpy())] if hasattr(value, "index") else []
        kind = f"{type(value).__name__} {value.dtype}"
        return Contents(kind, [("", value.to_numpy()), *index], in_one=True)
    columns = [(f"[{n!r}]", value.iloc[:, place]) for place, n in enumerate(value.columns)]
    names = (" columns", value.columns.to_numpy())
    return Contents(type(value).__name__, [*columns, names], in_one=True)


def _builtin(value: Any) -> Contents:
    owner = getattr(value, "__self__", None)
    own = [] if isinstance(owner, types.ModuleType | None) else [(".__self__", owner)]
    return Contents(f"builtin {library_name(value)} {value.__name__}", own)


def _cell(value: types.CellType) -> Contents:
    try:
        return Contents("cell", [("", value.cell_contents)])
    except ValueError:
        return Contents("empty cell")


def _descriptor(value: Any) -> Contents:
    inner = [getattr(value, n, None) for n in ("fget", "fset", "fdel", "__func__", "func")]
    return Contents(type(value).__name__, [("", each) for each in inner])


_TAKE_APART: list[tuple[Any, Callable[[Any], Contents]]] = [
    (types.FunctionType, _function),
    (types.MethodType, lambda v: Contents("method", [(".__self__", v.__self__), ("", v.__func__)])),
    (_C_FUNCTIONS, _builtin),
    (types.CellType, _cell),
    (types.ModuleType, _module),
    (type, _class),
    (keras.Variable | tf.Variable, _variable),
    (UNUSED, lambda v: Contents(f"unused {type(v).__name__}")),
    (keras.KerasTensor, lambda v: Contents(f"symbol {v.shape} {v.dtype}")),
    (tf.Tensor, _tensor),
    (
        tf.RaggedTensor | tf.SparseTensor,
        lambda v: Contents(
            type(v).__name__, [("", t) for t in tf.nest.flatten(v, expand_composites=True)]
        ),
    ),
    (
        _WORKING,
        lambda v: Contents(
            "working", unseen=f"a {type(v).__name__.strip('_')} cannot be looked into"
        ),
    ),
    (pd.DataFrame | pd.Series, _frame),
    (np.ndarray, lambda v: _with_class(_array(v), v, np.ndarray)),
    (
        functools.partial,
        lambda v: Contents("partial", [("", v.func), (" arguments", v.args), ("", v.keywords)]),
    ),
    ((property, staticmethod, classmethod, functools.cached_property), _descriptor),
    (weakref.ref, lambda v: Contents("weak", [("", v())])),
    (
        (dict, types.MappingProxyType),
        lambda v: _with_class(_mapping(v), v, dict, types.MappingProxyType),
    ),
    (list | tuple, lambda v: _with_class(_sequence(v), v, list, tuple)),
    (set | frozenset, lambda v: _with_class(_set(v), v, set, frozenset)),
    (bytearray, lambda v: Contents("bytearray", data=lambda: bytes(v))),
]
