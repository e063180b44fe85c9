"""Whole stored tables: several files, copies, derived tables, labels, and what the cache keeps."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from broken import ROWS, lay_out, schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import raw_view
from waiting import PATIENCE_S

from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.cache import store as cache
from helpers.data import sources
from helpers.data.chunks import Chunk
from helpers.data.files import delimited
from helpers.data.schema_file import StoredTable, read_schema_file
from helpers.data.sources import open_source, stage_source
from helpers.data.staging import Staged, open_staged, stage
from helpers.samples import make_samples

HEADER = "user_id,item_id,event_time,event_type"
CLICK = "u,a,2025-01-01T10:00Z,click"
FOREIGN = "columns: {user_id: who, item_id: what, event_time: when}"
SHOWN, PURCHASE = "event_type: impression", "event_type: purchase"
COPY = "exact copy of an earlier row"


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache's folder for tables."""
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tables"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two products, and no log yet."""
    place = tmp_path / "mine"
    place.mkdir()
    put(place, "product_features.csv", ["item_id", "a", "b"])
    return place


def put(folder: Path, name: str, lines: Iterable[str]) -> None:
    (folder / name).write_text("\n".join([*lines, ""]), encoding="utf-8")


def log(folder: Path, rows: Iterable[str], *, header: str = HEADER, name: str = "") -> None:
    put(folder, name or "user_behavior.csv", [header, *rows])


def say(folder: Path, *lines: str) -> None:
    put(folder, "schema.yaml", lines)


def section(*facts: str) -> str:
    return f"{{{', '.join(facts)}}}"


def staged(folder: Path) -> Staged:
    """Return the tables as files; each stored row is there or counted once."""
    found, _ = stage_source("csv", path=folder)
    lost = found.dropped.groupby("table")["rows"].sum().to_dict()
    for table, facts in found.facts["tables"].items():
        assert facts["read"] == facts["kept"] + lost.get(table, 0)
        if not found.facts["labelled"]:
            assert facts["kept"] == len(rows_of(found, table))
    return found


def rows_of(staged: Staged, table: str = "user_behavior") -> pd.DataFrame:
    return pd.read_parquet(staged.folder / f"{table}.parquet")


def counted(staged: Staged) -> dict[str, int]:
    return dict(zip(staged.dropped.reason, staged.dropped["rows"], strict=True))


# Files and parts


def test_files_of_one_part_follow_each_other_in_the_order_of_their_names(folder):
    for day in (3, 1, 2):
        rows = [f"u{day}{k},a,2025-01-0{day}T10:00Z,click" for k in range(3)]
        log(folder, rows, name=f"log-{day}.csv")
    say(folder, "user_behavior: {file: log-*.csv}")
    found = rows_of(staged(folder))
    assert found.user_id.tolist() == [f"u{d}{k}" for d, k in itertools.product((1, 2, 3), range(3))]
    assert found.day.tolist() == [20089 + d for d in (0, 0, 0, 1, 1, 1, 2, 2, 2)]


def test_views_and_orders_may_stand_in_files_of_their_own(folder):
    """A view and an order may say the same words of the same moment; neither is a copy."""
    views = ["u,a,2025-01-01T10:00Z", "u,b,2025-01-01T10:00Z", "u,a,2025-01-01T10:00Z"]
    log(folder, views, header="who,what,when", name="views.csv")
    log(folder, ["u,a,2025-01-01T10:00Z"], header="buyer,what,when", name="orders.csv")
    theirs = section("file: orders.csv", PURCHASE, FOREIGN.replace("who", "buyer"))
    say(folder, "user_behavior:", f"- {section('file: views.csv', SHOWN, FOREIGN)}", f"- {theirs}")
    found = staged(folder)
    kinds = rows_of(found)[["item_id", "event_type"]].to_numpy().tolist()
    assert kinds == [["a", "impression"], ["b", "impression"], ["a", "purchase"]]
    assert counted(found) == {COPY: 1}
    assert found.facts["tables"]["user_behavior"] == {"read": 4, "kept": 3}


def test_one_file_may_be_read_as_two_kinds_of_events(folder):
    rows = ["u,a,2025-01-01T10:00Z,", "v,a,2025-01-02T10:00Z,2025-01-03"]
    log(folder, rows, header="who,what,when,bought", name="all.csv")
    shown = section("file: all.csv", SHOWN, FOREIGN)
    bought = section(
        *("file: all.csv", PURCHASE, "leave_out: [{column: bought, is_empty: true}]"),
        FOREIGN.replace("when", "bought"),
    )
    say(folder, "user_behavior:", f"- {shown}", f"- {bought}")
    found = staged(folder)
    assert rows_of(found).event_type.tolist() == ["impression", "impression", "purchase"]
    assert counted(found) == {"left out: bought is empty": 1}


def test_parts_have_the_columns_of_all_of_them(folder):
    log(folder, ["u,a,2025-01-01,7"], header="who,what,when,Price paid", name="orders.csv")
    log(folder, ["u,a,2025-01-01,3"], header="who,what,when,rank", name="views.csv")
    price = FOREIGN.replace("}", ", price: Price paid}")
    rank = FOREIGN.replace("}", ", position: rank}")
    say(
        folder,
        "user_behavior:",
        f"- {section('file: orders.csv', PURCHASE, price)}",
        f"- {section('file: views.csv', SHOWN, rank)}",
    )
    found = rows_of(staged(folder))
    np.testing.assert_array_equal(found.price, [7.0, np.nan])
    np.testing.assert_array_equal(found.position, [np.nan, 3.0])


def test_each_part_is_read_with_its_own_decimal_sign_and_zone(folder):
    log(folder, ['u,a,2025-01-01T10:00,"1,5"'], header="who,what,when,price", name="a.csv")
    log(folder, ["u,b,2025-01-01T10:00,1.5"], header="who,what,when,price", name="b.csv")
    columns = FOREIGN.replace("}", ", price: price}")
    own = 'decimal: ",", delimiter: ";", time_zone: Asia/Tokyo'
    (folder / "a.csv").write_text("who;what;when;price\nu;a;2025-01-01T10:00;1,5\n")
    say(
        folder,
        "user_behavior:",
        f"- {section('file: a.csv', PURCHASE, own, columns)}",
        f"- {section('file: b.csv', PURCHASE, columns)}",
    )
    found = rows_of(staged(folder))
    assert found.price.tolist() == [1.5, 1.5]
    assert found.event_time.dt.hour.tolist() == [1, 10]


# Copies and names


def test_copies_are_dropped_within_and_across_files_and_pieces(folder, monkeypatch):
    monkeypatch.setattr(delimited, "ROWS", 2)
    other = CLICK.replace("u,", "v,")
    log(folder, [CLICK, other, CLICK], name="log-1.csv")
    turned = ["click,2025-01-01T10:00Z,a,u", "cart,2025-01-01T10:00Z,a,u"]
    log(folder, turned, header=",".join(HEADER.split(",")[::-1]), name="log-2.csv")
    say(folder, "user_behavior: {file: log-*.csv}")
    found = staged(folder)
    assert counted(found) == {COPY: 2}
    rows = rows_of(found)
    assert rows.user_id.tolist() == ["u", "v", "u"]
    assert rows.event_type.tolist() == ["click", "click", "cart"]


def test_rows_that_differ_in_a_column_that_is_not_mapped_are_no_copies(folder):
    log(folder, ["u,a,2025-01-01,1", "u,a,2025-01-01,2"], header="who,what,when,receipt")
    say(folder, f"user_behavior: {section(PURCHASE, FOREIGN)}")
    found = staged(folder)
    assert counted(found) == {}
    assert len(rows_of(found)) == 2


def test_values_that_trade_places_are_no_copies(folder):
    rows = ["u,v,2025-01-01,click,x,", "u,v,2025-01-01,click,,x", "u,v,2025-01-01,click,xx,"]
    log(folder, [r.replace("u,v", "u,a") for r in rows], header=f"{HEADER},one,two")
    assert counted(staged(folder)) == {}


def test_copies_stay_where_they_are_events_of_their_own(folder):
    log(folder, [CLICK, CLICK])
    say(folder, "user_behavior: {duplicates: keep}")
    found = staged(folder)
    assert (counted(found), len(rows_of(found))) == ({}, 2)


def test_a_copy_of_a_bad_row_is_bad_and_no_copy(folder):
    bad = CLICK.replace("2025-01-01", "2025-99-01")
    log(folder, [bad, CLICK, CLICK.replace("u,", "v,"), bad, CLICK])
    say(folder, "max_bad_share: 0.5")
    assert counted(staged(folder)) == {"event_time is not a time (ISO 8601)": 2, COPY: 1}


def test_lines_that_are_no_rows_are_counted_among_those_that_were_read(folder):
    log(folder, [CLICK, "u,a", CLICK.replace("u,", "v,"), *(f"{k}{CLICK}" for k in range(5))])
    found = staged(folder)
    assert found.facts["tables"]["user_behavior"] == {"read": 8, "kept": 7}
    assert counted(found) == {"has 2 values where the header has 4 names": 1}


def test_a_name_of_a_row_that_was_seen_before_is_a_fault(folder):
    rows = [f"{CLICK},{name}" for name in ("1", "2", "1", "", "")]
    rows[3] = rows[3].replace("u,", "v,")
    log(folder, rows, header=f"{HEADER},event_id")
    found = staged(folder)
    # The first and the third row are copies; the last two have no name.
    assert counted(found) == {COPY: 1}
    rows[2] = rows[2].replace("u,", "w,")
    log(folder, rows, header=f"{HEADER},event_id")
    found = staged(folder)
    assert counted(found) == {"event_id was seen before": 1}
    assert rows_of(found).user_id.tolist() == ["u", "u", "v", "u"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("max_bad_share: 0.2", r"2 of 4 rows cannot be used, more than the 20% allowed\. event_id"),
        (
            "on_bad_rows: stop\nmax_bad_share: 1",
            r"2 of 4 rows cannot be used, and on_bad_rows: stop allows none\.",
        ),
    ],
)
def test_too_many_names_that_were_seen_before_are_refused_with_their_place(folder, policy, message):
    for number, users in ((1, "uv"), (2, "wx")):
        rows = [f"{CLICK.replace('u,', f'{user},')},{user in 'vx'}" for user in users]
        log(folder, rows, header=f"{HEADER},event_id", name=f"log-{number}.csv")
    say(folder, "user_behavior: {file: log-*.csv}", policy)
    place = r".* event_id was seen before \(2 rows, the first in line 2 of log-2\.csv\)"
    with pytest.raises(DataError, match=f"^log-1.csv: {message}"):
        staged(folder)
    with pytest.raises(DataError, match=place):
        staged(folder)


def test_a_product_that_is_told_twice_keeps_its_first_row(folder):
    log(folder, [CLICK])
    put(folder, "product_features.csv", ["item_id,title", "a,old", "b,x", "a,new", "a,old"])
    say(folder, "max_bad_share: 0.3")
    found = staged(folder)
    assert rows_of(found, "product_features").title.tolist() == ["old", "x"]
    assert counted(found) == {COPY: 1, "item_id was seen before": 1}


# Tables from the log, labels, further columns


def test_products_and_users_are_made_from_the_log(folder, monkeypatch):
    """By time and not by place; what the log does not map may be named; bad rows say nothing."""
    monkeypatch.setattr(delimited, "ROWS", 2)
    (folder / "product_features.csv").unlink()
    rows = [
        "w,c,not a time,never,DE",
        "u,a,2025-01-02,late,ES",
        "u,a,2025-01-01,,FR",
        "v,b,2025-01-03,only,",
        "v,a,2025-01-01T10:00,early,IT",
    ]
    log(folder, rows, header="who,what,when,Name,Land")
    say(
        folder,
        f"user_behavior: {section(PURCHASE, FOREIGN)}",
        "product_features: {from: user_behavior, columns: {item_id: what, title: Name}}",
        "users: {from: user_behavior, columns: {user_id: who}, extra: [Land]}",
    )
    found = staged(folder)
    products = rows_of(found, "product_features")
    assert products.to_dict("list") == {"item_id": ["a", "b"], "title": ["early", "only"]}
    users = rows_of(found, "users")
    assert users.to_dict("list") == {"user_id": ["u", "v"], "Land": ["FR", "IT"]}
    assert list(rows_of(found)) == ["user_id", "item_id", "event_time", "event_type", "day"]
    assert found.facts["notes"] == []


def test_a_row_of_the_log_that_names_no_product_says_nothing_of_any(folder):
    """The times of the others stay with them."""
    (folder / "product_features.csv").unlink()
    rows = ["u,a,,2025-01-01,x", "u,b,B,2025-01-03,late", "u,b,B,2025-01-02,early"]
    log(folder, rows, header="who,what,model,when,Name")
    say(
        folder,
        f"user_behavior: {section(PURCHASE, FOREIGN.replace('what', 'model'))}",
        "product_features: {from: user_behavior, columns: {item_id: model, title: Name}}",
        "max_bad_share: 0.5",
    )
    found = rows_of(staged(folder), "product_features")
    assert found.to_dict("list") == {"item_id": ["B"], "title": ["early"]}
    by_what = f"user_behavior: {section(PURCHASE, FOREIGN)}"
    put(folder, "schema.yaml", [by_what, (folder / "schema.yaml").read_text().split("\n")[1]])
    with pytest.raises(DataError, match="no item_id of user_behavior is in product_features"):
        staged(folder)
    log(folder, [*rows, "u,B,B,2025-01-04,later"], header="who,what,model,when,Name")
    found = rows_of(staged(folder), "product_features")
    assert found.to_dict("list") == {"item_id": ["B"], "title": ["early"]}


def labelled(folder: Path, within: str = "") -> Staged:
    label = f"label: {section('positive: [cart]', *filter(None, [within]))}"
    rows = ["u,a,2025-01-01T10:00Z,1", "u,b,2025-01-01T10:00Z,0", "v,a,2025-01-01T10:00Z,yes"]
    log(folder, [*rows, "v,b,2025-01-02T10:00Z,0"], header="who,what,when,clicked")
    columns = FOREIGN.replace("}", ", label: clicked}")
    say(
        folder,
        f"user_behavior: {section(columns)}",
        f"task: {section(label)}",
        "max_bad_share: 0.3",
    )
    return staged(folder)


def test_a_labelled_exposure_is_an_impression_and_its_success_at_the_same_moment(folder):
    found = labelled(folder)
    rows = rows_of(found)[["user_id", "item_id", "event_type", "day"]]
    assert sorted(rows.to_numpy().tolist()) == [
        ["u", "a", "cart", 20089],
        ["u", "a", "impression", 20089],
        ["u", "b", "impression", 20089],
        ["v", "b", "impression", 20090],
    ]
    assert found.facts["tables"]["user_behavior"] == {"read": 4, "kept": 3}
    assert counted(found) == {"label is not 0 or 1": 1}
    assert "label" not in rows_of(found)


@pytest.mark.parametrize(("stated", "within"), [("", "0s"), ("within: 1h", "1h")])
def test_a_label_belongs_to_its_own_exposure_unless_a_time_is_stated(folder, stated, within):
    labelled(folder, stated)
    assert open_source("csv", path=folder).task.within == within


@pytest.mark.parametrize(
    ("stated", "names"),
    [
        ((), []),
        (["extra: [note]"], ["note"]),
        (["extra: [rate, note]"], ["rate", "note"]),
        (["extra: all"], ["note", "rate"]),
    ],
)
def test_further_columns_are_kept_as_it_is_stated(folder, stated, names):
    log(folder, ["u,x,a,2025-01-01,0.5"], header="who,note,what,when,rate")
    say(folder, f"user_behavior: {section(PURCHASE, FOREIGN, *stated)}")
    kept = list(rows_of(staged(folder)))
    assert kept[4:] == [*names, "day"]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_a_further_column_is_number_or_text_for_the_whole_table(folder, monkeypatch, rows):
    monkeypatch.setattr(delimited, "ROWS", rows)
    lines = [f"u,a,2025-01-01T10:0{k},click,{k},{'x' if k == 4 else k}," for k in range(5)]
    log(folder, lines, header=f"{HEADER},number,text,nothing")
    found = rows_of(staged(folder))
    assert found.number.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert found.text.tolist() == ["0", "1", "2", "3", "x"]
    assert found.nothing.isna().all()


def test_numbers_in_one_file_and_text_in_the_next_are_refused_and_not_lost(folder):
    frame = pd.DataFrame([CLICK.split(",")], columns=HEADER.split(","))
    frame.assign(note=1.5).to_parquet(folder / "log-1.parquet")
    frame.assign(note="x").to_parquet(folder / "log-2.parquet")
    say(folder, "user_behavior: {file: log-*.parquet}")
    message = 'log-2.parquet: column "note" holds text, but the rows before it hold numbers'
    with pytest.raises(DataError, match=message):
        staged(folder)
    frame.assign(note="2").to_parquet(folder / "log-2.parquet")
    assert rows_of(staged(folder)).note.tolist() == [1.5, 2.0]


def test_text_in_one_file_and_numbers_in_the_next_are_text(folder):
    frame = pd.DataFrame([CLICK.split(",")], columns=HEADER.split(","))
    frame.assign(note="x").to_parquet(folder / "log-1.parquet")
    frame.assign(note=1.5).to_parquet(folder / "log-2.parquet")
    say(folder, "user_behavior: {file: log-*.parquet}")
    assert rows_of(staged(folder)).note.tolist() == ["x", "1.5"]


@pytest.mark.parametrize("name", ["Price", "_place", "_DIGEST", "_time", "Day", "Event_Time"])
def test_a_name_that_would_be_lost_beside_another_is_refused(folder, name):
    log(folder, [f"{CLICK},1,2"], header=f"{HEADER},price,{name}")
    with pytest.raises(DataError, match=f'user_behavior.csv: .*"{name}".*rename'):
        staged(folder)


# Dirty logs

VALUES = {
    "user_id": st.sampled_from(["u", "v", "w", " u", ""]),
    "item_id": st.sampled_from(["a", "b", ""]),
    "event_time": st.sampled_from(["2025-01-01", "2025-01-02T10:00Z", "soon", "", "2999-01-01"]),
    "event_type": st.sampled_from(["click", "impression", "view", ""]),
    "price": st.sampled_from(["1", "1.5", "-1", "x", ""]),
    "event_id": st.sampled_from(["", "1", "2"]),
    "note": st.sampled_from(["", "1", "x"]),
}
DIRTY = st.lists(st.tuples(*VALUES.values()).map(",".join), max_size=30)
GOOD = [f"{kind},a,2025-01-01,click,,,{k}" for k, kind in enumerate("uvw")]


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=DIRTY, cut=st.integers(1, 30), size=st.integers(1, 7))
def test_every_row_of_a_dirty_log_is_kept_or_counted_wherever_it_is_cut(folder, rows, cut, size):
    """Cuts between files and between pieces change nothing."""
    rules = "leave_out: [{column: note, one_of: [x]}]"
    found = []
    for pieces, most in (([rows], 100), ([rows[:cut], rows[cut:]], size)):
        for old in folder.glob("log-*"):
            old.unlink()
        for number, piece in enumerate(pieces):
            log(
                folder,
                [*(GOOD if not number else []), *piece],
                name=f"log-{number}.csv",
                header=",".join(VALUES),
            )
        say(folder, f"user_behavior: {section('file: log-*.csv', rules)}", "max_bad_share: 1")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delimited, "ROWS", most)
            found.append(staged(folder))
    whole, cut_up = found
    pd.testing.assert_frame_equal(rows_of(whole), rows_of(cut_up))
    assert counted(whole) == counted(cut_up)
    assert whole.facts["tables"] == cut_up.facts["tables"]
    assert whole.facts["tables"]["user_behavior"]["read"] == len(GOOD) + len(rows)


# Sources and formats


def test_tables_of_which_nothing_joins_are_refused(folder):
    log(folder, [CLICK.replace(",a,", ",A-1,")])
    with pytest.raises(DataError, match=r'no item_id .* is in product_features: .* "A-9", .* "a"'):
        staged(folder)


def test_an_optional_table_may_be_missing_but_not_empty(folder):
    log(folder, [CLICK])
    assert not staged(folder).has("users")
    assert staged(folder).columns("users") == []
    put(folder, "users.csv", ["user_id,age"])
    with pytest.raises(DataError, match="users.csv: there is a header but no row; .* remove it"):
        staged(folder)


def test_the_same_tables_come_from_every_format(folder, tmp_path):
    rows = [CLICK, "v,b,2025-01-02 11:30:00.5+08:00,cart", "007,b,2025-01-02,impression", CLICK]
    lines = [f"{row},{k}.5,x{k},{k}" for k, row in enumerate(rows)]
    lines[3] = lines[0]
    log(folder, lines, header=f"{HEADER},price,note,rank")
    plain = staged(folder)
    text = (folder / "user_behavior.csv").read_bytes()
    (folder / "user_behavior.csv").unlink()
    (folder / "user_behavior.csv.gz").write_bytes(gzip.compress(text))
    packed = staged(folder)
    frame = pd.read_csv(folder / "user_behavior.csv.gz", dtype={"user_id": "str"})
    (folder / "user_behavior.csv.gz").unlink()
    frame.to_parquet(folder / "user_behavior.parquet")
    for other in (packed, staged(folder)):
        pd.testing.assert_frame_equal(rows_of(other), rows_of(plain))
        assert counted(other) == counted(plain) == {COPY: 1}


def test_native_types_of_parquet_come_out_as_text_of_the_same_values_does(folder):
    frame = pd.DataFrame(
        {
            "user_id": pd.array([2**53 + 1, 7, 7], dtype="Int64"),
            "item_id": pd.Categorical(["a", "b", "a"]),
            "event_time": pd.to_datetime(["2025-01-01", "2025-01-02", "2025-01-03"]),
            "event_type": [b"click", b"cart", b"click"],
            "price": [1.5, np.nan, 2.0],
            "flag": [True, False, True],
        }
    )
    frame.to_parquet(folder / "user_behavior.parquet")
    native = staged(folder)
    (folder / "user_behavior.parquet").unlink()
    text = frame.assign(event_type=frame.event_type.str.decode("ascii"))
    text.to_csv(folder / "user_behavior.csv", index=False)
    pd.testing.assert_frame_equal(rows_of(native), rows_of(staged(folder)))
    assert rows_of(native).user_id.tolist() == [str(2**53 + 1), "7", "7"]


# The cache


def built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often the tables are put together when they are asked for."""
    calls, real = [], sources.stage
    with monkeypatch.context() as patch:
        patch.setattr(sources, "stage", lambda *a, **k: calls.append(1) or real(*a, **k))
        staged(folder)
    return len(calls)


def test_tables_are_put_together_once_for_each_state_of_files_and_schema(folder, monkeypatch, kept):
    log(folder, [CLICK])
    say(folder, "task: {cutoff: day}")
    assert [built(folder, monkeypatch) for _ in range(3)] == [1, 0, 0]
    log(folder, [CLICK, CLICK])
    assert [built(folder, monkeypatch) for _ in range(2)] == [1, 0]
    say(folder, "task: {cutoff: week}")
    assert [built(folder, monkeypatch) for _ in range(2)] == [1, 0]
    assert sorted(p.name for p in kept.iterdir() if p.name.startswith(".")) == []


def test_a_damaged_copy_in_the_cache_is_made_again(folder, monkeypatch, kept):
    log(folder, [CLICK])
    staged(folder)
    file = next(kept.glob("*/user_behavior.parquet"))
    file.write_bytes(file.read_bytes()[:-9])
    assert built(folder, monkeypatch) == 1
    assert rows_of(staged(folder)).user_id.tolist() == ["u"]


def test_two_processes_at_once_both_get_whole_tables(folder, kept):
    log(folder, [f"u{k},a,2025-01-01T10:00Z,click" for k in range(2000)])
    code = (
        "import sys; from helpers.data.sources import open_source;"
        "print(len(open_source('csv', path=sys.argv[1]).user_behavior))"
    )
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", code, str(folder)]
    both = [
        subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=PATIENCE_S) for process in both]
    assert [(out.decode().strip(), err.decode()) for out, err in told] == [("2000", "")] * 2
    assert len(list(kept.iterdir())) == 1


def test_where_the_cache_cannot_be_written_the_tables_are_there_all_the_same(
    folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "a file" / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    monkeypatch.setattr(cache, "_warned", False)
    (tmp_path / "temp").mkdir()
    log(folder, [CLICK])
    assert rows_of(staged(folder)).user_id.tolist() == ["u"]
    assert "The cache folder cannot be written" in capsys.readouterr().err
    assert len(open_source("csv", path=folder).user_behavior) == 1
    assert list((tmp_path / "temp").iterdir()) == []  # it goes with the tables


@pytest.mark.parametrize(
    ("rows", "products"),
    [([CLICK.replace("click", "?")], "a"), ([CLICK], "z"), ([CLICK], "")],
    ids=["a bad log", "nothing joins", "no products"],
)
def test_what_is_refused_leaves_nothing_behind(folder, kept, rows, products):
    log(folder, rows)
    put(folder, "product_features.csv", ["item_id", *products])
    with pytest.raises(DataError):
        staged(folder)
    assert list(kept.iterdir()) == []


def test_a_full_disk_is_said_in_one_sentence_and_leaves_nothing(folder, kept, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    log(folder, [CLICK])
    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    message = "^mine: the tables cannot be kept on this disk: No space left on device. Free some"
    with pytest.raises(DataError, match=message):
        staged(folder)
    assert list(kept.iterdir()) == []


def test_a_folder_without_tables_is_refused(tmp_path):
    for text in (None, "{"):
        if text:
            (tmp_path / "staged.json").write_text(text)
        with pytest.raises(DataError, match="holds no copy of tables"):
            open_staged(tmp_path)


def test_two_readers_of_one_copy_do_not_share_a_place_to_spill(folder):
    log(folder, [CLICK])
    found = staged(folder)
    with found.database() as one, found.database() as two:
        places = [
            c.execute("SELECT current_setting('temp_directory')").fetchone()[0] for c in (one, two)
        ]
        assert places[0] != places[1]
        assert not any(Path(place).is_relative_to(found.folder) for place in places)
        assert one.execute("SELECT count(*) FROM user_behavior").fetchone() == (1,)
    assert json.loads((found.folder / "staged.json").read_text())["dropped"] == []


# Drawing


def test_users_who_are_drawn_have_the_features_that_they_have_without_drawing(tmp_path):
    folder = lay_out(tmp_path / "mine")
    text = (folder / "schema.yaml").read_text()
    everyone = open_source("csv", path=folder)
    schema(f"{text}max_users: 2\n")(folder)
    drawn = open_source("csv", path=folder)
    users = set(drawn.user_behavior.user_id)
    assert len(users) == 2 < everyone.user_behavior.user_id.nunique()
    assert set(drawn.users.user_id) == users
    assert len(drawn.product_features) == len(everyone.product_features)
    assert any(note.startswith("Drawn: 2 of 4 users") for note in drawn.notes)
    (table, raw), (other_table, other_raw) = raw_view(everyone), raw_view(drawn)
    mine = table.user_id.isin(users).to_numpy()
    keys = ["user_id", "item_id", "event_time"]
    rows, other_rows = (
        pd.concat([t[keys].reset_index(drop=True), r.reset_index(drop=True)], axis=1)
        .pipe(lambda f: f.loc[:, ~f.columns.duplicated()])
        .sort_values(keys, ignore_index=True)
        for t, r in ((table[mine], raw[mine]), (other_table, other_raw))
    )
    pd.testing.assert_frame_equal(other_rows, rows)


def test_samples_have_the_labels_that_the_log_states(tmp_path):
    folder = lay_out(tmp_path / "mine")
    header = "user_id,item_id,event_time,label,list_id"
    seen = [row for row in ROWS if row[3] == "impression"]
    taken = {(row[4], row[1]) for row in ROWS if row[3] == "click"}
    stated = {(row[4], row[1]): int((row[4], row[1]) in taken) for row in seen}
    rows = [",".join([*row[:3], str(stated[row[4], row[1]]), row[4]]) for row in seen]
    log(folder, rows, header=header)
    samples = make_samples(open_source("csv", path=folder)).table
    assert len(samples) > 100
    found = dict(
        zip(zip(samples.list_id, samples.item_id, strict=True), samples.label, strict=True)
    )
    assert found == {key: stated[key] for key in found}
    assert len(found) == len(samples)


def test_memory_does_not_grow_with_the_number_of_pieces(tmp_path):
    """Each piece is about a megabyte, and none is kept when the next one comes."""
    held = []

    def stream(part: StoredTable) -> Iterator[Chunk]:
        if part.table == "product_features":
            yield Chunk(pd.DataFrame({"item_id": ["a"]}, dtype="str"), "products")
        for piece in range(20 if part.table == "user_behavior" else 0):
            held.append(pa.total_allocated_bytes())
            row = dict(zip(HEADER.split(","), CLICK.split(","), strict=True))
            notes = [f"{piece} {k} {'x' * 1000}" for k in range(1000)]
            yield Chunk(pd.DataFrame(row | {"note": notes}).astype("str"), "log", 1000 * piece)

    found = stage(read_schema_file(None), stream, tmp_path / "t", where="here", fingerprint="f")
    assert found.facts["tables"]["user_behavior"]["kept"] == 20_000
    assert max(held[10:]) < max(held[:5]) + 4_000_000


def test_orders_beside_labelled_exposures_stay_orders(folder):
    log(folder, ["u,a,2025-01-01,1"], header="who,what,when,clicked", name="seen.csv")
    log(folder, ["u,b,2025-01-01"], header="who,what,when", name="orders.csv")
    seen = section("file: seen.csv", FOREIGN.replace("}", ", label: clicked}"))
    orders = section("file: orders.csv", PURCHASE, FOREIGN)
    say(folder, "user_behavior:", f"- {seen}", f"- {orders}")
    kinds = rows_of(staged(folder))[["item_id", "event_type"]].to_numpy().tolist()
    assert sorted(kinds) == [["a", "click"], ["a", "impression"], ["b", "purchase"]]


def test_text_with_underscores_between_digits_is_no_number(folder):
    log(folder, [f"{CLICK},1_2", f"{CLICK},12"], header=f"{HEADER},size")
    assert rows_of(staged(folder))["size"].tolist() == ["1_2", "12"]


def test_where_the_disk_fills_up_behind_the_tables_they_are_there_all_the_same(
    folder, kept, monkeypatch, capsys
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_atomically", full)
    monkeypatch.setattr(cache, "_warned", False)
    log(folder, [CLICK])
    found = staged(folder)
    assert rows_of(found).user_id.tolist() == ["u"]
    assert "cannot be written (No space left on device)" in capsys.readouterr().err
    del found
    assert list(kept.iterdir()) == []
