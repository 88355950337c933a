"""Made-up images: blobs that something can be learnt from, and the reference's noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compare_gan_logits.datasets.random_access import ArraySource
from compare_gan_logits.datasets.random_access import RandomAccessDataset
from compare_gan_logits.datasets.transforms import Transform
from compare_gan_logits.errors import UserError


_EXAMPLES = {"train": 512, "validation": 128}
NUM_NOISE_IMAGES = 100
MAX_RESOLUTION = 4096


def blobs(
  name: str,
  resolution: int,
  colors: int,
  class_names: Sequence[str],
  seed: int,
  examples: int | None = None,
  transform: Transform | None = None,
) -> RandomAccessDataset:
  """A set of blobs whose place and colour depend on the class.

  Args:
    examples: images of each split; by default 512 and 128.
    Others: as ImageDataset's.
  """
  classes = len(class_names)
  rng = np.random.default_rng(seed)
  centers = rng.uniform(0.2, 0.8, [classes, 2])
  tints = rng.uniform(0.3, 1.0, [classes, colors])
  axis = (np.arange(resolution) + 0.5) / resolution
  sources = {}
  for split, total in _EXAMPLES.items():
    total = examples or total
    labels = np.arange(total) % classes
    center = centers[labels] + rng.normal(0, 0.05, [total, 2])
    width = rng.uniform(0.1, 0.2, [total, 1, 1])
    squared = (axis[None, :, None] - center[:, 0, None, None]) ** 2 + (
      axis[None, None, :] - center[:, 1, None, None]
    ) ** 2
    shapes = np.exp(-squared / (2 * width**2))[..., None] * tints[labels][:, None, None]
    sources[split] = ArraySource((255 * shapes).astype(np.uint8), labels)
  return RandomAccessDataset(
    sources,
    name=name,
    resolution=resolution,
    colors=colors,
    class_names=class_names,
    seed=seed,
    transform=transform,
  )


def parse_name(name: str) -> tuple[int, int]:
  """ "fake:1000@64" -> (1000, 64)."""
  try:
    classes, size = (int(number) for number in name[len("fake:") :].split("@"))
  except ValueError:
    raise UserError(
      f"dataset.name {name!r} is not like 'fake:1000@64', 1000 classes of 64 px"
    ) from None
  if not 1 <= classes <= 100_000 or not 1 <= size <= MAX_RESOLUTION:
    raise UserError(
      f"dataset.name {name!r}: up to 100,000 classes and {MAX_RESOLUTION} "
      "px can be made up"
    )
  return classes, size


def noise(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
  """The reference's fake data.

  Returns:
    100 images of uniform noise, float32 [100, h, w, c] in [0, 1), and their labels,
    int32 ones [100].
  """
  values = np.random.RandomState(seed).uniform(size=(NUM_NOISE_IMAGES, *shape))
  return values.astype(np.float32), np.ones(NUM_NOISE_IMAGES, np.int32)
