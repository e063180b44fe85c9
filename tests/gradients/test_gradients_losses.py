"""Losses as people have them: names, objects that average, compiled models, the wrong link."""

from __future__ import annotations

import re

import numpy as np
import pytest

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients.link import bounds_of
from helpers.gradients.row_loss import row_loss
from helpers.losses import cross_entropy_loss, squared_error_loss

layers, ops = keras.layers, keras.ops
N = 10


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


def features():
    return np.random.default_rng(0).normal(size=(N, 3)).astype("float32")


def clicks():
    return np.random.default_rng(1).integers(0, 2, N)


def classes():
    return np.random.default_rng(2).integers(0, 4, N)


def numbers():
    return np.random.default_rng(3).normal(size=N).astype("float32")


def network(units=1, activation=None):
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(5, "tanh"), layers.Dense(units, activation)]
    )


def same(model, loss, y, x=None):
    x = features() if x is None else x
    want = naive_norms(model, loss, x, y)
    assert np.median(want) > 0
    got = PerSampleGradients(model, loss).norms(x, y)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * want.max())
    return got


# --- every loss of Keras -----------------------------------------------------------------

CLASS_LOSSES = {
    "CategoricalCrossentropy": lambda: np.eye(4, dtype="float32")[classes()],
    "CategoricalFocalCrossentropy": lambda: np.eye(4, dtype="float32")[classes()],
    "CategoricalGeneralizedCrossEntropy": classes,
    "CategoricalHinge": lambda: np.eye(4, dtype="float32")[classes()],
    "KLDivergence": lambda: np.full((N, 4), 0.25, "float32"),
    "SparseCategoricalCrossentropy": classes,
}
#: What a loss needs of the last layer: units, activation, labels.
NEEDS = {name: (4, "softmax", labels) for name, labels in CLASS_LOSSES.items()} | {
    "BinaryCrossentropy": (1, "sigmoid", clicks),
    "BinaryFocalCrossentropy": (1, "sigmoid", clicks),
    "Poisson": (1, "softplus", clicks),
    "MeanSquaredLogarithmicError": (1, "softplus", clicks),
    "CosineSimilarity": (4, None, lambda: np.random.default_rng(4).normal(size=(N, 4))),
}
#: These look at all rows at once, or at whole sequences.
OF_BATCHES = {"Circle", "Dice", "Tversky", "CTC"}


def keras_losses():
    found = [v for v in vars(keras.losses).values() if isinstance(v, type)]
    return sorted({c.__name__ for c in found if issubclass(c, keras.losses.Loss)} - {"Loss"})


@pytest.mark.parametrize("name", [n for n in keras_losses() if n not in OF_BATCHES])
def test_every_loss_of_keras_is_taken_by_object_name_and_compiled_model(name):
    units, activation, labels = NEEDS.get(name, (1, None, numbers))
    model, y, loss = network(units, activation), labels(), getattr(keras.losses, name)
    by_object = same(model, loss(), y)
    for other in (loss(reduction="sum"), loss(reduction="none"), name):
        np.testing.assert_array_equal(PerSampleGradients(model, other).norms(features(), y),
                                      by_object)  # fmt: skip
    model.compile("sgd", loss())
    np.testing.assert_array_equal(PerSampleGradients(model).norms(features(), y), by_object)


@pytest.mark.parametrize("name", ["Dice", "Tversky", "Circle"])
def test_a_loss_of_whole_batches_is_refused(name):
    y = classes() if name == "Circle" else np.eye(4, dtype="float32")[classes()]
    engine = PerSampleGradients(network(4, "softmax"), getattr(keras.losses, name)())
    with pytest.raises(ValueError, match="one value per row|changes with the rows beside it"):
        engine.norms(features(), y)


def test_ctc_in_double_precision_is_followed():
    """Inside, it is computed in single precision whatever the model is: no reason to refuse."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 8, 3)), rng.integers(1, 4, (6, 3))
    model = keras.Sequential([keras.Input((8, 3)), layers.Dense(5, dtype="float64")])
    same(model, keras.losses.CTC(reduction="none"), y, x)


def test_low_rank_updates_in_another_precision_are_followed():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh", dtype="float64"),
                              layers.Dense(1, dtype="float64")])  # fmt: skip
    model.layers[0].enable_lora(2)
    for v in model.trainable_variables:
        v.assign(np.random.default_rng(0).normal(size=v.shape))
    same(model, squared_error_loss, numbers(), features().astype("float64"))


def test_the_averages_of_a_compiled_model_add_up_to_its_training_gradient():
    """The sum of the rows' gradients is n times that of the loss that Keras minimises."""
    x, y = features(), np.random.default_rng(5).normal(size=(N, 3, 2)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), layers.Reshape((3, 1)), layers.Dense(2)])
    model.compile("sgd", "mse")
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        whole = model.compute_loss(y=tf.constant(y), y_pred=model(x))
    gradient = tape.gradient(whole, variables)
    dots = PerSampleGradients(model).dots(x, y, gradient)
    want = N * sum(float(tf.reduce_sum(g**2)) for g in gradient)
    np.testing.assert_allclose(dots.sum(), want, rtol=1e-4)


def two_outputs(as_list=False):
    x = keras.Input((3,))
    hidden = layers.Dense(4, "tanh")(x)
    a, b = layers.Dense(1, name="a")(hidden), layers.Dense(2, name="b")(hidden)
    return keras.Model(x, [a, b] if as_list else {"a": a, "b": b})


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_several_outputs_add_up_with_their_weights(as_list, weighted):
    model = two_outputs(as_list)
    both = {"a": keras.losses.BinaryCrossentropy(from_logits=True), "b": "mse"}
    factors = {"a": 2.0, "b": 0.3} if weighted else {"a": 1.0, "b": 1.0}
    y = {"a": clicks(), "b": np.random.default_rng(6).normal(size=(N, 2)).astype("float32")}

    def by_hand(y, p):
        first, second = (p[0], p[1]) if as_list else (p["a"], p["b"])
        left, right = (y[0], y[1]) if as_list else (y["a"], y["b"])
        return factors["a"] * cross_entropy_loss(left, first) + factors["b"] * tf.reduce_mean(
            (second - right) ** 2, axis=1
        )

    y = list(y.values()) if as_list else y
    want = PerSampleGradients(model, by_hand).norms(features(), y)
    model.compile("sgd", loss=list(both.values()) if as_list else both,
                  loss_weights=(list(factors.values()) if as_list else factors)
                  if weighted else None)  # fmt: skip
    np.testing.assert_allclose(same(model, None, y), want, rtol=1e-5)
    if not weighted:
        given = list(both.values()) if as_list else both
        np.testing.assert_allclose(same(model, given, y), want, rtol=1e-5)


def test_one_loss_for_several_outputs_is_taken_for_each():
    model = two_outputs()
    y = {"a": numbers(), "b": np.random.default_rng(6).normal(size=(N, 2)).astype("float32")}
    model.compile("sgd", loss={"a": "mse", "b": "mse"})
    want = PerSampleGradients(model).norms(features(), y)
    model.compile("sgd", loss="mse")
    np.testing.assert_allclose(PerSampleGradients(model).norms(features(), y), want, rtol=1e-6)


def test_a_loss_without_its_output_is_named():
    y = {"a": numbers()}
    with pytest.raises(ValueError, match="loss for the output \"b\", but labels for .'a'"):
        PerSampleGradients(two_outputs(), {"a": "mse", "b": "mse"}).norms(features(), y)


def test_a_compiled_function_is_taken_as_keras_wraps_it():
    model = network()
    model.compile("sgd", lambda y, p: (y - p) ** 2)
    want = PerSampleGradients(model, lambda y, p: (y - p[:, 0]) ** 2).norms(features(), numbers())
    np.testing.assert_allclose(same(model, None, numbers()), want, rtol=1e-6)


def test_the_loss_of_the_model_is_left_as_it_is():
    loss = keras.losses.Huber()
    row_loss(network(), loss)
    assert loss.reduction == "sum_over_batch_size"


# --- labels of any type ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bool", "int8", "int64", "uint8", "float16", "float64"])
def test_labels_of_any_type_count_as_numbers(kind):
    model, y = network(), clicks().astype(kind)
    want = PerSampleGradients(model, squared_error_loss).norms(features(), clicks())
    for loss in (squared_error_loss, lambda y, p: (p[:, 0] - y) ** 2 / 2):
        np.testing.assert_allclose(same(model, loss, y), want, rtol=1e-6)


def test_truth_values_stay_such_for_a_loss_that_needs_them():
    def either(y, p):
        return tf.where(y, p[:, 0] ** 2, 3.0 * p[:, 0] ** 2)

    same(network(), either, clicks().astype(bool))


def test_an_error_of_the_loss_is_not_hidden_by_the_labels_type():
    def broken(y, p):
        raise ValueError("no such column")

    with pytest.raises(ValueError, match="does not take these labels: .*no such column"):
        PerSampleGradients(network(), broken).norms(features(), clicks())


# --- probabilities and logits ------------------------------------------------------------

SQUASHERS = {
    "sigmoid": "sigmoid",
    "hard sigmoid": "hard_sigmoid",
    "written out": lambda z: 1 / (1 + ops.exp(-z)),
    "by tanh": lambda z: 0.5 * (ops.tanh(z) + 1),
    "clipped": lambda z: ops.clip(z, 0, 1),
    "by exponent": lambda z: ops.exp(-ops.softplus(z)),
    "reshaped": lambda z: ops.reshape(ops.sigmoid(z), (-1, 1)),
    "mean of two": lambda z: ops.mean(ops.stack([ops.sigmoid(z), ops.sigmoid(2 * z)]), axis=0),
    "product of two": lambda z: ops.sigmoid(z) * ops.sigmoid(z + 1),
    "one minus": lambda z: 1 - ops.sigmoid(z),
}
LOGIT_LOSSES = {
    "the project's": cross_entropy_loss,
    "TensorFlow's": lambda y, p: tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(y, p.dtype), logits=p[:, 0]),
    "softplus": lambda y, p: tf.math.softplus(p[:, 0]) - tf.cast(y, p.dtype) * p[:, 0],
    "log sigmoid": lambda y, p: -tf.cast(y, p.dtype) * tf.math.log_sigmoid(p[:, 0])
    - (1 - tf.cast(y, p.dtype)) * tf.math.log_sigmoid(-p[:, 0]),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOGIT_LOSSES)
@pytest.mark.parametrize("squasher", SQUASHERS)
def test_a_probability_before_a_loss_of_logits_is_refused_with_both_mends(squasher, loss):
    engine = PerSampleGradients(network(1, SQUASHERS[squasher]), LOGIT_LOSSES[loss])
    message = 'is a probability .*Take the activation off .* or give a loss .*"binary_crossentropy"'
    for function in (engine.norms, engine.certify):
        with pytest.raises(ValueError, match=message):
            function(features(), clicks())


def test_classes_that_add_up_to_one_are_refused_before_a_loss_of_logits():
    def softmax(z):
        return ops.exp(z) / ops.sum(ops.exp(z), axis=-1, keepdims=True)

    def loss(y, p):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.cast(y, "int32"), logits=p)

    for activation in ("softmax", softmax):
        with pytest.raises(ValueError, match="is a probability"):
            PerSampleGradients(network(4, activation), loss).norms(features(), classes())
    same(network(4), loss, classes())


@pytest.mark.parametrize(
    "name",
    [
        "BinaryCrossentropy",
        "SparseCategoricalCrossentropy",
        "CategoricalCrossentropy",
        "BinaryFocalCrossentropy",
    ],
)
def test_a_logit_before_a_loss_of_probabilities_is_refused_with_both_mends(name):
    units, _, labels = NEEDS[name]
    engine = PerSampleGradients(network(units), name)
    with pytest.raises(ValueError, match="takes probabilities.*an activation.*from_logits=True"):
        engine.norms(features(), labels())


@pytest.mark.parametrize(
    "activation",
    [None, "relu", "tanh", "softplus", "elu", lambda z: 0.01 * z, lambda z: z / 10,
     lambda z: ops.sigmoid(z) * 4, lambda z: ops.sigmoid(z) - 0.5],
)  # fmt: skip
def test_a_logit_is_taken_for_one_even_where_all_lie_between_0_and_1(activation):
    model = network(1, activation)
    x = np.abs(features())
    for scale in (1.0, 1e-3, 0.0):
        model.layers[-1].kernel.assign(scale * np.abs(model.layers[-1].kernel))
        model.layers[0].kernel.assign(np.abs(model.layers[0].kernel))
        got = PerSampleGradients(model, cross_entropy_loss).norms(x, clicks())
        want = naive_norms(model, cross_entropy_loss, x, clicks())
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * want.max())


def test_a_probability_is_taken_by_losses_that_want_one():
    for loss in ("mse", "mae", "binary_crossentropy", "hinge"):
        same(network(1, "sigmoid"), loss, clicks())


def test_bounds_hold_for_random_functions():
    """Whatever is composed of the functions that are known, no value lies outside of its bounds."""
    rng = np.random.default_rng(0)
    single = [tf.sigmoid, tf.tanh, tf.nn.relu, tf.nn.relu6, tf.exp, tf.abs, tf.square, tf.negative,
              tf.sin, tf.nn.softplus, tf.math.reciprocal, lambda t: tf.clip_by_value(t, -0.5, 2.0),
              lambda t: t * -3.0, lambda t: t + 0.7, lambda t: 2.0 - t, lambda t: t / 4.0,
              lambda t: 1.0 / (2.0 + tf.abs(t)), tf.nn.log_softmax, tf.nn.softmax]  # fmt: skip
    double = [tf.add, tf.subtract, tf.multiply, tf.maximum, tf.minimum, tf.divide]
    finite = 0
    for _ in range(150):
        steps = rng.integers(0, len(single), rng.integers(1, 5)), rng.integers(0, len(double))

        def composed(x, steps=steps):
            first = second = x
            for k, step in enumerate(steps[0]):
                first = single[step](first)
                second = single[steps[0][-1 - k]](second)
            return double[steps[1]](first, second)

        seen = []

        def traced(x):
            value = composed(x)  # noqa: B023 - is called before the next is made
            seen.append(bounds_of(value))  # noqa: B023
            return value

        function = tf.function(traced, autograph=False)
        values = function(tf.constant(rng.normal(0, 3, (40, 5)), tf.float64)).numpy()
        (low, high), known = seen[-1], values[np.isfinite(values)]
        assert not known.size or (low - 1e-9 <= known.min() and known.max() <= high + 1e-9)
        finite += np.isfinite(low) or np.isfinite(high)
    assert finite > 40


# --- errors at run time name the place ---------------------------------------------------


def test_norms_name_rows_without_a_number():
    x = features()
    x[[2, 7]] = np.nan
    engine = PerSampleGradients(network(), squared_error_loss)
    with pytest.warns(RuntimeWarning, match=r"2 of 10 gradient norms .* in rows 2, 7\.") as caught:
        engine.norms(x, numbers())
    assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match=r"in rows 2, 7\.") as caught:
        engine.norms_over(x, numbers(), batch_size=4, progress=False)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_stateful_layer_and_a_fixed_batch_are_refused_by_name():
    stateful = keras.Sequential(
        [keras.Input(batch_shape=(4, 5, 3)), layers.GRU(2, stateful=True), layers.Dense(1)]
    )
    with pytest.raises(ValueError, match='layer "gru.*" is stateful.*stateful=False'):
        PerSampleGradients(stateful, "mse")
    fixed = keras.Sequential([keras.Input(batch_shape=(4, 3)), layers.Dense(2),
                              layers.Lambda(lambda t: tf.reshape(t, [4, 2])),
                              layers.Dense(1)])  # fmt: skip
    with pytest.raises(ValueError, match="batches of 4 rows only.*without batch_size"):
        PerSampleGradients(fixed, "mse").norms(features()[:4], numbers()[:4])
    free = keras.Sequential([keras.Input(batch_shape=(4, 3)), layers.Dense(1)])
    same(free, squared_error_loss, numbers())


def test_every_refusal_of_a_loss_says_what_to_do():
    model = network()
    for loss in ("no such", 3, keras.losses.Huber, keras.metrics.AUC(), None):
        with pytest.raises((TypeError, ValueError)) as raised:
            PerSampleGradients(model, loss)
        assert re.search(r"loss|Call it|give", str(raised.value))
