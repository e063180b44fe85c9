"""From a look at stored tables to a written ``schema.yaml``."""

from __future__ import annotations

import os
from pathlib import Path

from helpers.base.errors import DataError
from helpers.base.words import near_match
from helpers.commands.init.looking import look_at_folder, look_at_server
from helpers.commands.init.plan import make_draft
from helpers.commands.init.writing import write_plan

__all__ = ["draft_schema", "write_draft"]

_NAME = "schema.yaml"


def draft_schema(path: str | Path = "", *, source: str = "csv", progress: bool = False) -> str:
    """Return the draft of a ``schema.yaml`` for the tables of a folder or a server.

    Args:
        path: the folder of a ``csv`` source.
        source: ``csv``, or ``mysql`` for the server that ``WORKBOOK_DB_URL`` names.
        progress: show a bar where looking takes long.

    Returns:
        YAML with comments. It can be read as it is, unless it holds a line with ``FILL IN``.

    Raises:
        DataError: the source is unknown, or holds no table that can be read.

    Example:
        >>> from helpers.base.paths import DATA
        >>> print(draft_schema(DATA / "foreign").split("columns:")[0])
        # A first draft...
        user_behavior:
          file: ventas.csv  # about 14,569 rows
          encoding: latin-1
          delimiter: ";"
          decimal: ","
          time_format: "%d/%m/%Y %H:%M"
          event_type: purchase  # every row; the name says so
        <BLANKLINE>
    """
    if source not in ("csv", "mysql"):
        hint = near_match(source, ["csv", "mysql"])
        raise DataError(f"A draft is made for csv or mysql; got {source!r}.{hint}")
    if source == "csv" and not str(path):
        raise DataError("A draft needs a folder to look at; name it with --path (or path=).")
    if source == "mysql":
        found = look_at_server()
    else:
        found = look_at_folder(Path(path).expanduser(), progress=progress)
    return write_plan(make_draft(*found, progress=progress), server=source == "mysql")


def write_draft(
    path: str | Path = "",
    *,
    source: str = "csv",
    out: str | Path | None = None,
    progress: bool = False,
) -> Path:
    """Write the draft of a ``schema.yaml``; an existing file is never replaced.

    Args:
        path: the folder of a ``csv`` source.
        source: ``csv`` or ``mysql``.
        out: the file to write. By default it is ``schema.yaml``, in the folder of the source or,
            for a server, in the folder that one is in.
        progress: show a bar where looking takes long.

    Returns:
        The file written.

    Raises:
        DataError: the file is there already or cannot be written, or as :func:`draft_schema`.
    """
    file = (
        Path(out).expanduser()
        if out
        else Path(path if source == "csv" else "").expanduser() / _NAME
    )
    if os.path.lexists(file):
        raise DataError(_taken(file))
    text = draft_schema(path, source=source, progress=progress)
    try:
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise DataError(_taken(file)) from None
    except OSError as error:
        raise DataError(f"{file}: the draft cannot be written: {error.strerror}.") from None
    return file


def _taken(file: Path) -> str:
    return (
        f"{file.name} is there already and is not overwritten; rename it, or name another file for "
        "the draft."
    )
