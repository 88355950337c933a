"""Which square of an image is taken, and how it is brought to the model's size.

The reference crops ImageNet with TensorFlow's ops, and so do the sets of TensorFlow
Datasets here. Folders and arrays are cropped in numpy, by the same rules.
"""

from __future__ import annotations

import dataclasses
from typing import Union

import gin
import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2

from compare_gan_logits import images as image_lib
from compare_gan_logits import utils
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


CROP_METHODS = ("distorted", "random", "middle", "none")
_MIN_AREA = 0.5  # of the image, that a distorted crop keeps


@dataclasses.dataclass(frozen=True)
class Transform:
  """What is read of every image of a set.

  Attributes:
    train_crop, eval_crop: one of CROP_METHODS. "distorted" is a random square of 50
      to 100 % of the image's area, "random" the largest square at a random place,
      "middle" the largest one in the middle, "none" the whole image, stretched.
    flip: mirror each training image with probability 1/2.
    antialias: filter before an image is made smaller.
    fixed_crops: 0, or the number of crops of each training image that are drawn once
      for all: ids then number crops, image by image, and logits can be cached.
  """

  train_crop: str = "middle"
  eval_crop: str = "middle"
  flip: bool = False
  antialias: bool = True
  fixed_crops: int = 0

  def __post_init__(self) -> None:
    for method in (self.train_crop, self.eval_crop):
      _check_method(method)
    if self.fixed_crops < 0:
      raise UserError(
        f"dataset.fixed_crops is {self.fixed_crops}; it is a number of crops per "
        "image, or 0"
      )

  @property
  def random(self) -> bool:
    """Whether training images differ from reading to reading, but for fixed_crops."""
    return self.flip or self.train_crop in ("distorted", "random")

  def takes_whole(self, split: str) -> bool:
    """Whether more of each image is needed than its central square, made smaller."""
    return self._crop(split) != "middle" or self._flips(split) or not self.antialias

  def copies(self, split: str) -> int:
    """Ids per image of a split."""
    return max(1, self.fixed_crops) if split == "train" and self.random else 1

  def describe(self, split: str) -> dict:
    """What logits depend on, as JSON."""
    return {
      "crop": self._crop(split),
      "flip": self._flips(split),
      "antialias": self.antialias,
      "fixed_crops": self.copies(split) if split == "train" and self.random else 0,
    }

  def _crop(self, split):
    return self.train_crop if split == "train" else self.eval_crop

  def _flips(self, split):
    return split == "train" and self.flip

  def apply(
    self, image: np.ndarray, size: int, split: str, rng: np.random.Generator
  ) -> np.ndarray:
    """The crop of an image, at the model's size.

    Args:
      image: uint8 [h, w, c].
      size: side of the result, in pixels.
      split: "train" or "validation".
      rng: draws the crop and the flip.

    Returns:
      uint8 [size, size, c].
    """
    shape = image.shape[0], image.shape[1]
    top, left, height, width = crop_box(shape, self._crop(split), rng)
    image = image[top : top + height, left : left + width]
    if self.antialias:
      image = image_lib.stretch(image, size)
    else:
      image = image_lib.sample_bilinearly(image, size)
    if self._flips(split) and rng.random() < 0.5:
      image = image[:, ::-1]
    return image


def crop_box(
  shape: tuple[int, int], method: str, rng: np.random.Generator
) -> tuple[int, int, int, int]:
  """(top, left, height, width) of the part of an image that `method` takes.

  Where an image is too long for a square of half its area, "distorted" takes it whole,
  as TensorFlow does.
  """
  height, width = shape
  largest = min(height, width)
  if method == "none":
    return 0, 0, height, width
  if method == "middle":
    return (height - largest) // 2, (width - largest) // 2, largest, largest
  side = largest
  if method == "distorted":
    smallest = int(np.ceil(np.sqrt(_MIN_AREA * height * width)))
    if smallest > largest:
      return 0, 0, height, width
    side = int(rng.integers(smallest, largest + 1))
  top = int(rng.integers(height - side + 1))
  left = int(rng.integers(width - side + 1))
  return top, left, side, side


# In TensorFlow's graphs --------------------------------------------------------


@gin.configurable("train_imagenet_transform", denylist=["image", "image_size", "seed"])
def train_imagenet_transform(
  image: tf.Tensor,
  image_size: int,
  seed: Union[int, tf.Tensor, None] = None,
  crop_method: str = "distorted",
  antialias: bool = False,
) -> tf.Tensor:
  """The crop of an image of ImageNet that is trained on.

  Args:
    image: float32 [h, w, c].
    image_size: side of the result, in pixels.
    seed: of the crop: an int for TensorFlow's stateful ops, or a tensor int [2] from
      which alone the crop then follows.
    crop_method: one of CROP_METHODS, see Transform.
    antialias: filter before the crop is made smaller; the reference does not. What gin
      binds here holds for the evaluation as well.

  Returns:
    float32 [image_size, image_size, c], in the range of `image`.

  Raises:
    UserError: there is no such crop method.
  """
  return resize(crop(image, crop_method, seed), image_size, antialias)


@gin.configurable(
  "eval_imagenet_transform", denylist=["image", "image_size", "antialias"]
)
def eval_imagenet_transform(
  image: tf.Tensor,
  image_size: int,
  crop_method: str = "middle",
  antialias: bool = False,
) -> tf.Tensor:
  """The crop of an image of ImageNet for the evaluation; see the one for training."""
  return resize(crop(image, crop_method), image_size, antialias)


def imagenet_transform(**changes) -> Transform:
  """The Transform that gin binds to the two functions above, with `changes`."""
  train = "train_imagenet_transform"
  bound = {
    "train_crop": utils.bound_value(f"{train}.crop_method", "distorted"),
    "eval_crop": utils.bound_value("eval_imagenet_transform.crop_method", "middle"),
    "antialias": utils.bound_value(f"{train}.antialias", False),
  }
  return Transform(**{**bound, **changes})


def crop(
  image: tf.Tensor, method: str, seed: Union[int, tf.Tensor, None] = None
) -> tf.Tensor:
  """The part of [h, w, c] that a method takes; `seed` as train_imagenet_transform's."""
  _check_method(method)
  if method == "none":
    return image
  shape = tf.shape(image)
  side = tf.minimum(shape[0], shape[1])
  if method == "distorted":
    begin, size = _distorted_box(shape, seed)
    return tf.slice(image, begin, size)
  slack = shape[:2] - side
  if method == "middle":
    top, left = tf.unstack(slack // 2)
  else:
    top, left = (_whole_number(slack[axis] + 1, seed, axis) for axis in (0, 1))
  return tf.image.crop_to_bounding_box(image, top, left, side, side)


def _distorted_box(shape, seed):
  box = {
    "image_size": shape,
    "bounding_boxes": tf.zeros([1, 0, 4]),
    "aspect_ratio_range": [1.0, 1.0],
    "area_range": [_MIN_AREA, 1.0],
    "use_image_if_no_bounding_boxes": True,
  }
  if tf.is_tensor(seed):
    return tf2.image.stateless_sample_distorted_bounding_box(seed=seed, **box)[:2]
  return tf.image.sample_distorted_bounding_box(seed=seed, **box)[:2]


def _whole_number(bound, seed, axis):
  """A random number below `bound`; `axis` keeps two draws apart."""
  if tf.is_tensor(seed):
    seed = seed + tf.cast([axis, 0], seed.dtype)
    return tf.random.stateless_uniform([], seed, maxval=bound, dtype=tf.int32)
  return tf.random.uniform([], maxval=bound, dtype=tf.int32, seed=seed)


def resize(image: tf.Tensor, size: int, antialias: bool = False) -> tf.Tensor:
  """[h, w, c] -> [size, size, c], bilinear: as TensorFlow 1 does, or antialiased."""
  if antialias:
    resized = tf2.image.resize(image, [size, size], antialias=True)
  else:
    resized = tf.image.resize_images(image, [size, size])
  return tf.ensure_shape(resized, [size, size, image.shape[-1]])


def flip(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """The image, mirrored with probability 1/2; drawn from `seed` (int [2])."""
  return tf2.image.stateless_random_flip_left_right(image, seed)


def _check_method(method: str | None) -> None:
  if method not in CROP_METHODS:
    raise UserError(f"crop_method {method!r}: {nearest(method, CROP_METHODS)}")
