"""Samples whose labels are easy to learn, with the true probabilities: wrong labels stand out."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from small_samples import small_samples_with_truth

from helpers.losses import sigmoid
from helpers.samples import Samples


@cache
def easy_samples() -> Samples:
    """Return the small samples with other features, of which the first tells the label.

    Many weak ones beside it keep a model's random first weights small.
    """
    samples = small_samples_with_truth()
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(len(samples), 30)).astype(np.float32)
    dense *= np.where(np.arange(30) == 0, 2.0, 0.3).astype(np.float32)
    p = sigmoid(2.5 * dense[:, 0].astype(float))
    label = (rng.random(len(p)) < p).astype(np.int64)
    return replace(
        samples,
        dense=dense,
        feature_names=[f"feature {number}" for number in range(30)],
        table=samples.table.assign(label=label),
        truth=samples.truth.assign(p_clean=p, clean_click=label, observed_click=label),
    )
