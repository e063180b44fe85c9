"""More ends of the engine: sizes that are computed, odd arrays, and rows without a number."""

from __future__ import annotations

import numpy as np
import pytest
from gradient_models import dense_rows
from test_held_gradients import bounds
from test_held_gradients_places import chosen, followed, two

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients.places import Places
from helpers.losses import cross_entropy_loss, squared_error_loss

layers = keras.layers


def rows(n=12):
    x, y = dense_rows(n)
    return x.astype("float32"), y


def unit() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


# --- sizes that are computed from the rows -----------------------------------------------


def count(x):
    return tf.shape(x)[0]


MOVES = {
    "the largest of one": (lambda x: tf.fill([tf.reduce_max([count(x)])], 1.0), Places(0)),
    "a part of a shape": (lambda x: tf.fill(tf.split(tf.shape(x), 3)[0], 1.0), Places(0)),
    "a later part": (
        lambda x: tf.reshape(x, tf.concat([tf.split(tf.shape(x), 3)[0], [8]], 0)),
        Places(0),
    ),
    "a product of sizes": (
        lambda x: tf.reshape(x, [tf.reduce_prod(tf.shape(x)[:2]), 4]),
        Places(0, 1, 2),
    ),
    "the end of a shape": (
        lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:2], [2, 2]], 0)),
        Places(0),
    ),
    "the end of a turned shape": (
        lambda x: tf.reshape(
            tf.transpose(x, [1, 0, 2]),
            tf.concat([[2, 1], tf.shape(tf.transpose(x, [1, 0, 2]))[1:]], 0),
        ),
        Places(2),
    ),
    "cut where nobody knows": (
        lambda x: tf.split(two(x), tf.stack([count(x) + 1, count(x) - 1]), num=2)[0],
        chosen(0),
    ),
    "two orders": (lambda x: tf.reverse(x, [0]) + x, None),
    "one order twice": (lambda x: tf.nn.relu(two(x)) + two(x), Places(0, 2)),
    "blocks and no blocks": (lambda x: tf.reshape(x, [-1, 4]) + two(x[:, 0]), None),
}


@pytest.mark.parametrize("name", MOVES)
def test_samples_stand_where_computed_sizes_put_them(name):
    function, want = MOVES[name]
    found, _, _ = followed(function, 2)
    if want is None or found is None:
        assert found is want
    elif want.owners is None:
        assert found == want
    else:
        assert (found.axis, found.owners is None) == (want.axis, False)


# --- bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "want"),
    [
        (lambda x: tf.nn.relu6(x) * tf.exp(x), (0, np.inf)),
        (lambda x: tf.exp(x) * tf.nn.relu6(x), (0, np.inf)),
        (lambda x: tf.exp(tf.nn.relu6(x) * 120.0), (1, np.inf)),
        (lambda x: tf.exp(tf.sigmoid(x) * 699.5), (1, np.exp(699.5))),
        (
            lambda x: tf.raw_ops.ClipByValue(
                t=tf.tanh(x), clip_value_min=5.0 * tf.sigmoid(x), clip_value_max=tf.constant(9.0)
            ),
            (0, 5),
        ),
        (
            lambda x: tf.raw_ops.ClipByValue(
                t=tf.sigmoid(x) + 3.0, clip_value_min=0.0, clip_value_max=1.0
            ),
            (1, 1),
        ),
    ],
)
def test_bounds_hold_at_their_ends(function, want):
    assert bounds(function) == pytest.approx(want, rel=1e-6)


# --- arrays as they come -----------------------------------------------------------------


def test_norms_of_arrays_in_any_order_of_memory_are_written(tmp_path):
    x, y = rows(24)
    made = PerSampleGradients(unit(), squared_error_loss)
    want = made.norms(x, y)
    import pandas as pd

    for name, odd in (("columns", np.asfortranarray(x)), ("steps", np.repeat(x, 2, axis=0)[::2])):
        file = made.write_norms(tmp_path / f"{name}.parquet", odd, y, batch_size=8)
        np.testing.assert_allclose(pd.read_parquet(file)["gradient_norm"], want, rtol=1e-6)


def test_rows_without_any_number_are_named_and_no_reason_is_made_up():
    x, y = rows()
    made = PerSampleGradients(unit(), cross_entropy_loss)
    with pytest.warns(RuntimeWarning, match="12 of 12 gradient norms are NaN"):
        found = made.norms(np.full_like(x, np.nan), y)
    assert np.isnan(found).all()


@pytest.mark.parametrize("column", [True, False])
def test_labels_with_or_without_a_column_fit_predictions_without_or_with_one(column):
    x, y = rows()
    plain = unit()
    flat = keras.Sequential([*plain.layers, layers.Reshape(())])
    want = naive_norms(plain, squared_error_loss, x, y) * 2
    model, labels = (flat, y[:, None]) if column else (plain, y)
    found = PerSampleGradients(model, "mean_squared_error").norms(x, labels)
    np.testing.assert_allclose(found, want, rtol=1e-4)
    found = PerSampleGradients(model, "mse").norms(x, labels)
    np.testing.assert_allclose(found, want, rtol=1e-4)


def test_a_layer_that_goes_backwards_still_does_so_afterwards():
    rnn = layers.SimpleRNN(4, go_backwards=True, return_sequences=True)
    rnn.zero_output_for_mask = True
    model = keras.Sequential(
        [keras.Input((5,), dtype="int32"), layers.Embedding(6, 3, mask_zero=True), rnn,
         layers.Dense(1)]
    )  # fmt: skip
    x = np.random.default_rng(0).integers(0, 6, (8, 5))
    PerSampleGradients(model, lambda y, p: tf.reduce_sum((p[:, :, 0] - y[:, None]) ** 2, 1)).norms(
        x, np.arange(8.0)
    )
    assert rnn.go_backwards is True
    assert rnn.unroll is False
    assert "inner_loop" not in vars(rnn)
