"""Every score for every pair of a training row and a goal row, averaged over trainings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from tqdm.auto import tqdm

from helpers.backend import keras
from helpers.experiments.retraining.case import Case
from helpers.importance import GradientKernel, in_run_shapley, knn_shapley
from helpers.models import Fitted

__all__ = ["PAIR_SCORES", "SCORE_SEED", "pair_scores"]

#: The first seed of the trainings that scores are made of; those of the halves start at 0.
SCORE_SEED = 500

#: Score and what it is, in the order of the tables. Those with a damping have one entry for each.
PAIR_SCORES = {
    "chance": "random numbers",
    "same label": "1 where the training row has the goal row's label, else 0",
    "KNN-Shapley": "the worth to a vote of neighbours, by what enters the last layer",
    "gradient dot": "<g_i, g_goal> at the last weights",
    "TracIn": "the same, summed over checkpoints",
    "in-run Shapley": "the same, summed over the updates that the row was in",
    "kernel": "influence by the kernel of output gradients, without the loss's curve, as TRAK",
    "influence": "influence by Gauss-Newton with damping",
    "influence, one training": "the same, from a single training",
}

Scores = dict[tuple[str, float | None], np.ndarray]

# Sums of scores: 0, then arrays, by the name of the score and its damping.
_Sums: TypeAlias = defaultdict[tuple[str, float | None], Any]


def pair_scores(case: Case, *, progress: bool = False) -> Scores:
    """Return the scores of all pairs, each averaged over ``settings.score_seeds`` trainings.

    Args:
        case: rows and trainer.
        progress: show bars.

    Returns:
        By name and damping (None where there is none): float64, shape ``(n, t)``; positive is
        helpful.

    Example:
        >>> from helpers.experiments.retraining import AttributionSettings
        >>> from helpers.samples import load_samples
        >>> settings = AttributionSettings(kind="logistic", rows=30, goals=20, score_seeds=1,
        ...     updates=6, batch_size=8, checkpoints=2, dampings=(0.1,))
        >>> scores = pair_scores(Case.make(load_samples("sample"), settings))
        >>> scores["influence", 0.1].shape
        (30, 20)
    """
    s, total = case.settings, _Sums(float)
    goal_labels = case.goal[1]
    shape = len(case.labels), len(goal_labels)
    total["chance", None] = np.random.default_rng([s.seed, 3]).normal(size=shape)
    total["same label", None] = (case.labels[:, None] == goal_labels).astype(np.float64)
    kernel, seeds = None, range(SCORE_SEED, SCORE_SEED + s.score_seeds)
    for seed in tqdm(seeds, desc="scores", leave=False, disable=not progress):
        order, way = _train(case, seed)
        if kernel is None:
            model = way[0].model
            kernel = GradientKernel(
                model, case.trainer.kind.loss, case.inputs, case.labels, case.goal
            )
        found = dict(_of_kernel(case, kernel, way))
        found["in-run Shapley", None] = _in_run(case, kernel.model, order, way, progress)
        found["KNN-Shapley", None] = _neighbours(case, way[-1])
        for name, values in found.items():
            total[name] += values / s.score_seeds
        if seed == SCORE_SEED:
            for damping in s.dampings:
                total["influence, one training", damping] = found["influence", damping]
    return dict(total)


def _train(case: Case, seed: int) -> tuple[np.ndarray, list[Fitted]]:
    """Return the order and the models before every ``stride`` updates, and at the end."""
    s, order = case.settings, case.order(seed)
    at = [*range(0, s.updates, min(s.stride, s.updates)), s.updates]
    return order, case.trainer.checkpoints(case.labels, seed=seed, order=order, at=at)


def _of_kernel(
    case: Case, kernel: GradientKernel, way: list[Fitted]
) -> Iterator[tuple[tuple[str, float | None], np.ndarray]]:
    s = case.settings
    # Evenly spread, without the first weights, which know nothing, and with the last.
    places = np.linspace(0, len(way) - 1, s.checkpoints + 1).round().astype(int)[1:]
    traced = np.zeros((len(case.labels), len(case.goal[1])))
    for place in places:
        pairs = kernel.at(way[place].weights)
        traced += case.trainer.kind.learning_rate * pairs.dots()
    yield ("TracIn", None), traced
    yield ("gradient dot", None), pairs.dots()
    for damping in s.dampings:
        yield ("influence", damping), pairs.influence(damping)
        yield ("kernel", damping), pairs.influence(damping, curved=False)


def _in_run(
    case: Case, model: keras.Model, order: np.ndarray, way: list[Fitted], progress: bool
) -> np.ndarray:
    s, kind = case.settings, case.trainer.kind
    stride = min(s.stride, len(order))  # a short training is looked at once
    whole = len(order) // stride * stride
    return in_run_shapley(
        model,
        kind.loss,
        case.inputs,
        case.labels,
        case.goal,
        order[:whole].reshape(-1, stride * s.batch_size),
        [fitted.weights for fitted in way[: whole // stride]],
        kind.learning_rate * stride,  # of the mean over so many batches
        each=True,
        progress=progress,
    )


def _neighbours(case: Case, fitted: Fitted) -> np.ndarray:
    """Return KNN-Shapley by what enters the last layer, each feature on one scale."""
    model = fitted.model
    body = keras.Model(model.input, model.layers[-1].input)
    points, goals = (np.asarray(body(x, training=False)) for x in (case.inputs, case.goal[0]))
    scale = points.std(axis=0)
    kept = scale > 0
    return knn_shapley(
        points[:, kept] / scale[kept],
        case.labels,
        goals[:, kept] / scale[kept],
        case.goal[1],
        k=case.settings.neighbours,
        each=True,
    )
