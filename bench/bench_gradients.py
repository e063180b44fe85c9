"""What exact per-sample gradient norms cost, beside one ordinary gradient step.

Run it with ``python bench/bench_gradients.py``. All ways run in one process, in turns, and
the best of several turns counts, so the ratios hold although the seconds vary.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms

BATCH_SIZES = (256, 1024, 4096)
TURNS = 40
NAIVE_ROWS = 24  # the loops are so slow that a few rows tell their price


def make_model(*, items: int = 4000, categories: int = 200, recent: int = 10) -> keras.Model:
    """Return a click model: two embedding tables, one of them shared, and three dense layers."""
    layers, ops = keras.layers, keras.ops
    inputs = {
        "dense": keras.Input((20,), name="dense"),
        "item": keras.Input((), dtype="int32", name="item"),
        "subcategory": keras.Input((), dtype="int32", name="subcategory"),
        "recent": keras.Input((recent,), dtype="int32", name="recent"),
    }
    table = layers.Embedding(items, 16)
    mask = ops.cast(ops.not_equal(inputs["recent"], 0), "float32")[..., None]
    bag = ops.sum(table(inputs["recent"]) * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)
    category = layers.Embedding(categories, 16)(inputs["subcategory"])
    hidden = layers.Concatenate()([inputs["dense"], table(inputs["item"]), category, bag])
    for width in (64, 32):
        hidden = layers.Dense(width, activation="relu", name=f"hidden_{width}")(hidden)
    return keras.Model(inputs, layers.Dense(1, name="logit")(hidden))


def make_rows(
    n: int, *, items: int = 4000, categories: int = 200, recent: int = 10
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return random inputs and labels that fit ``make_model``."""
    rng = np.random.default_rng(0)
    x = {
        "dense": rng.normal(size=(n, 20)).astype("float32"),
        "item": rng.integers(1, items, n, dtype="int32"),
        "subcategory": rng.integers(0, categories, n, dtype="int32"),
        "recent": rng.integers(0, items, (n, recent), dtype="int32"),
    }
    return x, rng.integers(0, 2, n).astype("float32")


def cross_entropy(y: object, logits: object) -> object:
    """Return the cross-entropy of each row, shape ``(B,)``."""
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits[:, 0])


def gradient_step(model: keras.Model) -> Callable:
    """Return the ordinary thing: the gradient of the batch's mean loss, compiled."""
    variables = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def step(x: dict, y: object) -> list:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cross_entropy(y, model(x, training=False)))
        return tape.gradient(loss, variables)

    return step


def function_loop(model: keras.Model) -> Callable:
    """Return the naive loop with its step compiled."""
    step = gradient_step(model)

    def loop(x: dict, y: np.ndarray) -> list[float]:
        norms = []
        for i in range(len(y)):
            gradients = step({k: v[i : i + 1] for k, v in x.items()}, y[i : i + 1])
            norms.append(tf.linalg.global_norm([tf.convert_to_tensor(g) for g in gradients]))
        return norms

    return loop


def seconds(functions: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the best time of each function; they take turns, so that noise hits all alike."""
    best = dict.fromkeys(functions, np.inf)
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:  # the first turn traces
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    """Print the price of each way as a multiple of one gradient step on the same rows."""
    keras.utils.set_random_seed(0)
    model = make_model()
    engine = PerSampleGradients(model, cross_entropy)
    step, loop = gradient_step(model), function_loop(model)
    direction = [np.ones(v.shape, "float32") for v in model.trainable_variables]
    few = make_rows(NAIVE_ROWS)
    slow = {
        "tf.function loop": lambda: loop(*few),
        "naive loop": lambda: naive_norms(model, cross_entropy, *few),
    }
    slow = {k: v / NAIVE_ROWS for k, v in seconds(slow, 2).items()}  # seconds a row
    columns = ["gradient step", "norms", "dots", *slow]
    print(f"{'rows':>6}{'step, ms':>10}" + "".join(f"{c:>18}" for c in columns))
    for n in BATCH_SIZES:
        x, y = make_rows(n)
        fast = {
            "gradient step": lambda x=x, y=y: step(x, y)[-1].numpy(),
            "norms": lambda x=x, y=y: engine.norms(x, y),
            "dots": lambda x=x, y=y: engine.dots(x, y, direction),
        }
        best = seconds(fast, TURNS) | {name: n * s for name, s in slow.items()}
        unit = best["gradient step"]
        ratios = "".join(f"{best[c] / unit:>17.2f}x" for c in columns)
        print(f"{n:>6}{unit * 1e3:>10.2f}{ratios}")
    print("Loops: seconds a row on a few rows, times the rows.")


if __name__ == "__main__":
    main()
