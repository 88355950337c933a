"""Images of another set through classifier and inverter (section 5.6; Figure 10)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Out of distribution"
SECTION = "5.6, Figure 10"
QUESTION = (
  "How well are images of data sets reconstructed on which no network was trained?"
)


@common.configurable("out_of_distribution")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: of each set."""

  images: int = 500
  shown: int = 10


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  if not data.outside:
    return common.Result(notes=("No other data set was given; --outside names one.",))
  inside = data.draw(settings.images, "out of distribution").images
  sets = {f"{data.dataset.name} (inside)": inside, **data.outside}
  table, verdicts, grids, arrays = [], [], [], {}
  for name, images in sets.items():
    images = images[: settings.images]
    lpips, columns = {}, []
    for label, inverter in inverters.items():
      originals = inverter.prepare(images)
      pictures = inverter.reconstruct(originals, 1, data.seed)[:, 0]
      values = measures.quality(originals, pictures)
      lpips[label] = values["lpips"]
      table += measures.quality_measures(label, values, f": {name}")
      table.append(
        common.Measure(
          f"reference: LPIPS to another image's reconstruction: {name}",
          label,
          estimates.mean(measures.perceptual(originals, measures.others(pictures))),
        )
      )
      columns.append((originals, pictures))
      arrays.update({f"{name}/{key}/{label}": v for key, v in values.items()})
    if name in data.outside:
      verdicts += verdict_lib.robust_larger(
        pair,
        f"{name} is reconstructed better from robust logits",
        "5.6",
        lpips,
        "LPIPS",
        sign=-1,
      )
    rows = [[columns[0][0][i] for i in range(min(settings.shown, len(images)))]]
    rows += [list(pictures[: len(rows[0])]) for _, pictures in columns]
    grids.append(
      common.Grid(
        f"outside_{len(grids)}",
        f"{name}: originals, then each model's reconstructions.",
        rows,
        ["original", *inverters],
      )
    )
  return common.Result(tuple(table), tuple(verdicts), tuple(grids), arrays)
