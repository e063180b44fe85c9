import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as library

from helpers.evaluation import (
    Recalibration,
    best_threshold,
    calibration_error,
    evaluate,
    fit_recalibration,
    log_loss_from_logits,
    ndcg_at_k,
    pr_auc,
    roc_auc,
    roc_curve,
    threshold_metrics,
    user_auc,
)

ONE_NUMBER = [roc_auc, pr_auc]


def _rows(n=2000, seed=0, decimals=1):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.2).astype(int)
    return labels, np.round(rng.normal(size=n) + labels, decimals)


def test_threshold_metrics_equal_scikit_learn():
    labels, scores = _rows()
    got, predicted = threshold_metrics(labels, scores, 0.5), scores >= 0.5
    want = {
        "accuracy": library.accuracy_score(labels, predicted),
        "precision": library.precision_score(labels, predicted),
        "recall": library.recall_score(labels, predicted),
        "f1": library.f1_score(labels, predicted),
    }
    assert got == pytest.approx(want, rel=1e-12)


def test_a_score_equal_to_the_threshold_counts_as_positive():
    got = threshold_metrics([1, 1, 0, 0], [0.5, 0.9, 0.5, 0.1], 0.5)
    want = {"accuracy": 3 / 4, "precision": 2 / 3, "recall": 1, "f1": 2 * 2 / (3 + 2)}
    assert got == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("labels", "threshold", "undefined"),
    [
        ([0, 1], 2.0, ["precision"]),
        ([0, 0], 0.0, ["recall"]),
        ([0, 0], 2.0, ["precision", "recall", "f1"]),
    ],
    ids=["nothing predicted positive", "nothing positive", "neither"],
)
def test_what_divides_by_zero_is_nan(labels, threshold, undefined):
    got = threshold_metrics(labels, [0.2, 0.8], threshold)
    assert [name for name, value in got.items() if np.isnan(value)] == undefined


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1"])
def test_best_threshold_is_the_highest_of_the_best_scores(metric):
    labels, scores = _rows(n=300)
    tried = {t: threshold_metrics(labels, scores, t)[metric] for t in np.unique(scores)}
    want = max(t for t, value in tried.items() if value == max(tried.values()))
    assert best_threshold(labels, scores, metric) == want


def test_best_threshold_does_not_depend_on_the_order_of_rows():
    labels, scores = _rows(n=300)
    order = np.random.default_rng(3).permutation(300)
    assert best_threshold(labels[order], scores[order]) == best_threshold(labels, scores)


def test_an_unknown_metric_for_the_threshold_is_refused():
    with pytest.raises(ValueError, match="one of accuracy, precision, recall, f1; got 'auc'"):
        best_threshold([0, 1], [0.1, 0.2], "auc")


def test_auc_is_the_share_of_pairs_in_the_right_order_and_a_tie_is_half():
    labels, scores = _rows(n=200)
    gaps = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    want = np.mean((gaps > 0) + (gaps == 0) / 2)
    assert roc_auc(labels, scores) == pytest.approx(want, rel=1e-12)


def test_auc_of_equal_scores_is_one_half_whatever_the_order_of_rows():
    assert roc_auc([1, 1, 0, 0], [0.3] * 4) == roc_auc([0, 1, 0, 1], [0.3] * 4) == 0.5


def test_average_precision_of_a_hand_worked_case_with_a_tie():
    # Thresholds: 0.9 finds 1 of 1; 0.5 finds 2 of 3 (the tie enters whole); 0.1 the rest.
    want = 1 / 3 * (1 / 1) + 1 / 3 * (2 / 3) + 1 / 3 * (3 / 4)
    got = pr_auc([1, 1, 0, 1], [0.9, 0.5, 0.5, 0.1])
    assert got == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("metric", ONE_NUMBER)
def test_rank_metrics_ignore_rising_transforms_and_the_order_of_rows(metric):
    labels, scores = _rows()
    order = np.random.default_rng(4).permutation(len(labels))
    want = metric(labels, scores)
    assert metric(labels, expit(3 * scores - 1)) == pytest.approx(want, rel=1e-12)
    assert metric(labels[order], scores[order]) == pytest.approx(want, rel=1e-12)


def test_flipping_the_labels_turns_auc_upside_down():
    labels, scores = _rows()
    assert roc_auc(1 - labels, scores) == pytest.approx(1 - roc_auc(labels, scores), rel=1e-12)


def test_recalibration_with_a_rising_slope_leaves_auc_alone():
    labels, logits = _rows()
    line = fit_recalibration(labels, logits)
    assert line.slope > 0
    want = roc_auc(labels, logits)
    assert roc_auc(labels, line.logits(logits)) == pytest.approx(want, rel=1e-12)


def test_the_area_under_the_roc_curve_is_the_auc():
    labels, scores = _rows()
    curve = roc_curve(labels, scores)
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == pytest.approx(roc_auc(labels, scores), rel=1e-12)
    assert curve[["false_positive_rate", "true_positive_rate"]].iloc[-1].tolist() == [1, 1]


def test_evaluate_reports_what_the_single_metrics_say():
    labels, logits = _rows()
    users, lists = np.arange(2000) // 50, np.arange(2000) // 10
    line = Recalibration(0.5, -1.0)
    got = evaluate(labels, logits, users=users, lists=lists, k=3, recalibration=line)
    want = {
        "auc": library.roc_auc_score(labels, logits),
        "pr_auc": library.average_precision_score(labels, logits),
        "user_auc": user_auc(labels, logits, users).value,
        "ndcg_at_k": ndcg_at_k(labels, logits, lists, k=3).value,
        "log_loss": library.log_loss(labels, expit(logits)),
        "log_loss_recalibrated": log_loss_from_logits(labels, 0.5 * logits - 1),
        "calibration_error": calibration_error(labels, expit(logits)),
        "base_rate": expit(logits).mean(),
        "positive_share": labels.mean(),
    }
    assert got == pytest.approx(want, rel=1e-12)
    assert list(got) == list(want)
    assert all(type(value) is float for value in got.values())


def test_evaluate_gives_nan_for_what_was_not_asked():
    got = evaluate([0, 1], [-1.0, 1.0], users=["a", "b"], lists=None)
    undefined = {name for name, value in got.items() if np.isnan(value)}
    assert undefined == {"user_auc", "ndcg_at_k", "log_loss_recalibrated"}


@pytest.mark.parametrize(
    "metric",
    [
        *ONE_NUMBER,
        roc_curve,
        best_threshold,
        lambda labels, scores: evaluate(labels, scores, users=[1, 1], lists=[1, 1]),
    ],
)
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([], [], "is empty"),
        ([0, 1, 1], [0.1, 0.2], "one value per row"),
        ([0, 1], [0.1, np.nan], "1 of 2 are NaN or infinite"),
        ([0, 3], [0.1, 0.2], "labels must be 0 or 1; got 3"),
        ([1, 1], [0.1, 0.2], "both classes; all 2 are 1"),
        ([0, 0], [0.1, 0.2], "both classes; all 2 are 0"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(metric, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, scores)
