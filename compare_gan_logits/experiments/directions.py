"""Directions of logit space that move the picture most."""

import dataclasses

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.experiments import common


TITLE = "Directions that move the picture"
SECTION = "beyond the paper (6)"
QUESTION = ("Which directions of logit space change the picture most? The singular "
            "vectors of the generator's Jacobian, beside the directions of a shift and "
            "of a scale.")


@gin.configurable("directions", module="experiments")
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


def run(inverters, data, settings):
  sample = data.draw(settings.images, "directions")
  table, grids, arrays = [], [], {}
  for label, inverter in inverters.items():
    logits = inverter.logits(sample.images)
    noise = inverter.noise(len(logits), data.seed)
    deviation = float(logits.std())
    found = [singular(inverter, logits[i], noise[i], settings.step * deviation,
                      settings.probes, data.seed) for i in range(len(logits))]
    values = np.stack([value[:settings.kept] for value, _ in found])
    vectors = np.stack([vector[:settings.kept] for _, vector in found])
    share = np.array([v[0]**2 / np.sum(v**2) for v, _ in found])
    rank = np.array([np.sum(v**2)**2 / np.sum(v**4) for v, _ in found])
    ones = np.ones_like(logits) / np.sqrt(inverter.num_logits)
    table += [
        common.Measure("largest singular value (pixel l2 per unit of logits)", label,
                       common.mean(values[:, 0])),
        common.Measure("share of the first direction in all movement", label,
                       common.mean(share)),
        common.Measure("effective number of directions", label, common.mean(rank)),
        common.Measure("first direction's |cosine| with a shift", label,
                       common.mean(np.abs(np.sum(vectors[:, 0] * ones, 1)))),
        common.Measure("first direction's |cosine| with a scale", label,
                       common.mean(np.abs(_cosine(vectors[:, 0], logits)))),
        common.Measure("reference: |cosine| of random directions", label,
                       common.mean(_random_cosines(inverter.num_logits, data.seed)))]
    grids.append(_grid(label, inverter, logits, noise, vectors[:, 0],
                       settings.travel * deviation, settings.shown))
    arrays[f"values/{label}"], arrays[f"vectors/{label}"] = values, vectors
  return common.Result(tuple(table), (), tuple(grids), {**arrays, "ids": sample.ids})


def singular(inverter, logits, noise, step, probes, seed=0):
  """Singular values and right singular vectors of d picture / d logits.

  Args:
    inverter: inversion.Inverter.
    logits: [num_logits], where the Jacobian is taken.
    noise: [z_dim].
    step: of the central differences, in units of the logits.
    probes: directions, at most; all of them where there are no more logits.
    seed: of the combinations of pixels that choose the directions otherwise.

  Returns:
    (values [k], falling; vectors [k, num_logits]), k = min(probes, num_logits).
  """
  size = len(logits)
  basis = np.eye(size)
  if probes < size:
    basis = np.linalg.qr(_row_space(inverter, logits, noise, probes, seed).T)[0].T
  ends = np.concatenate([logits + step * basis, logits - step * basis])
  pictures = inverter.generate(ends, np.repeat(noise[None], len(ends), axis=0))
  forward, backward = pictures.reshape(2, len(basis), -1).astype(np.float64)
  columns = ((forward - backward) / (2 * step)).T
  _, values, rows = np.linalg.svd(columns, full_matrices=False)
  return values, rows @ basis


def _row_space(inverter, logits, noise, probes, seed):
  """Random combinations of the Jacobian's rows: [probes, num_logits]."""
  shape = [inverter.image_size, inverter.image_size, inverter.colors]
  weights = common.generator(seed, "row space").standard_normal([probes, *shape])
  with tf.Graph().as_default():
    condition = tf.placeholder(tf.float32, [None, len(logits)])
    z = tf.placeholder(tf.float32, [None, len(noise)])
    towards = tf.placeholder(tf.float32, [None, *shape])
    picture = inverter.graph_generator(z, condition)
    gradient, = tf.gradients(picture, condition, grad_ys=towards)
    with tf.Session() as session:
      session.run(tf.local_variables_initializer())
      return session.run(gradient, {
          condition: np.repeat(logits[None], probes, axis=0),
          z: np.repeat(noise[None], probes, axis=0), towards: weights})


def _cosine(a, b):
  return np.sum(a * b, 1) / np.maximum(
      np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)


def _random_cosines(size, seed):
  vectors = common.generator(seed, "random directions").standard_normal([2, 1000, size])
  return np.abs(_cosine(*vectors))


def _grid(label, inverter, logits, noise, vectors, travel, shown):
  places = np.linspace(-1, 1, 5)
  # A singular vector has no sign: let the largest entry be positive.
  largest = np.abs(vectors).argmax(axis=1)
  signs = np.sign(vectors[np.arange(len(vectors)), largest])[:, None]
  pictures = [inverter.generate((logits + p * travel * signs * vectors)[:shown],
                                noise[:shown]) for p in places]
  rows = [[p[i] for p in pictures] for i in range(min(shown, len(logits)))]
  names = [inverter.class_names[k] for k in largest[:len(rows)]]
  return common.Grid(f"directions_{label}", f"{label}: along the first singular vector; "
                     "on the left, the class whose logit it changes most.", rows, names,
                     [f"{p * travel:+.3g}" for p in places])
