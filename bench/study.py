"""The evidence at full size: which score finds wrong labels, what acting on it does, what to keep.

``make study`` runs four parts on one source (``ARGS="--source sample"`` for the bundled log):

- ``detect``: noise of every kind is planted several times; how well does each score find it?
- ``act``: fifteen actions, data as they are and with flipped labels, compared on valid;
- ``recommend``: the recommended action under each noise, beside the oracle, judged on test;
- ``keep``: ever smaller parts of the rows, picked in ten ways, compared on valid; the taught
  ones also on test.

Finished pieces are kept in ``runs/study``: a study that was stopped goes on where it was. Tables
go to ``bench/results/<source>/``, what they were made with to ``study.json`` beside them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd

from helpers.backend import numeric_settings
from helpers.base.errors import DataError
from helpers.base.paths import REPO
from helpers.base.writing import whole_file, write_atomically
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.experiments.detection import Budget, detect, make_trainer, make_world
from helpers.experiments.study import (
    WAYS,
    Comparison,
    Settings,
    Treatment,
    act_as_recommended,
    keep_curve,
    run_study,
)
from helpers.models import LADDER
from helpers.notebooks.record import versions
from helpers.samples import Samples, load_samples
from helpers.samples.noise import Noise

#: What is planted where scores are judged, and where the recommended action is.
DETECTED = {
    "flip": (0.05, 0.2, 0.4),
    "misclick": (0.03, 0.1),
    "popular misclick": (0.1,),
    "lost positive": (0.2,),
    "bot": (0.03,),
    "duplicate": (0.1,),
}
ACTED = {
    "flip": (0.1, 0.2, 0.4),
    "misclick": (0.1,),
    "popular misclick": (0.1,),
    "lost positive": (0.2,),
    "bot": (0.03,),
    "duplicate": (0.1,),
}
#: Where attribution rows are tried clean and noisy.
WITH_GOALS = {("flip", 0.2), ("misclick", 0.1)}
#: More rows make detection slower, and no clearer.
MOST_DETECTED = 35_000
IN_RUN = 100  # first updates that in-run Shapley follows
TAUGHT = tuple(name for name, way in WAYS.items() if way.treatment == Treatment.TAUGHT)
KINDS = ("logistic", "mlp")
PARTS = ("detect", "act", "recommend", "keep")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make study", description="Judge scores, actions and subsets at full size."
    )
    parser.add_argument("--source", choices=["journey", "sample", "csv"], default="journey")
    parser.add_argument("--path", default="", help="folder of the tables, for --source csv")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rows", type=int, help="train rows (default: all)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each plan (5)")
    parser.add_argument("--worlds", type=int, default=5, help="plantings of each noise (5)")
    parser.add_argument("--updates", type=int, help="gradient steps (default: two passes)")
    parser.add_argument("--batch-size", type=int, default=512, help="rows of each step (512)")
    parser.add_argument("--repeats", type=int, default=1000, help="draws of each interval (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the rows, noise and scores (0)")
    parser.add_argument("--kinds", nargs="+", choices=LADDER, default=list(KINDS))
    parser.add_argument("--kept", type=Path, default=REPO / "runs" / "study")
    parser.add_argument("--out", type=Path, default=REPO / "bench" / "results")
    options = parser.parse_args(arguments)
    for name in ("rows", "seeds", "worlds", "updates", "batch_size", "repeats"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {value}")
    return options


def settings_of(options: argparse.Namespace, samples: Samples) -> Settings:
    everything = len(samples.rows("train"))
    rows = min(options.rows or everything, everything)
    return Settings(
        rows=rows,
        updates=options.updates or max(1, round(2 * rows / options.batch_size)),
        batch_size=options.batch_size,
        seeds=options.seeds,
        repeats=options.repeats,
        seed=options.seed,
    )


def folder_of(kept: Path, samples: Samples, settings: Settings) -> Path:
    """Return the folder of finished pieces, one for each data set, size and state of the code."""
    # An interval's repeats change no training.
    sizes = {name: value for name, value in asdict(settings).items() if name != "repeats"}
    key = [samples.fingerprint, sizes, code_of("helpers.experiments.study"), versions()]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = kept / f"{samples.source}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def part_detect(
    samples: Samples, settings: Settings, options: argparse.Namespace, folder: Path
) -> pd.DataFrame:
    """Return how well each score finds each noise, with each rung."""
    found, made_by = [], [code_of(Path(__file__)), numeric_settings()]
    for kind in options.kinds:
        budget = Budget(
            kind, settings.updates, settings.batch_size, seed=settings.seed + 100, in_run=IN_RUN
        )
        rows = min(settings.rows, MOST_DETECTED)
        trainer = make_trainer(make_world(samples, None, rows=rows, seed=settings.seed), budget)
        for noise in _noises(DETECTED):
            judged = partial(
                detect,
                samples,
                noise,
                budget,
                rows=rows,
                worlds=options.worlds,
                seed=settings.seed,
                goals=("clean", "noisy") if (noise.kind, noise.rate) in WITH_GOALS else (),
                repeats=min(settings.repeats, 300),
                trainer=trainer,
                progress=True,
            )
            name = f"detect-{noise.name}-{kind}".replace(" ", "_").replace("%", "")
            made_of = digest_of(judged.keywords["goals"], noise, budget, rows, asdict(settings),
                                options.worlds, LADDER[kind], samples, made_by)  # fmt: skip
            table = _kept(folder / f"{name}-{made_of[:12]}.parquet", judged)
            found.append(table.assign(model=kind))
    return pd.concat(found, ignore_index=True)


def part_act(
    samples: Samples, settings: Settings, options: argparse.Namespace, folder: Path
) -> pd.DataFrame:
    """Return fifteen actions against the uniform plan, on valid."""
    return run_study(samples, settings, kinds=options.kinds, folder=folder, progress=True)[0]


def part_recommend(
    samples: Samples, settings: Settings, options: argparse.Namespace, folder: Path
) -> pd.DataFrame:
    """Return the recommended action beside the oracle, on test."""
    return act_as_recommended(
        samples,
        settings,
        [None, *_noises(ACTED)],
        kinds=options.kinds,
        folder=folder,
        progress=True,
    )


def part_keep(
    samples: Samples, settings: Settings, options: argparse.Namespace, folder: Path
) -> pd.DataFrame:
    """Return the curves on valid, and those of the taught parts on test."""
    bench = Comparison.make(samples, "mlp", settings)
    kept = {"folder": folder, "progress": True}
    on_valid = keep_curve(bench, **kept).assign(role="valid")
    on_test = keep_curve(bench, role="test", ways=TAUGHT, **kept).assign(role="test")
    return pd.concat([on_valid, on_test], ignore_index=True)


def _noises(rates: dict[str, tuple[float, ...]]) -> list[Noise]:
    return [Noise(kind, rate) for kind, each in rates.items() for rate in each]


def _kept(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    if not path.exists():
        with whole_file(path) as temporary:
            make().to_parquet(temporary)
    return pd.read_parquet(path)


def write_about(
    out: Path,
    part: str,
    samples: Samples,
    settings: Settings,
    options: argparse.Namespace,
    seconds: float,
) -> None:
    """Write what a table was made with into ``study.json`` beside it."""
    file = out / "study.json"
    about = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    about[part] = {
        "command": command(options, part),
        "fingerprint": samples.fingerprint,
        "settings": asdict(settings),
        "kinds": options.kinds if part != "keep" else ["mlp"],
        "worlds": options.worlds if part == "detect" else None,
        "training_seeds": list(range(settings.seeds)),
        "judged_on": {"detect": "train", "act": "valid", "recommend": "test"}.get(
            part, "valid; the taught parts on test as well"
        ),
        "seconds_of_the_last_call": round(seconds, 1),
        "versions": versions(),
    }
    write_atomically(file, json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def command(options: argparse.Namespace, part: str) -> str:
    """Return the command that makes a part's table again, without what is default."""
    given = {"--source": options.source, "--parts": part}
    for name in ("rows", "updates"):
        if getattr(options, name):
            given[f"--{name}"] = getattr(options, name)
    for name, usual in (("seeds", 5), ("worlds", 5), ("batch_size", 512), ("seed", 0)):
        if getattr(options, name) != usual:
            given[f"--{name.replace('_', '-')}"] = getattr(options, name)
    if part != "keep" and options.kinds != list(KINDS):
        given["--kinds"] = " ".join(options.kinds)
    text = " ".join(f"{name} {value}" for name, value in given.items())
    return f'make study ARGS="{text}"'


RUN = {"detect": part_detect, "act": part_act, "recommend": part_recommend, "keep": part_keep}
FILES = {"detect": "detection", "act": "actions", "recommend": "recommended", "keep": "keep"}


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    try:
        samples = load_samples(options.source, path=options.path)
    except DataError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    settings = settings_of(options, samples)
    folder, out = folder_of(options.kept, samples, settings), options.out / samples.source
    out.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        began = time.perf_counter()
        try:
            table = RUN[part](samples, settings, options, folder)
        except KeyboardInterrupt:
            print(
                f"Interrupted in {part}. What is finished is kept; the same command goes on.",
                file=sys.stderr,
            )
            return 130
        text = table.to_csv(index=False, float_format="%.5g")
        write_atomically(out / f"{FILES[part]}.csv", text)
        write_about(out, part, samples, settings, options, time.perf_counter() - began)
        print(f"{part}: {len(table)} rows in {out / FILES[part]}.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
