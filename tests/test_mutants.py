"""Small faults are planted where they shall be, noticed where a test looks, and forgotten."""

from __future__ import annotations

import ast
import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest

import helpers

REPO = Path(helpers.__file__).parents[1]
sys.path.append(str(REPO))

from bench.mutants import changes, operators  # noqa: E402 - found by the line above
from bench.mutants.argued import read_argued  # noqa: E402
from bench.mutants.operators import mutants_of, mutated  # noqa: E402
from bench.mutants.rooms import ROOMS  # noqa: E402

TOY = '''\
"""A toy."""

__all__ = ["at_least_nought", "down"]


def at_least_nought(x: int = 0) -> int:
    """Return x, or 0 where it is less."""
    if x < 0:
        return 0
    return x


def down(n: int) -> int:
    """Count down."""
    if not isinstance(n, int):
        raise TypeError(f"n must be whole; got {n + 1}.")
    while n > 0:
        n -= 1
    return n


def unseen(n: int) -> int:
    return n * 2
'''
TESTS = """\
from toy import at_least_nought, down

def test_less_is_nought():
    assert at_least_nought(-3) == 0

def test_more_stays():
    assert [at_least_nought(x) for x in (0, 1, 5)] == [0, 1, 5]
    assert at_least_nought() == 0

def test_down():
    assert down(3) == 0

def test_that_fails_anyhow():
    assert down(3) == 1
"""
SCRIPT = """\
import json, sys
from pathlib import Path
from bench.mutants.__main__ import attempt
from bench.mutants.covering import cover
from bench.mutants.operators import mutants_of
repo = Path.cwd()
covering = cover([repo / "test_toy.py"], [repo / "toy.py"], repo)
found = {}
for mutant in mutants_of((repo / "toy.py").read_text("utf-8"), "toy.py"):
    name = f"{mutant.function}: {mutant.change}"
    found[name] = attempt(mutant, covering, repo, most_s=60, spare_s=2)
print(json.dumps({"found": found, "failed": covering.failed, "loaded": "toy" in sys.modules}))
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> dict:
    """What becomes of all mutants of a toy, tried in a process of its own."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(TOY, encoding="utf-8")
    (folder / "test_toy.py").write_text(TESTS, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(REPO), '.']!r}\n{SCRIPT}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_fault_that_a_test_sees_is_killed_by_it(toy: dict):
    found = toy["found"]
    assert found["at_least_nought: x < 0 -> x >= 0"][0] == "killed"
    assert found["at_least_nought: return 0 -> return x"] == [
        "killed",
        "test_toy.py::test_less_is_nought",
    ]
    assert found["at_least_nought: 0 -> 1"][0] == "killed"


def test_a_change_that_changes_nothing_survives(toy: dict):
    assert toy["found"]["at_least_nought: x < 0 -> x <= 0"] == ["survived", ""]


def test_a_line_that_no_test_runs_through_is_told_apart(toy: dict):
    assert toy["found"]["unseen: n * 2 -> n / 2"] == ["no test", ""]


def test_a_loop_without_end_is_ended_and_told_apart(toy: dict):
    assert toy["found"]["down: n -= 1 -> n += 1"] == ["hung", ""]
    hung = {name for name, found in toy["found"].items() if found[0] == "hung"}
    assert all(name.startswith("down: ") for name in hung)


def test_a_test_that_fails_without_a_fault_kills_nothing(toy: dict):
    assert toy["failed"] == ["test_toy.py::test_that_fails_anyhow"]
    killers = {killer for _, killer in toy["found"].values()}
    assert "test_toy.py::test_that_fails_anyhow" not in killers


def test_no_fault_stays_behind_in_the_process_that_planted_it(toy: dict):
    assert not toy["loaded"]


def test_texts_annotations_and_errors_are_left_alone():
    changes = [mutant.change for mutant in mutants_of(TOY, "toy.py")]
    assert "raise TypeError(f'n must be whole; got {n + 1}.') -> pass" in changes
    others = [change for change in changes if not change.startswith("raise")]
    for text in ("A toy", "Return x", "Count down", "down", "n + 1"):
        assert not [change for change in others if text in change], text


KINDS = {
    "a boundary": ("x < n", "x <= n"),
    "another sign": ("x + n", "x - n"),
    "another end": ("x[1:n]", "x[:n]"),
    "one end less": ("x[1:n]", "x[1:n - 1]"),
    "turned around": ("x if n else 0", "0 if n else x"),
    "and for or": ("x and n", "x or n"),
    "without not": ("not x", "x"),
    "the other axis": ("f(x, axis=0)", "f(x, axis=1)"),
    "without the axis": ("f(x, axis=0)", "f(x)"),
    "the other extreme": ("max(x, n)", "min(x, n)"),
    "unsorted": ("sorted(x)", "x"),
    "exchanged arguments": ("f(x, n)", "f(n, x)"),
    "another key": ("{'a': x}", "{'a_': x}"),
    "a constant": ("x == 7", "x == 8"),
    "a switch": ("f(x, True)", "f(x, False)"),
    "all that were picked": ("[y for y in x if y]", "[y for y in x]"),
    "what came in": ("f(x + 1)", "x"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_can_be_planted(kind: str):
    before, after = KINDS[kind]
    source = f"def work(x, n):\n    return {before}\n"
    made = [ast.unparse(mutated(source, mutant)) for mutant in mutants_of(source, "f.py")]
    assert ast.unparse(ast.parse(source.replace(before, after))) in made


@pytest.mark.parametrize("module", [changes, operators], ids=["changes", "operators"])
def test_the_examples_of_the_tool_are_right(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("room", ROOMS)
def test_every_fault_of_a_room_is_one_change_that_can_be_compiled(room: str):
    for path in ROOMS[room].sources():
        source = path.read_text("utf-8")
        before = ast.unparse(ast.parse(source))
        mutants = mutants_of(source, path.name)
        for mutant in mutants[:: max(1, len(mutants) // 10)]:
            tree = mutated(source, mutant)
            assert ast.unparse(tree) != before, mutant
            compile(tree, path.name, "exec")


def test_every_room_has_tests_and_hundreds_of_faults():
    for name, room in ROOMS.items():
        total = sum(len(mutants_of(path.read_text("utf-8"), "")) for path in room.sources())
        assert total >= 200, name
        assert [path for path in room.checks() if "tests" in path.parts]


def test_every_argued_fault_is_still_one_of_its_file():
    argued = read_argued(REPO / "bench/results/mutants.yaml")
    for file in {key[0] for key in argued}:
        source = (REPO / file).read_text("utf-8")
        able = {(file, m.function, m.text, m.change) for m in mutants_of(source, file)}
        assert not {key for key in argued if key[0] == file} - able
    assert all(len(reason) > 20 for reason in argued.values())


def test_an_argument_without_a_reason_is_refused(tmp_path):
    path = tmp_path / "mutants.yaml"
    path.write_text("- {file: a.py, function: f, text: x, change: x -> y}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks reason"):
        read_argued(path)
    assert read_argued(tmp_path / "none.yaml") == {}
