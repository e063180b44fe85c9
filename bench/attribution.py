"""Do scores foretell what retraining gives? ``helpers.experiments.retraining`` at full size.

``make attribution`` runs it, with ``ARGS="--subsets 50"`` for other sizes. Each finished half is
kept in ``runs/attribution``: what was stopped goes on where it was. The table goes to
``bench/results/attribution.csv``, what it was made with to ``attribution.json`` beside it. At full
size it took 3 minutes of processor time; ``--rows 600 --goals 150 --subsets 40 --seeds 2
--score-seeds 2 --updates 120 --stride 20 --single-rows 300 --repeats 200`` took half a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.base.writing import write_atomically
from helpers.cache import code_of
from helpers.experiments.retraining import AttributionSettings, attribution_table
from helpers.notebooks.record import versions
from helpers.samples import Samples, load_samples

#: Settings that a person may change on the command line, all of them whole numbers.
SIZES = ("rows", "goals", "subsets", "seeds", "score_seeds", "updates", "batch_size", "stride",
         "single_rows", "repeats", "seed")  # fmt: skip
#: What a kept half depends on.
HALVES = ("kind", "rows", "goals", "subsets", "seeds", "updates", "batch_size", "seed")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make attribution", description="Train on random halves and judge scores by them."
    )
    parser.add_argument("--source", choices=["journey", "sample", "csv"], default="sample")
    parser.add_argument("--path", default="", help="folder of the tables, for --source csv")
    parser.add_argument("--kind", choices=["logistic", "mlp"], default="mlp")
    standard = AttributionSettings()
    for name in SIZES:
        value = getattr(standard, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value,
                            help=f"default {value}")  # fmt: skip
    parser.add_argument("--kept", type=Path, default=REPO / "runs" / "attribution")
    parser.add_argument("--out", type=Path, default=REPO / "bench" / "results")
    options = parser.parse_args(arguments)
    for name in SIZES:
        if name != "seed" and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return options


def folder_of(kept: Path, samples: Samples, settings: AttributionSettings) -> Path:
    """Return the halves' folder, one for each data set, size and state of the code."""
    sizes = {name: getattr(settings, name) for name in HALVES}
    code = code_of("helpers.experiments.retraining.halves")
    key = [samples.fingerprint, sizes, code, versions()]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = kept / f"{samples.source}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_results(
    out: Path, table: pd.DataFrame, samples: Samples, settings: AttributionSettings, seconds: float
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    about = {
        "command": "make attribution",
        "source": samples.source,
        "fingerprint": samples.fingerprint,
        "settings": asdict(settings),
        "code": code_of("helpers.experiments.retraining"),
        "judged_on": "attribution rows of users on whom no damping was chosen",
        "seconds_of_the_last_call": round(seconds, 1),
        "versions": versions(),
    }
    text = table.to_csv(index=False, float_format="%.4f")
    write_atomically(out / "attribution.csv", text)
    write_atomically(out / "attribution.json", json.dumps(about, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    options, began = parsed(arguments), time.perf_counter()
    try:
        samples = load_samples(options.source, path=options.path)
    except DataError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    sizes = {name: getattr(options, name) for name in SIZES}
    settings = AttributionSettings(kind=options.kind, **sizes)
    folder = folder_of(options.kept, samples, settings)
    try:
        table = attribution_table(samples, settings, folder=folder, progress=True)
    except KeyboardInterrupt:
        print("Interrupted. The finished halves are kept; the same command goes on.",
              file=sys.stderr)  # fmt: skip
        return 130
    except ValueError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    write_results(options.out, table, samples, settings, time.perf_counter() - began)
    print(table.to_string(index=False, float_format="%.3f", na_rep=""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
