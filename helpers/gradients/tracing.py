"""From a model and a loss to one flat graph of TensorFlow operations."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, leaves, map_leaves
from helpers.gradients.forms import Tensor
from helpers.gradients.inside import insides_shown
from helpers.gradients.link import Link, links_of
from helpers.gradients.loops import loops_written_out
from helpers.gradients.row_loss import labelled

__all__ = [
    "as_tensors",
    "checked_model",
    "explained",
    "layers_of",
    "losses_of",
    "rows_key",
    "trace",
    "traced_losses",
]


def checked_model(model: Any) -> keras.Model:
    """Return the model.

    Raises:
        TypeError: it is no Keras model or layer.
        ValueError: a layer of it keeps a state from batch to batch.
    """
    if not isinstance(model, keras.Layer):
        raise TypeError(f"model must be a Keras model or layer; got {type(model).__name__}.")
    for layer in layers_of(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f'The layer "{layer.name}" is stateful: the loss of a row depends on the batches '
                "before it, so no row has a gradient of its own. Build it with stateful=False."
            )
    return model


def trace(
    function: Callable[..., Any], model: keras.Model, x: Inputs, y: Inputs, *more: Any
) -> Any:
    """Return a function of rows, traced once for any number of them.

    Args:
        function: takes inputs, labels and ``more``.
        model: the model that the function calls.
        x: inputs, of which only shapes and types matter.
        y: labels, of which only shapes and types matter.
        more: further arrays; those in a list have no batch axis.
    """

    def any_rows(array: Any) -> Any:
        return tf.TensorSpec([None, *array.shape[1:]], array.dtype)

    specs = [map_leaves(any_rows, nest) for nest in (x, y)]
    for other in more:
        fixed = isinstance(other, list)
        specs.append([tf.TensorSpec(v.shape, v.dtype) for v in other] if fixed else any_rows(other))
    # autograph=False: the model's Python runs as written, it is not rewritten.
    with _written_out(model):
        return tf.function(function, autograph=False).get_concrete_function(*specs)


def rows_key(x: Inputs, y: Inputs, variables: Sequence[keras.Variable]) -> Any:
    """Return what a trace depends on: structure, shapes and types of rows, and the variables."""
    described = map_leaves(lambda a: (*a.shape, a.dtype.name)[1:], (x, y))
    return repr(described), tuple(map(id, variables))


@contextlib.contextmanager
def _written_out(model: keras.Model) -> Iterator[None]:
    """Have recurrent layers write their loop out, and functions in functions run in place.

    Both compute the same, in a graph that shows each use of a variable.
    """
    recurrent = [m for m in layers_of(model) if isinstance(m, keras.layers.RNN) and not m.unroll]
    turned = [m for m in recurrent if m.go_backwards and m.zero_output_for_mask]
    eager = tf.config.functions_run_eagerly()
    for layer in recurrent:
        layer.unroll = True
    for layer in turned:
        layer.go_backwards, layer.inner_loop = False, _backwards(layer.inner_loop)
    tf.config.run_functions_eagerly(True)
    try:
        with loops_written_out(), insides_shown():
            yield
    finally:
        tf.config.run_functions_eagerly(eager)
        for layer in recurrent:
            layer.unroll = False
        for layer in turned:
            del layer.inner_loop
            layer.go_backwards = True


def _backwards(forwards: Callable[..., Any]) -> Callable[..., Any]:
    """Return a recurrent layer's loop over time, from the end of the sequence.

    A loop of Keras that is written out goes backwards itself, but it then masks its outputs in
    the order of the sequence.
    """

    def turned(tensor: Any) -> Any:
        return None if tensor is None else tf.reverse(tensor, [1])

    def loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        sequences, mask = tf.nest.map_structure(turned, (sequences, mask))
        return forwards(sequences, initial_state, mask=mask, training=training)

    return loop


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """Return the model and all layers in it."""
    return [*model._flatten_layers(include_self=True, recursive=True)]


def traced_losses(
    model: keras.Model, loss: Callable[[Any, Any], Any], x: Any, y: Any
) -> tuple[Tensor, list[Link]]:
    """Return one loss per row, shape ``(n,)``, inside a trace, and what it does to the outputs.

    Raises:
        ValueError: the model does not take these inputs, the loss does not take these labels, it
            does not return one value per row, or it takes logits and gets probabilities.
    """
    with explained(f"The model does not take these inputs: {_shapes(x, 'x')}."):
        prediction = model(x, training=False)
    told = f"{_shapes(y, 'y')}; {_shapes(prediction, 'prediction')}"
    with explained(f"The loss does not take these labels: {told}."):
        losses = losses_of(loss, y, prediction)
    if losses.shape.rank == 1 and losses.shape[0] is not None:
        raise ValueError(
            f"The model takes batches of {losses.shape[0]} rows only, and its rows cannot be "
            "looked at in another number. Build it without batch_size and batch_shape."
        )
    if losses.shape.rank != 1:
        raise ValueError(
            f"The loss must return one value per row, shape (n,); got {_shape(losses)} for {told}. "
            "Do not average over the rows; sum or average over all other axes; and give labels "
            "and predictions the same shape."
        )
    return losses, links_of(prediction, losses)


def losses_of(loss: Callable[[Any, Any], Any], y: Any, prediction: Any) -> Tensor:
    """Return the losses of rows, traced or not, with the labels in the prediction's precision."""
    if isinstance(prediction, tf.Tensor) and prediction.dtype.is_floating:
        # Keras casts inputs by itself; labels of another precision would be refused.
        y = map_leaves(lambda a: tf.cast(a, prediction.dtype) if a.dtype.is_floating else a, y)
    return tf.convert_to_tensor(labelled(loss, y, prediction))


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Begin the message of an error with what was tried."""
    try:
        yield
    except Exception as error:
        said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())  # without colours
        hint = ""
        if "None" in said:
            hint = " (Their number is not known while the model is traced: write tf.shape(x)[0] "
            hint += "where x.shape[0] stands.)"
        raise ValueError(f"{what}{hint} {type(error).__name__}: {said:.400}") from error


def _shapes(nest: Any, name: str) -> str:
    return ", ".join(
        f"{k} has shape {_shape(v)} and type {getattr(v.dtype, 'name', v.dtype)}"
        for k, v in leaves(nest, name).items()
    )


def _shape(tensor: Any) -> str:
    """Return a shape, with n for the number of rows."""
    sizes = ["n" if n is None else str(n) for n in tensor.shape]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def as_tensors(nest: Any) -> Any:
    """Return arrays as tensors."""
    return map_leaves(lambda a: a if tf.is_tensor(a) else tf.constant(a), nest)
