"""Whole tables put together on disk: repeats, types, tables made from the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import DataError
from helpers.data.whole_table import Assembly, connect, joins, read_frame
from helpers.schema import canonical_tables

LOG = canonical_tables()["user_behavior"]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "spill") as opened:
        yield opened


def stored(folder: Path, **columns: list) -> list[Path]:
    """Write one file a part of two rows, with places that count over all parts."""
    frame = pd.DataFrame(columns)
    frame["_place"] = np.arange(len(frame))
    files = []
    for start in range(0, len(frame), 2):
        files.append(folder / f"part-{start}.parquet")
        frame.iloc[start : start + 2].to_parquet(files[-1], index=False)
    return files


def written(assembly: Assembly, target: Path, **options: object) -> pd.DataFrame:
    rows = assembly.write(target, **options)
    frame = pd.read_parquet(target)
    assert rows == (
        len(frame) if "success" not in options else (frame.event_type == "impression").sum()
    )
    return frame


def test_of_equal_rows_the_first_stays_and_the_others_are_counted(connection, tmp_path):
    files = stored(tmp_path, user_id=list("abacb"), _digest=[1, 2, 1, 3, 2])
    assembly = Assembly(connection, LOG, files)
    assert assembly.drop_repeats("_digest") == (2, 2)
    assert written(assembly, tmp_path / "log.parquet").user_id.tolist() == ["a", "b", "c"]


def test_missing_names_never_repeat_and_a_dropped_row_is_not_counted_again(connection, tmp_path):
    files = stored(tmp_path, event_id=["x", "x", None, None, "y", "y"], _digest=[1, 1, 2, 3, 4, 5])
    assembly = Assembly(connection, LOG, files)
    assert assembly.drop_repeats("_digest") == (1, 1)
    assert assembly.drop_repeats("event_id") == (1, 5)
    assert len(written(assembly, tmp_path / "log.parquet")) == 4


@settings(max_examples=30)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_what_stays_is_what_pandas_keeps(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    with connect(folder / "spill") as opened:
        assembly = Assembly(opened, LOG, stored(folder, user_id=list(map(str, rows)), _digest=rows))
        dropped, _ = assembly.drop_repeats("_digest")
        kept = written(assembly, folder / "log.parquet").user_id.tolist()
    want = pd.Series(rows).drop_duplicates().astype(str).tolist()
    assert kept == want
    assert dropped == len(rows) - len(want)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (["1", " 2.5", None], [1.0, 2.5, np.nan]),
        (["1", "x", None], ["1", "x", None]),
        (["1", "nan", None], ["1", "nan", None]),
        (["1", "inf", None], ["1", "inf", None]),
        ([None, None, None], [None, None, None]),
    ],
)
def test_a_further_column_is_a_number_if_all_its_values_are(connection, tmp_path, values, want):
    """Decided for the whole column, wherever the files are cut."""
    files = stored(tmp_path, user_id=list("abc"), note=pd.Series(values, dtype="str"))
    frame = written(Assembly(connection, LOG, files), tmp_path / "log.parquet")
    expected = pd.Series(want, name="note", dtype="float64" if 2.5 in want else "str")
    pd.testing.assert_series_equal(frame.note, expected)


def test_a_decimal_comma_counts_only_where_it_is_stated(connection, tmp_path):
    files = stored(tmp_path, user_id=["a", "b"], note=["1,5", "2"])
    assembly = Assembly(connection, LOG, files)
    assert written(assembly, tmp_path / "a.parquet").note.tolist() == ["1,5", "2"]
    read = written(assembly, tmp_path / "b.parquet", decimal_comma=True)
    assert read.note.tolist() == [1.5, 2.0]


def test_attributes_of_users_stay_names(connection, tmp_path):
    assembly = Assembly(
        connection, canonical_tables()["users"], stored(tmp_path, user_id=["a"], age=["030"])
    )
    assert written(assembly, tmp_path / "users.parquet").age.tolist() == ["030"]


@pytest.mark.parametrize(
    ("ids", "want"),
    [
        (["7.0", "8.0", None], ["7", "8", None]),
        (["7.0", "8.5", None], ["7.0", "8.5", None]),
        (["7.0", "x", None], ["7.0", "x", None]),
        (["7", "007", None], ["7", "007", None]),
    ],
)
def test_whole_numbers_that_a_program_wrote_with_a_point_lose_it(connection, tmp_path, ids, want):
    files = stored(tmp_path, item_id=list("abc"), session_id=ids)
    frame = written(Assembly(connection, LOG, files), tmp_path / "log.parquet")
    assert frame.session_id.astype(object).where(frame.session_id.notna(), None).tolist() == want


def test_of_each_column_the_first_known_value_by_time_is_taken(connection, tmp_path):
    """The second row is the earliest, but says nothing of the title."""
    times = pd.to_datetime(["2024-02-01", "2024-01-01", "2024-03-01", "2024-01-05"], utc=True)
    files = stored(
        tmp_path,
        item_id=["a", "a", "a", "b"],
        title=["second", None, "third", "other"],
        brand=["late", "early", "later", None],
        _time=times.as_unit("us"),
    )
    assembly = Assembly(connection, canonical_tables()["product_features"], files)
    assembly.first_known("item_id")
    frame = written(assembly, tmp_path / "products.parquet")
    assert frame.item_id.tolist() == ["a", "b"]
    assert frame.title.tolist() == ["second", "other"]
    assert frame.brand.iloc[0] == "early"
    assert pd.isna(frame.brand.iloc[1])


def test_at_one_moment_the_order_of_rows_decides_nothing(connection, tmp_path):
    names = ["x", "y", "z"]
    found = set()
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        folder = tmp_path / str(order)
        folder.mkdir()
        time = pd.to_datetime(["2024-01-01"] * 3, utc=True).as_unit("us")
        files = stored(folder, item_id=["a"] * 3, title=[names[i] for i in order], _time=time)
        assembly = Assembly(connection, canonical_tables()["product_features"], files)
        assembly.first_known("item_id")
        found |= set(written(assembly, folder / "p.parquet").title)
    assert found == {"x"}


def test_a_labelled_exposure_becomes_an_impression_and_a_success_at_once(connection, tmp_path):
    files = stored(
        tmp_path, event_id=["e1", "e2"], user_id=["a", "b"], day=[3, 4], label=[1.0, 0.0]
    )
    frame = written(Assembly(connection, LOG, files), tmp_path / "log.parquet", success="purchase")
    rows = frame.sort_values(["event_type", "user_id"])[["user_id", "event_type", "day"]]
    assert rows.to_numpy().tolist() == [
        ["a", "impression", 3],
        ["b", "impression", 4],
        ["a", "purchase", 3],
    ]
    assert frame.event_id.isna().sum() == 1  # a name belongs to one row


def test_shares_without_a_partner_are_noted_and_none_at_all_is_refused(connection, tmp_path):
    pd.DataFrame({"item_id": list("aab"), "user_id": list("uvw")}).to_parquet(tmp_path / "l")
    pd.DataFrame({"item_id": ["a"]}).to_parquet(tmp_path / "p")
    pd.DataFrame({"user_id": ["U"]}).to_parquet(tmp_path / "u")
    files = {"user_behavior": tmp_path / "l", "product_features": tmp_path / "p"}
    assert joins(connection, files, "mine") == [
        "The item_id of 33.33% of the events is not in product_features; what it would say of "
        "them is unknown."
    ]
    with pytest.raises(DataError, match=r"mine: no user_id of user_behavior is in users"):
        joins(connection, files | {"users": tmp_path / "u"}, "mine")


def test_a_full_disk_is_said_in_one_sentence(tmp_path):
    with (
        pytest.raises(DataError, match="could not be put together: .*WORKBOOK_CACHE"),
        connect(tmp_path / "spill"),
    ):
        raise duckdb.IOException("No space left on device")


def test_times_and_text_come_back_as_they_are_elsewhere(connection):
    frame = read_frame(connection, "SELECT 'x' AS name, TIMESTAMPTZ '2024-01-01 00:00Z' AS time")
    assert str(frame.time.dtype) == "datetime64[us, UTC]"
    assert frame["name"].dtype == "str"
