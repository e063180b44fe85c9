"""Hundreds of broken files, drawn at random: a clear sentence, or tables whose rows add up."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from broken import assert_clear, written
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.base.errors import DataError
from helpers.data.files import stream_files
from helpers.data.schema_file import read_schema_file
from helpers.data.staging import Staged, stage

HEADER = ["user_id", "item_id", "event_time", "event_type", "price", "query"]
WORDS = ("red shoes", "a, b", 'say "hi"', "", "größer", "x\ny", "=1+1", "NA")
ROWS = [
    [f"canary{i % 3}", "abc"[i % 3], f"2025-01-{i + 1:02}T10:00:00Z", kind, f"{i}.5", words]
    for i, (kind, words) in enumerate(
        zip(["impression", "click"] * 6, [*WORDS, *WORDS[:4]], strict=True)
    )
]
LOG = written([HEADER, *ROWS]).encode()
PRODUCTS = b"item_id,title\na,A\nb,B\nc,C\n"
SCHEMA = """\
user_behavior:
  file: log.csv
  delimiter: ","
  time_zone: Europe/Madrid
  columns:
    user_id: user_id
    item_id: item_id
    event_time: event_time
    event_type: event_type
    price: price
    query: query
  values:
    event_type: {view: impression}
  leave_out:
    - {column: price, below: 1}
    - {column: item_id, one_of: [POST, M]}
product_features:
  from: user_behavior
  columns: {item_id: item_id}
task:
  label: {positive: [click], match_on: [user_id, item_id], within: 1h}
  split: {attribution_from: 2025-01-09, valid_from: 2025-01-12, test_from: 2025-01-15}
  cutoff: day
  history: [click]
max_users: 20
max_bad_share: 0.5
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


numbers = itertools.count()


def staged(folder: Path) -> Staged | None:
    """Return what becomes of a folder, None where a clear sentence refuses it."""
    try:
        mapping = read_schema_file(folder / "schema.yaml")
        return stage(
            mapping,
            lambda part: stream_files(part, folder),
            folder / f"staged{next(numbers)}",
            where="mine",
            fingerprint="",
        )
    except DataError as error:
        assert_clear(str(error))
        return None


def new(place: Path) -> Path:
    folder = place / f"n{next(numbers)}"
    folder.mkdir()
    return folder


def broken(content: bytes, seed: int) -> bytes:
    """Return bytes with one to four random changes."""
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content) + 1)
        kind = draw.randrange(8)
        lines = content.split(b"\n")
        at = draw.randrange(len(lines))
        if kind == 0:
            content = content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
        elif kind == 1:
            content = content[:place] + content[place + draw.randint(1, 9) :]
        elif kind == 2:
            content = content[:place] + draw.choice(PIECES) + content[place:]
        elif kind == 3 and draw.random() < 0.3:
            content = content[:place]
        elif kind == 4:
            content = b"\n".join([*lines[:at], lines[at], *lines[at:]])
        elif kind == 5:
            content = b"\n".join([*lines[:at], *lines[at + 1 :]])
        elif kind == 6:
            old, fresh = draw.choice([(b",", b";"), (b'"', b"'"), (b"\n", b"\r\n"), (b".", b",")])
            content = content.replace(old, fresh, draw.choice([1, 2, -1]))
        else:
            other = draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
            content = b"\n".join(lines)
    return content


PIECES = (
    *(b'"', b'""', b",", b"\n", b"\r", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b" ", b";", b"-"),
    *(b"a,b,c\n", b"=1", b"\xe2\x80\xae", b": ", b"- ", b"# ", b"{", b"}", b"[", b"&a ", b"|"),
    *(b"1e999", b"NaN", b"0000-00-00", b"9" * 30, b"canary9", b"'", b"\\", b"%", b"\x85", b"~"),
)


@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_a_broken_log_is_refused_or_its_rows_add_up(place, seed):
    folder = new(place)
    content = broken(LOG, seed)
    (folder / "user_behavior.csv").write_bytes(content)
    (folder / "product_features.csv").write_bytes(PRODUCTS)
    found = staged(folder)
    if found is None:
        return
    counts = found.facts["tables"]["user_behavior"]
    dropped = found.dropped[found.dropped.table == "user_behavior"].rows.sum()
    log = pd.read_parquet(found.folder / "user_behavior.parquet")
    assert counts["read"] == counts["kept"] + dropped
    assert len(log) == counts["kept"] > 0
    assert log.event_type.isin(["impression", "click"]).all()
    assert log[["user_id", "item_id", "event_time"]].notna().all().all()
    text = content.decode("utf-8")
    for name in ("user_id", "item_id"):  # nobody is made up
        assert all(value.replace('"', '""') in text for value in log[name])
    intact = {",".join(row[:4]) for row in ROWS}
    unknown = (
        Counter(
            ",".join([r.user_id, r.item_id, f"{r.event_time:%Y-%m-%dT%H:%M:%SZ}", r.event_type])
            for r in log.itertuples()
        ).keys()
        - intact
    )
    # Four changes at most: each can alter a few rows.
    assert len(unknown) <= 8 or text.count(",") != LOG.count(b",")


def test_the_schema_that_is_broken_below_is_in_order(place):
    folder = new(place)
    (folder / "schema.yaml").write_text(SCHEMA)
    (folder / "log.csv").write_bytes(LOG)
    found = staged(folder)
    assert found is not None
    assert found.facts["tables"]["user_behavior"] == {"read": 12, "kept": 11}


@settings(max_examples=250)
@given(st.integers(0, 2**32))
def test_a_broken_schema_is_refused_or_states_what_it_says(place, seed):
    folder = new(place)
    content = broken(SCHEMA.encode(), seed)
    (folder / "schema.yaml").write_bytes(content)
    try:
        mapping = read_schema_file(folder / "schema.yaml")
    except DataError as error:
        assert_clear(str(error).replace("canary", "word"))  # a schema names nobody: quote it
        return
    said = yaml.safe_load(content.decode("utf-8-sig")) or {}
    assert set(said) <= {"user_behavior", "product_features", "users", "task", *LIMITS}
    columns = ((said.get("user_behavior") or {}).get("columns")) or {}
    [part] = mapping.parts["user_behavior"]
    assert {name: str(v) for name, v in columns.items() if v is not None} == {
        name: stored[0] for name, stored in part.columns.items() if len(stored) == 1
    }
    if seed % 2 == 0:  # the slower half: what it says of a real log
        (folder / "log.csv").write_bytes(LOG)
        found = staged(folder)
        if found is not None:
            counts = found.facts["tables"]["user_behavior"]
            dropped = found.dropped[found.dropped.table == "user_behavior"].rows.sum()
            assert counts["read"] == len(ROWS) == counts["kept"] + dropped


LIMITS = ("max_users", "on_bad_rows", "max_bad_share")
FORMATS = {
    "ISO 8601": "%Y-%m-%dT%H:%M:%S",
    "%d/%m/%Y %H:%M:%S": "%d/%m/%Y %H:%M:%S",
    "%m-%d-%y %I:%M:%S %p": "%m-%d-%y %I:%M:%S %p",
    "unix s": "",
}
ALPHABETS = {
    "utf-8": "aZ09 ,;|\t\"'\n=é红👟",
    "latin-1": "aZ09 ,;|\t\"'\n=éß",
    "gb18030": "aZ09 ,;|\t\"'\n=红色",
    "utf-16": "aZ09 ,;|\t\"'\n=é红👟",
}


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[dict], dict]:
    """Return events, and how they are written."""
    encoding = draw(st.sampled_from(sorted(ALPHABETS)))
    text = st.text(ALPHABETS[encoding], max_size=6)
    name = text.filter(lambda t: t.strip())
    # Whole numbers: one moment must have one spelling in each format.
    moments = st.integers(946_684_800, 1_700_000_000)
    event = st.fixed_dictionaries(
        {
            "user_id": name,
            "item_id": name,
            "event_time": moments,
            "event_type": st.sampled_from(["impression", "click"]),
            "price": st.one_of(st.none(), st.integers(0, 10**6).map(lambda n: n / 100)),
            "query": text,
        }
    )
    events = draw(st.lists(event, min_size=1, max_size=8))
    decimal = draw(st.sampled_from(".,"))
    facts = {
        "encoding": encoding,
        "delimiter": draw(st.sampled_from([d for d in ",;|\t" if d != decimal])),
        "decimal": decimal,
        "time_format": draw(st.sampled_from(sorted(FORMATS))),
        "quoting": draw(st.sampled_from([0, 1])),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n"])),
    }
    return events, facts


def write_log(folder: Path, events: list[dict], facts: dict) -> None:
    """Write events as the facts say, with the schema that tells it."""
    rows = []
    for event in events:
        moment = pd.Timestamp(event["event_time"], unit="s")
        stated = FORMATS[facts["time_format"]]
        price = "" if event["price"] is None else str(event["price"])
        rows.append(
            [event["user_id"], event["item_id"]]
            + [moment.strftime(stated) if stated else str(event["event_time"])]
            + [event["event_type"], price.replace(".", facts["decimal"]), event["query"]]
        )
    dialect = {key: facts[key] for key in ("delimiter", "quoting", "lineterminator")}
    text = written([[f"my {n}" for n in HEADER], *rows], **dialect)
    (folder / "log.csv").write_bytes(text.encode(facts["encoding"]))
    part = {key: facts[key] for key in ("encoding", "delimiter", "decimal", "time_format")}
    part |= {"file": "log.csv", "duplicates": "keep", "columns": {n: f"my {n}" for n in HEADER}}
    derived = {"from": "user_behavior", "columns": {"item_id": "my item_id"}}
    stated = {"user_behavior": part, "product_features": derived}
    (folder / "schema.yaml").write_text(yaml.safe_dump(stated, allow_unicode=True), "utf-8")


@settings(max_examples=120)
@given(logs())
def test_whatever_is_written_and_told_is_read_exactly(place, log):
    events, facts = log
    folder = new(place)
    write_log(folder, events, facts)
    mapping = read_schema_file(folder / "schema.yaml")
    found = stage(
        mapping,
        lambda part: stream_files(part, folder),
        folder / "staged",
        where="mine",
        fingerprint="",
    )
    assert found.dropped.empty
    frame = pd.read_parquet(found.folder / "user_behavior.parquet")
    for name in ("user_id", "item_id", "query"):
        want = [event[name].strip() or None for event in events]
        got = frame[name].astype(object).where(frame[name].notna(), None).tolist()
        assert got == want
    prices = pd.Series([event["price"] for event in events], dtype="float64")
    pd.testing.assert_series_equal(frame.price, prices, check_names=False, check_exact=True)
    times = [int(time.timestamp()) for time in frame.event_time]
    assert times == [event["event_time"] for event in events]
    assert frame.event_type.tolist() == [event["event_type"] for event in events]
    products = pd.read_parquet(found.folder / "product_features.parquet")
    assert sorted(products.item_id) == sorted({event["item_id"].strip() for event in events})
