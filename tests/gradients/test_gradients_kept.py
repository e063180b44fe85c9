"""Pieces of a stopped run: gone on from where they fit, refused where anything else decides."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from waiting import awaited

from helpers.backend import keras, tf
from helpers.base.paths import REPO
from helpers.gradients import PerSampleGradients, kept

N, PIECE, BATCH = 40, 8, 4
SCALE, TABLE = 0.5, np.array([1.0, 2.0])


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(kept, "_PIECE", PIECE)


def rows():
    rng = np.random.default_rng(1)
    return rng.normal(size=(N, 3)).astype("float32"), rng.normal(size=N).astype("float32")


def model():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((3,), name="x"), *layers])


def scaled(by):
    return lambda y, p: by * (p[:, 0] - y) ** 2


def quantile(share=0.1):
    def loss(y, p):
        def inner(error):
            return tf.maximum(share * error, (share - 1) * error)

        return inner(y - p[:, 0])

    return loss


class Weighted:
    """A callable object with a setting."""

    def __init__(self, by):
        self.by = by

    def __call__(self, y, p):
        return self.by * (p[:, 0] - y) ** 2


def with_default(y, p, by=0.5):
    return by * (p[:, 0] - y) ** 2


def with_global(y, p):
    return SCALE * TABLE[0] * (p[:, 0] - y) ** 2


def stop(loss, out, x, y=None, *, of=None, after=5, **options):
    """Begin, and stop after some batches."""
    engine = PerSampleGradients(of or model(), loss)
    norms, calls = engine._norms, []

    def stopping(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return norms(*args, **kwargs)

    engine._norms = stopping
    with pytest.raises(KeyboardInterrupt):
        engine.write_norms(out, x, y, batch_size=BATCH, progress=False, **options)
    assert len([*out.parent.glob("*.pieces/*.parquet")]) == after * BATCH // PIECE


def go_on(loss, out, x, y=None, *, of=None, batch_size=BATCH, **options):
    """Call again; return the norms and how many rows were computed."""
    engine = PerSampleGradients(of or model(), loss)
    norms, counts = engine._norms, []
    engine._norms = lambda *a, **k: counts.append(len(a[1])) or norms(*a, **k)
    engine.write_norms(out, x, y, batch_size=batch_size, progress=False, **options)
    return pq.read_table(out)["gradient_norm"].to_numpy(), sum(counts)


def huber(delta):
    return keras.losses.Huber(delta, reduction="none")


#: A loss, and another one that differs from it in one thing.
OTHER = {
    "a constant": (lambda y, p: 0.5 * (p[:, 0] - y) ** 2, lambda y, p: 5 * (p[:, 0] - y) ** 2),
    "a closure": (scaled(0.5), scaled(5.0)),
    "a closure of a function within": (quantile(0.1), quantile(0.9)),
    "a setting of Keras": (huber(1.0), huber(0.01)),
    "an object's attribute": (Weighted(1.0), Weighted(2.0)),
    "a partial argument": (
        functools.partial(with_default, by=1.0),
        functools.partial(with_default, by=2.0),
    ),
    "an array in a closure": (scaled(np.float32([1, 2])[0]), scaled(np.float32([1, 3])[1])),
}


def column(loss):
    """Give a loss of Keras columns."""
    if not isinstance(loss, keras.losses.Loss):
        return loss
    return lambda y, p: loss(y[:, None], p)


@pytest.mark.parametrize("what", OTHER)
def test_another_loss_is_refused(tmp_path, what):
    one, other = map(column, OTHER[what])
    x, y = rows()
    stop(one, tmp_path / "norms.parquet", x, y)
    with pytest.raises(ValueError, match="holds pieces of another model or loss. Remove"):
        go_on(other, tmp_path / "norms.parquet", x, y)


@pytest.mark.parametrize(
    ("name", "value"), [("SCALE", 0.7), ("TABLE", np.array([1.5, 2.0]))], ids=["number", "array"]
)
def test_another_global_is_refused(tmp_path, monkeypatch, name, value):
    x, y = rows()
    stop(with_global, tmp_path / "norms.parquet", x, y)
    monkeypatch.setitem(globals(), name, value)
    with pytest.raises(ValueError, match="pieces of another model or loss"):
        go_on(with_global, tmp_path / "norms.parquet", x, y)


def test_another_default_is_refused(tmp_path, monkeypatch):
    x, y = rows()
    stop(with_default, tmp_path / "norms.parquet", x, y)
    monkeypatch.setattr(with_default, "__defaults__", (5.0,))
    with pytest.raises(ValueError, match="pieces of another model or loss"):
        go_on(with_default, tmp_path / "norms.parquet", x, y)


def _one_weight(of):
    weights = of.get_weights()
    weights[0][2, 3] = np.nextafter(weights[0][2, 3], 9, dtype="float32")
    of.set_weights(weights)


@pytest.mark.parametrize(
    "change",
    [
        _one_weight,
        lambda of: setattr(of.layers[0], "trainable", False),
        lambda of: setattr(of.layers[0], "activation", keras.activations.relu),
        lambda of: setattr(of, "tau", 3.0),
    ],
    ids=["one weight", "trainable", "activation", "attribute"],
)
def test_another_model_is_refused(tmp_path, change):
    x, y = rows()
    of = model()
    stop(scaled(1.0), tmp_path / "norms.parquet", x, y, of=of)
    change(of)
    with pytest.raises(ValueError, match="pieces of another model or loss"):
        go_on(scaled(1.0), tmp_path / "norms.parquet", x, y, of=of)


def test_pieces_of_another_version_of_the_engine_are_refused(tmp_path, monkeypatch):
    x, y = rows()
    stop(scaled(1.0), tmp_path / "norms.parquet", x, y)
    monkeypatch.setattr(kept, "_engine", lambda: "of tomorrow")
    with pytest.raises(ValueError, match="pieces of another version of the engine. Remove"):
        go_on(scaled(1.0), tmp_path / "norms.parquet", x, y)


@pytest.mark.parametrize("row", [0, 7, 8, 15])
@pytest.mark.parametrize("part", ["x", "y", "weight"])
@pytest.mark.parametrize("kind", ["arrays", "dataset", "parquet"])
def test_one_other_row_anywhere_in_the_pieces_is_refused(tmp_path, row, part, kind):
    x, y = rows()
    weight = np.ones(N, "float32")
    if part == "weight" and kind != "dataset":
        return

    def given():
        if kind == "arrays":
            return x, y
        if kind == "dataset":
            return (tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(BATCH),)
        flat = pa.FixedSizeListArray.from_arrays(x.ravel(), 3)
        file = tmp_path / "rows.parquet"
        pq.write_table(pa.table({"x": flat, "label": y}), file, compression=None)
        os.utime(file, (1, 1))
        return (file,)

    out = tmp_path / "norms.parquet"
    stop(scaled(1.0), out, *given())
    size = (tmp_path / "rows.parquet").stat().st_size if kind == "parquet" else 0
    {"x": x, "y": y, "weight": weight}[part][row] += 1
    now = given()
    if kind == "parquet":  # rewritten in place: nothing but the content tells
        assert now[0].stat().st_size == size
    with pytest.raises(ValueError, match="pieces of another kind of rows, from row [08] on"):
        go_on(scaled(1.0), out, *now)


def test_fewer_rows_are_refused_and_other_ones_behind_the_pieces_are_not(tmp_path):
    x, y = rows()
    out = tmp_path / "norms.parquet"
    stop(scaled(1.0), out, x, y)
    with pytest.raises(ValueError, match="pieces of another number of rows"):
        go_on(scaled(1.0), out, x[:12], y[:12])
    y[16:] += 1
    got, _ = go_on(scaled(1.0), out, x, y)
    want = PerSampleGradients(model(), scaled(1.0)).norms(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_what_no_fingerprint_sees_is_found_by_computing_again(tmp_path, monkeypatch):
    x, y = rows()
    hidden = {"by": 1.0}
    name = "_".join(["hidden", "by"])
    monkeypatch.setattr(keras, name, hidden, raising=False)  # within a library

    def loss(y, p):
        return getattr(keras, name)["by"] * (p[:, 0] - y) ** 2

    out = tmp_path / "norms.parquet"
    stop(loss, out, x, y)
    hidden["by"] = 1.01
    with pytest.raises(ValueError, match="The norm of row [0-9]+ is .* and comes out as"):
        go_on(loss, out, x, y)


def test_what_cannot_be_looked_into_begins_anew_and_says_so(tmp_path):
    x, y = rows()
    numbers = (1.0 for _ in range(9))

    def loss(y, p, source=numbers):
        return (p[:, 0] - y) ** 2

    out = tmp_path / "norms.parquet"
    stop(loss, out, x, y)
    with pytest.warns(RuntimeWarning, match="computed anew: .*loss.* a generator cannot be looked"):
        _, count = go_on(loss, out, x, y)
    assert count == N


@pytest.mark.parametrize(
    "make",
    [
        lambda: scaled(0.5),
        lambda: Weighted(2.0),
        lambda: column(huber(0.3)),
        lambda: functools.partial(with_default, by=2.0),
        lambda: quantile(0.3),
    ],
    ids=["closure", "object", "Keras", "partial", "inner"],
)
@pytest.mark.parametrize("batch_size", [4, 3, 16, 40])
def test_the_same_loss_defined_again_goes_on_whatever_the_batches(tmp_path, make, batch_size):
    x, y = rows()
    out = tmp_path / "norms.parquet"
    stop(make(), out, x, y)
    got, count = go_on(make(), out, x, y, batch_size=batch_size)
    assert N - 16 <= count <= N - 16 + 2 * PIECE
    want = PerSampleGradients(model(), make()).norms(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize("harm", [lambda b: b[:50], lambda b: b""], ids=["cut", "empty"])
def test_a_damaged_piece_is_made_again(tmp_path, harm):
    x, y = rows()
    out = tmp_path / "norms.parquet"
    stop(scaled(1.0), out, x, y)
    second = sorted(tmp_path.glob("*.pieces/*.parquet"))[1]
    second.write_bytes(harm(second.read_bytes()))
    got, count = go_on(scaled(1.0), out, x, y)
    assert count == N - PIECE + BATCH
    np.testing.assert_allclose(got, PerSampleGradients(model(), scaled(1.0)).norms(x, y), rtol=1e-5)


def test_a_piece_with_other_norms_than_were_written_is_made_again(tmp_path):
    x, y = rows()
    out = tmp_path / "norms.parquet"
    stop(scaled(1.0), out, x, y)
    first = min(tmp_path.glob("*.pieces/*.parquet"))
    table = pq.read_table(first)
    wrong = pa.array(table["gradient_norm"].to_numpy() + 1)
    pq.write_table(table.set_column(1, table.schema.field(1), wrong), first)
    got, count = go_on(scaled(1.0), out, x, y)
    assert count == N
    np.testing.assert_allclose(got, PerSampleGradients(model(), scaled(1.0)).norms(x, y), rtol=1e-5)


@pytest.mark.parametrize("facts", [None, b"{", b"[1]", b"{}"], ids=["none", "cut", "list", "empty"])
def test_a_file_that_is_no_piece_is_refused(tmp_path, facts):
    x, y = rows()
    out = tmp_path / "norms.parquet"
    stop(scaled(1.0), out, x, y)
    first = min(tmp_path.glob("*.pieces/*.parquet"))
    metadata = None if facts is None else {b"made_of": facts}
    pq.write_table(pq.read_table(first).replace_schema_metadata(metadata), first)
    with pytest.raises(ValueError, match="pieces of another version of the engine. Remove"):
        go_on(scaled(1.0), out, x, y)


SCRIPT = """
    import pathlib, sys
    import numpy as np
    from helpers.backend import keras
    from helpers.gradients import PerSampleGradients, kept
    kept._PIECE = 8
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 3)).astype("float32"), rng.normal(size=40).astype("float32")
    def half(share):
        return lambda y, p: share * (p[:, 0] - y) ** 2
    engine = PerSampleGradients(model, half(0.5))
    norms, calls = engine._norms, []
    def stopping(*args, **kwargs):
        calls.append(1)
        if len(calls) == int(sys.argv[2]):
            pathlib.Path(sys.argv[1] + ".waits").touch()
            sys.stdin.read()  # until it is killed, or the test is
        return norms(*args, **kwargs)
    engine._norms = stopping
    engine.write_norms(sys.argv[1], x, y, batch_size=4, progress=False)
"""


def test_a_killed_process_is_gone_on_from_by_another_one_to_the_same_bytes(tmp_path):
    def start(out, stops):
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT), str(out), stops]
        return subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    out, whole = tmp_path / "norms.parquet", tmp_path / "whole.parquet"
    running = start(out, "6")  # of ten batches; two make a piece
    waits = tmp_path / "norms.parquet.waits"
    assert awaited(lambda: waits.exists() or running.poll() is not None)
    os.kill(running.pid, signal.SIGKILL)
    assert waits.exists(), running.communicate()
    running.communicate()
    assert len([*tmp_path.glob("norms.parquet.pieces/0*.parquet")]) == 2
    assert not out.exists()
    for file in (out, whole):
        done = start(file, "0")
        assert done.communicate()[1].decode().strip().splitlines()[-1:] == []
    assert out.read_bytes() == whole.read_bytes()
