"""A person's ``schema.yaml``: which of their columns is what, and what is to be predicted.

:func:`read_mapping` reads and checks the file, and says in which line it is wrong. What it
states comes back as a :class:`Mapping`: for each canonical table its :class:`Part` s with
their :class:`Rule` s, the task, and how much is read. ``data/schema.yaml`` explains every key.
"""

from helpers.data.schema_file.file import KEYS, read_mapping
from helpers.data.schema_file.stated import Mapping, Part, Rule

__all__ = ["KEYS", "Mapping", "Part", "Rule", "read_mapping"]
