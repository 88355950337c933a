"""Which kind of network keeps more of the picture in its logits? (Section 6.)

Convolutional and residual networks, an MLP-Mixer and a Vision Transformer of about equal
size, each trained ordinarily and adversarially, and an inverter for each.
"""

from __future__ import annotations

import functools
from typing import Any

from compare_gan_logits import classifiers
from compare_gan_logits import inversion
from compare_gan_logits.questions import parts as part_lib
from compare_gan_logits.questions import robustness
from compare_gan_logits.questions import workshop as workshop_lib
from compare_gan_logits.questions.parts import ADVERSARIAL
from compare_gan_logits.questions.parts import ORDINARY
from compare_gan_logits.questions.settings import Settings
from compare_gan_logits.questions.workshop import Workshop


TITLE = "Other architectures"
QUESTION = (
  "Which kind of network keeps more of the picture in its logits, at equal size and "
  "about equal accuracy?"
)
DEPENDS_ON = (
  "dataset",
  "classifier_steps",
  "inverter_config",
  "inverter_steps",
  "images",
  "perceptual_images",
  "epsilons",
  "attack_steps",
)


def parts(settings: Settings) -> list[part_lib.Part]:
  """All seeds of a kind of network before the next kind."""
  return [
    part_lib.Part(
      f"{network}, {way}", seed, functools.partial(_make, network, way, seed)
    )
    for network in settings.networks
    for seed in settings.seeds
    for way in (ORDINARY, ADVERSARIAL)
  ]


def judge_of(network: str) -> str:
  """The kind of network that judges an inverted one: never the same."""
  return "cnn" if network == "resnet" else "resnet"


def _make(network: str, way: str, seed: int, workshop: Workshop) -> dict[str, Any]:
  settings = workshop.settings
  name = f"{network}_{way}"
  folder = workshop.classifier(name, seed, network, robust=way == ADVERSARIAL)
  classifier = classifiers.load(folder)
  images, labels = workshop.test
  attacked = robustness.Attacked(classifier, images.shape[1:], settings.attack_steps)
  module = workshop.inverter(name, folder, seed)
  # Another kind, ordinarily trained from another seed, has no part in the inversion.
  judge = classifiers.load(workshop.judge(seed, judge_of(network)))
  pictures = inversion.Inverter.load(module).reconstruct(images, seed=seed)[:, 0]
  return {
    "clean": robustness.accuracy(classifier, images, labels),
    "pgd": [
      attacked.accuracy("pgd", images, labels, epsilon) for epsilon in settings.epsilons
    ],
    **workshop_lib.quality(images, pictures, settings.perceptual_images),
    "kept": workshop_lib.agreement(classifier, images, pictures),
    "kept by judge": workshop_lib.agreement(judge, images, pictures),
  }


def answer(found: part_lib.Found, settings: Settings) -> part_lib.Answer:
  return part_lib.Answer(
    _sentence(found, settings),
    (
      "trainings",
      "accuracy, %",
      f"PGD {settings.shown_epsilon:g}, %",
      "LPIPS",
      "SSIM",
      "class kept, %",
      "class kept, independent judge, %",
    ),
    {
      arm: (
        str(len(of_seed)),
        part_lib.percent(part_lib.over_seeds(found, arm, "clean")),
        part_lib.percent(part_lib.over_seeds(found, arm, "pgd", settings.shown)),
        part_lib.text(part_lib.over_seeds(found, arm, "lpips")),
        part_lib.text(part_lib.over_seeds(found, arm, "ssim")),
        part_lib.percent(part_lib.over_seeds(found, arm, "kept")),
        part_lib.percent(part_lib.over_seeds(found, arm, "kept by judge")),
      )
      for arm, of_seed in found.items()
    },
    _pictures(found, settings),
    (
      "All kinds have the same number of steps; transformers and mixers are known to want "
      "more steps and more images, and are behind in accuracy where they lack them.",
      f"The inverters have {settings.inverter_steps} steps of {settings.inverter_config}, "
      "whose pixel loss is not in the paper; longer training may change differences.",
    ),
  )


def _sentence(found, settings):
  """Robust against ordinary for each kind, and the kinds by LPIPS."""
  gains = {
    network: part_lib.paired(
      found, f"{network}, {ADVERSARIAL}", f"{network}, {ORDINARY}", "lpips"
    )
    for network in settings.networks
  }
  gains = {network: gain for network, gain in gains.items() if gain is not None}
  if not gains:
    return "Not answered yet: no kind has both trainings."
  closer = [n for n, gain in gains.items() if part_lib.outcome(gain) == "smaller"]
  changes = "; ".join(f"{n} {part_lib.text(gain)}" for n, gain in gains.items())
  best = min(found, key=lambda arm: part_lib.over_seeds(found, arm, "lpips").value)
  lpips = part_lib.text(part_lib.over_seeds(found, best, "lpips"))
  return (
    f"Of {len(found)} classifiers, {best} has the lowest mean LPIPS, {lpips}; "
    f"adversarial training brings reconstructions closer by the interval over trainings "
    f"for {len(closer)} of {len(gains)} kinds (LPIPS, adversarial minus ordinary: "
    f"{changes})."
  )


def _pictures(found, settings):
  """LPIPS over accuracy and over accuracy under attack: a point for each arm."""
  lpips = {arm: part_lib.over_seeds(found, arm, "lpips") for arm in found}
  axes = {
    "accuracy": ("clean", None, "accuracy"),
    "robust_accuracy": (
      "pgd",
      settings.shown,
      f"accuracy under PGD, epsilon {settings.shown_epsilon:g}",
    ),
  }
  return tuple(
    part_lib.Points(
      f"lpips_over_{file}",
      f"LPIPS of reconstructions over {label}; bars are 95 % intervals over trainings.",
      {
        arm: (part_lib.over_seeds(found, arm, name, place), lpips[arm]) for arm in found
      },
      label,
      "LPIPS (lower is closer)",
    )
    for file, (name, place, label) in axes.items()
  )
