"""Every refusal of a use names the variable, the layer and the operation, and says what to do."""

from __future__ import annotations

import re

import numpy as np
import pytest
from gradient_models import dense_rows, half_square

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, UnsupportedOperation, naive_norms

WIDTH = 3


class Inner(keras.layers.Layer):
    """A layer with a matrix, read as a function says."""

    def __init__(self, call):
        super().__init__(name="inner_layer")
        self._call = call

    def build(self, shape):
        self.matrix = self.add_weight(shape=(WIDTH, WIDTH), name="matrix", initializer="normal")

    def call(self, x):
        return self._call(x, self.matrix.value)


def model_of(call):
    inputs = keras.Input((WIDTH,))
    return keras.Model(inputs, keras.layers.Dense(1)(Inner(call)(inputs)))


@tf.custom_gradient
def own_gradient(x, w):
    return x @ w, lambda upstream: (upstream @ tf.transpose(w), tf.transpose(x) @ upstream)


def as_many_steps_as_the_rows_say(x, w):
    most = tf.cast(tf.reduce_max(tf.abs(x)), tf.int32) + 1
    return tf.while_loop(lambda k, h: k < most, lambda k, h: (k + 1, h @ w), (0, x))[1]


def rows_and_more(x, w):
    """Rows, and three fixed ones below them: the fixed ones belong to no sample."""
    both = tf.concat([x, tf.eye(WIDTH, dtype=x.dtype)], 0) @ w
    return both[: tf.shape(x)[0]] + tf.reduce_sum(both[tf.shape(x)[0] :])


def equal_rows_once(x, w):
    ids, which = tf.unique(tf.cast(x[:, 0] > 0, tf.int32))
    return x + tf.gather(tf.gather(w, ids), which)


def unknown_rank(x, w):
    return tf.ensure_shape(tf.raw_ops.PlaceholderWithDefault(input=x, shape=None) * w[0], x.shape)


#: What is refused, and the type of the operation that reads the matrix.
REFUSED = {
    "a loop over the rows": (
        lambda x, w: tf.map_fn(lambda row: tf.linalg.matvec(w, row), x), "While"),
    "a loop as long as the rows say": (as_many_steps_as_the_rows_say, "While"),
    "a branch that the rows choose": (
        lambda x, w: tf.cond(tf.reduce_sum(x) > 0, lambda: x @ w, lambda: x), "If"),
    "a gradient of one's own": (own_gradient, "IdentityN"),
    "an operation without a rule": (lambda x, w: tf.math.atan2(x, w[0]), "Atan2"),
    "a system of equations": (
        lambda x, w: tf.transpose(tf.linalg.solve(w, tf.transpose(x))), "MatrixSolve"),
    "rows and what belongs to no row": (rows_and_more, "MatMul"),
    "rows read once for all that are equal": (equal_rows_once, "GatherV2|ResourceGather"),
    "rows of zeros beside the batch": (
        lambda x, w: (tf.pad(x, [[1, 0], [0, 0]]) @ w)[1:], "MatMul"),
    "noise in the rows": (
        lambda x, w: (x + tf.random.normal(tf.shape(x))) @ w, "MatMul"),
    "noise in the weights": (lambda x, w: x @ (w + tf.random.normal(w.shape)), "MatMul"),
    "shuffled rows": (lambda x, w: tf.random.shuffle(x) @ w, "MatMul"),
    "complex numbers": (
        lambda x, w: tf.math.real(tf.cast(x, tf.complex64) * tf.cast(w[0], tf.complex64)), "Mul"),
    "rows in the place of weights": (
        lambda x, w: tf.matmul(x, w) + tf.matmul(x, x, transpose_a=True)[:1] * w[:1], "Mul"),
    "a tensor of any rank": (unknown_rank, "Mul"),
    "weights of a size that the rows give": (
        lambda x, w: x @ tf.math.segment_sum(tf.transpose(w), [0, 1, 2]), "MatMul"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_variable_layer_and_operation_and_what_to_do(name):
    call, operation = REFUSED[name]
    x, y = dense_rows(6)
    model = model_of(call)
    engine = PerSampleGradients(model, half_square)
    direction = [np.ones(v.shape) for v in model.trainable_variables]
    message = (
        rf'variable ".*inner_layer/matrix".* of layer "inner_layer", read by (\w*)({operation}) '
        r'\(".*"\): .*(freeze it|naive_norms)'
    )
    for function in (engine.norms, engine.certify, lambda x, y: engine.dots(x, y, direction)):
        with pytest.raises(UnsupportedOperation, match=message):
            function(x, y)


# --- rows whose order their contents decide ----------------------------------------------


def sorted_by_scatter(x, w):
    """Rows brought into the order of their first entry, and back, by the places they go to."""
    order = tf.argsort(x[:, 0], stable=True)
    rank = tf.argsort(order)
    moved = tf.scatter_nd(rank[:, None], x, tf.shape(x))
    return tf.gather(tf.tanh(moved @ w), rank)


def summed_by_rank(x, w):
    rank = tf.argsort(tf.argsort(x[:, 0], stable=True))
    moved = tf.math.unsorted_segment_sum(x, rank, tf.shape(x)[0])
    return tf.gather(tf.tanh(moved @ w), rank)


def multiplied_by_rank(x, w):
    rank = tf.cast(tf.argsort(tf.argsort(x[:, 0], stable=True)), tf.int64)
    places = tf.stack([rank, tf.range(tf.shape(x, tf.int64)[0])], 1)
    order = tf.sparse.SparseTensor(places, x[:, 1], tf.cast([tf.shape(x)[0]] * 2, tf.int64))
    moved = tf.sparse.to_dense(tf.sparse.reorder(order))
    return tf.tanh(x @ w) + 0 * tf.reduce_sum(moved)


CONTENTS = [sorted_by_scatter, summed_by_rank, multiplied_by_rank]


def of_two_batches(engine, x, y):
    """Return the norms of rows in the order that is their own, and then of the rows; or None."""
    try:
        in_order = np.argsort(x[:, 0])
        return engine.norms(x[in_order], y[in_order])[np.argsort(in_order)], engine.norms(x, y)
    except ValueError as error:
        assert re.search("another|rows beside it", str(error))  # noqa: PT017 - or no error at all
        return None


@pytest.mark.parametrize("call", CONTENTS)
def test_an_order_that_the_first_batch_had_by_itself_gives_no_wrong_number_later(call):
    x, y = dense_rows(8)
    x = x.astype("float32")
    engine = PerSampleGradients(model_of(call), half_square)
    want = naive_norms(engine.model, half_square, x, y)
    for got in of_two_batches(engine, x, y) or ():
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_a_loop_over_a_variable_alone_is_refused_and_never_ends_the_process():
    """TensorFlow crashes where gradients of many samples go back through such a loop."""
    model = model_of(lambda x, w: x @ tf.linalg.expm(w))
    model.set_weights([5 * w for w in model.get_weights()])
    message = r'"inner_layer/matrix" of layer "inner_layer".*a loop \((Stateless)?While, ".*rounds'
    with pytest.raises(UnsupportedOperation, match=message):
        PerSampleGradients(model, half_square).norms(*dense_rows(32))
