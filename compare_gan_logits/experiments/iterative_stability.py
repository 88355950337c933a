"""Classifies reconstructions, and reconstructions of these (section 12)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.classifiers import class_order
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Iterative stability"
SECTION = "12"
QUESTION = (
  "Does the classifier give a reconstruction the class that it gave the original, and "
  "does the class stay the same when the reconstruction is reconstructed again?"
)
PAPER = {
  "right": {"robust": 0.54, "standard": 0.493},
  "wrong": {"robust": 0.35, "standard": 0.299},
}


@common.configurable("iterative_stability")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: of all classes together; classes: drawn by seed; rounds: image ->
  reconstruction -> reconstruction of it, so many times."""

  classes: int = 50
  images: int = 500
  rounds: int = 6
  shown: int = 8


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  data.check_labelled()
  classes = min(settings.classes, len(data.dataset.class_names))
  sample = data.draw_classes(classes, max(1, settings.images // classes), "stability")
  # In class order, neighbours would share their class: no reference.
  order = common.generator(data.seed, "stability order").permutation(len(sample.ids))
  images, labels = sample.images[order], sample.labels[order]
  table, grids, arrays, series, verdicts = [], [], {}, {}, []
  first_kept = {}  # {("right" or "wrong", label): whether each such image kept its class}
  for label, inverter in inverters.items():
    originals = inverter.prepare(images)
    pictures, predicted = iterate(inverter, originals, settings.rounds, data.seed)
    kept = predicted[1:] == predicted[0]
    agreed, found = measures.agreement(label, inverter, data, originals, pictures[0])
    table += agreed
    right = predicted[0] == data.targets(inverter, labels)
    for name, mask in (("right", right), ("wrong", ~right)):
      first_kept[name, label] = kept[0][mask]
      table.append(
        common.Measure(
          f"class kept, originals classified {name}",
          label,
          estimates.rate(kept[0][mask]),
          roles.paper_value(inverter, PAPER[name]),
        )
      )
    table += _table(label, kept, predicted)
    if min(right.sum(), (~right).sum()) >= verdict_lib.FEWEST:
      verdicts.append(
        verdict_lib.positive(
          f"Correctly classified images keep their class more often ({label})",
          "12",
          estimates.rate_difference(kept[0][right], kept[0][~right]),
          "fraction kept, correct minus misclassified",
        )
      )
    series[label] = estimates.band([estimates.rate(k) for k in kept])
    arrays[f"kept/{label}"], arrays[f"right/{label}"] = kept, right
    if "kept_by_judge" in found:
      arrays[f"kept_by_judge/{label}"] = found["kept_by_judge"]
    grids.append(
      common.columns(
        f"iterated_{label}",
        f"{label}: the original, then each picture's reconstruction.",
        [("original", originals), *((str(r), p) for r, p in enumerate(pictures, 1))],
        settings.shown,
      )
    )
  if pair:
    verdicts += _robust_more_stable(first_kept, *pair)
  curve = common.Curves(
    "kept_over_rounds",
    "How often the k-th reconstruction still has the original's class.",
    np.arange(1, settings.rounds + 1),
    series,
    "reconstructions in a row",
    "fraction that keeps its class",
  )
  return common.Result(
    tuple(table), tuple(verdicts), (*grids, curve), {**arrays, "ids": sample.ids[order]}
  )


def iterate(
  inverter: Inverter, images: np.ndarray, rounds: int, seed: int
) -> tuple[list[np.ndarray], np.ndarray]:
  """Reconstructs again and again, with fresh noise each round.

  Returns:
    (list of `rounds` pictures [n, h, w, c], classes int [rounds + 1, n] of the
    original and of each picture).
  """
  pictures, logits = [], inverter.logits(images)
  predicted = [class_order.predicted(logits)]
  for round_ in range(rounds):
    pictures.append(inverter.generate(logits, seed=seed + round_))
    logits = inverter.logits(pictures[-1])
    predicted.append(class_order.predicted(logits))
  return pictures, np.stack(predicted)


def _robust_more_stable(kept, robust, standard):
  """The paper compares the rates among correct and among misclassified images."""
  verdicts = []
  for name in ("right", "wrong"):
    a, b = kept[name, robust], kept[name, standard]
    if min(len(a), len(b)) >= verdict_lib.FEWEST:
      verdicts.append(
        verdict_lib.positive(
          f"The robust model is more stable, originals classified {name}",
          "12",
          estimates.rate_difference(a, b),
          f"fraction that keeps its class: {robust} minus {standard}",
          verdict_lib.PAIR,
        )
      )
  return verdicts


def _table(label, kept, predicted):
  table = [
    common.Measure(f"class kept after {k} rounds", label, estimates.rate(kept[k - 1]))
    for k in (1, 2, 4, 6)
    if k <= len(kept)
  ]
  table.append(
    common.Measure(
      "reference: class of another image of the batch",
      label,
      estimates.rate(predicted[1] == np.roll(predicted[0], 1)),
    )
  )
  return table
