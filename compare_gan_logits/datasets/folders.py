"""An image set of the pictures in a folder, and how they are read."""

from __future__ import annotations

import concurrent.futures
import csv
import functools
import importlib.util
import itertools
import os
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from compare_gan_logits import files
from compare_gan_logits import images as image_lib
from compare_gan_logits.datasets import examination
from compare_gan_logits.datasets import layouts
from compare_gan_logits.datasets import listing as listing_lib
from compare_gan_logits.datasets import pixel_cache
from compare_gan_logits.datasets.image_set import check_split
from compare_gan_logits.datasets.listing import File
from compare_gan_logits.datasets.listing import Listing
from compare_gan_logits.datasets.listing import composed
from compare_gan_logits.datasets.listing import printable
from compare_gan_logits.datasets.made_up import MAX_RESOLUTION
from compare_gan_logits.datasets.random_access import RandomAccessDataset
from compare_gan_logits.datasets.transforms import Transform
from compare_gan_logits.errors import UserError


UNREADABLE_SHARE = 0.01
CACHE_GIGABYTES = 20.0
# Random crops are cut from pictures whose shorter side is so many times the model's.
_CROP_FROM = 2
_TOGETHER = 8  # pictures that a thread reads before it takes others


class FolderDataset(RandomAccessDataset):
  """A set of the pictures in a folder.

  Attributes:
    listing: listing.Listing, what lies in the folder, with what was left out and why.
    layout: layouts.Layout, what was made of it.
    examinations: {split: examination.Examination} of the pictures that can be read.
  """

  def __init__(
    self,
    listing: Listing,
    layout: layouts.Layout,
    examinations: dict,
    cache_gigabytes: float = CACHE_GIGABYTES,
    **kwargs: Any,
  ) -> None:
    super().__init__(**kwargs)
    self.listing = listing
    self.layout = layout
    self.examinations = examinations
    self._cache_gigabytes = cache_gigabytes

  def source(self, split: str) -> FileSource:
    split = check_split(split)
    if split not in self._sources:
      raise UserError(
        f"{self.listing.root} has no pictures for the split {split}, only for "
        f"{', '.join(self._sources)}; put some there, or name another set"
      )
    return self._sources[split]

  def keep_pixels(self, beside: str) -> None:
    """Keeps what is decoded in a folder of caches, which runs share.

    Args:
      beside: a run's folder; the caches lie beside it. For a remote one they lie in
        this machine's folder for temporary files.
    """
    if files.is_remote(beside):
      parent = os.path.join(tempfile.gettempdir(), "compare_gan_logits-pixels")
    else:
      parent = os.path.join(os.path.dirname(files.absolute(beside)), ".pixels")
    for split, source in self._sources.items():
      whole = self.transform.takes_whole(split)
      reason = source.keep(parent, self._cache_gigabytes, whole)
      if reason:
        print(f"{self.name}: pictures are decoded anew each time: {reason}")
        return


def folder(
  name: str,
  seed: int,
  colors: int = 3,
  transform: Transform | None = None,
  labels: str | None = None,
  unreadable_share: float = UNREADABLE_SHARE,
  cache_gigabytes: float = CACHE_GIGABYTES,
) -> FolderDataset:
  """The pictures of "folder:PATH@SIZE", or "PATH@SIZE".

  Args:
    name: as gin gives it.
    seed, colors, transform: as ImageDataset's.
    labels: table of files and classes, where folders do not say them.
    unreadable_share: of the pictures, that may be unreadable; those are left out.
    cache_gigabytes: bound of the disk space for decoded pictures.

  Raises:
    UserError: no pictures are found, too many cannot be read, or classes are unclear.
  """
  root, resolution = parse_name(name)
  check_folder(root, f"dataset.name {name!r}: ")
  listing = listing_lib.scan(root)
  layout = layouts.recognise(listing, labels)
  examinations = {
    split: examination.examine(pictures) for split, pictures in layout.pictures.items()
  }
  _leave_out(listing, layout, examinations, unreadable_share)
  classes, notes = _classes(root, layout)
  numbers = {name: i for i, name in enumerate(classes)}
  sources = {
    split: FileSource(
      pictures,
      [-1 if c is None else numbers[c] for c in layout.classes[split]],
      resolution,
      colors,
      examinations[split],
      layout.keys[split],
      unreadable_share,
    )
    for split, pictures in layout.pictures.items()
  }
  class_names, indices = _read_class_table(root, classes)
  found = FolderDataset(
    listing,
    layout,
    examinations,
    cache_gigabytes,
    sources=sources,
    name=name,
    resolution=resolution,
    colors=colors,
    seed=seed,
    class_names=class_names,
    imagenet_indices=indices,
    transform=transform,
  )
  found.notes = [*layout.notes, *notes, *listing.left_out_notes()]
  return found


def check_folder(root: str, written: str = "") -> None:
  """Refuses what is no folder; `written` begins the sentence.

  Raises:
    UserError: it is a file, or does not exist.
  """
  if not os.path.isdir(root):
    if os.path.exists(root):
      raise UserError(f"{written}{root} is a file; name the folder that it lies in")
    raise UserError(f"{written}{root} does not exist; name a folder of pictures")


def parse_name(name: str) -> tuple[str, int]:
  """ "folder:PATH@SIZE" -> (PATH, SIZE).

  Raises:
    UserError: there is no size, or it is not one that can be trained on.
  """
  path = name[len("folder:") :] if name.startswith("folder:") else name
  root, at, resolution = path.rpartition("@")
  if not at or not resolution.isdecimal() or not int(resolution):
    raise UserError(
      f"dataset.name {name!r} does not say the size of the images; append it: {path}@64"
    )
  if int(resolution) > MAX_RESOLUTION:
    raise UserError(
      f"dataset.name {name!r}: images of more than {MAX_RESOLUTION} px a side are not "
      f"supported; append a smaller size: {root}@64"
    )
  return os.path.expanduser(root), int(resolution)


def _leave_out(listing, layout, examinations, share):
  """Takes out what cannot be read, up to a share of all."""
  total = sum(len(pictures) for pictures in layout.pictures.values())
  errors = [e for found in examinations.values() for e in found.errors.values()]
  if total == len(errors):
    raise UserError(
      f"none of the {total} pictures in {listing.root} can be read; {errors[0]}"
    )
  if len(errors) > _allowed(share, total):
    raise UserError(
      f"{len(errors)} of {total} pictures in {listing.root} cannot be read, more than "
      f"dataset.unreadable_share = {share:g} allows; the first: {errors[0]}"
    )
  for split, found in examinations.items():
    if not found.errors:
      continue
    for place, error in found.errors.items():
      name = layout.pictures[split][place].name
      print(f"left out: {error}", file=sys.stderr)
      listing.left_out["pictures that cannot be read"].append(name)
    kept = np.setdiff1d(np.arange(len(found.samples)), list(found.errors))
    for column in (layout.pictures, layout.classes, layout.keys):
      column[split] = [column[split][i] for i in kept]
    examinations[split] = examination.Examination(
      found.samples[kept], found.sizes[kept], found.kinds[kept], {}
    )
    if not len(kept):
      raise UserError(f"{listing.root}: none of the {split} pictures can be read")


def _allowed(share, total):
  """Number of pictures that may be unreadable: one always may."""
  return max(1, int(share * total))


# Classes -----------------------------------------------------------------------


def _classes(root, layout):
  """Class names by label, and a sentence on their order."""
  named = {
    split: {c for c in classes if c is not None}
    for split, classes in layout.classes.items()
  }
  training = named.get("train") or set.union(*named.values())
  unknown = sorted(named.get("validation", set()) - training, key=layouts.natural)
  if unknown:
    raise UserError(
      f"{root}: class {printable(unknown[0])} has validation images, but none for "
      "training"
    )
  if not training:
    return ["not known"], []
  path = os.path.join(root, "classes.txt")
  if os.path.isfile(path):
    classes = _read_class_list(path, training)
    return classes, [f"classes are in the order of {path}"]
  classes = sorted(training, key=layouts.natural)
  if any(re.search(r"\d", c) for c in classes) and classes != sorted(classes):
    return classes, [
      "classes are ordered by number (2 before 10); list them in "
      f"{path} for another order"
    ]
  return classes, []


def _read_class_list(path, training):
  with open(path, encoding="utf-8-sig", errors="surrogateescape") as f:
    classes = [composed(line.strip()) for line in f if line.strip()]
  missing = sorted(training - set(classes), key=layouts.natural)
  if missing or len(set(classes)) < len(classes):
    what = f"does not list class {missing[0]}" if missing else "lists a class twice"
    raise UserError(
      f"{path} {what}; it must have one class per line; correct or remove it"
    )
  return classes


def _read_class_table(root, classes):
  """Names and ImageNet indices, from <root>/classes.tsv or by the names themselves."""
  path = os.path.join(root, "classes.tsv")
  if not os.path.exists(path):
    numbers = _imagenet_numbers()
    if classes and all(c in numbers for c in classes):
      return classes, np.asarray([numbers[c] for c in classes])
    return classes, None
  try:
    with open(path, newline="", encoding="utf-8-sig") as f:
      table = {
        composed(row["wnid"]): (row["name"].split(",")[0], int(row["imagenet_index"]))
        for row in csv.DictReader(f, delimiter="\t")
      }
    if not all(0 <= index < 1000 for _, index in table.values()):
      raise ValueError("an imagenet_index is not 0 to 999")
  except (OSError, AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
    raise UserError(
      f"{path} is damaged ({error}); it has the columns wnid, name and imagenet_index "
      "between tabs; correct or remove it"
    ) from None
  missing = [c for c in classes if c not in table]
  if missing:
    raise UserError(
      f"{path} does not list class {missing[0]}; add it, or remove the file"
    )
  names, indices = zip(*(table[c] for c in classes))
  return list(names), np.asarray(indices)


@functools.cache
def _imagenet_numbers():
  """{WordNet id: place among ImageNet's 1000 classes}, of TensorFlow Datasets."""
  package = importlib.util.find_spec("tensorflow_datasets")
  if package is None or not package.submodule_search_locations:
    return {}
  path = os.path.join(
    package.submodule_search_locations[0], "datasets", "imagenet2012", "labels.txt"
  )
  if not os.path.exists(path):
    return {}
  with open(path, encoding="utf-8") as f:
    return {wnid: i for i, wnid in enumerate(f.read().split())}


# Reading -----------------------------------------------------------------------


class FileSource:
  """Pictures in files or tars, decoded when they are read, and kept where wanted.

  A picture that can no longer be read is named, and the next one is used in its place.

  Args:
    pictures: list of File.
    labels: class of each, -1 where it is not known.
    resolution, colors: of the images.
    found: Examination of the pictures.
    keys: their names within the set.
    unreadable_share: of the pictures, that may turn out to be unreadable.
  """

  def __init__(
    self,
    pictures: Sequence[File],
    labels: Sequence[int],
    resolution: int,
    colors: int,
    found: examination.Examination,
    keys: Sequence[str],
    unreadable_share: float,
  ) -> None:
    self.labels = np.asarray(labels, np.int32)
    self._pictures = pictures
    self._resolution = resolution
    self._colors = colors
    self._found = found
    self.names = keys
    self._allowed = _allowed(unreadable_share, len(pictures))
    self._broken: set = set()
    self._lock = threading.Lock()
    self._caches: dict = {False: None, True: None}

  def keep(self, parent: str, gigabytes: float, whole: bool) -> str:
    """Keeps decoded pictures below `parent`; returns why not, if not."""
    facts = {"pictures": self.fingerprint(), "colors": self._colors, "whole": whole}
    shapes = self._shapes if whole else np.full([len(self.labels), 2], self._resolution)
    self._caches[whole], reason = pixel_cache.open_cache(
      parent,
      {**facts, "resolution": self._resolution},
      shapes,
      self._colors,
      gigabytes,
    )
    return reason

  @functools.cached_property
  def _shapes(self):
    """int [n, 2], of the pictures that random crops are cut from."""
    shortest = _CROP_FROM * self._resolution
    return np.array(
      [image_lib.scaled_shape(h, w, shortest) for h, w in self._found.sizes.tolist()]
    )

  def fingerprint(self) -> str:
    return examination.fingerprint(self.names, self._found.samples)

  def images(self, ids: np.ndarray) -> tuple[Any, np.ndarray]:
    return self._read(ids, whole=False)

  def originals(self, ids: np.ndarray) -> tuple[Any, np.ndarray]:
    return self._read(ids, whole=True)

  def _read(self, ids, whole):
    cache = self._caches[whole]
    if cache is not None and not whole and not self._broken:
      rows = cache.rows(ids)
      if rows is not None:
        return rows, ids
    parts = [ids[i : i + _TOGETHER] for i in range(0, len(ids), _TOGETHER)]
    read = _pool().map(lambda part: [self._one(int(i), whole) for i in part], parts)
    images, used = zip(*(pair for part in read for pair in part))
    return (list(images) if whole else np.stack(images)), np.asarray(used, np.int64)

  def _one(self, i, whole):
    """(picture, its id) of picture i, or of the next one that can be read."""
    for other in itertools.chain(range(i, len(self._pictures)), range(i)):
      if other in self._broken:
        continue
      try:
        return self._kept(other, whole), other
      except UserError as error:
        self._break(other, error)
    raise UserError("none of the pictures can be read any more")

  def _kept(self, i, whole):
    cache = self._caches[whole]
    image = None if cache is None else cache.get(i)
    if image is None:
      image = self._decode(i, whole)
      if cache is not None:
        cache.put(i, image)
    return image

  def _decode(self, i, whole):
    file = self._pictures[i]
    name = printable(file.name if file.offset is None else f"{file.path}: {file.name}")
    if not whole:
      return image_lib.read_image(file.read(), self._resolution, self._colors, name)
    height, width = self._shapes[i].tolist()
    return image_lib.read_whole(file.read(), self._colors, (height, width), name)

  def _break(self, i, error):
    with self._lock:
      if i in self._broken:
        return
      if len(self._broken) >= self._allowed:
        raise UserError(
          f"{error} ({len(self._broken)} before it could not be decoded either, which is "
          "as many as dataset.unreadable_share allows)"
        )
      self._broken.add(i)
      print(
        f"{error}; the next picture is used in its place ({len(self._broken)} of "
        f"{len(self._pictures)} so far)",
        file=sys.stderr,
        flush=True,
      )


@functools.cache
def _pool():
  return concurrent.futures.ThreadPoolExecutor(
    examination.num_threads(), thread_name_prefix="pictures"
  )
