"""Examines every file before the first step: its header, its end, and a sample of its
bytes. A file that does not end as its format does is decoded.

The fingerprint of a set is made from the names inside it and these samples. The result is
kept in the user's cache folder, and is valid as long as no file is replaced.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from compare_gan_logits import files
from compare_gan_logits import images as image_lib
from compare_gan_logits.datasets.image_set import digest
from compare_gan_logits.datasets.listing import File
from compare_gan_logits.datasets.listing import printable
from compare_gan_logits.errors import UserError


_WHOLE = 65536  # bytes: of larger files a sample is read
_PIECE = 8192
_PIECES = 6
_END = 1024
_SHOW_PROGRESS = 5000  # files
_FORMAT = 2


class Examination(NamedTuple):
  """What was found in n files.

  Attributes:
    samples: S16 [n], digests of sizes and sampled bytes.
    sizes: int32 [n, 2], height and width once upright; 0 where it cannot be read.
    kinds: U16 [n], format and colours, such as "JPEG RGB".
    errors: {place: sentence} of the files that cannot be read.
  """

  samples: np.ndarray
  sizes: np.ndarray
  kinds: np.ndarray
  errors: dict


def sample(file: File, start: bytes | None = None) -> bytes:
  """A digest of a file's size and bytes.

  Of more than 64 KiB, the first 64 KiB are taken and six pieces of 8 KiB, evenly placed
  in the rest, of which the last one ends with the file.
  """
  start = file.read(_WHOLE) if start is None else start
  whole = hashlib.sha256(str(file.size).encode() + b":" + start)
  if file.size > _WHOLE:
    last = max(_WHOLE, file.size - _PIECE)
    for place in np.linspace(_WHOLE, last, _PIECES).astype(int):
      whole.update(file.read(_PIECE, int(place)))
  return whole.hexdigest()[:16].encode()


def examine(pictures: Sequence[File]) -> Examination:
  """Looks at every file, in parallel; shows progress where there are many.

  Args:
    pictures: the files.
  """
  path = os.path.join(files.cache_folder(), f"pictures-{_stamp(pictures)}.npz")
  found = _load(path, len(pictures))
  if found is None:
    found = _examine(pictures)
    with contextlib.suppress(UserError, OSError):  # Without it, the next look is slow.
      _save(path, found)
  return found


def _examine(pictures):
  with concurrent.futures.ThreadPoolExecutor(num_threads()) as pool:
    looks = tqdm.tqdm(
      pool.map(_look, pictures, chunksize=64),
      "looking at the pictures",
      len(pictures),
      disable=len(pictures) < _SHOW_PROGRESS or not sys.stderr.isatty(),
      leave=False,
    )
    samples, sizes, kinds, errors = zip(*looks)
  return Examination(
    np.array(samples, "S16"),
    np.array(sizes, np.int32).reshape(-1, 2),
    np.array(kinds, "U16"),
    {place: error for place, error in enumerate(errors) if error},
  )


def num_threads() -> int:
  """Cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _look(file):
  """(sample, (height, width), kind, error) of a file."""
  name = printable(file.name)
  try:
    start = file.read(_WHOLE)
    found = sample(file, start)
  except UserError as error:
    return b"", (0, 0), "", str(error)
  try:
    header = _header(file, start, name)
    end = file.read(_END, max(0, file.size - _END))
    if image_lib.may_be_cut(header.kind, end):
      image_lib.read_whole(file.read(), 3, name=name)
  except UserError as error:
    return found, (0, 0), "", str(error)
  return found, (header.height, header.width), f"{header.kind} {header.mode}", ""


def _header(file, start, name):
  try:
    return image_lib.read_header(start, name)
  except UserError:
    if file.size <= _WHOLE:
      raise
    # Some formats have their header at the end, or much before it.
    return image_lib.read_header(file.read(), name)


def _stamp(pictures):
  whole = hashlib.sha256(f"{_FORMAT} {image_lib.formats()}".encode())
  for file in pictures:
    facts = f"\0{file.offset} {file.size} {file.stamp}"
    whole.update(file.name.encode("utf-8", "surrogateescape") + facts.encode())
  return whole.hexdigest()[:32]


def _save(path, found):
  places = np.array(sorted(found.errors), np.int64)
  with files.atomic_path(path) as temporary:
    np.savez_compressed(
      temporary,
      samples=found.samples,
      sizes=found.sizes,
      kinds=found.kinds,
      places=places,
      errors=np.array([found.errors[i] for i in places], str),
    )


def _load(path, total):
  try:
    with np.load(path) as kept:
      errors = dict(zip(kept["places"].tolist(), kept["errors"].tolist()))
      found = Examination(kept["samples"], kept["sizes"], kept["kinds"], errors)
  except (OSError, ValueError, KeyError, EOFError):
    return None
  except Exception:  # noqa: BLE001, a damaged zip raises what it likes
    return None
  return found if len(found.samples) == total else None


def fingerprint(keys: Sequence[str], samples: np.ndarray) -> str:
  """A digest of pictures by their names within the set and their samples."""
  return digest(
    *(
      key.encode("utf-8", "surrogateescape") + b"\0" + bytes(value)
      for key, value in zip(keys, samples)
    )
  )
