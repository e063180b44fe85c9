"""Words of messages: shares and counts say what is so, however small or large."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.base.paths import REPO
from helpers.base.words import percent, plural

SHARES = st.floats(0, 1) | st.floats(0, 1e-3) | st.floats(0, 1e-3).map(lambda share: 1 - share)


@given(share=SHARES, digits=st.integers(0, 3))
def test_a_share_reads_as_nothing_or_all_only_where_it_is(share: float, digits: int):
    text = percent(share, digits=digits)
    number = float(text.strip("<>%")) / 100
    assert (text == "0%") == (share == 0)
    assert (text == "100%") == (share == 1)
    if text[0] == "<":
        assert 0 < share < number
    elif text[0] == ">":
        assert number < share < 1
    else:
        assert 0 < number < 1 or share in (0, 1)
        assert abs(number - share) <= 0.5001 * 10 ** -(2 + digits)


@given(share=st.floats(0.0095, 0.9905), digits=st.integers(0, 3))
def test_a_share_has_as_many_digits_as_were_asked_for(share: float, digits: int):
    assert percent(share, digits=digits) == f"{share:.{digits}%}"


def test_a_share_of_nothing_is_no_number():
    assert percent(float("nan")) == percent(float("nan"), digits=0) == "-"


@pytest.mark.parametrize(("share", "text"), [(1.2, "120%"), (-0.1, "-10%")])
def test_what_is_no_share_is_not_cut_down_to_one(share: float, text: str):
    assert percent(share) == text


@given(count=st.integers(0, 10**7))
def test_one_thing_is_no_things(count: int):
    text = plural(count, "row")
    assert text.replace(",", "") == f"{count} row{'s' * (count != 1)}"


def by_hand(source: str) -> list[str]:
    """Return the functions that do nothing but write a share, or put an s to a noun."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            text = ast.unparse(node.body[-1])
            share = text.startswith("return") and re.search(r":\.\d%\}", text)
            found += [node.name] if share and len(node.body) <= 3 else []
        if isinstance(node, ast.IfExp):
            words = {getattr(each, "value", None) for each in (node.body, node.orelse)}
            found += ["s"] if words == {"", "s"} else []
    return found


def test_shares_and_counts_are_put_into_words_in_one_place():
    for file in sorted((REPO / "helpers").rglob("*.py")):
        if file.name != "words.py":
            assert by_hand(file.read_text(encoding="utf-8")) == [], file


@pytest.mark.parametrize(
    "source",
    [
        'def _percent(share):\n    """Say it."""\n    return f"{share:.0%}" if share else "0%"',
        'def _count(n, noun):\n    return f"{n} {noun}" + ("" if n == 1 else "s")',
        "text = f\"{n} day{'s' if n != 1 else ''}\"",
    ],
)
def test_planted_words_by_hand_are_found(source: str):
    assert len(by_hand(source)) == 1
