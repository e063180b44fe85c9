"""Out-of-fold scores come from models that never saw the user, and agree with cleanlab."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.rank import get_label_quality_scores
from scipy.stats import rankdata
from small_samples import train_rows

from helpers.importance import (
    adjusted_margins,
    out_of_fold_losses,
    out_of_fold_probabilities,
)
from helpers.models import LADDER, Fitted, Trainer

ROWS = 48


@pytest.fixture(scope="module")
def rows():
    return train_rows(ROWS)


@pytest.fixture(scope="module")
def trainer(rows):
    return Trainer(LADDER["logistic"], {"dense": rows[0]["dense"]}, {}, batch_size=16)


@pytest.fixture
def seen(monkeypatch):
    """What each model of a call was trained from, and which rows it was asked about."""
    fits, asked = [], []
    fit, probabilities = Trainer.fit, Fitted.probabilities

    def spy_fit(self, labels, **options):
        fits.append(options)
        return fit(self, labels, **options)

    def spy_probabilities(self, inputs):
        asked.append(inputs["dense"])
        return probabilities(self, inputs)

    monkeypatch.setattr(Trainer, "fit", spy_fit)
    monkeypatch.setattr(Fitted, "probabilities", spy_probabilities)
    return fits, asked


def test_in_every_deal_each_row_is_asked_once_of_a_model_without_its_user(rows, trainer, seen):
    _, labels, users = rows
    out_of_fold_probabilities(trainer, labels, users, folds=4, updates=2, repeats=3, seed=5)
    fits, asked = seen
    assert [options["seed"] for options in fits] == [5] * 4 + [6] * 4 + [7] * 4
    deals = []
    for repeat in range(3):
        counted = np.zeros(ROWS, dtype=int)
        parts = []
        for options, inputs in list(zip(fits, asked, strict=True))[4 * repeat :][:4]:
            held = np.setdiff1d(np.arange(ROWS), options["rows"])
            assert not set(users[options["rows"]]) & set(users[held])
            np.testing.assert_array_equal(inputs, trainer.inputs["dense"][held])
            counted[held] += 1
            parts.append(tuple(held))
        assert (counted == 1).all()
        deals.append(set(parts))
    assert deals[0] != deals[1] != deals[2]  # the users are dealt anew


def test_repeats_are_the_average_of_single_deals(rows, trainer, seen):
    _, labels, users = rows
    found = out_of_fold_probabilities(trainer, labels, users, updates=10, repeats=2, seed=3)
    total = np.zeros(ROWS)
    for options in list(seen[0]):  # each model again, by hand
        held = np.setdiff1d(np.arange(ROWS), options["rows"])
        fitted = Trainer.fit(trainer, labels, **options)
        total[held] += fitted.probabilities({"dense": trainer.inputs["dense"][held]})
    np.testing.assert_allclose(found, total / 2, rtol=1e-6)


def test_names_of_users_do_not_matter(rows, trainer):
    _, labels, users = rows
    first, other = (
        out_of_fold_probabilities(trainer, labels, names, updates=3)
        for names in (users, np.array([f"household {user}" for user in users]))
    )
    np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, r"folds must be in \[2, .*\]; got 1|number of users\); got 1"),
        ({"repeats": 0}, "repeats must be at least 1; got 0"),
    ],
    ids=["folds", "repeats"],
)
def test_deals_that_cannot_be_made_are_refused(rows, trainer, options, message):
    with pytest.raises(ValueError, match=message):
        out_of_fold_probabilities(trainer, rows[1], rows[2], **options)


# ---------------------------------------------------------------- the same as cleanlab


def random_predictions(seed, *, ties):
    """Return labels and probabilities of 400 rows; with ties only a few probabilities occur.

    The few are parts of 128, whose sums and differences no rounding touches.
    """
    rng = np.random.default_rng(seed)
    labels = (rng.random(400) < 0.3).astype(int)
    p = rng.beta(1, 3, size=400)
    return labels, (np.round(p * 126) + 1) / 128 if ties else p


def cleanlab(labels, p, **options):
    return get_label_quality_scores(labels, np.column_stack([1 - p, p]), **options)


@pytest.mark.parametrize("ties", [False, True], ids=["no ties", "ties"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_losses_rank_the_labels_as_self_confidence_of_cleanlab_does(seed, ties):
    labels, p = random_predictions(seed, ties=ties)
    quality = cleanlab(labels, p, method="self_confidence")
    np.testing.assert_array_equal(rankdata(out_of_fold_losses(labels, p)), rankdata(-quality))
    assert (len(np.unique(quality)) < 200) == ties


@pytest.mark.parametrize("ties", [False, True], ids=["no ties", "ties"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_margins_rank_the_labels_as_the_adjusted_margins_of_cleanlab_do(seed, ties):
    labels, p = random_predictions(seed, ties=ties)
    quality = cleanlab(labels, p, method="normalized_margin", adjust_pred_probs=True)
    margins = adjusted_margins(labels, p)
    # Both sides round: of rows that tie in exact arithmetic, only the rounding differs.
    np.testing.assert_array_equal(rankdata(margins.round(9)), rankdata(-quality.round(9)))


def test_losses_are_finite_logarithms_of_the_given_label():
    found = out_of_fold_losses([1, 0, 1, 0], [0.25, 0.25, 0.0, 1.0])
    np.testing.assert_allclose(found[:2], [np.log(4), np.log(4 / 3)], rtol=1e-12)
    assert np.isfinite(found).all()
    assert (found[2:] > 20).all()


def test_margins_are_against_each_classs_own_average():
    labels, p = np.array([1, 1, 0, 0]), np.array([0.5, 0.3, 0.1, 0.3])
    t1, t0 = (0.5 + 0.3) / 2, (0.9 + 0.7) / 2
    given = np.where(labels == 1, p - t1, 1 - p - t0)
    other = np.where(labels == 1, 1 - p - t0, p - t1)
    np.testing.assert_allclose(adjusted_margins(labels, p), other - given, rtol=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_margin(label):
    with pytest.raises(ValueError, match="both labels must occur"):
        adjusted_margins([label] * 3, [0.1, 0.2, 0.3])
