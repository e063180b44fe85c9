"""Single values of a ``schema.yaml``: encodings, zones, formats of times, names of files."""

from __future__ import annotations

import codecs
import re
import warnings
import zoneinfo
from datetime import date
from encodings.aliases import aliases
from functools import cache
from pathlib import PurePosixPath, PureWindowsPath

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from helpers.base.words import near_match
from helpers.data.schema_file.nodes import Entry, shown_text
from helpers.data.schema_file.stated import LeaveOut

__all__ = [
    "TESTS",
    "read_date",
    "read_delimiter",
    "read_encoding",
    "read_files",
    "read_format",
    "read_rule",
    "read_span",
    "read_zone",
]

#: What a rule may look at.
TESTS = ("is_empty", "starts_with", "one_of", "matches", "below", "above")
_LONGEST_PATTERN = 200
#: Encodings of Python that no file of a person is written in.
_INTERNAL = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape")
_FORMATS = {"iso8601": "ISO 8601", "unixs": "unix s", "unixms": "unix ms"}
_MOMENT = pd.Timestamp("2013-11-24 17:48:59.123456")


def read_encoding(entry: Entry) -> str:
    """Return the name of an encoding of text."""
    must = "the name of an encoding, such as utf-8, latin-1, cp1252 or gbk"
    name = entry.text(must)
    known = {a.replace("_", "-") for a in (*aliases, *aliases.values())}
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        raise entry.wrong(must, near_match(name.lower(), sorted(known))) from None
    if not getattr(found, "_is_text_encoding", True) or found.name in _INTERNAL:
        raise entry.wrong(must)
    return name


def read_delimiter(entry: Entry) -> str:
    r"""Return the character between two values; ``tab`` and ``\t`` are a tab."""
    must = 'one character, such as ";" or "|", or the word tab'
    # A tab in quotes is a text although it looks empty.
    written = getattr(entry.node, "value", "")
    value = written if written in ("\t", " ") else entry.text(must)
    value = "\t" if value in ("tab", r"\t") else value
    if len(value) != 1 or value in '"\n\r' or value.isalnum():
        words = {"comma": ",", "semicolon": ";", "pipe": "|", "blank": " ", "space": " "}
        hint = f' Write "{words[value]}".' if value in words else ""
        raise entry.wrong(must, hint)
    return value


def read_files(entry: Entry) -> tuple[str, ...]:
    """Return names or patterns of files that lie inside the folder."""
    names = entry.texts("the name of a file")
    for one, name in zip(entry.entries(), names, strict=True):
        path = PurePosixPath(name)
        if path.is_absolute() or PureWindowsPath(name).drive or ".." in re.split(r"[/\\]", name):
            raise one.wrong("the name of a file inside the folder, without .. and no whole path")
        if "**" in name or not path.name or name.endswith("/"):
            raise one.wrong('the name of a file, or a pattern such as "log-*.csv"')
    return names


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def read_zone(entry: Entry) -> str:
    """Return the name of a time zone."""
    must = "the name of a time zone, such as Asia/Shanghai"
    name = entry.text(must)
    if name not in _zones():
        raise entry.wrong(must, near_match(name, sorted(_zones())))
    return name


def read_format(entry: Entry) -> str:
    """Return how times are written, which must tell year, month and day."""
    must = 'ISO 8601, unix s, unix ms, or a format such as "%d/%m/%Y %H:%M"'
    value = entry.text(must)
    plain = re.sub(r"[\s_-]", "", value.lower())
    if plain in _FORMATS:
        return _FORMATS[plain]
    if "%" not in value:
        raise entry.wrong(must)
    try:
        again = pd.to_datetime(_MOMENT.tz_localize("UTC").strftime(value), format=value)
    except (ValueError, re.error) as error:
        # The second is what pandas raises where a format names one part twice.
        reason = "it names a part twice" if isinstance(error, re.error) else str(error)
        reason = shown_text(re.split(r" in format|\. You", reason)[0])
        raise entry.wrong(must, f" This format cannot be read: {reason}.") from None
    told = again if pd.isna(again) else again.tz_localize(None)
    if told not in [_MOMENT, *(_MOMENT.floor(unit) for unit in ("s", "min", "h", "D"))]:
        raise entry.wrong(
            f"{must} that tells the year, month and day, and with %I also %p",
            f" Of {_MOMENT} this one would make {told}.",
        )
    return value


def read_span(entry: Entry) -> str:
    """Return a time of 0 or more as pandas reads it without a warning, or ``period``."""
    must = 'a time with its unit, such as 1h or 7D, or "period"'
    value = entry.text(must).strip()
    if value == "period":
        return value
    with warnings.catch_warnings(record=True) as old:
        warnings.simplefilter("always")
        try:
            span = pd.Timedelta(value)
        except (ValueError, OverflowError):
            raise entry.wrong(must) from None
    # pandas would take a bare number as nanoseconds.
    if not span >= pd.Timedelta(0) or not re.search(r"[A-Za-z:]", value):
        raise entry.wrong(must)
    return str(span) if old else value  # old spellings such as 1d


def read_date(entry: Entry) -> str:
    """Return a day as it is written."""
    must = "a date such as 2024-05-31"
    value = entry.text(must)
    try:
        if str(date.fromisoformat(value)) == value:
            return value
    except ValueError:
        pass
    raise entry.wrong(must)


def read_rule(entry: Entry) -> LeaveOut:
    """Return a rule on rows that are no events: a column and one test of it."""
    lines = entry.section(("column", *TESTS))
    if "column" not in lines:
        raise entry.fault("must name a column", " Write {column: Quantity, below: 1}, say.")
    tests = [name for name in TESTS if name in lines]
    if len(tests) != 1:
        came = f"{len(tests)} ({', '.join(tests)})" if tests else "none"
        raise entry.fault(f"must have exactly one of {', '.join(TESTS)}; it has {came}")
    test = tests[0]
    return LeaveOut(
        lines["column"].text("the name of a column"), test, _compared(lines[test], test)
    )


def _compared(entry: Entry, test: str) -> object:
    """Return what a rule compares a value with."""
    if test == "is_empty":
        if entry.text("true").lower() != "true":
            raise entry.wrong("true", " To keep such rows, leave the rule out.")
        return True
    if test in ("below", "above"):
        return entry.number()
    if test == "one_of":
        return entry.texts()
    return _pattern(entry) if test == "matches" else entry.text()


def _pattern(entry: Entry) -> str:
    """Return a regular expression that takes a time in proportion to the text, whatever it is.

    Arrow's own engine never goes back in the text. What only others know, such as
    lookaheads, it refuses.
    """
    must = "a regular expression"
    value = entry.text(must)
    if len(value) > _LONGEST_PATTERN:
        raise entry.fault(
            f"must be a regular expression of at most {_LONGEST_PATTERN} characters; it has "
            f"{len(value)}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(value)
        pc.match_substring_regex(pa.array([""]), pattern=value)
    except (re.error, pa.ArrowInvalid, OverflowError, RecursionError, Warning) as error:
        reason = shown_text(str(error).removeprefix("Invalid regular expression: "))
        raise entry.wrong(must, f" This one cannot be used: {reason}.") from None
    return value
