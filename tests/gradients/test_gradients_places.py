"""Where the samples stand: programs that move rows, against rows that say whose they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
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


# --- numbers that are known only with the rows -------------------------------------------


class OnSteps(keras.layers.Layer):
    """A dense layer on the steps of all rows, moved by a function, and a sum for each row."""

    def __init__(self, move):
        super().__init__()
        self.dense, self._move = keras.layers.Dense(2, activation="tanh"), move

    def build(self, shape):
        self.dense.build((None, shape[-1]))

    def call(self, x):
        return self._move(x, lambda steps: tf.square(self.dense(steps)))


def cut(x):
    """The first steps; how many is the same for all rows, and known only with them."""
    return x[:, : tf.cast(tf.reduce_max(tf.stop_gradient(x)) * 0.0 + 3.0, tf.int32)]


def by_row(steps, rows):
    return tf.reduce_sum(tf.reshape(steps, [rows, -1]), 1)


def joined(x, layer):
    rows, steps = tf.shape(x)[0], tf.reshape(cut(x), [-1, 3])
    return tf.reduce_sum(
        tf.reshape(layer(tf.concat([steps, 2.0 * steps], 0)), [2, rows, -1]), [0, 2]
    )


def joined_of_two_lengths(x, layer):
    rows, long, short = tf.shape(x)[0], tf.reshape(cut(x), [-1, 3]), tf.reshape(x[:, :2], [-1, 3])
    made = layer(tf.concat([long, short], 0))
    return by_row(made[: tf.shape(long)[0]], rows) + 3.0 * by_row(made[tf.shape(long)[0] :], rows)


def repeated(x, layer):
    rows, steps = tf.shape(x)[0], tf.reshape(cut(x), [-1, 3])
    return tf.reduce_sum(tf.reshape(layer(tf.tile(steps, [2, 1])), [2, rows, -1]), [0, 2])


def sized_by_a_masked_entry(x, layer):
    """The number of rows: TensorFlow takes no notice of the mask of an entry taken alone."""
    rows = tf.strided_slice(tf.shape(x), [0], [1], [1], begin_mask=1, shrink_axis_mask=1)
    return tf.reduce_sum(layer(tf.reshape(x, [rows, -1, 3])), [1, 2])


def sized_by_a_masked_later_entry(x, layer):
    steps = tf.strided_slice(tf.shape(x), [1], [2], [1], begin_mask=1, shrink_axis_mask=1)
    return tf.reduce_sum(layer(tf.reshape(x, [-1, steps, 3])), [1, 2])


@pytest.mark.parametrize(
    "move",
    [
        joined,
        joined_of_two_lengths,
        repeated,
        sized_by_a_masked_entry,
        sized_by_a_masked_later_entry,
    ],
)
def test_numbers_that_are_known_only_with_the_rows_do_not_stop_the_engine(move):
    rng = np.random.default_rng(0)
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, OnSteps(move)(inputs))
    x, y = rng.normal(size=(5, 4, 3)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    found = PerSampleGradients(model, half_square).norms(x, y)
    np.testing.assert_allclose(found, naive_norms(model, half_square, x, y), rtol=1e-5)


def half_square(y, prediction):
    return tf.square(prediction - y) / 2.0
