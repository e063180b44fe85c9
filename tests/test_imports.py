"""Imports go one way, TensorFlow stays in its rooms, and every module says what it offers."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import helpers

ROOT = Path(helpers.__file__).parent

#: The rooms from left to right. A room may import only from rooms to its left.
ORDER = (
    *("base", "schema", "cache", "backend", "losses", "evaluation"),
    *("data", "samples", "actions", "models", "gradients", "importance", "experiments"),
    *("plots", "notebooks", "commands", "exercises", "__main__"),
)
#: Only these rooms may load TensorFlow when they are imported.
WITH_TENSORFLOW = {"backend", "models", "gradients", "importance", "experiments"}
#: They take it from `backend`, which starts it quietly; `profiling` reads a file format of its own.
MAY_NAME_TENSORFLOW = {"backend", "gradients"}
#: Inside a function only: their NumPy half must work without.
MAY_USE_BACKEND = WITH_TENSORFLOW | {"losses", "actions"}


def sources() -> dict[str, str]:
    """Return the source of each module by its name below ``helpers``."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path.read_text(encoding="utf-8")
    return found


def imported(source: str) -> Iterator[str]:
    """Yield the dotted name of everything that a source imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(name: str) -> str:
    """Return the room of a module: ``plots`` for ``plots.style``."""
    return name.partition(".")[0]


def rooms_used(source: str) -> set[str]:
    """Return the rooms that a source imports from."""
    names = (name.removeprefix("helpers.") for name in imported(source) if name != "helpers")
    return {room(name) for name in names} & set(ORDER)


def wrong_directions(modules: Mapping[str, str]) -> list[str]:
    """Return one sentence for each import that points right, or is relative."""
    found = []
    for name, source in modules.items():
        if any(each.startswith(".") for each in imported(source)):
            found.append(f"{name} uses a relative import")
        found += [
            f"{name} imports from {other}, which stands to its right"
            for other in sorted(rooms_used(source))
            if room(name) in ORDER and ORDER.index(other) > ORDER.index(room(name))
        ]
    return found


def tensorflow_leaks(modules: Mapping[str, str]) -> list[str]:
    """Return one sentence for each import of TensorFlow outside its rooms."""
    found = []
    for name, source in modules.items():
        named = {room(each) for each in imported(source)} & {"tensorflow", "keras"}
        if named and room(name) not in MAY_NAME_TENSORFLOW:
            found.append(f"{name} imports TensorFlow past helpers.backend")
        if room(name) not in MAY_USE_BACKEND and "backend" in rooms_used(source):
            found.append(f"{name} must not use TensorFlow")
    return found


def test_every_module_has_its_place_in_the_order():
    assert {room(name) for name in sources()} - set(ORDER) == set()


def test_imports_point_only_to_the_left():
    assert wrong_directions(sources()) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("data.sources", "from helpers.models import Model"),
        ("data.sources", "import helpers.models"),
        ("data.sources", "from helpers import models"),
        ("plots.style", "def f():\n    from helpers.commands.run import run"),
        ("losses", "if True:\n    import helpers.plots.style"),
    ],
)
def test_a_planted_import_to_the_right_is_found(name: str, line: str):
    found = wrong_directions({name: f"{sources()[name]}\n{line}\n"})
    assert len(found) == 1
    assert found[0].startswith(f"{name} imports from ")


def test_a_planted_relative_import_is_found():
    assert wrong_directions({"plots.style": "from . import losses"}) == [
        "plots.style uses a relative import"
    ]


def modules_used(source: str, modules: Mapping[str, str]) -> set[str]:
    """Return the modules that a source takes something from.

    ``from package import module`` takes the module and nothing of the package's face, which every
    import of a module below it begins with anyway.
    """
    used = {each.removeprefix("helpers.") for each in imported(source)} & set(modules)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            package = (node.module or "").removeprefix("helpers.")
            if all(f"{package}.{alias.name}" in modules for alias in node.names):
                used.discard(package)
    return used


def test_no_modules_import_each_other_in_a_circle():
    modules = sources()
    edges = {name: modules_used(source, modules) - {name} for name, source in modules.items()}
    list(graphlib.TopologicalSorter(edges).static_order())  # raises on a circle


def test_tensorflow_is_named_only_by_the_rooms_that_train():
    assert tensorflow_leaks(sources()) == []


@pytest.mark.parametrize(
    ("name", "line", "sentence"),
    [
        ("evaluation", "import tensorflow as tf", "past helpers.backend"),
        ("models", "from keras import layers", "past helpers.backend"),
        ("plots.style", "from helpers.backend import tf", "must not use"),
        ("runs", "def f():\n    from helpers.backend import keras", "must not use"),
    ],
)
def test_a_planted_use_of_tensorflow_is_found(name: str, line: str, sentence: str):
    [found] = tensorflow_leaks({name: line})
    assert sentence in found


def errors_of(code: str) -> str:
    """Run code in a fresh Python; return the last line of its standard error, if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def test_the_other_rooms_load_without_tensorflow():
    names = [f"helpers.{name}" for name in sources() if room(name) not in WITH_TENSORFLOW]
    code = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    assert not {'tensorflow', 'keras'} & set(sys.modules), name\n"
    )
    assert errors_of(code) == ""


def test_a_kernel_that_records_loads_neither_nbformat_nor_papermill():
    code = (
        "import sys, helpers.notebooks.record\n"
        "slow = {'nbformat', 'nbclient', 'papermill', 'jupyter_client'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    assert errors_of(code) == ""


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the functions, classes and constants of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from (each.id for each in targets if isinstance(each, ast.Name) and each.id.isupper())


def offered(tree: ast.Module) -> list[str] | None:
    """Return what ``__all__`` of a module lists, or None where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


@pytest.mark.parametrize("name", [n for n in sources() if not n.endswith("__main__")])
def test_a_module_lists_every_public_name_it_defines(name: str):
    # That it defines what it lists is ruff's F822.
    tree = ast.parse(sources()[name])
    listed = offered(tree)
    assert listed is not None, f"helpers.{name} has no __all__"
    assert len(set(listed)) == len(listed)
    public = {each for each in defined(tree) if not each.startswith("_") and len(each) > 1}
    assert public - set(listed) == set()


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("__init__.py")), ids=lambda path: path.parent.name
)
def test_the_face_of_a_package_holds_no_code(path: Path):
    """A newcomer reads there what the package is and offers; the code has modules of its own."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        lists = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        says = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert lists or says or isinstance(node, ast.ImportFrom), ast.unparse(node)


#: Two data sets are made by the same three functions, and every command has a main.
SHARED_NAMES = {"generate", "main", "write"}


def test_a_name_means_one_thing():
    """No two modules define a class, or offer a function, of the same name."""
    where: dict[str, list[str]] = {}
    for module, source in sources().items():
        tree = ast.parse(source)
        for node in tree.body:
            offers = isinstance(node, ast.FunctionDef) and node.name in (offered(tree) or ())
            if isinstance(node, ast.ClassDef) or offers:
                where.setdefault(node.name.strip("_"), []).append(module)
    twice = {name: modules for name, modules in where.items() if len(modules) > 1}
    assert {name: twice[name] for name in twice.keys() - SHARED_NAMES} == {}
