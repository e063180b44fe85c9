"""Does acting on importance help? Paired trainings, with and without planted noise.

A study takes some train rows, scores them, turns the scores into plans, and
trains every plan from the same seeds for the same number of updates. Plans are
compared on ``valid``; one is confirmed on ``test``. Planted noise flips labels
of train and valid rows, never of test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers import actions
from helpers.actions import Plan, draw_order
from helpers.calibration import fit_recalibration
from helpers.evaluation import evaluate
from helpers.importance import (
    gradient_norms,
    out_of_fold_errors,
    sample_losses,
)
from helpers.intervals import paired_difference
from helpers.models import LADDER, Fitted, Trainer
from helpers.samples import Samples

__all__ = ["ACTIONS", "Arm", "Bench", "Settings", "compare", "confirm", "run_study"]

#: Action and score, in the order of the tables.
ACTIONS = {
    "uniform": "all rows alike",
    "up-weight by gradient norm": "the article's advice",
    "resample by gradient norm": "the same advice, by drawing",
    "importance sampling": "drawn by gradient norm, weighted by 1/(N p)",
    "down-weight by out-of-fold error": "weight 1 - |p - y|",
    "drop highest gradient norm": "the tenth that pulls hardest",
    "drop highest loss": "the tenth that fits worst",
    "drop highest loss by class": "the same, within each class",
    "drop random": "a tenth drawn evenly",
}


@dataclass(frozen=True)
class Settings:
    """How large a study is.

    Attributes:
        rows: train rows, drawn evenly.
        updates: gradient steps of every training.
        batch_size: rows an update.
        seeds: paired trainings of every plan.
        drop_share: what the dropping plans leave out.
        flip_share: labels flipped where noise is planted.
        seed: of the rows, the flips and the scores.
    """

    rows: int = 30_000
    updates: int = 300
    batch_size: int = 256
    seeds: int = 5
    drop_share: float = 0.1
    flip_share: float = 0.2
    seed: int = 0


@dataclass
class Bench:
    """One model on one version of the data: everything its trainings share.

    Attributes:
        data: ``as is`` or ``20% flipped``.
        kind: name of the rung.
        labels: of the chosen train rows, possibly flipped.
        flipped: which of them were flipped.
        plans: by action.
    """

    data: str
    kind: str
    samples: Samples
    settings: Settings
    rows: np.ndarray
    labels: np.ndarray
    flipped: np.ndarray
    trainer: Trainer
    plans: dict[str, Plan] = field(default_factory=dict)

    @classmethod
    def make(cls, samples: Samples, kind: str, settings: Settings, *, noise: bool) -> Bench:
        """Draw the rows, plant the noise, score the rows and make the plans."""
        rng = np.random.default_rng(settings.seed)
        train = samples.rows("train")
        rows = np.sort(rng.permutation(train)[: settings.rows])
        labels, flipped = _flip(samples.labels(rows), settings.flip_share * noise, settings.seed)
        trainer = Trainer(
            LADDER[kind], samples.inputs(rows), samples.sizes, batch_size=settings.batch_size
        )
        data = f"{settings.flip_share:.0%} flipped" if noise else "as is"
        bench = cls(data, kind, samples, settings, rows, labels, flipped, trainer)
        bench.plans = _plans(bench)
        return bench

    def fit(self, action: str, seed: int) -> Fitted:
        """Train one plan from one seed."""
        plan, s = self.plans[action], self.settings
        rng = np.random.default_rng([s.seed, seed])
        order = draw_order(plan, updates=s.updates, batch_size=s.batch_size, rng=rng)
        return self.trainer.fit(self.labels, seed=seed, order=order, sample_weight=plan.weight)

    def judged_labels(self, role: str) -> np.ndarray:
        """Return the labels of a role: flipped like the train labels, but never on test."""
        labels = self.samples.labels(self.samples.rows(role))
        share = self.settings.flip_share * bool(self.flipped.any()) * (role != "test")
        return _flip(labels, share, self.settings.seed + 1)[0]


def _flip(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Flip each label with the given chance, whatever its class."""
    flipped = np.random.default_rng([seed, 7]).random(len(labels)) < share
    return np.where(flipped, 1 - labels, labels).astype(np.float32), flipped


def _plans(bench: Bench) -> dict[str, Plan]:
    """Score the rows with models of the bench's own rung, and make every plan."""
    s, trainer, labels = bench.settings, bench.trainer, bench.labels
    n = len(labels)
    base = trainer.fit(labels, seed=s.seed + 1000, updates=s.updates)  # a seed of its own
    loss = sample_losses(base, trainer.inputs, labels)
    norm = gradient_norms(base, trainer.inputs, labels)
    users = bench.samples.column("user_id", bench.rows)
    error = out_of_fold_errors(trainer, labels, users, updates=s.updates, seed=s.seed + 1000)
    made = [
        actions.uniform(n),
        actions.up_weight(norm),
        actions.resample(norm),
        actions.importance_sampling(norm),
        actions.soft_down_weight(error),
        actions.drop_highest(norm, s.drop_share),
        actions.drop_highest(loss, s.drop_share),
        actions.drop_stratified(loss, labels, s.drop_share),
        actions.drop_random(n, s.drop_share, seed=s.seed),
    ]
    return dict(zip(ACTIONS, made, strict=True))


@dataclass(frozen=True)
class Arm:
    """The trainings of one plan, as judged on one role.

    Attributes:
        data, kind, action: which bench and plan.
        logits: shape ``(seeds, n)``; recalibrated ones beside them.
        metrics: one row a seed, columns as of :func:`helpers.evaluation.evaluate`.
    """

    data: str
    kind: str
    action: str
    logits: np.ndarray
    recalibrated: np.ndarray
    metrics: pd.DataFrame


def judge(bench: Bench, action: str, role: str) -> Arm:
    """Train one plan from every seed and judge it on a role.

    The recalibration (a line through the logits) is fitted on valid, or, when valid
    itself is judged, on attribution.
    """
    samples, rows = bench.samples, bench.samples.rows(role)
    fit_role = "valid" if role == "test" else "attribution"
    held_rows, held_labels = samples.rows(fit_role), bench.judged_labels(fit_role)
    labels = bench.judged_labels(role)
    logits, recalibrated, metrics = [], [], []
    for seed in range(bench.settings.seeds):
        fitted = bench.fit(action, seed)
        z = fitted.logits(samples.inputs(rows))
        line = fit_recalibration(held_labels, fitted.logits(samples.inputs(held_rows)))
        users, lists = samples.column("user_id", rows), samples.lists(rows)
        metrics.append(evaluate(labels, z, users=users, lists=lists, recalibration=line))
        logits.append(z)
        recalibrated.append(line.logits(z))
    return Arm(
        bench.data,
        bench.kind,
        action,
        np.array(logits),
        np.array(recalibrated),
        pd.DataFrame(metrics),
    )


def compare(
    bench: Bench, before: Arm, after: Arm, role: str, *, metrics: Iterable[str] = ("auc",)
) -> pd.DataFrame:
    """Return ``after - before`` on a role, one row a metric, with 95% intervals.

    The intervals hold the variance of seeds and of users, paired by seed.
    """
    samples, rows = bench.samples, bench.samples.rows(role)
    labels, users, lists = bench.judged_labels(role), samples.column("user_id", rows), None
    found = []
    for metric in metrics:
        used = "recalibrated" if metric == "log_loss_recalibrated" else "logits"
        lists = samples.lists(rows) if metric.endswith("_at_k") else None
        interval = paired_difference(
            labels,
            getattr(before, used),
            getattr(after, used),
            users,
            metric=metric,
            lists=lists,
            repeats=300,
        )
        found.append(
            {
                "data": bench.data,
                "model": bench.kind,
                "action": after.action,
                "metric": metric,
                "before": before.metrics[metric].mean(),
                "after": after.metrics[metric].mean(),
                "difference": interval.estimate,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(found)


def run_study(
    samples: Samples,
    settings: Settings,
    *,
    kinds: Iterable[str] = ("linear", "mlp"),
    progress: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train every plan of every bench and compare each with the uniform plan on valid.

    Args:
        samples: of any source.
        settings: rows, updates, seeds.
        kinds: rungs of the ladder.
        progress: show a bar.

    Returns:
        ``(study, chosen)``. Study: one row a data version, model and action, with
        ``auc, difference, low, high`` on valid and the other metrics' means.
        Chosen: for each data version and model the action with the highest mean
        AUC on valid, ``uniform`` included.
    """
    tables = []
    benches = [(noise, kind) for noise in (False, True) for kind in kinds]
    total = len(benches) * len(ACTIONS)
    with tqdm(total=total, desc="study", leave=False, disable=not progress) as bar:
        for noise, kind in benches:
            bench = Bench.make(samples, kind, settings, noise=noise)
            before = None
            for action in ACTIONS:
                arm = judge(bench, action, "valid")
                before = before or arm
                row = compare(bench, before, arm, "valid").iloc[0].to_dict()
                row["auc"] = row.pop("after")
                means = arm.metrics.mean().drop("auc").to_dict()
                tables.append({**row, **means})
                bar.update()
    study = pd.DataFrame(tables).drop(columns=["metric", "before"])
    best = study.groupby(["data", "model"], sort=False).auc.idxmax()
    return study, study.loc[best, ["data", "model", "action"]].reset_index(drop=True)


def confirm(
    samples: Samples,
    settings: Settings,
    kind: str,
    action: str,
    *,
    noise: bool,
    metrics: Iterable[str] = (
        "auc",
        "user_auc",
        "ndcg_at_k",
        "log_loss",
        "log_loss_recalibrated",
        "base_rate",
    ),
) -> pd.DataFrame:
    """Return before and after of one chosen action on test, one row a metric."""
    bench = Bench.make(samples, kind, settings, noise=noise)
    before, after = judge(bench, "uniform", "test"), judge(bench, action, "test")
    return compare(bench, before, after, "test", metrics=metrics)
