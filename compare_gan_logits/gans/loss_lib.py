"""Adversarial losses. Each returns (d_loss, d_loss_real, d_loss_fake, g_loss).

A loss of your own declares those of these arguments that it needs: d_real and d_fake,
sigmoid outputs [batch, 1] in (0, 1), d_real_logits and d_fake_logits, the
discriminator's raw scores [batch, 1]. Every loss may depend on every argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.errors import UserError


Losses = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def check_dimensions(
  d_real: tf.Tensor | None,
  d_fake: tf.Tensor | None,
  d_real_logits: tf.Tensor | None,
  d_fake_logits: tf.Tensor | None,
) -> None:
  """Looks at the shapes of scores; None is passed over.

  Raises:
    UserError: one is not [batch, 1], or real and generated differ in their number.
  """
  pairs = {"d_real": d_real, "d_fake": d_fake}
  logits = {"d_real_logits": d_real_logits, "d_fake_logits": d_fake_logits}
  for group in (pairs, logits):
    given = {name: value for name, value in group.items() if value is not None}
    for name, value in given.items():
      if value.shape.rank != 2 or value.shape[1] != 1:
        raise UserError(f"{name} has the shape {value.shape}; it must be [batch, 1]")
    shapes = {str(value.shape) for value in given.values()}
    if len(shapes) > 1:
      raise UserError(
        f"{' and '.join(given)} differ in shape ({' and '.join(sorted(shapes))}); "
        "score as many generated images as real ones"
      )


def _cross_entropy(logits, target):
  return tf.reduce_mean(
    tf.nn.sigmoid_cross_entropy_with_logits(
      logits=logits, labels=tf.fill(tf.shape(logits), float(target))
    )
  )


@gin.configurable(allowlist=[])
def non_saturating(
  d_real_logits: tf.Tensor,
  d_fake_logits: tf.Tensor,
  d_real: tf.Tensor | None = None,
  d_fake: tf.Tensor | None = None,
) -> Losses:
  """Goodfellow et al. 2014, the generator maximises log D(fake)."""
  check_dimensions(d_real, d_fake, d_real_logits, d_fake_logits)
  real = _cross_entropy(d_real_logits, 1)
  fake = _cross_entropy(d_fake_logits, 0)
  return real + fake, real, fake, _cross_entropy(d_fake_logits, 1)


@gin.configurable(allowlist=[])
def wasserstein(
  d_real_logits: tf.Tensor,
  d_fake_logits: tf.Tensor,
  d_real: tf.Tensor | None = None,
  d_fake: tf.Tensor | None = None,
) -> Losses:
  """Arjovsky et al. 2017."""
  check_dimensions(d_real, d_fake, d_real_logits, d_fake_logits)
  real = -tf.reduce_mean(d_real_logits)
  fake = tf.reduce_mean(d_fake_logits)
  return real + fake, real, fake, -fake


@gin.configurable(allowlist=[])
def least_squares(
  d_real: tf.Tensor,
  d_fake: tf.Tensor,
  d_real_logits: tf.Tensor | None = None,
  d_fake_logits: tf.Tensor | None = None,
) -> Losses:
  """Mao et al. 2016, on the sigmoid outputs as the reference has it."""
  check_dimensions(d_real, d_fake, d_real_logits, d_fake_logits)
  real = tf.reduce_mean(tf.square(d_real - 1.0))
  fake = tf.reduce_mean(tf.square(d_fake))
  return (
    0.5 * (real + fake),
    real,
    fake,
    0.5 * tf.reduce_mean(tf.square(d_fake - 1.0)),
  )


@gin.configurable(allowlist=[])
def hinge(
  d_real_logits: tf.Tensor,
  d_fake_logits: tf.Tensor,
  d_real: tf.Tensor | None = None,
  d_fake: tf.Tensor | None = None,
) -> Losses:
  """Section 3 of the paper: L_D and L_G, up to a constant.

  L_D = E[max(-1, D(fake)) - min(1, D(real))], which is this minus 2.
  """
  check_dimensions(d_real, d_fake, d_real_logits, d_fake_logits)
  real = tf.reduce_mean(tf.nn.relu(1.0 - d_real_logits))
  fake = tf.reduce_mean(tf.nn.relu(1.0 + d_fake_logits))
  return real + fake, real, fake, -tf.reduce_mean(d_fake_logits)


@gin.configurable("loss", allowlist=["fn"])
def get_losses(fn: Callable[..., Losses] = non_saturating, **kwargs: Any) -> Losses:
  """The losses of the function that gin binds to `loss.fn`.

  Args:
    fn: gets those of `kwargs` that it declares.
    **kwargs: d_real, d_fake, d_real_logits and d_fake_logits.
  """
  return utils.call_with_accepted_args(fn, **kwargs)
