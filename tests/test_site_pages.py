"""What the reading edition is made of: links, notebooks, the words of the glossary."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from helpers.base.paths import REPO
from helpers.commands.run_request import fill_parameters

sys.path[:0] = [str(REPO / "site"), str(REPO / "site" / "_ext")]
stage_links, stage_notebooks, stage_pages = (
    importlib.import_module(f"stage_{name}") for name in ("links", "notebooks", "pages")
)

README = (REPO / "README.md").read_text(encoding="utf-8")


def staged(tmp_path: Path) -> dict[str, list[dict]]:
    """Return the cells of each staged notebook."""
    stage_notebooks.stage_notebooks(tmp_path)
    found = sorted((tmp_path / "notebooks").glob("*.ipynb"))
    return {path.name: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in found}


# --- links ---------------------------------------------------------------------------------------


def test_a_link_to_a_file_becomes_a_download_of_a_copy(tmp_path: Path):
    text = stage_links.localised("see [`the` schema](../data/schema.yaml)", "notebooks", tmp_path)
    assert text == "see [`the` schema](path:/files/data/schema.yaml)"
    copy = tmp_path / "files" / "data" / "schema.yaml"
    assert copy.read_bytes() == (REPO / "data" / "schema.yaml").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "[a page](02_measure_loss.ipynb#a-part)",
        "[a section](#here), [the web](https://example.org/a.csv)",
        "code: `[a](b.csv)`\n\n```python\nf[0](nothing.csv)\n```\nend",
        "![a picture](site/headline.png)",
    ],
)
def test_what_is_no_link_to_a_file_stays(text: str, tmp_path: Path):
    assert stage_links.localised(text, "", tmp_path) == text
    assert list(tmp_path.iterdir()) == []


def test_of_a_link_to_a_folder_the_words_stay(tmp_path: Path):
    assert stage_links.localised("in [the data](../data/)", "notebooks", tmp_path) == "in the data"


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no\.csv leads to no file"):
        stage_links.localised("[x](no.csv)", "", tmp_path)


# --- notebooks -----------------------------------------------------------------------------------


def test_every_notebook_stands_in_one_part_in_its_order():
    inside = [each.path.name for _, _, found in stage_notebooks.parts() for each in found]
    assert inside == sorted(path.name for path in (REPO / "notebooks").glob("*.ipynb"))
    assert all(each.question.endswith("?") for each in stage_notebooks.notebooks())


def test_only_the_box_is_added_and_every_output_is_kept(tmp_path: Path):
    for name, cells in staged(tmp_path).items():
        stored = json.loads((REPO / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
        box = cells.pop(1)
        number, option, value = re.search(
            r"-m helpers run (\d\d)(?: --source sample)? -p (\w+) (\S+)\n", box["source"]
        ).groups()
        stem = name.removesuffix(".ipynb")
        assert number == name[:2]
        assert option in fill_parameters([stem], {option: value}, {})[stem]  # the command takes it
        assert [c.get("outputs") for c in cells] == [c.get("outputs") for c in stored]
        code = [("".join(c["source"])) for c in cells if c["cell_type"] == "code"]
        assert code == ["".join(c["source"]) for c in stored if c["cell_type"] == "code"]


def test_figures_carry_their_words_and_solutions_fold_with_what_they_print(tmp_path: Path):
    cells = [c for found in staged(tmp_path).values() for c in found if c["cell_type"] == "code"]
    described = [c for c in cells if "alt" in c["metadata"]]
    assert described
    assert all(c["metadata"]["mystnb"]["image"]["alt"] == c["metadata"]["alt"] for c in described)
    solutions = [
        c["metadata"]["tags"] for c in cells if "solution" in c["metadata"].get("tags", [])
    ]
    assert solutions
    assert all("hide-cell" in tags and "hide-input" not in tags for tags in solutions)


# --- the other pages -----------------------------------------------------------------------------


@pytest.mark.parametrize("heading", ["What we found", "Start", "Your own log", "Further reading"])
def test_a_section_of_the_readme_ends_at_the_next_heading(heading: str):
    text = stage_pages.section(README, heading)
    assert text
    assert text in README
    assert not re.search(r"^## ", text, re.MULTILINE)


def test_a_section_that_is_gone_is_named():
    with pytest.raises(SystemExit, match='no section "What we lost"'):
        stage_pages.section(README, "What we lost")


def test_every_room_of_helpers_has_a_page_and_the_maps_order():
    rooms = stage_pages.rooms()
    assert len(set(rooms)) == len(rooms)
    assert rooms[0] == "base"
    assert rooms.index("losses") < rooms.index("models") < rooms.index("gradients")
    files = {path.stem for path in (REPO / "helpers").glob("[!_]*.py")}
    assert files < set(rooms)


ASKED = (
    *("sample", "exposure", "loss function", "surprise", "leverage", "gradient norm", "influence"),
    *("out of fold", "importance sampling", "role", "cutoff", "calibration", "base rate"),
    *("AUROC", "NDCG"),
)


def test_the_glossary_holds_the_words_of_notebook_00_and_more_in_both_languages():
    lines = stage_pages.glossary().splitlines()
    terms = {line for line in lines if line and not line.startswith(" ")}
    assert terms >= {
        *ASKED,
        *(part for _, term, _ in stage_pages.words() for part in term.split(", ")),
    }
    chinese = [line for line in lines if line.startswith("  {zh}`")]
    assert all(re.search(r"[\u4e00-\u9fff]", line) for line in chinese)
    assert len(chinese) == len(stage_pages.words()) + len(extra_words())


def extra_words() -> dict[str, dict[str, str]]:
    """Return the words that the site adds."""
    return yaml.safe_load((REPO / "site" / "glossary.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("term", sorted(extra_words()))
def test_a_word_of_the_glossary_is_used_in_the_workbook(term: str):
    texts = [path.read_text(encoding="utf-8") for path in (REPO / "notebooks").glob("*.ipynb")]
    workbook = " ".join([README, *texts]).lower().replace("-", " ")
    assert term.lower().replace("-", " ") in workbook


def test_the_words_of_a_diagram_are_said_in_order():
    diagrams = pytest.importorskip("diagrams")
    source = 'flowchart LR\n A["1 log<br/>clicks"] -->|"shows"| B["2 model"]\n B --> A'
    assert diagrams.in_words(source) == "Diagram: 1 log, clicks; shows; 2 model"


def test_the_scripts_of_others_are_the_files_that_their_readme_names():
    folder = REPO / "site" / "_vendor"
    text = (folder / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{16})` \|$", text, re.MULTILINE))
    scripts = {str(p.relative_to(folder)): p for p in folder.rglob("*.js")}
    found = {n: hashlib.sha512(p.read_bytes()).hexdigest()[:16] for n, p in scripts.items()}
    assert found == listed
