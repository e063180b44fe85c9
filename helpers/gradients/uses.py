"""Who reads a trainable variable: the places in the traced graph that shape its gradient.

A traced model is a list of operations with tensors between them. Two sets of tensors matter:
those that depend on the *rows* of the batch, and those that are made of trainable *variables*
alone. A :class:`Use` is an operation where the two meet.

The batch size is unknown while the model is traced, so ``None`` in a shape is the batch axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from helpers.backend import keras, tf
from helpers.gradients.forms import Tensor

__all__ = [
    "CHOSEN",
    "MADE",
    "SAME",
    "TURNED",
    "Source",
    "UnsupportedOperation",
    "Use",
    "find_uses",
]

#: How a tensor is made of variables: the numbers of one variable in its own order, the
#: transpose of one matrix, fixed rows of one table, or any other function.
SAME, TURNED, CHOSEN, MADE = "same", "turned", "chosen", "made"

# These hand on a variable's numbers in their order.
_PASSES_ON = frozenset({"ReadVariableOp", "Identity", "Cast", "Reshape", "ExpandDims", "Squeeze"})
# Along the batch, these find the rows' order, or some rows.
_PICKS = frozenset({"TopKV2", "Where", "Unique", "UniqueV2"})
# No gradient flows through these, so what they read does not matter.
_STOPS = frozenset({"Shape", "ShapeN", "Size", "Rank", "StopGradient", "VariableShape"})
_STOPS |= {"ZerosLike", "OnesLike", "VarIsInitializedOp"}


class UnsupportedOperation(NotImplementedError):
    """The model does something for which there is no exact per-sample rule (yet)."""


@dataclass(frozen=True)
class Source:
    """A tensor that is made of trainable variables alone.

    Attributes:
        tensor: the tensor.
        numbers: the variables' places in the list of trainable variables.
        kind: one of ``SAME``, ``TURNED``, ``CHOSEN`` and ``MADE``.
    """

    tensor: Tensor
    numbers: frozenset[int]
    kind: str


@dataclass(frozen=True)
class Use:
    """One operation where a tensor made of variables meets the rows.

    Attributes:
        op: the operation of the traced graph.
        position: which of the operation's inputs is made of variables.
        source: that input.
        names: the variables' paths, for messages.
        rows: names of the tensors that depend on the rows.
        batch: the number of samples, a scalar tensor.
    """

    op: Any
    position: int
    source: Source
    names: tuple[str, ...]
    rows: frozenset[str]
    batch: Tensor

    @property
    def weights(self) -> Tensor:
        """Return the input that is made of variables."""
        return self.source.tensor

    @property
    def output(self) -> Tensor:
        """Return the tensor that the operation makes."""
        return self.op.outputs[0]

    @property
    def where(self) -> str:
        """Return variable, layer and operation, for messages."""
        layer = self.names[0].split("/")[-2:-1] or [self.names[0]]
        named = " and ".join(f'"{name}"' for name in self.names)
        return f'variable {named} of layer "{layer[0]}", read by {self.op.type} ("{self.op.name}")'

    def unsupported(self, why: str) -> UnsupportedOperation:
        """Return the error that says what cannot be followed, where, and what to do."""
        return UnsupportedOperation(
            f"No exact per-sample gradient for {self.where}: {why}. "
            "Leave that layer out or freeze it (trainable = False), take naive_norms on a few "
            "rows, or add a rule in helpers/gradients/rules.py."
        )

    def by_sample(
        self, tensor: Tensor, like: Tensor | None = None, *, anywhere: bool = False
    ) -> Tensor:
        """Return a tensor with the samples on its first axis, and nothing else.

        A layer may have put other axes into the first one: ``(B * T, d)`` becomes ``(B, T, d)``,
        and the ``(k * B, ...)`` of a dilated convolution ``(B, k, ...)``.

        Args:
            tensor: of the model, or computed from such.
            like: a tensor of the model whose axes are like this one's.
            anywhere: move the batch axis to the front if it is not there.

        Raises:
            UnsupportedOperation: no axis of the tensor is the batch, or it is not the first.
        """
        of_model = tensor if like is None else like
        axis = _batch_axis(of_model)
        if axis is None or (axis and not anywhere):
            shape = None if of_model.shape.rank is None else tuple(of_model.shape)
            raise self.unsupported(
                f"the shape {shape} does not begin with the batch axis; a layer that mixes the "
                "rows, such as batch normalisation in training, has no gradient of one sample"
            )
        share, blocks = _share_of_batch_axis(of_model, self.rows)
        if share == 0:
            raise self.unsupported("the rows are sorted or picked by what they hold")
        if axis:
            if share not in (1, None) or blocks:
                raise self.unsupported("its batch axis is inside, and holds more than the samples")
            others = [k for k in range(tensor.shape.rank) if k != axis]
            moved = tf.transpose(tensor, [axis, *others])
            return tf.reshape(moved, [self.batch, *_sizes(moved)[1:]])  # fails for other sizes
        if share == 1 and not blocks:
            return tensor
        rest = _sizes(tensor)[1:]
        if blocks:  # blocks outside, samples inside
            outside = tf.reshape(tensor, [blocks, self.batch, *rest])
            return tf.transpose(outside, [1, 0, *range(2, outside.shape.rank)])
        inside = int(share) if share and share.denominator == 1 else -1
        return tf.reshape(tensor, [self.batch, inside, *rest])

    def positions(self, tensor: Tensor, width: int, like: Tensor | None = None) -> Tensor:
        """Return a tensor as ``(B, width)`` or, with several positions, ``(B, T, width)``."""
        rows = self.by_sample(tensor, like, anywhere=True)
        if rows.shape.rank == 2 and rows.shape[1] in (None, width):
            return tf.ensure_shape(rows, [None, width])
        sizes = rows.shape[1:]
        count = -1 if None in sizes else math.prod(sizes) // width
        return tf.reshape(rows, [self.batch, count, width])


def find_uses(losses: Tensor, variables: Sequence[keras.Variable], inputs: Any) -> list[Use]:
    """Return every place where something made of variables meets the rows.

    Operations stand in the graph in the order in which they ran, so one pass is enough.

    Args:
        losses: traced losses, shape ``(B,)``.
        variables: trainable variables to follow.
        inputs: traced inputs and labels, in any nesting.
    """
    graph, batch = losses.graph, tf.shape(losses)[0]
    needed = _names_of_ancestors(losses)
    rows = {t.name for t in tf.nest.flatten(inputs)}
    handles = [graph.capture(v.value.handle) for v in variables]
    sources = {h.name: Source(h, frozenset([k]), SAME) for k, h in enumerate(handles)}
    met = []
    for op in graph.get_operations():
        if _depends_on(op, rows):
            rows.update(t.name for t in op.outputs)
            if op.name in needed and op.type not in _STOPS:
                met += [(op, k) for k, t in enumerate(op.inputs) if t.name in sources]
        elif op.type not in _STOPS:
            sources |= {s.tensor.name: s for s in _made_by(op, sources)}
    uses, dependent = [], frozenset(rows)
    for op, k in met:
        source = sources[op.inputs[k].name]
        names = tuple(variables[n].path for n in sorted(source.numbers))
        uses.append(Use(op, k, source, names, dependent, batch))
    return uses


def _made_by(op: Any, sources: dict[str, Source]) -> list[Source]:
    """Return what an operation without rows makes of variables."""
    read = [sources[t.name] for t in op.inputs if t.name in sources]
    if not read:
        return []
    numbers = frozenset().union(*(s.numbers for s in read))
    return [Source(t, numbers, _kind(op, read)) for t in op.outputs if _carries_gradient(t)]


def _carries_gradient(tensor: Tensor) -> bool:
    """Return whether a gradient may flow through: numbers with fractions, or what holds such."""
    kind = tensor.dtype
    return kind.is_floating or kind.is_complex or kind in (tf.resource, tf.variant)


def _kind(op: Any, read: Sequence[Source]) -> str:
    """Return how an operation changes the one source that it reads."""
    before = read[0].kind
    if len(read) > 1 or before in (CHOSEN, MADE):
        return MADE
    if op.type in _PASSES_ON:
        keeps_shape = op.type in ("Identity", "ReadVariableOp", "Cast")
        return before if before == SAME or keeps_shape else MADE
    if op.type == "Transpose" and op.inputs[0].shape.rank == 2:
        turns = list(tf.get_static_value(op.inputs[1])) == [1, 0]
        return {SAME: TURNED, TURNED: SAME}[before] if turns else before
    if op.type in ("GatherV2", "ResourceGather") and before == SAME:
        along_rows = op.type == "ResourceGather" or tf.get_static_value(op.inputs[2]) == 0
        return CHOSEN if along_rows and not op.get_attr("batch_dims") else MADE
    return MADE


def _depends_on(op: Any, rows: set[str]) -> bool:
    """Return whether an operation's result depends on the rows or on their number."""
    if not any(t.name in rows for t in op.inputs):
        return False
    # A shape's entry that is known, such as the length of a sequence, is a constant.
    known = op.type == "StridedSlice" and op.outputs[0].dtype.is_integer
    return not (known and _known_size(op))


def _known_size(op: Any) -> bool:
    """Return whether a slice of a shape holds known sizes only."""
    shape = op.inputs[0].op
    ends = [tf.get_static_value(t) for t in op.inputs[1:]]
    plain = not any(op.get_attr(name) for name in ("ellipsis_mask", "new_axis_mask"))
    if shape.type != "Shape" or any(e is None for e in ends) or not plain:
        return False
    begin, end, step = (int(e[0]) for e in ends)
    begin = None if op.get_attr("begin_mask") else begin
    if op.get_attr("shrink_axis_mask"):
        end = begin + 1 or None
    elif op.get_attr("end_mask"):
        end = None
    sizes = shape.inputs[0].shape
    return sizes.rank is not None and None not in list(sizes)[begin:end:step]


def _share_of_batch_axis(tensor: Tensor, rows: frozenset[str]) -> tuple[Fraction | None, int]:
    """Return how many entries of the batch axis each sample has, and how many blocks lie outside.

    The way back from the tensor to the rows tells it: a reshape moves axes into that one or out
    of it. None: it cannot be told. Later steps would fail on a wrong number, not go on. 0: the
    entries stand in an order that the rows' contents decide, which no check on a batch shows.
    """
    share, blocks = Fraction(1), 0
    while tensor.op.type != "Placeholder":
        op = tensor.op
        if op.type == "Reshape":
            before, after = _known_product(op.inputs[0]), _known_product(tensor)
            if before is None or after is None:
                return None, blocks
            share *= Fraction(before, after)
        elif op.type == "SpaceToBatchND":
            blocks = math.prod(int(n) for n in tf.get_static_value(op.inputs[1]))
        elif op.type == "BatchToSpaceND":
            return (Fraction(1) if share == 1 else None), blocks
        elif op.type in _PICKS and op.inputs[0].shape.rank and op.inputs[0].shape[-1] is None:
            return Fraction(0), blocks
        candidates = [t for t in op.inputs if t.name in rows]
        if op.type == "GatherV2" and not op.get_attr("batch_dims"):
            candidates = [t for t in candidates if t is op.inputs[1]] or candidates
        with_batch = [t for t in candidates if t.shape.rank and None in list(t.shape)]
        if not candidates:
            return None, blocks
        tensor = (with_batch or candidates)[0]
    return share, blocks


def _batch_axis(tensor: Tensor) -> int | None:
    """Return which axis has an unknown size: the first one, or the only one; None: no such."""
    sizes = list(tensor.shape) if tensor.shape.rank is not None else []
    if sizes and sizes[0] is None:
        return 0
    return sizes.index(None) if sizes.count(None) == 1 else None


def _known_product(tensor: Tensor) -> int | None:
    """Return the product of all sizes but the batch's; None: another one is unknown."""
    sizes = list(tensor.shape) if tensor.shape.rank is not None else [None, None]
    known = [n for n in sizes if n is not None]
    return math.prod(known) or None if len(known) == len(sizes) - 1 else None


def _sizes(tensor: Tensor) -> list[Any]:
    """Return the sizes of all axes: numbers where they are known, else tensors."""
    traced = tf.unstack(tf.shape(tensor))
    return [t if n is None else n for n, t in zip(tensor.shape, traced, strict=True)]


def _names_of_ancestors(tensor: Tensor) -> set[str]:
    """Return the names of the operations that the tensor is computed from."""
    names: set[str] = set()
    waiting = [tensor.op]
    while waiting:
        op = waiting.pop()
        if op.name not in names:
            names.add(op.name)
            waiting.extend(t.op for t in op.inputs)
    return names
