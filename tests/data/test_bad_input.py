"""Broken tables, from the folder to the samples: a clear sentence or a right answer."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken import (
    HEADER,
    LOG,
    ROWS,
    SPLIT,
    USERS,
    Break,
    alter,
    assert_clear,
    both,
    columns,
    lay_out,
    log_text,
    put,
    refused,
    replace,
    schema,
    set_line,
    written,
)
from waiting import PATIENCE_S

from helpers.base.paths import REPO
from helpers.data.files import encodings
from helpers.data.sources import Tables, open_source
from helpers.samples import Samples, make_samples

LINE_9 = ",".join(ROWS[7])  # header and seven rows stand before
TASK = f"task:\n  split: {SPLIT}\n"
PRODUCTS = "product_features.csv"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "mine")


def made(folder: Path) -> tuple[Tables, Samples]:
    tables = open_source("csv", path=folder)
    return tables, make_samples(tables)


def test_the_folder_that_is_broken_below_is_in_order(folder):
    tables, samples = made(folder)
    assert tables.dropped.empty
    assert tables.notes == []
    assert len(tables.user_behavior) == len(ROWS)
    assert samples.table.label.mean() == 1 / 3


def line(number: int, **values: str) -> Break:
    """Return a change of some values of the row in one line."""
    row = dict(zip(HEADER, ROWS[number - 2], strict=True)) | values
    return set_line(number, ",".join(row.values()))


def value(name: str, new: str, every: int = 1) -> Break:
    """Return a change of every so-manieth value of a column."""
    return columns(lambda row: row.update({name: new}), every=every)


def remove(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


def rename(old: str, new: str) -> Break:
    return lambda folder: (folder / old).rename(folder / new)


def mapped(lines: str) -> Break:
    """Return a change that maps the log by these lines."""
    return schema("user_behavior:\n" + lines + TASK)


def same(found: object, want: object) -> None:
    assert found == want


def unknown(tables: Tables, name: str, row: int) -> None:
    assert tables.user_behavior[name].isna().tolist() == [i == row for i in range(len(ROWS))]


def swapped(time: str) -> str:
    """Return a time with the day first."""
    return f"{time[8:10]}/{time[5:7]}/{time[:4]} {time[11:16]}"


_NO_TIME = "event_time_is_not_a_time_(ISO_8601)"


def log_frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=HEADER).astype({"price": float})


def parquet(change: Callable[[pa.Table], pa.Table] = lambda table: table) -> Break:
    """Return a change that writes the log as Parquet."""

    def apply(folder: Path) -> None:
        (folder / LOG).unlink()
        table = pa.Table.from_pandas(log_frame(), preserve_index=False)
        pq.write_table(change(table), folder / "user_behavior.parquet")

    return apply


def cut(name: str, share: float) -> Break:
    """Return a change that leaves the first part of a file."""

    def apply(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return apply


def packed(folder: Path) -> None:
    (folder / f"{LOG}.gz").write_bytes(gzip.compress((folder / LOG).read_bytes()))
    (folder / LOG).unlink()


def link_to_itself(folder: Path) -> None:
    (folder / LOG).unlink()
    (folder / LOG).symlink_to(folder / LOG)


def link_to_nothing(folder: Path) -> None:
    (folder / LOG).unlink()
    (folder / LOG).symlink_to(folder / "gone.csv")


def pipe(folder: Path) -> None:
    (folder / LOG).unlink()
    os.mkfifo(folder / LOG)


def directory(folder: Path) -> None:
    (folder / LOG).unlink()
    (folder / LOG).mkdir()


def nested(table: pa.Table) -> pa.Table:
    lists = pa.array([[1, 2]] * len(table))
    return table.set_column(1, "item_id", lists)


def with_line_9(words: str, encoding: str) -> Break:
    """Return a change of one line, with the whole file in some encoding."""
    text = log_text().replace(LINE_9, LINE_9.replace("shoes", words))
    return put(text.encode(encoding))


MAPPING = (
    "  columns: {user_id: user_id, item_id: item_id, event_time: event_time, "
    "event_type: event_type}\n"
)

#: What is broken, and what the sentence must say: where, what, and what to do.
REFUSED: dict[str, tuple[Break, list[str]]] = {
    # --- the folder and its files
    "no log": (remove(LOG), ["mine", "no user_behavior.csv", "the folder has", "file:"]),
    "no products": (remove(PRODUCTS), ["mine", "no product_features.csv", "file:"]),
    "a log of another name": (
        rename(LOG, "user_behaviour.csv"),
        ["mine", 'Did you mean "user_behaviour.csv"?'],
    ),
    "two files for one table": (
        both(packed, put(log_text())),
        ["user_behavior.csv and user_behavior.csv.gz", "keep one"],
    ),
    "a spreadsheet": (
        both(mapped("  file: log.xlsx\n"), put(b"PK\x03\x04", "log.xlsx")),
        ["log.xlsx", "save it as CSV"],
    ),
    "a spreadsheet that is called CSV": (
        put(b"PK\x03\x04" + bytes(200)),
        [LOG, "spreadsheet", "save it as CSV"],
    ),
    "Parquet that is called CSV": (put(b"PAR1" + bytes(200)), [LOG, ".parquet"]),
    "a packed file that is not called so": (
        put(gzip.compress(b"a,b\n", mtime=0)),
        [LOG, ".csv.gz"],
    ),
    "a pattern that fits no file": (
        mapped('  file: "log-*.csv"\n'),
        ["mine", "log-*.csv", "user_behavior.csv"],
    ),
    "a stated file that is not there": (
        mapped("  file: user_behaviour.csv\n"),
        ["mine", "user_behaviour.csv", 'Did you mean "user_behavior.csv"?'],
    ),
    "a file outside of the folder": (
        mapped("  file: ../log.csv\n"),
        ["schema.yaml, line 2", "inside the folder"],
    ),
    "a directory": (directory, [LOG, "folder", "name the files in it"]),
    "a pipe": (pipe, [LOG, "pipe", "save the table in a file"]),
    "a link to itself": (link_to_itself, [LOG, "link leads back to itself"]),
    "a link to nothing": (link_to_nothing, [LOG, "link leads to no file"]),
    "an empty file": (put(b""), [LOG, "is empty", "header and rows"]),
    "blank lines only": (put("\n\n \n"), [LOG, "is empty", "header and rows"]),
    "a header only": (put(log_text().split("\n")[0]), [LOG, "header but no row", "fill"]),
    "an empty table of users": (
        put("user_id,age\n", "users.csv"),
        ["users.csv", "no row", "remove it"],
    ),
    "gzip cut short": (both(packed, cut(f"{LOG}.gz", 0.7)), [f"{LOG}.gz", "Copy it again"]),
    "no gzip": (
        both(remove(LOG), put(log_text(), f"{LOG}.gz")),
        [f"{LOG}.gz", "cannot be read", "Copy it again"],
    ),
    "Parquet cut short": (
        both(parquet(), cut("user_behavior.parquet", 0.6)),
        ["user_behavior.parquet", "cannot be read", "Copy it again"],
    ),
    "an empty Parquet file": (
        both(parquet(), cut("user_behavior.parquet", 0)),
        ["user_behavior.parquet", "cannot be read"],
    ),
    "Parquet without rows": (
        parquet(lambda table: table.slice(0, 0)),
        ["user_behavior.parquet", "no row", "fill"],
    ),
    "Parquet with nested columns": (
        parquet(nested),
        ["user_behavior.parquet", '"item_id"', "list", "columns of their own"],
    ),
    "Parquet with ids that lost digits": (
        parquet(lambda t: t.set_column(1, "item_id", pa.array(np.full(len(t), 2.0**53)))),
        ["user_behavior.parquet", "item_id", "write them as text"],
    ),
    # --- letters
    "UTF-16 with its mark": (
        put(log_text().encode("utf-16")),
        [LOG, "UTF-16", "encoding: utf-16"],
    ),
    "UTF-16 without its mark": (
        put(log_text().encode("utf-16-le")),
        [LOG, "line 1", "NUL", "encoding: utf-16"],
    ),
    "cp1252": (
        with_line_9("größe “à la mode”", "cp1252"),
        [LOG, "line 9", "not UTF-8", "encoding: cp1252"],
    ),
    "gb18030": (
        with_line_9("红色的连衣裙 数量很大的商品", "gb18030"),
        [LOG, "line 9", "not UTF-8", "encoding: gb18030"],
    ),
    "two encodings in one file": (
        put(log_text().encode() + b"naive, na\xc3\xafve\n" + "crème brûlée\n".encode("latin-1")),
        [LOG, f"line {len(ROWS) + 3}", "not UTF-8", "save"],
    ),
    "a stated encoding that does not fit": (
        both(mapped("  encoding: gb18030\n"), put(log_text().encode() + b"\xff\xff")),
        [LOG, "not gb18030", "save the file as UTF-8"],
    ),
    "a stated encoding that is none": (
        mapped("  encoding: uft-8\n"),
        ["schema.yaml, line 2", "encoding", 'Did you mean "utf-8"?'],
    ),
    "a NUL byte": (line(9, price="2\0"), [LOG, "line 9", "NUL", "save it again"]),
    # --- delimiters, quotes, rows
    "semicolons": (put(log_text(delimiter=";")), [LOG, "separated by ';'", 'delimiter: ";"']),
    "tabs": (put(log_text(delimiter="\t")), [LOG, "separated by", "delimiter: tab"]),
    "a wrong delimiter in schema.yaml": (
        mapped('  delimiter: "|"\n'),
        [LOG, "separated by ','", 'delimiter: ","'],
    ),
    "no delimiter at all": (
        put("user_id\n" + "\n".join(row[0] for row in ROWS)),
        [LOG, '"item_id" is missing', "it has user_id"],
    ),
    "a delimiter of two characters": (
        mapped('  delimiter: "||"\n'),
        ["schema.yaml, line 2", "delimiter", "one character"],
    ),
    "a quote that never closes": (
        line(9, query='"canary shoes'),
        [LOG, "line 9", "never closes", "close it"],
    ),
    "a quote that closes at the next one": (
        both(line(9, query='"canary shoes'), line(20, query='"canary boots"')),
        [LOG, "line 9", "never closes", "close it"],
    ),
    "a cell of 10 MB": (
        line(9, query="x" * 10_000_000),
        [LOG, "line 9", "1 MB", "shorten"],
    ),
    "a cell of 2 MB": (
        line(9, query="x" * 2_000_000),
        [LOG, "line 9", '"query"', "2,000,000 bytes", "shorten"],
    ),
    "half of the rows short": (
        alter(lambda t: "\n".join(r.rsplit(",", i % 2)[0] for i, r in enumerate(t.split("\n")))),
        [LOG, "6 values where the header has 7", "line 2", "quote values"],
    ),
    "all rows long": (
        alter(lambda t: t.replace("\n", ",1,2\n").replace(",1,2\n", "\n", 1)),
        [LOG, "9 values where the header has 7", "line 2"],
    ),
    "a bad row where none is allowed": (
        both(schema(f"on_bad_rows: stop\n{TASK}"), set_line(9, "a,b")),
        [LOG, "2 values where the header has 7", "line 9", "on_bad_rows: stop"],
    ),
    # --- names of columns
    "no header": (
        alter(lambda text: text.split("\n", 1)[1]),
        [LOG, '"user_id" is missing', "first line", "names"],
    ),
    "two columns of one name": (
        replace("list_id", "user_id", 1),
        [LOG, '"user_id" appears twice', "rename or remove"],
    ),
    "two columns whose names differ in case": (
        replace("list_id", "Price", 1),
        [LOG, '"price"', '"Price"', "rename"],
    ),
    "a name that samples use in another case": (
        replace("list_id", "Day", 1),
        [LOG, '"Day"', "rename or remove"],
    ),
    "columns without a name": (
        replace("list_id,price", ",", 1),
        [LOG, "2 columns have no name", "name them"],
    ),
    "a column of another name": (
        replace("item_id", "itemid", 1),
        [LOG, '"item_id" is missing', 'Did you mean "itemid"?'],
    ),
    "a name that samples use": (
        replace("list_id", "cutoff", 1),
        [LOG, '"cutoff"', "rename or remove"],
    ),
    "5,000 columns and not the right ones": (
        put(",".join(f"column {i}" for i in range(5000)) + "\n" + "," * 4999 + "\n"),
        [LOG, '"user_id" is missing', "column 0"],
    ),
    "a very long header": (
        replace("user_id", "user" * 50_000, 1),
        [LOG, "the header cannot be read", "correct line 1"],
    ),
    "a long header": (
        replace("user_id", "user" * 10_000, 1),
        [LOG, '"user_id" is missing', "item_id"],
    ),
    "a mapped column that is not there": (
        mapped(MAPPING.replace("item_id: item_id", "item_id: itemid")),
        [LOG, "schema.yaml, line 1", '"itemid" is missing', 'Did you mean "item_id"?'],
    ),
    "a further column that is not there": (
        mapped(MAPPING + "  extra: [Querry]\n"),
        [LOG, "schema.yaml", '"Querry" is missing', "query"],
    ),
    "a rule on a column that is not there": (
        mapped("  leave_out: [{column: Price, below: 1}]\n"),
        [LOG, "schema.yaml", '"Price" is missing', 'Did you mean "price"?'],
    ),
    "files of different columns": (
        both(mapped("  file: [user_behavior.csv, more.csv]\n"), put("user_id\nx\n", "more.csv")),
        ["more.csv", '"item_id" is missing', "same columns"],
    ),
    # --- schema.yaml
    "a column mapped twice": (
        mapped(MAPPING.replace("item_id: item_id", "item_id: user_id")),
        ["schema.yaml, line 2", "mapped twice", "keep one"],
    ),
    "an unknown key of the file": (
        schema(f"max_usrs: 5\n{TASK}"),
        ["schema.yaml, line 1", "max_usrs", 'Did you mean "max_users"?'],
    ),
    "an unknown key of a table": (
        mapped("  colums: {}\n"),
        ["schema.yaml, line 2", "colums", 'Did you mean "columns"?'],
    ),
    "an unknown column under columns": (
        mapped(MAPPING.replace("item_id: item_id", "itm_id: item_id")),
        ["schema.yaml, line 2", "itm_id", "item_id: itm_id"],
    ),
    "an unknown key of the task": (
        schema("task: {zone: UTC}\n"),
        ["schema.yaml, line 1", "zone", 'Did you mean "time_zone"?'],
    ),
    "an unknown key of the label": (
        schema("task:\n  label: {match: [item_id]}\n"),
        ["schema.yaml, line 2", "match", 'Did you mean "match_on"?'],
    ),
    "an unknown key of the negatives": (
        schema("task:\n  negatives: {per_positve: 4}\n"),
        ["schema.yaml, line 2", 'Did you mean "per_positive"?'],
    ),
    "an unknown key of the split": (
        schema("task:\n  split: {test: 2025-01-01}\n"),
        ["schema.yaml, line 2", 'Did you mean "test_from"?'],
    ),
    "an unknown key of a rule": (
        mapped("  leave_out: [{column: price, beneath: 1}]\n"),
        ["schema.yaml, line 2", "beneath", "below"],
    ),
    "a tab in YAML": (
        schema("task:\n\tcutoff: day\n"),
        ["schema.yaml, line 2", "Indent with blanks, not with tabs"],
    ),
    "a key of YAML twice": (
        schema("task: {cutoff: day}\ntask: {cutoff: week}\n"),
        ["schema.yaml, line 2", "twice, first in line 1", "keep one"],
    ),
    "an open bracket in YAML": (
        schema("task: {cutoff: day\n"),
        ["schema.yaml, line 2", "not readable YAML", "brackets"],
    ),
    "a list instead of YAML sections": (schema("- a\n"), ["schema.yaml, line 1", "a list"]),
    "a text instead of YAML": (schema("hello"), ["schema.yaml, line 1", '"hello"']),
    "a reference in YAML": (
        schema("task: &a {cutoff: day}\n"),
        ["schema.yaml, line 1", "anchors", "quotes"],
    ),
    "YAML in UTF-16": (put(TASK.encode("utf-16"), "schema.yaml"), ["schema.yaml", "UTF-8"]),
    "a data file as YAML": (schema("a" * 2_000_000), ["schema.yaml", "larger than 1 MB"]),
    "the other ending": (rename("schema.yaml", "schema.yml"), ["mine", "rename schema.yml"]),
    "an unknown time zone": (
        schema("task: {time_zone: Europe/Londn}\n"),
        ["schema.yaml, line 1", "time_zone", 'Did you mean "Europe/London"?'],
    ),
    "split dates in the wrong order": (
        schema(f"task:\n  split: {SPLIT.replace('2025-01-12', '2025-01-16')}\n"),
        ["schema.yaml, line 2", "test_from", "after valid_from, which is 2025-01-16"],
    ),
    "one user by max_users": (schema("max_users: 1\n"), ["schema.yaml, line 1", "from 2 to"]),
    "a window without a unit": (
        schema("task:\n  label: {within: 5}\n"),
        ["schema.yaml, line 2", "1h"],
    ),
    "a format of times that names no year": (
        mapped('  time_format: "%d/%m %H:%M"\n'),
        ["schema.yaml, line 2", "year"],
    ),
    "a regular expression that is none": (
        mapped('  leave_out: [{column: price, matches: "("}]\n'),
        ["schema.yaml, line 2", "regular expression"],
    ),
    # --- values
    "times that are none": (
        value("event_time", "yesterday"),
        [LOG, "event_time is not a time", "line 2 'aaaaaaaaa'", f"{len(ROWS)} rows"],
    ),
    "times of zeros": (
        value("event_time", "0000-00-00 00:00:00", 2),
        [LOG, "event_time is not a time", "line 2 '0000-00-00 00:00:00'", "leave_out"],
    ),
    "times to come": (
        value("event_time", "2099-01-01", 3),
        [LOG, "event_time is in the future", "line 2 '2099-01-01'"],
    ),
    "seconds since 1970": (
        value("event_time", "1735725600"),
        [LOG, "line 2 '1735725600'", "time_format: unix s"],
    ),
    "milliseconds read as seconds": (
        both(mapped("  time_format: unix s\n"), value("event_time", "1735725600000")),
        [LOG, "line 2 '1735725600000'", "time_format: unix ms"],
    ),
    "day and month swapped in the format": (
        both(mapped('  time_format: "%m/%d/%Y"\n'), value("event_time", "25/01/2025")),
        [LOG, "line 2 '25/01/2025'", 'time_format: "%d/%m/%Y"'],
    ),
    "events of other names": (
        alter(lambda t: t.replace("impression", "view").replace("click", "addtocart")),
        [LOG, "event_type is not one of", "values: {event_type: {view: impression, addtocart"],
    ),
    "ids that are blanks only": (
        value("user_id", "  "),
        [LOG, "user_id is empty", "the first in line 2", "leave_out"],
    ),
    "a third of the prices negative": (
        value("price", "-1", 3),
        [LOG, "price is below 0", "line 2 '-1'", "max_bad_share"],
    ),
    "a third of the prices NaN": (
        value("price", "n/a", 3),
        [LOG, "price is not a number", "line 2 'n/a'", "max_bad_share"],
    ),
    "a third of the prices infinite": (
        value("price", "inf", 3),
        [LOG, "price is not a number", "line 2 'inf'"],
    ),
    "decimal commas read as points": (
        value("price", "2,5"),
        [LOG, "price is not a number", "'2,5'"],
    ),
    "labels of 2": (
        columns(lambda row: row.update(label="2")),
        [LOG, "label is not 0 or 1", "line 2 '2'"],
    ),
    "events of one name": (
        columns(lambda row: row.update(event_id="1")),
        [LOG, "event_id was seen before", "line 3", "leave the column out"],
    ),
    "products of one name": (
        replace("b,thing", "a,thing", name=PRODUCTS),
        [PRODUCTS, "item_id was seen before", "line 3"],
    ),
    # --- what cannot become samples
    "no product joins": (
        alter(
            lambda t: t.replace("\na,", "\nA,").replace("\nb,", "\nB,").replace("\nc,", "\nC,"),
            PRODUCTS,
        ),
        ["mine", "no item_id of user_behavior is in product_features", 'like "a"', 'like "A"'],
    ),
    "no user joins": (
        replace("canary-", "Canary/", name="users.csv"),
        ["mine", "no user_id of user_behavior is in users", "in the same way"],
    ),
    "one row": (
        put(written([HEADER, ROWS[0]])),
        ["user_behavior", "1 days, 2025-01-01 to 2025-01-01,", "at least", "longer"],
    ),
    "one user": (
        put(written([HEADER, *(r for r in ROWS if r[0] == USERS[0])])),
        ["user_behavior", "one user", "take more"],
    ),
    "one class in a role": (
        put(written([HEADER, *(r for r in ROWS if r[3] != "click" or r[2] < "2025-01-15")])),
        ["user_behavior", "role test", "only the label 0", "both classes"],
    ),
    "no success": (
        put(written([HEADER, *(r for r in ROWS if r[3] != "click")])),
        ["user_behavior", "no event of type click", "task.label.positive"],
    ),
    "successes that match nothing": (
        both(
            schema(f"task:\n  label: {{match_on: [user_id, list_id]}}\n  split: {SPLIT}\n"),
            columns(lambda row: row.update(list_id=row["event_type"])),
        ),
        ["user_behavior", "only the label 0", "both classes"],
    ),
    "no impression": (
        put(written([HEADER, *(r for r in ROWS if r[3] == "click")])),
        ["user_behavior", "no event of type impression", "negatives"],
    ),
    "a split outside of the log": (
        schema(
            "task:\n  split: {attribution_from: 2020-01-01, valid_from: 2020-01-05, "
            "test_from: 2020-01-09}\n"
        ),
        ["schema.yaml", "2025-01-01 to 2025-01-20", "2020-01-01, 2020-01-05, 2020-01-09"],
    ),
    "a period outside of the log": (
        schema("task:\n  split: {train_from: 2026-01-01}\n"),
        ["user_behavior", "no exposure lies in", "2025-01-01 to 2025-01-20", "other dates"],
    ),
    "labels, and products to be drawn": (
        both(
            schema(f"task:\n  negatives: {{per_positive: 2}}\n  split: {SPLIT}\n"),
            columns(lambda row: row.update(label="1", event_type="impression")),
        ),
        [LOG, "by its label", "remove negatives from the task"],
    ),
    "a window longer than the log": (
        schema(f"task:\n  label: {{within: 60D}}\n  split: {SPLIT}\n"),
        ["user_behavior", "role", "no exposure", "other dates"],
    ),
    "a log too short for weeks": (
        schema("task: {cutoff: week}\n"),
        ["user_behavior", "4 weeks", "at least", "cutoff: day"],
    ),
    "a rule that leaves nothing": (
        mapped("  leave_out: [{column: price, above: 1}]\n"),
        [LOG, "leave_out", f"all {len(ROWS)} rows", "price above 1"],
    ),
    "match_on a column that is not there": (
        schema(f"task:\n  label: {{match_on: [user_id, session_id]}}\n  split: {SPLIT}\n"),
        ["user_behavior", 'matches on "session_id"', "impressions do not have"],
    ),
}

KEPT = {n: [dict(zip(HEADER, r, strict=True))[n] for r in ROWS] for n in HEADER}


def same_rows(tables: Tables, gone: Collection[int] = ()) -> None:
    """Check that all rows came through in their order, but for some."""
    log = tables.user_behavior
    keep = [i for i in range(len(ROWS)) if i not in gone]
    for name in ("user_id", "item_id", "event_type"):
        assert log[name].tolist() == [KEPT[name][i] for i in keep]
    times = pd.to_datetime(pd.Series([KEPT["event_time"][i] for i in keep]), utc=True)
    assert (log.event_time == times).all()


def dropped(tables: Tables) -> dict[str, int]:
    return dict(zip(tables.dropped.reason, tables.dropped.rows, strict=True))


def loses(gone: Collection[int], **reasons: int) -> Callable[[Tables, Samples], None]:
    """Return a check that these rows are gone, each counted under its reason."""

    def check(tables: Tables, samples: Samples) -> None:
        same_rows(tables, gone)
        found = dropped(tables)
        assert sum(found.values()) == len(gone)
        assert {reason.replace(" ", "_"): rows for reason, rows in found.items()} == reasons

    return check


def unchanged(tables: Tables, samples: Samples) -> None:
    same_rows(tables)
    assert tables.dropped.empty
    assert samples.table.label.mean() == 1 / 3


def holds(name: str, want: str, row: int = 7) -> Callable[[Tables, Samples], None]:
    """Return a check that a value came through, and all rows."""

    def check(tables: Tables, samples: Samples) -> None:
        unchanged(tables, samples)
        assert tables.user_behavior[name].iloc[row] == want

    return check


def noted(*words: str) -> Callable[[Tables, Samples], None]:
    """Return a check that the notes say these words, and that all rows are there."""

    def check(tables: Tables, samples: Samples) -> None:
        for word in words:
            assert word in " ".join(samples.notes)

    return check


def clocks(name: str, want: list[str]) -> Callable[[Tables, Samples], None]:
    """Return a check of the first times, in UTC."""

    def check(tables: Tables, samples: Samples) -> None:
        found = tables.user_behavior[name].head(len(want))
        assert [f"{time:%Y-%m-%d %H:%M}" for time in found] == want

    return check


def first_times(*texts: str, lines: str = "") -> Break:
    """Return a change of the first rows' times, with some lines on the log."""

    def apply(folder: Path) -> None:
        rows = [list(row) for row in ROWS]
        for row, text in zip(rows, texts, strict=False):
            row[2] = text
        put(written([HEADER, *rows]))(folder)
        schema(f"user_behavior:\n{lines}{TASK}" if lines else TASK)(folder)

    return apply


def wide(folder: Path) -> None:
    names = [f"further {i}" for i in range(1000)]
    row = [str(i) for i in range(1000)]
    rows = [[*HEADER, *names], *([*row_, *row] for row_ in ROWS)]
    put(written(rows))(folder)


def was_wide(tables: Tables, samples: Samples) -> None:
    unchanged(tables, samples)
    assert tables.user_behavior["further 999"].eq(999).all()


#: What is odd, and what must hold of the tables and the samples.
TAKEN: dict[str, tuple[Break, Callable[[Tables, Samples], None]]] = {
    "the mark of UTF-8": (put("\ufeff" + log_text()), unchanged),
    "UTF-16 that is stated": (
        both(mapped("  encoding: utf-16\n"), put(log_text().encode("utf-16"))),
        unchanged,
    ),
    "gb18030 that is stated": (
        both(mapped("  encoding: gb18030\n"), with_line_9("红色的连衣裙", "gb18030")),
        holds("query", "canary 红色的连衣裙 1"),
    ),
    "carriage returns": (alter(lambda text: text.replace("\n", "\r\n")), unchanged),
    "every value in quotes": (put(log_text(quoting=1)), unchanged),
    "semicolons that are stated": (
        both(mapped('  delimiter: ";"\n'), put(log_text(delimiter=";"))),
        unchanged,
    ),
    "a stray quote": (line(9, query='5" pipe'), holds("query", '5" pipe')),
    "a formula": (line(9, query="=1+1"), holds("query", "=1+1")),
    "an emoji": (line(9, query="👟🏃‍♀️"), holds("query", "👟🏃‍♀️")),
    "text from right to left": (line(9, query="\u202bנעליים"), holds("query", "\u202bנעליים")),
    "a cell of 900 kB": (line(9, query="x" * 900_000), holds("query", "x" * 900_000)),
    "a short row": (set_line(9, "a,b"), loses([7], has_2_values_where_the_header_has_7_names=1)),
    "a long row": (
        set_line(9, LINE_9 + ",1"),
        loses([7], has_8_values_where_the_header_has_7_names=1),
    ),
    "a time that is none": (line(9, event_time="soon"), loses([7], **{_NO_TIME: 1})),
    "a time of zeros": (line(9, event_time="0000-00-00"), loses([7], **{_NO_TIME: 1})),
    "the 31st of April": (line(9, event_time="2025-04-31"), loses([7], **{_NO_TIME: 1})),
    "a time to come": (
        line(9, event_time="2099-01-01"),
        loses([7], event_time_is_in_the_future=1),
    ),
    "a negative price": (line(9, price="-0.01"), loses([7], price_is_below_0=1)),
    "a NaN price": (line(9, price="NaN"), loses([7], price_is_not_a_number=1)),
    "an infinite price": (line(9, price="-Infinity"), loses([7], price_is_not_a_number=1)),
    "a price that is not known": (
        line(9, price=""),
        lambda tables, samples: (same_rows(tables), unknown(tables, "price", 7)),
    ),
    "an id of blanks": (line(9, user_id="   "), loses([7], user_id_is_empty=1)),
    "a label of 2": (
        both(
            columns(
                lambda row: row.update(
                    label=str(int(row["list_id"][-1] in "02468")), event_type="impression"
                )
            ),
            alter(lambda text: text[:-2] + "2\n"),
        ),
        lambda tables, samples: same(dropped(tables), {"label is not 0 or 1": 1}),
    ),
    "each row twice": (
        alter(lambda text: text + text.split("\n", 1)[1]),
        lambda tables, samples: (
            same_rows(tables),
            same(dropped(tables), {"exact copy of an earlier row": len(ROWS)}),
        ),
    ),
    "an item without a product row": (
        replace("c,thing c,all\n", "", name=PRODUCTS),
        noted("The item_id of 33.44% of the events is not in product_features"),
    ),
    "more users wanted than there are": (schema(f"max_users: 9\n{TASK}"), unchanged),
    "half of the users": (
        schema(f"max_users: 2\n{TASK}"),
        noted("Drawn: 2 of 4 users, with all of their events"),
    ),
    "more negatives than products": (
        schema(f"task:\n  negatives: {{per_positive: 50}}\n  split: {SPLIT}\n"),
        noted("had fewer other products on sale than wanted"),
    ),
    "1,000 further columns": (wide, was_wide),
    "day before month that is stated": (
        both(
            mapped('  time_format: "%d/%m/%Y %H:%M"\n'),
            columns(lambda row: row.update(event_time=swapped(row["event_time"]))),
        ),
        unchanged,
    ),
    "several time zones in one file": (
        first_times(
            "2025-01-01T10:00Z", "2025-01-01T10:00+08:00", "2025-01-01 10:00", "2025-01-01 10:00-05"
        ),
        clocks(
            "event_time",
            ["2025-01-01 10:00", "2025-01-01 02:00", "2025-01-01 10:00", "2025-01-01 15:00"],
        ),
    ),
    "hours that a clock skips and repeats": (
        first_times(
            *("2024-03-31 00:59", "2024-03-31 01:30", "2024-03-31 02:00"),
            *("2024-10-27 00:59", "2024-10-27 01:30", "2024-10-27 02:00"),
            lines="  time_zone: Europe/London\n",
        ),
        clocks(
            "event_time",
            # What was skipped ends at 01:00 in UTC; of the repeated hour the second is meant.
            ["2024-03-31 00:59", "2024-03-31 01:00", "2024-03-31 01:00"]
            + ["2024-10-26 23:59", "2024-10-27 01:30", "2024-10-27 02:00"],
        ),
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_can_be_used_gives_the_right_tables(folder, name):
    change, check = TAKEN[name]
    change(folder)
    tables, samples = made(folder)
    check(tables, samples)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_place_and_remedy(folder, name):
    change, words = REFUSED[name]
    change(folder)
    message = refused(lambda: made(folder))
    for word in words:
        assert word in message


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_file_that_grows_while_it_is_read_is_refused(folder, monkeypatch, ending):
    """Another thread adds a row after each piece that is read."""
    if ending == ".csv.gz":
        packed(folder)
    file = folder / f"user_behavior{ending}"
    fresh = gzip.compress(LINE_9.encode()) if ending == ".csv.gz" else LINE_9.encode()
    raw = encodings._raw

    def grow() -> None:
        with file.open("ab") as stream:
            stream.write(fresh)

    def slowly(*given: object) -> Iterator[bytes]:
        for piece in raw(*given):
            writer = threading.Thread(target=grow)
            writer.start()
            writer.join()
            yield piece

    monkeypatch.setattr(encodings, "_raw", slowly)
    monkeypatch.setattr(encodings, "_FIRST", 500)
    monkeypatch.setattr(encodings, "_PIECE", 500)
    message = refused(lambda: made(folder))
    assert message == f"{file.name}: the file changed while it was read; copy it first."


def test_a_file_that_may_not_be_read_says_so(folder, monkeypatch):
    opened = Path.open

    def refuse(self: Path, *given: object, **facts: object) -> object:
        if self.name == LOG:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *given, **facts)

    monkeypatch.setattr(Path, "open", refuse)
    message = refused(lambda: made(folder))
    assert message.startswith(f"{LOG}: the file cannot be read: ")


#: Of the kinds above, some that a command must refuse as well; each takes seconds.
COMMANDS = (
    *("no log", "an empty file", "gzip cut short", "cp1252", "semicolons"),
    *("a quote that never closes", "no header", "an unknown key of the task"),
    *("times to come", "no user joins"),
)


@pytest.mark.parametrize("name", COMMANDS)
def test_check_ends_with_code_2_and_one_paragraph(folder, name):
    change, words = REFUSED[name]
    change(folder)
    command = [sys.executable, "-m", "helpers", "check", "--source", "csv", "--path", str(folder)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    message = done.stderr.strip()
    assert_clear(message)
    for word in words:
        assert word in message
    assert "canary" not in done.stdout
