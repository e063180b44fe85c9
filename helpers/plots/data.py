"""Figures of the data: when the samples are, and what the features look like."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_column_auc", "plot_positive_share", "plot_roles", "plot_visible_events"]

#: Colour and hatch of each role, so that a grey print can be read too.
_ROLES = {
    "train": ("blue", ""),
    "attribution": ("purple", "//"),
    "valid": ("orange", ".."),
    "test": ("green", "xx"),
}


def plot_roles(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw how many samples each period has, coloured by role.

    Args:
        table: one row a period, in time order: ``cutoff`` (time), ``samples``, ``role``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes, with one bar per row.
    """
    ax = new_axes(ax, height=3.2)
    gaps = table.cutoff.drop_duplicates().diff().dt.days.dropna()
    width = 0.85 * (gaps.min() if len(gaps) else 1)
    for role, (color, hatch) in _ROLES.items():
        part = table[table.role == role]
        ax.bar(
            part.cutoff,
            part.samples,
            width=width,
            label=role,
            color=COLORS[color],
            hatch=hatch,
            edgecolor="white",
        )
    ax.set(title=title, xlabel="start of the period", ylabel="samples")
    ax.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.28))
    ax.tick_params(axis="x", rotation=20)
    return ax


def plot_positive_share(
    table: pd.DataFrame, *, ax: Axes | None = None, title: str = "", xlabel: str = ""
) -> Axes:
    """Draw the share of positives in each group of a feature.

    Args:
        table: one row a group, in order: ``group`` (text), ``positive_share``, ``samples``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        xlabel: name and unit of the groups.

    Returns:
        The axes, with one point per row; the number of samples stands above it.
    """
    ax = new_axes(ax, height=3.2)
    ax.plot(table.group, table.positive_share, marker="o", color=COLORS["blue"])
    for group, share, samples in zip(table.group, table.positive_share, table.samples, strict=True):
        ax.annotate(
            f"n={samples:,}",
            (group, share),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#444444",
        )
    ax.margins(x=0.09, y=0.2)  # room for the numbers above the points
    ax.set(title=title, xlabel=xlabel, ylabel="share of positives", ylim=(0, None))
    return ax


def plot_visible_events(
    table: pd.DataFrame,
    *,
    cutoff: pd.Timestamp,
    end: pd.Timestamp,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw one user's events a day, and what a sample's features may see of them.

    Args:
        table: one row per day: ``day`` (time), ``events`` and ``seen`` (True where the features
            see it).
        cutoff: first moment that the features cannot see.
        end: where the period of the label ends.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes: the bars of the days that are seen, then those of the others.
    """
    ax = new_axes(ax, height=3.2)
    for seen, color, hatch, label in (
        (True, "blue", "", "seen by the features"),
        (False, "red", "xx", "hidden from them"),
    ):
        part = table[table.seen == seen]
        ax.bar(
            part.day,
            part.events,
            width=0.9,
            align="edge",
            color=COLORS[color],
            hatch=hatch,
            edgecolor="white",
            label=label,
        )
    # A moment is a place on an axis of dates, which the types do not say.
    begin: Any = cutoff
    until: Any = end
    ax.axvspan(begin, until, color=COLORS["yellow"], alpha=0.35, label="period of the label")
    ax.axvline(begin, color=COLORS["black"], linestyle="--", label="cutoff")
    ax.set(title=title, xlabel="day", ylabel="events of the user")
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    ax.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.28), fontsize=8)
    return ax


def plot_column_auc(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the AUC that each column reaches on its own, beside a line at a random order.

    Args:
        table: one row per column: ``column`` (text), ``auc``, ``honest`` (False for a leak).
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes, the first row of the table on top: the points of the honest columns (round,
        blue), then those of the leaks (diamonds, red), each with its number.
    """
    ax = new_axes(ax, height=1.1 + 0.24 * len(table))
    ax.axvline(0.5, color=COLORS["grey"], linestyle=":", label="random order")
    place = pd.Series(range(len(table)), index=table.index)
    for honest, color, marker, label in (
        (True, "blue", "o", "before the cutoff"),
        (False, "red", "D", "with the days after it"),
    ):
        part = table[table.honest == honest]
        ax.plot(
            part.auc,
            place[part.index],
            linestyle="",
            marker=marker,
            color=COLORS[color],
            label=label,
        )
    for row, auc in zip(place, table.auc, strict=True):
        ax.annotate(
            f"{auc:.3f}", (auc, row), xytext=(7, -3), textcoords="offset points", fontsize=8
        )
    ax.set_yticks(place, table.column)
    ax.set(title=title, xlabel="AUC of the column on its own", ylim=(len(table) - 0.4, -0.6))
    ax.margins(x=0.12)
    ax.legend(loc="lower right")
    return ax
