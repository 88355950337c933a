"""Numbers with their 95 % intervals, as every table and verdict uses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from compare_gan_logits.errors import UserError
from compare_gan_logits.metrics import statistics


# A percentile bootstrap of fewer values is too narrow: of 3 it excludes a true mean in
# a quarter of all cases.
_FEWEST_FOR_BOOTSTRAP = 30
_NONE_LEFT = "no image is left to measure: the set is too small, or too few fit"


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number with its sample size n and its 95 % interval."""

  value: float
  low: float
  high: float
  n: int

  def to_json(self) -> dict[str, Any]:
    return {
      "value": significant(self.value),
      "low": significant(self.low),
      "high": significant(self.high),
      "n": self.n,
    }

  def __str__(self) -> str:
    return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}], n = {self.n}"


def significant(value: float, digits: int = 5) -> float | None:
  """Rounded, so that a file never shows the last bits of a sum; None for NaN."""
  if np.isnan(value):
    return None  # JSON has no NaN
  return float(f"{float(value):.{digits}g}") + 0.0  # no negative zero


def mean(values: Any) -> Estimate:
  """Mean of per-image values [n] with its interval: bootstrap; of fewer than 30, t's.

  Raises:
    UserError: there are none.
  """
  values = np.asarray(values, np.float64)
  if not len(values):
    raise UserError(_NONE_LEFT)
  if 1 < len(values) < _FEWEST_FOR_BOOTSTRAP:
    low, high = statistics.t_interval(values)
  else:
    low, high = statistics.bootstrap_interval(values)
  return Estimate(float(values.mean()), float(low), float(high), len(values))


def over_trainings(values: Any) -> Estimate:
  """Mean of a number of several trainings [n] with its t interval.

  The trainings differ in their seeds, so the interval says what another training could
  give; that of one is infinite. Intervals over images say nothing of it.
  """
  values = np.asarray(values, np.float64)
  low, high = statistics.t_interval(values)
  return Estimate(float(values.mean()), low, high, len(values))


def exact(value: float, n: int) -> Estimate:
  """A number of n images that has no interval."""
  return Estimate(float(value), float(value), float(value), n)


def rate(successes: Any) -> Estimate:
  """Fraction of successes (bool [n]) with its Wilson interval; of none: 0 to 1."""
  successes = np.asarray(successes, bool)
  if not len(successes):
    return Estimate(float("nan"), 0.0, 1.0, 0)
  low, high = statistics.wilson_interval(int(successes.sum()), len(successes))
  return Estimate(float(successes.mean()), float(low), float(high), len(successes))


def rate_difference(a: Any, b: Any) -> Estimate:
  """Fraction of successes of a minus that of b, different images, bool [n] and [m].

  The interval is Newcombe's (1998, method 10), from Wilson's of each: unlike a
  bootstrap's it is wide where a group is small and all of it alike.
  """
  a, b = rate(a), rate(b)
  value = a.value - b.value
  low = np.hypot(a.value - a.low, b.high - b.value)
  high = np.hypot(a.high - a.value, b.value - b.low)
  return Estimate(value, float(value - low), float(value + high), a.n + b.n)


def paired_rate_difference(a: Any, b: Any) -> Estimate:
  """Fraction of successes of a minus that of b on the same images, both bool [n].

  The interval is Newcombe's for pairs (1998, Statistics in Medicine 17, 2635-2650), from
  Wilson's of each and their correlation, corrected for continuity (method 10): wide
  where n is small, even if all pairs are alike.

  Raises:
    UserError: there are none.
  """
  if not len(a):
    raise UserError(_NONE_LEFT)
  p, q = rate(a), rate(b)
  phi = _correlation(np.asarray(a, bool), np.asarray(b, bool))
  value = p.value - q.value

  def reach(one, other):
    return np.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

  low = value - reach(p.value - p.low, q.high - q.value)
  high = value + reach(p.high - p.value, q.value - q.low)
  return Estimate(value, float(low), float(high), p.n)


def _correlation(a, b):
  """That of two bool arrays [n], corrected where it is positive; 0 without variation."""
  deviations = np.std(a) * np.std(b)
  covariance = np.mean(a & b) - np.mean(a) * np.mean(b)
  if covariance > 0:
    covariance = max(0.0, covariance - 0.5 / len(a))
  return float(covariance / deviations) if deviations else 0.0


def unpaired_difference(a: Any, b: Any) -> Estimate:
  """Mean of a minus mean of b, of different images, with its bootstrap interval."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  rng = np.random.default_rng(0)
  means = [x[rng.integers(0, len(x), [2000, len(x)])].mean(axis=1) for x in (a, b)]
  low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
  return Estimate(float(a.mean() - b.mean()), float(low), float(high), len(a) + len(b))


def band(estimates: Sequence[Estimate]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(value, low, high), each [m], of m estimates, as figures.curves takes them."""
  return tuple(
    np.array([getattr(e, part) for e in estimates]) for part in ("value", "low", "high")
  )  # type: ignore[return-value]


def means(values: Any) -> list[Estimate]:
  """The mean of every column of values [n, m]."""
  return [mean(column) for column in np.asarray(values).T]
