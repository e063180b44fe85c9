"""What operations do to the places of the samples that say themselves which row is whose.

A sum over segments, a sparse tensor and a scatter hold numbers of rows: entry ``s`` goes to row
``row_s``. Where the entries' samples are known, too, the two are compared each time that rows
come; rows that go elsewhere, in an order of their contents, are an error and never a number.
"""

from __future__ import annotations

from typing import Any

from helpers.backend import tf
from helpers.gradients.forms import Tensor
from helpers.gradients.places import FIRST, Known, Places, owners_of, places_rule

__all__ = []

_SEGMENTS = ("SegmentSum", "SegmentMean", "SegmentMax", "SegmentMin", "SegmentProd")
_SPARSE = ("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN")
_SCATTERS = ("ScatterNd", "TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub",
             "TensorScatterMax", "TensorScatterMin")  # fmt: skip


def _first_if_own(op: Any, rows: Tensor, owners: Tensor | None, batch: Tensor) -> Places | None:
    """Return the samples' places in the first axis, if each entry goes to its sample's row.

    Args:
        op: the operation; its first output has those rows.
        rows: the row of each entry.
        owners: the sample of each entry, or None where it is not known; then nothing can be said.
        batch: the number of samples, a scalar tensor.
    """
    output = op.outputs[0]
    if owners is None or not output.shape.rank or output.shape[0] is not None:
        return None
    said = f'{op.type} ("{op.name}") brings entries of one row of the batch into another'
    tf.debugging.assert_equal(tf.cast(rows, owners.dtype), owners, said)
    few = f'{op.type} ("{op.name}") makes more or fewer rows than the batch has'
    tf.debugging.assert_equal(tf.shape(output)[0], batch, few)
    return FIRST


def _owners(tensor: Tensor, known: Known, batch: Tensor) -> Tensor | None:
    """Return the sample of each entry along the first axis, or None."""
    places = known.get(tensor.name)
    if places is None or places.axis:
        return None
    return owners_of(places, tf.shape(tensor)[0], batch)


def _first_known(tensors: list[Tensor], known: Known, batch: Tensor) -> Tensor | None:
    found = (_owners(tensor, known, batch) for tensor in tensors)
    return next((owners for owners in found if owners is not None), None)


@places_rule(*_SEGMENTS, *(f"{name}V2" for name in _SEGMENTS), *(f"Unsorted{n}" for n in _SEGMENTS))
def _segments(op: Any, known: Known, batch: Tensor) -> Places | None:
    entries, rows = op.inputs[:2]
    if rows.shape.rank != 1:
        return None
    return _first_if_own(op, rows, _first_known([entries, rows], known, batch), batch)


@places_rule(*_SPARSE, *(f"{name}WithNumSegments" for name in _SPARSE))
def _sparse_segments(op: Any, known: Known, batch: Tensor) -> Places | None:
    table, ids, rows = op.inputs[:3]
    owners = _owners(table, known, batch)
    if owners is not None:
        owners = tf.gather(owners, ids)
    else:
        owners = _first_known([ids, rows], known, batch)
    return _first_if_own(op, rows, owners, batch)


@places_rule(*_SCATTERS)
def _scatter(op: Any, known: Known, batch: Tensor) -> Places | None:
    onto = None if op.type == "ScatterNd" else known.get(op.inputs[0].name)
    ids, updates = op.inputs[:2] if op.type == "ScatterNd" else op.inputs[1:3]
    if ids.shape.rank != 2 or (onto is not None and not (onto.plain and onto.axis == 0)):
        return None
    owners = _first_known([updates, ids], known, batch)
    return _first_if_own(op, ids[:, 0], owners, batch)


@places_rule("SparseToDense")
def _to_dense(op: Any, known: Known, batch: Tensor) -> Places | None:
    ids, values = op.inputs[0], op.inputs[2]
    if ids.shape.rank != 2:
        return None
    return _first_if_own(op, ids[:, 0], _first_known([ids, values], known, batch), batch)


@places_rule("SparseTensorDenseMatMul")
def _multiply_sparse(op: Any, known: Known, batch: Tensor) -> Places | None:
    rows = op.inputs[0][:, 1 if op.get_attr("adjoint_a") else 0]
    return _first_if_own(op, rows, _first_known(list(op.inputs[:2]), known, batch), batch)


@places_rule("RaggedTensorToTensor")
def _fill_up(op: Any, known: Known, batch: Tensor) -> Places | None:
    kinds = [kind.decode() for kind in op.get_attr("row_partition_types")]
    owners = _owners(op.inputs[1], known, batch)
    if kinds == ["ROW_SPLITS"]:
        splits = op.inputs[3]
        rows = tf.repeat(tf.range(tf.size(splits) - 1), splits[1:] - splits[:-1])
    elif kinds == ["FIRST_DIM_SIZE", "VALUE_ROWIDS"]:
        rows = op.inputs[4]
    else:
        return None
    return _first_if_own(op, rows, owners, batch)


@places_rule("SparseFillEmptyRows", "SparseReorder")
def _sparse_rows(op: Any, known: Known, batch: Tensor) -> list[Places | None] | None:
    """Rows of the result are those of the samples, if those of the entries were."""
    ids = op.inputs[0]
    if (owners := _first_known(list(op.inputs[:2]), known, batch)) is None:
        return None
    said = f'{op.type} ("{op.name}") reads entries of one row of the batch for another'
    tf.debugging.assert_equal(tf.cast(ids[:, 0], owners.dtype), owners, said)
    after = Places(0, owners=tf.cast(op.outputs[0][:, 0], tf.int32))
    if op.type == "SparseReorder":
        return [after, after]
    return [after, after, FIRST, known.get(ids.name)]


@places_rule("ComputeAccidentalHits")
def _hits(op: Any, known: Known, batch: Tensor) -> Places | None:
    """Its first result holds the row of each hit."""
    places = known.get(op.inputs[0].name)
    plain = places is not None and places.plain and not places.axis
    return Places(0, owners=op.outputs[0]) if plain else None


@places_rule("SparseReshape")
def _sparse_reshape(op: Any, known: Known, batch: Tensor) -> list[Places | None]:
    return [known.get(op.inputs[0].name), None]


@places_rule("InvertPermutation", "ListDiff", "RandomShuffle", "SparseToSparseSetOperation",
        "DenseToDenseSetOperation", "DenseToSparseSetOperation", "SparseConcat", "SparseSlice",
        "SparseSplit", "SparseAdd", "SparseSparseMaximum", "SparseSparseMinimum", "SparseCross",
        "SparseCrossV2", "RaggedCross", "RaggedTensorToSparse", "RaggedTensorFromVariant",
        "RaggedTensorToVariant", "RaggedGather", "RaggedRange", "CTCGreedyDecoder",
        "CTCBeamSearchDecoder", "StringSplitV2", "StringSplit", "UnicodeDecode")  # fmt: skip
def _anywhere(op: Any, known: Known, batch: Tensor) -> None:
    """Entries in any number and order: they belong to nobody who could be named."""
