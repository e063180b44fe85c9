"""How the training loss curves around a model: products with its Hessian, never the Hessian.

The objective is ``L(theta) = 1/n sum_i l_i(theta) + l2/2 ||theta||^2``. Its Hessian has as many
rows as there are parameters, so it is not written out. ``H v`` costs about four gradient steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, as_arrays, count_rows
from helpers.gradients.forms import Tensor
from helpers.gradients.row_loss import Loss
from helpers.importance.goals import batches, loss_of, shaped

__all__ = ["Curvature", "as_float64", "conjugate_gradients"]

Array = np.ndarray


class Curvature:
    """Products ``(C + (l2 + damping) I) v`` with the curvature ``C`` of the mean training loss.

    ``hessian``: ``C = 1/n sum_i d2 l_i / dtheta2``, exact, by differentiating the product of the
    gradient and ``v`` once more (double backprop). Of a network it is mostly indefinite.
    ``gauss_newton``: ``C = 1/n sum_i J_i^T (d2 l_i / dz2) J_i`` with ``J_i = dz_i / dtheta``, which
    leaves out how the outputs themselves curve. It is never negative when the loss is convex in
    the output, and equals the Hessian for models that are linear in their parameters.

    Args:
        model: a Keras model; it is called with ``training=False``.
        loss: ``loss(y, prediction) -> (n,)``.
        x: inputs of the training rows.
        y: their labels.
        kind: ``hessian`` or ``gauss_newton``.
        l2: strength of the penalty ``l2/2 ||theta||^2`` over all trainable parameters, biases
            too.
        damping: added to the diagonal beyond what the objective has.
        batch_size: rows of one pass; memory grows with it.

    Raises:
        ValueError: the kind is another one, l2 or damping is negative, or row counts differ.

    Example:
        One row x = 2 with a squared error: the Hessian is [x, 1]^T [x, 1].

        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> half_square = lambda y, p: (p[:, 0] - y) ** 2 / 2
        >>> curvature = Curvature(model, half_square, np.float32([[2.0]]), np.zeros(1, "float32"))
        >>> curvature(np.array([1.0, 0.0]))
        array([4., 2.])

    Reference: Pearlmutter (1994), Neural Computation 6(1), "Fast exact multiplication by the
    Hessian"; Schraudolph (2002), Neural Computation 14(7), section 3, for Gauss-Newton.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        x: Inputs,
        y: Inputs,
        *,
        kind: Literal["hessian", "gauss_newton"] = "hessian",
        l2: float = 0.0,
        damping: float = 0.0,
        batch_size: int = 4096,
    ) -> None:
        makers = {"hessian": _hessian_product, "gauss_newton": _gauss_newton_product}
        if kind not in makers:
            raise ValueError(f"kind must be one of {', '.join(makers)}; got {kind!r}.")
        for name, value in {"l2": l2, "damping": damping}.items():
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative; got {value}.")
        self.model, self.kind, self.diagonal = model, kind, l2 + damping
        self.rows = count_rows(as_arrays(x, y)[1])
        self._parts = list(batches(x, y, batch_size))
        self._product = tf.function(
            makers[kind](model, loss), autograph=False, reduce_retracing=True
        )

    def __call__(self, vector: Array) -> Array:
        """Return the product with a flat vector, float64, shape ``(parameters,)``."""
        kinds = [v.dtype for v in self.model.trainable_variables]
        pieces = shaped(np.asarray(vector, np.float64), self.model)
        pieces = [tf.constant(p, kind) for p, kind in zip(pieces, kinds, strict=True)]
        total = np.zeros(len(vector))
        for x, y in self._parts:
            total += self._product(x, y, pieces).numpy().astype(np.float64)
        return total / self.rows + self.diagonal * vector


def _hessian_product(model: keras.Model, loss: Loss) -> Callable[..., Tensor]:
    """Return ``H v``, summed over rows: the gradient of ``<gradient, v>``."""

    def product(x: Any, y: Any, vector: Sequence[Tensor]) -> Tensor:
        variables = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                value = tf.reduce_sum(loss_of(loss, y, model(x, training=False)))
            along = _inner_product(inner.gradient(value, variables), vector)
        return _flat(outer.gradient(along, variables), variables)

    return product


def _gauss_newton_product(model: keras.Model, loss: Loss) -> Callable[..., Tensor]:
    """Return ``J^T (d2 l / dz2) J v``, summed over rows: forward, across the loss, and back."""

    def product(x: Any, y: Any, vector: Sequence[Tensor]) -> Tensor:
        variables = [v.value for v in model.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            output = model(x, training=False)
            # J v without forward mode: J^T u is linear in u, and <J^T u, v> has by u the slope J v.
            dummy = tf.zeros_like(output)
            tape.watch(dummy)
            back = tape.gradient(output, variables, output_gradients=dummy)
            along = _inner_product(back, vector)
        moved = tape.gradient(along, dummy)  # J v
        with tf.GradientTape() as outer:
            outer.watch(output)
            with tf.GradientTape() as inner:
                inner.watch(output)
                value = tf.reduce_sum(loss_of(loss, y, output))
            slope = tf.reduce_sum(inner.gradient(value, output) * tf.stop_gradient(moved))
        bent = outer.gradient(slope, output)
        if bent is None:  # a loss that is linear in the output
            return tf.zeros([sum(int(np.prod(v.shape)) for v in variables)], output.dtype)
        return _flat(tape.gradient(output, variables, output_gradients=bent), variables)

    return product


def _inner_product(gradients: Sequence[Any], vector: Sequence[Tensor]) -> Tensor:
    """Return ``<gradients, v>``; an embedding's gradient is met row by row, never filled up."""
    terms = []
    for gradient, v in zip(gradients, vector, strict=True):
        if isinstance(gradient, tf.IndexedSlices):
            terms.append(tf.reduce_sum(gradient.values * tf.gather(v, gradient.indices)))
        elif gradient is not None:
            terms.append(tf.reduce_sum(gradient * v))
    return tf.add_n(terms)


def _flat(gradients: Sequence[Any], variables: Sequence[Tensor]) -> Tensor:
    """Return gradients as one vector; None, where nothing curves, is zeros."""
    pieces = []
    for gradient, variable in zip(gradients, variables, strict=True):
        if gradient is None:
            gradient = tf.zeros(variable.shape, variable.dtype)
        elif isinstance(gradient, tf.IndexedSlices):
            gradient = tf.math.unsorted_segment_sum(
                gradient.values, gradient.indices, variable.shape[0]
            )
        pieces.append(tf.reshape(gradient, [-1]))
    return tf.concat(pieces, axis=0)


def conjugate_gradients(
    product: Callable[[Array], Array],
    target: Array,
    *,
    tolerance: float = 1e-8,
    max_steps: int | None = None,
) -> Array:
    """Return ``v`` with ``H v = target``, for a positive definite ``H`` known by its products.

    Args:
        product: ``product(v) -> H v``.
        target: shape ``(p,)``.
        tolerance: it ends when ``||H v - target|| <= tolerance * ||target||``, which is computed
            once more from the result itself.
        max_steps: the largest number of products; None means ten times the number of parameters,
            but no more than 2,000.

    Returns:
        float64, shape ``(p,)``.

    Raises:
        ValueError: a direction has no positive curvature, or the tolerance was not met.

    Example:
        >>> conjugate_gradients(lambda v: np.array([2.0, 4.0]) * v, np.array([2.0, 2.0]))
        array([1. , 0.5])

    Reference: Nocedal and Wright (2006), Numerical Optimization, algorithm 5.2; used for
    influence functions by Koh and Liang (2017), arXiv:1703.04730, section 3.
    """
    target = np.asarray(target, np.float64)
    size = np.linalg.norm(target)
    found, residual = np.zeros_like(target), target.copy()
    if size == 0:
        return found
    step, squared = residual.copy(), residual @ residual
    limit = min(10 * len(target), 2000) if max_steps is None else max_steps
    for _ in range(limit):
        if np.sqrt(squared) <= tolerance * size:
            break
        bent = product(step)
        curvature = step @ bent
        if not curvature > 0:
            steepness = curvature / (step @ step)
            raise ValueError(
                f"the curvature along a direction is {steepness:.3g}, not positive: the model is "
                "at no minimum of its training loss. Add damping above this size, fit with an L2 "
                "penalty until it converges, or take gauss_newton in place of hessian."
            )
        found += squared / curvature * step
        residual -= squared / curvature * bent
        squared, before = residual @ residual, squared
        step = residual + squared / before * step
    left = np.linalg.norm(target - product(found)) / size
    if not left <= 2 * tolerance:  # twice: rounding between the running residual and the true one
        raise ValueError(
            f"conjugate gradients did not converge: after at most {limit} steps the relative "
            f"residual is {left:.2g}, and {tolerance:.2g} was asked for. Add damping, allow more "
            "steps, use a float64 model, or accept a larger tolerance."
        )
    return found


def as_float64(model: keras.Model) -> keras.Model:
    """Return a copy of a functional or sequential model that computes in float64.

    Its weights are those of the model; its inputs stay of their own type. Second derivatives and
    solutions of linear systems lose too many digits in float32.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> as_float64(model).trainable_variables[0].dtype
        'float64'
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = "float64"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy
