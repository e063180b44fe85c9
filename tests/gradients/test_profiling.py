"""The time of a computation is shared out among what it was spent on."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np

from helpers.backend import tf
from helpers.gradients import profiling
from helpers.gradients.profiling import (
    TIME_PARTS,
    _computations,
    _Event,
    _length,
    _parts,
    _trace,
    profile_operations,
    time_parts,
)


def test_moments_in_which_several_events_run_count_once():
    events = [_Event(0, 10, "a"), _Event(4, 6, "b"), _Event(8, 15, "c"), _Event(20, 21, "d")]
    assert _length(events) == _length(reversed(events)) == 15 + 1
    assert _length([]) == 0


def test_a_moment_is_the_products_then_the_other_operations_then_the_rest():
    ps = 1e9  # picoseconds in a millisecond
    ran = [
        _Event(0, 4 * ps, "MatMul"),
        _Event(3 * ps, 6 * ps, "AddV2"),  # for one millisecond beside the product
        _Event(5 * ps, 8 * ps, "FusedMatMul"),
        _Event(20 * ps, 21 * ps, "Cast"),
    ]
    parts = _parts(0.030, ran)
    assert list(parts.index) == list(TIME_PARTS)
    np.testing.assert_allclose(parts, [4 + 3, 1 + 1, 30 - 9], rtol=1e-12)


def test_clocks_that_disagree_leave_no_part_below_nought():
    assert _parts(0.001, [_Event(0, 2_000_000_000, "MatMul")]).tolist() == [2, 0, 0]


def ran_in(call) -> Counter:
    """Return how often each kind of operation ran in one call, as time_parts counts them."""
    _, threads = _trace(call, 1)
    return Counter(event.name for events in threads for event in _computations(events))


def test_a_product_in_a_graph_is_found():
    x = tf.ones((64, 64))
    step = tf.function(lambda x: tf.linalg.matmul(x, x) + 1)
    step(x)
    ran = ran_in(lambda: step(x).numpy())
    assert sum(times for kind, times in ran.items() if "MatMul" in kind) == 1
    assert time_parts(lambda: step(x).numpy())["matrix products"] > 0


def test_the_same_product_outside_a_graph_is_found_too():
    x = tf.ones((64, 64))
    ran = ran_in(lambda: (tf.linalg.matmul(x, x) + 1).numpy())
    assert ran["MatMul"] == 1
    assert ran["AddV2"] == 1
    parts = time_parts(lambda: (tf.linalg.matmul(x, x) + 1).numpy())
    assert (parts[["matrix products", "other operations"]] > 0).all()


def test_time_without_operations_is_the_rest_and_all_time_is_shared_out(monkeypatch):
    moments = iter([100.0, 100.5])
    monkeypatch.setattr(profiling, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    parts = time_parts(lambda: None, repeats=2)
    assert parts.tolist() == [0, 0, 250]


def test_operations_are_counted_for_one_run():
    step = tf.function(lambda x: tf.linalg.matmul(tf.linalg.matmul(x, x), x))
    x = tf.ones((64, 64))
    step(x)
    table = profile_operations(lambda: step(x), repeats=4).set_index("operation")
    assert table.loc[[k for k in table.index if "MatMul" in k], "calls"].sum() == 2
