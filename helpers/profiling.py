"""Where a TensorFlow computation spends its time, as a table."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.backend import quiet_stderr, tf

__all__ = ["profile_operations"]

#: TensorFlow calls the event of an operation ``place:Type``; fused types begin with ``_``.
_OPERATION = re.compile(r"^[^:]+:_?([A-Z]\w*)$")


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
        >>> "MatMul" in profile_operations(lambda: step(x)).operation.iloc[0]
        True
    """
    # Its place in TensorFlow is internal; the Profiler offers no other way to its trace.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with quiet_stderr(), tf.profiler.experimental.Profile(folder):
            for _ in range(repeats):
                call()
        for file in Path(folder).rglob("*.xplane.pb"):
            space = xplane_pb2.XSpace.FromString(file.read_bytes())
            for plane in space.planes:
                for event in (event for line in plane.lines for event in line.events):
                    found = _OPERATION.match(plane.event_metadata[event.metadata_id].name)
                    if found:
                        spent[found[1]] += event.duration_ps
                        calls[found[1]] += 1
    rows = [(kind, ps / 1e9 / repeats, calls[kind] / repeats) for kind, ps in spent.most_common()]
    return pd.DataFrame(rows, columns=["operation", "milliseconds", "calls"])
