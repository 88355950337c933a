"""Intervals for means and rates, by scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats


def bootstrap_interval(
  values: Any, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
  """Percentile bootstrap interval of a mean.

  Args:
    values: float [n], n > 0.
    confidence: in (0, 1).
    resamples: number of bootstrap samples.
    seed: the same seed gives the same interval.

  Returns:
    (low, high); both the value itself where n is 1 or all values are equal.
  """
  values = np.asarray(values, np.float64)
  if len(values) == 1 or np.ptp(values) == 0:
    return float(values[0]), float(values[0])
  result = stats.bootstrap(
    (values,),
    np.mean,
    confidence_level=confidence,
    n_resamples=resamples,
    method="percentile",
    vectorized=True,
    batch=max(1, 10**7 // len(values)),
    random_state=np.random.default_rng(seed),  # pyright: ignore[reportCallIssue]
  )
  low, high = result.confidence_interval
  return float(low), float(high)


def wilson_interval(
  successes: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
  """Wilson score interval of a rate.

  Args:
    successes, n: counts, 0 <= successes <= n, n > 0.
    confidence: in (0, 1).

  Returns:
    (low, high) in [0, 1].
  """
  interval = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
  return float(interval.low), float(interval.high)


def t_interval(values: Any, confidence: float = 0.95) -> tuple[float, float]:
  """Student's t interval of a mean, for few values that are about normal.

  Args:
    values: float [n], n > 0.
    confidence: in (0, 1).

  Returns:
    (low, high); (-inf, inf) where n is 1, since one value says nothing of the spread.
  """
  values = np.asarray(values, np.float64)
  if len(values) == 1:
    return -np.inf, np.inf
  half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
  return float(values.mean() - half), float(values.mean() + half)
