"""The set that is part of the program: 14,000 garments of Fashion-MNIST."""

from __future__ import annotations

import os

import numpy as np

from compare_gan_logits.datasets.random_access import ArraySource
from compare_gan_logits.datasets.random_access import RandomAccessDataset
from compare_gan_logits.datasets.transforms import Transform
from compare_gan_logits.errors import UserError


CLASS_NAMES = (
  "T-shirt",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
)
TRAINING_IMAGES = 12000
_DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data")


def embedded(
  name: str, seed: int, transform: Transform | None = None
) -> RandomAccessDataset:
  """12,000 training and 2,000 validation images of 32x32, grey, 10 classes.

  Args:
    name: "embedded", or "embedded:N" with the first N training images alone.
    seed: of the order of training images.
    transform: of the images.

  Raises:
    UserError: N is no number of images.
  """
  _, _, kept = name.partition(":")
  if kept and not (kept.isdecimal() and 0 < int(kept) <= TRAINING_IMAGES):
    raise UserError(
      f"dataset.name {name!r}: give a number of training images from 1 to "
      f"{TRAINING_IMAGES}, as in 'embedded:1200'"
    )
  sources = {}
  for split in ("train", "validation"):
    with np.load(os.path.join(_DATA, f"fashion_mnist_{split}.npz")) as arrays:
      number = int(kept) if kept and split == "train" else None
      sources[split] = ArraySource(
        _pad_to_32(arrays["images"][:number]), arrays["labels"][:number]
      )
  return RandomAccessDataset(
    sources,
    name=name,
    resolution=32,
    colors=1,
    class_names=CLASS_NAMES,
    seed=seed,
    transform=transform,
  )


def _pad_to_32(images):
  """Two black pixels on each side of 28x28 images: [n, 28, 28] -> [n, 32, 32, 1]."""
  return np.pad(images, [(0, 0), (2, 2), (2, 2)])[..., np.newaxis]
