"""What does a model think of a row that it has never seen?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from tqdm.auto import tqdm

from helpers.models import Trainer

__all__ = ["out_of_fold_errors"]


def out_of_fold_errors(
    trainer: Trainer,
    labels: np.ndarray,
    users: np.ndarray,
    *,
    folds: int = 3,
    updates: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Return ``|p_i - y_i|`` under a model that saw no row of the same user.

    A model that has memorised a wrong label no longer finds it surprising; one
    that never saw the user still does.

    Args:
        trainer: holds the training rows.
        labels: shape ``(n,)``.
        users: who each row belongs to, shape ``(n,)``; a user's rows share a fold.
        folds: how many parts; a model is trained for each.
        updates: of each model.
        seed: of each model.
        progress: show a bar.

    Returns:
        float64 in [0, 1], shape ``(n,)``.

    Raises:
        ValueError: ``users`` has another length than the labels, or there are fewer
            users than folds.

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
    error = np.full(len(labels), np.nan)
    parts = list(GroupKFold(n_splits=folds).split(codes, groups=codes))
    for seen, held in tqdm(parts, desc="out of fold", leave=False, disable=not progress):
        fitted = trainer.fit(labels, seed=seed, updates=updates, rows=seen)
        inputs = {name: values[held] for name, values in trainer.inputs.items()}
        error[held] = np.abs(fitted.probabilities(inputs) - labels[held])
    return error
