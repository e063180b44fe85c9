"""The rooms that compute numbers, and the tests that hold each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["REPO", "ROOMS", "Room"]

REPO = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Room:
    """Files that are broken, and files of tests that must notice.

    Attributes:
        modules: patterns below ``helpers``.
        tests: patterns below ``tests``; the doctests of the modules are tried as well.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def sources(self, repo: Path = REPO) -> list[Path]:
        """Return the files that are broken, sorted."""
        return _found(repo / "helpers", self.modules)

    def checks(self, repo: Path = REPO) -> list[Path]:
        """Return the files whose tests and doctests are run, sorted."""
        return [*_found(repo / "tests", self.tests), *self.sources(repo)]


def _found(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


ROOMS = {
    name: Room((f"{name}/**/*.py",), (f"{name}/test_*.py",))
    for name in ("gradients", "importance", "actions", "samples", "evaluation", "experiments")
}
