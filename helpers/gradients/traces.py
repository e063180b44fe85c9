"""A model and a loss, traced for each kind of rows, and anew where their Python has changed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, as_arrays, flat, take_rows
from helpers.gradients.certificate import same_alone, tolerance_of
from helpers.gradients.flow import Flow
from helpers.gradients.forms import Tensor
from helpers.gradients.row_loss import Loss
from helpers.gradients.traced import Traced, kinds_in
from helpers.gradients.tracing import as_tensors, explained, losses_of, rows_key, trace
from helpers.gradients.watched import watched

__all__ = ["Traces", "doubles", "weights_of"]


class Traces:
    """What has been traced of a model and a loss.

    A trace holds Python values as they were. So they are watched from call to call, and where one
    is another, everything is traced anew.

    Args:
        model: a Keras model.
        loss: one value per row.

    Attributes:
        flow: the computations that are traced.
        renewals: how often everything had to be traced anew.
    """

    def __init__(self, model: keras.Model, loss: Loss) -> None:
        self.model, self.loss = model, loss
        self.flow = Flow(model, loss)
        self.renewals = 0
        self._python = watched(model, loss)
        self._functions: dict[Any, Traced] = {}
        self._check: dict[Any, Any] = {}  # TensorFlow's functions, traced for rows of a kind

    @property
    def tolerance(self) -> float:
        """Return how far rounding may move a number in any trace; 0 before there is one."""
        return max((traced.tolerance for traced in self._functions.values()), default=0.0)

    def see_links(self, x: Inputs, y: Inputs) -> None:
        """See that the predictions of these rows are what the loss takes."""
        if any(link.wants for link in self.flow.links):
            outputs = flat(self.model(as_tensors(x), training=False))
            floating = [t for t in outputs if t.dtype.is_floating]
            for link, output in zip(self.flow.links, floating, strict=True):
                link.see(output.numpy())
            self.python_ran()

    def still_hold(self, traced: Traced, x: Inputs, y: Inputs, losses: np.ndarray) -> bool:
        """Return whether the model's Python, run again, gives these losses, or a new trace does.

        It need not give them exactly: Keras itself computes a cross-entropy from the logits in a
        graph, and from clipped probabilities outside of one.
        """
        try:
            now = losses_of(self.loss, as_tensors(y), self.model(as_tensors(x), training=False))
        except Exception:  # it runs while it is traced only
            return True
        finally:
            self.python_ran()
        every = np.arange(len(losses))
        if same_alone(doubles(now), losses, every, 10 * traced.tolerance):
            return True
        weights = weights_of(None, len(losses))
        anew = Traced(self.flow.norms, self.model, x, y, weights, places=self.flow.places)
        self.python_ran()
        if same_alone(doubles(anew(x, y, weights)[1]), losses, every, traced.tolerance):
            return True
        self._renew()
        return False

    def renew_if_changed(self) -> None:
        """Forget what was traced if something changed that the model or the loss reads."""
        if self._python.changed():
            self._renew()

    def python_ran(self) -> None:
        """Take the Python values as they are now: what a call itself has written is no change."""
        self._python = watched(self.model, self.loss)

    def _renew(self) -> None:
        self.renewals += bool(self._functions)
        self._functions.clear()
        self._check.clear()
        self.python_ran()

    def function(self, name: str, x: Inputs, y: Inputs, weights: Any, *more: Any) -> Traced:
        """Return a function of :class:`~helpers.gradients.flow.Flow`, traced for such rows.

        Args:
            name: the name of the function: "norms", "dots" or "scales".
            x: inputs of the rows, or of rows like them.
            y: labels of the same rows.
            weights: one weight per row.
            more: the other arguments of the function.
        """
        key = name, self._key(x, y)
        if key not in self._functions:
            self._functions[key] = Traced(
                getattr(self.flow, name), self.model, x, y, weights, *more, places=self.flow.places
            )
            self.python_ran()
        return self._functions[key].renewed(*more)

    def prepared(self, x: Inputs, y: Inputs) -> tuple[Inputs, Inputs]:
        """Return checked arrays, after building a model that has never been called."""
        x, y = as_arrays(x, y)
        if not self.model.built:
            with explained("The model cannot be built on these inputs."):
                self.model(as_tensors(take_rows(x, slice(0, 1))), training=False)
            self.python_ran()
        return x, y

    def _key(self, x: Inputs, y: Inputs) -> Any:
        """Return what a trace of these rows depends on, and see that there is something to do."""
        variables = self.model.trainable_variables
        if not variables:
            raise ValueError(
                f'The model "{self.model.name}" has no trainable variables, so there is no '
                "gradient. Set trainable = True."
            )
        return rows_key(x, y, variables)

    def deltas(
        self, x: Inputs, y: Inputs, weights: np.ndarray
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]], float]:
        """Return losses, the deltas of each use without and with weights, and the tolerance."""
        key = self._key(x, y)
        if key not in self._check:
            self._check[key] = trace(self.flow.weighted_deltas, self.model, x, y, weights)
            self.python_ran()
        tolerance = tolerance_of(*kinds_in(self._check[key].graph))
        return *self._check[key](*as_tensors([x, y, weights])), tolerance


@functools.lru_cache(maxsize=8)  # batches are mostly of one size
def _ones(n: int) -> Tensor:
    return tf.ones([n], tf.float64)


def weights_of(weight: np.ndarray | None, n: int) -> Any:
    """Return one weight per row.

    Raises:
        ValueError: the shape is another one.
    """
    if weight is None:
        return _ones(n)
    weights = np.asarray(weight, np.float64)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},); got {weights.shape}.")
    return weights


def doubles(values: Tensor) -> np.ndarray:
    """Return a tensor as NumPy's numbers of double precision."""
    numbers: np.ndarray = values.numpy()
    return numbers.astype(np.float64)
