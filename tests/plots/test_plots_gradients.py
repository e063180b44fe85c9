"""The figures of gradients draw exactly the tables they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from helpers.plots import new_axes, plot_cost, plot_pairs, plot_time_parts

SHARES = pd.DataFrame(
    {"products": [0.02, 0.3], "others": [0.08, 0.5], "rest": [0.9, 0.2]},
    index=["the loop", "the batch"],
)
PAIRS = pd.DataFrame([[4.0, -1.0], [-1.0, -0.04]], [1, 2], [1, 2])
COST = pd.DataFrame(
    {"rows": [32, 4096], "step_ms": [1.0, 20.0], "norms_ms": [2.0, 16.0], "ratio": [2.0, 0.8]}
)


@pytest.mark.parametrize(
    ("plot", "table"), [(plot_time_parts, SHARES), (plot_pairs, PAIRS), (plot_cost, COST)]
)
def test_a_figure_is_drawn_on_the_given_axes_with_the_given_title(plot, table):
    given, before = new_axes(), table.copy()
    assert plot(table, ax=given, title="What was found") is given
    assert given.get_title(loc="left") + given.get_title() == "What was found"
    assert plot(table) is not given
    pd.testing.assert_frame_equal(table, before)


def test_each_way_is_one_bar_cut_into_its_shares_from_the_top():
    ax = plot_time_parts(SHARES)
    left = np.zeros(2)
    for bars, (name, shares) in zip(ax.containers, SHARES.items(), strict=True):
        assert bars.get_label() == name
        np.testing.assert_allclose([bar.get_width() for bar in bars], shares, rtol=1e-12)
        np.testing.assert_allclose([bar.get_x() for bar in bars], left, rtol=1e-12)
        left += shares
    assert [t.get_text() for t in ax.get_yticklabels()] == list(SHARES.index)
    assert ax.yaxis_inverted()
    assert [t.get_text() for t in ax.texts] == ["30%", "8%", "50%", "90%", "20%"]


def test_the_shares_differ_in_grey():
    ax = plot_time_parts(SHARES)
    grey = [np.dot(to_rgb(bars[0].get_facecolor()), [0.3, 0.59, 0.11]) for bars in ax.containers]
    assert np.diff(grey).min() > 0.15


def test_pairs_are_written_and_coloured_around_zero():
    ax = plot_pairs(PAIRS)
    np.testing.assert_array_equal(ax.images[0].get_array(), PAIRS)
    assert ax.images[0].get_clim() == (-4, 4)
    assert [t.get_text() for t in ax.texts] == ["4.0", "-1.0", "-1.0", "0.0"]
    assert plot_pairs(0 * PAIRS).images[0].get_clim() == (-1, 1)


def test_the_cost_is_drawn_in_gradient_steps_with_its_milliseconds():
    ax = plot_cost(COST)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), COST[["rows", "ratio"]])
    assert list(ax.lines[1].get_ydata()) == [1, 1]
    assert [t.get_text() for t in ax.texts] == ["2.0 ms", "16.0 ms"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["32", "4,096"]
    assert ax.get_ylim()[0] == 0
