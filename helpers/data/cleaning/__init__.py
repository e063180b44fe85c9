"""Rows as a table wants them: named, cast to their types, unusable rows dropped and counted.

Every source passes its rows through here, piece by piece (:class:`Cleaner`) or as a whole
frame (:func:`clean_rows`), so that all deliver the same types by the same rules.

Which stored column fills which: ``headers``. Text and numbers: ``values``. Times: ``times``.
Rows that are no events: ``rules``. What was dropped, and the message if it was too much:
``tally``, and ``hints`` on what may be meant. All of it put together: ``cleaner``, ``frames``.
"""

from helpers.data.cleaning.cleaner import Cleaner
from helpers.data.cleaning.frames import clean_rows
from helpers.data.cleaning.times import local_days

__all__ = ["Cleaner", "clean_rows", "local_days"]
