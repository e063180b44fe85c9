"""The figures of the data draw exactly the tables they are given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt

from helpers.plots.data import (
    plot_column_auc,
    plot_positive_share,
    plot_roles,
    plot_visible_events,
)
from helpers.plots.style import COLORS, new_axes


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def weeks():
    roles = ["train", "train", "attribution", "valid", "test"]
    return pd.DataFrame(
        {
            "cutoff": pd.date_range("2024-01-01", periods=5, freq="7D"),
            "samples": [5, 7, 2, 3, 4],
            "role": roles,
        }
    )


def days():
    return pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=4),
            "events": [3, 1, 2, 5],
            "seen": [True, True, False, False],
        }
    )


def columns():
    return pd.DataFrame(
        {
            "column": ["leak", "bought", "price"],
            "auc": [0.97, 0.76, 0.5],
            "honest": [False, True, True],
        }
    )


def share():
    return pd.DataFrame(
        {"group": ["0", "1", "2+"], "positive_share": [0.1, 0.4, 0.6], "samples": [1500, 30, 7]}
    )


def bars(container):
    """Return left edge, width and height of each bar."""
    return np.array([(b.get_x(), b.get_width(), b.get_height()) for b in container])


def test_roles_draws_one_bar_a_period_in_the_colour_of_its_role():
    table = weeks()
    ax = plot_roles(table, title="a finding")
    assert [c.get_label() for c in ax.containers] == ["train", "attribution", "valid", "test"]
    for container in ax.containers:
        rows = table[table.role == container.get_label()]
        drawn = bars(container)
        np.testing.assert_array_equal(drawn[:, 2], rows.samples)
        middle = drawn[:, 0] + drawn[:, 1] / 2
        np.testing.assert_allclose(middle, mdates.date2num(rows.cutoff), rtol=1e-12)
    colors = {to_hex(c[0].get_facecolor()) for c in ax.containers}
    assert len(colors) == len({c[0].get_hatch() for c in ax.containers}) == 4
    assert ax.get_title(loc="left") == "a finding"


def test_roles_draws_a_single_period_too():
    ax = plot_roles(weeks().head(1))
    assert [len(c) for c in ax.containers] == [1, 0, 0, 0]


def test_positive_share_draws_one_point_a_group_with_its_number_of_samples():
    table = share()
    ax = plot_positive_share(table, title="a finding", xlabel="earlier events")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), table.positive_share)
    assert [t.get_text() for t in ax.texts] == ["n=1,500", "n=30", "n=7"]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(table.group)
    assert ax.get_ylim()[0] == 0
    assert ax.get_xlabel() == "earlier events"


def test_visible_events_draws_each_day_once_and_marks_the_cutoff():
    table = days()
    cutoff, end = table.day[2], table.day[2] + pd.Timedelta(days=2)
    ax = plot_visible_events(table, cutoff=cutoff, end=end, title="a finding")
    seen, hidden = (bars(container) for container in ax.containers)
    np.testing.assert_array_equal(seen[:, 2], [3, 1])
    np.testing.assert_array_equal(hidden[:, 2], [2, 5])
    np.testing.assert_array_equal(seen[:, 0], mdates.date2num(table.day[:2]))
    assert (seen[:, 0] + seen[:, 1] <= mdates.date2num(cutoff)).all()  # no seen bar crosses it
    assert list(ax.lines[0].get_xdata()) == [cutoff, cutoff]
    [span] = [p for p in ax.patches if p not in [b for c in ax.containers for b in c]]
    drawn = span.get_x(), span.get_x() + span.get_width()
    assert drawn == (mdates.date2num(cutoff), mdates.date2num(end))
    assert ax.get_title(loc="left") == "a finding"


def test_visible_events_tells_hidden_from_seen_without_colour():
    seen, hidden = plot_visible_events(
        days(), cutoff=pd.Timestamp("2024-01-03"), end=pd.Timestamp("2024-01-05")
    ).containers
    assert seen[0].get_hatch() != hidden[0].get_hatch()


def test_column_auc_draws_one_point_a_column_from_top_to_bottom():
    table = columns()
    ax = plot_column_auc(table, title="a finding")
    guide, honest, leaks = ax.lines
    assert list(guide.get_xdata()) == [0.5, 0.5]
    np.testing.assert_array_equal(honest.get_xydata(), [[0.76, 1], [0.5, 2]])
    np.testing.assert_array_equal(leaks.get_xydata(), [[0.97, 0]])
    assert [t.get_text() for t in ax.get_yticklabels()] == list(table.column)
    assert [t.get_text() for t in ax.texts] == ["0.970", "0.760", "0.500"]
    assert ax.yaxis.get_inverted()
    assert honest.get_marker() != leaks.get_marker()
    assert to_hex(leaks.get_color()) == COLORS["red"].lower()


def test_column_auc_keeps_the_order_of_rows_whatever_their_index():
    ax = plot_column_auc(columns().sort_values("auc"))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["price", "bought", "leak"]
    np.testing.assert_array_equal(ax.lines[2].get_xydata(), [[0.97, 2]])


@pytest.mark.parametrize(
    ("plot", "table", "options"),
    [
        (plot_roles, weeks(), {}),
        (plot_positive_share, share(), {}),
        (plot_column_auc, columns(), {}),
        (
            plot_visible_events,
            days(),
            {"cutoff": pd.Timestamp("2024-01-03"), "end": pd.Timestamp("2024-01-05")},
        ),
    ],
)
def test_each_draws_on_the_axes_it_is_given_and_leaves_the_table_alone(plot, table, options):
    before, ax = table.copy(), new_axes()
    assert plot(table, ax=ax, **options) is ax
    pd.testing.assert_frame_equal(table, before)
    assert len(plt.get_fignums()) == 1
