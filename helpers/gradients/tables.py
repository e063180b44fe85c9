"""The rules of tables: look-ups of rows, one by one, in bags, and as products with sparse rows.

Row ``r`` of the gradient is the sum of the deltas of all look-ups that read row ``r``. So a rule
has to say which row each look-up read, for which sample, and what its delta is.
"""

from __future__ import annotations

import math

from helpers.backend import tf
from helpers.gradients.forms import Form, Outer, Rows, Tensor
from helpers.gradients.places import Places, entries_of_samples, owners_of
from helpers.gradients.registry import rule
from helpers.gradients.uses import Use

__all__ = []


@rule("GatherV2", "ResourceGather")
def _look_up(use: Use, delta: Tensor) -> Form:
    """``out_s = table[id_s]``, so row ``r`` of dl/dtable is the sum of ``delta_s`` with id r.

    Along another axis of ``w[a, id_s, c]`` the table has the rows ``(a, id)``: each look-up reads
    one of them for every ``a``. With axes that table and ids share, look-up ``s`` reads the row
    ``(a_s, id_s)``.
    """
    op, ids = use.op, use.op.inputs[1]
    axis = 0 if op.type == "ResourceGather" else tf.get_static_value(op.inputs[2])
    shared = op.get_attr("batch_dims")
    if use.position != 0 or axis is None:
        raise use.unsupported("only a look-up in a table is followed, along an axis that is known")
    shape = list(use.shape)
    axis = int(axis) % len(shape)
    if shared not in (0, axis):
        raise use.unsupported("a look-up that shares axes with its table must follow upon them")
    # The axes behind the ids' one are a row of the table, and those before it are made part of
    # the number of a row: in w[a, id] of shape (2, 5), the row (1, 3) is row 5 * 1 + 3 of ten.
    count, width = shape[axis], math.prod(shape[axis + 1 :])
    if shared:
        first = tf.reshape(tf.range(math.prod(shape[:axis]), dtype=ids.dtype), shape[:axis])
        ids_read = ids + count * tf.reshape(first, [*shape[:axis], *[1] * (ids.shape.rank - axis)])
        return _rows(use, ids_read, ids, delta, width)
    if not axis:
        return _rows(use, ids, ids, delta, width)
    # The ids' axes have taken the place of one axis of the table. They come first, for the
    # samples are among them.
    rank = ids.shape.rank
    turns = [*range(axis, axis + rank), *range(axis), *range(axis + rank, delta.shape.rank)]
    deltas = use.by_sample(tf.transpose(delta, turns), ids)
    each = math.prod(shape[:axis])
    read = use.positions(ids, 1)
    read = tf.reshape(read, [use.batch, -1, 1]) + count * tf.range(each, dtype=ids.dtype)
    return Rows(tf.reshape(read, [use.batch, -1]), tf.reshape(deltas, [use.batch, -1, width]))


def _rows(use: Use, ids: Tensor, like: Tensor, delta: Tensor, width: int) -> Rows:
    """Return rows of a table: ids of any shape, and a delta of ``width`` entries for each."""
    ids = use.positions(ids, 1, like)
    deltas = use.positions(delta, width, use.output)
    ids, deltas = (t if t.shape.rank == 3 else t[:, None] for t in (ids, deltas))
    return Rows(ids[:, :, 0], deltas)


@rule("GatherNd", "ResourceGatherNd")
def _look_up_places(use: Use, delta: Tensor) -> Form:
    """``out_s = table[i_s, j_s]``: the row ``i * size_j + j`` of the table with one first axis."""
    places, shape = use.op.inputs[1], use.shape
    if use.position != 0 or not places.shape[-1]:
        raise use.unsupported("only a look-up in a table is followed, by a known number of ids")
    depth = places.shape[-1]
    steps = [math.prod(shape[k + 1 : depth]) for k in range(depth)]
    ids = tf.reduce_sum(places * tf.constant(steps, places.dtype), axis=-1)
    return _rows(use, ids, places, delta, math.prod(shape[depth:]))


@rule("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN",
      "SparseSegmentSumWithNumSegments", "SparseSegmentMeanWithNumSegments",
      "SparseSegmentSqrtNWithNumSegments")  # fmt: skip
def _bags(use: Use, delta: Tensor) -> Form:
    """``out_i = sum over s of c_i table[id_s]``, so look-up ``s`` has the delta ``c_i delta_i``.

    ``c_i`` is 1, or one divided by the number of look-ups or by the root of that.
    """
    ids, bags = use.op.inputs[1:3]
    if use.position != 0:
        raise use.unsupported("only a look-up in a table is followed")
    deltas, kind = tf.gather(delta, bags), use.op.type
    if "Sum" not in kind:
        counts = tf.math.unsorted_segment_sum(tf.ones_like(bags), bags, tf.shape(delta)[0])
        counts = tf.cast(tf.gather(counts, bags), delta.dtype)
        counts = tf.sqrt(counts) if "SqrtN" in kind else counts
        deltas /= tf.reshape(counts, [-1, *[1] * (delta.shape.rank - 1)])
    return _read(use, ids, bags, deltas, delta)


@rule("SparseTensorDenseMatMul")
def _sparse_rows(use: Use, delta: Tensor) -> Form:
    """``out_i = sum over s of v_s W[id_s]``, so entry ``s`` of row ``i`` reads ``W`` at its id."""
    op, (places, values) = use.op, use.op.inputs[:2]
    if use.position != 3:
        raise use.unsupported("only the dense matrix is followed")
    rows, ids = (places[:, k] for k in ((1, 0) if op.get_attr("adjoint_a") else (0, 1)))
    if op.get_attr("adjoint_b"):  # W is turned: written as a product of dense rows
        shape = [tf.shape(delta, places.dtype)[0], use.shape[1]]
        dense = tf.scatter_nd(tf.stack([rows, ids], 1), values, shape)
        if not use.places_in(use.output).plain:
            raise use.unsupported("its rows are not the samples in their order")
        return Outer(delta, tf.ensure_shape(dense, [None, use.shape[1]]))
    return _read(use, ids, rows, values[:, None] * tf.gather(delta, rows), delta)


def _read(use: Use, ids: Tensor, rows: Tensor, deltas: Tensor, delta: Tensor) -> Rows:
    """Return what entries read: ``(N,)`` ids, rows of the output and ``(N, ...)`` deltas."""
    owners = tf.gather(owners_of(use.places_in(use.output), tf.shape(delta)[0], use.batch), rows)
    places = Places(0, owners=owners)
    width = math.prod(use.shape[1:])
    deltas = tf.reshape(deltas, [-1, width])
    return Rows(*(entries_of_samples(t, places, use.batch) for t in (ids, deltas)))
