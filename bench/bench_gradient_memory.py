"""What per-sample gradient norms cost in memory, and how fast they stream from Parquet files.

Each figure comes from a fresh process. First: by how much the peak of resident memory grows
when one gradient step runs for the first time, and when ``norms`` does, on a model and a batch
that lie in memory already. Then ``PerSampleGradients.write_norms`` of M2 over a folder of random
rows: seconds, rows a second, and how the peak grows with the number of rows.
``bench_gradient_memory.py 10000000`` streams ten million rows; it needs 3 GB of disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from gradient_models import CASES

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients
from helpers.gradients.batches import map_leaves
from helpers.losses import cross_entropy_loss

_FEWEST_ROWS = 250_000
_ROWS = 1_000_000
_FILE_ROWS = 250_000
_BATCH = 4096
_STEPS = (("M2", 4096), ("M4", 256))
_GOALS = "Goals: memory 1.1 gradient steps; 10M rows in 60 s of two cores, growth 20 MB"


def peak_mb() -> float:
    """Return the largest resident memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [x for x in status.read_text("utf-8").splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) * 1024 / 1e6
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, else kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure_step(name: str, batch: str, way: str) -> dict[str, float]:
    """Return by how many MB the peak grows in the first calls of one way."""
    keras.utils.set_random_seed(0)
    model = CASES[name].build()
    x, y = map_leaves(tf.constant, CASES[name].rows(int(batch)))
    call = gradient_step(model) if way == "step" else PerSampleGradients(model, _loss).norms
    model(map_leaves(lambda t: t[:1], x), training=False)
    before = psutil.Process(os.getpid()).memory_info().rss / 1e6
    for _ in range(3):
        call(x, y)
    return {"mb": peak_mb() - before}


def _loss(y: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
    return cross_entropy_loss(y, prediction)


def gradient_step(model: keras.Model) -> Callable[..., list]:
    """Return the gradient of the batch's mean loss, compiled."""
    variables = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def step(x: tf.Tensor, y: tf.Tensor) -> list:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(_loss(y, model(x, training=False)))
        return tape.gradient(loss, variables)

    return step


def write_rows(folder: str, rows: str) -> dict[str, float]:
    """Write random rows of M2 into a folder of Parquet files, a file at a time."""
    for first in range(0, int(rows), _FILE_ROWS):
        count = min(_FILE_ROWS, int(rows) - first)
        x, y = CASES["M2"].rows(count)
        features = pa.array(x.pop("features").reshape(-1))
        columns = {"features": pa.FixedSizeListArray.from_arrays(features, 50), **x, "label": y}
        # Random numbers do not compress; a dictionary of them would only cost time.
        pq.write_table(
            pa.table(columns), Path(folder) / f"{first:012d}.parquet",
            row_group_size=2**16, use_dictionary=False, compression="none",
        )  # fmt: skip
    return {"rows": int(rows)}


def measure_stream(folder: str) -> dict[str, float]:
    """Return seconds, CPU seconds and peak memory of writing the norms of a folder's rows."""
    keras.utils.set_random_seed(0)
    engine = PerSampleGradients(CASES["M2"].build(), cross_entropy_loss)
    clock, cpu = time.perf_counter(), time.process_time()
    out = engine.write_norms(
        Path(folder) / "out" / "norms.parquet", Path(folder), batch_size=_BATCH, progress=False
    )
    seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
    rows = pq.read_metadata(out).num_rows
    return {"rows": rows, "seconds": seconds, "cpu_s": cpu, "peak_mb": peak_mb()}


_MEASURES = {"step": measure_step, "write": write_rows, "stream": measure_stream}


def in_fresh_process(measure: str, *arguments: str) -> dict[str, float]:
    """Return what one of the measures gives in a process of its own."""
    command = [sys.executable, __file__, measure, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def print_steps() -> None:
    """Print the memory of one batch."""
    print(f"{'':<4}{'batch':>6}{'step, MB':>12}{'norms, MB':>12}{'ratio':>8}")
    for name, batch in _STEPS:
        step, norms = (
            float(np.median([in_fresh_process("step", name, str(batch), way)["mb"]
                             for _ in range(3)]))
            for way in ("step", "norms")
        )  # fmt: skip
        print(f"{name:<4}{batch:>6}{step:>12.0f}{norms:>12.0f}{norms / step:>8.2f}", flush=True)


def print_streams(sizes: list[int]) -> None:
    """Print speed and memory of streaming."""
    print(f"{'rows':>12}{'seconds':>9}{'CPU s':>8}{'rows/s':>10}{'peak MB':>9}{'growth MB':>11}")
    fewest = None
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            in_fresh_process("write", folder, str(rows))
            got = in_fresh_process("stream", folder)
        fewest = fewest or got["peak_mb"]
        if got["rows"] != rows:
            raise RuntimeError(f"{rows:,} rows must be streamed; got {got['rows']:,}.")
        speed, growth = rows / got["seconds"], got["peak_mb"] - fewest
        print(f"{rows:>12,}{got['seconds']:>9.1f}{got['cpu_s']:>8.1f}", end="")
        print(f"{speed:>10,.0f}{got['peak_mb']:>9.0f}{growth:>11.1f}", flush=True)


def main(arguments: list[str]) -> None:
    """Print the tables; or, in a process of its own, measure one figure."""
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return
    if arguments and arguments[0] in _MEASURES:
        print(json.dumps(_MEASURES[arguments[0]](*arguments[1:])))
        return
    print_steps()
    print_streams([_FEWEST_ROWS, *(int(rows) for rows in arguments or [_ROWS])])
    print(_GOALS)


if __name__ == "__main__":
    main(sys.argv[1:])
