"""The error that a person can mend by changing what they gave."""

from __future__ import annotations

__all__ = ["DataError"]


class DataError(ValueError):
    """Bad input of a person: its message says what, where and what to do."""
