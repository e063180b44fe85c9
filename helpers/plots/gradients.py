"""Figures of per-sample gradients: what they cost, and how positions of a sequence meet."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_cost", "plot_pairs", "plot_time_parts"]

# Dark, middle and light, so that they differ in grey, too; the colour of the text on each.
_FILLS = [("blue", "white"), ("orange", "black"), ("#DDDDDD", "black")]


def plot_time_parts(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what the time of several ways was spent on, as shares of each way's time.

    Args:
        table: one row a way, first one at the top; at most three columns of shares that add up
            to 1; the index names the ways.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes, with one container of bars a column; shares from 3% on are written down.
    """
    ax = new_axes(ax, height=1.5 + 0.5 * len(table))
    left = np.zeros(len(table))
    for column, (fill, ink) in zip(table.columns, _FILLS, strict=False):
        shares = table[column].to_numpy()
        ax.barh(
            table.index,
            shares,
            left=left,
            color=COLORS.get(fill, fill),
            label=column,
            edgecolor="white",
            height=0.6,
        )
        for place, share in enumerate(shares):
            if share >= 0.03:
                middle = left[place] + share / 2
                ax.text(middle, place, f"{share:.0%}", color=ink, ha="center", va="center")
        left += shares
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(title=title, xlabel="share of the time", xlim=(0, 1))
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.35))
    return ax


def plot_pairs(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw a number for every pair of positions, such as their dot products.

    Args:
        table: square; rows and columns are positions.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes, with each value written in its cell; lighter is higher, and 0 is in the middle
        of the colours.
    """
    ax = new_axes(ax, width=4.2, height=4.2)
    ax.grid(visible=False)
    most = float(np.abs(table.to_numpy()).max()) or 1.0
    ax.imshow(table, cmap="cividis", vmin=-most, vmax=most)
    ax.set_xticks(range(table.shape[1]), table.columns)
    ax.set_yticks(range(table.shape[0]), table.index)
    for row, column in np.ndindex(table.shape):
        value = round(table.iloc[row, column], 1) + 0.0  # no "-0.0"
        color = "black" if value >= 0 else "white"
        ax.text(column, row, f"{value:.1f}", ha="center", va="center", color=color, fontsize=9)
    ax.set(title=title, xlabel="position t", ylabel="position s")
    return ax


def plot_cost(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what the norms of a batch cost against its size, in gradient steps of that batch.

    Args:
        table: one row per batch size: ``rows, step_ms, norms_ms``, and their ``ratio``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes: the line of ratios, each with the time of the norms above it, then the dotted
        line of one gradient step.
    """
    ax = new_axes(ax)
    ax.plot(table.rows, table.ratio, marker="o", color=COLORS["blue"])
    for rows, ratio, ms in zip(table.rows, table.ratio, table.norms_ms, strict=True):
        ax.annotate(
            f"{ms:.1f} ms",
            (rows, ratio),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    ax.axhline(1, color=COLORS["black"], linestyle=":")
    ax.set_xscale("log", base=2)
    ax.set_xticks(table.rows, [f"{rows:,}" for rows in table.rows])
    ax.set(title=title, ylim=(0, 1.25 * max(table.ratio.max(), 1)))
    ax.set(xlabel="rows in a batch", ylabel="gradient steps (dotted: one)")
    return ax
