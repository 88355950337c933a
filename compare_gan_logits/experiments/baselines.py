"""The inverter beside two baselines that need no generator: retrieval and class mean."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.inversion import Inverter
from compare_gan_logits.metrics import frechet


TITLE = "Inverter, retrieval, class mean"
SECTION = "5.1 and beyond"
QUESTION = (
  "Is the reconstruction closer to the original than the training image with "
  "the nearest logits (retrieval), and than the mean training image of the "
  "predicted class?"
)
_CHUNK = 512
_NETWORK = "alex"
_FRECHET = "Frechet distance (AlexNet relu5 mean, lower is closer)"
_WAYS = ("inverter", "retrieval", "class mean")


@common.configurable("baselines")
@dataclasses.dataclass(frozen=True)
class Settings:
  """images: to reconstruct; training_images: searched and averaged, at most."""

  images: int = 1000
  training_images: int = 50000
  neighbours: int = 3
  shown: int = 8


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "baselines")
  table, verdicts, grids, arrays, costs = [], [], [], {}, {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    logits = inverter.logits(originals)
    ids, known, means = training_set(inverter, data.training, settings.training_images)
    pictures, seconds = {}, {}
    inverter.generate(logits[:1])  # Loads the weights, outside of the time.
    with _timed(seconds, "inverter"):
      pictures["inverter"] = inverter.generate(logits, seed=data.seed)
    with _timed(seconds, "retrieval"):
      near = ids[nearest(logits, known, settings.neighbours)]
      pictures["retrieval"] = inverter.prepare(data.training.read(near[:, 0]).images)
    with _timed(seconds, "class mean"):
      pictures["class mean"] = means[logits.argmax(1)]
    costs.update(_costs(label, inverter, seconds, len(originals)))
    values = {way: measures.quality(originals, p) for way, p in pictures.items()}
    seen = frechet.features(originals, _NETWORK)
    kept = {}
    for way in _WAYS:
      table += measures.quality_measures(label, values[way], f": {way}")
      table.append(_frechet(label, way, seen, pictures[way]))
      agreed, found = measures.agreement(
        label, inverter, data, originals, pictures[way], f": {way}"
      )
      table += agreed
      kept[way] = found.get("kept")
      found.update(values[way])
      arrays.update({f"{way}/{key}/{label}": v for key, v in found.items()})
    table += _frechet_floor(label, inverter, data, seen)
    verdicts += _verdicts(label, values, kept)
    arrays[f"nearest/{label}"] = near
    grids.append(
      _grid(label, inverter, data, originals, pictures, near, settings.shown)
    )
  return common.Result(
    tuple(table),
    tuple(verdicts),
    tuple(grids),
    {**arrays, "ids": sample.ids},
    costs,
    (
      "Methods that need a training should be compared at equal training time; the "
      "costs below give the time that each took.",
    ),
  )


@contextlib.contextmanager
def _timed(seconds, name):
  start = time.perf_counter()
  yield
  seconds[name] = time.perf_counter() - start


def _costs(label, inverter, seconds, images):
  costs = {
    f"ms per image ({label}: {way})": 1e3 * taken / images
    for way, taken in seconds.items()
  }
  trained = inverter.info.get("training_seconds")
  if trained is not None:
    costs[f"minutes of training ({label})"] = trained / 60
  return costs


def _frechet(label, way, seen, pictures):
  """Without an interval: the distance is biased by the sample's size.

  Args:
    label, way: of the module and of the pictures.
    seen: features of the originals, which all ways share.
    pictures: [n, h, w, c] in [0, 1].
  """
  distance = frechet.distance(seen, frechet.features(pictures, _NETWORK))
  return common.Measure(
    f"{_FRECHET}: {way}",
    label,
    estimates.exact(distance, len(pictures)),
    headline="Frechet distance" if way == _WAYS[0] else "",
  )


def _frechet_floor(label, inverter, data, seen):
  """What as many other real images reach: of the split, or else of the training images.

  Fewer images would have a larger distance, and make the inverter look better.
  """
  n = len(seen)
  if n < 2:
    return []
  ids = data.order("baselines")[n : 2 * n]
  others = data.read(ids) if len(ids) == n else data.training.draw(n, "floor")
  pictures = inverter.prepare(others.images)
  if len(pictures) < n:
    return []
  distance = frechet.distance(seen, frechet.features(pictures, _NETWORK))
  return [
    common.Measure(
      f"{_FRECHET}: real images against others",
      label,
      estimates.exact(distance, n),
      headline="Frechet distance of real images",
    )
  ]


def training_set(
  inverter: Inverter, training: Data, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Logits of training images and the mean image of each predicted class.

  Returns:
    (ids [m], logits [m, num_logits], means [num_logits, h, w, c]); a class that is
    never predicted has the mean of all.
  """
  ids = training.order("baselines")[:limit]
  shape = [inverter.image_size, inverter.image_size, inverter.colors]
  sums, counts = np.zeros([inverter.num_logits, *shape]), np.zeros(inverter.num_logits)
  logits = np.empty([len(ids), inverter.num_logits], np.float32)
  for start in range(0, len(ids), _CHUNK):
    part = slice(start, start + _CHUNK)
    images = inverter.prepare(training.read(ids[part]).images)
    logits[part] = inverter.logits(images)
    classes = logits[part].argmax(1)
    np.add.at(sums, classes, images)
    np.add.at(counts, classes, 1)
  means = sums / np.maximum(counts, 1)[:, None, None, None]
  means[counts == 0] = sums.sum(axis=0) / len(ids)
  return ids, logits, means.astype(np.float32)


def nearest(logits: np.ndarray, known: np.ndarray, k: int) -> np.ndarray:
  """Rows of `known` [m, d] nearest to each of `logits` [n, d], in l2: [n, min(k, m)]."""
  k = min(k, len(known))
  found = np.empty([len(logits), k], np.int64)
  squares = np.sum(np.square(known, dtype=np.float64), axis=1)
  for start in range(0, len(logits), _CHUNK):
    part = slice(start, start + _CHUNK)
    distances = squares - 2.0 * (logits[part].astype(np.float64) @ known.T)
    found[part] = np.argsort(distances, axis=1, kind="stable")[:, :k]
  return found


def _verdicts(label, values, kept):
  verdicts = []
  for baseline in _WAYS[1:]:
    for key, sign in (("psnr", 1), ("ssim", 1), ("lpips", -1)):
      gain = sign * (values["inverter"][key] - values[baseline][key])
      verdicts.append(
        verdict_lib.positive(
          f"The inverter is closer than the {baseline} in {key.upper()} ({label})",
          "not in the paper",
          estimates.mean(gain),
          f"gain in {key.upper()}, same images",
          verdict_lib.BASELINE,
        )
      )
    if kept["inverter"] is None:
      continue
    gain = kept["inverter"].astype(float) - kept[baseline]
    verdicts.append(
      verdict_lib.positive(
        f"The inverter keeps the class more often than the {baseline} ({label})",
        "not in the paper",
        estimates.mean(gain),
        "gain in the fraction kept",
        verdict_lib.BASELINE,
      )
    )
  return verdicts


def _grid(label, inverter, data, originals, pictures, near, shown):
  rows = []
  for i in range(min(shown, len(originals))):
    neighbours = inverter.prepare(data.training.read(near[i]).images)
    rows.append(
      [originals[i], pictures["inverter"][i], pictures["class mean"][i], *neighbours]
    )
  columns = ["original", "inverter", "class mean"]
  columns += [f"nearest {k + 1}" for k in range(near.shape[1])]
  return common.Grid(
    f"baselines_{label}",
    f"{label}: the reconstruction beside the mean "
    "of the predicted class and the training images with the nearest "
    "logits.",
    rows,
    None,
    columns,
  )
