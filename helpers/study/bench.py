"""What the trainings of a study share: rows, labels with or without planted noise, plans."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from helpers import actions
from helpers.actions import Plan, draw_order
from helpers.importance import gradient_norms, out_of_fold_errors, sample_losses
from helpers.models import LADDER, Fitted, Trainer
from helpers.samples import ROLES, Samples

__all__ = ["ACTIONS", "Bench", "Settings"]

#: Action and what it does, in the order of the tables.
ACTIONS = {
    "uniform": "all rows alike",
    "up-weight by gradient norm": "the article's advice",
    "resample by gradient norm": "the same advice, by drawing",
    "importance sampling": "drawn by gradient norm, weighted by 1/(N p)",
    "down-weight by out-of-fold error": "weight 1 - |p - y|",
    "drop highest gradient norm": "the tenth that pulls hardest",
    "drop highest loss": "the tenth that fits worst",
    "drop highest loss by class": "the same, within each class",
    "drop random": "a tenth drawn evenly",
}


@dataclass(frozen=True)
class Settings:
    """How large a study is.

    Attributes:
        rows: train rows, drawn evenly; all of them where there are fewer.
        updates: gradient steps of every training.
        batch_size: rows an update.
        seeds: paired trainings of every plan.
        drop_share: what the dropping plans leave out.
        flip_share: labels flipped where noise is planted.
        repeats: bootstrap draws of every interval.
        seed: of the rows, the flips and the scores.
    """

    rows: int = 30_000
    updates: int = 300
    batch_size: int = 256
    seeds: int = 5
    drop_share: float = 0.1
    flip_share: float = 0.2
    repeats: int = 200
    seed: int = 0


@dataclass
class Bench:
    """One model on one version of the data: everything its trainings share.

    Attributes:
        data: ``as is`` or ``20% flipped``.
        kind: name of the rung.
        samples: of any source.
        settings: rows, updates, seeds.
        noise: whether noise is planted.
        rows: places of the chosen train rows among the samples, rising.
        labels: of these rows, possibly flipped, float32.
        flipped: which of them were flipped.
        trainer: holds these rows.
    """

    data: str
    kind: str
    samples: Samples
    settings: Settings
    noise: bool
    rows: np.ndarray
    labels: np.ndarray
    flipped: np.ndarray
    trainer: Trainer

    @classmethod
    def make(
        cls,
        samples: Samples,
        kind: str,
        settings: Settings,
        *,
        noise: bool,
        trainer: Trainer | None = None,
    ) -> Bench:
        """Draw the rows and plant the noise.

        Args:
            samples: of any source.
            kind: a name in :data:`helpers.models.LADDER`.
            settings: rows, updates, seeds.
            noise: flip ``settings.flip_share`` of the labels.
            trainer: of another bench of the same kind and settings, to save compiling.
        """
        rng = np.random.default_rng(settings.seed)
        rows = np.sort(rng.permutation(samples.rows("train"))[: settings.rows])
        share = settings.flip_share if noise else 0.0
        labels, flipped = _flip(samples.labels(rows), share, "train", settings.seed)
        data = f"{settings.flip_share:.0%} flipped" if noise else "as is"
        if trainer is None:
            inputs, size = samples.inputs(rows), settings.batch_size
            trainer = Trainer(LADDER[kind], inputs, samples.sizes, batch_size=size, fuse=True)
        return cls(data, kind, samples, settings, noise, rows, labels, flipped, trainer)

    @cached_property
    def plans(self) -> dict[str, Plan]:
        """The plan of each action, from scores of models of the bench's own rung.

        Scores come from the labels as the bench has them, flipped ones included.
        """
        s, trainer, labels = self.settings, self.trainer, self.labels
        n, seed = len(labels), s.seed + 1000  # a seed that trains no plan
        base = trainer.fit(labels, seed=seed, updates=s.updates)
        loss = sample_losses(base, trainer.inputs, labels)
        norm = gradient_norms(base, trainer.inputs, labels)
        users = self.samples.column("user_id", self.rows)
        error = out_of_fold_errors(trainer, labels, users, updates=s.updates, seed=seed)
        made = [
            actions.uniform(n),
            actions.up_weight(norm),
            actions.resample(norm),
            actions.importance_sampling(norm),
            actions.soft_down_weight(error),
            actions.drop_highest(norm, s.drop_share),
            actions.drop_highest(loss, s.drop_share),
            actions.drop_stratified(loss, labels, s.drop_share),
            actions.drop_random(n, s.drop_share, seed=s.seed),
        ]
        return dict(zip(ACTIONS, made, strict=True))

    def fit(self, action: str, seed: int) -> Fitted:
        """Train one plan from one seed.

        Plans that keep all rows and draw none see them in the same order.

        Raises:
            ValueError: there is no such action.
        """
        if action not in ACTIONS:
            raise ValueError(f"action must be one of {', '.join(ACTIONS)}; got {action!r}.")
        plan, s = self.plans[action], self.settings
        rng = np.random.default_rng([s.seed, seed])
        order = draw_order(plan, updates=s.updates, batch_size=s.batch_size, rng=rng)
        return self.trainer.fit(self.labels, seed=seed, order=order, sample_weight=plan.weight)

    def judged_labels(self, role: str) -> np.ndarray:
        """Return the labels of a role: flipped like the train labels, but never on test."""
        share = self.settings.flip_share if self.noise and role != "test" else 0.0
        return _flip(self.samples.labels(self.samples.rows(role)), share, role, self.settings.seed)[
            0
        ]


def _flip(labels: np.ndarray, share: float, role: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Flip each label with the given chance, whatever its class; return which, too."""
    rng = np.random.default_rng([seed, 7, ROLES.index(role)])
    flipped = rng.random(len(labels)) < share
    return np.where(flipped, 1 - labels, labels).astype(np.float32), flipped
