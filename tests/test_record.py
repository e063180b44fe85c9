"""What a notebook keeps: its results, its claims, and whether it is the reference run."""

import datetime as dt
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny_notebooks import PARAMETERS, write_notebook

from helpers import record as recording
from helpers.record import claim, plain, record, start, versions

NAME = "04_score_samples"


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_current", None)
    monkeypatch.setattr(recording, "NOTEBOOKS", tmp_path / "notebooks")
    write_notebook(tmp_path / "notebooks", NAME, declared=PARAMETERS + "\nrate: float = 1")


def _values(**changes):
    return {"source": "journey", "path": "", "seed": 0, "run_dir": "", "rate": 1.0} | changes


def _recorded(tmp_path, **results):
    start(NAME, _values(run_dir=str(tmp_path / "run")))
    record(**results)
    return json.loads((tmp_path / "run" / "results" / f"{NAME}.json").read_text("utf-8"))


def test_record_keeps_values_claims_parameters_and_versions(tmp_path):
    start(NAME, _values(seed=3, run_dir=str(tmp_path)))
    claim("seven is more than six", np.bool_(7 > 6))
    claim("six is more than seven", 6 > 7)
    record(auc=np.float32(0.5), rows={"train": np.int64(7)})
    kept = json.loads((tmp_path / "results" / f"{NAME}.json").read_text("utf-8"))
    assert kept["values"] == {"auc": 0.5, "rows": {"train": 7}}
    assert kept["claims"] == [
        {"sentence": "seven is more than six", "holds": True},
        {"sentence": "six is more than seven", "holds": False},
    ]
    assert kept["parameters"] == {"source": "journey", "path": "", "seed": 3, "rate": 1.0}
    assert kept["notebook"] == NAME
    assert kept["reference"] is False
    assert kept["versions"] == versions()
    assert 0 <= kept["seconds"] < 60


def test_record_without_a_run_folder_writes_nothing_and_says_one_line(tmp_path, capsys):
    before = set(tmp_path.rglob("*"))
    start(NAME, _values())
    claim("one is one", True)
    record(answer=42, other=1)
    assert set(tmp_path.rglob("*")) == before
    assert capsys.readouterr().out == "holds: one is one\nrecorded 2 results and 1 claim\n"


def test_the_line_is_the_same_with_a_run_folder(tmp_path, capsys):
    _recorded(tmp_path, answer=42, other=1)
    assert capsys.readouterr().out == "recorded 2 results and 0 claims\n"


def test_record_twice_keeps_the_second(tmp_path):
    _recorded(tmp_path, answer=1)
    assert _recorded(tmp_path, answer=2)["values"] == {"answer": 2}


@pytest.mark.parametrize("undefined", [float("nan"), np.nan, pd.NA, pd.NaT, np.inf, None])
def test_what_is_undefined_becomes_null(tmp_path, undefined):
    assert _recorded(tmp_path, auc=undefined)["values"] == {"auc": None}


def test_tables_become_rows_and_keep_named_indexes(tmp_path):
    table = pd.DataFrame({"model": ["mlp", None], "auc": [0.5, np.nan]}, index=[7, 9])
    named = table.set_index("model")
    kept = _recorded(tmp_path, table=table, named=named)["values"]
    assert kept["table"] == [{"model": "mlp", "auc": 0.5}, {"model": None, "auc": None}]
    assert kept["named"] == kept["table"]


def test_plain_knows_the_types_that_notebooks_use():
    day = dt.date(2026, 1, 31)
    given = {
        "array": np.arange(4).reshape(2, 2),
        "zero_dim": np.array(2.5),
        "series": pd.Series([1.5], index=["auc"]),
        "time": pd.Timestamp("2026-01-31 09:00"),
        "time64": np.datetime64("2026-01-31"),
        "day": day,
        "set": {"b", "a"},
        "ragged": [[1], [2, 3], "x"],
        "category": pd.Series(["a"], dtype="category"),
        5: np.str_("five"),
    }
    assert plain(given) == {
        "array": [[0, 1], [2, 3]],
        "zero_dim": 2.5,
        "series": {"auc": 1.5},
        "time": "2026-01-31T09:00:00",
        "time64": "2026-01-31T00:00:00",
        "day": "2026-01-31",
        "set": ["a", "b"],
        "ragged": [[1], [2, 3], "x"],
        "category": {"0": "a"},
        "5": "five",
    }


def test_plain_refuses_what_json_cannot_keep(tmp_path):
    with pytest.raises(TypeError, match=r"models\['mlp'\]\[0\] is a object"):
        _recorded(tmp_path, models={"mlp": [object()]})
    twice = pd.DataFrame([[1, 2]], columns=["auc", "auc"])
    with pytest.raises(TypeError, match="table has two columns of the same name"):
        _recorded(tmp_path, table=twice)


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, True),
        ({"run_dir": "anything"}, True),
        ({"seed": 1}, False),
        ({"rate": 0.5}, False),
        ({"source": "sample"}, False),
        ({"source": "csv", "path": "tables"}, False),
    ],
)
def test_the_reference_run_has_all_declared_values_but_the_run_folder(changes, reference):
    start(NAME, _values(**changes))
    if reference:
        with pytest.raises(AssertionError, match="reference run: pigs fly"):
            claim("pigs fly", False)
    else:
        claim("pigs fly", False)


def test_own_data_is_never_the_reference_even_when_declared(tmp_path, capsys):
    declared = PARAMETERS.replace('path: str = ""', 'path: str = "my_logs"')
    write_notebook(tmp_path / "notebooks", "own", declared=declared)
    start("own", _values(path="my_logs"))
    claim("pigs fly", False)
    assert capsys.readouterr().out == "does not hold here: pigs fly\n"


@pytest.mark.parametrize("condition", [np.array([True]), pd.NA, "yes", 1, None])
def test_a_claim_needs_one_truth_value(condition):
    start(NAME, _values())
    with pytest.raises(TypeError, match="needs True or False"):
        claim("all are", condition)


def test_claim_and_record_before_start_are_refused():
    with pytest.raises(RuntimeError, match=r"claim\(...\) was called before start"):
        claim("one is one", True)
    with pytest.raises(RuntimeError, match=r"record\(...\) was called before start"):
        record(answer=42)


def test_start_refuses_an_unknown_notebook_and_unset_parameters():
    with pytest.raises(FileNotFoundError, match=r"there is no notebooks/05_nothing\.ipynb"):
        start("05_nothing", _values())
    values = _values()
    del values["seed"]
    with pytest.raises(NameError, match='"seed", but it is not set'):
        start(NAME, values)


def test_a_second_start_forgets_the_first(tmp_path):
    start(NAME, _values(seed=1))
    claim("pigs fly", False)
    assert _recorded(tmp_path)["claims"] == []


def test_recording_does_not_import_tensorflow_or_jupyter():
    code = (
        "import sys, helpers.record as r; r.versions()\n"
        "print([m for m in ('tensorflow', 'keras', 'nbformat', 'papermill') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
