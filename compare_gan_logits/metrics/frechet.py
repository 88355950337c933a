"""Frechet distance between two sets of images, on a named network's features.

It is called FID only on Inception's features (metrics/inception.py); the name then says
which weights these are, how many images were compared, and with what.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from compare_gan_logits.errors import UserError
from compare_gan_logits.metrics import lpips


@dataclasses.dataclass(frozen=True)
class Score:
  """A distance and what it was computed from.

  Attributes:
    value: the squared Frechet distance of two Gaussians.
    name: network, layer, sample count and reference, e.g. "Frechet distance (VGG16
      relu5_3 mean, n=1000, to the originals)".
    n: number of images on each side.
    key: a short name, for a column of a file.
  """

  value: float
  name: str
  n: int
  key: str


_LAYERS = {"vgg": "VGG16 relu5_3 mean", "alex": "AlexNet relu5 mean"}


def distance(features_a: Any, features_b: Any) -> float:
  """Squared Frechet distance of Gaussians fitted to two sets of features.

  |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2), through eigenvalues of
  symmetric matrices: never complex, never a singular inverse.

  Args:
    features_a, features_b: float [n, d] and [m, d], n, m > 1.

  Returns:
    float, 0 for equal sets.

  Raises:
    UserError: fewer than two rows, or d is not the same for both.
  """
  a, b = (np.asarray(x, np.float64) for x in (features_a, features_b))
  if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:]:
    raise UserError(
      f"a Frechet distance needs two sets of at least 2 images, not "
      f"{list(a.shape)} and {list(b.shape)} features"
    )
  covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b)]
  # The trace of the root is the sum of the singular values of C_a^1/2 C_b^1/2.
  overlap = np.linalg.svd(
    _root(covariances[0]) @ _root(covariances[1]), compute_uv=False
  ).sum()
  mean_term = np.square(a.mean(0) - b.mean(0)).sum()
  total = mean_term + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * overlap
  return float(max(total, 0.0))  # rounding can go below


def _root(covariance):
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def features(images: np.ndarray, network: Any = "vgg") -> np.ndarray:
  """Features of images.

  Args:
    images: [n, h, w, c] in [0, 1].
    network: "vgg" or "alex", with the weights of LPIPS; or a classifiers.Classifier,
      whose logits are the features.

  Returns:
    float32 [n, d].

  Raises:
    UserError: there is no such network, or its weights are not installed.
  """
  if isinstance(network, str):
    return lpips.features(images, network)
  return network.predict(images)


def score(
  originals: np.ndarray,
  pictures: np.ndarray,
  network: Any = "vgg",
  reference: str = "the originals",
  is_inception: bool = False,
) -> Score:
  """Score of two equally large sets of images.

  Args:
    originals, pictures: [n, h, w, c] in [0, 1].
    network: as in `features`.
    reference: what `originals` are, for the name.
    is_inception: `network` is inception.load's, so that the score is an FID.

  Raises:
    UserError: the sets differ in size; or as in `features`.
  """
  n = len(originals)
  if len(pictures) != n:
    raise UserError(
      f"a Frechet score compares sets of one size, not {n} and {len(pictures)} images"
    )
  value = distance(features(originals, network), features(pictures, network))
  if isinstance(network, str):
    return Score(
      value,
      f"Frechet distance ({_LAYERS[network]}, n={n}, to {reference})",
      n,
      f"frechet_{network}",
    )
  spec = network.spec
  if not is_inception:
    return Score(
      value,
      f"Frechet distance (logits of {spec.name}, n={n}, to {reference})",
      n,
      _key(f"frechet_{spec.name}"),
    )
  return Score(
    value,
    f"FID ({spec.name}, n={n}, to {reference})",
    n,
    _key(f"fid_{spec.name}_n{n}_{reference}"),
  )


def _key(text):
  return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
