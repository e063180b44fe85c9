"""One rule per operation: what does this use add to each sample's gradient?

To support one more operation, write its equation as a function and put
``@rule("TypeOfTheOperation")`` above it. Here stand products, sums and other functions of
entries; tables are in ``tables``, convolutions in ``convolutions``.

References: Goodfellow (2015), arXiv:1510.01799, for dense layers; Rochette, Manoel and Tramel
(2019), arXiv:1912.06015, for convolutions; Li et al. (2022), arXiv:2110.05679, section 4, for
sequences by the Gram rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace

import helpers.gradients.convolutions  # its rules
import helpers.gradients.tables  # noqa: F401 - its rules
from helpers.backend import tf
from helpers.gradients.forms import Block, Form, Outer, Outers, Tensor
from helpers.gradients.moves import letters_of
from helpers.gradients.registry import RULES, flat_entries, outer_products, rule
from helpers.gradients.uses import Use

__all__ = ["factor"]

_LOOP = (
    "a loop over the rows, or of as many steps as the rows say, hides how it reads the variable; "
    "write a loop of your own out, as operations on all rows"
)
_BRANCH = (
    "a branch that the rows or the weights choose hides how it reads the variable; compute both "
    "and choose with tf.where"
)
_OWN_GRADIENT = "a gradient of one's own (tf.custom_gradient) hides how the variable is read"
_HIDDEN = {"While": _LOOP, "StatelessWhile": _LOOP, "If": _BRANCH, "StatelessIf": _BRANCH,
           "Case": _BRANCH, "StatelessCase": _BRANCH, "IdentityN": _OWN_GRADIENT}  # fmt: skip


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
        why = _HIDDEN.get(use.op.type, f"there is no rule for {use.op.type}, only for {known}")
        raise use.unsupported(why)
    _ = use.shape  # refuses one that is not known
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
    if use.position == 1 and len(use.shape) == 2 and not use.op.get_attr("adj_x"):
        return _products(use, use.op.inputs[0], delta, use.op.get_attr("adj_y"))
    return _contraction(use, delta)


def _products(use: Use, inputs: Tensor, delta: Tensor, turned: bool) -> Form:
    """Return the outer products of inputs and deltas; ``out = in @ W.T`` turns the two round."""
    rows, columns = use.shape
    if turned:
        return outer_products(
            use.positions(delta, rows, use.output), use.positions(inputs, columns)
        )
    return outer_products(use.positions(inputs, rows), use.positions(delta, columns, use.output))


@rule("Einsum")
def _contraction(use: Use, delta: Tensor) -> Form:
    """``out[b,p,k] = sum over c of x[b,p,c] W[c,k]``: outer products over the positions ``p``.

    Letters may stand for several axes, in any order. Where ``x``, ``W`` and ``out`` share a
    letter, such as an expert or a head with weights of its own, there is one matrix for each:
    ``dl/dW[e,c,k] = sum over p of x[b,p,e,c] delta[b,p,e,k]``.

    A sample's gradient is kept as the two factors of its outer products where that takes less
    room, and is written out entry by entry where it does not.
    """
    rows, deltas, letters = _spelled_out(use, delta)
    x, w, out = letters
    # The variable's letters are tried in two parts: the first k say which of its matrices is
    # meant, the others run over the entries of that matrix. With x = "bpec", w = "eck" and
    # out = "bpek", k = 0 does not fit, because "e" stands in the rows and in the output, and
    # k = 1 does: which = "e", left = "c" comes from the rows, right = "k" from the deltas.
    for k in range(len(w)):
        which, own = w[:k], w[k:]
        left = "".join(c for c in own if c in x and c not in out)
        right = "".join(c for c in own if c in out and c not in x)
        if own in (left + right, right + left) and all(c in out for c in which):
            form = _stacked(use, (rows, deltas), letters, (which, left, right))
            if form is not None:
                return form
    # The gradient written out: summed over all letters that neither the samples (the first
    # letter of the output) nor the variable have.
    return Block(flat_entries(use, tf.einsum(f"{x},{out}->{out[0]}{w}", rows, deltas)))


def _stacked(
    use: Use, tensors: tuple[Tensor, Tensor], letters: tuple[str, str, str], parts: Sequence[str]
) -> Form | None:
    """Return outer products over the matrices of a variable.

    Several matrices are treated as one tall matrix in which they stand below each other.
    Position ``(p, e)`` meets the rows of matrix ``e`` alone, so its input gets zeros for the rows
    of all other matrices. With two matrices of two rows each, the input ``[5, 7]`` of the first
    becomes ``[5, 7, 0, 0]``, and the same input of the second becomes ``[0, 0, 5, 7]``.

    Args:
        use: the operation.
        tensors: the rows and the deltas, with the samples on their first axis.
        letters: the letters of the rows, of the variable and of the output, where the sample's
            letter comes first.
        parts: the variable's letters in three parts: those that say which matrix, those that a
            matrix shares with the rows, and those that it shares with the deltas.

    Returns:
        The outer products, or None where the gradient takes less room written out.
    """
    (rows, deltas), (x, w, out), (which, left, right) = tensors, letters, parts
    # Axes of size 1 that are repeated have lost their letters; then their sizes go, too.
    size = dict(zip(w, (n for n in use.shape if n != 1 or len(w) == len(use.shape)),
                    strict=True))  # fmt: skip
    # There are so many matrices, each of m entries on the side of the rows by n on the other.
    count, m, n = (math.prod(size[c] for c in some) for some in parts)
    # Letters over which one sample uses a matrix again and again, such as the time steps.
    positions = "".join(c for c in out[1:] if c in x and c not in w)
    sizes = [deltas.shape[out.index(c)] for c in positions]
    each = -1 if None in sizes else math.prod(sizes)  # tf.reshape finds out what -1 stands for
    # Where the rows lack the letter of the matrices, all matrices meet the same rows, which are
    # repeated for each of them.
    new = "".join(c for c in which if c not in x)
    repeated = tf.ones([size[c] for c in new], rows.dtype)
    inputs = tf.einsum(f"{x},{new}->{out[0]}{positions}{which}{left}", rows, repeated) if new else (
        tf.einsum(f"{x}->{out[0]}{positions}{which}{left}", rows))  # fmt: skip
    deltas = tf.einsum(f"{out}->{out[0]}{positions}{which}{right}", deltas)
    # Whichever side the variable names first comes first in the outer product.
    if not positions and not which:
        pair = tf.reshape(inputs, [use.batch, m]), tf.reshape(deltas, [use.batch, n])
        return Outer(*pair) if w.endswith(left + right) else Outer(*pair[::-1])
    pair = (tf.reshape(inputs, [use.batch, each, count, m]),
            tf.reshape(deltas, [use.batch, each, count, n]))  # fmt: skip
    first, second = pair if w.endswith(left + right) else pair[::-1]
    if which:
        # Per matrix, the padded factors take each * (count * m + n) numbers, or the same with m
        # and n exchanged, and the gradient takes m * n. Where the number of positions is not
        # known, the gradient is written out: its size is.
        if each < 0 or each * (count * first.shape[3] + second.shape[3]) >= m * n:
            return None
        # Input e goes to the place of matrix e: the identity sets all other places to zero.
        first = first[:, :, :, None] * tf.eye(count, dtype=first.dtype)[:, :, None]
    width = count * first.shape[-1] if which else first.shape[-1]
    return Outers(tf.reshape(first, [use.batch, each * count, width]),
                  tf.reshape(second, [use.batch, each * count, second.shape[-1]]))  # fmt: skip


def _spelled_out(use: Use, delta: Tensor) -> tuple[Tensor, Tensor, tuple[str, str, str]]:
    """Return the rows and the deltas with the samples first, and the letters of a product.

    Raises:
        UnsupportedOperation: it is no product of rows with weights.
    """
    op, letters = use.op, letters_of(use.op)
    other = op.inputs[1 - use.position]
    places, after = use.places_in(other), use.places_in(use.output)
    if letters is None:
        raise use.unsupported("it multiplies more or less than two tensors")
    x, w, out = letters[1 - use.position], letters[use.position], letters[2]
    sample = x[places.axis]
    rows, deltas = use.by_sample(other), use.by_sample(delta, use.output)
    # Axes that came to light when those of the samples were taken apart: (B * T, d) has become
    # (B, T, d). Rows and deltas must have equally many, and get the letter "Z" for each.
    several = [rows.shape.rank - len(x), deltas.shape.rank - len(out)]
    # A letter that only the weights have is summed over before the rows are met, and a letter
    # that stands twice picks a diagonal: neither is a product of rows with weights.
    own = set(w) - set(x) - set(out) - {"."}
    twice = any(len(set(part)) < len(part) for part in (x, w, out) if "." not in part)
    if out[after.axis] != sample or sample in w or own or twice or several[0] != several[1]:
        raise use.unsupported(f"the product {x},{w}->{out} is none of rows with weights")
    first = sample + "Z" * several[0]
    moved = [first + part.replace(sample, "") for part in (x, out)]
    once = [k for k, c in enumerate(moved[0]) if c == "."]
    rows = tf.squeeze(rows, once) if once else rows
    return rows, deltas, (moved[0].replace(".", ""), w.replace(".", ""), moved[1])


@rule("BiasAdd", "AddV2", "Add")
def _add(use: Use, delta: Tensor) -> Form:
    """``out_t = in_t + b``, so ``dl/db = sum over t of delta_t``."""
    if use.op.type == "BiasAdd" and use.op.get_attr("data_format") == b"NCHW":
        delta = tf.transpose(delta, [0, *range(2, delta.shape.rank), 1])
    return Block(_summed(use, delta))


@rule("Sub")
def _subtract(use: Use, delta: Tensor) -> Form:
    """``out_t = in_t - b``, so ``dl/db = - sum over t of delta_t``."""
    signed = -delta if use.position else delta
    return Block(_summed(use, signed))


@rule("Mul")
def _multiply(use: Use, delta: Tensor) -> Form:
    """``out_t = in_t * w``, so ``dl/dw = sum over t of in_t * delta_t``."""
    product = delta * use.op.inputs[1 - use.position]
    return Block(_summed(use, product))


@rule("RealDiv", "Maximum", "Minimum", "Pow", "SquaredDifference", "SelectV2", "DivNoNan", "Xdivy")
def _entry_by_entry(use: Use, delta: Tensor) -> Form:
    """``out = f(in, w)`` entry by entry: the operation's own gradient, summed for each sample.

    The variable is repeated for all rows first, so that its gradient still has the batch axis.
    """
    repeated = tf.broadcast_to(use.weights, tf.shape(delta))
    names = [argument.name for argument in use.op.op_def.input_arg]
    inputs = dict(zip(names, use.op.inputs, strict=True)) | {names[use.position]: repeated}
    again = getattr(tf.raw_ops, use.op.type)(**inputs)
    gradient = tf.gradients(again, repeated, delta)[0]
    return Block(_summed(use, gradient))


@rule("BroadcastTo")
def _broadcast(use: Use, delta: Tensor) -> Form:
    """``out_t = w``, so ``dl/dw = sum over t of delta_t``."""
    return Block(_summed(use, delta))


@rule("Tile")
def _repeat(use: Use, delta: Tensor) -> Form:
    """``out_t = w`` for each repetition ``t``, so ``dl/dw = sum over t of delta_t``."""
    shape, places = list(use.shape), use.places_in(use.output)
    rows = use.by_sample(delta, use.output)
    several = rows.shape.rank > delta.shape.rank
    if several and shape[places.axis] != 1:
        # Each sample has the whole variable: what stands inside is an axis of the variable.
        if (places.outside, places.inside) != (1, shape[places.axis]):
            raise use.unsupported("only whole repetitions for each row are followed")
        rows = tf.transpose(rows, _one_axis_moved(rows.shape.rank, 1, places.axis + 1))[:, None]
        repeated = shape
    else:
        repeated = [n for k, n in enumerate(shape) if k != places.axis]
        rows = rows if several else rows[:, None]
    sizes = [n for s, n in zip(rows.shape[2:], repeated, strict=True) for n in (s // n, n)]
    cut = tf.reshape(rows, [use.batch, -1, *sizes])
    return Block(flat_entries(use, tf.reduce_sum(cut, [1, *range(2, 2 + len(sizes), 2)])))


def _one_axis_moved(rank: int, start: int, end: int) -> list[int]:
    """Return the order of axes after one of them was moved to another place."""
    order = [k for k in range(rank) if k != start]
    return [*order[:end], start, *order[end:]]


def _summed(use: Use, gradient: Tensor) -> Tensor:
    """Return ``(B, size)``: summed over the axes where the variable was repeated.

    Args:
        use: the operation.
        gradient: the gradient by the variable's entries as they were repeated for the rows; it
            has the output's shape.

    Raises:
        UnsupportedOperation: the variable has entries for each row.
    """
    axis, shape = use.places_in(use.output).axis, use.shape
    before = gradient.shape.rank - len(shape)  # the axes that only the rows have
    if before < 0 or (axis >= before and shape[axis - before] != 1):
        raise use.unsupported(f"its shape {shape} leaves no axis of the output for the samples")
    rows = use.by_sample(gradient, use.output)
    several = rows.shape.rank - gradient.shape.rank
    others = [k for k in range(gradient.shape.rank) if k != axis]
    once = [1 + several + at for at, k in enumerate(others) if k < before or shape[k - before] == 1]
    return flat_entries(use, tf.reduce_sum(rows, axis=[*range(1, 1 + several), *once]))
