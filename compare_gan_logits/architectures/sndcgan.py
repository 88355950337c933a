"""SNDCGAN: the plain networks of spectral normalisation's paper (Miyato et al. 2018)."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.errors import UserError


class Generator(abstract_arch.AbstractGenerator):
  """A linear layer, three transposed convolutions of stride 2 and one of stride 1.

  The first norm sees the linear layer's units, [batch, n], as channels. Spectral norm
  does not apply.
  """

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, h, w, c] in [0, 1].

    Raises:
      UserError: a size that is not divisible by 8.
    """
    height, width, colors = self._image_shape
    if height % 8 or width % 8:
      raise UserError(
        f"sndcgan's images have sizes divisible by 8, not {height} x {width}; choose "
        "another dataset.name or options.architecture"
      )

    def normalized(x: tf.Tensor, name: str) -> tf.Tensor:
      return tf.nn.relu(
        self.batch_norm(x, z=z, y=y, is_training=is_training, name=name)
      )

    seed_height, seed_width = height // 8, width // 8
    net = arch_ops.linear(z, seed_height * seed_width * 512, "g_fc1")
    net = normalized(net, "g_bn1")
    net = tf.reshape(net, [-1, seed_height, seed_width, 512])
    for index, channels in enumerate((256, 128, 64), 1):
      scale = 2**index
      shape = [net.shape[0], seed_height * scale, seed_width * scale, channels]
      net = arch_ops.deconv2d(net, shape, 4, 4, 2, 2, name=f"g_dc{index + 1}")
      net = normalized(net, f"g_bn{index + 1}")
    shape = [net.shape[0], height, width, colors]
    net = arch_ops.deconv2d(net, shape, 3, 3, 1, 1, name="g_dc5")
    return (tf.tanh(tf.cast(net, tf.float32)) + 1.0) / 2.0


class Discriminator(abstract_arch.AbstractDiscriminator):
  """Seven convolutions, three of them of stride 2, and a linear layer; no norms."""

  scores_images_apart = True

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, h/8 * w/8 * 512]).
    """
    use_sn = self._spectral_norm
    # (channels, size of the kernel, stride)
    layers = (
      (64, 3, 1),
      (128, 4, 2),
      (128, 3, 1),
      (256, 4, 2),
      (256, 3, 1),
      (512, 4, 2),
      (512, 3, 1),
    )
    net = 2.0 * x - 1.0
    for index, (channels, size, stride) in enumerate(layers, 1):
      net = arch_ops.conv2d(
        net, channels, size, size, stride, stride, name=f"d_conv{index}", use_sn=use_sn
      )
      net = arch_ops.lrelu(net, leak=0.1)
    features = arch_ops.flatten(tf.cast(net, tf.float32))
    score = arch_ops.linear(features, 1, "d_fc1", use_sn=use_sn)
    score = self._project(score, features, y)
    return tf.sigmoid(score), score, features
