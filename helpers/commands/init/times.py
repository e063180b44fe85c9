"""How a column writes its times: the format, and whether day or month comes first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

__all__ = ["TimeFormat", "find_format", "parse_times"]

_ISO = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?)?"
_ZONED = r"\d[T ]\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"
_PARTS = re.compile(
    r"(?P<a>\d{1,4})(?P<s>[-/.])(?P<b>\d{1,2})(?P=s)(?P<c>\d{2,4})"
    r"(?P<gap>T| )?(?:(?P<h>\d{1,2}):(?P<m>\d\d)(?P<sec>:\d\d)?(?P<frac>\.\d+)?"
    r"(?P<half> ?[AaPp][Mm])?)?(?P<utc> UTC)?"
)
_DIGITS, _MORE_DIGITS = r"(?:19|20)\d{6}", r"(?:19|20)\d{12}"  # plain numbers, too
_OTHERS = (  # what a column looks like as a whole, and its format
    (_DIGITS, "%Y%m%d", "day"),
    (_MORE_DIGITS, "%Y%m%d%H%M%S", "moment"),
    (r"(?:19|20)\d{6} \d{6}", "%Y%m%d %H%M%S", "moment"),
    (r"(?:19|20)\d{6} \d{1,2}:\d\d", "%Y%m%d %H:%M", "moment"),
    (r"(?:19|20)\d{6} \d{1,2}:\d\d:\d\d", "%Y%m%d %H:%M:%S", "moment"),
    (r"\d{4}-\d\d-\d\d \d{1,2}", "%Y-%m-%d %H", "moment"),
    (r"\d{4}年\d{1,2}月\d{1,2}日", "%Y年%m月%d日", "day"),
    (r"\d{4}年\d{1,2}月\d{1,2}日 ?\d{1,2}:\d\d", "%Y年%m月%d日 %H:%M", "moment"),
    (r"\d{4}年\d{1,2}月\d{1,2}日 ?\d{1,2}:\d\d:\d\d", "%Y年%m月%d日 %H:%M:%S", "moment"),
    (r"\d{1,2}-[A-Za-z]{3}-\d{4}", "%d-%b-%Y", "day"),
    (r"\d{1,2}-[A-Za-z]{3}-\d{4} \d{1,2}:\d\d:\d\d", "%d-%b-%Y %H:%M:%S", "moment"),
    (r"\d{1,2} [A-Za-z]{3} \d{4}", "%d %b %Y", "day"),
    (r"[A-Za-z]{3} \d{1,2}, \d{4}", "%b %d, %Y", "day"),
    (r"\d{1,2}:\d\d", "%H:%M", "hour"),
    (r"\d{1,2}:\d\d:\d\d", "%H:%M:%S", "hour"),
)
#: Whatever a value of any of these formats looks like.
_ANY = re.compile(
    "|".join(
        f"(?:{p})" for p in (_ISO, _PARTS.pattern, r"\d{9,13}(?:\.\d+)?", *(o[0] for o in _OTHERS))
    )
)
_ENOUGH = 0.85  # share of the values that a format must read
_UNIX = {"unix s": "s", "unix ms": "ms"}  # by the unit they count in
_EARLIEST = 946_684_800  # 2000-01-01 in unix seconds
_UNDECIDED = "no day above 12 was seen, so day and month cannot be told apart"


@dataclass(frozen=True)
class TimeFormat:
    """How a column writes its times.

    Attributes:
        text: the format as ``schema.yaml`` writes it: ``ISO 8601``, ``unix s``, ``unix ms``, or
            one such as ``%d.%m.%Y``.
        kind: ``moment``, ``day`` or ``hour`` (a time of day without a date).
        zoned: the values name a zone, or count from a fixed moment.
        doubt: why a person should check it; empty where there is no doubt.
        number: the values could as well be plain numbers.
        utc: the word UTC stands behind each value, and in the format.
    """

    text: str
    kind: str
    zoned: bool = False
    doubt: str = ""
    number: bool = False
    utc: bool = False


def find_format(values: pd.Series) -> TimeFormat | None:
    """Return how text values write times, or None where they are no times.

    Example:
        >>> find_format(pd.Series(["12/1/2010 8:26", "12/31/2010 17:05"])).text
        '%m/%d/%Y %H:%M'
        >>> find_format(pd.Series(["01/02/2025", "03/04/2025"])).doubt[:19]
        'no day above 12 was'
    """
    values = values.dropna()
    some = values.iloc[:: 1 + len(values) // 500]
    if values.empty or not _may_be_times(some.tolist()) or _find(some) is None:
        return None  # most columns are no times, and some values are enough to tell
    return _find(values)


def _may_be_times(values: list[str]) -> bool:
    """Whether enough values look like a time of some kind; most columns fail at once."""
    borne = len(values) * (1 - _ENOUGH) + 1e-9
    others = (value for value in values if not _ANY.fullmatch(value))
    return sum(1 for _ in itertools.islice(others, int(borne) + 1)) <= borne


def _find(values: pd.Series) -> TimeFormat | None:
    if values.str.fullmatch(_ISO).mean() >= _ENOUGH:
        zoned = values.str.contains(_ZONED).mean() >= _ENOUGH
        is_day = values.str.len().median() == 10
        return TimeFormat("ISO 8601", "day" if is_day else "moment", zoned)
    for pattern, text, kind in _OTHERS:
        if values.str.fullmatch(pattern).mean() >= _ENOUGH and _reads(values, text):
            return TimeFormat(text, kind, number=pattern in (_DIGITS, _MORE_DIGITS))
    return _unix(values) or _by_parts(values)


def parse_times(values: pd.Series, text: str) -> pd.Series:
    """Return naive times, UTC where the values name a zone; missing where they cannot be read."""
    if text in _UNIX:
        numbers = pd.to_numeric(values, errors="coerce")
        return pd.to_datetime(numbers, unit=_UNIX[text], errors="coerce")
    if text == "ISO 8601":
        zoned = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
        return zoned.dt.tz_localize(None)
    return pd.to_datetime(values, format=text, errors="coerce")


def _reads(values: pd.Series, text: str) -> bool:
    return bool(parse_times(values, text).notna().mean() >= _ENOUGH)


def _unix(values: pd.Series) -> TimeFormat | None:
    """Return unix seconds or milliseconds, where all lie between 2000 and next year."""
    latest = pd.Timestamp.now().timestamp() + 366 * 86_400
    for text, pattern, scale in (
        ("unix s", r"\d{9,10}(?:\.\d+)?", 1),
        ("unix ms", r"\d{12,13}", 1000),
    ):
        if values.str.fullmatch(pattern).mean() >= _ENOUGH:
            seconds = pd.to_numeric(values, errors="coerce") / scale
            if seconds.between(_EARLIEST, latest).mean() >= _ENOUGH:
                return TimeFormat(text, "moment", zoned=True, number=True)
    return None


def _by_parts(values: pd.Series) -> TimeFormat | None:
    """Return a format of three numbers with a separator, perhaps with a time of day."""
    parts = values.str.extract(f"^(?:{_PARTS.pattern})$")
    parts = parts[parts["a"].notna()]
    if len(parts) < _ENOUGH * len(values):
        return None
    clock, utc = _clock(parts), bool(parts["utc"].notna().mean() > 0.5)
    kind = "moment" if clock else "day"
    best: list[tuple[float, str, str]] = []
    for date, doubt in _dates(values, parts, clock + (" UTC" if utc else "")):
        text = date + clock + (" UTC" if utc else "")
        best.append((parse_times(values, text).notna().mean(), text, doubt))
    share, text, doubt = max(best, key=lambda found: found[0])
    if share < _ENOUGH:
        return None
    return TimeFormat(text, kind, zoned=utc, doubt=doubt, utc=utc)


def _clock(parts: pd.DataFrame) -> str:
    """Return the format of the time of day, with what stands before it."""
    if parts["h"].notna().mean() <= 0.5:
        return ""
    half = parts["half"].dropna()
    text = "%I:%M" if len(half) else "%H:%M"
    text += ":%S" if parts["sec"].notna().mean() > 0.5 else ""
    text += ".%f" if parts["frac"].notna().mean() > 0.5 else ""
    if len(half):
        text += " %p" if half.str.startswith(" ").mean() > 0.5 else "%p"
    return ("T" if (parts["gap"] == "T").mean() > 0.5 else " ") + text


def _dates(values: pd.Series, parts: pd.DataFrame, rest: str) -> Iterator[tuple[str, str]]:
    """Yield the possible formats of the date, each with its doubt.

    A number above 12 is a day: 13/02 decides for day first. Where none occurs, the order is read
    both ways, since the rows of a log mostly stand in the order of time: 11/02, 12/02, 01/03 goes
    up all the way if the day is first, and turns back if the month is.
    """
    sep = parts["s"].mode().iloc[0]
    if parts["a"].str.len().median() == 4:
        yield f"%Y{sep}%m{sep}%d", ""
        return
    year = "%Y" if parts["c"].str.len().median() == 4 else "%y"
    day_first, month_first = f"%d{sep}%m{sep}{year}", f"%m{sep}%d{sep}{year}"
    first, second = (pd.to_numeric(parts[name]) for name in ("a", "b"))
    above = [(first > 12).mean(), (second > 12).mean()]
    if max(above) > 0:
        doubt = "some values read as day first, others as month first" if min(above) > 0.02 else ""
        yield (day_first if above[0] > above[1] else month_first), doubt
        return
    jumps = {date: _jumps(parse_times(values, date + rest)) for date in (day_first, month_first)}
    better = min(jumps, key=jumps.__getitem__)
    if abs(jumps[day_first] - jumps[month_first]) > 0.02:
        yield better, f"{_UNDECIDED}; read in this way the rows are in order of time"
    else:
        yield day_first, _UNDECIDED


def _jumps(times: pd.Series) -> float:
    """Return the share of rows that break the order of time, or 1 where one is in the future."""
    times = times.dropna()
    if times.empty or times.max() > pd.Timestamp.now() + pd.Timedelta("2D"):
        return 1.0
    steps = times.diff().dropna()
    return float(min((steps < pd.Timedelta(0)).mean(), (steps > pd.Timedelta(0)).mean()))
