"""Which values a parameter may have, as the comment beside its declaration states them.

The statement opens the comment and ends with a colon::

    epochs: int = 3  # in [1, 100]: passes over the training rows
    rate: float = 0.1  # in (0, 1]: a round bracket leaves its end out
    source: str = "journey"  # in {journey, csv}: where the tables come from
    path: str = ""  # any text: folder of the tables
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ANYTHING",
    "TYPES",
    "Allowed",
    "Anything",
    "Choices",
    "NumberRange",
    "Value",
    "read_range",
]

Value = str | int | float | bool

#: The types that a parameter can have, by the name that its annotation uses.
TYPES: dict[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}

#: How a parameter says that every value of its type will do.
ANYTHING = {str: "any text", int: "any whole number", float: "any number", bool: "true or false"}

_BRACKETS = re.compile(r"in (?P<open>[\[(])(?P<low>[^,]*), (?P<high>[^,]*)(?P<close>[\])])")
_BRACES = re.compile(r"in \{(?P<values>[^{}]+)\}")


@dataclass(frozen=True)
class NumberRange:
    """The numbers between two ends; a round bracket leaves its end out."""

    low: int | float
    high: int | float
    with_low: bool = True
    with_high: bool = True

    def __contains__(self, value: int | float) -> bool:
        """Return whether a number lies in it; NaN does not."""
        above = self.low <= value if self.with_low else self.low < value
        return above and (value <= self.high if self.with_high else value < self.high)

    def __str__(self) -> str:
        """Return what follows "must be a number": `` in (0.0, 1.0], without 0.0``."""
        left, right = "[" if self.with_low else "(", "]" if self.with_high else ")"
        out = [(self.low, self.with_low), (self.high, self.with_high)]
        without = " and ".join(f"{end:_}" for end, belongs in out if not belongs)
        shown = f" in {left}{self.low:_}, {self.high:_}{right}"
        return f"{shown}, without {without}" if without else shown


@dataclass(frozen=True)
class Choices:
    """A few values, by name."""

    values: tuple[Value, ...]

    def __contains__(self, value: Value) -> bool:
        """Return whether a value is one of them."""
        return value in self.values

    def __str__(self) -> str:
        """Return what follows "must be a text": `` out of csv, mysql``."""
        return f" out of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Anything:
    """Every value of the type; of numbers all but NaN and the infinities."""

    def __contains__(self, value: Value) -> bool:
        """Return true."""
        return True

    def __str__(self) -> str:
        """Return nothing: the type says it all."""
        return ""


Allowed = NumberRange | Choices | Anything


def read_range(comment: str, kind: type[Value]) -> tuple[Allowed | None, str]:
    """Return what the comment of a parameter allows, and what is left of the comment.

    Args:
        comment: the text behind the ``#``.
        kind: the parameter's type; the ends and the choices must be of it.

    Returns:
        The range, None where the comment states none, and the comment behind the colon.

    Raises:
        ValueError: the comment opens like a range but is none; the message is a phrase that
            says what must hold.

    Example:
        >>> read_range("in (0, 1]: how far a step goes", float)[0]
        NumberRange(low=0.0, high=1.0, with_low=False, with_high=True)
        >>> read_range("how far a step goes", float)
        (None, 'how far a step goes')
    """
    stated, colon, rest = comment.partition(":")
    stated, rest = stated.strip(), rest.strip()
    if colon and stated == ANYTHING[kind]:
        return Anything(), rest
    if colon and stated in ANYTHING.values():
        raise ValueError(f'what is declared as {kind.__name__} says "{ANYTHING[kind]}:"')
    if not re.match(r"in *[\[({]", stated):
        return None, comment
    if not colon:
        raise ValueError("a range must be followed by a colon and what the parameter is")
    if found := _BRACKETS.fullmatch(stated):
        return _interval(found, kind), rest
    if found := _BRACES.fullmatch(stated):
        return _choices(found["values"], kind), rest
    raise ValueError("a range must read `in [1, 100]`, `in (0, 1]` or `in {a, b}`")


def _interval(found: re.Match[str], kind: type[Value]) -> NumberRange:
    if kind not in (int, float):
        raise ValueError(f"an interval is for numbers; {kind.__name__} takes `in {{a, b}}`")
    low, high = _value(found["low"], kind), _value(found["high"], kind)
    interval = NumberRange(low, high, found["open"] == "[", found["close"] == "]")
    if not low < high:
        raise ValueError("the ends of a range must rise")
    if kind is int and not (interval.with_low and interval.with_high):
        raise ValueError("a range of whole numbers names its first and last: square brackets")
    return interval


def _choices(text: str, kind: type[Value]) -> Choices:
    if kind is bool:
        raise ValueError(f'what is declared as bool says "{ANYTHING[bool]}:"')
    words = [word.strip() for word in text.split(",")]
    values = tuple(word if kind is str else _value(word, kind) for word in words)
    if len(set(values)) != len(values) or "" in values:
        raise ValueError("the choices must differ from each other, and none may be empty")
    return Choices(values)


def _value(text: str, kind: type[Any]) -> int | float:
    """Return a finite number of the type, written as in Python."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        value = None
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or not math.isfinite(value):
        raise ValueError(f"the values of a range must be of the declared type {kind.__name__}")
    return value
