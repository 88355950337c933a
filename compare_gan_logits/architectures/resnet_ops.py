"""Residual blocks of compare_gan, and the networks that are made of them."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.architectures import scaled_convolutions
from compare_gan_logits.errors import UserError


def unpool(value: tf.Tensor, name: str = "unpool") -> tf.Tensor:
  """Doubles every spatial axis: values at even positions, zeros at odd ones.

  The blocks below do the same within their convolutions, unless gin binds
  upsampling.method.

  Args:
    value: [batch, *sizes, channels] with known sizes.
    name: name scope.
  """
  with tf.name_scope(name):
    return scaled_convolutions.insert_zeros(value)


def validate_image_inputs(inputs: tf.Tensor, validate_power2: bool = True) -> None:
  """Checks that images are square, and as wide as a power of two.

  Args:
    inputs: [batch, h, w, c] with known h and w.
    validate_power2: whether the width has to be a power of two.

  Raises:
    UserError: they are not.
  """
  if inputs.shape.rank != 4:
    raise UserError(f"images have the shape [batch, h, w, c], not {inputs.shape}")
  height, width = inputs.shape.as_list()[1:3]
  if height is None or height != width:
    raise UserError(f"images must be square and of known size, not {height} x {width}")
  if validate_power2 and width & (width - 1):
    raise UserError(
      f"this architecture takes images whose width is a power of two, not {width} px; "
      "choose another dataset.name or options.architecture"
    )


def hierarchical_noise(
  z: tf.Tensor, y: tf.Tensor | None, num_blocks: int
) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
  """Divides the noise among the first layer and the blocks (hierarchical_z).

  Args:
    z: [batch, z_dim].
    y: condition [batch, n] or None.
    num_blocks: of the generator.

  Returns:
    (the first layer's share, each block's share, each block's condition: its share,
    followed by y).

  Raises:
    UserError: z_dim is not a multiple of num_blocks + 1.
  """
  z_dim = z.shape.as_list()[-1]
  if z_dim % (num_blocks + 1):
    raise UserError(
      f"options.z_dim {z_dim} is not a multiple of {num_blocks + 1}, the number of "
      "shares of hierarchical_z at this size; change options.z_dim"
    )
  seed, *shares = tf.split(z, num_blocks + 1, axis=1)
  if y is None:
    return seed, shares, shares
  return seed, shares, [tf.concat([share, y], axis=1) for share in shares]


class ResidualBlock(abc.ABC):
  """What residual blocks share: where they stand, how wide they are, how they scale.

  Args:
    name: variable scope, "B1" and so on.
    in_channels: channels of the input.
    out_channels: channels of the output.
    scale: "up" doubles the size, "down" halves it, "none" keeps it.
    spectral_norm: normalise the kernels.
    batch_norm: function of (inputs, z=, y=, is_training=, name=), or None.

  Raises:
    UserError: another scale.
  """

  def __init__(
    self,
    name: str,
    in_channels: int,
    out_channels: int,
    scale: str,
    spectral_norm: bool = False,
    batch_norm: Callable[..., tf.Tensor] | None = None,
  ):
    if scale not in ("up", "down", "none"):
      raise UserError(f"a block's scale is up, down or none, not {scale!r}")
    self._name = name
    self._in_channels = in_channels
    self._out_channels = out_channels
    self._scale = scale
    self._spectral_norm = spectral_norm
    self._batch_norm = batch_norm

  def __call__(
    self,
    inputs: tf.Tensor,
    z: tf.Tensor | None,
    y: tf.Tensor | None,
    is_training: bool,
  ) -> tf.Tensor:
    """[batch, h, w, in_channels] -> [batch, h', w', out_channels]."""
    return self.apply(inputs=inputs, z=z, y=y, is_training=is_training)

  @abc.abstractmethod
  def apply(
    self,
    inputs: tf.Tensor,
    z: tf.Tensor | None,
    y: tf.Tensor | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Builds the block; a subclass may override it.

    Raises:
      UserError: the inputs have another number of channels.
    """

  def _check_channels(self, inputs: tf.Tensor) -> None:
    if inputs.shape.as_list()[-1] != self._in_channels:
      raise UserError(
        f"block {self._name} expects {self._in_channels} channels, "
        f"not {inputs.shape.as_list()[-1]}"
      )


class ResNetBlock(ResidualBlock):
  """norm, relu, conv1, norm, relu, conv2, plus a 3x3 convolution of the input.

  Args:
    name, in_channels, out_channels, scale: as in ResidualBlock; conv1 and the shortcut
      double the size, conv2 and the shortcut halve it.
    is_gen_block: whether the block is a generator's, which may go up, or a
      discriminator's, which may go down.
    layer_norm: a layer norm `ln1`, `ln2` behind each norm.
    spectral_norm, batch_norm: as in ResidualBlock.

  Raises:
    UserError: another scale.
  """

  def __init__(
    self,
    name: str,
    in_channels: int,
    out_channels: int,
    scale: str,
    is_gen_block: bool,
    layer_norm: bool = False,
    spectral_norm: bool = False,
    batch_norm: Callable[..., tf.Tensor] | None = None,
  ):
    super().__init__(name, in_channels, out_channels, scale, spectral_norm, batch_norm)
    # compare_gan's names for where the scaling is done.
    self._scale1 = scale if is_gen_block else "none"
    self._scale2 = "none" if is_gen_block else scale
    self._layer_norm = layer_norm

  def apply(
    self,
    inputs: tf.Tensor,
    z: tf.Tensor | None,
    y: tf.Tensor | None,
    is_training: bool,
  ) -> tf.Tensor:
    """Builds the block; a subclass may override it.

    Raises:
      UserError: the inputs have another number of channels.
    """
    self._check_channels(inputs)
    with tf.variable_scope(self._name):
      shortcut = self._shortcut(inputs, kernel_size=(3, 3))
      return shortcut + self._residual(inputs, z, y, is_training)

  def _residual(
    self,
    inputs: tf.Tensor,
    z: tf.Tensor | None,
    y: tf.Tensor | None,
    is_training: bool,
  ) -> tf.Tensor:
    """The two normalised convolutions."""
    conditions = {"z": z, "y": y, "is_training": is_training}
    outputs = tf.nn.relu(self._norm(inputs, "1", **conditions))
    outputs = self._get_conv(
      outputs, self._in_channels, self._out_channels, self._scale1, "conv1"
    )
    outputs = tf.nn.relu(self._norm(outputs, "2", **conditions))
    return self._get_conv(
      outputs, self._out_channels, self._out_channels, self._scale2, "conv2"
    )

  def _shortcut(self, inputs: tf.Tensor, kernel_size: tuple[int, int]) -> tf.Tensor:
    return self._get_conv(
      inputs,
      self._in_channels,
      self._out_channels,
      self._scale,
      "conv_shortcut",
      kernel_size=kernel_size,
    )

  def _norm(self, inputs: tf.Tensor, number: str, **conditions) -> tf.Tensor:
    outputs = inputs
    if self._batch_norm is not None:
      outputs = self._batch_norm(outputs, name=f"bn{number}", **conditions)
    if self._layer_norm:
      is_training = conditions["is_training"]
      outputs = arch_ops.layer_norm(outputs, is_training, scope=f"ln{number}")
    return outputs

  def _get_conv(
    self,
    inputs: tf.Tensor,
    in_channels: int,
    out_channels: int,
    scale: str,
    suffix: str,
    kernel_size: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
  ) -> tf.Tensor:
    """A convolution with its scaling; a subclass may override it.

    Args:
      inputs: [batch, h, w, in_channels].
      in_channels: of the inputs.
      out_channels: of the outputs.
      scale: "up", "down" or "none".
      suffix: what the scope is called behind "up_", "down_" or "same_".
      kernel_size: (height, width).
      strides: (height, width), before the 2x2 mean of "down".

    Raises:
      UserError: the inputs have another number of channels, or an unknown scale.
    """
    if inputs.shape.as_list()[-1] != in_channels:
      raise UserError(
        f"block {self._name}: {suffix} expects {in_channels} channels, "
        f"not {inputs.shape.as_list()[-1]}"
      )
    if scale not in ("up", "down", "none"):
      raise UserError(f"a block's scale is up, down or none, not {scale!r}")
    name = f"{'same' if scale == 'none' else scale}_{suffix}"
    if tuple(strides) == (1, 1):
      return arch_ops.scaled_conv2d(
        inputs, out_channels, kernel_size, scale, name=name, use_sn=self._spectral_norm
      )
    outputs = arch_ops.conv2d(
      scaled_convolutions.upsample(inputs) if scale == "up" else inputs,
      out_channels,
      *kernel_size,
      *strides,
      name=name,
      use_sn=self._spectral_norm,
    )
    return tf.nn.avg_pool2d(outputs, 2, 2, "SAME") if scale == "down" else outputs


class _NetworkOfBlocks:
  """A network of residual blocks, which go in one direction or keep the size."""

  _block_class: type[ResidualBlock] = ResNetBlock
  _direction: str
  # Of abstract_arch's networks:
  batch_norm: Callable[..., tf.Tensor]
  _spectral_norm: bool

  def _resnet_block(
    self, name: str, in_channels: int, out_channels: int, scale: str
  ) -> ResidualBlock:
    """The block of this network; a subclass may return one of its own.

    Raises:
      UserError: a scale in the other direction.
    """
    if scale not in (self._direction, "none"):
      raise UserError(
        f"a block of {type(self).__name__} has scale {self._direction} or none, "
        f"not {scale!r}"
      )
    return self._block_class(
      name=name,
      in_channels=in_channels,
      out_channels=out_channels,
      scale=scale,
      spectral_norm=self._spectral_norm,
      batch_norm=self.batch_norm,
      **self._block_options(in_channels, out_channels),
    )

  def _block_options(self, in_channels: int, out_channels: int) -> dict[str, Any]:
    """Further arguments of _block_class."""
    raise NotImplementedError


class ResNetGenerator(_NetworkOfBlocks, abstract_arch.AbstractGenerator):
  """A generator of residual blocks."""

  _direction = "up"

  def _block_options(self, in_channels: int, out_channels: int) -> dict[str, Any]:
    del in_channels, out_channels
    return {"is_gen_block": True}


class ResNetDiscriminator(_NetworkOfBlocks, abstract_arch.AbstractDiscriminator):
  """A discriminator of residual blocks."""

  _direction = "down"

  def _block_options(self, in_channels: int, out_channels: int) -> dict[str, Any]:
    del in_channels, out_channels
    return {"is_gen_block": False, "layer_norm": self._layer_norm}

  def _mean_pooled_scores(
    self, net: tf.Tensor, y: tf.Tensor | None, **kwargs
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """_scores of the mean over h and w of relu(net)."""
    features = tf.reduce_mean(tf.cast(tf.nn.relu(net), tf.float32), axis=[1, 2])
    return self._scores(features, y, **kwargs)

  def _scores(
    self, features: tf.Tensor, y: tf.Tensor | None, **kwargs
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(probability, score, features) of features [batch, n], float32."""
    score = arch_ops.linear(features, 1, "disc_final_fc", use_sn=self._spectral_norm)
    score = self._project(score, features, y, **kwargs)
    return tf.sigmoid(score), score, features
