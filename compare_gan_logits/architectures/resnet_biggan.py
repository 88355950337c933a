"""BigGAN's generator and projection discriminator (Brock et al. 2019).

With the logits of a classifier as condition y these are the networks of the
paper: Tables 3 and 4, eq. 2 and eq. 3.
"""

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
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


def _one_of(default, **values):
  """The value of the one keyword that is given, or the default."""
  given = {name: value for name, value in values.items() if value is not None}
  if len(given) > 1:
    raise UserError(
      f"gin binds both {' and '.join(given)}, two names of the same thing; keep one"
    )
  return next(iter(given.values()), default)


def _channels(table, resolution, ch):
  if resolution not in table:
    raise UserError(
      f"resnet_biggan has no {resolution} px images, only "
      f"{', '.join(map(str, table))}; choose another dataset.name"
    )
  return [ch * multiplier for multiplier in table[resolution]]


class _Attention:
  """Self-attention after the named blocks ("B4", or several: "B3,B4")."""

  def __init__(self, blocks, spectral_norm):
    self._names = [name for name in blocks.split(",") if name]
    self._spectral_norm = spectral_norm

  def __call__(self, inputs, name, is_training):
    if name not in self._names:
      return inputs
    # The reference's scope; with several blocks the later ones need their own.
    first = name == self._names[0]
    scope = "non_local_block" if first else f"non_local_block_{name}"
    return arch_ops.non_local_block(inputs, scope, is_training, self._spectral_norm)


@gin.configurable
class Generator(abstract_arch.AbstractGenerator):
  """Table 3: linear, residual blocks that double the size, norm, conv, tanh.

  Args:
    ch: channel multiplier.
    blocks_with_attention: names of blocks followed by self-attention; a name that
      the resolution does not have is passed over, as in the reference.
    hierarchical_z: True feeds a share of the noise to each block's norms, in
      front of the condition; False feeds all of it to the first layer.
    embed_z: pass the noise through a linear layer first.
    embed_y: pass the condition through a linear layer first (default True).
    embed_labels: the paper's name for embed_y.
    embed_y_dim: width of that layer.
    embed_bias: give the two embeddings a bias.
    shortcut_norm: a third conditional norm per block, in front of the shortcut:
      section 14.1 counts three where the reference has two.
  """

  def __init__(
    self,
    ch=96,
    blocks_with_attention="B4",
    hierarchical_z=True,
    embed_z=False,
    embed_y=None,
    embed_labels=None,
    embed_y_dim=128,
    embed_bias=False,
    shortcut_norm=False,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._ch = ch
    self._blocks_with_attention = blocks_with_attention
    self._hierarchical_z = hierarchical_z
    self._embed_z = embed_z
    self._embed_y = _one_of(True, embed_y=embed_y, embed_labels=embed_labels)
    self._embed_y_dim = embed_y_dim
    self._embed_bias = embed_bias
    self._shortcut_norm = shortcut_norm

  def apply(self, z, y, is_training):
    resolution, _, colors = self._image_shape
    out_channels = _channels(_GENERATOR_CHANNELS, resolution, self._ch)
    num_blocks = len(out_channels)
    seed_channels = out_channels[0]

    def embed(x, size, scope):
      return arch_ops.linear(x, size, scope, is_training, use_bias=self._embed_bias)

    if self._embed_z:
      z = embed(z, z.shape[-1], "embed_z")
    if y is not None and self._embed_y:
      y = embed(y, self._embed_y_dim, "embed_y")
    seed, conditions = self._split(z, y, num_blocks)

    net = arch_ops.linear(
      seed,
      _SEED_SIZE**2 * seed_channels,
      "fc_noise",
      is_training,
      use_sn=self._spectral_norm,
    )
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, seed_channels])
    attend = _Attention(self._blocks_with_attention, self._spectral_norm)
    for index, (channels, condition) in enumerate(zip(out_channels, conditions), 1):
      block = resnet_ops.BigGanResNetBlock(
        f"B{index}",
        channels,
        "up",
        is_gen_block=True,
        batch_norm=self.batch_norm,
        spectral_norm=self._spectral_norm,
        shortcut_norm=self._shortcut_norm,
      )
      net = block(net, z=z, y=condition, is_training=is_training)
      net = attend(net, f"B{index}", is_training)

    net = arch_ops.batch_norm(net, is_training, name="final_norm")
    net = arch_ops.conv2d(
      tf.nn.relu(net), colors, 3, "final_conv", is_training, use_sn=self._spectral_norm
    )
    return (tf.tanh(tf.cast(net, tf.float32)) + 1.0) / 2.0

  def _split(self, z, y, num_blocks):
    """The first layer's noise, and each block's condition."""
    if not self._hierarchical_z:
      return z, [y] * num_blocks
    if z.shape[-1] % (num_blocks + 1):
      raise UserError(
        f"options.z_dim {z.shape[-1]} is not a multiple of {num_blocks + 1}, the "
        f"shares of hierarchical_z at {self._image_shape[0]} px; change options.z_dim"
      )
    seed, *shares = tf.split(z, num_blocks + 1, axis=1)
    if y is None:
      return seed, shares
    return seed, [tf.concat([share, y], axis=1) for share in shares]


@gin.configurable
class Discriminator(abstract_arch.AbstractDiscriminator):
  """Table 4: residual blocks that halve the size, sum pooling, projection.

  Args:
    ch: channel multiplier.
    blocks_with_attention: names of blocks followed by self-attention.
    project_y: project the features on the condition (default True): eq. 2.
    project_labels: the paper's name for project_y.
  """

  def __init__(
    self,
    ch=96,
    blocks_with_attention="B1",
    project_y=None,
    project_labels=None,
    **kwargs,
  ):
    super().__init__(**kwargs)
    self._ch = ch
    self._blocks_with_attention = blocks_with_attention
    self._project_y = _one_of(True, project_y=project_y, project_labels=project_labels)

  def apply(self, x, y, is_training):
    out_channels = _channels(_DISCRIMINATOR_CHANNELS, x.shape[1], self._ch)
    num_blocks = len(out_channels)
    attend = _Attention(self._blocks_with_attention, self._spectral_norm)
    net = x
    for index, channels in enumerate(out_channels, 1):
      block = resnet_ops.BigGanResNetBlock(
        f"B{index}",
        channels,
        "down" if index < num_blocks else "same",
        is_gen_block=False,
        batch_norm=self.batch_norm,
        spectral_norm=self._spectral_norm,
      )
      net = block(net, z=None, y=y, is_training=is_training)
      net = attend(net, f"B{index}", is_training)

    # Eq. 2: D = (w1 + W2 z)' Psi(x).
    features = tf.reduce_sum(tf.cast(tf.nn.relu(net), tf.float32), axis=[1, 2])
    score = arch_ops.linear(
      features, 1, "final_fc", is_training, use_sn=self._spectral_norm
    )
    if y is not None and self._project_y:
      direction = arch_ops.linear(
        y,
        features.shape[-1],
        "embedding_fc",
        is_training,
        use_sn=self._spectral_norm,
        use_bias=False,
        initializer=tf.glorot_normal_initializer(),
      )
      score += tf.reduce_sum(direction * features, axis=1, keepdims=True)
    return tf.sigmoid(score), score, features
