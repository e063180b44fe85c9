"""What must hold in every notebook of the workbook, said in sentences.

Each rule is a function that takes a :class:`Page` and yields one sentence a fault. A rule
that cannot apply (no such cell) stays silent: another rule asks for the cell.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.notebooks.declared import parameters, range_faults
from helpers.notebooks.execution import read, tidy, written
from helpers.notebooks.recording_calls import record_faults
from helpers.notebooks.teaching import teaching_faults
from helpers.notebooks.times import time_faults

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["LONGEST_CELL", "MEDIAN_CELL", "RULES", "Cell", "Page", "lint"]

LONGEST_CELL = 25  # lines of any code cell
MEDIAN_CELL = 6  # lines; the parameters, the imports and the solutions do not count here

_OPENING = ("You will learn", "You need", "Time")
_CLOSING = ("Check your understanding", "Exercise", "Take-away", "Next")
_MACHINE_PATH = re.compile(
    r"(?<![\w.~])(?:/(?:root|home|tmp|Users|private|var/folders)|" + re.escape(str(REPO)) + r")/"
    r"|\b[A-Z]:\\+Users"
)
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
_RANDOM_ID = re.compile(r"\bT_[0-9a-f]{5}\b")  # of a pandas Styler
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:href|src)=[\"']([^\"']+)[\"']")


@dataclass(frozen=True)
class Cell:
    """One cell; ``number`` counts all cells of the notebook from 1."""

    number: int
    node: NotebookNode

    @property
    def source(self) -> str:
        """The cell's text."""
        return self.node.source

    @property
    def tags(self) -> set[str]:
        """The cell's tags."""
        return set(self.node.metadata.get("tags", []))

    @cached_property
    def tree(self) -> ast.Module | None:
        """The code, or None where it is not plain Python."""
        try:
            return ast.parse(self.source)
        except SyntaxError:
            return None

    @property
    def imports(self) -> bool:
        """Whether the cell imports anything, at any depth."""
        found = ast.walk(self.tree) if self.tree else ()
        return any(isinstance(node, ast.Import | ast.ImportFrom) for node in found)

    @property
    def length(self) -> int:
        """Lines that are not blank."""
        return sum(bool(line.strip()) for line in self.source.splitlines())

    def calls(self, name: str) -> list[ast.Call]:
        """Return the calls of a function by its plain name."""
        return [
            node
            for node in (ast.walk(self.tree) if self.tree else ())
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == name
        ]

    def output_texts(self) -> Iterator[str]:
        """Yield the text of each output; the bytes of pictures are left out."""
        for output in self.node.outputs:
            yield output.get("text", "")
            yield "\n".join(output.get("traceback", []))
            for kind, data in output.get("data", {}).items():
                if kind == "image/svg+xml" or not kind.startswith("image/"):
                    yield str(data)


@dataclass(frozen=True)
class Page:
    """One notebook file, read once for all rules."""

    path: Path
    notebook: NotebookNode

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells."""
        return [Cell(number, node) for number, node in enumerate(self.notebook.cells, start=1)]

    @cached_property
    def code(self) -> list[Cell]:
        """The code cells."""
        return [cell for cell in self.cells if cell.node.cell_type == "code"]

    @cached_property
    def markdown(self) -> list[Cell]:
        """The text cells."""
        return [cell for cell in self.cells if cell.node.cell_type == "markdown"]

    def heading(self, words: str) -> Cell | None:
        """Return the first text cell with these words as a heading, or emphasised in a line."""
        line = re.compile(
            rf"^(#{{2,}}[ \d.]*|[-> ]*[*_]{{1,3}}){re.escape(words)}s?\b", re.MULTILINE
        )
        return next((cell for cell in self.markdown if line.search(cell.source)), None)


Rule = Callable[[Page], Iterator[str]]


def lint(path: str | Path) -> list[str]:
    """Return what is wrong with a notebook: one sentence a fault, none if all is well.

    Args:
        path: a notebook of the workbook, as it is kept.

    Returns:
        Sentences that open with the file's name, in the order of ``RULES``.

    Raises:
        DataError: the file cannot be read, or is not a notebook.
    """
    page = Page(Path(path), read(path))
    return [f"{page.path.name}: {sentence}" for rule in RULES for sentence in rule(page)]


def _name_is_number_verb_object(page: Page) -> Iterator[str]:
    """``03_train_recommender.ipynb``: a number for the order, then what one does."""
    if not re.fullmatch(r"\d\d(_[a-z0-9]+){2,}", page.path.stem):
        yield "the file's name is not NN_verb_object.ipynb"


def _opens_with_a_question(page: Page) -> Iterator[str]:
    """The first cell has the title and the question that the notebook answers."""
    first = page.cells[0] if page.cells else None
    if first is None or first.node.cell_type != "markdown" or not first.source.startswith("# "):
        yield "the first cell must be text that opens with a title (`# ...`)"
    elif not re.search(r"\?[\s*_]*($|\s)", first.source):
        yield "the first cell asks no question"


def _says_what_it_takes(page: Page) -> Iterator[str]:
    """What you will learn, what you need and the time stand before the first code cell."""
    start = page.code[0].number if page.code else len(page.cells) + 1
    for words in _OPENING:
        marked = re.compile(rf"[#*_] *{words}\b")
        if not any(marked.search(cell.source) for cell in page.markdown if cell.number < start):
            yield f'"{words}" does not stand before the first code cell'


def _time_is_the_measured_one(page: Page) -> Iterator[str]:
    """The *Time* sentence says what ``refresh`` has measured."""
    yield from time_faults(page.notebook, page.path)


def _closes_with_what_is_learned(page: Page) -> Iterator[str]:
    """The closing sections are there, in their order."""
    last = not any(page.path.name < other.name for other in page.path.parent.glob("*.ipynb"))
    before = 0
    for words in _CLOSING:
        cell = page.heading(words)
        if cell is None:
            if words != "Next" or not last:
                yield f'the section "{words}" is missing'
            continue
        if cell.number < before:
            yield f'the section "{words}" stands too early; the order is {", ".join(_CLOSING)}'
        before = max(before, cell.number)


def _declares_parameters(page: Page) -> Iterator[str]:
    """One tagged cell declares the parameters, each with a comment, as the first code cell."""
    try:
        declared = parameters(page.path)
    except DataError as error:
        yield str(error).removeprefix(f"{page.path.name}: ")
        return
    for parameter in declared.values():
        if not parameter.comment:
            yield f'the parameter "{parameter.name}" has no comment'
    if page.code and "parameters" not in page.code[0].tags:
        yield "the first code cell must be the one tagged `parameters`"


def _states_ranges(page: Page) -> Iterator[str]:
    """Each parameter says which values it may have, and the same in every notebook."""
    yield from range_faults(page.path)


def _imports_once(page: Page) -> Iterator[str]:
    """One cell imports all, and tells the record which notebook this is."""
    importing = [cell for cell in page.code if cell.imports]
    if len(importing) != 1:
        numbers = ", ".join(str(cell.number) for cell in importing) or "none"
        yield f"exactly one cell must hold the imports; cells with imports: {numbers}"
    wanted = f"start('{page.path.stem}', globals())"
    starts = [(cell, ast.unparse(call)) for cell in page.code for call in cell.calls("start")]
    if [text for _, text in starts] != [wanted] or starts[0][0] not in importing:
        yield f"the imports cell must call {wanted}, once"


def _ends_with_its_record(page: Page) -> Iterator[str]:
    """The last code cell, and no other, records the results."""
    recording = [cell for cell in page.code if cell.calls("record")]
    if not page.code or recording != [page.code[-1]]:
        yield "the last code cell, and no other, must call record(...)"


def _records_what_is_declared(page: Page) -> Iterator[str]:
    """What a notebook records is what the contract declares of it, by name and kind."""
    yield from record_faults(
        page.path.stem, [(cell.number, call) for cell in page.code for call in cell.calls("record")]
    )


def _code_cells_are_short(page: Page) -> Iterator[str]:
    """A learner takes in a cell at a glance."""
    for cell in page.code:
        if cell.length > LONGEST_CELL:
            yield f"cell {cell.number} has {cell.length} lines; {LONGEST_CELL} is the most"
    lessons = [
        cell.length
        for cell in page.code
        if not cell.tags & {"parameters", "solution"} and not cell.imports
    ]
    if lessons and statistics.median(lessons) > MEDIAN_CELL:
        yield (
            f"the median code cell has {statistics.median(lessons):g} lines; "
            f"{MEDIAN_CELL} is the most"
        )


def _code_is_plain_python(page: Page) -> Iterator[str]:
    """No magics, no empty cells, no semicolon at a line's end: they fail outside Jupyter."""
    for cell in page.code:
        if not cell.length:
            yield f"cell {cell.number} is empty"
        elif cell.tree is None:
            yield f"cell {cell.number} is not plain Python"
        elif _ends_a_line_with_semicolon(cell.source):
            yield f"cell {cell.number} ends a line with a semicolon"


def _every_cell_was_executed(page: Page) -> Iterator[str]:
    """Execution counts 1, 2, 3, ...: the page shows one run from top to bottom."""
    counts = [cell.node.execution_count for cell in page.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"its code cells were not executed once each in their order; the counts are {counts}"


def _stores_no_fault(page: Page) -> Iterator[str]:
    """No error and no warning is left on the page."""
    for cell in page.code:
        for output in cell.node.outputs:
            if output.output_type == "error":
                yield f"cell {cell.number} stores an error ({output.ename})"
            elif output.output_type == "stream" and output.name == "stderr":
                yield f"cell {cell.number} stores text of the standard error"


def _pictures_are_described(page: Page) -> Iterator[str]:
    """Who cannot see a figure reads what it shows."""
    for cell in page.code:
        kinds = [kind for output in cell.node.outputs for kind in output.get("data", {})]
        alt = cell.node.metadata.get("alt")
        if any(kind.startswith("image/") for kind in kinds) and not (
            isinstance(alt, str) and alt.strip()
        ):
            yield f"cell {cell.number} shows a figure and its metadata has no `alt` text"


def _links_lead_somewhere(page: Page) -> Iterator[str]:
    """A link to a notebook or a file finds it; links into the web are not followed."""
    for cell in page.markdown:
        for found in _LINK.finditer(_CODE.sub("", cell.source)):
            target = found[1] or found[2]
            if re.match(r"#|[a-z][a-z0-9+.-]*:", target):
                continue
            file = unquote(target).partition("#")[0]
            if file.startswith("/") or not (page.path.parent / file).exists():
                yield f"cell {cell.number} links to {target}, which does not exist"


def _shows_nothing_of_the_machine(page: Page) -> Iterator[str]:
    """No path, memory address or random name: they differ on the reader's machine."""
    for cell in page.code:
        outputs = "\n".join(cell.output_texts())
        if path := _MACHINE_PATH.search(cell.source + "\n" + outputs):
            yield f"cell {cell.number} shows a machine's path ({path[0]}...)"
        if address := _ADDRESS.search(outputs):
            yield f"cell {cell.number} shows a memory address ({address[0]})"
        if name := _RANDOM_ID.search(outputs):
            yield f"cell {cell.number} shows a random name ({name[0]}); print a plain table"


def _ignored_outputs_are_claimed(page: Page) -> Iterator[str]:
    """What is not compared is checked: a claim in a compared cell follows."""
    ignored = "nbval-ignore-output"
    claims = [c.number for c in page.code if c.calls("claim") and ignored not in c.tags]
    for cell in page.code:
        if ignored in cell.tags and not any(number > cell.number for number in claims):
            yield f"cell {cell.number} is tagged {ignored} and no compared cell after it claims"


def _solutions_are_folded(page: Page) -> Iterator[str]:
    """A solution follows each exercise, tagged and collapsed both in Jupyter and on a site."""
    solutions = [cell for cell in page.code if "solution" in cell.tags]
    exercise = page.heading("Exercise")
    if exercise and not any(cell.number > exercise.number for cell in solutions):
        yield "no cell tagged `solution` follows the exercise"
    for cell in page.code:
        hidden = bool(cell.node.metadata.get("jupyter", {}).get("source_hidden"))
        marks = ("solution" in cell.tags, "hide-input" in cell.tags, hidden)
        named = re.match(r"#\s*solution", cell.source, re.IGNORECASE)
        if (named or any(marks)) and not all(marks):
            yield (
                f"cell {cell.number} is a solution and needs all of the tags `solution` and "
                "`hide-input` and the metadata jupyter.source_hidden"
            )
        elif all(marks) and not named:
            yield (
                f"cell {cell.number}: the first line of a solution shows although it is folded; "
                "make it `# Solution`"
            )


def _readers_are_asked(page: Page) -> Iterator[str]:
    """A core notebook lets its reader predict, code, try on data, and answer questions."""
    yield from teaching_faults(page.notebook, page.path)


def _file_is_tidy(page: Page) -> Iterator[str]:
    """The file is as ``refresh`` writes it, so that a change shows only what changed."""
    if written(tidy(page.notebook)) != page.path.read_text(encoding="utf-8"):
        yield "the file is not as `make refresh` writes it"


#: Every rule; their names say what holds.
RULES: tuple[Rule, ...] = (
    _name_is_number_verb_object,
    _opens_with_a_question,
    _says_what_it_takes,
    _time_is_the_measured_one,
    _closes_with_what_is_learned,
    _declares_parameters,
    _states_ranges,
    _imports_once,
    _ends_with_its_record,
    _records_what_is_declared,
    _code_cells_are_short,
    _code_is_plain_python,
    _every_cell_was_executed,
    _stores_no_fault,
    _pictures_are_described,
    _links_lead_somewhere,
    _shows_nothing_of_the_machine,
    _ignored_outputs_are_claimed,
    _solutions_are_folded,
    _readers_are_asked,
    _file_is_tidy,
)


def _ends_a_line_with_semicolon(source: str) -> bool:
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type != tokenize.COMMENT
    ]
    ends = (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
    return any(
        first.string == ";" and second.type in ends
        for first, second in zip(tokens, tokens[1:], strict=False)
    )
