"""Decoded pictures on disk, so that each is decoded once for all epochs and runs.

A cache is a folder whose name is a digest of what its pixels depend on: the fingerprint
of the pictures, the size, and the program that decodes. Its pixels are one file, mapped
into memory. Beside it is a checksum of each picture, which is written last and compared
when a process first reads the picture: what a crash has left half written is decoded
again, and several runs fill a cache together without a lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib

import numpy as np
import PIL

from compare_gan_logits import files
from compare_gan_logits.datasets.image_set import digest
from compare_gan_logits.errors import UserError


_FORMAT = 1
_FACTS = "facts.json"


class PixelCache:
  """Pictures uint8 [h, w, c] by number, of which any may be missing.

  Args:
    folder: of this cache; made if need be.
    shapes: int [n, 2], height and width of each picture.
    colors: 1 or 3.
  """

  def __init__(self, folder: str, shapes: np.ndarray, colors: int) -> None:
    self._shapes = shapes.astype(np.int64)
    self._colors = colors
    sizes = self._shapes.prod(axis=1) * colors
    self._starts = np.concatenate([[0], np.cumsum(sizes)])
    self._equal = bool((shapes == shapes[0]).all())
    self._pixels = _mapped(os.path.join(folder, "pixels"), int(self._starts[-1]), "u1")
    self._checks = _mapped(os.path.join(folder, "checks"), len(shapes), "<u4")
    self._verified = np.zeros(len(shapes), bool)

  def get(self, i: int) -> np.ndarray | None:
    """Picture i, or None where it is missing or damaged."""
    values = self._pixels[self._starts[i] : self._starts[i + 1]]
    if not self._verified[i]:
      if not self._checks[i] or self._checks[i] != _check(values):
        return None
      self._verified[i] = True
    return values.reshape(*self._shapes[i], self._colors)

  def put(self, i: int, image: np.ndarray) -> None:
    """Keeps picture i."""
    self._pixels[self._starts[i] : self._starts[i + 1]] = image.ravel()
    self._checks[i] = _check(image.ravel())
    self._verified[i] = True

  def rows(self, ids: np.ndarray) -> np.ndarray | None:
    """Pictures of one shape, uint8 [n, h, w, c]; None unless all have been read before."""
    if not self._equal or not self._verified[ids].all():
      return None
    return self._pixels.reshape(-1, *self._shapes[0], self._colors)[ids]


def open_cache(
  parent: str, facts: dict, shapes: np.ndarray, colors: int, gigabytes: float
) -> tuple[PixelCache | None, str]:
  """A cache below `parent`, or None and the reason why there is none.

  Args:
    parent: folder of all caches; those not used for longest are removed where they and
      this one exceed `gigabytes`.
    facts: what the pixels depend on, JSON.
    shapes, colors: as PixelCache's.
    gigabytes: bound of the disk space of all caches below `parent`.
  """
  size = int(shapes.astype(np.int64).prod(axis=1).sum()) * colors
  facts = {**facts, "format": _FORMAT, "pillow": PIL.__version__, "bytes": size}
  folder = os.path.join(parent, digest(repr(sorted(facts.items())).encode()))
  if size > gigabytes * 1e9:
    return None, (
      f"decoded, they would take {size / 1e9:.1f} GB, more than "
      f"dataset.cache_gigabytes = {gigabytes:g}"
    )
  try:
    if not os.path.exists(os.path.join(folder, _FACTS)):
      _make_room(parent, gigabytes * 1e9 - size)
      free = shutil.disk_usage(_existing(parent)).free
      if free < 1.1 * size:
        return None, f"{parent} has {free / 1e9:.1f} GB left of {size / 1e9:.1f} needed"
      os.makedirs(folder, exist_ok=True)
      files.write_json(os.path.join(folder, _FACTS), facts)
    os.utime(os.path.join(folder, _FACTS))
    return PixelCache(folder, shapes, colors), ""
  except (OSError, UserError) as error:
    return None, str(error)


def _existing(folder):
  while not os.path.exists(folder):
    folder = os.path.dirname(folder)
  return folder


def _make_room(parent, limit):
  """Removes those caches that were opened longest ago, down to `limit` bytes."""
  caches = []
  for name in os.listdir(parent) if os.path.isdir(parent) else []:
    path = os.path.join(parent, name, _FACTS)
    with contextlib.suppress(OSError, UserError):
      size = int(files.read_json(path)["bytes"])
      caches.append((os.path.getmtime(path), size, os.path.dirname(path)))
  total = sum(size for _, size, _ in caches)
  for _, size, folder in sorted(caches):
    if total <= limit:
      return
    shutil.rmtree(folder, ignore_errors=True)
    total -= size


def _mapped(path, length, kind):
  """An array in a file, zeros at first."""
  size = length * np.dtype(kind).itemsize
  descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
  try:
    if os.fstat(descriptor).st_size != size:
      os.ftruncate(descriptor, size)
  finally:
    os.close(descriptor)
  return np.memmap(path, kind, "r+", shape=(length,))


def _check(values):
  """A checksum that is not 0, which stands for a picture that is missing."""
  return np.uint32(zlib.crc32(values) or 1)
