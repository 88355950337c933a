"""ResNets with 30 residual blocks and more, for 128 px."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.errors import UserError


_SIZE = 128
_SEED_SIZE = 4
_NUM_SUPER_BLOCKS = 6
_BLOCKS_EACH = 5
_MAX_CHANNELS = 512


def _check_size(size: int) -> None:
  if size != _SIZE:
    raise UserError(
      f"resnet30 has networks for {_SIZE} px only, not {size} px; choose another "
      "dataset.name or options.architecture"
    )


class Generator(resnet_ops.ResNetGenerator):
  """Six times five blocks; behind the first five times, one that goes up.

  Channels: 512, 256, 128, 64, 32, 16. There is no norm behind the last block. Spectral
  norm applies to the blocks only.
  """

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, 128, 128, c] in [0, 1].

    Raises:
      UserError: another size.
    """
    _check_size(self._image_shape[0])
    conditions = {"z": z, "y": y, "is_training": is_training}
    channels = _MAX_CHANNELS
    net = arch_ops.linear(z, _SEED_SIZE**2 * channels, "fc_noise")
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, channels])
    for outer in range(_NUM_SUPER_BLOCKS):
      for inner in range(_BLOCKS_EACH):
        block = self._resnet_block(f"B_{outer}_{inner}", channels, channels, "none")
        net = block(net, **conditions)
      if outer < _NUM_SUPER_BLOCKS - 1:
        block = self._resnet_block(f"B_{outer}_up", channels, channels // 2, "up")
        net = block(net, **conditions)
        channels //= 2
    net = arch_ops.conv2d(net, self._image_shape[2], 3, 3, 1, 1, name="final_conv")
    return tf.sigmoid(tf.cast(net, tf.float32))


class Discriminator(resnet_ops.ResNetDiscriminator):
  """The generator mirrored: channels 16, 32, 64, 128, 256, 512.

  Spectral norm applies to all but the first convolution. The blocks that halve the size
  are called `B_<i>_up` all the same.
  """

  scores_images_apart = True

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, 128, 128, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, 4 * 4 * 512]).

    Raises:
      UserError: another size.
    """
    resnet_ops.validate_image_inputs(x)
    _check_size(x.shape.as_list()[1])
    conditions = {"z": None, "y": y, "is_training": is_training}
    channels = _MAX_CHANNELS // 2 ** (_NUM_SUPER_BLOCKS - 1)
    net = arch_ops.conv2d(x, channels, 3, 3, 1, 1, name="color_conv")
    for outer in range(_NUM_SUPER_BLOCKS):
      for inner in range(_BLOCKS_EACH):
        block = self._resnet_block(f"B_{outer}_{inner}", channels, channels, "none")
        net = block(net, **conditions)
      if outer < _NUM_SUPER_BLOCKS - 1:
        block = self._resnet_block(f"B_{outer}_up", channels, 2 * channels, "down")
        net = block(net, **conditions)
        channels *= 2
    features = arch_ops.flatten(tf.cast(net, tf.float32))
    return self._scores(features, y)
