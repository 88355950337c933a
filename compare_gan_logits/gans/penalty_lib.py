"""Penalties on the discriminator, added to its loss times options.lamba.

A penalty of your own declares those of these arguments that it needs: x and x_fake,
images [batch, h, w, c] in [0, 1]; y, the condition of x [batch, n] or None;
is_training; discriminator, the network, whose call (x, y=, is_training=, reuse=) gives
(probability, score [batch, 1], features); architecture, its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.architectures import abstract_arch
from compare_gan_logits.gans import ops


@gin.configurable(allowlist=[])
def no_penalty() -> tf.Tensor:
  """Zero."""
  return tf.constant(0.0)


@gin.configurable(allowlist=[])
def dragan_penalty(
  discriminator: abstract_arch.AbstractDiscriminator,
  x: tf.Tensor,
  y: tf.Tensor | None,
  is_training: bool,
) -> tf.Tensor:
  """Kodali et al. 2017: around real images, half a standard deviation away."""
  _, variance = tf.nn.moments(x, axes=list(range(x.shape.rank)))
  noise = tf.sqrt(variance) * (ops.random_uniform(x.shape, name="noise") - 0.5)
  points = tf.clip_by_value(x + noise, 0.0, 1.0)
  return _gradient_norm_penalty(discriminator, points, y, is_training)


@gin.configurable(allowlist=[])
def wgangp_penalty(
  discriminator: abstract_arch.AbstractDiscriminator,
  x: tf.Tensor,
  x_fake: tf.Tensor,
  y: tf.Tensor | None,
  is_training: bool,
) -> tf.Tensor:
  """Gulrajani et al. 2017: on lines between real and generated images."""
  alpha = ops.random_uniform([x.shape[0], 1, 1, 1], name="alpha")
  points = x + alpha * (x_fake - x)
  return _gradient_norm_penalty(discriminator, points, y, is_training)


@gin.configurable(allowlist=[])
def l2_penalty(discriminator: abstract_arch.AbstractDiscriminator) -> tf.Tensor:
  """The mean over the discriminator's kernels of half their squared norm."""
  kernels = [
    v for v in discriminator.trainable_variables if v.op.name.endswith("/kernel")
  ]
  return tf.reduce_mean([tf.nn.l2_loss(kernel) for kernel in kernels])


def _gradient_norm_penalty(discriminator, points, y, is_training):
  """E[(|dD/dx| - 1)^2] at the points x."""
  score = discriminator(points, y=y, is_training=is_training, reuse=True)[1]
  gradients = tf.gradients(score, [points])[0]
  norms = tf.sqrt(1e-4 + tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3]))
  return tf.reduce_mean(tf.square(norms - 1.0))


@gin.configurable("penalty", allowlist=["fn"])
def get_penalty_loss(
  fn: Callable[..., tf.Tensor] = no_penalty, **kwargs: Any
) -> tf.Tensor:
  """The penalty of the function that gin binds to `penalty.fn`.

  Args:
    fn: gets those of `kwargs` that it declares.
    **kwargs: x, x_fake, y, is_training, discriminator and architecture.
  """
  return utils.call_with_accepted_args(fn, **kwargs)
