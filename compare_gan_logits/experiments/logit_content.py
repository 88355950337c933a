"""How much of the picture is in which logits: the largest, the rest, their order.

Dosovitskiy & Brox (2016) asked it of the class probabilities: reconstructions from all
but the top five were better than those from the top five.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import special

from compare_gan_logits.classifiers import class_order
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "How much of the picture is in which logits"
SECTION = "beyond the paper; Dosovitskiy & Brox (2016), section 5.3"
QUESTION = (
  "What is lost when the inverter is given only the largest logits, all but the "
  "largest, their ranks, the softmax probabilities, or the predicted class? What is "
  "left out is replaced by its mean over training images (those of the predicted class "
  "where the largest logit is kept), so that the input stays near the logits that the "
  "inverter was trained on."
)
FULL, CLASS, RANKS, PROBABILITIES = (
  "all logits",
  "predicted class",
  "ranks",
  "probabilities",
)
_CHUNK = 512


@common.configurable("logit_content")
@dataclasses.dataclass(frozen=True)
class Settings:
  """keep: numbers of the largest logits; drop: largest logits left out;
  training_images: whose logits give the means."""

  images: int = 500
  keep: tuple = (1, 2, 5, 10)
  drop: int = 5
  training_images: int = 5000
  shown: int = 6


@dataclasses.dataclass(frozen=True)
class Means:
  """What stands in for the logits that are left out, from training images.

  Attributes:
    ranked: [d], the mean of the largest, the second largest, ... logit.
    of_class: [d, d], the mean logits of each predicted class.
    shift: the mean of log(sum(exp(logits))), which softmax loses.
  """

  ranked: np.ndarray
  of_class: np.ndarray
  shift: float

  @classmethod
  def of(cls, logits: np.ndarray) -> Means:
    """From logits [n, d]; a class that is never predicted has the mean of all."""
    logits = np.asarray(logits, np.float64)
    mean, predicted = logits.mean(axis=0), class_order.predicted(logits)
    of_class = np.tile(mean, [logits.shape[1], 1])
    for c in np.unique(predicted):
      of_class[c] = logits[predicted == c].mean(axis=0)
    return cls(
      -np.sort(-logits, axis=1).mean(axis=0),
      of_class,
      float(np.mean(special.logsumexp(logits, axis=1))),
    )


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "logit content")
  pair = roles.pair(inverters)
  table, verdicts, grids, arrays, lost, curves = [], [], [], {}, {}, {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    means = Means.of(_training_logits(inverter, data, settings.training_images))
    noise = inverter.noise(len(logits), data.seed)
    pictures, lpips = {}, {}
    for name, given in conditions(logits, means, settings.keep, settings.drop).items():
      pictures[name] = inverter.generate(given, noise)
      values = measures.quality(originals, pictures[name])
      agreed, found = measures.agreement(
        label, inverter, data, originals, pictures[name], f": {name}"
      )
      table += measures.quality_measures(label, values, f": {name}") + agreed
      lpips[name] = values["lpips"]
      arrays.update(
        {f"{name}/{key}/{label}": v for key, v in {**values, **found}.items()}
      )
    table += _floors(label, originals, pictures[FULL])
    lost[label] = lpips[CLASS] - lpips[FULL]
    verdicts += _verdicts(label, lpips, settings.drop)
    _add_curve(curves, label, lpips, settings.keep, inverter.num_logits)
    grids.append(_grid(label, originals, pictures, settings.shown))
  verdicts += verdict_lib.robust_larger(
    pair,
    "Robust logits hold more beyond the predicted class",
    "not in the paper",
    lost,
    "LPIPS lost when the class alone is given",
  )
  return common.Result(
    tuple(table),
    tuple(verdicts),
    (*grids, *_draw_curves(curves)),
    {**arrays, "ids": sample.ids},
    notes=(
      "All conditions are decoded by the inverter that was trained on full logits. An "
      "inverter that was trained on the reduced input could do better.",
    ),
  )


def conditions(
  logits: np.ndarray, means: Means, keep: tuple, drop: int
) -> dict[str, np.ndarray]:
  """Reduced logits [n, d] by the name of what is left of them.

  Args:
    logits: [n, d].
    means: what replaces what is left out.
    keep: numbers of the largest logits; those of d and more are passed over.
    drop: number of the largest that the complement leaves out, if there are more.
  """
  size = logits.shape[1]
  ranks = np.argsort(np.argsort(-logits, axis=1, kind="stable"), axis=1, kind="stable")
  of_class = means.of_class[class_order.predicted(logits)]
  found = {FULL: logits}
  for k in keep:
    if k < size:
      found[f"top {k}"] = np.where(ranks < k, logits, of_class)
  if drop < size:
    largest = means.ranked[:drop].mean()
    found[f"all but the top {drop}"] = np.where(ranks >= drop, logits, largest)
  found[RANKS] = means.ranked[ranks]
  found[PROBABILITIES] = special.log_softmax(logits, axis=1) + means.shift
  found[CLASS] = of_class
  return {name: value.astype(np.float32) for name, value in found.items()}


def _training_logits(inverter, data, limit):
  ids = data.training.order("logit content")[:limit]
  return np.concatenate(
    [
      inverter.logits(data.training.read(ids[i : i + _CHUNK]).images)
      for i in range(0, len(ids), _CHUNK)
    ]
  )


def _floors(label, originals, pictures):
  """What a picture without the image's logits reaches."""
  flat = np.broadcast_to(originals.mean(axis=(1, 2), keepdims=True), originals.shape)
  floors = {
    "reference: LPIPS of the image's mean colour": flat,
    "reference: LPIPS to another image's reconstruction": measures.others(pictures),
  }
  return [
    common.Measure(name, label, estimates.mean(measures.perceptual(originals, picture)))
    for name, picture in floors.items()
  ]


def _verdicts(label, lpips, drop):
  top, rest = f"top {drop}", f"all but the top {drop}"
  statements = [
    ("The logits hold more of the picture than the predicted class does", CLASS, FULL),
    ("The logits hold more of the picture than their ranks do", RANKS, FULL),
    (
      "The shift of the logits, which softmax loses, holds some of the picture",
      PROBABILITIES,
      FULL,
    ),
  ]
  if top in lpips and rest in lpips:
    statements.append(
      (f"All but the top {drop} logits hold more than the top {drop}", top, rest)
    )
  return [
    verdict_lib.positive(
      f"{statement} ({label})",
      "not in the paper",
      estimates.mean(lpips[worse] - lpips[better]),
      f"LPIPS, {worse} minus {better}",
    )
    for statement, worse, better in statements
  ]


def _add_curve(curves, label, lpips, keep, size):
  """Adds LPIPS over the number of logits kept to {numbers: {label: band}}."""
  kept = tuple(k for k in keep if k < size)
  values = [lpips[f"top {k}"] for k in kept] + [lpips[FULL]]
  band = estimates.band([estimates.mean(v) for v in values])
  curves.setdefault((*kept, size), {})[label] = band


def _draw_curves(curves):
  return [
    common.Curves(
      f"lpips_over_kept_{number}",
      "LPIPS to the original of reconstructions from the largest logits alone; the last "
      "point has all of them.",
      np.array(x),
      series,
      "logits kept",
      "LPIPS",
      log_x=True,
    )
    for number, (x, series) in enumerate(curves.items())
  ]


def _grid(label, originals, pictures, shown):
  return common.columns(
    f"logit_content_{label}",
    f"{label}: the original, then reconstructions from what is named above, with the "
    "same noise.",
    [("original", originals), *pictures.items()],
    shown,
  )
