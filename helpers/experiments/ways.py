"""The ways of keeping few rows: how the rows are picked, and what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ADVISED", "RIVALS", "SUSPECTS", "WAYS", "Pick", "Treatment", "Way"]

#: The action that is recommended; what it drops depends on the kind of noise.
SUSPECTS = "drop suspects"


class Treatment(StrEnum):
    """What is done with the rows once they are picked."""

    PLAIN = "trained on as they are"
    STOPPED = "trained on for as many updates as are best on valid"
    TAUGHT = "trained on with labels mixed with out-of-fold predictions"


class Pick(StrEnum):
    """How the kept rows are picked."""

    RANDOM = "random"
    HARDEST = "hardest"
    EASIEST = "easiest"
    MIDDLE = "middle"
    HARDEST_BY_CLASS = "hardest by class"
    SURPRISE = "by surprise"
    BALANCED = "balanced"

    @property
    def is_drawn(self) -> bool:
        """Whether the rows are drawn; else they are the first of an order."""
        return self in (Pick.RANDOM, Pick.SURPRISE, Pick.BALANCED)


@dataclass(frozen=True)
class Way:
    """A way of keeping few rows.

    Attributes:
        pick: how the rows are picked.
        meaning: in words.
        treatment: what is done with them.
    """

    pick: Pick
    meaning: str
    treatment: Treatment = Treatment.PLAIN


#: The ways by their names; a name is for tables, and nothing is read off it.
WAYS = {
    "random": Way(Pick.RANDOM, "drawn evenly: the rival"),
    "random, stopped early": Way(
        Pick.RANDOM, "the same, after as many updates as were best on valid", Treatment.STOPPED
    ),
    "hardest": Way(Pick.HARDEST, "highest out-of-fold loss"),
    "easiest": Way(Pick.EASIEST, "lowest out-of-fold loss"),
    "middle": Way(Pick.MIDDLE, "neither"),
    "hardest by class": Way(Pick.HARDEST_BY_CLASS, "highest out-of-fold loss within each class"),
    "by surprise": Way(Pick.SURPRISE, "drawn by |p - y|, weighted by 1/pi"),
    "balanced": Way(Pick.BALANCED, "as many positives as negatives, weighted by 1/pi"),
    "random, taught": Way(
        Pick.RANDOM, "drawn evenly; labels mixed with out-of-fold predictions", Treatment.TAUGHT
    ),
    "balanced, taught": Way(
        Pick.BALANCED, "as many positives as negatives; labels mixed likewise", Treatment.TAUGHT
    ),
}

#: What every way is compared with.
RIVALS = ("random", "random, stopped early")
#: What the decision table is about.
ADVISED = "balanced, taught"
