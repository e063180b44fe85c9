"""Nine nasty CSV files: what this package, DuckDB and charset-normalizer make of them.

The files are those of ``tests/data/test_nasty_files.py``. An encoding is right if the text comes
out as it was written; rows are right if header and values come out as they were meant. DuckDB is
given each file in UTF-8, with all columns as text: what a file is written in is asked by itself.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import charset_normalizer
import duckdb
import pandas as pd

from helpers.base.paths import REPO

sys.path.append(str(REPO / "tests" / "data"))

from test_nasty_files import HEADER, NASTY, Rows  # noqa: E402 - found by the line above

from helpers.commands.init.looking import guess_encoding, look_at_folder  # noqa: E402
from helpers.data.files.delimited import DelimitedFile  # noqa: E402


def our_text(content: bytes) -> str:
    return content.decode(guess_encoding(content)[0], errors="replace").removeprefix("\ufeff")


def their_text(content: bytes) -> str:
    best = charset_normalizer.from_bytes(content).best()
    return str(best or "").removeprefix("\ufeff")


def our_rows(file: Path) -> tuple[list[str], Rows]:
    look = look_at_folder(file.parent)[0][0]
    opened = DelimitedFile(file, look.delimiter, look.encoding)
    rows = pd.concat([chunk.frame for chunk in opened.chunks()])
    return opened.names, rows.to_numpy().tolist()


def their_rows(file: Path) -> tuple[list[str], Rows]:
    try:
        read = duckdb.read_csv(str(file), all_varchar=True)
        return read.columns, [list(row) for row in read.fetchall()]
    except duckdb.Error:
        return [], []


def main() -> None:
    found = {}
    for name, (text, encoding, rows) in NASTY.items():
        content = text.encode(encoding)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "t.csv"
            file.write_bytes(text.encode("utf-8-sig" if encoding == "utf-8-sig" else "utf-8"))
            found[name] = {
                "encoding, helpers": our_text(content) == text,
                "encoding, charset-normalizer": their_text(content) == text,
                "rows, helpers": our_rows(file) == (HEADER, rows),
                "rows, DuckDB": their_rows(file) == (HEADER, rows),
            }
    table = pd.DataFrame(found).T
    print(table.map({True: "right", False: "wrong"}.get).to_string())
    print(f"\nright of {len(table)}: {table.sum().to_dict()}")
    print(f"DuckDB {duckdb.__version__}, charset-normalizer {charset_normalizer.__version__}")


if __name__ == "__main__":
    main()
