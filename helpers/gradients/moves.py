"""What operations do to the places of the samples: those on rows by themselves, and on axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from helpers.backend import tf
from helpers.gradients.forms import Tensor
from helpers.gradients.places import FIRST, Known, Places, agreed, places_rule
from helpers.gradients.sizes import Size, all_of, sizes_of, values_of

__all__ = ["letters_of"]


#: These keep the number of entries along the axis of the samples, and their order, for sure. Rows
#: of which each sample has another number are followed through these only.
_BY_ROWS = frozenset({
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "ApproximateEqual", "Asin", "Asinh", "Atan",
    "Atan2", "Atanh", "AvgPool", "AvgPool3D", "BiasAdd", "BitwiseAnd", "BitwiseOr",
    "BitwiseXor", "Bucketize", "Cast", "Ceil", "CheckNumerics", "ClipByValue", "Conv2D",
    "Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "Cos", "Cosh", "Cumprod",
    "Cumsum", "DepthwiseConv2dNative", "Digamma", "Div", "DivNoNan", "Elu", "EnsureShape",
    "Equal", "Erf", "Erfc", "Erfinv", "Exp", "Expm1", "Floor", "FloorDiv", "FloorMod",
    "FusedBatchNormV3", "Greater", "GreaterEqual", "Identity", "Inv", "IsFinite", "IsInf",
    "IsNan", "LeakyRelu", "Less", "LessEqual", "Lgamma", "Log", "Log1p", "LogSoftmax",
    "LogicalAnd", "LogicalNot", "LogicalOr", "LookupTableFindV2", "MaxPool", "MaxPool3D",
    "Maximum", "Minimum", "Mod", "Mul", "MulNoNan", "Ndtri", "Neg", "NotEqual", "OnesLike",
    "Pow", "PreventGradient", "RealDiv", "Reciprocal", "Relu", "Relu6", "Rint", "Round",
    "Rsqrt", "Select", "SelectV2", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Snapshot",
    "Softmax", "SoftmaxCrossEntropyWithLogits", "Softplus", "Softsign",
    "SparseSoftmaxCrossEntropyWithLogits", "Sqrt", "Square", "SquaredDifference",
    "StopGradient", "StringToHashBucketFast", "Sub", "Tan", "Tanh", "TruncateDiv", "Xdivy",
    "Xlog1py", "Xlogy", "ZerosLike", "Zeta",
})  # fmt: skip


# --- operations that leave the samples where they are ------------------------------------


@places_rule()
def _as_before(op: Any, known: Known, batch: Tensor) -> list[Places | None]:
    """Follow an operation on rows by themselves: entries, the last axes, or a layer's own."""
    return [_of_output(op, known, tensor) for tensor in op.outputs]


def _of_output(op: Any, known: Known, output: Tensor) -> Places | None:
    """Return the inputs' places, with axes counted from the right where shapes broadcast."""
    if output.shape.rank is None:
        return None
    found = []
    for tensor in op.inputs:
        if (places := known.get(tensor.name)) is not None:
            axis = places.axis + output.shape.rank - tensor.shape.rank
            moved = axis != places.axis and not 0 <= axis < output.shape.rank
            if moved or output.shape[axis] is not None:
                axis = places.axis if _is_open(output, places.axis) else -1
            kept = places.owners is None or op.type in _BY_ROWS
            if kept and axis >= 0 and _is_open(output, axis):
                found.append(replace(places, axis=axis))
    return agreed(found)


def _is_open(tensor: Tensor, axis: int) -> bool:
    """Return whether the size of an axis is known only with the rows."""
    return axis < tensor.shape.rank and tensor.shape[axis] is None


@places_rule("IdentityN")
def _each_by_itself(op: Any, known: Known, batch: Tensor) -> list[Places | None]:
    return [known.get(t.name) for t in op.inputs]


@places_rule("Sum", "Mean", "Max", "Min", "Prod", "Any", "All", "EuclideanNorm", "ArgMax", "ArgMin")
def _reduce(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, axes = known.get(op.inputs[0].name), tf.get_static_value(op.inputs[1])
    if places is None or axes is None:
        return None
    gone = {int(a) % op.inputs[0].shape.rank for a in axes.reshape(-1)}
    if places.axis in gone:
        return None  # the rows were summed, or compared
    kept = op.type not in ("ArgMax", "ArgMin") and op.get_attr("keep_dims")
    return replace(places, axis=places.axis - (0 if kept else sum(a < places.axis for a in gone)))


@places_rule("TopKV2")
def _largest(op: Any, known: Known, batch: Tensor) -> Places | None:
    places = known.get(op.inputs[0].name)
    last = op.inputs[0].shape.rank - 1
    return None if places is None or places.axis == last else places


@places_rule("Unique", "UniqueV2")
def _unique(op: Any, known: Known, batch: Tensor) -> list[Places | None]:
    return [None, known.get(op.inputs[0].name), *[None] * (len(op.outputs) - 2)]


@places_rule("OneHot")
def _one_hot(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, axis = known.get(op.inputs[0].name), op.get_attr("axis")
    if places is None or axis in (-1, op.inputs[0].shape.rank):
        return places
    return replace(places, axis=places.axis + (axis <= places.axis))


# --- products ----------------------------------------------------------------------------


def letters_of(op: Any) -> tuple[str, str, str] | None:
    """Return the letters of both inputs and of the output of a product.

    The result is None where the operation multiplies more or less than two tensors, or tensors
    whose number of axes is not known. An axis of size 1 that is repeated has the letter ``.``.

    Example:
        >>> with tf.Graph().as_default():
        ...     product = tf.matmul(tf.zeros([1, 5, 2]), tf.zeros([3, 2, 4]))
        ...     letters_of(product.op)
        ('.cd', 'ade', 'ace')
    """
    if op.type == "Einsum":
        return _spelled(op) if len(op.inputs) == 2 else None
    if op.type == "MatMul":
        turned = [op.get_attr("transpose_a"), op.get_attr("transpose_b")]
    else:
        turned = [op.get_attr("adj_x"), op.get_attr("adj_y")]
    ranks = [t.shape.rank for t in (*op.inputs, op.outputs[0])]
    if None in ranks:
        return None
    outer = "abcdefghijklmnopqrstuvw"[: ranks[2] - 2]
    i, j, k = "cde" if len(outer) < 3 else "xyz"
    # The last two axes are those of the matrices. The axes before them are lined up from the
    # right, as NumPy broadcasts them, so a tensor with fewer axes has the last of the letters.
    parts = []
    for tensor, pair, turn in zip(op.inputs, (i + j, j + k), turned, strict=True):
        own = outer[len(outer) - (tensor.shape.rank - 2) :]
        sizes = tensor.shape[: len(own)]
        full = op.outputs[0].shape[ranks[2] - 2 - len(own) :]
        own = "".join("." if n == 1 and m != 1 else c
                      for c, n, m in zip(own, sizes, full, strict=False))  # fmt: skip
        parts.append(own + (pair[::-1] if turn else pair))
    return parts[0], parts[1], outer + i + k


def _spelled(op: Any) -> tuple[str, str, str] | None:
    """Return an equation's letters with the axes of ``...`` spelled out."""
    equation = op.get_attr("equation").decode()
    inputs, out = equation.split("->")
    parts = [*inputs.split(","), out]
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVW" if c not in equation]
    tensors = [*op.inputs, op.outputs[0]]
    if any(t.shape.rank is None for t in tensors):
        return None
    widths = [t.shape.rank - len(p.replace("...", ""))
              for p, t in zip(parts, tensors, strict=True) if "..." in p]  # fmt: skip
    width = max(widths, default=0)
    names = "".join(free[:width])
    full: dict[str, int | None] = {}
    for k, (part, tensor) in enumerate(zip(parts, tensors, strict=True)):
        if "..." in part:  # counted from the right
            count = tensor.shape.rank - len(part.replace("...", ""))
            parts[k] = part.replace("...", names[width - count :])
    for c, n in zip(parts[-1], op.outputs[0].shape, strict=True):
        full[c] = n
    for k, tensor in enumerate(op.inputs):
        parts[k] = "".join("." if c in names and n == 1 and full.get(c) != 1 else c
                           for c, n in zip(parts[k], tensor.shape, strict=True))  # fmt: skip
    left, right, made = parts
    return left, right, made


@places_rule("MatMul", "BatchMatMulV2", "BatchMatMul", "BatchMatMulV3", "Einsum")
def _multiply(op: Any, known: Known, batch: Tensor) -> Places | None:
    if len(op.inputs) == 1 and op.type == "Einsum":
        parts = op.get_attr("equation").decode().split("->")
        letters: Any = None if "." in parts[0] else (parts[0], parts[1])
    else:
        letters = letters_of(op)
    if letters is None:
        return None
    found, out = [], letters[-1]
    for tensor, own in zip(op.inputs, letters[:-1], strict=True):
        if (places := known.get(tensor.name)) is not None:
            letter = own[places.axis]
            if letter not in out or out.count(letter) + own.count(letter) > 2:
                return None  # summed over the rows
            found.append(replace(places, axis=out.index(letter)))
    return agreed(found)


# --- operations that move axes -----------------------------------------------------------


@places_rule("Reshape")
def _reshape(op: Any, known: Known, batch: Tensor) -> Places | None:
    """``[P, outside, B, inside, S]`` in the order of memory, cut up in another way."""
    places, before = known.get(op.inputs[0].name), sizes_of(op.inputs[0], known)
    after = _new_sizes(op, known)
    if places is None or not after:
        return None
    if None in before or after.count(None) > 1:
        return _open_reshape(places, before, after)
    first, last = _product(before[: places.axis]), _product(before[places.axis + 1 :])
    if places.owners is not None:
        return _reshaped_owners(places, first, last, after)
    if places.inside is None:
        return _open_reshape(places, before, after)
    first, last = first * places.outside, last * places.inside
    axis = next((k for k, n in enumerate(after) if n is None or n.rows), None)
    if axis is None or any(n is None or n.rows for n in after[axis + 1 :]):
        return None
    new_first, new_last = _product(after[:axis]), _product(after[axis + 1 :])
    if not new_first or not new_last or first % new_first or last % new_last:
        return None  # an entry of the new axis would belong to several samples
    return Places(axis, first // new_first, last // new_last)


def _product(sizes: Sequence[Size | None]) -> int:
    """Return the product of the sizes that are known."""
    return math.prod(n.count for n in sizes if n is not None)


def _open_reshape(
    places: Places, before: Sequence[Size | None], after: Sequence[Size | None]
) -> Places | None:
    """Return places where sizes within a sample are not known: it must stay whole, outermost."""
    leading = all(n == Size(1) for n in before[: places.axis])
    if not leading or places.outside != 1 or places.owners is not None:
        return None
    if after[0] == Size(1, rows=True):
        return FIRST
    return Places(0, 1, None) if after[0] is None and None not in after[1:] else None


def _new_sizes(op: Any, known: Known) -> list[Size | None] | None:
    """Return the sizes after a reshape; None in the list: the one that holds the samples."""
    asked, static = values_of(op.inputs[1], known), op.outputs[0].shape
    if static.rank is None:
        if asked is None:
            return None
        static = [None] * len(asked)
    asked = [None] * len(static) if asked is None else asked
    after: list[Size | None] = []
    for n, wanted in zip(static, asked, strict=True):
        after.append(Size(n) if n is not None else wanted)
    after = [None if n is not None and n.count < 0 else n for n in after]
    if after.count(None) == 1 and any(n is not None and n.rows for n in after):  # -1: the rest
        before = all_of(sizes_of(op.inputs[0], known))
        if before is None:
            return after
        whole, rest = _product(before), _product(after)
        if not rest or whole % rest or sum(n.rows for n in before) != 1:
            return after
        after[after.index(None)] = Size(whole // rest)
    return after


def _reshaped_owners(
    places: Places, first: int, last: int, after: Sequence[Size | None]
) -> Places | None:
    """Return places where the axis of the entries takes later axes into itself, or gives some."""
    axis = next((k for k, n in enumerate(after) if n is None), None)
    if axis is None or _product(after[:axis]) != first:
        return None
    new_last = _product(after[axis + 1 :])
    if new_last and last % new_last == 0:
        return Places(axis, owners=tf.repeat(places.owners, last // new_last))
    if not new_last or not last or new_last % last:
        return None
    groups = tf.reshape(places.owners, [-1, new_last // last])
    one = tf.debugging.assert_equal(
        groups,
        groups[:, :1],
        f"a reshape to [-1, {new_last}] puts entries of several rows together",
    )
    with tf.control_dependencies([one]):
        return Places(axis, owners=tf.identity(groups[:, 0]))


@places_rule("Transpose")
def _transpose(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, turns = known.get(op.inputs[0].name), tf.get_static_value(op.inputs[1])
    if places is None or turns is None:
        return None
    return replace(places, axis=[int(t) for t in turns].index(places.axis))


@places_rule("ExpandDims")
def _expand(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, axis = known.get(op.inputs[0].name), tf.get_static_value(op.inputs[1])
    if places is None or axis is None:
        return None
    axis = int(axis.reshape(-1)[0]) % (op.inputs[0].shape.rank + 1)
    return replace(places, axis=places.axis + (axis <= places.axis))


@places_rule("Squeeze")
def _squeeze(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, shape = known.get(op.inputs[0].name), op.inputs[0].shape
    if places is None:
        return None
    gone = {a % shape.rank for a in op.get_attr("squeeze_dims")}
    gone = gone or {k for k, n in enumerate(shape) if n == 1}
    if places.axis in gone or op.outputs[0].shape.rank is None:
        return None
    return replace(places, axis=places.axis - sum(a < places.axis for a in gone))


@places_rule("Pack")
def _pack(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, rank = agreed([known.get(t.name) for t in op.inputs]), op.outputs[0].shape.rank
    if places is None or rank is None:
        return None
    return replace(places, axis=places.axis + (op.get_attr("axis") % rank <= places.axis))


@places_rule("Unpack")
def _unpack(op: Any, known: Known, batch: Tensor) -> Places | None:
    places = known.get(op.inputs[0].name)
    axis = op.get_attr("axis") % op.inputs[0].shape.rank
    if places is None or places.axis == axis:
        return None
    return replace(places, axis=places.axis - (axis < places.axis))
