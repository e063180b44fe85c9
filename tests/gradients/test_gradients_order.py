"""Datasets whose order changes with each pass are refused, all others are taken."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients
from helpers.gradients.order import check_order

Dataset = tf.data.Dataset
ROWS = Dataset.range(64)


def loose(dataset):
    options = tf.data.Options()
    options.deterministic = False
    return dataset.with_options(options)


def one(i):
    return i + 1


def three(i):
    return Dataset.range(3)


def three_shuffled(i):
    return Dataset.range(3).shuffle(3, seed=1)


_counter = itertools.count()


def never_again():
    yield next(_counter)


CHANGING = {
    "shuffle": lambda: ROWS.shuffle(64, seed=0),
    "shuffle with a small buffer behind others": lambda: ROWS.shuffle(2, seed=0).map(one).repeat(2),
    "shuffled in one of two": lambda: Dataset.zip((ROWS, ROWS.shuffle(64, seed=0))),
    "shuffled behind another": lambda: ROWS.concatenate(ROWS.shuffle(64, seed=0)),
    "shuffled in a function": lambda: ROWS.flat_map(three_shuffled),
    "shuffled in an interleaved function": lambda: ROWS.interleave(three_shuffled),
    "files": lambda: Dataset.list_files("/etc/*", seed=0),
    "parallel map": lambda: ROWS.map(one, num_parallel_calls=2, deterministic=False),
    "parallel batch": lambda: ROWS.batch(2, num_parallel_calls=2, deterministic=False),
    "parallel interleave": lambda: ROWS.interleave(
        three, num_parallel_calls=2, deterministic=False
    ),
    "options": lambda: loose(ROWS.map(one, num_parallel_calls=2)),
    "drawn anew": lambda: Dataset.random(seed=1, rerandomize_each_iteration=True).take(9),
    "drawn anew behind the first batch": lambda: ROWS.concatenate(
        Dataset.random(seed=1, rerandomize_each_iteration=True).take(9)
    ),
    "sampled anew": lambda: Dataset.sample_from_datasets(
        [ROWS, ROWS], seed=1, rerandomize_each_iteration=True
    ),
    "a generator that goes on": lambda: Dataset.from_generator(
        never_again, output_signature=tf.TensorSpec((), tf.int64)
    ),
}


@pytest.mark.parametrize("what", CHANGING)
def test_an_order_that_changes_is_refused(what):
    with pytest.raises(ValueError, match=r"another order in each pass .*before it is shuffled"):
        check_order(CHANGING[what]().batch(4))


FIXED = {
    "slices": lambda: Dataset.from_tensor_slices(np.full(9, np.nan)),
    "texts": lambda: Dataset.from_tensor_slices(["a", "b"]),
    "shuffled once": lambda: ROWS.shuffle(64, seed=0, reshuffle_each_iteration=False),
    "parallel": lambda: ROWS.map(one, num_parallel_calls=2).interleave(three, num_parallel_calls=2),
    "sampled": lambda: Dataset.sample_from_datasets([ROWS, ROWS], seed=1),
    "a generator": lambda: Dataset.from_generator(
        lambda: iter(range(5)), output_signature=tf.TensorSpec((), tf.int64)
    ),
    "files in order": lambda: Dataset.list_files("/etc/h*", shuffle=False),
    "prefetched and cached": lambda: ROWS.prefetch(2).cache().filter(lambda i: i > 3).take(9),
    "empty": lambda: ROWS.take(0),
}


@pytest.mark.parametrize("what", FIXED)
def test_a_fixed_order_is_taken(what):
    check_order(FIXED[what]().batch(4))


@pytest.mark.parametrize("method", ["norms_over", "write_norms"])
def test_the_engine_refuses_a_shuffled_dataset_before_it_computes(tmp_path, method):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    engine = PerSampleGradients(model, lambda y, p: (p[:, 0] - y) ** 2)
    x, y = np.ones((9, 1), "float32"), np.ones(9, "float32")
    shuffled = Dataset.from_tensor_slices((x, y)).shuffle(9, seed=0).batch(3)
    place = (tmp_path / "norms.parquet",) if method == "write_norms" else ()
    with pytest.raises(ValueError, match=r"another order in each pass \(it is shuffled anew\)"):
        getattr(engine, method)(*place, shuffled, progress=False)
    assert not [*tmp_path.iterdir()]
