"""Which few rows are worth keeping? Curves from all rows down to one in a hundred."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from helpers import actions, importance
from helpers.actions import Plan
from helpers.backend import numeric_settings
from helpers.base.writing import whole_file
from helpers.cache import code_of
from helpers.cache.shelf import cached_table
from helpers.evaluation import roc_auc
from helpers.evaluation.intervals import NoInterval, paired_difference
from helpers.experiments.study.comparison import Comparison
from helpers.experiments.ways import RIVALS, WAYS, Pick, Treatment

__all__ = ["FRACTIONS", "OutOfFold", "keep_curve"]

#: Kept shares of the curve.
FRACTIONS = (1.0, 0.5, 0.3, 0.1, 0.03, 0.01)

_MOMENTS = (0.125, 0.25, 0.5, 1.0)  # of the updates, where a training may stop early


@dataclass(frozen=True)
class OutOfFold:
    """What picking needs to know about the rows of a comparison.

    Attributes:
        labels: as seen, shape ``(n,)``.
        probability: out of fold, shape ``(n,)``.
    """

    labels: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, comparison: Comparison, *, folds: int = 5, repeats: int = 3) -> OutOfFold:
        """Return what models of the comparison's rung think of rows whose users they never saw."""
        s = comparison.settings
        probability = importance.out_of_fold_probabilities(
            comparison.trainer,
            comparison.labels,
            comparison.world.users,
            folds=folds,
            updates=s.updates,
            repeats=repeats,
            seed=s.seed + 2000,
        )
        return cls(comparison.labels, probability)

    def plan(self, way: str, share: float, *, seed: int) -> Plan:
        """Return the plan that keeps a share of the rows.

        A taught plan trusts its teacher by ``1 - share / 2``: the fewer rows are left, the more
        the teacher knows that they do not.

        Args:
            way: a key of :data:`WAYS`.
            share: kept, in (0, 1].
            seed: of what is drawn.

        Raises:
            ValueError: there is no such way, or share is not in (0, 1].
        """
        labels, p, n = self.labels, self.probability, len(self.labels)
        if way not in WAYS:
            raise ValueError(f"way must be one of {', '.join(WAYS)}; got {way!r}.")
        pick, taught = WAYS[way].pick, WAYS[way].treatment == Treatment.TAUGHT
        loss = importance.out_of_fold_losses(labels, p)
        if pick.is_drawn:
            scores = {
                Pick.RANDOM: np.ones(n),
                Pick.SURPRISE: 0.8 * np.abs(p - labels) / np.abs(p - labels).mean() + 0.2,
                Pick.BALANCED: actions.balanced_chances(labels),
            }[pick]
            plan = actions.keep_drawn(scores, share, seed=seed, weighted=not taught)
        elif pick == Pick.HARDEST_BY_CLASS:
            plan = _by_class(loss, labels, share)
        else:
            which = {Pick.HARDEST: "highest", Pick.EASIEST: "lowest", Pick.MIDDLE: "middle"}[pick]
            plan = actions.keep(loss, share, which=which)
        return actions.teach(plan, labels, p, trust=1 - share / 2) if taught else plan


def _by_class(loss: np.ndarray, labels: np.ndarray, share: float) -> Plan:
    kept = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept[rows] = actions.keep(loss[rows], share, which="highest").kept
    return Plan("hardest by class", np.ones(len(labels)), kept)


def keep_curve(
    comparison: Comparison,
    *,
    role: str = "valid",
    ways: Iterable[str] = tuple(WAYS),
    fractions: Iterable[float] = FRACTIONS,
    folder: Path | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train on ever smaller parts of the rows, paired by seed, and compare with random parts.

    Every training takes the same number of updates. What is drawn is drawn anew for each seed.

    Args:
        comparison: rows, model and settings.
        role: judged on: ``valid`` to choose by, ``test`` to confirm.
        ways: keys of :data:`WAYS`; both random ones are always among them.
        fractions: kept shares.
        folder: keeps finished logits, named by all that made them; a stopped curve goes on. None
            keeps the finished table
            only, in the cache.
        progress: show a bar.

    Returns:
        One row a way and share: ``model, way, kept_fraction, rows, auc``; ``over_random, low,
        high``, the AUC minus that of a random part of the same size; ``over_stopped, stopped_low,
        stopped_high``, minus that of such a part whose training stops at the best moment (which
        equal updates deny to it: a small part is over-fitted); ``over_all, all_low, all_high``,
        minus that of training on all rows. 95% intervals over seeds and users, NaN where users are
        too few.
    """
    ways = (*RIVALS, *(way for way in ways if way not in RIVALS))
    fractions = tuple(fractions)
    if folder is not None:
        return _curve(comparison, role, ways, fractions, folder, progress)
    key = {
        "comparison": comparison.made_of,
        "repeats": comparison.settings.repeats,
        "role": role,
        "ways": list(ways),
        "fractions": list(fractions),
        "code": code_of(__name__),
        "numeric": numeric_settings(),
    }
    return cached_table(
        "keep", key, lambda: _curve(comparison, role, ways, fractions, None, progress)
    )


def _curve(
    comparison: Comparison,
    role: str,
    ways: tuple[str, ...],
    fractions: tuple[float, ...],
    folder: Path | None,
    progress: bool,
) -> pd.DataFrame:
    keeper, rows = OutOfFold.of(comparison), comparison.samples.rows(role)
    about = (comparison.judged_labels(role), comparison.samples.column("user_id", rows))
    found, rivals, cells = [], {}, [(share, way) for share in fractions for way in ways]
    everything = _logits(comparison, keeper, "random", 1.0, role, folder)
    for share, way in tqdm(cells, desc="keep", leave=False, disable=not progress):
        if share == 1.0 and not WAYS[way].pick.is_drawn:
            continue  # all rows, whichever come first
        if way == RIVALS[0]:  # of this share, before anything is compared with them
            rivals = {
                each: _logits(comparison, keeper, each, share, role, folder) for each in RIVALS
            }
        logits = (
            rivals[way] if way in RIVALS else _logits(comparison, keeper, way, share, role, folder)
        )
        row = {"model": comparison.kind, "way": way, "kept_fraction": share}
        row |= {"rows": round(share * len(comparison.labels)), "auc": _mean_auc(about[0], logits)}
        against = [("over_random", "low", "high"), ("over_stopped", "stopped_low", "stopped_high")]
        for rival, names in zip(RIVALS, against, strict=True):
            row |= _difference(comparison, about, rivals[rival], logits, names)
        row |= _difference(
            comparison, about, everything, logits, ("over_all", "all_low", "all_high")
        )
        found.append(row)
    return pd.DataFrame(found)


def _logits(
    comparison: Comparison,
    keeper: OutOfFold,
    way: str,
    share: float,
    role: str,
    folder: Path | None,
) -> np.ndarray:
    """Return the logits of every seed on a role, shape ``(seeds, n)``, perhaps kept before."""
    name = f"keep-{comparison.data}-{comparison.kind}-{way}-{share}-{role}".replace(" ", "_")
    name = name.replace(",", "").replace("%", "")
    path = None if folder is None else folder / f"{name}-{comparison.made_of[:12]}.npy"
    if path is not None and path.exists():
        return np.load(path)
    plans = [keeper.plan(way, share, seed=seed) for seed in range(comparison.settings.seeds)]
    with threadpool_limits(1):
        if WAYS[way].treatment == Treatment.STOPPED:
            logits = _stopped_early(comparison, plans, role)
        else:
            inputs = comparison.samples.inputs(comparison.samples.rows(role))
            logits = np.array(
                [comparison.fit_plan(p, seed).logits(inputs) for seed, p in enumerate(plans)]
            )
    if path is not None:
        with whole_file(path) as temporary:
            np.save(temporary, logits)
    return logits


def _stopped_early(comparison: Comparison, plans: Sequence[Plan], role: str) -> np.ndarray:
    """Return the logits after the number of updates whose mean AUC on valid is best."""
    at = sorted({max(1, round(part * comparison.settings.updates)) for part in _MOMENTS})
    fits = [comparison.fits_on_the_way(plan, seed, at) for seed, plan in enumerate(plans)]
    inputs = comparison.samples.inputs(comparison.samples.rows("valid"))
    labels = comparison.judged_labels("valid")
    on_valid = [[fitted.logits(inputs) for fitted in way] for way in fits]
    reached = [_mean_auc(labels, [of_seed[i] for of_seed in on_valid]) for i in range(len(at))]
    best = int(np.argmax(reached))
    if role == "valid":
        return np.array([of_seed[best] for of_seed in on_valid])
    inputs = comparison.samples.inputs(comparison.samples.rows(role))
    return np.array([of_seed[best].logits(inputs) for of_seed in fits])


def _mean_auc(labels: np.ndarray, logits: Iterable[np.ndarray]) -> float:
    return float(np.mean([roc_auc(labels, z) for z in logits]))


def _difference(
    comparison: Comparison,
    about: tuple[np.ndarray, np.ndarray],
    before: np.ndarray,
    after: np.ndarray,
    names: tuple[str, str, str],
) -> dict[str, float]:
    try:
        interval = paired_difference(
            about[0], before, after, about[1], repeats=comparison.settings.repeats
        )
    except NoInterval:
        return dict.fromkeys(names, np.nan)
    return dict(zip(names, (interval.estimate, interval.low, interval.high), strict=True))
