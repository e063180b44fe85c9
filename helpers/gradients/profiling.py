"""Where a TensorFlow computation spends its time, as a table."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from helpers.backend import tf
from helpers.base.quiet import quiet_stderr

__all__ = ["TIME_PARTS", "profile_operations", "time_parts"]

#: What :func:`time_parts` tells apart.
TIME_PARTS = ("matrix products", "other operations", "Python and dispatch")

#: TensorFlow calls the event of an operation ``place:Type``; fused types begin with ``_``.
_OPERATION = re.compile(r"^[^:]+:_?([A-Z]\w*)$")
#: Outside a graph the event of a call names the type, and one within it is the computation.
_CALL, _COMPUTATION = re.compile(r"^EagerLocalExecute: _?([A-Z]\w*)$"), "EagerKernelExecute"


class _Event(NamedTuple):
    """Something that ran, in picoseconds."""

    start: int
    stop: int
    name: str


def profile_operations(call: Callable[[], Any], *, repeats: int = 10) -> pd.DataFrame:
    """Run ``call`` under the TensorFlow Profiler and add up the time of each kind of operation.

    The Profiler's own page needs TensorBoard; its trace holds the same facts, and
    this reads them.

    Args:
        call: what to measure; call it once before, so that tracing is not counted.
        repeats: how often it is run.

    Returns:
        ``operation, milliseconds, calls`` of one run, slowest first. Operations run
        side by side on several cores, so the sum can exceed the time that passed.

    Example:
        >>> step = tf.function(lambda x: tf.linalg.matmul(x, x))
        >>> x = tf.ones((64, 64))
        >>> _ = step(x)
        >>> profile_operations(lambda: step(x)).operation.str.contains("MatMul").any()
        np.True_
    """
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    _, threads = _trace(call, repeats)
    for event in (event for events in threads for event in events):
        found = _OPERATION.match(event.name)
        if found:
            spent[found[1]] += event.stop - event.start
            calls[found[1]] += 1
    rows = [(kind, ps / 1e9 / repeats, calls[kind] / repeats) for kind, ps in spent.most_common()]
    return pd.DataFrame(rows, columns=["operation", "milliseconds", "calls"])


def time_parts(call: Callable[[], Any], *, repeats: int = 3) -> pd.Series:
    """Run ``call`` under the TensorFlow Profiler and say what its time was spent on.

    A moment counts for matrix products when one runs on any core, else for other operations
    when one of those runs. What remains is the work around them: Python, choosing the code
    of an operation, making room for its result, handing numbers over.

    Args:
        call: what to measure; call it once before, so that tracing is not counted.
        repeats: how often it is run.

    Returns:
        Milliseconds of one run by :data:`TIME_PARTS`; they add up to the time that passed.

    Example:
        >>> x = tf.ones((2, 2))
        >>> parts = time_parts(lambda: tf.linalg.matmul(x, x))
        >>> parts.index.tolist()
        ['matrix products', 'other operations', 'Python and dispatch']
    """
    seconds, threads = _trace(call, repeats)
    ran = [event for events in threads for event in _computations(events)]
    return _parts(seconds, ran) / repeats


def _parts(seconds: float, ran: list[_Event]) -> pd.Series:
    """Return the milliseconds of each part: what passed, and the operations that ran in it."""
    products = _length(e for e in ran if "MatMul" in e.name)
    operations = _length(ran)
    shares = [products, operations - products, max(seconds * 1e12 - operations, 0)]
    return pd.Series(shares, index=TIME_PARTS, name="milliseconds") / 1e9


def _trace(call: Callable[[], Any], repeats: int) -> tuple[float, list[list[_Event]]]:
    """Return the seconds of all runs, and the events of each thread in their order."""
    # Its place in TensorFlow is internal; the Profiler offers no other way to its trace.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    threads = []
    with tempfile.TemporaryDirectory() as folder:
        with quiet_stderr(), tf.profiler.experimental.Profile(folder):
            began = time.perf_counter()
            for _ in range(repeats):
                call()
            seconds = time.perf_counter() - began
        for file in Path(folder).rglob("*.xplane.pb"):
            for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
                names = plane.event_metadata
                for line in plane.lines:
                    zero = line.timestamp_ns * 1000
                    threads.append(
                        sorted(
                            _Event(
                                s := zero + e.offset_ps,
                                s + e.duration_ps,
                                names[e.metadata_id].name,
                            )
                            for e in line.events
                        )
                    )
    return seconds, threads


def _computations(events: Iterable[_Event]) -> Iterator[_Event]:
    """Yield the operations of a thread, named by their types."""
    kind = ""
    for event in events:
        if found := _OPERATION.match(event.name):
            yield event._replace(name=found[1])
        elif found := _CALL.match(event.name):
            kind = found[1]
        elif event.name == _COMPUTATION:
            yield event._replace(name=kind)


def _length(events: Iterable[_Event]) -> int:
    """Return how long at least one of the events was running."""
    total = end = 0
    for event in sorted(events):
        total += max(0, event.stop - max(event.start, end))
        end = max(end, event.stop)
    return total
