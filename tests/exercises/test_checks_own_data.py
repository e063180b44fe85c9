"""The checks of notebook 07: right answers pass, and each mistake gets its own hint."""

import pytest
from wrong_answers import FATES as RIGHT
from wrong_answers import SCHEMA
from wrong_answers import fault_share as share

from helpers.exercises import check_07_1, check_07_2, check_07_3


def test_right_answers_are_correct_in_whatever_form_they_come():
    for answer in (RIGHT, {k.lower(): f" {v.upper()} " for k, v in RIGHT.items()}):
        assert check_07_1(answer).startswith("Correct")
    for answer in (SCHEMA, SCHEMA.replace("  file: log.csv\n", ""), SCHEMA + "\n# done\n"):
        assert check_07_2(answer).startswith("Correct")
    assert check_07_3(share).startswith("Correct")


@pytest.mark.parametrize("stub", [None, ..., {}])
def test_an_untouched_prediction_is_still_empty(stub):
    assert check_07_1(stub).startswith("Still empty")


@pytest.mark.parametrize("stub", [None, ..., "", "\n"])
def test_an_untouched_schema_is_still_empty(stub):
    assert check_07_2(stub).startswith("Still empty")


@pytest.mark.parametrize("stub", [lambda gone, read: None, lambda gone, read: ...])
def test_an_untouched_function_is_still_empty(stub):
    assert check_07_3(stub).startswith("Still empty")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"A": "copy"}, "line A is a plain purchase"),
        ({"B": "faulty"}, "line B is a cancelled ticket"),
        ({"C": "kept"}, "31st of February"),
        ({"D": "faulty"}, "no fault of the data"),
        ({"E": "kept"}, "repeats line A"),
        ({"F": "faulty"}, "Nobody asks any more"),
        ({"F": "dropped"}, "choose from kept, left out, faulty, copy"),
        ({"G": "kept"}, 'there is no line "G"'),
    ],
)
def test_a_wrong_prediction_gets_the_reason(change, hint):
    assert hint in check_07_1(RIGHT | change)


def test_a_part_of_the_prediction_is_told_what_is_missing():
    assert "still missing: B, C, D, E, F" in check_07_1({"A": "kept"})
    assert "give a dict" in check_07_1(["kept"])


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('  delimiter: ";"\n', "", "state both"),
        ('  decimal: ","\n', "", "decimal comma"),
        ('  time_format: "%m/%d/%Y %H:%M"\n', "", "state a time_format"),
        ("%m/%d", "%d/%m", "The month comes first"),
        ("%m/%d/%Y", "%m/%d/%y", "the format of 03/31/2025 18:05 is"),
        ("  time_zone: America/New_York\n", "", "name no zone"),
        ("America/New_York", "Europe/Madrid", "the clock of New York"),
        ("America/New_York", "America/NewYork", "America/New_York"),
        ("user_id: shopper, item_id: sku", "user_id: sku, item_id: shopper", "which column is"),
        (", price: cost", "", "which column is price"),
        ("user_id: shopper", "shopper: user_id", "the canonical name stands left"),
        ("  values:\n    event_type: {see: impression, buy: purchase}\n", "", "no words of"),
        ("see: impression, buy: purchase", "see: purchase, buy: impression", "see is an impres"),
        ("see: impression, buy: purchase", "impression: see, purchase: buy", "Not yet"),
        ("user_behavior:", "behavior:", 'Did you mean "user_behavior"?'),
        ("user_behavior:", "task: {k: 5}\n_:", "user_behavior"),
        ("time_zone:", "timezone:", "time_zone"),
    ],
)
def test_a_wrong_schema_gets_the_hint_that_fits(old, new, hint):
    assert old in SCHEMA
    verdict = check_07_2(SCHEMA.replace(old, new))
    assert verdict.startswith("Not yet")
    assert hint in verdict


@pytest.mark.parametrize(
    "answer", [3, ["user_behavior:"], "user_behavior: [", "\x00user_behavior:"]
)
def test_a_schema_that_is_none_is_told_so_without_an_error(answer):
    assert check_07_2(answer).startswith("Not yet")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda g, r: share(g, r) * (r - 210) / r, "divides by all rows"),
        (lambda g, r: 67 / 790, "counts the copies as faults"),
        (lambda g, r: g.rows.sum() / r, "everything that is gone"),
        (lambda g, r: (g.rows.sum() - 37) / r, "rules are no faults"),
        (lambda g, r: 210 / r, "share that rules left out"),
        (lambda g, r: 30, "this is a count"),
        (lambda g, r: 100 * share(g, r), "in per cent"),
        (lambda g, r: 30 / (r - 277), "divides by what was kept"),
        (lambda g, r: 30 / 753, "takes the copies off"),
        (lambda g, r: 30 / 790, "right once"),
        (lambda g, r: [1.0, 2.0], "one number should come back"),
        (lambda g, r: 1 / 0, "ZeroDivisionError"),
        (lambda g, r: 0.5, "Divide the faulty rows"),
        ("text", "give the function itself"),
    ],
)
def test_a_wrong_share_gets_the_hint_that_fits(answer, hint):
    verdict = check_07_3(answer)
    assert verdict.startswith("Not yet")
    assert hint in verdict
