"""Gradients in factored form: their norms, without ever writing them out.

One sample's gradient by a 64 x 64 weight has 4096 entries, but it is the outer product
of two vectors of 64. A batch of 4096 such gradients fills 67 MB; its factors fill 2 MB.
Each class below holds the gradients of one variable for a whole batch of ``B`` samples
and can do three things: give the squared norms, give the dot products with one direction,
and be combined with another use of the same variable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from helpers.backend import tf

__all__ = ["Block", "Form", "Outer", "Rows", "Tensor"]

Tensor: TypeAlias = Any

# Above this many ids a sample the table of equal pairs costs more than grouping the ids.
_MOST_PAIRED_IDS = 64


@dataclass(frozen=True)
class Outer:
    """A weight matrix: ``G_i = sum over t of outer(inputs[i, t], deltas[i, t])``.

    A dense layer on one vector has one position ``t``; on a sequence, or when it is called
    more than once, it has several.

    Attributes:
        inputs: shape ``(B, T, m)``.
        deltas: shape ``(B, T, n)``.
    """

    inputs: Tensor
    deltas: Tensor

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2``, shape ``(B,)``."""
        positions, m, n = self.inputs.shape[1], self.inputs.shape[2], self.deltas.shape[2]
        if positions == 1:  # ||outer(a, d)|| = ||a|| ||d||
            return _row_squares(self.inputs) * _row_squares(self.deltas)
        if positions * (m + n) < m * n:  # ||G||^2 = sum over s, t of <a_s, a_t> <d_s, d_t>
            pairs = _gram(self.inputs) * _gram(self.deltas)
            # Rounding can leave a tiny negative number where uses cancel.
            return tf.maximum(tf.reduce_sum(pairs, axis=[1, 2]), 0.0)
        return _row_squares(tf.matmul(self.inputs, self.deltas, transpose_a=True))

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction> = sum over t of a_t . (direction @ d_t)``."""
        m, n = self.inputs.shape[2], self.deltas.shape[2]
        moved = tf.matmul(tf.reshape(self.inputs, [-1, m]), tf.reshape(direction, [m, n]))
        return _row_sums(tf.reshape(moved, tf.shape(self.deltas)) * self.deltas)

    @classmethod
    def combine(cls, uses: Sequence[Outer]) -> Outer:
        """Return the sum of several uses: their positions side by side."""
        return cls(tf.concat([u.inputs for u in uses], 1), tf.concat([u.deltas for u in uses], 1))


@dataclass(frozen=True)
class Rows:
    """An embedding table: row ``r`` of ``G_i`` is the sum of ``deltas[i, s]`` with id ``r``.

    Attributes:
        ids: which row of the table each of ``S`` look-ups read, shape ``(B, S)``.
        deltas: what the loss says of each look-up, shape ``(B, S, d)``.
    """

    ids: Tensor
    deltas: Tensor

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2``, shape ``(B,)``: add up the rows of an id, then square."""
        if self.ids.shape[1] == 1:
            return _row_squares(self.deltas)
        if self.ids.shape[1] > _MOST_PAIRED_IDS:
            return self._grouped_squared_norms()
        same = tf.equal(self.ids[:, :, None], self.ids[:, None, :])
        same = tf.cast(same, self.deltas.dtype)  # (B, S, S): 1 where two look-ups share an id
        sums = tf.matmul(same, self.deltas)  # each look-up now carries its id's whole row
        # An id that was looked up k times carries its row k times: count it once.
        copies = tf.reduce_sum(same, axis=2)
        squares = tf.square(tf.math.reduce_euclidean_norm(sums, axis=2))
        return tf.reduce_sum(squares / copies, axis=1)

    def _grouped_squared_norms(self) -> Tensor:
        """Return the same for long lists of ids, in memory that grows with ``S`` only."""
        batch, width = self.ids.shape[0], self.deltas.shape[2]
        ids = tf.cast(self.ids, tf.int64)
        past_last = tf.reduce_max(ids) + 1
        sample = tf.range(batch, dtype=tf.int64)[:, None]
        keys, group = tf.unique(tf.reshape(sample * past_last + ids, [-1]))
        sums = tf.math.unsorted_segment_sum(
            tf.reshape(self.deltas, [-1, width]), group, tf.size(keys)
        )
        return tf.math.unsorted_segment_sum(_row_squares(sums), keys // past_last, batch)

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction> = sum over s of <direction[id_s], d_s>``."""
        table = tf.reshape(direction, [-1, self.deltas.shape[2]])
        return _row_sums(tf.gather(table, self.ids) * self.deltas)

    @classmethod
    def combine(cls, uses: Sequence[Rows]) -> Rows:
        """Return the sum of several uses: their look-ups side by side."""
        kinds = {u.ids.dtype for u in uses}
        ids = [u.ids if len(kinds) == 1 else tf.cast(u.ids, tf.int64) for u in uses]
        return cls(tf.concat(ids, 1), tf.concat([u.deltas for u in uses], 1))


@dataclass(frozen=True)
class Block:
    """A small variable, such as a bias: its gradients written out.

    Attributes:
        values: the entries of each sample's gradient, shape ``(B, size)``.
    """

    values: Tensor

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2``, shape ``(B,)``."""
        return _row_squares(self.values)

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction>``, shape ``(B,)``."""
        return tf.linalg.matvec(self.values, tf.reshape(direction, [-1]))

    @classmethod
    def combine(cls, uses: Sequence[Block]) -> Block:
        """Return the sum of several uses, entry by entry."""
        return cls(tf.add_n([u.values for u in uses]))


Form: TypeAlias = Outer | Rows | Block


def _flat(values: Tensor) -> Tensor:
    """Return ``(B, ...)`` as ``(B, size)``."""
    return tf.reshape(values, [values.shape[0] or tf.shape(values)[0], math.prod(values.shape[1:])])


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
