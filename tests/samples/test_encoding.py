"""Scaling, one-hot names, vocabularies and bags, on numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tables import made

from helpers.samples.encoding import (
    BAG_LENGTH,
    PADDING,
    UNKNOWN,
    Encoder,
    bags,
    numbered,
    vocabulary,
)


def names(**counts: int) -> pd.Series:
    """Return so many rows of each name."""
    return pd.Series([name for name, count in counts.items() for _ in range(count)], dtype="str")


def column(encoder: Encoder, raw: pd.DataFrame, name: str) -> np.ndarray:
    return encoder.dense(raw)[:, encoder.names.index(name)]


def test_a_plain_number_is_standardised_by_the_fitted_rows():
    encoder = Encoder.fit(pd.DataFrame({"position": [1.0, 2.0, 3.0]}))
    spread = np.sqrt(2 / 3)
    other = pd.DataFrame({"position": [2.0, 5.0]})
    np.testing.assert_allclose(encoder.dense(other)[:, 0], [0, 3 / spread], rtol=1e-6)


def test_counts_amounts_and_days_are_taken_as_logarithms():
    raw = pd.DataFrame({"user_events": np.expm1([1.0, 2.0, 3.0])})
    got = Encoder.fit(raw).dense(raw)[:, 0]
    np.testing.assert_allclose(got, np.array([-1, 0, 1]) / np.sqrt(2 / 3), atol=1e-6)


def test_a_missing_value_is_zero_beside_a_flag():
    raw = pd.DataFrame({"position": [1.0, 3.0, np.nan], "user_recency_days": [1.0, 2.0, 3.0]})
    encoder = Encoder.fit(raw)
    assert encoder.names == ["position", "user_recency_days", "position_missing"]
    np.testing.assert_array_equal(column(encoder, raw, "position"), [-1, 1, 0])
    np.testing.assert_array_equal(column(encoder, raw, "position_missing"), [0, 0, 1])


def test_a_value_that_training_never_missed_is_zero_without_a_flag():
    encoder = Encoder.fit(pd.DataFrame({"position": [1.0, 3.0]}))
    np.testing.assert_array_equal(encoder.dense(pd.DataFrame({"position": [np.nan]})), [[0.0]])


def test_one_odd_row_is_limited_to_six_standard_deviations():
    encoder = Encoder.fit(pd.DataFrame({"position": [1.0, 3.0]}))
    odd = pd.DataFrame({"position": [1e300, -1e9]})
    np.testing.assert_array_equal(encoder.dense(odd), [[6.0], [-6.0]])


def test_features_that_do_not_vary_in_training_are_left_out():
    raw = pd.DataFrame(
        {"position": [1.0, 1.0], "scene": ["a", "a"], "price": [np.nan, np.nan], "x": [1.0, 2.0]}
    )
    assert Encoder.fit(raw, min_rows=1).names == ["x"]


def test_features_of_which_every_name_is_rare_are_left_out():
    raw = pd.DataFrame({"user_phone": [str(i) for i in range(9)], "x": np.arange(9.0)})
    assert Encoder.fit(raw, min_rows=2).names == ["x"]


def test_rare_and_unknown_names_share_a_column():
    raw = names(a=3, b=2, c=1).to_frame("brand")
    encoder = Encoder.fit(raw, min_rows=2)
    assert encoder.names == ["brand=a", "brand=b", "brand=other"]
    other = pd.DataFrame({"brand": ["b", "c", "never seen", "a"]})
    np.testing.assert_array_equal(
        encoder.dense(other), [[0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]]
    )


def test_an_unknown_name_is_zero_everywhere_where_no_name_is_rare():
    encoder = Encoder.fit(names(a=2, b=2).to_frame("brand"), min_rows=2)
    np.testing.assert_array_equal(encoder.dense(pd.DataFrame({"brand": ["x"]})), [[0, 0]])


def test_a_name_that_is_called_other_keeps_its_own_column():
    raw = names(other=3, a=2, c=1).to_frame("brand")
    encoder = Encoder.fit(raw, min_rows=2)
    assert encoder.names == ["brand=a", "brand=other", "brand=any other"]
    np.testing.assert_array_equal(encoder.dense(raw).sum(axis=0), [2, 3, 1])


def test_at_most_29_names_get_a_column_the_most_frequent():
    counts = {f"n{i:02}": 2 + i for i in range(40)}
    encoder = Encoder.fit(names(**counts).to_frame("brand"), min_rows=2)
    assert encoder.names == [f"brand=n{i:02}" for i in range(11, 40)] + ["brand=other"]


def test_names_that_begin_alike_are_told_apart():
    raw = pd.DataFrame({"item": ["a_b", "c"] * 2, "item_a": ["b", "c"] * 2})
    assert Encoder.fit(raw, min_rows=1).names == ["item=a_b", "item=c", "item_a=b", "item_a=c"]


def test_tables_of_names_or_of_numbers_alone_can_be_encoded():
    assert Encoder.fit(names(a=2, b=2).to_frame("brand"), min_rows=1).dense(
        names(b=1).to_frame("brand")
    ).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("source", ["sample", "journey"])
def test_every_dense_column_has_a_name_and_holds_what_it_says(source):
    samples = made(source)
    assert samples.dense.shape == (len(samples), len(samples.feature_names))
    assert len(set(samples.feature_names)) == len(samples.feature_names)
    assert samples.dense.dtype == np.float32
    assert np.isfinite(samples.dense).all()
    flags = [n for n in samples.feature_names if "=" in n]
    for name in flags:
        feature, _, level = name.partition("=")
        if level in ("other", "any other"):
            continue
        got = samples.dense[:, samples.feature_names.index(name)]
        np.testing.assert_array_equal(got, samples.features[feature] == level, err_msg=name)
    for name in (n for n in samples.feature_names if n.endswith("_missing")):
        got = samples.dense[:, samples.feature_names.index(name)]
        np.testing.assert_array_equal(got, samples.features[name.removesuffix("_missing")].isna())


@pytest.mark.parametrize("source", ["sample", "journey"])
def test_train_numbers_have_mean_zero_and_spread_one(source):
    samples = made(source)
    train = samples.dense[samples.rows("train")]
    for i, name in enumerate(samples.feature_names):
        if name in samples.features and not samples.features[name].isna().any():
            inside = np.abs(train[:, i]).max() < 6  # nothing was cut off
            if inside:
                assert train[:, i].mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
                assert train[:, i].std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_a_vocabulary_holds_frequent_values_in_order():
    assert vocabulary(names(b=3, a=2, c=1), min_rows=2) == ["a", "b"]
    np.testing.assert_array_equal(numbered(names(c=1, a=1, b=1), ["a", "b"]), [UNKNOWN, 2, 3])
    np.testing.assert_array_equal(numbered(np.array([7, 9]), []), [UNKNOWN, UNKNOWN])


def test_a_bag_keeps_repeats_and_order_and_skips_unknown_items():
    numbers_of_items = np.array([UNKNOWN, 5, 6])
    recent = np.array([[1, 0, 1, 2, -1], [0, 0, -1, -1, -1], [-1, -1, -1, -1, -1]])
    np.testing.assert_array_equal(
        bags(recent, numbers_of_items, length=4), [[5, 5, 6, PADDING], [0] * 4, [0] * 4]
    )


def test_a_bag_holds_the_newest_of_many():
    recent = np.arange(20)[None, :]
    assert bags(recent, np.arange(20) + 2).tolist() == [list(range(2, 2 + BAG_LENGTH))]


def test_columns_of_several_features_with_rare_names_stand_side_by_side():
    names = pd.DataFrame({"brand": list("aaabbx"), "color": list("rrggry"), "size": list("sslsls")})
    encoder = Encoder.fit(names, min_rows=2)
    table = pd.DataFrame(encoder.dense(names), columns=encoder.names)
    assert list(table) == [
        *("brand=a", "brand=b", "brand=other"),
        *("color=g", "color=r", "color=other"),
        *("size=l", "size=s"),
    ]
    for column in table:
        name, level = column.split("=")
        known = [c.split("=")[1] for c in table if c.startswith(name)]
        given = names[name].where(names[name].isin(known), "other")
        assert table[column].tolist() == (given == level).astype(float).tolist(), column
