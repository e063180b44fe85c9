"""Whether a dataset of TensorFlow yields its rows in one order, each time that it is read.

Norms come in the order of the rows. A dataset that is shuffled anew for each pass gives an order
that nobody can ask for again, and a norm that belongs to no known row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from helpers.backend import tf

__all__ = ["check_order"]

_REMEDY = (
    "so no norm could be told to its row. Give the dataset before it is shuffled, or shuffle it "
    "with reshuffle_each_iteration=False and leave `deterministic` True."
)
#: Operations that draw other numbers in each pass where they have no seed.
_DRAWS = re.compile(
    "Random(Uniform|UniformInt|StandardNormal|Shuffle|Gamma|PoissonV2)|TruncatedNormal|Multinomial"
)
_MOST_BYTES = 2**26  # of a dataset whose graph is written out


def check_order(dataset: tf.data.Dataset) -> None:
    """See that each pass over a dataset has the same order.

    What it is made of is searched for an order that changes, and its first batch is read twice.

    Raises:
        ValueError: the order changes; it says by what.

    Example:
        >>> rows = tf.data.Dataset.range(9)
        >>> check_order(rows.shuffle(9, seed=0, reshuffle_each_iteration=False).batch(3))
        >>> check_order(rows.shuffle(9, seed=0).batch(3))
        Traceback (most recent call last):
        ValueError: The dataset has another order in each pass (it is shuffled anew), so no norm...
    """
    loose = dataset.options().deterministic is False
    reason = next((why for part in _parts(dataset) if (why := _why(part, loose))), "")
    if not reason and _first(dataset) != _first(dataset):
        reason = "read twice, its first batch was another one"
    if reason:
        raise ValueError(f"The dataset has another order in each pass ({reason}), {_REMEDY}")


def _parts(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yield a dataset and those that it is made from; what is cached keeps its order."""
    yield dataset
    if "Cache" not in type(dataset).__name__:
        for each in dataset._inputs():
            yield from _parts(each)


def _why(dataset: Any, loose: bool) -> str:
    """Return why one step changes the order, or nothing."""
    name = type(dataset).__name__
    if "Shuffle" in name and getattr(dataset, "_reshuffle_each_iteration", True):
        return "it is shuffled anew"
    if "DataService" in name:
        return "several workers read it"
    told = getattr(dataset, "_deterministic", "true")
    if told == "false" or (loose and told == "default"):
        return "rows of parallel calls come as they are ready"
    graphs = [function.function.graph.as_graph_def() for function in dataset._functions()]
    # These keep what they were told in their operation only.
    if re.search("ParallelInterleave|Random", name) and _size(dataset) < _MOST_BYTES:
        graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
        graphs.append(graph)
    return next((why for graph in graphs if (why := _why_in(graph, loose))), "")


def _size(dataset: Any) -> int:
    """Return the bytes of the arrays that a dataset is made from."""
    tensors = [t for part in _parts(dataset) for t in getattr(part, "_tensors", [])]
    return sum(t.shape.num_elements() * max(1, t.dtype.size) for t in tensors)


def _why_in(graph: Any, loose: bool) -> str:
    """Return why a step within a function, such as that of ``flat_map``, changes the order."""
    inner = [node for function in graph.library.function for node in function.node_def]
    for node in [*graph.node, *inner]:
        told = node.attr["deterministic"].s if "deterministic" in node.attr else b""
        if told == b"false" or (loose and told == b"default"):
            return "rows of parallel calls come as they are ready"
        if "Shuffle" in node.op and node.attr["reshuffle_each_iteration"].b:
            return "it is shuffled anew"
        if node.attr["rerandomize_each_iteration"].b:
            return "it is drawn anew"
        if _DRAWS.fullmatch(node.op) and not (node.attr["seed"].i or node.attr["seed2"].i):
            return "a function in it draws random numbers without a seed"
    return ""


def _first(dataset: tf.data.Dataset) -> list[bytes]:
    """Return the first batch as bytes."""
    batches = [tf.nest.flatten(batch, expand_composites=True) for batch in dataset.take(1)]
    arrays = [np.asarray(part.numpy()) for batch in batches for part in batch]
    return [repr(a.tolist()).encode() if a.dtype.hasobject else a.tobytes() for a in arrays]
