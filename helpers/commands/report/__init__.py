"""The page of a run: one HTML file for a person without Python."""

from helpers.commands.report.page import (
    write_report,
)

__all__ = [
    "write_report",
]
