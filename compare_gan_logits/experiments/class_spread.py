"""How tightly the logits of a class lie together (section 5.5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Class spread"
SECTION = "5.5"
QUESTION = (
  "How far do validation logits lie from the mean of their class? Intervals are over "
  "the classes that were drawn."
)
PAPER = {"robust": 43.78, "standard": 42.33}


@common.configurable("class_spread")
@dataclasses.dataclass(frozen=True)
class Settings:
  """classes: drawn by seed; images: of all of them together."""

  classes: int = 10
  images: int = 500


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  sample = data.draw_classes(
    settings.classes, max(2, settings.images // settings.classes), "class spread"
  )
  table, distances, relative = [], {}, {}
  for label, inverter in inverters.items():
    logits = inverter.logits(sample.images)
    of_images = spread(logits, sample.labels)
    # Images of a class share its mean: the classes are the sample, not the images.
    distances[label] = _class_means(of_images, sample.labels)
    relative[label] = distances[label] / max(
      spread(logits, np.zeros(len(logits))).mean(), 1e-12
    )
    table += [
      common.Measure(
        "l2 distance of logits to their class mean, over classes",
        label,
        estimates.mean(distances[label]),
        roles.paper_value(inverter, PAPER),
      ),
      common.Measure(
        "the same, divided by the distance to the mean of all logits",
        label,
        estimates.mean(relative[label]),
      ),
    ]
  verdicts = verdict_lib.robust_larger(
    pair,
    "Standard logits are grouped more tightly",
    "5.5",
    distances,
    "l2 distance to the class mean",
  )
  verdicts += verdict_lib.robust_larger(
    pair,
    "Standard logits are grouped more tightly relative to the spread of all logits",
    "not in the paper",
    relative,
    "distance to the class mean / to the mean of all",
  )
  return common.Result(
    tuple(table),
    verdicts,
    (),
    {
      **common.stacked({"distance": distances, "relative": relative}),
      "ids": sample.ids,
      "labels": sample.labels,
    },
  )


def _class_means(values, labels):
  return np.array([values[labels == label].mean() for label in np.unique(labels)])


def spread(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """l2 distance of every logit vector [n, d] to the mean of its class: [n]."""
  distances = np.empty(len(logits))
  for label in np.unique(labels):
    members = labels == label
    of_class = np.asarray(logits[members], np.float64)
    distances[members] = np.linalg.norm(of_class - of_class.mean(axis=0), axis=1)
  return distances
