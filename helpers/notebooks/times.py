"""How long a notebook takes: read by a stated rule, run as measured, both in its *Time* sentence.

The seconds that the cells took stand in ``notebooks/times.json``. :func:`record_seconds`, which
``refresh`` calls, writes them, and :func:`with_time` writes the sentence from them.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base.writing import write_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = [
    "CODE_LINES_A_MINUTE",
    "EQUATION_MINUTES",
    "EXERCISE_MINUTES",
    "FASTER",
    "FILE",
    "SLOWER",
    "WORDS_A_MINUTE",
    "exercise_minutes",
    "reading_minutes",
    "record_seconds",
    "recorded_seconds",
    "time_faults",
    "time_sentence",
    "with_time",
]

WORDS_A_MINUTE = 200  # a usual pace for text that is not a novel
CODE_LINES_A_MINUTE = 12  # five seconds a line
EQUATION_MINUTES = 1.0  # one displayed equation
EXERCISE_MINUTES = 5  # to try one, before its solution is opened
#: A record is kept until a new measurement is so many times faster or slower: machines differ. A
#: busy one only makes things slower, so that needs more to be believed.
FASTER, SLOWER = 1.5, 2.0
FILE = "times.json"

_EQUATION = re.compile(r"\$\$.*?\$\$", re.DOTALL)
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_EXERCISE = re.compile(r"^## Exercise\b", re.MULTILINE)
_SENTENCE = re.compile(r"\*Time\*:.*?(?=\n\n|\Z)", re.DOTALL)


def reading_minutes(notebook: NotebookNode) -> int:
    """Return the minutes that reading takes, without the exercises, in steps of five.

    The rule: 200 words of text a minute, 12 lines of code a minute, one minute for each displayed
    equation. Blank lines, diagrams, outputs and solutions do not count.

    Args:
        notebook: any notebook of version 4.

    Returns:
        Minutes: 5, 10, 15 ...

    Example:
        >>> from nbformat.v4 import new_markdown_cell, new_notebook
        >>> reading_minutes(new_notebook(cells=[new_markdown_cell("word " * 2000)]))
        10
    """
    minutes = 0.0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            equations = _EQUATION.findall(cell.source)
            text = _FENCE.sub("", _EQUATION.sub("", _SENTENCE.sub("", cell.source)))
            minutes += len(re.findall(r"\w+", text)) / WORDS_A_MINUTE
            minutes += len(equations) * EQUATION_MINUTES
        elif cell.cell_type == "code" and "solution" not in cell.metadata.get("tags", []):
            lines = sum(bool(line.strip()) for line in cell.source.splitlines())
            minutes += lines / CODE_LINES_A_MINUTE
    return max(5, 5 * round(minutes / 5))


def exercise_minutes(notebook: NotebookNode) -> int:
    """Return the minutes for the exercises: five each; what counts is ``## Exercise ...``."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return EXERCISE_MINUTES * sum(len(_EXERCISE.findall(text)) for text in texts)


def time_sentence(notebook: NotebookNode, seconds: float) -> str:
    """Return the *Time* sentence of a notebook whose cells ran in so many seconds.

    Example:
        >>> from nbformat.v4 import new_notebook
        >>> time_sentence(new_notebook(), 100)
        '*Time*: about 5 minutes to read; the cells run in about 2 minutes.'
    """
    exercises = exercise_minutes(notebook)
    tried = f" and {exercises} for the exercises" if exercises else ""
    return (
        f"*Time*: about {reading_minutes(notebook)} minutes to read{tried}; "
        f"the cells run in {_words(seconds)}."
    )


def with_time(notebook: NotebookNode, path: str | Path) -> NotebookNode:
    """Return the notebook with its *Time* sentence renewed, wrapped at 100 characters.

    A notebook without such a sentence, or without recorded seconds, comes back as it is.

    Args:
        notebook: the notebook; it is not changed.
        path: where it is kept; its folder has the record.
    """
    seconds = recorded_seconds(path)
    place = _place(notebook)
    if seconds is None or place is None:
        return notebook
    renewed = copy.deepcopy(notebook)
    cell = renewed.cells[place]
    cell.source = _SENTENCE.sub(lambda _: time_sentence(notebook, seconds), cell.source, count=1)
    return renewed


def time_faults(notebook: NotebookNode, path: str | Path) -> list[str]:
    """Return what is wrong with the *Time* sentence: one sentence, or none if nothing is.

    A notebook that was not measured yet has nothing to be compared with.
    """
    if with_time(notebook, path) == notebook:
        return []
    return ["the sentence *Time* is not the measured one; run `python -m helpers.notebooks tidy`"]


def recorded_seconds(path: str | Path) -> float | None:
    """Return the seconds that the cells of a notebook took, None if nobody measured."""
    return _record(Path(path).parent).get(Path(path).stem)


def record_seconds(notebook: NotebookNode, path: str | Path, seconds: float) -> None:
    """Write the seconds down, unless the record says nearly the same already.

    A record stays while a new measurement is between two thirds of it and twice as much: else each
    refresh on each machine would write another number. Of a notebook without a *Time* sentence
    nothing is kept.
    """
    path = Path(path)
    record = _record(path.parent)
    before = record.get(path.stem)
    near = before is not None and before / FASTER <= seconds <= before * SLOWER
    if _place(notebook) is None or near:
        return
    record[path.stem] = round(seconds, 1)
    text = json.dumps(dict(sorted(record.items())), indent=2) + "\n"
    write_atomically(path.parent / FILE, text)


def _record(folder: Path) -> dict[str, float]:
    file = folder / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _place(notebook: NotebookNode) -> int | None:
    """Return the place of the cell with the *Time* sentence."""
    return next(
        (
            place
            for place, cell in enumerate(notebook.cells)
            if cell.cell_type == "markdown" and _SENTENCE.search(cell.source)
        ),
        None,
    )


def _words(seconds: float) -> str:
    """Return a time in words, coarse enough to hold on another machine."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 45:
        return "about half a minute"
    minutes = round(seconds / 60)
    return "about a minute" if minutes <= 1 else f"about {minutes} minutes"
