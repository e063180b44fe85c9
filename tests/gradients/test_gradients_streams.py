"""Many rows: from arrays, datasets and Parquet files, to an array or a file; the closed form."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gradient_models import (
    click_mlp,
    click_rows,
    cross_entropy,
    deep_sequential,
    dense_rows,
    half_square,
    linear,
)

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, kept, naive_norms
from helpers.gradients.batches import as_arrays, leaves, take_rows
from helpers.losses import cross_entropy_loss

layers = keras.layers
N = 23


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


def parquet(folder, x, y, cuts=(9,), fixed=True):
    """Write rows into several files, vectors as lists."""
    folder.mkdir()
    for number, rows in enumerate(np.split(np.arange(len(y)), cuts)):
        columns = {}
        for name, values in x.items():
            values = values[rows]
            if values.ndim == 2:
                flat = pa.array(values.reshape(-1))
                width = values.shape[1]
                if fixed:
                    columns[name] = pa.FixedSizeListArray.from_arrays(flat, width)
                else:
                    ends = pa.array(np.arange(0, len(flat) + 1, width, dtype="int32"))
                    columns[name] = pa.ListArray.from_arrays(ends, flat)
            else:
                columns[name] = pa.array(values)
        columns["clicked"] = pa.array(y[rows].astype("float32"))
        pq.write_table(pa.table(columns), folder / f"part-{number}.parquet", row_group_size=5)
    return folder


@pytest.fixture
def click():
    x, y = click_rows(N)
    x["dense"] = x["dense"].astype("float32")
    engine = PerSampleGradients(click_mlp(), cross_entropy)
    return engine, x, y, engine.norms(x, y)


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed lists", "lists"])
def test_parquet_files_give_the_norms_of_the_arrays(click, tmp_path, fixed):
    engine, x, y, want = click
    folder = parquet(tmp_path / "rows", x, y, cuts=(9, 20), fixed=fixed)
    got = engine.norms_over(folder, label="clicked", batch_size=4, progress=False)
    close(got, want)
    one = engine.norms_over(folder / "part-1.parquet", label="clicked", progress=False)
    close(one, want[9:20])


def test_a_dataset_gives_the_norms_of_the_arrays_with_its_weights(click):
    engine, x, y, want = click
    weights = np.linspace(-1, 2, N).astype("float32")
    rows = tf.data.Dataset.from_tensor_slices((x, y.astype("float32"), weights)).batch(5)
    close(engine.norms_over(rows, progress=False), np.abs(weights) * want)
    plain = tf.data.Dataset.from_tensor_slices((x, y.astype("float32"))).batch(5)
    close(engine.norms_over(plain, progress=False), want)


def test_a_list_of_inputs_is_read_in_its_order():
    one, two = keras.Input((3,), name="one"), keras.Input((), name="two", dtype="int32")
    both = layers.Concatenate()([one, layers.Embedding(9, 2)(two)])
    model = keras.Model([one, two], layers.Dense(1)(both))
    x, y = dense_rows(8)
    x = [x.astype("float32"), np.arange(8, dtype="int32")]
    engine = PerSampleGradients(model, half_square)
    np.testing.assert_allclose(
        engine.norms_over(x, y, batch_size=3, progress=False),
        naive_norms(model, half_square, x, y),
        rtol=1e-4,
    )


def test_labels_that_are_missing_or_come_twice_are_refused(click, tmp_path):
    engine, x, y, _ = click
    folder = parquet(tmp_path / "rows", x, y)
    with pytest.raises(ValueError, match="Labels are missing"):
        engine.norms_over(x)
    with pytest.raises(ValueError, match='Labels come twice.*column "label"'):
        engine.norms_over(folder, y)
    with pytest.raises(ValueError, match=r'part-0.parquet: column "label" is missing; .*clicked'):
        engine.norms_over(folder)
    with pytest.raises(ValueError, match="There is no Parquet file at .*nowhere"):
        engine.norms_over(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"must yield batches \(x, y\)"):
        engine.norms_over(tf.data.Dataset.from_tensor_slices(y).batch(2))
    unnamed = PerSampleGradients(keras.layers.Dense(1), cross_entropy)
    with pytest.raises(ValueError, match="this model names none"):
        unnamed.norms_over(folder, label="clicked")
    empty = tf.data.Dataset.from_tensor_slices((x, y)).batch(4).take(0)
    with pytest.raises(ValueError, match="There are no rows"):
        engine.norms_over(empty, progress=False)
    with pytest.raises(ValueError, match="There are no rows"):
        engine.write_norms(tmp_path / "norms.parquet", empty, progress=False)


def test_columns_that_make_no_array_are_refused(click, tmp_path):
    engine, x, y, _ = click
    folder = parquet(tmp_path / "rows", x, y)
    file = folder / "part-0.parquet"
    table = pq.read_table(file)
    lists = pa.array([[1, 2], [3]] + [[4, 5]] * (table.num_rows - 2))
    place = table.column_names.index("recent")
    pq.write_table(table.set_column(place, "recent", lists), file)
    with pytest.raises(ValueError, match="column recent has lists of different lengths"):
        engine.norms_over(folder, label="clicked", progress=False)
    holes = pa.array([None] * table.num_rows, pa.float32())
    pq.write_table(table.set_column(table.column_names.index("clicked"), "clicked", holes), file)
    with pytest.raises(ValueError, match="column clicked has missing values"):
        engine.norms_over(folder, label="clicked", progress=False)


# --- into a file -------------------------------------------------------------------------


def test_the_file_holds_each_row_with_its_norm_and_nothing_is_left_beside_it(click, tmp_path):
    engine, x, y, want = click
    out = engine.write_norms(tmp_path / "norms.parquet", x, y, batch_size=4, progress=False)
    table = pq.read_table(out)
    assert table.column("row").to_pylist() == list(range(N))
    close(table.column("gradient_norm").to_numpy(), want)
    assert [p.name for p in tmp_path.iterdir()] == ["norms.parquet"]


@pytest.mark.parametrize("kind", ["arrays", "dataset", "parquet"])
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_stopped(
    click, tmp_path, monkeypatch, kind, stop
):
    engine, x, y, want = click
    monkeypatch.setattr(kept, "_PIECE", 8)  # rows: every second batch
    given = {
        "arrays": lambda: (x, y),
        "dataset": lambda: (tf.data.Dataset.from_tensor_slices((x, y)).batch(4),),
        "parquet": lambda: (parquet(tmp_path / "rows", x, y),),
    }[kind]()
    options = {"batch_size": 4, "progress": False, "label": "clicked"}
    out, calls, norms = tmp_path / "norms.parquet", [], engine._norms

    def stopping(*args, **kwargs):
        calls.append(len(args[1]))
        if len(calls) > stop:
            raise KeyboardInterrupt
        return norms(*args, **kwargs)

    monkeypatch.setattr(engine, "_norms", stopping)
    with pytest.raises(KeyboardInterrupt):
        engine.write_norms(out, *given, **options)
    assert not out.exists()
    done = sum(pq.read_metadata(f).num_rows for f in tmp_path.glob("*.pieces/*.parquet"))
    assert (done > 0) == (stop > 1)
    # What was kept is not computed again, but for a batch of each piece.
    pieces = len([*tmp_path.glob("*.pieces/*.parquet")])
    monkeypatch.setattr(engine, "_norms", lambda *a, **k: calls.append(len(a[1])) or norms(*a, **k))
    calls.clear()
    engine.write_norms(out, *given, **options)
    assert N - done <= sum(calls) <= N - done + 4 * pieces
    close(pq.read_table(out).column("gradient_norm").to_numpy(), want)
    assert pq.read_table(out).column("row").to_pylist() == list(range(N))


def test_a_file_names_the_rows_without_a_norm(click, tmp_path):
    engine, x, y, want = click
    x["dense"][[3, 21]] = np.nan
    with pytest.warns(RuntimeWarning, match=r"2 of 23 gradient norms .* in rows 3, 21\."):
        engine.write_norms(tmp_path / "norms.parquet", x, y, batch_size=4, progress=False)


# --- the closed form ---------------------------------------------------------------------


# --- small things ------------------------------------------------------------------------


def test_freezing_a_layer_later_is_seen():
    x, y = click_rows(6)
    model = click_mlp()
    engine = PerSampleGradients(model, cross_entropy)
    whole = engine.norms(x, y)
    model.get_layer("items").trainable = False
    part = engine.norms(x, y)
    np.testing.assert_allclose(part, naive_norms(model, cross_entropy, x, y), rtol=1e-4)
    assert np.all(part < whole)


def test_weights_must_be_one_a_row():
    x, y = dense_rows(4)
    for model in (linear(), deep_sequential()):
        engine = PerSampleGradients(model, cross_entropy_loss)
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(4,\); got \(3,\)"):
            engine.norms(x, y, sample_weight=np.ones(3))


def test_rows_in_any_nesting_are_counted_named_and_taken():
    x = {"a": [np.zeros((3, 2)), np.arange(3)], "b": np.arange(3)}
    assert list(leaves(x, "input")) == ['input "a" 0', 'input "a" 1', 'input "b"']
    got = take_rows(x, np.array([2, 0]))
    np.testing.assert_array_equal(got["a"][1], [2, 0])
    with pytest.raises(ValueError, match=r'input "b" has shape \(3,\), .*y 1 has shape \(4,\)'):
        as_arrays({"b": np.arange(3)}, (np.arange(3), np.arange(4)))
    with pytest.raises(ValueError, match="same number of rows"):
        as_arrays({}, np.arange(3))
