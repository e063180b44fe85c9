"""The figures of losses draw exactly the tables they are given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from helpers.plots.losses import plot_descent, plot_fitted_lines, plot_loss_shapes


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def shapes():
    z = np.array([-1.0, 0.0, 2.0])
    keys = [("cross-entropy", 1), ("cross-entropy", 0), ("squared error", 1), ("squared error", 0)]
    parts = [
        pd.DataFrame({"logit": z, "loss": loss, "label": label, "value": z * i + i})
        for i, (loss, label) in enumerate(keys, start=1)
    ]
    return pd.concat(parts, ignore_index=True), keys


def descent():
    return pd.DataFrame({"step": [0, 1, 0, 1], "loss": [2.0, 1, 2, 3], "name": list("aabb")})


def test_loss_shapes_draws_one_line_for_each_loss_and_label():
    table, keys = shapes()
    ax = plot_loss_shapes(table, title="a finding", ylabel="slope")
    assert [line.get_label() for line in ax.lines] == [f"{a}, label {b}" for a, b in keys]
    for line, (loss, label) in zip(ax.lines, keys, strict=True):
        rows = table[(table["loss"] == loss) & (table["label"] == label)]
        np.testing.assert_array_equal(line.get_xydata(), rows[["logit", "value"]])
    assert (ax.get_title(loc="left"), ax.get_ylabel()) == ("a finding", "slope")


def test_loss_shapes_tells_losses_by_colour_and_labels_by_dashes():
    ax = plot_loss_shapes(shapes()[0])
    a1, a0, b1, b0 = ax.lines
    assert a1.get_color() == a0.get_color() != b1.get_color() == b0.get_color()
    assert a1.get_linestyle() == b1.get_linestyle() != a0.get_linestyle() == b0.get_linestyle()


def test_fitted_lines_draws_the_points_and_each_line():
    points = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 5.0]})
    lines = pd.DataFrame({"x": [0, 2, 0, 2], "y": [0, 1, 1, 5], "name": ["s0", "s0", "s9", "s9"]})
    ax = plot_fitted_lines(points, lines, xlabel="x (m)")
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), points)
    for line, name in zip(ax.lines, ["s0", "s9"], strict=True):
        rows = lines.loc[lines["name"] == name, ["x", "y"]]
        np.testing.assert_array_equal(line.get_xydata(), rows)
    assert ax.get_xlabel() == "x (m)"


def test_descent_draws_each_run_on_a_log_axis_with_dashes_of_its_own():
    table = descent()
    ax = plot_descent(table, title="it falls")
    for line, name in zip(ax.lines, "ab", strict=True):
        np.testing.assert_array_equal(
            line.get_xydata(), table.loc[table["name"] == name, ["step", "loss"]]
        )
    assert ax.get_yscale() == "log"
    assert len({line.get_linestyle() for line in ax.lines}) == 2
    assert len({line.get_color() for line in ax.lines}) == 2


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot_descent(descent(), ax=ax),
        lambda ax: plot_loss_shapes(shapes()[0], ax=ax),
        lambda ax: plot_fitted_lines(
            pd.DataFrame({"x": [1], "y": [1]}),
            pd.DataFrame({"x": [1, 2], "y": [1, 2], "name": ["a", "a"]}),
            ax=ax,
        ),
    ],
)
def test_a_figure_draws_on_the_axes_it_is_given(draw):
    _, ax = plt.subplots()
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1


def test_a_table_without_a_needed_column_is_an_error_that_names_it():
    with pytest.raises(KeyError, match="name"):
        plot_descent(descent().drop(columns="name"))
