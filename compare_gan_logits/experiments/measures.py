"""Per-image measures that several experiments share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments.common import Measure
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.experiments.estimates import mean
from compare_gan_logits.images import LUMA
from compare_gan_logits.inversion import Inverter
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
KEPT = "class of the original kept"
KEPT_BY_JUDGE = "class of the original kept, independent judge"


def perceptual(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """LPIPS between images [n, h, w, c] in [0, 1]: [n]."""
  return np.asarray(lpips.distance(a, b), np.float64)


def quality(originals: np.ndarray, pictures: np.ndarray) -> dict[str, np.ndarray]:
  """{"lpips", "psnr" (bounded), "ssim"}: [n] each."""
  return {
    "lpips": perceptual(originals, pictures),
    "psnr": similarity.bounded_psnr(originals, pictures),
    "ssim": similarity.ssim(originals, pictures),
  }


def quality_measures(
  label: str,
  values: Mapping[str, np.ndarray],
  where: str = "",
  paper_of: Inverter | None = None,
  headline: bool = False,
) -> list[Measure]:
  """Measures of what `quality` returns.

  Args:
    label: of the module.
    values: of `quality`.
    where: appended to their names.
    paper_of: the module, for Table 2's value beside ours.
    headline: whether they are columns of the table that opens the report.
  """
  return [
    Measure(
      name + where,
      label,
      mean(values[key]),
      roles.paper_value(paper_of, PAPER_LPIPS) if paper_of and key == "lpips" else None,
      key.upper() if headline else "",
    )
    for key, name in NAMES.items()
  ]


def agreement(
  label: str,
  inverter: Inverter,
  data: Data,
  originals: np.ndarray,
  pictures: np.ndarray,
  where: str = "",
  headline: bool = False,
) -> tuple[list[Measure], dict[str, np.ndarray]]:
  """How often a picture gets the class that its original gets.

  Asked are the classifier that was inverted and, where there is one, a classifier that
  had no part in it (data.judge): the inverter was trained on what the first one says.

  Args:
    label, inverter: of the module.
    data: with the judge.
    originals, pictures: [n, h, w, c] in [0, 1].
    where, headline: as of `quality_measures`.

  Returns:
    (list of Measure, {"kept": bool [n], "kept_by_judge": bool [n]}), without the first
    where the classifier's logits came from a file and without the second where there
    is no judge; without those of a classifier of one logit, which names no class.
  """
  asked = {}
  if inverter.encodes_pictures and inverter.num_logits > 1:
    asked["kept"] = (KEPT, "class kept", inverter.predict)
  if data.judge is not None and data.judge.num_logits > 1:
    asked["kept_by_judge"] = (KEPT_BY_JUDGE, "class kept (judge)", data.judge_classes)
  table, found = [], {}
  for key, (name, column, classes) in asked.items():
    found[key] = classes(pictures) == classes(originals)
    rate = estimates.rate(found[key])
    table.append(
      Measure(name + where, label, rate, headline=column if headline else "")
    )
  return table, found


def pairwise(samples: np.ndarray) -> np.ndarray:
  """Mean LPIPS over all pairs of each image's samples [n, k, h, w, c]: [n]."""
  first, second = np.triu_indices(samples.shape[1], 1)
  a, b = samples[:, first], samples[:, second]
  distances = perceptual(a.reshape(-1, *a.shape[2:]), b.reshape(-1, *b.shape[2:]))
  return distances.reshape(len(samples), -1).mean(axis=1)


def steps(path: np.ndarray) -> np.ndarray:
  """LPIPS between neighbours on paths [n, k, h, w, c]: [n, k - 1]."""
  a, b = path[:, :-1], path[:, 1:]
  distances = perceptual(a.reshape(-1, *a.shape[2:]), b.reshape(-1, *b.shape[2:]))
  return distances.reshape(len(path), -1)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Cosine between vectors [n, d]: [n]."""
  lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
  return np.sum(a * b, axis=1) / np.maximum(lengths, 1e-12)


def luma(images: np.ndarray) -> np.ndarray:
  """Images [n, h, w, 1 or 3] -> [n, h, w]."""
  if images.shape[-1] == 1:
    return images[..., 0]
  return images @ LUMA


def brightness(images: np.ndarray) -> np.ndarray:
  """Mean luma, [n]."""
  return luma(images).mean(axis=(1, 2))


def contrast(images: np.ndarray) -> np.ndarray:
  """Standard deviation of the luma, [n]."""
  return luma(images).std(axis=(1, 2))


def sharpness(images: np.ndarray) -> np.ndarray:
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


def slope(x: Any, values: Any) -> np.ndarray:
  """Least-squares slope of each row of values [n, m] against x [m]: [n]."""
  centred = np.asarray(x, np.float64) - np.mean(x)
  return np.asarray(values, np.float64) @ centred / (centred @ centred)


def others(values: np.ndarray) -> np.ndarray:
  """The values of another image for each image: the reference of a comparison."""
  return np.roll(values, 1, axis=0)
