"""The time of a computation is shared out among what it was spent on."""

from __future__ import annotations

import time

import numpy as np

from helpers.backend import tf
from helpers.gradients.profiling import TIME_PARTS, _Event, _length, profile_operations, time_parts


def test_moments_in_which_several_events_run_count_once():
    events = [_Event(0, 10, "a"), _Event(4, 6, "b"), _Event(8, 15, "c"), _Event(20, 21, "d")]
    assert _length(events) == _length(reversed(events)) == 15 + 1
    assert _length([]) == 0


def test_a_large_product_in_a_graph_is_mostly_product():
    x = tf.ones((700, 700))
    step = tf.function(lambda x: tf.linalg.matmul(x, x) + 1)
    step(x)
    parts = time_parts(lambda: step(x).numpy())
    assert list(parts.index) == list(TIME_PARTS)
    assert parts["matrix products"] > 0.5 * parts.sum()


def test_the_same_product_outside_a_graph_is_found_too():
    x = tf.ones((700, 700))
    parts = time_parts(lambda: (tf.linalg.matmul(x, x) + 1).numpy())
    assert parts["matrix products"] > 0.5 * parts.sum()
    assert parts["other operations"] > 0


def test_time_without_operations_is_the_rest_and_all_time_is_shared_out():
    parts = time_parts(lambda: time.sleep(0.02), repeats=2)
    np.testing.assert_array_equal(parts[["matrix products", "other operations"]], 0)
    assert 20 <= parts.sum() < 200


def test_operations_are_counted_for_one_run():
    step = tf.function(lambda x: tf.linalg.matmul(tf.linalg.matmul(x, x), x))
    x = tf.ones((64, 64))
    step(x)
    table = profile_operations(lambda: step(x), repeats=4).set_index("operation")
    assert table.loc[[k for k in table.index if "MatMul" in k], "calls"].sum() == 2
