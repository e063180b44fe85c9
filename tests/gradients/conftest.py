"""What tests of the gradient engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.backend import keras


@pytest.fixture
def float64() -> Iterator[None]:
    """Have models compute in float64, whose rounding no tolerance has to allow for."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)
