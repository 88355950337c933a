"""Diversity of generated images by MS-SSIM (Odena et al. 2017, arXiv:1610.09585)."""

from __future__ import annotations

from typing import Any

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.metrics import eval_task
from compare_gan_logits.metrics import image_similarity


_BATCH_SIZE = 64
_NUM_BATCHES = 5


@gin.configurable
class MultiscaleSSIMTask(eval_task.EvalTask):
  """Mean similarity of two generated images: "ms_ssim"; the lower, the more varied."""

  _LABEL = "ms_ssim"
  reads_activations = False

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    del real_dset
    return {self._LABEL: compute_msssim(fake_dset.images, _NUM_BATCHES)}


def compute_msssim(generated_images: np.ndarray, num_batches: int) -> float:
  """Mean MS-SSIM over all ordered pairs of different images in a batch of 64.

  Args:
    generated_images: [n, h, w, c] in [0, 255], n > 1.
    num_batches: batches to compare; fewer where there are not so many images.

  Raises:
    ValueError: there are fewer than two images.
  """
  if len(generated_images) < 2:
    raise ValueError(
      f"MS-SSIM compares pairs: it needs 2 images or more, not {len(generated_images)}"
    )
  size = min(_BATCH_SIZE, len(generated_images))
  num_batches = min(num_batches, len(generated_images) // size)
  with tf.Graph().as_default(), tf.Session() as session:
    batch = tf.placeholder(tf.float32, [size, *generated_images.shape[1:]])
    shift = tf.placeholder(tf.int32, [])
    similarities = image_similarity.multiscale_ssim(batch, tf.roll(batch, shift, 0))
    means = [
      session.run(
        similarities, {batch: generated_images[i * size : (i + 1) * size], shift: by}
      ).mean()
      for i in range(num_batches)
      for by in range(1, size)
    ]
  return float(np.mean(means))
