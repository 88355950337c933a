"""Fractal (correlation) dimension of a set of images (Grassberger & Procaccia 1983)."""

from __future__ import annotations

from typing import Any

import gin
import numpy as np
from scipy.spatial import distance

from compare_gan_logits.metrics import eval_task


@gin.configurable
class FractalDimensionTask(eval_task.EvalTask):
  """Dimension of the set of generated images: "fractal_dimension"."""

  _LABEL = "fractal_dimension"
  reads_activations = False

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    del real_dset
    return {self._LABEL: compute_fractal_dimension(fake_dset.images)}


def compute_fractal_dimension(
  fake_images: np.ndarray,
  num_fd_seeds: int = 100,
  n_bins: int = 1000,
  scale: float = 0.1,
) -> float:
  """Slope of log N(r) over log r, where N(r) counts the images within r of another.

  The line is fitted where log N is within `scale` of its range from its half height.
  The centres are drawn, with repetition, by numpy's global random numbers.

  Args:
    fake_images: [n, ...]; how they are scaled makes no difference.
    num_fd_seeds: images that are centres of N(r), which is their mean.
    n_bins: radii r, from the smallest to the largest distance.
    scale: half the height of the part that is fitted, as a share of the whole.
  """
  images = np.reshape(fake_images, [len(fake_images), -1])
  centres = images[np.random.randint(len(images), size=num_fd_seeds)]
  distances = distance.cdist(centres, images)
  log_distances = np.sort(np.log(distances[distances > 0]))
  if not len(log_distances):
    return 0.0  # all images are equal: a point
  log_radii = np.linspace(log_distances[0], log_distances[-1], n_bins)
  within = np.searchsorted(log_distances, log_radii, side="left")
  log_counts = np.log(within / num_fd_seeds + 1)  # an image is within any r of itself
  low, high = log_counts.min(), log_counts.max()
  fitted = np.abs(log_counts - (low + high) / 2) <= scale * (high - low)
  return float(np.polyfit(log_radii[fitted], log_counts[fitted], 1)[0])
