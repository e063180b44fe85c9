"""A run: notebooks executed in order into one folder, resumable, with their results.

A run folder holds the executed notebooks, ``results/<notebook>.json`` as the notebooks
recorded them, ``results.json`` with all of them, and ``run.json``: what was asked for
and which notebooks are finished, so that a run that was cut off can go on. A run on a
MySQL server copies its tables into ``tables/`` first, and reads only the copy.

``state`` is the folder and what is known of the run, ``reopened`` reads both back without
believing them, ``changes`` says which parameters may still change, ``data`` is about the
tables, ``walk`` executes the notebooks, ``results`` merges what they recorded.

A run's folder may come from somebody else. What lies in it is data: no notebook of it is
executed, only the workbook's own by name; links in it are refused, so that nothing outside
of it is written. Who changes the folder while a run goes on in it is not guarded against.
"""

from helpers.commands.run.results import collect_results, summary
from helpers.commands.run.state import RUNS, Run, RunError, shown_path
from helpers.commands.run.walk import execute_run, open_run, start_run

__all__ = [
    "RUNS",
    "Run",
    "RunError",
    "collect_results",
    "execute_run",
    "open_run",
    "shown_path",
    "start_run",
    "summary",
]
