"""Links of notebooks and of the README, turned into links that hold on the site."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import unquote

REPO = Path(__file__).resolve().parent.parent

#: Markdown files of the repository that are pages of the site, where they stand.
DOCUMENTS = ("CONTRIBUTING.md", "site/instructors.md")

# Left to right: code in a fence, a link (its words may hold code), code in a line.
_CODE_OR_LINK = re.compile(
    r"^(?P<fence>```|~~~).*?^(?P=fence)$|"
    r"(?<!!)\[(?P<words>[^\[\]\n]*(?:\n[^\[\]\n]+)?)\]\((?P<target>[^)\s]+)\)|"
    r"`[^`\n]*`",
    re.DOTALL | re.MULTILINE,
)


def localised(text: str, folder: str, source: Path) -> str:
    """Return Markdown whose links to files of the repository are downloads of the site.

    A link to a notebook stays: it is a page, and so are ``DOCUMENTS``. Code is left as it is. A
    linked file is copied below ``source``, and the link becomes one that Sphinx copies into the
    site. Of a link to a folder the words stay.

    Args:
        text: the Markdown.
        folder: where the text stands in the repository, ``"notebooks"`` or ``""``.
        source: the folder that Sphinx reads.

    Raises:
        FileNotFoundError: a link leads nowhere.

    Example:
        >>> localised("[02](02_measure_loss.ipynb), `[a](b)`, [x](#y)", "notebooks", Path("."))
        '[02](02_measure_loss.ipynb), `[a](b)`, [x](#y)'
    """
    return _CODE_OR_LINK.sub(lambda match: _link(match, folder, source), text)


def _link(match: re.Match[str], folder: str, source: Path) -> str:
    words, target = match["words"], match["target"]
    if target is None or ".ipynb" in target or re.match(r"#|[a-z][a-z0-9+.-]*:", target):
        return match[0]
    file = (REPO / folder / unquote(target).partition("#")[0]).resolve()
    if file.is_dir():  # a page cannot show a folder
        return words
    if not file.is_file():
        raise FileNotFoundError(f"{folder or 'README.md'}: the link to {target} leads to no file.")
    name = file.relative_to(REPO)
    if name.as_posix() in DOCUMENTS:
        return f"[{words}](/{name.as_posix()})"
    copy = source / "files" / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy)
    return f"[{words}](path:/files/{name.as_posix()})"
