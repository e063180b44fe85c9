"""What is to be known of a person's data before a run: table by table, with a verdict.

``python -m helpers check`` prints it. Counts and shares only: no name of a user, no query and
no row of the tables is shown.
"""

from helpers.commands.check.finding import Finding
from helpers.commands.check.sections import Audit, audit

__all__ = ["Audit", "Finding", "audit"]
