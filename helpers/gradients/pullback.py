"""From the tensor that an operation read back to the variable that it was made of.

Most operations read a variable as it is. Others read a function of it: batch normalisation reads
``gamma / sqrt(variance + epsilon)``, a position table is read at fixed places, a tied matrix is
transposed first. With ``P = f(theta)`` and ``G_i = dl_i/dP`` the chain rule gives
``g_i = J^T G_i``, where ``J = dP/dtheta`` is the same for all samples.

For a norm, ``J^T`` is applied to each ``G_i``, or to the rows that were read where rows do not
meet in ``f`` (``row_functions``). For a dot product that would be a waste:
``<J^T G_i, v> = <G_i, J v>``, so the direction is moved forward instead, once for all samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from helpers.backend import tf
from helpers.gradients.forms import (
    MOST_ENTRIES,
    Block,
    Form,
    Outer,
    Outers,
    Rows,
    Tensor,
    by_slices,
    needs_writing_out,
    scales,
    squared_norms,
    write_out,
)
from helpers.gradients.row_functions import forms_through_rows
from helpers.gradients.uses import MADE, SAME, TURNED, Source, Use

__all__ = ["Part", "dots_along", "scales_of", "squared_norms_of"]

_SMALL = 2**12  # entries of a variable for which a batch of any likely size is no matter


@dataclass(frozen=True)
class Part:
    """What one use adds to the gradients by the tensor that it reads.

    Attributes:
        use: the operation.
        form: the gradients of all samples, in the order of the tensor's entries.
    """

    use: Use
    form: Form

    @property
    def source(self) -> Source:
        """Return how that tensor is made of variables."""
        return self.use.source


def squared_norms_of(number: int, handle: Tensor, size: int, parts: Sequence[Part]) -> Tensor:
    """Return ``||g_i||^2`` by one variable, shape ``(B,)``, all of its uses added up first.

    Args:
        number: the variable's place in the list of trainable variables.
        handle: the variable in the traced graph.
        size: the number of its entries.
        parts: what each use of it adds to the gradient.
    """
    parts = [part for part in parts if number in part.source.numbers]
    kind, batch = parts[0].form.dtype, parts[0].use.batch
    parts = [own for part in parts for own in _through_rows(part, number, handle)]

    def squares(forms: Sequence[Form]) -> Tensor:
        now = [Part(part.use, form) for part, form in zip(parts, forms, strict=True)]
        own = [_in_own_order(p, size) for p in now if p.source.kind != MADE]
        found = [*own, *_through_functions(now, handle, size)]
        if not found:  # the function stops the gradient of this variable
            return tf.zeros([forms[0].count], kind)
        return squared_norms(found, size)

    forms = [part.form for part in parts]
    if not parts:  # the same, seen at once
        return tf.zeros([batch], kind)
    read = {p.source.tensor.name: p.source.tensor for p in parts if p.source.kind == MADE}
    written = [size, *(math.prod(t.shape) for t in read.values())]
    if max(written) <= _SMALL or not (read or needs_writing_out(forms)):
        return squares(forms)
    return by_slices(squares, forms, batch, max(1, MOST_ENTRIES // sum(written)))


def scales_of(number: int, handle: Tensor, size: int, parts: Sequence[Part]) -> Tensor:
    """Return how large the terms are that add up to ``g_i`` by one variable, shape ``(B,)``.

    Rounding of activations and deltas alone moves ``||g_i||`` by some last digits of this sum of
    norms. So two computations of one norm may differ by that much, however small the norm is.

    Args:
        number: the variable's place in the list of trainable variables.
        handle: the variable in the traced graph.
        size: the number of its entries.
        parts: what each use of it adds to the gradient.
    """
    found = []
    for part in (own for p in parts for own in _through_rows(p, number, handle)):
        if part.source.kind == MADE:
            found.append(tf.sqrt(squared_norms_of(number, handle, size, [part])))
        else:
            found.append(scales([part.form]))
    return tf.add_n(found) if found else tf.zeros([parts[0].use.batch], parts[0].form.dtype)


def _through_rows(part: Part, number: int, handle: Tensor) -> list[Part]:
    """Return parts by the variable itself, where rows were read of a function of each row."""
    if part.source.kind != MADE or not isinstance(part.form, Rows):
        return [part]
    forms = forms_through_rows(part.form, part.source.tensor, handle)
    if forms is None:
        return [part]
    use = replace(part.use, source=Source(handle, frozenset([number]), SAME))
    return [Part(use, form) for form in forms]


def _in_own_order(part: Part, size: int) -> Form:
    """Return the gradients by the variable itself, where its numbers were only moved."""
    form, source = part.form, part.source
    if source.kind == SAME:
        return form
    if source.kind == TURNED and isinstance(form, Outer | Outers):
        return type(form)(form.deltas, form.inputs)
    shape = source.tensor.shape
    entries = tf.reshape(write_out(form, math.prod(shape)), [form.count, *shape])
    if source.kind == TURNED:
        return Block(tf.reshape(tf.linalg.matrix_transpose(entries), [form.count, size]))
    ids = source.tensor.op.inputs[1]  # CHOSEN: the same rows of a table for every sample
    width = math.prod(shape[ids.shape.rank :])
    ids = tf.broadcast_to(tf.reshape(ids, [1, -1]), [form.count, math.prod(ids.shape)])
    return Rows(ids, tf.reshape(entries, [form.count, ids.shape[1], width]))


def _through_functions(parts: Sequence[Part], handle: Tensor, size: int) -> list[Form]:
    """Return ``J^T G_i`` for the tensors that are other functions of the variable."""
    read = {p.source.tensor.name: p.source.tensor for p in parts if p.source.kind == MADE}
    gradients = []
    for name, tensor in read.items():
        forms = [p.form for p in parts if p.source.tensor.name == name]
        entries = tf.add_n([write_out(form, math.prod(tensor.shape)) for form in forms])
        entries = tf.cast(entries, tensor.dtype)
        gradients.append(tf.reshape(entries, [forms[0].count, *tensor.shape]))
    if not read or tf.gradients([*read.values()], handle)[0] is None:
        return []

    def back(one: list[Tensor]) -> Tensor:
        return tf.convert_to_tensor(tf.gradients([*read.values()], handle, grad_ys=one)[0])

    pulled = tf.vectorized_map(back, gradients)  # over the samples
    return [Block(tf.reshape(tf.cast(pulled, parts[0].form.dtype), [-1, size]))]


def dots_along(part: Part, handles: Sequence[Tensor], direction: Sequence[Tensor]) -> Tensor:
    """Return what one use adds to ``<g_i, v>``, shape ``(B,)``.

    Args:
        part: the use.
        handles: all trainable variables in the traced graph.
        direction: ``v``, one tensor a variable.
    """
    source = part.source
    if source.kind == SAME:
        (number,) = source.numbers
        return part.form.dots(tf.cast(direction[number], part.form.dtype))
    moved = _forward(source, handles, direction)
    return part.form.dots(tf.cast(moved, part.form.dtype))


def _forward(source: Source, handles: Sequence[Tensor], direction: Sequence[Tensor]) -> Tensor:
    """Return ``J v``, by differentiating ``J^T u``, which is linear in ``u``, by ``u``."""
    tensor = source.tensor
    u = tf.zeros_like(tensor)
    moved = [tf.zeros_like(tensor)]
    for number in source.numbers:
        back = tf.gradients(tensor, handles[number], grad_ys=u)[0]
        if back is None:
            continue
        along = tf.cast(direction[number], back.dtype)
        moved += [
            m for m in tf.gradients(tf.convert_to_tensor(back), u, grad_ys=along) if m is not None
        ]
    return tf.add_n(moved)
