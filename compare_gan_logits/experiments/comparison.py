"""Originals beside every model's reconstruction (sections 5.1, 5.2; Figure 1)."""

import dataclasses

import gin
import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import measures


TITLE = "Comparison of reconstructions"
SECTION = "5.1, 5.2, Figure 1, Table 2"
QUESTION = (
  "How close do the reconstructions come to the originals, for images that all "
  "classifiers get right?"
)


@gin.configurable("comparison", module="experiments")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: how many; shown: of them in the figure."""

  images: int = 1000
  shown: int = 12


def run(inverters, data, settings):
  sample = data.draw(settings.images, "comparison", data.correct_for_all(inverters))
  table, lpips, arrays, columns = [], {}, {"logits": {}, "pictures": {}}, {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    pictures = inverter.generate(logits, seed=data.seed)
    again = inverter.logits(pictures)
    values = measures.quality(originals, pictures)
    lpips[label] = values["lpips"]
    table += measures.quality_measures(label, values, paper=True)
    table += _agreement(label, logits, again)
    table.append(
      common.Measure(
        "reference: LPIPS to another image's reconstruction",
        label,
        common.mean(measures.perceptual(originals, measures.others(pictures))),
      )
    )
    for name, value in values.items():
      arrays.setdefault(name, {})[label] = value
    arrays["logits"][label] = logits
    arrays["pictures"][label] = pictures[: settings.shown]
    columns[label] = pictures
  first = next(iter(inverters.values()))
  rows = [
    [first.prepare(sample.images[i : i + 1])[0]] + [p[i] for p in columns.values()]
    for i in range(min(settings.shown, len(sample.ids)))
  ]
  grid = common.Grid(
    "comparison",
    "Original, then each model's reconstruction from its logits.",
    rows,
    [data.class_names[c] for c in sample.labels[: len(rows)]],
    ["original", *inverters],
  )
  return common.Result(
    tuple(table),
    common.robust_larger(
      "Reconstructions from robust logits are closer to the original",
      "5.2, Table 2",
      lpips,
      "LPIPS",
      sign=-1,
    )
    + _against_rival(lpips),
    (grid,),
    {**common.stacked(arrays), "ids": sample.ids, "labels": sample.labels},
  )


def _against_rival(lpips):
  """Table 2 has Dosovitskiy & Brox, trained on a perceptual loss, slightly ahead."""
  ours, rival = (common.first(lpips, kind) for kind in ("robust", "dosovitskiy_brox"))
  if ours is None or rival is None:
    return ()
  return (
    common.positive(
      "Dosovitskiy & Brox come closer in LPIPS than our method, same robust logits",
      "5.2, Table 2",
      common.mean(lpips[ours] - lpips[rival]),
      f"LPIPS: {ours} minus {rival}, same images",
    ),
  )


def _agreement(label, logits, again):
  """How far the classifier sees the same in the reconstruction, with references."""
  other = measures.others(logits)
  same = again.argmax(1) == logits.argmax(1)
  return [
    common.Measure("class of the original kept", label, common.rate(same)),
    common.Measure(
      "reference: class shared with another image",
      label,
      common.rate(again.argmax(1) == other.argmax(1)),
    ),
    common.Measure(
      "cosine of re-encoded logits", label, common.mean(measures.cosine(again, logits))
    ),
    common.Measure(
      "reference: cosine with another image's logits",
      label,
      common.mean(measures.cosine(again, other)),
    ),
    common.Measure(
      "distance of re-encoded logits / distance to another image's",
      label,
      common.mean(
        _distance(again, logits) / np.maximum(_distance(logits, other), 1e-6)
      ),
    ),
  ]


def _distance(a, b):
  return np.linalg.norm(a - b, axis=1)
