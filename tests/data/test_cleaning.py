"""Cleaning in pieces: every reason, every refusal, and that cuts between pieces change nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import DataError
from helpers.data.chunks import Chunk
from helpers.data.cleaning import Cleaner, clean_rows, local_days
from helpers.data.cleaning.hints import event_hint, number_hint, time_hint
from helpers.data.cleaning.tally import Fault, Tally
from helpers.data.cleaning.times import read_times
from helpers.data.cleaning.values import Stored, join_texts, text_series
from helpers.data.dropped import DropKind
from helpers.data.files import stream_files
from helpers.data.schema_file import LeaveOut, StoredTable
from helpers.schema import RESERVED, canonical_tables

NEEDED = ("user_id", "item_id", "event_time", "event_type")
GOOD = {"user_id": "u", "item_id": "i", "event_time": "2025-01-01T10:00Z", "event_type": "click"}


def log(rows: int = 0, /, **columns: object) -> pd.DataFrame:
    """Return events as a file stores them, of which these columns are given."""
    n = rows or len(next(iter(columns.values())))
    frame = pd.DataFrame({**{name: [GOOD[name]] * n for name in NEEDED}, **columns})
    texts = [c for c in frame if frame[c].dtype == object]
    return frame.astype(dict.fromkeys(texts, "str")) if not columns else frame


def texts(**columns: list) -> pd.DataFrame:
    """Return columns of text."""
    return pd.DataFrame({name: pd.Series(v, dtype="str") for name, v in columns.items()})


def part(table: str = "user_behavior", **facts: object) -> StoredTable:
    return StoredTable(table, **facts)


def cleaned(
    frames: pd.DataFrame | Iterable[pd.DataFrame],
    part: StoredTable = StoredTable("user_behavior"),  # noqa: B008
    *,
    zone: str = "UTC",
    share: float = 0.99,
    **policy: object,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the clean rows, with their places in the table, and the counts by reason."""
    frames = [frames] if isinstance(frames, pd.DataFrame) else list(frames)
    cleaner = Cleaner(part, task_zone=zone, max_bad_share=share, **policy)
    cleaner.header(list(frames[0]), "log.csv")
    first, clean = 0, []
    for frame in frames:
        rows = cleaner.clean(Chunk(frame.reset_index(drop=True), "log.csv", first, line))
        clean.append(rows.set_axis(rows.index + first))
        first += len(frame)
    counts = cleaner.finish()
    assert set(counts.table) <= {part.table}
    return pd.concat(clean), dict(zip(counts.reason, counts["rows"], strict=True))


def line(place: int) -> str:
    return f"line {place + 2}"


def refusal(*args: object, **facts: object) -> str:
    """Return the message with which the rows are refused."""
    with pytest.raises(DataError) as caught:
        cleaned(*args, **facts)
    return str(caught.value)


# What comes out


SPANISH = part(
    columns={
        "user_id": ("Cliente",),
        "item_id": ("Articulo",),
        "event_time": ("Fecha", "Hora"),
        "list_id": ("Pedido",),
        "price": ("Precio",),
        "quantity": ("Unidades",),
    },
    event_type="purchase",
    extra=("Pais",),
    decimal=",",
    time_format="%d/%m/%Y %H:%M",
    time_zone="Europe/Madrid",
    leave_out=(
        LeaveOut("Pedido", "starts_with", "C"),
        LeaveOut("Cliente", "is_empty"),
        LeaveOut("Unidades", "below", 1.0),
    ),
)


def test_a_foreign_log_comes_out_as_worked_by_hand():
    stored = texts(
        Pedido=["1", "C2", "3", "4", "5", "6"],
        Cliente=[" 007 ", "8", None, "9", "10", "11"],
        Articulo=["A", "A", "B", "B", "B", None],
        Fecha=["31/03/2025"] * 4 + ["2025-03-31", "31/03/2025"],
        Hora=["00:30", "10:00", "10:00", "10:00", "10:00", "10:00"],
        Precio=["1.234,56", "1", "1", "2,5", "3", "4"],
        Unidades=["2", "1", "1", "0", "1", "1"],
        Pais=["España", None, None, None, None, None],
        event_type=["x"] * 6,  # a column with a canonical name that is not mapped
    )
    clean, counts = cleaned(stored, SPANISH, zone="Asia/Tokyo")
    want = pd.DataFrame(
        {
            "user_id": ["007"],
            "item_id": ["A"],
            # Madrid is at UTC+2 since 30 March; in Tokyo it is 07:30 of the 31st.
            "event_time": [pd.Timestamp("2025-03-30T22:30", tz="UTC").as_unit("us")],
            "event_type": ["purchase"],
            "list_id": ["1"],
            "price": [1234.56],
            "quantity": [2.0],
            "Pais": ["España"],
            "day": np.array([(date(2025, 3, 31) - date(1970, 1, 1)).days], dtype=np.int32),
        }
    )
    pd.testing.assert_frame_equal(clean, want)
    assert counts == {
        "left out: Pedido starts with C": 1,
        "left out: Cliente is empty": 1,
        "left out: Unidades below 1": 1,
        "item_id is empty": 1,
        "event_time is not a time (%d/%m/%Y %H:%M)": 1,
    }


def test_the_index_holds_places_in_the_chunk():
    cleaner = Cleaner(part(), task_zone="UTC", max_bad_share=0.9)
    rows = log(user_id=["", "a", None, "b"])
    assert cleaner.clean(Chunk(rows, "log.csv", 1000)).index.tolist() == [1, 3]
    assert cleaner.clean(Chunk(rows[1:2].reset_index(drop=True), "log.csv")).index.tolist() == [0]


def test_without_columns_all_further_columns_are_kept_and_with_them_those_named():
    rows = log(1).assign(Country=["France"], price=["1"])
    mapped = {name: (name,) for name in NEEDED}
    kept = {
        ("Country",): part(columns=mapped, extra=("Country",)),
        (): part(columns=mapped, extra=()),
        ("Country", "price"): part(),
    }
    for names, stated in kept.items():
        clean, _ = cleaned(rows, stated)
        assert sorted(clean) == sorted([*NEEDED, *names, "day"])
    # An unmapped column with a canonical name is never taken.
    assert "price" not in cleaned(rows, part(columns=mapped, extra=None))[0]
    assert list(cleaned(rows, part(extra=()))[0]) == [*NEEDED, "price", "day"]


def test_further_columns_stay_text_or_stored_numbers_and_users_have_text_only():
    columns = {
        "t": pd.Series([" 7.0 ", "", None], dtype="str"),
        "n": pd.Series([7, None, 9], dtype="Int64"),
        "f": [7.5, np.inf, np.nan],
        "b": [True, False, True],
        "d": pd.Series([Decimal("1.5"), None, Decimal(2)], dtype=object),
        "m": pd.to_datetime(["2025-01-01T00:00", "2025-01-02T03:04", None]),
    }
    clean, _ = cleaned(log(3).assign(**columns))
    assert clean.t.fillna("-").tolist() == ["7.0", "-", "-"]
    np.testing.assert_array_equal(clean.n, [7.0, np.nan, 9.0])
    np.testing.assert_array_equal(clean.f, [7.5, np.nan, np.nan])
    np.testing.assert_array_equal(clean.d, [1.5, np.nan, 2.0])
    assert clean.b.tolist() == ["True", "False", "True"]
    assert clean.m.fillna("-").tolist() == ["2025-01-01 00:00:00", "2025-01-02 03:04:00", "-"]
    users, _ = cleaned(pd.DataFrame({"user_id": [1, 2, 3], **columns}), part("users"))
    assert {str(dtype) for dtype in users.dtypes} == {"str"}
    assert users.n.fillna("-").tolist() == ["7", "-", "9"]
    assert users.f.fillna("-").tolist() == ["7.5", "inf", "-"]


@pytest.mark.parametrize(
    ("ids", "want"),
    [
        (pd.Series([" 7", "7.0", "007"], dtype="str"), ["7", "7.0", "007"]),
        (pd.Series([7.0, 8.5, -1.0]), ["7", "8.5", "-1"]),
        (pd.Series([2**53 + 1, None, 2**63 - 1], dtype="Int64"), [f"{2**53 + 1}", f"{2**63 - 1}"]),
        (pd.Series([b"x".decode(), "\u00a0y\t", "  "], dtype="str"), ["x", "y"]),
        (pd.Series([Decimal("7"), Decimal("10"), None], dtype=object), ["7", "10"]),
        (pd.Series(pd.Categorical([7, 8, 7])), ["7", "8", "7"]),
    ],
)
def test_ids_are_text_whatever_they_are_stored_as(ids, want):
    assert cleaned(log(3).assign(user_id=ids))[0].user_id.tolist() == want


def test_ids_that_lost_digits_are_refused_unless_the_row_is_left_out():
    rows = log(2).assign(user_id=[2.0**53, 1.0], ok=["no", "yes"])
    assert 'log.csv: "user_id" holds names as numbers with a decimal point' in refusal(rows)
    clean, _ = cleaned(rows, part(leave_out=(LeaveOut("ok", "one_of", ("no",)),)))
    assert clean.user_id.tolist() == ["1"]


@pytest.mark.parametrize("short", ["1.23E+17", "1,23457E+11", "4E+15"])
def test_ids_that_a_spreadsheet_shortened_are_refused(short):
    rows = log(2).assign(user_id=[short, "1"], ok=["no", "yes"])
    assert 'log.csv: "user_id" holds names as numbers in the short form 1.2E+17' in refusal(rows)
    clean, _ = cleaned(rows, part(leave_out=(LeaveOut("ok", "one_of", ("no",)),)))
    assert clean.user_id.tolist() == ["1"]
    codes = ["84E05", "E+17", "SIZE+1"]
    assert cleaned(log(item_id=codes))[0].item_id.tolist() == codes


def test_values_are_translated_before_they_are_checked():
    rows = log(event_type=[" view ", "click", "buy", None]).astype("str")
    stated = part(values={"event_type": {"view": "impression", "buy": "purchase"}})
    clean, counts = cleaned(rows.where(rows != "None"), stated)
    assert clean.event_type.tolist() == ["impression", "click", "purchase"]
    assert counts == {"event_type is empty": 1}
    numbers = log(3).assign(event_type=[1.0, 2.0, np.nan])
    clean, _ = cleaned(numbers, part(values={"event_type": {"1": "click", "2": "cart"}}))
    assert clean.event_type.tolist() == ["click", "cart"]


def test_joined_columns_need_all_their_parts_unless_they_are_text():
    given = (["a ", "b", None, None], ["1", None, "3", " "])
    columns = [Stored(pd.Series(values, dtype="str")) for values in given]
    assert join_texts(columns, skip_missing=False).to_pylist() == ["a 1", None, None, None]
    assert join_texts(columns, skip_missing=True).to_pylist() == ["a 1", "b", "3", None]


def test_stored_dates_join_stored_times_of_day():
    want = pd.Timestamp("2025-03-01T10:30", tz="UTC")
    stated = {name: (name,) for name in NEEDED} | {"event_time": ("d", "t")}
    for days in (pd.to_datetime(["2025-03-01"]), pd.Series([date(2025, 3, 1)], dtype=object)):
        rows = log(1).assign(d=days, t=pd.Series([time(10, 30)], dtype=object))
        assert cleaned(rows, part(columns=stated))[0].event_time.tolist() == [want]


LABELLED = part(columns={n: (n,) for n in NEEDED[:3]} | {"label": ("y",)}, event_type="impression")


@pytest.mark.parametrize(
    "stored",
    [
        pd.Series(["0", "1", "0.0", "1.0", "True", "false", "2", "", "x", "0,5"], dtype="str"),
        pd.Series([0, 1, 0, 1, 1, 0, 2, None, -1, 0.5]),
        pd.Series([False, True, False, True, True, False, None, None, None, None], dtype="boolean"),
    ],
)
def test_a_label_is_0_or_1(stored):
    rows = log(10).drop(columns="event_type").assign(y=stored)
    clean, counts = cleaned(rows, LABELLED)
    assert clean.label.tolist() == [0, 1, 0, 1, 1, 0]
    assert set(clean.event_type) == {"impression"}
    assert sum(counts.values()) == 4
    assert set(counts) <= {"label is empty", "label is not 0 or 1"}
    assert counts["label is empty"] == int((stored.isna() | (stored == "")).sum())


def test_a_labelled_row_that_is_no_impression_is_bad():
    rows = log(event_type=["impression", "click"]).assign(label=["1", "0"])
    assert cleaned(rows)[1] == {"event_type is not one of impression": 1}


# Numbers


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("12", 12, 12),
        (" 12 ", 12, 12),
        ("+1", 1, 1),
        ("-0.5", -0.5, None),
        ("-0,5", None, -0.5),
        ("1.", 1, None),
        (",5", None, 0.5),
        ("1e3", 1000, 1000),
        ("1,234.56", 1234.56, None),
        ("1.234,56", None, 1234.56),
        ("1,234,567", 1234567, None),
        ("1.234.567", None, 1234567),
        ("1.234", 1.234, None),  # 1234, or a program's 1.234?
        ("1,234", None, 1.234),
        ("12.34,5", None, None),
        ("0.123.456", None, None),
        ("1.234.56", None, None),
        ("1e400", None, None),
        ("nan", None, None),
        ("inf", None, None),
        ("1 234", None, None),
        ("£5", None, None),
        ("0x10", None, None),
        ("１", None, None),
    ],
)
def test_a_number_is_read_by_the_files_decimal_sign(text, point, comma):
    for decimal, want in ((".", point), (",", comma)):
        for beside in ("1", "x"):  # the fast way, and the careful one
            stored = Stored(pd.Series([text, beside], dtype="str"), decimal=decimal)
            np.testing.assert_equal(stored.numbers()[0], np.nan if want is None else want)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_written_number_is_read_back_exactly(numbers):
    for decimal in ".,":
        text = pd.Series([repr(n).replace(".", decimal) for n in numbers], dtype="str")
        np.testing.assert_array_equal(Stored(text, decimal=decimal).numbers(), numbers)


@given(st.lists(st.text("0123456789.,+-eE nainf_x", max_size=8), min_size=1, max_size=8))
def test_a_number_is_read_alike_whatever_stands_beside_it(values):
    for decimal in ".,":
        together = Stored(pd.Series(values, dtype="str"), decimal=decimal).numbers()
        alone = [Stored(pd.Series([v], dtype="str"), decimal=decimal).numbers()[0] for v in values]
        np.testing.assert_array_equal(together, alone)


# Times


def utc(text: str | None, time_format: str = "ISO 8601", zone: str = "UTC") -> object:
    stored = Stored(pd.Series([text], dtype="str"))
    found = read_times(stored, time_format=time_format, time_zone=zone)
    assert str(found.dtype) == "datetime64[us, UTC]"
    return None if found.isna()[0] else found[0].isoformat().removesuffix("+00:00")


@pytest.mark.parametrize(
    ("text", "time_format", "zone", "want"),
    [
        ("31/12/2024 23:30", "%d/%m/%Y %H:%M", "Asia/Shanghai", "2024-12-31T15:30:00"),
        ("12/31/2024", "%d/%m/%Y", "UTC", None),
        ("31/12/2024 23:30", "%d/%m/%Y", "UTC", None),  # something is left over
        ("1/2/2024", "%d/%m/%Y", "UTC", "2024-02-01T00:00:00"),
        ("20240131", "%Y%m%d", "UTC", "2024-01-31T00:00:00"),
        ("01 Feb 24 1:05 PM", "%d %b %y %I:%M %p", "UTC", "2024-02-01T13:05:00"),
        ("01/02/2024 10:00 +0200", "%d/%m/%Y %H:%M %z", "Asia/Tokyo", "2024-02-01T08:00:00"),
        ("1383843600", "unix s", "Asia/Tokyo", "2013-11-07T17:00:00"),
        ("1383843600.25", "unix s", "UTC", "2013-11-07T17:00:00.250000"),
        ("1383843600123", "unix ms", "UTC", "2013-11-07T17:00:00.123000"),
        ("0", "unix s", "UTC", None),
        ("-1", "unix ms", "UTC", None),
        ("1e30", "unix s", "UTC", None),
        ("soon", "unix s", "UTC", None),
        ("0000-00-00", "ISO 8601", "UTC", None),
        ("0000-00-00 00:00:00", "ISO 8601", "UTC", None),
        ("0001-01-01", "ISO 8601", "Asia/Tokyo", None),  # in UTC before there is a year
        ("2025-01-01T10:00:00.123456789Z", "ISO 8601", "UTC", "2025-01-01T10:00:00.123456"),
        ("2025-02-29", "ISO 8601", "UTC", None),
        (None, "%d/%m/%Y", "UTC", None),
    ],
)
def test_a_time_is_read_in_its_format(text, time_format, zone, want):
    assert utc(text, time_format, zone) == want


@pytest.mark.parametrize("written", ["%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M"])
@pytest.mark.parametrize(
    ("local", "want"),
    [
        (datetime(2024, 3, 31, 1, 59), "2024-03-31T00:59:00"),
        (datetime(2024, 3, 31, 2, 30), "2024-03-31T01:00:00"),  # skipped: the hour's end
        (datetime(2024, 3, 31, 3, 0), "2024-03-31T01:00:00"),
        (datetime(2024, 10, 27, 1, 59), "2024-10-26T23:59:00"),
        (datetime(2024, 10, 27, 2, 30), "2024-10-27T01:30:00"),  # repeated: the second
        (datetime(2024, 10, 27, 3, 0), "2024-10-27T02:00:00"),
    ],
)
def test_the_hours_that_clocks_skip_and_repeat(local, want, written):
    time_format = "ISO 8601" if written.startswith("%Y") else written
    assert utc(local.strftime(written), time_format, "Europe/Madrid") == want
    stored = Stored(pd.Series([local], dtype="datetime64[ns]"))
    read = read_times(stored, time_zone="Europe/Madrid")
    assert read[0].isoformat() == f"{want}+00:00"


ODD_TIMES = [
    *("2025-01-01", "2025-01-01 10:00", "2025-01-01T10:00:00Z", "2025-01-01 10:00:00.5+08:00"),
    *("2025-01-01 10:00+0530", "20250101", "2025-01-01T10:00:00.123456789", "9999-12-31T00:00Z"),
    *("0900-05-05", "soon", "", "2025-13-01", "2025-01-01-05:00", "1735689600", None, "now"),
]


@given(st.lists(st.sampled_from(ODD_TIMES), min_size=1, max_size=8))
@settings(deadline=None)
def test_a_time_is_read_alike_whatever_stands_beside_it(values):
    def read(some: list) -> pd.Series:
        stored = Stored(pd.Series(some, dtype="str"))
        return read_times(stored, time_zone="America/New_York")

    together, alone = read(values), [read([value]) for value in values]
    pd.testing.assert_series_equal(together, pd.concat(alone, ignore_index=True))


def test_times_before_and_after_all_calendars_are_no_times():
    far = pd.Series(np.array([10**12, -(10**12), 0], dtype="datetime64[s]"))
    assert read_times(Stored(far)).isna().tolist() == [True, True, False]


def test_times_of_parquet_keep_their_zone_or_get_one():
    moment = pd.Timestamp("2025-01-01T10:00")
    for unit in ("s", "ms", "us", "ns"):
        naive = pd.Series([moment]).dt.as_unit(unit)
        read = read_times(Stored(naive), time_zone="Asia/Shanghai")
        zoned = read_times(Stored(naive.dt.tz_localize("Asia/Shanghai")))
        assert read.equals(zoned)
        assert read[0] == moment.tz_localize("Asia/Shanghai")
        assert str(read.dtype) == "datetime64[us, UTC]"


@given(
    st.lists(st.datetimes(datetime(1950, 1, 1), datetime(2037, 1, 1)), min_size=1, max_size=10),
    st.sampled_from(["UTC", "Europe/London", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]),
)
@settings(deadline=None)
def test_local_days_are_those_of_the_calendar(moments, zone):
    times = pd.Series(moments).dt.as_unit("us").dt.tz_localize("UTC")
    want = [(t.tz_convert(zone).date() - date(1970, 1, 1)).days for t in times]
    assert local_days(times, zone).tolist() == want


def test_a_time_more_than_a_day_after_now_is_bad():
    now = pd.Timestamp.now("UTC")
    times = [(now + pd.Timedelta(hours=h)).isoformat() for h in (-1, 23, 25)]
    clean, counts = cleaned(log(event_time=times))
    assert len(clean) == 2
    assert counts == {"event_time is in the future": 1}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Madrid", "America/New_York"])
def test_the_day_from_which_clocks_count_is_no_time(zone):
    """It is what a program writes for a time of zero, in its own zone or in UTC."""
    times = ["1970-01-01 00:00:00", "1970-01-01T00:00:00Z", "1970-01-03", "2025-01-01"]
    clean, counts = cleaned(log(event_time=times), part(time_zone=zone))
    assert len(clean) == 2
    assert counts == {"event_time is 1970-01-01, no time": 2}


# What is left out


@pytest.mark.parametrize(
    ("rule", "stored", "want"),
    [
        (LeaveOut("x", "is_empty"), ["", " ", None, "a"], [1, 1, 1, 0]),
        (LeaveOut("x", "starts_with", "C"), ["C1", " C2", "1C", None], [1, 1, 0, 0]),
        (LeaveOut("x", "starts_with", "C."), ["C1", "C.1", "c.", None], [0, 1, 0, 0]),
        (LeaveOut("x", "one_of", ("POST", "M")), [" POST", "M", "m", None], [1, 1, 0, 0]),
        (LeaveOut("x", "matches", "^[0-9]+$"), ["12", "a1", " 7 ", None], [1, 0, 1, 0]),
        (LeaveOut("x", "matches", "b"), ["abc", "B", "", None], [1, 0, 0, 0]),
        (LeaveOut("x", "below", 1.0), ["0.5", "1", "-2", "x"], [1, 0, 1, 0]),
        (LeaveOut("x", "above", 1.0), ["0.5", "1", "2", ""], [0, 0, 1, 0]),
        (LeaveOut("x", "one_of", ("7",)), [7.0, 7.5, np.nan, 8.0], [1, 0, 0, 0]),
        (LeaveOut("x", "is_empty"), [7.0, 7.5, np.nan, 8.0], [0, 0, 1, 0]),
        (LeaveOut("x", "above", 7.2), [7.0, 7.5, np.nan, 8.0], [0, 1, 0, 1]),
    ],
)
def test_rows_that_fit_a_rule_are_left_out(rule, stored, want):
    values = pd.Series(stored, dtype="str" if isinstance(stored[0], str) else None)
    rows = log(4).assign(x=values)
    clean, counts = cleaned(rows, part(leave_out=(rule,)), share=0.0)
    assert [i not in clean.index for i in range(4)] == [bool(w) for w in want]
    assert counts == {rule.reason: sum(want)}


def test_numbers_in_rules_follow_the_files_decimal_sign():
    rows = log(3).assign(x=pd.Series(["0,5", "1,5", "0.5"], dtype="str"))
    clean, _ = cleaned(rows, part(leave_out=(LeaveOut("x", "below", 1.0),), decimal=","))
    assert clean.index.tolist() == [1, 2]


def test_rows_that_are_left_out_are_no_faults():
    rows = log(user_id=["", "", "", "u"])
    rule = LeaveOut("user_id", "is_empty")
    clean, counts = cleaned(rows, part(leave_out=(rule,)), share=0.0, on_bad_rows="stop")
    assert len(clean) == 1
    assert counts == {"left out: user_id is empty": 3}


def test_a_row_that_fits_two_rules_is_counted_once():
    rules = (LeaveOut("user_id", "is_empty"), LeaveOut("item_id", "is_empty"))
    rows = log(user_id=["", "", "u", "u"], item_id=["", "i", "", "i"])
    counts = cleaned(rows, part(leave_out=rules))[1]
    assert list(counts.values()) == [2, 1]


# Reasons


@pytest.mark.parametrize(
    ("columns", "want"),
    [
        ({"user_id": ["", None, " ", "u"]}, {"user_id is empty": 3}),
        ({"item_id": ["", "i"]}, {"item_id is empty": 1}),
        ({"event_time": ["", "2025-01-01"]}, {"event_time is empty": 1}),
        ({"event_time": ["now", "2025-01-01"]}, {"event_time is not a time (ISO 8601)": 1}),
        ({"event_type": ["", "click"]}, {"event_type is empty": 1}),
        (
            {"event_type": ["Click", "click"]},
            {"event_type is not one of impression, click, cart, purchase": 1},
        ),
        ({"price": ["-1", "nan", "0", ""]}, {"price is not a number": 1, "price is below 0": 1}),
        (
            {"price": [-1.0, np.inf, 0.0, np.nan]},
            {"price is not a number": 1, "price is below 0": 1},
        ),
        (
            {"position": ["1.5", "0", "1", "2.0"]},
            {"position is not a whole number": 1, "position is below 1": 1},
        ),
        ({"position": ["9" * 30, "1", None]}, {"position is too large to be exact": 1}),
        ({"quantity": ["-1", "1"]}, {"quantity is below 0": 1}),
        ({"label": ["2", "1"], "event_type": ["impression"] * 2}, {"label is not 0 or 1": 1}),
        ({"query": ["", None]}, {}),
    ],
)
def test_every_reason_has_its_count(columns, want):
    frame = log(**columns)
    clean, counts = cleaned(frame)
    assert counts == want
    assert len(clean) == len(frame) - sum(want.values())


def test_a_row_with_two_faults_is_counted_under_the_first():
    rows = log(user_id=["", "u", "u"], price=["-1", "-1", "1"])
    assert cleaned(rows)[1] == {"user_id is empty": 1, "price is below 0": 1}


def test_rows_that_could_not_be_read_are_counted():
    cleaner = Cleaner(part(), task_zone="UTC", max_bad_share=0.5)
    cleaner.clean(Chunk(log(3), "log.csv", 0, line, {"has 5 values, not 4": [1, 3]}))
    assert cleaner.finish().to_dict("records") == [
        {"table": "user_behavior", "kind": "unreadable", "column": ""}
        | {"reason": "has 5 values, not 4", "rows": 2}
    ]
    cleaner.clean(Chunk(log(1)[:0], "log.csv", 3, line, {"has 5 values, not 4": [5, 6, 7]}))
    message = r"log.csv: 5 of 8 rows .* has 5 values, not 4 \(5 rows, the first in line 3\)"
    with pytest.raises(DataError, match=message):
        cleaner.finish()


# Refusals


def test_too_many_bad_rows_are_told_with_examples_and_what_to_do():
    prices = ["1", "-1", "-22", "-3", "-4", "-5", "-6", "x" * 60]
    message = refusal(log(price=prices), share=0.2)
    assert message == (
        "log.csv: 7 of 8 rows cannot be used, more than the 20% allowed. Most often price is below "
        "0 (6 rows, the first in line 3). Correct the table, leave such rows out with a rule under "
        "leave_out in schema.yaml (under user_behavior), or allow more with max_bad_share. "
        "Examples: line 3 '-1'; line 4 '-22'; line 5 '-3'; line 6 '-4'; line 7 '-5'."
    )


def test_one_bad_row_is_too_much_where_none_is_borne():
    rows = log(price=["1"] * 9 + ["-1"])
    assert "1 of the first 10 rows cannot be used, and on_bad_rows: stop allows none" in refusal(
        rows, on_bad_rows="stop"
    )
    cleaned(rows, share=0.1)
    assert "more than the 9.9% allowed" in refusal(rows, share=0.099)


def test_ids_and_queries_are_never_shown():
    secret = "anna@example.org"
    rows = log(
        user_id=[secret] * 4,
        item_id=["", "", "", ""],
        list_id=[secret] * 4,
        query=[secret] * 4,
        session_id=[secret] * 4,
    )
    message = refusal(rows)
    assert "item_id is empty (4 rows, the first in line 2)" in message
    assert "Examples: line 2; line 3; line 4; line 5." in message
    assert secret not in message


def test_only_types_that_name_nobody_give_examples():
    columns = canonical_tables()["user_behavior"].columns
    tally = Tally(part(), on_bad_rows="drop", max_bad_share=0.2)
    fault = Fault((0, 1), "", DropKind.TYPE)
    wanted = {n for n, c in columns.items() if tally.wanted(fault, c)}
    public = {"event_time", "event_type", "label", "position", "price", "quantity"}
    assert wanted == public


def test_long_and_odd_values_are_shown_short_and_on_one_line():
    message = refusal(log(price=["a\nb\x1b[31m" + "c" * 100, "y"]))
    assert f"line 2 'a b?[31{'a' * 30}...';" in message  # no word is shown, only its length
    assert "\n" not in message


def test_a_table_without_rows_is_refused():
    assert refusal(log(1)[:0]) == (
        "log.csv: there is a header but no row; fill the table, or remove it, and start again."
    )


def test_rules_that_leave_nothing_are_named():
    rows = log(user_id=["", "u", "v"], item_id=["i", "", ""])
    rules = (LeaveOut("user_id", "is_empty"), LeaveOut("item_id", "is_empty"))
    assert refusal(rows, part(leave_out=rules)) == (
        "log.csv: no row remains, as rules under leave_out fit all 3 rows. Most often left out: "
        "item_id is empty (2 rows). Correct them in schema.yaml."
    )


def test_a_table_of_which_nothing_is_left_is_refused_whatever_is_borne():
    assert "2 of 2 rows cannot be used, so that none is left" in refusal(
        log(user_id=["", ""]), share=1.0
    )


def test_examples_name_their_file_where_there_are_several():
    cleaner = Cleaner(part(), task_zone="UTC")
    for name in ("a.csv", "b.csv"):
        cleaner.header([*NEEDED, "price"], name)
        rows = log(price=["-1", "x", "1"] if name == "b.csv" else ["1", "1", "-1"])
        cleaner.clean(Chunk(rows, name, 0, line))
    message = (
        r"^a.csv and 1 more: 3 of 6 .* \(2 rows, the first in line 4 of a.csv\).* line 2 of b.csv"
    )
    with pytest.raises(DataError, match=message):
        cleaner.finish()


def test_hopeless_tables_are_refused_before_they_are_read_to_the_end():
    cleaner = Cleaner(part(), task_zone="UTC")
    rows = log(100_000).assign(event_time="soon")
    cleaner.clean(Chunk(rows, "log.csv"))
    with pytest.raises(DataError, match=r"200,000 of the first 200,000 rows cannot be used"):
        cleaner.clean(Chunk(rows, "log.csv", 100_000))


def test_a_table_with_some_good_rows_is_read_to_the_end():
    cleaner = Cleaner(part(), task_zone="UTC")
    rows = log(100_000).assign(event_time=["2025-01-01", *["soon"] * 49] * 2000)
    for first in range(0, 400_000, 100_000):
        cleaner.clean(Chunk(rows, "log.csv", first))
    with pytest.raises(DataError, match=r"392,000 of 400,000 rows cannot be used"):
        cleaner.finish()


# Guesses


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (["24/11/2013 17:48", "01/12/2013 08:00"], '"%d/%m/%Y %H:%M"'),
        (["11/24/2013 17:48", "12/01/2013 08:00"], '"%m/%d/%Y %H:%M"'),
        (["01/12/2013"], '"%d/%m/%Y" (day first) or "%m/%d/%Y" (month first)'),
        (["24.11.2013 17:48:01"], '"%d.%m.%Y %H:%M:%S"'),
        (["11/24/2013 5:48 PM"], '"%m/%d/%Y %I:%M %p"'),
        (["2013年11月24日"], '"%Y年%m月%d日"'),
        (["24 Nov 2013"], '"%d %b %Y"'),
        (["1383843600", "1483843600"], "unix s"),
        (["1383843600123"], "unix ms"),
        (["soon", "never"], ""),
        (["24/11/2013"] * 3 + ["?"], '"%d/%m/%Y"'),
        ([], ""),
    ],
)
def test_the_format_of_times_is_guessed(values, want):
    hint = f"State time_format: {want}." if want else ""
    assert time_hint(values) == hint
    if values:
        assert hint in refusal(log(event_time=[*values, "2025-01-01"]), share=0.1)


def test_iso_times_under_another_format_are_told():
    rows = log(event_time=["2025-01-01 10:00", "24/11/2013"] * 2 + ["2025-01-02 10:00"] * 2)
    message = refusal(rows, part(time_format="%d/%m/%Y"), share=0.1)
    assert "State time_format: ISO 8601." in message


def test_milliseconds_taken_for_seconds_are_told():
    message = refusal(log(event_time=["253370764700"] * 2), part(time_format="unix s"))
    assert "event_time is in the future" in message
    assert "unix ms" in message


def test_unknown_types_of_events_are_counted_and_a_translation_proposed():
    kinds = ["view"] * 5 + ["addToCart"] * 3 + ["zzz"] + ["click"]
    message = refusal(log(event_type=kinds), share=0.2)
    assert 'Most frequent are "view" (5 rows), "addToCart" (3 rows), "zzz" (1 rows).' in message
    line = "State values: {event_type: {view: impression, addToCart: cart}}"
    assert f"{line}, if that is what they mean." in message
    assert event_hint(["Ünbekannt: {"]) == (
        'State values: {event_type: {"Ünbekannt: {": click}}, if that is what it means.'
    )


def test_the_other_decimal_sign_is_told():
    assert 'State decimal: ",".' in refusal(log(price=["1,5", "2,25", "3"]), share=0.2)
    assert number_hint(["1.5"], ",") == 'State decimal: ".".'
    assert number_hint(["x"], ".") == number_hint([], ".") == ""


# Headers


def header(stated: StoredTable, names: list[str]) -> str:
    with pytest.raises(DataError) as caught:
        Cleaner(stated, task_zone="UTC").header(names, "log.csv")
    return str(caught.value)


def test_a_stated_column_that_is_not_there_is_named_with_its_line():
    mapped = {name: (name,) for name in NEEDED[1:]} | {"user_id": ("Customer",)}
    names = ["CustomerID", *NEEDED[1:]]
    assert header(part(columns=mapped, line=7), names) == (
        'log.csv: column "Customer" is missing, and schema.yaml, line 7, maps it to user_id '
        "(user_behavior); it has CustomerID, item_id, event_time, event_type. Did you mean "
        '"CustomerID"? Correct the name in schema.yaml.'
    )
    message = header(part(extra=("Contry",)), [*NEEDED, "Country"])
    assert '"Contry" is missing, and schema.yaml keeps it as extra (user_behavior)' in message
    message = header(part(leave_out=(LeaveOut("Qty", "below", 1.0),)), [*NEEDED])
    assert '"Qty" is missing, and schema.yaml looks at it in leave_out (user_behavior)' in message


def test_a_long_header_is_not_told_in_full():
    names = [f"c{i}" for i in range(500)]
    assert "c19, and 480 more." in header(part(columns={"user_id": ("x",)}), names)


def test_a_canonical_header_that_lacks_a_column_may_be_mapped():
    message = header(part(), ["user", *NEEDED[1:]])
    assert 'column "user_id" is missing' in message
    assert 'Did you mean "user"? Rename it to user_id.' in message
    assert message.endswith("Or map your columns in schema.yaml under user_behavior.columns.")


def test_columns_that_cannot_be_used_are_refused():
    mapped = {name: (name,) for name in NEEDED}
    assert 'column "item_id" appears twice' in header(part(), [*NEEDED, "item_id"])
    assert 'column "item_id" appears twice' in header(part(columns=mapped), [*NEEDED, "item_id"])
    for name in RESERVED:
        for stated in (part(), part(columns=mapped, extra=None)):
            assert f'a column "{name}" of their own' in header(stated, [*NEEDED, name])
        Cleaner(part(extra=()), task_zone="UTC").header([*NEEDED, name], "log.csv")
    assert "no column is mapped to item_id" in header(
        part(columns={"user_id": ("user_id",)}), [*NEEDED]
    )
    message = header(part(event_type="click"), [*NEEDED])
    assert "schema.yaml states event_type: click for every row" in message


def test_a_stated_event_type_needs_no_column():
    clean, _ = cleaned(log(2).drop(columns="event_type"), part(event_type="cart"))
    assert clean.event_type.tolist() == ["cart", "cart"]


# What must not matter


def mixed(seed: int, rows: int) -> pd.DataFrame:
    """Return text with every kind of fault."""
    rng = np.random.default_rng(seed)

    def some(*values: str | None) -> pd.Series:
        return pd.Series(rng.choice(np.array(values, dtype=object), rows), dtype="str")

    return pd.DataFrame(
        {
            "user_id": some("7", "7.0", " 007 ", "", None, "u"),
            "item_id": some("a", "b", "C1", "d", "e"),
            "event_time": some(*ODD_TIMES),
            "event_type": some("view", "click", "cart", "nonsense", "Click"),
            "price": some("1,5", "1.234,5", "2", "-1", "x", None, "1.234"),
            "n": pd.Series(rng.choice([1.0, 2.5, np.nan, np.inf], rows)),
            "id": pd.Series(rng.choice([1.0, 2.5, np.nan], rows)),
        }
    )


MIXED = part(
    columns={**{name: (name,) for name in NEEDED}, "price": ("price",), "list_id": ("id",)},
    values={"event_type": {"view": "impression"}},
    extra=("n",),
    decimal=",",
    leave_out=(LeaveOut("item_id", "starts_with", "C"), LeaveOut("n", "above", 2.0)),
    time_zone="Europe/Madrid",
)


def told(frames: list[pd.DataFrame]) -> tuple:
    """Return all that comes out of these chunks: rows, counts and the message."""
    cleaner = Cleaner(MIXED, task_zone="Asia/Tokyo", max_bad_share=0.0)
    first, rows = 0, []
    for frame in frames:
        clean = cleaner.clean(Chunk(frame.reset_index(drop=True), "log.csv", first, line))
        rows.append(clean.set_axis(clean.index + first))
        first += len(frame)
    try:
        message, _ = "", cleaner.finish()
    except DataError as error:
        message = str(error)
    return pd.concat(rows), cleaner.tally.table(), message


@given(st.integers(0, 10**6), st.lists(st.integers(0, 60), max_size=6))
@settings(deadline=None, max_examples=30)
def test_cuts_between_chunks_change_nothing(seed, cuts):
    whole = mixed(seed, 60)
    borders = [0, *sorted(cuts), 60]
    frames = [whole[a:b] for a, b in zip(borders, borders[1:], strict=False)]
    one, many = told([whole]), told(frames)
    pd.testing.assert_frame_equal(many[0], one[0])
    pd.testing.assert_frame_equal(many[1], one[1])
    assert many[2] == one[2]


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_rows_in_another_order_come_out_in_that_order(seed, random):
    whole = mixed(seed, 40)
    order = random.sample(range(40), 40)
    straight, counts, _ = told([whole])
    other, others, _ = told([whole.iloc[order]])
    assert sorted(other.index.map(lambda i: order[i])) == straight.index.tolist()
    moved = other.set_axis(other.index.map(lambda i: order[i])).sort_index()
    pd.testing.assert_frame_equal(moved, straight)
    pd.testing.assert_frame_equal(others, counts)


BAD = {
    "user_id is empty": {"user_id": ""},
    "event_time is not a time (ISO 8601)": {"event_time": "soon"},
    "price is below 0": {"price": "-1"},
}


@given(st.integers(0, 10**6), st.integers(0, 30), st.sampled_from(sorted(BAD)))
@settings(deadline=None, max_examples=25)
def test_a_bad_row_more_changes_one_count_only(seed, place, reason):
    whole = mixed(seed, 30)
    good = {**GOOD, "price": "1", "n": 1.0, "id": 1.0}
    row = pd.DataFrame([{**good, **BAD[reason]}])[whole.columns]
    with_it = pd.concat([whole[:place], row, whole[place:]], ignore_index=True)
    before, counts, _ = told([whole])
    after, others, _ = told([with_it])
    pd.testing.assert_frame_equal(after.reset_index(drop=True), before.reset_index(drop=True))
    want = dict(zip(counts.reason, counts["rows"], strict=True))
    got = dict(zip(others.reason, others["rows"], strict=True))
    assert got == {**want, reason: want.get(reason, 0) + 1}


def test_an_independent_reading_row_by_row_agrees():
    """The oracle knows plain Python only."""
    rng = np.random.default_rng(3)
    n = 300
    moments = rng.integers(1, [15, 31, 24], (n, 3))  # some months are the 13th
    frame = texts(
        user_id=list(rng.choice(["u1", " u2", ""], n)),
        item_id=list(rng.choice(["a", "b"], n)),
        event_time=[f"2024-{m:02}-{d:02} {h:02}:15" for m, d, h in moments],
        event_type=list(rng.choice(["click", "cart", "?"], n)),
        price=list(rng.choice(["1.25", "-2", "y", ""], n)),
    )
    want, counts = [], {}
    for row in frame.itertuples():
        reason = _python_reason(row)
        if reason:
            counts[reason] = counts.get(reason, 0) + 1
            continue
        moment = datetime.strptime(row.event_time, "%Y-%m-%d %H:%M")
        price = float(row.price) if row.price else np.nan
        want.append((row.user_id.strip(), row.item_id, moment, row.event_type, price))
    clean, got = cleaned(frame)
    times = clean.event_time.dt.tz_localize(None)
    columns = (clean.user_id, clean.item_id, times, clean.event_type, clean.price)
    pd.testing.assert_frame_equal(
        pd.DataFrame(list(zip(*columns, strict=True))), pd.DataFrame(want), check_dtype=False
    )
    assert got == counts


def _python_reason(row: object) -> str:
    if not row.user_id.strip():
        return "user_id is empty"
    try:
        datetime.strptime(row.event_time, "%Y-%m-%d %H:%M")
    except ValueError:
        return "event_time is not a time (ISO 8601)"
    if row.event_type not in ("click", "cart"):
        return "event_type is not one of impression, click, cart, purchase"
    if row.price == "y":
        return "price is not a number"
    return "price is below 0" if row.price == "-2" else ""


# Whole frames


def test_a_whole_frame_follows_the_same_rules_in_its_own_order_of_columns():
    frame = mixed(5, 200).rename(columns={"id": "list_id"})[["n", "price", *NEEDED, "list_id"]]
    clean, counts = clean_rows(
        canonical_tables()["user_behavior"], frame, where="x", time_zone="UTC", max_bad_share=1.0
    )
    pieces, want = cleaned([frame[:70], frame[70:]])
    assert list(clean) == list(frame)
    pd.testing.assert_frame_equal(clean, pieces[clean.columns].reset_index(drop=True))
    assert dict(zip(counts.reason, counts["rows"], strict=True)) == want


def test_repeats_in_a_whole_frame_count_as_bad_rows():
    frame = pd.DataFrame({"item_id": ["7.0", "8.0", "7.0", ""]})
    facts = {"where": "items", "time_zone": "UTC"}
    clean, counts = clean_rows(
        canonical_tables()["product_features"], frame, max_bad_share=0.5, **facts
    )
    assert clean.item_id.tolist() == ["7", "8"]
    assert counts.reason.tolist() == ["item_id is empty", "item_id was seen before"]
    message = re.escape("2 of 4 rows cannot be used, more than the 20% allowed")
    with pytest.raises(DataError, match=message):
        clean_rows(canonical_tables()["product_features"], frame, **facts)


def test_text_keeps_its_letters_through_arrow():
    text = ["用户 🙂", 'a "b"', "x\ny"]
    assert text_series(pa.array(text)).tolist() == text
    assert cleaned(log(query=text))[0]["query"].tolist() == text


# A header that nothing can be made of, names in another case


def test_a_file_without_a_header_is_refused_and_none_of_it_is_shown():
    values = ["anna@example.org", "a", "2025-01-01T10:00:00Z", "click"]
    for stated in (part(), part(columns={name: (name.upper(),) for name in NEEDED})):
        message = header(stated, values)
        assert re.match(r'log.csv: column "(user_id|USER_ID)" is missing; the first line', message)
        assert "anna" not in message
    # A name that looks like a number is no reason to doubt the others.
    Cleaner(part(), task_zone="UTC").header([*NEEDED, "2024"], "log.csv")
    assert "Did you mean" in header(part(), ["user", *NEEDED[1:], "2024"])


@pytest.mark.parametrize("stated", [part(), part(columns={n: (n,) for n in NEEDED}, extra=None)])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Price"], 'column "Price" differs from "price" in case only; rename it'),
        (["Note", "note"], 'column "note" differs from "Note" in case only; rename it'),
        (["Day"], 'the workbook makes a column "day" itself, so "Day" cannot be kept; rename or'),
        (["_Place"], 'makes a column "_place" itself'),
        (["_Digest"], 'makes a column "_digest" itself'),
        (["_TIME"], 'makes a column "_time" itself'),
    ],
)
def test_names_that_differ_in_case_only_are_refused(stated, names, message):
    """DuckDB would take them for one."""
    assert message in header(stated, [*NEEDED, *names])
    Cleaner(part(extra=()), task_zone="UTC").header([*NEEDED, *names], "log.csv")


def test_users_may_have_a_day_and_a_mapped_name_may_have_any_case():
    Cleaner(part("users"), task_zone="UTC").header(["user_id", "Day"], "users.csv")
    mapped = {name: (name.upper(),) for name in NEEDED}
    frame = log(1).rename(columns=str.upper)
    assert list(cleaned(frame, part(columns=mapped, extra=None))[0]) == [*NEEDED, "day"]


def test_where_no_bad_row_is_borne_reading_ends_with_the_first():
    cleaner = Cleaner(part(), task_zone="UTC", on_bad_rows="stop")
    cleaner.clean(Chunk(log(price=["1"] * 3), "log.csv", 0, line))
    message = r"1 of the first 6 rows .* on_bad_rows: stop allows none.* the first in line 6\)"
    with pytest.raises(DataError, match=message):
        cleaner.clean(Chunk(log(price=["1", "-1", "1"]), "log.csv", 3, line))


SECRETS = ("anna@example.org", "red shoes size 7", "secret list", "secret shop")
SECRET = dict(zip(("user_id", "query", "list_id", "store_id"), SECRETS, strict=True))
FAULTS = [
    {"item_id": ""},
    {"event_time": "soon"},
    {"event_time": "2999-01-01"},
    {"event_type": "?"},
    {"price": "-1"},
    {"position": "x"},
    {"label": "2", "event_type": "impression"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("policy", ["drop", "stop"])
def test_no_message_on_rows_names_a_person_or_shows_a_whole_row(fault, policy):
    rows = log(4, **{name: [value] * 4 for name, value in (GOOD | SECRET | fault).items()})
    message = refusal(rows, share=0.2, on_bad_rows=policy)
    assert "4 rows" in message
    assert not [secret for secret in SECRETS if secret in message]
    assert GOOD["event_time"] not in message


NATIVE = {
    "position": [
        pa.array([1, None, 3], pa.int8()),
        pa.array([1.0, None, 3.0]),
        pa.array([Decimal("1"), None, Decimal("3")]),
        pa.array(["1", None, "3.0"]),
        pa.array([b"1", None, b" 3 "]),
        pa.array(["1", None, "3"]).dictionary_encode(),
    ],
    "session_id": [
        pa.array([1, None, 3], pa.uint64()),
        pa.array([1.0, None, 3.0], pa.float32()),
        pa.array([b"1", None, b"3"]),
        pa.array([1, None, 3]).dictionary_encode(),
    ],
    "event_time": [
        pa.array([datetime(2025, 1, k) for k in (1, 2, 3)], pa.timestamp(unit))
        for unit in ("s", "ms", "us", "ns")
    ]
    + [pa.array([date(2025, 1, k) for k in (1, 2, 3)], pa.date32())],
}
WANT = {
    "position": [1.0, None, 3.0],
    "session_id": ["1", None, "3"],
    "event_time": [pd.Timestamp(2025, 1, k, tz="UTC") for k in (1, 2, 3)],
}


@pytest.mark.parametrize(("name", "stored"), [(n, a) for n, kinds in NATIVE.items() for a in kinds])
def test_every_type_of_a_parquet_file_is_read_alike(tmp_path, name, stored):
    columns = {key: [value] * 3 for key, value in GOOD.items()} | {name: stored}
    pq.write_table(pa.table(columns), tmp_path / "user_behavior.parquet")
    cleaner = Cleaner(part(), task_zone="UTC")
    rows = pd.concat([cleaner.clean(chunk) for chunk in stream_files(part(), tmp_path)])
    found = rows[name].astype(object)
    assert found.where(found.notna(), None).tolist() == WANT[name]
    assert cleaner.finish().empty
