"""Prints the notes of a release: ``python .github/scripts/release_notes.py v0.2.0``.

The version stands in ``pyproject.toml``. A tag, a dated section of the changelog and the citation
must name the same one, or the script ends with a sentence that says which does not.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def stated_version(repo: Path) -> str:
    """Return the one version of the project, as ``pyproject.toml`` in ``repo`` states it."""
    return tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]


def section(changelog: str, version: str) -> tuple[str, str]:
    """Return the date of a version's section in the changelog, and its text.

    Raises:
        ValueError: the changelog has no dated section for it.
    """
    head = rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)\n(.*?)(?=^## |\Z)"
    found = re.search(head, changelog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(
            f"CHANGELOG.md has no section for {version}: head it '## [{version}] - YYYY-MM-DD'."
        )
    return found[1], found[2].strip()


def release_notes(tag: str, *, repo: Path = REPO, address: str = "") -> str:
    """Return the notes of the release that a tag names.

    Args:
        tag: the version with a v in front.
        repo: the folder with ``pyproject.toml``, ``CHANGELOG.md`` and ``CITATION.cff``.
        address: owner and name of the repository on GitHub; notes for one end with a button that
            opens the release on Binder.

    Raises:
        ValueError: the tag, the changelog or the citation names another version.
    """
    version = stated_version(repo)
    if tag != f"v{version}":
        raise ValueError(f"the tag must be v{version}, as pyproject.toml states; got {tag}.")
    date, text = section((repo / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    citation = (repo / "CITATION.cff").read_text(encoding="utf-8")
    for line in (f"version: {version}", f"date-released: {date}"):
        if not re.search(rf"^{re.escape(line)}$", citation, re.MULTILINE):
            raise ValueError(f"CITATION.cff must say '{line}', as the changelog does.")
    return f"{text}\n\n{binder_button(address, tag)}\n" if address else f"{text}\n"


def binder_button(address: str, reference: str) -> str:
    """Return Markdown for a button that opens one state of a repository on Binder.

    Args:
        address: owner and name on GitHub, with a slash between them.
        reference: a tag, a branch or a commit.
    """
    return (
        "[![Open it on Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2/gh/{address}/{reference}"
        "?urlpath=lab/tree/notebooks/00_start_here.ipynb)"
    )


def main(arguments: list[str]) -> int:
    """Print the notes for the one argument, a tag; return 1 where something does not agree."""
    if len(arguments) != 1:
        print("Give one tag, such as v0.2.0.", file=sys.stderr)
        return 2
    try:
        notes = release_notes(arguments[0], address=os.environ.get("GITHUB_REPOSITORY", ""))
    except ValueError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(notes, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
