"""What exact per-sample gradient norms cost, beside one ordinary gradient step.

All ways run in one process on the same tensors. In each round every way takes a turn, in an
order that is shuffled anew, and its time is divided by that of the gradient step *of the same
round*: so the ratios hold although a shared machine is now fast, now slow. The median over the
rounds is printed, with the quartiles in brackets; the first round traces and does not count.
CPU time adds up all threads of the process, wall time is what one waits.

=============== ===========================================================================
gradient step   the yardstick: ``tape.gradient`` of the batch's mean loss, compiled
train_on_batch  Keras, with SGD, the cheapest optimizer
norms, dots     ``PerSampleGradients``
last layer      ``norms`` of a copy that is frozen but for its last layer: no exact score
jacobian        ``tape.jacobian`` of the losses, compiled, for small batches only
vectorized_map  ``tf.vectorized_map`` over the gradients of single rows, compiled
naive, eager    ``naive_norms``, on a few rows, times the rows of the batch
naive, compiled the same loop with its step compiled
=============== ===========================================================================

Before the clock starts, every exact way must give the numbers of ``naive_norms``. For a quick
look: ``python bench/bench_gradients.py --models M2 --batches 256 --rounds 5``.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gradient_models import CASES, Case

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_gradients, naive_norms
from helpers.gradients.batches import map_leaves, take_rows
from helpers.losses import cross_entropy_loss

_BATCHES = {
    "M1": (32, 256, 1024, 4096),
    "M2": (32, 256, 1024, 4096),
    "M3": (32, 256, 1024, 4096),
    "M4": (32, 256, 1024),
    "M5": (256, 1024),
}
_TURN_S = 0.02  # short calls are repeated for so long, for a clock cannot time one of them
_SLOW_ROUNDS = 3  # a way that takes many steps shows its price in a few rounds
_LEAST_ROUNDS = 4
_CHECKED_ROWS = 2
_TOLERANCE = 1e-4  # of the largest number
_SMALL_BATCH = 32  # for the Jacobian
_MOST_BYTES = 2e9  # of a Jacobian
_MOST_STEPS = 20  # vectorized_map is left out where it takes longer

_STEP = "gradient step"
#: Model, way, batch, and the CPU time in gradient steps that the project wants.
_GOALS = (
    ("M1", "norms", 256, 1.0),
    ("M1", "norms", 1024, 1.0),
    ("M1", "norms", 4096, 1.0),
    ("M2", "norms", 256, 0.75),
    ("M2", "norms", 1024, 0.75),
    ("M2", "norms", 4096, 0.70),
    ("M3", "norms", 256, 0.80),
    ("M3", "norms", 1024, 0.80),
    ("M3", "norms", 4096, 0.80),
    ("M4", "norms", 256, 1.05),
    ("M4", "norms", 1024, 1.05),
)
_FIRST_CALL_GOAL_S = 3.0


@dataclass(frozen=True)
class Way:
    """One way to the numbers of a batch.

    Attributes:
        call: computes them.
        share: on which part of the batch; the time is divided by it.
        slow: takes turns in the first rounds only.
    """

    call: Callable[[], Any]
    share: float = 1.0
    slow: bool = False


@dataclass(frozen=True)
class Ratios:
    """Quartiles over the rounds, in gradient steps, and the median seconds of one call."""

    cpu: np.ndarray
    wall: np.ndarray
    wall_s: float


class Subject:
    """A model with everything that is compiled once for all of its batches."""

    def __init__(self, case: Case) -> None:
        keras.utils.set_random_seed(0)
        self.case = case
        self.model = case.build()
        self.variables = [v.value for v in self.model.trainable_variables]
        self.engine = PerSampleGradients(self.model, cross_entropy_loss)
        self.direction = [tf.ones(v.shape) for v in self.variables]
        self.last = PerSampleGradients(_frozen_copy(case, self.model), cross_entropy_loss)
        self.trained = _copy(case, self.model)
        self.trained.compile("sgd", loss=_mean_loss)
        self.step = _gradient_step(self.model)
        self.row_norm = tf.function(self._row_norm, autograph=False)
        self.jacobian = tf.function(self._jacobian, autograph=False)
        self.vectorized = tf.function(self._vectorized, autograph=False)

    @property
    def size(self) -> int:
        """Return the number of parameters."""
        return sum(int(np.prod(v.shape)) for v in self.variables)

    def _row_norm(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = cross_entropy_loss(y, self.model(x, training=False))
        gradients = tape.gradient(loss, self.variables)
        return tf.sqrt(tf.add_n([_square(g) for g in gradients]))

    def _jacobian(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = cross_entropy_loss(y, self.model(x, training=False))
        gradients = tape.jacobian(losses, self.variables)
        squares = [
            tf.reduce_sum(tf.reshape(g, [tf.shape(g)[0], -1]) ** 2, axis=1) for g in gradients
        ]
        return tf.sqrt(tf.add_n(squares))

    def _vectorized(self, x: Any, y: Any) -> Any:
        def one(row: Any) -> Any:
            return self._row_norm(*map_leaves(lambda t: t[None], row))

        return tf.vectorized_map(one, (x, y), fallback_to_while_loop=False)


def _copy(case: Case, model: keras.Model) -> keras.Model:
    copy = case.build()
    copy.set_weights(model.get_weights())
    return copy


def _frozen_copy(case: Case, model: keras.Model) -> keras.Model:
    copy = _copy(case, model)
    for layer in [layer for layer in copy.layers if layer.weights][:-1]:
        layer.trainable = False
    return copy


def _mean_loss(y: Any, prediction: Any) -> Any:
    return tf.reduce_mean(cross_entropy_loss(y, prediction))


def _gradient_step(model: keras.Model) -> Callable[..., list]:
    variables = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> list:
        with tf.GradientTape() as tape:
            loss = _mean_loss(y, model(x, training=False))
        return tape.gradient(loss, variables)

    return step


def _square(gradient: Any) -> Any:
    """Return ``||g||^2``; look-ups of one id are added up first, without writing the table out."""
    if not isinstance(gradient, tf.IndexedSlices):
        return tf.reduce_sum(gradient**2)
    values = tf.reshape(gradient.values, [-1, gradient.values.shape[-1]])
    ids = tf.reshape(gradient.indices, [-1])
    same = tf.cast(ids[:, None] == ids[None, :], values.dtype)
    return tf.reduce_sum(same * tf.matmul(values, values, transpose_b=True))


def ways_of(subject: Subject, name: str, batch: int) -> tuple[dict[str, Way], dict[str, str]]:
    """Return the ways for one batch, and why the others are left out."""
    x, y = map_leaves(tf.constant, subject.case.rows(batch))
    engine, direction = subject.engine, subject.direction
    # A row of a large table is so slow in the naive loop that a few tell its price.
    few = min(batch, 8 if subject.size < 5e7 else 2)
    some = [(take_rows(x, slice(i, i + 1)), take_rows(y, slice(i, i + 1))) for i in range(few)]
    few_x, few_y = take_rows(x, slice(0, few)), take_rows(y, slice(0, few))
    ways = {
        _STEP: Way(lambda: subject.step(x, y)),
        "train_on_batch": Way(lambda: subject.trained.train_on_batch(x, y)),
        "norms": Way(lambda: engine.norms(x, y)),
        "dots": Way(lambda: engine.dots(x, y, direction)),
        "last layer": Way(lambda: subject.last.norms(x, y)),
        "jacobian": Way(lambda: subject.jacobian(x, y).numpy(), slow=True),
        "vectorized_map": Way(lambda: subject.vectorized(x, y).numpy(), slow=True),
        "naive, eager": Way(
            lambda: naive_norms(subject.model, cross_entropy_loss, few_x, few_y),
            few / batch, slow=True,
        ),
        "naive, compiled": Way(
            lambda: np.array([float(subject.row_norm(*row)) for row in some]),
            few / batch, slow=True,
        ),
    }  # fmt: skip
    left_out = dict(_left_out(subject, name, batch))
    return {k: way for k, way in ways.items() if k not in left_out}, left_out


def _left_out(subject: Subject, name: str, batch: int) -> Iterator[tuple[str, str]]:
    """Yield the ways that cannot run here, each with the reason."""
    if batch > _SMALL_BATCH:
        yield "jacobian", f"for batches up to {_SMALL_BATCH} only"
    elif (needed := 4.0 * batch * subject.size) > _MOST_BYTES:
        yield "jacobian", f"it would fill {needed / 1e9:.0f} GB"
    if name == "M4":
        yield "vectorized_map", "TensorFlow 2.21 crashes the process on attention"


def check(subject: Subject, ways: dict[str, Way], batch: int) -> dict[str, str]:
    """Compare the exact ways with the naive loop; return why some cannot run.

    Raises:
        ValueError: a way gives other numbers.
    """
    x, y = subject.case.rows(batch)
    rows = range(_CHECKED_ROWS)
    gradients = [naive_gradients(subject.model, cross_entropy_loss, x, y, i) for i in rows]
    wanted = np.array([np.sqrt(sum(np.vdot(g, g) for g in one)) for one in gradients])
    along = np.array([sum(np.sum(g) for g in one) for one in gradients])  # the direction is ones
    failed = {}
    for name in ("norms", "dots", "jacobian", "vectorized_map", "naive, eager", "naive, compiled"):
        if name not in ways:
            continue
        want = along if name == "dots" else wanted
        try:
            found = ways[name].call()[:_CHECKED_ROWS]
        except (tf.errors.OpError, ValueError, NotImplementedError) as error:
            if name != "vectorized_map":
                raise
            failed[name] = f"it fails: {str(error).strip().splitlines()[0]:.80}"
            continue
        if not np.allclose(found, want, rtol=0, atol=_TOLERANCE * np.abs(wanted).max()):
            raise ValueError(f"{name} gives {found}, the naive loop {want}.")
    return failed


def seconds(way: Way, calls: int) -> tuple[float, float]:
    """Return CPU and wall seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        way.call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / calls / way.share, wall / calls / way.share


def measure(ways: dict[str, Way], rounds: int, most_s: float) -> dict[str, Ratios]:
    """Return what each way takes, in gradient steps of the same round.

    Args:
        ways: what to measure.
        rounds: how many count, if the time allows.
        most_s: seconds after which no further round starts, once a few have counted.
    """
    end = time.monotonic() + most_s
    once = {name: seconds(way, 1)[1] * way.share for name, way in ways.items()}
    calls = {name: max(1, min(200, int(_TURN_S / s))) for name, s in once.items()}
    order, shuffle = list(ways), random.Random(0).shuffle  # noqa: S311 - an order, no secret
    ratios: dict[str, list] = {name: [] for name in ways}
    walls: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        if turn > _LEAST_ROUNDS and time.monotonic() > end:
            break
        shuffle(order)
        takes_part = [n for n in order if turn < _SLOW_ROUNDS or not ways[n].slow]
        taken = {name: seconds(ways[name], calls[name]) for name in takes_part}
        if turn:  # the first round warms up
            for name, spent in taken.items():
                ratios[name].append(np.divide(spent, taken[_STEP]))
                walls[name].append(spent[1])
    found = {}
    for name, rows in ratios.items():
        cpu, wall = np.quantile(rows, [0.25, 0.5, 0.75], axis=0).T
        found[name] = Ratios(cpu, wall, float(np.median(walls[name])))
    return found


def first_call_seconds(case: Case) -> float:
    """Return the seconds of the first ``norms`` of a new model: it traces and certifies."""
    engine = PerSampleGradients(case.build(), cross_entropy_loss)
    x, y = case.rows(256)
    start = time.perf_counter()
    engine.norms(x, y)
    return time.perf_counter() - start


def bench(subject: Subject, name: str, batch: int, rounds: int, most_s: float) -> dict[str, Ratios]:
    """Check, measure and print one model and batch."""
    ways, left_out = ways_of(subject, name, batch)
    left_out |= check(subject, ways, batch)
    ways = {k: way for k, way in ways.items() if k not in left_out}
    if "vectorized_map" in ways:
        steps = seconds(ways["vectorized_map"], 1)[1] / seconds(ways[_STEP], 3)[1]
        if steps > _MOST_STEPS:
            left_out["vectorized_map"] = f"it takes {steps:.0f} steps"
            del ways["vectorized_map"]
    found = measure(ways, rounds, most_s)
    for way, ratios in found.items():
        print(f"{name:<4}{batch:>6}  {way:<16}{ratios.wall_s * 1e3:>11.2f}", end="")
        print(f"{_quartiles(ratios.cpu):>26}{_quartiles(ratios.wall):>26}")
    for way, why in left_out.items():
        print(f"{name:<4}{batch:>6}  {way:<16}  left out: {why}", flush=True)
    return found


def _quartiles(values: np.ndarray) -> str:
    low, middle, high = (f"{v:.2f}" if v < 100 else f"{v:.0f}" for v in values)
    return f"{middle} [{low}, {high}]"


def print_goals(measured: dict, first_calls: dict[str, float]) -> None:
    """Print the project's goals beside what was measured; a shared machine misses some."""
    print("\nGoals, in CPU time of one gradient step (shared machines vary)")
    for model, way, batch, goal in _GOALS:
        if (model, batch) in measured:
            cpu = measured[model, batch][way].cpu[1]
            print(f"{model:<4}{batch:>6}  {way:<16}goal {goal:.2f}   measured {cpu:.2f}")
    for model, spent in first_calls.items():
        print(f"{model:<12}first norms     goal {_FIRST_CALL_GOAL_S:.1f} s  took {spent:.1f} s")


def main() -> None:
    """Measure what was asked for, and print it."""
    options = _options()
    unit = "gradient steps [quartiles]"
    print(f"{'':<4}{'batch':>6}  {'way':<16}{'wall ms':>11}{'CPU':>26}{'wall':>26}  in {unit}")
    measured, first_calls = {}, {}
    for name in options.models:
        subject = Subject(CASES[name])
        first_calls[name] = first_call_seconds(CASES[name])
        print(f"{name}: {CASES[name].told}; {subject.size:,} parameters", flush=True)
        for batch in [b for b in options.batches or _BATCHES[name] if b in _BATCHES[name]]:
            measured[name, batch] = bench(subject, name, batch, options.rounds, options.seconds)
    print_goals(measured, first_calls)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    told = "; ".join(f"{name} {case.told}" for name, case in CASES.items())
    parser.add_argument("--models", nargs="+", choices=CASES, default=[*CASES], help=told)
    every = sorted({batch for batches in _BATCHES.values() for batch in batches})
    parser.add_argument("--batches", nargs="+", type=int, choices=every, help="default: all")
    parser.add_argument("--rounds", type=int, default=20, help="that count; default: 20")
    parser.add_argument("--seconds", type=float, default=6.0, help="of one batch; default: 6")
    return parser.parse_args()


if __name__ == "__main__":
    main()
