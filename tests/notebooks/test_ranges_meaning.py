"""The ends that the notebooks declare are ends that the helpers take, and refuse beyond."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest
from small_samples import small_samples

from helpers import actions
from helpers.backend import keras
from helpers.data.sources import SOURCES
from helpers.evaluation import ndcg_at_k
from helpers.evaluation.intervals import bootstrap_by_user
from helpers.experiments.detection import Budget
from helpers.importance import early_gradient_norms, follow, out_of_fold_probabilities
from helpers.models import LADDER, Fitted, Trainer
from helpers.notebooks import Parameter, parameters
from helpers.notebooks.execution import NOTEBOOKS
from helpers.samples.noise import Noise

#: The highest seed that a notebook makes of its own: the study adds this to draw subsets.
DERIVED = 2000

BY_NAME: dict[str, Parameter] = {
    name: each
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    for name, each in parameters(path).items()
}


def low(name: str) -> int | float:
    """Return the lowest value that a parameter may have."""
    return BY_NAME[name].allowed.low


def high(name: str) -> int | float:
    """Return the highest."""
    return BY_NAME[name].allowed.high


@cache
def some_rows() -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, int], np.ndarray]:
    """Return inputs, labels, sizes and users of a few train rows."""
    samples = small_samples()
    rows = samples.rows("train")[:300]
    users = samples.column("user_id", rows)
    return samples.inputs(rows), samples.labels(rows), samples.sizes, users


def trainer(kind: str = "linear", *, batch_size: int = 64) -> Trainer:
    """Return a trainer on those rows."""
    inputs, _, sizes, _ = some_rows()
    return Trainer(LADDER[kind], inputs, sizes, batch_size=batch_size)


def fit(kind: str = "linear", *, batch_size: int = 64, **how: int) -> Fitted:
    """Train on those rows."""
    return trainer(kind, batch_size=batch_size).fit(some_rows()[1], **({"seed": 0} | how))


def test_the_source_is_one_of_those_that_there_are():
    assert BY_NAME["source"].allowed.values == SOURCES


@pytest.mark.parametrize("seed", [low("seed"), high("seed")])
def test_every_draw_of_a_notebook_takes_the_first_and_the_last_seed(seed: int):
    _, labels, _, users = some_rows()
    keras.utils.set_random_seed(seed)
    assert len(pd.Series(range(9)).sample(3, random_state=seed)) == 3
    bootstrap_by_user("auc", labels, np.arange(300.0), users, repeats=5, seed=seed)
    weights = [fit("mlp", seed=s, updates=1).weights for s in (seed, seed + DERIVED)]
    assert all(np.isfinite(w).all() for one in weights for w in one)
    assert any(not np.array_equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize("batch_size", [low("batch_size"), high("batch_size")])
@pytest.mark.parametrize("passes", ["updates", "epochs"])
def test_the_shortest_training_trains_with_any_batch(batch_size: int, passes: str):
    fitted = fit(batch_size=batch_size, **{passes: low(passes)})
    assert np.isfinite(fitted.weights[0]).all()
    for name in (passes, "act_updates", "early_updates"):
        assert low(name) == 1


def call_drop(share: float) -> None:
    """Drop a share of 500 rows in each of the ways of notebook 05."""
    scores, labels = np.arange(low("rows"), dtype=float), np.arange(low("rows")) % 7 == 0
    actions.drop_highest(scores, share)
    actions.drop_stratified(scores, labels.astype(float), share)
    actions.drop_random(len(scores), share, seed=0)


def call_folds(folds: int) -> None:
    """Deal the users into folds, and train."""
    _, labels, _, users = some_rows()
    assert np.isfinite(out_of_fold_probabilities(trainer(), labels, users, folds=folds)).all()


def call_follow(updates: int) -> None:
    """Look at a training as often as the judges do."""
    follow(trainer(), some_rows()[1], seeds=[0], updates=updates, looks=Budget().looks)


def call_ranking(k: int) -> None:
    """Rank one list."""
    ndcg_at_k(np.array([1, 0, 0]), np.arange(3.0), np.zeros(3, dtype=int), k=k)


def call_early(seeds: int) -> None:
    """Average the early norms over so many seeds."""
    early_gradient_norms(trainer(), some_rows()[1], seeds=range(seeds), updates=1)


#: Parameter, a call of what takes it, and a value beyond an end that the helper refuses, too.
TAKEN: list[tuple[str, Callable[..., object], list[float], float]] = [
    ("drop_share", call_drop, [low("drop_share"), high("drop_share")], 1.0),
    ("flip_share", lambda v: Noise("flip", v), [low("flip_share"), high("flip_share")], 0.0),
    ("folds", call_folds, [low("folds")], low("folds") - 1),
    ("score_updates", call_follow, [low("score_updates")], low("score_updates") - 1),
    ("k", call_ranking, [low("k"), high("k")], low("k") - 1),
    ("early_seeds", call_early, [low("early_seeds")], low("early_seeds") - 1),
    ("updates", lambda v: fit(updates=v), [low("updates")], low("updates") - 1),
    ("epochs", lambda v: fit(epochs=v), [low("epochs")], low("epochs") - 1),
]


@pytest.mark.parametrize(("name", "call", "taken", "refused"), TAKEN, ids=[t[0] for t in TAKEN])
def test_the_helpers_take_the_ends_and_refuse_what_lies_beyond(
    name: str, call: Callable[..., object], taken: list[float], refused: float
):
    for value in taken:
        assert BY_NAME[name].accepts(value)
        call(value)
    assert not BY_NAME[name].accepts(refused)
    with pytest.raises(ValueError, match="must|needed"):
        call(refused)
