"""The cache: whole entries or none, rebuilt where anything they depend on changed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE_S

from helpers.cache import cached, code_of
from helpers.cache import store as cache


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", False)


def _save(values, folder):
    np.save(folder / "values.npy", values)


def _load(folder):
    return np.load(folder / "values.npy")


class _Builder:
    """Counts how often it had to work."""

    def __init__(self, values=(1.0, 2.0)):
        self.calls = 0
        self.values = np.asarray(values)

    def __call__(self):
        self.calls += 1
        return self.values


def _get(build, **key):
    return cached("numbers", key or {"seed": 0}, build, save=_save, load=_load)


def _entry(tmp_path) -> Path:
    (entry,) = (tmp_path / "cache" / "numbers").iterdir()
    return entry


def test_a_second_call_reads_what_the_first_call_built():
    build = _Builder()
    first, second = _get(build), _get(build)
    np.testing.assert_array_equal(first, second)
    assert build.calls == 1


def test_the_first_call_returns_what_later_calls_return():
    # Saving may round; both calls must see the rounded values.
    def save(values, folder):
        _save(values.astype("float16"), folder)

    build = _Builder([1 / 3])
    got = [cached("n", {}, build, save=save, load=_load) for _ in range(2)]
    assert got[0].dtype == got[1].dtype == np.float16


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"seed": 0, "rows": 5}, {"seed": 0.5}, {"seed": "0"}]
)
def test_any_change_of_the_key_builds_again(other):
    build = _Builder()
    _get(build, seed=0)
    _get(build, **other)
    assert build.calls == 2


def test_the_order_of_the_key_does_not_matter():
    build = _Builder()
    _get(build, seed=0, rows=5)
    _get(build, rows=5, seed=0)
    assert build.calls == 1


def test_a_key_that_is_not_json_is_refused():
    with pytest.raises(TypeError, match="plain JSON values only"):
        _get(_Builder(), seed=np.int64(3))
    with pytest.raises(TypeError, match="plain JSON values only"):
        _get(_Builder(), rate=float("nan"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-3]),
        lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\x7f"),
        lambda file: file.unlink(),
        lambda file: file.with_name("entry.json").write_text("{"),
        lambda file: file.with_name("entry.json").unlink(),
        lambda file: file.with_name("more.npy").write_bytes(b"x"),
    ],
    ids=["cut", "one byte", "gone", "half manifest", "no manifest", "a file too many"],
)
def test_a_damaged_entry_is_built_again_and_mended(tmp_path, damage):
    build = _Builder()
    _get(build)
    damage(_entry(tmp_path) / "values.npy")
    np.testing.assert_array_equal(_get(build), build.values)
    assert build.calls == 2
    _get(build)
    assert build.calls == 2
    assert [p.name for p in (tmp_path / "cache" / "numbers").iterdir()] == [_entry(tmp_path).name]


def test_an_interrupted_writer_leaves_no_entry(tmp_path):
    def save(values, folder):
        _save(values, folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("numbers", {}, _Builder(), save=save, load=_load)
    assert list((tmp_path / "cache" / "numbers").iterdir()) == []


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path):
    code = (
        "import os, signal\n"
        "from helpers.cache import cached\n"
        "def save(value, folder):\n"
        "    (folder / 'values.npy').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "cached('numbers', {'seed': 0}, lambda: 1, save=save, load=None)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    build = _Builder()
    np.testing.assert_array_equal(_get(build), build.values)
    assert build.calls == 1


def test_leavings_of_killed_writers_go_after_a_day(tmp_path):
    folder = tmp_path / "cache" / "numbers"
    (folder / ".new-old").mkdir(parents=True)
    (folder / ".new-fresh").mkdir()
    os.utime(folder / ".new-old", (0, 0))
    _get(_Builder())
    assert {p.name for p in folder.iterdir() if p.name.startswith(".")} == {".new-fresh"}


def test_only_the_newest_entries_of_a_name_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_KEPT_ENTRIES", 2)
    folder = tmp_path / "cache" / "numbers"
    build = _Builder()
    for seed in range(3):
        _get(build, seed=seed)
        for age, path in enumerate(sorted(folder.iterdir(), key=lambda p: -p.stat().st_mtime)):
            os.utime(path, (1e9 - age, 1e9 - age))
    assert len(list(folder.iterdir())) == 2
    _get(build, seed=2)
    assert build.calls == 3


def test_two_processes_at_once_both_get_whole_results(tmp_path):
    code = (
        "import numpy as np\n"
        "from helpers.cache import cached\n"
        "def save(v, folder): np.save(folder / 'values.npy', v)\n"
        "def load(folder): return np.load(folder / 'values.npy')\n"
        "for k in range(25):\n"
        "    v = cached('numbers', {'k': k}, lambda: np.full(20_000, k), save=save, load=load)\n"
        "    assert v.shape == (20_000,) and (v == k).all()\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(PATIENCE_S) for process in both] == [0, 0]
    folder = tmp_path / "cache" / "numbers"
    assert len(list(folder.iterdir())) == cache._KEPT_ENTRIES
    assert not list(folder.glob(".*"))


def test_a_cache_that_cannot_be_written_is_said_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "file"))
    build = _Builder()
    for _ in range(2):
        np.testing.assert_array_equal(_get(build), build.values)
    assert build.calls == 2
    said = capsys.readouterr().err
    assert said.count("The cache folder cannot be written") == 1
    assert str(tmp_path) not in said


def test_an_error_of_the_builder_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        _get(lambda: 1 / 0)


def test_a_reader_that_cannot_read_what_was_saved_is_an_error():
    with pytest.raises(ValueError, match="not mine"):
        cached(
            "n",
            {},
            _Builder(),
            save=_save,
            load=lambda folder: (_ for _ in ()).throw(ValueError("not mine")),
        )


def test_code_of_follows_the_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module, package = tmp_path / "made_up_module.py", tmp_path / "made_up_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    module.write_text("raise RuntimeError('never imported')")
    before = code_of("made_up_module", "made_up_package")
    assert before == code_of("made_up_module", "made_up_package")
    (package / "part.py").write_text("x = 1")
    after = code_of("made_up_module", "made_up_package")
    assert after != before
    module.write_text("x = 1")
    assert code_of("made_up_module", "made_up_package") != after
    assert code_of(cache) == code_of("helpers.cache.store")


def test_code_of_refuses_a_module_without_source():
    with pytest.raises(ValueError, match='"sys" has no source file'):
        code_of("sys")
    with pytest.raises(ValueError, match='"no_such_module" has no source'):
        code_of("no_such_module")
