"""Norms of many rows in a Parquet file: written in pieces, so that a stopped run can go on.

It goes on only where it would find the same norms again, and each piece says what decided them:

- the fingerprint of the model and the loss (:mod:`helpers.gradients.fingerprint`), and of the
  engine's own code;
- a digest of all its rows, of every byte, which are read and compared before anything is added;
- and where both agree, the norms of some rows of each piece are computed again, for what no
  fingerprint sees.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.backend import tf
from helpers.base.writing import whole_file
from helpers.cache import code_of
from helpers.gradients.batches import count_rows, leaves, take_rows
from helpers.gradients.fingerprint import Fingerprint
from helpers.gradients.streams import Batch, Stream

__all__ = ["Pieces"]

_PIECE = 2**17  # rows of a piece, at least
_PROBED = 256  # rows of a piece that are computed again
_WHOLE = 1024  # rows of batches that are computed again as they are: a model may need this number
_SCHEMA = pa.schema([("row", pa.int64()), ("gradient_norm", pa.float64())])
_FACTS = b"made_of"


@dataclass(frozen=True)
class _Piece:
    """A finished piece.

    Attributes:
        file: the file that holds its norms.
        start: the number of its first row.
        end: the number of the row behind its last one.
        facts: the digests of what it was made by and from, and of its norms.
    """

    file: Path
    start: int
    end: int
    facts: dict[str, str]


class Pieces:
    """The pieces of a file beside the place where it will be.

    Args:
        out: the Parquet file that is to be.
        made_by: the fingerprint of the model and the loss.
        again: computes the norms of a batch, ``again(x, y, sample_weight=...)``.
        tolerance: how far rounding may move a norm, as a share of it.

    Attributes:
        done: number of rows in the finished pieces.

    Raises:
        ValueError: pieces of another model, loss or other rows lie there.

    Warns:
        RuntimeWarning: pieces lie there that cannot be used, as something in the model or the
            loss cannot be looked into; they are removed and the work begins anew.
    """

    def __init__(
        self,
        out: Path,
        made_by: Fingerprint,
        again: Callable[..., np.ndarray],
        *,
        tolerance: float,
    ) -> None:
        self.out = Path(out)
        self.folder = self.out.with_name(f"{self.out.name}.pieces")
        self.made_by, self.again, self.tolerance = made_by, again, tolerance
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pieces = [*self._finished()]
        if self.pieces and made_by.unseen:
            self._begin_anew()
        for name, is_now in self._made_by().items():
            if any(piece.facts[name] != is_now for piece in self.pieces):
                raise ValueError(self._refusal(name))
        self.done = self.pieces[-1].end if self.pieces else 0
        self._rows = _RowsDigest()

    def _made_by(self) -> dict[str, str]:
        """Return what all pieces must have in common."""
        return {"version of the engine": _engine(), "model or loss": self.made_by.digest}

    def _finished(self) -> Iterator[_Piece]:
        """Yield the whole pieces that follow each other from the first row on."""
        row = 0
        while (file := self.folder / f"{row:012d}.parquet").exists():
            try:
                table = pq.read_table(file, use_threads=False)
            except (OSError, pa.ArrowException):  # damaged, as by a power cut
                return
            facts = _facts_of(table)
            if {*self._made_by(), "rows", "norms"} - facts.keys():
                raise ValueError(self._refusal("version of the engine"))
            if facts["norms"] != _digest(table["gradient_norm"].to_numpy()):
                return
            yield _Piece(file, row, row + table.num_rows, facts)
            row += table.num_rows

    def _begin_anew(self) -> None:
        warnings.warn(
            f"The pieces in {self.folder} are not used and all rows are computed anew: it cannot "
            f"be told whether they belong to this model and loss. {self.made_by.unseen[0]}",
            RuntimeWarning,
            stacklevel=4,
        )
        for piece in self.pieces:
            piece.file.unlink()
        self.pieces = []

    def _refusal(self, what: str) -> str:
        return (
            f"{self.folder} holds pieces of another {what}. Remove the folder to begin anew, or "
            "write to another file."
        )

    def checked(self, stream: Stream) -> Stream:
        """Return the rows behind the finished pieces, after a look at those within them.

        Raises:
            ValueError: when the rows are read; the finished pieces are of other rows, or their
                norms are not those that the model and the loss give now.
        """
        return replace(stream, batches=lambda _: self._behind(stream.batches(0)))

    def _behind(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        waiting = iter(self.pieces)
        piece, row, probe = next(waiting, None), 0, _Probe()
        for given in batches:
            batch: Batch | None = given
            while batch is not None and piece is not None:
                part, batch = _cut(batch, piece.end - row)
                self._rows.add(part)
                probe.see(part, row, piece)
                row += count_rows(part[1])
                if row == piece.end:
                    self._compare(piece, probe)
                    piece, probe = next(waiting, None), _Probe()
            if batch is not None:
                self._rows.add(batch)
                yield batch
        if piece is not None:
            raise ValueError(self._refusal("number of rows"))

    def _compare(self, piece: _Piece, probe: _Probe) -> None:
        """See that a piece is of these rows, and that some of its norms come out again."""
        if self._rows.digest() != piece.facts["rows"]:
            raise ValueError(self._refusal(f"kind of rows, from row {piece.start} on"))
        kept = pq.read_table(piece.file, use_threads=False)["gradient_norm"].to_numpy()
        x, y, weight = probe.batch()
        found, was = self.again(x, y, sample_weight=weight), kept[probe.rows - piece.start]
        other = np.flatnonzero(~_near(found, was, self.tolerance))
        if len(other):
            raise ValueError(
                f"{self._refusal('model, loss or rows')} The norm of row {probe.rows[other[0]]} is "
                f"{was[other[0]]:.6g} there, and comes out as {found[other[0]]:.6g} now."
            )

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
        facts = {**self._made_by(), "rows": self._rows.digest(), "norms": _digest(values)}
        end, file = self.done + len(values), self.folder / f"{self.done:012d}.parquet"
        table = pa.table([np.arange(self.done, end), values], schema=_SCHEMA)
        _write(file, [table], {_FACTS: json.dumps(facts)})
        self.pieces.append(_Piece(file, self.done, end, facts))
        self.done = end

    def finish(self) -> Path:
        """Put the pieces together, remove them, and return the file."""
        files = (piece.file for piece in self.pieces)
        _write(self.out, (pq.read_table(file, use_threads=False) for file in files))
        shutil.rmtree(self.folder)
        return self.out


class _RowsDigest:
    """A digest of rows that come batch by batch; how they are cut into batches does not count."""

    def __init__(self) -> None:
        self.columns: dict[str, Any] = {}

    def add(self, batch: Batch) -> None:
        """Read some rows."""
        for name, values in leaves(dict(zip("xyw", batch, strict=True)), "").items():
            if values is not None:
                array = np.asarray(values)
                kind = f"{name} {array.shape[1:]} {array.dtype}"
                column = self.columns.setdefault(kind, hashlib.blake2b(digest_size=16))
                column.update(_bytes(array))

    def digest(self) -> str:
        """Return the digest of the rows so far, and forget them."""
        columns = {kind: column.hexdigest() for kind, column in self.columns.items()}
        self.columns = {}
        return hashlib.blake2b(json.dumps(columns).encode(), digest_size=16).hexdigest()


class _Probe:
    """Some rows of a piece, picked while it is read: the same ones every time."""

    def __init__(self) -> None:
        self.rows = np.zeros(0, int)
        self._parts: list[Batch] = []

    def see(self, batch: Batch, start: int, piece: _Piece) -> None:
        """Take what is wanted of a batch that begins at a row."""
        size = count_rows(batch[1])
        if not len(self.rows):
            self.rows = _probed(piece.start, piece.end, size)
        mine = self.rows[(start <= self.rows) & (self.rows < start + size)] - start
        if len(mine):
            self._parts.append(_rows_of(batch, mine))

    def batch(self) -> Batch:
        """Return all that was taken as one batch."""
        return tuple(tf.nest.map_structure(_joined, *parts)
                     for parts in zip(*self._parts, strict=True))  # fmt: skip


def _probed(start: int, end: int, size: int) -> np.ndarray:
    """Return the places of the rows of a piece that are computed again."""
    rng = np.random.default_rng(start)
    if size <= _WHOLE:
        first = start + size * int(rng.integers(max(1, (end - start) // size)))
        return np.arange(first, min(first + size, end))
    return start + np.sort(rng.choice(end - start, min(_PROBED, end - start), replace=False))


def _facts_of(table: pa.Table) -> dict[str, Any]:
    """Return what a piece says of itself; nothing where it is none of this program."""
    try:
        facts = json.loads((table.schema.metadata or {})[_FACTS])
    except (KeyError, ValueError):
        return {}
    whole = isinstance(facts, dict) and table.schema.names == _SCHEMA.names
    return facts if whole else {}


def _near(found: np.ndarray, was: np.ndarray, tolerance: float) -> np.ndarray:
    """Return which norms are alike but for rounding.

    Where large parts cancel out, rounding is a share of these and not of the small norm: so the
    usual norm counts beside each row's own.
    """
    size = np.abs(was[np.isfinite(was)])
    usual = np.median(size) + 1e-3 * size.max() if len(size) else 0.0
    with np.errstate(invalid="ignore"):
        close = np.abs(found - was) <= tolerance * (np.abs(was) + usual)
    same: np.ndarray = close | (found == was) | (np.isnan(found) & np.isnan(was))
    return same


def _joined(*arrays: Any) -> Any:
    return None if arrays[0] is None else np.concatenate([np.asarray(each) for each in arrays])


def _rows_of(batch: Batch, rows: slice | np.ndarray) -> Batch:
    """Return some rows of inputs, labels and, if any, weights."""
    x, y, weight = batch
    return take_rows(x, rows), take_rows(y, rows), None if weight is None else weight[rows]


def _cut(batch: Batch, size: int) -> tuple[Batch, Batch | None]:
    """Return the first rows of a batch, and the others or None."""
    if count_rows(batch[1]) <= size:
        return batch, None
    return _rows_of(batch, slice(0, size)), _rows_of(batch, slice(size, None))


def _bytes(array: np.ndarray) -> bytes | memoryview:
    if array.dtype.hasobject:  # such as texts
        return "".join(f"{each!r}\n" for each in array.ravel().tolist()).encode()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@functools.cache
def _engine() -> str:
    return code_of("helpers.gradients")


def _digest(values: np.ndarray) -> str:
    return hashlib.blake2b(_bytes(values), digest_size=16).hexdigest()


def _write(
    file: Path, tables: Iterable[pa.Table], metadata: dict[bytes, str] | None = None
) -> None:
    """Write a Parquet file whole or not at all."""
    schema = _SCHEMA.with_metadata(metadata)
    with (
        whole_file(file) as trial,
        pq.ParquetWriter(trial, schema, use_dictionary=False) as writer,  # no value repeats
    ):
        for table in tables:
            writer.write_table(table.replace_schema_metadata(metadata))
