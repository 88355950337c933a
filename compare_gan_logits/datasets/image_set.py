"""What every image set of the program offers."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import os
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import Callable

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.datasets import input_functions
from compare_gan_logits.datasets.transforms import Transform
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import first_line
from compare_gan_logits.errors import nearest


# Names of splits in the program, and the one of the two that each means.
SPLITS = {"train": "train", "validation": "validation", "test": "validation"}


class ImageDataset(input_functions.InputFunctions, abc.ABC):
  """An image set with the splits "train" and "validation".

  Attributes:
    name: as gin gives it.
    resolution: side of its images, in pixels.
    colors: 1 (grey) or 3 (RGB).
    num_classes: labels are 0 ... num_classes - 1; None where images have no classes.
    class_names: list of str, one per class.
    seed: of the order of training images.
    imagenet_indices: int [num_classes], the place of each class among ImageNet's
      1000, or None where that is not known.
    eval_test_samples: images that the evaluation takes.
    transform: transforms.Transform, which part of an image is taken and how.
    notes: list of sentences on what was made of the files.
    labels_table: dataset.labels, a folder's table of files and classes, or None.
  """

  def __init__(
    self,
    name: str,
    resolution: int,
    colors: int,
    class_names: Sequence[str],
    seed: int,
    imagenet_indices: np.ndarray | None = None,
    transform: Transform | None = None,
  ) -> None:
    self.name = name
    self.resolution = resolution
    self.colors = colors
    self.class_names = list(class_names)
    self.num_classes: int | None = len(self.class_names)
    self.imagenet_indices = imagenet_indices
    self.transform = transform or Transform()
    self.notes: list = []
    self.labels_table: str | None = None
    self._seed = seed

  @property
  def seed(self) -> int:
    return self._seed

  @property
  def image_shape(self) -> tuple:
    """(height, width, colors)."""
    return (self.resolution, self.resolution, self.colors)

  @property
  def eval_test_samples(self) -> int:
    return self.num_examples("validation")

  def check(self) -> None:
    """Raises UserError where its images are not there."""

  def check_labelled(self, split: str) -> None:
    """Raises UserError where images of a split have no label."""
    del split
    if self.num_classes is None:
      raise UserError(f"the images of {self.name} have no classes; name another set")

  def keep_pixels(self, beside: str) -> None:
    """Keeps decoded pictures beside a run's folder, where decoding takes time."""

  def varies(self, split: str) -> bool:
    """Whether an id stands for another picture at each reading (random crops).

    Logits of such a split cannot be cached; see `transform.fixed_crops`.
    """
    return split == "train" and self.transform.random and not self.transform.fixed_crops

  def describe_transform(self, split: str) -> dict:
    """What of a picture is read, as JSON; logits depend on it."""
    return {
      "resolution": self.resolution,
      "colors": self.colors,
      **self.transform.describe(split),
    }

  @property
  def bindings(self) -> dict[str, Any]:
    """What get_dataset takes beside the name to read the same images."""
    return {
      "colors": self.colors,
      "crop_method": self.transform.train_crop,
      "eval_crop_method": self.transform.eval_crop,
      "flip": self.transform.flip,
      "antialias": self.transform.antialias,
      "fixed_crops": self.transform.fixed_crops,
      "labels": self.labels_table,
    }

  @abc.abstractmethod
  def num_examples(self, split: str) -> int:
    """Number of ids of a split: its images, times the number of fixed crops."""

  @abc.abstractmethod
  def fingerprint(self, split: str) -> str:
    """A digest that changes when the images change, wherever they lie."""

  @abc.abstractmethod
  def load(self, split: str, where: Callable | None = None) -> tf.data.Dataset:
    """One epoch in file order, unbatched.

    Args:
      split: "train" or "validation".
      where: graph function of an id, whether to read that image; others are passed
        over without being decoded.

    Returns:
      tf.data.Dataset of {"image": float32 [h, w, c] in [0, 1], "label": int32 [] (-1
      where it is not known), "id": int64 [], the position in this order}.
    """

  @abc.abstractmethod
  def train(
    self,
    batch_size: int,
    split: str = "train",
    start: int = 0,
    shard: int = 0,
    num_shards: int = 1,
    with_logits: Any = None,
  ) -> tf.data.Dataset:
    """Endless batches, shuffled anew every epoch from the seed and the epoch.

    Args:
      batch_size: images per batch; batches go on across epochs.
      split: "train" or "validation".
      start: number of this worker's images to pass over, without decoding them.
      shard, num_shards: this worker reads every num_shards-th image of the order, or
        of a set that is read in files its share of those.
      with_logits: float [num_examples, n], indexed by id; adds "logits".

    Returns:
      tf.data.Dataset of batches of what `load` yields.
    """

  @contextlib.contextmanager
  def naming_damage(self) -> Iterator[None]:
    """Around the reading of images: names the file where one is damaged."""
    try:
      yield
    except tf.errors.DataLossError as error:
      path = self._damaged_file()
      if path is None:
        raise
      raise UserError(
        f"{path} is damaged ({first_line(error)}); copy it "
        "again, or prepare the data set anew"
      ) from error

  def _damaged_file(self) -> os.PathLike | str | None:
    """The first damaged file of records, or None."""
    return None

  def names(self, split: str) -> list | None:
    """The name of each id's picture within the set, or None for a set without names."""
    del split

  def class_counts(self, split: str) -> np.ndarray | None:
    """Images per class, int [num_classes], or None where that means reading all."""
    del split
    return None

  def arrays(
    self,
    split: str,
    limit: int | None = None,
    indices: Sequence[int] | None = None,
  ) -> tuple:
    """Numpy images [n, h, w, c] in [0, 1] and labels [n].

    Args:
      split: "train" or "validation".
      limit: only the first so many.
      indices: only these ids, in this order.
    """
    total = self.num_examples(split)
    order = list(range(total)) if indices is None else [int(i) for i in indices]
    order = order[:limit]
    wanted = np.zeros(total, bool)
    wanted[order] = True
    found = {}
    with self.naming_damage(), tf.Graph().as_default(), tf.Session() as session:
      elements = self.load(split, lambda i: tf.gather(wanted, i))
      following = utils.next_element(elements)
      while len(found) < wanted.sum():
        element = session.run(following)
        found[int(element["id"])] = element
    return (
      np.stack([found[i]["image"] for i in order]),
      np.asarray([found[i]["label"] for i in order], np.int32),
    )

  def _elements(self, batched, with_logits=None):
    """Shapes and types of what `load` and `train` yield."""
    lead = [None] if batched else []
    spec = {
      "image": tf.TensorSpec([*lead, *self.image_shape], tf.float32),
      "label": tf.TensorSpec(lead, tf.int32),
      "id": tf.TensorSpec(lead, tf.int64),
    }
    if with_logits is not None:
      spec["logits"] = tf.TensorSpec([*lead, with_logits.shape[1]], tf.float32)
    return spec


def check_split(split: str) -> str:
  """The split that a name means.

  Raises:
    UserError: there is no such split.
  """
  if split not in SPLITS:
    raise UserError(f"split {split!r}: {nearest(split, SPLITS)}")
  return SPLITS[split]


def digest(*parts: bytes) -> str:
  """16 hexadecimal digits of the parts, in this order."""
  whole = hashlib.sha256()
  for part in parts:
    whole.update(part)
    whole.update(b"\0")
  return whole.hexdigest()[:16]
