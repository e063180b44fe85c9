"""A whole study on valid, and the one confirmation on test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from helpers.backend import numeric_settings
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.cache.shelf import cached_tables
from helpers.experiments.study.arms import CONFIRMED, Arm, arm_of, compare, judge
from helpers.experiments.study.comparison import Comparison, Settings
from helpers.experiments.study.plans import ACTIONS, ORACLE, REFERENCES
from helpers.samples import Samples
from helpers.samples.noise import Noise

__all__ = ["confirm", "run_study"]

Tables = tuple[pd.DataFrame, pd.DataFrame]


def run_study(
    samples: Samples,
    settings: Settings,
    *,
    kinds: Iterable[str] = ("linear", "mlp"),
    folder: Path | None = None,
    progress: bool = False,
) -> Tables:
    """Train every plan of every comparison and compare each with the uniform plan on valid; cached.

    Args:
        samples: of any source.
        settings: rows, updates, seeds.
        kinds: rungs of the ladder.
        folder: keeps each finished arm, and is looked into first: a study that was
            stopped goes on. One folder for each data set and settings. None keeps
            the finished study only, in the cache.
        progress: show a bar.

    Returns:
        ``(study, chosen)``. Study: one row a data version, model and action: ``data,
        model, action, auc, difference, low, high`` (of the AUC, on valid) and the means
        of the other metrics of :data:`QUICK`. Chosen: ``data, model, action`` with the
        highest mean AUC on valid, ``uniform`` included, :data:`REFERENCES` not.

    Example:
        >>> from helpers.samples import load_samples
        >>> settings = Settings(rows=500, updates=5, batch_size=64, seeds=2, repeats=20)
        >>> study, chosen = run_study(load_samples("sample"), settings, kinds=["linear"])
        >>> len(study) == 2 * len(ACTIONS) + len(ORACLE), chosen.data.tolist()
        (True, ['as is', '20% flips'])
    """
    kinds = tuple(kinds)
    if folder is not None:
        return _train_all(samples, settings, kinds, folder, progress)
    key = {
        "samples": digest_of(samples),
        "settings": asdict(settings),
        "kinds": list(kinds),
        "code": code_of(__name__),
        "numeric": numeric_settings(),
    }

    def build() -> dict[str, pd.DataFrame]:
        study, chosen = _train_all(samples, settings, kinds, None, progress)
        return {"study": study, "chosen": chosen}

    found = cached_tables("study", key, build, names=["study", "chosen"])
    return found["study"], found["chosen"]


def _train_all(
    samples: Samples,
    settings: Settings,
    kinds: tuple[str, ...],
    folder: Path | None,
    progress: bool,
) -> Tables:
    tables = []
    planted = Noise("flip", settings.flip_share)
    total = len(kinds) * (2 * len(ACTIONS) + len(ORACLE))
    with tqdm(total=total, desc="study", leave=False, disable=not progress) as bar:
        for kind in kinds:
            trainer = None
            for noise in (None, planted):
                comparison = Comparison.make(samples, kind, settings, noise=noise, trainer=trainer)
                trainer, before = comparison.trainer, None
                for action in (*ACTIONS, *(ORACLE if noise else ())):
                    arm = arm_of(comparison, action, "valid", folder)
                    before = before or arm
                    tables.append(_study_row(comparison, before, arm))
                    bar.update()
    # Python's sort keeps the order within a data version.
    study = pd.DataFrame(sorted(tables, key=lambda row: row["data"] != "as is"))
    able = study[~study.action.isin(REFERENCES)]
    best = able.groupby(["data", "model"], sort=False).auc.idxmax()
    return study, study.loc[best, ["data", "model", "action"]].reset_index(drop=True)


def _study_row(comparison: Comparison, before: Arm, arm: Arm) -> dict[str, float | str]:
    row = compare(comparison, before, arm, "valid").iloc[0]
    named = {name: row[name] for name in ("data", "model", "action")}
    interval = {name: row[name] for name in ("difference", "low", "high")}
    means = arm.metrics.mean()
    return {**named, "auc": means.pop("auc"), **interval, **means}


def confirm(
    samples: Samples,
    settings: Settings,
    kind: str,
    action: str,
    *,
    noise: Noise | None = None,
    metrics: Iterable[str] = CONFIRMED,
) -> pd.DataFrame:
    """Return before and after of one chosen action on test, one row a metric.

    Before is ``uniform``. Test labels carry no planted noise.

    Args:
        samples: of any source.
        settings: rows, updates, seeds.
        kind: name of the rung.
        action: the one that was chosen on valid.
        noise: what is planted into all roles but test.
        metrics: of :func:`helpers.evaluation.evaluate`.

    Raises:
        ValueError: there is no such action, or no such metric.
    """
    metrics = tuple(metrics)
    comparison = Comparison.make(samples, kind, settings, noise=noise)
    before = judge(comparison, "uniform", "test", metrics=metrics)
    after = judge(comparison, action, "test", metrics=metrics)
    return compare(comparison, before, after, "test", metrics=metrics)
