"""What runs by itself around the code, and what greets a newcomer, is whole and true."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

REPO = Path(__file__).resolve().parents[1]
GITHUB = REPO / ".github"
WORKFLOWS = {path.stem: path for path in sorted((GITHUB / "workflows").glob("*.yml"))}
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
MAKEFILE = (REPO / "Makefile").read_text(encoding="utf-8")
VERSIONS = re.search(r"^VERSIONS = (.*)$", MAKEFILE, re.MULTILINE)[1].split()
OLDEST, NEWEST = VERSIONS[-1], VERSIONS[0]

#: Who may do more than read, and why: all else that a workflow starts can only look.
MAY_WRITE = {
    ("pages", "deploy"): {"pages": "write", "id-token": "write"},
    ("release", "publish"): {"contents": "write"},
    ("release", "pypi"): {"id-token": "write"},
}


def read(name: str) -> dict:
    """Return a workflow; YAML reads its key ``on`` as true."""
    found = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in found.items()}


def jobs() -> Iterator[tuple[str, str, dict]]:
    """Yield the workflow, the name and the content of every job."""
    for workflow in WORKFLOWS:
        for name, job in read(workflow)["jobs"].items():
            yield workflow, name, job


JOBS = [pytest.param(*job, id=f"{job[0]}-{job[1]}") for job in jobs()]


def pythons(job: dict) -> set[str]:
    """Return the versions of Python that a job sets up."""
    matrix = job.get("strategy", {}).get("matrix", {})
    tried = {*matrix.get("python", []), *(each["python"] for each in matrix.get("include", []))}
    said = {
        step["with"]["python-version"]
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/setup-python@")
    }
    return tried if said == {"${{ matrix.python }}"} else said


def commands(job: dict) -> str:
    """Return all that a job runs."""
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


# --- workflows -----------------------------------------------------------------------------------


def test_every_file_around_the_code_is_read_by_its_format():
    files = [
        *GITHUB.rglob("*.yml"),
        *REPO.glob("*.yml"),
        *REPO.glob("*.yaml"),
        REPO / "CITATION.cff",
    ]
    assert len(files) > 10
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict), file


def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it():
    lines = [
        line.strip().removeprefix("- ")
        for path in WORKFLOWS.values()
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(- )?uses:", line)
    ]
    assert len(lines) > 20
    pinned = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_an_action_has_one_version_in_all_workflows():
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS.values():
        for action, pin in re.findall(r"uses: ([\w./-]+)@(.*)", path.read_text(encoding="utf-8")):
            pins.setdefault(action, set()).add(pin)
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_can_only_read_unless_one_job_must_write(name: str):
    workflow = read(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job, content in workflow["jobs"].items():
        assert content.get("permissions") == MAY_WRITE.get((name, job)), job


def test_every_job_that_may_write_is_there_and_says_why_it_is_apart():
    assert MAY_WRITE.keys() <= {(workflow, name) for workflow, name, _ in jobs()}
    for workflow, name in MAY_WRITE:
        assert "needs" in read(workflow)["jobs"][name], "it builds nothing itself"


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS)
def test_a_job_ends_in_time_and_leaves_no_password_in_its_clone(workflow, name, job):
    assert 1 <= job["timeout-minutes"] <= 180
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS)
def test_a_command_holds_no_text_from_an_event(workflow, name, job):
    assert "${{" not in commands(job), "hand it over in env: a title can hold a command"


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS)
def test_what_a_job_calls_exists(workflow, name, job):
    text = commands(job)
    targets = re.findall(r"^make ([\w-]+)", text, re.MULTILINE)
    targets += re.findall(r"^bash \.ci/run ([\w-]+)", text, re.MULTILINE)
    assert [t for t in targets if not re.search(rf"^{t}:", MAKEFILE, re.MULTILINE)] == []
    scripts = re.findall(r"(?:python|bash) ([\w./-]*/[\w./-]+)", text)
    assert [script for script in scripts if not (REPO / script).is_file()] == []


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS)
def test_a_job_sets_up_the_python_that_make_is_told_to_take(workflow, name, job):
    found = pythons(job)
    assert found <= set(VERSIONS)
    told = job.get("env", {}).get("PYTHON", "")
    if "bash .ci/run" in commands(job):
        assert told == "python${{ matrix.python }}" or {told.removeprefix("python")} == found


def test_every_python_is_tried_on_linux_and_one_on_macos():
    matrix = read("ci")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["system"] == ["ubuntu-latest"]
    assert sorted(matrix["python"]) == sorted(VERSIONS)
    assert "macos-latest" in {extra["system"] for extra in matrix["include"]}


def test_the_lowest_versions_are_tried_on_the_oldest_python_that_has_wheels_of_them():
    assert pythons(read("lowest")["jobs"]["test-lowest"]) == {OLDEST}
    recipe = re.search(r"^test-lowest:.*?\n\n", MAKEFILE, re.MULTILINE | re.DOTALL)[0]
    assert recipe.count("$(lastword $(VERSIONS))") == 2
    assert "--resolution lowest-direct" in recipe


@pytest.mark.parametrize(
    ("name", "daily", "command"),
    [
        ("nightly", True, "bash .ci/run test-all"),
        ("nightly", True, "bash .ci/run coverage"),
        ("lowest", False, "bash .ci/run test-lowest"),
        ("links", False, "make site"),
    ],
)
def test_what_takes_long_runs_by_the_clock_and_when_asked(name: str, daily: bool, command: str):
    starts = read(name)["on"]
    [minute, hour, *day, weekday] = starts["schedule"][0]["cron"].split()
    assert minute not in {"0", "30"}, "everybody's jobs start then, and many are dropped"
    assert hour.isdigit()
    assert day == ["*", "*"]
    assert (weekday == "*") is daily
    assert "workflow_dispatch" in starts
    assert any(command in commands(job) for job in read(name)["jobs"].values())


def test_no_marked_test_is_left_out_by_everything():
    recipe = re.search(r"^test-all:.*?\n\n", MAKEFILE, re.MULTILINE | re.DOTALL)[0]
    assert "not slow" not in recipe


# --- coverage ------------------------------------------------------------------------------------


def test_coverage_is_measured_in_every_process_and_has_a_floor():
    settings = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    run = settings["coverage"]["run"]
    assert run["source"] == ["helpers"]
    assert run["branch"] is run["parallel"] is True
    assert run["patch"] == ["subprocess"]
    assert 50 < settings["coverage"]["report"]["fail_under"] < 100
    assert settings["coverage"]["html"]["directory"] == "build/coverage"


# --- releases ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release():
    """Return the script that writes a release's notes, as a module."""
    path = GITHUB / "scripts" / "release_notes.py"
    spec = importlib.util.spec_from_file_location("release_notes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(REPO / name, tmp_path)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    """Replace words that must be there."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_version_that_pyproject_states_can_be_released(release):
    notes = release.release_notes(f"v{release.stated_version(REPO)}")
    assert notes.startswith("###")
    assert "\n## " not in notes
    assert "binder" not in notes


def test_notes_for_an_address_open_that_very_release_on_binder(release):
    tag = f"v{release.stated_version(REPO)}"
    last = release.release_notes(tag, address="a/b").splitlines()[-1]
    assert f"https://mybinder.org/v2/gh/a/b/{tag}?urlpath=lab/tree/notebooks/" in last
    assert (REPO / re.search(r"lab/tree/([\w/.]+)", last)[1]).is_file()


@pytest.mark.parametrize("tag", ["0.1.0", "v99.0.0", "v", "v0.1.0 "])
def test_a_tag_that_names_another_version_is_refused(release, tag: str):
    with pytest.raises(ValueError, match="as pyproject.toml states; got "):
        release.release_notes(tag)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("pyproject.toml", "the tag must be v9.9.9, as pyproject.toml states"),
        ("CHANGELOG.md", "CHANGELOG.md has no section for"),
        ("CITATION.cff", "CITATION.cff must say 'version: "),
    ],
)
def test_a_file_that_names_another_version_is_named(release, clone, file: str, sentence: str):
    version = release.stated_version(REPO)
    before = {"pyproject.toml": '\nversion = "', "CHANGELOG.md": "[", "CITATION.cff": "\nversion: "}
    change(clone / file, before[file] + version, before[file] + "9.9.9")
    with pytest.raises(ValueError, match=re.escape(sentence)):
        release.release_notes(f"v{version}", repo=clone)


def test_a_citation_with_another_day_is_named(release, clone):
    version = release.stated_version(REPO)
    date, _ = release.section((REPO / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    change(clone / "CITATION.cff", f"date-released: {date}", "date-released: 2001-01-01")
    with pytest.raises(ValueError, match=f"must say 'date-released: {date}'"):
        release.release_notes(f"v{version}", repo=clone)


def test_a_wrong_tag_ends_the_command_with_one_sentence(release, capsys):
    assert release.main(["v99.0.0"]) == 1
    assert release.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 2


def test_no_other_file_states_the_version():
    files = [*(REPO / "helpers").rglob("*.py"), *(REPO / "site").glob("*.py"), *WORKFLOWS.values()]
    stating = re.compile(r"^\s*(__version__|release|version)\s*[=:]\s*[\"']?\d", re.MULTILINE)
    assert [file for file in files if stating.search(file.read_text(encoding="utf-8"))] == []


# --- what greets a newcomer ----------------------------------------------------------------------


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_something_and_names_each_answer_once(path: Path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "labels", "body"} == set(form)
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    names = [part["id"] for part in asked]
    assert len(names) == len(set(names))
    assert any(part.get("validations", {}).get("required") for part in asked)
    assert all(part["attributes"]["label"] for part in asked)


def test_a_container_for_editors_takes_a_python_of_ours_and_sets_itself_up():
    container = json.loads((REPO / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    version = re.search(r"python:1-(3\.\d+)", container["image"])[1]
    assert version in VERSIONS
    assert container["containerEnv"]["PYTHON"] == f"python{version}"
    assert container["postCreateCommand"] == "bash .ci/run check"
    editor = container["customizations"]["vscode"]["settings"]
    assert editor["python.defaultInterpreterPath"].endswith("/.venv/bin/python")


def test_binder_takes_a_python_of_ours_and_the_versions_of_the_tests():
    folder = REPO / "binder"
    runtime = (folder / "runtime.txt").read_text(encoding="utf-8")
    assert runtime.strip().removeprefix("python-") in VERSIONS
    text = (folder / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["-c ../constraints.txt", "-e ."]
    assert (folder / "../constraints.txt").is_file()
    needed = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert "jupyterlab" in {Requirement(text).name for text in needed}


def test_new_versions_are_offered_for_packages_and_for_actions():
    settings = yaml.safe_load((GITHUB / "dependabot.yml").read_text(encoding="utf-8"))
    offered = {each["package-ecosystem"]: each for each in settings["updates"]}
    assert offered.keys() == {"github-actions", "pip"}
    for each in offered.values():
        assert each["directory"] == "/"
        assert each["schedule"]["interval"] == "weekly"


def test_what_security_names_exists():
    text = (REPO / "SECURITY.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text("utf-8") for path in (REPO / "helpers").rglob("*.py"))
    for name in ("WORKBOOK_DB_URL", "--show-ids"):
        assert f"`{name}`" in text
        assert f'"{name}"' in code
    assert "Report a vulnerability" in text


#: Pages of the site are laid out elsewhere first; its build refuses a link that leads nowhere.
LAID_OUT = REPO / "site" / "pages"
LEFT_OUT = {".venv", ".cache", "_vendor", "build", "dist", "runs"}
PAGES = [
    path
    for path in sorted(REPO.rglob("*.md"))
    if not LEFT_OUT & set(path.relative_to(REPO).parts) and LAID_OUT not in path.parents
]


def anchors(page: Path) -> set[str]:
    """Return the names by which the headings of a Markdown page can be reached."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_every_local_link_of_a_page_leads_to_a_file_and_a_heading(page: Path):
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert REPO in target.parents, f"{link} leads out of the repository"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link
