"""Reconstructions of attacked images (section 5.4; Figure 7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import attacks
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.graph_function import GraphFunction
from compare_gan_logits.inversion import Inverter


TITLE = "Adversarial images"
SECTION = "5.4, Figure 7"
QUESTION = (
  "Does an attack that changes the class also change the reconstruction? "
  "Epsilon refers to pixel values in [0, 1]."
)


@common.configurable("adversarial")
@dataclasses.dataclass(frozen=True)
class Settings:
  """epsilon: largest change of a pixel, in [0, 1]; pgd_steps: of 2.5 epsilon /
  pgd_steps each."""

  images: int = 500
  epsilon: float = 0.1
  pgd_steps: int = 10
  shown: int = 8


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  sample = data.draw(settings.images, "adversarial", data.correct_for_all(inverters))
  table, verdicts, grids, arrays, notes = [], [], [], {}, []
  for kind in ("FGSM", "PGD"):
    cases = {
      label: _case(inverter, data, sample, settings, kind)
      for label, inverter in inverters.items()
    }
    everywhere = np.all([case["success"] for case in cases.values()], axis=0)
    loss = {}
    for label, case in cases.items():
      table += _measures(label, case, everywhere, kind)
      loss[label] = (case["attacked_lpips"] - case["lpips"])[everywhere]
      for name in ("success", "lpips", "attacked_lpips"):
        arrays[f"{kind}/{name}/{label}"] = case[name]
      arrays[f"{kind}/attacked/{label}"] = case["attacked"][: settings.shown]
    verdicts += verdict_lib.robust_larger(
      pair,
      f"The robust classifier is less sensitive to {kind}",
      "5.4",
      {label: case["success"] for label, case in cases.items()},
      "success rate of the attack",
      sign=-1,
    )
    if everywhere.sum() < 2:
      notes.append(
        f"{kind} changes the class on all models for {int(everywhere.sum())} of "
        f"{len(everywhere)} images only, too few to compare reconstructions."
      )
      continue
    verdicts += verdict_lib.robust_larger(
      pair,
      f"The robust model's reconstructions lose less fidelity under {kind}",
      "5.4",
      loss,
      "LPIPS to the original, attacked minus unattacked",
      sign=-1,
    )
    grids.append(
      _grid(kind, cases, data, sample, everywhere, inverters, settings.shown)
    )
  return common.Result(
    tuple(table),
    tuple(verdicts),
    tuple(grids),
    {**arrays, "ids": sample.ids},
    notes=tuple(notes),
  )


def attack(
  inverter: Inverter,
  images: np.ndarray,
  labels: np.ndarray,
  kind: str,
  epsilon: float,
  steps: int,
) -> np.ndarray:
  """Images [n, h, w, c] attacked by "FGSM" or "PGD"; labels are places among the logits."""

  def build(images, labels):
    if kind == "FGSM":
      return attacks.fgsm(inverter.classifier, images, labels, epsilon)
    step = 2.5 * epsilon / steps
    return attacks.pgd(inverter.classifier, images, labels, epsilon, step, steps)

  inputs = [tf.TensorSpec(images.shape[1:]), tf.TensorSpec([], tf.int32)]
  return GraphFunction(build, inputs)(images, labels)


def _case(inverter, data, sample, settings, kind):
  """Everything of one model under one attack."""
  originals = inverter.prepare(sample.images)
  targets = data.targets(inverter, sample.labels)
  attacked = attack(
    inverter, originals, targets, kind, settings.epsilon, settings.pgd_steps
  )
  logits = inverter.logits(attacked)
  noise = inverter.noise(len(originals), data.seed)
  pictures = inverter.generate(inverter.logits(originals), noise)
  attacked_pictures = inverter.generate(logits, noise)
  return {
    "originals": originals,
    "attacked": attacked,
    "pictures": pictures,
    "attacked_pictures": attacked_pictures,
    "predicted": logits.argmax(1),
    "success": logits.argmax(1) != targets,
    "lpips": measures.perceptual(originals, pictures),
    "attacked_lpips": measures.perceptual(originals, attacked_pictures),
  }


def _measures(label, case, everywhere, kind):
  table = [common.Measure(f"{kind} succeeds", label, estimates.rate(case["success"]))]
  if everywhere.sum() > 1:
    before, after = case["lpips"][everywhere], case["attacked_lpips"][everywhere]
    table += [
      common.Measure(
        f"LPIPS, original to its reconstruction ({kind} succeeds on all)",
        label,
        estimates.mean(before),
      ),
      common.Measure(
        "LPIPS, original to the attacked one's reconstruction "
        f"({kind} succeeds on all)",
        label,
        estimates.mean(after),
      ),
      common.Measure(f"LPIPS lost to {kind}", label, estimates.mean(after - before)),
    ]
  return table


def _grid(kind, cases, data, sample, everywhere, inverters, shown):
  chosen = np.flatnonzero(everywhere)[:shown]
  rows, cells, columns = [], [], []
  for i in chosen:
    row, cell = [], []
    for label, case in cases.items():
      names = inverters[label].class_names
      row += [
        case[key][i]
        for key in ("originals", "pictures", "attacked", "attacked_pictures")
      ]
      cell += ["", "", names[case["predicted"][i]], ""]
    rows.append(row)
    cells.append(cell)
  for label in cases:
    columns += [
      f"{label}\noriginal",
      "recon-\nstruction",
      "attacked",
      "its recon-\nstruction",
    ]
  return common.Grid(
    f"adversarial_{kind.lower()}",
    f"{kind}. For each model: the original, its reconstruction, the attacked image "
    "with its predicted class, and the reconstruction of the attacked image. True "
    "classes are on the left.",
    rows,
    data.names(sample.labels[chosen]),
    columns,
    cells,
  )
