"""The decision table: for which purpose, under which noise, which score and action, at what gain.

It is put together from measured tables and says nothing that they do not: an action *helps* only
if the whole interval of its gain lies above 0. The words about costs and failures are the only
ones that were not computed; they say how the score or action is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from helpers.base.paths import REPO
from helpers.base.words import percent
from helpers.experiments.ways import ADVISED, SUSPECTS
from helpers.samples.noise import NO_NOISE, RECOMMENDED

__all__ = [
    "HELPS",
    "HURTS",
    "UNDECIDED",
    "as_markdown",
    "decision_table",
    "in_words",
    "recommendation",
    "study_results",
    "study_table",
]

# A row of a table, its columns as attributes: which ones, only the table knows.
_Row: TypeAlias = Any
_RESULTS = REPO / "bench" / "results"

HELPS, HURTS, UNDECIDED = "helps", "hurts", "no clear difference"

#: What a training run more costs is the unit: "trainings" are of the same size as the model's own.
_COST = {
    "drop": "15 trainings for the out-of-fold predictions",
    "duplicate": "none: a comparison of keys",
    "keep": "15 trainings on all rows for the teacher, then a small one",
}

#: How the recommendation of each kind of noise comes about, and so where it must fail.
_FAILS = {
    "flip": "too much is dropped where no row is a sure negative",
    "misclick": "hard genuine positives look the same and go as well",
    "popular misclick": "it spares unpopular products, the sure negatives: too few seem wrong",
    "lost positive": "how many are lost cannot be seen; a tenth of the negatives is a guess",
    "bot": "bots that say yes as rarely as people do",
    "duplicate": "copies with another time stamp",
    NO_NOISE: "there is nothing to find",
    "keep": "rows must be scored once by a model of all rows: it saves updates, not labels",
}
_CLEAN, _LEAVE = "clean the labels", "leave good data alone"
_CLEANING = (_CLEAN, _LEAVE)
_COLUMNS = (
    *("purpose", "noise", "model", "score", "auroc", "of_ceiling", "action"),
    *("gain", "low", "high", "recovered", "verdict"),
    *("log_loss", "log_loss_low", "log_loss_high", "cost", "fails_when"),
)


def decision_table(
    detection: pd.DataFrame, recommended: pd.DataFrame, keep: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return one row a purpose, noise and model: what to do, and what it is worth.

    Args:
        detection: of :func:`helpers.experiments.detection.detect`, with a column ``model``; rows of
            several kinds of noise below each other.
        recommended: of :func:`helpers.experiments.study.act_as_recommended`.
        keep: of :func:`helpers.experiments.study.keep_curve`, or None.

    Returns:
        ``purpose, noise, model, score, auroc, of_ceiling, action, gain, low, high, recovered,
        verdict, log_loss, log_loss_low, log_loss_high, cost, fails_when``. Gains are differences of
        AUC: to the uniform plan, or, for small parts, to a random part of the same size whose
        training stops early. The log loss is a difference, too, after the corrected line; below 0
        is better. NaN where something was not measured.

    Raises:
        ValueError: the recommended actions do not say which kind of noise was planted.
    """
    if "noise_kind" not in recommended:
        raise ValueError(
            "the table of recommended actions needs a column noise_kind; make it again, as "
            "act_as_recommended or make study does."
        )
    each: Iterable[_Row] = recommended.itertuples()
    rows = [_cleaning(row, detection) for row in each if _is_suspects(row)]
    if keep is not None:
        taught = keep[(keep.way == ADVISED) & (keep.kept_fraction < 1)]
        if "role" in taught:
            taught = taught[taught.role == taught.role.iloc[-1]]  # test where it was judged there
        rows += [_keeping(row) for row in taught.itertuples()]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def study_results(name: str, folder: Path = _RESULTS) -> pd.DataFrame:
    """Return a table that ``make study`` or ``make attribution`` wrote.

    Args:
        name: such as ``journey/actions``, ``sample/detection`` or ``attribution``; what made it
            stands in the ``json`` file beside it.
        folder: of the results.

    Raises:
        FileNotFoundError: there is no such table.

    Example:
        >>> study_results("attribution").columns.tolist()
        ['test', 'score', 'damping', 'estimate', 'low', 'high']
    """
    return pd.read_csv(folder / f"{name}.csv")


def study_table(source: str = "journey", folder: Path = _RESULTS) -> pd.DataFrame:
    """Return the decision table of the full study of one source.

    Args:
        source: ``journey`` or ``sample``.
        folder: of the results.

    Raises:
        FileNotFoundError: the study was not run on this source.
    """
    parts = ("detection", "recommended", "keep")
    return decision_table(*(study_results(f"{source}/{part}", folder) for part in parts))


def _is_suspects(row: _Row) -> bool:
    return str(row.action) == SUSPECTS


def _cleaning(row: _Row, detection: pd.DataFrame) -> dict[str, object]:
    kind = str(row.noise_kind)
    found = detection[
        (detection.noise == row.data) & (detection.model == row.model) & detection.recommended
    ]
    known = found.iloc[0] if len(found) else None
    return {
        "purpose": _LEAVE if kind == NO_NOISE else _CLEAN,
        "noise": row.data,
        "model": row.model,
        "score": RECOMMENDED.get(kind, RECOMMENDED["flip"]),
        "auroc": known.auroc if known is not None else np.nan,
        "of_ceiling": known.of_ceiling if known is not None else np.nan,
        "action": f"drop suspects ({percent(row.dropped, digits=0)} of the rows)",
        "gain": row.difference,
        "low": row.low,
        "high": row.high,
        "recovered": row.recovered,
        "verdict": _verdict(row.low, row.high),
        "log_loss": row.corrected_difference,
        "log_loss_low": row.corrected_low,
        "log_loss_high": row.corrected_high,
        "cost": _COST["duplicate" if kind == "duplicate" else "drop"],
        "fails_when": _FAILS[kind],
    }


def _keeping(row: _Row) -> dict[str, object]:
    return {
        "purpose": f"train on {percent(row.kept_fraction, digits=0)} of the rows",
        "noise": "as is",
        "model": row.model,
        "score": "out-of-fold probability",
        "auroc": np.nan,
        "of_ceiling": np.nan,
        "action": "balanced classes, labels mixed with the score; against a random part",
        "gain": row.over_stopped,
        "low": row.stopped_low,
        "high": row.stopped_high,
        "recovered": np.nan,
        "verdict": _verdict(row.stopped_low, row.stopped_high),
        **dict.fromkeys(("log_loss", "log_loss_low", "log_loss_high"), np.nan),
        "cost": _COST["keep"],
        "fails_when": _FAILS["keep"],
    }


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return HELPS
    return HURTS if high < 0 else UNDECIDED


def in_words(table: pd.DataFrame) -> list[str]:
    """Return one sentence a row, with its interval.

    Example:
        >>> row = dict.fromkeys(_COLUMNS, "") | {
        ...     "purpose": "clean the labels", "noise": "20% flips", "model": "mlp",
        ...     "action": "drop suspects", "gain": 0.01, "low": 0.005, "high": 0.015,
        ...     "verdict": HELPS, "log_loss": 0.02, "log_loss_low": 0.01, "log_loss_high": 0.03}
        >>> print(*in_words(pd.DataFrame([row])), sep="")
        20% flips, mlp: drop suspects helps, +0.0100 AUC [+0.0050, +0.0150]; worse probabilities.
    """
    rows: Iterable[_Row] = table.itertuples()
    return [
        f"{_about(row)}: {row.action} {_verb(row.verdict)}, {row.gain:+.4f} AUC "
        f"[{row.low:+.4f}, {row.high:+.4f}]{_of_probabilities(row)}."
        for row in rows
    ]


def _of_probabilities(row: _Row) -> str:
    """What is clear about the log loss; nothing where its interval holds 0, or is unknown."""
    if row.log_loss_low > 0:
        return "; worse probabilities"
    return "; better probabilities" if row.log_loss_high < 0 else ""


def _about(row: _Row) -> str:
    return f"{row.noise if row.purpose in _CLEANING else row.purpose}, {row.model}"


def _verb(verdict: str) -> str:
    return "makes no clear difference" if verdict == UNDECIDED else verdict


def recommendation(table: pd.DataFrame) -> str:
    """Return what to do with this log as it is: act, or leave it alone.

    Only the row without planted noise speaks of the log itself; the planted ones say what the
    methods could do if the labels were that wrong.

    Raises:
        ValueError: the table has no row without planted noise.
    """
    own = table[table.purpose == _LEAVE]
    if own.empty:
        raise ValueError("the table has no row of the data without planted noise.")
    best = own.loc[own.gain.idxmax()]
    numbers = f"{best.gain:+.4f} AUC [{best.low:+.4f}, {best.high:+.4f}]"
    planted = table[table.purpose == _CLEAN]
    helped = sorted(set(planted[planted.verdict == HELPS].noise), key=list(planted.noise).index)
    tail = (
        f" If its labels were wrong as in {', '.join(helped)}, dropping suspects would help."
        if helped
        else " Under none of the planted noises did dropping suspects help clearly, either."
    )
    if best.verdict == HELPS:
        worse = ", but with worse probabilities" if best.log_loss_low > 0 else ""
        return (
            f"Drop the suspects of this log: {best.model} gains {numbers} on weeks unseen{worse}."
            + tail
        )
    return f"Nothing here beats leaving the data alone: dropping suspects gives {numbers}." + tail


def as_markdown(table: pd.DataFrame) -> str:
    """Return the decision table as a table of Markdown, a line a row.

    Example:
        >>> row = dict.fromkeys(_COLUMNS, "") | {
        ...     "purpose": "clean the labels", "noise": "20% flips", "score": "out-of-fold loss",
        ...     "auroc": 0.9, "action": "drop suspects", "gain": 0.01, "low": 0.005, "high": 0.015,
        ...     "verdict": HELPS, "fails_when": "never"}
        >>> print(as_markdown(pd.DataFrame([row])).splitlines()[-1])
        | 20% flips | out-of-fold loss, 0.900 | drop suspects | +0.0100 [...] | helps | never |
    """
    lines = [
        "| for | score, AUROC | action | gain in AUC [95% interval] | verdict | fails |",
        "|---|---|---|---|---|---|",
    ]
    rows: Iterable[_Row] = table.itertuples()
    for row in rows:
        about = row.noise if row.purpose in _CLEANING else row.purpose
        score = row.score if pd.isna(row.auroc) else f"{row.score}, {row.auroc:.3f}"
        gain = f"{row.gain:+.4f} [{row.low:+.4f}, {row.high:+.4f}]"
        cells = (about, score, row.action, gain, row.verdict, row.fails_when)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
