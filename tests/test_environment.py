"""The files that describe the environment agree, and make sets it up or says why not."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from helpers.base.paths import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUILD = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
PINS = [
    Requirement(line)
    for line in (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines()
]
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [
    Requirement(text) for texts in (PROJECT["dependencies"], *EXTRAS.values()) for text in texts
]


def python_range(specifier: str) -> set[str]:
    """Return the minor versions of Python 3 that a range allows."""
    allowed = SpecifierSet(specifier.replace(" ", ""))
    return {f"3.{minor}" for minor in range(30) if Version(f"3.{minor}.5") in allowed}


def pinned(python: str, platform: str) -> list[Requirement]:
    """Return the pins that count on one Python and one platform (``linux`` or ``darwin``)."""
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[platform],
    }
    return [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment)]


# --- the files agree ---------------------------------------------------------------------------


def test_every_file_states_the_same_range_of_pythons():
    environment = yaml.safe_load((REPO / "environment.yml").read_text(encoding="utf-8"))
    [conda] = [
        line.removeprefix("python ")
        for line in environment["dependencies"]
        if isinstance(line, str) and line.startswith("python ")
    ]
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"^VERSIONS = (.*)$", makefile, re.MULTILINE)[1].split()
    wanted = set(PYTHONS)
    assert python_range(PROJECT["requires-python"]) == wanted
    assert python_range(conda) == wanted
    assert set(listed) == wanted
    assert listed[-1] == PYTHONS[0], "make lock takes the last one as the oldest"
    assert "Python 3.11, 3.12 or 3.13 is needed" in makefile


def test_conda_takes_its_packages_from_the_other_two_files():
    environment = yaml.safe_load((REPO / "environment.yml").read_text(encoding="utf-8"))
    names = [line for line in environment["dependencies"] if isinstance(line, str)]
    assert [name.split()[0] for name in names] == ["python", "pip"]
    assert environment["dependencies"][-1] == {"pip": ["-c constraints.txt", "-e .[test]"]}


@pytest.mark.parametrize(
    "requirement", [*DECLARED, *map(Requirement, BUILD["requires"])], ids=lambda r: r.name
)
def test_a_requirement_has_a_lower_and_an_upper_bound(requirement: Requirement):
    assert sorted(clause.operator for clause in requirement.specifier) == ["<", ">="]
    assert requirement.url is None


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_once_and_inside_its_bounds(python: str, platform: str):
    pins = pinned(python, platform)
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(names) == len(set(names))
    versions = dict(zip(names, (str(pin.specifier) for pin in pins), strict=True))
    for requirement in DECLARED:
        version = versions[canonicalize_name(requirement.name)].removeprefix("==")
        assert version in requirement.specifier, requirement


def test_constraints_hold_exact_versions_and_no_urls():
    text = (REPO / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    for pin in PINS:
        assert re.fullmatch(r"==[\w.!+]+", str(pin.specifier)), pin
    assert [pin.name for pin in PINS] == sorted(pin.name for pin in PINS)


def test_what_the_requirements_need_is_pinned_too():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = {canonicalize_name(pin.name) for pin in pinned(version, sys.platform)}
    tested = [*PROJECT["dependencies"], *EXTRAS["test"]]
    needed, new = set(), {canonicalize_name(Requirement(text).name) for text in tested}
    while new:
        needed |= new
        new = {other for name in new for other in needs(name)} - needed
    assert needed - names == set()


def needs(name: str) -> Iterator[str]:
    """Yield what an installed distribution needs, without its extras."""
    for text in importlib.metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def test_every_package_that_the_code_imports_is_a_declared_requirement():
    declared = {canonicalize_name(requirement.name) for requirement in DECLARED}
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        name
        for name in imported_packages()
        if not {canonicalize_name(each) for each in providers.get(name, [])} & declared
    }
    assert undeclared == set()


def imported_packages() -> set[str]:
    """Return the top names of everything imported that is neither Python's nor ours."""
    files = [path for folder in ("helpers", "tests", "bench") for path in files_in(folder)]
    files = [path for path in files if path.parent.name != "peers"]  # an environment of its own
    ours = {path.stem for path in files} | {"helpers", "bench", "tests"}
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - ours


def files_in(folder: str) -> list[Path]:
    """Return the Python files of one of the repository's folders."""
    return sorted((REPO / folder).rglob("*.py"))


def test_every_package_of_helpers_is_installed():
    tool = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tool["setuptools"]["packages"]["find"]["include"] == ["helpers", "helpers.*"]
    folders = {path.parent for path in files_in("helpers")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_the_workflow_runs_the_same_script_as_everybody():
    workflow = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert set(PYTHONS) == set(job["strategy"]["matrix"]["python"])
    assert job["env"]["PYTHON"] == "python${{ matrix.python }}"


def test_the_script_ends_with_the_test_command_of_the_readme():
    script = REPO / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert {line.strip() for line in lines if "exec make" in line} == {'exec make "${1:-test}"'}
    assert lines[-1].startswith("exec make")
    assert "set -euo pipefail" in lines
    assert os.access(script, os.X_OK)
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert not readme or "make test" in readme


# --- make --------------------------------------------------------------------------------------

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

#: A Python that only notes how it was called. ``{version}`` and ``{modules}`` (true or false) vary.
FAKE = """#!/bin/sh
case "$*" in
  *version_info*) echo {version} ;;
  *"import ensurepip"*) exec {modules} ;;
  "-m venv --clear"*)
    rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "venv {version}" >> calls ;;
  "-m pip --version") ;;
  *)
    echo "$*" >> calls
    if [ -e fail ]; then failing=`cat fail`; case "$*" in *"$failing"*) exit 3 ;; esac; fi ;;
esac
"""


class Folder:
    """A clone with nothing in it but what make reads, on a machine of chosen Pythons."""

    def __init__(self, path: Path) -> None:
        self.path = path / "a folder's clone"
        self.bin = path / "bin"
        self.path.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(REPO / name, self.path)
        for tool in (
            "sh",
            "cat",
            "cp",
            "pwd",
            "rm",
            "mkdir",
            "sed",
            "awk",
            "true",
            "false",
            "echo",
        ):
            (self.bin / tool).symlink_to(shutil.which(tool))

    def python(self, name: str, version: str, *, complete: bool = True, folder: str = "") -> Path:
        """Put a fake Python on the PATH, or into another folder."""
        target = (self.bin.parent / folder if folder else self.bin) / name
        target.parent.mkdir(exist_ok=True)
        modules = "true" if complete else "false"
        target.write_text(FAKE.format(version=version, modules=modules), encoding="utf-8")
        target.chmod(0o755)
        return target

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call make, without what an outer make or shell has set."""
        return subprocess.run(
            [shutil.which("make"), *arguments],
            cwd=self.path,
            env={"PATH": str(self.bin), "LC_ALL": "C"},
            capture_output=True,
            text=True,
        )

    def calls(self) -> list[str]:
        """Return how the fake Pythons were called since the last time."""
        file = self.path / "calls"
        found = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found


@pytest.fixture
def clone(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


INSTALL = "-m pip install -c constraints.txt -e .[test]"
SITE_INSTALL = "-m pip install --quiet -c constraints.txt -e .[test,site]"


@needs_make
def test_make_alone_lists_every_target_and_needs_no_python(clone: Folder):
    done = clone.make()
    phony = re.search(r"^\.PHONY: (.*)$", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE)
    listed = re.findall(r"^  ([a-z-]+) ", done.stdout, re.MULTILINE)
    assert done.returncode == 0
    assert done.stderr == ""
    assert listed == phony[1].split()


@needs_make
@pytest.mark.parametrize(
    ("pythons", "sentence"),
    [
        ([], "Python 3.11, 3.12 or 3.13 is needed and was not found: install one"),
        ([("python3", "3.9")], "was not found (python3 is 3.9): install one"),
        ([("python3", "3.14")], "was not found (python3 is 3.14): install one"),
        ([("python", "2.7")], "was not found (python is 2.7): install one"),
        ([("python3.12", "3.12", False)], "python3.12 (3.12) lacks the modules venv and ensurepip"),
    ],
)
def test_without_a_fit_python_make_says_one_sentence(
    pythons: list[tuple], sentence: str, clone: Folder
):
    for name, version, *complete in pythons:
        clone.python(name, version, complete=not complete)
    done = clone.make("run")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(said) == 1
    assert sentence in said[0]
    assert done.stdout == ""
    assert not (clone.path / ".venv").exists()


@needs_make
def test_make_passes_over_pythons_that_do_not_fit(clone: Folder):
    clone.python("python3.13", "3.13", complete=False)
    (clone.bin / "python3.12").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    (clone.bin / "python3.12").chmod(0o755)
    clone.python("python3", "3.9")
    clone.python("python", "3.11")
    assert clone.make("run").returncode == 0
    assert clone.calls()[0] == "venv 3.11"


@needs_make
def test_make_takes_the_python_that_is_named(clone: Folder):
    clone.python("python3.13", "3.13")
    named = clone.python("python", "3.12", folder="my own")
    assert clone.make("run", f"PYTHON={named}").returncode == 0
    assert clone.calls()[0] == "venv 3.12"


@needs_make
def test_make_run_installs_once_and_passes_its_arguments_on(clone: Folder):
    clone.python("python3", "3.12")
    arguments = 'ARGS=--source sample --path "a b"'
    run = "-m helpers run --source sample --path a b"
    assert clone.make("run", arguments).returncode == 0
    assert clone.calls() == ["venv 3.12", INSTALL, run]
    assert clone.make("run", arguments).returncode == 0
    assert clone.calls() == [run]


def new_versions(clone: Folder) -> None:
    ready = (clone.path / ".venv/ready").stat().st_mtime
    os.utime(clone.path / "constraints.txt", (ready + 5, ready + 5))


def moved_folder(clone: Folder) -> None:
    clone.path = clone.path.rename(clone.path.with_name("elsewhere"))


@needs_make
@pytest.mark.parametrize("change", [new_versions, moved_folder])
def test_make_installs_again_where_it_must(change: Callable[[Folder], None], clone: Folder):
    clone.python("python3", "3.12")
    clone.make("run")
    clone.calls()
    change(clone)
    assert clone.make("run").returncode == 0
    assert clone.calls() == [INSTALL, "-m helpers run"]


@needs_make
def test_make_installs_again_after_an_interrupted_installation(clone: Folder):
    clone.python("python3", "3.12")
    (clone.path / "fail").write_text("-m pip install", encoding="utf-8")
    assert clone.make("run").returncode != 0
    assert clone.calls() == ["venv 3.12", INSTALL]
    (clone.path / "fail").unlink()
    assert clone.make("run").returncode == 0
    assert clone.calls() == [INSTALL, "-m helpers run"]


@needs_make
def test_make_makes_a_new_environment_when_its_python_is_gone(clone: Folder):
    clone.python("python3", "3.12")
    clone.make("run")
    clone.calls()
    python = clone.path / ".venv/bin/python"
    python.unlink()
    python.symlink_to("no such python")
    assert clone.make("run").returncode == 0
    assert clone.calls() == ["venv 3.12", INSTALL, "-m helpers run"]


@needs_make
@pytest.mark.parametrize(
    ("target", "failing", "calls"),
    [
        ("check", "ruff check", 1),
        ("check", "ruff format", 2),
        ("check", "mypy", 3),
        ("test", "test,site", 1),
        ("test", "ruff", 2),
        ("test", "--doctest-modules", 5),
        ("test", "--nbval", 6),
        ("test-all", "--doctest-modules", 5),
        ("test-all", "--nbval", 6),
        ("test-lowest", "pip install", 1),
        ("coverage", "coverage run", 2),
        ("coverage", "coverage combine", 3),
        ("coverage", "coverage html", 4),
        ("coverage", "coverage report", 5),
        ("run", "helpers run", 1),
        ("lab", "jupyterlab", 1),
        ("site", "test,site", 1),
        ("site", "site/build.py", 2),
        ("bench", "bench_a", 1),
        ("bench-peers", "venv .venv-peers", 1),
        ("study", "bench/study.py", 1),
        ("attribution", "bench/attribution.py", 1),
        ("mutants", "bench.mutants", 1),
        ("refresh", "helpers.notebooks refresh", 1),
        ("lock", "pip install", 1),
    ],
)
def test_no_target_hides_a_failure(target: str, failing: str, calls: int, clone: Folder):
    clone.python("python3", "3.12")
    peers = ("bench/peers/requirements.txt", "bench/peers/requirements-legacy.txt")
    for name in ("notebooks/01_a_b.ipynb", "bench/bench_a.py", "bench/bench_b.py", *peers):
        (clone.path / name).parent.mkdir(exist_ok=True, parents=True)
        (clone.path / name).touch()
    clone.make("run")
    clone.calls()
    (clone.path / "fail").write_text(failing, encoding="utf-8")
    assert clone.make(target).returncode != 0
    assert len(clone.calls()) == calls  # nothing goes on after the failure


@needs_make
def test_make_site_adds_what_it_needs_once_and_again_after_a_new_installation(clone: Folder):
    clone.python("python3", "3.12")
    build = "site/build.py"
    assert clone.make("site").returncode == 0
    assert clone.calls() == ["venv 3.12", INSTALL, SITE_INSTALL, build]
    clone.make("site")
    assert clone.calls() == [build]
    later = time.time() + 10
    os.utime(clone.path / "constraints.txt", (later, later))
    clone.make("site")
    assert clone.calls() == [INSTALL, SITE_INSTALL, build]


@needs_make
def test_make_test_runs_style_types_unit_tests_doctests_and_every_notebook(clone: Folder):
    clone.python("python3", "3.12")
    (clone.path / "notebooks").mkdir()
    (clone.path / "notebooks/01_a_b.ipynb").touch()
    assert clone.make("test").returncode == 0
    nbval = "-m pytest --nbval --nbval-current-env --nbval-cell-timeout 3600"
    nbval += " --nbval-kernel-startup-timeout 600"
    assert clone.calls()[2:] == [
        SITE_INSTALL,
        "-m ruff check .",
        "-m ruff format --check .",
        "-m mypy",
        "-m pytest -n 2 --dist loadfile --doctest-modules -m not slow tests helpers",
        f"{nbval} -n 2 --dist loadfile notebooks",
    ]
    clone.make("test-all")
    assert clone.calls()[3] == "-m pytest -n 2 --dist loadfile --doctest-modules tests helpers"
