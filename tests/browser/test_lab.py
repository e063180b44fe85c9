"""JupyterLab in a real browser: `make lab` opens at the start, and a notebook runs to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from waiting import PATIENCE_S, as_typed, awaited

from helpers.base.paths import REPO

pytestmark = pytest.mark.browser

NOTEBOOK = "02_measure_loss.ipynb"
#: After this time without an answer a person chooses a command again; too early does no harm.
AGAIN_MS = 60_000


def lab_command(*arguments: str) -> list[str]:
    """Return the command of `make lab`, with this Python."""
    make = ["make", "--no-print-directory", "--dry-run", "lab", f"ARGS={' '.join(arguments)}"]
    done = subprocess.run(make, cwd=REPO, capture_output=True, text=True, check=True)
    program, *rest = done.stdout.strip().splitlines()[-1].split()
    assert program == ".venv/bin/python"
    return [sys.executable, *rest]


@pytest.fixture(scope="module")
def workbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the notebooks, whose outputs are taken away: what shows, was run."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(REPO / "notebooks", folder / "notebooks")
    path = folder / "notebooks" / NOTEBOOK
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)
    return folder


@pytest.fixture(scope="module")
def opened(browser: Browser, workbook: Path) -> Iterator[str]:
    """Start `make lab` in that folder; the address that it hands to the reader's browser."""
    seen = workbook / "address"
    recorder = workbook / "browser"
    recorder.write_text(f'#!/bin/sh\nprintf %s "$1" > "{seen}.part"\nmv "{seen}.part" "{seen}"\n')
    recorder.chmod(0o755)
    jupyter = {
        f"JUPYTER_{name}_DIR": str(workbook / name) for name in ("CONFIG", "DATA", "RUNTIME")
    } | {f"JUPYTERLAB_{n}_DIR": str(workbook / n) for n in ("SETTINGS", "WORKSPACES")}
    jupyter["IPYTHONDIR"] = str(workbook / "IPYTHON")  # no line in a person's own history
    paths = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    with (log := workbook / "log").open("w") as told:
        server = subprocess.Popen(
            as_typed(*lab_command("--allow-root", "--port-retries=100")),
            cwd=workbook,
            env={**os.environ, **jupyter, "PYTHONPATH": paths, "BROWSER": f"{recorder} %s"},
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        awaited(lambda: seen.exists() or server.poll() is not None)
        assert seen.exists(), log.read_text()
        yield seen.read_text()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(PATIENCE_S)


@pytest.fixture
def lab(tab: Callable[..., Page], opened: str) -> Page:
    """Follow the address in a fresh tab."""
    page = tab(viewport={"width": 1280, "height": 900})
    page.goto(opened)
    expect(page.locator("#jp-top-panel")).to_be_visible()
    return page


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    """Return the code cells of a notebook on the disk; none while it is being written."""
    try:
        cells = nbformat.read(path, as_version=4).cells
    except nbformat.reader.NotJSONError:
        return []
    return [cell for cell in cells if cell.cell_type == "code"]


def run_all(lab: Page, panel: Locator) -> None:
    """Choose *Run All Cells*, and see that it runs.

    The notebook shows an idle kernel before it has reached one, and a command that comes so early
    is dropped without a word; a person would choose it again. Chosen twice, all cells run twice.
    """

    def connected() -> bool:
        sessions = lab.evaluate("async () => (await fetch('/api/sessions')).json()")
        kernels = [session["kernel"] for session in sessions if session["path"] == NOTEBOOK]
        return any(k["connections"] and k["execution_state"] == "idle" for k in kernels)

    def running() -> bool:
        lab.get_by_role("menuitem", name="Run", exact=True).click()
        lab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        indicator = panel.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]")
        try:
            expect(indicator).to_be_attached(timeout=AGAIN_MS)
        except AssertionError:
            return False
        return True

    assert awaited(connected, every_s=0.3), "the kernel is not connected"
    assert awaited(running, every_s=0.3), "the notebook does not start"


def test_make_lab_opens_at_the_start(lab: Page, screenshots: Path):
    tab = lab.locator(".jp-mod-current[role=tab] .lm-TabBar-tabLabel")
    expect(tab.first).to_have_text("00_start_here.ipynb")
    expect(lab.get_by_role("heading", name="00 · Start here").first).to_be_visible()
    lab.screenshot(path=screenshots / "lab-start.png")


def test_run_all_brings_a_notebook_to_its_end_with_figures_and_without_errors(
    lab: Page, workbook: Path, screenshots: Path
):
    lab.get_by_role("listitem", name=NOTEBOOK).dblclick()
    expect(lab.get_by_role("heading", name="02 · Measure the loss").first).to_be_visible()
    panel = lab.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    assert panel.locator(".jp-OutputArea-output img").count() == 0
    run_all(lab, panel)

    def finished() -> list[nbformat.NotebookNode] | None:
        lab.keyboard.press("Control+s")
        cells = code_cells(workbook / "notebooks" / NOTEBOOK)
        return cells if cells and all(cell.execution_count for cell in cells) else None

    cells = awaited(finished, every_s=1.5)
    assert cells, "the notebook does not come to its end"
    assert len({cell.execution_count for cell in cells}) == len(cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    figure = panel.locator(".jp-OutputArea-output img").first
    figure.scroll_into_view_if_needed()
    expect(figure).to_be_visible()
    assert figure.evaluate("img => img.naturalWidth") > 300
    expect(panel.locator(".jp-OutputArea-output[data-mime-type*='error']")).to_have_count(0)
    lab.screenshot(path=screenshots / "lab-run-all.png")
