"""The stored notebooks, with the few changes that a page of the site needs.

The files in ``notebooks/`` are only read. A staged copy differs in four things: its figures
have their description as alternative text, a solution is folded together with what it printed,
a box says how to run the page, and links to files of the repository become downloads.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage_links import REPO, localised

from helpers.commands.run_request import RESERVED
from helpers.notebooks import parameters

NOTEBOOKS = REPO / "notebooks"

#: The parts of the workbook: a heading, what it is for, and the first number behind its end.
PARTS = (
    ("Start", "What this is, and the words and symbols that all notebooks share.", 1),
    ("The walk", "From tables to a verdict on held-out weeks, one step a notebook.", 7),
    ("Your own data", "The same walk on a log that nobody made for you.", 8),
    ("Evidence", "How far the results can be trusted.", 100),
)


@dataclass(frozen=True)
class Notebook:
    """What the site's other pages say about one notebook."""

    path: Path
    title: str
    question: str

    @property
    def number(self) -> str:
        """The two digits that its name begins with."""
        return self.path.stem[:2]

    @property
    def name(self) -> str:
        """The title without the number: ``Measure the loss``."""
        return self.title.partition("·")[2].strip() or self.title


def notebooks() -> list[Notebook]:
    """Return the notebooks of the workbook in their order."""
    return [_described(path) for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))]


def parts() -> list[tuple[str, str, list[Notebook]]]:
    """Return heading, purpose and notebooks of each part that has any."""
    found, start = [], 0
    for heading, purpose, end in PARTS:
        inside = [each for each in notebooks() if start <= int(each.number) < end]
        found += [(heading, purpose, inside)] if inside else []
        start = end
    return found


def stage_notebooks(source: Path) -> None:
    """Write every notebook, changed for the site, to ``source/notebooks``."""
    folder = source / "notebooks"
    folder.mkdir(parents=True)
    for notebook in notebooks():
        content = json.loads(notebook.path.read_text(encoding="utf-8"))
        content["cells"] = [_page_cell(cell, source) for cell in content["cells"]]
        content["cells"].insert(1, _run_box(notebook))
        target = folder / notebook.path.name
        target.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        # The original, for the download link.
        original = source / "files" / "notebooks" / notebook.path.name
        original.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(notebook.path, original)


def _described(path: Path) -> Notebook:
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    title = re.search(r"^# (.+)$", first, re.MULTILINE)
    question = re.search(r"^\*\*(.+?)\*\*$", first, re.MULTILINE | re.DOTALL)
    if not title or not question:
        raise SystemExit(f"{path.name}: its first cell has no title or asks no question.")
    return Notebook(path, title[1], " ".join(question[1].split()))


def _page_cell(cell: dict[str, Any], source: Path) -> dict[str, Any]:
    """Return a cell as the site shows it."""
    metadata = dict(cell["metadata"])
    if cell["cell_type"] == "markdown":
        text = localised("".join(cell["source"]), "notebooks", source)
        return {**cell, "source": text}
    if metadata.get("alt"):
        metadata["mystnb"] = {"image": {"alt": metadata["alt"]}}
    if "solution" in metadata.get("tags", []):  # what it prints gives it away, too
        metadata["tags"] = [t for t in metadata["tags"] if t != "hide-input"] + ["hide-cell"]
    return {**cell, "metadata": metadata}


def _run_box(notebook: Notebook) -> dict[str, Any]:
    """Return a text cell that says how to run the page, with an example of a parameter."""
    name = notebook.path.name
    declared = parameters(notebook.path)
    own = [each for each in declared.values() if each.name not in RESERVED]
    source = " --source sample" if "source" in declared else ""
    text = f"""\
:::{{admonition}} Run this page
:class: run-it

`make lab` opens the workbook in JupyterLab: choose
[{name}](path:/files/notebooks/{name}), then *Run → Run All Cells*. To change a parameter without
opening it:

```sh
.venv/bin/python -m helpers run {notebook.number}{source} -p {own[0].name} {own[0].default}
```
:::
"""
    return {"cell_type": "markdown", "metadata": {}, "id": "run-this-page", "source": text}
