"""ResNets with five blocks in the generator, as in Miyato et al. 2018 for 128 px."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.errors import UserError


_SEED_SIZE = 4
_NUM_BLOCKS = 5


class Generator(resnet_ops.ResNetGenerator):
  """Five blocks, of which as many as the size asks for go up.

  Spectral norm applies to the blocks only.

  Args:
    ch: channel multiplier.
    channels: multiples of ch in front of each block and behind the last one.
    **kwargs: of abstract_arch.AbstractGenerator.
  """

  def __init__(
    self, ch: int = 64, channels: Sequence[int] = (8, 8, 4, 4, 2, 1), **kwargs
  ):
    super().__init__(**kwargs)
    self._channels = [ch * multiplier for multiplier in channels]

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, h, w, c] in [0, 1].

    Raises:
      UserError: a size other than 4, 8, 16, 32, 64 and 128.
    """
    size, _, colors = self._image_shape
    num_ups = (size // _SEED_SIZE).bit_length() - 1
    if size != _SEED_SIZE * 2 ** max(num_ups, 0) or num_ups > _NUM_BLOCKS:
      raise UserError(
        f"resnet5 has no networks for {size} px, only for 4, 8, 16, 32, 64 and 128 "
        "px; choose another dataset.name or options.architecture"
      )
    conditions = {"z": z, "y": y, "is_training": is_training}
    net = arch_ops.linear(z, _SEED_SIZE**2 * self._channels[0], "fc_noise")
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, self._channels[0]])
    for index in range(_NUM_BLOCKS):
      block = self._resnet_block(
        f"B{index + 1}",
        self._channels[index],
        self._channels[index + 1],
        "up" if index < num_ups else "none",
      )
      net = block(net, **conditions)
    net = tf.nn.relu(self.batch_norm(net, name="final_norm", **conditions))
    net = arch_ops.conv2d(net, colors, 3, 3, 1, 1, name="final_conv")
    return tf.sigmoid(tf.cast(net, tf.float32))


class Discriminator(resnet_ops.ResNetDiscriminator):
  """Six blocks, each of which halves the size; mean pooling, a linear layer.

  Args:
    ch: channel multiplier.
    channels: multiples of ch behind each block.
    **kwargs: of abstract_arch.AbstractDiscriminator.
  """

  scores_images_apart = True

  def __init__(
    self, ch: int = 64, channels: Sequence[int] = (1, 2, 4, 4, 8, 8), **kwargs
  ):
    super().__init__(**kwargs)
    self._channels = [ch * multiplier for multiplier in channels]

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, 1 or 3] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, 8 ch]).

    Raises:
      UserError: a size that is no power of two, or another number of colors.
    """
    resnet_ops.validate_image_inputs(x)
    if x.shape.as_list()[-1] not in (1, 3):
      raise UserError(f"resnet5 takes images of 1 or 3 colors, not of shape {x.shape}")
    net = x
    for index, channels in enumerate(self._channels):
      block = self._resnet_block(f"B{index}", net.shape.as_list()[-1], channels, "down")
      net = block(net, z=None, y=y, is_training=is_training)
    return self._mean_pooled_scores(net, y)
