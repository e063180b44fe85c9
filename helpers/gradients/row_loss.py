"""From whatever Keras takes as a loss to one loss per row.

A gradient of one sample needs the loss of one sample. What people have is the name of a loss, a
loss object that averages over the batch, or a compiled model. The average over the rows is taken
off, and what is left of a row (the positions of a sequence, say) is averaged as Keras would.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from helpers.backend import keras, tf
from helpers.gradients.batches import flat, map_leaves

__all__ = ["Loss", "labelled", "row_loss"]

#: ``loss(y, prediction)``, one value per row.
Loss: TypeAlias = Callable[[Any, Any], Any]

_WHAT = "loss must be a function loss(y, prediction) -> (n,), a loss of Keras or its name"


def row_loss(model: keras.Model, loss: Any = None) -> Loss:
    """Return a loss that gives one value per row.

    Args:
        model: the model whose predictions it judges.
        loss: a function ``loss(y, prediction) -> (n,)``, which is taken as it is; a loss object
            of Keras, of which the reduction is removed; its name, as in ``model.compile``; a
            list or dict of such, for a model of several outputs, which are added up; or None for
            what the model was compiled with, its ``loss_weights`` included.

    Returns:
        ``loss(y, prediction)``, shape ``(n,)``.

    Raises:
        TypeError: it is none of these, a metric, or a class in place of an object.
        ValueError: Keras has no loss of this name, or the model has not been compiled.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> loss = row_loss(model, "mean_squared_error")
        >>> loss(tf.constant([1.0, 2.0]), tf.constant([[1.0], [5.0]])).numpy()
        array([0., 9.], dtype=float32)
    """
    if loss is None:
        return _compiled(model)
    if isinstance(loss, Mapping) or (isinstance(loss, Sequence) and not isinstance(loss, str)):
        return _summed(model, loss, None)
    return _single(loss)


def labelled(loss: Loss, y: Any, prediction: Any) -> Any:
    """Return the loss of labels of any type.

    A loss such as ``(p - y) ** 2`` takes NumPy's whole numbers, and refuses TensorFlow's. Labels
    that are whole numbers or truth values are handed over as they are, for a loss may count
    classes by them; where it does not take them, they become fractions.

    Args:
        loss: ``loss(y, prediction)``.
        y: labels, arrays or tensors in any nesting.
        prediction: the model's outputs for the same rows.
    """
    kinds = {a.dtype if tf.is_tensor(a) else tf.as_dtype(a.dtype) for a in flat(y)}
    if not any(kind.is_integer or kind.is_bool for kind in kinds):
        return loss(y, prediction)
    try:
        return loss(y, prediction)
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
        outputs = [t for t in flat(prediction) if getattr(t, "dtype", None) is not None]
        kind = next((t.dtype for t in outputs if tf.as_dtype(t.dtype).is_floating), tf.float32)
        try:
            return loss(map_leaves(lambda a: tf.cast(a, kind), y), prediction)
        except (TypeError, ValueError, tf.errors.InvalidArgumentError):
            raise error from None  # the labels' type was not what it failed at


def _single(loss: Any) -> Loss:
    """Return one loss, unreduced."""
    if isinstance(loss, keras.metrics.Metric):
        raise TypeError(
            f"{_WHAT}; got the metric {loss.name}. A metric sums up many rows and has no gradient "
            "of one row: give the loss of the training."
        )
    if isinstance(loss, type):
        raise TypeError(f"{_WHAT}; got the class {loss.__name__}. Call it: {loss.__name__}().")
    if isinstance(loss, str):
        return _Unreduced(_named(loss), "sum_over_batch_size")
    if isinstance(loss, keras.losses.Loss):
        kept = loss.reduction in (None, "none")
        return loss if kept else _Unreduced(loss, loss.reduction)
    if not callable(loss):
        raise TypeError(f"{_WHAT}; got {loss!r}.")
    own: Loss = loss
    return own


def _named(name: str) -> keras.losses.Loss:
    """Return the loss of Keras that has a name, with labels shaped as in ``model.fit``."""
    try:
        made = getattr(keras.losses, name, None)
        found = made() if isinstance(made, type) else keras.losses.get(name)
    except ValueError:
        names = [n for n in dir(keras.losses) if not n.startswith("_")]
        near = difflib.get_close_matches(name, names, 1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'Keras has no loss "{name}".{hint}') from None
    return found if isinstance(found, keras.losses.Loss) else _FromFunction(found)


class _FromFunction(keras.losses.Loss):
    """A loss function as ``model.compile`` wraps it: ``(n,)`` labels fit ``(n, 1)`` predictions."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(name="own", reduction="none")
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the function's value, after a missing last axis of length one was added."""
        y_true, y_pred = (tf.convert_to_tensor(t) for t in (y_true, y_pred))
        if y_true.shape.rank == 1 and y_pred.shape.rank == 2 and y_pred.shape[-1] == 1:
            y_true = y_true[:, None]
        elif y_pred.shape.rank == 1 and y_true.shape.rank == 2 and y_true.shape[-1] == 1:
            y_pred = y_pred[:, None]
        return self.function(y_true, y_pred)


class _Unreduced:
    """A loss of Keras without its reduction over the rows.

    Attributes:
        loss: a copy, with ``reduction="none"``.
        adds: whether the entries of a row are added up, not averaged.
    """

    def __init__(self, loss: keras.losses.Loss, reduction: str) -> None:
        # Not by `copy`, which takes a loss of Keras apart and looks for its class by name.
        self.loss = object.__new__(type(loss))
        self.loss.__dict__.update(loss.__dict__, reduction="none")
        self.adds = reduction == "sum"

    def __call__(self, y: Any, prediction: Any) -> Any:
        """Return one value per row, shape ``(n,)``."""
        return _over_entries(self.loss(y, prediction), adds=self.adds)


def _over_entries(values: Any, *, adds: bool) -> Any:
    """Return ``(n, ...)`` as ``(n,)``: the sum or the mean of each row's entries."""
    values = tf.convert_to_tensor(values)
    if values.shape.rank is None or values.shape.rank < 2:
        return values
    axes = list(range(1, values.shape.rank))
    return tf.reduce_sum(values, axes) if adds else tf.reduce_mean(values, axes)


def _compiled(model: keras.Model) -> Loss:
    """Return the loss that the model was compiled with."""
    loss = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    if loss is None:
        raise ValueError(
            f'The model "{model.name}" has not been compiled with a loss: give the loss, '
            'such as PerSampleGradients(model, "binary_crossentropy").'
        )
    if not isinstance(loss, str) and callable(loss) and not isinstance(loss, keras.losses.Loss):
        # As Keras does: what the function leaves of a row is averaged.
        loss = _Unreduced(_FromFunction(loss), "sum_over_batch_size")
    names = getattr(model, "output_names", [])
    if len(names) > 1 and not isinstance(loss, Mapping | list | tuple):
        loss = dict.fromkeys(names, loss)
    # The public get_compile_config would write the loss down first, and fail at a lambda.
    weights = getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)
    if isinstance(loss, Mapping | list | tuple) or weights:
        return _summed(model, loss, weights)
    return _single(loss)


def _summed(model: keras.Model, losses: Any, weights: Any) -> Loss:
    """Return the weighted sum of the losses of several outputs."""
    names = list(getattr(model, "output_names", []))
    chosen = {k: _single(v) for k, v in _by_output(losses, names).items() if v is not None}
    factors = dict.fromkeys(chosen, 1.0) | (_by_output(weights, names) if weights else {})

    def loss(y: Any, prediction: Any) -> Any:
        labels, outputs = _by_output(y, names), _by_output(prediction, names)
        missing = [k for k in chosen if k not in outputs or k not in labels]
        if missing:
            raise ValueError(
                f'there is a loss for the output "{missing[0]}", but labels for {list(labels)} '
                f"and predictions of {list(outputs)}."
            )
        return tf.add_n([factors[k] * one(labels[k], outputs[k]) for k, one in chosen.items()])

    return loss


def _by_output(nest: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return a dict by the outputs' names from a dict, a list in their order, or a single one."""
    if isinstance(nest, Mapping):
        return dict(nest)
    values = list(nest) if isinstance(nest, list | tuple) else [nest]
    known = names if len(names) == len(values) else range(len(values))
    return {str(k): value for k, value in zip(known, values, strict=True)}
