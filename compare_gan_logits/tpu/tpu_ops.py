"""Means over all replicas: TPU cores, or the replicas of a tf.distribute strategy."""

import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_function


def cross_replica_mean(inputs):
  """The mean of `inputs` over all replicas; `inputs` itself where there is one.

  Differentiable in each of the three cases.
  """
  if tf.distribute.in_cross_replica_context():
    return inputs
  replica = tf.distribute.get_replica_context()
  if replica.num_replicas_in_sync > 1:
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, inputs)
  num_shards = tpu_function.get_tpu_context().number_of_shards
  if num_shards and num_shards > 1:
    return tf.tpu.cross_replica_sum(inputs) / float(num_shards)
  return inputs


def cross_replica_moments(inputs, axis):
  """Mean and variance over `axis` and all replicas, in float32.

  As the reference: E[x^2] - E[x]^2.

  Args:
    inputs: float tensor.
    axis: list of axes.

  Returns:
    (mean, variance), each without the reduced axes.
  """
  inputs = tf.cast(inputs, tf.float32)
  mean = cross_replica_mean(tf.reduce_mean(inputs, axis=axis))
  mean_of_squares = cross_replica_mean(
      tf.reduce_mean(tf.square(inputs), axis=axis))
  return mean, mean_of_squares - tf.square(mean)
