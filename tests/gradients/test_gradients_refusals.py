"""Where per-sample gradients must refuse: coupled rows, unknown operations, bad input."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from gradient_models import (
    ITEMS,
    click_mlp,
    click_rows,
    cross_entropy,
    deep_sequential,
    dense_rows,
    half_square,
    in_batch_softmax,
    linear,
)

from helpers.backend import keras, tf
from helpers.gradients import (
    PerSampleGradients,
    UnsupportedOperation,
    dense_gradient_norms,
    naive_gradients,
    naive_norms,
)
from helpers.gradients.batches import as_arrays, take_rows

layers, ops = keras.layers, keras.ops


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("factor", [1e-25, 1e-20, 1e20])
def test_norms_whose_squares_do_not_fit_into_single_precision_are_exact(factor):
    x, y = dense_rows(4)
    model = linear()

    def scaled(y, p):
        return factor * half_square(y, p)

    weights = np.array([1.0, -2.0, 0.5, 0.0])
    got = PerSampleGradients(model, scaled).norms(x, y, sample_weight=weights)
    want = np.abs(weights) * naive_norms(model, scaled, x, y)
    np.testing.assert_allclose(got, want, rtol=1e-4)


# --- coupled rows ------------------------------------------------------------------------


def test_a_softmax_over_the_batch_is_refused():
    x, y = dense_rows(8)
    engine = PerSampleGradients(deep_sequential(), in_batch_softmax)
    with pytest.raises(ValueError, match="changes with the rows beside it"):
        engine.certify(x, y)


class CentreByBatch(layers.Layer):
    """What BatchNormalization does in training: each row sees the mean of all rows."""

    def call(self, x):
        return x - ops.mean(x, axis=0)


def test_a_layer_that_averages_over_the_batch_is_refused():
    x, y = dense_rows(8)
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4), CentreByBatch(), layers.Dense(1, name="last")]
    )
    with pytest.raises(ValueError, match="does a layer or the loss average over the batch"):
        PerSampleGradients(model, half_square).certify(x, y)


def test_rows_that_only_lend_each_other_gradients_are_refused_with_the_layer():
    # Each loss is the row's own number, but its gradient is that of the row before it.
    def lent(y, prediction):
        p = tf.reshape(prediction, [-1])
        return tf.stop_gradient(p - tf.roll(p, 1, 0)) + tf.roll(p, 1, 0)

    x, y = dense_rows(8)
    engine = PerSampleGradients(deep_sequential(), lent)
    with pytest.raises(ValueError, match=r'coupled.* at variable ".*/kernel" of layer "dense'):
        engine.certify(x, y)


def test_labels_broadcast_against_predictions_are_refused():
    x, y = dense_rows(8)
    model = linear()
    square = PerSampleGradients(model, lambda y, p: (y - p) ** 2)  # (8,) and (8, 1)
    with pytest.raises(ValueError, match=r"one value per row, shape \(n,\); got \(n, n\)"):
        square.norms(x, y)
    mean = PerSampleGradients(model, lambda y, p: tf.reduce_mean((y - p) ** 2, axis=1))
    with pytest.raises(ValueError, match=r"labels have shape \(n,\) and the predictions \(n, 1\)"):
        mean.certify(x, y)


def mean_over_all_labels(y, p):
    return tf.reduce_mean((y - p) ** 2, axis=1)  # (n,) and (n, 1): every label meets every row


def test_broadcast_labels_are_refused_also_where_half_of_them_have_the_mean_of_all():
    x, _ = dense_rows(8)
    y = np.array([0, 1, 0, 1, 1, 0, 0, 1.0])
    engine = PerSampleGradients(linear(), mean_over_all_labels)
    for function in (engine.norms, engine.certify):
        with pytest.raises(ValueError, match="changes with the rows beside it"):
            function(x, y)


def test_a_first_row_that_fits_almost_perfectly_is_no_coupled_row():
    x, y = (values.astype("float32") for values in dense_rows(64))
    model = keras.Sequential([keras.Input((3,)), layers.Dense(40, "tanh"), layers.Dense(1)])
    y[0] = model(x)[0, 0]  # its error is rounding, another one in a batch of another size
    assert PerSampleGradients(model, half_square).norms(x, y)[0] < 1e-4


def test_a_batch_of_equal_labels_certifies_no_later_batch():
    x, _ = dense_rows(8)
    y = np.repeat([0.0, 1.0], 4)
    engine = PerSampleGradients(linear(), mean_over_all_labels)
    engine.certify(x[:4], y[:4])
    np.testing.assert_allclose(
        engine.norms(x[:4], y[:4]),
        naive_norms(engine.model, mean_over_all_labels, x[:4], y[:4]),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match="changes with the rows beside it"):
        engine.norms(x[2:6], y[2:6])


def coupled_hinge(y, p):
    margins = tf.nn.relu(1 - y * p[:, 0])
    return margins * (1 + tf.reduce_mean(margins))


@pytest.mark.parametrize("factor", [100.0, np.nan])
def test_a_batch_without_gradients_certifies_no_later_batch(factor):
    x, _ = dense_rows(8)
    model = linear()
    y = np.sign(model(x)[:, 0].numpy())
    engine = PerSampleGradients(model, coupled_hinge)
    nothing = contextlib.nullcontext() if factor == 100.0 else pytest.warns(RuntimeWarning)
    with nothing:
        engine.norms(factor * x * y[:, None] * y[:, None], y)
    engine.certify(factor * x, y)
    with pytest.raises(ValueError, match="changes with the rows beside it"):
        engine.norms(x, -y)


def test_dot_products_along_nothing_show_coupled_rows_by_their_losses():
    x, y = dense_rows(8)
    engine = PerSampleGradients(linear(), lambda y, p: (p[:, 0] - tf.reduce_mean(p) - y) ** 2)
    zeros = [np.zeros(v.shape) for v in engine.model.trainable_variables]
    along = [lambda x, y, k=k: engine.dots(x, y, [z + k for z in zeros]) for k in (0, 1)]
    for function in (*along, engine.norms, *along):
        with pytest.raises(ValueError, match="changes with the rows beside it"):
            function(x, y)


def sorted_rows(x, w):
    order = tf.argsort(x[:, 0], stable=True)
    return tf.gather(tf.matmul(tf.gather(x, order), w), tf.argsort(order))


def sorted_entries(x, w):
    flat = tf.reshape(x[:, :, None] * w[0], [-1, 3])
    order = tf.argsort(tf.cast(flat[:, 0] > 0, "int32"), stable=True)
    back = tf.gather(tf.matmul(tf.gather(flat, order), w), tf.argsort(order))
    return tf.reduce_sum(tf.reshape(back, [-1, 3, 3]), axis=1)


def picked_rows(x, w):
    return tf.scatter_nd(tf.where(x[:, 0] > 0), tf.matmul(tf.boolean_mask(x, x[:, 0] > 0), w),
                         tf.shape(x, "int64"))  # fmt: skip


@pytest.mark.parametrize("call", [sorted_rows, sorted_entries, picked_rows])
def test_rows_in_an_order_of_their_contents_are_found_also_where_the_first_batch_had_its_own(call):
    x, y = dense_rows(8)
    engine = PerSampleGradients(Plain(call), half_square)
    engine.norms(np.ones_like(x), y)  # certified on rows that no order could tell apart
    want = naive_norms(engine.model, half_square, x, y)
    np.testing.assert_allclose(engine.norms(x, y), want, rtol=1e-4)


# --- refusals ----------------------------------------------------------------------------


def test_a_reduced_loss_is_refused():
    x, y = dense_rows(4)
    engine = PerSampleGradients(linear(), lambda y, p: tf.reduce_mean(half_square(y, p)))
    with pytest.raises(ValueError, match=r"one value per row, shape \(n,\); got \(\) .*Do not av"):
        engine.norms(x, y)


class Ranked(layers.Layer):
    """Sorts rows of a variable and the row's own entries together: no rule knows how."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

    def call(self, x):
        return ops.cumsum(x, axis=1) + tf.math.atan2(x, self.scale.value)


def test_an_operation_without_a_rule_is_refused_by_variable_layer_and_operation():
    model = keras.Sequential([keras.Input((3,)), Ranked(name="ranked"), layers.Dense(1)])
    x, y = dense_rows(4)
    engine = PerSampleGradients(model, half_square)
    direction = [np.ones(v.shape) for v in model.trainable_variables]
    message = r'ranked/scale" of layer "ranked", read by Atan2 \(".*no rule for Atan2.*rules.py'
    for function in (engine.norms, engine.certify, lambda x, y: engine.dots(x, y, direction)):
        with pytest.raises(UnsupportedOperation, match=message):
            function(x, y)


def test_a_loop_of_ones_own_is_refused_with_what_to_do():
    class Loop(layers.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(3, 3), name="matrix", initializer="normal")

        def call(self, x):
            step = lambda k, h: (k + 1, tf.tanh(tf.matmul(h, self.matrix.value)))  # noqa: E731
            most = tf.cast(tf.reduce_max(tf.abs(x)), tf.int32) + 1
            return tf.while_loop(lambda k, h: k < most, step, (0, x))[1]

    model = keras.Sequential([keras.Input((3,)), Loop(name="loop"), layers.Dense(1)])
    with pytest.raises(UnsupportedOperation, match=r'layer "loop".*write a loop of your own out'):
        PerSampleGradients(model, half_square).norms(*dense_rows(4))


class Plain(keras.Model):
    """One matrix, used as a function says; and a dense layer after it, which is no obstacle."""

    def __init__(self, call):
        super().__init__()
        self.last, self._call = layers.Dense(1), call

    def build(self, shape):
        self.matrix = self.add_weight(shape=(3, 3), name="matrix", initializer="glorot_normal")
        self.last.build((None, 3))

    def call(self, x):
        return self.last(self._call(x, self.matrix.value))


def spectrum(x, w):
    product = tf.signal.rfft(x) * tf.signal.rfft(w[0])
    return tf.signal.irfft(product, [3])


HIDDEN = {
    "rows in a loop": lambda x, w: tf.map_fn(lambda row: tf.linalg.matvec(w, row), x),
    "weights in a list": lambda x, w: tf.transpose(
        tf.map_fn(lambda row: tf.linalg.matvec(x, row), w, fn_output_signature=x.dtype)
    ),
    "weights in a scan": lambda x, w: tf.scan(lambda h, row: h * row, w, initializer=x)[-1],
    "an array of tensors": lambda x, w: x * tf.TensorArray(x.dtype, 3).unstack(w).gather([1])[0],
    "complex numbers": spectrum,
    "a branch": lambda x, w: tf.cond(tf.reduce_sum(w) > 9, lambda: x, lambda: tf.matmul(x, w)),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_weights_that_hide_in_lists_loops_or_complex_numbers_are_followed_or_refused(name):
    x, y = dense_rows(4)
    model = Plain(HIDDEN[name])
    want = naive_norms(model, half_square, x, y)
    refused = ""
    try:
        got = PerSampleGradients(model, half_square).norms(x, y)
    except UnsupportedOperation as refusal:
        refused, got = str(refusal), want
    assert not refused or "/matrix" in refused
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_weights_of_a_size_that_is_not_known_yet_are_refused():
    model = Plain(lambda x, w: tf.matmul(x, tf.math.segment_sum(tf.transpose(w), [0, 1, 2])))
    with pytest.raises(UnsupportedOperation, match=r"/matrix.*shape \(None, 3\) is not known"):
        PerSampleGradients(model, half_square).norms(*dense_rows(4))


@pytest.mark.parametrize("rows", [tf.ragged.constant([[1.0], [2.0, 3.0]]), tf.sparse.eye(2)])
def test_rows_that_are_not_dense_are_refused(rows):
    dataset = tf.data.Dataset.from_tensor_slices((rows, np.zeros(2))).batch(2)
    engine = PerSampleGradients(linear(), half_square)
    with pytest.raises(TypeError, match="Rows must be dense arrays; got a .*Tensor"):
        engine.norms(rows, np.zeros(2))
    with pytest.raises(ValueError, match="must yield dense tensors; it yields a .*Tensor"):
        engine.norms_over(dataset)


def test_a_dataset_of_single_rows_is_refused():
    dataset = tf.data.Dataset.from_tensor_slices(dense_rows(4))
    with pytest.raises(ValueError, match=r"yields single rows; call batch\(...\)"):
        PerSampleGradients(linear(), half_square).norms_over(dataset)


def test_a_size_that_is_not_known_yet_is_explained():
    model = Plain(lambda x, w: tf.matmul(x, w) + tf.zeros([x.shape[0], 3]))
    with pytest.raises(ValueError, match=r"write tf.shape\(x\)\[0\] where x.shape\[0\] stands"):
        PerSampleGradients(model, half_square).norms(*dense_rows(4))


def test_a_gradient_of_ones_own_is_refused():
    @tf.custom_gradient
    def doubled(x, w):
        return x * w, lambda upstream: (upstream * w, tf.reduce_sum(2 * upstream * x, axis=0))

    class Doubled(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

        def call(self, x):
            return doubled(x, self.scale.value)

    model = keras.Sequential([keras.Input((3,)), Doubled(name="own"), layers.Dense(1)])
    with pytest.raises(UnsupportedOperation, match=r'layer "own", read by IdentityN'):
        PerSampleGradients(model, half_square).norms(*dense_rows(4))


def test_time_before_rows_is_followed_if_it_ends_before_the_rows_do():
    def time_first(x):
        return tf.reshape(tf.transpose(tf.reshape(x, [-1, 3, 1]), [1, 0, 2]), [-1, 1])

    def rows_first(x):
        return tf.transpose(tf.reshape(x, [3, -1]))

    model = keras.Sequential(
        [keras.Input((3,)), layers.Lambda(time_first), layers.Dense(1, name="late"),
         layers.Lambda(rows_first)]
    )  # fmt: skip

    def loss(y, p):
        return tf.reduce_sum(p**2, axis=1)

    x, y = dense_rows(4)
    got = PerSampleGradients(model, loss).norms(x, y)
    np.testing.assert_allclose(got, naive_norms(model, loss, x, y), rtol=1e-4)
    model.layers[-1].function = lambda x: tf.reshape(x, [-1, 3])  # takes other rows together
    engine = PerSampleGradients(model, loss)
    for function in (engine.norms, engine.certify):
        with pytest.raises(ValueError, match="changes with the rows beside it"):
            function(x, y)


def test_a_loss_without_trainable_variables_is_refused():
    x, y = dense_rows(4)
    model = linear()
    message = "does not depend on any trainable variable"
    with pytest.raises(ValueError, match=message):
        PerSampleGradients(model, lambda y, p: tf.cast(y, "float32")).norms(x, y)
    with pytest.raises(ValueError, match=message):
        PerSampleGradients(model, lambda y, p: half_square(y, tf.stop_gradient(p))).norms(x, y)
    with pytest.raises(ValueError, match=message):
        naive_norms(model, lambda y, p: half_square(y, p.numpy()), x, y)


def test_rows_that_do_not_match_are_refused():
    x, y = click_rows(4)
    engine = PerSampleGradients(click_mlp(), cross_entropy)
    for function in (engine.norms, engine.certify, engine.norms_over):
        with pytest.raises(ValueError, match=r'same number of rows; input "dense" has shape \(4'):
            function(x, y[:3])
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\), y has shape \(\)"):
        as_arrays(x["dense"], np.array(1.0))
    with pytest.raises(ValueError, match="no rows"):
        engine.norms_over(*(take_rows(x, slice(0, 0)), y[:0]))


def test_what_is_no_model_or_no_loss_is_refused():
    model = linear()
    with pytest.raises(TypeError, match="model must be a Keras model or layer; got function"):
        PerSampleGradients(lambda x: x, half_square)
    with pytest.raises(TypeError, match="got the metric auc.* sums up many rows"):
        PerSampleGradients(model, keras.metrics.AUC(name="auc"))
    with pytest.raises(TypeError, match=r"got the class MeanSquaredError. Call it: .*\(\)"):
        PerSampleGradients(model, keras.losses.MeanSquaredError)
    with pytest.raises(ValueError, match='no loss "mean_square". Did you mean "mean_squared'):
        PerSampleGradients(model, "mean_square")
    with pytest.raises(ValueError, match="has not been compiled with a loss: give the loss"):
        PerSampleGradients(model)
    x, y = dense_rows(4)
    accuracy = PerSampleGradients(
        model, lambda y, p: tf.cast(tf.equal(p[:, 0] > 0, y > 0.5), p.dtype)
    )
    with pytest.raises(ValueError, match="does not depend on any .*such as accuracy has no grad"):
        accuracy.norms(x, y)
    whole = PerSampleGradients(model, keras.losses.MeanSquaredError(reduction="none"))
    np.testing.assert_allclose(
        whole.norms(x, y[:, None]),
        2 * PerSampleGradients(model, half_square).norms(x, y),
        rtol=1e-5,
    )


def test_a_model_that_cannot_be_built_or_called_on_the_rows_is_refused():
    x, y = click_rows(4)
    engine = PerSampleGradients(click_mlp(), cross_entropy)
    with pytest.raises(
        ValueError, match="The model does not take these inputs: .*item.* has shape"
    ):
        engine.norms({k: v for k, v in x.items() if k != "recent"}, y)
    with pytest.raises(
        ValueError, match=r"The model does not take these inputs: x has shape \(n, 5"
    ):
        PerSampleGradients(deep_sequential(), half_square).norms(np.ones((4, 5)), y)

    class Broken(keras.Model):
        def build(self, shape):
            raise RuntimeError("no such size")

    with pytest.raises(ValueError, match="cannot be built on these inputs. RuntimeError: no such"):
        PerSampleGradients(Broken(), half_square).norms(np.ones((4, 3)), y)


def test_an_unbuilt_model_is_built():
    x, y = dense_rows(4)
    model = keras.Sequential([layers.Dense(2), layers.Dense(1)])
    got = PerSampleGradients(model, half_square).norms(x, y)
    np.testing.assert_allclose(got, naive_norms(model, half_square, x, y), rtol=1e-4)


def test_labels_of_the_wrong_shape_are_refused_with_the_shapes():
    x, y = dense_rows(4)
    engine = PerSampleGradients(linear(), lambda y, p: (y[:, 1] - p[:, 0]) ** 2)
    with pytest.raises(ValueError, match=r"does not take these labels: y has shape \(n,\) .*pred"):
        engine.norms(x, y)
    each = PerSampleGradients(linear(), lambda y, p: (y[:, None] - p) ** 2)
    with pytest.raises(ValueError, match=r"one value per row, shape \(n,\); got \(n, 1\)"):
        each.norms(x, y)


def test_whole_numbers_for_a_model_of_fractions_are_taken_as_such():
    rows = np.arange(12).reshape(4, 3)
    y = np.array([0, 1, 1, 0])
    for model in (linear(), deep_sequential()):
        engine = PerSampleGradients(model, cross_entropy)
        want = naive_norms(model, cross_entropy, rows.astype("float32"), y)
        np.testing.assert_allclose(engine.norms(rows, y), want, rtol=1e-4)


def test_rows_coupled_in_pairs_with_neighbours_or_with_their_place_are_refused():
    def pairs(y, p):
        z = tf.reshape(p, [-1, 2])
        return tf.reshape(tf.repeat(tf.square(z[:, 0] - z[:, 1]), 2), [-1])

    def neighbours(y, p):
        return half_square(y, p + 0.1 * tf.roll(p, 1, 0))

    def places(y, p):
        z = tf.reshape(p, [-1])
        return half_square(y, p) * tf.cast(tf.range(1, tf.size(z) + 1), z.dtype)

    def stopped(y, p):  # the other rows are seen, but no gradient flows to them
        return half_square(y, p - tf.stop_gradient(tf.reduce_mean(p)))

    x, y = dense_rows(8)
    for loss in (pairs, neighbours, places, stopped):
        engine = PerSampleGradients(deep_sequential(), loss)
        direction = [np.ones(v.shape) for v in engine.model.trainable_variables]
        for function in (
            engine.norms,
            engine.certify,
            lambda x, y, e=engine, d=direction: e.dots(x, y, d),
        ):
            with pytest.raises(ValueError, match="coupled|changes with the rows beside it"):
                function(x, y)


@pytest.mark.parametrize("layer", ["BatchNormalization", "Dropout"])
def test_layers_in_training_mode_are_refused(layer):
    class Training(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.Dense(4), layers.Dense(1)
            self.middle = getattr(layers, layer)(**({"rate": 0.5} if layer == "Dropout" else {}))

        def call(self, x, training=False):
            return self.last(self.middle(self.first(x), training=True))

    x, y = dense_rows(8)
    message = "changes with the rows beside it|coupled|mixes the rows"
    with pytest.raises((ValueError, UnsupportedOperation), match=message):
        PerSampleGradients(Training(), half_square).norms(x, y)


def test_small_numbers_that_make_no_sense_are_refused():
    x, y = dense_rows(4)
    model = linear()
    engine = PerSampleGradients(model, half_square)
    with pytest.raises(ValueError, match="batch_size must be at least 1 row; got 0"):
        engine.norms_over(x, y, batch_size=0)
    with pytest.raises(ValueError, match="certify needs at least 2 rows"):
        engine.certify(x[:1], y[:1])
    with pytest.raises(ValueError, match=r"row must be in \[0, 3\]; got 4"):
        naive_gradients(model, half_square, x, y, 4)
    with pytest.raises(
        ValueError, match=r"loss of one row must be one number; it has shape \(1, 3"
    ):
        naive_norms(model, lambda y, p: p * tf.ones((1, 3)), x, y)


def test_a_direction_of_the_wrong_shape_is_refused():
    engine = PerSampleGradients(linear(), half_square)
    with pytest.raises(ValueError, match=r"variables, \[\(3, 1\), \(1,\)\]; got \[\(3,\), \(1,\)"):
        engine.dots(*dense_rows(4), [np.ones(3), np.ones(1)])


def test_dense_gradient_norms_refuse_flat_or_unequal_arrays():
    with pytest.raises(ValueError, match=r"errors must be 2-D.*got shape \(4,\)"):
        dense_gradient_norms(np.ones((4, 2)), np.ones(4))
    with pytest.raises(ValueError, match="same rows; got 4 and 3"):
        dense_gradient_norms(np.ones((4, 2)), np.ones((3, 1)))


def test_an_id_outside_of_its_table_is_refused():
    x, y = click_rows(4)
    x["item"][2] = ITEMS + 5
    with pytest.raises(ValueError, match=r"computed at mlp.*items.*: .*17 is not in \[0, 12\)"):
        PerSampleGradients(click_mlp(), cross_entropy).norms(x, y)
