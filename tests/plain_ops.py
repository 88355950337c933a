"""The reference's formulation of the layers, plainly: an oracle for the fast one."""

import tensorflow.compat.v1 as tf


def insert_zeros(images):
  """[b, h, w, c] -> [b, 2h, 2w, c]: values at even positions, zeros at odd ones."""
  b, h, w, c = images.shape.as_list()
  spread = tf.pad(
    tf.reshape(images, [b, h, 1, w, 1, c]),
    [[0, 0], [0, 0], [0, 1], [0, 0], [0, 1], [0, 0]],
  )
  return tf.reshape(spread, [b, 2 * h, 2 * w, c])


def conv_up(images, kernel):
  return tf.nn.conv2d(insert_zeros(images), kernel, strides=1, padding="SAME")


def conv_down(images, kernel):
  full = tf.nn.conv2d(images, kernel, strides=1, padding="SAME")
  return tf.nn.avg_pool2d(full, 2, 2, "VALID")
