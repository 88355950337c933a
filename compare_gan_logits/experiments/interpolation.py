"""What noise and logit interpolation share: paths of pictures and their lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np

from compare_gan_logits.errors import UserError
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.inversion import Inverter


@dataclasses.dataclass(frozen=True)
class Settings:
  """images: paths; tiles: of a figure's block; shown: blocks."""

  images: int = 64
  tiles: int = 9
  shown: int = 4


def between(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
  """Linear interpolation [n, d] to [n, d] in `count` points, ends included."""
  weights = np.linspace(0.0, 1.0, count, dtype=np.float32)[None, :, None]
  return (1 - weights) * a[:, None] + weights * b[:, None]


def decode(inverter: Inverter, logits: np.ndarray, noise: np.ndarray) -> np.ndarray:
  """Pictures [n, k, h, w, c] of logits and noise [n, k, d].

  Raises:
    UserError: n is 0.
  """
  n, k = logits.shape[:2]
  if not n:
    raise UserError("there are no two images to go between; name a larger data set")
  flat = inverter.generate(logits.reshape(n * k, -1), noise.reshape(n * k, -1))
  return flat.reshape(n, k, *flat.shape[1:])


def unevenness(steps: np.ndarray) -> np.ndarray:
  """Standard deviation of a path's steps over their mean: [n, k] -> [n]. 0: even."""
  return steps.std(axis=1) / np.maximum(steps.mean(axis=1), 1e-12)


def describe(
  label: str, paths: np.ndarray
) -> tuple[list[common.Measure], dict[str, np.ndarray]]:
  """Lengths of paths [n, k, h, w, c].

  Returns:
    (list of Measure, {"length", "ends", "unevenness", "longest": [n]}).
  """
  steps = measures.steps(paths)
  values = {
    "length": steps.sum(axis=1),
    "ends": measures.perceptual(paths[:, 0], paths[:, -1]),
    "unevenness": unevenness(steps),
    "longest": steps.max(axis=1),
  }
  names = {
    "length": "path length, LPIPS",
    "ends": "LPIPS between the ends",
    "unevenness": "unevenness of the steps (0 is even)",
    "longest": "longest step, LPIPS",
  }
  return [
    common.Measure(names[key], label, estimates.mean(value))
    for key, value in values.items()
  ], values


def study(
  inverters: Mapping[str, Inverter],
  walk: Callable[[Inverter], tuple[np.ndarray, Any]],
  shown: int,
  name: str,
  caption: str,
) -> tuple[list[common.Measure], list[common.Grid], dict[str, dict[str, np.ndarray]]]:
  """Measures, figures and arrays of every inverter's paths.

  Args:
    inverters: {label: Inverter}.
    walk: function of an inverter to (paths [n, k, h, w, c], the tiles of a block for
      each path).
    shown: blocks in a figure.
    name: of the figures, before the label.
    caption: of the figures, behind it.

  Returns:
    (list of Measure, list of Grid, {name: {label: array}}).
  """
  table, grids, arrays = [], [], {}
  for label, inverter in inverters.items():
    paths, tiles = walk(inverter)
    numbers, values = describe(label, paths)
    table += numbers
    grids.append(common.blocks(f"{name}_{label}", f"{label}: {caption}", tiles[:shown]))
    for key, value in {**values, "paths": paths[:shown]}.items():
      arrays.setdefault(key, {})[label] = value
  return table, grids, arrays
