"""What did a row do to the goal while the model was trained? Dot products along the way.

One step of plain gradient descent on a batch moves the weights by ``-rate/B sum_i g_i``, so to
first order row ``i`` lowers the goal's loss by ``rate/B <g_i, g_goal>``. Both scores here add up
such terms. Positive is helpful.

They speak of plain gradient descent. Adam divides each coordinate by its own running size of the
gradient: the same dot products are then a guess at what a row did, not a first-order account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from tqdm.auto import tqdm

from helpers.backend import keras
from helpers.gradients import PerSampleGradients
from helpers.gradients.batches import Inputs, count_rows, take_rows
from helpers.gradients.row_loss import Loss
from helpers.importance.curvature import Curvature
from helpers.importance.goals import dots_over, flat_vector, goal_gradient, shaped
from helpers.importance.rows import RowGradients

__all__ = ["in_run_shapley", "tracin_scores"]

Array = np.ndarray
Weights = list[Array]


def tracin_scores(
    model: keras.Model,
    loss: Loss,
    x: Inputs,
    y: Inputs,
    goal: tuple[Inputs, Inputs],
    checkpoints: Sequence[Weights],
    learning_rates: Sequence[float],
    *,
    each: bool = False,
    batch_size: int = 4096,
    progress: bool = False,
) -> Array:
    """Return ``s_i = sum over checkpoints of rate * <g_i, g_goal>``.

    It treats every row as if it had taken part alike between two checkpoints.

    Cost: for each checkpoint one gradient of the goal (or one per goal row) and one pass of the
    engine's dot products over all rows.

    Args:
        model: any Keras model; its weights are put back afterwards.
        loss: ``loss(y, prediction) -> (n,)``.
        x: inputs of the training rows.
        y: their labels.
        goal: inputs and labels of the goal's rows.
        checkpoints: the model's weights at each, as ``get_weights`` gives them.
        learning_rates: one per checkpoint.
        each: one score for each goal row, in place of one for their mean loss.
        batch_size: rows of one pass.
        progress: show a bar over the checkpoints.

    Returns:
        float64, shape ``(n,)`` or ``(n, t)``; positive is helpful.

    Raises:
        ValueError: there is no checkpoint, or not one rate for each checkpoint.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> half_square = lambda y, p: (p[:, 0] - y) ** 2 / 2
        >>> x, y = np.ones((2, 1), "float32"), np.array([1.0, -1.0], "float32")
        >>> at = [[np.array([[0.0]])], [np.array([[0.5]])]]
        >>> tracin_scores(model, half_square, x, y, (x[:1], y[:1]), at, [0.1, 0.1])
        array([ 0.125, -0.175])

    Reference: Pruthi et al. (2020), arXiv:2002.08484, section 3.2 (TracInCP).
    """
    if not checkpoints or len(checkpoints) != len(learning_rates):
        raise ValueError(
            "there must be at least one checkpoint and one learning rate for each; "
            f"got {len(checkpoints)} and {len(learning_rates)}."
        )
    rows = count_rows(goal[1])
    parts = [slice(r, r + 1) for r in range(rows)] if each else [slice(0, rows)]
    engine, total = PerSampleGradients(model, loss), np.zeros((count_rows(y), len(parts)))
    pairs = list(zip(checkpoints, learning_rates, strict=True))
    with _kept_weights(model):
        for weights, rate in tqdm(pairs, desc="checkpoints", leave=False, disable=not progress):
            model.set_weights(weights)
            columns = []
            for part in parts:
                slope = goal_gradient(
                    model, loss, take_rows(goal[0], part), take_rows(goal[1], part)
                )
                columns.append(dots_over(engine, x, y, slope, batch_size=batch_size))
            total = total + rate * np.stack(columns, axis=1)
    return total if each else total[:, 0]


def in_run_shapley(
    model: keras.Model,
    loss: Loss,
    x: Inputs,
    y: Inputs,
    goal: tuple[Inputs, Inputs],
    order: Array,
    checkpoints: Sequence[Weights],
    learning_rate: float,
    *,
    second_order: bool = False,
    each: bool = False,
    progress: bool = False,
) -> Array:
    """Return what each row added to the fall of the goal's loss in one training run.

    In update ``t`` the rows of the batch play a game: with the subset ``S`` of them the weights
    move by ``-rate/B sum over S of g_i``, and the value is how far the goal's loss falls. Of the
    value's first-order part the Shapley value of a row is its own summand,
    ``rate/B <g_i, g_goal>``, taken only in updates that the row was really in. The second order
    adds ``-(rate/B)^2/2 <g_i, H_goal sum over the batch of g_j>``: half of what each pair shares.
    With it the values are exact where the goal's loss is quadratic in the weights.

    It answers what the rows did *in this run*: another seed, another answer.

    Cost: each update of the training costs a gradient of the goal and the batch's dot products;
    the second order a Hessian product of the goal more.

    Args:
        model: any Keras model; its weights are put back afterwards.
        loss: ``loss(y, prediction) -> (n,)``.
        x: inputs of the training rows.
        y: their labels.
        goal: inputs and labels of the goal's rows.
        order: which rows each update saw, shape ``(updates, B)``.
        checkpoints: the weights *before* each update, as ``Trainer.checkpoints`` keeps them.
        learning_rate: the learning rate of plain gradient descent on a batch's mean loss.
        second_order: add the second-order part.
        each: one score for each goal row, in place of one for their mean loss; first order only.
            The gradients of the goal rows are then written out, so the model must be small.
        progress: show a bar over the updates.

    Returns:
        float64, shape ``(n,)`` or ``(n, t)``; positive is helpful. A row that was in no update gets
        0, which here is the true answer. The sum is about the fall of the goal's loss in the
        whole run.

    Raises:
        ValueError: there is not one set of weights for each update, or the second order is asked
            for each goal row.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> half_square = lambda y, p: (p[:, 0] - y) ** 2 / 2
        >>> x, y = np.ones((3, 1), "float32"), np.array([1.0, -1.0, 1.0], "float32")
        >>> order, before = np.array([[0, 1]]), [[np.array([[0.0]])]]
        >>> in_run_shapley(model, half_square, x, y, (x[:1], y[:1]), order, before, 0.1)
        array([ 0.05, -0.05,  0.  ])

    Reference: Wang, Mittal, Song and Jia (2024), arXiv:2406.11011, sections 3 and 4.1.
    """
    order = np.asarray(order)
    if order.ndim != 2 or len(order) != len(checkpoints) or not len(order):
        raise ValueError(
            "order must have shape (updates, rows) and there must be the weights before each "
            f"update; got shape {order.shape} and {len(checkpoints)} sets of weights."
        )
    if each and second_order:
        raise ValueError("the second order is there for the goal's mean loss only: leave each out.")
    gain = _gain_of_each(model, loss, goal) if each else _gain(model, loss, goal, second_order)
    rate = learning_rate / order.shape[1]
    total = np.zeros((count_rows(y), count_rows(goal[1])) if each else count_rows(y))
    steps = tqdm(
        zip(order, checkpoints, strict=True),
        total=len(order),
        desc="updates",
        leave=False,
        disable=not progress,
    )
    with _kept_weights(model):
        for rows, weights in steps:
            model.set_weights(weights)
            # Not total[rows] += ...: a row can be in a batch twice.
            np.add.at(total, rows, gain(take_rows(x, rows), take_rows(y, rows), rate))
    return total


Gain = Callable[[Inputs, Inputs, float], Array]


def _gain(model: keras.Model, loss: Loss, goal: tuple[Inputs, Inputs], second: bool) -> Gain:
    """Return how far each row of a batch moves the goal's mean loss down, ``(B,)``."""
    engine = PerSampleGradients(model, loss)
    bends = Curvature(model, loss, *goal) if second else None

    def gain(x: Inputs, y: Inputs, rate: float) -> Array:
        found = rate * engine.dots(x, y, goal_gradient(model, loss, *goal))
        if bends is not None:
            together = count_rows(y) * flat_vector(goal_gradient(model, loss, x, y))
            found -= rate**2 / 2 * engine.dots(x, y, shaped(bends(together), model))
        return found

    return gain


def _gain_of_each(model: keras.Model, loss: Loss, goal: tuple[Inputs, Inputs]) -> Gain:
    """Return how far each row of a batch moves the loss of each goal row down, ``(B, t)``."""
    gradients = RowGradients(model, loss)

    def gain(x: Inputs, y: Inputs, rate: float) -> Array:
        return rate * (gradients(x, y) @ gradients(*goal).T)

    return gain


@contextmanager
def _kept_weights(model: keras.Model) -> Iterator[None]:
    """Put a model's weights back, whatever happens."""
    weights = model.get_weights()
    try:
        yield
    finally:
        model.set_weights(weights)
