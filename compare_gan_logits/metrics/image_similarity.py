"""Multi-scale structural similarity (Wang et al. 2003) of images of any size.

tf.image.ssim_multiscale refuses images whose last scale is smaller than its window, as
all below 176 px are. Here the window is cut to the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf


_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11  # px
_SIGMA = 1.5  # px
_MAX_VALUE = 255.0
_C1, _C2 = (0.01 * _MAX_VALUE) ** 2, (0.03 * _MAX_VALUE) ** 2


def multiscale_ssim(img1: tf.Tensor, img2: tf.Tensor) -> tf.Tensor:
  """MS-SSIM of each pair, over five scales with the weights of its paper.

  Args:
    img1, img2: float32 [n, h, w, c] in [0, 255], of known shape.

  Returns:
    float32 [n].
  """
  return _product(img1, img2, _WEIGHTS)


def multiscale_ssim_unweighted(img1: tf.Tensor, img2: tf.Tensor) -> tf.Tensor:
  """As multiscale_ssim, the plain product of the five scales' values."""
  return _product(img1, img2, (1.0,) * len(_WEIGHTS))


def _product(img1: tf.Tensor, img2: tf.Tensor, weights: Sequence[float]) -> tf.Tensor:
  img1.shape.assert_is_compatible_with(img2.shape)
  factors = []
  for scale, weight in enumerate(weights):
    if scale:
      img1, img2 = _halved(img1), _halved(img2)
    similarity, contrast = _components(img1, img2)
    last = scale == len(weights) - 1
    # A negative correlation has no root.
    factors.append(tf.nn.relu(similarity if last else contrast) ** weight)
  return tf.reduce_mean(tf.reduce_prod(tf.stack(factors), 0), -1)


def _halved(images: tf.Tensor) -> tf.Tensor:
  """Means of 2x2 px; the last row and column of an odd size count twice."""
  height, width = images.shape[1:3]
  padding = [[0, 0], [0, int(height) % 2], [0, int(width) % 2], [0, 0]]
  return tf.nn.avg_pool2d(tf.pad(images, padding, "SYMMETRIC"), 2, 2, "VALID")


def _components(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """(SSIM, its contrast and structure part), each [n, c]: means over the image."""
  size = min(_WINDOW, *map(int, a.shape[1:3]))
  place = np.arange(size) - (size - 1) / 2
  gauss = np.exp(-np.square(place / _SIGMA) / 2)
  window = np.outer(gauss, gauss) / gauss.sum() ** 2
  kernel = np.float32(np.repeat(window[:, :, None, None], int(a.shape[-1]), axis=2))

  def mean(x):
    return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID")

  mean_a, mean_b = mean(a), mean(b)
  variances = mean(a * a) + mean(b * b) - mean_a**2 - mean_b**2
  covariance = mean(a * b) - mean_a * mean_b
  contrast = (2 * covariance + _C2) / (variances + _C2)
  luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
  return tf.reduce_mean(luminance * contrast, [1, 2]), tf.reduce_mean(contrast, [1, 2])
