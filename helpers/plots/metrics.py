"""Figures of evaluation: curves, calibration, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.plots.style import COLORS, new_axes

__all__ = [
    "plot_before_after",
    "plot_keep_curve",
    "plot_reliability",
    "plot_roc",
]

_HUES = ["blue", "red", "green", "purple", "orange", "sky", "black", "grey"]
#: Dashes and markers differ as well as colours, so that a grey print can be read.
_DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)), "-"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
_GUIDE: dict[str, Any] = {"color": COLORS["grey"], "linewidth": 1.3, "linestyle": ":"}


def plot_reliability(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what happened against what was predicted; on the dotted line both agree.

    Args:
        table: one row a bin, as from :func:`helpers.evaluation.calibration.calibration_table`:
            ``mean_prediction``, ``positive_share``; with a column ``model``, one curve a model.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes: the dotted line first, then one line a model, in the order of the rows.
    """
    ax = new_axes(ax, width=5.2, height=4.4)
    ax.axline((0, 0), slope=1, label="prediction = outcome", **_GUIDE)
    _draw_curves(ax, table, x="mean_prediction", y="positive_share", by="model", markers=True)
    ax.set(title=title, xlabel="mean predicted probability", ylabel="share that was positive")
    ax.legend()
    return ax


def plot_roc(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw ROC curves; on the dotted line is a random order.

    Args:
        table: one row a corner, as from :func:`helpers.evaluation.roc_curve`:
            ``false_positive_rate``, ``true_positive_rate``; with a column ``model``, one curve a
            model.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes: the dotted line first, then one line a model, in the order of the rows.
    """
    ax = new_axes(ax, width=5.2, height=4.4)
    ax.axline((0, 0), slope=1, label="random order", **_GUIDE)
    _draw_curves(ax, table, x="false_positive_rate", y="true_positive_rate", by="model")
    ax.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.set(xlabel="share of negatives shown", ylabel="share of positives found (recall)")
    ax.legend(loc="lower right")
    return ax


def plot_before_after(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    title: str = "",
    xlabel: str = "after minus before",
) -> Axes:
    """Draw differences with their intervals, one row a metric, beside a line at zero.

    A filled point says that its interval excludes zero; a hollow one that it does not.

    Args:
        table: one row a metric: ``metric``, ``difference``, ``low``, ``high``; a column
            ``better`` (``"higher"`` or ``"lower"``) is added to the metric's name.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        xlabel: what the difference is.

    Returns:
        The axes, the first row of the table on top: for each row one line from ``low`` to
        ``high`` and one point at ``difference``, after the line at zero.
    """
    ax = new_axes(ax, height=1.3 + 0.5 * len(table))
    ax.axvline(0, **_GUIDE)
    rows: Iterable[Any] = table.itertuples()
    for place, row in enumerate(rows):
        sure = row.low > 0 or row.high < 0
        ax.plot([row.low, row.high], [place, place], color=COLORS["blue"], linewidth=2.5)
        ax.plot(
            [row.difference],
            [place],
            marker="o",
            markersize=9,
            color=COLORS["blue"],
            markerfacecolor=COLORS["blue"] if sure else "white",
        )
        numbers = f"{row.difference:+.4f}  [{row.low:+.4f}, {row.high:+.4f}]"
        ax.text(1.02, place, numbers, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.set_yticks(range(len(table)), _metric_names(table))
    ax.set(title=title, xlabel=xlabel, ylim=(len(table) - 0.5, -0.5))
    ax.locator_params(axis="x", nbins=5)  # numbers of five digits need room
    ax.grid(visible=False, axis="y")
    return ax


def plot_keep_curve(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    title: str = "",
    metric: str | None = None,
    xlabel: str = "share of training rows kept",
) -> Axes:
    """Draw a metric against the share of the training rows that were kept.

    Args:
        table: one row a point: ``kept_fraction`` and the metric; with a column ``action``, one
            curve an action; with columns ``low`` and ``high``, a band around each curve.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        metric: the metric's column; the one after ``kept_fraction`` if None.
        xlabel: what ``kept_fraction`` is a share of.

    Returns:
        The axes, one line an action, in the order of the rows; all rows on the left, few on the
        right, on a logarithmic axis.
    """
    ax = new_axes(ax, height=4.2)
    y = metric or table.columns[list(table.columns).index("kept_fraction") + 1]
    _draw_curves(ax, table, x="kept_fraction", y=y, by="action", markers=True)
    if {"low", "high"} <= set(table):
        for index, (_, rows) in enumerate(_groups(table, "action")):
            ax.fill_between(
                rows["kept_fraction"],
                rows["low"],
                rows["high"],
                color=_distinct(index)["color"],
                alpha=0.15,
                linewidth=0,
            )
    shares = sorted(table["kept_fraction"].unique(), reverse=True)
    ax.set_xscale("log")
    ax.set_xticks(shares, [f"{share:.0%}" for share in shares])
    ax.minorticks_off()
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    ax.set(title=title, xlabel=xlabel, ylabel=y.upper() if y == "auc" else y)
    _legend_if_named(ax)
    return ax


def _draw_curves(
    ax: Axes,
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    by: str,
    markers: bool = False,
) -> None:
    for index, (name, rows) in enumerate(_groups(table, by)):
        line: dict[str, Any] = dict(_distinct(index))
        if markers:
            line["marker"] = _MARKERS[index % len(_MARKERS)]
        if name is not None:
            line["label"] = str(name)
        ax.plot(rows[x], rows[y], **line)


def _groups(table: pd.DataFrame, by: str) -> list[tuple[object, pd.DataFrame]]:
    """Return the rows of each value of a column in order of first appearance; all, without it."""
    if by not in table:
        return [(None, table)]
    return list(table.groupby(by, sort=False))


def _distinct(index: int) -> dict[str, Any]:
    """Return the colour and the dashes of the line at a place."""
    return {
        "color": COLORS[_HUES[index % len(_HUES)]],
        "linestyle": _DASHES[index % len(_DASHES)],
    }


def _legend_if_named(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend()


def _metric_names(table: pd.DataFrame) -> list[str]:
    if "better" not in table:
        return [str(name) for name in table["metric"]]
    pairs = zip(table["metric"], table["better"], strict=True)
    return [f"{name}\n({better} is better)" for name, better in pairs]
