"""Files in pieces: what Python's csv reads, or a sentence that says what is wrong and where."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import peak_mb

from helpers.base.errors import DataError
from helpers.data.chunks import Chunk
from helpers.data.files import delimited, encodings, file_names, records, stream_files
from helpers.data.files.encodings import plausible_encodings
from helpers.data.schema_file import StoredTable

NAME = "user_behavior.csv"


def read(folder: Path, name: str = NAME, **facts: object) -> list[Chunk]:
    return list(stream_files(StoredTable("user_behavior", files=(name,), **facts), folder))


def written(folder: Path, content: str | bytes, name: str = NAME, **facts: object) -> list[Chunk]:
    """Write a file and read it."""
    content = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    return read(folder, name, **facts)


def rows(chunks: list[Chunk]) -> list[list[str | None]]:
    """Return all values, missing ones as None; values of a chunk have an index from 0."""
    for chunk in chunks:
        assert chunk.frame.index.equals(pd.RangeIndex(len(chunk.frame)))
    frames = [c.frame.astype(object) for c in chunks]
    return [[None if v is pd.NA or v != v else v for v in r] for f in frames for r in f.to_numpy()]


def faults(chunks: list[Chunk]) -> dict[str, list[str]]:
    """Return the lines of rows that were not delivered, by reason."""
    found: dict[str, list[str]] = {}
    for chunk in chunks:
        for reason, places in chunk.faults.items():
            found.setdefault(reason, []).extend(chunk.locate(p) for p in places)
    return found


def lines(chunks: list[Chunk]) -> list[str]:
    """Return the line of each delivered row."""
    return [c.locate(c.first + i) for c in chunks for i in range(len(c.frame))]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read 50 bytes at once and deliver 3 rows, so that every border is met."""
    monkeypatch.setattr(encodings, "_FIRST", 50)
    monkeypatch.setattr(encodings, "_PIECE", 50)
    monkeypatch.setattr(delimited, "ROWS", 3)


# --- Right answers -------------------------------------------------------------------------


def oracle(text: str, delimiter: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and (line, values) of each row, as Python's csv reads them."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    found, line = [], 1
    for row in reader:
        if row and (len(row) > 1 or row[0].strip()):
            found.append((line, row))
        line = reader.line_num + 1
    return [name.strip() for name in found[0][1]], found[1:]


def stripped(table: Iterable[list[str | None]]) -> list[list[str | None]]:
    """Return values without the blanks that Python's csv skips, and no text as missing."""
    return [[(v or "").lstrip(" ") or None for v in row] for row in table]


def attempted(folder: Path, content: str | bytes, *args: str, **facts: object) -> Any:
    """Return the pieces, or the sentence of a refusal."""
    try:
        return written(folder, content, *args, **facts)
    except DataError as error:
        return str(error)


LETTERS = st.sampled_from([*"ab7 \",;|\n\r\t'\\=é红🙂", '""', "\r\n", "NA", ", ", ' "', '",'])
VALUES = st.lists(LETTERS, max_size=5).map("".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], dict[str, object]]:
    width = draw(st.integers(2, 5))
    names = [f"column {i}" for i in range(width)]
    body = draw(st.lists(st.lists(VALUES, min_size=width, max_size=width), max_size=8))
    facts = {
        "delimiter": draw(st.sampled_from([",", ";", "\t", "|"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-16", "gb18030", "utf-8-sig"])),
    }
    return names, body, facts


FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(
    table=tables(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    ending=st.sampled_from([".csv", ".csv.gz"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    blanks=st.sampled_from(["", " "]),
)
def test_every_written_table_comes_back(
    tmp_path, small_pieces, table, end, ending, quoting, blanks
):
    """Whatever Python's csv writes is read as it was, and each row has its line."""
    names, body, facts = table
    out = io.StringIO(newline="")
    writer = csv.writer(
        out, delimiter=facts["delimiter"], lineterminator=end, quoting=quoting, doublequote=True
    )
    writer.writerows([names, *body])
    text = out.getvalue()
    if quoting == csv.QUOTE_ALL and blanks:
        text = blanks + text
    chunks = written(tmp_path, text.encode(facts["encoding"]), f"t{ending}", **facts)
    want = oracle(text, facts["delimiter"])[1]
    assert list(chunks[0].frame) == names
    if quoting == csv.QUOTE_ALL:
        assert rows(chunks) == [[v or None for v in r] for r in body]
        assert not faults(chunks)
    good = [(n, r) for n, r in want if len(r) == len(names)]  # csv leaves a lone \\r without quotes
    assert stripped(rows(chunks)) == stripped(r for _, r in good)
    assert lines(chunks) == [f"line {n}" for n, _ in good]


@FUZZ
@given(
    text=st.lists(
        st.sampled_from([*'", \n\ra\né', "\r\n", "b,c", '""', ',"', '",']),
        max_size=40,
    ).map("".join),
    ending=st.sampled_from([".csv", ".csv.gz"]),
)
def test_whatever_is_written_is_read_as_python_does_or_refused(
    tmp_path, small_pieces, text, ending
):
    """Broken quotes, ragged rows, blank lines: never a value in the wrong column or line."""
    text = "x,y\n" + text
    chunks = attempted(tmp_path, text, f"t{ending}")
    if isinstance(chunks, str):
        assert "opens a quote that never closes" in chunks
        assert '"' in text
        return
    _, found = oracle(text, ",")
    good = [(f"line {n}", r) for n, r in found if len(r) == 2]
    assert stripped(rows(chunks)) == stripped(r for _, r in good)
    assert lines(chunks) == [n for n, _ in good]
    bad = {f"line {n}": len(r) for n, r in found if len(r) != 2}
    got = {n: int(reason.split()[1]) for reason, at in faults(chunks).items() for n in at}
    assert got == bad


@FUZZ
@given(content=st.binary(max_size=300), encoding=st.sampled_from(["utf-8", "gb18030", "utf-16"]))
def test_any_bytes_give_a_table_or_a_sentence(tmp_path, content, encoding):
    content = b"a,b\n" * (encoding != "utf-16") + content
    chunks = attempted(tmp_path, content, encoding=encoding)
    if isinstance(chunks, str):
        assert chunks.startswith("user_behavior.csv: ")
        assert len(chunks) < 400
    else:
        assert all(len(set(c.frame)) == len(c.frame.columns) for c in chunks)


def test_pandas_reads_the_same_from_a_long_file(tmp_path):
    """Blocks of many megabytes, with and without quotes, line breaks and rows of another width."""
    rng = np.random.default_rng(0)
    n = 100_000
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(0, 10**9, n).astype("str"),
            "note": rng.choice(["", 'say "x", y', "two\nlines", "plain", "NA"], n),
            "item_id": np.arange(n).astype("str"),
            "wide": np.char.multiply("z", rng.integers(0, 200, n)),
        }
    )
    frame.to_csv(tmp_path / NAME, index=False)
    chunks = read(tmp_path)
    got = pd.concat([c.frame for c in chunks], ignore_index=True)
    want = pd.read_csv(tmp_path / NAME, dtype="str", keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(got, want)
    assert got.dtypes.eq("str").all()
    assert len(chunks) > 2
    assert max(len(c.frame) for c in chunks) <= 100_000
    assert [c.first for c in chunks] == [
        *itertools.accumulate([0, *(len(c.frame) for c in chunks[:-1])])
    ]
    text = (tmp_path / NAME).read_text()
    for chunk in chunks[::2]:
        start = text.index(f",{chunk.frame.item_id.iloc[5]},") + 1
        begin = text.rindex(chunk.frame.user_id.iloc[5], 0, start)
        line = 1 + text[:begin].count("\n")
        assert chunk.locate(chunk.first + 5) == f"line {line}"


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa,b\n1,2\n",
        "a,b\r\n1,2\r\n",
        "a,b\r1,2\r",
        "a,b\n1,2",
        "a,b\n1,2\n\n\n",
        "\n  \n\na,b\n1,2\n",
        "a,b\n\n   \n1,2\n",
        " a , b\n1,2\n",
        '"a","b"\n"1","2"\n',
        '"a", "b"\n"1",     "2"\n',
        '"a" ,"b"\n1,"2"\n',
        ",a,b\n0,1,2\n",
        "a,b,\n1,2,\n",
    ],
)
def test_harmless_habits_change_nothing(tmp_path, content):
    chunks = written(tmp_path, content)
    assert list(chunks[0].frame) == ["a", "b"]
    assert rows(chunks) == [["1", "2"]]


def test_names_that_look_like_nothing_and_formulas_stay_text(tmp_path):
    words = ["NA", "None", "null", "NaN", "=1+1", "=cmd|' /C calc'!A0", "007", "1e5", "True"]
    chunks = written(tmp_path, "a,b\n" + "".join(f"{w},\n" for w in words))
    assert rows(chunks) == [[w, None] for w in words]
    assert (chunks[0].frame.dtypes == "str").all()


def test_a_header_alone_gives_one_empty_piece_with_the_columns(tmp_path):
    (chunk,) = written(tmp_path, "a,b,\n")
    assert list(chunk.frame) == ["a", "b"]
    assert len(chunk.frame) == 0
    pd.DataFrame({"a": pd.Series(dtype="str")}).to_parquet(tmp_path / "e.parquet")
    (chunk,) = read(tmp_path, "e.parquet")
    assert (list(chunk.frame), len(chunk.frame)) == (["a"], 0)


def test_a_quote_within_a_value_is_a_letter(tmp_path):
    chunks = written(tmp_path, 'a,b\n5" pipe,2\n"x""y",3\n"z"z,"4"\n')
    assert rows(chunks) == [['5" pipe', "2"], ['x"y', "3"], ["zz", "4"]]


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "gb18030", "shift_jis", "utf-8"]
)
def test_a_stated_encoding_is_read(tmp_path, encoding):
    word = {"gb18030": "红色", "shift_jis": "カメラ"}.get(encoding, "Müsli")
    content = f"a,b\n{word},1\n" * 3
    chunks = written(tmp_path, content.encode(encoding), encoding=encoding)
    assert rows(chunks)[0] == [word, "1"]


def test_a_mark_before_text_of_a_stated_byte_order_is_no_letter(tmp_path):
    chunks = written(tmp_path, "\ufeffa,b\n1,2\n".encode("utf-16-le"), encoding="utf-16-le")
    assert list(chunks[0].frame) == ["a", "b"]


# --- Rows that are none --------------------------------------------------------------------


def test_rows_with_too_many_or_few_values_are_counted_and_not_delivered(tmp_path):
    text = 'a,b,c\n1,2,3\n1,2\n\n"x\ny",2,3\n1,2,3,4\n7,8,9\n1\n'
    chunks = written(tmp_path, text)
    assert rows(chunks) == [["1", "2", "3"], ["x\ny", "2", "3"], ["7", "8", "9"]]
    assert lines(chunks) == ["line 2", "line 5", "line 8"]
    assert faults(chunks) == {
        "has 2 values where the header has 3 names": ["line 3"],
        "has 4 values where the header has 3 names": ["line 7"],
        "has 1 value where the header has 3 names": ["line 9"],
    }


def test_a_file_of_faulty_rows_alone_delivers_none(tmp_path):
    for row in ("1", "1" * 800_000):
        chunks = written(tmp_path, f"a,b\n{row}\n{row}\n")
        assert rows(chunks) == []
        assert faults(chunks) == {"has 1 value where the header has 2 names": ["line 2", "line 3"]}
        assert list(chunks[0].frame) == ["a", "b"]


# --- Files that cannot be used -------------------------------------------------------------

LONG = "x" * 1_200_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty; it needs a header and rows"),
        ("\n  \n", "the file is empty"),
        ("a;b\n1;2\n", r"The header is separated by ';'; say `delimiter: \";\"` in schema.yaml"),
        ("a\tb\n1\t2\n", r"separated by '\\t'; say `delimiter: tab` in schema.yaml"),
        ("a,a\n1,2\n", 'column "a" appears twice; rename or remove one'),
        ("a, a \n1,2\n", 'column "a" appears twice'),
        ("a,,\n1,2,3\n", "2 columns have no name; name them"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3 opens a quote that never closes; close it, or"),
        ('a,b\n1,"x\n2,3\n4,"y"\n5,6\n', "line 2 opens a quote that never closes"),
        ('a,b\n1,"x\n' + "2,3\n" * 5_000_000, "line 2 opens a quote that never closes"),
        ('"a,b\n1,2\n', "line 1 opens a quote that never closes"),
        ("a,b\n1,2\n3,4\0\n", "line 3 holds a NUL character"),
        ("a,b\n1,2\n".encode("utf-16"), "begins with the mark of UTF-16; say `encoding: utf-16`"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1 holds a NUL .* say `encoding: utf-16` in"),
        (f"a,b\n1,2\n3,{LONG}\n", r'line 3, column "b": the value has 1,200,000 bytes, and 1 MB'),
        (f'a,b\n1,2\n3,"{LONG}"\n', r'line 3, column "b": the value has 1,200,000 bytes'),
        (f"a,b\n1,2\n3,{LONG * 9}\n", "begins in line 3 holds more than 1 MB in one value"),
        (f'a,b\n1,2\n3,"{LONG * 9}"\n', "begins in line 3 holds more than 1 MB in one value"),
        ("a," + "b" * 200_000 + "\n1,2\n", "the header cannot be read: field larger .* line 1"),
        (LONG * 20, "the row that begins in line 1 holds more than 1 MB in one value"),
        (b"PK\x03\x04xx", "this is no CSV file: it is a workbook of a spreadsheet"),
        (
            gzip.compress(b"a,b\n", mtime=0),
            "it is packed by gzip; give it a name that ends in .csv.gz",
        ),
        (b"PAR1....", "it is a Parquet file; give it a name that ends in .parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_place_and_remedy(tmp_path, content, message):
    with pytest.raises(DataError, match=f"^user_behavior.csv: .*{message}"):
        written(tmp_path, content)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Müsli, Käse und Brötchen; crème brûlée", "cp1252"),
        ("El niño comió piña — “mañana”", "cp1252"),
        ("红色的连衣裙和数据线，手机保护壳", "gb18030"),
        ("紅色的連衣裙和資料線，手機保護殼", "big5"),
        ("赤いドレスとデータケーブル、カメラ", "shift_jis"),
        ("빨간 드레스와 데이터 케이블", "euc-kr"),
        ("красное платье и кабель для телефона", "cp1251"),
    ],
)
def test_another_encoding_names_the_line_and_what_fits(tmp_path, text, encoding, packed):
    content = "id\ttitle\n" + "1\tplain\n" * 20 + f"2\t{text}\n" * 3
    with pytest.raises(
        DataError,
        match=rf"^user_behavior.csv.*: line 22 is not UTF-8 text; say `encoding: {encoding}` in ",
    ):
        written(tmp_path, content.encode(encoding), NAME + packed, delimiter="\t")


@pytest.mark.parametrize(
    "text", ["Müsli", "é", "SET £1 GIFT", "5 £", "Nº sesión;¿Clic?", "1ª calidad", "50 µm"]
)
def test_latin_1_is_named_beside_its_twin(text):
    assert plausible_encodings(text.encode("latin-1"))[:2] == ["cp1252", "latin-1"]


def test_the_pound_and_the_question_mark_of_the_west_are_no_letters_of_the_east():
    """In cp1250 their bytes are a letter each, which stands in front of other letters."""
    assert plausible_encodings("Łańcuch, Żółw, łóżko".encode("cp1250")) == ["cp1250"]


def test_bytes_that_fit_nothing_leave_the_file_to_be_saved_again(tmp_path):
    with pytest.raises(DataError, match="line 2 is not UTF-8 text; (save|say)"):
        written(tmp_path, b"a,b\n\x81\x8d,\xff\xfe\n")


def test_bytes_that_are_no_text_of_a_row_that_is_dropped_are_seen(tmp_path):
    with pytest.raises(DataError, match="line 3 is not UTF-8 text"):
        written(tmp_path, "a,b\n1,2\nMüsli\n".encode("latin-1"))


def test_a_stated_encoding_that_does_not_fit_is_refused(tmp_path):
    lines_ = "a,b\n" + "1,2\n" * 9 + "红色的连衣裙,2\n"
    with pytest.raises(DataError, match="line 11 is not shift_jis text; say `encoding: gb18030`"):
        written(tmp_path, (lines_).encode("gb18030"), encoding="shift_jis")
    with pytest.raises(DataError, match=r"there is no encoding 'latin1x'.* mean \"latin-1\"\?"):
        written(tmp_path, "a\n1\n", encoding="latin1x")
    with pytest.raises(DataError, match="there is no encoding 'rot13'"):
        written(tmp_path, "a\n1\n", encoding="rot13")
    with pytest.raises(DataError, match="the mark of UTF-8, but schema.yaml states another"):
        written(tmp_path, "\ufeffa,b\n", encoding="latin-1")


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "，"])
def test_a_delimiter_that_is_none_is_refused(tmp_path, delimiter):
    with pytest.raises(DataError, match="the delimiter must be one character such as"):
        written(tmp_path, "a,b\n1,2\n", delimiter=delimiter)


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "nothing"])
@pytest.mark.parametrize("ending", [".csv.gz", ".parquet"])
def test_a_damaged_file_is_refused(tmp_path, ending, damage):
    frame = pd.DataFrame({"a": np.arange(9000), "b": np.random.default_rng(0).random(9000)})
    file = tmp_path / f"t{ending}"
    frame.to_csv(file, index=False) if ending == ".csv.gz" else frame.to_parquet(file)
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[200:400] = bytes(b ^ 0xFF for b in content[200:400])
    file.write_bytes({"cut": content[:-20], "other": b"hello", "nothing": b""}.get(damage, content))
    with pytest.raises(DataError, match=f"^t{ending}: .*(cannot be read|is empty|is not UTF-8)"):
        read(tmp_path, file.name)


def test_what_is_no_file_is_refused_and_nothing_hangs(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "nowhere.csv").symlink_to(tmp_path / "gone.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in {
        "folder.csv": 'this is a folder; name the files in it, as in file: "folder/',
        "loop.csv": "the link leads back to itself",
        "nowhere.csv": "the link leads to no file",
        "pipe.csv": "this is a pipe or a device; save the table in a file",
    }.items():
        with pytest.raises(DataError, match=f"^{name}: {message}"):
            read(tmp_path, name)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    def refuse(self, *args, **facts):
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / NAME).write_text("a,b\n1,2\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="cannot be read: this account has no right to; allow"):
        read(tmp_path)


@pytest.mark.parametrize("change", ["grow", "touch", "replace", "remove"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, ending, change):
    frame = pd.DataFrame({"a": np.arange(300_000)})
    file = tmp_path / f"t{ending}"
    frame.to_parquet(file) if ending == ".parquet" else frame.to_csv(file, index=False)
    chunks = stream_files(StoredTable("users", files=(file.name,)), tmp_path)
    next(chunks)
    content = file.read_bytes()
    if change == "grow":
        file.write_bytes(content + content)
    elif change == "touch":
        os.utime(file, ns=(1, 1))
    else:
        file.unlink()
        if change == "replace":
            (tmp_path / "keep").write_bytes(b"")
            file.write_bytes(content)
    with pytest.raises(DataError, match=r"^t\..*: the file changed while it was read; copy it fi"):
        list(chunks)


# --- Several files, and none ---------------------------------------------------------------


def test_files_of_one_table_may_have_their_columns_in_any_order(tmp_path):
    (tmp_path / "log-2.csv").write_text("b,a\n3,4\n")
    (tmp_path / "log-1.csv").write_text("a,b\n1,2\n")
    pd.DataFrame({"b": [6], "a": [5]}).to_parquet(tmp_path / "log-3.parquet")
    chunks = read(tmp_path, "log-*")
    assert [c.where for c in chunks] == ["log-1.csv", "log-2.csv", "log-3.parquet"]
    assert all(list(c.frame) == ["a", "b"] for c in chunks)
    assert rows(chunks) == [["1", "2"], ["4", "3"], [5, 6]]
    assert [c.locate(0) for c in chunks] == ["line 2", "line 2", "row 1"]


@pytest.mark.parametrize(("header", "lost", "where"), [("a", "b", "2"), ("a,b,c", "c", "1")])
def test_files_of_one_table_must_have_the_same_columns(tmp_path, header, lost, where):
    (tmp_path / "log-1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "log-2.csv").write_text(f"{header}\n")
    with pytest.raises(
        DataError,
        match=rf'^log-{where}.csv: column "{lost}" is missing, but log-\d.csv has it; files of one',
    ):
        read(tmp_path, "log-*.csv")


def test_a_table_has_one_file_of_its_own_name(tmp_path):
    part = StoredTable("user_behavior")
    (tmp_path / "user_behaviour.csv").write_text("")
    with pytest.raises(
        DataError,
        match=r"there is no user_behavior.csv \(or .csv.gz, .parquet\); the folder has "
        r'user_behaviour.csv. Did you mean "user_behaviour.csv"\? Rename it. Name it with `file:`',
    ):
        file_names(part, tmp_path)
    (tmp_path / "user_behavior.csv.gz").write_bytes(b"")
    assert file_names(part, tmp_path) == [tmp_path / "user_behavior.csv.gz"]
    (tmp_path / "user_behavior.csv").write_text("")
    with pytest.raises(DataError, match=r"holds user_behavior.csv and user_behavior.csv.gz; keep"):
        file_names(part, tmp_path)
    assert file_names(StoredTable("users"), tmp_path) == []
    assert list(stream_files(StoredTable("users"), tmp_path)) == []


def test_an_empty_folder_has_no_table_at_all(tmp_path):
    with pytest.raises(DataError, match=r"the folder has no table at all\.$"):
        file_names(StoredTable("user_behavior"), tmp_path)
    with pytest.raises(DataError, match="gone: the folder cannot be read: No such file"):
        file_names(StoredTable("user_behavior"), tmp_path / "gone")


def test_stated_files_are_found_by_name_or_pattern(tmp_path):
    for name in ("b.csv", "a.csv", "log[1].csv", "Online Retail.txt"):
        (tmp_path / name).write_text("a\n1\n")

    def names(*stated: str) -> list[str]:
        return [f.name for f in file_names(StoredTable("users", files=stated), tmp_path)]

    assert names("?.csv", "a.csv") == ["a.csv", "b.csv"]
    assert names("log[1].csv", "Online Retail.txt") == ["log[1].csv", "Online Retail.txt"]
    with pytest.raises(
        DataError, match=r"there is no file 'Online.txt' for users; .* mean \"Online Retail.txt\"\?"
    ):
        names("Online.txt")
    with pytest.raises(
        DataError, match=r"there is no file 'x\*.csv' for users; the folder has Online"
    ):
        names("x*.csv")


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.xlsx", "save it as CSV"), ("a.json", "save it as CSV"), ("a.csv.zip", "unpack it, or")],
)
def test_other_kinds_of_files_are_refused(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match=message):
        read(tmp_path, name)


# --- Parquet -------------------------------------------------------------------------------


def test_parquet_keeps_its_types_and_whole_numbers_stay_exact(tmp_path):
    big = 2**53 + 1
    time = pd.Timestamp("2025-01-01", tz="UTC")
    table = pa.table(
        {
            " id ": pa.array([big, None], pa.int64()),
            "small": pa.array([None, 7], pa.uint8()),
            "bytes": pa.array([b"u\xc3\xa9", None]),
            "fixed": pa.array([b"ab", b"cd"], pa.binary(2)),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "time": pa.array([time, None], pa.timestamp("us", "UTC")),
            "price": [0.5, None],
            "": [1, 2],
            "__index_level_0__": [3, 4],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    (chunk,) = read(tmp_path, "t.parquet")
    frame = chunk.frame
    assert [*frame] == ["id", "small", "bytes", "fixed", "kind", "time", "price"]
    assert frame["id"].tolist() == [big, pd.NA]
    assert frame.small.tolist() == [pd.NA, 7]
    assert frame.bytes[0] == "ué"
    assert frame.fixed.tolist() == ["ab", "cd"]
    assert [str(d) for d in frame.dtypes] == [
        *("Int64", "UInt8", "str", "str", "str", "datetime64[us, UTC]", "float64")
    ]


def test_parquet_comes_in_pieces_with_the_place_of_their_rows(tmp_path):
    frame = pd.DataFrame({"a": np.arange(250_000), "b": "some text of a length"})
    frame.index = frame.index[::-1]
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=70_000)
    chunks = read(tmp_path, "t.parquet")
    assert max(len(c.frame) for c in chunks) <= 100_000
    got = pd.concat([c.frame for c in chunks], ignore_index=True)
    assert got.a.tolist() == frame.a.tolist()
    assert all(c.frame.a[0] == c.first for c in chunks)
    assert chunks[-1].locate(249_999) == "row 250,000"


def test_text_in_parquet_that_is_not_utf8_is_refused(tmp_path):
    ends = pa.py_buffer(np.array([0, 1], dtype=np.int32))
    broken = pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(b"\xff")])
    for values in (broken, pa.array([b"\xff"])):
        pq.write_table(pa.table({"a": values}), tmp_path / "t.parquet")
        with pytest.raises(DataError, match="^t.parquet: the file cannot be read: .*Invalid UTF"):
            read(tmp_path, "t.parquet")


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [1], " a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match='column "a" appears twice; rename or remove one'):
        read(tmp_path, "t.parquet")


# --- Memory and progress -------------------------------------------------------------------

_READ = """
import pathlib, sys
from helpers.data.files import stream_files
from helpers.data.schema_file import StoredTable
part = StoredTable("users", files=(sys.argv[2],))
print(sum(len(c.frame) for c in stream_files(part, pathlib.Path(sys.argv[1]))))
"""


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_ten_times_larger_needs_no_more_memory(tmp_path, ending):
    rng = np.random.default_rng(0)
    n = 250_000 if ending == ".csv" else 120_000
    frame = pd.DataFrame({"a": np.arange(n), "b": rng.random(n), "c": rng.random(n)})
    frame["d"] = 'some "text", in quotes'
    piece = frame.to_csv(index=False, header=False).encode()
    for times in (1, 10):
        if ending == ".csv":
            with (tmp_path / f"t{times}.csv").open("wb") as stream:
                stream.writelines([b"a,b,c,d\n", *itertools.repeat(piece, times)])
        else:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            with pq.ParquetWriter(tmp_path / f"t{times}.parquet", table.schema) as writer:
                big = pa.concat_tables([table] * times)
                writer.write_table(big, row_group_size=len(big))  # all in one group
    (small_rows, small), (large_rows, large) = (
        peak_mb(_READ, tmp_path, f"t{times}{ending}") for times in (1, 10)
    )
    assert int(large_rows) == 10 * int(small_rows) == 10 * n
    more = 9 * frame.astype("str").memory_usage(deep=True).sum() / 2**20
    assert large - small < more / 2  # of what it would take to hold the further rows


def test_a_bar_counts_all_bytes_and_quick_reads_draw_none(tmp_path, monkeypatch, capsys):
    from helpers.data.files import stored

    seen: list[tuple[int, int]] = []

    class Bar(stored.tqdm):
        def close(self) -> None:
            seen.append((self.n, self.total))
            super().close()

    pd.DataFrame({"a": np.arange(9)}).to_csv(tmp_path / "t.csv.gz", index=False)
    pd.DataFrame({"a": np.arange(9)}).to_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(stored, "tqdm", Bar)
    for name in ("t.csv.gz", "t.parquet"):
        list(stream_files(StoredTable("users", files=(name,)), tmp_path, progress=True))
        assert seen[0] == ((tmp_path / name).stat().st_size,) * 2
        seen.clear()
    assert capsys.readouterr().err == ""


def test_line_ends_of_all_three_kinds_count():
    assert records.line_ends(b"a\nb\r\nc\rd\r\r\n") == 5
