"""Bounds, sizes and ends of the engine that hold without being looked at often."""

from __future__ import annotations

import math

import numpy as np
import pytest

from helpers.backend import tf
from helpers.gradients.link import bounds_of
from helpers.gradients.looks import Looks

INF = math.inf


def bounds(function) -> tuple[float, float]:
    """Return the bounds of a traced function of any numbers."""
    found = []

    def traced(x):
        value = function(x)
        found.append(bounds_of(value))
        return value

    tf.function(traced, autograph=False).get_concrete_function(tf.TensorSpec([None, 3]))
    return found[0]


# --- between which bounds a prediction lies ----------------------------------------------


@pytest.mark.parametrize(
    ("function", "want"),
    [
        (lambda x: x, (-INF, INF)),
        (tf.sigmoid, (0, 1)),
        (tf.nn.softmax, (0, 1)),
        (tf.tanh, (-1, 1)),
        (tf.nn.relu6, (0, 6)),
        (tf.nn.log_softmax, (-INF, 0)),
        (tf.nn.softplus, (0, INF)),
        (tf.nn.softsign, (-1, 1)),
        (tf.sin, (-1, 1)),
        (tf.cos, (-1, 1)),
        (tf.math.erf, (-1, 1)),
        (tf.nn.relu, (0, INF)),
        (tf.exp, (0, INF)),
        (tf.square, (0, INF)),
        (tf.abs, (0, INF)),
        (lambda x: tf.reduce_mean(tf.tanh(x), 1), (-1, 1)),
        (lambda x: tf.reduce_max(tf.tanh(x), 1), (-1, 1)),
        (lambda x: tf.reduce_min(tf.tanh(x), 1), (-1, 1)),
        (lambda x: tf.reduce_sum(tf.tanh(x), 1), (-INF, INF)),
        (lambda x: -tf.sigmoid(x), (-1, 0)),
        (lambda x: tf.abs(tf.tanh(x) * 2.0 - 1.0), (0, 3)),
        (lambda x: tf.abs(tf.sigmoid(x) - 3.0), (2, 3)),
        (lambda x: tf.abs(tf.sigmoid(x) + 2.0), (2, 3)),
        (lambda x: tf.square(tf.sigmoid(x) - 3.0), (4, 9)),
        (lambda x: tf.tanh(x) + tf.sigmoid(x), (-1, 2)),
        (lambda x: tf.tanh(x) - tf.sigmoid(x), (-2, 1)),
        (lambda x: tf.tanh(x) * (tf.sigmoid(x) + 1.0), (-2, 2)),
        (lambda x: tf.tanh(x) / (tf.sigmoid(x) + 1.0), (-1, 1)),
        (lambda x: tf.math.reciprocal(tf.sigmoid(x) + 1.0), (0.5, 1)),
        (lambda x: tf.math.reciprocal(tf.sigmoid(x) - 2.0), (-1, -0.5)),
        (lambda x: tf.math.reciprocal(tf.tanh(x)), (-INF, INF)),
        (lambda x: tf.maximum(tf.tanh(x), 0.5), (0.5, 1)),
        (lambda x: tf.maximum(0.5, tf.tanh(x)), (0.5, 1)),
        (lambda x: tf.minimum(tf.tanh(x), 0.5), (-1, 0.5)),
        (lambda x: tf.minimum(0.5, tf.tanh(x)), (-1, 0.5)),
        (lambda x: tf.clip_by_value(x, -0.5, 2.0), (-0.5, 2)),
        (lambda x: tf.clip_by_value(tf.sigmoid(x), -0.5, 2.0), (0, 1)),
        (lambda x: tf.concat([tf.sigmoid(x), tf.tanh(x) * 3.0], 1), (-3, 3)),
        (lambda x: tf.concat([tf.tanh(x) * 3.0, tf.sigmoid(x)], 1), (-3, 3)),
        (lambda x: tf.stack([tf.sigmoid(x), tf.tanh(x) - 1.0], 1), (-2, 1)),
        (lambda x: tf.stack([tf.tanh(x) - 1.0, tf.sigmoid(x)], 1), (-2, 1)),
        (lambda x: tf.transpose(tf.reshape(tf.sigmoid(x), [-1, 1])), (0, 1)),
        (lambda x: tf.nest.map_structure(tf.exp, tf.sigmoid(x)), (1, math.e)),
    ],
)
def test_the_bounds_of_a_prediction_are_as_near_as_its_making_tells(function, want):
    assert bounds(function) == pytest.approx(want)


def test_a_prediction_is_followed_back_over_thirty_operations_and_no_more():
    def deep(count):
        def function(x):
            value = tf.sigmoid(x)
            for _ in range(count):
                value = tf.negative(value)
            return value

        return bounds(function)

    assert deep(30) == (0, 1)
    assert deep(31) == (-INF, INF)


# --- how often it looks again ------------------------------------------------------------


class Fixed:
    """Stands in for a generator: hands out one number as often as it is asked."""

    def __init__(self, *numbers: float) -> None:
        self.numbers, self.asked = list(numbers), 0

    def random(self) -> float:
        self.asked += 1
        return self.numbers.pop(0)


@pytest.mark.parametrize(
    ("number", "rows", "batch", "look", "python"),
    [
        (1.01 * 1024 / 2**16, 1024, 10**6, False, False),  # one look in 65,536 rows
        (0.99 * 1024 / 2**16, 1024, 10**6, True, False),
        (1.01 * 1024 / 2**19, 1024, 10**6, True, False),  # the Python in 524,288
        (0.99 * 1024 / 2**19, 1024, 10**6, True, True),
        (0.99 * 2 / 500, 10, 500, True, False),  # early: two among the batches so far
        (1.01 * 2 / 500, 10, 500, False, False),
        (0.99 * 0.2 / 500, 10, 500, True, True),
        (1.01 * 0.2 / 500, 10, 500, True, False),
    ],
)
def test_the_chance_of_a_look_is_as_it_is_said(number, rows, batch, look, python):
    looks = Looks(Fixed(number, number))
    x, y = np.zeros((rows, 2)), np.zeros(rows)
    looks.note(x, y)
    looks._batches = batch - 1
    assert looks.due(x, y) == (look, python)


def test_a_new_extreme_on_either_side_is_looked_at_and_then_seen():
    looks = Looks(Fixed(*[1.0] * 20))
    y = np.zeros(2)
    looks.note(np.array([[1.0, -2.0], [3.0, 5.0]]), y)
    looks.note(np.array([[2.0, 0.0], [2.0, 1.0]]), y)  # narrower: nothing is forgotten
    inside = np.array([[-2.0, 5.0], [0.0, 0.0]])
    assert not looks.is_new(inside, y)
    for extreme in (5.5, -2.5):
        beyond = np.array([[extreme, 0.0], [0.0, 0.0]])
        assert looks.due(beyond, y) == (True, False)
        assert looks.due(beyond, y) == (False, False)
    assert not looks.is_new(inside, y)
    assert looks.is_new(inside, np.array([0.0, 0.5]))


def test_whole_numbers_are_never_new():
    looks = Looks(Fixed(*[1.0] * 4))
    x, y = np.arange(6).reshape(3, 2), np.arange(3)
    looks.note(x, y)
    looks._batches = 10**6
    assert not looks.is_new(100 * x, 100 * y)
    assert looks.due(100 * x, y) == (False, False)
