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
import dis
import functools
import importlib.metadata
import os
import re
import site
import sys
import sysconfig
import types
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from helpers.backend import keras, tf

__all__ = ["Contents", "contents_of", "fields_of", "names_in", "plain", "reads_of", "slots_of"]


def _words(text: str) -> set[str]:
    return set(text.split())


_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented))
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
#: Entries of a class that are no part of what it does.
_OF_CLASSES = _words(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __annotations__ __annotate__ "
    "__annotate_func__ __annotations_cache__ __firstlineno__ __static_attributes__ "
    "__abstractmethods__ _abc_impl __orig_bases__ __parameters__ __dataclass_fields__ "
    "__dataclass_params__ __match_args__ __slots__"
)
#: What Keras writes into a layer while it is built, called and saved.
_OF_LAYERS = _words(
    "_auto_config _build_shapes_dict _call_context_args _call_has_context_arg _call_has_mask_arg "
    "_call_has_training_arg _call_signature _called _inbound_nodes _lock _loss_ids _losses "
    "_losses_override _metrics _obj_type _outbound_nodes _parent_path _path "
    "_saved_model_arg_spec _saved_model_inputs_spec _seed_generators _tracked _tracker "
    "build built call_signature_parameters name quantize supports_jit"
)
#: What it writes into a model when it is compiled and fitted.
_OF_MODELS = _words(
    "_compile_config _compile_loss _compile_metrics _compute_loss_has_training_arg "
    "_distribute_strategy _initial_epoch _jit_compile _loss_tracker _optimizer _run_eagerly "
    "auto_scale_loss compiled predict_function steps_per_execution "
    "stop_training test_function train_function unrolled_steps_per_execution "
    "_symbolic_build_called _eval_data_handler _epoch_iterator _eval_epoch_iterator "
    "_compiled_trainable_state _distribute_reduction_method _distributed_dataset "
    "stop_evaluating stop_predicting"
)
#: The wiring of a functional model, which :func:`_wiring` tells without addresses.
_OF_GRAPHS = _words(
    "_inputs _inputs_struct _nodes _nodes_by_depth _operations _operations_by_depth _outputs "
    "_outputs_struct input_names output_names"
)
#: What a layer may hold and its call does not read; dropout and the like are off.
_UNUSED = (
    keras.random.SeedGenerator,
    keras.optimizers.Optimizer,
    keras.metrics.Metric,
    keras.callbacks.History,
)
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


def plain(value: Any) -> str | None:
    """Return a value as text that tells it from every other value; None: it has parts.

    Example:
        >>> plain(1), plain(1.0), plain((1, "a")), plain([1])
        ('int 1', 'float 1.0', "tuple (int 1, str 'a')", None)
    """
    if type(value) in _PLAIN:
        return f"{type(value).__name__} {value!r}"
    if type(value) is tuple or type(value) is frozenset:
        inner = [plain(each) for each in value]
        inner = inner if isinstance(value, tuple) or None in inner else sorted(inner)
        return None if None in inner else f"{type(value).__name__} ({', '.join(inner)})"
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return f"{value.dtype.str} {value.tobytes().hex()}"
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, np.dtype | tf.DType | tf.TensorShape):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, slice):
        return plain(("slice", value.start, value.stop, value.step))
    return None


def _code(code: types.CodeType) -> str:
    """Return code without its file, its lines and its name."""
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    table = getattr(code, "co_exceptiontable", b"")
    constants = [plain(each) for each in code.co_consts]
    return f"code {code.co_code.hex()} {counts} {names} {table.hex()} {constants}"


# --- libraries ---------------------------------------------------------------------------


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return tuple({os.path.realpath(folder) + os.sep for folder in folders})


@functools.cache
def _in_library(file: str) -> bool:
    return file.startswith("<frozen ") or os.path.realpath(file).startswith(_library_folders())


def _is_library(module: str | None) -> bool:
    """Return whether a module is installed, and no code of the user's own."""
    found = sys.modules.get(module or "")
    if found is None or module == "__main__":
        return False
    file = getattr(found, "__file__", None)
    if file is None:  # built in, or a name space
        return _is_of_python(module)
    return _in_library(file)


def _is_of_python(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.builtin_module_names or top in sys.stdlib_module_names


@functools.cache
def _version(module: str) -> str:
    top = module.partition(".")[0]
    if _is_of_python(top):
        return sys.version.split()[0]
    version = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def _named(value: Any) -> str:
    """Return the name and version of what a library offers."""
    module = getattr(value, "__module__", None) or "builtins"
    return f"{module}.{getattr(value, '__qualname__', '?')} {_version(module)}"


def _is_offered(value: Any) -> bool:
    """Return whether a library's module has just this under its name."""
    module, found = getattr(value, "__module__", None), None
    if _is_library(module):
        found = sys.modules[module]
        for name in value.__qualname__.split("."):
            found = getattr(found, name, None)
    return found is value


# --- functions ---------------------------------------------------------------------------


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


def _function(value: types.FunctionType) -> Contents:
    code, library = value.__code__, _in_library(value.__code__.co_filename)
    if library and (_is_offered(value) or not (value.__closure__ or value.__dict__)):
        return Contents(f"function {_named(value)} {code.co_firstlineno}", of_library=True)
    parts: list[tuple[str, Any]] = [
        ("", code),
        (" default values", value.__defaults__),
        (" default values", value.__kwdefaults__),
        *zip((f" closure {n}" for n in code.co_freevars), value.__closure__ or (), strict=True),
        *((f".{n}", v) for n, v in sorted(value.__dict__.items()) if n not in ("__wrapped__",)),
    ]
    if "__wrapped__" in value.__dict__ and not library:
        parts.append((".__wrapped__", value.__wrapped__))
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
    if _is_library(value.__module__) and "<locals>" not in value.__qualname__:
        return Contents(f"class {_named(value)}", of_library=True)
    parts = [(f" base {base.__name__}", base) for base in value.__bases__]
    parts += [(f".{n}", v) for n, v in sorted(fields_of(value).items())]
    return Contents("class", parts)


def _module(value: types.ModuleType) -> Contents:
    """Return a module by name; what is read from one of the user's own is found by its name."""
    library = _is_library(value.__name__)
    version = _version(value.__name__) if library else ""
    return Contents(f"module {value.__name__} {version}", of_library=library)


def fields_of(value: Any) -> Mapping[str, Any]:
    """Return the attributes of an object or class that can decide what it computes.

    Of a layer they are those that Keras does not keep for itself.

    Example:
        >>> layer = keras.layers.Dense(2, activation="relu")
        >>> {n: fields_of(layer)[n] for n in ("units", "use_bias")}, "built" in fields_of(layer)
        ({'units': 2, 'use_bias': True}, False)
    """
    if isinstance(value, type):
        return {n: v for n, v in vars(value).items() if n not in _OF_CLASSES}
    known = getattr(value, "__dict__", {})
    if isinstance(value, keras.Initializer):  # its seed is drawn, and only counts at the start
        return {n: v for n, v in known.items() if "seed" not in n}
    if not isinstance(value, keras.Operation):
        return known
    left_out = _OF_LAYERS | (_OF_MODELS if isinstance(value, keras.Model) else set())
    left_out |= _OF_GRAPHS if _is_functional(value) else set()
    return {
        n: v
        for n, v in known.items()
        if n not in left_out and not isinstance(v, _UNUSED) and not n.startswith("_self_")
    }


def slots_of(value: Any) -> dict[str, Any]:
    """Return what an object keeps in ``__slots__``."""
    found = {}
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType) and name != "__weakref__":
                with contextlib.suppress(AttributeError):  # nothing was put into it yet
                    found[name] = member.__get__(value)
    return found


def _object(value: Any) -> Contents:
    """Return any other object: by its attributes, else by what pickle would write of it."""
    parts = [("", type(value))]
    attributes = {**fields_of(value), **slots_of(value)}
    parts += [(f".{n}", v) for n, v in sorted(attributes.items(), key=lambda a: str(a[0]))]
    kind = f"object {type(value).__name__}"
    if isinstance(value, keras.Operation):
        return Contents(kind, parts + _wiring(value))
    if not _hides(type(value)):
        return Contents(kind, parts)
    try:
        written = copyreg.dispatch_table.get(type(value), lambda v: v.__reduce_ex__(4))(value)
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
    words = bool(kind.__dictoffset__ and not managed)
    words += bool(kind.__weakrefoffset__ > 0 and not managed_weak)
    words += sum(isinstance(member, types.MemberDescriptorType) and name != "__weakref__"
                 for base in kind.__mro__ if "__slots__" in vars(base)
                 for name, member in vars(base).items())  # fmt: skip
    size = object.__basicsize__ + words * tuple.__itemsize__
    return bool(kind.__itemsize__) or kind.__basicsize__ > size


# --- Keras -------------------------------------------------------------------------------


def _is_functional(value: Any) -> bool:
    return hasattr(value, "_nodes_by_depth") and hasattr(value, "_operations")


def _wiring(value: Any) -> list[tuple[str, Any]]:
    """Return which operation of a functional model reads which; the name of an input."""
    if isinstance(value, keras.layers.InputLayer):
        given = not re.fullmatch(r"(input_layer|keras_tensor)(_\d+)?", value.name)
        return [(".name", value.name if given else "")]
    if not _is_functional(value):
        return []
    inside = {id(node) for level in value._nodes_by_depth.values() for node in level}
    nodes = {op: [n for n in op._inbound_nodes if id(n) in inside] for op in value._operations}
    place = {id(op): number for number, op in enumerate(nodes)}

    def linked(part: Any) -> Any:
        if isinstance(part, keras.KerasTensor):
            op, node, tensor = part._keras_history
            own = nodes.get(op, [])
            known = [n for n, each in enumerate(own) if each is op._inbound_nodes[node]]
            return f"output {tensor} of call {known} of {place.get(id(op))}"
        if isinstance(part, dict):
            return {n: linked(v) for n, v in part.items()}
        if isinstance(part, list | tuple):
            return [type(part).__name__, *map(linked, part)]
        return part

    calls = [[(linked(n.arguments.args), linked(n.arguments.kwargs)) for n in own if not n.is_input]
             for own in nodes.values()]  # fmt: skip
    ends = [linked(value._inputs_struct), linked(value._outputs_struct)]
    operations = [(f" operation {n}", op) for n, op in enumerate(nodes)]
    return [*operations, (" wiring", calls), (" wiring", ends)]


def _variable(value: Any) -> Contents:
    kind = f"variable {tuple(value.shape)} {value.dtype} {value.trainable}"
    return Contents(kind, data=lambda: _bytes(value.numpy()))


def _bytes(array: Any) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


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


# --- containers --------------------------------------------------------------------------


def _mapping(value: Mapping[Any, Any]) -> Contents:
    parts: list[tuple[str, Any]] = []
    for key, each in value.items():
        parts += [(" key", key), (f"[{key!r:.40}]", each)]
    return Contents("dict", parts)


def _sequence(value: list | tuple) -> Contents:
    kind = "list" if isinstance(value, list) else "tuple"
    return Contents(kind, [(f"[{n}]", each) for n, each in enumerate(value)])


def _set(value: set | frozenset) -> Contents:
    def order(each: Any) -> str:
        return plain(each) or f"{type(each).__name__} {getattr(each, '__qualname__', '')}"

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
    """Return an object taken apart. Plain values, see :func:`plain`, have no parts.

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
    return Contents(f"builtin {_named(value)} {value.__name__}", own)


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
    (_UNUSED, lambda v: Contents(f"unused {type(v).__name__}")),
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
