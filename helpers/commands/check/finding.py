"""One thing that a person should look at before trusting a run, and how shares are written."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "percent"]


@dataclass(frozen=True)
class Finding:
    """A point to take care of.

    Attributes:
        section: where it belongs on the page.
        short: a few words, for the verdict.
        text: one or two sentences: what was found, and what to look at.
    """

    section: str
    short: str
    text: str


def percent(share: float) -> str:
    """Return a share as text, with no small one written as nothing.

    Example:
        >>> percent(0.0), percent(0.0001), percent(0.25), percent(0.9999), percent(float("nan"))
        ('0%', '<0.1%', '25.0%', '>99.9%', '-')
    """
    if share != share:
        return "-"
    if share in (0, 1):
        return f"{share:.0%}"
    if share < 0.001:
        return "<0.1%"
    return ">99.9%" if share > 0.999 else f"{share:.1%}"
