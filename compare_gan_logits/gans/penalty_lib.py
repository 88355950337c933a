"""Penalties on the discriminator, added to its loss times options.lamba.

Arguments of each: discriminator(images) -> raw scores [batch, 1]; x and x_fake
are images [batch, h, w, c] in [0, 1]; kernels the discriminator's weights.
"""

import gin
import tensorflow.compat.v1 as tf


def _gradient_norm_penalty(discriminator, x):
  """E[(|dD/dx| - 1)^2] at the points x."""
  gradients = tf.gradients(discriminator(x), [x])[0]
  norms = tf.sqrt(1e-4 + tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3]))
  return tf.reduce_mean(tf.square(norms - 1.0))


@gin.configurable(allowlist=[])
def no_penalty(**_):
  return tf.constant(0.0)


@gin.configurable(allowlist=[])
def dragan_penalty(discriminator, x, **_):
  """Kodali et al. 2017: around real images, half a standard deviation away."""
  _, variance = tf.nn.moments(x, axes=list(range(x.shape.rank)))
  noise = 0.5 * tf.sqrt(variance) * tf.random.uniform(tf.shape(x), -1.0, 1.0)
  return _gradient_norm_penalty(discriminator, tf.clip_by_value(x + noise, 0.0, 1.0))


@gin.configurable(allowlist=[])
def wgangp_penalty(discriminator, x, x_fake, **_):
  """Gulrajani et al. 2017: on lines between real and generated images."""
  alpha = tf.random.uniform([tf.shape(x)[0], 1, 1, 1])
  return _gradient_norm_penalty(discriminator, x + alpha * (x_fake - x))


@gin.configurable(allowlist=[])
def l2_penalty(kernels, **_):
  """The mean over kernels of half their squared norm."""
  return tf.reduce_mean([tf.nn.l2_loss(kernel) for kernel in kernels])


@gin.configurable("penalty", allowlist=["fn"])
def get_penalty_loss(fn=gin.REQUIRED, **kwargs):
  """The penalty of the function that gin binds to `penalty.fn`."""
  return fn(**kwargs)
