"""DCGAN (Radford et al. 2015): four transposed convolutions against four convolutions."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops


_NUM_SCALES = 4


class Generator(abstract_arch.AbstractGenerator):
  """Noise to an image of any size. The condition, if any, reaches the norms only.

  Spectral norm does not apply.
  """

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, h, w, c] in [0, 1]."""
    height, width, colors = self._image_shape
    # Each is half the next one, rounded up.
    sizes = [
      (-(-height // 2**k), -(-width // 2**k)) for k in range(_NUM_SCALES, -1, -1)
    ]

    def normalized(x: tf.Tensor, name: str) -> tf.Tensor:
      return tf.nn.relu(
        self.batch_norm(x, z=z, y=y, is_training=is_training, name=name)
      )

    seed_height, seed_width = sizes[0]
    net = arch_ops.linear(z, seed_height * seed_width * 512, "g_fc1")
    net = tf.reshape(net, [-1, seed_height, seed_width, 512])
    for index, channels in enumerate((256, 128, 64, colors), 1):
      net = normalized(net, f"g_bn{index}")
      shape = [net.shape[0], *sizes[index], channels]
      net = arch_ops.deconv2d(net, shape, 5, 5, 2, 2, name=f"g_dc{index}")
    return 0.5 * tf.tanh(tf.cast(net, tf.float32)) + 0.5


class Discriminator(abstract_arch.AbstractDiscriminator):
  """Four 5x5 convolutions of stride 2, then a linear layer."""

  scores_images_apart = True

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, h/16, w/16, 512]).
    """
    use_sn = self._spectral_norm
    net = arch_ops.conv2d(x, 64, 5, 5, 2, 2, name="d_conv1", use_sn=use_sn)
    net = arch_ops.lrelu(net)
    for index, channels in enumerate((128, 256, 512), 1):
      net = arch_ops.conv2d(
        net, channels, 5, 5, 2, 2, name=f"d_conv{index + 1}", use_sn=use_sn
      )
      net = self.batch_norm(net, y=y, is_training=is_training, name=f"d_bn{index}")
      net = arch_ops.lrelu(net)
    features = tf.cast(net, tf.float32)
    score = arch_ops.linear(arch_ops.flatten(features), 1, "d_fc4", use_sn=use_sn)
    score = self._project(score, features, y)
    return tf.sigmoid(score), score, features
