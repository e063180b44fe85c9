"""Stored values as text and as numbers, whatever type they are stored in.

A value is read in the same way whatever stands beside it, so results do not depend on
where a table is cut into pieces.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["INEXACT", "Stored", "join_texts", "text_series", "translate"]

#: From here on, floats no longer hold every whole number.
INEXACT = 2.0**53

_TEXT = pd.StringDtype(na_value=np.nan)
_POWER = r"(?:[eE][+-]?[0-9]+)?$"


def _number_pattern(decimal: str) -> str:
    """Return what a number looks like.

    The other mark stands between thousands only where nothing else can be meant: before the
    decimals, or twice. With a comma for the decimals a lone 1.234 may be 1234 or what a program
    wrote for 1,234, so it is no number.
    """
    mark, other = (r"\.", ",") if decimal == "." else (",", r"\.")
    plain = rf"[0-9]+{mark}?[0-9]*|{mark}[0-9]+"
    grouped = (
        rf"[1-9][0-9]{{0,2}}(?:(?:{other}[0-9]{{3}})+{mark}[0-9]+|(?:{other}[0-9]{{3}}){{2,}})"
    )
    return rf"^[+-]?(?:{plain}|{grouped}){_POWER}"


class Stored:
    """The values of one stored column.

    Args:
        values: text, or of any type of a Parquet file.
        decimal: what stands before the decimals of a number in text.
    """

    def __init__(self, values: pd.Series, *, decimal: str = ".") -> None:
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype(values.cat.categories.dtype)
        self.values = values
        self.decimal = decimal
        self.is_time = pd.api.types.is_datetime64_any_dtype(values)
        self.is_number = pd.api.types.is_numeric_dtype(values)
        self.is_float = pd.api.types.is_float_dtype(values)

    @cached_property
    def text(self) -> pa.Array:
        """Text without blanks around it, missing where empty; 7.0 is written as 7."""
        return self._text(whole=True)

    @cached_property
    def given(self) -> np.ndarray:
        """Mark the values that are neither missing nor blank text."""
        if self.is_number or self.is_time:
            return self.values.notna().to_numpy()
        return self.text.is_valid().to_numpy(zero_copy_only=False)

    def as_stored(self) -> pa.Array:
        """Return the text, in which the float 7.0 stays 7.0."""
        return self._text(whole=False) if self.is_float else self.text

    def numbers(self) -> np.ndarray:
        """Return finite float64 values, NaN for what is none."""
        if self.is_number:
            found = self.values.to_numpy(dtype="float64", na_value=np.nan)
        else:
            # Only text follows the file's habit; a Decimal is written with a point.
            is_text = isinstance(self.values.dtype, pd.StringDtype)
            found = _parse_numbers(self.text, self.decimal if is_text else ".")
        return np.where(np.isfinite(found), found, np.nan)

    def _text(self, *, whole: bool) -> pa.Array:
        values = self.values
        if isinstance(values.dtype, pd.StringDtype):
            text = _arrow(values)
        else:
            present = values.notna()
            if self.is_time:
                written = values.map(str, na_action="ignore")  # alike beside any other time
            elif whole and self.is_float:
                written = _write_floats(values)
            else:
                written = values.astype("str")
            text = _arrow(written.astype("str").where(present))
        text = pc.utf8_trim_whitespace(text)
        empty = pc.equal(pc.binary_length(text), 0)
        return (
            pc.if_else(empty, pa.scalar(None, text.type), text) if pc.any(empty).as_py() else text
        )


def _arrow(values: pd.Series) -> pa.Array:
    text = values if isinstance(values.dtype, pd.StringDtype) else values.astype("str")
    text = pa.array(text.array, from_pandas=True)
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    return text if pa.types.is_large_string(text.type) else text.cast(pa.large_string())


def _write_floats(values: pd.Series) -> pd.Series:
    """Return floats as text; whole numbers without a point: pandas widens them beside gaps."""
    numbers = values.to_numpy(dtype="float64", na_value=np.nan)
    with np.errstate(invalid="ignore"):
        whole = (numbers % 1 == 0) & (np.abs(numbers) < INEXACT)
    written = values.astype("str").to_numpy(dtype=object)
    written[whole] = numbers[whole].astype(np.int64).astype("str")
    return pd.Series(written, index=values.index)


def _parse_numbers(text: pa.Array, decimal: str) -> np.ndarray:
    try:
        if decimal == ".":
            return _floats(text)  # mostly all are numbers, and this is fast
    except pa.ArrowInvalid:
        pass
    fits = pc.match_substring_regex(text, _number_pattern(decimal))
    text = pc.if_else(fits, text, pa.scalar(None, text.type))
    text = pc.replace_substring(text, "," if decimal == "." else ".", "")
    text = pc.replace_substring(text, ",", ".")
    text = pc.replace_substring_regex(text, r"^\+", "")
    try:
        return _floats(text)
    except pa.ArrowInvalid:  # too large or too small for Arrow
        return np.array([np.nan if v is None else float(v) for v in text.to_pylist()])


def _floats(text: pa.Array) -> np.ndarray:
    return text.cast(pa.float64()).to_numpy(zero_copy_only=False)


def text_series(text: pa.Array) -> pd.Series:
    """Return text as a pandas series of dtype ``str``.

    Example:
        >>> text_series(pa.array(["a", None])).dtype
        <StringDtype(na_value=nan)>
    """
    text = text if pa.types.is_large_string(text.type) else text.cast(pa.large_string())
    return pd.Series(pd.arrays.ArrowStringArray(text, dtype=_TEXT), copy=False)


def join_texts(columns: list[Stored], *, skip_missing: bool) -> pa.Array:
    """Return texts joined by a blank; missing where one is, or where all are.

    Args:
        columns: what is joined, of equal lengths.
        skip_missing: join the others where one is missing.
    """
    # Of a date beside a time of day its own midnight means nothing.
    texts = [
        pc.replace_substring_regex(c.text, " 00:00:00$", "") if c.is_time else c.text
        for c in columns
    ]
    blank = pa.scalar(" ", pa.large_string())
    joined = texts[0]
    for text in texts[1:]:
        both = pc.binary_join_element_wise(joined, text, blank)
        joined = pc.coalesce(both, joined, text) if skip_missing else both
    return joined


def translate(text: pa.Array, meanings: dict[str, str]) -> pa.Array:
    """Return the text with stored values replaced by what they mean; others stay.

    Example:
        >>> stored = pa.array(["view", "x", None], pa.large_string())
        >>> translate(stored, {"view": "click"}).to_pylist()
        ['click', 'x', None]
    """
    stored = pa.array(list(meanings), text.type)
    meant = pa.array(list(meanings.values()), text.type)
    return pc.coalesce(meant.take(pc.index_in(text, value_set=stored)), text)
