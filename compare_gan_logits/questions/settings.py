"""Sizes of the questions' trainings, which gin binds as `questions.*`."""

from __future__ import annotations

import dataclasses

import gin

from compare_gan_logits import configuration
from compare_gan_logits.classifiers import small_networks
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


@gin.configurable("questions")
@dataclasses.dataclass(frozen=True)
class Settings:
  """What all questions share; gin_configs/questions.gin says why.

  Attributes:
    dataset: name of the image set.
    seeds: one training of everything for each; three give intervals.
    classifier_steps: updates of a classifier, of any kind.
    inverter_config: gin file of the inverters.
    inverter_steps: generator updates of an inverter.
    baseline_config: gin file of the method of Dosovitskiy & Brox.
    baseline_steps: its updates, which take longer.
    decoder_steps: updates of the small decoder that measures what vectors hold.
    images: test images that are measured.
    perceptual_images: of these, those that LPIPS is measured on, which takes longest.
    epsilons: radii of the attacks, L-infinity, in units of the image range.
    shown_epsilon: the radius that sentences and tables give.
    attack_steps: of projected gradient descent.
    invertible_weights: of the decoder's pixel error beside the cross-entropy.
    few_examples: training images where there are few.
    mixing_alpha: of the Beta distribution that mixing coefficients are drawn from.
    networks: kinds of network that are compared.
  """

  dataset: str = "embedded"
  seeds: tuple = (0, 1, 2)
  classifier_steps: int = 600
  inverter_config: str = "questions_inverter.gin"
  inverter_steps: int = 600
  baseline_config: str = "quickstart_dosovitskiy_brox.gin"
  baseline_steps: int = 215
  decoder_steps: int = 800
  images: int = 500
  perceptual_images: int = 250
  epsilons: tuple = (0.01, 0.025, 0.05, 0.1, 0.2)
  shown_epsilon: float = 0.025
  attack_steps: int = 10
  invertible_weights: tuple = (1.0, 10.0, 100.0)
  few_examples: int = 1200
  mixing_alpha: float = 1.0
  networks: tuple = ("cnn", "resnet", "mixer", "vit")

  def __post_init__(self) -> None:
    for name in ("seeds", "epsilons", "invertible_weights", "networks"):
      if not getattr(self, name):
        raise UserError(f"questions.{name} is empty; bind at least one value")
    for path in (self.inverter_config, self.baseline_config):
      configuration.find(path)  # before classifiers are trained for it
    if self.shown_epsilon not in self.epsilons:
      raise UserError(
        f"questions.shown_epsilon is {self.shown_epsilon}; it must be one of "
        f"questions.epsilons, {self.epsilons}"
      )
    for name in set(self.networks) - set(small_networks.KINDS):
      raise UserError(
        f"questions.networks: {name!r}: {nearest(str(name), small_networks.KINDS)}"
      )

  @property
  def shown(self) -> int:
    """Place of shown_epsilon among the epsilons."""
    return self.epsilons.index(self.shown_epsilon)
