"""Are the probabilities right? Log loss, calibration error and recalibration.

Ranking says whether the better items come first; this module asks whether "20 %" happens in a
fifth of the cases. On sampled negatives every number here describes the *sampled* rows:
:func:`shift_logits` takes the sampling back out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, xlog1py, xlogy
from sklearn.linear_model import LogisticRegression

__all__ = [
    "Recalibration",
    "base_rate",
    "calibration_error",
    "calibration_table",
    "check_probabilities",
    "check_rows",
    "check_scores",
    "fit_recalibration",
    "fit_through_noise",
    "log_loss",
    "log_loss_from_logits",
    "shift_logits",
]

Floats = NDArray[np.float64]


def check_scores(scores: ArrayLike, *, name: str = "scores") -> Floats:
    """Return ``scores`` as a float64 vector, or say what is wrong with them.

    Args:
        scores: shape ``(n,)`` or ``(n, 1)``, finite, not empty.
        name: what an error message calls the scores.

    Returns:
        Shape ``(n,)``, in input order.

    Raises:
        ValueError: there are no rows, the shape is another one, or a value that is NaN or infinite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"{name} must have shape (n,) or (n, 1); got {values.shape}.")
    if not len(values):
        raise ValueError(f"{name} is empty: there is nothing to measure.")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"{name} must be finite numbers; {len(bad)} of {len(values)} are NaN or infinite, "
            f"the first in row {bad[0]}."
        )
    return values


def check_rows(
    labels: ArrayLike, scores: ArrayLike, *, both_classes: bool = False, name: str = "scores"
) -> tuple[Floats, Floats]:
    """Return labels and scores as float64 vectors of one length, or say what is wrong.

    Args:
        labels: 0 or 1 for each row.
        scores: one finite number per row.
        both_classes: whether a metric is asked for that needs a 0 and a 1.
        name: what an error message calls the scores.

    Returns:
        Labels and scores, each of shape ``(n,)``, in input order.

    Raises:
        ValueError: lengths differ, a label is neither 0 nor 1, only one class came where two are
            needed, or :func:`check_scores` refuses.
    """
    values = check_scores(scores, name=name)
    truth = np.asarray(labels, dtype=np.float64)
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if truth.shape != values.shape:
        raise ValueError(
            f"labels and {name} must have one value per row; "
            f"got {np.shape(labels)} labels and {np.shape(scores)} {name}."
        )
    strange = truth[~np.isin(truth, (0.0, 1.0))]
    if len(strange):
        raise ValueError(f"labels must be 0 or 1; got {strange[0]:g} ({len(strange)} such rows).")
    if both_classes and truth.min() == truth.max():
        raise ValueError(
            f"labels must hold both classes; all {len(truth)} are {truth[0]:g}, "
            "so this metric is not defined."
        )
    return truth, values


def check_probabilities(probabilities: ArrayLike) -> Floats:
    """Return ``probabilities`` as a float64 vector, or say what is wrong with them.

    Raises:
        ValueError: a value outside [0, 1], or :func:`check_scores` refuses.
    """
    values = check_scores(probabilities, name="probabilities")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"probabilities must be in [0, 1]; they run from {values.min():g} to "
            f"{values.max():g}. For logits there is log_loss_from_logits and fit_recalibration."
        )
    return values


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of ``-log(probability given to what happened)``, in nats.

    Nothing is clipped: one row that was certain and wrong makes the mean infinite. That is what
    the formula says. scikit-learn's ``log_loss`` clips instead, so its answer depends on the
    dtype. Where logits are at hand, use :func:`log_loss_from_logits`.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        probabilities: probabilities of label 1, shape ``(n,)``, in [0, 1].

    Returns:
        0 or more; ``inf`` where a row was certain and wrong.

    Raises:
        ValueError: :func:`check_rows` or :func:`check_probabilities` refuses.

    Example:
        >>> round(log_loss([1, 0], [0.5, 0.5]), 4)  # log(2)
        0.6931
        >>> log_loss([1, 0], [0.0, 0.5])
        inf
    """
    truth, _ = check_rows(labels, probabilities, name="probabilities")
    p = check_probabilities(probabilities)
    return float(-(xlogy(truth, p) + xlog1py(1 - truth, -p)).mean())


def log_loss_from_logits(labels: ArrayLike, logits: ArrayLike) -> float:
    """Return the mean log loss of logits, in nats; exact for logits of any size.

    A row costs ``log(1 + exp(-z))`` for label 1 and ``log(1 + exp(z))`` for label 0. Going through
    a probability would lose rows whose probability rounds to 0 or 1.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        logits: log odds of label 1, shape ``(n,)``.

    Raises:
        ValueError: :func:`check_rows` refuses.

    Example:
        >>> log_loss_from_logits([1, 0], [-1e4, -1e4])
        5000.0
    """
    truth, z = check_rows(labels, logits, name="logits")
    return float(np.logaddexp(0.0, (1 - 2 * truth) * z).mean())


def base_rate(probabilities: ArrayLike) -> float:
    """Return the mean prediction: the positive share that the model expects.

    Example:
        >>> base_rate([0.25, 0.75])
        0.5
    """
    return float(check_probabilities(probabilities).mean())


def calibration_table(
    labels: ArrayLike, probabilities: ArrayLike, *, bins: int = 10
) -> pd.DataFrame:
    """Return what was predicted and what happened, in bins of about equally many rows.

    Equal predictions always share a bin, so the order of the rows cannot matter; with many ties
    there are fewer bins than asked for, and they are less equal.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        probabilities: probabilities of label 1, shape ``(n,)``, in [0, 1].
        bins: the largest number of bins.

    Returns:
        One row a bin, lowest predictions first: ``rows``, ``mean_prediction``, ``positive_share``.

    Raises:
        ValueError: ``bins`` below 1 or above the number of rows, or the inputs are refused.

    Example:
        >>> calibration_table([0, 1, 1, 1], [0.1, 0.3, 0.8, 0.8], bins=2)
           rows  mean_prediction  positive_share
        0     2              0.2             0.5
        1     2              0.8             1.0
    """
    truth, _ = check_rows(labels, probabilities, name="probabilities")
    p = check_probabilities(probabilities)
    if not 1 <= bins <= len(p):
        raise ValueError(f"bins must be in [1, {len(p)}] (number of rows); got {bins}.")
    edges = np.unique(np.quantile(p, np.arange(1, bins) / bins))
    bin_of_row = np.searchsorted(edges, p)  # a value on an edge goes to the bin below it
    rows = np.bincount(bin_of_row)
    used = np.flatnonzero(rows)
    return pd.DataFrame(
        {
            "rows": rows[used],
            "mean_prediction": np.bincount(bin_of_row, p)[used] / rows[used],
            "positive_share": np.bincount(bin_of_row, truth)[used] / rows[used],
        }
    )


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = 10) -> float:
    """Return the expected calibration error: the mean gap of prediction and outcome by bin.

    ``sum over bins of (rows / all rows) * |mean prediction - positive share|``, with the bins of
    :func:`calibration_table`. It is never negative, so chance alone lifts it above 0: compare it
    only at equal numbers of rows and bins.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        probabilities: probabilities of label 1, shape ``(n,)``, in [0, 1].
        bins: the largest number of bins.

    Returns:
        A number in [0, 1]; 0 is best.

    Raises:
        ValueError: for the reasons that :func:`calibration_table` has.

    Example:
        >>> round(calibration_error([0, 1, 1, 1], [0.1, 0.3, 0.8, 0.8], bins=2), 4)
        0.25

    Reference: Naeini, Cooper and Hauskrecht (2015), AAAI, "Obtaining well calibrated
    probabilities using Bayesian binning".
    """
    table = calibration_table(labels, probabilities, bins=bins)
    gap = (table["mean_prediction"] - table["positive_share"]).abs()
    return float(np.average(gap, weights=table["rows"]))


def shift_logits(logits: ArrayLike, offset: float) -> Floats:
    """Return ``logits + offset``: logits about all exposures, where the rows are a sample of them.

    If every positive was kept but only a share r of the negatives, the odds among the rows are
    1/r times too high, and ``offset = log(r)``, which is ``Samples.logit_offset``. The order of
    the rows does not change.

    Args:
        logits: log odds of label 1 among the sampled rows, shape ``(n,)``.
        offset: log odds among all exposures minus log odds among the rows; 0 or less when
            negatives were left out.

    Example:
        >>> shift_logits([0.0], np.log(1 / 4)).round(4)  # one negative in four was kept
        array([-1.3863])

    Reference: King and Zeng (2001), Political Analysis 9(2), section 4.1.
    """
    return check_scores(logits, name="logits") + float(offset)


@dataclass(frozen=True)
class Recalibration:
    """The line ``slope * logit + intercept`` that makes logits fit the outcomes of some rows.

    Attributes:
        slope: below 1 says the logits were too sure; a positive slope keeps the order of rows.
        intercept: above 0 says positives were predicted too rarely.
        slope_fitted: False where the slope could not be learnt and was left at 1.
    """

    slope: float
    intercept: float
    slope_fitted: bool = True

    def logits(self, logits: ArrayLike) -> Floats:
        """Return the recalibrated logits, shape ``(n,)``."""
        return self.slope * check_scores(logits, name="logits") + self.intercept

    def apply(self, logits: ArrayLike) -> Floats:
        """Return the recalibrated probabilities, shape ``(n,)``."""
        probabilities: Floats = expit(self.logits(logits))
        return probabilities


def fit_recalibration(labels: ArrayLike, logits: ArrayLike) -> Recalibration:
    """Return Platt's recalibration: a logistic regression of the label on the logit, no penalty.

    Fit it on ``valid`` and apply it to ``test``; fitted on the rows it is judged on it flatters.
    Two cases have no best finite slope: all logits equal, or logits that separate the classes.
    Then the slope stays 1 and only the intercept is fitted (``slope_fitted`` is False).

    Args:
        labels: 0 or 1, shape ``(n,)``, both present.
        logits: log odds of label 1, shape ``(n,)``.

    Raises:
        ValueError: one class only, or :func:`check_rows` refuses.

    Example:
        >>> line = fit_recalibration([1, 0, 0, 0], [2.0, 2.0, 2.0, 2.0])
        >>> line.apply([2.0]).round(4)  # the positive share
        array([0.25])

    Reference: Platt (1999), "Probabilistic outputs for support vector machines"; without his
    smoothing of the labels.
    """
    truth, z = check_rows(labels, logits, both_classes=True, name="logits")
    if _classes_overlap(truth, z):
        return _fit_line(truth, z)
    return Recalibration(1.0, _fit_intercept(truth, z), slope_fitted=False)


def fit_through_noise(
    labels: ArrayLike, logits: ArrayLike, *, down: bool = True
) -> tuple[Recalibration, float]:
    """Return the line that fits the *genuine* outcomes, from rows of which some are turned.

    A line through noisy labels learns noisy probabilities, and dropping the rows whose label looks
    wrong leaves rows that look far too certain. Here the noise stands in the likelihood, and how
    much there is of it is fitted with the line::

        P(label = 1) = r (1 - p) + (1 - r) p,   p = sigma(slope z + intercept)

    or, where only zeros are turned, ``r (1 - p) + p``. Rows that a good model is sure of tell the
    rate. A standard normal prior on the logarithm of the slope keeps it finite, and positive.

    Args:
        labels: the labels as they are recorded, 0 or 1, shape ``(n,)``, both present.
        logits: log odds of label 1 by a model that did not learn from these rows, shape ``(n,)``.
        down: whether a genuine 1 is turned as often as a genuine 0, or never.

    Returns:
        ``(line, rate)``: the recalibration, and the chance r in [0, 0.49] that a label is turned.

    Raises:
        ValueError: :func:`fit_recalibration` refuses.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=200_000) * 2
        >>> seen = (rng.random(200_000) < expit(z)) ^ (rng.random(200_000) < 0.2)
        >>> print(f"{fit_recalibration(seen, z).slope:.1f}")
        0.4
        >>> line, rate = fit_through_noise(seen, z)
        >>> print(f"{line.slope:.1f} {rate:.2f}")
        1.0 0.20

    Reference: Patrini et al. (2017), "Making deep neural networks robust to label noise",
    arXiv:1609.03683, section 4.2 (the forward correction), here for a line, with the rate fitted.
    """
    plain = fit_recalibration(labels, logits)
    truth, z = check_rows(labels, logits, both_classes=True, name="logits")

    classes = 2 if down else 1  # that are turned

    def loss(at: Floats) -> tuple[float, Floats]:
        slope, rate = np.exp(at[0]), at[2]
        p = np.clip(expit(slope * z + at[1]), 1e-12, 1 - 1e-12)
        genuine = 1 - classes * rate
        seen = rate + genuine * p
        by_seen = (seen - truth) / (seen * (1 - seen))
        by_logit = by_seen * genuine * p * (1 - p)
        by_rate = by_seen * (1 - classes * p)
        value = -(xlogy(truth, seen) + xlog1py(1 - truth, -seen)).mean()
        slopes = [(by_logit * z).mean() * slope + at[0] / len(z), by_logit.mean(), by_rate.mean()]
        return value + at[0] ** 2 / (2 * len(z)), np.array(slopes)

    # The likelihood can have a hill for much and one for little noise: the higher one counts.
    starts = [[np.log(max(plain.slope, 0.05)), plain.intercept, rate] for rate in (0.01, 0.2, 0.4)]
    bounds = [(-5, 5), (None, None), (0, 0.49)]
    exact = {"ftol": 1e-13, "gtol": 1e-8}
    fits = [
        minimize(loss, at, jac=True, method="L-BFGS-B", bounds=bounds, options=exact)
        for at in starts
    ]
    log_slope, intercept, rate = min(fits, key=lambda fit: fit.fun).x
    return Recalibration(float(np.exp(log_slope)), float(intercept)), float(rate)


def _classes_overlap(truth: Floats, z: Floats) -> bool:
    ones, zeros = z[truth == 1], z[truth == 0]
    return bool(ones.max() > zeros.min() and zeros.max() > ones.min())


def _fit_line(truth: Floats, z: Floats) -> Recalibration:
    # Standardised logits keep the solver well conditioned whatever their scale.
    centre, scale = z.mean(), z.std()
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
    model.fit(((z - centre) / scale)[:, None], truth)
    slope = float(model.coef_[0, 0]) / scale
    return Recalibration(slope, float(model.intercept_[0]) - slope * centre)


def _fit_intercept(truth: Floats, z: Floats) -> float:
    # At the best intercept the mean prediction is the positive share. The share's own log odds,
    # moved by the extreme logits, lie on either side of it.
    share = truth.mean()
    log_odds = np.log(share / (1 - share))
    low, high = log_odds - z.max() - 1e-6, log_odds - z.min() + 1e-6
    return float(brentq(lambda shift: expit(z + shift).mean() - share, low, high, xtol=1e-12))
