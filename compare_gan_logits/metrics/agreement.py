"""How often two sets of classes agree."""

from __future__ import annotations

from typing import Any

import numpy as np


def rate(classes_a: Any, classes_b: Any) -> float:
  """Share of equal entries.

  Args:
    classes_a, classes_b: int [n], n > 0.

  Returns:
    float in [0, 1].
  """
  return float(np.mean(np.asarray(classes_a) == np.asarray(classes_b)))
