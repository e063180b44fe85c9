"""Files that are there whole or not at all, whatever happens while they are written.

The new content goes into a hidden folder beside the target, reaches the disk, and then takes the
target's name in one step. So a reader sees the old content or the new, two processes that write at
once end with the whole content of one of them, and one that is killed in the middle leaves the
old. Of it the hidden folder stays; as it lies in there, no pattern such as ``*.parquet`` finds it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["whole_file", "write_atomically"]


@contextlib.contextmanager
def whole_file(path: Path, *, replace: bool = True, mode: int = 0o644) -> Iterator[Path]:
    """Yield a path to write to; what is there when the block ends takes the place of ``path``.

    For what a library writes, which is given a path. Where the block raises, or is interrupted,
    nothing of it stays, and ``path`` is as it was.

    Args:
        path: the file; its folder must exist. A link there is replaced, not followed.
        replace: whether a file that is there goes; else it stays and the new one is dropped, as
            where whoever comes first decides for all.
        mode: who may read and write the file, less what the umask takes away.

    Yields:
        The path of an empty file of the same name, so of the same ending.

    Raises:
        OSError: the folder cannot be written.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "a.txt") as temporary:
        ...     written = temporary.write_text("all of it")
        ...     (folder / "a.txt").exists()
        False
        >>> [(file.name, file.read_text()) for file in folder.iterdir()]
        [('a.txt', 'all of it')]
    """
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    try:
        temporary = folder / path.name
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        _to_disk(temporary)
        if replace:
            os.replace(temporary, path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its folder must exist.
        content: text (written as UTF-8) or bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _to_disk(file: Path) -> None:
    """Wait until the content is on the disk: else the name could reach it first, and alone."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
