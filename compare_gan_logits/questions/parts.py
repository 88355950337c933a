"""What a question consists of, what it is answered with, and numbers over trainings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments.estimates import Estimate


ORDINARY, ADVERSARIAL = "ordinary", "adversarial"  # ways to train a classifier

# {arm: {seed: {name of a number: number or list of numbers}}}
Found = Mapping[str, Mapping[int, Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Part:
  """One training, or a few, and what is measured of it.

  Attributes:
    arm: what is compared with other arms.
    seed: of the training.
    make: function of a workshop.Workshop -> {name: number or list of numbers}.
  """

  arm: str
  seed: int
  make: Callable[[Any], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Points:
  """A figure with a point for each arm: {label: (Estimate of x, Estimate of y)}."""

  name: str
  caption: str
  series: Mapping[str, tuple[Estimate, Estimate]]
  x_label: str
  y_label: str


@dataclasses.dataclass(frozen=True)
class Answer:
  """What a question's parts say.

  Attributes:
    sentence: the answer, with its number and interval.
    columns: of the table.
    rows: {arm: a text for each column}.
    pictures: figures.
    objections: what a critical reader would say, a sentence each.
  """

  sentence: str
  columns: Sequence[str]
  rows: Mapping[str, Sequence[str]]
  pictures: Sequence[common.Curves | Points] = ()
  objections: Sequence[str] = ()


def over_seeds(found: Found, arm: str, name: str, place: int | None = None) -> Estimate:
  """Mean of a number over an arm's trainings, with its t interval.

  Args:
    found: of the parts.
    arm: whose trainings.
    name: of the number.
    place: in a list of numbers; None: it is a single one.
  """
  return estimates.over_trainings(list(_values(found, arm, name, place).values()))


def paired(
  found: Found, arm: str, other: str, name: str, place: int | None = None
) -> Estimate | None:
  """Mean over seeds of arm minus other, with its t interval over trainings.

  Trainings of one seed have the same first weights and order of images, where their
  networks are the same. None where no seed has both.
  """
  a, b = (_values(found, x, name, place) for x in (arm, other))
  both = [seed for seed in a if seed in b]
  if not both:
    return None
  return estimates.over_trainings([a[seed] - b[seed] for seed in both])


def _values(found, arm, name, place):
  return {
    seed: numbers[name] if place is None else numbers[name][place]
    for seed, numbers in found.get(arm, {}).items()
    if name in numbers
  }


def outcome(difference: Estimate | None) -> str:
  """ "larger", "smaller" or "not decided", by the interval over trainings."""
  if difference is None or not difference.low * difference.high > 0:
    return "not decided"
  return "larger" if difference.low > 0 else "smaller"


def text(estimate: Estimate | None, digits: int = 3, scale: float = 1.0) -> str:
  """ "mean [low, high]"; of one training the number alone, "-" for None."""
  if estimate is None:
    return "-"
  value, low, high = (
    f"{scale * x:.{digits}f}" for x in (estimate.value, estimate.low, estimate.high)
  )
  return f"{value} [{low}, {high}]" if estimate.n > 1 else f"{value} (one training)"


def percent(estimate: Estimate | None) -> str:
  """A fraction as `text` has it, in per cent."""
  return text(estimate, 1, 100.0)


def series(found: Found, arm: str, name: str) -> tuple[np.ndarray, ...]:
  """(mean [m], low [m], high [m]) over trainings of a list of m numbers, for curves.

  Where there is one training the band has no width, as it is not known.
  """
  lists = np.array(
    [numbers[name] for numbers in found[arm].values() if name in numbers]
  )
  band = [estimates.over_trainings(column) for column in lists.T]
  if len(lists) == 1:
    return (lists[0],) * 3
  return estimates.band(band)
