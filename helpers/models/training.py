"""One way to fit a rung: compiled once, then started again from any seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers.actions.denoising import Denoising, batch_weights
from helpers.backend import deterministic, keras, tf
from helpers.models.fitted import Arrays, Fitted, Forward, model_inputs
from helpers.models.ladder import Kind

__all__ = ["Trainer", "epoch_order"]

#: A fused computation is compiled anew for each shape; orders of rows are filled up to a multiple
#: of so many updates, so that trainings of about the same length share one.
_FUSED_UPDATES = 512


def epoch_order(
    rows: np.ndarray, *, updates: int, batch_size: int, rng: np.random.Generator
) -> np.ndarray:
    """Return which rows each update sees: whole passes over ``rows``, each shuffled.

    Args:
        rows: places in the training arrays, shape ``(m,)``.
        updates: how many updates there are.
        batch_size: rows per update.
        rng: shuffles the rows of each pass.

    Returns:
        int32, shape ``(updates, batch_size)``. Read line by line, each ``m`` in a row
        are all of ``rows``, once; a batch may reach from one pass into the next.

    Raises:
        ValueError: there are no rows.

    Example:
        >>> order = epoch_order(np.arange(4), updates=2, batch_size=2, rng=np.random.default_rng(0))
        >>> sorted(order.ravel().tolist())
        [0, 1, 2, 3]
    """
    if not len(rows):
        raise ValueError("there must be at least one row to train on; got none.")
    passes = -(-updates * batch_size // len(rows))
    order = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return order[: updates * batch_size].reshape(updates, batch_size).astype(np.int32)


class Trainer:
    """Fits one rung again and again on the same rows, from any seed.

    The arrays are handed over once. What changes from fit to fit (labels,
    weights, which rows an update sees, the seed) does not compile anything anew.

    Args:
        kind: the rung.
        inputs: training inputs by name.
        sizes: vocabulary sizes by name.
        batch_size: rows per update.
        fuse: let XLA fuse the operations of an update. That costs a second or two once, then an
            update takes less than half the time; results agree up to rounding. For many fits.

    Raises:
        ValueError: an input that the rung reads is missing, or their rows differ.

    Example:
        >>> from helpers.models import LADDER
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> trainer = Trainer(LADDER["logistic"], {"dense": x}, {}, batch_size=16)
        >>> fitted = trainer.fit((x[:, 0] > 0).astype(np.float32), seed=0, updates=1000)
        >>> bool(fitted.logits({"dense": np.float32([[1.0]])})[0] > 0)
        True
    """

    def __init__(
        self,
        kind: Kind,
        inputs: Arrays,
        sizes: Mapping[str, int],
        *,
        batch_size: int = 512,
        fuse: bool = False,
    ) -> None:
        self.kind = kind
        self.batch_size = batch_size
        self._fuse = fuse
        self._sizes = dict(sizes)
        self._n_dense = inputs["dense"].shape[1]
        self._model = kind.build(self._n_dense, self._sizes, 0)
        self.inputs = model_inputs(self._model, inputs)
        self._size = len(inputs["dense"])
        if {len(values) for values in self.inputs.values()} != {self._size}:
            found = {name: len(values) for name, values in self.inputs.items()}
            raise ValueError(f"the inputs must have the same number of rows; got {found}.")
        self._data = {k: tf.constant(v) for k, v in self.inputs.items()}
        self._forward = Forward(kind, self._n_dense, self._sizes)
        self._initial: dict[int, list[np.ndarray]] = {}
        makers = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
        self._optimizer = makers[kind.optimizer](kind.learning_rate)
        self._optimizer.build(self._model.trainable_variables)
        self._fresh = [v.numpy() for v in self._optimizer.variables]
        per_row, number = tf.TensorSpec([self._size], tf.float32), tf.TensorSpec([], tf.int32)
        order, three = tf.TensorSpec([None, batch_size], tf.int32), tf.TensorSpec([3], tf.float32)
        signature = [order, number, number, per_row, per_row]
        self._updates = tf.function(
            self._run_updates, input_signature=signature, jit_compile=fuse or None
        )
        self._denoising_updates = tf.function(  # is traced only where somebody asks for it
            self._run_updates, input_signature=[*signature, three], jit_compile=fuse or None
        )

    @deterministic()
    def fit(
        self,
        labels: np.ndarray,
        *,
        seed: int,
        updates: int | None = None,
        epochs: int | None = None,
        sample_weight: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        order: np.ndarray | None = None,
        denoising: Denoising | None = None,
        valid: tuple[Arrays, np.ndarray] | None = None,
        patience: int = 3,
        progress: bool = False,
    ) -> Fitted:
        """Fit from fresh weights; the same seed gives the same weights.

        Give ``updates`` for a fixed number of updates, or ``epochs`` (passes over
        the rows). With ``valid`` the loss there is taken after each pass; training
        stops when it has not improved for ``patience`` passes, and the best
        weights are kept.

        Args:
            labels: shape ``(n,)``; a value between 0 and 1 is a chance of 1.
            seed: chooses the first weights and the order of the rows.
            updates: a fixed number of updates.
            epochs: passes over the rows, at most, when ``valid`` is given.
            sample_weight: shape ``(n,)``; an update descends ``mean(w * loss)``.
            rows: only these rows are trained on; all by default.
            order: which rows each update sees, ``(updates, batch_size)``, in
                place of shuffled passes.
            denoising: weights that follow each batch's own losses, besides ``sample_weight``.
            valid: inputs and labels for early stopping.
            patience: passes without improvement before it stops.
            progress: show a bar.

        Returns:
            The fitted model; its weights are its own, later fits leave them alone.

        Raises:
            ValueError: not exactly one of updates, epochs and order is given; there is no update;
                the order has another shape or names unknown rows; labels or weights have another
                length than the inputs; a weight is negative or not finite; training diverged.
        """
        weight = self._checked(labels, sample_weight)
        rows = np.arange(self._size) if rows is None else np.asarray(rows)
        order, per_pass = self._order(rows, updates, epochs, order, seed)
        self._restart(seed)
        step = self._updates
        if denoising is not None:
            step = partial(self._denoising_updates, denoise=tf.constant(denoising.numbers))
        history = self._descend(step, order, per_pass, labels, weight, valid, patience, progress)
        weights = self._model.get_weights()
        _refuse_diverged("a weight", sum(float(w.sum()) for w in weights), len(order))
        return Fitted(self.kind, weights, history, self._forward)

    @deterministic()
    def checkpoints(
        self,
        labels: np.ndarray,
        *,
        seed: int,
        order: np.ndarray,
        at: Sequence[int] | np.ndarray,
        sample_weight: np.ndarray | None = None,
        progress: bool = False,
    ) -> list[Fitted]:
        """Fit as :meth:`fit` with this order, and return the models on the way.

        Args:
            labels: shape ``(n,)``.
            seed: chooses the first weights.
            order: which rows each update sees, ``(updates, batch_size)``.
            at: after how many updates, rising, from 0 (the first weights) to all of them.
            sample_weight: shape ``(n,)``.
            progress: show a bar.

        Returns:
            One fitted model for each number in ``at``; the history of each is its part of the way.

        Raises:
            ValueError: ``at`` is empty, does not rise or leaves the order; else as ``fit``.

        Example:
            >>> from helpers.models import LADDER
            >>> trainer = Trainer(LADDER["linear"], {"dense": np.ones((4, 1))}, {}, batch_size=2)
            >>> order = np.array([[0, 1], [2, 3]])
            >>> kept = trainer.checkpoints(np.ones(4), seed=0, order=order, at=[0, 2])
            >>> [len(fitted.history) for fitted in kept]
            [0, 1]
        """
        weight = self._checked(labels, sample_weight)
        order, _ = self._order(np.arange(self._size), None, None, order, seed)
        at = [int(update) for update in at]
        if not at or at != sorted(set(at)) or not 0 <= at[0] <= at[-1] <= len(order):
            raise ValueError(
                f"at must hold rising numbers of updates from 0 to {len(order)}; got {at}."
            )
        self._restart(seed)
        y, w = tf.constant(labels, tf.float32), tf.constant(weight)
        sequence, found, done = self._sequence(order), [], 0
        for stop in tqdm(at, desc=f"fit {self.kind.name}", leave=False, disable=not progress):
            rows = []
            if stop > done:
                loss = float(self._updates(sequence, tf.constant(done), tf.constant(stop), y, w))
                rows = [{"updates": stop, "train_loss": loss}]
            weights = self._model.get_weights()
            _refuse_diverged("a weight", sum(float(v.sum()) for v in weights), stop)
            history = pd.DataFrame(rows, columns=["updates", "train_loss"])
            found.append(Fitted(self.kind, weights, history, self._forward))
            done = stop
        return found

    def _order(
        self,
        rows: np.ndarray,
        updates: int | None,
        epochs: int | None,
        order: np.ndarray | None,
        seed: int,
    ) -> tuple[np.ndarray, int]:
        """Return which rows each update sees, and how many updates are a pass."""
        if sum(given is not None for given in (updates, epochs, order)) != 1:
            raise ValueError("give exactly one of updates, epochs and order.")
        if order is not None:
            order = np.asarray(order, dtype=np.int32)
            if order.ndim != 2 or order.shape[1] != self.batch_size:
                raise ValueError(
                    f"order must have shape (updates, {self.batch_size}); got {order.shape}."
                )
            if order.size and not 0 <= order.min() <= order.max() < self._size:
                raise ValueError(
                    f"order must hold rows from 0 to {self._size - 1}; it holds "
                    f"{order.min()} to {order.max()}."
                )
            return order, max(1, len(order) // 10)  # ten lines of history
        per_pass = max(1, len(rows) // self.batch_size)
        count = updates if updates is not None else (epochs or 0) * per_pass
        if count < 1:
            raise ValueError(f"there must be at least one update; got {count}.")
        rng = np.random.default_rng([seed, 1])
        made = epoch_order(rows, updates=count, batch_size=self.batch_size, rng=rng)
        return made, per_pass

    def _sequence(self, order: np.ndarray) -> tf.Tensor:
        """Return the order for the updates, which stop before whatever it is filled up with."""
        missing = -len(order) % _FUSED_UPDATES if self._fuse else 0
        return tf.constant(np.pad(order, ((0, missing), (0, 0))))

    def _checked(self, labels: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        weight = np.ones(self._size) if weight is None else np.asarray(weight)
        if np.shape(labels) != (self._size,) or weight.shape != (self._size,):
            raise ValueError(
                f"labels and sample_weight must have shape ({self._size},); got "
                f"{np.shape(labels)} and {weight.shape}."
            )
        if not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError("sample_weight must be finite and not negative.")
        return weight.astype(np.float32)

    def _restart(self, seed: int) -> None:
        if seed not in self._initial:
            fresh = self.kind.build(self._n_dense, self._sizes, seed)
            self._initial[seed] = fresh.get_weights()
        self._model.set_weights(self._initial[seed])
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)

    def _descend(
        self,
        step: Callable[..., tf.Tensor],
        order: np.ndarray,
        per_pass: int,
        labels: np.ndarray,
        weight: np.ndarray,
        valid: tuple[Arrays, np.ndarray] | None,
        patience: int,
        progress: bool,
    ) -> pd.DataFrame:
        """Run the updates pass by pass and return the history."""
        y, w, sequence = tf.constant(labels, tf.float32), tf.constant(weight), self._sequence(order)
        best, best_weights, waited, rows = np.inf, None, 0, []
        starts = range(0, len(order), per_pass)
        for start in tqdm(starts, desc=f"fit {self.kind.name}", leave=False, disable=not progress):
            done = min(start + per_pass, len(order))
            loss = float(step(sequence, tf.constant(start), tf.constant(done), y, w))
            _refuse_diverged("the training loss", loss, done)
            row = {"updates": done, "train_loss": loss}
            if valid is not None:
                row["valid_loss"] = self._mean_loss(*valid)
                _refuse_diverged("the valid loss", row["valid_loss"], done)
                waited = waited + 1 if row["valid_loss"] >= best else 0
                if not waited:
                    best, best_weights = row["valid_loss"], self._model.get_weights()
            rows.append(row)
            if waited >= patience:
                break
        if best_weights is not None:
            self._model.set_weights(best_weights)
        return pd.DataFrame(rows)

    def _run_updates(
        self,
        order: tf.Tensor,
        start: tf.Tensor,
        stop: tf.Tensor,
        y: tf.Tensor,
        w: tf.Tensor,
        denoise: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Take one step a line of ``order``; return the mean training loss on the way."""
        total, place = tf.constant(0.0), start
        while place < stop:  # not tf.range: XLA would compile anew for each start
            rows = order[place]
            batch = {k: tf.gather(v, rows) for k, v in self._data.items()}
            with tf.GradientTape() as tape:
                output, labels = self._model(batch, training=True), tf.gather(y, rows)
                losses, weights = self.kind.loss(labels, output), tf.gather(w, rows)
                if denoise is not None:
                    trust = 1.0 - tf.abs(self._probability(output) - labels)
                    weights *= batch_weights(losses, labels, trust, place, denoise)
                loss = tf.reduce_mean(weights * losses)
            gradients = tape.gradient(loss, self._model.trainable_variables)
            self._optimizer.apply(gradients, self._model.trainable_variables)
            total += loss
            place += 1
        return total / tf.cast(stop - start, tf.float32)

    def _probability(self, output: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(output, [-1])
        return tf.clip_by_value(flat, 0.0, 1.0) if self.kind.name == "linear" else tf.sigmoid(flat)

    def _mean_loss(self, inputs: Arrays, labels: np.ndarray) -> float:
        output = self._forward(self._model.get_weights(), inputs)
        return float(np.mean(self.kind.loss(tf.constant(labels, tf.float64), tf.constant(output))))


def _refuse_diverged(what: str, value: float, updates: int) -> None:
    if not np.isfinite(value):
        raise ValueError(
            f"training diverged: {what} became {value} within {updates} updates; use a "
            "smaller learning rate or look for extreme inputs."
        )
