"""Kinds of dropped rows: right whatever columns, rules and values are called; words decide none."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import DataError
from helpers.data import staging
from helpers.data.cleaning import clean_rows, cleaner
from helpers.data.cleaning.wording import COPY, reasons, with_kinds
from helpers.data.dropped import COLUMNS, DropGroup, DropKind, Dropped, dropped_table, group_of
from helpers.data.schema_file import LeaveOut, read_schema_file
from helpers.data.sources import open_source, stage_source
from helpers.schema import Column, canonical_tables

#: Names and values that sound like a reason.
MISLEADING = (
    *("is_future_order", "in the future", "copy", "exact copy of an earlier row", "duplicate"),
    *("left out", "left out: x is empty", "event_id was seen before", "price is below 0"),
    *("event_type", "event_time is not a time", "was seen before"),
)
HEADER = ("user_id", "item_id", "event_time", "event_type", "price", "event_id")
SOUND = {"user_id": "u", "item_id": "a", "event_time": "2025-01-01T10:00Z", "event_type": "click"}
#: What a row of each kind has in place of what a sound one has.
FAULTY = {
    DropKind.EMPTY: {"item_id": ""},
    DropKind.TYPE: {"event_time": "in the future"},
    DropKind.VALUE: {"event_type": "copy"},
    DropKind.MINIMUM: {"price": "-1"},
    DropKind.FUTURE: {"event_time": "2999-01-01T10:00Z"},
    DropKind.ZERO: {"event_time": "1970-01-01T00:00Z"},
}
COLUMN = {
    **{DropKind.EMPTY: "item_id", DropKind.TYPE: "event_time", DropKind.VALUE: "event_type"},
    **{DropKind.MINIMUM: "price", DropKind.FUTURE: "event_time", DropKind.ZERO: "event_time"},
    **{DropKind.COPY: "", DropKind.REPEAT: "event_id"},
}


def write_log(folder: Path, counts: dict[DropKind, int], column: str, value: str) -> None:
    """Write a log with so many rows of each kind, and one column under a name of a person's own."""
    number = iter(range(10_000))

    def row(**own: str) -> dict[str, str]:
        return SOUND | {"price": "1", "event_id": f"e{next(number)}", column: "sound"} | own

    rows = [row() for _ in range(5)]
    first = rows[0]
    rows += [row(**own) for kind, own in FAULTY.items() for _ in range(counts.get(kind, 0))]
    rows += [row(**{column: value}) for _ in range(counts.get(DropKind.RULE, 0))]
    rows += [first for _ in range(counts.get(DropKind.COPY, 0))]
    again = {"event_id": first["event_id"]}
    rows += [row(**again, price=str(n + 2)) for n in range(counts.get(DropKind.REPEAT, 0))]
    pd.DataFrame(rows).to_csv(folder / "user_behavior.csv", index=False)
    pd.DataFrame({"item_id": ["a"]}).to_csv(folder / "product_features.csv", index=False)
    rule = json.dumps({"column": column, "one_of": [value]})  # which YAML reads
    (folder / "schema.yaml").write_text(
        f"max_bad_share: 1\nuser_behavior:\n  leave_out:\n  - {rule}\n", encoding="utf-8"
    )


def counted(folder: Path) -> dict[DropKind, int]:
    dropped = stage_source("csv", path=folder, progress=False)[0].dropped
    return {DropKind(kind): rows for kind, rows in dropped.groupby("kind")["rows"].sum().items()}


@given(
    counts=st.dictionaries(st.sampled_from([*COLUMN, DropKind.RULE]), st.integers(1, 3)),
    column=st.sampled_from([n for n in MISLEADING if n not in HEADER]),
    value=st.sampled_from(MISLEADING),
)
@settings(max_examples=12)
def test_kinds_are_right_whatever_columns_and_values_are_called(counts, column, value):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setenv("WORKBOOK_CACHE", str(folder / "cache"))
        write_log(folder, counts, column, value)
        assert counted(folder) == counts


ONE_OF_EACH = dict.fromkeys([*COLUMN, DropKind.RULE], 1)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WORKBOOK_CACHE", str(tmp_path / "cache"))
    write_log(tmp_path, ONE_OF_EACH, "is_future_order", "copy")
    return tmp_path


def test_the_column_at_fault_stands_beside_the_kind(folder):
    dropped = open_source("csv", path=folder).dropped
    assert tuple(dropped) == COLUMNS
    want = COLUMN | {DropKind.RULE: "is_future_order"}
    assert dict(zip(dropped["kind"], dropped["column"], strict=True)) == want


def renamed(patch: pytest.MonkeyPatch, sentence: str) -> None:
    """Let every reason be the same sentence."""

    def same(column: Column, **_: object) -> dict[DropKind, str]:
        return dict.fromkeys(reasons(column), sentence)

    patch.setattr(cleaner, "reasons", same)
    patch.setattr(staging, "reasons", same)
    patch.setattr(staging, "COPY", sentence)
    patch.setattr(LeaveOut, "reason", property(lambda _: sentence))


@pytest.mark.parametrize("sentence", ["", "left out: in the future", COPY, "price is below 0"])
def test_another_wording_changes_no_count(folder, monkeypatch, sentence):
    renamed(monkeypatch, sentence)
    dropped = stage_source("csv", path=folder, progress=False)[0].dropped
    assert set(dropped["reason"]) == {sentence}
    assert counted(folder) == ONE_OF_EACH


def test_every_kind_has_a_group_and_a_meaning():
    for kind in DropKind:
        assert kind.group in DropGroup
        assert kind.meaning
    groups = {kind: group_of({"kind": kind}) for kind in (DropKind.RULE, DropKind.COPY)}
    assert groups == {DropKind.RULE: DropGroup.RULE, DropKind.COPY: DropGroup.COPY}
    assert all(group_of({"kind": kind}) == DropGroup.FAULT for kind in FAULTY)


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'prose' is not a valid DropKind"):
        dropped_table([{"table": "users", "kind": "prose", "column": "", "reason": "", "rows": 1}])


def test_a_whole_frame_tells_kinds_as_pieces_do():
    users = pd.DataFrame({"user_id": ["1", "", "1"]})
    about = {"where": "users", "time_zone": "UTC", "max_bad_share": 1.0}
    dropped = clean_rows(canonical_tables()["users"], users, **about)[1]
    assert dropped[["kind", "column"]].values.tolist() == [
        ["empty", "user_id"],
        ["repeat", "user_id"],
    ]


# What an earlier version kept


def without_kinds(dropped: pd.DataFrame) -> list[dict[str, object]]:
    """Return what an earlier version kept of dropped rows."""
    return dropped[["table", "reason", "rows"]].to_dict("records")


def test_sentences_of_an_earlier_version_get_the_kinds_that_they_were_made_for(folder):
    staged, mapped = stage_source("csv", path=folder, progress=False)
    found = with_kinds(without_kinds(staged.dropped), mapped)
    pd.testing.assert_frame_equal(dropped_table(found), staged.dropped)


def test_a_copy_of_tables_of_an_earlier_version_opens_with_its_kinds(folder):
    staged, mapped = stage_source("csv", path=folder, progress=False)
    copy = folder / "copy"
    copy.mkdir()
    for file in staged.folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "schema.yaml").write_text(mapped.text, encoding="utf-8")
    facts = json.loads((copy / "staged.json").read_text(encoding="utf-8"))
    facts["dropped"] = without_kinds(staged.dropped)
    (copy / "staged.json").write_text(json.dumps(facts), encoding="utf-8")
    again = stage_source("mysql", path=copy)[0]
    pd.testing.assert_frame_equal(again.dropped, staged.dropped)


@pytest.mark.parametrize(
    "row", [{"kind": "prose", "rows": 1}, {"kind": ["copy"], "rows": 1}, {"table": 1, "rows": 1}]
)
def test_a_copy_with_an_unknown_kind_is_refused_in_a_sentence(folder, row):
    staged, _ = stage_source("csv", path=folder, progress=False)
    file = staged.folder / "staged.json"
    facts = json.loads(file.read_text(encoding="utf-8")) | {"dropped": [row]}
    file.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(DataError, match="holds no copy of tables; name the folder"):
        staging.open_staged(staged.folder)


def test_what_was_said_of_a_line_of_a_file_is_no_fault_of_a_column(tmp_path):
    (tmp_path / "schema.yaml").write_text("max_bad_share: 1\n", encoding="utf-8")
    old = {"table": "user_behavior", "reason": "has 5 values, not 4", "rows": 2}
    [row] = with_kinds([old], read_schema_file(tmp_path / "schema.yaml"))
    assert Dropped(**row) == ("user_behavior", DropKind.UNREADABLE, "", old["reason"], 2)
