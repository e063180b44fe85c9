"""Where the samples stand in a tensor of the traced graph.

The rows of a batch begin on the first axis, one entry per sample. Models move them: a transpose to
another axis, a reshape into ``(B * T, d)`` with each sample's positions side by side, a
concatenation of two towers' rows into ``(2 * B, d)`` with block after block, a mask into entries
of which each sample has another number. Only who follows them can say which entry of a delta
belongs to which sample.

``Places`` say it for one tensor: along ``axis`` stand ``outside`` blocks, in each of them all
samples, of each sample ``inside`` entries, so that entry ``j`` belongs to sample
``(j // inside) % B``. Where that is not so, ``owners`` hold the sample of each entry, computed
when the rows are. A tensor without places has no axis of samples, or has two, or none that could
be followed; nothing is guessed from sizes, for 2 blocks of B rows have the size of B blocks of 2.

The rules in ``moves`` and ``picks`` say what operations do to the places, as those in ``rules``
say what they do to gradients. A wrong place would give row ``i`` a
part of another row's delta, which the certificate's random weights show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from helpers.backend import tf
from helpers.gradients.forms import Tensor
from helpers.gradients.sizes import Size

__all__ = [
    "FIRST",
    "Known",
    "Places",
    "agreed",
    "entries_of_samples",
    "owners_of",
    "places_after",
    "places_rule",
]


@dataclass(frozen=True)
class Places:
    """Along which axis the samples stand, and in which order.

    Attributes:
        axis: the axis.
        outside: number of blocks, each of which holds all samples.
        inside: the number of entries of one sample that stand side by side, or None where it is
            known only with the rows.
        owners: the sample of each entry, shape ``(size of the axis,)``, or None where the two
            numbers above tell it.
    """

    axis: int
    outside: int = 1
    inside: int | None = 1
    owners: Tensor | None = None

    @property
    def size(self) -> Size | None:
        """Return the size of the axis, or None where it is not known."""
        if self.owners is not None or self.inside is None:
            return None
        return Size(self.outside * self.inside, rows=True, inside=self.inside)

    @property
    def plain(self) -> bool:
        """Return whether each sample has one entry, in the order of the rows."""
        return self.owners is None and self.outside == self.inside == 1

    def like(self, other: Places) -> bool:
        """Return whether two tensors hold the samples in the same order.

        Of two tensors with owners this is taken to be so: they have as many entries, or the
        operation that reads both would fail.
        """
        if self.owners is not None or other.owners is not None:
            return self.owners is not None and other.owners is not None
        open_ = None in (self.inside, other.inside)
        return self.outside == other.outside and (open_ or self.inside == other.inside)


FIRST = Places(0)

Known: TypeAlias = Mapping[str, Places]
#: From an operation and the places of its inputs to those of its outputs.
Follow: TypeAlias = Callable[[Any, Known, Tensor], "Places | None | list[Places | None]"]
_FOLLOW: dict[str, Follow] = {}
_ANY = "any other operation"


def places_rule(*types: str) -> Callable[[Follow], Follow]:
    """Register what happens to the places in operations of the given types; none: all others."""

    def register(function: Follow) -> Follow:
        _FOLLOW.update(dict.fromkeys(types or [_ANY], function))
        return function

    return register


def places_after(op: Any, known: Known, batch: Tensor) -> dict[str, Places]:
    """Return where the samples stand in what an operation makes, by the tensors' names.

    Args:
        op: an operation of the traced graph that depends on the rows.
        known: the places in earlier tensors.
        batch: the number of samples, a scalar tensor.
    """
    found = _FOLLOW.get(op.type, _FOLLOW[_ANY])(op, known, batch)
    many = found if isinstance(found, list) else [found] * len(op.outputs)
    pairs = zip(op.outputs, many, strict=True)
    return {t.name: p for t, p in pairs if p is not None and t.shape.rank}


def owners_of(places: Places, size: Tensor, batch: Tensor) -> Tensor:
    """Return the sample of each entry along the axis, shape ``(size,)``, int32."""
    if places.owners is not None:
        return places.owners
    inside = size // (batch * places.outside) if places.inside is None else places.inside
    return tf.range(size) // inside % batch


def entries_of_samples(tensor: Tensor, places: Places, batch: Tensor) -> Tensor:
    """Return the tensor with the samples on its first axis.

    Args:
        tensor: any tensor in which the samples have places.
        places: where the samples stand in it.
        batch: the number of samples, a scalar tensor.

    Returns:
        Shape ``(B, ...)`` with the other axes in their order; or ``(B, P, ...)`` where a sample
        has several entries. Samples with fewer entries than others are filled up with zeros.
    """
    if places.axis:
        others = [k for k in range(tensor.shape.rank) if k != places.axis]
        tensor = tf.transpose(tensor, [places.axis, *others])
    if places.owners is not None:
        return _padded(tensor, places.owners, batch)
    outside, rest = places.outside, _sizes(tensor)[1:]
    inside = -1 if places.inside is None else places.inside
    if outside == 1:
        each = [] if inside == 1 else [inside]
        # A reshape also where nothing moves: it fails for another number of rows.
        return tf.reshape(tensor, [batch, *each, *rest]) if each or places.axis else tensor
    blocks = tf.reshape(tensor, [outside, batch, inside, *rest])
    blocks = tf.transpose(blocks, [1, 0, *range(2, blocks.shape.rank)])
    return tf.reshape(blocks, [batch, -1 if inside < 0 else outside * inside, *rest])


def _padded(tensor: Tensor, owners: Tensor, batch: Tensor) -> Tensor:
    """Return ``(N, ...)`` as ``(B, P, ...)``, P being the largest number of entries of a sample."""
    within = tf.debugging.assert_less(owners, batch, "entries belong to no row of the batch")
    with tf.control_dependencies([within]):
        owners = tf.identity(owners)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, batch)
    order = tf.argsort(owners, stable=True)
    owners = tf.gather(owners, order)
    starts = tf.cumsum(counts, exclusive=True)
    place = tf.range(tf.size(owners)) - tf.gather(starts, owners)
    most = tf.maximum(tf.reduce_max(counts), 1)
    shape = [batch, most, *_sizes(tensor)[1:]]
    return tf.scatter_nd(tf.stack([owners, place], axis=1), tf.gather(tensor, order), shape)


def _sizes(tensor: Tensor) -> list[Any]:
    """Return the sizes of all axes: numbers where they are known, else tensors."""
    traced = tf.unstack(tf.shape(tensor))
    return [t if n is None else n for n, t in zip(tensor.shape, traced, strict=True)]


def agreed(found: Sequence[Places | None]) -> Places | None:
    """Return the places that all have, or None where two differ."""
    some = [places for places in found if places is not None]
    same = all(p.axis == some[0].axis and p.like(some[0]) for p in some)
    return some[0] if some and same else None
