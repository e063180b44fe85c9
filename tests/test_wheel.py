"""The package works where it is installed: in an empty folder, without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.base import paths
from helpers.base.paths import REPO
from helpers.commands import run_request

#: What a build needs of the repository; without what it makes, and without the tests.
SOURCES = ("helpers", "data", "notebooks", "bench", "pyproject.toml", "setup.py", "README.md")
SOURCES += ("LICENSE", "LICENSE-TEXT")
#: What notebooks and modules read of the repository, wherever it is.
READ = (
    *("data/schema.yaml", "data/schema.sql", "data/README.md", "data/foreign/ventas.csv"),
    *("data/sample/schema.yaml", "data/sample/user_behavior.csv.gz", "data/sample/truth.csv.gz"),
    *("notebooks/times.json", "notebooks/01_load_data.ipynb", "bench/connectors.csv"),
    *("bench/results/attribution.json", "bench/results/journey/keep.csv"),
)


@dataclass
class Installed:
    """A package as pip installs it, and an empty folder to use it in.

    Attributes:
        site: where it lies.
        folder: the empty folder.
    """

    site: Path
    folder: Path

    def python(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run this Python with the installed package, without a setting of this shell."""
        env = {n: v for n, v in os.environ.items() if not n.startswith(("WORKBOOK_", "XDG_"))}
        env |= {"PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1"}
        env |= {"HOME": str(self.site.parent / "home")}
        return subprocess.run(
            [sys.executable, *words],
            cwd=cwd or self.folder,
            env=env,
            capture_output=True,
            text=True,
        )

    def files(self) -> dict[str, int]:
        """Return when each installed file was written last."""
        return {str(f): f.stat().st_mtime_ns for f in self.site.rglob("*") if f.is_file()}


def copied(folder: Path) -> Path:
    """Copy what a build needs: it writes into the folder in which it runs."""
    source = folder / "source"
    left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in SOURCES:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, source / name, ignore=left_out)
        else:
            shutil.copyfile(REPO / name, source / name)
    return source


def run_pip(command: str, *words: str | Path) -> None:
    """Run pip offline, for one package without what it needs."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", command, "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", *words], check=True, capture_output=True)


def built(source: Path, folder: Path) -> Path:
    """Build the wheel of a folder and return it."""
    run_pip("wheel", "--no-build-isolation", "--wheel-dir", folder, source)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed") / "site"
    run_pip("install", "--no-compile", "--target", folder, wheel)
    return folder


@pytest.fixture
def installed(site: Path, tmp_path: Path) -> Iterator[Installed]:
    """Yield the installed package; whatever is done with it, its own folder stays as it is."""
    found = Installed(site, tmp_path / "empty")
    found.folder.mkdir()
    before = found.files()
    yield found
    assert found.files() == before


def names(archive: Path) -> list[str]:
    """Return the sorted names of the files in a wheel."""
    with zipfile.ZipFile(archive) as wheel:
        return sorted(wheel.namelist())


def test_the_wheel_holds_the_package_and_what_it_reads_and_nothing_else(wheel: Path):
    inside = set(names(wheel))
    modules = {file.relative_to(REPO).as_posix() for file in (REPO / "helpers").rglob("*.py")}
    assert modules <= inside
    assert {f"helpers/shipped/{name}" for name in READ} <= inside
    notebooks = {f"helpers/shipped/notebooks/{f.name}" for f in REPO.glob("notebooks/*.ipynb")}
    assert notebooks <= inside
    data = {f for f in (REPO / "data").rglob("*") if f.is_file() and f.name[0] != "."}
    assert {f"helpers/shipped/{f.relative_to(REPO).as_posix()}" for f in data} <= inside
    assert {name.split("/")[0].partition("-")[0] for name in inside} == {
        "helpers",
        "sample_importance_workbook",
    }


def test_the_wheel_of_the_archived_sources_holds_the_same_files(source, wheel, tmp_path):
    code = f"import setuptools.build_meta as build; build.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    [folder] = (tmp_path / "out").iterdir()
    assert names(built(folder, tmp_path)) == names(wheel)


def test_a_wheel_without_its_data_is_not_built(source: Path, tmp_path: Path):
    lacking = tmp_path / "lacking"
    shutil.copytree(source, lacking, ignore=shutil.ignore_patterns("data", "build", "*.egg-info"))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        built(lacking, tmp_path)
    assert b"data/**/*: nothing there, so the wheel would lack it" in (
        failed.value.stdout + failed.value.stderr
    )


IMPORT_ALL = """
import importlib, pkgutil, helpers
for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(helpers.__file__)
"""


def test_every_module_can_be_imported_in_an_empty_folder(installed: Installed):
    done = installed.python("-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == installed.site / "helpers" / "__init__.py"
    assert [*installed.folder.iterdir()] == []


def test_help_is_printed_in_an_empty_folder(installed: Installed):
    done = installed.python("-m", "helpers", "--help")
    assert done.returncode == 0, done.stderr
    assert "python -m helpers run" in done.stdout


def test_a_folder_of_tables_is_drafted_and_checked_in_an_empty_folder(installed: Installed):
    shop = installed.site / "helpers" / "shipped" / "data" / "foreign"
    (installed.folder / "shop").mkdir()
    for name in ("articulos.csv", "ventas.csv"):
        shutil.copyfile(shop / name, installed.folder / "shop" / name)
    done = installed.python("-m", "helpers", "init", "--path", "shop")
    assert done.returncode == 0, done.stderr
    assert (installed.folder / "shop" / "schema.yaml").is_file()
    done = installed.python("-m", "helpers", "check", "--source", "sample")
    assert done.returncode == 0, done.stderr
    assert "74,824" in done.stdout
    assert sorted(file.name for file in installed.folder.iterdir()) == [".cache", "shop"]


def test_inside_the_package_the_cache_is_the_persons_own(installed: Installed):
    code = "from helpers.cache import cache_folder; print(cache_folder())"
    done = installed.python("-c", code, cwd=installed.site / "helpers" / "shipped" / "notebooks")
    home = installed.site.parent / "home"
    assert Path(done.stdout.strip()) == home / ".cache" / "sample-importance-workbook" / ".cache"


def test_the_notebooks_of_an_installed_package_are_not_written(installed: Installed):
    done = installed.python("-m", "helpers.notebooks", "tidy")
    assert done.returncode == 2
    assert "are written in a checkout of the repository" in done.stderr


@pytest.mark.slow
def test_a_notebook_runs_in_an_empty_folder_and_leaves_a_report_there(installed: Installed):
    done = installed.python("-m", "helpers", "run", "--source", "sample", "01")
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in installed.folder.iterdir()) == [".cache", "runs"]
    [run] = (installed.folder / "runs").iterdir()
    assert (run / "report.html").is_file()
    text = (run / "01_load_data.ipynb").read_text(encoding="utf-8")
    assert str(installed.site) not in text


def test_in_a_checkout_caches_and_runs_lie_in_its_root():
    assert paths.IS_CHECKOUT
    assert paths.HOME == paths.REPO == REPO
    assert run_request.plain_path(REPO / "data") == "data"


def test_an_installed_package_keeps_full_paths_so_that_a_run_goes_on_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_request, "IS_CHECKOUT", False)
    monkeypatch.setattr(run_request, "HOME", tmp_path)
    assert run_request.plain_path(tmp_path / "tables") == str(tmp_path / "tables")


@pytest.mark.parametrize("stated", ["", "relative/cache"])
def test_only_a_full_path_counts_as_a_cache_of_xdg(stated: str, monkeypatch: pytest.MonkeyPatch):
    package = Path("/lib/helpers")
    monkeypatch.setenv("XDG_CACHE_HOME", stated)
    monkeypatch.setenv("HOME", "/home/me")
    own = Path("/home/me/.cache/sample-importance-workbook")
    assert paths.home_of(package / "shipped", package=package) == own
    monkeypatch.setenv("XDG_CACHE_HOME", "/big/disk")
    assert paths.home_of(package, package=package).parent == Path("/big/disk")
    assert paths.home_of(package.parent, package=package) == package.parent
