"""How much of the picture is in which logits, and in which layer?

A decoder is trained for each input: all logits, their softmax, their ranks, the largest
of them, the predicted class alone, and earlier layers. So nothing is asked to decode what
it has not been trained on, unlike in the experiment `logit_content`, which gives reduced
logits to the inverter of full ones.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy import special

from compare_gan_logits import classifiers
from compare_gan_logits.experiments import common
from compare_gan_logits.questions import parts as part_lib
from compare_gan_logits.questions import workshop as workshop_lib
from compare_gan_logits.questions.parts import ADVERSARIAL
from compare_gan_logits.questions.parts import ORDINARY
from compare_gan_logits.questions.settings import Settings
from compare_gan_logits.questions.workshop import Workshop


TITLE = "Which logits, which layer"
QUESTION = (
  "How much of the picture is in the logits, in parts of them, and in earlier layers, for "
  "a decoder that is trained for that input?"
)
DEPENDS_ON = (
  "dataset",
  "classifier_steps",
  "decoder_steps",
  "images",
  "perceptual_images",
)
LAYERS = {"last hidden layer": "features", "feature map, 8 x 8": "spatial"}
COLOUR, ALL = "mean colour", "all logits"
_KEPT = (1, 2, 5)
_LEFT_OUT = 5
_NUMBER = "number of logits"


def parts(settings: Settings) -> list[part_lib.Part]:
  return [
    part_lib.Part(way, seed, functools.partial(_make, way, seed))
    for seed in settings.seeds
    for way in (ORDINARY, ADVERSARIAL)
  ]


def reductions(logits: np.ndarray) -> dict[str, np.ndarray]:
  """What is left of logits [n, d], by name; what is left out is 0 in [n, 2 d] of values
  and of marks that say which were kept.

  The ranks are one number a logit; the predicted class is one-hot, [n, d].
  """
  order = np.argsort(-logits, axis=1, kind="stable")
  ranks = np.argsort(order, axis=1, kind="stable")
  one_hot = (ranks == 0).astype(np.float32)
  found = {
    "predicted class": one_hot,
    "ranks": ranks.astype(np.float32),
    "probabilities": special.softmax(logits, axis=1).astype(np.float32),
  }
  masks = {f"top {k}": ranks < k for k in _KEPT}
  masks[f"all but the top {_LEFT_OUT}"] = ranks >= _LEFT_OUT
  for name, mask in masks.items():
    found[name] = np.concatenate([logits * mask, mask], axis=1).astype(np.float32)
  found[ALL] = logits
  return found


def _make(way: str, seed: int, workshop: Workshop) -> dict[str, Any]:
  settings = workshop.settings
  path = workshop.classifier(f"cnn_{way}", seed, robust=way == ADVERSARIAL)
  images = [workshop.train[0], workshop.test[0]]
  flat = np.broadcast_to(
    images[1].mean(axis=(1, 2), keepdims=True), images[1].shape
  ).astype(np.float32)
  classifier = classifiers.load(path)
  judge = workshop.judge(seed)
  judges = {"kept": classifier, "kept by judge": classifiers.load(judge)}
  held = {
    COLOUR: {
      **workshop_lib.quality(images[1], flat, settings.perceptual_images),
      **{n: workshop_lib.agreement(j, images[1], flat) for n, j in judges.items()},
    }
  }
  given = [reductions(classifier.predict(part)) for part in images]
  for name in given[0]:
    held[name] = workshop.decoded(given[0][name], given[1][name], seed, judges)
  for name, output in LAYERS.items():
    held[name] = workshop.held(path, output, seed, judges)
  numbers = {
    f"{name}: {measure}": value
    for name, values in held.items()
    for measure, value in values.items()
  }
  return {**numbers, _NUMBER: classifier.num_logits}


def _numbers(found):
  """Those of any one part."""
  return next(iter(next(iter(found.values())).values()))


def _inputs(found):
  """Names of what was given to decoders, from the least to the most."""
  numbers = _numbers(found)
  names = (COLOUR, *reductions(np.zeros([1, 2])), *LAYERS)
  return [name for name in names if f"{name}: error" in numbers]


def answer(found: part_lib.Found, settings: Settings) -> part_lib.Answer:
  columns, rows = [], {name: [] for name in _inputs(found)}
  for way, of_seed in found.items():
    columns += [
      f"{way} (trainings: {len(of_seed)}): pixel error, 1e-3",
      f"{way}: LPIPS",
      f"{way}: SSIM",
      f"{way}: class kept, independent judge, %",
    ]
    for name, row in rows.items():
      row.append(
        part_lib.text(part_lib.over_seeds(found, way, f"{name}: error"), 2, 1e3)
      )
      row.append(part_lib.text(part_lib.over_seeds(found, way, f"{name}: lpips")))
      row.append(part_lib.text(part_lib.over_seeds(found, way, f"{name}: ssim")))
      kept = part_lib.over_seeds(found, way, f"{name}: kept by judge")
      row.append(part_lib.percent(kept))
  return part_lib.Answer(
    " ".join(_sentence(found, way) for way in found),
    columns,
    rows,
    _curves(found),
    (
      "The decoder minimises the squared error of pixels and has no noise: its LPIPS is "
      "that of smooth pictures, and the pixel error is the measure to go by.",
      "What is left out is marked as left out; the order of what is kept is known.",
      "The feature map has many more numbers than the decoder's hidden layers.",
    ),
  )


def _sentence(found, way):
  def error(name):
    return part_lib.over_seeds(found, way, f"{name}: error").value

  floor, full = error(COLOUR), error(ALL)
  shares = ", ".join(
    f"{name} {(floor - error(name)) / (floor - full):.0%}"
    for name in ("predicted class", "ranks", "probabilities", *LAYERS)
  )
  number = len(found[way])
  return (
    f"Of what all logits take off the mean colour's pixel error ({floor:.4f} to "
    f"{full:.4f}; {way}, {number} training{'s' if number > 1 else ''}), decoders of "
    f"other inputs take off: {shares}."
  )


def _curves(found):
  names = [f"top {k}" for k in _KEPT] + [ALL]
  if any(name not in _inputs(found) for name in names):
    return ()
  listed = {
    way: {
      seed: {"curve": [numbers[f"{name}: error"] for name in names]}
      for seed, numbers in of_seed.items()
    }
    for way, of_seed in found.items()
  }
  return (
    common.Curves(
      "error_over_kept",
      "Pixel error of decoders of the largest logits; the last point has all of them.",
      np.array([*_KEPT, _numbers(found)[_NUMBER]]),
      {way: part_lib.series(listed, way, "curve") for way in listed},
      "logits kept",
      "mean squared error of pixels",
    ),
  )
