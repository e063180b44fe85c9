"""Rows as a table wants them: values cast to their types, unusable rows dropped and counted.

Every source passes its rows through :func:`clean_rows`, so that all deliver the
same types.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from helpers.schema import Column, DataError, Table

__all__ = ["clean_rows"]


def clean_rows(
    table: Table,
    frame: pd.DataFrame,
    *,
    where: str,
    time_zone: str,
    max_bad_share: float = 0.2,
    locate: Callable[[int], str] = lambda place: f"row {place + 1}",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cast a frame to the table's types and drop the rows that do not fit.

    Ids and names become text, so that 7 in one table joins "7" in another.
    Columns that the table does not name become numbers where all their values
    are, else text.

    Args:
        table: the canonical table.
        frame: rows as read.
        where: the file or table, named in messages.
        time_zone: zone of the times that name none.
        max_bad_share: more bad rows than this share stop the run.
        locate: says where a row stands, given its place counted from 0.

    Returns:
        The clean rows in their order, with a new index, and a frame
        ``table, reason, rows`` that counts what was dropped (possibly empty).

    Raises:
        DataError: no rows at all, too many bad ones, or ids that lost digits.

    Example:
        >>> from helpers.schema import canonical_tables
        >>> users = canonical_tables()["users"]
        >>> frame = pd.DataFrame({"user_id": [7, 8, 7], "age": ["30-39", "", "30-39"]})
        >>> facts = {"where": "users", "time_zone": "UTC", "max_bad_share": 0.5}
        >>> clean, dropped = clean_rows(users, frame, **facts)
        >>> clean.user_id.tolist(), dropped.reason.tolist()
        (['7', '8'], ['user_id was seen before'])
    """
    if frame.empty:
        remedy = "fill the table" if table.needed else "fill the table, or remove it"
        raise DataError(f"{where}: there is a header but no row; {remedy} and start again.")
    frame = frame.copy(deep=False)
    bad: dict[str, np.ndarray] = {}
    for name, column in table.columns.items():
        if name not in frame:
            continue
        given = _given(frame[name])
        frame[name] = _cast(frame[name], column, time_zone, where)
        present = frame[name].notna().to_numpy()
        if not column.nullable:
            bad[f"{name} is empty"] = ~given
        bad[f"{name} is not {_kind(column)}"] = given & ~present
        bad |= _rule_breaks(frame[name], column)
    for name in frame.columns.difference([*table.columns]):
        frame[name] = _cast_other(frame[name], as_text=table.name == "users")
    bad |= _seen_before(table, frame, bad)
    return _drop_bad(frame, bad, table.name, where, max_bad_share, locate)


def _given(values: pd.Series) -> np.ndarray:
    """Mark the values that are neither missing nor blank text."""
    given = values.notna().to_numpy()
    if not _is_text(values):
        return given
    return given & (values.astype("str").str.strip() != "").to_numpy(dtype=bool, na_value=False)


def _is_text(values: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values)


def _rule_breaks(values: pd.Series, column: Column) -> dict[str, np.ndarray]:
    """Return, by reason, which present values break the column's rules."""
    broken = {}
    if column.values:
        allowed = ", ".join(column.values)
        broken[f"{column.name} is not one of {allowed}"] = (
            values.notna().to_numpy() & ~values.isin(column.values).to_numpy()
        )
    if column.minimum is not None:
        broken[f"{column.name} is below {column.minimum}"] = (values < column.minimum).to_numpy()
    return broken


def _seen_before(
    table: Table, frame: pd.DataFrame, bad: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Mark repeats of what must be unique; the first usable row is kept."""
    usable = ~np.any([*bad.values(), np.zeros(len(frame), dtype=bool)], axis=0)
    repeats = {}
    for name, column in table.columns.items():
        if column.unique and name in frame:
            kept = frame.loc[usable, name]
            rows = np.zeros(len(frame), dtype=bool)
            rows[np.flatnonzero(usable)] = (kept.duplicated() & kept.notna()).to_numpy()
            repeats[f"{name} was seen before"] = rows
    return repeats


def _cast(values: pd.Series, column: Column, time_zone: str, where: str) -> pd.Series:
    """Return the values in the column's type; what cannot be read becomes missing."""
    if column.type == "time":
        return _cast_time(values, time_zone)
    if column.type in ("number", "integer"):
        number = _number(values)
        return number.where(number == number.round()) if column.type == "integer" else number
    if pd.api.types.is_float_dtype(values) and (values.abs() >= 2**53).any():
        raise DataError(
            f'{where}: "{column.name}" holds names as numbers with a decimal point, too long to be '
            "exact; write them as text or whole numbers."
        )
    return _text(values, whole=column.type in ("id", "category"))


def _cast_other(values: pd.Series, *, as_text: bool) -> pd.Series:
    """Return a column that the table does not name: numbers where all are, else text."""
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    is_number |= pd.api.types.infer_dtype(values, skipna=True) == "decimal"
    return _number(values) if is_number and not as_text else _text(values, whole=as_text)


def _number(values: pd.Series) -> pd.Series:
    """Return finite float64 values; what is no number becomes missing."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if not pd.api.types.is_numeric_dtype(values):
        values = values.astype("str")
    number = pd.to_numeric(values, errors="coerce").astype("float64")
    return number.where(np.isfinite(number))


def _text(values: pd.Series, *, whole: bool) -> pd.Series:
    """Return stripped text, missing where blank; ``whole``: 7.0 is written as 7."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    present = values.notna()
    if whole and pd.api.types.is_float_dtype(values) and (values[present] % 1 == 0).all():
        values = values.astype("Int64")  # pandas widened them because one is missing
    text = values.astype("str").where(present).str.strip()
    text = text.where(text != "")
    if whole and present.any() and text.dropna().str.fullmatch(r"-?\d+\.0").all():
        text = text.str.removesuffix(".0")
    return text


#: A zone stands after a time of day: 10:00Z, 10:00+08:00, 10:00+0800, 10:00+08.
_ZONED = r"\d[T ]\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"


def _cast_time(values: pd.Series, time_zone: str) -> pd.Series:
    """Return UTC times; a time that names no zone is taken to be in ``time_zone``."""
    if not pd.api.types.is_datetime64_any_dtype(values):
        text = values.astype("str").str.strip()
        # A year comes first; pandas would also read "now" as a time.
        text = text.where(text.str.match(r"\d{4}", na=False))
        zoned = text.str.contains(_ZONED, regex=True, na=False)
        utc = pd.to_datetime(text.where(zoned), format="ISO8601", utc=True, errors="coerce")
        local = pd.to_datetime(text.where(~zoned), format="ISO8601", errors="coerce")
        return _cast_time(utc, time_zone).fillna(_cast_time(local, time_zone))
    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        # In the hour that a clock repeats it is the second; in one that it skips, the hour's end.
        values = values.dt.tz_localize(time_zone, ambiguous=False, nonexistent="shift_forward")
    return values.dt.tz_convert("UTC").dt.as_unit("us")


def _kind(column: Column) -> str:
    return {"time": "a time (ISO 8601)", "number": "a number", "integer": "a whole number"}.get(
        column.type, "text"
    )


def _drop_bad(
    frame: pd.DataFrame,
    bad: dict[str, np.ndarray],
    table: str,
    where: str,
    max_bad_share: float,
    locate: Callable[[int], str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop the marked rows; each is counted under its first reason only."""
    dropped = np.zeros(len(frame), dtype=bool)
    counts = []
    for reason, rows in bad.items():
        first = rows & ~dropped
        dropped |= rows
        if first.any():
            place = int(np.flatnonzero(first)[0])
            counts.append((table, reason, int(first.sum()), place))
    report = pd.DataFrame(counts, columns=["table", "reason", "rows", "place"])
    if dropped.mean() > max_bad_share:
        worst = report.loc[report["rows"].idxmax()]
        raise DataError(
            f"{where}: {int(dropped.sum())} of {len(frame)} rows cannot be used, more than the "
            f"{max_bad_share:.0%} allowed. Most often {worst.reason} ({worst.rows} rows, the first "
            f"in {locate(int(worst.place))}). Correct the table and start again."
        )
    return frame[~dropped].reset_index(drop=True), report.drop(columns="place")
