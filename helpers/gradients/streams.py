"""Many rows, batch by batch: from arrays, a dataset of TensorFlow or Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.backend import keras, tf
from helpers.gradients.batches import Inputs, as_arrays, count_rows, map_leaves, take_rows
from helpers.gradients.order import check_order

__all__ = ["Batch", "Stream", "open_stream"]

#: Inputs, labels and, or None, the weights of some rows.
Batch: TypeAlias = tuple[Inputs, Inputs, np.ndarray | None]


@dataclass(frozen=True)
class Stream:
    """Rows in a fixed order.

    Attributes:
        rows: how many rows there are; None where a dataset does not know.
        batches: takes the number of a row, and returns the batches from that row on.
    """

    rows: int | None
    batches: Callable[[int], Iterator[Batch]]


def open_stream(
    model: keras.Model, x: Any, y: Inputs | None, *, label: str, batch_size: int
) -> Stream:
    """Return the rows of arrays, a dataset, or Parquet files, as ``norms_over`` explains them.

    Raises:
        ValueError: batch_size is below 1, there are no rows, a column is missing, or there are
            labels where they come with the rows, or none where they do not; or the order of a
            dataset changes with each pass.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1 row; got {batch_size}.")
    if isinstance(x, tf.data.Dataset):
        _no_labels(y, "a dataset of batches (x, y)")
        return _of_dataset(x)
    if isinstance(x, str | Path):
        _no_labels(y, f'Parquet files, which have them in the column "{label}"')
        return _of_parquet(Path(x), model, label, batch_size)
    if y is None:
        raise ValueError("Labels are missing: give y beside the arrays of inputs.")
    return _of_arrays(x, y, batch_size)


def _no_labels(y: Inputs | None, where: str) -> None:
    if y is not None:
        raise ValueError(f"Labels come twice: leave y out beside {where}.")


def _of_arrays(x: Inputs, y: Inputs, batch_size: int) -> Stream:
    x, y = as_arrays(x, y)
    n = count_rows(y)

    def batches(start: int) -> Iterator[Batch]:
        for first in range(start, n, batch_size):
            rows = slice(first, first + batch_size)
            yield take_rows(x, rows), take_rows(y, rows), None

    return Stream(n, batches)


def _of_dataset(dataset: tf.data.Dataset) -> Stream:
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise ValueError(
            "The dataset must yield batches (x, y) or (x, y, sample_weight), as for model.fit; "
            f"it yields {spec}."
        )

    for part in tf.nest.flatten(spec):
        if not isinstance(part, tf.TensorSpec):
            kind = type(part).__name__.removesuffix("Spec")
            raise ValueError(f"The dataset must yield dense tensors; it yields a {kind}: {spec}.")
        if part.shape.rank == 0:
            raise ValueError(f"The dataset yields single rows; call batch(...) on it: {spec}.")
    check_order(dataset)

    def batches(start: int) -> Iterator[Batch]:
        done = 0
        for element in dataset:
            x, y = (map_leaves(lambda t: t.numpy(), part) for part in element[:2])
            skipped = min(max(start - done, 0), count_rows(y))
            weight = element[2].numpy() if len(element) == 3 else None
            done += count_rows(y)
            if skipped < count_rows(y):
                rows = slice(skipped, None)
                weight = None if weight is None else weight[rows]
                yield take_rows(x, rows), take_rows(y, rows), weight

    return Stream(None, batches)


def _of_parquet(path: Path, model: keras.Model, label: str, batch_size: int) -> Stream:
    """Return the rows of one Parquet file, or of all those in a folder, as one stream.

    With files of 3 and 4 rows, a stream that is asked to begin at row 5 leaves out the first
    file and the first two rows of the second.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ValueError(f"There is no Parquet file at {path}.")
    names, as_dict = _input_names(model)
    for file in files:
        _check_columns(file, names, label)
    counts = [pq.read_metadata(file).num_rows for file in files]

    def tables(start: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        for file, count in zip(files, counts, strict=True):
            if start < count:
                for table in _tables(file, [*names, label], start, batch_size):
                    yield file.name, table
            start = max(0, start - count)  # the same row, counted from the next file on

    def batches(start: int) -> Iterator[Batch]:
        # Only the reading runs ahead: turning columns into arrays is quick beside it.
        for file, table in _ahead(tables(start)):
            arrays = {n: _array(table[n], f"{file}: column {n}") for n in names}
            x: Inputs = arrays if as_dict else [*arrays.values()]
            x = x[0] if isinstance(x, list) and len(x) == 1 else x
            yield x, _array(table[label], f"{file}: column {label}"), None

    return Stream(sum(counts), batches)


def _input_names(model: keras.Model) -> tuple[list[str], bool]:
    """Return the names of a model's inputs, and whether it takes them as a dictionary.

    Raises:
        ValueError: the model names no inputs.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            "Parquet columns are found by the names of the model's inputs, and this model names "
            "none. Make it of keras.Input layers, or give a dataset or arrays."
        )
    # A Sequential model has one input, and says so only once it was called.
    as_dict = not isinstance(model, keras.Sequential) and isinstance(model.input, dict)
    return [t.name for t in model.inputs], as_dict


def _check_columns(file: Path, names: list[str], label: str) -> None:
    """Refuse a Parquet file that lacks an input of the model or the label."""
    have = pq.read_schema(file).names
    if missing := [c for c in [*names, label] if c not in have]:
        raise ValueError(
            f'{file.name}: column "{missing[0]}" is missing; the model needs {names} and the '
            f'label "{label}", and the file has {have}.'
        )


def _tables(
    file: Path, columns: list[str], start: int, batch_size: int
) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows from one on."""
    # Pages are read as they are needed, not a row group ahead: memory stays flat.
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=2**18) as opened:
        for table in opened.iter_batches(batch_size, columns=columns):
            skipped, start = min(start, table.num_rows), max(0, start - table.num_rows)
            if skipped < table.num_rows:
                yield table.slice(skipped)


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Yield the items; the next one is read by a thread while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item


def _array(column: pa.Array, where: str) -> np.ndarray:
    """Return a column as an array: numbers as ``(n,)``, lists as ``(n, width)``."""
    if column.null_count:
        raise ValueError(f"{where} has missing values; fill them first.")
    if not pa.types.is_nested(column.type):
        numbers: np.ndarray = column.to_numpy(zero_copy_only=False)
        return numbers
    values = column.flatten()
    width = len(values) // max(1, len(column))
    if not pa.types.is_fixed_size_list(column.type):
        lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise ValueError(f"{where} has lists of different lengths; fill them up with zeros.")
    inner = _array(values, where)
    return inner.reshape(len(column), width, *inner.shape[1:])
