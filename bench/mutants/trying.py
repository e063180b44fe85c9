"""Tests run in a forked child, with or without a fault in one module.

TensorFlow and what else takes long to import are imported once, in the parent, before any
operation runs; a child begins with them loaded, imports ``helpers`` anew and ends after its
tests. So no mutant sees anything of another one, and none pays for the imports.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib.abc
import importlib.util
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import CodeType

from helpers.base.quiet import quiet_stderr
from helpers.base.writing import write_atomically

__all__ = ["HUNG", "in_child", "module_name", "run_tests", "warm_up", "with_fault"]

HUNG = "hung"
_HEAVY = (
    *("tensorflow", "keras", "pandas", "pyarrow.parquet", "scipy.optimize"),
    *("scipy.stats", "sklearn.linear_model", "sklearn.metrics", "hypothesis", "pytest"),
    *("matplotlib", "sqlalchemy", "tqdm.auto", "_pytest.doctest", "threadpoolctl", "joblib"),
)


def warm_up(names: Iterable[str] = _HEAVY) -> None:
    """Import what every child will need, and run nothing of it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children collect their garbage without looking through all of this


def in_child(
    work: Callable[[], object], *, cpu_s: float, wall_s: float, log: Path | None = None
) -> object:
    """Return what ``work`` returns in a forked child, as JSON brings it over, or :data:`HUNG`.

    A child that is busy for longer than ``cpu_s`` seconds of its own processor time is ended: how
    busy the machine is otherwise does not matter. One that waits is ended after ``wall_s``.

    Args:
        work: returns something that JSON can hold.
        cpu_s: processor seconds.
        wall_s: seconds on the clock.
        log: file that takes what the child prints; None drops it.

    Returns:
        :data:`HUNG` where its time was up; ``{"crashed": why}`` where it ended in another way than
        by returning.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        answer = Path(folder) / "answer.json"
        child = os.fork()
        if child == 0:
            _be_child(work, answer, cpu_s, log)
        ended = _wait(child, wall_s)
        if answer.exists():
            return json.loads(answer.read_text("utf-8"))
        if ended in (None, signal.SIGXCPU):
            return HUNG
        return {"crashed": f"the process was ended by signal {ended}"}


def _be_child(work: Callable[[], object], answer: Path, cpu_s: float, log: Path | None) -> None:
    """Do the work, leave the answer and end; never return to what the parent does."""
    status = 1
    try:
        os.setsid()
        sink = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        _end_after(cpu_s)
        with tempfile.TemporaryDirectory() as cache:  # what a mutant makes is for itself alone
            os.environ["WORKBOOK_CACHE"] = cache
            found = work()
        write_atomically(answer, json.dumps(found))
        status = 0
    except BaseException:  # also SystemExit must not reach what the parent does
        answer.write_text(json.dumps({"crashed": traceback.format_exc()}), encoding="utf-8")
    finally:
        os._exit(status)


def _end_after(cpu_s: float) -> None:
    """Have the system end this process after so many more seconds of its own processor time."""
    limit = math.ceil(time.process_time() + cpu_s)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _wait(child: int, wall_s: float) -> int | None:
    """Return the signal that ended a child, 0 if none did, or None if it had to be ended here."""
    end, pause = time.monotonic() + wall_s, 0.005
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


class _Broken(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a tree in place of its file."""

    def __init__(self, name: str, file: Path, tree: ast.Module) -> None:
        self.name, self.file, self.tree = name, file, tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name != self.name:
            return None
        inside = [str(self.file.parent)] if self.file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self.file, loader=self, submodule_search_locations=inside
        )

    def get_filename(self, name: str) -> str:
        return str(self.file)

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def get_code(self, name: str) -> CodeType:
        return compile(self.tree, str(self.file), "exec", dont_inherit=True)


def with_fault(name: str, file: Path, tree: ast.Module) -> None:
    """Have a module be imported from a tree from now on, and forget those that read the old one."""
    root = name.partition(".")[0]
    for other in [each for each in sys.modules if each == root or each.startswith(f"{root}.")]:
        del sys.modules[other]
    sys.meta_path.insert(0, _Broken(name, file, tree))


class _Picked:
    """Plugin of pytest: runs chosen tests in a given order, and notes how each went.

    Attributes:
        took: processor seconds of each test that passed, by its name.
        failed: names of those that did not, in the order in which they were run.
    """

    def __init__(
        self,
        order: Sequence[str] | None,
        known: Collection[str],
        most_s: Mapping[str, float],
        listener: Callable[[str], None] | None,
    ) -> None:
        self.order, self.known, self.most_s, self.listener = order, known, most_s, listener
        self.took: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list) -> None:
        if self.order is not None:
            place = {name: number for number, name in enumerate(self.order)}
            last = len(place)  # here come tests that only the fault brings about, by another name
            items[:] = sorted(
                (i for i in items if i.nodeid in place or i.nodeid not in self.known),
                key=lambda item: place.get(item.nodeid, last),
            )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._began = time.process_time()
        if nodeid in self.most_s:
            _end_after(self.most_s[nodeid])
        if self.listener:
            self.listener(f"{nodeid.partition('::')[0]}::")  # fixtures are of the whole file

    def pytest_runtest_call(self, item: object) -> None:
        if self.listener:
            self.listener(item.nodeid)

    def pytest_runtest_teardown(self, item: object) -> None:
        if self.listener:
            self.listener(f"{item.nodeid.partition('::')[0]}::")

    def pytest_runtest_logreport(self, report: object) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self.failed:
            self.took[report.nodeid] = round(time.process_time() - self._began, 4)

    def pytest_collectreport(self, report: object) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def run_tests(
    files: Iterable[Path],
    *,
    order: Sequence[str] | None = None,
    known: Collection[str] = (),
    most_s: Mapping[str, float] | None = None,
    listener: Callable[[str], None] | None = None,
    first_only: bool = True,
    options: Sequence[str] = (),
) -> Mapping[str, object]:
    """Run tests in this process, and say how each went.

    Args:
        files: of tests, or of modules with doctests.
        order: names of the tests to run, first ones first; None runs all.
        known: names of all tests that there are without a fault; others are run after ``order``.
        most_s: processor seconds that each test may take; then the process is ended.
        listener: is told the name of each test before it is called, and the name of its file
            around that.
        first_only: stop at the first that fails.
        options: of pytest, more of them.

    Returns:
        ``{"took": seconds by name of those that passed, "failed": names}``.
    """
    import pytest

    picked = _Picked(order, known, most_s or {}, listener)
    files = [str(path) for path in files]
    quiet = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", "--doctest-modules"]
    quiet += ["-m", "not slow"]  # as in make test, which must notice a fault
    # Rewritten assertions would load a module that is named for its doctests from its own file.
    quiet += ["--assert=plain", "-W", "ignore:Module already imported"]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # nbval takes seconds to import
    stop = ["-x"] if first_only else []
    code = pytest.main([*quiet, *stop, *options, *files], plugins=[picked])
    if code not in (0, 1, 5) and not picked.failed:
        picked.failed.append(f"pytest ended with {int(code)}")
    return {"took": picked.took, "failed": picked.failed}


def module_name(file: Path, repo: Path) -> str:
    """Return the dotted name by which a file of a repository is imported."""
    parts = file.relative_to(repo).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
