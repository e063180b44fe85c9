import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss as library_log_loss

from helpers.evaluation.calibration import (
    Recalibration,
    base_rate,
    calibration_error,
    calibration_table,
    fit_recalibration,
    fit_through_noise,
    log_loss,
    log_loss_from_logits,
    shift_logits,
)


def _rows(n=2000, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1.5, n)
    labels = (rng.random(n) < expit(logits)).astype(int)
    return labels, scale * logits


def test_log_loss_equals_scikit_learn_where_nothing_is_clipped():
    labels, logits = _rows()
    want = library_log_loss(labels, expit(logits))
    assert log_loss(labels, expit(logits)) == pytest.approx(want, rel=1e-12)
    assert log_loss_from_logits(labels, logits) == pytest.approx(want, rel=1e-12)


def test_log_loss_of_a_certain_and_wrong_row_is_infinite_and_of_a_certain_right_one_zero():
    assert log_loss([1, 0], [0.0, 0.0]) == log_loss([1, 0], [1.0, 1.0]) == np.inf
    assert log_loss([1, 0], [1.0, 0.0]) == 0.0


def test_log_loss_from_logits_is_exact_for_huge_logits():
    assert log_loss_from_logits([0, 1, 1, 0], [1e4, -1e4, 1e4, -1e4]) == 2 * 1e4 / 4
    assert log_loss_from_logits([1], [40.0]) == pytest.approx(np.exp(-40), rel=1e-12)


def test_base_rate_is_the_mean_prediction():
    assert base_rate([0.1, 0.2, 0.6]) == pytest.approx((0.1 + 0.2 + 0.6) / 3, rel=1e-15)


def test_calibration_table_equals_scikit_learns_quantile_bins():
    labels, logits = _rows()
    table = calibration_table(labels, expit(logits), bins=7)
    share, prediction = calibration_curve(labels, expit(logits), n_bins=7, strategy="quantile")
    np.testing.assert_allclose(table["positive_share"], share, rtol=1e-12)
    np.testing.assert_allclose(table["mean_prediction"], prediction, rtol=1e-12)
    assert table["rows"].sum() == len(labels)
    assert table["rows"].max() - table["rows"].min() <= 1


def test_calibration_error_is_the_mean_gap_weighted_by_rows():
    labels, predictions = [0, 1, 0, 1, 1], [0.2, 0.2, 0.2, 0.9, 0.9]
    want = 3 / 5 * abs(0.2 - 1 / 3) + 2 / 5 * abs(0.9 - 1)
    assert calibration_error(labels, predictions, bins=2) == pytest.approx(want, rel=1e-12)


def test_calibration_error_does_not_depend_on_the_order_of_tied_rows():
    labels, predictions = np.array([0, 1] * 50), np.repeat([0.3, 0.4], 50)
    order = np.random.default_rng(1).permutation(100)
    table = calibration_table(labels, predictions, bins=10)
    assert table["rows"].tolist() == [50, 50]
    assert calibration_error(labels[order], predictions[order]) == pytest.approx(
        calibration_error(labels, predictions), rel=1e-12
    )


def test_equal_predictions_make_one_bin():
    table = calibration_table([0, 1, 1], [0.5, 0.5, 0.5], bins=3)
    assert table.to_dict("records") == [
        {"rows": 3, "mean_prediction": 0.5, "positive_share": pytest.approx(2 / 3)}
    ]


def test_recalibration_undoes_a_known_stretch_and_shift():
    labels, logits = _rows(n=40_000)
    line = fit_recalibration(labels, 4 * logits + 2)
    assert line.slope_fitted
    # The truth is logit = (input - 2) / 4; three standard errors at this size are about 0.04.
    assert 4 * line.slope == pytest.approx(1, abs=0.04)
    assert line.intercept + 2 * line.slope == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("scale", "centre"), [(1, 0), (1e-3, 0), (1e4, 0), (1, 500)])
def test_recalibration_leaves_no_slope_in_the_errors(scale, centre):
    labels, logits = _rows(n=500)
    line = fit_recalibration(labels, scale * logits + centre)
    errors = line.apply(scale * logits + centre) - labels
    np.testing.assert_allclose([errors.mean(), (errors * logits).mean()], 0, atol=1e-7)
    assert line.apply(scale * logits + centre).mean() == pytest.approx(labels.mean(), abs=1e-7)


def test_recalibration_cannot_raise_the_log_loss_of_the_rows_it_was_fitted_on():
    labels, logits = _rows(n=300, scale=3.0)
    line = fit_recalibration(labels, logits)
    after = log_loss_from_logits(labels, line.logits(logits))
    assert after < log_loss_from_logits(labels, logits)
    assert after == pytest.approx(log_loss(labels, line.apply(logits)), rel=1e-9)


@pytest.mark.parametrize(
    ("labels", "logits"),
    [
        ([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0]),
        ([1, 1, 0, 0], [-2.0, -1.0, 1.0, 2.0]),
        ([0, 1, 1, 1], [0.0, 0.0, 1.0, 2.0]),
        ([0, 0, 0, 1], [5.0, 5.0, 5.0, 5.0]),
    ],
    ids=["separated", "separated the wrong way", "separated but for a tie", "constant"],
)
def test_recalibration_fits_only_the_intercept_where_no_slope_is_best(labels, logits):
    line = fit_recalibration(labels, logits)
    assert (line.slope, line.slope_fitted) == (1.0, False)
    assert line.apply(logits).mean() == pytest.approx(np.mean(labels), abs=1e-9)


def test_recalibration_is_a_line_in_the_logit():
    line = Recalibration(slope=2.0, intercept=-1.0)
    np.testing.assert_array_equal(line.logits([0.0, 3.0]), [-1.0, 5.0])
    np.testing.assert_allclose(line.apply([0.0]), [1 / (1 + np.exp(1.0))], rtol=1e-15)


def test_shift_logits_gives_back_the_probability_before_the_negatives_were_sampled():
    positive, negative, kept = 30, 970, 0.1
    in_sample = logit(positive / (positive + kept * negative))
    shifted = shift_logits([in_sample], np.log(kept))
    np.testing.assert_allclose(expit(shifted), positive / (positive + negative), rtol=1e-12)


@pytest.mark.parametrize("values", [[0.5, 0.2], [[0.5], [0.2]]], ids=["flat", "column"])
def test_a_column_of_predictions_is_read_as_one_prediction_a_row(values):
    assert log_loss([1, 0], values) == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2, rel=1e-12)


def test_a_column_of_labels_is_read_as_one_label_a_row():
    want = log_loss([1, 0], [0.5, 0.2])
    assert log_loss([[1], [0]], [0.5, 0.2]) == want
    assert log_loss(np.array([[1], [0]]), [[0.5], [0.2]]) == want
    with pytest.raises(ValueError, match="one value per row"):
        log_loss([[1, 0], [0, 1]], [0.5, 0.2])


@pytest.mark.parametrize("metric", [log_loss, log_loss_from_logits, calibration_error])
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "is empty"),
        ([0, 1, 1], [0.1, 0.2], r"one value per row; got \(3,\) labels and \(2,\)"),
        ([[0, 1]], [0.1, 0.2], "one value per row"),
        ([0, 1], [[0.1, 0.2], [0.3, 0.4]], r"must have shape \(n,\) or \(n, 1\); got \(2, 2\)"),
        ([0, 1], [0.1, np.nan], "1 of 2 are NaN or infinite, the first in row 1"),
        ([0, 1], [np.inf, 0.1], "the first in row 0"),
        ([0, 2], [0.1, 0.2], r"labels must be 0 or 1; got 2 \(1 such rows\)"),
        ([0, np.nan], [0.1, 0.2], "labels must be 0 or 1; got nan"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(metric, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, scores)


@pytest.mark.parametrize("metric", [log_loss, calibration_error])
def test_logits_given_for_probabilities_are_refused(metric):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]; they run from -2 to 3"):
        metric([0, 1], [-2.0, 3.0])


@pytest.mark.parametrize("p", [[0.1, 1.5], [-0.5, 0.9], [0.1, 1 + 1e-9]])
def test_one_number_outside_is_enough_to_refuse_probabilities(p):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        log_loss([0, 1], p)


@pytest.mark.parametrize("bins", [0, 4])
def test_an_impossible_number_of_bins_is_refused(bins):
    with pytest.raises(ValueError, match=rf"bins must be in \[1, 3\].*got {bins}"):
        calibration_error([0, 1, 1], [0.1, 0.2, 0.3], bins=bins)


def test_recalibration_on_one_class_is_refused():
    with pytest.raises(ValueError, match="both classes; all 2 are 1"):
        fit_recalibration([1, 1], [0.0, 1.0])


# ---------------------------------------------------------------- a line through noise


def seen_through(noise: float, *, down: bool, rng: np.random.Generator, n: int = 200_000):
    """Draw logits, genuine labels with a line of their own, and the labels as seen."""
    z = rng.normal(size=n) * 2
    genuine = rng.random(n) < expit(0.7 * z - 0.5)
    turned = rng.random(n) < np.where(genuine, noise * down, noise)
    return z, genuine, genuine ^ turned


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_a_line_through_noise_is_the_line_of_the_genuine_labels(noise: float, down: bool):
    z, genuine, seen = seen_through(noise, down=down, rng=np.random.default_rng(5))
    line, rate = fit_through_noise(seen, z, down=down)
    want = fit_recalibration(genuine, z)
    assert rate == pytest.approx(noise, abs=0.015)
    assert line.slope == pytest.approx(want.slope, rel=0.15)
    assert line.intercept == pytest.approx(want.intercept, abs=0.15)
    blind = fit_recalibration(seen, z)
    assert abs(blind.intercept - want.intercept) > 2 * abs(line.intercept - want.intercept)


def test_without_noise_the_rate_is_nought_and_the_line_the_plain_one():
    z, genuine, _ = seen_through(0.2, down=True, rng=np.random.default_rng(9))
    line, rate = fit_through_noise(genuine, z)
    plain = fit_recalibration(genuine, z)
    assert rate < 0.01
    assert line.slope == pytest.approx(plain.slope, rel=0.03)
    assert line.intercept == pytest.approx(plain.intercept, abs=0.03)


def test_the_fit_is_the_best_of_a_fine_grid():
    z, _, seen = seen_through(0.1, down=False, rng=np.random.default_rng(10), n=4000)
    line, rate = fit_through_noise(seen, z, down=False)

    def cost(slope: float, intercept: float, r: float) -> float:
        q = r + (1 - r) * expit(slope * z + intercept)
        return library_log_loss(seen, q) + np.log(slope) ** 2 / (2 * len(z))

    best = cost(line.slope, line.intercept, rate)
    for slope in line.slope * np.linspace(0.5, 2, 13):
        for intercept in line.intercept + np.linspace(-0.5, 0.5, 11):
            for r in (0.0, 0.05, rate, 0.1, 0.15, 0.3):
                assert cost(slope, intercept, r) >= best - 1e-7


def test_dropping_the_rows_that_look_wrong_gives_a_line_that_is_far_too_sure():
    z, genuine, seen = seen_through(0.2, down=True, rng=np.random.default_rng(6))
    looks_right = (0.7 * z - 0.5 > 0) == seen
    few = np.random.default_rng(0).random(len(z)) < 0.02  # without exceptions there is no line
    dropped = fit_recalibration(seen[looks_right | few], z[looks_right | few])
    want = fit_recalibration(genuine, z).slope
    assert dropped.slope > 2 * want
    assert fit_through_noise(seen, z)[0].slope < 1.1 * want


def test_classes_can_be_exchanged_where_both_are_turned():
    z, _, seen = seen_through(0.1, down=True, rng=np.random.default_rng(7), n=20_000)
    line, rate = fit_through_noise(seen, z)
    other, same = fit_through_noise(~seen, -z)
    assert same == pytest.approx(rate, abs=1e-3)
    assert other.slope == pytest.approx(line.slope, rel=1e-2)
    assert other.intercept == pytest.approx(-line.intercept, abs=1e-2)


def test_where_noise_explains_everything_the_slope_stays_finite():
    rng = np.random.default_rng(8)
    z = np.repeat([-1.0, 1.0], 5000)
    seen = (z > 0) ^ (rng.random(len(z)) < 0.1)
    line, rate = fit_through_noise(seen, z)
    assert np.isfinite([line.slope, line.intercept]).all()
    assert 0 <= rate <= 0.12


@pytest.mark.parametrize("down", [True, False])
def test_a_rate_stays_below_a_half_however_many_labels_are_turned(down: bool):
    z, _, seen = seen_through(0.8, down=down, rng=np.random.default_rng(11), n=20_000)
    line, rate = fit_through_noise(seen, z, down=down)
    assert 0 <= rate <= 0.49
    assert line.slope > 0
