"""What notebooks record and what is read of it: no name can change at one end only."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from made_up_run import made_up_results

from helpers.base.paths import REPO
from helpers.commands.report import page, write_report
from helpers.notebooks import contract, read
from helpers.notebooks import record as recording
from helpers.notebooks.contract import RESULTS, Reader, Result, ResultKind, RunRecords, faults
from helpers.notebooks.record import record, start
from helpers.notebooks.rules import RULES, Page, lint

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
BY_NAME = {path.stem: path for path in NOTEBOOKS}


def label(result: Result) -> str:
    return f"{result.notebook[:2]}-{result.name}"


def rule_of_records(page: Page) -> list[str]:
    """Return what the rule of recorded names says of a notebook."""
    [rule] = [rule for rule in RULES if rule.__name__ == "_records_what_is_declared"]
    return list(rule(page))


# ---------------------------------------------------------------- both ends


def test_every_notebook_of_the_workbook_is_declared_and_no_other():
    assert {result.notebook for result in RESULTS} == set(BY_NAME)


def test_a_notebook_declares_a_name_once():
    pairs = [(result.notebook, result.name) for result in RESULTS]
    assert len(set(pairs)) == len(pairs)


def test_only_tables_declare_columns():
    assert {result.kind for result in RESULTS if result.columns} == {ResultKind.TABLE}
    assert all(result.columns for result in RESULTS if result.kind == ResultKind.TABLE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_each_notebook_records_what_it_declares(path: Path):
    assert rule_of_records(Page(path, read(path))) == []


def renamed(path: Path, result: Result, new: str) -> Page:
    """Return a notebook whose source records a result under another name."""
    notebook = copy.deepcopy(read(path))
    cell = [c for c in notebook.cells if c.cell_type == "code"][-1]
    cell.source, times = re.subn(rf"(?<=[(\s]){result.name}=", f"{new}=", cell.source, count=1)
    assert times == 1
    return Page(path, notebook)


@pytest.mark.parametrize("result", RESULTS, ids=label)
def test_a_result_that_is_renamed_in_its_notebook_is_found(result: Result):
    found = rule_of_records(renamed(BY_NAME[result.notebook], result, f"{result.name}s"))
    assert any(f"records {result.name}s, which helpers/notebooks/contract.py" in f for f in found)
    missed = f"the notebook does not record {result.name}, which helpers/notebooks/contract.py"
    [sentence] = [fault for fault in found if fault.startswith(missed)]
    assert all(str(reader) in sentence for reader in result.read_by)


@pytest.mark.parametrize("result", RESULTS, ids=label)
def test_a_declaration_that_is_renamed_is_found(result: Result, monkeypatch):
    others = tuple(each for each in RESULTS if each is not result)
    other = Result(result.notebook, f"{result.name}s", result.kind, result.columns)
    monkeypatch.setattr(contract, "RESULTS", (*others, other))
    path = BY_NAME[result.notebook]
    assert len(rule_of_records(Page(path, read(path)))) == 2


def test_lint_says_so(tmp_path):
    path = BY_NAME["03_train_recommender"]
    page_of_it = renamed(path, contract.MODELS, "model_table")
    file = tmp_path / path.name
    nbformat.write(page_of_it.notebook, file)
    assert any("does not record models, which" in sentence for sentence in lint(file))


# ---------------------------------------------------------------- the readers


class Seen(dict):
    """A row that remembers which columns were asked for."""

    asked: set[str]

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)


@pytest.fixture
def results(tmp_path, monkeypatch) -> Iterator[dict[str, Any]]:
    (tmp_path / "results.json").write_text(json.dumps(made_up_results()), encoding="utf-8")
    return made_up_results()


def test_the_page_reads_all_that_is_declared_for_it_and_no_more(tmp_path, results, monkeypatch):
    asked: set[Result] = set()
    value = RunRecords.value

    def remembered(self: RunRecords, result: Result) -> Any:
        asked.add(result)
        return value(self, result)

    monkeypatch.setattr(RunRecords, "value", remembered)
    write_report(tmp_path)
    assert asked == {result for result in RESULTS if Reader.REPORT in result.read_by}


@pytest.mark.parametrize("result", [r for r in RESULTS if Reader.REPORT in r.read_by], ids=label)
def test_each_result_that_is_declared_for_the_page_changes_it(tmp_path, results, result):
    """A declaration without a use, or a use under another name, would change nothing."""
    results["run"]["source"] = "csv"
    contract_values = results["notebooks"][result.notebook]["values"]
    contract_values.setdefault(result.name, 1)
    pages = []
    for value in (contract_values[result.name], None):
        contract_values[result.name] = value
        (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
        pages.append(write_report(tmp_path).read_text(encoding="utf-8"))
    assert pages[0] != pages[1]


@pytest.mark.parametrize(
    "result",
    [contract.DECISIONS, contract.BEFORE_AFTER, contract.STUDY, contract.DROPPED],
    ids=label,
)
def test_the_columns_that_the_page_asks_for_are_declared(tmp_path, results, result, monkeypatch):
    asked: set[str] = set()
    values = results["notebooks"][result.notebook]["values"]
    seen = type("SeenHere", (Seen,), {"asked": asked})
    rows = values[result.name]
    values[result.name] = [seen({c: row[c] for c in result.columns if c in row}) for row in rows]
    monkeypatch.setattr(page, "read_results", lambda folder: results)
    write_report(tmp_path)
    assert asked <= set(result.columns)


def test_a_reader_that_is_not_declared_is_refused():
    records = RunRecords({}, Reader.SUMMARY)
    with pytest.raises(LookupError, match="the summary of a run reads models of 03_train_recomm"):
        records.value(contract.MODELS)
    assert RunRecords({}, Reader.REPORT).value(contract.MODELS) is None


# ---------------------------------------------------------------- while a notebook runs


def recorded(tmp_path: Path, name: str, **values: Any) -> dict[str, Any]:
    start(name, {"seed": 0, "run_dir": str(tmp_path)}, declared={"seed": 0, "run_dir": ""})
    record(**values)
    return json.loads((tmp_path / "results" / f"{name}.json").read_text("utf-8"))["values"]


MODELS = pd.DataFrame({"model": ["mlp"], "auc": [0.8]})
GOOD = {"models": MODELS, "seed_spread": 0.01, "best_pass": 3}


def test_the_declared_results_are_kept(tmp_path):
    assert recorded(tmp_path, "03_train_recommender", **GOOD)["best_pass"] == 3
    unknown = GOOD | {"seed_spread": float("nan")}
    assert recorded(tmp_path, "03_train_recommender", **unknown)["seed_spread"] is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (GOOD | {"seed_spred": 1}, 'seed_spred is not declared. Did you mean "seed_spread"?'),
        ({k: GOOD[k] for k in ("seed_spread", "best_pass")}, "models is declared and not recorded"),
        (GOOD | {"models": "mlp"}, "models must be a table: a list of rows by column; got a text"),
        (GOOD | {"best_pass": True}, "best_pass must be a number; got true or false"),
        (
            GOOD | {"models": MODELS.rename(columns={"auc": "area"})},
            'no column "auc"; it has model',
        ),
    ],
)
def test_what_is_not_declared_so_is_refused_and_nothing_is_kept(tmp_path, values, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        recorded(tmp_path, "03_train_recommender", **values)
    assert "helpers/notebooks/contract.py declares what each notebook records" in str(error.value)
    assert not list(tmp_path.rglob("*.json"))


def test_a_table_without_rows_is_a_table(tmp_path):
    assert recorded(tmp_path, "03_train_recommender", **GOOD | {"models": MODELS[:0]})


def test_a_notebook_of_ones_own_records_what_it_likes(tmp_path, monkeypatch):
    assert recorded(tmp_path, "my_notes", anything="goes", rows=3) == {
        "anything": "goes",
        "rows": 3,
    }
    monkeypatch.setattr(recording, "NOTEBOOKS", tmp_path)  # a folder of one's own
    assert recorded(tmp_path, "03_train_recommender", mine=1) == {"mine": 1}


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize("kind", ResultKind)
def test_nothing_known_is_of_every_kind(kind):
    assert kind.fits(None)


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        (3, {"NUMBER", "LOGIT"}),
        (1e6, {"NUMBER"}),
        (True, {"FLAG"}),
        ("a", {"TEXT", "LINES"}),
        (["a", 1, None], {"LINES"}),
        ([], {"LINES", "TABLE"}),
        ({}, {"NUMBERS", "TEXTS"}),
        ({"a": 1, "b": None}, {"NUMBERS", "TEXTS"}),
        ({"a": "b"}, {"TEXTS"}),
        ([{"rows": 1, "low": None, "metric": "auc", "of": ["a"]}], {"TABLE"}),
        ([{"rows": "many"}], set()),
        ([{"metric": 1}], set()),
        ({"a": {}}, set()),
    ],
)
def test_a_value_is_of_these_kinds_and_no_others(value, kinds):
    assert {kind.name for kind in ResultKind if kind.fits(value)} == kinds


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("record(models=3, seed_spread=x, best_pass=x)", "records models, which must be a table"),
        (
            "record(models=x, seed_spread='a', best_pass=x)",
            "records seed_spread, which must be a nu",
        ),
        ("record(models=x, seed_spread=x, best_pass={})", "records best_pass, which must be a num"),
        ("record(models=x, seed_spread=x, best_pass=f'{x}')", "which must be a number, by helpers"),
        ("record(models=len(x), seed_spread=x, best_pass=x)", "records models, which must be a ta"),
        ("record(**everything)", "must write out every name"),
    ],
)
def test_a_wrong_kind_is_found_where_the_source_tells_it(source, sentence):
    notebook = copy.deepcopy(read(BY_NAME["03_train_recommender"]))
    [c for c in notebook.cells if c.cell_type == "code"][-1].source = source
    [found] = rule_of_records(Page(BY_NAME["03_train_recommender"], notebook))
    assert sentence in found


def test_faults_of_a_notebook_without_a_declaration_are_none():
    assert faults("my_notes", {"a": 1}) == []
