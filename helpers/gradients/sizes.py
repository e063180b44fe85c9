"""Sizes of axes while the number of rows is not known yet: ``5``, or ``2 * B``.

A model that reshapes asks for shapes such as ``[tf.shape(x)[0], -1, 4]``. Their entries are read
here as far as they are whole multiples of 1 or of the number of samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from helpers.backend import tf

__all__ = ["Size", "all_of", "cut_of", "sizes_of", "values_of"]

# These hand on whole numbers in their order.
_PASSES_ON = frozenset({"Identity", "Cast", "Reshape", "ExpandDims", "Squeeze"})


@dataclass(frozen=True)
class Size:
    """``count``, or ``count`` times the number of samples.

    Example:
        >>> Size(2, rows=True) == Size(2, rows=True, inside=2)
        True

    Attributes:
        count: the number.
        rows: whether it is to be multiplied by the number of samples.
        inside: how many entries of one sample stand side by side; 0 where it is not known.
    """

    count: int
    rows: bool = False
    inside: int = field(default=1, compare=False)


class _WithAxis(Protocol):
    """What is asked of the places of the samples."""

    @property
    def axis(self) -> int:
        """Return the axis of the samples."""

    @property
    def owners(self) -> Any:
        """Return the sample of each entry, or None where its place tells."""

    @property
    def size(self) -> Size | None:
        """Return the size of the axis."""


def all_of(sizes: Sequence[Size | None] | None) -> list[Size] | None:
    """Return the sizes, or None where one of them, or even their number, is not known.

    Example:
        >>> all_of([Size(2), Size(3)])[1].count, all_of([Size(2), None])
        (3, None)
    """
    known = [n for n in sizes or () if n is not None]
    return known if sizes is not None and len(known) == len(sizes) else None


def sizes_of(tensor: Any, known: Mapping[str, _WithAxis]) -> list[Size | None]:
    """Return the size of each axis, or None for one that is not known.

    The axis of entries of which each sample has another number counts as ``Size(1, rows=True)``.

    Args:
        tensor: a tensor of the traced graph.
        known: where the samples stand, by the names of the tensors that have such places.
    """
    if tensor.shape.rank is None:
        return [None, None]
    places = known.get(tensor.name)

    def size(axis: int, n: int | None) -> Size | None:
        if n is not None:
            return Size(n)
        if places is None or places.axis != axis:
            return None
        return places.size if places.owners is None else Size(1, rows=True)

    return [size(axis, n) for axis, n in enumerate(tensor.shape)]


def values_of(tensor: Any, known: Mapping[str, _WithAxis]) -> list[Size | None] | None:
    """Return the entries of a tensor of whole numbers, or None where their number is not known.

    Args:
        tensor: a scalar or vector of whole numbers.
        known: where the samples stand, by the names of the tensors that have such places.
    """
    fixed = tf.get_static_value(tensor)
    if fixed is not None:
        return [Size(int(n)) for n in fixed.reshape(-1)]
    op, count = tensor.op, tensor.shape.num_elements()
    unknown: list[Size | None] | None = None if count is None else [None] * count
    if op.type in _PASSES_ON:
        return values_of(op.inputs[0], known) or unknown
    if op.type in ("Shape", "ShapeN"):
        source = op.inputs[[t.name for t in op.outputs].index(tensor.name)]
        return None if source.shape.rank is None else _regular(source, known)
    if op.type in ("Pack", "ConcatV2"):
        tensors = list(op.inputs)[: len(op.inputs) - (op.type == "ConcatV2")]
        parts = [part for t in tensors if (part := values_of(t, known)) is not None]
        return [n for part in parts for n in part] if len(parts) == len(tensors) else unknown
    if op.type in ("StridedSlice", "GatherV2"):
        return _some(op, known) or unknown
    if op.type in ("Mul", "FloorDiv", "Prod", "Size"):
        return [_computed(op, known)] if count == 1 else unknown
    if op.type in ("Max", "Min"):  # of one
        values = values_of(op.inputs[0], known) or []
        return values if len(values) == count == 1 else unknown
    if op.type == "Split" and op.inputs[1].shape.rank == 1:
        values = values_of(op.inputs[1], known) or []
        each = len(values) // len(op.outputs)
        start = each * [t.name for t in op.outputs].index(tensor.name)
        return values[start : start + each] or unknown
    return unknown


def _regular(tensor: Any, known: Mapping[str, _WithAxis]) -> list[Size | None]:
    """Return the sizes of a tensor, without those of entries that come in any number."""
    places = known.get(tensor.name)
    odd = places is not None and places.owners is not None
    return [None if odd and n is not None and n.rows else n for n in sizes_of(tensor, known)]


def _some(op: Any, known: Mapping[str, _WithAxis]) -> list[Size | None] | None:
    """Return some entries of a vector, where it is known which."""
    values = values_of(op.inputs[0], known)
    if values is None:
        return None
    if op.type == "GatherV2":
        places = tf.get_static_value(op.inputs[1])
        return None if places is None else [values[int(k)] for k in places.reshape(-1)]
    if op.inputs[0].shape.rank != 1 or any(
        op.get_attr(name) for name in ("ellipsis_mask", "new_axis_mask")
    ):
        return None
    begin, end, step = cut_of(op)
    if step is None or (begin is None and not op.get_attr("begin_mask")):
        return None
    # x[3] takes one entry and loses the axis, where x[3:5] keeps it.
    if op.get_attr("shrink_axis_mask"):
        if begin is None or not -len(values) <= begin < len(values):
            return None
        return [values[begin]]
    if end is None and not op.get_attr("end_mask"):
        return None
    return values[begin:end:step]


def cut_of(op: Any) -> tuple[int | None, int | None, int | None]:
    """Return begin, end and step of a slice's first axis; None is open, or not known."""
    ends = [tf.get_static_value(t) for t in op.inputs[1:]]
    begin, end, step = (None if e is None or not e.size else int(e[0]) for e in ends)
    single = op.get_attr("shrink_axis_mask") & 1  # TensorFlow then takes no notice of the masks
    begin = None if op.get_attr("begin_mask") & 1 and not single else begin
    return begin, None if op.get_attr("end_mask") & 1 else end, step


def _computed(op: Any, known: Mapping[str, _WithAxis]) -> Size | None:
    """Return a product or quotient of sizes, or None where it is no whole multiple of one."""
    if op.type == "Size":
        found = _regular(op.inputs[0], known)
    else:
        read = op.inputs[:1] if op.type == "Prod" else op.inputs
        found = [n for t in read for n in values_of(t, known) or [None]]
    factors = all_of(found)
    # The square of the number of samples is no size that an axis of samples can have.
    if factors is None or sum(n.rows for n in factors) > 1:
        return None
    rows = any(n.rows for n in factors)
    if op.type != "FloorDiv":
        return Size(math.prod(n.count for n in factors), rows, 0 if len(factors) > 1 else 1)
    whole, by = factors
    exact = not by.rows and by.count and whole.count % by.count == 0
    return Size(whole.count // by.count, rows, 0) if exact else None
