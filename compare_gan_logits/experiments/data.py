"""The images of the experiments: drawn by seed, read as they are needed."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import os
import struct
import zlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import datasets
from compare_gan_logits import inversion
from compare_gan_logits import utils
from compare_gan_logits.classifiers import class_order
from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments.common import generator


if TYPE_CHECKING:
  from compare_gan_logits.datasets.image_set import ImageDataset


_CHUNK = 256
_EXAMINED = 5000  # images that are looked at for those to keep


@dataclasses.dataclass(frozen=True)
class Sample:
  """Some images of a split: ids [n], images [n, h, w, c] in [0, 1], labels [n]."""

  ids: np.ndarray
  images: np.ndarray
  labels: np.ndarray


class Data:
  """One split of an image set, with the sets that lie outside of it.

  Attributes:
    dataset: datasets.ImageDataset.
    split: "validation" or "train".
    seed: of everything that is drawn from it.
    outside: {name: images [n, h, w, c] in [0, 1]}.
    class_names: of the labels.
    judge: classifiers.Classifier that had no part in any inverter, or None; asked
      whether a reconstruction still shows what its original shows.
  """

  def __init__(
    self,
    dataset: ImageDataset,
    split: str = "validation",
    seed: int = 0,
    outside: Mapping[str, np.ndarray] | None = None,
    judge: Any = None,
  ) -> None:
    self.dataset = dataset
    self.judge = judge
    self.split = split
    self.seed = seed
    self.outside = dict(outside or {})
    self.class_names: list[str] = dataset.class_names

  @functools.cached_property
  def training(self) -> Data:
    """The training images, as Data."""
    return Data(self.dataset, "train", self.seed)

  @functools.cached_property
  def labels(self) -> np.ndarray:
    """Labels of the whole split, int [n]; the images pass by and are dropped."""
    with tf.Graph().as_default(), tf.Session() as session:
      batches = self.dataset.load(self.split).batch(_CHUNK)
      label = utils.next_element(batches)["label"]
      return np.concatenate(list(utils.run_to_end(session, label)))

  def read(self, ids: Any) -> Sample:
    """Sample of the given ids."""
    images, labels = self.dataset.arrays(self.split, indices=ids)
    return Sample(np.asarray(ids), images, labels)

  def order(self, key: str) -> np.ndarray:
    """All ids in an order drawn from the seed and `key`."""
    return generator(self.seed, key).permutation(self.dataset.num_examples(self.split))

  def draw(
    self,
    count: int,
    key: str,
    keep: Callable[[Sample], Any] | None = None,
  ) -> Sample:
    """Draws images by seed.

    Args:
      count: how many; fewer are returned where there are not so many.
      key: purpose; another one draws other images.
      keep: function of a Sample -> bool [n]; only these count, of the
        first 5,000 in the order.

    Returns:
      Sample.
    """
    order = self.order(key)[:_EXAMINED]
    if keep is None:
      return self.read(order[:count])
    kept, total = [], 0
    for start in range(0, len(order), _CHUNK):
      sample = self.read(order[start : start + _CHUNK])
      mask = np.asarray(keep(sample), bool)
      kept.append(Sample(sample.ids[mask], sample.images[mask], sample.labels[mask]))
      total += int(mask.sum())
      if total >= count:
        break
    return Sample(
      *(
        np.concatenate([getattr(part, name) for part in kept])[:count]
        for name in ("ids", "images", "labels")
      )
    )

  def draw_classes(self, classes: int, per_class: int, key: str) -> Sample:
    """Draws `per_class` images of each of `classes` classes, by seed.

    Raises:
      UserError: images have no label, or the set has no classes.
    """
    self.check_labelled()
    order = self.order(key)
    chosen = generator(self.seed, key + " classes").permutation(np.unique(self.labels))[
      :classes
    ]
    ids = [order[self.labels[order] == c][:per_class] for c in chosen]
    return self.read(np.concatenate(ids))

  def check_labelled(self) -> None:
    """Raises UserError where images have no label, or the set has no classes."""
    if self.dataset.num_classes is None or np.any(self.labels < 0):
      self.dataset.check_labelled(self.split)

  def targets(self, inverter: inversion.Inverter, labels: Any) -> np.ndarray:
    """The place of each label among the inverter's logits.

    Raises:
      UserError: the logits are of other classes than the labels.
    """
    places = class_order.places(
      inverter.class_names, inverter.num_logits, self.dataset, inverter.path
    )
    if np.any(np.asarray(labels) < 0):
      self.dataset.check_labelled(self.split)
    return places.indices[labels]

  def names(self, labels: Any) -> list[str]:
    """Class names of labels; "?" where one is not known."""
    return ["?" if c < 0 else self.class_names[c] for c in labels]

  def judge_classes(self, images: np.ndarray) -> np.ndarray:
    """Classes that the judge gives to images [n, h, w, c] in [0, 1]: int [n]."""
    return np.argmax(self.judge.predict(images), axis=-1)

  def correct(self, inverter: inversion.Inverter, sample: Sample) -> np.ndarray:
    """Whether the inverter's classifier is right about each image: bool [n]."""
    return inverter.predict(sample.images) == self.targets(inverter, sample.labels)

  def correct_for_all(
    self, inverters: Mapping[str, inversion.Inverter]
  ) -> Callable[[Sample], Any]:
    """A `keep` for draw: images that all classifiers get right."""
    return lambda sample: np.all(
      [self.correct(inverter, sample) for inverter in inverters.values()], axis=0
    )


def read_outside(source: str, size: int, limit: int, seed: int) -> np.ndarray:
  """Images from outside the training set.

  Args:
    source: name of a data set, folder or glob of images, or a file of images in
      IDX format (MNIST's, gzip or not).
    size: side that files are brought to, in pixels.
    limit: images, at most, drawn by seed.
    seed: of the draw.

  Returns:
    Images [n, h, w, 3 or 1] in [0, 1], in the order of the draw: the first ones are a
    sample as well, and not those of the first classes.

  Raises:
    UserError: there is nothing of the kind.
  """
  path = os.path.expanduser(source)
  if os.path.isfile(path) and _is_idx(path):
    images = _read_idx(path)
    chosen = generator(seed, source).permutation(len(images))[:limit]
    return images[chosen, :, :, None].astype(np.float32) / 255.0
  if os.path.exists(path) or "*" in source:
    paths = inversion.find_images(path)
    chosen = generator(seed, source).permutation(len(paths))[:limit]
    return np.stack([inversion.read_image(paths[i], size, 3) for i in chosen])
  return Data(datasets.get_dataset(source), seed=seed).draw(limit, source).images


def _is_idx(path):
  return path.endswith((".gz", "ubyte"))


def _read_idx(path):
  """uint8 [n, h, w] of an IDX file."""
  opener: Any = gzip.open if path.endswith(".gz") else open
  try:
    with opener(path, "rb") as f:
      magic, total, height, width = struct.unpack(">IIII", f.read(16))
      if magic != 0x803:
        raise UserError(
          f"{path} is not an IDX file of images; name the one of images, not of labels"
        )
      values = np.frombuffer(f.read(), np.uint8)
  except (OSError, EOFError, struct.error, zlib.error) as error:
    raise UserError(f"{path} is damaged ({error}); copy it again") from None
  if len(values) != total * height * width:
    raise UserError(f"{path} is cut off; copy it again")
  return values.reshape(total, height, width)
