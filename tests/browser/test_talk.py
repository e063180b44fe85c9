"""Slides in a real browser: drawn, moved by the keyboard, and in no need of a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from helpers.notebooks.slides import write_slides

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("name", "formulas", "diagrams"), [("00_start_here", 20, 3), ("02_measure_loss", 60, 0)]
)
def test_a_talk_needs_a_browser_and_nothing_else(
    tab: Callable[..., Page],
    tmp_path: Path,
    screenshots: Path,
    name: str,
    formulas: int,
    diagrams: int,
):
    path = write_slides(name, tmp_path / "talk")
    page = tab(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    heard: list[str] = []
    page.on("console", lambda m: heard.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("requestfailed", lambda request: heard.append(f"failed: {request.url}"))
    page.on(
        "request",
        lambda r: (
            None if r.url.startswith((path.parent.as_uri(), "data:")) else heard.append(r.url)
        ),
    )
    page.goto(path.as_uri())
    page.wait_for_function("() => window.Reveal?.isReady()")
    assert page.locator("mjx-container").count() >= formulas
    assert page.locator("pre.mermaid svg").count() == diagrams

    expect(page.locator("section.present h1")).to_be_visible()
    page.keyboard.press("ArrowRight")
    first = page.locator("section.present section.present")
    expect(first.locator("h2").first).to_be_visible()
    page.screenshot(path=screenshots / f"slides-{name}.png")
    page.keyboard.press("ArrowRight")
    expect(page.locator("section.present section.present h2").first).to_contain_text(
        {"00_start_here": "The map", "02_measure_loss": "Half the squared error"}[name]
    )
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    assert heard == []


def test_a_slide_that_is_longer_than_the_screen_scrolls(tab: Callable[..., Page], tmp_path: Path):
    path = write_slides("00_start_here", tmp_path / "talk")
    page = tab(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.goto(f"{path.as_uri()}#/1")
    page.wait_for_function("() => window.Reveal?.isReady()")
    slide = page.locator("section.present section.present")
    last = slide.locator("tr").last
    expect(last).not_to_be_in_viewport()
    last.scroll_into_view_if_needed()
    expect(last).to_be_in_viewport()
    expect(slide).to_have_attribute("tabindex", "0")  # so that the keyboard can scroll it
