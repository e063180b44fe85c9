"""Folders and files that a person names, and the sentence where one is not there."""

from __future__ import annotations

from pathlib import Path

from helpers.base.errors import DataError
from helpers.base.words import near_match

__all__ = ["folder_of_tables", "named_schema"]


def folder_of_tables(path: str | Path, *, option: str = "") -> Path:
    """Return the folder of a person's tables.

    Args:
        path: as the person wrote it; ``~`` is their home.
        option: where it was stated, such as ``--path``, for the message.

    Raises:
        DataError: there is no such folder, or a file lies there.

    Example:
        >>> folder_of_tables("no_such_place", option="--path")
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: --path no_such_place: there is no such folder.
    """
    folder, place = Path(path).expanduser(), f"{option} {path}".strip()
    if not folder.exists():
        beside = [p.name for p in folder.parent.glob("*/")] if folder.parent.is_dir() else []
        raise DataError(f"{place}: there is no such folder.{near_match(folder.name, beside)}")
    if not folder.is_dir():
        raise DataError(f"{place}: this is a file; give the folder that holds your tables.")
    return folder


def named_schema(path: str | Path, *, option: str = "") -> Path:
    """Return a ``schema.yaml`` that a person names; arguments as :func:`folder_of_tables`.

    Raises:
        DataError: there is no such file, or a folder lies there.
    """
    file, place = Path(path).expanduser(), f"{option} {path}".strip()
    if file.is_dir():
        raise DataError(f"{place}: this is a folder; give the file, schema.yaml.")
    if not file.exists():
        beside = [p.name for p in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        raise DataError(f"{place}: there is no such file.{near_match(file.name, beside)}")
    return file
