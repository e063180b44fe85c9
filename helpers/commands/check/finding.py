"""One thing that a person should look at before trusting a run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


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
