"""A small folder of tables to break, and what must hold of every sentence about it.

Every user and every query is called ``canary...``: no message may hold that word.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from helpers.base.errors import DataError

__all__ = [
    "HEADER",
    "ITEMS",
    "ROWS",
    "SPLIT",
    "USERS",
    "Break",
    "alter",
    "assert_clear",
    "both",
    "columns",
    "lay_out",
    "log_text",
    "put",
    "refused",
    "replace",
    "schema",
    "set_line",
    "written",
]

#: A change of a folder with tables.
Break = Callable[[Path], object]

LOG = "user_behavior.csv"
HEADER = ["user_id", "item_id", "event_time", "event_type", "list_id", "price", "query"]
USERS = tuple(f"canary-{i}-{name}" for i, name in enumerate(("ana", "bo", "chen", "dee")))
ITEMS = ("a", "b", "c")
SPLIT = (
    "{attribution_from: 2025-01-09, valid_from: 2025-01-12, test_from: 2025-01-15, end: 2025-01-20}"
)
_SCHEMA = f"task:\n  split: {SPLIT}\n"


def _rows() -> list[list[str]]:
    rows = []
    for day in range(1, 21):
        for number, user in enumerate(USERS):
            seen, done = f"2025-01-{day:02}T10:00:00Z", f"2025-01-{day:02}T10:05:00Z"
            rest = [f"{user} {day}", "2.50", f"canary shoes {number}"]
            rows += [[user, item, seen, "impression", *rest] for item in ITEMS]
            rows.append([user, ITEMS[(day + number) % 3], done, "click", *rest])
    return rows


#: Twenty days in January 2025; on each, four users see three items and click on one.
ROWS = _rows()


def written(rows: list[list[str]], **dialect: object) -> str:
    """Return rows as CSV text."""
    text = io.StringIO()
    csv.writer(text, **{"lineterminator": "\n", **dialect}).writerows(rows)
    return text.getvalue()


def log_text(**dialect: object) -> str:
    """Return the log as CSV text."""
    return written([HEADER, *ROWS], **dialect)


def lay_out(folder: Path) -> Path:
    """Fill a new folder with tables that are in order; return it."""
    folder.mkdir()
    (folder / LOG).write_text(log_text(), encoding="utf-8")
    products = [["item_id", "title", "category"], *([i, f"thing {i}", "all"] for i in ITEMS)]
    (folder / "product_features.csv").write_text(written(products), encoding="utf-8")
    users = [["user_id", "age"], *([u, f"{i}0-{i}9"] for i, u in enumerate(USERS, start=2))]
    (folder / "users.csv").write_text(written(users), encoding="utf-8")
    (folder / "schema.yaml").write_text(_SCHEMA, encoding="utf-8")
    return folder


def put(content: bytes | str, name: str = LOG) -> Break:
    """Return a change that gives a file this content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def alter(change: Callable[[str], str], name: str = LOG) -> Break:
    """Return a change of a file's text."""

    def apply(folder: Path) -> None:
        file = folder / name
        file.write_bytes(change(file.read_bytes().decode()).encode())

    return apply


def replace(old: str, new: str, count: int = -1, name: str = LOG) -> Break:
    """Return a change of some words, which must be there."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, count)

    return alter(change, name)


def set_line(number: int, text: str, name: str = LOG) -> Break:
    """Return a change of one line, counted from 1."""

    def change(old: str) -> str:
        lines = old.split("\n")
        lines[number - 1] = text
        return "\n".join(lines)

    return alter(change, name)


def columns(change: Callable[[dict[str, str]], object], *, every: int = 1) -> Break:
    """Return a change of every so-manieth row of the log, as a dictionary."""

    def apply(folder: Path) -> None:
        rows = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
        for row in rows[::every]:
            change(row)
        names = list(rows[0])
        put(written([names, *([row.get(n, "") for n in names] for row in rows)]))(folder)

    return apply


def schema(text: str) -> Break:
    """Return a change that writes another ``schema.yaml``."""
    return put(text, "schema.yaml")


def both(*changes: Break) -> Break:
    """Return several changes as one."""

    def apply(folder: Path) -> None:
        for change in changes:
            change(folder)

    return apply


def refused(call: Callable[[], object]) -> str:
    """Return the sentence that a call refuses its input with."""
    try:
        call()
    except DataError as error:
        assert_clear(str(error))
        return str(error)
    raise AssertionError("the call took the input")


def assert_clear(message: str) -> None:
    """Check that a message is one short paragraph that tells nobody's name."""
    assert message == message.strip()
    assert "\n" not in message
    assert message.isprintable(), ascii(message)
    assert 20 < len(message) < 1000, len(message)
    assert message[-1] in ".?", message
    for word in ("Traceback", 'File "', "Exception", "ArrowInvalid", "<class", "0x7f", "canary"):
        assert word not in message, message
