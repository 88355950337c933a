"""What the commands that read exported modules share: labels, classifiers, roles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compare_gan_logits import errors


if TYPE_CHECKING:
  from compare_gan_logits.classifiers import Classifier
  from compare_gan_logits.datasets import ImageDataset
  from compare_gan_logits.inversion import Inverter


CLASSIFIER_HELP = (
  "Classifier in place of the one that the module names: a name in the zoo, a folder, "
  "a file or a URL; label=classifier for one module of several."
)


def named(text: str) -> tuple[str, str]:
  """("label", "rest") of "label=rest", or ("", text) where there is no label.

  A label holds no slash, and what exists is a path, so that a path may have an equals
  sign.
  """
  if os.path.exists(text):
    return "", text
  label, found, rest = text.partition("=")
  return (label, rest) if found and "/" not in label else ("", text)


def labels_of(modules: Sequence[str]) -> list[tuple[str, str]]:
  """(label, folder) of every --module: its label, or else its classifier's name."""
  from compare_gan_logits import files
  from compare_gan_logits import module_format

  given = [named(module) for module in modules]
  labels = files.unique(
    label or module_format.name_of(module_format.read(folder), folder)
    for label, folder in given
  )
  return list(zip(labels, (folder for _, folder in given)))


def for_labels(
  flag: str, given: Sequence[str], labels: Sequence[str]
) -> dict[str, str]:
  """{label: value} of a flag that takes "value", for all modules, or "label=value".

  Raises:
    UserError: there is no module of that label, or two values for one.
  """
  found: dict[str, str] = {}
  general = [value for label, value in map(named, given) if not label]
  if len(general) > 1:
    raise errors.UserError(
      f"{flag} is given {len(general)} times without a label; say which module each "
      f"belongs to: {flag} {labels[0]}=..."
    )
  for label, value in map(named, given):
    if label and label not in labels:
      raise errors.UserError(
        f"{flag}: no module {label!r}; {errors.nearest(label, labels)}"
      )
    if label in found:
      raise errors.UserError(f"{flag} is given twice for {label}; leave one out")
    if label:
      found[label] = value
  return {**dict.fromkeys(labels if general else (), "".join(general)), **found}


def load(
  modules: Sequence[str],
  classifiers: Sequence[str] = (),
  roles: Sequence[str] = (),
  batch_size: int = 64,
) -> dict[str, Inverter]:
  """Loads what --module, --classifier and --role say.

  Returns:
    {label: Inverter}, in the order of the flags.

  Raises:
    UserError: something of it cannot be loaded.
  """
  from compare_gan_logits.inversion import Inverter

  places = dict(labels_of(modules))
  instead = for_labels("--classifier", classifiers, list(places))
  kinds = for_labels("--role", roles, list(places))
  return {
    label: Inverter.load(folder, instead.get(label), batch_size, kinds.get(label))
    for label, folder in places.items()
  }


def dataset_of(inverter: Inverter, name: str | None) -> ImageDataset:
  """The data set that --dataset names, or else the one that a module was trained on.

  Raises:
    UserError: it is not on this machine.
  """
  from compare_gan_logits import datasets

  return datasets.get_dataset(name) if name else inverter.open_dataset()


def classifier_of(name: str, folder: str) -> Classifier:
  """The classifier that --classifier names for the module in a folder.

  Raises:
    UserError: there is none.
  """
  from compare_gan_logits import files
  from compare_gan_logits import inversion
  from compare_gan_logits import module_format

  path = files.absolute(folder)
  try:
    recorded = module_format.read(path)["classifier"]
  except errors.UserError:  # told where the module itself is loaded
    recorded = None
  return inversion.named_classifier(name, recorded, path)
