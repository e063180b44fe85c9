"""The models M1 to M5 that the benchmarks of the gradient engine measure, and rows for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from helpers.backend import keras

layers, ops = keras.layers, keras.ops
_VOCABULARIES = (100_000, 30_000, 10_000, 3_000, 1_000, 300, 100, 30)
_ITEMS, _LENGTH, _WIDTH = 10_000, 50, 64


@dataclass(frozen=True)
class Case:
    """A model with random rows.

    Attributes:
        told: what it is.
        build: makes the model.
        rows: ``rows(n)`` makes inputs and labels.
    """

    told: str
    build: Callable[[], keras.Model]
    rows: Callable[[int], tuple[object, np.ndarray]]


def _logistic() -> keras.Model:
    return keras.Sequential([keras.Input((50,)), layers.Dense(1)])


def _click_mlp(vocabularies: tuple[int, ...] = _VOCABULARIES) -> keras.Model:
    inputs = {"features": keras.Input((50,), name="features")}
    parts = [inputs["features"]]
    for k, size in enumerate(vocabularies):
        inputs[f"id{k}"] = keras.Input((), dtype="int32", name=f"id{k}")
        parts.append(layers.Embedding(size, 16)(inputs[f"id{k}"]))
    hidden = layers.Concatenate()(parts)
    for width in (256, 128, 64):
        hidden = layers.Dense(width, activation="relu")(hidden)
    return keras.Model(inputs, layers.Dense(1)(hidden))


def _click_rows(n: int, vocabularies: tuple[int, ...] = _VOCABULARIES) -> tuple[dict, np.ndarray]:
    rng = np.random.default_rng(0)
    x = {"features": rng.normal(size=(n, 50)).astype("float32")}
    x |= {f"id{k}": rng.integers(0, size, n, "int32") for k, size in enumerate(vocabularies)}
    return x, rng.integers(0, 2, n).astype("float32")


def _two_towers() -> keras.Model:
    inputs, towers = {}, []
    for name, size in (("user", 50_000), ("item", 10_000)):
        ids = keras.Input((), dtype="int32", name=name)
        dense = keras.Input((20,), name=f"{name}_dense")
        inputs |= {name: ids, f"{name}_dense": dense}
        hidden = layers.Concatenate()([layers.Embedding(size, 64)(ids), dense])
        for width in (256, 128):
            hidden = layers.Dense(width, activation="relu")(hidden)
        towers.append(layers.Dense(64)(hidden))
    return keras.Model(inputs, layers.Dot(1)(towers))


def _tower_rows(n: int) -> tuple[dict, np.ndarray]:
    rng = np.random.default_rng(0)
    x: dict[str, np.ndarray] = {}
    for name, size in (("user", 50_000), ("item", 10_000)):
        x[name] = rng.integers(0, size, n, "int32")
        x[f"{name}_dense"] = rng.normal(size=(n, 20)).astype("float32")
    return x, rng.integers(0, 2, n).astype("float32")


def _transformer() -> keras.Model:
    """Two blocks over the last 50 items, scored against one item, as in SASRec."""
    past = keras.Input((_LENGTH,), dtype="int32", name="past")
    wanted = keras.Input((), dtype="int32", name="wanted")
    table = layers.Embedding(_ITEMS, _WIDTH)
    x = table(past) + layers.Embedding(_LENGTH, _WIDTH)(ops.arange(_LENGTH))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, _WIDTH // 2)(y, y, use_causal_mask=True)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(_WIDTH)(layers.Dense(_WIDTH, activation="relu")(y))
    x = layers.LayerNormalization()(x)
    return keras.Model({"past": past, "wanted": wanted}, layers.Dot(1)([x[:, -1], table(wanted)]))


def _transformer_rows(n: int) -> tuple[dict, np.ndarray]:
    rng = np.random.default_rng(0)
    x = {
        "past": rng.integers(0, _ITEMS, (n, _LENGTH), "int32"),
        "wanted": rng.integers(0, _ITEMS, n, "int32"),
    }
    return x, rng.integers(0, 2, n).astype("float32")


def _dense_rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 50)).astype("float32"), rng.integers(0, 2, n).astype("float32")


_LARGE = (6_300_000, *_VOCABULARIES[1:])

CASES = {
    "M1": Case("logistic regression, 50 features", _logistic, _dense_rows),
    "M2": Case("click MLP: 50 features, 8 embeddings of 16, 256-128-64", _click_mlp, _click_rows),
    "M3": Case("two towers of 256-128-64", _two_towers, _tower_rows),
    "M4": Case("transformer: 2 blocks, 50 items of 64", _transformer, _transformer_rows),
    "M5": Case("M2 with 6,300,000 users: 101 million parameters",
               lambda: _click_mlp(_LARGE), lambda n: _click_rows(n, _LARGE)),
}  # fmt: skip
