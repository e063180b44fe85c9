"""A real browser for the tests of the site and of JupyterLab: Chromium, without a screen.

Where there is no Chromium these tests are skipped, with the reason; on a build server
(``CI`` is set) that is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from waiting import PATIENCE_S

from helpers.base.paths import REPO

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: It needs no screen, asks nothing of the network by itself, and runs as root in a container.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
)

#: In milliseconds. Chromium's own half a minute is short: a busy machine is no fault of a page.
PATIENCE_MS = 1000 * PATIENCE_S
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium once for all tests of a process."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        missing = f"no Chromium here (looked for {', '.join(NAMES)}); Debian: apt install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=list(ARGUMENTS), timeout=PATIENCE_MS
        )
        yield started
        started.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return what opens a fresh tab, with options of ``new_context``; it closes with the test."""
    contexts = []

    def opened(**options: object) -> Page:
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE_MS)  # of navigations as well
        return contexts[-1].new_page()

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Return the folder that keeps the pictures for a person to look at."""
    folder = REPO / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
