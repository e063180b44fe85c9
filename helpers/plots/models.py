"""Figures of the models: the ladder, and how training went."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_history", "plot_ladder"]

_HUES = ["orange", "blue", "green"]
_MARKERS = ["s", "o", "^"]


def plot_ladder(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw one metric of several models with its interval, best at the top.

    Args:
        table: one row a model: ``model, auc, low, high``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes; the points are in the order of the rows, the first one lowest.
    """
    ax = new_axes(ax, height=1.0 + 0.4 * len(table))
    spread = [table.auc - table.low, table.high - table.auc]
    ax.errorbar(
        table.auc, table.model, xerr=spread, fmt="o", color=COLORS["blue"], capsize=3, markersize=6
    )
    for auc, model in zip(table.auc, table.model, strict=True):
        ax.annotate(
            f"{auc:.3f}",
            (auc, model),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    ax.axvline(0.5, color=COLORS["grey"], linestyle=":")
    ax.set(title=title, xlabel="ROC AUC (dotted: random order)")
    ax.margins(y=0.18)
    return ax


def plot_history(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw training and validation loss against updates, one colour a model.

    Args:
        table: one row per evaluation: ``model, updates, train_loss, valid_loss``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes: for each model a dashed line (train) and a solid one (valid).
    """
    ax = new_axes(ax)
    for (model, part), hue, marker in zip(
        table.groupby("model", sort=False), _HUES, _MARKERS, strict=False
    ):
        ax.plot(part.updates, part.train_loss, "--", color=COLORS[hue], label=f"{model}, train")
        ax.plot(
            part.updates, part.valid_loss, color=COLORS[hue], marker=marker, label=f"{model}, valid"
        )
    ax.set(title=title, xlabel="updates (gradient steps)", ylabel="mean loss of a sample")
    ax.legend()
    return ax
