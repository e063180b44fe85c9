"""Self-checks of the exercises of notebooks 03 to 06, in the manner of :mod:`helpers.checks`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.actions import importance_sampling
from helpers.checks.verdicts import (
    STILL_EMPTY,
    choice,
    matching_hint,
    not_yet,
    result_of,
    same,
    vector,
)
from helpers.evaluation import roc_auc
from helpers.ranking import ndcg_at_k

__all__ = [
    "check_03_1",
    "check_03_2",
    "check_03_3",
    "check_04_1",
    "check_04_2",
    "check_04_3",
    "check_04_4",
    "check_05_1",
    "check_05_2",
    "check_05_3",
    "check_06_1",
    "check_06_2",
    "check_06_3",
]


def check_03_1(answer: str | None) -> str:
    """Judge what a change of scale does to the AUC.

    Example:
        >>> check_03_1("stays")[:7]
        'Correct'
    """
    hints = dict.fromkeys(["rises", "falls"], "the AUC asks only for the order. Did it change?")
    return choice(answer, "stays", hints, "the order is the same, so the AUC is.")


def check_03_2(answer: Callable[..., Any]) -> str:
    """Judge ``masked_mean(vectors, ids)``, the mean over the ids that are not 0."""
    rng = np.random.default_rng(3)
    vectors, ids = rng.normal(size=(3, 4, 2)), np.array([[5, 5, 2, 0], [7, 0, 0, 0], [0, 0, 0, 0]])
    known = (ids != 0)[:, :, None]
    right = (vectors * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    got = result_of(answer, vectors, ids)
    if isinstance(got, str):
        return got
    mistakes = {
        "padding counts too: this divides by k, not by the number of known items.": (
            (vectors * known).mean(axis=1)
        ),
        "this is the plain mean; ids of 0 are padding and must not count.": vectors.mean(axis=1),
        "this is the sum; divide by the number of known items.": (vectors * known).sum(axis=1),
        "this averages over the wrong axis: the bag is axis 1.": vectors.mean(axis=2),
    }
    if hint := matching_hint(got, mistakes):
        return not_yet(hint)
    if got.shape != right.shape:
        return not_yet(f"shape {right.shape} should come back, (B, d); the shape is {got.shape}.")
    if np.isnan(got[2]).all() and same(got[:2], right[:2]):
        return not_yet("a bag without any item gives NaN: 0 / 0. It should give zeros.")
    if same(got, right):
        return "Correct: repeats count, padding does not, and an empty bag gives zeros."
    return not_yet("multiply by the mask, sum over the bag, divide by how many ids are not 0.")


def check_03_3(answer: ArrayLike | None, labels: NDArray, best_rule: float) -> str:
    """Judge a mixed rule: its AUC on these labels must beat ``best_rule``."""
    got = vector(answer, len(labels))
    if isinstance(got, str):
        return got
    auc = roc_auc(labels, got)
    if np.array_equal(got, labels):
        return not_yet("these are the labels themselves; nobody has them when it counts.")
    if auc > best_rule:
        return f"Correct: AUC {auc:.3f} beats the better rule's {best_rule:.3f}, without training."
    if auc < 0.5:
        return not_yet(f"AUC {auc:.3f} is below a coin: is the order turned round?")
    return not_yet(
        f"AUC {auc:.3f} does not beat {best_rule:.3f}. Counts are skewed: put both on a "
        "logarithmic scale and let what the user took before weigh more."
    )


def check_04_1(answer: str | None) -> str:
    """Judge which of two rows has the longer gradient: same error, other features."""
    hints = {
        "plain": "both errors are 0.5; the norm also holds sqrt(||x||^2 + 1). Which x is longer?",
        "same": "equal errors do not make equal gradients: the input is a factor too.",
    }
    return choice(answer, "unusual", hints, "equal surprise, more leverage.")


def check_04_2(answer: Callable[..., Any]) -> str:
    """Judge ``norms(x, y, p)``: a one-unit model's per-sample gradient norms, bias included."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5, 3)), np.array([0, 1, 1, 0, 1.0])
    p = rng.uniform(0.1, 0.9, 5)
    gradients = (p - y)[:, None] * np.hstack([x, np.ones((5, 1))])
    right = np.linalg.norm(gradients, axis=1)
    got = result_of(answer, x, y, p)
    if isinstance(got, str):
        return got
    mistakes = {
        "the bias is forgotten: its input is 1, so add 1 to ||x||^2.": (
            np.abs(p - y) * np.linalg.norm(x, axis=1)
        ),
        "this is the squared norm; take the root.": right**2,
        "the norm runs over the wrong axis: one number a sample, axis=1.": (
            np.linalg.norm(gradients, axis=0)
        ),
        "this is the error alone; multiply by the leverage sqrt(||x||^2 + 1).": np.abs(p - y),
        "a norm is never negative: take |p - y|.": ((p - y) * np.sqrt((x**2).sum(axis=1) + 1)),
        "this is the norm of the mean gradient: one number for the whole batch.": np.asarray(
            np.linalg.norm(gradients.mean(axis=0))
        ),
        "this is divided by N; one sample's gradient knows nothing of the others.": right / 5,
    }
    if hint := matching_hint(got, mistakes):
        return not_yet(hint)
    if got.shape != right.shape:
        return not_yet(f"shape {right.shape} should come back; the shape is {got.shape}.")
    if same(got, right):
        return "Correct: surprise times leverage, the bias included."
    return not_yet("multiply |p - y| by sqrt(||x||^2 + 1), row by row.")


def check_04_3(answer: ArrayLike | None, table: Any) -> str:
    """Judge the places of the ten rows with the highest loss."""
    if answer is None or answer is Ellipsis:
        return STILL_EMPTY
    try:
        got = {int(i) for i in np.ravel(np.asarray(answer))}
    except (TypeError, ValueError):
        return not_yet(f"ten sample ids are wanted; got {type(answer).__name__}.")
    right = set(table.nlargest(10, "loss").sample_id)
    if got == right:
        return "Correct: these ten rows fit worst."
    if got == set(table.nsmallest(10, "loss").sample_id):
        return not_yet("these are the lowest losses; the order is turned round.")
    if got == set(table.nlargest(10, "gradient_norm").sample_id):
        return not_yet("these are the highest gradient norms; the loss is asked for.")
    if len(got) != 10:
        return not_yet(f"ten different ids are wanted; got {len(got)}.")
    return not_yet(f"{len(got & right)} of ten are right. Sort by the column loss, highest first.")


def check_04_4(model: Any, loss: Any, x: Any, y: Any, norms: ArrayLike | None) -> str:
    """Judge the per-sample gradient norms of the learner's own model, by the loop.

    Args:
        model: a Keras model.
        loss: ``loss(y, prediction)``, one value a row.
        x: its inputs, some rows; at most 50 of them are looked at.
        y: their labels.
        norms: one a row.
    """
    if any(part is None or part is Ellipsis for part in (model, loss, x, y, norms)):
        return STILL_EMPTY
    if not callable(loss) or not hasattr(model, "trainable_variables"):
        return not_yet("give a Keras model and a function loss(y, prediction), not their names.")
    try:
        return _judge_norms(model, loss, x, y, norms)
    except Exception as error:  # whatever a learner's model raises, the check must not
        return not_yet(f"it stops with {type(error).__name__}: {error}")


_ROWS_OF_THE_LOOP = 50


def _judge_norms(model: Any, loss: Any, x: Any, y: Any, norms: Any) -> str:
    """Return the verdict on norms of a model that runs."""
    from helpers.gradients import naive_gradients  # loads TensorFlow
    from helpers.gradients.batches import as_arrays, count_rows, take_rows

    x, y = as_arrays(x, y)
    if fault := _fault_of_loss(model, loss, x, y):
        return not_yet(fault)
    n, few = count_rows(y), min(count_rows(y), _ROWS_OF_THE_LOOP)
    if np.size(norms) == 1 < n:
        return not_yet("this is one number: the length of the batch's gradient. One a row is asked")
    got = vector(norms, n)
    if isinstance(got, str):
        return got
    x, y = take_rows(x, slice(0, few)), take_rows(y, slice(0, few))
    gradients = [naive_gradients(model, loss, x, y, row) for row in range(few)]
    right = np.array([_length(gradient) for gradient in gradients])
    if not right.any():
        return not_yet("every gradient is 0 here; take rows that the model does not fit yet.")
    if _near(got[:few], right):
        return "Correct: these are the numbers of the loop, one a row."
    means = [np.mean(parts, axis=0) for parts in zip(*gradients, strict=True)]
    mistakes = {
        "this is the square; take the root of the sum of squares.": right**2,
        "these are the variables' lengths added up; add up their squares, then take the root.": (
            np.array([sum(map(np.linalg.norm, gradient)) for gradient in gradients])
        ),
        "this is the length of the batch's mean gradient, the same for every row.": (
            np.full(few, _length(means))
        ),
        "this is divided by N; one row's gradient knows nothing of the others.": right / n,
        "the biases are left out; all trainable variables count.": np.array(
            [_length([g for g in gradient if g.ndim != 1]) for gradient in gradients]
        ),
    }
    for hint, wrong in mistakes.items():
        if _near(got[:few], wrong):
            return not_yet(hint)
    if n == few and _near(np.sort(got), np.sort(right)):
        return not_yet("the numbers are right, but in another order than the rows.")
    return not_yet(_about_training_mode(model) or _MANY_WAYS)


_MANY_WAYS = (
    "the loop finds other numbers. Were they computed with these weights and these rows, and "
    "are repeated ids added up before squaring? PerSampleGradients(model, loss).norms(x, y)"
)


def _fault_of_loss(model: Any, loss: Any, x: Any, y: Any) -> str:
    """Return why a row has no loss of its own, or ""."""
    from helpers.gradients.batches import count_rows

    n = count_rows(y)
    if n < 2:
        return "take at least two rows; with one alone many mistakes do not show."
    shape, alone = _losses(model, loss, x, y)
    if shape != (n,) and np.prod(shape) == 1:
        return 'the loss is one number for all rows; one a row is needed (reduction="none").'
    predicted = tuple(getattr(model(x, training=False), "shape", ()))
    stretched = (np.shape(y), predicted) == ((n,), (n, 1))
    if stretched and (shape == (n, n) or (not alone and _losses(model, loss, x, y[:, None])[1])):
        return (
            f"labels of shape ({n},) meet predictions of shape ({n}, 1) and stretch to a table. "
            "Give both the same shape: prediction[:, 0]."
        )
    if shape != (n,):
        return f"the loss must give one value a row, shape ({n},); it gives {shape}."
    if not alone:
        return (
            "a row alone has another loss than among the others: does a layer or the loss average "
            "over the batch, as BatchNormalization does in training?"
        )
    return ""


def _losses(model: Any, loss: Any, x: Any, y: Any) -> tuple[tuple[int, ...], bool]:
    """Return the shape of a batch's losses, and whether the first row has the same one alone."""
    from helpers.gradients.batches import take_rows

    one = slice(0, 1)
    among_all = np.asarray(loss(y, model(x, training=False)))
    alone = np.ravel(loss(take_rows(y, one), model(take_rows(x, one), training=False)))
    same_shape = among_all.ndim > 0 and among_all[:1].size == alone.size
    most = float(np.abs(among_all).max())
    return among_all.shape, same_shape and _near(alone, np.ravel(among_all[:1]), most)


def _about_training_mode(model: Any) -> str:
    """Return a hint if the model has a layer that acts otherwise in training, or ""."""
    kinds = [type(layer).__name__ for layer in getattr(model, "layers", [])]
    other = next((k for k in kinds if "Dropout" in k or k == "BatchNormalization"), "")
    return f"the model has {other}: call it with training=False, or rows mix or jump." * bool(other)


def _length(gradient: list[NDArray]) -> float:
    """Return the norm over all variables together."""
    return float(np.sqrt(sum(np.sum(part**2) for part in gradient)))


def _near(got: NDArray, want: NDArray, scale: float | None = None) -> bool:
    """Return whether numbers agree as far as float32 can tell."""
    scale = np.abs(want).max() if scale is None else scale
    return bool(np.allclose(got, want, rtol=1e-4, atol=1e-4 * float(scale)))


def check_05_1(answer: str | None) -> str:
    """Judge what up-weighting by gradient norm does when labels are wrong."""
    hints = {
        "helps": "a wrong label makes a large error, so a long gradient. Whose weight grows?",
        "nothing": "the weights differ by far more than a factor of ten. Something must happen.",
    }
    return choice(answer, "hurts", hints, "wrong labels pull hardest, and now they weigh more.")


def check_05_2(answer: Callable[..., Any]) -> str:
    """Judge ``weights(chance)``: what makes importance sampling unbiased."""
    scores = np.array([1.0, 2.0, 5.0, 2.0])
    plan = importance_sampling(scores, mix=0.0)
    got = result_of(answer, plan.chance)
    if isinstance(got, str):
        return got
    mistakes = {
        "the 1/N is forgotten: the weights should average 1 under the draw.": 1 / plan.chance,
        "this is N p: rows that are drawn often must count less, not more.": 4 * plan.chance,
        "this is p itself: then frequent rows count twice over.": plan.chance,
        "weights of 1 are plain resampling: the objective changes.": np.ones(4),
    }
    if hint := matching_hint(got, mistakes):
        return not_yet(hint)
    if got.shape != (4,):
        return not_yet(f"one weight a row should come back; the shape is {got.shape}.")
    if same(got, plan.weight):
        return "Correct: 1 / (N p). Under the draw every row counts as much as before."
    return not_yet("p_i times w_i must be 1/N for every row. Solve for w_i.")


def check_05_3(answer: Any, study: Any) -> str:
    """Judge the name of the best action on the noisy data for the network."""
    if answer is None or answer is Ellipsis:
        return STILL_EMPTY
    noisy = study[(study.data != "as is") & (study.model == "mlp")]
    best = noisy.loc[noisy.auc.idxmax(), "action"]
    if answer == best:
        return f"Correct: {best}."
    if answer in set(study.action):
        at = noisy.set_index("action").auc
        return not_yet(f"{answer} has {at[answer]:.4f}; another action has {at[best]:.4f}.")
    return not_yet(f"give the action's name as it stands in the table; got {answer!r:.40}.")


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
    if same(got[:3], right[:3]):
        return not_yet("F1 is the harmonic mean 2PR / (P + R), not the plain mean.")
    names = ["accuracy", "precision", "recall", "F1"]
    wrong = [n for n, g, r in zip(names, got, right, strict=True) if abs(g - r) > 1e-3]
    if not wrong:
        return not_yet("nearly: give fractions such as 2 / 3, not rounded numbers.")
    return not_yet(f"look again at {', '.join(wrong)}.")


def check_06_2(answer: Callable[..., Any]) -> str:
    """Judge ``dcg_ratio(labels, scores)``: NDCG of one list without ties."""
    labels, scores = np.array([0, 1, 0, 1, 0.0]), np.array([0.7, 0.9, 0.1, 0.3, 0.5])
    got = result_of(answer, labels, scores)
    if isinstance(got, str):
        return got
    right = ndcg_at_k(labels, scores, np.zeros(5, int), k=5).value
    ranked = labels[np.argsort(-scores)]
    gain = float((ranked / np.log2(np.arange(2, 7))).sum())
    upward = labels[np.argsort(scores)]
    ideal = float((np.sort(labels)[::-1] / np.log2(np.arange(2, 7))).sum())
    mistakes = {
        "this is the DCG; divide by the DCG of the best order.": np.asarray(gain),
        "the order is turned round: highest score first.": np.asarray(
            float((upward / np.log2(np.arange(2, 7))).sum()) / ideal
        ),
        "the labels were not sorted by score.": np.asarray(
            float((labels / np.log2(np.arange(2, 7))).sum()) / ideal
        ),
    }
    if hint := matching_hint(got, mistakes):
        return not_yet(hint)
    if got.shape != ():
        return not_yet(f"one number should come back; the shape is {got.shape}.")
    if same(got, np.asarray(right)):
        return "Correct: gain of your order over gain of the best order."
    return not_yet("place r (from 1) counts 1 / log2(r + 1); sort the labels by falling score.")


def check_06_3(answer: str | None, low: float, high: float) -> str:
    """Judge the reading of an interval: ``better``, ``worse`` or ``cannot tell``."""
    right = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    hints = {
        word: f"the interval runs from {low:+.4f} to {high:+.4f}. Where does 0 lie?"
        for word in ("better", "worse", "cannot tell")
        if word != right
    }
    return choice(answer, right, hints, f"the interval runs from {low:+.4f} to {high:+.4f}.")
