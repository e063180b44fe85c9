"""A new notebook with the whole anatomy: it runs, and once executed it follows every rule.

What stands in it is a small lesson, to be replaced section by section.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base.errors import DataError
from helpers.base.writing import write_atomically
from helpers.notebooks.execution import NOTEBOOKS, tidy, written

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["new_notebook_file"]

_OPENING = """\
# {number} · {title}

**Which question does this notebook answer?**

Two or three sentences: why somebody would want to know, and what will be done here.

*You will learn*
- what one sample contributes to a sum;
- how to write your own notebook in the manner of this workbook.

*You need*: Python. The symbols are in [00](00_start_here.ipynb).

*Time*: `refresh` writes this sentence."""

_PARAMETERS = """\
seed: int = 0  # in [0, 4_000_000_000]: start of every random draw
run_dir: str = ""  # any text: folder that keeps the results; empty keeps none"""

_IMPORTS = """\
import numpy as np

from helpers.exercises.verdicts import choice, not_yet, result_of, same
from helpers.plots.interactive import draw_logit
from helpers.notebooks.record import claim, record, start

start("{name}", globals())"""

_IDEA = """\
## 1. One idea

*Idea.* Say it in words first. A sum has one term for each sample:

$$L = \\sum_{i=1}^{N} \\ell_i$$

Every equation is followed by a cell that checks it. Look at the last number: what is it?"""

_CODE = """\
losses = np.random.default_rng(seed).random(4)
total = losses.sum()
print("terms", losses.round(2), "sum", total.round(2))"""

_CLAIM = 'claim("the sum is what its terms add up to", np.isclose(total, sum(losses)))'

_FIGURE_TEXT = """\
What was seen stands here, after the code. Then a figure: its title says the finding, and its cell
has the metadata `alt`, a description for who cannot see it."""

_QUESTIONS = """\
## Check your understanding

1. What does one sample add to the sum?
2. What changes if the mean is taken instead?
3. Which of the two grows with the table?

<details><summary>Answers</summary>

1. Its own term, and nothing else.
2. Every term is divided by $N$; the place of the minimum stays.
3. The sum.

</details>"""

_PREDICT = """\
## Exercise 1 · Predict

You add a sample whose term is 0. Does the mean rise, fall or stay? Answer `"rises"`, `"falls"` or
`"stays"`. The other terms are above 0."""

_PREDICT_STUB = """\
def check_predict(answer):  # becomes check_{number}_1 in helpers/exercises
    hints = {{"stays": "the sum stays. What is it divided by?"}}
    hints["rises"] = "nothing is added, and it is divided by more."
    return choice(answer, "falls", hints, "the same sum, divided by one more.")


my_prediction = None  # "rises", "falls" or "stays"
print(check_predict(my_prediction))"""

_CODE_TASK = """\
## Exercise 2 · Code

Write the share of each term in the sum. `losses` has shape `(n,)`; return shape `(n,)`."""

_CODE_STUB = """\
def check_code(answer):  # becomes check_{number}_2
    got = result_of(answer, np.array([1.0, 2.0, 5.0]))
    if isinstance(got, str):
        return got
    right = same(got, np.array([1, 2, 5]) / 8)
    return "Correct: shares add up to 1." if right else not_yet("divide by the sum.")


def my_shares(losses): ...  # your code


print(check_code(my_shares))"""

_DATA_TASK = """\
## Exercise 3 · On data

Which place has the largest of the `losses` above? Find it by code, counted from 0."""

_DATA_STUB = """\
def check_data(answer):  # becomes check_{number}_3
    if answer is None:
        return "Still empty: fill in your answer and run the cell again."
    right = int(answer) == losses.argmax()
    return "Correct: it adds most." if right else not_yet("look at losses.argmax().")


my_place = None
print(check_data(my_place))"""

_END = """\
## Take-away

- One sentence for each thing that was learned.

## Next

[00](00_start_here.ipynb) lists all notebooks."""

_ALT = "The loss of one sample with the label 1 falls as its logit grows; the slope at 0 is -1/2."


def new_notebook_file(name: str, *, folder: Path = NOTEBOOKS) -> Path:
    """Write a new notebook from the template.

    Args:
        name: ``09_do_thing``: a free number of two digits, a verb, an object.
        folder: where it goes.

    Returns:
        Its path. It is not executed yet: ``refresh`` does that.

    Raises:
        DataError: the name has another form, or its number is taken.
    """
    stem = name.removesuffix(".ipynb")
    if not re.fullmatch(r"\d\d(_[a-z0-9]+){2,}", stem):
        raise DataError(
            f'A notebook is called NN_verb_object, as in NAME=09_do_thing; got "{name}".'
        )
    if taken := sorted(path.name for path in folder.glob(f"{stem[:2]}_*.ipynb")):
        raise DataError(f"The number {stem[:2]} is taken by {taken[0]}; take the next free one.")
    path = folder / f"{stem}.ipynb"
    write_atomically(path, written(tidy(_notebook(stem))))
    return path


def _notebook(name: str) -> NotebookNode:
    from nbformat.v4 import new_code_cell as code
    from nbformat.v4 import new_markdown_cell as text
    from nbformat.v4 import new_notebook

    number, title = name[:2], name[3:].replace("_", " ").capitalize()
    return new_notebook(
        cells=[
            text(_OPENING.format(number=number, title=title)),
            code(_PARAMETERS, metadata={"tags": ["parameters"]}),
            code(_IMPORTS.format(name=name)),
            text(_IDEA),
            code(_CODE),
            code(_CLAIM),
            text(_FIGURE_TEXT),
            code("ax = draw_logit(0.0)", metadata={"alt": _ALT}),
            text("> **Caveat.** Say when this does not hold."),
            text(_QUESTIONS),
            text(_PREDICT),
            code(_PREDICT_STUB.format(number=number)),
            _solution('my_prediction = "falls"\nprint(check_predict(my_prediction))'),
            text(_CODE_TASK),
            code(_CODE_STUB.format(number=number)),
            _solution(
                "def my_shares(losses):\n    return losses / losses.sum()\n\n\n"
                "print(check_code(my_shares))"
            ),
            text(_DATA_TASK),
            code(_DATA_STUB.format(number=number)),
            _solution("my_place = losses.argmax()\nprint(check_data(my_place))"),
            text(_END),
            code("record(total=total)"),
        ]
    )


def _solution(source: str) -> NotebookNode:
    from nbformat.v4 import new_code_cell

    folded = {"tags": ["solution", "hide-input"], "jupyter": {"source_hidden": True}}
    return new_code_cell(f"# Solution\n{source}", metadata=folded)
