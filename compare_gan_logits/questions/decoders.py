"""Small decoders without noise: vectors or feature maps to the pictures they came from.

`convolutional` is trained along with a classifier, as a loss. `Decoder` is trained
afterwards on a frozen classifier's outputs and measures how much of the picture they
hold: another layout and other first weights, so that it is independent of the first.
Both minimise the squared error of pixels, so their pictures are means over what the
vector leaves open: smooth, with a low error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.classifiers import networks


def convolutional(
  vectors: tf.Tensor, shape: Sequence[int], channels: int = 32
) -> tf.Tensor:
  """Pictures [b, h, w, c] in (0, 1) of vectors [b, d]: a linear layer to a quarter of
  the size, then two 3x3 convolutions whose outputs are spread over 2x2 pixels.

  shape: [h, w, c], h and w multiples of 4.
  """
  height, width, colors = shape
  size = (height // 4) * (width // 4) * channels
  x = tf.nn.relu(networks.linear(vectors, size, "linear"))
  x = tf.reshape(x, [-1, height // 4, width // 4, channels])
  x = tf.nn.relu(networks.convolution(x, 4 * channels, 3, "convolution1"))
  x = networks.convolution(
    tf.nn.depth_to_space(x, 2), 4 * colors, 3, "convolution2", gain=1.0
  )
  return tf.sigmoid(tf.nn.depth_to_space(x, 2))


class Decoder:
  """A decoder of two hidden layers, trained on pairs of vectors and pictures.

  Args:
    vectors: [n, d]; they are standardised by their means and deviations.
    pictures: [n, h, w, c] in [0, 1].
    steps: updates by Adam, on batches of 128; its rate falls linearly from 0.001 to 0.
    seed: of the first weights and the order.
    hidden: units of each hidden layer.
  """

  def __init__(
    self,
    vectors: np.ndarray,
    pictures: np.ndarray,
    steps: int,
    seed: int,
    hidden: int = 512,
  ) -> None:
    self._shape = pictures.shape[1:]
    self._mean = vectors.mean(axis=0)
    deviation = vectors.std(axis=0)
    # A unit that is constant in training says nothing; a test image shall not blow it up.
    self._scale = np.where(deviation > 1e-6, 1.0 / np.maximum(deviation, 1e-6), 0.0)
    with tf.Graph().as_default():
      tf.set_random_seed(seed)
      self._vectors = tf.placeholder(tf.float32, [None, vectors.shape[1]])
      target = tf.placeholder(tf.float32, [None, *self._shape])
      self._pictures = self._build(self._vectors, hidden)
      loss = tf.reduce_mean(tf.square(self._pictures - target))
      step = tf.train.get_or_create_global_step()
      rate = tf.train.polynomial_decay(1e-3, step, steps, 0.0)
      update = tf.train.AdamOptimizer(rate).minimize(loss, step)
      self._session = tf.Session()
      self._session.run(tf.global_variables_initializer())
    random = np.random.default_rng(seed)
    for _ in range(steps):
      chosen = random.integers(0, len(vectors), 128)
      feed = {
        self._vectors: self._standardised(vectors[chosen]),
        target: pictures[chosen],
      }
      self._session.run(update, feed)

  def __call__(self, vectors: np.ndarray) -> np.ndarray:
    """Pictures [n, h, w, c] in (0, 1) of vectors [n, d]."""
    feed = {self._vectors: self._standardised(vectors)}
    return self._session.run(self._pictures, feed)

  def close(self) -> None:
    self._session.close()

  def _standardised(self, vectors: np.ndarray) -> np.ndarray:
    return (vectors - self._mean) * self._scale

  def _build(self, x: tf.Tensor, hidden: int) -> Any:
    for number in range(2):
      x = tf.nn.relu(networks.linear(x, hidden, f"hidden{number}"))
    x = networks.linear(x, int(np.prod(self._shape)), "pixels")
    return tf.reshape(tf.sigmoid(x), [-1, *self._shape])
