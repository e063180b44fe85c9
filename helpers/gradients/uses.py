"""Who reads a trainable variable: the places in the traced graph that shape its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from helpers.backend import keras, tf

__all__ = ["UnsupportedOperation", "Use", "find_uses"]

# These hand on a variable's numbers as they are.
_PASSES_ON = frozenset({"ReadVariableOp", "Identity"})
# No gradient flows through these, so what they read does not matter.
_STOPS = frozenset({"Shape", "StopGradient", "VariableShape"})


class UnsupportedOperation(NotImplementedError):
    """The model does something for which there is no exact per-sample rule (yet)."""


@dataclass(frozen=True)
class Use:
    """One operation that reads one variable, together with the rows.

    Attributes:
        variable: the Keras variable.
        number: its place in the list of trainable variables.
        op: the operation of the traced graph.
        position: which of the operation's inputs the variable is.
    """

    variable: keras.Variable
    number: int
    op: Any
    position: int

    @property
    def output(self) -> Any:
        """Return the tensor that the operation makes."""
        return self.op.outputs[0]

    @property
    def where(self) -> str:
        """Return variable, layer and operation, for messages."""
        layer = self.variable.path.split("/")[-2:-1] or [self.variable.path]
        return (
            f'variable "{self.variable.path}" of layer "{layer[0]}", '
            f'read by operation {self.op.type} ("{self.op.name}")'
        )

    def unsupported(self, why: str) -> UnsupportedOperation:
        """Return the error that says what cannot be followed, where, and what to do."""
        return UnsupportedOperation(
            f"No exact per-sample gradient for {self.where}: {why}. "
            "Leave that layer out or freeze it (trainable = False), take naive_norms on a few "
            "rows, or add a rule in helpers/gradients/rules.py."
        )


def find_uses(losses: Any, variables: Sequence[keras.Variable], inputs: Any) -> list[Use]:
    """Return every place where a variable meets the rows on the way to the losses.

    Operations stand in the graph in the order in which they ran, so one pass is enough to
    follow two sets of tensors: those that *are* a variable, and those that depend on the
    rows.

    Args:
        losses: traced losses, shape ``(B,)``.
        variables: trainable variables to follow.
        inputs: traced inputs and labels, in any nesting.

    Raises:
        UnsupportedOperation: a variable is changed before it meets the rows.
    """
    graph = losses.graph
    needed = _names_of_ancestors(losses)
    depends_on_rows = {t.name for t in tf.nest.flatten(inputs)}
    is_variable = {graph.capture(v.value.handle).name: k for k, v in enumerate(variables)}
    uses = []
    for op in graph.get_operations():
        meets_rows = any(t.name in depends_on_rows for t in op.inputs)
        if meets_rows:
            depends_on_rows.update(t.name for t in op.outputs)
        for position, tensor in enumerate(op.inputs):
            if tensor.name not in is_variable or op.name not in needed or op.type in _STOPS:
                continue
            number = is_variable[tensor.name]
            use = Use(variables[number], number, op, position)
            if op.type in _PASSES_ON:
                is_variable[use.output.name] = number
            elif meets_rows:
                uses.append(use)
            else:
                raise use.unsupported("it is changed before it meets the rows of the batch")
    return uses


def _names_of_ancestors(tensor: Any) -> set[str]:
    """Return the names of the operations that the tensor is computed from."""
    names: set[str] = set()
    waiting = [tensor.op]
    while waiting:
        op = waiting.pop()
        if op.name not in names:
            names.add(op.name)
            waiting.extend(t.op for t in op.inputs)
    return names
