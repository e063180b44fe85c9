"""Folders that are wide, of many files, or odd: the work grows with them and no faster.

Nothing here looks at a clock. Calls of Python and queries are counted, at one size and at twice
that size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import schema
from helpers.__main__ import main
from helpers.base.errors import DataError
from helpers.base.words import near_match
from helpers.commands.check.columns import column_facts
from helpers.commands.check.leakage import single_feature_aucs
from helpers.commands.init import draft_schema
from helpers.commands.init.names import name_score
from helpers.commands.init.times import find_format
from helpers.data import whole_table
from helpers.data.chunks import Chunk
from helpers.data.cleaning import Cleaner
from helpers.data.cleaning.headers import resolve
from helpers.data.files import stream_files
from helpers.data.schema_file import StoredTable
from helpers.data.staging import Staged
from helpers.data.whole_table import Assembly, connect, name_sql
from helpers.samples import load_samples
from helpers.samples.encoding import Encoder
from helpers.schema import canonical_tables

LINEAR = 2.25  # so much more work may twice the size make


def calls(work: Callable[[], object]) -> int:
    """Return how many functions are called, those written in C as well."""
    count = 0

    def seen(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def grows(work: Callable[[int], Callable[[], object]], size: int) -> float:
    """Return how many times as many calls twice the size takes, once all is warm."""
    work(size)()
    return calls(work(2 * size)) / calls(work(size))


def log(columns: int, *, rows: int = 200, prefix: str = "extra") -> pd.DataFrame:
    """Return a log that samples can be made of, with further columns."""
    rng = np.random.default_rng(0)
    days = np.sort(rng.integers(0, 30, rows))
    shown = pd.DataFrame(
        {
            "user_id": [f"u{n}" for n in rng.integers(0, 9, rows)],
            "item_id": [f"i{n}" for n in rng.integers(0, 9, rows)],
            "event_time": pd.Timestamp("2025-01-01 10:00") + pd.to_timedelta(days, unit="D"),
            "event_type": "impression",
        }
    )
    taken = shown[rng.random(rows) < 0.3].assign(event_type="click")
    taken["event_time"] += pd.Timedelta("1min")
    frame = pd.concat([shown, taken], ignore_index=True).astype("str")
    rows = len(frame)
    kinds = [rng.integers(0, 9, rows).astype("str"), rng.choice(["red", "blue"], rows)]
    more = {f"{prefix}{n}": kinds[n % 2] for n in range(columns)}
    return pd.concat([frame, pd.DataFrame(more)], axis=1)


def folder_of(folder: Path, frame: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "user_behavior.csv", index=False)
    pd.DataFrame({"item_id": [f"i{n}" for n in range(9)]}).to_csv(
        folder / "product_features.csv", index=False
    )
    return folder


# ---------------------------------------------------------------- columns


def test_check_and_init_take_work_in_proportion_to_the_columns(tmp_path, capsys):
    def command(name: str) -> Callable[[int], Callable[[], object]]:
        def work(size: int) -> Callable[[], object]:
            # Other names each time, so that nothing comes from the cache.
            new = f"{name}{len([*tmp_path.iterdir()])}"
            place = folder_of(tmp_path / new, log(size, prefix=f"{new}_"))
            return lambda: main([name, "--path", str(place)])

        return work

    assert grows(command("check"), 150) < LINEAR
    assert grows(command("init"), 150) < LINEAR
    assert "fault of the workbook" not in capsys.readouterr().err


@pytest.mark.parametrize("columns", [None, {"user_id": ("user_id",)}])
def test_a_header_is_settled_in_proportion_to_its_names(columns):
    given = {"columns": columns} if columns else {}

    def work(size: int) -> Callable[[], object]:
        names = Counted.many(["user_id", *(f"c{n}" for n in range(size))])
        extra = tuple(names[1:]) if columns else None
        return lambda: resolve(StoredTable("users", extra=extra, **given), names, "users.csv")

    assert compared(work, 4_000) / compared(work, 2_000) < LINEAR


class Counted(str):
    """A name that counts how often it is compared with another one."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)

    @classmethod
    def many(cls, names: list[str]) -> list[str]:
        return [cls(name) for name in names]


def compared(work: Callable[[int], Callable[[], object]], size: int) -> int:
    job = work(size)
    Counted.comparisons = 0
    job()
    return Counted.comparisons + size


def test_a_name_twice_among_many_is_found_without_comparing_all_with_all():
    def work(size: int) -> Callable[[], object]:
        names = Counted.many([f"c{n % (size - 1)}" for n in range(size)])
        return lambda: schema.repeated(names)

    assert work(3)() == ["c0"]
    assert compared(work, 4_000) / compared(work, 2_000) < LINEAR


def test_no_query_on_a_wide_table_looks_at_many_columns_twice(tmp_path, monkeypatch):
    seen: list[int] = []
    plain = whole_table.ask

    def ask(connection, questions, rows):
        seen.append(len(questions) if rows == "narrowed" else 10**9)
        return plain(connection, questions, rows)

    monkeypatch.setattr(whole_table, "ask", ask)
    names = [f"c{n}" for n in range(230)]
    table = pa.table({n: ["1", "2.5", None] for n in names} | {"_place": [0, 1, 2]})
    pq.write_table(table, tmp_path / "raw.parquet")
    with connect(tmp_path / "spill") as connection:
        made = Assembly(
            connection, canonical_tables()["product_features"], [tmp_path / "raw.parquet"]
        )
        made.write(tmp_path / "made.parquet")
    assert sum(seen) == len(names)
    assert pq.read_schema(tmp_path / "made.parquet").types == [pa.float64()] * len(names)


def test_a_wide_table_gets_the_types_that_a_narrow_one_gets(tmp_path):
    kinds = {
        "whole": ["1", "2", None],
        "point": ["1.5", "-2e3", "7"],
        "under": ["1_2", "3", "4"],
        "text": ["red", "1", "2"],
        "none": [None, None, None],
        "endless": ["inf", "1", "2"],
    }
    typed = {}
    for width in (1, 40):
        several = [
            pa.table(
                {
                    f"{k}{n}": pa.array(v, pa.string())
                    for k, v in kinds.items()
                    for n in range(width)
                }
            )
            for _ in range(2)
        ]
        files = []
        for number, table in enumerate(several):
            files.append(tmp_path / f"{width}-{number}.parquet")
            places = pa.array(np.arange(3) + 3 * number)
            pq.write_table(table.append_column("_place", places), files[-1])
        with connect(tmp_path / "spill") as connection:
            made = Assembly(connection, canonical_tables()["product_features"], files)
            assert made.write(tmp_path / "made.parquet") == 6
        found = pq.read_table(tmp_path / "made.parquet")
        typed[width] = {k: (str(found[f"{k}0"].type), found[f"{k}0"].to_pylist()) for k in kinds}
    assert typed[1] == typed[40]
    assert [t for t, _ in typed[1].values()] == ["double", "double", *["string"] * 4]


def test_columns_are_counted_alike_in_memory_and_by_query(tmp_path, monkeypatch):
    from helpers.commands.check import columns

    frame = pd.DataFrame(
        {
            "user_id": ["a", "b", "c", "d"],
            "zero": [0.0, -0.0, None, 1.0],
            "some": ["x", None, "x", "y"],
            "none": pd.Series([None] * 4, dtype="str"),
            "when": pd.to_datetime(["2025-01-01", "2025-01-01", None, "2025-01-02"], utc=True),
            **{f"c{n}": ["1", "1", "1", None] for n in range(columns._WIDE)},
        }
    )
    frame.to_parquet(tmp_path / "users.parquet", index=False)
    staged, found = Staged(tmp_path, {}), []
    for small in (100_000, 0):
        monkeypatch.setattr(columns, "_SMALL", small)
        with staged.database() as connection:
            found.append(column_facts(staged, connection, "users"))
    assert found[0] == found[1]
    assert [f["distinct"] for f in found[0][:5]] == [4, 2, 2, 0, 2]


def test_an_encoder_looks_each_name_up_once():
    def work(size: int) -> Callable[[], object]:
        values = ["a", "b"] * 25
        raw = pd.DataFrame(dict.fromkeys(Counted.many([f"c{n}" for n in range(size)]), values))
        return lambda: Encoder.fit(raw, min_rows=1).dense(raw)

    assert compared(work, 400) / compared(work, 200) < LINEAR


# ---------------------------------------------------------------- files


def test_many_files_take_work_in_proportion_to_their_number(tmp_path):
    def work(size: int) -> Callable[[], object]:
        folder = tmp_path / f"files{size}"
        folder.mkdir(exist_ok=True)
        for number in range(size):
            (folder / f"log-{number:05}.csv").write_text("user_id,age\na,1\nb,2\n")
        part = StoredTable("users", files=("log-*.csv",))

        def read() -> None:
            cleaner, last = Cleaner(part, task_zone="UTC"), ""
            for chunk in stream_files(part, folder):
                if chunk.where != last:
                    cleaner.header(list(chunk.frame), chunk.where)
                    last = chunk.where
                cleaner.clean(chunk)

        return read

    assert grows(work, 40) < LINEAR


def test_a_draft_holds_no_file_against_all_patterns(tmp_path, monkeypatch):
    from helpers.commands.init import looking

    monkeypatch.setattr(looking, "_PATTERNS", 3)
    tried: list[str] = []
    plain = looking.fnmatch.filter
    monkeypatch.setattr(
        looking.fnmatch, "filter", lambda names, p: tried.append(p) or plain(names, p)
    )
    for letter in "abcdefgh":
        for number in (1, 2):
            log(0, rows=20).to_csv(tmp_path / f"{letter}-{number}.csv", index=False)
    draft = draft_schema(tmp_path)
    assert len(tried) == 3
    assert "a-*.csv" in draft


# ---------------------------------------------------------------- limits and messages


def test_more_columns_than_can_be_kept_are_refused_with_the_number_and_a_remedy(
    tmp_path, monkeypatch, capsys
):
    from helpers.commands.init import looking
    from helpers.data.cleaning import headers

    for module in (headers, looking):
        monkeypatch.setattr(module, "MOST_KEPT", 30)
    folder = folder_of(tmp_path, log(31))
    assert main(["check", "--path", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "31 columns would be kept" in said
    assert "at most 30 can be" in said
    assert "list under extra in schema.yaml" in said
    assert main(["init", "--path", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "user_behavior.csv: it has 35 columns" in said
    assert "at most 30" in said


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_of_more_columns_than_are_read_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(schema, "MOST_STORED", 20)
    table = pa.table({f"c{n}": ["1"] for n in range(21)})
    if kind == "csv":
        table.to_pandas().to_csv(tmp_path / "users.csv", index=False)
    else:
        pq.write_table(table, tmp_path / "users.parquet")
    with pytest.raises(DataError, match="has 21 columns, and at most 20 are read; leave columns"):
        next(stream_files(StoredTable("users"), tmp_path))


def test_the_page_of_a_wide_table_stays_readable(tmp_path, capsys):
    folder = folder_of(tmp_path, log(400))
    for number in range(50):
        (folder / f"other{number}.csv").write_text("a,b\n1,2\n")
    assert main(["check", "--path", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "more" in said
    assert max(map(len, said.splitlines())) < 400
    assert len(said.splitlines()) < 200


def test_the_draft_of_a_wide_table_stays_readable_and_can_be_checked(tmp_path, capsys):
    folder = folder_of(tmp_path, log(900, prefix="a rather long name of a column "))
    assert main(["init", "--path", str(folder)]) == 0
    draft = (folder / "schema.yaml").read_text()
    assert len(draft.splitlines()) < 200
    assert len(draft) < 30_000
    assert "more columns" in draft
    assert main(["check", "--path", str(folder)]) == 0


@pytest.mark.parametrize(
    "names",
    [
        ["select", 'a"b', "a'b", "x\ny", "drop table users; --", "%s", "{x}", "\u202e", "NULL"],
        ["n" * 65_536],
        [f"{'long' * 500}{n}" for n in range(20)],
        ["C1", "c1"],
        ["day", "_place"],
        ["narrowed", "chunk", "known", "gone", "repeats"],
        ["e\u0301", "\xe9"],
    ],
    ids=["sql", "very long", "long", "case", "ours", "views", "accents"],
)
@pytest.mark.parametrize("command", ["check", "init"])
def test_odd_names_of_columns_give_an_answer_or_a_sentence(tmp_path, capsys, names, command):
    frame = log(len(names))
    frame.columns = [*frame.columns[:4], *names]
    code = main([command, "--path", str(folder_of(tmp_path, frame))])
    said = capsys.readouterr()
    assert "fault of the workbook" not in said.err
    assert code in (0, 2)
    assert len(said.err) < 2_000


@pytest.mark.parametrize(
    "content",
    [
        ",".join(f"c{n}" for n in range(3_000)),
        ",".join(["user_id", *["c"] * 3_000]) + "\n" + ",".join(["1"] * 3_001),
        "user_id" + "," * 3_000 + "\n" + ",".join(["1"] * 3_001),
        "x" * 1_000_000,
        "user_id," + "x" * 1_000_000 + "\n1,2\n",
        '"' + "x" * 1_000_000,
    ],
    ids=["no rows", "twice", "no names", "one long name", "a long name", "an open quote"],
)
@pytest.mark.parametrize("command", ["check", "init"])
def test_odd_headers_are_refused_in_a_sentence(tmp_path, capsys, content, command):
    (tmp_path / "user_behavior.csv").write_text(content)
    code = main([command, "--path", str(tmp_path)])
    said = capsys.readouterr().err
    assert "fault of the workbook" not in said
    assert len(said) < 2_000
    # A draft leaves out columns without a name; reading them is refused.
    assert code == (0 if (command, content[:9]) == ("init", "user_id,,") else 2)
    assert said.count("\n") == (code == 2)


def test_near_matches_leave_names_alone_that_are_no_slips_of_the_pen():
    assert near_match("x" * 50_000, ["x" * 49_999]) == ""
    assert near_match("user", ["u" * 50_000, "user_id"]) == ' Did you mean "user_id"?'


# ---------------------------------------------------------------- short cuts prove themselves


def test_a_column_is_taken_as_no_time_only_where_no_format_reads_it():
    rng = np.random.default_rng(0)
    from helpers.commands.init.times import _find

    times = ["2025-01-31", "31/01/2025 10:00", "1433221332", "1433221332117", "20250131", "10:15"]
    times += [
        "2025年1月31日",
        "31 Jan 2025",
        "Jan 31, 2025",
        "2025-01-31T10:00:00+01:00",
        "1.2.2025",
    ]
    for written in times:
        for others in (0, 5, 10, 14, 15, 16, 30):
            values = [written] * (100 - others) + ["red"] * others
            series = pd.Series(rng.permutation(values), dtype="str")
            assert (find_format(series) is None) == (_find(series) is None), (written, others)


@pytest.mark.parametrize("name", ["Custommer", "itm", "categry", "cattegory", "prise", "sesion"])
def test_a_name_is_close_to_those_that_a_plain_comparison_finds(name):
    import difflib

    from helpers.commands.init.names import ALIASES, core

    for column, known in ALIASES.items():
        close = difflib.get_close_matches(core(name), known, n=1, cutoff=0.85)
        wanted = bool(close) and min(len(close[0]), len(core(name))) >= 5
        assert (name_score(name, column) >= 0.6) >= wanted


def test_a_single_feature_is_judged_as_pandas_would_judge_it():
    samples = load_samples("sample")
    train, valid = samples.rows("train"), samples.rows("valid")
    labels, found = samples.labels(train), single_feature_aucs(samples).set_index("feature").auc
    from helpers.commands.check.leakage import auc

    for name in ("item_category", "day_of_week"):
        values = samples.features[name]
        by_name = pd.Series(labels).groupby(values.iloc[train].to_numpy())
        means = (by_name.sum() + 10 * labels.mean()) / (by_name.size() + 10)
        judged = values.iloc[valid].map(means).fillna(labels.mean())
        wanted = auc(samples.labels(valid), judged.to_numpy())
        assert found[name] == pytest.approx(max(wanted, 0.5), rel=1e-12)


def test_digests_of_a_wide_chunk_tell_rows_apart_by_any_column(monkeypatch):
    from helpers.data import staging

    monkeypatch.setattr(staging, "_HASHED", 3)
    frame = pd.DataFrame({f"c{n}": ["a", "a", "b", "a"] for n in range(11)}).astype("str")
    frame.loc[3, "c7"] = "other"
    writer = staging._Writer.__new__(staging._Writer)
    writer._number, writer._connection = 0, staging.duckdb.connect()
    digests = writer._digests(frame)
    assert digests[0] == digests[1]
    assert len({*digests.tolist()}) == 3
    assert (writer._digests(frame[frame.columns[::-1]]) == digests).all()


def test_quotes_in_names_stay_inside_of_them():
    assert name_sql('a"b') == '"a""b"'
    chunk = Chunk(pd.DataFrame({"user_id": ["1"], 'a"b': ["2"]}), "users.csv")
    assert list(Cleaner(StoredTable("users"), task_zone="UTC").clean(chunk)) == ["user_id", 'a"b']
