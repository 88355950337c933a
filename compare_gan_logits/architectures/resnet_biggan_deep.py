"""BigGAN-deep (Brock et al. 2019): twice the blocks, each a bottleneck.

The shortcuts have no weights of their own, except for channels that are added.
"""

from __future__ import annotations

from typing import Any

import gin
import tensorflow.compat.v1 as tf
from absl import logging

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.architectures import scaled_convolutions
from compare_gan_logits.errors import UserError


_SEED_SIZE = 4
_ATTENTION_SIZE = 64  # pixels
_FAST_RGB_CHANNELS = 128
# Channel multipliers by resolution: in front of each block, and behind the last one.
_GENERATOR_CHANNELS = {
  32: [4] * 8,
  64: [16] * 4 + [8] * 2 + [4, 4, 2],
  128: [16] * 4 + [8] * 2 + [4, 4, 2, 2, 1],
  256: [16] * 4 + [8] * 4 + [4, 4, 2, 2, 1],
  512: [16] * 4 + [8] * 4 + [4, 4, 2, 2, 1, 1, 1],
}
_DISCRIMINATOR_CHANNELS = {
  32: [2] * 8,
  64: [2, 4, 4, 8, 8] + [16] * 4,
  128: [1, 2, 2, 4, 4, 8, 8] + [16] * 4,
  256: [1, 2, 2, 4, 4] + [8] * 4 + [16] * 4,
  512: [1, 1, 1, 2, 2, 4, 4] + [8] * 4 + [16] * 4,
}


def _channels(table: dict[int, list[int]], resolution: int, ch: int) -> list[int]:
  if resolution not in table:
    raise UserError(
      f"resnet_biggan_deep has no networks for {resolution} px, only for "
      f"{', '.join(map(str, table))} px; choose another dataset.name"
    )
  return [ch * multiplier for multiplier in table[resolution]]


@gin.configurable
class BigGanDeepResNetBlock(resnet_ops.ResidualBlock):
  """Four normalised convolutions, 1x1, 3x3, 3x3 and 1x1, of a quarter of the width.

  The first 3x3 convolution doubles the size; the last one halves it. Its arguments are
  those of resnet_ops.ResidualBlock.
  """

  def apply(
    self,
    inputs: tf.Tensor,
    z: tf.Tensor | None,
    y: tf.Tensor | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Builds the block; see resnet_ops.ResidualBlock.apply."""
    self._check_channels(inputs)
    width = max(self._in_channels, self._out_channels) // 4
    up, down = (s if self._scale == s else "none" for s in ("up", "down"))
    with tf.variable_scope(self._name):
      net = inputs
      for index, (channels, size, scale) in enumerate(
        (
          (width, 1, "none"),
          (width, 3, up),
          (width, 3, "none"),
          (self._out_channels, 1, down),
        ),
        1,
      ):
        with tf.variable_scope(f"conv{index}"):
          if self._batch_norm is not None:
            net = self._batch_norm(net, z=z, y=y, is_training=is_training, name="bn")
          net = arch_ops.scaled_conv2d(
            tf.nn.relu(net),
            channels,
            (size, size),
            scale,
            name=f"{size}x{size}_conv",
            use_sn=self._spectral_norm,
          )
      return net + self._shortcut(inputs)

  def _shortcut(self, inputs: tf.Tensor) -> tf.Tensor:
    """The input with its size doubled or halved, and channels dropped or added."""
    outputs = inputs
    with tf.variable_scope("shortcut"):
      if self._out_channels < self._in_channels:
        outputs = outputs[..., : self._out_channels]
      if self._scale == "up":
        outputs = scaled_convolutions.upsample(outputs)
      elif self._scale == "down":
        outputs = tf.nn.avg_pool2d(outputs, 2, 2, "SAME")
      missing = self._out_channels - self._in_channels
      if missing > 0:
        added = arch_ops.conv1x1(
          outputs, missing, name="add_channels", use_sn=self._spectral_norm
        )
        outputs = tf.concat([tf.cast(outputs, added.dtype), added], axis=-1)
    return tf.cast(outputs, arch_ops.compute_dtype())


@gin.configurable
class Generator(resnet_ops.ResNetGenerator):
  """Noise and embedded condition together feed the first layer and every norm.

  Args:
    ch: channel multiplier.
    embed_y: pass the condition through a linear layer first.
    embed_y_dim: width of that layer.
    experimental_fast_conv_to_rgb: let the last convolution have 128 outputs, of which
      all but the colors are dropped.
    **kwargs: of abstract_arch.AbstractGenerator.
  """

  _block_class = BigGanDeepResNetBlock

  def __init__(
    self,
    ch: int = 128,
    embed_y: bool = True,
    embed_y_dim: int = 128,
    experimental_fast_conv_to_rgb: bool = False,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._ch = ch
    self._embed_y = embed_y
    self._embed_y_dim = embed_y_dim
    self._fast_conv_to_rgb = experimental_fast_conv_to_rgb

  def _block_options(self, in_channels: int, out_channels: int) -> dict[str, Any]:
    return {}

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, h, w, c] in [0, 1].

    Raises:
      UserError: a size that BigGAN-deep does not have.
    """
    resolution, _, colors = self._image_shape
    use_sn = self._spectral_norm
    channels, *out_channels = _channels(_GENERATOR_CHANNELS, resolution, self._ch)
    condition = self._condition(z, y)
    net = arch_ops.linear(
      condition, _SEED_SIZE**2 * channels, "fc_noise", use_sn=use_sn
    )
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, channels])
    for index, channels in enumerate(out_channels, 1):
      scale = "none" if index % 2 else "up"
      block = self._resnet_block(f"B{index}", net.shape.as_list()[-1], channels, scale)
      net = block(net, z=condition, y=condition, is_training=is_training)
      if scale == "up" and net.shape.as_list()[1] == _ATTENTION_SIZE:
        net = arch_ops.non_local_block(net, "non_local_block", use_sn)

    net = arch_ops.batch_norm(net, is_training=is_training, name="final_norm")
    outputs = _FAST_RGB_CHANNELS if self._fast_conv_to_rgb else colors
    net = arch_ops.conv2d(
      tf.nn.relu(net), outputs, 3, 3, 1, 1, name="final_conv", use_sn=use_sn
    )
    return (tf.tanh(tf.cast(net[..., :colors], tf.float32)) + 1.0) / 2.0

  def _condition(self, z: tf.Tensor, y: tf.Tensor | None) -> tf.Tensor:
    """[batch, z_dim + n]: the noise and, where there is one, the condition."""
    if y is None:
      if self._embed_y:
        logging.log_first_n(
          logging.WARNING, "embed_y: there is no condition to embed", 1
        )
      return z
    if self._embed_y:
      y = arch_ops.linear(y, self._embed_y_dim, "embed_y", use_bias=False)
    return tf.concat([z, y], axis=1)


@gin.configurable
class Discriminator(resnet_ops.ResNetDiscriminator):
  """Blocks that halve the size in turn with blocks that keep it; sum pooling.

  Args:
    ch: channel multiplier.
    blocks_with_attention: not used, as in compare_gan: attention follows the block that
      keeps a size of 64 px.
    project_y: project the features on the condition; None means what D.project_y
      says, and else True.
    **kwargs: of abstract_arch.AbstractDiscriminator.
  """

  _block_class = BigGanDeepResNetBlock
  scores_images_apart = True

  def __init__(
    self,
    ch: int = 128,
    blocks_with_attention: str = "B1",
    project_y: bool | None = None,
    **kwargs,
  ):
    super().__init__(**kwargs)
    del blocks_with_attention
    self._ch = ch
    self._project_y = self._project_y if project_y is None else project_y

  def _block_options(self, in_channels: int, out_channels: int) -> dict[str, Any]:
    return {}

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, n_d]).

    Raises:
      UserError: a size that BigGAN-deep does not have.
    """
    resnet_ops.validate_image_inputs(x)
    use_sn = self._spectral_norm
    channels, *out_channels = _channels(
      _DISCRIMINATOR_CHANNELS, x.shape.as_list()[1], self._ch
    )
    net = arch_ops.conv2d(x, channels, 3, 3, 1, 1, name="initial_conv", use_sn=use_sn)
    for index, channels in enumerate(out_channels, 1):
      scale = "down" if index % 2 else "none"
      block = self._resnet_block(f"B{index}", net.shape.as_list()[-1], channels, scale)
      net = block(net, z=None, y=y, is_training=is_training)
      if scale == "none" and net.shape.as_list()[1] == _ATTENTION_SIZE:
        net = arch_ops.non_local_block(net, "non_local_block", use_sn)

    features = tf.reduce_sum(tf.cast(tf.nn.relu(net), tf.float32), axis=[1, 2])
    score = arch_ops.linear(features, 1, "final_fc", use_sn=use_sn)
    score = self._project(score, features, y, default=True)
    return tf.sigmoid(score), score, features
