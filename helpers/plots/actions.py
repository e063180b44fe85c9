"""Figures of actions: what each one did, with its interval."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_study"]

_HUES = ["orange", "blue", "green"]
_MARKERS = ["s", "o", "^"]


def plot_study(
    table: pd.DataFrame,
    *,
    lines: str = "action",
    marks: str = "model",
    ax: Axes | None = None,
    title: str = "",
    xlabel: str = "",
) -> Axes:
    """Draw differences to the uniform model: a line an action, a colour and mark a model.

    Args:
        table: one row a point: ``difference, low, high`` and the two columns named below.
        lines: column that says which line a point stands on.
        marks: column that says its colour and mark; three values at most.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        xlabel: name of the difference and its direction.

    Returns:
        The axes; lines from top to bottom in the order of the rows, and for each
        mark one set of points with whiskers.
    """
    ax = new_axes(ax, height=4.2)
    names, groups = (list(dict.fromkeys(table[column])) for column in (lines, marks))
    place = {name: len(names) - 1 - i for i, name in enumerate(names)}
    ax.axvline(0, color=COLORS["black"], linewidth=1)
    for i, group in enumerate(groups):
        part = table[table[marks] == group]
        height = part[lines].map(place) + (0.5 * (len(groups) - 1) - i) * 0.22
        ax.errorbar(
            part.difference,
            height,
            xerr=[part.difference - part.low, part.high - part.difference],
            fmt=_MARKERS[i % 3],
            color=COLORS[_HUES[i % 3]],
            capsize=2.5,
            markersize=5,
            linewidth=1.3,
            label=group,
        )
    ax.set_yticks(list(place.values()), list(place))
    ax.set(title=title, xlabel=xlabel)
    ax.locator_params(axis="x", nbins=7)
    ax.legend(loc="best")
    return ax
