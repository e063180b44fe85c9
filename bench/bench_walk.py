"""What the walk costs: seconds, processor seconds and memory of each of its notebooks.

Run it with ``python bench/bench_walk.py``. Each notebook runs alone in a process of its
own, first in the order of the walk from an empty cache, then again from the warm one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.commands.run_request import WALK

MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss: bytes, or kilobytes


def run_notebook(name: str, source: str, folder: Path) -> tuple[float, float, float]:
    """Return seconds, processor seconds and the largest process's megabytes."""
    command = [sys.executable, "-m", "helpers", "run", name, "--source", source]
    command += ["--out", str(folder / "runs"), "--no-report"]
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        env={**os.environ, "WORKBOOK_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # with all that it started and waited for
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name} failed:\n{said}")
    spent = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - began, spent, usage.ru_maxrss / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", choices=["journey", "sample"], default="journey")
    options, _ = parser.parse_known_args()  # `make bench` gives its ARGS to every script
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("empty cache", "warm cache"):
            print(f"{f'walk on {options.source}, {cache}':<36}{'s':>8}{'CPU s':>8}{'MB':>8}")
            total = 0.0
            for name in WALK:
                seconds, spent, memory = run_notebook(name, options.source, Path(folder))
                total += seconds
                print(f"  {name:<34}{seconds:>8.1f}{spent:>8.1f}{memory:>8.0f}", flush=True)
            print(f"  {'together':<34}{total:>8.1f}")


if __name__ == "__main__":
    main()
