"""ResNets for 32 px, as in Gulrajani et al. 2017 and Miyato et al. 2018."""

from __future__ import annotations

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.errors import UserError


_SIZE = 32
_SEED_SIZE = 4
_GENERATOR_CHANNELS = 256
_NUM_BLOCKS = 3
# Scale of each block of the discriminator.
_DISCRIMINATOR_SCALES = ("down", "down", "none", "none")
_DISCRIMINATOR_CHANNELS = 128


@gin.configurable
class Generator(resnet_ops.ResNetGenerator):
  """Three blocks that double the size, all of 256 channels.

  Args:
    hierarchical_z: feed a share of the noise to each block's norms, in front of the
      condition; False feeds all of it to the first layer and to the norms.
    embed_z: pass the noise through a linear layer first.
    embed_y: pass the condition through a linear layer first, as wide as the noise.
    **kwargs: of abstract_arch.AbstractGenerator.
  """

  def __init__(
    self,
    hierarchical_z: bool = False,
    embed_z: bool = False,
    embed_y: bool = False,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._hierarchical_z = hierarchical_z
    self._embed_z = embed_z
    self._embed_y = embed_y

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, 32, 32, c] in [0, 1].

    Raises:
      UserError: another size, or a z_dim without equal shares.
    """
    size, _, colors = self._image_shape
    if size != _SIZE:
      raise UserError(
        f"resnet_cifar has networks for {_SIZE} px only, not {size} px; choose "
        "another dataset.name or options.architecture"
      )
    use_sn = self._spectral_norm
    z_dim = z.shape.as_list()[-1]
    if self._embed_z:
      z = arch_ops.linear(z, z_dim, "embed_z", use_sn=use_sn)
    if self._embed_y and y is not None:
      y = arch_ops.linear(y, z_dim, "embed_y", use_sn=use_sn)
    seed, shares, conditions = z, [z] * _NUM_BLOCKS, [y] * _NUM_BLOCKS
    if self._hierarchical_z:
      seed, shares, conditions = resnet_ops.hierarchical_noise(z, y, _NUM_BLOCKS)

    channels = _GENERATOR_CHANNELS
    net = arch_ops.linear(seed, _SEED_SIZE**2 * channels, "fc_noise", use_sn=use_sn)
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, channels])
    for index, (share, condition) in enumerate(zip(shares, conditions), 1):
      block = self._resnet_block(f"B{index}", channels, channels, "up")
      net = block(net, z=share, y=condition, is_training=is_training)
    net = self.batch_norm(net, z=z, y=y, is_training=is_training, name="final_norm")
    net = arch_ops.conv2d(
      tf.nn.relu(net), colors, 3, 3, 1, 1, name="final_conv", use_sn=use_sn
    )
    return tf.sigmoid(tf.cast(net, tf.float32))


@gin.configurable
class Discriminator(resnet_ops.ResNetDiscriminator):
  """Four blocks of 128 channels, of which two halve the size; mean pooling.

  Args:
    project_y: project the features on the condition; None means what D.project_y
      says, and else False.
    **kwargs: of abstract_arch.AbstractDiscriminator.
  """

  scores_images_apart = True

  def __init__(self, project_y: bool | None = None, **kwargs):
    super().__init__(**kwargs)
    self._project_y = self._project_y if project_y is None else project_y

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, 128]).

    Raises:
      UserError: a size that is no power of two.
    """
    resnet_ops.validate_image_inputs(x)
    net = x
    for index, scale in enumerate(_DISCRIMINATOR_SCALES, 1):
      in_channels = net.shape.as_list()[-1]
      block = self._resnet_block(
        f"B{index}", in_channels, _DISCRIMINATOR_CHANNELS, scale
      )
      net = block(net, z=None, y=y, is_training=is_training)
    # Unlike BigGAN's, the projection starts from `weights`.
    initializer = arch_ops.weight_initializer(stddev=0.02)
    return self._mean_pooled_scores(net, y, initializer=initializer)
