"""Per-sample gradient norms of a whole batch, for about the price of one gradient step.

The flow, which is ``PerSampleGradients._factored`` below almost word for word:

1. *trace* the model and the unreduced loss into one TensorFlow graph;
2. find the *uses*: the operations where a trainable variable meets the rows;
3. let TensorFlow give the *deltas*, the derivatives of the summed loss by what those
   operations make. Weight gradients are never asked for, so they are never computed;
4. turn each use into a *factored gradient* by its rule, and combine the uses of a variable;
5. take the *norm* of each.

It is exact when the loss of a row depends on that row alone. ``certify`` checks that.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, as_arrays, padded_rows, take_rows
from helpers.gradients.forms import Form, Tensor
from helpers.gradients.naive import Loss
from helpers.gradients.rules import combine, factor, rule_for
from helpers.gradients.uses import Use, find_uses

__all__ = ["PerSampleGradients"]

# How far rounding alone may move a delta, as a share of the largest one.
_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


class PerSampleGradients:
    """Exact gradient norms and dot products for every sample of a batch.

    The norms are those of ``naive_norms``, but all rows go through the model at once.
    Each batch shape is traced once (about a second), then it is fast. Variables that are
    frozen later need a new object.

    Args:
        model: a Keras model; it is called with ``training=False``, so dropout is off.
        loss: ``loss(y, prediction)`` returning one value a row, shape ``(B,)``.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.set_weights([np.zeros((2, 1)), np.zeros(1)])
        >>> def half_square(y, p):
        ...     return 0.5 * (p[:, 0] - y) ** 2
        >>> x = np.array([[3.0, 4.0], [0.0, 0.0]], dtype="float32")
        >>> y = np.array([-2.0, 1.0], dtype="float32")
        >>> PerSampleGradients(model, half_square).norms(x, y).round(4)
        array([10.198,  1.   ])

    Reference:
        Goodfellow (2015), arXiv:1510.01799, for dense layers; Rochette, Manoel and Tramel
        (2019), arXiv:1912.06015, for reading the rest off one backward pass.
    """

    def __init__(self, model: keras.Model, loss: Loss) -> None:
        self.model = model
        self.loss = loss
        # autograph=False: the model's Python runs as written, it is not rewritten.
        self._norms = tf.function(self._traced_norms, autograph=False)
        self._dots = tf.function(self._traced_dots, autograph=False)
        self._check = tf.function(self._traced_check, autograph=False)

    def norms(self, x: Inputs, y: np.ndarray) -> np.ndarray:
        """Return ``||g_i||`` for each row of one batch.

        Args:
            x: inputs, shape ``(B, ...)``, or a dict of such arrays.
            y: labels, shape ``(B, ...)``.

        Returns:
            Norms over all trainable variables, float64, shape ``(B,)``, in input order.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: row counts differ, the loss is not one value a row, or it depends
                on no trainable variable.
        """
        return self._run(self._norms, x, y)

    def dots(self, x: Inputs, y: np.ndarray, direction: Sequence[np.ndarray]) -> np.ndarray:
        """Return ``<g_i, v>``: how fast each loss grows when the weights move along ``v``.

        Args:
            x: inputs, shape ``(B, ...)``, or a dict of such arrays.
            y: labels, shape ``(B, ...)``.
            direction: one array a trainable variable, of the same shapes and order as
                ``model.trainable_variables``. For example the gradient on other rows.

        Returns:
            Dot products over all trainable variables, float64, shape ``(B,)``.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: as ``norms``, or the direction's shapes are wrong.
        """
        x, y = self._prepared(x, y)
        direction = [np.asarray(v) for v in direction]
        wanted = [tuple(v.shape) for v in self.model.trainable_variables]
        if (found := [v.shape for v in direction]) != wanted:
            raise ValueError(
                "The direction must have the shapes of model.trainable_variables, "
                f"{wanted}; got {found}."
            )
        return self._run(self._dots, x, y, tuple(direction))

    def certify(self, x: Inputs, y: np.ndarray) -> float:
        """Check on one batch that the rows are independent; return the largest mismatch.

        Two checks. The losses of a slice must be the slice of the losses: this fails when
        ``(n,)`` labels meet ``(n, 1)`` predictions, or when a layer averages over the batch.
        And when the losses are weighted by random numbers ``r_i`` before they are summed,
        every delta must come back as ``r_i * delta_i``: this fails when a row's loss
        reaches into another row, or when the batch axis is not first.

        Args:
            x: inputs of at least two rows, shape ``(B, ...)``, or a dict of such arrays.
            y: labels, shape ``(B, ...)``.

        Returns:
            The largest difference found, as a share of the largest value beside it.
            Rounding makes it a little more than 0.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: the rows are coupled; or fewer than two rows came.
        """
        x, y = self._prepared(x, y)
        if len(y) < 2:
            raise ValueError("certify needs at least 2 rows, to see if they are coupled; got 1.")
        weights = np.random.default_rng(0).uniform(0.5, 1.5, len(y))
        losses, pairs = self._check(x, y, weights)
        tolerance = max(_TOLERANCE.get(k, 1e-2) for k in (losses.dtype.name, self.model.dtype))
        worst = self._slice_mismatch(x, y, losses.numpy(), tolerance)
        for where, (delta, weighted) in pairs.items():
            message = f"Samples are coupled, or the batch axis is not first, at {where}."
            rows = delta.numpy().reshape(len(y), -1)
            found = weighted.numpy().reshape(len(y), -1)
            worst = max(worst, _mismatch(found, weights[:, None] * rows, tolerance, message))
        return worst

    def norms_over(
        self, x: Inputs, y: np.ndarray, *, batch_size: int = 4096, progress: bool = True
    ) -> np.ndarray:
        """Return ``||g_i||`` for any number of rows, batch by batch.

        The first batch is certified first. The last one is filled up with copies of the
        last row, so that all batches have one shape; the copies are dropped again.

        Args:
            x: inputs, shape ``(n, ...)``, or a dict of such arrays.
            y: labels, shape ``(n, ...)``.
            batch_size: rows in one batch; memory grows with it.
            progress: show a progress bar.

        Returns:
            Norms over all trainable variables, float64, shape ``(n,)``, in input order.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: as ``norms`` and ``certify``, or batch_size is below 1.

        Warns:
            RuntimeWarning: norms are NaN or infinite; it names their rows.

        Example:
            >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
            >>> model.set_weights([np.ones((1, 1)), np.zeros(1)])
            >>> def half_square(y, p):
            ...     return 0.5 * (p[:, 0] - y) ** 2
            >>> x, y = np.zeros((5, 1)), np.arange(5.0)
            >>> norms = PerSampleGradients(model, half_square).norms_over(
            ...     x, y, batch_size=2, progress=False)
            >>> norms
            array([0., 1., 2., 3., 4.])
        """
        x, y = as_arrays(x, y)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 row; got {batch_size}.")
        n, size = len(y), min(batch_size, len(y))
        if n > 1:
            first = slice(0, max(size, 2))
            self.certify(take_rows(x, first), y[first])
        norms = np.empty(n)
        starts = range(0, n, size)
        for start in tqdm(starts, desc="gradient norms", unit="batch", disable=not progress):
            rows = padded_rows(start, size, n)
            norms[start : start + size] = self.norms(take_rows(x, rows), y[rows])[: n - start]
        _warn_of_rows_without_norm(norms)
        return norms

    def _run(self, function: Any, x: Inputs, y: np.ndarray, *more: Any) -> np.ndarray:
        """Return the values of a traced function on NumPy arrays, as float64."""
        x, y = self._prepared(x, y)
        return function(x, y, *more).numpy().astype(np.float64)

    def _prepared(self, x: Inputs, y: np.ndarray) -> tuple[Inputs, np.ndarray]:
        """Return checked arrays, after building a model that has never been called."""
        x, y = as_arrays(x, y)
        if not self.model.built:
            self.model(take_rows(x, slice(0, 1)), training=False)
        # Keras casts the inputs by itself; in a graph float64 labels would be refused.
        return x, y.astype(self.model.compute_dtype) if y.dtype.kind == "f" else y

    def _traced_norms(self, x: Any, y: Tensor) -> Tensor:
        """Return the norms of one batch: the root of the sum over variables."""
        forms = self._factored(x, y)
        return tf.sqrt(tf.add_n([form.squared_norms() for form in forms.values()]))

    def _traced_dots(self, x: Any, y: Tensor, direction: Sequence[Tensor]) -> Tensor:
        """Return the dot products of one batch: the sum over variables."""
        along = [tf.cast(v, self.model.compute_dtype) for v in direction]
        forms = self._factored(x, y)
        return tf.add_n([form.dots(along[number]) for number, form in forms.items()])

    def _factored(self, x: Any, y: Tensor) -> dict[int, Form]:
        """Return the factored gradients of each variable, by its number in the model."""
        losses, uses = self._losses_and_uses(x, y)
        deltas = tf.gradients(tf.reduce_sum(losses), [use.output for use in uses])
        found: dict[int, list[tuple[Use, Form]]] = {}
        for use, delta in zip(uses, deltas, strict=True):
            if delta is not None:  # None: the model stops the gradient behind this use
                form = factor(use, delta, losses.shape[0])
                found.setdefault(use.number, []).append((use, form))
        if not found:
            raise ValueError(_NO_GRADIENT)
        # All uses of one variable are added here, before anything is squared.
        return {number: combine(*zip(*pairs, strict=True)) for number, pairs in found.items()}

    def _losses_and_uses(self, x: Any, y: Tensor) -> tuple[Tensor, list[Use]]:
        """Trace the model and the loss, and find where each variable meets the rows."""
        losses = tf.convert_to_tensor(self.loss(y, self.model(x, training=False)))
        if losses.shape.rank != 1 or losses.shape[0] not in (None, y.shape[0]):
            raise ValueError(
                f"The loss must return one value a row, shape ({y.shape[0]},); got "
                f'{tuple(losses.shape)}. Do not average it (Keras: reduction="none"), and '
                "give labels and predictions the same shape: (n,) beside (n, 1) makes (n, n)."
            )
        losses.set_shape([y.shape[0]])
        uses = find_uses(losses, self.model.trainable_variables, (x, y))
        if not uses:
            raise ValueError(_NO_GRADIENT)
        for use in uses:
            rule_for(use)  # refuses what has no rule before any work is done
        return losses, uses

    def _slice_mismatch(
        self, x: Inputs, y: np.ndarray, losses: np.ndarray, tolerance: float
    ) -> float:
        """Compare the losses of the first half of the rows with those found beside all rows."""
        half = slice(0, (len(y) + 1) // 2)
        alone = self.loss(y[half], self.model(take_rows(x, half), training=False))
        message = (
            "The loss of a row changes with the rows beside it. Do the labels have shape (n,) "
            "and the predictions (n, 1), or does a layer or the loss average over the batch?"
        )
        return _mismatch(alone.numpy(), losses[half], tolerance, message)

    def _traced_check(
        self, x: Any, y: Tensor, weights: Tensor
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Return the losses and, for each use, its delta and its delta under the weights."""
        losses, uses = self._losses_and_uses(x, y)
        outputs = [use.output for use in uses]
        deltas = tf.gradients(tf.reduce_sum(losses), outputs)
        weighted = tf.gradients(tf.reduce_sum(tf.cast(weights, losses.dtype) * losses), outputs)
        triples = zip(uses, deltas, weighted, strict=True)
        pairs = {
            use.where: (tf.convert_to_tensor(d), tf.convert_to_tensor(w))
            for use, d, w in triples
            if d is not None
        }
        return losses, pairs


_NO_GRADIENT = (
    "The loss does not depend on any trainable variable. Compute it with TensorFlow from the "
    "prediction, and check `trainable`."
)


def _mismatch(found: np.ndarray, expected: np.ndarray, tolerance: float, message: str) -> float:
    """Return the largest difference as a share of the largest value; raise if too large."""
    # A row may be NaN or infinite by itself, but then on both sides.
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(found), finite):
        raise ValueError(f"{message} A value is finite in one place, NaN or infinite in the other.")
    largest = np.max(np.abs(expected), where=finite, initial=0.0)
    with np.errstate(invalid="ignore"):  # infinity minus infinity, which `where` skips
        share = float(np.max(np.abs(found - expected), where=finite, initial=0.0))
    share /= float(largest) or 1.0
    if share > tolerance:
        raise ValueError(f"{message} Mismatch: {share:.2g} of the largest value.")
    return share


def _warn_of_rows_without_norm(norms: np.ndarray) -> None:
    """Say which rows have a norm that is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(norms))
    if len(bad):
        shown = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        warnings.warn(
            f"{len(bad)} of {len(norms)} gradient norms are NaN or infinite, in rows {shown}. "
            "Look at the features, the label and the loss of these rows.",
            RuntimeWarning,
            stacklevel=3,
        )
