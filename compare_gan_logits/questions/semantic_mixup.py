"""Are pictures decoded from interpolated logits a useful augmentation? (Section 6.)

Every batch has as many mixed pictures as images. A mixed picture is a mean of two
images' pixels (Zhang et al., 2018), or the reconstruction of the mean of their logits;
its target is the mean of their labels with the same weights. The logits are those of
the unaugmented classifier of the same seed, and its inverter has seen the same training
images: no image reaches a classifier by way of the inverter alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from compare_gan_logits import classifiers
from compare_gan_logits import inversion
from compare_gan_logits.classifiers import training
from compare_gan_logits.experiments import common
from compare_gan_logits.questions import parts as part_lib
from compare_gan_logits.questions import robustness
from compare_gan_logits.questions.settings import Settings
from compare_gan_logits.questions.workshop import Workshop


TITLE = "Semantic mixup"
QUESTION = (
  "Do pictures that are decoded from interpolated logits help a classifier as mixed "
  "training images, at all training images and at a tenth of them?"
)
NONE, SHIFTS, PIXELS = "no augmentation", "flips and shifts", "mixed pixels"
LOGITS, UNMIXED = "decoded mixed logits", "decoded unmixed logits"
WAYS = (NONE, PIXELS, LOGITS, SHIFTS, UNMIXED)
DEPENDS_ON = (
  "dataset",
  "classifier_steps",
  "inverter_config",
  "inverter_steps",
  "images",
  "epsilons",
  "attack_steps",
  "few_examples",
  "mixing_alpha",
)


def parts(settings: Settings) -> list[part_lib.Part]:
  """Few training images first, where augmentation should matter most."""
  return [
    part_lib.Part(
      _arm(way, examples), seed, functools.partial(_make, way, examples, seed)
    )
    for examples in (settings.few_examples, None)
    for seed in settings.seeds
    for way in WAYS
  ]


def _arm(way: str, examples: int | None) -> str:
  return f"{way}, {'all' if examples is None else examples} images"


def _make(
  way: str, examples: int | None, seed: int, workshop: Workshop
) -> dict[str, Any]:
  settings = workshop.settings
  extras = None
  if way != NONE:
    alpha = settings.mixing_alpha if way in (PIXELS, LOGITS) else None
    mix = functools.partial(
      half_mixed,
      _mixer(way, examples, seed, workshop),
      alpha,
      workshop.dataset().num_classes,
      seed,
    )
    extras = training.Extras(f"{way}, alpha {alpha}", mix=mix)
  name = "cnn_ordinary" if way == NONE else f"cnn_{way.replace(' ', '_')}"
  if examples is not None:
    name += f"_{examples}"
  classifier = classifiers.load(
    workshop.classifier(name, seed, extras=extras, examples=examples)
  )
  images, labels = workshop.test
  attacked = robustness.Attacked(classifier, images.shape[1:], settings.attack_steps)
  return {
    "clean": robustness.accuracy(classifier, images, labels),
    "calibration error": robustness.calibration_error(
      classifier.predict(images), labels
    ),
    "pgd": [
      attacked.accuracy("pgd", images, labels, epsilon) for epsilon in settings.epsilons
    ],
  }


def _mixer(way, examples, seed, workshop):
  """Function of (images, their partners, weights [b], numpy generator) -> images."""
  if way == PIXELS:
    return mixed_pixels
  if way == SHIFTS:
    return flipped_and_shifted
  few = "" if examples is None else f"_{examples}"
  teacher = workshop.classifier(f"cnn_ordinary{few}", seed, examples=examples)
  module = workshop.inverter(f"cnn_ordinary{few}", teacher, seed, examples)
  inverter = inversion.Inverter.load(module)
  return functools.partial(_decoded, inverter)


def mixed_pixels(
  images: np.ndarray,
  partners: np.ndarray,
  weights: np.ndarray,
  random: np.random.Generator,
) -> np.ndarray:
  """weights * images + (1 - weights) * partners, [b, h, w, c] and weights [b]."""
  weights = weights[:, None, None, None]
  return weights * images + (1.0 - weights) * partners


def flipped_and_shifted(
  images: np.ndarray,
  partners: np.ndarray,
  weights: np.ndarray,
  random: np.random.Generator,
) -> np.ndarray:
  """Images shifted by up to an eighth of their size with black behind them, every
  second one mirrored; partners and weights do not matter."""
  most = images.shape[1] // 8
  found = np.zeros_like(images)
  for target, image in zip(found, images):
    down, right = random.integers(-most, most + 1, 2)
    image = image[:, :: random.choice([-1, 1])]
    rows, columns = (_overlap(d, n) for d, n in zip((down, right), image.shape))
    target[rows[0], columns[0]] = image[rows[1], columns[1]]
  return found


def _overlap(by, size):
  """(slice of the target, slice of the source) of a shift `by` along an axis."""
  return slice(max(by, 0), size + min(by, 0)), slice(max(-by, 0), size - max(by, 0))


def _decoded(inverter, images, partners, weights, random):
  """Reconstructions of the weighted means of the images' and the partners' logits."""
  weights = weights[:, None]
  logits = weights * inverter.logits(images)
  logits += (1.0 - weights) * inverter.logits(partners)
  z = random.standard_normal([len(logits), inverter.z_dim]).astype(np.float32)
  return inverter.generate(logits, z)


def half_mixed(
  mixer: Callable[..., np.ndarray],
  alpha: float | None,
  classes: int,
  seed: int,
  images: np.ndarray,
  labels: np.ndarray,
  step: int,
) -> tuple[np.ndarray, np.ndarray]:
  """A batch whose second half is mixed, each image with one of the first half.

  Args:
    mixer: function of (images, their partners, weights of the images, generator) ->
      images.
    alpha: the weights are drawn from Beta(alpha, alpha); None: they are 1.
    classes: of the labels.
    seed, step: all that is drawn is a function of these.
    images: [b, h, w, c].
    labels: int [b].

  Returns:
    (images [b, h, w, c], targets [b, classes]): means of labels with the same weights.
  """
  random = np.random.default_rng([seed, step])
  half = len(images) // 2
  number = len(images) - half
  partners = random.integers(0, half, number)
  weights = np.ones(number) if alpha is None else random.beta(alpha, alpha, number)
  weights = weights.astype(np.float32)
  targets = np.eye(classes, dtype=np.float32)[labels]
  mixed = mixer(images[half:], images[partners], weights, random)
  mixed_targets = (
    weights[:, None] * targets[half:] + (1.0 - weights[:, None]) * targets[partners]
  )
  return (
    np.concatenate([images[:half], mixed]),
    np.concatenate([targets[:half], mixed_targets]),
  )


def answer(found: part_lib.Found, settings: Settings) -> part_lib.Answer:
  shown = settings.shown
  sizes = (settings.few_examples, None)
  none_of = {_arm(way, n): _arm(NONE, n) for n in sizes for way in WAYS}
  return part_lib.Answer(
    " ".join(_sentence(found, n) for n in sizes),
    (
      "trainings",
      "accuracy, %",
      "minus no augmentation, points",
      "expected calibration error, %",
      f"PGD {settings.shown_epsilon:g}, %",
      "PGD, minus no augmentation, points",
    ),
    {
      arm: (
        str(len(of_seed)),
        part_lib.percent(part_lib.over_seeds(found, arm, "clean")),
        part_lib.percent(part_lib.paired(found, arm, none_of[arm], "clean")),
        part_lib.percent(part_lib.over_seeds(found, arm, "calibration error")),
        part_lib.percent(part_lib.over_seeds(found, arm, "pgd", shown)),
        part_lib.percent(part_lib.paired(found, arm, none_of[arm], "pgd", shown)),
      )
      for arm, of_seed in found.items()
    },
    _curves(found, settings),
    (
      "The classifier is small and trained for few steps, and so is the inverter: better "
      "pictures could help more.",
      "The inverter's own training costs more than the classifier's, which no other "
      "augmentation does; the comparison is at equal steps of the classifier.",
      "With few images the inverter was trained on these alone, and may return them.",
    ),
  )


def _sentence(found, examples):
  where = f"With {'all' if examples is None else examples} training images"
  wins = {
    other: part_lib.paired(
      found, _arm(LOGITS, examples), _arm(other, examples), "clean"
    )
    for other in (NONE, PIXELS, SHIFTS)
  }
  if wins[NONE] is None:
    return f"{where}: not measured yet."
  words = {"larger": "raise", "smaller": "lower"}
  verb = words.get(part_lib.outcome(wins[NONE]), "do not surely change")
  return (
    f"{where}, decoded mixed logits {verb} the accuracy: "
    f"{part_lib.percent(wins[NONE])} points against no augmentation, "
    f"{part_lib.percent(wins[PIXELS])} against mixed pixels, "
    f"{part_lib.percent(wins[SHIFTS])} against flips and shifts."
  )


def _curves(found, settings):
  """Accuracy under attack for each number of images."""
  return tuple(
    common.Curves(
      f"accuracy_under_pgd_{'all' if examples is None else examples}",
      f"Accuracy under projected gradient descent, "
      f"{'all' if examples is None else examples} training images.",
      settings.epsilons,
      {
        way: part_lib.series(found, _arm(way, examples), "pgd")
        for way in WAYS
        if _arm(way, examples) in found
      },
      "epsilon, L-infinity, of the image range [0, 1]",
      "accuracy",
      log_x=True,
    )
    for examples in (settings.few_examples, None)
    if _arm(NONE, examples) in found
  )
