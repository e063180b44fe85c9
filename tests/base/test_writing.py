"""A file is there whole or not at all, whoever writes at the same time and whoever is killed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.base.paths import REPO
from helpers.base.writing import whole_file, write_atomically

#: Writes as it is told, line by line, and says when a step is done.
WORKER = """
import sys
from pathlib import Path
from helpers.base.writing import whole_file

path, block = Path(sys.argv[1]), None
for line in sys.stdin:
    step, _, text = line.strip().partition(" ")
    if step == "begin":
        block = whole_file(path)
        temporary = block.__enter__()
    elif step == "add":
        with temporary.open("a") as stream:
            stream.write(text)
    elif step == "end":
        block.__exit__(None, None, None)
    print("done", flush=True)
"""


class Worker:
    """A process that writes one file, one step at a time.

    Attributes:
        text: what it has written since it began; None: it has not begun.
    """

    def __init__(self, path: Path) -> None:
        self.text: str | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path)],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, step: str) -> None:
        """Have a step done, and wait for its end."""
        self._process.stdin.write(f"{step}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """End it as the system does with what takes too much memory."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    found = [Worker(tmp_path / "norms.txt") for _ in range(2)]
    yield found
    for worker in found:
        worker.kill()


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["go on", "go on", "go on", "kill"])),
    min_size=6,
    max_size=20,
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_two_writers_at_once_of_whom_any_may_be_killed_leave_one_whole_file(
    tmp_path: Path, workers: list[Worker], steps: list[tuple[int, str]]
):
    """After each step the file holds what the last one that came to its end has written."""
    path = tmp_path / "norms.txt"
    path.write_text("old")
    whole, left = "old", len([*tmp_path.glob(".new-*")])
    for number, (who, step) in enumerate(steps):
        worker = workers[who]
        if step == "kill":
            worker.kill()
            left += worker.text is not None
            workers[who] = Worker(path)
        elif worker.text is None:
            worker.do("begin")
            worker.text = ""
        elif len(worker.text) < 2:
            worker.do(f"add {number % 10}")
            worker.text += str(number % 10)
        else:
            worker.do("end")
            whole, worker.text = worker.text, None
        assert path.read_text() == whole
        assert [*tmp_path.glob("*.txt")] == [path]
    writing = sum(worker.text is not None for worker in workers)
    assert len([*tmp_path.iterdir()]) == 1 + left + writing
    for worker in workers:
        if worker.text is not None:
            worker.do("end")
            worker.text = None


def write_array(file: Path) -> None:
    np.save(file, np.arange(9))


def write_table(file: Path) -> None:
    pd.DataFrame({"a": range(9)}).to_parquet(file)


def write_pieces(file: Path) -> None:
    with pq.ParquetWriter(file, pa.schema([("a", pa.int64())])) as writer:
        for _ in range(3):
            writer.write_table(pa.table({"a": [1, 2]}))


@pytest.mark.parametrize("write", [write_array, write_table, write_pieces])
@pytest.mark.parametrize("ending", [".npy", ".parquet", ".csv.gz", ""])
def test_what_a_library_writes_lands_under_the_name_that_was_asked_for(tmp_path, write, ending):
    if write is write_array and ending != ".npy":
        ending = ".npy"  # NumPy adds it to every other name
    path = tmp_path / f"a{ending}"
    with whole_file(path) as temporary:
        write(temporary)
    assert [*tmp_path.iterdir()] == [path]
    write(tmp_path / f"b{ending}")
    assert path.read_bytes() == (tmp_path / f"b{ending}").read_bytes()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.npy"
    write_atomically(path, "old")

    def write_half() -> None:
        with whole_file(path) as temporary:
            temporary.write_bytes(b"half of")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_full_disk_at_the_last_moment_leaves_the_old_file(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("full")

    path = tmp_path / "a.json"
    write_atomically(path, "é")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="full"):
                write_atomically(path, b"new")
    assert path.read_text(encoding="utf-8") == "é"
    assert [*tmp_path.iterdir()] == [path]


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "a.json", "new")


def test_who_comes_first_stays_where_that_is_asked_for(tmp_path):
    path = tmp_path / ".salt"
    for text in ("first", "second"):
        with whole_file(path, replace=False) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "first"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("umask", "mode", "want"),
    [(0o022, 0o644, 0o644), (0o077, 0o644, 0o600), (0o000, 0o600, 0o600), (0o000, 0o644, 0o644)],
)
def test_a_file_is_for_whom_it_was_meant(tmp_path, umask, mode, want):
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "a.parquet", mode=mode) as temporary:
            write_table(temporary)
    finally:
        os.umask(before)
    assert (tmp_path / "a.parquet").stat().st_mode & 0o777 == want


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    path = tmp_path / "a.json"
    path.symlink_to(tmp_path / "elsewhere")
    write_atomically(path, "new")
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert not path.is_symlink()


def by_hand(source: str) -> list[int]:
    """Return the lines where a file takes another's name, or a temporary one is made."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            makes = node.func.attr in ("mkstemp", "NamedTemporaryFile", "mktemp")
            # A text's replace takes two, a time's or a dataclass's takes names.
            moves = node.func.attr == "replace" and not node.keywords and len(node.args) == 1
            moves |= ast.unparse(node.func) in ("os.replace", "shutil.move")
            lines += [node.lineno] if makes or moves else []
    return lines


def test_nobody_else_writes_whole_files_by_hand():
    found = {
        file.relative_to(REPO).as_posix(): lines
        for room in ("helpers", "bench", "site")
        for file in sorted((REPO / room).rglob("*.py"))
        if (lines := by_hand(file.read_text(encoding="utf-8")))
    }
    assert list(found) == ["helpers/base/writing.py"]


@pytest.mark.parametrize(
    "line",
    [
        "temporary.replace(path)",
        "os.replace(temporary, path)",
        "handle, name = tempfile.mkstemp(dir=folder)",
    ],
)
def test_a_planted_writer_by_hand_is_found(line: str):
    assert by_hand(f"def write(path):\n    {line}\n") == [2]
    assert by_hand('text.replace("a", "b"), day.replace(hour=0), replace(part, file=1)') == []
