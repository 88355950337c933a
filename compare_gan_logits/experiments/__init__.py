"""The experiments: one module per question, all of the form that common.py describes.

`EXPERIMENTS` lists them in the order of the report. Each is imported when it is needed;
from Python: `from compare_gan_logits.experiments import comparison`.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


# Of what they measure and state: raise it when any does otherwise than before. What an
# earlier version has finished is then made again.
VERSION = 2

EXPERIMENTS = (
  "comparison",
  "baselines",
  "noise_resampling",
  "noise_interpolation",
  "logit_interpolation",
  "misclassified",
  "adversarial",
  "logit_manipulation",
  "class_spread",
  "out_of_distribution",
  "iterative_stability",
  "brightness_sharpness",
  "rotation",
  "mixup",
  "best_of_samples",
  "logit_content",
  "memorisation",
  "directions",
  "optimisation",
)


def get(name: str) -> Any:
  """The experiment's module.

  Raises:
    UserError: there is none of that name.
  """
  if name not in EXPERIMENTS:
    raise UserError(f"no experiment {name!r}: {nearest(name, EXPERIMENTS)}")
  return importlib.import_module(f"compare_gan_logits.experiments.{name}")


def settings_of(experiment: Any, limit: int | None = None) -> Any:
  """The experiment's settings, gin applied; at most `limit` images if that is given."""
  settings = experiment.Settings()
  if limit is None:
    return settings
  return dataclasses.replace(settings, images=min(settings.images, limit))
