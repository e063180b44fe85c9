"""The figures of judgements draw exactly the tables they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from helpers.plots import plot_detection, plot_detection_matrix, plot_foretold, plot_study

DETECTION = pd.DataFrame(
    {
        "score": ["loss", "label alone"],
        "auroc": [0.9, 0.8],
        "among_positives": [0.7, 0.5],
        "among_negatives": [0.6, np.nan],
    }
)
MATRIX = pd.DataFrame([[0.9, 0.05], [0.5, 1.0]], ["loss", "copies"], ["flips", "duplicates"])
FORETOLD = pd.DataFrame(
    {
        "score": ["influence", "chance"],
        "estimate": [0.8, 0.0],
        "low": [0.7, -0.1],
        "high": [0.85, 0.2],
    }
)
GAINS = pd.DataFrame(
    {
        "data": ["flips", "flips", "bots"],
        "action": ["suspects", "oracle", "suspects"],
        "difference": [0.01, 0.02, -0.01],
        "low": [0.0, 0.01, -0.02],
        "high": [0.03, 0.03, 0.01],
    }
)


def test_detection_has_a_point_for_each_score_and_part_and_a_line_at_the_ceiling():
    ax = plot_detection(DETECTION, ceiling=0.93)
    coin, ceiling, *parts = ax.lines
    assert (set(coin.get_xdata()), set(ceiling.get_xdata())) == ({0.5}, {0.93})
    for line, column in zip(parts, DETECTION.columns[1:], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), DETECTION[column])
    assert [t.get_text() for t in ax.get_yticklabels()] == DETECTION.score.tolist()
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is on top
    assert len(plot_detection(DETECTION).lines) == 4  # without a ceiling


def test_the_matrix_writes_each_value_in_its_cell():
    ax = plot_detection_matrix(MATRIX)
    np.testing.assert_array_equal(ax.images[0].get_array(), MATRIX)
    assert ax.images[0].get_clim() == (0, 1)
    written = {tuple(map(int, t.get_position())): t.get_text() for t in ax.texts}
    assert written == {(0, 0): "0.90", (1, 0): "0.05", (0, 1): "0.50", (1, 1): "1.00"}


def test_what_is_foretold_stands_with_its_interval():
    ax = plot_foretold(FORETOLD)
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), FORETOLD.estimate)
    ends = np.array(ax.collections[0].get_segments())[:, :, 0]
    np.testing.assert_allclose(ends, FORETOLD[["low", "high"]])


@pytest.mark.parametrize(("lines", "marks"), [("data", "action"), ("action", "data")])
def test_a_figure_of_gains_can_be_turned_round(lines: str, marks: str):
    ax = plot_study(GAINS, lines=lines, marks=marks)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(dict.fromkeys(GAINS[lines]))
    groups = list(dict.fromkeys(GAINS[marks]))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == groups
    for group, container in zip(groups, ax.containers, strict=True):
        part = GAINS[GAINS[marks] == group]
        np.testing.assert_array_equal(container[0].get_xdata(), part.difference)
