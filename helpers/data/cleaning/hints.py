"""What may be meant by values that cannot be read: a guess, for a message."""

from __future__ import annotations

import itertools
import re

import pandas as pd

from helpers.data.cleaning.times import ISO, read_times
from helpers.data.cleaning.values import Stored

__all__ = ["event_hint", "future_hint", "number_hint", "time_hint"]

_DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y"),
    *("%B %d, %Y", "%Y年%m月%d日", "%Y%m%d"),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_FORMATS = (*map("".join, itertools.product(_DATES, _CLOCKS)), "%Y%m%d%H%M%S")
_ORDERS = {"%d": "day first", "%m": "month first"}

_MEANINGS = {
    "impression": ("view", "impression", "impressions", "exposure", "show", "shown", "pv"),
    "click": ("click", "clicks", "clk", "open", "detail"),
    "cart": ("cart", "addtocart", "addcart", "basket", "addtobasket"),
    "purchase": ("purchase", "buy", "bought", "order", "transaction", "sale", "checkout"),
}
_CANONICAL = {word: event for event, words in _MEANINGS.items() for word in words}


def time_hint(values: list[str], time_format: str = ISO) -> str:
    """Return a sentence with the ``time_format`` that fits most of some values, or nothing.

    Example:
        >>> time_hint(["24/11/2013", "01/12/2013"])
        'State time_format: "%d/%m/%Y".'
        >>> time_hint(["1383843600"])
        'State time_format: unix s.'
    """
    if not values:
        return ""
    if all(re.fullmatch(r"1?[0-9]{9}(?:\.[0-9]+)?", v) for v in values):
        found = ["unix s"]
    elif all(re.fullmatch(r"1?[0-9]{12}", v) for v in values):
        found = ["unix ms"]
    elif time_format != ISO and _share(values, ISO) > 0.5:
        found = [ISO]
    else:
        found = _fitting(values)
    if not found or found == [time_format]:
        return ""
    orders = {_ORDERS.get(f[:2], "year first"): f for f in reversed(found)}  # one of each
    if len(orders) == 1:
        return f"State time_format: {_quoted(found[0])}."
    either = " or ".join(f"{_quoted(f)} ({order})" for order, f in sorted(orders.items()))
    return f"State time_format: {either}."


def _quoted(time_format: str) -> str:
    return f'"{time_format}"' if "%" in time_format else time_format


def _share(values: list[str], time_format: str) -> float:
    times = read_times(Stored(pd.Series(values, dtype="str")), time_format=time_format)
    return float(times.notna().mean())


def _fitting(values: list[str]) -> list[str]:
    """Return the formats that fit most values, if they fit more than half."""
    one = max(values, key=len)
    # A first look at the letters between the digits saves most of the work.
    likely = [f for f in _FORMATS if _separators(f) == _separators(one)] or list(_FORMATS)
    shares = {f: _share(values, f) for f in likely}
    best = max(shares.values())
    return [f for f, share in shares.items() if share == best] if best > 0.5 else []


def _separators(text: str) -> str:
    return re.sub(r"%[A-Za-z]|[0-9]|[A-Za-z]+", "", text)


def future_hint(time_format: str) -> str:
    """Return a sentence on times that seem to lie in the future."""
    if time_format == "unix s":
        return "Milliseconds are stated as time_format: unix ms."
    return ""


def number_hint(values: list[str], decimal: str) -> str:
    """Return a sentence on numbers with another decimal sign, or nothing.

    Example:
        >>> number_hint(["1,5", "1.234,00"], ".")
        'State decimal: ",".'
    """
    other = "," if decimal == "." else "."
    stored = Stored(pd.Series(values, dtype="str"), decimal=other)
    fits = pd.notna(stored.numbers()).mean() > 0.5 if values else False
    return f'State decimal: "{other}".' if fits else ""


def event_hint(values: list[str]) -> str:
    """Return a sentence with a ``values`` line for unknown types of events.

    Example:
        >>> event_hint(["addtocart", "transaction"])
        'State values: {event_type: {addtocart: cart, transaction: purchase}}.'
    """
    words = {value: re.sub(r"[^a-z]", "", value.lower()) for value in values}
    known = {value: _CANONICAL[word] for value, word in words.items() if word in _CANONICAL}
    if not known:
        known = {values[0]: "click"} if values else {}
        end = ", if that is what it means" if values else ""
    else:
        end = ", if that is what they mean" if len(known) < len(values) else ""
    if not known:
        return ""
    lines = ", ".join(f"{_yaml(value)}: {event}" for value, event in known.items())
    return f"State values: {{event_type: {{{lines}}}}}{end}."


def _yaml(value: str) -> str:
    """Return a value as YAML takes it for text, whatever it holds."""
    return (
        value if re.fullmatch(r"[A-Za-z][\w-]*", value) else '"' + value.replace('"', r"\"") + '"'
    )
