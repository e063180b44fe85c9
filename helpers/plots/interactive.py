"""Figures that a reader can move: a slider, and the picture that is drawn anew for its value.

A stored notebook has no kernel behind it, so each figure is also drawn still by the cell above its
slider. The slider appears only where a person is at work: in JupyterLab or Jupyter Notebook, and
not while a program executes the notebook.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.base.words import percent
from helpers.losses import cross_entropy, cross_entropy_by_logit
from helpers.plots import plot_keep_curve, plot_loss_tangent, plot_surprise_leverage

if TYPE_CHECKING:
    from ipywidgets import VBox

__all__ = [
    "can_move",
    "draw_kept",
    "draw_logit",
    "draw_norm",
    "kept_slider",
    "logit_slider",
    "norm_slider",
]

_FARTHEST = 6.0  # logits shown: from minus this to this


def can_move() -> bool:
    """Return whether a person at a Jupyter front end would see a slider.

    Jupyter's server tells its kernels which notebook they belong to. Programs that execute
    notebooks do not; those of the workbook also switch moving output off (``TQDM_DELAY``).
    """
    return "JPY_SESSION_NAME" in os.environ and os.environ.get("TQDM_DELAY") != "1e9"


def draw_logit(logit: float, *, label: int = 1, ax: Axes | None = None) -> Axes:
    """Draw the cross-entropy of one sample over its logit, and its slope at one place.

    Args:
        logit: the place, from -6 to 6.
        label: what happened, 0 or 1.
        ax: axes to draw on; new ones if None.

    Returns:
        The axes; the title says loss and slope.

    Example:
        >>> draw_logit(0.0, label=1).get_title(loc="left")
        'label 1, logit 0.0: loss 0.69, slope -0.50'
    """
    places = np.linspace(-_FARTHEST, _FARTHEST, 121)
    curve = pd.DataFrame(
        {"logit": places, "loss": cross_entropy(np.full(len(places), label), places)}
    )
    loss, slope = cross_entropy([label], [logit])[0], cross_entropy_by_logit([label], [logit])[0]
    point = {"logit": float(logit), "loss": float(loss), "slope": float(slope)}
    title = f"label {label}, logit {logit:.1f}: loss {loss:.2f}, slope {slope:.2f}"
    return plot_loss_tangent(curve, point, ax=ax, title=title)


def draw_norm(norm: float, points: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw samples between surprise and leverage, and the curve of one gradient norm.

    Args:
        norm: the length along the curve.
        points: one row per sample: ``surprise`` (0 to 1), ``leverage``.
        ax: axes to draw on; new ones if None.

    Returns:
        The axes; the title says how many rows pull harder.
    """
    harder = float((points.surprise * points.leverage > norm).mean())
    title = f"{percent(harder)} of the rows pull harder than {norm:.1f}"
    return plot_surprise_leverage(points, norms=(norm,), ax=ax, title=title)


def draw_kept(share: float, table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw curves over the share of rows kept, and a line at one share.

    Args:
        share: kept, in (0, 1]; the line stands at the nearest one that was measured.
        table: one row a way and share: ``way, kept_fraction, auc``.
        ax: axes to draw on; new ones if None.

    Returns:
        The axes; the title says which way is best there, and how far it is before a random part.
    """
    shares = table.kept_fraction.unique()
    nearest = shares[np.abs(np.log(shares) - np.log(share)).argmin()]
    there = table[table.kept_fraction == nearest].set_index("way").auc
    gap = there.max() - there["random"]
    kept = percent(nearest, digits=0)
    title = f"{kept} kept: best is {there.idxmax()}, {gap:+.4f} to a random part"
    curves = table.rename(columns={"way": "action"})[["action", "kept_fraction", "auc"]]
    ax = plot_keep_curve(curves, ax=ax, title=title)
    ax.axvline(nearest, color="black", linewidth=1, linestyle=":")
    return ax


def kept_slider(table: pd.DataFrame, *, show: bool | None = None) -> VBox | None:
    """Return a slider for :func:`draw_kept`, or None where nobody could move it.

    Args:
        table: one row a way and share: ``way, kept_fraction, auc``.
        show: True to make it in any case, False never; None asks :func:`can_move`.
    """
    lowest = float(np.log10(table.kept_fraction.min()))
    return _slider(
        lambda share: draw_kept(share, table),
        show=show,
        logarithmic=True,
        description="kept",
        value=0.1,
        min=lowest,
        max=0.0,
        step=-lowest / 20,
        readout_format=".0%",
        continuous_update=False,
    )


def logit_slider(*, label: int = 1, show: bool | None = None) -> VBox | None:
    """Return a slider for :func:`draw_logit`, or None where nobody could move it.

    Args:
        label: what happened, 0 or 1.
        show: True to make it in any case, False never; None asks :func:`can_move`.
    """
    return _slider(
        lambda logit: draw_logit(logit, label=label),
        show=show,
        description="logit",
        value=-2.0,
        min=-_FARTHEST,
        max=_FARTHEST,
        step=0.1,
    )


def norm_slider(points: pd.DataFrame, *, show: bool | None = None) -> VBox | None:
    """Return a slider for :func:`draw_norm`, or None where nobody could move it.

    Args:
        points: one row per sample: ``surprise`` (0 to 1), ``leverage``.
        show: True to make it in any case, False never; None asks :func:`can_move`.
    """
    norms = points.surprise * points.leverage
    low, high = (float(np.ceil(10 * q) / 10) for q in norms.quantile([0.01, 0.999]))
    return _slider(
        lambda norm: draw_norm(norm, points),
        show=show,
        description="norm",
        value=round((low + high) / 4, 1),
        min=low,
        max=high,
        step=0.1,
        continuous_update=False,  # many points take a moment to draw
    )


def _slider(
    draw: Callable[[float], Axes],
    *,
    show: bool | None,
    logarithmic: bool = False,
    **options: object,
) -> VBox | None:
    """Return a slider above a picture that follows it."""
    if not (can_move() if show is None else show):
        return None
    from ipywidgets import FloatLogSlider, FloatSlider, Image, VBox

    kind = FloatLogSlider if logarithmic else FloatSlider
    slider, picture = kind(**options), Image(format="png")

    def redraw(_: object = None) -> None:
        figure = cast("Figure", draw(slider.value).figure)  # no figure within a figure
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        picture.value = buffer.getvalue()
        plt.close(figure)

    slider.observe(redraw, names="value")
    redraw()
    return VBox([slider, picture])
