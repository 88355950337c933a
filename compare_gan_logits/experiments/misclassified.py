"""Images that the classifier gets wrong (sections 5.4, 11; Figures 6, 17, 18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import stats

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Misclassified images"
SECTION = "5.4, 11, Figures 6, 17, 18"
QUESTION = (
  "Are images that the classifier gets wrong reconstructed as well as those "
  "that it gets right?"
)


@common.configurable("misclassified")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: drawn whatever the classifier says of them; margin: a difference below
  this fraction of the right images' LPIPS counts as none."""

  images: int = 1000
  shown: int = 10
  margin: float = 0.1


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "misclassified")
  table, verdicts, grids, arrays, notes = [], [], [], {}, []
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    pictures = inverter.generate(logits, seed=data.seed)
    right = logits.argmax(1) == data.targets(inverter, sample.labels)
    values = measures.quality(originals, pictures)
    for name, value in {**values, "right": right}.items():
      arrays.setdefault(name, {})[label] = value
    table.append(common.Measure("classified right", label, estimates.rate(right)))
    if min(right.sum(), (~right).sum()) < verdict_lib.FEWEST:
      notes.append(
        f"{label}: {int((~right).sum())} of {len(right)} images are "
        "misclassified, too few of one kind for a comparison."
      )
      continue
    table += _compare(label, values, right)
    verdicts.append(_verdict(label, values["lpips"], right, settings.margin))
    grids.append(
      _grid(
        label,
        originals,
        pictures,
        data.names(sample.labels),
        [inverter.class_names[i] for i in logits.argmax(1)],
        np.flatnonzero(~right)[: settings.shown],
      )
    )
  return common.Result(
    tuple(table),
    tuple(verdicts),
    tuple(grids),
    {**common.stacked(arrays), "ids": sample.ids},
    notes=tuple(notes),
  )


def _compare(label, values, right):
  table = []
  for where, mask in ((", right", right), (", wrong", ~right)):
    table += measures.quality_measures(
      label, {key: value[mask] for key, value in values.items()}, where
    )
  for key, value in values.items():
    name = f"Mann-Whitney p, right against wrong, {key.upper()}"
    p = float(stats.mannwhitneyu(value[right], value[~right]).pvalue)
    table.append(common.Measure(name, label, estimates.Estimate(p, p, p, len(value))))
  return table


def _verdict(label, lpips, right, margin):
  difference = estimates.unpaired_difference(lpips[~right], lpips[right])
  return verdict_lib.negligible(
    f"Misclassified images are reconstructed as faithfully ({label})",
    "5.4, 6",
    difference,
    margin * float(lpips[right].mean()),
    "LPIPS, misclassified minus correct",
  )


def _grid(label, originals, pictures, true, predicted, wrong):
  """`true` and `predicted`: names of each image's class; `wrong`: places to show."""
  return common.Grid(
    f"misclassified_{label}",
    f"{label}: misclassified originals (above, true class) "
    "and their reconstructions (below, predicted class).",
    [[originals[i] for i in wrong], [pictures[i] for i in wrong]],
    ["original", "reconstruction"],
    None,
    [[true[i] for i in wrong], [predicted[i] for i in wrong]],
  )
