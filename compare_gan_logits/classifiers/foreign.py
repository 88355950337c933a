"""Functions of other frameworks, numpy in and numpy out, as graph functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError


Function = Callable[..., np.ndarray]


def graph_function(
  function: Function, output_shape: tuple, gradient: Function | None = None
) -> Callable[[tf.Tensor], tf.Tensor]:
  """A graph function of images that calls a numpy function.

  Args:
    function: images float32 [b, h, w, c] -> outputs float32 [b, ...].
    output_shape: of its result; None in it where a dimension is not known.
    gradient: (images, derivative of a scalar with respect to the outputs) ->
      derivative of it with respect to the images; None: there is none.
  """

  def run(images):
    outputs = tf.numpy_function(function, [images], tf.float32)
    outputs.set_shape([images.shape[0], *output_shape[1:]])
    return outputs

  @tf.custom_gradient
  def run_with_gradient(images):
    def backward(upstream):
      derivative = tf.numpy_function(gradient, [images, upstream], tf.float32)
      derivative.set_shape(images.shape)
      return derivative

    return run(images), backward

  return run if gradient is None else run_with_gradient


def without_gradient(outputs: tf.Tensor, images: tf.Tensor, reason: str) -> tf.Tensor:
  """The same outputs; to take their gradient with respect to images raises UserError.

  TensorFlow itself would return None, or ignore what lies behind whole numbers.
  """

  @tf.custom_gradient
  def same(x, source):
    del source  # It only makes a way for the gradient.

    def backward(upstream):
      del upstream
      raise UserError(reason)

    return tf.identity(x), backward

  return same(outputs, images)


def in_batches(function: Function, size: int | None) -> Function:
  """A function of any number of images, of one that takes `size` at a time.

  Further arguments have a row for each image. The last batch is filled up with its last
  rows, whose results are left out. size None: the function itself.
  """
  if size is None:
    return function

  def call(*arrays: np.ndarray) -> np.ndarray:
    number = len(arrays[0])
    filled = [np.concatenate([a, np.repeat(a[-1:], -number % size, 0)]) for a in arrays]
    parts = [
      function(*(a[start : start + size] for a in filled))
      for start in range(0, number, size)
    ]
    return np.concatenate(parts)[:number]

  return call
