"""Logits of a whole data set on disk, so that the classifier runs once per image.

A split's cache is a folder with manifest.json and shards. A shard is one .npy file
of records (id, label, logits) for a run of consecutive ids, so that any id is read
in place through a memory map, without an index and without reading the rest. Its
digest lies beside it. Shards appear whole or not at all; a killed run goes on with
those that are missing. Several workers share the shards out by number, so that they
need no lock between them, which remote file systems do not have.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import files
from compare_gan_logits import utils
from compare_gan_logits.errors import UserError


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


_MANIFEST = "manifest.json"
_FORMAT = 1
# What a cache cannot be read, or told apart from others, without.
_NEEDED = ("classifier", "num_examples", "num_logits", "shards", "dtype")
# Of given logits, beside the shards: which image has which row.
_KEYS = "keys.npy"


def write(
  classifier: Classifier,
  dataset: ImageDataset,
  split: str,
  folder: str,
  shards: int = 8,
  half: bool = False,
  batch_size: int = 128,
  logits: np.ndarray | None = None,
  log: Callable[[str], None] = print,
  worker: int = 0,
  num_workers: int = 1,
) -> None:
  """Caches the logits of a split's images below `folder`.

  Args:
    classifier: classifiers.Classifier.
    dataset: datasets.ImageDataset, whose images are the same at each reading.
    split: "train" or "validation".
    folder: what classifier.cache_dir is then bound to; has a folder per split.
    shards: files to make.
    half: store float16, at half the size and with 3 digits.
    batch_size: images at a time.
    logits: [num_examples, num_logits] by id, if they are known already; then no image is
      read, and labels are kept as -1.
    log: function of a line of text.
    worker, num_workers: make every num_workers-th shard only, so that as many
      processes make a whole cache, and none decodes an image of another's.

  Raises:
    UserError: the folder holds a cache of something else, or logits have another shape.
  """
  folder = os.path.join(folder, split)
  total = dataset.num_examples(split)
  shards = -(-total // _per_shard(total, shards))  # Without empty ones.
  manifest = _facts(classifier, dataset, split)
  manifest.update(shards=shards, dtype="float16" if half else "float32")
  if not 0 <= worker < num_workers <= shards:
    raise UserError(
      f"worker {worker} of {num_workers}: workers are 0 ... {num_workers - 1}, and "
      f"there are no more workers than shards ({shards})"
    )
  purpose = "caching" if num_workers == 1 else f"caching-{worker}-of-{num_workers}"
  with files.locked(folder, purpose):
    _fill(
      classifier,
      dataset,
      split,
      folder,
      manifest,
      batch_size,
      log,
      logits,
      range(worker, shards, num_workers),
    )


def _fill(classifier, dataset, split, folder, manifest, batch_size, log, logits, own):
  """Makes those of a worker's own shards that are missing or damaged."""
  path, shards = os.path.join(folder, _MANIFEST), manifest["shards"]
  if files.is_file(path):
    _compare(manifest, folder)
  else:
    files.write_json(path, manifest)
  missing = [shard for shard in own if not _complete(folder, shard, shards)]
  log(f"{folder}: {len(missing)} of {len(own)} shards to make")
  if logits is None:
    made = _computed(classifier, dataset, split, manifest, missing, batch_size)
  else:
    made = _given(np.asarray(logits), manifest, missing)
  started, done = time.monotonic(), 0
  with contextlib.closing(made):  # A session left to the end of Python waits for ever.
    for shard, records in made:
      _write_shard(folder, shard, shards, records)
      done += len(records)
      log(
        f"shard {shard + 1} of {shards}: {len(records)} images, "
        f"{done / (time.monotonic() - started):.0f} images/s"
      )


def write_given(
  logits: np.ndarray,
  name: str,
  class_names: Sequence[str] | None,
  dataset: ImageDataset,
  split: str,
  folder: str,
  shards: int = 8,
  half: bool = False,
  log: Callable[[str], None] = print,
) -> None:
  """Caches logits that the user has, in place of a classifier's.

  Args:
    logits: float32 [num_examples, n], by id.
    name: what they are called.
    class_names: one for each logit, or None.
    dataset: datasets.ImageDataset; each image is read once, so that it is known again.
    split: "train" or "validation".
    folder: as in `write`; as are shards, half and log.

  Raises:
    UserError: the folder holds a cache of something else, or the logits do not fit.
  """
  if class_names is not None and len(class_names) != logits.shape[1]:
    raise UserError(
      f"classifier.class_names has {len(class_names)} names for {logits.shape[1]} logits"
    )
  folder = os.path.join(folder, split)
  total = dataset.num_examples(split)
  shards = -(-total // _per_shard(total, shards))
  manifest = {
    "given": hashlib.sha256(np.ascontiguousarray(logits).tobytes()).hexdigest(),
    "classifier": name,
    "class_names": None if class_names is None else list(class_names),
    "num_logits": logits.shape[1],
    **_facts_of_images(dataset, split),
    "shards": shards,
    "dtype": "float16" if half else "float32",
  }
  with files.locked(folder, "caching"):
    if files.is_file(os.path.join(folder, _MANIFEST)):
      _compare(manifest, folder)
    if not files.is_file(os.path.join(folder, _KEYS)):
      with files.atomic_path(os.path.join(folder, _KEYS)) as temporary:
        np.save(temporary, _keys(dataset, split))
    _fill(None, dataset, split, folder, manifest, None, log, logits, range(shards))


def _keys(dataset, split):
  """A key for each image of a split, in its order."""
  return np.concatenate([image_keys(part) for part in _read(dataset, split, "image")])


def labels(dataset: ImageDataset, split: str) -> np.ndarray:
  """Label of each image of a split, int [n], in its order."""
  return np.concatenate(list(_read(dataset, split, "label")))


def _read(dataset, split, key):
  """Yields batches of what `dataset.load` has under `key`."""
  with dataset.naming_damage(), tf.Graph().as_default(), tf.Session() as session:
    batches = dataset.load(split).batch(128)
    values = utils.next_element(batches)[key]
    yield from utils.run_to_end(session, values)


def image_keys(images: np.ndarray) -> np.ndarray:
  """64 bits of each image's digest, uint64 [b]; images [b, h, w, c] in [0, 1]."""
  pixels = np.round(np.asarray(images) * 255.0).astype(np.uint8)
  return np.array(
    [
      int.from_bytes(hashlib.blake2b(p.tobytes(), digest_size=8).digest(), "little")
      for p in pixels
    ],
    np.uint64,
  )


def manifest(folder: str, split: str) -> dict[str, Any]:
  """What a split's cache is of; raises UserError where there is none."""
  return _manifest(os.path.join(folder, split))


def _manifest(folder):
  """What the cache in a split's folder is of; raises as `manifest` does."""
  path = os.path.join(folder, _MANIFEST)
  if not files.is_file(path):
    raise UserError(
      f"no logit cache in {folder}; make it with compare-gan-logits cache-logits"
    )
  found = files.read_json(path)
  if not isinstance(found, dict) or not set(_NEEDED) <= set(found):
    raise UserError(
      f"{path} is damaged; remove {folder}, and fill it again with compare-gan-logits "
      "cache-logits"
    )
  return found


def has(folder: str, split: str) -> bool:
  """Whether there is a cache of a split."""
  return files.is_file(os.path.join(folder, split, _MANIFEST))


def content_digest(folder: str, split: str) -> str:
  """SHA-256 (hex) of a split's given logits."""
  return str(manifest(folder, split)["given"])


def open_given(folder: str, split: str) -> tuple[np.ndarray, CachedLogits]:
  """(keys of the images, logits) of given logits; raises as `open` does."""
  found = manifest(folder, split)
  folder = os.path.join(folder, split)
  path = os.path.join(folder, _KEYS)
  try:
    with tf.io.gfile.GFile(path, "rb") as f:
      keys = np.load(f, allow_pickle=False)
  except (OSError, ValueError, tf.errors.OpError) as error:
    raise UserError(
      f"{path} is damaged or missing ({error}); remove {folder}, and fill it again"
    ) from error
  return keys, CachedLogits(folder, found)


def _facts(classifier, dataset, split):
  """What a cache's content depends on."""
  if classifier.only_known_images:
    return {
      "num_logits": classifier.num_logits,
      **_facts_of_images(dataset, split),
    }
  return {
    "classifier": classifier.spec.name,
    "classifier_digest": classifier.digest,
    "num_logits": classifier.num_logits,
    **_facts_of_images(dataset, split),
  }


def _facts_of_images(dataset, split):
  if dataset.varies(split):
    raise UserError(
      f"the split {split} of {dataset.name} is cropped anew at each reading, so its "
      "logits cannot be cached; bind dataset.fixed_crops, the number of crops of "
      "each image that are drawn once and cached"
    )
  return {
    "format": _FORMAT,
    "dataset": dataset.name,
    "fingerprint": dataset.fingerprint(split),
    "split": split,
    "num_examples": dataset.num_examples(split),
    "transform": dataset.describe_transform(split),
  }


def _compare(wanted, folder):
  """The manifest of a cache, which is refused if it differs in anything of `wanted`."""
  found = _manifest(folder)
  for name, value in wanted.items():
    # Images and classifier may be called otherwise now: fingerprint and digest tell.
    if found.get(name) != value and name not in ("dataset", "classifier"):
      images = "of other images, " if name == "fingerprint" else ""
      raise UserError(
        f"the cache {folder} was made {images}with {name} {found.get(name)!r}, not "
        f"{value!r}; bind classifier.cache_dir to another folder, and fill it with "
        "compare-gan-logits cache-logits"
      )
  return found


def _given(logits, manifest, missing):
  """Yields what _computed does, of logits that are known already."""
  shape = manifest["num_examples"], manifest["num_logits"]
  if logits.shape != shape:
    raise UserError(f"logits have the shape {logits.shape}, not {shape}")
  per_shard = _per_shard(shape[0], manifest["shards"])
  for shard in missing:
    ids = np.arange(shard * per_shard, min((shard + 1) * per_shard, shape[0]))
    dtype = _dtype(manifest["dtype"], shape[1])
    yield shard, _records(dtype, ids, -1, logits[ids])


def _computed(classifier, dataset, split, manifest, missing, batch_size):
  """Yields (shard, records in the order of ids) for the shards in `missing`."""
  total, shards = manifest["num_examples"], manifest["shards"]
  per_shard = _per_shard(total, shards)
  wanted = np.isin(np.arange(shards), missing)
  graph = tf.Graph()
  with graph.as_default():
    data = dataset.load(split, lambda i: tf.gather(wanted, i // per_shard))
    # No batch holds images of two shards: a shard's values, to the last bit, do not
    # depend on which others are missing.
    data = (
      data.window(per_shard)
      .flat_map(lambda shard: tf.data.Dataset.zip(shard).batch(batch_size))
      .prefetch(2)
    )
    element = utils.next_element(data)
    fetches = element["id"], element["label"], classifier(element["image"])
    initialize = tf.local_variables_initializer(), tf.tables_initializer()
  dtype = _dtype(manifest["dtype"], manifest["num_logits"])
  buffer = np.empty(0, dtype)
  with dataset.naming_damage(), tf.Session(graph=graph) as session:
    session.run(initialize)
    for shard in missing:
      size = min(per_shard, total - shard * per_shard)
      while len(buffer) < size:
        batch = _records(dtype, *session.run(fetches))
        buffer = np.concatenate([buffer, batch])
      yield shard, buffer[:size]
      buffer = buffer[size:]


def _records(dtype, ids, labels, logits):
  """Rows of a shard.

  Raises:
    UserError: logits are not finite, or exceed what the type holds.
  """
  records = np.empty(len(ids), dtype)
  records["id"], records["label"] = ids, labels
  with np.errstate(over="ignore"):  # told below
    records["logits"] = logits
  if np.isfinite(records["logits"]).all():
    return records
  if np.isfinite(logits).all():
    raise UserError(
      "some logits exceed 65504, which --half cannot hold; leave out --half, and name "
      "another folder"
    )
  raise UserError(
    "some logits are infinite or no numbers; check the classifier and its preprocessing"
  )


def _dtype(logits, num_logits):
  return np.dtype([("id", "<i8"), ("label", "<i4"), ("logits", logits, (num_logits,))])


def _per_shard(total, shards):
  return -(-total // shards)


def _path(folder, shard, shards):
  return os.path.join(folder, f"logits-{shard:05d}-of-{shards:05d}.npy")


def _write_shard(folder, shard, shards, records):
  path = _path(folder, shard, shards)
  with files.atomic_path(path) as temporary:
    np.save(temporary, records)
    digest = files.digest(temporary)
  # The digest comes last: a shard without one counts as missing.
  files.write_text(path + ".sha256", digest)


def _complete(folder, shard, shards):
  path = _path(folder, shard, shards)
  if not files.is_file(path) or not files.is_file(path + ".sha256"):
    return False
  with tf.io.gfile.GFile(path + ".sha256", "rb") as f:
    return f.read() == files.digest(path).encode()


def open(
  folder: str, classifier: Classifier, dataset: ImageDataset, split: str
) -> CachedLogits:
  """Cached logits, as a read-only array float32 [num_examples, n] indexed by id.

  Args:
    folder: as given to `write`.
    classifier: classifiers.Classifier that training would use in its place.
    dataset: datasets.ImageDataset.
    split: "train" or "validation".

  Returns:
    CachedLogits, which datasets' train(with_logits=...) takes.

  Raises:
    UserError: there is no cache, it is not complete, it is damaged, or it was made
      with another classifier, other preprocessing or other images.
  """
  folder = os.path.join(folder, split)
  return CachedLogits(folder, _compare(_facts(classifier, dataset, split), folder))


class CachedLogits:
  """Logits float32 [num_examples, n], read from disk when they are indexed.

  Nothing needs them all in memory: the shards are mapped. Those of a remote folder are
  first copied to this machine's disk, for as long as the object lives.

  Attributes:
    shape: (num_examples, n).
    dtype: numpy float32.
  """

  dtype = np.dtype(np.float32)

  def __init__(self, folder: str, manifest: Mapping[str, Any]) -> None:
    """Maps the shards; raises as `open` does."""
    total, shards = manifest["num_examples"], manifest["shards"]
    self.shape = total, manifest["num_logits"]
    self._per_shard = _per_shard(total, shards)
    present = [
      shard
      for shard in range(shards)
      if files.is_file(_path(folder, shard, shards) + ".sha256")
    ]
    if len(present) < shards:
      raise UserError(
        f"{folder} has {len(present)} of {shards} shards; run compare-gan-logits "
        "cache-logits again to finish it"
      )
    for shard in range(shards):
      if not _complete(folder, shard, shards):
        raise UserError(
          f"{_path(folder, shard, shards)} is damaged; run compare-gan-logits "
          "cache-logits again, which makes it anew"
        )
    if files.is_remote(folder):
      self._copies = tempfile.TemporaryDirectory(prefix="compare_gan_logits-")
      for shard in range(shards):
        tf.io.gfile.copy(
          _path(folder, shard, shards), _path(self._copies.name, shard, shards)
        )
      folder = self._copies.name
    self._shards = [self._map(folder, shard, manifest) for shard in range(shards)]

  def _map(self, folder, shard, manifest):
    path = _path(folder, shard, manifest["shards"])
    start = shard * self._per_shard
    stop = min(start + self._per_shard, manifest["num_examples"])
    try:
      records = np.load(path, mmap_mode="r")
      sound = (
        records.dtype == _dtype(manifest["dtype"], manifest["num_logits"])
        and len(records) == stop - start
        and records["id"][0] == start
        and records["id"][-1] == stop - 1
      )
    except (OSError, ValueError):
      sound = False
    if not sound:
      raise UserError(
        f"{path} is damaged; remove it and run compare-gan-logits cache-logits again"
      )
    return records["logits"]

  def __len__(self):
    return self.shape[0]

  def __getitem__(self, ids):
    """Logits [n] of an id (int), or [b, n] of an array of ids or a slice."""
    if isinstance(ids, slice):
      ids = np.arange(*ids.indices(len(self)))
    ids = np.asarray(ids)
    flat = np.atleast_1d(ids)
    if flat.size and not 0 <= flat.min() <= flat.max() < len(self):
      raise IndexError(f"ids are 0 ... {len(self) - 1}")
    shards, rows = np.divmod(flat, self._per_shard)
    result = np.empty([len(flat), self.shape[1]], np.float32)
    for shard in np.unique(shards):
      here = shards == shard
      result[here] = self._shards[shard][rows[here]]
    return result if ids.ndim else result[0]

  def __array__(self, dtype=None, copy=None):
    if copy is False:
      raise ValueError("cached logits are read from disk, into a new array")
    return self[:].astype(dtype or self.dtype, copy=False)
