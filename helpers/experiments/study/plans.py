"""From scores to plans: what each action of the study does with the rows of a world."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from helpers import actions, importance
from helpers.actions import Plan
from helpers.actions.denoising import Denoising
from helpers.experiments.detection import World
from helpers.experiments.ways import SUSPECTS
from helpers.models import Trainer
from helpers.samples.noise import chance_misclicked, chance_wrong, estimated_flip_share

__all__ = [
    "ACTIONS",
    "ORACLE",
    "REFERENCES",
    "far_out_users",
    "make_plans",
    "oracle_rows",
    "suspects",
]

#: What an oracle would do, and as much dropped at random: only where noise was planted.
ORACLE = {
    "drop what is wrong": "what an oracle would do",
    "drop random, as many": "as many rows as the oracle drops",
}

#: Action and what it does, in the order of the tables.
ACTIONS = {
    "uniform": "all rows alike",
    "up-weight by gradient norm": "the article's advice",
    "resample by gradient norm": "the same advice, by drawing",
    "importance sampling": "drawn by gradient norm, weighted by 1/(N p)",
    "down-weight by out-of-fold error": "weight 1 - |p - y|",
    "weight by trust": "weight: the chance that the label is right",
    "relabel": "labels more likely wrong than right are turned",
    "relabel softly": "labels become their chance of a genuine 1",
    "truncated loss": "T-CE: a batch's worst positives count for nothing",
    "reweighted loss": "R-CE: weight p of the given label, to the power 0.5",
    SUSPECTS: "labels more likely wrong than right go, rows and all",
    "drop highest gradient norm": "the tenth that pulls hardest",
    "drop highest loss": "the tenth that fits worst",
    "drop highest loss by class": "the same, within each class",
    "drop random": "a tenth drawn evenly",
}

#: Lines to compare with; they are never chosen.
REFERENCES = ("drop random", *ORACLE)

_TRUNCATE, _POWER = 0.1, 0.5
_BOT_DISTANCE = 5.0  # robust standard deviations beyond which a user is no person


def make_plans(
    world: World,
    trainer: Trainer,
    *,
    updates: int,
    drop_share: float,
    seed: int,
    folds: int = 5,
    repeats: int = 3,
) -> dict[str, Plan]:
    """Return the plan of each action, from scores of the trainer's own rung.

    All scores come from the labels as the world shows them; only the plans of :data:`ORACLE` look
    at what was planted.

    Args:
        world: rows and labels.
        trainer: of these rows.
        updates: of the trainings that the scores come from.
        drop_share: what the plans with a fixed share leave out.
        seed: of those trainings and of the random plans.
        folds: parts of the out-of-fold predictions.
        repeats: how often users are dealt into folds.
    """
    labels, n, start = world.labels, len(world.labels), seed + 1000  # a seed that trains no plan
    base = trainer.fit(labels, seed=start, updates=updates)
    loss = importance.sample_losses(base, trainer.inputs, labels)
    norm = importance.gradient_norms(base, trainer.inputs, labels)
    probability = importance.out_of_fold_probabilities(
        trainer, labels, world.users, folds=folds, updates=updates, repeats=repeats, seed=start
    )
    wrong = chance_wrong(labels, probability, estimated_flip_share(labels, probability))
    made = [
        actions.uniform(n),
        actions.up_weight(norm),
        actions.resample(norm),
        actions.importance_sampling(norm),
        actions.soft_down_weight(np.abs(probability - labels)),
        actions.trust_weight(wrong),
        actions.relabel(labels, wrong),
        actions.relabel(labels, wrong, soft=True),
        actions.denoise(n, Denoising(truncate=_TRUNCATE, ramp=max(1, updates // 3))),
        actions.denoise(n, Denoising(power=_POWER)),
        actions.drop_marked(suspects(world, probability, fallback=drop_share)),
        actions.drop_highest(norm, drop_share),
        actions.drop_highest(loss, drop_share),
        actions.drop_stratified(loss, labels, drop_share),
        actions.drop_random(n, drop_share, seed=seed),
    ]
    plans = dict(zip(ACTIONS, made, strict=True))
    if world.noise is not None:
        bad = oracle_rows(world)
        plans["drop what is wrong"] = actions.drop_marked(bad)
        plans["drop random, as many"] = actions.drop_random(n, bad.mean(), seed=seed)
    return plans


def oracle_rows(world: World) -> npt.NDArray[np.bool_]:
    """Return the rows that one who knows would drop: marked ones, but one copy of each stays."""
    if world.noise is None or not world.noise.adds_rows:
        return world.planted.marked
    return pd.Series(world.rows).duplicated().to_numpy()


def suspects(world: World, probability: npt.ArrayLike, *, fallback: float) -> npt.NDArray[np.bool_]:
    """Return which rows to drop, by the recommended score of the world's kind of noise.

    How many labels are wrong is estimated from the rows that the models are surest about
    (:func:`helpers.samples.noise.estimated_flip_share`), and never read off the truth; a row goes
    if its label is then more likely wrong than right. Without planted noise the rows are treated
    as for ``flip``.

    - ``flip``: all rows whose label is more likely wrong than right;
    - ``misclick``, ``popular misclick``: the same among the positives, negatives being right;
    - ``lost positive``: nothing tells how many; ``fallback`` of the negatives;
    - ``bot``: all rows of users whose mean loss lies far out;
    - ``duplicate``: every copy but the first.

    Args:
        world: rows and labels as seen.
        probability: of label 1, out of fold, shape ``(n,)``.
        fallback: share of the negatives to drop where nothing tells.
    """
    kind, labels = world.noise.kind if world.noise else "flip", world.labels
    if kind == "duplicate":
        keys = ["user_id", "item_id", "event_time"]
        return world.samples.table.iloc[world.rows].duplicated(keys).to_numpy()
    loss = importance.out_of_fold_losses(labels, probability)
    if kind == "bot":
        return far_out_users(world.users, loss)
    if kind == "lost positive":
        return _highest(loss, labels == 0, fallback * (labels == 0).sum())
    share = estimated_flip_share(labels, probability)
    chance = chance_wrong if kind == "flip" else chance_misclicked
    return chance(labels, probability, share) > 0.5


def _highest(loss: np.ndarray, among: np.ndarray, count: float) -> npt.NDArray[np.bool_]:
    """Mark the rows with the highest losses among some; at least half of those stay."""
    count = int(min(round(count), among.sum() // 2))
    marked = np.zeros(len(loss), dtype=bool)
    marked[np.argsort(np.where(among, -loss, np.inf), kind="stable")[:count]] = True
    return marked


def far_out_users(users: np.ndarray, loss: np.ndarray) -> npt.NDArray[np.bool_]:
    """Mark all rows of users whose mean loss is far above that of the others."""
    codes, _ = pd.factorize(users)
    mean = np.bincount(codes, loss) / np.bincount(codes)
    # A user with few rows has a mean that wanders; rows are drawn together before they count.
    steady = (mean - np.median(mean)) * np.sqrt(np.bincount(codes))
    spread = 1.4826 * np.median(np.abs(steady - np.median(steady)))
    far = steady > np.median(steady) + _BOT_DISTANCE * spread
    return far[codes]
