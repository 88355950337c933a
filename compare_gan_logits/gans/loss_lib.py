"""Adversarial losses. Each returns (d_loss, d_loss_real, d_loss_fake, g_loss).

Arguments of each: d_real and d_fake are sigmoid outputs [batch, 1] in (0, 1),
d_real_logits and d_fake_logits the discriminator's raw scores [batch, 1].
"""

import gin
import tensorflow.compat.v1 as tf


def _cross_entropy(logits, target):
  return tf.reduce_mean(
    tf.nn.sigmoid_cross_entropy_with_logits(
      logits=logits, labels=tf.fill(tf.shape(logits), float(target))
    )
  )


@gin.configurable(allowlist=[])
def non_saturating(d_real_logits, d_fake_logits, **_):
  """Goodfellow et al. 2014, the generator maximises log D(fake)."""
  real = _cross_entropy(d_real_logits, 1)
  fake = _cross_entropy(d_fake_logits, 0)
  return real + fake, real, fake, _cross_entropy(d_fake_logits, 1)


@gin.configurable(allowlist=[])
def wasserstein(d_real_logits, d_fake_logits, **_):
  """Arjovsky et al. 2017."""
  real = -tf.reduce_mean(d_real_logits)
  fake = tf.reduce_mean(d_fake_logits)
  return real + fake, real, fake, -fake


@gin.configurable(allowlist=[])
def least_squares(d_real, d_fake, **_):
  """Mao et al. 2016, on the sigmoid outputs as the reference has it."""
  real = tf.reduce_mean(tf.square(d_real - 1.0))
  fake = tf.reduce_mean(tf.square(d_fake))
  return (
    0.5 * (real + fake),
    real,
    fake,
    0.5 * tf.reduce_mean(tf.square(d_fake - 1.0)),
  )


@gin.configurable(allowlist=[])
def hinge(d_real_logits, d_fake_logits, **_):
  """Section 3 of the paper: L_D and L_G, up to a constant.

  L_D = E[max(-1, D(fake)) - min(1, D(real))], which is this minus 2.
  """
  real = tf.reduce_mean(tf.nn.relu(1.0 - d_real_logits))
  fake = tf.reduce_mean(tf.nn.relu(1.0 + d_fake_logits))
  return real + fake, real, fake, -tf.reduce_mean(d_fake_logits)


@gin.configurable("loss", allowlist=["fn"])
def get_losses(fn=gin.REQUIRED, **kwargs):
  """The losses of the function that gin binds to `loss.fn`."""
  return fn(**kwargs)
