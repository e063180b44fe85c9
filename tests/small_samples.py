"""A small part of the bundled log, which the tests of models, importance and studies share."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from helpers.data.sources import open_source
from helpers.samples import Samples, make_samples


@cache
def small_samples() -> Samples:
    """Return the samples of every sixth user: some 6,000 train rows. Nothing is written."""
    return replace(small_samples_with_truth(), truth=None)


@cache
def small_samples_with_truth() -> Samples:
    """Return the same samples together with what was planted into them."""
    samples = make_samples(open_source("sample"))
    users = np.sort(samples.table["user_id"].unique())[::6]
    rows = np.flatnonzero(samples.table["user_id"].isin(users))
    return replace(cut(samples, rows), truth=samples.truth.iloc[rows].reset_index(drop=True))


def cut(samples: Samples, rows: np.ndarray) -> Samples:
    """Return these rows of the samples, as samples of their own."""
    table = samples.table.iloc[rows].reset_index(drop=True)
    return replace(
        samples,
        table=table.assign(sample_id=np.arange(len(rows))),
        features=samples.features.iloc[rows].reset_index(drop=True),
        dense=samples.dense[rows],
        numbers={name: values[rows] for name, values in samples.numbers.items()},
        fingerprint=f"{samples.fingerprint}, {len(rows)} rows",
        truth=None,
    )


def train_rows(size: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return inputs, labels and users of evenly spread train rows."""
    samples = small_samples()
    train = samples.rows("train")
    rows = train[np.linspace(0, len(train) - 1, size).astype(int)]
    return samples.inputs(rows), samples.labels(rows), samples.column("user_id", rows)
