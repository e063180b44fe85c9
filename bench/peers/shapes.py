"""The shapes of M1 and M2 of ``gradient_models``, and the wire to a worker. NumPy only."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FEATURES, WIDTH, CHECKED_ROWS = 50, 16, 3
_TURN_S = 0.05  # short calls are repeated for so long


@dataclass(frozen=True)
class Shape:
    """A click model: features and embeddings side by side, then dense layers, then one logit."""

    vocabularies: tuple[int, ...]
    hidden: tuple[int, ...]

    @property
    def widths(self) -> list[int]:
        """Return the widths of the dense layers' inputs and of the logit."""
        return [FEATURES + WIDTH * len(self.vocabularies), *self.hidden, 1]


SHAPES = {
    "M1": Shape((), ()),
    "M2": Shape((100_000, 30_000, 10_000, 3_000, 1_000, 300, 100, 30), (256, 128, 64)),
}


class Unsupported(Exception):
    """A peer cannot do this; the message says why."""


def load(file: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features ``(n, 50)``, ids ``(n, tables)`` and labels ``(n,)``."""
    with np.load(file) as rows:
        return rows["features"], rows["ids"], rows["y"]


def serve(step: Callable[[], Any], norms: Callable[[], np.ndarray], naive: np.ndarray) -> None:
    """Check the norms, then answer each line of the input with the seconds of one round.

    Args:
        step: the plain gradient step; it returns when it is done.
        norms: all norms of the batch.
        naive: the norms of the first rows, by one gradient a row.
    """
    step()
    error = float(np.abs(norms()[: len(naive)] - naive).max() / np.abs(naive).max())
    _say(error=error)
    calls = {call: max(1, int(_TURN_S / _seconds(call, 1)[1])) for call in (step, norms)}
    for turn, _ in enumerate(sys.stdin):
        order = (step, norms) if turn % 2 else (norms, step)
        taken = {call: _seconds(call, calls[call]) for call in order}
        _say(step=taken[step], norms=taken[norms])


def refuse(why: str) -> None:
    """Answer that there is nothing to measure."""
    _say(unsupported=why)


def _seconds(call: Callable[[], Any], calls: int) -> tuple[float, float]:
    """Return CPU and wall seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


def _say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)
