"""Figures of judgements: which score finds what, and what acting on the best one is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_detection", "plot_detection_matrix", "plot_foretold"]

_PARTS = {
    "auroc": ("all rows", "o", "blue"),
    "among_positives": ("among positives", "^", "orange"),
    "among_negatives": ("among negatives", "v", "green"),
}


def plot_detection(
    table: pd.DataFrame, *, ax: Axes | None = None, title: str = "", ceiling: float | None = None
) -> Axes:
    """Draw how well each score finds what was planted: over all rows and within each label.

    Args:
        table: one row a score: ``score, auroc, among_positives, among_negatives``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        ceiling: AUROC of one who knows the true probabilities; a dashed line if given.

    Returns:
        The axes, the first row on top: a line at a coin's 0.5, the ceiling, then one set of points
        for each of the three columns.
    """
    ax = new_axes(ax, height=1.2 + 0.27 * len(table))
    ax.axvline(0.5, color=COLORS["grey"], linestyle=":", label="a coin")
    if ceiling is not None:
        ax.axvline(ceiling, color=COLORS["black"], linestyle="--", label="ceiling, all rows")
    for column, (name, marker, color) in _PARTS.items():
        ax.plot(
            table[column],
            np.arange(len(table)),
            marker,
            color=COLORS[color],
            label=name,
            markerfacecolor=COLORS[color] if column == "auroc" else "white",
        )
    ax.set_yticks(range(len(table)), table.score)
    ax.set(title=title, xlabel="AUROC of finding the planted rows", ylim=(len(table) - 0.5, -0.5))
    ax.legend(loc="lower left", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
    return ax


def plot_detection_matrix(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the AUROC of each score (down) for each kind of noise (across), written in its cell.

    Args:
        table: scores by noises, values in [0, 1].
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes; colours run from 0 to 1 with white at a coin's 0.5.
    """
    ax = new_axes(ax, width=7.4, height=1.6 + 0.3 * len(table))
    ax.grid(visible=False)
    image = ax.imshow(table, cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
    ax.figure.colorbar(image, ax=ax, label="AUROC")
    ax.set_xticks(range(table.shape[1]), table.columns, rotation=30, ha="right")
    ax.set_yticks(range(table.shape[0]), table.index)
    for row, column in np.ndindex(table.shape):
        value = table.iloc[row, column]
        color = "white" if abs(value - 0.5) > 0.38 else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
    ax.set_title(title)
    return ax


def plot_foretold(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw how well each score foretells retraining, with intervals.

    Args:
        table: one row a score: ``score, estimate, low, high``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes, the first row on top: a line at 0, then the points with whiskers.
    """
    ax = new_axes(ax, height=1.2 + 0.32 * len(table))
    ax.axvline(0, color=COLORS["black"], linewidth=1)
    ax.errorbar(
        table.estimate,
        np.arange(len(table)),
        xerr=[table.estimate - table.low, table.high - table.estimate],
        fmt="o",
        color=COLORS["blue"],
        capsize=2.5,
    )
    ax.set_yticks(range(len(table)), table.score)
    ax.set(title=title, xlabel="rank correlation with what retraining gave")
    ax.set_ylim(len(table) - 0.5, -0.5)
    return ax
