"""Sections of a check, one after the other, and its verdict."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from helpers.base.errors import DataError
from helpers.base.words import percent
from helpers.commands.check import columns, log
from helpers.commands.check.finding import Finding
from helpers.commands.check.leakage import leaks
from helpers.commands.check.matches import outcome
from helpers.commands.check.text import page, wrapped
from helpers.data.dropped import DropGroup, DropKind, group_of, rows_of
from helpers.data.sources import open_source, stage_source
from helpers.data.staging import Staged
from helpers.samples import ROLES, Samples, load_samples
from helpers.samples.features import local_days
from helpers.schema import Task, canonical_tables

__all__ = ["Audit", "audit"]

_SHOWN = 12  # points that the verdict names
_FEW = 200  # positives of a role, below which nothing can be concluded from it
_BAD = 0.01
_COPIES = 0.2
_LEFT_OUT = 0.5
_MOSTLY = 0.8


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        source: its name.
        facts: by section, plain values.
        findings: what to look at, in the order of the sections.
        problem: why no samples can be made; empty where they can.
        command: what to type next.
    """

    source: str
    facts: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    problem: str = ""
    command: str = ""

    @property
    def ok(self) -> bool:
        """Whether samples can be made."""
        return not self.problem

    @property
    def verdict(self) -> str:
        """``usable``, ``usable with care: ...`` or ``cannot be used: ...``."""
        if self.problem:
            return f"cannot be used: {self.problem}"
        if not self.findings:
            return "usable"
        short = [f"{finding.short:.100}" for finding in self.findings]
        more = f"; and {len(short) - _SHOWN:,} more" if len(short) > _SHOWN else ""
        return f"usable with care: {'; '.join(short[:_SHOWN])}{more}."

    def text(self) -> str:
        """Return all of it for a terminal, in lines of at most 100 characters."""
        lines = wrapped(f"Verdict: {self.verdict}")
        if self.findings:
            lines.append("Each point is marked with ! above.")
        lines.append(f"Next: {self.command}" if self.ok else f"Mend it, then: {self.command}")
        return "\n".join([page(self.facts, self.findings), *lines])

    def to_dict(self) -> dict[str, Any]:
        """Return facts, findings and verdict as plain values."""
        return {
            "source": self.source,
            "ok": self.ok,
            "problem": self.problem,
            "verdict": self.verdict,
            "command": self.command,
            "findings": [vars(f) for f in self.findings],
            **self.facts,
        }


def audit(
    source: str = "journey",
    *,
    path: str | Path = "",
    schema: str | Path = "",
    seed: int = 0,
    progress: bool = True,
) -> Audit:
    """Look at the tables of a source, and at the samples they give.

    The tables are counted in files, so they may be larger than the memory; in a table of more
    than five million rows, quantiles and counts of different values are approximate.

    Args:
        source: as for :func:`helpers.data.sources.open_source`.
        path: as there.
        schema: as there.
        seed: as there.
        progress: show a bar where reading takes long.

    Raises:
        DataError: the tables cannot even be read. Where they can, but give no samples, the
            audit's ``problem`` says why.

    Example:
        >>> found = audit("sample", progress=False)
        >>> found.ok, found.facts["period"]["time_zone"]
        (True, 'Asia/Shanghai')
    """
    command = _command(source, path, schema)
    with ExitStack() as stack:
        if source == "journey":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="workbook-")))
            staged, task = _journey(folder, path=path, schema=schema, seed=seed)
        else:
            staged, schema_file = stage_source(source, path=path, schema=schema, progress=progress)
            task = schema_file.task
        connection = stack.enter_context(staged.database())
        facts, findings = _look_at_tables(staged, connection, task, progress=progress)
        try:
            samples = load_samples(source, path=path, schema=schema, seed=seed)
        except DataError as error:
            return Audit(source, facts, findings, str(error), f"{command('check')}")
        facts["split"], more = _look_at_split(samples)
        facts["leaks"], signs = leaks(samples, staged, connection, task, progress=progress)
    facts["leaks"]["aucs"] = facts["leaks"]["aucs"].to_dict("records")
    return Audit(source, facts, [*findings, *more, *signs], command=command("run"))


def _journey(
    folder: Path, *, path: str | Path, schema: str | Path, seed: int
) -> tuple[Staged, Task]:
    """Put the tables of the source that is not stored as tables into a folder."""
    tables = open_source("journey", path=path, schema=schema, seed=seed)
    counts = {}
    for name in canonical_tables():
        frame = getattr(tables, name)
        if name == "user_behavior":
            frame = frame.assign(day=local_days(frame.event_time, tables.task.time_zone))
        frame.to_parquet(folder / f"{name}.parquet", index=False, coerce_timestamps="us")
        counts[name] = {"read": len(frame), "kept": len(frame)}
    facts = {"tables": counts, "dropped": [], "notes": [], "labelled": False, "fingerprint": ""}
    return Staged(folder, facts), tables.task


def _command(source: str, path: str | Path, schema: str | Path) -> Any:
    given = {"--source": source, "--path": str(path), "--schema": str(schema)}
    options = " ".join(f"{k} {shlex.quote(v)}" for k, v in given.items() if v)
    return lambda name: f"python -m helpers {name} {options}"


def _look_at_tables(
    staged: Staged, connection: duckdb.DuckDBPyConnection, task: Task, *, progress: bool
) -> tuple[dict[str, Any], list[Finding]]:
    dropped = staged.facts["dropped"]
    facts: dict[str, Any] = {
        "tables": {
            name: {
                **counts,
                "columns": columns.column_facts(staged, connection, name, progress=progress),
            }
            for name, counts in staged.facts["tables"].items()
        },
        "dropped": dropped,
        "labelled": bool(staged.facts["labelled"]),
        "future_dropped": rows_of(dropped, kind=DropKind.FUTURE),
        "asked": {n: getattr(task, n) for n in ("positive", "match_on", "within", "cutoff")},
        "events": log.event_counts(connection),
        "queries": columns.queries(staged, connection),
    }
    findings = _row_findings(facts)
    for name, look in {
        "period": lambda: log.period(connection, task),
        "sizes": lambda: log.sizes(connection),
        "times": lambda: log.times(connection, task),
        "keys": lambda: columns.keys(staged, connection, task.match_on),
        "joins": lambda: columns.check_joins(staged, connection),
        "prices": lambda: columns.prices(staged, connection),
        "task": lambda: outcome(staged, connection, task),
    }.items():
        facts[name], found = look()
        findings += found
    return facts, findings


def _row_findings(facts: dict[str, Any]) -> list[Finding]:
    """Return what to say of tables that lose many rows."""
    found = []
    for name, table in facts["tables"].items():
        lost = dict.fromkeys(DropGroup, 0)
        for d in facts["dropped"]:
            if d["table"] == name:
                lost[group_of(d)] += d["rows"]
        shares = {group: rows / max(table["read"], 1) for group, rows in lost.items()}
        left, copies, bad = (shares[g] for g in (DropGroup.RULE, DropGroup.COPY, DropGroup.FAULT))
        if bad > _BAD:
            text = f"{percent(bad)} of the rows of {name} cannot be used; the reasons stand above."
            found.append(Finding("rows", f"bad rows in {name}", text))
        if copies > _COPIES:
            text = f"{percent(copies)} of the rows of {name} are copies. Was it written twice?"
            found.append(Finding("rows", f"many copies in {name}", text))
        if left > _LEFT_OUT:
            text = f"leave_out takes {percent(left)} of the rows of {name}. Is that meant?"
            found.append(Finding("rows", f"most of {name} left out", text))
    return found


def _look_at_split(samples: Samples) -> tuple[dict[str, Any], list[Finding]]:
    summary = samples.summary()
    roles = []
    for role in ROLES:
        positives = int(samples.labels(samples.rows(role)).sum())
        roles.append({"role": role, **summary.loc[role].to_dict(), "positives": positives})
    small = [r["role"] for r in roles if r["positives"] < _FEW]
    found = []
    if small:
        text = (
            f"Fewer than {_FEW} positive samples in {', '.join(small)}: differences between "
            "models will be smaller than chance. Take a longer period, or other dates."
        )
        found.append(Finding("split", f"few positives in {', '.join(small)}", text))
    share = float(samples.table["label"].mean())
    if share > _MOSTLY:
        text = (
            f"{percent(share)} of the samples are positive. Does the log hold what was shown and "
            "not taken? If not, state task.negatives."
        )
        found.append(Finding("split", "nearly all samples are positive", text))
    dropped = samples.dropped.to_dict("records")
    lost = [d for d in dropped if group_of(d) == DropGroup.NO_SAMPLE]
    return {
        "roles": roles,
        "lost": lost,
        "logit_offset": float(samples.logit_offset),
        "notes": [*samples.notes],
    }, found
