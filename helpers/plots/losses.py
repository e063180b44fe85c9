"""Figures of losses: their shape, a line fitted to a few points, and the way down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.plots.style import COLORS, new_axes

__all__ = ["plot_descent", "plot_fitted_lines", "plot_loss_shapes", "plot_loss_tangent"]

_HUES = ["blue", "red", "green", "purple", "orange", "black"]
#: Dashes differ as well as colours, so that a grey print can be read.
_DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))]


def plot_loss_shapes(
    shapes: pd.DataFrame, *, ax: Axes | None = None, title: str = "", ylabel: str = "loss"
) -> Axes:
    """Draw losses, or their slopes, against the logit: colour by loss, dashes by label.

    Args:
        shapes: one row a point: ``logit``, ``loss`` (its name), ``label`` (0 or 1), ``value``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        ylabel: name and unit of ``value``.

    Returns:
        The axes, one line for each loss and label, in the order of the rows.
    """
    ax = new_axes(ax)
    hues = dict(zip(shapes["loss"].unique(), _HUES, strict=False))
    dashes = dict(zip(shapes["label"].unique(), _DASHES, strict=False))
    pair: Any  # two names, so two values
    for pair, points in shapes.groupby(["loss", "label"], sort=False):
        loss, label = pair
        ax.plot(
            points["logit"],
            points["value"],
            color=COLORS[hues[loss]],
            linestyle=dashes[label],
            label=f"{loss}, label {label}",
        )
    ax.set(title=title, xlabel="logit z (log-odds)", ylabel=ylabel)
    ax.legend()
    return ax


def plot_fitted_lines(
    points: pd.DataFrame,
    lines: pd.DataFrame,
    *,
    ax: Axes | None = None,
    title: str = "",
    xlabel: str = "area (100 m²)",
    ylabel: str = "price (million yuan)",
) -> Axes:
    """Draw points and the lines that predict them.

    Args:
        points: one row per sample: ``x``, ``y``.
        lines: one row an end of a line: ``x``, ``y``, ``name``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        xlabel: name and unit of ``x``.
        ylabel: name and unit of ``y``.

    Returns:
        The axes: the points as one collection, one line a name, in the order of the rows.
    """
    ax = new_axes(ax)
    ax.scatter(points["x"], points["y"], color=COLORS["black"], zorder=3, label="samples")
    for i, (name, ends) in enumerate(lines.groupby("name", sort=False)):
        ax.plot(ends["x"], ends["y"], label=name, **_distinct(i))
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax


def plot_descent(descent: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the loss after each step of gradient descent, on a logarithmic axis.

    Args:
        descent: one row per step: ``step``, ``loss`` (above 0), ``name`` (of the run).
        ax: axes to draw on; new ones if None.
        title: what the figure shows.

    Returns:
        The axes, one line a run, in the order of the rows.
    """
    ax = new_axes(ax)
    for i, (name, run) in enumerate(descent.groupby("name", sort=False)):
        ax.plot(run["step"], run["loss"], label=name, **_distinct(i))
    ax.set(title=title, xlabel="step", ylabel="mean loss (log scale)", yscale="log")
    ax.legend()
    return ax


def plot_loss_tangent(
    curve: pd.DataFrame,
    point: Mapping[str, float],
    *,
    ax: Axes | None = None,
    title: str = "",
    reach: float = 3.0,
) -> Axes:
    """Draw a loss over the logit, one place on it, and the slope there.

    Args:
        curve: one row a point, in order: ``logit``, ``loss``.
        point: the place: ``logit``, ``loss``, ``slope``.
        ax: axes to draw on; new ones if None.
        title: what the figure shows.
        reach: how far the tangent goes to both sides, in units of the logit.

    Returns:
        The axes: the curve, the tangent and the place, in this order.
    """
    ax = new_axes(ax)
    ax.plot(curve["logit"], curve["loss"], color=COLORS["blue"], label="loss")
    z, loss, slope = point["logit"], point["loss"], point["slope"]
    ax.plot(
        [z - reach, z + reach],
        [loss - reach * slope, loss + reach * slope],
        color=COLORS["red"],
        linestyle="--",
        label="slope",
    )
    ax.plot([z], [loss], "o", color=COLORS["black"], label="this sample")
    room = 0.05 * curve["loss"].max()
    ax.set(title=title, xlabel="logit z (log-odds)", ylabel="loss")
    ax.set(xlim=(curve["logit"].min(), curve["logit"].max()))
    ax.set(ylim=(-3 * room, curve["loss"].max() + room))  # the same for every place
    ax.legend()
    return ax


def _distinct(index: int) -> dict[str, Any]:
    """Return the colour and the dashes of the line at a place."""
    hue = _HUES[index % len(_HUES)]
    return {"color": COLORS[hue], "linestyle": _DASHES[index % len(_DASHES)]}
