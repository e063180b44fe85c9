"""What the engine says, shows and keeps, and ends that models seldom reach."""

from __future__ import annotations

import platform
import sys
import types

import numpy as np
import pytest
from gradient_models import dense_rows

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients import engine as engine_module
from helpers.gradients.contents import contents_of
from helpers.gradients.libraries import in_library, is_library, version_of
from helpers.gradients.order import check_order
from helpers.gradients.pullback import Part
from helpers.gradients.watched import _seen
from helpers.losses import cross_entropy_loss, squared_error_loss

layers, ops = keras.layers, keras.ops


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


def rows(n=12):
    x, y = dense_rows(n)
    return x.astype("float32"), y


def unit() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), layers.Dense(1)])


# --- what is shown -----------------------------------------------------------------------


class Bar:
    """Stands in for tqdm, and notes what it is told."""

    made: list[Bar] = []

    def __init__(self, **options) -> None:
        self.options, self.updates = options, []
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, count):
        self.updates.append(count)


def test_the_bar_counts_the_rows_and_is_shown_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(engine_module, "tqdm", Bar)
    Bar.made.clear()
    x, y = rows(25)
    made = PerSampleGradients(unit(), squared_error_loss)
    made.norms_over(x, y, batch_size=10, progress=True)
    made.norms_over(x, y, batch_size=10, progress=False)
    shown, hidden = Bar.made
    assert shown.updates == [10, 10, 5]
    assert (shown.options["total"], shown.options["initial"]) == (25, 0)
    assert not shown.options["disable"]
    assert hidden.options["disable"]


def test_the_bar_of_a_file_that_is_gone_on_with_begins_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "tqdm", Bar)
    monkeypatch.setattr("helpers.gradients.kept._PIECE", 8)
    Bar.made.clear()
    x, y = rows(32)
    made = PerSampleGradients(unit(), squared_error_loss)
    run, calls = made._norms, []

    def stops(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(*args, **options)

    made._norms = stops
    with pytest.raises(KeyboardInterrupt):
        made.write_norms(tmp_path / "n.parquet", x, y, batch_size=8)
    made.write_norms(tmp_path / "n.parquet", x, y, batch_size=8)
    assert [bar.options["initial"] for bar in Bar.made] == [0, 16]
    assert [sum(bar.updates) for bar in Bar.made] == [16, 16]


# --- what is traced, and how often -------------------------------------------------------


def test_one_trace_serves_batches_of_every_size():
    made = PerSampleGradients(unit(), squared_error_loss)
    for n in (12, 7, 5):
        made.norms(*rows(n))
    assert len(made._traces._functions) == 1


def test_a_change_in_python_is_one_renewal_and_leaves_no_old_trace():
    scale = [1.0]
    made = PerSampleGradients(unit(), lambda y, p: scale[0] * (p[:, 0] - y) ** 2)
    x, y = rows()
    before = made.norms(x, y)
    made.certify(x, y)
    scale[0] = 3.0
    np.testing.assert_allclose(made.norms(x, y), 3 * before, rtol=1e-5)
    assert made._traces.renewals == 1
    assert len(made._traces._functions) == 1


def test_predictions_are_looked_at_as_the_model_predicts():
    """While it trains, this model gives probabilities, which the loss would squash again."""

    class Loud(layers.Layer):
        def call(self, x, training=True):
            return ops.softmax(x) if training else x

    model = keras.Sequential([keras.Input((3,)), layers.Dense(3), Loud()])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x, y = rows()
    y = (np.arange(len(y)) % 3).astype("int32")
    found = PerSampleGradients(model, loss).norms(x, y)
    np.testing.assert_allclose(found, naive_norms(model, loss, x, y), rtol=1e-4)


def test_a_model_that_was_never_called_is_built_on_one_row():
    sizes = []

    class Sized(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            if not tf.is_tensor(x) or hasattr(x, "numpy"):
                sizes.append(len(x))
            return self.dense(x)

    x, y = rows()
    model = Sized()
    PerSampleGradients(model, squared_error_loss).norms(x, y)
    assert sizes[0] == 1


# --- gradients that are written out ------------------------------------------------------


def centred() -> keras.Model:
    """Return a model that reads a function of its kernel in which entries meet."""

    class Centred(layers.Dense):
        def call(self, x):
            return x @ (self.kernel - ops.mean(self.kernel, 0)) + self.bias

    return keras.Sequential([keras.Input((3,)), Centred(4), layers.Dense(1)])


@pytest.mark.parametrize("most", [1, 30, 10**6])
def test_gradients_are_written_out_for_as_many_rows_as_fit(most, monkeypatch):
    x, y = rows()
    want = naive_norms(centred(), squared_error_loss, x, y)
    keras.utils.set_random_seed(0)
    monkeypatch.setattr("helpers.gradients.pullback.MOST_ENTRIES", most)
    monkeypatch.setattr("helpers.gradients.pullback._SMALL", 0)
    found = PerSampleGradients(centred(), squared_error_loss).norms(x, y)
    np.testing.assert_allclose(found, want, rtol=1e-4)
    assert Part.__dataclass_params__.frozen


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e19, 1e30])
def test_norms_whose_squares_do_not_fit_into_single_precision_are_right(scale):
    x, y = rows()
    model = unit()
    plain = PerSampleGradients(model, squared_error_loss).norms(x, y)
    found = PerSampleGradients(model, lambda y, p: scale * squared_error_loss(y, p)).norms(x, y)
    np.testing.assert_allclose(found, scale * plain, rtol=1e-4)


# --- what is watched, and what is of a library -------------------------------------------


def test_of_a_large_array_some_entries_are_kept_and_of_a_small_one_all(monkeypatch):
    monkeypatch.setattr("helpers.gradients.watched._MOST_BYTES", 80)
    small, large, larger = np.arange(10.0), np.arange(11.0), np.arange(25.0)
    kept = _seen(small)
    assert kept.tolist() == small.tolist()
    assert not np.shares_memory(kept, small)
    assert _seen(large).tolist() == large[::2].tolist()
    assert _seen(larger).tolist() == larger[::3].tolist()


def test_a_library_is_known_by_its_version(monkeypatch):
    assert version_of("numpy.linalg") == np.__version__
    assert version_of("os") == version_of("builtins") == platform.python_version()
    assert version_of("no_such_module_at_all") == "?"
    odd = types.ModuleType("pytest_of_mine")
    odd.__version__ = (1, 2)
    monkeypatch.setitem(sys.modules, "pytest_of_mine", odd)
    assert version_of("pytest_of_mine") == "?"
    assert is_library("numpy") is True
    assert is_library(__name__) is False
    assert in_library(np.__file__) is True


def test_objects_of_c_that_hide_something_are_told_from_plain_ones():
    class Plain:
        def __init__(self):
            self.a = 1

    class Slots:
        __slots__ = ("a", "b")

        def __init__(self):
            self.a, self.b = 1, 2

    class Weak:
        __slots__ = ("__weakref__", "a")

    for value in (Plain(), Slots(), Weak(), object()):
        assert not contents_of(value).in_one, type(value)
    import datetime
    import decimal

    for value in (datetime.date(2020, 1, 1), decimal.Decimal("1.5")):
        assert contents_of(value).in_one, type(value)


def test_a_dataset_says_why_its_order_is_lost():
    shown = tf.data.Dataset.range(8)
    loose = shown.map(lambda n: n + 1, num_parallel_calls=2, deterministic=False).batch(2)
    with pytest.raises(ValueError, match=r"\(rows of parallel calls come as they are ready\)"):
        check_order(loose)


# --- refusals name the place -------------------------------------------------------------


def test_a_mistyped_loss_is_answered_with_the_nearest_name():
    with pytest.raises(ValueError, match='no loss "binary_crossentrop".* Did you mean "'):
        PerSampleGradients(unit(), "binary_crossentrop")
    with pytest.raises(ValueError, match='no loss "zzzzqqq".$'):
        PerSampleGradients(unit(), "zzzzqqq")
    assert PerSampleGradients(unit(), cross_entropy_loss).loss is cross_entropy_loss
