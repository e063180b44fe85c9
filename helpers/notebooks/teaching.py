"""What a core notebook asks of its reader: exercises of three kinds, and questions with answers.

Core notebooks are those from 01 on: 00 only shows the way.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["FEWEST_QUESTIONS", "KINDS", "MOST_QUESTIONS", "exercises", "teaching_faults"]

FEWEST_QUESTIONS, MOST_QUESTIONS = 3, 7

#: The kinds of exercise, and the words that a heading may say for one.
KINDS: dict[str, tuple[str, ...]] = {
    "Predict": ("Predict", "By hand"),
    "Code": ("Code",),
    "On data": ("On data", "Read an interval"),
}
_HEADING = re.compile(r"^## Exercise (\d+)\b(?: · ([^:\n]+))?", re.MULTILINE)
_ASKED = re.compile(r"^## Check your understanding\b(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
_NUMBERED = re.compile(r"^\d+\. ", re.MULTILINE)


def exercises(notebook: NotebookNode) -> dict[int, str]:
    """Return the exercises of a notebook: number and what its heading calls it.

    Example:
        >>> from nbformat.v4 import new_markdown_cell, new_notebook
        >>> exercises(new_notebook(cells=[new_markdown_cell("## Exercise 2 · Code: a sum")]))
        {2: 'Code'}
    """
    return {
        int(number): kind.strip()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for number, kind in _HEADING.findall(cell.source)
    }


def teaching_faults(notebook: NotebookNode, path: str | Path) -> list[str]:
    """Return what a core notebook lacks to teach: one sentence a fault.

    It needs exercises to predict, to code and to try on data, numbered from 1, each followed by
    its solution; and three to seven questions whose answers are folded away. A notebook without
    questions or exercises is another rule's matter, and so is 00.
    """
    if not re.match(r"0[1-9]|[1-9]\d", Path(path).name):
        return []
    return [*_of_exercises(notebook), *_of_solutions(notebook), *_of_questions(notebook)]


def _of_exercises(notebook: NotebookNode) -> list[str]:
    found = exercises(notebook)
    if not found:
        return ['no exercise has a heading such as "## Exercise 1 · Predict"']
    faults = [
        f'no exercise is of the kind "{kind}" (a heading such as "## Exercise 1 · {kind}")'
        for kind, names in KINDS.items()
        if not any(said in names for said in found.values())
    ]
    if list(found) != list(range(1, len(found) + 1)):
        faults.append(f"the exercises are numbered {', '.join(map(str, found))}")
    return faults


def _of_solutions(notebook: NotebookNode) -> list[str]:
    """Return the exercises that no solution follows before the next one begins."""
    open_one, faults = 0, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for number, _ in _HEADING.findall(cell.source):
                if open_one:
                    faults.append(f"no solution follows exercise {open_one}")
                open_one = int(number)
        elif "solution" in cell.metadata.get("tags", []):
            open_one = 0
    return [*faults, *([f"no solution follows exercise {open_one}"] if open_one else [])]


def _of_questions(notebook: NotebookNode) -> list[str]:
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    section = _ASKED.search(text)
    if section is None:
        return []
    folded = _FOLDED.findall(section[1])
    questions = len(_NUMBERED.findall(_FOLDED.sub("", section[1])))
    answers = len(_NUMBERED.findall(folded[0])) if len(folded) == 1 else len(folded)
    faults = []
    if not FEWEST_QUESTIONS <= questions <= MOST_QUESTIONS:
        faults.append(
            f"{questions} numbered questions check the understanding; "
            f"{FEWEST_QUESTIONS} to {MOST_QUESTIONS} are asked for"
        )
    if answers != questions:
        faults.append(f"{questions} questions have {answers} answers folded in <details>")
    return faults
