"""From one image's logits to another's (sections 5.5, 9; Figures 9, 13, 14)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import interpolation
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Logit interpolation"
SECTION = "5.5, 9, Figures 9, 13, 14"
QUESTION = (
  "Do pictures change smoothly on the straight line between the logits of two images?"
)


@common.configurable("logit_interpolation")
@dataclasses.dataclass(frozen=True)
class Settings(interpolation.Settings):
  """images: pairs of them; tiles: of a figure's block, the two originals included."""

  def __post_init__(self) -> None:
    if self.tiles < 4:
      raise UserError(
        "logit_interpolation.tiles must be at least 4, of which two are originals"
      )


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  sample = data.draw(2 * settings.images, "logit interpolation")
  pairs = len(sample.ids) // 2
  points = settings.tiles - 2

  def walk(inverter):
    originals = inverter.prepare(sample.images[: 2 * pairs])
    logits = inverter.logits(originals)
    path = interpolation.between(logits[:pairs], logits[pairs:], points)
    noise = np.repeat(inverter.noise(pairs, data.seed)[:, None], points, axis=1)
    paths = interpolation.decode(inverter, path, noise)
    return paths, [
      [originals[i], *paths[i], originals[pairs + i]] for i in range(pairs)
    ]

  table, grids, arrays = interpolation.study(
    inverters,
    walk,
    settings.shown,
    "logit_path",
    "upper left and lower right are the originals; between them, pictures of "
    "interpolated logits.",
  )
  arrays["per_end"] = {
    label: length / np.maximum(arrays["ends"][label], 1e-6)
    for label, length in arrays["length"].items()
  }
  table += [
    common.Measure("path length / LPIPS between the ends", label, estimates.mean(value))
    for label, value in arrays["per_end"].items()
  ]
  statement = "The robust model's sequence is smoother"
  verdicts = verdict_lib.robust_larger(
    pair,
    f"{statement} (more even steps)",
    "5.5, 9",
    arrays["unevenness"],
    "unevenness of the steps",
    -1,
  )
  verdicts += verdict_lib.robust_larger(
    pair,
    f"{statement} (shorter longest step)",
    "5.5, 9",
    arrays["longest"],
    "longest step in LPIPS",
    -1,
  )
  return common.Result(
    tuple(table), verdicts, tuple(grids), {**common.stacked(arrays), "ids": sample.ids}
  )
