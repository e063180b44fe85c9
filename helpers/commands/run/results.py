"""What a run found out: the notebooks' records, merged, and a few lines about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.base.errors import DataError
from helpers.base.small_files import read_json
from helpers.base.writing import write_atomically
from helpers.commands import run_request
from helpers.commands.recorded import is_record
from helpers.commands.run.state import Run, shown_path
from helpers.notebooks.contract import FINGERPRINT, VERDICT

__all__ = ["collect_results", "read_record", "record_of", "summary"]

_LARGEST = 64_000_000  # bytes of a file with results


def collect_results(run: Run) -> dict[str, Any]:
    """Merge what the finished notebooks recorded into ``results.json``, and return it.

    Returns:
        ``run`` (source, parameters, fingerprint, seed, versions, seconds) and
        ``notebooks`` (by name, what each recorded).
    """
    recorded = {}
    for name in run.notebooks:
        record = read_record(run, name) if name in run.finished else None
        if record is not None:
            recorded[name] = record
    seconds = {name: done["seconds"] for name, done in run.finished.items()}
    facts = {
        "source": run.source,
        "schema": bool(run.schema),
        "parameters": run.given,
        "notebooks": run.notebooks,
        "fingerprint": run.fingerprint or _first(recorded, "values", FINGERPRINT.name),
        "seed": _first(recorded, "parameters", "seed"),
        "reference": bool(recorded) and all(r["reference"] for r in recorded.values()),
        "versions": next((r["versions"] for r in recorded.values()), {}),
        "seconds": round(sum(seconds.values()), 1),
        "seconds_by_notebook": seconds,
    }
    results = {"run": facts, "notebooks": recorded}
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write_atomically(run.folder / "results.json", text)
    return results


def summary(run: Run) -> str:
    """Return a few lines about a finished run: times, verdict, where the report is."""
    results = read_json(run.folder / "results.json", largest=_LARGEST, links=False)
    lines = [f"  {name}: {s:.0f} s" for name, s in results["run"]["seconds_by_notebook"].items()]
    verdict = _first(results["notebooks"], "values", VERDICT.name) or []
    lines = ["", f"Finished in {results['run']['seconds']:.0f} s.", *lines]
    lines += ["", *([verdict] if isinstance(verdict, str) else verdict)] if verdict else []
    page = run.folder / "report.html"
    if run.source in run_request.OWN:
        lines += [
            "",
            f"{shown_path(run.folder)} holds ids and rows as they are; share the report only.",
        ]
    found = (
        f"Report: {shown_path(page)}" if page.is_file() else f"Results: {shown_path(run.folder)}"
    )
    return "\n".join([*lines, "", found])


def record_of(run: Run, name: str) -> Path:
    """Return the file in which a notebook records."""
    return run.folder / "results" / f"{name}.json"


def read_record(run: Run, name: str) -> dict[str, Any] | None:
    """Return what a notebook recorded; None where that is missing or damaged."""
    try:
        record = read_json(record_of(run, name), largest=_LARGEST, links=False)
    except (OSError, DataError):
        return None
    return record if is_record(record) else None


def _first(recorded: Mapping[str, Any], part: str, name: str) -> Any:
    """Return the first notebook's value of that name, or None."""
    return next((r[part][name] for r in recorded.values() if name in r[part]), None)
