"""Results of slow work, kept in files: a notebook never pays twice for the same thing.

An entry is a folder ``.cache/<name>/<digest>``; the digest is made of everything
that the result depends on. A writer fills a temporary folder and renames it, so a
reader sees a whole entry or none. Each entry lists its files with their checksums:
a damaged one is built again. ``WORKBOOK_CACHE`` names another folder.

The checksums (CRC-32) lie in the entry itself. They tell damage, not malice: who may write
into the cache can give it wrong numbers. They cannot make its reader run anything, as long
as every ``load`` reads formats that hold no code, nor wait for ever or write elsewhere:
links, pipes and devices are not followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from helpers.base.paths import HOME
from helpers.base.small_files import check_path, own_file, read_json, refuse_links
from helpers.base.writing import write_atomically
from helpers.cache.code import code_of

__all__ = ["cache_folder", "cached", "code_of"]

T = TypeVar("T")

_MANIFEST = "entry.json"
_ENTRY = re.compile("[0-9a-f]{24}")  # what an entry is called
_LEFT = re.compile(r"\.(new|old|spill)-")  # what temporary folders are called
_KEPT_ENTRIES = 20  # newest entries of one name that stay on disk
_STALE_S = 24 * 3600.0  # age after which a temporary folder has lost its writer
_warned = False


def cached(
    name: str,
    key: Mapping[str, Any],
    build: Callable[[], T],
    *,
    save: Callable[[T, Path], None],
    load: Callable[[Path], T],
    keep: int | None = None,
) -> T:
    """Return what ``build`` makes, from the cache where it was made before.

    What was just saved is read back with ``load``, so the first call returns the same
    as every later one. Where the cache folder cannot be written, a line on the standard
    error says so once and nothing is kept.

    Args:
        name: the kind of result, one word; becomes a folder's name.
        key: all that the result depends on, as plain JSON values: parameters, the
            fingerprint of the data, and ``code_of`` the module that makes it.
        build: makes the result.
        save: ``save(result, folder)`` writes it as files into an empty folder.
        load: ``load(folder)`` reads those files back.
        keep: how many entries of this name stay on the disk, the newest; None: 20.

    Returns:
        The result.

    Raises:
        TypeError: the key holds something that is not plain JSON.

    Example:
        >>> import tempfile
        >>> os.environ["WORKBOOK_CACHE"] = tempfile.mkdtemp()
        >>> def save(text, folder): _ = (folder / "text").write_text(text)
        >>> def load(folder): return (folder / "text").read_text()
        >>> cached("greeting", {"to": "you"}, lambda: "hello you", save=save, load=load)
        'hello you'
        >>> cached("greeting", {"to": "you"}, lambda: 1 / 0, save=save, load=load)
        'hello you'
        >>> del os.environ["WORKBOOK_CACHE"]
    """
    entry = cache_folder() / name / _digest(name, key)
    found, kept = _read(entry, load)
    if found:
        return cast(T, kept)
    result = build()
    try:
        _write(entry, key, result, save, keep or _KEPT_ENTRIES)
    except OSError as error:
        _warn_once(error)
        return result
    try:  # not by _read: an error of `load` on a fresh entry is a mistake to be seen
        return load(entry)
    except FileNotFoundError:  # another process replaced or removed the entry meanwhile
        return result


def cache_folder() -> Path:
    """Return the folder of the cache: ``$WORKBOOK_CACHE``, or ``.cache`` in the repository.

    Where the package is installed without a repository, it is ``.cache`` in the current folder.

    Raises:
        DataError: the variable names what can be no folder.
    """
    stated = os.environ.get("WORKBOOK_CACHE", "")
    check_path(stated, option="WORKBOOK_CACHE")
    return Path(stated or HOME / ".cache")


def _digest(name: str, key: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(key, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f'the key of the cache entry "{name}" must hold plain JSON values only: {error}'
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read(entry: Path, load: Callable[[Path], T]) -> tuple[bool, T | None]:
    """Return (True, result), or (False, None) where there is no whole entry."""
    try:
        manifest = read_json(entry / _MANIFEST, links=False)
        if entry.is_symlink() or manifest["files"] != _checksums(entry):
            return False, None
        refuse_links(entry, what="an entry of the cache")  # nor a pipe that no list names
        result = load(entry)
    except Exception:  # a file cut short can raise anything in a reader: build again
        return False, None
    with contextlib.suppress(OSError):  # the entries used least lately are the first to go
        os.utime(entry)
    return True, result


def _write(
    entry: Path, key: Mapping[str, Any], result: T, save: Callable[[T, Path], None], keep: int
) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    if entry.parent.is_symlink():  # else the oldest folders of another place would be removed
        raise OSError(errno.ELOOP, f"{entry.parent.name} in it is a link")
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
    try:
        save(result, temporary)
        manifest = {"key": dict(key), "files": _checksums(temporary)}
        write_atomically(temporary / _MANIFEST, json.dumps(manifest, indent=1))
        os.chmod(temporary, 0o700)  # a log of customers may be in it
        _swap(temporary, entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _tidy(entry.parent, keep)


def _swap(temporary: Path, entry: Path) -> None:
    """Put the new entry in place of whatever lies there."""
    try:
        os.rename(temporary, entry)
        return
    except OSError:
        if not entry.exists():
            raise
    # A damaged entry, or another process was faster: move it away, so that one of the
    # writers' whole entries ends up here. Whoever is reading the old one builds again.
    old = Path(tempfile.mkdtemp(prefix=".old-", dir=entry.parent))
    try:
        try:
            os.rename(entry, old / "entry")
            os.rename(temporary, entry)
        except OSError:  # a third process did both first: its entry is as good
            if not entry.exists():
                raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _checksums(folder: Path) -> dict[str, list[int]]:
    """Return each file's size and CRC-32, by its path inside the folder."""
    files = (file for file in sorted(folder.rglob("*")) if own_file(file))
    return {
        file.relative_to(folder).as_posix(): _checksum(file)
        for file in files
        if file.name != _MANIFEST
    }


def _checksum(file: Path) -> list[int]:
    size, crc = 0, 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return [size, crc]


def _tidy(folder: Path, keep: int) -> None:
    """Remove the leavings of killed writers, and the oldest entries beyond a number."""
    ages: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        try:
            ages.append((time.time() - path.stat().st_mtime, path))
        except OSError:  # another process removed it meanwhile
            continue
    # Only what has a name that the cache gives: the folder may hold things of somebody else's.
    entries = sorted((age, path) for age, path in ages if _ENTRY.fullmatch(path.name))
    stale = [path for age, path in ages if _LEFT.match(path.name) and age > _STALE_S]
    for path in stale + [path for _, path in entries[keep:]]:
        shutil.rmtree(path, ignore_errors=True)


def _warn_once(error: OSError) -> None:
    global _warned
    if not _warned:
        # The folder is not named: this line can end up in a stored notebook.
        print(
            f"The cache folder cannot be written ({error.strerror}), so nothing is kept for the "
            "next time. Set WORKBOOK_CACHE to a folder that can be written.",
            file=sys.stderr,
        )
    _warned = True
