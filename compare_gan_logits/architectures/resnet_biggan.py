"""BigGAN's generator and projection discriminator (Brock et al. 2019).

With the logits of a classifier as condition y these are the networks of the
paper: Tables 3 and 4, eq. 2 and eq. 3.
"""

from __future__ import annotations

from typing import Any

import gin
import tensorflow.compat.v1 as tf
from absl import logging

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import resnet_ops
from compare_gan_logits.errors import UserError


# Channel multipliers by resolution: of each block's output.
_GENERATOR_CHANNELS = {
  32: [4, 4, 4],
  64: [16, 8, 4, 2],
  128: [16, 8, 4, 2, 1],
  256: [16, 8, 8, 4, 2, 1],
  512: [16, 8, 8, 4, 2, 1, 1],
}
_DISCRIMINATOR_CHANNELS = {
  32: [2, 2, 2, 2],
  64: [2, 4, 8, 16, 16],
  128: [1, 2, 4, 8, 16, 16],
  256: [1, 2, 4, 8, 8, 16, 16],
  512: [1, 1, 2, 4, 8, 8, 16, 16],
}
_SEED_SIZE = 4  # the generator starts from 4x4


def _one_of(**values):
  """The value of the one keyword that is not None, or None."""
  given = {name: value for name, value in values.items() if value is not None}
  if len(given) > 1:
    raise UserError(
      f"gin binds both {' and '.join(given)}, two names of the same thing; keep one"
    )
  return next(iter(given.values()), None)


def _channels(table: dict[int, list[int]], resolution: int, ch: int) -> list[int]:
  if resolution not in table:
    raise UserError(
      f"resnet_biggan has no networks for {resolution} px, only for "
      f"{', '.join(map(str, table))} px; choose another dataset.name"
    )
  return [ch * multiplier for multiplier in table[resolution]]


def _attended(blocks: str, out_channels: list[int]) -> set[str]:
  """The blocks ("B1,B3") that self-attention follows; a name too many does nothing.

  Raises:
    UserError: they differ in width; as in compare_gan, one attention serves all.
  """
  widths = {f"B{i}": channels for i, channels in enumerate(out_channels, 1)}
  attended = {name for name in blocks.split(",") if name in widths}
  if len({widths[name] for name in attended}) > 1:
    raise UserError(
      f"blocks_with_attention '{blocks}' names blocks of different widths, which "
      "cannot share the variables of one attention layer; name blocks of one width"
    )
  return attended


@gin.configurable
class BigGanResNetBlock(resnet_ops.ResNetBlock):
  """norm, relu, conv1, norm, relu, conv2, plus a 1x1 convolution of the input.

  Args:
    add_shortcut: False leaves the shortcut out, the identity as well.
    shortcut_norm: a third norm `bn_shortcut`, in front of the shortcut's convolution:
      section 14.1 of the paper counts three where compare_gan has two.
    **kwargs: of resnet_ops.ResNetBlock.
  """

  def __init__(self, add_shortcut: bool = True, shortcut_norm: bool = False, **kwargs):
    super().__init__(**kwargs)
    self._add_shortcut = add_shortcut
    self._shortcut_norm = shortcut_norm

  def apply(
    self,
    inputs: tf.Tensor,
    z: tf.Tensor | None,
    y: tf.Tensor | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Builds the block; see resnet_ops.ResNetBlock.apply."""
    self._check_channels(inputs)
    with tf.variable_scope(self._name):
      outputs = self._residual(inputs, z, y, is_training)
      if not self._add_shortcut:
        return outputs
      if self._shortcut_norm and self._batch_norm is not None:
        inputs = self._batch_norm(
          inputs, z=z, y=y, is_training=is_training, name="bn_shortcut"
        )
      return outputs + self._shortcut(inputs, kernel_size=(1, 1))


@gin.configurable
class Generator(resnet_ops.ResNetGenerator):
  """Table 3: linear, residual blocks that double the size, norm, conv, tanh.

  Args:
    ch: channel multiplier.
    blocks_with_attention: names of blocks followed by self-attention, which they
      share; a name that the resolution does not have is passed over.
    hierarchical_z: True feeds a share of the noise to each block's norms, in
      front of the condition; False feeds all of it to the first layer.
    embed_z: pass the noise through a linear layer first.
    embed_y: pass the condition through a linear layer first; None means True.
    embed_y_dim: width of that layer.
    embed_bias: give the two embeddings a bias.
    embed_labels: the paper's name for embed_y.
    shortcut_norm: a third conditional norm per block; see BigGanResNetBlock.
    condition_first_layer: the first layer sees the embedded condition beside its noise,
      as in BigGAN-deep (Brock et al. 2019, Table 7); the paper's sees noise only.
    **kwargs: of abstract_arch.AbstractGenerator.
  """

  _block_class = BigGanResNetBlock

  def __init__(
    self,
    ch: int = 96,
    blocks_with_attention: str = "B4",
    hierarchical_z: bool = True,
    embed_z: bool = False,
    embed_y: bool | None = None,
    embed_y_dim: int = 128,
    embed_bias: bool = False,
    embed_labels: bool | None = None,
    shortcut_norm: bool = False,
    condition_first_layer: bool = False,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._condition_first_layer = condition_first_layer
    self._ch = ch
    self._blocks_with_attention = blocks_with_attention
    self._hierarchical_z = hierarchical_z
    self._embed_z = embed_z
    self._embed_y = _one_of(embed_y=embed_y, embed_labels=embed_labels) is not False
    self._embed_y_dim = embed_y_dim
    self._embed_bias = embed_bias
    self._shortcut_norm = shortcut_norm

  def _block_options(self, in_channels: int, out_channels: int) -> dict[str, Any]:
    options = super()._block_options(in_channels, out_channels)
    # Not handed over where False, so that gin may bind it for the blocks.
    return {**options, "shortcut_norm": True} if self._shortcut_norm else options

  def apply(self, z: tf.Tensor, y: tf.Tensor | None, is_training: bool) -> tf.Tensor:
    """[batch, z_dim], [batch, n] or None -> images [batch, h, w, c] in [0, 1].

    Raises:
      UserError: a resolution that BigGAN does not have, or a z_dim without equal shares.
    """
    resolution, _, colors = self._image_shape
    out_channels = _channels(_GENERATOR_CHANNELS, resolution, self._ch)
    attended = _attended(self._blocks_with_attention, out_channels)
    z, y = self._embed(z, y)
    num_blocks = len(out_channels)
    seed, shares, conditions = z, [z] * num_blocks, [y] * num_blocks
    if self._hierarchical_z:
      seed, shares, conditions = resnet_ops.hierarchical_noise(z, y, num_blocks)
    if self._condition_first_layer and y is not None:
      seed = tf.concat([seed, y], axis=1)

    in_channels = out_channels[0]
    net = arch_ops.linear(
      seed, _SEED_SIZE**2 * in_channels, "fc_noise", use_sn=self._spectral_norm
    )
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, in_channels])
    for index, channels in enumerate(out_channels):
      name = f"B{index + 1}"
      block = self._resnet_block(name, in_channels, channels, "up")
      net = block(net, z=shares[index], y=conditions[index], is_training=is_training)
      if name in attended:
        net = arch_ops.non_local_block(net, "non_local_block", self._spectral_norm)
      in_channels = channels

    net = arch_ops.batch_norm(net, is_training=is_training, name="final_norm")
    net = arch_ops.conv2d(
      tf.nn.relu(net), colors, 3, 3, 1, 1, name="final_conv", use_sn=self._spectral_norm
    )
    return (tf.tanh(tf.cast(net, tf.float32)) + 1.0) / 2.0

  def _embed(
    self, z: tf.Tensor, y: tf.Tensor | None
  ) -> tuple[tf.Tensor, tf.Tensor | None]:
    if self._embed_z:
      z = arch_ops.linear(z, z.shape[-1], "embed_z", use_bias=self._embed_bias)
    if self._embed_y and y is None:
      logging.log_first_n(logging.WARNING, "embed_y: there is no condition to embed", 1)
    elif self._embed_y:
      y = arch_ops.linear(y, self._embed_y_dim, "embed_y", use_bias=self._embed_bias)
    return z, y


@gin.configurable
class Discriminator(resnet_ops.ResNetDiscriminator):
  """Table 4: residual blocks that halve the size, sum pooling, projection.

  Args:
    ch: channel multiplier.
    blocks_with_attention: names of blocks followed by self-attention, which they share.
    project_y: project the features on the condition, eq. 2; None means what D.project_y
      says, and else True.
    project_labels: the paper's name for project_y.
    **kwargs: of abstract_arch.AbstractDiscriminator.
  """

  _block_class = BigGanResNetBlock
  scores_images_apart = True

  def __init__(
    self,
    ch: int = 96,
    blocks_with_attention: str = "B1",
    project_y: bool | None = None,
    project_labels: bool | None = None,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._ch = ch
    self._blocks_with_attention = blocks_with_attention
    own = _one_of(project_y=project_y, project_labels=project_labels)
    self._project_y = self._project_y if own is None else own

  def _block_options(self, in_channels: int, out_channels: int) -> dict[str, Any]:
    options = super()._block_options(in_channels, out_channels)
    return {**options, "add_shortcut": in_channels != out_channels}

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1], [batch, n] or None.

    Returns:
      (probability [batch, 1], score [batch, 1], features psi(x) [batch, 16 ch]).

    Raises:
      UserError: a resolution that BigGAN does not have.
    """
    resnet_ops.validate_image_inputs(x)
    out_channels = _channels(_DISCRIMINATOR_CHANNELS, x.shape.as_list()[1], self._ch)
    attended = _attended(self._blocks_with_attention, out_channels)
    net = x
    for index, channels in enumerate(out_channels, 1):
      scale = "down" if index < len(out_channels) else "none"
      block = self._resnet_block(f"B{index}", net.shape.as_list()[-1], channels, scale)
      net = block(net, z=None, y=y, is_training=is_training)
      if f"B{index}" in attended:
        net = arch_ops.non_local_block(net, "non_local_block", self._spectral_norm)

    # Eq. 2: D = (w1 + W2 y)' psi(x).
    features = tf.reduce_sum(tf.cast(tf.nn.relu(net), tf.float32), axis=[1, 2])
    score = arch_ops.linear(features, 1, "final_fc", use_sn=self._spectral_norm)
    score = self._project(score, features, y, default=True)
    return tf.sigmoid(score), score, features
