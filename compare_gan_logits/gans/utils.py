"""Small functions of compare_gan's gans.utils: folders, grids, rotations, noise."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image


_MAX_GRID_SIDE = 8


def check_folder(log_dir: str) -> str:
  """Makes a folder where there is none; returns its path."""
  tf.io.gfile.makedirs(log_dir)
  return log_dir


def save_images(images: np.ndarray, image_path: str) -> None:
  """Writes pictures as one square grid.

  Args:
    images: [n, h, w, c] in [0, 1], of 1 or 3 colors. The grid has the largest square
      number of them that there is.
    image_path: file; its ending names the format.
  """
  side = int(np.sqrt(len(images)))
  _, height, width, colors = images.shape
  rows = images[: side**2].reshape(side, side, height, width, colors)
  picture = rows.transpose(0, 2, 1, 3, 4).reshape(side * height, side * width, colors)
  pixels = np.clip(255.0 * picture, 0, 255).round().astype(np.uint8)
  with tf.io.gfile.GFile(image_path, "wb") as file:
    Image.fromarray(pixels[..., 0] if colors == 1 else pixels).save(
      file, format=os.path.splitext(image_path)[1][1:].replace("jpg", "jpeg")
    )


def rotate_images(
  images: tf.Tensor, rot90_scalars: Sequence[int] = (0, 1, 2, 3)
) -> tf.Tensor:
  """Images [n, h, w, c] turned counter-clockwise by multiples of 90 degrees.

  Returns:
    [n * len(rot90_scalars), h, w, c]: all by the first angle, then all by the next.
  """
  return tf.concat([tf.image.rot90(images, k) for k in rot90_scalars], axis=0)


def gaussian(
  batch_size: int, n_dim: int, mean: float = 0.0, var: float = 1.0
) -> np.ndarray:
  """Normal numbers float32 [batch_size, n_dim]; `var` is the standard DEVIATION."""
  return np.random.normal(mean, var, (batch_size, n_dim)).astype(np.float32)


def grid(images: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
  """The first rows * columns of [n, h, w, c], as one picture [1, rows * h, .., c]."""
  _, height, width, colors = images.shape.as_list()
  images = tf.reshape(images[: rows * columns], [rows, columns, height, width, colors])
  images = tf.transpose(images, [0, 2, 1, 3, 4])
  return tf.reshape(images, [1, rows * height, columns * width, colors])


def square_grid(images: tf.Tensor) -> tf.Tensor:
  """As many of [n, h, w, c] as fit into a grid of powers of two, at most 8x8."""
  number = min(int(images.shape[0]), _MAX_GRID_SIDE**2)
  rows = 2 ** ((number.bit_length() - 1) // 2)
  columns = 2 ** ((number.bit_length() - 1) - (number.bit_length() - 1) // 2)
  return grid(images, rows, columns)
