"""From one noise vector to another (section 10; Figures 5, 15, 16)."""

import dataclasses

import gin
import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import interpolation


TITLE = "Noise interpolation"
SECTION = "5.3, 10, Figures 5, 15, 16"
QUESTION = "How far does a reconstruction travel between two noise vectors?"


@gin.configurable("noise_interpolation", module="experiments")
@dataclasses.dataclass(frozen=True)
class Settings:
  """tiles: pictures on a path, ends included."""

  images: int = 64
  tiles: int = 9
  shown: int = 4


def run(inverters, data, settings):
  sample = data.draw(settings.images, "noise interpolation")
  table, grids, arrays = [], [], {}
  for label, inverter in inverters.items():
    total = len(sample.ids)
    ends = inverter.noise(2 * total, data.seed).reshape(2, total, -1)
    noise = interpolation.between(ends[0], ends[1], settings.tiles)
    logits = np.repeat(inverter.logits(sample.images)[:, None], settings.tiles, axis=1)
    paths = interpolation.decode(inverter, logits, noise)
    numbers, values = interpolation.describe(label, paths)
    table += numbers
    grids.append(interpolation.blocks(
        f"noise_path_{label}", f"{label}: from one noise vector (upper left) to another "
        "(lower right), the logits held.", paths[:settings.shown]))
    for name, value in values.items():
      arrays.setdefault(name, {})[label] = value
    arrays.setdefault("paths", {})[label] = paths[:settings.shown]
  verdicts = common.robust_larger(
      "The robust model varies less along the path", "5.3, Figure 5", arrays["length"],
      "path length in LPIPS", sign=-1)
  verdicts += common.robust_larger(
      "The robust model's ends differ less", "10", arrays["ends"],
      "LPIPS between the ends", sign=-1)
  return common.Result(tuple(table), verdicts, tuple(grids),
                       {**common.stacked(arrays), "ids": sample.ids})
