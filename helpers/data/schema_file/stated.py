"""What a ``schema.yaml`` states, once it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from helpers.schema import Task

__all__ = ["LeaveOut", "SchemaFile", "StoredTable"]


@dataclass(frozen=True)
class LeaveOut:
    """Rows that are no events, such as cancellations: left out and counted, not faults.

    Attributes:
        column: the stored column that is looked at.
        test: ``is_empty``, ``starts_with``, ``one_of``, ``matches`` (a regular expression,
            anywhere in the text), ``below``, ``above`` (of the value as a number).
        value: what it is compared with: a text; a tuple of texts for ``one_of``, a float for
            ``below`` and ``above``, True for ``is_empty``.
    """

    column: str
    test: str
    value: Any = True

    @property
    def reason(self) -> str:
        """Say why a row is left out."""
        if self.test == "is_empty":
            return f"left out: {self.column} is empty"
        shown = ", ".join(self.value) if isinstance(self.value, tuple) else self.value
        shown = f"{shown:g}" if isinstance(shown, float) else shown
        return f"left out: {self.column} {self.test.replace('_', ' ')} {shown}"


@dataclass(frozen=True)
class StoredTable:
    """One stored table that fills a canonical table, or a part of it.

    Attributes:
        table: the canonical table.
        files: names or patterns in the folder; empty: ``<table>.csv``, ``.csv.gz`` or
            ``.parquet``.
        stored_table: the table of a MySQL server; empty: the canonical name.
        derived: the rows are made from ``user_behavior``: for each id the first known value
            of each column, by time.
        encoding, delimiter, decimal: of text files; a derived part has those of the log.
        time_zone: zone of times that name none; empty: the task's.
        time_format: ``ISO 8601``, ``unix s``, ``unix ms``, or a format of ``strptime``.
        columns: canonical name to the stored columns that fill it (several are joined by a
            blank, such as a date and a time); empty: the stored names are canonical.
        extra: further stored columns that are kept, by their stored names; None: all.
        event_type: every row is one event of this type, ``impression`` where ``label`` is
            mapped; empty: a column says.
        values: canonical column to {stored value: canonical value}; others stay as they are.
        leave_out: rows that are no events.
        duplicates: ``drop`` or ``keep`` rows that are equal in every column.
        line: where the part begins in ``schema.yaml``, 0 where it is not stated.
    """

    table: str
    files: tuple[str, ...] = ()
    stored_table: str = ""
    derived: bool = False
    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."
    time_zone: str = ""
    time_format: str = "ISO 8601"
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    extra: tuple[str, ...] | None = None
    event_type: str = ""
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    leave_out: tuple[LeaveOut, ...] = ()
    duplicates: str = "drop"
    line: int = 0


@dataclass(frozen=True)
class SchemaFile:
    """All that a ``schema.yaml`` states.

    Attributes:
        parts: the stored tables behind each canonical table, by its name.
        task: what is predicted, and how time is cut.
        max_users: how many users to draw; 0: all; None: as many as keep the number of
            samples near :data:`helpers.data.user_draw.SAMPLES`.
        on_bad_rows: ``drop`` or ``stop``.
        max_bad_share: more bad rows than this share stop the run even so.
        stated: the fields of the task that the file states.
        name: of the file, for messages.
        text: what the file says; part of the data's fingerprint.
    """

    parts: dict[str, tuple[StoredTable, ...]]
    task: Task
    max_users: int | None = None
    on_bad_rows: str = "drop"
    max_bad_share: float = 0.2
    stated: frozenset[str] = frozenset()
    name: str = "schema.yaml"
    text: str = ""
