"""Many kinds of noise at once, as a notebook runs them: on some of the rows, kept in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from helpers.backend import numeric_settings
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.cache.shelf import cached_table
from helpers.experiments.detection.measures import detect
from helpers.experiments.detection.scoreboard import Budget, make_trainer
from helpers.experiments.detection.worlds import make_world
from helpers.samples import Samples
from helpers.samples.noise import Noise

__all__ = ["detect_all"]


def detect_all(
    samples: Samples,
    noises: Sequence[Noise],
    budget: Budget,
    *,
    rows: int,
    worlds: int = 2,
    seed: int = 0,
    goals: Iterable[str] = (),
    repeats: int = 200,
    progress: bool = False,
) -> pd.DataFrame:
    """Return how well each score finds each kind of noise; cached.

    Args:
        samples: of any source.
        noises: what to plant, one after the other.
        budget: of the scores.
        rows: train rows of each world.
        worlds: how often each noise is planted.
        seed: of the rows and the noise.
        goals: attribution labels that the scores of a goal see; none leaves these scores out.
        repeats: draws of each interval.
        progress: show bars.

    Returns:
        As :func:`helpers.experiments.detection.judge_board`, noise below noise, with a column
        ``model``.

    Example:
        >>> from helpers.samples import load_samples
        >>> budget = Budget("logistic", updates=20, batch_size=64, seeds=1, folds=2, repeats=1)
        >>> found = detect_all(
        ...     load_samples("sample"), [Noise("flip", 0.2)], budget, rows=600, worlds=1, repeats=9)
        >>> best = found.set_index("score").auroc
        >>> bool(best["out-of-fold loss"] > best["random"])
        True
    """
    goals = tuple(goals)
    key = {
        "samples": digest_of(samples),
        "noises": [asdict(noise) for noise in noises],
        "budget": asdict(budget),
        "rows": rows,
        "worlds": worlds,
        "seed": seed,
        "goals": list(goals),
        "repeats": repeats,
        "code": code_of(__name__),
        "numeric": numeric_settings(),
    }

    def build() -> pd.DataFrame:
        # All noises but duplicates leave the rows as they are: one trainer serves them.
        trainer = make_trainer(make_world(samples, None, rows=rows, seed=seed), budget)
        options: dict[str, Any] = {"rows": rows, "worlds": worlds, "seed": seed, "goals": goals}
        options |= {"repeats": repeats, "progress": progress, "trainer": trainer}
        found = [detect(samples, noise, budget, **options) for noise in noises]
        return pd.concat(found, ignore_index=True).assign(model=budget.kind)

    return cached_table("detection", key, build)
