"""From images in [0, 1] at any size to what a classifier expects, as data.

A `Preprocessing` says size, resize method, colours, channel order, value range,
mean and deviation; `apply` carries it out in the graph, with operations that
compile for TPUs and that gradients flow through.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest
from compare_gan_logits.images import LUMA
from compare_gan_logits.resizing import KERNELS
from compare_gan_logits.resizing import resize


RESIZE_METHODS = tuple(sorted(KERNELS)) + ("none",)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """What is done to an image before the classifier sees it, in this order.

  Attributes:
    size: side in pixels that images are resized to; None: as they come.
    resize: "bilinear", "bicubic" or "area", antialiased when shrinking (the
      kernel is widened as Pillow does), pixel centres at half integers; "none"
      feeds images at their own size. The paper feeds 64x64 images without
      saying whether they were enlarged: "none" is the other reading.
    colors: channels that the classifier takes, 1 or 3. Grey images are repeated
      to three channels, colour images are reduced to their BT.601 luma.
    channel_order: "rgb" or "bgr".
    low: what 0 is mapped to, before mean and deviation.
    high: what 1 is mapped to.
    mean: subtracted, one value per channel in `channel_order`.
    std: divided by, likewise.
  """

  size: int | None = None
  resize: str = "bilinear"
  colors: int = 3
  channel_order: str = "rgb"
  low: float = 0.0
  high: float = 1.0
  mean: tuple[float, ...] = (0.0,)
  std: tuple[float, ...] = (1.0,)

  def __post_init__(self):
    if self.resize not in RESIZE_METHODS:
      raise UserError(
        f"unknown resize {self.resize!r}: {nearest(self.resize, RESIZE_METHODS)}"
      )
    if self.channel_order not in ("rgb", "bgr"):
      raise UserError(f"channel_order is 'rgb' or 'bgr', not {self.channel_order!r}")
    if self.colors not in (1, 3):
      raise UserError(f"a classifier takes 1 or 3 colours, not {self.colors}")
    for name in ("mean", "std"):
      value = getattr(self, name)
      value = tuple(float(v) for v in np.atleast_1d(value))
      if len(value) not in (1, self.colors):
        raise UserError(
          f"{name} has {len(value)} values for {self.colors} channels; "
          f"give one or {self.colors}"
        )
      object.__setattr__(self, name, value)
    if 0 in self.std:
      raise UserError("classifier.std has a 0, and nothing can be divided by that")
    if self.low == self.high:
      raise UserError(
        f"classifier.low and classifier.high are both {self.low}, which makes every "
        "image the same; bind the range that the classifier was trained with"
      )

  def apply(self, images: tf.Tensor) -> tf.Tensor:
    """Images [b, h, w, c] in [0, 1] -> [b, size, size, colors] for the classifier.

    Raises:
      UserError: height and width are not known, or channels are not 1 or 3.
    """
    if self.size is not None and self.resize != "none":
      images = resize(images, self.size, self.resize)
    images = convert_colors(images, self.colors)
    if self.channel_order == "bgr":
      images = tf.reverse(images, axis=[-1])
    images = self.low + (self.high - self.low) * images
    return (images - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)


def convert_colors(images: tf.Tensor, colors: int) -> tf.Tensor:
  """Images with 1 or 3 channels -> images with `colors` (1 or 3) channels.

  Raises:
    UserError: the images have another number of channels.
  """
  channels = images.shape[-1]
  if channels not in (1, 3):
    raise UserError(
      f"images have {channels} channels; a classifier takes grey (1) or RGB (3) images"
    )
  if channels == colors:
    return images
  if colors == 3:
    return tf.tile(images, [1, 1, 1, 3])
  return tf.reduce_sum(images * LUMA, axis=-1, keepdims=True)
