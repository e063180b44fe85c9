"""What stands beside the code: CONTRIBUTING, CHANGELOG, CITATION, licences and hooks are true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml

from helpers.base.paths import REPO

CONTRIBUTING = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGELOG = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HOOKS = [
    hook
    for repo in yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    for hook in repo["hooks"]
]


def test_every_file_that_contributing_names_exists():
    named = re.findall(r"`([\w./-]+\.(?:py|md|ipynb|yaml|json))`", CONTRIBUTING)
    named += re.findall(r"\]\((?!https?:)([^)#]+)\)", CONTRIBUTING)
    assert len(named) > 20
    assert [name for name in named if not (REPO / name).exists()] == []


def test_every_make_target_that_contributing_names_exists():
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", CONTRIBUTING))
    assert named >= {"lab", "check", "test", "hooks", "new-notebook", "refresh"}
    assert [t for t in named if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sample_losses", "helpers/importance/errors.py"),
        ("SCORES", "helpers/importance/table.py"),
        ("_score", "helpers/importance/table.py"),
        ("ACTIONS", "helpers/experiments/study/plans.py"),
        ("RULES", "helpers/notebooks/rules.py"),
        ("draw_logit", "helpers/plots/interactive.py"),
        ("logit_slider", "helpers/plots/interactive.py"),
    ],
)
def test_every_name_that_contributing_says_to_copy_is_in_its_file(name: str, file: str):
    assert f"`{name}`" in CONTRIBUTING
    source = (REPO / file).read_text(encoding="utf-8")
    assert re.search(rf"^(def )?{name}\b", source, re.MULTILINE)


def test_contributing_is_a_page():
    assert len(CONTRIBUTING.splitlines()) < 100


def test_the_newest_release_is_the_package_s_version_everywhere():
    releases = re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", CHANGELOG, re.MULTILINE)
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert releases[0][0] == PROJECT["version"] == citation["version"]
    assert releases[0][1] == citation["date-released"].isoformat()


def test_the_changelog_keeps_its_form():
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    kinds = set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_has_what_the_format_asks_for():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_every_licence_is_named_in_the_same_words_everywhere():
    files = set(PROJECT["license-files"])
    assert files == {"LICENSE", "LICENSE-TEXT"}
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert set(citation["license"]) == set(PROJECT["license"].split(" AND "))
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (REPO / page).read_text(encoding="utf-8")
        assert all(f"]({file})" in text for file in files), page
    assert "MIT" in (REPO / "LICENSE").read_text(encoding="utf-8")
    text = (REPO / "LICENSE-TEXT").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text
    assert "CC0 1.0" in text  # the bundled logs, as data/README.md says
    assert "CC0 1.0" in (REPO / "data" / "README.md").read_text(encoding="utf-8")


def test_hooks_download_nothing():
    repos = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert {repo["repo"] for repo in repos} == {"local"}
    assert {hook["language"] for hook in HOOKS} == {"system"}
    assert all("additional_dependencies" not in hook for hook in HOOKS)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_command_of_a_hook_exists_and_runs(hook: dict):
    python, *words = shlex.split(hook["entry"])
    assert python == ".venv/bin/python"
    done = subprocess.run(
        [sys.executable, *words, "--help"], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_hook_for_style_finds_a_fault(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\n", encoding="utf-8")
    (words,) = [shlex.split(h["entry"])[1:] for h in HOOKS if h["id"] == "ruff-check"]
    done = subprocess.run(
        [sys.executable, *words, "--select", "F401", bad], cwd=REPO, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "F401" in done.stdout


def test_the_hook_for_notebooks_fails_where_a_rule_is_broken(tmp_path, monkeypatch, capsys):
    from helpers.notebooks import __main__ as command

    (words,) = [shlex.split(h["entry"])[1:] for h in HOOKS if h["id"] == "notebooks-lint"]
    assert words == ["-m", "helpers.notebooks", "lint"]
    (tmp_path / "01_a_b.ipynb").write_text('{"cells": [], "nbformat": 4, "metadata": {}}')
    monkeypatch.setattr(command, "NOTEBOOKS", tmp_path)
    assert command.main(["lint"]) == 1
    assert "01_a_b.ipynb: the first cell" in capsys.readouterr().out


INSTRUCTORS = (REPO / "site" / "instructors.md").read_text(encoding="utf-8")
BELIEFS = re.findall(r"^\| \[(\d\d)\]\(\.\./(\S+)\) \| (.*?\.) \| (.*?) \|$", INSTRUCTORS, re.M)


def claims(notebook: str) -> set[str]:
    """Return the sentences that a stored notebook claims."""
    cells = json.loads((REPO / notebook).read_text(encoding="utf-8"))["cells"]
    printed = "".join(
        "".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", [])
    )
    return set(re.findall(r"^holds: (.*)$", printed, re.MULTILINE))


def test_every_notebook_has_a_belief_that_it_dispels():
    there = {path.name[:2] for path in (REPO / "notebooks").glob("0[0-8]_*.ipynb")}
    assert {number for number, *_ in BELIEFS} == there


@pytest.mark.parametrize(("number", "notebook", "belief", "claim"), BELIEFS)
def test_a_belief_is_dispelled_by_a_claim_that_holds(number, notebook, belief, claim):
    assert claim in claims(notebook), belief


def test_every_section_in_the_timetables_exists():
    rows = re.findall(r"\[\d\d\]\(\.\./(\S+)\), sections? ([\d, and to]+)", INSTRUCTORS)
    assert len(rows) > 10
    for notebook, sections in rows:
        text = (REPO / notebook).read_text(encoding="utf-8")
        for number in re.findall(r"\d+", sections):
            assert f'"## {number}. ' in text, (notebook, number)


def test_every_local_link_of_the_instructors_leads_to_a_file():
    links = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", INSTRUCTORS))
    assert [link for link in links if not (REPO / "site" / link).exists()] == []
