"""Prints what a training is going to use, before its first step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import figures
from compare_gan_logits.classifiers import checks
from compare_gan_logits.gans import modular_gan


if TYPE_CHECKING:
  from compare_gan_logits.classifiers.classifier import Classifier
  from compare_gan_logits.datasets.image_set import ImageDataset


def introduce(
  gan: modular_gan.ModularGAN,
  dataset: ImageDataset,
  classifier: Classifier | None,
  logits: Any,
  model_dir: str,
) -> None:
  """Prints the data, the logits and the networks; writes some images to a file.

  Args:
    gan: what is trained.
    dataset: datasets.ImageDataset.
    classifier: classifiers.Classifier, or None.
    logits: cached logits [num examples, n], or None.
    model_dir: folder of training_images.png.

  Raises:
    UserError: the logits are not finite, or the same for every image.
  """
  parameters = parameter_counts(gan)  # refuses what no network can be built for
  images, labels, logits = _sample(dataset, classifier, logits)
  counts = dataset.class_counts("train")
  of_sample = "" if counts is not None else f" among the first {len(labels)} drawn"
  if counts is None:
    hard = checks.hard_labels(labels)
    counts = np.bincount(hard[hard >= 0], minlength=dataset.num_classes or 1)
  classes = f"{len(counts)} classes of {counts.min()} to {counts.max()} images"
  if not counts.any():
    classes, of_sample = "without labels", ""
  print(
    f"dataset {dataset.name}: {dataset.num_examples('train')} training "
    f"images of {'x'.join(map(str, gan.image_shape))}, "
    f"{classes}{of_sample}"
  )
  if classifier is not None:
    checks.check(classifier, dataset, images, labels, logits)
  parts = (f"{name} {count:,}" for name, count in parameters.items())
  print("parameters: " + ", ".join(parts))
  path = os.path.join(model_dir, "training_images.png")
  figures.grid(figures.whole_rows(images[:64]), path)
  print(f"training images: {path}", flush=True)


def parameter_counts(gan: modular_gan.ModularGAN) -> dict[str, int]:
  """Trainable parameters of {"generator", "discriminator"}."""
  with tf.Graph().as_default():
    y = tf.zeros([1, gan.condition_size]) if gan.conditional else None
    gan.generate(tf.zeros([1, gan.z_dim]), y)
    gan.discriminate(tf.zeros([1, *gan.image_shape]), y)
    return {
      network.name: sum(int(np.prod(v.shape)) for v in network.trainable_variables)
      for network in (gan.generator, gan.discriminator)
    }


def check_classifier(dataset: ImageDataset, classifier: Classifier) -> None:
  """Checks the classifier on a sample of training images; see checks.check."""
  checks.check(classifier, dataset, *_sample(dataset, classifier, None))


def _sample(dataset, classifier, logits):
  """(images, labels, logits or None) of the first images of training."""
  images, labels, ids = checks.sample(dataset)
  if logits is not None:
    logits = np.asarray([logits[i] for i in ids])
  elif classifier is not None:
    logits = classifier.predict(images)
  return images, labels, logits
