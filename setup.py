"""Puts what the package reads, and what lies beside it in the repository, into the wheel.

All else stands in ``pyproject.toml``. The files keep their paths below ``helpers/shipped``, where
:mod:`helpers.base.paths` finds them if the package is installed and not in a checkout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_ROOT = Path(__file__).resolve().parent
_SHIPPED = (
    "data/**/*",
    "notebooks/*.ipynb",
    "notebooks/times.json",
    "bench/connectors.csv",
    "bench/results/**/*.csv",
    "bench/results/**/*.json",
)


class BuildWithData(build_py):
    """Builds the package with the data, the notebooks and the tables of the study."""

    def run(self) -> None:
        """Build; an editable installation reads the files where they are."""
        super().run()
        if not self.editable_mode:
            for source, target in self._shipped():
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what the wheel holds."""
        shipped = [] if self.editable_mode else [target for _, target in self._shipped()]
        return [*super().get_outputs(include_bytecode), *shipped]

    def get_source_files(self) -> list[str]:
        """Return what an archive of the sources must hold, so that a wheel can be built of it."""
        return [*super().get_source_files(), *(source for source, _ in self._shipped())]

    def _shipped(self) -> Iterator[tuple[str, str]]:
        """Yield each file's path in the repository, and where it goes."""
        for pattern in _SHIPPED:
            found = sorted(file for file in _ROOT.glob(pattern) if file.is_file())
            if not found:
                raise FileNotFoundError(f"{pattern}: nothing there, so the wheel would lack it.")
            for file in found:
                path = file.relative_to(_ROOT)
                if not any(part.startswith(".") for part in path.parts):
                    yield path.as_posix(), str(Path(self.build_lib, "helpers", "shipped", path))


setup(cmdclass={"build_py": BuildWithData})
