"""A first ``schema.yaml`` for a person's own tables, drafted from a look at them.

The draft says which table is the log, what each column seems to be, which rows are no
events and what could be predicted; where it guesses, it says so. It shows no row and no id.

``looking`` reads a little of each table, ``names``, ``times`` and ``roles`` tell what the
columns are, ``rules`` and ``plan`` what to make of them, ``writing`` puts it into words, and
``draft`` does one after the other.
"""

from helpers.commands.init.draft import draft_schema, write_draft

__all__ = ["draft_schema", "write_draft"]
