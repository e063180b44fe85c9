"""What is installed and no code of the user's own: known by its name and version."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import site
import sys
import sysconfig
from typing import Any

__all__ = ["in_library", "is_library", "is_offered", "library_name", "version_of"]


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return tuple({os.path.realpath(folder) + os.sep for folder in folders})


@functools.cache
def in_library(file: str) -> bool:
    """Return whether a source file is installed, or part of Python.

    Example:
        >>> in_library(os.__file__), in_library("<stdin>")
        (True, False)
    """
    return file.startswith("<frozen ") or os.path.realpath(file).startswith(_library_folders())


def is_library(module: str | None) -> bool:
    """Return whether a module is installed, and no code of the user's own."""
    found = sys.modules.get(module or "")
    if module is None or found is None or module == "__main__":
        return False
    file = getattr(found, "__file__", None)
    if file is None:  # built in, or a name space
        return _is_of_python(module)
    return in_library(file)


def _is_of_python(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.builtin_module_names or top in sys.stdlib_module_names


@functools.cache
def version_of(module: str) -> str:
    """Return a library's version, that of Python for its own modules; "?" where none is known."""
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


def library_name(value: Any) -> str:
    """Return the name and version of what a library offers."""
    module = getattr(value, "__module__", None) or "builtins"
    return f"{module}.{getattr(value, '__qualname__', '?')} {version_of(module)}"


def is_offered(value: Any) -> bool:
    """Return whether a library's module has just this under its name."""
    module, found = getattr(value, "__module__", None), None
    if module is not None and is_library(module):
        found = sys.modules[module]
        for name in value.__qualname__.split("."):
            found = getattr(found, name, None)
    return found is value
