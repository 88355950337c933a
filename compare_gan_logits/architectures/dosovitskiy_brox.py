"""The networks of Dosovitskiy & Brox 2016a, for inverting a vector of logits.

Generator: three fully connected layers, then up-convolutions with a convolution
after each of the first three (their fc-to-image network). Discriminator: five
convolutions of the image, joined with two fully connected layers of the logits.
Both with leaky ReLUs and without normalisation. Theirs makes images of 256x256 pixels;
smaller pictures have fewer up-convolutions, as many of the first as are needed.
"""

from __future__ import annotations

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.errors import UserError
from compare_gan_logits.tpu import tpu_random


_SLOPE = 0.3  # of the leaky ReLU
_SEED_SIZE = 4
# Channels of an up-convolution and of the convolution behind it, in units of ch.
_UP = ((8, 16), (8, 8), (4, 4), (2, None), (1, None))
_DROPOUT = 0.5


def _activate(x: tf.Tensor) -> tf.Tensor:
  return tf.nn.leaky_relu(x, _SLOPE)


def _up_conv(x: tf.Tensor, channels: int, scope: str) -> tf.Tensor:
  """4x4 up-convolution of stride 2."""
  _, height, width, _ = x.shape.as_list()
  shape = [None, 2 * height, 2 * width, channels]
  return tf.cast(arch_ops.deconv2d(x, shape, 4, 4, 2, 2, name=scope), tf.float32)


def _check_condition(y: tf.Tensor | None) -> None:
  if y is None:
    raise UserError(
      "dosovitskiy_brox inverts logits; bind classifier.handle and "
      "ModularGAN.conditional = True"
    )


@gin.configurable
class Generator(abstract_arch.AbstractGenerator):
  """Logits to image. The noise is not used: one picture for each logit vector.

  Args:
    ch: channels of the last hidden up-convolution at 256 px (32 in the paper).
    fc_dim: width of the fully connected layers (4096 in the paper).
    **kwargs: of abstract_arch.AbstractGenerator.
  """

  def __init__(self, ch: int = 32, fc_dim: int = 4096, **kwargs):
    super().__init__(**kwargs)
    self._ch = ch
    self._fc_dim = fc_dim

  def apply(
    self, z: tf.Tensor | None, y: tf.Tensor | None, is_training: bool
  ) -> tf.Tensor:
    """Logits [batch, n] -> images [batch, h, w, c], in [0, 1] but for training.

    Raises:
      UserError: there are no logits, or a resolution that the paper's form has not.
    """
    _check_condition(y)
    resolution, _, colors = self._image_shape
    num_ups = (resolution // _SEED_SIZE).bit_length() - 1
    if resolution != _SEED_SIZE * 2**num_ups or not 2 <= num_ups <= len(_UP) + 1:
      raise UserError(
        f"dosovitskiy_brox has no networks for {resolution} px, only for 16, 32, 64, "
        "128 and 256 px; choose another dataset.name"
      )
    seed_channels = _UP[0][0] * self._ch
    net = y
    for index, size in enumerate(
      (self._fc_dim, self._fc_dim, _SEED_SIZE**2 * seed_channels)
    ):
      net = _activate(arch_ops.linear(net, size, f"fc{index}"))
    net = tf.reshape(net, [-1, _SEED_SIZE, _SEED_SIZE, seed_channels])
    for index, (up, conv) in enumerate(_UP[: num_ups - 1]):
      net = _activate(_up_conv(net, up * self._ch, f"up{index}"))
      if conv:
        net = arch_ops.conv2d(net, conv * self._ch, 3, 3, 1, 1, name=f"conv{index}")
        net = _activate(tf.cast(net, tf.float32))
    image = 0.5 + _up_conv(net, colors, "image")
    # Theirs is linear; the gradient of a clipped pixel would be lost in training.
    return image if is_training else tf.clip_by_value(image, 0.0, 1.0)


@gin.configurable
class Discriminator(abstract_arch.AbstractDiscriminator):
  """Image and logits to the probability that the image is real.

  Args:
    ch: channels of the first convolution (32 in the paper).
    **kwargs: of abstract_arch.AbstractDiscriminator.
  """

  scores_images_apart = True
  features_depend_on_y = True

  def __init__(self, ch: int = 32, **kwargs):
    super().__init__(**kwargs)
    self._ch = ch

  def apply(
    self, x: tf.Tensor, y: tf.Tensor | None, is_training: bool
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images [batch, h, w, c] in [0, 1] and logits [batch, n].

    Returns:
      (probability [batch, 1], score [batch, 1], features [batch, 8 ch] of the image).

    Raises:
      UserError: there are no logits.
    """
    _check_condition(y)
    ch = self._ch
    # (size, stride, channels); pictures below 64 px are not halved four times.
    large = x.shape[1] >= 64
    layers = (
      (7, 4 if large else 2, ch),
      (5, 1, 2 * ch),
      (3, 2, 4 * ch),
      (3, 1, 8 * ch),
      (3, 2, 8 * ch),
    )
    net = x
    for index, (size, stride, channels) in enumerate(layers):
      net = arch_ops.conv2d(
        net, channels, size, size, stride, stride, name=f"conv{index}"
      )
      net = _activate(tf.cast(net, tf.float32))
    features = tf.reduce_mean(net, axis=[1, 2])
    hidden = y
    for index, size in enumerate((32 * ch, 16 * ch)):
      hidden = _activate(arch_ops.linear(hidden, size, f"fc_logits{index}"))
    net = tf.concat([features, hidden], axis=1)
    if is_training:
      net = _dropout(net)
    net = _activate(arch_ops.linear(net, 16 * ch, "fc0"))
    if is_training:
      net = _dropout(net)
    score = self._project(arch_ops.linear(net, 1, "fc1"), net, y)
    return tf.sigmoid(score), score, features


def _dropout(net):
  """Dropout by numbers that follow from the step, so that a resumed run goes on alike."""
  kept = tpu_random.uniform(tf.shape(net), name="dropout") >= _DROPOUT
  return tf.where(kept, net / (1.0 - _DROPOUT), tf.zeros_like(net))
