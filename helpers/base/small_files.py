"""Small files that a person names, or that lie in a folder which somebody else may have filled.

Opening a pipe waits for ever, reading ``/dev/zero`` never ends, and a few thousand brackets
exhaust a parser. So whatever is read whole goes through here: a plain file, of a stated size, in
UTF-8, not nested too deeply. What is wrong is said in a sentence; nothing is built from a file
but numbers, texts, lists and dicts. Who changes a folder while it is read is not guarded against.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError

__all__ = ["check_path", "own_file", "read_bytes", "read_json", "read_text", "refuse_links"]

_LARGEST = 1_000_000  # bytes
_DEEPEST = 40  # lists in lists
_LONGEST = 4096  # characters of a path; systems allow no more
_MOST_LINKS = 100_000  # files of a folder that are looked at


def check_path(path: str | Path, *, option: str) -> None:
    r"""Refuse a path that no system can have, or that cannot even be looked at.

    Args:
        path: as a person wrote it; it need not exist.
        option: where it was stated, such as ``--path``.

    Raises:
        DataError: it holds a null byte or is no text, is too long, begins with the home of a
            user who is not known, leads in a circle, or through a folder that is closed.

    Example:
        >>> check_path("a\0b", option="-f")
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: -f 'a\x00b': a path cannot hold a null byte; give another ...
    """
    text = str(path)
    place = f"{option} {_shown(text)}"
    if "\0" in text:
        raise DataError(f"{place}: a path cannot hold a null byte; give another one.")
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{place}: the name is no text in UTF-8, so results could not tell it; rename it."
        ) from None
    if len(raw) > _LONGEST or any(len(part) > 255 for part in raw.split(b"/")):
        raise DataError(
            f"{place}: no system has so long a name ({len(raw):,} bytes); give the path of a file "
            "or folder, not what it holds."
        )
    try:
        full = Path(text).expanduser()
    except RuntimeError:
        raise DataError(
            f"{place}: there is no user of that name here, so no home folder; write the path out."
        ) from None
    try:
        full.stat()
    except (FileNotFoundError, NotADirectoryError):  # who needs it there says so himself
        return
    except OSError as error:  # links in a circle, or a folder that nobody may look into
        raise DataError(f"{place} cannot be looked at: {error.strerror}.") from None


def own_file(path: Path) -> bool:
    """Return whether a plain file lies there: no link, folder, pipe or device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def refuse_links(folder: Path, *, what: str) -> None:
    """Refuse a folder in which anything is a link, or no file or folder at all.

    Through a link, what is written into the folder would land somewhere else.

    Args:
        folder: looked at with all folders in it; it may itself be reached by a link.
        what: it is, for the message, such as ``"a run's folder"``.

    Raises:
        DataError: names the first such thing, or says that there are too many files.
        OSError: the folder cannot be read.
    """
    left, seen = [folder], 0
    while left:
        with os.scandir(left.pop()) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            seen += 1
            if entry.is_dir(follow_symlinks=False):
                left.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                kind = "a link" if entry.is_symlink() else "a pipe, a socket or a device"
                raise DataError(
                    f"{_shown(entry.path)} is {kind}, but {what} holds plain files and folders "
                    "only, so that nothing outside of it is read or written. Put the file itself "
                    "there, or remove it."
                )
        if seen > _MOST_LINKS:
            raise DataError(
                f"{_shown(folder)} holds more than {_MOST_LINKS:,} files; this is not {what}."
            )


def read_bytes(path: Path, *, name: str = "", largest: int = _LARGEST, links: bool = True) -> bytes:
    """Return what a small plain file holds.

    Args:
        path: the file.
        name: of it, for messages; its path when not given.
        largest: how many bytes it may have.
        links: whether a link to a file will do, as where a person names the file.

    Raises:
        FileNotFoundError: it is not there.
        DataError: it is a folder, a pipe, a device, a link that will not do, too large, or
            cannot be read.

    Example:
        >>> read_bytes(Path("/dev/zero"))
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: '/dev/zero' is a pipe, a socket or a device, which need ...
    """
    place = name or _shown(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        # Looked at before it is opened, which alone may wait or do something, and after.
        _check_kind((path.stat() if links else path.lstat()).st_mode, place)
        handle = os.open(path, flags | (0 if links else getattr(os, "O_NOFOLLOW", 0)))
        with os.fdopen(handle, "rb") as stream:
            _check_kind(os.fstat(handle).st_mode, place)
            content = stream.read(largest + 1)
    except (DataError, FileNotFoundError):
        raise
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or 'unknown reason'}.") from None
    except ValueError:
        raise DataError(f"{place}: a path cannot hold a null byte; give another one.") from None
    if len(content) > largest:
        raise DataError(
            f"{place} is larger than {_size(largest)}, which no file of its kind is. Was another "
            "file given its name?"
        )
    return content


def read_text(path: Path, *, name: str = "", largest: int = _LARGEST, links: bool = True) -> str:
    """Return what a small plain file says, read as UTF-8, without a byte order mark.

    Args and errors are those of :func:`read_bytes`; a ``DataError`` also where it is not UTF-8.
    """
    content = read_bytes(path, name=name, largest=largest, links=links)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name or _shown(path)}, line {line}: this is not UTF-8 (byte "
            f"0x{content[error.start]:02x}); save the file as UTF-8 and start again."
        ) from None


def read_json(path: Path, *, name: str = "", largest: int = _LARGEST, links: bool = True) -> Any:
    """Return what a small JSON file states.

    Args and errors are those of :func:`read_text`; a ``DataError`` also where it is no JSON,
    states one name twice, or nests lists or dicts more than 40 deep.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w") as file:
        ...     print("[" * 100_000, file=file, flush=True)
        ...     read_json(Path(file.name), name="run.json")
        Traceback (most recent call last):
            ...
        helpers.base.errors.DataError: run.json nests lists or sections more than 40 deep, which ...
    """
    place = name or _shown(path)
    text = read_text(path, name=name, largest=largest, links=links)
    too_deep = DataError(
        f"{place} nests lists or sections more than {_DEEPEST} deep, which no file of its kind "
        "does."
    )
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise DataError(
            f"{place} states {_shown(str(error))} twice; keep one of the two."
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{place}, line {error.lineno}: this is not JSON: {error.msg}.") from None
    except ValueError:  # Python turns no text of more than 4,300 digits into a number
        raise DataError(f"{place} holds a number of thousands of digits.") from None
    except RecursionError:
        raise too_deep from None
    if _is_deeper(value, _DEEPEST):
        raise too_deep
    return value


class _TwiceError(Exception):
    """A name that one section states twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and dicts stand in each other deeper than so many levels."""
    layer = [value]
    for _ in range(levels):
        inner = [
            v.values() if isinstance(v, dict) else v for v in layer if isinstance(v, dict | list)
        ]
        layer = [child for children in inner for child in children]
        if not layer:
            return False
    return any(isinstance(v, dict | list) for v in layer)


def _check_kind(mode: int, place: str) -> None:
    """Refuse what is no plain file: it may never end, or do something when it is opened."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise DataError(f"{place} is not a file but a folder; give the file.")
    if stat.S_ISLNK(mode):
        raise DataError(f"{place} is a link; put the file itself there.")
    raise DataError(
        f"{place} is a pipe, a socket or a device, which need not end; save what it says as a "
        "file, and give that."
    )


def _size(number: int) -> str:
    for unit, size in (("MB", 1_000_000), ("kB", 1000)):
        if number >= size:
            return f"{number // size} {unit}"
    return f"{number} bytes"


def _shown(path: str | Path) -> str:
    """Return a path as a message may show it: quoted, short, nothing unprintable."""
    text = str(path)
    return repr(text if len(text) <= 200 else f"{text[:100]}...{text[-60:]}")
