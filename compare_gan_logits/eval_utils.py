"""What evaluations share: noise, samples of images, Inception's features of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gin
import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits import utils
from compare_gan_logits.errors import UserError
from compare_gan_logits.metrics import inception
from compare_gan_logits.tpu import tpu_random


if TYPE_CHECKING:
  from compare_gan_logits.datasets.image_set import ImageDataset


_BATCH_SIZE = 64
# Tensors of the frozen Inception v1 of 2015-12-05, which TF-GAN uses.
_INPUT, _POOL, _LOGITS = "Mul:0", "pool_3:0", "logits:0"


@gin.configurable("eval_z")
def z_generator(
  shape: Sequence[int],
  distribution_fn: Callable[..., tf.Tensor] = tf.random.uniform,
  minval: float = -1.0,
  maxval: float = 1.0,
  stddev: float = 1.0,
  name: str | None = None,
  seed: tf.Tensor | None = None,
) -> tf.Tensor:
  """The noise of evaluations, as gans.input_lib.z_generator; see tpu_random.draw."""
  return tpu_random.draw(
    shape, distribution_fn, seed, minval=minval, maxval=maxval, stddev=stddev, name=name
  )


class NanFoundError(Exception):
  """Generated images hold values that are no number."""


class EvalDataSample:
  """Images, and Inception's features of them.

  Args:
    images: [n, h, w, 3] in [0, 255].
    labels: int [n], their classes, or None.

  Attributes:
    images: as given, or None once they have been discarded.
    labels: as given.
    activations: [n, d], the pooled features, or None.
    logits: [n, classes], or None.
  """

  def __init__(self, images: np.ndarray, labels: np.ndarray | None = None):
    self.images: np.ndarray | None = images
    self.labels = labels
    self.activations: np.ndarray | None = None
    self.logits: np.ndarray | None = None

  def set_inception_features(
    self, activations: np.ndarray | None, logits: np.ndarray | None
  ) -> None:
    """Keeps what inception_transform_np returns."""
    self.activations = activations
    self.logits = logits

  def set_num_examples(self, num_examples: int) -> None:
    """Drops all examples after the first `num_examples`."""
    for name in ("images", "labels", "activations", "logits"):
      values = getattr(self, name)
      if values is not None:
        setattr(self, name, values[:num_examples])

  def discard_images(self) -> None:
    """Frees the images, once the features are kept."""
    self.images = None


def get_real_images(
  dataset: ImageDataset,
  num_examples: int,
  split: str | None = None,
  failure_on_insufficient_examples: bool = True,
) -> np.ndarray:
  """The first images of a split, as the evaluation sees them.

  Args:
    dataset: datasets.ImageDatasetV2, or anything with its eval_input_fn.
    num_examples: how many.
    split: None for the dataset's own evaluation split.
    failure_on_insufficient_examples: whether fewer images are an error.

  Returns:
    float32 [n, h, w, 3] in [0, 255]; grey images are repeated.

  Raises:
    ValueError: there are fewer, and failure_on_insufficient_examples is on.
  """
  return _real_examples(dataset, num_examples, split, failure_on_insufficient_examples)[
    0
  ]


def get_real_sample(dataset: ImageDataset, num_examples: int) -> EvalDataSample:
  """The images of get_real_images, with their labels."""
  return EvalDataSample(*_real_examples(dataset, num_examples, None, True))


def _real_examples(dataset, num_examples, split, failure_on_insufficient_examples):
  """(images as get_real_images gives them, labels [n, ...])."""
  parts, labels, found = [], [], 0
  with tf.Graph().as_default(), tf.Session() as session:
    examples = dataset.eval_input_fn(split=split).batch(_BATCH_SIZE)
    following = utils.next_element(examples)
    while found < num_examples:
      try:
        images, labels_of_part = session.run(following)
      except tf.errors.OutOfRangeError:
        break
      parts.append(to_rgb_bytes(images))
      labels.append(labels_of_part)
      found += len(images)
  if not parts or (found < num_examples and failure_on_insufficient_examples):
    raise UserError(
      f"dataset {dataset.name} has {found} images in its "
      f"{split or 'evaluation'} split, and {num_examples} were asked for"
    )
  return np.concatenate(parts)[:num_examples], np.concatenate(labels)[:num_examples]


def sample_fake_dataset(
  sess: tf.Session,
  generator: tf.Tensor,
  num_batches: int,
  labels: tf.Tensor | None = None,
) -> EvalDataSample:
  """Runs a generator.

  Args:
    sess: session with the weights.
    generator: images [batch, h, w, c] in [0, 1], which depend on random numbers.
    num_batches: how often it is run.
    labels: int [batch], the classes of the images, or None.

  Raises:
    NanFoundError: a value is no number.
  """
  parts, classes = [], []
  for batch in range(num_batches):
    images, of_batch = sess.run([generator, [] if labels is None else labels])
    classes.append(of_batch)
    if np.isnan(images).any():
      raise NanFoundError(
        f"generated images contain NaN (batch {batch + 1}); evaluate an earlier "
        "checkpoint"
      )
    parts.append(to_rgb_bytes(images))
  return EvalDataSample(
    np.concatenate(parts), None if labels is None else np.concatenate(classes)
  )


def to_rgb_bytes(images: np.ndarray) -> np.ndarray:
  """[n, h, w, 1 or 3] in [0, 1] -> float32 [n, h, w, 3] in [0, 255]."""
  images = np.float32(images) * np.float32(255)
  return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def from_rgb_bytes(images: np.ndarray) -> np.ndarray:
  """The reverse of to_rgb_bytes; images without colour have one channel."""
  images = np.float32(images) / np.float32(255)
  is_grey = np.array_equal(images[..., 0], images[..., 1]) and np.array_equal(
    images[..., 0], images[..., 2]
  )
  return images[..., :1] if is_grey else images


def inception_transform_np(
  inputs: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Inception's features of images.

  Args:
    inputs: [n, h, w, 3] in [0, 255].
    batch_size: images per pass.

  Returns:
    (activations float32 [n, d], logits float32 [n, classes]).

  Raises:
    UserError: there are no weights; see get_inception_graph_def.
  """
  with tf.Graph().as_default(), tf.Session() as session:
    images = tf.placeholder(tf.float32, [None, *inputs.shape[1:]])
    outputs = tf.import_graph_def(
      get_inception_graph_def(), {_INPUT: preprocess(images)}, [_POOL, _LOGITS]
    )
    outputs = [tf.layers.flatten(output) for output in outputs]
    batches = [
      session.run(outputs, {images: inputs[i * batch_size : (i + 1) * batch_size]})
      for i in range(math.ceil(len(inputs) / batch_size))
    ]
  activations, logits = zip(*batches)
  return np.concatenate(activations), np.concatenate(logits)


def preprocess(images: tf.Tensor) -> tf.Tensor:
  """Images in [0, 255] -> Inception's input, [n, 299, 299, 3] in [-1, 0.992].

  Resized by TensorFlow 1's bilinear rule, with which published scores were made.
  """
  size = [inception.SIZE, inception.SIZE]
  return (tf.image.resize_bilinear(images, size) - 128.0) / 128.0


def get_inception_graph_def() -> tf.GraphDef:
  """The frozen Inception of gin's inception.path, with TF-GAN's names of tensors.

  Its input is "Mul:0", in [-1, 1]; its outputs are "pool_3:0" and "logits:0".

  Raises:
    UserError: gin binds no inception.path, or what is there does not offer both.
  """
  with tf.Graph().as_default() as graph, tf.Session() as session:
    images = tf.placeholder(
      tf.float32, [None, inception.SIZE, inception.SIZE, 3], _name(_INPUT)
    )
    for name, network in (
      (_POOL, inception.load()),
      (_LOGITS, inception.load(output=_name(_LOGITS))),
    ):
      tf.identity(network((images + 1) / 2), _name(name))
    session.run([tf.local_variables_initializer(), tf.tables_initializer()])
    return tf.graph_util.convert_variables_to_constants(
      session, graph.as_graph_def(), [_name(_POOL), _name(_LOGITS)]
    )


def _name(tensor: str) -> str:
  return tensor.split(":")[0]
