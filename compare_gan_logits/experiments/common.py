"""What every experiment gives back: measures, verdicts, and values for figures.

An experiment is a module with TITLE, SECTION (of the paper), QUESTION, a frozen
dataclass `Settings` and a function `run(inverters, data, settings) -> Result`:

  inverters: {label: inversion.Inverter}, in the order of the columns.
  data: data.Data, the images and what is known of them.
  settings: its Settings; the defaults are the paper's constants.

A Result holds arrays and figure-ready values. Statistics are in estimates.py, outcomes
of statements in verdicts.py, roles of classifiers in roles.py; drawing and writing are
elsewhere.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import gin
import numpy as np
import numpy.typing as npt

from compare_gan_logits import figures
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments.estimates import Estimate
from compare_gan_logits.experiments.verdicts import Verdict


_Settings = TypeVar("_Settings")


@dataclasses.dataclass(frozen=True)
class Measure:
  """A number of a table.

  Attributes:
    name: what it is.
    model: label of the module.
    estimate: the number.
    paper: the paper's value, or None.
    headline: column of the table that opens the report; "": it is not shown there.
  """

  name: str
  model: str
  estimate: Estimate
  paper: float | None = None
  headline: str = ""


@dataclasses.dataclass(frozen=True)
class Grid:
  """Arguments of figures.grid, with the name of its file and its caption.

  opening: whether the report opens with it.
  """

  name: str
  caption: str
  images: Sequence[Sequence[Any]]
  row_labels: Sequence[str] | None = None
  column_labels: Sequence[str] | None = None
  cell_labels: Sequence[Sequence[str]] | None = None
  opening: bool = False


def columns(
  name: str, caption: str, pictures: Sequence[tuple[str, Any]], shown: int
) -> Grid:
  """A Grid with a row for each of the first `shown` images.

  Args:
    name, caption: as Grid's.
    pictures: (heading, images [n, h, w, c]) of each column.
    shown: how many rows at most.
  """
  headings, images = zip(*pictures)
  return Grid(name, caption, list(zip(*(i[:shown] for i in images))), None, headings)


@dataclasses.dataclass(frozen=True)
class Curves:
  """Arguments of figures.curves, with the name of its file and its caption."""

  name: str
  caption: str
  x: Any
  series: dict[str, Any]
  x_label: str
  y_label: str
  mark: float | None = None
  log_x: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
  """What an experiment found.

  Attributes:
    measures: tuple of Measure.
    verdicts: tuple of Verdict.
    pictures: tuple of Grid and Curves.
    arrays: {name: array}, everything that the figures and numbers are made from.
    costs: {name: seconds}; the only values that differ between two runs.
    notes: tuple of sentences.
  """

  measures: tuple[Measure, ...] = ()
  verdicts: tuple[Verdict, ...] = ()
  pictures: tuple[Grid | Curves, ...] = ()
  arrays: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
  costs: dict[str, float] = dataclasses.field(default_factory=dict[str, float])
  notes: tuple[str, ...] = ()

  def summary(self) -> dict[str, dict[str, Any]]:
    """{measure: {model: {value, low, high, n[, paper]}}}, JSON-able."""
    table: dict[str, dict[str, Any]] = {}
    for measure in self.measures:
      entry = measure.estimate.to_json()
      if measure.paper is not None:
        entry["paper"] = measure.paper
      table.setdefault(measure.name, {})[measure.model] = entry
    return table

  def headlines(self) -> dict[str, str]:
    """{column of the report's first table: measure}, in the order of the measures."""
    return {m.headline: m.name for m in self.measures if m.headline}

  def findings(self) -> list[dict[str, Any]]:
    """The verdicts, JSON-able."""
    return [
      {
        "statement": v.statement,
        "section": v.section,
        "outcome": v.outcome,
        "evidence": v.evidence.to_json(),
        "evidence_is": v.evidence_is,
        "group": v.group,
        "margin": v.margin,
      }
      for v in self.verdicts
    ]


def configurable(name: str) -> Callable[[type[_Settings]], type[_Settings]]:
  """Lets gin bind an experiment's Settings, as `experiments.<name>`."""
  decorate: Any = gin.configurable(name, module="experiments")
  return decorate


def check_rising(name: str, values: Sequence[float], fewest: int) -> None:
  """Raises UserError where a setting has fewer values, or they do not rise."""
  if len(values) < fewest or any(not b > a for a, b in zip(values, values[1:])):
    raise UserError(
      f"{name} is {tuple(values)}; it must be a list of {fewest} or more numbers that rise"
    )


def generator(seed: int, key: str) -> np.random.Generator:
  """A random generator of its own for every seed and purpose."""
  return np.random.default_rng([seed, zlib.crc32(key.encode())])


def stacked(arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
  """{name: {label: array}} -> {"name/label": array}, as an npz holds it."""
  return {
    f"{name}/{label}": np.asarray(value)
    for name, of_label in arrays.items()
    for label, value in of_label.items()
  }


def blocks(name: str, caption: str, stacks: Sequence[Sequence[Any]]) -> Grid:
  """A Grid of one near-square block for each list of images, side by side."""
  shaped = [figures.near_square(list(images)) for images in stacks]
  rows: list[list[Any]] = []
  for row in range(len(shaped[0])):
    line: list[Any] = []
    for block in shaped:
      line += [*block[row], *[None] * (len(block[0]) - len(block[row])), None]
    rows.append(line[:-1])
  return Grid(name, caption, rows)
