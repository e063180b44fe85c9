"""Per-sample gradient norms of a whole batch, for about the price of one gradient step.

What is computed stands in ``flow``. Here it is traced once for rows of a kind, certified on the
first of them, and applied to one batch or to any number of rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, count_rows, take_rows
from helpers.gradients.certificate import (
    COUPLED,
    labels_differ,
    random_weights,
    same_alone,
    see_independent,
    share_of_mismatch,
    smaller_batches,
    tolerance_of,
)
from helpers.gradients.fingerprint import fingerprint
from helpers.gradients.finite import Compute, NotFinite, in_range
from helpers.gradients.forms import Tensor
from helpers.gradients.kept import Pieces
from helpers.gradients.row_loss import Loss, row_loss
from helpers.gradients.streams import Stream, open_stream
from helpers.gradients.traced import Traced, reason_of
from helpers.gradients.traces import Traces, doubles, weights_of
from helpers.gradients.tracing import checked_model, layers_of

__all__ = ["PerSampleGradients"]

_CERTIFIED_ROWS = 256  # of the first batch
_ROUNDING = 1e-2  # share of the tolerance that a single operation can reach by rounding
_ONLY_ROUNDING = (
    "The loss does not change with the weights: what is left of its gradients is rounding. Look "
    "at what the loss does with the prediction, such as the cosine of vectors of length one."
)
_CHANGED = (
    "Something in Python that the model or the loss reads (an attribute, a global, a value in a "
    "list) has changed while the rows were computed, so they belong to two models: compute them "
    "again from the first row on."
)


class PerSampleGradients:
    """Exact gradient norms and dot products for every sample of a batch.

    The norms are those of ``naive_norms``, but all rows go through the model at once. The
    first call traces the model (a second or two) and certifies that the rows are independent;
    then it is fast, for any number of rows. The model's present weights count, and the layers
    that are trainable at that moment. Regularisation losses are no part of any row's loss and
    are left out.

    What the model reads in Python (``model.temperature``, a weight at the top of a module, a
    layer's activation) is looked at in each call: where it has changed, the model is traced anew.
    A value that hides from that, such as one inside of a compiled extension, is found at random
    only: make a new engine after you have changed one.

    What the certificate promises, and what it does not, stands in ``certificate`` and ``looks``.

    Args:
        model: a Keras model; it is called with ``training=False``, so dropout is off.
        loss: ``loss(y, prediction)`` returning one value per row, shape ``(n,)``; or a loss of
            Keras, an object or its name, whose reduction is removed; or, left out, the loss that
            the model was compiled with.

    Raises:
        TypeError: the model is none of Keras, or the loss is no function, or a metric.
        ValueError: Keras has no loss of this name, the model has not been compiled, or a layer
            keeps a state from batch to batch.

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

    def __init__(self, model: keras.Model, loss: Loss | str | None = None) -> None:
        self.model = checked_model(model)
        self.loss = row_loss(model, loss)
        self._traces = Traces(model, self.loss)

    def norms(self, x: Inputs, y: Inputs, *, sample_weight: np.ndarray | None = None) -> np.ndarray:
        """Return ``||g_i||`` for each row of one batch.

        Args:
            x: inputs, shape ``(n, ...)``, or a dict, list or tuple of such arrays.
            y: labels, in the same way.
            sample_weight: ``w_i``, shape ``(n,)``; the loss of row ``i`` is then ``w_i l_i``.

        Returns:
            Norms over all trainable variables, float64, shape ``(n,)``, in input order.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: row counts differ, the loss is not one value per row or depends on no
                trainable variable, it takes logits and gets probabilities or the other way
                round, or the rows are coupled (see ``certify``).

        Warns:
            RuntimeWarning: norms are NaN or infinite; it names their rows.
        """
        norms = self._norms(x, y, sample_weight)
        bad = NotFinite()
        bad.see(norms)
        bad.warn(0, stacklevel=3)
        return norms

    def dots(
        self,
        x: Inputs,
        y: Inputs,
        direction: Sequence[np.ndarray | Tensor],
        *,
        sample_weight: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return ``<g_i, v>``: how fast each loss grows when the weights move along ``v``.

        Args:
            x: inputs, shape ``(n, ...)``, or a dict, list or tuple of such arrays.
            y: labels, in the same way.
            direction: one array per trainable variable, of the same shapes and order as
                ``model.trainable_variables``. For example the gradient on other rows. Tensors
                are not copied.
            sample_weight: ``w_i``, shape ``(n,)``, as :meth:`norms` takes it.

        Returns:
            Dot products over all trainable variables, float64, shape ``(n,)``.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: for the reasons that :meth:`norms` has, or the direction's shapes are
                wrong.
        """
        x, y = self._traces.prepared(x, y)
        variables = self.model.trainable_variables
        # Tensors pass as they are: a copy of a large table would cost more than the dot products.
        direction = [tf.convert_to_tensor(v) for v in direction]
        wanted = [tuple(v.shape) for v in variables]
        if (found := [tuple(v.shape) for v in direction]) != wanted:
            raise ValueError(
                "The direction must have the shapes of model.trainable_variables, "
                f"{wanted}; got {found}."
            )
        direction = [tf.cast(v, w.dtype) for v, w in zip(direction, variables, strict=True)]
        return self._run("dots", x, y, sample_weight, direction)

    def certify(self, x: Inputs, y: Inputs) -> float:
        """Check on one batch that the rows are independent; return the largest mismatch.

        Two checks. Some of the rows, and one row, taken alone must have the losses that they have
        among all rows: this fails when ``(n,)`` labels meet ``(n, 1)`` predictions, or
        when a layer averages over the batch. And when the losses are weighted by random numbers
        ``r_i`` before they are summed, every delta must come back as ``r_i * delta_i``: this
        fails when a row's loss reaches into another row, or when the batch axis is not first.

        Args:
            x: inputs of at least two rows, shape ``(n, ...)``, or a nest of such arrays.
            y: labels, in the same way.

        Returns:
            The largest difference found, as a share of the largest value beside it.
            Rounding makes it a little more than 0.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: the rows are coupled; or fewer than two rows came.
        """
        x, y = self._traces.prepared(x, y)
        self._traces.renew_if_changed()
        n = count_rows(y)
        if n < 2:
            raise ValueError("certify needs at least 2 rows, to see if they are coupled; got 1.")
        weights = random_weights(n)
        losses, pairs, tolerance = self._traces.deltas(x, y, weights)
        batches = [(take_rows(x, r), take_rows(y, r), weights[r]) for r in smaller_batches(n)]
        try:
            alone = np.concatenate([self._traces.deltas(*batch)[0].numpy() for batch in batches])
        except tf.errors.InvalidArgumentError as error:  # such as rows that are taken in pairs
            raise ValueError(
                f"{COUPLED} A batch of another size fails: {reason_of(error)[0]:.300}."
            ) from None
        among_all = losses.numpy()[np.concatenate(smaller_batches(n))]
        worst = share_of_mismatch(alone, among_all, tolerance, COUPLED)
        largest, only_rounding = float(np.abs(losses.numpy()).max()), True
        for where, (delta, weighted, reach) in pairs.items():
            plain = delta.numpy().reshape(n, -1).astype(np.float64)
            if 0 < float(reach) < _ROUNDING * tolerance * largest:
                continue
            only_rounding = False
            message = f"Samples are coupled, or the batch axis is not first, at {where}."
            found, rows = weighted.numpy().reshape(n, -1), weights[:, None] * plain
            worst = max(worst, share_of_mismatch(found, rows, tolerance, message))
        if only_rounding:
            raise ValueError(_ONLY_ROUNDING)
        return worst

    def norms_over(
        self,
        x: Any,
        y: Inputs | None = None,
        *,
        label: str = "label",
        batch_size: int = 4096,
        progress: bool = True,
    ) -> np.ndarray:
        """Return ``||g_i||`` for any number of rows, batch by batch.

        Args:
            x: inputs, shape ``(n, ...)``, or a nest of such arrays. Or a ``tf.data.Dataset`` of
                batches ``(x, y)`` or ``(x, y, sample_weight)`` in a fixed order. Or the path of
                a Parquet file, or of a folder of them, read in the order of their names, with a
                column for each input of the model (vectors as lists).
            y: labels, for arrays only.
            label: the column of labels, for Parquet only.
            batch_size: rows in one batch; memory grows with it. A dataset has its own.
            progress: show a progress bar.

        Returns:
            Norms over all trainable variables, float64, shape ``(n,)``, in input order.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: for the reasons that :meth:`norms` has, batch_size is below 1, there are
                no rows, or a column is missing.

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
        stream = open_stream(self.model, x, y, label=label, batch_size=batch_size)
        norms = list(self._batches(stream, 0, progress))
        if not norms:
            raise ValueError("There are no rows: the dataset or the files are empty.")
        return np.concatenate(norms)

    def write_norms(
        self,
        out: str | Path,
        x: Any,
        y: Inputs | None = None,
        *,
        label: str = "label",
        batch_size: int = 4096,
        progress: bool = True,
    ) -> Path:
        """Write ``||g_i||`` of any number of rows into a Parquet file, in flat memory.

        Finished pieces are kept in the folder ``<out>.pieces`` until the file is complete. A call
        that was stopped, by Ctrl-C or by a killed process, goes on from them when it is made
        again. It does not go on under another model or loss, nor on other rows; to tell, all rows
        are read again, and some of the norms are computed again. A model or a loss that cannot
        be looked into (see ``fingerprint``) begins anew. The file itself is there whole or not at
        all.

        Args:
            out: the file; it gets the columns ``row``, counted from 0, and ``gradient_norm``.
            x: inputs in any of the forms that :meth:`norms_over` takes.
            y: labels, for arrays only.
            label: the column of labels, for Parquet only.
            batch_size: rows in one batch; memory grows with it. A dataset has its own.
            progress: show a progress bar.

        Returns:
            The file.

        Raises:
            UnsupportedOperation: a variable is used in a way that no rule covers.
            ValueError: for the reasons that :meth:`norms_over` has, or the pieces come from
                another model, loss or rows.

        Warns:
            RuntimeWarning: norms are NaN or infinite; it names their rows. Or pieces could not be
                gone on from.
        """
        stream = open_stream(self.model, x, y, label=label, batch_size=batch_size)
        if not self.model.built:  # a fingerprint tells of the weights, too
            for first in itertools.islice(stream.batches(0), 1):
                self._traces.prepared(first[0], first[1])
        made_by = fingerprint(model=self.model, loss=self.loss)
        pieces = Pieces(Path(out), made_by, self._norms, tolerance=self._tolerance())
        for _ in pieces.add(self._batches(pieces.checked(stream), pieces.done, progress)):
            pass
        if not pieces.done:
            raise ValueError("There are no rows: the dataset or the files are empty.")
        return pieces.finish()

    def _batches(self, stream: Stream, start: int, progress: bool) -> Iterator[np.ndarray]:
        """Yield the norms from a row on, batch by batch, and name the rows that have none."""
        self._traces.renew_if_changed()
        bad, renewals = NotFinite(), self._traces.renewals
        bar = tqdm(
            desc="gradient norms", unit=" rows", unit_scale=True, disable=not progress,
            total=stream.rows, initial=start,
        )  # fmt: skip
        with bar:
            for x, y, weight in stream.batches(start):
                norms = self._norms(x, y, weight)
                if self._traces.renewals != renewals:
                    raise ValueError(_CHANGED)
                bad.see(norms)
                bar.update(len(norms))
                yield norms
        bad.warn(start, stacklevel=4)

    def _norms(self, x: Inputs, y: Inputs, sample_weight: Any) -> np.ndarray:
        """Return the norms of one batch, without a warning of those that are none."""
        return self._run("norms", x, y, sample_weight)

    def _tolerance(self) -> float:
        """Return how far rounding alone may move a norm, as a share of the largest one."""
        layers = tolerance_of(*(layer.compute_dtype for layer in layers_of(self.model)))
        return max(layers, self._traces.tolerance)

    def _run(self, name: str, x: Inputs, y: Inputs, weight: Any, *more: Any) -> np.ndarray:
        """Return the values of a traced function for one batch.

        Args:
            name: which function: "norms" or "dots".
            x: inputs of the batch.
            y: labels of the batch.
            weight: the rows' weights, or None where each counts as it is.
            more: what the function takes besides; for "dots" the direction.

        Returns:
            One number per row, float64. The rows were found to be independent of each other.
        """
        x, y = self._traces.prepared(x, y)
        self._traces.renew_if_changed()
        n = count_rows(y)
        weights = weights_of(weight, n)
        traced = self._traces.function(name, x, y, weights, *more)
        compute = in_range(traced) if name == "norms" else traced
        # A single row has no other to depend on, so it proves nothing and needs no proof.
        if n > 1 and not traced.certified:
            found = self._certified(traced, compute, x, y, weights, *more)
        else:
            found = self._looked_at(traced, compute, x, y, weights, *more)
        if found is None:
            # What the model reads in Python has changed in a way that showed only now, in the
            # values. The old traces are gone, so the same call now traces the model as it is.
            return self._run(name, x, y, weight, *more)
        return found

    def _certified(
        self, traced: Traced, compute: Compute, x: Inputs, y: Inputs, weights: Any, *more: Any
    ) -> np.ndarray | None:
        """Return values after the proof on the first rows that they are independent."""
        few = slice(0, _CERTIFIED_ROWS)
        first = take_rows(x, few), take_rows(y, few)

        def values(rows: np.ndarray, w: np.ndarray) -> np.ndarray:
            return compute(take_rows(first[0], rows), take_rows(first[1], rows), w)[0]

        n, tolerance = count_rows(first[1]), traced.tolerance
        # The quick proof may fail for two reasons. Rows that are coupled make certify raise an
        # error that names the place. Otherwise large numbers may have cancelled in a row's
        # value, and left rounding that is large beside it: then the proof is taken once more,
        # and allows for the size of what has cancelled.
        if not see_independent(values, n, tolerance):
            self.certify(*first)
            if not see_independent(values, n, tolerance, self._noise(*first, *more)):
                raise ValueError(COUPLED)
        found = self._looked_at(traced, compute, x, y, weights, *more, seen=first)
        if found is None:
            return None
        # A batch that could hide a fault lets no later one go unchecked: labels that are all
        # alike, or rows of which not even two move a weight.
        moves = found[few]
        moving = np.count_nonzero(np.isfinite(moves) & (moves != 0))
        traced.certified = bool(labels_differ(first[1]) and moving > 1)
        return found

    def _looked_at(
        self,
        traced: Traced,
        compute: Compute,
        x: Inputs,
        y: Inputs,
        weights: Any,
        *more: Any,
        seen: Any = None,
    ) -> np.ndarray | None:
        """Return the values of the rows, now and then after another look at some of them.

        The look computes some rows alone, which must have the values that they have among all.
        The result is None where the model computes something else than when it was traced.
        """
        found, losses = compute(x, y, weights)
        if seen is not None:
            traced.looks.note(*seen)
            self._traces.see_links(*seen)
        look, python = traced.looks.due(x, y)
        if not look or len(found) < 2:
            return found
        rows = traced.looks.rows(x, y)
        some = take_rows(x, rows), take_rows(y, rows)
        alone, own_losses = compute(*some, np.asarray(weights)[rows])
        losses, own_losses = doubles(losses), doubles(own_losses)
        values = alone, found, rows, traced.tolerance
        if not same_alone(own_losses, losses, rows, traced.tolerance) or not (
            same_alone(*values) or same_alone(*values, self._noise(*some, *more))
        ):
            # certify raises an error that names the place, if it finds one.
            self.certify(x, y)
            raise ValueError(COUPLED)
        if not python:
            return found
        return found if self._traces.still_hold(traced, *some, own_losses) else None

    def _noise(self, x: Inputs, y: Inputs, *direction: Any) -> np.ndarray:
        """Return how large the numbers are that cancel in each row's value."""
        weights = weights_of(None, count_rows(y))
        noise, _ = self._traces.function("scales", x, y, weights)(x, y, weights)
        along = [float(tf.norm(v)) for vectors in direction for v in vectors]
        return noise * float(np.linalg.norm(along)) if direction else noise
