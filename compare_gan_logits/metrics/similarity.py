"""PSNR and SSIM, by scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage import metrics

from compare_gan_logits.errors import UserError


MAX_PSNR = 100.0  # dB
_WINDOW = 11  # pixels: 3.5 deviations to each side


def psnr(a: Any, b: Any) -> np.ndarray:
  """Peak signal-to-noise ratio of each pair, for a peak of 1.

  Args:
    a, b: images [n, h, w, c] in [0, 1].

  Returns:
    float64 [n] in dB; infinite for equal images.

  Raises:
    UserError: the shapes differ.
  """
  a, b = _pairs(a, b)
  with np.errstate(divide="ignore"):
    return np.asarray(
      [metrics.peak_signal_noise_ratio(x, y, data_range=1.0) for x, y in zip(a, b)]
    )


def bounded_psnr(a: Any, b: Any) -> np.ndarray:
  """As `psnr`, but at most MAX_PSNR, so that it is finite for equal images."""
  return np.minimum(psnr(a, b), MAX_PSNR)


def ssim(a: Any, b: Any) -> np.ndarray:
  """Structural similarity of each pair (Wang et al. 2004), mean over channels.

  As the paper of SSIM has it: a Gaussian window of deviation 1.5, K1 = 0.01,
  K2 = 0.03, population covariance.

  Args:
    a, b: images [n, h, w, c] in [0, 1], at least 11 pixels wide and high.

  Returns:
    float64 [n] in [-1, 1].

  Raises:
    UserError: the shapes differ, or the images are smaller than the window.
  """
  a, b = _pairs(a, b)
  if min(a.shape[1:3]) < _WINDOW:
    raise UserError(
      f"SSIM needs images of at least {_WINDOW} pixels a side, not "
      f"{a.shape[1]}x{a.shape[2]}"
    )
  return np.asarray(
    [
      metrics.structural_similarity(
        x,
        y,
        data_range=1.0,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
      )
      for x, y in zip(a, b)
    ]
  )


def _pairs(a, b):
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  if a.shape != b.shape or a.ndim != 4:
    raise UserError(
      "PSNR and SSIM compare equal shapes [n, h, w, c], not "
      f"{list(a.shape)} and {list(b.shape)}"
    )
  return a, b
