"""Checks at the start of a training: is it the right classifier, with the right input?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.classifiers import class_order
from compare_gan_logits.classifiers.classifier import Classifier
from compare_gan_logits.errors import UserError


if TYPE_CHECKING:
  from compare_gan_logits.datasets.image_set import ImageDataset


# Images that are classified alone and in a batch.
_ALONE = 4
_TOGETHER = 32
# Largest difference between the two, in deviations of a logit over images or, where
# logits hardly vary, in thousandths of their size: rounding grows with them.
_MAX_BATCH_DIFFERENCE = 0.02
# Of the way from guessing to always right, below which preprocessing or the order of
# classes are probably wrong.
_NEAR_CHANCE = 0.1
_HARDLY_VARYING = 1e-3


def sample(
  dataset: ImageDataset, size: int = 256
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(images [n, h, w, c], labels [n], ids [n]) of the first of training.

  n is at most size: each image is there once, and a small set has fewer.
  """
  with tf.Graph().as_default(), tf.Session() as session:
    element = utils.next_element(dataset.train(size))
    values = session.run(element)
  first = np.sort(np.unique(values["id"], return_index=True)[1])
  return values["image"][first], values["label"][first], values["id"][first]


def hard_labels(labels: np.ndarray) -> np.ndarray:
  """Classes int [n], -1 where none is known, of such or of distributions [n, classes]."""
  if labels.ndim == 1:
    return labels
  return np.where(labels.sum(axis=1) > 0.5, labels.argmax(axis=1), -1)


def check(
  classifier: Classifier,
  dataset: ImageDataset,
  images: np.ndarray,
  labels: np.ndarray,
  logits: np.ndarray | None = None,
  log: Callable[[str], None] = print,
) -> dict[str, Any]:
  """Prints what a classifier returns for a sample of images, with warnings.

  Args:
    classifier: whose attribute `check` is set to the result.
    dataset: datasets.ImageDataset that the images are of.
    images: [n, h, w, c] in [0, 1].
    labels: int [n], or distributions over classes, of the data set.
    logits: [n, num_logits], where they are known already.
    log: function of a line of text.

  Returns:
    JSON-able figures, for inversion.json: "images", "logits_range", "spread" (mean
    deviation of a logit over images), "pixels" (range of the values that reach the
    network; None for given logits), "batch_difference" (largest change of a logit
    between an image alone and in a batch, in units of spread, or of a thousandth of
    the logits' size where that is more; None likewise),
    "accuracy", "chance" and "classes_by" (None where the labels do not fit the logits),
    and "warnings".

  Raises:
    UserError: logits are not finite or never vary; they depend on what else is in
      the batch; or the images are all the same.
  """
  name = classifier.spec.name
  if not np.any(np.ptp(images, axis=0)):
    raise UserError(
      f"the {len(images)} training images of {dataset.name} that were looked at are one "
      "image; an inverter needs several"
    )
  if logits is None:
    logits = classifier.predict(images)
  if not np.all(np.isfinite(logits)):
    raise UserError(
      f"classifier {name} gives logits that are not finite; check its preprocessing"
    )
  spread = logits.std(axis=0)
  figures = {
    "images": len(images),
    "logits_range": [float(logits.min()), float(logits.max())],
    "spread": float(spread.mean()),
    "pixels": None,
    "batch_difference": None,
  }
  log(
    f"classifier {name}: {logits.shape[1]} logits, mean {logits.mean():.3g}, deviation "
    f"over images {spread.mean():.3g}, range [{logits.min():.3g}, {logits.max():.3g}]"
  )
  if spread.max() < 1e-6:
    raise UserError(
      f"classifier {name} gives every image the same logits, so there is nothing to "
      "invert; check its output and preprocessing"
    )
  if not classifier.only_known_images:
    scale = max(spread.mean(), _HARDLY_VARYING * np.abs(logits).mean())
    figures.update(_fed(classifier, images, scale, log))
  right = _accuracy(classifier, dataset, hard_labels(labels), logits)
  figures.update(right["figures"])
  log(right["line"])
  figures["warnings"] = [
    *_about_values(classifier, logits, spread),
    *right["warnings"],
  ]
  for warning in figures["warnings"]:
    print(f"warning: classifier {name}: {warning}", file=sys.stderr, flush=True)
  classifier.check = figures
  return figures


def _fed(classifier, images, scale, log):
  """Range of what reaches the network, and whether images influence each other."""
  steps = classifier.spec.preprocessing
  values = classifier.inputs(images[:_TOGETHER])
  colors = "grey" if steps.colors == 1 else f"3 colours ({steps.channel_order})"
  log(
    f"preprocessing: {steps.resize} to {steps.size or images.shape[1]} px, {colors}, "
    f"mean {list(steps.mean)}, std {list(steps.std)}; values of "
    f"[{values.min():.3g}, {values.max():.3g}] reach the network"
  )
  together = classifier.predict(images[:_TOGETHER], batch_size=_TOGETHER)[:_ALONE]
  alone = classifier.predict(images[:_ALONE], batch_size=1)
  difference = float(np.abs(together - alone).max() / scale)
  if difference > _MAX_BATCH_DIFFERENCE:
    raise UserError(
      f"classifier {classifier.spec.name} gives an image different logits in "
      f"different batches (a difference of {difference:.2g} of their standard "
      "deviation over images): it is in training mode, with dropout or with batch "
      "norms that use the moments of the batch; export it in inference mode "
      "(training=False, model.eval())"
    )
  return {
    "pixels": [float(values.min()), float(values.max())],
    "batch_difference": difference,
  }


def _about_values(classifier, logits, spread):
  """Warnings that follow from the logits alone."""
  sums = logits.sum(axis=1)
  if (
    not classifier.spec.softmax
    and logits.min() >= 0
    and np.allclose(sums, 1, atol=1e-3)
  ):
    remedy = (
      "write their logarithms into the file"
      if classifier.only_known_images
      else "bind classifier.softmax = True, or better the output before the softmax "
      "(classifier.output)"
    )
    yield (
      f"each row of its output sums to 1, so these are probabilities and no logits; {remedy}"
    )
  if spread.max() < _HARDLY_VARYING * np.abs(logits).mean():
    yield (
      "its output hardly varies from image to image; check its preprocessing "
      "(classifier.low, high, mean, std) and its output"
    )


def _accuracy(classifier, dataset, labels, logits):
  """Figures, a line and warnings about how often it is right, where that is known."""
  unknown = {"accuracy": None, "chance": None, "classes_by": None}
  try:
    found = class_order.of_classifier(classifier, dataset)
  except UserError as error:
    line = f"accuracy of {classifier.spec.name} not known: {error}"
    return {"figures": unknown, "line": line, "warnings": []}
  known = labels >= 0
  if not known.any():
    line = f"accuracy of {classifier.spec.name} not known: {dataset.name} has no labels"
    return {"figures": unknown, "line": line, "warnings": []}
  predicted = logits[known][:, found.indices].argmax(axis=1)
  accuracy = float(np.mean(predicted == labels[known]))
  chance = 1 / len(found.indices)
  figures = {"accuracy": accuracy, "chance": chance, "classes_by": found.by}
  among = f" among its {len(found.indices)} classes"
  line = (
    f"classifier {classifier.spec.name} is right about {accuracy:.1%} of {known.sum()} "
    f"training images of {dataset.name}{among} (classes found by {found.by})"
  )
  warnings = []
  if accuracy < chance + _NEAR_CHANCE * (1 - chance):
    warnings.append(
      f"it is right about {accuracy:.1%} of the images, and guessing would be about "
      f"{chance:.1%}: its preprocessing (classifier.low, high, mean, std, channel_order) "
      "or the order of its classes (classifier.class_names) is probably wrong"
    )
  return {"figures": figures, "line": line, "warnings": warnings}
