"""Times in UTC, however they are written, and the local days on which they lie."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pandas as pd
import pyarrow as pa

from helpers.data.cleaning.values import Stored, text_series

__all__ = ["ISO", "local_days", "read_times"]

ISO = "ISO 8601"
#: A zone stands after a time of day: 10:00Z, 10:00+08:00, 10:00+0800, 10:00+08.
_ZONED = r"[0-9][T ][0-9].*(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$"
_UNITS = {"unix s": 1_000_000, "unix ms": 1_000}  # microseconds
_FIRST, _END = pd.Timestamp("0001-01-02"), pd.Timestamp("9999-12-31")
_END_S = dt.datetime(9999, 12, 31, tzinfo=dt.UTC).timestamp()
_TYPE = "datetime64[us]"


def local_days(times: pd.Series, time_zone: str) -> np.ndarray:
    """Return day numbers since 1970-01-01 by the calendar of a time zone, int64.

    Example:
        >>> times = pd.Series(pd.to_datetime(["1970-01-02T23:30Z"]))
        >>> local_days(times, "UTC"), local_days(times, "Asia/Shanghai")
        (array([1]), array([2]))
    """
    local = times.dt.tz_convert(time_zone).dt.tz_localize(None)
    return local.to_numpy().astype("datetime64[D]").astype(np.int64)


def read_times(stored: Stored, *, time_format: str = ISO, time_zone: str = "UTC") -> pd.Series:
    """Return UTC times, ``datetime64[us, UTC]``; what is no time becomes missing.

    Args:
        stored: times, or text or numbers that stand for them.
        time_format: ``ISO 8601``, ``unix s``, ``unix ms``, or a format of ``strptime``.
        time_zone: zone of the times that name none. In the hour that its clocks repeat a time
            is the second; in one that they skip, the hour's end.

    Example:
        >>> stored = Stored(pd.Series(["24/11/2013 17:48", "soon"]))
        >>> read_times(stored, time_format="%d/%m/%Y %H:%M", time_zone="Asia/Tokyo").tolist()
        [Timestamp('2013-11-24 08:48:00+0000', tz='UTC'), NaT]
    """
    if stored.is_time:
        return _in_utc(stored.values, time_zone)
    if time_format in _UNITS:
        return _from_unix(stored.numbers(), _UNITS[time_format])
    if time_format == ISO:
        fast = _read_plain(stored.text)
        if fast is not None:
            return _in_utc(fast, time_zone)
    # Few times are different from each other, and those are read once.
    coded = stored.text.dictionary_encode()
    read = _read_iso if time_format == ISO else _read_format
    times = read(text_series(coded.dictionary), time_format, time_zone)
    places = coded.indices.fill_null(-1).to_numpy()
    return times.reindex(places).reset_index(drop=True)


def _in_utc(times: pd.Series, time_zone: str) -> pd.Series:
    """Return times in UTC and microseconds; those without a zone are local."""
    zoned = isinstance(times.dtype, pd.DatetimeTZDtype)
    if zoned:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    inside = (times >= _FIRST) & (times < _END)  # calendars do not go further
    if not inside.all():
        times = times.where(inside)
    times = times.dt.as_unit("us")
    if zoned or time_zone == "UTC":
        return times.dt.tz_localize("UTC")
    local = times.dt.tz_localize(time_zone, ambiguous=False, nonexistent="shift_forward")
    return local.dt.tz_convert("UTC")


def _from_unix(numbers: np.ndarray, factor: int) -> pd.Series:
    """Return times from seconds or milliseconds since 1970; 0 and less stand for no time."""
    most = _END_S * 1_000_000 / factor
    known = (numbers > 0) & (numbers < most)  # False for NaN
    moments = np.round(np.where(known, numbers, 0) * factor).astype(np.int64).astype(_TYPE)
    return pd.Series(np.where(known, moments, np.datetime64("NaT"))).dt.tz_localize("UTC")


def _read_plain(text: pa.Array) -> pd.Series | None:
    """Return the times if all are alike: all with a zone, or all without."""
    known = text.drop_null()
    first = known[0].as_py() if len(known) else ""
    if first and not re.match(r"[0-9]{4}-", first):
        return None
    kind = pa.timestamp("us", "UTC" if re.search(_ZONED, first) else None)
    try:
        return text.cast(kind).to_pandas()  # Arrow reads less than pandas, but alike
    except pa.ArrowInvalid:
        return None


def _read_iso(text: pd.Series, _: str, time_zone: str) -> pd.Series:
    # A year comes first; pandas would also read "now" as a time.
    text = text.where(text.str.match(r"[0-9]{4}", na=False))
    # Microseconds are enough: nanoseconds would not reach beyond the year 2262.
    text = text.str.replace(r"(\.[0-9]{6})[0-9]+", r"\1", regex=True)
    zoned = text.str.contains(_ZONED, regex=True, na=False)
    utc = pd.to_datetime(text.where(zoned), format="ISO8601", utc=True, errors="coerce")
    local = pd.to_datetime(text.where(~zoned), format="ISO8601", errors="coerce")
    return _in_utc(utc, time_zone).fillna(_in_utc(local, time_zone))


def _read_format(text: pd.Series, time_format: str, time_zone: str) -> pd.Series:
    zoned = "%z" in time_format or "%Z" in time_format
    times = pd.to_datetime(text, format=time_format, exact=True, errors="coerce", utc=zoned)
    return _in_utc(times, time_zone)
