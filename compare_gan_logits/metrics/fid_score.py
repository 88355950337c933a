"""Frechet Inception Distance (Heusel et al. 2017, arXiv:1706.08500), by TF-GAN."""

from __future__ import annotations

from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.metrics import eval_task


@gin.configurable
class FIDScoreTask(eval_task.EvalTask):
  """FID of the generated to the real images: "fid_score"."""

  _LABEL = "fid_score"

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    score = compute_fid_from_activations(fake_dset.activations, real_dset.activations)
    return {self._LABEL: score}


def compute_fid_from_activations(
  fake_activations: np.ndarray, real_activations: np.ndarray
) -> float:
  """Squared Frechet distance of Gaussians fitted to two sets of activations.

  Args:
    fake_activations, real_activations: [n, d] and [m, d], n, m > 1: Inception's
      pool_3 for an FID.

  Returns:
    The distance; rounding can make that of equal sets slightly negative.
  """
  import tensorflow_gan as tfgan  # takes seconds

  with tf.Graph().as_default(), tf.Session() as session:
    real = tf.placeholder(tf.float32, [None, real_activations.shape[1]])
    fake = tf.placeholder(tf.float32, [None, fake_activations.shape[1]])
    distance = tfgan.eval.frechet_classifier_distance_from_activations(real, fake)
    return float(
      session.run(distance, {real: real_activations, fake: fake_activations})
    )
