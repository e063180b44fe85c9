"""What random halves of the training rows really lead to: what scores must foretell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from helpers.backend import numeric_settings
from helpers.base.writing import whole_file
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.experiments.retraining.case import Case
from helpers.importance import draw_subsets

__all__ = ["retrain_halves"]


def retrain_halves(
    case: Case, *, folder: Path | None = None, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Train on random halves from several seeds and return the goal rows' margins.

    Every half sees as many updates as a training on all rows. The first weights are the same for
    all halves; no score is made from a training of these seeds.

    Args:
        case: rows and trainer.
        folder: keeps each finished half, and is looked into first: what was stopped goes on. One
            folder for each case.
        progress: show a bar.

    Returns:
        ``(members, margins)``: which rows each half holds, bool, shape ``(m, n)``, and the margins,
        float64, shape ``(m, seeds, t)``.

    Example:
        >>> from helpers.experiments.retraining import AttributionSettings
        >>> from helpers.samples import load_samples
        >>> settings = AttributionSettings(
        ...     kind="logistic", rows=40, goals=20, subsets=3, seeds=2, updates=4, batch_size=8)
        >>> members, margins = retrain_halves(Case.make(load_samples("sample"), settings))
        >>> members.shape, margins.shape
        ((3, 40), (3, 2, 20))
    """
    s = case.settings
    members = draw_subsets(len(case.labels), s.subsets, seed=s.seed)
    margins, common = [], None if folder is None else _made_of(case)
    for number, half in enumerate(tqdm(members, desc="halves", leave=False, disable=not progress)):
        path = None
        if folder is not None:
            made_of = digest_of(common, half)  # in the name: nothing else is ever taken for it
            path = folder / f"half_{number:04d}-{made_of[:12]}.npy"
        if path is None or not path.exists():
            made = _train(case, np.flatnonzero(half), number)
            if path is not None:
                with whole_file(path) as temporary:
                    np.save(temporary, made)
            margins.append(made)
        else:
            margins.append(np.load(path))
    return members, np.stack(margins)


def _made_of(case: Case) -> str:
    """Return a digest of what the training of any half depends on, its code included."""
    s = case.settings
    sizes = s.seeds, s.updates, s.batch_size, s.seed
    rows = case.trainer.inputs, case.labels, case.goal, case.trainer.kind
    return digest_of(sizes, rows, code_of(__name__), numeric_settings())


def _train(case: Case, rows: np.ndarray, number: int) -> np.ndarray:
    made = []
    for seed in range(case.settings.seeds):
        order = case.order(1000 * (number + 1) + seed, rows)
        fitted = case.trainer.fit(case.labels, seed=seed, order=order)
        made.append(case.margins(fitted.outputs(case.goal[0])))
    return np.stack(made)
