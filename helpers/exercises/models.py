"""Self-checks of the exercises of notebooks 03 to 06, in the manner of :mod:`helpers.exercises`.

Exercise 4 of notebook 04 stands in :mod:`helpers.exercises.own_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from helpers.actions import importance_sampling
from helpers.evaluation import roc_auc
from helpers.evaluation.ranking import ndcg_at_k
from helpers.exercises.probing import fault_elsewhere, probe
from helpers.exercises.verdicts import (
    STILL_EMPTY,
    choice,
    matching_hint,
    never_raises,
    not_yet,
    result_of,
    same,
    shape_fault,
    untouched,
    vector,
)

__all__ = [
    "check_03_1",
    "check_03_2",
    "check_03_3",
    "check_04_1",
    "check_04_2",
    "check_04_3",
    "check_05_1",
    "check_05_2",
    "check_05_3",
    "check_06_1",
    "check_06_2",
    "check_06_3",
]


@never_raises
def check_03_1(answer: str | None) -> str:
    """Judge what a change of scale does to the AUC.

    Example:
        >>> check_03_1("stays")[:7]
        'Correct'
    """
    hints = dict.fromkeys(["rises", "falls"], "the AUC asks only for the order. Did it change?")
    return choice(answer, "stays", hints, "the order is the same, so the AUC is.")


@never_raises
def check_03_2(answer: Callable[..., Any]) -> str:
    """Judge ``masked_mean(vectors, ids)``, the mean over the ids that are not 0."""
    rng = np.random.default_rng(3)
    vectors, ids = rng.normal(size=(3, 4, 2)), np.array([[5, 0, 5, 2], [0, 1, 7, 0], [0, 0, 0, 0]])
    known, right = (ids != 0)[:, :, None], _masked_mean(vectors, ids)
    first_time = known & np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]], bool)[:, :, None]
    got = result_of(answer, vectors, ids)
    if isinstance(got, str):
        return got
    mistakes = {
        "padding counts too: this divides by k, not by the number of known items.": (
            (vectors * known).mean(axis=1)
        ),
        "this divides by the known items of all bags together: count in each bag, axis 1.": (
            (vectors * known).sum(axis=1) / known.sum()
        ),
        "this is the plain mean; ids of 0 are padding and must not count.": vectors.mean(axis=1),
        "this is the sum; divide by the number of known items.": (vectors * known).sum(axis=1),
        "this averages over the wrong axis: the bag is axis 1.": vectors.mean(axis=2),
        "this averages over the wrong axis: axis 0 are the samples.": vectors.mean(axis=0),
        "repeated ids count once here. A product that was taken twice counts twice.": (
            (vectors * first_time).sum(axis=1) / np.maximum(first_time.sum(axis=1), 1)
        ),
    }
    if hint := matching_hint(got, mistakes):
        return not_yet(hint)
    if fault := shape_fault(got, right.shape):
        return not_yet(f"shape {right.shape} should come back, (B, d); {fault}")
    if np.isnan(got[2]).all() and same(got[:2], right[:2]):
        return not_yet("a bag without any item gives NaN: 0 / 0. It should give zeros.")
    if same(got, right):
        few = vectors[:, :3, :1], ids[:, :3]  # bags, places and numbers of another count
        fault = fault_elsewhere(answer, _masked_mean, *few)
        return fault or "Correct: repeats count, padding does not, and an empty bag gives zeros."
    rule = "multiply by the mask, sum over the bag, divide by how many ids are not 0."
    return probe(answer, _masked_mean, vectors, ids, rule=rule)


def _masked_mean(vectors: NDArray, ids: NDArray) -> NDArray:
    known = (ids != 0)[:, :, None]
    return (vectors * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


#: A rule without training that orders more rows than this without a fault has seen the labels.
_TOO_MANY_FOR_LUCK = 50


@never_raises
def check_03_3(
    answer: ArrayLike | None, labels: NDArray, best_rule: float, raw: pd.DataFrame | None = None
) -> str:
    """Judge a mixed rule: its AUC on these labels must beat ``best_rule``.

    Args:
        answer: one score per row.
        labels: shape ``(n,)``.
        best_rule: AUC of the better rule alone.
        raw: the rows' columns ``item_events_28d`` and ``user_item_events``; then rows that are
            equal in both must have one score.
    """
    got = vector(answer, len(labels))
    if isinstance(got, str):
        return got
    labels = np.asarray(labels)
    auc = roc_auc(labels, got)
    if abs(auc - 0.5) == 0.5 and (len(np.unique(got)) <= 2 or len(got) > _TOO_MANY_FOR_LUCK):
        return not_yet("these are the labels themselves, or made of them; nobody has them in time.")
    if auc > best_rule and raw is not None:
        keys = [np.asarray(raw[name]) for name in ("item_events_28d", "user_item_events")]
        groups = pd.Series(got).groupby(keys, dropna=False)
        if (groups.transform("max") - groups.transform("min")).max() > 1e-6 * np.ptp(got):
            return not_yet(
                "rows that are equal in both columns get different scores here. Is another column "
                "in it, a trained model, or the label?"
            )
    if auc > best_rule:
        return f"Correct: AUC {auc:.3f} beats the better rule's {best_rule:.3f}, without training."
    if auc < 0.45:
        return not_yet(f"AUC {auc:.3f} is below a coin: is the order turned round?")
    return not_yet(
        f"AUC {auc:.3f} does not beat {best_rule:.3f}. Counts are skewed: put both on a "
        "logarithmic scale and let what the user took before weigh more."
    )


@never_raises
def check_04_1(answer: str | None) -> str:
    """Judge which of two rows has the longer gradient: same error, other features."""
    hints = {
        "plain": "both errors are 0.5; the norm also holds sqrt(||x||^2 + 1). Which x is longer?",
        "same": "equal errors do not make equal gradients: the input is a factor too.",
    }
    return choice(answer, "unusual", hints, "equal surprise, more leverage.")


@never_raises
def check_04_2(answer: Callable[..., Any]) -> str:
    """Judge ``norms(x, y, p)``: a one-unit model's per-sample gradient norms, bias included."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5, 3)), np.array([0, 1, 1, 0, 1.0])
    p = rng.uniform(0.1, 0.9, 5)
    gradients = (p - y)[:, None] * np.hstack([x, np.ones((5, 1))])
    right = _norms(x, y, p)
    got = result_of(answer, x, y, p)
    if isinstance(got, str):
        return got
    mistakes = {
        "the bias is forgotten: its input is 1, so add 1 to ||x||^2.": (
            np.abs(p - y) * np.linalg.norm(x, axis=1)
        ),
        "this is the squared norm; take the root.": right**2,
        "the norm runs over the wrong axis: one number per sample, axis=1.": (
            np.linalg.norm(gradients, axis=0)
        ),
        "this is the error alone; multiply by the leverage sqrt(||x||^2 + 1).": np.abs(p - y),
        "a norm is never negative: take |p - y|.": ((p - y) * np.sqrt((x**2).sum(axis=1) + 1)),
        "this is the norm of the mean gradient: one number for the whole batch.": np.asarray(
            np.linalg.norm(gradients.mean(axis=0))
        ),
        "this is divided by N; one sample's gradient knows nothing of the others.": right / 5,
        "the root is missing: leverage is sqrt(||x||^2 + 1).": (
            np.abs(p - y) * ((x**2).sum(axis=1) + 1)
        ),
        "the bias adds 1 under the root, not after it.": (
            np.abs(p - y) * (np.linalg.norm(x, axis=1) + 1)
        ),
    }
    if hint := matching_hint(got, mistakes, right):
        return not_yet(hint)
    if fault := shape_fault(got, right.shape):
        return not_yet(f"shape {right.shape} should come back, one norm per sample; {fault}")
    if same(np.abs(got), right) and (got < 0).any():
        return not_yet("a norm is never negative: take |p - y|.")
    if same(got, right):
        fault = fault_elsewhere(answer, _norms, x[:3, :2], y[:3], p[:3])
        return fault or "Correct: surprise times leverage, the bias included."
    rule = "multiply |p - y| by sqrt(||x||^2 + 1), row by row."
    return probe(answer, _norms, x, y, p, rule=rule)


def _norms(x: NDArray, y: NDArray, p: NDArray) -> NDArray:
    return np.abs(p - y) * np.sqrt((x**2).sum(axis=1) + 1)


@never_raises
def check_04_3(answer: ArrayLike | None, table: Any) -> str:
    """Judge the places of the ten rows with the highest loss."""
    if untouched(answer):
        return STILL_EMPTY
    if isinstance(answer, pd.DataFrame) and answer.shape[1] == 1:
        answer = answer.iloc[:, 0]
    if isinstance(answer, pd.DataFrame):
        return not_yet("this is a whole table; its column sample_id is wanted.")
    got = _as_ids(answer)
    if isinstance(got, str):
        return not_yet(got)
    losses = table.set_index("sample_id").loss
    right = set(table.nlargest(10, "loss").sample_id)
    hints = {
        "these are the lowest losses; the order is turned round.": table.nsmallest(10, "loss"),
        "these are the highest gradient norms; the loss is asked for.": (
            table.nlargest(10, "gradient_norm")
        ),
        "these are the first ten rows of the table. Sort it first.": table.head(10),
        "these are the last ten rows of the table. Sort it first.": table.tail(10),
    }
    worst = losses.loc[list(right)].min()  # rows of equal loss may stand for each other
    if len(got) == 10 and got <= set(losses.index) and losses.loc[list(got)].min() >= worst:
        return "Correct: these ten rows fit worst."
    for hint, rows in hints.items():
        if got == set(rows.sample_id):
            return not_yet(hint)
    if got == set(table.nlargest(10, "loss").index):
        return not_yet("these are places in the table; the column sample_id is asked for.")
    if len(got) != 10:
        return not_yet(f"ten different ids are wanted; got {len(got)}.")
    return not_yet(f"{len(got & right)} of ten are right. Sort by the column loss, highest first.")


def _as_ids(answer: Any) -> set[int] | str:
    """Return the sample ids, or what the answer is instead of ids."""
    if isinstance(answer, str | bytes | Mapping | Iterator):
        return f"ten sample ids are wanted, in a list; got {type(answer).__name__}."
    values = np.ravel(np.asarray(list(answer) if isinstance(answer, set | frozenset) else answer))
    if values.dtype.kind == "b":
        return "this is a mask, one yes or no per row. The ids of its rows are wanted."
    if values.dtype.kind == "O":
        values = np.array(values.tolist())
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return "ids are whole numbers; here one is NaN or infinite."
    if values.dtype.kind == "f" and (values % 1 != 0).any():
        return "ids are whole numbers. Are these the losses? The column sample_id is asked for."
    if values.dtype.kind not in "iuf":
        return f"ten sample ids are wanted; got {type(answer).__name__}."
    return {int(value) for value in values}


@never_raises
def check_05_1(answer: str | None) -> str:
    """Judge what up-weighting by gradient norm does when labels are wrong."""
    hints = {
        "helps": "a wrong label makes a large error, so a long gradient. Whose weight grows?",
        "nothing": "the weights differ by far more than a factor of ten. Something must happen.",
    }
    return choice(answer, "hurts", hints, "wrong labels pull hardest, and now they weigh more.")


@never_raises
def check_05_2(answer: Callable[..., Any]) -> str:
    """Judge ``weights(chance)``: what makes importance sampling unbiased."""
    scores = np.array([1.0, 2.0, 5.0, 2.5])
    plan = importance_sampling(scores, mix=0.0)
    chance = np.asarray(plan.chance)
    got = result_of(answer, chance)
    if isinstance(got, str):
        return got
    mistakes = {
        "the 1/N is forgotten: the weights should average 1 under the draw.": 1 / chance,
        "this is N p: rows that are drawn often must count less, not more.": 4 * chance,
        "this is p itself: then frequent rows count twice over.": chance,
        "weights of 1 are plain resampling: the objective changes.": np.ones(4),
        "these weights are scaled to average 1 over the rows. The draw decides what averages 1.": (
            4 / chance / (1 / chance).sum()
        ),
    }
    if hint := matching_hint(got, mistakes, plan.weight):
        return not_yet(hint)
    if fault := shape_fault(got, (4,)):
        return not_yet(f"one weight per row should come back; {fault}")
    if same(got, plan.weight):
        fault = fault_elsewhere(answer, _draw_weights, np.array([0.2, 0.8]))
        return fault or "Correct: 1 / (N p). Under the draw every row counts as much as before."
    rule = "for every row, p_i times w_i must be 1/N. Solve for w_i."
    return probe(answer, _draw_weights, plan.chance, rule=rule)


def _draw_weights(chance: NDArray) -> NDArray:
    return 1 / (len(chance) * chance)


@never_raises
def check_05_3(answer: Any, study: Any) -> str:
    """Judge the name of the best action on the noisy data for the network."""
    if untouched(answer):
        return STILL_EMPTY
    from helpers.experiments.study import REFERENCES  # loads TensorFlow

    if np.ndim(answer) and np.size(answer) == 1:
        return not_yet("take the name itself out, with .iloc[0] or .item().")
    if not isinstance(answer, str):
        return not_yet(f"give the action's name as it stands in the table; got {answer!r:.40}.")
    answer = answer.strip()
    noisy = study[(study.data != "as is") & (study.model == "mlp")]
    able = noisy[~noisy.action.isin(REFERENCES)]
    best = able.loc[able.auc.idxmax(), "action"]
    at = noisy.set_index("action").auc
    if answer in set(able.action) and at[answer] >= at[best]:
        return f"Correct: {answer}."
    if answer in REFERENCES:
        return not_yet(f"{answer} is a line to compare with; nobody can choose it.")
    if answer in set(noisy.action):
        return not_yet(f"{answer} has {at[answer]:.4f}; another action has {at[best]:.4f}.")
    return not_yet(f"give the action's name as it stands in the table; got {answer!r:.40}.")


@never_raises
def check_06_1(answer: ArrayLike | None) -> str:
    """Judge accuracy, precision, recall and F1 of 3 TP, 1 FP, 2 FN, 4 TN."""
    got = vector(answer, 4)
    if isinstance(got, str):
        return got
    right = np.array([7 / 10, 3 / 4, 3 / 5, 2 / 3])
    if same(got, right):
        return "Correct: 7/10, 3/4, 3/5 and their harmonic mean 2/3."
    if same(got[[0, 2, 1, 3]], right):
        return not_yet("precision and recall are swapped. Precision divides by what was predicted.")
    if same(got, np.array([7 / 10, 3 / 4, 3 / 5, (3 / 4 + 3 / 5) / 2])):
        return not_yet("F1 is the harmonic mean 2PR / (P + R), not the plain mean.")
    if np.abs(got - 100 * right).max() < 1:
        return not_yet("these are per cents. Give shares between 0 and 1.")
    if same(got, np.array([7, 3, 3, 2.0])):
        return not_yet("these are counts. Divide each by its total.")
    names = ["accuracy", "precision", "recall", "F1"]
    wrong = [n for n, g, r in zip(names, got, right, strict=True) if abs(g - r) > 6e-3]
    if not wrong:
        return not_yet("nearly: give fractions such as 2 / 3, not rounded numbers.")
    return not_yet(f"look again at {', '.join(wrong)}.")


@never_raises
def check_06_2(answer: Callable[..., Any]) -> str:
    """Judge ``dcg_ratio(labels, scores)``: NDCG of one list without ties."""
    for labels, scores in _lists_without_ties():
        got = result_of(answer, labels, scores)
        if isinstance(got, str):
            return got
        right = np.asarray(_ndcg(labels, scores))
        wrong = {hint: w for hint, w in _wrong_ratios(labels, scores).items() if not same(w, right)}
        if hint := matching_hint(got, wrong):
            return not_yet(hint)
        if fault := shape_fault(got, ()):
            return not_yet(f"one number should come back; {fault}")
        if not same(got, right):
            rule = "place r (from 1) counts 1 / log2(r + 1); sort the labels by falling score."
            return probe(answer, _ndcg, labels, scores, rule=rule)
    return "Correct: gain of your order over gain of the best order."


def _ndcg(labels: NDArray, scores: NDArray) -> float:
    return ndcg_at_k(labels, scores, np.zeros(len(labels), int), k=len(labels)).value


def _lists_without_ties() -> list[tuple[NDArray, NDArray]]:
    return [
        (np.array([0, 1, 0, 1, 0.0]), np.array([0.7, 0.9, 0.1, 0.3, 0.5])),
        (np.array([1, 0, 0, 1, 1, 0.0]), np.array([-1.0, 2.0, 0.5, 1.0, -3.0, -2.0])),
    ]


def _wrong_ratios(labels: NDArray, scores: NDArray) -> dict[str, NDArray]:
    """Return what the usual mistakes of the NDCG give, by their hint."""
    discount = 1 / np.log2(np.arange(2, len(labels) + 2))
    later = 1 / np.log2(np.arange(3, len(labels) + 3))
    by_place = 1 / np.arange(1, len(labels) + 1)
    rows = np.argsort(-scores)
    ranked, upward = labels[rows], labels[np.argsort(scores)]
    best = np.sort(labels)[::-1]
    three = discount[:3].sum() if labels.sum() != 3 else discount[:2].sum()
    ratios = {
        "the best order has as many gains on top as there are positives; count them.": (
            ranked @ discount / three
        ),
        "argsort gives rows in their order, not the place of each row.": (
            labels @ (1 / np.log2(rows + 2)) / (best @ discount)
        ),
        "this is the DCG; divide by the DCG of the best order.": ranked @ discount,
        "the order is turned round: highest score first.": upward @ discount / (best @ discount),
        "the labels were not sorted by score.": labels @ discount / (best @ discount),
        "the rank is off by one: place 1 counts 1 / log2(2), which is 1.": (
            ranked @ later / (best @ later)
        ),
        "this counts place r with 1 / r. The discount is 1 / log2(r + 1).": (
            ranked @ by_place / (best @ by_place)
        ),
        "this divides by the number of positives. Divide by the DCG of the best order.": (
            ranked @ discount / labels.sum()
        ),
        "this divides by the sum of all discounts. The best order has only the positives on top.": (
            ranked @ discount / discount.sum()
        ),
    }
    return {hint: np.asarray(float(ratio)) for hint, ratio in ratios.items()}


@never_raises
def check_06_3(answer: str | None, low: float, high: float) -> str:
    """Judge the reading of an interval: ``better``, ``worse`` or ``cannot tell``."""
    right = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    hints = {
        word: f"the interval runs from {low:+.4f} to {high:+.4f}. Where does 0 lie?"
        for word in ("better", "worse", "cannot tell")
        if word != right
    }
    return choice(answer, right, hints, f"the interval runs from {low:+.4f} to {high:+.4f}.")
