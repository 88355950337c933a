"""Inversion by gradient descent in image space (section 2, equation 1).

Mahendran and Vedaldi (2015) with a total-variation prior, and without one, as Engstrom
et al. (2019) search. They match the penultimate layer; here the logits are matched, by
the square of eq. 1's distance, divided by that of the logits to zero.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments import roles
from compare_gan_logits.experiments import verdicts as verdict_lib
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.graph_function import GraphFunction
from compare_gan_logits.inversion import Inverter


TITLE = "Inversion by optimisation"
SECTION = "2, equation 1"
QUESTION = (
  "Which images does gradient descent on pixels find for the same logits, from two "
  "random starts, and what does this search cost compared with one pass of the "
  "inverter?"
)
_BATCH = 32


@common.configurable("optimisation")
@dataclasses.dataclass(frozen=True)
class Settings:
  """steps: of Adam; prior: weight of the total variation (mean over pixels), for the
  second of the two searches; the first has none."""

  images: int = 64
  steps: int = 300
  learning_rate: float = 0.05
  prior: float = 1.0
  shown: int = 6


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  pair = roles.pair(inverters)
  sample = data.draw(settings.images, "optimisation")
  table, verdicts, grids, arrays, costs = [], [], [], {}, {}
  between, seen = {}, {}
  for label, inverter in inverters.items():
    originals = inverter.prepare(sample.images)
    ways, second, seconds = _invert(inverter, originals, settings, data.seed)
    costs.update({f"{w}, s per image, {label}": s for w, s in seconds.items()})
    for name, pictures in second.items():
      distances = measures.perceptual(ways[name], pictures)
      between.setdefault(name, {})[label] = distances
      table.append(
        common.Measure(
          f"LPIPS between two starts: {name}", label, estimates.mean(distances)
        )
      )
    quality = {way: measures.quality(originals, p) for way, p in ways.items()}
    seen[label] = quality["search without prior"]["lpips"]
    table += _measures(label, inverter, data, originals, ways, quality)
    for way, values in quality.items():
      arrays.update({f"{way}/{key}/{label}": v for key, v in values.items()})
    for way in tuple(ways)[1:]:
      gain = quality[way]["lpips"] - quality["inverter"]["lpips"]
      verdicts.append(
        verdict_lib.positive(
          f"The inverter is closer in LPIPS than the {way} ({label})",
          "2",
          estimates.mean(gain),
          "gain in LPIPS, same images",
          verdict_lib.BASELINE,
        )
      )
    grids.append(
      common.columns(
        f"optimisation_{label}",
        f"{label}: the original, the inverter, and the searches.",
        [("original", originals), *ways.items()],
        settings.shown,
      )
    )
  verdicts += verdict_lib.robust_larger(
    pair,
    "Search from robust logits depends less on its start",
    "2",
    between["search without prior"],
    "LPIPS between two starts",
    sign=-1,
  )
  verdicts += verdict_lib.robust_larger(
    pair,
    "Search from robust logits comes closer to the original",
    "2",
    seen,
    "LPIPS",
    sign=-1,
  )
  return common.Result(
    tuple(table),
    tuple(verdicts),
    tuple(grids),
    {**arrays, "ids": sample.ids},
    costs,
    (
      f"The search takes {settings.steps} passes forward and back "
      "through the classifier for each image, the inverter one pass "
      "forward through the generator.",
    ),
  )


def _invert(inverter, originals, settings, seed):
  """Pictures by the inverter and by both searches, from the originals' logits.

  Returns:
    ({way: pictures}, {search: pictures from a second start}, {way: seconds an image}).
  """
  inverter.generate(inverter.logits(originals[:1]))  # Loads the weights, untimed.
  started = time.monotonic()
  logits = inverter.logits(originals)
  ways = {"inverter": inverter.generate(logits, seed=seed)}
  seconds, second = {"inverter": _since(started, originals)}, {}
  for name, prior in (
    ("search without prior", 0.0),
    ("search with prior", settings.prior),
  ):
    gradient = objective_gradient(inverter, prior)
    gradient(originals[:1], logits[:1])  # Builds the graph, untimed as well.
    started = time.monotonic()
    found = [search(gradient, logits, settings, seed + k) for k in range(2)]
    seconds[name] = _since(started, originals) / 2
    ways[name], second[name] = found
  return ways, second, seconds


def objective_gradient(inverter: Inverter, prior: float) -> GraphFunction:
  """The gradient, by the image, of what a search minimises.

  That is |f(x) - logits|^2 / |logits|^2 + prior * TV(x), of images [n, h, w, c] and
  logits [n, num_logits].
  """
  shape = inverter.image_shape

  def build(image, target):
    errors = tf.reduce_sum(tf.square(inverter.classifier(image) - target), axis=1)
    scale = tf.maximum(tf.reduce_sum(tf.square(target), axis=1), 1e-6)
    variation = tf.image.total_variation(image) / np.prod(shape)
    return tf.gradients(tf.reduce_sum(errors / scale + prior * variation), image)[0]

  inputs = [tf.TensorSpec(shape), tf.TensorSpec([inverter.num_logits])]
  return GraphFunction(build, inputs, _BATCH)


def search(
  gradient: GraphFunction, logits: np.ndarray, settings: Settings, seed: int
) -> np.ndarray:
  """Images [n, h, w, c] in [0, 1] whose logits come near to those given.

  Descends along an objective_gradient by Adam, from uniform noise.
  """
  shape = gradient.shapes[0]
  starts = common.generator(seed, "search").uniform(0.3, 0.7, [len(logits), *shape])
  return _descend(lambda x: gradient(x, logits), starts, settings)


def _descend(gradient, start, settings, beta1=0.9, beta2=0.999):
  """Adam (Kingma and Ba, 2015) from `start`, clipped to [0, 1] after every step."""
  x = np.asarray(start, np.float32)
  first, second = np.zeros_like(x), np.zeros_like(x)
  for step in range(1, settings.steps + 1):
    g = gradient(x)
    first = beta1 * first + (1 - beta1) * g
    second = beta2 * second + (1 - beta2) * g * g
    rate = settings.learning_rate * np.sqrt(1 - beta2**step) / (1 - beta1**step)
    x = np.clip(x - rate * first / (np.sqrt(second) + 1e-8), 0.0, 1.0).astype(
      np.float32
    )
  return x


def _measures(label, inverter, data, originals, ways, quality):
  table, logits = [], inverter.logits(originals)
  for way, pictures in ways.items():
    again = inverter.logits(pictures)
    agreed, _ = measures.agreement(
      label, inverter, data, originals, pictures, f": {way}"
    )
    residual = np.linalg.norm(again - logits, axis=1) / np.linalg.norm(logits, axis=1)
    table += measures.quality_measures(label, quality[way], f": {way}")
    table += agreed
    table.append(
      common.Measure(
        f"relative error of the logits: {way}", label, estimates.mean(residual)
      )
    )
  return table


def _since(started, images):
  return (time.monotonic() - started) / len(images)
