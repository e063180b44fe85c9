"""A digest of the code that makes a result, for the key under which it is kept.

It follows imports by itself, so that no list of modules can forget one. Comments, docstrings and
the layout of lines do not count: words make nothing old. What is installed counts by its version.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from helpers.base.paths import DATA

__all__ = ["code_of", "modules_of"]

#: Files that a module reads whenever it is imported or used: they count as its code.
_READS = {
    "helpers.schema": (DATA / "schema.yaml",),
    "helpers.data.datasets.sample_log": tuple(sorted((DATA / "sample").glob("*.csv*"))),
}
#: Distributions that are called otherwise than what is imported from them.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}


def code_of(*modules: ModuleType | str | Path) -> str:
    """Return a digest of the code of modules and of all that they import, for a cache key.

    A result outlives its parameters when the code that made it changes; with this in the
    key it does not. Imports are followed within the same package, also those in functions; other
    packages count by version, and Python by its own.

    Args:
        modules: modules, their dotted names (these are then not imported), or a script's path.
            A package counts with all of its Python files.

    Returns:
        Sixteen hexadecimal digits.

    Raises:
        ValueError: a module has no source file.

    Example:
        >>> code_of("helpers.cache") == code_of("helpers.cache") != code_of("helpers.schema")
        True
    """
    files, libraries = _closure(modules)
    digest = hashlib.sha256(sys.version.split()[0].encode())
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{_read(file)[0]}\0".encode())
        for other in _READS.get(name, ()):
            digest.update(other.read_bytes())
    for name in sorted(libraries):
        digest.update(f"{name} {_version(name)}\0".encode())
    return digest.hexdigest()[:16]


def modules_of(*modules: ModuleType | str | Path) -> set[str]:
    """Return the names of all modules whose code :func:`code_of` counts.

    Example:
        >>> sorted(modules_of("helpers.base.small_files"))
        ['helpers', 'helpers.base', 'helpers.base.errors', 'helpers.base.small_files']
    """
    return set(_closure(modules)[0])


def _closure(modules: tuple[ModuleType | str | Path, ...]) -> tuple[dict[str, Path], set[str]]:
    """Return the files of modules and of what they import, by name, and the libraries."""
    files: dict[str, Path] = {}
    libraries: set[str] = set()
    waiting = [pair for module in modules for pair in _given(module)]
    own = {name.partition(".")[0] for name, _ in waiting} | {"helpers"}
    while waiting:
        name, file = waiting.pop()
        if name not in files:
            files[name] = file
            for used in _read(file)[1]:
                top = used.partition(".")[0]
                if top in own:
                    waiting += _found(used)
                elif top not in sys.stdlib_module_names:
                    libraries.add(top)
    return files, libraries


def _given(module: ModuleType | str | Path) -> Iterator[tuple[str, Path]]:
    """Yield what was asked for: a module, a script, or all files of a package."""
    if isinstance(module, Path):
        yield module.name, module
        return
    name = module if isinstance(module, str) else module.__name__
    file = _file_of(name)
    if file is None:
        raise ValueError(f'module "{name}" has no source file, so no key can be made of it')
    yield name, file
    if file.name == "__init__.py":
        for inner in sorted(file.parent.glob("**/*.py")):
            parts = [name, *inner.relative_to(file.parent).with_suffix("").parts]
            yield ".".join(parts).removesuffix(".__init__"), inner


def _found(name: str) -> Iterator[tuple[str, Path]]:
    """Yield a module and the packages around it; the last name may be one within a module."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        prefix = ".".join(parts[:length])
        if file := _file_of(prefix):
            yield prefix, file


def _file_of(name: str) -> Path | None:
    """Return a module's source, without importing anything."""
    top, *inner = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    if not inner:
        return file
    place = file.parent.joinpath(*inner)
    tries = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((each for each in tries if each.is_file()), None)


def _read(file: Path) -> tuple[str, tuple[str, ...]]:
    """Return a source without its words, and the names of what it imports."""
    status = file.stat()
    return _parsed(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _parsed(file: Path, *_: int) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(file.read_bytes())
    imports = tuple(sorted({each for node in ast.walk(tree) for each in _imported(node)}))
    return ast.dump(_WithoutWords().visit(tree)), imports


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


class _WithoutWords(ast.NodeTransformer):
    """Takes texts that stand alone out of a source: docstrings."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Drop a statement that is nothing but a text."""
        lone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if lone else node


@functools.cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return "?"
