"""Faults that are none: changes that change nothing, each with its reason, kept in one file."""

from __future__ import annotations

from pathlib import Path

import yaml

from bench.mutants.operators import Mutant

__all__ = ["is_argued", "read_argued"]


def read_argued(path: Path) -> dict[tuple[str, str, str, str], str]:
    """Return the reasons by ``(file, function, text, change)``; nothing where there is no file.

    The text of the changed line stands for its place, so that reasons outlive moved lines and end
    with the line that they were given for.

    Args:
        path: a YAML list of entries with these keys and ``reason``.

    Raises:
        ValueError: an entry lacks a key.
    """
    if not path.exists():
        return {}
    found = {}
    for entry in yaml.safe_load(path.read_text("utf-8")) or []:
        keys = ("file", "function", "text", "change", "reason")
        if lacking := [key for key in keys if not isinstance(entry.get(key), str)]:
            raise ValueError(f"{path.name}: an entry lacks {', '.join(lacking)}: {entry}.")
        found[tuple(entry[key] for key in keys[:4])] = entry["reason"]
    return found


def is_argued(mutant: Mutant, argued: dict[tuple[str, str, str, str], str]) -> bool:
    """Say whether somebody looked at a fault and said why it is none."""
    return (mutant.file, mutant.function, mutant.text, mutant.change) in argued
