"""The task of telling by how much an image was turned (Chen et al. 2019)."""

from __future__ import annotations

from typing import Any

import tensorflow.compat.v1 as tf

from compare_gan_logits.architectures import arch_ops
from compare_gan_logits.gans import utils


NUM_ROTATIONS = 4
_SCOPE = "discriminator_rotation"


def add_turned(images: tf.Tensor, number: int) -> tf.Tensor:
  """Appends the last `number` of [n, h, w, c], by 90 degrees, by 180 and by 270."""
  return tf.concat([images, utils.rotate_images(images[-number:], (1, 2, 3))], 0)


def add_turned_labels(
  y: tf.Tensor | None, y_turned: tf.Tensor | None, number: int
) -> tf.Tensor | None:
  """The conditions [n + 3 * number, k] of what add_turned returns, or None.

  Args:
    y: conditions [n, k] of the images.
    y_turned: conditions [n, k] of which the turned ones take the last.
    number: of images that are turned.
  """
  if y is None:
    return None
  return tf.concat([y, *[y_turned[-number:]] * (NUM_ROTATIONS - 1)], 0)


def rotation_loss(features: tf.Tensor, number: int, discriminator: Any) -> tf.Tensor:
  """Cross entropy of a linear classifier of the angle, on the discriminator's features.

  Args:
    features: [n + 3 * number, ...] of what add_turned returns.
    number: of images that were turned.
    discriminator: whose features they are; the classifier follows its spectral norm.
  """
  features = features[-NUM_ROTATIONS * number :]
  flat = tf.reshape(features, [NUM_ROTATIONS * number, -1])
  with tf.variable_scope(_SCOPE, reuse=tf.AUTO_REUSE):
    logits = arch_ops.linear(
      flat,
      NUM_ROTATIONS,
      scope="score_classify",
      use_sn=discriminator.uses_spectral_norm,
    )
  labels = tf.repeat(tf.range(NUM_ROTATIONS), number)
  return cross_entropy(tf.one_hot(labels, NUM_ROTATIONS), logits)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
  """The mean over rows [n, k], with compare_gan's 1e-10 inside of the logarithm."""
  probabilities = tf.log(tf.nn.softmax(logits) + 1e-10)
  return -tf.reduce_mean(tf.reduce_sum(labels * probabilities, axis=1))
