"""The logs that come with the workbook, and what they are made by."""

__all__ = []
