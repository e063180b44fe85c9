"""A person's ``schema.yaml``: which of their columns is what, and what is to be predicted.

:func:`read_schema_file` reads and checks the file, and says in which line it is wrong. What it
states comes back as a :class:`SchemaFile`: for each canonical table its :class:`StoredTable` s with
their :class:`LeaveOut` s, the task, and how much is read. ``data/schema.yaml`` explains every key.
"""

from helpers.data.schema_file.file import KEYS, read_schema_file
from helpers.data.schema_file.stated import LeaveOut, SchemaFile, StoredTable

__all__ = ["KEYS", "LeaveOut", "SchemaFile", "StoredTable", "read_schema_file"]
