"""Answers to every exercise: right ones, and typical wrong ones with the hint that each gets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from helpers import exercises as checks

Wrong = tuple[Any, str]


@dataclass(frozen=True)
class Exercise:
    """One exercise: how an answer is judged, what is right, what is wrong and what it is told."""

    judge: Callable[[Any], str]
    right: tuple[Any, ...]
    wrong: tuple[Wrong, ...]
    stubs: tuple[Any, ...] = (None, ...)


def empty(*_: Any) -> None:
    """Stand for the untouched stub of an exercise that wants a function."""


def dots(*_: Any) -> Any:
    """Stand for the stub whose body is ``...``."""
    return ...


STUBS = (empty, dots)


# 00, 01: data


def norm(x, y, z):
    return np.linalg.norm((expit(z) - y) * np.append(x, 1))


def count(events, user_id, item_id, cutoff, days, *, by=("user_id", "item_id"), after=True, to=0):
    rows = events[(events.user_id == user_id) | ("user_id" not in by)]
    rows = rows[(rows.item_id == item_id) | ("item_id" not in by)]
    rows = rows[(rows.time >= cutoff - pd.Timedelta(days=days)) | (not after)]
    return int((rows.time < cutoff + pd.Timedelta(seconds=to)).sum())


def exchanged(events, user_id, item_id, cutoff, days):
    own = events[(events.user_id == user_id) & (events.item_id == item_id)].time
    return int(((own > cutoff - pd.Timedelta(days=days)) & (own <= cutoff)).sum())


def share(table, features):
    return table.label[(table.role == "train") & (features.user_item_events > 0)].mean()


LEAKS = [name for name, (leaks, _) in checks.LEAK_CANDIDATES.items() if leaks]


# 02: losses


def gradient(area, price, weight, bias):
    error = weight * area + bias - price
    return (error * area).mean(), error.mean()


def slope(y, z):
    return expit(z) - y


def left_out(area, price):
    errors = []
    for place in range(len(area)):
        rest = np.arange(len(area)) != place
        line = np.polyfit(area[rest], price[rest], 1)
        errors.append(np.polyval(line, area[place]) - price[place])
    return np.array(errors)


def suspect(area, price):
    return int(np.abs(left_out(area, price)).argmax())


def seen_errors(area, price):
    return np.abs(np.polyval(np.polyfit(area, price, 1), area) - price)


# 03, 04: models and scores


def masked_mean(vectors, ids):
    known = (ids != 0)[:, :, None]
    return (vectors * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def unrepeated_mean(vectors, ids):
    bags = []
    for bag, names in zip(vectors, ids, strict=True):
        first = [list(names).index(name) for name in sorted(set(names) - {0})]
        bags.append(bag[first].mean(axis=0) if first else np.zeros(vectors.shape[2]))
    return np.array(bags)


LABELS = np.array([0, 0, 1, 1, 0, 1.0])
MIXED = np.array([0.1, 0.2, 0.9, 0.15, 0.3, 0.8])


def norms(x, y, p):
    return np.abs(p - y) * np.sqrt((x**2).sum(axis=1) + 1)


def ten_rows():
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.arange(100, 160))
    return pd.DataFrame({"sample_id": ids, "loss": rng.random(60), "gradient_norm": rng.random(60)})


TABLE = ten_rows()
WORST = TABLE.nlargest(10, "loss")


@functools.cache
def own_model():
    """Return a model, a loss, rows, labels and the right norms, from the loop."""
    from helpers.backend import keras
    from helpers.gradients import naive_gradients

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)).astype("float32"), np.float32([0, 1, 1, 0, 1, 0])

    def loss(y, p):
        return 0.5 * (p[:, 0] - y) ** 2

    gradients = [naive_gradients(model, loss, x, y, row) for row in range(6)]
    return model, loss, x, y, [[float(np.sum(part**2)) for part in parts] for parts in gradients]


def squares_of_own_model():
    return np.array(own_model()[-1])


class Later(functools.partial):
    """An answer that needs the model: it is made when it is asked for."""


def judge_own_model(answer):
    norms = answer() if isinstance(answer, Later) else answer
    return checks.check_04_4(*own_model()[:4], norms)


# 05, 06: actions and metrics

STUDY = pd.DataFrame(
    {
        "data": ["as is", *["20% flipped"] * 3],
        "model": ["mlp", "mlp", "mlp", "logistic"],
        "action": ["uniform", "uniform", "drop", "uniform"],
        "auc": [0.9, 0.6, 0.7, 0.8],
    }
)


def dcg(labels, first=2):
    return (labels / np.log2(np.arange(first, len(labels) + first))).sum()


def ndcg(labels, scores, first=2):
    return dcg(labels[np.argsort(-scores)], first) / dcg(np.sort(labels)[::-1], first)


# 07: own data

FATES = {letter: fate for letter, (fate, _) in checks.FATES.items()}
SCHEMA = """
user_behavior:
  file: log.csv
  delimiter: ";"
  decimal: ","
  time_format: "%m/%d/%Y %H:%M"
  time_zone: America/New_York
  columns: {user_id: shopper, item_id: sku, event_time: when, event_type: what, price: cost}
  values:
    event_type: {see: impression, buy: purchase}
"""


def fault_share(gone, read):
    ruled = gone["kind"] == "rule"
    faults = gone["rows"][~ruled & (gone["kind"] != "copy")].sum()
    return faults / (read - gone["rows"][ruled].sum())


# 08: judging


def misclick(label, p, rate):
    slip = rate * (1 - p)
    return np.where(label == 1, slip / (slip + p), 0.0)


SUSPICION = np.random.default_rng(0).random(400)
MARKED = np.random.default_rng(1).random(400) < SUSPICION**2
FIRST = np.argsort(-SUSPICION)[:100]


EXERCISES: dict[str, Exercise] = {
    "check_00_1": Exercise(
        checks.check_00_1,
        (norm,),
        (
            (lambda x, y, z: (expit(z) - y) * np.append(x, 1), "one number"),
            (lambda x, y, z: abs(expit(z) - y) * np.linalg.norm(x), "bias is forgotten"),
            (lambda x, y, z: abs(z - y) * np.sqrt(x @ x + 1), "p = sigma"),
            (lambda x, y, z: norm(x, y, z) ** 2, "Take the root"),
            (lambda x, y, z: [norm(x, y, z)], "take the number out of its brackets"),
        ),
        STUBS,
    ),
    "check_01_1": Exercise(
        checks.check_01_1,
        (set(LEAKS), LEAKS, tuple(LEAKS), pd.Series(LEAKS), np.array(LEAKS), dict.fromkeys(LEAKS)),
        (
            ({"mailer place"}, "known in time"),
            ([*LEAKS, "week of the month"], "calendar"),
            (LEAKS[:2], "one column more leaks"),
            (dict.fromkeys(LEAKS, True) | {LEAKS[0]: False}, "one column more leaks"),
            ({"basket"}, "there is no column"),
        ),
        (None, ..., set(), []),
    ),
    "check_01_2": Exercise(
        checks.check_01_2,
        (count,),
        (
            (functools.partial(count, to=1), "use <, not <="),
            (functools.partial(count, to=10**9), "This is the leak"),
            (functools.partial(count, by=("user_id",)), "forgets the item"),
            (functools.partial(count, by=("item_id",)), "forgets the user"),
            (functools.partial(count, after=False), "how far to look back"),
            (exchanged, "borders are exchanged"),
            (lambda e, *a: count(e.assign(time=e.time.dt.normalize()), *a), "compare moments"),
            (lambda *a: str(count(*a)), "got str"),
            (lambda *a: 6, "written into"),
            (lambda e, *a: count(e.drop_duplicates(), *a), "equal events once"),
        ),
        STUBS,
    ),
    "check_01_3": Exercise(
        checks.check_01_3,
        (share,),
        (
            (lambda t, f: t.label[f.user_item_events > 0].mean(), "mixes all roles"),
            (lambda t, f: t.label[t.role == "train"].mean(), "Keep those with a history"),
            (lambda t, f: share(t.replace({"role": {"test": "train", "train": "x"}}), f), "test"),
            (lambda t, f: share(t.assign(label=1 - t.label), f), "share of negatives"),
            (lambda t, f: 100 * share(t, f), "per cent"),
        ),
        STUBS,
    ),
    "check_02_1": Exercise(
        checks.check_02_1,
        ("ADCB", "a > d > c > b", ["A", "D", "C", "B"], ("A", "D", "C", "B")),
        (
            ("BCDA", "turned round"),
            ("ABDC", "B is certain, and right"),
            ("DCAB", "Where does the label come in"),
            ("DCBA", "p = sigma(z)"),
            ("DBCA", "absolute value"),
            ("ADBC", "How wrong is the model"),
            ("ADC", "each of A, B, C and D once"),
            ("AADCB", "each of A, B, C and D once"),
        ),
        (None, ..., ""),
    ),
    "check_02_2": Exercise(
        checks.check_02_2,
        (gradient,),
        (
            (lambda *a: 2 * np.array(gradient(*a)), "the 1/2 of the loss"),
            (lambda *a: len(a[0]) * np.array(gradient(*a)), "divide by N"),
            (lambda *a: -np.array(gradient(*a)), "sign is turned"),
            (lambda *a: gradient(*a)[::-1], "swapped"),
            (lambda *a: [gradient(*a)[1]] * 2, "input is forgotten"),
            (lambda *a: np.array([gradient(*a)]).T, "flatten it to (2,)"),
            (lambda *a: np.array(gradient(*a)) * len(a[0]) / 5, "Is a number written into it?"),
            (lambda area, price, w, b: gradient(area, price, w, 0.0), "bias is missing"),
            (lambda area, price, w, b: gradient(area, price, 1.0, 0.0), "area for the prediction"),
        ),
        STUBS,
    ),
    "check_02_3": Exercise(
        checks.check_02_3,
        (slope,),
        (
            (lambda y, z: z - y, "probability first"),
            (lambda y, z: y - expit(z), "sign is turned"),
            (lambda y, z: slope(y, z) * expit(z) * expit(-z), "p (1 - p) cancels"),
            (lambda y, z: slope(y, z).mean(), "the mean over"),
            (lambda y, z: expit(-z) - y, "sign in the exponent"),
            (lambda y, z: slope(y, z)[::-1], "another order"),
            (lambda y, z: slope(y, z)[:, None], "flatten it to (4,)"),
            (lambda y, z: np.exp(z) / (1 + np.exp(z)) - y, "z = 1000"),
        ),
        STUBS,
    ),
    "check_02_4": Exercise(
        checks.check_02_4,
        (suspect,),
        (
            (lambda a, p: seen_errors(a, p).argmax(), "has seen the typo"),
            (
                lambda a, p: (seen_errors(a, p) * np.hypot(a, 1)).argmax(),
                "Which one does the line miss",
            ),
            (lambda a, p: suspect(a, p) + 1, "counted from 1"),
            (lambda a, p: np.abs(left_out(a, p)).max(), "Its place is asked for"),
            (lambda a, p: left_out(a, p).argmax(), "absolute value"),
            (lambda a, p: left_out(a, p).argmin(), "absolute value"),
            (lambda a, p: p.argmax(), "most expensive"),
            (lambda a, p: p.argmin(), "cheapest"),
            (lambda a, p: np.abs(a - a.mean()).argmax(), "unusual area"),
            (lambda a, p: np.abs(left_out(a, p)).argmin(), "smallest error"),
            (lambda a, p: left_out(a, p), "one place should come back"),
            (lambda a, p: a.argmax(), "Leave the house out|leave one house out|most expensive"),
        ),
        STUBS,
    ),
    "check_03_1": Exercise(
        checks.check_03_1,
        ("stays", " Stays "),
        (
            ("rises", "only for the order"),
            ("falls", "only for the order"),
            ("it depends", "answer with one of falls, rises, stays"),
        ),
    ),
    "check_03_2": Exercise(
        checks.check_03_2,
        (masked_mean,),
        (
            (lambda v, i: v.mean(axis=1), "plain mean"),
            (lambda v, i: (v * (i != 0)[:, :, None]).sum(axis=1), "this is the sum"),
            (lambda v, i: (v * (i != 0)[:, :, None]).mean(axis=1), "padding counts too"),
            (lambda v, i: v.mean(axis=2), "the bag is axis 1"),
            (lambda v, i: v.mean(axis=0), "axis 0 are the samples"),
            (unrepeated_mean, "repeated ids count once"),
            (lambda v, i: masked_mean(v, i).T, "axes are exchanged"),
            (
                lambda v, i: (v * (i != 0)[:, :, None]).sum(1) / (i != 0).sum(1, keepdims=True),
                "0 / 0",
            ),
        ),
        STUBS,
    ),
    "check_03_3": Exercise(
        lambda answer: checks.check_03_3(answer, LABELS, 0.6),
        (MIXED, MIXED.tolist(), pd.Series(MIXED, index=range(6, 0, -1)), np.exp(MIXED)),
        (
            (LABELS, "labels themselves"),
            (3 * LABELS - 1, "labels themselves"),
            (-MIXED, "turned round"),
            (np.zeros(6), "does not beat"),
            (MIXED[:, None], "flatten"),
            (MIXED[:5], "6 numbers are wanted"),
        ),
    ),
    "check_04_1": Exercise(
        checks.check_04_1,
        ("unusual",),
        (
            ("plain", "Which x is longer"),
            ("same", "input is a factor"),
            ("both", "answer with one"),
        ),
    ),
    "check_04_2": Exercise(
        checks.check_04_2,
        (norms,),
        (
            (lambda x, y, p: np.abs(p - y) * np.linalg.norm(x, axis=1), "bias is forgotten"),
            (lambda x, y, p: norms(x, y, p) ** 2, "squared norm"),
            (lambda x, y, p: np.abs(p - y) * ((x**2).sum(1) + 1), "root is missing"),
            (lambda x, y, p: np.abs(p - y) * (np.sqrt((x**2).sum(1)) + 1), "not after it"),
            (lambda x, y, p: np.abs(p - y), "error alone"),
            (lambda x, y, p: norms(x, y, p) / len(y), "divided by N"),
            (lambda x, y, p: norms(x, y, p)[::-1], "another order"),
            (lambda x, y, p: norms(x, y, p) * len(y) / 5, "Is a number written into it?"),
            (lambda x, y, p: norms(x, y, p)[:, None], "flatten"),
            (
                lambda x, y, p: np.linalg.norm((p - y)[:, None] * np.c_[x, np.ones(5)], axis=0),
                "wrong axis",
            ),
        ),
        STUBS,
    ),
    "check_04_3": Exercise(
        lambda answer: checks.check_04_3(answer, TABLE),
        (WORST.sample_id, list(WORST.sample_id)[::-1], set(WORST.sample_id), [[*WORST.sample_id]]),
        (
            (TABLE.nsmallest(10, "loss").sample_id, "turned round"),
            (TABLE.nlargest(10, "gradient_norm").sample_id, "gradient norms"),
            (WORST, "column sample_id is wanted"),
            (WORST.index, "places in the table"),
            (WORST.loss, "Are these the losses"),
            (TABLE.loss > 0.8, "this is a mask"),
            (TABLE.sample_id[:10], "first ten rows"),
            (WORST.sample_id[:9], "ten different ids"),
            (WORST.sample_id + 0.5, "whole numbers"),
            ([*WORST.sample_id[:9], 999], "9 of ten are right"),
        ),
    ),
    "check_04_4": Exercise(
        judge_own_model,
        (Later(lambda: np.sqrt(squares_of_own_model().sum(axis=1))),),
        (
            (Later(lambda: squares_of_own_model().sum(axis=1)), "take the root"),
            (Later(lambda: np.sqrt(squares_of_own_model()).sum(axis=1)), "lengths added up"),
            (
                Later(lambda: np.sqrt(squares_of_own_model()[:, ::2].sum(axis=1))),
                "biases are left out",
            ),
            (Later(lambda: np.sqrt(squares_of_own_model().sum(axis=1))[::-1]), "another order"),
            (Later(lambda: np.sqrt(squares_of_own_model().sum(axis=1)) / 6), "divided by N"),
            (Later(lambda: np.sqrt(squares_of_own_model().sum(axis=1))[:, None]), "flatten"),
            (Later(lambda: [str(n) for n in range(6)]), "got text"),
        ),
        (None, ..., Later(empty)),
    ),
    "check_05_1": Exercise(
        checks.check_05_1,
        ("hurts",),
        (
            ("helps", "Whose weight grows"),
            ("nothing", "Something must happen"),
            ("a little", "answer with one of"),
        ),
    ),
    "check_05_2": Exercise(
        checks.check_05_2,
        (lambda chance: 1 / (len(chance) * chance),),
        (
            (lambda chance: 1 / chance, "1/N is forgotten"),
            (lambda chance: len(chance) * chance, "N p"),
            (lambda chance: np.ones(len(chance)), "plain resampling"),
            (lambda chance: chance, "p itself"),
            (lambda chance: (1 / chance) / (1 / chance).mean(), "scaled to average 1"),
            (lambda chance: (1 / (len(chance) * chance))[::-1], "another order"),
            (lambda chance: 1 / (len(chance) * chance[:, None]), "flatten"),
            (lambda chance: 1 / (4 * chance), "Is a number written into it?"),
        ),
        STUBS,
    ),
    "check_05_3": Exercise(
        lambda answer: checks.check_05_3(answer, STUDY),
        ("drop", " drop "),
        (
            ("uniform", "another action has 0.7000"),
            ("nonsense", "as it stands in the table"),
            (["drop"], "take the name itself out"),
            (7, "as it stands in the table"),
        ),
    ),
    "check_06_1": Exercise(
        checks.check_06_1,
        ([7 / 10, 3 / 4, 3 / 5, 2 / 3], np.array([7 / 10, 3 / 4, 3 / 5, 2 / 3])),
        (
            ([0.7, 0.6, 0.75, 2 / 3], "swapped"),
            ([0.7, 0.75, 0.6, 0.675], "harmonic"),
            ([0.8, 0.75, 0.6, 2 / 3], "accuracy"),
            ([70, 75, 60, 200 / 3], "per cents"),
            ([7, 3, 3, 2], "counts"),
            ([0.7, 0.75, 0.6, 0.667], "fractions"),
            (["0.7", "0.75", "0.6", "0.67"], "got text"),
            ({"accuracy": 0.7}, "got dict"),
        ),
    ),
    "check_06_2": Exercise(
        checks.check_06_2,
        (ndcg,),
        (
            (lambda y, s: dcg(y[np.argsort(-s)]), "divide by the DCG"),
            (lambda y, s: ndcg(y, -s), "turned round"),
            (lambda y, s: dcg(y) / dcg(np.sort(y)[::-1]), "not sorted"),
            (functools.partial(ndcg, first=3), "off by one"),
            (lambda y, s: dcg(y[np.argsort(-s)]) / y.sum(), "number of positives"),
            (lambda y, s: dcg(y[np.argsort(-s)]) / dcg(np.ones(len(y))), "all discounts"),
            (lambda y, s: [ndcg(y, s)], "out of its brackets"),
            (
                lambda y, s: ndcg(np.array([0, 1, 0, 1, 0]), np.array([7, 9, 1, 3, 5])),
                "highest|1 /",
            ),
        ),
        STUBS,
    ),
    "check_06_3": Exercise(
        lambda answer: checks.check_06_3(answer, -0.1, 0.2),
        ("cannot tell", "Cannot tell"),
        (
            ("better", "Where does 0 lie"),
            ("worse", "Where does 0 lie"),
            ("no effect", "answer with one of"),
        ),
    ),
    "check_07_1": Exercise(
        checks.check_07_1,
        (FATES, pd.Series(FATES), {k.lower(): f" {v.upper()} " for k, v in FATES.items()}),
        (
            (FATES | {"B": "faulty"}, "cancelled ticket"),
            (FATES | {"E": "kept"}, "repeats line A"),
            (FATES | {"F": "faulty"}, "Nobody asks any more"),
            ({"A": "kept"}, "missing"),
            (list(FATES.values()), "give a dict"),
        ),
        (None, ..., {}),
    ),
    "check_07_2": Exercise(
        checks.check_07_2,
        (SCHEMA,),
        (
            (SCHEMA.replace("%m/%d", "%d/%m"), "The month comes first"),
            (
                SCHEMA.replace("see: impression, buy: purchase", "see: purchase, buy: impression"),
                "see",
            ),
            (SCHEMA.replace("user_id: shopper", "shopper: user_id"), "stands left"),
            (SCHEMA.replace("America/New_York", "Europe/Madrid"), "clock of New York"),
            (SCHEMA.encode(), "one text"),
        ),
        (None, ..., "", "\n"),
    ),
    "check_07_3": Exercise(
        checks.check_07_3,
        (fault_share,),
        (
            (lambda g, r: fault_share(g, r) * 0.79, "divides by all rows"),
            (lambda g, r: g["rows"].sum() / r, "everything that is gone"),
            (lambda g, r: 100 * fault_share(g, r), "per cent"),
            (lambda g, r: 30, "this is a count"),
            (lambda g, r: 30 / 790, "right once"),
            (lambda g, r: str(fault_share(g, r)), "got str"),
        ),
        STUBS,
    ),
    "check_08_1": Exercise(
        checks.check_08_1,
        ("user", " User "),
        (
            ("row", "many"),
            ("pull", "one row at a time"),
            ("label", "every click"),
            ("bot", "answer with one of"),
        ),
    ),
    "check_08_2": Exercise(
        checks.check_08_2,
        (misclick,),
        (
            (lambda y, p, r: r * (1 - p) / (r * (1 - p) + p), "cannot be a misclick"),
            (lambda y, p, r: y * r * (1 - p), "before anybody looked"),
            (lambda y, p, r: y * r / (r + p), "is forgotten"),
            (lambda y, p, r: y * r * (1 - p) / (r * (1 - p) + (1 - r) * p), "rule for flips"),
            (lambda y, p, r: y * r * p / (r * p + 1 - p), "swapped"),
            (lambda y, p, r: y * (1 - p), "the order is right"),
            (lambda y, p, r: misclick(y, p, r)[:, None], "flatten"),
            (lambda y, p, r: misclick(y, p, 0.05), "whatever r is"),
            (lambda y, p, r: y * p / (r * (1 - p) + p), "click is genuine"),
            (lambda y, p, r: misclick(y, p, r) + (1 - y) * p, "cannot be a misclick"),
        ),
        STUBS,
    ),
    "check_08_3": Exercise(
        lambda answer: checks.check_08_3(answer, SUSPICION, MARKED),
        (MARKED[FIRST].mean(), float(MARKED[FIRST].mean())),
        (
            (MARKED[np.argsort(SUSPICION)[:100]].mean(), "sort the other way"),
            (MARKED.mean(), "among all rows"),
            (MARKED[FIRST].sum(), "divide by 100"),
            (MARKED[FIRST].sum() / MARKED.sum(), "recall"),
            (1 - MARKED[FIRST].mean(), "right, not wrong"),
            (str(MARKED[FIRST].mean()), "got str"),
            ([MARKED[FIRST].mean()] * 2, "one number"),
        ),
    ),
}
