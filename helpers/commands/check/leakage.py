"""Signs of leakage: what should not know the label, and yet seems to.

A leak is a column that was written after the outcome, or because of it. A model that reads
it looks perfect on old data and fails on new. Each sign here is a reason to look, not a proof.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pandas as pd
from scipy.stats import rankdata

from helpers.commands.check.finding import Finding
from helpers.data.files.stored import column_meter
from helpers.data.staging import Staged
from helpers.data.whole_table import name_sql, text_sql
from helpers.samples import Samples
from helpers.schema import Task, canonical_tables

__all__ = ["auc", "leaks", "single_feature_aucs"]

Facts = dict[str, Any]
_ALONE = 0.95  # an AUC that no honest feature has on its own
_HIGH, _APART = 0.9, 0.1  # or so high, and so far above the others
_SURE = 3.0  # standard errors above guessing
_BINS = 20
_PRIOR = 10.0  # rows of the mean label that a name's own mean starts from
_ROWS_OF_ONE = 20  # fewer rows of one user or item say nothing
_CHANCE = 0.05
_KNOWN = 20


def leaks(
    samples: Samples,
    staged: Staged,
    connection: duckdb.DuckDBPyConnection,
    task: Task,
    *,
    progress: bool = False,
) -> tuple[Facts, list[Finding]]:
    """Return what knows the label too well.

    Returns:
        ``aucs`` (a frame as :func:`single_feature_aucs` returns it), ``judged`` (valid has rows
        enough), ``known_for_positives`` (columns that are missing for all negatives),
        ``always_positive`` (by ``user_id`` and ``item_id``: how many have only positive
        samples), ``copies_disagree`` (labelled exposures that are equal in all but the label)
        and ``repeated_pairs`` (share of the test samples whose user and item train has too);
        and what to look at.
    """
    aucs = single_feature_aucs(samples, progress=progress)
    valid = samples.labels(samples.rows("valid"))
    flagged, judged = _flagged(aucs, valid)
    attributes = _attributes(samples, staged)
    found = [
        _single(name, value, task, is_attribute=name in attributes)
        for name, value in flagged.items()
    ]
    only = [] if task.negatives else _known_for_positives(samples)
    found += [_missing(name) for name in only]
    always = {} if task.negatives else _always_positive(samples)
    found += [_always(column, many) for column, many in always.items() if many]
    disagree = _copies_disagree(staged, connection, task)
    if disagree:
        text = (
            f"{disagree:,} exposures are copies of each other in every column, but their labels "
            "differ. Keep one of each, or add the column that tells them apart."
        )
        found.append(Finding("leakage", "copies whose labels differ", text))
    facts = {
        "aucs": aucs,
        "judged": judged,
        "known_for_positives": only,
        "always_positive": always,
        "copies_disagree": disagree,
        "repeated_pairs": _repeated_pairs(samples),
    }
    return facts, found


def auc(labels: np.ndarray, values: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half; NaN with one class only.

    Example:
        >>> auc(np.array([0, 1, 1]), np.array([1.0, 1.0, 2.0]))
        0.75
    """
    positive = np.asarray(labels) == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    ranks = rankdata(values)
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def single_feature_aucs(samples: Samples, *, progress: bool = False) -> pd.DataFrame:
    """Return how well each raw feature alone orders the valid samples.

    A number is judged by its value (high or low, whichever is better), and by the mean label
    of its twenty parts in train; a name by its mean label in train. A missing value is a value.

    Returns:
        ``feature, auc`` (from 0.5 to 1), best first.
    """
    train, valid = samples.rows("train"), samples.rows("valid")
    known, asked = samples.labels(train), samples.labels(valid)
    rows = []
    with column_meter(samples.features.shape[1], "features", progress) as bar:
        for name, values in samples.features.items():
            rows.append((name, max(_auc_alone(values, train, valid, known, asked), 0.5)))
            bar.update()
    frame = pd.DataFrame(rows, columns=["feature", "auc"])
    return frame.sort_values("auc", ascending=False, kind="stable", ignore_index=True)


def _auc_alone(
    values: pd.Series, train: np.ndarray, valid: np.ndarray, known: np.ndarray, asked: np.ndarray
) -> float:
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return auc(asked, _means(values.iloc[train], known, values.iloc[valid]))
    number = values.to_numpy(dtype=np.float64, na_value=np.nan)
    fitted, judged = number[train], number[valid]
    by_value = auc(asked, np.where(np.isnan(judged), -np.inf, judged))
    return max(by_value, 1 - by_value, auc(asked, _coded_means(*_parts(fitted, judged), known)))


def _parts(fitted: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of the training values that each value lies in; the last where missing."""
    known = fitted[~np.isnan(fitted)]
    shares = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.unique(np.quantile(known, shares, method="lower")) if len(known) else np.array([])
    # The upper edge belongs to the part below it, so that a frequent value has its own.
    parts = [
        np.where(np.isnan(values), _BINS, np.searchsorted(edges, values, side="left"))
        for values in (fitted, judged)
    ]
    return parts[0], parts[1]


def _means(fitted: pd.Series, labels: np.ndarray, judged: pd.Series) -> np.ndarray:
    """Return the mean training label of each judged value, drawn to the mean of all."""
    codes = pd.factorize(pd.concat([fitted, judged], ignore_index=True))[0]
    return _coded_means(codes[: len(fitted)], codes[len(fitted) :], labels)


def _coded_means(fitted: np.ndarray, judged: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the same of whole numbers; one below zero stands for no value."""
    rate = float(labels.mean())
    named, size = fitted >= 0, int(max(fitted.max(initial=0), judged.max(initial=0))) + 1
    sums = np.bincount(fitted[named], weights=labels[named].astype(np.float64), minlength=size)
    rows = np.bincount(fitted[named], minlength=size)
    means = (sums + _PRIOR * rate) / (rows + _PRIOR)
    return np.where(judged >= 0, means[judged], rate)


def _flagged(aucs: pd.DataFrame, valid: np.ndarray) -> tuple[dict[str, float], bool]:
    """Return the features that are too good, and whether valid has rows enough to say so."""
    ones, zeros = float(valid.sum()), float(len(valid) - valid.sum())
    error = np.sqrt((ones + zeros + 1) / (12 * ones * zeros))  # of the AUC of a guess
    sure = 0.5 + _SURE * error
    honest = aucs.auc[aucs.auc <= _HIGH].max()
    best_other = 0.5 if np.isnan(honest) else honest
    apart = (aucs.auc > _HIGH) & (aucs.auc >= best_other + _APART)
    chosen = aucs[((aucs.auc > _ALONE) | apart) & (aucs.auc > sure)]
    return dict(zip(chosen.feature, chosen.auc, strict=True)), bool(sure <= _ALONE)


def _single(name: str, value: float, task: Task, *, is_attribute: bool) -> Finding:
    stem, _, rest = name.partition("_")
    if stem == "context" or name == "position":
        column = rest if stem == "context" else name
        look = (
            f'Look at the column "{column:.80}" of the log: if it is written after the exposure, '
            "or because of what the user did, leave it out (extra in schema.yaml)."
        )
    elif task.negatives and stem in ("item", "subcategory"):
        look = (
            "The negatives are drawn from all products, so a popular one is easy to tell. State "
            "task.negatives.from: popular, and see whether it stays."
        )
    elif name.startswith(("item_category", "item_subcategory", "item_brand", "item_price")):
        look = "Look at product_features: was this written after the period of the log?"
    elif is_attribute:
        look = "Look at the users table: was this written after the period of the log?"
    else:
        look = (
            "It is counted from events before the cutoff. Are the times of the successes right, "
            "and does each row stand in the log once?"
        )
    text = f"{name:.80} alone tells the label (AUC {value:.3f} on valid). {look}"
    return Finding("leakage", f"{name} tells the label alone", text)


def _attributes(samples: Samples, staged: Staged) -> set[str]:
    """Return the features that are read from the users table, and not counted from the log."""
    features = set(samples.features)
    named = [f"user_{column}" for column in staged.columns("users") if column != "user_id"]
    # Where a counted feature has the name already, the attribute's has a word more.
    longer = {name: f"{name}_attribute" for name in named}
    return {longer[name] if longer[name] in features else name for name in named}


def _known_for_positives(samples: Samples) -> list[str]:
    """Return the columns of the exposures that are missing for all negatives."""
    own = {*canonical_tables()["user_behavior"].columns, "sample_id", "cutoff", "role", "label"}
    read = [c for c in samples.table if c not in own or c in ("query", "position", "price")]
    positive = samples.table["label"].to_numpy() == 1
    found = []
    for name in read:
        known = samples.table[name].notna().to_numpy()
        if not known[~positive].any() and known[positive].sum() >= min(_KNOWN, positive.sum()):
            found.append(name)
    return found


def _missing(name: str) -> Finding:
    text = (
        f'The column "{name:.80}" is empty for every negative sample and known for positive ones, '
        "so that it is there tells the label. Leave it out (extra in schema.yaml), or move it to "
        "the rows of the successes."
    )
    return Finding("leakage", f"{name} is known for positives only", text)


def _always_positive(samples: Samples) -> dict[str, int]:
    """Return how many users and items have positive samples only; 0 where chance explains it."""
    rows = np.concatenate([samples.rows(r) for r in ("train", "attribution", "valid")])
    table = samples.table.iloc[rows]
    rate = float(table["label"].mean())
    found = {}
    for column in ("user_id", "item_id"):
        of_one = table.groupby(column)["label"].agg(["size", "mean"])
        of_one = of_one[of_one["size"] >= _ROWS_OF_ONE]
        always = int((of_one["mean"] == 1).sum())
        by_chance = float((rate ** of_one["size"]).sum())
        found[column] = always if by_chance < _CHANCE * always else 0
    return found


def _always(column: str, many: int) -> Finding:
    who = "users" if column == "user_id" else "items"
    text = (
        f"{many:,} {who} with at least {_ROWS_OF_ONE} samples have positive ones only. Does the "
        "log hold what they were shown and did not take, or are they robots or tests?"
    )
    return Finding("leakage", f"{who} that are always positive", text)


def _copies_disagree(staged: Staged, connection: duckdb.DuckDBPyConnection, task: Task) -> int:
    """Return how many labelled exposures have a copy with the other label."""
    if not staged.facts.get("labelled"):
        return 0
    names = staged.columns("user_behavior")
    rest = ", ".join(name_sql(n) for n in names if n not in ("event_id", "event_type", "day"))
    taken = ", ".join(text_sql(p) for p in task.positive)
    row = connection.execute(
        "SELECT coalesce(sum(shown), 0) FROM (SELECT "
        "count(*) FILTER (event_type = 'impression') AS shown, "
        f"count(*) FILTER (event_type IN ({taken})) AS taken FROM user_behavior GROUP BY {rest}) "
        "WHERE taken > 0 AND taken < shown"
    ).fetchone()
    return int(row[0]) if row else 0


def _repeated_pairs(samples: Samples) -> float:
    pairs = pd.MultiIndex.from_frame(samples.table[["user_id", "item_id"]])
    train, test = pairs[samples.rows("train")], pairs[samples.rows("test")]
    return float(test.isin(train.unique()).mean())
