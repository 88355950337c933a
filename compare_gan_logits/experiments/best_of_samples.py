"""Several samples, of which the classifier's own logits choose one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Best of several samples"
SECTION = "beyond the paper"
QUESTION = (
  "What is gained by making several reconstructions of an image and keeping the one "
  "whose logits are nearest to the image's own? The classifier that chooses also "
  "measures its own agreement, so only the agreement of the independent judge is "
  "unbiased."
)


@common.configurable("best_of_samples")
@dataclasses.dataclass(frozen=True)
class Settings:
  """samples: numbers of samples to choose from, rising; the first is the reference."""

  images: int = 250
  samples: tuple = (1, 2, 4, 8)
  shown: int = 6

  def __post_init__(self) -> None:
    common.check_rising("best_of_samples.samples", self.samples, 2)


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "best of samples")
  table, verdicts, grids, arrays, series = [], [], [], {}, {}
  fewest, most = settings.samples[0], settings.samples[-1]
  than = "a single one" if fewest == 1 else f"the best of {fewest}"
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    pictures = inverter.reconstruct(originals, most, data.seed)
    lpips, chosen = [], []
    for count in settings.samples:
      best = inverter.best(logits, pictures[:, :count])
      chosen.append(pictures[np.arange(len(pictures)), best])
      values = measures.quality(originals, chosen[-1])
      where = f": best of {count}"
      agreed, found = measures.agreement(
        label, inverter, data, originals, chosen[-1], where
      )
      table += measures.quality_measures(label, values, where) + agreed
      lpips.append(values["lpips"])
      arrays.update(
        {f"{count}/{key}/{label}": v for key, v in {**values, **found}.items()}
      )
    series[label] = estimates.band([estimates.mean(values) for values in lpips])
    verdicts.append(
      verdict_lib.positive(
        f"The best of {most} samples by logits is closer to the original than {than} "
        f"({label})",
        "not in the paper",
        estimates.mean(lpips[0] - lpips[-1]),
        "gain in LPIPS, same images",
      )
    )
    grids.append(_grid(label, originals, pictures, chosen[-1], settings.shown))
  curve = common.Curves(
    "lpips_over_samples",
    "LPIPS to the original of the best of n samples by logits.",
    np.array(settings.samples),
    series,
    "samples to choose from",
    "LPIPS",
  )
  return common.Result(
    tuple(table), tuple(verdicts), (*grids, curve), {**arrays, "ids": sample.ids}
  )


def _grid(label, originals, pictures, best, shown):
  samples = min(4, pictures.shape[1])
  of_samples = [(str(k + 1), pictures[:, k]) for k in range(samples)]
  return common.columns(
    f"best_of_samples_{label}",
    f"{label}: the original, the best sample by logits, and the first {samples} samples.",
    [("original", originals), ("best", best), *of_samples],
    shown,
  )
