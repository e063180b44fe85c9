"""Runs that are hit: full disks, killed processes, vanished servers. Nothing half is left."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_notebooks import ENDLESS, PARAMETERS, command, start_cell, write_notebook
from waiting import PATIENCE_S, awaited, gone

import helpers.data.database
import helpers.data.sources
from helpers.base.errors import DataError
from helpers.cache import store as cache
from helpers.commands import run as runs
from helpers.commands import run_request
from helpers.commands.run import RunError, execute_run, open_run, start_run
from helpers.notebooks import record
from helpers.notebooks.record import keep_table, start

FIRST, SECOND = "01_load_data", "03_train_recommender"
WITH_SCHEMA = PARAMETERS + '\nschema: str = ""  # file that says which column is what'


@pytest.fixture
def notebooks(tmp_path, monkeypatch) -> Path:
    """Two notebooks that record what they were given, for real kernels."""
    folder = tmp_path / "notebooks"
    for name in (FIRST, SECOND):
        cells = [start_cell(folder, name), "record(folder=path, draw=seed / 7)"]
        write_notebook(folder, name, *cells)
    monkeypatch.setattr(run_request, "NOTEBOOKS", folder)
    monkeypatch.setattr(runs.state, "RUNS", tmp_path / "runs")
    return folder


@pytest.fixture
def fake(monkeypatch) -> list:
    """No kernels: a notebook that is executed records its parameters at once."""
    executed = []

    def run_it(source, target, values, *, bar):
        executed.append(source.stem)
        target.write_text('{"cells": []}')
        content = {"notebook": source.stem, "reference": False, "versions": {}, "claims": []}
        content |= {"parameters": {"seed": 0}, "values": {"given": dict(values)}}
        results = target.parent / "results"
        cache.write_atomically(results / f"{source.stem}.json", json.dumps(content))

    monkeypatch.setattr(runs.walk, "execute_notebook", run_it)
    return executed


def _results(folder: Path) -> dict:
    """Return the results of a run without what its clock says."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for timing in ("seconds", "seconds_by_notebook"):
        del results["run"][timing]
    for recorded in results["notebooks"].values():
        recorded.pop("seconds", None)
    return results


def _only(folder: Path) -> Path:
    (found,) = [f for f in folder.iterdir() if not f.name.startswith(".")]
    return found


def _telling(file: Path) -> str:
    """Return a cell that writes the number of its process into a file."""
    return f"import os\nwith open({str(file)!r}, 'w') as f:\n    _ = f.write(str(os.getpid()))"


# Full disks ------------------------------------------------------------------------------


def _full_after(monkeypatch, module, name: str) -> list:
    """Let the disk be full when a file of that name is written; return what was tried."""
    tried, write = [], cache.write_atomically

    def full(path, content):
        if Path(path).name == name and not tried:
            tried.append(path)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(module, "write_atomically", full)
    return tried


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (runs.results, "results.json"),
        (runs.state, "run.json"),
        ("helpers.commands.report.page", "report.html"),
    ],
)
def test_a_full_disk_is_one_paragraph_and_the_run_goes_on(
    notebooks, fake, monkeypatch, module, name
):
    run = start_run("sample", names=["01", "03"])
    if isinstance(module, str):
        import helpers.commands.report.page as module
    tried = _full_after(monkeypatch, module, name)
    with pytest.raises(RunError, match=r"cannot be written.*kept in .*add --resume") as caught:
        execute_run(run)
    assert tried
    assert caught.value.exit_code == 1
    execute_run(open_run(run.folder))
    whole = start_run("sample", names=["01", "03"])
    execute_run(whole)
    mine, other = _results(run.folder), _results(whole.folder)
    for results in (mine, other):
        for recorded in results["notebooks"].values():
            del recorded["values"]["given"]["run_dir"]
    assert mine == other
    assert (run.folder / "report.html").is_file()
    assert not list(run.folder.rglob(".*-*"))


def test_a_disk_that_is_full_for_the_executed_notebook_stops_the_kernel_too(
    notebooks, tmp_path, monkeypatch
):
    from papermill.iorw import LocalHandler

    pid = tmp_path / "pid"
    write = (
        f"import os\nfrom pathlib import Path\n_ = Path({str(pid)!r}).write_text(str(os.getpid()))"
    )
    write_notebook(notebooks, FIRST, write, "1 + 1")

    def full(self, buffer, path):
        if pid.exists():
            raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(LocalHandler, "write", full)
    run = start_run("sample", names=["01"])
    with pytest.raises(RunError, match="no space is left"):
        execute_run(run)
    assert gone(int(pid.read_text()))
    monkeypatch.undo()
    monkeypatch.setattr(run_request, "NOTEBOOKS", notebooks)
    execute_run(open_run(run.folder))
    assert (run.folder / "report.html").is_file()


@pytest.mark.slow
def test_a_real_limit_on_files_stops_a_record_and_the_run_goes_on(notebooks, tmp_path):
    pytest.importorskip("resource")
    cells = [start_cell(notebooks, FIRST), "record(long='x' * 200_000)"]
    write_notebook(notebooks, FIRST, *cells)

    small_files = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
    )
    limited = command(notebooks, "run", "--source", "sample", "01", first=small_files)
    _, error = limited.communicate(timeout=PATIENCE_S)
    assert limited.returncode == 1
    assert error.count("\n") == 1
    assert f"{FIRST}.ipynb, cell 3: OSError: [Errno 27] File too large" in error
    folder = _only(tmp_path / "runs")
    assert not list((folder / "results").iterdir())
    again = command(notebooks, "run", "--resume", folder)
    assert again.communicate(timeout=PATIENCE_S)[1] == ""
    assert len(_results(folder)["notebooks"][FIRST]["values"]["long"]) == 200_000


def test_no_space_for_a_new_run_leaves_nothing(notebooks, monkeypatch):
    _full_after(monkeypatch, runs.state, "run.json")
    with pytest.raises(RunError, match="cannot be written: No space left.*--out DIR"):
        start_run("sample", names=["01"])
    assert list(runs.state.RUNS.iterdir()) == []


def test_a_table_is_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_current", None)
    start("x", {"run_dir": str(tmp_path)}, declared={"run_dir": ""})
    old = pd.DataFrame({"a": np.arange(3)})
    keep_table(old, "importance.parquet")

    def cut_short(table, path):
        Path(path).write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", cut_short)
    with pytest.raises(OSError, match="No space left"):
        keep_table(old + 1, "importance.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "importance.parquet"), old)
    assert [f.name for f in tmp_path.iterdir()] == ["importance.parquet"]


def test_a_folder_that_cannot_be_written_any_more_is_one_paragraph(notebooks, fake, monkeypatch):
    run, real = start_run("sample", names=["01"]), os.open

    def read_only(path, *options, **more):
        if str(path).startswith(str(run.folder)):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real(path, *options, **more)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(RunError, match=r"Read-only file system\. .*kept in.*--resume"):
        execute_run(run)
    assert fake == []


def test_a_run_whose_folder_is_removed_says_so(notebooks, monkeypatch):
    run = start_run("sample", names=["01"])
    monkeypatch.setattr(
        runs.walk, "execute_notebook", lambda source, target, values, bar: shutil.rmtree(run.folder)
    )
    with pytest.raises(RunError, match=r"the folder of this run, is gone .*Start a new run\.$"):
        execute_run(run)
    assert not run.folder.exists()


# Damaged files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[: len(s) // 2],
        lambda s: "[]",
        lambda s: "null",
        lambda s: s.replace('"source": "sample"', '"source": 5'),
        lambda s: s.replace('"notebooks"', '"notebook"'),
        lambda s: s.replace('"finished": {}', '"finished": {"01_load_data": 1}'),
        lambda s: s.replace('"finished": {}', '"finished": {"01_load_data": {}}'),
        lambda s: s.replace('"finished": {}', '"finished": []'),
        lambda s: s.replace('"copied": {}', '"copied": {"files": {}}'),
        lambda s: "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_damaged_state_is_refused(notebooks, change):
    run = start_run("sample", names=["01"])
    file = run.folder / "run.json"
    file.write_text(change(file.read_text()), encoding="latin-1")
    with pytest.raises(DataError, match=r"run\.json is damaged.*Start a new one"):
        open_run(run.folder)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text('{"val')])
def test_a_notebook_whose_record_is_lost_runs_again(notebooks, fake, damage):
    run = start_run("sample", names=["01", "03"])
    execute_run(run)
    before = _results(run.folder)
    damage(run.folder / "results" / f"{FIRST}.json")
    fake.clear()
    execute_run(open_run(run.folder))
    assert fake == [FIRST]
    assert _results(run.folder) == before


# Several at once, and killed ones ----------------------------------------------------------


def test_runs_that_start_at_the_same_moment_have_folders_of_their_own(notebooks):
    with ThreadPoolExecutor(8) as pool:
        started = list(
            pool.map(
                lambda seed: start_run("sample", given={"seed": seed}, names=["01"]), range(16)
            )
        )
    assert len({run.folder for run in started}) == 16
    for seed, run in enumerate(started):
        assert open_run(run.folder).given == {"seed": seed}
    assert len(list(runs.state.RUNS.iterdir())) == 16


def _kill_after(changes: int, process: subprocess.Popen, folder: Path) -> None:
    """Kill a run after so many changes of what it writes, unless it has ended before."""

    def written() -> set:
        files = (f for f in folder.rglob("*") if f.is_file())
        with contextlib.suppress(FileNotFoundError):  # it came and went meanwhile
            return {(f, f.stat().st_mtime_ns, f.stat().st_size) for f in files}
        return set()

    seen = written()
    while changes and process.poll() is None:
        now = written()
        changes -= now != seen
        seen = now
        time.sleep(0.01)
    process.kill()
    process.communicate()


def _kill_and_go_on(notebooks: Path, moments: list[int]) -> Path:
    """Start a run, kill its process at each moment, and go on each time; return its folder."""
    arguments: list[object] = ["run", "--source", "sample", "-p", "seed", "5", "01", "03"]
    kept: dict[Path, bytes] = {}
    for moment in moments:
        _kill_after(moment, command(notebooks, *arguments), notebooks.parent / "runs")
        for file, content in kept.items():
            assert file.read_bytes() == content, "what a finished notebook recorded has changed"
        found = [*(notebooks.parent / "runs").glob("[!.]*/run.json")]  # not one half made
        if found:
            (state,) = found
            arguments = ["run", "--resume", state.parent]
            for name in json.loads(state.read_text())["finished"]:
                file = state.parent / "results" / f"{name}.json"
                kept[file] = file.read_bytes()
                json.loads(kept[file])
    last = command(notebooks, *arguments)
    _, error = last.communicate(timeout=PATIENCE_S)
    assert (last.returncode, error) == (0, "")
    return _only(notebooks.parent / "runs")


def _check_killed(notebooks: Path, kills: int, seed: int) -> None:
    run = start_run("sample", given={"seed": "5"}, names=["01", "03"], out=notebooks.parent / "o")
    execute_run(run)
    moments = random.Random(seed)
    folder = _kill_and_go_on(notebooks, [moments.randrange(12) for _ in range(kills)])
    assert _results(folder) == _results(run.folder)
    assert (folder / "report.html").is_file()


def test_a_run_killed_at_random_moments_gives_the_same_results(notebooks):
    _check_killed(notebooks, kills=2, seed=1)


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_gives_the_same_results(notebooks):
    _check_killed(notebooks, kills=10, seed=2)


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL], ids=["to end", "kill -9"])
def test_no_process_outlives_a_run_that_is_stopped(notebooks, tmp_path, kill):
    pid = tmp_path / "pid"
    write_notebook(notebooks, FIRST, _telling(pid), ENDLESS)
    process = command(notebooks, "run", "--source", "sample", "01")
    assert awaited(lambda: pid.exists() and pid.read_text()), "the notebook never came to its wait"
    process.send_signal(kill)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert gone(int(pid.read_text()))
    if kill is signal.SIGTERM:
        assert process.returncode == 130
        assert error.startswith(f"Interrupted in {FIRST}.ipynb. The run is kept in ")


# Servers ---------------------------------------------------------------------------------


class Shop:
    """Stands in for a server: what it would deliver, and how often it was asked."""

    def __init__(self):
        self.asked, self.error, self.rows = 0, None, b"PAR1 rows"

    def copy(self, folder: Path, *, schema: str = "", progress: bool = True) -> str:
        self.asked += 1
        (folder / "user_behavior.parquet").write_bytes(self.rows)
        if self.error:
            raise self.error
        self.schema = schema
        return f"print of {self.rows.decode()}"


@pytest.fixture
def shop(monkeypatch) -> Shop:
    found = Shop()

    @contextlib.contextmanager
    def open_database():
        yield found

    found.table_names = lambda: ["user_behavior"]
    monkeypatch.setattr(helpers.data.database, "open_database", open_database)
    monkeypatch.setattr(helpers.data.sources, "take_snapshot", found.copy)
    return found


def test_a_run_on_a_server_reads_its_own_copy(notebooks, shop, fake, tmp_path, capsys):
    (tmp_path / "log.yaml").write_text("max_users: all\n")
    write_notebook(notebooks, FIRST, declared=WITH_SCHEMA)
    run = start_run("mysql", schema=str(tmp_path / "log.yaml"), names=["01"])
    execute_run(run)
    given = _results(run.folder)["notebooks"][FIRST]["values"]["given"]
    assert given["source"] == "mysql"
    assert given["path"] == str(run.folder / "tables")
    assert given["schema"] == shop.schema == str(tmp_path / "log.yaml")
    assert _results(run.folder)["run"]["fingerprint"] == "print of PAR1 rows"
    assert (run.folder / "tables").stat().st_mode & 0o777 == 0o700
    assert "Copying the server's tables into" in capsys.readouterr().out
    assert "share the report only" in runs.summary(run)


def test_going_on_asks_the_server_no_more(notebooks, shop, fake):
    run = start_run("mysql", names=["01"])
    execute_run(run)
    shop.error = DataError("the server is gone")
    execute_run(open_run(run.folder))
    assert shop.asked == 1


def test_a_server_that_vanishes_leaves_a_run_that_goes_on(notebooks, shop, fake):
    run = start_run("mysql", names=["01"])
    shop.error = DataError("db.example: the connection was cut.")
    with pytest.raises(DataError, match=r"was cut\. The run is kept in .*add --resume"):
        execute_run(run)
    assert fake == []
    shop.error, shop.rows = None, b"PAR1 more rows"
    execute_run(open_run(run.folder))
    assert shop.asked == 2
    assert _results(run.folder)["run"]["fingerprint"] == "print of PAR1 more rows"


def test_a_full_disk_while_copying_is_no_fault_of_the_server(notebooks, shop, fake):
    run = start_run("mysql", names=["01"])
    shop.error = DataError("the tables cannot be copied here")
    shop.error.__context__ = OSError(errno.ENOSPC, "No space left on device", "user_behavior")
    with pytest.raises(RunError, match="no space is left") as caught:
        execute_run(run)
    assert caught.value.exit_code == 1


def test_a_copy_that_is_interrupted_goes_on(notebooks, shop, fake):
    run = start_run("mysql", names=["01"])
    shop.error = KeyboardInterrupt()
    with pytest.raises(RunError, match="^Interrupted.*go on with --resume") as caught:
        execute_run(run)
    assert caught.value.exit_code == 130
    shop.error = None
    execute_run(open_run(run.folder))
    assert fake == [FIRST]


def test_a_damaged_copy_is_made_again_before_the_first_notebook_and_refused_after(
    notebooks, shop, fake
):
    run = start_run("mysql", names=["01"])
    runs.data.copy_tables(run)
    (run.tables / "user_behavior.parquet").write_bytes(b"PAR1 ro")
    execute_run(open_run(run.folder))
    assert shop.asked == 2
    (run.tables / "user_behavior.parquet").write_bytes(b"PAR1 ro")
    with pytest.raises(DataError, match="not what the finished notebooks of this run have read"):
        execute_run(open_run(run.folder))


def test_a_schema_that_changed_is_not_mixed_into_a_run_on_a_server(notebooks, shop, fake, tmp_path):
    file = tmp_path / "log.yaml"
    file.write_text("max_users: all\n")
    run = start_run("mysql", schema=str(file), names=["01"])
    execute_run(run)
    assert open_run(run.folder, schema=str(file)) == run
    file.write_text("max_users: 10\n")
    with pytest.raises(DataError, match=r"schema\.yaml have changed since"):
        open_run(run.folder)


def test_a_server_that_cannot_be_reached_starts_nothing(notebooks, monkeypatch):
    monkeypatch.setenv("WORKBOOK_DB_URL", "mysql://u@127.0.0.1:1/shop")
    with pytest.raises(DataError, match="127.0.0.1:1"):
        start_run("mysql", names=["01"])
    assert not runs.state.RUNS.exists()
