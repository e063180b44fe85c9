"""Stored files piece by piece: CSV and Parquet, of any length, in memory that stays flat.

Which files fill a table, and that they hold still: ``stored``. What a CSV file is written in:
``encodings``. Where its rows begin and end: ``records``. The rows themselves: ``delimited``
(CSV) and ``columnar`` (Parquet). One after the other: ``reading``.

Why not a library's reader? The nine nasty files of ``tests/data/test_nasty_files.py`` were given
to DuckDB 2.0.0, in UTF-8 and with all columns as text, and as they are to charset-normalizer
3.5.2. The readers here got the rows of all nine right, and DuckDB those of eight: one row that is
too wide made it take the line of three names for one name. The encodings guessed here were right
for all nine, and those of charset-normalizer for five: it missed Latin-1, Big5, Shift JIS and
Cyrillic. ``python bench/bench_readers.py`` repeats it.
"""

from helpers.data.files.reading import stream_files
from helpers.data.files.stored import file_names

__all__ = ["file_names", "stream_files"]
