"""Figures of importance: who scores high, why, and how scores agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_agreement", "plot_score_groups", "plot_score_share", "plot_surprise_leverage"]


def plot_surprise_leverage(
    table: pd.DataFrame,
    *,
    norms: Sequence[float] = (1, 3, 10),
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw where the samples lie between surprise and leverage.

    Curves join places of equal gradient norm, which is their product.

    Args:
        table: one row per sample: ``surprise`` (0 to 1), ``leverage``.
        norms: the lengths along the curves.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes; a darker cell holds more samples.
    """
    ax = new_axes(ax, height=4.2)
    cells = ax.hexbin(
        table.surprise, table.leverage, gridsize=45, cmap="Blues", norm=LogNorm(), mincnt=1
    )
    ax.figure.colorbar(cells, ax=ax, label="samples in a cell")
    low, high = np.quantile(table.leverage, [0.0005, 0.9995])
    surprise = np.linspace(0.01, 1, 200)
    for norm in norms:
        inside = (norm / surprise >= low) & (norm / surprise <= high)
        if inside.any():
            ax.plot(surprise[inside], (norm / surprise)[inside], color=COLORS["red"], lw=1.2)
            ax.annotate(
                f"||g|| = {norm:g}",
                (surprise[inside][-1], (norm / surprise)[inside][-1]),
                color="#8A3D00",
                fontsize=9,
                ha="right",
                va="bottom",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
            )
    ax.set(title=title, xlim=(0, 1), ylim=(low, high))
    ax.set(xlabel="surprise |p - y|", ylabel="leverage ||dz/dtheta||")
    return ax


def plot_score_groups(
    table: pd.DataFrame, *, ax: Axes | None = None, title: str = "", xlabel: str = ""
) -> Axes:
    """Draw a score's quartiles in groups of samples.

    Args:
        table: one row a group: ``group, low, middle, high`` (quartiles), ``samples``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        xlabel: name of the score.

    Returns:
        The axes; points are medians, whiskers the middle half, first row lowest.
    """
    ax = new_axes(ax, height=0.9 + 0.42 * len(table))
    names = [f"{g} (n={n:,})" for g, n in zip(table.group, table.samples, strict=True)]
    spread = [table.middle - table.low, table.high - table.middle]
    ax.errorbar(table.middle, names, xerr=spread, fmt="o", color=COLORS["blue"], capsize=3)
    ax.set(title=title, xlabel=xlabel)
    ax.margins(y=0.12)
    return ax


def plot_score_share(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw how concentrated scores are: the share of the total in the top rows.

    Args:
        table: ``score, top_share, total_share``; for each score a rising curve.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes: one line a score, then the dotted line of equal scores.
    """
    ax = new_axes(ax)
    dashes = ["-", "--", "-.", ":"]
    for (score, part), dash in zip(table.groupby("score", sort=False), dashes, strict=False):
        ax.plot(part.top_share, part.total_share, dash, label=score)
    ax.axline((0, 0), slope=1, color=COLORS["grey"], linestyle=":", label="all rows alike")
    ax.set(title=title, xlabel="share of the rows, highest first", ylabel="share of the total")
    ax.legend(loc="lower right")
    return ax


def plot_agreement(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw a matrix of rank correlations between scores.

    Args:
        table: square, the same names on both sides, values in [-1, 1].
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes, with each value written in its cell.
    """
    ax = new_axes(ax, width=6.4, height=5.2)
    ax.grid(visible=False)
    image = ax.imshow(table, cmap="PuOr_r", vmin=-1, vmax=1)
    ax.figure.colorbar(image, ax=ax, label="rank correlation (Spearman)")
    names = [str(c).replace("_", " ") for c in table.columns]
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    for row, column in np.ndindex(table.shape):
        value = table.iloc[row, column]
        color = "white" if abs(value) > 0.7 else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
    ax.set_title(title)
    return ax
