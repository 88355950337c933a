"""Accuracy under attack and calibration of a classifier, per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow.compat.v1 as tf
from scipy import special

from compare_gan_logits import attacks
from compare_gan_logits.graph_function import GraphFunction
from compare_gan_logits.metrics import agreement


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier


class Attacked:
  """Attacks on one classifier, whose graphs are built once.

  Args:
    classifier: classifiers.Classifier with a gradient.
    shape: [h, w, c] of the images.
    steps: of projected gradient descent, each of 2.5 epsilon / steps from the image
      itself (Madry et al., 2018).
  """

  def __init__(
    self, classifier: Classifier, shape: Sequence[int], steps: int = 10
  ) -> None:
    self._classifier = classifier
    inputs = [
      tf.TensorSpec(list(shape)),
      tf.TensorSpec([], tf.int64),
      tf.TensorSpec([1, 1, 1]),
    ]

    def pgd(images, labels, epsilons):
      return attacks.pgd(
        classifier, images, labels, epsilons, 2.5 * epsilons / steps, steps
      )

    def fgsm(images, labels, epsilons):
      return attacks.fgsm(classifier, images, labels, epsilons)

    self._functions = {
      "fgsm": GraphFunction(fgsm, inputs, 250),
      "pgd": GraphFunction(pgd, inputs, 250),
    }

  def images(
    self, attack: str, images: np.ndarray, labels: np.ndarray, epsilon: float
  ) -> np.ndarray:
    """Images [n, h, w, c] moved by "fgsm" or "pgd" within L-infinity epsilon."""
    epsilons = np.full([len(images), 1, 1, 1], epsilon, np.float32)
    return self._functions[attack](images, np.asarray(labels, np.int64), epsilons)

  def accuracy(
    self, attack: str, images: np.ndarray, labels: np.ndarray, epsilon: float
  ) -> float:
    """Share of images that keep their label under the attack, in [0, 1]."""
    return accuracy(
      self._classifier, self.images(attack, images, labels, epsilon), labels
    )


def accuracy(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
  """Share of images [n, h, w, c] that get their label [n], in [0, 1]."""
  return agreement.rate(classifier.predict(images).argmax(axis=1), labels)


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
  """Expected calibration error (Guo et al., 2017, eq. 3) in [0, 1].

  The mean of |accuracy - confidence| over bins of equal width of the confidence, each
  weighted with its share of the images.

  Args:
    logits: [n, classes].
    labels: int [n].
    bins: of the confidence.
  """
  probabilities = special.softmax(np.asarray(logits, np.float64), axis=1)
  confidence = probabilities.max(axis=1)
  right = probabilities.argmax(axis=1) == labels
  places = np.minimum((confidence * bins).astype(int), bins - 1)
  gaps = np.bincount(places, right - confidence, minlength=bins)
  return float(np.abs(gaps).sum() / len(labels))
