"""Every option that names a file or a folder, with what people and their disks can give it.

Each is one paragraph and exit code 2: never for ever, never a fault of the workbook.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from broken import assert_clear, lay_out
from tiny_notebooks import write_notebook
from waiting import PATIENCE_S

from helpers.__main__ import _PATHS, _parser, main
from helpers.base import small_files
from helpers.base.errors import DataError
from helpers.commands import mysql as serving
from helpers.commands import run as runs
from helpers.commands import run_request
from helpers.data.database.address import VARIABLE


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """Fail instead of waiting for ever."""

    def stop(*_: object) -> None:
        raise TimeoutError("the command waits for ever")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """Run in a folder of the test's own, with tables, one notebook, and nothing that starts."""
    write_notebook(tmp_path / "notebooks", "01_load_data")
    lay_out(tmp_path / "mine")
    (tmp_path / "mine" / "schema.yaml").unlink(missing_ok=True)
    monkeypatch.setattr(run_request, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(runs.state, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runs.walk, "execute_notebook", lambda *_, **__: pytest.fail("executed"))
    monkeypatch.setattr(serving, "missing_server", lambda: "")
    monkeypatch.setattr(serving, "private_server", lambda **_: pytest.fail("served"))
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options() -> Iterator[tuple[str, str, str]]:
    """Yield command, option and kind (DIR, FILE or RUN) of all that name a file or a folder."""
    (commands,) = (
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    for command, parser in commands.choices.items():
        for action in parser._actions:
            if action.metavar in ("DIR", "FILE", "RUN"):
                yield command, (action.option_strings or [""])[0], action.metavar


OPTIONS = list(options())


def typed(command: str, option: str, value: str) -> list[str]:
    """Return a command that is right but for the value."""
    if option == "--path":
        rest = ["--source", "csv"]
    elif option == "--schema" or (command, option) == ("init", "--out"):
        rest = ["--path", "mine"]
    elif option in ("--out", "-f"):
        rest = ["--source", "sample"]
    else:
        rest = []
    rest += ["01"] if command == "run" and option != "--resume" else []
    return [command, *rest, *([option] if option else []), value]


def refused(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    """Run a command that must refuse its input; return its one paragraph."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert "fault of the workbook" not in said
    assert_clear(said.strip())
    return said


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def listening(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    return "socket"


def circle(folder: Path) -> str:
    (folder / "circle").symlink_to("circle")
    return "circle"


def nowhere(folder: Path) -> str:
    (folder / "link").symlink_to("nowhere")
    return "link"


def in_a_file(folder: Path) -> str:
    (folder / "file").write_text("")
    return "file/x"


def a_file(folder: Path) -> str:
    (folder / "file").write_text("[]")
    return "file"


PLACES: dict[str, Callable[[Path], str]] = {
    "a pipe": pipe,
    "a socket": listening,
    "what never ends": lambda folder: "/dev/zero",
    "a link to what never ends": lambda folder: str(
        (folder / "zero").symlink_to("/dev/zero") or "zero"
    ),
    "a link to itself": circle,
    "a link to nothing": nowhere,
    "something in a file": in_a_file,
    "a null byte": lambda folder: "a\0b",
    "5,000 characters": lambda folder: "x" * 5000,
    "a name of 300 characters": lambda folder: "x" * 300,
    "3,000 folders": lambda folder: "x/" * 3000,
    "no UTF-8": lambda folder: "a\udcff",
    "the home of nobody": lambda folder: "~nosuchuser/x",
    "a list instead of a file": a_file,
    "a folder": lambda folder: "notebooks",
    "nothing of that name": lambda folder: "missing",
}
#: What is no mistake: results go to a new folder or an old one, a draft to a new file.
RIGHT = {
    ("run", "--out", "a folder"),
    ("run", "--out", "nothing of that name"),
    ("init", "--out", "nothing of that name"),
}
CASES = [
    (command, option, name)
    for command, option, _ in OPTIONS
    for name in PLACES
    if (command, option, name) not in RIGHT
]


def test_every_option_that_names_a_file_or_a_folder_is_looked_at_first():
    assert {option or "RUN" for _, option, _ in OPTIONS} == set(_PATHS.values())
    assert {command for command, *_ in OPTIONS} == {"run", "report", "init", "check", "mysql"}


@pytest.mark.parametrize(("command", "option", "name"), CASES)
def test_a_place_that_will_not_do_is_refused(place, capsys, command, option, name):
    value = PLACES[name](place)
    before = sorted(place.rglob("*"))
    refused(typed(command, option, value), capsys)
    assert sorted(p for p in place.rglob("*") if "cache" not in p.parts) == before


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
)
CONTENTS = {
    "3,000 brackets": b"a: " + b"[" * 3000,
    "100,000 brackets": b"[" * 100_000,
    "3,000 brackets that close": b"a: " + b"[" * 3000 + b"]" * 3000,
    "3,000 sections": b"{a: " * 3000,
    "3,000 lists in lines": b"- " * 3000 + b"x",
    "questions in questions": b"? " * 3000 + b"x",
    "a bomb": BOMB.encode(),
    "a list that holds itself": b"a: &a [*a]",
    "a key twice": b"seed: 1\nseed: 2",
    "a merge": b"a: &a {x: 1}\nb:\n  <<: *a",
    "a number of 5,000 digits": b"seed: " + b"9" * 5000,
    "a huge share": b"max_bad_share: 1e999999999",
    "a tag that runs": b"a: !!python/object/apply:os.system [ls]",
    "a tag of any kind": b"a: !!binary aGk=",
    "two documents": b"a: 1\n---\nb: 2",
    "no UTF-8": b"a: \xff\xfe",
    "UTF-16": "a: 1\n".encode("utf-16"),
    "null bytes": b"a: b\0c",
    "half a character": b'a: "\\ud800"',
    "a character beyond all": b'a: "\\UFFFFFFFF"',
    "an open quote": b'a: "b',
    "a tab": b"a:\n\tb: 1",
    "a list": b"- 1",
    "a text": b"epochs",
    "a number": b"5",
    "a key that is a list": b"[a]: 1",
    "a key of nothing": b": 1",
    "an unknown key": b"nonsense: 1",
    "2 MB": b"#" * 2_000_000,
    "a table": b"user_id,item_id\n1,2\n",
    "a pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix",
}
READ = [(c, o) for c, o, kind in OPTIONS if kind == "FILE" and o in ("-f", "--schema")]


@pytest.mark.parametrize(("command", "option"), READ)
@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_says_nothing_of_use_is_refused_by_name(place, capsys, command, option, name):
    (place / "said.yaml").write_bytes(CONTENTS[name])
    said = refused(typed(command, option, "said.yaml"), capsys)
    assert "said.yaml" in said or 'parameter "' in said
    assert not (place / "runs").exists()


@pytest.mark.parametrize("name", [n for n in PLACES if n not in ("a folder", "a null byte")])
def test_a_place_for_the_cache_that_will_not_do_keeps_nothing(place, capsys, monkeypatch, name):
    monkeypatch.setenv("WORKBOOK_CACHE", PLACES[name](place))
    assert main(["check", "--path", "mine"]) in (0, 2)
    assert "fault of the workbook" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["a\0b", "x" * 5000, "../../etc/passwd", "/dev/zero", "\udcff", ""]
)
def test_a_notebook_of_no_such_name_is_refused(capsys, name):
    refused(["run", "--source", "sample", name], capsys)


# What the address of a server names ----------------------------------------------------------

NAMED = ("option_file", "ssl_ca", "ssl_cert", "ssl_key", "unix_socket")


@pytest.mark.parametrize("option", NAMED)
@pytest.mark.parametrize("name", PLACES)
def test_a_file_for_a_server_that_will_not_do_is_refused(place, capsys, monkeypatch, option, name):
    value = quote(PLACES[name](place), safe="", errors="surrogateescape")
    monkeypatch.setenv(VARIABLE, f"mysql://me:hunter2@127.0.0.1:9/shop?{option}={value}")
    assert "hunter2" not in refused(["check", "--source", "mysql"], capsys)


@pytest.mark.parametrize("option", NAMED[:-1])
@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b"#" * 2_000_000, b"hunter2\0"])
def test_a_file_for_a_server_that_says_nothing_is_refused(
    place, capsys, monkeypatch, option, content
):
    (place / "said").write_bytes(content)
    monkeypatch.setenv(VARIABLE, f"mysql://me@127.0.0.1:9/shop?{option}=said")
    assert "hunter2" not in refused(["check", "--source", "mysql"], capsys)


# The reader of small files -------------------------------------------------------------------


def test_a_file_is_read_up_to_its_limit_and_not_a_byte_further(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"x" * 1000)
    assert small_files.read_bytes(file, largest=1000) == b"x" * 1000
    with pytest.raises(DataError, match="is larger than 999 bytes"):
        small_files.read_bytes(file, largest=999)
    with pytest.raises(FileNotFoundError):
        small_files.read_bytes(tmp_path / "g")


def test_a_link_is_read_only_where_the_person_names_it(tmp_path):
    (tmp_path / "f").write_text('{"a": 1}')
    (tmp_path / "l").symlink_to("f")
    assert small_files.read_json(tmp_path / "l") == {"a": 1}
    with pytest.raises(DataError, match="is a link; put the file itself there"):
        small_files.read_json(tmp_path / "l", links=False)


def test_a_file_that_becomes_a_pipe_between_two_looks_does_not_wait(tmp_path, monkeypatch):
    (tmp_path / "plain").write_text("")
    os.mkfifo(tmp_path / "f")
    looks = os.stat(tmp_path / "plain")
    monkeypatch.setattr(Path, "stat", lambda self, **_: looks)
    with pytest.raises(DataError, match="is a pipe, a socket or a device"):
        small_files.read_bytes(tmp_path / "f")


@pytest.mark.parametrize("depth", [40, 41])
def test_json_may_be_forty_lists_deep(tmp_path, depth):
    (tmp_path / "f").write_text("[" * depth + "]" * depth)
    if depth == 40:
        assert small_files.read_json(tmp_path / "f")
    else:
        with pytest.raises(DataError, match="more than 40 deep"):
            small_files.read_json(tmp_path / "f")


def test_a_folder_with_too_many_files_is_not_looked_through(tmp_path, monkeypatch):
    monkeypatch.setattr(small_files, "_MOST_LINKS", 3)
    for name in "abcd":
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match="holds more than 3 files; this is not a run's folder"):
        small_files.refuse_links(tmp_path, what="a run's folder")
