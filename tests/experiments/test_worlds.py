"""Worlds are the same rows with other wrong labels planted; test labels are never touched."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from easy_samples import easy_samples
from small_samples import small_samples, small_samples_with_truth

from helpers.experiments.detection import make_world, own_world
from helpers.samples import noise
from helpers.samples.noise import KINDS, Noise

FLIPS = Noise("flip", 0.2)


def test_worlds_are_the_same_train_rows_with_other_wrong_labels():
    samples = small_samples_with_truth()
    first, other = (make_world(samples, FLIPS, rows=500, number=number) for number in (0, 1))
    lost = make_world(samples, Noise("lost positive", 0.3), rows=500)
    for world in (first, other, lost):
        assert len(np.unique(world.rows)) == 500
        assert np.isin(world.rows, samples.rows("train")).all()
        np.testing.assert_array_equal(world.rows, np.sort(first.rows))
    assert (first.planted.wrong != other.planted.wrong).any()
    moved = make_world(samples, FLIPS, rows=500, seed=1)
    assert (moved.rows != first.rows).any()
    again = make_world(samples, FLIPS, rows=500, number=1)
    np.testing.assert_array_equal(again.labels, other.labels)


def test_a_world_holds_its_rows_users_items_and_features():
    samples = small_samples_with_truth()
    world = make_world(samples, Noise("duplicate", 0.2), rows=500)
    part = samples.table.iloc[world.rows]
    assert len(part) > 500
    np.testing.assert_array_equal(world.users, part["user_id"])
    np.testing.assert_array_equal(world.items, part["item_id"])
    np.testing.assert_array_equal(world.inputs()["dense"], samples.dense[world.rows])
    np.testing.assert_array_equal(world.planted.marked, part["sample_id"].duplicated(keep=False))


def test_there_are_no_more_rows_than_the_samples_have():
    samples = small_samples()
    world = make_world(samples, None, rows=10**9)
    np.testing.assert_array_equal(world.rows, samples.rows("train"))


@pytest.mark.parametrize("kind", KINDS)
def test_test_labels_are_those_of_the_log_whatever_was_planted(kind):
    known = small_samples_with_truth()
    other = known.truth.assign(clean_click=1 - known.truth["clean_click"])  # not even these
    for samples in (small_samples(), known, dataclasses.replace(known, truth=other)):
        world = make_world(samples, Noise(kind, 0.3), rows=300)
        for noisy in (True, False):
            rows, labels = world.role("test", noisy=noisy)
            np.testing.assert_array_equal(rows, samples.rows("test"))
            np.testing.assert_array_equal(labels, samples.labels(rows))


@pytest.mark.parametrize("role", ["attribution", "valid"])
def test_other_roles_carry_the_worlds_noise_unless_they_are_asked_for_clean(role):
    samples = small_samples_with_truth()
    world, other = (make_world(samples, FLIPS, rows=300, number=number) for number in (0, 1))
    rows, clean = world.role(role, noisy=False)
    np.testing.assert_array_equal(clean, samples.truth["clean_click"].to_numpy()[rows])
    wrong = world.role(role)[1] != clean
    assert abs(wrong.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(rows))
    np.testing.assert_array_equal(world.role(role)[1] != clean, wrong)  # always the same
    assert (other.role(role)[1] != world.role(role)[1]).any()


def test_without_noise_a_world_is_the_log_or_the_truth_as_it_is_asked():
    samples = small_samples_with_truth()
    truth, log = samples.truth["clean_click"].to_numpy(), samples.table["label"].to_numpy()
    assert (truth != log).any()
    for genuine, want in ((True, truth), (False, log)):
        world = make_world(samples, None, rows=10**9, genuine=genuine)
        np.testing.assert_array_equal(world.labels, want[world.rows])
        for role in ("attribution", "valid"):
            rows, labels = world.role(role)
            np.testing.assert_array_equal(labels, want[rows])
        assert not world.planted.marked.any()
    flips = make_world(samples, FLIPS, rows=500, genuine=False)
    np.testing.assert_array_equal(flips.labels != log[flips.rows], flips.planted.wrong)


def test_the_logs_own_world_marks_what_the_log_got_wrong():
    samples = small_samples_with_truth()
    world = own_world(samples, rows=10**9)
    rows = samples.rows("train")
    np.testing.assert_array_equal(world.rows, rows)
    np.testing.assert_array_equal(world.labels, samples.labels(rows))
    truth = samples.truth.iloc[rows]
    np.testing.assert_array_equal(
        world.planted.wrong, truth["observed_click"] != truth["clean_click"]
    )
    assert world.planted.marked[(truth["noise"] != "none").to_numpy()].all()
    assert 0 < world.planted.marked.mean() < 0.5
    np.testing.assert_array_equal(world.role("valid")[1], samples.labels(samples.rows("valid")))
    assert world.ceiling() is None
    with pytest.raises(ValueError, match="only the bundled sample log knows"):
        own_world(small_samples(), rows=10)


def test_the_ceiling_comes_from_the_true_probabilities_of_the_worlds_rows():
    flipped = make_world(easy_samples(), FLIPS, rows=500)
    p = easy_samples().truth["p_clean"].to_numpy()[flipped.rows]
    want = noise.ceiling(FLIPS, flipped.planted, p, flipped.users, flipped.items)
    np.testing.assert_array_equal(flipped.ceiling(), want)
    assert make_world(small_samples(), FLIPS, rows=100).ceiling() is None
    assert make_world(easy_samples(), None, rows=100).ceiling() is None
