"""A field of a class runs when its module is imported: the module's tests must look at it."""

from __future__ import annotations

import sys
from pathlib import Path

import helpers

sys.path.append(str(Path(helpers.__file__).parents[1]))

from bench.mutants import covering  # noqa: E402 - found by the line above
from bench.mutants.operators import mutants_of  # noqa: E402

SOURCE = """class Sizes:
    rows: int = 5


def doubled(sizes):
    return 2 * sizes.rows
"""


def test_a_field_is_tried_with_the_tests_of_the_whole_module():
    field = next(m for m in mutants_of(SOURCE, "sizes.py") if m.change == "5 -> 6")
    lines = {"sizes.py": {6: {"test_sizes.py::test_doubled"}}}
    took = {"test_sizes.py::test_doubled": 0.1, "test_other.py::test_it": 0.1}
    assert covering.tests_of(field, covering.Covering(took, lines, []), most_s=9) == (
        ["test_sizes.py::test_doubled"],
        True,
    )
    assert covering.tests_of(field, covering.Covering(took, {}, []), most_s=9) == ([], True)
