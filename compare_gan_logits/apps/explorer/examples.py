"""The photos that the explorer offers when it opens."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence

import numpy as np

from compare_gan_logits import datasets
from compare_gan_logits import inversion
from compare_gan_logits.apps.explorer import view as view_lib
from compare_gan_logits.errors import UserError


_COUNT = 12
_EMBEDDED = "embedded"
# Photographs in scikit-image's wheel that are in the public domain or CC0, by the
# docstrings of skimage.data (by L. Varshney, R. Michetti, S. van der Walt, NASA, SpaceX,
# M. Häggström, CC0Textures and others).
_PHOTOGRAPHS = {
  "cat": "chelsea.png",
  "coffee": "coffee.png",
  "astronaut": "astronaut.png",
  "rocket": "rocket.jpg",
  "photographer": "camera.png",
  "clock": "clock_motion.png",
  "galaxies": "hubble_deep_field.jpg",
  "retina": "retina.jpg",
  "cell": "cell.png",
  "grass": "grass.png",
  "gravel": "gravel.png",
  "bricks": "brick.png",
}


def examples(inverters: Sequence[inversion.Inverter]) -> list[tuple[str, str]]:
  """Photos to begin with: (photo as in a View, what it shows), at least one.

  Test images of the set that the modules were trained on; where that set is not on this
  machine, photographs that scikit-image brings. The embedded garments are offered to a
  classifier that knows them, or where there is nothing else.
  """
  largest = max(inverters, key=lambda inverter: (inverter.image_size, inverter.colors))
  try:
    return _of_dataset(largest.open_dataset(), largest)
  except (UserError, OSError, ValueError):
    garments = datasets.get_dataset(_EMBEDDED)
    if set(garments.class_names) <= set(largest.class_names):
      return _of_dataset(garments, largest)
  return _photographs(largest) or _of_dataset(garments, largest)


def _of_dataset(
  dataset: datasets.ImageDataset, inverter: inversion.Inverter
) -> list[tuple[str, str]]:
  """Test images of a data set: one of each class, then a second of each, in file order."""
  images, classes = dataset.arrays("validation", limit=20 * _COUNT)
  earlier = [int(np.sum(classes[:i] == c)) for i, c in enumerate(classes)]
  chosen = np.argsort(earlier, kind="stable")[:_COUNT]
  images = inverter.prepare(images[chosen])
  names = ["?" if c < 0 else dataset.class_names[c] for c in classes[chosen]]
  return list(zip(_encoded(images), names))


def _photographs(inverter: inversion.Inverter) -> list[tuple[str, str]]:
  """Those of scikit-image that are there."""
  spec = importlib.util.find_spec("skimage")
  if spec is None or spec.origin is None:
    return []
  folder = os.path.join(os.path.dirname(spec.origin), "data")
  found = {
    name: os.path.join(folder, file)
    for name, file in _PHOTOGRAPHS.items()
    if os.path.isfile(os.path.join(folder, file))
  }
  if len(found) < 2:
    return []
  images = [
    inversion.read_image(path, inverter.image_size, inverter.colors)
    for path in found.values()
  ]
  return list(zip(_encoded(np.stack(images)), found))


def _encoded(images: np.ndarray) -> list[str]:
  pixels = np.round(images * 255).astype(np.uint8)
  return [view_lib.encode(p) for p in pixels]
