"""The plans of a study: only the oracle sees what was planted, and suspects are of their kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from easy_samples import easy_samples
from small_samples import small_samples

from helpers.experiments.detection import Budget, World, make_trainer, make_world
from helpers.experiments.study import ACTIONS, ORACLE, REFERENCES, make_plans, suspects
from helpers.experiments.study.plans import oracle_rows
from helpers.importance import (
    gradient_norms,
    out_of_fold_losses,
    out_of_fold_probabilities,
    sample_losses,
)
from helpers.samples.noise import KINDS, Noise, chance_wrong, estimated_flip_share

ROWS = 600
FLIPS = Noise("flip", 0.2)
OPTIONS = {"updates": 20, "drop_share": 0.1, "seed": 3, "folds": 3, "repeats": 1}


@pytest.fixture(scope="module")
def trainer():
    world = make_world(small_samples(), None, rows=ROWS)
    return make_trainer(world, Budget(kind="linear", batch_size=64))


def world_of(kind, rate=0.2, samples=None, rows=ROWS) -> World:
    return make_world(samples or small_samples(), Noise(kind, rate), rows=rows)


def hidden(world: World) -> World:
    """Return the same world with something else in place of what was planted."""
    rng = np.random.default_rng(8)
    planted = dataclasses.replace(
        world.planted,
        marked=rng.permutation(world.planted.marked),
        wrong=rng.permutation(world.planted.wrong),
        chance=rng.random(len(world.rows)),
    )
    return dataclasses.replace(world, planted=planted)


def some_probabilities(world: World, seed=0):
    """Return what models might have thought of a world's rows."""
    rng = np.random.default_rng(seed)
    power = np.where(world.labels == 1, 0.8, 1.2)
    return np.clip(rng.random(len(power)) ** power, 0.01, 0.99)


# ---------------------------------------------------------------- what the names say


def test_the_plans_are_the_actions_that_their_names_say(trainer):
    world, start = world_of("flip"), OPTIONS["seed"] + 1000
    plans, labels = make_plans(world, trainer, **OPTIONS), world.labels
    base = trainer.fit(labels, seed=start, updates=20)
    norm = gradient_norms(base, trainer.inputs, labels)
    loss = sample_losses(base, trainer.inputs, labels)
    p = out_of_fold_probabilities(
        trainer, labels, world.users, folds=3, repeats=1, updates=20, seed=start
    )
    error, wrong = np.abs(p - labels), chance_wrong(labels, p, estimated_flip_share(labels, p))
    assert 0 < wrong.mean() < 0.5
    weights = {
        "uniform": np.ones(ROWS),
        "up-weight by gradient norm": norm / norm.mean(),
        "down-weight by out-of-fold error": (1 - error) / (1 - error).mean(),
        "weight by trust": (1 - wrong) / (1 - wrong).mean(),
    }
    for action, want in weights.items():
        np.testing.assert_allclose(plans[action].weight, want, rtol=1e-9)
        assert plans[action].kept.all()
    chance = plans["resample by gradient norm"].chance
    np.testing.assert_allclose(chance, norm / norm.sum(), rtol=1e-9)
    sampled = plans["importance sampling"]
    np.testing.assert_allclose(sampled.chance * sampled.weight, np.full(ROWS, 1 / ROWS), rtol=1e-9)
    turned = np.where(wrong > 0.5, 1 - labels, labels)
    np.testing.assert_array_equal(plans["relabel"].labels, turned)
    assert (turned != labels).any()
    np.testing.assert_allclose(plans["relabel softly"].labels, np.abs(labels - wrong), rtol=1e-9)
    assert plans["truncated loss"].denoising.truncate > plans["truncated loss"].denoising.power == 0
    assert plans["reweighted loss"].denoising.power > 0
    for action, scores in {
        "drop highest loss": loss,
        "drop highest gradient norm": norm,
    }.items():
        kept = plans[action].kept
        assert (~kept).sum() == 0.1 * ROWS
        assert scores[~kept].min() >= scores[kept].max()
    suspect = suspects(world, p, fallback=0.1)
    np.testing.assert_array_equal(plans["drop suspects"].kept, ~suspect)


# ---------------------------------------------------------------- the oracle


@pytest.mark.parametrize("kind", ["flip", "misclick", "popular misclick", "lost positive", "bot"])
def test_the_oracle_drops_exactly_what_was_marked(kind):
    world = world_of(kind)
    np.testing.assert_array_equal(oracle_rows(world), world.planted.marked)
    assert oracle_rows(world).any()


def test_of_a_duplicate_the_oracle_drops_the_second_copy_only():
    world = world_of("duplicate")
    dropped = oracle_rows(world)
    assert dropped.sum() == len(world.rows) - ROWS > 0
    kept = world.rows[~dropped]
    np.testing.assert_array_equal(kept, np.unique(world.rows))
    assert dropped[1:][world.rows[1:] == world.rows[:-1]].all()


def test_the_oracles_plans_come_with_planted_noise_only(trainer):
    plain = make_plans(make_world(small_samples(), None, rows=ROWS), trainer, **OPTIONS)
    assert list(plain) == list(ACTIONS)
    world = world_of("flip")
    plans = make_plans(world, trainer, **OPTIONS)
    assert list(plans) == [*ACTIONS, *ORACLE]
    np.testing.assert_array_equal(plans["drop what is wrong"].kept, ~world.planted.marked)
    at_random = plans["drop random, as many"].kept
    assert at_random.sum() == (~world.planted.marked).sum()
    assert (at_random != ~world.planted.marked).any()
    assert set(REFERENCES) == {"drop random", *ORACLE}


@pytest.mark.parametrize("kind", ["flip", "misclick", "bot"])
def test_no_other_plan_looks_at_what_was_planted(trainer, kind):
    world = world_of(kind)
    seen, unseen = (make_plans(w, trainer, **OPTIONS) for w in (world, hidden(world)))
    for action in ACTIONS:
        for name in ("weight", "kept", "chance", "labels"):
            np.testing.assert_array_equal(
                getattr(seen[action], name), getattr(unseen[action], name), err_msg=action
            )
        assert seen[action].denoising == unseen[action].denoising
    assert (seen["drop what is wrong"].kept != unseen["drop what is wrong"].kept).any()


# ---------------------------------------------------------------- suspects


@pytest.mark.parametrize("kind", KINDS)
def test_suspects_are_found_without_the_truth(kind):
    world = world_of(kind)
    p = some_probabilities(world)
    np.testing.assert_array_equal(
        suspects(world, p, fallback=0.1), suspects(hidden(world), p, fallback=0.1)
    )


@pytest.mark.parametrize("noise", [FLIPS, None], ids=["flips", "no noise"])
def test_of_flips_labels_more_likely_wrong_than_right_are_suspect(noise):
    world = make_world(small_samples(), noise, rows=ROWS)
    p, labels = some_probabilities(world), world.labels
    r = estimated_flip_share(labels, p)
    # r (1 - g) > (1 - r) g means g < r; as seen, with flips, g is q = g (1 - r) + (1 - g) r.
    edge = 2 * r * (1 - r)
    found = suspects(world, p, fallback=0.1)
    np.testing.assert_array_equal(found, np.where(labels == 1, p < edge, p > 1 - edge))
    assert 0 < found.sum() < ROWS / 2


@pytest.mark.parametrize("kind", ["misclick", "popular misclick"])
def test_of_misclicks_only_positives_more_likely_wrong_than_right_are_suspect(kind):
    world = world_of(kind, rate=0.1)
    positive = world.labels == 1
    p = np.where(positive, np.linspace(0.2, 0.9, ROWS), np.linspace(0.05, 0.6, ROWS))
    p[np.flatnonzero(positive)[:6]] = 0.01  # clicks that nobody would have made
    found = suspects(world, p, fallback=0.1)
    r = estimated_flip_share(world.labels, p)
    assert r > 0
    # r (1 - g) > g means g < r / (1 + r); as seen, with misclicks, g is q = g + r (1 - g).
    np.testing.assert_array_equal(found, positive & (p < 2 * r / (1 + r)))
    assert 6 <= found.sum() < positive.sum()


@pytest.mark.parametrize("fallback", [0.05, 0.2])
def test_of_lost_positives_a_stated_part_of_the_negatives_is_suspect(fallback):
    world = world_of("lost positive")
    negative, p = world.labels == 0, some_probabilities(world)
    found = suspects(world, p, fallback=fallback)
    assert not found[~negative].any()
    assert found.sum() == round(fallback * negative.sum())
    loss = out_of_fold_losses(world.labels, p)
    assert loss[found].min() > loss[negative & ~found].max()


def test_of_bots_all_rows_are_suspect_and_no_row_of_a_person():
    world = world_of("bot", rate=0.05, samples=easy_samples(), rows=2500)
    p = easy_samples().truth["p_clean"].to_numpy()[world.rows]
    found = suspects(world, np.clip(p, 0.02, 0.98), fallback=0.1)
    by_user = pd.Series(found).groupby(world.users).nunique()
    assert (by_user == 1).all()  # a user's rows are all suspect, or none
    truth = pd.Series(world.planted.marked).groupby(world.users).first()
    caught = pd.Series(found).groupby(world.users).first()
    assert caught[truth].mean() > 0.5
    assert caught[~truth].mean() < 0.02


def test_of_rows_alike_every_copy_but_the_first_is_suspect():
    world = world_of("duplicate")
    found = suspects(world, some_probabilities(world), fallback=0.1)
    assert found[oracle_rows(world)].all()
    keys = small_samples().table[["user_id", "item_id", "event_time"]].iloc[world.rows]
    seen = set()
    for suspect, key in zip(found, keys.itertuples(index=False), strict=True):
        assert suspect == (key in seen)
        seen.add(key)
