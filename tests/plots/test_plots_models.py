"""The figures of models, scores and actions draw exactly the tables they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from helpers.plots.actions import plot_study
from helpers.plots.models import plot_history, plot_ladder
from helpers.plots.scores import (
    plot_agreement,
    plot_score_groups,
    plot_score_share,
    plot_surprise_leverage,
)
from helpers.plots.style import COLORS, new_axes

LADDER = pd.DataFrame(
    {"model": ["popular", "mlp"], "auc": [0.7, 0.8], "low": [0.6, 0.78], "high": [0.75, 0.85]}
)
HISTORY = pd.DataFrame(
    {
        "model": ["linear"] * 2 + ["mlp"] * 3,
        "updates": [10, 20, 5, 10, 15],
        "train_loss": [0.5, 0.4, 0.6, 0.5, 0.45],
        "valid_loss": [0.55, 0.5, 0.7, 0.52, 0.6],
    }
)
GROUPS = pd.DataFrame(
    {
        "group": ["bought", "not"],
        "low": [1.0, 0.1],
        "middle": [2.0, 0.2],
        "high": [5.0, 0.4],
        "samples": [1200, 8],
    }
)
SHARE = pd.DataFrame(
    {
        "score": ["loss", "loss", "norm", "norm"],
        "top_share": [0.1, 1.0, 0.1, 1.0],
        "total_share": [0.5, 1.0, 0.3, 1.0],
    }
)
AGREEMENT = pd.DataFrame([[1.0, -0.25], [-0.25, 1.0]], ["loss", "a_b"], ["loss", "a_b"])
STUDY = pd.DataFrame(
    {
        "action": ["up", "drop", "up", "drop"],
        "model": ["linear", "linear", "mlp", "mlp"],
        "difference": [-0.1, 0.02, -0.2, 0.01],
        "low": [-0.15, 0.01, -0.3, -0.01],
        "high": [-0.08, 0.05, -0.1, 0.02],
    }
)


def scatter():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"surprise": rng.random(500), "leverage": rng.uniform(2, 9, 500)})


def whiskers(ax):
    """Return the ends of all error bars, one array (points, 2) a container."""
    return [
        np.array([segment[:, 0] for segment in container.lines[2][0].get_segments()])
        for container in ax.containers
    ]


@pytest.mark.parametrize(
    ("plot", "table"),
    [
        (plot_ladder, LADDER),
        (plot_history, HISTORY),
        (plot_surprise_leverage, scatter()),
        (plot_score_groups, GROUPS),
        (plot_score_share, SHARE),
        (plot_agreement, AGREEMENT),
        (plot_study, STUDY),
    ],
)
def test_a_figure_is_drawn_on_the_given_axes_with_the_given_title(plot, table):
    given, before = new_axes(), table.copy()
    assert plot(table, ax=given, title="What was found") is given
    assert given.get_title(loc="left") + given.get_title() == "What was found"
    assert plot(table) is not given
    pd.testing.assert_frame_equal(table, before)


def test_the_ladder_draws_each_model_with_its_interval():
    ax = plot_ladder(LADDER)
    points = ax.containers[0].lines[0]
    np.testing.assert_array_equal(points.get_xdata(), LADDER["auc"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["popular", "mlp"]
    np.testing.assert_allclose(whiskers(ax)[0], LADDER[["low", "high"]], rtol=1e-12)
    assert [t.get_text() for t in ax.texts] == ["0.700", "0.800"]


def test_the_history_has_a_dashed_and_a_solid_line_a_model():
    lines = plot_history(HISTORY).lines
    for place, (model, part) in enumerate(HISTORY.groupby("model", sort=False)):
        train, valid = lines[2 * place : 2 * place + 2]
        np.testing.assert_array_equal(train.get_xydata(), part[["updates", "train_loss"]])
        np.testing.assert_array_equal(valid.get_xydata(), part[["updates", "valid_loss"]])
        assert (train.get_linestyle(), valid.get_linestyle()) == ("--", "-")
        assert (train.get_label(), valid.get_label()) == (f"{model}, train", f"{model}, valid")
        assert train.get_color() == valid.get_color()
    assert lines[0].get_color() != lines[2].get_color()


def test_every_sample_lies_in_a_cell_and_curves_are_products():
    table = scatter()
    ax = plot_surprise_leverage(table)
    assert ax.collections[0].get_array().sum() == len(table)
    for curve, norm in zip(ax.lines, (1, 3), strict=False):
        surprise, leverage = curve.get_xydata().T
        np.testing.assert_allclose(surprise * leverage, norm, rtol=1e-12)
        assert f"||g|| = {norm}" in [t.get_text() for t in ax.texts]


def test_groups_are_drawn_from_quartile_to_quartile():
    ax = plot_score_groups(GROUPS, xlabel="loss")
    np.testing.assert_array_equal(ax.containers[0].lines[0].get_xdata(), GROUPS["middle"])
    np.testing.assert_allclose(whiskers(ax)[0], GROUPS[["low", "high"]], rtol=1e-12)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["bought (n=1,200)", "not (n=8)"]
    assert ax.get_xlabel() == "loss"


def test_each_score_has_its_own_curve_of_shares_beside_the_diagonal():
    ax = plot_score_share(SHARE)
    *curves, guide = ax.lines
    for line, (score, part) in zip(curves, SHARE.groupby("score", sort=False), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), part[["top_share", "total_share"]])
        assert line.get_label() == score
    assert curves[0].get_linestyle() != curves[1].get_linestyle()
    assert (guide.get_xy1(), guide.get_slope()) == ((0, 0), 1)


def test_the_agreement_shows_and_writes_every_value():
    ax = plot_agreement(AGREEMENT)
    np.testing.assert_array_equal(ax.images[0].get_array(), AGREEMENT)
    assert ax.images[0].get_clim() == (-1, 1)
    assert [t.get_text() for t in ax.texts] == ["1.00", "-0.25", "-0.25", "1.00"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["loss", "a b"]


def test_the_study_draws_each_model_and_action_once():
    ax = plot_study(STUDY, xlabel="difference of AUC")
    for container, (model, part), ends in zip(
        ax.containers, STUDY.groupby("model", sort=False), whiskers(ax), strict=True
    ):
        x, y = container.lines[0].get_xydata().T
        np.testing.assert_array_equal(x, part["difference"])
        np.testing.assert_allclose(ends, part[["low", "high"]], rtol=1e-12)
        assert container.get_label() == model
        assert (np.diff(y) < 0).all()  # from top to bottom in the order of the rows
    assert list(ax.lines[0].get_xdata()) == [0, 0]
    ticks = dict(zip(ax.get_yticks(), [t.get_text() for t in ax.get_yticklabels()], strict=True))
    assert ticks == {1.0: "up", 0.0: "drop"}
    colors = {to_hex(c.lines[0].get_color()) for c in ax.containers}
    assert colors == {COLORS["orange"].lower(), COLORS["blue"].lower()}
