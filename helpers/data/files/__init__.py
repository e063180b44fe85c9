"""Stored files piece by piece: CSV and Parquet, of any length, in memory that stays flat.

Which files fill a table, and that they hold still: ``stored``. What a CSV file is written in:
``encodings``. Where its rows begin and end: ``records``. The rows themselves: ``delimited``
(CSV) and ``columnar`` (Parquet). One after the other: ``reading``.
"""

from helpers.data.files.reading import stream_files
from helpers.data.files.stored import file_names

__all__ = ["file_names", "stream_files"]
