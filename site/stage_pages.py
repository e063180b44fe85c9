"""The pages that are made from other files: home, running, about, glossary and the helpers.

What the README or a notebook already says is taken from there, so that it cannot differ.
"""

from __future__ import annotations

import ast
import html
import json
import re
import shutil
from pathlib import Path
from string import Template

import yaml
from stage_links import DOCUMENTS, REPO, localised
from stage_notebooks import NOTEBOOKS, Notebook, notebooks, parts

PAGES = Path(__file__).resolve().parent / "pages"
HELPERS = REPO / "helpers"


def stage_pages(source: Path) -> None:
    """Write every page that is no notebook below ``source``."""
    readme = localised((REPO / "README.md").read_text(encoding="utf-8"), "", source)
    picture, caption = headline(readme)
    filled = {
        "picture": picture,
        "caption": caption,
        "map": home_map(),
        "toctrees": toctrees(),
        "found": section(readme, "What we found"),
        "to_do": section(readme, "What to do"),
        "start": _without_picture(section(readme, "Start")),
        "own_log": section(readme, "Your own log"),
        "own_model": section(readme, "Your own model"),
        "fast": section(readme, "How fast"),
        "where": section(readme, "Where things are"),
        "licences": section(readme, "Data and licences"),
        "reading": section(readme, "Further reading"),
        "glossary": glossary(),
        "rooms": room_list(),
    }
    for page in sorted(PAGES.rglob("*.md")):
        text = Template(page.read_text(encoding="utf-8")).substitute(filled)
        target = source / page.relative_to(PAGES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for name in DOCUMENTS:
        text = (REPO / name).read_text(encoding="utf-8")
        target = source / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(localised(text, str(Path(name).parent), source), encoding="utf-8")
    shutil.copyfile(REPO / "site" / "headline.png", source / "site" / "headline.png")
    for room in rooms():
        (source / "helpers" / f"{room}.md").write_text(room_page(room), encoding="utf-8")


def section(readme: str, heading: str) -> str:
    """Return what stands under a heading of the README.

    Raises:
        SystemExit: the README has no such heading.
    """
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL
    )
    if not found:
        raise SystemExit(f'README.md has no section "{heading}", which the site shows.')
    return found[1].strip()


def headline(readme: str) -> tuple[str, str]:
    """Return the description of the README's picture, and the sentence below it."""
    found = re.search(r"^!\[(.+?)\]\(site/headline\.png\)\n\n\*(.+?)\*$", readme, re.M | re.S)
    if not found:
        raise SystemExit("README.md does not show site/headline.png with a sentence below it.")
    return " ".join(found[1].split()), " ".join(found[2].split())


def _without_picture(text: str) -> str:
    return re.sub(r"^!\[.+?\]\(.+?\)\n\n\*.+?\*$", "", text, flags=re.M | re.S).strip()


def home_map() -> str:
    """Return the map of the notebooks as a list of links, one box a part."""
    return "\n".join(
        f'<section class="part"><h3>{html.escape(heading)}</h3>'
        f'<p class="purpose">{html.escape(purpose)}</p>\n<ol class="steps">'
        + "\n".join(_step(each) for each in inside)
        + "</ol></section>"
        for heading, purpose, inside in parts()
    )


def _step(notebook: Notebook) -> str:
    page = f"notebooks/{notebook.path.stem}.html"
    return (
        f'<li><a href="{page}"><span class="number">{notebook.number}</span>'
        f'<span class="name">{html.escape(notebook.name)}</span> '
        f'<span class="question">{html.escape(notebook.question)}</span></a></li>'
    )


def toctrees() -> str:
    """Return one table of contents a part, for the page of the notebooks."""
    return "\n\n".join(
        f"## {heading}\n\n{purpose}\n\n```{{toctree}}\n:caption: {heading}\n:hidden:\n\n"
        + "\n".join(f"{each.path.stem}" for each in inside)
        + "\n```\n\n"
        + "\n".join(f"- [{n.title}]({n.path.name}): {n.question}" for n in inside)
        for heading, purpose, inside in parts()
    )


def words() -> list[tuple[str, str, str]]:
    """Return Chinese, English and meaning of each row of notebook 00's table of words."""
    cells = json.loads((NOTEBOOKS / "00_start_here.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    table = next((text for text in texts if "| 中文 | English |" in text), None)
    if table is None:
        raise SystemExit("00_start_here.ipynb has no table of words (| 中文 | English | ...).")
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [tuple(part.strip() for part in row) for row in rows[2:]]


def glossary() -> str:
    """Return the entries of the glossary in alphabetical order, as lines of its directive."""
    path = REPO / "site" / "glossary.yaml"
    entries = {term: (chinese, text) for chinese, term, text in words()}
    more = yaml.safe_load(path.read_text(encoding="utf-8"))
    if both := sorted(set(more) & set(entries)):
        raise SystemExit(f"{path.name}: notebook 00 already explains {', '.join(both)}.")
    entries |= {term: (entry["zh"], entry["text"]) for term, entry in more.items()}
    lines = []
    for term in sorted(entries, key=str.casefold):
        chinese, text = entries[term]
        lines += [*term.split(", "), f"  {{zh}}`{chinese}`", "", f"  {text.strip()}", ""]
    return "\n".join(lines)


def rooms() -> list[str]:
    """Return the rooms of ``helpers``: those of its map in its order, then the others."""
    there = {
        path.stem if path.is_file() else path.name
        for path in HELPERS.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem[:2] != "__"
    }
    drawn = _docstring(HELPERS / "__init__.py").partition("::\n\n")[2].partition("\n\n")[0]
    listed = dict.fromkeys(re.findall(r"\w+", drawn))
    mapped = [name for name in listed if name in there]
    return mapped + sorted(there - set(mapped))


def room_list() -> str:
    """Return the rooms with the first sentence of each, and their table of contents."""
    rows = [f"| [{room}]({room}.md) | {_summary(room)} |" for room in rooms()]
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *rooms(), "```"])
    return "\n".join(["| room | what it holds |", "|---|---|", *rows, "", toctree])


def room_page(room: str) -> str:
    """Return the page of a room: everything that it offers, from the docstrings."""
    inside = [] if (HELPERS / f"{room}.py").exists() else _unshown(HELPERS / room)
    names = [f"helpers.{room}", *inside]
    parts = [f"```{{eval-rst}}\n.. automodule:: {n}\n   :members:\n```\n" for n in names]
    return f"# {room}\n\n" + "\n".join(parts)


def _unshown(folder: Path) -> list[str]:
    """Return the modules and packages of a room whose face hands nothing on."""
    if re.search(r"__all__ = \[\n", (folder / "__init__.py").read_text(encoding="utf-8")):
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.stem[:2] != "__":
            found.append(_module(path.with_suffix("")))
        elif (path / "__init__.py").exists():
            found += [_module(path), *_unshown(path)]
    return found


def _module(path: Path) -> str:
    return ".".join(path.relative_to(REPO).parts)


def _summary(room: str) -> str:
    path = HELPERS / f"{room}.py"
    first = _docstring(path if path.exists() else HELPERS / room / "__init__.py").split("\n\n")[0]
    return " ".join(re.sub(r":\w+:`~?([^`]+)`", r"`\1`", first).replace("``", "`").split())


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


if __name__ == "__main__":
    print(len(notebooks()), "notebooks,", len(rooms()), "rooms,", len(words()), "words")
