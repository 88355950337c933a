"""How often two sets of classes agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def rate(classes_a: Any, classes_b: Any) -> float:
  """Share of equal entries.

  Args:
    classes_a, classes_b: int [n], n > 0.

  Returns:
    float in [0, 1].
  """
  equal: npt.NDArray[np.bool_] = np.equal(classes_a, classes_b)
  return float(np.mean(equal))
