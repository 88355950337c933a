"""A separable resize as matrix products, for the graph.

Written so, it runs on every device and its gradient is exact and repeatable: the kernel
behind tf.image.resize(antialias=True) has neither a GPU nor a TPU form.
"""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf

from compare_gan_logits.errors import UserError


def _triangle(x):
  return np.maximum(0.0, 1.0 - np.abs(x))


def _keys_cubic(x, a=-0.5):
  """Keys' cubic convolution kernel (a = -0.5: TensorFlow's and Pillow's)."""
  x = np.abs(x)
  inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
  outer = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
  return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


def _box(x):
  return np.logical_and(x > -0.5, x <= 0.5).astype(np.float64)


# Kernel and its half width in source pixels, before it is widened to antialias.
KERNELS = {
  "bilinear": (_triangle, 1.0),
  "bicubic": (_keys_cubic, 2.0),
  "area": (_box, 0.5),
}


def resize_weights(source: int, target: int, method: str) -> np.ndarray:
  """Weights [target, source] (float32, rows sum to 1) of a one-axis resize.

  Target pixel i samples the source at (i + 1/2) source / target - 1/2. When
  shrinking, the kernel is widened by source / target, which antialiases.
  """
  kernel, half_width = KERNELS[method]
  ratio = source / target
  widen = max(ratio, 1.0)
  centres = (np.arange(target) + 0.5) * ratio
  distance = (np.arange(source) + 0.5)[None, :] - centres[:, None]
  weights = np.where(
    np.abs(distance) <= half_width * widen, kernel(distance / widen), 0.0
  )
  return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(
  images: tf.Tensor, size: int | tuple[int, int], method: str = "bilinear"
) -> tf.Tensor:
  """Resizes images or feature maps [b, h, w, c], antialiased.

  Args:
    images: of known height, width and channels.
    size: of both sides of the result, or (height, width).
    method: a key of KERNELS.

  Returns:
    [b, size, size, c].

  Raises:
    UserError: the images' height or width is not known in advance.
  """
  height, width, channels = images.shape.as_list()[1:]
  if None in (height, width, channels):
    raise UserError(
      "a resize needs the images' height, width and colours in "
      f"advance, not {images.shape}; set their shape first"
    )
  rows_wanted, columns_wanted = (size, size) if isinstance(size, int) else size
  if height != rows_wanted:
    rows = tf.constant(resize_weights(height, rows_wanted, method))
    images = tf.reshape(images, [-1, height, width * channels])
    images = tf.einsum("ty,byz->btz", rows, images)
  if width != columns_wanted:
    columns = tf.constant(resize_weights(width, columns_wanted, method))
    images = tf.reshape(images, [-1, rows_wanted, width, channels])
    images = tf.einsum("tx,byxc->bytc", columns, images)
  return tf.reshape(images, [-1, rows_wanted, columns_wanted, channels])
