"""Which logit belongs to which class of a data set: names decide, then positions.

A single logit (of a binary classifier) names no class, as the largest of several does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compare_gan_logits.errors import UserError


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


_ONE_LOGIT = (
  "has a single logit, the largest of which names no class; classes need a classifier "
  "with a logit for each"
)


@dataclasses.dataclass(frozen=True)
class Places:
  """Where the classes of a data set are among logits.

  Attributes:
    indices: int [num_classes], the logit of each class.
    by: "names", "ImageNet's order" or "positions".
  """

  indices: np.ndarray
  by: str


def places(
  class_names: Sequence[str] | None, num_logits: int, dataset: ImageDataset, whose: str
) -> Places:
  """Finds the logit of each class of a data set.

  Where all classes of the data set are among the logits' names (regardless of case,
  spaces and underscores), these decide. Where none is, or there are no names, ImageNet's
  1000 logits are taken in ImageNet's order for a data set that knows its place there,
  and as many logits as classes by position.

  Args:
    class_names: one for each logit; None where they are not known.
    num_logits: number of logits.
    dataset: datasets.ImageDataset.
    whose: of the logits, for the sentence.

  Raises:
    UserError: some names agree and others do not; the counts differ; or there is a
      single logit.
  """
  found = {_key(name): i for i, name in reversed(list(enumerate(class_names or ())))}
  wanted = [_key(name) for name in dataset.class_names]
  if not wanted:
    raise UserError(f"{dataset.name} has no classes, so no logit belongs to one")
  if num_logits == 1:
    raise UserError(f"{whose} {_ONE_LOGIT}")
  known = [name in found for name in wanted]
  if all(known) and len(set(wanted)) == len(wanted):
    return Places(np.array([found[name] for name in wanted]), "names")
  if dataset.imagenet_indices is not None and num_logits == 1000:
    return Places(np.asarray(dataset.imagenet_indices), "ImageNet's order")
  if any(known) and not all(known):  # All are where two names are the same.
    raise UserError(
      f"{whose} has {sum(known)} of the {len(known)} classes of {dataset.name} by "
      f"name, but not {dataset.class_names[known.index(False)]!r}, so it is not known "
      "which logit belongs to which class; bind classifier.class_names in the order "
      "of the logits"
    )
  if num_logits == dataset.num_classes:
    return Places(np.arange(num_logits), "positions")
  raise UserError(
    f"{whose} has {num_logits} logits and {dataset.name} {dataset.num_classes} "
    "classes; name a data set with the classifier's classes"
  )


def predicted(logits: np.ndarray) -> np.ndarray:
  """Classes, int [n], of logits [n, num_logits].

  Raises:
    UserError: there is a single logit.
  """
  if logits.shape[1] == 1:
    raise UserError(f"the classifier {_ONE_LOGIT}")
  return logits.argmax(axis=1)


def of_classifier(classifier: Classifier, dataset: ImageDataset) -> Places:
  """`places` of a classifiers.Classifier; raises likewise."""
  return places(
    classifier.class_names if classifier.named else None,
    classifier.num_logits,
    dataset,
    classifier.spec.name,
  )


def _key(name):
  return re.sub(r"[\s_-]+", " ", str(name).strip().casefold())
