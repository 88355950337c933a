"""Decoded interpolated logits as a semantic mixup (section 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import special

from compare_gan_logits.classifiers import class_order
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import interpolation
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Semantic mixup"
SECTION = "beyond the paper (6)"
QUESTION = (
  "Do pictures of interpolated logits belong to both classes, and more so than "
  "the average of the pixels does?"
)


@common.configurable("mixup")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: pairs of them, of different predicted classes."""

  images: int = 250
  shown: int = 6


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(2 * settings.images, "mixup")
  half = len(sample.ids) // 2
  table, verdicts, grids, arrays = [], [], [], {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    classes = class_order.predicted(logits)
    apart = np.flatnonzero(classes[:half] != classes[half : 2 * half])
    a, b = logits[apart], logits[half + apart]
    noise = np.repeat(inverter.noise(len(apart), data.seed)[:, None], 3, axis=1)
    path = interpolation.decode(inverter, interpolation.between(a, b, 3), noise)
    pixels = (originals[apart] + originals[half + apart]) / 2
    made = {"logits": path[:, 1], "pixels": pixels}
    errors = {}
    for way, pictures in made.items():
      again = inverter.logits(pictures)
      errors[way] = soft_error(again, a, b)
      table += [
        common.Measure(
          f"class is one of the two, mixed {way}",
          label,
          estimates.rate(one_of_two(again, a, b)),
        ),
        common.Measure(
          f"distance to the mixed class probabilities, mixed {way}",
          label,
          estimates.mean(errors[way]),
        ),
      ]
      arrays[f"{way}/error/{label}"] = errors[way]
    ends = (
      measures.perceptual(path[:, 1], path[:, 0]),
      measures.perceptual(path[:, 1], path[:, 2]),
    )
    table.append(
      common.Measure(
        "LPIPS to the nearer end / to both",
        label,
        estimates.mean(np.minimum(*ends) / np.maximum(sum(ends), 1e-6)),
      )
    )
    verdicts.append(
      verdict_lib.positive(
        f"Mixing logits comes closer to the mixed probabilities than mixing pixels "
        f"({label})",
        "not in the paper",
        estimates.mean(errors["pixels"] - errors["logits"]),
        "total variation distance, pixels minus logits",
      )
    )
    grids.append(_grid(label, originals, half, apart, made, settings.shown))
  return common.Result(
    tuple(table), tuple(verdicts), tuple(grids), {**arrays, "ids": sample.ids}
  )


def soft_error(again: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Total variation distance between softmax(again) and the mean of both ends': [n]."""
  wanted = (special.softmax(a, axis=1) + special.softmax(b, axis=1)) / 2
  return np.abs(special.softmax(again, axis=1) - wanted).sum(axis=1) / 2


def one_of_two(again: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Whether the class of `again` is that of a or of b: bool [n]."""
  classes = again.argmax(1)
  return (classes == a.argmax(1)) | (classes == b.argmax(1))


def _grid(label, originals, half, apart, made, shown):
  rows = [
    [originals[i], made["logits"][k], made["pixels"][k], originals[half + i]]
    for k, i in enumerate(apart[:shown])
  ]
  return common.Grid(
    f"mixup_{label}",
    f"{label}: two originals (outside) and between "
    "them the picture of their mean logits and their mean pixels.",
    rows,
    None,
    ["original", "mixed logits", "mixed pixels", "original"],
  )
