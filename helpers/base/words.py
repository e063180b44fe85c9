"""Words for messages: short lists, shares and counts, names that were meant or are there twice."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["listed", "near_match", "percent", "plural", "repeated"]

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


def percent(share: float, *, digits: int = 1) -> str:
    """Return a share as text, in which little is not nothing and almost all is not all.

    Args:
        share: of a whole, in [0, 1]; NaN where there is no whole.
        digits: after the point; below one percent and above 99 there is always one.

    Example:
        >>> percent(0.0), percent(0.0001), percent(0.25), percent(0.9999), percent(float("nan"))
        ('0%', '<0.1%', '25.0%', '>99.9%', '-')
        >>> percent(0.25, digits=0), percent(0.002, digits=0), percent(0.00661, digits=2)
        ('25%', '0.2%', '0.66%')
    """
    if share != share:
        return "-"
    if not 0 < share < 1:
        return f"{share:.0%}"
    fine = max(digits, 1)
    step = 10.0 ** -(fine + 2)
    if share < step:
        return f"<{step:.{fine}%}"
    if share > 1 - step:
        return f">{1 - step:.{fine}%}"
    return f"{share:.{digits if 0.0095 <= share <= 0.9905 else fine}%}"


def plural(count: int, noun: str) -> str:
    """Return a number of things in words.

    Example:
        >>> plural(0, "day"), plural(1, "day"), plural(1_200, "day")
        ('0 days', '1 day', '1,200 days')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
