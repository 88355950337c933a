"""Whether an inverter gives back training images that it has memorised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter
from compare_gan_logits.metrics import lpips


TITLE = "Memory of training images"
SECTION = "beyond the paper"
QUESTION = (
  "Are reconstructions of test images nearer to training images than the test images "
  "themselves are? A smooth picture is near to many images, so a second comparison "
  "decides: among equally many training and held-out images, is the nearest one a "
  "training image? Without memorisation that happens half of the time."
)
_CHUNK = 256
_BLOCK = 2**26  # values of a block of embeddings; 256 MB


@common.configurable("memorisation")
@dataclasses.dataclass(frozen=True)
class Settings:
  """training_images: searched, at most."""

  images: int = 200
  training_images: int = 50000
  shown: int = 6


@dataclasses.dataclass(frozen=True)
class _Nearest:
  """The nearest of some images to each query: its id and its distance, [n] each."""

  ids: np.ndarray
  distances: np.ndarray

  def or_nearer(self, other: _Nearest) -> _Nearest:
    nearer = other.distances < self.distances
    return _Nearest(
      np.where(nearer, other.ids, self.ids),
      np.where(nearer, other.distances, self.distances),
    )


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  order = data.order("memorisation")
  ids, held_out = order[: settings.images], order[settings.images :]
  if len(held_out) < 2:
    return common.Result(
      notes=(
        f"There are {len(order)} {data.split} images, which leaves none to compare "
        "training images with; lower memorisation.images.",
      )
    )
  known = data.training.order("memorisation")[: settings.training_images]
  held_out = held_out[: len(known)]
  groups: dict[tuple, dict[str, Inverter]] = {}
  for label, inverter in inverters.items():
    groups.setdefault(inverter.image_shape, {})[label] = inverter
  parts = [
    _search_for(g, data, ids, held_out, known, settings) for g in groups.values()
  ]
  return common.Result(
    tuple(m for part in parts for m in part.measures),
    tuple(v for part in parts for v in part.verdicts),
    tuple(p for part in parts for p in part.pictures),
    {**{k: v for part in parts for k, v in part.arrays.items()}, "ids": ids},
    notes=(
      f"Searched: {len(known)} training images; {len(held_out)} of them against as many "
      "held-out ones.",
    ),
  )


def _search_for(inverters, data, ids, held_out, known, settings) -> common.Result:
  """The result for inverters of one image size, which share the search."""
  first, n = next(iter(inverters.values())), len(ids)
  originals = first.prepare(data.read(ids).images)
  pictures = {
    label: inverter.reconstruct(originals, 1, data.seed)[:, 0]
    for label, inverter in inverters.items()
  }
  table, verdicts, grids, arrays = [], [], [], {}
  for space, embed in {"LPIPS": _by_lpips, "pixels": _by_pixels}.items():
    queries = np.concatenate([embed(p) for p in (*pictures.values(), originals)])
    # As many training images as held-out ones, and then the others.
    equal = _search(first, data.training, known[: len(held_out)], embed, queries)
    rest = _search(first, data.training, known[len(held_out) :], embed, queries)
    outside = _search(first, data, held_out, embed, queries)
    nearest, leaning = equal.or_nearer(rest), equal.distances < outside.distances
    own = np.square(queries.reshape(-1, n, queries.shape[1]) - queries[-n:]).sum(axis=2)
    test = slice(len(queries) - n, None)
    for number, label in enumerate(inverters):
      made = slice(number * n, (number + 1) * n)
      for what, part in {"reconstructions": made, "test images": test}.items():
        table += _measures(label, space, what, nearest.distances[part], leaning[part])
        arrays[f"{space}/{what}/distance/{label}"] = nearest.distances[part]
        arrays[f"{space}/{what}/id/{label}"] = nearest.ids[part]
        arrays[f"{space}/{what}/leaning/{label}"] = leaning[part]
      name = (
        f"reconstructions nearer to a training image than to their original, {space}"
      )
      closer = nearest.distances[made] < own[number]
      table.append(common.Measure(name, label, estimates.rate(closer)))
      verdicts.append(_verdict(label, space, leaning[made], leaning[test]))
      if space == "LPIPS":
        near = nearest.ids[made], nearest.ids[test]
        grids.append(
          _grid(label, first, data, originals, pictures[label], near, settings.shown)
        )
  return common.Result(tuple(table), tuple(verdicts), tuple(grids), arrays)


def _by_lpips(images: np.ndarray) -> np.ndarray:
  return lpips.embedding(images)


def _by_pixels(images: np.ndarray) -> np.ndarray:
  """Vectors whose squared l2 distance is the mean squared error."""
  flat = np.asarray(images, np.float32).reshape(len(images), -1)
  return flat / np.float32(np.sqrt(flat.shape[1]))


def _search(
  inverter: Inverter,
  data: Data,
  ids: np.ndarray,
  embed: Callable[[np.ndarray], np.ndarray],
  queries: np.ndarray,
) -> _Nearest:
  """The nearest of the images `ids` to each query [n, d], in squared l2 distance."""
  best = _Nearest(np.full(len(queries), -1), np.full(len(queries), np.inf))
  squares = np.square(queries, dtype=np.float64).sum(axis=1)
  chunk = max(1, min(_CHUNK, _BLOCK // queries.shape[1]))
  for start in range(0, len(ids), chunk):
    part = ids[start : start + chunk]
    known = embed(inverter.prepare(data.read(part).images))
    distances = np.square(known, dtype=np.float64).sum(axis=1) - 2.0 * (
      queries @ known.T
    ).astype(np.float64)
    near = distances.argmin(axis=1)
    found = distances[np.arange(len(queries)), near] + squares
    best = best.or_nearer(_Nearest(part[near], np.maximum(found, 0.0)))
  return best


def _measures(label, space, what, distances, leaning):
  if space == "pixels":
    name, values = "nearest training image, root mean square error", np.sqrt(distances)
  else:
    name, values = "nearest training image, LPIPS", distances
  return [
    common.Measure(f"{name}: {what}", label, estimates.mean(values)),
    common.Measure(
      f"nearest is a training image, not a held-out one, {space}: {what}",
      label,
      estimates.rate(leaning),
    ),
  ]


def _verdict(label, space, made, test):
  gain = made.astype(float) - test
  return verdict_lib.positive(
    f"Reconstructions are drawn to training images, by {space} ({label})",
    "not in the paper",
    estimates.mean(gain),
    "fraction nearest to a training rather than a held-out image, reconstructions minus "
    "test images",
  )


def _grid(label, inverter, data, originals, pictures, near, shown):
  count = min(shown, len(originals))
  of_pictures, of_originals = (
    inverter.prepare(data.training.read(ids[:count]).images) for ids in near
  )
  return common.columns(
    f"memorisation_{label}",
    f"{label}: test image, reconstruction, and the training images nearest to the "
    "reconstruction and to the test image, by LPIPS.",
    [
      ("test image", originals),
      ("recon-\nstruction", pictures),
      ("nearest to it", of_pictures),
      ("nearest to\nthe test image", of_originals),
    ],
    count,
  )
