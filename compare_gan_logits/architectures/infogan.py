"""The networks of InfoGAN (Chen et al. 2016), without its codes."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import logit_conditioning
from compare_gan_logits.errors import UserError


class Generator(abstract_arch.AbstractGenerator):
  """Two linear layers and two transposed convolutions.

  As in compare_gan the norms are arch_ops.batch_norm whatever G.batch_norm_fn says,
  with two exceptions: the paper's logit_conditional_batch_norm takes their place, and
  so does a norm that takes a feature map.
  Spectral norm does not apply.
  """

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, h, w, c] in [0, 1].

    Raises:
      UserError: a size that is not divisible by 4.
    """
    height, width, colors = self._image_shape
    if height % 4 or width % 4:
      raise UserError(
        f"infogan's images have sizes divisible by 4, not {height} x {width}; choose "
        "another dataset.name or options.architecture"
      )

    bound = self.takes_feature_map or logit_conditioning.conditions_on_logits(
      self._batch_norm_fn
    )

    def normalized(x: tf.Tensor, name: str) -> tf.Tensor:
      if bound:
        return arch_ops.lrelu(
          self.batch_norm(x, z=z, y=y, is_training=is_training, name=name)
        )
      return arch_ops.lrelu(arch_ops.batch_norm(x, is_training=is_training, name=name))

    net = normalized(arch_ops.linear(z, 1024, "g_fc1"), "g_bn1")
    net = arch_ops.linear(net, 128 * (height // 4) * (width // 4), "g_fc2")
    net = tf.reshape(normalized(net, "g_bn2"), [-1, height // 4, width // 4, 128])
    batch = net.shape[0]
    shape = [batch, height // 2, width // 2, 64]
    net = arch_ops.deconv2d(net, shape, 4, 4, 2, 2, name="g_dc3")
    net = normalized(net, "g_bn3")
    shape = [batch, height, width, colors]
    net = arch_ops.deconv2d(net, shape, 4, 4, 2, 2, name="g_dc4")
    return tf.sigmoid(tf.cast(net, tf.float32))


class Discriminator(abstract_arch.AbstractDiscriminator):
  """Two 4x4 convolutions of stride 2 and two linear layers.

  Unlike the generator's, the norms are those of D.batch_norm_fn: none by default.
  """

  scores_images_apart = True

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, 1024]).
    """
    use_sn = self._spectral_norm

    def normalized(net: tf.Tensor, name: str) -> tf.Tensor:
      return arch_ops.lrelu(
        self.batch_norm(net, y=y, is_training=is_training, name=name)
      )

    net = arch_ops.conv2d(x, 64, 4, 4, 2, 2, name="d_conv1", use_sn=use_sn)
    net = arch_ops.lrelu(net)
    net = arch_ops.conv2d(net, 128, 4, 4, 2, 2, name="d_conv2", use_sn=use_sn)
    net = arch_ops.flatten(tf.cast(normalized(net, "d_bn2"), tf.float32))
    features = normalized(arch_ops.linear(net, 1024, "d_fc3", use_sn=use_sn), "d_bn3")
    score = arch_ops.linear(features, 1, "d_fc4", use_sn=use_sn)
    score = self._project(score, features, y)
    return tf.sigmoid(score), score, features
