"""Your own logits in place of a classifier: a file with a row for each image.

`cache-logits --logits` reads the file (`read`), and writes a cache whose manifest says
that it was given. GivenLogits is such a cache as a model: it has logits of the data
set's own images, which it finds by their pixels, and of no others.
"""

from __future__ import annotations

import csv
import functools
import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from compare_gan_logits.classifiers import foreign
from compare_gan_logits.classifiers import logit_cache
from compare_gan_logits.classifiers.sources import Bound
from compare_gan_logits.classifiers.sources import Model
from compare_gan_logits.classifiers.spec import Spec
from compare_gan_logits.errors import UserError


# Start of a handle; the cache's folder follows.
PREFIX = "logits:"
_UNKNOWN = (
  "the logits come from a file, which has none of pictures outside the data set: what "
  "has to classify other pictures (reconstructions, changed or new ones) needs the "
  "classifier itself"
)


def read(path: str, names: Sequence[str] | None, total: int) -> np.ndarray:
  """Logits float32 [total, n] in the data set's order, from a file.

  Args:
    path: .npy, an array [total, n]; .npz, an array `logits` and, if rows are in another
      order, `names` or `ids` [total]; or .csv (.tsv), a line for each image that begins
      with its name or its id, with or without a line of headings.
    names: of the data set's images, in its order, where it has any.
    total: images of the split.

  Raises:
    UserError: the file is damaged, or an image has no row or two.
  """
  if not os.path.isfile(path):
    raise UserError(f"--logits: there is no file {path}")
  try:
    keys, logits = _READERS[os.path.splitext(path)[1].lower()](path)
  except KeyError as error:
    raise UserError(
      f"{path} is not a file of logits: it must be .npy, .npz (with an array 'logits') "
      "or .csv"
    ) from error
  except (
    OSError,
    EOFError,
    ValueError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
  ) as error:
    raise UserError(f"{path} holds no logits ({error}); write it again") from error
  logits = np.asarray(logits)
  if logits.ndim != 2 or logits.dtype.kind not in "fiu" or not logits.size:
    raise UserError(
      f"{path} holds {logits.dtype} {list(logits.shape)}, not numbers [images, logits]"
    )
  if not np.all(np.isfinite(logits)):
    row = int(np.argmin(np.isfinite(logits).all(axis=1)))
    raise UserError(
      f"{path} has a logit that is not finite in row {row}; write it again"
    )
  logits = logits.astype(np.float32)
  if keys is None:
    if len(logits) != total:
      raise UserError(
        f"{path} has {len(logits)} rows, and the split {total} images; --list prints "
        "them in order"
      )
    return _varied(logits, path)
  if len(keys) != len(logits):
    raise UserError(
      f"{path} has {len(keys)} names for {len(logits)} rows of logits; write it again"
    )
  rows = _rows(path, [str(key) for key in keys], names, total)
  return _varied(logits[rows], path)


def _varied(logits, path):
  if len(logits) > 1 and not np.any(np.ptp(logits, axis=0)):
    raise UserError(f"{path} gives every image the same logits; write it again")
  return logits


def _read_npz(path):
  with np.load(path, allow_pickle=False) as arrays:
    keys = arrays.get("names", arrays.get("ids"))
    if "logits" not in arrays:
      raise ValueError("it has no array 'logits'")
    return keys, arrays["logits"]


def _read_table(path, delimiter):
  with open(path, newline="", encoding="utf-8-sig") as f:  # Excel's files begin so
    rows = [row for row in csv.reader(f, delimiter=delimiter) if row]
  if rows and not _numbers(rows[0][1:]):  # headings
    rows = rows[1:]
  if not rows or len({len(row) for row in rows}) != 1:
    raise ValueError("its lines are not of one length")
  return [row[0] for row in rows], np.array([row[1:] for row in rows], np.float64)


def _numbers(cells):
  try:
    [float(cell) for cell in cells]
  except ValueError:
    return False
  return True


_READERS = {
  ".npy": lambda path: (None, np.load(path, allow_pickle=False)),
  ".npz": _read_npz,
  ".csv": functools.partial(_read_table, delimiter=","),
  ".tsv": functools.partial(_read_table, delimiter="\t"),
}


def _rows(path, keys, names, total):
  """For each image of the data set, the row of the file that names it."""
  places = {key: row for row, key in enumerate(keys)}
  if len(places) < len(keys):
    twice = next(key for row, key in enumerate(keys) if places[key] != row)
    raise UserError(f"{path} has two rows for {twice}")
  missing = None
  for wanted in _ways_to_name(names, total):
    found = [places.get(name) for name in wanted]
    if None not in found:
      return found
    unnamed = wanted[found.index(None)]
    if len(set(found)) > 1:
      raise UserError(f"{path} has no row for {unnamed}; --list prints all images")
    missing = missing or unnamed
  raise UserError(
    f"{path} has rows for {keys[0]} and others, none of which the data set has; its "
    f"first image is {missing}; --list prints all"
  )


def _ways_to_name(names, total):
  """Lists of names that a file may use: whole, by the last part if that is unique, ids."""
  if names is not None:
    yield list(names)
    short = [os.path.basename(name) for name in names]
    if len(set(short)) == len(short):
      yield short
  yield [str(i) for i in range(total)]


class GivenLogits(Model):
  """A cache of given logits, as a model of the images that it is of."""

  def __init__(self, folder: str):
    """Raises UserError: it is no such cache, or one that a classifier filled."""
    self._folder = folder
    self._manifest = logit_cache.manifest(folder, "train")
    if not self._manifest.get("given"):
      raise UserError(
        f"the cache {folder} was made with the classifier "
        f"{self._manifest.get('classifier')}; bind classifier.handle to that"
      )

  def facts(self) -> dict:
    names = self._manifest.get("class_names")
    return {
      "name": self._manifest["classifier"],
      "class_names": tuple(names) if names else None,
      "resize": "none",
      "colors": self._manifest["transform"]["colors"],
      "source": "logits given by the user",
    }

  def bind(self, spec: Spec) -> Bound:
    """Raises UserError where the spec would change what is given."""
    for name in ("softmax", "drop_column", "pool", "output"):
      value = getattr(spec, name)
      if value is not None and value is not False:
        raise UserError(
          f"classifier.{name} is for networks, and these logits are given: leave it out, "
          "and write into the file what is to be inverted (of probabilities, the "
          "logarithms)"
        )
    shape = (None, self._manifest["num_logits"])
    return Bound(
      call=foreign.graph_function(self._look_up, shape),
      digest=logit_cache.content_digest(self._folder, "train"),
      input_shape=None,
      output_shape=shape,
      no_gradient=f"has no gradient: {_UNKNOWN}",
      numpy_only=True,
      lookup=self._look_up,
    )

  def _look_up(self, images: np.ndarray) -> np.ndarray:
    """Logits [b, n] of images [b, h, w, c] of the data set, in [0, 1]."""
    found = np.empty([len(images), self._manifest["num_logits"]], np.float32)
    for row, key in enumerate(logit_cache.image_keys(images)):
      for places, logits in self._splits:
        place = places.get(int(key))
        if place is not None:
          found[row] = logits[place]
          break
      else:
        raise UserError(_UNKNOWN + self._hint())
    return found

  def _hint(self):
    if logit_cache.has(self._folder, "validation"):
      return ""
    return (
      "; the cache has no logits of validation images, which cache-logits --split "
      "validation --logits FILE adds"
    )

  @functools.cached_property
  def _splits(self):
    """[({key of an image: its id}, logits)] of the splits that the cache has."""
    found = []
    for split in ("validation", "train"):
      if logit_cache.has(self._folder, split):
        keys, logits = logit_cache.open_given(self._folder, split)
        found.append(({int(key): place for place, key in enumerate(keys)}, logits))
    return found
