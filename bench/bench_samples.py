"""What it costs to make the samples of each source, and to read them from the cache.

Each figure comes from a fresh process, with a cache of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

_MEASURE = """
import json, resource, sys, time
from helpers.samples import load_samples
cpu, clock = time.process_time(), time.perf_counter()
samples = load_samples({source!r})
used = resource.getrusage(resource.RUSAGE_SELF)
unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, else kilobytes
print(json.dumps({{
    "cpu_s": time.process_time() - cpu,
    "seconds": time.perf_counter() - clock,
    "peak_gb": used.ru_maxrss * unit / 1e9,
    "rows": len(samples),
}}))
"""


def measure(source: str, cache: str) -> dict[str, float]:
    """Return CPU seconds, seconds, peak memory in GB and rows of one call in a fresh process."""
    output = subprocess.run(
        [sys.executable, "-c", _MEASURE.format(source=source)],
        env={**os.environ, "WORKBOOK_CACHE": cache},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return json.loads(output)


def main() -> None:
    """Print one line a source and a state of the cache."""
    print(f"{'samples':<22}{'CPU s':>8}{'seconds':>9}{'peak GB':>9}{'rows':>10}")
    for source in ("sample", "journey"):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("made", "from cache"):
                got = measure(source, cache)
                print(
                    f"{source + ', ' + state:<22}{got['cpu_s']:8.1f}{got['seconds']:9.2f}"
                    f"{got['peak_gb']:9.2f}{got['rows']:10,}"
                )


if __name__ == "__main__":
    main()
