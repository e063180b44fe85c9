"""What is kept comes back as it was, holds no code, and cannot be made to run or to wait."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from broken import lay_out
from hypothesis import given
from hypothesis import strategies as st
from tables import assert_equal_samples, made

from helpers.base.paths import REPO
from helpers.cache import store as cache
from helpers.cache.shelf import (
    cached_table,
    cached_tables,
    read_arrays,
    read_facts,
    read_tables,
    write_arrays,
    write_facts,
    write_tables,
)
from helpers.data import sources
from helpers.samples import samples

COLUMNS = {
    "texts": pd.Series(["a", None, "", "NaN", "ä👟"], dtype="str"),
    "objects that are texts": pd.Series(["a", None, "", "b", "c"], dtype=object),
    "nothing but missing objects": pd.Series([None] * 5, dtype=object),
    "whole numbers": pd.Series([2**62, -1, 0, 1, 2]),
    "small numbers": pd.Series([1, 0, 1, 0, -128], dtype="int8"),
    "unsigned numbers": pd.Series([2**64 - 1, 0, 1, 2, 3], dtype="uint64"),
    "numbers that may be missing": pd.Series([1, None, 3, 4, 2**60], dtype="Int64"),
    "single numbers": pd.Series([0.1, np.nan, np.inf, -0.0, 1e-45], dtype="float32"),
    "double numbers": pd.Series([0.1, np.nan, -np.inf, -0.0, 5e-324]),
    "truths": pd.Series([True, False, True, True, False]),
    "truths that may be missing": pd.Series([True, None, True, True, False], dtype="boolean"),
    "words of a list": pd.Series(pd.Categorical(["b", "a", None, "b", "a"], ["b", "never", "a"])),
    "words in order": pd.Series(
        pd.Categorical(["lo", "hi", "lo", None, "hi"], ["lo", "hi"], ordered=True)
    ),
    "times in UTC": pd.Series(pd.date_range("2025-03-30", periods=5, freq="h", tz="UTC")),
    "times of a zone": pd.Series(
        pd.date_range("2025-10-26", periods=5, freq="h", tz="Europe/Berlin").as_unit("us")
    ),
    "times of no zone": pd.Series(pd.date_range("1677-09-22", periods=5, freq="D").as_unit("ms")),
    "times that are missing": pd.Series([pd.NaT] * 5, dtype="datetime64[ns, Asia/Tokyo]"),
    "spans": pd.Series(pd.to_timedelta([1, None, 3, 4, 5], unit="us")),
}


def kept(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    write_tables(folder, {"t": table})
    return read_tables(folder, ["t"])["t"]


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_kind_comes_back_as_it_was(tmp_path, name):
    for rows in (5,) if COLUMNS[name].dtype == "category" else (5, 0):
        table = pd.DataFrame({"x": COLUMNS[name].iloc[:rows], "y": np.arange(rows)})
        back = kept(table, tmp_path)
        assert back.x.dtype == table.x.dtype
        pd.testing.assert_frame_equal(back, table, check_exact=True, check_freq=False)
        if table.x.dtype.kind == "f":
            assert back.x.to_numpy().tobytes() == table.x.to_numpy().tobytes()


@pytest.mark.parametrize("index", [pd.Index([3, 1, 2, 9, 0]), pd.Index(list("abcde"), name="who")])
def test_an_index_comes_back_as_it_was(tmp_path, index):
    table = pd.DataFrame({"x": np.arange(5)}, index=index)
    pd.testing.assert_frame_equal(kept(table, tmp_path), table)


@pytest.mark.parametrize(
    "values", [[1, "a"], [1, 2], [True, None], [1.5, 2], [b"x"], [{"a": 1}], [[1]], [1, None]]
)
def test_objects_that_no_file_gives_back_are_refused_by_the_columns_name(tmp_path, values):
    table = pd.DataFrame({"fine": "a", "odd": pd.Series(values, dtype=object)})
    with pytest.raises(TypeError, match='the column "odd" of t holds .* objects'):
        write_tables(tmp_path, {"t": table})


@given(
    facts=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers()
        | st.floats(allow_nan=False)
        | st.text(st.characters(exclude_categories=["Cs"]))
        | st.lists(st.booleans() | st.none()),
    )
)
def test_facts_come_back_as_they_were(tmp_path_factory, facts):
    folder = tmp_path_factory.mktemp("facts")
    write_facts(folder, facts)
    assert read_facts(folder) == facts
    assert repr(read_facts(folder)) == repr(facts)  # 1 is not 1.0, nor -0.0 0.0


@pytest.mark.parametrize("fact", [object(), np.int64(1), {1, 2}, b"x"])
def test_a_fact_that_is_not_plain_is_refused(tmp_path, fact):
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_facts(tmp_path, {"odd": fact})


def test_arrays_come_back_as_they_were_and_hold_no_objects(tmp_path):
    arrays = {"a": np.array([[0.1, np.nan]], "f4"), "b": np.arange(3, dtype="i4")}
    write_arrays(tmp_path, arrays)
    for name, array in read_arrays(tmp_path, arrays).items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_arrays(tmp_path, {"c": np.array([object()])})


def assert_equal_to_the_last_bit(left: samples.Samples, right: samples.Samples) -> None:
    assert_equal_samples(left, right)
    for name in ("table", "features", "dropped", "truth"):
        one, other = getattr(left, name), getattr(right, name)
        assert (one is None) == (other is None)
        if one is not None:
            pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert left.dense.tobytes() == right.dense.tobytes()
    assert [*left.numbers] == [*right.numbers] or set(left.numbers) == set(right.numbers)
    for name in ("sizes", "feature_names", "source", "notes", "logit_offset", "fingerprint"):
        assert repr(getattr(left, name)) == repr(getattr(right, name))


@pytest.mark.parametrize(
    "source", ["sample", "csv", pytest.param("journey", marks=pytest.mark.slow)]
)
def test_samples_of_every_source_come_back_equal_to_the_last_bit(tmp_path, monkeypatch, source):
    if source == "csv":
        monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
        mine = samples.make_samples(sources.open_source("csv", path=lay_out(tmp_path / "mine")))
    else:
        mine = made(source)
    folder = tmp_path / "entry"
    folder.mkdir()
    samples._save(mine, folder)
    assert_equal_to_the_last_bit(samples._load(folder), mine)
    assert {file.suffix for file in folder.iterdir()} == {".parquet", ".npy", ".json"}


# A cache that others can write into -------------------------------------------------------


class Bomb:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture
def attacked(tmp_path, monkeypatch):
    """An entry of the sample's samples in a cache; making them anew costs nothing here."""
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    mine, builds = made("sample"), []
    monkeypatch.setattr(
        samples, "open_source", lambda *_, **__: SimpleNamespace(fingerprint=mine.fingerprint)
    )
    monkeypatch.setattr(samples, "make_samples", lambda *_, **__: builds.append(1) or mine)
    samples.load_samples("sample")
    (entry,) = (tmp_path / "cache" / "samples").iterdir()
    builds.clear()
    return SimpleNamespace(entry=entry, builds=builds, samples=mine, mark=tmp_path / "ran")


def sign(entry: Path) -> None:
    """Write the manifest anew, as someone would who changed a file."""
    files = {}
    for file in entry.iterdir():
        if file.name != "entry.json" and file.is_file():
            content = file.read_bytes()
            files[file.name] = [len(content), zlib.crc32(content)]
    (entry / "entry.json").unlink()
    (entry / "entry.json").write_text(json.dumps({"key": {}, "files": files}))


def put(name: str, content: bytes):
    return lambda entry, bomb: (entry / name).write_bytes(content)


def pickled(name: str):
    return lambda entry, bomb: (entry / name).write_bytes(pickle.dumps(bomb))


def objects(name: str):
    return lambda entry, bomb: np.save(entry / name, np.array([bomb]), allow_pickle=True)


def cut(name: str):
    return lambda entry, bomb: os.truncate(entry / name, 1000)


def fact(**changes: object):
    def change(entry: Path, bomb: Bomb) -> None:
        facts = json.loads((entry / "facts.json").read_text())
        (entry / "facts.json").write_text(json.dumps(facts | changes))

    return change


def pipe(name: str):
    def change(entry: Path, bomb: Bomb) -> None:
        (entry / name).unlink(missing_ok=True)
        os.mkfifo(entry / name)

    return change


def link(name: str, target: str):
    def change(entry: Path, bomb: Bomb) -> None:
        where = Path(target)
        if not where.is_absolute():  # a copy of the file itself, outside of the cache
            where = entry.parent.parent / target
            where.write_bytes((entry / name).read_bytes())
        (entry / name).unlink()
        (entry / name).symlink_to(where)

    return change


CHANGED = {
    "the facts are a pickle": pickled("facts.json"),
    "a table is a pickle": pickled("table.parquet"),
    "an array is a pickle": pickled("item.npy"),
    "an array holds objects": objects("item.npy"),
    "a table is cut short": cut("table.parquet"),
    "an array is cut short": cut("dense.npy"),
    "the facts are brackets": put("facts.json", b"[" * 100_000),
    "the facts are a list": put("facts.json", b"[]"),
    "the facts are not UTF-8": put("facts.json", b"\xff"),
    "a fact is of another kind": fact(sizes=[1]),
    "a fact is a huge number": put("facts.json", b'{"sizes": ' + b"9" * 5000 + b"}"),
    "an array has too few rows": lambda entry, _: np.save(entry / "item.npy", np.zeros(3, "i4")),
    "a table is a pipe": pipe("table.parquet"),
    "the facts are a pipe": pipe("facts.json"),
    "an array never ends": link("dense.npy", "/dev/zero"),
    "a table lies elsewhere": link("table.parquet", "elsewhere"),
    "a pipe that nobody reads": pipe("more"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_an_entry_that_somebody_changed_runs_nothing_and_is_built_again(attacked, name):
    CHANGED[name](attacked.entry, Bomb(attacked.mark))
    sign(attacked.entry)
    again = samples.load_samples("sample")
    assert_equal_to_the_last_bit(again, attacked.samples)
    assert attacked.builds == [1]
    assert not attacked.mark.exists()
    assert len(samples.load_samples("sample")) == len(attacked.samples)
    assert attacked.builds == [1]  # the new entry is whole


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "brackets", "a list"])
def test_a_list_of_files_that_cannot_be_read_is_built_again(attacked, target):
    manifest = attacked.entry / "entry.json"
    manifest.unlink()
    if target == "pipe":
        os.mkfifo(manifest)
    elif target == "/dev/zero":
        manifest.symlink_to(target)
    else:
        manifest.write_text("[" * 100_000 if target == "brackets" else "[]")
    assert_equal_to_the_last_bit(samples.load_samples("sample"), attacked.samples)
    assert attacked.builds == [1]


@pytest.mark.parametrize("name", ["facts.joblib", "facts.pkl", "numbers.npz"])
def test_a_file_of_the_old_kind_is_never_opened(attacked, name):
    (attacked.entry / name).write_bytes(pickle.dumps(Bomb(attacked.mark)))
    sign(attacked.entry)
    assert_equal_to_the_last_bit(samples.load_samples("sample"), attacked.samples)
    assert not attacked.mark.exists()
    pickle.loads((attacked.entry / name).read_bytes())  # noqa: S301 - a mark, made above
    assert attacked.mark.exists()  # the pickle would have run


def test_an_entry_that_is_a_link_is_built_again_and_what_it_leads_to_stays(attacked, tmp_path):
    elsewhere = attacked.entry.rename(tmp_path / "elsewhere")
    attacked.entry.symlink_to(elsewhere)
    before = sorted((f.name, f.read_bytes()) for f in elsewhere.iterdir())
    assert_equal_to_the_last_bit(samples.load_samples("sample"), attacked.samples)
    assert attacked.builds == [1]
    assert not attacked.entry.is_symlink()
    assert sorted((f.name, f.read_bytes()) for f in elsewhere.iterdir()) == before


def test_a_table_is_made_once_and_comes_back_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    table = pd.DataFrame({name: column for name, column in COLUMNS.items() if len(column) == 5})
    builds = []

    def build() -> pd.DataFrame:
        builds.append(1)
        return table

    for key, calls in (("a", 1), ("a", 1), ("b", 2)):
        found = cached_table("tables", {"key": key}, build)
        pd.testing.assert_frame_equal(found, table, check_exact=True, check_freq=False)
        assert len(builds) == calls


def test_tables_that_belong_to_each_other_are_made_and_lost_together(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    builds = []

    def build() -> dict[str, pd.DataFrame]:
        builds.append(1)
        return {name: pd.DataFrame({name: [len(builds)]}) for name in ("one", "two")}

    for damaged, calls in ((False, 1), (False, 1), (True, 2)):
        if damaged:
            [file] = (tmp_path / "pairs").glob("*/two.parquet")
            file.write_bytes(b"cut")
        found = cached_tables("pairs", {}, build, names=["one", "two"])
        assert [found[name][name].tolist() for name in ("one", "two")] == [[calls], [calls]]
        assert len(builds) == calls


def test_whoever_keeps_a_table_in_the_cache_takes_it_from_this_shelf():
    """A module that calls ``cached`` neither writes nor reads Parquet files itself."""
    for file in sorted((REPO / "helpers").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if " cached(" in text and file.parent.name != "cache":
            assert "to_parquet" not in text, file
            assert "read_parquet" not in text, file


def old(folder: Path) -> Path:
    folder.mkdir()
    os.utime(folder, (0, 0))
    return folder


def keep_text(name: str) -> str:
    return cache.cached(
        name,
        {"a": os.urandom(8).hex()},
        lambda: "text",
        save=lambda text, folder: (folder / "f").write_text(text),
        load=lambda folder: (folder / "f").read_text(),
        keep=1,
    )


def test_a_kind_of_entries_that_is_a_link_removes_nothing_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", False)
    home = tmp_path / "home"
    home.mkdir()
    for name in (".ssh", "photos", ".new-thing", "0" * 24, "1" * 24):
        old(home / name)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "texts").symlink_to(home)
    assert [keep_text("texts"), keep_text("texts")] == ["text", "text"]
    assert sorted(f.name for f in home.iterdir()) == sorted(
        [".ssh", "photos", ".new-thing", "0" * 24, "1" * 24]
    )
    assert "The cache folder cannot be written" in capsys.readouterr().err


def test_what_the_cache_did_not_make_is_not_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path))
    folder = tmp_path / "texts"
    folder.mkdir()
    mine = [old(folder / name).name for name in (".ssh", "photos", ".git")]
    gone = [old(folder / name) for name in (".new-abc", ".old-abc", ".spill-abc", "0" * 24)]
    keep_text("texts")
    assert not [path for path in gone if path.exists()]
    assert set(mine) < {path.name for path in folder.iterdir()}
