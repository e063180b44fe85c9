"""The README: its picture, its links and its commands are those of the repository."""

from __future__ import annotations

import importlib.util
import re

import nbformat
import numpy as np
import pytest

from helpers.base.paths import REPO
from helpers.experiments.verdict import HURTS, study_results, study_table

README = (REPO / "README.md").read_text(encoding="utf-8")


def test_the_picture_is_the_one_in_the_stored_notebook():
    spec = importlib.util.spec_from_file_location("headline", REPO / "site" / "headline.py")
    headline = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(headline)
    assert headline.PICTURE.read_bytes() == headline.picture()
    assert f"({headline.PICTURE.relative_to(REPO)})" in README


def test_every_local_link_leads_to_a_file():
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (REPO / link).exists()] == []


def test_every_make_target_that_it_names_exists():
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`?make ([a-z][a-z-]*)", README))
    assert named >= {"run", "test"}
    assert [t for t in named if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


def test_nothing_is_left_to_fill_in():
    assert "@@" not in README


def test_its_python_runs():
    from helpers.backend import keras
    from helpers.gradients import naive_norms
    from helpers.losses import cross_entropy_loss

    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    x, y = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 1, 0, 1, 1.0])
    names = {"model": model, "x": x, "y": y}
    exec(code, names)
    want = naive_norms(model, cross_entropy_loss, x, y)
    np.testing.assert_allclose(names["norms"], want, rtol=1e-4)


ROWS = re.findall(r"^\| (.*\*\*.*) \| \[\d\d\]\((notebooks/.*\.ipynb)\) \|$", README, re.MULTILINE)


def test_the_table_of_findings_is_read():
    assert len(ROWS) >= 8


@pytest.mark.parametrize(("finding", "notebook"), ROWS)
def test_every_figure_is_printed_by_the_notebook_beside_it(finding, notebook):
    printed = []
    for cell in nbformat.read(REPO / notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            printed.append(output.get("text", "") or output.get("data", {}).get("text/plain", ""))
    numbers = set(re.findall(r"-?\d+\.\d+", "\n".join(printed)))
    claimed = [n.lstrip("+") for n in re.findall(r"\*\*([-+]?[\d.]+)\*\*", finding)]
    assert claimed
    assert [n for n in claimed if n not in numbers] == []


def test_the_figures_of_the_full_study_in_the_text_are_those_of_its_tables():
    foretold = study_results("attribution").set_index(["test", "score"])
    for test in ("halves", "one row out"):
        row = foretold.loc[(test, "influence")]
        assert f"{row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}]" in " ".join(README.split())
    acted = study_results("journey/recommended").set_index(["data", "model", "action"])
    worse = acted.loc[("20% flips", "mlp", "drop suspects"), "log_loss_difference"]
    text = " ".join(README.split())
    assert f"log loss on test is {worse:.4f} *worse*" in text
    corrected = {}
    for model in ("mlp", "logistic"):
        row = acted.loc[("20% flips", model, "drop suspects")]
        ends = f"[{row.corrected_low:+.4f}, {row.corrected_high:+.4f}]"
        assert f"{row.corrected_difference:.4f} {ends}" in text
        corrected[model] = row.corrected_difference
    oracle = acted.loc[("20% flips", "logistic", "drop what is wrong"), "corrected_difference"]
    assert corrected["logistic"] == pytest.approx(oracle, abs=5e-4)
    still = [
        acted.loc[(noise, "mlp", "drop suspects"), "corrected_difference"]
        for noise in ("10% flips", "10% misclicks")
    ]
    assert f"stay worse, by {still[0]:.4f} and {still[1]:.4f}" in text
    network = study_table("journey").query("model == 'mlp'")
    assert (network.verdict == HURTS).sum() == 2
    assert "Read two lines of it as warnings" in README
