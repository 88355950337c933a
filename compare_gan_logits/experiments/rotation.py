"""Images turned by 90 degrees (section 13.1; Figure 27)."""

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


TITLE = "Rotation"
SECTION = "13.1, Figure 27"
QUESTION = (
  "Are images that are rotated by 90 degrees reconstructed as well as upright ones? "
  "The reconstruction of a rotated image is rotated back for comparison."
)


@common.configurable("rotation")
@dataclasses.dataclass(frozen=True)
class Settings:
  """quarter_turns: counter-clockwise."""

  images: int = 500
  quarter_turns: int = 1
  shown: int = 8


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "rotation")
  table, verdicts, grids, arrays = [], [], [], {}
  lost = {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    noise = inverter.noise(len(originals), data.seed)
    upright = inverter.generate(inverter.logits(originals), noise)
    turned = np.rot90(originals, settings.quarter_turns, axes=(1, 2))
    pictures = inverter.generate(inverter.logits(turned), noise)
    back = np.rot90(pictures, -settings.quarter_turns, axes=(1, 2))
    before, after = (measures.quality(originals, p) for p in (upright, back))
    lost[label] = after["lpips"] - before["lpips"]
    table += measures.quality_measures(label, before, ", upright")
    table += measures.quality_measures(label, after, ", rotated")
    table.append(
      common.Measure("LPIPS lost by rotation", label, estimates.mean(lost[label]))
    )
    verdicts.append(
      verdict_lib.positive(
        f"Rotated images are reconstructed worse ({label})",
        "13.1",
        estimates.mean(lost[label]),
        "LPIPS, rotated minus upright",
      )
    )
    for name, values in (("upright", before), ("turned", after)):
      arrays.update({f"{name}/{key}/{label}": v for key, v in values.items()})
    grids.append(
      common.Grid(
        f"rotation_{label}",
        f"{label}: originals, their reconstructions, and those of the rotated "
        "originals, rotated back.",
        [list(p[: settings.shown]) for p in (originals, upright, back)],
        ["original", "upright", "rotated"],
      )
    )
  return common.Result(
    tuple(table), tuple(verdicts), tuple(grids), {**arrays, "ids": sample.ids}
  )
