"""Words for messages: lists that stay short, names that were meant, what is there twice."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["listed", "near_match", "repeated"]

#: Longer names are no slips of the pen, and comparing them takes the square of their length.
_LONGEST_MATCH = 100


def near_match(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean "x"?`` for the closest known name, or an empty text.

    Example:
        >>> near_match("user", ["user_id", "item_id"])
        ' Did you mean "user_id"?'
    """
    name, known = str(name), [k for k in map(str, known) if len(k) <= _LONGEST_MATCH]
    found = (
        difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if len(name) <= _LONGEST_MATCH
        else []
    )
    return f' Did you mean "{found[0]}"?' if found else ""


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that are there more than once, sorted.

    Example:
        >>> repeated(["b", "a", "c", "b", "a"])
        ['a', 'b']
    """
    return sorted(name for name, times in Counter(names).items() if times > 1)


def listed(names: Sequence[str], *, most: int = 20) -> str:
    """Return names for a message, cut short: of a file without a header they would be a row.

    Example:
        >>> listed([f"c{n}" for n in range(5_000)], most=2)
        'c0, c1, and 4,998 more'
    """
    shown = ", ".join(name[:40] for name in names[:most])
    return f"{shown}, and {len(names) - most:,} more" if len(names) > most else shown
