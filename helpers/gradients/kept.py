"""Norms of many rows in a Parquet file: written in pieces, so that a stopped run can go on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.backend import keras
from helpers.cache import write_atomically

__all__ = ["Pieces"]

_PIECE = 2**17  # rows of a piece, at least
_SCHEMA = pa.schema([("row", pa.int64()), ("gradient_norm", pa.float64())])


class Pieces:
    """The pieces of a file beside the place where it will be.

    Args:
        out: the Parquet file that is to be.
        model: whose weights the norms belong to.
        loss: under which; known by its name and code only.
        fingerprint: of the rows.

    Attributes:
        done: number of rows in the finished pieces.

    Raises:
        ValueError: pieces of another model, loss or other rows lie there.
    """

    def __init__(
        self, out: Path, model: keras.Model, loss: Callable[..., Any], fingerprint: str
    ) -> None:
        self.out = Path(out)
        self.folder = self.out.with_name(f"{self.out.name}.pieces")
        made_of = {"model": _digest(model, loss), "rows": fingerprint}
        facts = self.folder / "made_of.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        if facts.exists() and json.loads(facts.read_text(encoding="utf-8")) != made_of:
            raise ValueError(
                f"{self.folder} holds pieces of another model, loss or rows. Remove the folder, "
                "or write to another file."
            )
        write_atomically(facts, json.dumps(made_of))
        self.done = sum(pq.read_metadata(file).num_rows for file in self._files())

    def _files(self) -> list[Path]:
        """Return the finished pieces that follow each other from the first row on."""
        files, row = [], 0
        while (file := self.folder / f"{row:012d}.parquet").exists():
            files.append(file)
            row += pq.read_metadata(file).num_rows
        return files

    def add(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Keep the norms that come, and hand them on."""
        waiting: list[np.ndarray] = []
        for norms in batches:
            waiting.append(norms)
            if sum(map(len, waiting)) >= _PIECE:
                self._keep(waiting)
                waiting = []
            yield norms
        if waiting:
            self._keep(waiting)

    def _keep(self, norms: list[np.ndarray]) -> None:
        values = np.concatenate(norms)
        rows = np.arange(self.done, self.done + len(values))
        _write(
            self.folder / f"{self.done:012d}.parquet", [pa.table([rows, values], schema=_SCHEMA)]
        )
        self.done += len(values)

    def finish(self) -> Path:
        """Put the pieces together, remove them, and return the file."""
        _write(self.out, (pq.read_table(file, use_threads=False) for file in self._files()))
        shutil.rmtree(self.folder)
        return self.out


def _write(file: Path, tables: Iterable[pa.Table]) -> None:
    """Write a Parquet file whole or not at all."""
    trial = file.with_name(f".{file.name}.new")
    with pq.ParquetWriter(trial, _SCHEMA, use_dictionary=False) as writer:  # no value repeats
        for table in tables:
            writer.write_table(table)
    trial.replace(file)


def _digest(model: keras.Model, loss: Callable[..., Any]) -> str:
    """Return a digest of the weights, of which of them are trainable, and of the loss."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(f"{variable.shape} {variable.trainable}".encode())
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    code = getattr(getattr(loss, "__code__", None), "co_code", b"")
    digest.update(name.encode() + code)
    return digest.hexdigest()
