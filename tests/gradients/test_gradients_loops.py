"""What is written out while a model is traced computes the same, and everything is put back."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from gradient_zoo import lively
from gradient_zoo_loops import LOOPS
from gradient_zoo_recommenders import RECOMMENDERS
from gradient_zoo_rows import ROWS

from helpers.backend import tf
from helpers.gradients import PerSampleGradients
from helpers.gradients.inside import insides_shown
from helpers.gradients.loops import loops_written_out
from helpers.gradients.patches import Patches

pytestmark = pytest.mark.usefixtures("float64")

PATCHED = {
    "while_loop": "while_loop",
    "cond": "cond",
    "control_flow_switch_case": "_indexed_case_helper",
    "list_ops": "tensor_list_stack",
    "nn_impl": "_compute_sampled_logits",
    "embedding_ops": "embedding_lookup_sparse_impl",
    "custom_gradient": "_graph_mode_decorator",
}


def functions():
    """Return what stands in TensorFlow's modules now."""
    modules = {m: sys.modules[f"tensorflow.python.ops.{m}"] for m in PATCHED}
    return [getattr(modules[m], f) for m, f in PATCHED.items()]


SHOWN = ["sampled softmax", "noise contrast, two true ones", "conv3d groups strided"]
SHOWN = {k: RECOMMENDERS[k] for k in SHOWN} | {k: v for k, v in ROWS.items() if "bag" in k}


@pytest.mark.parametrize("name", [*LOOPS, *SHOWN])
def test_a_graph_that_is_written_out_gives_the_numbers_of_the_model(name):
    build, rows, _ = (LOOPS | SHOWN)[name]
    x, _ = rows(3)
    model = lively(build(), x)
    spec = tf.TensorSpec([None, *x.shape[1:]], x.dtype)
    with loops_written_out(), insides_shown():
        traced = tf.function(model, autograph=False).get_concrete_function(spec)
    want, got = model(x), traced(tf.constant(x))
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)
    if name in LOOPS:
        graph = traced.graph
        assert not [op for op in graph.get_operations() if op.type in ("While", "If", "Case")]


@pytest.mark.parametrize("name", ["scan", "sampled softmax", "bag, mean"])
def test_everything_is_put_back_also_after_an_error(name):
    before = functions()
    build, rows, loss = (LOOPS | SHOWN)[name]
    x, y = rows(3)
    model = lively(build(), x)
    PerSampleGradients(model, loss).norms(x, y)
    assert functions() == before
    with pytest.raises(ValueError, match="no such"):
        PerSampleGradients(model, lambda y, p: {}["no such"]).norms(x, y)
    assert functions() == before


def test_another_thread_meets_the_functions_as_they_were():
    seen = []

    def elsewhere():
        def counted(x):
            return tf.while_loop(lambda k, x: k < 3, lambda k, x: (k + 1, 2 * x), (0, x))[1]

        graph = tf.function(counted, autograph=False).get_concrete_function(tf.constant(1.0)).graph
        seen.extend(op.type for op in graph.get_operations())

    with loops_written_out(), insides_shown():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "StatelessWhile" in seen or "While" in seen


def test_a_function_that_a_version_of_a_library_has_not_is_let_be():
    with Patches() as patches:
        patches.put("tensorflow.python.ops.while_loop", "no_such_function", lambda original: 1)
        patches.put("no.such.module", "while_loop", lambda original: 1)


@pytest.mark.parametrize("steps", [0, 1, 999, 1001])
def test_a_loop_of_any_known_length_ends_where_it_should(steps):
    def counted(x):
        return tf.while_loop(lambda k, x: k < steps, lambda k, x: (k + 1, x + 1.0), (0, x))

    with loops_written_out():
        traced = tf.function(counted, autograph=False).get_concrete_function(tf.TensorSpec([]))
    assert [t.numpy() for t in traced(tf.constant(0.5))] == [steps, steps + 0.5]
    whiles = [op for op in traced.graph.get_operations() if "While" in op.type]
    assert bool(whiles) == (steps > 1000)
