"""A run's folder from somebody else: nothing of it is executed, nothing outside it is written."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken import assert_clear, lay_out
from hypothesis import given
from hypothesis import strategies as st
from test_report import EVIL, made_up_results, write_run
from tiny_notebooks import write_notebook

from helpers.__main__ import main
from helpers.base.errors import DataError
from helpers.cache import store as cache
from helpers.commands import run as runs
from helpers.commands import run_request
from helpers.commands.report import write_report
from helpers.commands.run import RunError, execute_run, open_run, start_run
from helpers.commands.run.executor import execute_notebook
from helpers.data.sources import data_fingerprint, open_source, stage_source
from helpers.data.staging import open_staged
from helpers.notebooks.record import run_secret

FIRST, SECOND = "01_load_data", "03_train_recommender"


@pytest.fixture
def notebooks(tmp_path, monkeypatch) -> Path:
    """Two notebooks of the workbook, and one that is not, beside them and outside."""
    folder = tmp_path / "notebooks"
    for name in (FIRST, SECOND, "evil"):
        write_notebook(folder, name)
    write_notebook(tmp_path, "02_evil")
    monkeypatch.setattr(run_request, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs.state, "RUNS", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def executed(monkeypatch) -> list[tuple[Path, Path]]:
    """What would have been executed and written; no kernel is started."""
    done = []

    def run_it(source, target, values, *, bar):
        done.append((source, target))
        target.write_text('{"cells": []}')
        content = {"notebook": source.stem, "reference": False, "versions": {}, "claims": []}
        content |= {"parameters": {"seed": 0}, "values": {"given": dict(values)}}
        record = target.parent / "results" / f"{source.stem}.json"
        cache.write_atomically(record, json.dumps(content))

    monkeypatch.setattr(runs.walk, "execute_notebook", run_it)
    return done


@pytest.fixture
def shared(notebooks, executed) -> Path:
    """The folder of a run that another person began, with one notebook left to do."""
    run = start_run("sample", names=["01", "03"])
    execute_run(run)
    state = json.loads((run.folder / "run.json").read_text())
    del state["finished"][SECOND]
    (run.folder / "run.json").write_text(json.dumps(state))
    executed.clear()
    return run.folder


def refused(call: Callable[[], object]) -> str:
    """Return the one paragraph with which something is refused."""
    with pytest.raises(DataError) as error:
        call()
    assert_clear(str(error.value))
    return str(error.value)


# The state ---------------------------------------------------------------------------------


def states(**changes: object) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | changes)


def without(name: str) -> Callable[[str], str]:
    return lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != name})


DONE = {"sha256": "0" * 64, "seconds": 1.0, "recorded": True}
STATES = {
    "a notebook outside": states(notebooks=["../02_evil"]),
    "a notebook by its full path": states(notebooks=["/tmp/02_evil"]),  # noqa: S108 - never made
    "a notebook of another kind": states(notebooks=["evil"]),
    "a notebook by its number": states(notebooks=["01"]),
    "a notebook by its file": states(notebooks=[f"{FIRST}.ipynb"]),
    "a notebook in another folder": states(notebooks=[f"other/{FIRST}"]),
    "notebooks in another order": states(notebooks=[SECOND, FIRST]),
    "a notebook twice": states(notebooks=[FIRST, FIRST]),
    "no notebook": states(notebooks=[]),
    "notebooks that are no texts": states(notebooks=[[FIRST]]),
    "notebooks that are a text": states(notebooks=FIRST),
    "another run's folder": states(given={"run_dir": "/"}),
    "another path": states(given={"path": "/"}),
    "a parameter that nobody declares": states(given={"nonsense": "1"}),
    "a parameter of another kind": states(given={"seed": "soon"}),
    "a parameter that is a list": states(given={"seed": [1]}),
    "a parameter beyond all numbers": states(given={"seed": float("inf")}),
    "a number of 4,000 digits for a source": states(source=10**4000),
    "a source that is not there": states(source="evil"),
    "a path for the sample": states(path="/"),
    "files without a path": states(source="csv"),
    "a path with a null byte": states(source="csv", path="a\0b"),
    "a path of nobody": states(source="csv", path="~nosuchuser/x"),
    "a long path": states(source="csv", path="x" * 5000),
    "a path that is no text": states(source="csv", path=["x"]),
    "a schema with a null byte": states(source="csv", path="notebooks", schema="a\0b"),
    "a schema that is a folder": states(source="csv", path="notebooks", schema="notebooks"),
    "a schema that is not there": states(source="csv", path="notebooks", schema="nowhere.yaml"),
    "a path that is not there": states(source="csv", path="nowhere"),
    "the folder of another run": states(folder="/"),
    "a word that no run states": states(evil=1),
    "no parameters": without("given"),
    "no notebooks": without("notebooks"),
    "a finish of another notebook": states(finished={"evil": DONE}),
    "a finish that is no number": states(finished={FIRST: DONE | {"seconds": "1"}}),
    "a finish that never came": states(finished={FIRST: DONE | {"seconds": float("inf")}}),
    "a finish that is not known": states(finished={FIRST: DONE | {"seconds": float("nan")}}),
    "a finish before it began": states(finished={FIRST: DONE | {"seconds": -1}}),
    "a copy that is a list": states(source="mysql", copied=[1]),
    "a copy without digests": states(source="mysql", copied={"files": {"a": 1}, "schema": ""}),
    "100,000 brackets": lambda text: "[" * 100_000,
    "1,000 brackets": lambda text: "[" * 1000 + "]" * 1000,
    "100,000 sections": lambda text: '{"a":' * 100_000,
    "brackets in a parameter": lambda text: text.replace('{"seed"', "").replace(
        '"given": {}', '"given": {"seed": ' + "[" * 3000 + "]" * 3000 + "}"
    ),
    "a number of 5,000 digits": lambda text: text.replace(
        '{"source"', f'{{"a": {"9" * 5000}, "source"'
    ),
    "a list": lambda text: f"[{text}]",
    "a text": lambda text: json.dumps(text),
    "nothing": lambda text: "",
    "a word twice": lambda text: text.replace('"source"', '"source": "sample", "source"', 1),
    "half of it": lambda text: text[: len(text) // 2],
    "2 MB": lambda text: text + " " * 2_000_000,
    "no UTF-8": lambda text: b"\xff\xfe" + text.encode(),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_no_command_writes_is_refused_before_anything_runs(
    shared, executed, name, capsys, tmp_path
):
    file = shared / "run.json"
    changed = STATES[name](file.read_text())
    file.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    before = sorted(tmp_path.rglob("*"))
    assert main(["run", "--resume", str(shared)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "fault of the workbook" not in said
    assert_clear(said.strip())
    assert executed == []
    assert sorted(p for p in tmp_path.rglob("*") if "cache" not in str(p)) == before


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "link", "folder"])
def test_a_state_that_is_no_plain_file_is_refused(shared, executed, kind, tmp_path):
    file = shared / "run.json"
    elsewhere = file.rename(tmp_path / "elsewhere.json")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(elsewhere if kind == "link" else kind)
    assert "run.json is damaged" in refused(lambda: open_run(shared))
    assert executed == []


def test_a_state_as_a_run_writes_it_goes_on_with_the_workbooks_own_notebook(
    shared, notebooks, executed
):
    execute_run(open_run(shared))
    assert executed == [(notebooks / f"{SECOND}.ipynb", shared / f"{SECOND}.ipynb")]


def test_a_state_without_what_later_versions_added_goes_on(shared, executed):
    state = json.loads((shared / "run.json").read_text())
    for name in ("schema", "fingerprint", "copied"):
        del state[name]
    for done in state["finished"].values():
        del done["recorded"]
    (shared / "run.json").write_text(json.dumps(state))
    execute_run(open_run(shared))
    assert len(executed) == 1


# Links -------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file outside of every run, which nobody may change."""
    file = tmp_path / "bashrc"
    file.write_text("export MINE=1")
    return file


LINKED = (
    *("report.html", "results.json", f"{FIRST}.ipynb", f"{SECOND}.ipynb", "importance.parquet"),
    *(".salt", ".lock", "notes.txt", f"results/{FIRST}.json", "results/more/x"),
)


@pytest.mark.parametrize("command", ["run --resume", "report"])
@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_a_link_or_a_pipe_in_a_run_is_refused_and_nothing_outside_is_written(
    shared, executed, secret, capsys, command, name, kind
):
    file = shared / name
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    target = secret if kind == "link" else secret.with_name("made")
    os.mkfifo(file) if kind == "pipe" else file.symlink_to(target)
    assert main([*command.split(), str(shared)]) == 2
    said = capsys.readouterr().err
    assert re.search("is (a|not a file but a) (link|pipe)", said)
    assert "fault of the workbook" not in said
    assert executed == []
    assert secret.read_text() == "export MINE=1"
    assert not secret.with_name("made").exists()


@pytest.mark.parametrize("name", ["results", "tables", ".tables-part", "more"])
def test_a_folder_in_a_run_that_is_a_link_is_refused(shared, executed, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    if (shared / name).exists():
        (shared / name).rename(elsewhere)
    else:
        elsewhere.mkdir()
    (shared / name).symlink_to(elsewhere)
    assert "is a link" in refused(lambda: open_run(shared))
    assert "is a link" in refused(lambda: write_report(shared))


def test_a_run_that_is_reached_by_a_link_of_the_persons_own_goes_on(shared, executed, tmp_path):
    (tmp_path / "latest").symlink_to(shared)
    execute_run(open_run(tmp_path / "latest"))
    assert [target.parent for _, target in executed] == [shared]
    assert write_report(tmp_path / "latest").is_file()


def test_a_lock_that_becomes_a_link_makes_no_file_elsewhere(shared, executed, secret):
    run = open_run(shared)
    (shared / ".lock").unlink()
    (shared / ".lock").symlink_to(secret.with_name("made"))
    with pytest.raises(RunError, match="cannot be read or written"):
        execute_run(run)
    assert not secret.with_name("made").exists()


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_an_executed_notebook_is_a_file_of_its_own(notebooks, secret, tmp_path, kind):
    write_notebook(notebooks, FIRST, "print(6 * 7)")
    target = tmp_path / "out.ipynb"
    if kind == "link":
        target.symlink_to(secret)
    elif kind == "hard link":
        target.hardlink_to(secret)
    else:
        os.mkfifo(target)
    execute_notebook(notebooks / f"{FIRST}.ipynb", target, {"seed": 1})
    assert secret.read_text() == "export MINE=1"
    assert "42" in target.read_text()


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "empty", "short", "large", "folder"])
def test_a_secret_that_is_none_is_not_used(tmp_path, kind):
    file = tmp_path / ".salt"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "/dev/zero":
        file.symlink_to(kind)
    elif kind == "folder":
        file.mkdir()
    else:
        file.write_bytes(b"x" * {"empty": 0, "short": 15, "large": 5000}[kind])
    assert len(run_secret(tmp_path)) == 16
    assert set(run_secret(tmp_path)) != set(b"x")


# What a run found ----------------------------------------------------------------------------


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of everything in nested lists and dicts."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*path, key))


def at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


PLACES = list(places(made_up_results()))
TEXTS = [path for path in PLACES if isinstance(at(made_up_results(), path), str)]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4000)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.just(EVIL),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc/."), inner, max_size=3)
    ),
    max_leaves=4,
)


def changed(results: dict, path: tuple, value: Any) -> dict:
    results = copy.deepcopy(results)
    at(results, path[:-1])[path[-1]] = value
    return results


def assert_page_or_sentence(folder: Path) -> None:
    """Check that a run's page has no markup of the results, or that they are refused."""
    try:
        page = write_report(folder).read_text(encoding="utf-8")
    except DataError as error:
        page = str(error)
        assert_clear(page)
    assert "<script" not in page
    assert "is damaged" in page or page.startswith("<!doctype html>")


@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=2))
def test_results_of_any_kind_give_a_page_or_a_sentence(tmp_path_factory, changes):
    results = made_up_results()
    for path, value in changes:
        try:
            results = changed(results, path, value)
        except (TypeError, KeyError, IndexError):  # the first change took the second's place away
            continue
    folder = write_run(tmp_path_factory.mktemp("run"), results)
    assert_page_or_sentence(folder)


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_no_text_of_the_results_becomes_markup(tmp_path, path):
    folder = write_run(tmp_path / "run", changed(made_up_results(), path, f"a{EVIL}"))
    assert_page_or_sentence(folder)


RESULTS = {
    "a list": "[]",
    "a text": '"x"',
    "nothing": "",
    "nothing at all": "null",
    "100,000 brackets": "[" * 100_000,
    "brackets in a value": '{"run": {"source": "sample", "seed": ' + "[" * 500 + "]" * 500 + "}}",
    "a number of 5,000 digits": '{"run": ' + "9" * 5000 + "}",
    "a word twice": '{"run": {}, "run": {}, "notebooks": {}}',
    "a run that is a list": '{"run": [], "notebooks": {}}',
    "notebooks that are a list": '{"run": {"source": "sample"}, "notebooks": []}',
    "no notebooks": '{"run": {"source": "sample"}}',
    "a record that is a list": '{"run": {"source": "sample"}, "notebooks": {"01_x": []}}',
    "an option as a source": '{"run": {"source": "--resume"}, "notebooks": {}}',
    "a path as a notebook": '{"run": {"source": "csv", "notebooks": ["../x"]}, "notebooks": {}}',
    "an option as a notebook": '{"run": {"source": "csv", "notebooks": ["-f"]}, "notebooks": {}}',
    "no UTF-8": b"\xff\xfe",
    "a null byte": '{"run": \0}',
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_are_none_are_refused(tmp_path, name, capsys):
    content = RESULTS[name]
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "results.json").write_bytes(content)
    assert main(["report", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "results.json is damaged" in said
    assert said.count("\n") == 1
    assert_clear(said.strip())
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("content", ["[]", '{"values": {}}', "[" * 100_000, "null", "{", "5"])
def test_a_record_that_is_none_lets_its_notebook_run_again(shared, executed, content):
    (shared / "results" / f"{FIRST}.json").write_text(content)
    execute_run(open_run(shared))
    assert [source.stem for source, _ in executed] == [FIRST, SECOND]


PICTURES = [
    ['x" onerror="alert(1)'],
    "not base64!",
    {"a": 1},
    5,
    [["aGk="]],
    '"><script>alert(1)</script>',
]


@pytest.mark.parametrize("picture", PICTURES, ids=str)
@pytest.mark.parametrize("alt", [EVIL, {"a": 1}, ["x"], 5])
def test_a_picture_that_is_none_is_left_out(tmp_path, picture, alt):
    folder = write_run(tmp_path / "run")
    figure = {"output_type": "display_data", "data": {"image/png": picture}}
    good = {"output_type": "display_data", "data": {"image/png": ["aGVs\n", "bG8="]}}
    cell = {"metadata": {"tags": ["report"], "alt": alt}, "outputs": [figure, 5, good]}
    (folder / "04_score_samples.ipynb").write_text(json.dumps({"cells": [cell, 5, {}]}))
    page = write_report(folder).read_text(encoding="utf-8")
    assert page.count("<img") == 1
    assert "base64,aGVsbG8=" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "content", ["[]", "[" * 100_000, '{"cells": 5}', '{"cells": [[]]}', "null", "{}"]
)
def test_an_executed_notebook_that_is_none_has_no_pictures(tmp_path, content):
    folder = write_run(tmp_path / "run")
    (folder / "04_score_samples.ipynb").write_text(content)
    assert "<img" not in write_report(folder).read_text(encoding="utf-8")


# A copy of a server's tables -----------------------------------------------------------------

FACTS = {"fingerprint": "a", "labelled": False, "tables": {}, "dropped": [], "notes": []}


@pytest.mark.parametrize(
    "facts",
    [
        [],
        None,
        "x",
        {},
        *({k: v for k, v in FACTS.items() if k != name} for name in FACTS),
        *(FACTS | {name: 5} for name in FACTS),
        FACTS | {"tables": {"users": {"read": "x", "kept": 1}}},
        FACTS | {"dropped": [[1]]},
        FACTS | {"notes": [{}]},
    ],
    ids=str,
)
def test_a_copy_of_tables_that_is_none_is_refused(tmp_path, facts):
    (tmp_path / "staged.json").write_text(json.dumps(facts))
    assert "holds no copy of tables" in refused(lambda: open_staged(tmp_path))


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A copy of tables, as a run on a server makes it."""
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    mine = lay_out(tmp_path / "mine")
    shutil.copytree(stage_source("csv", path=mine, progress=False)[0].folder, tmp_path / "copied")
    (tmp_path / "copied" / "schema.yaml").write_text((mine / "schema.yaml").read_text())
    return tmp_path / "copied"


def altered(table: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    def alter(folder: Path) -> None:
        file = folder / f"{table}.parquet"
        pq.write_table(change(pq.read_table(file)), file)

    return alter


def retyped(column: str, *kind: pa.DataType) -> Callable[[Path], object]:
    def change(table: pa.Table) -> pa.Table:
        values = pa.nulls(len(table), *kind)
        return table.set_column(table.column_names.index(column), column, values)

    return altered("user_behavior", change)


def scrambled(folder: Path) -> None:
    file = folder / "user_behavior.parquet"
    content = bytearray(file.read_bytes())
    content[100 : len(content) // 2] = b"\xab" * (len(content) // 2 - 100)
    file.write_bytes(content)


COPIES = {
    "no user": altered("user_behavior", lambda table: table.drop_columns(["user_id"])),
    "no day": altered("user_behavior", lambda table: table.drop_columns(["day"])),
    "no product": altered("product_features", lambda table: table.drop_columns(["item_id"])),
    "no row": altered("user_behavior", lambda table: table.slice(0, 0)),
    "times that are texts": retyped("event_time", pa.string()),
    "ids that are numbers": retyped("item_id", pa.int64()),
    "prices that are texts": retyped("price", pa.string()),
    "a column of nothing": retyped("event_type"),
    "no log": lambda folder: (folder / "user_behavior.parquet").unlink(),
    "no products": lambda folder: (folder / "product_features.parquet").unlink(),
    "a text as a table": lambda folder: (folder / "users.parquet").write_text("no table"),
    "a table cut short": lambda folder: os.truncate(folder / "user_behavior.parquet", 300),
    "a table that is damaged within": scrambled,
    "a link": lambda folder: (folder / "more.parquet").symlink_to("user_behavior.parquet"),
    "a pipe": lambda folder: os.mkfifo(folder / "more.parquet"),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_that_was_changed_is_refused(copied, capsys, name):
    COPIES[name](copied)
    assert main(["check", "--source", "mysql", "--path", str(copied)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "fault of the workbook" not in said
    assert_clear(said.strip())


def test_a_copy_as_it_was_made_is_read(copied, capsys):
    assert main(["check", "--source", "mysql", "--path", str(copied)]) == 0
    assert "user_behavior" in capsys.readouterr().out


# Numbers and paths of any kind -----------------------------------------------------------------


def kinds_of_places(wanted: type) -> list[tuple]:
    """Return one place of each kind: rows of a table are alike."""
    found = {}
    for path in PLACES:
        value = at(made_up_results(), path)
        if isinstance(value, wanted) and not isinstance(value, bool):
            found.setdefault(tuple(0 if isinstance(k, int) else k for k in path), path)
    return list(found.values())


@pytest.mark.parametrize("path", kinds_of_places(int | float), ids=str)
def test_a_number_beyond_all_numbers_gives_a_page_or_a_sentence(tmp_path, path):
    for value in (10**4000, -(10**400), 1e308, float("inf"), float("nan"), 800.0, "1", [1], {}):
        folder = write_run(tmp_path / "run", changed(made_up_results(), path, value))
        assert_page_or_sentence(folder)


@pytest.mark.parametrize("call", [open_source, data_fingerprint, stage_source])
@pytest.mark.parametrize("path", ["~nosuchuser/x", "a\0b", "x" * 5000, "a\udcff"], ids=ascii)
def test_a_path_that_no_system_has_is_refused_in_a_notebook_too(call, path):
    refused(lambda: call("csv", path=path))
    refused(lambda: call("csv", path="x", schema=path))
