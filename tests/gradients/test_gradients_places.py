"""Where the samples stand: programs that move rows, against rows that say whose they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.backend import tf
from helpers.gradients.places import FIRST, entries_of_samples, places_after
from helpers.gradients.uses import _depends_on

Move = Callable[[tf.Tensor], tf.Tensor]


def rest(t):
    return t.shape[1:]


def key(t):
    """A number for each row, which puts them into an order of its own."""
    return tf.sin(7.0 * tf.reduce_sum(tf.reshape(t, [tf.shape(t)[0], -1]), 1))


def half(t):
    return t[: tf.shape(t)[0] // 2]


def partitioned(t):
    return tf.dynamic_partition(t, tf.cast(key(t) > 0, tf.int32), 2)[1]


#: Moves of any tensor of which the rows are not known. What does not fit raises while it is traced.
MOVES: dict[str, Move] = {
    "below itself": lambda t: tf.concat([t, t], 0),
    "below its reverse": lambda t: tf.concat([t, tf.reverse(t, [0])], 0),
    "three below each other": lambda t: tf.concat([t, t, t], 0),
    "below its half": lambda t: tf.concat([half(t), t], 0),
    "beside itself": lambda t: tf.concat([t, t], -1),
    "tiled": lambda t: tf.tile(t, [2] + [1] * (t.shape.rank - 1)),
    "tiled within": lambda t: tf.tile(t, [1] * (t.shape.rank - 1) + [2]),
    "repeated": lambda t: tf.repeat(t, 3, axis=0),
    "stacked first": lambda t: tf.stack([t, t]),
    "stacked second": lambda t: tf.stack([t, t], axis=1),
    "first two axes turned": lambda t: tf.transpose(t, [1, 0, *range(2, t.shape.rank)]),
    "turned round": tf.transpose,
    "first two axes in one": lambda t: tf.reshape(t, [-1, *t.shape[2:]]),
    "flat": lambda t: tf.reshape(t, [-1]),
    "cut in two rows": lambda t: tf.reshape(t, [2, -1, *rest(t)]),
    "cut in two entries": lambda t: tf.reshape(t, [-1, 2, *rest(t)]),
    "cut by the number": lambda t: tf.reshape(t, [tf.shape(t)[0], -1]),
    "cut by half of the number": lambda t: tf.reshape(t, [tf.shape(t)[0] // 2, -1, *rest(t)]),
    "first half": half,
    "second half": lambda t: t[tf.shape(t)[0] // 2 :],
    "every second": lambda t: t[::2],
    "every second, from the second": lambda t: t[1::2],
    "without the first": lambda t: t[1:],
    "first of two halves": lambda t: tf.split(t, 2)[0],
    "first of an axis": lambda t: t[:, 0],
    "first of the first axis": lambda t: t[0],
    "backwards": lambda t: t[::-1],
    "reversed": lambda t: tf.reverse(t, [0]),
    "rolled": lambda t: tf.roll(t, 1, 0),
    "sorted": lambda t: tf.gather(t, tf.argsort(key(t))),
    "masked": lambda t: tf.boolean_mask(t, key(t) > 0),
    "one part": partitioned,
    "one axis more": lambda t: t[:, None],
    "one axis before": lambda t: t[None],
    "one axis less": tf.squeeze,
    "summed": lambda t: tf.reduce_max(t, axis=-1),
    "taken by numbers": lambda t: tf.gather(t, tf.range(tf.shape(t)[0])),
    "as it is": lambda t: tf.nn.relu(t),
    "spaced": lambda t: tf.space_to_batch(t[..., None, None], [2, 1], [[0, 0], [0, 0]]),
}  # fmt: skip


def followed(names, n):
    """Return what the moves make of rows that hold their own number, and the rows found in it.

    None: a move does not fit, or the samples were lost.
    """

    def program(x):
        moved = x
        for name in names:
            moved = MOVES[name](moved)
        graph, batch = moved.graph, tf.shape(x)[0]
        rows, places = {x.name}, {x.name: FIRST}
        for op in graph.get_operations():
            if _depends_on(op, rows):
                rows.update(t.name for t in op.outputs)
                places |= places_after(op, places, batch)
        if moved.name not in places:
            raise LookupError
        return moved, entries_of_samples(moved, places[moved.name], batch)

    spec = tf.TensorSpec([None, 2, 4])
    try:
        traced = tf.function(program, autograph=False).get_concrete_function(spec)
        return traced(tf.ones([n, 2, 4]) * tf.range(1.0, n + 1)[:, None, None])
    except (ValueError, IndexError, LookupError, TypeError, tf.errors.InvalidArgumentError):
        return None


def check(names, n):
    found = followed(names, n)
    if found is None:
        return False
    moved, entries = (t.numpy() for t in found)
    assert len(entries) == n
    for row, own in enumerate(entries, 1):
        assert set(np.unique(own)) <= {0, row}, names  # 0: filled up
        assert np.sum(own == row) == np.sum(moved == row), names
    return True


PROGRAMS = st.lists(st.sampled_from(sorted(MOVES)), min_size=1, max_size=6)


@settings(max_examples=150)
@given(PROGRAMS, st.integers(1, 4))
def test_rows_that_are_followed_are_found(names, n):
    check(names, n)


@pytest.mark.slow
@settings(max_examples=2000)
@given(PROGRAMS, st.integers(1, 4))
def test_rows_that_are_followed_are_found_in_many_programs(names, n):
    check(names, n)


COMMON = [
    ["below itself", "first half"],
    ["three below each other", "cut by the number"],
    ["tiled", "second half"],
    ["repeated", "every second"],
    ["stacked first", "first two axes in one", "cut in two rows"],
    ["stacked second", "first two axes in one", "cut in two entries"],
    ["first two axes turned", "first two axes in one", "cut in two rows"],
    ["flat"],
    ["turned round", "below itself"],
    ["sorted"],
    ["masked"],
    ["one part"],
    ["reversed"],
    ["below its half"],
    ["spaced", "first of an axis"],
]


@pytest.mark.parametrize("names", COMMON)
@pytest.mark.parametrize("n", [1, 4])
def test_common_moves_are_followed(names, n):
    assert check(names, n)


LOST = [
    ["first of the first axis"],
    ["turned round", "summed"],
    ["below itself", "cut in two entries"],  # entries of the same blocks side by side
    ["flat", "cut in two rows"],
]


@pytest.mark.parametrize("names", LOST)
def test_rows_that_are_mixed_have_no_places(names):
    assert not check(names, 4)


@pytest.mark.parametrize("names", [["stacked first", "first two axes in one", "cut in two rows"]])
def test_blocks_outside_are_told_from_blocks_inside(names, monkeypatch):
    right = entries_of_samples

    def wrong(tensor, places, batch):
        return right(tensor, type(places)(places.axis, places.inside, places.outside), batch)

    monkeypatch.setitem(followed.__globals__, "entries_of_samples", wrong)
    with pytest.raises(AssertionError):
        check([*names, "first two axes in one"], 4)
