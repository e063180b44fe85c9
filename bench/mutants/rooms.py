"""The rooms that compute numbers, and the tests that hold each."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    "gradients": Room(("gradients/*.py",), ("test_gradients*.py",)),
    "importance": Room(
        ("importance/*.py",),
        (
            *("test_importance*.py", "test_checkpoints.py", "test_datamodels.py"),
            *("test_dynamics.py", "test_folds.py", "test_influence.py", "test_retraining.py"),
            *("test_attribution_peers.py", "test_rows.py"),
        ),
    ),
    "actions": Room(
        ("actions/*.py", "denoising.py"),
        ("test_actions*.py", "test_subsets.py", "test_denoising.py"),
    ),
    "samples": Room(
        (
            *("samples.py", "labels.py", "negatives/*.py", "history.py"),
            *("features.py", "encoding.py"),
        ),
        (
            *("test_samples*.py", "test_negatives*.py", "test_history.py", "test_features*.py"),
            *("test_encoding.py", "test_leaks.py"),
        ),
    ),
    "evaluation": Room(
        ("evaluation.py", "calibration.py", "ranking.py", "intervals.py"),
        ("test_evaluation*.py", "test_calibration.py", "test_ranking.py", "test_intervals.py"),
    ),
    "study": Room(
        ("study/*.py", "judging/*.py", "verdict.py", "attribution/*.py", "noise.py"),
        (
            *("test_study*.py", "test_blind.py", "test_keep.py", "test_recommend.py"),
            *("test_plans.py", "test_judging.py", "test_worlds.py", "test_verdict.py"),
            *("test_attribution.py", "test_noise.py"),
        ),
    ),
}
# Each room has a file of tests that were written for mutants that nothing else had noticed.
ROOMS = {
    name: replace(room, tests=(*room.tests, f"test_held_{name}*.py"))
    for name, room in ROOMS.items()
}
