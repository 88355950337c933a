"""Originals beside every model's reconstruction (sections 5.1, 5.2; Figure 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter


TITLE = "Comparison of reconstructions"
SECTION = "5.1, 5.2, Figure 1, Table 2"
QUESTION = (
  "How close do the reconstructions come to the originals, for images that all "
  "classifiers get right?"
)


@common.configurable("comparison")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: how many; shown: of them in the figure."""

  images: int = 1000
  shown: int = 12


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  sample = data.draw(settings.images, "comparison", data.correct_for_all(inverters))
  table, lpips, arrays, pictures_of = [], {}, {"logits": {}, "pictures": {}}, {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    pictures = inverter.generate(logits, seed=data.seed)
    values = measures.quality(originals, pictures)
    lpips[label] = values["lpips"]
    table += measures.quality_measures(label, values, paper_of=inverter, headline=True)
    agreed, kept = measures.agreement(
      label, inverter, data, originals, pictures, headline=True
    )
    table += agreed
    if inverter.encodes_pictures:
      table += _logits_kept(label, logits, inverter.logits(pictures))
    table.append(
      common.Measure(
        "reference: LPIPS to another image's reconstruction",
        label,
        estimates.mean(measures.perceptual(originals, measures.others(pictures))),
      )
    )
    for name, value in {**values, **kept}.items():
      arrays.setdefault(name, {})[label] = value
    arrays["logits"][label] = logits
    arrays["pictures"][label] = pictures[: settings.shown]
    pictures_of[label] = pictures
  first = next(iter(inverters.values()))
  shown = first.prepare(sample.images[: settings.shown])
  grid = common.Grid(
    "comparison",
    "Originals, and below them each model's reconstructions from its logits.",
    [list(shown), *[list(p[: len(shown)]) for p in pictures_of.values()]],
    ["original", *inverters],
    data.names(sample.labels[: len(shown)]),
    opening=True,
  )
  return common.Result(
    tuple(table),
    verdict_lib.robust_larger(
      pair,
      "Reconstructions from robust logits are closer to the original",
      "5.2, Table 2",
      lpips,
      "LPIPS",
      sign=-1,
    )
    + _resnet_against_inception(inverters, lpips)
    + _against_dosovitskiy_brox(inverters, lpips),
    (grid,),
    {**common.stacked(arrays), "ids": sample.ids, "labels": sample.labels},
  )


def _resnet_against_inception(inverters, lpips):
  """Section 5.2: of the two standard classifiers, ResNet's pictures are truer."""
  return _closer(
    inverters,
    lpips,
    (roles.STANDARD, roles.INCEPTION),
    "Reconstructions from ResNet's logits are closer than from Inception's",
    verdict_lib.MODEL,
  )


def _against_dosovitskiy_brox(inverters, lpips):
  """Table 2 has Dosovitskiy & Brox, trained on a perceptual loss, slightly ahead."""
  return _closer(
    inverters,
    lpips,
    (roles.DOSOVITSKIY_BROX, roles.ROBUST),
    "Dosovitskiy & Brox come closer in LPIPS than our method, same robust logits",
    verdict_lib.BASELINE,
  )


def _closer(inverters, lpips, models, statement, group):
  """The verdict that the first of two of the paper's models has the smaller LPIPS."""
  nearer, further = (roles.first(inverters, model) for model in models)
  if nearer is None or further is None:
    return ()
  return (
    verdict_lib.positive(
      statement,
      "5.2, Table 2",
      estimates.mean(lpips[further] - lpips[nearer]),
      f"LPIPS: {further} minus {nearer}, same images",
      group,
    ),
  )


def _logits_kept(label, logits, again):
  """How far the classifier sees the same in the reconstruction, with references."""
  other = measures.others(logits)
  return [
    common.Measure(
      "reference: class shared with another image",
      label,
      estimates.rate(again.argmax(1) == other.argmax(1)),
    ),
    common.Measure(
      "cosine of re-encoded logits",
      label,
      estimates.mean(measures.cosine(again, logits)),
    ),
    common.Measure(
      "reference: cosine with another image's logits",
      label,
      estimates.mean(measures.cosine(again, other)),
    ),
    common.Measure(
      "distance of re-encoded logits / distance to another image's",
      label,
      estimates.mean(
        _distance(again, logits) / np.maximum(_distance(logits, other), 1e-6)
      ),
    ),
  ]


def _distance(a, b):
  return np.linalg.norm(a - b, axis=1)
