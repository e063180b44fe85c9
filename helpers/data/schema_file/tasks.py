"""The section ``task`` of a ``schema.yaml``: what is predicted, and how time is cut."""

from __future__ import annotations

from typing import Any

from helpers.base.words import near_match
from helpers.data.schema_file.nodes import Entry
from helpers.data.schema_file.values import read_date, read_span, read_zone
from helpers.schema import Task

__all__ = ["LABEL_KEYS", "NEGATIVE_KEYS", "SPLIT_KEYS", "TASK_KEYS", "read_task"]

TASK_KEYS = ("label", "negatives", "split", "cutoff", "time_zone", "history")
LABEL_KEYS = ("positive", "match_on", "within")
NEGATIVE_KEYS = ("per_positive", "from")
SPLIT_KEYS = ("train_from", "attribution_from", "valid_from", "test_from", "end")

_ACTIONS = ("click", "cart", "purchase")  # what a user does, as against what is shown
_MATCHES = ("user_id", "item_id", "list_id", "session_id", "query", "store_id")
_MOST_NEGATIVES = 100


def read_task(entry: Entry | None, *, labelled: Entry | None = None) -> tuple[Task, frozenset[str]]:
    """Return the task, and the names of its fields that are stated.

    Args:
        entry: the section; None where there is none.
        labelled: the section of a log that says of each exposure whether it was a success.

    Raises:
        DataError: something in it is wrong.
    """
    lines = {}
    if entry:
        moved = {
            k: f"It now stands under task.label: write label: {{{k}: ...}}." for k in LABEL_KEYS
        }
        moved |= {
            k: f"It now stands under task.split: write split: {{{k}: ...}}." for k in SPLIT_KEYS
        }
        moved["per_positive"] = "It stands under task.negatives."
        lines = entry.section(TASK_KEYS, elsewhere=moved)
    facts = _plain(lines) | _label(lines) | _split(lines)
    stated = frozenset(facts)
    if labelled:
        facts = {"within": "0s"} | facts
    if "negatives" in lines:
        negatives = _negatives(lines["negatives"], lines, facts, labelled)
        stated |= {*negatives} - {"within"}
        facts |= negatives
    return Task(**facts), stated


def _plain(lines: dict[str, Entry]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if "cutoff" in lines:
        facts["cutoff"] = lines["cutoff"].one_of(["day", "week"])
    if "time_zone" in lines:
        facts["time_zone"] = read_zone(lines["time_zone"])
    if "history" in lines:
        facts["history"] = _names(lines["history"], _ACTIONS)
    return facts


def _label(lines: dict[str, Entry]) -> dict[str, Any]:
    if "label" not in lines:
        return {}
    label = lines["label"].section(LABEL_KEYS)
    facts: dict[str, Any] = {}
    if "positive" in label:
        facts["positive"] = _names(label["positive"], _ACTIONS)
    if "match_on" in label:
        facts["match_on"] = _names(label["match_on"], _MATCHES)
    if "within" in label:
        facts["within"] = read_span(label["within"])
    return facts


def _names(entry: Entry, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return a list of names of which each is allowed."""
    must = f"one of {', '.join(allowed)}, or a list of them"
    names = entry.texts(must)
    for one, name in zip(entry.entries(), names, strict=True):
        if name not in allowed:
            raise one.wrong(must, near_match(name, allowed))
    return names


def _negatives(
    entry: Entry, lines: dict[str, Entry], facts: dict[str, Any], labelled: Entry | None
) -> dict[str, Any]:
    """Return how products are drawn for a log that holds successes only."""
    stated = entry.section(NEGATIVE_KEYS)
    if "per_positive" not in stated:
        raise entry.fault("must say how many: per_positive: 4, say")
    if labelled:
        raise entry.fault(
            f"draws what was not shown, but user_behavior (line {labelled.line}) maps label, "
            "so the log says what was shown; leave out one of the two"
        )
    if facts.get("within", "period") != "period":
        within = lines["label"].section(LABEL_KEYS)["within"]
        raise within.wrong(
            "period with task.negatives: a drawn product was shown at no moment, so what counts is "
            "the whole day or week"
        )
    found = {
        "negatives": stated["per_positive"].whole(1, _MOST_NEGATIVES),
        "within": "period",
    }
    if "from" in stated:
        found["negatives_from"] = stated["from"].one_of(["catalogue", "popular"])
    return found


def _split(lines: dict[str, Entry]) -> dict[str, str]:
    """Return the first days of the roles, in order."""
    if "split" not in lines:
        return {}
    entries = lines["split"].section(SPLIT_KEYS)
    days = {name: read_date(entries[name]) for name in SPLIT_KEYS if name in entries}
    inner = [name for name in SPLIT_KEYS[1:4] if name in days]
    if len(inner) not in (0, 3):
        raise lines["split"].fault(
            "must state all three of attribution_from, valid_from and test_from, or none to split "
            f"by shares of time; it has {', '.join(inner)}"
        )
    names = list(days)
    for earlier, later in zip(names, names[1:], strict=False):
        if days[earlier] >= days[later]:
            raise entries[later].wrong(f"after {earlier}, which is {days[earlier]}")
    return days
