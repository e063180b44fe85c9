"""The figures of evaluation draw exactly the tables they are given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_hex

from helpers.plots.metrics import (
    plot_before_after,
    plot_keep_curve,
    plot_reliability,
    plot_roc,
)
from helpers.plots.style import COLORS, new_axes

CURVES = [
    (plot_reliability, ["mean_prediction", "positive_share"], "model"),
    (plot_roc, ["false_positive_rate", "true_positive_rate"], "model"),
    (plot_keep_curve, ["kept_fraction", "ndcg"], "action"),
]


def _curves(columns, by):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((6, 2)), columns=columns)
    table[by] = ["zebra", "ant", "zebra", "ant", "ant", "zebra"]
    return table


def _differences():
    return pd.DataFrame(
        {
            "metric": ["auc", "log_loss", "ndcg_at_k"],
            "better": ["higher", "lower", "higher"],
            "difference": [0.01, -0.02, 0.001],
            "low": [0.004, -0.03, -0.002],
            "high": [0.02, -0.01, 0.003],
        }
    )


def _drawn(ax):
    """Return the lines that show the table: all but the dotted guide."""
    return [line for line in ax.lines if to_hex(line.get_color()) != COLORS["grey"].lower()]


@pytest.mark.parametrize(("plot", "columns", "by"), CURVES)
def test_a_curve_draws_the_rows_it_is_given(plot, columns, by):
    table = _curves(columns, by).drop(columns=by)
    (line,) = _drawn(plot(table))
    np.testing.assert_array_equal(line.get_xydata(), table.to_numpy())


@pytest.mark.parametrize(("plot", "columns", "by"), CURVES)
def test_each_name_has_its_own_curve_colour_and_dashes(plot, columns, by):
    table = _curves(columns, by)
    ax = plot(table)
    lines = _drawn(ax)
    for line, name in zip(lines, ["zebra", "ant"], strict=True):
        want = table.loc[table[by] == name, columns].to_numpy()
        np.testing.assert_array_equal(line.get_xydata(), want)
        assert line.get_label() == name
    assert lines[0].get_color() != lines[1].get_color()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    assert [t.get_text() for t in ax.get_legend().get_texts()][-2:] == ["zebra", "ant"]


@pytest.mark.parametrize(("plot", "columns", "by"), CURVES)
def test_a_figure_is_drawn_on_the_given_axes_with_the_given_title(plot, columns, by):
    given = new_axes()
    ax = plot(_curves(columns, by), ax=given, title="What was found")
    assert ax is given
    assert ax.get_title(loc="left") == "What was found"
    assert ax.get_xlabel()
    assert ax.get_ylabel()


@pytest.mark.parametrize("plot", [plot_reliability, plot_roc])
def test_the_dotted_line_is_the_diagonal(plot):
    columns = dict((p, c) for p, c, _ in CURVES)[plot]
    guide = plot(_curves(columns, "model")).lines[0]
    assert (guide.get_xy1(), guide.get_slope()) == ((0, 0), 1)


def test_a_band_is_drawn_from_low_to_high():
    table = pd.DataFrame({"kept_fraction": [0.5, 1.0], "auc": [0.8, 0.7]})
    table["low"], table["high"] = table["auc"] - 0.1, table["auc"] + 0.2
    ax = plot_keep_curve(table, metric="auc")
    (band,) = [c for c in ax.collections if isinstance(c, FillBetweenPolyCollection)]
    corners = band.get_paths()[0].vertices
    for row in table.itertuples():
        heights = corners[corners[:, 0] == row.kept_fraction, 1]
        assert (heights.min(), heights.max()) == (row.low, row.high)


def test_before_after_draws_a_line_and_a_point_for_each_metric():
    table = _differences()
    ax = plot_before_after(table)
    zero, *drawn = ax.lines
    assert list(zero.get_xdata()) == [0, 0]
    for place, row in enumerate(table.itertuples()):
        interval, point = drawn[2 * place : 2 * place + 2]
        np.testing.assert_array_equal(interval.get_xydata(), [[row.low, place], [row.high, place]])
        np.testing.assert_array_equal(point.get_xydata(), [[row.difference, place]])
    assert len(drawn) == 2 * len(table)


def test_before_after_puts_the_first_metric_on_top_and_names_the_better_side():
    ax = plot_before_after(_differences())
    bottom, top = ax.get_ylim()
    assert bottom > top
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:2] == ["auc\n(higher is better)", "log_loss\n(lower is better)"]
    plain = plot_before_after(_differences().drop(columns="better"))
    assert [label.get_text() for label in plain.get_yticklabels()][0] == "auc"


def test_before_after_fills_only_the_points_whose_interval_excludes_zero():
    points = plot_before_after(_differences()).lines[2::2]
    filled = [to_hex(point.get_markerfacecolor()) != "#ffffff" for point in points]
    assert filled == [True, True, False]


def test_before_after_writes_the_numbers_of_the_table():
    texts = [text.get_text() for text in plot_before_after(_differences()).texts]
    assert texts[0] == "+0.0100  [+0.0040, +0.0200]"


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.018, 0.002])
def test_the_numbers_below_a_difference_do_not_touch(scale: float):
    table = _differences().assign(low=0.3 * scale, difference=0.7 * scale, high=scale)
    ax = plot_before_after(table)
    ax.figure.canvas.draw()
    left, right = ax.get_xlim()
    shown = [t for t in ax.get_xticklabels() if left <= t.get_position()[0] <= right]
    boxes = sorted((t.get_window_extent() for t in shown), key=lambda box: box.x0)
    assert len(boxes) > 2
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
