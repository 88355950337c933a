"""What every experiment gives back, and the statistics that all of them share.

An experiment is a module with TITLE, SECTION (of the paper), QUESTION, a frozen
dataclass `Settings` and a function `run(inverters, data, settings) -> Result`:

  inverters: {label: inversion.Inverter}, in the order of the columns.
  data: data.Data, the images and what is known of them.
  settings: its Settings; the defaults are the paper's constants.

A Result holds arrays and figure-ready values. Drawing and writing are elsewhere.
"""

import dataclasses
import zlib
from typing import Any
from typing import Optional

import numpy as np

from compare_gan_logits import figures
from compare_gan_logits.metrics import statistics


HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number with its sample size and its 95 % interval."""

  value: float
  low: float
  high: float
  n: int

  def to_json(self):
    return {
      "value": significant(self.value),
      "low": significant(self.low),
      "high": significant(self.high),
      "n": self.n,
    }

  def __str__(self):
    return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}], n = {self.n}"


@dataclasses.dataclass(frozen=True)
class Measure:
  """A number of a table: what it is, of which model, and the paper's value."""

  name: str
  model: str
  estimate: Estimate
  paper: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Verdict:
  """A statement and whether this data bears it out, decided by an interval."""

  statement: str
  section: str
  outcome: str
  evidence: Estimate
  evidence_is: str


@dataclasses.dataclass(frozen=True)
class Grid:
  """Arguments of figures.grid, with the name of its file and its caption."""

  name: str
  caption: str
  images: list
  row_labels: Optional[list] = None
  column_labels: Optional[list] = None
  cell_labels: Optional[list] = None


@dataclasses.dataclass(frozen=True)
class Curves:
  """Arguments of figures.curves, with the name of its file and its caption."""

  name: str
  caption: str
  x: Any
  series: dict
  x_label: str
  y_label: str
  mark: Optional[float] = None
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

  measures: tuple = ()
  verdicts: tuple = ()
  pictures: tuple = ()
  arrays: dict = dataclasses.field(default_factory=dict)
  costs: dict = dataclasses.field(default_factory=dict)
  notes: tuple = ()

  def summary(self):
    """{measure: {model: {value, low, high, n[, paper]}}}, JSON-able."""
    table = {}
    for measure in self.measures:
      entry = measure.estimate.to_json()
      if measure.paper is not None:
        entry["paper"] = measure.paper
      table.setdefault(measure.name, {})[measure.model] = entry
    return table

  def findings(self):
    """The verdicts, JSON-able."""
    return [
      {
        "statement": v.statement,
        "section": v.section,
        "outcome": v.outcome,
        "evidence": v.evidence.to_json(),
        "evidence_is": v.evidence_is,
      }
      for v in self.verdicts
    ]


def significant(value, digits=5):
  """Rounded, so that the last bits of a sum never show in a file."""
  return float(f"{float(value):.{digits}g}") + 0.0  # no negative zero


def generator(seed, key):
  """A random generator of its own for every seed and purpose."""
  return np.random.default_rng([seed, zlib.crc32(key.encode())])


def mean(values):
  """Mean of per-image values with its bootstrap interval."""
  values = np.asarray(values, np.float64)
  low, high = statistics.bootstrap_interval(values)
  return Estimate(float(values.mean()), float(low), float(high), len(values))


def exact(value, n):
  """A number of n images that has no interval."""
  return Estimate(float(value), float(value), float(value), n)


def rate(successes):
  """Fraction of successes with its Wilson interval; of none: 0 to 1."""
  successes = np.asarray(successes, bool)
  if not len(successes):
    return Estimate(float("nan"), 0.0, 1.0, 0)
  low, high = statistics.wilson_interval(int(successes.sum()), len(successes))
  return Estimate(float(successes.mean()), float(low), float(high), len(successes))


def unpaired_difference(a, b):
  """Mean of a minus mean of b, of different images, with its bootstrap interval."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  rng = np.random.default_rng(0)
  means = [x[rng.integers(0, len(x), [2000, len(x)])].mean(axis=1) for x in (a, b)]
  low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
  return Estimate(float(a.mean() - b.mean()), float(low), float(high), len(a) + len(b))


def positive(statement, section, estimate, evidence_is):
  """Holds where the interval lies above 0, does not where below, else is open."""
  if estimate.low > 0:
    outcome = HOLDS
  elif estimate.high < 0:
    outcome = FAILS
  else:
    outcome = OPEN
  return Verdict(statement, section, outcome, estimate, evidence_is)


def negligible(statement, section, estimate, margin, evidence_is):
  """Holds where the interval lies within +-margin, does not where wholly outside."""
  if max(abs(estimate.low), abs(estimate.high)) < margin:
    outcome = HOLDS
  elif estimate.low > margin or estimate.high < -margin:
    outcome = FAILS
  else:
    outcome = OPEN
  return Verdict(
    statement,
    section,
    outcome,
    estimate,
    f"{evidence_is}; negligible below {margin:.3g}",
  )


def kind(label):
  """Which of the paper's four models a label means in its statements.

  "dosovitskiy_brox" and "inception" where the label holds that word, "robust" where
  it holds "robust" but not "non-robust", else "standard".
  """
  label = label.lower()
  if "dosovitskiy" in label:
    return "dosovitskiy_brox"
  if "inception" in label:
    return "inception"
  return "robust" if "robust" in label and "non-robust" not in label else "standard"


def is_robust(label):
  """Whether a model counts as robust in the paper's statements: by its label."""
  return kind(label) == "robust"


def first(labels, wanted):
  """The first label of a kind, or None."""
  return next((label for label in labels if kind(label) == wanted), None)


def pair(labels):
  """(robust label, standard label): the first of each, or None if one is missing."""
  robust, standard = first(labels, "robust"), first(labels, "standard")
  return (robust, standard) if robust and standard else None


def robust_larger(statement, section, values, evidence_is, sign=1):
  """The verdict on `robust > standard`, from values of the same images.

  Args:
    statement: as the paper puts it.
    section: of the paper.
    values: {label: [n]}.
    evidence_is: what the values are.
    sign: -1 if the statement is that robust is smaller.

  Returns:
    A tuple of one Verdict, or of none where there is no robust-standard pair.
  """
  labels = pair(values)
  if labels is None:
    return ()
  robust, standard = (np.asarray(values[label], np.float64) for label in labels)
  first, second = labels if sign > 0 else labels[::-1]
  return (
    positive(
      statement,
      section,
      mean(sign * (robust - standard)),
      f"{evidence_is}: {first} minus {second}, same images",
    ),
  )


def paper_value(label, values):
  """The paper's value for a model of that kind, or None."""
  return values.get(kind(label))


def stacked(arrays):
  """{name: {label: array}} -> {"name/label": array}, as an npz holds it."""
  return {
    f"{name}/{label}": np.asarray(value)
    for name, of_label in arrays.items()
    for label, value in of_label.items()
  }


def blocks(name, caption, stacks):
  """A Grid of one near-square block for each list of images, side by side."""
  shaped = [figures.near_square(list(images)) for images in stacks]
  rows = []
  for row in range(len(shaped[0])):
    line = []
    for block in shaped:
      line += [*block[row], *[None] * (len(block[0]) - len(block[row])), None]
    rows.append(line[:-1])
  return Grid(name, caption, rows)


def band(values):
  """Mean, low and high over images of values [n, m], for figures.curves."""
  estimates = [mean(column) for column in np.asarray(values).T]
  return tuple(
    np.array([getattr(e, part) for e in estimates]) for part in ("value", "low", "high")
  )
