"""What it costs to look at folders that are wide or of many files: check, init and the reading.

Each figure is the CPU time of a fresh process, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ROWS = 300
_MAPPED = """\
user_behavior:
  file: {file}
  columns: {{user_id: user_id, item_id: item_id, event_time: event_time, event_type: event_type}}
"""
_COMMANDS = {
    "check": "main(['check', '--path', {folder!r}])",
    "init": "main(['init', '--path', {folder!r}, '--out', {folder!r} + '/draft.yaml'])",
}
_MEASURE = """
import contextlib, io, json, resource, sys
from helpers.__main__ import main
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    code = {call}
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
seconds = sum(one.ru_utime + one.ru_stime for one in used)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps({{"seconds": seconds, "peak_mb": peak, "code": code, "said": said.getvalue()}}))
"""


def log_table(columns: int, *, rows: int = ROWS, prefix: str = "extra") -> pa.Table:
    """Return a log that samples can be made of, with so many columns in all."""
    rng = np.random.default_rng(0)
    shown = rows // 2
    users, items = rng.integers(0, 12, shown), rng.integers(0, 15, shown)
    times = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 40, shown)), "D")
    own = {
        "user_id": [f"u{n}" for n in users] * 2,
        "item_id": [f"i{n}" for n in items] * 2,
        "event_time": [f"{t:%Y-%m-%d} 10:00:00" for t in times]
        + [f"{t:%Y-%m-%d} 10:0{n % 9 + 1}:00" for n, t in enumerate(times)],
        "event_type": ["impression"] * shown + rng.choice(["click", "cart"], shown).tolist(),
    }
    kinds = [
        pa.array(rng.integers(0, 100, 2 * shown).astype(str)),
        pa.array(rng.choice(["red", "green", "blue", ""], 2 * shown)),
        pa.array(rng.random(2 * shown).round(3).astype(str)),
    ]
    own = {name: pa.array(values) for name, values in own.items()}
    own |= {f"{prefix}{n}": kinds[n % len(kinds)] for n in range(columns - len(own))}
    keep = np.ones(2 * shown, dtype=bool)
    keep[shown:] = rng.random(shown) < 0.4  # not all that was shown was taken
    return pa.table(own).filter(pa.array(keep))


def write_folder(folder: Path, columns: int, *, kind: str, mapped: bool = False) -> None:
    """Write a folder with a log, its products and its users."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"user_behavior.{kind}"
    write = pa.csv.write_csv if kind == "csv" else pa.parquet.write_table
    write(log_table(columns), file)
    items = pa.table({"item_id": [f"i{n}" for n in range(15)], "title": ["tea"] * 15})
    write(items, folder / f"product_features.{kind}")
    if mapped:
        (folder / "schema.yaml").write_text(_MAPPED.format(file=file.name), encoding="utf-8")


def measure(command: str, folder: Path) -> dict[str, object]:
    """Return CPU seconds, peak memory in MB, exit code and output of a command."""
    code = _MEASURE.format(call=_COMMANDS[command].format(folder=str(folder)))
    with tempfile.TemporaryDirectory() as cache:
        output = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "WORKBOOK_CACHE": cache},
        ).stdout
    return json.loads(output)


def main() -> None:
    """Print one line a folder and a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("columns", nargs="*", type=int, default=[10, 1_000, 5_000, 10_000, 100_000])
    columns = parser.parse_args().columns
    print(f"{'columns':>8} {'kind':<16}{'command':<9}{'CPU s':>8}{'peak MB':>9}{'exit':>6}")
    for count in columns:
        for kind, mapped in (("csv", False), ("parquet", False), ("csv", True)):
            with tempfile.TemporaryDirectory() as folder:
                write_folder(Path(folder), count, kind=kind, mapped=mapped)
                for command in ("check",) if mapped else _COMMANDS:
                    got = measure(command, Path(folder))
                    what = kind + (", 4 are mapped" if mapped else "")
                    print(
                        f"{count:8,} {what:<19}{command:<6}{got['seconds']:8.1f}"
                        f"{got['peak_mb']:9.0f}{got['code']:6}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
