"""The examination as one table: how well each score foretells what retraining gives."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.backend import numeric_settings
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.cache.shelf import cached_table
from helpers.experiments.retraining.case import AttributionSettings, Case
from helpers.experiments.retraining.halves import retrain_halves
from helpers.experiments.retraining.pairs import PAIR_SCORES, Scores, pair_scores
from helpers.experiments.retraining.single import leaving_out_table
from helpers.importance import linear_datamodelling_score, subset_correlations
from helpers.samples import Samples

__all__ = ["attribution_table", "halves_table"]

#: What the outcomes of one half of the seeds say about those of the other half.
_CEILING = "retraining itself"


def attribution_table(
    samples: Samples,
    settings: AttributionSettings,
    *,
    folder: Path | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Return how well each score foretells retraining, with intervals; cached.

    Args:
        samples: of any source.
        settings: how large it is.
        folder: keeps each finished half; one folder for each data set and settings. None keeps the
            finished table only, in the cache.
        progress: show bars.

    Returns:
        One row a score: ``test, score, damping, estimate, low, high``. Test is ``halves`` (the
        linear datamodelling score, over the judged goal rows) or ``one row out`` (Spearman's
        correlation over the training rows, of a converged logistic regression). The damping, NaN
        where there is none, was chosen on goal rows of other users. The row ``retraining itself``
        is what half of the seeds foretell about the other half: what seeds leave to be foretold.

    Example:
        >>> from helpers.samples import load_samples
        >>> settings = AttributionSettings(
        ...     kind="logistic", rows=40, goals=30, subsets=20, seeds=2, score_seeds=1, updates=4,
        ...     batch_size=8, checkpoints=2, dampings=(0.1,), single_rows=40, repeats=10)
        >>> table = attribution_table(load_samples("sample"), settings)
        >>> table.test.value_counts().to_dict()
        {'halves': 10, 'one row out': 2}
    """

    def build() -> pd.DataFrame:
        halves = halves_table(Case.make(samples, settings), folder=folder, progress=progress)
        single = leaving_out_table(samples, settings, progress=progress)
        return pd.concat(
            [halves.assign(test="halves"), single.assign(test="one row out", damping=np.nan)],
            ignore_index=True,
        )[["test", "score", "damping", "estimate", "low", "high"]]

    if folder is not None:
        return build()
    key = {
        "samples": digest_of(samples),
        "settings": asdict(settings),
        "code": code_of(__name__),
        "numeric": numeric_settings(),
    }
    return cached_table("attribution", key, build)


def halves_table(case: Case, *, folder: Path | None = None, progress: bool = False) -> pd.DataFrame:
    """Return the linear datamodelling score of each score: ``score, damping, estimate, low, high``.

    Args:
        case: rows and trainer.
        folder: as :func:`attribution_table`.
        progress: show bars.
    """
    members, margins = retrain_halves(case, folder=folder, progress=progress)
    scores = pair_scores(case, progress=progress)
    outcomes = margins.mean(axis=1)
    found = [
        _judged(case, name, damping, scores, members, outcomes)
        for name in PAIR_SCORES
        for damping in [_choose(case, name, scores, members, outcomes)]
    ]
    if margins.shape[1] > 1:
        middle = margins.shape[1] // 2
        one, other = margins[:, :middle].mean(axis=1), margins[:, middle:].mean(axis=1)
        # Every half is a score of its own here, and the sums are the other seeds' outcomes.
        ceiling: dict[tuple[str, float | None], np.ndarray] = {(_CEILING, None): one}
        found.append(_judged(case, _CEILING, None, ceiling, np.eye(len(one), dtype=bool), other))
    return pd.DataFrame(found)


def _choose(
    case: Case, name: str, scores: Scores, members: np.ndarray, outcomes: np.ndarray
) -> float | None:
    """Return the damping that does best on the goal rows that are not judged."""
    dampings = [damping for other, damping in scores if other == name]
    if dampings == [None]:
        return None
    free = ~case.judged
    means = [
        np.nanmean(subset_correlations(members, scores[name, d][:, free], outcomes[:, free]))
        for d in dampings
    ]
    return dampings[int(np.argmax(means))]


def _judged(
    case: Case,
    name: str,
    damping: float | None,
    scores: Scores,
    members: np.ndarray,
    outcomes: np.ndarray,
) -> dict[str, str | float]:
    found = linear_datamodelling_score(
        members,
        scores[name, damping][:, case.judged],
        outcomes[:, case.judged],
        groups=case.users[case.judged],
        repeats=case.settings.repeats,
        seed=case.settings.seed,
    )
    value = np.nan if damping is None else damping
    ends = {"estimate": found.estimate, "low": found.low, "high": found.high}
    return {"score": name, "damping": value, **ends}
