"""Statements, and whether the data supports them, decided by intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from compare_gan_logits.experiments.estimates import Estimate
from compare_gan_logits.experiments.estimates import mean
from compare_gan_logits.experiments.estimates import paired_rate_difference


HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
# An interval of fewer values decides nothing.
FEWEST = 3
# What a statement is about; the report groups by it, in this order.
PAIR = "Robust against standard classifier"
MODEL = "Each model by itself"
BASELINE = "Against baselines"
GROUPS = (PAIR, MODEL, BASELINE)


@dataclasses.dataclass(frozen=True)
class Verdict:
  """A statement and its outcome on this data.

  Attributes:
    statement: as the paper puts it, or as a question put to it would be.
    section: of the paper.
    outcome: HOLDS, FAILS or OPEN.
    evidence: Estimate whose interval decides.
    evidence_is: what the evidence measures.
    group: one of GROUPS.
    margin: of a statement that something is negligible; None: that it is positive.
  """

  statement: str
  section: str
  outcome: str
  evidence: Estimate
  evidence_is: str
  group: str = MODEL
  margin: float | None = None


def positive(
  statement: str,
  section: str,
  estimate: Estimate,
  evidence_is: str,
  group: str = MODEL,
) -> Verdict:
  """Holds where the interval lies above 0, does not where below, else is open."""
  outcome = _outcome(estimate, estimate.low > 0, estimate.high < 0)
  return Verdict(statement, section, outcome, estimate, evidence_is, group)


def negligible(
  statement: str,
  section: str,
  estimate: Estimate,
  margin: float,
  evidence_is: str,
  group: str = MODEL,
) -> Verdict:
  """Holds where the interval lies within +-margin, does not where wholly outside."""
  holds = max(abs(estimate.low), abs(estimate.high)) < margin
  fails = estimate.low > margin or estimate.high < -margin
  outcome = _outcome(estimate, holds, fails)
  return Verdict(statement, section, outcome, estimate, evidence_is, group, margin)


def evidence(evidence_is: str, margin: float | None) -> str:
  """What the evidence of a Verdict measures, and its margin, in words."""
  if margin is None:
    return evidence_is
  return f"{evidence_is}; negligible below {margin:.3g}"


def judge(estimate: Estimate, margin: float | None) -> str:
  """The outcome of a statement on other evidence; `margin` is the Verdict's."""
  if margin is None:
    return positive("", "", estimate, "").outcome
  return negligible("", "", estimate, margin, "").outcome


def _outcome(estimate: Estimate, holds: bool, fails: bool) -> str:
  if estimate.n < FEWEST or not (holds or fails):
    return OPEN
  return HOLDS if holds else FAILS


def robust_larger(
  pair: tuple[str, str] | None,
  statement: str,
  section: str,
  values: Mapping[str, Any],
  evidence_is: str,
  sign: int = 1,
) -> tuple[Verdict, ...]:
  """The verdict on `robust > standard`, from values of the same images.

  Args:
    pair: (robust label, standard label), or None (see roles.pair).
    statement: as the paper puts it.
    section: of the paper.
    values: {label: [n]}; of bools, rates are compared.
    evidence_is: what the values are.
    sign: -1 if the statement is that robust is smaller.

  Returns:
    One Verdict, or none where there is no pair.

  Raises:
    UserError: there are no images.
  """
  if pair is None:
    return ()
  first, second = pair if sign > 0 else pair[::-1]
  larger, smaller = (np.asarray(values[label]) for label in (first, second))
  if larger.dtype == smaller.dtype == bool:
    difference = paired_rate_difference(larger, smaller)
  else:
    difference = mean(larger.astype(np.float64) - smaller)
  return (
    positive(
      statement,
      section,
      difference,
      f"{evidence_is}: {first} minus {second}, same images",
      PAIR,
    ),
  )
