"""What noise and logit interpolation share: paths of pictures and their lengths."""

import numpy as np

from compare_gan_logits import figures
from compare_gan_logits.experiments import common
from compare_gan_logits.experiments import measures


def between(a, b, count):
  """Linear interpolation [n, d] to [n, d] in `count` points, ends included."""
  weights = np.linspace(0.0, 1.0, count, dtype=np.float32)[None, :, None]
  return (1 - weights) * a[:, None] + weights * b[:, None]


def decode(inverter, logits, noise):
  """Pictures [n, k, h, w, c] of logits and noise [n, k, d]."""
  n, k = logits.shape[:2]
  flat = inverter.generate(logits.reshape(n * k, -1), noise.reshape(n * k, -1))
  return flat.reshape(n, k, *flat.shape[1:])


def unevenness(steps):
  """Standard deviation of a path's steps over their mean: [n, k] -> [n]. 0: even."""
  return steps.std(axis=1) / np.maximum(steps.mean(axis=1), 1e-12)


def describe(label, paths):
  """Lengths of paths [n, k, h, w, c].

  Returns:
    (list of Measure, {"length", "ends", "unevenness", "longest": [n]}).
  """
  steps = measures.steps(paths)
  values = {"length": steps.sum(axis=1),
            "ends": measures.perceptual(paths[:, 0], paths[:, -1]),
            "unevenness": unevenness(steps), "longest": steps.max(axis=1)}
  names = {"length": "path length, LPIPS", "ends": "LPIPS between the ends",
           "unevenness": "unevenness of the steps (0 is even)",
           "longest": "longest step, LPIPS"}
  return [common.Measure(names[key], label, common.mean(value))
          for key, value in values.items()], values


def blocks(name, caption, paths):
  """One block of near-square shape per path, side by side."""
  shaped = [figures.near_square(list(path)) for path in paths]
  rows = []
  for row in range(len(shaped[0])):
    line = []
    for block in shaped:
      line += [*block[row], *[None] * (len(block[0]) - len(block[row])), None]
    rows.append(line[:-1])
  return common.Grid(name, caption, rows)
