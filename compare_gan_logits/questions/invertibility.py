"""Does what is easier to invert become more robust? (Section 6 of the paper.)

A classifier is trained with an extra loss: the pixel error of a decoder that sees its
logits, or its last hidden layer, and is trained along. Nothing attacks it in training.
What its outputs then hold is measured by another decoder, which is trained afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow.compat.v1 as tf

from compare_gan_logits import classifiers
from compare_gan_logits.classifiers import training
from compare_gan_logits.experiments import common
from compare_gan_logits.questions import decoders
from compare_gan_logits.questions import parts as part_lib
from compare_gan_logits.questions import robustness
from compare_gan_logits.questions.parts import ADVERSARIAL
from compare_gan_logits.questions.parts import ORDINARY
from compare_gan_logits.questions.settings import Settings
from compare_gan_logits.questions.workshop import Workshop


TITLE = "Does invertibility make a classifier robust?"
QUESTION = (
  "If robust classifiers result in more invertible features, is it also true that "
  "invertible features result in more robust classifiers?"
)
LAYERS = ("logits", "features")
DEPENDS_ON = (
  "dataset",
  "classifier_steps",
  "decoder_steps",
  "images",
  "perceptual_images",
  "epsilons",
  "attack_steps",
)
_SURROGATE_SEED = 1000


def parts(settings: Settings) -> list[part_lib.Part]:
  """All seeds without and with the largest weight first, then the other weights."""
  arms = _arms(settings)
  first = [ORDINARY, *_heaviest(settings), ADVERSARIAL]
  rest = [arm for arm in arms if arm not in first]
  return [
    part_lib.Part(arm, seed, functools.partial(_make, arm, arms[arm], seed))
    for group in (first, rest)
    for seed in settings.seeds
    for arm in group
  ]


def _heaviest(settings: Settings) -> list[str]:
  """The arms with the largest weight, which sentences and figures show."""
  return [f"{layer}, weight {max(settings.invertible_weights):g}" for layer in LAYERS]


def _arms(settings: Settings) -> dict[str, training.Extras | None]:
  """{arm: its extra loss}."""
  arms: dict[str, training.Extras | None] = {ORDINARY: None, ADVERSARIAL: None}
  for layer in LAYERS:
    for weight in settings.invertible_weights:
      arms[f"{layer}, weight {weight:g}"] = invertible(layer, weight)
  return arms


def invertible(layer: str, weight: float) -> training.Extras:
  """The extra loss: weight times a decoder's mean squared error of pixels.

  layer: "logits" or "features".
  """

  def loss(images: tf.Tensor, outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    with tf.variable_scope("decoder"):
      pictures = decoders.convolutional(outputs[layer], images.shape.as_list()[1:])
    return weight * tf.reduce_mean(tf.square(pictures - images))

  return training.Extras(f"decoder of {layer}, weight {weight:g}", loss)


def _make(
  arm: str, extras: training.Extras | None, seed: int, workshop: Workshop
) -> dict[str, Any]:
  settings = workshop.settings
  folder = workshop.classifier(
    f"cnn_{arm}".replace(", weight ", "_"),
    seed,
    robust=arm == ADVERSARIAL,
    extras=extras,
  )
  classifier = classifiers.load(folder)
  images, labels = workshop.test
  attacked = robustness.Attacked(classifier, images.shape[1:], settings.attack_steps)
  logits = classifier.predict(images)
  numbers: dict[str, Any] = {
    "clean": robustness.accuracy(classifier, images, labels),
    "calibration error": robustness.calibration_error(logits, labels),
  }
  for attack in ("fgsm", "pgd"):
    numbers[attack] = [
      attacked.accuracy(attack, images, labels, epsilon)
      for epsilon in settings.epsilons
    ]
  numbers["transfer"] = [
    robustness.accuracy(classifier, moved, labels) for moved in _transferred(workshop)
  ]
  for layer in LAYERS:
    held = workshop.held(folder, layer, seed)
    numbers.update({f"{layer} {name}": value for name, value in held.items()})
  return numbers


def _transferred(workshop):
  """Images attacked by PGD on a classifier of its own seed, one set for each epsilon."""
  if "transferred" not in workshop.kept:
    settings = workshop.settings
    path = workshop.classifier("cnn_surrogate", _SURROGATE_SEED)
    images, labels = workshop.test
    surrogate = robustness.Attacked(
      classifiers.load(path), images.shape[1:], settings.attack_steps
    )
    workshop.kept["transferred"] = [
      surrogate.images("pgd", images, labels, epsilon) for epsilon in settings.epsilons
    ]
  return workshop.kept["transferred"]


def answer(found: part_lib.Found, settings: Settings) -> part_lib.Answer:
  shown = settings.shown
  trained_so = [arm for arm in _arms(settings) if arm not in (ORDINARY, ADVERSARIAL)]
  gains = {
    arm: part_lib.paired(found, arm, ORDINARY, "pgd", shown)
    for arm in (*trained_so, ADVERSARIAL)
  }
  return part_lib.Answer(
    _sentence(found, settings, trained_so, gains),
    (
      "trainings",
      "accuracy, %",
      f"FGSM {settings.shown_epsilon:g}, %",
      f"PGD {settings.shown_epsilon:g}, %",
      "PGD, minus ordinary, points",
      f"transfer {settings.shown_epsilon:g}, %",
      "pixel error from logits, 1e-3",
      "LPIPS from logits",
      "pixel error from features, 1e-3",
    ),
    {
      arm: (
        str(len(of_seed)),
        part_lib.percent(part_lib.over_seeds(found, arm, "clean")),
        *(
          part_lib.percent(part_lib.over_seeds(found, arm, attack, shown))
          for attack in ("fgsm", "pgd")
        ),
        part_lib.percent(gains.get(arm)),
        part_lib.percent(part_lib.over_seeds(found, arm, "transfer", shown)),
        part_lib.text(part_lib.over_seeds(found, arm, "logits error"), 2, 1e3),
        part_lib.text(part_lib.over_seeds(found, arm, "logits lpips")),
        part_lib.text(part_lib.over_seeds(found, arm, "features error"), 2, 1e3),
      )
      for arm, of_seed in found.items()
    },
    _curves(found, settings),
    (
      "One small convolutional network, one image set and short trainings: the answer is "
      "theirs.",
      f"{len(trained_so)} ways are compared with ordinary training, each at 95 %, without a "
      "correction for their number.",
      "Transferred attacks come from one ordinary network of the same kind.",
      "The decoders minimise the squared error of pixels, which is one meaning of "
      "invertible among several.",
      *_masking(found, settings),
    ),
  )


def _sentence(found, settings, trained_so, gains):
  """The answer in one sentence; no arm is chosen by its result."""
  known = {arm: gains[arm] for arm in trained_so if gains[arm] is not None}
  if not known:
    return (
      "Not answered yet: no seed has both an ordinary and an invertible classifier."
    )
  more = [arm for arm in known if part_lib.outcome(known[arm]) == "larger"]
  less = [arm for arm in known if part_lib.outcome(known[arm]) == "smaller"]
  heaviest = [arm for arm in _heaviest(settings) if arm in known]
  opening = (
    "Yes, in some"
    if more and len(more) < len(known)
    else "Yes"
    if more
    else "Not shown"
  )
  changes = "; ".join(
    f"{arm}: {part_lib.percent(known[arm])} points" for arm in heaviest
  )
  return (
    f"{opening}: of {len(known)} ways of training for invertible outputs, {len(more)} "
    f"raise and {len(less)} lower the accuracy under PGD (epsilon "
    f"{settings.shown_epsilon:g}) by the interval over trainings. At the heaviest weight "
    f"the changes are {changes}; adversarial training changes it by "
    f"{part_lib.percent(gains[ADVERSARIAL])} points."
  )


def _masking(found, settings):
  """Says where a transferred attack is stronger than the attack on the network itself."""
  masked = [
    f"{arm} at epsilon {epsilon:g}"
    for arm in found
    for place, epsilon in enumerate(settings.epsilons)
    if part_lib.over_seeds(found, arm, "transfer", place).value
    < part_lib.over_seeds(found, arm, "pgd", place).value
  ]
  if masked:
    return (
      "Gradients may be masked where transferred attacks do more harm than PGD: "
      f"{', '.join(masked)}.",
    )
  return (
    "No sign of masked gradients: for no arm and epsilon do transferred attacks do more "
    "harm than PGD on the network itself.",
  )


def _curves(found, settings):
  chosen = [
    arm for arm in (ORDINARY, *_heaviest(settings), ADVERSARIAL) if arm in found
  ]
  return tuple(
    common.Curves(
      f"accuracy_under_{name}",
      f"Accuracy under {what}; bands are 95 % intervals over trainings.",
      settings.epsilons,
      {arm: part_lib.series(found, arm, name) for arm in chosen},
      "epsilon, L-infinity, of the image range [0, 1]",
      "accuracy",
      log_x=True,
    )
    for name, what in (
      ("pgd", "projected gradient descent"),
      ("transfer", "attacks transferred from another network"),
    )
  )
