"""What does a model think of a row whose user it has never seen?

A model that has memorised a wrong label no longer finds it surprising; one that never saw the
user still does. All scores here start from such *out-of-fold* probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm.auto import tqdm

from helpers.models import Trainer

__all__ = [
    "adjusted_margins",
    "out_of_fold_losses",
    "out_of_fold_probabilities",
]

_TINY = 1e-12
Floats = npt.NDArray[np.float64]


def out_of_fold_probabilities(
    trainer: Trainer,
    labels: np.ndarray,
    users: np.ndarray,
    *,
    folds: int = 3,
    updates: int = 300,
    repeats: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> Floats:
    """Return each row's probability under models that saw no row of the same user.

    Users are dealt into folds at random; a model is trained on all folds but one and asked about
    that one. Repeats deal anew, train from another seed, and are averaged: less luck.

    Cost: ``folds * repeats`` trainings.

    Args:
        trainer: holds the training rows.
        labels: shape ``(n,)``.
        users: who each row belongs to, shape ``(n,)``; a user's rows share a fold.
        folds: how many parts the users are dealt into.
        updates: how many updates each model is trained for.
        repeats: how often the users are dealt.
        seed: chooses the folds and each model's first weights.
        progress: show a bar.

    Returns:
        float64, shape ``(n,)``, in input order.

    Raises:
        ValueError: ``users`` has another length than the labels, there are fewer users than
            folds, or no repeat.

    Reference: Northcutt, Jiang and Chuang (2021), arXiv:1911.00068, section 3
    (predictions are taken out of sample).
    """
    codes, names = pd.factorize(users)
    if len(codes) != len(labels):
        raise ValueError(f"users and labels must agree; got {len(codes)} and {len(labels)} rows.")
    if not 2 <= folds <= len(names):
        raise ValueError(
            f"folds must be in [2, {len(names)}] (number of users); got {folds}. "
            "A user's rows stay together."
        )
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; got {repeats}.")
    total, deals = np.zeros(len(labels)), list(_deals(codes, folds, repeats, seed))
    for start, held in tqdm(deals, desc="out of fold", leave=False, disable=not progress):
        fitted = trainer.fit(labels, seed=start, updates=updates, rows=np.flatnonzero(~held))
        inputs = {name: values[held] for name, values in trainer.inputs.items()}
        total[held] += fitted.probabilities(inputs)
    return total / repeats


def _deals(
    codes: np.ndarray, folds: int, repeats: int, seed: int
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Yield a training's seed and the rows that it must not see."""
    users = codes.max() + 1
    for repeat in range(repeats):
        fold = np.random.default_rng([seed, repeat]).permutation(users) % folds
        for held in range(folds):
            yield seed + repeat, fold[codes] == held


def out_of_fold_losses(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
    """Return the cross-entropy of probabilities taken out of fold, shape ``(n,)``.

    The same order as ``|p - y|``; Confident Learning calls the probability of the given label
    *self-confidence*, and this is minus its logarithm.

    Example:
        >>> out_of_fold_losses([1, 0], [0.5, 0.5]).round(4)
        array([0.6931, 0.6931])
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), _TINY, 1 - _TINY)
    return -np.log(np.where(np.asarray(labels) == 1, p, 1 - p))


def adjusted_margins(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
    """Return by how much the other class beats the given one, each against its own average.

    With positives rare every positive is surprising. Here a class's probability is compared with
    ``t``, its mean among the rows that carry its label: ``(p_other - t_other) - (p_given -
    t_given)``. The higher, the more suspect.

    Args:
        labels: 0 or 1, both present, shape ``(n,)``.
        probabilities: out-of-fold probabilities of label 1, shape ``(n,)``.

    Raises:
        ValueError: one class only: it has no other to be compared with.

    Example:
        >>> adjusted_margins([1, 0], [0.4, 0.2]).round(2)
        array([-0.2, -0.2])

    Reference: Northcutt, Jiang and Chuang (2021), arXiv:1911.00068, equation 1 (the thresholds);
    Kuan and Mueller (2022), "Model-agnostic label quality scoring", section 3 (adjusting by them).
    """
    labels, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    positive = labels == 1
    if positive.all() or not positive.any():
        raise ValueError("both labels must occur; an average of each class is needed.")
    above_1, above_0 = p - p[positive].mean(), (1 - p) - (1 - p)[~positive].mean()
    return np.where(positive, above_0 - above_1, above_1 - above_0)
