"""The names of data sets in gin, and the set that each names."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

import gin

from compare_gan_logits.datasets import embedded
from compare_gan_logits.datasets import flag_definitions
from compare_gan_logits.datasets import folders
from compare_gan_logits.datasets import made_up
from compare_gan_logits.datasets import reference
from compare_gan_logits.datasets import transforms
from compare_gan_logits.datasets.image_set import ImageDataset
from compare_gan_logits.datasets.transforms import Transform
from compare_gan_logits.errors import UnknownNameError
from compare_gan_logits.errors import UserError
from compare_gan_logits.errors import nearest


def _set(name, tfds_name, resolution, colors, num_classes, pad_to=None):
  def make(seed):
    found = reference.ImageDatasetV2(
      name, tfds_name, resolution, colors, num_classes, 10000, seed
    )
    if pad_to:
      found.pad_to(pad_to)
    return found

  return make


# Name -> function of a seed. Sets of your own may be added.
DATASETS: dict[str, Callable[..., reference.ImageDatasetV2]] = {
  "mnist": _set("mnist", "mnist", 28, 1, 10),
  "fashion-mnist": _set("fashion-mnist", "fashion_mnist", 28, 1, 10),
  "cifar10": _set("cifar10", "cifar10", 32, 3, 10),
  "celeb_a": reference.CelebaDataset,
  "lsun-bedroom": reference.LsunBedroomDataset,
  **{
    f"imagenet_{side}": functools.partial(reference.ImagenetDataset, side)
    for side in (64, 128, 256, 512)
  },
  "imagenet_512_hq400": reference.SizeFilteredImagenetDataset,
  "soft_labeled_imagenet_128": functools.partial(
    reference.SoftLabeledImagenetDataset, 128
  ),
  "single_class_imagenet_128": functools.partial(
    reference.SingleClassImagenetDataset, 128
  ),
  "random_class_imagenet_128": functools.partial(
    reference.RandomClassImagenetDataset, 128
  ),
  "labeled_only_imagenet_128": functools.partial(
    reference.LabeledOnlyImagenetDataset, 128
  ),
  # Not among the reference's.
  "cifar100": _set("cifar100", "cifar100", 32, 3, 100),
  "fashion_mnist": _set("fashion_mnist", "fashion_mnist", 28, 1, 10, pad_to=32),
  "imagenet_resized_64": reference.ResizedImagenetDataset,
}


@gin.configurable("dataset", denylist=["examples"])
def get_dataset(
  name: str = gin.REQUIRED,
  seed: int = 547,
  colors: int | None = None,
  crop_method: str | None = None,
  eval_crop_method: str | None = None,
  flip: bool = False,
  antialias: bool | None = None,
  fixed_crops: int = 0,
  labels: str | None = None,
  unreadable_share: float = folders.UNREADABLE_SHARE,
  cache_gigabytes: float = folders.CACHE_GIGABYTES,
  examples: int | None = None,
) -> ImageDataset:
  """The image set that gin binds.

  Args:
    name: "embedded" (garments, part of the program; "embedded:1200" has the first
      1,200 training images alone); a name of DATASETS (through
      TensorFlow Datasets, which must have prepared it), "mnist@32" with a black border
      of 2 px; "folder:PATH@SIZE", a folder of images; or "fake:CLASSES@SIZE", made-up
      images for benchmarks.
    seed: of the order of training images, and of random crops.
    colors: 1 or 3, for folders; default 3.
    crop_method: what is taken of each training image, one of distorted, random,
      middle, none (see transforms.Transform). By default the central square; of
      ImageNet what train_imagenet_transform.crop_method says.
    eval_crop_method: the same for the validation split.
    flip: mirror each training image with probability 1/2.
    antialias: filter before images are made smaller. By default on for folders, and
      off for ImageNet, as in the reference.
    fixed_crops: number of random crops of each training image that are drawn once for
      all, so that their logits can be cached; 0 draws new ones each time.
    labels: table of files and classes (file,label), for folders that do not say them.
    unreadable_share: of the pictures of a folder, that may be unreadable and left out;
      one always may.
    cache_gigabytes: bound of the disk space of decoded pictures beside the runs.
    examples: number of made-up images, where it is made up.

  Raises:
    UserError: there is no such set, or a value is wrong.
  """
  _check(name, colors)
  fake = flag_definitions.value("data_fake_dataset")
  crops = {
    "train_crop": crop_method,
    "eval_crop": eval_crop_method,
    "antialias": antialias,
    "flip": flip,
    "fixed_crops": fixed_crops,
  }
  kind = kind_of(name)
  if kind == "reference":
    plain, _, side = name.partition("@")
    return _reference_set(plain, side, seed, crops)
  transform = Transform(**{k: value for k, value in crops.items() if value is not None})
  make_up = functools.partial(
    made_up.blobs, name, seed=seed, examples=examples, transform=transform
  )
  if kind == "fake":
    classes, size = made_up.parse_name(name)
    return make_up(size, colors or 3, [f"class {i}" for i in range(classes)])
  if kind == "embedded":
    if fake:
      return make_up(32, 1, embedded.CLASS_NAMES)
    return embedded.embedded(name, seed, transform)
  if not name.startswith(("folder:", "/", ".", "~")):
    if os.path.isdir(name.rpartition("@")[0] or name):
      raise UserError(
        f"dataset.name {name!r} is no data set; to name the folder, write './{name}'"
      )
    known = [*DATASETS, "embedded", "folder:PATH@SIZE"]
    raise UnknownNameError(f"dataset.name {name!r}: {nearest(name, known)}")
  if fake:
    return make_up(folders.parse_name(name)[1], colors or 3, list("0123456789"))
  found = folders.folder(
    name, seed, colors or 3, transform, labels, unreadable_share, cache_gigabytes
  )
  found.labels_table = labels
  for note in found.notes:
    print(f"{name}: {note}", file=sys.stderr)
  return found


def kind_of(name: str) -> str:
  """What dataset.name takes a name for: "reference", "fake", "embedded" or "folder"."""
  if name.partition("@")[0] in DATASETS:
    return "reference"
  if name.startswith("fake:"):
    return "fake"
  return "embedded" if name.partition(":")[0] == "embedded" else "folder"


def _check(name, colors):
  if not isinstance(name, str):
    raise UserError(
      f"dataset.name is {name!r}; it must be a string in quotes, such as 'embedded'"
    )
  if colors not in (None, 1, 3):
    raise UserError(f"dataset.colors is {colors!r}; it must be 1 or 3")


def _reference_set(name, side, seed, crops):
  """A set of DATASETS, padded to `side` pixels if that is not empty."""
  found = DATASETS[name](seed=seed)
  if side:
    if not side.isdecimal():
      raise UserError(
        f"dataset.name {name}@{side}: what follows @ is a number of pixels, as in @32"
      )
    found.pad_to(int(side))
    found.name = f"{name}@{side}"
  bound = {key: value for key, value in crops.items() if value is not None}
  if isinstance(found, reference.ImagenetDataset):
    found.transform = transforms.imagenet_transform(**bound)
  else:
    found.transform = Transform(**bound)
  return found
