"""One rule an operation: what does this use add to each sample's gradient?

A rule gets a ``Use`` and its *delta*, the derivative of the summed loss by the operation's
output. The losses add up without mixing samples, so ``delta[i]`` belongs to sample ``i``
alone. The rule returns the gradients of the whole batch in factored form.

To support one more operation, write its equation as a function and put
``@rule("TypeOfTheOperation")`` above it.

References: Goodfellow (2015), arXiv:1510.01799, for dense layers; Rochette, Manoel and Tramel
(2019), arXiv:1912.06015, for convolutions; Li et al. (2022), arXiv:2110.05679, section 4, for
sequences by the Gram rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TypeAlias

from helpers.backend import tf
from helpers.gradients.forms import Block, Form, Outer, Outers, Rows, Tensor
from helpers.gradients.uses import Use

__all__ = ["RULES", "factor", "rule"]

Rule: TypeAlias = Callable[[Use, Tensor], Form]
RULES: dict[str, Rule] = {}


def rule(*operation_types: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of the given types."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operation_types, function))
        return function

    return register


def factor(use: Use, delta: Tensor) -> Form:
    """Return what one use adds to each sample's gradient by the tensor that is used.

    Args:
        use: the operation.
        delta: derivative of the summed loss by its output.

    Raises:
        UnsupportedOperation: there is no rule, or it does not fit this case.
    """
    if use.op.type not in RULES:
        known = ", ".join(sorted(RULES))
        loop = " (write a loop of your own out, step by step)" * ("While" in use.op.type)
        raise use.unsupported(f"there is no rule for {use.op.type}{loop}, only for {known}")
    if None in use.weights.shape:
        raise use.unsupported(f"its shape {use.weights.shape} is not known before it is computed")
    if delta.dtype.is_complex or use.weights.dtype.is_complex:
        raise use.unsupported("complex numbers have no rule")
    form = RULES[use.op.type](use, delta)
    return replace(form, **{f.name: _lifted(getattr(form, f.name)) for f in fields(form)})


def _lifted(tensor: Tensor) -> Tensor:
    """Return half precision as single: squares and sums would overflow or vanish in half."""
    half = tensor.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(tensor, tf.float32) if half else tensor


@rule("MatMul")
def _matrix(use: Use, delta: Tensor) -> Form:
    """``out_t = in_t @ W``, so ``dl/dW = sum over t of outer(in_t, delta_t)``.

    And ``out = V @ in`` with the samples in the columns is ``out.T = in.T @ V.T``.
    """
    op = use.op
    turned = op.get_attr("transpose_b" if use.position else "transpose_a")
    return _products(use, op.inputs[1 - use.position], delta, turned == bool(use.position))


@rule("BatchMatMulV2")
def _matrices(use: Use, delta: Tensor) -> Form:
    """``out = X @ Y`` over the last two axes: ``dl/dY = X^T delta``, ``dl/dX = delta Y^T``."""
    op, rank = use.op, use.weights.shape.rank
    turned = [op.get_attr("adj_x"), op.get_attr("adj_y")]
    if use.position == 1 and rank == 2 and not turned[0]:
        return _products(use, op.inputs[0], delta, turned[1])
    other = use.by_sample(op.inputs[1 - use.position])
    if turned[1 - use.position]:
        other = tf.linalg.matrix_transpose(other)
    delta = use.by_sample(delta, use.output)
    if use.position == 1:
        gradient = tf.matmul(other, delta, transpose_a=True)
    else:
        gradient = tf.matmul(delta, other, transpose_b=True)
    if turned[use.position]:
        gradient = tf.linalg.matrix_transpose(gradient)
    return Block(_sum_to_variable(use, gradient))


def _products(use: Use, inputs: Tensor, delta: Tensor, turned: bool) -> Form:
    """Return the outer products of inputs and deltas; ``out = in @ W.T`` turns the two round."""
    rows, columns = use.weights.shape
    if turned:
        return _outer(use.positions(delta, rows, use.output), use.positions(inputs, columns))
    return _outer(use.positions(inputs, rows), use.positions(delta, columns, use.output))


def _outer(left: Tensor, right: Tensor) -> Form:
    if left.shape.rank == right.shape.rank == 2:
        return Outer(left, right)
    left, right = (t if t.shape.rank == 3 else t[:, None] for t in (left, right))
    return Outers(left, right)


@rule("Einsum")
def _einsum(use: Use, delta: Tensor) -> Form:
    """``out[b,p,k] = sum over c of x[b,p,c] W[c,k]``: outer products over the positions ``p``.

    Letters may stand for several axes, in any order. Where ``x``, ``W`` and ``out`` share a
    letter, such as a head with weights of its own, there is one matrix for each, and they are
    written out.
    """
    x, w, out, rows = _letters(use)
    other = use.op.inputs[1 - use.position]
    # A batch axis may hold more than the samples; this refuses all but positions of each sample.
    each = use.by_sample(other, anywhere=True).shape.rank - other.shape.rank
    inner = "".join(c for c in w if c in x and c not in out)
    outer = "".join(c for c in w if c in out and c not in x)
    if w not in (inner + outer, outer + inner):
        gradient = tf.einsum(f"{x},{out}->{rows}{w}", other, delta)
        if each:
            gradient = tf.reduce_sum(use.by_sample(gradient, other), axis=1)
        return Block(_flat_entries(use, gradient))
    shared = "".join(c for c in out if c in x and c != rows)  # the positions
    sizes = [delta.shape[out.index(c)] for c in shared]
    count = -1 if each or None in sizes else math.prod(sizes)
    m, n = (math.prod(use.weights.shape[w.index(c)] for c in letters) for letters in (inner, outer))
    left = tf.einsum(f"{x}->{rows}{shared}{inner}", other)
    right = tf.einsum(f"{out}->{rows}{shared}{outer}", delta)
    left = tf.reshape(left, [use.batch, count, m])
    right = tf.reshape(right, [use.batch, count, n])
    return Outers(left, right) if w == inner + outer else Outers(right, left)


def _letters(use: Use) -> tuple[str, str, str, str]:
    """Return the letters of the rows' tensor, the variable and the output; and the batch's."""
    equation = use.op.get_attr("equation").decode()
    inputs, out = equation.split("->")
    parts = [*inputs.split(","), out]
    free = [c for c in "ABCDEFGHIJKLMNOP" if c not in equation]
    tensors = [*use.op.inputs, use.output]
    for k, (part, tensor) in enumerate(zip(parts, tensors, strict=True)):
        if "..." in part:  # spell the axes out, counted from the right
            count = tensor.shape.rank - len(part.replace("...", ""))
            parts[k] = part.replace("...", "".join(free[len(free) - count :]))
    x, w, out = parts[1 - use.position], parts[use.position], parts[2]
    sizes = use.op.inputs[1 - use.position].shape
    rows = "".join(c for c, n in zip(x, sizes, strict=True) if n is None)[:1]
    own = set(w) - set(x) - set(out)
    twice = any(len(set(part)) < len(part) for part in (x, w, out))
    if len(use.op.inputs) != 2 or not rows or rows not in out or rows in w or own or twice:
        raise use.unsupported(f"the equation {equation} is none of rows with weights")
    return x, w, out, rows


@rule("BiasAdd", "AddV2", "Add")
def _add(use: Use, delta: Tensor) -> Form:
    """``out_t = in_t + b``, so ``dl/db = sum over t of delta_t``."""
    if use.op.type == "BiasAdd" and use.op.get_attr("data_format") == b"NCHW":
        delta = tf.transpose(delta, [0, *range(2, delta.shape.rank), 1])
    return Block(_sum_to_variable(use, use.by_sample(delta, use.output)))


@rule("Sub")
def _subtract(use: Use, delta: Tensor) -> Form:
    """``out_t = in_t - b``, so ``dl/db = - sum over t of delta_t``."""
    signed = -delta if use.position else delta
    return Block(_sum_to_variable(use, use.by_sample(signed, use.output)))


@rule("Mul")
def _multiply(use: Use, delta: Tensor) -> Form:
    """``out_t = in_t * w``, so ``dl/dw = sum over t of in_t * delta_t``."""
    product = delta * use.op.inputs[1 - use.position]
    return Block(_sum_to_variable(use, use.by_sample(product, use.output)))


@rule("RealDiv", "Maximum", "Minimum", "Pow", "SquaredDifference", "SelectV2", "DivNoNan", "Xdivy")
def _entry_by_entry(use: Use, delta: Tensor) -> Form:
    """``out = f(in, w)`` entry by entry: the operation's own gradient, summed a sample at a time.

    The variable is repeated for all rows first, so that its gradient still has the batch axis.
    """
    repeated = tf.broadcast_to(use.weights, tf.shape(delta))
    names = [argument.name for argument in use.op.op_def.input_arg]
    inputs = dict(zip(names, use.op.inputs, strict=True)) | {names[use.position]: repeated}
    again = getattr(tf.raw_ops, use.op.type)(**inputs)
    gradient = tf.gradients(again, repeated, delta)[0]
    return Block(_sum_to_variable(use, use.by_sample(gradient, use.output)))


@rule("BroadcastTo")
def _broadcast(use: Use, delta: Tensor) -> Form:
    """``out_t = w``, so ``dl/dw = sum over t of delta_t``."""
    return Block(_sum_to_variable(use, use.by_sample(delta, use.output)))


@rule("Tile")
def _repeat(use: Use, delta: Tensor) -> Form:
    """``out_i = w`` for each sample ``i``, so ``dl_i/dw = delta_i``."""
    repeated = [k for k, n in enumerate(delta.shape) if n != use.weights.shape[k]]
    if len(repeated) != 1 or use.weights.shape[repeated[0]] != 1:
        raise use.unsupported("only a repetition for each row is followed")
    return Block(_flat_entries(use, use.by_sample(delta, use.output, anywhere=True)))


@rule("GatherV2", "ResourceGather")
def _look_up(use: Use, delta: Tensor) -> Form:
    """``out_s = table[id_s]``, so row ``r`` of dl/dtable is the sum of ``delta_s`` with id r."""
    op = use.op
    along_rows = op.type == "ResourceGather" or tf.get_static_value(op.inputs[2]) == 0
    if use.position != 0 or not along_rows or op.get_attr("batch_dims"):
        raise use.unsupported("only a look-up of the first axis of a table is followed")
    width = math.prod(delta.shape[op.inputs[1].shape.rank :])
    ids, deltas = use.positions(op.inputs[1], 1), use.positions(delta, width, use.output)
    ids, deltas = (t if t.shape.rank == 3 else t[:, None] for t in (ids, deltas))
    return Rows(ids[:, :, 0], deltas)


@rule("Conv2D")
def _convolve(use: Use, delta: Tensor) -> Form:
    """``out_p = patch_p @ W``, a dense layer on the patch at each place ``p`` of the image."""
    images = use.op.inputs[0]
    height, width, channels, filters = use.weights.shape
    patches = _patches(use, images, height, width)
    groups = images.shape[-1] // channels
    if groups == 1:
        left = use.positions(patches, height * width * channels, images)
        return _outer(left, use.positions(delta, filters, use.output))
    shape = [use.batch, -1, height * width, groups, channels]
    delta = tf.reshape(use.by_sample(delta, use.output), [use.batch, -1, groups, filters // groups])
    patches = tf.reshape(use.by_sample(patches, images), shape)
    gradient = tf.einsum("bpsgc,bpgf->bscgf", patches, delta)
    return Block(_flat_entries(use, gradient))


@rule("Conv3D")
def _convolve_volumes(use: Use, delta: Tensor) -> Form:
    """The same for the patches of a volume."""
    op, volumes = use.op, use.op.inputs[0]
    *extent, channels, filters = use.weights.shape
    plain = op.get_attr("data_format") == b"NDHWC" and set(op.get_attr("dilations")) == {1}
    if use.position != 1 or not plain or volumes.shape[-1] != channels:
        raise use.unsupported("only channels last, without dilation or groups, are followed")
    patches = tf.raw_ops.ExtractVolumePatches(
        input=volumes,
        ksizes=[1, *extent, 1],
        strides=op.get_attr("strides"),
        padding=op.get_attr("padding").decode(),
    )
    left = use.positions(patches, math.prod(extent) * channels, volumes)
    return _outer(left, use.positions(delta, filters, use.output))


@rule("DepthwiseConv2dNative")
def _convolve_each_channel(use: Use, delta: Tensor) -> Form:
    """``out_p[c, k] = sum over s of patch_p[s, c] W[s, c, k]``: each channel by itself."""
    height, width, channels, each = use.weights.shape
    patches = _patches(use, use.op.inputs[0], height, width)
    patches = tf.reshape(
        use.by_sample(patches, use.op.inputs[0]), [use.batch, -1, height * width, channels]
    )
    delta = tf.reshape(use.by_sample(delta, use.output), [use.batch, -1, channels, each])
    return Block(_flat_entries(use, tf.einsum("bpsc,bpck->bsck", patches, delta)))


@rule("Conv2DBackpropInput")
def _convolve_back(use: Use, delta: Tensor) -> Form:
    """A transposed convolution: images and deltas have changed their parts."""
    height, width, channels, filters = use.weights.shape
    if use.position != 1:
        raise use.unsupported("only its filter is followed")
    patches = _patches(use, delta, height, width)
    inputs = use.positions(use.op.inputs[2], filters)
    return _outer(use.positions(patches, height * width * channels, use.output), inputs)


def _patches(use: Use, images: Tensor, height: int, width: int) -> Tensor:
    """Return what a convolution sees at each place, shape ``(..., height * width * C)``."""
    op = use.op
    if use.position != 1 or op.get_attr("data_format") != b"NHWC":
        raise use.unsupported("only the layout with channels last is followed")
    padding = op.get_attr("padding").decode()
    if padding == "EXPLICIT":
        sides = op.get_attr("explicit_paddings")
        images, padding = tf.pad(images, [sides[k : k + 2] for k in range(0, 8, 2)]), "VALID"
    return tf.image.extract_patches(
        images, [1, height, width, 1], op.get_attr("strides"), op.get_attr("dilations"), padding
    )


def _flat_entries(use: Use, gradient: Tensor) -> Tensor:
    """Return ``(B, ...)`` as ``(B, size)``, size being the variable's."""
    return tf.reshape(gradient, [use.batch, math.prod(use.weights.shape)])


def _sum_to_variable(use: Use, delta: Tensor) -> Tensor:
    """Return ``(B, size)``: the delta summed over the axes where the variable was repeated."""
    shape = tuple(use.weights.shape)
    axes = delta.shape.rank - len(shape)  # the axes that only the rows have
    if axes == 0 and shape[0] == 1:
        axes, shape = 1, shape[1:]
    if axes < 1:
        raise use.unsupported(f"its shape {tuple(delta.shape)} leaves no axis for the batch")
    repeated = [axes + k for k, n in enumerate(shape) if n == 1]
    summed = tf.reduce_sum(delta, axis=[*range(1, axes), *repeated])
    return tf.reshape(summed, [use.batch, math.prod(shape)])
