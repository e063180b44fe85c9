"""Types, and messages about headers."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import yaml

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.base.words import near_match
from helpers.data.cleaning import clean_rows
from helpers.schema import RESERVED, canonical_tables, check_columns

BEHAVIOR = canonical_tables()["user_behavior"]


def cleaned(zone: str = "UTC", **columns: object) -> pd.DataFrame:
    """Return clean events of which these columns are given; bad rows are allowed."""
    n = len(next(iter(columns.values())))
    given = {"user_id": ["u"] * n, "item_id": ["i"] * n, "event_time": ["2025-01-01"] * n}
    frame = pd.DataFrame({**given, "event_type": ["click"] * n, **columns})
    return clean_rows(BEHAVIOR, frame, where="log", time_zone=zone, max_bad_share=1.0)[0]


def dropped(**columns: object) -> dict[str, int]:
    """Return the counts of dropped rows by reason."""
    n = len(next(iter(columns.values())))
    given = {"user_id": ["u"] * n, "item_id": ["i"] * n, "event_time": ["2025-01-01"] * n}
    frame = pd.DataFrame({**given, "event_type": ["click"] * n, **columns})
    lost = clean_rows(BEHAVIOR, frame, where="log", time_zone="UTC", max_bad_share=1.0)[1]
    return dict(zip(lost.reason, lost["rows"], strict=True))


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (["007", "7", " 7 "], ["007", "7", "7"]),
        ([7, 8], ["7", "8"]),
        ([7.0, np.nan], ["7"]),  # whole numbers that pandas widened; the missing one is dropped
        (["7.0", "123.0"], ["7", "123"]),
        (["7.0", "x1"], ["7.0", "x1"]),
        ([2**53 + 1, 2**63 - 1], ["9007199254740993", "9223372036854775807"]),
        (pd.array([2**53 + 1, None], dtype="Int64"), ["9007199254740993"]),
        (pd.Categorical([7, 8]), ["7", "8"]),
        ([Decimal("7"), Decimal("8")], ["7", "8"]),
        (["NA", "None", "null", "nan"], ["NA", "None", "null", "nan"]),
        (["用户", "🙂"], ["用户", "🙂"]),
        (["", "   ", "x"], ["x"]),
    ],
)
def test_ids_become_text_without_losing_a_digit(given, want):
    assert cleaned(user_id=given).user_id.tolist() == want


def test_ids_that_lost_digits_are_refused():
    with pytest.raises(DataError, match=r'log: "user_id" holds names as numbers with a decimal'):
        cleaned(user_id=[2.0**53 + 2, np.nan])


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ("2025-03-10T10:00:00Z", "2025-03-10T10:00"),
        ("2025-03-10T10:00:00+08:00", "2025-03-10T02:00"),
        ("2025-03-10 10:00+0800", "2025-03-10T02:00"),
        ("2025-03-10 10:00+08", "2025-03-10T02:00"),
        ("2025-03-10 10:00:00", "2025-03-10T14:00"),  # no zone: New York, summer time
        ("2025-01-10", "2025-01-10T05:00"),
        ("2025-01-10-05:00", None),
        ("2025-03-09 02:30:00", "2025-03-09T07:00"),  # an hour that the clocks skipped
        ("2025-11-02 01:30:00", "2025-11-02T06:30"),  # one that they repeated: the second
        ("9999-12-30T00:00Z", None),  # the future
        ("0900-01-01T00:00Z", "0900-01-01T00:00"),
        ("now", None),
        ("today", None),
        ("1741000000", None),
        ("10/03/2025", None),
        ("2025-13-01", None),
        ("", None),
    ],
)
def test_a_time_is_read_by_its_zone_or_the_tasks(given, want):
    log = cleaned("America/New_York", event_time=[given, "2025-01-01T00:00Z"])
    want = [] if want is None else [pd.Timestamp(want, tz="UTC")]
    assert log.event_time.tolist() == [*want, pd.Timestamp("2025-01-01", tz="UTC")]
    assert str(log.event_time.dtype) == "datetime64[us, UTC]"


def test_times_that_are_times_already_are_read_alike():
    text = ["2025-03-10T10:00:00", "2025-03-11T10:00:00"]
    as_time = pd.Series(pd.to_datetime(text))
    for given in (as_time, as_time.dt.as_unit("s"), as_time.astype(object)):
        assert cleaned("Asia/Shanghai", event_time=given).equals(
            cleaned("Asia/Shanghai", event_time=text)
        )
    zoned = as_time.dt.tz_localize("Asia/Shanghai")
    assert cleaned(event_time=zoned).equals(cleaned("Asia/Shanghai", event_time=text))


@pytest.mark.parametrize(
    ("columns", "want"),
    [
        ({"price": ["1", "-1", "x", "inf"]}, {"price is not a number": 2, "price is below 0": 1}),
        (
            {"position": [1, 1.5, 0]},
            {"position is not a whole number": 1, "position is below 1": 1},
        ),
        ({"user_id": ["u", "", None]}, {"user_id is empty": 2}),
        (
            {"event_type": ["click", "view", "Click"]},
            {"event_type is not one of impression, click, cart, purchase": 2},
        ),
        (
            {"event_time": ["2025-01-01", "soon", ""]},
            {"event_time is empty": 1} | {"event_time is not a time (ISO 8601)": 1},
        ),
        ({"event_id": ["1", "1", None, None]}, {"event_id was seen before": 1}),
        ({"quantity": ["1", "", None]}, {}),
    ],
)
def test_rows_that_do_not_fit_are_counted_by_reason(columns, want):
    assert dropped(**columns) == want


def test_a_row_with_two_faults_is_counted_once():
    assert dropped(price=["-1", "1"], user_id=["", "u"]) == {"user_id is empty": 1}


def test_the_first_usable_row_of_a_repeated_name_is_kept():
    log = cleaned(event_id=["1", "1", "1"], price=["-5", "6", "7"])
    assert log.price.tolist() == [6.0]


def test_too_many_bad_rows_stop_with_the_count_and_the_place_of_the_first():
    frame = pd.DataFrame({"user_id": ["u", "v", "", "", "w"]})
    message = (
        r"users: 2 of 5 rows cannot be used, more than the 20% allowed. Most often user_id is empty"
        r" \(2 rows, the first in row 3\). Correct the table"
    )
    with pytest.raises(DataError, match=message):
        clean_rows(canonical_tables()["users"], frame, where="users", time_zone="UTC")


def test_extra_columns_become_numbers_or_text():
    log = cleaned(
        a=[1, 2],
        b=["1", None],
        c=[True, False],
        d=[Decimal("1.5"), None],
        e=[[1], [2]],
        f=pd.array([1, None], dtype="Int64"),
        g=pd.Categorical(["x", None]),
        h=[np.inf, 1.0],
    )
    kinds = {c: "number" if log[c].dtype == "float64" else "text" for c in "abcdefgh"}
    assert kinds == dict(
        zip(
            "abcdefgh",
            ["number", *["text"] * 2, "number", "text"] + ["number"] + ["text", "number"],
            strict=True,
        )
    )
    assert log.c.tolist() == ["True", "False"]
    assert log.e.tolist() == ["[1]", "[2]"]
    assert log.h.isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ["user", "age"],
            r'users.csv: column "user_id" is missing; it has user, age. '
            r'Did you mean "user"\? Rename it to user_id\.',
        ),
        (["age"], r'column "user_id" is missing; it has age\..* Add a column "user_id"'),
        (["user_id;age"], r"The header is separated by ';'; write the file with commas"),
        (["user_id", "age", "age"], r'users.csv: column "age" appears twice; rename or remove'),
        *[(["user_id", name], rf'"{name}" of their own; rename') for name in RESERVED],
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_a_remedy(columns, message):
    with pytest.raises(DataError, match=message):
        check_columns(canonical_tables()["users"], columns, where="users.csv")


def test_a_log_whose_rows_carry_a_label_needs_no_event_type():
    header = ["user_id", "item_id", "event_time"]
    check_columns(BEHAVIOR, [*header, "label"], where="log.csv")
    with pytest.raises(DataError, match='log.csv: column "event_type" is missing'):
        check_columns(BEHAVIOR, header, where="log.csv")
    assert BEHAVIOR.columns["label"].values == (0, 1)
    assert "label" not in RESERVED


def test_the_schema_file_uses_known_types_and_names_what_is_reserved():
    stated = yaml.safe_load((DATA / "schema.yaml").read_text(encoding="utf-8"))
    types = {c.type for t in canonical_tables().values() for c in t.columns.values()}
    assert types == {"id", "time", "category", "text", "number", "integer"}
    assert all(
        re.search(rf"\b{name}\b", stated["tables"]["user_behavior"]["other_columns"])
        for name in RESERVED
    )


def test_the_nearest_known_name_is_offered_if_any_is_near():
    assert near_match("usr_id", ["user_id", "item_id"]) == ' Did you mean "user_id"?'
    assert near_match("zzz", ["user_id"]) == ""
