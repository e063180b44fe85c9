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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from helpers.backend import tf

__all__ = [
    "MOST_ENTRIES",
    "Block",
    "Form",
    "Outer",
    "Outers",
    "Rows",
    "Tensor",
    "by_slices",
    "merge",
    "needs_writing_out",
    "scales",
    "squared_norms",
    "write_out",
]

Tensor: TypeAlias = Any

# Above this many ids per sample the table of equal pairs costs more than grouping the ids.
_MOST_PAIRED_IDS = 64
#: Gradients that have to be written out are so for some samples at a time: 16 MB of float32.
MOST_ENTRIES = 2**22
# So few uses that have to be written out are so one by one; the steps of a loop are more.
_MOST_APART = 3
# A sum of squares and products keeps its digits unless it is so many times less than their sizes:
# its root has then lost about as many last digits as a sum of the gradients' entries would lose.
_MOST_LOST = 16.0


@dataclass(frozen=True)
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

    @property
    def by_pairs(self) -> bool:
        """Return whether positions are so few that the Gram rule is cheaper than ``G_i``."""
        positions, m, n = self.inputs.shape[1], self.inputs.shape[2], self.deltas.shape[2]
        return positions is not None and positions * (m + n) < m * n

    def squared_norms(self) -> Tensor:
        """Return ``||G_i||^2 = sum over s, t of <a_s, a_t> <d_s, d_t>``, shape ``(B,)``.

        That is the Gram rule. Where positions are many, writing ``G_i`` out is cheaper.
        """
        return self.squares_and_sizes()[0]

    def squares_and_sizes(self) -> tuple[Tensor, Tensor]:
        """Return ``||G_i||^2``, and the sum of the sizes of all that was added up for it."""
        if not self.by_pairs:
            squares = _row_squares(self.written_out())
            return squares, squares
        pairs = _gram(self.inputs) * _gram(self.deltas)
        return tf.reduce_sum(pairs, axis=[1, 2]), tf.reduce_sum(tf.abs(pairs), axis=[1, 2])

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction> = sum over t of (a_t @ direction) . d_t``, shape ``(B,)``."""
        m, n = self.inputs.shape[2], self.deltas.shape[2]
        moved = tf.matmul(tf.reshape(self.inputs, [-1, m]), tf.reshape(direction, [m, n]))
        return _row_sums(tf.reshape(moved, tf.shape(self.deltas)) * self.deltas)

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
        deltas: the derivative of the loss by what each look-up returned, shape ``(B, S, d)``.
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

    def _grouped_squared_norms(self) -> Tensor:
        """Return the same for long lists of ids, in memory that grows with ``S`` only."""
        batch, width = tf.shape(self.ids)[0], self.deltas.shape[2]
        ids = tf.cast(self.ids, tf.int64)
        ids -= tf.reduce_min(ids)  # a negative one would count as another sample's
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

    def dots(self, direction: Tensor) -> Tensor:
        """Return ``<G_i, direction>``, shape ``(B,)``."""
        return tf.linalg.matvec(self.values, tf.reshape(direction, [-1]))


Form: TypeAlias = Outer | Outers | Rows | Block


def squared_norms(forms: Sequence[Form], size: int) -> Tensor:
    """Return ``||f + g + ...||^2``, shape ``(B,)``, for the uses of one variable.

    Squares and products of uses that nearly cancel, such as those of a tower that scores two
    items which are almost the same, are large numbers with a small sum, of which rounding leaves
    little. Samples of which it leaves too little are computed again, with more digits.

    Args:
        forms: what each use of a variable adds to its gradient.
        size: the number of entries of that variable.
    """
    parts = merge(forms, size)
    if len(parts) == 1 and not (isinstance(parts[0], Outers) and parts[0].by_pairs):
        return parts[0].squared_norms()  # nothing but squares is added up
    total, sizes = _expanded(parts)
    # A number that is none is no comparison: it may be one where more fits in.
    lost = tf.logical_not(total * _MOST_LOST >= sizes)
    return tf.cond(tf.reduce_any(lost), lambda: _mended(total, lost, parts, size), lambda: total)


def _expanded(parts: Sequence[Form]) -> tuple[Tensor, Tensor]:
    """Return ``||f||^2 + ||g||^2 + 2 <f, g> + ...``, and the sum of the sizes of all terms."""
    found = [
        p.squares_and_sizes() if isinstance(p, Outers) else (p.squared_norms(),) * 2 for p in parts
    ]
    total, sizes = (tf.add_n(terms) for terms in zip(*found, strict=True))
    for one, other in itertools.combinations(parts, 2):
        cross = 2.0 * _inner(one, other)
        total, sizes = total + cross, sizes + tf.abs(cross)
    return total, sizes


def _mended(total: Tensor, lost: Tensor, parts: Sequence[Form], size: int) -> Tensor:
    """Return the squared norms, those of some samples computed again without loss."""
    some = tf.where(lost)[:, 0]
    again = [_map(part, lambda t: tf.gather(t, some)) for part in parts]
    if total.dtype == tf.float32:  # the products of two such numbers fit into double precision
        exact, _ = _expanded([_map(part, _doubled) for part in again])
        found = tf.cast(tf.maximum(exact, 0.0), total.dtype)
    else:  # sums of entries before they are squared lose no more than the naive loop's

        def squares(forms: Sequence[Form]) -> Tensor:
            return _row_squares(tf.add_n([write_out(form, size) for form in forms]))

        found = by_slices(squares, again, tf.size(some, tf.int32), max(1, MOST_ENTRIES // size))
    return tf.tensor_scatter_nd_update(total, some[:, None], found)


def _map(form: Form, function: Callable[[Tensor], Tensor]) -> Form:
    """Return the form with a function applied to its tensors."""
    return type(form)(*(function(getattr(form, f.name)) for f in fields(form)))


def _doubled(tensor: Tensor) -> Tensor:
    return tf.cast(tensor, tf.float64) if tensor.dtype.is_floating else tensor


def scales(forms: Sequence[Form]) -> Tensor:
    """Return ``sum over uses and positions of ||G_i,t||``, shape ``(B,)``.

    It is never less than the norm of the sum. Rounding of the factors alone moves that norm by
    some last digits of this number, however small it is itself.

    Args:
        forms: what each use adds to the gradient of one variable.
    """
    return tf.add_n([_scale(form) for form in forms])


def _scale(form: Form) -> Tensor:
    norm = tf.math.reduce_euclidean_norm
    if isinstance(form, Block):
        return norm(form.values, axis=1)
    deltas = norm(form.deltas, axis=-1)
    sizes = deltas if isinstance(form, Rows) else deltas * norm(form.inputs, axis=-1)
    return sizes if isinstance(form, Outer) else tf.reduce_sum(sizes, axis=1)


def merge(forms: Sequence[Form], size: int) -> list[Form]:
    """Return the same sum in at most one form of each kind."""
    if len(forms) == 1:
        return list(forms)
    blocks = [f.values for f in forms if isinstance(f, Block)]
    rows = [f for f in forms if isinstance(f, Rows)]
    outers = [f.over_positions() for f in forms if isinstance(f, Outer | Outers)]
    if not _fit([*rows, *outers]):  # they cut the variable's entries up in different ways
        blocks += [*(write_out(f, size) for f in rows), *(write_out(f, size) for f in outers)]
        rows, outers = [], []
    if 1 < len(outers) <= _MOST_APART and not _joined(outers).by_pairs:
        # Uses that are exactly opposite, of two rows that are the same, then leave exactly 0.
        blocks, outers = [*blocks, *(write_out(f, size) for f in outers)], []
    merged: list[Form] = [Block(tf.add_n(blocks))] if blocks else []
    if rows:
        ids = tf.concat([tf.cast(f.ids, tf.int64) for f in rows], 1)
        merged.append(Rows(ids, tf.concat([f.deltas for f in rows], 1)))
    if outers:
        merged.append(_joined(outers))
    return merged


def _joined(outers: Sequence[Outers]) -> Outers:
    """Return the same sum with the positions of all uses one after another."""
    inputs, deltas = zip(*((f.inputs, f.deltas) for f in outers), strict=True)
    return Outers(tf.concat(inputs, 1), tf.concat(deltas, 1))


def _fit(forms: Sequence[Rows | Outers]) -> bool:
    """Return whether all forms see the variable as a matrix of the same width."""
    return len({f.deltas.shape[2] for f in forms}) <= 1


def needs_writing_out(forms: Sequence[Form]) -> bool:
    """Return whether :func:`merge` has to write out what came in factors."""
    factored = [f.over_positions() if isinstance(f, Outer) else f for f in forms]
    return not _fit([f for f in factored if not isinstance(f, Block)])


def write_out(form: Form, size: int) -> Tensor:
    """Return the gradients themselves, shape ``(B, size)``, entries in the variable's order."""
    if isinstance(form, Block):
        return form.values
    if not isinstance(form, Rows):
        return tf.reshape(form.over_positions().written_out(), [-1, size])
    # In 64 bits: an id that is too large must fail, not come round to another row.
    batch, width = tf.shape(form.ids, tf.int64)[0], form.deltas.shape[2]
    sample = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(form.ids))
    places = tf.stack([sample, tf.cast(form.ids, tf.int64)], axis=2)
    table = tf.scatter_nd(places, form.deltas, [batch, size // width, width])  # adds repeated ids
    return tf.reshape(table, [batch, size])


def _inner(one: Form, other: Form) -> Tensor:
    """Return ``<f_i, g_i>``, shape ``(B,)``, for two different kinds of form after a merge.

    Raises:
        TypeError: the two are not in the order in which a merge leaves them.
    """
    if isinstance(one, Block) and not isinstance(other, Block):
        values = tf.reshape(one.values, [tf.shape(one.values)[0], -1, other.deltas.shape[2]])
        if isinstance(other, Rows):
            return _row_sums(tf.gather(values, other.ids, batch_dims=1) * other.deltas)
        return _row_sums(tf.matmul(other.inputs, values) * other.deltas)
    if not (isinstance(one, Rows) and isinstance(other, Outers)):
        kinds = f"{type(one).__name__} and {type(other).__name__}"
        raise TypeError(f"After a merge a block comes first, then rows, then outers; got {kinds}.")
    # A table that is also a matrix: look-up s reads row id_s, of which position t has a_t[id_s].
    shares = tf.gather(tf.transpose(other.inputs, [0, 2, 1]), one.ids, batch_dims=1)  # (B, S, T)
    pairs = tf.matmul(one.deltas, other.deltas, transpose_b=True)
    return tf.reduce_sum(shares * pairs, axis=[1, 2])


def by_slices(
    function: Callable[[list[Form]], Tensor], forms: Sequence[Form], batch: Tensor, rows: int
) -> Tensor:
    """Return a function of all samples, computed for some of them at a time.

    Args:
        function: takes the forms of some samples and returns one number per sample.
        forms: the forms of all samples.
        batch: the number of samples, a scalar tensor of int32.
        rows: how many samples are taken at a time.
    """

    def step(start: Tensor, done: tf.TensorArray) -> tuple[Tensor, tf.TensorArray]:
        stop = tf.minimum(start + rows, batch)
        some = [_map(form, lambda t: t[start:stop]) for form in forms]
        return stop, done.write(done.size(), function(some))

    done = tf.TensorArray(
        forms[0].dtype, size=0, dynamic_size=True, infer_shape=False, element_shape=[None]
    )
    _, done = tf.while_loop(lambda start, _: start < batch, step, (0, done))
    return done.concat()


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
