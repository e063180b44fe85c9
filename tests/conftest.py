"""Settings that hold for every test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import matplotlib
import pytest
from hypothesis import HealthCheck, settings

# What a shell or a hook has set is no part of a test, nor of the processes that it starts.
for _name in [*os.environ]:
    if _name.startswith(("WORKBOOK_", "TQDM_", "JPY_", "GIT_")) and _name != "WORKBOOK_CACHE":
        del os.environ[_name]
for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PYTHONWARNINGS", "SOURCE_DATE_EPOCH"):
    os.environ.pop(_name, None)
os.environ["COLUMNS"] = "80"  # not those of the terminal in which the tests run
os.environ["TQDM_DELAY"] = "1e9"  # whether a bar appears must not hang on the machine's speed

# Figures need no screen. Not by the variable MPLBACKEND: kernels that a test starts would inherit
# it and show no figures.
matplotlib.use("Agg")

# The same examples on every run, without a database of failures beside the code; the machine's
# speed decides nothing.
settings.register_profile(
    "workbook",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("workbook")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Close what a test drew: matplotlib warns from the twenty-first open figure on."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
