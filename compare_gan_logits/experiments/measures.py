"""Per-image measures that several experiments share."""

import numpy as np

from compare_gan_logits.experiments.common import Measure
from compare_gan_logits.experiments.common import mean
from compare_gan_logits.experiments.common import paper_value
from compare_gan_logits.images import LUMA
from compare_gan_logits.metrics import lpips
from compare_gan_logits.metrics import similarity


# Names in the tables, with the direction that is better.
NAMES = {
  "lpips": "LPIPS (lower is closer)",
  "psnr": "PSNR, dB (higher is closer)",
  "ssim": "SSIM (higher is closer)",
}
# Table 2: robust ResNet-152 by both methods, standard ResNet-152, Inception-V3.
PAPER_LPIPS = {
  "robust": 0.3138,
  "dosovitskiy_brox": 0.3092,
  "standard": 0.3755,
  "inception": 0.3881,
}
# Of equal images it is infinite, which no mean survives.
_MAX_PSNR = 100.0


def perceptual(a, b):
  """LPIPS between images [n, h, w, c] in [0, 1]: [n]."""
  return np.asarray(lpips.distance(a, b), np.float64)


def quality(originals, pictures):
  """{"lpips", "psnr" (at most 100 dB), "ssim"}: [n] each."""
  return {
    "lpips": perceptual(originals, pictures),
    "psnr": np.minimum(similarity.psnr(originals, pictures), _MAX_PSNR),
    "ssim": similarity.ssim(originals, pictures),
  }


def quality_measures(label, values, where="", paper=False):
  """Measures of what `quality` returns; `paper`: with the values of Table 2."""
  return [
    Measure(
      name + where,
      label,
      mean(values[key]),
      paper_value(label, PAPER_LPIPS) if paper and key == "lpips" else None,
    )
    for key, name in NAMES.items()
  ]


def pairwise(samples):
  """Mean LPIPS over all pairs of each image's samples [n, k, h, w, c]: [n]."""
  first, second = np.triu_indices(samples.shape[1], 1)
  a, b = samples[:, first], samples[:, second]
  distances = perceptual(a.reshape(-1, *a.shape[2:]), b.reshape(-1, *b.shape[2:]))
  return distances.reshape(len(samples), -1).mean(axis=1)


def steps(path):
  """LPIPS between neighbours on paths [n, k, h, w, c]: [n, k - 1]."""
  a, b = path[:, :-1], path[:, 1:]
  distances = perceptual(a.reshape(-1, *a.shape[2:]), b.reshape(-1, *b.shape[2:]))
  return distances.reshape(len(path), -1)


def cosine(a, b):
  """Cosine between vectors [n, d]: [n]."""
  lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
  return np.sum(a * b, axis=1) / np.maximum(lengths, 1e-12)


def luma(images):
  """Images [n, h, w, 1 or 3] -> [n, h, w]."""
  if images.shape[-1] == 1:
    return images[..., 0]
  return images @ LUMA


def brightness(images):
  """Mean luma, [n]."""
  return luma(images).mean(axis=(1, 2))


def contrast(images):
  """Standard deviation of the luma, [n]."""
  return luma(images).std(axis=(1, 2))


def sharpness(images):
  """Mean size of the luma's discrete Laplacian, [n]."""
  y = luma(images)
  laplacian = (
    y[:, :-2, 1:-1]
    + y[:, 2:, 1:-1]
    + y[:, 1:-1, :-2]
    + y[:, 1:-1, 2:]
    - 4 * y[:, 1:-1, 1:-1]
  )
  return np.abs(laplacian).mean(axis=(1, 2))


def slope(x, values):
  """Least-squares slope of each row of values [n, m] against x [m]: [n]."""
  centred = np.asarray(x, np.float64) - np.mean(x)
  return np.asarray(values, np.float64) @ centred / (centred @ centred)


def others(values):
  """The values of another image for each image: the reference of a comparison."""
  return np.roll(values, 1, axis=0)
