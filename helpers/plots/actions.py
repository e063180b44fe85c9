"""Figures of actions: what each one did, with its interval."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_study"]

_HUES = ["orange", "blue", "green"]
_MARKERS = ["s", "o", "^"]


def plot_study(
    table: pd.DataFrame, *, ax: Axes | None = None, title: str = "", xlabel: str = ""
) -> Axes:
    """Draw each action's difference to the uniform model, one colour and mark a model.

    Args:
        table: one row an action and model: ``action, model, difference, low, high``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        xlabel: name of the difference and its direction.

    Returns:
        The axes; actions from top to bottom in the order of the rows, and for each
        model one set of points with whiskers.
    """
    ax = new_axes(ax, height=4.2)
    actions = list(dict.fromkeys(table.action))
    models = list(dict.fromkeys(table.model))
    place = {action: len(actions) - 1 - i for i, action in enumerate(actions)}
    ax.axvline(0, color=COLORS["black"], linewidth=1)
    for i, model in enumerate(models):
        part = table[table.model == model]
        height = part.action.map(place) + (0.5 * (len(models) - 1) - i) * 0.22
        ax.errorbar(
            part.difference,
            height,
            xerr=[part.difference - part.low, part.high - part.difference],
            fmt=_MARKERS[i % 3],
            color=COLORS[_HUES[i % 3]],
            capsize=2.5,
            markersize=5,
            linewidth=1.3,
            label=model,
        )
    ax.set_yticks(list(place.values()), list(place))
    ax.set(title=title, xlabel=xlabel)
    ax.locator_params(axis="x", nbins=7)
    ax.legend(loc="best")
    return ax
