"""Kernel Inception Distance (Binkowski et al. 2018, arXiv:1801.01401), by TF-GAN."""

from __future__ import annotations

from typing import Any

import gin
import tensorflow.compat.v1 as tf

from compare_gan_logits.metrics import eval_task


@gin.configurable
class KIDScoreTask(eval_task.EvalTask):
  """KID of the generated to the real images: "kid_score"."""

  _LABEL = "kid_score"

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    with tf.Graph().as_default(), self._create_session() as session:
      fake = tf.constant(fake_dset.activations, tf.float32)
      real = tf.constant(real_dset.activations, tf.float32)
      return {self._LABEL: float(session.run(kid(fake, real)))}


def kid(
  fake_activations: tf.Tensor,
  real_activations: tf.Tensor,
  max_batch_size: int = 1024,
  dtype: tf.DType | None = None,
  return_stderr: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
  """Unbiased squared MMD with the kernel (x.y / d + 1)^3, mean over blocks.

  The value is TF-GAN's. compare_gan's own formula gives the same for sets of equal
  size; for others it divides by the wrong number of generated images.

  Args:
    fake_activations, real_activations: [n, d] and [m, d].
    max_batch_size: most activations of a block, whose cost is quadratic.
    dtype: to compute in; None for that of the activations.
    return_stderr: whether to return the standard error over blocks as well.

  Returns:
    Scalar tensor, or (scalar, its standard error, from the population deviation of the
    blocks: 0 for a single one).
  """
  import tensorflow_gan as tfgan  # takes seconds

  distance, error = tfgan.eval.kernel_classifier_distance_and_std_from_activations(
    real_activations, fake_activations, max_batch_size, dtype
  )
  if not return_stderr:
    return distance
  most = tf.maximum(tf.shape(fake_activations)[0], tf.shape(real_activations)[0])
  blocks = tf.cast(tf.math.ceil(most / max_batch_size), distance.dtype)
  # TF-GAN divides the blocks' squared deviations by their number less one.
  error = tf.where(
    blocks > 1, error * tf.sqrt((blocks - 1) / blocks), tf.zeros_like(error)
  )
  return distance, error
