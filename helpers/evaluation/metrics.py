"""How good is a model? Every metric in one place, and :func:`evaluate` for all of them at once.

Metrics over all rows are defined here; those by user and by list in
:mod:`helpers.evaluation.ranking`, those of probabilities in :mod:`helpers.evaluation.calibration`.
All can be imported from :mod:`helpers.evaluation`. How sure a number is, is the subject of
:mod:`helpers.evaluation.intervals`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn import metrics as library

from helpers.evaluation.calibration import (
    Recalibration,
    base_rate,
    calibration_error,
    calibration_table,
    check_rows,
    fit_recalibration,
    log_loss,
    log_loss_from_logits,
    shift_logits,
)
from helpers.evaluation.ranking import (
    GroupMean,
    hit_rate_at_k,
    list_metrics,
    ndcg_at_k,
    recall_at_k,
    user_auc,
    user_metrics,
)

__all__ = [
    "GroupMean",
    "Recalibration",
    "base_rate",
    "best_threshold",
    "calibration_error",
    "calibration_table",
    "evaluate",
    "fit_recalibration",
    "hit_rate_at_k",
    "list_metrics",
    "log_loss",
    "log_loss_from_logits",
    "ndcg_at_k",
    "pr_auc",
    "recall_at_k",
    "roc_auc",
    "roc_curve",
    "shift_logits",
    "threshold_metrics",
    "user_auc",
    "user_metrics",
]


def threshold_metrics(labels: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, float]:
    """Return accuracy, precision, recall and F1 when ``score >= threshold`` means "positive".

    Args:
        labels: 0 or 1, shape ``(n,)``.
        scores: shape ``(n,)``, higher is more likely positive.
        threshold: a score equal to it counts as positive.

    Returns:
        ``accuracy``, ``precision``, ``recall``, ``f1``. What would divide by zero is NaN:
        precision when nothing is predicted positive, recall when nothing is positive, F1
        (``2 hits / (predicted + positive)``) when both hold.

    Raises:
        ValueError: :func:`helpers.evaluation.calibration.check_rows` refuses.

    Example:
        >>> threshold_metrics([0, 1, 1, 0], [0.1, 0.5, 0.9, 0.6], 0.5)["recall"]
        1.0
    """
    truth, values = check_rows(labels, scores)
    predicted = values >= threshold
    precision, recall, f1, _ = library.precision_recall_fscore_support(
        truth, predicted, average="binary", zero_division=np.nan
    )
    return {
        "accuracy": float(np.mean(predicted == truth)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def best_threshold(labels: ArrayLike, scores: ArrayLike, metric: str = "f1") -> float:
    """Return the score that, used as the threshold, makes ``metric`` highest on these rows.

    Choose it on ``valid``: on the rows it is judged on, the choice itself would be rewarded.

    Args:
        labels: 0 or 1, shape ``(n,)``, both present.
        scores: shape ``(n,)``; only values found here are tried.
        metric: ``"accuracy"``, ``"precision"``, ``"recall"`` or ``"f1"``.

    Returns:
        One of the scores; the highest where several are equally good.

    Raises:
        ValueError: an unknown metric, one class only, or the rows are refused.

    Example:
        >>> best_threshold([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.8])
        0.4
    """
    truth, values = check_rows(labels, scores, both_classes=True)
    thresholds, tries = np.unique(-values, return_inverse=True)  # highest score first
    hits = np.cumsum(np.bincount(tries, truth))
    predicted = np.cumsum(np.bincount(tries))
    positives = truth.sum()
    curves = {
        "accuracy": (len(truth) - positives - predicted + 2 * hits) / len(truth),
        "precision": hits / predicted,
        "recall": hits / positives,
        "f1": 2 * hits / (predicted + positives),
    }
    if metric not in curves:
        raise ValueError(f"metric must be one of {', '.join(curves)}; got {metric!r}.")
    return float(-thresholds[np.argmax(curves[metric])])


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the chance that a random positive scores above a random negative; a tie counts 1/2.

    Raises:
        ValueError: one class only, or :func:`helpers.evaluation.calibration.check_rows` refuses.

    Example:
        >>> roc_auc([0, 1, 1], [0.2, 0.2, 0.9])  # one tie, one win
        0.75
    """
    return float(library.roc_auc_score(*check_rows(labels, scores, both_classes=True)))


def pr_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return average precision: the area under precision by recall, in steps.

    A random order reaches the positive share, not 1/2, so it moves with the share of positives.

    Raises:
        ValueError: one class only, or :func:`helpers.evaluation.calibration.check_rows` refuses.

    Example:
        >>> pr_auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6]) == (1 / 1 + 2 / 3) / 2
        True
    """
    return float(library.average_precision_score(*check_rows(labels, scores, both_classes=True)))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> pd.DataFrame:
    """Return the corners of the ROC curve, from "nothing is positive" to "everything is".

    Returns:
        Columns ``false_positive_rate``, ``true_positive_rate``, ``threshold`` (first one: inf).

    Raises:
        ValueError: one class only, or :func:`helpers.evaluation.calibration.check_rows` refuses.
    """
    rows = check_rows(labels, scores, both_classes=True)
    names = ("false_positive_rate", "true_positive_rate", "threshold")
    return pd.DataFrame(dict(zip(names, library.roc_curve(*rows), strict=True)))


def evaluate(
    labels: ArrayLike,
    logits: ArrayLike,
    *,
    users: ArrayLike,
    lists: ArrayLike | None,
    k: int = 10,
    recalibration: Recalibration | None = None,
) -> dict[str, float]:
    """Return every metric of one model on one set of rows.

    Args:
        labels: 0 or 1, shape ``(n,)``, both present.
        logits: log odds of label 1, shape ``(n,)``.
        users: who each row belongs to, shape ``(n,)``.
        lists: which list each row is in, shape ``(n,)``; None where the data has no lists.
        k: how many rows from the top of each list count.
        recalibration: fitted on *other* rows (``valid``) by :func:`fit_recalibration`.

    Returns:
        Higher is better: ``auc``, ``pr_auc``, ``user_auc`` (NaN: no user has both classes),
        ``ndcg_at_k`` (NaN without lists). Lower is better: ``log_loss``, ``log_loss_recalibrated``
        (NaN without a recalibration), ``calibration_error`` (before recalibration). To be held
        against each other: ``base_rate`` (mean prediction) and ``positive_share``.

    Raises:
        ValueError: one class only, ``k`` below 1, or an input is refused.

    Example:
        >>> scores = evaluate([0, 1], [-1.0, 1.0], users=["ann"] * 2, lists=["a"] * 2)
        >>> scores["auc"], scores["positive_share"]
        (1.0, 0.5)
    """
    truth, z = check_rows(labels, logits, both_classes=True, name="logits")
    p = expit(z)
    ndcg = again = float("nan")
    if lists is not None:
        ndcg = ndcg_at_k(truth, z, lists, k=k).value
    if recalibration is not None:
        again = log_loss_from_logits(truth, recalibration.logits(z))
    return {
        "auc": roc_auc(truth, z),
        "pr_auc": pr_auc(truth, z),
        "user_auc": user_auc(truth, z, users).value,
        "ndcg_at_k": ndcg,
        "log_loss": log_loss_from_logits(truth, z),
        "log_loss_recalibrated": again,
        "calibration_error": calibration_error(truth, p, bins=min(10, len(p))),
        "base_rate": base_rate(p),
        "positive_share": float(truth.mean()),
    }
