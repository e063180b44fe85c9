"""From tables to samples: exposures with a label, a role and features.

A sample is one exposure. Its *cutoff* is the start of the day or week it lies
in; its features come from rows before the cutoff, its label from the time after
the exposure. Roles follow time and are never drawn at random. Where the log holds
successes only, :mod:`helpers.samples.negatives` draws what else could have been taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.base.errors import DataError
from helpers.cache import cached, code_of
from helpers.cache.shelf import (
    read_arrays,
    read_facts,
    read_tables,
    write_arrays,
    write_facts,
    write_tables,
)
from helpers.data import sources
from helpers.data.dropped import COLUMNS, DropKind, Dropped, dropped_table
from helpers.data.sources import Tables, open_source
from helpers.samples.encoding import Encoder, bags, numbered, vocabulary
from helpers.samples.features import Inputs, local_days, raw_features
from helpers.samples.history import Ints, daily_totals
from helpers.samples.labels import MIN_PERIODS, crosses, day_number, period_start, succeeded
from helpers.samples.negatives import Drawn, draw_samples
from helpers.schema import Task

__all__ = ["ROLES", "Samples", "load_samples", "make_samples"]

#: Train; what validation-based scores may see; choosing; the final comparison.
ROLES = ("train", "attribution", "valid", "test")
#: What a cache entry holds of samples, beside their arrays; only planted noise has a truth.
_TABLES = ("table", "features", "dropped", "truth")
_NUMBERS = ("item", "recent", "subcategory")
_FACTS: dict[str, type[Any]] = {"sizes": dict, "feature_names": list, "source": str}
_FACTS |= {"notes": list, "logit_offset": float, "fingerprint": str}
_SHARES = (0.62, 0.71, 0.83)  # where the roles end when the task names no dates


@dataclass(frozen=True)
class Samples:
    """Exposures in time order, ready for a model.

    Attributes:
        table: one row per sample: ``sample_id`` (its place), ``user_id``,
            ``item_id``, ``event_time`` (UTC), ``cutoff`` (first day that
            features cannot see), ``role``, ``label`` (0 or 1) and what the source
            knows of the exposure, such as ``list_id`` or ``query``.
        features: raw features, same rows; NaN where unknown.
        dense: encoded features, float32, shape ``(n, d)``.
        numbers: ``item`` and ``subcategory``, int32 ``(n,)``, and ``recent``,
            int32 ``(n, k)``: the user's last items, 0 where there are fewer.
        sizes: how many numbers each vocabulary needs, with padding and unknown.
        feature_names: the names of the dense columns.
        source: the name of the source.
        notes: what a reader must know about the source.
        logit_offset: add it to a logit to speak of all exposures.
        dropped: rows that did not become samples: ``table, kind, column, reason, rows``
            (:mod:`helpers.data.dropped`).
        fingerprint: a digest of the data that the samples were made from.
        truth: planted truth of the samples by row, or None.
    """

    table: pd.DataFrame
    features: pd.DataFrame
    dense: np.ndarray
    numbers: dict[str, np.ndarray]
    sizes: dict[str, int]
    feature_names: list[str]
    source: str
    notes: list[str]
    logit_offset: float
    dropped: pd.DataFrame
    fingerprint: str
    truth: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _role(self) -> np.ndarray:
        return self.table["role"].to_numpy().astype(str)

    def rows(self, role: str) -> np.ndarray:
        """Return the places of a role's samples, in time order."""
        if role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}; got {role!r}.")
        return np.flatnonzero(self._role == role)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Return the labels of these rows, float32, shape ``(n,)``."""
        return self.table["label"].to_numpy()[rows].astype(np.float32)

    def inputs(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return what a model reads: ``dense`` and the numbers, row by row."""
        return {"dense": self.dense[rows], **{k: v[rows] for k, v in self.numbers.items()}}

    def column(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return a column of the table for these rows."""
        return self.table[name].to_numpy()[rows]

    def lists(self, rows: np.ndarray) -> np.ndarray:
        """Return whole numbers that tell the lists apart; without lists, one per user and day.

        A list is of one user: a name that several users have is one list of each.
        """
        part = self.table.iloc[rows]
        if "list_id" in part and part.list_id.notna().all():
            return part.groupby(["user_id", "list_id"], sort=False).ngroup().to_numpy()
        return part.groupby(["user_id", "cutoff"], sort=False).ngroup().to_numpy()

    def summary(self) -> pd.DataFrame:
        """Return the samples, users, items, positives and days of each role."""
        rows = []
        for role in ROLES:
            part = self.table.iloc[self.rows(role)]
            rows.append(
                {
                    "role": role,
                    "samples": len(part),
                    "users": part.user_id.nunique(),
                    "items": part.item_id.nunique(),
                    "positive_share": part.label.mean(),
                    "first_day": f"{part.cutoff.min():%Y-%m-%d}",
                    "last_day": f"{part.cutoff.max():%Y-%m-%d}",
                }
            )
        return pd.DataFrame(rows).set_index("role")


def load_samples(
    source: str = "journey", *, path: str | Path = "", schema: str | Path = "", seed: int = 0
) -> Samples:
    """Return the samples of a source, from the cache where they were made before.

    Args:
        source: the name of a source, as :func:`helpers.data.sources.open_source` takes it.
        path: where the source is; for ``csv`` the folder with its files.
        schema: the path of a ``schema.yaml``; left empty, the source finds its own.
        seed: chooses the rows that ``journey`` draws, and the products that are drawn
            where a log holds successes only.

    Raises:
        DataError: the source cannot be opened (see
            :func:`helpers.data.sources.open_source`), or no samples can be made of it (see
            :func:`make_samples`).

    Example:
        >>> samples = load_samples("sample")
        >>> samples.inputs(samples.rows("test"))["dense"].shape[1] == len(samples.feature_names)
        True
    """
    data = sources.data_fingerprint(source, path=path, schema=schema, seed=seed)
    # The source as well: a copy of the bundled files is data of yours, without the truth.
    key = {"source": source, "fingerprint": data, "seed": seed, "code": code_of(__name__)}

    def build() -> Samples:
        tables = open_source(source, path=path, schema=schema, seed=seed)
        if tables.fingerprint != data:  # else new rows would be kept under the name of old ones
            raise DataError(
                f"The tables of {source} changed while they were read, so they would be of two "
                "kinds. Start again; of a table that never rests, read a copy."
            )
        return make_samples(tables, seed=seed)

    return cached("samples", key, build, save=_save, load=_load)


def make_samples(tables: Tables, *, seed: int = 0) -> Samples:
    """Make samples from checked tables.

    Args:
        tables: the checked tables of a source.
        seed: chooses the products that are drawn where a log holds successes only. It must be
            the seed that the tables were opened with, because their fingerprint tells of it.

    Raises:
        DataError: there is no exposure or no success at all, one user only, too short a
            period for four roles, or a role with one class only.
    """
    task, events = tables.task, tables.user_behavior
    countable = _countable(events, task)
    totals = daily_totals(countable) if tables.totals is None else tables.totals
    end = _day_after(events, totals, task) if task.end is None else day_number(task.end, 0)
    if task.negatives:
        drawn = draw_samples(countable, totals, task, end=end, seed=seed)
        tables, exposures = _with_draw(tables, drawn), drawn.exposures
        task = replace(task, within="period")
    else:
        exposures = _exposures(events, task)
    role, lost = _roles(exposures, task, end)
    if "label" not in exposures:
        exposures = _with(exposures, label=succeeded(exposures, events, task))
    exposures = _with(exposures[role != ""].reset_index(drop=True), role=role[role != ""])
    _refuse_unusable(exposures)
    shown = exposures.drop(columns=["role", "label"])
    raw, recent, items = raw_features(
        Inputs(shown, countable, totals, tables.product_features, tables.users)
    )
    train = (exposures.role == "train").to_numpy()
    encoder = Encoder.fit(raw[train])
    numbers, sizes = _number_ids(exposures, raw, recent, items, train)
    return Samples(
        table=_table(exposures),
        features=raw,
        dense=encoder.dense(raw),
        numbers=numbers,
        sizes=sizes,
        feature_names=encoder.names,
        source=tables.name,
        notes=tables.notes,
        logit_offset=tables.logit_offset,
        dropped=_counted(tables.dropped, lost),
        fingerprint=tables.fingerprint,
        truth=_truth(exposures, tables.truth),
    )


def _countable(events: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Return the events that features may count, with their day."""
    countable = events[events.event_type.isin(task.history)].reset_index(drop=True)
    countable["day"] = local_days(countable.event_time, task.time_zone)
    return countable


def _with_draw(tables: Tables, drawn: Drawn) -> Tables:
    """Return the tables with what the draw of products tells."""
    return replace(
        tables,
        notes=[*tables.notes, *drawn.notes],
        logit_offset=drawn.logit_offset,
        dropped=_counted(tables.dropped, drawn.dropped),
        truth=None,  # it speaks of exposures
    )


def _counted(*counts: pd.DataFrame) -> pd.DataFrame:
    """Return several counts of lost rows as one; an empty one knows no types."""
    together = pd.concat(counts, ignore_index=True)
    return together.reindex(columns=list(COLUMNS)).astype({"rows": np.int64})


def _exposures(events: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Return the impressions in a fixed order, with the day of their cutoff."""
    shown = events[events.event_type == "impression"].drop(columns="event_type")
    if shown.empty:
        raise DataError(
            "user_behavior: there is no event of type impression; the samples are what a user was "
            "shown, so the log must hold impressions. Where it holds successes only, state "
            "negatives in the task of schema.yaml."
        )
    shown = shown.dropna(axis=1, how="all")
    order = [c for c in ("event_time", "user_id", "list_id", "position", "item_id") if c in shown]
    if "event_id" in shown:
        order.append("event_id")
    if shown.duplicated(order).any():  # then all columns decide, so that the rows' order does not
        order += [c for c in shown if c not in order]
    shown = shown.sort_values(order, kind="stable", ignore_index=True)
    days = local_days(shown.event_time, task.time_zone)
    return _with(shown, cutoff_day=period_start(days, task))


def _with(frame: pd.DataFrame, **columns: np.ndarray | pd.Series) -> pd.DataFrame:
    """Return a frame with columns more, which pandas advises against adding to a wide one."""
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def _day_after(events: pd.DataFrame, totals: pd.DataFrame, task: Task) -> int:
    """Return the day after the whole log's last: a label window must not reach into it."""
    last = int(local_days(events.event_time, task.time_zone).max())
    return max(last, int(totals.day.max()) if len(totals) else last) + 1


def _roles(exposures: pd.DataFrame, task: Task, end: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Return each exposure's role, empty for those left out, and a count of these."""
    start = day_number(task.train_from, -(2**62))
    cutoff = exposures.cutoff_day.to_numpy()
    used = (cutoff >= start) & (cutoff < end)
    if not used.any():
        raise DataError(
            f"user_behavior: no exposure lies in the period from train_from to end of schema.yaml; "
            f"they are of {_date(cutoff.min())} to {_date(cutoff.max())}, so state other dates."
        )
    borders = _borders(cutoff[used], task)
    role = np.array(ROLES, dtype=object)[np.searchsorted(borders, cutoff, side="right")]
    crossing = used & crosses(exposures, cutoff, np.append(borders, end), task)
    role[~used | crossing] = ""
    what, logged = "impression", np.ones(len(exposures), dtype=bool)
    if task.negatives:  # drawn products are no rows of the log
        what, logged = "success", exposures.label.to_numpy() == 1
    lost = {
        DropKind.OUTSIDE: (f"{what}: outside the period that is used", ~used & logged),
        DropKind.CROSSING: (f"{what}: label window crosses a role", crossing & logged),
    }
    return role, dropped_table(
        Dropped("user_behavior", kind, "", reason, int(rows.sum()))
        for kind, (reason, rows) in lost.items()
        if rows.any()
    )


def _borders(cutoff: Ints, task: Task) -> np.ndarray:
    """Return the first days of attribution, valid and test."""
    periods = np.unique(cutoff)
    if len(periods) < MIN_PERIODS:
        when = f", {_date(periods[0])} to {_date(periods[-1])}"
        raise DataError(
            f"user_behavior: the exposures cover {len(periods)} {task.cutoff}s{when}, but train, "
            f"attribution, valid and test need at least {MIN_PERIODS}; take a longer period"
            f"{', or state cutoff: day' if task.cutoff == 'week' else ''}."
        )
    stated = task.borders()
    if stated is None:
        days = np.sort(cutoff)
        cuts = [days[int(len(days) * share)] for share in _SHARES]
        places = np.searchsorted(periods, cuts)
        # Each role keeps at least one period, however unevenly the exposures lie.
        for i in range(3):
            low = (places[i - 1] if i else 0) + 1
            places[i] = np.clip(places[i], low, len(periods) - 3 + i)
        return periods[places]
    borders = np.array([day_number(d, 0) for d in stated])
    inside = np.append(np.append(periods[0], borders), periods[-1] + 1)
    if (np.diff(inside) <= 0).any():
        raise DataError(
            "schema.yaml: train_from, attribution_from, valid_from, test_from and end must follow "
            f"each other within the exposures' days {_date(periods[0])} to {_date(periods[-1])}; "
            f"got {', '.join(stated)}."
        )
    return borders


def _date(day: int) -> str:
    return str(np.datetime64(int(day), "D"))


def _refuse_unusable(exposures: pd.DataFrame) -> None:
    """Refuse samples from which no honest comparison can come."""
    if exposures.user_id.nunique() == 1:
        raise DataError(
            "user_behavior: all exposures belong to one user; importance is judged over users, so "
            "take more of them."
        )
    for role in ROLES:
        labels = exposures.label[exposures.role == role]
        if labels.nunique() < 2:
            what = "no exposure" if labels.empty else f"only the label {labels.iloc[0]}"
            raise DataError(
                f"user_behavior: the role {role} has {what}; both classes are needed in each. Take "
                "a longer period, or state other dates in schema.yaml."
            )


def _number_ids(
    exposures: pd.DataFrame,
    raw: pd.DataFrame,
    recent: np.ndarray,
    items: np.ndarray,
    train: np.ndarray,
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Number items and subcategories by vocabularies of the training rows."""
    known_items = vocabulary(exposures.item_id[train])
    numbers = {
        "item": numbered(exposures.item_id, known_items),
        "recent": bags(recent, numbered(items, known_items)),
    }
    sizes = {"item": len(known_items) + 2}
    named = "item_subcategory" in raw
    subcategory = raw["item_subcategory"] if named else pd.Series(["unknown"] * len(raw))
    known = vocabulary(subcategory[train])
    numbers["subcategory"] = numbered(subcategory, known)
    sizes["subcategory"] = len(known) + 2
    return numbers, sizes


def _table(exposures: pd.DataFrame) -> pd.DataFrame:
    table = exposures.drop(columns="cutoff_day")
    cutoff = exposures.cutoff_day.to_numpy().astype("datetime64[D]").astype("datetime64[ms]")
    names = ["sample_id", *table.columns[:3], "cutoff", *table.columns[3:]]
    return _with(table, sample_id=np.arange(len(table)), cutoff=cutoff)[names]


def _truth(exposures: pd.DataFrame, truth: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the planted truth row by row."""
    if truth is None:
        return None
    return truth.set_index("event_id").loc[exposures.event_id].reset_index(drop=True)


def _save(samples: Samples, folder: Path) -> None:
    tables = {name: getattr(samples, name) for name in _TABLES}
    write_tables(folder, {name: table for name, table in tables.items() if table is not None})
    write_arrays(folder, {"dense": samples.dense, **samples.numbers})
    facts = {name: getattr(samples, name) for name in _FACTS}
    write_facts(folder, facts | {"planted": samples.truth is not None})


def _load(folder: Path) -> Samples:
    """Return samples as they were saved; anything else raises, and they are made again."""
    facts = read_facts(folder)
    for name, kind in _FACTS.items():
        if not isinstance(facts[name], kind):
            raise ValueError(f"the fact {name} must be of the type {kind.__name__}")
    tables = read_tables(folder, _TABLES if facts["planted"] else _TABLES[:-1])
    arrays = read_arrays(folder, ("dense", *_NUMBERS))
    rows = {len(tables[name]) for name in tables if name != "dropped"}
    if rows | {len(array) for array in arrays.values()} != {len(tables["table"])}:
        raise ValueError("the files of the samples do not have equally many rows")
    return Samples(
        table=tables["table"],
        features=tables["features"],
        dropped=tables["dropped"],
        truth=tables.get("truth"),
        dense=arrays["dense"],
        numbers={name: arrays[name] for name in _NUMBERS},
        sizes=facts["sizes"],
        feature_names=facts["feature_names"],
        source=facts["source"],
        notes=facts["notes"],
        logit_offset=facts["logit_offset"],
        fingerprint=facts["fingerprint"],
    )
