"""A linear inverter of the embedded images, in closed form: nothing is trained.

The classifier is the least-squares map from pixels to one-hot classes, the
generator the least-squares map from its logits back to pixels, plus a little noise.
"""

import os

import numpy as np
import tiny

from compare_gan_logits import classifiers
from compare_gan_logits import datasets


_EXAMPLES = 600
_RIDGE = 30.0
_GAIN = 8.0  # of the logits, for confidences as a real classifier has them
_NOISE = 0.05
_BRIGHTER = 0.03


def write(folder, name):
  """Writes module and classifier below `folder`; returns the module's folder."""
  dataset = datasets.get_dataset("embedded")
  images, classes = dataset.arrays("train", limit=_EXAMPLES)
  x = images.reshape(len(images), -1).astype(np.float64)
  targets = _GAIN * (np.eye(10)[classes] - 0.1)
  kernel = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ targets)
  logits = np.concatenate([x @ kernel, np.ones([len(x), 1])], axis=1)
  painter = np.linalg.lstsq(logits, x, rcond=None)[0]
  # Logits of photos sum to 0, so that the fit leaves open what a shift does.
  painter[:-1] += _BRIGHTER * x.mean(axis=0)
  noise = np.random.default_rng(0).normal(0, _NOISE, [3, x.shape[1]])
  path = tiny.write_classifier(os.path.join(folder, name + "_classifier"), kernel, 32)
  classifier = dict(classifiers.load(path).describe(), name=name)
  return tiny.write_module(
    os.path.join(folder, name),
    tiny.linear(painter[:-1], noise, painter[-1]),
    size=32,
    num_logits=10,
    classifier=classifier,
    dataset="embedded",
    class_names=dataset.class_names,
  )


def write_many(folder, name, class_names):
  """Likewise with as many classes as names are given, on random directions."""
  rng = np.random.default_rng(0)
  kernel = rng.normal(size=[1024, len(class_names)]) / 8
  path = tiny.write_classifier(os.path.join(folder, name + "_classifier"), kernel, 32)
  classifier = dict(
    classifiers.load(path).describe(), name=name, class_names=class_names
  )
  return tiny.write_module(
    os.path.join(folder, name),
    tiny.linear(kernel.T / 16, offset=0.3),
    size=32,
    num_logits=len(class_names),
    classifier=classifier,
    dataset="embedded",
    class_names=class_names,
  )
