"""What mypy is told, and that it finds what it should; no room is let off a check."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.base.paths import REPO

TOOL = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
OVERRIDES = TOOL["overrides"]
SOURCES = sorted((REPO / "helpers").rglob("*.py"))

#: Rooms whose public names others use.
STRICT_ROOMS = {"evaluation", "gradients", "importance", "samples"}
STRICT = {
    "disallow_any_generics",
    "disallow_untyped_calls",
    "disallow_untyped_decorators",
    "extra_checks",
    "warn_unreachable",
}
EVERYWHERE = {
    "check_untyped_defs",
    "disallow_incomplete_defs",
    "disallow_untyped_defs",
    "no_implicit_reexport",
    "strict_equality",
    "warn_redundant_casts",
    "warn_unused_configs",
    "warn_unused_ignores",
}
#: What would let a mistake pass without a word, beside what is named above.
BLANKETS = {
    "allow_redefinition",
    "allow_untyped_globals",
    "disable_error_code",
    "exclude",
    "follow_imports",
    "ignore_errors",
    "ignore_missing_imports",
    "implicit_optional",
}


def test_nothing_is_ignored_for_all_of_the_code():
    assert BLANKETS & TOOL.keys() == set()
    assert TOOL["files"] == ["helpers"]
    assert {flag for flag in EVERYWHERE if TOOL.get(flag) is True} == EVERYWHERE
    assert "ignore-without-code" in TOOL["enable_error_code"]


def test_an_exception_speaks_of_libraries_only():
    for entry in OVERRIDES:
        ours = [name for name in entry["module"] if name.startswith("helpers")]
        if ours:
            assert [flag for flag, value in entry.items() if value is False] == []
            assert BLANKETS & entry.keys() == set()
        else:
            assert entry.keys() - {"module"} <= {"follow_untyped_imports", "ignore_missing_imports"}


UNTYPED = [n for e in OVERRIDES if "ignore_missing_imports" in e for n in e["module"]]


@pytest.mark.parametrize("name", UNTYPED)
def test_a_library_that_is_let_off_has_no_types_of_its_own(name: str):
    found = importlib.util.find_spec(name.removesuffix(".*"))
    assert found is not None
    assert not (Path(str(found.origin)).parent / "py.typed").exists()


def test_the_rooms_that_others_use_are_strict():
    strict = {
        flag: {name for entry in OVERRIDES if entry.get(flag) is True for name in entry["module"]}
        for flag in STRICT
    }
    assert strict == dict.fromkeys(STRICT, {f"helpers.{room}.*" for room in STRICT_ROOMS})
    assert all((REPO / "helpers" / room / "__init__.py").is_file() for room in STRICT_ROOMS)


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield each comment with the number of its line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def faults(text: str) -> list[str]:
    """Return the comments that tell mypy to look away, without a code or without a reason."""
    lines, found = text.splitlines(), []
    for number, comment in comments(text):
        if not re.search(r"type:\s*ignore", comment):
            continue
        exact = re.fullmatch(r"# type: ignore\[[a-z-]+(?P<reason>\] # \S.*|\])", comment)
        above = lines[number - 2].strip().startswith("# ") if number > 1 else False
        if exact is None or (exact["reason"] == "]" and not above):
            found.append(lines[number - 1].strip())
    return found


def test_mypy_looks_away_from_a_named_fault_and_for_a_reason_only():
    assert [fault for file in SOURCES for fault in faults(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("x = 1  # type: ignore", 1),
        ("x = 1  # type: ignore[assignment]", 1),
        ("x = 1  # type:ignore # said", 1),
        ("x = 1  # type: ignore[assignment] # NumPy's types are wrong here", 0),
        ("# NumPy's types are wrong here.\nx = 1  # type: ignore[assignment]", 0),
        ("y = 2\nx = 1  # type: ignore[assignment]", 1),
        ("# mypy: ignore-errors", 0),
        ("x = '# type: ignore'", 0),
    ],
)
def test_a_comment_without_a_code_or_a_reason_is_found(text: str, count: int):
    assert len(faults(text)) == count


def test_no_file_changes_the_rules_for_itself():
    told = [c for file in SOURCES for _, c in comments(file.read_text("utf-8")) if "mypy:" in c]
    assert told == []


def test_there_is_one_word_for_a_tensor():
    words = [
        f"{file.name}: {line}"
        for file in SOURCES
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.match(r"\w*Tensor\w*(: TypeAlias)? = ", line)
    ]
    assert words == ["forms.py: Tensor: TypeAlias = Any"]


#: Modules with one mistake on each line that says so, by their place.
PLANTED = {
    "helpers/plots/planted.py": """
        import numpy as np
        import pandas as pd
        def text() -> int:
            return "three"  # return-value
        def bare(x):  # no-untyped-def
            return x
        count: int = "three"  # type: ignore  # ignore-without-code
        def rows(table: pd.DataFrame) -> str:
            return table.columns  # return-value
        def cut(values: np.ndarray) -> str:
            return values.shape  # return-value
        def action(row: object) -> str:
            return row.action  # attr-defined
        def whole(values: list) -> None: ...
        """,
    "helpers/gradients/planted.py": """
        from typing import Any
        def whole(values: list) -> None: ...  # type-arg
        def given(value: Any) -> int:
            return value  # no-any-return
        def never(value: int) -> str:
            if isinstance(value, int):
                return "whole"
            return "other"  # unreachable
        """,
    "helpers/samples/planted.py": """
        from helpers.gradients.planted import Any  # attr-defined
        def whole(values: dict) -> None: ...  # type-arg
        """,
}


def written(folder: Path) -> set[tuple[str, int, str]]:
    """Write the planted modules and return where mypy must find which mistake."""
    found = set()
    for name, text in PLANTED.items():
        lines = [line[8:] for line in text.strip("\n").splitlines()]
        file = folder / name
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for place in (file.parent, file.parent.parent):
            (place / "__init__.py").touch()
        for number, line in enumerate(lines, start=1):
            if code := re.search(r"# ([a-z]+(?:-[a-z]+)+|unreachable)$", line):
                found.add((name, number, code[1]))
    return found


def test_planted_mistakes_are_found_by_the_rules_of_this_project(tmp_path: Path):
    wanted = written(tmp_path)
    words = [sys.executable, "-m", "mypy", "--config-file", str(REPO / "pyproject.toml")]
    words += ["--cache-dir", str(tmp_path / "cache"), "--no-error-summary", "helpers"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    pattern = r"^(\S+):(\d+): error: .*\[([a-z-]+)\]$"
    found = re.findall(pattern, done.stdout, re.MULTILINE)
    assert {(file, int(line), code) for file, line, code in found} == wanted, done.stdout
    assert done.returncode == 1
