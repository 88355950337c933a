"""From one image's logits to another's (sections 5.5, 9; Figures 9, 13, 14)."""

import dataclasses

import gin
import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import interpolation


TITLE = "Logit interpolation"
SECTION = "5.5, 9, Figures 9, 13, 14"
QUESTION = "Is the way between the logits of two images smooth in picture space?"


@gin.configurable("logit_interpolation", module="experiments")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: pairs of them; tiles: of a figure's block, the two originals included."""

  images: int = 64
  tiles: int = 9
  shown: int = 4


def run(inverters, data, settings):
  sample = data.draw(2 * settings.images, "logit interpolation")
  pairs = len(sample.ids) // 2
  table, grids, arrays = [], [], {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images[:2 * pairs])
    logits = inverter.logits(originals)
    points = settings.tiles - 2
    path = interpolation.between(logits[:pairs], logits[pairs:], points)
    noise = np.repeat(inverter.noise(pairs, data.seed)[:, None], points, axis=1)
    decoded = interpolation.decode(inverter, path, noise)
    numbers, values = interpolation.describe(label, decoded)
    values["per_end"] = values["length"] / np.maximum(values["ends"], 1e-6)
    table += [*numbers, common.Measure("path length / LPIPS between the ends", label,
                                       common.mean(values["per_end"]))]
    shown = [[originals[i], *decoded[i], originals[pairs + i]]
             for i in range(min(settings.shown, pairs))]
    grids.append(interpolation.blocks(
        f"logit_path_{label}", f"{label}: upper left and lower right are the originals; "
        "between them, pictures of interpolated logits.", shown))
    for name, value in values.items():
      arrays.setdefault(name, {})[label] = value
    arrays.setdefault("paths", {})[label] = decoded[:settings.shown]
  statement = "The robust model's sequence is smoother"
  verdicts = common.robust_larger(f"{statement} (more even steps)", "5.5, 9",
                                  arrays["unevenness"], "unevenness of the steps", -1)
  verdicts += common.robust_larger(f"{statement} (shorter longest step)", "5.5, 9",
                                   arrays["longest"], "longest step in LPIPS", -1)
  return common.Result(tuple(table), verdicts, tuple(grids),
                       {**common.stacked(arrays), "ids": sample.ids})
