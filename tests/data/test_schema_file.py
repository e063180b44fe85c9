"""A person's schema.yaml: what it states, and the line in which it is wrong."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.base.errors import DataError
from helpers.base.paths import DATA
from helpers.data.schema_file import KEYS, LeaveOut, SchemaFile, StoredTable, read_schema_file
from helpers.schema import Task, canonical_tables

FULL = """\
# A shop with two files of events.
user_behavior:
  - file: [views-*.csv, old/views.csv.gz]
    encoding: latin-1
    delimiter: ";"
    decimal: ","
    time_zone: Europe/London
    time_format: "%d/%m/%Y %H:%M"
    columns:
      user_id: CustomerID
      item_id: StockCode
      event_time: [Day, Hour]
      event_type: 行为
    values:
      event_type: {view: impression, no: click, 3: cart}
    extra: [Country, "Price "]
    leave_out:
      - {column: InvoiceNo, starts_with: C}
      - {column: CustomerID, is_empty: true}
      - {column: StockCode, one_of: [POST, NO, 007, NULL]}
      - {column: Quantity, below: 1}
      - {column: Quantity, above: -2.5}
      - column: StockCode
        matches: "^[A-Z]+$"
    duplicates: keep
  - table: 订单 2024
    event_type: purchase
    time_format: unix ms
    columns: {user_id: u, item_id: i, event_time: t}
product_features:
  from: user_behavior
  columns: {item_id: StockCode, title: Description, price: UnitPrice}
users:
  file: users.parquet
  extra: all
task:
  label: {positive: [cart, purchase], match_on: [user_id, item_id, list_id], within: 2h}
  split:
    train_from: 2025-01-01
    attribution_from: 2025-02-01
    valid_from: 2025-03-01
    test_from: 2025-04-01
    end: 2025-05-01
  cutoff: week
  time_zone: Asia/Shanghai
  history: purchase
max_users: 20_000
on_bad_rows: stop
max_bad_share: 0.05
"""


def read(folder: Path, content: str | bytes) -> SchemaFile:
    """Return what a file with this content states."""
    path = folder / "schema.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_schema_file(path)


def log(*lines: str, before: str = "") -> str:
    """Return a valid section of a log, with these lines more, which begin in line 3."""
    text = "user_behavior:\n  columns: {user_id: u, item_id: i, event_time: t, event_type: e}\n"
    return text + "".join(f"  {line}\n" for line in lines)


def test_every_line_of_a_file_is_read(tmp_path):
    mapping = read(tmp_path, FULL.replace('    decimal: ","\n', ""))
    views, orders = mapping.parts["user_behavior"]
    assert views == StoredTable(
        "user_behavior",
        files=("views-*.csv", "old/views.csv.gz"),
        encoding="latin-1",
        delimiter=";",
        time_zone="Europe/London",
        time_format="%d/%m/%Y %H:%M",
        columns={
            "user_id": ("CustomerID",),
            "item_id": ("StockCode",),
            "event_time": ("Day", "Hour"),
            "event_type": ("行为",),
        },
        extra=("Country", "Price "),
        values={"event_type": {"view": "impression", "no": "click", "3": "cart"}},
        leave_out=(
            LeaveOut("InvoiceNo", "starts_with", "C"),
            LeaveOut("CustomerID", "is_empty", True),
            LeaveOut("StockCode", "one_of", ("POST", "NO", "007", "NULL")),
            LeaveOut("Quantity", "below", 1.0),
            LeaveOut("Quantity", "above", -2.5),
            LeaveOut("StockCode", "matches", "^[A-Z]+$"),
        ),
        duplicates="keep",
        line=3,
    )
    assert orders == StoredTable(
        "user_behavior",
        stored_table="订单 2024",
        event_type="purchase",
        time_format="unix ms",
        columns={"user_id": ("u",), "item_id": ("i",), "event_time": ("t",)},
        extra=(),
        line=25,
    )
    assert mapping.parts["users"] == (StoredTable("users", files=("users.parquet",), line=32),)
    assert mapping.task == Task(
        positive=("cart", "purchase"),
        match_on=("user_id", "item_id", "list_id"),
        within="2h",
        cutoff="week",
        time_zone="Asia/Shanghai",
        history=("purchase",),
        train_from="2025-01-01",
        attribution_from="2025-02-01",
        valid_from="2025-03-01",
        test_from="2025-04-01",
        end="2025-05-01",
    )
    assert mapping.stated == {f.name for f in fields(Task)} - {"negatives", "negatives_from"}
    assert (mapping.max_users, mapping.on_bad_rows, mapping.max_bad_share) == (20_000, "stop", 0.05)
    assert mapping.name == "schema.yaml"
    assert mapping.text.startswith("# A shop")


def test_a_table_made_from_the_log_is_written_as_the_log(tmp_path):
    text = FULL[: FULL.index("  - table:")] + FULL[FULL.index("product_features") :]
    mapping = read(tmp_path, text)
    (products,) = mapping.parts["product_features"]
    assert products.derived
    assert products.columns["price"] == ("UnitPrice",)
    assert products.extra == ()
    assert (products.decimal, products.encoding, products.delimiter) == (",", "latin-1", ";")
    with pytest.raises(DataError, match=r"line 30: product_features cannot be made from"):
        read(tmp_path, FULL)  # the second table writes decimals with a point


DEFAULT = SchemaFile({name: (StoredTable(name),) for name in canonical_tables()}, Task())


@pytest.mark.parametrize(
    "text",
    ["", "task:", "# nothing", "---\n", "\ufeff", "null", "~", "users:\ntask:\n  split:\n", "{}"],
)
def test_a_file_that_states_nothing_leaves_the_defaults(tmp_path, text):
    mapping = read(tmp_path, text)
    assert mapping.parts == DEFAULT.parts
    assert (mapping.task, mapping.stated) == (Task(), frozenset())
    assert (mapping.max_users, mapping.on_bad_rows, mapping.max_bad_share) == (None, "drop", 0.2)


def test_without_a_file_the_names_are_canonical(tmp_path):
    assert read_schema_file(None) == read_schema_file(tmp_path / "schema.yaml") == DEFAULT


def test_the_canonical_names_written_out_are_what_is_meant_without_them(tmp_path):
    names = {t.name: {c: c for c in t.columns} for t in canonical_tables().values()}
    del names["user_behavior"]["label"]
    text = yaml.safe_dump({name: {"columns": columns} for name, columns in names.items()})
    for table, (part,) in read(tmp_path, text).parts.items():
        assert part.columns == {name: (name,) for name in names[table]}
        assert part.extra == ()


def test_the_bundled_file_parses_to_its_task():
    mapping = read_schema_file(DATA / "sample" / "schema.yaml")
    assert mapping.parts == DEFAULT.parts
    assert (mapping.task.within, mapping.task.time_zone) == ("1h", "Asia/Shanghai")
    assert mapping.task.borders() == ("2025-04-27", "2025-05-04", "2025-05-13")


def test_the_documented_keys_are_the_accepted_ones():
    stated = yaml.safe_load((DATA / "schema.yaml").read_text(encoding="utf-8"))["your_schema"]
    assert {name: tuple(keys) for name, keys in stated.items()} == KEYS
    for keys in stated.values():
        assert all(isinstance(sentence, str) and sentence for sentence in keys.values())


def test_labelled_exposures_need_no_event_type_and_no_window(tmp_path):
    text = "user_behavior: {columns: {user_id: u, item_id: i, event_time: t, label: clicked}}\n"
    mapping = read(tmp_path, text)
    assert mapping.parts["user_behavior"][0].event_type == "impression"
    assert mapping.task.within == "0s"
    assert "within" not in mapping.stated
    assert read(tmp_path, text + "task: {label: {within: 1h}}").task.within == "1h"
    translated = text.replace("}}", "}, values: {label: {yes: 1, no: 0}}}")
    values = read(tmp_path, translated).parts["user_behavior"][0].values
    assert values == {"label": {"yes": "1", "no": "0"}}


def test_negatives_are_drawn_for_a_whole_period(tmp_path):
    mapping = read(tmp_path, "task: {negatives: {per_positive: 4, from: popular}}")
    assert mapping.task == Task(negatives=4, negatives_from="popular", within="period")
    assert mapping.stated == {"negatives", "negatives_from"}
    text = "task: {negatives: {per_positive: 100}, label: {within: period}}"
    assert read(tmp_path, text).task == Task(negatives=100, within="period")


@pytest.mark.parametrize(
    ("line", "field", "want"),
    [
        ("file: no", "files", ("no",)),
        ("file: 2024-01-01", "files", ("2024-01-01",)),
        (
            "extra: [on, 1.50, 0x1F, 'null', NULL, =]",
            "extra",
            ("on", "1.50", "0x1F", "null", "NULL", "="),
        ),
        ("extra: all", "extra", None),
        ("extra: [all]", "extra", ("all",)),
        ("delimiter: tab", "delimiter", "\t"),
        (r"delimiter: \t", "delimiter", "\t"),
        (r'delimiter: "\t"', "delimiter", "\t"),
        ('delimiter: " "', "delimiter", " "),
        ("time_format: iso8601", "time_format", "ISO 8601"),
        ("time_format: unix_s", "time_format", "unix s"),
        ('time_format: "%Y-%m-%dT%H:%M:%S.%f%z"', "time_format", "%Y-%m-%dT%H:%M:%S.%f%z"),
        ('time_format: "%Y年%m月%d日 %I:%M %p"', "time_format", "%Y年%m月%d日 %I:%M %p"),
        ("table: 用户 行为; DROP TABLE x --", "stored_table", "用户 行为; DROP TABLE x --"),
        ("encoding: GB18030", "encoding", "GB18030"),
    ],
)
def test_a_value_is_taken_as_it_is_written(tmp_path, line, field, want):
    (part,) = read(tmp_path, log(line)).parts["user_behavior"]
    assert getattr(part, field) == want


@pytest.mark.parametrize(
    ("written", "want"), [("all", 0), ("2", 2), ("1_000", 1_000), ("", None), ("null", None)]
)
def test_the_number_of_users_is_whole_or_all(tmp_path, written, want):
    assert read(tmp_path, f"max_users: {written}").max_users == want


@pytest.mark.parametrize(
    ("written", "want"), [("1d", "1 days 00:00:00"), ("7D", "7D"), ("0s", "0s")]
)
def test_an_old_spelling_of_a_time_is_written_anew(tmp_path, written, want):
    assert read(tmp_path, f"task: {{label: {{within: {written}}}}}").task.within == want


def columns(text: str) -> str:
    return f"user_behavior:\n  columns: {{{text}}}\n"


NEEDED = "user_id: u, item_id: i, event_time: t"
REFUSED = [
    # the whole file
    ("- task", 1, "the file must be lines of `name: value`; got a list"),
    ("just text", 1, r'must be lines of `name: value`; got "just text"'),
    ("tasks: {cutoff: day}", 1, r'the file has an unknown key "tasks"; it may .* mean "task"\?'),
    ("\nlabel: {positive: click}", 2, r'unknown key "label".* It stands under task\.$'),
    ("file: a.csv", 1, r'unknown key "file".* It stands under a table, such as user_behavior\.'),
    ("1: 2", 1, 'unknown key "1"'),
    ("? [a]\n: 1", 1, "has a key that is a list or a section; a key must be a name"),
    ("<<: {task: 1}", 1, 'unknown key "<<"'),
    ("task: {cutoff: day}\nusers:\ntask: {}", 3, "task is mapped twice, first in line 1"),
    ("task: {cutoff: [", 1, r"not readable YAML: .* See that quotes and brackets are closed"),
    ("task:\n\tcutoff: day", 2, r"not readable YAML.* Indent with blanks, not with tabs\."),
    ("task:\n  cutoff: a: b", 2, r"not readable YAML: mapping values .* into quotes"),
    ("task:\n  cutoff: @x", 2, r"not readable YAML: .* Put a text that begins with such"),
    ("a: 1\n---\nb: 1", 2, r"not readable YAML: .* remove the line ---"),
    ("users: &a {}\ntask: *a", 1, r"anchors \(&\) and aliases \(\*\) are not used here"),
    ("users: {}\ntask: *a", 2, r"anchors \(&\) and aliases \(\*\) are not used here"),
    ("\nusers: !!python/object/apply:os.system [ls]", 2, r"tags \(!\) are not used here"),
    ("users: !x y", 1, r"tags \(!\) are not used here"),
    ("users:\n  file: " + "[" * 500, 2, "sections stand in sections too deeply"),
    ("users:\n  table: a\0b", 2, "a character that no text holds"),
    ('users:\n  table: "a\\0b"', 2, "a character that no name can have"),
    ('users:\n  table: "\\ud800"', 2, "a character that no name can have"),
    ('users:\n  table: "\\U00110000"', 2, "not readable YAML: chr"),
    (b"task:\n  cutoff: \xff", 2, r"not UTF-8 \(byte 0xff\); save the file as UTF-8"),
    ("task: {}".encode("utf-16"), 1, "not UTF-8"),
    # a table
    ("users: users.csv", 1, r'users must be lines of `name: value`; got "users.csv"'),
    ("users:\n  - 1", 2, r"users\[1\] must be lines of"),
    ("users: []", 1, "users is an empty list"),
    ("users:\n  fil: a.csv", 2, r'users has an unknown key "fil".* Did you mean "file"\?'),
    ("users:\n  user_id: u", 2, r'"user_id".* A column stands under users\.columns'),
    (log("split: {}"), 3, 'unknown key "split".* It stands under task'),
    (log("from: user_behavior"), 3, 'user_behavior has an unknown key "from"'),
    (log("file: a.csv", "table: b"), 4, "user_behavior.table cannot stand beside file"),
    ("users:\n  file: a\n  from: user_behavior", 3, "users.from cannot stand beside file"),
    ("users:\n  from: product_features", 2, "users.from must be user_behavior; got"),
    ("users:\n  from: user_behaviour", 2, 'Did you mean "user_behavior"'),
    ("users:\n  from: user_behavior", 1, r"must map user_id .* columns: \{user_id: user_id\}"),
    (log() + "users:\n  from: user_behavior", 3, r"columns: \{user_id: u\}"),
    (
        "users:\n  from: user_behavior\n  columns: {user_id: u}\n  extra: all",
        4,
        "users.extra must list columns by name",
    ),
    (
        "users:\n  from: user_behavior\n  columns: {user_id: u}\n  decimal: '.'",
        4,
        "users.decimal cannot stand beside from, which may have columns, values, extra",
    ),
    (
        "users:\n  - {file: a}\n  - {from: user_behavior, columns: {user_id: u}}",
        1,
        "users is a list, but a table from user_behavior has one section",
    ),
    (log("file: /etc/passwd"), 3, "file must be the name of a file inside the folder"),
    (log("file: [a.csv, ../b.csv]"), 3, r"file\[2\] must be the name of a file inside the folder"),
    (log(r"file: a\..\b.csv"), 3, "inside the folder"),
    (log(r"file: C:\log.csv"), 3, "inside the folder"),
    (log("file: sub/"), 3, r'or a pattern such as "log-\*.csv"'),
    (log('file: "**/a.csv"'), 3, "or a pattern such as"),
    (log("file: [a.csv, a.csv]"), 3, r'file\[2\] "a.csv" stands in the list twice'),
    (log("file: []"), 3, "file is an empty list"),
    (log("file: {a: b}"), 3, "must be the name of a file; got a section"),
    (log('table: ""'), 3, "user_behavior.table must be a name; got nothing"),
    (log("encoding: latin1x"), 3, r'must be the name of an encoding.* Did you mean "latin1"\?'),
    (log("encoding: base64"), 3, "must be the name of an encoding"),
    (log("encoding: idna"), 3, "must be the name of an encoding"),
    (log("table: a", "encoding: gbk"), 4, "encoding is about text files"),
    (log("delimiter: semicolon"), 3, r'one character.* got "semicolon"\. Write ";"'),
    (log("delimiter: '||'"), 3, "must be one character"),
    (log("delimiter: '\"'"), 3, "must be one character"),
    (log("delimiter: x"), 3, "must be one character"),
    (log("decimal: ';'"), 3, "decimal must be . or ,; got"),
    (log("decimal: ','"), 3, 'must differ from the delimiter, which is "," where none is stated'),
    (log("delimiter: '.'"), 3, "delimiter must differ from the delimiter|must differ"),
    (log("time_zone: London"), 3, 'the name of a time zone.*"London"'),
    (log("time_zone: europe/london"), 3, 'Did you mean "Europe/London"'),
    (log("time_zone: localtime"), 3, "the name of a time zone"),
    (log("time_zone: ../../etc/passwd"), 3, "the name of a time zone"),
    (log("time_format: dd/mm/yyyy"), 3, 'or a format such as "%d/%m/%Y %H:%M"; got "dd/mm/yyyy"'),
    (log("time_format: '%d/%m'"), 3, "that tells the year, month and day"),
    (log("time_format: '%Y-%m-%d %I:%M'"), 3, "with %I also %p"),
    (log("time_format: '%Y-%m-%d %Q'"), 3, "This format cannot be read: 'Q' is a bad directive"),
    (log("time_format: '%Y-%m-%d %Y'"), 3, "it names a part twice"),
    (log("duplicates: remove"), 3, "duplicates must be drop or keep"),
    # columns
    (columns("user: u"), 2, r'columns.user is no column of user_behavior.* mean "user_id"\?'),
    (columns("CustomerID: user_id"), 2, r"stands to the right: user_id: CustomerID"),
    (columns("zzz: x"), 2, "Columns of your own stand under extra"),
    (columns("user_id: u, user_id: v"), 2, "columns.user_id is mapped twice, first in line 2"),
    (
        "user_behavior:\n  columns:\n    user_id: a\n    item_id: a",
        4,
        r'"a", which is mapped twice: line 3 maps it to user_id',
    ),
    (
        "user_behavior:\n  columns:\n    user_id: a\n    event_time: [b, a]",
        4,
        "mapped twice: line 3",
    ),
    (columns("event_time: [a, a]"), 2, '"a" stands in the list twice'),
    (columns("price: [a, b]"), 2, "columns.price must be one column, as it holds a number"),
    (columns("user_id: {a: b}"), 2, "must be the name of your column; got a section"),
    (columns("user_id: ''"), 2, "must be the name of your column; got nothing"),
    ("users:\n  columns: [user_id]", 2, "columns must be lines of `name: value`; got a list"),
    (columns("item_id: i, event_time: t, event_type: e"), 2, r"must map user_id \(who\); it maps"),
    (columns("user_id: , item_id: i, event_time: t, event_type: e"), 2, r"must map user_id"),
    (columns(""), 2, "must map user_id .* it maps nothing"),
    (columns(NEEDED), 2, "must map event_type .* Or state event_type: purchase"),
    ("product_features:\n  columns: {title: a}", 2, r"must map item_id \(which product\)"),
    (log("event_type: purchase"), 3, "is one event for every row, but columns maps event_type too"),
    (log("event_type: buy"), 3, "must be impression, click, cart or purchase"),
    (log("event_type: purchased"), 3, 'Did you mean "purchase"'),
    ("users: {event_type: click}", 1, 'unknown key "event_type"'),
    (columns(f"{NEEDED}, label: l") + "  event_type: click", 3, "is click, but a row with a label"),
    (columns(f"{NEEDED}, label: l, event_type: e"), 2, "maps label and event_type"),
    # values, extra, leave_out
    (log("values: {event_typ: {a: click}}"), 3, 'unknown key "event_typ".*"event_type"'),
    (log("values: {price: {a: b}}"), 3, "values.price translates a column that is not mapped"),
    (log("values:", "  event_type:", "    view: impresion"), 5, r'Did you mean "impression"\?'),
    (log("values: {event_type: {a: }}"), 3, "must be impression, .* got nothing"),
    (log("values: {event_type: {'': click}}"), 3, "translates an empty value"),
    (log("values: {event_type: [a]}"), 3, "must be lines of `name: value`"),
    (log("values: {event_type: {a: click, a: cart}}"), 3, r"event_type\.a is mapped twice"),
    (
        "user_behavior:\n  event_type: click\n  values: {event_type: {a: click}}",
        3,
        "translates nothing",
    ),
    (log("extra: [u]"), 3, r'extra\[1\] names your column "u", which is mapped twice'),
    (log("extra: [a, day]"), 3, r'extra\[2\] names "day", and the samples have such a column'),
    (log("extra: [price]"), 3, r'names "price", a column of user_behavior itself'),
    (log("extra: [a, a]"), 3, "stands in the list twice"),
    (log("leave_out:", "  - {starts_with: C}"), 4, r"leave_out\[1\] must name a column"),
    (log("leave_out:", "  - {column: a}"), 4, "must have exactly one of is_empty, .* it has none"),
    (log("leave_out: {column: a, below: 1, above: 2}"), 3, r"it has 2 \(below, above\)"),
    (log("leave_out: {column: a, equals: 1}"), 3, 'unknown key "equals"'),
    (log("leave_out: {column: a, is_empty: false}"), 3, "is_empty must be true; got"),
    (log("leave_out: {column: a, below: many}"), 3, 'must be a number; got "many"'),
    (log("leave_out: {column: a, below: .nan}"), 3, "must be a number"),
    (log("leave_out: {column: a, below: 1e999}"), 3, "must be a number"),
    (log("leave_out: {column: a, one_of: []}"), 3, "is an empty list"),
    (log("leave_out: {column: a, one_of: [b, '']}"), 3, r"one_of\[2\] must be a text; got nothing"),
    (log("leave_out: {column: a, matches: '['}"), 3, "must be a regular expression; .* cannot be"),
    (log("leave_out: {column: a, matches: '(?=b)'}"), 3, "cannot be used: invalid perl operator"),
    (log("leave_out: {column: a, matches: '(b)\\1'}"), 3, "cannot be used"),
    (log("leave_out: {column: a, matches: '[[b]'}"), 3, "cannot be used: Possible nested set"),
    (log("leave_out: {column: a, matches: 'b{99999999999}'}"), 3, "cannot be used"),
    (
        log(f"leave_out: {{column: a, matches: {'b' * 201}}}"),
        3,
        "at most 200 characters; it has 201",
    ),
    # the task
    ("task: [1]", 1, "task must be lines of `name: value`; got a list"),
    ("task: {cutof: day}", 1, r'unknown key "cutof"; .* Did you mean "cutoff"\?'),
    ("task:\n  positive: [click]", 2, r"now stands under task\.label: write label: \{positive: "),
    ("task:\n  within: 1h", 2, "now stands under task.label"),
    ("task:\n  end: 2025-01-01", 2, "now stands under task.split"),
    ("task: {cutoff: month}", 1, 'task.cutoff must be day or week; got "month"'),
    ("task: {label: {positive: clicks}}", 1, r'task.label.positive must .* mean "click"\?'),
    ("task: {label: {positive: []}}", 1, "task.label.positive is an empty list"),
    ("task:\n  label:\n    match_on:\n      - user", 4, r'match_on\[1\] .* mean "user_id"\?'),
    ("task: {label: {match_on: event_time}}", 1, "must be one of user_id, item_id"),
    ("task: {history: [impression]}", 1, "must be one of click, cart, purchase"),
    *[
        (f"task: {{label: {{within: {value}}}}}", 1, "must be a time with its unit, such as 1h")
        for value in ("3600", "'3600'", "+5", "-1h", "soon", "nat", "1y", "[1h]", "99999999D")
    ],
    ("task: {time_zone: Shanghai}", 1, r'got "Shanghai".* mean "Asia/Shanghai"\?'),
    ("task: {time_zone: 8}", 1, r'the name of a time zone.* got "8"'),
    *[
        (f"task:\n  split:\n    end: {value}", 3, "task.split.end must be a date such as")
        for value in ("2025-02-30", "May 5", "2025", "2025-01-01 10:00:00", "2025-1-1", "20250101")
    ],
    ("task: {split: {valid_from: 2025-01-01}}", 1, "must state all three .* it has valid_from"),
    (
        "task:\n  split:\n    end: 2025-01-01\n    train_from: 2025-01-01",
        3,
        "task.split.end must be after train_from, which is 2025-01-01",
    ),
    ("task:\n  negatives: {from: popular}", 2, "must say how many: per_positive: 4"),
    ("task: {negatives: 4}", 1, "negatives must be lines of"),
    ("task: {negatives: {per_positive: 0}}", 1, "a whole number from 1 to 100; got"),
    ("task: {negatives: {per_positive: 101}}", 1, "a whole number from 1 to 100"),
    ("task: {negatives: {per_positive: 1.5}}", 1, "a whole number from 1 to 100"),
    ("task: {negatives: {per_positive: 1, from: catalog}}", 1, 'Did you mean "catalogue"'),
    (
        "task:\n  negatives: {per_positive: 4}\n  label:\n    within: 1h",
        4,
        "task.label.within must be period with task.negatives",
    ),
    (
        columns(f"{NEEDED}, label: l") + "task:\n  negatives: {per_positive: 4}",
        4,
        r"user_behavior \(line 1\) maps label",
    ),
    # limits
    ("max_users: 1", 1, "a whole number from 2 to 1,000,000,000,000, or all"),
    ("max_users: many", 1, 'or all; got "many"'),
    ("max_users: 2.0", 1, "a whole number"),
    ("max_users: " + "9" * 5000, 1, "a whole number"),
    ("max_users: ٣٣", 1, "a whole number"),
    ("on_bad_rows: skip", 1, "on_bad_rows must be drop or stop"),
    ("max_bad_share: 20%", 1, 'a share from 0 to 1, such as 0.2; got "20%"'),
    ("max_bad_share: 1.1", 1, "a share from 0 to 1"),
    ("max_bad_share: -0.1", 1, "a share from 0 to 1"),
    ("max_bad_share: true", 1, "a share from 0 to 1"),
]


@pytest.mark.parametrize(("text", "line", "message"), REFUSED)
def test_a_wrong_line_is_refused_with_its_number_and_a_remedy(tmp_path, text, line, message):
    with pytest.raises(DataError, match=message) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(f"schema.yaml, line {line}: ")
    assert_one_paragraph(refused.value)


def assert_one_paragraph(error: DataError) -> None:
    text = str(error)
    assert text.startswith("schema.yaml")
    assert text.isprintable()  # no line breaks, no control characters
    assert len(text) < 900
    assert not re.search(r"\.\.$|\?\.$|Node\(|Error|object at 0x", text), text


def test_decimal_commas_need_no_delimiter_where_no_text_is_read(tmp_path):
    for line in ("table: a", "file: a.parquet"):
        assert read(tmp_path, log(line, "decimal: ','")).parts["user_behavior"][0].decimal == ","


def test_what_cannot_be_a_schema_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"schema\.yaml is larger than 1 MB"):
        read(tmp_path, b"x" * 1_000_001)
    with pytest.raises(DataError, match="is not a file"):
        read_schema_file(tmp_path)


def test_a_message_shows_a_long_or_odd_value_in_short(tmp_path):
    for text in ("x" * 5000, '"a\\nb\\e[31m"', '"' + "\\u2028 " * 50 + 'x"'):
        with pytest.raises(DataError) as refused:
            read(tmp_path, f"task: {{cutoff: {text}}}")
        assert_one_paragraph(refused.value)


def test_a_rule_says_why_a_row_is_left_out():
    assert LeaveOut("a", "is_empty").reason == "left out: a is empty"
    assert LeaveOut("a", "one_of", ("x", "y")).reason == "left out: a one of x, y"
    assert LeaveOut("a", "below", 1.0).reason == "left out: a below 1"
    assert LeaveOut("a", "starts_with", "C").reason == "left out: a starts with C"


VALID = FULL.replace("  - table", "  - decimal: ','\n    delimiter: ';'\n    file").encode()


def test_the_file_that_the_next_test_breaks_is_valid(tmp_path):
    assert len(read(tmp_path, VALID).parts["user_behavior"]) == 2


ODD = ["", "null", "[]", "{}", "*a", "&a b", "!!str x", "no", "2025-01-01", '"', "%", "- 1", "\t"]
ODD += [
    "?",
    "[[[[[[[[[[[[[[[[",
    "1e999",
    "0",
    "-1",
    '"\\ud800"',
    '"\\U00110000"',
    "| ",
    ">-",
    "\x1b",
]
KNOWN = [key for keys in KEYS.values() for key in keys] + ["user_id", "label", "price", "zzz"]


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Return the valid file after a few changes to its lines, and perhaps its bytes."""
    lines = VALID.decode().splitlines()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["delete", "repeat", "rename", "retype", "indent", "swap"]))
        indent, key, rest = re.fullmatch(r"([ -]*)([^:]*)(.*)", lines[at]).groups()
        if kind == "delete":
            lines[at] = ""
        elif kind == "repeat":
            lines.insert(at, lines[at])
        elif kind == "rename":
            lines[at] = indent + draw(st.sampled_from(KNOWN) | st.text(max_size=8)) + rest
        elif kind == "retype":
            value = draw(st.sampled_from(ODD) | st.text(max_size=12) | st.sampled_from(KNOWN))
            lines[at] = f"{indent}{key}: {value}"
        elif kind == "indent":
            lines[at] = draw(st.sampled_from([" ", "  ", "\t", "- "])) + lines[at]
        else:
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(content)))
        content = (
            content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 3)) :]
        )
    return content


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(content=broken() | st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_a_broken_file_gives_a_mapping_or_one_clear_sentence(tmp_path, content):
    try:
        mapping = read(tmp_path, content)
    except DataError as refused:
        assert_one_paragraph(refused)
        return
    assert list(mapping.parts) == list(canonical_tables())
    assert mapping.stated <= {f.name for f in fields(Task)}
