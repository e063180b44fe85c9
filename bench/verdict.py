"""Put the study's decision table into the README, between its two marks.

``make study`` calls it at its end, where the source is the grocery data.
"""

from __future__ import annotations

import re

from helpers.base.paths import REPO
from helpers.base.writing import write_atomically
from helpers.experiments import verdict

MARKS = ("<!-- decisions: written by make study -->", "<!-- end of decisions -->")


def with_table(readme: str) -> str:
    """Return the README's text with the table of the study's network in its place."""
    table = verdict.study_table("journey")
    lines = verdict.as_markdown(table[table.model == "mlp"])
    begin, end = MARKS
    return re.sub(f"{begin}.*?{end}", f"{begin}\n\n{lines}\n\n{end}", readme, flags=re.DOTALL)


if __name__ == "__main__":
    path = REPO / "README.md"
    write_atomically(path, with_table(path.read_text(encoding="utf-8")))
