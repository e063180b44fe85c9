"""The page of a run: whole, safe to show, readable without anything but a browser."""

import base64
import html.parser
import json
import re

import nbformat
import pytest
from made_up_run import EVIL, made_up_results
from nbformat.v4 import new_code_cell, new_notebook, new_output

from helpers.base.errors import DataError
from helpers.commands.report import text as report_text
from helpers.commands.report import write_report

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n made up").decode()


def write_run(folder, results=None, image=PIXEL):
    """Write a run's folder: results, and a notebook with two figures, one of them tagged."""
    folder.mkdir(exist_ok=True)
    results = results or made_up_results()
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    figure = new_output("display_data", {"image/png": image, "text/plain": "<Figure>"})
    cells = [
        new_code_cell("plot()", outputs=[figure], metadata={"tags": tags, "alt": alt})
        for tags, alt in ((["report"], f'bars "high" {EVIL}'), ([], "not for the page"))
    ]
    nbformat.write(new_notebook(cells=cells), folder / "04_score_samples.ipynb")
    return folder


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "20261123-180500-journey")


def _page(run_dir, **options) -> str:
    return write_report(run_dir, **options).read_text(encoding="utf-8")


def _text(page: str) -> str:
    """What a reader sees: no tags, one space between words."""
    found: list[str] = []

    class Reader(html.parser.HTMLParser):
        hidden = False

        def handle_starttag(self, tag, attrs):
            self.hidden = tag in ("style", "script")

        def handle_data(self, data):
            if not self.hidden:
                found.append(data)

    Reader().feed(page)
    return " ".join(" ".join(found).split())


def _tags(page: str) -> list[tuple[str, dict]]:
    found: list[tuple[str, dict]] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, dict(attrs)))

    Reader().feed(page)
    return found


def test_the_page_says_everything_that_was_recorded(run_dir):
    text = _text(_page(run_dir))
    for part in (
        "Run 20261123-180500-journey",
        "Dropping the highest tenth helped under noise.",
        "Complete Journey",
        "175,123",
        "16.1%",
        "2017-07-02 - 2017-10-21",
        "12 were drawn per visit",
        "-3.250",
        "no item_id",
        "python 3.11.9, tensorflow 2.21.0",
        "a1b2c3",
        "FLUID MILK WHITE ONLY",
        "What this page cannot say",
        "1 of 2 statements of the notebooks do not hold",
        "rare <items> pull harder (04_score_samples)",
        "python -m helpers run --source journey -p epochs 5 -p note 'two words'",
    ):
        assert part in text, part
    assert "important rows are surprising" not in text
    assert "recorded nothing" not in text


def test_before_and_after_are_worded_with_their_intervals(run_dir):
    text = _text(_page(run_dir))
    assert "AUC 0.8551 0.8602 +0.0051 [+0.0031, +0.0071] better" in text
    assert "log loss 0.3900 0.3850 -0.0050 [-0.0090, -0.0010] better" in text
    assert "[-0.0200, +0.0010] no difference that these data can show" in text
    assert "Data: 20% noise; model: mlp; action: drop highest." in text


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [
        ("auc", 0.001, 0.002, "better"),
        ("auc", -0.002, -0.001, "worse"),
        ("ndcg@10", 0.1, 0.2, "better"),
        ("log_loss", 0.001, 0.002, "worse"),
        ("calibration_error", -2, -1, "better"),
        ("ece", 1, 2, "worse"),
        ("precision", 1, 2, "better"),
        ("base_rate", 1, 2, "moved up"),
        ("auc", 0.0, 0.002, "no difference that these data can show"),
        ("auc", -0.1, 0.0, "no difference that these data can show"),
        ("auc", None, 0.1, "not measured"),
    ],
)
def test_the_verdict_follows_the_interval_and_the_metrics_direction(metric, low, high, verdict):
    assert report_text.verdict(metric, low, high) == verdict


def test_twenty_samples_of_each_kind_are_shown(run_dir):
    page = _page(run_dir)
    for caption in ("The training rows that matter most", "The ones that matter least"):
        table = page[page.index(f"<caption>{caption}") :].split("</table>")[0]
        assert table.count("<tr>") == 1 + 20


def test_undefined_values_are_dashes(run_dir):
    assert re.search(r"mlp</td>.*0\.86</td>.*–</td>.*31,000</td>", _page(run_dir), re.DOTALL)


def test_nothing_in_the_data_becomes_markup(run_dir):
    page = _page(run_dir, show_ids=True)
    assert "script" not in {tag for tag, _ in _tags(page)}
    assert page.count("&lt;script&gt;") >= 4  # a title twice, a verdict, an alt text
    (image,) = [attributes for tag, attributes in _tags(page) if tag == "img"]
    assert image["alt"] == f'bars "high" {EVIL}'


def test_the_page_asks_for_nothing_from_anywhere(run_dir):
    page = _page(run_dir)
    tags = _tags(page)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "url(" not in page
    assert "@import" not in page
    assert "//" not in re.sub(r"base64,[^\"]*", "", page)
    policy = [a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_only_tagged_figures_are_inside_with_their_alt_text(run_dir):
    images = [attributes for tag, attributes in _tags(_page(run_dir)) if tag == "img"]
    assert [image["src"] for image in images] == [f"data:image/png;base64,{PIXEL}"]


def test_figures_of_a_notebook_that_recorded_nothing_are_inside_too(tmp_path):
    results = made_up_results()
    del results["notebooks"]["04_score_samples"]
    assert "img" in [tag for tag, _ in _tags(_page(write_run(tmp_path / "run", results)))]


def test_every_header_names_its_column_and_every_box_can_be_scrolled_by_keyboard(run_dir):
    tags = _tags(_page(run_dir))
    assert all(a.get("scope") == "col" for tag, a in tags if tag == "th")
    boxes = [a for _, a in tags if a.get("class") == "scroll"]
    assert boxes
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in boxes)


def test_users_and_queries_get_stand_in_names(run_dir):
    page = _page(run_dir)
    assert "household-" not in page
    assert "secret wish" not in page
    users = re.findall(r"user [0-9a-f]{6}", page)
    assert len(users) == 40
    assert len(set(users)) == 3
    assert len(set(re.findall(r"query [0-9a-f]{6}", page))) == 1


def test_stand_in_names_stay_within_a_run_and_differ_between_runs(run_dir, tmp_path):
    first, again = _page(run_dir), _page(run_dir)
    other = _page(write_run(tmp_path / "other"))
    names = [set(re.findall(r"user [0-9a-f]{6}", page)) for page in (first, again, other)]
    assert first == again
    assert not names[0] & names[2]
    secret = (run_dir / ".salt").read_bytes()
    assert secret.hex() not in first
    assert (run_dir / ".salt").stat().st_mode & 0o077 == 0


def test_show_ids_shows_them(run_dir):
    page = _page(run_dir, show_ids=True)
    assert "household-2" in page
    assert "secret wish" in page
    assert not re.search(r"user [0-9a-f]{6}", page)
    assert not (run_dir / ".salt").exists()


def _own(tmp_path, source="csv", **values) -> str:
    """The text of a page about a person's own data."""
    results = made_up_results()
    results["run"] |= {"source": source, "schema": True}
    results["notebooks"]["01_load_data"]["values"] |= values
    return _text(_page(write_run(tmp_path / "run", results)))


def test_own_data_are_told_from_the_workbooks(tmp_path, run_dir):
    lost = [
        {"table": "user_behavior", "reason": "left out by a rule", "rows": 1_200},
        {"table": "user_behavior", "reason": "exact duplicates", "rows": 30_000},
    ]
    drawn = "Drawn: 20,000 of 250,000 users, all their rows."
    text = _own(tmp_path, dropped=lost, notes=[drawn])
    assert "Your data Your own tables, read from files" in text
    assert drawn in text
    assert "Together 31,200 rows of the tables were left out" in text
    assert text.index("exact duplicates") < text.index("left out by a rule")
    assert "That your tables say what you believe they say." in text
    assert "Keep the folder of the run to yourself" in text
    theirs = _text(_page(run_dir))
    assert "The data A year of grocery shopping" in theirs
    assert "Keep the folder" not in theirs
    assert "rows of the tables were left out" not in theirs


def test_own_data_of_which_every_row_was_used_say_so(tmp_path):
    assert "No row of the tables was left out." in _own(tmp_path, dropped=[])


def test_a_server_is_named_as_one_and_needs_no_folder_to_repeat(tmp_path):
    text = _own(tmp_path, source="mysql")
    assert "copied from a MySQL server at one moment" in text
    assert "run --source mysql --schema FILE -p epochs 5" in text
    assert "--path" not in text


@pytest.mark.parametrize(("negatives", "said"), [(4, True), (0, False), (None, False)])
def test_a_log_of_successes_only_says_what_nobody_was_shown(tmp_path, negatives, said):
    text = _own(tmp_path, negatives=negatives)
    assert ("The log holds successes only" in text) is said


def test_shown_ids_are_said_where_the_page_is_shared(tmp_path):
    results = made_up_results()
    results["run"]["source"] = "csv"
    text = _text(_page(write_run(tmp_path / "run", results), show_ids=True))
    assert "if those who read it may see its user ids and queries" in text


def test_the_folder_of_a_persons_own_tables_is_not_named(tmp_path):
    results = made_up_results()
    results["run"] |= {"source": "csv", "path": "/home/me/secret_customer"}
    text = _text(_page(write_run(tmp_path / "run", results)))
    assert "python -m helpers run --source csv --path DIR" in text
    assert "secret_customer" not in text
    assert "Complete Journey" not in text


@pytest.mark.parametrize("number", ["01", "03", "04", "05", "06", "08"])
def test_a_part_that_was_not_recorded_is_left_out_with_a_sentence(tmp_path, number):
    results = made_up_results()
    name = next(n for n in results["notebooks"] if n.startswith(number))
    del results["notebooks"][name]
    text = _text(_page(write_run(tmp_path / "run", results)))
    assert f"Notebook {number} recorded nothing for this page" in text
    assert "None" not in text


def test_the_decision_table_says_score_gain_and_verdict(tmp_path):
    text = _text(_page(write_run(tmp_path / "run", made_up_results())))
    for told in ("20% flips", "0.9123", "+0.0100 [+0.0020, +0.0181]", "helps", "10 trainings"):
        assert told in text
    assert "-0.0120 [-0.0200, -0.0041]" in text
    assert "<script>" not in _page(write_run(tmp_path / "again", made_up_results()))


def test_a_run_without_any_result_still_has_a_page(tmp_path):
    run = {"source": "sample", "notebooks": ["02_measure_loss"]}
    folder = write_run(tmp_path / "run", {"run": run, "notebooks": {}})
    text = _text(_page(folder))
    assert text.count("recorded nothing") == 6
    assert "The notebooks of this run checked no statements." in text
    assert "python -m helpers run --source sample 02_measure_loss" in text


def test_empty_values_are_left_out_like_missing_ones(tmp_path):
    results = made_up_results()
    for recorded in results["notebooks"].values():
        recorded["values"] = dict.fromkeys(recorded["values"], None)
    text = _text(_page(write_run(tmp_path / "run", results)))
    assert "None" not in text


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no results\.json.*folder of a run"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match=r"is damaged\. Resume the run"):
        write_report(tmp_path)


def test_a_page_that_cannot_be_written_is_refused(run_dir):
    (run_dir / "report.html").mkdir()
    with pytest.raises(DataError, match="the report cannot be written here"):
        write_report(run_dir)
