"""The models of the notebooks: fitted on train, stopped early on valid, kept in the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.backend import numeric_settings
from helpers.cache import cached, code_of
from helpers.cache.digests import digest_of
from helpers.cache.shelf import read_tables, write_tables
from helpers.models.fitted import Fitted, Forward
from helpers.models.ladder import LADDER
from helpers.models.training import Trainer
from helpers.samples import Samples

__all__ = ["trained_model"]


def trained_model(
    samples: Samples,
    kind: str,
    *,
    seed: int = 0,
    epochs: int = 8,
    batch_size: int = 512,
    progress: bool = False,
) -> Fitted:
    """Return a rung fitted on the train rows, stopped early on valid; cached.

    Args:
        samples: samples of any source.
        kind: a name in :data:`LADDER`.
        seed: chooses the first weights and the order of the rows.
        epochs: passes over the rows, at most.
        batch_size: rows per update.
        progress: show a bar.

    Raises:
        ValueError: there is no such kind, or training diverged.

    Example:
        >>> from helpers.samples import load_samples
        >>> samples = load_samples("sample")
        >>> fitted = trained_model(samples, "linear", epochs=1)
        >>> fitted.weights[0].shape == (len(samples.feature_names), 1)
        True
    """
    if kind not in LADDER:
        raise ValueError(f"kind must be one of {', '.join(LADDER)}; got {kind!r}.")
    key = {
        "samples": digest_of(samples),
        "code": code_of(__name__),
        "numeric": numeric_settings(),
        "kind": [kind, digest_of(LADDER[kind])],
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
    }
    rung = LADDER[kind]

    def build() -> Fitted:
        train, valid = samples.rows("train"), samples.rows("valid")
        trainer = Trainer(rung, samples.inputs(train), samples.sizes, batch_size=batch_size)
        return trainer.fit(
            samples.labels(train),
            seed=seed,
            epochs=epochs,
            valid=(samples.inputs(valid), samples.labels(valid)),
            progress=progress,
        )

    def save(fitted: Fitted, folder: Path) -> None:
        np.savez(folder / "weights.npz", *fitted.weights)
        write_tables(folder, {"history": fitted.history})

    def load(folder: Path) -> Fitted:
        with np.load(folder / "weights.npz") as kept:
            weights = [kept[name] for name in kept.files]
        forward = Forward(rung, samples.dense.shape[1], samples.sizes)
        return Fitted(rung, weights, read_tables(folder, ["history"])["history"], forward)

    return cached("models", key, build, save=save, load=load)
