"""What operations do to the places of the samples along the batch: stack, cut, pick and sum up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from helpers.backend import tf
from helpers.gradients.forms import Tensor
from helpers.gradients.places import FIRST, Known, Places, agreed, owners_of, places_rule
from helpers.gradients.sizes import Size, all_of, values_of

__all__ = []


def _chosen(
    places: Places, tensor: Tensor, batch: Tensor, choose: Callable[[Tensor], Tensor]
) -> Places:
    """Return the places of some entries of the axis, chosen as a function of the owners says."""
    owners = owners_of(places, tf.shape(tensor)[places.axis], batch)
    return Places(places.axis, owners=choose(owners))


@places_rule("ConcatV2")
def _concat(op: Any, known: Known, batch: Tensor) -> Places | None:
    tensors, axis = list(op.inputs)[:-1], tf.get_static_value(op.inputs[-1])
    found = [known.get(t.name) for t in tensors]
    if axis is None or op.outputs[0].shape.rank is None:
        return None
    axis = int(axis) % op.outputs[0].shape.rank
    along = [places for places in found if places is not None and places.axis == axis]
    if not along:
        return agreed(found)
    if len(along) < len(found):
        return None  # rows, and something that belongs to no sample
    inside = {1 if p.outside == 1 == p.inside else p.inside for p in along}
    # Two numbers that are known only with the rows need not be the same.
    if all(p.owners is None for p in along) and len(inside) == 1 and None not in inside:
        return Places(axis, sum(p.outside for p in along), along[0].inside)
    pairs = zip(along, tensors, strict=True)
    return Places(
        axis,
        owners=tf.concat([owners_of(p, tf.shape(t)[axis], batch) for p, t in pairs], 0),
    )


@places_rule("Split", "SplitV")
def _split(op: Any, known: Known, batch: Tensor) -> list[Places | None] | Places | None:
    tensor = op.inputs[1] if op.type == "Split" else op.inputs[0]
    axis = tf.get_static_value(op.inputs[0] if op.type == "Split" else op.inputs[2])
    places, count = known.get(tensor.name), len(op.outputs)
    if places is None or axis is None:
        return None
    if int(axis) % tensor.shape.rank != places.axis:
        return places
    parts = [places.outside // count] * count
    if op.type == "SplitV":
        sizes = values_of(op.inputs[1], known) or [None] * count
        blocks = [_blocks_in(n, places.inside) for n in sizes]
        parts = [n or 0 for n in blocks]
        if blocks.count(None) == 1:  # -1: the rest
            parts[blocks.index(None)] = places.outside - sum(parts)
    if places.owners is None and sum(parts) == places.outside and min(parts) > 0:
        return [replace(places, outside=n) for n in parts]
    if op.type == "Split":
        owners = tf.split(owners_of(places, tf.shape(tensor)[places.axis], batch), count)
    else:
        whole = owners_of(places, tf.shape(tensor)[places.axis], batch)
        owners = tf.split(whole, op.inputs[1], num=count)
    return [Places(places.axis, owners=each) for each in owners]


def _blocks_in(size: Size | None, inside: int | None) -> int | None:
    """Return how many whole blocks a size is, or None where it is not known or not whole."""
    if size is None or not size.rows or not inside or size.count % inside:
        return None
    return size.count // inside


@places_rule("Tile")
def _tile(op: Any, known: Known, batch: Tensor) -> Places | None:
    """Blocks outside: the whole is repeated, not each entry."""
    tensor, times = op.inputs[0], values_of(op.inputs[1], known)
    places = known.get(tensor.name)
    if times is None or tensor.shape.rank is None:
        return None
    by_rows = [k for k, n in enumerate(times) if n is None or n.rows]
    if places is None:  # the same for each sample
        if len(by_rows) != 1 or times[by_rows[0]] != Size(1, rows=True):
            return None
        inside = tensor.shape[by_rows[0]]
        return Places(by_rows[0], 1, inside) if inside else None
    fixed = all_of(times)
    if by_rows or fixed is None:
        return None
    count = fixed[places.axis].count
    if places.owners is not None:
        return replace(places, owners=tf.tile(places.owners, [count]))
    return replace(places, outside=places.outside * count)


@places_rule("BroadcastTo", "Fill")
def _broadcast(op: Any, known: Known, batch: Tensor) -> Places | None:
    tensor = op.inputs[0] if op.type == "BroadcastTo" else None
    wanted = values_of(op.inputs[1 if tensor is not None else 0], known)
    if tensor is not None and (places := known.get(tensor.name)) is not None:
        rank = op.outputs[0].shape.rank
        moved = (rank or 0) - tensor.shape.rank
        return None if rank is None else replace(places, axis=places.axis + moved)
    if wanted is None:
        return None
    by_rows = [k for k, n in enumerate(wanted) if n is None or n.rows]
    one = wanted[by_rows[0]] if len(by_rows) == 1 else None
    if one is None or not one.inside or one.count % one.inside:
        return None
    # The same everywhere: the samples stand as in the tensor whose size it has.
    return Places(by_rows[0], one.count // one.inside, one.inside)


@places_rule("Range")
def _range(op: Any, known: Known, batch: Tensor) -> Places | None:
    start, limit, step = (values_of(t, known) for t in op.inputs)
    plain = start == [Size(0)] and step == [Size(1)]
    return FIRST if plain and limit == [Size(1, rows=True)] else None


@places_rule("SpaceToBatchND")
def _space_to_batch(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, block = known.get(op.inputs[0].name), tf.get_static_value(op.inputs[1])
    if places is None or places.axis or places.owners is not None or block is None:
        return None
    return replace(places, outside=places.outside * int(math.prod(block)))


@places_rule("BatchToSpaceND")
def _batch_to_space(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, block = known.get(op.inputs[0].name), tf.get_static_value(op.inputs[1])
    if places is None or places.axis or places.owners is not None or block is None:
        return None
    count = int(math.prod(block))
    return None if places.outside % count else replace(places, outside=places.outside // count)


@places_rule("ReverseV2")
def _reverse(op: Any, known: Known, batch: Tensor) -> Places | None:
    tensor, axes = op.inputs[0], tf.get_static_value(op.inputs[1])
    places = known.get(tensor.name)
    if places is None or axes is None:
        return None
    if places.axis not in [int(a) % tensor.shape.rank for a in axes.reshape(-1)]:
        return places
    return _chosen(places, tensor, batch, lambda owners: tf.reverse(owners, [0]))


@places_rule("Roll")
def _roll(op: Any, known: Known, batch: Tensor) -> Places | None:
    tensor, shift, axes = op.inputs
    places, axes = known.get(tensor.name), tf.get_static_value(axes)
    if places is None or axes is None:
        return None
    axes = [int(a) % tensor.shape.rank for a in axes.reshape(-1)]
    if places.axis not in axes:
        return places
    by = tf.reshape(shift, [-1])[axes.index(places.axis)]
    return _chosen(places, tensor, batch, lambda owners: tf.roll(owners, by, 0))


@places_rule("Pad", "PadV2", "MirrorPad")
def _pad(op: Any, known: Known, batch: Tensor) -> Places | None:
    places, sides = known.get(op.inputs[0].name), tf.get_static_value(op.inputs[1])
    if places is None or sides is None or sides[places.axis].any():
        return None
    return places


@places_rule("StridedSlice")
def _strided_slice(op: Any, known: Known, batch: Tensor) -> Places | None:
    tensor = op.inputs[0]
    places, cut = known.get(tensor.name), _cut(op)
    if places is None or cut is None:
        return None
    axis, entry = cut(places.axis)
    if axis is None:
        return None  # one entry of the axis
    if entry is None:
        return replace(places, axis=axis)
    named = ("begin_mask", "end_mask")
    masks = {name: int(bool(op.get_attr(name) & (1 << entry))) for name in named}
    ends = [values_of(t, known) for t in op.inputs[1:]]
    begin, end, step = (None if e is None else e[entry] for e in ends)
    begin = Size(0) if masks["begin_mask"] else begin
    end = places.size if masks["end_mask"] else end
    if (found := _blocks(places, begin, end, step)) is not None:
        return replace(found, axis=axis)
    begin, end, step = (t[entry : entry + 1] for t in op.inputs[1:])

    def choose(owners: Tensor) -> Tensor:
        return tf.raw_ops.StridedSlice(input=owners, begin=begin, end=end, strides=step, **masks)

    return replace(_chosen(places, tensor, batch, choose), axis=axis)


def _blocks(
    places: Places, begin: Size | None, end: Size | None, step: Size | None
) -> Places | None:
    """Return the places of a slice of whole blocks, or of the same entries of each sample."""
    if begin is None or end is None or step is None or step.rows:
        return None
    if places.owners is not None or not places.inside:
        return None
    stops = [n.count for n in (begin, end) if n.rows or not n.count]
    if step.count == 1 and len(stops) == 2 and not any(n % places.inside for n in stops):
        count = (stops[1] - stops[0]) // places.inside
        return replace(places, outside=count) if 0 < count <= places.outside else None
    whole = end == places.size
    every = step.count > 0 and places.inside % step.count == 0 and not begin.rows
    if whole and every and 0 <= begin.count < step.count:
        return replace(places, inside=places.inside // step.count)
    return None


def _cut(op: Any) -> Callable[[int], tuple[int | None, int | None]] | None:
    """Return where an axis of a strided slice goes, and which entry of the ends is its own."""
    rank, count = op.inputs[0].shape.rank, op.inputs[1].shape.num_elements()
    if rank is None or count is None:
        return None
    named = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    ellipsis, new, shrink = (
        [bool(op.get_attr(name) & (1 << k)) for k in range(count)] for name in named
    )
    used = sum(not e and not n for e, n in zip(ellipsis, new, strict=True))
    goes: dict[int, tuple[int | None, int | None]] = {}
    here = there = 0
    for k in range(count):
        if ellipsis[k]:
            for _ in range(rank - used):
                goes[here] = there, None
                here, there = here + 1, there + 1
        elif new[k]:
            there += 1
        else:
            goes[here] = (None if shrink[k] else there), k
            here, there = here + 1, there + (not shrink[k])
    rest = there - here
    return lambda axis: goes.get(axis, (axis + rest, None))


@places_rule("Slice")
def _slice(op: Any, known: Known, batch: Tensor) -> Places | None:
    tensor, begins, counts = op.inputs
    places, axis = known.get(tensor.name), 0
    starts, sizes = values_of(begins, known), values_of(counts, known)
    if places is None or starts is None or sizes is None:
        return None
    axis = places.axis
    whole = places.size
    begin, size = starts[axis], sizes[axis]
    if begin == Size(0) and size in (Size(-1), whole):
        return places
    end = None
    if size == Size(-1):
        end = whole
    elif begin is not None and size is not None:
        same_kind = begin.rows == size.rows or not begin.count
        end = Size(begin.count + size.count, size.rows) if same_kind else None
    if (found := _blocks(places, begin, end, Size(1))) is not None:
        return found
    begin, size = begins[axis : axis + 1], counts[axis : axis + 1]
    return _chosen(places, tensor, batch, lambda owners: tf.slice(owners, begin, size))


# --- operations that pick rows -----------------------------------------------------------


@places_rule("GatherV2", "ResourceGather", "Gather")
def _gather(op: Any, known: Known, batch: Tensor) -> Places | None:
    """Where ids have samples, what they read is theirs; else what is read brings its own."""
    table, ids = op.inputs[:2]
    axis = 0 if op.type != "GatherV2" else tf.get_static_value(op.inputs[2])
    if axis is None or ids.shape.rank is None or op.outputs[0].shape.rank is None:
        return None
    shared = 0 if op.type == "Gather" else op.get_attr("batch_dims")
    axis = int(axis) % table.shape.rank if table.shape.rank else int(axis)
    places, mine = known.get(table.name), known.get(ids.name)
    if mine is not None:
        return replace(mine, axis=mine.axis + (axis - shared if mine.axis >= shared else 0))
    if places is None or places.axis < axis:
        return places
    if places.axis > axis:
        return replace(places, axis=places.axis + ids.shape.rank - 1 - shared)
    if ids.shape.rank != 1:
        return None
    return _chosen(places, table, batch, lambda owners: tf.gather(owners, ids))


@places_rule("GatherNd", "ResourceGatherNd")
def _gather_nd(op: Any, known: Known, batch: Tensor) -> Places | None:
    table, ids = op.inputs[:2]
    places, mine = known.get(table.name), known.get(ids.name)
    if ids.shape.rank is None or ids.shape[-1] is None:
        return None
    if mine is not None:
        return mine if mine.axis < ids.shape.rank - 1 else None
    if places is None:
        return None
    if places.axis >= ids.shape[-1]:
        return replace(places, axis=places.axis + ids.shape.rank - 1 - ids.shape[-1])
    if ids.shape.rank != 2:
        return None
    chosen = _chosen(places, table, batch, lambda owners: tf.gather(owners, ids[:, places.axis]))
    return replace(chosen, axis=0)


@places_rule("Where")
def _where(op: Any, known: Known, batch: Tensor) -> Places | None:
    """The places of what is true: one of their numbers is along the axis of the samples."""
    tensor = op.inputs[0]
    if (places := known.get(tensor.name)) is None:
        return None
    found = op.outputs[0][:, places.axis]
    chosen = _chosen(places, tensor, batch, lambda owners: tf.gather(owners, found))
    return replace(chosen, axis=0)


@places_rule("DynamicPartition")
def _partition(op: Any, known: Known, batch: Tensor) -> list[Places | None] | None:
    tensor, parts = op.inputs
    places = known.get(tensor.name)
    if places is None or places.axis or parts.shape.rank != 1:
        return None
    owners = owners_of(places, tf.shape(tensor)[0], batch)
    each = tf.dynamic_partition(owners, parts, len(op.outputs))
    return [Places(0, owners=some) for some in each]


@places_rule("DynamicStitch", "ParallelDynamicStitch")
def _stitch(op: Any, known: Known, batch: Tensor) -> Places | None:
    count = len(op.inputs) // 2
    ids, parts = op.inputs[:count], op.inputs[count:]
    places = [known.get(t.name) for t in parts]
    found = [p for p in places if p is not None and not p.axis]
    if len(found) < len(places) or any(t.shape.rank != 1 for t in ids):
        return None
    owners = [owners_of(p, tf.shape(t)[0], batch) for p, t in zip(found, parts, strict=True)]
    return Places(0, owners=tf.dynamic_stitch(list(ids), owners))
