"""What per-sample norms cost in other libraries, each beside its own plain gradient step.

Run it with ``make bench-peers``, which makes an environment of its own for the peers. Each peer
is a process that keeps its model and rows; the processes take turns, in an order that is shuffled
in each round, all on the same two cores. In its turn a peer times its gradient step and its norms,
and only their ratio counts, for the frameworks differ in speed. Its norms are first checked
against one gradient a row in its own framework. The first round does not count.

TF-Privacy needs TensorFlow 2.15 with legacy Keras, so it has a second environment, and Python
3.11. M4, the transformer, is not compared: its item table is read in two places, which TF-Privacy
over-estimates; BackPACK has no rule for attention; and it would be another model in the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from gradient_models import CASES  # noqa: E402

ROOT = HERE.parent.parent
_PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
_LEGACY_PYTHON = ROOT / ".venv-peers" / "legacy" / "bin" / "python"
_TOLERANCE = 1e-3  # float32, of the largest norm

#: The name that is printed: which Python runs which worker, and what it is told.
_WORKERS = {
    "this engine": (Path(sys.executable), "worker_engine.py", "ours"),
    "JAX vmap(grad)": (_PEERS_PYTHON, "worker_jax.py", "vmap"),
    "Opacus ghost": (_PEERS_PYTHON, "worker_torch.py", "opacus"),
    "BackPACK": (_PEERS_PYTHON, "worker_torch.py", "backpack"),
    "BackPACK, dense part": (_PEERS_PYTHON, "worker_torch.py", "backpack-frozen"),
    "TF-Privacy": (_LEGACY_PYTHON, "worker_tf_privacy.py", "fast"),
}


class Worker:
    """A peer in a process of its own."""

    def __init__(self, name: str, model: str, file: Path) -> None:
        python, script, peer = _WORKERS[name]
        self.why = "" if python.exists() else "its environment could not be made"
        if not self.why:
            self.process = subprocess.Popen(
                [python, HERE / script, peer, model, file], text=True, env=_environment(),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            self.why = self._first_answer()

    def _first_answer(self) -> str:
        """Return why the worker cannot be measured, or nothing."""
        try:
            said = json.loads(self.process.stdout.readline())
        except json.JSONDecodeError:
            lines = self.process.communicate()[1].strip().splitlines() or ["it says nothing"]
            return f"it fails: {lines[-1]:.120}"
        if "unsupported" in said:
            return said["unsupported"]
        error = said["error"]
        return "" if error <= _TOLERANCE else f"its norms are wrong by {error:.1%} of the largest"

    def ratios(self) -> np.ndarray:
        """Return CPU and wall time of the norms, in the peer's own gradient steps."""
        self.process.stdin.write("round\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        self.step_ms = said["step"][1] * 1e3
        return np.divide(said["norms"], said["step"])

    def stop(self) -> None:
        """End the process."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.communicate()


def _environment() -> dict[str, str]:
    """Return variables that let every framework use two threads, and say nothing."""
    folders = [str(HERE.parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(f for f in folders if f),
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",  # a thread that spins while it waits would cost CPU time
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
    }


def save_rows(model: str, batch: int, file: Path) -> None:
    """Write the rows of a model for all workers."""
    x, y = CASES[model].rows(batch)
    if not isinstance(x, dict):
        x = {"features": x}
    ids = [x[f"id{k}"] for k in range(len(x) - 1)]
    table = np.stack(ids, 1) if ids else np.zeros((batch, 0), np.int32)
    np.savez(file, features=x["features"], ids=table, y=y)


def bench(model: str, batch: int, rounds: int) -> None:
    """Measure all peers in turns on one model and batch, and print them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npz"
        save_rows(model, batch, file)
        workers = {name: Worker(name, model, file) for name in _WORKERS}
        try:
            measured = in_turns({n: w for n, w in workers.items() if not w.why}, rounds)
        finally:
            for worker in workers.values():
                worker.stop()
    for name, worker in workers.items():
        start = f"{model:<4}{batch:>6}  {name:<22}"
        if worker.why:
            print(f"{start}left out: {worker.why}")
            continue
        cpu, wall = np.quantile(measured[name], [0.25, 0.5, 0.75], axis=0).T
        print(f"{start}{worker.step_ms:>10.2f}{_quartiles(cpu):>28}{_quartiles(wall):>28}")
    sys.stdout.flush()


def in_turns(workers: dict[str, Worker], rounds: int) -> dict[str, list[np.ndarray]]:
    """Return the ratios of each worker in each round."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in workers}
    order, shuffle = list(workers), random.Random(0).shuffle  # noqa: S311 - an order, no secret
    for turn in range(rounds + 1):
        shuffle(order)
        for name in order:
            ratios = workers[name].ratios()
            if turn:  # the first round warms up
                found[name].append(ratios)
    return found


def _quartiles(values: Sequence[float]) -> str:
    low, middle, high = values
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=["M1", "M2"], default=["M1", "M2"])
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 256, 1024])
    parser.add_argument("--rounds", type=int, default=15, help="that count; default: 15")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # the workers inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    print(f"{'':<4}{'batch':>6}  {'':<22}{'step ms':>10}{'norms, CPU':>28}{'wall':>28}")
    for model in options.models:
        for batch in options.batches:
            bench(model, batch, options.rounds)
    print("Norms in gradient steps of the same framework: median [quartiles] over the rounds.")
    print("M4 is left out: its item table is read in two places; see --help.")


if __name__ == "__main__":
    main()
