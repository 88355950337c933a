"""From one noise vector to another (section 10; Figures 5, 15, 16)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import interpolation
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Noise interpolation"
SECTION = "5.3, 10, Figures 5, 15, 16"
QUESTION = (
  "How much does a reconstruction change on the way from one noise vector to another?"
)


@common.configurable("noise_interpolation")
@dataclasses.dataclass(frozen=True)
class Settings(interpolation.Settings):
  """tiles: pictures on a path, ends included."""

  def __post_init__(self) -> None:
    if self.tiles < 2:
      raise UserError(
        "noise_interpolation.tiles must be at least 2, the ends of a path"
      )


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  sample = data.draw(settings.images, "noise interpolation")
  total = len(sample.ids)

  def walk(inverter):
    ends = inverter.noise(2 * total, data.seed).reshape(2, total, -1)
    noise = interpolation.between(ends[0], ends[1], settings.tiles)
    logits = np.repeat(inverter.logits(sample.images)[:, None], settings.tiles, axis=1)
    paths = interpolation.decode(inverter, logits, noise)
    return paths, paths

  table, grids, arrays = interpolation.study(
    inverters,
    walk,
    settings.shown,
    "noise_path",
    "from one noise vector (upper left) to another (lower right), with the same "
    "logits.",
  )
  verdicts = verdict_lib.robust_larger(
    pair,
    "The robust model varies less along the path",
    "5.3, Figure 5",
    arrays["length"],
    "path length in LPIPS",
    sign=-1,
  )
  verdicts += verdict_lib.robust_larger(
    pair,
    "The robust model's ends differ less",
    "10",
    arrays["ends"],
    "LPIPS between the ends",
    sign=-1,
  )
  return common.Result(
    tuple(table), verdicts, tuple(grids), {**common.stacked(arrays), "ids": sample.ids}
  )
