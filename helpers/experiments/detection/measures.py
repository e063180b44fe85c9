"""Which score finds what was planted? AUROC and precision, against the ceiling and cleanlab."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers.evaluation import pr_auc, roc_auc
from helpers.evaluation.intervals import NoInterval, paired_worlds
from helpers.experiments.detection.scoreboard import (
    CLEANLAB,
    Budget,
    make_trainer,
    recommended,
    suspicions,
)
from helpers.experiments.detection.worlds import World, make_world
from helpers.models import Trainer
from helpers.samples import Samples
from helpers.samples.noise import Noise

__all__ = ["CEILING", "Board", "detect", "judge_board", "precision_at"]

#: Name of the score of one who knows the true probabilities.
CEILING = "ceiling (true probabilities)"

#: Worlds of one kind of noise with the scores of their rows.
Board = Sequence[tuple[World, pd.DataFrame]]


def precision_at(marked: np.ndarray, scores: np.ndarray, k: int) -> float:
    """Return which share of the ``k`` most suspicious rows is marked; ties take the average.

    Raises:
        ValueError: k is not between 1 and the number of rows.

    Example:
        >>> precision_at(np.array([True, False, True, False]), np.array([3.0, 2.0, 2.0, 1.0]), 2)
        0.75
    """
    marked, scores = np.asarray(marked, dtype=bool), np.asarray(scores, dtype=np.float64)
    if not 1 <= k <= len(scores):
        raise ValueError(f"k must be in [1, {len(scores)}] (number of rows); got {k}.")
    edge = np.sort(scores)[len(scores) - k]
    above, tied = scores > edge, scores == edge
    room = k - above.sum()
    return float((marked[above].sum() + room * marked[tied].mean()) / k)


def detect(
    samples: Samples,
    noise: Noise,
    budget: Budget,
    *,
    rows: int,
    worlds: int = 5,
    seed: int = 0,
    goals: Iterable[str] = (),
    repeats: int = 200,
    trainer: Trainer | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Plant one kind of noise several times and judge how well each score finds it.

    Args:
        samples: of any source.
        noise: what to plant.
        budget: of the scores.
        rows: train rows of each world.
        worlds: how often it is planted, each time elsewhere.
        seed: of the rows and the noise.
        goals: attribution labels that the scores of a goal see: ``clean``, ``noisy``; none
            leaves these scores out.
        repeats: draws of each interval.
        trainer: of these rows, to save compiling; noise that adds rows needs one of its own.
        progress: show a bar.

    Returns:
        As :func:`judge_board`.

    Raises:
        ValueError: there is no world.
    """
    goals, board = tuple(goals), []
    bar = tqdm(range(worlds), desc=f"find {noise.name}", leave=False, disable=not progress)
    for number in bar:
        world = make_world(samples, noise, rows=rows, seed=seed, number=number)
        if noise.adds_rows or trainer is None:  # other rows need another trainer
            trainer = make_trainer(world, budget)
        board.append((world, suspicions(world, budget, goals=goals, trainer=trainer)))
    return judge_board(board, repeats=repeats)


def judge_board(board: Board, *, repeats: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return how well each score finds the marked rows, on average over the worlds.

    Args:
        board: worlds of one kind of noise, each with the scores of its rows.
        repeats: draws of each interval.
        seed: of the draws.

    Returns:
        One row a score: ``noise, score, recommended``; ``auroc``, ``among_positives``,
        ``among_negatives`` (0.5 is chance; NaN where nothing or all is marked),
        ``average_precision``, ``precision_at_k`` (k: as many as are marked), ``share_marked``;
        ``of_ceiling``, the AUROC as a share of the ceiling's; ``over_cleanlab, low, high``, the
        AUROC minus that of cleanlab's score, with a 95% interval over worlds and users.

    Raises:
        ValueError: the board is empty.
    """
    if not board:
        raise ValueError("there must be at least one world to judge in.")
    scores = [_with_ceiling(world, table) for world, table in board]
    best, noise = recommended(board[0][0]), board[0][0].noise
    rows = []
    for name in scores[0]:
        found = [
            _judged(world, table[name]) for (world, _), table in zip(board, scores, strict=True)
        ]
        row = {"noise": noise.name if noise else "the log's own", "score": name}
        rows.append(row | {"recommended": name == best} | pd.DataFrame(found).mean().to_dict())
        rows[-1] |= _over_cleanlab(board, scores, name, repeats, seed)
    judged = pd.DataFrame(rows)
    top = judged.loc[judged.score == CEILING, "auroc"]
    judged.insert(9, "of_ceiling", judged.auroc / top.iloc[0] if len(top) else np.nan)
    return judged


def _with_ceiling(world: World, table: pd.DataFrame) -> pd.DataFrame:
    known = world.ceiling()
    return table if known is None else table.assign(**{CEILING: known})


def _judged(world: World, scores: pd.Series) -> dict[str, float]:
    marked, values, labels = world.planted.marked, scores.to_numpy(), world.labels
    return {
        "auroc": _auroc(marked, values),
        "among_positives": _auroc(marked[labels == 1], values[labels == 1]),
        "among_negatives": _auroc(marked[labels == 0], values[labels == 0]),
        "average_precision": pr_auc(marked, values),
        "precision_at_k": precision_at(marked, values, int(marked.sum())),
        "share_marked": float(marked.mean()),
    }


def _auroc(marked: np.ndarray, values: np.ndarray) -> float:
    if not len(marked) or marked.all() or not marked.any():
        return np.nan
    return roc_auc(marked, values)


def _over_cleanlab(
    board: Board, scores: list[pd.DataFrame], name: str, repeats: int, seed: int
) -> dict[str, float]:
    worlds = [
        (world.planted.marked, table[CLEANLAB], table[name], world.users)
        for (world, _), table in zip(board, scores, strict=True)
    ]
    try:
        interval = paired_worlds(worlds, repeats=repeats, seed=seed)
    except NoInterval:
        return {"over_cleanlab": np.nan, "low": np.nan, "high": np.nan}
    return {"over_cleanlab": interval.estimate, "low": interval.low, "high": interval.high}
