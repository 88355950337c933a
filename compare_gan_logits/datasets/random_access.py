"""Sets whose images can be read in any order: arrays in memory, and files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.datasets.image_set import ImageDataset
from compare_gan_logits.datasets.image_set import check_split
from compare_gan_logits.datasets.image_set import digest
from compare_gan_logits.errors import UserError


class Source(Protocol):
  """The images of one split.

  Attributes:
    labels: int32 [n], -1 where one is not known.
  """

  labels: np.ndarray

  def images(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The central squares at the model's size.

    Returns:
      uint8 [len(ids), h, w, c], and the ids that were read: others than those asked
      for if an image could not be read and another was used in its place.
    """
    ...

  def originals(self, ids: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """As `images`, but the whole of each, uint8 [h, w, c], for random crops."""
    ...

  def fingerprint(self) -> str:
    """A digest of the images."""
    ...


class RandomAccessDataset(ImageDataset):
  """A set that reads any image by its id.

  Args:
    sources: dict of split to Source.
  """

  _eval_split = "validation"

  def __init__(self, sources: dict, **kwargs: Any) -> None:
    super().__init__(**kwargs)
    self._sources = sources

  def source(self, split: str) -> Source:
    return self._sources[check_split(split)]

  def num_examples(self, split: str) -> int:
    return len(self.source(split).labels) * self._copies(split)

  def fingerprint(self, split: str) -> str:
    return digest(
      self.source(split).fingerprint().encode(),
      repr(sorted(self.describe_transform(check_split(split)).items())).encode(),
    )

  def names(self, split: str) -> list | None:
    names = getattr(self.source(split), "names", None)
    # Of fixed crops several ids have one picture, which a name cannot tell apart.
    return names if self._copies(split) == 1 else None

  def class_counts(self, split: str) -> np.ndarray:
    labels = self.source(split).labels
    return np.bincount(labels[labels >= 0], minlength=self.num_classes or 1)

  def check_labelled(self, split: str) -> None:
    unknown = int((self.source(split).labels < 0).sum())
    if unknown:
      raise UserError(
        f"{unknown} images of the split {split} of {self.name} have no label; bind "
        "dataset.labels to a table of files and classes, or put them into class folders"
      )

  def arrays(
    self, split: str, limit: int | None = None, indices: Sequence[int] | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    ids = np.arange(self.num_examples(split)) if indices is None else indices
    ids = np.asarray(ids)[:limit]
    images, used = self._pixels(split, ids, ids)
    return images.astype(np.float32) / 255.0, self._labels(split, used)

  def load(self, split: str, where: Callable | None = None) -> tf.data.Dataset:
    dataset = tf.data.Dataset.range(self.num_examples(split))
    if where is not None:
      dataset = dataset.filter(where)
    batches = dataset.batch(64).map(lambda ids: (ids, ids))
    return self._read(batches, split, keep_ids=True).unbatch()

  def _load_dataset(self, split):
    return self.load(split).map(lambda element: (element["image"], element["label"]))

  def _endless_pairs(self):
    # Where crops or flips are drawn, each epoch draws its own.
    def ids(positions):
      return positions % self.num_examples(self._train_split), positions

    batches = tf.data.Dataset.range(np.iinfo(np.int64).max).batch(64).map(ids)
    elements = self._read(batches, self._train_split).unbatch()
    return elements.map(lambda element: (element["image"], element["label"]))

  def train(
    self,
    batch_size: int,
    split: str = "train",
    start: int = 0,
    shard: int = 0,
    num_shards: int = 1,
    with_logits: Any = None,
  ) -> tf.data.Dataset:
    def order(batch):
      positions = start + batch * batch_size + np.arange(batch_size)
      positions = positions * num_shards + shard
      return self._ids(split, positions), positions

    def to_tensors(batch):
      values = tf.numpy_function(order, [batch], [tf.int64, tf.int64])
      return [tf.ensure_shape(value, [batch_size]) for value in values]

    batches = tf.data.Dataset.range(np.iinfo(np.int64).max).map(
      lambda batch: tuple(to_tensors(batch))
    )
    return self._read(batches, split, with_logits).prefetch(2)

  def _copies(self, split):
    return self.transform.copies(check_split(split))

  def _ids(self, split, positions):
    """Ids at places of the endless order: a pure function of the seed."""
    total = self.num_examples(split)
    epochs, places = np.divmod(positions, total)
    ids = np.empty(len(positions), np.int64)
    for epoch in np.unique(epochs):
      permutation = _permutation(total, self.seed, int(epoch))
      ids[epochs == epoch] = permutation[places[epochs == epoch]]
    return ids

  def _pixels(self, split, ids, positions):
    """uint8 [n, h, w, c] and the ids that were read."""
    split, source, copies = check_split(split), self.source(split), self._copies(split)
    transform = self.transform
    if not transform.takes_whole(split):
      return source.images(ids)
    originals, used = source.originals(ids // copies)
    used = used * copies + ids % copies
    fixed = not self.varies(split)
    images = [
      transform.apply(image, self.resolution, split, self._rng(fixed, place))
      for image, place in zip(originals, used if fixed else positions)
    ]
    return np.stack(images), used

  def _rng(self, fixed, place):
    return np.random.default_rng([self.seed, int(fixed), int(place)])

  def _labels(self, split, ids):
    return self.source(split).labels[ids // self._copies(split)]

  def _read(self, batches, split, with_logits=None, keep_ids=False):
    """Maps a dataset of (ids, places in the order) to a dataset of batches.

    Args:
      keep_ids: give the ids asked for, even where another image stood in.
    """
    spec = self._elements(batched=True, with_logits=with_logits)

    def read(ids, positions):
      images, used = self._pixels(split, ids, positions)
      values = [images, self._labels(split, used), ids if keep_ids else used]
      if with_logits is not None:
        values.append(np.asarray(with_logits[used], np.float32))
      return values

    def to_elements(ids, positions):
      types = [tf.uint8, tf.int32, tf.int64, tf.float32][: len(spec)]
      values = tf.numpy_function(read, [ids, positions], types)
      values[0] = tf.cast(values[0], tf.float32) / 255.0
      element = {}
      for (key, wanted), value in zip(spec.items(), values):
        value.set_shape(ids.shape.concatenate(wanted.shape[1:]))
        element[key] = value
      return element

    return batches.map(
      to_elements, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


@functools.lru_cache(maxsize=4)
def _permutation(total, seed, epoch):
  return np.random.default_rng([seed, epoch]).permutation(total)


class ArraySource:
  """Images in memory: uint8 [n, h, w, c], labels [n]."""

  def __init__(self, images: np.ndarray, labels: Sequence[int] | np.ndarray) -> None:
    self._images = images
    self.labels = np.asarray(labels, np.int32)

  def images(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return self._images[ids], ids

  def originals(self, ids: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    return list(self._images[ids]), ids

  def fingerprint(self) -> str:
    return digest(self._images.tobytes(), self.labels.tobytes())
