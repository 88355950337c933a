"""Folders and tars of class folders."""

import csv
import os
import tarfile

import numpy as np

from compare_gan_logits import images as image_lib
from compare_gan_logits.datasets.image_set import digest
from compare_gan_logits.datasets.made_up import MAX_RESOLUTION
from compare_gan_logits.datasets.random_access import RandomAccessDataset
from compare_gan_logits.errors import UserError


_FOLDER_SPLITS = {"train": ("train",), "validation": ("validation", "val", "test")}


class _FileSource:
  """Encoded images in files or tars, decoded when they are read.

  Args:
    entries: list of (name, path, offset, size), offset None for a whole file.
    labels: class of each.
    resolution, colors: of the decoded images.
  """

  def __init__(self, entries, labels, resolution, colors):
    self._entries = entries
    self._resolution = resolution
    self._colors = colors
    self.labels = np.asarray(labels, np.int32)

  def images(self, ids):
    return np.stack([self._image(*self._entries[i]) for i in ids]), ids

  def _image(self, name, path, offset, size):
    image_lib.check_regular(path, name)
    try:
      with open(path, "rb") as f:
        f.seek(offset or 0)
        encoded = f.read(size) if size is not None else f.read()
    except OSError as error:
      raise UserError(
        f"{name} cannot be read ({error.strerror}); put it back, or "
        "start again without it"
      ) from None
    return image_lib.read_image(encoded, self._resolution, self._colors, name)

  def fingerprint(self):
    return digest(*(f"{name} {size}".encode() for name, _, _, size in self._entries))


# Folders and tars of class folders -------------------------------------------


def folder(name, seed, colors, transform):
  """<root>/train/<class>/*.jpg and <root>/validation/<class>/*.jpg, or tars of them."""
  root, resolution = parse_name(name)
  if not os.path.isdir(root):
    raise UserError(f"dataset.name {name!r}: no folder {root}")
  names = {split: _find(root, folders) for split, folders in _FOLDER_SPLITS.items()}
  for split, entries in names.items():
    if not entries:
      raise UserError(
        f"dataset.name {name!r}: no images in {root}/{split}/<class>/ (or in tars of "
        "such folders); splits are called train and validation"
      )
  classes = sorted({class_name for class_name, _ in names["train"]})
  unknown = sorted({c for c, _ in names["validation"]} - set(classes))
  if unknown:
    raise UserError(
      f"dataset.name {name!r}: class {unknown[0]} has validation images, "
      "but none for training"
    )
  colors = colors or 3
  sources = {
    split: _FileSource(
      [entry for _, entry in entries],
      [classes.index(c) for c, _ in entries],
      resolution,
      colors,
    )
    for split, entries in names.items()
  }
  class_names, indices = _read_class_table(root, classes)
  return RandomAccessDataset(
    sources,
    name=name,
    resolution=resolution,
    colors=colors,
    seed=seed,
    transform=transform,
    class_names=class_names,
    imagenet_indices=indices,
  )


def parse_name(name):
  path = name[len("folder:") :] if name.startswith("folder:") else name
  root, at, resolution = path.rpartition("@")
  if not at or not resolution.isdecimal() or not int(resolution):
    raise UserError(
      f"dataset.name {name!r} does not say the size of the images; append it: {path}@64"
    )
  if int(resolution) > MAX_RESOLUTION:
    raise UserError(
      f"dataset.name {name!r}: images of more than {MAX_RESOLUTION} px a "
      f"side are not trained on; append a smaller size: {root}@64"
    )
  return root, int(resolution)


def _find(root, folders):
  """Sorted (class, entry) of every image below root/<one of folders>/<class>/."""
  found = []
  for folder in folders:
    top = os.path.join(root, folder)
    for class_name in sorted(os.listdir(top)) if os.path.isdir(top) else []:
      class_folder = os.path.join(top, class_name)
      for file in (
        sorted(os.listdir(class_folder)) if os.path.isdir(class_folder) else []
      ):
        path = os.path.join(class_folder, file)
        if file.lower().endswith(image_lib.EXTENSIONS):
          found.append((class_name, (path, path, None, _size(path))))
  for tar in sorted(os.listdir(root)):
    if tar.endswith(".tar"):
      found.extend(_find_in_tar(os.path.join(root, tar), folders))
  return sorted(found)


def _size(path):
  try:
    return os.path.getsize(path)
  except OSError as error:  # a link to nowhere, or to itself
    raise UserError(
      f"{path} cannot be read ({error.strerror}); put it back or remove it"
    ) from None


def _find_in_tar(path, folders):
  """Images are read from the tar in place: nothing is ever extracted."""
  try:
    with tarfile.open(path, "r:") as tar:
      for member in tar:
        parts = member.name.split("/")
        if (
          member.isfile()
          and len(parts) == 3
          and parts[0] in folders
          and parts[2].lower().endswith(image_lib.EXTENSIONS)
        ):
          name = f"{path}:{member.name}"
          yield parts[1], (name, path, member.offset_data, member.size)
  except tarfile.TarError as error:
    raise UserError(f"{path} is not a readable tar ({error}); make it again") from None


def _read_class_table(root, classes):
  """Names and ImageNet indices from <root>/classes.tsv, if it is there."""
  path = os.path.join(root, "classes.tsv")
  if not os.path.exists(path):
    return classes, None
  try:
    with open(path, newline="", encoding="utf-8") as f:
      table = {
        row["wnid"]: (row["name"].split(",")[0], int(row["imagenet_index"]))
        for row in csv.DictReader(f, delimiter="\t")
      }
    if not all(0 <= index < 1000 for _, index in table.values()):
      raise ValueError("an imagenet_index is not 0 to 999")
  except (OSError, AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
    raise UserError(
      f"{path} is damaged ({error}); it has the columns wnid, name and "
      "imagenet_index between tabs; put it right or remove it"
    ) from None
  missing = [c for c in classes if c not in table]
  if missing:
    raise UserError(
      f"{path} does not list class {missing[0]}; add it, or remove the file"
    )
  names, indices = zip(*(table[c] for c in classes))
  return list(names), np.asarray(indices)
