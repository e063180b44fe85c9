"""What the trainings of a study share: rows, labels with or without planted noise, plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from helpers.actions import Plan, draw_order
from helpers.backend import numeric_settings
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.experiments.detection import Budget, World, make_trainer, make_world
from helpers.experiments.study.plans import make_plans
from helpers.models import LADDER, Fitted, Trainer
from helpers.samples import Samples
from helpers.samples.noise import NO_NOISE, Noise

__all__ = ["Comparison", "Settings"]


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
class Comparison:
    """One model on one version of the data: everything its trainings share.

    Attributes:
        data: ``as is``, ``clean`` or the noise's name.
        kind: name of the rung.
        samples: of any source.
        settings: rows, updates, seeds.
        world: the chosen train rows with their labels.
        trainer: holds these rows.
    """

    data: str
    kind: str
    samples: Samples
    settings: Settings
    world: World
    trainer: Trainer

    @classmethod
    def make(
        cls,
        samples: Samples,
        kind: str,
        settings: Settings,
        *,
        noise: Noise | None = None,
        genuine: bool = False,
        trainer: Trainer | None = None,
    ) -> Comparison:
        """Draw the rows and plant the noise.

        Args:
            samples: of any source.
            kind: a name in :data:`helpers.models.LADDER`.
            settings: rows, updates, seeds.
            noise: what to plant; it goes into genuine labels, where the truth is known.
            genuine: without noise, take the genuine labels in place of the log's: a control.
            trainer: of another comparison of the same rows, kind and settings, to save compiling.
        """
        genuine = genuine or noise is not None
        world = make_world(samples, noise, rows=settings.rows, seed=settings.seed, genuine=genuine)
        data = noise.name if noise else "clean" if genuine else "as is"
        if trainer is None or (noise is not None and noise.adds_rows):
            trainer = make_trainer(world, Budget(kind=kind, batch_size=settings.batch_size))
        return cls(data, kind, samples, settings, world, trainer)

    @cached_property
    def made_of(self) -> str:
        """A digest of all that a training of this comparison depends on, its code included.

        An interval's repeats change no training.
        """
        made_by = code_of("helpers.experiments.study"), numeric_settings(), LADDER[self.kind]
        return digest_of(self.data, self.world, replace(self.settings, repeats=0), *made_by)

    @property
    def noise_kind(self) -> str:
        """Return the kind of the planted noise, or :data:`helpers.samples.noise.NO_NOISE`."""
        return self.world.noise.kind if self.world.noise else NO_NOISE

    @property
    def rows(self) -> np.ndarray:
        """Return the places of the train rows among the samples, rising."""
        return self.world.rows

    @property
    def labels(self) -> np.ndarray:
        """Return the train labels as seen, float32."""
        return self.world.labels

    @cached_property
    def plans(self) -> dict[str, Plan]:
        """The plan of each action, from scores of models of the comparison's own rung.

        Scores come from the labels as the comparison has them, wrong ones included.
        """
        s = self.settings
        return make_plans(
            self.world, self.trainer, updates=s.updates, drop_share=s.drop_share, seed=s.seed
        )

    def fit(self, action: str, seed: int) -> Fitted:
        """Train one plan from one seed.

        Plans that keep all rows and draw none see them in the same order.

        Raises:
            ValueError: there is no such action.
        """
        if action not in self.plans:
            raise ValueError(f"action must be one of {', '.join(self.plans)}; got {action!r}.")
        return self.fit_plan(self.plans[action], seed)

    def fit_plan(self, plan: Plan, seed: int) -> Fitted:
        """Train any plan of the comparison's rows from one seed."""
        return self.trainer.fit(**self._how(plan, seed), denoising=plan.denoising)

    def fits_on_the_way(self, plan: Plan, seed: int, at: Sequence[int]) -> list[Fitted]:
        """Train a plan as :meth:`fit_plan` and return the models after so many updates each.

        Raises:
            ValueError: the plan denoises; that is not followed.
        """
        if plan.denoising is not None:
            raise ValueError(f"the plan {plan.name} denoises, which is not followed on the way.")
        return self.trainer.checkpoints(**self._how(plan, seed), at=at)

    def _how(self, plan: Plan, seed: int) -> dict[str, Any]:
        """Return labels, weights, seed and order of a plan's training."""
        s = self.settings
        rng = np.random.default_rng([s.seed, seed])
        return {
            "labels": self.labels if plan.labels is None else plan.labels.astype(np.float32),
            "seed": seed,
            "order": draw_order(plan, updates=s.updates, batch_size=s.batch_size, rng=rng),
            "sample_weight": plan.weight,
        }

    def judged_labels(self, role: str) -> np.ndarray:
        """Return the labels of a role: noisy like the train labels, but never on test."""
        return self.world.role(role)[1]
