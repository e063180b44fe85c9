"""Stored rows piece by piece: each value in its type, and only rows that can be used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from helpers.base.errors import DataError
from helpers.data.chunks import Chunk
from helpers.data.cleaning.headers import ColumnSource, ColumnSources, plan_columns, resolve
from helpers.data.cleaning.rules import fits
from helpers.data.cleaning.tally import EXAMPLES, Fault, Tally
from helpers.data.cleaning.times import local_days, read_times
from helpers.data.cleaning.values import INEXACT, Stored, join_texts, text_series, translate
from helpers.data.cleaning.wording import ZERO, reasons
from helpers.data.dropped import DropKind
from helpers.data.schema_file import StoredTable
from helpers.schema import Column

__all__ = ["Cleaner"]

#: After so many rows it is told if nearly all are bad, and the rest is not read.
_EARLY_ROWS = 200_000
_EARLY_SHARE = 0.99
_LABELS = {"false": "0", "true": "1"}
_SHORTENED = r"^[0-9](?:[.,][0-9]+)?E\+[0-9]{2,}$"
_TOLERANCE = pd.Timedelta(days=1)  # clocks differ, and zones are mistaken
_ZONES = pd.Timedelta(hours=14)  # so far are the clocks of the world from UTC


class Cleaner:
    """Turns chunks of a stored table into rows of a canonical one, and counts what is dropped.

    What comes out does not depend on where the chunks are cut; how far a table is read that
    is refused early does.

    Args:
        part: what is stored where, and how it is written.
        task_zone: days begin at its midnight; zone of the times that name none, unless the
            part states another.
        on_bad_rows: ``drop``, or ``stop`` if there is any.
        max_bad_share: a larger share of bad rows is refused.

    Example:
        >>> part = StoredTable("users", columns={"user_id": ("CustomerID",)}, extra=("Country",))
        >>> cleaner = Cleaner(part, task_zone="UTC", max_bad_share=0.5)
        >>> frame = pd.DataFrame({"CustomerID": ["", " 7 "], "Country": ["France", "Spain"]})
        >>> cleaner.header(list(frame), "customers.csv")
        >>> cleaner.clean(Chunk(frame, "customers.csv"))
          user_id Country
        1       7   Spain
        >>> cleaner.finish()[["table", "kind", "reason", "rows"]].values.tolist()
        [['users', 'empty', 'user_id is empty', 1]]
    """

    def __init__(
        self,
        part: StoredTable,
        *,
        task_zone: str,
        on_bad_rows: str = "drop",
        max_bad_share: float = 0.2,
    ) -> None:
        self.part = part
        self.tally = Tally(part, on_bad_rows=on_bad_rows, max_bad_share=max_bad_share)
        self._task_zone = task_zone
        self._plan: ColumnSources | None = None
        self._latest = pd.Timestamp.now("UTC") + _TOLERANCE

    def header(self, names: list[str], where: str, *, check: bool = True) -> None:
        """Settle which stored columns fill which canonical ones; call it for each file.

        Args:
            names: the stored names.
            where: the file or table, named in messages.
            check: refuse a header that lacks something.

        Raises:
            DataError: a column is missing, appears twice, or has a name that samples use.
        """
        self._plan = resolve(self.part, names, where) if check else plan_columns(self.part, names)
        self.tally.files.setdefault(where)

    def clean(self, chunk: Chunk) -> pd.DataFrame:
        """Return the rows of a chunk that can be used, and count the others.

        Args:
            chunk: its frame has the columns of the last header.

        Returns:
            The canonical columns that are filled, then further ones: ids and names as text,
            times in UTC, numbers as float64. Of ``user_behavior`` also ``day``, int32: the
            local day since 1970-01-01. The index holds each row's place in the chunk.

        Raises:
            DataError: ids lost digits, nearly all of many rows are bad, or one is and the part
                says to stop.
        """
        if self._plan is None:
            self.header(list(chunk.frame), chunk.where)
        self.tally.rows += len(chunk.frame) + sum(map(len, chunk.faults.values()))
        for reason, places in chunk.faults.items():
            fault = Fault((-1, 0), reason, DropKind.UNREADABLE)
            self.tally.drop(fault, len(places), chunk, places, [])
        kept, columns = self._columns(chunk)
        self._stop_early()
        frame = pd.DataFrame(columns, index=pd.RangeIndex(len(chunk.frame)), copy=False)
        frame = frame.set_axis(kept) if len(kept) == len(frame) else frame.take(kept)
        if self.part.table == "user_behavior" and "event_time" in frame:
            frame["day"] = local_days(frame["event_time"], self._task_zone).astype(np.int32)
        return frame

    def finish(self) -> pd.DataFrame:
        """Return what was dropped, once all chunks are through.

        Returns:
            ``table, kind, column, reason, rows``: first what was left out, then what could not be
            used.

        Raises:
            DataError: there was no row, none is left, or too many could not be used.
        """
        self.tally.check()
        return self.tally.table()

    def _columns(self, chunk: Chunk) -> tuple[np.ndarray, dict[str, pd.Series]]:
        """Return the places of the rows that can be used, and all columns uncut."""
        frame, part = chunk.frame, self.part
        live = ~self._left_out(frame)
        columns: dict[str, pd.Series] = {}
        plan = self._plan
        if plan is None:
            raise RuntimeError("Columns are resolved by header() before rows are cleaned.")
        for rank, source in enumerate(plan.sources):
            name = source.column.name
            if source.constant:
                columns[name] = text_series(pa.repeat(source.constant, len(frame)))
                continue
            stored = self._stored(source, frame)
            if source.column.type in ("id", "category", "text"):
                _refuse_inexact(stored, live, source, chunk.where)
            columns[name] = self._cast(stored, source)
            for fault, rows in self._faults(rank, source, stored, columns[name]):
                rows = rows & live  # a row is counted under its first fault only
                if rows.any():
                    self._drop(fault, rows, chunk, source.column, stored)
                    live &= ~rows
        for name in plan.extra:
            stored = Stored(frame[name], decimal=part.decimal)
            columns[name] = _cast_extra(stored, as_text=part.table == "users")
        return np.flatnonzero(live), columns

    def _left_out(self, frame: pd.DataFrame) -> np.ndarray:
        """Mark and count the rows that are no events."""
        gone = np.zeros(len(frame), dtype=bool)
        read: dict[str, Stored] = {}
        for rank, rule in enumerate(self.part.leave_out):
            if rule.column not in read:
                read[rule.column] = Stored(frame[rule.column], decimal=self.part.decimal)
            rows = fits(rule, read[rule.column]) & ~gone
            fault = Fault((-2, rank), rule.reason, DropKind.RULE, rule.column)
            self.tally.leave_out(fault, int(rows.sum()))
            gone |= rows
        return gone

    def _stored(self, source: ColumnSource, frame: pd.DataFrame) -> Stored:
        """Return a column's values: joined, and translated, where that is stated."""
        columns = [Stored(frame[n], decimal=self.part.decimal) for n in source.stored]
        stored = columns[0]
        if len(columns) > 1:
            joined = join_texts(columns, skip_missing=source.column.type == "text")
            stored = Stored(text_series(joined), decimal=self.part.decimal)
        meanings = self.part.values.get(source.column.name)
        if meanings and not stored.is_time:
            text = translate(stored.text, meanings)
            # A number that is translated to a number is written with a point.
            stored = Stored(text_series(text), decimal=self.part.decimal)
        return stored

    def _cast(self, stored: Stored, source: ColumnSource) -> pd.Series:
        """Return the values in the column's type; what cannot be read becomes missing."""
        column = source.column
        if column.type == "time":
            zone = self.part.time_zone or self._task_zone
            return read_times(stored, time_format=self.part.time_format, time_zone=zone)
        if column.name == "label" and not stored.is_number:
            text = translate(pc.utf8_lower(stored.text), _LABELS)
            stored = Stored(text_series(text), decimal=self.part.decimal)
        if column.type in ("number", "integer"):
            numbers = stored.numbers()
            if column.type == "integer":
                numbers = np.where(numbers == np.round(numbers), numbers, np.nan)
            return pd.Series(numbers)
        return text_series(stored.as_stored() if column.type == "text" else stored.text)

    def _faults(
        self, rank: int, source: ColumnSource, stored: Stored, cast: pd.Series
    ) -> Iterator[tuple[Fault, np.ndarray]]:
        """Yield each fault of a column with the rows that have it."""
        column = source.column
        words = reasons(column, allowed=source.allowed, time_format=self.part.time_format)

        def fault(place: int, kind: DropKind) -> Fault:
            return Fault((rank, place), words[kind], kind, column.name)

        if not column.nullable:
            yield fault(0, DropKind.EMPTY), ~stored.given
        present = cast.notna().to_numpy()
        if column.name == "label":
            yield fault(1, DropKind.VALUE), stored.given & ~cast.isin(column.values).to_numpy()
            return
        yield fault(1, DropKind.TYPE), stored.given & ~present
        if source.allowed:
            yield fault(2, DropKind.VALUE), present & ~cast.isin(source.allowed).to_numpy()
        if column.type == "integer":
            yield fault(2, DropKind.MAXIMUM), (cast.abs() >= INEXACT).to_numpy()
        if column.minimum is not None:
            yield fault(3, DropKind.MINIMUM), (cast < column.minimum).to_numpy()
        if column.type == "time":
            yield fault(3, DropKind.ZERO), ((cast - ZERO).abs() <= _ZONES).to_numpy()
            yield fault(4, DropKind.FUTURE), (cast > self._latest).to_numpy()

    def _drop(
        self, fault: Fault, rows: np.ndarray, chunk: Chunk, column: Column, stored: Stored
    ) -> None:
        places = np.flatnonzero(rows)
        wanted = places[: self.tally.wanted(fault, column)]
        values = stored.text.take(pa.array(wanted)).to_pylist()
        shown = [chunk.first + int(place) for place in places[:EXAMPLES]]
        self.tally.drop(fault, len(places), chunk, shown, [value or "" for value in values])

    def _stop_early(self) -> None:
        tally = self.tally
        if tally.on_bad_rows == "stop" and tally.bad:
            raise tally.refusal(so_far=True)
        if tally.rows < _EARLY_ROWS or not tally.events or not tally.is_too_much():
            return
        if tally.bad >= _EARLY_SHARE * tally.events:
            raise tally.refusal(so_far=True)


def _refuse_inexact(stored: Stored, live: np.ndarray, source: ColumnSource, where: str) -> None:
    """Refuse names that lost digits: several of them may have become one."""
    if stored.is_float:
        numbers = np.abs(stored.values.to_numpy(dtype="float64", na_value=np.nan))
        how, lost = "with a decimal point, too long to be exact", numbers >= INEXACT
    elif source.column.type == "id" and pc.any(pc.match_substring(stored.text, "E+")).as_py():
        how = "in the short form 1.2E+17 of spreadsheets, which lacks their last digits"
        short = pc.match_substring_regex(stored.text, _SHORTENED).fill_null(False)
        lost = short.to_numpy(zero_copy_only=False)
    else:
        return
    if lost[live].any():
        raise DataError(
            f'{where}: "{source.stored[0]}" holds names as numbers {how}; write them as text or '
            "whole numbers."
        )


def _cast_extra(stored: Stored, *, as_text: bool) -> pd.Series:
    """Return a column that the table does not name: stored numbers as such, else text."""
    is_number = stored.is_number and not pd.api.types.is_bool_dtype(stored.values)
    if not is_number and not as_text and stored.values.dtype == object:
        is_number = pd.api.types.infer_dtype(stored.values, skipna=True) == "decimal"
    if is_number and not as_text:
        return pd.Series(stored.numbers())
    return text_series(stored.text)
