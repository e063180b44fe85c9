"""Files as people have them: every format alike, and a clear sentence for each fault."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import assert_equal_samples, background, made

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.data.sources import data_fingerprint, open_source
from helpers.samples import load_samples, make_samples

NAMES = ("user_behavior", "product_features", "users")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a small log of four users, as CSV."""
    log = background()
    log["price"] = 2.5
    log["user_id"] = log.user_id.map({"background 1": "u007", "background 2": "u8"})
    log["item_id"] = log.item_id.map({"a": "7", "b": "007"})
    products = pd.DataFrame({"item_id": ["7", "007"], "title": ["NA", "null"], "category": "None"})
    users = pd.DataFrame({"user_id": ["u007", "u8"], "age": [30, 40]})
    place = tmp_path / "mine"
    place.mkdir()
    for name, frame in zip(NAMES, (log, products, users), strict=True):
        frame.to_csv(place / f"{name}.csv", index=False)
    return place


def opened(folder: Path) -> object:
    return open_source("csv", path=folder)


def edit(folder: Path, change: Callable[[str], str], name: str = "user_behavior.csv") -> None:
    """Change the text of a file."""
    path = folder / name
    path.write_bytes(change(path.read_bytes().decode()).encode())


def set_line(number: int, text: str) -> Callable[[str], str]:
    """Return a change of one line, counted from 1."""

    def change(old: str) -> str:
        lines = old.split("\n")
        lines[number - 1] = text
        return "\n".join(lines)

    return change


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_the_bundled_log_gives_the_same_samples_in_every_format(tmp_path, ending):
    for name in NAMES:
        frame = pd.read_csv(
            DATA / "sample" / f"{name}.csv.gz", keep_default_na=False, na_values=[""]
        )
        target = tmp_path / f"{name}{ending}"
        if ending == ".parquet":
            frame.to_parquet(target)
        else:
            frame.to_csv(target, index=False)
    shutil.copy(DATA / "sample" / "schema.yaml", tmp_path)
    samples = make_samples(opened(tmp_path))
    assert_equal_samples(samples, made("sample"))
    assert samples.source == "csv"
    assert samples.truth is None


def test_a_copy_of_the_bundled_files_is_not_taken_for_the_bundled_log(tmp_path, monkeypatch):
    """Both have one fingerprint; the cache must tell them apart."""
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    copy = shutil.copytree(DATA / "sample", tmp_path / "copy")
    bundled, mine = load_samples("sample"), load_samples("csv", path=copy)
    assert (bundled.source, mine.source) == ("sample", "csv")
    assert bundled.truth is not None
    assert mine.truth is None
    assert_equal_samples(bundled, mine)
    assert any("Not read: truth.csv.gz" in note for note in mine.notes)


def test_ids_keep_leading_zeros_and_names_their_letters(folder):
    tables = opened(folder)
    assert set(tables.user_behavior.user_id) == {"u007", "u8"}
    assert set(tables.user_behavior.item_id) == {"7", "007"}
    assert tables.product_features.title.tolist() == ["NA", "null"]
    assert tables.product_features.category.tolist() == ["None", "None"]
    assert make_samples(tables).features.item_category.unique().tolist() == ["None"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\n",
        lambda text: "\n\n" + text,
        lambda text: text.replace("\n", "\n\n", 3),
        lambda text: text.replace(",", " , ", 4).replace(",", ", "),
        lambda text: text.replace("user_id", '"user_id"', 1),
        lambda text: "".join(f",{line}\n" for line in text.splitlines()),  # pandas' row numbers
        lambda text: "".join(f"{line},\n" for line in text.splitlines()),
    ],
    ids=["BOM", "CRLF", "no end", "blank end", "blank start", "blank lines", "blanks"]
    + ["quotes", "index", "comma at the end"],
)
def test_harmless_habits_change_nothing(folder, change):
    honest = make_samples(opened(folder))
    edit(folder, change)
    assert_equal_samples(make_samples(opened(folder)), honest)


def test_an_index_that_pandas_wrote_into_parquet_is_no_column(folder):
    honest = make_samples(opened(folder))
    log = pd.read_csv(folder / "user_behavior.csv", dtype={"item_id": "str"})
    (folder / "user_behavior.csv").unlink()
    log.index = np.arange(len(log))[::-1] ** 2
    log.to_parquet(folder / "user_behavior.parquet")
    assert_equal_samples(make_samples(opened(folder)), honest)
    log.set_index("user_id").to_parquet(folder / "user_behavior.parquet")
    again = make_samples(opened(folder))
    pd.testing.assert_frame_equal(again.features, honest.features)


@pytest.mark.parametrize("kind", ["int", "text", "nullable", "bytes", "category"])
def test_ids_of_any_type_join(folder, kind):
    ids = [2**53 + 1, 2**53 + 2]
    edit(folder, lambda t: t.replace("u007", str(ids[0])).replace("u8", str(ids[1])))
    (folder / "users.csv").unlink()
    cast = {
        "int": lambda s: s,
        "text": lambda s: s.astype("str"),
        "nullable": lambda s: s.astype("Int64"),
        "bytes": lambda s: s.astype("str").str.encode("utf-8"),
        "category": lambda s: s.astype("category"),
    }[kind]
    users = pd.DataFrame({"user_id": cast(pd.Series(ids)), "age": [30, 40]})
    users.to_parquet(folder / "users.parquet")
    raw = make_samples(opened(folder))
    age = raw.features.user_age.groupby(raw.table.user_id).agg(set).to_dict()
    assert age == {str(ids[0]): {"30"}, str(ids[1]): {"40"}}


def test_tables_of_which_nothing_joins_are_refused(folder):
    edit(folder, lambda t: t.replace("u007", "U-007").replace("u8", "U-8"), "users.csv")
    with pytest.raises(
        DataError,
        match=r'mine: no user_id of user_behavior is in users: the one is written like "a999", ',
    ):
        opened(folder)


def test_rows_without_a_partner_are_noted_and_unknown(folder):
    edit(folder, set_line(3, ""), "users.csv")
    tables = opened(folder)
    assert tables.notes == [
        "The user_id of 50.00% of the events is not in users; what it would say of them is unknown."
    ]
    samples = make_samples(tables)
    assert set(samples.features.user_age) == {"30", "unknown"}


def test_users_are_optional(folder):
    (folder / "users.csv").unlink()
    assert "user_age" not in make_samples(opened(folder)).features


def test_numbers_in_an_attribute_are_names(folder):
    edit(folder, lambda t: t.replace("40", ""), "users.csv")
    assert set(make_samples(opened(folder)).features.user_age) == {"30", "unknown"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"The source csv needs a folder; name it with --path"),
        ("mone", r'mone: there is no such folder\. Did you mean "mine"\?'),
        ("mine/user_behavior.csv", "user_behavior.csv: this is a file; give the folder"),
        ("nowhere/at/all", r"nowhere/at/all: there is no such folder\.$"),
    ],
)
def test_a_wrong_folder_is_refused(folder, path, message):
    path = folder.parent / path if path else ""
    for call in (open_source, data_fingerprint, load_samples):
        with pytest.raises(DataError, match=message):
            call("csv", path=path)


def test_a_wrong_source_is_refused_with_the_near_match():
    with pytest.raises(DataError, match=r"There is no source 'journy'; .* mean \"journey\"\?"):
        open_source("journy")
    with pytest.raises(DataError, match="path belongs to the sources csv and mysql; leave it out"):
        open_source("sample", path="here")


def test_a_missing_table_names_the_file_that_may_be_meant(folder):
    (folder / "user_behavior.csv").rename(folder / "user_behaviour.csv")
    message = (
        r"mine: there is no user_behavior.csv \(or .csv.gz, .parquet\); the folder has "
        r'product_features.csv, user_behaviour.csv, users.csv. Did you mean "user_behaviour.csv"\? '
        r"Rename it\."
    )
    with pytest.raises(DataError, match=message):
        opened(folder)


def test_an_empty_folder_has_no_table_at_all(tmp_path):
    with pytest.raises(DataError, match=r"the folder has no table at all\.$"):
        opened(tmp_path)


def test_two_files_of_one_table_are_refused(folder):
    shutil.copy(folder / "users.csv", folder / "users.parquet")
    with pytest.raises(DataError, match="mine holds users.csv and users.parquet; keep one of them"):
        opened(folder)


def test_a_schema_with_the_other_ending_is_not_overlooked(folder):
    (folder / "schema.yml").write_text("task: {}")
    with pytest.raises(DataError, match="mine: rename schema.yml to schema.yaml"):
        opened(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "", r"user_behavior.csv: the file is empty; it needs a header and rows"),
        (lambda t: "\n  \n", r"user_behavior.csv: the file is empty"),
        (lambda t: t.split("\n")[0], r"user_behavior.csv: there is a header but no row; fill the"),
        (
            lambda t: t.replace("user_id", "user", 1),
            r'"user_id" is missing; it has user, item_id.*Did you mean "user"\? Rename it to user',
        ),
        (lambda t: t.replace("list_id", "user_id", 1), r'column "user_id" appears twice'),
        (lambda t: t.replace("list_id", " user_id ", 1), r'column "user_id" appears twice'),
        (
            lambda t: t.replace(",", ";"),
            r"The header is separated by ';'; say `delimiter: \";\"` in schema",
        ),
        (lambda t: t.replace(",", "\t"), r"The header is separated by '\\t'"),
        (
            lambda t: t.replace("list_id", "label", 1),
            r"120 of 120 rows cannot be used.* label is not 0 or 1",
        ),
        (lambda t: t.replace("list_id", "cutoff", 1), r'column "cutoff" of their own; rename'),
        (
            lambda t: t.replace("list_id,store_id", ",", 1),
            r"user_behavior.csv: 2 columns have no name; name them",
        ),
        (
            lambda t: t.replace("\n", ",1,2\n").replace(",1,2\n", "\n", 1),
            r"has 9 values where the header has 7 names \(120 rows.*\)\. Name every column in",
        ),
        (lambda t: t.replace("impression", "view"), r"Most often event_type is not one of impres"),
        (lambda t: t.replace("2.5", "-2.5"), r"price is below 0 \(120 rows, the first in line 2\)"),
        (lambda t: t.replace("2025-", "25-"), r"Most often event_time is not a time \(ISO 8601\)"),
        (
            lambda t: "event_id," + re.sub(r"\n(?=.)", "\n1,", t),
            r"119 of 120 rows .* event_id was seen before \(119 rows, the first in line 3",
        ),
    ],
)
def test_a_log_that_cannot_be_used_is_refused_with_a_remedy(folder, change, message):
    edit(folder, change)
    with pytest.raises(DataError, match=message):
        opened(folder)


def test_an_empty_table_of_users_may_be_removed(folder):
    edit(folder, lambda t: t.split("\n")[0], "users.csv")
    with pytest.raises(
        DataError, match="users.csv: there is a header but no row; fill the table, "
    ):
        opened(folder)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("first", [2, 3, 51])
def test_the_line_of_the_first_bad_row_is_the_files_own(folder, first, packed):
    """Earlier rows are fine, blank lines do not count as rows, and values hold line breaks."""

    def change(text: str) -> str:
        lines = text.rstrip("\n").split("\n")
        lines[first - 1 :] = [re.sub(r"2025-\d\d", "2025-99", x) for x in lines[first - 1 :]]
        lines[0] += ",note"
        lines[1:] = [f'{line},"two\nlines"' for line in lines[1:]]
        return "\n\n".join(lines)

    edit(folder, change)
    text = (folder / "user_behavior.csv").read_text()
    want = 1 + text[: text.index("2025-99")].count("\n")
    if packed:
        (folder / "user_behavior.csv.gz").write_bytes(gzip.compress(text.encode()))
        (folder / "user_behavior.csv").unlink()
    with pytest.raises(DataError, match=rf"the first in line {want}\)"):
        opened(folder)


def test_a_few_bad_rows_are_dropped_and_listed(folder):
    edit(folder, set_line(5, "u8,7,soon,impression,l,s,2"))
    edit(folder, set_line(6, "u8,7,2025-01-01T10:00Z,impression,l,s,-2"))
    edit(folder, set_line(7, "u8,,2025-01-01T10:00Z,impression,l,s,"))
    tables = opened(folder)
    assert tables.dropped.to_dict("records") == [
        {"table": "user_behavior", "kind": kind, "column": column, "reason": reason, "rows": 1}
        for kind, column, reason in (
            ("empty", "item_id", "item_id is empty"),
            ("type", "event_time", "event_time is not a time (ISO 8601)"),
            ("minimum", "price", "price is below 0"),
        )
    ]
    assert len(tables.user_behavior) == 120 - 3


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_not_utf8_names_the_line(folder, packed):
    text = (folder / "product_features.csv").read_text().replace("null", "Müsli")
    content = text.encode("latin-1")
    if packed:
        (folder / "product_features.csv").unlink()
        (folder / "product_features.csv.gz").write_bytes(gzip.compress(content))
    else:
        (folder / "product_features.csv").write_bytes(content)
    with pytest.raises(
        DataError, match=r"product_features.csv.*: line 3 is not UTF-8 text; say `encoding: cp1252`"
    ):
        opened(folder)


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "nothing"])
def test_a_damaged_file_is_refused(folder, ending, damage):
    log = pd.read_csv(folder / "user_behavior.csv")
    (folder / "user_behavior.csv").unlink()
    file = folder / f"user_behavior{ending}"
    log.to_csv(file, index=False) if ending == ".csv.gz" else log.to_parquet(file)
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[200:400] = bytes(b ^ 0xFF for b in content[200:400])
    damaged = {"cut": content[:-20], "flipped": content, "other": b"hello", "nothing": b""}[damage]
    file.write_bytes(damaged)
    what = "the file (cannot be read|is empty)|is not UTF-8"
    with pytest.raises(DataError, match=f"user_behavior{ending}: .*({what})"):
        opened(folder)


def test_text_in_any_script_and_with_line_breaks_survives(folder):
    edit(folder, lambda t: t.replace("NA", '"红色 🙂, ""x""\nsecond"'), "product_features.csv")
    assert opened(folder).product_features.title[0] == '红色 🙂, "x"\nsecond'


def test_columns_without_any_value_change_nothing(folder):
    honest = make_samples(opened(folder))
    log = pd.read_csv(folder / "user_behavior.csv", dtype="str")
    for name in ("query", "position", "quantity", "note", "event_id", "session_id"):
        log[name] = None
    log.to_csv(folder / "user_behavior.csv", index=False)
    again = make_samples(opened(folder))
    pd.testing.assert_frame_equal(again.features, honest.features)
    np.testing.assert_array_equal(again.dense, honest.dense)


def test_prices_without_any_value_are_unknown(folder):
    edit(folder, lambda t: t.replace("2.5", ""))
    samples = make_samples(opened(folder))
    assert samples.features.item_price.isna().all()
    assert np.isfinite(samples.dense).all()


@pytest.mark.parametrize("day", ["0001-01-01", "1815-06-18", "9999-12-31"])
def test_one_event_far_away_in_time_does_no_harm(folder, day):
    (folder / "schema.yaml").write_text(
        "task: {split: {train_from: 2025-01-01, attribution_from: 2025-01-09, "
        "valid_from: 2025-01-12, test_from: 2025-01-15, end: 2025-01-20}}"
    )
    honest = make_samples(opened(folder))
    edit(folder, lambda t: t + f"u9,7,{day}T23:59:59Z,click,l,s,2.5\n")
    samples = make_samples(opened(folder))
    assert len(samples) == len(honest)
    ages = samples.features.user_recency_days
    pd.testing.assert_series_equal(ages, honest.features.user_recency_days)


def test_extra_columns_with_blanks_and_odd_names_are_context(folder):
    log = pd.read_csv(folder / "user_behavior.csv", dtype="str")
    for i, name in enumerate(["event time", "index", "level_0", "user", "features", "数量"]):
        log[name] = [str((i + j) % 3) for j in range(len(log))]
    log.to_csv(folder / "user_behavior.csv", index=False)
    features = make_samples(opened(folder)).features
    assert {"context_event time", "context_index", "context_level_0", "context_数量"} <= {*features}


def test_a_log_of_one_row_is_refused(folder):
    edit(folder, lambda t: "\n".join(t.split("\n")[:2]))
    with pytest.raises(DataError, match="the exposures cover 1 days"):
        make_samples(opened(folder))


def test_times_with_and_without_a_zone_may_be_mixed(folder):
    honest = make_samples(opened(folder))
    edit(folder, lambda t: re.sub(r"(\d\d:\d\d:\d\d)\+00:00", r"\1", t, count=30))
    edit(folder, lambda t: t.replace("10:00:00+00:00", "18:00:00+08:00"))
    assert_equal_samples(make_samples(opened(folder)), honest)


def test_the_fingerprint_follows_the_content(folder):
    first = data_fingerprint("csv", path=folder)
    assert first == opened(folder).fingerprint == data_fingerprint("csv", path=folder)
    edit(folder, lambda t: t.replace("2.5", "2.6", 1))
    second = data_fingerprint("csv", path=folder)
    (folder / "schema.yaml").write_text("task: {label: {within: 2h}}")
    assert len({first, second, data_fingerprint("csv", path=folder)}) == 3
    assert data_fingerprint("journey", seed=0) != data_fingerprint("journey", seed=1)
