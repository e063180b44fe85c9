"""The self-check of exercise 4 of notebook 04: a model, a loss and rows of the learner's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helpers.exercises.verdicts import STILL_EMPTY, never_raises, not_yet, untouched, vector

__all__ = ["check_04_4"]


@never_raises
def check_04_4(model: Any, loss: Any, x: Any, y: Any, norms: ArrayLike | None) -> str:
    """Judge the per-sample gradient norms of the learner's own model, by the loop.

    Args:
        model: a Keras model.
        loss: ``loss(y, prediction)``, one value per row.
        x: its inputs, some rows; at most 50 of them are looked at, spread evenly.
        y: their labels.
        norms: one per row.
    """
    if any(untouched(part) for part in (model, loss, x, y, norms)):
        return STILL_EMPTY
    if not callable(loss) or not hasattr(model, "trainable_variables"):
        return not_yet("give a Keras model and a function loss(y, prediction), not their names.")
    try:
        return _judge_norms(model, loss, x, y, norms)
    except (Exception, SystemExit) as error:  # whatever a model raises, the check must not
        return not_yet(f"it stops with {type(error).__name__}: {error}")


_ROWS_OF_THE_LOOP = 50


def _judge_norms(model: Any, loss: Any, x: Any, y: Any, norms: Any) -> str:
    """Return the verdict on norms of a model that runs."""
    from helpers.gradients import naive_gradients  # loads TensorFlow
    from helpers.gradients.batches import as_arrays, count_rows, take_rows

    x, y = as_arrays(x, y)
    if fault := _fault_of_loss(model, loss, x, y):
        return not_yet(fault)
    n, few = count_rows(y), min(count_rows(y), _ROWS_OF_THE_LOOP)
    got = vector(norms, n)
    if isinstance(got, str):
        if not isinstance(vector(np.atleast_1d(norms), 1), str):
            return not_yet(
                "this is one number: the length of the batch's gradient. Give one per row."
            )
        return got
    places = np.linspace(0, n - 1, few).astype(int)
    x, y, looked_at = take_rows(x, places), take_rows(y, places), got[places]
    gradients = [naive_gradients(model, loss, x, y, row) for row in range(few)]
    right = np.array([_length(gradient) for gradient in gradients])
    if not right.any():
        return not_yet("every gradient is 0 here; take rows that the model does not fit yet.")
    if _near(looked_at, right):
        return "Correct: these are the numbers of the loop, one a row."
    means = [np.mean(parts, axis=0) for parts in zip(*gradients, strict=True)]
    mistakes = {
        "this is the square; take the root of the sum of squares.": right**2,
        "these are the variables' lengths added up; add up their squares, then take the root.": (
            np.array([sum(map(np.linalg.norm, gradient)) for gradient in gradients])
        ),
        "this is the length of the batch's mean gradient, the same for every row.": (
            np.full(few, _length(means))
        ),
        "this is divided by N; one row's gradient knows nothing of the others.": right / n,
        "the biases are left out; all trainable variables count.": np.array(
            [_length([g for g in gradient if g.ndim != 1]) for gradient in gradients]
        ),
    }
    for hint, wrong in mistakes.items():
        if _near(looked_at, wrong):
            return not_yet(hint)
    if n == few and _near(np.sort(got), np.sort(right)):
        return not_yet("the numbers are right, but in another order than the rows.")
    return not_yet(_about_training_mode(model) or _MANY_WAYS)


_MANY_WAYS = (
    "the loop finds other numbers. Were they computed with these weights and these rows, and "
    "are repeated ids added up before squaring? PerSampleGradients(model, loss).norms(x, y)"
)


def _fault_of_loss(model: Any, loss: Any, x: Any, y: Any) -> str:
    """Return why a row has no loss of its own, or ""."""
    from helpers.gradients.batches import count_rows

    n = count_rows(y)
    if n < 2:
        return "take at least two rows; with one alone many mistakes do not show."
    shape, alone = _losses(model, loss, x, y)
    if shape != (n,) and np.prod(shape) == 1:
        return 'the loss is one number for all rows; one per row is needed (reduction="none").'
    predicted = tuple(getattr(model(x, training=False), "shape", ()))
    stretched = (np.shape(y), predicted) == ((n,), (n, 1))
    if stretched and (shape == (n, n) or (not alone and _losses(model, loss, x, y[:, None])[1])):
        return (
            f"labels of shape ({n},) meet predictions of shape ({n}, 1) and stretch to a table. "
            "Give both the same shape: prediction[:, 0]."
        )
    if shape != (n,):
        return f"the loss must give one value per row, shape ({n},); it gives {shape}."
    if not alone:
        return (
            "a row alone has another loss than among the others: does a layer or the loss average "
            "over the batch, as BatchNormalization does in training?"
        )
    return ""


def _losses(model: Any, loss: Any, x: Any, y: Any) -> tuple[tuple[int, ...], bool]:
    """Return the shape of a batch's losses, and whether the first row has the same one alone."""
    from helpers.gradients.batches import take_rows

    one = slice(0, 1)
    among_all = np.asarray(loss(y, model(x, training=False)))
    alone = np.ravel(loss(take_rows(y, one), model(take_rows(x, one), training=False)))
    same_shape = among_all.ndim > 0 and among_all[:1].size == alone.size
    most = float(np.abs(among_all).max())
    return among_all.shape, same_shape and _near(alone, np.ravel(among_all[:1]), most)


def _about_training_mode(model: Any) -> str:
    """Return a hint if the model has a layer that acts otherwise in training, or ""."""
    kinds = [type(layer).__name__ for layer in getattr(model, "layers", [])]
    other = next((k for k in kinds if "Dropout" in k or k == "BatchNormalization"), "")
    if not other:
        return ""
    return (
        f"the model has {other}: call it with training=False, or rows mix or jump. If you did: "
        f"{_MANY_WAYS}"
    )


def _length(gradient: list[NDArray]) -> float:
    """Return the norm over all variables together."""
    return float(np.sqrt(sum(np.sum(part**2) for part in gradient)))


def _near(got: NDArray, want: NDArray, scale: float | None = None) -> bool:
    """Return whether numbers agree as far as float32 can tell."""
    scale = np.abs(want).max() if scale is None else scale
    return bool(np.allclose(got, want, rtol=1e-4, atol=1e-4 * float(scale)))
