"""The losses against TensorFlow, finite differences, hand-worked numbers and their own laws."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from helpers import losses
from helpers.backend import keras, tf
from helpers.losses import (
    cross_entropy,
    cross_entropy_by_logit,
    cross_entropy_by_probability,
    cross_entropy_from_probability,
    cross_entropy_loss,
    half_squared_error,
    half_squared_error_by_logit,
    half_squared_error_by_prediction,
    linear_gradient,
    logistic_gradient,
    mean_cross_entropy,
    mean_gradient,
    mean_half_squared_error,
    sample_gradients,
    sigmoid,
    squared_error_loss,
)

# Four houses: area in 100 m2, price in million yuan. At w = 1, b = 0 a price is the area.
AREA = np.array([0.5, 1.0, 1.5, 2.0])
PRICE = np.array([1.5, 2.0, 3.5, 4.0])

VECTOR_LOSSES = [
    half_squared_error,
    half_squared_error_by_prediction,
    half_squared_error_by_logit,
    mean_half_squared_error,
    cross_entropy,
    cross_entropy_by_logit,
    cross_entropy_from_probability,
    cross_entropy_by_probability,
    mean_cross_entropy,
]
LABELS_ARE_PROBABILITIES = [
    half_squared_error_by_logit,
    cross_entropy,
    cross_entropy_by_logit,
    cross_entropy_from_probability,
    cross_entropy_by_probability,
    mean_cross_entropy,
]
PER_SAMPLE = [f for f in VECTOR_LOSSES if not f.__name__.startswith("mean_")]
TENSOR_LOSSES = [squared_error_loss, cross_entropy_loss]


def draw(n=200, seed=0):
    """Return labels in {0, 1} and logits between about -9 and 9."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n).astype(float), rng.normal(scale=3.0, size=n)


def slope(function, at, step=1e-5):
    """Return the central difference quotient of a function of one vector, entry by entry."""
    return (function(at + step) - function(at - step)) / (2 * step)


# ---------------------------------------------------------------- hand-worked numbers


def test_half_squared_error_of_the_four_houses_is_what_one_gets_by_hand():
    errors = [1, 1, 2, 2]  # million yuan too low at w = 1, b = 0
    np.testing.assert_array_equal(half_squared_error(PRICE, AREA), [e * e / 2 for e in errors])
    assert mean_half_squared_error(PRICE, AREA) == (0.5 + 0.5 + 2 + 2) / 4


def test_linear_gradient_of_the_four_houses_is_what_one_gets_by_hand():
    got = linear_gradient(AREA[:, None], PRICE, [1.0], 0.0)
    by_weight = -(1 * 0.5 + 1 * 1 + 2 * 1.5 + 2 * 2) / 4
    by_bias = -(1 + 1 + 2 + 2) / 4
    np.testing.assert_allclose(got, [by_weight, by_bias], rtol=1e-15)


def test_linear_gradient_vanishes_at_the_least_squares_line():
    line = np.linalg.lstsq(np.column_stack([AREA, np.ones(4)]), PRICE, rcond=None)[0]
    np.testing.assert_allclose(line, [1.8, 0.5], rtol=1e-12)
    gradient = linear_gradient(AREA[:, None], PRICE, line[:1], line[1])
    np.testing.assert_allclose(gradient, 0, atol=1e-14)


def test_cross_entropy_at_even_odds_is_log_two_for_both_labels():
    np.testing.assert_allclose(cross_entropy([0, 1], [0, 0]), np.log(2), rtol=1e-15)


def test_cross_entropy_of_three_to_one_odds_is_the_log_of_the_share_given_to_the_label():
    logit = np.full(2, np.log(3))  # p = 3/4
    np.testing.assert_allclose(cross_entropy([1, 0], logit), np.log([4 / 3, 4]), rtol=1e-15)


def test_cross_entropy_of_a_soft_label_is_smallest_at_that_probability():
    logits = np.linspace(-4, 4, 8001)
    best = logits[cross_entropy(np.full_like(logits, 0.25), logits).argmin()]
    assert best == pytest.approx(np.log(1 / 3), abs=5e-4)


# ---------------------------------------------------------------- independent oracles


def test_losses_match_tensorflow_in_float64():
    y, z = draw()
    want = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=z).numpy()
    np.testing.assert_allclose(cross_entropy(y, z), want, rtol=1e-13)
    np.testing.assert_allclose(sigmoid(z), expit(z), rtol=1e-14)


def test_reduced_losses_match_keras_whose_squared_error_has_no_half():
    y, z = draw()
    p = sigmoid(z)
    mse = keras.losses.MeanSquaredError(dtype="float64")(y[:, None], p[:, None])
    from_logits = keras.losses.BinaryCrossentropy(from_logits=True, dtype="float64")
    from_probability = keras.losses.BinaryCrossentropy(dtype="float64")
    np.testing.assert_allclose(2 * mean_half_squared_error(y, p), mse, rtol=1e-12)
    np.testing.assert_allclose(mean_cross_entropy(y, z), from_logits(y[:, None], z[:, None]))
    np.testing.assert_allclose(
        cross_entropy_from_probability(y, p).mean(),
        from_probability(y[:, None], p[:, None]),
        rtol=1e-6,  # Keras clips p at 1e-7
    )


def test_derivatives_match_central_differences():
    y, z = draw()
    p = sigmoid(z / 3)
    pairs = [
        (half_squared_error_by_prediction(y, z), slope(lambda a: half_squared_error(y, a), z)),
        (
            half_squared_error_by_logit(y, z),
            slope(lambda a: half_squared_error(y, sigmoid(a)), z),
        ),
        (cross_entropy_by_logit(y, z), slope(lambda a: cross_entropy(y, a), z)),
        (
            cross_entropy_by_probability(y, p),
            slope(lambda a: cross_entropy_from_probability(y, a), p),
        ),
    ]
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("gradient", "loss"),
    [(linear_gradient, mean_half_squared_error), (logistic_gradient, mean_cross_entropy)],
)
def test_gradients_by_weight_match_central_differences(gradient, loss):
    rng = np.random.default_rng(1)
    x, w, b = rng.normal(size=(30, 3)), rng.normal(size=3), 0.3
    y = rng.integers(0, 2, 30).astype(float)

    def at(theta):
        return loss(y, x @ theta[:3] + theta[3])

    theta, step = np.append(w, b), 1e-5
    want = [(at(theta + step * e) - at(theta - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(gradient(x, y, w, b), want, rtol=1e-7)


@pytest.mark.parametrize(
    ("gradient", "loss"),
    [(linear_gradient, squared_error_loss), (logistic_gradient, cross_entropy_loss)],
)
def test_gradients_by_weight_match_a_gradient_tape(gradient, loss):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 2)), rng.integers(0, 2, 20)
    w, b = tf.Variable([[0.5], [-1.0]], dtype=tf.float64), tf.Variable(0.25, dtype=tf.float64)
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(loss(y, x @ w + b))
    by_w, by_b = tape.gradient(value, [w, b])
    want = np.append(by_w, by_b)
    np.testing.assert_allclose(gradient(x, y, [0.5, -1.0], 0.25), want, rtol=1e-12)


def test_sample_gradients_match_explicit_products_and_average_to_the_mean_gradient():
    rng = np.random.default_rng(3)
    x, errors = rng.normal(size=(6, 2)), rng.normal(size=6)
    want = [e * np.array([*row, 1.0]) for row, e in zip(x, errors, strict=True)]
    np.testing.assert_allclose(sample_gradients(x, errors), want, rtol=1e-15)
    np.testing.assert_allclose(mean_gradient(x, errors), np.sum(want, axis=0) / 6, rtol=1e-14)


def test_norm_of_a_sample_gradient_is_surprise_times_leverage():
    y, z = draw(50)
    x = np.random.default_rng(4).normal(size=(50, 3))
    norms = np.linalg.norm(sample_gradients(x, cross_entropy_by_logit(y, z)), axis=1)
    leverage = np.sqrt((x**2).sum(axis=1) + 1)  # the 1 is the bias
    np.testing.assert_allclose(norms, np.abs(expit(z) - y) * leverage, rtol=1e-12)


# ---------------------------------------------------------------- extreme logits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand_are_exact_for_both_labels(dtype):
    y, z = np.array([0, 1, 0, 1], dtype), np.array([1e4, 1e4, -1e4, -1e4], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_array_equal(cross_entropy(y, z), np.array([1e4, 0, 0, 1e4], dtype))
        np.testing.assert_array_equal(cross_entropy_by_logit(y, z), np.array([1, 0, 0, -1], dtype))
        np.testing.assert_array_equal(half_squared_error_by_logit(y, z), np.zeros(4, dtype))
        np.testing.assert_array_equal(sigmoid(z), np.array([1, 1, 0, 0], dtype))


def test_tensor_cross_entropy_and_its_gradient_hold_at_ten_thousand():
    z = tf.constant([1e4, 1e4, -1e4, -1e4])
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = cross_entropy_loss([0, 1, 0, 1], z)
    np.testing.assert_array_equal(loss, [1e4, 0, 0, 1e4])
    np.testing.assert_array_equal(tape.gradient(loss, z), [1, 0, 0, -1])


def test_slope_of_an_almost_certain_right_answer_keeps_its_digits():
    # 1 - sigmoid(40) is 0 in float64; the true slope is -exp(-40) to 17 digits.
    np.testing.assert_allclose(cross_entropy_by_logit([1], [40]), [-np.exp(-40)], rtol=1e-15)
    np.testing.assert_allclose(cross_entropy([1], [40]), [np.exp(-40)], rtol=1e-15)


def test_probability_form_is_infinite_at_certain_mistakes_and_zero_at_certain_truths():
    y, p = [1, 0, 1, 0, 0.5], [0, 1, 1, 0, 1]
    np.testing.assert_array_equal(
        cross_entropy_from_probability(y, p), [np.inf, np.inf, 0, 0, np.inf]
    )
    np.testing.assert_array_equal(
        cross_entropy_by_probability(y, p), [-np.inf, np.inf, -1, 1, np.inf]
    )


# ---------------------------------------------------------------- laws (properties)

finite = st.floats(-1e4, 1e4)
unit = st.floats(0, 1)
sizes = st.shared(st.integers(1, 20), key="n")


def vectors(elements):
    return sizes.flatmap(lambda n: arrays(np.float64, n, elements=elements))


@given(vectors(unit), vectors(finite))
@settings(deadline=None)
def test_losses_are_never_negative_and_their_mean_is_the_reduced_form(y, z):
    for each, reduced in [
        (half_squared_error, mean_half_squared_error),
        (cross_entropy, mean_cross_entropy),
    ]:
        values = each(y, z)
        assert (values >= 0).all()
        np.testing.assert_allclose(values.sum() / len(y), reduced(y, z), rtol=1e-12)


@given(vectors(unit), vectors(st.floats(-30, 30)))
@settings(deadline=None)
def test_logit_and_probability_forms_agree(y, z):
    got = cross_entropy_from_probability(y, sigmoid(z))
    # 1 - p rounds near 1: an absolute error of exp(30) * 1e-16 at most
    np.testing.assert_allclose(got, cross_entropy(y, z), rtol=1e-9, atol=5e-3)


@given(vectors(unit), vectors(finite))
@settings(deadline=None)
def test_slope_of_cross_entropy_is_probability_minus_label(y, z):
    np.testing.assert_allclose(cross_entropy_by_logit(y, z), expit(z) - y, atol=1e-15)


@given(vectors(unit), vectors(finite), vectors(finite), st.floats(0, 1))
@settings(deadline=None)
def test_both_losses_are_convex_along_the_prediction(y, a, b, share):
    middle = share * a + (1 - share) * b
    for loss in (half_squared_error, cross_entropy):
        chord = share * loss(y, a) + (1 - share) * loss(y, b)
        assert (loss(y, middle) <= chord * (1 + 1e-12) + 1e-9).all()


@given(vectors(unit), vectors(finite))
@settings(deadline=None)
def test_flipping_label_and_logit_changes_no_cross_entropy_and_turns_its_slope(y, z):
    y = np.round(y * 1024) / 1024  # so that 1 - y is exact
    np.testing.assert_array_equal(cross_entropy(y, z), cross_entropy(1 - y, -z))
    np.testing.assert_array_equal(cross_entropy_by_logit(y, z), -cross_entropy_by_logit(1 - y, -z))


@pytest.mark.parametrize("function", PER_SAMPLE)
def test_a_sample_keeps_its_number_when_the_rows_are_permuted(function):
    y, z = draw(40)
    p = sigmoid(z)  # valid as a prediction, a logit and a probability
    order = np.random.default_rng(5).permutation(40)
    np.testing.assert_array_equal(function(y, p)[order], function(y[order], p[order]))


# ---------------------------------------------------------------- types


@pytest.mark.parametrize("function", VECTOR_LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_type_of_the_input_is_the_type_of_the_result(function, dtype):
    y, p = np.array([0, 1], np.int8), np.array([0.25, 0.5], dtype)
    assert function(y, p).dtype == dtype
    assert function(y.astype(dtype), p).dtype == dtype


def test_whole_numbers_and_booleans_are_computed_in_float64():
    assert half_squared_error([1, 2], [3, 5]).dtype == np.float64
    np.testing.assert_array_equal(half_squared_error(np.array([True, False]), [0, 1]), [0.5, 0.5])


def test_float32_inputs_give_float32_gradients():
    x, w = np.ones((3, 2), np.float32), np.zeros(2, np.float32)
    y = np.array([0, 1, 1], np.float32)
    assert linear_gradient(x, y, w, 0.5).dtype == np.float32
    assert logistic_gradient(x, y, w, 0.5).dtype == np.float32


def test_losses_change_none_of_their_inputs():
    y, z = draw(10)
    p = sigmoid(z)
    kept = y.copy(), p.copy()
    for function in VECTOR_LOSSES:
        function(y, p)
    np.testing.assert_array_equal((y, p), kept)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("function", VECTOR_LOSSES)
@pytest.mark.parametrize(
    ("y_shape", "p_shape"),
    [((3,), (3, 1)), ((3, 1), (3,)), ((3, 1), (3, 1)), ((3,), (1,)), ((3,), (4,)), ((3,), ())],
)
def test_shapes_that_could_broadcast_are_refused(function, y_shape, p_shape):
    with pytest.raises(ValueError, match="one number a sample"):
        function(np.full(y_shape, 0.5), np.full(p_shape, 0.5))


@pytest.mark.parametrize("function", VECTOR_LOSSES)
def test_no_samples_are_refused(function):
    with pytest.raises(ValueError, match="at least one sample"):
        function([], [])


@pytest.mark.parametrize("function", VECTOR_LOSSES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_located(function, bad):
    with pytest.raises(ValueError, match=r"y must be finite; y\[1\]"):
        function([1.0, bad], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"must be finite; \w+\[0\]"):
        function([1.0, 0.0], [bad, 0.5])


@pytest.mark.parametrize("function", LABELS_ARE_PROBABILITIES)
@pytest.mark.parametrize("bad", [-1.0, 2.0, 1.0001])
def test_labels_outside_zero_and_one_are_refused(function, bad):
    with pytest.raises(ValueError, match=r"every label must be in \[0, 1\]; number 1"):
        function([0.0, bad], [0.5, 0.5])


def test_probabilities_outside_zero_and_one_are_refused():
    for function in (cross_entropy_from_probability, cross_entropy_by_probability):
        with pytest.raises(ValueError, match=r"every probability must be in \[0, 1\]"):
            function([1.0], [1.5])


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="must be numbers"):
        half_squared_error(["a"], [1.0])
    with pytest.raises(ValueError, match="must be numbers"):
        sigmoid(["a"])


def test_gradients_refuse_inputs_that_do_not_fit():
    with pytest.raises(ValueError, match=r"shape \(2, d\)"):
        sample_gradients([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"shape \(2, d\)"):
        sample_gradients(np.ones((3, 1)), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        linear_gradient(1.0, [1.0], [1.0])
    with pytest.raises(ValueError, match="one weight a feature"):
        linear_gradient(np.ones((2, 3)), [1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="one bias"):
        logistic_gradient(np.ones((2, 1)), [1.0, 0.0], [1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"inputs\[1, 0\] is nan"):
        linear_gradient([[1.0], [np.nan]], [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="one number a sample"):
        linear_gradient(np.ones((2, 1)), np.ones((2, 1)), [1.0])


# ---------------------------------------------------------------- TensorFlow forms

NUMPY_FORM = {squared_error_loss: half_squared_error, cross_entropy_loss: cross_entropy}


@pytest.mark.parametrize("loss", TENSOR_LOSSES)
@pytest.mark.parametrize("y_shape", [(5,), (5, 1)])
@pytest.mark.parametrize("p_shape", [(5,), (5, 1)])
@pytest.mark.parametrize("graph", [False, True])
def test_tensor_losses_equal_the_numpy_forms_and_are_never_reduced(loss, y_shape, p_shape, graph):
    y, z = draw(5)
    call = tf.function(loss) if graph else loss
    got = call(y.reshape(y_shape), tf.constant(z.reshape(p_shape)))
    assert got.shape == (5,)
    assert got.dtype == tf.float64
    np.testing.assert_allclose(got, NUMPY_FORM[loss](y, z), rtol=1e-13)


@pytest.mark.parametrize("loss", TENSOR_LOSSES)
def test_tensor_losses_take_whole_labels_and_the_predictions_type(loss):
    got = loss(np.array([0, 1], np.int8), tf.constant([[0.5], [-0.5]], tf.float32))
    assert got.dtype == tf.float32


@pytest.mark.parametrize("loss", TENSOR_LOSSES)
def test_tensor_losses_give_each_row_its_own_gradient(loss):
    y, z = draw(6)
    logit = tf.constant(z[:, None])
    with tf.GradientTape() as tape:
        tape.watch(logit)
        value = loss(y, logit)
    by_row = {
        squared_error_loss: half_squared_error_by_prediction,
        cross_entropy_loss: cross_entropy_by_logit,
    }
    got = tape.gradient(value, logit).numpy()[:, 0]
    np.testing.assert_allclose(got, by_row[loss](y, z), rtol=1e-12)


@pytest.mark.parametrize("loss", TENSOR_LOSSES)
@pytest.mark.parametrize(
    ("y_shape", "p_shape", "message"),
    [
        ((4,), (4, 2), "one number a sample"),
        ((4, 4), (4, 1), "one number a sample"),
        ((), (4,), "one number a sample"),
        ((4,), (4, 1, 1), "one number a sample"),
        ((1,), (4,), "as many labels as predictions"),
        ((4,), (1, 1), "as many labels as predictions"),
        ((3,), (4, 1), "as many labels as predictions"),
    ],
)
def test_tensor_losses_refuse_what_would_broadcast_when_traced(loss, y_shape, p_shape, message):
    signature = [tf.TensorSpec(y_shape), tf.TensorSpec(p_shape)]
    with pytest.raises(ValueError, match=message):
        tf.function(loss).get_concrete_function(*signature)
    with pytest.raises(ValueError, match=message):
        loss(tf.zeros(y_shape), tf.zeros(p_shape))


@pytest.mark.parametrize("loss", TENSOR_LOSSES)
def test_tensor_losses_refuse_an_unknown_rank_or_width(loss):
    for shape in (None, (None, None)):
        with pytest.raises(ValueError, match="one number a sample"):
            tf.function(loss).get_concrete_function(tf.TensorSpec([None]), tf.TensorSpec(shape))


@pytest.mark.parametrize("loss", TENSOR_LOSSES)
@pytest.mark.parametrize("compiled", [False, True])
def test_tensor_losses_fail_when_a_batch_of_unknown_size_would_broadcast(loss, compiled):
    open_size = [tf.TensorSpec([None]), tf.TensorSpec([None, 1])]
    traced = tf.function(loss, input_signature=open_size, jit_compile=compiled)
    assert traced(tf.zeros(3), tf.zeros((3, 1))).shape == (3,)
    for labels, predictions in [(1, 3), (3, 1)]:
        with pytest.raises(tf.errors.InvalidArgumentError, match="must match"):
            traced(tf.zeros(labels), tf.zeros((predictions, 1)))


@pytest.mark.parametrize("loss", TENSOR_LOSSES)
def test_tensor_losses_refuse_whole_predictions(loss):
    with pytest.raises(ValueError, match="floating"):
        loss([0, 1], tf.constant([0, 1]))


# ---------------------------------------------------------------- the module itself


def test_numpy_part_needs_no_tensorflow():
    code = "import sys, helpers.losses; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_exists_and_is_documented():
    for name in losses.__all__:
        assert getattr(losses, name).__doc__
