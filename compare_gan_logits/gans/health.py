"""Three ways in which a GAN fails without any number becoming infinite."""

from __future__ import annotations

import tensorflow.compat.v1 as tf


NAMES = ("discriminator_accuracy", "score_spread", "fake_spread")


def measures(
  d_real_logits: tf.Tensor, d_fake_logits: tf.Tensor, real: tf.Tensor, fake: tf.Tensor
) -> dict[str, tf.Tensor]:
  """What shows a discriminator that wins or has died, and a collapsed generator.

  Args:
    d_real_logits, d_fake_logits: the discriminator's scores [batch, 1].
    real, fake: images [b, h, w, c] in [0, 1], conditioned on the same logits.

  Returns:
    dict of scalars: "discriminator_accuracy", the share of scores on the right side
    of 0; "score_spread", the standard deviation of all scores: 0 where no image moves
    the discriminator any more; "fake_spread", the mean distance (L1) of generated
    images to their neighbours in the batch, in units of the real images': 1 is right,
    0 is collapse.
  """
  scores = tf.concat([d_real_logits, d_fake_logits], 0)
  right = [tf.cast(side, tf.float32) for side in (d_real_logits > 0, d_fake_logits < 0)]
  spread = _spread(tf.cast(fake, tf.float32)) / (_spread(real) + 1e-6)
  return {
    "discriminator_accuracy": tf.reduce_mean(tf.concat(right, 0)),
    "score_spread": tf.math.reduce_std(scores),
    "fake_spread": spread,
  }


def _spread(images):
  return tf.reduce_mean(tf.abs(images - tf.roll(images, 1, 0)))


def publish(found: dict[str, tf.Tensor]) -> None:
  """Puts the measures where hooks.HealthHook finds them."""
  for name, value in found.items():
    tf.add_to_collection(_key(name), value)


def published() -> dict[str, tf.Tensor]:
  """{name: scalar} in the current graph; of several replicas, the first one's."""
  return {
    name: tf.get_collection(_key(name))[0]
    for name in NAMES
    if tf.get_collection(_key(name))
  }


def _key(name):
  return "gan_health", name  # a tuple keeps it out of exported meta graphs
