"""Fingerprints and watches: everything that decides is seen, and nothing else."""

from __future__ import annotations

import collections
import functools
import operator
import subprocess
import sys
import timeit
import types

import numpy as np
import pandas as pd
import pytest

from helpers.backend import keras, tf
from helpers.base.paths import REPO
from helpers.gradients.fingerprint import fingerprint
from helpers.gradients.watched import watched
from helpers.losses import cross_entropy_loss

layers = keras.layers
RATE = 1.0
TABLE = np.ones(3)


class Slotted:
    """Keeps its value in a slot."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Scaled(keras.layers.Layer):
    """A layer with values of Python."""

    usual = 1.0

    def __init__(self):
        super().__init__()
        self.tau = 0.5
        self.steps = [1.0, {"low": np.zeros(2)}]
        self.turn = lambda z: z * self.tau

    def call(self, x):
        """Return the scaled inputs."""
        return self.turn(x) * self.usual * RATE

    def compute_output_shape(self, shape):
        """Return the shape of the inputs."""
        return shape


class Loss:
    """A loss that reads all sorts of things."""

    factor = 1.0

    def __init__(self, module):
        self.by, self.module = 1.0, module
        self.weights = [1.0, {"deep": np.arange(3.0)}]
        self.slotted, self.queue, self.names = Slotted(1), collections.deque([1]), {"a", "b"}
        self.table = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
        self.tensor, self.part = tf.constant([1.0]), functools.partial(helper, q=1)
        self.shared = [self]  # a circle

    def __call__(self, y, p):
        return self.part(y) * self.module.TAU * self.module.inner["a"][0] * self.by


def helper(y, q=1, *, r=2):
    """Read a global in a function within."""

    def inner(z):
        return z * RATE * TABLE[0]

    return inner(y) * q * r


@pytest.fixture
def things(monkeypatch):
    """A model and a loss, and the module of settings that it reads."""
    settings = types.ModuleType("made_up_settings")
    settings.TAU, settings.inner, settings.unread = 0.5, {"a": [1.0]}, 1.0
    monkeypatch.setitem(sys.modules, "made_up_settings", settings)
    keras.utils.set_random_seed(0)
    ids, dense = keras.Input((), dtype="int32", name="ids"), keras.Input((3,), name="rows")
    hidden = keras.ops.multiply(layers.Embedding(5, 2)(ids), layers.Dense(2, "relu")(dense)) * 0.5
    hidden = layers.Dropout(0.1)(layers.BatchNormalization()(Scaled()(hidden)))
    return keras.Model([ids, dense], layers.Dense(1)(hidden)), Loss(settings)


def put(name, value):
    """Return a change of one attribute of the model or the loss."""

    def change(model, loss, patch):
        owner, last = name.split(".")
        patch.setattr({"model": model, "loss": loss}[owner], last, value, raising=False)

    return change


def scaled_layer(model):
    return next(layer for layer in model.layers if isinstance(layer, Scaled))


#: Changes that decide, each of which both must see.
CHANGES = {
    "an attribute": put("loss.by", 2.0),
    "another type": put("loss.by", 1),
    "a new attribute": put("loss.new", 2.0),
    "a class attribute": lambda m, of, p: p.setattr(Loss, "factor", 2.0),
    "a method": lambda m, of, p: p.setattr(Loss, "__call__", lambda self, y, p: y),
    "a global of a function within": lambda m, of, p: p.setitem(globals(), "RATE", 2.0),
    "a default of a function": lambda m, of, p: p.setattr(helper, "__defaults__", (3,)),
    "a keyword default": lambda m, of, p: p.setitem(helper.__kwdefaults__, "r", 5),
    "an array in place": lambda m, of, p: operator.setitem(TABLE, 1, 2.0),
    "a value in a module": lambda m, of, p: p.setattr(of.module, "TAU", 0.7),
    "a list deep in a module": lambda m, of, p: operator.setitem(of.module.inner["a"], 0, 3.0),
    "an item of a list": lambda m, of, p: operator.setitem(of.weights, 0, 3.0),
    "an item more": lambda m, of, p: of.weights.append(3.0),
    "an array deep in a list": lambda m, of, p: operator.setitem(of.weights[1]["deep"], 2, 9.0),
    "a key more": lambda m, of, p: p.setitem(of.weights[1], "more", 9.0),
    "a slot": lambda m, of, p: setattr(of.slotted, "value", 2),
    "a queue": lambda m, of, p: of.queue.append(2),
    "a set": lambda m, of, p: of.names.add("c"),
    "a table": lambda m, of, p: of.table.isetitem(0, [1.0, 3.0]),
    "a tensor": put("loss.tensor", tf.constant([2.0])),
    "a partial": put("loss.part", functools.partial(helper, q=2)),
    "a layer's attribute": lambda m, of, p: setattr(scaled_layer(m), "tau", 0.7),
    "a layer's list": lambda m, of, p: operator.setitem(scaled_layer(m).steps, 0, 2.0),
    "a layer's array": lambda m, of, p: operator.setitem(scaled_layer(m).steps[1]["low"], 0, 2.0),
    "a layer's function": lambda m, of, p: setattr(scaled_layer(m), "turn", lambda z: z * 3),
    "a layer class": lambda m, of, p: p.setattr(Scaled, "usual", 2.0),
    "an own value over the class's": lambda m, of, p: setattr(scaled_layer(m), "usual", 2.0),
    "an activation": lambda m, of, p: setattr(m.layers[1], "rate", 2.0),
    "trainable": lambda m, of, p: setattr(m.layers[-1], "trainable", False),
    "an attribute of the model": put("model.tau", 3.0),
    "a setting of Keras": lambda m, of, p: keras.config.set_epsilon(1e-6),
}


@pytest.fixture(autouse=True)
def _usual_settings():
    before, array = keras.config.epsilon(), TABLE.copy()
    yield
    keras.config.set_epsilon(before)
    TABLE[:] = array


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_what_can_be_read_is_seen(things, monkeypatch, what):
    model, loss = things
    before, watch = fingerprint(model=model, loss=loss), watched(model, loss)
    assert not before.unseen
    assert not watch.changed()
    assert fingerprint(model=model, loss=loss) == before
    CHANGES[what](model, loss, monkeypatch)
    assert watch.changed()
    assert fingerprint(model=model, loss=loss).digest != before.digest


def fit(model, loss, patch):
    model([np.zeros(2, "int32"), np.ones((2, 3), "float32")], training=False)
    model.predict([np.zeros(2, "int32"), np.ones((2, 3), "float32")], verbose=0)


#: Changes that do not decide.
NOTHING = {
    "the same number again": put("loss.by", float("1.0")),
    "a value in a module that is not read": lambda m, of, p: setattr(of.module, "unread", 2.0),
    "a call": fit,
    "the name of a layer": lambda m, of, p: setattr(m.layers[-1], "name", "other"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_does_not_decide_is_left_alone(things, monkeypatch, what):
    model, loss = things
    before, watch = fingerprint(model=model, loss=loss), watched(model, loss)
    NOTHING[what](model, loss, monkeypatch)
    assert not watch.changed()
    assert fingerprint(model=model, loss=loss) == before


def test_weights_count_in_a_fingerprint_and_not_in_a_watch(things):
    model, loss = things
    before, watch = fingerprint(model=model, loss=loss), watched(model, loss)
    weights = model.get_weights()
    weights[0].flat[3] = np.nextafter(weights[0].flat[3], 1, dtype="float32")
    model.set_weights(weights)
    assert not watch.changed()
    assert fingerprint(model=model, loss=loss).digest != before.digest


def test_a_functional_model_is_known_by_its_wiring():
    def made(turned):
        keras.utils.set_random_seed(0)
        entry = keras.Input((2,))
        one, two = layers.Dense(2), layers.Dense(2)
        for layer in (one, two):
            layer.build((None, 2))
        first, second = (two, one) if turned else (one, two)
        return keras.Model(entry, second(keras.ops.relu(first(entry))))

    same = fingerprint(model=made(False))
    assert fingerprint(model=made(False)) == same
    assert fingerprint(model=made(True)).digest != same.digest


def test_constants_in_a_functional_model_count():
    def made(by):
        entry = keras.Input((2,))
        return keras.Model(entry, entry * by)

    assert fingerprint(model=made(0.5)) == fingerprint(model=made(0.5))
    assert fingerprint(model=made(0.5)).digest != fingerprint(model=made(0.7)).digest


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        ((n for n in "ab"), "a generator cannot be looked into"),
        (tf.data.Dataset.range(3), "a RangeDataset cannot be looked into"),
        (lambda y, p: eval("y"), "it calls eval"),  # noqa: S307 - to be refused
        (lambda y, p: tf.py_function(len, [y], tf.float32), "it calls py_function"),
        (lambda y, p: input(), "it calls input"),
        (sys.__stdout__, "a TextIOWrapper shows no state"),
    ],
    ids=["generator", "dataset", "eval", "py_function", "input", "file"],
)
def test_what_cannot_be_looked_into_is_named_with_its_place(thing, why):
    holder = {"here": thing}
    [sentence] = fingerprint(loss=lambda y, p: holder["here"]).unseen
    assert sentence.startswith("loss closure holder['here']: ")
    assert why in sentence


def test_a_very_deep_object_is_no_matter():
    deep = []
    for _ in range(20_000):
        deep = [deep]
    assert fingerprint(value=deep) == fingerprint(value=deep)


def test_code_counts_without_its_name_place_and_comments():
    one, other, third = {}, {}, {}
    exec("def loss(y, p):\n    return y - p", one)
    exec("\n\n\ndef loss(y, p):  # a word\n\n    return y - p", other)
    exec("def loss(y, p):\n    return p - y", third)
    digests = [fingerprint(loss=each["loss"]).digest for each in (one, other, third)]
    assert digests[0] == digests[1] != digests[2]


def test_another_process_finds_the_same_fingerprint(capsys):
    script = (
        "import functools, numpy as np\n"
        "from helpers.backend import keras\n"
        "from helpers.gradients.fingerprint import fingerprint\n"
        "from helpers.losses import cross_entropy_loss\n"
        "keras.utils.set_random_seed(0)\n"
        "lstm = keras.layers.Bidirectional(keras.layers.LSTM(3))\n"
        "model = keras.Sequential([keras.Input((2, 3)), lstm, keras.layers.Dense(1)])\n"
        "words = {'b', 'a', 'c'}\n"
        "def loss(y, p):\n"
        "    return cross_entropy_loss(y, p) * len(words)\n"
        "print(fingerprint(model=model, loss=loss))\n"
    )
    other = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, check=True, cwd=REPO,
    ).stdout  # fmt: skip
    exec(script, {})  # here layers have had names before, and words another order
    assert other == capsys.readouterr().out
    assert "unseen=()" in other


def test_a_look_visits_far_fewer_things_than_a_fingerprint_reads():
    model = keras.Sequential([keras.Input((8,)), *(layers.Dense(8) for _ in range(20))])
    watch = watched(model, cross_entropy_loss)
    look = min(timeit.repeat(watch.changed, number=20, repeat=5))
    read = min(timeit.repeat(lambda: fingerprint(model=model), number=20, repeat=2))
    assert look < read
