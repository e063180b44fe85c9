"""A log of many events on this machine: staged, users drawn, samples made; seconds and peak memory.

The log is written as CSV into a temporary folder first: impressions, clicks and purchases of
many users, with what a real log has (ids as text, times with a zone, prices, a store). The
default is 2 million events; ``python bench/bench_scale.py 50000000`` takes 3 GB of disk for the
file, as much again for the workbook's copy, and some minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

_LOG = """
COPY (
    SELECT 'u' || (u * u // {users}) AS user_id, 'p' || (p * p // 20000) AS item_id,
        strftime(TIMESTAMP '2024-01-01' + INTERVAL (s) SECOND, '%Y-%m-%d %H:%M:%S') || 'Z'
            AS event_time,
        CASE WHEN r < 92 THEN 'impression' WHEN r < 98 THEN 'click' ELSE 'purchase' END
            AS event_type,
        'l' || (i // 10) AS list_id, round(5 + (p % 997) / 7, 2) AS price, 's' || u % 50 AS store_id
    FROM (
        SELECT i, r, (i // 10) * 7919 % {users} AS u,
            (i - (r >= 92)::BIGINT) * 104729 % 20000 AS p,  -- a success is about the row before
            (i // 10) * 10 * (7776000.0 / {events}) + i % 10 AS s
        FROM (SELECT i, hash(i) % 100 AS r FROM range({events}) AS log(i))
    )
) TO '{folder}/user_behavior.csv' (HEADER)
"""
_ITEMS = """
COPY (SELECT 'p' || i AS item_id, 'c' || i % 20 AS category FROM range(20000) AS items(i))
TO '{folder}/product_features.csv' (HEADER)
"""

_MEASURE = """
import json, sys, time
from helpers.samples import load_samples
from helpers.data.sources import stage_source
folder, clock, steps = sys.argv[1], time.perf_counter(), {}

def step(name):
    global clock
    try:
        status = open("/proc/self/status").read()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    except OSError:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
    steps[name] = [time.perf_counter() - clock, peak]
    clock = time.perf_counter()

staged, _ = stage_source("csv", path=folder, progress=False)
step("read, cleaned, put down")
samples = load_samples("csv", path=folder)
step("users drawn, samples made")
load_samples("csv", path=folder)
step("samples from the cache")
print(json.dumps({"events": staged.facts["tables"]["user_behavior"]["kept"],
                  "samples": len(samples), "notes": samples.notes, "steps": steps}))
"""


def main(events: int) -> None:
    """Write the log, measure in a fresh process, and print a line a step."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        facts = {"folder": folder, "events": events, "users": max(events // 50, 1000)}
        connection.execute("SET memory_limit = '2GB'")
        connection.execute(_LOG.format(**facts))
        connection.execute(_ITEMS.format(**facts))
        size = (Path(folder) / "user_behavior.csv").stat().st_size / 2**30
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, folder],
            env={**os.environ, "WORKBOOK_CACHE": f"{folder}/cache"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    got = json.loads(done.stdout)
    print(f"{got['events']:,} events ({size:.1f} GB of CSV), {got['samples']:,} samples")
    for name, (seconds, peak) in got["steps"].items():
        print(f"  {name:<28}{seconds:8.1f} s   peak so far {peak:5.2f} GB")
    print("  " + " ".join(got["notes"]))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
