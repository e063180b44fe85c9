"""Where the samples stand after each operation that moves them, one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from helpers.backend import tf
from helpers.gradients.places import FIRST, Places, entries_of_samples, places_after
from helpers.gradients.uses import _depends_on

Move = Callable[[tf.Tensor], tf.Tensor]


def two(x):
    return tf.concat([x, x], 0)


def turned(x):
    return tf.transpose(x, [1, 0, 2])


def every(x, first):
    """Return every second place among those of two for each row."""
    return tf.range(first, 2 * tf.shape(x)[0], 2)


def some(x):
    """Return 1, which nobody knows before the rows are there."""
    return tf.cast(tf.reduce_max(0.0 * x) + 1.0, tf.int32)


def chosen(axis: int) -> Places:
    """Return places of which the entries were chosen when the rows were there."""
    return Places(axis, owners=tf.constant([0]))


#: What is done to rows of shape (2, 4), and where the samples stand then.
MOVES: dict[str, tuple[Move, Places | None]] = {
    "reduce kept": (lambda x: tf.reduce_sum(turned(x), [0], keepdims=True), Places(1, 1, 1)),
    "reduce not kept": (lambda x: tf.reduce_sum(turned(x), [0]), Places(0, 1, 1)),
    "reduce after": (lambda x: tf.reduce_sum(turned(x), [2]), Places(1, 1, 1)),
    "reduce both": (lambda x: tf.reduce_sum(tf.transpose(x, [1, 2, 0]), [0, 1]), Places(0, 1, 1)),
    "reduce neg": (lambda x: tf.reduce_sum(tf.transpose(x, [1, 2, 0]), [-3]), Places(1, 1, 1)),
    "reduce rows": (lambda x: tf.reduce_sum(x, [0]), None),
    "argmax": (lambda x: tf.argmax(turned(x), 0), Places(0, 1, 1)),
    "topk": (lambda x: tf.math.top_k(x, 1)[0], Places(0, 1, 1)),
    "topk rows": (lambda x: tf.math.top_k(tf.transpose(x), 1)[0], None),
    "onehot": (lambda x: tf.one_hot(tf.cast(x[:, 0], tf.int32), 3, axis=0), Places(1, 1, 1)),
    "onehot last": (lambda x: tf.one_hot(tf.cast(x[:, 0], tf.int32), 3), Places(0, 1, 1)),
    "onehot 1": (lambda x: tf.one_hot(tf.cast(x[:, 0], tf.int32), 3, axis=1), Places(0, 1, 1)),
    "onehot 2": (lambda x: tf.one_hot(tf.cast(x[:, 0], tf.int32), 3, axis=2), Places(0, 1, 1)),
    "matmul": (lambda x: x[:, 0] @ tf.ones([4, 3]), Places(0, 1, 1)),
    "matmul t": (lambda x: tf.matmul(x[:, 0], tf.ones([3, 4]), transpose_b=True), Places(0, 1, 1)),
    "matmul turned": (
        lambda x: tf.matmul(tf.ones([3, 4]), x[:, 0], transpose_b=True),
        Places(1, 1, 1),
    ),
    "matmul rows": (lambda x: tf.matmul(x[:, 0], x[:, 0], transpose_a=True), None),
    "batch matmul": (lambda x: tf.matmul(x, tf.ones([4, 3])), Places(0, 1, 1)),
    "batch matmul one": (lambda x: tf.matmul(tf.ones([1, 3, 2]), x), Places(0, 1, 1)),
    "einsum": (lambda x: tf.einsum("bij,jk->kbi", x, tf.ones([4, 3])), Places(1, 1, 1)),
    "einsum dots": (lambda x: tf.einsum("...j,jk->k...", x, tf.ones([4, 3])), Places(1, 1, 1)),
    "einsum one": (lambda x: tf.einsum("bij->jbi", x), Places(1, 1, 1)),
    "einsum sum": (lambda x: tf.einsum("bij,jk->ik", x, tf.ones([4, 3])), None),
    "expand 0": (lambda x: tf.expand_dims(x, 0), Places(1, 1, 1)),
    "expand -1": (lambda x: tf.expand_dims(x, -1), Places(0, 1, 1)),
    "expand 1": (lambda x: tf.expand_dims(x, 1), Places(0, 1, 1)),
    "expand -4": (lambda x: tf.expand_dims(x, -4), Places(1, 1, 1)),
    "squeeze": (lambda x: tf.squeeze(tf.transpose(x[None, :, :1], [0, 2, 1, 3])), None),
    "squeeze named": (lambda x: tf.squeeze(x[None, :, :1], [0]), Places(0, 1, 1)),
    "pack 0": (lambda x: tf.stack([x, x]), Places(1, 1, 1)),
    "pack 2": (lambda x: tf.stack([x, x], 2), Places(0, 1, 1)),
    "pack -4": (lambda x: tf.stack([x, x], -4), Places(1, 1, 1)),
    "unpack": (lambda x: tf.unstack(turned(x))[0], Places(0, 1, 1)),
    "unpack later": (lambda x: tf.unstack(x, axis=2)[0], Places(0, 1, 1)),
    "unpack -1": (lambda x: tf.unstack(x, axis=-1)[0], Places(0, 1, 1)),
    "transpose": (lambda x: tf.transpose(x, [2, 1, 0]), Places(2, 1, 1)),
    "reshape in": (lambda x: tf.reshape(x, [-1, 4]), Places(0, 1, 2)),
    "reshape out": (lambda x: tf.reshape(turned(x), [-1, 4]), Places(0, 2, 1)),
    "reshape both": (lambda x: tf.reshape(turned(x), [-1]), Places(0, 2, 4)),
    "reshape back": (lambda x: tf.reshape(tf.reshape(x, [-1, 4]), [-1, 2, 4]), Places(0, 1, 1)),
    "reshape shape": (lambda x: tf.reshape(x, [tf.shape(x)[0], -1]), Places(0, 1, 1)),
    "reshape shape2": (lambda x: tf.reshape(x, [tf.shape(x)[0] * 2, -1]), Places(0, 1, 2)),
    "reshape shape3": (lambda x: tf.reshape(x, [2 * tf.shape(x)[0], 4]), Places(0, 1, 2)),
    "reshape three": (lambda x: tf.reshape(turned(x), [2, -1, 2, 2]), Places(1, 1, 1)),
    "reshape bad": (lambda x: tf.reshape(x, [-1, 3]), None),
    "open reshape": (lambda x: tf.reshape(x[:, : some(x)], [-1, 4]), Places(0, 1, None)),
    "open reshape by rows": (
        lambda x: tf.reshape(x[:, : some(x)], [tf.shape(x)[0], -1]),
        Places(0, 1, 1),
    ),
    "open reshape of blocks": (lambda x: tf.reshape(two(x)[:, : some(x)], [-1, 4]), None),
    "concat": (lambda x: tf.concat([x, x, x], 0), Places(0, 3, 1)),
    "concat two": (lambda x: tf.concat([two(x), x], 0), Places(0, 3, 1)),
    "concat inside": (lambda x: tf.concat([tf.reshape(x, [-1, 4])] * 2, 0), Places(0, 2, 2)),
    "concat mixed inside": (lambda x: tf.concat([tf.reshape(x, [-1, 4]), x[:, 0]], 0), chosen(0)),
    "concat beside": (lambda x: tf.concat([x, x], -1), Places(0, 1, 1)),
    "concat other": (lambda x: tf.concat([x, tf.ones([3, 2, 4])], 0), None),
    "split": (lambda x: tf.split(tf.concat([x] * 4, 0), 2)[0], Places(0, 2, 1)),
    "splitv": (lambda x: tf.split(tf.concat([x] * 4, 0), [tf.shape(x)[0], -1])[1], Places(0, 3, 1)),
    "splitv2": (
        lambda x: tf.split(tf.concat([x] * 4, 0), [tf.shape(x)[0], 3 * tf.shape(x)[0]])[0],
        Places(0, 1, 1),
    ),
    "split other": (lambda x: tf.split(x, 2, axis=2)[1], Places(0, 1, 1)),
    "split odd": (lambda x: tf.split(x, 2)[0], chosen(0)),
    "tile": (lambda x: tf.tile(x, [3, 1, 1]), Places(0, 3, 1)),
    "tile within": (lambda x: tf.tile(x, [1, 3, 1]), Places(0, 1, 1)),
    "tile const": (lambda x: tf.tile(tf.ones([2, 5]), [tf.shape(x)[0], 1]), Places(0, 1, 2)),
    "tile const 2": (lambda x: tf.tile(tf.ones([5, 1]), [1, tf.shape(x)[0]]), Places(1, 1, 1)),
    "tile const both": (lambda x: tf.tile(tf.ones([5, 1]), [tf.shape(x)[0], tf.shape(x)[0]]), None),
    "broadcast": (lambda x: tf.broadcast_to(x, [3, tf.shape(x)[0], 2, 4]), Places(1, 1, 1)),
    "broadcast const": (
        lambda x: tf.broadcast_to(tf.ones([5]), [tf.shape(x)[0], 5]),
        Places(0, 1, 1),
    ),
    "fill": (lambda x: tf.fill([3, tf.shape(x)[0]], 1.0), Places(1, 1, 1)),
    "fill 2": (lambda x: tf.fill([2 * tf.shape(x)[0]], 1.0), None),
    "fill shape": (lambda x: tf.fill([tf.shape(two(x))[0]], 1.0), Places(0, 2, 1)),
    "fill shape in": (
        lambda x: tf.fill([tf.shape(tf.reshape(x, [-1, 4]))[0]], 1.0),
        Places(0, 1, 2),
    ),
    "range": (lambda x: tf.range(tf.shape(x)[0]), Places(0, 1, 1)),
    "range 1": (lambda x: tf.range(1, tf.shape(x)[0]), None),
    "range 2": (lambda x: tf.range(0, tf.shape(x)[0], 2), None),
    "space": (lambda x: tf.space_to_batch(x[..., None], [2], [[0, 0]]), Places(0, 2, 1)),
    "space back": (
        lambda x: tf.batch_to_space(tf.space_to_batch(x[..., None], [2], [[0, 0]]), [2], [[0, 0]]),
        Places(0, 1, 1),
    ),
    "reverse": (lambda x: tf.reverse(x, [1]), Places(0, 1, 1)),
    "reverse rows": (lambda x: tf.reverse(x, [0]), chosen(0)),
    "roll": (lambda x: tf.roll(x, 1, 1), Places(0, 1, 1)),
    "roll rows": (lambda x: tf.roll(x, [1, 1], [1, 0]), chosen(0)),
    "pad": (lambda x: tf.pad(x, [[0, 0], [1, 0], [0, 1]]), Places(0, 1, 1)),
    "pad rows": (lambda x: tf.pad(x, [[0, 1], [0, 0], [0, 0]]), None),
    "slice": (lambda x: x[:, 1], Places(0, 1, 1)),
    "slice new": (lambda x: x[None, :, None], Places(1, 1, 1)),
    "slice ellipsis": (lambda x: x[..., 0], Places(0, 1, 1)),
    "slice ellipsis new": (lambda x: turned(x)[..., None, 1], Places(1, 1, 1)),
    "slice ellipsis before": (lambda x: tf.transpose(x, [1, 2, 0])[..., 0, :], Places(1, 1, 1)),
    "slice ellipsis for none": (
        lambda x: tf.transpose(x, [1, 2, 0])[0, 1, ..., :],
        Places(0, 1, 1),
    ),
    "slice shrink first": (lambda x: turned(x)[1], Places(0, 1, 1)),
    "slice first block": (lambda x: tf.concat([x] * 3, 0)[: tf.shape(x)[0]], Places(0, 1, 1)),
    "slice later blocks": (lambda x: tf.concat([x] * 3, 0)[tf.shape(x)[0] :], Places(0, 2, 1)),
    "slice middle": (
        lambda x: tf.concat([x] * 3, 0)[tf.shape(x)[0] : 2 * tf.shape(x)[0]],
        Places(0, 1, 1),
    ),
    "slice step": (lambda x: tf.reshape(x, [-1, 4])[::2], Places(0, 1, 1)),
    "slice step from": (lambda x: tf.reshape(x, [-1, 4])[1::2], Places(0, 1, 1)),
    "slice step 3": (lambda x: tf.reshape(x, [-1, 4])[::3], chosen(0)),
    "slice rows": (lambda x: x[1:], chosen(0)),
    "slice all": (lambda x: x[:], Places(0, 1, 1)),
    "slice op": (lambda x: tf.slice(x, [0, 1, 0], [-1, 1, 4]), Places(0, 1, 1)),
    "slice op whole": (lambda x: tf.slice(x, [0, 1, 0], [tf.shape(x)[0], 1, 4]), Places(0, 1, 1)),
    "slice op block": (
        lambda x: tf.slice(tf.concat([x] * 3, 0), [tf.shape(x)[0], 0, 0], [tf.shape(x)[0], 2, 4]),
        Places(0, 1, 1),
    ),
    "slice op rest": (
        lambda x: tf.slice(tf.concat([x] * 3, 0), [tf.shape(x)[0], 0, 0], [-1, 2, 4]),
        Places(0, 2, 1),
    ),
    "slice op some": (lambda x: tf.slice(x, [1, 0, 0], [-1, 2, 4]), chosen(0)),
    "gather ids": (lambda x: tf.gather(tf.ones([9, 5]), tf.cast(x, tf.int32)), Places(0, 1, 1)),
    "gather ids axis": (
        lambda x: tf.gather(tf.ones([3, 9, 5]), tf.cast(x[:, 0, 0], tf.int32), axis=1),
        Places(1, 1, 1),
    ),
    "gather own": (lambda x: tf.gather(x, [1, 0], axis=1), Places(0, 1, 1)),
    "gather own later": (lambda x: tf.gather(turned(x), [[1, 0]], axis=0), Places(2, 1, 1)),
    "gather batch": (
        lambda x: tf.gather(x, tf.cast(x[:, :, 0], tf.int32), axis=2, batch_dims=1),
        Places(0, 1, 1),
    ),
    "gather rows": (lambda x: tf.gather(x, [0, 0]), chosen(0)),
    "gather rows 2d": (lambda x: tf.gather(x, [[0, 0]]), None),
    "gathernd ids": (
        lambda x: tf.gather_nd(tf.ones([3, 3, 5]), tf.cast(x[:, :, :2], tf.int32)),
        Places(0, 1, 1),
    ),
    "gathernd own": (lambda x: tf.gather_nd(turned(x), [[0], [1]]), Places(1, 1, 1)),
    "gathernd rows": (lambda x: tf.gather_nd(x, [[0], [0]]), chosen(0)),
    "where": (lambda x: tf.where(x[:, 0] > 0), chosen(0)),
    "mask": (lambda x: tf.boolean_mask(x, x[:, 0, 0] > 0), chosen(0)),
    "partition": (
        lambda x: tf.dynamic_partition(x, tf.cast(x[:, 0, 0] > 1, tf.int32), 2)[1],
        chosen(0),
    ),
    "stitch": (lambda x: tf.dynamic_stitch([every(x, 0), every(x, 1)], [x, x]), chosen(0)),
    "unique": (lambda x: tf.unique(tf.cast(x[:, 0, 0], tf.int32))[1], Places(0, 1, 1)),
    "unique values": (lambda x: tf.unique(tf.cast(x[:, 0, 0], tf.int32))[0], None),
    "add broadcast": (lambda x: x[:, 0, 0] + tf.ones([3, 1]), Places(1, 1, 1)),
    "add turned": (lambda x: tf.transpose(x[:, 0]) + tf.ones([2, 1, 1]), Places(2, 1, 1)),
    "owners reshape": (lambda x: tf.reshape(tf.reverse(x, [0]), [-1, 4]), chosen(0)),
    "owners reshape back": (
        lambda x: tf.reshape(tf.reshape(tf.reverse(x, [0]), [-1, 4]), [-1, 8]),
        chosen(0),
    ),
    "owners softmax": (lambda x: tf.nn.softmax(tf.reverse(x, [0])), chosen(0)),
    "owners other op": (lambda x: tf.linalg.diag(tf.reverse(x, [0])), None),
    "diag": (lambda x: tf.linalg.diag(x), Places(0, 1, 1)),
}


def followed(function: Move, n: int) -> tuple[Places | None, np.ndarray, np.ndarray | None]:
    """Return the places that were found, what came of rows that hold their number, and of each."""
    found = []

    def program(x):
        moved = function(x)
        graph, batch = moved.graph, tf.shape(x)[0]
        rows, places = {x.name}, {x.name: FIRST}
        for op in graph.get_operations():
            if _depends_on(op, rows):
                rows.update(t.name for t in op.outputs)
                places |= places_after(op, places, batch)
        found.append(places.get(moved.name))
        if found[0] is None:
            return moved, moved
        return moved, entries_of_samples(moved, found[0], batch)

    spec = tf.TensorSpec([None, 2, 4])
    traced = tf.function(program, autograph=False).get_concrete_function(spec)
    if found[0] is None:
        return None, np.zeros(0), None
    moved, entries = traced(tf.ones([n, 2, 4]) * tf.range(1.0, n + 1)[:, None, None])
    return found[0], moved.numpy(), entries.numpy()


@pytest.mark.parametrize("name", MOVES)
def test_samples_stand_where_an_operation_puts_them(name):
    function, want = MOVES[name]
    found, moved, entries = followed(function, 2)
    if want is None or found is None:
        assert found is want
        return
    assert (found.axis, found.owners is None) == (want.axis, want.owners is None)
    if want.owners is None:
        assert (found.outside, found.inside) == (want.outside, want.inside)
    assert len(entries) == 2
    assert entries.size >= moved.size  # some are filled up


MOVED = ("concat", "split", "tile", "slice", "reshape", "reverse", "roll", "mask", "partition",
         "stitch", "space", "gather own", "gather rows", "transpose", "pack", "unpack")  # fmt: skip


@pytest.mark.parametrize(
    "name", [each for each in MOVES if each.startswith(MOVED) and "const" not in each]
)
def test_each_sample_is_found_where_it_stands(name):
    function, want = MOVES[name]
    found, moved, entries = followed(function, 3 if "split" not in name else 4)
    if found is None:
        assert want is None
        return
    for row, own in enumerate(entries, 1):
        assert set(np.unique(own)) <= {0, row}  # 0: filled up
        assert np.sum(own == row) == np.sum(moved == row)
