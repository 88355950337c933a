"""Reconstructions of attacked images (section 5.4; Figure 7)."""

import dataclasses

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import attacks
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import measures


TITLE = "Adversarial images"
SECTION = "5.4, Figure 7"
QUESTION = (
  "Does an attack that changes the class also change the reconstruction? "
  "Epsilon refers to pixel values in [0, 1]."
)
_BATCH = 64


@gin.configurable("adversarial", module="experiments")
@dataclasses.dataclass(frozen=True)
class Settings:
  """epsilon: largest change of a pixel, in [0, 1]; pgd_steps: of 2.5 epsilon /
  pgd_steps each."""

  images: int = 500
  epsilon: float = 0.1
  pgd_steps: int = 10
  shown: int = 8


def run(inverters, data, settings):
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
    verdicts += common.robust_larger(
      f"The robust classifier is less sensitive to {kind}",
      "5.4",
      {label: case["success"] for label, case in cases.items()},
      "success rate of the attack",
      sign=-1,
    )
    if everywhere.sum() < 2:
      notes.append(
        f"{kind}: it succeeds on all models for {int(everywhere.sum())} of "
        f"{len(everywhere)} images, too few to compare reconstructions."
      )
      continue
    verdicts += common.robust_larger(
      f"The robust model's reconstructions lose less fidelity under {kind}",
      "5.4",
      loss,
      "LPIPS to the original, attacked minus not",
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


def attack(inverter, images, labels, kind, epsilon, steps):
  """Attacked images, numpy in and out; labels are places among the logits."""
  with tf.Graph().as_default():
    feed = tf.placeholder(tf.float32, [None, *images.shape[1:]])
    right = tf.placeholder(tf.int32, [None])
    if kind == "FGSM":
      fetch = attacks.fgsm(inverter.classifier, feed, right, epsilon)
    else:
      fetch = attacks.pgd(
        inverter.classifier, feed, right, epsilon, 2.5 * epsilon / steps, steps
      )
    with tf.Session() as session:
      session.run([tf.local_variables_initializer(), tf.tables_initializer()])
      parts = [
        session.run(
          fetch, {feed: images[i : i + _BATCH], right: labels[i : i + _BATCH]}
        )
        for i in range(0, len(images), _BATCH)
      ]
  return np.concatenate(parts)


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
  table = [common.Measure(f"{kind} succeeds", label, common.rate(case["success"]))]
  if everywhere.sum() > 1:
    before, after = case["lpips"][everywhere], case["attacked_lpips"][everywhere]
    table += [
      common.Measure(
        f"LPIPS, original to its reconstruction ({kind} succeeds on all)",
        label,
        common.mean(before),
      ),
      common.Measure(
        "LPIPS, original to the attacked one's reconstruction "
        f"({kind} succeeds on all)",
        label,
        common.mean(after),
      ),
      common.Measure(f"LPIPS lost to {kind}", label, common.mean(after - before)),
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
    f"{kind}: of each model the original, its "
    "reconstruction, the attacked image with the class it gets, and the "
    "reconstruction of that; true classes on the left.",
    rows,
    [data.class_names[c] for c in sample.labels[chosen]],
    columns,
    cells,
  )
