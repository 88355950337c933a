"""The headline comparisons over several trainings, judged independently.

For each seed a robust and a standard classifier, an inverter for each and the method of
Dosovitskiy & Brox for the robust one are trained; the experiments named below measure
them, with a judge of another kind of network that had no part in any. Each seed's report
is kept, so that `compare-gan-logits trainings` can put them together as well.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from compare_gan_logits import classifiers
from compare_gan_logits import experiments
from compare_gan_logits import files
from compare_gan_logits import inversion
from compare_gan_logits import report
from compare_gan_logits.experiments import data as data_lib
from compare_gan_logits.experiments import study
from compare_gan_logits.experiments import trainings
from compare_gan_logits.experiments import verdicts
from compare_gan_logits.questions import parts as part_lib
from compare_gan_logits.questions.settings import Settings
from compare_gan_logits.questions.workshop import Workshop


TITLE = "Several trainings, an independent judge, and memory"
QUESTION = (
  "Do robust against standard classifiers, and this method against that of Dosovitskiy & "
  "Brox, differ by more than another training would, what does an independent judge say, "
  "and are training images returned?"
)
EXPERIMENTS = ("comparison", "logit_content", "memorisation")
for _name in EXPERIMENTS:
  experiments.get(_name)  # now: gin takes no new names once it has read its files
DEPENDS_ON = (
  "dataset",
  "classifier_steps",
  "inverter_config",
  "inverter_steps",
  "baseline_config",
  "baseline_steps",
  "images",
)
_MODULES = "three modules"


def parts(settings: Settings) -> list[part_lib.Part]:
  return [
    part_lib.Part(_MODULES, seed, functools.partial(_make, seed))
    for seed in settings.seeds
  ]


def _make(seed: int, workshop: Workshop) -> dict[str, Any]:
  settings = workshop.settings
  of_role = {
    "robust": workshop.classifier("cnn_adversarial", seed, robust=True),
    "standard": workshop.classifier("cnn_ordinary", seed),
  }
  modules = {
    "robust": workshop.inverter("cnn_adversarial", of_role["robust"], seed),
    "standard": workshop.inverter("cnn_ordinary", of_role["standard"], seed),
    "dosovitskiy_brox": workshop.baseline(of_role["robust"], seed),
  }
  inverters = {
    label: inversion.Inverter.load(module) for label, module in modules.items()
  }
  judge = classifiers.load(workshop.judge(seed))
  data = data_lib.Data(workshop.dataset(), judge=judge)
  folder = os.path.join(workshop.folder, "reports", str(seed))
  limit = settings.images
  done = study.run(EXPERIMENTS, inverters, data, folder, limit, workshop.log)
  setting = study.describe(inverters, data, limit)
  study.write_results(done, setting, folder)
  report.write(done, setting, folder)
  return files.read_json(os.path.join(folder, trainings.RESULTS))


def answer(found: part_lib.Found, settings: Settings) -> part_lib.Answer:
  reports = list(found[_MODULES].values())
  lines = trainings.summarise(reports)
  statements = [line for line in lines if line.outcomes]
  return part_lib.Answer(
    _sentence(statements, len(reports)),
    ("over trainings", "widest interval over images", "outcome", "of each training"),
    {**_numbers(lines), **_outcomes(statements)},
    objections=(
      f"The inverters have {settings.inverter_steps} steps of {settings.inverter_config} "
      f"and the baseline {settings.baseline_steps} of {settings.baseline_config}, which "
      "take about as long; with the pixel loss the method is not the paper's alone.",
      "In `logit_content` the inverter of full logits decodes reduced ones; the question "
      "before asks decoders that are trained for them.",
    ),
  )


def _sentence(statements, number):
  count = {
    outcome: sum(line.outcome == outcome for line in statements)
    for outcome in (verdicts.HOLDS, verdicts.FAILS, verdicts.OPEN)
  }
  hidden = sum(line.hides for line in statements)
  said = ", ".join(f"{count[outcome]} {outcome}" for outcome in count)
  return (
    f"Over {number} training{'s' if number > 1 else ''}, of {len(statements)} statements "
    f"{said}; for {hidden} the images of every training alone would have decided what "
    "trainings leave open."
  )


def _outcomes(statements):
  return {
    line.what: (
      part_lib.text(line.trainings),
      f"[{line.images[0]:.3f}, {line.images[1]:.3f}]",
      line.outcome + (": images alone would have decided" if line.hides else ""),
      ", ".join(line.outcomes),
    )
    for line in statements
  }


def _numbers(lines) -> Mapping[str, tuple[str, ...]]:
  """The numbers of the first table of a report, and the judge's."""
  wanted = ("LPIPS (", "SSIM (", "class of the original kept")
  return {
    f"{line.what}, {line.model}": (
      part_lib.text(line.trainings),
      f"[{line.images[0]:.3f}, {line.images[1]:.3f}]",
      "",
      "",
    )
    for line in lines
    if line.experiment == "comparison" and line.what.startswith(wanted)
  }
