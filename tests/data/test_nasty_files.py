"""Nine nasty files: what they are written in is guessed, and their rows come as they are.

The docstring of ``helpers.data.files`` says how DuckDB and charset-normalizer fared on them.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from helpers.commands.init.looking import guess_encoding, look_at_folder
from helpers.data.files.delimited import DelimitedFile

HEADER = ["user_id", "item_id", "title"]
Rows = list[list[str]]


def titled(title: str) -> Rows:
    return [[f"{k:03d}", f"p{k}", title.format(k)] for k in range(40)]


def written(rows: Sequence[Sequence[str]], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in [HEADER, *rows])


INCHES = titled('{}" pipe')
QUOTED = [[*row[:2], f'"pipe, {k}""\nlong"'] if k % 3 == 0 else row for k, row in enumerate(INCHES)]
UNQUOTED = [[*row[:2], f'pipe, {k}"\nlong'] if k % 3 == 0 else row for k, row in enumerate(INCHES)]
GERMAN = titled("Käse {}")
ONE_WIDE = [*GERMAN[:20], ["777", "p7", "Müsli", "extra"], *GERMAN[20:]]
EMPTY_WORDS = [[f"{k:03d}", ("NA", "None", "null", "N/A")[k % 4], f"{k} €"] for k in range(40)]

#: Content, encoding, and the rows that are to come.
NASTY: dict[str, tuple[str, str, Rows]] = {
    "semicolons in Latin-1": (
        written(titled("Jamón ibérico {}, añejo"), ";", "\r\n"),
        "latin-1",
        titled("Jamón ibérico {}, añejo"),
    ),
    "GBK": (written(titled("红色连衣裙{}号")), "gbk", titled("红色连衣裙{}号")),
    "Big5": (written(titled("紅色連衣裙{}號")), "big5", titled("紅色連衣裙{}號")),
    "tabs in Shift JIS": (
        written(titled("赤いワンピース{}番"), "\t"),
        "shift_jis",
        titled("赤いワンピース{}番"),
    ),
    "Cyrillic": (written(titled("Красное платье {}"), "|"), "cp1251", titled("Красное платье {}")),
    "inch signs beside quoted line breaks": (written(QUOTED), "utf-8", UNQUOTED),
    "lines that end in a lone CR": (
        written(titled("Crème {}"), end="\r"),
        "utf-8",
        titled("Crème {}"),
    ),
    "one row too wide": (written(ONE_WIDE, ";"), "cp1252", GERMAN),
    "products called NA behind a mark": (written(EMPTY_WORDS), "utf-8-sig", EMPTY_WORDS),
}


@pytest.mark.parametrize("name", NASTY)
def test_the_encoding_of_a_nasty_file_is_guessed(name):
    text, encoding, _ = NASTY[name]
    content = text.encode(encoding)
    guessed, _ = guess_encoding(content)
    assert content.decode(guessed).removeprefix("\ufeff") == text


@pytest.mark.parametrize("name", NASTY)
def test_the_rows_of_a_nasty_file_come_as_they_are(name, tmp_path: Path):
    text, encoding, rows = NASTY[name]
    file = tmp_path / "t.csv"
    file.write_bytes(text.encode(encoding))
    look = look_at_folder(tmp_path)[0][0]
    opened = DelimitedFile(file, look.delimiter, look.encoding)
    chunks = list(opened.chunks())
    assert opened.names == HEADER
    assert pd.concat([chunk.frame for chunk in chunks]).to_numpy().tolist() == rows
    faults = sum(len(places) for chunk in chunks for places in chunk.faults.values())
    assert faults == (name == "one row too wide")
