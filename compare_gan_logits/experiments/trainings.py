"""One comparison from the reports of several trainings, with intervals over trainings.

`reproduce` measures the modules of one training with each label and gives intervals over
images. Here the same labels in several reports are trainings that differ in their seeds:
every number gets its mean and its t interval over trainings, beside the widest of its
intervals over images. Where a statement holds for the images of each training but its
interval over trainings has zero in it, what was seen may be chance of training.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from compare_gan_logits import files
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import verdicts
from compare_gan_logits.experiments.estimates import Estimate


RESULTS = "results.json"
# What all reports must have alike; the fingerprints tell images, however a set is called.
SAME = ("version", "split", "fingerprint", "training_fingerprint", "seed", "limit")


@dataclasses.dataclass(frozen=True)
class Line:
  """A number over trainings.

  Attributes:
    experiment: its name.
    what: the measure, or the statement and what its evidence measures.
    model: label of the module; "" for a statement.
    trainings: mean and t interval over trainings.
    images: the widest interval over images of any training, (low, high).
    outcomes: of a statement, one for each training by its interval over images; else ().
    margin: of a statement that something is negligible, the mean over trainings.
  """

  experiment: str
  what: str
  model: str
  trainings: Estimate
  images: tuple[float, float]
  outcomes: tuple[str, ...] = ()
  margin: float | None = None

  @property
  def outcome(self) -> str:
    """Of a statement, by the interval over trainings."""
    return verdicts.judge(self.trainings, self.margin)

  @property
  def hides(self) -> bool:
    """Whether images decide a statement, every time alike, and trainings do not."""
    alike = len(set(self.outcomes)) == 1 and verdicts.OPEN not in self.outcomes
    return alike and self.outcome == verdicts.OPEN


def read(folders: Sequence[str]) -> list[dict[str, Any]]:
  """results.json of several reports.

  Raises:
    UserError: there are fewer than two, one is missing, or two have the same module.
  """
  if len(folders) < 2:
    raise UserError("name at least two reports; one says nothing of other trainings")
  found = [_read(folder) for folder in folders]
  seen: dict[str, str] = {}
  for folder, report in zip(folders, found):
    modules = report["run"]["modules"]
    for label, module in modules.items():
      path = module["path"]
      if path in seen:
        raise UserError(
          f"{folder} and {seen[path]} are both of {path} ({label}); each report must be "
          "of trainings of its own"
        )
    # One report may well have a module under two labels, with two classifiers.
    seen.update((module["path"], folder) for module in modules.values())
  return found


def _read(folder: str) -> dict[str, Any]:
  path = os.path.join(folder, RESULTS)
  if not files.is_file(path):
    raise UserError(
      f"{folder} has no {RESULTS}: it is no report; make one with compare-gan-logits "
      f"reproduce --output {folder}"
    )
  report = files.read_json(path)
  if not _is_report(report):
    raise UserError(
      f"{path} is damaged, or of an earlier version; make the report again with "
      "compare-gan-logits reproduce"
    )
  return report


def _is_report(content: Any) -> bool:
  """Whether the content of a results.json has what the comparison reads first."""
  try:
    modules = content["run"]["modules"].values()
    return (
      set(SAME) <= set(content["run"])
      and all(isinstance(module["path"], str) for module in modules)
      and isinstance(content["experiments"], dict)
    )
  except (AttributeError, KeyError, TypeError):
    return False


def summarise(reports: Sequence[Mapping[str, Any]]) -> list[Line]:
  """Numbers and statements that all reports have, in the first report's order.

  Args:
    reports: what results.json of each holds, of the same labels and data.

  Raises:
    UserError: the reports were made of other images, or with other settings, or have
      nothing in common.
  """
  for fact in SAME:
    values = {repr(report["run"][fact]) for report in reports}
    if len(values) > 1:
      raise UserError(
        f"the reports differ in {fact} ({', '.join(sorted(values))}); make them on the "
        "same images"
      )
  lines = []
  for name in reports[0]["experiments"]:
    parts = [r["experiments"][name] for r in reports if name in r["experiments"]]
    if len(parts) == len(reports):
      _check_settings(name, parts)
      lines += [*_measures(name, parts), *_statements(name, parts)]
  if not lines:
    labels = {", ".join(report["run"]["modules"]) for report in reports}
    raise UserError(
      "the reports have no number in common; make them with the same experiments and "
      f"the same labels of --module (theirs are {'; '.join(sorted(labels))})"
    )
  return lines


def _check_settings(name, parts):
  for key in parts[0]["settings"]:
    values = {repr(part["settings"].get(key)) for part in parts}
    if len(values) > 1:
      raise UserError(
        f"the reports differ in {name}.{key} ({', '.join(sorted(values))}); make them "
        "with the same settings"
      )


def _measures(name, parts):
  for measure, models in parts[0]["summary"].items():
    for model in models:
      entries = [part["summary"].get(measure, {}).get(model) for part in parts]
      # A share of no images has no value.
      if all(entry and entry["value"] is not None for entry in entries):
        yield _line(name, measure, model, entries)


def _statements(name, parts):
  tables = [{v["statement"]: v for v in part["verdicts"]} for part in parts]
  for statement, verdict in tables[0].items():
    if all(statement in table for table in tables):
      found = [table[statement] for table in tables]
      # A statement about no images, in a report of an earlier version, has no evidence.
      if any(v["evidence"]["value"] is None for v in found):
        continue
      margins = [v["margin"] for v in found]
      margin = None if None in margins else float(np.mean(margins))
      yield _line(
        name,
        f"{statement} ({verdicts.evidence(verdict['evidence_is'], margin)})",
        "",
        [v["evidence"] for v in found],
        tuple(v["outcome"] for v in found),
        margin,
      )


def _line(name, what, model, entries, outcomes=(), margin=None):
  widest = max(entries, key=lambda entry: entry["high"] - entry["low"])
  return Line(
    name,
    what,
    model,
    estimates.over_trainings([entry["value"] for entry in entries]),
    (widest["low"], widest["high"]),
    outcomes,
    margin,
  )


def text(lines: Sequence[Line], number: int) -> str:
  """The lines as Markdown: statements first, then numbers."""
  parts = [
    f"# Over {number} trainings\n",
    f"Means of {number} trainings that differ in their seeds, with 95 % t intervals over "
    "trainings; beside them the widest 95 % interval over images of any training.\n",
    "| statement | over trainings | over images | outcome | of each training |",
    "|---|---|---|---|---|",
  ]
  for line in lines:
    if line.outcomes:
      outcome = line.outcome + (": images alone would decide it" if line.hides else "")
      parts.append(
        f"| {line.what} | {_interval(line.trainings)} | {_pair(line.images)} | {outcome} "
        f"| {', '.join(line.outcomes)} |"
      )
  parts += [
    "",
    "| number | module | over trainings | over images |",
    "|---|---|---|---|",
  ]
  parts += [
    f"| {line.what} | {line.model} | {_interval(line.trainings)} | {_pair(line.images)} |"
    for line in lines
    if not line.outcomes
  ]
  return "\n".join(parts) + "\n"


def _interval(estimate):
  return f"{estimate.value:.4g} {_pair((estimate.low, estimate.high))}"


def _pair(interval):
  return f"[{interval[0]:.4g}, {interval[1]:.4g}]"
