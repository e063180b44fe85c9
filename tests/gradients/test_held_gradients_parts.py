"""What is picked, measured and told apart by the engine's parts, number by number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from gradient_models import dense_rows
from test_held_gradients import bounds
from test_held_gradients_places import followed

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients.certificate import see_independent
from helpers.gradients.forms import Block, Outer, Outers, Rows, needs_writing_out, scales
from helpers.gradients.kept import _FACTS, _PROBED, _WHOLE, _cut, _facts_of, _probed
from helpers.gradients.order import check_order

layers = keras.layers


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("start", [0, 1000, 10**6])
def test_the_rows_that_are_computed_again_lie_within_their_piece(start):
    many = _probed(start, start + 5000, _WHOLE + 1)
    assert len(many) == _PROBED == 256
    assert len(set(many)) == 256
    assert start <= many.min()
    assert many.max() < start + 5000
    for size in (1, 7, _WHOLE):
        one = _probed(start, start + 5000, size)
        assert len(one) == size
        assert start <= one.min()
        assert one.max() < start + 5000
        assert (one[0] - start) % size == 0
    assert _probed(start, start + 5, 100).tolist() == list(range(start, start + 5))


def test_a_piece_ends_where_it_has_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.gradients.kept._PIECE", 8)
    x, y = dense_rows(32)
    made = PerSampleGradients(keras.Sequential([keras.Input((3,)), layers.Dense(1)]), "mse")
    run, calls = made._norms, []

    def stops(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(*args, **options)

    made._norms = stops
    with pytest.raises(KeyboardInterrupt):
        made.write_norms(tmp_path / "n.parquet", x.astype("float32"), y, batch_size=8)
    kept = sorted(path.name for path in (tmp_path / "n.parquet.pieces").iterdir())
    assert kept == [f"{first:012d}.parquet" for first in (0, 8, 16)]


def test_a_table_of_somebody_else_says_nothing_of_itself():
    plain = pa.table({"row": [0], "gradient_norm": [1.0]})
    assert _facts_of(plain) == {}
    for facts in (b"no json", b"[1]"):
        assert _facts_of(plain.replace_schema_metadata({_FACTS: facts})) == {}
    assert _facts_of(plain.replace_schema_metadata({_FACTS: b'{"rows": "a"}'})) == {"rows": "a"}
    other = pa.table({"norm": [1.0]}).replace_schema_metadata({_FACTS: b'{"rows": "a"}'})
    assert _facts_of(other) == {}


def test_a_row_of_several_shapes_is_not_known_entry_by_entry():
    def function(x):
        return tf.reshape(x, tf.stack([tf.shape(x), tf.shape(x)])[0])

    assert followed(function, 2)[0] is None


def test_values_that_depend_on_how_many_rows_there_are_are_not_independent():
    def values(rows, weights):
        return weights * (rows + 1.0)

    assert see_independent(values, 6, 1e-9)
    assert not see_independent(lambda r, w: values(r, w) * len(r), 6, 1e-9)
    assert not see_independent(lambda r, w: w * np.arange(1.0, len(r) + 1), 6, 1e-9)
    assert not see_independent(lambda r, w: w * w * (r + 1.0), 6, 1e-9)


@pytest.mark.parametrize("weight", [None, np.arange(5.0)])
def test_a_batch_is_cut_into_its_first_rows_and_the_others(weight):
    batch = {"a": np.arange(10).reshape(5, 2)}, np.arange(5), weight
    (x, y, w), (rest_x, rest_y, rest_w) = _cut(batch, 2)
    assert (y.tolist(), rest_y.tolist()) == ([0, 1], [2, 3, 4])
    assert (x["a"][:, 0].tolist(), rest_x["a"][:, 0].tolist()) == ([0, 2], [4, 6, 8])
    if weight is None:
        assert w is rest_w is None
    else:
        assert (w.tolist(), rest_w.tolist()) == ([0, 1], [2, 3, 4])
    assert _cut(batch, 5) == (batch, None)


def test_whole_numbers_and_truth_values_are_labels_too():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    x, y = dense_rows(9)
    made = PerSampleGradients(model, lambda y, p: (p[:, 0] - y) ** 2)
    want = made.norms(x.astype("float32"), y.astype("float32"))
    for kind in ("int64", "bool"):
        np.testing.assert_allclose(made.norms(x.astype("float32"), y.astype(kind)), want, rtol=1e-5)


def test_scales_are_the_sums_of_the_norms_of_all_that_is_added_up():
    rng = np.random.default_rng(0)
    a, d = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
    many, deltas = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 5, 2))
    norm = np.linalg.norm
    cases = [
        (Outer(tf.constant(a), tf.constant(d)), norm(a, axis=1) * norm(d, axis=1)),
        (
            Outers(tf.constant(many), tf.constant(deltas)),
            (norm(many, axis=2) * norm(deltas, axis=2)).sum(1),
        ),
        (Rows(tf.zeros([3, 5], tf.int32), tf.constant(deltas)), norm(deltas, axis=2).sum(1)),
        (Block(tf.constant(d)), norm(d, axis=1)),
    ]
    for form, want in cases:
        np.testing.assert_allclose(scales([form]), want, rtol=1e-12)
    forms, wanted = zip(*cases, strict=True)
    np.testing.assert_allclose(scales(forms), np.sum(wanted, axis=0), rtol=1e-12)


def test_forms_of_different_widths_have_to_be_written_out():
    two, three = (Outer(tf.ones([1, 4]), tf.ones([1, n])) for n in (2, 3))
    block = Block(tf.ones([1, 8]))
    assert not needs_writing_out([two, two, block])
    assert needs_writing_out([two, three])
    assert needs_writing_out([block, three, two])


@pytest.mark.parametrize(("place", "want"), [(0, (-np.inf, np.inf)), (1, (0, 1)), (2, (-1, 1))])
def test_of_several_tensors_each_keeps_its_own_bounds(place, want):
    def function(x):
        return tf.identity_n([x, tf.sigmoid(x), tf.tanh(x)])[place]

    assert bounds(function) == want


@pytest.mark.parametrize("bias", [0.1, 0.6])
def test_positive_logits_that_do_not_add_up_to_one_are_no_probabilities(bias):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    model.set_weights([np.zeros((3, 3)), np.full(3, bias)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x = dense_rows(9)[0].astype("float32")
    y = (np.arange(9) % 3).astype("int32")
    found = PerSampleGradients(model, loss).norms(x, y)
    np.testing.assert_allclose(found, naive_norms(model, loss, x, y), rtol=1e-4)
    model.set_weights([np.zeros((3, 3)), np.full(3, 1 / 3)])
    with pytest.raises(ValueError, match="the classes of each row add up to 1"):
        PerSampleGradients(model, loss).norms(x, y)


def test_what_is_cached_keeps_its_order():
    shuffled = tf.data.Dataset.range(8).shuffle(8, seed=1).batch(8)
    with pytest.raises(ValueError, match="it is shuffled anew"):
        check_order(shuffled)
    check_order(shuffled.cache())


def test_rows_of_any_length_have_an_order_too():
    lengths = tf.ragged.constant([[1], [2, 3], [4]])
    check_order(tf.data.Dataset.from_tensor_slices(lengths).batch(2))
