"""Conditioning of the generator's Jacobian (Odena et al. 2018, arXiv:1802.08768)."""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf


def compute_jacobian(xs: tf.Tensor, fx: tf.Tensor) -> tf.Tensor:
  """d fx[b, i] / d xs[b, j].

  Args:
    xs: [batch, x].
    fx: [batch, f], a function of xs row by row, f known.

  Returns:
    [batch, f, x].
  """
  return tf.stack(
    [tf.gradients(fx[:, i], xs)[0] for i in range(int(fx.shape[1]))], axis=1
  )


def analyze_jacobian(jacobian_array: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
  """Spectra of the metric tensor J'J that the generator induces on its inputs.

  Args:
    jacobian_array: J, [batch, fx, x].

  Returns:
    {"metric_tensor": of each J'J, "mean_metric_tensor": of their mean over the batch},
    each a dict of float64 arrays whose first axis is the batch (1 for the mean):
    eigenvalues [batch, x], ascending; logdet [batch], of the determinant;
    log_condition_number [batch], of the largest over the smallest eigenvalue.
  """
  jacobian = np.asarray(jacobian_array, np.float64)
  metric = np.matmul(np.swapaxes(jacobian, 1, 2), jacobian)
  return {
    "metric_tensor": _spectrum(metric),
    "mean_metric_tensor": _spectrum(metric.mean(0, keepdims=True)),
  }


def _spectrum(metric: np.ndarray) -> dict[str, np.ndarray]:
  eigenvalues = np.linalg.eigvalsh(metric)
  with np.errstate(divide="ignore", invalid="ignore"):
    logs = np.log(eigenvalues)
  return {
    "eigenvalues": eigenvalues,
    "logdet": np.linalg.slogdet(metric)[1],
    "log_condition_number": logs[:, -1] - logs[:, 0],
  }
