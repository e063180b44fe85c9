"""What is read off a training on the way, against trainings and counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from helpers.importance import (
    Dynamics,
    area_under_margin,
    early_errors,
    follow,
    forgetting_events,
    last_activations,
    mean_losses,
)
from helpers.losses import sigmoid
from helpers.models import LADDER, Trainer

ROWS = 40


@pytest.fixture(scope="module")
def trained():
    """A trainer of a few rows and their labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.float32)
    return Trainer(LADDER["logistic"], {"dense": x}, {}, batch_size=8), labels


@pytest.fixture(scope="module")
def random_looks():
    rng = np.random.default_rng(1)
    labels = np.float32([0, 1, 1, 0, 1])
    return Dynamics(labels, rng.normal(size=(3, 4, 5)), np.arange(1, 5))


def looks(labels, *seeds):
    """Return dynamics from the logits of each seed: a list of looks, each a list of rows."""
    return Dynamics(np.float32(labels), np.array(seeds, float), np.arange(len(seeds[0])))


# ---------------------------------------------------------------- forgetting


@pytest.mark.parametrize(
    ("label", "logits", "events"),
    [
        (1, [-1, -1, -1, -1], 4),
        (1, [1, 1, 1, 1], 0),
        (1, [-1, 1, 1, 1], 0),
        (1, [1, -1, 1, -1], 2),
        (1, [-1, 1, -1, 1], 1),
        (1, [1, 1, 1, -1], 1),
        (0, [1, 1, 1, 1], 4),
        (0, [-1, 1, -1, 1], 2),
        (0, [1, -1, -1, -1], 0),
    ],
    ids=[
        "never learned",
        "always known",
        "learned once",
        "forgotten twice",
        "forgotten and learned again",
        "forgotten at the end",
        "a negative never learned",
        "a negative forgotten twice",
        "a negative learned once",
    ],
)
def test_forgetting_counts_the_steps_from_right_to_wrong(label, logits, events):
    seen = looks([label], [[z] for z in logits])
    assert forgetting_events(seen).tolist() == [events]


def test_forgetting_is_averaged_over_the_seeds():
    seen = looks([1, 0], [[1, -1], [-1, -1], [1, -1]], [[-1, 1], [-1, 1], [-1, 1]])
    np.testing.assert_allclose(forgetting_events(seen), [(1 + 3) / 2, (0 + 3) / 2], rtol=1e-12)


def test_a_row_never_learned_stands_above_any_that_was(random_looks):
    count = 7
    alternating = np.where(np.arange(count) % 2, -1.0, 1.0)
    seen = looks([1, 1], np.column_stack([alternating, -np.ones(count)]))
    often, never = forgetting_events(seen)
    assert often == 3
    assert never == count


# ---------------------------------------------------------------- margins, errors, losses


def test_the_area_is_the_mean_logit_in_favour_of_the_label():
    seen = looks([1, 0], [[2, -1], [4, 5]], [[0, 1], [-2, 3]])
    np.testing.assert_allclose(
        area_under_margin(seen), [(2 + 4 + 0 - 2) / 4, -(-1 + 5 + 1 + 3) / 4], rtol=1e-12
    )


@pytest.mark.parametrize("look", [0, 2, -1])
def test_the_early_error_is_the_mean_distance_at_one_look(random_looks, look):
    p = 1 / (1 + np.exp(-random_looks.logits[:, look]))
    want = np.mean([np.abs(seed - random_looks.labels) for seed in p], axis=0)
    np.testing.assert_allclose(early_errors(random_looks, look=look), want, rtol=1e-9)
    # EL2N: the length of the error vector of both classes.
    vectors = np.stack([p - random_looks.labels, (1 - p) - (1 - random_looks.labels)])
    lengths = np.linalg.norm(vectors, axis=0).mean(axis=0)
    np.testing.assert_allclose(lengths, np.sqrt(2) * want, rtol=1e-6)


def test_the_first_look_is_the_early_one(random_looks):
    np.testing.assert_array_equal(early_errors(random_looks), early_errors(random_looks, look=0))


def test_the_mean_loss_is_that_of_each_look_and_seed(random_looks):
    want = np.zeros(5)
    for seed in range(3):
        for look in range(4):
            for row in range(5):
                p = sigmoid(random_looks.logits[seed, look])[row]
                want[row] += log_loss([random_looks.labels[row]], [p], labels=[0, 1]) / 12
    np.testing.assert_allclose(mean_losses(random_looks), want, rtol=1e-6)


@pytest.mark.parametrize("score", [mean_losses, area_under_margin, early_errors, forgetting_events])
def test_scores_follow_their_rows_and_forget_the_order_of_seeds(score, random_looks):
    places, seeds = np.array([3, 1, 4, 0, 2]), [2, 0, 1]
    seen = random_looks
    moved = Dynamics(seen.labels[places], seen.logits[seeds][:, :, places], seen.updates)
    np.testing.assert_allclose(score(moved), score(seen)[places], rtol=1e-12)
    assert score(seen).dtype == np.float64


# ---------------------------------------------------------------- the training that is followed


def test_each_look_is_a_training_that_stopped_there(trained):
    trainer, labels = trained
    seen = follow(trainer, labels, seeds=[4, 7], updates=12, looks=3)
    assert seen.updates.tolist() == [4, 8, 12]
    assert seen.logits.shape == (2, 3, ROWS)
    np.testing.assert_array_equal(seen.labels, labels)
    for place, seed in enumerate((4, 7)):
        for look, update in enumerate((4, 8, 12)):
            fitted = trainer.fit(labels, seed=seed, updates=update)  # the same first updates
            np.testing.assert_allclose(
                seen.logits[place, look], fitted.logits(trainer.inputs), rtol=1e-5, atol=1e-6
            )
    assert not np.allclose(seen.logits[0, 0], seen.logits[0, 2], atol=1e-3)
    assert not np.allclose(seen.logits[0], seen.logits[1], atol=1e-3)


@pytest.mark.parametrize(("updates", "looks"), [(7, 3), (5, 5), (9, 1)])
def test_looks_are_spread_evenly_and_the_last_is_at_the_end(trained, updates, looks):
    seen = follow(*trained, seeds=[0], updates=updates, looks=looks)
    assert len(seen.updates) == looks
    assert seen.updates[-1] == updates
    gaps = np.diff(np.r_[0, seen.updates])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(
    "options",
    [{"seeds": []}, {"looks": 0}, {"updates": 3, "looks": 4}],
    ids=["no seed", "no look", "more looks than updates"],
)
def test_trainings_that_cannot_be_followed_are_refused(trained, options):
    with pytest.raises(ValueError, match="there must be a seed and 1 to"):
        follow(*trained, **({"updates": 10} | options))


# ---------------------------------------------------------------- what enters the last layer


def test_a_one_unit_models_last_activations_are_its_features(trained):
    trainer, labels = trained
    fitted = trainer.fit(labels, seed=0, updates=1)
    found = last_activations(fitted, trainer.inputs)
    np.testing.assert_array_equal(found, trainer.inputs["dense"].astype(np.float64))
    assert found.dtype == np.float64


def test_the_last_layer_makes_the_logits_from_the_last_activations():
    from small_samples import small_samples, train_rows

    inputs, labels, _ = train_rows(24)
    trainer = Trainer(LADDER["mlp"], inputs, small_samples().sizes, batch_size=8)
    fitted = trainer.fit(labels, seed=0, updates=2)
    kernel, bias = (w.astype(float) for w in fitted.weights[-2:])
    z = (last_activations(fitted, inputs) @ kernel + bias)[:, 0]
    np.testing.assert_allclose(z, fitted.logits(inputs), rtol=1e-4, atol=1e-5)
