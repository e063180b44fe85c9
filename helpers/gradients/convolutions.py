"""The rules of convolutions: dense layers on the patches of images, volumes and sequences.

Reference: Rochette, Manoel and Tramel (2019), arXiv:1912.06015.
"""

from __future__ import annotations

import math

from helpers.backend import tf
from helpers.gradients.forms import Block, Form, Tensor
from helpers.gradients.registry import flat_entries, outer_products, rule
from helpers.gradients.uses import Use

__all__ = []


@rule("Conv2D")
def _convolve(use: Use, delta: Tensor) -> Form:
    """``out_p = patch_p @ W``, a dense layer on the patch at each place ``p`` of the image."""
    images = use.op.inputs[0]
    patches = _patches(use, images, *use.shape[:2])
    return _on_patches(use, patches, images, delta)


@rule("Conv3D")
def _convolve_volumes(use: Use, delta: Tensor) -> Form:
    """The same for the patches of a volume."""
    volumes = use.op.inputs[0]
    return _on_patches(use, _patches_of_volumes(use, volumes), volumes, delta)


def _on_patches(use: Use, patches: Tensor, images: Tensor, delta: Tensor) -> Form:
    """Return the outer products of patches and deltas, of each group of channels by itself."""
    *extent, channels, filters = use.shape
    places, groups = math.prod(extent), images.shape[-1] // channels
    if groups == 1:
        left = use.positions(patches, places * channels, images)
        return outer_products(left, use.positions(delta, filters, use.output))
    shape = [use.batch, -1, groups, filters // groups]
    delta = tf.reshape(use.by_sample(delta, use.output), shape)
    shape = [use.batch, -1, places, groups, channels]
    patches = tf.reshape(use.by_sample(patches, images), shape)
    return Block(flat_entries(use, tf.einsum("bpsgc,bpgf->bscgf", patches, delta)))


@rule("DepthwiseConv2dNative")
def _convolve_each_channel(use: Use, delta: Tensor) -> Form:
    """``out_p[c, k] = sum over s of patch_p[s, c] W[s, c, k]``: each channel by itself."""
    height, width, channels, each = use.shape
    patches = _patches(use, use.op.inputs[0], height, width)
    patches = tf.reshape(
        use.by_sample(patches, use.op.inputs[0]), [use.batch, -1, height * width, channels]
    )
    delta = tf.reshape(use.by_sample(delta, use.output), [use.batch, -1, channels, each])
    return Block(flat_entries(use, tf.einsum("bpsc,bpck->bsck", patches, delta)))


@rule("Conv2DBackpropInput")
def _convolve_back(use: Use, delta: Tensor) -> Form:
    """A transposed convolution: images and deltas have changed their parts."""
    height, width, channels, filters = use.shape
    if use.position != 1:
        raise use.unsupported("only its filter is followed")
    patches = _patches(use, delta, height, width)
    inputs = use.positions(use.op.inputs[2], filters)
    return outer_products(use.positions(patches, height * width * channels, use.output), inputs)


@rule("Conv3DBackpropInputV2")
def _convolve_volumes_back(use: Use, delta: Tensor) -> Form:
    """The same for volumes."""
    *extent, channels, filters = use.shape
    patches = _patches_of_volumes(use, delta)
    inputs = use.positions(use.op.inputs[2], filters)
    left = use.positions(patches, math.prod(extent) * channels, use.output)
    return outer_products(left, inputs)


def _patches(use: Use, images: Tensor, height: int, width: int) -> Tensor:
    """Return what a convolution sees at each place, shape ``(..., height * width * C)``."""
    op = use.op
    if use.position != 1 or op.get_attr("data_format") != b"NHWC":
        raise use.unsupported("only the layout with channels last is followed")
    padding = op.get_attr("padding").decode()
    if padding == "EXPLICIT":
        sides = op.get_attr("explicit_paddings")
        images, padding = tf.pad(images, [sides[k : k + 2] for k in range(0, 8, 2)]), "VALID"
    return tf.image.extract_patches(
        images, [1, height, width, 1], op.get_attr("strides"), op.get_attr("dilations"), padding
    )


def _patches_of_volumes(use: Use, volumes: Tensor) -> Tensor:
    """Return the same for a volume."""
    op = use.op
    plain = op.get_attr("data_format") == b"NDHWC" and set(op.get_attr("dilations")) == {1}
    if use.position != 1 or not plain:
        raise use.unsupported("only a filter with channels last, without dilation, is followed")
    return tf.raw_ops.ExtractVolumePatches(
        input=volumes,
        ksizes=[1, *use.shape[:3], 1],
        strides=op.get_attr("strides"),
        padding=op.get_attr("padding").decode(),
    )
