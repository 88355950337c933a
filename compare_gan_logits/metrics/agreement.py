"""How often two sets of classes agree."""

import numpy as np


def rate(classes_a, classes_b):
  """Share of equal entries.

  Args:
    classes_a, classes_b: int [n], n > 0.

  Returns:
    float in [0, 1].
  """
  return float(np.mean(np.asarray(classes_a) == np.asarray(classes_b)))
