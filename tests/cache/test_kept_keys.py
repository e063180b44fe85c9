"""Every cached result has all in its key that makes it: a property of all of them at once."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import helpers
from helpers.backend import keras
from helpers.base.paths import REPO
from helpers.cache import code
from helpers.cache import store as cache
from helpers.cache.code import code_of, modules_of
from helpers.cache.digests import digest_of
from helpers.data.sources import data_fingerprint, stage_source
from helpers.experiments.detection import Budget, detect_all
from helpers.experiments.retraining import AttributionSettings, attribution_table
from helpers.experiments.retraining.case import Case
from helpers.experiments.retraining.halves import retrain_halves
from helpers.experiments.study import (
    Comparison,
    Settings,
    act_as_recommended,
    keep_curve,
    run_study,
)
from helpers.experiments.study.arms import arm_of
from helpers.importance import importance_table
from helpers.models import LADDER, Fitted, trained_model
from helpers.models.fitted import Forward
from helpers.samples import load_samples
from helpers.samples.noise import Noise

SMALL = Settings(rows=60, updates=2, batch_size=16, seeds=2, repeats=9)
HALVES = AttributionSettings(
    kind="logistic", rows=40, goals=30, subsets=3, seeds=1, updates=2, batch_size=8
)


@pytest.fixture(scope="module")
def samples():
    """Some thousand rows of the bundled log."""
    whole = load_samples("sample")
    some = np.arange(0, len(whole), 9)
    return dataclasses.replace(
        whole,
        table=whole.table.iloc[some].reset_index(drop=True),
        features=whole.features.iloc[some].reset_index(drop=True),
        dense=whole.dense[some],
        numbers={name: values[some] for name, values in whole.numbers.items()},
        truth=whole.truth.iloc[some].reset_index(drop=True),
    )


def fitted(samples, by=0.0):
    forward = Forward(LADDER["linear"], samples.dense.shape[1], samples.sizes)
    weights = [np.full((samples.dense.shape[1], 1), by, "float32"), np.zeros(1, "float32")]
    return Fitted(LADDER["linear"], weights, None, forward)


#: Each cached function by its module, called on samples.
CACHED = {
    "helpers.data.sources": lambda s: stage_source("sample"),
    "helpers.samples.samples": lambda s: load_samples("sample"),
    "helpers.models.trained": lambda s: trained_model(s, "linear", epochs=1),
    "helpers.importance.table": lambda s: importance_table(s, fitted(s)),
    "helpers.experiments.retraining.table": lambda s: attribution_table(s, HALVES),
    "helpers.experiments.detection.lab": lambda s: detect_all(
        s, [Noise("flip", 0.2)], Budget("linear", updates=2), rows=60
    ),
    "helpers.experiments.study.whole": lambda s: run_study(s, SMALL, kinds=["linear"]),
    "helpers.experiments.study.keep": lambda s: keep_curve(Comparison.make(s, "linear", SMALL)),
    "helpers.experiments.study.recommend": lambda s: act_as_recommended(
        s, SMALL, [None], kinds=["linear"]
    ),
}
#: Those that are called on samples or train a model.
TRAINED = [
    name for name in CACHED if name not in ("helpers.data.sources", "helpers.samples.samples")
]


class _Asked(Exception):
    """Ends a call at the cache."""


def key_of(name, samples):
    """Return the key under which a function would keep its result."""

    def asked(kind, key, *_, **__):
        raise _Asked(cache._digest(kind, key))

    module = importlib.import_module(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "cached", asked)
        with pytest.raises(_Asked) as found:
            CACHED[name](samples)
    return found.value.args[0]


def uses(name):
    """Return the modules below helpers that call a function of this name."""
    found = set()
    for file in Path(helpers.__file__).parent.rglob("*.py"):
        calls = (n.func for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call))
        if any(isinstance(f, ast.Name) and f.id == name for f in calls):
            parts = file.relative_to(Path(helpers.__file__).parent.parent).with_suffix("").parts
            found.add(".".join(parts).removesuffix(".__init__"))
    return found


def test_every_cached_function_is_looked_at_here():
    assert uses("cached") == set(CACHED)


@pytest.mark.parametrize("name", CACHED)
@pytest.mark.parametrize("changed", ["itself", "helpers.schema", "helpers.data.cleaning.values"])
def test_a_change_of_any_code_behind_a_result_makes_another_key(
    samples, monkeypatch, name, changed
):
    changed = name if changed == "itself" else changed
    before, read = key_of(name, samples), code._read

    def other(file):
        text, imports = read(file)
        parts = ".".join(file.with_suffix("").parts)
        return (text + " and more" if parts.endswith(changed) else text), imports

    assert key_of(name, samples) == before
    monkeypatch.setattr(code, "_read", other)
    assert key_of(name, samples) != before


@pytest.mark.parametrize("name", CACHED)
def test_another_version_of_a_library_makes_another_key(samples, monkeypatch, name):
    before = key_of(name, samples)
    version = code._version
    monkeypatch.setattr(code, "_version", lambda n: "0.0" if n == "pandas" else version(n))
    assert key_of(name, samples) != before


def _label(samples):
    table = samples.table.copy()
    table.loc[len(table) // 2, "label"] = 1 - table.label[len(table) // 2]
    return dataclasses.replace(samples, table=table)


def _cell(samples):
    dense = samples.dense.copy()
    dense[len(dense) // 2, -1] = np.nextafter(dense[len(dense) // 2, -1], 9, dtype="float32")
    return dataclasses.replace(samples, dense=dense)


def _user(samples):
    table = samples.table.copy()
    table["user_id"] = table.user_id.to_numpy()[::-1]
    return dataclasses.replace(samples, table=table)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("change", [_label, _cell, _user], ids=["label", "cell", "users"])
def test_other_samples_of_the_same_name_make_another_key(samples, name, change):
    other = change(samples)
    assert other.fingerprint == samples.fingerprint
    assert key_of(name, other) != key_of(name, samples)


@pytest.mark.parametrize("name", TRAINED)
def test_another_precision_makes_another_key(samples, monkeypatch, name):
    before = key_of(name, samples)
    epsilon = keras.config.epsilon()
    try:
        keras.config.set_epsilon(1e-5)
        assert key_of(name, samples) != before
    finally:
        keras.config.set_epsilon(epsilon)


def test_another_rung_under_the_same_name_makes_another_key(samples, monkeypatch):
    before = key_of("helpers.models.trained", samples)
    other = dataclasses.replace(LADDER["linear"], learning_rate=0.123)
    monkeypatch.setitem(LADDER, "linear", other)
    assert key_of("helpers.models.trained", samples) != before


def test_other_weights_make_another_table(samples, monkeypatch):
    name = "helpers.importance.table"
    before = key_of(name, samples)
    monkeypatch.setitem(CACHED, name, lambda s: importance_table(s, fitted(s, by=1e-9)))
    assert key_of(name, samples) != before


# --- finished parts in a folder ------------------------------------------------------------


def test_a_finished_part_is_never_taken_for_one_of_other_samples_or_settings(samples, tmp_path):
    def arms(s, settings):
        return arm_of(Comparison.make(s, "linear", settings), "uniform", "valid", tmp_path)

    first = arms(samples, SMALL)
    assert len([*tmp_path.iterdir()]) == 1
    again = arms(samples, dataclasses.replace(SMALL, repeats=7))  # changes no training
    assert len([*tmp_path.iterdir()]) == 1
    np.testing.assert_array_equal(first.logits, again.logits)
    arms(_label(samples), SMALL)
    arms(samples, dataclasses.replace(SMALL, updates=3))
    arms(samples, dataclasses.replace(SMALL, seed=1))
    assert len([*tmp_path.iterdir()]) == 4


def test_a_finished_half_is_never_taken_for_one_of_other_rows_or_settings(samples, tmp_path):
    def halves(s, **changes):
        case = Case.make(s, dataclasses.replace(HALVES, **changes))
        return retrain_halves(case, folder=tmp_path)[1]

    first = halves(samples)
    assert len([*tmp_path.iterdir()]) == 3
    np.testing.assert_array_equal(halves(samples, repeats=7, dampings=(1.0,)), first)
    assert len([*tmp_path.iterdir()]) == 3
    halves(samples, updates=3)
    assert len([*tmp_path.iterdir()]) == 6


def test_a_copy_of_a_server_s_tables_is_known_by_what_lies_in_it(tmp_path):
    staged, mapped = stage_source("sample")
    copy = tmp_path / "tables"
    shutil.copytree(staged.folder, copy)
    (copy / "schema.yaml").write_text(mapped.text)
    before = data_fingerprint("mysql", path=copy)
    assert data_fingerprint("mysql", path=copy) == before
    file = copy / "user_behavior.parquet"
    table = pq.read_table(file)
    first = table.slice(0, 1)
    pq.write_table(pa.concat_tables([table.slice(1), first]), file)
    assert data_fingerprint("mysql", path=copy) != before


# --- the digest of code ----------------------------------------------------------------------


def test_all_modules_that_are_loaded_for_a_result_are_in_its_digest():
    script = "import sys, helpers.experiments.study.whole; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPO
    )
    loaded = {n for n in done.stdout.split() if n.partition(".")[0] == "helpers"}
    assert loaded <= modules_of("helpers.experiments.study.whole")
    assert len(loaded) > 50


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Three modules: one imports the second, and the third within a function."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "made_up_parts"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text(
        '"""One."""\nfrom made_up_parts.two import f\nimport numpy\n'
        "def g():\n    from made_up_parts import three\n    return three, f\n"
    )
    (folder / "two.py").write_text('def f():\n    """Say."""\n    return 1\n')
    (folder / "three.py").write_text("VALUE = 1\n")
    (folder / "four.py").write_text("VALUE = 1\n")
    return folder


@pytest.mark.parametrize(
    ("file", "before", "now", "counts"),
    [
        ("one", "return three, f", "return f, three", True),
        ("two", "return 1", "return 2", True),
        ("three", "VALUE = 1", "VALUE = 2", True),
        ("__init__", "", "X = 1", True),
        ("four", "VALUE = 1", "VALUE = 2", False),
        ("two", "Say", "Tell", False),
        ("two", "return 1", "return 1  # a word", False),
        ("one", "One.", "The first one.", False),
    ],
)
def test_code_counts_through_its_imports_and_words_do_not(package, file, before, now, counts):
    first = code_of("made_up_parts.one")
    path = package / f"{file}.py"
    path.write_text(path.read_text().replace(before, now, 1) + "\n")
    assert (code_of("made_up_parts.one") != first) == counts


def test_a_script_counts_with_what_it_imports(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from helpers.cache import cached\n")
    first = code_of(script)
    script.write_text("from helpers.cache import cached\nX = 1\n")
    assert code_of(script) != first


# --- the digest of values --------------------------------------------------------------------


def test_values_of_another_type_shape_or_place_have_another_digest():
    values = [1, 1.0, True, "1", b"1", None, [1], (1,), [[1]], [1, 1], {"a": 1}, {"b": 1},
              np.ones(2), np.ones((2, 1)), np.ones(2, "float32"), np.array(["a"]),
              np.array(["a"], object), np.array([[1], None], object), lambda: 1, lambda: 2,
              SMALL, dataclasses.replace(SMALL, seed=1)]  # fmt: skip
    digests = [digest_of(value) for value in values]
    assert len(set(digests)) == len(values)


def test_what_has_no_digest_is_refused():
    with pytest.raises(TypeError, match="no digest can be made of a object"):
        digest_of(object())
