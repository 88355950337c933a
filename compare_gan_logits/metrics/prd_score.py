"""Precision and recall of distributions (Sajjadi et al. 2018, arXiv:1806.00035)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import gin
import numpy as np
from scipy.cluster import vq

from compare_gan_logits.metrics import eval_task


@gin.configurable
class PRDScoreTask(eval_task.EvalTask):
  """F-scores of the curve on Inception's activations.

  "prd_recall" is its largest F_8, which weighs recall, and "prd_precision" its largest
  F_1/8, which weighs precision.
  """

  _LABEL = "prd_score"

  def metric_list(self) -> frozenset[str]:
    return frozenset({"prd_recall", "prd_precision"})

  def run_after_session(self, fake_dset: Any, real_dset: Any) -> dict[str, float]:
    size = min(len(fake_dset.activations), len(real_dset.activations))
    recall, precision = prd_to_max_f_beta_pair(
      *compute_prd_from_embedding(
        fake_dset.activations[:size], real_dset.activations[:size]
      )
    )
    return {"prd_recall": recall, "prd_precision": precision}


def compute_prd(
  eval_dist: np.ndarray,
  ref_dist: np.ndarray,
  num_angles: int = 1001,
  epsilon: float = 1e-10,
) -> tuple[np.ndarray, np.ndarray]:
  """The curve of two discrete distributions (algorithm 1 of the paper).

  Args:
    eval_dist, ref_dist: probabilities [k] of the evaluated and of the reference one.
    num_angles: points of the curve, from 3 to 1e6.
    epsilon: angle, in radians, that is kept from 0 and pi/2; below 0.1.

  Returns:
    (precision [num_angles], recall [num_angles]), each in [0, 1].

  Raises:
    ValueError: an argument is out of its range.
  """
  if not 0 < epsilon < 0.1:
    raise ValueError(f"epsilon is {epsilon}; it must be above 0 and below 0.1")
  if not 3 <= num_angles <= 1e6:
    raise ValueError(f"num_angles is {num_angles}; it must be from 3 to 1e6")
  slopes = np.tan(np.linspace(epsilon, np.pi / 2 - epsilon, num_angles))
  precision = np.minimum(np.outer(slopes, ref_dist), eval_dist).sum(1)
  recall = precision / slopes
  largest = max(precision.max(), recall.max())
  if largest > 1.001:
    raise ValueError(
      f"a point of the curve is {largest:.4f}; give distributions that sum to 1"
    )
  return np.clip(precision, 0, 1), np.clip(recall, 0, 1)


def compute_prd_from_embedding(
  eval_data: np.ndarray,
  ref_data: np.ndarray,
  num_clusters: int = 20,
  num_angles: int = 1001,
  num_runs: int = 10,
  enforce_balance: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
  """The curve of two sets of features, through their common clusters by k-means.

  The clusters start from numpy's global random numbers.

  Args:
    eval_data, ref_data: features [n, d] and [m, d].
    num_clusters: bins of the two distributions.
    num_angles: points of the curve.
    num_runs: clusterings whose curves are averaged.
    enforce_balance: whether to refuse sets of different size, which bias the curve.

  Returns:
    (precision [num_angles], recall [num_angles]).

  Raises:
    ValueError: the sets differ in size and enforce_balance is on.
  """
  if enforce_balance and len(eval_data) != len(ref_data):
    raise ValueError(
      f"{len(eval_data)} evaluated and {len(ref_data)} reference features; give equally "
      "many, or set enforce_balance = False"
    )
  curves = [
    compute_prd(*_cluster_into_bins(eval_data, ref_data, num_clusters), num_angles)
    for _ in range(num_runs)
  ]
  precision, recall = np.mean(curves, axis=0)
  return precision, recall


def _cluster_into_bins(
  eval_data: np.ndarray, ref_data: np.ndarray, num_clusters: int
) -> tuple[np.ndarray, np.ndarray]:
  """The shares of both sets that fall into each of their common clusters."""
  features = np.concatenate([eval_data, ref_data]).astype(np.float64)
  seed = np.random.randint(2**31)
  # Newer releases of SciPy call it rng, and take both; older ones know only seed.
  _, clusters = vq.kmeans2(features, num_clusters, minit="++", seed=seed)  # pyright: ignore[reportCallIssue]

  def shares(part):
    return np.bincount(part, minlength=num_clusters) / len(part)

  return shares(clusters[: len(eval_data)]), shares(clusters[len(eval_data) :])


def prd_to_max_f_beta_pair(
  precision: np.ndarray, recall: np.ndarray, beta: float = 8
) -> tuple[float, float]:
  """(largest F_beta, largest F_1/beta) of a curve.

  Raises:
    ValueError: a point is not in [0, 1], or beta is not positive.
  """
  if beta <= 0:
    raise ValueError(f"beta is {beta}; it must be positive")
  return (
    float(_prd_to_f_beta(precision, recall, beta).max()),
    float(_prd_to_f_beta(precision, recall, 1 / beta).max()),
  )


def _prd_to_f_beta(precision, recall, beta=1.0, epsilon=1e-10):
  """F_beta at each point of a curve; 0 where both are 0."""
  precision, recall = np.asarray(precision), np.asarray(recall)
  for values in (precision, recall):
    if values.min() < 0 or values.max() > 1:
      raise ValueError("precision and recall must be in [0, 1]")
  above = (1 + beta**2) * precision * recall
  return above / (beta**2 * precision + recall + epsilon)


def plot(
  precision_recall_pairs: Sequence[tuple[np.ndarray, np.ndarray]],
  labels: Sequence[str] | None = None,
  out_path: str | None = None,
  legend_loc: str = "lower left",
  dpi: int = 150,
) -> None:
  """Draws curves, recall to the right and precision upwards.

  Args:
    precision_recall_pairs: what compute_prd returns, for each curve.
    labels: of the curves.
    out_path: file to write; None shows them on the screen.
    legend_loc: where matplotlib puts the labels.
    dpi: dots per inch.

  Raises:
    ValueError: there are not as many labels as curves.
  """
  from matplotlib import pyplot

  if labels is not None and len(labels) != len(precision_recall_pairs):
    raise ValueError(
      f"{len(labels)} labels for {len(precision_recall_pairs)} curves; give each one"
    )
  figure, axes = pyplot.subplots(figsize=(3.5, 3.5), dpi=dpi)
  for i, (precision, recall) in enumerate(precision_recall_pairs):
    axes.plot(recall, precision, alpha=0.5, label=labels[i] if labels else None)
  axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Recall", ylabel="Precision")
  if labels:
    axes.legend(loc=legend_loc)  # pyright: ignore[reportArgumentType]
  if out_path is None:
    pyplot.show()
  else:
    os.makedirs(os.path.dirname(os.path.abspath(out_path)), exist_ok=True)
    figure.savefig(out_path, bbox_inches="tight", dpi=dpi)
  pyplot.close(figure)
