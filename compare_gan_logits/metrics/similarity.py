"""PSNR and SSIM, by scikit-image."""

import numpy as np
from skimage import metrics


def psnr(a, b):
  """Peak signal-to-noise ratio of each pair, for a peak of 1.

  Args:
    a, b: images [n, h, w, c] in [0, 1].

  Returns:
    float64 [n] in dB; infinite for equal images.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  with np.errstate(divide="ignore"):
    return np.asarray([metrics.peak_signal_noise_ratio(x, y, data_range=1.0)
                       for x, y in zip(a, b)])


def ssim(a, b):
  """Structural similarity of each pair (Wang et al. 2004), mean over channels.

  As the paper of SSIM has it: a Gaussian window of deviation 1.5, K1 = 0.01,
  K2 = 0.03, population covariance.

  Args:
    a, b: images [n, h, w, c] in [0, 1], at least 11 pixels wide and high.

  Returns:
    float64 [n] in [-1, 1].
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return np.asarray([
      metrics.structural_similarity(
          x, y, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5,
          use_sample_covariance=False)
      for x, y in zip(a, b)])
