"""A table that was changed as a whole before some of its rows were read.

``gather(l2_normalize(table), ids)`` looks as if each sample's gradient had to be written out for
the whole table and pulled back through the function. But row ``r`` of the function's result often
depends on row ``r`` of the table alone. Then the rows that are read can be taken first and changed
afterwards, ``gather(f(table), ids) = f(gather(table, ids))``, and the chain rule needs those only.

Whether it is so is read off the graph, operation by operation, on the way from the result back to
the variable. Each place where the way meets the variable is a *leaf*:

======== =========================================== ===================================
table    its rows are the result's rows              ``Rows``, at ids that may have moved
repeated the same for all rows, entry by entry       ``Block``, summed over the rows read
product  the same for all rows, as a right factor    ``Outers``
======== =========================================== ===================================

Where an operation lets rows meet, or is not known here, there is no such way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from helpers.backend import tf
from helpers.gradients.forms import Block, Form, Outers, Rows, Tensor

__all__ = ["forms_through_rows"]

# Entry by entry; inputs are repeated where they have fewer axes or a size of 1.
_ENTRY_BY_ENTRY = frozenset({
    "Abs", "Acos", "Acosh", "Add", "AddV2", "Asin", "Asinh", "Atan", "Atan2", "Atanh", "Cast",
    "Ceil", "ClipByValue", "Cos", "Cosh", "Digamma", "Div", "DivNoNan", "Elu", "Equal", "Erf",
    "Erfc", "Exp", "Expm1", "Floor", "FloorDiv", "FloorMod", "Greater", "GreaterEqual", "Identity",
    "Inv", "IsFinite", "IsInf", "IsNan", "LeakyRelu", "Less", "LessEqual", "Lgamma", "Log",
    "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Mul", "MulNoNan",
    "Neg", "NotEqual", "Pow", "RealDiv", "Reciprocal", "Relu", "Relu6", "Rint", "Round", "Rsqrt",
    "SelectV2", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Square",
    "SquaredDifference", "Sub", "Tan", "Tanh", "Xdivy", "Xlog1py", "Xlogy",
})  # fmt: skip
_REDUCTIONS = frozenset({"All", "Any", "EuclideanNorm", "Max", "Mean", "Min", "Prod", "Sum"})
_ALONG_LAST_AXIS = frozenset({"LogSoftmax", "Softmax"})
# What these make carries no gradient of what they read.
_STOPS = frozenset({"OnesLike", "Rank", "Shape", "ShapeN", "Size", "StopGradient", "ZerosLike"})
_STOPS |= {"VariableShape"}
# These hand on a variable's numbers in their order.
_PASSES_ON = frozenset({"ReadVariableOp", "Identity", "Cast", "Reshape", "ExpandDims", "Squeeze"})


class _RowsMeet(Exception):
    """A row of the result may depend on other rows of the table."""


@dataclass
class _GraphWalk:
    """The function of some rows, computed again from the graph.

    Attributes:
        handle: the variable in the traced graph.
        carriers: names of the tensors that depend on it.
        tables: leaves: which rows were read, and the copy of them.
        repeated: leaves: a copy for each row.
        products: leaves: left factor, product, and whether the right factor was turned.
    """

    handle: Tensor
    carriers: frozenset[str]
    tables: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    repeated: list[Tensor] = field(default_factory=list)
    products: list[tuple[Tensor, Tensor, bool]] = field(default_factory=list)
    done: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def rows(self, tensor: Tensor, ids: Tensor) -> Tensor:
        """Return the given rows of a tensor, shape ``(N, ...)``, computed from rows alone.

        Raises:
            _RowsMeet: they cannot be, as far as is known here.
        """
        key = (tensor.name, ids.name)
        if key not in self.done:
            self.done[key] = self._rows(tensor, ids)
        return self.done[key]

    def _rows(self, tensor: Tensor, ids: Tensor) -> Tensor:
        op = tensor.op
        if tensor.name not in self.carriers:
            return tf.gather(tensor, ids)
        if op.type == "ReadVariableOp" and op.inputs[0] is self.handle:
            copy = tf.gather(tensor, ids)
            self.tables.append((ids, copy))
            return copy
        if not tensor.shape.is_fully_defined() or tensor.shape.rank == 0:
            raise _RowsMeet
        if "_gradient_op_type" in op.node_def.attr:  # a gradient that somebody wrote
            raise _RowsMeet
        if op.type in _ENTRY_BY_ENTRY:
            return _again(tensor, [self._beside(t, tensor, ids) for t in op.inputs])
        if op.type not in _OTHERS:
            raise _RowsMeet
        return _OTHERS[op.type](self, tensor, ids)

    def _beside(self, tensor: Tensor, result: Tensor, ids: Tensor) -> Tensor:
        """Return what one input of an operation entry by entry is for the given rows."""
        if tensor.shape.rank == result.shape.rank and tensor.shape[0] == result.shape[0]:
            return self.rows(tensor, ids)
        if tensor.name not in self.carriers:
            return tensor  # the same for all rows
        self.check_same(tensor)
        shape = [1] * (result.shape.rank - tensor.shape.rank) + list(tensor.shape)
        copy = tf.repeat(tf.reshape(tensor, shape), tf.size(ids), axis=0)
        self.repeated.append(copy)
        return copy

    def check_same(self, tensor: Tensor) -> None:
        """Refuse a tensor that is another function of the variable than itself."""
        while tensor is not self.handle:
            if tensor.op.type not in _PASSES_ON or "_gradient_op_type" in tensor.op.node_def.attr:
                raise _RowsMeet
            tensor = tensor.op.inputs[0]


def forms_through_rows(form: Rows, tensor: Tensor, handle: Tensor) -> list[Form] | None:
    """Return the gradients by a variable, where rows of a function of it were read.

    Args:
        form: the gradients by the function's result.
        tensor: the result, rows on its first axis.
        handle: the variable in the traced graph.

    Returns:
        The forms that add up to the gradients, or None where rows may meet in the function.
    """
    walk = _GraphWalk(handle, _carriers(handle))
    ids = tf.reshape(form.ids, [-1])
    try:
        rows = walk.rows(tensor, ids)
    except _RowsMeet:
        return None
    # The function was written again for the rows that were read, one copy per look-up. Its
    # gradient therefore has one entry per look-up too, which tells the samples apart.
    delta = tf.reshape(tf.cast(form.deltas, rows.dtype), tf.shape(rows))

    def gradient(leaf: Tensor) -> Tensor | None:
        found = tf.gradients(rows, leaf, grad_ys=delta)[0]
        if found is None:
            return None
        return _by_sample(form, tf.cast(tf.convert_to_tensor(found), form.dtype), leaf.shape[1:])

    forms: list[Form] = []
    for places, copy in walk.tables:
        if (found := gradient(copy)) is not None:
            forms.append(Rows(tf.reshape(places, tf.shape(form.ids)), found))
    for copy in walk.repeated:
        if (found := gradient(copy)) is not None:
            forms.append(Block(tf.reduce_sum(found, axis=1)))
    for left, product, turned in walk.products:
        if (found := gradient(product)) is not None:
            left = _by_sample(form, tf.cast(left, form.dtype), left.shape[1:])
            forms.append(Outers(found, left) if turned else Outers(left, found))
    return forms


def _by_sample(form: Rows, values: Tensor, sizes: Any) -> Tensor:
    """Return ``(N, ...)`` as ``(B, S, size)``."""
    batch, look_ups = tf.shape(form.ids)[0], form.ids.shape[1]
    look_ups = tf.shape(form.ids)[1] if look_ups is None else look_ups
    return tf.reshape(values, [batch, look_ups, math.prod(sizes)])


def _carriers(handle: Tensor) -> frozenset[str]:
    """Return the names of the tensors that depend on a variable, by its graph."""
    found = {handle.name}
    for op in handle.graph.get_operations():
        if op.type not in _STOPS and any(t.name in found for t in op.inputs):
            found.update(t.name for t in op.outputs)
    return frozenset(found)


def _again(tensor: Tensor, inputs: list[Tensor]) -> Tensor:
    """Return what the operation that made a tensor makes of other inputs."""
    op = tensor.op
    settings = {k: v for k, v in op.node_def.attr.items() if not k.startswith("_")}
    kinds = [t.dtype for t in op.outputs]
    graph = tf.compat.v1.get_default_graph()
    made = graph.create_op(op.type, inputs, kinds, attrs=settings, op_def=op.op_def)
    return made.outputs[tensor.value_index]


def _constant(tensor: Tensor) -> list[int]:
    """Return whole numbers that the graph fixes.

    Raises:
        _RowsMeet: it does not.
    """
    value = tf.get_static_value(tensor)
    if value is None:
        raise _RowsMeet
    return [int(n) for n in value.reshape(-1)]


def _reduced(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """A sum, mean, ... over axes of which none is the rows'."""
    values, axes = tensor.op.inputs
    if any(axis % values.shape.rank == 0 for axis in _constant(axes)):
        raise _RowsMeet
    return _again(tensor, [walk.rows(values, ids), axes])


def _selected(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """One of two numbers for each entry; the old operation also selects whole rows."""
    if any(t.shape != tensor.shape for t in tensor.op.inputs):
        raise _RowsMeet
    return _again(tensor, [walk.rows(t, ids) for t in tensor.op.inputs])


def _along_last_axis(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """A softmax over a row's own entries."""
    if tensor.shape.rank < 2:
        raise _RowsMeet
    return _again(tensor, [walk.rows(tensor.op.inputs[0], ids)])


def _product(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """``out[r] = left[r] @ right``."""
    op = tensor.op
    left, right = op.inputs
    turns = [name for name in ("transpose_a", "adj_x") if name in op.node_def.attr]
    if any(op.get_attr(name) for name in turns) or left.shape.rank != 2 or right.shape.rank != 2:
        raise _RowsMeet
    read = right.name in walk.carriers
    if read:
        walk.check_same(right)
    moved = walk.rows(left, ids)
    made = _again(tensor, [moved, right])
    if read:
        turned = op.get_attr("transpose_b" if op.type == "MatMul" else "adj_y")
        walk.products.append((moved, made, turned))
    return made


def _reshaped(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """The same entries of each row in another shape."""
    before = tensor.op.inputs[0]
    if not before.shape.rank or before.shape[0] != tensor.shape[0]:
        raise _RowsMeet
    return tf.reshape(walk.rows(before, ids), [tf.size(ids), *tensor.shape[1:]])


def _transposed(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """The axes of each row in another order."""
    before, order = tensor.op.inputs
    if _constant(order)[0] != 0:
        raise _RowsMeet
    return tf.transpose(walk.rows(before, ids), order)


def _put_together(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """Parts of each row side by side; or tables below each other, such as a row for padding."""
    *parts, axis = tensor.op.inputs
    (axis,) = _constant(axis)
    axis %= tensor.shape.rank
    if axis:
        return tf.concat([walk.rows(part, ids) for part in parts], axis)
    found, above = None, 0
    for part in parts:
        own = ids - above
        inside = (own >= 0) & (own < part.shape[0])
        rows = walk.rows(part, tf.clip_by_value(own, 0, part.shape[0] - 1))
        inside = tf.reshape(inside, [-1] + [1] * (tensor.shape.rank - 1))
        # No row is in two parts, and one that is in none would have failed when it was read.
        found = rows if found is None else tf.where(inside, rows, found)
        above += part.shape[0]
    return found


def _padded(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """Rows of zeros above or below a table, such as one for padding."""
    before = tensor.op.inputs[0]
    above, _, *rest = _constant(tensor.op.inputs[1])
    if any(rest):
        raise _RowsMeet
    own = ids - above
    inside = (own >= 0) & (own < before.shape[0])
    rows = walk.rows(before, tf.clip_by_value(own, 0, before.shape[0] - 1))
    inside = tf.reshape(inside, [-1] + [1] * (tensor.shape.rank - 1))
    return tf.where(inside, rows, tf.zeros_like(rows))


def _cut(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """Some of a table's rows that follow each other, such as ``table[1:]``."""
    op = tensor.op
    before = op.inputs[0]
    masks = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    begin, steps = _constant(op.inputs[1]), _constant(op.inputs[3])
    if any(op.get_attr(mask) for mask in masks) or set(steps) != {1}:
        raise _RowsMeet
    if list(before.shape[1:]) != list(tensor.shape[1:]):  # with steps of 1: all of each row
        raise _RowsMeet
    first = 0 if op.get_attr("begin_mask") & 1 else begin[0]
    first = max(0, first + before.shape[0] if first < 0 else first)
    return walk.rows(before, ids + first)


def _chosen(walk: _GraphWalk, tensor: Tensor, ids: Tensor) -> Tensor:
    """Rows of a table in a fixed order."""
    op = tensor.op
    before, places = op.inputs[:2]
    along_rows = op.type == "ResourceGather" or tf.get_static_value(op.inputs[2]) == 0
    if not along_rows or op.get_attr("batch_dims") or places.shape.rank != 1:
        raise _RowsMeet
    if places.name in walk.carriers:
        raise _RowsMeet
    moved = tf.cast(tf.gather(places, ids), ids.dtype)
    if op.type == "GatherV2":
        return walk.rows(before, moved)
    if before is not walk.handle:
        raise _RowsMeet
    copy = tf.raw_ops.ResourceGather(resource=before, indices=moved, dtype=tensor.dtype)
    copy = tf.ensure_shape(copy, [None, *tensor.shape[1:]])
    walk.tables.append((moved, copy))
    return copy


_OTHERS: dict[str, Callable[[_GraphWalk, Tensor, Tensor], Tensor]] = {
    **dict.fromkeys(_REDUCTIONS, _reduced),
    **dict.fromkeys(_ALONG_LAST_AXIS, _along_last_axis),
    **dict.fromkeys(("MatMul", "BatchMatMulV2"), _product),
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze"), _reshaped),
    **dict.fromkeys(("GatherV2", "ResourceGather"), _chosen),
    "ConcatV2": _put_together,
    "Pad": _padded,
    "Select": _selected,
    "StridedSlice": _cut,
    "Transpose": _transposed,
}
