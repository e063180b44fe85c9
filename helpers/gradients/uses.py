"""Who reads a trainable variable: the places in the traced graph that shape its gradient.

A traced model is a list of operations with tensors between them. Two sets of tensors matter:
those that depend on the *rows* of the batch, and those that are made of trainable *variables*
alone. A :class:`Use` is an operation where the two meet.

The batch size is unknown while the model is traced, so ``None`` in a shape is the batch axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import helpers.gradients.moves  # they say how places move
import helpers.gradients.picks  # along the batch
import helpers.gradients.segments  # noqa: F401 - by numbers of rows
from helpers.backend import keras, tf
from helpers.gradients.forms import Tensor
from helpers.gradients.places import FIRST, Places, entries_of_samples, places_after
from helpers.gradients.sizes import cut_of

__all__ = [
    "CHOSEN",
    "MADE",
    "SAME",
    "TURNED",
    "Source",
    "UnsupportedOperation",
    "Use",
    "find_uses",
    "names_of_ancestors",
]

#: How a tensor is made of variables: the numbers of one variable in its own order, the
#: transpose of one matrix, fixed rows of one table, or any other function.
SAME, TURNED, CHOSEN, MADE = "same", "turned", "chosen", "made"

# These hand on a variable's numbers in their order.
_PASSES_ON = frozenset({"ReadVariableOp", "Identity", "Cast", "Reshape", "ExpandDims", "Squeeze"})
# No gradient flows through these, so what they read does not matter.
_STOPS = frozenset({"Shape", "ShapeN", "Size", "Rank", "StopGradient", "VariableShape"})
_STOPS |= {"ZerosLike", "OnesLike", "VarIsInitializedOp"}
_LOOPS = frozenset({"While", "StatelessWhile"})
# Beginnings and ends of the names of operations that draw random numbers.
_DRAWS = ("Random", "Stateful", "Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal")
_SAMPLES = "CandidateSampler"


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
        traced_shape: the shape of that input or, where the operation reads a variable by its
            handle, of the variable. It is None where not even the number of axes is known.
        places: where the samples stand, by the names of the tensors that have such places.
        batch: the number of samples, a scalar tensor.
    """

    op: Any
    position: int
    source: Source
    names: tuple[str, ...]
    traced_shape: tuple[int | None, ...] | None
    places: Mapping[str, Places]
    batch: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the traced shape.

        Raises:
            UnsupportedOperation: it is not known.
        """
        known = [n for n in self.traced_shape or () if n is not None]
        if self.traced_shape is None or len(known) < len(self.traced_shape):
            told = f"its shape {self.traced_shape} is not known before it is computed"
            raise self.unsupported(told)
        return tuple(known)

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

    def places_in(self, tensor: Tensor) -> Places:
        """Return where the samples stand in a tensor of the model.

        Raises:
            UnsupportedOperation: it has no axis of samples that could be followed.
        """
        if tensor.name in self.places:
            return self.places[tensor.name]
        shape = None if tensor.shape.rank is None else tuple(tensor.shape)
        raise self.unsupported(
            f"in the shape {shape} no axis could be found that holds the samples and nothing else"
            f"{_lost_by(tensor, self.places)}; a layer that mixes the rows, such as batch "
            "normalisation in training, has no gradient of one sample"
        )

    def by_sample(self, tensor: Tensor, like: Tensor | None = None) -> Tensor:
        """Return a tensor with the samples on its first axis, and nothing else.

        A layer may have put other axes into that of the samples: ``(B * T, d)`` becomes
        ``(B, T, d)``, and so does ``(T * B, d)``. See ``places``.

        Args:
            tensor: a tensor of the model, or one that was computed from such.
            like: a tensor of the model whose axes are like this one's.

        Raises:
            UnsupportedOperation: no axis of the tensor holds the samples.
        """
        places = self.places_in(tensor if like is None else like)
        return entries_of_samples(tensor, places, self.batch)

    def positions(self, tensor: Tensor, width: int, like: Tensor | None = None) -> Tensor:
        """Return a tensor as ``(B, width)`` or, with several positions, ``(B, T, width)``."""
        plain = self.places_in(tensor if like is None else like).plain
        rows = self.by_sample(tensor, like)
        if plain and rows.shape.rank == 2 and rows.shape[1] in (None, width):
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

    Returns:
        The uses, in the order in which their operations ran.

    Raises:
        UnsupportedOperation: random numbers reach the loss.
    """
    graph, batch = losses.graph, tf.shape(losses)[0]
    needed = names_of_ancestors(losses)
    places = {t.name: FIRST for t in tf.nest.flatten(inputs)}
    rows = set(places)
    handles = [graph.capture(v.value.handle) for v in variables]
    sources = {h.name: Source(h, frozenset([k]), SAME) for k, h in enumerate(handles)}
    met = []
    for op in graph.get_operations():
        # What depends on the rows stays so. What does not may still be made of variables, and is
        # followed until it meets the rows: in x @ (W * mask), W meets them in the product only.
        if _depends_on(op, rows):
            rows.update(t.name for t in op.outputs)
            places |= places_after(op, places, batch)
            if op.name in needed and op.type not in _STOPS:
                met += [(op, k) for k, t in enumerate(op.inputs) if t.name in sources]
        elif op.type not in _STOPS:
            sources |= {s.tensor.name: s for s in _made_by(op, sources)}
    uses = []
    for op, k in met:
        source = sources[op.inputs[k].name]
        names = tuple(variables[n].path for n in sorted(source.numbers))
        # A handle is a scalar that points to the variable: the shape wanted is the variable's.
        by_handle = source.tensor.dtype == tf.resource
        shape = variables[min(source.numbers)].shape if by_handle else source.tensor.shape
        known = None if not by_handle and shape.rank is None else tuple(shape)
        uses.append(Use(op, k, source, names, known, places, batch))
    _refuse_draws(graph, needed, uses)
    _refuse_loops(uses)
    return uses


def _refuse_draws(graph: Any, needed: set[str], uses: Sequence[Use]) -> None:
    """Refuse a loss that is another one at every call.

    Raises:
        UnsupportedOperation: random numbers reach the loss; names a use that they reach.
    """
    first: Any = None
    reached: set[str] = set()
    for op in graph.get_operations():
        if op.name in needed and _draws(op):
            first = first or op
            reached.update(t.name for t in op.outputs)
        elif any(t.name in reached for t in op.inputs):
            reached.update(t.name for t in op.outputs)
    if first is None or not uses:
        return
    met = [use for use in uses if any(t.name in reached for t in use.op.inputs)]
    raise (met or uses)[0].unsupported(
        f'random numbers are drawn at every call ({first.type}, "{first.name}"), so the loss of a '
        "row is no function of it, and changes with the rows beside it; give fixed numbers, such "
        "as sampled_values, and call layers with training=False"
    )


def _refuse_loops(uses: Sequence[Use]) -> None:
    """Refuse what a loop makes of variables before rows meet it, such as a matrix exponential.

    One gradient for each sample would go back through the loop, and TensorFlow ends the process
    where many go back through a loop at once and its number of rounds hangs on numbers.
    """
    for use in uses:
        loop = _loop_behind(use.weights) if use.source.kind == MADE else None
        if loop is not None:
            raise use.unsupported(
                f'what is read is made of the variable in a loop ({loop.type}, "{loop.name}") '
                "whose number of rounds is not known beforehand"
            )


def _loop_behind(tensor: Tensor) -> Any | None:
    """Return a loop among the operations that a tensor is computed from."""
    names = names_of_ancestors(tensor)
    loops = (op for op in tensor.graph.get_operations() if op.type in _LOOPS)
    return next((op for op in loops if op.name in names), None)


def _draws(op: Any) -> bool:
    """Return whether an operation makes other numbers at every call."""
    if op.type == "StatelessRandomGetKeyCounter":  # a function of its seed, which may move on
        return tf.get_static_value(op.inputs[0]) is None
    kind: str = op.type
    return kind.startswith(_DRAWS) or kind.endswith(_SAMPLES)


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
    sizes = shape.inputs[0].shape
    if sizes.rank is None:
        return False
    if op.get_attr("shrink_axis_mask"):
        return sizes[int(ends[0][0])] is not None
    begin, end, step = cut_of(op)
    return None not in list(sizes)[begin:end:step]


def _lost_by(tensor: Tensor, places: Mapping[str, Places]) -> str:
    """Return the words for the operation behind which the samples could not be followed."""
    waiting: list[Any] = [tensor.op]
    seen: set[str] = set()
    for op in waiting:
        if any(t.name in places for t in op.inputs):
            return f' (they were lost in {op.type}, "{op.name}")'
        new = [t.op for t in op.inputs if t.op.name not in seen]
        seen.update(before.name for before in new)
        waiting += new
    return ""


def names_of_ancestors(tensor: Tensor) -> set[str]:
    """Return the names of the operations that the tensor is computed from."""
    names: set[str] = set()
    waiting = [tensor.op]
    while waiting:
        op = waiting.pop()
        if op.name not in names:
            names.add(op.name)
            waiting.extend(t.op for t in op.inputs)
    return names
