"""What each notebook of the workbook records, and who reads it: one declaration for both ends.

A notebook records results by name, and the page of a run shows some of them. A name that changes
at one end only would silently cost the page a section. So each result is declared here, once:
``record`` and ``lint`` hold the notebooks to it, and a reader asks by the declaration, never by a
text of its own.

Example:
    >>> recorded = {"01_load_data": {"values": {"logit_offset": -3.25}}}
    >>> RunRecords(recorded, Reader.REPORT).value(LOGIT_OFFSET)
    -3.25
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from helpers.base.words import listed, near_match

__all__ = [
    "ACT",
    "ADVICE",
    "AGREEMENT",
    "BEFORE_AFTER",
    "CHOSEN",
    "DECISIONS",
    "DROPPED",
    "EVALUATE",
    "FINGERPRINT",
    "IMPORTANCE_ROWS",
    "JUDGE",
    "LEAST_IMPORTANT",
    "LOAD",
    "LOGIT_OFFSET",
    "MEASURE",
    "MODELS",
    "MOST_IMPORTANT",
    "NEGATIVES",
    "NOTES",
    "OWN_DATA",
    "PERIOD",
    "POSITIVE_SHARE",
    "RESULTS",
    "ROWS",
    "SCORE",
    "START",
    "STUDY",
    "TRAIN",
    "VERDICT",
    "ResultKind",
    "Reader",
    "RunRecords",
    "Result",
    "results_of",
    "faults",
    "notebook_number",
]

_LOGITS_TO = 700.0  # of more no odds can be told


class ResultKind(StrEnum):
    """What a result is, as plain JSON; each may also be null, where nothing is known."""

    NUMBER = "a number"
    LOGIT = "a logit: a number between -700 and 700"
    FLAG = "true or false"
    TEXT = "a text"
    LINES = "a text, or a list of texts and numbers"
    NUMBERS = "numbers by name"
    TEXTS = "texts or numbers by name"
    TABLE = "a table: a list of rows by column"

    def fits(self, value: Any) -> bool:
        """Return whether a value is of this kind.

        Example:
            >>> ResultKind.NUMBERS.fits({"train": 7}), ResultKind.NUMBERS.fits([7])
            (True, False)
        """
        return value is None or _FITS[self](value)


class Reader(StrEnum):
    """Who reads results."""

    REPORT = "the page of a run"
    SUMMARY = "the summary of a run"


@dataclass(frozen=True)
class Result:
    """One result of a notebook.

    Attributes:
        notebook: the notebook's name, without ``.ipynb``.
        name: what it is called in ``record(...)``.
        kind: what it is.
        columns: of a table, those that its readers ask for; it may have more.
        read_by: who reads it; whoever looks into ``results.json`` may, too.
    """

    notebook: str
    name: str
    kind: ResultKind
    columns: tuple[str, ...] = ()
    read_by: tuple[Reader, ...] = ()

    def fault(self, value: Any) -> str:
        """Return what is wrong with a value in plain JSON types; empty where nothing is.

        Example:
            >>> chosen = Result("05_act", "chosen", ResultKind.TABLE, ("action",))
            >>> chosen.fault([{"actions": "drop"}])
            'the table chosen has no column "action"; it has actions. Did you mean "actions"?'
        """
        if not self.kind.fits(value):
            return f"{self.name} must be {self.kind}; got {_described(value)}"
        for row in value or () if self.kind == ResultKind.TABLE else ():
            for column in self.columns:
                if column not in row:
                    return (
                        f'the table {self.name} has no column "{column}"; it has '
                        f"{listed(list(row))}.{near_match(column, row)}"
                    )
        return ""


class RunRecords:
    """What the notebooks of a run recorded, as one reader sees it.

    Args:
        notebooks: by name, each with its ``values``.
        reader: who asks.
    """

    def __init__(self, notebooks: Mapping[str, Mapping[str, Any]], reader: Reader) -> None:
        self._notebooks = notebooks
        self._reader = reader

    def value(self, result: Result) -> Any:
        """Return a result, or None where the run has none.

        Raises:
            LookupError: the result is not declared to be read by this reader.
        """
        if self._reader not in result.read_by:
            raise LookupError(
                f"{self._reader} reads {result.name} of {result.notebook}, but its declaration "
                "does not say so; add the reader to read_by."
            )
        return self._notebooks.get(result.notebook, {}).get("values", {}).get(result.name)


def results_of(notebook: str) -> dict[str, Result]:
    """Return the results of a notebook by name; none where it is not declared.

    Example:
        >>> list(results_of("03_train_recommender")), results_of("my_notes")
        (['models', 'seed_spread', 'best_pass'], {})
    """
    return {result.name: result for result in RESULTS if result.notebook == notebook}


def faults(notebook: str, values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with what a notebook records, one sentence each.

    Args:
        notebook: its name; one that is not declared may record what it likes.
        values: the results by name, in plain JSON types.

    Example:
        >>> faults("03_train_recommender", {"models": [], "seed_spred": 0.1, "best_pass": "3"})[0]
        'seed_spred is not declared. Did you mean "seed_spread"?'
    """
    wanted = results_of(notebook)
    if not wanted:
        return []
    strange = [name for name in values if name not in wanted]
    found = [f"{name} is not declared.{near_match(name, wanted)}" for name in strange]
    for name, result in wanted.items():
        if name not in values:
            found.append(f"{name} is declared and not recorded{_missed_by(result)}")
        elif fault := result.fault(values[name]):
            found.append(fault)
    return found


def notebook_number(notebook: str) -> str:
    """Return the number that a notebook's name begins with: ``03`` for ``03_train_recommender``."""
    return notebook[:2]


def _missed_by(result: Result) -> str:
    return f", though {' and '.join(result.read_by)} reads it" if result.read_by else ""


def _described(value: Any) -> str:
    kind = next(
        (kind for kind in ResultKind if kind != ResultKind.LOGIT and kind.fits(value)), None
    )
    return f"a {type(value).__name__}" if kind is None else str(kind)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_by_name(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(v is None or fits(v) for v in value.values())


def _is_row(row: Any) -> bool:
    """Return whether this is a row of a table: plain values, and numbers where one counts."""
    if not isinstance(row, dict):
        return False
    plain = (v if isinstance(v, list) else [v] for v in row.values())
    return (
        all(_is_scalar(value) for values in plain for value in values)
        and all(row.get(name) is None or _is_number(row[name]) for name in ("rows", "low", "high"))
        and isinstance(row.get("metric", ""), str)
    )


_FITS: dict[ResultKind, Callable[[Any], bool]] = {
    ResultKind.NUMBER: _is_number,
    ResultKind.LOGIT: lambda value: _is_number(value) and abs(value) <= _LOGITS_TO,
    ResultKind.FLAG: lambda value: isinstance(value, bool),
    ResultKind.TEXT: lambda value: isinstance(value, str),
    ResultKind.LINES: lambda value: (
        isinstance(value, str) or (isinstance(value, list) and all(map(_is_scalar, value)))
    ),
    ResultKind.NUMBERS: lambda value: _is_by_name(value, _is_number),
    ResultKind.TEXTS: lambda value: _is_by_name(value, _is_scalar),
    ResultKind.TABLE: lambda value: isinstance(value, list) and all(map(_is_row, value)),
}

# --- the declaration -----------------------------------------------------------------------

START, LOAD, MEASURE = "00_start_here", "01_load_data", "02_measure_loss"
TRAIN, SCORE, ACT = "03_train_recommender", "04_score_samples", "05_act_on_importance"
EVALUATE, OWN_DATA, JUDGE = "06_evaluate_models", "07_use_your_own_data", "08_judge_the_scores"

_REPORT = (Reader.REPORT,)
_INTERVAL = ("difference", "low", "high")

ROWS = Result(LOAD, "rows", ResultKind.NUMBERS, read_by=_REPORT)
POSITIVE_SHARE = Result(LOAD, "positive_share", ResultKind.NUMBERS, read_by=_REPORT)
PERIOD = Result(LOAD, "period", ResultKind.TEXTS, read_by=_REPORT)
NOTES = Result(LOAD, "notes", ResultKind.LINES, read_by=_REPORT)
LOGIT_OFFSET = Result(LOAD, "logit_offset", ResultKind.LOGIT, read_by=_REPORT)
FINGERPRINT = Result(LOAD, "fingerprint", ResultKind.TEXT, read_by=(Reader.SUMMARY,))
DROPPED = Result(LOAD, "dropped", ResultKind.TABLE, ("table", "reason", "rows"), _REPORT)
NEGATIVES = Result(LOAD, "negatives", ResultKind.NUMBER, read_by=_REPORT)

MODELS = Result(TRAIN, "models", ResultKind.TABLE, ("model", "auc"), _REPORT)

IMPORTANCE_ROWS = Result(SCORE, "importance_rows", ResultKind.NUMBER, read_by=_REPORT)
_RANKED = ("user_id", "item_id", "label", "prediction", "loss", "gradient_norm")
MOST_IMPORTANT = Result(SCORE, "most_important", ResultKind.TABLE, _RANKED, _REPORT)
LEAST_IMPORTANT = Result(SCORE, "least_important", ResultKind.TABLE, _RANKED, _REPORT)
AGREEMENT = Result(SCORE, "agreement", ResultKind.TABLE, ("score",), _REPORT)

STUDY = Result(ACT, "study", ResultKind.TABLE, ("data", "model", "action", *_INTERVAL), _REPORT)
CHOSEN = Result(ACT, "chosen", ResultKind.TABLE, ("data", "model", "action"), _REPORT)

_COMPARED = ("data", "model", "action", "metric", "before", "after", *_INTERVAL)
BEFORE_AFTER = Result(EVALUATE, "before_after", ResultKind.TABLE, _COMPARED, _REPORT)
VERDICT = Result(EVALUATE, "verdict", ResultKind.LINES, read_by=(Reader.REPORT, Reader.SUMMARY))

_DECIDED = (
    *("purpose", "noise", "score", "auroc", "action", "gain", "low", "high"),
    *("log_loss", "log_loss_low", "log_loss_high", "verdict", "cost", "fails_when"),
)
DECISIONS = Result(JUDGE, "decisions", ResultKind.TABLE, _DECIDED, _REPORT)
ADVICE = Result(JUDGE, "advice", ResultKind.LINES, read_by=_REPORT)

#: All results of the workbook's notebooks, in the order in which they are recorded.
RESULTS: tuple[Result, ...] = (
    Result(START, "example", ResultKind.NUMBERS),
    Result(START, "surprise", ResultKind.NUMBER),
    Result(START, "leverage", ResultKind.NUMBER),
    Result(LOAD, "source", ResultKind.TEXT),
    *(ROWS, POSITIVE_SHARE, PERIOD, NOTES, LOGIT_OFFSET, FINGERPRINT, DROPPED, NEGATIVES),
    Result(LOAD, "leak", ResultKind.NUMBERS),
    Result(MEASURE, "first_step", ResultKind.NUMBERS),
    Result(MEASURE, "learned", ResultKind.NUMBERS),
    Result(MEASURE, "learning_rate_limit", ResultKind.NUMBER),
    Result(MEASURE, "descent", ResultKind.TABLE, ("step", "weight", "bias", "loss")),
    MODELS,
    Result(TRAIN, "seed_spread", ResultKind.NUMBER),
    Result(TRAIN, "best_pass", ResultKind.NUMBER),
    IMPORTANCE_ROWS,
    Result(SCORE, "scores", ResultKind.LINES),
    *(MOST_IMPORTANT, LEAST_IMPORTANT, AGREEMENT),
    Result(SCORE, "detection", ResultKind.TABLE, ("score", "all rows")),
    Result(SCORE, "norms_per_step", ResultKind.NUMBER),
    Result(SCORE, "loop_per_step", ResultKind.NUMBER),
    *(STUDY, CHOSEN),
    Result(ACT, "kept", ResultKind.TABLE, ("model", "way", "kept_fraction", "auc")),
    Result(ACT, "rows", ResultKind.NUMBER),
    Result(ACT, "updates", ResultKind.NUMBER),
    Result(ACT, "seeds", ResultKind.NUMBER),
    *(BEFORE_AFTER, VERDICT),
    Result(EVALUATE, "thresholds", ResultKind.NUMBERS),
    Result(EVALUATE, "segments", ResultKind.TABLE, ("segment", "auc", "low", "high")),
    Result(EVALUATE, "user_auc", ResultKind.NUMBER),
    Result(EVALUATE, "popular_advice", ResultKind.TABLE, _COMPARED),
    Result(OWN_DATA, "read", ResultKind.NUMBER),
    Result(OWN_DATA, "kept", ResultKind.NUMBER),
    Result(OWN_DATA, "gone", ResultKind.TABLE, ("table", "kind", "column", "reason", "rows")),
    Result(OWN_DATA, "roles", ResultKind.TABLE, ("role", "samples", "users", "items")),
    Result(OWN_DATA, "server_equal", ResultKind.FLAG),
    *(DECISIONS, ADVICE),
    Result(JUDGE, "detection", ResultKind.TABLE, ("noise", "score", "auroc", "recommended")),
    Result(JUDGE, "acted", ResultKind.TABLE, ("data", "noise_kind", "model", "action", *_INTERVAL)),
    Result(JUDGE, "foretold", ResultKind.TABLE, ("test", "score", "estimate", "low", "high")),
)
