"""How suspicious is each row? Every score on one world, higher always more suspicious."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from helpers import importance
from helpers.experiments.detection.worlds import World
from helpers.models import LADDER, Trainer, epoch_order, model_inputs
from helpers.samples.noise import RECOMMENDED

__all__ = [
    "CLEANLAB",
    "GOAL_SCORES",
    "Budget",
    "make_trainer",
    "of_goal",
    "recommended",
    "suspicions",
]

#: What the library cleanlab ranks labels by, from one set of out-of-fold probabilities.
CLEANLAB = "self-confidence (cleanlab)"

#: The scores that look at the rows of a goal, in the order of the tables.
GOAL_SCORES = ("TracIn", "KNN-Shapley", "influence", "in-run Shapley")

_L2 = 1e-3  # of the logistic regression whose influence function is taken


@dataclass(frozen=True)
class Budget:
    """What the scores of one world may cost.

    Attributes:
        kind: rung whose trainings they come from.
        updates: of each training.
        batch_size: rows an update.
        seeds: trainings that early and averaged scores are averaged over.
        folds: parts of the out-of-fold predictions.
        repeats: how often users are dealt into folds for the averaged ones.
        looks: how often a training is looked at.
        early: after how many updates the early scores are taken.
        goal_rows: attribution rows that the scores of a goal see, at most.
        in_run: how many of the first updates in-run Shapley follows; 0 leaves it out.
        seed: first seed of the trainings.
    """

    kind: str = "mlp"
    updates: int = 300
    batch_size: int = 256
    seeds: int = 3
    folds: int = 5
    repeats: int = 3
    looks: int = 10
    early: int = 30
    goal_rows: int = 1000
    in_run: int = 0
    seed: int = 100


def recommended(world: World) -> str:
    """Return the score that is recommended for the world's kind of noise."""
    return RECOMMENDED[world.noise.kind] if world.noise else RECOMMENDED["flip"]


def suspicions(
    world: World,
    budget: Budget,
    *,
    goals: Iterable[str] = ("clean",),
    trainer: Trainer | None = None,
) -> pd.DataFrame:
    """Return every score of every row; a row is the more suspicious the higher it scores.

    Scores that are high for good rows (margins, Shapley values, influence) are turned round.

    Args:
        world: whose rows.
        budget: trainings and their size.
        goals: which attribution labels the scores of a goal see: ``clean``, ``noisy`` or both;
            none leaves these scores out.
        trainer: of the world's rows, to save compiling.

    Returns:
        One row a train row, in the world's order, one column a score.
    """
    trainer = trainer or make_trainer(world, budget)
    table = {"random": np.random.default_rng([world.seed, world.number, 3]).random(len(world.rows))}
    table["label alone"] = world.labels.astype(np.float64)
    table |= _end_and_early(world, budget, trainer)
    table |= _whole_training(world, budget, trainer)
    table |= _out_of_fold(world, budget, trainer)
    table["rows like this one"] = _copies(world)
    for goal in goals:
        table |= _of_a_goal(world, budget, trainer, goal)
    return pd.DataFrame(table)


def make_trainer(world: World, budget: Budget) -> Trainer:
    """Return a trainer of the world's rows; worlds of the same rows can share it."""
    return Trainer(
        LADDER[budget.kind],
        world.inputs(),
        world.samples.sizes,
        batch_size=budget.batch_size,
        fuse=True,
    )


def _end_and_early(world: World, budget: Budget, trainer: Trainer) -> dict[str, np.ndarray]:
    labels, seeds = world.labels, range(budget.seed, budget.seed + budget.seeds)
    end = trainer.fit(labels, seed=budget.seed, updates=budget.updates)
    norm = importance.gradient_norms(end, trainer.inputs, labels)
    error = np.abs(importance.output_errors(end, trainer.inputs, labels))
    return {
        "loss": importance.sample_losses(end, trainer.inputs, labels),
        "gradient norm": norm,
        "leverage": np.divide(norm, error, out=np.zeros(len(norm)), where=error > 0),
        "early gradient norm": importance.early_gradient_norms(
            trainer, labels, seeds=tuple(seeds), updates=budget.early
        ),
    }


def _whole_training(world: World, budget: Budget, trainer: Trainer) -> dict[str, np.ndarray]:
    seeds = range(budget.seed, budget.seed + budget.seeds)
    seen = importance.follow(
        trainer, world.labels, seeds=seeds, updates=budget.updates, looks=budget.looks
    )
    return {
        "early error": importance.early_errors(seen),
        "mean loss": importance.mean_losses(seen),
        "area under the margin": -importance.area_under_margin(seen),
        "forgetting events": importance.forgetting_events(seen),
    }


def _out_of_fold(world: World, budget: Budget, trainer: Trainer) -> dict[str, np.ndarray]:
    """Return scores from out-of-fold probabilities: dealt once, and averaged over deals."""
    options: dict[str, Any] = {"folds": budget.folds, "updates": budget.updates}
    once, averaged = (
        importance.out_of_fold_probabilities(
            trainer, world.labels, world.users, repeats=repeats, seed=seed, **options
        )
        for repeats, seed in ((1, budget.seed), (budget.repeats, budget.seed + 50))
    )
    labels, loss = world.labels, importance.out_of_fold_losses(world.labels, averaged)
    codes, _ = pd.factorize(world.users)
    of_user = np.bincount(codes, loss) / np.bincount(codes)
    return {
        CLEANLAB: importance.out_of_fold_losses(labels, once),
        "adjusted margin (cleanlab)": importance.adjusted_margins(labels, once),
        "out-of-fold loss": loss,
        "adjusted margin": importance.adjusted_margins(labels, averaged),
        "out-of-fold loss of positives": np.where(labels == 1, loss, 0.0),
        "out-of-fold loss of negatives": np.where(labels == 0, loss, 0.0),
        "user's out-of-fold loss": of_user[codes],
    }


def _copies(world: World) -> np.ndarray:
    """Return how many rows have the same user, product, time and features: no model at all."""
    keys = pd.DataFrame(world.samples.dense[world.rows]).assign(
        user=world.users, item=world.items, time=world.samples.column("event_time", world.rows)
    )
    # pandas hands this function out when it is asked for, so its type is not known.
    codes = hash_pandas_object(keys, index=False).to_numpy()  # type: ignore[operator]
    places, _ = pd.factorize(codes)
    return np.bincount(places)[places].astype(np.float64)


def _of_a_goal(world: World, budget: Budget, trainer: Trainer, goal: str) -> dict[str, np.ndarray]:
    """Return minus the scores of a goal: harmful rows are suspicious."""
    rows, labels = world.role("attribution", noisy=goal == "noisy")
    some = np.sort(np.random.default_rng(world.seed).permutation(len(rows))[: budget.goal_rows])
    goal_inputs, goal_labels = world.samples.inputs(rows[some]), labels[some]
    order = epoch_order(
        np.arange(len(world.labels)),
        updates=budget.updates,
        batch_size=budget.batch_size,
        rng=np.random.default_rng([budget.seed, 2]),
    )
    kept: dict[str, Any] = {"labels": world.labels, "seed": budget.seed, "order": order}
    at = np.unique(np.linspace(0, budget.updates, 5).round().astype(int)[1:])
    fits = trainer.checkpoints(**kept, at=at)
    model = fits[-1].model
    about = (model, trainer.kind.loss, model_inputs(model, trainer.inputs), world.labels)
    target = model_inputs(model, goal_inputs), goal_labels
    near = importance.knn_shapley(
        importance.last_activations(fits[-1], trainer.inputs),
        world.labels,
        importance.last_activations(fits[-1], goal_inputs),
        goal_labels,
    )
    tracin, knn, influence, of_run = GOAL_SCORES
    found = {
        tracin: importance.tracin_scores(
            *about, target, [f.weights for f in fits], [1.0] * len(fits)
        ),
        knn: near,
        influence: importance.logistic_influence(
            trainer.inputs["dense"], world.labels, (goal_inputs["dense"], goal_labels), l2=_L2
        ),
    }
    in_run = min(budget.in_run, budget.updates)
    if in_run:
        before = trainer.checkpoints(**kept, at=range(in_run))
        weights, part = [f.weights for f in before], order[:in_run]
        found[of_run] = importance.in_run_shapley(*about, target, part, weights, 1.0)
    return {of_goal(name, goal): -values for name, values in found.items()}


def of_goal(score: str, goal: str) -> str:
    """Return what a score of :data:`GOAL_SCORES` is called in tables when it looks at a goal.

    Example:
        >>> of_goal("TracIn", "clean")
        'TracIn, clean goal'
    """
    return f"{score}, {goal} goal"
