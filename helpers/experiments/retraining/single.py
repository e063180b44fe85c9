"""One row left out at a time, where the truth can be had: converged logistic regression."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from helpers.backend import keras
from helpers.experiments.retraining.case import AttributionSettings
from helpers.importance import (
    Logistic,
    converged_logistic,
    influence_scores,
    logistic_leave_one_out,
    tracin_scores,
)
from helpers.losses import cross_entropy_loss
from helpers.samples import Samples

__all__ = ["leaving_out_table"]


def leaving_out_table(
    samples: Samples, settings: AttributionSettings, *, progress: bool = False
) -> pd.DataFrame:
    """Return how well influence and a plain gradient dot rank rows like really leaving them out.

    The model is a logistic regression of the dense features in float64, fitted to a gradient norm
    of 1e-10; the goal is the mean loss of the attribution rows.

    Args:
        samples: of any source.
        settings: ``single_rows``, ``goals``, ``l2``, ``repeats``, ``seed``.
        progress: show a bar.

    Returns:
        One row a score: ``score, estimate, low, high``, Spearman's correlation with the refits and
        its interval over the training rows.

    Example:
        >>> from helpers.samples import load_samples
        >>> settings = AttributionSettings(single_rows=60, goals=40, repeats=20)
        >>> leaving_out_table(load_samples("sample"), settings).score.tolist()
        ['gradient dot', 'influence']
    """
    rng = np.random.default_rng([settings.seed, 4])
    rows = np.sort(rng.permutation(samples.rows("train"))[: settings.single_rows])
    goals = np.sort(rng.permutation(samples.rows("attribution"))[: settings.goals])
    (x, y), goal = (
        (samples.inputs(r)["dense"].astype(np.float64), samples.labels(r).astype(np.float64))
        for r in (rows, goals)
    )
    model = _as_model(converged_logistic(x, y, settings.l2))
    scores = {
        "gradient dot": tracin_scores(
            model, cross_entropy_loss, x, y, goal, [model.get_weights()], [1.0]
        ),
        "influence": influence_scores(model, cross_entropy_loss, x, y, goal, l2=settings.l2),
    }
    truth = logistic_leave_one_out(x, y, goal, l2=settings.l2, progress=progress)
    found = []
    for name, values in scores.items():
        draws = []
        for _ in range(settings.repeats):
            drawn = rng.integers(len(x), size=len(x))
            draws.append(spearmanr(values[drawn], truth[drawn]).statistic)
        low, high = np.quantile(draws, [0.025, 0.975])
        estimate = spearmanr(values, truth).statistic
        found.append({"score": name, "estimate": estimate, "low": low, "high": high})
    return pd.DataFrame(found)


def _as_model(fitted: Logistic) -> keras.Model:
    """Return a fitted logistic regression as a float64 Keras model of its logit."""
    unit = keras.layers.Dense(1, dtype="float64")
    model = keras.Sequential([keras.Input((len(fitted.weights) - 1,), dtype="float64"), unit])
    model.set_weights([fitted.weights[:-1, None], fitted.weights[-1:]])
    return model
