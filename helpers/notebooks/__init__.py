"""The notebook files: what they declare, how they are executed, what must hold in them.

- :func:`parameters` reads the cell tagged ``parameters``, :func:`check_values` holds a running
  notebook to it;
- :func:`execute`, :func:`tidy` and :func:`refresh` make the files that are kept;
- :func:`retidy` tidies what another program has executed;
- :func:`lint` says in sentences what is wrong with one.

``python -m helpers.notebooks refresh``, ``... tidy`` and ``... lint`` do it from a shell. Importing
this package loads none of Jupyter, which takes a second: every kernel imports it.
"""

from helpers.notebooks.declared import Parameter, check_values, parameters
from helpers.notebooks.execution import execute, find, read, refresh, retidy, tidy
from helpers.notebooks.rules import lint

__all__ = [
    "Parameter",
    "check_values",
    "execute",
    "find",
    "lint",
    "parameters",
    "read",
    "refresh",
    "retidy",
    "tidy",
]
