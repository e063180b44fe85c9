"""The list of rules, and what several of them share.

A rule gets a ``Use`` and its *delta*, the derivative of the summed loss by the operation's
output. The losses add up without mixing samples, so ``delta[i]`` belongs to sample ``i``
alone. The rule returns the gradients of the whole batch in factored form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from helpers.backend import tf
from helpers.gradients.forms import Form, Outer, Outers, Tensor
from helpers.gradients.uses import Use

__all__ = ["RULES", "flat_entries", "outer_products", "rule"]

Rule: TypeAlias = Callable[[Use, Tensor], Form]
RULES: dict[str, Rule] = {}


def rule(*operation_types: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of the given types."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operation_types, function))
        return function

    return register


def outer_products(left: Tensor, right: Tensor) -> Form:
    """Return ``sum over t of outer(left_t, right_t)`` of ``(B, m)`` or ``(B, T, m)``."""
    if left.shape.rank == right.shape.rank == 2:
        return Outer(left, right)
    left, right = (t if t.shape.rank == 3 else t[:, None] for t in (left, right))
    return Outers(left, right)


def flat_entries(use: Use, gradient: Tensor) -> Tensor:
    """Return ``(B, ...)`` as ``(B, size)``, size being the variable's."""
    return tf.reshape(gradient, [use.batch, math.prod(use.shape)])
