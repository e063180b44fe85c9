"""Figures that a reader can move: redrawn for each value, absent where nobody could move them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers.notebooks import execute
from helpers.notebooks.execution import written
from helpers.plots import interactive
from helpers.plots.interactive import (
    draw_kept,
    draw_logit,
    draw_norm,
    kept_slider,
    logit_slider,
    norm_slider,
)

POINTS = pd.DataFrame({"surprise": np.linspace(0.01, 1, 200), "leverage": np.linspace(8, 4, 200)})


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("logit", [-6.0, -2.0, 0.0, 3.5])
def test_the_tangent_touches_the_loss_at_the_logit(logit: float, label: int):
    curve, tangent, place = draw_logit(logit, label=label).lines
    loss = np.logaddexp(0, -logit if label else logit)
    np.testing.assert_allclose(place.get_xydata(), [[logit, loss]], rtol=1e-12)
    assert np.interp(logit, *curve.get_xydata().T) == pytest.approx(loss, abs=1e-3)
    (left, low), (right, high) = tangent.get_xydata()
    assert (low + high) / 2 == pytest.approx(loss)
    h = 1e-6
    moved = [np.logaddexp(0, -z if label else z) for z in (logit - h, logit + h)]
    assert (high - low) / (right - left) == pytest.approx((moved[1] - moved[0]) / (2 * h), abs=1e-6)


def test_the_axes_stay_while_the_logit_moves():
    views = {(ax.get_xlim(), ax.get_ylim()) for ax in map(draw_logit, (-5.0, 0.0, 5.0))}
    assert len(views) == 1


def test_the_curve_of_a_norm_joins_places_whose_product_it_is():
    ax = draw_norm(3.0, POINTS)
    (curve,) = ax.lines
    np.testing.assert_allclose(np.prod(curve.get_xydata(), axis=1), 3.0, rtol=1e-12)
    harder = (POINTS.surprise * POINTS.leverage > 3).mean()
    assert ax.get_title(loc="left") == f"{harder:.1%} of the rows pull harder than 3.0"


KEPT = pd.DataFrame(
    {
        "way": ["random", "balanced"] * 3,
        "kept_fraction": [1.0, 1.0, 0.1, 0.1, 0.01, 0.01],
        "auc": [0.85, 0.85, 0.81, 0.84, 0.76, 0.83],
    }
)


@pytest.mark.parametrize(("share", "nearest", "gap"), [(0.9, 1.0, 0.0), (0.2, 0.1, 0.03)])
def test_the_line_stands_at_the_nearest_share_and_the_title_names_the_lead(share, nearest, gap):
    ax = draw_kept(share, KEPT)
    assert set(ax.lines[-1].get_xdata()) == {nearest}
    best = "random" if gap == 0 else "balanced"
    want = f"{nearest:.0%} kept: best is {best}, {gap:+.4f} to a random part"
    assert ax.get_title(loc="left") == want


@pytest.mark.parametrize(
    "make", [lambda **o: kept_slider(KEPT, **o), logit_slider, lambda **o: norm_slider(POINTS, **o)]
)
def test_moving_the_slider_draws_another_picture_and_leaves_no_figure_open(make):
    from matplotlib import pyplot as plt

    slider, picture = make(show=True).children
    first = bytes(picture.value)
    assert first.startswith(b"\x89PNG")
    slider.value = 10**slider.max if slider.max == 0 else slider.max
    assert bytes(picture.value).startswith(b"\x89PNG")
    assert bytes(picture.value) != first
    assert plt.get_fignums() == []


def test_the_slider_draws_for_its_own_value(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    draw = interactive.draw_logit
    monkeypatch.setattr(
        interactive, "draw_logit", lambda z, label: drawn.append((z, label)) or draw(z, label=label)
    )
    slider, _ = logit_slider(label=0, show=True).children
    slider.value = 1.5
    assert drawn == [(-2.0, 0), (1.5, 0)]


def test_a_slider_appears_only_for_a_person_at_a_front_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("TQDM_DELAY", raising=False)
    assert logit_slider() is None
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/02_measure_loss.ipynb")
    assert logit_slider() is not None
    assert logit_slider(show=False) is None
    monkeypatch.setenv("TQDM_DELAY", "1e9")  # refresh, and the comparison of stored outputs
    assert norm_slider(POINTS) is None


def test_an_executed_notebook_stores_no_widget(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "inherited from a notebook")
    notebook = new_notebook(
        cells=[new_code_cell("from helpers.plots.interactive import logit_slider\nlogit_slider()")]
    )
    path = tmp_path / "01_a_b.ipynb"
    path.write_text(written(notebook), encoding="utf-8")
    executed = execute(path)
    assert executed.cells[0].outputs == []
    assert "widget" not in json.dumps(executed)
