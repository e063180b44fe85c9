"""Draws that stay what they are: published tables and stored notebooks were made with such ones."""

from __future__ import annotations

import numpy as np

from helpers import actions

SCORES = np.arange(1.0, 21)


def test_a_seed_keeps_and_drops_the_same_rows_in_every_version():
    kept = actions.keep_drawn(SCORES, 0.3, seed=4).kept
    assert np.flatnonzero(kept).tolist() == [0, 4, 9, 15, 17, 18]
    dropped = ~actions.drop_random(20, 0.2, seed=4).kept
    assert np.flatnonzero(dropped).tolist() == [0, 8, 10, 13]


def test_a_seed_gives_the_same_order_in_every_version():
    drawn, passes = (
        actions.draw_order(plan, updates=2, batch_size=6, rng=np.random.default_rng(4))
        for plan in (actions.resample(SCORES[:8]), actions.uniform(8))
    )
    assert drawn.tolist() == [[7, 5, 7, 1, 6, 4], [7, 3, 7, 5, 7, 5]]
    assert passes.tolist() == [[1, 2, 0, 7, 4, 5], [3, 6, 1, 4, 0, 2]]


def test_of_rows_with_one_score_the_first_count_as_lower():
    scores = np.random.default_rng(0).integers(0, 4, 400).astype(float)
    order = sorted(range(400), key=lambda row: scores[row])  # which is stable
    for which, first in (("lowest", 0), ("middle", 160), ("highest", 320)):
        kept = actions.keep(scores, 0.2, which=which).kept
        assert np.flatnonzero(kept).tolist() == sorted(order[first : first + 80])
    dropped = ~actions.drop_highest(scores, 0.2).kept
    assert np.flatnonzero(dropped).tolist() == sorted(order[320:])
