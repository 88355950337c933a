"""Directions of logit space that move the picture most."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import estimates
from compare_gan_logits.experiments import measures
from compare_gan_logits.experiments.data import Data
from compare_gan_logits.graph_function import GraphFunction
from compare_gan_logits.inversion import Inverter


TITLE = "Directions that move the picture"
SECTION = "beyond the paper (6)"
QUESTION = (
  "Which directions of logit space change the picture most? The singular "
  "vectors of the generator's Jacobian, beside the directions of a shift and "
  "of a scale."
)


@common.configurable("directions")
@dataclasses.dataclass(frozen=True)
class Settings:
  """probes: directions examined; where there are more logits, they span the rows of
  random combinations of the Jacobian's. step: of the differences, in deviations of
  the logits. travel: of the figure, likewise."""

  images: int = 32
  probes: int = 64
  step: float = 0.01
  travel: float = 2.0
  kept: int = 5
  shown: int = 4


def run(
  inverters: Mapping[str, Inverter], data: Data, settings: Settings
) -> common.Result:
  sample = data.draw(settings.images, "directions")
  table, grids, arrays = [], [], {}
  for label, inverter in inverters.items():
    logits = inverter.logits(sample.images)
    noise = inverter.noise(len(logits), data.seed)
    deviation = float(logits.std())
    values, vectors = singular(
      inverter, logits, noise, settings.step * deviation, settings.probes, data.seed
    )
    power = values**2
    share = power[:, 0] / power.sum(axis=1)
    rank = power.sum(axis=1) ** 2 / np.sum(power**2, axis=1)
    values, vectors = values[:, : settings.kept], vectors[:, : settings.kept]
    ones = np.ones_like(logits) / np.sqrt(inverter.num_logits)
    table += [
      common.Measure(
        "largest singular value (pixel l2 per unit of logits)",
        label,
        estimates.mean(values[:, 0]),
      ),
      common.Measure(
        "share of the first direction in the whole change", label, estimates.mean(share)
      ),
      common.Measure("effective number of directions", label, estimates.mean(rank)),
      common.Measure(
        "first direction's |cosine| with a shift",
        label,
        estimates.mean(np.abs(np.sum(vectors[:, 0] * ones, 1))),
      ),
      common.Measure(
        "first direction's |cosine| with a scale",
        label,
        estimates.mean(np.abs(measures.cosine(vectors[:, 0], logits))),
      ),
      common.Measure(
        "reference: |cosine| of random directions",
        label,
        estimates.mean(_random_cosines(inverter.num_logits, data.seed)),
      ),
    ]
    grids.append(
      _grid(
        label,
        inverter,
        logits,
        noise,
        vectors[:, 0],
        settings.travel * deviation,
        settings.shown,
      )
    )
    arrays[f"values/{label}"], arrays[f"vectors/{label}"] = values, vectors
  return common.Result(tuple(table), (), tuple(grids), {**arrays, "ids": sample.ids})


def singular(
  inverter: Inverter,
  logits: np.ndarray,
  noise: np.ndarray,
  step: float,
  probes: int,
  seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """Singular values and right singular vectors of d picture / d logits.

  Args:
    inverter: inversion.Inverter.
    logits: [n, num_logits], at each of which the Jacobian is taken.
    noise: [n, z_dim].
    step: of the central differences, in units of the logits.
    probes: directions, at most; all of them where there are no more logits.
    seed: of the combinations of pixels that choose the directions otherwise.

  Returns:
    (values [n, k], falling; vectors [n, k, num_logits]), k = min(probes, num_logits).
  """
  size = logits.shape[1]
  if probes < size:
    bases = [
      np.linalg.qr(rows.T)[0].T
      for rows in _row_spaces(inverter, logits, noise, probes, seed)
    ]
  else:
    bases = [np.eye(size)] * len(logits)
  found = [_decompose(inverter, *one, step) for one in zip(logits, noise, bases)]
  values, vectors = zip(*found)
  return np.stack(values), np.stack(vectors)


def _decompose(inverter, logits, noise, basis, step):
  """The singular values and vectors of one Jacobian within the span of `basis`."""
  ends = np.concatenate([logits + step * basis, logits - step * basis])
  pictures = inverter.generate(ends, np.repeat(noise[None], len(ends), axis=0))
  forward, backward = pictures.reshape(2, len(basis), -1).astype(np.float64)
  columns = ((forward - backward) / (2 * step)).T
  _, values, rows = np.linalg.svd(columns, full_matrices=False)
  return values, rows @ basis


def _row_spaces(inverter, logits, noise, probes, seed):
  """Yields random combinations of each Jacobian's rows: [probes, num_logits]."""
  shape = [inverter.image_size, inverter.image_size, inverter.colors]
  weights = common.generator(seed, "row space").standard_normal([probes, *shape])

  def build(z, condition, towards):
    picture = inverter.graph_generator(z, condition)
    return tf.gradients(picture, condition, grad_ys=towards)[0]

  inputs = [tf.TensorSpec(x.shape[1:]) for x in (noise, logits, weights)]
  rows = GraphFunction(build, inputs, probes)
  for one, its_noise in zip(logits, noise):
    yield rows(
      np.repeat(its_noise[None], probes, axis=0),
      np.repeat(one[None], probes, axis=0),
      weights,
    )


def _random_cosines(size, seed):
  vectors = common.generator(seed, "random directions").standard_normal([2, 1000, size])
  return np.abs(measures.cosine(*vectors))


def _grid(label, inverter, logits, noise, vectors, travel, shown):
  places = np.linspace(-1, 1, 5)
  # A singular vector has no sign: let the largest entry be positive.
  largest = np.abs(vectors).argmax(axis=1)
  signs = np.sign(vectors[np.arange(len(vectors)), largest])[:, None]
  pictures = [
    inverter.generate((logits + p * travel * signs * vectors)[:shown], noise[:shown])
    for p in places
  ]
  rows = [[p[i] for p in pictures] for i in range(min(shown, len(logits)))]
  names = [inverter.class_names[k] for k in largest[: len(rows)]]
  return common.Grid(
    f"directions_{label}",
    f"{label}: along the first singular vector; "
    "on the left, the class whose logit it changes most.",
    rows,
    names,
    [f"{p * travel:+.3g}" for p in places],
  )
