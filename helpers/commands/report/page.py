"""The page of a run: one HTML file for a person without Python.

``write_report`` reads ``results.json`` and the figures of the executed notebooks and
fills ``report.html.j2``. What a notebook did not record is left out, with a sentence.
The folder may come from somebody else: its files are checked by
:mod:`helpers.commands.recorded`, and every text that stands in them is escaped.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from helpers.base.errors import DataError
from helpers.base.words import percent
from helpers.base.writing import write_atomically
from helpers.commands.recorded import read_figures, read_results
from helpers.commands.report import text
from helpers.commands.run_request import OWN, WALK
from helpers.notebooks import contract
from helpers.notebooks.contract import Reader, Result, RunRecords
from helpers.notebooks.record import PSEUDONYMS, pseudonym, run_secret

__all__ = ["write_report"]

Record = Mapping[str, Any]

_MISSING = "–"
_CHOICE = ("data", "model", "action")  # columns that say what a row of a comparison is about
_INTERVAL = ("difference", "low", "high")
#: The notebooks that the page shows something of.
_BOOKS = {
    "load": contract.LOAD,
    "train": contract.TRAIN,
    "score": contract.SCORE,
    "act": contract.ACT,
    "evaluate": contract.EVALUATE,
    "judge": contract.JUDGE,
}


@dataclass(frozen=True)
class _ReportColumn:
    label: str
    number: bool


@dataclass(frozen=True)
class _ReportTable:
    """A table as the page shows it: ready texts; ``cards`` unfolds it on a phone."""

    caption: str
    columns: list[_ReportColumn]
    rows: list[list[str]]
    cards: bool = False


class _Names:
    """Stands in for users and queries: the same name for the same value within a run."""

    def __init__(self, salt: bytes | None):
        self._salt = salt

    def of(self, column: str, value: Any) -> str:
        """Return the text to show for a value of a column."""
        if column not in PSEUDONYMS or value is None or self._salt is None:
            return _shown(value, column)
        return pseudonym(column, value, self._salt)


def write_report(run_dir: str | Path, *, show_ids: bool = False) -> Path:
    """Write ``report.html`` into a run's folder.

    Args:
        run_dir: the folder of a run, with its ``results.json``.
        show_ids: show user ids and queries as they are; else by stand-in names, which
            cannot be turned back without the secret that stays in the run's folder.

    Returns:
        The path of the page.

    Raises:
        DataError: the folder holds no results, or cannot be written.
    """
    folder = Path(run_dir)
    results = read_results(folder)
    names = _Names(None if show_ids else run_secret(folder))
    content = _page(results, names) | {
        "run_name": folder.resolve().name,
        "figures": read_figures(folder, results["run"].get("notebooks", [])),
        "show_ids": show_ids,
    }
    page = _template().render(content)
    try:
        write_atomically(folder / "report.html", page)
    except OSError as error:
        raise DataError(f"{folder}: the report cannot be written here: {error.strerror}.") from None
    return folder / "report.html"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # for any file name: a product may be called <script>
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2")


def _page(results: Record, names: _Names) -> dict[str, Any]:
    run = results["run"]
    recorded = results["notebooks"]
    value = RunRecords(recorded, Reader.REPORT).value
    claims = [{**c, "notebook": n} for n, r in recorded.items() for c in r["claims"]]
    compared = value(contract.BEFORE_AFTER) or []
    offset = value(contract.LOGIT_OFFSET)
    return {
        "title": text.TITLE,
        "reference": run.get("reference", False),
        "verdict": _lines(value(contract.VERDICT)),
        "claims": len(claims),
        "failed_claims": [c for c in claims if not c["holds"]],
        "source_text": text.SOURCES.get(run["source"], f"The source is {run['source']}."),
        "sizes": _sizes(value),
        "notes": _lines(value(contract.NOTES)),
        "offset": _offset(offset),
        "own": run["source"] in OWN,
        "dropped": _dropped(value(contract.DROPPED), names),
        "dropped_total": _dropped_total(run["source"], value(contract.DROPPED)),
        "models": _table("The models on the weeks for choosing", value(contract.MODELS), names),
        "importance_rows": _counted(value(contract.IMPORTANCE_ROWS)),
        "most": _ranked(
            "The training rows that matter most", value(contract.MOST_IMPORTANT), names
        ),
        "least": _ranked("The ones that matter least", value(contract.LEAST_IMPORTANT), names),
        "agreement": _table("How far the scores agree", value(contract.AGREEMENT), names),
        "study": _study(value(contract.STUDY), names),
        "chosen": _table("What was chosen there", value(contract.CHOSEN), names),
        "before_after": _before_after(compared, names),
        "constants": _constants(compared),
        "decisions": _decisions(value(contract.DECISIONS), names),
        "advice": _lines(value(contract.ADVICE)),
        "limits": text.limits(
            run["source"], drawn=bool(offset), negatives=bool(value(contract.NEGATIVES))
        ),
        "command": _command(run),
        "facts": _facts(run),
        "words": text.WORDS,
        "books": _BOOKS,
        "number": contract.notebook_number,
    }


def _lines(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(line) for line in value or []]


def _counted(rows: float | None) -> str:
    return "" if rows is None else _shown(rows)


def _sizes(value: Callable[[Result], Any]) -> _ReportTable | None:
    """Rows, share of positives and period of each role."""
    rows = value(contract.ROWS)
    if not rows:
        return None
    share, period = value(contract.POSITIVE_SHARE) or {}, value(contract.PERIOD) or {}
    records = [
        {
            "role": role,
            "used for": text.ROLES.get(role, _MISSING),
            "rows": number,
            "positive": None if share.get(role) is None else percent(share[role]),
            "period": period.get(role),
        }
        for role, number in rows.items()
    ]
    return _table("Rows by role, cut by time", records, _Names(None), cards=True)


def _dropped(records: list[Record] | None, names: _Names) -> _ReportTable | None:
    """Rows that are not used, the most frequent reason first."""
    told = [{k: r[k] for k in contract.DROPPED.columns if k in r} for r in records or []]
    ordered = sorted(told, key=lambda r: -(r.get("rows") or 0))
    return _table("Rows that were left out, and why", ordered, names)


def _dropped_total(source: str, dropped: list[Record] | None) -> str:
    """Say how many rows of a person's own tables are not used."""
    if source not in OWN or dropped is None:
        return ""
    rows = sum(r.get("rows") or 0 for r in dropped)
    if not rows:
        return "No row of the tables was left out."
    return f"Together {_shown(rows)} rows of the tables were left out; the reasons are listed here."


def _offset(logit: float | None) -> dict[str, str] | None:
    if not logit:
        return None
    return {"logit": f"{logit:+.3f}", "odds": f"{math.exp(logit):.3g}"}


def _ranked(caption: str, records: list[Record] | None, names: _Names) -> _ReportTable | None:
    """Twenty samples with their ranks; the product's name first, where a phone shows it."""
    first = [
        {"rank": rank} | {k: r[k] for k in ("title",) if k in r} | dict(r)
        for rank, r in enumerate((records or [])[:20], start=1)
    ]
    return _table(caption, first, names)


def _study(records: list[Record] | None, names: _Names) -> list[_ReportTable]:
    """Return one table of actions for each kind of data and model that was tried."""
    groups: dict[str, list[Record]] = {}
    for r in records or []:
        about = [f"{text.label(k)}: {r[k]}" for k in ("data", "model") if r.get(k) is not None]
        caption = "; ".join(["Actions on the weeks for choosing", *about])
        kept = {k: v for k, v in r.items() if k not in ("data", "model", *_INTERVAL)}
        first = {k: kept.pop(k) for k in ("action",) if k in kept}
        groups.setdefault(caption, []).append(first | _interval(r) | kept)
    tables = [_table(caption, group, names) for caption, group in groups.items()]
    return [table for table in tables if table]


def _before_after(records: list[Record], names: _Names) -> _ReportTable | None:
    same = _same(records)
    rows = [
        {
            "metric": text.label(r.get("metric", _MISSING)),
            **{name: r.get(name) for name in _CHOICE if name not in same and name in r},
            "before": _decimals(r.get("before")),
            "after": _decimals(r.get("after")),
            **_interval(r),
            "verdict": text.verdict(r.get("metric", ""), r.get("low"), r.get("high")),
        }
        for r in records
    ]
    return _table("Before and after, with 95% intervals", rows, names, cards=True)


def _decisions(records: list[Record] | None, names: _Names) -> _ReportTable | None:
    """Return what to do, a row a purpose: the interval in one cell, unknown numbers left out."""
    rows = [
        {
            "purpose": r.get("purpose"),
            "noise": r.get("noise"),
            "score": r.get("score"),
            "finds (AUROC)": _decimals(r.get("auroc")),
            "action": r.get("action"),
            "gain in AUC [interval]": _with_ends(r, "gain", "low", "high"),
            "log loss [interval]": _with_ends(r, "log_loss", "log_loss_low", "log_loss_high"),
            "verdict": r.get("verdict"),
            "cost": r.get("cost"),
            "fails when": r.get("fails_when"),
        }
        for r in records or []
    ]
    return _table("What to do with these data", rows, names, cards=True)


def _with_ends(record: Record, *names: str) -> str:
    middle, low, high = (_decimals(record.get(name), sign=True) for name in names)
    return middle if middle == _MISSING else f"{middle} [{low}, {high}]"


def _same(records: list[Record]) -> dict[str, Any]:
    """Return what all rows of a comparison share: said once above it, not in each row."""
    shared = {name: {str(r.get(name)) for r in records} for name in _CHOICE}
    return {name: v.pop() for name, v in shared.items() if len(v) == 1 and v != {"None"}}


def _constants(records: list[Record]) -> str:
    told = [f"{text.label(name)}: {value}" for name, value in _same(records).items()]
    sentence = "; ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}." if told else ""


def _interval(record: Record) -> dict[str, str]:
    if not set(_INTERVAL) & set(record):
        return {}
    difference, low, high = (_decimals(record.get(name), sign=True) for name in _INTERVAL)
    return {"difference [interval]": f"{difference} [{low}, {high}]"}


def _table(
    caption: str, records: Sequence[Record] | None, names: _Names, *, cards: bool = False
) -> _ReportTable | None:
    """Return a table of all the records' fields, in the order in which they appear."""
    if not records:
        return None
    fields = list(dict.fromkeys(field for record in records for field in record))
    columns = [
        _ReportColumn(text.label(f), all(_is_number(r.get(f)) for r in records)) for f in fields
    ]
    rows = [[names.of(f, record.get(f)) for f in fields] for record in records]
    return _ReportTable(caption, columns, rows, cards)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):  # a number that is a text already, such as "+0.010 [-0.1, 0.1]"
        return re.fullmatch(rf"({_MISSING}|[+-]?[\d.,]+%?)( \[.*\])?", value) is not None
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _shown(value: Any, column: str = "") -> str:
    """Return a value as a reader wants to see it."""
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if column.endswith("_id") or abs(value) < 10_000 else f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_shown(v) for v in value)
    return str(value)


def _decimals(value: Any, *, sign: bool = False) -> str:
    if not isinstance(value, int | float):
        return _MISSING
    return f"{value:+.4f}" if sign else f"{value:.4f}"


def _command(run: Record) -> str:
    parts = ["python", "-m", "helpers", "run", "--source", run["source"]]
    if run["source"] == "csv":
        parts += ["--path", "DIR"]  # the folder's own name is nobody else's business
    if run.get("schema"):
        parts += ["--schema", "FILE"]
    for name, value in run.get("parameters", {}).items():
        parts += ["-p", name, str(value)]
    notebooks = run.get("notebooks", [])
    if [contract.notebook_number(name) for name in notebooks] != list(WALK):
        parts += notebooks
    return shlex.join(parts)


def _facts(run: Record) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items())
    seconds = ", ".join(
        f"{name} {value:.0f} s" for name, value in run.get("seconds_by_notebook", {}).items()
    )
    facts = {
        "Source": run["source"],
        "Seed": run.get("seed"),
        "Data fingerprint": run.get("fingerprint"),
        "Versions": versions,
        "Time taken": seconds,
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]
