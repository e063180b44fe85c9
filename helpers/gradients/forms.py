"""Gradients in factored form: their norms, without ever writing them out.

One sample's gradient by a 64 x 64 weight has 4096 entries, but it is the outer product
of two vectors of 64. A batch of 4096 such gradients fills 67 MB; its factors fill 2 MB.
Each class below holds the gradients of one variable for a whole batch of ``B`` samples:

====== ================================================ =============================
Outer  one outer product a sample                       a dense layer
Outers a sum of outer products, one for each position   a dense layer on a sequence
Rows   some rows of a table                             an embedding
Block  the entries themselves                           a bias
====== ================================================ =============================

Several uses of one variable add up *before* anything is squared, for
``||f + g||^2 = ||f||^2 + ||g||^2 + 2 <f, g>``. :func:`squared_norms` sees to the last term.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from helpers.backend import tf

__all__ = [
    "Block",
    "Form",
    "Outer",
    "Outers",
    "Rows",
    "Tensor",
    "merge",
    "needs_writing_out",
    "squared_norms",
    "take",
    "write_out",
]

Tensor: TypeAlias = Any

_CANCELLED = 2.0**-6  # share of its terms below which a sum in single precision is too coarse
_NOTHING = 1e-15  # share below which rounding is all that is left in double precision
# Above this many ids a sample the table of equal pairs costs more than grouping the ids.
_MOST_PAIRED_IDS = 64


class _Factors:
    """What all forms have."""

    @property
    def dtype(self) -> Any:
        """Return the dtype of the gradients."""
        return getattr(self, fields(self)[-1].name).dtype

    @property
    def count(self) -> Tensor:
        """Return the number of samples."""
        return tf.shape(getattr(self, fields(self)[-1].name))[0]


@dataclass(frozen=True)
class Outer(_Factors):
    """A weight matrix that met one vector a sample: ``G_i = outer(inputs[i], deltas[i])``.

    Attributes:
        inputs: shape ``(B, m)``.
        deltas: shape ``(B, n)``.
    """

    inputs: Tensor
    deltas: Tensor

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2 = ||inputs[i]||^2 ||deltas[i]||^2``, shape ``(B,)``."""
        return _row_squares(self.inputs) * _row_squares(self.deltas)

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction> = (inputs[i] @ direction) . deltas[i]``, shape ``(B,)``."""
        matrix = tf.reshape(direction, [self.inputs.shape[1], self.deltas.shape[1]])
        return _row_sums(tf.matmul(self.inputs, matrix) * self.deltas)

    def sum_of_norms(self) -> Tensor:
        """Return the length of what was added up, here one product, shape ``(B,)``."""
        return tf.sqrt(self.squared_norms())

    def over_positions(self) -> Outers:
        """Return the same with one position."""
        return Outers(self.inputs[:, None], self.deltas[:, None])


@dataclass(frozen=True)
class Outers(_Factors):
    """A weight matrix that met several vectors: ``G_i = sum over t of outer(a_t, d_t)``.

    So it is with a dense layer on a sequence, a convolution, or a layer called twice.

    Attributes:
        inputs: the ``a_t``, shape ``(B, T, m)``.
        deltas: the ``d_t``, shape ``(B, T, n)``.
    """

    inputs: Tensor
    deltas: Tensor

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2 = sum over s, t of <a_s, a_t> <d_s, d_t>``, shape ``(B,)``.

        That is the Gram rule. Where positions are many, writing ``G_i`` out is cheaper.
        """
        pairs = self.pairs()
        if pairs is None:
            return _row_squares(self.written_out())
        # Rounding can leave a tiny negative number where positions cancel.
        return tf.maximum(tf.reduce_sum(pairs, axis=[1, 2]), 0.0)

    def pairs(self) -> Tensor | None:
        """Return ``<a_s, a_t> <d_s, d_t>``, shape ``(B, T, T)``; None: writing out is cheaper."""
        positions, m, n = self.inputs.shape[1], self.inputs.shape[2], self.deltas.shape[2]
        if positions is None or positions * (m + n) >= m * n:
            return None
        return _gram(self.inputs) * _gram(self.deltas)

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction> = sum over t of (a_t @ direction) . d_t``, shape ``(B,)``."""
        m, n = self.inputs.shape[2], self.deltas.shape[2]
        moved = tf.matmul(tf.reshape(self.inputs, [-1, m]), tf.reshape(direction, [m, n]))
        return _row_sums(tf.reshape(moved, tf.shape(self.deltas)) * self.deltas)

    def sum_of_norms(self) -> Tensor:
        """Return ``sum over t of ||a_t|| ||d_t||``, shape ``(B,)``: the norm if nothing cancels."""
        lengths = (tf.math.reduce_euclidean_norm(v, axis=2) for v in (self.inputs, self.deltas))
        return tf.reduce_sum(tf.multiply(*lengths), axis=1)

    def over_positions(self) -> Outers:
        """Return this."""
        return self

    def written_out(self) -> Tensor:
        """Return the ``G_i`` themselves, shape ``(B, m, n)``."""
        return tf.matmul(self.inputs, self.deltas, transpose_a=True)


@dataclass(frozen=True)
class Rows(_Factors):
    """A table: row ``r`` of ``G_i`` is the sum of ``deltas[i, s]`` over the ``s`` with id ``r``.

    Attributes:
        ids: which row of the table each of ``S`` look-ups read, shape ``(B, S)``.
        deltas: what the loss says of each look-up, shape ``(B, S, d)``.
    """

    ids: Tensor
    deltas: Tensor

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2``, shape ``(B,)``: add up the rows of an id, then square."""
        look_ups = self.ids.shape[1]
        if look_ups == 1:
            return _row_squares(self.deltas)
        if look_ups is None or look_ups > _MOST_PAIRED_IDS:
            return self._grouped_squared_norms()
        same = tf.equal(self.ids[:, :, None], self.ids[:, None, :])
        same = tf.cast(same, self.deltas.dtype)  # (B, S, S): 1 where two look-ups share an id
        sums = tf.matmul(same, self.deltas)  # each look-up now carries its id's whole row
        # An id that was looked up k times carries its row k times: count it once.
        copies = tf.reduce_sum(same, axis=2)
        squares = tf.square(tf.math.reduce_euclidean_norm(sums, axis=2))
        return tf.reduce_sum(squares / copies, axis=1)

    def sum_of_norms(self) -> Tensor:
        """Return ``sum over s of ||d_s||``, shape ``(B,)``: the norm if nothing cancels."""
        return tf.reduce_sum(tf.math.reduce_euclidean_norm(self.deltas, axis=2), axis=1)

    def _grouped_squared_norms(self) -> Tensor:
        """Return the same for long lists of ids, in memory that grows with ``S`` only."""
        batch, width = tf.shape(self.ids)[0], self.deltas.shape[2]
        ids = tf.cast(self.ids, tf.int64)
        past_last = tf.reduce_max(ids) + 1
        sample = tf.range(tf.cast(batch, tf.int64))[:, None]
        keys, group = tf.unique(tf.reshape(sample * past_last + ids, [-1]))
        sums = tf.math.unsorted_segment_sum(
            tf.reshape(self.deltas, [-1, width]), group, tf.size(keys)
        )
        return tf.math.unsorted_segment_sum(_row_squares(sums), keys // past_last, batch)

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction> = sum over s of <direction[id_s], d_s>``, shape ``(B,)``."""
        table = tf.reshape(direction, [-1, self.deltas.shape[2]])
        return _row_sums(tf.gather(table, self.ids) * self.deltas)


@dataclass(frozen=True)
class Block(_Factors):
    """A small variable, such as a bias: its gradients written out.

    Attributes:
        values: the entries of each sample's gradient, shape ``(B, size)``.
    """

    values: Tensor

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2``, shape ``(B,)``."""
        return _row_squares(self.values)

    def sum_of_norms(self) -> Tensor:
        """Return the norm, shape ``(B,)``: what was added up is not known any more."""
        return tf.math.reduce_euclidean_norm(self.values, axis=1)

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction>``, shape ``(B,)``."""
        return tf.linalg.matvec(self.values, tf.reshape(direction, [-1]))


Form: TypeAlias = Outer | Outers | Rows | Block


def squared_norms(forms: Sequence[Form], size: int) -> Tensor:
    """Return ``||f + g + ...||^2``, shape ``(B,)``, for the uses of one variable.

    Args:
        forms: what each use adds to the gradient.
        size: number of entries of the variable.
    """
    parts = merge(forms, size)
    total, most = _added_up(parts)
    if most is None:
        return total
    if total.dtype == tf.float64:
        return tf.maximum(total, 0.0)  # rounding can leave a tiny negative number
    # Squares that cancel lose twice as many digits as the gradients themselves. So the rows where
    # little is left are added up again, from the same factors, in double precision.
    lost = total < _CANCELLED * most

    def again() -> Tensor:
        rows = tf.where(lost)[:, 0]
        exact, noise = _added_up([_doubled(part, rows) for part in parts])
        exact = tf.where(exact < _NOTHING * noise, tf.zeros_like(exact), exact)
        return tf.tensor_scatter_nd_update(total, rows[:, None], tf.cast(exact, total.dtype))

    return tf.cond(tf.reduce_any(lost), again, lambda: total)


def _added_up(parts: Sequence[Form]) -> tuple[Tensor, Tensor | None]:
    """Return ``||f + g + ...||^2``, and what its terms add up to without their signs.

    None: no term is negative.
    """
    plain, signed = [], []
    for part in parts:
        pairs = part.pairs() if isinstance(part, Outers) else None
        if pairs is None:
            plain.append(part.squared_norms())
        else:
            signed.append(_flat(pairs))
    signed += [2.0 * _flat(_inner(*two)) for two in itertools.combinations(parts, 2)]
    if not signed:
        return tf.add_n(plain), None
    total = tf.add_n([*plain, *(tf.reduce_sum(terms, axis=1) for terms in signed)])
    return total, tf.add_n([*plain, *(tf.reduce_sum(tf.abs(terms), axis=1) for terms in signed)])


def _doubled(form: Form, rows: Tensor) -> Form:
    """Return the form of some samples, in double precision."""

    def some(values: Tensor) -> Tensor:
        chosen = tf.gather(values, rows)
        return tf.cast(chosen, tf.float64) if chosen.dtype.is_floating else chosen

    return type(form)(*(some(getattr(form, f.name)) for f in fields(form)))


def merge(forms: Sequence[Form], size: int) -> list[Form]:
    """Return the same sum in at most one form of each kind."""
    if len(forms) == 1:
        return list(forms)
    blocks = [f.values for f in forms if isinstance(f, Block)]
    rows = [f for f in forms if isinstance(f, Rows)]
    outers = [f.over_positions() for f in forms if isinstance(f, Outer | Outers)]
    if not _fit(rows, outers):  # they cut the variable's entries up in different ways
        blocks += [write_out(f, size) for f in (*rows, *outers)]
        rows, outers = [], []
    merged: list[Form] = [Block(tf.add_n(blocks))] if blocks else []
    if rows:
        ids = tf.concat([tf.cast(f.ids, tf.int64) for f in rows], 1)
        merged.append(Rows(ids, tf.concat([f.deltas for f in rows], 1)))
    if outers:
        inputs = tf.concat([f.inputs for f in outers], 1)
        merged.append(Outers(inputs, tf.concat([f.deltas for f in outers], 1)))
    return merged


def _fit(rows: Sequence[Rows], outers: Sequence[Outers]) -> bool:
    """Return whether all forms see the variable as a matrix of the same width."""
    return len({f.deltas.shape[2] for f in (*rows, *outers)}) <= 1


def needs_writing_out(forms: Sequence[Form]) -> bool:
    """Return whether :func:`merge` has to write out what came in factors."""
    factored = [f.over_positions() if isinstance(f, Outer) else f for f in forms]
    return not _fit([f for f in factored if not isinstance(f, Block)], [])


def write_out(form: Form, size: int) -> Tensor:
    """Return the gradients themselves, shape ``(B, size)``, entries in the variable's order."""
    if isinstance(form, Block):
        return form.values
    if not isinstance(form, Rows):
        return tf.reshape(form.over_positions().written_out(), [-1, size])
    batch, width = tf.shape(form.ids)[0], form.deltas.shape[2]
    sample = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(form.ids))
    places = tf.stack([sample, tf.cast(form.ids, tf.int32)], axis=2)
    table = tf.scatter_nd(places, form.deltas, [batch, size // width, width])  # adds repeated ids
    return tf.reshape(table, [batch, size])


def _inner(one: Form, other: Form) -> Tensor:
    """Return terms of ``<f_i, g_i>``, shape ``(B, ...)``, for two kinds of form after a merge."""
    if isinstance(one, Block):
        values = tf.reshape(one.values, [tf.shape(one.values)[0], -1, other.deltas.shape[2]])
        if isinstance(other, Rows):
            return tf.gather(values, other.ids, batch_dims=1) * other.deltas
        return tf.matmul(other.inputs, values) * other.deltas
    # A table that is also a matrix: look-up s reads row id_s, of which position t has a_t[id_s].
    shares = tf.gather(tf.transpose(other.inputs, [0, 2, 1]), one.ids, batch_dims=1)  # (B, S, T)
    pairs = tf.matmul(one.deltas, other.deltas, transpose_b=True)
    return shares * pairs


def take(form: Form, start: Tensor, stop: Tensor) -> Form:
    """Return the form of some samples."""
    return type(form)(*(getattr(form, f.name)[start:stop] for f in fields(form)))


def _flat(values: Tensor) -> Tensor:
    """Return ``(B, ...)`` as ``(B, size)``."""
    if values.shape.rank == 2:
        return values
    sizes = values.shape[1:]
    width = math.prod(sizes) if None not in sizes else -1
    return tf.reshape(values, [tf.shape(values)[0], width])


def _row_squares(values: Tensor) -> Tensor:
    """Return the sum of the squares of each sample's entries, shape ``(B,)``."""
    # The fused kernel reads the numbers once; reduce_sum(values ** 2) first writes the squares.
    return tf.square(tf.math.reduce_euclidean_norm(_flat(values), axis=1))


def _row_sums(values: Tensor) -> Tensor:
    """Return the sum of each sample's entries, shape ``(B,)``."""
    return tf.reduce_sum(_flat(values), axis=1)


def _gram(vectors: Tensor) -> Tensor:
    """Return the dot products of all pairs of positions, ``(B, T, d)`` to ``(B, T, T)``."""
    return tf.matmul(vectors, vectors, transpose_b=True)
