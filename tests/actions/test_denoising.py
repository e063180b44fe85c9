"""Losses that weight themselves do what their equations say, also inside the training."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import actions
from helpers.actions.denoising import Denoising, batch_weights
from helpers.losses import cross_entropy, logistic_gradient, sigmoid
from helpers.models import LADDER, Trainer

ROWS, BATCH = 64, 16


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    labels = (x[:, 0] + rng.normal(size=ROWS) > 0).astype(np.float32)
    return x, labels


@pytest.fixture(scope="module")
def trainer(data):
    return Trainer(LADDER["logistic"], {"dense": data[0]}, {}, batch_size=BATCH)


@pytest.fixture(scope="module")
def linear(data):
    """The rung under plain descent: an update is the learning rate times the gradient."""
    return Trainer(LADDER["linear"], {"dense": data[0]}, {}, batch_size=BATCH)


def by_sorting(losses, labels, trust, update, denoising):
    """Return the weights by sorting the positives; losses must differ."""
    share = denoising.truncate * min(update / denoising.ramp, 1.0)
    positive = [i for i in range(len(losses)) if labels[i] == 1]
    worst_first = sorted(positive, key=lambda i: -losses[i])
    dropped = worst_first[: int(np.floor(np.float32(share) * np.float32(len(positive))))]
    weights = [max(1e-6, min(1.0, t)) ** denoising.power for t in trust]
    return [0.0 if i in dropped else w for i, w in enumerate(weights)]


def batch(seed, size=33):
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.5).astype(np.float32)
    trust = rng.random(size).astype(np.float32)
    return -np.log(trust), labels, trust


def weights(given, update, denoising):
    return batch_weights(*given, update, denoising.numbers).numpy()


# ---------------------------------------------------------------- the weights of a batch


@pytest.mark.parametrize(
    "denoising",
    [
        Denoising(truncate=0.25, ramp=8),
        Denoising(truncate=0.9, ramp=1),
        Denoising(power=0.5),
        Denoising(truncate=0.5, ramp=3, power=2.0),
    ],
    ids=["some", "nearly all", "reweighted", "both"],
)
@pytest.mark.parametrize("update", [0, 1, 5, 1000])
def test_the_weights_are_those_found_by_sorting(denoising, update):
    for seed in range(5):
        given = batch(seed)
        want = by_sorting(*given, update, denoising)
        np.testing.assert_allclose(weights(given, update, denoising), want, rtol=1e-5)


def test_at_full_share_that_part_of_the_positives_is_dropped_worst_first():
    losses, labels, trust = batch(3)
    for share in (0.1, 0.3, 0.75):
        found = weights((losses, labels, trust), 9, Denoising(truncate=share, ramp=9))
        dropped = found == 0
        assert dropped.sum() == np.floor(share * labels.sum())
        assert not dropped[labels == 0].any()
        assert set(found) <= {0.0, 1.0}
        positive = labels == 1
        if dropped.any():
            assert losses[positive & dropped].min() > losses[positive & ~dropped].max()


def test_the_dropped_share_grows_evenly_until_the_ramp_ends():
    labels, losses = np.ones(100, np.float32), np.arange(100, dtype=np.float32)
    found = [
        100 - weights((losses, labels, labels), update, Denoising(truncate=0.4, ramp=8)).sum()
        for update in range(12)
    ]
    for update, count in enumerate(found):
        assert count == pytest.approx(min(5 * update, 40), abs=1)  # rounding, at most
    assert found[0] == 0


def test_a_rows_weight_is_the_trust_in_its_label_to_the_power():
    given = batch(4)
    found = weights(given, 0, Denoising(power=1.5))
    np.testing.assert_allclose(found, given[2] ** 1.5, rtol=1e-5)
    assert weights((given[0][:1], given[1][:1], [0.0]), 0, Denoising(power=1.0))[0] == 1e-6


def test_no_row_counts_for_more_than_one():
    ones = np.ones(2, np.float32)
    found = weights((ones, ones, np.float32([1.5, 1.0])), 0, Denoising(power=2.0))
    assert found.tolist() == [1.0, 1.0]


def test_of_equal_losses_all_stay_or_none():
    labels = np.ones(4, np.float32)
    found = weights((np.float32([2, 2, 1, 1]), labels, labels), 1, Denoising(truncate=0.3))
    assert found.tolist() == [0, 0, 1, 1]


def test_by_default_every_row_counts_fully():
    np.testing.assert_array_equal(weights(batch(1), 7, Denoising()), np.ones(33))


def test_no_gradient_flows_through_the_weights():
    from helpers.backend import tf

    losses, labels, trust = (tf.constant(values) for values in batch(2))
    with tf.GradientTape() as tape:
        tape.watch([losses, trust])
        total = tf.reduce_sum(
            batch_weights(losses, labels, trust, 5, Denoising(0.3, 2, 0.7).numbers)
        )
    assert tape.gradient(total, [losses, trust]) == [None, None]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"truncate": 1.0}, r"truncate must lie in \[0, 1\); got 1.0"),
        ({"truncate": -0.1}, "got -0.1"),
        ({"ramp": 0}, "ramp must be at least 1 update; got 0"),
        ({"power": -1.0}, "power must not be negative; got -1.0"),
        ({"truncate": float("nan")}, "got nan"),
    ],
    ids=["all", "negative", "no ramp", "inverse", "no number"],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Denoising(**values)


# ---------------------------------------------------------------- in the training


def test_denoising_by_nothing_trains_the_plain_weights(data, trainer):
    plain = trainer.fit(data[1], seed=0, updates=30)
    same = trainer.fit(data[1], seed=0, updates=30, denoising=Denoising())
    for a, b in zip(plain.weights, same.weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)


def one_unit(weights, x):
    return x.astype(float) @ weights[0].astype(float)[:, 0] + float(weights[1][0])


@pytest.mark.parametrize(
    "denoising",
    [Denoising(truncate=0.4, ramp=4), Denoising(power=0.5), Denoising(0.4, 4, 0.5)],
    ids=["truncated", "reweighted", "both"],
)
def test_every_update_descends_the_losses_weighted_by_themselves(data, linear, denoising):
    x, labels = data
    rng = np.random.default_rng(1)
    order = rng.permuted(np.tile(np.arange(ROWS), (6, 1)), axis=1)[:, :BATCH]
    given = rng.uniform(0.5, 1.5, size=ROWS)
    start = linear.checkpoints(labels, seed=3, order=order, at=[0])[0].weights
    kernel, bias = start[0].astype(float)[:, 0], float(start[1][0])
    for update, rows in enumerate(order):
        prediction = x[rows].astype(float) @ kernel + bias
        error = prediction - labels[rows]
        trust = 1 - np.abs(np.clip(prediction, 0, 1) - labels[rows])
        weight = given[rows] * by_sorting(error**2 / 2, labels[rows], trust, update, denoising)
        kernel -= 0.05 * (weight * error) @ x[rows] / BATCH
        bias -= 0.05 * (weight * error).mean()
    found = linear.fit(labels, seed=3, order=order, sample_weight=given, denoising=denoising)
    np.testing.assert_allclose(found.weights[0][:, 0], kernel, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.weights[1][0], bias, rtol=1e-4, atol=1e-6)
    plain = linear.fit(labels, seed=3, order=order, sample_weight=given)
    assert not np.allclose(plain.weights[0][:, 0], kernel, atol=1e-4)


def test_a_logistic_models_trust_is_its_probability_of_the_label(data, trainer):
    x, labels = data
    order = np.tile(np.arange(BATCH), (1, 1))
    # The training loss is reported: after one update it is that of the first weights.
    start = trainer.checkpoints(labels, seed=1, order=order, at=[0])[0].weights
    logit = one_unit(start, x[:BATCH])
    given = labels[:BATCH]
    trust = np.where(given == 1, sigmoid(logit), 1 - sigmoid(logit))
    fitted = trainer.fit(labels, seed=1, order=order, denoising=Denoising(power=2.0))
    want = (trust**2 * cross_entropy(given.astype(float), logit)).mean()
    np.testing.assert_allclose(fitted.history["train_loss"].iloc[0], want, rtol=1e-5)


# ---------------------------------------------------------------- labels that are chances


def test_half_a_label_descends_half_of_each_loss(data, linear):
    x, labels = data
    soft = np.linspace(0, 1, ROWS)
    order = np.arange(BATCH)[None]
    fits = [
        linear.fit(y.astype(np.float32), seed=0, order=order)
        for y in (soft, np.ones(ROWS), np.zeros(ROWS))
    ]
    start = linear.checkpoints(labels, seed=0, order=order, at=[0])[0]
    error = one_unit(start.weights, x[:BATCH]) - soft[:BATCH]
    step = 0.05 * error @ x[:BATCH] / BATCH
    np.testing.assert_allclose(
        start.weights[0][:, 0] - fits[0].weights[0][:, 0], step, rtol=1e-3, atol=1e-6
    )
    assert not np.allclose(fits[0].weights[0], fits[1].weights[0], atol=1e-4)
    assert not np.allclose(fits[0].weights[0], fits[2].weights[0], atol=1e-4)


def test_training_on_chances_ends_where_their_cross_entropy_is_flat():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(ROWS, 2)).astype(np.float32)
    trainer = Trainer(LADDER["logistic"], {"dense": x}, {}, batch_size=ROWS)
    order = np.tile(np.arange(ROWS), (400, 1))
    start = trainer.checkpoints(np.ones(ROWS), seed=0, order=order, at=[0])[0].weights
    truth = np.r_[start[0][:, 0] + [0.2, -0.3], 0.25]
    with_one = np.column_stack([x, np.ones(ROWS)]).astype(float)
    soft = sigmoid(with_one @ truth)
    plan = actions.relabel(np.ones(ROWS), 1 - soft, soft=True)
    found = trainer.fit(plan.labels.astype(np.float32), seed=0, order=order).weights
    found = np.r_[found[0][:, 0], found[1]].astype(float)
    np.testing.assert_allclose(logistic_gradient(with_one, soft, found), 0, atol=1e-3)
    np.testing.assert_allclose(found, truth, atol=0.01)
