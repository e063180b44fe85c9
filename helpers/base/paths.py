"""Where the workbook lies."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DATA", "REPO"]

#: The repository's root, and its folder of bundled data.
REPO = Path(__file__).resolve().parents[2]
DATA = REPO / "data"
