"""What the engine may not get wrong without a word: short cuts, stale values, later batches."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from gradient_models import dense_rows, linear

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients.looks import Looks
from helpers.gradients.watched import watched
from helpers.losses import cross_entropy_loss, squared_error_loss

layers, ops = keras.layers, keras.ops


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


def rows(n=12):
    x, y = dense_rows(n)
    return x.astype("float32"), y


# --- whatever stands around a dense layer counts -----------------------------------------


class OwnCall(keras.Sequential):
    """A Sequential model that does something of its own with its layers."""

    def call(self, x, training=None, mask=None):
        return 3.0 * super().call(x) - 1.0


def siamese():
    x, dense = keras.Input((3,)), layers.Dense(1)
    return keras.Model(x, dense(x) - dense(ops.flip(x, axis=1)))


def twice():
    x, dense = keras.Input((1,)), layers.Dense(1)
    model = keras.Model(x, dense(dense(x)))
    return keras.Sequential([keras.Input((3,)), layers.Lambda(lambda v: v[:, :1]), model])


def around(before=lambda x: x, after=lambda z: z, **options):
    x = keras.Input((3,))
    return keras.Model(x, after(layers.Dense(1, **options)(before(x))))


AROUND = {
    "nothing": around,
    "normalised": lambda: around(ops.normalize),
    "normalised, then divided": lambda: around(ops.normalize, lambda z: z / 0.1),
    "logarithm": lambda: around(lambda x: ops.log1p(ops.abs(x))),
    "scaled": lambda: around(lambda x: 100.0 * x),
    "cut off at zero": lambda: around(ops.relu),
    "temperature": lambda: around(after=lambda z: z / 0.05),
    "squared": lambda: around(after=ops.square),
    "shifted": lambda: around(after=lambda z: z + 2.0),
    "turned": lambda: around(after=ops.negative),
    "no bias": lambda: around(use_bias=False),
    "regularised": lambda: around(kernel_regularizer="l2", activity_regularizer="l1"),
    "activation": lambda: around(activation="tanh"),
    "called twice": twice,
    "difference of two": siamese,
    "a Sequential with its own call": lambda: OwnCall([keras.Input((3,)), layers.Dense(1)]),
    "frozen bias": lambda: around(),
    "constrained": lambda: around(kernel_constraint="unit_norm"),
}


@pytest.mark.parametrize("loss", [squared_error_loss, cross_entropy_loss])
@pytest.mark.parametrize("name", AROUND)
def test_whatever_stands_around_one_dense_layer_counts(name, loss):
    model, (x, y) = AROUND[name](), rows()
    got = PerSampleGradients(model, loss).norms(x, y)
    want = naive_norms(model, loss, x, y)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * want.max())


# --- Python values that change after the trace -------------------------------------------


class Tempered(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.tau, self.options = layers.Dense(1), 1.0, {"shift": 0.0, "scales": [1.0]}

    def call(self, x):
        z = self.dense(x) / self.tau + self.options["shift"]
        return z * self.options["scales"][0]


WEIGHT = 1.0


def weighted_by_global(y, p):
    return WEIGHT * squared_error_loss(y, p)


class ByAttribute:
    factor = 1.0

    def __call__(self, y, p):
        return self.factor * squared_error_loss(y, p)


def by_cell():
    factor = 1.0

    def loss(y, p):
        return factor * squared_error_loss(y, p)

    def change():
        nonlocal factor
        factor = 5.0

    return loss, change


def changes():
    """Yield a name, a model, a loss, and what changes a value that one of them reads."""
    tempered = Tempered()
    yield "attribute", tempered, squared_error_loss, lambda: setattr(tempered, "tau", 0.2)
    shifted = Tempered()
    yield "in a dict", shifted, squared_error_loss, lambda: shifted.options.update({"shift": 3.0})
    scaled = Tempered()
    yield "in a list", scaled, squared_error_loss, lambda: scaled.options.update({"scales": [4.0]})
    model = around()
    dense = model.layers[-1]
    yield (
        "activation",
        model,
        squared_error_loss,
        lambda: setattr(dense, "activation", keras.activations.exponential),
    )
    yield "global", around(), weighted_by_global, lambda: globals().update(WEIGHT=7.0)
    loss = ByAttribute()
    yield "the loss's attribute", around(), loss, lambda: setattr(loss, "factor", 5.0)
    kept, change = by_cell()
    yield "closure", around(), kept, change
    huber = keras.losses.Huber(1.0, reduction="none")
    yield "a loss of Keras", around(), huber, lambda: huber._fn_kwargs.update(delta=0.01)


@pytest.mark.parametrize("case", range(8))
def test_a_python_value_that_changes_is_noticed_at_the_next_call(case, monkeypatch):
    monkeypatch.setitem(globals(), "WEIGHT", 1.0)
    _, model, loss, change = list(changes())[case]
    x, y = rows()
    y = y[:, None] if isinstance(loss, keras.losses.Loss) else y
    engine = PerSampleGradients(model, loss)
    before = engine.norms(x, y)
    change()
    want = naive_norms(model, loss, x, y)
    assert np.abs(want / before - 1).max() > 0.1
    np.testing.assert_allclose(engine.norms(x, y), want, rtol=0, atol=1e-5 * want.max())
    np.testing.assert_allclose(
        engine.norms_over(x, y, batch_size=4, progress=False), want, rtol=0, atol=1e-5 * want.max()
    )


class Showing(keras.Model):
    """Keeps what it has computed, counts its calls: its own writing is no change of the model."""

    def __init__(self):
        super().__init__()
        self.dense, self.calls, self.shown, self.log = layers.Dense(1), 0, None, []

    def call(self, x):
        self.calls += 1
        self.shown = self.dense(x)
        self.log.append(self.shown.shape)
        return self.shown


def test_what_a_call_of_the_model_writes_itself_is_no_change():
    model, (x, y) = Showing(), rows(64)
    engine = PerSampleGradients(model, squared_error_loss)
    want = naive_norms(model, squared_error_loss, x, y)
    for _ in range(20):
        np.testing.assert_allclose(engine.norms(x, y), want, rtol=1e-3)
    assert engine._traces.renewals == 0
    got = engine.norms_over(x, y, batch_size=8, progress=False)
    np.testing.assert_allclose(got, want, rtol=1e-3)


def test_a_value_that_hides_from_the_watch_is_found_by_running_the_python_again(monkeypatch):
    monkeypatch.setitem(globals(), "WEIGHT", 1.0)
    x, y = rows(64)
    engine = PerSampleGradients(around(), weighted_by_global)
    before = engine.norms(x, y)
    blind = type("Blind", (), {"changed": lambda self: False})()
    monkeypatch.setattr(engine._traces, "_python", blind)
    monkeypatch.setattr("helpers.gradients.traces.watched", lambda *_: blind)
    monkeypatch.setattr("helpers.gradients.looks._PYTHON_EARLY", 20.0)  # else it takes long
    monkeypatch.setitem(globals(), "WEIGHT", 7.0)
    for _ in range(2000):  # at random, so it takes some calls
        got = engine.norms(x, y)
        if not np.allclose(got, before):
            break
    np.testing.assert_allclose(got, 7.0 * before, rtol=1e-5)


def test_a_value_that_changes_between_batches_stops_the_computation(monkeypatch):
    monkeypatch.setitem(globals(), "WEIGHT", 1.0)
    x, y = rows(64)

    def batches():
        for start in range(0, 64, 16):
            if start == 32:
                globals()["WEIGHT"] = 3.0
            yield x[start : start + 16], y[start : start + 16].astype("float32")

    spec = (tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None], tf.float32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    monkeypatch.setattr("helpers.gradients.engine.open_stream", lambda *a, **k: _stream(dataset))
    engine = PerSampleGradients(around(), weighted_by_global)
    with pytest.raises(ValueError, match="has changed while the rows were computed"):
        engine.norms_over(dataset, progress=False)


def _stream(dataset):
    from helpers.gradients.streams import Stream

    def read(start):
        for x, y in dataset:
            yield x.numpy(), y.numpy(), None

    return Stream(None, read)


# --- later batches -----------------------------------------------------------------------


class SharedScale(layers.Layer):
    """Divides by the largest number of the batch, but only where that is large."""

    def call(self, x):
        return x / ops.maximum(1.0, ops.max(ops.abs(x)) / 10.0)


class SharedShift(layers.Layer):
    """Subtracts the batch's mean where a row holds a rare id."""

    def call(self, x):
        rare = ops.cast(ops.any(ops.equal(ops.round(x), 2.0)), x.dtype)
        return x - rare * ops.mean(x, axis=0)


def small_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, 3)).astype("float32"), rng.integers(0, 2, n).astype("float64")


@pytest.mark.parametrize("size", [2, 5, 64, 400])
def test_coupling_that_only_a_large_number_brings_is_found_in_the_batch_that_holds_it(size):
    model = keras.Sequential([keras.Input((3,)), SharedScale(), layers.Dense(1)])
    engine = PerSampleGradients(model, squared_error_loss)
    x, y = small_rows(size)
    y[:2] = 0, 1
    for _ in range(20):
        engine.norms(x, y)
    x[size // 2, 1] = 180.0
    with pytest.raises(ValueError, match="changes with the rows beside it"):
        engine.norms(x, y)


def test_coupling_beyond_the_certified_rows_of_the_first_batch_is_found():
    model = keras.Sequential([keras.Input((3,)), SharedScale(), layers.Dense(1)])
    x, y = small_rows(600)
    x[500] = 180.0
    with pytest.raises(ValueError, match="changes with the rows beside it"):
        PerSampleGradients(model, squared_error_loss).norms(x, y)


def test_coupling_that_no_extreme_shows_is_found_at_random_in_the_long_run():
    model = keras.Sequential([keras.Input((3,)), SharedShift(), layers.Dense(1)])
    engine = PerSampleGradients(model, squared_error_loss)
    x, y = small_rows(64)
    x[0], y[:2] = [3.0, -3.0, 3.0], (0, 1)  # so that nothing later is an extreme
    engine.norms(x, y)
    coupled = x.copy()
    coupled[5] = 2.0

    def many_batches():
        for _ in range(2000):
            engine.norms(coupled, y)

    with pytest.raises(ValueError, match="changes with the rows beside it"):
        many_batches()


def test_rows_that_are_independent_pass_every_look():
    """Outliers, rows that fit perfectly, and rows of zeros are no reason to refuse."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(16, "tanh"), layers.Dense(1)])
    engine = PerSampleGradients(model, squared_error_loss)
    rng = np.random.default_rng(1)
    for k in range(60):
        x, y = small_rows(int(rng.integers(2, 80)), seed=k)
        x[0] *= 10.0 ** rng.integers(-6, 7)
        y[-1] = model(x)[-1, 0]
        x[len(x) // 2] = 0.0
        engine.norms(x, y)


def test_looks_become_rarer_but_never_stop():
    looks = Looks(np.random.default_rng(0))
    x, y = small_rows(1024)
    seen = [looks.due(x, y)[0] for _ in range(4000)]
    assert sum(seen[:8]) >= 3
    assert 20 < sum(seen[1000:]) < 200
    assert sum(seen[3000:]) > 5


def test_looks_take_rows_without_the_largest():
    looks = Looks(np.random.default_rng(0))
    x, y = small_rows(40)
    x[17, 2] = -50.0
    y[3] = 9.0
    taken = np.concatenate([looks.rows(x, y) for _ in range(200)])
    assert set(taken) == set(range(40)) - {3, 17}
    assert looks.rows(x[:1], y[:1]).tolist() == [0]


# --- an import changes nothing -----------------------------------------------------------


def test_importing_the_helpers_changes_nothing_that_a_program_can_meet():
    state = """
import os, random, signal, sys, warnings
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, pandas as pd, matplotlib as mpl, tensorflow as tf, keras
from tensorflow.python.framework import config
def state():
    return {
        "determinism": config.is_op_determinism_enabled(),
        "eager functions": tf.config.functions_run_eagerly(),
        "seed": repr(random.getstate())[:500],
        "numpy seed": repr(np.random.get_state())[:500],
        "numpy errors": np.geterr(),
        "numpy print": repr(np.get_printoptions()),
        "floatx": keras.config.floatx(),
        "policy": keras.config.dtype_policy().name,
        "pandas": {k: pd.get_option(k) for k in ("display.max_columns", "display.precision",
                   "mode.chained_assignment", "display.width")},
        "matplotlib": dict(mpl.rcParams),
        "filters": list(warnings.filters),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "threads": (tf.config.threading.get_inter_op_parallelism_threads(),
                    tf.config.threading.get_intra_op_parallelism_threads()),
        "hook": sys.excepthook,
    }
mpl.rcParams["backend"] = "agg"
before = state()
import pkgutil, importlib, helpers
for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
after = state()
print([k for k in before if before[k] != after[k]])
x = np.random.normal(size=(8, 2)).astype("float32")
model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, x[:, 0], verbose=0)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", state], capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-800:]
    assert done.stdout.strip() == "[]"


def test_an_unseeded_fit_works_after_norms_were_computed():
    x, y = rows()
    model = keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.Dense(1)])
    PerSampleGradients(model, squared_error_loss).norms(x, y)
    tf.random.set_seed(None)
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert linear().built


def test_a_large_array_beside_the_loss_is_looked_at_in_steps_and_not_copied():
    data = np.zeros(2**22, "float64")  # 32 MB, as a trainer may hold

    def loss(y, p):
        return squared_error_loss(y, p) * (1.0 + float(data[0]))

    watch = watched(around(), loss)
    assert sum(was.nbytes for _, was in watch._arrays) <= 2**24
    assert not watch.changed()
    data[:] = 2.0
    assert watch.changed()
