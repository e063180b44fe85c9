"""What the article's lines really do under today's TensorFlow and Keras.

Notebook 04 quotes these. Each test runs one line as the article has it, states what
happens, and shows the line that does what was meant. If a new version of TensorFlow
changes one of them, this file says so before a reader does.
"""

from __future__ import annotations

import numpy as np
import pytest

from helpers.backend import keras, tf

FEATURES = 3


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    built = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    built.compile(optimizer="sgd", loss="mse")
    return built


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, FEATURES)).astype("float32")
    return x, rng.normal(size=6).astype("float32")


def right_gradients(model, x, y, i):
    """Return what was meant: the gradient of one sample's loss by the parameters."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(y[i : i + 1, None] - model(x[i : i + 1], training=False)))
    return [g.numpy() for g in tape.gradient(loss, [v.value for v in model.trainable_variables])]


def test_the_article_s_way_to_declare_the_inputs_warns():
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        keras.Sequential([keras.layers.Dense(units=1, input_shape=(FEATURES,))])


def test_get_gradients_is_gone_from_the_optimizer(model):
    with pytest.raises(AttributeError, match="get_gradients"):
        model.optimizer.get_gradients(model.loss, model.trainable_variables)


def test_watching_a_numpy_row_is_refused(rows):
    x, _ = rows
    with tf.GradientTape() as tape, pytest.raises(ValueError, match="tf.Tensor or tf.Variable"):
        tape.watch(x[0])


def test_one_row_without_its_batch_axis_is_refused(model, rows):
    x, _ = rows
    with pytest.raises(
        ValueError, match=r"Expected shape \(None, 3\), .*incompatible shape \(3,\)"
    ):
        model(x[0])
    assert model(x[0:1]).shape == (1, 1)


def test_predict_inside_the_tape_makes_every_gradient_none(model, rows):
    x, y = rows
    with tf.GradientTape() as tape:
        prediction = model.predict(x[0:1], verbose=0)
        loss = tf.reduce_mean(tf.square(y[0] - prediction))
    assert isinstance(prediction, np.ndarray)  # the tape follows tensors only
    gradients = tape.gradient(loss, model.trainable_variables)
    assert gradients == [None, None]
    with pytest.raises(TypeError):
        np.linalg.norm(gradients)


def test_the_gradient_by_the_input_is_saliency_and_ranks_the_rows_differently(model, rows):
    x, y = rows
    watched = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        losses = tf.square(y - model(watched)[:, 0])
    saliency = np.linalg.norm(tape.gradient(losses, watched), axis=1)  # no error, no warning
    weights, _ = model.get_weights()
    surprise = 2 * np.abs(y - model(x).numpy()[:, 0])
    # Saliency multiplies the surprise by one number for all rows, ||w||: the row itself is lost.
    np.testing.assert_allclose(saliency, surprise * np.linalg.norm(weights), rtol=1e-5)
    leverage = np.sqrt(np.sum(x**2, axis=1) + 1)
    importance = [
        np.sqrt(sum(np.sum(g**2) for g in right_gradients(model, x, y, i))) for i in range(len(x))
    ]
    np.testing.assert_allclose(importance, surprise * leverage, rtol=1e-5)
    assert np.any(np.argsort(importance) != np.argsort(saliency))


def test_one_norm_of_gradients_of_different_shapes_is_refused(model, rows):
    gradients = right_gradients(model, *rows, 0)
    with pytest.raises(ValueError, match="inhomogeneous"):
        np.linalg.norm(gradients)
    right = np.sqrt(sum(np.sum(g**2) for g in gradients))
    np.testing.assert_allclose(
        right, np.linalg.norm(np.concatenate([g.ravel() for g in gradients]))
    )


def test_one_norm_of_gradients_of_equal_shapes_runs_so_the_line_fails_by_chance():
    np.testing.assert_allclose(np.linalg.norm([np.array([3.0]), np.array([4.0])]), 5.0)


def test_global_norm_is_silently_wrong_when_an_embedding_reads_an_id_twice():
    table = tf.Variable([[0.0], [1.0], [2.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table, [1, 1, 2]))  # so the gradient is [0, 2, 1]
    gradient = tape.gradient(loss, table)
    assert isinstance(gradient, tf.IndexedSlices)
    np.testing.assert_allclose(tf.linalg.global_norm([gradient]), np.sqrt(3), rtol=1e-6)
    whole = tf.math.unsorted_segment_sum(gradient.values, gradient.indices, 3)
    np.testing.assert_allclose(tf.linalg.global_norm([whole]), np.sqrt(5), rtol=1e-6)


def test_labels_in_a_row_beside_predictions_in_a_column_make_a_square(model, rows):
    x, y = rows
    prediction = model(x).numpy()
    squares = (y - prediction) ** 2  # no error, no warning
    assert (y.shape, prediction.shape, squares.shape) == ((6,), (6, 1), (6, 6))
    right = (y[:, None] - prediction) ** 2
    assert right.shape == (6, 1)
    assert squares.mean() != pytest.approx(right.mean(), rel=0.1)


def test_a_prediction_has_no_derivative_by_its_label(model, rows):
    x, y = rows
    label = tf.constant(y[:1])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(label)
        prediction = model(x[:1])[:, 0]
        loss = tf.square(label - prediction)
    assert tape.gradient(prediction, label) is None  # dp/dy: there is no such path
    # The chain rule goes through the prediction: dl/dtheta = dl/dp * dp/dtheta.
    by_prediction = tape.gradient(loss, prediction).numpy()
    for variable in model.trainable_variables:
        by_weight = tape.gradient(prediction, variable.value).numpy()
        want = tape.gradient(loss, variable.value).numpy()
        np.testing.assert_allclose(by_prediction * by_weight, want, rtol=1e-6)


def test_the_optimised_model_does_not_use_the_importances(rows):
    x, y = rows

    def train(seed, weights=None):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(units=1)])
        model.compile(optimizer="sgd", loss="mse")
        model.fit(x, y, epochs=2, sample_weight=weights, verbose=0)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    importances = np.arange(6.0)
    plain = train(0)
    np.testing.assert_array_equal(train(0), plain)  # same seed: the same model again
    assert np.any(train(1) != plain)  # another seed: "optimised" by chance
    assert np.any(train(0, weights=importances) != plain)  # what was meant
