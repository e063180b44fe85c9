"""One plan, trained from every seed and judged on a role; and two of them compared."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from helpers.base.writing import whole_file
from helpers.cache.digests import digest_of
from helpers.evaluation import evaluate, roc_auc
from helpers.evaluation.calibration import base_rate, fit_recalibration, log_loss_from_logits
from helpers.evaluation.intervals import OF_LISTS, NoInterval, paired_difference
from helpers.experiments.study.comparison import Comparison
from helpers.experiments.study.correction import corrected_line
from helpers.losses import sigmoid

__all__ = [
    "CONFIRMED",
    "CORRECTED",
    "QUICK",
    "Arm",
    "arm_of",
    "compare",
    "judge",
    "read_arm",
    "write_arm",
]

#: The metrics that plans are compared by on valid: quick to compute.
QUICK = ("auc", "log_loss", "log_loss_recalibrated", "base_rate")
#: The metrics that the chosen plan is confirmed by on test.
CONFIRMED = ("auc", "user_auc", "ndcg_at_k", "log_loss", "log_loss_recalibrated", "base_rate")
#: The log loss after a line that was fitted with what the plan knows to be wrong taken out.
CORRECTED = "log_loss_corrected"
_RECALIBRATED_ON = {"valid": "attribution", "test": "valid"}


@dataclass(frozen=True)
class Arm:
    """The trainings of one plan, as judged on one role.

    Attributes:
        data: version of the data.
        kind: name of the rung.
        action: the plan.
        role: ``valid`` or ``test``.
        logits: shape ``(seeds, n)``.
        recalibrated: the same after a line fitted on an earlier role.
        corrected: the same after a line for which the earlier role was corrected, as far as the
            plan knows it to be wrong (:func:`corrected_line`); equal to ``recalibrated`` unless
            :data:`CORRECTED` was asked for.
        metrics: one row a seed; columns as of :func:`helpers.evaluation.evaluate`.
    """

    data: str
    kind: str
    action: str
    role: str
    logits: np.ndarray
    recalibrated: np.ndarray
    corrected: np.ndarray
    metrics: pd.DataFrame


def judge(comparison: Comparison, action: str, role: str, *, metrics: Iterable[str] = QUICK) -> Arm:
    """Train one plan from every seed and judge it on a role.

    The recalibration (a line through the logits) is fitted on valid, or, when valid
    itself is judged, on attribution. For :data:`CORRECTED` a plan that knows of wrong labels
    among the train rows corrects for them there, too.

    Args:
        comparison: what is trained on.
        action: a key of :data:`ACTIONS`.
        role: ``valid``, to choose by; ``test``, to confirm by.
        metrics: which ones the arm shall hold.

    Raises:
        ValueError: another role, or no such action.
    """
    if role not in _RECALIBRATED_ON:
        raise ValueError(f"role must be valid or test; got {role!r}.")
    samples, metrics, earlier = comparison.samples, tuple(metrics), _RECALIBRATED_ON[role]
    rows = samples.rows(role)
    inputs, labels = samples.inputs(rows), comparison.judged_labels(role)
    earlier_inputs = samples.inputs(samples.rows(earlier))
    earlier_labels = comparison.judged_labels(earlier)
    logits, recalibrated, corrected, found = [], [], [], []
    with threadpool_limits(1):  # on so small arrays threads would only wait for each other
        for seed in range(comparison.settings.seeds):
            fitted = comparison.fit(action, seed)
            before = fitted.logits(earlier_inputs)
            line = fit_recalibration(earlier_labels, before)
            better = line
            if CORRECTED in metrics:
                better = corrected_line(comparison.world, earlier, action, before)
            logits.append(fitted.logits(inputs))
            recalibrated.append(line.logits(logits[-1]))
            corrected.append(better.logits(logits[-1]))
            if set(metrics) <= {*QUICK, CORRECTED}:
                found.append(_quick(labels, logits[-1], recalibrated[-1]))
            else:
                users, lists = samples.column("user_id", rows), samples.lists(rows)
                judged = evaluate(labels, logits[-1], users=users, lists=lists, recalibration=line)
                found.append(judged)
            found[-1] |= {CORRECTED: log_loss_from_logits(labels, corrected[-1])}
    table = pd.DataFrame(found)[list(metrics)]
    return Arm(
        comparison.data,
        comparison.kind,
        action,
        role,
        logits=np.array(logits),
        recalibrated=np.array(recalibrated),
        corrected=np.array(corrected),
        metrics=table,
    )


def _quick(labels: np.ndarray, logits: np.ndarray, recalibrated: np.ndarray) -> dict[str, float]:
    """Return the metrics of :data:`QUICK`, equal to those of :func:`evaluate`."""
    return {
        "auc": roc_auc(labels, logits),
        "log_loss": log_loss_from_logits(labels, logits),
        "log_loss_recalibrated": log_loss_from_logits(labels, recalibrated),
        "base_rate": base_rate(sigmoid(logits)),
    }


#: Metrics that do not look at the logits as they are.
_JUDGED_BY = {"log_loss_recalibrated": "recalibrated", CORRECTED: "corrected"}


def compare(
    comparison: Comparison, before: Arm, after: Arm, role: str, *, metrics: Iterable[str] = ("auc",)
) -> pd.DataFrame:
    """Return ``after - before`` on a role, one row a metric, with 95% intervals.

    The intervals hold the variance of seeds and of users, paired by seed.

    Args:
        comparison: what both arms were trained on.
        before: the reference, such as ``uniform``.
        after: the other plan.
        role: the one that both were judged on.
        metrics: of those the arms hold.

    Returns:
        ``data, model, action, metric, before, after, difference, low, high``; the last three
        are NaN where too few users have both classes, as where nobody comes twice.

    Raises:
        ValueError: the arms are of another comparison or role, or lack a metric.
    """
    metrics = tuple(metrics)
    for arm in (before, after):
        if (arm.data, arm.kind, arm.role) != (comparison.data, comparison.kind, role):
            raise ValueError(
                f"both arms must be of {comparison.data!r}, {comparison.kind!r}, {role!r}; "
                f"got {arm.data!r}, {arm.kind!r}, {arm.role!r}."
            )
        if lacking := sorted(set(metrics) - set(arm.metrics)):
            raise ValueError(
                f"the arm {arm.action!r} holds no {', '.join(lacking)}; "
                "name the metrics when it is judged."
            )
    samples, rows = comparison.samples, comparison.samples.rows(role)
    labels, users, lists = comparison.judged_labels(role), samples.column("user_id", rows), None
    if set(metrics) & set(OF_LISTS):
        lists = samples.lists(rows)
    found = []
    for metric in metrics:
        used = _JUDGED_BY.get(metric, "logits")
        try:
            interval = paired_difference(
                labels,
                getattr(before, used),
                getattr(after, used),
                users,
                metric=metric,
                lists=lists,
                repeats=comparison.settings.repeats,
            )
            difference = (interval.estimate, interval.low, interval.high)
        except NoInterval:
            difference = (np.nan, np.nan, np.nan)
        found.append(
            {
                "data": comparison.data,
                "model": comparison.kind,
                "action": after.action,
                "metric": metric,
                "before": before.metrics[metric].mean(),
                "after": after.metrics[metric].mean(),
                **dict(zip(("difference", "low", "high"), difference, strict=True)),
            }
        )
    return pd.DataFrame(found)


def write_arm(arm: Arm, path: Path) -> None:
    """Keep an arm in a Parquet file, which appears whole or not at all.

    Args:
        arm: of any role.
        path: of the file; its folder must exist.
    """
    columns = {f"logit_{seed}": values for seed, values in enumerate(arm.logits)}
    columns |= {f"recalibrated_{seed}": values for seed, values in enumerate(arm.recalibrated)}
    columns |= {f"corrected_{seed}": values for seed, values in enumerate(arm.corrected)}
    table = pd.DataFrame(columns)
    named: dict[Hashable, str] = {n: getattr(arm, n) for n in ("data", "kind", "action", "role")}
    table.attrs = {**named, "metrics": json.dumps(arm.metrics.to_dict("list"))}
    with whole_file(path) as temporary:
        table.to_parquet(temporary)


def read_arm(path: Path) -> Arm:
    """Return the arm that :func:`write_arm` kept, bit for bit."""
    table = pd.read_parquet(path)
    about: dict[str, Any] = {str(name): value for name, value in table.attrs.items()}
    metrics = pd.DataFrame(json.loads(about.pop("metrics")))
    logits, recalibrated, corrected = np.split(table.to_numpy().T.copy(), 3)
    return Arm(
        **about, logits=logits, recalibrated=recalibrated, corrected=corrected, metrics=metrics
    )


def arm_of(
    comparison: Comparison,
    action: str,
    role: str,
    folder: Path | None,
    *,
    metrics: Iterable[str] = QUICK,
) -> Arm:
    """Return an arm as judged on a role, from the folder where it is kept there.

    Args:
        comparison: what is trained on.
        action: a plan of the comparison.
        role: ``valid`` or ``test``.
        folder: keeps arms; None keeps none.
        metrics: which ones the arm shall hold.
    """
    if folder is None:
        return judge(comparison, action, role, metrics=metrics)
    metrics = tuple(metrics)
    name = f"{comparison.data}-{comparison.kind}-{action}-{role}".replace(" ", "_").replace("%", "")
    made_of = digest_of(
        comparison.made_of, metrics
    )  # in the name: nothing else is ever taken for it
    path = folder / f"{name.replace(',', '')}-{made_of[:12]}.parquet"
    if not path.exists():
        write_arm(judge(comparison, action, role, metrics=metrics), path)
    return read_arm(path)  # also what was just written: the first run returns what the next does
