"""The smallest pair of networks, for tests of everything around them."""

from __future__ import annotations

import math
from typing import Any

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops


class Generator(abstract_arch.AbstractGenerator):
  """One linear layer from the noise to all pixels.

  Attributes:
    call_arg_list: the arguments of every call, a dict of z, y and is_training.
  """

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.call_arg_list: list[dict[str, Any]] = []

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim] -> images [batch, h, w, c] in [0, 1]."""
    self.call_arg_list.append({"z": z, "y": y, "is_training": is_training})
    pixels = arch_ops.linear(z, math.prod(self._image_shape), "fc_noise")
    return tf.sigmoid(tf.reshape(pixels, [-1, *self._image_shape]))


class Discriminator(abstract_arch.AbstractDiscriminator):
  """One linear layer of the mean colour.

  Attributes:
    call_arg_list: the arguments of every call, a dict of x, y and is_training.
  """

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.call_arg_list: list[dict[str, Any]] = []

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, c]).
    """
    self.call_arg_list.append({"x": x, "y": y, "is_training": is_training})
    features = tf.reduce_mean(x, axis=[1, 2])
    score = self._project(arch_ops.linear(features, 1), features, y)
    return tf.sigmoid(score), score, features
