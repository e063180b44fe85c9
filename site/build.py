"""Builds the reading edition: ``python site/build.py`` writes ``build/site/index.html``.

The pages are first laid out in ``build/site-source``: the notebooks with the few changes that
a page needs, and the pages that are made from other files (the README's tables, the words of
notebook 00, the docstrings of ``helpers``). Sphinx then turns this folder into the site. Each
build starts from nothing, so no page of an earlier one is left over.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parent
REPO = SITE.parent
sys.path[:0] = [str(SITE), str(REPO)]

from stage_notebooks import stage_notebooks  # noqa: E402
from stage_pages import stage_pages  # noqa: E402


def stage(source: Path) -> None:
    """Lay out everything that Sphinx reads in the folder ``source``, which is emptied first."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    stage_notebooks(source)
    stage_pages(source)


def build(out: Path) -> int:
    """Write the site into the folder ``out``; return Sphinx's exit status, 0 if all is well."""
    from sphinx.cmd.build import build_main

    source, state = out.with_name(f"{out.name}-source"), out.with_name(f"{out.name}-state")
    stage(source)
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(state, ignore_errors=True)
    # A warning is an error; all are shown before the build fails.
    options = ["--fail-on-warning", "--quiet", "-b", "html", "-c", str(SITE), "-d", str(state)]
    return build_main([*options, str(source), str(out)])


def main() -> int:
    """Build as the command line asks; print the file to open."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPO / "build" / "site", help="folder")
    out = parser.parse_args().out.resolve()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    status = build(out)
    if status == 0:
        print(f"Open {os.path.relpath(out / 'index.html')} in a browser.")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
