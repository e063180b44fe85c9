"""The checks of notebooks 00 and 01: right answers pass, and each mistake gets its own hint."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from helpers.exercises import LEAK_CANDIDATES, check_00_1, check_01_1, check_01_2, check_01_3, data

LEAKS = {name for name, (leaks, _) in LEAK_CANDIDATES.items() if leaks}
FUNCTIONS = [check_00_1, check_01_2, check_01_3]


def norm(x, y, z):
    return np.linalg.norm((expit(z) - y) * np.array([*x, 1]))


def count(
    events, user_id, item_id, cutoff, days, *, by=("user_id", "item_id"), last="<", first=">="
):
    rows = events[events.user_id == user_id] if "user_id" in by else events
    rows = rows[rows.item_id == item_id] if "item_id" in by else rows
    since = cutoff - pd.Timedelta(days=days)
    rows = rows[rows.time >= since] if first == ">=" else rows
    rows = rows[rows.time > since] if first == ">" else rows
    if last == "<":
        rows = rows[rows.time < cutoff]
    elif last == "<=":
        rows = rows[rows.time <= cutoff]
    elif last == "day":
        rows = rows[rows.time < cutoff + pd.Timedelta(days=1)]
    elif last == "after":
        rows = rows[rows.time >= cutoff]
    return len(rows)


def share(table, features):
    joined = table.join(features)
    return joined.query("role == 'train' and user_item_events > 0").label.mean()


def known(table, features):
    return table[(table.role == "train") & (features.user_item_events > 0)]


def test_right_answers_are_correct_in_whatever_form_they_come():
    for answer in (norm, lambda *a: float(norm(*a)), lambda *a: np.array(norm(*a))):
        assert check_00_1(answer).startswith("Correct")
    for answer in (LEAKS, sorted(LEAKS), {n.upper() for n in LEAKS}, dict.fromkeys(LEAKS)):
        assert check_01_1(answer).startswith("Correct")
    for answer in (count, lambda *a: np.int64(count(*a)), lambda *a: float(count(*a))):
        assert check_01_2(answer).startswith("Correct")
    for answer in (share, lambda t, f: known(t, f).label.sum() / len(known(t, f))):
        assert check_01_3(answer).startswith("Correct")


@pytest.mark.parametrize("check", FUNCTIONS)
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_stubs_are_still_empty(check, stub):
    assert check(stub).startswith("Still empty")


@pytest.mark.parametrize("stub", [None, ..., set(), []])
def test_an_empty_list_of_leaks_is_still_empty(stub):
    assert check_01_1(stub).startswith("Still empty")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda x, y, z: (expit(z) - y) * np.append(x, 1), "one number"),
        (lambda x, y, z: abs(expit(z) - y) * np.linalg.norm(x), "bias is forgotten"),
        (lambda x, y, z: (expit(z) - y) * np.sqrt(x @ x + 1), "never negative"),
        (lambda x, y, z: abs(z - y) * np.sqrt(x @ x + 1), "p = sigma"),
        (lambda x, y, z: abs(expit(z) - y), "surprise alone"),
        (lambda x, y, z: np.sqrt(x @ x + 1), "leverage alone"),
        (lambda x, y, z: norm(x, y, z) ** 2, "square of the norm"),
        (lambda x, y, z: abs(expit(z) - y) * (x @ x + 1), "root is missing"),
        (lambda x, y, z: np.abs((expit(z) - y) * np.append(x, 1)).sum(), "adds up the sizes"),
        (lambda x, y, z: x, r"shape is (3,)"),
        (lambda x, y, z: 2 * norm(x, y, z), "0.6078"),
    ],
)
def test_each_wrong_norm_gets_the_hint_that_fits(answer, hint):
    verdict = check_00_1(answer)
    assert verdict.startswith("Not yet")
    assert hint in verdict


def test_the_hint_of_the_norm_is_true():
    assert norm((3, 4), 1, 0) == pytest.approx(np.sqrt(26) / 2)


@pytest.mark.parametrize("name", sorted(set(LEAK_CANDIDATES) - LEAKS))
def test_an_honest_column_named_as_a_leak_is_explained(name):
    verdict = check_01_1(LEAKS | {name})
    assert verdict == f'Not yet: "{name}" {LEAK_CANDIDATES[name][1]}'


@pytest.mark.parametrize("name", sorted(LEAKS))
def test_a_missed_leak_is_counted_but_not_named(name):
    verdict = check_01_1(LEAKS - {name})
    assert "one column more leaks" in verdict
    assert name not in verdict
    assert "2 columns more leak" in check_01_1({name})


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ({"basket"}, 'no column "basket"'),
        ("basket size", "curly brackets"),
        (3, "curly brackets"),
        (lambda: 1, "curly brackets"),
    ],
)
def test_an_answer_that_is_no_set_of_columns_says_what_is_wanted(answer, hint):
    assert hint in check_01_1(answer)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"last": "<="}, "on the cutoff itself"),
        ({"last": "day"}, "on the cutoff itself"),
        ({"last": ""}, "This is the leak"),
        ({"last": "after", "first": ""}, "Look back, not ahead"),
        ({"first": ""}, "how far to look back"),
        ({"first": "", "last": ""}, "whenever it was"),
        ({"by": ("user_id",)}, "forgets the item"),
        ({"by": ("item_id",)}, "forgets the user:"),
        ({"by": ()}, "the user and the item"),
        ({"first": ">"}, "from cutoff - days on"),
    ],
)
def test_each_wrong_count_gets_the_hint_that_fits(options, hint):
    verdict = check_01_2(lambda *a: count(*a, **options))
    assert verdict.startswith("Not yet")
    assert hint in verdict


def test_a_count_with_a_constant_written_into_it_is_found():
    fixed = pd.Timestamp("2024-03-04")
    for answer in (
        lambda e, u, i, c, d: count(e, u, i, c, 28),
        lambda e, u, i, c, d: count(e, u, i, fixed, d),
        lambda e, u, i, c, d: count(e, 1, i, c, d),
        lambda e, u, i, c, d: count(e, u, "tea", c, d),
        lambda *_: 6,
    ):
        assert "written into the function" in check_01_2(answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda t, f: t.label[(t.role == "test") & (f.user_item_events > 0)].mean(), "role test"),
        (lambda t, f: t.label[(t.role == "valid") & (f.user_item_events > 0)].mean(), "on valid"),
        (lambda t, f: t.label[f.user_item_events > 0].mean(), "mixes all roles"),
        (lambda t, f: t.label[t.role == "train"].mean(), "over all training"),
        (lambda t, f: known(t, f).label.sum() / (t.role == "train").sum(), "all training samples"),
        (lambda t, f: known(t, f).label.sum() / len(t), "divides by all samples"),
        (
            lambda t, f: known(t, f).label.sum() / t.label[t.role == "train"].sum(),
            "Turn it around",
        ),
        (lambda t, f: len(known(t, f)) / (t.role == "train").sum(), "How many of them"),
        (
            lambda t, f: t.label[(t.role == "train") & (f.user_item_events == 0)].mean(),
            "without a history",
        ),
        (lambda t, f: known(t, f).label.sum(), "this is a count"),
        (lambda t, f: 1 - known(t, f).label.mean(), "share of negatives"),
        (lambda t, f: 100 * known(t, f).label.mean(), "per cent"),
        (
            lambda t, f: t.label[(t.role == "train") & (f.user_item_events > 1)].mean(),
            "exactly one event",
        ),
        (lambda t, f: 0.5, "take the mean of their labels"),
        (lambda t, f: t.label, "one number"),
    ],
)
def test_each_wrong_share_gets_the_hint_that_fits(answer, hint):
    verdict = check_01_3(answer)
    assert verdict.startswith("Not yet")
    assert hint in verdict


def test_no_two_mistakes_give_the_same_number():
    counts = data._wrong_counts(data._diary(), pd.Timestamp("2024-03-04"))
    shares = data._wrong_shares(*data._small_samples())
    for found, right in ((counts, 6.0), (shares, 7 / 11)):
        values = [round(float(v), 9) for v in found.values()]
        assert len({*values, right}) == len(values) + 1


@pytest.mark.parametrize("check", [*FUNCTIONS, check_01_1])
@pytest.mark.parametrize(
    "answer",
    [
        3.0,
        "text",
        lambda: 1,
        lambda *_: "text",
        lambda *_: 1 / 0,
        lambda *_: [[1], [2, 3]],
        lambda *_: np.nan,
        lambda *_: 1 + 2j,
        (1 / n for n in (1, 0)),
    ],
)
def test_checks_never_raise(check, answer):
    assert check(answer).startswith("Not yet")


def test_an_answer_that_changes_its_inputs_changes_no_verdict():
    def careless(table, features):
        result = share(table, features)
        table["label"] = 0
        return result

    assert check_01_3(careless).startswith("Correct")
    assert check_01_3(careless).startswith("Correct")
