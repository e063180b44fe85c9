"""The reading edition in a real browser: whole, readable, quiet, and served from itself alone."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, Response, expect
from waiting import awaited

from helpers.base.paths import REPO

pytestmark = pytest.mark.browser
pytest.importorskip("myst_nb", reason="the extra `site` is not installed; make site installs it")

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# Text that is still fading in is paler than its style says: what moves is waited for.
STILL = """async () => {
    const moving = document.getAnimations()
        .filter(each => Number.isFinite(each.effect.getComputedTiming().endTime));
    await Promise.allSettled(moving.map(each => each.finished));
}"""
# The letters of a formula are hundreds of elements in the colour of the text: left out.
FAULTS = """async (rules) => {
    const {violations} = await axe.run({exclude: ["mjx-container"]}, {
        preload: false, resultTypes: ["violations"], ...(rules.length && {runOnly: rules})});
    return violations
        .filter(v => ["serious", "critical"].includes(v.impact))
        .map(v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(" | ")}`);
}"""
#: The rule that what scrolls can be scrolled by the keyboard.
SCROLLS = "scrollable-region-focusable"
#: Of these a person gets to see pictures.
PICTURED = (
    *("index", "notebooks/00_start_here", "notebooks/02_measure_loss"),
    *("helpers/gradients", "glossary", "running"),
)


def pages() -> list[str]:
    """Return the names of the pages that the site must have."""
    notebooks = [f"notebooks/{p.stem}" for p in sorted((REPO / "notebooks").glob("*.ipynb"))]
    tops = [p for p in (REPO / "helpers").iterdir() if not p.name.startswith("__")]
    rooms = {p.stem for p in tops if p.suffix == ".py" or (p / "__init__.py").exists()}
    single = ["about", "genindex", "glossary", "index", "py-modindex", "running", "search"]
    documents = ["CONTRIBUTING", "site/instructors"]
    lists = ["helpers/index", "notebooks/index"]
    return [*single, *documents, *lists, *notebooks, *(f"helpers/{room}" for room in sorted(rooms))]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def built(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as ``make site`` does; the folder."""
    out = tmp_path_factory.mktemp("built") / "site"
    paths = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, REPO / "site" / "build.py", "--out", out],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="session")
def url(built: Path) -> Iterator[str]:
    """Serve the site; its address."""
    handler = functools.partial(Quiet, directory=built)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Visit:
    """One open page, what it asked for and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda m: self.complain(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complain(str(error)))
        page.on("requestfailed", lambda request: self.complain(f"failed: {request.url}"))
        page.on("response", self.hear)
        page.on("request", lambda request: self.asked.append(request.url))

    def hear(self, response: Response) -> None:
        """Keep an answer that is an error; 304, not modified, is none."""
        if response.status >= 400:
            self.complain(f"{response.status}: {response.url}")

    def complain(self, text: str) -> None:
        """Keep one complaint."""
        self.complaints.append(text)

    def open(self, address: str) -> None:
        """Open an address and wait until mathematics and diagrams are drawn."""
        self.page.goto(address, wait_until="load")
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        for diagram in self.page.locator(".diagram").all():
            diagram.locator("svg").wait_for()

    def outside(self, inside: str) -> list[str]:
        """Return the addresses asked for that do not begin with ``inside``."""
        return [each for each in self.asked if not each.startswith((inside, "data:", "blob:"))]


@pytest.fixture
def visit(tab: Callable[..., Page]) -> Visit:
    """Open a fresh tab of a reader who prefers light, on a desktop."""
    return Visit(tab(viewport=DESKTOP, color_scheme="light"))


def faults_of(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds serious or critical, by all of its rules or by some."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    page.evaluate(STILL)
    return page.evaluate(FAULTS, list(rules))


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")


def theme(page: Page, scheme: str) -> None:
    """Have the reader's system prefer light or dark, and wait for the page to follow."""
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    for drawing in page.locator(".diagram pre").all():
        expect(drawing).to_have_attribute("data-drawn", scheme)


def test_the_site_has_exactly_the_pages_that_it_should(built: Path):
    there = {str(p.relative_to(built).with_suffix("")) for p in built.rglob("*.html")}
    assert {name for name in there if not name.startswith("_static")} == set(pages())


@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole_on_desktop_and_phone_in_light_and_dark(
    name: str, url: str, visit: Visit, screenshots: Path
):
    visit.open(f"{url}{name}.html")
    page = visit.page
    expect(page.locator("main h1").first).to_be_visible()
    for scheme, window, size in (
        ("light", "desktop", DESKTOP),
        ("dark", "desktop", DESKTOP),
        ("dark", "phone", PHONE),
        ("light", "phone", PHONE),
    ):
        page.set_viewport_size(size)
        theme(page, scheme)
        assert overflow(page) <= 0, (scheme, window)
        if name in PICTURED:
            page.evaluate(STILL)
            if (scheme, window) == ("dark", "phone"):  # all else is the same as in light
                assert faults_of(page, "color-contrast") == []
                # The theme looks anew at what scrolls, in its own time.
                assert awaited(lambda: faults_of(page, SCROLLS) == []), faults_of(page, SCROLLS)
            file = f"site-{name.replace('/', '-')}-{window}-{scheme}.png"
            page.screenshot(path=screenshots / file)
    assert visit.complaints == []
    assert visit.outside(url) == []


def with_rooms_slow() -> Iterator[object]:
    """Yield all pages; of the many alike that show a room of helpers, most are for test-all."""
    for name in pages():
        seldom = name.startswith("helpers/") and name not in {"helpers/index", *PICTURED}
        yield pytest.param(name, marks=pytest.mark.slow if seldom else ())


@pytest.mark.parametrize("name", list(with_rooms_slow()))
def test_a_page_has_no_serious_fault_for_who_cannot_see_or_point(name: str, url: str, visit: Visit):
    visit.open(f"{url}{name}.html")
    assert faults_of(visit.page) == []


@pytest.mark.parametrize("name", [p for p in pages() if re.match(r"notebooks/\d", p)])
def test_a_notebook_shows_its_mathematics_and_its_figures_with_words(
    name: str, url: str, built: Path, visit: Visit
):
    visit.open(f"{url}{name}.html")
    page = visit.page
    source = (REPO / f"{name}.ipynb").read_text(encoding="utf-8")
    formulas = page.locator(".math")
    assert page.locator(".math mjx-container").count() == formulas.count()
    assert page.locator("mjx-merror").count() == 0
    assert (formulas.count() > 0) == ("$$" in source)
    assert page.locator(".diagram svg").count() == source.count("```mermaid")
    figures = page.locator(".cell_output img")
    assert figures.count() == source.count('"image/png": ')
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        page.wait_for_function("img => img.complete", arg=figure.element_handle())
        assert figure.evaluate("img => img.naturalWidth") > 0
        assert len(figure.get_attribute("alt")) > 20
    link = page.locator(".run-it a", has_text=".ipynb").get_attribute("href")
    assert (built / "notebooks" / link).resolve().read_text(encoding="utf-8") == source
    assert page.locator(".output.stderr, .output.traceback").count() == 0


@pytest.mark.parametrize("name", [p for p in pages() if re.match(r"notebooks/\d", p)])
def test_on_a_phone_what_is_wide_scrolls_in_its_own_box_from_its_beginning(
    name: str, url: str, visit: Visit
):
    visit.page.set_viewport_size(PHONE)
    visit.open(f"{url}{name}.html")
    assert overflow(visit.page) <= 0
    cut_off = """boxes => boxes.filter(box => box.checkVisibility() && box.firstElementChild
        && box.firstElementChild.getBoundingClientRect().left
         < box.getBoundingClientRect().left - 1).length"""
    boxes = visit.page.locator("div.math, .diagram, .pst-scrollable-table-container, .text_html")
    assert boxes.count() > 0
    assert boxes.evaluate_all(cut_off) == 0
    code = visit.page.locator("div.cell_input pre")
    assert (
        code.evaluate_all("all => Math.max(...all.map(one => one.clientWidth))") <= PHONE["width"]
    )


def test_the_home_page_is_light_and_leads_to_every_notebook(url: str, visit: Visit):
    sizes = []
    visit.page.on("requestfinished", lambda r: sizes.append(r.sizes()["responseBodySize"]))
    visit.open(f"{url}index.html")
    visit.page.locator("figure.headline img").scroll_into_view_if_needed()
    visit.page.wait_for_load_state("networkidle")
    assert 0 < sum(sizes) <= 1_000_000
    links = [a.get_attribute("href") for a in visit.page.locator(".map a").all()]
    wanted = [f"{name}.html" for name in pages() if re.match(r"notebooks/\d", name)]
    assert sorted(links) == wanted
    assert visit.page.locator("figure.headline img").evaluate("img => img.naturalWidth") > 300


def test_the_search_finds_the_gradient(url: str, visit: Visit, screenshots: Path):
    visit.open(f"{url}index.html")
    page = visit.page
    page.keyboard.press("Control+k")
    page.locator("dialog input[type=search]").fill("gradient")
    page.keyboard.press("Enter")
    expect(page.locator("#search-results li").first).to_be_visible()
    expect(page.locator("#search-results")).to_contain_text("Score the samples")
    expect(page.locator("#search-results .search-summary")).to_contain_text("found")
    page.wait_for_load_state("networkidle")  # each result fetches its page for an excerpt
    assert faults_of(page) == []
    assert visit.complaints == []
    page.screenshot(path=screenshots / "site-search-results.png")
    page.locator("#search-results li a", has_text="Score the samples").first.click()
    expect(page.locator("main h1").first).to_contain_text("Score the samples")


def test_a_solution_is_folded_until_the_reader_opens_it(url: str, visit: Visit):
    visit.open(f"{url}notebooks/02_measure_loss.html")
    solution = visit.page.locator("details:has(> summary:has-text('Show the solution'))").first
    code = solution.locator("pre").first
    expect(code).to_be_hidden()
    solution.locator("summary").click()
    expect(code).to_be_visible()
    expect(solution.locator("summary")).to_contain_text("Hide the solution")
    assert faults_of(visit.page) == []


def test_the_reader_can_choose_dark_and_it_stays(url: str, visit: Visit):
    visit.open(f"{url}index.html")
    html = visit.page.locator("html")
    button = visit.page.locator("header button.theme-switch-button").first
    button.click()
    visit.page.locator(
        "header [data-theme-value=dark], header button:has-text('Dark')"
    ).first.click()
    expect(html).to_have_attribute("data-theme", "dark")
    visit.open(f"{url}glossary.html")
    expect(html).to_have_attribute("data-theme", "dark")


def test_on_a_phone_the_menu_opens_and_leads_on(url: str, visit: Visit, screenshots: Path):
    page = visit.page
    page.set_viewport_size(PHONE)
    visit.open(f"{url}notebooks/00_start_here.html")
    page.locator("button.primary-toggle").click()
    menu = page.locator("#pst-primary-sidebar-modal")
    expect(menu).to_be_visible()
    page.evaluate(STILL)  # the menu slides in
    page.screenshot(path=screenshots / "site-menu-phone.png")
    assert faults_of(page) == []
    menu.get_by_role("link", name="02 · Measure the loss").click()
    expect(page.locator("main h1").first).to_contain_text("Measure the loss")


def test_paper_shows_the_text_without_the_furniture(url: str, visit: Visit):
    visit.open(f"{url}notebooks/02_measure_loss.html")
    visit.page.emulate_media(media="print")
    for furniture in (".bd-header", ".bd-sidebar-primary", ".bd-sidebar-secondary", ".run-it"):
        expect(visit.page.locator(furniture).first).to_be_hidden()
    expect(visit.page.locator("main h1").first).to_be_visible()
    theme(visit.page, "dark")
    for event, wanted in (("beforeprint", "light"), ("afterprint", "dark")):
        visit.page.evaluate("name => window.dispatchEvent(new Event(name))", event)
        expect(visit.page.locator("html")).to_have_attribute("data-theme", wanted)


def test_the_site_works_from_the_disk_too(built: Path, visit: Visit):
    visit.open((built / "notebooks" / "00_start_here.html").as_uri())
    assert visit.page.locator(".diagram svg").count() > 0
    assert visit.page.locator(".math mjx-container").count() > 0
    assert visit.complaints == []
    assert visit.outside(built.as_uri()) == []


FAULTY = """<!doctype html><html lang="en"><head><title>Faulty</title></head><body><main>
<h1>Faulty</h1><p style="color: #ccc; background: #fff">pale</p>
<div style="width: 3000px">wide</div><img src="http://outside.invalid/x.png" alt="x">
<script>console.error("oh")</script></main></body></html>"""


def test_the_checks_of_a_page_find_planted_faults(visit: Visit, tmp_path: Path):
    path = tmp_path / "faulty.html"
    path.write_text(FAULTY, encoding="utf-8")
    visit.open(path.as_uri())
    assert any(fault.startswith("color-contrast: ") for fault in faults_of(visit.page))
    assert overflow(visit.page) > 1000
    assert "oh" in visit.complaints
    assert visit.outside(path.parent.as_uri()) == ["http://outside.invalid/x.png"]
