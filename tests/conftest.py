"""Settings that hold for every test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import matplotlib
import pytest
from hypothesis import settings

# Figures need no screen. Not by the variable MPLBACKEND: kernels that a test starts would inherit
# it and show no figures.
matplotlib.use("Agg")

# The same examples on every run, without a database of failures beside the code; the machine's
# speed decides nothing.
settings.register_profile("workbook", derandomize=True, database=None, deadline=None)
settings.load_profile("workbook")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Close what a test drew: matplotlib warns from the twenty-first open figure on."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
