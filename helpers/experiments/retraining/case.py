"""What an examination of scores is made on: training rows, goal rows, one rung, one schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.models import LADDER, Trainer, epoch_order
from helpers.samples import Samples

__all__ = ["AttributionSettings", "Case"]


@dataclass(frozen=True)
class AttributionSettings:
    """How large an examination is.

    Attributes:
        kind: name of the rung, ``mlp`` or ``logistic``.
        rows: training rows, drawn evenly.
        goals: attribution rows that are the goals, drawn evenly.
        chosen_share: share of the goals' users on whom the damping is chosen; not judged.
        subsets: random halves that are trained on.
        seeds: trainings of each half; what they make is averaged.
        score_seeds: trainings on all rows that the scores are averaged over, from other seeds.
        updates: gradient steps of every training.
        batch_size: rows an update.
        checkpoints: evenly spread sets of weights for TracIn.
        stride: updates that in-run Shapley looks at together, by the weights before the first.
        neighbours: that vote in KNN-Shapley.
        dampings: to choose from.
        single_rows: training rows of the part that leaves out one row at a time.
        l2: penalty of the logistic regression there.
        repeats: draws of every interval.
        seed: of all draws of rows.
    """

    kind: str = "mlp"
    rows: int = 1500
    goals: int = 400
    chosen_share: float = 0.3
    subsets: int = 100
    seeds: int = 4
    score_seeds: int = 5
    updates: int = 200
    batch_size: int = 64
    checkpoints: int = 5
    stride: int = 10
    neighbours: int = 10
    dampings: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
    single_rows: int = 1000
    l2: float = 0.01
    repeats: int = 500
    seed: int = 0


@dataclass
class Case:
    """The rows and the trainer that all parts of an examination share.

    Attributes:
        settings: how large it is.
        trainer: holds the training rows.
        labels: of the training rows, float32, shape ``(n,)``.
        goal: inputs and labels of the goal rows.
        users: of the goal rows, shape ``(t,)``.
        judged: which goal rows are judged, bool; on the others the damping is chosen.
    """

    settings: AttributionSettings
    trainer: Trainer
    labels: np.ndarray
    goal: tuple[dict[str, np.ndarray], np.ndarray]
    users: np.ndarray
    judged: np.ndarray

    @classmethod
    def make(cls, samples: Samples, settings: AttributionSettings) -> Case:
        """Draw the rows.

        Raises:
            ValueError: the rung has no logit, or there are too few users to choose on and to judge.
        """
        if settings.kind not in ("logistic", "mlp"):
            raise ValueError(f"kind must be logistic or mlp, with a logit; got {settings.kind!r}.")
        rng = np.random.default_rng([settings.seed, 1])
        rows = np.sort(rng.permutation(samples.rows("train"))[: settings.rows])
        goals = np.sort(rng.permutation(samples.rows("attribution"))[: settings.goals])
        trainer = Trainer(
            LADDER[settings.kind],
            samples.inputs(rows),
            samples.sizes,
            batch_size=settings.batch_size,
            fuse=True,
        )
        users, goal_labels = samples.column("user_id", goals), samples.labels(goals)
        names = rng.permutation(np.unique(users))
        judged = ~np.isin(users, names[: round(settings.chosen_share * len(names))])
        if judged.all() or not judged.any():
            raise ValueError(
                f"the goals' {len(names)} users must be split into some to choose the damping on "
                "and some to judge on: draw more goals or take another chosen_share."
            )
        inputs = {name: samples.inputs(goals)[name] for name in trainer.inputs}
        return cls(settings, trainer, samples.labels(rows), (inputs, goal_labels), users, judged)

    def order(self, seed: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the order of a training on all rows, or on some: shuffled passes."""
        rows = np.arange(len(self.labels)) if rows is None else rows
        s = self.settings
        rng = np.random.default_rng([s.seed, 2, seed])
        return epoch_order(rows, updates=s.updates, batch_size=s.batch_size, rng=rng)

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """The training inputs that the rung reads."""
        return self.trainer.inputs

    def margins(self, logits: np.ndarray) -> np.ndarray:
        """Return ``(2y - 1) z`` of the goal rows: the logit of the right answer."""
        return (2 * self.goal[1].astype(np.float64) - 1) * logits
