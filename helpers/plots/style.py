"""One family of figures: colours, sizes and the axes that every plot draws on."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.rcsetup import cycler

__all__ = ["COLORS", "new_axes", "use_style"]

#: Okabe and Ito's palette, which colour-blind readers can tell apart.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#7F7F7F",
}


def use_style() -> None:
    """Set the workbook's defaults for every figure drawn afterwards."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.8),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycler(color=list(COLORS.values())[:6]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "font.size": 10,
            "lines.linewidth": 1.8,
        }
    )


def new_axes(ax: Axes | None = None, *, width: float = 7.0, height: float = 3.8) -> Axes:
    """Return ``ax``, or the axes of a new figure of ``width`` x ``height`` inches."""
    if ax is not None:
        return ax
    use_style()
    _, ax = plt.subplots(figsize=(width, height))
    return ax
