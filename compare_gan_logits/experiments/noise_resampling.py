"""The same logits under fresh noise (sections 5.3, 8; Figures 3, 4, 11, 12)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Noise resampling"
SECTION = "5.3, 8, Figures 3, 4, 11, 12"
QUESTION = (
  "What has the classifier discarded? What varies between reconstructions of "
  "the same logits, and are some mirror images of others?"
)


@common.configurable("noise_resampling")
@dataclasses.dataclass(frozen=True)
class Settings:
  """samples: per image; mirror_margin: a pair of samples counts as mirrored when the
  flip of one is closer to the other by this fraction of their squared distance."""

  images: int = 128
  samples: int = 8
  shown: int = 4
  mirror_margin: float = 0.2

  def __post_init__(self) -> None:
    if self.samples < 2:
      raise UserError("noise_resampling.samples must be at least 2, to be compared")


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  sample = data.draw(settings.images, "noise resampling")
  table, verdicts, grids = [], [], []
  pixel, lpips, arrays = {}, {}, {"pictures": {}, "mirrored": {}, "upended": {}}
  for label, inverter in inverters.items():
    pictures = inverter.reconstruct(sample.images, settings.samples, data.seed)
    pixel[label] = deviation(pictures)
    lpips[label] = measures.pairwise(pictures)
    mirrored = flip_rate(pictures, axis=2, margin=settings.mirror_margin)
    upended = flip_rate(pictures, axis=1, margin=settings.mirror_margin)
    table += [
      common.Measure(
        "pixel deviation across noise", label, estimates.mean(pixel[label])
      ),
      common.Measure("LPIPS between samples", label, estimates.mean(lpips[label])),
      common.Measure("pairs that are mirror images", label, estimates.mean(mirrored)),
      common.Measure(
        "reference: pairs that are upside-down images", label, estimates.mean(upended)
      ),
    ]
    verdicts.append(
      verdict_lib.positive(
        f"Horizontal flips occur more often than vertical ones ({label})",
        "5.3",
        estimates.mean(mirrored - upended),
        "fraction of pairs, horizontal minus vertical",
      )
    )
    originals = inverter.prepare(sample.images[: settings.shown])
    grids.append(
      common.blocks(
        f"noise_{label}",
        f"{label}: the upper-left tile of each block is the input; the others are "
        "reconstructions from its logits with different noise.",
        [[original, *samples] for original, samples in zip(originals, pictures)],
      )
    )
    arrays["pictures"][label] = pictures[: settings.shown]
    arrays["mirrored"][label], arrays["upended"][label] = mirrored, upended
  statement = "Resampling the noise changes the standard model's pictures more"
  verdicts += verdict_lib.robust_larger(
    pair, f"{statement} (pixels)", "5.3", pixel, "pixel deviation", sign=-1
  )
  verdicts += verdict_lib.robust_larger(
    pair, f"{statement} (LPIPS)", "5.3", lpips, "LPIPS between samples", sign=-1
  )
  arrays.update(pixel_deviation=pixel, lpips=lpips)
  return common.Result(
    tuple(table),
    tuple(verdicts),
    tuple(grids),
    {**common.stacked(arrays), "ids": sample.ids},
  )


def deviation(samples: np.ndarray) -> np.ndarray:
  """Root mean square over pixels of the deviation across [n, k, h, w, c]: [n]."""
  return np.sqrt(samples.var(axis=1, dtype=np.float64).mean(axis=(1, 2, 3)))


def flip_rate(samples: np.ndarray, axis: int, margin: float) -> np.ndarray:
  """Fraction of each image's pairs of samples that a flip brings closer.

  Args:
    samples: [n, k, h, w, c].
    axis: of one image stack [n, h, w, c] that is flipped: 2 left-right, 1 up-down.
    margin: the flip has to lower the squared distance by this fraction.

  Returns:
    [n].
  """
  first, second = np.triu_indices(samples.shape[1], 1)
  hits = np.zeros([len(samples), len(first)], bool)
  for pair, (j, k) in enumerate(zip(first, second)):
    a, b = samples[:, j], samples[:, k]
    plain = np.square(a - b).mean(axis=(1, 2, 3))
    flipped = np.square(a - np.flip(b, axis)).mean(axis=(1, 2, 3))
    hits[:, pair] = flipped < (1 - margin) * plain
  return hits.mean(axis=1)
