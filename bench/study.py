"""The study of notebook 05 at full size: all train rows, three models, ten seeds.

``make study`` runs it, with ``ARGS="--seeds 20"`` for other sizes. Each finished arm is
kept in ``runs/study``: a study that was stopped goes on where it was. The table goes to
``bench/results/study.csv``, what it was made with to ``study.json`` beside it.
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

from helpers.cache import code_of, write_atomically
from helpers.models import LADDER
from helpers.record import versions
from helpers.samples import Samples, load_samples
from helpers.schema import REPO, DataError
from helpers.study import MADE_BY_STUDY, Settings, run_study


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make study", description="Train every plan from many seeds and compare on valid."
    )
    parser.add_argument("--source", choices=["journey", "sample", "csv"], default="journey")
    parser.add_argument("--path", default="", help="folder of the tables, for --source csv")
    parser.add_argument("--rows", type=int, help="train rows (default: all)")
    parser.add_argument("--seeds", type=int, default=10, help="trainings of each plan (10)")
    parser.add_argument("--updates", type=int, default=2000, help="gradient steps of each (2000)")
    parser.add_argument("--batch-size", type=int, default=512, help="rows of each step (512)")
    parser.add_argument("--repeats", type=int, default=1000, help="draws of each interval (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the rows, flips and scores (0)")
    parser.add_argument("--kinds", nargs="+", choices=LADDER, default=list(LADDER))
    parser.add_argument("--kept", type=Path, default=REPO / "runs" / "study")
    parser.add_argument("--out", type=Path, default=REPO / "bench" / "results")
    options = parser.parse_args(arguments)
    for name in ("rows", "seeds", "updates", "batch_size", "repeats"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {value}")
    return options


def settings_of(options: argparse.Namespace, samples: Samples) -> Settings:
    everything = len(samples.rows("train"))
    return Settings(
        rows=min(options.rows or everything, everything),
        updates=options.updates,
        batch_size=options.batch_size,
        seeds=options.seeds,
        repeats=options.repeats,
        seed=options.seed,
    )


def folder_of(kept: Path, samples: Samples, settings: Settings) -> Path:
    """Return the arms' folder, one for each data set, size and state of the code."""
    # An interval's repeats change no training.
    sizes = {name: value for name, value in asdict(settings).items() if name != "repeats"}
    key = [samples.fingerprint, sizes, code_of(*MADE_BY_STUDY), versions()]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = kept / f"{samples.source}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_results(
    out: Path,
    study: pd.DataFrame,
    chosen: pd.DataFrame,
    samples: Samples,
    settings: Settings,
    seconds: float,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    about = {
        "source": samples.source,
        "fingerprint": samples.fingerprint,
        "settings": asdict(settings),
        "training_seeds": list(range(settings.seeds)),
        "judged_on": "valid",
        "chosen": chosen.to_dict("records"),
        "seconds_of_the_last_call": round(seconds, 1),
        "versions": versions(),
    }
    write_atomically(out / "study.csv", study.to_csv(index=False, float_format="%.6g"))
    write_atomically(out / "study.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def main(arguments: list[str] | None = None) -> int:
    options, began = parsed(arguments), time.perf_counter()
    try:
        samples = load_samples(options.source, path=options.path)
    except DataError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    settings = settings_of(options, samples)
    folder = folder_of(options.kept, samples, settings)
    try:
        study, chosen = run_study(
            samples, settings, kinds=options.kinds, folder=folder, progress=True
        )
    except KeyboardInterrupt:
        print("Interrupted. The finished arms are kept; the same command goes on.", file=sys.stderr)
        return 130
    seconds = time.perf_counter() - began
    write_results(options.out, study, chosen, samples, settings, seconds)
    columns = ["data", "model", "action", "auc", "difference", "low", "high"]
    print(study[columns].to_string(index=False, float_format="%.4f"))
    print("\nChosen on valid:\n" + chosen.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
