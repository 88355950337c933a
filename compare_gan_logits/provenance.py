"""The classifier and the images that a run is trained with, kept in its folder.

The weights say nothing of either: without this file a run that is continued or exported
with another classifier would be named after that one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from typing import Any

from compare_gan_logits import files
from compare_gan_logits.errors import UserError


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


FILE = "trained_on.json"


def describe(classifier: Classifier | None, dataset: ImageDataset) -> dict[str, Any]:
  """What FILE holds.

  Names are for messages; digest and fingerprint decide, so that both may be moved.

  Args:
    classifier: classifiers.Classifier, or None.
    dataset: datasets.ImageDataset.
  """
  facts = {
    "classifier": "no classifier" if classifier is None else classifier.spec.name,
    "classifier_digest": None if classifier is None else classifier.digest,
    "dataset": dataset.name,
    "fingerprint": dataset.fingerprint("train"),
    "transform": dataset.describe_transform("train"),
  }
  return files.as_json(facts)


def write(model_dir: str, facts: dict[str, Any]) -> None:
  """Keeps what `describe` gives in the run's folder."""
  files.write_json(os.path.join(model_dir, FILE), facts)


def check(model_dir: str, facts: dict[str, Any]) -> bool:
  """Refuses a run that was trained with something else than `facts` describes.

  Returns:
    Whether the folder says what it was trained with; those of earlier versions do not.

  Raises:
    UserError: it was another classifier, or other images; or FILE is damaged.
  """
  path = os.path.join(model_dir, FILE)
  if not files.is_file(path):
    return False
  before = files.read_json(path)
  if not isinstance(before, dict) or not facts.keys() <= before.keys():
    raise UserError(f"{path} is damaged; remove it: the next training writes it anew")
  if before["classifier_digest"] != facts["classifier_digest"]:
    raise UserError(
      f"{model_dir} was trained with {_named(before)}, not with {_named(facts)}; use "
      "that classifier, or name another --model_dir"
    )
  if before["fingerprint"] != facts["fingerprint"]:
    raise UserError(
      f"{model_dir} was trained on {before['dataset']}, and "
      f"{_difference(before, facts)}; use those images, or name another --model_dir (to "
      f"train on with these, remove {path})"
    )
  return True


def _named(facts):
  digest = facts["classifier_digest"]
  name = facts["classifier"]
  return name if digest is None else f"the classifier {name} ({str(digest)[:8]})"


def _difference(before, facts):
  """What is other in the images: the setting that differs, or else the pictures."""
  earlier = before["transform"] if isinstance(before["transform"], dict) else {}
  for name, value in facts["transform"].items():
    if earlier.get(name) != value:
      return f"its {name} was {earlier.get(name)!r}, not {value!r}"
  return f"the images of {facts['dataset']} are others"
