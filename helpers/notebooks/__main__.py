"""``python -m helpers.notebooks refresh [NAME ...]``; also tidy, lint, new and slides."""

from __future__ import annotations

import argparse
import sys

from helpers.base.errors import DataError
from helpers.base.paths import IS_CHECKOUT, REPO
from helpers.base.words import plural
from helpers.notebooks.execution import NOTEBOOKS, find, refresh, retidy
from helpers.notebooks.rules import lint
from helpers.notebooks.slides import write_slides
from helpers.notebooks.template import new_notebook_file


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 (something is wrong), 2 (bad input)."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.notebooks", description="Renew or check the workbook's notebooks."
    )
    parser.add_argument(
        "command",
        choices=["refresh", "tidy", "lint", "new", "slides"],
        help="refresh: execute, tidy and write; tidy: write what is there, tidied; lint: say what "
        "is wrong; new: write notebooks from the template; slides: write talks",
    )
    parser.add_argument("names", nargs="*", help="03_train_recommender ...; none means all")
    options = parser.parse_args(arguments)
    try:
        if not IS_CHECKOUT:
            raise DataError(
                "The workbook's notebooks are written in a checkout of the repository; this "
                "package is installed. To execute them, use: python -m helpers run."
            )
        commands = {
            "refresh": _refresh,
            "tidy": _tidy,
            "lint": _lint,
            "new": _new,
            "slides": _slides,
        }
        return commands[options.command](options.names)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(
            f"{error}\nThat file is unchanged. Mend the cell, then refresh again.", file=sys.stderr
        )
        return 1


def _refresh(names: list[str]) -> int:
    for path in refresh(names):
        print(f"{path.stem}: executed, tidied, written")
    return 0


def _tidy(names: list[str]) -> int:
    for path in retidy(names):
        print(f"{path.stem}: tidied, written")
    return 0


def _new(names: list[str]) -> int:
    if not names:
        raise DataError("Give the notebook a name: make new-notebook NAME=09_do_thing.")
    for name in names:
        print(f"{new_notebook_file(name).name}: written; CONTRIBUTING.md says what is next")
    return 0


def _slides(names: list[str]) -> int:
    for path in [find(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb")):
        print(write_slides(path.stem, REPO / "build" / "slides"))
    return 0


def _lint(names: list[str]) -> int:
    paths = [find(name) for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    faults = [sentence for path in paths for sentence in lint(path)]
    for sentence in faults:
        print(sentence)
    print(f"{plural(len(paths), 'notebook')}, {plural(len(faults), 'fault')}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
