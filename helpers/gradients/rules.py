"""One rule an operation: what does this use add to each sample's gradient?

A rule gets a ``Use`` and its *delta*, the derivative of the summed loss by the operation's
output. The losses add up without mixing samples, so ``delta[i]`` belongs to sample ``i``
alone. The rule returns the gradients of the whole batch in factored form.

To support one more operation, write its equation as a function and put
``@rule("TypeOfTheOperation")`` above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from helpers.backend import tf
from helpers.gradients.forms import Block, Form, Outer, Rows, Tensor
from helpers.gradients.uses import Use

__all__ = ["RULES", "combine", "factor", "rule", "rule_for"]

Rule: TypeAlias = Callable[[Use, Tensor, int], Form]
RULES: dict[str, Rule] = {}


def rule(*operation_types: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of the given types."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operation_types, function))
        return function

    return register


def rule_for(use: Use) -> Rule:
    """Return the rule for one use.

    Raises:
        UnsupportedOperation: there is none.
    """
    if use.op.type not in RULES:
        known = ", ".join(sorted(RULES))
        raise use.unsupported(f"there is no rule for {use.op.type}, only for {known}")
    return RULES[use.op.type]


def factor(use: Use, delta: Tensor, batch: int) -> Form:
    """Return what one use adds to each sample's gradient of its variable."""
    return rule_for(use)(use, tf.convert_to_tensor(delta), batch)


def combine(uses: Sequence[Use], forms: Sequence[Form]) -> Form:
    """Return the sum of all uses of one variable, still factored.

    They have to be added before anything is squared: ``||a + b||^2`` has the cross term
    ``2 <a, b>``, which ``||a||^2 + ||b||^2`` leaves out.

    Raises:
        UnsupportedOperation: the uses differ in kind, such as a table that is also a matrix.
    """
    if len(forms) == 1:
        return forms[0]
    kind = type(forms[0])
    for use, form in zip(uses, forms, strict=True):
        if type(form) is not kind:
            raise use.unsupported(f"the same variable is also read by {uses[0].op.type}")
    return kind.combine(forms)


@rule("MatMul", "BatchMatMulV2")
def _matmul(use: Use, delta: Tensor, batch: int) -> Form:
    """``out_t = in_t @ W``, so ``dl/dW = sum over t of outer(in_t, delta_t)``."""
    left, right = ("transpose_a", "transpose_b") if use.op.type == "MatMul" else ("adj_x", "adj_y")
    if use.position != 1 or use.op.get_attr(left) or len(use.variable.shape) != 2:
        raise use.unsupported("only `rows @ variable` with a 2-D variable is followed")
    inputs = _positions(use, use.op.inputs[0], batch, use.op.inputs[0].shape[-1])
    deltas = _positions(use, delta, batch, delta.shape[-1])
    # out = in @ W.T turns the two factors round.
    return Outer(deltas, inputs) if use.op.get_attr(right) else Outer(inputs, deltas)


@rule("BiasAdd", "AddV2")
def _add(use: Use, delta: Tensor, batch: int) -> Form:
    """``out_t = in_t + b``, so ``dl/db = sum over t of delta_t``."""
    if use.op.type == "BiasAdd" and use.op.get_attr("data_format") != b"NHWC":
        raise use.unsupported("only the layout with channels last is followed")
    return Block(_sum_to_variable(use, delta, batch))


@rule("Mul")
def _multiply(use: Use, delta: Tensor, batch: int) -> Form:
    """``out_t = in_t * w``, so ``dl/dw = sum over t of in_t * delta_t``."""
    other = use.op.inputs[1 - use.position]
    return Block(_sum_to_variable(use, delta * other, batch))


@rule("GatherV2", "ResourceGather")
def _look_up(use: Use, delta: Tensor, batch: int) -> Form:
    """``out_s = table[id_s]``, so row ``r`` of dl/dtable is the sum of ``delta_s`` with id r."""
    along_rows = use.op.type == "ResourceGather" or tf.get_static_value(use.op.inputs[2]) == 0
    if use.position != 0 or not along_rows or use.op.get_attr("batch_dims"):
        raise use.unsupported("only a look-up of the first axis of a table is followed")
    ids = _positions(use, use.op.inputs[1], batch, 1)
    width = math.prod(use.variable.shape[1:])
    return Rows(tf.squeeze(ids, axis=2), _positions(use, delta, batch, width))


def _positions(use: Use, tensor: Tensor, batch: int, width: int) -> Tensor:
    """Return ``(B, ..., width)`` or ``(B * T, width)`` as ``(B, T, width)``."""
    if tensor.shape.rank == 0 or tensor.shape[0] % batch:
        raise use.unsupported(f"shape {tuple(tensor.shape)} does not start with the batch axis")
    return tf.reshape(tensor, [batch, math.prod(tensor.shape) // (batch * width), width])


def _sum_to_variable(use: Use, delta: Tensor, batch: int) -> Tensor:
    """Return ``(B, size)``: the delta summed over the axes where the variable was repeated."""
    shape = tuple(use.variable.shape)
    axes = delta.shape.rank - len(shape)  # the axes that only the rows have
    if axes == 0 and shape[0] == 1:
        axes, shape = 1, shape[1:]
    if axes < 1 or delta.shape[0] != batch:
        raise use.unsupported(f"shape {tuple(delta.shape)} does not start with the batch axis")
    repeated = [axes + k for k, n in enumerate(shape) if n == 1]
    summed = tf.reduce_sum(delta, axis=[*range(1, axes), *repeated])
    return tf.reshape(summed, [batch, math.prod(shape)])
