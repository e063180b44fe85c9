"""What would the goal's loss be if a row had not been there? The influence function.

The sign, here and in every score of a goal: *positive is helpful*. A row with score ``+0.01`` keeps
the goal's loss ``0.01`` lower; a row with a negative score harms the goal, and removing it lowers
the goal's loss.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from tqdm.auto import tqdm

from helpers.backend import keras
from helpers.gradients import PerSampleGradients
from helpers.gradients.batches import Inputs, count_rows, take_rows
from helpers.gradients.row_loss import Loss
from helpers.importance.curvature import Curvature, conjugate_gradients
from helpers.importance.goals import dots_over, flat_vector, goal_gradient, shaped

__all__ = ["influence_scores"]

Array = np.ndarray


def influence_scores(
    model: keras.Model,
    loss: Loss,
    x: Inputs,
    y: Inputs,
    goal: tuple[Inputs, Inputs],
    *,
    each: bool = False,
    curvature: Literal["hessian", "gauss_newton"] = "hessian",
    l2: float = 0.0,
    damping: float = 0.0,
    tolerance: float | None = None,
    max_steps: int | None = None,
    batch_size: int = 4096,
    progress: bool = False,
) -> Array:
    """Return how much the goal's loss would rise if row ``i`` were removed, to first order.

    The model minimises ``1/n sum_i l_i + l2/2 ||theta||^2``. Without the summand of row ``i`` the
    minimum moves by ``H^-1 g_i / n``, and the goal's loss by ``s_i = <g_goal, H^-1 g_i> / n``. With
    ``v = H^-1 g_goal``, solved once by conjugate gradients, every row costs one dot product
    ``<g_i, v> / n``.

    It answers: what does this one row do, near the minimum that was found? It does not answer what
    a *group* does (first-order effects of a group are the sum, true ones are not), and the
    assumptions fail for a network: it is at no minimum, and ``H`` is indefinite. There use
    ``curvature="gauss_newton"`` with damping and judge the scores by retraining
    (:mod:`helpers.importance.datamodels`).

    Cost: each step of the solver is about four gradient steps over the training rows; one solution
    for the mean loss, or one per goal row; then one forward and one backward pass for the dots.

    Args:
        model: a Keras model whose loss has converged. In float32 about four digits can be had;
            :func:`helpers.importance.as_float64` makes a better copy.
        loss: ``loss(y, prediction) -> (n,)``, without any penalty.
        x: inputs of the training rows, an array or a nest of arrays.
        y: their labels.
        goal: inputs and labels of the goal's rows, which should be no training rows.
        each: one score for each goal row, in place of one for their mean loss.
        curvature: ``hessian``, exact, or ``gauss_newton``.
        l2: the penalty that the model was fitted with, over all trainable parameters.
        damping: more on the diagonal; it makes ``H`` positive definite and the answer less exact.
        tolerance: the solver's relative tolerance; None means 1e-9 for float64 models, else 1e-4.
        max_steps: the most steps that the solver may take; see
            :func:`helpers.importance.conjugate_gradients`.
        batch_size: rows of one pass.
        progress: show a bar over the goal rows.

    Returns:
        float64, shape ``(n,)``, or ``(n, t)`` for ``each`` of ``t`` goal rows; positive is helpful;
        in the unit of the loss.

    Raises:
        ValueError: a direction has no positive curvature, the solver did not converge, or the rows
            are refused.

    Example:
        Two rows pull one weight; the goal wants it higher, like the second row.

        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[1.0]])])
        >>> half_square = lambda y, p: (p[:, 0] - y) ** 2 / 2
        >>> x, y = np.ones((2, 1), "float32"), np.array([0.0, 2.0], "float32")
        >>> influence_scores(model, half_square, x, y, (x[:1], y[1:]))
        array([-0.5,  0.5])

    Reference: Koh and Liang (2017), arXiv:1703.04730, section 2.1, equation 2 (there the sign is
    that of up-weighting, the opposite one); Hampel (1974), JASA 69(346).
    """
    if tolerance is None:
        tolerance = 1e-9 if model.trainable_variables[0].dtype == "float64" else 1e-4
    product = Curvature(
        model, loss, x, y, kind=curvature, l2=l2, damping=damping, batch_size=batch_size
    )
    engine = PerSampleGradients(model, loss)
    rows = count_rows(goal[1])
    parts = [slice(r, r + 1) for r in range(rows)] if each else [slice(0, rows)]
    found = []
    for part in tqdm(parts, desc="influence", leave=False, disable=not progress):
        gradient = goal_gradient(model, loss, take_rows(goal[0], part), take_rows(goal[1], part))
        solution = conjugate_gradients(
            product, flat_vector(gradient), tolerance=tolerance, max_steps=max_steps
        )
        direction = shaped(solution, model)
        found.append(dots_over(engine, x, y, direction, batch_size=batch_size) / product.rows)
    return np.stack(found, axis=1) if each else found[0]
