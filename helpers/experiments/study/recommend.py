"""The recommended action under each kind of noise, beside the oracle: what is it worth?

What is recommended was written down per kind of noise before anything was measured
(:data:`helpers.samples.noise.RECOMMENDED`, :func:`helpers.experiments.study.suspects`). So nothing
is chosen here, and it may be judged on test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from helpers.backend import numeric_settings
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.cache.shelf import cached_table
from helpers.experiments.study.arms import CORRECTED, QUICK, Arm, arm_of, compare
from helpers.experiments.study.comparison import Comparison, Settings
from helpers.experiments.study.plans import ORACLE
from helpers.experiments.ways import SUSPECTS
from helpers.models import Trainer
from helpers.samples import Samples
from helpers.samples.noise import Noise

__all__ = ["act_as_recommended"]

_METRICS = (*QUICK, CORRECTED)
#: What the columns of a metric begin with.
_COMPARED = {"": "auc", "log_loss_": "log_loss_recalibrated", "corrected_": CORRECTED}


def act_as_recommended(
    samples: Samples,
    settings: Settings,
    noises: Sequence[Noise | None],
    *,
    kinds: Iterable[str] = ("mlp",),
    role: str = "test",
    folder: Path | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Return what dropping suspects does under each kind of noise, beside oracle and chance.

    Args:
        samples: of any source.
        settings: rows, updates, seeds.
        noises: what to plant, one after the other; None plants nothing: the control.
        kinds: rungs of the ladder.
        role: judged on; on ``test`` no noise is planted.
        folder: keeps finished arms; a stopped run goes on. None keeps the finished table only, in
            the cache.
        progress: show a bar.

    Returns:
        One row a version of the data, model and action: ``data, noise_kind`` (of what was planted),
        ``model, action, dropped`` (share of rows), ``auc``; ``difference, low, high`` of the AUC to
        the uniform plan;
        ``log_loss_difference, log_loss_low, log_loss_high``, of the recalibrated log loss;
        ``corrected_difference, corrected_low, corrected_high``, the same after a line that is
        corrected (:func:`helpers.experiments.study.correction.corrected_line`); uniform corrects
        nothing; and ``recovered``: the part of the way from random dropping to the oracle, NaN
        where the oracle does not gain.

    Raises:
        ValueError: there is no such rung, or the role is refused.
    """
    noises, kinds = list(noises), tuple(kinds)
    if folder is not None:
        return _all_rows(samples, settings, noises, kinds, role, folder, progress)
    key = {
        "samples": digest_of(samples),
        "settings": asdict(settings),
        "noises": [asdict(noise) if noise else None for noise in noises],
        "kinds": list(kinds),
        "role": role,
        "code": code_of(__name__),
        "numeric": numeric_settings(),
    }
    return cached_table(
        "recommended",
        key,
        lambda: _all_rows(samples, settings, noises, kinds, role, None, progress),
    )


def _all_rows(
    samples: Samples,
    settings: Settings,
    noises: Sequence[Noise | None],
    kinds: tuple[str, ...],
    role: str,
    folder: Path | None,
    progress: bool,
) -> pd.DataFrame:
    found: list[dict[str, float | str]] = []
    trainers: dict[str, Trainer] = {}
    cells = [(kind, noise) for kind in kinds for noise in noises]
    for kind, noise in tqdm(cells, desc="act", leave=False, disable=not progress):
        genuine = noise is not None or samples.truth is not None
        comparison = Comparison.make(
            samples, kind, settings, noise=noise, genuine=genuine, trainer=trainers.get(kind)
        )
        if noise is None or not noise.adds_rows:
            trainers[kind] = comparison.trainer
        actions = (SUSPECTS, *(ORACLE if noise else ("drop random",)))
        arms = {
            a: arm_of(comparison, a, role, folder, metrics=_METRICS) for a in ("uniform", *actions)
        }
        found += _rows(comparison, arms, role)
    return pd.DataFrame(found)


def _rows(comparison: Comparison, arms: dict[str, Arm], role: str) -> list[dict[str, float | str]]:
    mean = {action: arm.metrics["auc"].mean() for action, arm in arms.items()}
    rows = []
    for action, arm in arms.items():
        table = compare(
            comparison, arms["uniform"], arm, role, metrics=_COMPARED.values()
        ).set_index("metric")
        row: dict[str, float | str] = {"data": comparison.data, "noise_kind": comparison.noise_kind}
        row |= {"model": comparison.kind, "action": action}
        row |= {"dropped": float((~comparison.plans[action].kept).mean()), "auc": mean[action]}
        for prefix, metric in _COMPARED.items():
            for name in ("difference", "low", "high"):
                row[prefix + name] = table.loc[metric, name]
        rows.append(row | {"recovered": _recovered(mean, action)})
    return rows


def _recovered(auc: dict[str, float], action: str) -> float:
    oracle, chance = (auc.get(name, float("nan")) for name in ORACLE)
    return (auc[action] - chance) / (oracle - chance) if oracle > chance else float("nan")
