"""Rows that are no events, by the rules of a ``schema.yaml``."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from helpers.data.cleaning.values import Stored
from helpers.data.schema_file import LeaveOut

__all__ = ["fits"]


def fits(rule: LeaveOut, stored: Stored) -> np.ndarray:
    """Mark the rows that fit a rule; a row without a value only fits ``is_empty``.

    Args:
        rule: a test of the values, as text without blanks around it or as numbers.
        stored: the values of the rule's column.

    Example:
        >>> import pandas as pd
        >>> stored = Stored(pd.Series(["C12", "12", None]))
        >>> fits(LeaveOut("InvoiceNo", "starts_with", "C"), stored).tolist()
        [True, False, False]
    """
    if rule.test == "is_empty":
        return ~stored.given
    if rule.test in ("below", "above"):
        numbers = stored.numbers()
        return numbers < rule.value if rule.test == "below" else numbers > rule.value
    if rule.test == "starts_with":
        found = pc.starts_with(stored.text, pattern=rule.value)
    elif rule.test == "one_of":
        found = pc.is_in(stored.text, value_set=pa.array(rule.value, stored.text.type))
    else:
        found = pc.match_substring_regex(stored.text, pattern=rule.value)
    return found.fill_null(False).to_numpy(zero_copy_only=False)
