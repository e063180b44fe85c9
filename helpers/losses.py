"""Two losses and their derivatives: half the squared error, and binary cross-entropy.

The NumPy functions come first. They work on vectors of one length ``(n,)`` and
return one number per sample, so that nothing is averaged away before somebody asks
for it; ``mean_...`` is the reduced form. Whatever NumPy would broadcast is refused,
because ``(n,)`` against ``(n, 1)`` silently makes an ``(n, n)`` table of wrong losses.
float32 stays float32; whole numbers and float64 give float64.

The two TensorFlow functions at the end are the same losses as ``loss(y, prediction)``
for training and for :mod:`helpers.gradients`. They import TensorFlow when they are
called, so that the NumPy part is there at once and needs no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlog1py, xlogy

if TYPE_CHECKING:
    from helpers.backend import tf

__all__ = [
    "cross_entropy",
    "cross_entropy_by_logit",
    "cross_entropy_by_probability",
    "cross_entropy_from_probability",
    "cross_entropy_loss",
    "half_squared_error",
    "half_squared_error_by_logit",
    "half_squared_error_by_prediction",
    "linear_gradient",
    "logistic_gradient",
    "mean_cross_entropy",
    "mean_gradient",
    "mean_half_squared_error",
    "sample_gradients",
    "sigmoid",
    "squared_error_loss",
]


# ---------------------------------------------------------------- half the squared error


def half_squared_error(y: ArrayLike, prediction: ArrayLike) -> NDArray:
    """Return each sample's ``(y - prediction)**2 / 2``.

    The factor 1/2 cancels the 2 of the derivative, which is then ``prediction - y``.

    Args:
        y: labels, shape ``(n,)``, any finite numbers.
        prediction: predictions in the labels' unit, shape ``(n,)``.

    Returns:
        Losses, shape ``(n,)``, in input order.

    Raises:
        ValueError: shapes differ, are not 1-D or are empty; a value is not finite.

    Example:
        >>> half_squared_error([1.5, 4.0], [1.0, 2.0])
        array([0.125, 2.   ])

    Reference: Bishop (2006), Pattern Recognition and Machine Learning, section 3.1.
    """
    y, prediction = _vectors(y=y, prediction=prediction)
    return (y - prediction) ** 2 / 2


def mean_half_squared_error(y: ArrayLike, prediction: ArrayLike) -> np.floating:
    """Return the mean over samples of :func:`half_squared_error`.

    Example:
        >>> float(mean_half_squared_error([1.5, 4.0], [1.0, 2.0]))
        1.0625
    """
    return half_squared_error(y, prediction).mean()


def half_squared_error_by_prediction(y: ArrayLike, prediction: ArrayLike) -> NDArray:
    """Return ``d loss_i / d prediction_i = prediction_i - y_i``, shape ``(n,)``.

    Args:
        y: labels, shape ``(n,)``.
        prediction: predictions, shape ``(n,)``.

    Raises:
        ValueError: as :func:`half_squared_error`.

    Example:
        >>> half_squared_error_by_prediction([1.5, 4.0], [1.0, 2.0])
        array([-0.5, -2. ])
    """
    y, prediction = _vectors(y=y, prediction=prediction)
    return prediction - y


def half_squared_error_by_logit(y: ArrayLike, logit: ArrayLike) -> NDArray:
    """Return ``d loss_i / d logit_i`` of half the squared error of ``p = sigmoid(logit)``.

    It is ``(p - y) * p * (1 - p)``. The last two factors go to 0 for a large logit of
    either sign: a confident mistake hardly moves the model.

    Args:
        y: labels in [0, 1], shape ``(n,)``.
        logit: log-odds, shape ``(n,)``.

    Raises:
        ValueError: as :func:`half_squared_error`, or a label outside [0, 1].

    Example:
        >>> half_squared_error_by_logit([1.0, 1.0], [0.0, -10.0]).round(6)
        array([-1.25e-01, -4.50e-05])
    """
    y, logit = _vectors(y=y, logit=logit)
    return cross_entropy_by_logit(y, logit) * sigmoid(logit) * sigmoid(-logit)


# ---------------------------------------------------------------- binary cross-entropy


def sigmoid(logit: ArrayLike) -> NDArray:
    """Return ``1 / (1 + exp(-logit))``, the probability of a log-odds.

    Only ``exp(-|logit|)`` is ever computed, so no logit is too large.

    Args:
        logit: log-odds, any shape.

    Returns:
        Probabilities in [0, 1], of the same shape.

    Example:
        >>> sigmoid([-1000.0, 0.0, 1000.0])
        array([0. , 0.5, 1. ])
    """
    logit = np.asarray(logit)
    logit = logit.astype(_float_type(logit), copy=False)
    small = np.exp(-np.abs(logit))
    return np.where(logit >= 0, np.ones_like(small), small) / (1 + small)


def cross_entropy(y: ArrayLike, logit: ArrayLike) -> NDArray:
    """Return each sample's binary cross-entropy, computed from its logit.

    With ``p = sigmoid(z)`` the loss ``-y log p - (1 - y) log(1 - p)`` equals
    ``max(z, 0) - z y + log(1 + exp(-|z|))``, which no logit makes overflow.

    Args:
        y: labels in [0, 1], shape ``(n,)``; a fraction is a soft label.
        logit: log-odds ``z``, shape ``(n,)``.

    Returns:
        Losses in nats, shape ``(n,)``, in input order, never negative.

    Raises:
        ValueError: shapes differ, are not 1-D or are empty; a value is not finite;
            a label is outside [0, 1].

    Example:
        >>> cross_entropy([1.0, 0.0, 0.0], [0.0, -10_000.0, 10_000.0]).round(4)
        array([6.931e-01, 0.000e+00, 1.000e+04])

    Reference: TensorFlow, ``tf.nn.sigmoid_cross_entropy_with_logits``.
    """
    y, logit = _vectors(y=y, logit=logit)
    _refuse_outside_unit_interval("label", y)
    # Two terms, not max(z, 0) - z * y: for a fraction y that difference would round more.
    wrong_side = np.maximum(logit, 0) * (1 - y) + np.maximum(-logit, 0) * y
    return wrong_side + np.log1p(np.exp(-np.abs(logit)))


def mean_cross_entropy(y: ArrayLike, logit: ArrayLike) -> np.floating:
    """Return the mean over samples of :func:`cross_entropy`.

    Example:
        >>> float(mean_cross_entropy([1.0, 0.0], [0.0, 0.0]).round(4))
        0.6931
    """
    return cross_entropy(y, logit).mean()


def cross_entropy_by_logit(y: ArrayLike, logit: ArrayLike) -> NDArray:
    """Return ``d loss_i / d logit_i = sigmoid(logit_i) - y_i``, shape ``(n,)``.

    It is computed as ``(1 - y) sigmoid(z) - y sigmoid(-z)``, which is equal and keeps
    its digits when ``sigmoid(z)`` is so near the label that the difference would be 0.

    Args:
        y: labels in [0, 1], shape ``(n,)``.
        logit: log-odds, shape ``(n,)``.

    Raises:
        ValueError: as :func:`cross_entropy`.

    Example:
        >>> cross_entropy_by_logit([1.0, 0.0], [0.0, 0.0])
        array([-0.5,  0.5])
    """
    y, logit = _vectors(y=y, logit=logit)
    _refuse_outside_unit_interval("label", y)
    return (1 - y) * sigmoid(logit) - y * sigmoid(-logit)


def cross_entropy_from_probability(y: ArrayLike, probability: ArrayLike) -> NDArray:
    """Return each sample's ``-y log p - (1 - y) log(1 - p)``.

    This is the definition, for teaching. Train with :func:`cross_entropy`: a
    probability has lost what the logit knew as soon as it rounds to 0 or 1.

    Args:
        y: labels in [0, 1], shape ``(n,)``.
        probability: predictions ``p`` in [0, 1], shape ``(n,)``.

    Returns:
        Losses in nats, shape ``(n,)``. At ``p = 0`` or ``p = 1`` the loss is 0 if the
        label agrees exactly, else infinite.

    Raises:
        ValueError: as :func:`cross_entropy`, or a probability outside [0, 1].

    Example:
        >>> cross_entropy_from_probability([1.0, 1.0, 1.0], [0.5, 1.0, 0.0]).round(4)
        array([0.6931, 0.    ,    inf])
    """
    y, probability = _vectors(y=y, probability=probability)
    _refuse_outside_unit_interval("label", y)
    _refuse_outside_unit_interval("probability", probability)
    return np.abs(xlogy(y, probability) + xlog1py(1 - y, -probability))  # abs: no -0.0


def cross_entropy_by_probability(y: ArrayLike, probability: ArrayLike) -> NDArray:
    """Return ``d loss_i / d probability_i = (p - y) / (p (1 - p))``, shape ``(n,)``.

    Args:
        y: labels in [0, 1], shape ``(n,)``.
        probability: predictions ``p`` in [0, 1], shape ``(n,)``. At 0 or 1 the value is
            the one-sided limit: -1 or 1 if the label agrees, else infinite.

    Raises:
        ValueError: as :func:`cross_entropy_from_probability`.

    Example:
        >>> cross_entropy_by_probability([1.0, 0.0], [0.25, 0.75])
        array([-4.,  4.])
    """
    y, probability = _vectors(y=y, probability=probability)
    _refuse_outside_unit_interval("label", y)
    _refuse_outside_unit_interval("probability", probability)
    falls, rises = np.zeros_like(y), np.zeros_like(y)
    with np.errstate(divide="ignore"):  # an infinite slope is the right answer here
        np.divide(y, probability, out=falls, where=y > 0)
        np.divide(1 - y, 1 - probability, out=rises, where=y < 1)
    return rises - falls


# ---------------------------------------------------------------- derivatives by the weights


def sample_gradients(inputs: ArrayLike, errors: ArrayLike) -> NDArray:
    """Return each sample's gradient by the weights and the bias of a one-unit model.

    With ``z = inputs @ w + b`` and ``error_i = d loss_i / d z_i`` the chain rule gives
    ``error_i * [inputs_i, 1]``: error times input.

    Args:
        inputs: features, shape ``(n, d)``.
        errors: ``d loss_i / d z_i``, not averaged, shape ``(n,)``.

    Returns:
        Gradients, shape ``(n, d + 1)``, bias last, in input order.

    Raises:
        ValueError: shapes do not fit; a value is not finite.

    Example:
        >>> sample_gradients([[2.0, 3.0]], [-0.5])
        array([[-1. , -1.5, -0.5]])
    """
    errors = _vectors(errors=errors)[0]
    inputs = _matrix(inputs, rows=len(errors))
    dtype = np.result_type(inputs, errors)
    with_bias = np.column_stack([inputs, np.ones(len(errors), dtype)])
    return with_bias * errors[:, None]


def mean_gradient(inputs: ArrayLike, errors: ArrayLike) -> NDArray:
    """Return ``1/N sum_i error_i * [inputs_i, 1]``, shape ``(d + 1,)``, bias last.

    Args:
        inputs: features, shape ``(n, d)``.
        errors: ``d loss_i / d z_i``, shape ``(n,)``.

    Raises:
        ValueError: as :func:`sample_gradients`.

    Example:
        >>> mean_gradient([[2.0], [4.0]], [-1.0, 0.0])
        array([-1. , -0.5])
    """
    return sample_gradients(inputs, errors).mean(axis=0)


def linear_gradient(
    inputs: ArrayLike, y: ArrayLike, weights: ArrayLike, bias: float = 0.0
) -> NDArray:
    """Return the gradient of the mean half squared error of ``p = inputs @ weights + bias``.

    It is the article's ``-1/N sum_i (y_i - p_i) dp_i/dw``, with the bias added.

    Args:
        inputs: features, shape ``(n, d)``.
        y: labels, shape ``(n,)``.
        weights: shape ``(d,)``.
        bias: one number.

    Returns:
        Gradient, shape ``(d + 1,)``, bias last.

    Raises:
        ValueError: shapes do not fit; a value is not finite.

    Example:
        >>> linear_gradient([[1.0], [2.0]], [2.0, 4.0], [1.0], 0.0)
        array([-2.5, -1.5])
    """
    prediction = _linear(inputs, weights, bias)
    return mean_gradient(inputs, half_squared_error_by_prediction(y, prediction))


def logistic_gradient(
    inputs: ArrayLike, y: ArrayLike, weights: ArrayLike, bias: float = 0.0
) -> NDArray:
    """Return the gradient of the mean cross-entropy of ``logit = inputs @ weights + bias``.

    Args:
        inputs: features, shape ``(n, d)``.
        y: labels in [0, 1], shape ``(n,)``.
        weights: shape ``(d,)``.
        bias: one number.

    Returns:
        Gradient, shape ``(d + 1,)``, bias last.

    Raises:
        ValueError: shapes do not fit; a value is not finite; a label is outside [0, 1].

    Example:
        >>> logistic_gradient([[1.0], [2.0]], [1.0, 0.0], [0.0], 0.0)
        array([0.25, 0.  ])
    """
    logit = _linear(inputs, weights, bias)
    return mean_gradient(inputs, cross_entropy_by_logit(y, logit))


# ---------------------------------------------------------------- for TensorFlow


def squared_error_loss(y: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    """Return each sample's half squared error as a tensor, never reduced.

    Args:
        y: labels, shape ``(B,)`` or ``(B, 1)``, any number type.
        prediction: shape ``(B,)`` or ``(B, 1)``, floating.

    Returns:
        Losses, shape ``(B,)``, of the prediction's type.

    Raises:
        ValueError: when traced, if a shape is anything else; NumPy's form checks more.

    Example:
        >>> squared_error_loss([1.5, 4.0], [[1.0], [2.0]]).numpy()
        array([0.125, 2.   ], dtype=float32)
    """
    y, prediction = _columns(y, prediction)
    return (y - prediction) ** 2 / 2


def cross_entropy_loss(y: tf.Tensor, logit: tf.Tensor) -> tf.Tensor:
    """Return each sample's binary cross-entropy from its logit as a tensor, never reduced.

    Args:
        y: labels in [0, 1], shape ``(B,)`` or ``(B, 1)``, any number type. Values are
            not checked here: a graph cannot refuse them cheaply.
        logit: log-odds, shape ``(B,)`` or ``(B, 1)``, floating.

    Returns:
        Losses in nats, shape ``(B,)``, of the logit's type.

    Raises:
        ValueError: when traced, if a shape is anything else.

    Example:
        >>> cross_entropy_loss([1.0, 0.0], [[0.0], [-100.0]]).numpy().round(4)
        array([0.6931, 0.    ], dtype=float32)
    """
    from helpers.backend import tf

    y, logit = _columns(y, logit)
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logit)


# ---------------------------------------------------------------- what may come in


def _float_type(*arrays: NDArray) -> np.dtype:
    """Return the type to compute in: that of the floating arrays, else float64."""
    for array in arrays:
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"values must be numbers; got the type {array.dtype}. "
                "Convert them with astype(float) first."
            )
    floating = [array.dtype for array in arrays if array.dtype.kind == "f"]
    return np.result_type(np.float32, *floating) if floating else np.dtype(np.float64)


def _vectors(**named: ArrayLike) -> list[NDArray]:
    """Return the arguments as float vectors; refuse what would broadcast, NaN, and nothing."""
    arrays = {name: np.asarray(values) for name, values in named.items()}
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    first, *others = arrays.values()
    if first.ndim != 1 or any(array.shape != first.shape for array in others):
        raise ValueError(
            f"need one number a sample in vectors of one shape (n,); got {shapes}. "
            "Other shapes would broadcast to wrong numbers: use values[:, 0] or ravel()."
        )
    if first.size == 0:
        raise ValueError(f"need at least one sample; got {shapes}.")
    dtype = _float_type(*arrays.values())
    for name, array in arrays.items():
        _refuse_not_finite(name, array)
    return [array.astype(dtype, copy=False) for array in arrays.values()]


def _matrix(inputs: ArrayLike, *, rows: int | None = None) -> NDArray:
    """Return ``inputs`` as a float matrix, of ``rows`` rows if that is known."""
    inputs = np.asarray(inputs)
    if inputs.ndim != 2 or (rows is not None and len(inputs) != rows):
        raise ValueError(
            f"inputs must have the shape ({rows or 'n'}, d), one row per sample; "
            f"got {inputs.shape}. A single feature is values[:, None]."
        )
    _refuse_not_finite("inputs", inputs)
    return inputs.astype(_float_type(inputs), copy=False)


def _linear(inputs: ArrayLike, weights: ArrayLike, bias: float) -> NDArray:
    """Return ``inputs @ weights + bias``, shape ``(n,)``."""
    weights = _vectors(weights=weights)[0]
    inputs = _matrix(inputs)
    if inputs.shape[1] != len(weights) or np.ndim(bias) != 0:
        raise ValueError(
            "need one weight a feature and one bias; got inputs "
            f"{inputs.shape}, weights {weights.shape}, bias {np.shape(bias)}."
        )
    return inputs @ weights + weights.dtype.type(bias)


def _refuse_not_finite(name: str, array: NDArray) -> None:
    _float_type(array)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name} must be finite; {name}[{', '.join(map(str, where))}] is {array[where]}. "
            "Drop or fill such rows first."
        )


def _refuse_outside_unit_interval(name: str, array: NDArray) -> None:
    outside = np.flatnonzero((array < 0) | (array > 1))
    if outside.size:
        raise ValueError(
            f"every {name} must be in [0, 1]; number {outside[0]} is {array[outside[0]]}. "
            "Cross-entropy compares probabilities: map the classes to 0 and 1."
        )


def _columns(y: tf.Tensor, prediction: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return both as ``(B,)`` tensors of the prediction's type; refuse what would broadcast."""
    from helpers.backend import tf

    prediction = tf.convert_to_tensor(prediction)
    y = tf.cast(tf.convert_to_tensor(y), prediction.dtype)
    got = f"y {y.shape}, prediction {prediction.shape}"
    if not prediction.dtype.is_floating:
        raise ValueError(f"the prediction must be floating; got {prediction.dtype.name}.")
    for tensor in (y, prediction):
        if tensor.shape.rank not in (1, 2) or (tensor.shape.rank == 2 and tensor.shape[1] != 1):
            raise ValueError(f"need (B,) or (B, 1), one number a sample; got {got}.")
    if not y.shape[:1].is_compatible_with(prediction.shape[:1]):
        raise ValueError(f"need as many labels as predictions; got {got}.")
    y, prediction = (t if t.shape.rank == 1 else tf.squeeze(t, axis=1) for t in (y, prediction))
    if None in (y.shape[0], prediction.shape[0]):
        # A batch size that is known only when the graph runs cannot be compared here.
        # Stacking never broadcasts, so it fails then. Do not use a reshape (the graph
        # optimiser drops it) or an assertion (XLA drops it).
        y, prediction = tf.unstack(tf.stack([y, prediction], name="one_label_a_prediction"))
    return y, prediction
