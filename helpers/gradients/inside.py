"""What functions of libraries hide, shown while a model is traced: the uses of a variable.

Each of these computes the same numbers in a graph that shows who reads which row for whom.

- Sampled softmax and noise-contrastive estimation look up the true ids of all rows and the
  sampled ids, which belong to no row, in one go, and cut the result. Here in two.
- Look-ups in bags read each id of the batch once and hand the result to all rows that have it.
  Here each row reads its own.
- ``recompute_grad`` and rematerialisation keep the way back to themselves. Here the function
  that they wrap is called.
- Volumes in groups of channels are convolved by a compiler. Here group by group.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from helpers.backend import tf
from helpers.gradients.patches import Patches

__all__ = ["insides_shown"]


_OPS = "tensorflow.python.ops."


@contextlib.contextmanager
def insides_shown() -> Iterator[None]:
    """Show the uses of variables inside some functions that this thread traces meanwhile."""
    with Patches() as patches:
        patches.put(_OPS + "nn_impl", "_compute_sampled_logits", _in_two_look_ups)
        patches.put(_OPS + "embedding_ops", "embedding_lookup_sparse_impl", _each_reads_its_own)
        patches.put(_OPS + "custom_gradient", "_graph_mode_decorator", _without_recomputing)
        patches.put(tf.nn.__name__, "convolution", _group_by_group)
        yield


def _in_two_look_ups(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Compute sampled logits with the look-up of ``concat([true, sampled])`` cut in two."""
    module = sys.modules[_OPS + "nn_impl"]
    lookup, arrays = module.embedding_ops.embedding_lookup, module.array_ops
    pieces: dict[str, list[Any]] = {}

    def look_up(params: Any, ids: Any, **more: Any) -> Any:
        if ids.op.type != "ConcatV2" or len(ids.op.inputs) != 3:
            return lookup(params, ids, **more)
        parts = [lookup(params, part, **more) for part in list(ids.op.inputs)[:2]]
        whole = tf.concat(parts, 0)
        pieces[whole.name] = parts
        return whole

    def cut(whole: Any, begin: Any, size: Any, **more: Any) -> Any:
        if whole.name not in pieces:
            return arrays.slice(whole, begin, size, **more)
        first = isinstance(begin, list) and not any(begin)
        return pieces[whole.name][0 if first else 1]

    with Patches() as patches:
        patches.swap(module, "embedding_ops", embedding_lookup=look_up)
        patches.swap(module, "array_ops", slice=cut)
        return original(*args, **options)


def _each_reads_its_own(original: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Look up in bags without making the ids unique first."""

    def as_they_are(ids: Any) -> tuple[Any, Any]:
        return ids, tf.range(tf.size(ids))

    with Patches() as patches:
        patches.swap(sys.modules[_OPS + "embedding_ops"], "array_ops", unique=as_they_are)
        return original(*args, **options)


def _without_recomputing(original: Callable[..., Any], f: Any, args: Any, kwargs: Any) -> Any:
    """Call the function that ``recompute_grad`` wraps; its gradient is TensorFlow's own."""
    if getattr(f, "__qualname__", "") != "recompute_grad.<locals>.inner":
        return original(f, args, kwargs)
    return f(*args, **kwargs)[0]


def _group_by_group(
    original: Callable[..., Any], inputs: Any, filters: Any, *args: Any, **options: Any
) -> Any:
    """Convolve volumes one group of channels after the other."""
    channels = inputs.shape[-1]
    grouped = inputs.shape.rank == 5 and channels and channels != filters.shape[-2]
    if not grouped or str(options.get("data_format") or "NDHWC") != "NDHWC":
        return original(inputs, filters, *args, **options)
    groups = channels // filters.shape[-2]
    pairs = zip(tf.split(inputs, groups, -1), tf.split(filters, groups, -1), strict=True)
    return tf.concat([original(x, w, *args, **options) for x, w in pairs], -1)
