"""Which tests run through which lines, and how long each takes: found once, then kept."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from bench.mutants.operators import Mutant
from bench.mutants.trying import in_child, run_tests
from helpers.base.writing import write_atomically

__all__ = ["Covering", "cover", "tests_of"]

_LONGEST_S = 3600  # for the tests of one file, without any fault


@dataclass(frozen=True)
class Covering:
    """What the tests of some files run through.

    Attributes:
        took: processor seconds of each test, by its name.
        lines: by source, as it was named, and by line: the tests that run through it; a name that
            ends with ``::`` stands for all tests of a file, as fixtures are shared.
        failed: tests that fail without any fault; they are left out.
    """

    took: dict[str, float]
    lines: dict[str, dict[int, set[str]]]
    failed: list[str]

    @property
    def known(self) -> set[str]:
        """Return the names of all tests, also of those that fail."""
        return {*self.took, *self.failed}

    def limits(self, spare_s: float) -> dict[str, float]:
        """Return how many processor seconds each test may take: many times what it usually does."""
        slowest: dict[str, float] = defaultdict(float)
        for test, seconds in self.took.items():
            file = test.partition("::")[0]
            slowest[file] = max(slowest[file], seconds)
        return {
            test: spare_s + 20 * seconds + 3 * slowest[test.partition("::")[0]]
            for test, seconds in self.took.items()
        }

    def of_lines(self, file: str, first: int, last: int) -> set[str]:
        """Return the names of the tests that run through one of these lines."""
        lines = self.lines.get(file, {})
        named = set().union(*(lines.get(line, ()) for line in range(first, last + 1)))
        whole = tuple(name for name in named if name.endswith("::"))
        return {test for test in self.took if test in named or (whole and test.startswith(whole))}


def cover(
    checks: Sequence[Path], sources: Sequence[Path], repo: Path, *, kept: Path | None = None
) -> Covering:
    """Run tests without a fault, file by file, and return what they run through.

    Args:
        checks: files of tests, and modules with doctests.
        sources: files whose lines are asked for.
        repo: folder that they lie in.
        kept: folder that keeps what was found, by the content of all files; None keeps nothing.
    """
    took, failed = {}, []
    lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for check in tqdm(checks, desc="cover", leave=False):
        found = _of_file(check, sources, repo, kept)
        took |= found["took"]
        failed += found["failed"]
        for file, by_line in found["lines"].items():
            for line, tests in by_line.items():
                lines[file][int(line)] |= set(tests)
    return Covering(took, lines, failed)


def _of_file(check: Path, sources: Sequence[Path], repo: Path, kept: Path | None) -> dict:
    place = None
    if kept is not None:
        content = b"".join(path.read_bytes() for path in (check, *sources))
        digest = hashlib.sha256(content).hexdigest()[:16]
        place = kept / f"{check.parent.name}-{check.stem}-{digest}.json"
        if place.exists():
            return json.loads(place.read_text("utf-8"))
    found = in_child(
        lambda: _covered(check, sources, repo), cpu_s=_LONGEST_S, wall_s=10 * _LONGEST_S
    )
    if "lines" not in found:
        raise RuntimeError(f"the tests of {check} do not end although no fault is planted: {found}")
    if place is not None:
        kept.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(found))
    return found


def _covered(check: Path, sources: Sequence[Path], repo: Path) -> dict[str, object]:
    """Run one file's tests under coverage; to be called in a child."""
    import coverage

    named = {str(path): path.relative_to(repo).as_posix() for path in sources}
    watch = coverage.Coverage(data_file=None, config_file=False, include=list(named))
    watch.start()
    try:
        found = run_tests([check], listener=watch.switch_context, first_only=False)
    finally:
        watch.stop()
    data = watch.get_data()
    lines = {
        named[file]: {
            line: [test for test in tests if test]
            for line, tests in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
        if file in named
    }
    failed = set(found["failed"])
    took = {test: seconds for test, seconds in found["took"].items() if test not in failed}
    return {"took": took, "failed": sorted(failed), "lines": lines}


def tests_of(mutant: Mutant, covering: Covering, *, most_s: float) -> tuple[list[str], bool]:
    """Return the tests that can notice a fault, fastest first, and whether these are all.

    Lines that run when a module is imported belong to no test: for those of a function, such as
    its defaults, take the tests of the function's body; for a constant of the module, or a field of
    a class, those of the whole module.

    Args:
        mutant: the fault.
        covering: of the tests.
        most_s: processor seconds, without a fault, that the tests may take together.
    """
    able = covering.of_lines(mutant.file, *mutant.lines)
    if not able:
        able = covering.of_lines(mutant.file, *mutant.around)
    chosen, spent = [], 0.0
    for test in sorted(able, key=lambda test: (covering.took[test], test)):
        spent += covering.took[test]
        if chosen and spent > most_s:
            return chosen, False
        chosen.append(test)
    return chosen, True
