"""ResNets for 48 px, as in Miyato et al. 2018 for STL-10."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.errors import UserError


_SIZE = 48
_SEED_SIZE = 6
_GENERATOR_CHANNELS = (512, 256, 128, 64)


class Generator(resnet_ops.ResNetGenerator):
  """Three blocks that double the size, from 6x6.

  Spectral norm applies to the blocks only. The last norm's scope is `batch_norm`.
  """

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, 48, 48, c] in [0, 1].

    Raises:
      UserError: another size.
    """
    size, _, colors = self._image_shape
    if size != _SIZE:
      raise UserError(
        f"resnet_stl has networks for {_SIZE} px only, not {size} px; choose another "
        "dataset.name or options.architecture"
      )
    conditions = {"z": z, "y": y, "is_training": is_training}
    channels, *out_channels = _GENERATOR_CHANNELS
    net = arch_ops.linear(z, _SEED_SIZE**2 * channels, "fc_noise")
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, channels])
    for index, channels in enumerate(out_channels, 1):
      in_channels = net.shape.as_list()[-1]
      block = self._resnet_block(f"B{index}", in_channels, channels, "up")
      net = block(net, **conditions)
    net = tf.nn.relu(self.batch_norm(net, **conditions))
    net = arch_ops.conv2d(net, colors, 3, 3, 1, 1, name="final_conv")
    return tf.sigmoid(tf.cast(net, tf.float32))


class Discriminator(resnet_ops.ResNetDiscriminator):
  """Five blocks, of which four halve the size; mean pooling, a linear layer."""

  scores_images_apart = True

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, 1024]).

    Raises:
      UserError: images that are not square.
    """
    resnet_ops.validate_image_inputs(x, validate_power2=False)
    net = x
    out_channels = (64, 128, 256, 512, 1024)
    for index, channels in enumerate(out_channels):
      scale = "down" if index < len(out_channels) - 1 else "none"
      block = self._resnet_block(f"B{index}", net.shape.as_list()[-1], channels, scale)
      net = block(net, z=None, y=y, is_training=is_training)
    return self._mean_pooled_scores(net, y)
