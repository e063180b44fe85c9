"""What a notebook keeps: its results, its claims, and whether it is the reference run."""

import datetime as dt
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny_notebooks import PARAMETERS, write_notebook

from helpers.commands.report import page as report
from helpers.notebooks import record as recording
from helpers.notebooks.record import (
    claim,
    keep_table,
    plain_json,
    pseudonyms,
    record,
    run_secret,
    start,
    versions,
)

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
    assert plain_json(given) == {
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
        ({"source": "mysql"}, False),
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
        "import sys, helpers.notebooks.record as r; r.versions()\n"
        "print([m for m in ('tensorflow', 'keras', 'nbformat', 'papermill') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# What may be shown ------------------------------------------------------------------------


def _shown(table, **changes):
    start(NAME, _values(**changes))
    return pseudonyms(table)


EVENTS = pd.DataFrame(
    {
        "user_id": ["ann", "bob", "ann", None],
        "query": ["tea", None, "jam", "tea"],
        "list_id": pd.array([7, 7, 8, None], dtype="Int64"),
        "item_id": ["i1", "i2", "i1", "i3"],
        "price": [1.5, 2.0, np.nan, 1.0],
    },
    index=[4, 2, 7, 1],
)


@pytest.mark.parametrize("changes", [{}, {"source": "sample"}])
def test_other_data_are_shown_as_they_are(changes):
    assert _shown(EVENTS, **changes) is EVENTS


@pytest.mark.parametrize("changes", [{"source": "csv"}, {"source": "mysql"}, {"path": "tables"}])
def test_a_persons_own_users_and_queries_get_stand_in_names(changes):
    before = EVENTS.copy()
    shown = _shown(EVENTS, **changes)
    pd.testing.assert_frame_equal(EVENTS, before)
    pd.testing.assert_frame_equal(shown[["item_id", "price"]], EVENTS[["item_id", "price"]])
    for column in ("user_id", "query", "list_id"):
        assert shown[column].isna().tolist() == EVENTS[column].isna().tolist()
        want = EVENTS.groupby(column).ngroup()
        assert shown.groupby(column, sort=False).ngroup().nunique() == want.nunique()
        stems = {text.split()[0] for text in shown[column].dropna()}
        assert stems == {column.removesuffix("_id")}
    assert shown.user_id[4] == shown.user_id[7] != shown.user_id[2]
    assert not set(shown.to_string().split()) & {"ann", "bob", "tea", "jam"}


def test_users_in_an_index_get_stand_in_names_too():
    one = _shown(EVENTS.dropna().set_index("user_id"), source="csv")
    two = _shown(EVENTS.dropna().set_index(["user_id", "item_id"]), source="csv")
    assert one.index.name == "user_id"
    assert two.index.names == ["user_id", "item_id"]
    assert one.index[0].startswith("user ")
    assert two.index[0] == (one.index[0], "i1")


def test_stand_in_names_are_the_same_in_all_notebooks_of_a_run_and_in_its_report(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    first = _shown(EVENTS, source="csv", run_dir=str(tmp_path / "one"))
    again = _shown(EVENTS, source="csv", run_dir=str(tmp_path / "one"))
    other = _shown(EVENTS, source="csv", run_dir=str(tmp_path / "two"))
    pd.testing.assert_frame_equal(first, again)
    assert not set(first.user_id.dropna()) & set(other.user_id.dropna())
    secret = run_secret(tmp_path / "one")
    assert first.user_id[4] == report._Names(secret).of("user_id", "ann")
    file = tmp_path / "one" / ".salt"
    assert len(file.read_bytes()) == 16
    assert file.stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "one").iterdir()) == [file]


def test_a_secret_that_another_process_has_just_written_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(recording.os, "link", lambda a, b: recording.Path(b).write_bytes(b"x" * 16))
    assert run_secret(tmp_path) == b"x" * 16


def test_where_no_secret_can_be_kept_the_process_has_one(tmp_path):
    assert run_secret(tmp_path / "nowhere") == run_secret(tmp_path / "elsewhere")
    assert len(run_secret(tmp_path / "nowhere")) == 16


def test_a_table_is_kept_in_the_run_folder_and_nowhere_without_one(tmp_path):
    start(NAME, _values(run_dir=str(tmp_path / "run")))
    keep_table(EVENTS, "importance.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run" / "importance.parquet"), EVENTS)
    start(NAME, _values())
    keep_table(EVENTS, "importance.parquet")
    assert [f.name for f in (tmp_path / "run").iterdir()] == ["importance.parquet"]


def test_showing_and_keeping_need_a_started_notebook():
    with pytest.raises(RuntimeError, match="before start"):
        pseudonyms(EVENTS)
    with pytest.raises(RuntimeError, match="before start"):
        keep_table(EVENTS, "x.parquet")
