"""softmax(queries keys') values, and a gradient that needs less memory."""

from __future__ import annotations

import tensorflow.compat.v1 as tf


def attend(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
  """softmax(queries keys') values, for every example of a batch.

  Args:
    queries: [batch, n, c].
    keys: [batch, m, c].
    values: [batch, m, c'].

  Returns:
    [batch, n, c'].
  """
  return tf.matmul(_attention(queries, keys), values)


def _attention(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
  return tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True))


@tf.custom_gradient
def attend_in_training(
  queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor
) -> tf.Tensor:
  """As attend, with a gradient that needs a map less in memory, and a pass less.

  The sum over keys of the attention times its own gradient, for every query, is the
  sum over channels of the output times its gradient. An exported module cannot hold
  this form: its gradient is a Python function.
  """
  attention = _attention(queries, keys)
  outputs = tf.matmul(attention, values)

  def gradient(d_outputs):
    sums = tf.reduce_sum(
      tf.cast(d_outputs, tf.float32) * tf.cast(outputs, tf.float32),
      axis=-1,
      keepdims=True,
    )
    d_attention = tf.matmul(d_outputs, values, transpose_b=True)
    d_scores = attention * (d_attention - tf.cast(sums, queries.dtype))
    return (
      tf.matmul(d_scores, keys),
      tf.matmul(d_scores, queries, transpose_a=True),
      tf.matmul(attention, d_outputs, transpose_a=True),
    )

  return outputs, gradient
