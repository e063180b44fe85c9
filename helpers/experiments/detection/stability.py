"""Would another seed, or a longer training, rank the rows alike?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from helpers import importance
from helpers.experiments.detection.scoreboard import Budget
from helpers.experiments.detection.worlds import World
from helpers.models import Trainer

__all__ = ["rank_agreement", "rank_stability"]


def rank_agreement(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return Spearman's correlation of two scores: over all rows, and within each label.

    All rows agree easily where a score is mostly the label; within a label that help is gone.

    Returns:
        ``all_rows, among_positives, among_negatives``; NaN where a score is constant.

    Example:
        >>> rank_agreement(np.arange(4.0), np.arange(4.0), np.array([0, 0, 1, 1]))["all_rows"]
        1.0
    """
    parts = {
        "all_rows": np.ones(len(labels), bool),
        "among_positives": labels == 1,
        "among_negatives": labels == 0,
    }
    frame = pd.DataFrame({"first": first, "second": second})
    return {name: float(frame[at].rank().corr().iloc[0, 1]) for name, at in parts.items()}


def rank_stability(world: World, budget: Budget, trainer: Trainer) -> pd.DataFrame:
    """Return how alike each score ranks the rows under other seeds and at other moments.

    Args:
        world: whose rows.
        budget: trainings; at least two seeds and two looks.
        trainer: of the world's rows.

    Returns:
        One row a score: ``score, across`` (``seeds`` or ``epochs``) and the mean of
        :func:`rank_agreement` over all pairs of seeds, or of the half-way and the last look.

    Raises:
        ValueError: fewer than two seeds or looks.
    """
    if budget.seeds < 2 or budget.looks < 2:
        raise ValueError(
            f"two seeds and two looks are needed; got {budget.seeds} and {budget.looks}."
        )
    labels = world.labels
    seeds = range(budget.seed, budget.seed + budget.seeds)
    seen = importance.follow(
        trainer, labels, seeds=seeds, updates=budget.updates, looks=budget.looks
    )
    each = [
        importance.Dynamics(labels, seen.logits[s : s + 1], seen.updates) for s in range(len(seeds))
    ]
    options: dict[str, Any] = {"folds": budget.folds, "updates": budget.updates}
    folds = [
        importance.out_of_fold_probabilities(trainer, labels, world.users, seed=seed, **options)
        for seed in seeds
    ]
    ends = [trainer.fit(labels, seed=seed, updates=budget.updates) for seed in seeds]
    by_seed = {
        "early error": [importance.early_errors(d) for d in each],
        "loss": [importance.early_errors(d, look=-1) for d in each],  # the same order
        "mean loss": [importance.mean_losses(d) for d in each],
        "out-of-fold loss": [importance.out_of_fold_losses(labels, p) for p in folds],
        "gradient norm": [importance.gradient_norms(f, trainer.inputs, labels) for f in ends],
    }
    rows = [
        {"score": name, "across": "seeds", **_mean_agreement(values, labels)}
        for name, values in by_seed.items()
    ]
    half = budget.looks // 2 - 1
    moments = [importance.early_errors(seen, look=look) for look in (half, -1)]
    rows.append({"score": "loss", "across": "epochs", **_mean_agreement(moments, labels)})
    return pd.DataFrame(rows)


def _mean_agreement(scores: list[np.ndarray], labels: np.ndarray) -> dict[str, float]:
    pairs = [rank_agreement(a, b, labels) for a, b in combinations(scores, 2)]
    return pd.DataFrame(pairs).mean().to_dict()
