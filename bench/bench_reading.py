"""What it costs to read long CSV files in pieces: PyArrow behind checks, and plain pandas.

Each figure comes from a fresh process; the file has 1.5 million rows and 11 columns.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 1_500_000
_READERS = {
    "pandas, in pieces": """
import pandas
def pieces(folder, name):
    return pandas.read_csv(
        folder / name, chunksize=100_000, dtype="str", keep_default_na=False, na_values=[""]
    )
""",
    "stream_files": """
from helpers.data.schema_file import Part
from helpers.data.files import stream_files
def pieces(folder, name):
    return (c.frame for c in stream_files(Part("user_behavior", files=(name,)), folder))
""",
}
_MEASURE = """
import json, pathlib, resource, sys, time
{reader}
clock = time.perf_counter()
rows = sum(len(frame) for frame in pieces(pathlib.Path({folder!r}), {name!r}))
seconds = time.perf_counter() - clock
status = pathlib.Path("/proc/self/status")
if status.exists():  # what getrusage says there is inherited from the process before
    peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
else:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, else kilobytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
print(json.dumps({{"seconds": seconds, "peak_mb": peak, "rows": rows}}))
"""


def write_log(folder: Path) -> dict[str, str]:
    """Write the same log in several ways; return the names of the files by what they are."""
    rng = np.random.default_rng(0)
    number = np.arange(ROWS)
    log = pd.DataFrame(
        {
            "event_id": number,
            "user_id": rng.integers(0, 200_000, ROWS),
            "item_id": rng.integers(0, 50_000, ROWS),
            "event_time": pd.Timestamp("2025-01-01") + pd.to_timedelta(number * 7, unit="s"),
            "event_type": rng.choice(["impression", "click", "cart", "purchase"], ROWS),
            "list_id": rng.integers(0, 400_000, ROWS),
            "position": rng.integers(1, 40, ROWS),
            "store_id": rng.integers(0, 300, ROWS),
            "price": (rng.random(ROWS) * 50).round(2),
            "quantity": np.where(rng.random(ROWS) < 0.5, "", "1"),
            "query": rng.choice(["tea", "red dress", "crème brûlée", "数据线", ""], ROWS),
        }
    )
    log.to_csv(folder / "plain.csv", index=False)
    log.assign(query='say "' + log["query"] + '",\nplease').to_csv(
        folder / "quoted.csv", index=False
    )
    log.to_csv(folder / "packed.csv.gz", index=False, compression={"method": "gzip", "mtime": 1})
    return {
        "plain": "plain.csv",
        "quotes, line breaks": "quoted.csv",
        "packed by gzip": "packed.csv.gz",
    }


def measure(reader: str, folder: str, name: str) -> dict[str, float]:
    """Return seconds, peak memory in MB and rows of one reading in a fresh process."""
    code = _MEASURE.format(reader=_READERS[reader], folder=folder, name=name)
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output)


def main() -> None:
    """Print one line a file and a reader; the best of three tries."""
    print(f"{'file':<22}{'reader':<20}{'seconds':>9}{'ratio':>7}{'peak MB':>9}{'rows':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for what, name in write_log(Path(folder)).items():
            tries = {r: [] for r in _READERS}
            for _ in range(3):
                for reader in _READERS:  # in turns, so that both see the same machine
                    tries[reader].append(measure(reader, folder, name))
            best = {r: min(t, key=lambda one: one["seconds"]) for r, t in tries.items()}
            base = best["pandas, in pieces"]["seconds"]
            for reader, got in best.items():
                print(
                    f"{what:<22}{reader:<20}{got['seconds']:9.2f}{got['seconds'] / base:7.2f}"
                    f"{got['peak_mb']:9.0f}{got['rows']:11,}"
                )


if __name__ == "__main__":
    main()
